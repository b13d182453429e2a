//! A store that lost its snapshots after retention deleted the log's beginning, and its state made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::broker::{Broker, PopMessages, PutTopic, PutWhen, SendMessages, TopicConfig};
use crate::clock::Timestamp;
use crate::config::Retention;
use crate::local_broker::LocalBroker;
use crate::names::{ConsumerGroup, TopicName};
use crate::operation::tests::{message, open_simulated, pop, send, topic, with_topic};
use crate::recover_state::{Consumed, Exports, RecoverState, RecoverStateError, RecoveredState, Source, recover_state};
use crate::store::error::StoreError;
use crate::store::files::Files;
use crate::store::simulated_files::{Chance, SimulatedFiles};

const SEGMENT_BYTES: u64 = 64 << 10;
const LOOK: RecoverState = RecoverState { write: false, invent: false };
const WRITE: RecoverState = RecoverState { write: true, invent: false };
const INVENT: RecoverState = RecoverState { write: true, invent: true };

fn open(files: &SimulatedFiles) -> Result<LocalBroker, StoreError> {
    let retention = Retention { commit_log_bytes_max: Some(3 * SEGMENT_BYTES), ..Retention::default() };
    open_simulated(files, retention)
}

fn recover(files: &SimulatedFiles, options: RecoverState) -> Result<RecoveredState, RecoverStateError> {
    recover_state(Arc::new(files.clone()), Path::new("/data"), Timestamp(9), options)
}

fn name(name: &str) -> TopicName {
    TopicName::from_client(name).unwrap()
}

async fn fill(broker: &LocalBroker, topic: &TopicName, queue: u32, count: usize) {
    for at in 0..count {
        let message = message(&format!("{topic}{queue}{at}"), &"0123456789".repeat(90));
        let send = SendMessages { topic: topic.clone(), ..send(queue, message) };
        broker.send_messages(send).await.unwrap().remove(0).unwrap();
    }
}

/// Fills until retention has deleted the beginning.
async fn age(broker: &LocalBroker) {
    fill(broker, &topic(), 1, 400).await;
    (0..4).for_each(|_| broker.enforce_retention().unwrap());
    assert!(broker.parts().store.min_offset().0 > 0);
}

/// What a kill leaves, and somebody who removes the snapshots.
fn without_snapshots(files: &SimulatedFiles) -> SimulatedFiles {
    let files = files.kill();
    let gantry = Path::new("/data/gantry");
    for listed in files.list(gantry).unwrap() {
        if listed.name.to_string_lossy().starts_with("snapshot-") {
            files.remove_file(&gantry.join(listed.name)).unwrap();
        }
    }
    files
}

/// Topics and groups with all that is known of them, queues with their ends.
fn tables(broker: &LocalBroker) -> Vec<String> {
    let parts = broker.parts();
    let tables = parts.tables();
    let topics = tables.topics().map(|topic| {
        let queues = parts.store.queues(&topic.config.topic);
        let ends: Vec<_> = queues.iter().map(|queue| (queue.min_offset().0, queue.max_offset().0)).collect();
        format!("{:?} {ends:?}", ***topic)
    });
    let groups = tables.consumer_groups().map(|group| format!("{group:?}"));
    let ids = format!("{} {}", tables.next_topic_id(), tables.next_consumer_group_id());
    topics.chain(groups).chain([ids]).collect()
}

/// By group, topic and queue: the offsets that the group has not settled, of messages that are there.
fn owed(broker: &LocalBroker) -> BTreeMap<(String, String, u32), BTreeSet<u64>> {
    let parts = broker.parts();
    let tables = parts.tables();
    let mut owed = BTreeMap::new();
    for (pair, cells) in parts.cells.all() {
        let names = tables.consumer_group_by_id(pair.0).zip(tables.topic_by_id(pair.1));
        let Some((group, topic)) = names else { continue };
        let cells = cells.lock().unwrap();
        for queue in parts.store.queues(&topic.config.topic).iter() {
            let Some(cell) = cells.get(&queue.queue_id()) else { continue };
            let leased = cell.due(Timestamp::MAX).map(|(offset, _)| offset);
            let all = leased.chain(cell.next()..queue.max_offset().0).filter(|at| *at >= queue.min_offset().0);
            let names = (group.config.consumer_group.to_string(), topic.config.topic.to_string());
            owed.insert((names.0, names.1, queue.queue_id().0), all.collect());
        }
    }
    owed
}

/// Every cell is there, and what was owed is.
#[track_caller]
fn skips_nothing(before: &LocalBroker, after: &LocalBroker) {
    let after = owed(after);
    for (cell, owed) in owed(before) {
        let missing: Vec<_> = owed.difference(after.get(&cell).expect("the cell is there")).collect();
        assert!(missing.is_empty(), "{cell:?} skips {missing:?}");
    }
}

/// A store with a past: what one group has settled was exported by a clean stop, then somebody else came and took more.
async fn with_a_past() -> (SimulatedFiles, LocalBroker) {
    let files = SimulatedFiles::new();
    let broker = open(&files).unwrap();
    with_topic(&broker).await;
    for gone in ["gone", "again"] {
        broker.put_topic(PutTopic::new(TopicConfig::new(name(gone)), PutWhen::Missing)).await.unwrap();
        fill(&broker, &name(gone), 0, 3).await;
    }
    age(&broker).await;
    let min = broker.parts().store.queues(&topic())[1].min_offset().0;
    assert!(min > 10, "the group begins behind the beginning: {min}");
    let popped = broker.pop_messages(pop(20)).await.unwrap();
    let acked = popped.iter().filter(|popped| popped.message.queue_offset.0 % 5 != 0);
    broker.ack_messages(acked.map(|popped| popped.handle.clone()).collect()).await.unwrap();
    // The first entry of that group goes.
    fill(&broker, &topic(), 0, 60).await;
    age(&broker).await;
    broker.close().unwrap();
    drop(broker);
    let broker = open(&files).unwrap();
    (files, broker)
}

#[tokio::test]
async fn b7_the_state_comes_back_from_the_exports_and_the_log_and_no_message_is_skipped() {
    let (files, broker) = with_a_past().await;
    broker.delete_topic(name("gone")).await.unwrap();
    broker.delete_topic(name("again")).await.unwrap();
    broker.put_topic(PutTopic::new(TopicConfig::new(name("again")), PutWhen::Missing)).await.unwrap();
    fill(&broker, &name("again"), 0, 2).await;
    fill(&broker, &topic(), 0, 40).await;
    // Leased and not acked, acked out of order, and a group that the exports do not know.
    let popped = broker.pop_messages(pop(30)).await.unwrap();
    let acked = popped.iter().filter(|popped| popped.message.queue_offset.0 % 3 == 0);
    broker.ack_messages(acked.map(|popped| popped.handle.clone()).collect()).await.unwrap();
    let young = PopMessages { consumer_group: ConsumerGroup::from_client("young").unwrap(), ..pop(1) };
    broker.pop_messages(young).await.unwrap();
    let of_again = PopMessages { topic: name("again"), ..pop(1) };
    broker.pop_messages(of_again).await.unwrap();

    let lost = without_snapshots(&files);
    let refused = open(&lost).err().unwrap();
    assert!(matches!(refused, StoreError::StateLost { .. }), "{refused}");
    assert!(refused.to_string().contains("gantry store recover-state DIR"), "{refused}");
    let looked = recover(&lost, LOOK).unwrap();
    assert!(matches!(looked.exports, Exports::Good { .. }) && !looked.written, "{looked:?}");
    assert!(matches!(open(&lost), Err(StoreError::StateLost { .. })), "to look changes nothing");
    let done = recover(&lost, WRITE).unwrap();
    assert_eq!(done, RecoveredState { written: true, ..looked });
    assert!((done.deleted_topics_unknown, done.entries_left_out) == (0, 0), "{done:?}");
    let of = |group: &str, topic: &str| {
        let of = |consumed: &&Consumed| consumed.consumer_group == group && consumed.topic == topic;
        done.consumed.iter().find(of).unwrap().clone()
    };
    assert_eq!((of("young", "orders").queues, of("young", "orders").exact_queues), (2, 2));
    assert_eq!((of("billing", "again").exact_queues, of("billing", "again").delivered_again_max), (8, 0));
    let billing = of("billing", "orders");
    assert!(billing.exact_queues == 0 && billing.delivered_again_max > 0, "{billing:?}");

    let after = open(&lost).unwrap();
    assert_eq!(tables(&after), tables(&broker));
    skips_nothing(&broker, &after);
    let again: u64 = (0..2).map(|queue| owed(&after)[&("billing".into(), "orders".into(), queue)].len() as u64).sum();
    assert_eq!(again, billing.delivered_again_max);
    // It goes on like any other, also over the next stop.
    fill(&after, &topic(), 0, 1).await;
    after.close().unwrap();
    drop(after);
    assert!(open(&lost).is_ok());
    let refused = recover(&lost, WRITE).unwrap_err();
    assert!(matches!(refused, RecoverStateError::NotLost { .. }), "{refused}");
}

#[tokio::test]
async fn b7_right_after_a_clean_stop_what_was_settled_in_order_stays_so() {
    let (files, broker) = with_a_past().await;
    broker.close().unwrap();
    let lost = without_snapshots(&files);
    let done = recover(&lost, WRITE).unwrap();
    assert!(matches!(done.exports, Exports::Good { .. }));
    let after = open(&lost).unwrap();
    assert_eq!(tables(&after), tables(&broker));
    skips_nothing(&broker, &after);
    let floors =
        |broker: &LocalBroker| owed(broker).into_values().map(|owed| owed.first().copied()).collect::<Vec<_>>();
    assert_eq!(floors(&after), floors(&broker));
}

#[tokio::test]
async fn b7_without_exports_nothing_is_invented_unless_asked_for_and_then_nothing_is_skipped() {
    let (files, broker) = with_a_past().await;
    fill(&broker, &topic(), 0, 40).await;
    broker.pop_messages(pop(30)).await.unwrap();
    let queues = |broker: &LocalBroker| {
        let queues = broker.parts().store.queues(&topic());
        queues.iter().map(|queue| (queue.min_offset().0, queue.max_offset().0)).collect::<Vec<_>>()
    };
    for missing in ["topics.json", "subscriptionGroup.json", "consumerOffset.json", ""] {
        let lost = without_snapshots(&files);
        let path = Path::new("/data/config").join(missing);
        match missing {
            // As if somebody had looked after them, or brought them back from an old copy.
            "" => {
                let path = path.join("consumerOffset.json");
                let text = String::from_utf8(lost.read(&path).unwrap()).unwrap();
                lost.replace(&path, (text + "\n").as_bytes(), false).unwrap();
            }
            _ => lost.remove_file(&path).unwrap(),
        }
        let looked = recover(&lost, WRITE).unwrap();
        assert!(!looked.written && matches!(looked.exports, Exports::Unusable { .. }), "{looked:?}");
        assert!(matches!(open(&lost), Err(StoreError::StateLost { .. })));
        let done = recover(&lost, INVENT).unwrap();
        assert!(done.written);
        let orders = done.topics.iter().find(|topic| topic.topic == "orders").unwrap();
        let source = if missing == "topics.json" { Source::Messages } else { Source::OldExport };
        assert_eq!(orders.source, source, "{done:?}");
        let after = open(&lost).unwrap();
        let found = queues(&after);
        assert_eq!(found[..2], queues(&broker), "{missing}");
        after.pop_messages(pop(1)).await.unwrap();
        let owed = owed(&after);
        let is_known = missing != "subscriptionGroup.json";
        for (queue, (min, max)) in (0..).zip(queues(&broker)).filter(|_| is_known) {
            let all: BTreeSet<u64> = (min..max).collect();
            assert_eq!(owed[&("billing".into(), "orders".into(), queue)], all, "{missing}");
        }
    }
}

#[tokio::test]
async fn a_store_that_has_lost_nothing_is_left_alone() {
    let files = SimulatedFiles::new();
    let broker = open(&files).unwrap();
    with_topic(&broker).await;
    let in_use = recover(&files, WRITE).unwrap_err();
    assert!(matches!(in_use, RecoverStateError::Store(StoreError::InUse { .. })), "{in_use}");
    broker.close().unwrap();
    drop(broker);
    for files in [files.kill(), without_snapshots(&files)] {
        assert!(matches!(recover(&files, INVENT), Err(RecoverStateError::NotLost { .. })));
    }
}

/// Work of every kind, many times, with kills and clean stops: what comes back is what was there, but for what is
/// delivered again.
#[tokio::test]
async fn b7_whatever_was_done_no_message_is_skipped() {
    let mut lost_again = 0;
    for seed in 0..10 {
        let mut chance = Chance(seed);
        let mut below = |bound: u64| chance.below(bound);
        let files = SimulatedFiles::new();
        let mut broker = open(&files).unwrap();
        with_topic(&broker).await;
        age(&broker).await;
        broker.close().unwrap();
        drop(broker);
        broker = open(&files).unwrap();
        for _ in 0..120 {
            let of = name(["orders", "one", "two"][below(3) as usize]);
            let consumer_group = ConsumerGroup::from_client(["billing", "g"][below(2) as usize]).unwrap();
            let exists = broker.describe_topic(of.clone()).await.is_ok();
            match below(12) {
                0 | 1 if !exists => {
                    let config = TopicConfig { read_queues: 2, write_queues: 2, ..TopicConfig::new(of) };
                    broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
                }
                0 if of != topic() => broker.delete_topic(of).await.unwrap(),
                1 if below(4) == 0 => drop(broker.delete_consumer_group(consumer_group).await),
                2..6 if exists => fill(&broker, &of, below(2) as u32, below(12) as usize).await,
                6..10 if exists => {
                    let pop = PopMessages { consumer_group, topic: of, ..pop(1 + below(20) as u32) };
                    let popped = broker.pop_messages(pop).await.unwrap();
                    let acked: Vec<_> =
                        popped.iter().filter(|_| below(3) > 0).map(|popped| popped.handle.clone()).collect();
                    if !acked.is_empty() {
                        broker.ack_messages(acked).await.unwrap();
                    }
                }
                10 => broker.enforce_retention().unwrap(),
                11 if below(3) == 0 => {
                    let is_clean = below(2) == 0;
                    if is_clean {
                        broker.close().unwrap();
                    }
                    drop(broker);
                    broker = open(&files).unwrap();
                }
                _ => {}
            }
        }
        let lost = without_snapshots(&files);
        let done = recover(&lost, WRITE).unwrap();
        if !done.written {
            // The last stop is no longer in the log.
            assert!(matches!(done.exports, Exports::Unusable { .. }), "seed {seed}: {done:?}");
            continue;
        }
        lost_again += 1;
        let after = open(&lost).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(tables(&after), tables(&broker), "seed {seed}");
        skips_nothing(&broker, &after);
    }
    assert!(lost_again > 5, "{lost_again}");
}
