//! The operations together, on a real disk, through the door that the gateway uses.

mod dead_letters;
mod delayed;
mod idempotency;
mod model;
mod offsets;
mod order;
mod recover_state;
mod release_client;
mod repair;
mod retry_topic;
mod transactions;
mod waking;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::broker::*;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{BrokerConfig, Durability, Retention};
use crate::delivery::filter::Filter;
use crate::error::BrokerError;
use crate::local_broker::{LocalBroker, Surroundings};
use crate::message::{Message, MessageError, MessageType};
use crate::names::{ConsumerGroup, TopicName};
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
use crate::random::SystemRandom;
use crate::receipt_handle::ReceiptHandle;
use crate::store::disk_files::DiskFiles;
use crate::store::error::StoreError;
use crate::store::simulated_files::SimulatedFiles;

pub(crate) fn open(dir: &std::path::Path) -> LocalBroker {
    let config = BrokerConfig { segment_bytes: 1 << 20, durability: Durability::Memory, ..BrokerConfig::new(dir) };
    let surroundings = Surroundings {
        files: Arc::new(DiskFiles),
        clock: Box::new(SystemClock),
        random: Arc::new(SystemRandom),
        failed: Box::new(|error| panic!("the store failed: {error}")),
    };
    LocalBroker::open(config, surroundings).unwrap()
}

/// On a disk in memory, with short segments.
pub(crate) fn open_simulated(files: &SimulatedFiles, retention: Retention) -> Result<LocalBroker, StoreError> {
    open_simulated_by(files, retention, Box::new(SystemClock))
}

pub(crate) fn open_simulated_by(
    files: &SimulatedFiles,
    retention: Retention,
    clock: Box<dyn Clock>,
) -> Result<LocalBroker, StoreError> {
    open_simulated_with(files, BrokerConfig { retention, ..simulated_config() }, clock)
}

pub(crate) fn simulated_config() -> BrokerConfig {
    BrokerConfig { segment_bytes: 64 << 10, durability: Durability::Memory, ..BrokerConfig::new("/data") }
}

pub(crate) fn open_simulated_with(
    files: &SimulatedFiles,
    config: BrokerConfig,
    clock: Box<dyn Clock>,
) -> Result<LocalBroker, StoreError> {
    let surroundings = Surroundings {
        files: Arc::new(files.clone()),
        clock,
        random: Arc::new(SystemRandom),
        failed: Box::new(|_| {}),
    };
    LocalBroker::open(config, surroundings)
}

pub(crate) fn topic() -> TopicName {
    TopicName::from_client("orders").unwrap()
}

pub(crate) fn group() -> ConsumerGroup {
    ConsumerGroup::from_client("billing").unwrap()
}

pub(crate) fn message(id: &str, body: &str) -> Message {
    let here = "127.0.0.1:4000".parse().unwrap();
    Message::new(Bytes::copy_from_slice(body.as_bytes()), id, Timestamp(1), here).unwrap()
}

pub(crate) fn send(queue_id: u32, message: Message) -> SendMessages {
    let messages = vec![SendMessage { queue_id: QueueId(queue_id), message, idempotency_key: None }];
    SendMessages { topic: topic(), messages }
}

pub(crate) fn pop(messages_max: u32) -> PopMessages {
    PopMessages {
        consumer_group: group(),
        topic: topic(),
        messages_max,
        lease: LeaseLength::Exactly(Duration::from_secs(60)),
        filter: Filter::All,
        attempt_id: None,
    }
}

pub(crate) async fn with_topic(broker: &LocalBroker) {
    broker
        .put_topic(PutTopic::new(
            TopicConfig { read_queues: 2, write_queues: 2, ..TopicConfig::new(topic()) },
            PutWhen::Missing,
        ))
        .await
        .unwrap();
}

fn bodies(popped: &[PoppedMessage]) -> Vec<&str> {
    let mut bodies: Vec<_> = popped.iter().map(|popped| std::str::from_utf8(&popped.message.body).unwrap()).collect();
    bodies.sort_unstable();
    bodies
}

#[tokio::test]
async fn what_was_sent_is_popped_acked_and_gone_also_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    for at in 0..6 {
        let sent = broker.send_messages(send(at % 2, message(&format!("id{at}"), &format!("body{at}")))).await.unwrap();
        let receipt = sent.into_iter().next().unwrap().unwrap();
        assert_eq!(receipt.queue_offset, QueueOffset(u64::from(at) / 2));
        let read = broker.read_message(receipt.commit_log_offset).await.unwrap();
        assert_eq!(read.body, format!("body{at}"));
        let found = broker.find_message(topic(), format!("id{at}")).await.unwrap();
        assert_eq!(found.commit_log_offset, receipt.commit_log_offset);
    }
    let popped = broker.pop_messages(pop(4)).await.unwrap();
    assert_eq!(popped.len(), 4);
    assert!(popped.iter().all(|popped| popped.delivery_attempt == 1));
    let acks = popped[..3].iter().map(|popped| popped.handle.clone()).collect();
    assert!(broker.ack_messages(acks).await.unwrap().iter().all(Result::is_ok));
    let held = popped[3].clone();
    // Killed: nothing is closed, nothing is synced on purpose.
    drop(broker);

    let broker = open(dir.path());
    let rest = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!(rest.len(), 2, "the acked stay acked, the leased stays leased");
    // A handle of the last life still speaks for its lease.
    let back = ChangeInvisibleDuration { handle: held.handle.clone(), invisible: Some(Duration::ZERO), suspend: false };
    let changed = broker.change_invisible_durations(vec![back]).await.unwrap().remove(0).unwrap();
    let again = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!(bodies(&again), bodies(std::slice::from_ref(&held)));
    assert_eq!(again[0].delivery_attempt, 2);
    for old in [held.handle, changed.handle] {
        assert!(matches!(broker.ack_messages(vec![old]).await.unwrap()[0], Err(BrokerError::ReceiptSuperseded)));
    }
    let handles: Vec<_> = rest.iter().chain(&again).map(|popped| popped.handle.clone()).collect();
    assert!(broker.ack_messages(handles.clone()).await.unwrap().iter().all(Result::is_ok));
    assert!(broker.ack_messages(handles).await.unwrap().iter().all(Result::is_ok), "acking twice is fine");
    broker.close().unwrap();
    drop(broker);

    let broker = open(dir.path());
    assert!(broker.pop_messages(pop(32)).await.unwrap().is_empty());
    let progress = broker.query_consume_offsets(group(), topic()).await.unwrap();
    assert!(progress.iter().all(|queue| queue.consume_offset == Some(QueueOffset(3)) && queue.in_flight == 0));
    broker.close().unwrap();
}

#[tokio::test]
async fn a_suspended_delivery_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    broker.send_messages(send(0, message("a", "a"))).await.unwrap();
    let handle = broker.pop_messages(pop(1)).await.unwrap().remove(0).handle;
    let back = ChangeInvisibleDuration { handle, invisible: Some(Duration::ZERO), suspend: true };
    broker.change_invisible_durations(vec![back]).await.unwrap().remove(0).unwrap();
    assert_eq!(broker.pop_messages(pop(1)).await.unwrap()[0].delivery_attempt, 1);
    broker.close().unwrap();
}

#[tokio::test]
async fn b10_a_topic_made_again_knows_nothing_of_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    broker.send_messages(send(0, message("old", "old"))).await.unwrap();
    let old = broker.pop_messages(pop(1)).await.unwrap().remove(0);
    broker.send_messages(send(0, message("old2", "old2"))).await.unwrap();
    broker.delete_topic(topic()).await.unwrap();
    assert!(matches!(broker.pop_messages(pop(1)).await, Err(BrokerError::TopicNotFound { .. })));
    assert!(matches!(broker.read_message(old.message.commit_log_offset).await, Err(BrokerError::MessageNotFound)));
    with_topic(&broker).await;
    assert!(matches!(broker.ack_messages(vec![old.handle]).await.unwrap()[0], Err(BrokerError::ReceiptExpired)));
    assert!(broker.find_message(topic(), "old".into()).await.is_err());
    let receipt = broker.send_messages(send(0, message("new", "new"))).await.unwrap().remove(0).unwrap();
    assert_eq!(receipt.queue_offset, QueueOffset(0));
    drop(broker);
    let broker = open(dir.path());
    assert_eq!(bodies(&broker.pop_messages(pop(32)).await.unwrap()), ["new"]);
    broker.close().unwrap();
}

#[tokio::test]
async fn a_filter_takes_its_tags_and_passes_over_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    for (id, tag) in [("a", "paid"), ("b", "open"), ("c", "paid"), ("d", "refunded")] {
        broker.send_messages(send(0, message(id, id).with_tag(tag).unwrap())).await.unwrap();
    }
    let filter = Filter::tags("paid || refunded").unwrap();
    let popped = broker.pop_messages(PopMessages { filter: filter.clone(), ..pop(32) }).await.unwrap();
    assert_eq!(bodies(&popped), ["a", "c", "d"]);
    // What came back and is not wanted stays for whoever wants it.
    let give_back = popped.iter().map(|popped| ChangeInvisibleDuration {
        handle: popped.handle.clone(),
        invisible: Some(Duration::ZERO),
        suspend: false,
    });
    broker.change_invisible_durations(give_back.collect()).await.unwrap();
    let refunded = Filter::tags("refunded").unwrap();
    let popped = broker.pop_messages(PopMessages { filter: refunded.clone(), ..pop(32) }).await.unwrap();
    assert_eq!(bodies(&popped), ["d"]);
    let wait = AwaitMessages { consumer_group: group(), topic: topic(), filter: refunded, wait: Duration::ZERO };
    assert!(!broker.await_messages(wait).await.unwrap());
    assert_eq!(bodies(&broker.pop_messages(PopMessages { filter, ..pop(32) }).await.unwrap()), ["a", "c"]);
    broker.close().unwrap();
}

#[tokio::test]
async fn a_parked_receive_is_woken_by_a_send_and_by_a_message_that_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    assert!(broker.pop_messages(pop(1)).await.unwrap().is_empty());
    let wait = || AwaitMessages {
        consumer_group: group(),
        topic: topic(),
        filter: Filter::All,
        wait: Duration::from_secs(3_600),
    };
    let (woken, sent) = tokio::join!(broker.await_messages(wait()), broker.send_messages(send(1, message("a", "a"))));
    assert!(woken.unwrap() && sent.unwrap()[0].is_ok());
    let handle = broker.pop_messages(pop(1)).await.unwrap().remove(0).handle;
    let soon = ChangeInvisibleDuration { handle, invisible: Some(Duration::from_millis(20)), suspend: false };
    let (woken, _) = tokio::join!(broker.await_messages(wait()), broker.change_invisible_durations(vec![soon]));
    assert!(woken.unwrap());
    assert_eq!(broker.pop_messages(pop(1)).await.unwrap()[0].delivery_attempt, 2);
    // The stop ends every wait.
    let (ended, ()) = tokio::join!(broker.await_messages(wait()), async { broker.drain() });
    assert!(ended.is_ok());
    broker.close().unwrap();
}

#[tokio::test]
async fn bad_requests_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    let before = broker.describe_broker().await.unwrap().commit_log_max;
    let refused = broker.send_messages(send(2, message("a", "a"))).await.unwrap().remove(0);
    assert!(matches!(refused, Err(BrokerError::QueueNotFound { .. })));
    let unknown = SendMessages { topic: TopicName::from_client("nope").unwrap(), ..send(0, message("a", "a")) };
    assert!(matches!(broker.send_messages(unknown).await, Err(BrokerError::TopicNotFound { .. })));
    let system = SendMessages { topic: TopicName::state(), ..send(0, message("a", "a")) };
    assert!(matches!(broker.send_messages(system).await, Err(BrokerError::SystemTopic { .. })));
    assert!(matches!(broker.pop_messages(pop(0)).await, Err(BrokerError::InvalidParameter { .. })));
    assert!(matches!(broker.pop_messages(pop(33)).await, Err(BrokerError::InvalidParameter { .. })));
    let short = PopMessages { lease: LeaseLength::Exactly(Duration::from_secs(9)), ..pop(1) };
    assert!(matches!(broker.pop_messages(short).await, Err(BrokerError::InvalidInvisibleDuration { .. })));
    let again = broker.put_topic(PutTopic::new(TopicConfig::new(topic()), PutWhen::Missing)).await;
    assert!(matches!(again, Err(BrokerError::TopicExists { .. })));
    assert!(matches!(broker.read_message(CommitLogOffset(1)).await, Err(BrokerError::MessageNotFound)));
    assert!(matches!(broker.read_message(CommitLogOffset(u64::MAX)).await, Err(BrokerError::MessageNotFound)));
    let pull = |offset| PullMessages {
        topic: topic(),
        queue_id: QueueId(0),
        offset: QueueOffset(offset),
        messages_max: 10,
        bytes_max: 1 << 20,
    };
    let beyond = broker.pull_messages(pull(9)).await.unwrap();
    assert_eq!((beyond.messages.len(), beyond.next_offset), (0, QueueOffset(0)));
    assert_eq!(broker.describe_broker().await.unwrap().commit_log_max, before);
    assert!(matches!(message("a", "a").with_tag(""), Err(MessageError::InvalidTag { .. })));
    broker.close().unwrap();
}

#[tokio::test]
async fn a_batch_is_contiguous_and_rolls_over_segments() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    let body = "x".repeat(100 << 10);
    for round in 0..5u64 {
        let messages = (0..8)
            .map(|at| SendMessage {
                queue_id: QueueId(0),
                message: message(&format!("{round}-{at}"), &body),
                idempotency_key: None,
            })
            .collect();
        let sent = broker.send_messages(SendMessages { topic: topic(), messages }).await.unwrap();
        for (at, receipt) in (0u64..).zip(sent) {
            assert_eq!(receipt.unwrap().queue_offset, QueueOffset(round * 8 + at));
        }
    }
    drop(broker);
    let broker = open(dir.path());
    let pull = PullMessages {
        topic: topic(),
        queue_id: QueueId(0),
        offset: QueueOffset(0),
        messages_max: 100,
        bytes_max: u32::MAX,
    };
    let pulled = broker.pull_messages(pull).await.unwrap();
    assert_eq!(pulled.messages.len(), 40);
    for (at, message) in (0u64..).zip(&pulled.messages) {
        assert_eq!(message.queue_offset, QueueOffset(at));
        assert_eq!(message.unique_key(), Some(&*format!("{}-{}", at / 8, at % 8)));
        assert_eq!(message.body, body);
    }
    broker.close().unwrap();
}

#[tokio::test]
async fn a_dry_run_of_a_put_judges_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    let log_end = async || broker.describe_broker().await.unwrap().commit_log_max;
    let before = log_end().await;
    let of = |read_queues| TopicConfig { read_queues, ..TopicConfig::new(topic()) };
    let dry = |config, when| broker.put_topic(PutTopic { dry_run: true, ..PutTopic::new(config, when) });
    let known = broker.describe_topic(topic()).await.unwrap();
    let (would_be, created) = dry(of(9), PutWhen::Exists).await.unwrap();
    assert_eq!((would_be.config.read_queues, would_be.incarnation, created), (9, known.incarnation, false));
    assert!(matches!(dry(of(1), PutWhen::Exists).await, Err(BrokerError::InvalidParameter { .. })));
    assert!(matches!(dry(of(9), PutWhen::Missing).await, Err(BrokerError::TopicExists { .. })));
    let other = TopicConfig::new(TopicName::from_client("other").unwrap());
    assert!(dry(other.clone(), PutWhen::Missing).await.unwrap().1);
    assert!(broker.describe_topic(other.topic).await.is_err());
    assert_eq!(broker.describe_topic(topic()).await.unwrap(), known);

    let dry = |when| {
        let config = ConsumerGroupConfig { orderly: true, ..ConsumerGroupConfig::new(group()) };
        broker.put_consumer_group(PutConsumerGroup { dry_run: true, ..PutConsumerGroup::new(config, when) })
    };
    let (would_be, created) = dry(PutWhen::Missing).await.unwrap();
    assert!(would_be.config.orderly && created);
    assert!(matches!(dry(PutWhen::Exists).await, Err(BrokerError::ConsumerGroupNotFound { .. })));
    assert!(broker.describe_consumer_group(group()).await.is_err());
    assert_eq!(log_end().await, before);
}

#[tokio::test]
async fn a_topic_keeps_its_queues_and_its_incarnation() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    let of = |read_queues, write_queues| TopicConfig { read_queues, write_queues, ..TopicConfig::new(topic()) };
    let put = |config, when| broker.put_topic(PutTopic::new(config, when));
    let refused = |name: &'static str| {
        move |error: BrokerError| {
            assert!(matches!(error, BrokerError::InvalidParameter { name: at, .. } if at == name), "{error}");
        }
    };
    // What lies in a queue that readers cannot reach would be lost; what is sent where nobody reads as well.
    put(of(1, 1), PutWhen::Exists).await.map_err(refused("readQueues")).unwrap_err();
    put(of(2, 3), PutWhen::Exists).await.map_err(refused("writeQueues")).unwrap_err();
    broker.send_messages(send(1, message("a", "a"))).await.unwrap();
    let known = put(of(2, 1), PutWhen::Exists).await.unwrap().0;
    let sent = broker.send_messages(send(1, message("b", "b"))).await.unwrap().remove(0);
    assert!(matches!(sent, Err(BrokerError::QueueNotFound { .. })));
    drop(broker);
    let broker = open(dir.path());
    assert_eq!(bodies(&broker.pop_messages(pop(32)).await.unwrap()), ["a"]);
    let other = PutWhen::Version(crate::offset::Incarnation(known.incarnation.0 + 1), known.version);
    assert!(matches!(broker.put_topic(PutTopic::new(of(4, 4), other)).await, Err(BrokerError::VersionMismatch { .. })));
    let same = PutWhen::Version(known.incarnation, known.version);
    assert_eq!(broker.put_topic(PutTopic::new(of(4, 4), same)).await.unwrap().0.version, known.version + 1);
    broker.close().unwrap();
}

#[tokio::test]
async fn a10_only_state_records_say_what_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    // A body that would read as a state record with an enormous stamp.
    let body = "\u{1}\u{0}zzzzzzzzzzzz";
    let receipt = broker.send_messages(send(0, message("a", body))).await.unwrap().remove(0).unwrap();
    let stored = broker.read_message(receipt.commit_log_offset).await.unwrap();
    assert!(crate::state::record::synced_stamp(&stored.body).is_some(), "the body alone would be believed");
    assert_eq!(crate::local_broker::stamp_of(&stored), None);
    broker.close().unwrap();
}

#[tokio::test]
async fn a_refused_receive_makes_no_group() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    assert!(matches!(broker.pop_messages(pop(1)).await, Err(BrokerError::TopicNotFound { .. })));
    assert!(broker.list_consumer_groups().await.unwrap().is_empty());
    broker.close().unwrap();
}

#[tokio::test]
async fn a_look_through_a_queue_file_of_another_queue_shows_nothing_wrong() {
    let files = SimulatedFiles::new();
    let broker = open_simulated(&files, Retention::default()).unwrap();
    with_topic(&broker).await;
    for at in 0..6 {
        broker.send_messages(send(at % 2, message(&format!("id{at}"), "body"))).await.unwrap();
    }
    broker.close().unwrap();
    drop(broker);
    let file = |queue| format!("/data/consumequeue/orders/{queue}/00000000000000000000");
    files.put_copy(file(0).as_ref(), &files.kill(), file(1).as_ref()).unwrap();

    let broker = open_simulated(&files, Retention::default()).unwrap();
    let of_queue = |queue, newest_first| BrowseMessages { queue_id: Some(QueueId(queue)), ..browse(newest_first) };
    for newest_first in [false, true] {
        let refused = broker.browse_messages(of_queue(0, newest_first)).await.unwrap_err();
        let BrokerError::Storage { reason } = &refused else { panic!("{refused:?}") };
        assert!(reason.contains("orders/0/0000") && reason.contains("consumequeue can be deleted"), "{reason}");
        assert_eq!(broker.browse_messages(of_queue(1, newest_first)).await.unwrap().messages.len(), 3);
    }
}

fn browse(newest_first: bool) -> BrowseMessages {
    BrowseMessages {
        topic: topic(),
        queue_id: None,
        from: None,
        to: None,
        filter: Filter::All,
        newest_first,
        position: None,
        messages_max: 3,
        bytes_max: 1 << 20,
    }
}

fn ids(browsed: &BrowsedMessages) -> Vec<&str> {
    browsed.messages.iter().map(|message| message.unique_key().unwrap()).collect()
}

#[tokio::test]
async fn messages_are_found_by_a_key_newest_first_page_by_page_and_by_when_they_were_stored() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    let mut places = Vec::new();
    for at in 0..7 {
        let key = if at % 3 == 0 { "third" } else { "other" };
        let keyed = message(&format!("id{at}"), "body").with_keys([key, "all"]).unwrap();
        let sent = broker.send_messages(send(at % 2, keyed)).await.unwrap().remove(0).unwrap();
        places.push((sent.commit_log_offset, sent.store_timestamp));
    }
    let query = |key: &str| QueryMessages {
        topic: topic(),
        key: key.into(),
        from: None,
        to: None,
        position: None,
        messages_max: 64,
        bytes_max: 1 << 20,
    };
    let look = async |query: QueryMessages| broker.query_messages(query).await.unwrap();
    let third = look(query("third")).await;
    assert_eq!((ids(&third).as_slice(), third.complete), (["id6", "id3", "id0"].as_slice(), true));
    assert_eq!(ids(&look(query("id4")).await), ["id4"], "its own name is a key");
    assert!(look(query("nobody")).await.messages.is_empty());

    // In pages of three, and in pages of so many bytes: nothing twice, nothing left out.
    let narrow = QueryMessages { messages_max: 3, ..query("all") };
    for page in [narrow, QueryMessages { bytes_max: 1, ..query("all") }] {
        let (mut found, mut position) = (Vec::new(), None);
        loop {
            let seen = look(QueryMessages { position, ..page.clone() }).await;
            assert!(!seen.messages.is_empty() && seen.messages.len() <= 3);
            found.extend(ids(&seen).into_iter().map(str::to_string));
            position = Some(seen.position);
            assert_eq!(position, Some(seen.messages.last().unwrap().commit_log_offset));
            if seen.complete {
                break;
            }
        }
        assert_eq!(found, ["id6", "id5", "id4", "id3", "id2", "id1", "id0"]);
    }

    // From a time on, and up to before a time.
    let (first, last) = (places[0].1, places[6].1);
    assert_eq!(look(QueryMessages { from: Some(first), ..query("all") }).await.messages.len(), 7);
    assert!(look(QueryMessages { from: Some(Timestamp(last.0 + 1)), ..query("all") }).await.messages.is_empty());
    assert!(look(QueryMessages { to: Some(first), ..query("all") }).await.messages.is_empty());
    assert_eq!(look(QueryMessages { to: Some(Timestamp(last.0 + 1)), ..query("all") }).await.messages.len(), 7);

    let nowhere = QueryMessages { topic: TopicName::from_client("nowhere").unwrap(), ..query("all") };
    assert!(matches!(broker.query_messages(nowhere).await, Err(BrokerError::TopicNotFound { .. })));
    let hidden = QueryMessages { topic: TopicName::state(), ..query("all") };
    assert!(matches!(broker.query_messages(hidden).await, Err(BrokerError::SystemTopic { .. })));
    // Of a topic that was made again, the messages of the earlier one are nobody's.
    broker.delete_topic(topic()).await.unwrap();
    with_topic(&broker).await;
    assert!(look(query("all")).await.messages.is_empty());
}

#[tokio::test]
async fn a_topic_is_looked_through_in_the_order_of_the_log_from_both_ends() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    let empty = broker.browse_messages(browse(true)).await.unwrap();
    assert!(empty.complete && empty.messages.is_empty());
    for at in 0..7 {
        let tag = if at % 3 == 0 { "a" } else { "b" };
        let message = message(&format!("id{at}"), "body").with_tag(tag).unwrap();
        broker.send_messages(send(u32::from(at > 3), message)).await.unwrap();
    }
    for (newest_first, pages) in [
        (false, [vec!["id0", "id1", "id2"], vec!["id3", "id4", "id5"], vec!["id6"]]),
        (true, [vec!["id6", "id5", "id4"], vec!["id3", "id2", "id1"], vec!["id0"]]),
    ] {
        let mut position = None;
        for (number, page) in pages.iter().enumerate() {
            let browsed = broker.browse_messages(BrowseMessages { position, ..browse(newest_first) }).await.unwrap();
            assert_eq!((&ids(&browsed), browsed.complete), (page, number == 2));
            position = Some(browsed.position);
        }
        let more = BrowseMessages { position, ..browse(newest_first) };
        assert!(broker.browse_messages(more.clone()).await.unwrap().messages.is_empty());
        // What comes later lies behind a look that was complete, and not before one that went back in time.
        broker.send_messages(send(0, message(&format!("later {newest_first}"), "body"))).await.unwrap();
        assert_eq!(broker.browse_messages(more).await.unwrap().messages.len(), usize::from(!newest_first));
        let last = BrowseMessages { messages_max: 1, ..browse(true) };
        assert_eq!(ids(&broker.browse_messages(last).await.unwrap()), [format!("later {newest_first}")]);
        if !newest_first {
            // The second round begins with the seven again.
            broker.delete_topic(topic()).await.unwrap();
            with_topic(&broker).await;
            for at in 0..7 {
                broker.send_messages(send(at % 2, message(&format!("id{at}"), "body"))).await.unwrap();
            }
        }
    }
    broker.close().unwrap();
}

#[tokio::test]
async fn a_look_keeps_to_its_queue_its_tag_its_time_and_its_size() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    let mut stored = Vec::new();
    for at in 0..6u32 {
        let tag = if at % 2 == 0 { "a" } else { "b" };
        let message = message(&format!("id{at}"), "body").with_tag(tag).unwrap();
        stored.push(broker.send_messages(send(at / 3, message)).await.unwrap().remove(0).unwrap());
    }
    let look = async |browse: BrowseMessages| {
        let browsed = broker.browse_messages(browse).await.unwrap();
        (ids(&browsed).into_iter().map(str::to_string).collect::<Vec<_>>(), browsed.scanned, browsed.complete)
    };
    let all = || BrowseMessages { messages_max: 500, ..browse(false) };
    let of_queue = BrowseMessages { queue_id: Some(QueueId(1)), ..all() };
    assert_eq!(look(of_queue).await, (vec!["id3".into(), "id4".into(), "id5".into()], 3, true));
    let of_tag = BrowseMessages { filter: Filter::tags("b").unwrap(), ..all() };
    assert_eq!(look(of_tag).await, (vec!["id1".into(), "id3".into(), "id5".into()], 6, true));
    let small = BrowseMessages { bytes_max: 1, ..all() };
    assert_eq!(look(small).await, (vec!["id0".into()], 1, false));
    let (first, last) = (stored[0].store_timestamp, stored[5].store_timestamp);
    let within = BrowseMessages { from: Some(first), to: Some(Timestamp(last.0 + 1)), ..all() };
    assert_eq!(look(within).await.0.len(), 6);
    let before = BrowseMessages { to: Some(first), ..all() };
    let after = BrowseMessages { from: Some(Timestamp(last.0 + 1)), ..all() };
    assert!(look(before).await.0.is_empty() && look(after).await.0.is_empty());
    let nowhere = BrowseMessages { queue_id: Some(QueueId(9)), ..all() };
    assert!(matches!(broker.browse_messages(nowhere).await, Err(BrokerError::QueueNotFound { .. })));
    broker.close().unwrap();
}

#[tokio::test]
async fn lag_in_time_is_that_of_the_oldest_message_behind() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    assert!(broker.list_consumptions(None, None).await.unwrap().is_empty());
    let first = broker.send_messages(send(0, message("a", "a"))).await.unwrap().remove(0).unwrap();
    let popped = broker.pop_messages(pop(1)).await.unwrap().remove(0);
    let second = broker.send_messages(send(0, message("b", "b"))).await.unwrap().remove(0).unwrap();
    let behind = async || broker.query_consume_offsets(group(), topic()).await.unwrap()[0].oldest_behind;
    assert_eq!(behind().await, Some(first.store_timestamp));
    broker.ack_messages(vec![popped.handle]).await.unwrap().remove(0).unwrap();
    assert_eq!(behind().await, Some(second.store_timestamp));
    let popped = broker.pop_messages(pop(1)).await.unwrap().remove(0);
    broker.ack_messages(vec![popped.handle]).await.unwrap().remove(0).unwrap();
    assert_eq!(behind().await, None);
    let one = broker.list_consumptions(None, Some(topic())).await.unwrap();
    assert_eq!((&one[0].consumer_group, &one[0].topic, one[0].messages_out), (&group(), &topic(), 2));
    assert_eq!(broker.list_consumptions(Some(group()), None).await.unwrap(), one);
    let nobody = ConsumerGroup::from_client("nobody").unwrap();
    assert!(broker.list_consumptions(Some(nobody), None).await.is_err());
    broker.close().unwrap();
}
