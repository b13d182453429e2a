// Chromium, and what a page must not do while a test looks at it.

import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { repository } from "./server.mjs";

const require = createRequire(import.meta.url);
const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const pictures = join(process.env.CARGO_TARGET_DIR ?? join(repository, "target"), "browser");
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** Ten times what the slowest step takes on a busy machine. */
const waitMax = 15_000;

export const wide = { width: 1280, height: 860 };
export const narrow = { width: 390, height: 844 };

/** What the console says, per language: its own catalogues, so that tests name what a person reads. */
export const words = { en: (await catalogue("en")).en, zh: (await catalogue("zh")).zh };
/** What its panels and tabs about deliveries say. */
const { delivery } = await catalogue("delivery");

async function catalogue(name) {
  const ts = createRequire(join(repository, "web-console/package.json"))("typescript");
  const source = readFileSync(join(repository, `web-console/src/i18n/${name}.ts`), "utf8");
  const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
  const { outputText } = ts.transpileModule(source, { compilerOptions });
  return import(`data:text/javascript;base64,${Buffer.from(outputText).toString("base64")}`);
}

export function launch() {
  // Debian's sandbox does not work for root.
  return chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] });
}

/**
 * A page that keeps a list of everything it should not have done, in `faults`. Language and theme come as a browser
 * states them. `expected` names answers that a test provokes: `[{ status: 404, path: /absent/ }]`.
 */
export async function openPage(browser, server, { language = "en", theme = "light", size = wide, expected = [] } = {}) {
  const context = await browser.newContext({
    baseURL: server.url,
    locale: language === "zh" ? "zh-CN" : "en-GB",
    timezoneId: "UTC",
    colorScheme: theme,
    viewport: size,
    reducedMotion: "reduce",
    permissions: ["clipboard-read", "clipboard-write"],
  });
  const page = await context.newPage();
  page.setDefaultTimeout(waitMax);
  page.t = words[language];
  page.d = delivery[language];
  page.faults = [];
  const isExpected = (status, url) => expected.some((one) => one.status === status && one.path.test(url));

  await page.exposeFunction("__fault", (text) => page.faults.push(text));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sample }) =>
      globalThis.__fault(`content policy: ${violatedDirective} ${blockedURI} ${sample}`),
    );
  });
  page.on("console", (message) => {
    if (message.type() !== "error" && message.type() !== "warning") return;
    const { url } = message.location();
    // Chromium writes a line of its own for each refused request; those are judged below.
    if (message.text().startsWith("Failed to load resource")) return;
    page.faults.push(`console ${message.type()}: ${message.text()} (${url})`);
  });
  page.on("pageerror", (error) => page.faults.push(`uncaught: ${error.stack ?? error}`));
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (["http:", "https:", "ws:", "wss:"].includes(url.protocol) && url.origin !== server.url) {
      page.faults.push(`another origin: ${url}`);
    }
  });
  page.on("requestfailed", (request) => {
    const reason = request.failure()?.errorText;
    // The page itself lets go of what it no longer needs.
    if (reason !== "net::ERR_ABORTED") page.faults.push(`failed: ${request.method()} ${request.url()} ${reason}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400 && !isExpected(response.status(), response.url())) {
      page.faults.push(`refused: ${response.request().method()} ${response.url()} ${response.status()}`);
    }
  });
  return page;
}

/** Opens an address and waits for what it shows. */
export async function visit(page, path) {
  await page.goto(path);
  await settle(page);
}

/** Every data area has its data, and nothing is on its way in. */
export async function settle(page) {
  await page.locator("main").waitFor();
  await page.waitForFunction((loading) => {
    const main = document.querySelector("main");
    const statuses = [...document.querySelectorAll("[role=status]")];
    return main.textContent.trim() !== "" && !statuses.some((status) => status.textContent.trim() === loading);
  }, page.t.state.loading);
  await page.evaluate(() => document.fonts.ready);
}

/** Violations of WCAG 2.2, levels A and AA, in words. */
export async function axe(page) {
  await page.evaluate(axeSource);
  return page.evaluate(async () => {
    const values = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
    const { violations } = await globalThis.axe.run(document, { runOnly: { type: "tag", values } });
    return violations.map(({ id, help, nodes }) => {
      const shown = nodes.slice(0, 3).map(({ html, any }) => `\n      ${html.slice(0, 200)}\n        ${any[0]?.message ?? ""}`);
      return `${id} (${nodes.length}): ${help}${shown.join("")}`;
    });
  });
}

/** Fails with everything a page did wrong, each thing once. */
export function none(...faults) {
  const found = [...new Set(faults.flat())];
  if (found.length > 0) throw new Error(`\n  ${found.join("\n  ")}`);
}

/** How far the whole page can be pushed sideways. */
export function sidewaysPx(page) {
  return page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.scrollingElement;
    return scrollWidth - clientWidth;
  });
}

export async function picture(page, name) {
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`), animations: "disabled" });
}
