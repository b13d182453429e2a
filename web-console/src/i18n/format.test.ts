import { describe, expect, test } from "vitest";
import { formatBytes, formatDuration, fromWallTime, makeFormat, toWallTimeField, unknown, wallTime } from "./format";

describe("figures", () => {
  const en = makeFormat("en", "UTC");
  const zh = makeFormat("zh", "UTC");

  test("what is not known is a dash, never a zero", () => {
    for (const format of [en, zh]) {
      for (const show of [format.number, format.rate, format.bytes, format.percent, format.duration, format.compact]) {
        expect(show(undefined)).toBe(unknown);
        expect(show(null)).toBe(unknown);
        expect(show(Number.NaN)).toBe(unknown);
        expect(show(0)).not.toBe(unknown);
      }
    }
    expect(en.instant("nonsense")).toBe(unknown);
    expect(en.ago(undefined, 0)).toBe(unknown);
  });

  test.each([
    [0, "0 B"],
    [1023, "1,023 B"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [4 * 1024 * 1024, "4 MiB"],
    [270_553_174_016, "252 GiB"],
  ])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes, "en")).toBe(text));

  test.each([
    [7, "7 ms"],
    [1_550, "1.5 s"],
    [59_999, "59 s"],
    [65_000, "1 min 5 s"],
    [600_000, "10 min"],
    [3_600_000, "1 h"],
    [5_400_000, "1 h 30 min"],
    [90_000_000, "1 d 1 h"],
  ])("%d ms are %s", (ms, text) => expect(formatDuration(ms, false)).toBe(text));

  test("ages do not run ahead of the clock", () => {
    expect(en.ago(1_000, 61_000)).toBe("1 min. ago");
    // A server whose clock is ahead of the browser's.
    expect(en.ago(5_000, 4_500)).toMatch(/^(in )?0 sec/);
  });
});

describe("times in a zone", () => {
  test("are shown to the millisecond", () => {
    const at = Date.UTC(2026, 10, 21, 8, 52, 46, 550);
    expect(wallTime(at, "UTC")).toBe("2026-11-21 08:52:46.550");
    expect(wallTime(at, "Asia/Shanghai")).toBe("2026-11-21 16:52:46.550");
    expect(wallTime(Date.UTC(2026, 0, 1), "UTC")).toBe("2026-01-01 00:00:00.000");
  });

  test("go through a field and back, on both sides of a clock change", () => {
    const zones = ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Asia/Kolkata"];
    for (const zone of zones) {
      for (let at = Date.UTC(2026, 0, 1); at < Date.UTC(2027, 0, 1); at += 37 * 3_600_000) {
        expect(fromWallTime(toWallTimeField(at, zone), zone)).toBe(at);
      }
    }
  });

  test("half a time is none", () => {
    for (const text of ["", "2026-11-21", "2026-13-40T00:00", "soon"])
      expect(fromWallTime(text, "UTC")).toBeUndefined();
    expect(fromWallTime("2026-11-21T08:52", "UTC")).toBe(Date.UTC(2026, 10, 21, 8, 52));
  });
});
