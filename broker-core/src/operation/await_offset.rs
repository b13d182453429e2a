//! Waiting until a queue grows past an offset, as whoever pulls does. Takes nothing, and looks at no group's
//! deliveries.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::broker::AwaitOffset;
use crate::delivery::filter::Filter;
use crate::delivery::lanes::Order;
use crate::delivery::long_polling::Wants;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::names::ConsumerGroup;
use crate::operation::pop_message::readable_topic;

pub(crate) async fn await_offset(parts: &Parts, wait: &AwaitOffset) -> Result<bool, BrokerError> {
    readable_topic(&parts.tables(), &wait.topic)?;
    // Everybody who pulls sees the message: each waits as a group of its own, by a name that no client can have.
    static WAITS: AtomicU64 = AtomicU64::new(0);
    let name = format!("pull+{}", WAITS.fetch_add(1, Ordering::Relaxed));
    let alone = ConsumerGroup::from_store(name.as_bytes()).map_err(BrokerError::InvalidConsumerGroup)?;
    let wants = Wants { filter: Filter::All, order: Order::Nothing, cells: Default::default() };
    let place = parts.long_polling.park(&wait.topic, &alone, wants)?;
    // Looked at after it was parked: no arrival falls between.
    let queue = parts.store.queue(&wait.topic, wait.queue_id);
    if queue.is_none_or(|queue| queue.max_offset() > wait.offset) {
        return Ok(true);
    }
    Ok(place.wait(wait.wait).await)
}
