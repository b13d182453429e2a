//! Any bytes as a record of the commit log.
//!
//! Chance does not find checksums, places and lengths, so a first byte may have them put right: then what lies behind the
//! checks is reached too.
#![no_main]

use bytes::Bytes;
use gantry_broker_core::offset::CommitLogOffset;
use gantry_broker_core::store::record::{Peek, PropertyCrc, decode, peek};

const PUT_LENGTH_RIGHT: u8 = 1;
const PUT_BODY_CRC_RIGHT: u8 = 2;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((flags, bytes)) = input.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if flags & PUT_LENGTH_RIGHT != 0 && bytes.len() >= 8 {
        let len = (bytes.len() as u32).to_be_bytes();
        bytes[..4].copy_from_slice(&len);
    }
    if flags & PUT_BODY_CRC_RIGHT != 0
        && let Some((at, len)) = body(&bytes)
    {
        let mut crc = crc32(&bytes[at..at + len]);
        crc &= 0x7FFF_FFFF;
        bytes[8..12].copy_from_slice(&crc.to_be_bytes());
    }
    let at = bytes.get(28..36).map_or(0, |place| u64::from_be_bytes(place.try_into().expect("8 bytes")));
    let record = Bytes::from(bytes);
    let peeked = peek(&record);
    for property_crc in [PropertyCrc::Optional, PropertyCrc::Required] {
        let Ok(message) = decode(&record, CommitLogOffset(at), property_crc) else { continue };
        assert!(matches!(peeked, Peek::Record { len } if len as usize == record.len()));
        assert_eq!(message.record_len as usize, record.len());
        assert_eq!(message.commit_log_offset, CommitLogOffset(at));
        assert!(message.topic().len() <= record.len());
        let _ = (message.tag(), message.unique_key(), message.keys().count(), message.user_properties().count());
        let _ = message.offset_message_id();
        // The same bytes elsewhere are no record.
        assert!(decode(&record, CommitLogOffset(at ^ 1), property_crc).is_err());
    }
});

/// Where the body lies, if the lengths before it can be read.
fn body(bytes: &[u8]) -> Option<(usize, usize)> {
    let sys_flag = i32::from_be_bytes(bytes.get(36..40)?.try_into().ok()?);
    let host = |bit: i32| if sys_flag & bit == 0 { 8 } else { 20 };
    let at = 72 + host(0x10) + host(0x20);
    let len = i32::from_be_bytes(bytes.get(at - 4..at)?.try_into().ok()?);
    let len = usize::try_from(len).ok()?;
    (at + len <= bytes.len()).then_some((at, len))
}

/// CRC-32, bit by bit: independent of the one that is tried.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}
