//! The faces: each turns bytes into typed requests and typed replies into bytes, and decides nothing.

pub mod call;
pub mod console;
pub mod error_table;
pub mod grpc;
pub mod rest;
