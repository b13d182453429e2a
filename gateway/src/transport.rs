//! What lies between an accepted socket and its protocol: the PROXY header of a trusted load balancer, then TLS or
//! plain text by the first byte. Every port takes both, because half of the official clients begin with TLS and half
//! without.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use self::connections::{Connections, Place, Refused};
use self::cork::Cork;
use self::farewell::FAREWELL_MAX;
use self::limits::Limits;
use self::proxy_protocol::Network;
use self::steady_body::Bodies;
use self::tls::Tls;

pub mod connections;
mod cork;
mod farewell;
pub mod limits;
pub mod patience;
pub mod proxy_protocol;
pub mod steady_body;
pub mod tls;

/// The first byte of a TLS handshake. No HTTP begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// So much is read of a connection before others have their turn: a message of 4 MiB takes 512 turns.
const READ_IN_TURN_MAX: usize = 8 * 1024;
/// Of small calls that would be 50 to 130, and everybody else on the worker would wait for all of them, thrice: to be read, to
/// be served and to be answered. So the more of them a turn brought, the less is read in the next. Twice as many as fill one
/// with messages of 1 KiB are fine.
const CALLS_IN_TURN: usize = 16;
/// After fewer, more is read again.
const CALLS_IN_TURN_FEW: usize = CALLS_IN_TURN / 2;
/// More than one call, and less than a call's head may have.
const READ_IN_TURN_MIN: usize = 512;

/// A peer that takes nothing of what it is sent is gone, or as good as gone: as long as one that answers no ping is waited for.
/// Pings do not find it out, since they wait behind what it does not take.
const UNTAKEN_MAX: Duration = Duration::from_secs(80);

/// What every socket is told when it is accepted.
pub fn prepare(socket: &TcpStream) -> io::Result<()> {
    // Answers are small and must not wait for the one before them to be confirmed.
    socket.set_nodelay(true)?;
    Ok(set_tcp_user_timeout(socket, UNTAKEN_MAX.as_millis() as u32)?)
}

/// How sockets become connections; shared by all ports and workers.
pub struct Transport {
    tls: Arc<Tls>,
    /// Whose connections begin with a PROXY header.
    proxies: Vec<Network>,
    pub limits: Limits,
    connections: Arc<Connections>,
    /// So many have opened.
    opened: AtomicU32,
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
        Transport { tls, proxies, limits, connections, opened: AtomicU32::new(0) }
    }

    /// A socket just accepted takes its place, or is refused: then it is to be dropped.
    pub fn enter(&self, peer: SocketAddr) -> Result<Place, Refused> {
        self.connections.enter(peer)
    }

    /// An error ends this connection alone.
    pub async fn open(&self, mut socket: TcpStream, mut place: Place, speaks: Speaks) -> io::Result<Connection> {
        let (local, peer) = (socket.local_addr()?, socket.peer_addr()?);
        let is_private = peer.ip().to_canonical().is_loopback();
        let age = self.limits.age_of(self.opened.fetch_add(1, Ordering::Relaxed));
        let old_at = age.map(|age| Instant::now() + age);
        let mut info = ConnectionInfo { peer, local, is_private, old_at, load: Arc::default() };
        let is_proxy = self.proxies.iter().any(|network| network.contains(peer.ip()));
        if is_proxy {
            let header = self.in_time("its PROXY header", proxy_protocol::read(&mut socket)).await?;
            if let Some(client) = header {
                info = ConnectionInfo { peer: client.address, is_private: client.is_private, ..info };
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
        let cork = (speaks == Speaks::Grpc).then(Cork::default);
        Ok(Connection { socket: Some((stream, place)), info, turn: Turn::first(), cork, has_said_all: false })
    }

    async fn in_time<T>(&self, what: &str, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("{what} did not come in time"));
        timeout(self.limits.opening_timeout, step).await.map_err(late)?
    }
}

/// Who is at the other end, known to every call of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// The client, also behind a load balancer that says so.
    pub peer: SocketAddr,
    pub local: SocketAddr,
    /// Nobody between can read along: TLS, or the same machine.
    pub is_private: bool,
    old_at: Option<Instant>,
    load: Arc<Load>,
}

/// What a connection is doing.
#[derive(Debug, Default)]
struct Load {
    calls: AtomicU32,
    bodies: Bodies,
}

impl ConnectionInfo {
    /// For those that have no connection.
    #[cfg(test)]
    pub fn of(peer: SocketAddr, is_private: bool) -> ConnectionInfo {
        ConnectionInfo { peer, local: peer, is_private, old_at: None, load: Arc::default() }
    }

    /// A call has begun: whoever serves calls says so.
    pub fn begin_call(&self) {
        self.load.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until the connection is as old as it may become: what keeps it open for no end shall end then.
    pub async fn is_old(&self) {
        match self.old_at {
            // Whoever waits for it in vain shall not keep a timer ready.
            Some(old_at) => Box::pin(tokio::time::sleep_until(old_at)).await,
            None => std::future::pending().await,
        }
    }
}

/// A socket that is ready for its protocol.
pub struct Connection {
    /// And its place among all; there until the connection is dropped.
    socket: Option<(Stream, Place)>,
    info: ConnectionInfo,
    turn: Turn,
    /// Where HTTP/2 is spoken.
    cork: Option<Cork>,
    /// It was shut down.
    has_said_all: bool,
}

/// What a connection may read before others come.
struct Turn {
    /// `false` until the worker has come round to it again.
    has_come: Arc<AtomicBool>,
    read: usize,
    read_max: usize,
}

impl Turn {
    fn first() -> Turn {
        Turn { has_come: Arc::new(true.into()), read: 0, read_max: READ_IN_TURN_MAX }
    }

    /// Is over. Whoever else is ready on this worker comes first: the task lines up behind them. To wake the reader at once
    /// would not do, since HTTP/2 asks for more after each stream that it has accepted, all within one turn of the worker.
    fn end(&mut self, waker: Waker) {
        self.has_come.store(false, Ordering::Relaxed);
        let has_come = self.has_come.clone();
        tokio::spawn(async move {
            has_come.store(true, Ordering::Relaxed);
            waker.wake();
        });
    }

    /// What may still be read; usually as much as there is room for.
    fn room(&self) -> Option<usize> {
        (self.read_max < READ_IN_TURN_MAX).then(|| self.read_max - self.read)
    }

    /// Begins, so many calls after the last one did.
    fn begin(&mut self, calls: usize) {
        self.read = 0;
        self.read_max = match calls {
            0..CALLS_IN_TURN_FEW => self.read_max * 2,
            CALLS_IN_TURN_FEW..=CALLS_IN_TURN => self.read_max,
            _ => self.read_max * CALLS_IN_TURN / calls,
        }
        .clamp(READ_IN_TURN_MIN, READ_IN_TURN_MAX);
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub fn info(&self) -> &ConnectionInfo {
        &self.info
    }
}

impl Connected for Connection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

/// Over gRPC its peer shall hang up in turn.
impl Drop for Connection {
    fn drop(&mut self) {
        let socket = self.socket.take().filter(|_| self.has_said_all && self.cork.is_some());
        if let (Some((stream, place)), Ok(runtime)) = (socket, Handle::try_current()) {
            runtime.spawn(async move {
                match stream {
                    Stream::Plain(stream) => farewell::take(stream, FAREWELL_MAX).await,
                    Stream::Tls(stream) => farewell::take(stream, FAREWELL_MAX).await,
                }
                drop(place);
            });
        }
    }
}

/// Forwards one call to whichever stream it is.
macro_rules! forward {
    ($to:expr, $stream:ident => $call:expr) => {
        match &mut $to.as_mut().expect("there until it is dropped").0 {
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
        let Connection { socket, info, turn, .. } = self.get_mut();
        if !turn.has_come.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        if turn.read == 0 {
            turn.begin(info.load.calls.swap(0, Ordering::Relaxed) as usize);
        }
        let before = into.filled().len();
        let polled = match turn.room() {
            None => forward!(*socket, stream => stream.poll_read(context, into)),
            Some(room) => {
                let room = room.min(into.remaining());
                let mut part = ReadBuf::new(into.initialize_unfilled_to(room));
                let polled = forward!(*socket, stream => stream.poll_read(context, &mut part));
                let read = part.filled().len();
                into.advance(read);
                polled
            }
        };
        turn.read += into.filled().len() - before;
        if polled.is_pending() {
            turn.read = 0;
        } else if turn.read >= turn.read_max {
            turn.read = 0;
            turn.end(context.waker().clone());
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.cork {
            Some(_) => self.poll_write_vectored(context, &[io::IoSlice::new(bytes)]),
            None => forward!(self.get_mut().socket, stream => stream.poll_write(context, bytes)),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Connection { socket, cork, .. } = self.get_mut();
        match cork {
            Some(cork) => forward!(*socket, stream => cork.poll_write(stream, context, bytes)),
            None => forward!(*socket, stream => stream.poll_write_vectored(context, bytes)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            Some((Stream::Plain(stream), _)) => stream.is_write_vectored(),
            Some((Stream::Tls(stream), _)) => stream.is_write_vectored(),
            None => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Connection { socket, cork, .. } = self.get_mut();
        match cork {
            Some(cork) => forward!(*socket, stream => cork.poll_flush(stream, context)),
            None => forward!(*socket, stream => stream.poll_flush(context)),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Connection { socket, cork, has_said_all, .. } = self.get_mut();
        if let Some(cork) = cork {
            ready!(forward!(*socket, stream => cork.poll_out(stream, context)))?;
        }
        ready!(forward!(*socket, stream => stream.poll_shutdown(context)))?;
        *has_said_all = true;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up_and_answers_do_not_wait() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&socket).unwrap();
        assert!(socket.nodelay().unwrap());
        assert_eq!(rustix::net::sockopt::tcp_user_timeout(&socket).unwrap(), 80_000);
    }

    #[tokio::test]
    async fn the_more_calls_a_turn_brought_the_less_is_read_in_the_next() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, address) = listener.accept().await.unwrap();
        let place = Connections::new(&Limits::default()).enter(address).unwrap();
        let info = ConnectionInfo::of(address, true);
        let socket = Some((Stream::Plain(socket), place));
        let mut ours = Connection { socket, info, turn: Turn::first(), cork: None, has_said_all: false };
        const ROOM: usize = 2 * READ_IN_TURN_MAX;
        let mut buffer = vec![0; ROOM];
        let mut turn = async |calls, bytes| {
            peer.write_all(&vec![b'x'; bytes]).await.unwrap();
            (0..calls).for_each(|_| ours.info.begin_call());
            ours.read(&mut buffer).await.unwrap()
        };
        // Much at once is no harm, as long as it is little to do.
        assert_eq!(turn(0, ROOM).await, ROOM);
        assert_eq!(turn(CALLS_IN_TURN, 3 * READ_IN_TURN_MAX).await, ROOM);
        assert_eq!(turn(4 * CALLS_IN_TURN, 1).await, READ_IN_TURN_MAX / 4);
        assert_eq!(turn(2 * CALLS_IN_TURN, 1).await, READ_IN_TURN_MAX / 8);
        assert_eq!(turn(1_000, 1).await, READ_IN_TURN_MIN);
        // It is forgiven by and by.
        assert_eq!(turn(1, 1).await, 2 * READ_IN_TURN_MIN);
    }
}
