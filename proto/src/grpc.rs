//! The gRPC contract of RocketMQ 5 clients, `apache.rocketmq.v2`; bodies are `Bytes`, so they are not copied out of the
//! receive buffer.

/// Messages, enums, server traits and clients, generated from `proto/`.
#[allow(clippy::all, clippy::pedantic, missing_docs)]
pub mod v2 {
    tonic::include_proto!("apache.rocketmq.v2");
}

/// The contract as a `google.protobuf.FileDescriptorSet`, well-known types included.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/v2.bin"));
