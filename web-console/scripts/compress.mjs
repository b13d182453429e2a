// Writes a .gz and a .br beside each file of dist, at the highest level: the binary embeds them and compresses nothing itself.
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const dist = new URL("../dist/", import.meta.url).pathname;
// index.html is filled in per response, and fonts are compressed already.
const alone = /(^index\.html|\.woff2|\.gz|\.br)$/;

let count = 0;
for (const entry of readdirSync(dist, { recursive: true })) {
  const path = join(dist, entry);
  if (alone.test(entry) || !statSync(path).isFile()) continue;
  const bytes = readFileSync(path);
  const quality = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
  writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
  writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params: quality }));
  count += 1;
}
console.log(`compressed ${count} files`);
