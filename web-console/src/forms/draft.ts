/** What the send form holds, turned into messages and into the call that sends them. Pure. */

import type { NewMessage } from "../api/types";
import { type Call, encodeProperty } from "../curl";
import { apiPaths } from "../paths";

export interface Draft {
  body: string;
  /** A file whose bytes are no text goes out as it is, in place of the body. */
  file?: { name: string; size: number; base64: string };
  contentType: string;
  tag: string;
  /** Separated by commas or blanks. */
  keys: string;
  properties: { id: number; name: string; value: string }[];
  messageGroup: string;
  /** When it is delivered: at once, after `delay`, or at `deliverAt` (RFC 3339). */
  deliver: "now" | "after" | "at";
  delay: string;
  deliverAt?: string;
  count: number;
}

export const countMax = 100;
export const emptyDraft: Draft = {
  body: "",
  contentType: "",
  tag: "",
  keys: "",
  properties: [],
  messageGroup: "",
  deliver: "now",
  delay: "10m",
  count: 1,
};

/** What a topic's type lets a message have: the rest of the draft stays at home. */
export interface Abilities {
  messageGroup: "none" | "needed" | "possible";
  delivery: boolean;
}

const abilitiesOf: Record<string, Abilities> = {
  normal: { messageGroup: "none", delivery: false },
  fifo: { messageGroup: "needed", delivery: false },
  delay: { messageGroup: "none", delivery: true },
  mixed: { messageGroup: "possible", delivery: true },
};

/** Undefined for a type whose messages the console cannot make. */
export function abilities(type: string): Abilities | undefined {
  return abilitiesOf[type];
}

/** A draft as this type of topic takes it. */
export function fitted(draft: Draft, { messageGroup, delivery }: Abilities): Draft {
  const group = messageGroup === "none" ? "" : draft.messageGroup;
  // No topic takes both, so a message group goes before a time.
  return { ...draft, messageGroup: group, deliver: delivery && group.trim() === "" ? draft.deliver : "now" };
}

function deliveryOf({ deliver, delay, deliverAt }: Draft): { delay?: string; deliverAt?: string } {
  if (deliver === "after") return { delay: delay.trim() };
  return deliver === "at" && deliverAt !== undefined ? { deliverAt } : {};
}

export function splitKeys(keys: string): string[] {
  return keys.split(/[\s,]+/).filter((key) => key !== "");
}

/** `{{seq}}` counts from 1, `{{uuid}}` is new each time, `{{now}}` is the time of sending. */
export function fillIn(text: string, seq: number, now: Date): string {
  return text
    .replaceAll("{{seq}}", String(seq))
    .replaceAll("{{now}}", now.toISOString())
    .replace(/\{\{uuid\}\}/g, () => crypto.randomUUID());
}

export function messageOf(draft: Draft, seq: number, now: Date): NewMessage {
  const fill = (text: string) => fillIn(text, seq, now);
  const keys = splitKeys(fill(draft.keys));
  const properties = draft.properties.filter(({ name }) => name.trim() !== "");
  return {
    ...(draft.file === undefined ? { body: fill(draft.body) } : { bodyBase64: draft.file.base64 }),
    contentType: draft.contentType || undefined,
    tag: draft.tag.trim() || undefined,
    keys: keys.length === 0 ? undefined : keys,
    properties:
      properties.length === 0
        ? undefined
        : Object.fromEntries(properties.map(({ name, value }) => [name.trim(), fill(value)])),
    messageGroup: fill(draft.messageGroup).trim() || undefined,
    ...deliveryOf(draft),
  };
}

export function messagesOf(draft: Draft, now: Date): NewMessage[] {
  return Array.from({ length: draft.count }, (_, index) => messageOf(draft, index + 1, now));
}

/** One message in raw mode, where the body is the body; many as a batch. */
export function callOf(topic: string, draft: Draft, server: string): Call {
  const url = `${server}${apiPaths.messages(topic)}`;
  const message: NewMessage = {
    ...(draft.file === undefined ? { body: draft.body } : { bodyBase64: draft.file.base64 }),
    contentType: draft.contentType || undefined,
    tag: draft.tag.trim() || undefined,
    keys: draft.keys.trim() === "" ? undefined : splitKeys(draft.keys),
    properties: Object.fromEntries(
      draft.properties.filter(({ name }) => name.trim() !== "").map(({ name, value }) => [name.trim(), value]),
    ),
    messageGroup: draft.messageGroup.trim() || undefined,
    ...deliveryOf(draft),
  };
  if (draft.count > 1) {
    const { properties, ...rest } = message;
    const entry = Object.keys(properties ?? {}).length === 0 ? rest : message;
    return { method: "POST", url: `${url}/batch`, json: { messages: [entry] } };
  }
  const headers: [string, string][] = [["Content-Type", message.contentType ?? "text/plain"]];
  if (message.tag) headers.push(["Gantry-Tag", message.tag]);
  if (message.keys) headers.push(["Gantry-Keys", message.keys.join(",")]);
  for (const [name, value] of Object.entries(message.properties ?? {})) {
    headers.push(["Gantry-Property", `${encodeProperty(name)}=${encodeProperty(value)}`]);
  }
  if (message.messageGroup) headers.push(["Gantry-Message-Group", message.messageGroup]);
  if (message.delay) headers.push(["Gantry-Delay", message.delay]);
  if (message.deliverAt) headers.push(["Gantry-Deliver-At", String(message.deliverAt)]);
  // With `@` curl reads the file itself.
  return { method: "POST", url, headers, data: draft.file === undefined ? draft.body : `@${draft.file.name}` };
}
