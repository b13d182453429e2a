/** The message browser: where to start, what to keep, and how far the look has got. */

import { ActionIcon, Button, Menu, NativeSelect, SegmentedControl, TextInput, Tooltip } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { type ReactNode, useMemo, useState } from "react";
import { keys, queuesQuery, useRefreshInterval } from "../../api/queries";
import { browseMessages, browseQueue } from "../../api/resources";
import type { Message, MessagePage, Time } from "../../api/types";
import { fromWallTime, toWallTimeField, zoneName } from "../../i18n/format";
import { useWords } from "../../i18n/i18n";
import {
  defaultColumns,
  type MessageColumn,
  messageColumns,
  parseColumns,
  parseQueue,
  type Start,
  starts,
} from "../../search";
import { preview } from "../../ui/body";
import { type Column, DataTable } from "../../ui/DataTable";
import { Icon } from "../../ui/icons";
import { useKey } from "../../ui/keys";
import { Empty, Failure, Loading, Stale } from "../../ui/states";
import { Unknown } from "../../ui/text";
import { rowsMax, useLive } from "./live";
import "./MessagesTab.css";

const route = getRouteApi("/topics/$topic");
const pageRows = 50;
const hourMs = 3_600_000;

export function MessagesTab({ topic, system }: { topic: string; system: boolean }) {
  const search = route.useSearch();
  return search.start === "live" ? (
    <Live topic={topic} system={system} />
  ) : (
    <Pages topic={topic} system={system} start={search.start ?? "newest"} />
  );
}

function useChange() {
  const search = route.useSearch();
  const navigate = useNavigate({ from: "/topics/$topic" });
  return (next: Partial<typeof search>) => navigate({ to: ".", search: { ...search, ...next }, replace: true });
}

/** Messages by pages, from a place that the address names. */
function Pages({ topic, system, start }: { topic: string; system: boolean; start: Exclude<Start, "live"> }) {
  const { t, format } = useWords();
  const { at, queue: queueText, offset, tag } = route.useSearch();
  const change = useChange();
  const refetchInterval = useRefreshInterval();
  const queues = useQuery({ ...queuesQuery(topic), enabled: start === "queue" }).data;
  const named = parseQueue(queueText);
  const queue = named ?? (start === "queue" ? queues?.[0] : undefined);
  const from = start === "time" ? (at ?? undefined) : undefined;

  const query = useInfiniteQuery({
    queryKey: [
      ...keys.messages(topic),
      { start, from, queue: queue && `${queue.brokerName}/${queue.queueId}`, offset, tag },
    ],
    enabled: start !== "queue" || queue !== undefined,
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam, signal }): Promise<MessagePage> => {
      if (start === "queue" && queue !== undefined) {
        const next = pageParam === undefined ? offset : Number(pageParam);
        const first = next ?? queues?.find((one) => one.queueId === queue.queueId)?.minOffset ?? 0;
        const page = await browseQueue(topic, queue, { offset: first, limit: pageRows }, signal);
        const complete = page.nextOffset >= page.maxOffset;
        const scan = { scanned: page.items.length, complete, from: null, to: null };
        return { items: page.items, nextCursor: complete ? null : String(page.nextOffset), scan };
      }
      const order = start === "newest" ? "desc" : "asc";
      return browseMessages(topic, { order, from, tag, limit: pageRows, cursor: pageParam }, signal);
    },
    getNextPageParam: (last) => last.nextCursor ?? undefined,
    // Growing only at its head, a first page may renew itself; somebody deep in the past is left in peace.
    refetchInterval: (query) =>
      start === "newest" && (query.state.data?.pages.length ?? 0) <= 1 ? refetchInterval : false,
  });
  const rows = useMemo(() => query.data?.pages.flatMap(({ items }) => items) ?? [], [query.data]);
  const scanned = query.data?.pages.reduce((sum, { scan }) => sum + scan.scanned, 0) ?? 0;
  const last = query.data?.pages.at(-1);
  const complete = last !== undefined && (last.scan.complete || last.nextCursor === null);
  const older = start === "newest";

  let body: ReactNode;
  if (query.data === undefined) {
    body = query.error ? <Failure error={query.error} onRetry={() => query.refetch()} /> : <Loading />;
  } else if (rows.length === 0 && complete) {
    body = (
      <NoMessages
        topic={topic}
        system={system}
        filtered={tag !== undefined || from !== undefined || start === "queue"}
        why={
          tag !== undefined
            ? t.browse.noneTagged(tag)
            : from !== undefined
              ? t.browse.noneSince(format.instant(from))
              : start === "queue"
                ? t.browse.noneInQueue
                : undefined
        }
        onClear={() => change({ start: undefined, tag: undefined, at: undefined, queue: undefined, offset: undefined })}
      />
    );
  } else {
    body = (
      <>
        {query.error ? <Stale since={query.dataUpdatedAt} onRetry={() => query.refetch()} /> : null}
        <MessageTable topic={topic} rows={rows} />
        <p className="scan" role="status">
          {complete ? (
            <span>{older ? t.browse.allOlder(format.number(scanned)) : t.browse.allNewer(format.number(scanned))}</span>
          ) : (
            <>
              <span>{t.browse.scanned(format.number(scanned), format.number(rows.length))}</span>
              <Button
                variant="default"
                size="compact-sm"
                loading={query.isFetchingNextPage}
                onClick={() => query.fetchNextPage()}
              >
                {older ? t.browse.older : t.browse.newer}
              </Button>
            </>
          )}
        </p>
      </>
    );
  }
  return (
    <>
      <Toolbar topic={topic} start={start} />
      {body}
    </>
  );
}

function Live({ topic, system }: { topic: string; system: boolean }) {
  const { t, format } = useWords();
  const { tag } = route.useSearch();
  const [paused, setPaused] = useState(false);
  const live = useLive(topic, tag, true, paused);
  useKey("p", () => setPaused(!paused));
  return (
    <>
      <Toolbar topic={topic} start="live" />
      <div className="live" role="status" data-paused={paused || undefined}>
        <span className="live-dot" aria-hidden="true" />
        <span>
          {live.error
            ? t.live.interrupted
            : paused
              ? t.live.paused(format.number(live.waiting))
              : t.live.running(format.number(live.rows.length))}
          {live.dropped > 0 && ` · ${t.live.dropped(format.number(live.dropped), format.number(rowsMax))}`}
        </span>
        <span className="live-buttons">
          <Button
            variant="default"
            size="compact-sm"
            leftSection={<Icon name={paused ? "play" : "pause"} size={12} />}
            onClick={() => setPaused(!paused)}
          >
            {paused ? t.live.resume : t.live.pause}
          </Button>
          <Button variant="default" size="compact-sm" onClick={live.clear} disabled={live.rows.length === 0}>
            {t.live.clear}
          </Button>
        </span>
      </div>
      {live.error && !live.started ? <Failure error={live.error} /> : null}
      {!live.started && !live.error && <Loading rows={4} />}
      {live.started && live.rows.length === 0 && (
        <Empty icon="live" title={t.live.waiting} action={system ? undefined : <SendLink topic={topic} />}>
          <p>{t.live.waitingWhy}</p>
        </Empty>
      )}
      {live.rows.length > 0 && <MessageTable topic={topic} rows={live.rows} />}
    </>
  );
}

function SendLink({ topic }: { topic: string }) {
  const { t } = useWords();
  const navigate = useNavigate();
  return (
    <Button
      leftSection={<Icon name="send" size={14} />}
      onClick={() => navigate({ to: "/topics/$topic/send", params: { topic }, search: true })}
    >
      {t.send.title}
    </Button>
  );
}

function NoMessages({
  topic,
  system,
  filtered,
  why,
  onClear,
}: {
  topic: string;
  system: boolean;
  filtered: boolean;
  why: string | undefined;
  onClear: () => void;
}) {
  const { t } = useWords();
  if (!filtered) {
    return (
      <Empty icon="message" title={t.browse.none} action={system ? undefined : <SendLink topic={topic} />}>
        <p>{t.browse.noneWhy}</p>
      </Empty>
    );
  }
  return (
    <Empty
      icon="search"
      title={t.table.noMatch}
      action={
        <Button variant="default" onClick={onClear}>
          {t.action.clearFilters}
        </Button>
      }
    >
      <p>{why}</p>
    </Empty>
  );
}

function Toolbar({ topic, start }: { topic: string; start: Start }) {
  const { t, zone, format } = useWords();
  const search = route.useSearch();
  const change = useChange();
  const queues = useQuery({ ...queuesQuery(topic), enabled: start === "queue" }).data ?? [];
  const choose = (next: string) => {
    const at = next === "time" ? (search.at ?? new Date(Date.now() - hourMs).toISOString()) : undefined;
    change({ start: next === "newest" ? undefined : (next as Start), at, queue: undefined, offset: undefined });
  };
  const options = starts.map((value) => ({ value, label: t.browse.starts[value] }));
  return (
    <div className="toolbar">
      <SegmentedControl
        className="starts-wide"
        aria-label={t.browse.start}
        data={options}
        value={start}
        onChange={choose}
      />
      <NativeSelect
        className="starts-narrow"
        aria-label={t.browse.start}
        data={options}
        value={start}
        onChange={(event) => choose(event.currentTarget.value)}
      />
      {start === "time" && (
        <Tooltip label={zoneName(zone)}>
          <TextInput
            type="datetime-local"
            step={1}
            aria-label={`${t.browse.since} (${zoneName(zone)})`}
            key={`${search.at}${zone}`}
            defaultValue={search.at === undefined ? "" : toWallTimeField(Date.parse(search.at), zone)}
            onBlur={(event) => {
              const at = fromWallTime(event.currentTarget.value, zone);
              if (at !== undefined) change({ at: new Date(at).toISOString() });
            }}
            onKeyDown={(event) => event.key === "Enter" && event.currentTarget.blur()}
          />
        </Tooltip>
      )}
      {start === "queue" && (
        <>
          <NativeSelect
            aria-label={t.queue.queue}
            w={220}
            data={queues.map(({ brokerName, queueId, minOffset, maxOffset }) => ({
              value: `${brokerName}/${queueId}`,
              label: `${brokerName} / ${queueId}  (${format.number(maxOffset - minOffset)})`,
            }))}
            value={search.queue ?? (queues[0] && `${queues[0].brokerName}/${queues[0].queueId}`)}
            onChange={(event) => change({ queue: event.currentTarget.value, offset: undefined })}
          />
          <OffsetInput key={search.queue} value={search.offset} onChange={(offset) => change({ offset })} />
        </>
      )}
      {start !== "queue" && (
        <TagInput key={search.tag} value={search.tag ?? ""} onChange={(tag) => change({ tag: tag || undefined })} />
      )}
      <span className="end">
        <ColumnsMenu />
      </span>
    </div>
  );
}

function OffsetInput({
  value,
  onChange,
}: {
  value: number | undefined;
  onChange: (offset: number | undefined) => void;
}) {
  const { t } = useWords();
  const later = useDebouncedCallback(onChange, 400);
  return (
    <TextInput
      aria-label={t.browse.fromOffset}
      placeholder={t.browse.fromOffset}
      w={140}
      inputMode="numeric"
      defaultValue={value}
      onChange={(event) => {
        const digits = event.currentTarget.value.replace(/\D/g, "");
        event.currentTarget.value = digits;
        later(digits === "" ? undefined : Number(digits));
      }}
    />
  );
}

function TagInput({ value, onChange }: { value: string; onChange: (tag: string) => void }) {
  const { t } = useWords();
  const [text, setText] = useState(value);
  const commit = () => text !== value && onChange(text.trim());
  return (
    <TextInput
      aria-label={t.browse.tag}
      placeholder={t.browse.tagPlaceholder}
      w={170}
      value={text}
      onChange={(event) => setText(event.currentTarget.value)}
      onBlur={commit}
      onKeyDown={(event) => event.key === "Enter" && commit()}
      rightSection={
        value !== "" && (
          <ActionIcon size={20} aria-label={t.browse.clearTag} onClick={() => onChange("")}>
            <Icon name="close" size={12} />
          </ActionIcon>
        )
      }
    />
  );
}

function ColumnsMenu() {
  const { t } = useWords();
  const search = route.useSearch();
  const change = useChange();
  const columns = parseColumns(search.cols) ?? defaultColumns;
  const toggle = (column: MessageColumn) => {
    const next = messageColumns.filter((one) => (one === column ? !columns.includes(one) : columns.includes(one)));
    if (next.length > 0) change({ cols: next.join(",") === defaultColumns.join(",") ? undefined : next.join(",") });
  };
  return (
    <Menu closeOnItemClick={false}>
      <Menu.Target>
        <Button variant="default" leftSection={<Icon name="columns" size={14} />} className="quiet-on-narrow">
          <span className="label">{t.table.columns}</span>
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        {messageColumns.map((column) => (
          <Menu.CheckboxItem key={column} checked={columns.includes(column)} onChange={() => toggle(column)}>
            {t.browse.columns[column]}
          </Menu.CheckboxItem>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

const onNarrow: readonly MessageColumn[] = ["time", "tag", "body"];

function MessageTable({ topic, rows }: { topic: string; rows: readonly Message[] }) {
  const { t, format } = useWords();
  const search = route.useSearch();
  const cols = search.cols;
  const columns = useMemo(() => {
    const shown = parseColumns(cols) ?? defaultColumns;
    const first = shown[0];
    const cell: Record<MessageColumn, (message: Message) => ReactNode> = {
      time: ({ storeTimestamp }) => <ShortInstant at={storeTimestamp} />,
      born: ({ bornTimestamp }) => <ShortInstant at={bornTimestamp} />,
      queue: ({ queueId, brokerName }) => <span title={brokerName}>{queueId}</span>,
      offset: ({ queueOffset }) => format.number(queueOffset),
      tag: ({ tag }) =>
        typeof tag !== "string" ? null : (
          <span className="tag" title={tag}>
            {tag}
          </span>
        ),
      keys: ({ keys }) => (
        <span className="keys" title={keys?.join(" ")}>
          {keys?.join(" ")}
        </span>
      ),
      id: ({ messageId }) => <span className="mono id">{messageId}</span>,
      size: ({ bodySize }) => format.bytes(bodySize),
      body: (message) => <Preview message={message} />,
    };
    const right: readonly MessageColumn[] = ["queue", "offset", "size"];
    return shown.map(
      (id): Column<Message> => ({
        id,
        header: t.browse.columns[id],
        align: right.includes(id) ? "right" : "left",
        grow: id === "body",
        narrow: onNarrow.includes(id) || id === first,
        cell:
          id === first
            ? (message) => (
                <Link
                  to="/topics/$topic/messages/$id"
                  params={{ topic, id: message.messageId }}
                  className="message-link"
                  title={t.browse.open(message.messageId)}
                >
                  {cell[id](message)}
                </Link>
              )
            : cell[id],
      }),
    );
  }, [cols, topic, t, format]);
  return (
    <DataTable
      label={t.topic.tabs.messages}
      columns={columns}
      rows={rows}
      rowId={({ offsetMessageId }) => offsetMessageId}
    />
  );
}

/** Without the year, which rarely changes between rows: it stands in the tooltip. */
function ShortInstant({ at }: { at: Time }) {
  const { format } = useWords();
  const [date = "", time] = format.instant(at).split(" ");
  return (
    <time dateTime={new Date(at).toISOString()} title={format.instantZoned(at)} className="mono">
      <span className="wide-inline">{date.slice("yyyy-".length)} </span>
      {time}
    </time>
  );
}

function Preview({ message }: { message: Message }) {
  const { t } = useWords();
  if (message.bodySize === 0) return <Unknown why={t.message.empty} />;
  const { text, binary } = preview(message);
  return (
    <span className="preview" dir="auto">
      {binary && <span className="tag">{t.message.binary}</span>} {text}
    </span>
  );
}
