//! RocketMQ's gRPC contract in Rust: what the build makes of this crate's .proto files.

/// Messages, enums, servers and clients of `apache.rocketmq.v2`.
///
/// Enum fields are `i32`, so that a number from a newer client survives; read them with the getter
/// of the field's name, or `try_from` where an unknown number must be told from the default.
#[allow(clippy::all, clippy::pedantic, missing_docs, rustdoc::all)]
pub mod v2 {
    tonic::include_proto!("apache.rocketmq.v2");
}

/// The same contract as data: an encoded `google.protobuf.FileDescriptorSet` with its imports,
/// without comments.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/v2.bin"));
