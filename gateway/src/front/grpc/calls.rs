//! Around every call of the gRPC face: how long it took, the id under which it stands in the log, and that it ends when its
//! caller's time is over.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service as _;
use tracing::Instrument as _;

use super::{caller, frames};
use crate::front::call::{Call, Protocol};
use crate::metrics::RpcCounts;

/// What the official clients call their id of a request.
pub const REQUEST_ID: &str = "x-mq-request-id";

/// Serves the calls of all connections.
#[derive(Clone)]
pub struct Calls {
    pub(super) routes: Routes,
    pub(super) counts: Arc<RpcCounts>,
}

impl Calls {
    /// Over when its caller's time is: what is answered later nobody reads.
    pub fn answer(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send + use<> {
        let header = |name: &str| request.headers().get(name);
        let span = tracing::debug_span!(
            "grpc",
            rpc = request.uri().path(),
            client_id = header("x-mq-client-id").map(tracing::field::debug),
            request_id = header(REQUEST_ID).map(tracing::field::debug),
        );
        let begin = Instant::now();
        let call = Call::new(Protocol::Grpc, header(REQUEST_ID).cloned());
        let time = caller::time_to_deadline(request.headers());
        let counts = self.counts.clone();
        let rpc = counts.rpc(request.uri().path());
        let answered = call.scope(self.routes.clone().call(request));
        let answer = async move {
            let mut answered = pin!(answered);
            let mut answer = tokio::select! {
                biased;
                Ok(answer) = answered.as_mut() => frames::in_place(answer),
                () = over(time) => Status::deadline_exceeded("the caller's time is over").into_http(),
            };
            counts.answered(rpc, begin.elapsed());
            // Whoever was refused can name the request when asking why.
            if let Some(call) = answered.take_value()
                && call.is_refused()
            {
                answer.headers_mut().insert(REQUEST_ID, call.request_id().clone());
            }
            answer
        };
        answer.instrument(span)
    }
}

async fn over(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
