/** Small things to read: times, ages, names to copy, a call as curl. */

import { ActionIcon, Button, CopyButton, Popover, Tooltip } from "@mantine/core";
import type { ReactNode } from "react";
import { type Call, curl } from "../curl";
import { useWords } from "../i18n/i18n";
import { Icon } from "./icons";
import { useNow } from "./now";
import "./text.css";

export function Ago({ at }: { at: string | number | null | undefined }) {
  const { format } = useWords();
  const now = useNow();
  if (at === null || at === undefined) return <Unknown />;
  return (
    <time dateTime={new Date(at).toISOString()} title={format.instantZoned(at)}>
      {format.ago(at, now)}
    </time>
  );
}

export function Instant({ at }: { at: string | number }) {
  const { format } = useWords();
  return (
    <time dateTime={new Date(at).toISOString()} title={format.instantZoned(at)} className="mono">
      {format.instant(at)}
    </time>
  );
}

/** A dash with its reason. */
export function Unknown({ why }: { why?: string }) {
  const { t } = useWords();
  const reason = why ?? t.state.unknown;
  return (
    <span className="unknown" title={reason}>
      <span aria-hidden="true">–</span>
      <span className="visually-hidden">{reason}</span>
    </span>
  );
}

export function Copy({ value, label }: { value: string; label?: string }) {
  const { t } = useWords();
  return (
    <CopyButton value={value} timeout={1200}>
      {({ copied, copy }) => (
        <Tooltip label={copied ? t.action.copied : (label ?? t.action.copy)}>
          <ActionIcon size={24} onClick={copy} aria-label={label ?? t.action.copy} className="copy">
            <Icon name={copied ? "check" : "copy"} size={14} />
          </ActionIcon>
        </Tooltip>
      )}
    </CopyButton>
  );
}

/** A block of text to take away: a snippet or a command. */
export function Code({ text, label }: { text: string; label: string }) {
  return (
    <figure className="code" aria-label={label}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
      <Copy value={text} />
    </figure>
  );
}

/** "Copy API call": what this page shows or is about to do, as curl. */
export function CurlButton({ calls }: { calls: Call[] }) {
  const { t } = useWords();
  const text = calls.map(curl).join("\n");
  return (
    <Popover width={520} position="bottom-end" shadow="md" withinPortal trapFocus>
      <Popover.Target>
        <Button variant="default" leftSection={<Icon name="terminal" size={15} />} className="quiet-on-narrow">
          <span className="label">{t.action.apiCall}</span>
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label={t.action.apiCall} className="curl">
        <p className="hint">{t.action.apiCallHint}</p>
        <Code text={text} label={t.action.apiCall} />
      </Popover.Dropdown>
    </Popover>
  );
}

export function Hint({ children }: { children: ReactNode }) {
  return <p className="hint">{children}</p>;
}
