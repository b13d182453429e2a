/** The queues of a topic: where they stand, and whether one of them gets more than its share. */

import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { queuesQuery, useRefreshInterval } from "../../api/queries";
import type { Queue } from "../../api/types";
import { useWords } from "../../i18n/i18n";
import { type Column, DataTable } from "../../ui/DataTable";
import { Area } from "../../ui/states";
import { Ago } from "../../ui/text";

export function QueuesTab({ topic }: { topic: string }) {
  const { t, format } = useWords();
  const refetchInterval = useRefreshInterval();
  const query = useQuery({ ...queuesQuery(topic), refetchInterval });
  return (
    <Area query={query}>
      {(queues) => {
        const largest = Math.max(1, ...queues.map(count));
        const columns: Column<Queue>[] = [
          {
            id: "queue",
            header: t.queue.queue,
            narrow: true,
            cell: (queue) => (
              <Link
                to="/topics/$topic"
                params={{ topic }}
                search={{ start: "queue", queue: `${queue.brokerName}/${queue.queueId}` }}
                className="name"
              >
                {queue.brokerName} / {queue.queueId}
              </Link>
            ),
          },
          { id: "min", header: t.queue.min, align: "right", cell: ({ minOffset }) => format.number(minOffset) },
          { id: "max", header: t.queue.max, align: "right", cell: ({ maxOffset }) => format.number(maxOffset) },
          {
            id: "count",
            header: t.figure.kept,
            align: "right",
            narrow: true,
            cell: (queue) => format.number(count(queue)),
          },
          {
            id: "share",
            header: t.queue.share,
            grow: true,
            cell: (queue) => (
              <span className="share" aria-hidden="true">
                <span style={{ width: `${(count(queue) / largest) * 100}%` }} />
              </span>
            ),
          },
          {
            id: "last",
            header: t.queue.last,
            align: "right",
            narrow: true,
            cell: ({ lastUpdate }) =>
              lastUpdate === null || lastUpdate === undefined ? t.queue.never : <Ago at={lastUpdate} />,
          },
        ];
        return (
          <DataTable
            label={t.topic.tabs.queues}
            columns={columns}
            rows={queues}
            rowId={({ brokerName, queueId }) => `${brokerName}/${queueId}`}
          />
        );
      }}
    </Area>
  );
}

const count = ({ minOffset, maxOffset }: Queue) => maxOffset - minOffset;
