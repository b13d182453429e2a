import { describe, expect, test } from "vitest";
import { hostile } from "./hostile";
import {
  groupSearch,
  parseColumns,
  parseQueue,
  parseSearch,
  stringifySearch,
  topicSearch,
  topicsSearch,
} from "./search";

describe("what stands behind the question mark", () => {
  test.each(hostile)("comes back as it went: %s", (text) => {
    expect(parseSearch(stringifySearch({ q: text }).slice(1))).toEqual({ q: text });
    expect(topicsSearch(parseSearch(stringifySearch({ q: text })))).toEqual({ q: text });
  });

  test("of a whole topic page goes there and back", () => {
    const search = topicSearch({
      tab: "queues",
      start: "time",
      at: "2026-11-21T08:00:00.000Z",
      queue: "broker-a/3",
      offset: 17,
      tag: "123",
      cols: "time,body",
      delete: true,
    });
    expect(topicSearch(parseSearch(stringifySearch({ ...search })))).toEqual(search);
    expect(search.tag).toBe("123");
  });

  test("is left out where it makes no sense", () => {
    const raw = { tab: "nope", start: "yesterday", at: "soon", offset: "-1", cols: "x,y", delete: "1", extra: "1" };
    expect(topicSearch(raw)).toEqual({});
    expect(topicSearch({ offset: "99999999999999999999" })).toEqual({});
    expect(groupSearch({ tab: ["lag"] })).toEqual({});
  });

  test("says nothing about a plain page", () => {
    expect(stringifySearch({ q: "", system: false, sort: undefined })).toBe("");
  });
});

test("columns keep their own order, unknown ones fall out", () => {
  expect(parseColumns("body,time,nope")).toEqual(["time", "body"]);
  expect(parseColumns("nope")).toBeUndefined();
});

test("a queue has a broker and a number", () => {
  expect(parseQueue("broker-a/3")).toEqual({ brokerName: "broker-a", queueId: 3 });
  for (const text of [undefined, "", "broker-a", "/3", "broker-a/", "broker-a/x", "a/b/3"]) {
    expect(parseQueue(text)).toBeUndefined();
  }
});
