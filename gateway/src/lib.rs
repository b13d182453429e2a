//! Every network face of Gantry, the roles, and the program around them.

pub mod access;
pub mod bench;
pub mod config;
mod duration;
pub mod error;
pub mod front;
pub mod log;
pub mod messaging;
pub mod metrics;
mod numbers;
pub mod role;
pub mod store_command;
pub mod tls_command;
pub mod transport;
