//! Moving groups by hand.

use super::*;

async fn filled(broker: &LocalBroker) {
    with_topic(broker).await;
    for at in 0..4 {
        broker.send_messages(send(0, message(&format!("id{at}"), &format!("{at}")))).await.unwrap();
    }
}

fn reset(to: ResetTo) -> ResetOffsets {
    ResetOffsets {
        consumer_group: group(),
        topic: topic(),
        to,
        queues: Some(vec![QueueId(0)]),
        force: false,
        dry_run: false,
    }
}

fn moved(from: Option<u64>, to: u64) -> Vec<OffsetReset> {
    vec![OffsetReset { queue_id: QueueId(0), from: from.map(QueueOffset), to: QueueOffset(to) }]
}

async fn ack(broker: &LocalBroker, popped: &[PoppedMessage]) -> Vec<Result<(), BrokerError>> {
    broker.ack_messages(popped.iter().map(|popped| popped.handle.clone()).collect()).await.unwrap()
}

#[tokio::test]
async fn a_group_goes_back_and_ahead_and_stays_there_after_a_kill() {
    let files = SimulatedFiles::new();
    let mut broker = open_simulated(&files, Retention::default()).unwrap();
    filled(&broker).await;
    let popped = broker.pop_messages(pop(4)).await.unwrap();
    assert!(ack(&broker, &popped).await.iter().all(Result::is_ok));
    let dry = ResetOffsets { dry_run: true, ..reset(ResetTo::Offset(QueueOffset(1))) };
    assert_eq!(broker.reset_offsets(dry).await.unwrap(), moved(Some(4), 1));
    assert!(broker.pop_messages(pop(4)).await.unwrap().is_empty(), "a dry run moves nothing");
    assert_eq!(broker.reset_offsets(reset(ResetTo::Offset(QueueOffset(1)))).await.unwrap(), moved(Some(4), 1));
    drop(broker);
    broker = open_simulated(&files.kill(), Retention::default()).unwrap();
    let again = broker.pop_messages(pop(4)).await.unwrap();
    assert_eq!(bodies(&again), ["1", "2", "3"]);
    // The group holds messages now: it consumes.
    let refused = broker.reset_offsets(reset(ResetTo::Max)).await.unwrap_err();
    assert!(matches!(refused, BrokerError::GroupOnline { .. }));
    let force = ResetOffsets { force: true, ..reset(ResetTo::Min) };
    assert_eq!(broker.reset_offsets(force).await.unwrap(), moved(Some(1), 0));
    assert!(matches!(ack(&broker, &again[..1]).await[0], Err(BrokerError::ReceiptSuperseded)), "a handle of before");
    assert_eq!(broker.reset_offsets(reset(ResetTo::Max)).await.unwrap(), moved(Some(0), 4));
    assert!(broker.pop_messages(pop(4)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_time_and_another_group_are_places_to_go_to() {
    let files = SimulatedFiles::new();
    let broker = open_simulated(&files, Retention::default()).unwrap();
    filled(&broker).await;
    let other = ConsumerGroup::from_client("shipping").unwrap();
    let popped = broker.pop_messages(PopMessages { consumer_group: other.clone(), ..pop(3) }).await.unwrap();
    assert!(ack(&broker, &popped).await.iter().all(Result::is_ok));
    broker
        .put_consumer_group(PutConsumerGroup::new(ConsumerGroupConfig::new(group()), PutWhen::Missing))
        .await
        .unwrap();
    assert_eq!(broker.reset_offsets(reset(ResetTo::Group(other.clone()))).await.unwrap(), moved(None, 3));
    assert_eq!(bodies(&broker.pop_messages(pop(4)).await.unwrap()), ["3"]);
    let all = |to| ResetOffsets { queues: None, force: true, dry_run: true, ..reset(to) };
    let past = broker.reset_offsets(all(ResetTo::Time(Timestamp(0)))).await.unwrap();
    assert_eq!(past.iter().map(|reset| reset.to.0).collect::<Vec<_>>(), [0, 0]);
    let future = broker.reset_offsets(all(ResetTo::Time(Timestamp(i64::MAX)))).await.unwrap();
    assert_eq!(future.iter().map(|reset| reset.to.0).collect::<Vec<_>>(), [4, 0]);
}

#[tokio::test]
async fn what_is_no_place_moves_nothing() {
    let files = SimulatedFiles::new();
    let broker = open_simulated(&files, Retention::default()).unwrap();
    filled(&broker).await;
    let refused = async |reset| broker.reset_offsets(reset).await.unwrap_err();
    assert!(matches!(refused(reset(ResetTo::Min)).await, BrokerError::ConsumerGroupNotFound { .. }));
    broker
        .put_consumer_group(PutConsumerGroup::new(ConsumerGroupConfig::new(group()), PutWhen::Missing))
        .await
        .unwrap();
    let gone = TopicName::from_client("gone").unwrap();
    assert!(matches!(
        refused(ResetOffsets { topic: gone, ..reset(ResetTo::Min) }).await,
        BrokerError::TopicNotFound { .. }
    ));
    assert!(matches!(
        refused(ResetOffsets { queues: Some(vec![QueueId(9)]), ..reset(ResetTo::Min) }).await,
        BrokerError::QueueNotFound { .. }
    ));
    let nobody = ConsumerGroup::from_client("nobody").unwrap();
    assert!(matches!(refused(reset(ResetTo::Group(nobody))).await, BrokerError::ConsumerGroupNotFound { .. }));
    assert!(matches!(refused(reset(ResetTo::Offset(QueueOffset(5)))).await, BrokerError::InvalidOffset { .. }));
    let progress = broker.query_consume_offsets(group(), topic()).await.unwrap();
    assert!(progress.iter().all(|queue| queue.consume_offset.is_none()));
}

#[tokio::test]
async fn lag_counts_what_is_not_acked_and_not_what_was_acked_out_of_order() {
    let files = SimulatedFiles::new();
    let broker = open_simulated(&files, Retention::default()).unwrap();
    filled(&broker).await;
    let figures = async || {
        let queue = broker.query_consume_offsets(group(), topic()).await.unwrap().remove(0);
        (queue.lag(), queue.ready, queue.in_flight, queue.consume_offset.map(|offset| offset.0))
    };
    broker
        .put_consumer_group(PutConsumerGroup::new(ConsumerGroupConfig::new(group()), PutWhen::Missing))
        .await
        .unwrap();
    assert_eq!(figures().await, (4, 4, 0, None));
    let popped = broker.pop_messages(pop(3)).await.unwrap();
    assert_eq!(figures().await, (4, 1, 3, Some(0)));
    ack(&broker, &popped[1..]).await;
    assert_eq!(figures().await, (2, 1, 1, Some(0)), "one in flight and one that nobody has taken");
    ack(&broker, &popped[..1]).await;
    assert_eq!(figures().await, (1, 1, 0, Some(3)));
}

#[tokio::test]
async fn lag_counts_what_waits_for_its_message_group() {
    let files = SimulatedFiles::new();
    let broker = open_simulated(&files, Retention::default()).unwrap();
    let config = TopicConfig { message_type: MessageType::Fifo, read_queues: 1, ..TopicConfig::new(topic()) };
    broker.put_topic(PutTopic::new(TopicConfig { write_queues: 1, ..config }, PutWhen::Missing)).await.unwrap();
    for (id, message_group) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")] {
        let message = message(id, id).with_message_group(message_group).unwrap();
        broker.send_messages(send(0, message)).await.unwrap().remove(0).unwrap();
    }
    let figures = async || {
        let queue = broker.query_consume_offsets(group(), topic()).await.unwrap().remove(0);
        (queue.lag(), queue.ready, queue.in_flight)
    };
    let popped = broker.pop_messages(pop(1)).await.unwrap();
    let passed = broker.pop_messages(pop(2)).await.unwrap();
    assert_eq!((bodies(&popped), bodies(&passed)), (vec!["a1"], vec!["b1", "c1"]));
    assert_eq!(figures().await, (4, 1, 3), "a2 alone waits");
    ack(&broker, &passed).await;
    assert_eq!(figures().await, (2, 1, 1));
    ack(&broker, &popped).await;
    assert_eq!(figures().await, (1, 1, 0));
}
