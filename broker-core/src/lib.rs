//! A broker as a library: RocketMQ's commit log, consume queues, topics, consumer groups and deliveries behind one
//! typed door, [`Broker`]. No wire protocol is known here; front ends translate to and from these types.

mod background;
pub mod broker;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod error;
mod foreign;
pub mod local_broker;
pub mod message;
pub mod metrics;
pub mod names;
pub mod offset;
mod operation;
pub mod random;
pub mod receipt_handle;
pub mod recover_state;
pub mod state;
pub mod store;
mod sync;
pub mod topic_attributes;

pub use broker::Broker;
pub use config::BrokerConfig;
pub use error::BrokerError;
pub use local_broker::LocalBroker;
