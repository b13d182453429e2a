/** The API's nouns under short names; what they are is said in the generated document types alone. */

import type { components } from "./generated";

type Schemas = components["schemas"];

export type Broker = Schemas["Broker"];
export type BrokerStats = Schemas["BrokerStats"];
export type BrokerStorage = Schemas["Storage"];
export type Cluster = Schemas["Cluster"];
export type DeadLetterQueue = Schemas["DeadLetterQueue"];
export type DeletePlan = Schemas["DeleteImpact"];
export type FieldProblem = Schemas["FieldProblem"];
export type Group = Schemas["ConsumerGroup"];
export type GroupIn = Schemas["GroupIn"];
/** What is left out stays as it is. */
export type GroupPatch = Partial<Schemas["GroupIn"]>;
export type GroupLag = Schemas["GroupLag"];
export type InFlightMessage = Schemas["InFlightMessage"];
export type Message = Schemas["Message"];
export type MessagePage = Schemas["MessagePage"];
/** What is left out gets the broker's default. */
export type NewGroup = Partial<Schemas["GroupIn"]>;
export type NewMessage = Schemas["Envelope"];
export type NewTopic = Partial<Schemas["TopicIn"]>;
export type OffsetsMoved = Schemas["OffsetsMoved"];
export type OpenTransaction = Schemas["OpenTransaction"];
export type ProblemDocument = Schemas["Problem"];
export type Published = Schemas["Published"];
export type PublishResult = Schemas["PublishResult"];
export type Queue = Schemas["MessageQueue"];
export type QueueLag = Schemas["QueueLag"];
export type QueueMoved = Schemas["QueueMoved"];
export type ResendRequest = Partial<Schemas["ResendIn"]>;
export type ResendResults = Schemas["ResendResults"];
export type ResetRequest = Schemas["ResetOffsetsIn"];
export type Time = Schemas["Time"];
export type Topic = Schemas["Topic"];
export type TopicGroup = Schemas["TopicGroup"];
export type TopicIn = Schemas["TopicIn"];
/** The types of topics that the API makes. */
export type TopicType = Schemas["TopicType"];
export type TopicLag = Schemas["TopicLag"];
