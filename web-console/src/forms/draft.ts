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
  count: number;
}

export const countMax = 100;
export const emptyDraft: Draft = { body: "", contentType: "", tag: "", keys: "", properties: [], count: 1 };

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
  // With `@` curl reads the file itself.
  return { method: "POST", url, headers, data: draft.file === undefined ? draft.body : `@${draft.file.name}` };
}
