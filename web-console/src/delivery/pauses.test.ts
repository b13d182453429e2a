import { expect, test } from "vitest";
import { durationMs, growth, splitSteps } from "./pauses";

test("a duration is a number with a unit", () => {
  expect(durationMs("250ms")).toBe(250);
  expect(durationMs(" 1.5s ")).toBe(1_500);
  expect(durationMs("2h")).toBe(7_200_000);
  for (const text of ["", "5", "s", "-1s", "1 s", "1w", "1e3s"]) expect(durationMs(text), text).toBeUndefined();
});

test("steps are separated by blanks or commas", () => {
  expect(splitSteps(" 1s 5s,1m\n 2m, ")).toEqual(["1s", "5s", "1m", "2m"]);
  expect(splitSteps("  ")).toEqual([]);
});

test("pauses grow until the longest", () => {
  expect(growth(1_000, 5_000, 2, 9)).toEqual([1_000, 2_000, 4_000, 5_000]);
  expect(growth(1_000, 3_600_000, 2, 3)).toEqual([1_000, 2_000, 4_000]);
  expect(growth(1_000, 5_000, 1, 9)).toEqual([1_000]);
  expect(growth(0, 5_000, 2, 2)).toEqual([0, 0]);
});
