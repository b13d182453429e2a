//! A message: as a producer hands it in (`Message`, checked on construction) and as the log holds it (`StoredMessage`).

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::delivery::delay_levels::DELAY_MAX;
use crate::names::ProducerGroup;
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};

/// Largest message body, in bytes.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most messages of one send, and most entries of one settle.
pub const BATCH_ENTRIES_MAX: usize = 1_024;
/// Largest sum of bodies of one send, in bytes.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most user properties of one message.
pub const PROPERTIES_MAX: usize = 128;
/// Largest sum of property names, property values, tag and keys, in bytes.
pub const PROPERTIES_BYTES_MAX: usize = 16 * 1024;
/// Most keys of one message.
pub const KEYS_MAX: usize = 32;
/// Longest message group, in bytes.
pub const MESSAGE_GROUP_BYTES_MAX: usize = 63;
/// Longest time after which a half message is checked first.
pub const CHECK_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// Longest unique key a producer may choose, in bytes.
pub const UNIQUE_KEY_BYTES_MAX: usize = 255;

/// Names that RocketMQ keeps for itself inside the property string.
pub mod property {
    pub const KEYS: &str = "KEYS";
    pub const TAGS: &str = "TAGS";
    pub const UNIQUE_KEY: &str = "UNIQ_KEY";
    pub const TRACE_CONTEXT: &str = "TRACE_CONTEXT";
    pub const CRC: &str = "__CRC32#";
    /// Media type of the body, as the producer named it.
    pub const CONTENT_TYPE: &str = "contentType";
    /// Begins the names that are Gantry's own.
    pub const GANTRY_PREFIX: &str = "__GANTRY_";
    /// 64-bit digest of the body, in hex, beside an idempotency key; always the first of its properties.
    pub const BODY_DIGEST: &str = "__GANTRY_DIGEST";
    /// From where the broker moved the message; always the first of its properties.
    pub const SOURCE: &str = "__GANTRY_SOURCE";
    /// Why a consumer gave a message up, in its own words.
    pub const DEAD_LETTER_REASON: &str = "__GANTRY_REASON";
    /// Topic of a message before it was moved to a retry topic or a dead letter queue.
    pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
    /// Physical id of a message before it was moved the first time.
    pub const ORIGIN_MESSAGE_ID: &str = "ORIGIN_MESSAGE_ID";
    pub const DLQ_ORIGIN_TOPIC: &str = "DLQ_ORIGIN_TOPIC";
    /// Unique key of the message that a dead letter was.
    pub const DLQ_ORIGIN_MESSAGE_ID: &str = "DLQ_ORIGIN_MESSAGE_ID";
    /// Message group of a FIFO message.
    pub const MESSAGE_GROUP: &str = "__SHARDINGKEY";
    /// How many messages a record of a batch queue holds.
    pub const INNER_NUM: &str = "INNER_NUM";
    /// Level of a delayed message, from 1.
    pub const DELAY_LEVEL: &str = "DELAY";
    /// Where a message goes that lies in a system topic until its time has come.
    pub const REAL_TOPIC: &str = "REAL_TOPIC";
    pub const REAL_QUEUE_ID: &str = "REAL_QID";
    /// When a message is to be delivered, in milliseconds since 1970.
    pub const TIMER_DELIVER_MS: &str = "TIMER_DELIVER_MS";
    /// The second of the wheel from whose end on it is delivered, in milliseconds since 1970.
    pub const TIMER_OUT_MS: &str = "TIMER_OUT_MS";
    /// How often a message was put back into the wheel because its time was far away.
    pub const TIMER_ROLL_TIMES: &str = "TIMER_ROLL_TIMES";
    /// Recalls the message of this topic and unique key, with a `+` between them.
    pub const TIMER_DEL_UNIQKEY: &str = "TIMER_DEL_UNIQKEY";
    /// Id of the transaction that a message belongs to.
    pub const TRANSACTION_ID: &str = "__transactionId__";
    /// Marks a message of a transaction.
    pub const HALF: &str = "TRAN_MSG";
    /// Who can say what became of a transaction.
    pub const PRODUCER_GROUP: &str = "PGROUP";
    /// How long after it was stored a half message is checked first.
    pub const CHECK_AFTER_SECONDS: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// How often its producers were asked what became of a half message, before it was put back.
    pub const TRANSACTION_CHECK_TIMES: &str = "TRANSACTION_CHECK_TIMES";
    /// Where a half message was first, that was put back since.
    pub const PREPARED_QUEUE_OFFSET: &str = "TRAN_PREPARED_QUEUE_OFFSET";
    /// When a half message was stored first, in milliseconds since 1970, if it was put back since.
    pub const SINCE_MS: &str = "__GANTRY_SINCE_MS";
    /// The second of the wheel in which a message is put back, because its time is far away.
    pub const TIMER_ROLL_MS: &str = "__GANTRY_ROLL_MS";
}

/// Refused as user property names, and hidden where user properties are shown. Sorted, for the binary search.
const RESERVED_PROPERTIES: &[&str] = &[
    "1ST_POP_TIME",
    "ARRIVE_TIME",
    "BORN_TIMESTAMP",
    "BUYER_ID",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "CLUSTER",
    "CONSUME_START_TIME",
    "CORRECTION_FLAG",
    "CORRELATION_ID",
    "DELAY",
    "DLQ_ORIGIN_MESSAGE_ID",
    "DLQ_ORIGIN_TOPIC",
    "DUP_INFO",
    "EXTEND_UNIQ_INFO",
    "INNER_BASE",
    "INNER_MULTI_DISPATCH",
    "INNER_MULTI_QUEUE_OFFSET",
    "INNER_NUM",
    "INSTANCE_ID",
    "KEYS",
    "MAX_OFFSET",
    "MAX_RECONSUME_TIMES",
    "MIN_OFFSET",
    "MQ2_FLAG",
    "MSG_REGION",
    "MSG_TYPE",
    "ORIGIN_MESSAGE_ID",
    "PGROUP",
    "POP_CK",
    "POP_CK_OFFSET",
    "PROPERTY_FORWARD_QUEUE_ID",
    "PUSH_REPLY_TIME",
    "REAL_QID",
    "REAL_TOPIC",
    "RECONSUME_TIME",
    "REDIRECT",
    "REPLY_TO_CLIENT",
    "RETRY_TOPIC",
    "TAGS",
    "TIMER_DELAY_LEVEL",
    "TIMER_DELAY_MS",
    "TIMER_DELAY_SEC",
    "TIMER_DELIVER_MS",
    "TIMER_DEL_UNIQKEY",
    "TIMER_DEQUEUE_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_OUT_MS",
    "TIMER_ROLL_TIMES",
    "TRACE_CONTEXT",
    "TRACE_ON",
    "TRANSACTION_CHECK_TIMES",
    "TRANSFER_FLAG",
    "TRAN_MSG",
    "TRAN_PREPARED_QUEUE_OFFSET",
    "TTL",
    "UNIQ_KEY",
    "WAIT",
    "__BORNHOST",
    "__CRC32#",
    "__SHARDINGKEY",
    "__ZONE_MODE",
    "__ZONE_NAME",
    "__transactionId__",
];
/// Whole families of reserved names: RocketMQ's in-memory ones and Gantry's own.
const RESERVED_PROPERTY_PREFIXES: &[&str] = &["__RMQ.TRANSIENT.", property::GANTRY_PREFIX];

pub fn is_reserved_property(name: &str) -> bool {
    RESERVED_PROPERTIES.binary_search(&name).is_ok()
        || RESERVED_PROPERTY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Why a part of a message was refused. One variant a field, so that every protocol can answer with its own code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    #[error("the body is empty")]
    EmptyBody,
    #[error("the body has {len} bytes, at most {max} are allowed")]
    BodyTooLarge { len: usize, max: usize },
    #[error("the tag {reason}")]
    InvalidTag { reason: &'static str },
    #[error("the key {reason}")]
    InvalidKey { reason: &'static str },
    #[error("the property '{name}' {reason}")]
    InvalidProperty { name: String, reason: &'static str },
    #[error("the properties {reason}")]
    PropertiesTooLarge { reason: String },
    #[error("the message group {reason}")]
    InvalidMessageGroup { reason: &'static str },
    #[error("the message id {reason}")]
    InvalidUniqueKey { reason: &'static str },
    #[error("a message cannot be {one} and {other} at once")]
    ConflictingTypes { one: &'static str, other: &'static str },
    #[error("the delivery time {reason}")]
    InvalidDeliveryTime { reason: String },
    #[error("the time to the first check {reason}")]
    InvalidCheckTime { reason: &'static str },
}

/// What a producer wants done with a message; more kinds come with their topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MessageType {
    #[default]
    Normal,
    Fifo,
    Delay,
    Transaction,
    Priority,
    Lite,
    /// Of topics alone: messages of every kind.
    Mixed,
}

impl MessageType {
    /// As the API and the errors name it.
    pub fn word(self) -> &'static str {
        match self {
            MessageType::Normal => "normal",
            MessageType::Fifo => "fifo",
            MessageType::Delay => "delay",
            MessageType::Transaction => "transaction",
            MessageType::Priority => "priority",
            MessageType::Lite => "lite",
            MessageType::Mixed => "mixed",
        }
    }
}

/// When a message shall be delivered, if not at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// After the pause with this number in the broker's list, 1 being the first.
    Level(u32),
    At(Timestamp),
    /// So long after it was stored.
    After(Duration),
}

/// What makes a message the half of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Who can say what became of it.
    pub producer_group: ProducerGroup,
    /// When it is checked first; the broker's own time if nothing is said.
    pub check_after: Option<Duration>,
}

/// A message on its way in: every field already checked, so that nothing deeper needs to look again.
#[derive(Debug, Clone)]
pub struct Message {
    body: Bytes,
    tag: Option<Box<str>>,
    keys: Vec<Box<str>>,
    properties: Vec<(Box<str>, Box<str>)>,
    unique_key: Box<str>,
    body_digest: Option<Box<str>>,
    message_group: Option<Box<str>>,
    trace_context: Option<Box<str>>,
    delivery: Option<Delivery>,
    transaction: Option<Box<Transaction>>,
    pub message_type: MessageType,
    pub born_timestamp: Timestamp,
    pub born_host: SocketAddr,
    /// The producer compressed the body itself; it is stored and delivered as it came.
    pub body_compressed: bool,
}

impl Message {
    /// A message with a body and an id, and nothing else yet.
    pub fn new(
        body: Bytes,
        unique_key: &str,
        born_timestamp: Timestamp,
        born_host: SocketAddr,
    ) -> Result<Message, MessageError> {
        if body.is_empty() {
            return Err(MessageError::EmptyBody);
        }
        if body.len() > BODY_BYTES_MAX {
            return Err(MessageError::BodyTooLarge { len: body.len(), max: BODY_BYTES_MAX });
        }
        let invalid = |reason| MessageError::InvalidUniqueKey { reason };
        if unique_key.trim().is_empty() {
            return Err(invalid("is blank"));
        }
        if unique_key.len() > UNIQUE_KEY_BYTES_MAX {
            return Err(invalid("is longer than 255 bytes"));
        }
        if unique_key.contains(char::is_control) {
            return Err(invalid("holds a control character"));
        }
        Ok(Message {
            body,
            tag: None,
            keys: Vec::new(),
            properties: Vec::new(),
            unique_key: unique_key.into(),
            body_digest: None,
            message_group: None,
            trace_context: None,
            delivery: None,
            transaction: None,
            message_type: MessageType::Normal,
            born_timestamp,
            born_host,
            body_compressed: false,
        })
    }

    pub fn with_tag(mut self, tag: &str) -> Result<Message, MessageError> {
        let invalid = |reason| MessageError::InvalidTag { reason };
        if tag.trim().is_empty() {
            return Err(invalid("is blank"));
        }
        if tag.contains('|') {
            return Err(invalid("holds '|', which separates tags in filter expressions"));
        }
        if tag.contains(char::is_control) {
            return Err(invalid("holds a control character"));
        }
        self.tag = Some(tag.into());
        self.check_size()
    }

    pub fn with_keys<'a>(mut self, keys: impl IntoIterator<Item = &'a str>) -> Result<Message, MessageError> {
        let invalid = |reason| MessageError::InvalidKey { reason };
        for key in keys {
            if key.is_empty() {
                return Err(invalid("is blank"));
            }
            if key.contains(char::is_whitespace) {
                return Err(invalid("holds a space, which separates keys in the store"));
            }
            if key.contains(char::is_control) {
                return Err(invalid("holds a control character"));
            }
            self.keys.push(key.into());
        }
        if self.keys.len() > KEYS_MAX {
            return Err(invalid("is one of more than 32"));
        }
        self.check_size()
    }

    pub fn with_properties<'a>(
        mut self,
        properties: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Message, MessageError> {
        for (name, value) in properties {
            // Inside the loop: looking for a name given twice is quadratic, and the list may come from the network.
            if self.properties.len() == PROPERTIES_MAX {
                let reason = format!("are more than {PROPERTIES_MAX}");
                return Err(MessageError::PropertiesTooLarge { reason });
            }
            let invalid = |reason| MessageError::InvalidProperty { name: name.escape_debug().to_string(), reason };
            if name.trim().is_empty() {
                return Err(invalid("has a blank name"));
            }
            if is_reserved_property(name) {
                return Err(invalid("is reserved"));
            }
            if name.contains(char::is_control) || value.contains(char::is_control) {
                return Err(invalid("holds a control character"));
            }
            if self.properties.iter().any(|(known, _)| &**known == name) {
                return Err(invalid("is given twice"));
            }
            self.properties.push((name.into(), value.into()));
        }
        self.check_size()
    }

    /// Makes it a FIFO message: those of one group are delivered in their order.
    pub fn with_message_group(mut self, message_group: &str) -> Result<Message, MessageError> {
        let invalid = |reason| MessageError::InvalidMessageGroup { reason };
        if message_group.trim().is_empty() {
            return Err(invalid("is blank"));
        }
        if message_group.len() > MESSAGE_GROUP_BYTES_MAX {
            return Err(invalid("is longer than 63 bytes"));
        }
        if message_group.contains(char::is_control) {
            return Err(invalid("holds a control character"));
        }
        if self.transaction.is_some() {
            return Err(MessageError::ConflictingTypes { one: "FIFO", other: "transactional" });
        }
        self.message_group = Some(message_group.into());
        self.message_type = MessageType::Fifo;
        Ok(self)
    }

    /// The W3C `traceparent` of the producer, kept for the consumer.
    pub fn with_trace_context(mut self, trace_context: &str) -> Result<Message, MessageError> {
        if trace_context.contains(char::is_control) {
            let name = property::TRACE_CONTEXT.to_string();
            return Err(MessageError::InvalidProperty { name, reason: "holds a control character" });
        }
        self.trace_context = Some(trace_context.into());
        self.check_size()
    }

    /// Makes it a delayed message. Whether a time lies too far away, or a level is one of the broker's, the broker says:
    /// it has the clock and the list.
    pub fn with_delivery(mut self, delivery: Delivery) -> Result<Message, MessageError> {
        let refused = match delivery {
            Delivery::Level(0) => Some("is a delay level, and those count from 1"),
            Delivery::After(delay) if delay > DELAY_MAX => Some("lies more than 40 days ahead"),
            _ => None,
        };
        if let Some(reason) = refused {
            return Err(MessageError::InvalidDeliveryTime { reason: reason.into() });
        }
        let other = match self.message_type {
            MessageType::Fifo => Some("FIFO"),
            MessageType::Transaction => Some("transactional"),
            MessageType::Priority => Some("of a priority"),
            MessageType::Lite => Some("of a lite topic"),
            MessageType::Normal | MessageType::Delay | MessageType::Mixed => None,
        };
        if let Some(other) = other {
            return Err(MessageError::ConflictingTypes { one: "delayed", other });
        }
        self.delivery = Some(delivery);
        self.message_type = MessageType::Delay;
        Ok(self)
    }

    /// Makes it the half of a transaction: nobody gets it before the transaction is committed.
    pub fn with_transaction(mut self, transaction: Transaction) -> Result<Message, MessageError> {
        let refused = match transaction.check_after {
            Some(after) if after.is_zero() => Some("must not be nothing"),
            Some(after) if after > CHECK_AFTER_MAX => Some("must be an hour at most"),
            _ => None,
        };
        if let Some(reason) = refused {
            return Err(MessageError::InvalidCheckTime { reason });
        }
        let other = match self.message_type {
            MessageType::Fifo => Some("FIFO"),
            MessageType::Delay => Some("delayed"),
            MessageType::Priority => Some("of a priority"),
            MessageType::Lite => Some("of a lite topic"),
            MessageType::Normal | MessageType::Transaction | MessageType::Mixed => None,
        };
        if let Some(other) = other {
            return Err(MessageError::ConflictingTypes { one: "transactional", other });
        }
        self.transaction = Some(Box::new(transaction));
        self.message_type = MessageType::Transaction;
        Ok(self)
    }

    /// What an idempotency key makes of it: the key's hash is its id, and a digest of the body goes with it.
    pub(crate) fn with_idempotency_key(mut self, unique_key: &str, body_digest: &str) -> Message {
        self.unique_key = unique_key.into();
        self.body_digest = Some(body_digest.into());
        self
    }

    fn check_size(self) -> Result<Message, MessageError> {
        let bytes = self.tag.as_ref().map_or(0, |tag| tag.len())
            + self.keys.iter().map(|key| key.len()).sum::<usize>()
            + self.properties.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + self.trace_context.as_ref().map_or(0, |text| text.len());
        if bytes > PROPERTIES_BYTES_MAX {
            let reason = format!("have {bytes} bytes, at most {PROPERTIES_BYTES_MAX} are allowed");
            return Err(MessageError::PropertiesTooLarge { reason });
        }
        Ok(self)
    }

    pub fn body(&self) -> &Bytes {
        &self.body
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &**key)
    }

    pub fn unique_key(&self) -> &str {
        &self.unique_key
    }

    pub fn delivery(&self) -> Option<Delivery> {
        self.delivery
    }

    pub fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_deref()
    }

    pub fn message_group(&self) -> Option<&str> {
        self.message_group.as_deref()
    }

    /// Everything that goes into the record's property string, reserved names included, in the order it is stored.
    pub fn stored_properties(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let keys = match &self.keys[..] {
            [] => None,
            [one] => Some(Cow::Borrowed(&**one)),
            many => Some(Cow::Owned(many.join(" "))),
        };
        let body_digest = self.body_digest.as_deref().map(|digest| (property::BODY_DIGEST, Cow::Borrowed(digest)));
        (body_digest.into_iter())
            .chain(std::iter::once((property::UNIQUE_KEY, Cow::Borrowed(&*self.unique_key))))
            .chain(self.tag.as_deref().map(|tag| (property::TAGS, Cow::Borrowed(tag))))
            .chain(keys.map(|keys| (property::KEYS, keys)))
            .chain(self.message_group.as_deref().map(|group| (property::MESSAGE_GROUP, Cow::Borrowed(group))))
            .chain(self.trace_context.as_deref().map(|text| (property::TRACE_CONTEXT, Cow::Borrowed(text))))
            .chain(self.properties.iter().map(|(name, value)| (&**name, Cow::Borrowed(&**value))))
    }
}

/// sysFlag bits of a record.
pub mod sys_flag {
    pub const COMPRESSED: i32 = 0x1;
    pub const TRANSACTION_MASK: i32 = 0xC;
    pub const TRANSACTION_PREPARED: i32 = 0x4;
    pub const TRANSACTION_COMMIT: i32 = 0x8;
    pub const TRANSACTION_ROLLBACK: i32 = 0xC;
    pub const BORN_HOST_V6: i32 = 0x10;
    pub const STORE_HOST_V6: i32 = 0x20;
    /// The body is a batch that its reader takes apart.
    pub const NEED_UNWRAP: i32 = 0x40;
    /// A record of a batch queue: it takes as many queue offsets as it holds messages.
    pub const INNER_BATCH: i32 = 0x80;

    /// Has the record a place in a consume queue? Halves of transactions have none, nor what takes them back.
    pub fn is_queued(sys_flag: i32) -> bool {
        !matches!(sys_flag & TRANSACTION_MASK, TRANSACTION_PREPARED | TRANSACTION_ROLLBACK)
    }
}

/// A message as the log holds it. The byte fields are slices of the record: no copy was made.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    pub topic: Bytes,
    pub queue_id: QueueId,
    pub queue_offset: QueueOffset,
    pub commit_log_offset: CommitLogOffset,
    /// Length of the whole record.
    pub record_len: u32,
    pub body: Bytes,
    /// CRC-32 of the body with the highest bit cleared, as RocketMQ keeps it.
    pub body_crc: u32,
    pub sys_flag: i32,
    pub flag: i32,
    pub born_timestamp: Timestamp,
    pub born_host: SocketAddr,
    pub store_timestamp: Timestamp,
    pub store_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: u64,
    /// `name 0x01 value 0x02`, repeated.
    pub properties: Bytes,
}

impl StoredMessage {
    /// The topic's name; records whose topic is not UTF-8 do not decode.
    pub fn topic(&self) -> &str {
        std::str::from_utf8(&self.topic).unwrap_or_default()
    }

    /// All properties, reserved ones included, in stored order. Text that is not UTF-8 is skipped.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        properties(&self.properties)
    }

    /// Of the others not even the text is checked: every delivery of a message asks for some.
    pub fn property(&self, name: &str) -> Option<&str> {
        let mut of_name = raw_properties(&self.properties).filter(|(known, _)| *known == name.as_bytes());
        of_name.find_map(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// Several at once, in one walk.
    pub fn properties_of<const N: usize>(&self, names: [&str; N]) -> [Option<&str>; N] {
        let mut values = [None; N];
        for (known, value) in raw_properties(&self.properties) {
            let wanted =
                names.iter().zip(&mut values).find(|(name, found)| found.is_none() && name.as_bytes() == known);
            if let Some((_, found)) = wanted {
                *found = std::str::from_utf8(value).ok();
            }
        }
        values
    }

    /// What the producer set itself.
    pub fn user_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties().filter(|(name, _)| !is_reserved_property(name))
    }

    pub fn tag(&self) -> Option<&str> {
        self.property(property::TAGS)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.property(property::KEYS).unwrap_or_default().split(' ').filter(|key| !key.is_empty())
    }

    /// The message group of a FIFO message.
    pub fn message_group(&self) -> Option<&str> {
        self.property(property::MESSAGE_GROUP)
    }

    /// The producer's id of the message; messages of very old producers have none.
    pub fn unique_key(&self) -> Option<&str> {
        self.property(property::UNIQUE_KEY)
    }

    /// RocketMQ's physical id: store host and commit-log offset in upper-case hex.
    pub fn offset_message_id(&self) -> String {
        OffsetMessageId { store_host: self.store_host, commit_log_offset: self.commit_log_offset }.to_string()
    }
}

/// Walks a property string.
pub fn properties(stored: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    raw_properties(stored).filter_map(|(name, value)| {
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(value).ok()?)).filter(|(name, _)| !name.is_empty())
    })
}

/// Walks a property string whose text has not been looked at; each byte is looked at once.
pub fn raw_properties(stored: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = stored;
    std::iter::from_fn(move || {
        loop {
            let name_len = find_byte(rest, |word| zero_bytes(word ^ ONES) | zero_bytes(word ^ (2 * ONES)))?;
            let (name, behind) = (&rest[..name_len], &rest[name_len + 1..]);
            if rest[name_len] == 2 {
                // No pair: it ends before a value begins.
                rest = behind;
                continue;
            }
            let value_len = find_byte(behind, |word| zero_bytes(word ^ (2 * ONES))).unwrap_or(behind.len());
            rest = behind.get(value_len + 1..).unwrap_or_default();
            return Some((name, &behind[..value_len]));
        }
    })
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// The highest bit of each byte that is 0; above the lowest of them it may say so of a 1 too.
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (0x80 * ONES)
}

/// Where the first byte lies for which `hits` sets its highest bit. Names and values are a few bytes long: a search made
/// for long ones takes longer to begin.
fn find_byte(bytes: &[u8], hits: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let found = hits(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(8 * at + found.trailing_zeros() as usize / 8);
        }
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let found = hits(u64::from_le_bytes(last));
    (found != 0).then(|| 8 * words.len() + found.trailing_zeros() as usize / 8)
}

/// RocketMQ's physical message id: | store host ip 4 or 16 | port i32 | commit-log offset i64 | as upper-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetMessageId {
    pub store_host: SocketAddr,
    pub commit_log_offset: CommitLogOffset,
}

impl OffsetMessageId {
    /// `None` when the text is not such an id.
    pub fn parse(text: &str) -> Option<OffsetMessageId> {
        use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
        let ip_len = match text.len() {
            32 => 4,
            56 => 16,
            _ => return None,
        };
        let mut bytes = [0u8; 28];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |byte: u8| (byte as char).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
        }
        let ip = match ip_len {
            4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[..4]).ok()?)),
            _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..16]).ok()?)),
        };
        let port = u32::from_be_bytes(bytes[ip_len..ip_len + 4].try_into().ok()?);
        let offset = u64::from_be_bytes(bytes[ip_len + 4..ip_len + 12].try_into().ok()?);
        Some(OffsetMessageId {
            store_host: SocketAddr::new(ip, u16::try_from(port).ok()?),
            commit_log_offset: CommitLogOffset(offset),
        })
    }
}

impl std::fmt::Display for OffsetMessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        // Written for every message that is sent over HTTP: by hand it takes a tenth of the time.
        let mut text = [0; 56];
        let mut len = 0;
        let mut put = |bytes: &[u8]| {
            for byte in bytes {
                text[len] = DIGITS[usize::from(byte >> 4)];
                text[len + 1] = DIGITS[usize::from(byte & 15)];
                len += 2;
            }
        };
        match self.store_host.ip() {
            std::net::IpAddr::V4(ip) => put(&ip.octets()),
            std::net::IpAddr::V6(ip) => put(&ip.octets()),
        }
        put(&u32::from(self.store_host.port()).to_be_bytes());
        put(&self.commit_log_offset.0.to_be_bytes());
        f.write_str(std::str::from_utf8(&text[..len]).expect("hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        Message::new(Bytes::from_static(b"x"), "id", Timestamp(1), "127.0.0.1:1".parse().unwrap()).unwrap()
    }

    #[test]
    fn the_reserved_list_is_sorted() {
        assert!(RESERVED_PROPERTIES.is_sorted());
        assert!(is_reserved_property("UNIQ_KEY") && is_reserved_property("__GANTRY_X") && !is_reserved_property("a"));
    }

    #[test]
    fn a_property_string_is_walked_pair_by_pair() {
        let walk = |stored: &'static [u8]| raw_properties(stored).collect::<Vec<_>>();
        assert_eq!(walk(b"a\x01x\x02b\x01\x02c\x01z"), [(&b"a"[..], &b"x"[..]), (b"b", b""), (b"c", b"z")]);
        assert_eq!(walk(b"no\x02\x02\x01v\x02a\x01x\x01y\x02rest"), [(&b""[..], &b"v"[..]), (b"a", b"x\x01y")]);
        assert_eq!(walk(b""), []);
    }

    #[test]
    fn a_separator_is_found_wherever_it_lies() {
        let search = |bytes: &[u8]| {
            let first = |wanted: &[u8]| bytes.iter().position(|byte| wanted.contains(byte));
            let value_end = find_byte(bytes, |word| zero_bytes(word ^ (2 * ONES)));
            let name_end = find_byte(bytes, |word| zero_bytes(word ^ ONES) | zero_bytes(word ^ (2 * ONES)));
            assert_eq!((name_end, value_end), (first(&[1, 2]), first(&[2])), "{bytes:?}");
        };
        for len in 0..20 {
            for at in 0..=len {
                // Its neighbours are those that are nearly one.
                for around in [0, 1, 3, 0x81, 0x82, 0xFF] {
                    for separator in [1, 2] {
                        let mut bytes = vec![around; len];
                        bytes[at..].iter_mut().take(1).for_each(|byte| *byte = separator);
                        search(&bytes);
                    }
                }
            }
        }
    }

    #[test]
    fn each_field_refuses_with_its_own_error() {
        assert!(matches!(message().with_tag(" "), Err(MessageError::InvalidTag { .. })));
        assert!(matches!(message().with_tag("a|b"), Err(MessageError::InvalidTag { .. })));
        assert!(matches!(message().with_keys(["a b"]), Err(MessageError::InvalidKey { .. })));
        assert!(matches!(message().with_properties([("KEYS", "x")]), Err(MessageError::InvalidProperty { .. })));
        assert!(matches!(message().with_properties([("a\u{2}", "x")]), Err(MessageError::InvalidProperty { .. })));
        assert!(matches!(
            message().with_properties([("a", "x"), ("a", "y")]),
            Err(MessageError::InvalidProperty { .. })
        ));
        let large = "v".repeat(PROPERTIES_BYTES_MAX);
        assert!(matches!(message().with_properties([("a", &*large)]), Err(MessageError::PropertiesTooLarge { .. })));
        let names: Vec<String> = (0..=PROPERTIES_MAX).map(|n| format!("name{n}")).collect();
        let many = |count: usize| message().with_properties(names[..count].iter().map(|name| (name.as_str(), "")));
        assert!(many(PROPERTIES_MAX).is_ok());
        assert!(matches!(many(PROPERTIES_MAX + 1), Err(MessageError::PropertiesTooLarge { .. })));
        let here = "127.0.0.1:1".parse().unwrap();
        assert!(matches!(Message::new(Bytes::new(), "i", Timestamp(1), here), Err(MessageError::EmptyBody)));
    }

    #[test]
    fn c6_a_delay_is_a_level_from_one_or_forty_days_at_most() {
        for delivery in [Delivery::Level(0), Delivery::After(DELAY_MAX + Duration::from_millis(1))] {
            assert!(matches!(message().with_delivery(delivery), Err(MessageError::InvalidDeliveryTime { .. })));
        }
        for delivery in [Delivery::Level(1), Delivery::After(DELAY_MAX), Delivery::At(Timestamp(0))] {
            let delayed = message().with_delivery(delivery).unwrap();
            assert_eq!((delayed.delivery(), delayed.message_type), (Some(delivery), MessageType::Delay));
            let mut fifo = message();
            fifo.message_type = MessageType::Fifo;
            assert!(matches!(fifo.with_delivery(delivery), Err(MessageError::ConflictingTypes { .. })));
        }
    }

    #[test]
    fn an_offset_message_id_reads_back() {
        let id = OffsetMessageId {
            store_host: "127.0.0.1:10911".parse().unwrap(),
            commit_log_offset: CommitLogOffset(1024),
        };
        assert_eq!(id.to_string(), "7F00000100002A9F0000000000000400");
        let v6 = OffsetMessageId { store_host: "[2001:db8::1]:10911".parse().unwrap(), ..id };
        assert_eq!(v6.to_string(), "20010DB800000000000000000000000100002A9F0000000000000400");
        assert_eq!(OffsetMessageId::parse(&v6.to_string()), Some(v6));
        assert_eq!(OffsetMessageId::parse(&id.to_string()), Some(id));
        assert_eq!(OffsetMessageId::parse("7F00000100002A9F000000000000040"), None);
        assert_eq!(OffsetMessageId::parse("GF00000100002A9F0000000000000400"), None);
    }
}
