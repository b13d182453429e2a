//! Any bytes as one of RocketMQ's JSON files: what can be read is written so that it reads the same.
#![no_main]

use gantry_broker_core::store::config_json::{parse, write};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Ok(value) = parse(input) else { return };
    for integer_keys in [&[][..], &[&["offsetTable", "*"][..]][..]] {
        let text = write(&value, integer_keys);
        assert_eq!(parse(text.as_bytes()).as_ref(), Ok(&value), "{text}");
    }
});
