// Create a topic, send, find, delete: without a mouse, and always seeing where one is.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, none, openPage, settle, visit } from "./browser.mjs";
import { startServer } from "./server.mjs";

/** More stops than any page has. */
const stopsMax = 150;

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(), launch()]);
  await server.createTopic("other");
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Presses Tab until the focus is there, and holds the page to showing it. */
async function tabTo(page, target, key = "Tab") {
  await target.waitFor();
  for (let stop = 0; stop < stopsMax; stop += 1) {
    if (await target.evaluate((element) => element === document.activeElement)) {
      assert.ok(await target.evaluate((element) => element.matches(":focus-visible")), "the focus can be seen");
      return;
    }
    await page.keyboard.press(key);
  }
  throw new Error(`Tab never reached ${target}`);
}

for (const language of ["en", "zh"]) {
  test(`a topic's whole life by keyboard, ${language}`, async () => {
    const name = `by-keyboard-${language}`;
    const gone = [{ status: 404, path: new RegExp(`/v1/topics/${name}`) }];
    const page = await openPage(browser, server, { language, expected: gone });
    const { t } = page;
    const { keyboard } = page;
    const button = (label, scope = page) => scope.getByRole("button", { name: label, exact: true });
    await visit(page, "/");

    // The first stop leads past the navigation.
    await keyboard.press("Tab");
    const skip = page.getByRole("link", { name: t.shell.skip });
    assert.ok(await skip.evaluate((element) => element === document.activeElement));
    await keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.tagName), "MAIN");

    // Create.
    await keyboard.press("g");
    await keyboard.press("t");
    await page.getByRole("heading", { level: 1, name: t.nav["/topics"] }).waitFor();
    await tabTo(page, button(t.topic.create));
    await keyboard.press("Enter");
    const form = page.getByRole("dialog", { name: t.topic.create });
    await form.waitFor();
    await tabTo(page, form.getByRole("textbox", { name: t.topic.name }));
    await keyboard.type("other");
    await form.getByText(t.form.taken).waitFor();
    await keyboard.press("Control+A");
    await keyboard.type(name);
    await tabTo(page, button(t.topic.create, form));
    await keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name }).waitFor();

    // Send.
    await form.waitFor({ state: "hidden" });
    await keyboard.press("n");
    const panel = page.getByRole("dialog", { name: t.send.to(name) });
    await panel.waitFor();
    await tabTo(page, panel.getByRole("textbox", { name: t.message.body }));
    await keyboard.type('{"sent": "by keyboard"}');
    await tabTo(page, panel.getByRole("textbox", { name: t.browse.tag }));
    await keyboard.type("keys-only");
    await tabTo(page, button(t.send.count(1), panel));
    await keyboard.press("Enter");
    await panel.getByRole("status").filter({ hasText: t.send.stored("1") }).waitFor();
    await keyboard.press("Escape");
    await panel.waitFor({ state: "hidden" });
    const [stored] = await server.messages(name);
    assert.deepEqual([stored.body, stored.tag], ['{"sent": "by keyboard"}', "keys-only"]);

    // Find it: by the topic's name and the list, then by its id.
    await keyboard.press("g");
    await keyboard.press("g");
    await page.getByRole("heading", { level: 1, name: t.nav["/groups"] }).waitFor();
    await keyboard.press("Control+K");
    const search = page.getByRole("dialog").getByRole("textbox");
    await tabTo(page, search);
    await keyboard.type(name);
    await page.getByRole("dialog").getByText(name, { exact: true }).waitFor();
    await keyboard.press("ArrowDown");
    await keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name }).waitFor();
    const rows = page.getByRole("table", { name: t.topic.tabs.messages });
    await tabTo(page, rows.getByRole("link").first());
    await keyboard.press("Enter");
    await page.getByText('"by keyboard"').waitFor();
    assert.ok(page.url().endsWith(`/topics/${name}/messages/${stored.messageId}`), page.url());
    await visit(page, "/settings");
    await keyboard.press("Control+K");
    await tabTo(page, search);
    await keyboard.type(stored.offsetMessageId);
    await page.getByRole("dialog").getByText(t.search.messageIn(name)).waitFor();
    await keyboard.press("ArrowDown");
    await keyboard.press("Enter");
    await page.getByText('"by keyboard"').waitFor();

    // Delete: Enter on the name does nothing yet, a wrong name neither.
    await visit(page, `/topics/${name}?tab=queues`);
    await tabTo(page, page.getByRole("tab", { name: t.topic.tabs.queues }));
    await keyboard.press("ArrowRight");
    await keyboard.press("ArrowRight");
    await tabTo(page, page.getByRole("tab", { name: t.topic.tabs.settings }));
    await keyboard.press("Enter");
    await tabTo(page, button(t.topic.deleteNamed(name)));
    await keyboard.press("Enter");
    const confirm = page.getByRole("dialog", { name: t.topic.deleteNamed(name) });
    await confirm.waitFor();
    await confirm.locator("dd").first().waitFor();
    await page.waitForFunction(
      (cancel) => document.activeElement.textContent === cancel,
      t.action.cancel,
    );
    await tabTo(page, confirm.getByRole("textbox"), "Shift+Tab");
    await keyboard.type(`${name}x`);
    assert.ok(await button(t.topic.delete, confirm).isDisabled());
    await keyboard.press("Backspace");
    await keyboard.press("Enter");
    assert.equal((await server.messages(name)).length, 1, "Enter in the field deletes nothing");
    await tabTo(page, button(t.topic.delete, confirm));
    await keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: t.nav["/topics"] }).waitFor();
    await settle(page);
    const { items } = await server.ask("GET", "/v1/topics");
    assert.ok(!items.some((topic) => topic.name === name));
    none(page.faults);
    await page.context().close();
  });
}

test("an open panel holds the focus, and gives it back", async () => {
  const page = await openPage(browser, server);
  const { t, keyboard } = page;
  await visit(page, "/topics");
  const opener = page.getByRole("button", { name: t.topic.create, exact: true });
  await tabTo(page, opener);
  await keyboard.press("Enter");
  const form = page.getByRole("dialog", { name: t.topic.create });
  await form.waitFor();
  for (let stop = 0; stop < 30; stop += 1) {
    await keyboard.press("Tab");
    const outside = await page.evaluate(() => {
      const { activeElement } = document;
      return activeElement !== document.body && activeElement.closest("[role=dialog]") === null;
    });
    assert.equal(outside, false, `stop ${stop} is behind the panel`);
  }
  await keyboard.press("Escape");
  await form.waitFor({ state: "hidden" });
  await page.waitForFunction((name) => document.activeElement.textContent === name, t.topic.create);
  none(page.faults);
  await page.context().close();
});
