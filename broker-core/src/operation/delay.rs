//! Where a message goes that is sent, and where a delayed one lies until its time has come: RocketMQ's two topics, their
//! rules and their properties.
//!
//! Levels lie in `SCHEDULE_TOPIC_XXXX`, a queue each; other times in `rmq_sys_wheel_timer`. Both are made when the first
//! message needs them, and closed to clients.

use std::sync::LazyLock;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::delivery::delay_levels::DELAY_MAX;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{Delivery, Message, MessageError, property};
use crate::names::{SCHEDULE_TOPIC, TIMER_TOPIC, TopicName};
use crate::offset::QueueId;
use crate::operation::half_messages;
use crate::operation::topics::ensure_topic;
use crate::store::record::RecordDraft;

/// A delivery time may lie so far back: the message is delivered at once.
pub(crate) const PAST_MAX: Duration = Duration::from_secs(60);
/// One slot of the wheel: RocketMQ's `timerPrecisionMs`.
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// What lies further ahead is put back once; RocketMQ's `timerRollWindowSlot`.
const ROLL_WINDOW_MAX: Duration = Duration::from_secs(2 * 24 * 3_600);
/// Messages that are kept for minutes only shall not be put back all the time.
const ROLL_WINDOW_MIN: Duration = Duration::from_secs(60);
/// The one queue of the topic of timers.
pub(crate) const TIMER_QUEUE: QueueId = QueueId(0);

/// What becomes of a message that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// To its own topic; the time that was asked for, if one was, has come.
    Now {
        deliver_at: Option<Timestamp>,
    },
    Level(u32),
    Timer {
        deliver_at: Timestamp,
        second: Timestamp,
    },
    /// Until its transaction is decided.
    Half,
}

/// Decides by the broker's clock and levels.
pub(crate) fn route(parts: &Parts, message: &Message, now: Timestamp) -> Result<Route, MessageError> {
    let refused = |reason: String| Err(MessageError::InvalidDeliveryTime { reason });
    let deliver_at = match message.delivery() {
        None if message.transaction().is_some() => return Ok(Route::Half),
        None => return Ok(Route::Now { deliver_at: None }),
        Some(Delivery::Level(level)) => {
            let levels = &parts.config.delay_levels;
            return match levels.delay(level) {
                Some(_) => Ok(Route::Level(level)),
                None => refused(format!("is level {level}, and there are {}", levels.count())),
            };
        }
        Some(Delivery::After(delay)) => now.plus(delay),
        Some(Delivery::At(at)) if now.since(at) > PAST_MAX => {
            return refused("lies more than a minute in the past".into());
        }
        Some(Delivery::At(at)) if at.since(now) > DELAY_MAX => return refused("lies more than 40 days ahead".into()),
        Some(Delivery::At(at)) => at,
    };
    Ok(match deliver_at > now {
        true => Route::Timer { deliver_at, second: second_of(deliver_at) },
        false => Route::Now { deliver_at: Some(deliver_at) },
    })
}

/// The second of the wheel at whose end a message of this time is delivered: never before it, less than a second after.
pub(crate) fn second_of(deliver_at: Timestamp) -> Timestamp {
    floor(Timestamp(deliver_at.0 - 1))
}

pub(crate) fn floor(time: Timestamp) -> Timestamp {
    Timestamp(time.0 - time.0.rem_euclid(1_000))
}

/// The second in which what waits for `second` is put back, if that is too far away to wait for in one go: the log does
/// not keep the message so long.
pub(crate) fn roll_second(parts: &Parts, now: Timestamp, second: Timestamp) -> Option<Timestamp> {
    let window = (parts.config.retention.file_reserved_time / 2).clamp(ROLL_WINDOW_MIN, ROLL_WINDOW_MAX);
    let ahead = second.since(now);
    if ahead < window {
        return None;
    }
    // So that the last wait is not a very short one.
    let step = if ahead - window < window / 3 { window / 2 } else { window };
    Some(floor(now.plus(step)))
}

/// Asked for with each message: its name is checked once.
pub(crate) fn schedule_topic() -> TopicName {
    static TOPIC: LazyLock<TopicName> =
        LazyLock::new(|| TopicName::from_store(SCHEDULE_TOPIC.as_bytes()).expect("a legal name"));
    TOPIC.clone()
}

pub(crate) fn timer_topic() -> TopicName {
    static TOPIC: LazyLock<TopicName> =
        LazyLock::new(|| TopicName::from_store(TIMER_TOPIC.as_bytes()).expect("a legal name"));
    TOPIC.clone()
}

/// The queue in which messages of a level wait.
pub(crate) fn queue_of_level(level: u32) -> QueueId {
    QueueId(level - 1)
}

/// The record that lies there in the message's place.
pub(crate) fn draft(
    parts: &Parts,
    (topic, queue_id): (&TopicName, QueueId),
    message: &Message,
    route: Route,
    now: Timestamp,
) -> RecordDraft {
    let host = parts.config.store_host;
    let push_target = |draft: &mut RecordDraft| {
        draft.push_property(property::REAL_TOPIC, topic.as_str());
        draft.push_number(property::REAL_QUEUE_ID, queue_id.0);
    };
    match route {
        Route::Now { deliver_at } => {
            let mut draft = RecordDraft::message(topic, queue_id, host, message);
            deliver_at.into_iter().for_each(|at| draft.push_number(property::TIMER_DELIVER_MS, at.0));
            draft
        }
        Route::Half => {
            let transaction = message.transaction().expect("its route says so");
            half_messages::draft(parts, (topic, queue_id), message, transaction)
        }
        Route::Level(level) => {
            let mut draft = RecordDraft::message(&schedule_topic(), queue_of_level(level), host, message);
            draft.push_number(property::DELAY_LEVEL, level);
            push_target(&mut draft);
            draft
        }
        Route::Timer { deliver_at, second } => {
            let mut draft = RecordDraft::message(&timer_topic(), TIMER_QUEUE, host, message);
            draft.push_number(property::TIMER_DELIVER_MS, deliver_at.0);
            draft.push_number(property::TIMER_OUT_MS, second.0);
            push_target(&mut draft);
            push_roll(&mut draft, roll_second(parts, now, second));
            draft
        }
    }
}

pub(crate) fn push_roll(draft: &mut RecordDraft, roll: Option<Timestamp>) {
    roll.into_iter().for_each(|roll| draft.push_number(property::TIMER_ROLL_MS, roll.0));
}

/// Makes the topics that these messages will lie in.
pub(crate) fn ensure_topics<'a>(
    parts: &Parts,
    messages: impl IntoIterator<Item = &'a Message>,
) -> Result<(), BrokerError> {
    let (mut levels, mut timers, mut halves) = (false, false, false);
    for message in messages {
        halves |= message.transaction().is_some();
        match message.delivery() {
            Some(Delivery::Level(_)) => levels = true,
            Some(Delivery::At(_) | Delivery::After(_)) => timers = true,
            None => {}
        }
    }
    if levels {
        ensure_topic(parts, &schedule_topic(), parts.config.delay_levels.count())?;
    }
    if timers {
        ensure_topic(parts, &timer_topic(), 1)?;
    }
    if halves {
        half_messages::admit(parts)?;
        half_messages::ensure(parts)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c6_a_second_of_the_wheel_ends_at_or_less_than_a_second_after_the_time() {
        for (deliver_at, second) in [(5_000, 4_000), (5_001, 5_000), (5_999, 5_000), (6_000, 5_000)] {
            assert_eq!(second_of(Timestamp(deliver_at)), Timestamp(second));
        }
    }
}
