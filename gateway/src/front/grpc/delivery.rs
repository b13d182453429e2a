//! A stored message as a consumer gets it.

use std::io::Read as _;
use std::net::SocketAddr;

use flate2::read::{GzDecoder, ZlibDecoder};
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::message::{BODY_BYTES_MAX, StoredMessage, is_reserved_property, property, sys_flag};
use gantry_proto::grpc::v2;
use md5::{Digest as _, Md5};

use super::words;

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

/// A stored message on its way to a consumer.
pub struct Delivery {
    pub message: StoredMessage,
    /// 1 for the first.
    pub attempt: u32,
    /// None for what is only read.
    pub receipt_handle: Option<String>,
}

/// `topic` is the one the consumer asked for: it gets no other, wherever a redelivery may rest.
pub fn message(delivery: Delivery, topic: &v2::Resource, reader: Reader) -> v2::Message {
    let mut message = stored(delivery.message, topic, reader);
    if let Some(system) = &mut message.system_properties {
        system.receipt_handle = delivery.receipt_handle;
        // Clients count backwards from it: never 0.
        system.delivery_attempt = Some(i32::try_from(delivery.attempt.max(1)).unwrap_or(i32::MAX));
    }
    message
}

/// Without what makes it a delivery.
pub fn stored(mut stored: StoredMessage, topic: &v2::Resource, reader: Reader) -> v2::Message {
    if !reader.inflates {
        inflate(&mut stored);
    }
    let compressed = is_compressed(&stored);
    let mut system = v2::SystemProperties {
        body_digest: Some(digest(&stored.body, reader)),
        body_encoding: if compressed { v2::Encoding::Gzip } else { v2::Encoding::Identity }.into(),
        message_type: v2::MessageType::Normal.into(),
        born_timestamp: Some(words::wire_timestamp(stored.born_timestamp)),
        born_host: host(stored.born_host),
        store_timestamp: Some(words::wire_timestamp(stored.store_timestamp)),
        store_host: address(stored.store_host),
        queue_id: i32::try_from(stored.queue_id.0).unwrap_or(i32::MAX),
        queue_offset: Some(i64::try_from(stored.queue_offset.0).unwrap_or(i64::MAX)),
        ..v2::SystemProperties::default()
    };
    let mut user_properties = std::collections::HashMap::new();
    let mut origin = v2::DeadLetterQueue::default();
    // One walk over the property string.
    for (name, value) in stored.properties() {
        match name {
            property::UNIQUE_KEY => system.message_id = value.to_string(),
            property::TAGS => system.tag = Some(value.to_string()),
            property::KEYS => {
                system.keys = value.split(' ').filter(|key| !key.is_empty()).map(str::to_string).collect()
            }
            property::TIMER_DELIVER_MS | property::DELAY_LEVEL => {
                system.message_type = v2::MessageType::Delay.into();
                if name == property::TIMER_DELIVER_MS {
                    let due = value.parse().ok().map(Timestamp);
                    system.delivery_timestamp = due.map(words::wire_timestamp);
                }
            }
            property::MESSAGE_GROUP => {
                system.message_group = Some(value.to_string());
                system.message_type = v2::MessageType::Fifo.into();
            }
            property::HALF => system.message_type = v2::MessageType::Transaction.into(),
            property::TRACE_CONTEXT => system.trace_context = Some(value.to_string()),
            property::DLQ_ORIGIN_TOPIC => origin.topic = value.to_string(),
            property::DLQ_ORIGIN_MESSAGE_ID => origin.message_id = value.to_string(),
            name if is_reserved_property(name) => {}
            name => {
                user_properties.insert(name.to_string(), value.to_string());
            }
        }
    }
    if system.message_id.is_empty() {
        system.message_id = stored.offset_message_id();
    }
    system.dead_letter_queue = (!origin.topic.is_empty()).then_some(origin);
    v2::Message { topic: Some(topic.clone()), user_properties, system_properties: Some(system), body: stored.body }
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
fn host(host: SocketAddr) -> String {
    if host.port() == 0 { host.ip().to_string() } else { address(host) }
}

/// Every message has two. The formatter took a fortieth of the server's time where messages of 1 KiB were received and acked.
fn address(address: SocketAddr) -> String {
    let SocketAddr::V4(v4) = address else { return address.to_string() };
    let mut digits = itoa::Buffer::new();
    let mut text = String::with_capacity("255.255.255.255:65535".len());
    for (octet, end) in v4.ip().octets().into_iter().zip(['.', '.', '.', ':']) {
        text.push_str(digits.format(octet));
        text.push(end);
    }
    text.push_str(digits.format(v4.port()));
    text
}

/// Clients drop a message, or fail on it, unless the digest is the text that they make of the body themselves. Of MD5 all
/// make the same, 32 upper-case digits; it took a sixth of the server's time where messages of 1 KiB were received and acked.
/// Of CRC-32 all Python clients make eight upper-case digits and all Java clients too, but without zeros in front; Rust looks
/// at neither. They get it if it begins with no zero. Go wrote lower-case digits before its version 5.1.3, Node writes a
/// decimal number, and with C++ and C# nobody has tried.
fn digest(body: &[u8], reader: Reader) -> v2::Digest {
    let crc = reader.knows_crc32.then(|| crc32fast::hash(body)).filter(|crc| *crc >= 0x1000_0000);
    let (digest_type, checksum) = match crc {
        Some(crc) => (v2::DigestType::Crc32, hex(&crc.to_be_bytes())),
        None => (v2::DigestType::Md5, hex(&Md5::digest(body))),
    };
    v2::Digest { r#type: digest_type.into(), checksum }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    #[test]
    fn addresses_are_written_as_ever() {
        for written in ["127.0.0.1:10911", "0.0.0.0:0", "255.255.255.255:65535", "10.20.3.44:9", "[::1]:80"] {
            let read: SocketAddr = written.parse().unwrap();
            assert_eq!(address(read), written);
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
