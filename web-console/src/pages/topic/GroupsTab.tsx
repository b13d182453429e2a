/** Who consumes this topic, and how far behind each group is. */

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { topicGroupsQuery, useRefreshInterval } from "../../api/queries";
import type { TopicGroup } from "../../api/types";
import { useWords } from "../../i18n/i18n";
import { serverUrl } from "../../paths";
import { type Column, DataTable } from "../../ui/DataTable";
import { Attempt, Behind, Lag, NextVisible } from "../../ui/Lag";
import { Area, Empty } from "../../ui/states";
import { Code } from "../../ui/text";

export function GroupsTab({ topic }: { topic: string }) {
  const { t, format } = useWords();
  const refetchInterval = useRefreshInterval();
  const query = useQuery({ ...topicGroupsQuery(topic), refetchInterval });
  const columns: Column<TopicGroup>[] = [
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
    { id: "lag", header: t.group.lag, align: "right", narrow: true, cell: ({ lag }) => <Lag count={lag} /> },
    {
      id: "behind",
      header: t.group.behind,
      align: "right",
      narrow: true,
      cell: ({ delayMs }) => <Behind ms={delayMs} />,
    },
    {
      id: "inflight",
      header: t.group.inflight,
      align: "right",
      cell: ({ name, inflight }) =>
        inflight === 0 ? (
          "0"
        ) : (
          <Link to="/groups/$group" params={{ group: name }} search={{ tab: "inflight", topic }}>
            {format.number(inflight)}
          </Link>
        ),
    },
    {
      id: "attempt",
      header: t.group.attempt,
      align: "right",
      cell: ({ deliveryAttemptMax }) => <Attempt value={deliveryAttemptMax} />,
    },
    {
      id: "next",
      header: t.group.nextVisible,
      align: "right",
      cell: ({ nextVisibleAt, inflight }) => <NextVisible at={nextVisibleAt} inflight={inflight} />,
    },
    {
      id: "dead",
      header: t.group.deadLetters,
      align: "right",
      cell: ({ name, deadLetters }) =>
        deadLetters === 0 ? (
          "0"
        ) : (
          <Link to="/groups/$group" params={{ group: name }} search={{ tab: "dlq" }} className="behind">
            {format.number(deadLetters)}
          </Link>
        ),
    },
  ];
  return (
    <Area query={query} rows={3}>
      {(groups) =>
        groups.length === 0 ? (
          <Empty icon="groups" title={t.topic.noGroups}>
            <p>{t.topic.noGroupsWhy}</p>
            <Code
              label={t.action.apiCall}
              text={`curl ${serverUrl()}/v1/groups/my-group/receive \\\n  --json '{"topic":"${topic}","maxMessages":10}'`}
            />
          </Empty>
        ) : (
          <DataTable label={t.topic.tabs.groups} columns={columns} rows={groups} rowId={({ name }) => name} />
        )
      }
    </Area>
  );
}
