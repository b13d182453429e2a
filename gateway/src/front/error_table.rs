//! Each protocol's words for an error, side by side. The only place where an error becomes a status.
//!
//! No catch-all arm: a new error must choose its words here before anything builds.

use gantry_broker_core::BrokerError as B;
use gantry_broker_core::message::MessageError as M;
use gantry_proto::grpc::v2::Code;

use crate::error::GatewayError as G;

/// How an error reads in every protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub http: u16,
    /// The stable `code` of a problem document.
    pub code: &'static str,
    pub title: &'static str,
    /// The code inside a gRPC reply's own status.
    pub grpc: Code,
    /// The identical request may be repeated.
    pub retryable: bool,
    pub outcome: Outcome,
}

/// What an error says of the request's effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    NotApplied,
    Unknown,
}

const fn refused(http: u16, code: &'static str, title: &'static str, grpc: Code) -> Answer {
    Answer { http, code, title, grpc, retryable: false, outcome: Outcome::NotApplied }
}

const fn try_again(http: u16, code: &'static str, title: &'static str, grpc: Code) -> Answer {
    Answer { http, code, title, grpc, retryable: true, outcome: Outcome::NotApplied }
}

const fn unknown(http: u16, code: &'static str, title: &'static str, grpc: Code) -> Answer {
    Answer { http, code, title, grpc, retryable: true, outcome: Outcome::Unknown }
}

#[rustfmt::skip]
pub fn answer(error: &G) -> Answer {
    match error {
        G::Broker(error) => broker_answer(error),
        G::At { error, .. } => answer(error),
        //                                      HTTP  code                       title                              gRPC
        G::MalformedRequest { .. }     => refused(400, "malformed_request",      "Malformed request",               Code::BadRequest),
        G::UnknownField { .. }         => refused(400, "unknown_field",          "Unknown field",                   Code::BadRequest),
        G::InvalidParameter { .. }     => refused(400, "invalid_parameter",      "Invalid parameter",               Code::BadRequest),
        G::InvalidDuration { .. }      => refused(400, "invalid_duration",       "Invalid duration",                Code::BadRequest),
        G::InvalidTimestamp { .. }     => refused(400, "invalid_timestamp",      "Invalid timestamp",               Code::BadRequest),
        G::InvalidCursor               => refused(400, "invalid_cursor",         "Invalid cursor",                  Code::BadRequest),
        G::InvalidProducerGroup(_)     => refused(400, "invalid_group",          "Invalid group name",              Code::BadRequest),
        G::InvalidDeliveryTime { .. }  => refused(400, "invalid_delivery_time",  "Invalid delivery time",           Code::IllegalDeliveryTime),
        G::InvalidWait { .. }          => refused(400, "invalid_wait",           "Invalid wait",                    Code::IllegalPollingTime),
        G::MessageCorrupted { .. }     => refused(400, "message_corrupted",      "Message corrupted",               Code::MessageCorrupted),
        G::MixedTopics                 => refused(400, "message_corrupted",      "Message corrupted",               Code::MessageCorrupted),
        G::Unauthenticated { .. }      => refused(401, "unauthenticated",        "Not authenticated",               Code::Unauthorized),
        G::OtherSite                   => refused(403, "permission_denied",      "Permission denied",               Code::Forbidden),
        G::NotFound                    => refused(404, "not_found",              "Not found",                       Code::NotFound),
        G::BrokerNotFound { .. }       => refused(404, "broker_not_found",       "Broker not found",                Code::NotFound),
        G::MethodNotAllowed { .. }     => refused(405, "method_not_allowed",     "Method not allowed",              Code::BadRequest),
        G::NotAcceptable { .. }        => refused(406, "not_acceptable",         "Not acceptable",                  Code::BadRequest),
        G::RequestTooLarge { .. }      => refused(413, "request_too_large",      "Request too large",               Code::PayloadTooLarge),
        G::UnsupportedMediaType { .. } => refused(415, "unsupported_media_type", "Unsupported media type",          Code::BadRequest),
        G::HeadersTooLarge { .. }      => refused(431, "headers_too_large",      "Headers too large",               Code::RequestHeaderFieldsTooLarge),
        G::Internal { .. }             => unknown(500, "internal",               "Internal error",                  Code::InternalServerError),
        G::NotImplemented { .. }       => refused(501, "not_implemented",        "Not implemented",                 Code::NotImplemented),
        G::NotSupportedByBroker { .. } => refused(501, "not_supported_by_broker", "Not supported by the broker",    Code::Unsupported),
        G::BrokerUnavailable { .. }    => try_again(503, "broker_unavailable",   "Broker unavailable",              Code::BadRequest),
        G::NoRoute { .. }              => try_again(503, "no_route",             "No route",                        Code::Forbidden),
        G::DeadlineExceeded { .. }     => unknown(504, "deadline_exceeded",      "Deadline exceeded",               Code::ProxyTimeout),
        G::IllegalOffset { .. }        => refused(400, "invalid_offset",         "Invalid offset",                  Code::IllegalOffset),
        G::OffsetNotFound              => refused(404, "offset_not_found",       "Offset not found",                Code::OffsetNotFound),
        G::ClientNotOnline { .. }      => refused(404, "client_not_online",      "Client not online",               Code::NotFound),
        G::IllegalAccessPoint { .. }   => refused(400, "invalid_parameter",      "Invalid parameter",               Code::IllegalAccessPoint),
        G::ClientIdRequired            => refused(400, "invalid_parameter",      "Invalid parameter",               Code::ClientIdRequired),
        G::UnrecognizedClientType { .. } => refused(400, "invalid_parameter",    "Invalid parameter",               Code::UnrecognizedClientType),
        G::InvalidClientProperties { .. } => refused(400, "invalid_parameter",   "Invalid parameter",               Code::InvalidClientProperties),
    }
}

#[rustfmt::skip]
fn broker_answer(error: &B) -> Answer {
    match error {
        B::Message(error) => message_answer(error),
        //                                         HTTP  code                          title                          gRPC
        B::InvalidTopic(_)              => refused(400, "invalid_topic",               "Invalid topic name",          Code::IllegalTopic),
        B::InvalidConsumerGroup(_)      => refused(400, "invalid_group",               "Invalid group name",          Code::IllegalConsumerGroup),
        B::MessageTypeMismatch { .. }   => refused(400, "message_type_mismatch",       "Message type mismatch",       Code::MessagePropertyConflictWithType),
        B::InvalidOffset { .. }         => refused(400, "invalid_offset",              "Invalid offset",              Code::IllegalOffset),
        B::InvalidFilter { .. }         => refused(400, "invalid_filter",              "Invalid filter",              Code::IllegalFilterExpression),
        B::InvalidInvisibleDuration { .. } => refused(400, "invalid_invisible_duration", "Invalid invisible duration", Code::IllegalInvisibleTime),
        B::InvalidParameter { .. }      => refused(400, "invalid_parameter",           "Invalid parameter",           Code::BadRequest),
        B::InvalidReceiptHandle         => refused(400, "invalid_receipt_handle",      "Invalid receipt handle",      Code::InvalidReceiptHandle),
        B::InvalidRecallHandle          => refused(400, "invalid_recall_handle",       "Invalid recall handle",       Code::BadRequest),
        B::InvalidTransactionHandle     => refused(400, "invalid_transaction_handle",  "Invalid transaction handle",  Code::InvalidTransactionId),
        B::SystemTopic { .. }           => refused(403, "system_resource",             "Reserved for the system",     Code::IllegalTopic),
        B::SystemConsumerGroup { .. }   => refused(403, "system_resource",             "Reserved for the system",     Code::IllegalConsumerGroup),
        B::TopicNotWritable { .. }      => refused(403, "topic_not_writable",          "Topic not writable",          Code::Forbidden),
        B::TopicNotReadable { .. }      => refused(403, "topic_not_readable",          "Topic not readable",          Code::Forbidden),
        B::ConsumeDisabled { .. }       => refused(403, "permission_denied",           "Consuming is switched off",   Code::Forbidden),
        B::TopicNotFound { .. }         => refused(404, "topic_not_found",             "Topic not found",             Code::TopicNotFound),
        B::ConsumerGroupNotFound { .. } => refused(404, "group_not_found",             "Group not found",             Code::ConsumerGroupNotFound),
        B::QueueNotFound { .. }         => refused(404, "not_found",                   "Queue not found",             Code::NotFound),
        B::MessageNotFound              => refused(404, "message_not_found",           "Message not found",           Code::MessageNotFound),
        B::TopicExists { .. }           => refused(409, "already_exists",              "Topic exists already",        Code::BadRequest),
        B::ConsumerGroupExists { .. }   => refused(409, "already_exists",              "Group exists already",        Code::BadRequest),
        B::GroupOnline { .. }           => refused(409, "group_online",                "Group is consuming",          Code::PreconditionFailed),
        B::IdempotencyInProgress        => try_again(409, "idempotency_in_progress",   "Still being stored",          Code::TooManyRequests),
        B::TransactionResolved { .. }   => refused(409, "transaction_resolved",        "Decided otherwise",           Code::PreconditionFailed),
        B::TransactionExpired           => refused(410, "transaction_expired",         "Transaction given up",        Code::InvalidTransactionId),
        B::OffsetExpired { .. }         => refused(410, "offset_expired",              "Offset expired",              Code::IllegalOffset),
        B::ReceiptExpired               => refused(410, "receipt_expired",             "Receipt handle expired",      Code::InvalidReceiptHandle),
        B::ReceiptSuperseded            => refused(410, "receipt_superseded",          "Receipt handle superseded",   Code::InvalidReceiptHandle),
        B::VersionMismatch { .. }       => refused(412, "etag_mismatch",               "Changed since",               Code::PreconditionFailed),
        B::VersionRequired { .. }       => refused(428, "precondition_required",       "Precondition required",       Code::PreconditionFailed),
        B::BatchTooLarge { .. }         => refused(413, "batch_too_large",             "Batch too large",             Code::PayloadTooLarge),
        B::IdempotencyKeyReused         => refused(422, "idempotency_key_reused",      "Idempotency key reused",      Code::BadRequest),
        B::Storage { .. }               => unknown(500, "internal",                    "Storage error",               Code::InternalServerError),
        B::NotImplemented { .. }        => refused(501, "not_implemented",             "Not implemented",             Code::NotImplemented),
        B::Overloaded { .. }            => try_again(503, "overloaded",                "Overloaded",                  Code::TooManyRequests),
        B::Draining                     => try_again(503, "draining",                  "Stopping",                    Code::InternalServerError),
        B::ReadOnly { .. }              => refused(503, "read_only",                   "Read-only",                   Code::InternalServerError),
        B::OutcomeUnknown { .. }        => unknown(504, "outcome_unknown",             "Outcome unknown",             Code::MasterPersistenceTimeout),
        B::StorageFull                  => try_again(507, "storage_full",              "Storage full",                Code::InternalServerError),
    }
}

#[rustfmt::skip]
fn message_answer(error: &M) -> Answer {
    match error {
        M::EmptyBody                  => refused(400, "empty_body",            "Empty body",            Code::MessageBodyEmpty),
        M::InvalidTag { .. }          => refused(400, "invalid_tag",           "Invalid tag",           Code::IllegalMessageTag),
        M::InvalidKey { .. }          => refused(400, "invalid_key",           "Invalid key",           Code::IllegalMessageKey),
        M::InvalidProperty { .. }     => refused(400, "invalid_property",      "Invalid property",      Code::IllegalMessagePropertyKey),
        M::InvalidMessageGroup { .. } => refused(400, "invalid_message_group", "Invalid message group", Code::IllegalMessageGroup),
        M::ConflictingTypes { .. }    => refused(400, "message_type_mismatch", "Message type mismatch", Code::MessagePropertyConflictWithType),
        M::InvalidDeliveryTime { .. } => refused(400, "invalid_delivery_time", "Invalid delivery time", Code::IllegalDeliveryTime),
        M::InvalidCheckTime { .. }    => refused(400, "invalid_duration",      "Invalid duration",      Code::BadRequest),
        M::InvalidUniqueKey { .. }    => refused(400, "invalid_message_id",    "Invalid message id",    Code::IllegalMessageId),
        M::BodyTooLarge { .. }        => refused(413, "message_too_large",     "Message too large",     Code::MessageBodyTooLarge),
        M::PropertiesTooLarge { .. }  => refused(431, "properties_too_large",  "Properties too large",  Code::MessagePropertiesTooLarge),
    }
}
