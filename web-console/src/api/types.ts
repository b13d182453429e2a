/** The API's nouns under short names. */

export interface Topic {
  name: string;
  messageType: string;
  readQueues: number;
  writeQueues: number;
  perm: string;
  system: boolean;
}
export interface Queue {
  brokerName: string;
  queueId: number;
  minOffset: number;
  maxOffset: number;
  lastUpdate: string | null;
}
export interface TopicStats {
  messages: number;
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
  tpsIn: number;
  tpsOut: number;
}
export interface BrokerStats {
  brokerName: string;
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
  tpsIn: number;
  tpsOut: number;
  parkedReceives: number;
  uptime: string;
}
export interface BrokerStorage {
  brokerName: string;
  commitLogMin: number;
  commitLogMax: number;
  diskUsed: number;
  diskTotal: number;
  earliestMessageAt: string | null;
}
export interface TopicGroup {
  name: string;
  lag: number;
  delayMs: number | null;
  inflight: number;
}
export interface DeletePlan {
  topic: string;
  messages: number;
  groups: { name: string; lag: number }[];
}
export interface Message {
  topic: string;
  messageType: string;
  messageId: string;
  offsetMessageId: string;
  body?: unknown;
  bodyEncoding?: string;
  bodyCompressed?: boolean;
  bodySize: number;
  bodyCrc32: number;
  contentType?: string;
  tag?: string;
  keys?: string[];
  properties: Record<string, string>;
  messageGroup?: string;
  traceparent?: string;
  bornTimestamp: string;
  bornHost: string;
  storeTimestamp: string;
  storeHost: string;
  brokerName: string;
  queueId: number;
  queueOffset: number;
  receiptHandle?: string;
  deliveryAttempt?: number;
  invisibleUntil?: string;
}
export interface Scan {
  scanned: number;
  complete: boolean;
  from: string | null;
  to: string | null;
}
export interface MessagePage {
  items: Message[];
  nextCursor: string | null;
  scan: Scan;
}
export interface QueuePage {
  items: Message[];
  nextOffset: number;
  minOffset: number;
  maxOffset: number;
}
export interface Published {
  messageId: string;
  offsetMessageId: string;
  brokerName: string;
  queueId: number;
  queueOffset: number;
  storeTimestamp: string;
  durability: string;
}
export interface Group {
  name: string;
  consumeEnabled: boolean;
  orderly: boolean;
  broadcastEnabled: boolean;
  retryMaxTimes: number;
  consumeTimeout: string;
  startFrom: string;
  totalLag?: number | null;
  delayMs?: number | null;
  inflight?: number | null;
  topics?: string[];
}
export interface QueueLag {
  brokerName: string;
  queueId: number;
  brokerOffset: number;
  consumerOffset: number | null;
  pullOffset: number | null;
  lag: number;
  inflight: number;
}
export interface TopicLag {
  topic: string;
  lag: number;
  inflight: number;
  ready: number;
  delayMs: number | null;
  queues: QueueLag[];
}
export interface GroupLag {
  topics: TopicLag[];
  totalLag: number;
  delayMs: number | null;
}
export interface Broker {
  brokerName: string;
  cluster: string;
  brokerId: number;
  role: string;
  version: string;
  writable: boolean;
  durability: string;
  commitLogMin: number;
  commitLogMax: number;
  started: string;
}
export interface Cluster {
  clusters: { name: string; brokers: string[] }[];
  brokers: Broker[];
  totals: { brokers: number; topics: number; groups: number };
}
