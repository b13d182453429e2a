//! Letting old messages go, and telling the consumer groups that waited for them.
//!
//! Segments go by the broker's rules and take every topic's messages along. A topic whose attribute `reserve.time` is
//! shorter lets go of its own earlier: its queues begin behind them, and the bytes stay until their segment goes. What
//! has had its time is a decision in the log like any other, so that neither a longer time nor a clock nor a queue made
//! anew brings it back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::local_broker::Parts;
use crate::offset::{QueueId, QueueOffset};
use crate::operation::snapshot::take_newer_snapshot;
use crate::operation::{fire_messages, half_messages, retry_topic};
use crate::state::record::{CellKey, Entry};
use crate::state::tables::{LiveTopic, Tables};
use crate::store::Store;
use crate::store::commit_log::Window;
use crate::store::consume_queue::ConsumeQueue;
use crate::store::error::StoreError;

pub(crate) fn enforce_retention(parts: &Parts) -> Result<(), StoreError> {
    let deleted = delete_segments(parts);
    // Whatever became of the segments.
    let expired = expire_messages(parts);
    deleted.and(expired)
}

fn delete_segments(parts: &Parts) -> Result<(), StoreError> {
    let put_back = |below| {
        let timers = fire_messages::put_back_below(parts, below)?;
        let half = half_messages::upkeep::put_back_below(parts, below)?;
        let before = parts.store.max_offset();
        // Some may have been received while others were moved.
        while retry_topic::move_below(parts, below)? {}
        Ok(half || timers || parts.store.max_offset() > before)
    };
    let retained = parts.store.enforce_retention(&parts.config.retention, put_back)?;
    if retained.deleted_below.is_some() {
        settle_what_is_gone(parts, |_| true)?;
    }
    if retained.wants_snapshot {
        take_newer_snapshot(parts)?;
    }
    Ok(())
}

/// Lets go of what was stored longer ago than the `reserve.time` of its topic.
pub(crate) fn expire_messages(parts: &Parts) -> Result<(), StoreError> {
    let now = parts.store.now();
    // System topics hold what is on its way to others, who have times of their own.
    let with_time = |topic: &Arc<LiveTopic>| {
        let reserve_time = topic.config.attributes.reserve_time().filter(|_| !topic.config.topic.is_system())?;
        Some((topic.clone(), reserve_time))
    };
    let topics: Vec<(Arc<LiveTopic>, Duration)> = parts.tables().topics().filter_map(with_time).collect();
    let mut expired = BTreeSet::new();
    for (topic, reserve_time) in topics {
        let kept_from = kept_from(parts, &topic, now.minus(reserve_time));
        if !kept_from.is_empty() && expire(parts, &topic, kept_from)? {
            expired.insert(topic.topic_id);
        }
    }
    if !expired.is_empty() {
        settle_what_is_gone(parts, |topic_id| expired.contains(&topic_id))?;
    }
    Ok(())
}

/// The queues that hold messages stored at `until` or before, and the first message of each that was stored later.
fn kept_from(parts: &Parts, topic: &LiveTopic, until: Timestamp) -> Vec<(QueueId, QueueOffset)> {
    let queues = parts.store.queues(&topic.config.topic);
    let begins_later = |queue: &Arc<ConsumeQueue>| {
        let first = first_stored_after(parts, queue, until);
        (first > queue.min_offset()).then(|| (queue.queue_id(), first))
    };
    queues.iter().filter_map(begins_later).collect()
}

/// Mostly little is old: it looks from the front on, in growing steps, until it has found something young, and in halves
/// from there. What cannot be read counts as young, other than for a query by time: nothing is taken away unseen.
fn first_stored_after(parts: &Parts, queue: &ConsumeQueue, until: Timestamp) -> QueueOffset {
    let (mut low, mut high) = (queue.min_offset().0, queue.max_offset().0);
    let mut step = 1;
    let mut entries = Vec::with_capacity(1);
    while low < high {
        let at = QueueOffset(low + (high - low).div_ceil(2).min(step) - 1);
        entries.clear();
        let read = parts.store.read_queue(queue, at, 1, &mut entries);
        // Gone meanwhile, with its topic or its segment, it counts as young.
        let message = read.and_then(|()| match entries.first() {
            Some(entry) => parts.store.read_message(&mut Window::default(), queue, at, entry),
            None => Ok(None),
        });
        let stored = message.map(|message| message.map_or(Timestamp::MAX, |message| message.store_timestamp));
        let is_old = stored.as_ref().is_ok_and(|stored| *stored <= until);
        if is_old {
            low = at.0 + 1;
            step = step.saturating_mul(2);
        } else {
            high = at.0;
        }
        if let Err(error) = stored {
            tracing::warn!(
                topic = %queue.topic(), queue_id = %queue.queue_id(), queue_offset = %at, %error,
                "a message cannot be read: nobody knows whether it has had its time"
            );
        }
    }
    QueueOffset(low)
}

/// Writes down that queues of a topic begin later now, and lets them. `false` if the topic is another by now.
fn expire(parts: &Parts, topic: &LiveTopic, kept_from: Vec<(QueueId, QueueOffset)>) -> Result<bool, StoreError> {
    let mut tables = parts.tables.write().expect("no code panics while holding it");
    let is_same = |known: &LiveTopic| (known.incarnation, known.version) == (topic.incarnation, topic.version);
    if !tables.topic_by_id(topic.topic_id).is_some_and(|known| is_same(known)) {
        return Ok(false);
    }
    let entry = Entry::ExpireMessages { topic_id: topic.topic_id, kept_from };
    let (at, _) = parts.append_state(std::slice::from_ref(&entry)).map_err(|refused| refused.store_error())?;
    tables.apply(&entry, at);
    begin_as_decided(&parts.store, &tables, topic);
    Ok(true)
}

/// Lets the queues of a topic begin where it was decided once.
pub(crate) fn begin_as_decided(store: &Store, tables: &Tables, topic: &LiveTopic) {
    for (queue_id, offset) in tables.kept_from(topic.topic_id) {
        if let Some(queue) = store.queue(&topic.config.topic, queue_id) {
            queue.keep_from(offset);
        }
    }
}

/// Messages that retention took count as settled: nobody can have them any more. Groups go on with what is left.
/// Looks at the topics that are `meant`.
pub(crate) fn settle_what_is_gone(parts: &Parts, meant: impl Fn(u32) -> bool) -> Result<(), StoreError> {
    for (pair, cells) in parts.cells.all().into_iter().filter(|(pair, _)| meant(pair.1)) {
        // Held until the record is applied, so that none can follow the deletion of the topic.
        let tables = parts.tables();
        let (Some(group), Some(topic)) = (tables.consumer_group_by_id(pair.0), tables.topic_by_id(pair.1)) else {
            continue;
        };
        let mut cells = cells.lock().expect("no code panics while holding it");
        let queues = parts.store.queues(&topic.config.topic);
        let behind = |queue: &Arc<ConsumeQueue>| {
            let (min, queue_id) = (queue.min_offset().0, queue.queue_id());
            let known = cells.get(&queue_id)?;
            let cell = CellKey { consumer_group_id: pair.0, topic_id: pair.1, queue_id };
            (known.floor() < min).then(|| (Entry::CommitOffset { cell, offset: min }, known.owed_below(min)))
        };
        let (entries, missed): (Vec<Entry>, Vec<u64>) = queues.iter().filter_map(behind).unzip();
        if entries.is_empty() {
            continue;
        }
        parts.append_state(&entries).map_err(|refused| refused.store_error())?;
        cells.apply(&entries);
        let messages: u64 = missed.iter().sum();
        if messages > 0 {
            cells.expired += messages;
            tracing::warn!(
                target: "audit", topic = %topic.config.topic, consumer_group = %group.config.consumer_group, messages,
                "messages had their time before the consumer group had settled them"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::broker::{
        Broker, BrowseMessages, PullMessages, PutTopic, PutWhen, QueryMessages, SendMessages, TopicConfig,
    };
    use crate::clock::Clock;
    use crate::config::Retention;
    use crate::delivery::filter::Filter;
    use crate::error::BrokerError;
    use crate::local_broker::LocalBroker;
    use crate::names::TopicName;
    use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
    use crate::operation::tests::{group, message, open_simulated, open_simulated_by, pop, send, topic, with_topic};
    use crate::store::files::Files;
    use crate::store::index_file::IndexLayout;
    use crate::store::offline::verify::{VerifyOptions, verify};
    use crate::store::simulated_files::SimulatedFiles;
    use crate::topic_attributes::RESERVE_TIME;

    const SEGMENT_BYTES: u64 = 64 << 10;

    fn short() -> Retention {
        Retention { commit_log_bytes_max: Some(2 * SEGMENT_BYTES), ..Retention::default() }
    }

    fn pull(offset: u64) -> PullMessages {
        PullMessages {
            topic: topic(),
            queue_id: QueueId(0),
            offset: QueueOffset(offset),
            messages_max: 1,
            bytes_max: 1,
        }
    }

    async fn fill(broker: &LocalBroker, from: u32, to: u32) {
        for at in from..to {
            broker.send_messages(send(0, message(&format!("id{at}"), &format!("{at}").repeat(300)))).await.unwrap();
        }
    }

    /// As the thread does it: what lacks a snapshot goes when there are two newer ones.
    fn retain(broker: &LocalBroker) {
        (0..4).for_each(|_| broker.enforce_retention().unwrap());
    }

    /// Where queue 0 begins and ends, and where its group is.
    async fn ends(broker: &LocalBroker) -> (u64, u64, u64) {
        let queue = broker.query_queue_offsets(topic()).await.unwrap()[0];
        let group = broker.query_consume_offsets(group(), topic()).await.unwrap()[0].consume_offset;
        (queue.min_offset.0, queue.max_offset.0, group.unwrap().0)
    }

    fn remove(files: &SimulatedFiles, dir: &Path) {
        for listed in files.list(dir).unwrap() {
            let path = dir.join(&listed.name);
            match listed.is_dir {
                true => remove(files, &path),
                false => files.remove_file(&path).unwrap(),
            }
        }
        files.remove_dir(dir).unwrap();
    }

    #[tokio::test]
    async fn d10_queues_that_were_last_synced_before_all_that_is_left_begin_behind_what_went() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        broker.close().unwrap();
        drop(broker);
        let queue_ends = Path::new("/data/gantry/queue-ends");
        let before = files.read(queue_ends).unwrap();
        let broker = open_simulated(&files, short()).unwrap();
        fill(&broker, 0, 300).await;
        let of_queue_1 = broker.send_messages(send(1, message("last", "last"))).await.unwrap().remove(0).unwrap();
        assert_eq!(of_queue_1.queue_offset, QueueOffset(0));
        retain(&broker);
        let (min, max, _) = queue_of(&broker, 0).await;
        assert!(min > 0);
        // Killed before it was written again.
        let killed = files.kill();
        drop(broker);
        killed.replace(queue_ends, &before, false).unwrap();
        let broker = open_simulated(&killed, short()).unwrap();
        assert_eq!(queue_of(&broker, 0).await, (min, max, max - min));
        assert_eq!(queue_of(&broker, 1).await, (0, 1, 1));
        let sent = broker.send_messages(send(0, message("next", "next"))).await.unwrap().remove(0).unwrap();
        assert_eq!(sent.queue_offset.0, max);
    }

    #[tokio::test]
    async fn what_a_group_misses_is_counted_without_what_it_had_settled() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        fill(&broker, 0, 300).await;
        let popped = broker.pop_messages(pop(10)).await.unwrap();
        let acked = popped[3..7].iter().map(|popped| popped.handle.clone()).collect();
        assert!(broker.ack_messages(acked).await.unwrap().iter().all(Result::is_ok));
        let expired = async || broker.list_consumptions(None, Some(topic())).await.unwrap()[0].expired;
        assert_eq!(expired().await, 0);
        retain(&broker);
        let (min, max, _) = queue_of(&broker, 0).await;
        assert!(min > 10);
        // Nor what was moved to its retry topic.
        assert_eq!(expired().await, min - 10);
        let progress = broker.query_consume_offsets(group(), topic()).await.unwrap().remove(0);
        assert_eq!((progress.lag(), progress.ready, progress.in_flight), (max - min, max - min, 0));
        retain(&broker);
        assert_eq!(expired().await, min - 10, "nothing is missed twice");
    }

    #[tokio::test]
    async fn what_retention_takes_between_entry_and_record_is_gone_and_no_damage() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        fill(&broker, 0, 1).await;
        let store = &broker.parts().store;
        let queue = store.queue(&topic(), QueueId(0)).unwrap();
        let mut entries = Vec::new();
        store.read_queue(&queue, QueueOffset(0), 1, &mut entries).unwrap();
        let read = || store.read_message(&mut Window::default(), &queue, QueueOffset(0), &entries[0]).unwrap();
        assert!(read().is_some());
        fill(&broker, 1, 300).await;
        retain(&broker);
        assert!(queue.min_offset() > QueueOffset(0) && read().is_none());
        assert!(matches!(broker.pull_messages(pull(0)).await, Err(BrokerError::OffsetExpired { .. })));
    }

    /// `again`: a topic of the same name is made later. `late`: the topic ends when its beginning has gone already.
    async fn outlive_a_topic(again: bool, late: bool) {
        let mut files = SimulatedFiles::new();
        let mut broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        let passing = TopicName::from_client("passing").unwrap();
        broker.put_topic(PutTopic::new(TopicConfig::new(passing.clone()), PutWhen::Missing)).await.unwrap();
        fill(&broker, 0, 100).await;
        let last = SendMessages { topic: passing.clone(), ..send(0, message("last", "last")) };
        let last = broker.send_messages(last).await.unwrap().remove(0).unwrap();
        if !late {
            broker.delete_topic(passing.clone()).await.unwrap();
        }
        let mut at = 100;
        while broker.parts().store.min_offset().0 == 0 {
            fill(&broker, at, at + 10).await;
            at += 10;
            retain(&broker);
        }
        assert!(
            last.commit_log_offset >= broker.parts().store.min_offset(),
            "its message is there, its beginning is not"
        );
        if late {
            // A snapshot still names it then: killed, the broker takes no other.
            broker.close().unwrap();
            drop(broker);
            broker = open_simulated(&files, short()).unwrap();
            broker.delete_topic(passing.clone()).await.unwrap();
        }
        if again {
            broker.put_topic(PutTopic::new(TopicConfig::new(passing), PutWhen::Missing)).await.unwrap();
        }
        if late {
            files = files.kill();
        } else {
            broker.close().unwrap();
        }
        drop(broker);
        // Made anew, the index knows only of topics that there are.
        remove(&files, Path::new("/data/index"));
        open_simulated(&files, short()).unwrap().close().unwrap();
        let options = VerifyOptions { live: false, index_layout: IndexLayout::default() };
        let report = verify(&files, Path::new("/data"), options, &mut |_| {}).unwrap();
        assert!(report.is_well(), "again {again}, late {late}: {:#?}", report.problems);
    }

    #[tokio::test]
    async fn what_is_left_of_a_topic_whose_beginning_is_gone_is_no_fault_of_the_store() {
        for (again, late) in [(false, false), (true, false), (false, true), (true, true)] {
            outlive_a_topic(again, late).await;
        }
    }

    /// Where a queue begins and ends, and how many of its messages can be read.
    async fn queue_of(broker: &LocalBroker, queue_id: u32) -> (u64, u64, u64) {
        let ends = broker.query_queue_offsets(topic()).await.unwrap()[queue_id as usize];
        let (min, max) = (ends.min_offset.0, ends.max_offset.0);
        let mut read = 0;
        for offset in min..max {
            let pull = PullMessages { queue_id: QueueId(queue_id), ..pull(offset) };
            read += broker.pull_messages(pull).await.unwrap().messages.len() as u64;
        }
        (min, max, read)
    }

    #[tokio::test]
    async fn a_group_ahead_of_what_goes_stays_where_it_is() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        fill(&broker, 0, 300).await;
        for _ in 0..9 {
            let popped = broker.pop_messages(pop(32)).await.unwrap();
            broker.ack_messages(popped.into_iter().map(|popped| popped.handle).collect()).await.unwrap();
        }
        retain(&broker);
        let (min, max, floor) = ends(&broker).await;
        assert!(0 < min && min < floor && (floor, max) == (288, 300), "{min} {floor} {max}");
    }

    #[tokio::test]
    async fn what_is_old_goes_and_everybody_goes_on_behind_it() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        // Of this one nothing will be left but where it ended.
        let quiet = TopicName::from_client("quiet").unwrap();
        broker.put_topic(PutTopic::new(TopicConfig::new(quiet.clone()), PutWhen::Missing)).await.unwrap();
        let to_quiet = || crate::broker::SendMessages { topic: quiet.clone(), ..send(0, message("q", "q")) };
        for _ in 0..3 {
            broker.send_messages(to_quiet()).await.unwrap();
        }
        fill(&broker, 0, 1).await;
        let leased = broker.pop_messages(pop(1)).await.unwrap();
        fill(&broker, 1, 600).await;
        let min_before = broker.describe_broker().await.unwrap().commit_log_min;
        assert_eq!(min_before, CommitLogOffset(0));
        retain(&broker);
        let described = broker.describe_broker().await.unwrap();
        let kept = described.commit_log_max.0 - described.commit_log_min.0;
        assert!(kept <= 3 * SEGMENT_BYTES, "{kept}");

        let (min, max, floor) = ends(&broker).await;
        assert!(min > 0 && max == 600 && floor == min, "{min} {max} {floor}");
        assert!(
            matches!(broker.pull_messages(pull(min - 1)).await, Err(BrokerError::OffsetExpired { min: now }) if now.0 == min)
        );
        assert_eq!(broker.pull_messages(pull(min)).await.unwrap().messages[0].body, format!("{min}").repeat(300));
        assert!(broker.ack_messages(vec![leased[0].handle.clone()]).await.unwrap()[0].is_ok(), "settled is settled");
        assert!(broker.find_message(topic(), "id0".into()).await.is_err());
        assert!(broker.find_message(topic(), format!("id{min}")).await.is_ok());
        let quiet_ends = |broker: &LocalBroker| {
            let queue = broker.parts().store.queue(&quiet, QueueId(0)).unwrap();
            (queue.min_offset().0, queue.max_offset().0)
        };
        assert_eq!(quiet_ends(&broker), (3, 3));
        let killed = files.kill();
        drop(broker);

        let same = |files: &SimulatedFiles| open_simulated(files, short()).unwrap();
        let without = |paths: &[&str]| {
            let files = killed.kill();
            paths.iter().for_each(|path| remove(&files, &PathBuf::from("/data").join(path)));
            files
        };
        // Derived files that are gone lose nothing, whatever the log still holds.
        for files in [killed.kill(), without(&["consumequeue", "index"]), without(&["index"])] {
            let broker = same(&files);
            assert_eq!(ends(&broker).await, (min, max, floor));
            assert_eq!(quiet_ends(&broker), (3, 3));
            let sent = broker.send_messages(to_quiet()).await.unwrap().remove(0).unwrap();
            assert_eq!(sent.queue_offset, QueueOffset(3), "it goes on where it ended");
            fill(&broker, 600, 601).await;
            assert_eq!(ends(&broker).await, (min, max + 1, floor));
            assert!(broker.find_message(topic(), format!("id{min}")).await.is_ok());
        }
        // Without queue ends too.
        let files = without(&["consumequeue"]);
        files.remove_file(Path::new("/data/gantry/queue-ends")).unwrap();
        let broker = same(&files);
        assert_eq!((ends(&broker).await, quiet_ends(&broker)), ((min, max, floor), (3, 3)));
        drop(broker);

        // Both snapshots lost is a loss, and not passed over.
        let files = killed.kill();
        for listed in files.list(Path::new("/data/gantry")).unwrap() {
            if listed.name.to_string_lossy().starts_with("snapshot-") {
                files.remove_file(&Path::new("/data/gantry").join(listed.name)).unwrap();
            }
        }
        assert!(matches!(open_simulated(&files, short()), Err(StoreError::StateLost { .. })));
    }

    /// Killed at any change that retention makes, the next start finds everything that was not let go.
    #[tokio::test]
    async fn d10_retention_killed_anywhere_leaves_what_it_did_not_take() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        fill(&broker, 0, 1).await;
        broker.pop_messages(pop(1)).await.unwrap();
        fill(&broker, 1, 500).await;
        broker.take_snapshot().unwrap();
        fill(&broker, 500, 501).await;
        broker.take_snapshot().unwrap();
        broker.close().unwrap();
        drop(broker);
        let mut finished = false;
        for operations in (0..).step_by(2) {
            let files = files.kill();
            let broker = open_simulated(&files, short()).unwrap();
            files.halt_after(operations);
            finished = broker.enforce_retention().is_ok() && broker.enforce_retention().is_ok();
            let killed = if operations % 4 == 0 { files.kill() } else { files.power_cut(operations) };
            drop(broker);
            let broker = open_simulated(&killed, short()).unwrap();
            let (min, max, floor) = ends(&broker).await;
            assert_eq!((max, floor), (501, floor.max(min)), "after {operations}");
            for at in min..max {
                let pulled = broker.pull_messages(pull(at)).await.unwrap();
                assert_eq!(pulled.messages[0].body, format!("{at}").repeat(300), "after {operations}");
            }
            if finished {
                break;
            }
        }
        assert!(finished);
    }

    const HOUR_MS: i64 = 3_600_000;

    /// A wall clock that a test moves; nothing else passes.
    #[derive(Clone)]
    struct Wall(Arc<AtomicI64>);

    impl Wall {
        fn new() -> Wall {
            Wall(Arc::new(AtomicI64::new(1_700_000_000_000)))
        }

        /// Effective time goes along: it is slewed to the wall only when they are apart.
        fn pass_ms(&self, ms: i64) {
            self.0.fetch_add(ms, Ordering::Relaxed);
        }
    }

    impl Clock for Wall {
        fn wall(&self) -> Timestamp {
            Timestamp(self.0.load(Ordering::Relaxed))
        }
        fn since_boot(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed).unsigned_abs())
        }
    }

    /// The broker whose clock stands still unless a test moves it.
    fn open_by(files: &SimulatedFiles, wall: &Wall) -> LocalBroker {
        open_simulated_by(files, Retention::default(), Box::new(wall.clone())).unwrap()
    }

    async fn keep_for(broker: &LocalBroker, hours: Option<&str>) {
        let attributes = hours.map(|hours| (RESERVE_TIME.to_string(), hours.to_string())).into_iter().collect();
        let config = TopicConfig { read_queues: 2, write_queues: 2, attributes, ..TopicConfig::new(topic()) };
        let when = match broker.describe_topic(topic()).await {
            Ok(_) => PutWhen::Exists,
            Err(_) => PutWhen::Missing,
        };
        broker.put_topic(PutTopic::new(config, when)).await.unwrap();
    }

    async fn min_offset(broker: &LocalBroker) -> u64 {
        broker.query_queue_offsets(topic()).await.unwrap()[0].min_offset.0
    }

    #[tokio::test]
    async fn b7_a_reserve_time_raises_where_queues_begin_and_groups_go_on_there() {
        let (files, wall) = (SimulatedFiles::new(), Wall::new());
        let broker = open_by(&files, &wall);
        keep_for(&broker, Some("2")).await;
        let other = TopicName::from_client("other").unwrap();
        broker.put_topic(PutTopic::new(TopicConfig::new(other.clone()), PutWhen::Missing)).await.unwrap();
        let to_other = crate::broker::SendMessages { topic: other.clone(), ..send(0, message("o", "o")) };
        broker.send_messages(to_other).await.unwrap();
        let first = broker.send_messages(send(0, message("id0", "0"))).await.unwrap().remove(0).unwrap();
        let leased = broker.pop_messages(pop(1)).await.unwrap();
        // One each minute, the last one at 1:39.
        for at in 1..100 {
            wall.pass_ms(60_000);
            fill(&broker, at, at + 1).await;
        }
        broker.enforce_retention().unwrap();
        assert_eq!(ends(&broker).await, (0, 100, 0), "nothing is two hours old");
        wall.pass_ms(2 * HOUR_MS - 100 * 60_000 + 59_999);
        broker.enforce_retention().unwrap();
        assert_eq!(ends(&broker).await, (0, 100, 0));
        wall.pass_ms(1);
        broker.enforce_retention().unwrap();
        assert_eq!(ends(&broker).await, (1, 100, 1), "the first one is");
        wall.pass_ms(41 * 60_000);
        broker.enforce_retention().unwrap();
        assert_eq!(ends(&broker).await, (42, 100, 42));

        assert!(matches!(broker.pull_messages(pull(41)).await, Err(BrokerError::OffsetExpired { min }) if min.0 == 42));
        assert_eq!(broker.pull_messages(pull(42)).await.unwrap().messages[0].body, "42".repeat(300));
        assert!(matches!(broker.read_message(first.commit_log_offset).await, Err(BrokerError::MessageNotFound)));
        assert!(matches!(broker.find_message(topic(), "id41".into()).await, Err(BrokerError::MessageNotFound)));
        assert!(broker.find_message(topic(), "id42".into()).await.is_ok());
        for (key, found) in [("id41", 0), ("id42", 1)] {
            let query = QueryMessages {
                topic: topic(),
                key: key.into(),
                from: None,
                to: None,
                position: None,
                messages_max: 1,
                bytes_max: 1,
            };
            assert_eq!(broker.query_messages(query).await.unwrap().messages.len(), found, "{key}");
        }
        let browse = BrowseMessages {
            topic: topic(),
            queue_id: None,
            from: None,
            to: None,
            filter: Filter::All,
            newest_first: false,
            position: None,
            messages_max: 1,
            bytes_max: 1,
        };
        assert_eq!(broker.browse_messages(browse).await.unwrap().messages[0].queue_offset, QueueOffset(42));
        assert!(broker.ack_messages(vec![leased[0].handle.clone()]).await.unwrap()[0].is_ok(), "settled is settled");
        assert_eq!(broker.pop_messages(pop(1)).await.unwrap()[0].message.queue_offset, QueueOffset(42));
        assert_eq!(broker.topic_stats(topic()).await.unwrap().messages, 58);
        let kept = broker.query_queue_offsets(other).await.unwrap()[0];
        assert_eq!((kept.min_offset, kept.max_offset), (QueueOffset(0), QueueOffset(1)), "others keep theirs");
        assert_eq!(broker.describe_broker().await.unwrap().commit_log_min, CommitLogOffset(0), "the log keeps all");

        // All of it, and offsets go on.
        wall.pass_ms(24 * HOUR_MS);
        broker.enforce_retention().unwrap();
        assert_eq!(ends(&broker).await, (100, 100, 100));
        fill(&broker, 100, 101).await;
        assert_eq!(broker.pop_messages(pop(9)).await.unwrap()[0].message.queue_offset, QueueOffset(100));
        assert_eq!(ends(&broker).await, (100, 101, 100));
    }

    /// Whatever a start has lost, and whatever the topic or the clock say by then.
    #[tokio::test]
    async fn what_has_had_its_time_never_comes_back() {
        let (files, wall) = (SimulatedFiles::new(), Wall::new());
        let broker = open_by(&files, &wall);
        keep_for(&broker, Some("1")).await;
        fill(&broker, 0, 10).await;
        broker.pop_messages(pop(1)).await.unwrap();
        broker.take_snapshot().unwrap();
        wall.pass_ms(HOUR_MS);
        fill(&broker, 10, 20).await;
        broker.enforce_retention().unwrap();
        assert_eq!(ends(&broker).await, (10, 20, 10));
        keep_for(&broker, Some("1000")).await;
        broker.enforce_retention().unwrap();
        assert_eq!(min_offset(&broker).await, 10, "a longer time is one for what is there");
        keep_for(&broker, None).await;
        let killed = files.kill();
        // Both ends of it: in records behind a snapshot, and in a snapshot alone.
        broker.take_snapshot().unwrap();
        let with_snapshot = files.kill();
        broker.close().unwrap();
        drop(broker);
        let stopped = files.kill();

        for (files, name) in [(killed, "killed"), (with_snapshot, "with a snapshot"), (stopped, "stopped")] {
            let lost: [&[&str]; 4] =
                [&[], &["consumequeue"], &["consumequeue", "gantry/queue-ends"], &["gantry/queue-ends"]];
            for lost in lost {
                let files = files.kill();
                for path in lost {
                    let path = Path::new("/data").join(path);
                    match path.ends_with("queue-ends") {
                        // Not there before the first sync of the queues.
                        true => drop(files.remove_file(&path)),
                        false => remove(&files, &path),
                    }
                }
                // The clock has gone back by a year, too.
                let before = Wall(Arc::new(AtomicI64::new(wall.0.load(Ordering::Relaxed) - 8_760 * HOUR_MS)));
                for wall in [&wall, &before] {
                    let broker = open_by(&files.kill(), wall);
                    let what = format!("{name}, without {lost:?}");
                    assert_eq!(ends(&broker).await, (10, 20, 10), "{what}");
                    broker.enforce_retention().unwrap();
                    assert_eq!(ends(&broker).await, (10, 20, 10), "{what}");
                    assert!(broker.find_message(topic(), "id9".into()).await.is_err(), "{what}");
                    assert!(broker.pull_messages(pull(9)).await.is_err(), "{what}");
                }
            }
        }
        // A topic of the same name that is made anew has all of its own.
        let broker = open_by(&files, &wall);
        broker.delete_topic(topic()).await.unwrap();
        keep_for(&broker, None).await;
        fill(&broker, 0, 3).await;
        assert_eq!(min_offset(&broker).await, 0);
    }

    #[tokio::test]
    async fn nobody_receives_what_had_its_time_while_the_broker_was_away() {
        let (files, wall) = (SimulatedFiles::new(), Wall::new());
        let broker = open_by(&files, &wall);
        keep_for(&broker, Some("1")).await;
        fill(&broker, 0, 5).await;
        broker.pop_messages(pop(1)).await.unwrap();
        drop(broker);
        wall.pass_ms(HOUR_MS);
        let broker = open_by(&files.kill(), &wall);
        assert_eq!(ends(&broker).await, (5, 5, 5));
        assert!(broker.pop_messages(pop(9)).await.unwrap().is_empty());
    }

    /// Killed when queues begin later and groups have not been told.
    #[tokio::test]
    async fn d10_a_start_settles_what_had_its_time_before_a_kill() {
        let (files, wall) = (SimulatedFiles::new(), Wall::new());
        let broker = open_by(&files, &wall);
        keep_for(&broker, Some("1")).await;
        fill(&broker, 0, 5).await;
        let leased = broker.pop_messages(pop(2)).await.unwrap();
        let topic = broker.parts().tables().topic(&topic()).unwrap().clone();
        assert!(expire(broker.parts(), &topic, vec![(QueueId(0), QueueOffset(4))]).unwrap());
        let killed = files.kill();
        assert_eq!(ends(&broker).await, (4, 5, 0));
        drop(broker);
        let broker = open_by(&killed, &wall);
        assert_eq!(ends(&broker).await, (4, 5, 4));
        let acks = leased.into_iter().map(|popped| popped.handle).collect();
        assert!(broker.ack_messages(acks).await.unwrap().iter().all(Result::is_ok));
        assert_eq!(broker.pop_messages(pop(9)).await.unwrap().len(), 1);
        // Of a topic that has been changed since it was looked at nothing is decided.
        keep_for(&broker, Some("2")).await;
        assert!(!expire(broker.parts(), &topic, vec![(QueueId(0), QueueOffset(5))]).unwrap());
        assert_eq!(ends(&broker).await, (4, 5, 4));
    }

    /// A look by time passes what it cannot read; here that would take young messages away.
    #[tokio::test]
    async fn a_record_that_cannot_be_read_keeps_what_lies_behind_it() {
        let (files, wall) = (SimulatedFiles::new(), Wall::new());
        let broker = open_by(&files, &wall);
        keep_for(&broker, Some("1")).await;
        let mut places = Vec::new();
        for at in 0..9 {
            let sent = broker.send_messages(send(0, message(&format!("id{at}"), "body"))).await.unwrap();
            places.push(sent.into_iter().next().unwrap().unwrap().commit_log_offset);
            wall.pass_ms(60_000);
        }
        let log = Path::new("/data/commitlog/00000000000000000000");
        // Where the search comes after the first three, which are old enough; it says nothing then.
        files.damage(log, places[5].0 + 100, &[0xff; 8]).unwrap();
        wall.pass_ms(HOUR_MS - 7 * 60_000);
        broker.enforce_retention().unwrap();
        assert_eq!(min_offset(&broker).await, 3);
    }

    /// Segments go as ever, though the queues begin ahead of them.
    #[tokio::test]
    async fn segments_go_from_under_what_has_had_its_time() {
        let (files, wall) = (SimulatedFiles::new(), Wall::new());
        let open = |files: &SimulatedFiles| open_simulated_by(files, short(), Box::new(wall.clone())).unwrap();
        let broker = open(&files);
        keep_for(&broker, Some("1")).await;
        fill(&broker, 0, 590).await;
        broker.pop_messages(pop(1)).await.unwrap();
        wall.pass_ms(HOUR_MS);
        fill(&broker, 590, 600).await;
        broker.enforce_retention().unwrap();
        assert_eq!(ends(&broker).await, (590, 600, 590));
        retain(&broker);
        assert!(broker.describe_broker().await.unwrap().commit_log_min.0 > 0);
        assert_eq!(ends(&broker).await, (590, 600, 590));
        fill(&broker, 600, 1_200).await;
        retain(&broker);
        let (min, max, _) = ends(&broker).await;
        assert!(min > 600 && max == 1_200, "{min}: segments are ahead now");
        drop(broker);
        let files = files.kill();
        for lost in [None, Some("consumequeue")] {
            let files = files.kill();
            lost.iter().for_each(|path| remove(&files, &Path::new("/data").join(path)));
            let broker = open(&files);
            assert_eq!(ends(&broker).await, (min, 1_200, min), "without {lost:?}");
        }
    }

    #[tokio::test]
    async fn a_topic_says_how_long_its_messages_are_kept() {
        let (files, wall) = (SimulatedFiles::new(), Wall::new());
        let broker = open_by(&files, &wall);
        keep_for(&broker, Some("24")).await;
        let attributes = |value: &str| [(RESERVE_TIME.to_string(), value.to_string())].into_iter().collect();
        let refused = TopicConfig { attributes: attributes("1d"), ..TopicConfig::new(topic()) };
        let error = broker.put_topic(PutTopic::new(refused, PutWhen::Exists)).await.unwrap_err();
        assert!(matches!(error, BrokerError::InvalidParameter { name: "attributes/reserve.time", .. }), "{error}");
        let same = |files: &SimulatedFiles| open_by(files, &wall);
        let topic_of = async |broker: &LocalBroker| broker.describe_topic(topic()).await.unwrap();
        let put = topic_of(&broker).await;
        assert_eq!((put.version, put.config.attributes.clone()), (1, attributes("24")));
        assert_eq!(topic_of(&same(&files.kill())).await, put);
        broker.close().unwrap();
        drop(broker);
        let broker = same(&files);
        assert_eq!(topic_of(&broker).await, put);
        let exported = broker.parts().store.read_config("topics.json").unwrap().unwrap();
        assert_eq!(exported["topicConfigTable"]["orders"]["attributes"], serde_json::json!({"reserve.time": "24"}));
    }

    #[tokio::test]
    async fn a_disk_that_is_nearly_full_refuses_messages_and_takes_acks() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, Retention::default()).unwrap();
        with_topic(&broker).await;
        fill(&broker, 0, 2).await;
        let popped = broker.pop_messages(pop(1)).await.unwrap();
        // Of its 2^64 bytes a simulated disk has few left, and yet enough for what is reserved.
        files.limit_space(Some(64 << 20));
        broker.enforce_retention().unwrap();
        let refused = broker.send_messages(send(0, message("x", "x"))).await;
        assert!(matches!(refused, Err(BrokerError::StorageFull)), "{refused:?}");
        assert!(matches!(broker.describe_broker().await.unwrap().refuses_sends, Some(BrokerError::StorageFull)));
        assert!(broker.ack_messages(vec![popped[0].handle.clone()]).await.unwrap()[0].is_ok());
        assert_eq!(broker.pop_messages(pop(1)).await.unwrap().len(), 1);
        broker.delete_topic(topic()).await.unwrap();
        files.limit_space(None);
        broker.enforce_retention().unwrap();
        with_topic(&broker).await;
        fill(&broker, 2, 3).await;
    }
}
