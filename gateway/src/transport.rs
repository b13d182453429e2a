//! What lies between an accepted socket and its protocol: the PROXY header of a trusted load balancer, then TLS or
//! plain text by the first byte. Every port takes both, because half of the official clients begin with TLS and half
//! without.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use self::proxy_protocol::Network;
use self::tls::Tls;

pub mod proxy_protocol;
pub mod tls;

/// Whoever connects has this long for the PROXY header, and as long again for the first byte and the handshake.
const OPENING_MAX: Duration = Duration::from_secs(10);
/// The first byte of a TLS handshake. No HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// So much is read of a connection before others have their turn. A peer that floods fills it with some 50 calls, half a
/// millisecond of work; a message of 4 MiB takes 512 turns, at a fraction of a microsecond each.
const READ_IN_TURN: usize = 8 * 1024;

/// How sockets become connections; shared by all ports and workers.
pub struct Transport {
    tls: Arc<Tls>,
    /// Whose connections begin with a PROXY header.
    proxies: Vec<Network>,
}

/// What a port speaks, as TLS clients ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Http,
    Grpc,
}

impl Transport {
    pub fn new(tls: Arc<Tls>, proxies: Vec<Network>) -> Transport {
        Transport { tls, proxies }
    }

    /// An error ends this connection alone.
    pub async fn open(&self, mut socket: TcpStream, speaks: Speaks) -> io::Result<Connection> {
        let (local, peer) = (socket.local_addr()?, socket.peer_addr()?);
        let mut info = ConnectionInfo { peer, local, is_private: peer.ip().to_canonical().is_loopback() };
        if self.proxies.iter().any(|network| network.contains(peer.ip())) {
            let header = timeout(OPENING_MAX, proxy_protocol::read(&mut socket)).await.map_err(late)??;
            if let Some(client) = header {
                info = ConnectionInfo { peer: client.address, local, is_private: client.is_private };
            }
        }
        let stream = timeout(OPENING_MAX, async {
            let mut first = [0];
            match socket.peek(&mut first).await? {
                1 if first[0] == TLS_HANDSHAKE => {
                    info.is_private = true;
                    Ok(Stream::Tls(Box::new(self.tls.acceptor(speaks).accept(socket).await?)))
                }
                // Nothing at all is the protocol's to judge.
                _ => io::Result::Ok(Stream::Plain(socket)),
            }
        });
        Ok(Connection { stream: stream.await.map_err(late)??, info, read_in_turn: 0, has_turn: Arc::new(true.into()) })
    }
}

fn late(_: tokio::time::error::Elapsed) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the connection did not begin in time")
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
