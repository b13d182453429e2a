//! Delayed messages: each comes at its time and once, whatever happens to the broker meanwhile.
//!
//! The clock stands still unless a test moves it, so the broker's own thread finds something due only after a test has
//! moved the clock; `fire_due` has it done before it returns, whichever thread does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::message::{Delivery, MessageType, StoredMessage, property};
use crate::operation::fire_messages::{fire_due, put_back_below, stats};
use crate::store::files::Files;

pub(super) const START: i64 = 1_700_000_000_000;
pub(super) const DAY: i64 = 24 * 3_600_000;

#[derive(Clone)]
pub(super) struct Hands {
    wall: Arc<AtomicI64>,
    boot: Arc<AtomicI64>,
}

impl Hands {
    pub(super) fn new() -> Hands {
        Hands { wall: Arc::new(AtomicI64::new(START)), boot: Arc::default() }
    }

    pub(super) fn pass(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::SeqCst);
        self.boot.fetch_add(ms, Ordering::SeqCst);
    }

    fn step_wall(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.boot.load(Ordering::SeqCst).unsigned_abs())
    }
}

pub(super) fn open_at(files: &SimulatedFiles, hands: &Hands) -> LocalBroker {
    open_simulated_by(files, Retention::default(), Box::new(hands.clone())).unwrap()
}

pub(super) async fn with_delay_topic(broker: &LocalBroker) {
    let config = TopicConfig { message_type: MessageType::Delay, ..TopicConfig::new(topic()) };
    let config = TopicConfig { read_queues: 2, write_queues: 2, ..config };
    broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
}

pub(super) fn delayed(id: &str, delivery: Delivery) -> Message {
    message(id, id).with_delivery(delivery).unwrap()
}

pub(super) fn after(ms: u64) -> Delivery {
    Delivery::After(Duration::from_millis(ms))
}

async fn send_one(broker: &LocalBroker, id: &str, delivery: Delivery) -> SendReceipt {
    broker.send_messages(send(0, delayed(id, delivery))).await.unwrap().remove(0).unwrap()
}

/// Everything in the topic's queues, by queue and offset.
pub(super) async fn stored(broker: &LocalBroker) -> Vec<StoredMessage> {
    let mut all = Vec::new();
    for queue in 0..2 {
        let mut offset = QueueOffset(0);
        loop {
            let (queue_id, max) = (QueueId(queue), u32::MAX);
            let pull = PullMessages { topic: topic(), queue_id, offset, messages_max: max, bytes_max: max };
            let pulled = broker.pull_messages(pull).await.unwrap();
            all.extend(pulled.messages);
            offset = pulled.next_offset;
            if offset >= pulled.max_offset {
                break;
            }
        }
    }
    all
}

pub(super) async fn delivered(broker: &LocalBroker) -> Vec<String> {
    fire_due(broker.parts()).unwrap();
    stored(broker).await.iter().map(|message| message.unique_key().unwrap().to_string()).collect()
}

fn scheduled(broker: &LocalBroker) -> u64 {
    fire_due(broker.parts()).unwrap();
    stats(broker.parts()).scheduled
}

#[tokio::test]
async fn c6_a_message_comes_at_the_end_of_its_second_and_as_it_was() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let message = delayed("a", after(2_500)).with_tag("t").unwrap().with_keys(["k1", "k2"]).unwrap();
    let message = message.with_properties([("region", "eu")]).unwrap();
    let receipt = broker.send_messages(send(1, message)).await.unwrap().remove(0).unwrap();
    assert_eq!((receipt.queue_id, receipt.waits_for), (QueueId(1), Some(Timestamp(START + 2_000))));
    let level = send_one(&broker, "b", Delivery::Level(2)).await;
    assert_eq!(level.waits_for, None);
    assert!(delivered(&broker).await.is_empty());
    assert_eq!(scheduled(&broker), 2);
    hands.pass(2_999);
    assert!(delivered(&broker).await.is_empty());
    hands.pass(1);
    assert_eq!(delivered(&broker).await, ["a"]);
    hands.pass(1_999);
    assert_eq!(delivered(&broker).await, ["a"]);
    hands.pass(1);
    assert_eq!(delivered(&broker).await, ["b", "a"]);
    assert_eq!((scheduled(&broker), stats(broker.parts()).fired), (0, 2));
    let all = stored(&broker).await;
    let a = &all[1];
    assert_eq!((a.queue_id, a.born_timestamp, a.tag()), (QueueId(1), Timestamp(1), Some("t")));
    assert_eq!((a.store_timestamp, &a.body[..]), (Timestamp(START + 3_000), &b"a"[..]));
    assert_eq!(a.user_properties().collect::<Vec<_>>(), [("region", "eu")]);
    assert_eq!(a.properties().next(), Some((property::SOURCE, "timer 0")));
    assert_eq!(a.property(property::TIMER_DELIVER_MS), Some(&*(START + 2_500).to_string()));
    assert_eq!(all[0].properties().next(), Some((property::SOURCE, "level 2 0")));
    assert_eq!(all[0].property(property::DELAY_LEVEL), Some("2"));
    broker.close().unwrap();
}

#[tokio::test]
async fn delivery_times_and_types_that_do_not_hold_change_nothing() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let now = broker.parts().store.now();
    let refused = async |delivery: Delivery| {
        let result = broker.send_messages(send(0, delayed("a", delivery))).await.unwrap().remove(0);
        assert!(matches!(result, Err(BrokerError::Message(MessageError::InvalidDeliveryTime { .. }))), "{result:?}");
    };
    refused(Delivery::At(Timestamp(now.0 - 60_001))).await;
    refused(Delivery::At(Timestamp(now.0 + 40 * DAY + 1))).await;
    refused(Delivery::Level(19)).await;
    let normal = broker.send_messages(send(0, message("a", "a"))).await.unwrap().remove(0);
    assert!(matches!(normal, Err(BrokerError::MessageTypeMismatch { .. })));
    assert!(delivered(&broker).await.is_empty());
    // The last minute is now; so is a delay of nothing.
    assert_eq!(send_one(&broker, "past", Delivery::At(Timestamp(now.0 - 60_000))).await.waits_for, None);
    assert_eq!(send_one(&broker, "zero", after(0)).await.waits_for, None);
    assert_eq!(delivered(&broker).await, ["past", "zero"]);
    assert!(send_one(&broker, "far", Delivery::At(Timestamp(now.0 + 40 * DAY))).await.waits_for.is_some());

    for (message_type, takes_delayed, takes_normal) in
        [(MessageType::Normal, false, true), (MessageType::Mixed, true, true)]
    {
        let config = TopicConfig { message_type, ..broker.describe_topic(topic()).await.unwrap().config };
        broker.put_topic(PutTopic::new(config, PutWhen::Exists)).await.unwrap();
        let sent = broker.send_messages(send(0, delayed("d", after(1)))).await.unwrap().remove(0);
        assert_eq!(sent.is_ok(), takes_delayed, "{message_type:?}");
        assert_eq!(broker.send_messages(send(0, message("n", "n"))).await.unwrap()[0].is_ok(), takes_normal);
    }
    // The topics in which they wait are nobody's.
    for name in [crate::names::SCHEDULE_TOPIC, crate::names::TIMER_TOPIC] {
        let name = TopicName::from_client(name).unwrap();
        assert!(matches!(broker.delete_topic(name.clone()).await, Err(BrokerError::SystemTopic { .. })));
        let send = SendMessages { topic: name, ..send(0, message("x", "x")) };
        assert!(matches!(broker.send_messages(send).await, Err(BrokerError::SystemTopic { .. })));
    }
}

/// Whatever was on the disk at any moment of a life: what is delivered in the next one is all of it, once.
#[tokio::test]
async fn l9_a_kill_at_any_change_of_the_disk_fires_nothing_twice_and_loses_nothing() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let ids: Vec<String> = (0..12).map(|at| format!("id{at:02}")).collect();
    for (at, id) in ids.iter().enumerate() {
        let delivery = if at % 3 == 0 { Delivery::Level(1) } else { after(1 + 700 * at as u64) };
        send_one(&broker, id, delivery).await;
    }
    broker.take_snapshot().unwrap();
    let states: Arc<std::sync::Mutex<Vec<SimulatedFiles>>> = Arc::default();
    let keep = states.clone();
    files.before_each_change(Box::new(move |files, _| keep.lock().unwrap().push(files.kill())));
    for step in 0..10 {
        hands.pass(1_000);
        delivered(&broker).await;
        if step == 4 {
            broker.take_snapshot().unwrap();
        }
    }
    assert_eq!(stored(&broker).await.len(), 12);
    broker.close().unwrap();
    drop(broker);
    let states = std::mem::take(&mut *states.lock().unwrap());
    assert!(states.len() > 50, "{}", states.len());
    for (at, files) in states.iter().enumerate() {
        for wheel_files in [true, false] {
            let files = files.kill();
            if !wheel_files {
                lose_timer_log(&files);
            }
            let broker = open_at(&files, &hands);
            let mut came = delivered(&broker).await;
            came.sort();
            assert_eq!(came, ids, "killed before change {at}, with wheel files: {wheel_files}");
        }
    }
}

/// So many that one thread makes them ready while another appends.
#[tokio::test]
async fn l9_a_second_of_many_comes_whole_and_in_order_wherever_a_kill_falls() {
    const COUNT: usize = 700;
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let ids: Vec<String> = (0..COUNT).map(|at| format!("{at:04}")).collect();
    for ids in ids.chunks(100) {
        let message = |id: &String| SendMessage {
            queue_id: QueueId(u32::from(id.ends_with('7'))),
            message: delayed(id, after(500)),
            idempotency_key: None,
        };
        let messages = ids.iter().map(message).collect();
        let sent = broker.send_messages(SendMessages { topic: topic(), messages }).await.unwrap();
        assert!(sent.iter().all(Result::is_ok));
    }
    assert_eq!(scheduled(&broker), COUNT as u64);
    let in_order: Vec<String> =
        [false, true].iter().flat_map(|last| ids.iter().filter(|id| id.ends_with('7') == *last).cloned()).collect();
    let states: Arc<std::sync::Mutex<Vec<SimulatedFiles>>> = Arc::default();
    let keep = states.clone();
    files.before_each_change(Box::new(move |files, _| keep.lock().unwrap().push(files.kill())));
    hands.pass(1_000);
    assert_eq!(delivered(&broker).await, in_order);
    drop(broker);
    let states = std::mem::take(&mut *states.lock().unwrap());
    let mut partly = 0;
    // Some of the thousands.
    for (at, files) in states.iter().enumerate().step_by(states.len().div_ceil(16)) {
        let broker = open_at(&files.kill(), &hands);
        partly += usize::from((1..COUNT).contains(&stored(&broker).await.len()));
        assert_eq!(delivered(&broker).await, in_order, "killed before change {at}");
    }
    assert!(partly > 1, "{partly} of some of {} states have a part of the second", states.len());
}

fn lose_timer_log(files: &SimulatedFiles) {
    let dir = std::path::Path::new("/data/timerlog");
    for listed in files.list(dir).unwrap() {
        files.remove_file(&dir.join(listed.name)).unwrap();
    }
}

#[tokio::test]
async fn l9_a_power_cut_fires_again_only_what_it_took() {
    let hands = Hands::new();
    for seed in 0..20 {
        let files = SimulatedFiles::new();
        let broker = open_at(&files, &hands);
        with_delay_topic(&broker).await;
        for at in 0..6 {
            send_one(&broker, &format!("id{at}"), after(1 + 900 * at)).await;
        }
        broker.take_snapshot().unwrap();
        hands.pass(3_000);
        delivered(&broker).await;
        let files = files.power_cut(seed);
        drop(broker);
        let broker = open_at(&files, &hands);
        hands.pass(10_000);
        let mut came = delivered(&broker).await;
        came.sort();
        assert_eq!(came, ["id0", "id1", "id2", "id3", "id4", "id5"], "seed {seed}");
    }
}

#[tokio::test]
async fn c6_what_is_dispatched_late_is_fired_at_once() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    send_one(&broker, "a", after(1)).await;
    hands.pass(5_000);
    assert_eq!(delivered(&broker).await, ["a"]);
    // Its second is done already, as after a long stop.
    let config = BrokerConfig::new("/data");
    let name = crate::operation::delay::timer_topic();
    let message = delayed("late", after(1));
    let draft = crate::store::record::RecordDraft::message(&name, QueueId(0), config.store_host, &message)
        .with_property(property::REAL_TOPIC, topic().as_str())
        .with_property(property::REAL_QUEUE_ID, "9")
        .with_property(property::TIMER_OUT_MS, &START.to_string());
    let parts = broker.parts();
    let queue = parts.store.queue(&name, QueueId(0)).unwrap();
    let append = crate::store::commit_log::Append {
        record: draft.encode().unwrap(),
        queue: queue.counter().clone(),
        class: crate::store::commit_log::AppendClass::Message,
    };
    parts.store.append(vec![append]).unwrap();
    let mut came = delivered(&broker).await;
    came.sort();
    assert_eq!(came, ["a", "late"], "queue 9 does not exist: another one takes it");
    let files = files.kill();
    drop(broker);
    let broker = open_at(&files, &hands);
    assert_eq!(delivered(&broker).await.len(), 2);
}

#[tokio::test]
async fn a_recall_counts_until_the_second_ends_and_also_after_a_kill() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let mut receipts = BTreeMap::new();
    for id in ["a", "b", "c"] {
        receipts.insert(id, send_one(&broker, id, after(5_000)).await);
    }
    let recall =
        |id: &str| RecallMessage { topic: topic(), unique_key: id.into(), second: receipts[id].waits_for.unwrap() };
    assert_eq!(broker.recall_message(recall("a")).await.unwrap(), RecallOutcome::Recalled);
    assert_eq!(broker.recall_message(recall("a")).await.unwrap(), RecallOutcome::Recalled, "twice is fine");
    assert_eq!(scheduled(&broker), 2, "neither the recalled one nor what recalls it");
    let files = files.kill();
    drop(broker);
    broker = open_at(&files, &hands);
    assert_eq!(scheduled(&broker), 2);
    hands.pass(4_999);
    assert_eq!(broker.recall_message(recall("b")).await.unwrap(), RecallOutcome::Recalled);
    hands.pass(1);
    assert_eq!(broker.recall_message(recall("c")).await.unwrap(), RecallOutcome::AlreadyDelivered);
    assert_eq!(delivered(&broker).await, ["c"]);
    let before = broker.describe_broker().await.unwrap().commit_log_max;
    let refused = async |recall: RecallMessage| broker.recall_message(recall).await.unwrap_err();
    let odd = RecallMessage { second: Timestamp(START + 90_001), ..recall("a") };
    assert!(matches!(refused(odd).await, BrokerError::InvalidRecallHandle));
    let far = RecallMessage { second: Timestamp(START + 41 * DAY), ..recall("a") };
    assert!(matches!(refused(far).await, BrokerError::InvalidRecallHandle));
    let strange = RecallMessage { unique_key: "a\u{1}b".into(), second: Timestamp(START + 90_000), ..recall("a") };
    assert!(matches!(refused(strange).await, BrokerError::InvalidRecallHandle));
    let nowhere = RecallMessage { topic: TopicName::from_client("nope").unwrap(), ..recall("a") };
    assert!(matches!(refused(nowhere).await, BrokerError::TopicNotFound { .. }));
    assert_eq!(broker.describe_broker().await.unwrap().commit_log_max, before);
    let files = files.kill();
    drop(broker);
    assert_eq!(delivered(&open_at(&files, &hands)).await, ["c"]);
}

#[tokio::test]
async fn c6_what_is_far_away_is_put_back_and_can_still_be_recalled() {
    let mut files = SimulatedFiles::new();
    let hands = Hands::new();
    let mut broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let kept = send_one(&broker, "kept", after(5 * DAY as u64)).await;
    let recalled = send_one(&broker, "recalled", after(5 * DAY as u64)).await;
    assert_eq!(kept.waits_for, recalled.waits_for);
    let mut rolls = 0;
    for half_day in 0..10 {
        assert!(delivered(&broker).await.is_empty(), "after {half_day} half days");
        if half_day == 3 {
            let recall =
                RecallMessage { topic: topic(), unique_key: "recalled".into(), second: recalled.waits_for.unwrap() };
            assert_eq!(broker.recall_message(recall).await.unwrap(), RecallOutcome::Recalled);
        }
        files = files.kill();
        drop(broker);
        if half_day % 2 == 0 {
            lose_timer_log(&files);
        }
        broker = open_at(&files, &hands);
        rolls = broker.parts().store.queues(&crate::operation::delay::timer_topic())[0].max_offset().0;
        hands.pass(if half_day < 9 { DAY / 2 } else { DAY / 2 - 1 });
    }
    assert!(rolls > 6, "{rolls}");
    assert!(delivered(&broker).await.is_empty(), "a millisecond before its time");
    hands.pass(1);
    assert_eq!(delivered(&broker).await, ["kept"]);
    assert_eq!(scheduled(&broker), 0);
}

#[tokio::test]
async fn what_is_recalled_does_not_come_when_its_recall_is_put_back_after_its_time() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let hour = DAY / 24;
    let sent = send_one(&broker, "recalled", after(72 * hour as u64)).await;
    hands.pass(2 * hour);
    let recall = RecallMessage { topic: topic(), unique_key: "recalled".into(), second: sent.waits_for.unwrap() };
    assert_eq!(broker.recall_message(recall).await.unwrap(), RecallOutcome::Recalled);
    fire_due(broker.parts()).unwrap();
    // Each is put back 36 hours after it was stored. When the recall's turn comes nobody is there, up to their time.
    hands.pass(35 * hour);
    fire_due(broker.parts()).unwrap();
    hands.pass(72 * hour);
    assert_eq!(delivered(&broker).await, Vec::<String>::new());
    assert_eq!(scheduled(&broker), 0);
}

/// What retention puts back comes into its queue a moment later, when the disk has it. In that moment the message, which
/// was put back long before, is due.
#[tokio::test]
async fn what_is_recalled_does_not_come_in_the_moment_its_recall_is_put_back() {
    for _ in 0..3 {
        let (files, hands) = (SimulatedFiles::new(), Hands::new());
        let config = BrokerConfig { durability: Durability::Disk, ..simulated_config() };
        let broker = open_simulated_with(&files, config, Box::new(hands.clone())).unwrap();
        with_delay_topic(&broker).await;
        let hour = DAY / 24;
        let sent = send_one(&broker, "recalled", after(40 * hour as u64)).await;
        hands.pass(5 * hour);
        let recall = RecallMessage { topic: topic(), unique_key: "recalled".into(), second: sent.waits_for.unwrap() };
        assert_eq!(broker.recall_message(recall).await.unwrap(), RecallOutcome::Recalled);
        let recalled_to = broker.parts().store.max_offset();
        hands.pass(34 * hour);
        fire_due(broker.parts()).unwrap();
        assert!(broker.parts().store.max_offset() > recalled_to, "the message was put back, behind its recall");
        broker.parts().reached(broker.parts().store.max_offset()).await.unwrap();
        fire_due(broker.parts()).unwrap();
        assert!(put_back_below(broker.parts(), recalled_to).unwrap());
        hands.pass(2 * hour);
        fire_due(broker.parts()).unwrap();
        broker.parts().reached(broker.parts().store.max_offset()).await.unwrap();
        assert_eq!(delivered(&broker).await, Vec::<String>::new());
        broker.close().unwrap();
    }
}

/// The other way round: the recall waits where it is, and what it recalls is on its way there when their second is over.
#[tokio::test]
async fn what_is_recalled_does_not_come_when_it_is_put_back_after_its_time() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let hour = DAY / 24;
    let sent = send_one(&broker, "recalled", after(40 * hour as u64)).await;
    hands.pass(5 * hour);
    let recall = RecallMessage { topic: topic(), unique_key: "recalled".into(), second: sent.waits_for.unwrap() };
    assert_eq!(broker.recall_message(recall).await.unwrap(), RecallOutcome::Recalled);
    // It is put back after 18 hours, the recall is not. Nobody is there, up to their time.
    hands.pass(36 * hour);
    for _ in 0..3 {
        assert_eq!(delivered(&broker).await, Vec::<String>::new());
    }
    assert_eq!(scheduled(&broker), 0);
}

#[tokio::test]
async fn what_is_recalled_does_not_come_in_the_moment_it_is_put_back() {
    for _ in 0..3 {
        let (files, hands) = (SimulatedFiles::new(), Hands::new());
        let config = BrokerConfig { durability: Durability::Disk, ..simulated_config() };
        let broker = open_simulated_with(&files, config, Box::new(hands.clone())).unwrap();
        with_delay_topic(&broker).await;
        let sent = send_one(&broker, "recalled", after(60_000)).await;
        let near = send_one(&broker, "near", after(30_000)).await;
        assert!(near.waits_for < sent.waits_for);
        let below = broker.parts().store.max_offset();
        let recall = RecallMessage { topic: topic(), unique_key: "recalled".into(), second: sent.waits_for.unwrap() };
        assert_eq!(broker.recall_message(recall).await.unwrap(), RecallOutcome::Recalled);
        fire_due(broker.parts()).unwrap();
        hands.pass(30_000);
        fire_due(broker.parts()).unwrap();
        assert!(put_back_below(broker.parts(), below).unwrap());
        hands.pass(30_000);
        fire_due(broker.parts()).unwrap();
        broker.parts().reached(broker.parts().store.max_offset()).await.unwrap();
        assert_eq!(delivered(&broker).await, ["near"]);
        assert_eq!(scheduled(&broker), 0);
        broker.close().unwrap();
    }
}

/// A start that has to read all of it anew takes it in parts, and what is long due lies in the first of them.
#[tokio::test]
async fn what_is_recalled_does_not_come_however_much_lies_before_its_recall() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let sent = send_one(&broker, "recalled", after(60_000)).await;
    for batch in 0..70 {
        let one = |at: usize| SendMessage {
            queue_id: QueueId(0),
            message: delayed(&format!("{batch}-{at}"), after(DAY as u64)),
            idempotency_key: None,
        };
        let messages = (0..1_000).map(one).collect();
        let sent = broker.send_messages(SendMessages { topic: topic(), messages }).await.unwrap();
        assert!(sent.iter().all(Result::is_ok));
    }
    let recall = RecallMessage { topic: topic(), unique_key: "recalled".into(), second: sent.waits_for.unwrap() };
    assert_eq!(broker.recall_message(recall).await.unwrap(), RecallOutcome::Recalled);
    let files = files.kill();
    drop(broker);
    lose_timer_log(&files);
    hands.pass(120_000);
    let broker = open_at(&files, &hands);
    fire_due(broker.parts()).unwrap();
    assert_eq!(broker.topic_stats(topic()).await.unwrap().messages, 0);
    assert_eq!(scheduled(&broker), 70_000);
}

#[tokio::test]
async fn c9_a_step_of_the_clock_delivers_nothing_early_and_nothing_twice() {
    for step in [1_000, -1_000, 3_600_000, -3_600_000, 30 * DAY, -30 * DAY] {
        let files = SimulatedFiles::new();
        let hands = Hands::new();
        let broker = open_at(&files, &hands);
        with_delay_topic(&broker).await;
        send_one(&broker, "a", after(10_000)).await;
        send_one(&broker, "b", Delivery::Level(3)).await;
        hands.step_wall(step);
        // Effective time takes at most half as long again as the boot clock, whatever the wall says.
        hands.pass(6_000);
        assert!(delivered(&broker).await.is_empty(), "early after a step of {step}");
        hands.pass(30_000);
        assert_eq!(delivered(&broker).await.len(), 2, "late after a step of {step}");
        let files = files.kill();
        drop(broker);
        let broker = open_at(&files, &hands);
        hands.pass(1_000);
        assert_eq!(delivered(&broker).await.len(), 2, "twice after a step of {step}");
    }
}

#[tokio::test]
async fn a_topic_that_is_gone_takes_its_messages_along_and_holds_up_nobody() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let other = TopicName::from_client("other").unwrap();
    let config = TopicConfig { message_type: MessageType::Delay, ..TopicConfig::new(other.clone()) };
    broker.put_topic(PutTopic::new(config.clone(), PutWhen::Missing)).await.unwrap();
    for delivery in [after(1), Delivery::Level(1)] {
        let to_other = SendMessages { topic: other.clone(), ..send(0, delayed("gone", delivery)) };
        broker.send_messages(to_other).await.unwrap().remove(0).unwrap();
        send_one(&broker, "kept", delivery).await;
    }
    broker.delete_topic(other.clone()).await.unwrap();
    // Made again it is another one.
    broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
    hands.pass(2_000);
    assert_eq!(delivered(&broker).await, ["kept", "kept"]);
    assert_eq!(broker.topic_stats(other).await.unwrap().messages, 0);
    let stats = stats(broker.parts());
    assert_eq!((stats.scheduled, stats.fired, stats.dropped), (0, 2, 2));
}

/// Nobody waits for a year that a broken disk has written.
#[tokio::test]
async fn what_is_damaged_is_dropped_at_its_time_at_the_latest() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let damaged = send_one(&broker, "damaged", after(5_000)).await;
    send_one(&broker, "kept", after(5_000)).await;
    broker.close().unwrap();
    drop(broker);
    let log = std::path::Path::new("/data/commitlog/00000000000000000000");
    let bytes = files.read(log).unwrap();
    let time = damaged.waits_for.unwrap().0.to_string();
    let is_time = |at: &usize| bytes[*at..].starts_with(time.as_bytes());
    let at = (damaged.commit_log_offset.0 as usize..bytes.len()).find(is_time).unwrap();
    files.damage(log, at as u64, b"9").unwrap();
    lose_timer_log(&files);
    hands.pass(5_000);
    let broker = open_at(&files, &hands);
    assert_eq!(delivered(&broker).await, ["kept"]);
    assert_eq!((scheduled(&broker), stats(broker.parts()).dropped), (0, 1));
}

#[tokio::test]
async fn levels_keep_their_order_and_one_second_keeps_that_of_its_sends() {
    const COUNT: usize = 1_000;
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    for delivery in [Delivery::Level(1), after(1_000)] {
        let one = |at: usize| SendMessage {
            queue_id: QueueId(0),
            message: delayed(&format!("{at:04}"), delivery),
            idempotency_key: None,
        };
        let messages = (0..COUNT).map(one).collect();
        broker.send_messages(SendMessages { topic: topic(), messages }).await.unwrap();
    }
    hands.pass(2_000);
    let came = delivered(&broker).await;
    let (levels, timers) = came.split_at(COUNT);
    assert!(levels.is_sorted() && timers.is_sorted() && came.len() == 2 * COUNT);
}

#[tokio::test]
async fn one_second_holds_a_hundred_thousand_messages() {
    const BATCHES: usize = 100;
    const BATCH: usize = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let hands = Hands::new();
    let open = || {
        let config =
            BrokerConfig { segment_bytes: 64 << 20, durability: Durability::Memory, ..BrokerConfig::new(dir.path()) };
        let surroundings = Surroundings {
            files: Arc::new(DiskFiles),
            clock: Box::new(hands.clone()),
            random: Arc::new(SystemRandom),
            failed: Box::new(|error| panic!("the store failed: {error}")),
        };
        LocalBroker::open(config, surroundings).unwrap()
    };
    let broker = open();
    with_delay_topic(&broker).await;
    for batch in 0..BATCHES {
        let one = |at: usize| SendMessage {
            queue_id: QueueId(0),
            message: delayed(&format!("{batch}-{at}"), after(1_000)),
            idempotency_key: None,
        };
        let messages = (0..BATCH).map(one).collect();
        assert!(
            broker.send_messages(SendMessages { topic: topic(), messages }).await.unwrap().iter().all(Result::is_ok)
        );
    }
    assert_eq!(scheduled(&broker), (BATCHES * BATCH) as u64);
    drop(broker);
    let broker = open();
    assert_eq!(scheduled(&broker), (BATCHES * BATCH) as u64, "read back from the timer log");
    hands.pass(1_000);
    fire_due(broker.parts()).unwrap();
    assert_eq!(broker.topic_stats(topic()).await.unwrap().messages, (BATCHES * BATCH) as u64);
    assert_eq!(scheduled(&broker), 0);
    broker.close().unwrap();
}

#[tokio::test]
async fn a_full_disk_delays_and_loses_nothing() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    for at in 0..20 {
        send_one(&broker, &format!("{at:02}"), after(1)).await;
    }
    assert_eq!(scheduled(&broker), 20);
    files.limit_space(Some(0));
    let body = "x".repeat(8 << 10);
    while broker.parts().store.append_state(body.clone().into_bytes()).is_ok_and(|batch| batch.entries[0].is_ok()) {}
    hands.pass(1_000);
    assert!(fire_due(broker.parts()).is_err());
    files.limit_space(None);
    assert_eq!(delivered(&broker).await.len(), 20);
}

#[tokio::test]
async fn b7_what_waits_is_put_back_before_its_segment_goes() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let open = |files: &SimulatedFiles| {
        let retention = Retention { commit_log_bytes_max: Some(200 << 10), ..Retention::default() };
        open_simulated_by(files, retention, Box::new(hands.clone())).unwrap()
    };
    let broker = open(&files);
    with_delay_topic(&broker).await;
    let far = 30 * DAY as u64;
    let recalled = send_one(&broker, "recalled", after(far)).await;
    let recall = RecallMessage { topic: topic(), unique_key: "recalled".into(), second: recalled.waits_for.unwrap() };
    broker.recall_message(recall).await.unwrap();
    let sent = [("far", after(far)), ("near", after(60_000)), ("level", Delivery::Level(18))];
    for (id, delivery) in sent {
        send_one(&broker, id, delivery).await;
    }
    let other = TopicName::from_client("other").unwrap();
    broker.put_topic(PutTopic::new(TopicConfig::new(other.clone()), PutWhen::Missing)).await.unwrap();
    for round in 0..12 {
        let body = "x".repeat(20 << 10);
        for at in 0..4 {
            let send = SendMessages { topic: other.clone(), ..send(0, message(&format!("{round}-{at}"), &body)) };
            broker.send_messages(send).await.unwrap().remove(0).unwrap();
        }
        broker.take_snapshot().unwrap();
        broker.enforce_retention().unwrap();
        assert!(delivered(&broker).await.is_empty());
    }
    assert!(broker.parts().store.min_offset().0 > 512 << 10, "{}", broker.parts().store.min_offset());
    let files = files.power_cut(7);
    drop(broker);
    let broker = open(&files);
    hands.pass(60_000);
    assert_eq!(delivered(&broker).await, ["near"]);
    hands.pass(7_200_000);
    assert_eq!(delivered(&broker).await, ["near", "level"]);
    for _ in 0..60 {
        hands.pass(DAY / 2);
        delivered(&broker).await;
    }
    assert_eq!(delivered(&broker).await, ["near", "level", "far"]);
}

/// Whoever fires a level and whoever puts it back hold the wheel: at the same time, each message comes once.
#[test]
fn l9_what_is_due_while_it_is_put_back_comes_once() {
    const ROUNDS: usize = 20;
    const MESSAGES: usize = 40;
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let broker = open_at(&files, &hands);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(with_delay_topic(&broker));
    for round in 0..ROUNDS {
        for at in 0..MESSAGES {
            let delivery = if at % 2 == 0 { Delivery::Level(1) } else { after(500) };
            runtime.block_on(send_one(&broker, &format!("{round}-{at}"), delivery));
        }
        let end = broker.parts().store.max_offset();
        hands.pass(1_000);
        std::thread::scope(|scope| {
            scope.spawn(|| fire_due(broker.parts()).unwrap());
            scope.spawn(|| put_back_below(broker.parts(), end).unwrap());
        });
    }
    hands.pass(1_000);
    broker.deliver_due().unwrap();
    let mut came = runtime.block_on(delivered(&broker));
    let all = came.len();
    came.sort();
    came.dedup();
    assert_eq!((all, came.len()), (ROUNDS * MESSAGES, ROUNDS * MESSAGES), "stored, and different ones of them");
    assert_eq!(scheduled(&broker), 0);
}

/// Killed at any change of the disk while what waits is put back, and once more after others were fired and put on record:
/// what was put back the first time does not come twice.
#[tokio::test]
async fn l9_what_was_put_back_before_a_kill_comes_once() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    let mut ids = Vec::new();
    for (at, delivery) in
        [after(1), after(1_500), after(9_000), after(9_000), Delivery::Level(3)].into_iter().enumerate()
    {
        ids.push(format!("id{at}"));
        send_one(&broker, &ids[at], delivery).await;
    }
    hands.pass(1_000);
    delivered(&broker).await;
    let states: Arc<std::sync::Mutex<Vec<SimulatedFiles>>> = Arc::default();
    let keep = states.clone();
    files.before_each_change(Box::new(move |files, _| keep.lock().unwrap().push(files.kill())));
    for _ in 0..2 {
        put_back_below(broker.parts(), broker.parts().store.max_offset()).unwrap();
        broker.take_snapshot().unwrap();
    }
    drop(broker);
    let states = std::mem::take(&mut *states.lock().unwrap());
    assert!(states.len() > 5, "{}", states.len());
    hands.pass(2_000);
    for (at, files) in states.iter().enumerate() {
        for lives in 1..4 {
            let mut files = files.kill();
            for life in 0..lives {
                let broker = open_at(&files, &hands);
                delivered(&broker).await;
                if life == 1 {
                    put_back_below(broker.parts(), broker.parts().store.max_offset()).unwrap();
                }
                if life == 2 {
                    broker.take_snapshot().unwrap();
                }
                files = files.kill();
            }
            let later = Hands::new();
            later.pass(20_000);
            let mut came = delivered(&open_at(&files, &later)).await;
            came.sort();
            assert_eq!(came, ids, "killed before change {at} of the disk, and {lives} times in all");
        }
    }
}

#[tokio::test]
async fn b10_what_is_put_back_of_a_topic_that_is_gone_never_comes_to_one_made_again() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let retention = Retention { commit_log_bytes_max: Some(200 << 10), ..Retention::default() };
    let broker = open_simulated_by(&files, retention, Box::new(hands.clone())).unwrap();
    with_delay_topic(&broker).await;
    for (id, delivery) in [("timer", after(60_000)), ("level", Delivery::Level(5))] {
        send_one(&broker, id, delivery).await;
    }
    broker.delete_topic(topic()).await.unwrap();
    with_delay_topic(&broker).await;
    let other = TopicName::from_client("other").unwrap();
    broker.put_topic(PutTopic::new(TopicConfig::new(other.clone()), PutWhen::Missing)).await.unwrap();
    for round in 0..12 {
        for at in 0..4 {
            let message = message(&format!("{round}-{at}"), &"x".repeat(20 << 10));
            let send = SendMessages { topic: other.clone(), ..send(0, message) };
            broker.send_messages(send).await.unwrap().remove(0).unwrap();
        }
        broker.take_snapshot().unwrap();
        broker.enforce_retention().unwrap();
    }
    assert!(broker.parts().store.min_offset().0 > 512 << 10, "{}", broker.parts().store.min_offset());
    hands.pass(61_000);
    assert!(delivered(&broker).await.is_empty());
    assert_eq!((scheduled(&broker), stats(broker.parts()).dropped), (0, 2));
}

#[tokio::test]
async fn b8_a_clean_stop_leaves_the_wheel_as_rocketmq_has_it() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    for (id, ms) in [("a", 1), ("b", 60_000), ("c", 60_000), ("d", 90_000)] {
        send_one(&broker, id, after(ms)).await;
    }
    send_one(&broker, "e", Delivery::Level(1)).await;
    hands.pass(1_000);
    assert_eq!(delivered(&broker).await.len(), 2);
    broker.close().unwrap();
    drop(broker);
    let number = |bytes: &[u8], at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let check = files.read("/data/config/timercheck".as_ref()).unwrap();
    assert_eq!(check.len(), 4_096);
    let firsts = [0, 8, 16, 24].map(|at| number(&check, at));
    assert_eq!(firsts, [START + 1_000, 4 * 52, 4, 4]);
    let wheel = files.read("/data/timerwheel".as_ref()).unwrap();
    assert_eq!(wheel.len(), 38_707_200);
    let slots: Vec<_> = wheel.chunks(32).enumerate().filter(|(_, slot)| slot.iter().any(|byte| *byte != 0)).collect();
    let told = slots.iter().map(|(index, slot)| (*index as i64, [0, 8, 16].map(|at| number(slot, at)), slot[27]));
    let tick = |ahead: i64| (START / 1_000 + ahead, (START / 1_000 + ahead) % 1_209_600);
    let ((early, early_at), (late, late_at)) = (tick(59), tick(89));
    assert_eq!(told.collect::<Vec<_>>(), [(early_at, [early, 52, 104], 2), (late_at, [late, 156, 156], 1)]);
    let levels = files.read("/data/config/delayOffset.json".as_ref()).unwrap();
    let levels = crate::store::config_json::parse(&levels).unwrap();
    assert_eq!(levels["offsetTable"], serde_json::json!({"1": 1}));
    let broker = open_at(&files, &hands);
    hands.pass(90_000);
    assert_eq!(delivered(&broker).await.len(), 5);
}

/// Nothing could be delivered at the end, as on a full disk: what is due waits for RocketMQ too, and what came before does not
/// come again.
#[tokio::test]
async fn b8_a_clean_stop_leaves_what_is_due_and_could_not_be_delivered() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    for (id, ms) in [("a", 1_000), ("b", 60_000), ("c", 90_000)] {
        send_one(&broker, id, after(ms)).await;
    }
    hands.pass(2_000);
    assert_eq!(delivered(&broker).await, ["a"]);
    files.limit_space(Some(1 << 30));
    broker.enforce_retention().unwrap();
    assert!(broker.parts().store.refuses_messages());
    hands.pass(60_000);
    assert!(fire_due(broker.parts()).is_err());
    broker.close().unwrap();
    drop(broker);
    let number = |bytes: &[u8], at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    let check = files.read("/data/config/timercheck".as_ref()).unwrap();
    assert!(number(&check, 0) <= START + 59_000, "{}", number(&check, 0));
    assert_eq!([8, 16].map(|at| number(&check, at)), [3 * 52, 3]);
    let wheel = files.read("/data/timerwheel".as_ref()).unwrap();
    let seconds = wheel.chunks(32).map(|slot| number(slot, 0)).filter(|second| *second != 0).collect::<Vec<_>>();
    assert_eq!(seconds, [59, 89].map(|ahead| START / 1_000 + ahead));
    files.limit_space(None);
    let broker = open_at(&files, &hands);
    assert_eq!(delivered(&broker).await, ["a", "b"]);
    hands.pass(30_000);
    assert_eq!(delivered(&broker).await, ["a", "b", "c"]);
}

/// RocketMQ takes every unit of its timer log for one that waits in its second, and follows each to the one before.
#[tokio::test]
async fn b8_what_retention_put_back_waits_once_for_rocketmq() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    for id in ["a", "b"] {
        send_one(&broker, id, after(60_000)).await;
    }
    assert!(delivered(&broker).await.is_empty());
    put_back_below(broker.parts(), broker.parts().store.max_offset()).unwrap();
    send_one(&broker, "c", after(60_000)).await;
    assert!(delivered(&broker).await.is_empty());
    broker.close().unwrap();
    drop(broker);
    let log = files.read("/data/timerlog/00000000000000000000".as_ref()).unwrap();
    let number = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().unwrap());
    let units = log.chunks(52).take_while(|unit| unit[3] == 52).map(|unit| {
        let delay = i32::from_be_bytes(unit[24..28].try_into().unwrap());
        (number(&unit[4..12]), number(&unit[16..24]) + i64::from(delay) - START)
    });
    assert_eq!(units.collect::<Vec<_>>(), [(-1, -1_000), (-1, -1_000), (-1, 59_000), (104, 59_000), (156, 59_000)]);
    let broker = open_at(&files, &hands);
    hands.pass(60_000);
    let mut came = delivered(&broker).await;
    came.sort();
    assert_eq!(came, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_state_made_anew_knows_what_was_fired() {
    use crate::recover_state::{RecoverState, recover_state};
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let open = |files: &SimulatedFiles| {
        let retention = Retention { commit_log_bytes_max: Some(200 << 10), ..Retention::default() };
        open_simulated_by(files, retention, Box::new(hands.clone())).unwrap()
    };
    let broker = open(&files);
    with_delay_topic(&broker).await;
    let normal = TopicName::from_client("normal").unwrap();
    broker.put_topic(PutTopic::new(TopicConfig::new(normal.clone()), PutWhen::Missing)).await.unwrap();
    for round in 0..6 {
        for at in 0..8 {
            let message = message(&format!("{round}-{at}"), &"x".repeat(10 << 10));
            let send = SendMessages { topic: normal.clone(), ..send(0, message) };
            broker.send_messages(send).await.unwrap().remove(0).unwrap();
        }
        broker.take_snapshot().unwrap();
        broker.enforce_retention().unwrap();
    }
    assert!(broker.parts().store.min_offset().0 > 0);
    for (id, delivery) in [("a", after(1)), ("b", Delivery::Level(1)), ("c", after(60_000)), ("d", Delivery::Level(5))]
    {
        send_one(&broker, id, delivery).await;
    }
    hands.pass(1_000);
    assert_eq!(delivered(&broker).await.len(), 2);
    let files = files.kill();
    drop(broker);
    let gantry = std::path::Path::new("/data/gantry");
    for listed in files.list(gantry).unwrap() {
        if listed.name.to_string_lossy().starts_with("snapshot-") {
            files.remove_file(&gantry.join(listed.name)).unwrap();
        }
    }
    let options = RecoverState { write: true, invent: true };
    recover_state(Arc::new(files.clone()), "/data".as_ref(), Timestamp(START + 1_000), options).unwrap();
    let broker = open(&files);
    hands.pass(59_000);
    let mut came = delivered(&broker).await;
    came.sort();
    assert_eq!(came, ["a", "b", "c", "d"]);
}
