//! The queue of a message group: the same for every protocol, gateway and client, or its messages would lose their order.
//!
//! RocketMQ's own function, so that a topic keeps its order when it moves here from there: Java's hash of the group, and a
//! consistent hash (Guava's) of that over the queues.

use gantry_broker_core::delivery::filter::java_hash;
use gantry_broker_core::offset::QueueId;

/// Which of `queues` queues the messages of this group go to.
pub fn queue_of(message_group: &str, queues: u32) -> QueueId {
    QueueId(consistent_hash(i64::from(java_hash(message_group)).cast_unsigned(), queues))
}

/// One of `buckets`: with one more bucket, few inputs move, and all of them to the new one.
fn consistent_hash(input: u64, buckets: u32) -> u32 {
    let mut state = input;
    let mut candidate: u32 = 0;
    loop {
        state = state.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // The sum is a signed 32-bit number there: its greatest value and one more is its least.
        let step = ((state >> 33) as u32).cast_signed().wrapping_add(1);
        let next = (f64::from(candidate) + 1.0) / (f64::from(step) / 2_147_483_648.0);
        // Truncated and saturated, as in Java.
        match next as i32 {
            next if next >= 0 && next.cast_unsigned() < buckets => candidate = next.cast_unsigned(),
            _ => return candidate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c4_groups_go_where_rocketmq_puts_them() {
        const QUEUES: [u32; 6] = [1, 3, 4, 8, 16, 100];
        for (group, places) in [
            ("order-1", [0, 0, 3, 3, 3, 3]),
            ("user_42", [0, 0, 0, 0, 10, 70]),
            ("group-A", [0, 2, 2, 2, 12, 60]),
            ("fifo-group", [0, 1, 1, 1, 11, 91]),
            ("订单-7", [0, 0, 0, 4, 15, 84]),
            ("a", [0, 0, 0, 0, 0, 29]),
            ("polygenelubricants", [0, 2, 2, 2, 2, 58]),
            ("zzzzzz", [0, 1, 3, 3, 14, 64]),
            ("cpiqdjs", [0, 0, 0, 0, 0, 0]),
            ("dskxips", [0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(QUEUES.map(|queues| queue_of(group, queues).0), places, "{group}");
        }
    }
}
