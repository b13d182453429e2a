/** The states every data area has: loading, empty, failed, old. One of each, so that they look alike everywhere. */

import { Button, Skeleton } from "@mantine/core";
import { type ReactNode, useEffect, useState } from "react";
import { asProblem } from "../api/problem";
import { useWords } from "../i18n/i18n";
import { Icon, type IconName } from "./icons";
import { Ago, Copy } from "./text";
import "./states.css";

const SHOW_AFTER_MS = 150;

/** Rows in the final shape; nothing at all when the answer comes at once. */
export function Loading({ rows = 8, height = 34 }: { rows?: number; height?: number }) {
  const { t } = useWords();
  const [shown, setShown] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setShown(true), SHOW_AFTER_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div className="loading" role="status">
      <span className="visually-hidden">{t.state.loading}</span>
      {shown &&
        Array.from({ length: rows }, (_, row) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: the rows are all alike
          <div key={row} style={{ height }} className="loading-row">
            <Skeleton height={10} width={`${[34, 22, 41, 28][row % 4]}%`} />
            <Skeleton height={10} width="12%" />
            <Skeleton height={10} width="9%" />
          </div>
        ))}
    </div>
  );
}

export function Empty({
  icon = "info",
  title,
  page = false,
  children,
  action,
}: {
  icon?: IconName;
  title: string;
  /** It stands for the whole page, and its title is the page's. */
  page?: boolean;
  children?: ReactNode;
  action?: ReactNode;
}) {
  return (
    <div className="empty">
      <span className="empty-icon">
        <Icon name={icon} size={20} />
      </span>
      {page ? <h1 className="empty-title">{title}</h1> : <p className="empty-title">{title}</p>}
      {children !== undefined && <div className="empty-text">{children}</div>}
      {action !== undefined && <div className="empty-action">{action}</div>}
    </div>
  );
}

/** What went wrong, what may be done, and the id under which the log knows more. */
export function Failure({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  const { t } = useWords();
  const problem = asProblem(error);
  const title = t.problem[problem.code as keyof typeof t.problem] ?? problem.title;
  return (
    <div className="failure" role="alert">
      <Icon name="error" />
      <div>
        <p className="failure-title">{title}</p>
        <p className="failure-detail">{problem.message}</p>
        {problem.outcome === "unknown" && problem.status !== 0 && (
          <p className="failure-detail">{t.state.outcomeUnknown}</p>
        )}
        {problem.requestId !== undefined && (
          <p className="failure-id">
            {t.state.requestId} <span className="mono">{problem.requestId}</span> <Copy value={problem.requestId} />
          </p>
        )}
      </div>
      {onRetry !== undefined && (
        <Button variant="default" onClick={onRetry}>
          {t.action.retry}
        </Button>
      )}
    </div>
  );
}

/** A failed refresh keeps what was there and says how old it is. */
export function Stale({ since, onRetry }: { since: number; onRetry: () => void }) {
  const { t } = useWords();
  return (
    <div className="stale" role="status">
      <Icon name="warning" size={14} />
      <span>
        {t.state.stale} <Ago at={since} />
      </span>
      <Button variant="subtle" size="compact-xs" onClick={onRetry}>
        {t.action.retry}
      </Button>
    </div>
  );
}

interface Query<T> {
  data: T | undefined;
  error: unknown;
  isPending: boolean;
  dataUpdatedAt: number;
  refetch: () => unknown;
}

/** One data area: an error in it never blanks the page around it. */
export function Area<T>({
  query,
  rows,
  children,
}: {
  query: Query<T>;
  rows?: number;
  children: (data: T) => ReactNode;
}) {
  if (query.data === undefined) {
    if (query.error) return <Failure error={query.error} onRetry={() => query.refetch()} />;
    return <Loading rows={rows} />;
  }
  return (
    <>
      {query.error ? <Stale since={query.dataUpdatedAt} onRetry={() => query.refetch()} /> : null}
      {children(query.data)}
    </>
  );
}
