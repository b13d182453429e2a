/** Transactions of a topic that nobody has decided: whose they are, when their producers are asked, and deciding them. */

import { Button } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { useRefreshInterval } from "../../api/queries";
import type { OpenTransaction } from "../../api/types";
import { type Decision, transactionsQuery } from "../../delivery/calls";
import { Until } from "../../delivery/Until";
import { useDeliveryWords } from "../../delivery/words";
import { type Column, DataTable } from "../../ui/DataTable";
import { Area, Empty } from "../../ui/states";
import { Ago, Hint } from "../../ui/text";
import "../../delivery/delivery.css";

const Decide = lazy(() => import("../../forms/DecideTransaction").then((module) => ({ default: module.Decide })));
/** RocketMQ's name for where those lie that were given up. */
const holdingTopic = "TRANS_CHECK_MAX_TIME_TOPIC";
const previewMax = 120;

export function TransactionsTab({ topic }: { topic: string }) {
  const { d, format } = useDeliveryWords();
  const refetchInterval = useRefreshInterval();
  const [cursor, setCursor] = useState<string>();
  const [deciding, setDeciding] = useState<{ transaction: OpenTransaction; decision: Decision }>();
  const query = useQuery({ ...transactionsQuery(topic, cursor), refetchInterval, placeholderData: keepPreviousData });
  const button = (transaction: OpenTransaction, decision: Decision) => (
    <Button
      size="compact-xs"
      variant="default"
      aria-label={
        decision === "commit"
          ? d.transactions.commitNamed(transaction.messageId)
          : d.transactions.rollbackNamed(transaction.messageId)
      }
      onClick={() => setDeciding({ transaction, decision })}
    >
      {d.transactions[decision]}
    </Button>
  );

  const columns: Column<OpenTransaction>[] = [
    {
      id: "message",
      header: d.transactions.message,
      narrow: true,
      cell: ({ messageId }) => <span className="mono dead-id">{messageId}</span>,
    },
    { id: "producerGroup", header: d.transactions.producerGroup, cell: ({ producerGroup }) => producerGroup },
    {
      id: "body",
      header: d.transactions.body,
      grow: true,
      cell: ({ message: { body, bodyEncoding } }) => (
        <span className="preview">
          {typeof body === "string" && bodyEncoding === "text" ? body.slice(0, previewMax) : ""}
        </span>
      ),
    },
    {
      id: "since",
      header: d.transactions.since,
      align: "right",
      cell: ({ bornTimestamp }) => <Ago at={bornTimestamp} />,
    },
    {
      id: "checks",
      header: d.transactions.checks,
      align: "right",
      cell: ({ checkCount }) => <span title={d.transactions.checksHint}>{format.number(checkCount)}</span>,
    },
    {
      id: "next",
      header: d.transactions.next,
      align: "right",
      cell: ({ nextCheckAt }) => <Until at={nextCheckAt} over={d.transactions.due} />,
    },
    {
      id: "decide",
      header: d.transactions.decide,
      hidden: true,
      narrow: true,
      align: "right",
      cell: (transaction) => (
        <span className="decide">
          {button(transaction, "commit")}
          {button(transaction, "rollback")}
        </span>
      ),
    },
  ];
  return (
    <>
      <Area query={query} rows={4}>
        {({ items, nextCursor }) =>
          items.length === 0 && cursor === undefined && !nextCursor ? (
            <Empty icon="check" title={d.transactions.none}>
              <p>{d.transactions.noneWhy}</p>
            </Empty>
          ) : (
            <>
              <DataTable
                label={d.transactions.title}
                columns={columns}
                rows={items}
                rowId={({ transactionHandle }) => transactionHandle}
              />
              {(cursor !== undefined || nextCursor) && (
                <div className="pages">
                  <Button variant="default" disabled={cursor === undefined} onClick={() => setCursor(undefined)}>
                    {d.transactions.oldest}
                  </Button>
                  <Button variant="default" disabled={!nextCursor} onClick={() => setCursor(nextCursor ?? undefined)}>
                    {d.transactions.older}
                  </Button>
                </div>
              )}
            </>
          )
        }
      </Area>
      <Hint>
        {d.transactions.heldHint}{" "}
        <Link to="/topics/$topic" params={{ topic: holdingTopic }} className="in-text">
          {d.transactions.held}
        </Link>
      </Hint>
      {deciding !== undefined && (
        <Suspense>
          <Decide topic={topic} {...deciding} onClose={() => setDeciding(undefined)} />
        </Suspense>
      )}
    </>
  );
}
