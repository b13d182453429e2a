//! Giving messages up, by whoever wants it; and what a kill between two records makes of it.

use super::*;
use crate::store::index_file::IndexLayout;
use crate::store::offline::verify::{VerifyOptions, verify};

fn dead_letters() -> TopicName {
    TopicName::dead_letter_queue(&group())
}

async fn give_up(broker: &LocalBroker, handle: ReceiptHandle, reason: Option<&str>) -> Result<TopicName, BrokerError> {
    let reason = reason.map(|reason| DeadLetterReason::new(reason).unwrap());
    let forwards = vec![ForwardToDeadLetterQueue { handle, reason }];
    broker.forward_messages_to_dead_letter_queue(forwards).await.unwrap().remove(0)
}

async fn given_up(broker: &LocalBroker) -> Vec<crate::message::StoredMessage> {
    let pull = PullMessages {
        topic: dead_letters(),
        queue_id: QueueId(0),
        offset: QueueOffset(0),
        messages_max: 100,
        bytes_max: 1 << 20,
    };
    broker.pull_messages(pull).await.unwrap().messages
}

async fn with_retries(broker: &LocalBroker, retry_max_times: u32) {
    let config = ConsumerGroupConfig {
        retry_max_times,
        retry_policy: RetryPolicy::Customized(vec![Duration::ZERO]),
        ..ConsumerGroupConfig::new(group())
    };
    let known = broker.describe_consumer_group(group()).await.is_ok();
    broker
        .put_consumer_group(PutConsumerGroup::new(config, if known { PutWhen::Exists } else { PutWhen::Missing }))
        .await
        .unwrap();
}

async fn nack(broker: &LocalBroker, handle: ReceiptHandle) {
    let back = ChangeInvisibleDuration { handle, invisible: None, suspend: false };
    broker.change_invisible_durations(vec![back]).await.unwrap().remove(0).unwrap();
}

#[tokio::test]
async fn l8_a_dead_letter_is_at_one_place_and_says_where_it_was() {
    let files = SimulatedFiles::new();
    let broker = open_simulated(&files, Retention::default()).unwrap();
    with_topic(&broker).await;
    let tagged = message("a", "body").with_tag("paid").unwrap().with_properties([("Region", "eu")]).unwrap();
    let sent = broker.send_messages(send(1, tagged)).await.unwrap().remove(0).unwrap();
    let popped = broker.pop_messages(pop(1)).await.unwrap().remove(0);
    assert_eq!(give_up(&broker, popped.handle.clone(), Some("no such account")).await.unwrap(), dead_letters());
    assert_eq!(give_up(&broker, popped.handle.clone(), None).await.unwrap(), dead_letters(), "given up twice is fine");
    for restart in 0..3 {
        let reopened = match restart {
            0 => None,
            1 => Some(open_simulated(&files.kill(), Retention::default()).unwrap()),
            _ => {
                broker.take_snapshot().unwrap();
                Some(open_simulated(&files.kill(), Retention::default()).unwrap())
            }
        };
        let broker = reopened.as_ref().unwrap_or(&broker);
        let letters = given_up(broker).await;
        assert_eq!(letters.len(), 1, "restart {restart}");
        let letter = &letters[0];
        assert_eq!((&letter.body[..], letter.tag(), letter.unique_key()), (&b"body"[..], Some("paid"), Some("a")));
        assert_eq!(letter.reconsume_times, 1);
        assert_eq!(letter.born_timestamp, Timestamp(1));
        for (name, value) in [
            ("RETRY_TOPIC", "orders"),
            ("ORIGIN_MESSAGE_ID", &sent.offset_message_id()),
            ("DLQ_ORIGIN_TOPIC", "orders"),
            ("DLQ_ORIGIN_MESSAGE_ID", "a"),
            ("__GANTRY_REASON", "no such account"),
            ("Region", "eu"),
        ] {
            assert_eq!(letter.property(name), Some(value));
        }
        assert!(letter.properties.starts_with(b"__GANTRY_SOURCE\x01lease "));
        let progress = broker.query_consume_offsets(group(), topic()).await.unwrap();
        assert_eq!((progress[1].consume_offset, progress[1].in_flight), (Some(QueueOffset(1)), 0));
        assert!(broker.ack_messages(vec![popped.handle.clone()]).await.unwrap()[0].is_ok(), "settled");
    }
    broker.close().unwrap();
    drop(broker);
    let options = VerifyOptions { live: false, index_layout: IndexLayout::default() };
    let report = verify(&files, std::path::Path::new("/data"), options, &mut |_| {}).unwrap();
    assert!(report.is_well(), "{:#?}", report.problems);
}

#[tokio::test]
async fn l8_killed_anywhere_a_message_is_owed_or_a_dead_letter_and_never_both() {
    let files = SimulatedFiles::new();
    let broker = open_simulated(&files, Retention::default()).unwrap();
    with_topic(&broker).await;
    for at in 0..4 {
        broker.send_messages(send(0, message(&format!("id{at}"), "body"))).await.unwrap();
    }
    let popped = broker.pop_messages(pop(4)).await.unwrap();
    let mut ends = vec![broker.parts().store.max_offset()];
    for popped in &popped {
        give_up(&broker, popped.handle.clone(), None).await.unwrap();
        ends.push(broker.parts().store.max_offset());
    }
    drop(broker);
    // The log as it would be if the machine had stopped right behind each of these records.
    for (letters, end) in ends.into_iter().enumerate() {
        let files = files.kill();
        let cut = crate::store::repair::cut(Arc::new(files.clone()), std::path::Path::new("/data"), end);
        let cut = cut.unwrap_or_else(|error| panic!("{letters}: {error}"));
        assert_eq!(cut.end, end);
        let broker = open_simulated(&files, Retention::default()).unwrap();
        let stored = if letters == 0 { 0 } else { given_up(&broker).await.len() };
        assert_eq!(stored, letters);
        let progress = broker.query_consume_offsets(group(), topic()).await.unwrap();
        assert_eq!(progress[0].in_flight, 4 - letters as u64);
    }
}

#[tokio::test]
async fn l7_after_its_last_delivery_a_message_is_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    with_retries(&broker, 1).await;
    broker.send_messages(send(0, message("a", "a"))).await.unwrap();
    for attempt in 1..=2 {
        let popped = broker.pop_messages(pop(1)).await.unwrap().remove(0);
        assert_eq!(popped.delivery_attempt, attempt);
        nack(&broker, popped.handle).await;
    }
    assert!(broker.pop_messages(pop(1)).await.unwrap().is_empty(), "two deliveries, no third");
    broker.parts().came_back(pair(&broker));
    let letters = given_up(&broker).await;
    assert_eq!((letters.len(), letters[0].reconsume_times), (1, 2));
    let progress = broker.query_consume_offsets(group(), topic()).await.unwrap();
    assert_eq!((progress[0].consume_offset, progress[0].in_flight), (Some(QueueOffset(1)), 0));
    broker.close().unwrap();
}

#[tokio::test]
async fn without_end_means_without_a_dead_letter_and_fewer_retries_count_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    with_retries(&broker, RETRY_WITHOUT_END).await;
    broker.send_messages(send(0, message("a", "a"))).await.unwrap();
    for attempt in 1..=40 {
        let popped = broker.pop_messages(pop(1)).await.unwrap().remove(0);
        assert_eq!(popped.delivery_attempt, attempt);
        nack(&broker, popped.handle).await;
    }
    assert!(broker.describe_topic(dead_letters()).await.is_err());
    with_retries(&broker, 39).await;
    assert!(broker.pop_messages(pop(1)).await.unwrap().is_empty());
    broker.parts().came_back(pair(&broker));
    assert_eq!(given_up(&broker).await.len(), 1);
    broker.close().unwrap();
}

#[tokio::test]
async fn a_group_that_consumes_its_own_dead_letters_moves_them_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    with_retries(&broker, 0).await;
    broker.send_messages(send(0, message("a", "a"))).await.unwrap();
    let popped = broker.pop_messages(pop(1)).await.unwrap().remove(0);
    give_up(&broker, popped.handle, None).await.unwrap();
    for attempt in 1..=3 {
        let letters = broker.pop_messages(PopMessages { topic: dead_letters(), ..pop(1) }).await.unwrap();
        assert_eq!(letters[0].delivery_attempt, attempt);
        nack(&broker, letters[0].handle.clone()).await;
    }
    assert_eq!(given_up(&broker).await.len(), 1);
    broker.close().unwrap();
}

#[tokio::test]
async fn a_handle_that_speaks_for_nothing_moves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = open(dir.path());
    with_topic(&broker).await;
    broker.send_messages(send(0, message("a", "a"))).await.unwrap();
    let popped = broker.pop_messages(pop(1)).await.unwrap().remove(0);
    nack(&broker, popped.handle.clone()).await;
    let superseded = give_up(&broker, popped.handle.clone(), None).await;
    assert!(matches!(superseded, Err(BrokerError::ReceiptSuperseded)));
    let other = ReceiptHandle { broker_name: crate::names::BrokerName::new("other").unwrap(), ..popped.handle.clone() };
    assert!(matches!(give_up(&broker, other, None).await, Err(BrokerError::InvalidReceiptHandle)));
    assert!(broker.describe_topic(dead_letters()).await.is_err(), "not even its topic");
    assert!(DeadLetterReason::new("a\u{1}").is_err() && DeadLetterReason::new(&"r".repeat(1_025)).is_err());
    broker.close().unwrap();
}

fn pair(broker: &LocalBroker) -> (u32, u32) {
    let tables = broker.parts().tables();
    (tables.consumer_group(&group()).unwrap().consumer_group_id, tables.topic(&topic()).unwrap().topic_id)
}
