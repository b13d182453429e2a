// The watchers themselves: each must be seen to bark before its silence means anything.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { axe, launch, narrow, openPage, sidewaysPx } from "./browser.mjs";
import { startServer } from "./server.mjs";

let server;
let browser;
before(async () => {
  server = await startServer();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** What a page does once `plant` ran in it. */
async function faultsOf(plant, options = {}) {
  const page = await openPage(browser, server, options);
  await page.goto("/no/such/page");
  assert.deepEqual(page.faults, []);
  await page.evaluate(plant);
  // A round trip: everything the page did before it has been told.
  await page.evaluate(() => fetch("/healthz"));
  const { faults } = page;
  await page.context().close();
  return faults;
}

test("axe finds what is planted", async () => {
  const page = await openPage(browser, server);
  await page.goto("/no/such/page");
  const before = (await axe(page)).length;
  await page.evaluate(() => {
    const button = document.createElement("button");
    const text = document.createElement("p");
    text.textContent = "hardly to be read";
    text.style.cssText = "color: #bbb; background: #ccc";
    document.querySelector("main").append(button, text);
  });
  const found = await axe(page);
  assert.equal(found.length, before + 2);
  assert.ok(found.some((text) => text.startsWith("button-name")) && found.some((text) => text.startsWith("color-contrast")));
  await page.context().close();
});

test("the policy stops a planted script and style, and both are noticed", async () => {
  const faults = await faultsOf(async () => {
    const script = document.createElement("script");
    script.textContent = "globalThis.ran = true";
    const style = document.createElement("style");
    style.textContent = "body { display: none }";
    document.head.append(script, style);
    if (globalThis.ran) throw new Error("the planted script ran");
    if (getComputedStyle(document.body).display === "none") throw new Error("the planted style took effect");
  });
  for (const directive of ["script-src-elem", "style-src-elem"]) {
    assert.ok(faults.some((fault) => fault.startsWith(`content policy: ${directive}`)), `${directive} in ${faults}`);
  }
});

test("an event handler in markup does not run", async () => {
  const faults = await faultsOf(async () => {
    const holder = document.createElement("div");
    document.body.append(holder);
    holder.innerHTML = '<img src="data:,x" onerror="globalThis.ran = true">';
    await new Promise((done) => holder.firstChild.addEventListener("error", done));
    if (globalThis.ran) throw new Error("the planted handler ran");
  });
  assert.ok(faults.some((fault) => fault.startsWith("content policy: script-src-attr")), faults.join("\n"));
});

test("a request to somebody else is noticed", async () => {
  const faults = await faultsOf(() => {
    const image = new Image();
    const failed = new Promise((done) => image.addEventListener("error", done));
    image.src = "http://127.0.0.2:9/pixel.png";
    return failed;
  });
  assert.ok(faults.some((fault) => fault.includes("127.0.0.2")), faults.join("\n"));
});

test("words on the console, uncaught errors and refused requests are noticed", async () => {
  const faults = await faultsOf(async () => {
    console.error("planted words");
    Promise.reject(new Error("planted rejection"));
    await fetch("/v1/no-such-path");
  });
  for (const text of ["planted words", "planted rejection", "/v1/no-such-path 404"]) {
    assert.ok(faults.some((fault) => fault.includes(text)), `${text} in ${faults}`);
  }
});

test("a page that is wider than its window is noticed", async () => {
  const page = await openPage(browser, server, { size: narrow });
  await page.goto("/no/such/page");
  assert.equal(await sidewaysPx(page), 0);
  await page.evaluate(() => {
    const wide = document.createElement("div");
    wide.style.cssText = "width: 800px; height: 1px";
    document.body.append(wide);
  });
  assert.ok((await sidewaysPx(page)) > 300);
  await page.context().close();
});
