//! What a handler leaves unread of a request's body. HTTP/1 has one way only: a client that is still writing when the
//! connection closes sees a broken pipe instead of the answer, so the rest is read, kept nowhere, and within bounds.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use bytes::Bytes;
use http::{Version, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

/// Most bytes that are read on; a client that sends more learns it the hard way.
const UNREAD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest reading on.
const UNREAD_TIME_MAX: Duration = Duration::from_secs(2);

/// Where a body comes back to that was not read to its end.
#[derive(Default, Clone)]
pub(super) struct Unread(Arc<Mutex<Option<Body>>>);

impl Unread {
    /// Lends the request's body to whoever reads it, if there is anything to come back.
    pub(super) fn lend(request: Request) -> (Request, Option<Unread>) {
        // A client that asked first (Expect) sends nothing once it is refused; HTTP/2 ends one stream of many.
        let is_alone = request.version() < Version::HTTP_2 && !request.headers().contains_key(header::EXPECT);
        if !is_alone || request.body().is_end_stream() {
            return (request, None);
        }
        let unread = Unread::default();
        let lent = unread.clone();
        (request.map(|body| Body::new(Lent { body, unread: lent })), Some(unread))
    }

    /// Reads what came back to its end, or up to the bounds.
    pub(super) async fn skip(self) {
        let Some(mut body) = self.0.lock().expect("no code panics while holding it").take() else { return };
        let reading = async {
            let mut left = UNREAD_BYTES_MAX;
            while let Some(Ok(frame)) = body.frame().await {
                match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        // Whoever is slower is not waited for.
        let _ = tokio::time::timeout(UNREAD_TIME_MAX, reading).await;
    }
}

/// A body that goes back when it is dropped before its end.
struct Lent {
    body: Body,
    unread: Unread,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            let body = std::mem::take(&mut self.body);
            *self.unread.0.lock().expect("no code panics while holding it") = Some(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn pieces(count: usize, len: usize) -> Body {
        let piece = Bytes::from(vec![0; len]);
        Body::from_stream(stream::iter(std::iter::repeat_n(Ok::<_, std::convert::Infallible>(piece), count)))
    }

    #[tokio::test]
    async fn what_is_left_is_read_to_its_end() {
        let (request, unread) = Unread::lend(Request::new(pieces(3, 10)));
        let mut body = request.into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 10);
        drop(body);
        let unread = unread.expect("there is a body");
        unread.clone().skip().await;
        assert!(unread.0.lock().unwrap().is_none());
    }

    #[tokio::test]
    async fn too_much_is_not_read() {
        // Endless: only the bound ends it.
        let (request, unread) = Unread::lend(Request::new(pieces(usize::MAX, 1024 * 1024)));
        drop(request);
        unread.expect("there is a body").skip().await;
    }

    #[tokio::test]
    async fn nothing_is_lent_where_nothing_can_come_back() {
        assert!(Unread::lend(Request::new(Body::empty())).1.is_none());
        let asks_first = Request::builder().header("expect", "100-continue").body(pieces(1, 1)).unwrap();
        assert!(Unread::lend(asks_first).1.is_none());
        let one_of_many = Request::builder().version(Version::HTTP_2).body(pieces(1, 1)).unwrap();
        assert!(Unread::lend(one_of_many).1.is_none());
    }
}
