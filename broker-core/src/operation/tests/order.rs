//! Order inside a message group, kept through everything that can happen to a delivery.

use super::*;

fn fifo(files: &SimulatedFiles) -> LocalBroker {
    open_simulated(files, Retention::default()).unwrap()
}

async fn with_fifo_topic(broker: &LocalBroker) {
    let config =
        TopicConfig { read_queues: 1, write_queues: 1, message_type: MessageType::Fifo, ..TopicConfig::new(topic()) };
    broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
}

/// Sends bodies `<group><number>`, each in the message group that it begins with.
async fn send_all(broker: &LocalBroker, bodies: &[&str]) {
    for body in bodies {
        let message = message(&format!("id-{body}"), body).with_message_group(&body[..1]).unwrap();
        broker.send_messages(send(0, message)).await.unwrap().remove(0).unwrap();
    }
}

/// The newest handle of the message that stands first of those in flight.
fn head_handle(broker: &LocalBroker, popped: &PoppedMessage) -> ReceiptHandle {
    let cells = broker.parts().cells.of((popped.handle.consumer_group_id, popped.handle.topic_id));
    let cells = cells.lock().unwrap();
    let (_, lease) = cells[&QueueId(0)].leases().next().unwrap();
    ReceiptHandle { lease_id: lease.id, deadline: lease.deadline, ..popped.handle.clone() }
}

/// In the order in which they were handed out.
fn order(popped: &[PoppedMessage]) -> Vec<&str> {
    popped.iter().map(|popped| std::str::from_utf8(&popped.message.body).unwrap()).collect()
}

async fn ack(broker: &LocalBroker, popped: &[&PoppedMessage]) {
    let handles = popped.iter().map(|popped| popped.handle.clone()).collect();
    assert!(broker.ack_messages(handles).await.unwrap().iter().all(Result::is_ok));
}

async fn back(broker: &LocalBroker, popped: &PoppedMessage, after: Duration) {
    let back = ChangeInvisibleDuration { handle: popped.handle.clone(), invisible: Some(after), suspend: false };
    broker.change_invisible_durations(vec![back]).await.unwrap().remove(0).unwrap();
}

#[tokio::test]
async fn l6_one_batch_of_a_group_is_in_flight_and_other_groups_go_on() {
    let files = SimulatedFiles::new();
    let mut broker = fifo(&files);
    with_fifo_topic(&broker).await;
    send_all(&broker, &["a1", "b1", "a2", "c1", "b2", "a3"]).await;
    let first = broker.pop_messages(pop(2)).await.unwrap();
    assert_eq!(order(&first), ["a1", "b1"]);
    let second = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!(order(&second), ["c1"], "a and b wait for what is in flight");
    assert!(broker.pop_messages(pop(32)).await.unwrap().is_empty());
    ack(&broker, &[&first[0]]).await;
    // Nothing of this is in memory alone.
    drop(broker);
    broker = fifo(&files.kill());
    let third = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!(order(&third), ["a2", "a3"], "a batch takes a group in its order");
    ack(&broker, &[&third[0]]).await;
    send_all(&broker, &["a4"]).await;
    assert!(broker.pop_messages(pop(32)).await.unwrap().is_empty(), "all of the batch must be settled");
    ack(&broker, &[&third[1], &first[1]]).await;
    assert_eq!(order(&broker.pop_messages(pop(32)).await.unwrap()), ["b2", "a4"]);
}

#[tokio::test]
async fn l6_what_comes_back_comes_before_what_is_behind_it() {
    let files = SimulatedFiles::new();
    let broker = fifo(&files);
    with_fifo_topic(&broker).await;
    send_all(&broker, &["a1", "a2", "b1", "a3"]).await;
    let popped = broker.pop_messages(pop(2)).await.unwrap();
    assert_eq!(order(&popped), ["a1", "a2"]);
    // The second comes back at once and the first later: the second waits for the first.
    back(&broker, &popped[0], Duration::from_secs(3_600)).await;
    back(&broker, &popped[1], Duration::ZERO).await;
    assert_eq!(order(&broker.pop_messages(pop(32)).await.unwrap()), ["b1"]);
    let handle = {
        let tables = broker.parts().tables();
        let pair =
            (tables.consumer_group(&group()).unwrap().consumer_group_id, tables.topic(&topic()).unwrap().topic_id);
        let cells = broker.parts().cells.of(pair);
        let cells = cells.lock().unwrap();
        let (_, lease) = cells[&QueueId(0)].leases().next().unwrap();
        ReceiptHandle { lease_id: lease.id, deadline: lease.deadline, ..popped[0].handle.clone() }
    };
    let now = ChangeInvisibleDuration { handle, invisible: Some(Duration::ZERO), suspend: false };
    broker.change_invisible_durations(vec![now]).await.unwrap().remove(0).unwrap();
    let again = broker.pop_messages(pop(32)).await.unwrap();
    assert_eq!(order(&again), ["a1", "a2"]);
    assert!(again.iter().all(|popped| popped.delivery_attempt == 2));
    ack(&broker, &[&again[0], &again[1]]).await;
    assert_eq!(order(&broker.pop_messages(pop(32)).await.unwrap()), ["a3"]);
}

#[tokio::test]
async fn l7_only_its_own_head_blocks_a_group_until_it_is_a_dead_letter() {
    let files = SimulatedFiles::new();
    let broker = fifo(&files);
    with_fifo_topic(&broker).await;
    let config = ConsumerGroupConfig { retry_max_times: 0, ..ConsumerGroupConfig::new(group()) };
    broker.put_consumer_group(PutConsumerGroup::new(config, PutWhen::Missing)).await.unwrap();
    send_all(&broker, &["a1", "a2", "b1"]).await;
    let popped = broker.pop_messages(pop(1)).await.unwrap();
    back(&broker, &popped[0], Duration::ZERO).await;
    let pair = (popped[0].handle.consumer_group_id, popped[0].handle.topic_id);
    broker.parts().came_back(pair);
    assert_eq!(order(&broker.pop_messages(pop(32)).await.unwrap()), ["a2", "b1"]);
    let letters = broker.query_queue_offsets(TopicName::dead_letter_queue(&group())).await.unwrap();
    assert_eq!(letters[0].max_offset, QueueOffset(1));
}

#[tokio::test]
async fn c4_a_receive_asked_again_by_its_name_gets_the_same_messages_also_after_a_kill() {
    let files = SimulatedFiles::new();
    let mut broker = fifo(&files);
    with_fifo_topic(&broker).await;
    send_all(&broker, &["a1", "a2", "b1"]).await;
    let named = |name: &str, count| PopMessages { attempt_id: Some(name.into()), ..pop(count) };
    let lost = broker.pop_messages(named("one", 2)).await.unwrap();
    assert_eq!(order(&lost), ["a1", "a2"]);
    for snapshot in [false, true] {
        if snapshot {
            broker.take_snapshot().unwrap();
        }
        drop(broker);
        broker = fifo(&files.kill());
        let again = broker.pop_messages(named("one", 2)).await.unwrap();
        assert_eq!(order(&again), ["a1", "a2"], "snapshot {snapshot}");
        assert!(again.iter().all(|popped| popped.delivery_attempt == 1), "no further delivery");
        let old = broker.ack_messages(vec![lost[0].handle.clone()]).await.unwrap().remove(0);
        assert!(matches!(old, Err(BrokerError::ReceiptSuperseded)));
    }
    let again = broker.pop_messages(named("one", 2)).await.unwrap();
    ack(&broker, &[&again[0]]).await;
    assert_eq!(order(&broker.pop_messages(named("one", 2)).await.unwrap()), ["a2"]);
    assert_eq!(order(&broker.pop_messages(named("two", 2)).await.unwrap()), ["b1"]);
}

#[tokio::test]
async fn what_a_filter_passes_over_blocks_nobody_and_stays_passed_after_a_kill() {
    let files = SimulatedFiles::new();
    let mut broker = fifo(&files);
    with_fifo_topic(&broker).await;
    for (at, (group, tag)) in [("a", "x"), ("a", "y"), ("b", "y"), ("a", "x"), ("b", "x")].into_iter().enumerate() {
        let body = format!("{group}{at}");
        let message = message(&body, &body).with_tag(tag).unwrap().with_message_group(group).unwrap();
        broker.send_messages(send(0, message)).await.unwrap();
    }
    let filtered = |count| PopMessages { filter: Filter::tags("x").unwrap(), ..pop(count) };
    let first = broker.pop_messages(filtered(1)).await.unwrap();
    assert_eq!(order(&first), ["a0"]);
    let second = broker.pop_messages(filtered(32)).await.unwrap();
    assert_eq!(order(&second), ["b4"], "b2 is not wanted, a waits");
    broker.take_snapshot().unwrap();
    drop(broker);
    broker = fifo(&files.kill());
    ack(&broker, &[&first[0]]).await;
    let third = broker.pop_messages(filtered(32)).await.unwrap();
    assert_eq!(order(&third), ["a3"]);
    ack(&broker, &[&second[0], &third[0]]).await;
    let progress = broker.query_consume_offsets(group(), topic()).await.unwrap();
    assert_eq!((progress[0].consume_offset, progress[0].in_flight), (Some(QueueOffset(5)), 0));
}

#[tokio::test]
async fn an_orderly_group_gets_a_queue_without_groups_one_batch_after_the_other() {
    let files = SimulatedFiles::new();
    let broker = fifo(&files);
    with_topic(&broker).await;
    let put = async |orderly| {
        let config = ConsumerGroupConfig { orderly, ..ConsumerGroupConfig::new(group()) };
        let known = broker.describe_consumer_group(group()).await.is_ok();
        broker
            .put_consumer_group(PutConsumerGroup::new(config, if known { PutWhen::Exists } else { PutWhen::Missing }))
            .await
            .unwrap();
    };
    put(true).await;
    for at in 0..6 {
        broker.send_messages(send(0, message(&format!("id{at}"), &format!("{at}")))).await.unwrap();
    }
    let first = broker.pop_messages(pop(2)).await.unwrap();
    assert_eq!(order(&first), ["0", "1"]);
    assert!(broker.pop_messages(pop(2)).await.unwrap().is_empty());
    ack(&broker, &[&first[0], &first[1]]).await;
    let second = broker.pop_messages(pop(2)).await.unwrap();
    assert_eq!(order(&second), ["2", "3"]);
    put(false).await;
    assert_eq!(order(&broker.pop_messages(pop(2)).await.unwrap()), ["4", "5"], "order is not kept any more");
    put(true).await;
    assert!(broker.pop_messages(pop(2)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_parked_receive_goes_on_when_its_group_may() {
    let files = SimulatedFiles::new();
    let broker = fifo(&files);
    with_fifo_topic(&broker).await;
    send_all(&broker, &["a1", "a2"]).await;
    let first = broker.pop_messages(pop(1)).await.unwrap();
    let wait = AwaitMessages {
        consumer_group: group(),
        topic: topic(),
        filter: Filter::All,
        wait: Duration::from_secs(3_600),
    };
    assert!(broker.pop_messages(pop(1)).await.unwrap().is_empty());
    let waiting = broker.await_messages(wait);
    let acking = async {
        tokio::task::yield_now().await;
        ack(&broker, &[&first[0]]).await;
    };
    let (woken, ()) = tokio::join!(waiting, acking);
    assert!(woken.unwrap());
    assert_eq!(order(&broker.pop_messages(pop(1)).await.unwrap()), ["a2"]);
}

/// Somebody waits; what then happens lets it go on.
async fn wakes(broker: &LocalBroker, happens: impl Future<Output = ()>) {
    let wait = AwaitMessages {
        consumer_group: group(),
        topic: topic(),
        filter: Filter::All,
        wait: Duration::from_secs(3_600),
    };
    assert!(broker.pop_messages(pop(32)).await.unwrap().is_empty());
    let happening = async {
        tokio::task::yield_now().await;
        happens.await;
    };
    let (woken, ()) = tokio::join!(broker.await_messages(wait), happening);
    assert!(woken.unwrap());
}

#[tokio::test]
async fn a_parked_receive_goes_on_when_the_first_of_its_group_is_given_up_or_acked_before_what_came_back() {
    let (files, hand) = (SimulatedFiles::new(), super::model::Hand::new());
    let broker = open_simulated_by(&files, Retention::default(), Box::new(hand.clone())).unwrap();
    with_fifo_topic(&broker).await;
    let config = ConsumerGroupConfig { retry_max_times: 0, ..ConsumerGroupConfig::new(group()) };
    broker.put_consumer_group(PutConsumerGroup::new(config, PutWhen::Missing)).await.unwrap();
    send_all(&broker, &["a1", "a2"]).await;
    let first = broker.pop_messages(pop(1)).await.unwrap();
    let pair = (first[0].handle.consumer_group_id, first[0].handle.topic_id);
    wakes(&broker, async {
        hand.pass_ms(61_000);
        broker.parts().came_back(pair);
    })
    .await;
    let second = broker.pop_messages(pop(1)).await.unwrap();
    assert_eq!(order(&second), ["a2"]);
    ack(&broker, &[&second[0]]).await;

    let config = ConsumerGroupConfig { retry_max_times: 16, ..ConsumerGroupConfig::new(group()) };
    broker.put_consumer_group(PutConsumerGroup::new(config, PutWhen::Exists)).await.unwrap();
    send_all(&broker, &["b1", "b2"]).await;
    let batch = broker.pop_messages(pop(2)).await.unwrap();
    hand.pass_ms(30_000);
    back(&broker, &batch[0], Duration::from_secs(60)).await;
    let head = head_handle(&broker, &batch[0]);
    hand.pass_ms(31_000);
    // The second is due, and behind the first.
    broker.parts().came_back(pair);
    let acked = async { assert!(broker.ack_messages(vec![head]).await.unwrap()[0].is_ok()) };
    wakes(&broker, acked).await;
    assert_eq!(order(&broker.pop_messages(pop(1)).await.unwrap()), ["b2"]);
}

#[tokio::test]
async fn a3_nothing_is_stored_behind_a_refused_message_of_its_group() {
    let files = SimulatedFiles::new();
    let broker = fifo(&files);
    with_fifo_topic(&broker).await;
    let one = |queue_id, id: &str, group: &str| SendMessage {
        queue_id: QueueId(queue_id),
        message: message(id, id).with_message_group(group).unwrap(),
        idempotency_key: None,
    };
    let messages = vec![one(0, "a1", "a"), one(7, "b1", "b"), one(0, "b2", "b"), one(0, "a2", "a")];
    let results = broker.send_messages(SendMessages { topic: topic(), messages }).await.unwrap();
    assert!(results[0].is_ok() && results[3].is_ok());
    assert!(matches!(
        (&results[1], &results[2]),
        (Err(BrokerError::QueueNotFound { .. }), Err(BrokerError::QueueNotFound { .. }))
    ));
    let normal = broker.send_messages(send(0, message("n", "n"))).await.unwrap().remove(0);
    assert!(matches!(normal, Err(BrokerError::MessageTypeMismatch { .. })), "a FIFO topic takes groups only");
    assert_eq!(order(&broker.pop_messages(pop(32)).await.unwrap()), ["a1", "a2"]);
}

#[tokio::test]
async fn a_mixed_topic_keeps_its_message_groups_in_order_and_lets_the_others_go() {
    let files = SimulatedFiles::new();
    let broker = fifo(&files);
    let message_type = MessageType::Mixed;
    let config = TopicConfig { read_queues: 1, write_queues: 1, message_type, ..TopicConfig::new(topic()) };
    broker.put_topic(PutTopic::new(config.clone(), PutWhen::Missing)).await.unwrap();
    send_all(&broker, &["a1", "a2"]).await;
    for body in ["x", "y", "z"] {
        broker.send_messages(send(0, message(body, body))).await.unwrap().remove(0).unwrap();
    }
    let first = broker.pop_messages(pop(1)).await.unwrap();
    assert_eq!(order(&first), ["a1"]);
    assert_eq!(order(&broker.pop_messages(pop(1)).await.unwrap()), ["x"]);
    assert_eq!(order(&broker.pop_messages(pop(1)).await.unwrap()), ["y"]);
    // From now on all that has no group is in order, too.
    let orderly = ConsumerGroupConfig { orderly: true, ..ConsumerGroupConfig::new(group()) };
    broker.put_consumer_group(PutConsumerGroup::new(orderly, PutWhen::Exists)).await.unwrap();
    assert!(broker.pop_messages(pop(32)).await.unwrap().is_empty());
    ack(&broker, &[&first[0]]).await;
    assert_eq!(order(&broker.pop_messages(pop(32)).await.unwrap()), ["a2"]);
    let more = TopicConfig { read_queues: 2, write_queues: 2, ..config };
    assert!(
        broker.put_topic(PutTopic::new(more, PutWhen::Exists)).await.is_err(),
        "message groups stay in their queue"
    );
}

#[tokio::test]
async fn c4_the_queues_of_a_fifo_topic_stay() {
    let files = SimulatedFiles::new();
    let broker = fifo(&files);
    with_fifo_topic(&broker).await;
    let config =
        TopicConfig { read_queues: 2, write_queues: 2, message_type: MessageType::Fifo, ..TopicConfig::new(topic()) };
    let refused = broker.put_topic(PutTopic::new(config, PutWhen::Exists)).await.unwrap_err();
    assert!(matches!(refused, BrokerError::InvalidParameter { name: "writeQueues", .. }));
}

#[tokio::test]
async fn c4_message_groups_go_to_other_queues_by_force_alone() {
    let broker = fifo(&SimulatedFiles::new());
    with_fifo_topic(&broker).await;
    let known = broker.describe_topic(topic()).await.unwrap();
    let wider = TopicConfig { read_queues: 4, write_queues: 4, ..known.config.clone() };
    let error = broker.put_topic(PutTopic::new(wider.clone(), PutWhen::Exists)).await.unwrap_err();
    assert!(
        matches!(&error, BrokerError::InvalidParameter { name: "writeQueues", reason } if reason.contains("force"))
    );
    assert_eq!(broker.describe_topic(topic()).await.unwrap(), known);
    let (forced, created) =
        broker.put_topic(PutTopic { force: true, ..PutTopic::new(wider.clone(), PutWhen::Exists) }).await.unwrap();
    assert_eq!((forced.config, created), (wider.clone(), false));
    // Where nothing moves, a put needs no force.
    broker.put_topic(PutTopic::new(TopicConfig { read_queues: 8, ..wider.clone() }, PutWhen::Exists)).await.unwrap();
    // Force allows this and nothing else.
    let narrower = TopicConfig { read_queues: 1, write_queues: 1, ..wider };
    assert!(broker.put_topic(PutTopic { force: true, ..PutTopic::new(narrower, PutWhen::Exists) }).await.is_err());
}

#[tokio::test]
async fn what_is_in_flight_is_told_by_place_attempt_and_time() {
    let broker = fifo(&SimulatedFiles::new());
    with_fifo_topic(&broker).await;
    send_all(&broker, &["a1", "b1", "c1", "d1"]).await;
    let popped = broker.pop_messages(pop(3)).await.unwrap();
    back(&broker, &popped[0], Duration::ZERO).await;
    let again = broker.pop_messages(pop(1)).await.unwrap();
    assert_eq!(order(&again), ["a1"]);
    back(&broker, &popped[1], Duration::ZERO).await;
    let list = |after, messages_max| ListInFlight { consumer_group: group(), topic: topic(), after, messages_max };
    let told = |found: Vec<InFlight>| -> Vec<_> {
        let tell = |one: InFlight| (one.queue_offset.0, one.delivery_attempt, one.came_back, one.message.is_some());
        found.into_iter().map(tell).collect()
    };
    let found = broker.list_in_flight(list(None, 10)).await.unwrap();
    assert_eq!(found[0].invisible_until, again[0].invisible_until);
    assert_eq!(told(found), [(0, 2, false, true), (1, 1, true, true), (2, 1, false, true)]);
    let at = Some((QueueId(0), QueueOffset(0)));
    assert_eq!(told(broker.list_in_flight(list(at, 1)).await.unwrap()), [(1, 1, true, true)]);
    assert!(broker.list_in_flight(list(Some((QueueId(0), QueueOffset(2))), 10)).await.unwrap().is_empty());
    let progress = broker.query_consume_offsets(group(), topic()).await.unwrap().remove(0);
    let soonest = popped[2].invisible_until.min(again[0].invisible_until);
    assert_eq!((progress.in_flight, progress.redelivered, progress.attempt_max), (3, 1, 2));
    assert_eq!((progress.next_visible, progress.stands_still), (Some(soonest), false));
    ack(&broker, &[&again[0], &popped[2]]).await;
    assert_eq!(told(broker.list_in_flight(list(None, 10)).await.unwrap()), [(1, 1, true, true)]);
}
