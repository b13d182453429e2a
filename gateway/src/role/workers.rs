//! How many threads serve connections, and what runs on which: decided here and nowhere else.
//!
//! Each worker is a thread with a runtime of its own; a connection stays on the worker it was handed to, so nothing is
//! stolen and nothing migrates. One acceptor hands sockets out round robin: both workers are busy with few connections,
//! and a port that is taken stays an error (two sockets with SO_REUSEPORT would share it in silence). Appends run on the
//! worker that decoded them; the flusher, the segment preparer and the redelivery clock are threads of the broker.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use futures_util::stream;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::front::grpc::{self, GrpcFront};
use crate::metrics::RpcCounts;

/// Sockets accepted and not yet taken by their worker.
const HANDED_MAX: usize = 1_024;
/// A connection's next request must have its head complete this soon. hyper counts the idle time before it as well, so
/// this is what kept-alive connections get: clients that pool them expect about a minute.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Largest head of an HTTP/1 request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// One worker, and where to hand it sockets.
pub(super) struct Worker {
    pub(super) http: mpsc::Sender<(std::net::TcpStream, SocketAddr)>,
    pub(super) grpc: mpsc::Sender<std::net::TcpStream>,
    pub(super) thread: JoinHandle<()>,
}

/// As many workers as cores. Measured with loader and server on the same two cores: two workers take 1.3 to 1.4 times the
/// publishes of one over 64 connections, in each of two alternating runs, and no fewer over one connection.
pub(super) fn count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(super) fn spawn(
    number: usize,
    router: Router,
    front: GrpcFront,
    rpc_counts: Arc<RpcCounts>,
    draining: watch::Receiver<bool>,
) -> io::Result<Worker> {
    let (http_sender, http_receiver) = mpsc::channel(HANDED_MAX);
    let (grpc_sender, grpc_receiver) = mpsc::channel(HANDED_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        runtime.block_on(async {
            tokio::join!(
                serve_http(router, http_receiver, draining.clone()),
                serve_grpc(front, rpc_counts, grpc_receiver, draining)
            );
        });
    })?;
    Ok(Worker { http: http_sender, grpc: grpc_sender, thread })
}

async fn serve_http(
    router: Router,
    mut handed: mpsc::Receiver<(std::net::TcpStream, SocketAddr)>,
    draining: watch::Receiver<bool>,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let next = tokio::select! {
            biased;
            () = drained(draining.clone()) => None,
            // Forgets ended connections as it goes.
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            next = handed.recv() => next,
        };
        let Some((socket, peer)) = next else { break };
        let Ok(socket) = TcpStream::from_std(socket) else { continue };
        connections.spawn(serve_connection(router.clone(), socket, peer, draining.clone()));
    }
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(router: Router, socket: TcpStream, peer: SocketAddr, draining: watch::Receiver<bool>) {
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let mut router = router.clone();
        tower::Service::call(&mut router, request)
    });
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX.max(64 * 1024))
        .pipeline_flush(true);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD_BYTES_MAX as u32).max_concurrent_streams(100);
    let connection = builder.serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drained(draining) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

async fn serve_grpc(
    front: GrpcFront,
    counts: Arc<RpcCounts>,
    handed: mpsc::Receiver<std::net::TcpStream>,
    draining: watch::Receiver<bool>,
) {
    let incoming = stream::unfold(handed, |mut handed| async move {
        let socket = handed.recv().await?;
        Some((TcpStream::from_std(socket), handed))
    });
    let server = grpc::server(counts).add_routes(grpc::service(front));
    let ended = server.serve_with_incoming_shutdown(incoming, drained(draining)).await;
    if let Err(error) = ended {
        tracing::error!(%error, "the grpc listener has ended");
    }
}

async fn drained(mut draining: watch::Receiver<bool>) {
    // An error means that the sender is gone: then everything is.
    let _ = draining.wait_for(|draining| *draining).await;
}
