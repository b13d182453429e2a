/** What would be lost with a topic, and then its name typed by hand. */

import { useMutation, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { isUnsupported } from "../api/problem";
import { deletePlanQuery } from "../api/queries";
import { deleteTopic } from "../api/resources";
import { useWords } from "../i18n/i18n";
import { Failure, Loading } from "../ui/states";
import { TypedConfirm } from "../ui/TypedConfirm";
import { toast } from "../ui/toast";

const groupsShownMax = 8;

export function DeleteTopic({
  topic,
  onClose,
  onDeleted,
}: {
  topic: string;
  onClose: () => void;
  onDeleted: (topic: string) => void;
}) {
  const { t, format } = useWords();
  const plan = useQuery(deletePlanQuery(topic));
  const remove = useMutation({
    mutationFn: () => deleteTopic(topic),
    onSuccess: () => {
      toast(t.topic.deleted(topic));
      onClose();
      onDeleted(topic);
    },
  });
  const unplanned = plan.error !== null && isUnsupported(plan.error);
  return (
    <TypedConfirm
      title={t.topic.deleteNamed(topic)}
      name={topic}
      action={t.topic.delete}
      busy={remove.isPending}
      error={remove.error}
      ready={plan.data !== undefined || unplanned}
      onConfirm={() => remove.mutate()}
      onClose={onClose}
    >
      {plan.isPending && <Loading rows={2} />}
      {plan.error !== null && !unplanned && <Failure error={plan.error} onRetry={() => plan.refetch()} />}
      {unplanned && <p>{t.topic.deleteUnplanned}</p>}
      {plan.data !== undefined && (
        <>
          <p>{t.topic.deleteEffect}</p>
          <div className="impact">
            <dl>
              <dt>{t.topic.messages}</dt>
              <dd>{format.number(plan.data.messages)}</dd>
              <dt>{t.topic.groups}</dt>
              <dd>{format.number(plan.data.groups.length)}</dd>
            </dl>
            {plan.data.groups.length > 0 && (
              <ul>
                {plan.data.groups.slice(0, groupsShownMax).map(({ name, lag }) => (
                  <li key={name}>
                    <Link to="/groups/$group" params={{ group: name }}>
                      {name}
                    </Link>
                    {lag > 0 && ` · ${t.topic.groupBehind(format.number(lag))}`}
                  </li>
                ))}
                {plan.data.groups.length > groupsShownMax && (
                  <li>{t.table.andMore(format.number(plan.data.groups.length - groupsShownMax))}</li>
                )}
              </ul>
            )}
          </div>
        </>
      )}
    </TypedConfirm>
  );
}
