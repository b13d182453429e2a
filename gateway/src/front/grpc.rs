//! The gRPC face, `apache.rocketmq.v2`: what RocketMQ 5's own clients of every language talk to.
//!
//! Translates and decides nothing. Nothing here outlives a call except open streams, so any gateway may serve any call
//! of any client. A refusal travels in the reply's own `status`; gRPC's status is left to broken transport, with the one
//! exception of a refused Telemetry stream (see `telemetry`).
//!
//! HTTP/2 and the connection are `role/workers.rs`'s; the numbers for them are here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gantry_broker_core::clock::Clock;
use gantry_broker_core::names::BrokerName;
use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::admin_server::AdminServer;
use gantry_proto::grpc::v2::messaging_service_server::MessagingServiceServer;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tonic::body::Body;
use tonic::service::Routes;

use crate::access::Users;
use crate::messaging::Messaging;
use crate::metrics::RpcCounts;
use crate::transport::ConnectionInfo;
use crate::transport::limits::Limits;
use crate::transport::steady_body::{SteadyBody, TooSlow};
use clients::Clients;

mod admin;
mod caller;
mod calls;
mod checks;
mod clients;
mod delivery;
mod end_transaction;
mod frames;
mod health;
mod messaging_service;
mod offsets;
mod pull_message;
mod recall_message;
mod receipts;
mod receive_message;
mod reflection;
mod route;
mod send_message;
mod settings;
mod status;
mod telemetry;
#[cfg(test)]
mod tests;
mod wire;
mod words;

pub use calls::Calls;
pub use route::endpoints;

/// Largest request: 4 MiB of bodies, and as much again for properties and names.
pub const REQUEST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest list of header fields.
pub const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;
/// Most calls at once on one connection: an official client keeps one connection, and a parked poll for each queue it
/// consumes. What they can make us buffer is bounded by the connection's window.
pub const CONCURRENT_STREAMS_MAX: u32 = 4_096;
/// What a client may send before we have read it: a message of the largest size takes four rounds on one stream, and all
/// calls of a connection together hold no more than one such message. Measured with clients and server on one machine, 4 MiB a
/// connection instead of HTTP/2's 64 KiB gave batches 40 % more.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Longest frame that clients may send: 64 heads for the largest message instead of 256 with HTTP/2's 16 KiB.
const FRAME_BYTES_MAX: u32 = 64 << 10;
/// A connection whose peer answers no ping is dropped, and its parked polls with it: a minute, as often as the most eager
/// official client (C++) asks us. Pings of clients are answered whenever they come; nothing enforces a pace.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls a client may reset before they were looked at. A consumer that stops resets its parked polls all at once; h2's
/// default of 20 takes that for an attack.
const PENDING_RESETS_MAX: usize = 1_024;
/// Errors of its peer's making after which a connection is closed; calls beyond `CONCURRENT_STREAMS_MAX` are such. Others leave a
/// stream of 600 bytes behind that waits to be told: with 204,800 of them, one connection held 124 MiB.
const ERROR_RESETS_MAX: usize = 1_024;

/// One broker, as the official clients see it.
#[derive(Clone)]
pub struct GrpcFront {
    messaging: Arc<Messaging>,
    users: Arc<Users>,
    clients: Arc<Clients>,
    clock: Arc<dyn Clock>,
    broker_name: BrokerName,
    /// Where clients shall connect; else where they say they did.
    advertised: Option<v2::Endpoints>,
    /// Where this gateway listens: the last resort.
    listening: SocketAddr,
}

impl GrpcFront {
    pub fn new(
        messaging: Arc<Messaging>,
        users: Arc<Users>,
        clock: Arc<dyn Clock>,
        broker_name: BrokerName,
        advertised: Option<v2::Endpoints>,
        listening: SocketAddr,
    ) -> GrpcFront {
        GrpcFront { messaging, users, clients: Arc::default(), clock, broker_name, advertised, listening }
    }
}

/// Both services of the contract, and gRPC's own two: is it well, and what does it serve. Called inside of a runtime.
pub fn calls(front: GrpcFront, counts: Arc<RpcCounts>) -> Calls {
    let health = health::service(front.messaging.clone());
    let admin = admin::Admin { front: front.clone() };
    let messaging = MessagingServiceServer::new(front)
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(usize::MAX);
    let routes = Routes::new(messaging).add_service(AdminServer::new(admin)).add_service(health);
    Calls { routes: reflection::add_to(routes).prepare(), counts }
}

/// A request as it comes from a connection, whose body must not dawdle.
pub fn request(request: Request<Incoming>, limits: &Limits, connection: &ConnectionInfo) -> Request<Body> {
    let rests = ["/Telemetry", "/ServerReflectionInfo"].iter().any(|rpc| request.uri().path().ends_with(rpc));
    let mut request = request.map(|body| {
        let body = SteadyBody::new(body, limits, connection);
        let body = if rests { body.that_rests() } else { body };
        Body::new(body.map_err(|error| match TooSlow::under(&*error) {
            Some(too_slow) => tonic::Status::deadline_exceeded(too_slow.to_string()),
            None => tonic::Status::from_error(error),
        }))
    });
    request.extensions_mut().insert(connection.clone());
    request
}

/// HTTP/2 with the transport's numbers.
pub fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(ERROR_RESETS_MAX))
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
}
