import { expect, test } from "vitest";
import type { Group, QueueMoved } from "../api/types";
import { changesOf, typedOf } from "./EditGroup";
import { totals } from "./ResetOffsets";

const group: Group = {
  name: "g",
  consumeEnabled: true,
  orderly: false,
  broadcastEnabled: true,
  retryMaxTimes: 16,
  retryPolicy: { type: "customized", next: ["1s", "5s"] },
  consumeTimeout: "15m",
  retryQueues: 1,
  startFrom: "auto",
};

test("what is saved is what was changed", () => {
  const typed = typedOf(group);
  expect(changesOf(group, typed)).toEqual({});
  expect(changesOf(group, { ...typed, steps: " 1s,5s " })).toEqual({});
  expect(changesOf(group, { ...typed, retryMaxTimes: -1, orderly: true })).toEqual({
    retryMaxTimes: -1,
    orderly: true,
  });
  expect(changesOf(group, { ...typed, steps: "2s" })).toEqual({ retryPolicy: { type: "customized", next: ["2s"] } });
  const grows = changesOf(group, { ...typed, policy: "exponential", initial: "2s ", max: "1m", multiplier: 3 });
  expect(grows).toEqual({ retryPolicy: { type: "exponential", initial: "2s", max: "1m", multiplier: 3 } });
});

test("a plan says what comes again and what is passed over", () => {
  const queue = (from: number | null, to: number): QueueMoved => ({
    brokerName: "b",
    queueId: 0,
    from,
    to,
    delta: from === null ? 0 : to - from,
  });
  expect(totals([queue(5, 2), queue(0, 4), queue(null, 9), queue(3, 3)])).toEqual({ replayed: 3, skipped: 4 });
  expect(totals([])).toEqual({ replayed: 0, skipped: 0 });
});
