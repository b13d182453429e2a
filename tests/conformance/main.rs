//! What users were promised, tried on the built program with real clients.

mod access;
mod admin;
mod bad_input;
mod bench;
mod codes;
mod connections;
mod contract;
mod delayed;
mod delivery;
mod full_disk;
mod grpc;
mod hostile_peers;
mod idempotency;
mod kill_9;
mod long_polling;
mod metrics;
mod openapi_document;
mod program;
mod python_client;
mod recover_state;
mod reserve_time;
mod rest;
mod rest_examples;
mod store_command;
mod transactions;
mod transport;
