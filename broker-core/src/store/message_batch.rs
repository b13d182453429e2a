//! Several messages in one body: what a client's batch carries, and what a record of a batch queue holds.
//!
//! ```text
//! item: | size i32 | magic i32, 0 | crc i32, 0 | flag i32 | body length i32, body | properties length i16, properties |
//! ```
//! Gantry itself never writes such a record (rule A1); `explode` turns one that Apache wrote into ordinary messages.

use bytes::Bytes;

use crate::message::{BATCH_ENTRIES_MAX, StoredMessage, property, sys_flag};
use crate::offset::QueueOffset;
use crate::store::record::{PROPERTIES_STORED_BYTES_MAX, RecordError};

/// An item without body and properties.
const ITEM_BYTES_MIN: usize = 4 * 5 + 2;
/// Most messages of one record of a batch queue: RocketMQ counts them in a signed 16-bit number.
pub const INNER_BATCH_MAX: usize = i16::MAX as usize;

/// One message of a batch. Topic, queue, hosts and times are those of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItem {
    pub flag: i32,
    pub body: Bytes,
    /// `name 0x01 value 0x02`, repeated.
    pub properties: Bytes,
}

/// Why bytes are no batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("item {item} of the batch, at byte {at}, {reason}")]
pub struct BatchError {
    pub item: usize,
    pub at: usize,
    pub reason: &'static str,
}

/// The body of a client's batch. Items that do not fit the format are a programming error: callers have checked them.
pub fn encode(items: &[BatchItem]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(items.iter().map(item_len).sum());
    for item in items {
        let size = i32::try_from(item_len(item)).expect("a batch is far shorter than 2 GiB");
        let properties_len = i16::try_from(item.properties.len()).expect("properties fit a record");
        bytes.extend(size.to_be_bytes());
        bytes.extend([0; 8]);
        bytes.extend(item.flag.to_be_bytes());
        bytes.extend(i32::try_from(item.body.len()).expect("less than the size").to_be_bytes());
        bytes.extend_from_slice(&item.body);
        bytes.extend(properties_len.to_be_bytes());
        bytes.extend_from_slice(&item.properties);
    }
    bytes
}

/// The items of a client's batch, at most `BATCH_ENTRIES_MAX`; their fields are slices of `bytes`.
pub fn decode(bytes: &Bytes) -> Result<Vec<BatchItem>, BatchError> {
    decode_at_most(bytes, BATCH_ENTRIES_MAX)
}

/// The messages inside of a record of a batch queue, each with its own queue offset. Any other record is itself.
pub fn explode(record: StoredMessage) -> Result<Vec<StoredMessage>, RecordError> {
    if record.sys_flag & sys_flag::INNER_BATCH == 0 {
        return Ok(vec![record]);
    }
    let count = inner_count(&record)?;
    let field = |field, value: i64| RecordError::Field { field, value };
    if record.sys_flag & sys_flag::COMPRESSED != 0 {
        return Err(field("sysFlag of a batch", record.sys_flag.into()));
    }
    let items = decode_at_most(&record.body, INNER_BATCH_MAX)
        .map_err(|error| field("place of an item that cannot be read", i64::try_from(error.at).unwrap_or(i64::MAX)))?;
    if items.len() != count {
        return Err(field(property::INNER_NUM, i64::try_from(count).unwrap_or(i64::MAX)));
    }
    let wrapping = sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP;
    let messages = items.into_iter().enumerate().map(|(at, item)| StoredMessage {
        queue_offset: QueueOffset(record.queue_offset.0 + at as u64),
        body_crc: crc32fast::hash(&item.body) & 0x7FFF_FFFF,
        sys_flag: record.sys_flag & !wrapping,
        flag: item.flag,
        body: item.body,
        properties: item.properties,
        ..record.clone()
    });
    Ok(messages.collect())
}

/// How many queue offsets a record takes.
pub fn inner_count(record: &StoredMessage) -> Result<usize, RecordError> {
    if record.sys_flag & sys_flag::INNER_BATCH == 0 {
        return Ok(1);
    }
    let count = record.property(property::INNER_NUM).and_then(|text| text.parse::<i64>().ok()).unwrap_or(-1);
    match usize::try_from(count) {
        Ok(count @ 1..=INNER_BATCH_MAX) => Ok(count),
        _ => Err(RecordError::Field { field: property::INNER_NUM, value: count }),
    }
}

fn item_len(item: &BatchItem) -> usize {
    ITEM_BYTES_MIN + item.body.len() + item.properties.len()
}

fn decode_at_most(bytes: &Bytes, items_max: usize) -> Result<Vec<BatchItem>, BatchError> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let refuse = |reason| BatchError { item: items.len(), at, reason };
        if items.len() == items_max {
            return Err(refuse("is one too many"));
        }
        let int = |at: usize| {
            let field = bytes.get(at..at + 4).ok_or(refuse("ends early"))?;
            Ok::<i32, BatchError>(i32::from_be_bytes(field.try_into().expect("four bytes")))
        };
        let size = usize::try_from(int(at)?).map_err(|_| refuse("has a negative size"))?;
        // Magic and CRC are not looked at by anybody.
        let flag = int(at + 12)?;
        let body_len = usize::try_from(int(at + 16)?).map_err(|_| refuse("has a body of negative length"))?;
        let body_at = at + 20;
        let body_end = body_at.checked_add(body_len).filter(|end| *end <= bytes.len());
        let body_end = body_end.ok_or(refuse("has a body that passes the end"))?;
        let properties_len = bytes.get(body_end..body_end + 2).ok_or(refuse("ends early"))?;
        let properties_len = i16::from_be_bytes(properties_len.try_into().expect("two bytes"));
        let properties_len =
            usize::try_from(properties_len).map_err(|_| refuse("has properties of negative length"))?;
        let end = body_end + 2 + properties_len;
        if end > bytes.len() {
            return Err(refuse("has properties that pass the end"));
        }
        if end - at != size {
            return Err(refuse("has another size than its parts"));
        }
        let properties = bytes.slice(body_end + 2..end);
        items.push(BatchItem { flag, body: bytes.slice(body_at..body_end), properties });
        at = end;
    }
    Ok(items)
}

const _: () = assert!(PROPERTIES_STORED_BYTES_MAX <= i16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::clock::Timestamp;
    use crate::offset::{CommitLogOffset, QueueId};

    fn item(flag: i32, body: &'static str, properties: &'static str) -> BatchItem {
        BatchItem { flag, body: Bytes::from_static(body.as_bytes()), properties: Bytes::from(properties) }
    }

    fn inner_batch(items: &[BatchItem], count: usize) -> StoredMessage {
        let host = "127.0.0.1:1".parse().unwrap();
        StoredMessage {
            topic: Bytes::from_static(b"batches"),
            queue_id: QueueId(2),
            queue_offset: QueueOffset(40),
            commit_log_offset: CommitLogOffset(1_000),
            record_len: 300,
            body: encode(items).into(),
            body_crc: 0,
            sys_flag: sys_flag::INNER_BATCH | sys_flag::NEED_UNWRAP,
            flag: 0,
            born_timestamp: Timestamp(1),
            born_host: host,
            store_timestamp: Timestamp(2),
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            properties: format!("INNER_NUM\u{1}{count}\u{2}INNER_BASE\u{1}40\u{2}").into(),
        }
    }

    #[test]
    fn the_bytes_are_the_documented_ones() {
        let bytes = encode(&[item(7, "ab", "K\u{1}v\u{2}")]);
        let expected =
            [0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2, b'a', b'b', 0, 4, b'K', 1, b'v', 2];
        assert_eq!(bytes, expected);
        assert_eq!(decode(&bytes.into()).unwrap(), [item(7, "ab", "K\u{1}v\u{2}")]);
        assert_eq!(decode(&Bytes::new()).unwrap(), []);
    }

    #[test]
    fn short_long_and_crooked_input_is_refused() {
        let bytes = encode(&[item(0, "first", ""), item(1, "second", "K\u{1}v\u{2}")]);
        let boundary = ITEM_BYTES_MIN + 5;
        for len in (1..bytes.len()).filter(|len| *len != boundary) {
            assert!(decode(&Bytes::copy_from_slice(&bytes[..len])).is_err(), "{len} bytes");
        }
        let mut long = bytes.clone();
        long.push(0);
        assert_eq!(decode(&long.into()).unwrap_err().item, 2);
        for (at, value) in [(0, 0xFF), (3, 1), (16, 0xFF), (19, 200), (boundary - 2, 0xFF), (boundary - 1, 9)] {
            let mut crooked = bytes.clone();
            crooked[at] = value;
            assert_eq!(decode(&crooked.into()).unwrap_err().item, 0, "byte {at}");
        }
        let many = vec![item(0, "", ""); BATCH_ENTRIES_MAX + 1];
        let error = decode(&encode(&many).into()).unwrap_err();
        assert_eq!((error.item, error.reason), (BATCH_ENTRIES_MAX, "is one too many"));
        assert!(decode(&encode(&many[1..]).into()).is_ok());
    }

    #[test]
    fn a1_a_record_of_a_batch_queue_is_read_as_its_messages() {
        let items = [item(3, "one", "TAGS\u{1}a\u{2}"), item(4, "two", "TAGS\u{1}b\u{2}UNIQ_KEY\u{1}u\u{2}")];
        let messages = explode(inner_batch(&items, 2)).unwrap();
        let seen: Vec<_> = messages.iter().map(|m| (m.queue_offset.0, m.flag, m.tag(), &m.body[..])).collect();
        assert_eq!(seen, [(40, 3, Some("a"), &b"one"[..]), (41, 4, Some("b"), &b"two"[..])]);
        assert!(messages.iter().all(|message| message.sys_flag == 0 && message.topic() == "batches"));
        // A count that does not agree, and a compressed body, which no producer makes.
        assert!(explode(inner_batch(&items, 3)).is_err());
        for count in [0, INNER_BATCH_MAX + 1] {
            assert!(explode(inner_batch(&items, count)).is_err());
        }
        let mut compressed = inner_batch(&items, 2);
        compressed.sys_flag |= sys_flag::COMPRESSED;
        assert!(explode(compressed).is_err());
        let ordinary = StoredMessage { sys_flag: 0, ..inner_batch(&items, 2) };
        assert_eq!(explode(ordinary.clone()).unwrap()[0].body, ordinary.body);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            items in proptest::collection::vec(
                (any::<i32>(), proptest::collection::vec(any::<u8>(), 0..200), proptest::collection::vec(any::<u8>(), 0..90)),
                0..12,
            )
        ) {
            let made = |(flag, body, properties): (i32, Vec<u8>, Vec<u8>)| {
                BatchItem { flag, body: body.into(), properties: properties.into() }
            };
            let items: Vec<BatchItem> = items.into_iter().map(made).collect();
            prop_assert_eq!(decode(&encode(&items).into()).unwrap(), items);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let bytes = Bytes::from(bytes);
            if let Ok(items) = decode(&bytes) {
                prop_assert!(items.iter().map(item_len).sum::<usize>() == bytes.len());
            }
        }
    }
}
