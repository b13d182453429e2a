//! The store: commit log, consume queues and index under one data directory; plain blocking code.

pub mod commit_log;
pub mod disk_files;
pub mod error;
pub mod files;
pub mod flusher;
mod mapped_file;
pub mod record;
pub mod segment;
pub mod simulated_files;
