//! Who is woken: whoever a message can serve, and nobody else.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::delayed::{Hands, after, delayed, open_at, with_delay_topic};
use super::*;
use crate::message::MessageType;
use crate::operation::fire_messages::fire_due;

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Wait<'a> = Pin<Box<dyn Future<Output = Result<bool, BrokerError>> + Send + 'a>>;

/// Receives that wait, each polled once: what wakes any of them is counted.
struct Parked<'a> {
    waits: Vec<Wait<'a>>,
    wakes: Arc<Wakes>,
}

impl<'a> Parked<'a> {
    fn new() -> Parked<'a> {
        Parked { waits: Vec::new(), wakes: Arc::default() }
    }

    fn park(&mut self, broker: &'a LocalBroker, wait: AwaitMessages) {
        let mut wait = broker.await_messages(wait);
        let waker = Waker::from(self.wakes.clone());
        match wait.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => self.waits.push(wait),
            Poll::Ready(ready) => panic!("it does not wait: {ready:?}"),
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    /// Which of them go on when they are asked now.
    fn ready(&mut self) -> Vec<usize> {
        let waker = Waker::from(self.wakes.clone());
        let mut context = Context::from_waker(&waker);
        let mut is_ready = |wait: &mut Wait<'a>| Future::poll(wait.as_mut(), &mut context).is_ready();
        let ready = self.waits.iter_mut().enumerate().filter_map(|(at, wait)| is_ready(wait).then_some(at));
        ready.collect()
    }
}

fn waiting(filter: &str) -> AwaitMessages {
    let filter = match filter.strip_prefix("sql ") {
        Some(expression) => Filter::sql(expression).unwrap(),
        None => Filter::tags(filter).unwrap(),
    };
    AwaitMessages { consumer_group: group(), topic: topic(), filter, wait: Duration::from_secs(3_600) }
}

async fn send_one(broker: &LocalBroker, message: Message) {
    broker.send_messages(send(0, message)).await.unwrap().remove(0).unwrap();
}

fn tagged(tag: &str) -> Message {
    message(tag, tag).with_tag(tag).unwrap()
}

fn lane(message_group: &str) -> Message {
    message(message_group, message_group).with_message_group(message_group).unwrap()
}

#[tokio::test]
async fn a_hundred_thousand_wait_and_each_message_wakes_one() {
    const WAITERS: usize = 100_000;
    const MESSAGES: usize = 1_000;
    let files = SimulatedFiles::new();
    let broker = open_at(&files, &Hands::new());
    with_topic(&broker).await;
    assert!(broker.pop_messages(pop(1)).await.unwrap().is_empty());
    let mut parked = Parked::new();
    (0..WAITERS).for_each(|_| parked.park(&broker, waiting("*")));
    let refused = broker.await_messages(waiting("*")).await;
    assert!(matches!(refused, Err(BrokerError::Overloaded { .. })));
    for at in 0..MESSAGES {
        send_one(&broker, message(&format!("{at}"), "body")).await;
        assert_eq!(parked.wakes(), at + 1);
    }
    assert_eq!(broker.parts().long_polling.len(), WAITERS - MESSAGES);
    broker.drain();
    assert_eq!(parked.ready().len(), WAITERS);
    drop(parked);
    assert!(broker.parts().long_polling.is_empty());
}

#[tokio::test]
async fn a_message_that_no_filter_wants_wakes_nobody() {
    let files = SimulatedFiles::new();
    let broker = open_at(&files, &Hands::new());
    with_topic(&broker).await;
    assert!(broker.pop_messages(pop(1)).await.unwrap().is_empty());
    let mut parked = Parked::new();
    for filter in ["paid", "sql amount > 100", "paid || open", "sql TAGS = 'new'"] {
        parked.park(&broker, waiting(filter));
    }
    send_one(&broker, tagged("refunded")).await;
    send_one(&broker, message("plain", "body")).await;
    send_one(&broker, message("small", "body").with_properties([("amount", "100")]).unwrap()).await;
    assert_eq!(parked.wakes(), 0);
    send_one(&broker, message("large", "body").with_properties([("amount", "101")]).unwrap()).await;
    assert_eq!((parked.wakes(), parked.ready()), (1, vec![1]));
    drop(parked.waits.remove(1));
    send_one(&broker, tagged("open")).await;
    assert_eq!((parked.wakes(), parked.ready()), (2, vec![1]));
    drop(parked.waits.remove(1));
    send_one(&broker, tagged("open")).await;
    assert_eq!(parked.wakes(), 2);
    send_one(&broker, tagged("paid")).await;
    send_one(&broker, tagged("new")).await;
    assert_eq!((parked.wakes(), parked.ready()), (4, vec![0, 1]));
}

#[tokio::test]
async fn c4_a_message_of_a_lane_in_flight_wakes_nobody_until_the_lane_goes_on() {
    let files = SimulatedFiles::new();
    let broker = open_at(&files, &Hands::new());
    let config =
        TopicConfig { message_type: MessageType::Fifo, read_queues: 2, write_queues: 2, ..TopicConfig::new(topic()) };
    broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
    send_one(&broker, lane("a")).await;
    let first = broker.pop_messages(pop(1)).await.unwrap().remove(0);
    let mut parked = Parked::new();
    (0..4).for_each(|_| parked.park(&broker, waiting("*")));
    send_one(&broker, lane("a")).await;
    send_one(&broker, lane("a")).await;
    assert_eq!(parked.wakes(), 0);
    send_one(&broker, lane("b")).await;
    assert_eq!((parked.wakes(), parked.ready()), (1, vec![0]));
    drop(parked.waits.remove(0));
    let other = broker.pop_messages(pop(1)).await.unwrap().remove(0);
    assert_eq!(other.message.body, "b");
    send_one(&broker, lane("b")).await;
    assert_eq!(parked.wakes(), 1);
    // Both that wait of the lane can be had now.
    broker.ack_messages(vec![first.handle]).await.unwrap().remove(0).unwrap();
    assert_eq!((parked.wakes(), parked.ready()), (3, vec![0, 1]));
    assert_eq!(broker.pop_messages(pop(32)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_comes_back_wakes_as_many_as_come_back() {
    let files = SimulatedFiles::new();
    let broker = open_at(&files, &Hands::new());
    with_topic(&broker).await;
    for at in 0..3 {
        send_one(&broker, message(&format!("{at}"), "body")).await;
    }
    let popped = broker.pop_messages(pop(3)).await.unwrap();
    let mut parked = Parked::new();
    (0..4).for_each(|_| parked.park(&broker, waiting("*")));
    let back = |at: usize| ChangeInvisibleDuration {
        handle: popped[at].handle.clone(),
        invisible: Some(Duration::ZERO),
        suspend: false,
    };
    broker.change_invisible_durations(vec![back(0)]).await.unwrap();
    assert_eq!((parked.wakes(), parked.ready()), (1, vec![0]));
    drop(parked.waits.remove(0));
    assert_eq!(broker.pop_messages(pop(1)).await.unwrap().len(), 1);
    broker.change_invisible_durations(vec![back(1), back(2)]).await.unwrap();
    assert_eq!((parked.wakes(), parked.ready()), (3, vec![0, 1]));
}

#[tokio::test]
async fn a_delayed_message_wakes_one_when_it_fires() {
    let files = SimulatedFiles::new();
    let hands = Hands::new();
    let broker = open_at(&files, &hands);
    with_delay_topic(&broker).await;
    assert!(broker.pop_messages(pop(1)).await.unwrap().is_empty());
    let mut parked = Parked::new();
    (0..3).for_each(|_| parked.park(&broker, waiting("paid")));
    for tag in ["paid", "open"] {
        send_one(&broker, delayed(tag, after(1_000)).with_tag(tag).unwrap()).await;
    }
    assert_eq!(parked.wakes(), 0);
    hands.pass(2_000);
    fire_due(broker.parts()).unwrap();
    assert_eq!((parked.wakes(), parked.ready()), (1, vec![0]));
}

#[tokio::test]
async fn a_topic_made_again_serves_whoever_waits_anew() {
    let files = SimulatedFiles::new();
    let broker = open_at(&files, &Hands::new());
    with_topic(&broker).await;
    assert!(broker.pop_messages(pop(1)).await.unwrap().is_empty());
    let mut parked = Parked::new();
    parked.park(&broker, waiting("*"));
    broker.delete_topic(topic()).await.unwrap();
    assert_eq!((parked.wakes(), parked.ready()), (1, vec![0]));
    assert!(matches!(broker.await_messages(waiting("*")).await, Err(BrokerError::TopicNotFound { .. })));
}
