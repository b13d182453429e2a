// Names, keys, properties and bodies come from strangers. They are text, whatever they look like.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { axe, launch, narrow, none, openPage, picture, settle, sidewaysPx, visit } from "./browser.mjs";
import { startServer } from "./server.mjs";

const image = '<img src=x onerror="globalThis.ran=1">';
const script = '"></script><script>globalThis.ran=1</script>';
const handler = `'-alert(1)-' onmouseover="globalThis.ran=1" x="`;
const template = "{{constructor.constructor('globalThis.ran=1')()}}";
const overridden = "safe\u202Egnp.exe\u202C";
const isolated = "\u2066\u2067abc\u2069 \u200F\u200E\u200B\uFEFF";
const controls = Array.from({ length: 32 }, (_, at) => String.fromCharCode(at)).join("") + "\u007F\u0085\u2028\u2029";
const long = "x".repeat(300);
const link = "javascript:globalThis.ran=1";
const words = [image, script, handler, template, overridden, isolated, link];

const bytes = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));
/** Name, bytes, and what the text view must hold of it, if it is text at all. */
const bodies = [
  ...words.map((text, at) => [`words ${at}`, bytes(text), text]),
  ["controls", bytes(controls)],
  ["every byte", Uint8Array.from({ length: 256 }, (_, at) => at)],
  ["invalid UTF-8", bytes("abc", [0xc3, 0x28, 0xff, 0xfe, 0xed, 0xa0, 0x80])],
  ["UTF-16", bytes([0xff, 0xfe], Buffer.from("hello", "utf16le"))],
  ["one line of 70 KiB", bytes("y".repeat(70 * 1024 - 3), "end")],
  ["200 KiB of CJK", bytes("消息".repeat(34_000), "end")],
  ["binary of 300 KiB", Buffer.alloc(300 * 1024, 0xf8)],
  ["JSON with hostile fields", bytes(JSON.stringify({ [image]: script, __proto__x: { toString: "1" }, lone: "\ud800" }))],
  ["JSON with a prototype", bytes('{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}')],
  ["JSON in a deep hole", bytes("[".repeat(3000), "]".repeat(3000))],
  ["JSON with long numbers", bytes('{"id":12345678901234567890123,"e":1e400}')],
  ["JSON of many fields", bytes(JSON.stringify(Object.fromEntries(Array.from({ length: 5000 }, (_, at) => [`f${at}`, at]))))],
  ["empty JSON string", bytes('""')],
  ["a space", bytes(" ")],
];

let server;
let browser;
const sent = new Map();
before(async () => {
  [server, browser] = await Promise.all([startServer(), launch()]);
  await server.createTopic("hostile", { readQueues: 1, writeQueues: 1 });
  for (const [name, body] of bodies) {
    const envelope = {
      bodyBase64: Buffer.from(body).toString("base64"),
      tag: words[sent.size % words.length].replaceAll("|", ""),
      keys: [`k${sent.size}`, long, image.replaceAll(" ", "/")],
      properties: { [image]: script, __proto__y: handler, rtl: overridden, link, long: long.repeat(4), name },
    };
    const headers = { "Content-Type": "application/vnd.gantry.message+json" };
    sent.set(name, await server.send("hostile", JSON.stringify(envelope), headers));
  }
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Nothing ran, nothing became an element or a link that leads somewhere else. */
async function isText(page) {
  const found = await page.evaluate(() => ({
    ran: globalThis.ran,
    polluted: {}.polluted,
    made: [...document.querySelectorAll("main img, main script, main iframe, main object")].map((one) => one.outerHTML),
    links: [...document.querySelectorAll("a[href]")].map((one) => one.href).filter((href) => !/^(https?|blob):/.test(href)),
    handlers: document.querySelectorAll("main [onerror], main [onmouseover]").length,
  }));
  assert.deepEqual(found, { ran: undefined, polluted: undefined, made: [], links: [], handlers: 0 });
}

describe("a message", () => {
  for (const [name, body, text] of bodies) {
    test(name, async () => {
      const page = await openPage(browser, server, { size: narrow });
      const { t } = page;
      const { messageId } = sent.get(name);
      for (const search of ["", "?view=json", "?view=text", "?view=hex", "?view=base64", "?tab=properties"]) {
        await visit(page, `/topics/hostile/messages/${messageId}${search}`);
        await page.getByRole("heading", { level: 1, name: t.message.title }).waitFor();
        await isText(page);
        const sideways = await sidewaysPx(page);
        assert.equal(sideways, 0, `${search} can be pushed ${sideways} px sideways`);
      }
      await page.getByText(image, { exact: true }).waitFor();
      if (text !== undefined) {
        await visit(page, `/topics/hostile/messages/${messageId}?view=text`);
        assert.equal(await page.locator("main pre").textContent(), text);
      }
      // What is downloaded is what was sent.
      await visit(page, `/topics/hostile/messages/${messageId}`);
      const downloading = page.waitForEvent("download");
      await page.getByRole("link", { name: t.message.downloadRaw }).click();
      const saved = readFileSync(await (await downloading).path());
      assert.ok(saved.equals(Buffer.from(body)), `${saved.length} bytes of ${body.length}`);
      none(page.faults);
      await page.context().close();
    });
  }
});

test("a long body is cut in words, and whole when asked", async () => {
  const page = await openPage(browser, server);
  const { t } = page;
  await visit(page, `/topics/hostile/messages/${sent.get("one line of 70 KiB").messageId}?view=text`);
  await page.getByText(/64 KiB/).waitFor();
  assert.equal((await page.locator("main pre").textContent()).length, 64 * 1024);
  await page.getByRole("button", { name: t.message.loadAll }).click();
  await page.waitForFunction(() => document.querySelector("main pre").textContent.endsWith("end"));
  assert.equal((await page.locator("main pre").textContent()).length, 70 * 1024);
  none(page.faults);
  await page.context().close();
});

test("binary is hexadecimal by itself", async () => {
  const page = await openPage(browser, server);
  await visit(page, `/topics/hostile/messages/${sent.get("every byte").messageId}`);
  await page.getByText("00 01 02 03").waitFor();
  await page.getByText("fe ff").waitFor();
  none(await axe(page), page.faults);
  await page.context().close();
});

test("the list of them", async () => {
  for (const theme of ["light", "dark"]) {
    const page = await openPage(browser, server, { theme });
    await visit(page, "/topics/hostile?cols=time,tag,keys,id,size,body");
    const rows = page.getByRole("table", { name: page.t.topic.tabs.messages }).locator("tbody tr");
    assert.equal(await rows.count(), bodies.length);
    await isText(page);
    none(await axe(page));
    await picture(page, `hostile-list-${theme}-1280`);
    assert.equal(await sidewaysPx(page), 0, "1280 px");
    await page.setViewportSize(narrow);
    await settle(page);
    await picture(page, `hostile-list-${theme}-390`);
    assert.equal(await sidewaysPx(page), 0, "390 px");
    none(page.faults);
    await page.context().close();
  }
});

test("a filter that is a script is a filter", async () => {
  const page = await openPage(browser, server);
  for (const path of ["/topics", "/groups"]) {
    await visit(page, `${path}?q=${encodeURIComponent(image)}&sort=${encodeURIComponent(script)}`);
    await isText(page);
  }
  await visit(page, `/topics/hostile?tag=${encodeURIComponent(image)}&cols=${encodeURIComponent(image)}&tab=${encodeURIComponent(script)}`);
  await isText(page);
  none(page.faults);
  await page.context().close();
});

describe("an address", () => {
  const name = encodeURIComponent(image);
  for (const path of [
    `/topics/${name}`,
    `/topics/${name}/send`,
    `/topics/${name}/messages/${name}`,
    `/groups/${name}`,
    "/topics/%25DLQ%25absent",
    "/topics/%25252e",
    "/topics/a%2Fb",
    "/topics/a%3Fb%23c",
    "/topics/%00",
    "/topics/%E2%80%AEcod.exe",
    `/topics/${"x".repeat(300)}`,
    "/topics/hostile/messages/..%2F..%2Fv1",
    "/groups/%2e%2e%2fv1",
    `/#${name}`,
    "/#__proto__",
    `/${name}`,
    "/%ff",
    "/topics/%ff",
    "/topics/%E0%A4%A",
  ]) {
    test(path.slice(0, 60), async () => {
      // The server says what it thinks of such names; the page must say so too, and stand.
      const expected = [400, 404].map((status) => ({ status, path: /\/v1\/(topics|groups|messages)\// }));
      const page = await openPage(browser, server, { expected, size: narrow });
      await visit(page, path);
      assert.ok((await page.locator("main").innerText()).length > 10, "there are words on the page");
      await isText(page);
      assert.equal(await sidewaysPx(page), 0);
      none(page.faults);
      await page.context().close();
    });
  }
});
