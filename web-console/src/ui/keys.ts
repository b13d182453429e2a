/** Keys for people who keep their hands on the keyboard. Single keys can be switched off in the settings. */

import { useEffect, useRef } from "react";
import { usePrefs } from "../prefs";

const handlers = new Map<string, (() => void)[]>();
/** A first `g` waits this long for the letter that says where to. */
const SEQUENCE_MS = 1200;
let pending: { key: string; until: number } | undefined;

function isTyping(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable || target.closest("input, textarea, select, [role=combobox], [role=menu]") !== null)
  );
}

function run(key: string): boolean {
  const handler = handlers.get(key)?.at(-1);
  handler?.();
  return handler !== undefined;
}

/** `Mod+k` works everywhere; a single key only where nobody types and no dialog is open. */
function onKeyDown(event: KeyboardEvent, singleKeys: boolean) {
  if (event.defaultPrevented) return;
  if ((event.ctrlKey || event.metaKey) && !event.altKey && event.key.toLowerCase() === "k") {
    if (run("mod+k")) event.preventDefault();
    return;
  }
  const dialog = document.querySelector("[role=dialog]") !== null;
  if (!singleKeys || dialog || isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
  const sequence = pending !== undefined && pending.until > event.timeStamp ? `${pending.key} ${event.key}` : undefined;
  pending = undefined;
  if (sequence !== undefined && run(sequence)) {
    event.preventDefault();
  } else if (event.key === "g") {
    pending = { key: "g", until: event.timeStamp + SEQUENCE_MS };
  } else if (run(event.key)) {
    event.preventDefault();
  }
}

/** Once, in the shell. */
export function useKeyboard() {
  const { singleKeys } = usePrefs();
  useEffect(() => {
    const listener = (event: KeyboardEvent) => onKeyDown(event, singleKeys);
    document.addEventListener("keydown", listener);
    return () => document.removeEventListener("keydown", listener);
  }, [singleKeys]);
}

/** The page opened last answers. */
export function useKey(key: string, handler: () => void) {
  const latest = useRef(handler);
  useEffect(() => {
    latest.current = handler;
  });
  useEffect(() => {
    const call = () => latest.current();
    handlers.set(key, [...(handlers.get(key) ?? []), call]);
    return () => {
      handlers.set(
        key,
        (handlers.get(key) ?? []).filter((other) => other !== call),
      );
    };
  }, [key]);
}
