//! Looking for a topic's messages by a key. A safe look that leases and commits nothing.
//!
//! The index knows hashes of keys and places of records: the record says whether it is meant, and one number says how far
//! a look has come. The messages of one record come together, however many were asked for.

use std::ops::ControlFlow;

use crate::broker::{BrowsedMessages, QueryMessages};
use crate::clock::Timestamp;
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::offset::CommitLogOffset;
use crate::operation::read_message::{is_kept, readable};
use crate::store::index_file::{ALL_TIME, FOUND_MAX};

pub(crate) fn query_messages(parts: &Parts, query: &QueryMessages) -> Result<BrowsedMessages, BrokerError> {
    let QueryMessages { topic, key, from, to, position, messages_max, bytes_max } = query;
    readable(parts, topic)?;
    let before = |to: &Timestamp| Timestamp(to.0.saturating_sub(1));
    let stored = from.unwrap_or(*ALL_TIME.start())..=to.as_ref().map_or(*ALL_TIME.end(), before);
    let messages_max = (*messages_max as usize).min(FOUND_MAX);

    let start = position.unwrap_or(CommitLogOffset(u64::MAX));
    let mut seen = BrowsedMessages { messages: Vec::new(), position: start, scanned: 0, complete: false };
    let mut bytes = 0;
    seen.complete = parts.store.look_by_key(topic, key, &stored, *position, |at, mut messages| {
        messages.retain(|message| is_kept(parts, topic, message));
        bytes += messages.iter().map(|message| message.body.len() + message.properties.len()).sum::<usize>();
        let is_full = seen.messages.len() >= messages_max || bytes > *bytes_max as usize;
        if is_full && !seen.messages.is_empty() && !messages.is_empty() {
            return ControlFlow::Break(());
        }
        seen.messages.extend(messages);
        (seen.position, seen.scanned) = (at, seen.scanned + 1);
        ControlFlow::Continue(())
    });
    Ok(seen)
}
