//! One record of the commit log: RocketMQ's bytes, written and checked. Where records lie is `commit_log`'s business.
//!
//! B and S are the lengths of the hosts: 8 bytes for IPv4, 20 for IPv6. All integers are big-endian.
//!
//! | at | field |
//! |---|---|
//! | 0 | total size i32 |
//! | 4 | magic u32: V1, V2, or the blank that closes a segment |
//! | 8 | CRC-32 of the body, highest bit cleared i32 |
//! | 12 | queue id i32 |
//! | 16 | flag i32 |
//! | 20 | queue offset i64 (given at append) |
//! | 28 | own commit-log offset i64 (given at append) |
//! | 36 | sysFlag i32 |
//! | 40 | born timestamp i64 |
//! | 48 | born host: ip, port i32 |
//! | 48+B | store timestamp i64 (given at append) |
//! | 56+B | store host: ip, port i32 |
//! | 56+B+S | reconsume times i32 |
//! | 60+B+S | prepared transaction offset i64 |
//! | 68+B+S | body length i32, body |
//! | | topic length i8 (V1) or i16 (V2), topic |
//! | | properties length i16, properties: `name 0x01 value 0x02`, repeated |
//!
//! Every record written here ends with the property `__CRC32#`: the CRC-32 of all bytes before that property, highest
//! bit cleared, as ten decimal digits with the lowest first. It is RocketMQ's own optional property.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::delivery::filter::tag_hash;
use crate::message::{Message, StoredMessage, property, raw_properties, sys_flag};
use crate::names::{TOPIC_BYTES_MAX, TopicName};
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
use crate::state::source::Source;

/// The topic's length is one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// The topic's length is two bytes; only brokers since 5.1 read it.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// The rest of the segment holds nothing.
pub const MAGIC_BLANK: u32 = 0xCBD4_3194;

/// | 0..4 length of the rest of the segment | 4..8 magic |
pub const BLANK_LEN: usize = 8;
/// Bytes that tell a record from a blank, and its length.
pub const PEEK_LEN: usize = 8;
/// Longest property string: its length is a signed 16-bit number.
pub const PROPERTIES_STORED_BYTES_MAX: usize = i16::MAX as usize;

const QUEUE_OFFSET_AT: usize = 20;
const COMMIT_LOG_OFFSET_AT: usize = 28;
const BORN_TIMESTAMP_AT: usize = 40;
const BORN_HOST_AT: usize = 48;
const HOST_V4_LEN: usize = 8;
const HOST_V6_LEN: usize = 20;
/// Everything before the body, with two IPv6 hosts.
const HEAD_LEN_MAX: usize = 72 + 2 * HOST_V6_LEN;
/// All but body, topic and properties, with two IPv4 hosts and the short topic length.
const RECORD_LEN_MIN: usize = 72 + 2 * HOST_V4_LEN + 1 + 2;

/// | `__CRC32#` | 0x01 | ten digits | 0x02 |
const CRC_BLOCK_LEN: usize = property::CRC.len() + 1 + CRC_DIGITS + 1;
const CRC_DIGITS: usize = 10;
const _: () = assert!(CRC_BLOCK_LEN == 20 && RECORD_LEN_MIN == 91);
/// Room made at once for a message's properties: more costs a reallocation.
const PROPERTIES_BYTES_USUAL: usize = 256;
/// RocketMQ keeps CRCs in signed numbers and clears the sign.
const CRC_MASK: u32 = 0x7FFF_FFFF;

/// Why bytes are not the record that should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("nothing was written here")]
    Empty,
    #[error("{len} bytes are too few for a record")]
    TooShort { len: usize },
    #[error("{magic:#010x} is no record's magic")]
    Magic { magic: u32 },
    #[error("the length says {claimed}, the fields make {found}")]
    Length { claimed: i64, found: u64 },
    #[error("the field {field} holds {value}")]
    Field { field: &'static str, value: i64 },
    #[error("the record says that it lies at {claimed}")]
    Place { claimed: i64 },
    #[error("the topic is not UTF-8")]
    Topic,
    #[error("the checksum says {claimed}, the bytes make {found}")]
    Checksum { claimed: u32, found: u32 },
    #[error("the checksum of the record is missing")]
    NoChecksum,
    #[error("the properties have {len} bytes, at most {max} fit a record")]
    PropertiesTooLong { len: usize, max: usize },
}

/// Must a record carry the CRC over all of itself?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PropertyCrc {
    /// Written by us: a record without it is damaged.
    Required,
    /// Maybe written by somebody else: without it the CRC of the body has to do.
    Optional,
}

/// What the first eight bytes at a place say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    Record { len: u32 },
    Blank { len: u32 },
    Nothing(RecordError),
}

/// What a record shall say before it has a place in the log.
#[derive(Debug, Clone)]
pub struct RecordDraft {
    pub queue_id: QueueId,
    pub flag: i32,
    /// Without the bits of the hosts, which `encode` sets itself.
    pub sys_flag: i32,
    /// `None`: born when it is stored.
    pub born_timestamp: Option<Timestamp>,
    pub born_host: SocketAddr,
    pub store_host: SocketAddr,
    pub reconsume_times: i32,
    pub prepared_transaction_offset: u64,
    pub body: Bytes,
    pub tag_hash: i64,
    magic: u32,
    /// Topic, two bytes for the length of the properties, and the properties: `name 0x01 value 0x02`, repeated.
    tail: Vec<u8>,
    properties_at: usize,
}

/// A record ready for the log: all that can be done outside of the log's lock has been done.
///
/// The body is still the caller's; its one copy is the one into the log.
#[derive(Debug, Clone)]
pub struct EncodedRecord {
    head: [u8; HEAD_LEN_MAX],
    head_len: u8,
    born_host_len: u8,
    born_when_stored: bool,
    body: Bytes,
    /// Topic, properties and the CRC's block, whose digits are still missing.
    tail: Vec<u8>,
    /// CRC of body and tail without the CRC's block, and what appending that many bytes does to a CRC before them.
    rest_crc: u32,
    rest_shift: u32,
    tag_hash: i64,
}

impl RecordDraft {
    /// A producer's message.
    pub fn message(topic: &TopicName, queue_id: QueueId, store_host: SocketAddr, message: &Message) -> RecordDraft {
        let mut draft = RecordDraft {
            sys_flag: if message.body_compressed { sys_flag::COMPRESSED } else { 0 },
            born_timestamp: Some(message.born_timestamp),
            born_host: message.born_host,
            tag_hash: message.tag().map_or(0, tag_hash),
            ..RecordDraft::new(topic, queue_id, store_host, message.body().clone(), PROPERTIES_BYTES_USUAL)
        };
        message.stored_properties().for_each(|(name, value)| draft.push_property(name, &value));
        draft
    }

    /// A message on its way to another topic: born as it was, its properties those it had without our own, and in front of
    /// them from where it was moved. Properties named in `instead` are given these values.
    pub fn moved(
        topic: &TopicName,
        queue_id: QueueId,
        store_host: SocketAddr,
        message: &StoredMessage,
        source: &Source,
        instead: &[(&str, &str)],
    ) -> RecordDraft {
        let properties_bytes = message.properties.len() + PROPERTIES_BYTES_USUAL;
        let mut draft = RecordDraft {
            flag: message.flag,
            sys_flag: message.sys_flag & !sys_flag::TRANSACTION_MASK,
            born_timestamp: Some(message.born_timestamp),
            born_host: message.born_host,
            ..RecordDraft::new(topic, queue_id, store_host, message.body.clone(), properties_bytes)
        };
        draft.push_source(source);
        // As they are: somebody else's need not be text, and may have a name's end in a value.
        let is_ours = |name: &[u8]| {
            name == property::CRC.as_bytes() || name.starts_with(property::GANTRY_PREFIX.as_bytes()) || name.is_empty()
        };
        let is_replaced = |name: &[u8]| instead.iter().any(|(replaced, _)| replaced.as_bytes() == name);
        let kept = raw_properties(&message.properties).filter(|(name, _)| !is_ours(name) && !is_replaced(name));
        for (name, value) in kept {
            if draft.tag_hash == 0 && name == property::TAGS.as_bytes() {
                draft.tag_hash = std::str::from_utf8(value).map_or(0, tag_hash);
            }
            draft.push_stored_property(name, value);
        }
        instead.iter().for_each(|(name, value)| draft.push_property(name, value));
        draft
    }

    /// A record of the broker's own: no properties, born where and when it is stored.
    pub fn state(topic: &TopicName, queue_id: QueueId, store_host: SocketAddr, body: impl Into<Bytes>) -> RecordDraft {
        RecordDraft::new(topic, queue_id, store_host, body.into(), CRC_BLOCK_LEN)
    }

    fn new(
        topic: &TopicName,
        queue_id: QueueId,
        store_host: SocketAddr,
        body: Bytes,
        properties_bytes: usize,
    ) -> RecordDraft {
        let topic = topic.as_str().as_bytes();
        let mut tail = Vec::with_capacity(2 + topic.len() + 2 + properties_bytes);
        let magic = if topic.len() <= TOPIC_BYTES_MAX {
            tail.push(u8::try_from(topic.len()).expect("at most 127"));
            MAGIC_V1
        } else {
            tail.extend_from_slice(&u16::try_from(topic.len()).expect("at most 255").to_be_bytes());
            MAGIC_V2
        };
        tail.extend_from_slice(topic);
        tail.extend_from_slice(&[0; 2]);
        RecordDraft {
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: None,
            born_host: store_host,
            store_host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body,
            tag_hash: 0,
            magic,
            properties_at: tail.len(),
            tail,
        }
    }

    /// The caller has checked that neither part holds a separator; that is asserted.
    pub fn with_property(mut self, name: &str, value: &str) -> RecordDraft {
        self.push_property(name, value);
        self
    }

    /// A draft is 200 bytes: where each message comes by, it is not handed on by value.
    pub fn push_number(&mut self, name: &str, value: impl itoa::Integer) {
        self.push_stored_property(name.as_bytes(), itoa::Buffer::new().format(value).as_bytes());
    }

    pub fn push_property(&mut self, name: &str, value: &str) {
        let separates = |byte: &u8| matches!(byte, 1 | 2);
        assert!(!name.is_empty() && !name.as_bytes().iter().any(separates), "property name {name:?}");
        assert!(!value.as_bytes().iter().any(separates), "value of property {name:?}");
        self.push_stored_property(name.as_bytes(), value.as_bytes());
    }

    /// Written where it stays.
    fn push_source(&mut self, source: &Source) {
        self.tail.extend_from_slice(property::SOURCE.as_bytes());
        self.tail.push(1);
        write!(self.tail, "{source}").expect("memory takes it");
        self.tail.push(2);
    }

    fn push_stored_property(&mut self, name: &[u8], value: &[u8]) {
        self.tail.extend_from_slice(name);
        self.tail.push(1);
        self.tail.extend_from_slice(value);
        self.tail.push(2);
    }

    pub fn encode(self) -> Result<EncodedRecord, RecordError> {
        let mut tail = self.tail;
        let separator = tail[self.properties_at..].last().is_some_and(|byte| *byte != 2);
        let properties_len = tail.len() - self.properties_at + usize::from(separator) + CRC_BLOCK_LEN;
        if properties_len > PROPERTIES_STORED_BYTES_MAX {
            return Err(RecordError::PropertiesTooLong { len: properties_len, max: PROPERTIES_STORED_BYTES_MAX });
        }

        let properties_len = u16::try_from(properties_len).expect("checked above");
        tail[self.properties_at - 2..self.properties_at].copy_from_slice(&properties_len.to_be_bytes());
        if separator {
            tail.push(2);
        }
        let covered_len = tail.len();
        tail.extend_from_slice(property::CRC.as_bytes());
        tail.push(1);
        tail.extend_from_slice(&[b'0'; CRC_DIGITS]);
        tail.push(2);

        // One pass over the body serves both CRCs.
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.body);
        let body_crc = crc.clone().finalize() & CRC_MASK;
        crc.update(&tail[..covered_len]);

        let born_host = canonical(self.born_host);
        let store_host = canonical(self.store_host);
        let mut sys_flag = self.sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6);
        if born_host.is_ipv6() {
            sys_flag |= sys_flag::BORN_HOST_V6;
        }
        if store_host.is_ipv6() {
            sys_flag |= sys_flag::STORE_HOST_V6;
        }
        let (born_host_len, store_host_len) = (host_len(born_host.is_ipv6()), host_len(store_host.is_ipv6()));
        let head_len = 72 + born_host_len + store_host_len;
        let total = head_len + self.body.len() + tail.len();
        let total = i32::try_from(total).map_err(|_| RecordError::Length { claimed: i64::MAX, found: total as u64 })?;

        let mut head = [0; HEAD_LEN_MAX];
        let mut writer = HeadWriter { head: &mut head, at: 0 };
        writer.put(&total.to_be_bytes());
        writer.put(&self.magic.to_be_bytes());
        writer.put(&body_crc.to_be_bytes());
        writer.put(&self.queue_id.0.to_be_bytes());
        writer.put(&self.flag.to_be_bytes());
        writer.put(&[0; 16]);
        writer.put(&sys_flag.to_be_bytes());
        writer.put(&self.born_timestamp.unwrap_or_default().0.to_be_bytes());
        writer.put_host(born_host);
        writer.put(&[0; 8]);
        writer.put_host(store_host);
        writer.put(&self.reconsume_times.to_be_bytes());
        writer.put(&self.prepared_transaction_offset.to_be_bytes());
        writer.put(&i32::try_from(self.body.len()).expect("less than the total").to_be_bytes());
        assert_eq!(writer.at, head_len, "the layout above");

        Ok(EncodedRecord {
            head,
            head_len: u8::try_from(head_len).expect("at most 112"),
            born_host_len: u8::try_from(born_host_len).expect("at most 20"),
            born_when_stored: self.born_timestamp.is_none(),
            rest_shift: shift_of(self.body.len() + covered_len),
            rest_crc: crc.finalize(),
            body: self.body,
            tail,
            tag_hash: self.tag_hash,
        })
    }
}

impl EncodedRecord {
    /// See `RecordDraft::message`. A checked message always fits a record.
    pub fn message(topic: &TopicName, queue_id: QueueId, store_host: SocketAddr, message: &Message) -> EncodedRecord {
        RecordDraft::message(topic, queue_id, store_host, message)
            .encode()
            .expect("the limits of a message fit a record")
    }

    /// See `RecordDraft::state`. Bodies are bounded by the state's own limits, far below 2 GiB.
    pub fn state(
        topic: &TopicName,
        queue_id: QueueId,
        store_host: SocketAddr,
        body: impl Into<Bytes>,
    ) -> EncodedRecord {
        RecordDraft::state(topic, queue_id, store_host, body).encode().expect("a state body is shorter than 2 GiB")
    }

    /// Length of the whole record.
    pub fn record_len(&self) -> u32 {
        u32::try_from(usize::from(self.head_len) + self.body.len() + self.tail.len()).expect("fits i32, see `encode`")
    }

    /// What the consume queue keeps of the tag.
    pub fn tag_hash(&self) -> i64 {
        self.tag_hash
    }

    /// Writes in what only the log knows. Called under the log's lock.
    ///
    /// The CRC covers the whole record, but only these few bytes of it are new, so body and tail are not read again:
    /// the head's CRC is moved over them by one multiplication and the CRC of the rest, known already, is added.
    /// Measured under the lock: 75 ns for every length. Hashing the whole record takes 70 ns for 1 KiB but 170 us for
    /// 4 MiB, and a library's combination, which works the factor out each time, 160 to 440 ns.
    pub fn place(&mut self, queue_offset: QueueOffset, at: CommitLogOffset, store_timestamp: Timestamp) {
        let head_len = usize::from(self.head_len);
        let store_timestamp_at = BORN_HOST_AT + usize::from(self.born_host_len);
        let mut put = |at: usize, bytes: [u8; 8]| self.head[at..at + 8].copy_from_slice(&bytes);
        put(QUEUE_OFFSET_AT, queue_offset.0.to_be_bytes());
        put(COMMIT_LOG_OFFSET_AT, at.0.to_be_bytes());
        put(store_timestamp_at, store_timestamp.0.to_be_bytes());
        if self.born_when_stored {
            put(BORN_TIMESTAMP_AT, store_timestamp.0.to_be_bytes());
        }
        let crc = multiply(self.rest_shift, crc32fast::hash(&self.head[..head_len])) ^ self.rest_crc;
        let digits_at = self.tail.len() - 1 - CRC_DIGITS;
        self.tail[digits_at..digits_at + CRC_DIGITS].copy_from_slice(&crc_digits(crc & CRC_MASK));
    }

    /// The record's bytes, in the order they lie on the disk.
    pub fn pieces(&self) -> [&[u8]; 3] {
        [&self.head[..usize::from(self.head_len)], &self.body, &self.tail]
    }
}

/// The blank that closes a segment with `remaining` bytes left.
pub fn encode_blank(remaining: u32) -> [u8; BLANK_LEN] {
    let mut blank = [0; BLANK_LEN];
    blank[..4].copy_from_slice(&remaining.to_be_bytes());
    blank[4..].copy_from_slice(&MAGIC_BLANK.to_be_bytes());
    blank
}

/// Says what begins with these bytes; only `decode` says whether it is whole.
pub fn peek(bytes: &[u8]) -> Peek {
    let Some((len, magic)) = bytes.get(..4).zip(bytes.get(4..8)) else {
        return Peek::Nothing(RecordError::TooShort { len: bytes.len() });
    };
    let len = i32::from_be_bytes(len.try_into().expect("four bytes"));
    let magic = u32::from_be_bytes(magic.try_into().expect("four bytes"));
    let positive = u32::try_from(len).unwrap_or(0);
    match magic {
        0 if len == 0 => Peek::Nothing(RecordError::Empty),
        MAGIC_BLANK if positive as usize >= BLANK_LEN => Peek::Blank { len: positive },
        MAGIC_V1 | MAGIC_V2 if positive as usize >= RECORD_LEN_MIN => Peek::Record { len: positive },
        MAGIC_BLANK | MAGIC_V1 | MAGIC_V2 => {
            Peek::Nothing(RecordError::Length { claimed: len.into(), found: bytes.len() as u64 })
        }
        _ => Peek::Nothing(RecordError::Magic { magic }),
    }
}

/// Checks and reads exactly one record that lies at `at`. The fields are slices of `record`.
pub fn decode(record: &Bytes, at: CommitLogOffset, property_crc: PropertyCrc) -> Result<StoredMessage, RecordError> {
    decode_in(record, record, at, property_crc)
}

/// The same for a record that is a slice of `view`, which its fields then share.
pub(super) fn decode_in(
    view: &Bytes,
    record: &[u8],
    at: CommitLogOffset,
    property_crc: PropertyCrc,
) -> Result<StoredMessage, RecordError> {
    let fields = Fields::read(record)?;
    if u64::try_from(fields.place) != Ok(at.0) {
        return Err(RecordError::Place { claimed: fields.place });
    }
    match (crc_property(fields.properties), property_crc) {
        (Some(claimed), _) => {
            let claimed = claimed.ok_or(RecordError::NoChecksum)?;
            let found = crc32fast::hash(&record[..record.len() - CRC_BLOCK_LEN]) & CRC_MASK;
            if claimed != found {
                return Err(RecordError::Checksum { claimed, found });
            }
        }
        (None, PropertyCrc::Required) => return Err(RecordError::NoChecksum),
        (None, PropertyCrc::Optional) => {
            let found = crc32fast::hash(fields.body) & CRC_MASK;
            if fields.body_crc != found {
                return Err(RecordError::Checksum { claimed: fields.body_crc, found });
            }
        }
    }
    std::str::from_utf8(fields.topic).map_err(|_| RecordError::Topic)?;
    Ok(StoredMessage {
        topic: view.slice_ref(fields.topic),
        queue_id: fields.queue_id()?,
        queue_offset: fields.queue_offset()?,
        commit_log_offset: at,
        record_len: fields.record_len,
        body: view.slice_ref(fields.body),
        body_crc: fields.body_crc,
        sys_flag: fields.sys_flag,
        flag: fields.flag,
        born_timestamp: Timestamp(fields.born_timestamp),
        born_host: fields.born_host,
        store_timestamp: Timestamp(fields.store_timestamp),
        store_host: fields.store_host,
        reconsume_times: fields.reconsume_times,
        // Only meaningful on the records of a transaction; elsewhere old writers leave what they like.
        prepared_transaction_offset: u64::try_from(fields.prepared_transaction_offset).unwrap_or(0),
        properties: view.slice_ref(fields.properties),
    })
}

/// What dispatch must know of a record.
#[derive(Debug, Clone, Copy)]
pub struct Glance<'a> {
    pub topic: &'a [u8],
    pub queue_id: QueueId,
    pub queue_offset: QueueOffset,
    pub commit_log_offset: CommitLogOffset,
    pub record_len: u32,
    pub sys_flag: i32,
    pub store_timestamp: Timestamp,
    /// `name 0x01 value 0x02`, repeated.
    pub properties: &'a [u8],
}

/// Reads the record that begins these bytes and lies at `at`, without looking at its checksum: for bytes that this
/// process wrote itself, or of which it is enough to know that they are records.
pub fn glance(bytes: &[u8], at: CommitLogOffset) -> Result<Glance<'_>, RecordError> {
    let Peek::Record { len } = peek(bytes) else { return Err(RecordError::TooShort { len: bytes.len() }) };
    let record = bytes.get(..len as usize).ok_or(RecordError::TooShort { len: bytes.len() })?;
    let fields = Fields::read(record)?;
    if u64::try_from(fields.place) != Ok(at.0) {
        return Err(RecordError::Place { claimed: fields.place });
    }
    Ok(Glance {
        topic: fields.topic,
        queue_id: fields.queue_id()?,
        queue_offset: fields.queue_offset()?,
        commit_log_offset: at,
        record_len: fields.record_len,
        sys_flag: fields.sys_flag,
        store_timestamp: Timestamp(fields.store_timestamp),
        properties: fields.properties,
    })
}

/// The records that stand one behind the other in these bytes, the first of them at `at`; ends before what is no record.
pub fn glances(bytes: &[u8], at: CommitLogOffset) -> impl Iterator<Item = Glance<'_>> {
    let (mut left, mut at) = (bytes, at);
    std::iter::from_fn(move || {
        let record = glance(left, at).ok()?;
        left = &left[record.record_len as usize..];
        at.0 += u64::from(record.record_len);
        Some(record)
    })
}

impl Glance<'_> {
    /// Where the next record begins.
    pub fn end(&self) -> CommitLogOffset {
        CommitLogOffset(self.commit_log_offset.0 + u64::from(self.record_len))
    }
}

impl<'a> From<&'a StoredMessage> for Glance<'a> {
    fn from(message: &'a StoredMessage) -> Glance<'a> {
        Glance {
            topic: &message.topic,
            queue_id: message.queue_id,
            queue_offset: message.queue_offset,
            commit_log_offset: message.commit_log_offset,
            record_len: message.record_len,
            sys_flag: message.sys_flag,
            store_timestamp: message.store_timestamp,
            properties: &message.properties,
        }
    }
}

/// A record's fields as they are stored; only their lengths have been checked.
struct Fields<'a> {
    record_len: u32,
    body_crc: u32,
    queue_id: i32,
    flag: i32,
    queue_offset: i64,
    place: i64,
    sys_flag: i32,
    born_timestamp: i64,
    born_host: SocketAddr,
    store_timestamp: i64,
    store_host: SocketAddr,
    reconsume_times: i32,
    prepared_transaction_offset: i64,
    body: &'a [u8],
    topic: &'a [u8],
    properties: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Exactly one record.
    fn read(record: &'a [u8]) -> Result<Fields<'a>, RecordError> {
        let record_len = match peek(record) {
            Peek::Record { len } => len,
            Peek::Blank { .. } => return Err(RecordError::Magic { magic: MAGIC_BLANK }),
            Peek::Nothing(error) => return Err(error),
        };
        let mut reader = Reader { bytes: record, at: 4 };
        let magic = reader.u32()?;
        let body_crc = reader.u32()?;
        let queue_id = reader.i32()?;
        let flag = reader.i32()?;
        let queue_offset = reader.i64()?;
        let place = reader.i64()?;
        let sys_flag = reader.i32()?;
        let born_timestamp = reader.i64()?;
        let born_host = reader.host("born host", sys_flag & sys_flag::BORN_HOST_V6 != 0)?;
        let store_timestamp = reader.i64()?;
        let store_host = reader.host("store host", sys_flag & sys_flag::STORE_HOST_V6 != 0)?;
        let reconsume_times = reader.i32()?;
        let prepared_transaction_offset = reader.i64()?;
        let body_len = reader.i32()?;
        let body = reader.slice("body length", body_len.into())?;
        let topic_len = if magic == MAGIC_V1 { i64::from(reader.i8()?) } else { i64::from(reader.i16()?) };
        let topic = reader.slice("topic length", topic_len)?;
        let properties_len = reader.i16()?;
        let properties = reader.slice("properties length", properties_len.into())?;
        if reader.at != record.len() || record_len as usize != record.len() {
            return Err(RecordError::Length { claimed: record_len.into(), found: reader.at as u64 });
        }
        Ok(Fields {
            record_len,
            body_crc,
            queue_id,
            flag,
            queue_offset,
            place,
            sys_flag,
            born_timestamp,
            born_host,
            store_timestamp,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic,
            properties,
        })
    }

    fn queue_id(&self) -> Result<QueueId, RecordError> {
        let error = RecordError::Field { field: "queue id", value: self.queue_id.into() };
        u32::try_from(self.queue_id).map(QueueId).map_err(|_| error)
    }

    fn queue_offset(&self) -> Result<QueueOffset, RecordError> {
        let error = RecordError::Field { field: "queue offset", value: self.queue_offset };
        u64::try_from(self.queue_offset).map(QueueOffset).map_err(|_| error)
    }
}

/// The CRC a property string ends with: `None` if it does not, `Some(None)` if its digits are none.
fn crc_property(properties: &[u8]) -> Option<Option<u32>> {
    let block = &properties[properties.len().checked_sub(CRC_BLOCK_LEN)?..];
    let digits = block.strip_prefix(property::CRC.as_bytes())?.strip_prefix(&[1])?.strip_suffix(&[2])?;
    let number = digits
        .iter()
        .rev()
        .try_fold(0u64, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0')));
    Some(number.and_then(|number| u32::try_from(number).ok()))
}

/// Ten decimal digits, the lowest first.
fn crc_digits(mut crc: u32) -> [u8; CRC_DIGITS] {
    let mut digits = [b'0'; CRC_DIGITS];
    for digit in &mut digits {
        *digit = b'0' + u8::try_from(crc % 10).expect("a digit");
        crc /= 10;
    }
    digits
}

/// The CRC's polynomial, lowest power in the highest bit.
const POLYNOMIAL: u32 = 0xEDB8_8320;

/// What `len` bytes behind it multiply a CRC by: x^(8 len) modulo the polynomial. `len` is a record's, so it has eight
/// hexadecimal digits at most, and each but zero costs one multiplication.
fn shift_of(len: usize) -> u32 {
    let digits = SHIFTS.iter().enumerate().map(|(place, shifts)| (shifts, len >> (4 * place) & 0xF));
    digits.filter(|(_, digit)| *digit != 0).fold(SHIFT_BY_NONE, |shift, (shifts, digit)| match shift {
        SHIFT_BY_NONE => shifts[digit],
        _ => multiply(shifts[digit], shift),
    })
}

/// x^0.
const SHIFT_BY_NONE: u32 = 0x8000_0000;
/// x^8.
const SHIFT_BY_ONE: u32 = 0x0080_0000;
/// `[place][digit]`: the shift by `digit * 16^place` bytes.
const SHIFTS: [[u32; 16]; 8] = {
    let mut shifts = [[SHIFT_BY_NONE; 16]; 8];
    let mut unit = SHIFT_BY_ONE;
    let mut place = 0;
    while place < 8 {
        let mut digit = 1;
        while digit < 16 {
            shifts[place][digit] = multiply(unit, shifts[place][digit - 1]);
            digit += 1;
        }
        unit = multiply(unit, shifts[place][15]);
        place += 1;
    }
    shifts
};

/// Product of two polynomials over GF(2), modulo the CRC's.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 32;
    while bit > 0 {
        bit -= 1;
        product ^= b & ((a >> bit) & 1).wrapping_neg();
        b = (b >> 1) ^ ((b & 1).wrapping_neg() & POLYNOMIAL);
    }
    product
}

/// An IPv4 address that came through an IPv6 socket is an IPv4 address: brokers of the 4.x line read only those.
fn canonical(host: SocketAddr) -> SocketAddr {
    SocketAddr::new(host.ip().to_canonical(), host.port())
}

fn host_len(v6: bool) -> usize {
    if v6 { HOST_V6_LEN } else { HOST_V4_LEN }
}

struct HeadWriter<'a> {
    head: &'a mut [u8; HEAD_LEN_MAX],
    at: usize,
}

impl HeadWriter<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.head[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn put_host(&mut self, host: SocketAddr) {
        match host.ip() {
            IpAddr::V4(ip) => self.put(&ip.octets()),
            IpAddr::V6(ip) => self.put(&ip.octets()),
        }
        self.put(&u32::from(host.port()).to_be_bytes());
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let len = self.bytes.len();
        let bytes = self.bytes.get(self.at..self.at + N).ok_or(RecordError::TooShort { len })?;
        self.at += N;
        Ok(bytes.try_into().expect("N bytes"))
    }

    fn i8(&mut self) -> Result<i8, RecordError> {
        Ok(i8::from_be_bytes(self.take()?))
    }

    fn i16(&mut self) -> Result<i16, RecordError> {
        Ok(i16::from_be_bytes(self.take()?))
    }

    fn i32(&mut self) -> Result<i32, RecordError> {
        Ok(i32::from_be_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    fn i64(&mut self) -> Result<i64, RecordError> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    fn host(&mut self, field: &'static str, v6: bool) -> Result<SocketAddr, RecordError> {
        let ip = match v6 {
            false => IpAddr::V4(Ipv4Addr::from(self.take::<4>()?)),
            true => IpAddr::V6(Ipv6Addr::from(self.take::<16>()?)),
        };
        let port = self.i32()?;
        let port = u16::try_from(port).map_err(|_| RecordError::Field { field, value: port.into() })?;
        Ok(SocketAddr::new(ip, port))
    }

    fn slice(&mut self, field: &'static str, len: i64) -> Result<&'a [u8], RecordError> {
        let error = RecordError::Field { field, value: len };
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len)).ok_or(error)?;
        let slice = self.bytes.get(self.at..end).ok_or(error)?;
        self.at = end;
        Ok(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first golden vector of the layout, as a Java broker without the property CRC writes it.
    const GOLDEN: &str = "\
        00000092 daa320a7 69c865ed 00000003 00000000 0000000000000007 0000000000000400 00000000 \
        0000018bcfe56800 7f0000010000c350 0000018bcfe5687b 7f00000100002a9f 00000000 0000000000000000 \
        0000000e 48656c6c6f20526f636b65744d51 09 546f70696354657374 \
        0020 554e49515f4b4559 01 3031 02 54414753 01 54616741 02 57414954 01 74727565 02";
    const GOLDEN_AT: CommitLogOffset = CommitLogOffset(1024);

    fn unhex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    fn topic(name: &str) -> TopicName {
        TopicName::from_store(name.as_bytes()).unwrap()
    }

    fn host(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn bytes_of(record: &EncodedRecord) -> Bytes {
        record.pieces().concat().into()
    }

    fn draft(topic: &TopicName) -> RecordDraft {
        RecordDraft {
            born_timestamp: Some(Timestamp(1_700_000_000_000)),
            born_host: host("127.0.0.1:50000"),
            ..RecordDraft::state(topic, QueueId(3), host("127.0.0.1:10911"), &b"Hello RocketMQ"[..])
        }
        .with_property("UNIQ_KEY", "01")
        .with_property("TAGS", "TagA")
        .with_property("WAIT", "true")
    }

    fn placed(mut record: EncodedRecord) -> Bytes {
        record.place(QueueOffset(7), GOLDEN_AT, Timestamp(1_700_000_000_123));
        bytes_of(&record)
    }

    /// Another broker's record may hold what a producer of ours could not send.
    #[test]
    fn what_is_moved_keeps_properties_that_are_no_text() {
        let mut stored = decode(&unhex(GOLDEN).into(), GOLDEN_AT, PropertyCrc::Optional).unwrap();
        stored.properties = Bytes::from_static(b"a\x01b\x01c\x02\xff\x01\xfe\x02__CRC32#\x010\x02UNIQ_KEY\x0101\x02");
        let source = Source::Timer { offset: QueueOffset(9) };
        let draft = RecordDraft::moved(&topic("t"), QueueId(1), host("127.0.0.1:1"), &stored, &source, &[("a", "d")]);
        let moved = decode(&placed(draft.encode().unwrap()), GOLDEN_AT, PropertyCrc::Required).unwrap();
        let kept = &b"__GANTRY_SOURCE\x01timer 9\x02\xff\x01\xfe\x02UNIQ_KEY\x0101\x02a\x01d\x02"[..];
        assert!(moved.properties.starts_with(kept), "{:?}", moved.properties);
        let draft = RecordDraft::moved(&topic("t"), QueueId(1), host("127.0.0.1:1"), &stored, &source, &[]);
        let moved = decode(&placed(draft.encode().unwrap()), GOLDEN_AT, PropertyCrc::Required).unwrap();
        assert!(
            moved.properties.starts_with(b"__GANTRY_SOURCE\x01timer 9\x02a\x01b\x01c\x02"),
            "{:?}",
            moved.properties
        );
    }

    #[test]
    fn a2_the_golden_record_is_written_with_its_property_crc() {
        let record = placed(draft(&topic("TopicTest")).encode().unwrap());
        let mut golden = unhex(GOLDEN);
        golden[3] = 166; // total size and properties length count the CRC's property
        golden[113] = 52;
        golden.extend_from_slice(b"__CRC32#\x017731222210\x02");
        assert_eq!(record, golden);
    }

    #[test]
    fn a_record_of_a_java_broker_is_read() {
        let golden = Bytes::from(unhex(GOLDEN));
        assert_eq!(golden.len(), 146);
        let message = decode(&golden, GOLDEN_AT, PropertyCrc::Optional).unwrap();
        assert_eq!(message.topic(), "TopicTest");
        assert_eq!(&message.body[..], b"Hello RocketMQ");
        assert_eq!((message.queue_id, message.queue_offset), (QueueId(3), QueueOffset(7)));
        assert_eq!((message.commit_log_offset, message.record_len), (GOLDEN_AT, 146));
        assert_eq!(message.body_crc, 0x69c8_65ed);
        assert_eq!((message.born_timestamp.0, message.store_timestamp.0), (1_700_000_000_000, 1_700_000_000_123));
        assert_eq!((message.born_host, message.store_host), (host("127.0.0.1:50000"), host("127.0.0.1:10911")));
        assert_eq!((message.unique_key(), message.tag()), (Some("01"), Some("TagA")));
        assert_eq!(message.offset_message_id(), "7F00000100002A9F0000000000000400");
        assert_eq!(decode(&golden, GOLDEN_AT, PropertyCrc::Required).unwrap_err(), RecordError::NoChecksum);
    }

    #[test]
    fn without_the_property_crc_the_body_crc_has_to_do() {
        let mut golden = unhex(GOLDEN);
        golden[90] ^= 1;
        let error = decode(&golden.into(), GOLDEN_AT, PropertyCrc::Optional).unwrap_err();
        assert!(matches!(error, RecordError::Checksum { claimed: 0x69c8_65ed, .. }), "{error}");
    }

    #[test]
    fn a_property_string_that_does_not_end_gets_its_end() {
        let topic = topic("TopicTest");
        let mut unended = draft(&topic);
        unended.tail.pop();
        assert_eq!(placed(unended.encode().unwrap()), placed(draft(&topic).encode().unwrap()));
    }

    #[test]
    fn a1_only_a_long_topic_makes_a_v2_record() {
        for (len, magic, topic_at) in [(127, MAGIC_V1, 89), (128, MAGIC_V2, 90), (255, MAGIC_V2, 90)] {
            let name = topic(&"t".repeat(len));
            let record = EncodedRecord::state(&name, QueueId(0), host("127.0.0.1:1"), &b"x"[..]);
            assert_eq!(record.record_len() as usize, topic_at + 1 + len + 2 + CRC_BLOCK_LEN);
            let bytes = placed(record);
            assert_eq!(bytes[4..8], magic.to_be_bytes());
            assert_eq!(decode(&bytes, GOLDEN_AT, PropertyCrc::Required).unwrap().topic(), name.as_str());
        }
    }

    #[test]
    fn ipv6_hosts_take_their_flags_and_mapped_ones_are_ipv4() {
        let name = topic("t");
        let draft = |born, store| RecordDraft {
            born_host: host(born),
            ..RecordDraft::state(&name, QueueId(0), host(store), &b"x"[..])
        };
        for (born, store, flags, len) in [
            ("[2001:db8::1]:9", "127.0.0.1:1", sys_flag::BORN_HOST_V6, 12),
            ("127.0.0.1:9", "[::1]:1", sys_flag::STORE_HOST_V6, 12),
            ("[2001:db8::1]:9", "[::1]:1", sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6, 24),
        ] {
            let bytes = placed(draft(born, store).encode().unwrap());
            assert_eq!(bytes.len(), RECORD_LEN_MIN + 1 + 1 + CRC_BLOCK_LEN + len);
            let message = decode(&bytes, GOLDEN_AT, PropertyCrc::Required).unwrap();
            assert_eq!((message.born_host, message.store_host), (host(born), host(store)));
            assert_eq!(message.sys_flag, flags);
        }
        let mapped = decode(
            &placed(draft("[::ffff:10.0.0.1]:9", "127.0.0.1:1").encode().unwrap()),
            GOLDEN_AT,
            PropertyCrc::Required,
        );
        assert_eq!(mapped.unwrap().born_host, host("10.0.0.1:9"));
    }

    #[test]
    fn a_state_record_is_born_when_it_is_stored() {
        let state = TopicName::state();
        let bytes = placed(EncodedRecord::state(&state, QueueId(0), host("127.0.0.1:1"), &b"state"[..]));
        let message = decode(&bytes, GOLDEN_AT, PropertyCrc::Required).unwrap();
        assert_eq!(message.born_timestamp, message.store_timestamp);
        assert_eq!(message.user_properties().count(), 0);
        assert_eq!(&message.body[..], b"state");
    }

    #[test]
    fn the_largest_message_fits_and_too_many_properties_do_not() {
        use crate::message::{KEYS_MAX, PROPERTIES_BYTES_MAX, PROPERTIES_MAX, UNIQUE_KEY_BYTES_MAX};
        let at = host("127.0.0.1:1");
        let names: Vec<String> = (0..PROPERTIES_MAX).map(|n| format!("p{n:03}")).collect();
        let value = "v".repeat(PROPERTIES_BYTES_MAX / PROPERTIES_MAX - 4 - 1);
        let message = Message::new(Bytes::from_static(b"x"), &"u".repeat(UNIQUE_KEY_BYTES_MAX), Timestamp(1), at)
            .and_then(|message| message.with_keys(std::iter::repeat_n("k", KEYS_MAX)))
            .and_then(|message| message.with_tag("t"))
            .and_then(|message| message.with_trace_context("c"))
            .and_then(|message| message.with_properties(names.iter().map(|name| (&**name, &*value))))
            .unwrap();
        let name = topic(&"t".repeat(255));
        let bytes = placed(EncodedRecord::message(&name, QueueId(0), at, &message));
        let stored = decode(&bytes, GOLDEN_AT, PropertyCrc::Required).unwrap();
        assert_eq!(stored.user_properties().count(), PROPERTIES_MAX);
        assert_eq!(stored.keys().count(), KEYS_MAX);

        let mut draft = RecordDraft::state(&name, QueueId(0), at, &b"x"[..]);
        draft = draft.with_property("a", &"v".repeat(PROPERTIES_STORED_BYTES_MAX - CRC_BLOCK_LEN - 3));
        assert!(draft.clone().encode().is_ok());
        let error = draft.with_property("b", "").encode().unwrap_err();
        assert!(matches!(error, RecordError::PropertiesTooLong { .. }), "{error}");
    }

    #[test]
    fn d3_no_altered_byte_gets_through() {
        let record = placed(draft(&topic("TopicTest")).encode().unwrap());
        for at in 0..record.len() {
            for flip in [0x01, 0x80, 0xFF] {
                let mut altered = record.to_vec();
                altered[at] ^= flip;
                let outcome = decode(&altered.into(), GOLDEN_AT, PropertyCrc::Required);
                assert!(outcome.is_err(), "byte {at} xor {flip:#x}");
            }
        }
    }

    #[test]
    fn short_and_long_input_is_refused() {
        let record = placed(draft(&topic("TopicTest")).encode().unwrap());
        for len in 0..record.len() {
            assert!(decode(&record.slice(..len), GOLDEN_AT, PropertyCrc::Optional).is_err(), "{len} bytes");
        }
        let mut long = record.to_vec();
        long.push(0);
        let error = decode(&long.into(), GOLDEN_AT, PropertyCrc::Required).unwrap_err();
        assert_eq!(error, RecordError::Length { claimed: 166, found: 166 });
    }

    #[test]
    fn a_record_of_another_place_is_refused() {
        let record = placed(draft(&topic("TopicTest")).encode().unwrap());
        let error = decode(&record, CommitLogOffset(2048), PropertyCrc::Required).unwrap_err();
        assert_eq!(error, RecordError::Place { claimed: 1024 });
    }

    #[test]
    fn eight_bytes_tell_what_begins() {
        assert_eq!(encode_blank(300), *unhex("0000012c cbd43194"));
        assert_eq!(peek(&encode_blank(300)), Peek::Blank { len: 300 });
        assert_eq!(peek(&unhex(GOLDEN)), Peek::Record { len: 146 });
        assert_eq!(peek(&[0; 8]), Peek::Nothing(RecordError::Empty));
        assert_eq!(peek(&[0; 7]), Peek::Nothing(RecordError::TooShort { len: 7 }));
        for (bytes, magic) in [("00000092 daa320a8", 0xdaa3_20a8), ("00000092 00000000", 0)] {
            assert_eq!(peek(&unhex(bytes)), Peek::Nothing(RecordError::Magic { magic }));
        }
        for negative_or_small in ["ffffffff daa320a7", "0000005a daa320a7", "00000007 cbd43194"] {
            assert!(matches!(peek(&unhex(negative_or_small)), Peek::Nothing(RecordError::Length { .. })));
        }
        assert!(decode(&encode_blank(8).to_vec().into(), GOLDEN_AT, PropertyCrc::Optional).is_err());
    }

    #[test]
    fn a_crc_moves_over_what_follows() {
        for len in [0, 1, 2, 63, 64, 1_000, 65_537] {
            let (head, rest) = (&b"head"[..], vec![0xA5; len]);
            let whole = crc32fast::hash(&[head, &rest].concat());
            assert_eq!(multiply(shift_of(len), crc32fast::hash(head)) ^ crc32fast::hash(&rest), whole, "{len}");
        }
    }

    fn any_host() -> impl Strategy<Value = SocketAddr> {
        let v4 = (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::from((ip, port)));
        let v6 = (any::<[u8; 16]>(), any::<u16>())
            .prop_map(|(ip, port)| SocketAddr::new(IpAddr::from(ip).to_canonical(), port));
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            name in "[a-zA-Z0-9_%-]{1,255}",
            body in proptest::collection::vec(any::<u8>(), 0..3_000),
            properties in proptest::collection::vec(("[^\u{1}\u{2}]{1,20}", "[^\u{1}\u{2}]{0,40}"), 0..10),
            (born_host, store_host) in (any_host(), any_host()),
            (queue_id, queue_offset, at) in (0..i32::MAX as u32, 0..i64::MAX as u64, 0..i64::MAX as u64),
            (born, stored) in (any::<i64>(), any::<i64>()),
            (flag, sys_flag, reconsume_times) in (any::<i32>(), any::<i32>(), any::<i32>()),
            prepared in 0..i64::MAX as u64,
        ) {
            let name = topic(&name);
            let mut draft = RecordDraft {
                flag,
                sys_flag,
                born_timestamp: Some(Timestamp(born)),
                born_host,
                reconsume_times,
                prepared_transaction_offset: prepared,
                ..RecordDraft::state(&name, QueueId(queue_id), store_host, body.clone())
            };
            for (name, value) in &properties {
                draft = draft.with_property(name, value);
            }
            let mut record = draft.encode().unwrap();
            record.place(QueueOffset(queue_offset), CommitLogOffset(at), Timestamp(stored));
            let bytes = bytes_of(&record);
            prop_assert_eq!(bytes.len(), record.record_len() as usize);

            let message = decode(&bytes, CommitLogOffset(at), PropertyCrc::Required).unwrap();
            let hosts = sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6;
            prop_assert_eq!(message.topic(), name.as_str());
            prop_assert_eq!(&message.body[..], &body[..]);
            prop_assert_eq!(message.body_crc, crc32fast::hash(&body) & CRC_MASK);
            prop_assert_eq!((message.born_host, message.store_host), (born_host, store_host));
            prop_assert_eq!((message.queue_id.0, message.queue_offset.0), (queue_id, queue_offset));
            prop_assert_eq!(message.commit_log_offset.0, at);
            prop_assert_eq!((message.born_timestamp.0, message.store_timestamp.0), (born, stored));
            prop_assert_eq!((message.flag, message.reconsume_times), (flag, reconsume_times));
            prop_assert_eq!(message.sys_flag & !hosts, sys_flag & !hosts);
            prop_assert_eq!(message.prepared_transaction_offset, prepared);
            let stored: Vec<_> = message.properties().filter(|(name, _)| *name != property::CRC).collect();
            let given: Vec<_> = properties.iter().map(|(name, value)| (&**name, &**value)).collect();
            prop_assert_eq!(stored, given);
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            magic in prop_oneof![Just(MAGIC_V1), Just(MAGIC_V2), any::<u32>()],
        ) {
            let mut bytes = bytes;
            if bytes.len() >= PEEK_LEN {
                let len = u32::try_from(bytes.len()).unwrap();
                bytes[..4].copy_from_slice(&len.to_be_bytes());
                bytes[4..8].copy_from_slice(&magic.to_be_bytes());
            }
            prop_assert!(decode(&bytes.into(), GOLDEN_AT, PropertyCrc::Optional).is_err());
        }
    }
}
