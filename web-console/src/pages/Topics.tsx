/** `/topics`: which topics there are. */

import { ActionIcon, Button, Checkbox, Select, TextInput, Tooltip } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, Outlet, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useMemo, useState } from "react";
import { topicStatsQuery, topicsQuery, useRefreshInterval } from "../api/queries";
import type { Topic } from "../api/types";
import { useWords } from "../i18n/i18n";
import { apiPaths, serverUrl } from "../paths";
import { type Column, DataTable, parseSort, writeSort } from "../ui/DataTable";
import { Icon } from "../ui/icons";
import { useKey } from "../ui/keys";
import { IconLink } from "../ui/links";
import { matcher } from "../ui/matcher";
import { PageHead, useTitle } from "../ui/Page";
import { Area, Empty } from "../ui/states";
import { Code, CurlButton, Unknown } from "../ui/text";

const DeleteTopic = lazy(() => import("../forms/DeleteTopic").then((module) => ({ default: module.DeleteTopic })));

const route = getRouteApi("/topics");
export const messageTypes = ["normal", "fifo", "delay", "transaction"] as const;

export function TopicsPage() {
  const { t, format } = useWords();
  const search = route.useSearch();
  const navigate = useNavigate({ from: "/topics" });
  const refetchInterval = useRefreshInterval();
  const query = useQuery({ ...topicsQuery(search.system === true), refetchInterval });
  // Gone, but greyed until the next look: rows must not slide under the pointer.
  const [gone, setGone] = useState<ReadonlySet<string>>(new Set());
  useTitle(t.nav["/topics"]);
  const create = () => navigate({ to: "/topics/new", search: true });
  useKey("n", create);

  const change = useCallback(
    (next: Partial<typeof search>) => navigate({ to: ".", search: (now) => ({ ...now, ...next }), replace: true }),
    [navigate],
  );

  const columns = useMemo<Column<Topic>[]>(
    () => [
      {
        id: "name",
        header: t.topic.name,
        sortBy: ({ name }) => name,
        narrow: true,
        grow: true,
        cell: ({ name, system }) => (
          <>
            <Link to="/topics/$topic" params={{ topic: name }} className="name">
              {name}
            </Link>{" "}
            {system && <span className="tag">{t.topic.system}</span>}
          </>
        ),
      },
      {
        id: "type",
        header: t.topic.type,
        sortBy: ({ messageType }) => messageType,
        cell: ({ messageType }) => messageTypeName(t, messageType),
      },
      {
        id: "queues",
        header: t.topic.queues,
        align: "right",
        sortBy: ({ readQueues }) => readQueues,
        cell: ({ readQueues, writeQueues }) =>
          readQueues === writeQueues
            ? format.number(readQueues)
            : t.topic.queuesApart(format.number(readQueues), format.number(writeQueues)),
      },
      {
        id: "kept",
        header: t.figure.kept,
        align: "right",
        narrow: true,
        cell: ({ name }) => <TopicFigure topic={name} of="messages" />,
      },
      { id: "in", header: t.topic.inRate, align: "right", cell: ({ name }) => <TopicFigure topic={name} of="tpsIn" /> },
      {
        id: "out",
        header: t.topic.outRate,
        align: "right",
        cell: ({ name }) => <TopicFigure topic={name} of="tpsOut" />,
      },
      {
        id: "perm",
        header: t.topic.permission,
        sortBy: ({ perm }) => perm,
        cell: ({ perm }) => t.perms[perm as keyof typeof t.perms] ?? perm,
      },
      {
        id: "actions",
        header: t.table.actions,
        hidden: true,
        align: "right",
        narrow: true,
        cell: ({ name, system }) => (
          <span className="row-actions">
            <Tooltip label={t.send.title}>
              <IconLink
                to="/topics/$topic/send"
                params={{ topic: name }}
                size={26}
                aria-label={t.send.to(name)}
                className="wide-only"
              >
                <Icon name="send" size={14} />
              </IconLink>
            </Tooltip>
            <Tooltip label={system ? t.topic.systemStays : t.topic.delete}>
              <ActionIcon
                size={26}
                aria-label={t.topic.deleteNamed(name)}
                aria-disabled={system}
                data-disabled={system || undefined}
                onClick={() => !system && change({ delete: name })}
              >
                <Icon name="trash" size={14} />
              </ActionIcon>
            </Tooltip>
          </span>
        ),
      },
    ],
    [t, format, change],
  );

  const createButton = (
    <Button leftSection={<Icon name="plus" size={14} />} onClick={create}>
      {t.topic.create}
    </Button>
  );

  return (
    <>
      <PageHead title={t.nav["/topics"]}>
        <CurlButton calls={[{ url: `${serverUrl()}${apiPaths.topics()}` }]} />
        {createButton}
      </PageHead>
      <Area query={query}>
        {({ items, complete }) => {
          const wanted = matcher(search.q);
          const shown = items.filter(
            ({ name, messageType }) => wanted(name) && (search.type === undefined || messageType === search.type),
          );
          if (items.length === 0) {
            return (
              <Empty icon="topics" title={t.topic.none} action={createButton}>
                <p>{t.topic.what}</p>
                <Code label={t.action.apiCall} text={`curl -X PUT ${serverUrl()}/v1/topics/orders --json '{}'`} />
              </Empty>
            );
          }
          return (
            <>
              <div className="toolbar">
                <TextInput
                  aria-label={t.action.filter}
                  placeholder={t.topic.filter}
                  leftSection={<Icon name="search" size={14} />}
                  value={search.q ?? ""}
                  onChange={(event) => change({ q: event.currentTarget.value })}
                  w={260}
                  type="search"
                />
                <Select
                  aria-label={t.topic.type}
                  data={[
                    { value: "", label: t.topic.anyType },
                    ...messageTypes.map((value) => ({ value, label: t.messageTypes[value] })),
                  ]}
                  value={search.type ?? ""}
                  onChange={(type) => change({ type: type || undefined })}
                  w={150}
                />
                <Checkbox
                  label={t.topic.showSystem}
                  checked={search.system === true}
                  onChange={(event) => change({ system: event.currentTarget.checked })}
                  className="toolbar-check"
                />
                <span className="count end" role="status">
                  {t.table.rows(
                    format.number(shown.length),
                    format.number(items.length),
                    shown.length === items.length,
                  )}
                  {!complete && ` · ${t.table.more}`}
                </span>
              </div>
              {shown.length === 0 ? (
                <Empty
                  icon="search"
                  title={t.table.noMatch}
                  action={
                    <Button variant="default" onClick={() => change({ q: undefined, type: undefined })}>
                      {t.action.clearFilters}
                    </Button>
                  }
                />
              ) : (
                <DataTable
                  label={t.nav["/topics"]}
                  columns={columns}
                  rows={shown}
                  rowId={({ name }) => name}
                  sort={parseSort(search.sort) ?? { by: "name", desc: false }}
                  onSort={(sort) => change({ sort: writeSort(sort) })}
                  rowClass={({ name }) => (gone.has(name) ? "leaving" : undefined)}
                />
              )}
            </>
          );
        }}
      </Area>
      {search.delete !== undefined && (
        <Suspense>
          <DeleteTopic
            topic={search.delete}
            onClose={() => change({ delete: undefined })}
            onDeleted={(topic) => setGone(new Set([...gone, topic]))}
          />
        </Suspense>
      )}
      <Outlet />
    </>
  );
}

const figuresPaceMs = 15_000;

/** A figure of a row on the screen. Rows out of sight ask for nothing, and the three cells of one share their answer. */
function TopicFigure({ topic, of }: { topic: string; of: "messages" | "tpsIn" | "tpsOut" }) {
  const { t, format } = useWords();
  const pace = useRefreshInterval();
  const refetchInterval = pace === false ? false : Math.max(pace, figuresPaceMs);
  const { data, error } = useQuery({ ...topicStatsQuery(topic), refetchInterval, staleTime: figuresPaceMs / 2 });
  if (data === undefined) return <Unknown why={error === null ? t.state.loading : t.state.noStats} />;
  return of === "messages" ? format.number(data.messages) : format.rate(data[of]);
}

export function messageTypeName(t: ReturnType<typeof useWords>["t"], type: string): string {
  return t.messageTypes[type as keyof typeof t.messageTypes] ?? type;
}
