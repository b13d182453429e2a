//! The body of a receive's answer. Dropped before the connection took it (the client is gone), its messages become
//! visible again at once, and the delivery does not count.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::messaging::{Messaging, ReceivedMessage};

pub(super) struct Handover {
    bytes: Bytes,
    /// What is leased and not handed over yet.
    leased: Option<Leased>,
}

struct Leased {
    messaging: Arc<Messaging>,
    receipt_handles: Vec<String>,
}

impl Handover {
    pub(super) fn body(bytes: Bytes, messaging: &Arc<Messaging>, received: Vec<ReceivedMessage>) -> Body {
        if received.is_empty() {
            return bytes.into();
        }
        let receipt_handles = received.into_iter().map(|received| received.receipt_handle).collect();
        Body::new(Handover { bytes, leased: Some(Leased { messaging: messaging.clone(), receipt_handles }) })
    }
}

impl HttpBody for Handover {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        // From here on the connection holds the bytes; whether they arrive only the client can say, by settling.
        Poll::Ready(self.leased.take().map(|_| Ok(Frame::data(std::mem::take(&mut self.bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.leased.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        let Some(Leased { messaging, receipt_handles }) = self.leased.take() else { return };
        // Without a runtime the program is ending, and the leases run out by themselves.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let changes = receipt_handles.iter().map(|handle| (handle.as_str(), Some(Duration::ZERO), true));
            if let Err(error) = messaging.change_invisible_durations(changes).await {
                tracing::debug!(%error, "messages that nobody took stay leased until their time is over");
            }
        });
    }
}
