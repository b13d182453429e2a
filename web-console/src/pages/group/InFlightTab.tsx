/** What a group has in flight: which message, how often it was delivered, and when it comes back. */

import { Button, NativeSelect } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { useRefreshInterval } from "../../api/queries";
import type { GroupLag, InFlightMessage } from "../../api/types";
import { inFlightQuery } from "../../delivery/calls";
import { Until } from "../../delivery/Until";
import { useDeliveryWords } from "../../delivery/words";
import { type Column, DataTable } from "../../ui/DataTable";
import { Icon } from "../../ui/icons";
import { Area, Empty } from "../../ui/states";
import { Hint, Unknown } from "../../ui/text";
import "../../delivery/delivery.css";

const route = getRouteApi("/groups/$group");

export function InFlightTab({ group, lag }: { group: string; lag: GroupLag | undefined }) {
  const { d, format } = useDeliveryWords();
  const search = route.useSearch();
  const navigate = useNavigate({ from: "/groups/$group" });
  const refetchInterval = useRefreshInterval();
  const topic = search.topic;
  /** The cursors of the pages before this one, and of this one. */
  const [cursors, setCursors] = useState<string[]>([]);
  const query = useQuery({
    ...inFlightQuery(group, topic, cursors.at(-1)),
    refetchInterval,
    placeholderData: keepPreviousData,
  });
  const choose = (next: string) => {
    setCursors([]);
    navigate({ to: ".", search: { ...search, topic: next === "" ? undefined : next }, replace: true });
  };
  const topics = lag?.topics.map((one) => one.topic) ?? [];
  const options = topic !== undefined && !topics.includes(topic) ? [...topics, topic] : topics;
  const standing = lag?.topics
    .filter((one) => topic === undefined || one.topic === topic)
    .flatMap((one) =>
      one.queues.filter((queue) => queue.standsStill).map((queue) => `${one.topic} / ${queue.queueId}`),
    );

  const columns: Column<InFlightMessage>[] = [
    {
      id: "message",
      header: d.inFlight.message,
      narrow: true,
      grow: true,
      cell: ({ topic, messageId }) =>
        messageId == null ? (
          <Unknown why={d.inFlight.notKept} />
        ) : (
          <Link to="/topics/$topic/messages/$id" params={{ topic, id: messageId }} className="mono ellipsis">
            {messageId}
          </Link>
        ),
    },
    ...(topic === undefined && topics.length > 1
      ? [{ id: "topic", header: d.inFlight.topic, cell: ({ topic }: InFlightMessage) => topic }]
      : []),
    {
      id: "place",
      header: d.inFlight.place,
      cell: ({ brokerName, queueId, queueOffset }) =>
        d.inFlight.placeOf(`${brokerName} / ${queueId}`, format.number(queueOffset)),
    },
    { id: "group", header: d.inFlight.messageGroup, cell: ({ messageGroup }) => messageGroup ?? "" },
    {
      id: "attempt",
      header: d.inFlight.attempt,
      align: "right",
      narrow: true,
      cell: ({ deliveryAttempt }) => (
        <span className={deliveryAttempt > 1 ? "behind" : undefined} title={d.inFlight.attemptHint}>
          {format.number(deliveryAttempt)}
        </span>
      ),
    },
    {
      id: "next",
      header: d.inFlight.next,
      align: "right",
      narrow: true,
      cell: ({ invisibleUntil, cameBack }) => <Until at={invisibleUntil} cameBack={cameBack} />,
    },
  ];
  return (
    <>
      {options.length > 1 && (
        <div className="toolbar">
          <NativeSelect
            aria-label={d.inFlight.topic}
            data={[{ value: "", label: d.inFlight.anyTopic }, ...options.map((value) => ({ value, label: value }))]}
            value={topic ?? ""}
            onChange={(event) => choose(event.currentTarget.value)}
          />
        </div>
      )}
      {standing !== undefined && standing.length > 0 && (
        <p className="notice" role="status">
          <Icon name="warning" size={14} /> {d.inFlight.standing(standing.join(", "))}
        </p>
      )}
      <Area query={query} rows={4}>
        {({ items, nextCursor }) =>
          items.length === 0 && cursors.length === 0 ? (
            <Empty icon="groups" title={d.inFlight.none}>
              <p>{d.inFlight.noneWhy}</p>
            </Empty>
          ) : (
            <>
              <DataTable
                label={d.inFlight.title}
                columns={columns}
                rows={items}
                rowId={({ topic, brokerName, queueId, queueOffset }) =>
                  `${topic}/${brokerName}/${queueId}/${queueOffset}`
                }
              />
              <div className="pages">
                <Hint>{d.inFlight.hint}</Hint>
                {(cursors.length > 0 || nextCursor) && (
                  <>
                    <span className="hint">{d.inFlight.page(format.number(cursors.length + 1))}</span>
                    <Button variant="default" disabled={cursors.length === 0} onClick={() => setCursors([])}>
                      {d.inFlight.firstPage}
                    </Button>
                    <Button
                      variant="default"
                      disabled={!nextCursor}
                      onClick={() => nextCursor && setCursors([...cursors, nextCursor])}
                    >
                      {d.inFlight.nextPage}
                    </Button>
                  </>
                )}
              </div>
            </>
          )
        }
      </Area>
    </>
  );
}
