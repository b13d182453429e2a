/** How far behind, and what is in flight: in messages and in time. Unknown is a dash, none is said in words. */

import { useWords } from "../i18n/i18n";
import { useNow } from "./now";
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

/** The most deliveries of anything in flight; 0 if nothing is. */
export function Attempt({ value }: { value: number }) {
  const { format } = useWords();
  if (value === 0) return <span className="caught-up">–</span>;
  return <span className={value > 1 ? "behind" : undefined}>{format.number(value)}</span>;
}

/** When the next message in flight comes back; without a time all of it has come back. */
export function NextVisible({ at, inflight }: { at: string | number | null | undefined; inflight: number }) {
  const { t, format } = useWords();
  const now = useNow();
  if (inflight === 0) return <span className="caught-up">–</span>;
  if (at === null || at === undefined) return t.group.now;
  const left = Math.max(0, new Date(at).getTime() - now);
  return (
    <time dateTime={new Date(at).toISOString()} title={format.instantZoned(at)}>
      {t.group.inTime(format.duration(Math.ceil(left / 1000) * 1000))}
    </time>
  );
}
