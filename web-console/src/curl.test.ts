import { execFileSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { curl, encodeProperty, quote } from "./curl";
import { callOf, emptyDraft, fillIn, messagesOf, splitKeys } from "./forms/draft";
import { hostile } from "./hostile";

/** What a shell makes of a line: the words a program gets. */
function words(line: string): string[] {
  const program = 'for word in "$@"; do printf "%s\\0" "$word"; done';
  const out = execFileSync("/bin/sh", ["-c", `set -- ${line}\n${program}`], { encoding: "utf8" });
  return out.split("\0").slice(0, -1);
}

describe("a command", () => {
  test.each(hostile)("reaches the program whole: %s", (text) => {
    expect(words(quote(text))).toEqual([text]);
    const line = curl({ method: "POST", url: "http://localhost:8080/v1/topics/t/messages", data: text });
    expect(words(line)).toEqual(["curl", "http://localhost:8080/v1/topics/t/messages", "--data-binary", text]);
  });

  test("names its method only where curl would not guess it", () => {
    expect(curl({ url: "http://h/" })).toBe("curl http://h/");
    expect(curl({ method: "PUT", url: "http://h/", json: {} })).toBe("curl -X PUT http://h/ \\\n  --json '{}'");
    expect(curl({ method: "POST", url: "http://h/" })).toBe("curl -X POST http://h/");
    expect(curl({ method: "DELETE", url: "http://h/" })).toBe("curl -X DELETE http://h/");
  });
});

test.each(hostile)("a property stands in one header: %s", (text) => {
  const encoded = encodeProperty(text);
  expect(encoded).toMatch(/^[\x21-\x7e]*$/);
  expect(encoded).not.toMatch(/[,=]/);
  expect(decodeURIComponent(encoded)).toBe(text);
});

describe("the send form", () => {
  const now = new Date("2026-11-21T08:00:00Z");

  test("fills in what changes from copy to copy", () => {
    expect(fillIn("n={{seq}} at {{now}}", 7, now)).toBe("n=7 at 2026-11-21T08:00:00.000Z");
    const [a, b] = fillIn("{{uuid}} {{uuid}}", 1, now).split(" ");
    expect(a).toMatch(/^[0-9a-f-]{36}$/);
    expect(a).not.toBe(b);
  });

  test("makes as many messages as were asked for", () => {
    const draft = { ...emptyDraft, body: "{{seq}}", keys: "k-{{seq}}", count: 3 };
    const messages = messagesOf(draft, now);
    expect(messages.map(({ body }) => body)).toEqual(["1", "2", "3"]);
    expect(messages.map(({ keys }) => keys)).toEqual([["k-1"], ["k-2"], ["k-3"]]);
  });

  test("sends nothing that was left empty", () => {
    const [message] = messagesOf({ ...emptyDraft, properties: [{ id: 1, name: " ", value: "x" }] }, now);
    expect(JSON.parse(JSON.stringify(message))).toEqual({ body: "" });
  });

  test("splits keys at commas and blanks", () => {
    expect(splitKeys(" a, b  c,,d ")).toEqual(["a", "b", "c", "d"]);
  });

  test("shows the call it is about to make", () => {
    const draft = { ...emptyDraft, body: "hi", tag: "paid", properties: [{ id: 1, name: "region", value: "a,b" }] };
    expect(words(curl(callOf("orders", draft, "http://h")))).toEqual([
      "curl",
      "http://h/v1/topics/orders/messages",
      "-H",
      "Content-Type: text/plain",
      "-H",
      "Gantry-Tag: paid",
      "-H",
      "Gantry-Property: region=a%2Cb",
      "--data-binary",
      "hi",
    ]);
  });
});
