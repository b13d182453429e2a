//! A stored message as a consumer gets it.

use std::io::Read as _;
use std::net::SocketAddr;

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::message::{BODY_BYTES_MAX, StoredMessage, is_reserved_property, property, sys_flag};
use gantry_proto::grpc::v2;
use md5::{Digest as _, Md5};
use prost::Message as _;

use super::{wire, words};

/// What a client makes of the bodies it is given.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    /// Takes off either kind of compression.
    pub inflates: bool,
    /// Writes a CRC-32 as eight upper-case hex digits if it has so many, whatever its version.
    pub knows_crc32: bool,
}

impl Reader {
    /// Nothing is known of it.
    pub const ANY: Reader = Reader { inflates: true, knows_crc32: false };
}

/// A stored message on its way to a client.
pub struct Delivery {
    pub message: StoredMessage,
    /// 1 for the first; none for what is only looked at.
    pub attempt: Option<u32>,
    /// None for what is only read.
    pub receipt_handle: Option<String>,
}

/// Without what makes it a delivery.
pub fn stored(message: StoredMessage, topic: &v2::Resource, reader: Reader) -> v2::Message {
    let mut written = Vec::new();
    let body = write(Delivery { message, attempt: None, receipt_handle: None }, topic, reader, &mut written);
    v2::Message { body, ..v2::Message::decode(&*written).expect("what was written is a message") }
}

/// What the property string says of a message.
struct Said<'a> {
    message_id: &'a str,
    message_type: v2::MessageType,
    tag: Option<&'a str>,
    keys: &'a str,
    due: Option<Timestamp>,
    message_group: Option<&'a str>,
    trace_context: Option<&'a str>,
    /// Topic and id of what a dead letter was.
    origin: [&'a str; 2],
    user_properties: Vec<[&'a str; 2]>,
}

impl Said<'_> {
    /// One walk over the property string.
    fn by(stored: &StoredMessage) -> Said<'_> {
        let mut said = Said {
            message_id: "",
            message_type: v2::MessageType::Normal,
            tag: None,
            keys: "",
            due: None,
            message_group: None,
            trace_context: None,
            origin: [""; 2],
            user_properties: Vec::new(),
        };
        for (name, value) in stored.properties() {
            match name {
                property::UNIQUE_KEY => said.message_id = value,
                property::TAGS => said.tag = Some(value),
                property::KEYS => said.keys = value,
                property::TIMER_DELIVER_MS => {
                    said.message_type = v2::MessageType::Delay;
                    said.due = value.parse().ok().map(Timestamp);
                }
                property::DELAY_LEVEL => said.message_type = v2::MessageType::Delay,
                property::MESSAGE_GROUP => {
                    said.message_group = Some(value);
                    said.message_type = v2::MessageType::Fifo;
                }
                property::HALF => said.message_type = v2::MessageType::Transaction,
                property::TRACE_CONTEXT => said.trace_context = Some(value),
                property::DLQ_ORIGIN_TOPIC => said.origin[0] = value,
                property::DLQ_ORIGIN_MESSAGE_ID => said.origin[1] = value,
                // Every record has it; of the others most have none.
                property::CRC => {}
                name if is_reserved_property(name) => {}
                name => said.user_properties.push([name, value]),
            }
        }
        said
    }
}

/// Writes a `v2::Message` without its body, the last field, and returns that. `topic` is the one the client asked for: it
/// gets no other, wherever a redelivery may rest. Written out because building the message, measuring and encoding it took a
/// tenth of the server's time where messages of 1 KiB were received and acked.
pub fn write(delivery: Delivery, topic: &v2::Resource, reader: Reader, out: &mut Vec<u8>) -> Bytes {
    let Delivery { message: mut stored, attempt, receipt_handle } = delivery;
    if !reader.inflates {
        inflate(&mut stored);
    }
    let said = Said::by(&stored);
    wire::nested(out, 1, |out| topic.encode_raw(out));
    for [name, value] in said.user_properties.iter().copied() {
        wire::nested(out, 2, |out| texts(out, [(1, name), (2, value)]));
    }
    wire::nested(out, 3, |out| {
        said.tag.into_iter().for_each(|tag| wire::text(out, 1, tag));
        said.keys.split(' ').filter(|key| !key.is_empty()).for_each(|key| wire::text(out, 2, key));
        match said.message_id {
            "" => wire::text(out, 3, &stored.offset_message_id()),
            message_id => wire::text(out, 3, message_id),
        }
        wire::nested(out, 4, |out| write_digest(&stored.body, reader, out));
        let encoding = if is_compressed(&stored) { v2::Encoding::Gzip } else { v2::Encoding::Identity };
        wire::number(out, 5, encoding as u64);
        wire::number(out, 6, said.message_type as u64);
        write_timestamp(stored.born_timestamp, 7, out);
        wire::nested(out, 8, |out| write_host(stored.born_host, out));
        write_timestamp(stored.store_timestamp, 9, out);
        wire::nested(out, 10, |out| write_address(stored.store_host, out));
        said.due.into_iter().for_each(|due| write_timestamp(due, 11, out));
        receipt_handle.iter().for_each(|handle| wire::text(out, 12, handle));
        if stored.queue_id.0 != 0 {
            wire::number(out, 13, i32::try_from(stored.queue_id.0).unwrap_or(i32::MAX) as u64);
        }
        wire::number(out, 14, i64::try_from(stored.queue_offset.0).unwrap_or(i64::MAX) as u64);
        // Clients count backwards from it: never 0.
        let attempt = attempt.map(|attempt| i32::try_from(attempt.max(1)).unwrap_or(i32::MAX));
        attempt.into_iter().for_each(|attempt| wire::number(out, 16, attempt as u64));
        said.message_group.into_iter().for_each(|message_group| wire::text(out, 17, message_group));
        said.trace_context.into_iter().for_each(|trace_context| wire::text(out, 18, trace_context));
        let [origin_topic, origin_id] = said.origin;
        if !origin_topic.is_empty() {
            wire::nested(out, 20, |out| texts(out, [(1, origin_topic), (2, origin_id)]));
        }
    });
    stored.body
}

fn texts<const COUNT: usize>(out: &mut Vec<u8>, texts: [(u32, &str); COUNT]) {
    texts.into_iter().filter(|(_, text)| !text.is_empty()).for_each(|(field, text)| wire::text(out, field, text));
}

fn write_timestamp(timestamp: Timestamp, field: u32, out: &mut Vec<u8>) {
    wire::nested(out, field, |out| words::wire_timestamp(timestamp).encode_raw(out));
}

pub fn is_compressed(message: &StoredMessage) -> bool {
    message.sys_flag & sys_flag::COMPRESSED != 0
}

/// Takes the compression off, for clients that cannot. A body that is none of RocketMQ's two kinds, or would be larger than
/// any that may be sent, stays as it is.
fn inflate(message: &mut StoredMessage) {
    if is_compressed(message)
        && let Some(plain) = inflated(&message.body)
    {
        message.body = plain.into();
        message.sys_flag &= !sys_flag::COMPRESSED;
    }
}

fn inflated(body: &[u8]) -> Option<Vec<u8>> {
    let limit = BODY_BYTES_MAX as u64 + 1;
    let mut plain = Vec::new();
    let read = if body.starts_with(&[0x1F, 0x8B]) {
        GzDecoder::new(body).take(limit).read_to_end(&mut plain)
    } else {
        ZlibDecoder::new(body).take(limit).read_to_end(&mut plain)
    };
    read.is_ok_and(|bytes| bytes <= BODY_BYTES_MAX).then_some(plain)
}

/// A producer that named only its address has no port.
fn write_host(host: SocketAddr, out: &mut Vec<u8>) {
    if host.port() == 0 {
        out.extend_from_slice(host.ip().to_string().as_bytes());
    } else {
        write_address(host, out);
    }
}

/// Every message has two. The formatter took a fortieth of the server's time where messages of 1 KiB were received and acked.
fn write_address(address: SocketAddr, out: &mut Vec<u8>) {
    let SocketAddr::V4(v4) = address else { return out.extend_from_slice(address.to_string().as_bytes()) };
    let mut digits = itoa::Buffer::new();
    for (octet, end) in v4.ip().octets().into_iter().zip(*b"...:") {
        out.extend_from_slice(digits.format(octet).as_bytes());
        out.push(end);
    }
    out.extend_from_slice(digits.format(v4.port()).as_bytes());
}

/// Clients drop a message, or fail on it, unless the digest is the text that they make of the body themselves. Of MD5 all
/// make the same, 32 upper-case digits; it took a sixth of the server's time where messages of 1 KiB were received and acked.
/// Of CRC-32 all Python clients make eight upper-case digits and all Java clients too, but without zeros in front; Rust looks
/// at neither. They get it if it begins with no zero. Go wrote lower-case digits before its version 5.1.3, Node writes a
/// decimal number, and with C++ and C# nobody has tried.
fn write_digest(body: &[u8], reader: Reader, out: &mut Vec<u8>) {
    let crc = reader.knows_crc32.then(|| crc32fast::hash(body)).filter(|crc| *crc >= 0x1000_0000);
    match crc {
        Some(crc) => {
            wire::number(out, 1, v2::DigestType::Crc32 as u64);
            write_hex(&crc.to_be_bytes(), out);
        }
        None => {
            wire::number(out, 1, v2::DigestType::Md5 as u64);
            write_hex(&Md5::digest(body), out);
        }
    }
}

/// The second field of a digest.
fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    wire::head(out, 2, 2 * bytes.len());
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use gantry_broker_core::offset::{CommitLogOffset, QueueId, QueueOffset};

    use super::*;

    fn stored_with(properties: &[(&str, &str)]) -> StoredMessage {
        let pairs = properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}"));
        StoredMessage {
            topic: Bytes::from_static(b"%RETRY%billing"),
            queue_id: QueueId(3),
            queue_offset: QueueOffset(118),
            commit_log_offset: CommitLogOffset(0x1000),
            record_len: 200,
            body: Bytes::from_static(b"hello"),
            body_crc: 0,
            sys_flag: 0,
            flag: 0,
            born_timestamp: Timestamp(1_700_000_000_123),
            born_host: "10.0.0.7:0".parse().unwrap(),
            store_timestamp: Timestamp(1_700_000_000_000),
            store_host: "127.0.0.1:10911".parse().unwrap(),
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            properties: pairs.collect::<String>().into(),
        }
    }

    /// What a client reads, and that it is what the generated code would have written.
    fn read(delivery: Delivery, reader: Reader) -> v2::Message {
        let topic = v2::Resource { resource_namespace: "shop".into(), name: "orders".into() };
        let mut written = Vec::new();
        let body = write(delivery, &topic, reader, &mut written);
        let message = v2::Message::decode(&*written).unwrap();
        // In one order of its properties: the generated code has none.
        assert_eq!(message.encoded_len(), written.len());
        if message.user_properties.len() < 2 {
            assert_eq!(message.encode_to_vec(), written);
        }
        assert_eq!(message.topic, Some(topic));
        v2::Message { body, ..message }
    }

    #[test]
    fn what_is_written_is_the_message_as_it_is_stored() {
        let crc = Reader { inflates: true, knows_crc32: true };
        let plain = stored_with(&[("UNIQ_KEY", "01AB"), ("__CRC32#", "7"), ("WAIT", "true")]);
        let delivery = Delivery { message: plain.clone(), attempt: Some(0), receipt_handle: Some("r1.x".into()) };
        let system = read(delivery, crc).system_properties.unwrap();
        let digest = |r#type: v2::DigestType, checksum: &str| {
            Some(v2::Digest { r#type: r#type.into(), checksum: checksum.into() })
        };
        let expected = v2::SystemProperties {
            message_id: "01AB".into(),
            body_digest: digest(v2::DigestType::Crc32, "3610A686"),
            body_encoding: v2::Encoding::Identity.into(),
            message_type: v2::MessageType::Normal.into(),
            born_timestamp: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 }),
            born_host: "10.0.0.7".into(),
            store_timestamp: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 }),
            store_host: "127.0.0.1:10911".into(),
            receipt_handle: Some("r1.x".into()),
            queue_id: 3,
            queue_offset: Some(118),
            delivery_attempt: Some(1),
            ..v2::SystemProperties::default()
        };
        assert_eq!(system, expected);

        // Every field there may be, one of them long enough to take more bytes for its length, and queue 0.
        let long = "v".repeat(300);
        let all = [
            (property::KEYS, "one  two"),
            (property::TAGS, ""),
            (property::MESSAGE_GROUP, "acct-7"),
            (property::TRACE_CONTEXT, "00-1"),
            ("colour", long.as_str()),
            (property::DLQ_ORIGIN_TOPIC, "returns"),
            (property::DLQ_ORIGIN_MESSAGE_ID, "02CD"),
        ];
        let full = StoredMessage { queue_id: QueueId(0), queue_offset: QueueOffset(0), ..stored_with(&all) };
        let message = read(Delivery { message: full, attempt: Some(7), receipt_handle: None }, Reader::ANY);
        assert_eq!(message.body, "hello");
        assert_eq!(message.user_properties, [("colour".to_string(), long)].into());
        let expected = v2::SystemProperties {
            tag: Some(String::new()),
            keys: vec!["one".into(), "two".into()],
            message_id: "7F00000100002A9F0000000000001000".into(),
            body_digest: digest(v2::DigestType::Md5, "5D41402ABC4B2A76B9719D911017C592"),
            message_type: v2::MessageType::Fifo.into(),
            receipt_handle: None,
            queue_id: 0,
            queue_offset: Some(0),
            delivery_attempt: Some(7),
            message_group: Some("acct-7".into()),
            trace_context: Some("00-1".into()),
            dead_letter_queue: Some(v2::DeadLetterQueue { topic: "returns".into(), message_id: "02CD".into() }),
            ..expected
        };
        assert_eq!(message.system_properties.unwrap(), expected);

        let due = [(property::TIMER_DELIVER_MS, "1700000001000"), ("a", "1"), ("b", ""), ("", "c")];
        let message = stored(stored_with(&due), &v2::Resource::default(), Reader::ANY);
        let system = message.system_properties.unwrap();
        assert_eq!(system.message_type(), v2::MessageType::Delay);
        assert_eq!(system.delivery_timestamp, Some(prost_types::Timestamp { seconds: 1_700_000_001, nanos: 0 }));
        assert_eq!((system.delivery_attempt, message.body), (None, Bytes::from_static(b"hello")));
        let user = [("a", "1"), ("b", "")].map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(message.user_properties, user.into());
        let half = stored(stored_with(&[(property::HALF, "true")]), &v2::Resource::default(), Reader::ANY);
        assert_eq!(half.system_properties.unwrap().message_type(), v2::MessageType::Transaction);
    }

    #[test]
    fn addresses_are_written_as_ever() {
        for written in ["127.0.0.1:10911", "0.0.0.0:0", "255.255.255.255:65535", "10.20.3.44:9", "[::1]:80"] {
            let mut out = Vec::new();
            write_address(written.parse().unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), written);
        }
    }

    #[test]
    fn both_kinds_are_taken_apart_and_nothing_grows_beyond_a_body() {
        let gzip = |plain: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        };
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"again").unwrap();
        assert_eq!(inflated(&zlib.finish().unwrap()).as_deref(), Some(&b"again"[..]));
        assert_eq!(inflated(&gzip(b"again")).as_deref(), Some(&b"again"[..]));
        assert_eq!(inflated(&gzip(&vec![0; BODY_BYTES_MAX])).map(|plain| plain.len()), Some(BODY_BYTES_MAX));
        assert_eq!(inflated(&gzip(&vec![0; BODY_BYTES_MAX + 1])), None);
        assert_eq!(inflated(&gzip(b"again")[..12]), None);
        assert_eq!(inflated(b"plain"), None);
    }
}
