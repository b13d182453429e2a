//! What HTTP/2 writes piece by piece leaves together.
//!
//! The library hands a frame of data and what stands before it to the socket as soon as the next frame comes: an answer
//! with a message would be two writes, two segments and two wakes of its reader, who can do nothing before the second. So
//! such a piece is held back until something is written that has no data at its end, or the worker has come round to
//! everybody else who was ready.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;

/// So much is held at most: an answer with 32 messages of 1 KiB, or what the kernel takes into one segment over loopback.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// A piece of this size is no small message of a trickle.
const LARGE_BYTES: usize = 8 * 1024;

/// Of one connection.
#[derive(Debug, Default)]
pub struct Cork {
    held: Vec<u8>,
    /// Of that, what has been written.
    written: usize,
    /// The last piece ended with data.
    expects_more: bool,
    /// The end of this turn of the worker is waited for.
    waits: bool,
    turn: Arc<Turn>,
}

/// Whether a task lines up behind everybody else who is ready.
#[derive(Debug, Default)]
struct Turn(AtomicU8);

/// No.
const OVER: u8 = 0;
/// Yes, and the connection wants to hear of it.
const AWAITED: u8 = 1;
/// Yes, and what waited for it has left.
const FORGOTTEN: u8 = 2;

impl Turn {
    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Relaxed) == state
    }

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::Relaxed);
    }

    fn wait_for(self: &Arc<Self>, waker: &Waker) {
        let is_over = self.is(OVER);
        self.set(AWAITED);
        if is_over {
            let (turn, waker) = (self.clone(), waker.clone());
            tokio::spawn(async move {
                if turn.0.swap(OVER, Ordering::Relaxed) == AWAITED {
                    waker.wake();
                }
            });
        }
    }
}

impl Cork {
    pub fn poll_write<S: AsyncWrite>(
        &mut self,
        stream: Pin<&mut S>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        let ends_with_data = pieces.iter().filter(|piece| !piece.is_empty()).nth(1).is_some();
        if self.held.is_empty() && (!ends_with_data || bytes > HELD_BYTES_MAX) {
            return stream.poll_write_vectored(context, pieces);
        }
        let mut stream = stream;
        if self.held.len() + bytes > HELD_BYTES_MAX {
            ready!(self.poll_out(stream.as_mut(), context))?;
            if bytes > HELD_BYTES_MAX {
                return stream.poll_write_vectored(context, pieces);
            }
        }
        // Behind a large piece there is more of one answer: room for all that may be held, lest it be copied at each growth.
        self.held.reserve(if bytes < LARGE_BYTES { bytes } else { HELD_BYTES_MAX - self.held.len() });
        pieces.iter().for_each(|piece| self.held.extend_from_slice(piece));
        self.expects_more = ends_with_data;
        Poll::Ready(Ok(bytes))
    }

    /// What is held may stay until the end of the turn: whoever asked is called again then.
    pub fn poll_flush<S: AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.expects_more && !self.held.is_empty() {
            if !self.waits {
                self.waits = true;
                self.turn.wait_for(context.waker());
            }
            if self.turn.is(AWAITED) {
                return Poll::Ready(Ok(()));
            }
        }
        ready!(self.poll_out(stream.as_mut(), context))?;
        stream.poll_flush(context)
    }

    /// Nothing is held behind it.
    pub fn poll_out<S: AsyncWrite>(
        &mut self,
        mut stream: Pin<&mut S>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.written < self.held.len() {
            match ready!(stream.as_mut().poll_write(context, &self.held[self.written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        if !self.held.is_empty() {
            // Its memory too: most connections have nothing to say most of the time.
            (self.held, self.written, self.expects_more) = (Vec::new(), 0, false);
            if std::mem::take(&mut self.waits) && self.turn.is(AWAITED) {
                self.turn.set(FORGOTTEN);
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::IoSlice;

    use tokio::io::{AsyncReadExt as _, DuplexStream};

    use super::*;

    struct Corked {
        cork: Cork,
        ours: DuplexStream,
    }

    impl Corked {
        async fn write(&mut self, pieces: &[&[u8]]) {
            let pieces: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
            let Corked { cork, ours } = self;
            let written = poll_fn(|context| cork.poll_write(Pin::new(&mut *ours), context, &pieces)).await.unwrap();
            assert_eq!(written, bytes);
            self.flush().await;
        }

        async fn flush(&mut self) {
            let Corked { cork, ours } = self;
            poll_fn(|context| cork.poll_flush(Pin::new(&mut *ours), context)).await.unwrap();
        }
    }

    fn pair() -> (DuplexStream, Corked) {
        let (peer, ours) = tokio::io::duplex(4 * HELD_BYTES_MAX);
        (peer, Corked { cork: Cork::default(), ours })
    }

    /// What one read gives, if there is anything.
    fn arrived(peer: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = vec![0; 4 * HELD_BYTES_MAX];
        let mut context = Context::from_waker(Waker::noop());
        let mut read = tokio::io::ReadBuf::new(&mut bytes);
        match tokio::io::AsyncRead::poll_read(Pin::new(peer), &mut context, &mut read) {
            Poll::Ready(read) => read.unwrap(),
            Poll::Pending => {}
        }
        read.filled().to_vec()
    }

    #[tokio::test]
    async fn a_message_leaves_with_what_ends_its_answer() {
        let (mut peer, mut ours) = pair();
        ours.write(&[b"settings"]).await;
        assert_eq!(arrived(&mut peer), b"settings", "nothing to wait for");
        ours.write(&[b"head", b"message"]).await;
        ours.write(&[b"head", b"another"]).await;
        assert_eq!(arrived(&mut peer), b"");
        ours.write(&[b"end"]).await;
        assert_eq!(arrived(&mut peer), b"headmessageheadanotherend");
        assert!(ours.cork.held.capacity() == 0 && ours.cork.turn.is(FORGOTTEN));
    }

    #[tokio::test]
    async fn what_nothing_follows_leaves_at_the_end_of_the_turn() {
        let (mut peer, mut ours) = pair();
        for answer in [&b"message"[..], b"another"] {
            ours.write(&[b"head", answer]).await;
            assert_eq!(arrived(&mut peer), b"");
            let mut was_called = false;
            // As the connection's task would be: it is called once the others had their turn.
            poll_fn(|context| {
                let Corked { cork, ours } = &mut ours;
                cork.turn.wait_for(context.waker());
                assert!(cork.poll_flush(Pin::new(&mut *ours), context).is_ready());
                if was_called {
                    Poll::Ready(())
                } else {
                    was_called = true;
                    Poll::Pending
                }
            })
            .await;
            tokio::task::yield_now().await;
            ours.flush().await;
            assert_eq!(arrived(&mut peer), [b"head", answer].concat());
        }
    }

    #[tokio::test]
    async fn no_more_is_held_than_fits_and_the_order_stays() {
        let (mut peer, mut ours) = pair();
        let (large, larger) = (vec![1; HELD_BYTES_MAX - 4], vec![2; HELD_BYTES_MAX]);
        ours.write(&[b"head", &large]).await;
        assert_eq!(arrived(&mut peer), b"");
        ours.write(&[b"head", b"message"]).await;
        assert_eq!(arrived(&mut peer).len(), HELD_BYTES_MAX);
        ours.write(&[b"head", &larger]).await;
        assert_eq!(arrived(&mut peer), [&b"headmessagehead"[..], &larger].concat());
    }

    #[tokio::test]
    async fn a_peer_that_reads_late_gets_all_of_it() {
        let (mut peer, ours) = tokio::io::duplex(10);
        let mut ours = Corked { cork: Cork::default(), ours };
        let sending = tokio::spawn(async move {
            ours.write(&[b"a head ", b"and a message ", b""]).await;
            ours.write(&[b"and its end"]).await;
        });
        let mut bytes = vec![0; 32];
        peer.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, b"a head and a message and its end");
        sending.await.unwrap();
    }
}
