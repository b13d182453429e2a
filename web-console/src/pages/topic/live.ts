/** New messages as they come, by bounded calls: each asks for what was stored since the last one seen. */

import { useCallback, useEffect, useRef, useState } from "react";
import { browseMessages } from "../../api/resources";
import type { Message } from "../../api/types";

export const rowsMax = 1_000;
const pollMs = 2_000;
const firstRows = 20;
const pageRows = 200;
/** Pages that one round follows; a topic that is faster is caught up with over several rounds. */
const pagesMax = 5;

export interface LiveState {
  /** Newest first. */
  rows: readonly Message[];
  /** Came while paused, not shown yet. */
  waiting: number;
  /** Fell off the end of what is held. */
  dropped: number;
  error: unknown;
  started: boolean;
}

const empty: LiveState = { rows: [], waiting: 0, dropped: 0, error: null, started: false };

/** Puts what is new on top, once each, and lets go of what is too much. */
export function merge(
  rows: readonly Message[],
  found: readonly Message[],
): { rows: Message[]; fresh: number; dropped: number } {
  const known = new Set(rows.map(({ offsetMessageId }) => offsetMessageId));
  const fresh = found.filter(({ offsetMessageId }) => !known.has(offsetMessageId));
  const all = [...fresh].reverse().concat(rows);
  return { rows: all.slice(0, rowsMax), fresh: fresh.length, dropped: Math.max(0, all.length - rowsMax) };
}

export function useLive(topic: string, tag: string | undefined, enabled: boolean, paused: boolean) {
  const [state, setState] = useState<LiveState>(empty);
  const held = useRef<{ rows: readonly Message[]; shown: readonly Message[]; dropped: number }>({
    rows: [],
    shown: [],
    dropped: 0,
  });
  const isPaused = useRef(paused);
  isPaused.current = paused;

  const publish = useCallback((error: unknown) => {
    const { rows, shown, dropped } = held.current;
    if (!isPaused.current) {
      held.current.shown = rows;
      setState({ rows, waiting: 0, dropped, error, started: true });
    } else {
      const newest = shown[0]?.offsetMessageId;
      const at = newest === undefined ? rows.length : rows.findIndex((row) => row.offsetMessageId === newest);
      setState({ rows: shown, waiting: at < 0 ? rows.length : at, dropped, error, started: true });
    }
  }, []);

  useEffect(() => {
    if (!enabled) return;
    held.current = { rows: [], shown: [], dropped: 0 };
    setState(empty);
    const control = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const take = (found: readonly Message[]) => {
      const merged = merge(held.current.rows, found);
      held.current.rows = merged.rows;
      held.current.dropped += merged.dropped;
    };
    const round = async () => {
      const newest = held.current.rows[0]?.storeTimestamp;
      if (newest === undefined) {
        const page = await browseMessages(topic, { order: "desc", limit: firstRows, tag }, control.signal);
        take([...page.items].reverse());
        return;
      }
      let cursor: string | undefined;
      for (let pages = 0; pages < pagesMax; pages += 1) {
        // A cursor belongs to its query: the start goes along with it.
        const browse = { order: "asc", limit: pageRows, tag, from: String(newest), cursor } as const;
        const page = await browseMessages(topic, browse, control.signal);
        take(page.items);
        cursor = page.nextCursor ?? undefined;
        if (cursor === undefined || page.items.length === 0) break;
      }
    };
    const loop = async () => {
      let error: unknown = null;
      try {
        if (!document.hidden) await round();
      } catch (cause) {
        error = cause;
      }
      if (control.signal.aborted) return;
      publish(error);
      timer = setTimeout(loop, pollMs);
    };
    loop();
    return () => {
      control.abort();
      clearTimeout(timer);
    };
  }, [topic, tag, enabled, publish]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: going on shows at once what has waited
  useEffect(() => {
    if (held.current.rows.length > 0) publish(null);
  }, [paused, publish]);

  const clear = useCallback(() => {
    // The newest stays held, hidden: it is where the next round goes on from.
    held.current = { rows: held.current.rows.slice(0, 1), shown: [], dropped: 0 };
    setState({ ...empty, started: true });
  }, []);
  return { ...state, clear };
}
