/** What a group has given up, and sending it once more. */

import { Button, Checkbox } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { deadLettersQuery, useRefreshInterval } from "../../api/queries";
import type { DeadLetterQueue, Message, Time } from "../../api/types";
import { deadLetterPageQuery } from "../../delivery/calls";
import { useDeliveryWords } from "../../delivery/words";
import { apiPaths, basePath } from "../../paths";
import { type Column, DataTable } from "../../ui/DataTable";
import { Icon } from "../../ui/icons";
import { Area, Empty } from "../../ui/states";
import { Ago } from "../../ui/text";
import "../../delivery/delivery.css";

const Resend = lazy(() => import("../../forms/ResendDeadLetters").then((module) => ({ default: module.Resend })));
const previewMax = 120;

export function DeadLettersTab({ group }: { group: string }) {
  const { d, format } = useDeliveryWords();
  const refetchInterval = useRefreshInterval();
  const [cursor, setCursor] = useState<string>();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [sending, setSending] = useState<"chosen" | "all">();
  const summary = useQuery({ ...deadLettersQuery(group), refetchInterval });
  const query = useQuery({
    ...deadLetterPageQuery(group, cursor),
    refetchInterval,
    placeholderData: keepPreviousData,
  });
  const choose = (id: string, on: boolean) => {
    const next = new Set(chosen);
    if (on) next.add(id);
    else next.delete(id);
    setChosen(next);
  };
  const columns: Column<Message>[] = [
    {
      id: "select",
      header: d.dead.selectAll,
      hidden: true,
      narrow: true,
      width: 34,
      cell: ({ messageId }) => (
        <Checkbox
          aria-label={d.dead.select(messageId)}
          checked={chosen.has(messageId)}
          onChange={(event) => choose(messageId, event.currentTarget.checked)}
        />
      ),
    },
    {
      id: "message",
      header: d.dead.message,
      narrow: true,
      cell: ({ topic, messageId }) => (
        <Link to="/topics/$topic/messages/$id" params={{ topic, id: messageId }} className="mono dead-id">
          {messageId}
        </Link>
      ),
    },
    {
      id: "from",
      header: d.dead.from,
      cell: ({ deadLetter }) =>
        deadLetter && (
          <Link to="/topics/$topic" params={{ topic: deadLetter.topic }}>
            {deadLetter.topic}
          </Link>
        ),
    },
    {
      id: "attempts",
      header: d.dead.attempts,
      align: "right",
      cell: ({ deadLetter }) => format.number(deadLetter?.deliveryAttempts),
    },
    {
      id: "reason",
      header: d.dead.reason,
      cell: ({ deadLetter }) => <span className="dead-reason">{deadLetter?.reason ?? ""}</span>,
    },
    {
      id: "body",
      header: d.dead.body,
      grow: true,
      cell: ({ body, bodyEncoding }) => (
        <span className="preview">
          {typeof body === "string" && bodyEncoding === "text" ? body.slice(0, previewMax) : ""}
        </span>
      ),
    },
    {
      id: "since",
      header: d.dead.since,
      align: "right",
      narrow: true,
      cell: ({ storeTimestamp }) => <Ago at={storeTimestamp} />,
    },
  ];
  return (
    <>
      <Area query={query} rows={4}>
        {({ items, nextCursor }) =>
          items.length === 0 && cursor === undefined ? (
            <Empty icon="check" title={d.dead.none}>
              <p>{d.dead.noneWhy}</p>
            </Empty>
          ) : (
            <>
              <div className="toolbar">
                <Checkbox
                  label={chosen.size === 0 ? d.dead.selectAll : d.dead.selected(format.number(chosen.size))}
                  checked={items.length > 0 && items.every(({ messageId }) => chosen.has(messageId))}
                  indeterminate={chosen.size > 0 && !items.every(({ messageId }) => chosen.has(messageId))}
                  onChange={(event) =>
                    setChosen(new Set(event.currentTarget.checked ? items.map(({ messageId }) => messageId) : []))
                  }
                />
                <span className="end">
                  <Button variant="default" disabled={chosen.size === 0} onClick={() => setSending("chosen")}>
                    {chosen.size === 0 ? d.dead.resend : d.dead.resendSelected(format.number(chosen.size))}
                  </Button>
                  <Button variant="default" onClick={() => setSending("all")}>
                    {d.dead.resendAll}
                  </Button>
                  <Button
                    component="a"
                    variant="default"
                    href={`${basePath()}${apiPaths.deadLetterExport(group)}`}
                    download={`${group}.ndjson`}
                    leftSection={<Icon name="download" size={14} />}
                  >
                    {d.dead.export}
                  </Button>
                </span>
              </div>
              <DataTable
                label={d.dead.title}
                columns={columns}
                rows={items}
                rowId={({ offsetMessageId }) => offsetMessageId}
              />
              {(cursor !== undefined || nextCursor) && (
                <div className="pages">
                  <Button variant="default" disabled={cursor === undefined} onClick={() => setCursor(undefined)}>
                    {d.dead.newest}
                  </Button>
                  <Button variant="default" disabled={!nextCursor} onClick={() => setCursor(nextCursor ?? undefined)}>
                    {d.dead.older}
                  </Button>
                </div>
              )}
            </>
          )
        }
      </Area>
      {sending !== undefined && (
        <Suspense>
          <Resend
            group={group}
            which={sending === "chosen" ? { messageIds: [...chosen] } : allOf(summary.data)}
            onClose={() => setSending(undefined)}
            onSent={() => setChosen(new Set())}
          />
        </Suspense>
      )}
    </>
  );
}

/** Everything that is there now: what is given up later is not sent along. */
function allOf(summary: DeadLetterQueue | undefined): { from: string; to: string } {
  const at = (time: Time | null | undefined, without: number) =>
    time === null || time === undefined ? without : new Date(time).getTime();
  return {
    from: new Date(at(summary?.oldest, 0)).toISOString(),
    to: new Date(at(summary?.newest, Date.now()) + 1).toISOString(),
  };
}
