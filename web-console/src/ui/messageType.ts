/** The kinds of topics, and what they are called. */

import type { Catalogue } from "../i18n/i18n";

export const messageTypes = ["normal", "fifo", "delay", "mixed", "transaction"] as const;

/** A newer server may know more of them. */
export function messageTypeName(t: Catalogue, type: string): string {
  return t.messageTypes[type as keyof typeof t.messageTypes] ?? type;
}
