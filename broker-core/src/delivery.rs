//! Who holds which message: cells of (consumer group, topic, queue) with their floor, acks and leases.

pub mod filter;
