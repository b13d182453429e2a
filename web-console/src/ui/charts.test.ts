import { expect, test } from "vitest";
import { keep } from "../api/rates";
import { niceStep } from "./RateChart";
import { linePath } from "./Sparkline";

test("an axis has round steps that reach the top", () => {
  expect([0, 1, 3, 7, 99, 101, 4096].map((top) => niceStep(top, 4))).toEqual([0.25, 0.25, 1, 2, 25, 50, 2000]);
  for (let top = 1; top < 1e7; top *= 1.7) expect(niceStep(top, 4) * 4).toBeGreaterThanOrEqual(top);
});

test("a gap is drawn as a gap", () => {
  const points = [
    { x: 0, y: 1, gap: false },
    { x: 1, y: 2, gap: false },
    { x: 9, y: 3, gap: true },
  ];
  expect(linePath(points)).toBe("M0.0 1.0L1.0 2.0M9.0 3.0");
});

test("rates older than the span are forgotten", () => {
  const minute = 60_000;
  let points = keep([], { at: 0, in: 1, out: 1 });
  points = keep(points, { at: 10 * minute, in: 2, out: 1 });
  points = keep(points, { at: 16 * minute, in: 3, out: 1 });
  expect(points.map((point) => point.in)).toEqual([2, 3]);
  for (let at = 0; at < 1_000; at += 1) points = keep(points, { at: 16 * minute + at, in: at, out: 0 });
  expect(points.length).toBeLessThanOrEqual(180);
});
