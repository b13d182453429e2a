/** `/topics/{t}/send`: one message, or up to a hundred of its kind. */

import {
  ActionIcon,
  Button,
  Checkbox,
  NativeSelect,
  NumberInput,
  SegmentedControl,
  Textarea,
  TextInput,
} from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useMemo, useRef, useState } from "react";
import { asProblem, type Problem } from "../api/problem";
import { keys, topicQuery } from "../api/queries";
import { sendMessage, sendMessages } from "../api/resources";
import type { PublishResult } from "../api/types";
import { curl } from "../curl";
import { fromWallTime, toWallTimeField, zoneName } from "../i18n/format";
import { useWords } from "../i18n/i18n";
import { serverUrl } from "../paths";
import { base64OfBytes, parseJson, textOf } from "../ui/body";
import { Icon } from "../ui/icons";
import { useTitle } from "../ui/Page";
import { SidePanel } from "../ui/SidePanel";
import { Failure } from "../ui/states";
import { Code, Hint } from "../ui/text";
import { abilities, callOf, countMax, type Draft, emptyDraft, fitted, messageOf, messagesOf } from "./draft";
import "./SendMessage.css";

const route = getRouteApi("/topics/$topic/send");
/** The last content of each topic, while the tab lives. */
const kept = new Map<string, Draft>();
let propertyIds = 0;

export function SendMessage() {
  const { t } = useWords();
  const { topic } = route.useParams();
  const navigate = useNavigate();
  const type = useQuery(topicQuery(topic)).data?.messageType;
  const [draft, setDraft] = useState<Draft>(() => kept.get(topic) ?? emptyDraft);
  const [keep, setKeep] = useState(true);
  const change = (next: Partial<Draft>) => {
    const changed = { ...draft, ...next };
    kept.set(topic, changed);
    setDraft(changed);
  };
  useTitle(t.send.to(topic));
  const send = useSend(topic, () => keep || change(emptyDraft));
  const problem = send.error === null ? undefined : asProblem(send.error);
  const close = () => navigate({ to: "/topics/$topic", params: { topic }, search: true });
  const able = type === undefined ? abilities("normal") : abilities(type);
  const fit = able === undefined ? draft : fitted(draft, able);

  return (
    <SidePanel
      title={t.send.to(topic)}
      onClose={close}
      footer={
        able !== undefined ? (
          <>
            <Checkbox label={t.send.keep} checked={keep} onChange={(event) => setKeep(event.currentTarget.checked)} />
            <div className="end">
              <Button variant="default" onClick={close}>
                {t.action.close}
              </Button>
              <Button
                loading={send.isPending}
                onClick={() => send.mutate(fit)}
                leftSection={<Icon name="send" size={14} />}
              >
                {t.send.count(draft.count)}
              </Button>
            </div>
          </>
        ) : undefined
      }
    >
      {able !== undefined ? (
        <div className="fields">
          {send.data !== undefined && <Results topic={topic} results={send.data} />}
          {problem !== undefined && <Failure error={problem} />}
          <BodyField draft={draft} onChange={change} error={problem?.field("body")} />
          {able.messageGroup !== "none" && (
            <TextInput
              label={t.message.group}
              description={t.send.groupHint}
              value={draft.messageGroup}
              onChange={(event) => change({ messageGroup: event.currentTarget.value })}
              error={problem?.field("messageGroup")}
              required={able.messageGroup === "needed"}
              autoComplete="off"
            />
          )}
          {able.delivery && fit.messageGroup.trim() === "" && (
            <DeliveryFields draft={draft} onChange={change} problem={problem} />
          )}
          <div className="fields-row">
            <TextInput
              label={t.browse.tag}
              value={draft.tag}
              onChange={(event) => change({ tag: event.currentTarget.value })}
              error={problem?.field("tag")}
              autoComplete="off"
            />
            <TextInput
              label={t.message.keys}
              placeholder={t.send.keysPlaceholder}
              value={draft.keys}
              onChange={(event) => change({ keys: event.currentTarget.value })}
              error={problem?.field("keys")}
              autoComplete="off"
            />
          </div>
          <Properties draft={draft} onChange={change} error={problem?.field("properties")} />
          <div className="fields-row">
            <NumberInput
              label={t.send.copies}
              min={1}
              max={countMax}
              clampBehavior="strict"
              allowDecimal={false}
              value={draft.count}
              onChange={(count) => change({ count: Math.max(1, Number(count) || 1) })}
            />
          </div>
          {draft.count > 1 && <Hint>{t.send.placeholders}</Hint>}
          <details className="call">
            <summary>{t.action.apiCall}</summary>
            <Code label={t.action.apiCall} text={curl(callOf(topic, fit, serverUrl()))} />
          </details>
        </div>
      ) : (
        <p>{t.send.notHere(t.messageTypes[type as keyof typeof t.messageTypes] ?? type)}</p>
      )}
    </SidePanel>
  );
}

const deliveries = ["now", "after", "at"] as const;

function DeliveryFields({
  draft,
  onChange,
  problem,
}: {
  draft: Draft;
  onChange: (next: Partial<Draft>) => void;
  problem: Problem | undefined;
}) {
  const { t, zone } = useWords();
  return (
    <fieldset className="plain">
      <legend>{t.send.deliver}</legend>
      <SegmentedControl
        fullWidth
        aria-label={t.send.deliver}
        value={draft.deliver}
        onChange={(value) => onChange({ deliver: value as Draft["deliver"] })}
        data={deliveries.map((value) => ({ value, label: t.send.deliveries[value] }))}
      />
      {draft.deliver === "after" && (
        <TextInput
          aria-label={t.send.deliveries.after}
          description={t.send.delayHint}
          value={draft.delay}
          onChange={(event) => onChange({ delay: event.currentTarget.value })}
          error={problem?.field("delay")}
          autoComplete="off"
        />
      )}
      {draft.deliver === "at" && (
        <TextInput
          type="datetime-local"
          step={1}
          label={`${t.send.deliverAt} (${zoneName(zone)})`}
          defaultValue={draft.deliverAt === undefined ? "" : toWallTimeField(Date.parse(draft.deliverAt), zone)}
          onChange={(event) => {
            const at = fromWallTime(event.currentTarget.value, zone);
            onChange({ deliverAt: at === undefined ? undefined : new Date(at).toISOString() });
          }}
          error={problem?.field("deliverAt")}
        />
      )}
    </fieldset>
  );
}

/** Shared with the welcome, whose second step is the same act. */
export function useSend(topic: string, onSent?: () => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async (draft: Draft): Promise<PublishResult[]> => {
      const now = new Date();
      if (draft.count > 1) return sendMessages(topic, messagesOf(draft, now));
      return [{ status: 201, ...(await sendMessage(topic, messageOf(draft, 1, now))) }];
    },
    onSuccess: () => {
      onSent?.();
      return client.invalidateQueries({ queryKey: keys.topic(topic) });
    },
  });
}

/** Text can be edited on; other bytes are kept apart, untouched. */
async function ofFile(file: File): Promise<Partial<Draft>> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const text = textOf(bytes);
  if (text !== undefined) return { body: text, file: undefined };
  return { file: { name: file.name, size: bytes.length, base64: base64OfBytes(bytes) } };
}

const contentTypes = ["text/plain", "application/json", "application/xml", "application/octet-stream"];

function BodyField({
  draft,
  onChange,
  error,
}: {
  draft: Draft;
  onChange: (next: Partial<Draft>) => void;
  error: string | undefined;
}) {
  const { t, format } = useWords();
  const file = useRef<HTMLInputElement>(null);
  const bytes = useMemo(() => new TextEncoder().encode(draft.body).length, [draft.body]);
  const json = useMemo(() => (draft.body.trim() === "" ? undefined : parseJson(draft.body)), [draft.body]);
  const looksJson = draft.contentType === "application/json" || /^\s*[{[]/.test(draft.body);
  const pretty = () => json?.ok === true && onChange({ body: JSON.stringify(json.value, undefined, 2) });
  return (
    <div className="body-field">
      {draft.file !== undefined && (
        <div className="body-file">
          <span className="mono">{draft.file.name}</span>
          <span className="hint">
            {t.message.binary} · {format.bytes(draft.file.size)}
          </span>
          <Button variant="default" size="compact-xs" onClick={() => onChange({ file: undefined })}>
            {t.send.removeFile}
          </Button>
        </div>
      )}
      <Textarea
        label={t.message.body}
        disabled={draft.file !== undefined}
        value={draft.body}
        onChange={(event) => onChange({ body: event.currentTarget.value })}
        error={error}
        autosize
        minRows={7}
        maxRows={22}
        spellCheck={false}
        data-autofocus
        placeholder={t.send.bodyPlaceholder}
        classNames={{ input: "mono" }}
      />
      <div className="body-status">
        <span>{format.bytes(draft.file?.size ?? bytes)}</span>
        {looksJson && json !== undefined && (
          <span data-tone={json.ok ? "good" : "bad"} role="status">
            {json.ok ? t.send.jsonGood : t.send.jsonBad(json.reason)}
          </span>
        )}
        <span className="body-tools">
          {looksJson && json?.ok === true && (
            <Button variant="subtle" size="compact-xs" onClick={pretty}>
              {t.send.pretty}
            </Button>
          )}
          <Button variant="subtle" size="compact-xs" onClick={() => file.current?.click()}>
            {t.send.fromFile}
          </Button>
          <input
            ref={file}
            type="file"
            hidden
            aria-label={t.send.fromFile}
            onChange={async (event) => {
              const chosen = event.currentTarget.files?.[0];
              if (chosen !== undefined) onChange(await ofFile(chosen));
            }}
          />
        </span>
      </div>
      <NativeSelect
        label={t.message.contentType}
        data={[{ value: "", label: t.send.noContentType }, ...contentTypes.map((value) => ({ value, label: value }))]}
        value={draft.contentType}
        onChange={(event) => onChange({ contentType: event.currentTarget.value })}
      />
    </div>
  );
}

function Properties({
  draft,
  onChange,
  error,
}: {
  draft: Draft;
  onChange: (next: Partial<Draft>) => void;
  error: string | undefined;
}) {
  const { t } = useWords();
  const { properties } = draft;
  const set = (id: number, next: { name?: string; value?: string }) =>
    onChange({ properties: properties.map((row) => (row.id === id ? { ...row, ...next } : row)) });
  const add = () => {
    propertyIds += 1;
    onChange({ properties: [...properties, { id: propertyIds, name: "", value: "" }] });
  };
  return (
    <fieldset className="plain">
      <legend>{t.message.properties}</legend>
      {properties.map(({ id, name, value }) => (
        <div key={id} className="property-row">
          <TextInput
            aria-label={t.send.propertyName}
            placeholder={t.send.propertyName}
            value={name}
            onChange={(event) => set(id, { name: event.currentTarget.value })}
            autoComplete="off"
          />
          <TextInput
            aria-label={t.send.propertyValue}
            placeholder={t.send.propertyValue}
            value={value}
            onChange={(event) => set(id, { value: event.currentTarget.value })}
            autoComplete="off"
          />
          <ActionIcon
            aria-label={t.send.removeProperty(name)}
            onClick={() => onChange({ properties: properties.filter((row) => row.id !== id) })}
          >
            <Icon name="close" size={14} />
          </ActionIcon>
        </div>
      ))}
      {error !== undefined && <p className="field-error">{error}</p>}
      <Button
        variant="default"
        size="compact-sm"
        className="start"
        leftSection={<Icon name="plus" size={12} />}
        onClick={add}
      >
        {t.send.addProperty}
      </Button>
    </fieldset>
  );
}

const resultsShownMax = 5;

export function Results({ topic, results }: { topic: string; results: PublishResult[] }) {
  const { t, format } = useWords();
  const stored = results.flatMap((result) => ("messageId" in result ? [result] : []));
  const refused = results.flatMap((result) => ("problem" in result ? [result.problem] : []));
  return (
    <div className="sent" role="status">
      {stored.length > 0 && (
        <p className="sent-title">
          <Icon name="check" size={14} /> {t.send.stored(format.number(stored.length))}
        </p>
      )}
      <ul>
        {stored.slice(-resultsShownMax).map(({ messageId, queueId, queueOffset, storeTimestamp }) => (
          <li key={messageId}>
            <Link to="/topics/$topic/messages/$id" params={{ topic, id: messageId }} className="mono">
              {messageId}
            </Link>
            <span className="hint">
              {t.send.place(format.number(queueId), format.number(queueOffset), format.timeOfDay(storeTimestamp))}
            </span>
          </li>
        ))}
      </ul>
      {stored.length > resultsShownMax && (
        <p className="hint">{t.table.andMore(format.number(stored.length - resultsShownMax))}</p>
      )}
      {refused.length > 0 && (
        <p className="field-error">
          {t.send.refused(format.number(refused.length))} {refused[0]?.detail}
        </p>
      )}
    </div>
  );
}
