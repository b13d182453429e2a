//! Everything the gateway can answer instead of yes: a broker's refusals, and its own.

use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::names::NameError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum GatewayError {
    #[error(transparent)]
    Broker(BrokerError),

    /// An error, and the part of the request it speaks of.
    #[error("{error}")]
    At { at: FieldAt, error: Box<GatewayError> },

    #[error("{reason}")]
    MalformedRequest { reason: String },
    #[error("'{name}' is not a known field here")]
    UnknownField { name: String, at: FieldAt },
    #[error("{reason}")]
    InvalidParameter { at: FieldAt, reason: String },
    #[error("{reason}")]
    InvalidDuration { at: FieldAt, reason: String },
    #[error("{reason}")]
    InvalidTimestamp { at: FieldAt, reason: String },
    #[error("the cursor is not one of this listing")]
    InvalidCursor,
    #[error("the producer group name {0}")]
    InvalidProducerGroup(NameError),
    #[error("{reason}")]
    InvalidDeliveryTime { reason: String },
    #[error("{reason}")]
    InvalidWait { reason: String },
    #[error("{reason}")]
    MessageCorrupted { reason: String },

    #[error("there is nothing at this path")]
    NotFound,
    #[error("broker '{broker}' does not exist")]
    BrokerNotFound { broker: String },
    #[error("broker '{broker}' cannot be reached")]
    BrokerUnavailable { broker: String },
    #[error("no queue of topic '{topic}' takes messages")]
    NoRoute { topic: String },
    #[error("this path does not answer {method}")]
    MethodNotAllowed { method: String },
    #[error("no answer can be given as {accept}")]
    NotAcceptable { accept: String },
    #[error("{reason}")]
    UnsupportedMediaType { reason: String },
    #[error("the request has more than {max} bytes")]
    RequestTooLarge { max: usize },
    #[error("the headers have more than {max} bytes")]
    HeadersTooLarge { max: usize },
    #[error("{what} is not built into this version")]
    NotImplemented { what: String },
    #[error("{what} is switched off or missing on this broker")]
    NotSupportedByBroker { what: &'static str },
    #[error("the call took longer than {budget:?}")]
    DeadlineExceeded { budget: Duration },
    #[error("something went wrong inside: {reason}")]
    Internal { reason: String },

    #[error("{reason}")]
    Unauthenticated { reason: &'static str },
    #[error("the page that sends this is of another site, and may not use this site's credentials")]
    OtherSite,

    // The official clients' own cases.
    #[error("{reason}")]
    IllegalAccessPoint { reason: String },
    #[error("the header x-mq-client-id is missing")]
    ClientIdRequired,
    #[error("the client type {client_type} is not served")]
    UnrecognizedClientType { client_type: i32 },
    #[error("{reason}")]
    InvalidClientProperties { reason: String },
    #[error("{reason}")]
    IllegalOffset { reason: String },
    #[error("the group has consumed nothing of this queue yet")]
    OffsetNotFound,
    #[error("client '{client_id}' has no stream open here")]
    ClientNotOnline { client_id: String },
    #[error("the messages of one request name different topics")]
    MixedTopics,
}

/// Which part of a request an error speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldAt {
    /// A JSON pointer into the body.
    Pointer(String),
    Header(&'static str),
    Query(String),
    Path(&'static str),
}

impl From<BrokerError> for GatewayError {
    fn from(error: BrokerError) -> GatewayError {
        GatewayError::Broker(error)
    }
}

impl From<gantry_broker_core::message::MessageError> for GatewayError {
    fn from(error: gantry_broker_core::message::MessageError) -> GatewayError {
        GatewayError::Broker(BrokerError::Message(error))
    }
}

impl GatewayError {
    /// Says which part of the request is wrong, unless the error knows already.
    pub fn at_field(self, at: FieldAt) -> GatewayError {
        match self.at() {
            Some(_) => self,
            None => GatewayError::At { at, error: Box::new(self) },
        }
    }

    /// The part of the request that is wrong, where one is.
    pub fn at(&self) -> Option<&FieldAt> {
        match self {
            GatewayError::At { at, .. }
            | GatewayError::UnknownField { at, .. }
            | GatewayError::InvalidParameter { at, .. }
            | GatewayError::InvalidDuration { at, .. }
            | GatewayError::InvalidTimestamp { at, .. } => Some(at),
            _ => None,
        }
    }
}
