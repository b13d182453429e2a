//! How many threads serve connections, and what runs on which: decided here and nowhere else.
//!
//! Each worker is a thread with a runtime of its own; a connection stays on the worker it was handed to, so nothing is
//! stolen and nothing migrates. One acceptor hands sockets out round robin: both workers are busy with few connections,
//! and a port that is taken stays an error (two sockets with SO_REUSEPORT would share it in silence). Appends run on the
//! worker that decoded them; the flusher, the segment preparer and the redelivery clock are threads of the broker.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::front::grpc::{self, Calls, GrpcFront};
use crate::metrics::RpcCounts;
use crate::transport::connections::Place;
use crate::transport::limits::AGE_GRACE;
use crate::transport::patience::{InService, Patience};
use crate::transport::steady_body::SteadyBody;
use crate::transport::{Connection, ConnectionInfo, Speaks, Transport};

/// Sockets accepted and not yet taken by their worker.
const HANDED_MAX: usize = 1_024;
/// Largest head of an HTTP/1 request.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// On the HTTP port a connection over HTTP/2 whose peer answers no ping is dropped this soon: 30 s and 10 s. The gRPC port
/// has its own numbers.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Calls at once on such a connection, and errors of its peer's making after which it is closed.
const STREAMS_MAX: u32 = 100;
const ERROR_RESETS_MAX: usize = 64;

/// A socket, and its place among all connections.
pub(super) type Accepted = (std::net::TcpStream, Place);

/// A worker looks for new bytes after so many turns of its tasks, and not after 61 as tokio's would: beside a peer that
/// keeps it busy, everybody else's bytes wait for that. Throughput did not change measurably.
const EVENT_INTERVAL: u32 = 8;

/// One worker, and where to hand it sockets.
pub(super) struct Worker {
    pub(super) http: mpsc::Sender<Accepted>,
    pub(super) grpc: mpsc::Sender<Accepted>,
    pub(super) thread: JoinHandle<()>,
}

/// As many workers as cores. Measured with loader and server on the same two cores: two workers take 1.3 to 1.4 times the
/// publishes of one over 64 connections, in each of two alternating runs, and no fewer over one connection.
pub(super) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What all workers serve.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) transport: Arc<Transport>,
    pub(super) router: Router,
    pub(super) front: GrpcFront,
    pub(super) rpc_counts: Arc<RpcCounts>,
    pub(super) draining: watch::Receiver<bool>,
}

pub(super) fn spawn(number: usize, served: Served) -> io::Result<Worker> {
    let (http_sender, http_receiver) = mpsc::channel(HANDED_MAX);
    let (grpc_sender, grpc_receiver) = mpsc::channel(HANDED_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(EVENT_INTERVAL).build()?;
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        runtime.block_on(async {
            let calls = grpc::calls(served.front.clone(), served.rpc_counts.clone());
            tokio::join!(
                serve(&served, Speaks::Http, http_receiver, serve_http),
                serve(&served, Speaks::Grpc, grpc_receiver, move |served, connection| {
                    serve_grpc(served, calls.clone(), connection)
                }),
            );
        });
    })?;
    Ok(Worker { http: http_sender, grpc: grpc_sender, thread })
}

/// Serves a port's connections until the stop has begun and the last of them has ended.
async fn serve<Ended: Future<Output = ()> + Send + 'static>(
    served: &Served,
    speaks: Speaks,
    mut handed: mpsc::Receiver<Accepted>,
    serve_connection: impl Fn(Served, Patience<Connection>) -> Ended + Clone + Send + 'static,
) {
    let mut connections = JoinSet::new();
    while let Some(accepted) = next(&mut handed, &mut connections, &served.draining).await {
        let (served, serve_connection) = (served.clone(), serve_connection.clone());
        // Handshakes take their time; nobody waits for another's.
        connections.spawn(async move {
            let opened = tokio::select! {
                opened = open(&served.transport, accepted, speaks) => opened,
                () = drained(served.draining.clone()) => return,
            };
            if let Some(connection) = opened {
                serve_connection(served, connection).await;
            }
        });
    }
    while connections.join_next().await.is_some() {}
}

/// The next socket; none once the stop has begun. Forgets tasks that have ended as it goes.
async fn next(
    handed: &mut mpsc::Receiver<Accepted>,
    tasks: &mut JoinSet<()>,
    draining: &watch::Receiver<bool>,
) -> Option<Accepted> {
    loop {
        tokio::select! {
            biased;
            () = drained(draining.clone()) => return None,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            next = handed.recv() => return next,
        }
    }
}

/// `None`: it did not become a connection, which is nobody's business but the caller's.
async fn open(transport: &Transport, (socket, place): Accepted, speaks: Speaks) -> Option<Patience<Connection>> {
    let socket = TcpStream::from_std(socket).ok()?;
    let peer = socket.peer_addr();
    match transport.open(socket, place, speaks).await {
        Ok(connection) => Some(Patience::new(connection, &transport.limits)),
        Err(error) => {
            tracing::debug!(?peer, %error, "a connection did not open");
            None
        }
    }
}

async fn serve_http(served: Served, connection: Patience<Connection>) {
    let Served { transport, router, draining, .. } = served;
    let (info, heads) = (connection.stream().info().clone(), connection.heads());
    let (limits, its) = (transport.limits.clone(), info.clone());
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        let in_service = heads.complete();
        its.begin_call();
        request.extensions_mut().insert(its.clone());
        let mut router = router.clone();
        let request = request.map(|body| SteadyBody::new(body, &limits, &its));
        let answered = tower::Service::call(&mut router, request);
        async move { Ok::<_, Infallible>(answered.await?.map(|body| Answer { body, _in_service: in_service })) }
    });
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper counts what is idle before a head as well.
        .header_read_timeout(transport.limits.idle_timeout)
        .max_buf_size(HEAD_BYTES_MAX.max(64 * 1024))
        .pipeline_flush(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .max_local_error_reset_streams(Some(ERROR_RESETS_MAX))
        .keep_alive_interval(Some(PING_INTERVAL))
        .keep_alive_timeout(PING_TIMEOUT);
    let connection = builder.serve_connection(TokioIo::new(connection), service);
    see_through(connection, &info, draining).await;
}

async fn serve_grpc(served: Served, calls: Calls, connection: Patience<Connection>) {
    let Served { transport, draining, .. } = served;
    let info = connection.stream().info().clone();
    let (limits, its) = (transport.limits.clone(), info.clone());
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        its.begin_call();
        // What it takes to answer shall not be kept for as long as an answer's stream is open.
        let answer = Box::pin(calls.answer(grpc::request(request, &limits, &its)));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = grpc::http2().serve_connection(TokioIo::new(connection), service);
    see_through(connection, &info, draining).await;
}

/// Until it ends; once the stop has begun or it is too old it takes no new calls, and in the second case it has not for ever to
/// end those that run.
async fn see_through<C: GracefulConnection<Error: std::fmt::Display>>(
    connection: C,
    info: &ConnectionInfo,
    draining: watch::Receiver<bool>,
) {
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drained(draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = info.is_old() => {
            connection.as_mut().graceful_shutdown();
            match timeout(AGE_GRACE, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!(peer = %info.peer, "a connection that was too old is cut"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %info.peer, %error, "connection ended");
    }
}

/// An answer's body, and until it is sent whole, the sign that its request is in service.
struct Answer {
    body: axum::body::Body,
    _in_service: InService,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

async fn drained(mut draining: watch::Receiver<bool>) {
    // An error means that the sender is gone: then everything is.
    let _ = draining.wait_for(|draining| *draining).await;
}
