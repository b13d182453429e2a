//! What must stay byte for byte, fact for fact: one module for each golden thing.

mod apache;
mod foreign_store;
mod grpc_contract;
