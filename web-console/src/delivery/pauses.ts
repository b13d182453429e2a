/** Pauses between deliveries, as people write them. Pure. */

const unitsMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `1.5s`, `250ms`: what the API takes; anything else is undefined. */
export function durationMs(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  return match === null ? undefined : Number(match[1]) * unitsMs[match[2] as keyof typeof unitsMs];
}

/** `1s 5s, 1m`: one pause for each failed delivery. */
export function splitSteps(text: string): string[] {
  return text.split(/[\s,]+/).filter((step) => step !== "");
}

/** The first pauses of a policy that grows, until it stays the same. */
export function growth(initialMs: number, maxMs: number, multiplier: number, countMax: number): number[] {
  const pauses: number[] = [];
  for (let pause = initialMs; pauses.length < countMax; pause *= multiplier) {
    pauses.push(Math.min(pause, maxMs));
    if (pause >= maxMs || multiplier <= 1) break;
  }
  return pauses;
}
