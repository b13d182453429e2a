// What delivery does is seen on the pages of a topic and a group, and managed there.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { axe, launch, none, openPage, picture, settle, visit } from "./browser.mjs";
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
  await look(page, page.t, page.d);
  none(page.faults);
  await page.context().close();
}

const cells = (table) =>
  table.locator("tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent.trim())));

test("the page of a topic shows in flight, attempt, next visible time and dead letters of each group", () =>
  withPage(async (page, t) => {
    await visit(page, "/topics/orders?tab=groups");
    const table = page.getByRole("table", { name: t.topic.tabs.groups });
    await table.waitFor();
    const heads = await table.getByRole("columnheader").allTextContents();
    const row = (await cells(table)).find(([name]) => name === "billing");
    const at = (name) => row[heads.indexOf(name)];
    assert.deepEqual([at(t.group.inflight), at(t.group.attempt), at(t.group.deadLetters)], ["4", "2", "1"]);
    assert.match(at(t.group.nextVisible), /^in (4|5) min/);
    // The same in the head of the page, over all groups.
    const figure = (name) => page.locator("dl .figure").filter({ hasText: name }).locator(".figure-value").textContent();
    assert.equal(await figure(t.figure.inFlight), "4");
    assert.equal(await figure(t.group.deadLetters), "1");
    await table.getByRole("link", { name: "4", exact: true }).click();
    await page.waitForURL(/\/groups\/billing\?tab=inflight&topic=orders/);
  }));

test("what is scheduled is counted on the page of a topic that takes times", () =>
  withPage(async (page, t) => {
    await visit(page, "/topics/reminders");
    const figure = page.locator("dl .figure").filter({ hasText: t.figure.scheduled }).locator(".figure-value");
    await figure.filter({ hasText: "1" }).waitFor();
  }));

test("the page of a group lists what is in flight, by topic, and it survives a reload", () =>
  withPage(async (page, t, d) => {
    await visit(page, "/groups/billing");
    await page.getByRole("tab", { name: t.group.tabs.inflight }).click();
    const table = page.getByRole("table", { name: d.inFlight.title });
    await table.waitFor();
    assert.equal((await cells(table)).length, 7, "four of orders and three of ledger");
    await page.getByRole("combobox", { name: d.inFlight.topic }).selectOption("ledger");
    await page.waitForURL(/topic=ledger/);
    await page.reload();
    await settle(page);
    await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 3);
    const rows = await cells(table);
    const groups = rows.map((row) => row.find((text) => text.startsWith("acct-"))).sort();
    assert.deepEqual(groups, ["acct-7", "acct-7", "acct-9"]);
    assert.ok(rows.every((row) => /^in (4|5) min/.test(row.at(-1))), rows);
    await table.getByRole("link").first().click();
    await page.getByRole("heading", { level: 1, name: t.message.title }).waitFor();
  }));

test("many in flight come in pages", () =>
  withPage(async (page, t, d) => {
    await server.createTopic("crowd", { readQueues: 1 });
    const messages = Array.from({ length: 101 }, (_, number) => ({ body: `${number}` }));
    await server.ask("POST", "/v1/topics/crowd/messages/batch", { json: { messages } });
    for (let taken = 0; taken < 101; ) taken += (await server.receive("crowd", "crowd", 32)).length;
    await visit(page, "/groups/crowd?tab=inflight");
    const button = (name) => page.getByRole("button", { name, exact: true });
    const rows = (count) => page.waitForFunction((count) => document.querySelectorAll("tbody tr").length === count, count);
    await rows(100);
    await button(d.inFlight.nextPage).click();
    await rows(1);
    assert.ok(await button(d.inFlight.nextPage).isDisabled());
    await button(d.inFlight.firstPage).click();
    await rows(100);
  }));

test("a retry policy is edited, and somebody else's change in between is not lost", () =>
  withPage(
    async (page, t, d) => {
      const read = () => server.ask("GET", "/v1/groups/shipping");
      await visit(page, "/groups/shipping?tab=settings");
      await page.getByRole("button", { name: t.group.edit }).click();
      const form = page.getByRole("dialog", { name: d.settings.editNamed("shipping") });
      const save = form.getByRole("button", { name: d.settings.save });
      await form.getByRole("radiogroup", { name: d.settings.policy }).waitFor();
      assert.ok(await save.isDisabled(), "nothing is changed yet");
      await form.getByText(d.settings.policies.exponential, { exact: true }).click();
      await form.getByLabel(d.settings.initial).fill("2s");
      await form.getByLabel(d.settings.max).fill("1m");
      await form.getByText(d.settings.growth("2 s, 4 s, 8 s, 16 s, 32 s, 1 min …")).waitFor();
      await form.getByRole("spinbutton", { name: d.settings.retryMax }).or(form.getByLabel(d.settings.retryMax)).first().fill("5");
      none(await axe(page));
      await picture(page, "group-edit-exponential");
      // Somebody else is faster.
      const changed = { json: { consumeTimeout: "1m" }, headers: { "If-Match": "*" } };
      await server.ask("PATCH", "/v1/groups/shipping", changed);
      await save.click();
      await form.getByText(d.settings.changed).waitFor();
      // The form shows what it is now; once more, on top of that.
      await form.getByText(d.settings.policies.exponential, { exact: true }).click();
      await form.getByLabel(d.settings.initial).fill("2s");
      await form.getByLabel(d.settings.max).fill("1m");
      await save.click();
      await form.waitFor({ state: "hidden" });
      const { retryPolicy, consumeTimeout } = await read();
      assert.deepEqual(retryPolicy, { type: "exponential", initial: "2s", max: "1m", multiplier: 2 });
      assert.equal(consumeTimeout, "1m");
      await page.getByText(t.group.growing("2s", "2", "1m")).waitFor();

      // What is wrong is said at its field.
      await page.getByRole("button", { name: t.group.edit }).click();
      await form.getByText(d.settings.policies.customized, { exact: true }).click();
      await form.getByLabel(d.settings.steps).fill("1s soon");
      await save.click();
      await form.getByRole("alert").waitFor();
      assert.equal((await read()).retryPolicy.type, "exponential");
      await form.getByLabel(d.settings.steps).fill("1s 30s");
      await save.click();
      await form.waitFor({ state: "hidden" });
      assert.deepEqual((await read()).retryPolicy, { type: "customized", next: ["1s", "30s"] });
    },
    { expected: [{ status: 412, path: /groups\/shipping/ }, { status: 400, path: /groups\/shipping/ }] },
  ));

test("offsets are reset by a plan, and by force while the group consumes", () =>
  withPage(
    async (page, t, d) => {
      await server.createTopic("replay", { readQueues: 1 });
      for (const body of ["a", "b", "c"]) await server.send("replay", body);
      const taken = await server.receive("replayer", "replay", 3);
      await server.ack(taken[0]);
      await server.ack(taken[1]);
      await visit(page, "/groups/replayer?tab=settings");
      await page.getByRole("button", { name: t.group.reset }).click();
      const form = page.getByRole("dialog", { name: d.reset.titleOf("replayer") });
      const apply = form.getByRole("button", { name: d.reset.apply });
      await form.getByRole("button", { name: d.reset.plan }).click();
      await form.getByText(d.reset.replayed("2")).waitFor();
      none(await axe(page));
      await picture(page, "group-reset-plan");
      const offset = async () => (await server.ask("GET", "/v1/groups/replayer/lag")).topics[0].queues[0].consumerOffset;
      assert.equal(await offset(), 2, "a plan moves nothing");
      // Another target than the plan's is not applied before its own plan is on the screen.
      await form.getByText(d.reset.tos.max, { exact: true }).click();
      assert.ok(await apply.isDisabled());
      await form.getByText(d.reset.tos.min, { exact: true }).click();
      await apply.click();
      // It holds a lease.
      await form.getByText(d.reset.forceWhy).waitFor();
      assert.ok(await apply.isDisabled());
      await form.getByRole("checkbox", { name: d.reset.force }).check();
      await apply.click();
      await form.waitFor({ state: "hidden" });
      assert.equal(await offset(), 0);
      assert.equal((await server.receive("replayer", "replay", 3)).length, 3);
    },
    { expected: [{ status: 409, path: /offsets\/reset/ }] },
  ));

test("dead letters are listed, sent once more and exported", () =>
  withPage(async (page, t, d) => {
    await server.createTopic("fragile", { readQueues: 1 });
    for (const body of ["one", "two", "three"]) await server.send("fragile", body, { "Content-Type": "text/plain" });
    for (const message of await server.receive("mender", "fragile", 3)) await server.giveUp(message, `cannot do ${message.body}`);
    await visit(page, "/groups/mender");
    await page.locator("dl .figure").filter({ hasText: t.group.deadLetters }).getByRole("link", { name: "3" }).click();
    const table = page.getByRole("table", { name: d.dead.title });
    await table.waitFor();
    const rows = await cells(table);
    assert.equal(rows.length, 3);
    assert.ok(rows[0].includes("fragile") && rows[0].includes("cannot do three"), rows[0]);
    await table.getByRole("checkbox").first().check();
    await page.getByRole("button", { name: d.dead.resendSelected("1") }).click();
    const dialog = page.getByRole("dialog", { name: d.dead.resend });
    await dialog.getByText(d.dead.planCount("1", "fragile")).waitFor();
    none(await axe(page));
    await picture(page, "group-dlq-resend");
    await dialog.getByRole("button", { name: d.dead.confirm("1") }).click();
    await dialog.getByText(d.dead.done("1")).waitFor();
    await dialog.getByRole("button", { name: t.action.close }).last().click();
    const [again] = await server.receive("mender", "fragile", 3);
    assert.equal(again.body, "three");
    await server.ack(again);

    await page.getByRole("button", { name: d.dead.resendAll }).click();
    await dialog.getByText(d.dead.planCount("3", "fragile")).waitFor();
    // To another topic, which there is not: nothing can be confirmed.
    await dialog.getByText(d.dead.other, { exact: true }).click();
    const topic = dialog.getByRole("textbox", { name: d.dead.otherTopic });
    await topic.fill("nowhere");
    await topic.press("Enter");
    await dialog.getByText(d.dead.planRefused("3")).waitFor();
    assert.ok(await dialog.getByRole("button", { name: d.dead.confirm("0") }).isDisabled());
    await topic.fill("payments");
    await topic.press("Enter");
    await dialog.getByText(d.dead.planCount("3", "payments")).waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });

    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: d.dead.export }).click(),
    ]);
    const lines = readFileSync(await download.path(), "utf8").trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(lines.slice(0, 3).map(({ body }) => body), ["one", "two", "three"]);
    assert.deepEqual(lines[3], { scan: { scanned: 3, complete: true } });
  }));

test("open transactions are listed and decided", () =>
  withPage(
    async (page, t, d) => {
      await server.createTopic("deals", { messageType: "transaction", readQueues: 1 });
      const [kept, dropped, raced] = [
        await server.begin("deals", "kept"),
        await server.begin("deals", "dropped", "1s"),
        await server.begin("deals", "raced"),
      ];
      await visit(page, "/topics/deals");
      const figure = page.locator("dl .figure").filter({ hasText: t.figure.openTransactions });
      await figure.getByText("3", { exact: true }).waitFor();
      await page.getByRole("tab", { name: t.topic.tabs.transactions }).click();
      await page.waitForURL(/tab=transactions/);
      const table = page.getByRole("table", { name: d.transactions.title });
      await table.waitFor();
      const rows = await cells(table);
      assert.deepEqual(rows.map(([id]) => id), [kept, dropped, raced].map(({ messageId }) => messageId));
      assert.ok(rows.every((row) => row.includes("shop")), rows);
      assert.ok(rows[0].includes("kept"), rows[0]);
      // Its time is over, and nobody asks.
      await table.getByText(d.transactions.due).waitFor();

      const button = (name) => table.getByRole("button", { name });
      const dialog = page.getByRole("dialog");
      await button(d.transactions.commitNamed(kept.messageId)).click();
      await dialog.getByText(d.transactions.commitEffect("deals")).waitFor();
      none(await axe(page));
      await picture(page, "topic-transactions-commit");
      await page.keyboard.press("Enter");
      await dialog.waitFor({ state: "hidden" });
      assert.equal((await server.messages("deals")).length, 0, "Enter confirms nothing");
      await button(d.transactions.commitNamed(kept.messageId)).click();
      await dialog.getByRole("button", { name: d.transactions.commitTitle }).click();
      await dialog.waitFor({ state: "hidden" });
      await button(d.transactions.commitNamed(kept.messageId)).waitFor({ state: "hidden" });
      await button(d.transactions.rollbackNamed(dropped.messageId)).click();
      await dialog.getByRole("button", { name: d.transactions.rollbackTitle }).click();
      await button(d.transactions.rollbackNamed(dropped.messageId)).waitFor({ state: "hidden" });
      assert.deepEqual((await server.messages("deals")).map(({ body }) => body), ["kept"]);

      // Its producer is faster, and decides otherwise.
      await button(d.transactions.commitNamed(raced.messageId)).click();
      await server.ask("POST", `/v1/transactions/${raced.transactionHandle}/rollback`);
      await dialog.getByRole("button", { name: d.transactions.commitTitle }).click();
      await dialog.getByRole("alert").waitFor();
      await dialog.getByRole("button", { name: t.action.cancel }).click();
      await page.getByText(d.transactions.none).waitFor();
      assert.equal((await server.messages("deals")).length, 1);
    },
    { expected: [{ status: 409, path: /\/v1\/transactions\// }] },
  ));

for (const [type, topic] of [["fifo", "made-fifo"], ["delay", "made-delay"], ["mixed", "made-mixed"]]) {
  test(`a topic of type ${type} is created, and its form asks for what it needs`, () =>
    withPage(
      async (page, t) => {
        await visit(page, "/topics/new");
        const form = page.getByRole("dialog", { name: t.topic.create });
        await form.getByRole("textbox", { name: t.topic.name }).fill(topic);
        await form.getByText(t.messageTypes[type], { exact: true }).click();
        await form.getByText(t.topic.typeHint[type]).waitFor();
        await form.getByRole("button", { name: t.topic.create }).click();
        await page.getByRole("heading", { level: 1, name: topic }).waitFor();
        assert.equal((await server.ask("GET", `/v1/topics/${topic}`)).messageType, type);

        await visit(page, `/topics/${topic}/send`);
        const send = page.getByRole("dialog", { name: t.send.to(topic) });
        const button = send.getByRole("button", { name: t.send.title });
        await send.getByRole("textbox", { name: t.message.body, exact: true }).fill("hello");
        const group = send.getByRole("textbox", { name: t.message.group });
        assert.equal(await group.count(), type === "delay" ? 0 : 1);
        if (type === "fifo") {
          await button.click();
          await send.getByRole("alert").waitFor();
          assert.equal((await server.messages(topic)).length, 0);
          await group.fill("acct-1");
          await button.click();
          await send.getByText(t.send.stored("1")).waitFor();
          assert.equal((await server.messages(topic))[0].messageGroup, "acct-1");
          return;
        }
        await send.getByText(t.send.deliveries.after, { exact: true }).click();
        await send.getByRole("textbox", { name: t.send.deliveries.after }).fill("1h");
        await button.click();
        await send.getByText(t.send.stored("1")).waitFor();
        assert.equal((await server.messages(topic)).length, 0, "it waits");
        await send.getByText(t.send.deliveries.at, { exact: true }).click();
        await send.getByLabel(t.send.deliverAt).fill("2020-01-01T00:00:00");
        await button.click();
        await send.getByRole("alert").waitFor();
        if (type === "mixed") {
          await group.fill("acct-2");
          assert.equal(await send.getByRole("radiogroup", { name: t.send.deliver }).count(), 0, "no message has both");
          await button.click();
          await send.getByText(t.send.stored("1")).waitFor();
          assert.equal((await server.messages(topic))[0].messageGroup, "acct-2");
        }
      },
      { expected: [{ status: 400, path: /messages/ }] },
    ));
}
