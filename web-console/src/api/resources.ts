/** One function per call that the console makes. Each answers with the body or throws a `Problem`. */

import { apiPaths, basePath } from "../paths";
import { problemOf, unreachable } from "./problem";
import type {
  BrokerStats,
  BrokerStorage,
  Cluster,
  DeletePlan,
  Group,
  GroupLag,
  Message,
  MessagePage,
  Published,
  Queue,
  QueuePage,
  Topic,
  TopicGroup,
  TopicStats,
} from "./types";

type QueryValue = string | number | boolean | undefined;

async function call<T>(
  method: string,
  path: string,
  options: { query?: Record<string, QueryValue>; json?: unknown; headers?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<T> {
  const url = new URL(`${basePath()}${path}`, globalThis.location.origin);
  for (const [name, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  const headers = new Headers(options.headers);
  if (options.json !== undefined && !headers.has("content-type")) headers.set("content-type", "application/json");
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: options.json === undefined ? undefined : JSON.stringify(options.json),
      signal: options.signal,
    });
  } catch (cause) {
    if (options.signal?.aborted) throw cause;
    throw unreachable(cause);
  }
  const text = await response.text();
  let body: unknown;
  try {
    body = text === "" ? undefined : JSON.parse(text);
  } catch {
    throw problemOf(undefined, response.status);
  }
  if (!response.ok) throw problemOf(body, response.status);
  return body as T;
}

/** Pages are asked for until there are no more, or this many rows are held. */
export const rowsMax = 10_000;
const pageRows = 500;

export interface Listed<T> {
  items: T[];
  /** False when more exist than are held. */
  complete: boolean;
}

async function all<T>(
  page: (cursor: string | undefined) => Promise<{ items: T[]; nextCursor?: string | null }>,
): Promise<Listed<T>> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const answer = await page(cursor);
    items.push(...answer.items);
    cursor = answer.nextCursor ?? undefined;
  } while (cursor !== undefined && items.length < rowsMax);
  return { items, complete: cursor === undefined };
}

export const readCluster = (signal?: AbortSignal) => call<Cluster>("GET", "/v1/cluster", { signal });

export const readVersion = (signal?: AbortSignal) =>
  call<{ name: string; version: string }>("GET", "/version", { signal });

export const readBrokerStats = (broker: string, signal?: AbortSignal) =>
  call<BrokerStats>("GET", `/v1/brokers/${encodeURIComponent(broker)}/stats`, { signal });

export const readBrokerStorage = (broker: string, signal?: AbortSignal) =>
  call<BrokerStorage>("GET", `/v1/brokers/${encodeURIComponent(broker)}/storage`, { signal });

export const listTopics = (includeSystem: boolean, signal?: AbortSignal) =>
  all<Topic>((cursor) => call("GET", apiPaths.topics(), { query: { includeSystem, limit: pageRows, cursor }, signal }));

export const readTopic = (topic: string, signal?: AbortSignal) =>
  call<Topic>("GET", apiPaths.topic(topic), { signal });

export interface NewTopic {
  messageType: string;
  readQueues: number;
  writeQueues: number;
}

/** Only if there is none of that name: a form must not change what somebody else made. */
export const createTopic = (name: string, topic: NewTopic) =>
  call<Topic>("PUT", apiPaths.topic(name), { json: topic, headers: { "If-None-Match": "*" } });

export const planTopicDeletion = (topic: string, signal?: AbortSignal) =>
  call<DeletePlan>("DELETE", apiPaths.topic(topic), { query: { dryRun: true }, signal });

export const deleteTopic = (topic: string) => call<void>("DELETE", apiPaths.topic(topic));

export const listQueues = async (topic: string, signal?: AbortSignal) =>
  (await call<{ items: Queue[] }>("GET", `${apiPaths.topic(topic)}/queues`, { signal })).items;

export const listTopicGroups = async (topic: string, signal?: AbortSignal) =>
  (await call<{ items: TopicGroup[] }>("GET", `${apiPaths.topic(topic)}/groups`, { signal })).items;

export const readTopicStats = (topic: string, signal?: AbortSignal) =>
  call<TopicStats>("GET", `${apiPaths.topic(topic)}/stats`, { signal });

export interface Browse {
  order: "asc" | "desc";
  from?: string | number;
  to?: string | number;
  tag?: string;
  queueId?: number;
  cursor?: string;
  limit?: number;
}

export const browseMessages = (topic: string, browse: Browse, signal?: AbortSignal) =>
  call<MessagePage>("GET", apiPaths.messages(topic), { query: { ...browse }, signal });

export const browseQueue = (
  topic: string,
  queue: { brokerName: string; queueId: number },
  at: { offset: number; limit?: number },
  signal?: AbortSignal,
) => call<QueuePage>("GET", apiPaths.queueMessages(topic, queue.brokerName, queue.queueId), { query: { ...at }, signal });

export const readMessage = (topic: string, id: string, bodyAs: "text" | "base64", signal?: AbortSignal) =>
  call<Message>("GET", apiPaths.message(topic, id), { query: { bodyAs, systemProperties: true }, signal });

export const findMessage = (offsetMessageId: string, signal?: AbortSignal) =>
  call<Message>("GET", `/v1/messages/${encodeURIComponent(offsetMessageId)}`, { query: { bodyAs: "none" }, signal });

export interface NewMessage {
  body: string;
  tag?: string;
  keys?: string[];
  properties?: Record<string, string>;
  contentType?: string;
}

/** Headers hold no Chinese in a browser, envelopes do. */
const envelope = { "content-type": "application/vnd.gantry.message+json" };

export const sendMessage = (topic: string, message: NewMessage) =>
  call<Published>("POST", apiPaths.messages(topic), { json: message, headers: envelope });

export type SendResult = (Published & { status: number }) | { status: number; problem: { title: string; detail: string } };

export const sendMessages = async (topic: string, messages: NewMessage[]) =>
  (await call<{ results: SendResult[] }>("POST", `${apiPaths.messages(topic)}/batch`, { json: { messages } })).results;

export const listGroups = (signal?: AbortSignal) =>
  all<Group>((cursor) => call("GET", apiPaths.groups(), { query: { lag: true, limit: pageRows, cursor }, signal }));

export const readGroup = (group: string, signal?: AbortSignal) =>
  call<Group>("GET", apiPaths.group(group), { signal });

export const readGroupLag = (group: string, signal?: AbortSignal) =>
  call<GroupLag>("GET", apiPaths.groupLag(group), { signal });

export interface NewGroup {
  retryMaxTimes: number;
  startFrom: "min" | "max";
}

export const createGroup = (name: string, group: NewGroup) =>
  call<Group>("PUT", apiPaths.group(name), { json: group, headers: { "If-None-Match": "*" } });

export const deleteGroup = (group: string) => call<void>("DELETE", apiPaths.group(group));

export const receive = async (group: string, topic: string, waitSeconds: number) => {
  const headers = { Prefer: `wait=${waitSeconds}` };
  const json = { topic, maxMessages: 1 };
  return (await call<{ messages: Message[] }>("POST", apiPaths.receive(group), { json, headers })).messages;
};

export const acknowledge = (receiptHandle: string) => call<void>("DELETE", apiPaths.receipt(receiptHandle));
