//! One file per operation: request, checks, steps, reply. `LocalBroker` only forwards to here.

pub mod ack_message;
pub mod await_message;
pub mod await_offset;
pub mod browse_messages;
pub mod change_invisible_duration;
pub mod check_transactions;
pub mod consume_offsets;
pub mod consumer_groups;
pub mod delay;
pub mod end_transaction;
pub mod fire_messages;
pub mod forward_message_to_dead_letter_queue;
pub mod half_messages;
pub mod idempotency;
pub mod list_in_flight;
pub mod pop_message;
pub mod pull_message;
pub mod query_messages;
pub mod query_offset;
pub mod read_message;
pub mod recall_message;
pub mod redeliver_message;
pub mod release_client;
pub mod reset_offsets;
pub mod retention;
pub mod retry_topic;
pub mod send_message;
pub mod snapshot;
pub mod stats;
pub mod topics;

#[cfg(test)]
pub(crate) mod tests;
