//! What a publish says of its message, out of headers or out of an envelope, and the checks that make it one.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::message::{Delivery, Message, MessageError, MessageType, Transaction, property};
use gantry_broker_core::offset::QueueId;

use super::RestState;
use crate::error::{FieldAt, GatewayError};
use crate::messaging::OutgoingMessage;

/// Furthest that a delivery time may lie ahead.
const DELAY_MAX: Duration = Duration::from_secs(40 * 86_400);
/// A delivery time in the last minute counts as now.
const LATE_MAX_MS: i64 = 60_000;
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;

/// A message's metadata as it was written.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    pub(super) content_type: Option<Cow<'a, str>>,
    pub(super) tag: Option<Cow<'a, str>>,
    pub(super) keys: Vec<Cow<'a, str>>,
    pub(super) properties: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) message_group: Option<Cow<'a, str>>,
    pub(super) delay: Option<Duration>,
    pub(super) deliver_at: Option<Timestamp>,
    pub(super) delay_level: Option<i64>,
    pub(super) priority: Option<i64>,
    pub(super) lite_topic: Option<Cow<'a, str>>,
    pub(super) message_id: Option<Cow<'a, str>>,
    /// Broker name and queue id.
    pub(super) queue: Option<(Cow<'a, str>, u32)>,
    pub(super) traceparent: Option<Cow<'a, str>>,
    pub(super) idempotency_key: Option<Cow<'a, str>>,
    /// Said by the way it is published, and by headers in any case.
    pub(super) transaction: Option<Transaction>,
}

/// Where a draft was written, so that an error can name the place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'p> {
    Headers,
    /// The JSON pointer of the envelope.
    Envelope(&'p str),
}

impl Source<'_> {
    /// The place of a field, named as in an envelope.
    pub(super) fn at(self, field: &'static str) -> FieldAt {
        match self {
            Source::Envelope(parent) => FieldAt::Pointer(format!("{parent}/{field}")),
            Source::Headers => FieldAt::Header(match field {
                "contentType" => "Content-Type",
                "tag" => "Gantry-Tag",
                "keys" => "Gantry-Keys",
                "properties" => "Gantry-Property",
                "messageGroup" => "Gantry-Message-Group",
                "delay" => "Gantry-Delay",
                "deliverAt" => "Gantry-Deliver-At",
                "delayLevel" => "Gantry-Delay-Level",
                "priority" => "Gantry-Priority",
                "liteTopic" => "Gantry-Lite-Topic",
                "messageId" => "Gantry-Message-Id",
                "queue" => "Gantry-Queue",
                "traceparent" => "traceparent",
                "idempotencyKey" => "Idempotency-Key",
                other => other,
            }),
        }
    }
}

/// Who sends, and when.
pub(super) struct Sender<'s> {
    pub(super) state: &'s RestState,
    pub(super) born_host: SocketAddr,
    pub(super) now: Timestamp,
}

impl Draft<'_> {
    pub(super) fn outgoing(
        self,
        body: Bytes,
        sender: &Sender<'_>,
        source: Source<'_>,
    ) -> Result<OutgoingMessage, GatewayError> {
        let message_type = self.message_type(sender.now, source)?;
        self.check_idempotency_key(source)?;
        let of = |field| move |error: MessageError| GatewayError::from(error).at_field(source.at(field));
        let made;
        let unique_key = match &self.message_id {
            Some(id) => id,
            None => {
                made = sender.state.message_ids.next(sender.now);
                &*made
            }
        };
        let of_new = |error| match error {
            MessageError::InvalidUniqueKey { .. } => of("messageId")(error),
            error => GatewayError::from(error),
        };
        let mut message = Message::new(body, unique_key, sender.now, sender.born_host).map_err(of_new)?;
        message.message_type = message_type;
        if let Some(group) = &self.message_group {
            message = message.with_message_group(group).map_err(of("messageGroup"))?;
        }
        if let Some((field, delivery)) = self.delivery() {
            message = message.with_delivery(delivery).map_err(of(field))?;
        }
        if let Some(transaction) = self.transaction {
            message = message.with_transaction(transaction).map_err(|error| match error {
                MessageError::InvalidCheckTime { .. } => {
                    GatewayError::from(error).at_field(FieldAt::Header("Gantry-Check-After"))
                }
                error => GatewayError::from(error),
            })?;
        }
        if let Some(tag) = &self.tag {
            message = message.with_tag(tag).map_err(of("tag"))?;
        }
        if !self.keys.is_empty() {
            message = message.with_keys(self.keys.iter().map(|key| &**key)).map_err(of("keys"))?;
        }
        if let Some(content_type) = &self.content_type {
            let properties = [(property::CONTENT_TYPE, &**content_type)];
            message = message.with_properties(properties).map_err(of("contentType"))?;
        }
        if let Some((name, _)) = self.properties.iter().find(|(_, value)| value.is_empty()) {
            let name = name.escape_debug().to_string();
            return Err(of("properties")(MessageError::InvalidProperty { name, reason: "has a blank value" }));
        }
        if !self.properties.is_empty() {
            let properties = self.properties.iter().map(|(name, value)| (&**name, &**value));
            message = message.with_properties(properties).map_err(of("properties"))?;
        }
        if let Some(traceparent) = &self.traceparent {
            message = message.with_trace_context(traceparent).map_err(of("traceparent"))?;
        }
        if self.message_group.is_some() && self.queue.is_some() {
            let reason = "a message group has its queue: give one of them".into();
            return Err(GatewayError::InvalidParameter { at: source.at("queue"), reason });
        }
        let queue_id = match self.queue {
            Some((broker, _)) if broker != sender.state.broker_name => {
                let error = GatewayError::BrokerNotFound { broker: broker.into_owned() };
                return Err(error.at_field(source.at("queue")));
            }
            Some((_, queue_id)) => Some(QueueId(queue_id)),
            None => None,
        };
        let idempotency_key = self.idempotency_key.map(Cow::into_owned);
        Ok(OutgoingMessage { message, queue_id, idempotency_key })
    }

    /// What kind of message this is; the topic says whether it takes such.
    fn message_type(&self, now: Timestamp, source: Source<'_>) -> Result<MessageType, GatewayError> {
        let timed = self.check_delivery_time(now, source)?;
        Ok(match () {
            () if self.message_group.is_some() => MessageType::Fifo,
            () if timed => MessageType::Delay,
            () if self.priority.is_some() => MessageType::Priority,
            () if self.lite_topic.is_some() => MessageType::Lite,
            () => MessageType::Normal,
        })
    }

    /// Is there a delivery time?
    fn check_delivery_time(&self, now: Timestamp, source: Source<'_>) -> Result<bool, GatewayError> {
        let refuse = |field, reason: &str| {
            Err(GatewayError::InvalidDeliveryTime { reason: reason.to_string() }.at_field(source.at(field)))
        };
        let given = [("delay", self.delay.is_some()), ("deliverAt", self.deliver_at.is_some())];
        let given = given.into_iter().chain([("delayLevel", self.delay_level.is_some())]);
        let mut given = given.filter(|(_, given)| *given).map(|(field, _)| field);
        let first = given.next();
        if let Some(second) = given.next() {
            return refuse(second, "only one of delay, deliverAt and delayLevel can hold");
        }
        if self.delay.is_some_and(|delay| delay > DELAY_MAX) {
            return refuse("delay", "the delay is longer than 40 days");
        }
        if let Some(at) = self.deliver_at {
            if at.0 < now.0.saturating_sub(LATE_MAX_MS) {
                return refuse("deliverAt", "the delivery time is more than a minute past");
            }
            if at > now.plus(DELAY_MAX) {
                return refuse("deliverAt", "the delivery time is more than 40 days ahead");
            }
        }
        // How many levels there are the broker knows.
        if self.delay_level.is_some_and(|level| level < 1 || u32::try_from(level).is_err()) {
            return refuse("delayLevel", "delay levels count from 1");
        }
        Ok(first.is_some())
    }

    /// When it shall be delivered, and the field that says so.
    fn delivery(&self) -> Option<(&'static str, Delivery)> {
        let level = self.delay_level.and_then(|level| u32::try_from(level).ok());
        let delay = self.delay.map(|delay| ("delay", Delivery::After(delay)));
        let at = self.deliver_at.map(|at| ("deliverAt", Delivery::At(at)));
        delay.or(at).or(level.map(|level| ("delayLevel", Delivery::Level(level))))
    }

    fn check_idempotency_key(&self, source: Source<'_>) -> Result<(), GatewayError> {
        let Some(key) = &self.idempotency_key else { return Ok(()) };
        let refuse = |reason: &str| {
            let at = source.at("idempotencyKey");
            Err(GatewayError::InvalidParameter { at, reason: reason.to_string() })
        };
        let printable = key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !printable || !(1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&key.len()) {
            return refuse("an idempotency key is 1 to 128 printable ASCII characters");
        }
        if self.message_id.is_some() {
            return refuse("an idempotency key stands for the message id: give one of them");
        }
        Ok(())
    }
}

/// Is this a W3C `traceparent`?
pub(super) fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let mut parts = text.splitn(4, '-');
    let mut next = || parts.next().unwrap_or_default();
    let (version, trace, span, flags) = (next(), next(), next(), next());
    let flags_hold = match version {
        "00" => hex(flags, 2),
        // Versions to come may append what we do not know.
        _ => flags.get(..2).is_some_and(|flags| hex(flags, 2)) && matches!(flags.as_bytes().get(2), None | Some(b'-')),
    };
    hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && hex(span, 16)
        && flags_hold
        && trace.bytes().any(|byte| byte != b'0')
        && span.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn kind(draft: &Draft<'_>) -> Result<MessageType, GatewayError> {
        draft.message_type(NOW, Source::Headers)
    }

    #[test]
    fn the_kind_follows_from_what_is_given() {
        let timed = Draft { deliver_at: Some(Timestamp(NOW.0 - LATE_MAX_MS)), ..Draft::default() };
        assert_eq!(kind(&timed).unwrap(), MessageType::Delay);
        let level = Draft { delay_level: Some(18), ..Draft::default() };
        assert_eq!(kind(&level).unwrap(), MessageType::Delay);
        let fifo = Draft { message_group: Some("g".repeat(63).into()), ..Draft::default() };
        assert_eq!(kind(&fifo).unwrap(), MessageType::Fifo);
        assert_eq!(kind(&Draft { priority: Some(0), ..Draft::default() }).unwrap(), MessageType::Priority);
        assert_eq!(kind(&Draft::default()).unwrap(), MessageType::Normal);
    }

    #[test]
    fn delivery_times_have_bounds() {
        let late = Draft { deliver_at: Some(Timestamp(NOW.0 - LATE_MAX_MS - 1)), ..Draft::default() };
        let far = Draft { deliver_at: Some(Timestamp(NOW.plus(DELAY_MAX).0 + 1)), ..Draft::default() };
        let long = Draft { delay: Some(DELAY_MAX + Duration::from_millis(1)), ..Draft::default() };
        let both = Draft { delay: Some(Duration::ZERO), delay_level: Some(1), ..Draft::default() };
        let low = Draft { delay_level: Some(0), ..Draft::default() };
        let high = Draft { delay_level: Some(1 << 32), ..Draft::default() };
        for draft in [late, far, long, both, low, high] {
            let error = kind(&draft).unwrap_err();
            assert_eq!(crate::front::error_table::answer(&error).code, "invalid_delivery_time", "{draft:?}");
            assert!(error.at().is_some(), "{draft:?}");
        }
    }

    #[test]
    fn idempotency_keys_have_an_alphabet_and_a_length() {
        let check = |key: &str, id: Option<&'static str>| {
            let draft =
                Draft { idempotency_key: Some(key.into()), message_id: id.map(Cow::Borrowed), ..Draft::default() };
            draft.check_idempotency_key(Source::Envelope("/messages/3"))
        };
        assert!(check("order 991~", None).is_ok() && check(&"k".repeat(128), None).is_ok());
        for key in ["", "ü", "a\tb", &"k".repeat(129)] {
            let error = check(key, None).unwrap_err();
            assert_eq!(error.at(), Some(&FieldAt::Pointer("/messages/3/idempotencyKey".into())), "{key:?}");
        }
        assert!(check("a", Some("id")).is_err());
    }

    #[test]
    fn traceparents() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        assert!(is_traceparent(&good.replacen("00", "cc", 1)) && is_traceparent(&format!("cc{}-new", &good[2..])));
        for bad in [
            "",
            "00",
            &good[..54],
            &format!("{good}-more"),
            &good.to_uppercase(),
            &good.replacen("00", "ff", 1),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
