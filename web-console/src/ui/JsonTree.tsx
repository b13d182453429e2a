/** JSON as a tree that opens and closes. Every name and value is a text node. */

import { useState } from "react";
import { useWords } from "../i18n/i18n";
import "./JsonTree.css";

/** Children drawn at once; the rest comes when asked for. */
const step = 100;
/** Levels that start out open. */
const openDepth = 3;
const depthMax = 200;

export function JsonTree({ value }: { value: unknown }) {
  return (
    <div className="json">
      <Node value={value} depth={0} last />
    </div>
  );
}

function Node({ name, value, depth, last }: { name?: string; value: unknown; depth: number; last: boolean }) {
  const isArray = Array.isArray(value);
  if (typeof value !== "object" || value === null || depth > depthMax) {
    return (
      <div className="json-line">
        <Name name={name} />
        <Scalar value={value} />
        {!last && <span className="json-mark">,</span>}
      </div>
    );
  }
  const entries: [string | undefined, unknown][] = isArray
    ? value.map((item): [undefined, unknown] => [undefined, item])
    : Object.entries(value);
  return <Branch name={name} entries={entries} brackets={isArray ? "[]" : "{}"} depth={depth} last={last} />;
}

function Branch({
  name,
  entries,
  brackets,
  depth,
  last,
}: {
  name: string | undefined;
  entries: [string | undefined, unknown][];
  brackets: "[]" | "{}";
  depth: number;
  last: boolean;
}) {
  const { t, format } = useWords();
  const [open, setOpen] = useState(depth < openDepth);
  const [shown, setShown] = useState(step);
  const [left, right] = [brackets.charAt(0), brackets.charAt(1)];
  const end = last ? "" : ",";
  if (entries.length === 0) {
    return (
      <div className="json-line">
        <Name name={name} />
        <span className="json-mark">
          {brackets}
          {end}
        </span>
      </div>
    );
  }
  const count = format.number(entries.length);
  const rest = entries.length - shown;
  return (
    <div>
      <div className="json-line">
        <button
          type="button"
          className="json-toggle"
          aria-expanded={open}
          aria-label={`${open ? t.message.collapse : t.message.expand} ${name ?? brackets}`}
          onClick={() => setOpen(!open)}
        />
        <Name name={name} />
        <span className="json-mark">{left}</span>
        {!open && (
          <>
            <span className="json-count">{brackets === "[]" ? t.message.items(count) : t.message.fields(count)}</span>
            <span className="json-mark">
              {right}
              {end}
            </span>
          </>
        )}
      </div>
      {open && (
        <>
          <div className="json-inside">
            {entries.slice(0, shown).map(([key, item], index) => (
              <Node
                // biome-ignore lint/suspicious/noArrayIndexKey: a parsed body never reorders
                key={index}
                name={key}
                value={item}
                depth={depth + 1}
                last={index === entries.length - 1}
              />
            ))}
            {rest > 0 && (
              <button type="button" className="json-more" onClick={() => setShown(shown + step * 10)}>
                {t.message.showMore(format.number(Math.min(rest, step * 10)))}
              </button>
            )}
          </div>
          <div className="json-line json-mark">
            {right}
            {end}
          </div>
        </>
      )}
    </div>
  );
}

function Name({ name }: { name: string | undefined }) {
  if (name === undefined) return null;
  return (
    <>
      <span className="json-name">{JSON.stringify(name)}</span>
      <span className="json-mark">: </span>
    </>
  );
}

function Scalar({ value }: { value: unknown }) {
  const kind = value === null ? "null" : typeof value;
  return <span className={`json-${kind}`}>{JSON.stringify(value)}</span>;
}
