//! `gantry store recover-state` on the directory of a real server that has lost its snapshots after retention deleted the
//! log's beginning: the refusal names it, it changes nothing unasked, and afterwards everybody goes on.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use gantry_broker_core::random::SystemRandom;
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::store::files::Files as _;
use gantry_broker_core::store::identity::Identity;
use harness::{Home, Server, Starting, ask, command, gantry};
use reqwest::Client;
use serde_json::{Value, json};

/// Retention deletes whole segments; so short ones have no key.
const SEGMENT_BYTES: u64 = 64 << 10;
const RETENTION: &str = "[retention]\ncommit_log_size_max = \"256KiB\"\n";
const LOG_BYTES_MAX: u64 = 256 << 10;
const MOVED: &str = "gantry_consumer_retried_messages_total{";
/// Where messages that group g receives of orders may stand.
const TOPICS: [&str; 2] = ["orders", "%RETRY%g"];
/// Batches sent until the log's beginning must be gone.
const BATCHES_MAX: u64 = 1_000;
/// How often it is asked, every 10 ms, whether retention has come after a batch.
const LOOKS_MAX: u64 = 3_000;
const BATCH: u64 = 20;

/// Keeps up all the time what is otherwise kept up every few seconds.
fn start(data: &Path) -> Server {
    try_start(data).unwrap_or_else(|(code, said)| panic!("no start: {code:?}\n{said}"))
}

fn try_start(data: &Path) -> Result<Server, (Option<i32>, String)> {
    let mut command = command(data);
    command.env("GANTRY_HURRY", "1");
    Starting::spawn(command, data, &["--durability", "memory"]).ready().map_err(|(status, said)| (status.code(), said))
}

fn store(dir: &Path, words: &[&str]) -> Output {
    Command::new(gantry()).arg("store").arg(words[0]).arg(dir).args(&words[1..]).output().expect("the program runs")
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

struct Shop {
    http: Client,
    server: Server,
    sent: u64,
}

impl Shop {
    /// Where the log begins and ends.
    async fn log(&self) -> [u64; 2] {
        let storage = self.http.get(self.server.url("/v1/brokers/broker-a/storage"));
        let storage = ask(storage).await.unwrap().expect(200).json();
        ["commitLogMin", "commitLogMax"].map(|name| storage[name].as_u64().unwrap())
    }

    /// How much of what was in flight went to the retry topic.
    async fn moved(&self) -> f64 {
        let answer = ask(self.http.get(self.server.url("/metrics"))).await.unwrap().expect(200);
        let metrics = String::from_utf8(answer.body).unwrap();
        let of_orders = |line: &&str| line.starts_with(MOVED) && line.contains("topic=\"orders\"");
        metrics.lines().find(of_orders).map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    /// Sends some more, and waits until retention has come after. Faster than that, what it moves to the end of the log
    /// would itself be too old a moment later.
    async fn send(&mut self) {
        let message = |number: u64| json!({"body": format!("{number}"), "properties": {"pad": "x".repeat(400)}});
        let messages: Vec<Value> = (self.sent..self.sent + BATCH).map(message).collect();
        self.sent += BATCH;
        let url = self.server.url("/v1/topics/orders/messages/batch");
        ask(self.http.post(url).json(&json!({"messages": messages}))).await.unwrap().expect(201);
        for _ in 0..LOOKS_MAX {
            let [min, max] = self.log().await;
            if max - min <= LOG_BYTES_MAX + SEGMENT_BYTES {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("retention does not come: {}", self.server.log());
    }

    /// Sends until everything that the log held so far is gone.
    async fn replace_all(&mut self) {
        let [_, end] = self.log().await;
        for _ in 0..BATCHES_MAX {
            self.send().await;
            if self.log().await[0] >= end {
                return;
            }
        }
        panic!("nothing was deleted: {}", self.server.log());
    }

    /// Sends until what is in flight had to leave its segment.
    async fn push_out_what_is_in_flight(&mut self) {
        for _ in 0..BATCHES_MAX {
            self.send().await;
            if self.moved().await > 0.0 {
                return;
            }
        }
        panic!("nothing in flight was moved: {}", self.server.log());
    }

    /// Receives some, and acks those that shall be acked. What was received and what was acked.
    async fn receive(&self, wait: &str, acked: impl Fn(u64) -> bool) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let receive = self.http.post(self.server.url("/v1/groups/g/receive")).header("Prefer", wait);
        let receive = receive.json(&json!({"topic": "orders", "maxMessages": 32, "invisibleDuration": "10s"}));
        let answer = ask(receive).await.unwrap().expect(200).json();
        let (mut bodies, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for message in answer["messages"].as_array().unwrap() {
            let body = message["body"].as_str().unwrap().parse().unwrap();
            bodies.insert(body);
            if acked(body) {
                let handle = message["receiptHandle"].as_str().unwrap();
                ask(self.http.delete(self.server.url(&format!("/v1/receipts/{handle}")))).await.unwrap().expect(204);
                gone.insert(body);
            }
        }
        (bodies, gone)
    }
}

#[tokio::test]
async fn b7_a_lost_state_is_refused_with_the_command_that_brings_it_back() {
    let home = Home::new();
    let dir = &home.data();
    DiskFiles.create_dir(&dir.join("gantry")).unwrap();
    Identity::new(&SystemRandom, SEGMENT_BYTES).raise_boot(&DiskFiles, dir).unwrap();
    std::fs::write(dir.join("gantry.toml"), RETENTION).unwrap();

    let mut client = Shop { http: Client::new(), server: start(dir), sent: 0 };
    ask(client.http.put(client.server.url("/v1/topics/orders"))).await.unwrap().expect(201);
    client.receive("wait=0", |_| false).await;
    // The records that made topic, group and cells go with the beginning.
    client.replace_all().await;
    let (first, acked_before) = client.receive("wait=0", |body| body % 4 != 0).await;
    assert!(first.len() > 10 && acked_before.len() < first.len(), "{first:?}");
    // What is in flight goes on in the retry topic when its segments go.
    client.push_out_what_is_in_flight().await;
    assert_eq!(client.server.stop("-TERM").code(), Some(0));
    client.server = start(dir);
    let (_, acked_since) = client.receive("wait=0", |body| body % 3 != 0).await;
    client.server.kill_9();

    for listed in std::fs::read_dir(dir.join("gantry")).unwrap().map(Result::unwrap) {
        if listed.file_name().to_string_lossy().starts_with("snapshot-") {
            std::fs::remove_file(listed.path()).unwrap();
        }
    }
    let (code, said) = try_start(dir).err().expect("it does not start");
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("gantry store recover-state DIR"), "{said}");

    let looked = store(dir, &["recover-state", "--json"]);
    assert_eq!(looked.status.code(), Some(0), "{looked:?}");
    let looked = json_of(&looked);
    assert_eq!((&looked["exports"]["state"], &looked["written"]), (&json!("good"), &json!(false)), "{looked}");
    let topics: BTreeSet<_> =
        looked["topics"].as_array().unwrap().iter().map(|topic| topic["topic"].as_str()).collect();
    assert!(topics.is_superset(&BTreeSet::from(TOPICS.map(Some))), "{looked}");
    let consumed = looked["consumed"].as_array().unwrap();
    let of_orders = consumed.iter().find(|consumed| consumed["topic"] == "orders").expect("orders was consumed");
    assert_eq!(of_orders["exactQueues"], 0, "{looked}");
    let again: u64 = consumed.iter().map(|consumed| consumed["deliveredAgainMax"].as_u64().unwrap()).sum();
    assert!(again > 0, "{looked}");
    assert!(try_start(dir).is_err(), "to look changes nothing");
    let told = String::from_utf8(store(dir, &["recover-state"]).stdout).unwrap();
    assert!(told.contains("nothing is written; --yes writes gantry/snapshot-"), "{told}");
    let kept_of = |topic: &str| {
        let log = store(dir, &["dump", "records", "--json", "--topic", topic, "--body", "text"]);
        let log = String::from_utf8(log.stdout).unwrap();
        let body = |line: &str| serde_json::from_str::<Value>(line).unwrap()["body"].as_str().unwrap().parse().unwrap();
        log.lines().map(body).collect::<BTreeSet<u64>>()
    };
    let [in_orders, moved] = TOPICS.map(kept_of);
    assert!(!moved.is_empty(), "what was moved is gone");
    let kept = &in_orders | &moved;
    let done = store(dir, &["recover-state", "--yes"]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let verified = store(dir, &["verify", "--json"]);
    assert_eq!((verified.status.code(), &json_of(&verified)["problems"]), (Some(0), &json!([])));

    // Nothing may go while it is received.
    std::fs::remove_file(dir.join("gantry.toml")).unwrap();
    client.server = start(dir);
    let acked = &acked_before | &acked_since;
    let mut delivered = BTreeSet::new();
    // Those that somebody holds still come when their time is over.
    while !delivered.is_superset(&(&kept - &acked)) {
        let (bodies, _) = client.receive("wait=20", |_| true).await;
        if bodies.is_empty() {
            break;
        }
        delivered.extend(bodies);
    }
    let skipped: Vec<_> = kept.difference(&acked).filter(|body| !delivered.contains(body)).collect();
    assert!(skipped.is_empty(), "{skipped:?}");
    // Who holds what was moved is known: it is not counted as delivered again.
    let again = again + moved.len() as u64;
    assert!(delivered.len() as u64 <= again && delivered.is_subset(&kept), "{} of {again}", delivered.len());
    assert_eq!(client.server.stop("-TERM").code(), Some(0));
    assert_eq!(store(dir, &["verify"]).status.code(), Some(0));
    let nothing_lost = store(dir, &["recover-state", "--yes"]);
    assert_eq!(nothing_lost.status.code(), Some(2), "{nothing_lost:?}");
}
