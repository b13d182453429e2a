//! What must stay byte for byte, fact for fact: one module for each golden thing.

mod grpc_contract;
