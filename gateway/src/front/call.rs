//! The call that is being served, known to whatever runs inside it: the id it has in the log, and whether anything of it
//! was refused. Refusals are counted and logged here and nowhere else.

use std::cell::{Cell, OnceCell};
use std::sync::LazyLock;

use gantry_broker_core::BrokerError;
use gantry_broker_core::clock::{Clock as _, SystemClock};
use gantry_broker_core::random::SystemRandom;
use http::HeaderValue;
use tokio::task::futures::TaskLocalFuture;

use crate::error::GatewayError;
use crate::front::error_table::{Answer, Outcome, answer};
use crate::messaging::MessageIds;
use crate::metrics;

tokio::task_local! {
    static CALL: Call;
}

/// Request ids have the form of message ids, and a sequence of their own.
static REQUEST_IDS: LazyLock<MessageIds> = LazyLock::new(|| MessageIds::new(&SystemRandom));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Rest,
    Grpc,
}

impl Protocol {
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Rest => "rest",
            Protocol::Grpc => "grpc",
        }
    }
}

#[derive(Debug)]
pub struct Call {
    protocol: Protocol,
    /// The caller's, or one that is made when somebody asks: most calls of an official client need none.
    request_id: OnceCell<HeaderValue>,
    refused: Cell<bool>,
}

impl Call {
    pub fn new(protocol: Protocol, request_id: Option<HeaderValue>) -> Call {
        let request_id = request_id.map_or_else(OnceCell::new, OnceCell::from);
        Call { protocol, request_id, refused: Cell::new(false) }
    }

    /// What `future` refuses counts as refused by this call.
    pub fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Call, F> {
        CALL.scope(self, future)
    }

    pub fn request_id(&self) -> &HeaderValue {
        self.request_id.get_or_init(new_request_id)
    }

    pub fn is_refused(&self) -> bool {
        self.refused.get()
    }
}

pub fn new_request_id() -> HeaderValue {
    HeaderValue::try_from(REQUEST_IDS.next(SystemClock.wall())).expect("letters and digits")
}

/// How the error reads in every protocol. Counts it, and logs it under the id of the call that it ends.
pub fn refused(error: &GatewayError) -> Answer {
    let answer = answer(error);
    let log = |call: Option<&Call>| {
        let protocol = call.map_or("none", |call| call.protocol.word());
        metrics::refused(protocol, answer.code);
        let request_id = call.map(|call| call.request_id().to_str().unwrap_or_default()).unwrap_or_default();
        let code = answer.code;
        // What this version does not do is the caller's to know, and so is that the program stops.
        let is_expected = answer.http == 501 || matches!(error, GatewayError::Broker(BrokerError::Draining));
        if (answer.http >= 500 && !is_expected) || answer.outcome == Outcome::Unknown {
            tracing::warn!(request_id, protocol, code, %error, "a request failed");
        } else {
            tracing::debug!(request_id, protocol, code, %error, "a request was refused");
        }
    };
    let logged = CALL.try_with(|call| {
        call.refused.set(true);
        log(Some(call));
    });
    if logged.is_err() {
        log(None);
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn what_is_refused_inside_is_known_outside() {
        for (error, expected) in [(None, false), (Some(GatewayError::ClientIdRequired), true)] {
            let call = Call::new(Protocol::Grpc, Some(HeaderValue::from_static("theirs")));
            let mut running = pin!(call.scope(async move { error.map(|error| refused(&error).http) }));
            assert_eq!(running.as_mut().await, expected.then_some(400));
            let call = running.take_value().unwrap();
            assert_eq!((call.is_refused(), call.request_id().as_bytes()), (expected, &b"theirs"[..]));
        }
        let ours = Call::new(Protocol::Rest, None);
        assert_eq!((ours.request_id().len(), ours.request_id()), (34, ours.request_id()));
    }
}
