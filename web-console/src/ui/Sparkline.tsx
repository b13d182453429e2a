/** Rates of the last minutes as two small lines. The figures beside them carry the same in text. */

import { useMemo } from "react";
import type { RatePoint } from "../api/rates";
import { useWords } from "../i18n/i18n";
import "./Sparkline.css";

/** Longer than this between two points and nothing was seen in between: a gap is drawn as a gap. */
const gapMs = 90_000;

export function linePath(points: readonly { x: number; y: number; gap: boolean }[]): string {
  return points
    .map(({ x, y, gap }, index) => `${index === 0 || gap ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`)
    .join("");
}

export function Sparkline({
  points,
  width = 160,
  height = 32,
  show = ["in", "out"],
}: {
  points: readonly RatePoint[];
  width?: number;
  height?: number;
  show?: readonly ("in" | "out")[];
}) {
  const { t, format } = useWords();
  const drawn = useMemo(() => {
    const first = points[0];
    const last = points.at(-1);
    if (first === undefined || last === undefined || points.length < 2) return undefined;
    const top = Math.max(1, ...points.flatMap((point) => show.map((name) => point[name])));
    const x = (at: number) => ((at - first.at) / (last.at - first.at || 1)) * (width - 2) + 1;
    const y = (value: number) => height - 2 - (value / top) * (height - 5);
    return show.map((name) => ({
      name,
      d: linePath(
        points.map((point, index) => ({
          x: x(point.at),
          y: y(point[name]),
          gap: index > 0 && point.at - (points[index - 1]?.at ?? 0) > gapMs,
        })),
      ),
    }));
  }, [points, width, height, show]);
  const last = points.at(-1);
  const label = t.chart.rates(format.rate(last?.in), format.rate(last?.out));
  return (
    <svg
      className="sparkline"
      viewBox={`0 0 ${width} ${height}`}
      width={width}
      height={height}
      role="img"
      aria-label={label}
      preserveAspectRatio="none"
    >
      <line x1="0" x2={width} y1={height - 1.5} y2={height - 1.5} className="sparkline-ground" />
      {drawn?.map(({ name, d }) => (
        <path key={name} d={d} className={`sparkline-${name}`} />
      ))}
    </svg>
  );
}
