// A stranger on an empty broker: four steps, no manual, and a message was published, seen and consumed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { axe, launch, none, openPage, picture, visit } from "./browser.mjs";
import { startServer } from "./server.mjs";

for (const language of ["en", "zh"]) {
  test(`four steps to a consumed message, ${language}`, async () => {
    const [server, browser] = await Promise.all([startServer(), launch()]);
    try {
      const page = await openPage(browser, server, { language });
      const { t } = page;
      const button = (name) => page.getByRole("button", { name, exact: true });
      const step = (title) => page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: title }) });
      const isDone = (title) => page.getByRole("heading", { name: title }).filter({ hasText: t.welcome.done }).waitFor();
      await visit(page, "/");
      await page.getByRole("heading", { level: 1, name: t.welcome.title }).waitFor();

      await button(t.topic.create).click();
      await isDone(t.welcome.steps.topic);
      await page.getByText(t.welcome.watchFirst).waitFor();

      await button(t.send.title).click();
      await isDone(t.welcome.steps.send);
      // The live view has it without anybody asking.
      await isDone(t.welcome.steps.watch);
      await step(t.welcome.steps.watch).getByText("lighthouse").waitFor();

      // A reload in the middle does not begin again.
      await page.reload();
      await isDone(t.welcome.steps.watch);

      await button(t.welcome.consume).click();
      await page.getByText(t.welcome.consumed).waitFor();
      await isDone(t.welcome.steps.connect);
      none(await axe(page));
      await picture(page, `welcome-done-${language}`);

      const { items: topics } = await server.ask("GET", "/v1/topics");
      assert.deepEqual(topics.map(({ name }) => name), ["orders"]);
      assert.deepEqual(JSON.parse((await server.messages("orders"))[0].body).item, "lighthouse");
      const { items: groups } = await server.ask("GET", "/v1/groups");
      assert.equal(groups.length, 1);
      const { totalLag } = await server.ask("GET", `/v1/groups/${groups[0].name}/lag`);
      assert.equal(totalLag, 0, "it was acknowledged");

      await button(t.welcome.finish).click();
      await page.getByRole("heading", { level: 1, name: t.nav["/"] }).waitFor();
      none(page.faults);
    } finally {
      await browser.close();
      await server.stop();
    }
  });
}
