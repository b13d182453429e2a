//! The store: commit log, consume queues and index under one data directory; plain blocking code.

pub mod files;
