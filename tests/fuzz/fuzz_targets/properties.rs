//! Any bytes as a record's properties.
#![no_main]

use gantry_broker_core::message::{is_reserved_property, properties};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    for (name, value) in properties(input) {
        assert!(!name.is_empty() && !name.contains(['\u{1}', '\u{2}']) && !value.contains('\u{2}'));
        let _ = is_reserved_property(name);
    }
});
