import { describe, expect, test } from "vitest";
import type { Message } from "../api/types";
import { hostile } from "../hostile";
import { base64OfBytes, bytesOfBase64, hasUnsafeNumbers, hexLines, parseJson, preview, textOf } from "./body";

const message = (body: unknown, bodyEncoding: string) => ({ body, bodyEncoding }) as Message;

describe("bytes", () => {
  const all = Uint8Array.from({ length: 100_000 }, (_, index) => (index * 31) % 256);

  test("go through base64 and back", () => {
    expect(bytesOfBase64(base64OfBytes(all))).toEqual(all);
    expect(base64OfBytes(new Uint8Array())).toBe("");
  });

  test("are text only when they are UTF-8, mark of order included", () => {
    for (const text of hostile) expect(textOf(new TextEncoder().encode(text))).toBe(text);
    expect(textOf(Uint8Array.of(0xff, 0xfe))).toBeUndefined();
    expect(textOf(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe("\ufeffa");
  });

  test("stand in rows of sixteen", () => {
    const lines = hexLines(Uint8Array.from({ length: 18 }, (_, index) => index + 0x3c));
    expect(lines).toHaveLength(2);
    expect(lines[0]?.hex).toBe("3c 3d 3e 3f 40 41 42 43  44 45 46 47 48 49 4a 4b");
    expect(lines[0]?.ascii).toBe("<=>?@ABCDEFGHIJK");
    expect(lines[1]).toMatchObject({ offset: "00000010", ascii: "LM" });
    expect(hexLines(Uint8Array.of(0, 0x1f, 0x7f, 0xff))[0]?.ascii).toBe("····");
  });
});

describe("a preview", () => {
  test("is one short line", () => {
    expect(preview(message("a\n\tb  c", "text"))).toEqual({ text: "a b c", binary: false });
    expect(preview(message("x".repeat(5_000_000), "text")).text).toHaveLength(240);
  });
  test("of bytes shows the first of them", () => {
    expect(preview(message("AAH/", "base64"))).toEqual({ text: "00 01 ff", binary: true });
    expect(preview(message(base64OfBytes(new Uint8Array(300)), "base64")).binary).toBe(true);
  });
  test("of nothing is nothing", () => {
    expect(preview(message(undefined, "text")).text).toBe("");
  });
});

test("JSON is read, or the reason is told", () => {
  expect(parseJson('{"a":[1]}')).toEqual({ ok: true, value: { a: [1] } });
  expect(parseJson("{a}")).toMatchObject({ ok: false });
});

test("numbers that a browser would round are noticed", () => {
  expect(hasUnsafeNumbers('{"id":9007199254740993}')).toBe(true);
  expect(hasUnsafeNumbers('{"id":9007199254740991}')).toBe(false);
  expect(hasUnsafeNumbers('{"id":"9007199254740993"}')).toBe(false);
  expect(hasUnsafeNumbers('{"at":1763715166550}')).toBe(false);
});
