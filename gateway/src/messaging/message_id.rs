//! Ids for messages whose producer names none: RocketMQ's own form, `01` and 16 bytes in upper-case hex.
//!
//! | 6 random bytes of this process | 2 low bytes of its pid | u32 seconds since 2021 | u32 sequence |

use std::sync::atomic::{AtomicU32, Ordering};

use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::random::Random;

/// 2021-01-01T00:00Z in milliseconds.
const EPOCH_MS: i64 = 1_609_459_200_000;

pub struct MessageIds {
    process: [u8; 8],
    sequence: AtomicU32,
}

impl MessageIds {
    pub fn new(random: &dyn Random) -> MessageIds {
        let mut process = [0; 8];
        random.fill(&mut process[..6]);
        process[6..].copy_from_slice(&(std::process::id() as u16).to_be_bytes());
        MessageIds { process, sequence: AtomicU32::new(0) }
    }

    pub fn next(&self, now: Timestamp) -> String {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let seconds = u32::try_from((now.0 - EPOCH_MS) / 1_000).unwrap_or(0);
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(34);
        id.push_str("01");
        let bytes = self.process.into_iter().chain(seconds.to_be_bytes()).chain(sequence.to_be_bytes());
        for byte in bytes {
            id.push(char::from(DIGITS[usize::from(byte >> 4)]));
            id.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_rocketmqs_form_and_differ() {
        struct Sevens;
        impl Random for Sevens {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(7);
            }
        }
        let ids = MessageIds::new(&Sevens);
        let (first, second) = (ids.next(Timestamp(EPOCH_MS + 1_999)), ids.next(Timestamp(EPOCH_MS + 1_999)));
        assert_eq!(first.len(), 34);
        assert!(first.starts_with("01070707070707") && first.ends_with("0000000100000000"), "{first}");
        assert_ne!(first, second);
    }
}
