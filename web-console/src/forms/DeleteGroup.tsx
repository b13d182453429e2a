/** What would be lost with a consumer group, and then its name typed by hand. */

import { notifications } from "@mantine/notifications";
import { useMutation, useQuery } from "@tanstack/react-query";
import { groupLagQuery } from "../api/queries";
import { deleteGroup } from "../api/resources";
import { useWords } from "../i18n/i18n";
import { Behind } from "../ui/Lag";
import { Loading } from "../ui/states";
import { TypedConfirm } from "../ui/TypedConfirm";

export function DeleteGroup({
  group,
  onClose,
  onDeleted,
}: {
  group: string;
  onClose: () => void;
  onDeleted: (group: string) => void;
}) {
  const { t, format } = useWords();
  const lag = useQuery(groupLagQuery(group));
  const remove = useMutation({
    mutationFn: () => deleteGroup(group),
    onSuccess: () => {
      notifications.show({ message: t.group.deleted(group) });
      onClose();
      onDeleted(group);
    },
  });
  return (
    <TypedConfirm
      title={t.group.deleteNamed(group)}
      name={group}
      action={t.group.delete}
      busy={remove.isPending}
      error={remove.error}
      ready={!lag.isPending}
      onConfirm={() => remove.mutate()}
      onClose={onClose}
    >
      <p>{t.group.deleteEffect}</p>
      {lag.isPending && <Loading rows={2} />}
      {lag.data !== undefined && (
        <div className="impact">
          <dl>
            <dt>{t.group.topics}</dt>
            <dd>{lag.data.topics.map(({ topic }) => topic).join(", ") || "0"}</dd>
            <dt>{t.group.totalBehind}</dt>
            <dd>{format.number(lag.data.totalLag)}</dd>
            <dt>{t.group.behind}</dt>
            <dd>
              <Behind ms={lag.data.delayMs} />
            </dd>
          </dl>
        </div>
      )}
    </TypedConfirm>
  );
}
