//! Any bytes in the commit log of a store that is opened again.
#![no_main]

use gantry_fuzz::Original;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let original = Original::the();
    if let Some(damaged) = original.damage("commitlog", input) {
        original.check(&damaged.files);
    }
});
