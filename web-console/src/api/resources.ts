/** One function per call that the console makes. Each answers with the body or throws a `Problem`. */

import { client, done, take } from "./client";
import type {
  DeletePlan,
  Group,
  GroupIn,
  Message,
  NewGroup,
  NewMessage,
  NewTopic,
  Published,
  PublishResult,
  Topic,
  TopicIn,
} from "./types";

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

export const readCluster = (signal?: AbortSignal) => take(client.GET("/v1/cluster", { signal }));

export const readVersion = (signal?: AbortSignal) => take(client.GET("/version", { signal }));

export const readBrokerStats = (broker: string, signal?: AbortSignal) =>
  take(client.GET("/v1/brokers/{broker}/stats", { params: { path: { broker } }, signal }));

export const readBrokerStorage = (broker: string, signal?: AbortSignal) =>
  take(client.GET("/v1/brokers/{broker}/storage", { params: { path: { broker } }, signal }));

export const listTopics = (includeSystem: boolean, signal?: AbortSignal): Promise<Listed<Topic>> =>
  all((cursor) =>
    take(client.GET("/v1/topics", { params: { query: { includeSystem, limit: pageRows, cursor } }, signal })),
  );

export const readTopic = (topic: string, signal?: AbortSignal) =>
  take(client.GET("/v1/topics/{topic}", { params: { path: { topic } }, signal }));

/** Only if there is none of that name: a form must not change what somebody else made. */
const onlyNew = { "If-None-Match": "*" };

export const createTopic = (topic: string, body: NewTopic) =>
  take(client.PUT("/v1/topics/{topic}", { params: { path: { topic }, header: onlyNew }, body: body as TopicIn }));

/** What a deletion would take with it; nothing is changed. */
export const planTopicDeletion = (topic: string, signal?: AbortSignal): Promise<DeletePlan> =>
  take(client.DELETE("/v1/topics/{topic}", { params: { path: { topic }, query: { dryRun: true } }, signal }));

export const deleteTopic = (topic: string) =>
  done(client.DELETE("/v1/topics/{topic}", { params: { path: { topic } } }));

export const listQueues = async (topic: string, signal?: AbortSignal) =>
  (await take(client.GET("/v1/topics/{topic}/queues", { params: { path: { topic } }, signal }))).items;

export const listTopicGroups = async (topic: string, signal?: AbortSignal) =>
  (await take(client.GET("/v1/topics/{topic}/groups", { params: { path: { topic } }, signal }))).items;

export const readTopicStats = (topic: string, signal?: AbortSignal) =>
  take(client.GET("/v1/topics/{topic}/stats", { params: { path: { topic } }, signal }));

export interface Browse {
  order: "asc" | "desc";
  from?: string;
  to?: string;
  tag?: string;
  cursor?: string;
  limit?: number;
}

export const browseMessages = (topic: string, query: Browse, signal?: AbortSignal) =>
  take(client.GET("/v1/topics/{topic}/messages", { params: { path: { topic }, query }, signal }));

export const browseQueue = (
  topic: string,
  { brokerName, queueId }: { brokerName: string; queueId: number },
  query: { offset: number; limit?: number },
  signal?: AbortSignal,
) => {
  const path = { topic, broker: brokerName, queueId };
  return take(client.GET("/v1/topics/{topic}/queues/{broker}/{queueId}/messages", { params: { path, query }, signal }));
};

export const readMessage = (topic: string, messageId: string, bodyAs: "text" | "base64", signal?: AbortSignal) => {
  const params = { path: { topic, messageId }, query: { bodyAs, systemProperties: true } };
  return take(client.GET("/v1/topics/{topic}/messages/{messageId}", { params, signal }));
};

export const findMessage = (offsetMessageId: string, signal?: AbortSignal) => {
  const params = { path: { offsetMessageId }, query: { bodyAs: "none" } } as const;
  return take(client.GET("/v1/messages/{offsetMessageId}", { params, signal }));
};

/** As an envelope: a browser's headers hold no Chinese. */
const headers = { "Content-Type": "application/vnd.gantry.message+json" };

export const sendMessage = (topic: string, body: NewMessage): Promise<Published> =>
  take(client.POST("/v1/topics/{topic}/messages", { params: { path: { topic } }, headers, body }));

export const sendMessages = async (topic: string, messages: NewMessage[]): Promise<PublishResult[]> => {
  const params = { path: { topic } };
  return (await take(client.POST("/v1/topics/{topic}/messages/batch", { params, body: { messages } }))).results;
};

export const listGroups = (signal?: AbortSignal): Promise<Listed<Group>> =>
  all((cursor) =>
    take(client.GET("/v1/groups", { params: { query: { lag: true, limit: pageRows, cursor } }, signal })),
  );

export const readGroup = (group: string, signal?: AbortSignal) =>
  take(client.GET("/v1/groups/{group}", { params: { path: { group } }, signal }));

export const readGroupLag = (group: string, signal?: AbortSignal) =>
  take(client.GET("/v1/groups/{group}/lag", { params: { path: { group } }, signal }));

export const readDeadLetters = (group: string, signal?: AbortSignal) =>
  take(client.GET("/v1/groups/{group}/dlq", { params: { path: { group } }, signal }));

export const createGroup = (group: string, body: NewGroup) =>
  take(client.PUT("/v1/groups/{group}", { params: { path: { group }, header: onlyNew }, body: body as GroupIn }));

export const deleteGroup = (group: string) =>
  done(client.DELETE("/v1/groups/{group}", { params: { path: { group } } }));

export const receive = async (group: string, topic: string, waitSeconds: number): Promise<Message[]> => {
  const params = { path: { group }, header: { Prefer: `wait=${waitSeconds}` } };
  const body = { topic, maxMessages: 1, invisibleDuration: "60s" };
  const received = await take(client.POST("/v1/groups/{group}/receive", { params, body }));
  // The other form, raw bytes, answers only who asks for it.
  return "messages" in received ? received.messages : [];
};

export const acknowledge = (handle: string) =>
  done(client.DELETE("/v1/receipts/{handle}", { params: { path: { handle } } }));
