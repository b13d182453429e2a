/** What stands behind the question mark of each page: read as plain text, and let through only when it makes sense. */

type Raw = Record<string, unknown>;

/** Plain `name=value` pairs, so that an address reads as it was meant. */
export function parseSearch(text: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(text));
}

export function stringifySearch(search: Raw): string {
  const pairs = Object.entries(search).filter(([, value]) => value !== undefined && value !== "" && value !== false);
  const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return text === "" ? "" : `?${text}`;
}

const text = (raw: unknown, lengthMax = 512) =>
  typeof raw === "string" && raw !== "" ? raw.slice(0, lengthMax) : undefined;
const flag = (raw: unknown) => (raw === true || raw === "true" ? true : undefined);
const count = (raw: unknown) => {
  const value = typeof raw === "number" ? raw : typeof raw === "string" && /^\d+$/.test(raw) ? Number(raw) : undefined;
  return value !== undefined && Number.isSafeInteger(value) ? value : undefined;
};
const oneOf = <T extends string>(raw: unknown, allowed: readonly T[]) => allowed.find((value) => value === raw);

/** Left out of the address when absent: two addresses of one state would be one too many. */
function present<T extends object>(search: T): T {
  return Object.fromEntries(Object.entries(search).filter(([, value]) => value !== undefined)) as T;
}

export interface TopicsSearch {
  q?: string;
  type?: string;
  system?: boolean;
  sort?: string;
  delete?: string;
}
export const topicsSearch = (raw: Raw): TopicsSearch =>
  present({
    q: text(raw.q),
    type: text(raw.type),
    system: flag(raw.system),
    sort: text(raw.sort),
    delete: text(raw.delete),
  });

export const topicTabs = ["messages", "transactions", "queues", "groups", "settings"] as const;
export type TopicTab = (typeof topicTabs)[number];
export const starts = ["newest", "oldest", "time", "queue", "live"] as const;
export type Start = (typeof starts)[number];
export const messageColumns = ["time", "queue", "offset", "tag", "keys", "id", "size", "born", "body"] as const;
export type MessageColumn = (typeof messageColumns)[number];
export const defaultColumns: readonly MessageColumn[] = ["time", "queue", "offset", "tag", "keys", "size", "body"];

export interface TopicSearch {
  tab?: TopicTab;
  start?: Start;
  /** RFC 3339: an address means the same instant in every time zone. */
  at?: string;
  queue?: string;
  offset?: number;
  tag?: string;
  cols?: string;
  sort?: string;
  delete?: boolean;
}
export const topicSearch = (raw: Raw): TopicSearch => {
  const at = text(raw.at, 40);
  return present({
    tab: oneOf(raw.tab, topicTabs),
    start: oneOf(raw.start, starts),
    at: at !== undefined && !Number.isNaN(Date.parse(at)) ? at : undefined,
    queue: text(raw.queue),
    offset: count(raw.offset),
    tag: text(raw.tag, 4096),
    cols: parseColumns(text(raw.cols)) === undefined ? undefined : text(raw.cols),
    sort: text(raw.sort),
    delete: flag(raw.delete),
  });
};

export function parseColumns(cols: string | undefined): MessageColumn[] | undefined {
  if (cols === undefined) return undefined;
  const asked = cols.split(",");
  const known = messageColumns.filter((column) => asked.includes(column));
  return known.length === 0 ? undefined : known;
}

/** `broker-a/3`; a broker's name may hold anything but a slash. */
export function parseQueue(queue: string | undefined): { brokerName: string; queueId: number } | undefined {
  const match = /^([^/]+)\/(\d{1,9})$/.exec(queue ?? "");
  return match?.[1] === undefined ? undefined : { brokerName: match[1], queueId: Number(match[2]) };
}

export const messageTabs = ["body", "properties"] as const;
export type MessageTab = (typeof messageTabs)[number];
export const bodyViews = ["auto", "json", "text", "hex", "base64"] as const;
export type BodyView = (typeof bodyViews)[number];

export interface MessageSearch {
  tab?: MessageTab;
  view?: BodyView;
}
export const messageSearch = (raw: Raw): MessageSearch =>
  present({ tab: oneOf(raw.tab, messageTabs), view: oneOf(raw.view, bodyViews) });

export interface GroupsSearch {
  q?: string;
  lagging?: boolean;
  sort?: string;
  delete?: string;
}
export const groupsSearch = (raw: Raw): GroupsSearch =>
  present({ q: text(raw.q), lagging: flag(raw.lagging), sort: text(raw.sort), delete: text(raw.delete) });

export const groupTabs = ["lag", "inflight", "dlq", "settings"] as const;
export type GroupTab = (typeof groupTabs)[number];
export interface GroupSearch {
  tab?: GroupTab;
  /** The topic whose queues are shown. */
  open?: string;
  /** The topic whose messages in flight are shown. */
  topic?: string;
  edit?: boolean;
  reset?: boolean;
  delete?: boolean;
}
export const groupSearch = (raw: Raw): GroupSearch =>
  present({
    tab: oneOf(raw.tab, groupTabs),
    open: text(raw.open),
    topic: text(raw.topic),
    edit: flag(raw.edit),
    reset: flag(raw.reset),
    delete: flag(raw.delete),
  });

/** Topic of the welcome's steps: the walk goes on after a reload. */
export interface OverviewSearch {
  welcome?: boolean;
  topic?: string;
}
export const overviewSearch = (raw: Raw): OverviewSearch =>
  present({ welcome: flag(raw.welcome), topic: text(raw.topic) });
