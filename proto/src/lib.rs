//! Wire formats and nothing else: what travels between RocketMQ's clients and Gantry's front ends.

pub mod grpc;
