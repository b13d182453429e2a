//! What a load generator asks of a server, in words of both protocols.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use super::outbox::Outbox;
use super::plan::{Plan, Protocol};
use super::stamp::Stamp;
use super::{grpc, http};

/// Received messages stay away from other consumers for so long.
pub const INVISIBLE_DURATION: Duration = Duration::from_secs(60);

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Counted by this.
    pub code: Cow<'static, str>,
    /// For a person, the first time.
    pub detail: String,
    /// Nothing more can be asked on this connection.
    pub is_final: bool,
}

impl Failure {
    pub fn answer(code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Failure {
        Failure { code: code.into(), detail: detail.into(), is_final: false }
    }

    pub fn connection(error: impl std::fmt::Display) -> Failure {
        Failure { code: "connection".into(), detail: error.to_string(), is_final: true }
    }

    pub fn timeout(after: Duration) -> Failure {
        Failure::answer("timeout", format!("no answer in {after:?}"))
    }
}

/// A message in a consumer's hands.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// `None`: nobody's of this program.
    pub stamp: Option<Stamp>,
    pub body_bytes: usize,
    pub message_id: Bytes,
    pub receipt_handle: Bytes,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Producer,
    Consumer,
}

/// One call at a time; several share a connection where the protocol allows it.
pub enum Caller {
    Grpc(grpc::Caller),
    Http(http::Caller),
}

/// Opens one connection for so many callers.
pub async fn connect(plan: &Plan, side: Side, group: &str, callers: usize) -> Result<Vec<Caller>, Failure> {
    match plan.protocol {
        Protocol::Grpc => {
            let caller = grpc::connect(plan, side, group, callers).await?;
            Ok((0..callers).map(|_| Caller::Grpc(caller.clone())).collect())
        }
        Protocol::Http => {
            assert_eq!(callers, 1, "over http a connection carries one call at a time");
            Ok(vec![Caller::Http(http::Caller::connect(plan, &plan.address).await?)])
        }
    }
}

impl Caller {
    pub fn outbox(&self, plan: &Plan) -> Outbox {
        match self {
            Caller::Grpc(caller) => caller.outbox(plan),
            Caller::Http(_) if plan.batch == 1 => Outbox::raw(plan.size),
            Caller::Http(_) => Outbox::json(plan.size, plan.batch),
        }
    }

    /// What was refused: (place in the batch, why).
    pub async fn send(&mut self, call: Bytes, count: usize) -> Result<Vec<(usize, Failure)>, Failure> {
        match self {
            Caller::Grpc(caller) => caller.send(call, count).await,
            Caller::Http(caller) => caller.send(call, count).await,
        }
    }

    /// Nothing when nothing came in time.
    pub async fn receive(&mut self, receive: &Receive) -> Result<Vec<Delivery>, Failure> {
        match self {
            Caller::Grpc(caller) => caller.receive(receive).await,
            Caller::Http(caller) => caller.receive(receive).await,
        }
    }

    /// What was refused: (place in the list, why).
    pub async fn ack(&mut self, receive: &Receive, list: &[Delivery]) -> Result<Vec<(usize, Failure)>, Failure> {
        match self {
            Caller::Grpc(caller) => caller.ack(receive, list).await,
            Caller::Http(caller) => caller.ack(list).await,
        }
    }

    /// Encodes once what every receive of a group says.
    pub fn receiving(&self, plan: &Plan, group: &str, messages_max: usize, turn: usize) -> Receive {
        match self {
            Caller::Grpc(caller) => caller.receiving(plan, group, messages_max, turn),
            Caller::Http(_) => http::receiving(plan, group, messages_max),
        }
    }
}

/// A receiving call, encoded.
#[derive(Debug, Clone)]
pub struct Receive {
    /// Where it is posted, over http.
    pub path: String,
    pub request: Bytes,
    /// An acknowledgement without its entries, over grpc.
    pub ack_head: Bytes,
    pub wait: Duration,
}
