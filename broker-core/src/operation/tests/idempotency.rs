//! Idempotency keys, through the door: one stored message for each, whatever happens to the broker meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::delayed::{Hands, after, delayed, delivered, open_at, stored, with_delay_topic};
use super::*;
use crate::delivery::idempotency::WINDOW_DEFAULT;
use crate::message::Delivery;
use crate::operation::fire_messages::fire_due;

fn keyed(key: &str, message: Message) -> SendMessage {
    SendMessage { queue_id: QueueId(0), message, idempotency_key: Some(key.into()) }
}

fn topic_config() -> TopicConfig {
    TopicConfig { read_queues: 2, write_queues: 2, ..TopicConfig::new(topic()) }
}

async fn send_all(broker: &LocalBroker, messages: Vec<SendMessage>) -> Vec<Result<SendReceipt, BrokerError>> {
    broker.send_messages(SendMessages { topic: topic(), messages }).await.unwrap()
}

async fn send_keyed(broker: &LocalBroker, key: &str, body: &str) -> Result<SendReceipt, BrokerError> {
    send_all(broker, vec![keyed(key, message("ignored", body))]).await.remove(0)
}

/// What a producer is told of the stored message.
fn told(receipt: &SendReceipt) -> (Box<str>, QueueId, QueueOffset, CommitLogOffset, Timestamp, Option<Timestamp>) {
    let SendReceipt { unique_key, queue_id, queue_offset, commit_log_offset, store_timestamp, waits_for, .. } = receipt;
    (unique_key.clone(), *queue_id, *queue_offset, *commit_log_offset, *store_timestamp, *waits_for)
}

async fn assert_replayed(broker: &LocalBroker, key: &str, body: &str, first: &SendReceipt) {
    let again = send_keyed(broker, key, body).await.unwrap();
    assert!(again.duplicate && !first.duplicate);
    assert_eq!(told(&again), told(first));
    let other = send_keyed(broker, key, "another body").await;
    assert!(matches!(other, Err(BrokerError::IdempotencyKeyReused)), "{other:?}");
}

#[tokio::test]
async fn l3_a_key_is_remembered_for_its_window_through_kills_snapshots_and_stops() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_topic(&broker).await;
    let first = send_keyed(&broker, "k", "body").await.unwrap();
    assert_replayed(&broker, "k", "body", &first).await;
    // From the log alone.
    let files = files.kill();
    drop(broker);
    let broker = open_at(&files, &hands);
    assert_replayed(&broker, "k", "body", &first).await;
    // From a snapshot that the log goes on behind.
    broker.take_snapshot().unwrap();
    let second = send_keyed(&broker, "l", "body").await.unwrap();
    let files = files.kill();
    drop(broker);
    let broker = open_at(&files, &hands);
    assert_replayed(&broker, "k", "body", &first).await;
    assert_replayed(&broker, "l", "body", &second).await;
    broker.close().unwrap();
    drop(broker);
    let window = i64::try_from(WINDOW_DEFAULT.as_millis()).unwrap();
    hands.pass(window - 1);
    let broker = open_at(&files, &hands);
    assert_replayed(&broker, "k", "body", &first).await;
    assert_eq!(stored(&broker).await.len(), 2);
    hands.pass(1);
    let later = send_keyed(&broker, "k", "another body").await.unwrap();
    assert!(!later.duplicate && later.queue_offset > second.queue_offset);
    assert_eq!(later.unique_key, first.unique_key);
    // What it stands for now counts, whatever else the log says.
    let files = files.kill();
    drop(broker);
    let broker = open_at(&files, &hands);
    let again = send_keyed(&broker, "k", "another body").await.unwrap();
    assert_eq!((again.duplicate, told(&again)), (true, told(&later)));
    assert!(matches!(send_keyed(&broker, "k", "body").await, Err(BrokerError::IdempotencyKeyReused)));
}

/// Whatever was on the disk at any moment: what was acknowledged is answered as before, and all of it is stored once.
#[tokio::test]
async fn l3_a_kill_at_any_change_of_the_disk_stores_each_key_once() {
    type Acknowledged = BTreeMap<String, SendReceipt>;
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    broker
        .put_topic(PutTopic::new(TopicConfig { message_type: MessageType::Mixed, ..topic_config() }, PutWhen::Missing))
        .await
        .unwrap();
    let acknowledged: Arc<Mutex<Acknowledged>> = Arc::default();
    let states: Arc<Mutex<Vec<(SimulatedFiles, Acknowledged)>>> = Arc::default();
    let (keep, so_far) = (states.clone(), acknowledged.clone());
    files.before_each_change(Box::new(move |files, _| {
        let so_far = so_far.lock().unwrap().clone();
        keep.lock().unwrap().push((files.kill(), so_far));
    }));
    let batches: Vec<Vec<String>> =
        (0..9).map(|at| (0..=at % 3).map(|entry| format!("{at}.{entry}")).collect()).collect();
    let to_send = |key: &String| match key.as_bytes()[0] % 3 {
        0 => keyed(key, delayed(key, after(60_000))),
        1 => keyed(key, delayed(key, Delivery::Level(5))),
        _ => keyed(key, message("ignored", key)),
    };
    for (at, keys) in batches.iter().enumerate() {
        let sent = send_all(&broker, keys.iter().map(to_send).collect()).await;
        let sent = keys.iter().cloned().zip(sent.into_iter().map(Result::unwrap));
        acknowledged.lock().unwrap().extend(sent);
        if at == 4 {
            broker.take_snapshot().unwrap();
        }
    }
    broker.close().unwrap();
    drop(broker);
    let keys: Vec<String> = batches.into_iter().flatten().collect();
    let states = std::mem::take(&mut *states.lock().unwrap());
    assert!(states.len() > 20, "{}", states.len());
    for (at, (files, acknowledged)) in states.iter().enumerate() {
        let broker = open_at(files, &hands);
        for key in &keys {
            let again = send_all(&broker, vec![to_send(key)]).await.remove(0).unwrap();
            if let Some(first) = acknowledged.get(key) {
                assert_eq!((again.duplicate, told(&again)), (true, told(first)), "killed before change {at}: {key}");
            }
        }
        let files = files.kill();
        drop(broker);
        let later = Hands::new();
        later.pass(61_000);
        let broker = open_at(&files, &later);
        let came = delivered(&broker).await;
        let distinct: BTreeSet<_> = came.iter().collect();
        assert_eq!((came.len(), distinct.len()), (keys.len(), keys.len()), "killed before change {at}");
    }
}

#[tokio::test]
async fn l3_a_key_stands_for_a_message_that_waits_and_can_be_recalled() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let sent =
        || vec![keyed("level", delayed("ignored", Delivery::Level(1))), keyed("timer", delayed("i", after(2_000)))];
    let first = send_all(&broker, sent()).await;
    let first: Vec<_> = first.into_iter().map(Result::unwrap).collect();
    assert!(first[1].waits_for.is_some());
    let files = files.kill();
    drop(broker);
    let broker = open_at(&files, &hands);
    let replayed = |again: Vec<Result<SendReceipt, BrokerError>>| {
        let again = again.into_iter().map(Result::unwrap).inspect(|again| assert!(again.duplicate));
        again.map(|again| told(&again)).collect::<Vec<_>>()
    };
    let expected: Vec<_> = first.iter().map(told).collect();
    assert_eq!(replayed(send_all(&broker, sent()).await), expected);
    // Once delivered it cannot be recalled, and all else is as it was.
    hands.pass(3_000);
    fire_due(broker.parts()).unwrap();
    let after_delivery = replayed(send_all(&broker, sent()).await);
    assert_eq!(after_delivery[0], expected[0]);
    assert_eq!((after_delivery[1].3, after_delivery[1].5), (expected[1].3, None));
    let mut came = delivered(&broker).await;
    came.sort();
    let mut keys: Vec<_> = first.iter().map(|first| first.unique_key.to_string()).collect();
    keys.sort();
    assert_eq!(came, keys);
}

#[tokio::test]
async fn b10_a_topic_made_again_knows_no_key_of_the_one_before() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_topic(&broker).await;
    let first = send_keyed(&broker, "k", "body").await.unwrap();
    broker.delete_topic(topic()).await.unwrap();
    with_topic(&broker).await;
    let files = files.kill();
    drop(broker);
    let broker = open_at(&files, &hands);
    let second = send_keyed(&broker, "k", "its body").await.unwrap();
    assert!(!second.duplicate && second.unique_key != first.unique_key);
    assert_replayed(&broker, "k", "its body", &second).await;
}

#[tokio::test]
async fn c8_a_batch_answers_for_each_key_of_its_own() {
    let files = SimulatedFiles::new();
    let broker = open_at(&files, &Hands::new());
    with_topic(&broker).await;
    let first = send_keyed(&broker, "known", "a").await.unwrap();
    let plain = SendMessage { idempotency_key: None, ..keyed("", message("plain", "p")) };
    let batch = vec![
        keyed("new", message("i", "b")),
        keyed("known", message("i", "a")),
        keyed("new", message("i", "b")),
        plain,
        keyed("known", message("i", "other")),
        keyed("new", message("i", "other")),
    ];
    let results = send_all(&broker, batch).await;
    assert!(matches!(&results[0], Ok(new) if !new.duplicate));
    assert!(matches!(&results[1], Ok(again) if again.duplicate && told(again) == told(&first)));
    assert!(matches!(results[2], Err(BrokerError::IdempotencyInProgress)));
    assert!(matches!(&results[3], Ok(plain) if !plain.duplicate && &*plain.unique_key == "plain"));
    assert!(matches!(results[4], Err(BrokerError::IdempotencyKeyReused)));
    assert!(matches!(results[5], Err(BrokerError::IdempotencyKeyReused)));
    assert_eq!(stored(&broker).await.len(), 3);
}

#[tokio::test]
async fn a3_behind_a_refused_key_nothing_of_its_message_group_is_stored() {
    let files = SimulatedFiles::new();
    let broker = open_at(&files, &Hands::new());
    broker
        .put_topic(PutTopic::new(TopicConfig { message_type: MessageType::Fifo, ..topic_config() }, PutWhen::Missing))
        .await
        .unwrap();
    let lane = |group: &str, body: &str| message("i", body).with_message_group(group).unwrap();
    let first = send_all(&broker, vec![keyed("k", lane("a", "1"))]).await.remove(0).unwrap();
    let batch = vec![
        keyed("k", lane("a", "1")),
        keyed("l", lane("a", "2")),
        keyed("k", lane("a", "wrong")),
        keyed("m", lane("a", "3")),
        keyed("n", lane("b", "1")),
    ];
    let results = send_all(&broker, batch).await;
    assert!(matches!(&results[0], Ok(again) if again.duplicate && told(again) == told(&first)));
    assert!(matches!(&results[1], Ok(stored) if !stored.duplicate));
    assert!(matches!(results[2], Err(BrokerError::IdempotencyKeyReused)));
    assert!(matches!(results[3], Err(BrokerError::IdempotencyKeyReused)), "it lies behind the refused one");
    assert!(results[4].is_ok());
    let again = send_all(&broker, vec![keyed("m", lane("a", "3"))]).await.remove(0).unwrap();
    assert!(!again.duplicate, "its key was not taken");
}

/// Many at once with the same keys, at the level at which an answer takes its time: each key is stored once, and who comes
/// too early is told so.
#[test]
fn c8_of_those_who_come_at_once_one_stores() {
    const KEYS: usize = 40;
    const SENDERS: usize = 8;
    let dir = tempfile::tempdir().unwrap();
    let config = BrokerConfig { segment_bytes: 1 << 20, durability: Durability::Disk, ..BrokerConfig::new(dir.path()) };
    let surroundings = Surroundings {
        files: Arc::new(DiskFiles),
        clock: Box::new(SystemClock),
        random: Arc::new(SystemRandom),
        failed: Box::new(|error| panic!("the store failed: {error}")),
    };
    let broker = LocalBroker::open(config, surroundings).unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime().block_on(with_topic(&broker));
    let all: Vec<Vec<Result<SendReceipt, BrokerError>>> = std::thread::scope(|scope| {
        let send_each = || {
            let runtime = runtime();
            let send = |key| runtime.block_on(send_keyed(&broker, &format!("{key}"), "body"));
            (0..KEYS).map(send).collect::<Vec<_>>()
        };
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send_each)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    for key in 0..KEYS {
        let mut firsts = BTreeSet::new();
        for result in all.iter().map(|results| &results[key]) {
            match result {
                Ok(receipt) if receipt.duplicate => {}
                Ok(receipt) => assert!(firsts.insert(receipt.commit_log_offset)),
                Err(error) => assert!(matches!(error, BrokerError::IdempotencyInProgress), "{error}"),
            }
        }
        let first = firsts.pop_first().expect("one of them stored it");
        assert!(firsts.is_empty());
        let again = runtime().block_on(send_keyed(&broker, &format!("{key}"), "body")).unwrap();
        assert!(again.duplicate && again.commit_log_offset == first);
    }
    assert_eq!(runtime().block_on(stored(&broker)).len(), KEYS);
    broker.close().unwrap();
}
