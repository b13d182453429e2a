import { expect, test } from "vitest";
import type { Message } from "../../api/types";
import { merge, rowsMax } from "./live";

const rows = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => ({ offsetMessageId: String(from + index) }) as Message);
const ids = (messages: readonly Message[]) => messages.map(({ offsetMessageId }) => Number(offsetMessageId));

test("new messages come on top, newest first, each once", () => {
  const first = merge([], rows(0, 3));
  expect(ids(first.rows)).toEqual([2, 1, 0]);
  // A round starts at the newest time seen, so that messages of the same millisecond are not missed: some come again.
  const second = merge(first.rows, rows(1, 5));
  expect(ids(second.rows)).toEqual([4, 3, 2, 1, 0]);
  expect(second.fresh).toBe(2);
});

test("what is too much is let go, and counted", () => {
  const full = merge([], rows(0, rowsMax + 10));
  expect(full.rows).toHaveLength(rowsMax);
  expect(full.dropped).toBe(10);
  expect(ids(full.rows)[0]).toBe(rowsMax + 9);
});
