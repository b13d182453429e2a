import { expect, test } from "vitest";
import { delivery } from "./delivery";
import { en as main } from "./en";
import { zh as mainZh } from "./zh";

const en = { ...main, delivery: delivery.en };
const zh = { ...mainZh, delivery: delivery.zh };

type Entry = [path: string, value: unknown];

function entries(catalogue: object, path = ""): Entry[] {
  return Object.entries(catalogue).flatMap(([name, value]): Entry[] =>
    typeof value === "object" ? entries(value, `${path}.${name}`) : [[`${path}.${name}`, value]],
  );
}

test("both catalogues have the same keys, in the same order", () => {
  expect(entries(zh).map(([path]) => path)).toEqual(entries(en).map(([path]) => path));
});

test("no sentence is empty, and no sentence of one language stands in the other", () => {
  for (const [path, value] of entries(en)) {
    if (typeof value === "string") expect(value, path).not.toMatch(/[一-鿿]|^$/);
  }
  for (const [path, value] of entries(zh)) {
    if (typeof value === "string" && value.includes(" ")) expect(value, path).toMatch(/[一-鿿]|order-1|\{"order"/);
  }
});

test("every sentence uses all that it is given", () => {
  for (const catalogue of [en, zh]) {
    for (const [path, value] of entries(catalogue)) {
      if (typeof value !== "function" || value.length === 0 || path.endsWith(".rows") || path.includes(".form.names"))
        continue;
      const given = Array.from({ length: value.length }, (_, index) => 4321 + index);
      const text = String((value as (...values: number[]) => string)(...given));
      for (const number of given) expect(text, path).toContain(String(number));
    }
  }
});
