//! What a group has in flight when its segment goes, or when too much lies behind it, goes on in the group's retry topic.

use super::delayed::Hands;
use super::*;
use crate::config::Pace;
use crate::delivery::cell::WINDOW_MAX;
use crate::delivery::clients::ClientId;
use crate::message::property;
use crate::operation::forward_message_to_dead_letter_queue::give_up_exhausted;
use crate::operation::release_client;
use crate::operation::retry_topic::move_below;

const SEGMENT_BYTES: u64 = 64 << 10;

fn short() -> Retention {
    Retention { commit_log_bytes_max: Some(2 * SEGMENT_BYTES), ..Retention::default() }
}

fn retry_topic() -> TopicName {
    TopicName::retry_topic(&group())
}

fn of_body(at: u32) -> Message {
    message(&format!("id{at}"), &format!("{at} {}", "x".repeat(900)))
}

async fn fill(broker: &LocalBroker, of: &TopicName, numbers: std::ops::Range<u32>) {
    for at in numbers {
        let send = SendMessages { topic: of.clone(), ..send(0, of_body(at)) };
        broker.send_messages(send).await.unwrap().remove(0).unwrap();
    }
}

fn ids(popped: &[PoppedMessage]) -> Vec<String> {
    popped.iter().map(|popped| popped.message.unique_key().unwrap().to_string()).collect()
}

fn names(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    numbers.into_iter().map(|at| format!("id{at}")).collect()
}

/// As the thread does it: what lacks a snapshot goes when there are two newer ones.
fn retain(broker: &LocalBroker) {
    (0..4).for_each(|_| broker.enforce_retention().unwrap());
}

async fn ack_all(broker: &LocalBroker, popped: &[PoppedMessage]) {
    let handles = popped.iter().map(|popped| popped.handle.clone()).collect();
    assert!(broker.ack_messages(handles).await.unwrap().iter().all(Result::is_ok));
}

async fn in_retry_topic(broker: &LocalBroker) -> Vec<crate::message::StoredMessage> {
    messages_of(broker, retry_topic()).await
}

async fn messages_of(broker: &LocalBroker, topic: TopicName) -> Vec<crate::message::StoredMessage> {
    let (queue_id, offset) = (QueueId(0), QueueOffset(0));
    let pull = PullMessages { topic, queue_id, offset, messages_max: 10_000, bytes_max: u32::MAX };
    broker.pull_messages(pull).await.unwrap().messages
}

fn retry_pair(broker: &LocalBroker) -> (u32, u32) {
    let tables = broker.parts().tables();
    (tables.consumer_group(&group()).unwrap().consumer_group_id, tables.topic(&retry_topic()).unwrap().topic_id)
}

async fn consumption(broker: &LocalBroker) -> Consumption {
    broker.list_consumptions(Some(group()), Some(topic())).await.unwrap().remove(0)
}

async fn change(broker: &LocalBroker, handle: &ReceiptHandle, seconds: u64) -> Result<ChangedLease, BrokerError> {
    let invisible = Some(Duration::from_secs(seconds));
    let change = ChangeInvisibleDuration { handle: handle.clone(), invisible, suspend: false };
    broker.change_invisible_durations(vec![change]).await.unwrap().remove(0)
}

/// Ten are received, four of them acked, and their segment goes.
async fn leave_six(files: &SimulatedFiles) -> (LocalBroker, Hands, Vec<PoppedMessage>) {
    let hands = Hands::new();
    let broker = open_simulated_by(files, short(), Box::new(hands.clone())).unwrap();
    with_topic(&broker).await;
    fill(&broker, &topic(), 0..10).await;
    let popped = broker.pop_messages(pop(10)).await.unwrap();
    ack_all(&broker, &popped[3..7]).await;
    fill(&broker, &topic(), 10..300).await;
    (broker, hands, popped)
}

#[tokio::test]
async fn c1_what_is_in_flight_when_its_segment_goes_comes_again_by_the_retry_topic_and_once() {
    let files = SimulatedFiles::new();
    let (broker, hands, held) = leave_six(&files).await;
    retain(&broker);
    let begins = broker.query_queue_offsets(topic()).await.unwrap()[0].min_offset.0;
    assert!(begins > 10);
    let of_orders = consumption(&broker).await;
    assert_eq!((of_orders.retried, of_orders.expired), (6, begins - 10), "what nobody had received is gone");
    let moved = in_retry_topic(&broker).await;
    assert_eq!(moved.len(), 6);
    let first = &moved[0];
    assert_eq!((first.unique_key(), first.reconsume_times), (Some("id0"), 1));
    assert_eq!(first.property(property::RETRY_TOPIC), Some("orders"));
    assert_eq!(first.property(property::ORIGIN_MESSAGE_ID), Some(&*held[0].message.offset_message_id()));
    assert_eq!(first.property(property::DLQ_ORIGIN_TOPIC), None);
    // It is held as it was before, beside others that go on.
    let beside = broker.pop_messages(pop(1)).await.unwrap();
    assert_eq!(ids(&beside), names([begins as u32]));
    ack_all(&broker, &beside).await;
    // Whoever still holds one may settle it, until somebody gets it anew.
    ack_all(&broker, &held[2..3]).await;
    ack_all(&broker, &held[2..5]).await;
    hands.pass(60_001);
    let again = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!(ids(&again), names([0, 1, 7, 8, 9]));
    let late = broker.ack_messages(vec![held[0].handle.clone()]).await.unwrap().remove(0);
    assert!(matches!(late, Err(BrokerError::ReceiptSuperseded)), "{late:?}");
    assert!(again.iter().all(|popped| popped.delivery_attempt == 2 && popped.message.topic() == "orders"));
    ack_all(&broker, &again[..3]).await;
    ack_all(&broker, &held[..1]).await;
    // New ones are received while the others are away, and nothing comes twice.
    let new = broker.pop_messages(pop(2)).await.unwrap();
    assert_eq!(ids(&new), names([begins as u32 + 1, begins as u32 + 2]));
    let killed = files.kill();
    drop(broker);
    let broker = open_simulated_by(&killed, short(), Box::new(hands.clone())).unwrap();
    retain(&broker);
    hands.pass(60_001);
    let third = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!(ids(&third), names([8, 9]));
    assert!(third.iter().all(|popped| popped.delivery_attempt == 3));
    ack_all(&broker, &third).await;
    // Now those of the topic itself that came back.
    assert_eq!(ids(&broker.pop_messages(pop(2)).await.unwrap()), ids(&new));
    assert_eq!(in_retry_topic(&broker).await.len(), 6);
    let progress = broker.query_consume_offsets(group(), retry_topic()).await.unwrap().remove(0);
    assert_eq!((progress.lag(), progress.in_flight), (0, 0));
    broker.close().unwrap();
}

/// Killed at any change of the disk while messages are moved and their segment goes.
#[tokio::test]
async fn c1_a_kill_at_any_moment_moves_nothing_twice_and_loses_nothing() {
    let files = SimulatedFiles::new();
    let (broker, _, held) = leave_six(&files).await;
    let states: Arc<std::sync::Mutex<Vec<SimulatedFiles>>> = Arc::default();
    let keep = states.clone();
    files.before_each_change(Box::new(move |files, _| keep.lock().unwrap().push(files.kill())));
    let below = CommitLogOffset(SEGMENT_BYTES);
    assert!(move_below(broker.parts(), below).unwrap());
    assert!(!move_below(broker.parts(), below).unwrap());
    broker.take_snapshot().unwrap();
    retain(&broker);
    drop(broker);
    let states = std::mem::take(&mut *states.lock().unwrap());
    assert!(states.len() > 10, "{}", states.len());
    let (mut extended, mut without_lease) = (0, 0);
    for (at, files) in states.iter().enumerate() {
        let hands = Hands::new();
        let broker = open_simulated_by(&files.kill(), short(), Box::new(hands.clone())).unwrap();
        retain(&broker);
        assert!(!move_below(broker.parts(), below).unwrap());
        assert_eq!(in_retry_topic(&broker).await.len(), 6, "{at}");
        ack_all(&broker, &held[1..2]).await;
        // Between the record of a message and that of its lease nobody holds it: whoever asks for more time is told so.
        let back = match change(&broker, &held[2].handle, 120).await {
            Ok(_) => {
                extended += 1;
                names([0, 7, 8, 9])
            }
            Err(BrokerError::ReceiptSuperseded) => {
                without_lease += 1;
                names([0, 2, 7, 8, 9])
            }
            Err(error) => panic!("{at}: {error}"),
        };
        hands.pass(60_001);
        assert_eq!(ids(&broker.pop_messages(pop(32)).await.unwrap()), back, "{at}");
    }
    assert!(extended > 0 && without_lease > 0, "{extended} and {without_lease} of {}", states.len());
}

/// What was moved comes into its queue a moment later, when the disk has it: an ack in that moment is one all the same.
#[tokio::test]
async fn c2_an_ack_right_behind_a_move_counts() {
    for _ in 0..3 {
        let (files, hands) = (SimulatedFiles::new(), Hands::new());
        let config = BrokerConfig { durability: Durability::Disk, ..simulated_config() };
        let broker = open_simulated_with(&files, config, Box::new(hands.clone())).unwrap();
        with_topic(&broker).await;
        fill(&broker, &topic(), 0..6).await;
        let held = broker.pop_messages(pop(6)).await.unwrap();
        assert_eq!(held.len(), 6);
        while move_below(broker.parts(), CommitLogOffset(SEGMENT_BYTES)).unwrap() {
            ack_all(&broker, &held[..3]).await;
        }
        assert_eq!(consumption(&broker).await.retried, 6);
        broker.parts().reached(broker.parts().store.max_offset()).await.unwrap();
        hands.pass(60_001);
        assert_eq!(ids(&broker.pop_messages(pop(32)).await.unwrap()), names(3..6));
        broker.close().unwrap();
    }
}

/// In the same moment it can be given up: on request, or since its last delivery is over.
#[tokio::test]
async fn l7_what_was_just_moved_is_given_up() {
    for on_request in [true, false] {
        let (files, hands) = (SimulatedFiles::new(), Hands::new());
        let pace = Pace { sync_delay: Duration::from_secs(3_600), ..Pace::default() };
        let config = BrokerConfig { durability: Durability::Disk, pace, ..simulated_config() };
        let broker = open_simulated_with(&files, config, Box::new(hands.clone())).unwrap();
        with_topic(&broker).await;
        let once = ConsumerGroupConfig { retry_max_times: 0, ..ConsumerGroupConfig::new(group()) };
        broker.put_consumer_group(PutConsumerGroup::new(once, PutWhen::Missing)).await.unwrap();
        fill(&broker, &topic(), 0..6).await;
        let held = broker.pop_messages(pop(6)).await.unwrap();
        assert_eq!(held.len(), 6);
        broker.parts().reached_soon(broker.parts().store.max_offset()).await.unwrap();
        while move_below(broker.parts(), CommitLogOffset(SEGMENT_BYTES)).unwrap() {}
        assert_eq!(in_retry_topic(&broker).await.len(), 0, "the disk does not have it");
        if on_request {
            let forwards =
                held.iter().map(|held| ForwardToDeadLetterQueue { handle: held.handle.clone(), reason: None });
            let forwarded = broker.forward_messages_to_dead_letter_queue(forwards.collect()).await.unwrap();
            assert!(forwarded.iter().all(Result::is_ok), "{forwarded:?}");
        } else {
            hands.pass(60_001);
            give_up_exhausted(broker.parts(), retry_pair(&broker));
            broker.parts().reached_soon(broker.parts().store.max_offset()).await.unwrap();
        }
        let letters = messages_of(&broker, TopicName::dead_letter_queue(&group())).await;
        let ids: Vec<_> = letters.iter().map(|letter| letter.unique_key().unwrap().to_string()).collect();
        assert_eq!(ids, names(0..6));
        hands.pass(60_001);
        assert_eq!(broker.pop_messages(pop(32)).await.unwrap().len(), 0);
    }
}

/// A consumer is lost in the moment in which what it holds is moved: all of it comes back, whoever was first.
/// And a receive that comes again since its answer was lost has what it had.
#[tokio::test]
async fn c5_a_repeated_receive_has_what_was_just_moved() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let pace = Pace { sync_delay: Duration::from_secs(3_600), ..Pace::default() };
    let config = BrokerConfig { durability: Durability::Disk, pace, ..simulated_config() };
    let broker = open_simulated_with(&files, config, Box::new(hands.clone())).unwrap();
    with_topic(&broker).await;
    fill(&broker, &topic(), 0..12).await;
    let pop_again = || PopMessages { attempt_id: Some("again".into()), ..pop(6) };
    let held = broker.pop_messages(pop_again()).await.unwrap();
    assert_eq!(held.len(), 6);
    broker.parts().reached_soon(broker.parts().store.max_offset()).await.unwrap();
    while move_below(broker.parts(), CommitLogOffset(SEGMENT_BYTES)).unwrap() {}
    assert_eq!(in_retry_topic(&broker).await.len(), 0, "the disk does not have it");
    let again = broker.pop_messages(pop_again()).await.unwrap();
    assert_eq!(ids(&again), ids(&held));
    assert!(again.iter().all(|popped| popped.delivery_attempt == 1));
    ack_all(&broker, &again).await;
    hands.pass(60_001);
    assert_eq!(broker.pop_messages(pop(32)).await.unwrap().len(), 6, "those that nobody had");
}

/// Of what has gone from a retry topic nothing is remembered.
#[tokio::test]
async fn what_is_known_of_moved_messages_does_not_grow() {
    let (files, hands) = (SimulatedFiles::new(), Hands::new());
    let broker = open_simulated_by(&files, short(), Box::new(hands.clone())).unwrap();
    with_topic(&broker).await;
    let known = || {
        let cells = broker.parts().cells.of(retry_pair(&broker));
        let cells = cells.lock().unwrap();
        let moved = cells.moved.as_ref().expect("some were moved");
        (moved.places.len(), moved.records.len())
    };
    for round in 0..90 {
        fill(&broker, &topic(), round * 32..(round + 1) * 32).await;
        assert_eq!(broker.pop_messages(pop(32)).await.unwrap().len(), 32);
        while move_below(broker.parts(), broker.parts().store.max_offset()).unwrap() {}
        hands.pass(60_001);
        let back = broker.pop_messages(pop(32)).await.unwrap();
        assert_eq!(back.len(), 32);
        ack_all(&broker, &back).await;
    }
    let (places, records) = known();
    assert!(places <= 1_024 + 32 && records <= 32, "{places} places and {records} records");
}

#[tokio::test]
async fn c5_what_a_lost_consumer_held_comes_back_from_wherever_it_was_moved_to() {
    for _ in 0..200 {
        let (files, hands) = (SimulatedFiles::new(), Hands::new());
        let broker = open_simulated_by(&files, short(), Box::new(hands.clone())).unwrap();
        with_topic(&broker).await;
        fill(&broker, &topic(), 0..6).await;
        let client = ClientId::of("lost");
        let held = broker.pop_messages(PopMessages { lease: LeaseLength::WhileSeen(client), ..pop(6) }).await.unwrap();
        assert_eq!(held.len(), 6);
        std::thread::scope(|scope| {
            scope.spawn(|| while move_below(broker.parts(), CommitLogOffset(SEGMENT_BYTES)).unwrap() {});
            scope.spawn(|| release_client::release_client(broker.parts(), client).unwrap());
        });
        assert_eq!(in_retry_topic(&broker).await.len(), 6);
        hands.pass(1_001);
        assert_eq!(ids(&broker.pop_messages(pop(32)).await.unwrap()), names(0..6));
    }
}

#[tokio::test]
async fn c1_each_topic_of_a_group_has_its_own_back_and_none_waits_for_another() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_simulated_by(&files, short(), Box::new(hands.clone())).unwrap();
    with_topic(&broker).await;
    let other = TopicName::from_client("returns").unwrap();
    let config = TopicConfig { read_queues: 1, write_queues: 1, ..TopicConfig::new(other.clone()) };
    broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
    let of_other = |max| PopMessages { topic: other.clone(), ..pop(max) };
    fill(&broker, &other, 100..103).await;
    fill(&broker, &topic(), 0..3).await;
    assert_eq!(broker.pop_messages(of_other(32)).await.unwrap().len(), 3);
    assert_eq!(broker.pop_messages(pop(32)).await.unwrap().len(), 3);
    fill(&broker, &topic(), 3..300).await;
    retain(&broker);
    assert_eq!(in_retry_topic(&broker).await.len(), 6);
    let tagged = PopMessages { filter: Filter::tags("paid").unwrap(), ..of_other(32) };
    hands.pass(60_001);
    assert!(broker.pop_messages(pop(1)).await.unwrap().iter().all(|popped| popped.message.topic() == "orders"));
    let mine = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!(ids(&mine), names([1, 2]));
    // What came back and is not wanted stays for whoever wants it, as in any queue.
    assert!(broker.pop_messages(tagged).await.unwrap().is_empty());
    // A name of a receive is of its topic.
    let named = |pop: PopMessages| PopMessages { attempt_id: Some("worker".into()), ..pop };
    let theirs = broker.pop_messages(named(of_other(32))).await.unwrap();
    assert_eq!(ids(&theirs), names([100, 101, 102]));
    assert!(!ids(&broker.pop_messages(named(pop(32))).await.unwrap()).contains(&"id100".to_owned()));
    ack_all(&broker, &theirs).await;
    hands.pass(60_001);
    let mine = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!(ids(&mine), names([0, 1, 2]));
    ack_all(&broker, &mine).await;
    let progress = broker.query_consume_offsets(group(), retry_topic()).await.unwrap().remove(0);
    assert_eq!(progress.lag(), 0);
    broker.close().unwrap();
}

#[tokio::test]
async fn c1_what_stands_in_an_order_expires_and_what_is_used_up_is_a_dead_letter() {
    for (orderly, is_over) in [(true, false), (false, false), (false, true)] {
        let files = SimulatedFiles::new();
        let hands = Hands::new();
        let broker = open_simulated_by(&files, short(), Box::new(hands.clone())).unwrap();
        with_topic(&broker).await;
        let config = ConsumerGroupConfig { orderly, retry_max_times: 0, ..ConsumerGroupConfig::new(group()) };
        broker.put_consumer_group(PutConsumerGroup::new(config, PutWhen::Missing)).await.unwrap();
        fill(&broker, &topic(), 0..1).await;
        assert_eq!(broker.pop_messages(pop(1)).await.unwrap().len(), 1);
        fill(&broker, &topic(), 1..300).await;
        if is_over {
            hands.pass(60_001);
        }
        retain(&broker);
        let begins = broker.query_queue_offsets(topic()).await.unwrap()[0].min_offset.0;
        let consumption = consumption(&broker).await;
        let counted = (consumption.retried, consumption.dead_letters, consumption.expired);
        match (orderly, is_over) {
            (true, _) => assert_eq!(counted, (0, 0, begins)),
            (false, true) => assert_eq!(counted, (0, 1, begins - 1)),
            (false, false) => {
                // Its last delivery is under way, and is given up when that is over.
                assert_eq!(counted, (1, 0, begins - 1));
                hands.pass(60_001);
                broker.parts().came_back(retry_pair(&broker));
                let of_retry = broker.list_consumptions(Some(group()), Some(retry_topic())).await.unwrap().remove(0);
                assert_eq!(of_retry.dead_letters, 1);
            }
        }
        broker.close().unwrap();
    }
}

#[tokio::test]
async fn c1_what_was_moved_once_expires_with_its_retry_topic() {
    let files = SimulatedFiles::new();
    let (broker, hands, _) = leave_six(&files).await;
    retain(&broker);
    hands.pass(60_001);
    assert_eq!(broker.pop_messages(pop(32)).await.unwrap().len(), 6);
    fill(&broker, &topic(), 300..600).await;
    retain(&broker);
    let of_retry = broker.list_consumptions(Some(group()), Some(retry_topic())).await.unwrap().remove(0);
    assert_eq!((of_retry.retried, of_retry.expired), (0, 6));
    assert!(in_retry_topic_begins(&broker).await > 0);
    broker.close().unwrap();
}

async fn in_retry_topic_begins(broker: &LocalBroker) -> u64 {
    broker.query_queue_offsets(retry_topic()).await.unwrap()[0].min_offset.0
}

#[tokio::test]
async fn c1_a_receive_that_waits_is_woken_by_what_was_moved_and_by_what_comes_back() {
    let files = SimulatedFiles::new();
    let (broker, hands, _) = leave_six(&files).await;
    // Everything new is received.
    loop {
        let popped = broker.pop_messages(pop(32)).await.unwrap();
        if popped.is_empty() {
            break;
        }
        ack_all(&broker, &popped).await;
    }
    let wait = || AwaitMessages {
        consumer_group: group(),
        topic: topic(),
        filter: Filter::All,
        wait: Duration::from_secs(600),
    };
    let waits = async || {
        while !broker.parts().long_polling.is_parked(&topic(), &group()) {
            tokio::task::yield_now().await;
        }
    };
    let (woken, ()) = tokio::join!(broker.await_messages(wait()), async {
        waits().await;
        move_below(broker.parts(), CommitLogOffset(SEGMENT_BYTES)).unwrap();
    });
    assert!(woken.unwrap());
    hands.pass(60_001);
    assert_eq!(broker.pop_messages(pop(32)).await.unwrap().len(), 6);
    let of_retry = retry_pair(&broker);
    let (woken, ()) = tokio::join!(broker.await_messages(wait()), async {
        waits().await;
        hands.pass(60_001);
        broker.parts().came_back(of_retry);
    });
    assert!(woken.unwrap());
    assert_eq!(broker.pop_messages(pop(32)).await.unwrap().len(), 6);
    broker.close().unwrap();
}

#[tokio::test]
async fn c1_a_full_window_goes_on_when_its_oldest_messages_have_left_it() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_simulated_by(&files, Retention::default(), Box::new(hands.clone())).unwrap();
    with_topic(&broker).await;
    let end = WINDOW_MAX as u32 + 100;
    for from in (0..end).step_by(100) {
        let one =
            |at| SendMessage { queue_id: QueueId(0), message: message(&format!("id{at}"), "x"), idempotency_key: None };
        let messages = (from..(from + 100).min(end)).map(one).collect();
        broker.send_messages(SendMessages { topic: topic(), messages }).await.unwrap();
    }
    let held = broker.pop_messages(pop(2)).await.unwrap();
    assert_eq!(ids(&held), names([0, 1]));
    let mut last = 1;
    while last + 1 < WINDOW_MAX as u32 {
        let popped = broker.pop_messages(pop(32)).await.unwrap();
        assert_eq!(ids(&popped)[0], format!("id{}", last + 1));
        last += popped.len() as u32;
        ack_all(&broker, &popped).await;
    }
    assert_eq!(consumption(&broker).await.retried, 0);
    // The window is full: the two that nobody settled leave it, and come again when their time is over.
    let new = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!((ids(&new), consumption(&broker).await.retried), (names(last + 1..last + 33), 2));
    hands.pass(60_001);
    let again = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!(ids(&again), names([0, 1]));
    assert!(again.iter().all(|popped| popped.delivery_attempt == 2));
    let killed = files.kill();
    drop(broker);
    let broker = open_simulated_by(&killed, Retention::default(), Box::new(hands.clone())).unwrap();
    ack_all(&broker, &again).await;
    assert_eq!(ids(&broker.pop_messages(pop(1)).await.unwrap()), names([last + 1]));
    let progress = broker.query_consume_offsets(group(), topic()).await.unwrap().remove(0);
    assert_eq!((progress.consume_offset, progress.stands_still), (Some(QueueOffset(u64::from(last) + 1)), false));
    broker.close().unwrap();
}

#[tokio::test]
async fn c2_a_handle_goes_with_its_message_whatever_it_is_used_for() {
    let files = SimulatedFiles::new();
    let (broker, hands, held) = leave_six(&files).await;
    retain(&broker);
    let forward = |at: usize| {
        let forward = ForwardToDeadLetterQueue { handle: held[at].handle.clone(), reason: None };
        broker.forward_messages_to_dead_letter_queue(vec![forward])
    };
    assert_eq!(forward(0).await.unwrap().remove(0).unwrap(), TopicName::dead_letter_queue(&group()));
    let dead = messages_of(&broker, TopicName::dead_letter_queue(&group())).await.remove(0);
    assert_eq!((dead.unique_key(), dead.property(property::DLQ_ORIGIN_TOPIC)), (Some("id0"), Some("orders")));
    let longer = change(&broker, &held[1].handle, 120).await.unwrap();
    let at_once = change(&broker, &held[2].handle, 0).await.unwrap();
    assert!(longer.invisible_until > at_once.invisible_until);
    let again = broker.pop_messages(pop(1)).await.unwrap();
    assert_eq!((ids(&again), again[0].delivery_attempt), (names([2]), 2));
    hands.pass(60_001);
    // All others have come back, but not what was extended: by its new handle alone it is known.
    assert_eq!(ids(&broker.pop_messages(pop(32)).await.unwrap()), names([2, 7, 8, 9]));
    let old = change(&broker, &held[1].handle, 120).await;
    assert!(matches!(old, Err(BrokerError::ReceiptSuperseded)), "{old:?}");
    let killed = files.kill();
    drop(broker);
    let broker = open_simulated_by(&killed, short(), Box::new(hands.clone())).unwrap();
    let acked = broker.ack_messages(vec![longer.handle]).await.unwrap().remove(0);
    assert!(acked.is_ok(), "{acked:?}");
    hands.pass(60_001);
    assert_eq!(ids(&broker.pop_messages(pop(32)).await.unwrap()), names([2, 7, 8, 9]));
    broker.close().unwrap();
}

#[tokio::test]
async fn c2_a_handle_that_is_void_settles_nothing_where_its_message_has_gone() {
    let files = SimulatedFiles::new();
    let (broker, hands, held) = leave_six(&files).await;
    hands.pass(60_001);
    let anew = broker.pop_messages(pop(6)).await.unwrap();
    assert_eq!(ids(&anew), names([0, 1, 2, 7, 8, 9]));
    retain(&broker);
    assert_eq!(in_retry_topic(&broker).await.len(), 6);
    let void = broker.ack_messages(vec![held[0].handle.clone()]).await.unwrap().remove(0);
    assert!(matches!(void, Err(BrokerError::ReceiptSuperseded)), "{void:?}");
    ack_all(&broker, &anew[1..]).await;
    hands.pass(60_001);
    assert_eq!(ids(&broker.pop_messages(pop(32)).await.unwrap()), names([0]));
    broker.close().unwrap();
}

/// Retention asks until nothing moves: whoever sends meanwhile must not keep it asking.
#[tokio::test]
async fn c1_what_others_append_is_not_taken_for_moved() {
    let files = SimulatedFiles::new();
    let broker = open_simulated(&files, Retention::default()).unwrap();
    with_topic(&broker).await;
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                runtime.block_on(fill(&broker, &topic(), 0..1));
            }
        });
        let said = (0..20_000).any(|_| move_below(broker.parts(), CommitLogOffset(1)).unwrap());
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(!said);
    });
    broker.close().unwrap();
}
