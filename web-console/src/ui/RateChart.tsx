/** Messages per second over the last minutes, in and out. The same figures stand in a table for who cannot see lines. */

import { useElementSize } from "@mantine/hooks";
import { useMemo, useState } from "react";
import type { RatePoint } from "../api/rates";
import { useWords } from "../i18n/i18n";
import { linePath } from "./Sparkline";
import "./RateChart.css";

const height = 176;
const pad = { top: 10, right: 8, bottom: 22, left: 44 };
const gapMs = 90_000;
/** The axis covers at least this much, so that the first points do not stand far apart. */
const spanMsMin = 60_000;
const ticks = 4;

/** The next of 1, 2, 2.5, 5, 10, … that `ticks` steps of it cover the value. */
export function niceStep(top: number, steps: number): number {
  const rough = Math.max(top, 1) / steps;
  const power = 10 ** Math.floor(Math.log10(rough));
  return ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power;
}

export function RateChart({ points }: { points: readonly RatePoint[] }) {
  const { t, format } = useWords();
  const { ref, width } = useElementSize<HTMLDivElement>();
  const [pointed, setPointed] = useState<number>();
  const last = points.at(-1);
  const drawn = useMemo(() => {
    const first = points[0];
    const end = points.at(-1);
    if (first === undefined || end === undefined || width === 0) return undefined;
    const from = Math.min(first.at, end.at - spanMsMin);
    const step = niceStep(Math.max(...points.flatMap((point) => [point.in, point.out])), ticks);
    const top = step * ticks;
    const x = (at: number) => pad.left + ((at - from) / (end.at - from)) * (width - pad.left - pad.right);
    const y = (value: number) => height - pad.bottom - (value / top) * (height - pad.top - pad.bottom);
    const line = (name: "in" | "out") =>
      linePath(
        points.map((point, index) => ({
          x: x(point.at),
          y: y(point[name]),
          gap: index > 0 && point.at - (points[index - 1]?.at ?? 0) > gapMs,
        })),
      );
    const times = [0, 1, 2, 3].map((part) => from + ((end.at - from) * part) / 3);
    return {
      x,
      y,
      times,
      lines: { in: line("in"), out: line("out") },
      levels: Array.from({ length: ticks + 1 }, (_, i) => i * step),
    };
  }, [points, width]);

  const at = pointed === undefined ? undefined : points[pointed];
  const nearest = (clientX: number, box: DOMRect) => {
    if (drawn === undefined) return undefined;
    const distance = (point: RatePoint) => Math.abs(drawn.x(point.at) - (clientX - box.left));
    return points.reduce((best, point, index) => (distance(point) < distance(points[best] ?? point) ? index : best), 0);
  };
  const shown = at ?? last;
  return (
    <div className="rate-chart" ref={ref}>
      <p className="rate-legend" aria-hidden="true">
        <span data-line="in">
          {t.figure.in} <b>{format.rate(shown?.in)}</b>
        </span>
        <span data-line="out">
          {t.figure.out} <b>{format.rate(shown?.out)}</b>
        </span>
        {at !== undefined && <span className="rate-time">{format.timeOfDay(at.at)}</span>}
      </p>
      {drawn === undefined || points.length < 2 ? (
        <p className="rate-empty">{t.overview.ratesNone}</p>
      ) : (
        <svg
          width={width}
          height={height}
          role="img"
          aria-label={t.chart.rates(format.rate(last?.in), format.rate(last?.out))}
          onPointerMove={(event) => setPointed(nearest(event.clientX, event.currentTarget.getBoundingClientRect()))}
          onPointerLeave={() => setPointed(undefined)}
        >
          {drawn.levels.map((level) => (
            <g key={level}>
              <line
                x1={pad.left}
                x2={width - pad.right}
                y1={drawn.y(level)}
                y2={drawn.y(level)}
                className="rate-grid"
              />
              <text x={pad.left - 8} y={drawn.y(level)} dy="0.32em" textAnchor="end">
                {format.rate(level)}
              </text>
            </g>
          ))}
          {drawn.times.map((time, index) => (
            <text
              key={time}
              x={drawn.x(time)}
              y={height - 6}
              textAnchor={index === 0 ? "start" : index === drawn.times.length - 1 ? "end" : "middle"}
            >
              {format.timeOfDay(time)}
            </text>
          ))}
          <path d={drawn.lines.in} className="sparkline-in" />
          <path d={drawn.lines.out} className="sparkline-out" />
          {at !== undefined && (
            <g>
              <line
                x1={drawn.x(at.at)}
                x2={drawn.x(at.at)}
                y1={pad.top}
                y2={height - pad.bottom}
                className="rate-cross"
              />
              <circle cx={drawn.x(at.at)} cy={drawn.y(at.in)} r="3" className="rate-dot-in" />
              <circle cx={drawn.x(at.at)} cy={drawn.y(at.out)} r="3" className="rate-dot-out" />
            </g>
          )}
        </svg>
      )}
    </div>
  );
}
