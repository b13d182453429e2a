/** Sending dead letters once more: first what would be sent and where to, then exactly that. */

import { Button, NumberInput, SegmentedControl, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { keys } from "../api/queries";
import type { ResendResults } from "../api/types";
import { resend, resendMax } from "../delivery/calls";
import { useDeliveryWords } from "../delivery/words";
import { Dialog } from "../ui/Dialog";
import { Area, Failure } from "../ui/states";
import { Hint } from "../ui/text";
import "../ui/TypedConfirm.css";
import "../delivery/delivery.css";

type Which = { messageIds: string[] } | { from: string; to: string };

export function Resend({
  group,
  which,
  onClose,
  onSent,
}: {
  group: string;
  which: Which;
  onClose: () => void;
  onSent: () => void;
}) {
  const { t, d, format } = useDeliveryWords();
  const client = useQueryClient();
  const [where, setWhere] = useState<"original" | "retry" | "other">("original");
  const [typed, setTyped] = useState("");
  const [topic, setTopic] = useState("");
  const [rate, setRate] = useState<number>();
  // Exactly what was asked for when the dialog was opened: what is given up meanwhile is not sent along.
  const [frozen] = useState(which);
  const body = {
    ...frozen,
    target: where === "other" ? { topic } : where === "retry" ? "retry" : "originalTopic",
    ...(rate === undefined ? {} : { ratePerSecond: rate }),
  };
  const plan = useQuery({
    queryKey: [...keys.group(group), "resendPlan", body],
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
    enabled: where !== "other" || topic !== "",
    queryFn: () => resend(group, body, true),
  });
  const send = useMutation({
    mutationFn: () => resend(group, body, false),
    onSuccess: () => {
      onSent();
      return client.invalidateQueries();
    },
  });
  const count = plan.data?.summary.ok ?? 0;
  return (
    <Dialog title={d.dead.resend} onClose={onClose} size={540}>
      <div className="confirm">
        {send.data === undefined ? (
          <>
            <fieldset className="plain">
              <legend>{d.dead.where}</legend>
              <SegmentedControl
                fullWidth
                aria-label={d.dead.where}
                value={where}
                onChange={(value) => setWhere(value as typeof where)}
                data={(["original", "retry", "other"] as const).map((value) => ({ value, label: d.dead[value] }))}
              />
            </fieldset>
            {where === "other" && (
              <TextInput
                label={d.dead.otherTopic}
                value={typed}
                onChange={(event) => setTyped(event.currentTarget.value)}
                onBlur={() => setTopic(typed.trim())}
                onKeyDown={(event) => event.key === "Enter" && setTopic(typed.trim())}
                autoComplete="off"
                spellCheck={false}
              />
            )}
            <NumberInput
              label={d.dead.rate}
              description={d.dead.rateHint}
              value={rate ?? ""}
              onChange={(value) => setRate(Number(value) >= 1 ? Math.trunc(Number(value)) : undefined)}
              min={1}
              max={10_000}
              allowDecimal={false}
            />
            <section aria-label={d.dead.plan} className="impact">
              {(where !== "other" || topic !== "") && (
                <Area query={plan} rows={2}>
                  {(data) => <Plan results={data} limited={"from" in frozen} />}
                </Area>
              )}
            </section>
            <Hint>{where === "retry" ? d.dead.retryHint : d.dead.stays}</Hint>
            {send.error === null ? null : <Failure error={send.error} />}
          </>
        ) : (
          <Outcome results={send.data} />
        )}
        <div className="confirm-buttons">
          <Button variant="default" onClick={onClose} data-autofocus>
            {send.data === undefined ? t.action.cancel : t.action.close}
          </Button>
          {send.data === undefined && (
            <Button onClick={() => send.mutate()} disabled={count === 0} loading={send.isPending}>
              {d.dead.confirm(format.number(count))}
            </Button>
          )}
        </div>
      </div>
    </Dialog>
  );
}

function Plan({ results, limited }: { results: ResendResults; limited: boolean }) {
  const { d, format } = useDeliveryWords();
  const targets = new Map<string, number>();
  for (const { target } of results.results) if (target != null) targets.set(target, (targets.get(target) ?? 0) + 1);
  if (results.results.length === 0) return <p>{d.dead.planNone}</p>;
  return (
    <>
      <ul className="plan">
        {[...targets].map(([target, count]) => (
          <li key={target}>{d.dead.planCount(format.number(count), target)}</li>
        ))}
      </ul>
      <Refused results={results} title={d.dead.planRefused} />
      {limited && results.results.length >= resendMax && <Hint>{d.dead.planLimit(format.number(resendMax))}</Hint>}
    </>
  );
}

function Outcome({ results }: { results: ResendResults }) {
  const { d, format } = useDeliveryWords();
  return (
    <div role="status">
      <p>{d.dead.done(format.number(results.summary.ok))}</p>
      <Refused results={results} title={d.dead.partly} />
    </div>
  );
}

const reasonsMax = 5;

/** What was refused, each reason once. */
function Refused({ results, title }: { results: ResendResults; title: (count: string) => string }) {
  const { format } = useDeliveryWords();
  if (results.summary.failed === 0) return null;
  const reasons = new Set(results.results.flatMap(({ problem }) => (problem ? [problem.detail] : [])));
  return (
    <>
      <p className="field-error">{title(format.number(results.summary.failed))}</p>
      <ul className="plan">
        {[...reasons].slice(0, reasonsMax).map((reason) => (
          <li key={reason}>{reason}</li>
        ))}
      </ul>
    </>
  );
}
