/** `/groups/{g}?reset=true`: where to, then what would move by how much, then exactly that. */

import { Button, Checkbox, NativeSelect, NumberInput, SegmentedControl, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { asProblem } from "../api/problem";
import { groupLagQuery } from "../api/queries";
import type { OffsetsMoved, QueueMoved, ResetRequest } from "../api/types";
import { isOnline, resetOffsets } from "../delivery/calls";
import { useDeliveryWords } from "../delivery/words";
import { fromWallTime, zoneName } from "../i18n/format";
import { type Column, DataTable } from "../ui/DataTable";
import { SidePanel } from "../ui/SidePanel";
import { Failure, Loading } from "../ui/states";
import { Hint } from "../ui/text";
import { toast } from "../ui/toast";
import "../delivery/delivery.css";

const targets = ["min", "max", "time", "offset"] as const;
const form = "reset-offsets";

export function ResetOffsets({ group, onClose }: { group: string; onClose: () => void }) {
  const { t, d, zone } = useDeliveryWords();
  const client = useQueryClient();
  const lag = useQuery(groupLagQuery(group));
  const topics = lag.data?.topics.map(({ topic }) => topic) ?? [];
  const [chosen, setTopic] = useState<string>();
  const topic = chosen ?? topics[0];
  const [target, setTarget] = useState<(typeof targets)[number]>("min");
  const [time, setTime] = useState("");
  const [offset, setOffset] = useState<number>();
  const [force, setForce] = useState(false);

  const at = target === "time" ? fromWallTime(time, zone) : undefined;
  const to: ResetRequest["to"] | undefined =
    target === "time"
      ? at === undefined
        ? undefined
        : { timestamp: new Date(at).toISOString() }
      : target === "offset"
        ? offset === undefined
          ? undefined
          : { offset }
        : { position: target };
  const request: ResetRequest | undefined = topic === undefined || to === undefined ? undefined : { topic, to };
  const plan = useMutation({ mutationFn: (body: ResetRequest) => resetOffsets(group, body, true) });
  const apply = useMutation({
    mutationFn: (body: ResetRequest) => resetOffsets(group, { ...body, force }, false),
    onSuccess: async (_, { topic }) => {
      toast(d.reset.applied(group, topic));
      onClose();
      await client.invalidateQueries();
    },
  });
  /** What is shown is the plan of what the form says, or nothing. */
  const isPlanned = plan.data !== undefined && JSON.stringify(plan.variables) === JSON.stringify(request);
  const moves = isPlanned && plan.data.queues.some(({ from, to }) => from !== to);
  const problem = plan.error === null ? undefined : asProblem(plan.error);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    apply.reset();
    if (request !== undefined) plan.mutate(request);
  };
  return (
    <SidePanel
      title={d.reset.titleOf(group)}
      onClose={onClose}
      footer={
        <div className="end">
          <Button variant="default" onClick={onClose} data-autofocus>
            {t.action.cancel}
          </Button>
          <Button
            color="red"
            disabled={!moves || (isOnline(apply.error) && !force)}
            loading={apply.isPending}
            onClick={() => request && apply.mutate(request)}
          >
            {d.reset.apply}
          </Button>
        </div>
      }
    >
      {lag.isPending ? (
        <Loading rows={4} />
      ) : (
        <form id={form} className="fields" onSubmit={submit} noValidate>
          <Hint>{d.reset.hint}</Hint>
          {lag.error !== null && <Failure error={lag.error} />}
          <NativeSelect
            label={d.reset.topic}
            data={topics}
            value={topic}
            onChange={(event) => setTopic(event.currentTarget.value)}
          />
          <fieldset className="plain">
            <legend>{d.reset.to}</legend>
            <SegmentedControl
              fullWidth
              aria-label={d.reset.to}
              value={target}
              onChange={(value) => setTarget(value as typeof target)}
              data={targets.map((value) => ({ value, label: d.reset.tos[value] }))}
            />
            <Hint>{d.reset.toHints[target]}</Hint>
          </fieldset>
          {target === "time" && (
            <TextInput
              type="datetime-local"
              step={1}
              label={`${d.reset.time} (${zoneName(zone)})`}
              value={time}
              onChange={(event) => setTime(event.currentTarget.value)}
            />
          )}
          {target === "offset" && (
            <NumberInput
              label={d.reset.offset}
              value={offset ?? ""}
              onChange={(value) => setOffset(value === "" ? undefined : Math.max(0, Number(value) || 0))}
              min={0}
              allowDecimal={false}
              error={problem?.field("offset")}
            />
          )}
          <Button type="submit" variant="default" disabled={request === undefined} loading={plan.isPending}>
            {d.reset.plan}
          </Button>
          {problem !== undefined && <Failure error={problem} />}
          {isPlanned && <Plan moved={plan.data} />}
          {apply.error !== null && !isOnline(apply.error) && <Failure error={apply.error} />}
          {isOnline(apply.error) && (
            <div className="notice" role="alert">
              <Checkbox
                label={d.reset.force}
                description={d.reset.forceWhy}
                checked={force}
                onChange={(event) => setForce(event.currentTarget.checked)}
              />
            </div>
          )}
        </form>
      )}
    </SidePanel>
  );
}

/** Messages that come again, and messages passed over. Before the first receive nobody can say. */
export function totals(queues: readonly QueueMoved[]): { replayed: number; skipped: number } {
  const known = queues.flatMap(({ from, to }) => (from == null ? [] : [to - from]));
  const sum = (deltas: number[]) => deltas.reduce((total, delta) => total + Math.abs(delta), 0);
  return { replayed: sum(known.filter((delta) => delta < 0)), skipped: sum(known.filter((delta) => delta > 0)) };
}

function Plan({ moved }: { moved: OffsetsMoved }) {
  const { d, format } = useDeliveryWords();
  const { replayed, skipped } = totals(moved.queues);
  const columns: Column<QueueMoved>[] = [
    {
      id: "queue",
      header: d.reset.queue,
      narrow: true,
      grow: true,
      cell: ({ brokerName, queueId }) => `${brokerName} / ${queueId}`,
    },
    {
      id: "from",
      header: d.reset.now,
      align: "right",
      narrow: true,
      cell: ({ from }) => (from == null ? d.reset.never : format.number(from)),
    },
    { id: "to", header: d.reset.after, align: "right", narrow: true, cell: ({ to }) => format.number(to) },
    {
      id: "delta",
      header: d.reset.delta,
      align: "right",
      cell: ({ delta }) => `${delta > 0 ? "+" : ""}${format.number(delta)}`,
    },
  ];
  return (
    <section role="status">
      <p className="plan-total">
        {replayed === 0 && skipped === 0 && d.reset.still}
        {replayed > 0 && d.reset.replayed(format.number(replayed))}
        {replayed > 0 && skipped > 0 && " · "}
        {skipped > 0 && d.reset.skipped(format.number(skipped))}
      </p>
      <DataTable
        label={d.reset.plan}
        columns={columns}
        rows={moved.queues}
        rowId={({ brokerName, queueId }) => `${brokerName}/${queueId}`}
      />
      <Hint>{d.reset.voids}</Hint>
    </section>
  );
}
