/** What pages read, cached and refreshed at the chosen pace. */

import { queryOptions, useIsFetching, useQueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { usePrefs } from "../prefs";
import { asProblem } from "./problem";
import { recordRate } from "./rates";
import * as api from "./resources";

/** Dialogs hold refreshing: what somebody is about to confirm must not move under their eyes. */
let dialogs = 0;
const listeners = new Set<() => void>();

export function holdRefresh(): () => void {
  dialogs += 1;
  for (const listener of listeners) listener();
  return () => {
    dialogs -= 1;
    for (const listener of listeners) listener();
  };
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** For `refetchInterval`: false while refreshing is off or held. The library itself pauses hidden tabs. */
export function useRefreshInterval(): number | false {
  const { refresh } = usePrefs();
  const held = useSyncExternalStore(subscribe, () => dialogs > 0);
  return refresh === 0 || held ? false : refresh * 1000;
}

const firstRatesMs = 2_000;
const firstPoints = 4;

/** A chart that has just been opened gets its first points sooner. */
export function useRatesInterval(points: number): number | false {
  const interval = useRefreshInterval();
  return interval === false || points >= firstPoints ? interval : Math.min(interval, firstRatesMs);
}

export function useRefreshNow() {
  const client = useQueryClient();
  const busy = useIsFetching() > 0;
  return { busy, refresh: () => client.invalidateQueries() };
}

/** Once more where that makes sense: what is missing or refused stays so. */
export const retry = (failures: number, error: unknown) => failures < 1 && asProblem(error).retryable;

export const keys = {
  cluster: ["cluster"],
  topics: ["topics"],
  topic: (topic: string) => ["topic", topic],
  messages: (topic: string) => ["topic", topic, "messages"],
  groups: ["groups"],
  group: (group: string) => ["group", group],
} as const;

export const clusterQuery = () =>
  queryOptions({ queryKey: keys.cluster, queryFn: ({ signal }) => api.readCluster(signal) });

export const versionQuery = () =>
  queryOptions({ queryKey: ["version"], queryFn: ({ signal }) => api.readVersion(signal), staleTime: Infinity });

export const brokerStatsQuery = (broker: string) =>
  queryOptions({
    queryKey: ["broker", broker, "stats"],
    queryFn: async ({ signal }) => {
      const stats = await api.readBrokerStats(broker, signal);
      recordRate(`broker/${broker}`, { at: Date.now(), in: stats.tpsIn, out: stats.tpsOut });
      return stats;
    },
  });

export const brokerStorageQuery = (broker: string) =>
  queryOptions({
    queryKey: ["broker", broker, "storage"],
    queryFn: ({ signal }) => api.readBrokerStorage(broker, signal),
  });

export const topicsQuery = (includeSystem: boolean) =>
  queryOptions({
    queryKey: [...keys.topics, { includeSystem }],
    queryFn: ({ signal }) => api.listTopics(includeSystem, signal),
  });

export const topicQuery = (topic: string) =>
  queryOptions({ queryKey: keys.topic(topic), queryFn: ({ signal }) => api.readTopic(topic, signal) });

export const topicStatsQuery = (topic: string) =>
  queryOptions({
    queryKey: [...keys.topic(topic), "stats"],
    queryFn: async ({ signal }) => {
      const stats = await api.readTopicStats(topic, signal);
      recordRate(`topic/${topic}`, { at: Date.now(), in: stats.tpsIn, out: stats.tpsOut });
      return stats;
    },
  });

export const queuesQuery = (topic: string) =>
  queryOptions({ queryKey: [...keys.topic(topic), "queues"], queryFn: ({ signal }) => api.listQueues(topic, signal) });

export const topicGroupsQuery = (topic: string) =>
  queryOptions({
    queryKey: [...keys.topic(topic), "groups"],
    queryFn: ({ signal }) => api.listTopicGroups(topic, signal),
  });

export const deletePlanQuery = (topic: string) =>
  queryOptions({
    queryKey: [...keys.topic(topic), "deletePlan"],
    gcTime: 0,
    queryFn: ({ signal }) => api.planTopicDeletion(topic, signal),
  });

export const messageQuery = (topic: string, id: string, bodyAs: "text" | "base64") =>
  queryOptions({
    queryKey: ["topic", topic, "message", id, bodyAs],
    // A stored message never changes.
    staleTime: Infinity,
    queryFn: ({ signal }) => api.readMessage(topic, id, bodyAs, signal),
  });

export const groupsQuery = () =>
  queryOptions({ queryKey: keys.groups, queryFn: ({ signal }) => api.listGroups(signal) });

export const groupQuery = (group: string) =>
  queryOptions({ queryKey: keys.group(group), queryFn: ({ signal }) => api.readGroup(group, signal) });

export const deadLettersQuery = (group: string) =>
  queryOptions({
    queryKey: [...keys.group(group), "dlq"],
    queryFn: ({ signal }) => api.readDeadLetters(group, signal),
  });

export const groupLagQuery = (group: string) =>
  queryOptions({
    queryKey: [...keys.group(group), "lag"],
    queryFn: ({ signal }) => api.readGroupLag(group, signal),
  });
