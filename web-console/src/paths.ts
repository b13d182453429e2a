/** Every address, built in one place: of the console's own pages, and of the API they talk to. */

/** A whole name stands in one segment: slashes and percent signs of hostile names included. */
const segment = encodeURIComponent;

export const apiPaths = {
  topics: () => "/v1/topics",
  topic: (topic: string) => `/v1/topics/${segment(topic)}`,
  messages: (topic: string) => `/v1/topics/${segment(topic)}/messages`,
  message: (topic: string, id: string) => `/v1/topics/${segment(topic)}/messages/${segment(id)}`,
  transactions: (topic: string) => `/v1/topics/${segment(topic)}/transactions`,
  decision: (handle: string, how: "commit" | "rollback") => `/v1/transactions/${segment(handle)}/${how}`,
  messageBody: (topic: string, id: string) => `/v1/topics/${segment(topic)}/messages/${segment(id)}/body`,
  queueMessages: (topic: string, broker: string, queueId: number) =>
    `/v1/topics/${segment(topic)}/queues/${segment(broker)}/${queueId}/messages`,
  group: (group: string) => `/v1/groups/${segment(group)}`,
  groups: () => "/v1/groups",
  groupLag: (group: string) => `/v1/groups/${segment(group)}/lag`,
  groupInFlight: (group: string) => `/v1/groups/${segment(group)}/inflight`,
  deadLetters: (group: string) => `/v1/groups/${segment(group)}/dlq/messages`,
  deadLetterExport: (group: string) => `/v1/groups/${segment(group)}/dlq/export`,
  receive: (group: string) => `/v1/groups/${segment(group)}/receive`,
  receipt: (handle: string) => `/v1/receipts/${segment(handle)}`,
};

/** Where the console is mounted, without a slash at the end: `""` at the root. */
export function basePath(): string {
  const base = document.querySelector("base")?.getAttribute("href") ?? "/";
  return base.startsWith("/") ? base.replace(/\/+$/, "") : "";
}

/** The server's address as somebody would type it into a terminal. */
export function serverUrl(): string {
  return `${globalThis.location.origin}${basePath()}`;
}

const oldPages: Record<string, string> = {
  topic: "/topics",
  producer: "/topics",
  message: "/topics",
  messageTrace: "/topics",
  consumer: "/groups",
  dlqMessage: "/groups",
  cluster: "/",
  ops: "/",
  proxy: "/",
  acl: "/settings",
};

/** Where a bookmark of the Java dashboard (`#/topic`) leads now. */
export function ofOldHash(hash: string): string | undefined {
  const name = /^#\/?([A-Za-z]+)/.exec(hash)?.[1];
  if (name === undefined || !Object.hasOwn(oldPages, name)) return undefined;
  return oldPages[name];
}
