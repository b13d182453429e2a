//! One scenario with one client: a server, a driver, and what the server holds in the end, asked over REST.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::{Answer, Server, ask};
use reqwest::Method;
use serde_json::{Value, json};

use crate::driver::{Driver, saw};
use crate::languages::Language;

/// Until a server that was told something shows it everywhere; several times what that takes.
const SETTLED_MAX: Duration = Duration::from_secs(60);

pub struct Trial<'a> {
    pub language: Language,
    pub name: &'static str,
    pub server: &'a Server,
    /// A directory of its own.
    pub home: &'a Path,
}

impl Trial<'_> {
    pub fn driver(&self) -> Driver {
        self.driver_at(&json!({"endpoints": self.server.grpc}))
    }

    pub fn driver_at(&self, at: &Value) -> Driver {
        let mut command = self.language.driver().expect("what cannot be run is not tried");
        // Clients that check certificates believe this one; the others believe any.
        if let Some(certificate) = at["certificate"].as_str() {
            command.env("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", certificate);
        }
        Driver::start(command, at, self.home)
    }

    /// A topic named after the scenario.
    pub fn topic(&self, config: Value) -> String {
        put(self.server, &format!("/v1/topics/{}", self.name), &config);
        self.name.to_string()
    }

    pub fn group(&self, config: Value) -> String {
        put(self.server, &format!("/v1/groups/{}", self.name), &config);
        self.name.to_string()
    }
}

pub fn put(server: &Server, path: &str, config: &Value) {
    web(server, Method::PUT, path, Some(config)).expect(201);
}

/// A call of the REST API, on a connection of its own: none is kept that a restarted server would not know.
pub fn web(server: &Server, method: Method, path: &str, body: Option<&Value>) -> Answer {
    block_on(async {
        let request = reqwest::Client::new().request(method, server.url(path));
        let request = if let Some(body) = body { request.json(body) } else { request };
        ask(request).await.expect("an answer")
    })
}

pub fn get(server: &Server, path: &str) -> Value {
    web(server, Method::GET, path, None).expect(200).json()
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// Sends messages over REST, for clients that shall receive them.
pub fn publish(server: &Server, topic: &str, messages: &[Value]) {
    let path = format!("/v1/topics/{topic}/messages/batch");
    web(server, Method::POST, &path, Some(&json!({"messages": messages}))).expect(201);
}

/// What a topic holds, in the order of its queues and offsets.
pub fn held(server: &Server, topic: &str) -> Vec<Value> {
    let path = format!("/v1/topics/{topic}/messages?bodyAs=base64&limit=100");
    let mut held = get(server, &path)["items"].as_array().expect("items").clone();
    held.sort_by_key(|message| (message["queueId"].as_u64(), message["queueOffset"].as_u64()));
    held
}

/// Waits for it: acks are sent behind the listener's back.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + SETTLED_MAX;
    while !holds() {
        assert!(Instant::now() < end, "waited for it in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All was consumed, and nothing is in flight.
#[track_caller]
pub fn settled(server: &Server, group: &str, topic: &str) {
    eventually("all is settled", || {
        let lag = get(server, &format!("/v1/groups/{group}/lag?topic={topic}"));
        lag["totalLag"] == 0 && lag["topics"][0]["inflight"] == 0
    });
}

pub fn message(topic: &str, body: &[u8]) -> Value {
    json!({"topic": topic, "body": BASE64.encode(body)})
}

/// A body as drivers and REST write it.
pub fn encoded(body: &[u8]) -> String {
    BASE64.encode(body)
}

pub fn body(message: &Value) -> Vec<u8> {
    BASE64.decode(message["body"].as_str().expect("a body")).expect("base64")
}

pub fn text(message: &Value) -> String {
    String::from_utf8(body(message)).expect("UTF-8")
}

pub fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort_unstable();
    words
}

pub fn words(list: &Value) -> Vec<String> {
    let list = list.as_array().cloned().unwrap_or_default();
    sorted(list.iter().map(|word| word.as_str().unwrap_or_default().to_string()).collect())
}

/// Receives and acks until so many came. Go calls it an error when there is nothing to receive.
pub fn receive(driver: &mut Driver, count: usize, is_async: bool) -> Vec<Value> {
    let mut received: Vec<Value> = Vec::new();
    let end = Instant::now() + SETTLED_MAX;
    while received.len() < count {
        assert!(Instant::now() < end, "{} of {count} came", received.len());
        let told = match driver.try_tell(json!({"do": "receive", "async": is_async})) {
            Ok(told) => told,
            Err(nothing) => {
                assert!(nothing.error.contains("MESSAGE_NOT_FOUND"), "{nothing:?}");
                continue;
            }
        };
        let came: Vec<Value> = saw(&told, "received").into_iter().cloned().collect();
        let ids: Vec<&Value> = came.iter().map(|message| &message["id"]).collect();
        if !ids.is_empty() {
            driver.tell(json!({"do": "ack", "ids": ids, "async": is_async}));
        }
        received.extend(came);
    }
    received
}

/// Compares a message as a client or REST shows it with what was sent.
#[track_caller]
pub fn same(shown: &Value, sent: &Value) {
    assert!(body(shown) == body(sent), "another body: {} and {} bytes", body(shown).len(), body(sent).len());
    // Node shows a message without a tag with an empty one.
    assert_eq!(shown["tag"].as_str().unwrap_or_default(), sent["tag"].as_str().unwrap_or_default());
    assert_eq!(words(&shown["keys"]), words(&sent["keys"]));
    let properties = |of: &Value| of["properties"].as_object().cloned().unwrap_or_default();
    assert_eq!(properties(shown), properties(sent));
}
