/** Says that something was done. What shows it is loaded when the first thing was. */

import { useSyncExternalStore } from "react";

let wanted = false;
const listeners = new Set<() => void>();

export function toast(message: string) {
  wanted = true;
  for (const listener of listeners) listener();
  // Kept until it can be shown; not shown at all when the network is gone, which the page says by itself.
  import("./Toasts").then(
    ({ show }) => show(message),
    () => {},
  );
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Whether there was ever anything to show. */
export function useToasts(): boolean {
  return useSyncExternalStore(subscribe, () => wanted);
}
