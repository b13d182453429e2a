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

  const open = async (path, theme, height = 680) => {
    const page = await openPage(browser, server, { theme, size: { width: 1280, height } });
    await visit(page, path);
    return page;
  };
  const settleAll = async (group, topic) => {
    for (let taken = [null]; taken.length > 0; ) {
      taken = await server.receive(group, topic, 32);
      const entries = taken.map(({ receiptHandle }) => ({ receiptHandle, action: "ack" }));
      if (entries.length > 0) await server.ask("POST", "/v1/receipts/settle", { json: { entries } });
    }
  };

  const [overview, topic] = [await open("/", "light"), await open("/topics/orders", "dark")];
  const until = Date.now() + trafficSeconds * 1000;
  for (let second = 0; Date.now() < until; second += 1) {
    const count = Math.round(24 + 14 * Math.sin(second / 9) + 6 * Math.sin(second / 2.3));
    for (let at = 0; at < count; at += 1) {
      const number = second * 100 + at;
      const order = { order: number, customer: `c-${number % 7}`, total: 10 + (number % 97) / 4 };
      const headers = { "Content-Type": "application/json", "Gantry-Tag": at % 3 ? "paid" : "open", "Gantry-Keys": `o-${number}` };
      await server.send("orders", JSON.stringify(order), headers);
    }
    // One group keeps up, one is a little slow.
    for (const group of ["shipping", "invoicing"]) await settleAll(group, "orders");
    const taken = await server.receive("billing", "orders", 22);
    await Promise.all(taken.map((message) => server.ack(message)));
    await new Promise((done) => setTimeout(done, 1000));
  }
  await settleAll("audit", "payments");
  await settleAll("shipping", "payments");
  await take(overview, "overview");
  await topic.getByRole("button", { name: topic.t.refresh.now }).click();
  await take(topic, "topic");
  await take(await open(`/topics/orders/messages/${messageId}`, "light", 560), "message");
  await take(await open("/groups", "light", 420), "groups");
  await take(await open("/topics/orders/send", "light", 680), "send");
} finally {
  await browser.close();
  await server.stop();
}
