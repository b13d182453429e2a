//! Writing down the state as a whole, so that a start need not read all of its records and old ones may go.

use crate::local_broker::Parts;
use crate::state::record::Entry;
use crate::state::snapshot::{SnapshotWriter, TablesPart, TimersPart};
use crate::store::error::StoreError;
use crate::store::failpoint;

/// The log grows by this much between two snapshots. It bounds what a start after a kill replays.
const SNAPSHOT_BYTES: u64 = 256 << 20;
/// In processes that tests kill soon.
const HURRIED_SNAPSHOT_BYTES: u64 = 32 << 10;

/// Takes one if the log has grown far enough.
pub(crate) fn take_snapshot_if_due(parts: &Parts) -> Result<(), StoreError> {
    let since = parts.store.newest_snapshot().map_or(0, |newest| newest.replay_from.0);
    let due_bytes = if failpoint::hurries() { HURRIED_SNAPSHOT_BYTES } else { SNAPSHOT_BYTES };
    match parts.store.max_offset().0.saturating_sub(since) >= due_bytes {
        true => take_snapshot(parts),
        false => Ok(()),
    }
}

/// Takes one that begins behind the newest, so that the one before may be forgotten.
pub(crate) fn take_newer_snapshot(parts: &Parts) -> Result<(), StoreError> {
    if parts.store.newest_snapshot().is_some_and(|newest| newest.replay_from >= parts.store.max_offset()) {
        parts.append_state(&[Entry::Mark]).map_err(|refused| refused.store_error())?;
    }
    take_snapshot(parts)
}

/// Nobody is stopped for it: each part is copied under its own lock and says what it reflects. Whoever changes a part
/// appends and applies under that lock, so what was appended before this began is in it.
pub(crate) fn take_snapshot(parts: &Parts) -> Result<(), StoreError> {
    let store = &parts.store;
    let replay_from = store.max_offset();
    let tables = {
        let tables = parts.tables();
        let mut part = TablesPart::of(&tables, store.max_offset());
        // Queues come and go under the tables' lock only. What a counter counts was appended, so it lies below what the
        // store will say that the snapshot reflects.
        for (topic, live) in part.topics.iter_mut().zip(tables.topics()) {
            let queues = store.queues(&live.config.topic);
            topic.queue_ends = queues.iter().map(|queue| queue.counter().next()).collect();
        }
        part
    };
    let mut snapshot = SnapshotWriter::new();
    for (pair, cells) in parts.cells.all() {
        let cells = cells.lock().expect("no code panics while holding it");
        if !cells.is_empty() {
            snapshot.pair(pair, store.max_offset(), cells.iter().map(|(queue_id, cell)| (queue_id, &**cell)));
        }
    }
    let timers = parts.delayed.timers();
    snapshot.timers(TimersPart { reflects: store.max_offset(), entries: timers.entries() });
    drop(timers);
    // What is appended from here on may be in it as well: a key is told twice without harm.
    snapshot.keys(store.max_offset(), parts.idempotency.entries(store.now()));
    store.write_snapshot(replay_from, &snapshot.finish(&tables))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::broker::{Broker, ChangeInvisibleDuration, PutTopic, PutWhen, TopicConfig};
    use crate::config::Retention;
    use crate::local_broker::LocalBroker;
    use crate::names::{ConsumerGroup, TopicName};
    use crate::offset::QueueOffset;
    use crate::operation::tests::{group, message, open_simulated, pop, send, topic, with_topic};
    use crate::store::files::Files;
    use crate::store::simulated_files::SimulatedFiles;

    const GANTRY: &str = "/data/gantry";

    fn open(files: &SimulatedFiles) -> LocalBroker {
        open_simulated(files, Retention::default()).unwrap()
    }

    fn snapshots(files: &SimulatedFiles) -> Vec<std::ffi::OsString> {
        let listed = files.list(Path::new(GANTRY)).unwrap().into_iter().map(|listed| listed.name);
        listed.filter(|name| name.to_string_lossy().starts_with("snapshot-")).collect()
    }

    fn without_snapshots(files: &SimulatedFiles) -> SimulatedFiles {
        let files = files.kill();
        snapshots(&files).iter().for_each(|name| files.remove_file(&Path::new(GANTRY).join(name)).unwrap());
        files
    }

    /// Everything that the state says, and where queues go on.
    fn state(broker: &LocalBroker) -> String {
        let parts = &broker.parts();
        let tables = parts.tables();
        let topics = tables.topics().map(|topic| {
            let queues = parts.store.queues(&topic.config.topic);
            let ends: Vec<_> = queues.iter().map(|queue| queue.counter().next()).collect();
            format!("{:?} {ends:?}\n", crate::broker::Topic::clone(topic))
        });
        let groups = tables.consumer_groups().map(|group| format!("{group:?}\n"));
        let mut cells: Vec<_> = parts.cells.all();
        cells.sort_by_key(|(pair, _)| *pair);
        let cells = cells.iter().map(|(pair, cells)| format!("{pair:?} {:?}\n", **cells.lock().unwrap()));
        let ids = format!("{} {}", tables.next_topic_id(), tables.next_consumer_group_id());
        topics.chain(groups).chain(cells).chain([ids]).collect()
    }

    #[tokio::test]
    async fn b6_a_start_from_a_snapshot_knows_what_a_start_from_the_log_knows() {
        let files = SimulatedFiles::new();
        let broker = open(&files);
        with_topic(&broker).await;
        let other = TopicConfig::new(TopicName::from_client("gone").unwrap());
        broker.put_topic(PutTopic::new(other.clone(), PutWhen::Missing)).await.unwrap();
        for at in 0..9 {
            broker.send_messages(send(at % 2, message(&format!("id{at}"), "body"))).await.unwrap();
        }
        let popped = broker.pop_messages(pop(6)).await.unwrap();
        broker.ack_messages(vec![popped[1].handle.clone(), popped[4].handle.clone()]).await.unwrap();
        broker.take_snapshot().unwrap();
        let more = Duration::from_secs(600);
        let change = |at: usize| ChangeInvisibleDuration {
            handle: popped[at].handle.clone(),
            invisible: Some(more),
            suspend: false,
        };
        broker.change_invisible_durations(vec![change(0)]).await.unwrap();
        broker.delete_topic(other.topic.clone()).await.unwrap();
        broker.take_snapshot().unwrap();
        broker.ack_messages(vec![popped[2].handle.clone()]).await.unwrap();
        broker.put_topic(PutTopic::new(other, PutWhen::Missing)).await.unwrap();
        broker.send_messages(send(0, message("last", "body"))).await.unwrap();
        let before = state(&broker);
        let files = files.kill();
        drop(broker);

        assert_eq!(snapshots(&files).len(), 2);
        let from_log = without_snapshots(&files);
        let broker = open(&from_log);
        assert!(broker.parts().store.newest_snapshot().is_none());
        assert_eq!(state(&broker), before);
        let broker = open(&files);
        assert!(broker.parts().store.newest_snapshot().is_some());
        assert_eq!(state(&broker), before);
        // And after a clean stop, which takes one more.
        broker.close().unwrap();
        drop(broker);
        let broker = open(&files);
        assert_eq!((state(&broker), snapshots(&files).len()), (before, 2));
    }

    /// The parts of a snapshot are of different moments: whatever happens between two of them, nothing is lost or done
    /// twice.
    #[test]
    fn b6_a_snapshot_taken_while_everybody_works_is_as_good() {
        let work = |broker: &LocalBroker, worker: u32| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let own = TopicConfig::new(TopicName::from_client(&format!("own-{worker}")).unwrap());
                for round in 0..60u32 {
                    let id = format!("{worker}-{round}");
                    broker.send_messages(send(round % 2, message(&id, "body"))).await.unwrap();
                    let popped = broker.pop_messages(pop(2)).await.unwrap();
                    let handles = popped.iter().skip(round as usize % 2).map(|popped| popped.handle.clone());
                    broker.ack_messages(handles.collect()).await.unwrap();
                    if round % 10 == 3 {
                        broker.put_topic(PutTopic::new(own.clone(), PutWhen::Missing)).await.unwrap();
                        let pop = crate::broker::PopMessages {
                            consumer_group: ConsumerGroup::from_client(&format!("g-{worker}")).unwrap(),
                            topic: own.topic.clone(),
                            ..pop(1)
                        };
                        broker.pop_messages(pop).await.unwrap();
                    }
                    if round % 10 == 8 {
                        broker.delete_topic(own.topic.clone()).await.unwrap();
                    }
                }
            });
        };
        for _ in 0..6 {
            let files = SimulatedFiles::new();
            let broker = open(&files);
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(with_topic(&broker));
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..3)
                    .map(|worker| {
                        let broker = &broker;
                        scope.spawn(move || work(broker, worker))
                    })
                    .collect();
                loop {
                    broker.take_snapshot().unwrap();
                    if workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                        break;
                    }
                }
            });
            let before = state(&broker);
            let files = files.kill();
            drop(broker);
            assert_eq!(state(&open(&without_snapshots(&files))), before);
            assert_eq!(state(&open(&files)), before);
            // The older one, too: what it replays is longer.
            let newest = snapshots(&files).pop().unwrap();
            files.damage(&Path::new(GANTRY).join(newest), 80, b"damage").unwrap();
            assert_eq!(state(&open(&files)), before);
        }
    }

    #[tokio::test]
    async fn a_power_cut_that_takes_more_than_a_snapshot_reflects_is_damage() {
        let files = SimulatedFiles::new();
        let broker = open(&files);
        with_topic(&broker).await;
        broker.send_messages(send(0, message("a", "body"))).await.unwrap();
        broker.take_snapshot().unwrap();
        broker.send_messages(send(0, message("b", "body"))).await.unwrap();
        let reflects = broker.parts().store.newest_snapshot().unwrap().reflects_below;
        assert!(reflects < broker.parts().store.max_offset());
        let files = files.kill();
        drop(broker);
        // What was appended behind may go; what was safe when the snapshot was taken must not.
        let log = Path::new("/data/commitlog/00000000000000000000");
        files.remove_file(Path::new("/data/checkpoint")).unwrap();
        let torn = files.kill();
        torn.damage(log, reflects.0 + 100, &[0xff; 8]).unwrap();
        assert!(open_simulated(&torn, Retention::default()).is_ok());
        files.damage(log, reflects.0 - 50, &[0xff; 8]).unwrap();
        let refused = open_simulated(&files, Retention::default()).err().unwrap();
        assert!(matches!(refused, StoreError::Damaged { .. }), "{refused}");
    }

    #[tokio::test]
    async fn a_group_begins_where_it_began_and_ids_are_not_given_twice() {
        let files = SimulatedFiles::new();
        let broker = open(&files);
        with_topic(&broker).await;
        broker.pop_messages(pop(1)).await.unwrap();
        broker.delete_topic(topic()).await.unwrap();
        broker.delete_consumer_group(group()).await.unwrap();
        broker.close().unwrap();
        drop(broker);
        let broker = open(&files);
        with_topic(&broker).await;
        let made = broker.describe_topic(topic()).await.unwrap();
        assert_eq!(made.topic_id, 2);
        broker.pop_messages(pop(1)).await.unwrap();
        assert_eq!(broker.describe_consumer_group(group()).await.unwrap().consumer_group_id, 2);
        let progress = broker.query_consume_offsets(group(), topic()).await.unwrap();
        assert_eq!(progress[0].consume_offset, Some(QueueOffset(0)));
    }
}
