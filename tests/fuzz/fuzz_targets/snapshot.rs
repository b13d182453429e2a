//! Any bytes as a snapshot's file and as its body.
//!
//! Chance does not find the checksum, so the body is also read without it.
#![no_main]

use gantry_broker_core::state::snapshot::Snapshot;
use gantry_broker_core::store::snapshots::{decode, reflects_below};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let _ = Snapshot::decode(input);
    let _ = reflects_below(input);
    let log_id = input.get(16..32).map_or(0, |id| u128::from_be_bytes(id.try_into().expect("16 bytes")));
    if let Ok(file) = decode(input, log_id) {
        assert!(file.head.reflects_below >= file.head.replay_from);
        let _ = Snapshot::decode(&file.body);
    }
});
