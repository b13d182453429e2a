/** What a topic was made with. */

import { Button } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import type { Topic } from "../../api/types";
import { useWords } from "../../i18n/i18n";
import { Icon } from "../../ui/icons";
import { messageTypeName } from "../../ui/messageType";
import { Hint } from "../../ui/text";

export function SettingsTab({ topic }: { topic: Topic }) {
  const { t, format } = useWords();
  const navigate = useNavigate({ from: "/topics/$topic" });
  return (
    <>
      <dl className="facts">
        <dt>{t.topic.type}</dt>
        <dd>
          {messageTypeName(t, topic.messageType)}
          <Hint>{t.topic.typeHint[topic.messageType as keyof typeof t.topic.typeHint]}</Hint>
        </dd>
        <dt>{t.topic.readQueues}</dt>
        <dd>{format.number(topic.readQueues)}</dd>
        <dt>{t.topic.writeQueues}</dt>
        <dd>{format.number(topic.writeQueues)}</dd>
        <dt>{t.topic.permission}</dt>
        <dd>{t.perms[topic.perm as keyof typeof t.perms] ?? topic.perm}</dd>
        {Object.entries(topic.attributes).flatMap(([name, value]) => [
          <dt key={name}>{name}</dt>,
          <dd key={`${name} value`}>{value}</dd>,
        ])}
      </dl>
      <section className="danger">
        <div>
          <h2>{t.topic.delete}</h2>
          <Hint>{topic.system ? t.topic.systemStays : t.topic.deleteHint}</Hint>
        </div>
        <Button
          color="red"
          variant="outline"
          leftSection={<Icon name="trash" size={14} />}
          disabled={topic.system}
          onClick={() => navigate({ to: ".", search: (search) => ({ ...search, delete: true }) })}
        >
          {t.topic.deleteNamed(topic.name)}
        </Button>
      </section>
    </>
  );
}
