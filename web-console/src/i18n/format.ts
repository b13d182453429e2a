/** Numbers, sizes, ages and times as a person reads them. Pure: language and zone are handed in. */

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** A dash says "not known"; nothing here ever turns that into 0. */
export const unknown = "–";

const sizeUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export interface Format {
  number: (value: number | null | undefined) => string;
  /** At most three significant digits: for tiles that move. */
  compact: (value: number | null | undefined) => string;
  rate: (value: number | null | undefined) => string;
  bytes: (value: number | null | undefined) => string;
  percent: (share: number | null | undefined) => string;
  duration: (ms: number | null | undefined) => string;
  /** Date and time to the millisecond, in the zone. */
  instant: (at: number | string | null | undefined) => string;
  /** As `instant`, with the zone's name: for tooltips and exports. */
  instantZoned: (at: number | string | null | undefined) => string;
  timeOfDay: (at: number | string) => string;
  ago: (at: number | string | null | undefined, now: number) => string;
}

function epochMs(at: number | string): number {
  return typeof at === "number" ? at : Date.parse(at);
}

export function formatBytes(value: number, locale: string): string {
  let unit = 0;
  let scaled = value;
  while (scaled >= 1024 && unit < sizeUnits.length - 1) {
    scaled /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
  return `${new Intl.NumberFormat(locale, { maximumFractionDigits: digits }).format(scaled)} ${sizeUnits[unit]}`;
}

/** The two largest units that say something: `3 h 20 min`. */
export function formatDuration(ms: number, zh: boolean): string {
  const names = zh
    ? { day: "天", hour: "小时", minute: "分", second: "秒", ms: "毫秒" }
    : { day: "d", hour: "h", minute: "min", second: "s", ms: "ms" };
  const part = (value: number, name: string) => `${Math.floor(value)} ${name}`;
  if (ms < SECOND_MS) return part(ms, names.ms);
  if (ms < 10 * SECOND_MS) return `${(Math.floor(ms / 100) / 10).toString()} ${names.second}`;
  if (ms < MINUTE_MS) return part(ms / SECOND_MS, names.second);
  const pairs: [number, string, number, string][] = [
    [DAY_MS, names.day, HOUR_MS, names.hour],
    [HOUR_MS, names.hour, MINUTE_MS, names.minute],
    [MINUTE_MS, names.minute, SECOND_MS, names.second],
  ];
  for (const [large, largeName, small, smallName] of pairs) {
    if (ms < large) continue;
    const rest = Math.floor((ms % large) / small);
    const whole = part(ms / large, largeName);
    return rest === 0 || ms >= 10 * large ? whole : `${whole} ${part(rest, smallName)}`;
  }
  return part(ms, names.ms);
}

const parts = (formatter: Intl.DateTimeFormat, at: number) =>
  Object.fromEntries(formatter.formatToParts(at).map(({ type, value }) => [type, value])) as Record<string, string>;

const wallClocks = new Map<string, Intl.DateTimeFormat>();

function wallClock(zone: string): Intl.DateTimeFormat {
  let formatter = wallClocks.get(zone);
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone || undefined,
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      fractionalSecondDigits: 3,
      hourCycle: "h23",
    });
    wallClocks.set(zone, formatter);
  }
  return formatter;
}

/** `2026-11-21 08:52:46.550` in a zone. */
export function wallTime(at: number, zone: string): string {
  const p = parts(wallClock(zone), at);
  return `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}:${p.second}.${p.fractionalSecond}`;
}

/** The instant that a zone's clock shows as `2026-11-21T08:52:46` (what a datetime field holds). */
export function fromWallTime(text: string, zone: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,3})?)?$/.test(text)) return undefined;
  const asUtc = Date.parse(`${text.replace(" ", "T")}Z`);
  if (Number.isNaN(asUtc)) return undefined;
  const shown = (at: number) => Date.parse(`${wallTime(at, zone).replace(" ", "T")}Z`);
  // Two rounds: the first offset may be the one of the other side of a clock change.
  let at = asUtc - (shown(asUtc) - asUtc);
  at -= shown(at) - asUtc;
  return at;
}

/** What a datetime field shows for an instant. */
export function toWallTimeField(at: number, zone: string): string {
  return wallTime(at, zone).slice(0, 19).replace(" ", "T");
}

export function zoneName(zone: string): string {
  return zone || Intl.DateTimeFormat().resolvedOptions().timeZone;
}

export function makeFormat(language: "en" | "zh", zone: string): Format {
  const locale = language === "zh" ? "zh-CN" : "en";
  const plain = new Intl.NumberFormat(locale);
  const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumSignificantDigits: 3 });
  const small = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
  const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "always", style: "short" });
  const known =
    <T>(show: (value: T) => string) =>
    (value: T | null | undefined) =>
      value === null || value === undefined || Number.isNaN(value as number) ? unknown : show(value);
  const instant = (at: number | string) => {
    const ms = epochMs(at);
    return Number.isNaN(ms) ? unknown : wallTime(ms, zone);
  };
  return {
    number: known((value: number) => plain.format(value)),
    compact: known((value: number) => (Math.abs(value) < 10_000 ? plain.format(value) : compact.format(value))),
    rate: known((value: number) => (value >= 10_000 ? compact.format(value) : small.format(value))),
    bytes: known((value: number) => formatBytes(value, locale)),
    percent: known((share: number) => percent.format(share)),
    duration: known((ms: number) => formatDuration(ms, language === "zh")),
    instant: known(instant),
    instantZoned: known((at: number | string) => `${instant(at)} ${zoneName(zone)}`),
    timeOfDay: (at) => instant(at).slice(11, 19),
    ago: (at, now) => {
      if (at === null || at === undefined) return unknown;
      const past = now - epochMs(at);
      if (Number.isNaN(past)) return unknown;
      const units: [number, Intl.RelativeTimeFormatUnit][] = [
        [DAY_MS, "day"],
        [HOUR_MS, "hour"],
        [MINUTE_MS, "minute"],
      ];
      for (const [ms, unit] of units) {
        if (Math.abs(past) >= ms) return relative.format(-Math.trunc(past / ms), unit);
      }
      return relative.format(-Math.max(0, Math.trunc(past / SECOND_MS)), "second");
    },
  };
}
