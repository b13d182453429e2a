//! Protobuf written field by field, for what is answered most: nothing is built only to be measured, written and dropped.
//! A field is written whatever its value; that those of a default value stay away is for the caller.

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

pub fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    encode_key(field, WireType::Varint, out);
    encode_varint(value, out);
}

pub fn text(out: &mut Vec<u8>, field: u32, text: &str) {
    head(out, field, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// The head of a field whose bytes go another way.
pub fn head(out: &mut Vec<u8>, field: u32, len: usize) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

pub fn nested(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    nested_with(out, field, |out| {
        write(out);
        0
    });
}

/// `write` says how many bytes follow that are not written here. A length is known at the end: most take one byte, and
/// behind a longer one what was written moves on, a few hundred bytes that lie in the cache.
pub fn nested_with(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>) -> usize) {
    encode_key(field, WireType::LengthDelimited, out);
    let at = out.len();
    out.push(0);
    let beyond = write(out);
    let end = out.len();
    let len = (end - at - 1 + beyond) as u64;
    let more = encoded_len_varint(len) - 1;
    if more > 0 {
        out.resize(end + more, 0);
        out.copy_within(at + 1..end, at + 1 + more);
    }
    encode_varint(len, &mut &mut out[at..]);
}
