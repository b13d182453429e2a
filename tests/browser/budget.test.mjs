// What a first visit weighs, as it comes over the wire.

import assert from "node:assert/strict";
import { get } from "node:http";
import { test } from "node:test";
import { launch, none, openPage, visit } from "./browser.mjs";
import { fill, startServer } from "./server.mjs";

/** The console's budget for JavaScript at the first load: entry and the page that was opened, gzip. */
const firstLoadBytesMax = 220 * 1024;

/** Bytes of a body as they travel. */
function transferred(url, coding) {
  return new Promise((done, failed) => {
    get(url, { headers: { "Accept-Encoding": coding } }, (response) => {
      let bytes = 0;
      response.on("data", (chunk) => {
        bytes += chunk.length;
      });
      response.on("end", () => done({ bytes, coding: response.headers["content-encoding"] }));
    }).on("error", failed);
  });
}

test("the first load stays within its budget, on whichever page", async () => {
  const [server, browser] = await Promise.all([startServer(), launch()]);
  try {
    await fill(server);
    for (const path of ["/", "/topics", "/topics/orders", "/groups", "/settings"]) {
      const page = await openPage(browser, server);
      const scripts = new Set();
      page.on("response", (response) => {
        if (response.request().resourceType() === "script") scripts.add(response.url());
      });
      await visit(page, path);
      let sum = 0;
      for (const url of scripts) {
        const { bytes, coding } = await transferred(url, "gzip");
        assert.equal(coding, "gzip", url);
        sum += bytes;
        const { bytes: brotli } = await transferred(url, "br");
        assert.ok(brotli <= bytes || bytes < 200, `${url}: brotli ${brotli}, gzip ${bytes}`);
      }
      console.log(`${path}: ${(sum / 1024).toFixed(1)} KiB in ${scripts.size} files`);
      assert.ok(scripts.size > 0);
      assert.ok(sum <= firstLoadBytesMax, `${path} loads ${sum} bytes of JavaScript`);
      none(page.faults);
      await page.context().close();
    }
  } finally {
    await browser.close();
    await server.stop();
  }
});

test("a second visit asks for the page alone", async () => {
  const [server, browser] = await Promise.all([startServer(), launch()]);
  try {
    const page = await openPage(browser, server);
    await visit(page, "/topics");
    await visit(page, "/topics");
    // Nothing travelled: not even the question whether it changed.
    const asked = await page.evaluate(() => {
      const assets = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/assets/"));
      return { count: assets.length, travelled: assets.filter(({ transferSize }) => transferSize > 0).map(({ name }) => name) };
    });
    assert.ok(asked.count > 0);
    assert.deepEqual(asked.travelled, []);
    none(page.faults);
  } finally {
    await browser.close();
    await server.stop();
  }
});
