/** `/groups/{g}`: how far behind one group is, topic by topic, queue by queue. */

import { Button, Tabs } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { asProblem } from "../api/problem";
import { groupLagQuery, groupQuery, useRefreshInterval } from "../api/queries";
import type { Group, GroupLag, QueueLag, TopicLag } from "../api/types";
import { useWords } from "../i18n/i18n";
import { apiPaths, serverUrl } from "../paths";
import { type GroupTab, groupTabs } from "../search";
import { type Column, DataTable } from "../ui/DataTable";
import { Icon } from "../ui/icons";
import { Attempt, Behind, Lag, NextVisible } from "../ui/Lag";
import { Figures, PageHead, useTitle } from "../ui/Page";
import { Area, Empty, Failure, Loading } from "../ui/states";
import { Code, CurlButton, Hint, Unknown } from "../ui/text";
import "./Group.css";

const DeleteGroup = lazy(() => import("../forms/DeleteGroup").then((module) => ({ default: module.DeleteGroup })));
const EditGroup = lazy(() => import("../forms/EditGroup").then((module) => ({ default: module.EditGroup })));
const ResetOffsets = lazy(() => import("../forms/ResetOffsets").then((module) => ({ default: module.ResetOffsets })));
const InFlightTab = lazy(() => import("./group/InFlightTab").then((module) => ({ default: module.InFlightTab })));
const DeadLettersTab = lazy(() =>
  import("./group/DeadLettersTab").then((module) => ({ default: module.DeadLettersTab })),
);
const route = getRouteApi("/groups/$group");

export function GroupPage() {
  const { t, format } = useWords();
  const { group } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate();
  const refetchInterval = useRefreshInterval();
  const query = useQuery({ ...groupQuery(group), refetchInterval });
  const lag = useQuery({ ...groupLagQuery(group), refetchInterval });
  const tab = search.tab ?? "lag";
  useTitle(group, t.nav["/groups"]);

  if (query.data === undefined) {
    if (query.error === null) return <Loading />;
    if (asProblem(query.error).status !== 404) {
      return <Failure error={query.error} onRetry={() => query.refetch()} />;
    }
    return (
      <Empty page icon="groups" title={t.group.missing(group)} action={<Link to="/groups">{t.group.toList}</Link>}>
        <p>{t.group.missingWhy}</p>
      </Empty>
    );
  }
  const { consumeEnabled, orderly } = query.data;
  const sum = (of: "ready") => lag.data?.topics.reduce((total, topic) => total + topic[of], 0);
  const shown = (value: number | undefined) => (value === undefined ? <Unknown /> : format.compact(value));
  /** A figure that leads to what it counts. */
  const toTab = (to: GroupTab, value: number | undefined) =>
    value ? (
      <Link to="/groups/$group" params={{ group }} search={{ tab: to }}>
        {shown(value)}
      </Link>
    ) : (
      shown(value)
    );
  const without = (panel: "edit" | "reset" | "delete") => () =>
    navigate({ to: ".", search: { ...search, [panel]: undefined }, replace: true });
  return (
    <>
      <PageHead
        title={group}
        mono
        copy={group}
        beside={
          <>
            <span className="tag" data-tone={consumeEnabled ? "good" : "warn"}>
              {consumeEnabled ? t.group.enabled : t.group.disabled}
            </span>
            {orderly && <span className="tag">{t.group.orderly}</span>}
          </>
        }
      >
        <CurlButton calls={[{ url: `${serverUrl()}${apiOf[tab](group)}` }]} />
      </PageHead>
      <Figures
        figures={[
          {
            name: t.group.lag,
            value: shown(lag.data?.totalLag),
            tone: (lag.data?.totalLag ?? 0) > 0 ? "warn" : undefined,
          },
          { name: t.group.behind, value: <Behind ms={lag.data?.delayMs} /> },
          {
            name: t.group.inflight,
            value: toTab("inflight", lag.data?.inflight),
            note: lag.data?.retry ? t.group.again(format.compact(lag.data.retry)) : undefined,
          },
          { name: t.group.ready, value: shown(sum("ready")) },
          {
            name: t.group.deadLetters,
            value: toTab("dlq", lag.data?.deadLetters),
            tone: (lag.data?.deadLetters ?? 0) > 0 ? "warn" : undefined,
          },
          { name: t.group.topics, value: shown(lag.data?.topics.length) },
        ]}
      />
      <Tabs
        value={tab}
        onChange={(next) => navigate({ to: ".", search: next === "lag" ? {} : { tab: next as GroupTab } })}
        keepMounted={false}
      >
        <Tabs.List mb={14}>
          {groupTabs.map((one) => (
            <Tabs.Tab key={one} value={one}>
              {t.group.tabs[one]}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="lag">
          <Area query={lag} rows={4}>
            {(data) => <Topics group={group} lag={data} />}
          </Area>
        </Tabs.Panel>
        <Tabs.Panel value="inflight">
          <Suspense fallback={<Loading rows={4} />}>
            <InFlightTab group={group} lag={lag.data} />
          </Suspense>
        </Tabs.Panel>
        <Tabs.Panel value="dlq">
          <Suspense fallback={<Loading rows={4} />}>
            <DeadLettersTab group={group} />
          </Suspense>
        </Tabs.Panel>
        <Tabs.Panel value="settings">
          <Settings group={query.data} />
        </Tabs.Panel>
      </Tabs>
      {search.delete === true && (
        <Suspense>
          <DeleteGroup group={group} onClose={without("delete")} onDeleted={() => navigate({ to: "/groups" })} />
        </Suspense>
      )}
      {search.edit === true && (
        <Suspense>
          <EditGroup group={group} onClose={without("edit")} />
        </Suspense>
      )}
      {search.reset === true && (
        <Suspense>
          <ResetOffsets group={group} onClose={without("reset")} />
        </Suspense>
      )}
    </>
  );
}

/** The call behind each tab. */
const apiOf: Record<GroupTab, (group: string) => string> = {
  lag: apiPaths.groupLag,
  inflight: apiPaths.groupInFlight,
  dlq: apiPaths.deadLetters,
  settings: apiPaths.group,
};

function Topics({ group, lag }: { group: string; lag: GroupLag }) {
  const { t } = useWords();
  if (lag.topics.length === 0) {
    return (
      <Empty icon="groups" title={t.group.noTopics}>
        <p>{t.group.noTopicsWhy}</p>
        <Code
          label={t.action.apiCall}
          text={`curl ${serverUrl()}${apiPaths.receive(group)} \\\n  --json '{"topic":"orders","maxMessages":10}'`}
        />
      </Empty>
    );
  }
  return (
    <table className="table lags" aria-label={t.group.tabs.lag}>
      <thead>
        <tr>
          <th scope="col" className="grow">
            {t.group.topic}
          </th>
          <th scope="col" className="right">
            {t.group.lag}
          </th>
          <th scope="col" className="right">
            {t.group.behind}
          </th>
          <th scope="col" className="right wide-only">
            {t.group.inflight}
          </th>
          <th scope="col" className="right wide-only">
            {t.group.attempt}
          </th>
          <th scope="col" className="right wide-only">
            {t.group.nextVisible}
          </th>
          <th scope="col" className="right wide-only">
            {t.group.ready}
          </th>
        </tr>
      </thead>
      <tbody>
        {lag.topics.map((topic) => (
          <TopicRows key={topic.topic} group={group} lag={topic} only={lag.topics.length === 1} />
        ))}
      </tbody>
    </table>
  );
}

/** One topic, and below it its queues when they are asked for. */
function TopicRows({ group, lag, only }: { group: string; lag: TopicLag; only: boolean }) {
  const { t, format } = useWords();
  const search = route.useSearch();
  const navigate = useNavigate({ from: "/groups/$group" });
  const shown = search.open === undefined ? only : search.open === lag.topic;
  const toggle = () => navigate({ to: ".", search: { ...search, open: shown ? closed : lag.topic }, replace: true });
  return (
    <>
      <tr>
        <td className="grow">
          <span className="lag-topic">
            <button
              type="button"
              className="disclosure"
              aria-expanded={shown}
              aria-label={t.group.showQueues(lag.topic)}
              onClick={toggle}
            >
              <Icon name={shown ? "chevronDown" : "chevronRight"} size={14} />
            </button>
            <Link to="/topics/$topic" params={{ topic: lag.topic }} className="name">
              {lag.topic}
            </Link>
            {lag.queues.some((queue) => queue.standsStill) && (
              <span className="tag" data-tone="warn" title={t.group.standingWhy}>
                {t.group.standing}
              </span>
            )}
          </span>
        </td>
        <td className="right">
          <Lag count={lag.lag} />
        </td>
        <td className="right">
          <Behind ms={lag.delayMs} />
        </td>
        <td className="right wide-only">
          {lag.inflight === 0 ? (
            "0"
          ) : (
            <Link to="/groups/$group" params={{ group }} search={{ tab: "inflight", topic: lag.topic }}>
              {format.number(lag.inflight)}
            </Link>
          )}
        </td>
        <td className="right wide-only">
          <Attempt value={lag.deliveryAttemptMax} />
        </td>
        <td className="right wide-only">
          <NextVisible at={lag.nextVisibleAt} inflight={lag.inflight} />
        </td>
        <td className="right wide-only">{format.number(lag.ready)}</td>
      </tr>
      {shown && (
        <tr className="lag-queues">
          <td colSpan={7}>
            <Queues lag={lag} />
          </td>
        </tr>
      )}
    </>
  );
}

/** No topic has this name: all are closed. */
const closed = "-";

function Queues({ lag }: { lag: TopicLag }) {
  const { t, format } = useWords();
  const columns: Column<QueueLag>[] = [
    {
      id: "queue",
      header: t.queue.queue,
      narrow: true,
      grow: true,
      cell: ({ brokerName, queueId, consumerOffset }) => (
        <Link
          to="/topics/$topic"
          params={{ topic: lag.topic }}
          search={{ start: "queue", queue: `${brokerName}/${queueId}`, offset: consumerOffset ?? undefined }}
        >
          {brokerName} / {queueId}
        </Link>
      ),
    },
    {
      id: "consumed",
      header: t.group.committed,
      align: "right",
      cell: ({ consumerOffset }) => (consumerOffset === null ? <Unknown /> : format.number(consumerOffset)),
    },
    { id: "end", header: t.group.end, align: "right", cell: ({ brokerOffset }) => format.number(brokerOffset) },
    { id: "inflight", header: t.group.inflight, align: "right", cell: ({ inflight }) => format.number(inflight) },
    { id: "lag", header: t.group.lag, align: "right", narrow: true, cell: (queue) => <Lag count={queue.lag} /> },
  ];
  return (
    <DataTable
      label={t.group.showQueues(lag.topic)}
      columns={columns}
      rows={lag.queues}
      rowId={({ brokerName, queueId }) => `${brokerName}/${queueId}`}
    />
  );
}

function Settings({ group }: { group: Group }) {
  const { t, format } = useWords();
  const navigate = useNavigate({ from: "/groups/$group" });
  return (
    <>
      <dl className="facts">
        <dt>{t.group.mode}</dt>
        <dd>{group.orderly ? t.group.orderly : t.group.concurrent}</dd>
        <dt>{t.group.startFrom}</dt>
        <dd>{t.group.startFroms[group.startFrom as keyof typeof t.group.startFroms] ?? group.startFrom}</dd>
        <dt>{t.group.retryMax}</dt>
        <dd>
          {group.retryMaxTimes < 0 ? t.group.endless : format.number(group.retryMaxTimes)}
          <Hint>{t.group.retryMaxHint}</Hint>
        </dd>
        <dt>{t.group.retryPolicy}</dt>
        <dd>
          {group.retryPolicy.type === "customized"
            ? group.retryPolicy.next.join(", ")
            : t.group.growing(
                group.retryPolicy.initial,
                format.number(group.retryPolicy.multiplier),
                group.retryPolicy.max,
              )}
        </dd>
        <dt>{t.group.consumeTimeout}</dt>
        <dd>{group.consumeTimeout}</dd>
        <dt>{t.group.broadcast}</dt>
        <dd>{group.broadcastEnabled ? t.group.yes : t.group.no}</dd>
      </dl>
      <div className="toolbar">
        <Button
          variant="default"
          leftSection={<Icon name="settings" size={14} />}
          onClick={() => navigate({ to: ".", search: (search) => ({ ...search, edit: true }) })}
        >
          {t.group.edit}
        </Button>
        <Button
          variant="default"
          onClick={() => navigate({ to: ".", search: (search) => ({ ...search, reset: true }) })}
        >
          {t.group.reset}
        </Button>
      </div>
      <section className="danger">
        <div>
          <h2>{t.group.delete}</h2>
          <Hint>{t.group.deleteHint}</Hint>
        </div>
        <Button
          color="red"
          variant="outline"
          leftSection={<Icon name="trash" size={14} />}
          onClick={() => navigate({ to: ".", search: (search) => ({ ...search, delete: true }) })}
        >
          {t.group.deleteNamed(group.name)}
        </Button>
      </section>
    </>
  );
}
