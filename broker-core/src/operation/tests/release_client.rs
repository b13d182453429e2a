//! Consumers that keep what they took while they live: seen, silent, gone, and after a start.

use super::model::Hand;
use super::*;
use crate::delivery::clients::ClientId;
use crate::operation::release_client::release_lost_clients;

fn held_by(client: &str, messages_max: u32) -> PopMessages {
    PopMessages { lease: LeaseLength::WhileSeen(ClientId::of(client)), ..pop(messages_max) }
}

fn opened(files: &SimulatedFiles, hand: &Hand) -> LocalBroker {
    open_simulated_by(files, Retention::default(), Box::new(hand.clone())).unwrap()
}

async fn filled(files: &SimulatedFiles, hand: &Hand, count: u32) -> LocalBroker {
    let broker = opened(files, hand);
    with_topic(&broker).await;
    for at in 0..count {
        broker.send_messages(send(at % 2, message(&format!("id{at}"), &at.to_string()))).await.unwrap();
    }
    broker
}

fn pass(broker: &LocalBroker, hand: &Hand, seconds: i64) {
    hand.pass_ms(seconds * 1_000);
    release_lost_clients(broker.parts()).unwrap();
}

#[tokio::test]
async fn c5_a_consumer_that_is_heard_of_keeps_what_it_took_for_three_hours() {
    let (files, hand) = (SimulatedFiles::new(), Hand::new());
    let broker = filled(&files, &hand, 2).await;
    let held = broker.pop_messages(held_by("one", 2)).await.unwrap();
    assert_eq!(bodies(&held), ["0", "1"]);
    let logged = broker.parts().store.confirm_offset();
    for _ in 0..107 {
        pass(&broker, &hand, 100);
        broker.clients_seen(vec![ClientId::of("one"), ClientId::of("stranger")]).await.unwrap();
        assert!(broker.pop_messages(held_by("two", 2)).await.unwrap().is_empty());
    }
    assert_eq!(broker.parts().store.confirm_offset(), logged, "a life sign is no record");
    assert!(broker.ack_messages(vec![held[0].handle.clone()]).await.unwrap()[0].is_ok(), "with its first handle");
    pass(&broker, &hand, 101);
    assert_eq!(bodies(&broker.pop_messages(held_by("two", 2)).await.unwrap()), ["1"]);
}

#[tokio::test]
async fn c5_silence_and_a_goodbye_bring_back_what_that_consumer_held_alone() {
    let (files, hand) = (SimulatedFiles::new(), Hand::new());
    let broker = filled(&files, &hand, 6).await;
    let silent = broker.pop_messages(held_by("silent", 2)).await.unwrap();
    broker.pop_messages(held_by("polite", 2)).await.unwrap();
    broker.pop_messages(held_by("busy", 2)).await.unwrap();
    broker.release_client(ClientId::of("polite")).await.unwrap();
    assert!(broker.pop_messages(pop(6)).await.unwrap().is_empty(), "a moment later");
    pass(&broker, &hand, 1);
    let back = broker.pop_messages(pop(6)).await.unwrap();
    assert_eq!((back.len(), back[0].delivery_attempt), (2, 2));
    broker.ack_messages(back.iter().map(|popped| popped.handle.clone()).collect()).await.unwrap();

    pass(&broker, &hand, 100);
    broker.clients_seen(vec![ClientId::of("busy")]).await.unwrap();
    pass(&broker, &hand, 20);
    // It was only slow: until somebody else has it, its handle counts.
    assert!(broker.ack_messages(vec![silent[0].handle.clone()]).await.unwrap()[0].is_ok());
    pass(&broker, &hand, 1);
    assert_eq!(bodies(&broker.pop_messages(pop(6)).await.unwrap()), bodies(&silent[1..]));
}

#[tokio::test]
async fn c5_after_a_start_everybody_counts_as_seen_for_a_minute() {
    let (files, hand) = (SimulatedFiles::new(), Hand::new());
    for snapshot in [false, true] {
        let files = if snapshot { SimulatedFiles::new() } else { files.clone() };
        let broker = filled(&files, &hand, 2).await;
        let held = broker.pop_messages(held_by("one", 1)).await.unwrap();
        broker.pop_messages(held_by("two", 1)).await.unwrap();
        pass(&broker, &hand, 110);
        if snapshot {
            broker.take_snapshot().unwrap();
        }
        let files = files.kill();
        drop(broker);
        let broker = opened(&files, &hand);
        pass(&broker, &hand, 59);
        broker.clients_seen(vec![ClientId::of("one")]).await.unwrap();
        assert!(broker.pop_messages(pop(2)).await.unwrap().is_empty());
        pass(&broker, &hand, 1);
        pass(&broker, &hand, 1);
        assert_eq!(broker.pop_messages(pop(2)).await.unwrap().len(), 1, "what the other one held");
        let acked = broker.ack_messages(vec![held[0].handle.clone()]).await.unwrap();
        assert!(acked[0].is_ok());
    }
}
