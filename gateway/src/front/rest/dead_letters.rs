//! Dead letters of a consumer group: how many, which, and sending them once more.
//!
//! A dead letter stays where it is: what is sent once more is another message, with an id of its own.

use axum::extract::{Request, State};
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::BrowseMessages;
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::message::{Message, MessageError, StoredMessage, property, sys_flag};
use gantry_broker_core::names::{ConsumerGroup, TopicName};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::browse::{BrowsedPage, Look, Missing, browse};
use super::json::Fields;
use super::offsets::DRY_RUN;
use super::openapi::{ResendIn, TimeParams, ViewParams};
use super::problem::Problem;
use super::request::{Query, Segments, consumer_group, json, read_json, topic_name};
use super::units::Time;
use super::{Answer, RestState, Shared};
use crate::error::GatewayError;
use crate::messaging::OutgoingMessage;

/// Most messages of one resend.
const RESEND_MAX: u32 = 1_000;
/// A resend by time reads dead letters in pieces of so many bytes.
const READ_BYTES_MAX: u32 = 8 * 1024 * 1024;

/// The dead letters of a group.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetterQueue)]
struct DeadLetters {
    /// RocketMQ's name for where they are.
    topic: String,
    count: u64,
    /// When the oldest was given up.
    #[schema(value_type = Option<Time>)]
    oldest: Option<Time>,
    /// When the newest was given up.
    #[schema(value_type = Option<Time>)]
    newest: Option<Time>,
}

/// How many messages a consumer group has given up
#[utoipa::path(get, path = "/v1/groups/{group}/dlq", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), TimeParams), responses((status = 200, description = "What is in its dead letter queue", body = DeadLetters)))]
pub(super) async fn describe_dead_letter_queue(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
) -> Answer {
    let as_ms = query.take_time_format()?;
    query.end()?;
    let topic = dead_letter_queue(&state, &group).await?;
    let queues = match state.messaging.broker.query_queue_offsets(topic.clone()).await {
        Ok(queues) => queues,
        Err(BrokerError::TopicNotFound { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let count = queues.iter().map(|queue| queue.max_offset.0 - queue.min_offset.0).sum();
    let newest = queues.iter().filter_map(|queue| queue.last_update).max();
    let oldest = match count {
        0 => None,
        _ => {
            let seen = state.messaging.broker.browse_messages(look(topic.clone(), 1, None, None)).await?;
            seen.messages.first().map(|letter| letter.store_timestamp)
        }
    };
    let time = |at| Time { at, as_ms };
    let answer = DeadLetters { topic: topic.to_string(), count, oldest: oldest.map(time), newest: newest.map(time) };
    Ok(json(StatusCode::OK, &answer))
}

/// Dead letters of a consumer group by time
#[utoipa::path(get, path = "/v1/groups/{group}/dlq/messages", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ViewParams, Look), responses((status = 200, description = "A page of messages; `deadLetter` says where each came from", body = BrowsedPage)))]
pub(super) async fn browse_dead_letters(
    State(state): Shared,
    Segments(group): Segments<String>,
    query: Query,
) -> Answer {
    let topic = dead_letter_queue(&state, &group).await?;
    browse(&state, topic, query, Missing::IsEmpty).await
}

/// What is sent once more, and where to.
#[derive(Debug)]
struct Resend {
    which: Which,
    target: Target,
}

#[derive(Debug)]
enum Which {
    Ids(Vec<String>),
    Stored { from: Timestamp, to: Timestamp, limit: u32 },
}

#[derive(Debug, Clone)]
enum Target {
    OriginalTopic,
    Topic(TopicName),
}

fn read_resend(text: &[u8]) -> Result<Resend, GatewayError> {
    let mut fields = Fields::parse(text)?;
    let ids = fields.texts("messageIds")?;
    let (from, to) = (fields.time("from")?, fields.time("to")?);
    let limit = fields.count("limit")?;
    let which = match ids {
        Some(_) if from.is_some() || to.is_some() || limit.is_some() => {
            return Err(fields.refuse("messageIds", "give ids, or a time from which to which"));
        }
        Some(ids) if ids.is_empty() || ids.len() > RESEND_MAX as usize => {
            return Err(fields.refuse("messageIds", format!("must be 1 to {RESEND_MAX} ids")));
        }
        Some(ids) => Which::Ids(ids.into_iter().map(std::borrow::Cow::into_owned).collect()),
        None => {
            let limit = limit.unwrap_or(RESEND_MAX);
            if !(1..=RESEND_MAX).contains(&limit) {
                return Err(fields.refuse("limit", format!("must be 1 to {RESEND_MAX}")));
            }
            Which::Stored { from: fields.required("from", from)?, to: fields.required("to", to)?, limit }
        }
    };
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        OriginalTopic,
        Retry,
    }
    let target = match fields.word("target", &[("originalTopic", Word::OriginalTopic), ("retry", Word::Retry)]) {
        Some(Word::OriginalTopic) => Target::OriginalTopic,
        Some(Word::Retry) => {
            let what = "sending dead letters to a retry topic".into();
            return Err(GatewayError::NotImplemented { what }.at_field(fields.at("target")));
        }
        None => match fields.object("target")? {
            None => Target::OriginalTopic,
            Some(mut target) => {
                let topic = target.text("topic")?;
                let topic = target.required("topic", topic)?;
                let at = target.at("topic");
                target.end()?;
                Target::Topic(topic_name(&topic).map_err(|error| error.at_field(at))?)
            }
        },
    };
    fields.not_built("ratePerSecond")?;
    fields.end()?;
    Ok(Resend { which, target })
}

#[derive(Serialize, ToSchema)]
#[schema(as = ResendResults)]
struct Resent {
    summary: Summary,
    results: Vec<OneOf>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ResendSummary)]
struct Summary {
    ok: usize,
    failed: usize,
}

/// What became of one dead letter.
#[derive(Serialize, ToSchema)]
#[schema(as = ResendResult)]
#[serde(rename_all = "camelCase")]
struct OneOf {
    /// Of the dead letter.
    message_id: String,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Missing in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    new_message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem>,
}

/// Sends dead letters once more, as new messages
#[utoipa::path(post, path = "/v1/groups/{group}/dlq/resend", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ("dryRun" = Option<bool>, Query, description = "Say what would be sent, and send nothing")), request_body = ResendIn, responses((status = 200, description = "All were sent", body = Resent), (status = 207, description = "Some were refused", body = Resent)))]
pub(super) async fn resend_dead_letters(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
    request: Request,
) -> Answer {
    let dry_run = query.take_flag("dryRun")?;
    query.end()?;
    let topic = dead_letter_queue(&state, &group).await?;
    let (parts, body) = request.into_parts();
    let text = read_json(&parts.headers, body).await?;
    let resend = read_resend(&text)?;
    let mut results = Vec::new();
    match &resend.which {
        Which::Ids(ids) => {
            for id in ids {
                let letter = state.messaging.broker.find_message(topic.clone(), id.clone()).await;
                let letter = letter.map_err(|error| match error {
                    // Nothing was ever given up.
                    BrokerError::TopicNotFound { .. } => BrokerError::MessageNotFound.into(),
                    error => GatewayError::from(error),
                });
                results.push(send_again(&state, id.clone(), letter, &resend.target, dry_run).await);
            }
        }
        Which::Stored { from, to, limit } => {
            // What is sent once more and given up again has another time.
            let mut look = look(topic, *limit, Some(*from), Some(*to));
            while look.messages_max > 0 {
                let seen = match state.messaging.broker.browse_messages(look.clone()).await {
                    Ok(seen) => seen,
                    // Nothing was ever given up.
                    Err(BrokerError::TopicNotFound { .. }) => break,
                    Err(error) => return Err(error.into()),
                };
                look.position = Some(seen.position);
                look.messages_max -= u32::try_from(seen.messages.len()).expect("no more than asked for");
                for letter in seen.messages {
                    let id = id_of(&letter);
                    results.push(send_again(&state, id, Ok(letter), &resend.target, dry_run).await);
                }
                if seen.complete {
                    break;
                }
            }
        }
    }
    let failed = results.iter().filter(|one| one.problem.is_some()).count();
    let status = if failed == 0 { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    let mut response = json(status, &Resent { summary: Summary { ok: results.len() - failed, failed }, results });
    if dry_run {
        response.headers_mut().insert(DRY_RUN, HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn send_again(
    state: &RestState,
    message_id: String,
    letter: Result<StoredMessage, GatewayError>,
    target: &Target,
    dry_run: bool,
) -> OneOf {
    let sent = async {
        let letter = letter?;
        let target = match target {
            Target::Topic(topic) => topic.clone(),
            Target::OriginalTopic => {
                let origin = letter.property(property::DLQ_ORIGIN_TOPIC).or(letter.property(property::RETRY_TOPIC));
                topic_name(origin.unwrap_or_default())?
            }
        };
        let new_message_id = state.message_ids.next(state.now());
        let message = again(&letter, &new_message_id, state.now())?;
        if dry_run {
            state.messaging.broker.describe_topic(target.clone()).await?;
            return Ok((target, None));
        }
        let outgoing = OutgoingMessage { message, queue_id: None, idempotency_key: None };
        state.messaging.send_messages(target.clone(), vec![outgoing]).await?.remove(0)?;
        Ok::<_, GatewayError>((target, Some(new_message_id)))
    };
    match sent.await {
        Ok((target, new_message_id)) => {
            let (status, target) = (if dry_run { 200 } else { 201 }, Some(target.to_string()));
            OneOf { message_id, status, target, new_message_id, problem: None }
        }
        Err(error) => {
            let problem = Problem::of_entry(&error);
            OneOf { message_id, status: problem.status, target: None, new_message_id: None, problem: Some(problem) }
        }
    }
}

/// The message as its producer made it, under a new id.
fn again(letter: &StoredMessage, message_id: &str, now: Timestamp) -> Result<Message, MessageError> {
    let mut message = Message::new(letter.body.clone(), message_id, now, letter.born_host)?;
    message.body_compressed = letter.sys_flag & sys_flag::COMPRESSED != 0;
    if let Some(tag) = letter.tag() {
        message = message.with_tag(tag)?;
    }
    message = message.with_keys(letter.keys())?.with_properties(letter.user_properties())?;
    if let Some(trace_context) = letter.property(property::TRACE_CONTEXT) {
        message = message.with_trace_context(trace_context)?;
    }
    match letter.message_group() {
        Some(message_group) => message.with_message_group(message_group),
        None => Ok(message),
    }
}

/// The group's dead letter queue; the group must exist, the queue need not yet.
async fn dead_letter_queue(state: &RestState, group: &str) -> Result<TopicName, GatewayError> {
    let group: ConsumerGroup = consumer_group(group)?;
    state.messaging.broker.describe_consumer_group(group.clone()).await?;
    Ok(TopicName::dead_letter_queue(&group))
}

/// Dead letters given up from then to then, the oldest first.
fn look(topic: TopicName, messages_max: u32, from: Option<Timestamp>, to: Option<Timestamp>) -> BrowseMessages {
    BrowseMessages {
        topic,
        queue_id: None,
        from,
        to,
        filter: Filter::All,
        newest_first: false,
        position: None,
        messages_max,
        bytes_max: READ_BYTES_MAX,
    }
}

fn id_of(letter: &StoredMessage) -> String {
    letter.unique_key().map_or_else(|| letter.offset_message_id(), str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::FieldAt;
    use crate::front::error_table::answer;

    #[test]
    fn a_resend_says_which_and_where_to() {
        let good = read_resend(br#"{"messageIds":["a"],"target":{"topic":"t"}}"#).unwrap();
        assert!(matches!((good.which, good.target), (Which::Ids(ids), Target::Topic(_)) if ids == ["a"]));
        let good = read_resend(br#"{"from":0,"to":"2026-01-02T00:00:00Z"}"#).unwrap();
        assert!(matches!((good.which, good.target), (Which::Stored { limit: 1_000, .. }, Target::OriginalTopic)));
        for (text, code, pointer) in [
            (r#"{}"#, "invalid_parameter", "/from"),
            (r#"{"from":0}"#, "invalid_parameter", "/to"),
            (r#"{"messageIds":[]}"#, "invalid_parameter", "/messageIds"),
            (r#"{"messageIds":["a"],"from":0}"#, "invalid_parameter", "/messageIds"),
            (r#"{"from":0,"to":1,"limit":1001}"#, "invalid_parameter", "/limit"),
            (r#"{"messageIds":["a"],"target":"retry"}"#, "not_implemented", "/target"),
            (r#"{"messageIds":["a"],"target":"there"}"#, "invalid_parameter", "/target"),
            (r#"{"messageIds":["a"],"target":{"topic":"a/b"}}"#, "invalid_topic", "/target/topic"),
            (r#"{"messageIds":["a"],"ratePerSecond":5}"#, "not_implemented", "/ratePerSecond"),
            (r#"{"messageIds":["a"],"force":true}"#, "unknown_field", "/force"),
        ] {
            let error = read_resend(text.as_bytes()).unwrap_err();
            assert_eq!((answer(&error).code, error.at()), (code, Some(&FieldAt::Pointer(pointer.into()))), "{text}");
        }
    }
}
