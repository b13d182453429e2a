//! Dead letters of a consumer group: how many, which, all of them as a file, and sending them once more.
//!
//! A dead letter stays where it is: what is sent once more is another message, with an id of its own.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::IntoResponse as _;
use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::BrowseMessages;
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::message::{Message, MessageError, MessageType, StoredMessage, property, sys_flag};
use gantry_broker_core::names::{ConsumerGroup, TopicName};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use super::browse::{BrowsedPage, Look, Missing, browse};
use super::json::Fields;
use super::message_json::{MessageOut, View};
use super::offsets::DRY_RUN;
use super::openapi::{ResendIn, TimeParams, ViewParams};
use super::problem::Problem;
use super::request::{Query, Segments, budget, consumer_group, invalid_query, json, read_json, topic_name};
use super::units::{Time, parse_timestamp};
use super::{Answer, RestState, Shared};
use crate::error::{FieldAt, GatewayError};
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

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    JsonLines,
    Csv,
}

/// The last line of an export.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportEnd)]
struct ExportEnd {
    scan: ExportScan,
}

#[derive(Serialize, ToSchema)]
struct ExportScan {
    /// Messages written.
    scanned: u64,
    /// All that were asked for; if not, the store refused to go on.
    complete: bool,
}

/// Dead letters read at a time.
const EXPORT_PIECE: u32 = 256;

/// Dead letters of a consumer group as a file, the oldest first
#[utoipa::path(get, path = "/v1/groups/{group}/dlq/export", tag = "groups", params(("group" = String, Path, max_length = 255, pattern = "^[%|a-zA-Z0-9_-]+$"), ("format" = Option<String>, Query, description = "`ndjson`, one message a line, if it is missing; or `csv`"), ("from" = Option<String>, Query, description = "Given up at or after this time"), ("to" = Option<String>, Query, description = "Given up before this time"), ViewParams), responses((status = 200, description = "A message a line, as in lists; the last line is `{\"scan\":…}`", body = String, content_type = "application/x-ndjson")))]
pub(super) async fn export_dead_letters(
    State(state): Shared,
    Segments(group): Segments<String>,
    mut query: Query,
) -> Answer {
    let view = View::take(&mut query)?;
    let format = match query.take("format")?.as_deref() {
        None | Some("ndjson") => Format::JsonLines,
        Some("csv") => Format::Csv,
        Some(_) => return Err(invalid_query("format", "must be ndjson or csv")),
    };
    let mut time =
        |name: &str| query.take(name)?.map(|text| parse_timestamp(&text, FieldAt::Query(name.into()))).transpose();
    let (from, to) = (time("from")?, time("to")?);
    query.end()?;
    let topic = dead_letter_queue(&state, &group).await?;
    let export = Export { state, format, view, look: Some(look(topic, EXPORT_PIECE, from, to)), scanned: 0 };
    let pieces = futures_util::stream::unfold(export, |mut export| async {
        let piece = export.piece().await?;
        Some((Ok::<_, std::convert::Infallible>(piece), export))
    });
    let (media_type, ending) = match format {
        Format::JsonLines => ("application/x-ndjson", "ndjson"),
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
    };
    let mut response = Body::from_stream(pieces).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    let name = format!("attachment; filename=\"dead-letters.{ending}\"");
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::try_from(name).expect("plain words"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

struct Export {
    state: Arc<RestState>,
    format: Format,
    view: View,
    /// What comes next; `None` behind the last line.
    look: Option<BrowseMessages>,
    scanned: u64,
}

impl Export {
    /// The next lines; `None` when all are written.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        let mut look = self.look.take()?;
        let mut lines = Vec::new();
        if self.scanned == 0 && look.position.is_none() && self.format == Format::Csv {
            let names = CSV_COLUMNS.map(|(name, _)| name).join(",");
            lines.extend_from_slice(format!("{names}\n").as_bytes());
        }
        let complete = match self.state.messaging.broker.browse_messages(look.clone()).await {
            Ok(seen) => {
                seen.messages.iter().for_each(|letter| self.write(letter, &mut lines));
                self.scanned += seen.messages.len() as u64;
                if !seen.complete {
                    look.position = Some(seen.position);
                    self.look = Some(look);
                    return Some(lines);
                }
                true
            }
            // Nothing was ever given up.
            Err(BrokerError::TopicNotFound { .. }) => true,
            Err(error) => {
                tracing::warn!(%error, "an export of dead letters ends early");
                false
            }
        };
        let end = ExportEnd { scan: ExportScan { scanned: self.scanned, complete } };
        let end = serde_json::to_string(&end).expect("plain values");
        let end = if self.format == Format::Csv { csv_cell(&end).into_owned() } else { end };
        lines.extend_from_slice(end.as_bytes());
        lines.push(b'\n');
        Some(lines)
    }

    fn write(&self, letter: &StoredMessage, lines: &mut Vec<u8>) {
        let shown = MessageOut::stored(letter, &self.state.broker_name, self.view);
        match self.format {
            Format::JsonLines => serde_json::to_writer(&mut *lines, &shown).expect("answers are plain values"),
            Format::Csv => {
                let json = serde_json::to_value(&shown).expect("answers are plain values");
                let cells: Vec<String> = CSV_COLUMNS
                    .iter()
                    .map(|(_, pointer)| match json.pointer(pointer) {
                        None | Some(serde_json::Value::Null) => String::new(),
                        Some(serde_json::Value::String(text)) => csv_cell(text).into_owned(),
                        Some(other) => csv_cell(&other.to_string()).into_owned(),
                    })
                    .collect();
                lines.extend_from_slice(cells.join(",").as_bytes());
            }
        }
        lines.push(b'\n');
    }
}

/// Columns of a table, and where a message has them.
const CSV_COLUMNS: [(&str, &str); 12] = [
    ("messageId", "/messageId"),
    ("storeTimestamp", "/storeTimestamp"),
    ("originTopic", "/deadLetter/topic"),
    ("originMessageId", "/deadLetter/messageId"),
    ("deliveryAttempts", "/deadLetter/deliveryAttempts"),
    ("reason", "/deadLetter/reason"),
    ("tag", "/tag"),
    ("keys", "/keys"),
    ("messageGroup", "/messageGroup"),
    ("properties", "/properties"),
    ("bodyEncoding", "/bodyEncoding"),
    ("body", "/body"),
];

/// One cell as RFC 4180 has it. What a spreadsheet would take for a formula begins with an apostrophe.
fn csv_cell(text: &str) -> Cow<'_, str> {
    let guarded: Cow<'_, str> = match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}").into(),
        false => text.into(),
    };
    match guarded.contains([',', '"', '\n', '\r', '\t']) {
        true => format!("\"{}\"", guarded.replace('"', "\"\"")).into(),
        false => guarded,
    }
}

/// What is sent once more, and where to.
#[derive(Debug)]
struct Resend {
    which: Which,
    target: Target,
    /// Between one message and the next.
    pause: Duration,
}

/// Fastest resend at a rate.
const RATE_MAX: u32 = 10_000;
/// What a resend at a rate needs of its time for anything but waiting.
const RATE_MARGIN: Duration = Duration::from_secs(1);

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

/// `budget`: the time of the whole request. What is asked for must fit, so that no resend ends in the middle.
fn read_resend(text: &[u8], budget: Duration) -> Result<Resend, GatewayError> {
    let mut fields = Fields::parse(text)?;
    let rate = fields.count("ratePerSecond")?;
    if rate.is_some_and(|rate| !(1..=RATE_MAX).contains(&rate)) {
        return Err(fields.refuse("ratePerSecond", format!("must be 1 to {RATE_MAX}")));
    }
    let pause = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
    let in_time = match rate {
        None => RESEND_MAX,
        // The first waits for nobody.
        Some(_) => (budget.saturating_sub(RATE_MARGIN).as_nanos() / pause.as_nanos()).min(999) as u32 + 1,
    };
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
            let limit = limit.unwrap_or(in_time);
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
            // Groups receive from the topics that they name: what lay in a retry topic would wait for nobody.
            let what = "sending dead letters to a retry topic, from which no group receives here: \
                        originalTopic sends them to all groups of their topic, {\"topic\": …} elsewhere; that"
                .into();
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
    let messages = match &which {
        Which::Ids(ids) => ids.len(),
        Which::Stored { limit, .. } => *limit as usize,
    };
    if messages > in_time as usize {
        let reason = format!(
            "leaves time for {in_time} of {messages} messages: ask for fewer, or for more time with Gantry-Timeout"
        );
        return Err(fields.refuse("ratePerSecond", reason));
    }
    fields.end()?;
    Ok(Resend { which, target, pause })
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
    let resend = read_resend(&text, budget(&parts.headers)?)?;
    let mut pace = Pace { pause: if dry_run { Duration::ZERO } else { resend.pause }, next: None };
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
                pace.wait().await;
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
                    pace.wait().await;
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

/// Lets messages go at even distances.
struct Pace {
    pause: Duration,
    next: Option<Instant>,
}

impl Pace {
    async fn wait(&mut self) {
        if self.pause.is_zero() {
            return;
        }
        let now = Instant::now();
        let turn = self.next.map_or(now, |next| next.max(now));
        tokio::time::sleep_until(turn.into()).await;
        self.next = Some(turn + self.pause);
    }
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
        let mut message = again(&letter, &new_message_id, state.now())?;
        let config = state.messaging.broker.describe_topic(target.clone()).await?.config;
        // It has waited for its time, or for its commit: now it goes at once.
        let has_waited = matches!(config.message_type, MessageType::Delay | MessageType::Transaction);
        if has_waited && message.message_type == MessageType::Normal {
            message.message_type = config.message_type;
        }
        if dry_run {
            config.check_type(message.message_type)?;
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
    use crate::front::error_table::answer;

    #[test]
    fn a_resend_says_which_and_where_to() {
        let read_resend = |text: &[u8]| read_resend(text, Duration::from_secs(10));
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
            (r#"{"messageIds":["a"],"ratePerSecond":0}"#, "invalid_parameter", "/ratePerSecond"),
            (r#"{"messageIds":["a"],"ratePerSecond":10001}"#, "invalid_parameter", "/ratePerSecond"),
            (r#"{"from":0,"to":1,"limit":92,"ratePerSecond":10}"#, "invalid_parameter", "/ratePerSecond"),
            (r#"{"messageIds":["a"],"force":true}"#, "unknown_field", "/force"),
        ] {
            let error = read_resend(text.as_bytes()).unwrap_err();
            assert_eq!((answer(&error).code, error.at()), (code, Some(&FieldAt::Pointer(pointer.into()))), "{text}");
        }
    }

    #[test]
    fn a_resend_at_a_rate_asks_for_no_more_than_its_time_allows() {
        let read = |text: &str, seconds| read_resend(text.as_bytes(), Duration::from_secs(seconds)).unwrap();
        let limit = |resend: &Resend| match resend.which {
            Which::Stored { limit, .. } => limit,
            Which::Ids(_) => 0,
        };
        let slow = read(r#"{"from":0,"to":1,"ratePerSecond":10}"#, 10);
        assert_eq!((slow.pause, limit(&slow)), (Duration::from_millis(100), 91), "nine seconds, and the first at once");
        assert_eq!(limit(&read(r#"{"from":0,"to":1,"limit":91,"ratePerSecond":10}"#, 10)), 91);
        assert_eq!(limit(&read(r#"{"from":0,"to":1,"ratePerSecond":10}"#, 60)), 591);
        assert_eq!(limit(&read(r#"{"from":0,"to":1,"ratePerSecond":10000}"#, 60)), 1_000);
        assert_eq!(limit(&read(r#"{"from":0,"to":1,"ratePerSecond":5}"#, 1)), 1);
        assert!(read_resend(br#"{"messageIds":["a","b"],"ratePerSecond":1}"#, Duration::from_secs(1)).is_err());
    }

    #[test]
    fn a_cell_of_a_table_is_one_text_and_no_formula() {
        for (text, cell) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("@x,y", "\"'@x,y\""),
            ("-3", "'-3"),
            ("\tx", "\"'\tx\""),
        ] {
            assert_eq!(csv_cell(text), cell, "{text}");
        }
    }
}
