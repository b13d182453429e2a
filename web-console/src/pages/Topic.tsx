/** `/topics/{t}`: how one topic is fed and drained, and what is in it. */

import { Button, Tabs } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, Outlet, useNavigate } from "@tanstack/react-router";
import { lazy, Suspense } from "react";
import { asProblem } from "../api/problem";
import {
  brokerStorageQuery,
  clusterQuery,
  topicGroupsQuery,
  topicQuery,
  topicStatsQuery,
  useRatesInterval,
  useRefreshInterval,
} from "../api/queries";
import { useRates } from "../api/rates";
import { useWords } from "../i18n/i18n";
import { apiPaths, serverUrl } from "../paths";
import { type TopicTab, topicTabs } from "../search";
import { Icon } from "../ui/icons";
import { useKey } from "../ui/keys";
import { messageTypeName } from "../ui/messageType";
import { Figures, PageHead, useTitle } from "../ui/Page";
import { Sparkline } from "../ui/Sparkline";
import { Empty, Failure, Loading } from "../ui/states";
import { CurlButton, Unknown } from "../ui/text";
import { GroupsTab } from "./topic/GroupsTab";
import { MessagesTab } from "./topic/MessagesTab";
import { QueuesTab } from "./topic/QueuesTab";
import { SettingsTab } from "./topic/SettingsTab";

const DeleteTopic = lazy(() => import("../forms/DeleteTopic").then((module) => ({ default: module.DeleteTopic })));
const TransactionsTab = lazy(() =>
  import("./topic/TransactionsTab").then((module) => ({ default: module.TransactionsTab })),
);
const route = getRouteApi("/topics/$topic");

export function TopicPage() {
  const { t } = useWords();
  const { topic } = route.useParams();
  const search = route.useSearch();
  const navigate = useNavigate();
  const refetchInterval = useRefreshInterval();
  const query = useQuery({ ...topicQuery(topic), refetchInterval });
  const tab = search.tab ?? "messages";
  useTitle(topic, t.nav["/topics"]);
  const send = () => navigate({ to: "/topics/$topic/send", params: { topic }, search: true });
  useKey("n", send);

  if (query.data === undefined) {
    if (query.error === null) return <Loading />;
    if (asProblem(query.error).status !== 404) {
      return <Failure error={query.error} onRetry={() => query.refetch()} />;
    }
    return (
      <Empty page icon="topics" title={t.topic.missing(topic)} action={<Link to="/topics">{t.topic.toList}</Link>}>
        <p>{t.topic.missingWhy}</p>
      </Empty>
    );
  }
  const { messageType, system } = query.data;
  // Whoever has the address of the tab sees it: a topic may have been of another type.
  const tabs = topicTabs.filter((one) => one !== "transactions" || transactional.includes(messageType) || one === tab);
  return (
    <>
      <PageHead
        title={topic}
        mono
        copy={topic}
        beside={
          <>
            <span className="tag">{messageTypeName(t, messageType)}</span>
            {system && <span className="tag">{t.topic.system}</span>}
          </>
        }
      >
        <CurlButton calls={[{ url: `${serverUrl()}${apiPaths.messages(topic)}?limit=50` }]} />
        <Button leftSection={<Icon name="send" size={14} />} onClick={send} disabled={system}>
          {t.send.title}
        </Button>
      </PageHead>
      <LiveFigures topic={topic} messageType={messageType} />
      <Tabs
        value={tab}
        onChange={(next) =>
          navigate({
            to: "/topics/$topic",
            params: { topic },
            search: next === "messages" ? {} : { tab: next as TopicTab },
          })
        }
        keepMounted={false}
      >
        <Tabs.List mb={14}>
          {tabs.map((one) => (
            <Tabs.Tab key={one} value={one}>
              {t.topic.tabs[one]}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="messages">
          <MessagesTab topic={topic} system={system} />
        </Tabs.Panel>
        <Tabs.Panel value="transactions">
          <Suspense fallback={<Loading rows={4} />}>
            <TransactionsTab topic={topic} />
          </Suspense>
        </Tabs.Panel>
        <Tabs.Panel value="queues">
          <QueuesTab topic={topic} />
        </Tabs.Panel>
        <Tabs.Panel value="groups">
          <GroupsTab topic={topic} />
        </Tabs.Panel>
        <Tabs.Panel value="settings">
          <SettingsTab topic={query.data} />
        </Tabs.Panel>
      </Tabs>
      {search.delete === true && (
        <Suspense>
          <DeleteTopic
            topic={topic}
            onClose={() => navigate({ to: ".", search: { ...search, delete: undefined }, replace: true })}
            onDeleted={() => navigate({ to: "/topics" })}
          />
        </Suspense>
      )}
      <Outlet />
    </>
  );
}

/** Types of topics whose messages may wait for a time, or for a commit. */
const timed = ["delay", "mixed"];
const transactional = ["transaction", "mixed"];

function LiveFigures({ topic, messageType }: { topic: string; messageType: string }) {
  const { t, format } = useWords();
  const points = useRates(`topic/${topic}`);
  const refetchInterval = useRatesInterval(points.length);
  const { data, error } = useQuery({ ...topicStatsQuery(topic), refetchInterval });
  const groups = useQuery({ ...topicGroupsQuery(topic), refetchInterval }).data;
  const sum = (of: "inflight" | "deadLetters") => groups?.reduce((total, group) => total + group[of], 0);
  const shown = (value: number | undefined, as: (value: number) => string) =>
    value === undefined ? <Unknown why={error === null ? t.state.loading : t.state.noStats} /> : as(value);
  const sinceStart = (messages: number | undefined, bytes: number | undefined) =>
    messages === undefined ? undefined : t.figure.sinceStart(format.compact(messages), format.bytes(bytes));
  return (
    <Figures
      figures={[
        {
          name: t.figure.in,
          value: shown(data?.tpsIn, format.rate),
          unit: t.figure.perSecond,
          note: sinceStart(data?.messagesIn, data?.bytesIn),
          tone: "in",
        },
        {
          name: t.figure.out,
          value: shown(data?.tpsOut, format.rate),
          unit: t.figure.perSecond,
          note: sinceStart(data?.messagesOut, data?.bytesOut),
          tone: "out",
        },
        { name: t.figure.kept, value: shown(data?.messages, format.compact) },
        { name: t.figure.inFlight, value: shown(sum("inflight"), format.compact) },
        {
          name: t.group.deadLetters,
          value: shown(sum("deadLetters"), format.compact),
          note: t.figure.ofGroups,
          tone: (sum("deadLetters") ?? 0) > 0 ? "warn" : undefined,
        },
        ...(timed.includes(messageType)
          ? [{ name: t.figure.scheduled, value: <Scheduled />, note: t.figure.allTopics }]
          : []),
        ...(transactional.includes(messageType)
          ? [{ name: t.figure.openTransactions, value: shown(data?.transactions.open, format.compact) }]
          : []),
      ]}
    >
      <Sparkline points={points} width={200} height={40} />
    </Figures>
  );
}

/** The broker counts what waits for its time, not by topic. */
function Scheduled() {
  const { t, format } = useWords();
  const refetchInterval = useRefreshInterval();
  const broker = useQuery(clusterQuery()).data?.brokers[0]?.brokerName;
  const { data, error } = useQuery({
    ...brokerStorageQuery(broker ?? ""),
    enabled: broker !== undefined,
    refetchInterval,
  });
  if (data === undefined) return <Unknown why={error === null ? t.state.loading : t.state.noStats} />;
  return <>{format.compact(data.timer.scheduled)}</>;
}
