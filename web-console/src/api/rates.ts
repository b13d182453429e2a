/** Rates of the last minutes, as this page saw them: kept while the page lives, because the API answers only with now. */

import { useSyncExternalStore } from "react";

export interface RatePoint {
  at: number;
  in: number;
  out: number;
}

const pointsMax = 180;
const spanMs = 15 * 60_000;

const series = new Map<string, readonly RatePoint[]>();
const seriesMax = 200;
const listeners = new Set<() => void>();
const none: readonly RatePoint[] = [];

export function keep(points: readonly RatePoint[], point: RatePoint): readonly RatePoint[] {
  const fresh = points.filter(({ at }) => at > point.at - spanMs);
  return [...fresh, point].slice(-pointsMax);
}

export function recordRate(key: string, point: RatePoint) {
  const points = keep(series.get(key) ?? none, point);
  series.delete(key);
  series.set(key, points);
  const oldest = series.keys().next().value;
  if (series.size > seriesMax && oldest !== undefined) series.delete(oldest);
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useRates(key: string): readonly RatePoint[] {
  return useSyncExternalStore(subscribe, () => series.get(key) ?? none);
}
