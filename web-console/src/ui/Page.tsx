/** The head every page has: its one title, what stands beside it, what may be done. */

import { type ReactNode, useEffect } from "react";
import { Copy } from "./text";
import "./Page.css";

/** The tab's title names the object first: that is what fits into a narrow tab. */
export function useTitle(...parts: string[]) {
  const title = [...parts, "Gantry"].join(" · ");
  useEffect(() => {
    document.title = title;
  }, [title]);
}

export function PageHead({
  title,
  mono = false,
  copy,
  beside,
  children,
}: {
  title: string;
  mono?: boolean;
  copy?: string;
  beside?: ReactNode;
  children?: ReactNode;
}) {
  return (
    <header className="page-head">
      <div className="page-title">
        <h1 className={mono ? "name" : undefined}>{title}</h1>
        {copy !== undefined && <Copy value={copy} />}
        {beside}
      </div>
      <div className="page-actions">{children}</div>
    </header>
  );
}

export interface Figure {
  name: string;
  value: ReactNode;
  unit?: string;
  note?: ReactNode;
  tone?: "in" | "out" | "warn" | "bad";
}

/** A row of key figures, divided by hairlines. */
export function Figures({ figures, children }: { figures: Figure[]; children?: ReactNode }) {
  return (
    <div className="figures">
      <dl>
        {figures.map(({ name, value, unit, note, tone }) => (
          <div key={name} className="figure" data-tone={tone}>
            <dt>{name}</dt>
            <dd>
              <span className="figure-value">{value}</span>
              {unit !== undefined && <span className="figure-unit">{unit}</span>}
              {note !== undefined && <span className="figure-note">{note}</span>}
            </dd>
          </div>
        ))}
      </dl>
      {children}
    </div>
  );
}
