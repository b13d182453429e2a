//! Callers that send, receive, settle, make and delete topics until their server is gone, and write all of it into a
//! history.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use harness::history::{Invoked, Level, Line, Operation, ReadBack, Recorder, Subject, hash_of, hash_of_properties};
use harness::{Answer, ask, bytes_of};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::random::Random;
use crate::read_back::open_transactions;

/// Sent to and received from.
pub const TOPIC: &str = "orders";
/// Sent to in batches; nobody receives.
pub const BATCH_TOPIC: &str = "lines";
/// Message groups, each in its order.
pub const LANE_TOPIC: &str = "lanes";
/// Everything comes later than it was sent.
pub const DELAY_TOPIC: &str = "later";
/// Nothing is seen before it is committed.
pub const TRANSACTION_TOPIC: &str = "perhaps";
const RECEIVED: [&str; 4] = [TOPIC, LANE_TOPIC, DELAY_TOPIC, TRANSACTION_TOPIC];
pub const GROUP: &str = "billing";
/// Whose half messages there are.
const PRODUCER_GROUP: &str = "shop";
/// About one of so many half messages nobody says anything, ever: they are given up.
const UNDECIDED_EVERY: u64 = 7;
/// Half messages that somebody may decide once more.
const HALVES_MAX: usize = 64;
/// All that was left open is asked about by then, and given up if nobody says anything; many times what it takes.
const DECIDED_SECONDS_MAX: u64 = 60;
const LANES: u64 = 16;
/// Of so many messages in lanes one is given up, and one is kept; a lane waits for what is kept.
const GIVEN_UP_EVERY: u64 = 9;
const KEPT_EVERY: u64 = 50;
/// Shorter than a server is given to do, now and then.
const DELAY_MS_MAX: u64 = 1_500;
const BATCH_ENTRIES_MAX: u64 = 20;
/// The shortest that the broker takes: what a killed caller had comes back after it.
const INVISIBLE: &str = "10s";
const LEASES_OVER_SECONDS: u64 = 11;
/// Between two changes of topics.
const TOPIC_PAUSE: std::time::Duration = std::time::Duration::from_millis(20);
/// Every so many bodies one is large, so that segments come to their ends in odd places.
const LARGE_EVERY: u64 = 16;

/// Everything that callers of one data directory share, over all its restarts.
pub struct Callers {
    pub recorder: Recorder,
    began_us: u64,
    /// What its servers promise with an answer.
    level: Level,
    /// The largest body: a record must fit a segment.
    body_bytes_max: u64,
    /// Messages may be taken from them: the history must know where each lies.
    has_retention: bool,
    next_key: AtomicU64,
    next_topic: AtomicU64,
    /// The latest, with their handles.
    halves: Mutex<VecDeque<(String, String)>>,
}

/// The callers of one server.
pub struct Load {
    tasks: JoinSet<()>,
    done: Arc<AtomicBool>,
}

impl Callers {
    pub fn new(level: Level, body_bytes_max: u64) -> Arc<Callers> {
        Callers::with(level, body_bytes_max, false)
    }

    /// Of a broker that lets old messages go.
    pub fn with_retention(level: Level, body_bytes_max: u64) -> Arc<Callers> {
        Callers::with(level, body_bytes_max, true)
    }

    fn with(level: Level, body_bytes_max: u64, has_retention: bool) -> Arc<Callers> {
        let (next_key, next_topic) = (AtomicU64::new(0), AtomicU64::new(0));
        let (recorder, began_us) = (Recorder::new(), wall_us());
        let halves = Mutex::default();
        Arc::new(Callers { recorder, began_us, level, body_bytes_max, has_retention, next_key, next_topic, halves })
    }

    /// When the history began: microseconds since 1970.
    pub fn began_us(&self) -> u64 {
        self.began_us
    }

    /// The topics that the load needs.
    pub async fn create_topics(&self, base: &str) {
        let http = Client::new();
        for (topic, message_type) in [
            (TOPIC, "normal"),
            (BATCH_TOPIC, "normal"),
            (LANE_TOPIC, "fifo"),
            (DELAY_TOPIC, "delay"),
            (TRANSACTION_TOPIC, "transaction"),
        ] {
            let created = self.create_topic(&http, base, topic, message_type).await;
            assert!(created.is_some(), "no answer to the creation of {topic}");
        }
        // A group that comes by itself when the beginning has gone already begins at the end.
        if self.has_retention {
            let group = http.put(format!("{base}/v1/groups/{GROUP}")).json(&json!({"startFrom": "min"}));
            assert_eq!(ask(group).await.map(|answer| answer.status), Some(201), "the creation of {GROUP}");
        }
    }

    /// Starts them: they go on until the server is gone or `Load::end`.
    pub fn start(self: &Arc<Callers>, http: &str, grpc: &str, seed: u64) -> Load {
        let done = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let caller = |name: &str| Caller {
            all: self.clone(),
            name: name.into(),
            base: http.into(),
            http: Client::new(),
            done: done.clone(),
            random: Random::new(seed ^ harness::history::hash_of(name.as_bytes()).0),
        };
        for name in ["sender-1", "sender-2"] {
            tasks.spawn(caller(name).send());
        }
        tasks.spawn(caller("batch-sender").send_batches());
        for name in ["lane-sender-1", "lane-sender-2"] {
            tasks.spawn(caller(name).send_in_lanes());
        }
        tasks.spawn(caller("delayed-sender").send_delayed());
        tasks.spawn(caller("producer").send_halves());
        tasks.spawn(caller("checked-producer").answer_checks());
        // Its answers do not say in which queue and where in the log a message lies.
        if !self.has_retention {
            tasks.spawn(caller("grpc-sender").send_over_grpc(grpc.into()));
        }
        for name in ["receiver-1", "receiver-2"] {
            tasks.spawn(caller(name).receive(TOPIC));
        }
        for name in ["lane-receiver-1", "lane-receiver-2"] {
            tasks.spawn(caller(name).receive(LANE_TOPIC));
        }
        tasks.spawn(caller("delayed-receiver").receive(DELAY_TOPIC));
        tasks.spawn(caller("committed-receiver").receive(TRANSACTION_TOPIC));
        tasks.spawn(caller("topics").change_topics());
        Load { tasks, done }
    }

    /// Receives and acks whatever is left, also what a killed caller held until its lease was over.
    pub async fn drain(self: &Arc<Callers>, base: &str) {
        let drains = RECEIVED.map(|topic| self.clone().drain_topic(base.to_string(), topic));
        let mut tasks: JoinSet<()> = drains.into_iter().collect();
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no drain panics");
        }
    }

    /// Answers checks until nothing is open any more; says what stays open.
    pub async fn decide_all(self: &Arc<Callers>, base: &str) -> Result<Vec<String>, String> {
        let mut caller = self.draining("decides", base.to_string());
        let began = std::time::Instant::now();
        loop {
            let open = open_transactions(base).await?;
            if open.is_empty() || began.elapsed().as_secs() >= DECIDED_SECONDS_MAX {
                return Ok(open.into_iter().map(|key| format!("{key} stays open")).collect());
            }
            caller.answer_some_checks().await.ok_or("no answer to a question about transactions")?;
        }
    }

    fn draining(self: &Arc<Callers>, name: &str, base: String) -> Caller {
        let (http, done, random) = (Client::new(), Arc::default(), Random::new(0));
        Caller { all: self.clone(), name: name.into(), base, http, done, random }
    }

    async fn drain_topic(self: Arc<Callers>, base: String, topic: &str) {
        let caller = self.draining(&format!("drain-{topic}"), base);
        let began = std::time::Instant::now();
        loop {
            // When every lease is over, an empty answer means that there is nothing.
            let left = LEASES_OVER_SECONDS.saturating_sub(began.elapsed().as_secs());
            let came = caller.receive_once(topic, &format!("wait={}", left.max(1)), |_| Settle::Ack).await;
            if came.is_none() || (came == Some(0) && left == 0) {
                break;
            }
        }
    }

    /// Answered sends of the topics that were drained and that never came to anybody. What has gone is the checker's.
    pub fn never_delivered(&self, drained: &ReadBack) -> Vec<String> {
        use harness::history::Phase;
        let min_of: HashMap<(&str, u32), u64> =
            drained.queues.iter().map(|queue| ((queue.topic.as_str(), queue.queue), queue.min_offset)).collect();
        let lines = self.recorder.lines();
        // At which place a delayed message came, and whether retention took it there, nobody was told.
        let waits = |topic: &str| topic == DELAY_TOPIC || topic == TRANSACTION_TOPIC;
        let is_drained = |topic: &str| RECEIVED.contains(&topic) && !(self.has_retention && waits(topic));
        let committed: HashSet<&str> = {
            let commits = lines.iter().filter(|line| line.operation == Operation::Commit);
            let answered: HashSet<u64> =
                commits.clone().filter(|line| line.phase == Phase::Ok).map(|line| line.id).collect();
            commits.filter(|line| answered.contains(&line.id)).filter_map(|line| line.subject.key.as_deref()).collect()
        };
        let asked: HashMap<u64, &Line> = lines
            .iter()
            .filter(|line| line.operation == Operation::Send && line.phase == Phase::Invoke)
            .map(|line| (line.id, line))
            .collect();
        let came: HashSet<&str> = lines
            .iter()
            .filter(|line| line.operation == Operation::Receive && line.phase == Phase::Ok)
            .filter_map(|line| line.subject.key.as_deref())
            .collect();
        let stored = lines.iter().filter(|line| line.operation == Operation::Send && line.phase == Phase::Ok);
        stored
            .filter_map(|line| {
                let sent = asked[&line.id];
                let (key, topic) = (sent.subject.key.as_deref()?, sent.subject.topic.as_deref()?);
                let min = line.subject.queue.and_then(|queue| min_of.get(&(topic, queue)).copied()).unwrap_or(0);
                let is_there = line.subject.queue_offset.is_none_or(|offset| offset >= min);
                let is_to_come = sent.subject.producer_group.is_none() || committed.contains(key);
                let is_missed = is_drained(topic) && is_there && is_to_come && !came.contains(key);
                is_missed.then(|| format!("{key} of {topic} was stored and never came"))
            })
            .collect()
    }

    async fn create_topic(&self, http: &Client, base: &str, topic: &str, message_type: &str) -> Option<bool> {
        let subject = Subject { topic: Some(topic.into()), ..Subject::default() };
        let invoked = self.recorder.invoke("topics", Operation::CreateTopic, subject);
        let config = json!({"readQueues": 3, "writeQueues": 3, "messageType": message_type});
        let answer = ask(http.put(format!("{base}/v1/topics/{topic}")).json(&config)).await;
        // There already: an answer that never came, or a delete.
        self.note(&invoked, answer.as_ref(), &[200, 201])
    }

    /// Writes down what became of something whose answer says no more than that. `None`: the server is gone.
    fn note(&self, invoked: &Invoked, answer: Option<&Answer>, good: &[u16]) -> Option<bool> {
        let Some(answer) = answer else {
            self.recorder.unknown(invoked, "no answer");
            return None;
        };
        if good.contains(&answer.status) {
            self.recorder.ok(invoked, Subject { level: Some(self.level), ..Subject::default() });
        } else {
            self.refused(invoked, answer);
        }
        Some(good.contains(&answer.status))
    }

    fn refused(&self, invoked: &Invoked, answer: &Answer) {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        self.refused_with(invoked, &problem, &text);
    }

    /// An answer that does not say that nothing was applied is no answer.
    fn refused_with(&self, invoked: &Invoked, problem: &Value, text: &str) {
        if problem["outcome"] == "notApplied" {
            self.recorder.fail(invoked, text);
        } else {
            self.recorder.unknown(invoked, text);
        }
    }
}

impl Load {
    /// Lets every caller finish what it is at.
    pub async fn end(mut self) {
        self.done.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no caller panics");
        }
    }
}

/// One of them.
struct Caller {
    all: Arc<Callers>,
    name: String,
    base: String,
    http: Client,
    done: Arc<AtomicBool>,
    random: Random,
}

/// A message that is about to be sent.
struct Draft {
    key: String,
    body: Vec<u8>,
    number: String,
    sort: Sort,
}

#[derive(Debug, Clone, Copy)]
enum Sort {
    Plain,
    OfLane(u64),
    After {
        ms: u64,
    },
    /// A second.
    OfFirstLevel,
    /// Of a transaction.
    Half,
}

impl Sort {
    /// Its answer says where it waits, and not where it will come.
    fn waits(self) -> bool {
        !matches!(self, Sort::Plain | Sort::OfLane(_))
    }
}

/// What a consumer does with a message.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Settle {
    Ack,
    GiveUp,
    Keep,
}

impl Draft {
    fn subject(&self, topic: &str) -> Subject {
        Subject {
            topic: Some(topic.into()),
            key: Some(self.key.clone()),
            body_hash: Some(hash_of(&self.body)),
            properties_hash: Some(hash_of_properties([("number", &*self.number)])),
            lane: if let Sort::OfLane(lane) = self.sort { Some(format!("l{lane}")) } else { None },
            delay_ms: match self.sort {
                Sort::After { ms } => Some(ms as i64),
                Sort::OfFirstLevel => Some(1_000),
                Sort::Plain | Sort::OfLane(_) | Sort::Half => None,
            },
            producer_group: matches!(self.sort, Sort::Half).then(|| PRODUCER_GROUP.into()),
            ..Subject::default()
        }
    }
}

impl Caller {
    fn goes_on(&self) -> bool {
        !self.done.load(Ordering::Relaxed)
    }

    fn draft(&mut self) -> Draft {
        let number = self.all.next_key.fetch_add(1, Ordering::Relaxed);
        let large = self.random.below(LARGE_EVERY) == 0;
        let most = if large { self.all.body_bytes_max } else { self.all.body_bytes_max.min(1_024) };
        let len = 1 + self.random.below(most);
        Draft {
            key: format!("k{number}"),
            body: bytes_of(number, len as usize),
            number: number.to_string(),
            sort: Sort::Plain,
        }
    }

    async fn send(mut self) {
        while self.goes_on() {
            let draft = self.draft();
            if self.send_one(TOPIC, draft).await.is_none() {
                return;
            }
        }
    }

    async fn send_in_lanes(mut self) {
        while self.goes_on() {
            let sort = Sort::OfLane(self.random.below(LANES));
            let draft = Draft { sort, ..self.draft() };
            if self.send_one(LANE_TOPIC, draft).await.is_none() {
                return;
            }
        }
    }

    async fn send_delayed(mut self) {
        while self.goes_on() {
            let sort = match self.random.below(3) {
                0 => Sort::OfFirstLevel,
                _ => Sort::After { ms: 1 + self.random.below(DELAY_MS_MAX) },
            };
            let draft = Draft { sort, ..self.draft() };
            if self.send_one(DELAY_TOPIC, draft).await.is_none() {
                return;
            }
        }
    }

    /// Half messages, and what becomes of them: mostly one decision, now and then both, or none.
    async fn send_halves(mut self) {
        while self.goes_on() {
            let draft = Draft { sort: Sort::Half, ..self.draft() };
            let key = draft.key.clone();
            let Some(published) = self.send_one(TRANSACTION_TOPIC, draft).await else { return };
            if let Some(handle) = published["transactionHandle"].as_str() {
                let mut halves = self.all.halves.lock().expect("nobody panics holding it");
                halves.push_back((key.clone(), handle.into()));
                if halves.len() > HALVES_MAX {
                    halves.pop_front();
                }
            }
            // Also one that was decided long ago, or of which nobody was told.
            for _ in 0..self.random.below(3) {
                let known = self.all.halves.lock().expect("nobody panics holding it").clone();
                let latest = known.back().filter(|_| self.random.below(2) == 0).cloned();
                let Some((key, handle)) =
                    latest.or_else(|| known.get(self.random.below(HALVES_MAX as u64) as usize).cloned())
                else {
                    continue;
                };
                let commit = self.random.below(2) == 0;
                if is_decided(&key) && self.decide(&key, &handle, commit).await.is_none() {
                    return;
                }
            }
        }
    }

    /// `None`: the server is gone.
    async fn decide(&self, key: &str, handle: &str, commit: bool) -> Option<bool> {
        let (operation, word) = if commit { (Operation::Commit, "commit") } else { (Operation::RollBack, "rollback") };
        let subject = Subject { key: Some(key.into()), ..Subject::default() };
        let invoked = self.all.recorder.invoke(&self.name, operation, subject);
        let answer = ask(self.http.post(format!("{}/v1/transactions/{handle}/{word}", self.base))).await;
        self.all.note(&invoked, answer.as_ref(), &[204])
    }

    async fn answer_checks(mut self) {
        while self.goes_on() && self.answer_some_checks().await.is_some() {}
    }

    /// `None`: the server is gone.
    async fn answer_some_checks(&mut self) -> Option<()> {
        let recorder = &self.all.recorder;
        let subject = Subject { producer_group: Some(PRODUCER_GROUP.into()), ..Subject::default() };
        let invoked = recorder.invoke(&self.name, Operation::Check, subject);
        let url = format!("{}/v1/producer-groups/{PRODUCER_GROUP}/transaction-checks/receive?bodyAs=base64", self.base);
        let request = self.http.post(url).header("Prefer", "wait=1").json(&json!({"maxMessages": 8}));
        let Some(answer) = ask(request).await else {
            recorder.unknown(&invoked, "no answer");
            return None;
        };
        if answer.status != 200 {
            self.all.refused(&invoked, &answer);
            tokio::task::yield_now().await;
            return Some(());
        }
        let checks = answer.json()["checks"].as_array().cloned().expect("checks");
        for check in &checks {
            let (key, body_hash, properties_hash) = seen(&check["message"]);
            let (body_hash, properties_hash) = (Some(body_hash), Some(properties_hash));
            recorder.ok(&invoked, Subject { key: Some(key), body_hash, properties_hash, ..Subject::default() });
        }
        for check in &checks {
            let key = key_of(&check["message"]);
            let handle = check["transactionHandle"].as_str().expect("a handle");
            if is_decided(&key) {
                let commit = self.random.below(2) == 0;
                self.decide(&key, handle, commit).await?;
            }
        }
        Some(())
    }

    /// The answer, if it was stored. `None`: the server is gone.
    async fn send_one(&self, topic: &str, draft: Draft) -> Option<Value> {
        let invoked = self.all.recorder.invoke(&self.name, Operation::Send, draft.subject(topic));
        let kind = if matches!(draft.sort, Sort::Half) { "transactions" } else { "messages" };
        let request = self
            .http
            .post(format!("{}/v1/topics/{topic}/{kind}?timeFormat=ms", self.base))
            .header("Gantry-Message-Id", &draft.key)
            .header("Gantry-Property", format!("number={}", draft.number));
        let request = match draft.sort {
            Sort::Plain => request,
            Sort::OfLane(lane) => request.header("Gantry-Message-Group", format!("l{lane}")),
            Sort::After { ms } => request.header("Gantry-Delay", format!("{ms}ms")),
            Sort::OfFirstLevel => request.header("Gantry-Delay-Level", "1"),
            Sort::Half => request.header("Gantry-Producer-Group", PRODUCER_GROUP),
        };
        let waits = draft.sort.waits();
        let request = request.body(draft.body);
        let Some(answer) = ask(request).await else {
            self.all.recorder.unknown(&invoked, "no answer");
            return None;
        };
        if answer.status == 201 {
            let mut published = answer.json();
            if waits {
                published["queueOffset"] = Value::Null;
            }
            self.stored(&invoked, &published, None);
            return Some(published);
        }
        self.all.refused(&invoked, &answer);
        tokio::task::yield_now().await;
        Some(Value::Null)
    }

    fn stored(&self, invoked: &Invoked, published: &Value, batch: Option<u64>) {
        let subject = Subject {
            queue: published["queueId"].as_u64().and_then(|id| u32::try_from(id).ok()),
            queue_offset: published["queueOffset"].as_u64(),
            log_offset: log_offset(published["offsetMessageId"].as_str().expect("an offset message id")),
            stored_ms: published["storeTimestamp"].as_i64(),
            level: Some(self.all.level),
            batch,
            ..Subject::default()
        };
        self.all.recorder.ok(invoked, subject);
    }

    async fn send_batches(mut self) {
        while self.goes_on() {
            let count = 1 + self.random.below(BATCH_ENTRIES_MAX);
            let batch = self.all.next_key.load(Ordering::Relaxed);
            let drafts: Vec<Draft> = (0..count).map(|_| self.draft()).collect();
            let recorder = &self.all.recorder;
            let invoked: Vec<Invoked> = drafts
                .iter()
                .map(|draft| {
                    let subject = Subject { batch: Some(batch), ..draft.subject(BATCH_TOPIC) };
                    recorder.invoke(&self.name, Operation::Send, subject)
                })
                .collect();
            let entries: Vec<Value> = drafts
                .iter()
                .map(|draft| {
                    json!({
                        "messageId": draft.key,
                        "bodyBase64": STANDARD.encode(&draft.body),
                        "properties": {"number": draft.number},
                    })
                })
                .collect();
            let url = format!("{}/v1/topics/{BATCH_TOPIC}/messages/batch?timeFormat=ms", self.base);
            let Some(answer) = ask(self.http.post(url).json(&json!({"messages": entries}))).await else {
                return invoked.iter().for_each(|invoked| recorder.unknown(invoked, "no answer"));
            };
            if answer.status != 201 && answer.status != 207 {
                invoked.iter().for_each(|invoked| self.all.refused(invoked, &answer));
                continue;
            }
            let results = answer.json()["results"].as_array().cloned().expect("one result for each entry");
            for (invoked, result) in invoked.iter().zip(&results) {
                match result.get("problem") {
                    None => self.stored(invoked, result, Some(batch)),
                    Some(problem) => self.all.refused_with(invoked, problem, &problem.to_string()),
                }
            }
        }
    }

    async fn send_over_grpc(mut self, address: String) {
        let Ok(mut client) = MessagingServiceClient::connect(format!("http://{address}")).await else { return };
        while self.goes_on() {
            let draft = self.draft();
            let recorder = &self.all.recorder;
            let invoked = recorder.invoke(&self.name, Operation::Send, draft.subject(TOPIC));
            let message = v2::Message {
                topic: Some(v2::Resource { name: TOPIC.into(), ..v2::Resource::default() }),
                user_properties: [("number".to_string(), draft.number)].into(),
                system_properties: Some(v2::SystemProperties {
                    message_id: draft.key,
                    message_type: v2::MessageType::Normal as i32,
                    body_encoding: v2::Encoding::Identity as i32,
                    ..v2::SystemProperties::default()
                }),
                body: draft.body.into(),
            };
            let mut request = tonic::Request::new(v2::SendMessageRequest { messages: vec![message] });
            request.metadata_mut().insert("x-mq-client-id", "torture@1@0@x".parse().expect("ascii"));
            let Ok(reply) = client.send_message(request).await else {
                return recorder.unknown(&invoked, "no answer");
            };
            let reply = reply.into_inner();
            let entry = reply
                .entries
                .first()
                .filter(|entry| entry.status.as_ref().is_some_and(|status| status.code == v2::Code::Ok as i32));
            match entry {
                Some(entry) => recorder.ok(
                    &invoked,
                    Subject {
                        queue_offset: u64::try_from(entry.offset).ok(),
                        level: Some(self.all.level),
                        ..Subject::default()
                    },
                ),
                // The codes of this contract do not tell refused from unknown.
                None => recorder.unknown(&invoked, format!("{:?}", reply.status)),
            }
        }
    }

    async fn receive(self, topic: &'static str) {
        let settle = |key: &str| {
            let number = number_of(key);
            match topic {
                LANE_TOPIC if number.is_multiple_of(KEPT_EVERY) => Settle::Keep,
                LANE_TOPIC if number.is_multiple_of(GIVEN_UP_EVERY) => Settle::GiveUp,
                LANE_TOPIC => Settle::Ack,
                // Every third is kept: its lease must survive too.
                _ if number.is_multiple_of(3) => Settle::Keep,
                _ => Settle::Ack,
            }
        };
        while self.goes_on() && self.receive_once(topic, "wait=1", settle).await.is_some() {}
    }

    /// How many came; `None` when the server is gone.
    async fn receive_once(&self, topic: &str, prefer: &str, settle: impl Fn(&str) -> Settle) -> Option<usize> {
        let recorder = &self.all.recorder;
        let subject = Subject { topic: Some(topic.into()), group: Some(GROUP.into()), ..Subject::default() };
        let invoked = recorder.invoke(&self.name, Operation::Receive, subject);
        let request = self
            .http
            .post(format!("{}/v1/groups/{GROUP}/receive?bodyAs=base64", self.base))
            .header("Prefer", prefer)
            .json(&json!({"topic": topic, "maxMessages": 16, "invisibleDuration": INVISIBLE}));
        let Some(answer) = ask(request).await else {
            recorder.unknown(&invoked, "no answer");
            return None;
        };
        if answer.status != 200 {
            self.all.refused(&invoked, &answer);
            tokio::task::yield_now().await;
            return Some(0);
        }
        let messages = answer.json()["messages"].as_array().cloned().expect("messages");
        for message in &messages {
            let (key, body_hash, properties_hash) = seen(message);
            let properties_hash = Some(properties_hash);
            let subject = Subject { key: Some(key), body_hash: Some(body_hash), properties_hash, ..Subject::default() };
            recorder.ok(&invoked, subject);
        }
        for message in &messages {
            let key = key_of(message);
            let settle = settle(&key);
            let handle = message["receiptHandle"].as_str().expect("a handle");
            let (operation, request, good) = match settle {
                Settle::Keep => continue,
                Settle::Ack => (Operation::Ack, self.http.delete(format!("{}/v1/receipts/{handle}", self.base)), 204),
                Settle::GiveUp => {
                    let url = format!("{}/v1/receipts/{handle}/dead-letter", self.base);
                    (Operation::DeadLetter, self.http.post(url).json(&json!({})), 200)
                }
            };
            let subject =
                Subject { topic: Some(topic.into()), group: Some(GROUP.into()), key: Some(key), ..Subject::default() };
            let invoked = recorder.invoke(&self.name, operation, subject);
            self.all.note(&invoked, ask(request).await.as_ref(), &[good])?;
        }
        Some(messages.len())
    }

    /// Topics that come, get a message, go, come again under the same name, get another one; a third of them stays.
    async fn change_topics(mut self) {
        while self.goes_on() && self.change_topic().await.is_some() {
            // Not too many: each is read back after every restart.
            tokio::time::sleep(TOPIC_PAUSE).await;
        }
    }

    /// `None`: the server is gone.
    async fn change_topic(&mut self) -> Option<()> {
        let number = self.all.next_topic.fetch_add(1, Ordering::Relaxed);
        let (name, again) = (number / 2, !number.is_multiple_of(2));
        let topic = format!("x{name}");
        self.all.create_topic(&self.http, &self.base, &topic, "normal").await?;
        let draft = self.draft();
        self.send_one(&topic, draft).await?;
        if again && name.is_multiple_of(3) {
            return Some(());
        }
        let subject = Subject { topic: Some(topic.clone()), ..Subject::default() };
        let invoked = self.all.recorder.invoke(&self.name, Operation::DeleteTopic, subject);
        let answer = ask(self.http.delete(format!("{}/v1/topics/{topic}", self.base))).await;
        self.all.note(&invoked, answer.as_ref(), &[204]).map(|_| ())
    }
}

/// What a message's JSON says about it.
pub fn seen(message: &Value) -> (String, harness::history::Hash, harness::history::Hash) {
    let body = message["body"].as_str().and_then(|text| STANDARD.decode(text).ok()).expect("a body in base64");
    let properties = message["properties"].as_object().cloned().unwrap_or_default();
    let pairs = properties.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("text")));
    (key_of(message), hash_of(&body), hash_of_properties(pairs))
}

fn number_of(key: &str) -> u64 {
    key[1..].parse().expect("our own key")
}

/// Does anybody ever say what becomes of this half message?
fn is_decided(key: &str) -> bool {
    !number_of(key).is_multiple_of(UNDECIDED_EVERY)
}

fn key_of(message: &Value) -> String {
    message["messageId"].as_str().expect("a message id").to_string()
}

/// The second half of an offset message id is the place in the log: sixteen hex digits.
fn log_offset(id: &str) -> Option<u64> {
    u64::from_str_radix(id.get(id.len().checked_sub(16)?..)?, 16).ok()
}

pub fn wall_us() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().expect("later than 1970").as_micros() as u64
}
