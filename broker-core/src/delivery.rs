//! Who holds which message: cells of (consumer group, topic, queue) with their floor, acks and leases, and the parked
//! receives that wait for them. What is decided here becomes state records; nothing else changes a cell.

pub mod cell;
pub mod cells;
pub mod clients;
pub mod delay_levels;
pub mod filter;
pub mod half_messages;
pub mod idempotency;
pub mod lanes;
pub mod leases;
pub mod long_polling;
pub mod offset_ranges;
pub mod redelivery;
pub mod timers;
