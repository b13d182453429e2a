//! An answer that carries messages, as the body of its HTTP response: gRPC's frames, which tonic would encode into buffers
//! of its own.
//!
//! A large body is handed out as the slice of the log that it is. Whatever the transport has to hold until the client
//! opens a window is a head, or a chunk of small messages.
//!
//! Invariant: a client that is gone before the last chunk was handed to the transport has taken nothing: the whole batch
//! becomes visible again at once, since clients use no message of an answer that did not end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use gantry_proto::grpc::v2;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::{Body, Frame};

use super::delivery::{self, Delivery, Reader};
use super::receive_message::Undelivered;
use super::wire;
use crate::error::GatewayError;

/// Small messages go together until they fill a frame, which is what every client takes in one piece (RFC 9113, 4.2).
const CHUNK_BYTES: usize = 16 * 1024;
/// A body that fills a frame alone is not copied.
const SLICED_BYTES_MIN: usize = 16 * 1024;
/// Bodies of more bytes than this are digested away from the threads that serve connections.
const DIGEST_INLINE_BYTES_MAX: usize = 256 * 1024;
/// A message's field in ReceiveMessageResponse and PullMessageResponse alike.
const MESSAGE: u32 = 2;
/// The last field of a message.
const BODY: u32 = 4;
/// What a message without many properties has in front of its body.
const HEAD_BYTES_USUAL: usize = 384;
/// gRPC's, in front of each message: a flag and its length.
const PREFIX_LEN: usize = 5;

/// What the client reads, in order. Everything but the bodies lies ready.
pub struct Frames {
    /// One behind the other.
    heads: Vec<u8>,
    /// So much of them is handed out.
    heads_out: usize,
    /// How long each head is, and the body behind it.
    parts: VecDeque<(usize, Bytes)>,
    /// Its head is on its way.
    sliced: Option<Bytes>,
    /// The status goes alone: whoever opens no window has no messages put together for it.
    chunk_bytes: usize,
    is_over: bool,
    undelivered: Option<Undelivered>,
}

impl Frames {
    /// Without messages: all of it goes together.
    pub fn of<const COUNT: usize>(contents: [impl prost::Message; COUNT]) -> Frames {
        let mut frames = Frames { chunk_bytes: CHUNK_BYTES, ..Frames::new() };
        contents.iter().for_each(|content| frames.push(content));
        frames
    }

    pub async fn with_messages<Content: prost::Message + 'static>(
        [status, last]: [Content; 2],
        deliveries: Vec<Delivery>,
        topic: v2::Resource,
        reader: Reader,
    ) -> Result<Frames, GatewayError> {
        let bytes: usize = deliveries.iter().map(|delivery| delivery.message.body.len()).sum();
        // How much comes out of a compressed body nobody knows before.
        let inflates = !reader.inflates && deliveries.iter().any(|one| delivery::is_compressed(&one.message));
        let encode = move || {
            let mut frames = Frames::new();
            frames.heads.reserve(deliveries.len() * HEAD_BYTES_USUAL);
            frames.push(&status);
            for delivery in deliveries {
                frames.push_message(|out| delivery::write(delivery, &topic, reader, out));
            }
            frames.push(&last);
            frames
        };
        if bytes <= DIGEST_INLINE_BYTES_MAX && !inflates {
            return Ok(encode());
        }
        let encoded = tokio::task::spawn_blocking(encode).await;
        encoded.map_err(|error| GatewayError::Internal { reason: format!("a digest was not made: {error}") })
    }

    pub fn given_back_by(mut self, undelivered: Undelivered) -> Frames {
        self.undelivered = Some(undelivered);
        self
    }

    fn new() -> Frames {
        Frames {
            heads: Vec::new(),
            heads_out: 0,
            parts: VecDeque::new(),
            sliced: None,
            chunk_bytes: 0,
            is_over: false,
            undelivered: None,
        }
    }

    fn push(&mut self, content: &impl prost::Message) {
        let begin = self.heads.len();
        let len = content.encoded_len();
        self.put_prefix(len);
        self.heads.reserve(len);
        content.encode_raw(&mut self.heads);
        self.parts.push_back((self.heads.len() - begin, Bytes::new()));
    }

    /// The body is the message's last field, so all that stands before it is one piece. `write` returns it.
    fn push_message(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Bytes) {
        let begin = self.heads.len();
        self.put_prefix(0);
        let mut body = Bytes::new();
        wire::nested_with(&mut self.heads, MESSAGE, |out| {
            body = write(out);
            if !body.is_empty() {
                wire::head(out, BODY, body.len());
            }
            body.len()
        });
        let head_len = self.heads.len() - begin;
        let len = u32::try_from(head_len - PREFIX_LEN + body.len()).expect("a body has few MiB");
        self.heads[begin + 1..begin + PREFIX_LEN].copy_from_slice(&len.to_be_bytes());
        self.parts.push_back((head_len, body));
    }

    /// gRPC's: not compressed, and so long.
    fn put_prefix(&mut self, len: usize) {
        self.heads.put_u8(0);
        self.heads.put_u32(u32::try_from(len).expect("a body has few MiB"));
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        if let Some(body) = self.sliced.take() {
            return Some(body);
        }
        let chunk_bytes = std::mem::replace(&mut self.chunk_bytes, CHUNK_BYTES);
        let (mut count, mut len) = (0, 0);
        for (head_len, body) in &self.parts {
            let more = head_len + if is_sliced(body) { 0 } else { body.len() };
            if count > 0 && len + more > chunk_bytes {
                break;
            }
            (count, len) = (count + 1, len + more);
            if is_sliced(body) {
                break;
            }
        }
        let mut chunk = BytesMut::with_capacity(len);
        for (head_len, body) in self.parts.drain(..count) {
            chunk.put(&self.heads[self.heads_out..self.heads_out + head_len]);
            self.heads_out += head_len;
            if is_sliced(&body) {
                self.sliced = Some(body);
            } else {
                chunk.put(body);
            }
        }
        (count > 0).then(|| chunk.freeze())
    }
}

fn is_sliced(body: &Bytes) -> bool {
    body.len() >= SLICED_BYTES_MIN
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(chunk) = self.next_chunk() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if std::mem::replace(&mut self.is_over, true) {
            return Poll::Ready(None);
        }
        if let Some(undelivered) = self.undelivered.take() {
            undelivered.delivered();
        }
        let ok = (HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::from_iter([ok])))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }
}

/// What tonic makes a body of instead: nothing.
pub type Empty<Content> = stream::Empty<Result<Content, tonic::Status>>;

/// An answer's own body on its way through tonic, which reads requests and writes response heads as ever.
#[derive(Clone)]
struct Beside(Arc<Mutex<Option<Frames>>>);

impl Frames {
    pub fn beside_nothing<Content>(self) -> tonic::Response<Empty<Content>> {
        let mut response = tonic::Response::new(stream::empty());
        response.extensions_mut().insert(Beside(Arc::new(Mutex::new(Some(self)))));
        response
    }
}

/// Puts an answer's own body where tonic's is.
pub fn in_place(mut response: http::Response<tonic::body::Body>) -> http::Response<tonic::body::Body> {
    let beside: Option<Beside> = response.extensions_mut().remove();
    let frames = beside.and_then(|Beside(frames)| frames.lock().expect("no code panics while holding it").take());
    match frames {
        Some(frames) => response.map(|_| tonic::body::Body::new(frames)),
        None => response,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use prost::Message as _;
    use v2::receive_message_response::Content;

    use super::*;

    fn message(body: &Bytes) -> v2::Message {
        v2::Message {
            topic: Some(v2::Resource { name: "orders".into(), ..v2::Resource::default() }),
            user_properties: [("colour".to_string(), "red".to_string())].into(),
            system_properties: Some(v2::SystemProperties { message_id: "01AB".into(), ..Default::default() }),
            body: body.clone(),
        }
    }

    fn response(content: Content) -> v2::ReceiveMessageResponse {
        v2::ReceiveMessageResponse { content: Some(content) }
    }

    #[tokio::test]
    async fn its_bytes_are_protobufs_and_a_large_body_is_not_copied() {
        let sizes = [0, 1, 100, 127, 128, 9_000, 16_383, 16_384, 5, 2_097_152, 4_194_304, 1_024, 1_024];
        let bodies = sizes.map(|bytes| Bytes::from(vec![7; bytes]));
        let status = response(Content::Status(v2::Status { code: 20_000, message: "OK".into() }));
        let last = response(Content::DeliveryTimestamp(prost_types::Timestamp { seconds: 1, nanos: 0 }));

        let mut frames = Frames::new();
        frames.push(&status);
        bodies.iter().for_each(|body| {
            frames.push_message(|out| {
                v2::Message { body: Bytes::new(), ..message(body) }.encode_raw(out);
                body.clone()
            })
        });
        frames.push(&last);
        let mut chunks = Vec::new();
        let trailers = loop {
            match frames.frame().await.expect("it ends with trailers").unwrap().into_data() {
                Ok(chunk) => chunks.push(chunk),
                Err(frame) => break frame.into_trailers().expect("the only other kind"),
            }
        };
        assert_eq!(trailers["grpc-status"], "0");
        assert!(frames.is_end_stream() && frames.frame().await.is_none());

        let messages = bodies.iter().map(|body| response(Content::Message(message(body))));
        let encoded: Vec<Vec<u8>> = [status]
            .into_iter()
            .chain(messages)
            .chain([last])
            .map(|content| content.encode_to_vec())
            .map(|content| [&[0], &(content.len() as u32).to_be_bytes()[..], &content].concat())
            .collect();
        assert!(chunks[0] == encoded[0], "the status goes alone");
        assert!(chunks.concat() == encoded.concat());
        let is_body = |chunk: &Bytes| bodies.iter().any(|body| body.len() >= 16_384 && body.as_ptr() == chunk.as_ptr());
        let (sliced, put_together): (Vec<&Bytes>, Vec<&Bytes>) = chunks.iter().partition(|chunk| is_body(chunk));
        assert_eq!(sliced.iter().map(|body| body.len()).collect::<Vec<_>>(), [16_384, 2_097_152, 4_194_304]);
        assert!(put_together.iter().all(|chunk| chunk.len() <= CHUNK_BYTES + 128), "a head is short");
        // The status; five and the one of 9,000; the one of 16,383; three before a slice; the last ones.
        assert_eq!(put_together.len(), 7, "small ones go together");
    }
}
