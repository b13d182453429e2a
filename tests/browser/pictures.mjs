// The README's pictures, made anew: `node tests/browser/pictures.mjs` (GANTRY_BIN names the program).
//
// Traffic runs while the overview is open, so that its chart has something to show.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { launch, openPage, settle, visit } from "./browser.mjs";
import { fill, repository, startServer } from "./server.mjs";

const pictures = join(repository, "web-console/pictures");
const trafficSeconds = 75;

const [server, browser] = await Promise.all([startServer(), launch()]);
try {
  mkdirSync(pictures, { recursive: true });
  const { messageId } = await fill(server);
  const take = async (page, name) => {
    await settle(page);
    await page.screenshot({ path: join(pictures, `${name}.png`), animations: "disabled" });
  };

  const overview = await openPage(browser, server, { theme: "light", size: { width: 1280, height: 680 } });
  await visit(overview, "/");
  const until = Date.now() + trafficSeconds * 1000;
  for (let second = 0; Date.now() < until; second += 1) {
    const count = Math.round(24 + 14 * Math.sin(second / 9) + 6 * Math.sin(second / 2.3));
    const messages = Array.from({ length: count }, (_, at) => ({ body: `{"order":${second * 100 + at}}`, tag: "paid" }));
    await server.ask("POST", "/v1/topics/orders/messages/batch", { json: { messages } });
    const entries = [...(await server.receive("billing", "orders", 32)), ...(await server.receive("shipping", "orders", 16))];
    if (entries.length > 0) {
      const acks = entries.map(({ receiptHandle }) => ({ receiptHandle, action: "ack" }));
      await server.ask("POST", "/v1/receipts/settle", { json: { entries: acks } });
    }
    await new Promise((done) => setTimeout(done, 1000));
  }
  await take(overview, "overview");

  for (const [name, path, theme] of [
    ["topic", "/topics/orders", "dark"],
    ["message", `/topics/orders/messages/${messageId}`, "light"],
    ["groups", "/groups", "light"],
  ]) {
    const page = await openPage(browser, server, { theme, size: { width: 1280, height: 680 } });
    await visit(page, path);
    await take(page, name);
    await page.context().close();
  }
} finally {
  await browser.close();
  await server.stop();
}
