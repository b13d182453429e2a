//! Any bytes as the body of a batch: what can be read is written back byte for byte.
#![no_main]

use bytes::Bytes;
use gantry_broker_core::store::message_batch::{decode, encode};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let bytes = Bytes::copy_from_slice(input);
    let Ok(items) = decode(&bytes) else { return };
    let again = Bytes::from(encode(&items));
    assert_eq!(decode(&again).as_ref(), Ok(&items));
    assert_eq!(again.len(), bytes.len());
});
