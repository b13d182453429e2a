/** `/`: is it well, and if not, where. An empty broker gets the welcome instead. */

import { useQueries, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { lazy, type ReactNode, Suspense } from "react";
import {
  brokerStatsQuery,
  brokerStorageQuery,
  clusterQuery,
  groupsQuery,
  useRatesInterval,
  useRefreshInterval,
} from "../api/queries";
import { useRates } from "../api/rates";
import type { Broker, BrokerStats, BrokerStorage, Cluster, Group } from "../api/types";
import { useWords } from "../i18n/i18n";
import { serverUrl } from "../paths";
import { type Column, DataTable } from "../ui/DataTable";
import { Icon } from "../ui/icons";
import { Behind, Lag } from "../ui/Lag";
import { Figures, PageHead, useTitle } from "../ui/Page";
import { RateChart } from "../ui/RateChart";
import { Empty, Failure, Loading, Stale } from "../ui/states";
import { Ago, CurlButton, Unknown } from "../ui/text";
import "./Overview.css";

const Welcome = lazy(() => import("./Welcome").then((module) => ({ default: module.Welcome })));
const route = getRouteApi("/");

/** From here on a disk is called full enough to worry about. */
const diskWarnShare = 0.85;
const groupsShownMax = 8;

export function OverviewPage() {
  const { t } = useWords();
  const { welcome, topic } = route.useSearch();
  const refetchInterval = useRefreshInterval();
  const query = useQuery({ ...clusterQuery(), refetchInterval });
  useTitle(t.nav["/"]);
  if (query.data === undefined) {
    return query.error === null ? <Loading /> : <Down error={query.error} onRetry={() => query.refetch()} />;
  }
  if (welcome === true || query.data.totals.topics === 0) {
    return (
      <Suspense fallback={<Loading />}>
        <Welcome topic={topic} />
      </Suspense>
    );
  }
  return (
    <>
      <PageHead title={t.nav["/"]}>
        <Link to="/" search={{ welcome: true }} className="quiet-link">
          {t.overview.showWelcome}
        </Link>
        <CurlButton calls={[{ url: `${serverUrl()}/v1/cluster` }]} />
      </PageHead>
      {query.error ? <Stale since={query.dataUpdatedAt} onRetry={() => query.refetch()} /> : null}
      <Well cluster={query.data} />
    </>
  );
}

function Down({ error, onRetry }: { error: unknown; onRetry: () => void }) {
  const { t } = useWords();
  return (
    <>
      <PageHead title={t.nav["/"]} />
      <Verdict tone="bad" title={t.overview.down}>
        {t.overview.unreachable}
      </Verdict>
      <Failure error={error} onRetry={onRetry} />
    </>
  );
}

function Well({ cluster }: { cluster: Cluster }) {
  const { t, format } = useWords();
  const refetchInterval = useRefreshInterval();
  const { brokers, totals } = cluster;
  const points = useRates(`broker/${brokers[0]?.brokerName}`);
  const ratesInterval = useRatesInterval(points.length);
  const stats = useQueries({
    queries: brokers.map((one) => ({ ...brokerStatsQuery(one.brokerName), refetchInterval: ratesInterval })),
  });
  const storage = useQueries({
    queries: brokers.map((one) => ({ ...brokerStorageQuery(one.brokerName), refetchInterval })),
  });
  const groups = useQuery({ ...groupsQuery(), refetchInterval });

  const reasons: ReactNode[] = [];
  for (const { brokerName, writable } of brokers) {
    if (!writable) reasons.push(t.overview.readOnly(brokerName));
  }
  const disks = storage.flatMap(({ data }) => (data === undefined ? [] : [data]));
  for (const { brokerName, diskUsed, diskTotal } of disks) {
    if (diskUsed / diskTotal >= diskWarnShare) {
      reasons.push(t.overview.diskFull(brokerName, format.percent(diskUsed / diskTotal)));
    }
  }
  const known = stats.flatMap(({ data }) => (data === undefined ? [] : [data]));
  const rate = (of: "tpsIn" | "tpsOut") =>
    known.length === 0 ? <Unknown why={t.state.noStats} /> : format.rate(known.reduce((sum, one) => sum + one[of], 0));
  const lagging = groups.data?.items.filter(({ totalLag }) => (totalLag ?? 0) > 0);
  const oldest = Math.max(0, ...(lagging ?? []).map(({ delayMs }) => delayMs ?? 0));
  const used = disks.reduce((sum, { diskUsed }) => sum + diskUsed, 0);
  const total = disks.reduce((sum, { diskTotal }) => sum + diskTotal, 0);
  const down = brokers.length === 0 || brokers.every(({ writable }) => !writable);

  return (
    <>
      <Verdict
        tone={down ? "bad" : reasons.length > 0 ? "warn" : "good"}
        title={down ? t.overview.down : reasons.length > 0 ? t.overview.degraded : t.overview.well}
      >
        {reasons.length > 0 ? reasons.join(" ") : t.overview.wellWhy(t.overview.broker(brokers.length))}
      </Verdict>
      <Figures
        figures={[
          { name: t.figure.in, value: rate("tpsIn"), unit: t.figure.perSecond, tone: "in" },
          { name: t.figure.out, value: rate("tpsOut"), unit: t.figure.perSecond, tone: "out" },
          { name: t.figure.topics, value: <Link to="/topics">{format.number(totals.topics)}</Link> },
          { name: t.figure.groups, value: <Link to="/groups">{format.number(totals.groups)}</Link> },
          {
            name: t.figure.lagging,
            value:
              lagging === undefined ? (
                <Unknown why={t.group.lagUnknown} />
              ) : (
                <Link to="/groups" search={{ lagging: true }}>
                  {format.number(lagging.length)}
                </Link>
              ),
            unit:
              lagging === undefined
                ? undefined
                : lagging.length === 0
                  ? t.overview.noneBehind
                  : t.overview.behindOldest(format.duration(oldest)),
            tone: (lagging?.length ?? 0) > 0 ? "warn" : undefined,
          },
          {
            name: t.figure.storage,
            value: total === 0 ? <Unknown /> : format.percent(used / total),
            unit: total === 0 ? undefined : t.overview.diskOf(format.bytes(total)),
          },
        ]}
      />
      <div className="overview">
        <section className="section">
          <h2>
            {t.overview.rates} <span className="section-note">{t.overview.ratesSince}</span>
          </h2>
          <RateChart points={points} />
        </section>
        <section className="section">
          <h2>{t.overview.behind}</h2>
          {groups.data === undefined ? (
            groups.error === null ? (
              <Loading rows={4} />
            ) : (
              <Failure error={groups.error} onRetry={() => groups.refetch()} />
            )
          ) : (
            <Furthest groups={groups.data.items} />
          )}
        </section>
      </div>
      <section className="section">
        <h2>{t.figure.brokers}</h2>
        <Brokers
          brokers={brokers}
          stats={new Map(known.map((one) => [one.brokerName, one]))}
          storage={new Map(disks.map((one) => [one.brokerName, one]))}
        />
      </section>
    </>
  );
}

function Verdict({ tone, title, children }: { tone: "good" | "warn" | "bad"; title: string; children: ReactNode }) {
  return (
    <p className="verdict" data-tone={tone} role="status">
      <Icon name={tone === "good" ? "check" : tone === "warn" ? "warning" : "error"} />
      <strong>{title}</strong>
      <span>{children}</span>
    </p>
  );
}

function Furthest({ groups }: { groups: Group[] }) {
  const { t } = useWords();
  const behind = groups
    .filter(({ totalLag }) => (totalLag ?? 0) > 0)
    .sort((a, b) => (b.delayMs ?? 0) - (a.delayMs ?? 0))
    .slice(0, groupsShownMax);
  if (behind.length === 0) {
    return (
      <Empty icon="check" title={t.overview.noneBehindTitle}>
        <p>{t.overview.noneBehindWhy}</p>
      </Empty>
    );
  }
  const columns: Column<Group>[] = [
    {
      id: "name",
      header: t.group.name,
      grow: true,
      narrow: true,
      cell: ({ name }) => (
        <Link to="/groups/$group" params={{ group: name }} className="name">
          {name}
        </Link>
      ),
    },
    { id: "lag", header: t.group.lag, align: "right", narrow: true, cell: ({ totalLag }) => <Lag count={totalLag} /> },
    {
      id: "behind",
      header: t.group.behind,
      align: "right",
      narrow: true,
      cell: ({ delayMs }) => <Behind ms={delayMs} />,
    },
  ];
  return <DataTable label={t.overview.behind} columns={columns} rows={behind} rowId={({ name }) => name} />;
}

function Brokers({
  brokers,
  stats,
  storage,
}: {
  brokers: Broker[];
  stats: Map<string, BrokerStats>;
  storage: Map<string, BrokerStorage>;
}) {
  const { t, format } = useWords();
  const disk = (name: string) => storage.get(name);
  const columns: Column<Broker>[] = [
    {
      id: "name",
      header: t.topic.name,
      grow: true,
      narrow: true,
      cell: ({ brokerName, writable }) => (
        <>
          <span className="name strong">{brokerName}</span>{" "}
          <span className="tag" data-tone={writable ? "good" : "bad"}>
            {writable ? t.overview.writable : t.overview.notWritable}
          </span>
        </>
      ),
    },
    {
      id: "durability",
      header: t.overview.durabilityTitle,
      cell: ({ durability }) => t.overview.durability[durability as keyof typeof t.overview.durability] ?? durability,
    },
    {
      id: "log",
      header: t.overview.log,
      align: "right",
      cell: ({ commitLogMin, commitLogMax }) => format.bytes(commitLogMax - commitLogMin),
    },
    {
      id: "disk",
      header: t.figure.storage,
      align: "right",
      cell: ({ brokerName }) => {
        const known = disk(brokerName);
        return known === undefined ? <Unknown /> : format.percent(known.diskUsed / known.diskTotal);
      },
    },
    {
      id: "earliest",
      header: t.overview.earliest,
      align: "right",
      cell: ({ brokerName }) => <Ago at={disk(brokerName)?.earliestMessageAt} />,
    },
    {
      id: "parked",
      header: t.overview.parked,
      align: "right",
      cell: ({ brokerName }) => {
        const known = stats.get(brokerName);
        return known === undefined ? <Unknown why={t.state.noStats} /> : format.number(known.parkedReceives);
      },
    },
    { id: "version", header: t.overview.version, cell: ({ version }) => version },
    {
      id: "started",
      header: t.overview.started,
      align: "right",
      narrow: true,
      cell: ({ started }) => <Ago at={started} />,
    },
  ];
  return <DataTable label={t.figure.brokers} columns={columns} rows={brokers} rowId={({ brokerName }) => brokerName} />;
}
