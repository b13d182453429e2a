//! Transactions: nobody sees a half message, the first decision counts, and producers are asked about those left open.
//!
//! As in `delayed.rs` the clock stands still unless a test moves it; `keep_up` does what the broker's own thread does.

use super::delayed::{DAY, Hands, START, open_at};
use super::*;
use crate::config::{Pace, TransactionRules};
use crate::message::{StoredMessage, Transaction, property, sys_flag};
use crate::names::{HALF_TOPIC, HOLDING_TOPIC, OP_TOPIC, ProducerGroup};
use crate::operation::half_messages::half_topic;
use crate::operation::half_messages::upkeep::{keep_up, put_back_behind, put_back_below};
use crate::store::offline::verify::{VerifyOptions, verify};

const RECEIPT_OUT: &str = "a receipt for a half message";

async fn with_transaction_topic(broker: &LocalBroker) {
    let config = TopicConfig { message_type: MessageType::Transaction, ..TopicConfig::new(topic()) };
    let config = TopicConfig { read_queues: 2, write_queues: 2, ..config };
    broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
}

fn shop() -> ProducerGroup {
    ProducerGroup::from_client("shop").unwrap()
}

fn half(id: &str) -> Message {
    message(id, id).with_transaction(Transaction { producer_group: shop(), check_after: None }).unwrap()
}

async fn send_half(broker: &LocalBroker, id: &str) -> HalfMessageId {
    let receipt = broker.send_messages(send(1, half(id))).await.unwrap().remove(0).expect(RECEIPT_OUT);
    HalfMessageId::new(id, receipt.queue_offset, receipt.commit_log_offset)
}

async fn end(broker: &LocalBroker, half: HalfMessageId, resolution: TransactionResolution) -> Result<(), BrokerError> {
    broker.end_transaction(EndTransaction { half, topic: Some(topic()), resolution }).await
}

async fn commit(broker: &LocalBroker, half: HalfMessageId) -> Result<(), BrokerError> {
    end(broker, half, TransactionResolution::Commit).await
}

async fn roll_back(broker: &LocalBroker, half: HalfMessageId) -> Result<(), BrokerError> {
    end(broker, half, TransactionResolution::Rollback).await
}

async fn checks(broker: &LocalBroker) -> Vec<TransactionCheck> {
    let check = CheckTransactions { producer_group: shop(), checks_max: 32, wait: Duration::ZERO };
    broker.check_transactions(check).await.unwrap()
}

fn ids(checks: &[TransactionCheck]) -> Vec<(&str, u32)> {
    checks.iter().map(|check| (check.message.unique_key().unwrap(), check.checks)).collect()
}

/// What consumers can have, by queue.
async fn visible(broker: &LocalBroker) -> Vec<StoredMessage> {
    let mut all = Vec::new();
    for queue in 0..2 {
        let (queue_id, max) = (QueueId(queue), u32::MAX);
        let pull = PullMessages { topic: topic(), queue_id, offset: QueueOffset(0), messages_max: max, bytes_max: max };
        all.extend(broker.pull_messages(pull).await.unwrap().messages);
    }
    all
}

async fn visible_ids(broker: &LocalBroker) -> Vec<String> {
    visible(broker).await.iter().map(|message| message.unique_key().unwrap().to_string()).collect()
}

async fn open_ids(broker: &LocalBroker) -> Vec<String> {
    let list = ListTransactions {
        topic: topic(),
        producer_group: None,
        born_before: None,
        from: QueueOffset(0),
        transactions_max: 100,
        bytes_max: u32::MAX,
    };
    let open = broker.list_transactions(list).await.unwrap();
    assert!(open.complete);
    open.transactions.iter().map(|open| open.message.unique_key().unwrap().to_string()).collect()
}

fn in_queue_of(broker: &LocalBroker, topic: &str) -> u64 {
    let topic = TopicName::from_store(topic.as_bytes()).unwrap();
    broker.parts().store.queue(&topic, QueueId(0)).map_or(0, |queue| queue.max_offset().0)
}

#[tokio::test]
async fn l10_a_half_message_is_seen_when_it_is_committed_and_never_when_it_is_rolled_back() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    let message =
        half("a").with_tag("t").unwrap().with_keys(["k"]).unwrap().with_properties([("region", "eu")]).unwrap();
    let receipt = broker.send_messages(send(1, message)).await.unwrap().remove(0).unwrap();
    let a = HalfMessageId::new("a", receipt.queue_offset, receipt.commit_log_offset);
    let b = send_half(&broker, "b").await;
    assert!(visible(&broker).await.is_empty());
    assert!(broker.pop_messages(pop(32)).await.unwrap().is_empty());
    assert_eq!(open_ids(&broker).await, ["a", "b"]);
    commit(&broker, a).await.unwrap();
    roll_back(&broker, b).await.unwrap();
    assert!(open_ids(&broker).await.is_empty());
    let popped = broker.pop_messages(pop(32)).await.unwrap();
    let [PoppedMessage { message: a_seen, .. }] = &popped[..] else { panic!("{} messages", popped.len()) };
    assert_eq!((a_seen.queue_id, a_seen.tag(), &a_seen.body[..]), (QueueId(1), Some("t"), &b"a"[..]));
    assert_eq!(a_seen.user_properties().collect::<Vec<_>>(), [("region", "eu")]);
    // As RocketMQ writes it.
    assert_eq!(a_seen.sys_flag & sys_flag::TRANSACTION_MASK, sys_flag::TRANSACTION_COMMIT);
    assert_eq!(a_seen.prepared_transaction_offset, a.commit_log_offset.0);
    let kept = [
        (property::REAL_TOPIC, "orders"),
        (property::REAL_QUEUE_ID, "1"),
        (property::TRANSACTION_ID, "a"),
        (property::HALF, "true"),
        (property::PRODUCER_GROUP, "shop"),
    ];
    assert!(kept.iter().all(|(name, value)| a_seen.property(name) == Some(*value)));
    assert_eq!(broker.find_message(topic(), "a".into()).await.unwrap().commit_log_offset, a_seen.commit_log_offset);
    broker.close().unwrap();
    drop(broker);
    let report = verify(&files, "/data".as_ref(), VerifyOptions::default(), &mut |_| {}).unwrap();
    assert!(report.problems_found == 0, "{:?}", report.problems);
}

#[tokio::test]
async fn a_page_of_large_half_messages_ends_early_and_goes_on() {
    let files = SimulatedFiles::new();
    let broker = open_at(&files, &Hands::new());
    with_transaction_topic(&broker).await;
    for id in ["large", "a", "b", "c"] {
        send_half(&broker, id).await;
    }
    let (mut from, mut pages) = (QueueOffset(0), Vec::<Vec<String>>::new());
    loop {
        let (topic, producer_group, born_before) = (topic(), None, None);
        let list = ListTransactions { topic, producer_group, born_before, from, transactions_max: 3, bytes_max: 2 };
        let page = broker.list_transactions(list).await.unwrap();
        pages.push(page.transactions.iter().map(|open| open.message.unique_key().unwrap().to_string()).collect());
        from = page.next;
        if page.complete {
            break;
        }
    }
    let expected: [&[&str]; 3] = [&["large"], &["a", "b"], &["c"]];
    assert_eq!(pages, expected.map(|page| page.iter().map(|id| id.to_string()).collect::<Vec<_>>()));
}

#[tokio::test]
async fn transactions_are_counted_by_topic() {
    let mut files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    let [a, b, _open] = [send_half(&broker, "a").await, send_half(&broker, "b").await, send_half(&broker, "c").await];
    hands.pass(61_000);
    commit(&broker, a).await.unwrap();
    commit(&broker, a).await.unwrap();
    roll_back(&broker, b).await.unwrap();
    let stats = broker.topic_stats(topic()).await.unwrap().transactions;
    assert_eq!((stats.open, stats.committed, stats.rolled_back), (1, 1, 1), "a decision said twice counts once");
    assert_eq!((stats.seconds.buckets[2], stats.seconds.sum), ((600, 2), 122), "after a minute and a second each");
    files = files.kill();
    drop(broker);
    broker = open_at(&files, &hands);
    assert_eq!(
        broker.topic_stats(topic()).await.unwrap().transactions.open,
        1,
        "it is known without having been asked"
    );
    assert_eq!(broker.broker_stats().await.unwrap().transactions_given_up, 0);
    for _ in 0..=15 {
        checks(&broker).await;
        hands.pass(31_000);
    }
    keep_up(broker.parts());
    assert_eq!(broker.topic_stats(topic()).await.unwrap().transactions.open, 0);
    assert_eq!(broker.broker_stats().await.unwrap().transactions_given_up, 1);
}

#[tokio::test]
async fn l10_the_first_decision_counts_also_after_kills_and_without_memory() {
    let mut files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    let committed = send_half(&broker, "committed").await;
    let rolled_back = send_half(&broker, "rolled back").await;
    let open = send_half(&broker, "open").await;
    commit(&broker, committed).await.unwrap();
    roll_back(&broker, rolled_back).await.unwrap();
    for life in 0..4 {
        for _ in 0..2 {
            commit(&broker, committed).await.unwrap();
            roll_back(&broker, rolled_back).await.unwrap();
            let refused = roll_back(&broker, committed).await.unwrap_err();
            assert!(matches!(refused, BrokerError::TransactionResolved { as_what: "committed" }), "{refused}");
            let refused = commit(&broker, rolled_back).await.unwrap_err();
            assert!(matches!(refused, BrokerError::TransactionResolved { as_what: "rolled back" }), "{refused}");
        }
        assert_eq!(visible_ids(&broker).await, ["committed"], "in life {life}");
        assert_eq!(open_ids(&broker).await, ["open"], "in life {life}");
        if life == 1 {
            broker.take_snapshot().unwrap();
        }
        if life == 2 {
            broker.close().unwrap();
        }
        files = files.kill();
        drop(broker);
        broker = open_at(&files, &hands);
    }
    commit(&broker, open).await.unwrap();
    assert_eq!(visible_ids(&broker).await, ["committed", "open"]);
}

#[tokio::test]
async fn c7_producers_are_asked_first_after_a_while_then_now_and_then_and_not_for_ever() {
    let mut files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    send_half(&broker, "a").await;
    let soon = Transaction { producer_group: shop(), check_after: Some(Duration::from_secs(2)) };
    broker.send_messages(send(0, message("soon", "x").with_transaction(soon).unwrap())).await.unwrap();
    hands.pass(1_999);
    assert!(checks(&broker).await.is_empty());
    hands.pass(1);
    let first = checks(&broker).await;
    assert_eq!(ids(&first), [("soon", 1)]);
    assert_eq!((first[0].message.topic(), first[0].message.queue_id), ("orders", QueueId(0)));
    assert_eq!(first[0].next_check, Timestamp(START + 32_000));
    assert!(checks(&broker).await.is_empty(), "asked a moment ago");
    // The answer may name the half message as the check did.
    roll_back(&broker, first[0].half).await.unwrap();
    let stranger = CheckTransactions {
        producer_group: ProducerGroup::from_client("bank").unwrap(),
        checks_max: 32,
        wait: Duration::ZERO,
    };
    hands.pass(4_000);
    assert!(broker.check_transactions(stranger).await.unwrap().is_empty());
    for asked in 1..=15 {
        assert_eq!(ids(&checks(&broker).await), [("a", asked)]);
        if asked % 4 == 0 {
            files = files.kill();
            drop(broker);
            broker = open_at(&files, &hands);
            assert!(checks(&broker).await.is_empty(), "the last check counts");
        }
        hands.pass(30_000);
        keep_up(broker.parts());
    }
    assert!(checks(&broker).await.is_empty());
    assert!(open_ids(&broker).await.is_empty() && visible(&broker).await.is_empty());
    assert_eq!(in_queue_of(&broker, HOLDING_TOPIC), 1);
}

#[tokio::test]
async fn c7_what_was_given_up_is_held_and_can_be_decided_no_more() {
    let mut files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    let a = send_half(&broker, "a").await;
    hands.pass(6_000);
    for _ in 0..15 {
        assert_eq!(checks(&broker).await.len(), 1);
        hands.pass(30_000);
    }
    // Until it has been moved, the answer to the last question still counts; so it does for "b".
    let b = send_half(&broker, "b").await;
    keep_up(broker.parts());
    keep_up(broker.parts());
    assert_eq!(in_queue_of(&broker, HOLDING_TOPIC), 1);
    for _ in 0..2 {
        for resolution in [TransactionResolution::Commit, TransactionResolution::Rollback] {
            let refused = end(&broker, a, resolution).await.unwrap_err();
            assert!(matches!(refused, BrokerError::TransactionExpired), "{refused}");
        }
        files = files.kill();
        drop(broker);
        broker = open_at(&files, &hands);
    }
    commit(&broker, b).await.unwrap();
    assert_eq!(visible_ids(&broker).await, ["b"]);
    let look = |name: &str| {
        let (topic, max) = (TopicName::from_store(name.as_bytes()).unwrap(), u32::MAX);
        PullMessages { topic, queue_id: QueueId(0), offset: QueueOffset(0), messages_max: max, bytes_max: max }
    };
    for hidden in [HALF_TOPIC, OP_TOPIC] {
        let refused = broker.pull_messages(look(hidden)).await.unwrap_err();
        assert!(matches!(refused, BrokerError::SystemTopic { .. } | BrokerError::TopicNotFound { .. }), "{refused}");
    }
    let held = broker.pull_messages(look(HOLDING_TOPIC)).await.unwrap().messages;
    let [held] = &held[..] else { panic!("{} messages are held", held.len()) };
    assert_eq!(broker.read_message(held.commit_log_offset).await.unwrap().commit_log_offset, held.commit_log_offset);
    assert_eq!((held.unique_key(), held.property(property::REAL_TOPIC)), (Some("a"), Some("orders")));
    assert_eq!(held.property(property::TRANSACTION_CHECK_TIMES), Some("15"));
}

#[tokio::test]
async fn b7_an_open_half_message_outlives_its_segment_and_answers_to_its_first_handle() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let short = Retention { commit_log_bytes_max: Some(2 * (64 << 10)), ..Retention::default() };
    let open = |files: &SimulatedFiles| open_simulated_by(files, short.clone(), Box::new(hands.clone())).unwrap();
    let mut broker = open(&files);
    with_transaction_topic(&broker).await;
    let other = TopicName::from_client("other").unwrap();
    broker.put_topic(PutTopic::new(TopicConfig::new(other.clone()), PutWhen::Missing)).await.unwrap();
    let [a, b] = [send_half(&broker, "a").await, send_half(&broker, "b").await];
    hands.pass(6_000);
    assert_eq!(ids(&checks(&broker).await), [("a", 1), ("b", 1)]);
    let fill = async |broker: &LocalBroker| {
        for at in 0..300 {
            let messages = vec![SendMessage {
                queue_id: QueueId(0),
                message: message(&format!("f{at}"), &"x".repeat(900)),
                idempotency_key: None,
            }];
            broker.send_messages(SendMessages { topic: other.clone(), messages }).await.unwrap();
        }
        (0..4).for_each(|_| broker.enforce_retention().unwrap());
    };
    fill(&broker).await;
    fill(&broker).await;
    let min = broker.describe_broker().await.unwrap().commit_log_min;
    assert!(min > b.commit_log_offset, "the segment of the halves is gone");
    assert_eq!(open_ids(&broker).await, ["a", "b"]);
    let killed = files.kill();
    drop(broker);
    broker = open(&killed);
    hands.pass(30_000);
    assert_eq!(ids(&checks(&broker).await), [("a", 2), ("b", 2)], "checks go on counting");
    commit(&broker, a).await.unwrap();
    commit(&broker, a).await.unwrap();
    roll_back(&broker, b).await.unwrap();
    assert_eq!(visible_ids(&broker).await, ["a"]);
    assert!(open_ids(&broker).await.is_empty());
    // As old as messages get: held, and not put back for ever.
    let c = send_half(&broker, "c").await;
    hands.pass(4 * DAY);
    fill(&broker).await;
    fill(&broker).await;
    assert!(open_ids(&broker).await.is_empty());
    assert_eq!(in_queue_of(&broker, HOLDING_TOPIC), 1);
    assert!(matches!(commit(&broker, c).await.unwrap_err(), BrokerError::TransactionExpired));
}

#[tokio::test]
async fn what_cannot_be_decided_changes_nothing() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    let nothing = HalfMessageId::new("a", QueueOffset(0), CommitLogOffset(0));
    assert!(matches!(commit(&broker, nothing).await.unwrap_err(), BrokerError::InvalidTransactionHandle));
    with_transaction_topic(&broker).await;
    let normal = broker.send_messages(send(0, message("n", "n"))).await.unwrap().remove(0).unwrap_err();
    assert!(matches!(normal, BrokerError::MessageTypeMismatch { .. }), "{normal}");
    let a = send_half(&broker, "a").await;
    let before = broker.describe_broker().await.unwrap().commit_log_max;
    let beside = |at: u64, offset: u64| HalfMessageId::new("a", QueueOffset(at), CommitLogOffset(offset));
    let at = a.commit_log_offset.0;
    let of_another = HalfMessageId::new("b", a.queue_offset, a.commit_log_offset);
    for wrong in [beside(1, at), beside(1, 1 << 40), beside(0, at - 1), beside(0, 0), of_another] {
        let refused = commit(&broker, wrong).await.unwrap_err();
        assert!(matches!(refused, BrokerError::InvalidTransactionHandle | BrokerError::Storage { .. }), "{refused:?}");
    }
    let other = Some(TopicName::from_client("other").unwrap());
    let foreign = EndTransaction { half: a, topic: other, resolution: TransactionResolution::Commit };
    let refused = broker.end_transaction(foreign).await.unwrap_err();
    assert!(matches!(refused, BrokerError::InvalidTransactionHandle));
    for checks_max in [0, 33] {
        let check = CheckTransactions { producer_group: shop(), checks_max, wait: Duration::ZERO };
        let refused = broker.check_transactions(check).await.unwrap_err();
        assert!(matches!(refused, BrokerError::InvalidParameter { name: "maxMessages", .. }));
    }
    let group = ConsumerGroup::from_store(b"CID_RMQ_SYS_TRANS").unwrap();
    assert!(matches!(broker.delete_consumer_group(group).await, Err(BrokerError::SystemConsumerGroup { .. })));
    for name in [HALF_TOPIC, OP_TOPIC, HOLDING_TOPIC] {
        let name = TopicName::from_store(name.as_bytes()).unwrap();
        assert!(matches!(broker.delete_topic(name).await, Err(BrokerError::SystemTopic { .. })));
    }
    assert_eq!(broker.describe_broker().await.unwrap().commit_log_max, before);
    // A topic that is gone takes no commit, and the transaction can still be rolled back.
    broker.delete_topic(topic()).await.unwrap();
    assert!(matches!(commit(&broker, a).await.unwrap_err(), BrokerError::TopicNotFound { .. }));
    roll_back(&broker, a).await.unwrap();
    let refused = roll_back(&broker, of_another).await.unwrap_err();
    assert!(matches!(refused, BrokerError::InvalidTransactionHandle), "{refused}");
    for (one, other) in [("delayed", true), ("FIFO", false)] {
        let refused = match other {
            true => half("x").with_delivery(crate::message::Delivery::Level(1)),
            false => half("x").with_message_group("g"),
        };
        assert!(matches!(refused, Err(MessageError::ConflictingTypes { .. })), "{one}");
    }
}

#[tokio::test]
async fn a_wait_for_checks_ends_with_the_check_or_with_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Arc::new(open(dir.path()));
    with_transaction_topic(&broker).await;
    let wait = |broker: &Arc<LocalBroker>| {
        let broker = broker.clone();
        let check = CheckTransactions { producer_group: shop(), checks_max: 1, wait: Duration::from_secs(600) };
        tokio::spawn(async move { broker.check_transactions(check).await.unwrap() })
    };
    let soon = Transaction { producer_group: shop(), check_after: Some(Duration::from_secs(1)) };
    let waiting = wait(&broker);
    broker.send_messages(send(0, message("soon", "x").with_transaction(soon).unwrap())).await.unwrap();
    assert_eq!(ids(&waiting.await.unwrap()), [("soon", 1)]);
    let waiting = wait(&broker);
    tokio::task::yield_now().await;
    broker.drain();
    assert!(waiting.await.unwrap().is_empty());
}

/// Killed between any two writes of a decision, a transaction is decided or it is not; nothing is seen twice.
#[tokio::test]
async fn l10_a_decision_is_whole_wherever_a_kill_falls() {
    for halt_after in 0..40 {
        let files = SimulatedFiles::new();
        let hands = Hands::new();
        let broker = open_at(&files, &hands);
        with_transaction_topic(&broker).await;
        let [a, b] = [send_half(&broker, "a").await, send_half(&broker, "b").await];
        files.halt_after(halt_after);
        let committed = commit(&broker, a).await;
        let rolled_back = roll_back(&broker, b).await;
        let files = files.kill();
        drop(broker);
        let broker = open_at(&files, &hands);
        let seen = visible_ids(&broker).await;
        let open = open_ids(&broker).await;
        assert_eq!(usize::from(seen == ["a"]) + usize::from(open.contains(&"a".to_string())), 1, "{seen:?} {open:?}");
        assert!(committed.is_err() || seen == ["a"], "an answered commit is kept: {seen:?}");
        assert!(rolled_back.is_err() || !open.contains(&"b".to_string()), "an answered rollback is kept");
        commit(&broker, a).await.unwrap();
        assert_eq!(visible_ids(&broker).await, ["a"]);
    }
}

/// Whoever has a handle knows where its half message lies. One that was put back is found by all who look.
#[tokio::test]
async fn a_decision_reads_no_half_message_but_its_own() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    let mut halves = Vec::new();
    for id in ["a", "b", "c", "d"] {
        halves.push(send_half(&broker, id).await);
    }
    let looked_at = || broker.parts().transactions.half_messages().looked_at();
    commit(&broker, halves[2]).await.unwrap();
    roll_back(&broker, halves[0]).await.unwrap();
    assert_eq!(looked_at(), QueueOffset(0));
    assert_eq!(open_ids(&broker).await, ["b", "d"]);
    assert_eq!(looked_at(), QueueOffset(4));
}

#[tokio::test]
async fn a_half_message_that_cannot_be_read_holds_up_nobody() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    let long = |id: &str| {
        let transaction = Transaction { producer_group: shop(), check_after: None };
        message(id, &"x".repeat(400)).with_transaction(transaction).unwrap()
    };
    let send_long = async |id: &str| {
        let receipt = broker.send_messages(send(1, long(id))).await.unwrap().remove(0).expect(RECEIPT_OUT);
        HalfMessageId::new(id, receipt.queue_offset, receipt.commit_log_offset)
    };
    let damage = |half: HalfMessageId| {
        let segment: &std::path::Path = "/data/commitlog/00000000000000000000".as_ref();
        files.flip_bits(segment, half.commit_log_offset.0 + 200, 1).unwrap();
    };
    let [unseen, whole] = [send_long("unseen").await, send_long("whole").await];
    damage(unseen);
    assert_eq!(open_ids(&broker).await, ["whole"], "nobody had looked at it");
    let known = send_long("known").await;
    assert_eq!(open_ids(&broker).await, ["whole", "known"]);
    damage(known);
    hands.pass(6_000);
    assert_eq!(ids(&checks(&broker).await), [("whole", 1)]);
    assert_eq!(open_ids(&broker).await, ["whole"]);
    for damaged in [unseen, known] {
        let refused = commit(&broker, damaged).await.unwrap_err();
        assert!(matches!(refused, BrokerError::Storage { .. }), "{refused:?}");
    }
    keep_up(broker.parts());
    commit(&broker, whole).await.unwrap();
    assert_eq!(visible_ids(&broker).await, ["whole"]);
}

#[tokio::test]
async fn one_that_stays_open_is_put_back_and_holds_up_nothing_behind_it() {
    let mut files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    let [old, older] = [send_half(&broker, "old").await, send_half(&broker, "older").await];
    hands.pass(6_000);
    assert_eq!(ids(&checks(&broker).await), [("old", 1), ("older", 1)]);
    for at in 0..20 {
        let half = send_half(&broker, &format!("{at}")).await;
        roll_back(&broker, half).await.unwrap();
    }
    // Four for each that is open are no reason.
    put_back_behind(broker.parts(), 12).unwrap();
    assert_eq!(in_queue_of(&broker, HALF_TOPIC), 24, "both, and each once");
    put_back_behind(broker.parts(), 12).unwrap();
    assert_eq!(in_queue_of(&broker, HALF_TOPIC), 24);
    let settled = async |broker: &LocalBroker| {
        let group = ConsumerGroup::from_store(b"CID_RMQ_SYS_TRANS").unwrap();
        let topic = TopicName::from_store(HALF_TOPIC.as_bytes()).unwrap();
        broker.query_consume_offsets(group, topic).await.unwrap()[0].consume_offset
    };
    assert_eq!(settled(&broker).await, Some(QueueOffset(22)));
    for life in 0..2 {
        hands.pass(30_000);
        assert_eq!(ids(&checks(&broker).await), [("old", 2 + life), ("older", 2 + life)], "checks go on counting");
        assert_eq!(open_ids(&broker).await, ["old", "older"]);
        files = files.kill();
        drop(broker);
        broker = open_at(&files, &hands);
    }
    commit(&broker, old).await.unwrap();
    roll_back(&broker, older).await.unwrap();
    assert_eq!(visible_ids(&broker).await, ["old"]);
    assert_eq!(settled(&broker).await, Some(QueueOffset(24)));
}

/// What retention puts back comes into its queue a moment later, when the disk has it. In that moment it is open as before.
#[tokio::test]
async fn what_is_put_back_is_open_before_the_disk_has_it() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let pace = Pace { sync_delay: Duration::from_secs(3_600), ..Pace::default() };
    let config = BrokerConfig { durability: Durability::Disk, pace, ..simulated_config() };
    let broker = open_simulated_with(&files, config, Box::new(hands.clone())).unwrap();
    with_transaction_topic(&broker).await;
    let mut halves = Vec::new();
    for id in ["a", "b", "c", "d"] {
        halves.push(send_half(&broker, id).await);
    }
    for round in 0..2 {
        assert!(put_back_below(broker.parts(), broker.parts().store.max_offset()).unwrap());
        assert_eq!(in_queue_of(&broker, HALF_TOPIC), 4 + 4 * round, "the disk does not have it");
        assert_eq!(open_ids(&broker).await, ["a", "b", "c", "d"]);
        hands.pass(30_000);
        let asked = checks(&broker).await;
        let times = 1 + round as u32;
        assert_eq!(ids(&asked), [("a", times), ("b", times), ("c", times), ("d", times)]);
        halves.extend(asked.iter().map(|check| check.half));
        broker.parts().reached_soon(broker.parts().store.max_offset()).await.unwrap();
        assert_eq!(open_ids(&broker).await, ["a", "b", "c", "d"]);
    }
    assert!(put_back_below(broker.parts(), broker.parts().store.max_offset()).unwrap());
    commit(&broker, halves[0]).await.unwrap();
    roll_back(&broker, halves[5]).await.unwrap();
    assert!(put_back_below(broker.parts(), broker.parts().store.max_offset()).unwrap());
    commit(&broker, halves[10]).await.unwrap();
    for handle in [0, 4, 8] {
        commit(&broker, halves[handle]).await.unwrap();
        let refused = roll_back(&broker, halves[handle]).await.unwrap_err();
        assert!(matches!(refused, BrokerError::TransactionResolved { as_what: "committed" }), "{refused}");
    }
    let files = files.power_cut(1);
    drop(broker);
    let broker = open_at(&files, &hands);
    assert_eq!(visible_ids(&broker).await, ["a", "c"]);
    assert_eq!(open_ids(&broker).await, ["d"]);
}

/// A check names the half message where it was just put back, and a power cut takes that: the answer still counts.
#[tokio::test]
async fn l10_an_answer_counts_when_a_power_cut_took_what_it_names() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let pace = Pace { sync_delay: Duration::from_secs(3_600), ..Pace::default() };
    let config = BrokerConfig { durability: Durability::Disk, pace, ..simulated_config() };
    let broker = open_simulated_with(&files, config, Box::new(hands.clone())).unwrap();
    with_transaction_topic(&broker).await;
    for id in ["a", "b"] {
        send_half(&broker, id).await;
    }
    let synced = broker.parts().store.max_offset();
    assert!(put_back_below(broker.parts(), synced).unwrap());
    hands.pass(6_000);
    let asked = checks(&broker).await;
    assert_eq!(ids(&asked), [("a", 1), ("b", 1)]);
    assert!(asked[0].half.commit_log_offset >= synced);
    let files = files.power_cut(1);
    drop(broker);
    let broker = open_at(&files, &hands);
    assert!(broker.parts().store.queue(&half_topic(), QueueId(0)).unwrap().max_offset().0 == 2, "the cut took it");
    commit(&broker, asked[0].half).await.unwrap();
    roll_back(&broker, asked[1].half).await.unwrap();
    // Whoever did not hear of it says it again.
    let files = files.kill();
    drop(broker);
    let broker = open_at(&files, &hands);
    commit(&broker, asked[0].half).await.unwrap();
    roll_back(&broker, asked[1].half).await.unwrap();
    let refused = roll_back(&broker, asked[0].half).await.unwrap_err();
    assert!(matches!(refused, BrokerError::TransactionResolved { as_what: "committed" }), "{refused}");
    assert_eq!((visible_ids(&broker).await, open_ids(&broker).await), (vec!["a".to_string()], vec![]));
}

#[tokio::test]
async fn c7_what_is_put_back_again_and_again_is_asked_about_at_its_time() {
    let mut files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    send_half(&broker, "a").await;
    for (checks_before, waits) in [(0, 3), (1, 15)] {
        for round in 0..waits {
            assert!(checks(&broker).await.is_empty(), "after {checks_before} checks and {round} rounds");
            assert!(put_back_below(broker.parts(), broker.parts().store.max_offset()).unwrap());
            if checks_before == 0 {
                files = files.kill();
                drop(broker);
                broker = open_at(&files, &hands);
            }
            hands.pass(2_000);
        }
        assert_eq!(ids(&checks(&broker).await), [("a", checks_before + 1)]);
    }
}

/// RocketMQ is told what is decided behind what is open, also when neither was on the disk at the stop.
#[tokio::test]
async fn b8_a_clean_stop_tells_of_what_was_put_back_and_decided_just_before() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let pace = Pace { sync_delay: Duration::from_secs(3_600), ..Pace::default() };
    let transactions = TransactionRules { check_max: 1, ..simulated_config().transactions };
    let config = BrokerConfig { durability: Durability::Disk, pace, transactions, ..simulated_config() };
    let broker = open_simulated_with(&files, config.clone(), Box::new(hands.clone())).unwrap();
    with_transaction_topic(&broker).await;
    send_half(&broker, "held before").await;
    hands.pass(6_000);
    assert_eq!(checks(&broker).await.len(), 1);
    hands.pass(30_000);
    keep_up(broker.parts());
    assert_eq!(open_ids(&broker).await.len(), 0);
    let bank = ProducerGroup::from_client("bank").unwrap();
    let open = message("open", "x").with_transaction(Transaction { producer_group: bank, check_after: None }).unwrap();
    broker.send_messages(send(0, open)).await.unwrap().remove(0).expect(RECEIPT_OUT);
    send_half(&broker, "held").await;
    hands.pass(6_000);
    assert_eq!(ids(&checks(&broker).await), [("held", 1)]);
    broker.parts().reached_soon(broker.parts().store.max_offset()).await.unwrap();
    assert!(put_back_below(broker.parts(), broker.parts().store.max_offset()).unwrap());
    hands.pass(30_000);
    keep_up(broker.parts());
    assert_eq!(open_ids(&broker).await, ["open"]);
    assert_eq!((in_queue_of(&broker, HALF_TOPIC), in_queue_of(&broker, OP_TOPIC)), (3, 0), "the disk does not have it");
    broker.close().unwrap();
    drop(broker);
    let broker = open_simulated_with(&files, config, Box::new(hands.clone())).unwrap();
    assert_eq!((in_queue_of(&broker, HALF_TOPIC), in_queue_of(&broker, OP_TOPIC)), (5, 1));
}

#[tokio::test]
async fn b10_what_is_put_back_of_a_topic_that_is_gone_never_comes_to_one_made_again() {
    let mut files = SimulatedFiles::new();
    let mut broker = open_at(&files, &Hands::new());
    with_transaction_topic(&broker).await;
    let old = send_half(&broker, "old").await;
    broker.delete_topic(topic()).await.unwrap();
    with_transaction_topic(&broker).await;
    let new = send_half(&broker, "new").await;
    assert!(matches!(commit(&broker, old).await, Err(BrokerError::TopicNotFound { .. })));
    for at in 0..20 {
        let half = send_half(&broker, &format!("{at}")).await;
        roll_back(&broker, half).await.unwrap();
    }
    put_back_behind(broker.parts(), 12).unwrap();
    assert_eq!((in_queue_of(&broker, HALF_TOPIC), in_queue_of(&broker, HOLDING_TOPIC)), (23, 1));
    for _ in 0..2 {
        assert_eq!(open_ids(&broker).await, ["new"]);
        assert!(matches!(commit(&broker, old).await, Err(BrokerError::TransactionExpired)));
        files = files.kill();
        drop(broker);
        broker = open_at(&files, &Hands::new());
    }
    commit(&broker, new).await.unwrap();
    assert_eq!(visible_ids(&broker).await, ["new"]);
}

#[tokio::test]
async fn what_is_put_back_again_answers_to_every_handle_it_had() {
    let mut files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    let first = send_half(&broker, "a").await;
    let mut handles = vec![first];
    for round in 0..3 {
        for at in 0..20 {
            let half = send_half(&broker, &format!("{round}-{at}")).await;
            roll_back(&broker, half).await.unwrap();
        }
        put_back_behind(broker.parts(), 4).unwrap();
        hands.pass(30_000);
        let asked = checks(&broker).await;
        assert_eq!(ids(&asked), [("a", round + 1)]);
        assert!(checks(&broker).await.is_empty(), "asked a moment ago");
        handles.extend(asked.iter().map(|check| check.half));
    }
    assert_eq!((handles.len(), in_queue_of(&broker, HALF_TOPIC)), (4, 64), "put back three times");
    commit(&broker, handles[1]).await.unwrap();
    for life in 0..2 {
        for handle in &handles {
            commit(&broker, *handle).await.unwrap_or_else(|error| panic!("{handle:?} in life {life}: {error}"));
            let refused = roll_back(&broker, *handle).await.unwrap_err();
            assert!(matches!(refused, BrokerError::TransactionResolved { as_what: "committed" }), "{refused}");
        }
        files = files.kill();
        drop(broker);
        broker = open_at(&files, &hands);
    }
    assert_eq!(visible(&broker).await.len(), 1);
}

#[tokio::test]
async fn l3_a_half_message_that_is_sent_again_under_its_key_is_the_same_transaction() {
    let mut files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    let send_keyed = async |broker: &LocalBroker, body: &str| {
        let message = SendMessage { idempotency_key: Some("k".into()), ..send(1, half(body)).messages.remove(0) };
        broker.send_messages(SendMessages { topic: topic(), messages: vec![message] }).await.unwrap().remove(0)
    };
    let id = |receipt: &SendReceipt| {
        HalfMessageId::new(&receipt.unique_key, receipt.queue_offset, receipt.commit_log_offset)
    };
    let first = send_keyed(&broker, "a").await.unwrap();
    assert!(!first.duplicate && first.decide_until.is_some());
    let is_repeated = async |broker: &LocalBroker, when: &str| {
        let again = send_keyed(broker, "a").await.unwrap();
        assert!(again.duplicate, "{when}");
        assert_eq!((id(&again), again.queue_id), (id(&first), QueueId(1)), "{when}");
        assert_eq!(again.decide_until, first.decide_until, "{when}");
        let other = send_keyed(broker, "b").await;
        assert!(matches!(other, Err(BrokerError::IdempotencyKeyReused)), "{when}: {other:?}");
        assert_eq!(in_queue_of(broker, HALF_TOPIC), 1, "{when}");
    };
    is_repeated(&broker, "open").await;
    files = files.kill();
    drop(broker);
    broker = open_at(&files, &hands);
    is_repeated(&broker, "after a kill").await;
    commit(&broker, id(&first)).await.unwrap();
    is_repeated(&broker, "committed").await;
    broker.take_snapshot().unwrap();
    files = files.kill();
    drop(broker);
    broker = open_at(&files, &hands);
    is_repeated(&broker, "committed, after a snapshot and a kill").await;
    commit(&broker, id(&first)).await.unwrap();
    assert_eq!(visible(&broker).await.len(), 1);
}

/// As when a producer sends once more what was stored and not answered, or when its key has had its window.
#[tokio::test]
async fn l10_transactions_of_one_unique_key_answer_each_for_themselves() {
    let mut files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_transaction_topic(&broker).await;
    let mut halves = Vec::new();
    for _ in 0..4 {
        halves.push(send_half(&broker, "same").await);
    }
    for at in 0..20 {
        let half = send_half(&broker, &format!("{at}")).await;
        roll_back(&broker, half).await.unwrap();
    }
    // Half of them are decided at another place than they were first.
    put_back_behind(broker.parts(), 6).unwrap();
    assert_eq!(in_queue_of(&broker, HALF_TOPIC), 26);
    let (last, others) = halves.split_last().unwrap();
    let decisions = [
        (others[0], TransactionResolution::Rollback, TransactionResolution::Commit),
        (others[1], TransactionResolution::Commit, TransactionResolution::Rollback),
        (others[2], TransactionResolution::Rollback, TransactionResolution::Commit),
        (*last, TransactionResolution::Commit, TransactionResolution::Rollback),
    ];
    for life in 0..3 {
        for (half, decision, other) in decisions {
            end(&broker, half, decision).await.unwrap();
            let refused = end(&broker, half, other).await.unwrap_err();
            assert!(
                matches!(refused, BrokerError::TransactionResolved { .. }),
                "{refused:?} of {half:?} in life {life}"
            );
        }
        files = files.kill();
        drop(broker);
        broker = open_at(&files, &hands);
    }
    assert_eq!(visible(&broker).await.len(), 2);
}

/// The record of a rollback is one of state, which nobody syncs for its own sake.
#[tokio::test]
async fn b5_a_rollback_is_synced_without_waiting_for_a_message() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let pace = Pace { sync_delay: Duration::from_secs(3_600), ..Pace::default() };
    let config = BrokerConfig { durability: Durability::Disk, pace, ..simulated_config() };
    let broker = open_simulated_with(&files, config, Box::new(hands.clone())).unwrap();
    with_transaction_topic(&broker).await;
    let half = send_half(&broker, "a").await;
    roll_back(&broker, half).await.unwrap();
    roll_back(&broker, half).await.unwrap();
    let files = files.power_cut(1);
    drop(broker);
    let broker = open_at(&files, &hands);
    assert!(open_ids(&broker).await.is_empty());
}
