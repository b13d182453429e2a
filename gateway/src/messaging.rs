//! What every protocol does alike with a message: choose its queue, pick the broker that holds it, prove deliveries
//! with signed handles, wait for messages. The front ends call this; it calls [`Broker`] and keeps nothing a kill can lose.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use gantry_broker_core::receipt_handle::HandleKeys;
use gantry_broker_core::{Broker, BrokerError};
use tokio::sync::watch;

use crate::error::GatewayError;
use crate::metrics::MessagingCounts;

use self::life_signs::LifeSigns;

mod life_signs;
mod message_group;
mod message_id;
mod pop_message;
mod pull_messages;
mod recall;
mod receipts;
mod send_message;
mod transaction;

pub use life_signs::client_of;
pub use message_id::MessageIds;
pub use pop_message::ReceivedMessage;
pub use recall::plain_recall_handle;
pub use receipts::{ChangedReceipt, DeadLetter};
pub use send_message::OutgoingMessage;

pub struct Messaging {
    pub broker: Arc<dyn Broker>,
    handle_keys: HandleKeys,
    /// Where the next message without a queue of its own goes.
    next_queue: AtomicU32,
    counts: MessagingCounts,
    life_signs: LifeSigns,
    draining: watch::Receiver<bool>,
}

impl Messaging {
    /// `draining` turns true when the program begins to stop: waits end at once.
    pub fn new(broker: Arc<dyn Broker>, handle_keys: HandleKeys, draining: watch::Receiver<bool>) -> Messaging {
        let counts = MessagingCounts::default();
        Messaging {
            broker,
            handle_keys,
            next_queue: AtomicU32::new(0),
            counts,
            life_signs: LifeSigns::default(),
            draining,
        }
    }

    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Resolves when the program begins to stop.
    pub async fn drained(&self) {
        let mut draining = self.draining.clone();
        // An error means that the sender is gone: then everything is.
        let _ = draining.wait_for(|draining| *draining).await;
    }

    /// A text that only a gateway of this cluster could have made: cursors.
    pub fn seal(&self, prefix: &str, payload: &[u8]) -> String {
        self.handle_keys.seal(prefix, payload)
    }

    /// What `seal` put into a text of this prefix.
    pub fn unseal(&self, prefix: &str, text: &str) -> Option<Vec<u8>> {
        self.handle_keys.open(prefix, text)
    }

    fn accepting(&self) -> Result<(), GatewayError> {
        if self.is_draining() { Err(BrokerError::Draining.into()) } else { Ok(()) }
    }
}
