/** The first two minutes: publish a message, find it, consume it, then connect a client. */

import { Button, SegmentedControl, Textarea, TextInput } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useState } from "react";
import { asProblem } from "../api/problem";
import { keys, topicsQuery } from "../api/queries";
import { acknowledge, createTopic, receive } from "../api/resources";
import type { Message } from "../api/types";
import { emptyDraft } from "../forms/draft";
import { Results, useSend } from "../forms/SendMessage";
import { useWords } from "../i18n/i18n";
import { groupNameMax, nameProblem, topicNameMax } from "../names";
import { serverUrl } from "../paths";
import { preview } from "../ui/body";
import { Icon } from "../ui/icons";
import { Failure } from "../ui/states";
import { Code, Hint } from "../ui/text";
import { consumeCalls, languages, type SnippetLanguage, snippet } from "./snippets";
import { useLive } from "./topic/live";
import "./Welcome.css";

const firstTopic = "orders";
const firstGroup = "my-first-group";
const queues = 8;
const liveShownMax = 5;
const waitSeconds = 2;

export function Welcome({ topic: asked }: { topic: string | undefined }) {
  const { t } = useWords();
  const navigate = useNavigate({ from: "/" });
  const topics = useQuery(topicsQuery(false)).data?.items ?? [];
  // The address holds the topic, so that the walk goes on after a reload; a topic deleted since starts it anew.
  const topic = topics.find(({ name }) => name === asked)?.name;
  const live = useLive(topic ?? "", undefined, topic !== undefined, false);
  const [consumed, setConsumed] = useState<Message>();
  const sent = live.rows.length > 0;

  return (
    <div className="welcome">
      <h1>{t.welcome.title}</h1>
      <p className="welcome-intro">{t.welcome.intro}</p>
      <ol>
        <Step number={1} title={t.welcome.steps.topic} done={topic !== undefined} open>
          <CreateStep
            topic={topic}
            onCreated={(name) => navigate({ to: ".", search: { welcome: true, topic: name }, replace: true })}
          />
        </Step>
        <Step number={2} title={t.welcome.steps.send} done={sent} open={topic !== undefined}>
          <SendStep topic={topic ?? firstTopic} />
        </Step>
        <Step number={3} title={t.welcome.steps.watch} done={sent} open={topic !== undefined}>
          <WatchStep topic={topic ?? firstTopic} rows={live.rows} />
        </Step>
        <Step number={4} title={t.welcome.steps.connect} done={consumed !== undefined} open={sent}>
          <ConnectStep topic={topic ?? firstTopic} consumed={consumed} onConsumed={setConsumed} />
        </Step>
      </ol>
      {consumed !== undefined && topic !== undefined && (
        <div className="welcome-end">
          <Link to="/topics/$topic" params={{ topic }}>
            {t.welcome.openTopic}
          </Link>
          <Button onClick={() => navigate({ to: "/", search: {} })}>{t.welcome.finish}</Button>
        </div>
      )}
    </div>
  );
}

function Step({
  number,
  title,
  done,
  open,
  children,
}: {
  number: number;
  title: string;
  done: boolean;
  open: boolean;
  children: ReactNode;
}) {
  const { t } = useWords();
  return (
    <li className="step" data-done={done || undefined} data-open={open || undefined}>
      <span className="step-number" aria-hidden="true">
        {done ? <Icon name="check" size={14} /> : number}
      </span>
      <div className="step-content">
        <h2>
          {title}
          {done && <span className="visually-hidden">, {t.welcome.done}</span>}
        </h2>
        {open && children}
      </div>
    </li>
  );
}

function CreateStep({ topic, onCreated }: { topic: string | undefined; onCreated: (topic: string) => void }) {
  const { t } = useWords();
  const client = useQueryClient();
  const taken = useQuery(topicsQuery(false)).data?.items;
  const [typed, setName] = useState<string>();
  const name = typed ?? freeName(taken?.map((other) => other.name) ?? []);
  const create = useMutation({
    mutationFn: () => createTopic(name, { messageType: "normal", readQueues: queues, writeQueues: queues }),
    onSuccess: async () => {
      // The walk has its address before the list stops being empty.
      onCreated(name);
      await client.invalidateQueries({ queryKey: keys.topics });
      await client.invalidateQueries({ queryKey: keys.cluster });
    },
  });
  const wrong = nameProblem(name, topicNameMax);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (wrong === undefined) create.mutate();
  };
  if (topic !== undefined) {
    return (
      <p className="step-result">
        <Link to="/topics/$topic" params={{ topic }} className="name">
          {topic}
        </Link>
      </p>
    );
  }
  return (
    <>
      <Hint>{t.welcome.topicText}</Hint>
      <form className="step-row" onSubmit={submit}>
        <TextInput
          aria-label={t.topic.name}
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          error={wrong === undefined ? undefined : t.form.names[wrong](topicNameMax)}
          autoComplete="off"
          spellCheck={false}
        />
        <Button type="submit" loading={create.isPending}>
          {t.topic.create}
        </Button>
      </form>
      {create.error !== null && <Failure error={asProblem(create.error)} />}
    </>
  );
}

/** `orders`, or the first of its successors that nobody has. */
export function freeName(taken: readonly string[]): string {
  if (!taken.includes(firstTopic)) return firstTopic;
  let number = 2;
  while (taken.includes(`${firstTopic}-${number}`)) number += 1;
  return `${firstTopic}-${number}`;
}

function SendStep({ topic }: { topic: string }) {
  const { t } = useWords();
  const [body, setBody] = useState(JSON.stringify({ order: 1, item: "lighthouse", total: 42.5 }, undefined, 2));
  const send = useSend(topic);
  return (
    <>
      <Hint>{t.welcome.sendText}</Hint>
      <Textarea
        aria-label={t.welcome.body}
        value={body}
        onChange={(event) => setBody(event.currentTarget.value)}
        autosize
        minRows={3}
        maxRows={12}
        spellCheck={false}
        classNames={{ input: "mono" }}
      />
      <div className="step-row">
        <Button
          leftSection={<Icon name="send" size={14} />}
          variant={send.data === undefined ? "filled" : "default"}
          loading={send.isPending}
          onClick={() => send.mutate({ ...emptyDraft, body, tag: "hello", contentType: "application/json" })}
        >
          {send.data === undefined ? t.send.title : t.welcome.again}
        </Button>
      </div>
      {send.error !== null && <Failure error={send.error} />}
      {send.data !== undefined && <Results topic={topic} results={send.data} />}
    </>
  );
}

function WatchStep({ topic, rows }: { topic: string; rows: readonly Message[] }) {
  const { t, format } = useWords();
  return (
    <>
      <Hint>{t.welcome.watchText}</Hint>
      <div className="watch" aria-live="polite">
        {rows.length === 0 ? (
          <p className="watch-empty">
            <span className="live-dot" aria-hidden="true" /> {t.welcome.watchFirst}
          </p>
        ) : (
          <ul>
            {rows.slice(0, liveShownMax).map((message) => (
              <li key={message.offsetMessageId}>
                <Link to="/topics/$topic/messages/$id" params={{ topic, id: message.messageId }} className="mono">
                  {format.timeOfDay(message.storeTimestamp)}
                </Link>
                {typeof message.tag === "string" && <span className="tag">{message.tag}</span>}
                <span className="preview" dir="auto">
                  {preview(message).text}
                </span>
              </li>
            ))}
          </ul>
        )}
      </div>
      <Link to="/topics/$topic" params={{ topic }} search={{ start: "live" }}>
        {t.welcome.openTopic}
      </Link>
    </>
  );
}

function ConnectStep({
  topic,
  consumed,
  onConsumed,
}: {
  topic: string;
  consumed: Message | undefined;
  onConsumed: (message: Message) => void;
}) {
  const { t } = useWords();
  const client = useQueryClient();
  const [group, setGroup] = useState(firstGroup);
  const [language, setLanguage] = useState<SnippetLanguage>("curl");
  const consume = useMutation({
    mutationFn: async () => {
      const [message] = await receive(group, topic, waitSeconds);
      if (typeof message?.receiptHandle === "string") await acknowledge(message.receiptHandle);
      return message ?? null;
    },
    onSuccess: (message) => {
      if (message !== null) onConsumed(message);
      return client.invalidateQueries({ queryKey: keys.groups });
    },
  });
  const wrong = nameProblem(group, groupNameMax);
  const place = { server: serverUrl(), topic, group };
  return (
    <>
      <Hint>{t.welcome.connectText}</Hint>
      <h3>{t.welcome.consumeTitle}</h3>
      <div className="step-row">
        <TextInput
          aria-label={t.welcome.groupName}
          value={group}
          onChange={(event) => setGroup(event.currentTarget.value)}
          error={wrong === undefined ? undefined : t.form.names[wrong](groupNameMax)}
          autoComplete="off"
          spellCheck={false}
        />
        <Button
          variant={consumed === undefined ? "filled" : "default"}
          disabled={wrong !== undefined}
          loading={consume.isPending}
          onClick={() => consume.mutate()}
        >
          {t.welcome.consume}
        </Button>
      </div>
      <Hint>{t.welcome.consumeText}</Hint>
      {consume.error !== null && <Failure error={consume.error} />}
      {consume.data === null && <p role="status">{t.welcome.nothing}</p>}
      {consumed !== undefined && (
        <div className="sent" role="status">
          <p className="sent-title">
            <Icon name="check" size={14} /> {t.welcome.consumed}
          </p>
          <p className="preview" dir="auto">
            {preview(consumed).text}
          </p>
          <Link to="/groups/$group" params={{ group }}>
            {group}
          </Link>
        </div>
      )}
      <Code label={t.welcome.consumeTitle} text={consumeCalls(place)} />
      <h3>{t.welcome.clients}</h3>
      <SegmentedControl
        aria-label={t.welcome.clients}
        className="start"
        data={[...languages]}
        value={language}
        onChange={(next) => setLanguage(next as SnippetLanguage)}
      />
      <Code label={language} text={snippet(language, place)} />
    </>
  );
}
