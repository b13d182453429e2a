//! Any text as an SQL92 filter, asked of any bytes as properties.
//!
//! | expression | 0x00 | property string |
#![no_main]

use gantry_broker_core::delivery::filter::sql::Sql;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    let (Some(expression), stored) = (parts.next(), parts.next().unwrap_or_default()) else { return };
    let Ok(expression) = std::str::from_utf8(expression) else { return };
    match Sql::compile(expression) {
        Ok(sql) => {
            let matches = sql.matches(stored);
            // No expression can name this property: it changes nothing, wherever it stands.
            let with_another = [b"\x02-\x01x\x02", stored].concat();
            assert_eq!(sql.matches(&with_another), matches);
            // Nor does a FALSE in front of an OR, whatever is ignored behind the condition.
            let behind_false = Sql::compile(&format!("FALSE OR {expression}")).expect("it compiles without");
            assert_eq!(behind_false.matches(stored), matches);
        }
        Err(error) => assert!(expression.is_char_boundary(error.at) && !error.reason.is_empty()),
    }
});
