//! Around every call of the gRPC face: how long it took, and the id under which it stands in the log.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderName, Request, Response};
use pin_project_lite::pin_project;
use tokio::task::futures::TaskLocalFuture;
use tower::{Layer, Service};

use crate::front::call::{Call, Protocol};
use crate::metrics::RpcCounts;
use crate::transport::ConnectionInfo;

/// What the official clients call their id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-mq-request-id");

#[derive(Clone)]
pub struct CallsLayer {
    pub counts: Arc<RpcCounts>,
}

impl<S> Layer<S> for CallsLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, counts: self.counts.clone() }
    }
}

#[derive(Clone)]
pub struct Calls<S> {
    inner: S,
    counts: Arc<RpcCounts>,
}

impl<S, B, R> Service<Request<B>> for Calls<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Answering<S::Future> {
        if let Some(connection) = request.extensions().get::<ConnectionInfo>() {
            connection.begin_call();
        }
        let call = Call::new(Protocol::Grpc, request.headers().get(REQUEST_ID).cloned());
        let counts = self.counts.clone();
        let rpc = counts.rpc(request.uri().path());
        Answering { inner: call.scope(self.inner.call(request)), begin: Instant::now(), rpc, counts }
    }
}

pin_project! {
    pub struct Answering<F> {
        #[pin]
        inner: TaskLocalFuture<Call, F>,
        begin: Instant,
        rpc: usize,
        counts: Arc<RpcCounts>,
    }
}

impl<F: Future<Output = Result<Response<R>, E>>, R, E> Future for Answering<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let mut answered = ready!(this.inner.as_mut().poll(context));
        this.counts.answered(*this.rpc, this.begin.elapsed());
        // Whoever was refused can name the request when asking why.
        if let (Some(call), Ok(response)) = (this.inner.take_value(), &mut answered)
            && call.is_refused()
        {
            response.headers_mut().insert(REQUEST_ID, call.request_id().clone());
        }
        Poll::Ready(answered)
    }
}
