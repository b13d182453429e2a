//! What lies between an accepted socket and its protocol: the PROXY header of a trusted load balancer, then TLS or
//! plain text by the first byte. Every port takes both, because half of the official clients begin with TLS and half
//! without.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use self::connections::{Connections, Place, Refused};
use self::limits::Limits;
use self::proxy_protocol::Network;
use self::tls::Tls;

pub mod connections;
pub mod limits;
pub mod patience;
pub mod proxy_protocol;
pub mod steady_body;
pub mod tls;

/// The first byte of a TLS handshake. No HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// So much is read of a connection before others have their turn. A peer that floods fills it with 50 to 130 calls; a message
/// of 4 MiB takes 512 turns.
const READ_IN_TURN: usize = 8 * 1024;

/// How sockets become connections; shared by all ports and workers.
pub struct Transport {
    tls: Arc<Tls>,
    /// Whose connections begin with a PROXY header.
    proxies: Vec<Network>,
    pub limits: Limits,
    connections: Arc<Connections>,
}

/// What a port speaks, as TLS clients ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Http,
    Grpc,
}

impl Transport {
    pub fn new(tls: Arc<Tls>, proxies: Vec<Network>, limits: Limits) -> Transport {
        let connections = Connections::new(&limits);
        Transport { tls, proxies, limits, connections }
    }

    /// A socket just accepted takes its place, or is refused: then it is to be dropped.
    pub fn enter(&self, peer: SocketAddr) -> Result<Place, Refused> {
        self.connections.enter(peer)
    }

    /// An error ends this connection alone.
    pub async fn open(&self, mut socket: TcpStream, mut place: Place, speaks: Speaks) -> io::Result<Connection> {
        let (local, peer) = (socket.local_addr()?, socket.peer_addr()?);
        let mut info = ConnectionInfo { peer, local, is_private: peer.ip().to_canonical().is_loopback() };
        let is_proxy = self.proxies.iter().any(|network| network.contains(peer.ip()));
        if is_proxy {
            let header = self.in_time("its PROXY header", proxy_protocol::read(&mut socket)).await?;
            if let Some(client) = header {
                info = ConnectionInfo { peer: client.address, local, is_private: client.is_private };
            }
        }
        // A load balancer that speaks for nobody asks whether we are well.
        if !is_proxy || info.peer != peer {
            place.is_of(info.peer).map_err(io::Error::other)?;
        }
        let mut first = [0];
        let stream = match self.in_time("its first byte", socket.peek(&mut first)).await? {
            1 if first[0] == TLS_HANDSHAKE => {
                info.is_private = true;
                let handshake = self.tls.acceptor(speaks).accept(socket);
                Stream::Tls(Box::new(self.in_time("its TLS handshake", handshake).await?))
            }
            // Nothing at all is the protocol's to judge.
            _ => Stream::Plain(socket),
        };
        let has_turn = Arc::new(true.into());
        Ok(Connection { stream, info, read_in_turn: 0, has_turn, _place: place })
    }

    async fn in_time<T>(&self, what: &str, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{what} did not come in time"));
        timeout(self.limits.opening_timeout, step).await.map_err(late)?
    }
}

/// Who is at the other end, known to every call of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// The client, also behind a load balancer that says so.
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Nobody between can read along: TLS, or the same machine.
    pub is_private: bool,
}

/// A socket that is ready for its protocol.
pub struct Connection {
    stream: Stream,
    info: ConnectionInfo,
    read_in_turn: usize,
    /// `false` until the worker has come round to it again.
    has_turn: Arc<AtomicBool>,
    _place: Place,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// Whoever else is ready on this worker comes first: the task lines up behind them. To wake the reader at once would
    /// not do, since HTTP/2 asks for more after each stream that it has accepted, all within one turn of the worker.
    fn next_turn(&mut self, waker: Waker) {
        self.read_in_turn = 0;
        let has_turn = self.has_turn.clone();
        has_turn.store(false, Ordering::Relaxed);
        tokio::spawn(async move {
            has_turn.store(true, Ordering::Relaxed);
            waker.wake();
        });
    }

    pub fn info(&self) -> ConnectionInfo {
        self.info
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info
    }
}

/// Forwards one call to whichever stream it is.
macro_rules! forward {
    ($to:expr, $stream:ident => $call:expr) => {
        match &mut $to {
            Stream::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Tls(stream) => {
                let $stream = Pin::new(&mut **stream);
                $call
            }
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        if !connection.has_turn.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let before = into.filled().len();
        let polled = forward!(connection.stream, stream => stream.poll_read(context, into));
        connection.read_in_turn += into.filled().len() - before;
        if polled.is_pending() {
            connection.read_in_turn = 0;
        } else if connection.read_in_turn >= READ_IN_TURN {
            connection.next_turn(context.waker().clone());
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self.get_mut().stream, stream => stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        forward!(self.get_mut().stream, stream => stream.poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut().stream, stream => stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.get_mut().stream, stream => stream.poll_shutdown(context))
    }
}
