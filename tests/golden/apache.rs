//! Apache RocketMQ's own broker and Gantry take turns on one directory, and each reads what the other wrote.
//!
//! Needs Java 17 and Maven, whose registry has the jars (91 MB, fetched once per machine). Where they
//! are missing the test says so and passes. `apache/Peer.java` is the other side.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_broker_core::BrokerConfig;
use gantry_broker_core::broker::*;
use gantry_broker_core::clock::SystemClock;
use gantry_broker_core::config::Durability;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::local_broker::{LocalBroker, Surroundings};
use gantry_broker_core::message::{Message, MessageType, Transaction};
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
}

struct Peer {
    apache: Apache,
}

impl Peer {
    /// `None` where there is no Java or no Maven.
    fn build() -> Option<Peer> {
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
    let config = BrokerConfig { durability: Durability::Memory, ..BrokerConfig::new(data) };
    let surroundings = Surroundings {
        files: Arc::new(DiskFiles),
        clock: Box::new(SystemClock),
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
