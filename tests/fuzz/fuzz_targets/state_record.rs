//! Any bytes as a state record: what can be read is written back, and read the same.
#![no_main]

use gantry_broker_core::state::record::{decode, encode, synced_stamp};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(entries) = decode(input) else { return };
    let stamp = synced_stamp(input).expect("a record that can be read has a stamp");
    let again = encode(stamp, &entries);
    assert_eq!(synced_stamp(&again), Some(stamp));
    // Floating-point policies may hold what equals nothing, itself included: the text tells whether it is the same.
    let read = decode(&again).expect("what was written can be read");
    assert_eq!(format!("{read:?}"), format!("{entries:?}"));
});
