// The weight a browser carries: JavaScript of the first load (the entry and what it imports at once) and of everything.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const KIB = 1024;
const firstLoadBytesMax = 220 * KIB;
const totalBytesMax = 600 * KIB;

const dist = new URL("../dist/", import.meta.url);
const assets = new URL("assets/", dist);
const weight = (url) => gzipSync(readFileSync(url), { level: 9 }).length;

const first = new Set();
const html = readFileSync(new URL("index.html", dist), "utf8");
const open = [...html.matchAll(/(?:src|href)="\.?\/?assets\/([^"]+\.js)"/g)].map((match) => match[1]);
while (open.length > 0) {
  const name = open.pop();
  if (first.has(name)) continue;
  first.add(name);
  const code = readFileSync(new URL(name, assets), "utf8");
  // `from"./x.js"` and `import"./x.js"` are loaded at once; `import("./x.js")` waits.
  for (const match of code.matchAll(/(?:from|import)\s*"\.\/([^"]+\.js)"/g)) open.push(match[1]);
}
if (first.size === 0) throw new Error("dist/index.html names no script: run `npm run build`");

const scripts = readdirSync(assets).filter((name) => name.endsWith(".js"));
const firstLoad = [...first].reduce((sum, name) => sum + weight(new URL(name, assets)), 0);
const total = scripts.reduce((sum, name) => sum + weight(new URL(name, assets)), 0);
const styles = readdirSync(assets).filter((name) => name.endsWith(".css"));
const css = styles.reduce((sum, name) => sum + weight(new URL(name, assets)), 0);

const kib = (bytes) => `${(bytes / KIB).toFixed(1)} KiB`;
console.log(`first load  ${kib(firstLoad)} of ${kib(firstLoadBytesMax)} (${first.size} files, gzip)`);
console.log(`all scripts ${kib(total)} of ${kib(totalBytesMax)} (${scripts.length} files, gzip)`);
console.log(`styles      ${kib(css)} (gzip)`);
if (firstLoad > firstLoadBytesMax || total > totalBytesMax) {
  console.error("over budget: make a page or a library lazy");
  process.exit(1);
}
