// What is on the screen is in the address: reload and back lose nothing.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, none, openPage, settle, visit, words } from "./browser.mjs";
import { fill, startServer } from "./server.mjs";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), launch()]);
  await fill(server);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function withPage(look, options) {
  const page = await openPage(browser, server, options);
  await look(page, page.t);
  none(page.faults);
  await page.context().close();
}

/** Out of a menu of which one entry always holds. */
async function choose(page, name) {
  const entries = page.getByRole("menuitemradio");
  await entries.first().waitFor();
  assert.equal(await page.getByRole("menuitemradio", { checked: true }).count(), 1);
  await page.getByRole("menuitemradio", { name, exact: true }).click();
}

const names = (table) => table.locator("tbody tr").evaluateAll((rows) => rows.map((row) => row.querySelector("a").textContent));

test("a filtered and sorted list survives a reload, and back from a row", () =>
  withPage(async (page, t) => {
    await visit(page, "/topics");
    const table = page.getByRole("table", { name: t.nav["/topics"] });
    await page.getByRole("searchbox", { name: t.action.filter }).fill("o*");
    await table.getByRole("button", { name: t.topic.name }).click();
    await page.waitForURL(/sort=-name/);
    const seen = async () => ({
      url: page.url(),
      names: await names(table),
      filter: await page.getByRole("searchbox", { name: t.action.filter }).inputValue(),
    });
    const before = await seen();
    assert.equal(before.filter, "o*");
    assert.ok(before.names.length > 1 && before.names.includes("orders") && !before.names.includes("empty-1"));
    assert.deepEqual(before.names, before.names.toSorted((a, b) => b.localeCompare(a)));
    await page.reload();
    await settle(page);
    assert.deepEqual(await seen(), before);
    await table.getByRole("link", { name: "orders", exact: true }).click();
    await page.getByRole("heading", { level: 1, name: "orders" }).waitFor();
    await page.goBack();
    await table.waitFor();
    assert.deepEqual(await seen(), before);
  }));

test("tab, start, tag and columns of a topic survive a reload, and back from a message", () =>
  withPage(async (page, t) => {
    await visit(page, "/topics/orders");
    await page.getByRole("radiogroup", { name: t.browse.start }).getByText(t.browse.starts.oldest).click();
    const tag = page.getByRole("textbox", { name: t.browse.tag });
    await tag.fill("open");
    await tag.press("Enter");
    await page.getByRole("button", { name: t.table.columns }).click();
    await page.getByRole("menuitemcheckbox", { name: t.browse.columns.keys, exact: true }).click();
    await page.keyboard.press("Escape");
    await page.waitForURL(/cols=/);
    const table = page.getByRole("table", { name: t.topic.tabs.messages });
    const seen = async () => {
      await settle(page);
      return {
        url: page.url(),
        heads: await table.getByRole("columnheader").allTextContents(),
        rows: await table.locator("tbody tr").count(),
        oldest: await page.getByRole("radio", { name: t.browse.starts.oldest }).isChecked(),
        tag: await tag.inputValue(),
      };
    };
    await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 20);
    const before = await seen();
    assert.deepEqual([before.rows, before.oldest, before.tag], [20, true, "open"]);
    assert.ok(!before.heads.includes(t.browse.columns.keys));
    await page.reload();
    await table.waitFor();
    assert.deepEqual(await seen(), before);
    await table.getByRole("link").first().click();
    await page.getByRole("heading", { level: 1, name: t.message.title }).waitFor();
    await page.goBack();
    await table.waitFor();
    assert.deepEqual(await seen(), before);
  }));

test("the view of a body and the tab are in the address", () =>
  withPage(async (page, t) => {
    await visit(page, "/topics/orders");
    await page.getByRole("table", { name: t.topic.tabs.messages }).getByRole("link").first().click();
    await page.getByRole("heading", { level: 1, name: t.message.title }).waitFor();
    await page.getByRole("radiogroup", { name: t.message.view }).getByText(t.message.views.hex).click();
    await page.waitForURL(/view=hex/);
    await page.reload();
    await settle(page);
    assert.ok(await page.getByRole("radio", { name: t.message.views.hex }).isChecked());
    await page.getByText("7b 22 6f 72").first().waitFor();
    await page.getByRole("tab", { name: t.message.tabs.properties }).click();
    await page.waitForURL(/tab=properties/);
    await page.reload();
    await settle(page);
    assert.equal(await page.getByRole("tab", { name: t.message.tabs.properties }).getAttribute("aria-selected"), "true");
  }));

test("an open panel has an address, and back closes it", () =>
  withPage(async (page, t) => {
    await visit(page, "/topics");
    await page.getByRole("button", { name: t.topic.create }).click();
    const form = page.getByRole("dialog", { name: t.topic.create });
    await form.waitFor();
    await page.reload();
    await form.waitFor();
    await page.goBack();
    await form.waitFor({ state: "hidden" });
    assert.equal(new URL(page.url()).pathname, "/topics");
  }));

test("language, theme and pace are remembered", () =>
  withPage(async (page, t) => {
    await visit(page, "/topics");
    await page.getByRole("button", { name: t.refresh.pace }).click();
    await choose(page, t.refresh.long(60));
    await page.getByRole("button", { name: t.settings.theme }).click();
    await choose(page, t.settings.themes.dark);
    await page.getByRole("button", { name: t.settings.language }).click();
    await choose(page, "中文");
    const { zh } = words;
    page.t = zh;
    const seen = async () => {
      await settle(page);
      await page.getByRole("heading", { level: 1, name: zh.nav["/topics"] }).waitFor();
      return [
        await page.evaluate(() => document.documentElement.lang),
        await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme),
        await page.getByRole("button", { name: zh.refresh.pace }).textContent(),
      ];
    };
    assert.deepEqual(await seen(), ["zh-CN", "dark", zh.refresh.every(60)]);
    await page.reload();
    assert.deepEqual(await seen(), ["zh-CN", "dark", zh.refresh.every(60)]);
  }));

test("a bookmark of the Java dashboard leads to its page", () =>
  withPage(async (page, t) => {
    await visit(page, "/#/consumer");
    await page.waitForURL("**/groups");
    await page.getByRole("heading", { level: 1, name: t.nav["/groups"] }).waitFor();
  }));

test("somebody who asked for less motion gets none", () =>
  withPage(async (page, t) => {
    await visit(page, "/topics?start=live");
    await page.getByRole("button", { name: t.topic.create }).click();
    await page.getByRole("dialog").waitFor();
    const moving = await page.evaluate(() =>
      document
        .getAnimations()
        // Colours may fade: nothing moves by that.
        .filter((one) => one.effect.getComputedTiming().duration > 10 && !/color|shadow/.test(one.transitionProperty))
        .map((one) => `${one.transitionProperty ?? one.animationName}: ${one.effect.target.outerHTML.slice(0, 120)}`),
    );
    assert.deepEqual(moving, []);
  }));
