//! Stores that Apache RocketMQ wrote, or will write (rule B8): taken over at a start, handed over by a clean stop.
//!
//! The log needs no translation (`store/foreign_log.rs` surveys it). What is translated here is what RocketMQ keeps
//! beside it: topics, consumer groups and offsets in `config/*.json`, and what is in flight.
//!
//! Delayed messages, timers and half messages stay where they are, in their system topics, with their queues kept up: what
//! is translated is which of them are done.

pub mod config_files;
pub mod delayed;
pub mod export;
pub mod ids;
pub mod import;
pub mod in_flight;
pub mod transactions;
