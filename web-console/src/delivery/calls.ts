/** The calls that the panels about deliveries make: loaded with them, and not with every page. */

import { queryOptions } from "@tanstack/react-query";
import { client, done, take } from "../api/client";
import { asProblem } from "../api/problem";
import { keys } from "../api/queries";
import type { Group, GroupPatch, OffsetsMoved, ResendRequest, ResendResults, ResetRequest } from "../api/types";

export const pageRows = 100;

export const inFlightQuery = (group: string, topic: string | undefined, cursor: string | undefined) =>
  queryOptions({
    queryKey: [...keys.group(group), "inflight", topic, cursor],
    queryFn: ({ signal }) => {
      const params = { path: { group }, query: { topic, cursor, limit: pageRows } };
      return take(client.GET("/v1/groups/{group}/inflight", { params, signal }));
    },
  });

export const deadLetterPageQuery = (group: string, cursor: string | undefined) =>
  queryOptions({
    queryKey: [...keys.group(group), "dlq", "messages", cursor],
    queryFn: ({ signal }) => {
      const params = { path: { group }, query: { cursor, limit: pageRows } };
      return take(client.GET("/v1/groups/{group}/dlq/messages", { params, signal }));
    },
  });

export const transactionsQuery = (topic: string, cursor: string | undefined) =>
  queryOptions({
    queryKey: [...keys.topic(topic), "transactions", cursor],
    queryFn: ({ signal }) => {
      const params = { path: { topic }, query: { cursor, limit: pageRows } };
      return take(client.GET("/v1/topics/{topic}/transactions", { params, signal }));
    },
  });

export type Decision = "commit" | "rollback";

export const decide = (transactionHandle: string, decision: Decision) => {
  const params = { path: { transactionHandle } };
  return done(
    decision === "commit"
      ? client.POST("/v1/transactions/{transactionHandle}/commit", { params })
      : client.POST("/v1/transactions/{transactionHandle}/rollback", { params }),
  );
};

/** Most dead letters of one resend. */
export const resendMax = 1000;

/** A rate needs its time: the request may take as long as the API allows. */
const patiently = { "Gantry-Timeout": "60s" };

export const resend = (group: string, body: ResendRequest, dryRun: boolean): Promise<ResendResults> =>
  take(
    client.POST("/v1/groups/{group}/dlq/resend", {
      params: { path: { group }, query: { dryRun } },
      headers: patiently,
      body: body as never,
    }),
  );

export const resetOffsets = (group: string, body: ResetRequest, dryRun: boolean): Promise<OffsetsMoved> =>
  take(client.POST("/v1/groups/{group}/offsets/reset", { params: { path: { group }, query: { dryRun } }, body }));

/** A group and the ETag of exactly this state of it. */
export const editedGroupQuery = (group: string) =>
  queryOptions({
    queryKey: [...keys.group(group), "edited"],
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async ({ signal }): Promise<{ group: Group; etag: string }> => {
      const answer = client.GET("/v1/groups/{group}", { params: { path: { group } }, signal });
      const read = await take(answer);
      return { group: read, etag: (await answer).response.headers.get("ETag") ?? "*" };
    },
  });

export const patchGroup = async (group: string, etag: string, body: GroupPatch): Promise<Group> =>
  take(
    client.PATCH("/v1/groups/{group}", {
      params: { path: { group }, header: { "If-Match": etag } },
      headers: { "Content-Type": "application/merge-patch+json" },
      body: body as never,
    }),
  );

export const isOnline = (error: unknown) => asProblem(error).code === "group_online";
