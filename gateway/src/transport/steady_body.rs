//! A request's body that must come at some pace: a handler that waits for it holds a thread's memory, and its place.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::limits::{BODY_WINDOW, Limits};

/// Time counts only while somebody waits for more of it.
pub struct SteadyBody<B> {
    body: B,
    bytes_per_second_min: u64,
    window_length: Duration,
    window: Option<Window>,
}

struct Window {
    bytes: u64,
    ends: Pin<Box<Sleep>>,
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
    pub fn new(body: B, limits: &Limits) -> SteadyBody<B> {
        let bytes_per_second_min = limits.body_bytes_per_second_min;
        SteadyBody { body, bytes_per_second_min, window_length: BODY_WINDOW, window: None }
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
            let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
            if let Some(window) = &mut this.window {
                window.bytes += bytes as u64;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        loop {
            let begin = || Window { bytes: 0, ends: Box::pin(tokio::time::sleep(this.window_length)) };
            let window = this.window.get_or_insert_with(begin);
            if window.ends.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            let bytes_per_second_min = this.bytes_per_second_min;
            if (window.bytes as f64) < bytes_per_second_min as f64 * this.window_length.as_secs_f64() {
                return Poll::Ready(Some(Err(Box::new(TooSlow { bytes_per_second_min }))));
            }
            this.window = None;
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
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    /// A twentieth of a second, so that the test need not wait: 51 bytes are the least then.
    const WINDOW: Duration = Duration::from_millis(50);

    /// What comes of a body of such pieces, each a fifth of the window after the one before it; whether it is too slow.
    async fn read(pieces: Vec<usize>, ends: bool) -> (usize, bool) {
        let paced = futures_util::stream::unfold(pieces.into_iter(), move |mut pieces| async move {
            tokio::time::sleep(WINDOW / 5).await;
            match pieces.next() {
                Some(piece) => Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'x'; piece]))), pieces)),
                None if ends => None,
                None => std::future::pending().await,
            }
        });
        let body = SteadyBody::new(StreamBody::new(Box::pin(paced)), &Limits::default());
        let mut body = SteadyBody { window_length: WINDOW, ..body };
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes += frame.into_data().unwrap().len(),
                Err(error) => return (bytes, TooSlow::under(&*error).is_some()),
            }
        }
        (bytes, false)
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
}
