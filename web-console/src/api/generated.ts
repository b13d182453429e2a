// Generated from openapi/gantry.v1.yaml by `npm run types`: do not edit.

export interface paths {
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The process turns */
        get: operations["healthz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Everything that is counted, for Prometheus */
        get: operations["metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** New work may be sent here */
        get: operations["readyz"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/brokers/{broker}/stats": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What goes through a broker */
        get: operations["brokerStats"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/brokers/{broker}/storage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a broker's store takes */
        get: operations["describeStorage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/cluster": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Clusters, brokers and totals */
        get: operations["describeCluster"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Consumer groups by name */
        get: operations["listConsumerGroups"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One consumer group */
        get: operations["describeConsumerGroup"];
        /** Creates a consumer group, or replaces its configuration */
        put: operations["putConsumerGroup"];
        post?: never;
        /** Deletes a consumer group with its offsets */
        delete: operations["deleteConsumerGroup"];
        options?: never;
        head?: never;
        /** Changes what it names of a consumer group's configuration, and leaves the rest as it is */
        patch: operations["patchConsumerGroup"];
        trace?: never;
    };
    "/v1/groups/{group}/dlq": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How many messages a consumer group has given up */
        get: operations["describeDeadLetterQueue"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}/dlq/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Dead letters of a consumer group as a file, the oldest first */
        get: operations["exportDeadLetters"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}/dlq/messages": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Dead letters of a consumer group by time */
        get: operations["browseDeadLetters"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}/dlq/resend": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Sends dead letters once more, as new messages, or has their group receive again what it gave up */
        post: operations["resendDeadLetters"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}/inflight": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a consumer group has taken and not acked, by topic, queue and offset */
        get: operations["listInFlight"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}/lag": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** How far a consumer group is, by topic and queue */
        get: operations["queryConsumeOffsets"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}/offsets/clone": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Moves a group to where another one is */
        post: operations["cloneOffsets"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}/offsets/reset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Moves a group to a time, an offset, or an end of a topic */
        post: operations["resetOffsets"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}/offsets/skip": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Passes over everything that a group is behind */
        post: operations["skipOffsets"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}/receive": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Takes messages on a lease, waiting for a first one if asked to */
        post: operations["popMessages"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/groups/{group}/topics/{topic}/offsets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Says that everything below these offsets is consumed */
        put: operations["updateConsumeOffsets"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/limits": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Effective limits, and what the broker can do */
        get: operations["limits"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/messages/{offsetMessageId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The message with this physical id, of whatever topic */
        get: operations["readMessage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/producer-groups/{producerGroup}/transaction-checks/receive": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Asks what became of the transactions of a producer group that are due for a check */
        post: operations["checkTransactions"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/receipts/settle": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Settles many deliveries, of any topics and groups */
        post: operations["settleMessages"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/receipts/{handle}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Acknowledges one delivery */
        delete: operations["ackMessage"];
        options?: never;
        head?: never;
        /** Moves the end of a lease */
        patch: operations["changeInvisibleDuration"];
        trace?: never;
    };
    "/v1/receipts/{handle}/dead-letter": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Gives a message up: it moves to its group's dead letter queue */
        post: operations["forwardMessageToDeadLetterQueue"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/receipts/{handle}/nack": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Gives a message back for redelivery */
        post: operations["nackMessage"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/scheduled/{recallHandle}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /** Takes a delayed message back before its time */
        delete: operations["recallMessage"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Topics by name */
        get: operations["listTopics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One topic */
        get: operations["describeTopic"];
        /** Creates a topic, or replaces its configuration */
        put: operations["putTopic"];
        post?: never;
        /** Deletes a topic with everything in it */
        delete: operations["deleteTopic"];
        options?: never;
        head?: never;
        /** Changes what it names of a topic's configuration, and leaves the rest as it is */
        patch: operations["patchTopic"];
        trace?: never;
    };
    "/v1/topics/{topic}/groups": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Consumer groups that receive from a topic */
        get: operations["listTopicGroups"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}/messages": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Looks through a topic by time, over all its queues */
        get: operations["browseMessages"];
        put?: never;
        /** Publishes one message: the body of the request is its body */
        post: operations["sendMessage"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}/messages/batch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Publishes up to 1,024 messages, 4 MiB together */
        post: operations["sendMessages"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}/messages/by-key": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Looks for the messages that bear a key, the newest first */
        get: operations["queryMessages"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}/messages/{messageId}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The newest message of a topic with this id */
        get: operations["findMessage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}/messages/{messageId}/body": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The stored bytes of one message, as a download */
        get: operations["downloadBody"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}/queues": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Message queues of a topic, and what each holds */
        get: operations["queryQueueOffsets"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}/queues/{broker}/{queueId}/messages": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Looks into one queue by offset */
        get: operations["pullMessages"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}/queues/{broker}/{queueId}/offset": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The offset of a queue that a time or an end of it stands for */
        get: operations["queryOffset"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}/stats": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a topic holds, and what goes through it */
        get: operations["topicStats"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/topics/{topic}/transactions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Transactions of a topic that nobody has decided, the oldest first */
        get: operations["listTransactions"];
        put?: never;
        /** Publishes a half message: nobody receives it before its transaction is committed */
        post: operations["sendHalfMessage"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{transactionHandle}/commit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Commits a transaction: its message is delivered */
        post: operations["commitTransaction"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/transactions/{transactionHandle}/rollback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Rolls a transaction back: its message is never delivered */
        post: operations["rollBackTransaction"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/version": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What this is */
        get: operations["version"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        Abilities: {
            idempotency: boolean;
            native: boolean;
            recall: boolean;
            sql92: boolean;
        };
        BatchIn: {
            messages: components["schemas"]["Envelope"][];
        };
        Broker: {
            /** Format: int32 */
            brokerId: number;
            brokerName: string;
            cluster: string;
            /** Format: int64 */
            commitLogMax: number;
            /** Format: int64 */
            commitLogMin: number;
            durability: string;
            role: string;
            started: components["schemas"]["Time"];
            version: string;
            writable: boolean;
        };
        BrokerStats: components["schemas"]["Traffic"] & {
            brokerName: string;
            parkedReceives: number;
            uptime: string;
        };
        Check: {
            detail?: string | null;
            name: string;
            ok: boolean;
        };
        CheckTransactionsIn: {
            /**
             * Format: int32
             * @default 1
             */
            maxMessages: number | null;
        };
        Checks: {
            checks: components["schemas"]["TransactionCheck"][];
        };
        CloneOffsetsIn: {
            force?: boolean | null;
            fromGroup: string;
            queues?: components["schemas"]["QueueRef"][] | null;
            topic: string;
        };
        Cluster: {
            brokers: components["schemas"]["Broker"][];
            clusters: components["schemas"]["ClusterInfo"][];
            totals: components["schemas"]["Totals"];
        };
        ClusterInfo: {
            brokers: string[];
            name: string;
        };
        ConsumerGroup: {
            broadcastEnabled: boolean;
            consumeEnabled: boolean;
            consumeTimeout: string;
            /**
             * Format: int64
             * @description Age of the oldest message that is not acked; null if nothing is behind, missing where it was not counted.
             */
            delayMs?: number | null;
            /**
             * Format: int64
             * @description Taken and not acked; missing where it was not counted.
             */
            inflight?: number | null;
            name: string;
            orderly: boolean;
            /**
             * Format: int64
             * @description Deliveries after the first before a message goes to the dead letter queue; -1 is without end.
             */
            retryMaxTimes: number;
            retryPolicy: components["schemas"]["RetryPolicy"];
            /** Format: int32 */
            retryQueues: number;
            startFrom: string;
            /** @description The topics it has received from; in lists that were asked for lag. */
            topics?: string[] | null;
            /**
             * Format: int64
             * @description Stored and not acked; missing where it was not counted.
             */
            totalLag?: number | null;
        };
        /** @description Where a dead letter was before it was given up. */
        DeadLetter: {
            /**
             * Format: int32
             * @description Deliveries that it had.
             */
            deliveryAttempts: number;
            messageId: string;
            /** @description What its consumer said. */
            reason?: string | null;
            topic: string;
        };
        DeadLetterIn: {
            /** @description Kept with the message */
            reason?: string | null;
        };
        /** @description The dead letters of a group. */
        DeadLetterQueue: {
            /** Format: int64 */
            count: number;
            newest?: components["schemas"]["Time"] | null;
            oldest?: components["schemas"]["Time"] | null;
            /** @description RocketMQ's name for where they are. */
            topic: string;
        };
        DeadLettered: {
            dlqTopic: string;
        };
        /** @description What a delete would take along. */
        DeleteImpact: {
            groups: components["schemas"]["TopicGroup"][];
            /**
             * Format: int64
             * @description Messages kept.
             */
            messages: number;
            topic: string;
        };
        /** @description A message written as JSON: exactly one of `body`, `bodyBase64` and `bodyJson`. */
        Envelope: {
            body?: string | null;
            bodyBase64?: string | null;
            bodyJson?: Record<string, never> | null;
            contentType?: string | null;
            /**
             * @description Delivered so long after it was stored, 40 days at most; at most one of `delay`, `deliverAt` and `delayLevel`
             * @example 10m
             */
            delay?: string | null;
            /**
             * Format: int32
             * @description Delivered after RocketMQ's pause with this number
             */
            delayLevel?: number | null;
            deliverAt?: components["schemas"]["Time"] | null;
            /** @description The caller's name of the entry, repeated in the answer */
            id?: string | null;
            idempotencyKey?: string | null;
            keys?: string[] | null;
            /** @description Messages of one group are delivered in order; needed on a FIFO topic */
            messageGroup?: string | null;
            messageId?: string | null;
            properties?: {
                [key: string]: string;
            } | null;
            queue?: components["schemas"]["QueueRef"] | null;
            tag?: string | null;
            traceparent?: string | null;
        };
        ExtendIn: {
            /** @description From now on */
            invisibleDuration: string;
        };
        Extended: {
            invisibleUntil: components["schemas"]["Time"];
            receiptHandle: string;
        };
        FieldProblem: {
            code: string;
            detail: string;
            header?: string | null;
            path?: string | null;
            pointer?: string | null;
            query?: string | null;
        };
        Filter: {
            /**
             * @description `a || b` or `*` for tags; for `sql92` a condition over properties in RocketMQ's dialect, such as
             *     `region = 'eu' AND amount > 100`
             */
            expression: string;
            /** @default tag */
            type: ("tag" | "sql92") | null;
        };
        GroupIn: {
            /** @default true */
            broadcastEnabled: boolean | null;
            /** @default true */
            consumeEnabled: boolean | null;
            /**
             * @description Lease of clients that renew it themselves
             * @default 15m
             */
            consumeTimeout: string | null;
            orderly?: boolean | null;
            /**
             * Format: int64
             * @description Deliveries after the first
             *     -1 is without end
             * @default 16
             */
            retryMaxTimes: number | null;
            retryPolicy?: components["schemas"]["RetryPolicy"] | null;
            /** Format: int32 */
            retryQueues?: number | null;
            /**
             * @description `auto`, `min`, `max` or a time
             * @default auto
             */
            startFrom: string | null;
        };
        GroupLag: {
            /**
             * Format: int64
             * @description Messages in the group's dead letter queue.
             */
            deadLetters: number;
            /**
             * Format: int64
             * @description Age of the oldest message that is not acked; null if nothing is behind.
             */
            delayMs?: number | null;
            /**
             * Format: int64
             * @description Taken and not acked, over all topics.
             */
            inflight: number;
            /**
             * Format: int64
             * @description Of those, delivered before.
             */
            retry: number;
            topics: components["schemas"]["TopicLag"][];
            /**
             * Format: int64
             * @description Stored and not acked, over all topics.
             */
            totalLag: number;
        };
        Health: {
            status: string;
        };
        /** @description A message that was taken and not acked. */
        InFlightMessage: {
            brokerName: string;
            /** @description That time is over, and nobody has taken it again. */
            cameBack: boolean;
            /**
             * Format: int32
             * @description Deliveries counted so far.
             */
            deliveryAttempt: number;
            /** @description From here on it may be delivered again. */
            invisibleUntil: components["schemas"]["Time"];
            keys?: string[];
            messageGroup?: string | null;
            /** @description This and what follows are missing if the message is not kept any more. */
            messageId?: string | null;
            /** Format: int32 */
            queueId: number;
            /** Format: int64 */
            queueOffset: number;
            storeTimestamp?: components["schemas"]["Time"] | null;
            tag?: string | null;
            topic: string;
        };
        Items_ConsumerGroup: {
            items: {
                broadcastEnabled: boolean;
                consumeEnabled: boolean;
                consumeTimeout: string;
                /**
                 * Format: int64
                 * @description Age of the oldest message that is not acked; null if nothing is behind, missing where it was not counted.
                 */
                delayMs?: number | null;
                /**
                 * Format: int64
                 * @description Taken and not acked; missing where it was not counted.
                 */
                inflight?: number | null;
                name: string;
                orderly: boolean;
                /**
                 * Format: int64
                 * @description Deliveries after the first before a message goes to the dead letter queue; -1 is without end.
                 */
                retryMaxTimes: number;
                retryPolicy: components["schemas"]["RetryPolicy"];
                /** Format: int32 */
                retryQueues: number;
                startFrom: string;
                /** @description The topics it has received from; in lists that were asked for lag. */
                topics?: string[] | null;
                /**
                 * Format: int64
                 * @description Stored and not acked; missing where it was not counted.
                 */
                totalLag?: number | null;
            }[];
            nextCursor?: string | null;
        };
        Items_InFlightMessage: {
            items: {
                brokerName: string;
                /** @description That time is over, and nobody has taken it again. */
                cameBack: boolean;
                /**
                 * Format: int32
                 * @description Deliveries counted so far.
                 */
                deliveryAttempt: number;
                /** @description From here on it may be delivered again. */
                invisibleUntil: components["schemas"]["Time"];
                keys?: string[];
                messageGroup?: string | null;
                /** @description This and what follows are missing if the message is not kept any more. */
                messageId?: string | null;
                /** Format: int32 */
                queueId: number;
                /** Format: int64 */
                queueOffset: number;
                storeTimestamp?: components["schemas"]["Time"] | null;
                tag?: string | null;
                topic: string;
            }[];
            nextCursor?: string | null;
        };
        Items_Topic: {
            items: {
                /** @description RocketMQ's attributes, as far as they were said; `reserve.time` in hours. */
                attributes: {
                    [key: string]: string;
                };
                messageType: string;
                name: string;
                perm: string;
                /** Format: int32 */
                readQueues: number;
                system: boolean;
                /** Format: int32 */
                writeQueues: number;
            }[];
            nextCursor?: string | null;
        };
        Limits: {
            abilities: components["schemas"]["Abilities"];
            batchBytes: number;
            batchMessages: number;
            bodyBytes: number;
            invisibleDurationMax: string;
            invisibleDurationMin: string;
            keys: number;
            messageGroupBytes: number;
            receiptHandleCharacters: number;
            /** Format: int32 */
            receiveMessages: number;
            settleEntries: number;
            userProperties: number;
            userPropertiesBytes: number;
            waitMax: string;
        };
        Many_PublishResult: {
            results: (components["schemas"]["Published"] | components["schemas"]["PublishRefused"])[];
            summary: components["schemas"]["Summary"];
        };
        /** @description A stored message on its way out. */
        Message: {
            /** @description Text or base64 as `bodyEncoding` says; any JSON value with `bodyAs=json`. */
            body?: unknown;
            /** @description The producer compressed the body itself; this is what it stored. */
            bodyCompressed?: boolean;
            /** Format: int32 */
            bodyCrc32: number;
            bodyEncoding?: string | null;
            bodySize: number;
            bornHost: string;
            bornTimestamp: components["schemas"]["Time"];
            brokerName: string;
            contentType?: string | null;
            deadLetter?: components["schemas"]["DeadLetter"] | null;
            deliverAt?: components["schemas"]["Time"] | null;
            /** Format: int32 */
            deliveryAttempt?: number | null;
            invisibleUntil?: components["schemas"]["Time"] | null;
            keys?: string[];
            messageGroup?: string | null;
            messageId: string;
            messageType: string;
            offsetMessageId: string;
            properties: {
                [key: string]: string;
            };
            /** Format: int32 */
            queueId: number;
            /** Format: int64 */
            queueOffset: number;
            receiptHandle?: string | null;
            storeHost: string;
            storeTimestamp: components["schemas"]["Time"];
            tag?: string | null;
            topic: string;
            traceparent?: string | null;
        };
        MessagePage: {
            items: components["schemas"]["Message"][];
            /**
             * @description Goes on where this answer ends. With `order=asc` and no `to` it is always there: messages stored from now on
             *     come behind it.
             */
            nextCursor?: string | null;
            scan: components["schemas"]["Scan"];
        };
        MessageQueue: {
            brokerName: string;
            lastUpdate?: components["schemas"]["Time"] | null;
            /** Format: int64 */
            maxOffset: number;
            /** Format: int64 */
            minOffset: number;
            /** Format: int32 */
            queueId: number;
        };
        NackIn: {
            /** @description The group's retry policy if it is missing */
            retryAfter?: string | null;
            /** @description The delivery does not count as an attempt */
            suspend?: boolean | null;
        };
        Nacked: {
            visibleAt: components["schemas"]["Time"];
        };
        OffsetOut: {
            /** @description Which message a time meant; null for `min` and `max`. */
            boundary?: string | null;
            /** Format: int64 */
            offset: number;
        };
        OffsetResult: {
            brokerName: string;
            problem?: components["schemas"]["Problem"] | null;
            /** Format: int32 */
            queueId: number;
            /** Format: int32 */
            status: number;
        };
        OffsetResults: {
            results: components["schemas"]["OffsetResult"][];
        };
        OffsetsIn: {
            queues: components["schemas"]["QueueOffset"][];
        };
        OffsetsMoved: {
            queues: components["schemas"]["QueueMoved"][];
            topic: string;
        };
        /** @description A transaction that nobody has decided. */
        OpenTransaction: {
            bornTimestamp: components["schemas"]["Time"];
            /** Format: int32 */
            checkCount: number;
            /** @description As its producer sent it; `bodyAs=none` leaves the body out. */
            message: components["schemas"]["Message"];
            messageId: string;
            nextCheckAt: components["schemas"]["Time"];
            producerGroup: string;
            transactionHandle: string;
        };
        Problem: {
            code: string;
            detail: string;
            errors?: components["schemas"]["FieldProblem"][];
            instance?: string | null;
            /**
             * Format: int64
             * @description The oldest offset there is, where an older one was asked for.
             */
            minOffset?: number | null;
            outcome: string;
            /** @description Byte of a filter expression, from 0, where it went wrong. */
            position?: number | null;
            requestId?: string | null;
            retryable: boolean;
            /** Format: int32 */
            rocketmqCode: number;
            /** Format: int32 */
            status: number;
            title: string;
            type: string;
        };
        PublishRefused: {
            id?: string | null;
            problem: components["schemas"]["Problem"];
            /** Format: int32 */
            status: number;
        };
        PublishResult: components["schemas"]["Published"] | components["schemas"]["PublishRefused"];
        Published: {
            bodySize: number;
            brokerName: string;
            duplicate?: boolean;
            durability: string;
            id?: string | null;
            messageId: string;
            mode: string;
            offsetMessageId: string;
            /** Format: int32 */
            queueId: number;
            /** Format: int64 */
            queueOffset: number;
            /** @description Takes the message back while it waits for its delivery time. */
            recallHandle?: string | null;
            sendStatus: string;
            /** Format: int32 */
            status?: number | null;
            storeTimestamp: components["schemas"]["Time"];
        };
        /** @description What is told of a half message: what is told of any, and its transaction. */
        PublishedHalf: components["schemas"]["Published"] & {
            expiresAt?: components["schemas"]["Time"] | null;
            /** @description Names the transaction to whoever decides it. */
            transactionHandle: string;
            transactionId: string;
        };
        /** @description What a put answers. */
        PutAnswer_ConsumerGroup: {
            broadcastEnabled: boolean;
            consumeEnabled: boolean;
            consumeTimeout: string;
            /**
             * Format: int64
             * @description Age of the oldest message that is not acked; null if nothing is behind, missing where it was not counted.
             */
            delayMs?: number | null;
            /**
             * Format: int64
             * @description Taken and not acked; missing where it was not counted.
             */
            inflight?: number | null;
            name: string;
            orderly: boolean;
            /**
             * Format: int64
             * @description Deliveries after the first before a message goes to the dead letter queue; -1 is without end.
             */
            retryMaxTimes: number;
            retryPolicy: components["schemas"]["RetryPolicy"];
            /** Format: int32 */
            retryQueues: number;
            startFrom: string;
            /** @description The topics it has received from; in lists that were asked for lag. */
            topics?: string[] | null;
            /**
             * Format: int64
             * @description Stored and not acked; missing where it was not counted.
             */
            totalLag?: number | null;
        } & {
            plan?: components["schemas"]["PutPlan"] | null;
        };
        /** @description What a put answers. */
        PutAnswer_Topic: {
            /** @description RocketMQ's attributes, as far as they were said; `reserve.time` in hours. */
            attributes: {
                [key: string]: string;
            };
            messageType: string;
            name: string;
            perm: string;
            /** Format: int32 */
            readQueues: number;
            system: boolean;
            /** Format: int32 */
            writeQueues: number;
        } & {
            plan?: components["schemas"]["PutPlan"] | null;
        };
        PutChange: {
            /** @description Null where there is nothing yet. */
            from: unknown;
            to: unknown;
        };
        /** @description What a put would do. */
        PutPlan: {
            /** @description By field; nothing, if it is so already. */
            changes: {
                [key: string]: components["schemas"]["PutChange"];
            };
            /** @description It does not exist yet. */
            creates: boolean;
        };
        QueueLag: {
            brokerName: string;
            /** Format: int64 */
            brokerOffset: number;
            /**
             * Format: int64
             * @description Everything below is acked; null before the first receive.
             */
            consumerOffset?: number | null;
            /** Format: int64 */
            inflight: number;
            /** Format: int64 */
            lag: number;
            /**
             * Format: int64
             * @description The next message that nobody of the group has taken.
             */
            pullOffset?: number | null;
            /** Format: int32 */
            queueId: number;
            /**
             * Format: int64
             * @description Of those, delivered before.
             */
            retry: number;
            /**
             * @description Nothing new is handed out before something in flight is settled: the window over the queue is full, in order of
             *     messages whose message groups all have something in flight.
             */
            standsStill: boolean;
        };
        QueueMoved: {
            brokerName: string;
            /**
             * Format: int64
             * @description Messages that it is ahead of where it was, or behind.
             */
            delta: number;
            /**
             * Format: int64
             * @description Null before the group's first receive from this queue.
             */
            from?: number | null;
            /** Format: int32 */
            queueId: number;
            /** Format: int64 */
            to: number;
        };
        QueueOffset: {
            brokerName: string;
            /** Format: int64 */
            offset: number;
            /** Format: int32 */
            queueId: number;
        };
        QueuePage: {
            items: components["schemas"]["Message"][];
            /** Format: int64 */
            maxOffset: number;
            /** Format: int64 */
            minOffset: number;
            /** Format: int64 */
            nextOffset: number;
        };
        /** @description One queue. */
        QueueRef: {
            brokerName: string;
            /** Format: int32 */
            queueId: number;
        };
        Queues: {
            items: components["schemas"]["MessageQueue"][];
        };
        Readiness: {
            checks: components["schemas"]["Check"][];
            status: string;
        };
        /** @description What became of a recall. */
        Recalled: {
            /** @enum {string} */
            outcome: "recalled" | "alreadyDelivered";
        };
        ReceiveIn: {
            /** @description Names this receive: sent again with the same name, it gets the same messages again */
            attemptId?: string | null;
            filter?: components["schemas"]["Filter"] | null;
            /**
             * @description Length of the lease, 10 s to 12 h
             * @default 60s
             */
            invisibleDuration: string | null;
            /**
             * Format: int32
             * @default 1
             */
            maxMessages: number | null;
            topic: string;
        };
        Received: {
            messages: components["schemas"]["Message"][];
        };
        ResendIn: {
            from?: string | null;
            /**
             * Format: int32
             * @default 1000
             */
            limit: number | null;
            /** @description These; or else those given up from a time to a time */
            messageIds?: string[] | null;
            /**
             * Format: int32
             * @description At most so many a second, as far as the request's time allows: `limit` may be as many as fit, and is if it is missing
             */
            ratePerSecond?: number | null;
            /**
             * @description `originalTopic`, where all its groups receive it; `retry`, where this group alone receives the message again that it
             *     gave up; or `{"topic": …}`
             */
            target?: unknown;
            to?: string | null;
        };
        /** @description What became of one dead letter. */
        ResendResult: {
            /** @description Of the dead letter. */
            messageId: string;
            /** @description Missing in a dry run. With `retry` the id of the message that was given up: it is delivered again. */
            newMessageId?: string | null;
            problem?: components["schemas"]["Problem"] | null;
            /** Format: int32 */
            status: number;
            target?: string | null;
        };
        ResendResults: {
            results: components["schemas"]["ResendResult"][];
            summary: components["schemas"]["ResendSummary"];
        };
        ResendSummary: {
            failed: number;
            ok: number;
        };
        ResetOffsetsIn: {
            /** @description Also while the group consumes */
            force?: boolean | null;
            /** @description All, if they are missing */
            queues?: components["schemas"]["QueueRef"][] | null;
            to: components["schemas"]["ResetTo"];
            topic: string;
        };
        /** @description One of the three. */
        ResetTo: {
            /** Format: int64 */
            offset?: number | null;
            /** @description `min` or `max` */
            position?: string | null;
            /** @description The first message stored at or after this time */
            timestamp?: string | null;
        };
        RetryPolicy: {
            next: string[];
            /** @enum {string} */
            type: "customized";
        } | {
            initial: string;
            max: string;
            /** Format: float */
            multiplier: number;
            /** @enum {string} */
            type: "exponential";
        };
        Scan: {
            /** @description Nothing that was asked for is left. */
            complete: boolean;
            from?: components["schemas"]["Time"] | null;
            /**
             * Format: int64
             * @description Messages looked at, those that the filter did not want included.
             */
            scanned: number;
            to?: components["schemas"]["Time"] | null;
        };
        SettleEntry: {
            /** @enum {string} */
            action: "ack" | "nack" | "extend";
            /** @description With `extend` */
            invisibleDuration?: string | null;
            /** @description With `deadLetter` */
            reason?: string | null;
            receiptHandle: string;
            /** @description With `nack` */
            retryAfter?: string | null;
            /** @description With `nack` */
            suspend?: boolean | null;
        };
        SettleIn: {
            entries: components["schemas"]["SettleEntry"][];
        };
        /** @description What became of one entry: after an ack nothing else, after `extend` the new handle, after `nack` when it comes back. */
        SettleResult: {
            dlqTopic?: string | null;
            invisibleUntil?: components["schemas"]["Time"] | null;
            problem?: components["schemas"]["Problem"] | null;
            receiptHandle?: string | null;
            /** Format: int32 */
            status: number;
            visibleAt?: components["schemas"]["Time"] | null;
        };
        Settled: {
            results: components["schemas"]["SettleResult"][];
            summary: components["schemas"]["Summary"];
        };
        SkipOffsetsIn: {
            force?: boolean | null;
            queues?: components["schemas"]["QueueRef"][] | null;
            topic: string;
        };
        Storage: {
            brokerName: string;
            /** Format: int64 */
            commitLogMax: number;
            /** Format: int64 */
            commitLogMin: number;
            /**
             * Format: int64
             * @description Longest commit log in bytes, if there is a limit.
             */
            commitLogSizeMax?: number | null;
            /** @description Local hours in which what is old enough is deleted. */
            deleteWhen: number[];
            /** Format: int64 */
            diskTotal: number;
            /**
             * Format: int64
             * @description Bytes used of the file system on which the store lies, by whomever.
             */
            diskUsed: number;
            earliestMessageAt?: components["schemas"]["Time"] | null;
            /** @description Messages are kept at least so long. */
            reservedTime: string;
            timer: components["schemas"]["Timer"];
        };
        Summary: {
            failed: number;
            ok: number;
        };
        Time: string | number;
        /** @description Messages that wait for their delivery time, by level and by time. */
        Timer: {
            /**
             * Format: int64
             * @description How long the first of them has been due.
             */
            behindMs: number;
            /**
             * Format: int64
             * @description Waiting for their time, without those that were recalled.
             */
            scheduled: number;
        };
        Topic: {
            /** @description RocketMQ's attributes, as far as they were said; `reserve.time` in hours. */
            attributes: {
                [key: string]: string;
            };
            messageType: string;
            name: string;
            perm: string;
            /** Format: int32 */
            readQueues: number;
            system: boolean;
            /** Format: int32 */
            writeQueues: number;
        };
        /** @description A group that receives from the topic. */
        TopicGroup: {
            /**
             * Format: int64
             * @description Messages in the group's dead letter queue, from all of its topics.
             */
            deadLetters: number;
            /**
             * Format: int64
             * @description Age of the oldest message that is not acked; null if nothing is behind.
             */
            delayMs?: number | null;
            /**
             * Format: int32
             * @description The most deliveries that a message in flight has had; 0 if nothing is.
             */
            deliveryAttemptMax: number;
            /**
             * Format: int64
             * @description Taken and not acked.
             */
            inflight: number;
            /**
             * Format: int64
             * @description Stored and not acked.
             */
            lag: number;
            name: string;
            nextVisibleAt?: components["schemas"]["Time"] | null;
            /**
             * Format: int64
             * @description Of those, delivered before.
             */
            retry: number;
        };
        TopicGroups: {
            items: components["schemas"]["TopicGroup"][];
        };
        TopicIn: {
            /**
             * @description RocketMQ's attributes. `reserve.time`: hours after which the topic's messages are gone, if that is sooner than
             *     the broker lets go of them; `-1` and `0` say nothing. `queue.type` and `cleanup.policy` know their defaults alone
             * @example {
             *       "reserve.time": "24"
             *     }
             */
            attributes?: {
                [key: string]: string;
            } | null;
            /**
             * @description Change how many queues a topic with message groups is written to: what is stored from then on may be consumed
             *     before older messages of its group
             */
            force?: boolean | null;
            /** @default normal */
            messageType: components["schemas"]["TopicType"] | null;
            perm?: ("read" | "write" | "readWrite" | "none") | null;
            /**
             * Format: int32
             * @default 8
             */
            readQueues: number | null;
            /**
             * Format: int32
             * @default 8
             */
            writeQueues: number | null;
        };
        TopicLag: {
            /**
             * Format: int64
             * @description Age of the oldest message that is not acked; null if nothing is behind.
             */
            delayMs?: number | null;
            /**
             * Format: int32
             * @description The most deliveries that a message in flight has had; 0 if nothing is.
             */
            deliveryAttemptMax: number;
            /**
             * Format: int64
             * @description Taken and not acked.
             */
            inflight: number;
            /**
             * Format: int64
             * @description Stored and not acked.
             */
            lag: number;
            nextVisibleAt?: components["schemas"]["Time"] | null;
            queues: components["schemas"]["QueueLag"][];
            /**
             * Format: int64
             * @description Stored and not taken by anybody.
             */
            ready: number;
            /**
             * Format: int64
             * @description Of those, delivered before.
             */
            retry: number;
            topic: string;
        };
        TopicStats: components["schemas"]["Traffic"] & {
            /**
             * Format: int64
             * @description Kept now.
             */
            messages: number;
            transactions: components["schemas"]["TransactionStats"];
        };
        /** @enum {string} */
        TopicType: "normal" | "fifo" | "delay" | "transaction" | "mixed";
        Totals: {
            brokers: number;
            groups: number;
            topics: number;
        };
        /** @description Totals since the broker started, rates over the last ten whole seconds. */
        Traffic: {
            /** Format: int64 */
            bytesIn: number;
            /** Format: int64 */
            bytesOut: number;
            /**
             * Format: int64
             * @description Stored.
             */
            messagesIn: number;
            /**
             * Format: int64
             * @description Handed out on leases, repeated deliveries included.
             */
            messagesOut: number;
            /** Format: double */
            tpsIn: number;
            /** Format: double */
            tpsOut: number;
        };
        /** @description The question what became of a transaction: commit it or roll it back by its handle, or leave it open. */
        TransactionCheck: {
            /**
             * Format: int32
             * @description How often it was asked, this time included.
             */
            checkCount: number;
            message: components["schemas"]["Message"];
            /** @description When it is asked again. */
            nextCheckAt: components["schemas"]["Time"];
            transactionHandle: string;
        };
        TransactionPage: {
            items: components["schemas"]["OpenTransaction"][];
            /** @description Goes on where this answer ends. */
            nextCursor?: string | null;
            scan: components["schemas"]["TransactionScan"];
        };
        TransactionScan: {
            /** @description Nothing that was asked for is left. */
            complete: boolean;
            /**
             * Format: int64
             * @description Half messages looked at, those of other topics included.
             */
            scanned: number;
        };
        /** @description Transactions of a topic. */
        TransactionStats: {
            /**
             * Format: int64
             * @description Since the broker started.
             */
            committed: number;
            /**
             * Format: int64
             * @description Nobody has decided them.
             */
            open: number;
            /** Format: int64 */
            rolledBack: number;
        };
        Version: {
            name: string;
            version: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    healthz: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It does */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    metrics: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Prometheus' text format, version 0.0.4 */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/plain": string;
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readyz: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It may */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
            /** @description Not now, and why */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Readiness"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    brokerStats: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                broker: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Totals since it started, rates over the last ten whole seconds */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BrokerStats"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    describeStorage: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                broker: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Its log and its disk */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Storage"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    describeCluster: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What runs here */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Cluster"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listConsumerGroups: {
        parameters: {
            query?: {
                /** @description Only names that begin so */
                prefix?: string;
                /** @description System topics and groups too */
                includeSystem?: boolean;
                limit?: number;
                /** @description `nextCursor` of the page before */
                cursor?: string;
                /** @description Also how far each is */
                lag?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of groups */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Items_ConsumerGroup"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    describeConsumerGroup: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string | null;
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The group */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConsumerGroup"];
                };
            };
            /** @description Not changed */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    putConsumerGroup: {
        parameters: {
            query?: {
                /** @description Say what would change, and change nothing */
                dryRun?: boolean;
            };
            header?: {
                /** @description `*`, or the ETag that was read: replace what exists */
                "If-Match"?: string | null;
                /** @description `*`: only if it does not exist */
                "If-None-Match"?: string | null;
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["GroupIn"];
            };
        };
        responses: {
            /** @description Replaced; with `dryRun`: what would change */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PutAnswer_ConsumerGroup"];
                };
            };
            /** @description Created */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PutAnswer_ConsumerGroup"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It conflicts with what there is */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It exists already, or has changed since */
            412: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It exists: say with `If-Match` that it shall be replaced */
            428: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Known to RocketMQ, and not built here yet */
            501: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    deleteConsumerGroup: {
        parameters: {
            query?: {
                /** @description They always go */
                deleteOffsets?: boolean;
                /** @description Say what would go, and change nothing */
                dryRun?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description With `dryRun`: how far it is, which nobody knows afterwards */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GroupLag"];
                };
            };
            /** @description Deleted */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    patchConsumerGroup: {
        parameters: {
            query?: {
                /** @description Say what would change, and change nothing */
                dryRun?: boolean;
            };
            header: {
                /** @description The ETag that was read, or `*` */
                "If-Match": string;
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/merge-patch+json": components["schemas"]["GroupIn"];
            };
        };
        responses: {
            /** @description Changed; with `dryRun`: what would change */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PutAnswer_ConsumerGroup"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It exists already, or has changed since */
            412: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It exists: say with `If-Match` that it shall be replaced */
            428: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Known to RocketMQ, and not built here yet */
            501: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    describeDeadLetterQueue: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description What is in its dead letter queue */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeadLetterQueue"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    exportDeadLetters: {
        parameters: {
            query?: {
                /** @description `ndjson`, one message a line, if it is missing; or `csv` */
                format?: string;
                /** @description Given up at or after this time */
                from?: string;
                /** @description Given up before this time */
                to?: string;
                /** @description `auto`: text when it is UTF-8, else base64 */
                bodyAs?: "auto" | "text" | "base64" | "json" | "none";
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                /** @description RocketMQ's own properties too */
                systemProperties?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A message a line, as in lists; the last line is `{"scan":…}` */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": string;
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    browseDeadLetters: {
        parameters: {
            query?: {
                /** @description `auto`: text when it is UTF-8, else base64 */
                bodyAs?: "auto" | "text" | "base64" | "json" | "none";
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                /** @description RocketMQ's own properties too */
                systemProperties?: boolean;
                /** @description Stored at or after this time: RFC 3339, or milliseconds since 1970 */
                from?: string;
                /** @description Stored before this time */
                to?: string;
                /** @description A tag expression, such as `a || b` */
                tag?: string;
                /** @description An expression, instead of `tag` */
                filter?: string;
                /** @description `tag` if it is missing */
                filterType?: "tag" | "sql92";
                /** @description `desc`, the newest first, if it is missing */
                order?: "asc" | "desc";
                /** @description One queue alone */
                queueId?: number;
                limit?: number;
                /** @description `nextCursor` of the page before */
                cursor?: string;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of messages; `deadLetter` says where each came from */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagePage"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resendDeadLetters: {
        parameters: {
            query?: {
                /** @description Say what would be sent, and send nothing */
                dryRun?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ResendIn"];
            };
        };
        responses: {
            /** @description All were sent */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ResendResults"];
                };
            };
            /** @description Some were refused */
            207: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ResendResults"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listInFlight: {
        parameters: {
            query?: {
                /** @description One topic alone */
                topic?: string;
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                limit?: number;
                /** @description `nextCursor` of the page before */
                cursor?: string;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of messages in flight */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Items_InFlightMessage"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    queryConsumeOffsets: {
        parameters: {
            query?: {
                /** @description One topic alone */
                topic?: string;
                /** @description `false` leaves the queues out */
                perQueue?: boolean;
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Its lag in messages and in time */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GroupLag"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    cloneOffsets: {
        parameters: {
            query?: {
                /** @description Say what would be moved, and move nothing */
                dryRun?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CloneOffsetsIn"];
            };
        };
        responses: {
            /** @description From where to where; queues that the other group has never received from stay */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OffsetsMoved"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It conflicts with what there is */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resetOffsets: {
        parameters: {
            query?: {
                /** @description Say what would be moved, and move nothing */
                dryRun?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ResetOffsetsIn"];
            };
        };
        responses: {
            /** @description From where to where */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OffsetsMoved"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It conflicts with what there is */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Gone: the lease is over or superseded, or the offset is no longer kept */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    skipOffsets: {
        parameters: {
            query?: {
                /** @description Say what would be skipped, and skip nothing */
                dryRun?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SkipOffsetsIn"];
            };
        };
        responses: {
            /** @description From where to where */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OffsetsMoved"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It conflicts with what there is */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    popMessages: {
        parameters: {
            query?: {
                /** @description `auto`: text when it is UTF-8, else base64 */
                bodyAs?: "auto" | "text" | "base64" | "json" | "none";
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                /** @description RocketMQ's own properties too */
                systemProperties?: boolean;
                topic?: string;
                maxMessages?: number;
                invisibleDuration?: string;
                /** @description An expression */
                filter?: string;
                /** @description `tag` if it is missing */
                filterType?: "tag" | "sql92";
                /** @description Names this receive: sent again with the same name, it gets the same messages again */
                attemptId?: string;
            };
            header?: {
                /**
                 * @description `wait=20`: seconds to wait for a first message, 30 at most
                 * @example wait=20
                 */
                Prefer?: string | null;
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ReceiveIn"] | null;
            };
        };
        responses: {
            /** @description Up to `maxMessages`; with `Accept: application/vnd.gantry.raw` the one message's own bytes, its metadata in headers */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Received"];
                    "*/*": number[];
                };
            };
            /** @description With `Accept: application/vnd.gantry.raw`: no message */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Nothing here can be sent as what `Accept` asks for */
            406: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It conflicts with what there is */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Known to RocketMQ, and not built here yet */
            501: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    updateConsumeOffsets: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                group: string;
                topic: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OffsetsIn"];
            };
        };
        responses: {
            /** @description All were taken */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OffsetResults"];
                };
            };
            /** @description Some were refused */
            207: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OffsetResults"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    limits: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The limits */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Limits"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    readMessage: {
        parameters: {
            query?: {
                /** @description `auto`: text when it is UTF-8, else base64 */
                bodyAs?: "auto" | "text" | "base64" | "json" | "none";
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                /** @description RocketMQ's own properties too */
                systemProperties?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                /** @description 32 or 56 hex digits */
                offsetMessageId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The message */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    checkTransactions: {
        parameters: {
            query?: {
                /** @description `auto`: text when it is UTF-8, else base64 */
                bodyAs?: "auto" | "text" | "base64" | "json" | "none";
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                /** @description RocketMQ's own properties too */
                systemProperties?: boolean;
            };
            header?: {
                /**
                 * @description `wait=20`: seconds to wait for a first check, 30 at most
                 * @example wait=1
                 */
                Prefer?: string | null;
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                producerGroup: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["CheckTransactionsIn"] | null;
            };
        };
        responses: {
            /** @description Up to `maxMessages` */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Checks"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    settleMessages: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SettleIn"];
            };
        };
        responses: {
            /** @description All were settled */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Settled"];
                };
            };
            /** @description Some were refused */
            207: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Settled"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    ackMessage: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                /** @description As it was received */
                handle: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Done with, also when it was before */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Gone: the lease is over or superseded, or the offset is no longer kept */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    changeInvisibleDuration: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                /** @description As it was received */
                handle: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ExtendIn"];
            };
        };
        responses: {
            /** @description A new handle; the old one is void */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Extended"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Gone: the lease is over or superseded, or the offset is no longer kept */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    forwardMessageToDeadLetterQueue: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                /** @description As it was received */
                handle: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["DeadLetterIn"] | null;
            };
        };
        responses: {
            /** @description Where it is, also when it was settled before */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeadLettered"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Gone: the lease is over or superseded, or the offset is no longer kept */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    nackMessage: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                /** @description As it was received */
                handle: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["NackIn"] | null;
            };
        };
        responses: {
            /** @description When it comes back */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Nacked"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Gone: the lease is over or superseded, or the offset is no longer kept */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    recallMessage: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                /** @description As the publish answered it */
                recallHandle: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Whether it came in time */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Recalled"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The time is over; `outcome` says whether anything can have happened */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listTopics: {
        parameters: {
            query?: {
                /** @description Only names that begin so */
                prefix?: string;
                /** @description System topics and groups too */
                includeSystem?: boolean;
                limit?: number;
                /** @description `nextCursor` of the page before */
                cursor?: string;
                /** @description Only topics of this type */
                messageType?: string;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of topics */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Items_Topic"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    describeTopic: {
        parameters: {
            query?: never;
            header?: {
                "If-None-Match"?: string | null;
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The topic */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Topic"];
                };
            };
            /** @description Not changed */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    putTopic: {
        parameters: {
            query?: {
                /** @description Say what would change, and change nothing */
                dryRun?: boolean;
            };
            header?: {
                /** @description `*`, or the ETag that was read: replace what exists */
                "If-Match"?: string | null;
                /** @description `*`: only if it does not exist */
                "If-None-Match"?: string | null;
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["TopicIn"];
            };
        };
        responses: {
            /** @description Replaced; with `dryRun`: what would change */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PutAnswer_Topic"];
                };
            };
            /** @description Created */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PutAnswer_Topic"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It conflicts with what there is */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It exists already, or has changed since */
            412: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It exists: say with `If-Match` that it shall be replaced */
            428: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    deleteTopic: {
        parameters: {
            query?: {
                /** @description Say what would go, and change nothing */
                dryRun?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description With `dryRun`: what would go */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeleteImpact"];
                };
            };
            /** @description Deleted */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    patchTopic: {
        parameters: {
            query?: {
                /** @description Say what would change, and change nothing */
                dryRun?: boolean;
            };
            header: {
                /** @description The ETag that was read, or `*` */
                "If-Match": string;
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/merge-patch+json": components["schemas"]["TopicIn"];
            };
        };
        responses: {
            /** @description Changed; with `dryRun`: what would change */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PutAnswer_Topic"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It exists already, or has changed since */
            412: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It exists: say with `If-Match` that it shall be replaced */
            428: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listTopicGroups: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description How far each is */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TopicGroups"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    browseMessages: {
        parameters: {
            query?: {
                /** @description `auto`: text when it is UTF-8, else base64 */
                bodyAs?: "auto" | "text" | "base64" | "json" | "none";
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                /** @description RocketMQ's own properties too */
                systemProperties?: boolean;
                /** @description Stored at or after this time: RFC 3339, or milliseconds since 1970 */
                from?: string;
                /** @description Stored before this time */
                to?: string;
                /** @description A tag expression, such as `a || b` */
                tag?: string;
                /** @description An expression, instead of `tag` */
                filter?: string;
                /** @description `tag` if it is missing */
                filterType?: "tag" | "sql92";
                /** @description `desc`, the newest first, if it is missing */
                order?: "asc" | "desc";
                /** @description One queue alone */
                queueId?: number;
                limit?: number;
                /** @description `nextCursor` of the page before */
                cursor?: string;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of messages */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagePage"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    sendMessage: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header?: {
                /** @description One label, by which consumers choose */
                "Gantry-Tag"?: string | null;
                /** @description Words by which the message is found, separated by commas */
                "Gantry-Keys"?: string | null;
                /**
                 * @description `name=value`, percent-encoded; several headers, or several pairs separated by commas
                 * @example Region=eu
                 */
                "Gantry-Property"?: string | null;
                /** @description Messages of one group are delivered in order; needed on a FIFO topic */
                "Gantry-Message-Group"?: string | null;
                /**
                 * @description Delivered so long after it was stored, 40 days at most; one of three
                 * @example 10m
                 */
                "Gantry-Delay"?: string | null;
                /**
                 * @description Delivered at this time: RFC 3339, or milliseconds since 1970
                 * @example 2030-01-31T08:00:00Z
                 */
                "Gantry-Deliver-At"?: string | null;
                /** @description Delivered after RocketMQ's pause with this number */
                "Gantry-Delay-Level"?: number | null;
                /** @description The producer's own id of the message */
                "Gantry-Message-Id"?: string | null;
                /**
                 * @description Pins the message to a queue: `broker/queueId`
                 * @example broker-a/0
                 */
                "Gantry-Queue"?: string | null;
                /** @description At most one stored message per key and topic within ten minutes */
                "Idempotency-Key"?: string | null;
                /** @description RFC 9530: checked before anything is stored */
                "Content-Digest"?: string | null;
                /** @description W3C trace context, kept with the message */
                traceparent?: string | null;
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "*/*": number[];
                "application/vnd.gantry.message+json": components["schemas"]["Envelope"];
            };
        };
        responses: {
            /** @description Stored before under the same idempotency key */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Published"];
                };
            };
            /** @description Stored as the broker promises */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Published"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It conflicts with what there is */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The idempotency key stands for another message */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Known to RocketMQ, and not built here yet */
            501: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The time is over; `outcome` says whether anything can have happened */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    sendMessages: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                ordered?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BatchIn"];
                "application/x-ndjson": string;
            };
        };
        responses: {
            /** @description All were stored */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Many_PublishResult"];
                };
            };
            /** @description Some were refused */
            207: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Many_PublishResult"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Known to RocketMQ, and not built here yet */
            501: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The time is over; `outcome` says whether anything can have happened */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    queryMessages: {
        parameters: {
            query: {
                /** @description `auto`: text when it is UTF-8, else base64 */
                bodyAs?: "auto" | "text" | "base64" | "json" | "none";
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                /** @description RocketMQ's own properties too */
                systemProperties?: boolean;
                /** @description One of a message's keys, or its id */
                key: string;
                /** @description Stored at or after this time: RFC 3339, or milliseconds since 1970 */
                from?: string;
                /** @description Stored before this time */
                to?: string;
                limit?: number;
                /** @description `nextCursor` of the page before */
                cursor?: string;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of messages */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessagePage"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    findMessage: {
        parameters: {
            query?: {
                /** @description `auto`: text when it is UTF-8, else base64 */
                bodyAs?: "auto" | "text" | "base64" | "json" | "none";
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                /** @description RocketMQ's own properties too */
                systemProperties?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
                messageId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The message */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    downloadBody: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
                messageId: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description As they were stored */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": number[];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    queryQueueOffsets: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description By queue id */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Queues"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    pullMessages: {
        parameters: {
            query?: {
                /** @description `auto`: text when it is UTF-8, else base64 */
                bodyAs?: "auto" | "text" | "base64" | "json" | "none";
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                /** @description RocketMQ's own properties too */
                systemProperties?: boolean;
                /** @description The oldest one if it is missing */
                offset?: number;
                /** @description Instead of an offset: `min`, `max`, or the first message stored at or after this time */
                at?: string;
                limit?: number;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
                broker: string;
                queueId: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Messages from the offset on */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QueuePage"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Gone: the lease is over or superseded, or the offset is no longer kept */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Known to RocketMQ, and not built here yet */
            501: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    queryOffset: {
        parameters: {
            query: {
                /** @description `min`, `max`, or a time: RFC 3339, or milliseconds since 1970 */
                at: string;
                /** @description With a time: `lower`, if it is missing, is the first message stored then or later; `upper` the last one stored then or earlier */
                boundary?: string;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
                broker: string;
                queueId: number;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The offset; the queue's end if all messages are older */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OffsetOut"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    topicStats: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Totals since the broker started, rates over the last ten whole seconds */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TopicStats"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    listTransactions: {
        parameters: {
            query?: {
                producerGroup?: string;
                /** @description Born so long ago, such as `1m` */
                olderThan?: string;
                limit?: number;
                /** @description `nextCursor` of the page before */
                cursor?: string;
                /** @description `auto`: text when it is UTF-8, else base64 */
                bodyAs?: "auto" | "text" | "base64" | "json" | "none";
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
                /** @description RocketMQ's own properties too */
                systemProperties?: boolean;
            };
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of them */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TransactionPage"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    sendHalfMessage: {
        parameters: {
            query?: {
                /** @description `ms` writes every time as milliseconds since 1970 */
                timeFormat?: "rfc3339" | "ms";
            };
            header: {
                /** @description One label, by which consumers choose */
                "Gantry-Tag"?: string | null;
                /** @description Words by which the message is found, separated by commas */
                "Gantry-Keys"?: string | null;
                /**
                 * @description `name=value`, percent-encoded; several headers, or several pairs separated by commas
                 * @example Region=eu
                 */
                "Gantry-Property"?: string | null;
                /** @description Messages of one group are delivered in order; needed on a FIFO topic */
                "Gantry-Message-Group"?: string | null;
                /**
                 * @description Delivered so long after it was stored, 40 days at most; one of three
                 * @example 10m
                 */
                "Gantry-Delay"?: string | null;
                /**
                 * @description Delivered at this time: RFC 3339, or milliseconds since 1970
                 * @example 2030-01-31T08:00:00Z
                 */
                "Gantry-Deliver-At"?: string | null;
                /** @description Delivered after RocketMQ's pause with this number */
                "Gantry-Delay-Level"?: number | null;
                /** @description The producer's own id of the message */
                "Gantry-Message-Id"?: string | null;
                /**
                 * @description Pins the message to a queue: `broker/queueId`
                 * @example broker-a/0
                 */
                "Gantry-Queue"?: string | null;
                /** @description At most one stored message per key and topic within ten minutes */
                "Idempotency-Key"?: string | null;
                /** @description RFC 9530: checked before anything is stored */
                "Content-Digest"?: string | null;
                /** @description W3C trace context, kept with the message */
                traceparent?: string | null;
                /** @description Whose members can say what became of the transaction */
                "Gantry-Producer-Group": string;
                /** @description When it is asked first what became of it, such as `30s`; an hour at most */
                "Gantry-Check-After"?: string | null;
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                topic: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "*/*": number[];
                "application/vnd.gantry.message+json": components["schemas"]["Envelope"];
            };
        };
        responses: {
            /** @description Stored before under the same idempotency key */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublishedHalf"];
                };
            };
            /** @description Stored as the broker promises */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PublishedHalf"];
                };
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not allowed: a system name, or switched off */
            403: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It conflicts with what there is */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too large */
            413: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A media type that is not read here */
            415: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The idempotency key stands for another message */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Known to RocketMQ, and not built here yet */
            501: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The time is over; `outcome` says whether anything can have happened */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    commitTransaction: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                transactionHandle: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Committed, now or before */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description There is no such thing */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It conflicts with what there is */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Gone: the lease is over or superseded, or the offset is no longer kept */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The time is over; `outcome` says whether anything can have happened */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    rollBackTransaction: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path: {
                transactionHandle: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Rolled back, now or before */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description The request is malformed; `errors` names the place */
            400: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description No credentials, or wrong ones; only where users are configured */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description It conflicts with what there is */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Gone: the lease is over or superseded, or the offset is no longer kept */
            410: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description An error of ours; the log has it under the request's id */
            500: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not now: overloaded, stopping, or the store has failed */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The time is over; `outcome` says whether anything can have happened */
            504: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description The disk is full */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    version: {
        parameters: {
            query?: never;
            header?: {
                /** @description Names the request in the answer and in the logs; made if it is missing */
                "Gantry-Request-Id"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Name and version */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Version"];
                };
            };
            /** @description Any other refusal */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
