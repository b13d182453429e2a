import { expect, test } from "vitest";
import { abilities, callOf, type Draft, emptyDraft, fitted, messageOf } from "./draft";

const draft: Draft = { ...emptyDraft, body: "x", messageGroup: " acct-{{seq}} ", deliver: "after", delay: " 10m " };
const now = new Date(0);

test("a draft is fitted to what its topic takes", () => {
  const sent = (type: string, changes: Partial<Draft> = {}) => {
    const able = abilities(type);
    if (able === undefined) throw new Error(`${type} can be sent`);
    const { messageGroup, delay, deliverAt } = messageOf(fitted({ ...draft, ...changes }, able), 7, now);
    return { messageGroup, delay, deliverAt };
  };
  expect(sent("normal")).toEqual({});
  expect(sent("fifo")).toEqual({ messageGroup: "acct-7" });
  expect(sent("delay")).toEqual({ delay: "10m" });
  expect(sent("mixed")).toEqual({ messageGroup: "acct-7" });
  expect(sent("mixed", { messageGroup: " " })).toEqual({ delay: "10m" });
  const deliverAt = "2030-01-31T08:00:00.000Z";
  expect(sent("delay", { deliver: "at", deliverAt })).toEqual({ deliverAt });
  expect(sent("delay", { deliver: "at" })).toEqual({});
  expect(sent("delay", { deliver: "now" })).toEqual({});
});

test("what the console cannot make is said so", () => {
  expect(abilities("transaction")).toBeUndefined();
  expect(abilities("of tomorrow")).toBeUndefined();
});

test("the call names group and time in headers", () => {
  const headers = (changes: Partial<Draft>) => callOf("t", { ...emptyDraft, body: "x", ...changes }, "").headers;
  expect(headers({ messageGroup: "收 件" })).toContainEqual(["Gantry-Message-Group", "收 件"]);
  expect(headers({ deliver: "after" })).toContainEqual(["Gantry-Delay", "10m"]);
  const deliverAt = "2030-01-31T08:00:00.000Z";
  expect(headers({ deliver: "at", deliverAt })).toContainEqual(["Gantry-Deliver-At", deliverAt]);
});
