//! The attributes of a topic: RocketMQ's map of texts, without the `+` that its wire puts before a name that is set.
//!
//! Clients may set what Gantry does as it says: `reserve.time`, and the others to RocketMQ's own defaults. A store of
//! Apache's may bring anything; that is kept as it is, shown, exported again, and refused only when somebody changes it.
//! `message.type` is not among them: it is `TopicConfig::message_type`, so that the two cannot disagree.

use std::collections::BTreeMap;
use std::time::Duration;

/// How many hours a topic's messages are kept, if not so long as the broker keeps them.
pub const RESERVE_TIME: &str = "reserve.time";
/// How its queues are laid out on the disk.
pub const QUEUE_TYPE: &str = "queue.type";
/// Whether old messages are deleted, or all but the newest of each key.
pub const CLEANUP_POLICY: &str = "cleanup.policy";
/// What kind of messages it takes.
pub const MESSAGE_TYPE: &str = "message.type";

const SIMPLE_QUEUES: &str = "SimpleCQ";
const BATCH_QUEUES: &str = "BatchCQ";
const DELETE: &str = "DELETE";
const SECONDS_PER_HOUR: u64 = 3_600;

/// Ordered by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicAttributes(BTreeMap<String, String>);

/// An attribute that cannot be set like this. `field` is its path in a topic; `reason` reads after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeRefused {
    pub field: &'static str,
    pub reason: String,
}

impl TopicAttributes {
    /// Queues as RocketMQ lays them out for batches in single records.
    pub fn of_batch_queues() -> TopicAttributes {
        TopicAttributes::from_iter([(QUEUE_TYPE.to_string(), BATCH_QUEUES.to_string())])
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How long messages are kept at most, if not so long as the broker keeps them. In hours, and 0 and less say nothing:
    /// so RocketMQ's tiered storage reads it, the one part of RocketMQ that does.
    pub fn reserve_time(&self) -> Option<Duration> {
        let hours = u64::try_from(self.value(RESERVE_TIME)?.parse::<i64>().ok()?).ok()?;
        (hours > 0).then(|| Duration::from_secs(hours.saturating_mul(SECONDS_PER_HOUR)))
    }

    /// Its messages lie in Apache's batch queues: they are read, and new ones are refused (rule A1).
    pub fn has_batch_queues(&self) -> bool {
        self.value(QUEUE_TYPE) == Some(BATCH_QUEUES)
    }

    /// What a topic has when a client puts these, and `known` is what it had. How queues are laid out stays as it is.
    pub fn put_over(mut self, known: &TopicAttributes) -> Result<TopicAttributes, AttributeRefused> {
        if known.has_batch_queues() {
            self.0.entry(QUEUE_TYPE.to_string()).or_insert_with(|| BATCH_QUEUES.to_string());
        }
        for (name, value) in &self.0 {
            if known.0.get(name) != Some(value) {
                check(name, value, known)?;
            }
        }
        Ok(self)
    }
}

impl FromIterator<(String, String)> for TopicAttributes {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> TopicAttributes {
        TopicAttributes(pairs.into_iter().collect())
    }
}

/// Whether a client may set this.
fn check(name: &str, value: &str, known: &TopicAttributes) -> Result<(), AttributeRefused> {
    let refuse = |field, reason: &str| Err(AttributeRefused { field, reason: reason.to_string() });
    match name {
        RESERVE_TIME if value.parse::<i64>().is_ok_and(|hours| hours >= -1) => Ok(()),
        RESERVE_TIME => refuse(
            "attributes/reserve.time",
            "must be whole hours, 1 to 9223372036854775807; or -1 or 0 for as long as the broker keeps messages",
        ),
        QUEUE_TYPE if known.has_batch_queues() => {
            refuse("attributes/queue.type", "must stay BatchCQ: the layout of a topic's queues cannot be changed")
        }
        QUEUE_TYPE if value == SIMPLE_QUEUES => Ok(()),
        QUEUE_TYPE => refuse(
            "attributes/queue.type",
            "must be SimpleCQ: batch queues are read in stores of Apache RocketMQ and never made",
        ),
        CLEANUP_POLICY if value == DELETE => Ok(()),
        CLEANUP_POLICY => refuse("attributes/cleanup.policy", "must be DELETE: topics are not compacted"),
        MESSAGE_TYPE => refuse("attributes/message.type", "is no attribute here: say it as messageType"),
        _ => Err(AttributeRefused {
            field: "attributes",
            reason: format!("must be {RESERVE_TIME}, {QUEUE_TYPE} or {CLEANUP_POLICY}: there is no '{name}'"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> TopicAttributes {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_reserve_time_is_hours_and_zero_or_less_is_none() {
        let reserve_time = |value| attributes(&[(RESERVE_TIME, value)]).reserve_time();
        assert_eq!(reserve_time("1"), Some(Duration::from_secs(3_600)));
        assert_eq!(reserve_time("72"), Some(Duration::from_secs(72 * 3_600)));
        assert_eq!(reserve_time("9223372036854775807"), Some(Duration::from_secs(u64::MAX)));
        for nothing in ["-1", "0", "-7", "", "1h", "1.5", "9223372036854775808"] {
            assert_eq!(reserve_time(nothing), None, "{nothing}");
        }
        assert_eq!(TopicAttributes::default().reserve_time(), None);
    }

    #[test]
    fn clients_set_what_is_honoured_and_the_defaults() {
        let nothing = TopicAttributes::default();
        let all = attributes(&[(RESERVE_TIME, "24"), (QUEUE_TYPE, "SimpleCQ"), (CLEANUP_POLICY, "DELETE")]);
        assert_eq!(all.clone().put_over(&nothing), Ok(all.clone()));
        assert_eq!(nothing.clone().put_over(&all), Ok(nothing.clone()), "what is left out is gone");
        for hours in ["-1", "0", "1", "9223372036854775807"] {
            assert!(attributes(&[(RESERVE_TIME, hours)]).put_over(&nothing).is_ok(), "{hours}");
        }
        for (name, value, field, says) in [
            (RESERVE_TIME, "-2", "attributes/reserve.time", "hours"),
            (RESERVE_TIME, "9223372036854775808", "attributes/reserve.time", "9223372036854775807"),
            (RESERVE_TIME, "72h", "attributes/reserve.time", "hours"),
            (RESERVE_TIME, "", "attributes/reserve.time", "hours"),
            (QUEUE_TYPE, "BatchCQ", "attributes/queue.type", "SimpleCQ"),
            (QUEUE_TYPE, "simplecq", "attributes/queue.type", "SimpleCQ"),
            (CLEANUP_POLICY, "COMPACTION", "attributes/cleanup.policy", "DELETE"),
            (MESSAGE_TYPE, "NORMAL", "attributes/message.type", "messageType"),
            ("+reserve.time", "1", "attributes", "'+reserve.time'"),
            ("", "", "attributes", "reserve.time, queue.type or cleanup.policy"),
        ] {
            let refused = attributes(&[(name, value)]).put_over(&nothing).unwrap_err();
            assert_eq!(refused.field, field, "{name}={value}");
            assert!(refused.reason.contains(says), "{name}={value}: {}", refused.reason);
        }
    }

    #[test]
    fn what_apache_brought_may_stay_and_not_be_changed() {
        let known = attributes(&[("lite.topic.expiration", "30"), (RESERVE_TIME, "never")]);
        assert_eq!(known.clone().put_over(&known), Ok(known.clone()));
        assert!(attributes(&[("lite.topic.expiration", "31")]).put_over(&known).is_err());
        assert!(attributes(&[(RESERVE_TIME, "ever")]).put_over(&known).is_err());
        assert_eq!(attributes(&[]).put_over(&known), Ok(attributes(&[])));

        let batches = TopicAttributes::of_batch_queues();
        assert!(batches.has_batch_queues() && !known.has_batch_queues());
        assert_eq!(attributes(&[]).put_over(&batches), Ok(batches.clone()), "the layout stays though nobody says it");
        assert_eq!(batches.clone().put_over(&batches), Ok(batches.clone()));
        assert!(attributes(&[(QUEUE_TYPE, "SimpleCQ")]).put_over(&batches).is_err());
    }
}
