//! Apache RocketMQ's own broker and Gantry take turns on one directory, and each reads what the other wrote.
//!
//! Needs Java 17 and Maven, whose registry has the jars (91 MB, fetched once per machine). Where they
//! are missing the test says so and passes. `apache/Peer.java` is the other side.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry_broker_core::BrokerConfig;
use gantry_broker_core::broker::*;
use gantry_broker_core::clock::{Clock, SystemClock, Timestamp};
use gantry_broker_core::config::{Durability, Retention, TransactionRules};
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::local_broker::{LocalBroker, Surroundings};
use gantry_broker_core::message::{Delivery, Message, MessageType, Transaction};
use gantry_broker_core::names::{ConsumerGroup, ProducerGroup, TopicName};
use gantry_broker_core::offset::{QueueId, QueueOffset};
use gantry_broker_core::random::SystemRandom;
use gantry_broker_core::store::disk_files::DiskFiles;
use harness::apache::Apache;

/// What a client sees of a message: place, time of storing, tag, keys, body in hex.
type Seen = (u64, i64, String, String, String);

/// What one side says of a store.
#[derive(Debug, Default, PartialEq)]
struct Said {
    /// By topic, queue, offset.
    messages: BTreeMap<(String, u32, u64), Seen>,
    /// By group, topic, queue.
    committed: BTreeMap<(String, String, u32), u64>,
    /// The transactions that Apache asked about.
    checked: Vec<String>,
    /// The offsets that its pop got.
    popped: Vec<u64>,
}

struct Peer {
    apache: Apache,
}

impl Peer {
    /// `None` where there is no Java or no Maven.
    fn build() -> Option<Peer> {
        // One after the other: what two tests compile lies in one place.
        static BUILDING: Mutex<()> = Mutex::new(());
        let _one = BUILDING.lock().unwrap();
        let apache = match Apache::build(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("apache")) {
            Ok(apache) => apache,
            Err(needs) if needs.starts_with("needs ") => {
                println!("not run: {needs}");
                return None;
            }
            Err(failure) => panic!("{failure}"),
        };
        apache.compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/apache/Peer.java")).unwrap();
        Some(Peer { apache })
    }

    /// Apache's broker on the directory, for one phase, which ends with its clean stop.
    fn turn(&self, phase: &[&str], store: &Path) -> Said {
        let home = store.parent().unwrap();
        let mut java = Command::new("java");
        java.args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", &self.apache.class_path()]);
        java.arg(format!("-Duser.home={}", home.display())).arg("Peer").arg(phase[0]).arg(store);
        java.args(&phase[1..]).current_dir(home);
        let said = run(java);
        assert!(said.lines().any(|line| line == "stopped"), "{said}");
        let mut all = Said::default();
        for line in said.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["message", topic, queue, offset, place, stored, tag, keys, body] => {
                    let key = (topic.into(), queue.parse().unwrap(), offset.parse().unwrap());
                    let (place, stored) = (place.parse().unwrap(), stored.parse().unwrap());
                    all.messages.insert(key, (place, stored, tag.into(), keys.into(), body.into()));
                }
                ["committed", group, topic, queue, offset] => {
                    all.committed.insert((group.into(), topic.into(), queue.parse().unwrap()), offset.parse().unwrap());
                }
                ["popped", offset] => all.popped.push(offset.parse().unwrap()),
                ["checked", ..] => all.checked.push(line["checked ".len()..].to_string()),
                _ => {}
            }
        }
        all
    }
}

/// What the program said on stdout. It must end well.
fn run(mut command: Command) -> String {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text).unwrap_or_default()
    });
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let status = child.wait().unwrap();
    let complaints = complaints.join().unwrap();
    assert!(status.success(), "{command:?}: {status}\n{complaints}\n{}", &said[said.len().saturating_sub(2_000)..]);
    said
}

fn open(data: &Path) -> LocalBroker {
    open_by(data, Box::new(SystemClock))
}

fn open_by(data: &Path, clock: Box<dyn Clock>) -> LocalBroker {
    // Apache's segments are as long; and nothing is old after some days.
    let retention = Retention { file_reserved_time: Duration::from_secs(30 * 86_400), ..Retention::default() };
    // However often Apache has asked on a slow machine: what stays open is not given up.
    let transactions = TransactionRules { check_max: 10_000, ..TransactionRules::default() };
    let config = BrokerConfig {
        durability: Durability::Memory,
        segment_bytes: 1 << 20,
        retention,
        transactions,
        ..BrokerConfig::new(data)
    };
    let surroundings = Surroundings {
        files: Arc::new(DiskFiles),
        clock,
        random: Arc::new(SystemRandom),
        failed: Box::new(|error| panic!("the store failed: {error}")),
    };
    LocalBroker::open(config, surroundings).unwrap()
}

fn name(text: &str) -> TopicName {
    TopicName::from_client(text).unwrap()
}

/// What Gantry says of the same topics and groups.
async fn said(broker: &LocalBroker) -> Said {
    let mut all = Said::default();
    for topic in ["orders", "events"] {
        for queue in broker.query_queue_offsets(name(topic)).await.unwrap() {
            let mut offset = queue.min_offset;
            while offset < queue.max_offset {
                let (topic, queue_id) = (name(topic), queue.queue_id);
                let pull = PullMessages { topic, queue_id, offset, messages_max: 500, bytes_max: u32::MAX };
                let pulled = broker.pull_messages(pull).await.unwrap();
                for message in &pulled.messages {
                    let keys: Vec<&str> = message.keys().collect();
                    let keys = if keys.is_empty() { "-".into() } else { keys.join(",") };
                    let body = message.body.iter().map(|byte| format!("{byte:02x}")).collect();
                    let tag = message.tag().unwrap_or("-").into();
                    let seen = (message.commit_log_offset.0, message.store_timestamp.0, tag, keys, body);
                    all.messages.insert((message.topic().into(), message.queue_id.0, message.queue_offset.0), seen);
                    let unique_key = message.unique_key().unwrap().to_string();
                    let found = broker.find_message(name(message.topic()), unique_key).await.unwrap();
                    // The messages of Apache's batches may share an id.
                    assert_eq!(found.topic(), message.topic());
                }
                offset = pulled.next_offset;
            }
        }
        for group in ["billing", "audit"] {
            let of = ConsumerGroup::from_client(group).unwrap();
            for queue in broker.query_consume_offsets(of, name(topic)).await.unwrap() {
                if let Some(offset) = queue.consume_offset {
                    all.committed.insert((group.into(), topic.into(), queue.queue_id.0), offset.0);
                }
            }
        }
    }
    all
}

async fn work(broker: &LocalBroker) {
    for number in 0..40u32 {
        let (topic, queue) = if number % 5 == 4 { ("events", 0) } else { ("orders", number % 4) };
        let body = Bytes::from(vec![number as u8; 1 + 997 * number as usize]);
        let now = gantry_broker_core::clock::Clock::wall(&SystemClock);
        let message = Message::new(body, &format!("GANTRY{number:026}"), now, "127.0.0.1:4000".parse().unwrap())
            .and_then(|message| message.with_tag("ours"))
            .and_then(|message| message.with_keys(["of-gantry", "shared"]))
            .unwrap();
        let messages = vec![SendMessage { queue_id: QueueId(queue), message, idempotency_key: None }];
        let sent = broker.send_messages(SendMessages { topic: name(topic), messages }).await.unwrap();
        sent.into_iter().for_each(|sent| drop(sent.unwrap()));
    }
    let popped = broker
        .pop_messages(PopMessages {
            consumer_group: ConsumerGroup::from_client("audit").unwrap(),
            topic: name("events"),
            messages_max: 8,
            lease: LeaseLength::Exactly(Duration::from_secs(60)),
            filter: Filter::All,
            attempt_id: None,
        })
        .await
        .unwrap();
    // The last three stay in somebody's hands: Apache must deliver them again.
    let handles = popped[..5].iter().map(|popped| popped.handle.clone()).collect();
    assert!(broker.ack_messages(handles).await.unwrap().iter().all(Result::is_ok));
    let topic = TopicConfig { read_queues: 2, write_queues: 2, ..TopicConfig::new(name("made-by-gantry")) };
    broker.put_topic(PutTopic::new(topic, PutWhen::Missing)).await.unwrap();
}

async fn open_transactions(broker: &LocalBroker) -> Vec<String> {
    let list = ListTransactions {
        topic: name("orders"),
        producer_group: None,
        born_before: None,
        from: QueueOffset(0),
        transactions_max: 100,
        bytes_max: u32::MAX,
    };
    let open = broker.list_transactions(list).await.unwrap().transactions;
    open.iter().map(|open| String::from_utf8(open.message.body.to_vec()).unwrap()).collect()
}

/// One is committed, one is rolled back, one stays open.
async fn transact(broker: &LocalBroker) {
    let orders = broker.describe_topic(name("orders")).await.unwrap().config;
    let mixed = TopicConfig { message_type: MessageType::Mixed, ..orders };
    broker.put_topic(PutTopic::new(mixed, PutWhen::Exists)).await.unwrap();
    let producer_group = ProducerGroup::from_client("shop").unwrap();
    for (body, resolution) in [
        ("our committed", Some(TransactionResolution::Commit)),
        ("our open", None),
        ("our rolled back", Some(TransactionResolution::Rollback)),
    ] {
        let now = gantry_broker_core::clock::Clock::wall(&SystemClock);
        let id = format!("GANTRY-{}", body.replace(' ', "-"));
        let message = Message::new(Bytes::from(body), &id, now, "127.0.0.1:4000".parse().unwrap()).unwrap();
        let transaction = Transaction { producer_group: producer_group.clone(), check_after: None };
        let message = message.with_transaction(transaction).unwrap();
        let messages = vec![SendMessage { queue_id: QueueId(2), message, idempotency_key: None }];
        let sent = broker.send_messages(SendMessages { topic: name("orders"), messages }).await.unwrap();
        let receipt = sent.into_iter().next().unwrap().unwrap();
        let half = HalfMessageId::new(&id, receipt.queue_offset, receipt.commit_log_offset);
        if let Some(resolution) = resolution {
            broker.end_transaction(EndTransaction { half, topic: None, resolution }).await.unwrap();
        }
    }
}

#[tokio::test]
async fn b8_apaches_broker_and_gantry_take_turns_on_one_store() {
    let Some(peer) = Peer::build() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("store");
    let theirs = peer.turn(&["write"], &data);
    assert_eq!((theirs.messages.len(), theirs.committed.len()), (306, 5));

    let broker = open(&data);
    assert_eq!(said(&broker).await, theirs);
    assert_eq!(open_transactions(&broker).await, ["their UNKNOW"]);
    work(&broker).await;
    transact(&broker).await;
    let ours = said(&broker).await;
    assert_eq!(ours.messages.len(), theirs.messages.len() + 41);
    assert_eq!(ours.committed[&("audit".into(), "events".into(), 0)], 12);
    broker.close().unwrap();
    drop(broker);

    // Apache asks about what both left open, and about nothing else.
    let mut theirs = peer.turn(&["read", "2"], &data);
    assert_eq!(std::mem::take(&mut theirs.checked), ["our open", "their UNKNOW"]);
    let is_ours = |(key, message): &(&(String, u32, u64), &Seen)| ours.messages.get(*key) == Some(*message);
    let (kept, committed): (Vec<_>, Vec<_>) = theirs.messages.iter().partition(is_ours);
    assert_eq!((kept.len(), committed.len(), &theirs.committed), (ours.messages.len(), 2, &ours.committed));
    let mut bodies: Vec<&str> = committed.iter().map(|(_, message)| &*message.4).collect();
    bodies.sort_unstable();
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(bodies, [hex("our open"), hex("their UNKNOW")]);
    let topics = std::fs::read_to_string(data.join("config/topics.json")).unwrap();
    assert!(topics.contains("\"made-by-gantry\""), "{topics}");

    let broker = open(&data);
    assert_eq!(said(&broker).await, theirs);
    assert!(open_transactions(&broker).await.is_empty());
    let ends = broker.query_queue_offsets(name("made-by-gantry")).await.unwrap();
    assert!(ends.len() == 2 && ends.iter().all(|queue| queue.max_offset == QueueOffset(0)));
    broker.close().unwrap();
}

/// The machine's time, some days later.
struct Later(Duration);

impl Clock for Later {
    fn wall(&self) -> Timestamp {
        SystemClock.wall().plus(self.0)
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }
}

/// Gantry's time goes with the clock that no step changes, Apache's with the wall's.
const CLOCKS_APART_MS: i64 = 20;

/// What waits for its time: by body, before when it must not be seen.
#[derive(Default)]
struct Scheduled {
    due: BTreeMap<String, i64>,
}

impl Scheduled {
    async fn send(&mut self, broker: &LocalBroker, body: &str, delivery: Delivery, delay_ms: i64) -> SendReceipt {
        let message = of_body(body, SystemClock.wall()).with_delivery(delivery).unwrap();
        let receipt = send_now(broker, "later", message).await;
        self.due.insert(body.to_string(), receipt.store_timestamp.0 + delay_ms - CLOCKS_APART_MS);
        receipt
    }

    async fn send_after(&mut self, broker: &LocalBroker, body: &str, ms: i64) -> SendReceipt {
        let delay = Duration::from_millis(ms.unsigned_abs());
        self.send(broker, body, Delivery::After(delay), ms).await
    }

    async fn send_level(&mut self, broker: &LocalBroker, body: &str, level: u32, ms: i64) {
        self.send(broker, body, Delivery::Level(level), ms).await;
    }
}

fn of_body(body: &str, now: Timestamp) -> Message {
    let id = format!("ID-{}", body.replace(' ', "-"));
    Message::new(Bytes::from(body.to_string()), &id, now, "127.0.0.1:4000".parse().unwrap()).unwrap()
}

async fn send_now(broker: &LocalBroker, topic: &str, message: Message) -> SendReceipt {
    let messages = vec![SendMessage { queue_id: QueueId(0), message, idempotency_key: None }];
    let sent = broker.send_messages(SendMessages { topic: name(topic), messages }).await.unwrap();
    sent.into_iter().next().unwrap().unwrap()
}

async fn half(broker: &LocalBroker, body: &str) -> HalfMessageId {
    let producer_group = ProducerGroup::from_client("shop").unwrap();
    let transaction = Transaction { producer_group, check_after: None };
    let message = of_body(body, SystemClock.wall()).with_transaction(transaction).unwrap();
    let id = message.unique_key().to_string();
    let receipt = send_now(broker, "deals", message).await;
    HalfMessageId::new(&id, receipt.queue_offset, receipt.commit_log_offset)
}

/// The bodies that a topic of one queue holds, each with when it was stored.
async fn held(broker: &LocalBroker, topic: &str) -> Vec<(String, i64)> {
    let (queue_id, offset) = (QueueId(0), QueueOffset(0));
    let pull = PullMessages { topic: name(topic), queue_id, offset, messages_max: 10_000, bytes_max: u32::MAX };
    let pulled = broker.pull_messages(pull).await.unwrap();
    assert_eq!(pulled.next_offset, pulled.max_offset);
    let body = |body: &Bytes| String::from_utf8(body.to_vec()).unwrap();
    pulled.messages.iter().map(|message| (body(&message.body), message.store_timestamp.0)).collect()
}

fn bodies(held: &[(String, i64)]) -> Vec<&str> {
    let mut bodies: Vec<&str> = held.iter().map(|(body, _)| &**body).collect();
    bodies.sort_unstable();
    bodies
}

async fn until_held(broker: &LocalBroker, topic: &str, count: usize) {
    let began = Instant::now();
    while held(broker, topic).await.len() < count {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", held(broker, topic).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn pop_events(broker: &LocalBroker) -> Vec<PoppedMessage> {
    let pop = PopMessages {
        consumer_group: ConsumerGroup::from_client("audit").unwrap(),
        topic: name("events"),
        messages_max: 32,
        lease: LeaseLength::Exactly(Duration::from_secs(60)),
        filter: Filter::All,
        attempt_id: None,
    };
    let mut popped = broker.pop_messages(pop).await.unwrap();
    popped.sort_by_key(|popped| popped.message.queue_offset);
    popped
}

fn offsets(popped: &[PoppedMessage]) -> Vec<u64> {
    popped.iter().map(|popped| popped.message.queue_offset.0).collect()
}

async fn ack(broker: &LocalBroker, popped: &[PoppedMessage], wanted: &[u64]) {
    let wanted = popped.iter().filter(|popped| wanted.contains(&popped.message.queue_offset.0));
    let acked = broker.ack_messages(wanted.map(|popped| popped.handle.clone()).collect()).await.unwrap();
    assert!(acked.iter().all(Result::is_ok), "{acked:?}");
}

async fn open_deals(broker: &LocalBroker) -> Vec<(String, HalfMessageId)> {
    let list = ListTransactions {
        topic: name("deals"),
        producer_group: None,
        born_before: None,
        from: QueueOffset(0),
        transactions_max: 100,
        bytes_max: u32::MAX,
    };
    let open = broker.list_transactions(list).await.unwrap().transactions;
    let body = |open: &OpenTransaction| String::from_utf8(open.message.body.to_vec()).unwrap();
    let mut open: Vec<_> = open.iter().map(|open| (body(open), open.half)).collect();
    open.sort_by(|one, other| one.0.cmp(&other.0));
    open
}

async fn decide(broker: &LocalBroker, half: HalfMessageId, resolution: TransactionResolution) {
    broker.end_transaction(EndTransaction { half, topic: None, resolution }).await.unwrap();
}

/// A store that Gantry made goes to Apache and back, twice, with all that can be in flight: each message that waits for
/// its time comes once and not before, each transaction is decided once, and what was popped is owed until it is acked.
#[tokio::test]
async fn b8_apaches_broker_goes_on_with_what_gantry_left_in_flight_and_gantry_with_what_apache_left() {
    let Some(peer) = Peer::build() else { return };
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("store");
    let mut scheduled = Scheduled::default();

    let broker = open(&data);
    for (topic, message_type) in
        [("later", MessageType::Delay), ("deals", MessageType::Transaction), ("events", MessageType::Normal)]
    {
        let config = TopicConfig { message_type, read_queues: 1, write_queues: 1, ..TopicConfig::new(name(topic)) };
        broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
    }
    scheduled.send_after(&broker, "ours at once", 1_000).await;
    scheduled.send_level(&broker, "ours with level 1", 1, 1_000).await;
    for at in 0..30 {
        scheduled.send_after(&broker, &format!("for apache {at}"), 5_000 + at % 3 * 900).await;
    }
    scheduled.send_level(&broker, "for apache with level 2", 2, 5_000).await;
    scheduled.send_after(&broker, "ours in an hour", 3_600_000).await;
    scheduled.send_after(&broker, "ours in days", 3 * 86_400_000).await;
    scheduled.send_level(&broker, "ours with level 18", 18, 7_200_000).await;
    for at in [6_500, 3_600_000] {
        let body = format!("recalled {at}");
        let receipt = scheduled.send_after(&broker, &body, at).await;
        scheduled.due.remove(&body);
        let (topic, unique_key, second) = (name("later"), receipt.unique_key, receipt.waits_for.unwrap());
        let recalled = broker.recall_message(RecallMessage { topic, unique_key, second }).await.unwrap();
        assert_eq!(recalled, RecallOutcome::Recalled);
    }
    for at in 0..10 {
        send_now(&broker, "events", of_body(&format!("event {at}"), SystemClock.wall())).await;
    }
    let popped = pop_events(&broker).await;
    assert_eq!(offsets(&popped), (0..10).collect::<Vec<_>>());
    ack(&broker, &popped, &[0, 1, 2, 5]).await;
    let mut halves = BTreeMap::new();
    for body in ["ours committed", "theirs open", "theirs committed", "ours rolled back", "theirs rolled back"] {
        halves.insert(body, half(&broker, body).await);
    }
    decide(&broker, halves["ours committed"], TransactionResolution::Commit).await;
    decide(&broker, halves["ours rolled back"], TransactionResolution::Rollback).await;
    until_held(&broker, "later", 2).await;
    assert_eq!(bodies(&held(&broker, "later").await), ["ours at once", "ours with level 1"]);
    broker.close().unwrap();
    drop(broker);

    // Apache delivers what is due by now, and its own first message.
    let for_apache = 2 + 30 + 1 + 1;
    let apache = peer.turn(&["carry", "apache 1", "3,4,6", "4", &for_apache.to_string()], &data);
    let left = [("soon", 0), ("in an hour", 3_600_000), ("in days", 216_000_000), ("with a level", 7_200_000)];
    scheduled.due.extend(left.map(|(when, ms)| (format!("apache 1 {when}"), ms)));
    assert_eq!(apache.popped, (3..10).collect::<Vec<_>>());
    assert_eq!(apache.checked, ["apache 1 open", "theirs committed", "theirs open", "theirs rolled back"]);

    let broker = open(&data);
    let held_now = held(&broker, "later").await;
    assert_eq!(held_now.len(), for_apache, "{held_now:?}");
    assert_eq!(bodies(&held(&broker, "deals").await), ["ours committed", "theirs committed"]);
    // Apache had them in its hands when it stopped.
    let popped = pop_events(&broker).await;
    assert_eq!(offsets(&popped), [5, 7, 8, 9]);
    ack(&broker, &popped, &[5, 8, 9]).await;
    let open_now = open_deals(&broker).await;
    assert_eq!(open_now.iter().map(|open| &*open.0).collect::<Vec<_>>(), ["apache 1 open", "theirs open"]);
    decide(&broker, open_now[0].1, TransactionResolution::Commit).await;
    scheduled.send_after(&broker, "for apache again", 4_000).await;
    let receipt = scheduled.send_after(&broker, "recalled again", 4_000).await;
    scheduled.due.remove("recalled again");
    let (topic, unique_key, second) = (name("later"), receipt.unique_key, receipt.waits_for.unwrap());
    broker.recall_message(RecallMessage { topic, unique_key, second }).await.unwrap();
    broker.close().unwrap();
    drop(broker);

    let for_apache = for_apache + 2;
    let apache = peer.turn(&["carry", "apache 2", "7", "2", &for_apache.to_string()], &data);
    scheduled.due.extend(left.map(|(when, ms)| (format!("apache 2 {when}"), ms)));
    assert_eq!(apache.checked, ["apache 2 open", "theirs open"]);
    // What was acked behind what is owed comes again: offsets say no more.
    assert_eq!(apache.popped, [7, 8, 9]);

    // All others come here, for it is days later.
    let broker = open_by(&data, Box::new(Later(Duration::from_secs(4 * 86_400))));
    until_held(&broker, "later", scheduled.due.len()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let all = held(&broker, "later").await;
    assert_eq!(bodies(&all), scheduled.due.keys().map(|body| &**body).collect::<Vec<_>>());
    let early: Vec<_> = all.iter().filter(|(body, stored)| *stored < scheduled.due[body]).collect();
    assert!(early.is_empty(), "{early:?} {:?}", scheduled.due);
    assert_eq!(broker.describe_storage().await.unwrap().timers.scheduled, 0);
    let open_now = open_deals(&broker).await;
    assert_eq!(open_now.iter().map(|open| &*open.0).collect::<Vec<_>>(), ["apache 2 open", "theirs open"]);
    decide(&broker, open_now[0].1, TransactionResolution::Commit).await;
    let deals = ["apache 1 open", "apache 2 open", "ours committed", "theirs committed"];
    assert_eq!(bodies(&held(&broker, "deals").await), deals);
    assert_eq!(offsets(&pop_events(&broker).await), [8, 9]);
    broker.close().unwrap();
}
