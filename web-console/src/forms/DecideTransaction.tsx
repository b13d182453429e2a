/** Deciding a transaction in its producer's place: what it is about, what will happen, and no way back. */

import { Button } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { keys } from "../api/queries";
import type { OpenTransaction } from "../api/types";
import { type Decision, decide } from "../delivery/calls";
import { useDeliveryWords } from "../delivery/words";
import { Dialog } from "../ui/Dialog";
import { Failure } from "../ui/states";
import { Ago, Code, Hint } from "../ui/text";
import { toast } from "../ui/toast";
import "../ui/TypedConfirm.css";

/** More of a body than this is not shown in a dialog. */
const bodyMax = 2000;

export function Decide({
  topic,
  transaction,
  decision,
  onClose,
}: {
  topic: string;
  transaction: OpenTransaction;
  decision: Decision;
  onClose: () => void;
}) {
  const { t, d, format } = useDeliveryWords();
  const client = useQueryClient();
  const { transactionHandle, messageId, producerGroup, bornTimestamp, checkCount, message } = transaction;
  const isCommit = decision === "commit";
  const decided = useMutation({
    mutationFn: () => decide(transactionHandle, decision),
    onSuccess: () => {
      toast(isCommit ? d.transactions.committed(messageId) : d.transactions.rolledBack(messageId));
      onClose();
    },
    // Also when somebody else was faster: the list shows what is open now.
    onSettled: () => client.invalidateQueries({ queryKey: keys.topic(topic) }),
  });
  const isText = typeof message.body === "string" && message.bodyEncoding === "text";
  return (
    <Dialog title={isCommit ? d.transactions.commitTitle : d.transactions.rollbackTitle} onClose={onClose} size={560}>
      <div className="confirm">
        <div className="impact">
          <dl>
            <dt>{d.transactions.message}</dt>
            <dd className="mono">{messageId}</dd>
            <dt>{d.transactions.producerGroup}</dt>
            <dd>{producerGroup}</dd>
            <dt>{d.transactions.since}</dt>
            <dd>
              <Ago at={bornTimestamp} />
            </dd>
            <dt>{d.transactions.checks}</dt>
            <dd>{format.number(checkCount)}</dd>
            <dt>{d.transactions.body}</dt>
            <dd>{format.bytes(message.bodySize)}</dd>
          </dl>
        </div>
        {isText && message.bodySize <= bodyMax && <Code text={String(message.body)} label={d.transactions.body} />}
        <p>{isCommit ? d.transactions.commitEffect(topic) : d.transactions.rollbackEffect}</p>
        <Hint>{d.transactions.producerKnows}</Hint>
        {decided.error === null ? null : <Failure error={decided.error} />}
        <div className="confirm-buttons">
          <Button variant="default" onClick={onClose} data-autofocus>
            {t.action.cancel}
          </Button>
          <Button color={isCommit ? undefined : "red"} onClick={() => decided.mutate()} loading={decided.isPending}>
            {isCommit ? d.transactions.commitTitle : d.transactions.rollbackTitle}
          </Button>
        </div>
      </div>
    </Dialog>
  );
}
