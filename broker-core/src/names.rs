//! Names of topics, consumer groups and brokers, checked once on construction.
//!
//! A topic's name is also the name of a directory (RocketMQ's layout), so no constructor lets through anything that
//! could be a path. `from_client` takes RocketMQ's strict alphabet; `from_store` what Apache's own directories hold.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest topic name a client may use, in bytes: the record's length byte is signed.
pub const TOPIC_BYTES_MAX: usize = 127;
/// Longest consumer group name a client may use, in bytes.
pub const CONSUMER_GROUP_BYTES_MAX: usize = 120;
/// Longest name of a retry or dead letter topic, in bytes.
pub const DERIVED_TOPIC_BYTES_MAX: usize = 255;

pub const RETRY_TOPIC_PREFIX: &str = "%RETRY%";
pub const DLQ_TOPIC_PREFIX: &str = "%DLQ%";
/// Holds messages delayed by level, one queue for each.
pub const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// Holds messages delayed to a time.
pub const TIMER_TOPIC: &str = "rmq_sys_wheel_timer";
/// Holds half messages until somebody decides.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// Says which half messages are decided.
pub const OP_TOPIC: &str = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/// Holds half messages that nobody decided.
pub const HOLDING_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";
/// Its offsets say how far half messages are decided.
pub const TRANSACTION_GROUP: &str = "CID_RMQ_SYS_TRANS";
/// Followed by the cluster's name: what was popped and what of it was acked.
pub const REVIVE_TOPIC_PREFIX: &str = "rmq_sys_REVIVE_LOG_";
/// Its offsets say how far the revive topic was worked off.
pub const REVIVE_GROUP: &str = "CID_RMQ_SYS_REVIVE_GROUP";
/// Holds the broker's own state records; closed to clients.
pub const STATE_TOPIC: &str = "rmq_sys_GANTRY_STATE";

const SYSTEM_TOPICS: &[&str] = &[
    "TBW102",
    SCHEDULE_TOPIC,
    "BenchmarkTest",
    HALF_TOPIC,
    "RMQ_SYS_TRACE_TOPIC",
    OP_TOPIC,
    HOLDING_TOPIC,
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
    "CHECKPOINT_TOPIC",
];
const SYSTEM_TOPIC_PREFIX: &str = "rmq_sys_";
const SYSTEM_GROUPS: &[&str] = &[
    "DEFAULT_PRODUCER",
    "DEFAULT_CONSUMER",
    "TOOLS_CONSUMER",
    "SCHEDULE_CONSUMER",
    "FILTERSRV_CONSUMER",
    "__MONITOR_CONSUMER",
    "CLIENT_INNER_PRODUCER",
    "SELF_TEST_P_GROUP",
    "SELF_TEST_C_GROUP",
    "CID_ONS-HTTP-PROXY",
    "CID_ONSAPI_PERMISSION",
    "CID_ONSAPI_OWNER",
    "CID_ONSAPI_PULL",
];
const SYSTEM_GROUP_PREFIX: &str = "CID_RMQ_SYS_";

/// Why a name was refused; reads after "the name ...".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("is empty")]
    Empty,
    #[error("has {len} bytes, at most {max} are allowed")]
    TooLong { len: usize, max: usize },
    #[error("may only hold letters, digits and % | _ -")]
    Alphabet,
    #[error("may hold % only in the prefixes %RETRY% and %DLQ%")]
    Percent,
    #[error("is not a single path component")]
    Path,
}

/// A topic's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

/// A consumer group's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerGroup(Arc<str>);

/// A producer group's name: those that can say what became of each other's transactions.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerGroup(Arc<str>);

/// A broker's name: one master with its replicas.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokerName(Arc<str>);

impl TopicName {
    /// A name as a client may write it, system topics included: who may use those is for the operations to say.
    pub fn from_client(name: &str) -> Result<TopicName, NameError> {
        let derived = name.strip_prefix(RETRY_TOPIC_PREFIX).or_else(|| name.strip_prefix(DLQ_TOPIC_PREFIX));
        let max = if derived.is_some() { DERIVED_TOPIC_BYTES_MAX } else { TOPIC_BYTES_MAX };
        check_alphabet(name, max)?;
        match derived {
            Some("") => Err(NameError::Empty),
            _ if derived.unwrap_or(name).contains('%') => Err(NameError::Percent),
            _ => Ok(TopicName(name.into())),
        }
    }

    /// A name found in a store, where Apache's own directories contain `+` and dots. Import and recovery only.
    pub fn from_store(name: &[u8]) -> Result<TopicName, NameError> {
        let name = std::str::from_utf8(name).map_err(|_| NameError::Path)?;
        check_path_component(name)?;
        Ok(TopicName(name.into()))
    }

    pub fn state() -> TopicName {
        TopicName(STATE_TOPIC.into())
    }

    /// Where messages of `group` go on that have to leave their own topic.
    pub fn retry_topic(group: &ConsumerGroup) -> TopicName {
        TopicName(format!("{RETRY_TOPIC_PREFIX}{group}").into())
    }

    pub fn is_retry_topic_of(&self, group: &ConsumerGroup) -> bool {
        self.retry_group() == Some(group.as_str())
    }

    /// The group whose retry topic it is.
    pub fn retry_group(&self) -> Option<&str> {
        self.0.strip_prefix(RETRY_TOPIC_PREFIX)
    }

    /// Where messages of `group` end that were given up.
    pub fn dead_letter_queue(group: &ConsumerGroup) -> TopicName {
        TopicName(format!("{DLQ_TOPIC_PREFIX}{group}").into())
    }

    pub fn is_dead_letter_queue_of(&self, group: &ConsumerGroup) -> bool {
        self.0.strip_prefix(DLQ_TOPIC_PREFIX) == Some(group.as_str())
    }

    /// Hidden from lists and closed to clients' sends.
    pub fn is_system(&self) -> bool {
        SYSTEM_TOPICS.contains(&&*self.0) || self.0.starts_with(SYSTEM_TOPIC_PREFIX)
    }

    /// Its messages are on their way elsewhere, or nobody's business. The holding topic is there to be looked at.
    pub fn is_hidden(&self) -> bool {
        self.is_system() && &*self.0 != HOLDING_TOPIC
    }

    /// A retry or dead letter topic: it belongs to its consumer group.
    pub fn is_derived(&self) -> bool {
        self.0.starts_with(RETRY_TOPIC_PREFIX) || self.0.starts_with(DLQ_TOPIC_PREFIX)
    }
}

impl ConsumerGroup {
    pub fn from_client(name: &str) -> Result<ConsumerGroup, NameError> {
        check_alphabet(name, CONSUMER_GROUP_BYTES_MAX)?;
        if name.contains('%') {
            return Err(NameError::Percent);
        }
        Ok(ConsumerGroup(name.into()))
    }

    pub fn from_store(name: &[u8]) -> Result<ConsumerGroup, NameError> {
        let name = std::str::from_utf8(name).map_err(|_| NameError::Path)?;
        check_path_component(name)?;
        Ok(ConsumerGroup(name.into()))
    }

    pub fn is_system(&self) -> bool {
        SYSTEM_GROUPS.contains(&&*self.0) || self.0.starts_with(SYSTEM_GROUP_PREFIX)
    }
}

impl ProducerGroup {
    /// As long as a topic's name, since transactions of gRPC clients belong to a group of their topic's name.
    pub fn from_client(name: &str) -> Result<ProducerGroup, NameError> {
        check_alphabet(name, TOPIC_BYTES_MAX)?;
        Ok(ProducerGroup(name.into()))
    }

    /// What a stored message says, whatever it is: no file is ever named after it.
    pub fn from_store(name: &str) -> ProducerGroup {
        ProducerGroup(name.into())
    }

    /// The group of producers that have none: all that send to this topic.
    pub fn of_topic(topic: &TopicName) -> ProducerGroup {
        ProducerGroup(topic.0.clone())
    }
}

impl BrokerName {
    pub fn new(name: &str) -> Result<BrokerName, NameError> {
        check_alphabet(name, TOPIC_BYTES_MAX)?;
        if name.contains(['%', '|']) {
            return Err(NameError::Alphabet);
        }
        Ok(BrokerName(name.into()))
    }
}

fn check_alphabet(name: &str, max: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > max {
        return Err(NameError::TooLong { len: name.len(), max });
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'_' | b'-');
    if name.bytes().all(allowed) { Ok(()) } else { Err(NameError::Alphabet) }
}

fn check_path_component(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > DERIVED_TOPIC_BYTES_MAX {
        return Err(NameError::TooLong { len: name.len(), max: DERIVED_TOPIC_BYTES_MAX });
    }
    if name == "." || name == ".." || name.bytes().any(|byte| byte == b'/' || byte < 0x20 || byte == 0x7f) {
        return Err(NameError::Path);
    }
    Ok(())
}

macro_rules! text {
    ($($name:ident),*) => {$(
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}
text!(TopicName, ConsumerGroup, ProducerGroup, BrokerName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_name_can_be_a_path() {
        for name in ["", ".", "..", "a/b", "../x", "a\0b", "a.b", "a\\b", "a b", "ü", "%2e%2e", "a%b"] {
            assert!(TopicName::from_client(name).is_err(), "{name:?}");
            assert!(ConsumerGroup::from_client(name).is_err(), "{name:?}");
        }
        assert!(TopicName::from_client(&"a".repeat(127)).is_ok());
        assert_eq!(TopicName::from_client(&"a".repeat(128)), Err(NameError::TooLong { len: 128, max: 127 }));
        assert!(TopicName::from_client(&format!("%DLQ%{}", "g".repeat(120))).is_ok());
        assert!(TopicName::from_client("%DLQ%").is_err());
        assert!(ConsumerGroup::from_client(&"g".repeat(121)).is_err());
    }

    #[test]
    fn store_names_are_one_path_component() {
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0", b"a\x7f", b"\xff"] {
            assert!(TopicName::from_store(name).is_err(), "{name:?}");
        }
        assert!(TopicName::from_store(b"%RETRY%g+topic.v2").is_ok());
    }

    #[test]
    fn system_names_are_known() {
        assert!(TopicName::state().is_system());
        assert!(TopicName::from_client("TBW102").unwrap().is_system());
        assert!(!TopicName::from_client("orders").unwrap().is_system());
        assert!(ConsumerGroup::from_client("CID_RMQ_SYS_TRANS").unwrap().is_system());
    }
}
