//! Asking producers what became of their transactions, and showing those that are open.
//!
//! A check is a lease on the half message: whoever asks for the checks of a producer group gets those that are due, and
//! nobody else does until the next check. A check that nobody asks for does not count.

use crate::broker::{
    CheckTransactions, HalfMessageId, ListTransactions, OpenTransaction, OpenTransactions, TRANSACTION_CHECKS_MAX,
    TransactionCheck,
};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::{StoredMessage, property};
use crate::offset::{QueueId, QueueOffset};
use crate::operation::half_messages::{Locked, QUEUE, with_known};
use crate::state::record::{Entry, LeaseEntry};

/// Most open transactions that one list looks at.
const LOOKED_AT_MAX: usize = 4_096;

pub(crate) async fn check_transactions(
    parts: &Parts,
    check: &CheckTransactions,
) -> Result<Vec<TransactionCheck>, BrokerError> {
    if !(1..=TRANSACTION_CHECKS_MAX).contains(&check.checks_max) {
        let reason = format!("must be 1 to {TRANSACTION_CHECKS_MAX}");
        return Err(BrokerError::InvalidParameter { name: "maxMessages", reason });
    }
    if check.wait.is_zero() {
        return take_due(parts, check);
    }
    let taken = tokio::time::timeout(check.wait, take_when_due(parts, check)).await;
    // In the last moment, too.
    taken.unwrap_or_else(|_| take_due(parts, check))
}

async fn take_when_due(parts: &Parts, check: &CheckTransactions) -> Result<Vec<TransactionCheck>, BrokerError> {
    let mut waiter = parts.transactions.waiter();
    while !*waiter.borrow_and_update() {
        let taken = take_due(parts, check)?;
        if !taken.is_empty() || waiter.changed().await.is_err() {
            return Ok(taken);
        }
    }
    Ok(Vec::new())
}

fn take_due(parts: &Parts, check: &CheckTransactions) -> Result<Vec<TransactionCheck>, BrokerError> {
    with_known(parts, |_, locked| take(locked, check))?.unwrap_or(Ok(Vec::new()))
}

fn take(mut locked: Locked<'_>, check: &CheckTransactions) -> Result<Vec<TransactionCheck>, BrokerError> {
    let parts = locked.parts;
    let rules = &parts.config.transactions;
    let now = parts.store.now();
    let next_check = now.plus(rules.check_interval);
    let mut due: Vec<QueueOffset> = Vec::new();
    for at in locked.open.due(&check.producer_group, now) {
        if due.len() == check.checks_max as usize {
            break;
        }
        // Those that had their last one are on their way to the holding topic.
        if locked.open.open(at).is_some_and(|half| half.checks < rules.check_max) {
            due.push(at);
        }
    }
    due.sort_unstable();
    let mut taken = Vec::with_capacity(due.len());
    let mut messages = Vec::with_capacity(due.len());
    for at in due {
        let Some(message) = locked.read(at) else {
            locked.open.settled(at);
            continue;
        };
        let checks = locked.open.open(at).expect("looked up above").checks + 1;
        let half = HalfMessageId::of(&message);
        messages.push((at.0, checks));
        taken.push(TransactionCheck { half, message: as_sent(message), checks, next_check });
    }
    if taken.is_empty() {
        return Ok(taken);
    }
    let places: Vec<QueueOffset> = messages.iter().map(|(at, _)| QueueOffset(*at)).collect();
    let entry = Entry::Lease(LeaseEntry {
        cell: locked.key,
        deadline: next_check,
        first: parts.lease_ids(messages.len()),
        next: locked.cells[&QUEUE].next(),
        auto_renew: false,
        client: None,
        attempt_id_hash: None,
        messages,
    });
    parts.append_state(std::slice::from_ref(&entry))?;
    locked.cells.apply([&entry]);
    // Where they are now: a handle names where they were first.
    places.into_iter().for_each(|at| locked.open.checked(at, next_check));
    parts.redelivery.arm((locked.key.consumer_group_id, locked.key.topic_id), next_check);
    Ok(taken)
}

pub(crate) fn list_transactions(parts: &Parts, list: &ListTransactions) -> Result<OpenTransactions, BrokerError> {
    let tables = parts.tables();
    if tables.topic(&list.topic).is_none() {
        return Err(BrokerError::TopicNotFound { topic: list.topic.to_string() });
    }
    drop(tables);
    let listed = with_known(parts, |_, locked| {
        let mut listed = OpenTransactions { transactions: Vec::new(), next: list.from, scanned: 0, complete: true };
        let mut bytes_left = list.bytes_max as usize;
        let wants_group = |group| list.producer_group.as_ref().is_none_or(|wanted| wanted == group);
        for (at, half) in locked.open.open_from(list.from) {
            if listed.transactions.len() == list.transactions_max as usize || listed.scanned == LOOKED_AT_MAX as u64 {
                listed.complete = false;
                break;
            }
            let is_wanted = half.topic == list.topic && wants_group(&half.producer_group);
            let message = if is_wanted { locked.read(at) } else { None };
            let is_old =
                |message: &StoredMessage| list.born_before.is_none_or(|before| message.born_timestamp < before);
            if let Some(message) = message.filter(is_old) {
                if message.body.len() > bytes_left && !listed.transactions.is_empty() {
                    listed.complete = false;
                    break;
                }
                bytes_left = bytes_left.saturating_sub(message.body.len());
                listed.transactions.push(OpenTransaction {
                    half: HalfMessageId::of(&message),
                    message: as_sent(message),
                    producer_group: half.producer_group.clone(),
                    checks: half.checks,
                    next_check: half.next_check,
                });
            }
            listed.next = QueueOffset(at.0 + 1);
            listed.scanned += 1;
        }
        listed
    });
    let none = OpenTransactions { transactions: Vec::new(), next: list.from, scanned: 0, complete: true };
    Ok(listed?.unwrap_or(none))
}

/// The message as its producer knows it: of its own topic.
fn as_sent(message: StoredMessage) -> StoredMessage {
    let slice = |text: &str| message.properties.slice_ref(text.as_bytes());
    let topic = message.property(property::REAL_TOPIC).map(slice);
    let queue_id = message.property(property::REAL_QUEUE_ID).and_then(|id| id.parse().ok()).unwrap_or(0);
    StoredMessage { topic: topic.unwrap_or_default(), queue_id: QueueId(queue_id), ..message }
}
