//! A topic's `reserve.time` over REST: what was stored too long ago is gone for everybody, and stays gone.
//!
//! Hours pass for nobody here: the messages are written by a broker in this process whose clock is behind.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gantry_broker_core::BrokerConfig;
use gantry_broker_core::broker::{Broker, PopMessages, PutTopic, PutWhen, SendMessage, SendMessages, TopicConfig};
use gantry_broker_core::broker::{INVISIBLE_DURATION_MIN, LeaseLength};
use gantry_broker_core::clock::{Clock, SystemClock, Timestamp};
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::local_broker::{LocalBroker, Surroundings};
use gantry_broker_core::message::Message;
use gantry_broker_core::names::{ConsumerGroup, TopicName};
use gantry_broker_core::offset::QueueId;
use gantry_broker_core::random::SystemRandom;
use gantry_broker_core::store::disk_files::DiskFiles;
use harness::{Home, Server, ask, gantry};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

const ARGS: [&str; 4] = ["--segment-size", "8MiB", "--durability", "memory"];
const OLD: u64 = 5;
const YOUNG: u64 = 3;
const HOUR: Duration = Duration::from_secs(3_600);

/// The wall as it was.
struct Behind(Duration);

impl Clock for Behind {
    fn wall(&self) -> Timestamp {
        SystemClock.wall().minus(self.0)
    }
    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }
}

/// A broker of the past: it adds messages to queue 0 of a topic, hands out one of them, and stops.
async fn write(dir: &Path, behind: Duration, messages: u64) {
    let config = BrokerConfig { segment_bytes: 8 << 20, ..BrokerConfig::new(dir) };
    let surroundings = Surroundings {
        files: Arc::new(DiskFiles),
        clock: Box::new(Behind(behind)),
        random: Arc::new(SystemRandom),
        failed: Box::new(|error| panic!("the store failed: {error}")),
    };
    let broker = LocalBroker::open(config, surroundings).unwrap();
    let topic = TopicName::from_client("orders").unwrap();
    let config = TopicConfig { read_queues: 1, write_queues: 1, ..TopicConfig::new(topic.clone()) };
    // The second broker finds it.
    let _ = broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await;
    for _ in 0..messages {
        let stored = broker.query_queue_offsets(topic.clone()).await.unwrap()[0].max_offset;
        let id = format!("ID{stored}");
        let message = Message::new("body".into(), &id, Timestamp(1), "127.0.0.1:4000".parse().unwrap()).unwrap();
        let messages = vec![SendMessage { queue_id: QueueId(0), message, idempotency_key: None }];
        broker.send_messages(SendMessages { topic: topic.clone(), messages }).await.unwrap().remove(0).unwrap();
    }
    let pop = PopMessages {
        consumer_group: ConsumerGroup::from_client("billing").unwrap(),
        topic,
        messages_max: 1,
        lease: LeaseLength::Exactly(INVISIBLE_DURATION_MIN),
        filter: Filter::All,
        attempt_id: None,
    };
    assert_eq!(broker.pop_messages(pop).await.unwrap().len(), 1);
    broker.close().unwrap();
}

struct Console {
    http: Client,
    server: Server,
}

impl Console {
    fn start(home: &Home) -> Console {
        Console { http: Client::new(), server: Server::start(&home.data(), &ARGS) }
    }

    /// A start lets go of what has had its time before it serves anybody.
    fn again(self, home: &Home) -> Console {
        assert!(self.server.stop("-TERM").success());
        Console::start(home)
    }

    async fn get(&self, path: &str, status: u16) -> Value {
        ask(self.http.get(self.server.url(path))).await.unwrap().expect(status).json()
    }

    fn put(&self, attributes: Value) -> RequestBuilder {
        let body = json!({"readQueues": 1, "writeQueues": 1, "attributes": attributes});
        self.http.put(self.server.url("/v1/topics/orders")).header("If-Match", "*").json(&body)
    }

    async fn min_offset(&self) -> u64 {
        self.get("/v1/topics/orders/queues", 200).await["items"][0]["minOffset"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn b7_what_has_had_its_time_is_gone_and_stays_gone() {
    let home = Home::new();
    write(&home.data(), 3 * HOUR, OLD).await;
    write(&home.data(), HOUR / 2, YOUNG).await;
    let console = Console::start(&home);
    assert_eq!(console.get("/v1/topics/orders", 200).await["attributes"], json!({}));
    let console = console.again(&home);
    assert_eq!(console.min_offset().await, 0, "the broker keeps them for three days");
    let first = "/v1/topics/orders/queues/broker-a/0/messages?offset=0";
    let oldest = &console.get(first, 200).await["items"][0];
    assert_eq!(oldest["messageId"], "ID0");

    let put = ask(console.put(json!({"reserve.time": "2"}))).await.unwrap().expect(200).json();
    assert_eq!(put["attributes"], json!({"reserve.time": "2"}));
    let console = console.again(&home);
    assert_eq!(console.get("/v1/topics/orders", 200).await["attributes"], json!({"reserve.time": "2"}));
    assert_eq!(console.min_offset().await, OLD);
    assert_eq!(console.get(first, 410).await["code"], "offset_expired");
    assert_eq!(console.get("/v1/topics/orders/messages/ID0", 404).await["code"], "message_not_found");
    console.get(&format!("/v1/topics/orders/messages/ID{OLD}"), 200).await;
    assert_eq!(console.get("/v1/topics/orders/stats", 200).await["messages"], YOUNG);
    let receive = console.http.post(console.server.url("/v1/groups/billing/receive"));
    let received = ask(receive.json(&json!({"topic": "orders", "maxMessages": 32}))).await.unwrap().expect(200).json();
    let ids: Vec<&str> =
        received["messages"].as_array().unwrap().iter().map(|message| message["messageId"].as_str().unwrap()).collect();
    assert_eq!(ids, ["ID5", "ID6", "ID7"], "and those that were leased are nobody's");

    // No longer time and no queue made anew brings them back.
    ask(console.put(json!({}))).await.unwrap().expect(200);
    assert!(console.server.stop("-TERM").success());
    let exported = std::fs::read(home.data().join("config/topics.json")).unwrap();
    let exported: Value = serde_json::from_slice(&exported).unwrap();
    assert_eq!(exported["topicConfigTable"]["orders"]["attributes"], json!({}));
    std::fs::remove_dir_all(home.data().join("consumequeue")).unwrap();
    let console = Console::start(&home);
    assert_eq!(console.min_offset().await, OLD);
    assert_eq!(console.get(first, 410).await["code"], "offset_expired");
    assert!(console.server.stop("-TERM").success());
    let verified = Command::new(gantry()).args(["store", "verify"]).arg(home.data()).output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}

#[tokio::test]
async fn an_attribute_that_gantry_does_not_honour_is_refused_by_name() {
    let home = Home::new();
    let console = Console::start(&home);
    let all = json!({"reserve.time": "9223372036854775807", "queue.type": "SimpleCQ", "cleanup.policy": "DELETE"});
    let create = console.http.put(console.server.url("/v1/topics/orders"));
    let created = ask(create.json(&json!({"readQueues": 1, "attributes": all}))).await.unwrap().expect(201);
    assert_eq!(created.json()["attributes"], all);
    let listed = console.get("/v1/topics", 200).await;
    assert_eq!(listed["items"][0]["attributes"], all);
    for (attributes, pointer, says) in [
        (json!({"reserve.time": "-2"}), "/attributes/reserve.time", "whole hours"),
        (json!({"reserve.time": "3d"}), "/attributes/reserve.time", "whole hours"),
        (json!({"reserve.time": 3}), "/attributes/reserve.time", "texts"),
        (json!({"queue.type": "BatchCQ"}), "/attributes/queue.type", "SimpleCQ"),
        (json!({"cleanup.policy": "COMPACTION"}), "/attributes/cleanup.policy", "DELETE"),
        (json!({"message.type": "FIFO"}), "/attributes/message.type", "messageType"),
        (json!({"colour": "red"}), "/attributes", "reserve.time, queue.type or cleanup.policy"),
    ] {
        let refused = ask(console.put(attributes.clone())).await.unwrap().expect(400).json();
        assert_eq!(
            (&refused["code"], &refused["errors"][0]["pointer"]),
            (&json!("invalid_parameter"), &json!(pointer))
        );
        assert!(refused["detail"].as_str().unwrap().contains(says), "{attributes}: {refused}");
    }
    assert_eq!(console.get("/v1/topics/orders", 200).await["attributes"], all, "a refusal changes nothing");
    ask(console.put(Value::Null)).await.unwrap().expect(200);
    assert_eq!(console.get("/v1/topics/orders", 200).await["attributes"], json!({}));
}
