/** `/groups`: who is behind, by how many messages and by how much time. */

import { ActionIcon, Button, Checkbox, TextInput, Tooltip } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, Outlet, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense, useCallback, useMemo, useState } from "react";
import { groupsQuery, useRefreshInterval } from "../api/queries";
import type { Group } from "../api/types";
import { useWords } from "../i18n/i18n";
import { apiPaths, serverUrl } from "../paths";
import { type Column, DataTable, parseSort, writeSort } from "../ui/DataTable";
import { Icon } from "../ui/icons";
import { useKey } from "../ui/keys";
import { Behind, Lag } from "../ui/Lag";
import { matcher } from "../ui/matcher";
import { PageHead, useTitle } from "../ui/Page";
import { Area, Empty } from "../ui/states";
import { Code, CurlButton, Unknown } from "../ui/text";

const DeleteGroup = lazy(() => import("../forms/DeleteGroup").then((module) => ({ default: module.DeleteGroup })));
const route = getRouteApi("/groups");
const topicsShownMax = 2;

export function GroupsPage() {
  const { t, format } = useWords();
  const search = route.useSearch();
  const navigate = useNavigate({ from: "/groups" });
  const refetchInterval = useRefreshInterval();
  const query = useQuery({ ...groupsQuery(), refetchInterval });
  const [gone, setGone] = useState<ReadonlySet<string>>(new Set());
  useTitle(t.nav["/groups"]);
  const create = () => navigate({ to: "/groups/new", search: true });
  useKey("n", create);
  const change = useCallback(
    (next: Partial<typeof search>) => navigate({ to: ".", search: (now) => ({ ...now, ...next }), replace: true }),
    [navigate],
  );

  const columns = useMemo<Column<Group>[]>(
    () => [
      {
        id: "name",
        header: t.group.name,
        sortBy: ({ name }) => name,
        narrow: true,
        grow: true,
        cell: ({ name, consumeEnabled }) => (
          <>
            <Link to="/groups/$group" params={{ group: name }} className="name">
              {name}
            </Link>{" "}
            {!consumeEnabled && (
              <span className="tag" data-tone="warn">
                {t.group.disabled}
              </span>
            )}
          </>
        ),
      },
      {
        id: "topics",
        header: t.group.topics,
        cell: ({ topics }) => <TopicNames topics={topics} />,
      },
      {
        id: "lag",
        header: t.group.lag,
        align: "right",
        narrow: true,
        sortBy: ({ totalLag }) => totalLag,
        cell: ({ totalLag }) => <Lag count={totalLag} />,
      },
      {
        id: "behind",
        header: t.group.behind,
        align: "right",
        narrow: true,
        // Nothing waiting is the best there is; not knowing sorts last.
        sortBy: ({ delayMs }) => (delayMs === null ? 0 : delayMs),
        cell: ({ delayMs }) => <Behind ms={delayMs} />,
      },
      {
        id: "inflight",
        header: t.group.inflight,
        align: "right",
        sortBy: ({ inflight }) => inflight,
        cell: ({ inflight }) =>
          inflight === undefined || inflight === null ? <Unknown why={t.group.lagUnknown} /> : format.number(inflight),
      },
      {
        id: "mode",
        header: t.group.mode,
        sortBy: ({ orderly }) => (orderly ? 1 : 0),
        cell: ({ orderly }) => (orderly ? t.group.orderly : t.group.concurrent),
      },
      {
        id: "actions",
        header: t.table.actions,
        hidden: true,
        align: "right",
        cell: ({ name }) => (
          <Tooltip label={t.group.delete}>
            <ActionIcon size={26} aria-label={t.group.deleteNamed(name)} onClick={() => change({ delete: name })}>
              <Icon name="trash" size={14} />
            </ActionIcon>
          </Tooltip>
        ),
      },
    ],
    [t, format, change],
  );

  const createButton = (
    <Button leftSection={<Icon name="plus" size={14} />} onClick={create}>
      {t.group.create}
    </Button>
  );
  return (
    <>
      <PageHead title={t.nav["/groups"]}>
        <CurlButton calls={[{ url: `${serverUrl()}${apiPaths.groups()}?lag=true` }]} />
        {createButton}
      </PageHead>
      <Area query={query}>
        {({ items, complete }) => {
          const wanted = matcher(search.q);
          const shown = items.filter(
            ({ name, totalLag }) => wanted(name) && (search.lagging !== true || (totalLag ?? 0) > 0),
          );
          if (items.length === 0) {
            return (
              <Empty icon="groups" title={t.group.none} action={createButton}>
                <p>{t.group.what}</p>
                <Code
                  label={t.action.apiCall}
                  text={`curl ${serverUrl()}/v1/groups/my-group/receive --json '{"topic":"orders"}'`}
                />
              </Empty>
            );
          }
          return (
            <>
              <div className="toolbar">
                <TextInput
                  aria-label={t.action.filter}
                  placeholder={t.group.filter}
                  leftSection={<Icon name="search" size={14} />}
                  value={search.q ?? ""}
                  onChange={(event) => change({ q: event.currentTarget.value })}
                  w={260}
                  type="search"
                />
                <Checkbox
                  label={t.group.onlyLagging}
                  checked={search.lagging === true}
                  onChange={(event) => change({ lagging: event.currentTarget.checked })}
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
                    <Button variant="default" onClick={() => change({ q: undefined, lagging: undefined })}>
                      {t.action.clearFilters}
                    </Button>
                  }
                />
              ) : (
                <DataTable
                  label={t.nav["/groups"]}
                  columns={columns}
                  rows={shown}
                  rowId={({ name }) => name}
                  sort={parseSort(search.sort) ?? { by: "behind", desc: true }}
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
          <DeleteGroup
            group={search.delete}
            onClose={() => change({ delete: undefined })}
            onDeleted={(group) => setGone(new Set([...gone, group]))}
          />
        </Suspense>
      )}
      <Outlet />
    </>
  );
}

function TopicNames({ topics }: { topics: string[] | null | undefined }) {
  const { t, format } = useWords();
  if (!topics || topics.length === 0) return <Unknown why={t.group.noTopics} />;
  return (
    <span className="topic-names" title={topics.join(", ")}>
      {topics.slice(0, topicsShownMax).map((topic, index) => (
        <span key={topic}>
          {index > 0 && ", "}
          <Link to="/topics/$topic" params={{ topic }} className="quiet">
            {topic}
          </Link>
        </span>
      ))}
      {topics.length > topicsShownMax && (
        <span className="hint inline"> +{format.number(topics.length - topicsShownMax)}</span>
      )}
    </span>
  );
}
