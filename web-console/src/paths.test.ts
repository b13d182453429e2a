import { expect, test } from "vitest";
import { hostile } from "./hostile";
import { groupNameMax, nameProblem, topicNameMax } from "./names";
import { apiPaths, ofOldHash } from "./paths";

test.each(hostile)("a name stays one segment of an address: %s", (name) => {
  const { pathname, search, hash } = new URL(apiPaths.message(name, name), "http://h");
  expect([search, hash]).toEqual(["", ""]);
  const [, v1, topics, topic, messages, id, ...rest] = pathname.split("/");
  expect([v1, topics, messages, rest]).toEqual(["v1", "topics", "messages", []]);
  expect([decodeURIComponent(topic ?? ""), decodeURIComponent(id ?? "")]).toEqual([name, name]);
});

test("bookmarks of the Java dashboard lead somewhere", () => {
  const old = [
    "topic",
    "consumer",
    "message",
    "messageTrace",
    "dlqMessage",
    "producer",
    "cluster",
    "ops",
    "proxy",
    "acl",
  ];
  for (const page of old) expect(ofOldHash(`#/${page}`), page).toMatch(/^\//);
  expect(ofOldHash("#/consumer")).toBe("/groups");
  for (const hash of ["", "#", "#main", "#/constructor", "#/__proto__"]) expect(ofOldHash(hash)).toBeUndefined();
});

test("names are judged as the gateway judges them", () => {
  expect(nameProblem("orders-2026_a|b", topicNameMax)).toBeUndefined();
  expect(nameProblem("", topicNameMax)).toBe("empty");
  expect(nameProblem("x".repeat(128), topicNameMax)).toBe("long");
  expect(nameProblem("x".repeat(121), groupNameMax)).toBe("long");
  for (const name of ["a b", "a/b", "ä", "a.b", "50%"]) expect(nameProblem(name, topicNameMax)).toBe("characters");
});
