//! What is done about half messages that stay open: their producers are asked, in the end they are given up, and none of
//! them holds up what came behind it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::broker::HalfMessageId;
use crate::clock::Timestamp;
use crate::delivery::half_messages::{Decided, HalfOutcome, OpenHalf};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::message::property;
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::operation::fire_messages::target;
use crate::operation::topics::ensure_topic;
use crate::state::tables::Tables;
use crate::store::commit_log::{Append, AppendClass, Appended};
use crate::store::error::StoreError;
use crate::store::failpoint::{self, Point};
use crate::store::record::RecordDraft;

use super::{Locked, QUEUE, cell_key, half_topic, holding_topic, since, unreadable, with_known};

/// Most that are moved under one lock, and by one append.
const MOVED_AT_ONCE: usize = 64;
/// One half message that stays open for days must not have the cell remember all that were settled behind it: when the
/// queue is this much longer than what is open, it is put back to the queue's end.
const BEHIND_MAX: u64 = 262_144;
/// What could not be done is tried again after this.
const PAUSE: Duration = Duration::from_secs(1);

/// Checks may be due, or used up. What cannot be done now waits.
pub(crate) fn keep_up(parts: &Parts) {
    let kept_up = hold_given_up(parts).and_then(|()| Ok(put_back_behind(parts, BEHIND_MAX)?)).and_then(|()| arm(parts));
    parts.transactions.wake();
    if let Err(error) = kept_up {
        tracing::warn!(%error, "half messages cannot be looked after; it is tried again and again");
        let pair = cell_key(&parts.tables()).map(|cell| (cell.consumer_group_id, cell.topic_id));
        pair.into_iter().for_each(|pair| parts.redelivery.arm(pair, parts.store.now().plus(PAUSE)));
    }
}

/// After a start: those of the last life are to be known.
pub(crate) fn arm_at_start(parts: &Parts) {
    let cell = cell_key(&parts.tables());
    cell.into_iter().for_each(|cell| parts.redelivery.arm((cell.consumer_group_id, cell.topic_id), parts.store.now()));
}

fn arm(parts: &Parts) -> Result<(), BrokerError> {
    with_known(parts, |_, locked| {
        let pair = (locked.key.consumer_group_id, locked.key.topic_id);
        let next = locked.open.next_check(parts.store.now());
        next.into_iter().for_each(|next| parts.redelivery.arm(pair, next));
    })?;
    Ok(())
}

/// Those about which producers were asked often enough go to the holding topic.
fn hold_given_up(parts: &Parts) -> Result<(), BrokerError> {
    let given_up = |locked: &Locked<'_>| -> Vec<QueueOffset> {
        let given_up = locked.open.given_up(parts.config.transactions.check_max, parts.store.now());
        given_up.take(MOVED_AT_ONCE).collect()
    };
    while with_known(parts, |_, locked| !given_up(&locked).is_empty())? == Some(true) {
        ensure_topic(parts, &holding_topic(), 1)?;
        let held = with_known(parts, |_, mut locked| {
            let given_up = given_up(&locked);
            locked.move_all(MoveTo::Holding, &given_up)
        });
        held?.unwrap_or(Ok(()))?;
    }
    Ok(())
}

/// Puts back what lies so far behind the queue's end, and further by what is open.
pub(crate) fn put_back_behind(parts: &Parts, behind_max: u64) -> Result<(), StoreError> {
    put_back(parts, |locked| {
        let behind_max = behind_max + 4 * locked.open.open_count() as u64;
        QueueOffset(locked.queue.max_offset().0.saturating_sub(behind_max))
    })
}

/// The log is about to go below this place: nothing that is open stays there. Says whether there was anything.
pub(crate) fn put_back_below(parts: &Parts, below: CommitLogOffset) -> Result<bool, StoreError> {
    let Some(queue) = parts.store.queue(&half_topic(), QUEUE) else { return Ok(false) };
    let below = parts.store.offset_at_place(&queue, below)?;
    let before = parts.store.max_offset();
    put_back(parts, |_| below)?;
    Ok(parts.store.max_offset() > before)
}

/// What is open below a place of the queue goes to its end, or is held if nobody is to have it any more.
fn put_back(parts: &Parts, below: impl Fn(&Locked<'_>) -> QueueOffset) -> Result<(), StoreError> {
    let holding = |error| StoreError::Failed { reason: format!("the topic of held half messages: {error}") };
    loop {
        let moved = with_known(parts, |tables, mut locked| -> Result<Moved, StoreError> {
            let below = below(&locked);
            let open = locked.open.open_from(QueueOffset(0)).map(|(at, _)| at).take_while(|at| *at < below);
            let open: Vec<_> = open.take(MOVED_AT_ONCE).collect();
            let (held, kept): (Vec<_>, Vec<_>) = open.iter().copied().partition(|at| locked.is_over(tables, *at));
            if !held.is_empty() && tables.topic(&holding_topic()).is_none() {
                return Ok(Moved::LacksHoldingTopic);
            }
            locked.move_all(MoveTo::Holding, &held)?;
            locked.move_all(MoveTo::End, &kept)?;
            Ok(if open.len() == MOVED_AT_ONCE { Moved::Some } else { Moved::All })
        });
        match moved?.transpose()? {
            Some(Moved::Some) => {}
            Some(Moved::LacksHoldingTopic) => ensure_topic(parts, &holding_topic(), 1).map_err(holding)?,
            Some(Moved::All) | None => return Ok(()),
        }
    }
}

/// How far putting back has come under one lock.
enum Moved {
    Some,
    All,
    LacksHoldingTopic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MoveTo {
    End,
    Holding,
}

impl Locked<'_> {
    /// It is as old as messages get, or its topic is gone. One that was made again since is another topic, and would take
    /// the record behind its beginning for one of its own: asked under the lock under which it is moved.
    fn is_over(&self, tables: &Tables, at: QueueOffset) -> bool {
        let too_old = self.parts.store.now().minus(self.parts.config.retention.file_reserved_time);
        let message = self.read(at);
        message.is_some_and(|message| since(&message) <= too_old || target(self.parts, tables, &message).is_err())
    }

    /// Moves them to the end of their queue, or to the holding topic.
    fn move_all(&mut self, to: MoveTo, wanted: &[QueueOffset]) -> Result<(), StoreError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let (topic, queue) = match to {
            MoveTo::End => (half_topic(), self.queue.counter().clone()),
            MoveTo::Holding => {
                let topic = holding_topic();
                let queue = self.parts.store.queue(&topic, QUEUE).expect("made before").counter().clone();
                (topic, queue)
            }
        };
        let (mut appends, mut moved) = (Vec::with_capacity(wanted.len()), Vec::with_capacity(wanted.len()));
        for at in wanted.iter().copied() {
            let Some(message) = self.read(at) else {
                self.open.settled(at);
                continue;
            };
            let checks = self.open.open(at).map_or(0, |half| half.checks).to_string();
            let (origin, since) = (self.origin(at).to_string(), since(&message).0.to_string());
            let mut instead = vec![(property::TRANSACTION_CHECK_TIMES, &*checks)];
            if to == MoveTo::End {
                instead.extend([(property::PREPARED_QUEUE_OFFSET, &*origin), (property::SINCE_MS, &*since)]);
            }
            let host = self.parts.config.store_host;
            let draft = RecordDraft::moved(&topic, QUEUE, host, &message, &self.source(at), &instead);
            match draft.encode() {
                Ok(record) => {
                    appends.push(Append { record, queue: queue.clone(), class: AppendClass::State });
                    moved.push((at, HalfMessageId::of(&message).key_hash));
                }
                Err(error) => self.too_large(at, &error),
            }
        }
        if appends.is_empty() {
            return Ok(());
        }
        failpoint::at(Point::HalfMovedBefore);
        let batch = self.parts.store.append(appends)?;
        failpoint::at(Point::HalfMovedAfter);
        let indexed = self.parts.store.dispatched_offset();
        let mut refused = None;
        for (appended, (at, key_hash)) in batch.entries.into_iter().zip(moved) {
            let appended = match appended {
                Ok(appended) => appended,
                Err(error @ StoreError::RecordTooLarge { .. }) => {
                    self.too_large(at, &error);
                    continue;
                }
                // Others behind it are stored all the same.
                Err(error) => {
                    refused = Some(error);
                    continue;
                }
            };
            let origin = self.origin(at);
            let next_check = self.open.open(at).map(|half| half.next_check);
            self.settled(at);
            if to == MoveTo::Holding {
                self.parts.transactions.given_up.fetch_add(1, Ordering::Relaxed);
                let outcome = HalfOutcome::Held;
                self.open.decide(origin, Decided { key_hash, outcome, end: batch.end }, indexed);
            } else {
                self.know_at_once(&appended, next_check);
            }
        }
        self.parts.mark(batch.end);
        refused.map_or(Ok(()), Err)
    }

    /// Until it comes into its queue nobody would find it: a commit would be answered as one that comes too late.
    fn know_at_once(&mut self, put_back: &Appended, next_check: Option<Timestamp>) {
        let (at, place) = (put_back.queue_offset, put_back.commit_log_offset);
        match self.parts.store.read_appended(place) {
            Ok(message) => {
                let half = self.half_of(at, &message);
                let next_check = next_check.unwrap_or(half.next_check);
                self.open.found(at, OpenHalf { put_back_at: Some(place), next_check, ..half });
            }
            Err(error) => unreadable(at, &error),
        }
    }

    /// It must not keep those behind it, nor the log.
    fn too_large(&mut self, at: QueueOffset, error: &dyn std::fmt::Display) {
        tracing::error!(%at, %error, "a half message is too large to be moved, and stays where it is");
        self.open.settled(at);
    }
}
