//! A request's body that must come at some pace: a handler that waits for it holds a thread's memory, and its place.
//!
//! Over HTTP/2 a connection's bodies share what its peer can send, and many clients send one after the other. So nobody is
//! too slow while all that are waited for bring enough together; to let many drip costs as much as to send them.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::limits::{BODY_WINDOW, Limits};
use super::{ConnectionInfo, Load};

/// Time counts only while somebody waits for more of it.
pub struct SteadyBody<B> {
    body: B,
    load: Arc<Load>,
    bytes_per_second_min: u64,
    window_length: Duration,
    window: Option<Window>,
    /// Something has come, and nobody has waited for more since.
    handed_on: bool,
    /// Of a body that may rest between its messages.
    messages: Option<Messages>,
}

struct Window {
    bytes: u64,
    /// What all bodies had brought when it began.
    all_bytes_before: u64,
    ends: Pin<Box<Sleep>>,
}

/// A connection's bodies together.
#[derive(Debug, Default)]
pub struct Bodies {
    bytes: AtomicU64,
    waited_for: AtomicU32,
}

/// Where a body of gRPC's messages stands: before each of them are a flag and four bytes of length.
#[derive(Default)]
struct Messages {
    prefix: [u8; 5],
    of_prefix: usize,
    missing: usize,
}

impl Messages {
    fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let of_message = self.missing.min(bytes.len());
            self.missing -= of_message;
            bytes = &bytes[of_message..];
            let of_prefix = if self.missing == 0 { bytes.len().min(self.prefix.len() - self.of_prefix) } else { 0 };
            self.prefix[self.of_prefix..][..of_prefix].copy_from_slice(&bytes[..of_prefix]);
            self.of_prefix += of_prefix;
            bytes = &bytes[of_prefix..];
            if let (5, [_, length @ ..]) = (self.of_prefix, self.prefix) {
                (self.missing, self.of_prefix) = (u32::from_be_bytes(length) as usize, 0);
            }
        }
    }

    fn rest(&self) -> bool {
        (self.of_prefix, self.missing) == (0, 0)
    }
}

/// The body came more slowly than it may.
#[derive(Debug, thiserror::Error)]
#[error("the body comes too slowly: {bytes_per_second_min} bytes a second are the least")]
pub struct TooSlow {
    bytes_per_second_min: u64,
}

impl TooSlow {
    /// Whether that is at the bottom of an error.
    pub fn under<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TooSlow> {
        let mut error = Some(error);
        while let Some(one) = error {
            if let Some(found) = one.downcast_ref() {
                return Some(found);
            }
            error = one.source();
        }
        None
    }
}

impl<B> SteadyBody<B> {
    pub fn new(body: B, limits: &Limits, connection: &ConnectionInfo) -> SteadyBody<B> {
        let bytes_per_second_min = limits.body_bytes_per_second_min;
        SteadyBody {
            body,
            load: connection.load.clone(),
            bytes_per_second_min,
            window_length: BODY_WINDOW,
            window: None,
            handed_on: false,
            messages: None,
        }
    }

    /// The same, for a body of gRPC's messages of which each must come at that pace: before and between them it may be silent.
    pub fn that_rests(mut self) -> SteadyBody<B> {
        self.messages = Some(Messages::default());
        self
    }
}

impl<B> SteadyBody<B> {
    fn begin_window(&mut self) -> &mut Window {
        let (bodies, window_length) = (&self.load.bodies, self.window_length);
        self.window.get_or_insert_with(|| {
            bodies.waited_for.fetch_add(1, Ordering::Relaxed);
            let all_bytes_before = bodies.bytes.load(Ordering::Relaxed);
            Window { bytes: 0, all_bytes_before, ends: Box::pin(tokio::time::sleep(window_length)) }
        })
    }

    /// Whether it brought enough, by itself or together with the others.
    fn end_window(&mut self) -> bool {
        let Some(window) = self.window.take() else { return true };
        let bodies = &self.load.bodies;
        let waited_for = bodies.waited_for.fetch_sub(1, Ordering::Relaxed);
        let bytes_min = self.bytes_per_second_min as f64 * self.window_length.as_secs_f64();
        let all_bytes = bodies.bytes.load(Ordering::Relaxed) - window.all_bytes_before;
        window.bytes as f64 >= bytes_min || all_bytes as f64 >= bytes_min * f64::from(waited_for)
    }
}

impl<B> Drop for SteadyBody<B> {
    fn drop(&mut self) {
        self.end_window();
    }
}

impl<B> Body for SteadyBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.handed_on = true;
            let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            if let Some(bytes) = bytes {
                this.load.bodies.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                this.window.iter_mut().for_each(|window| window.bytes += bytes.len() as u64);
                this.messages.iter_mut().for_each(|messages| messages.hear(bytes));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if this.messages.as_ref().is_some_and(Messages::rest) {
            this.end_window();
            return Poll::Pending;
        }
        if std::mem::take(&mut this.handed_on) && this.window.as_ref().is_some_and(|window| window.ends.is_elapsed()) {
            // It was over while the last was worked on.
            this.end_window();
        }
        loop {
            if this.begin_window().ends.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            if !this.end_window() {
                let bytes_per_second_min = this.bytes_per_second_min;
                return Poll::Ready(Some(Err(Box::new(TooSlow { bytes_per_second_min }))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::Stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    /// A twentieth of a second, so that the test need not wait: 51 bytes are the least then.
    const WINDOW: Duration = Duration::from_millis(50);

    /// What comes of a body of such pieces, each a fifth of the window after the one before it; whether it is too slow.
    async fn read(pieces: Vec<usize>, ends: bool) -> (usize, bool) {
        let pieces = pieces.into_iter().map(|piece| vec![b'x'; piece]).collect();
        read_beside(&connection(), pieces, ends, |body| body).await
    }

    type Paced = StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, std::io::Error>>>>>;

    async fn read_beside(
        connection: &ConnectionInfo,
        pieces: Vec<Vec<u8>>,
        ends: bool,
        made: impl Fn(SteadyBody<Paced>) -> SteadyBody<Paced>,
    ) -> (usize, bool) {
        let paced = futures_util::stream::unfold(pieces.into_iter(), move |mut pieces| async move {
            tokio::time::sleep(WINDOW / 5).await;
            match pieces.next() {
                Some(piece) => Some((Ok(Frame::data(piece.into())), pieces)),
                None if ends => None,
                None => std::future::pending().await,
            }
        });
        let paced: Paced = StreamBody::new(Box::pin(paced));
        let mut body = made(SteadyBody::new(paced, &Limits::default(), connection));
        body.window_length = WINDOW;
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes += frame.into_data().unwrap().len(),
                Err(error) => return (bytes, TooSlow::under(&*error).is_some()),
            }
        }
        (bytes, false)
    }

    fn connection() -> ConnectionInfo {
        ConnectionInfo::of("127.0.0.1:1".parse().unwrap(), true)
    }

    #[tokio::test]
    async fn a_body_that_drips_is_given_up_and_a_steady_one_may_take_as_long_as_it_likes() {
        assert_eq!(read(vec![60; 40], true).await, (2_400, false));
        assert_eq!(read(vec![], true).await, (0, false));
        assert_eq!(read(vec![], false).await, (0, true));
        let (bytes, is_too_slow) = read(vec![1; 1_000], true).await;
        assert!(is_too_slow && bytes < 1_000, "{bytes}");
        // Much at once is no credit for later.
        assert_eq!(read(vec![1 << 20], false).await, (1 << 20, true));
    }

    #[tokio::test]
    async fn time_in_which_nobody_waits_for_more_does_not_count() {
        let pieces = futures_util::stream::unfold(0, |number| async move {
            tokio::time::sleep(WINDOW / 5).await;
            (number < 3).then(|| (Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x"))), number + 1))
        });
        let mut body = SteadyBody::new(StreamBody::new(Box::pin(pieces)), &Limits::default(), &connection());
        body.window_length = WINDOW;
        while let Some(frame) = body.frame().await {
            assert!(frame.is_ok(), "its reader was slow");
            tokio::time::sleep(2 * WINDOW).await;
        }
    }

    #[tokio::test]
    async fn a_body_may_wait_for_others_of_its_connection_as_long_as_they_bring_enough_for_all() {
        let connection = connection();
        let waits = || read_beside(&connection, vec![vec![]; 40], true, |body| body);
        let other = |piece: usize| read_beside(&connection, vec![vec![b'x'; piece]; 60], true, |body| body);
        // Two wait for one that brings enough for ten.
        let (one, two, _) = tokio::join!(waits(), waits(), other(600));
        assert_eq!((one, two), ((0, false), (0, false)));
        // What it brings for itself is not enough for three.
        let (one, two, enough) = tokio::join!(waits(), waits(), other(20));
        assert_eq!((one, two, enough), ((0, true), (0, true), (1_200, false)));
        assert_eq!(connection.load.bodies.waited_for.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn messages_may_be_far_apart_and_none_may_drip() {
        let read = |pieces, ends| async move { read_beside(&connection(), pieces, ends, SteadyBody::that_rests).await };
        let empty = vec![vec![]; 20];
        let message = [&[0, 0, 0, 0, 9][..], &[b'x'; 9]].concat();
        // Silence before the first, between two, of which one is in pieces, and behind the last.
        let (head, tail) = message.split_at(7);
        let pieces = [&empty[..], &[head.into(), tail.into()], &empty, &[[&message[..], &message].concat()], &empty];
        assert_eq!(read(pieces.concat(), true).await, (42, false));
        for part in [&message[..1], &message[..5], &message[..13], &[&message[..], &[0]].concat()] {
            assert_eq!(read(vec![part.to_vec()], false).await, (part.len(), true), "{part:?}");
        }
    }
}
