// Every address, in both languages, both themes and both widths: nothing to hold against it, and a picture kept.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { axe, launch, narrow, none, openPage, picture, settle, sidewaysPx, visit, wide } from "./browser.mjs";
import { fill, repository, startServer } from "./server.mjs";

let full;
let empty;
let browser;
let messageId;
before(async () => {
  [full, empty, browser] = await Promise.all([startServer(), startServer(), launch()]);
  ({ messageId } = await fill(full));
});
after(async () => {
  await browser?.close();
  await Promise.all([full?.stop(), empty?.stop()]);
});

const absent = [{ status: 404, path: /\/v1\/.*absent/ }];

/** Name of the picture, address, and where it differs: the server without anything in it, answers that are meant to fail. */
const pages = [
  ["overview", "/"],
  ["overview-welcome", "/?welcome=true&topic=orders"],
  ["topics", "/topics"],
  ["topics-filtered", "/topics?q=pay&sort=-name"],
  ["topics-no-match", "/topics?q=zzz"],
  ["topics-system", "/topics?system=true"],
  ["topics-new", "/topics/new"],
  ["topics-delete", "/topics?delete=orders"],
  ["topic-messages", "/topics/orders"],
  ["topic-messages-oldest", "/topics/orders?start=oldest&tag=open"],
  ["topic-messages-live", "/topics/orders?start=live"],
  ["topic-queues", "/topics/orders?tab=queues"],
  ["topic-groups", "/topics/orders?tab=groups"],
  ["topic-settings", "/topics/orders?tab=settings"],
  ["topic-empty", "/topics/empty"],
  ["topic-absent", "/topics/absent", { expected: absent }],
  ["topic-odd-name", "/topics/50%7Coff"],
  ["topic-system-name", "/topics/%25DLQ%25absent", { expected: absent }],
  ["topic-fifo-groups", "/topics/ledger?tab=groups"],
  ["topic-delay", "/topics/reminders"],
  ["topic-transactions", "/topics/transfers?tab=transactions"],
  ["topic-transactions-none", "/topics/anything?tab=transactions"],
  ["send", "/topics/orders/send"],
  ["send-fifo", "/topics/ledger/send"],
  ["send-delay", "/topics/reminders/send"],
  ["send-mixed", "/topics/anything/send"],
  ["message", () => `/topics/orders/messages/${messageId}`],
  ["message-hex", () => `/topics/orders/messages/${messageId}?view=hex`],
  ["message-text", () => `/topics/orders/messages/${messageId}?view=text`],
  ["message-properties", () => `/topics/orders/messages/${messageId}?tab=properties`],
  ["message-absent", "/topics/orders/messages/absent", { expected: [...absent, { status: 400, path: /absent/ }] }],
  ["groups", "/groups"],
  ["groups-new", "/groups/new"],
  ["group", "/groups/billing"],
  ["group-inflight", "/groups/billing?tab=inflight"],
  ["group-inflight-none", "/groups/shipping?tab=inflight"],
  ["group-dlq", "/groups/billing?tab=dlq"],
  ["group-dlq-none", "/groups/shipping?tab=dlq"],
  ["group-settings", "/groups/billing?tab=settings"],
  ["group-edit", "/groups/billing?tab=settings&edit=true"],
  ["group-reset", "/groups/billing?reset=true"],
  ["group-absent", "/groups/absent", { expected: absent }],
  ["settings", "/settings"],
  ["no-such-page", "/no/such/page"],
  ["empty-overview", "/", { isEmpty: true }],
  ["empty-topics", "/topics", { isEmpty: true }],
  ["empty-groups", "/groups", { isEmpty: true }],
];

for (const language of ["en", "zh"]) {
  for (const theme of ["light", "dark"]) {
    describe(`${language}, ${theme}`, () => {
      for (const [name, address, { isEmpty = false, expected = [] } = {}] of pages) {
        test(name, async () => {
          const page = await openPage(browser, isEmpty ? empty : full, { language, theme, expected });
          await visit(page, typeof address === "function" ? address() : address);
          assert.equal(await page.evaluate(() => document.documentElement.lang), language === "zh" ? "zh-CN" : "en");
          assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme), theme);
          const wrong = await axe(page);
          await picture(page, `${name}-${language}-${theme}-1280`);

          await page.setViewportSize(narrow);
          await settle(page);
          // Colours do not depend on the width.
          if (theme === "light") wrong.push(...(await axe(page)).map((text) => `at 390 px: ${text}`));
          await picture(page, `${name}-${language}-${theme}-390`);
          const sideways = await sidewaysPx(page);
          if (sideways > 0) wrong.push(`the page can be pushed ${sideways} px sideways at 390 px`);
          none(wrong, page.faults);
          await page.context().close();
        });
      }
    });
  }
}

test("a build without the console has a page that stands on its own", async () => {
  const plain = readFileSync(join(repository, "gateway/src/front/console/not_built.html"), "utf8");
  for (const theme of ["light", "dark"]) {
    const page = await openPage(browser, empty, { theme, size: wide });
    // Under the policy of the real answer, and with its nonce.
    await page.route("**/not-built", async (route) => {
      const response = await route.fetch();
      const nonce = /'nonce-([^']+)'/.exec(response.headers()["content-security-policy"])[1];
      const body = plain.replaceAll("__CSP_NONCE__", nonce).replaceAll("__BASE_PATH__", "/");
      await route.fulfill({ response, body, headers: { ...response.headers(), "content-length": undefined } });
    });
    await page.goto("/not-built");
    const wrong = await axe(page);
    await picture(page, `not-built-${theme}-1280`);
    await page.setViewportSize(narrow);
    assert.equal(await sidewaysPx(page), 0);
    await picture(page, `not-built-${theme}-390`);
    none(wrong, page.faults);
    await page.context().close();
  }
});
