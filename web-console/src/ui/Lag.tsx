/** How far behind: in messages and in time. Unknown is a dash, none is said in words. */

import { useWords } from "../i18n/i18n";
import { Unknown } from "./text";

export function Lag({ count }: { count: number | null | undefined }) {
  const { t, format } = useWords();
  if (count === null || count === undefined) return <Unknown why={t.group.lagUnknown} />;
  return <span className={count > 0 ? "behind" : "caught-up"}>{format.number(count)}</span>;
}

/** `ms` is null when nothing waits; undefined when nobody knows. */
export function Behind({ ms }: { ms: number | null | undefined }) {
  const { t, format } = useWords();
  if (ms === undefined) return <Unknown why={t.group.lagUnknown} />;
  if (ms === null) return <span className="caught-up">{t.group.caughtUp}</span>;
  return <span className="behind">{format.duration(ms)}</span>;
}
