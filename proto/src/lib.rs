//! Wire formats, and nothing else: what the bytes between clients, gateways and brokers mean.

pub mod grpc;
