import { expect, test } from "vitest";
import { parsePrefs } from "./prefs";

test("anything may stand in a browser's storage", () => {
  const plain = parsePrefs(null);
  for (const text of [
    "",
    "{",
    "null",
    "[]",
    "7",
    '{"language":"fr","refresh":1,"timeZone":"Mars/Olympus","singleKeys":"no"}',
  ]) {
    expect(parsePrefs(text)).toEqual(plain);
  }
});

test("what was chosen stays", () => {
  const chosen = {
    language: "zh",
    timeZone: "Asia/Shanghai",
    refresh: 15,
    singleKeys: false,
    sidebarCollapsed: true,
    clusterColour: "red",
  };
  expect(parsePrefs(JSON.stringify(chosen))).toEqual(chosen);
});
