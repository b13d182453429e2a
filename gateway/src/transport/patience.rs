//! How long a peer may take over what it says first, and over the head of an HTTP/1 request.
//!
//! HTTP/2 begins with 24 fixed bytes, and no library puts a time on them; hyper's time for an HTTP/1 head counts what was
//! idle before it as well. Once a connection speaks HTTP/2 nothing here looks at it any more: its streams may be quiet
//! for hours, and pings tell whether its peer is there.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

use super::limits::Limits;

/// What HTTP/2 begins with. No HTTP/1 request does.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that must come to the point.
pub struct Patience<S> {
    stream: S,
    speaks: Spoken,
    heads: Arc<Heads>,
    head_timeout: Duration,
    /// When it is too late, and the number of heads there had been when that was said.
    late: Option<(Pin<Box<Sleep>>, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spoken {
    /// So many bytes of the preface, and nothing else.
    Preface(usize),
    Http1,
    Http2,
}

/// What became of the heads of a connection's requests: kept by whoever serves them.
#[derive(Debug, Default)]
pub struct Heads {
    complete: AtomicU32,
    in_service: AtomicU32,
}

/// A request in service; it is over when this is dropped.
pub struct InService(Arc<Heads>);

impl Heads {
    /// The head of a request is complete.
    pub fn complete(self: &Arc<Self>) -> InService {
        self.complete.fetch_add(1, Ordering::Relaxed);
        self.in_service.fetch_add(1, Ordering::Relaxed);
        InService(self.clone())
    }
}

impl Drop for InService {
    fn drop(&mut self) {
        self.0.in_service.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Patience<S> {
    /// Called inside of a runtime: the time for the first words runs from now on.
    pub fn new(stream: S, limits: &Limits) -> Patience<S> {
        let late = Some((Box::pin(tokio::time::sleep(limits.opening_timeout)), 0));
        let (speaks, heads) = (Spoken::Preface(0), Arc::default());
        Patience { stream, speaks, heads, head_timeout: limits.head_timeout, late }
    }

    pub fn stream(&self) -> &S {
        &self.stream
    }

    pub fn heads(&self) -> Arc<Heads> {
        self.heads.clone()
    }

    /// These bytes have come.
    fn hears(&mut self, bytes: &[u8]) {
        let Spoken::Preface(heard) = self.speaks else { return };
        let expected = &PREFACE[heard..PREFACE.len().min(heard + bytes.len())];
        self.speaks = match bytes.starts_with(expected) {
            true if heard + expected.len() == PREFACE.len() => Spoken::Http2,
            true => Spoken::Preface(heard + expected.len()),
            false => Spoken::Http1,
        };
        if !matches!(self.speaks, Spoken::Preface(_)) {
            self.late = None;
        }
    }

    /// Bytes of HTTP/1 that belong to no request in service belong to the head of the next one.
    fn awaits_head(&mut self) {
        let complete = self.heads.complete.load(Ordering::Relaxed);
        let is_serving = self.heads.in_service.load(Ordering::Relaxed) > 0;
        if is_serving {
            self.late = None;
        } else if self.late.as_ref().is_none_or(|(_, of)| *of != complete) {
            self.late = Some((Box::pin(tokio::time::sleep(self.head_timeout)), complete));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.speaks == Spoken::Http2 {
            return Pin::new(&mut this.stream).poll_read(context, into);
        }
        let before = into.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, into);
        let bytes = &into.filled()[before..];
        if !bytes.is_empty() {
            this.hears(bytes);
            if this.speaks == Spoken::Http1 {
                this.awaits_head();
            }
        }
        // Of a head that is complete by now, the time is over in a good way.
        let complete = this.heads.complete.load(Ordering::Relaxed);
        let Some((late, _)) = this.late.as_mut().filter(|(_, of)| *of == complete) else { return read };
        if read.is_pending() && late.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not come to the point")));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: Connected> Connected for Patience<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    /// Soon, so that the test need not wait; what nothing shall end is looked at for many times as long.
    const SOON: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_millis(200);

    fn pair() -> (DuplexStream, Patience<DuplexStream>) {
        let (peer, ours) = tokio::io::duplex(1024);
        let limits = Limits { opening_timeout: SOON, head_timeout: SOON, ..Limits::default() };
        (peer, Patience::new(ours, &limits))
    }

    /// What is heard of a peer that says this, and no more: and whether it was too late then.
    async fn heard(words: &[u8]) -> (Vec<u8>, bool) {
        let (mut peer, mut ours) = pair();
        peer.write_all(words).await.unwrap();
        let mut heard = Vec::new();
        match tokio::time::timeout(LONG * 10, ours.read_to_end(&mut heard)).await {
            Ok(ended) => assert_eq!(ended.expect_err("the peer is there").kind(), io::ErrorKind::TimedOut),
            Err(_) => return (heard, false),
        }
        (heard, true)
    }

    #[tokio::test]
    async fn first_words_come_soon_or_the_connection_ends() {
        for words in [&b""[..], &PREFACE[..1], &PREFACE[..23]] {
            assert_eq!(heard(words).await, (words.to_vec(), true));
        }
    }

    #[tokio::test]
    async fn http_2_is_left_alone_for_as_long_as_it_is_quiet() {
        let (mut peer, mut ours) = pair();
        let mut buffer = [0; 64];
        // In two pieces.
        for piece in [&PREFACE[..7], &PREFACE[7..]] {
            peer.write_all(piece).await.unwrap();
            assert_eq!(ours.read(&mut buffer).await.unwrap(), piece.len());
        }
        assert!(tokio::time::timeout(LONG, ours.read(&mut buffer)).await.is_err(), "quiet");
        peer.write_all(b"more").await.unwrap();
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 4);
        assert!(tokio::time::timeout(LONG, ours.read(&mut buffer)).await.is_err(), "quiet again");
    }

    #[tokio::test]
    async fn a_head_of_http_1_is_complete_soon_after_its_first_byte() {
        // Some begin like the preface.
        for begin in ["G", "GET /", "POST /", "PUT /", "PRI /"] {
            assert_eq!(heard(begin.as_bytes()).await, (begin.as_bytes().to_vec(), true));
        }
        // However it goes on.
        let (mut peer, mut ours) = pair();
        let drip = async {
            while peer.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SOON / 4).await
            }
        };
        let late = tokio::select! {
            error = async { loop { if let Err(error) = ours.read_u8().await { break error } } } => error,
            () = drip => panic!("nobody listens"),
        };
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn neither_a_slow_body_nor_idling_between_requests_is_a_slow_head() {
        let (mut peer, mut ours) = pair();
        let heads = ours.heads();
        let mut buffer = [0; 64];
        for _ in 0..3 {
            peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 18);
            let in_service = heads.complete();
            for _ in 0..3 {
                assert!(tokio::time::timeout(LONG, ours.read(&mut buffer)).await.is_err(), "its body takes its time");
                peer.write_all(b"body").await.unwrap();
                assert_eq!(ours.read(&mut buffer).await.unwrap(), 4);
            }
            drop(in_service);
            assert!(tokio::time::timeout(LONG, ours.read(&mut buffer)).await.is_err(), "how long it idles");
        }
        // One that was served before anything more was read.
        peer.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 18);
        drop(heads.complete());
        assert!(tokio::time::timeout(LONG, ours.read(&mut buffer)).await.is_err(), "how long it idles");
    }
}
