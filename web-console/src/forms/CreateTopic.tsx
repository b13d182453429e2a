/** `/topics/new`: a form beside the list. */

import { Button, Checkbox, NumberInput, SegmentedControl, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { asProblem } from "../api/problem";
import { keys, topicsQuery } from "../api/queries";
import { createTopic } from "../api/resources";
import type { TopicType } from "../api/types";
import { curl } from "../curl";
import { useWords } from "../i18n/i18n";
import { nameProblem, topicNameMax } from "../names";
import { apiPaths, serverUrl } from "../paths";
import { useTitle } from "../ui/Page";
import { SidePanel } from "../ui/SidePanel";
import { Failure } from "../ui/states";
import { Code, Hint } from "../ui/text";
import { toast } from "../ui/toast";

const queuesDefault = 8;
const queuesMax = 1024;
/** What the API makes, no more and no less: another type there does not compile here before it has its place. */
const places: Record<TopicType, number> = { normal: 0, fifo: 1, delay: 2, transaction: 3, mixed: 4 };
const types = (Object.keys(places) as TopicType[]).sort((a, b) => places[a] - places[b]);

export function CreateTopic() {
  const { t } = useWords();
  const navigate = useNavigate({ from: "/topics/new" });
  const client = useQueryClient();
  const taken = useQuery(topicsQuery(false)).data?.items;
  const [name, setName] = useState("");
  const [type, setType] = useState<TopicType>("normal");
  const [readQueues, setReadQueues] = useState(queuesDefault);
  const [writeQueues, setWriteQueues] = useState(queuesDefault);
  const [apart, setApart] = useState(false);
  const [touched, setTouched] = useState(false);
  useTitle(t.topic.create);

  const topic = { messageType: type, readQueues, writeQueues: apart ? writeQueues : readQueues };
  const create = useMutation({
    mutationFn: () => createTopic(name, topic),
    onSuccess: async () => {
      toast(t.topic.created(name));
      await client.invalidateQueries({ queryKey: keys.topics });
      navigate({ to: "/topics/$topic", params: { topic: name } });
    },
  });
  const wrong = nameProblem(name, topicNameMax);
  const nameError =
    taken?.some((other) => other.name === name) === true
      ? t.form.taken
      : wrong !== undefined && (name !== "" || touched)
        ? t.form.names[wrong](topicNameMax)
        : undefined;
  const problem = create.error === null ? undefined : asProblem(create.error);
  const close = () => navigate({ to: "/topics", search: true });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setTouched(true);
    if (wrong === undefined && nameError === undefined) create.mutate();
  };

  return (
    <SidePanel
      title={t.topic.create}
      onClose={close}
      footer={
        <div className="end">
          <Button variant="default" onClick={close}>
            {t.action.cancel}
          </Button>
          <Button type="submit" form="create-topic" loading={create.isPending}>
            {t.topic.create}
          </Button>
        </div>
      }
    >
      <form id="create-topic" className="fields" onSubmit={submit} noValidate>
        <TextInput
          label={t.topic.name}
          description={t.form.nameRule(topicNameMax)}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          onBlur={() => setTouched(name !== "")}
          error={nameError}
          autoComplete="off"
          spellCheck={false}
          data-autofocus
          required
        />
        <fieldset className="plain">
          <legend>{t.topic.type}</legend>
          <SegmentedControl
            fullWidth
            aria-label={t.topic.type}
            value={type}
            onChange={(value) => setType(value as TopicType)}
            data={types.map((value) => ({ value, label: t.messageTypes[value] }))}
          />
          <Hint>{t.topic.typeHint[type]}</Hint>
        </fieldset>
        <div className="fields-row">
          <NumberInput
            label={apart ? t.topic.readQueues : t.topic.queues}
            value={readQueues}
            onChange={(value) => setReadQueues(Number(value) || 1)}
            min={1}
            max={queuesMax}
            allowDecimal={false}
            error={problem?.field("readQueues")}
          />
          {apart && (
            <NumberInput
              label={t.topic.writeQueues}
              value={writeQueues}
              onChange={(value) => setWriteQueues(Number(value) || 1)}
              min={1}
              max={queuesMax}
              allowDecimal={false}
              error={problem?.field("writeQueues")}
            />
          )}
        </div>
        <Hint>{t.topic.queuesHint}</Hint>
        <Checkbox
          label={t.topic.queuesSeparate}
          checked={apart}
          onChange={(event) => setApart(event.currentTarget.checked)}
        />
        {problem !== undefined && <Failure error={problem} />}
        <details className="call">
          <summary>{t.action.apiCall}</summary>
          <Code
            label={t.action.apiCall}
            text={curl({
              method: "PUT",
              url: `${serverUrl()}${apiPaths.topic(name || "orders")}`,
              headers: [["If-None-Match", "*"]],
              json: topic,
            })}
          />
        </details>
      </form>
    </SidePanel>
  );
}
