/** What this browser was told to prefer. It lives here and nowhere else: the gateway keeps nothing of it. */

import { useSyncExternalStore } from "react";

export type Language = "en" | "zh";
export const languages: readonly Language[] = ["en", "zh"];
export const refreshSeconds = [0, 5, 15, 60] as const;
export type RefreshSeconds = (typeof refreshSeconds)[number];
export const clusterColours = ["none", "green", "blue", "orange", "red"] as const;
export type ClusterColour = (typeof clusterColours)[number];

export interface Prefs {
  language: Language;
  /** An IANA name; empty is the browser's own. */
  timeZone: string;
  refresh: RefreshSeconds;
  /** Single-key shortcuts (WCAG 2.1.4 wants them to have a switch). */
  singleKeys: boolean;
  sidebarCollapsed: boolean;
  clusterColour: ClusterColour;
}

const storageKey = "gantry.prefs";

function preferredLanguage(): Language {
  return navigator.languages?.[0]?.toLowerCase().startsWith("zh") ? "zh" : "en";
}

const defaults = (): Prefs => ({
  language: preferredLanguage(),
  timeZone: "",
  refresh: 5,
  singleKeys: true,
  sidebarCollapsed: false,
  clusterColour: "none",
});

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** Anything may stand in storage: an older version wrote it, or a person did. */
export function parsePrefs(text: string | null): Prefs {
  const prefs = defaults();
  let stored: unknown;
  try {
    stored = JSON.parse(text ?? "{}");
  } catch {
    return prefs;
  }
  if (typeof stored !== "object" || stored === null) return prefs;
  const { language, timeZone, refresh, singleKeys, sidebarCollapsed, clusterColour } = stored as Record<
    string,
    unknown
  >;
  if (languages.includes(language as Language)) prefs.language = language as Language;
  if (typeof timeZone === "string" && timeZone !== "" && isTimeZone(timeZone)) prefs.timeZone = timeZone;
  if (refreshSeconds.includes(refresh as RefreshSeconds)) prefs.refresh = refresh as RefreshSeconds;
  if (typeof singleKeys === "boolean") prefs.singleKeys = singleKeys;
  if (typeof sidebarCollapsed === "boolean") prefs.sidebarCollapsed = sidebarCollapsed;
  if (clusterColours.includes(clusterColour as ClusterColour)) prefs.clusterColour = clusterColour as ClusterColour;
  return prefs;
}

let current = parsePrefs(safely(() => localStorage.getItem(storageKey)) ?? null);
const listeners = new Set<() => void>();

/** Storage can be switched off in a browser; the console then forgets with the tab. */
function safely<T>(access: () => T): T | undefined {
  try {
    return access();
  } catch {
    return undefined;
  }
}

function publish(next: Prefs) {
  current = next;
  for (const listener of listeners) listener();
}

export function setPrefs(change: Partial<Prefs>) {
  publish({ ...current, ...change });
  safely(() => localStorage.setItem(storageKey, JSON.stringify(current)));
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

globalThis.addEventListener?.("storage", (event) => {
  if (event.key === storageKey) publish(parsePrefs(event.newValue));
});

/** As they are now; a component that must follow them uses `usePrefs`. */
export function currentPrefs(): Prefs {
  return current;
}

export function usePrefs(): Prefs {
  return useSyncExternalStore(subscribe, () => current);
}
