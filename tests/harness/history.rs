//! What callers were told, written down line by line, and the one checker that judges it after a fault.
//!
//! A history is JSON, one object a line. `invoke` is written before a request leaves, and at most one of `ok`, `fail` and
//! `unknown` after its answer came; the two share an `id`. The order of the lines is the order of the events.
//! ```text
//! {"at":1200,"id":7,"phase":"invoke","operation":"send","client":"c1","topic":"t","queue":2,"key":"k7","bodyHash":"…","propertiesHash":"…"}
//! {"at":1431,"id":7,"phase":"ok","operation":"send","client":"c1","queueOffset":12,"logOffset":4711,"level":"disk"}
//! {"at":1502,"id":8,"phase":"invoke","operation":"restart","client":"rig","fault":"kill"}
//! ```
//! | field | what it is |
//! | --- | --- |
//! | `at` | microseconds since the history began, of a clock that only grows |
//! | `phase` | `invoke`, `ok`, `fail` (it did not happen and never will), `unknown`; no second line is `unknown` too |
//! | `operation` | `send` (of one message), `receive`, `ack`, `nack`, `deadLetter` (given up by its consumer), `commit` and `rollBack` (of a transaction), `check` (asks a producer group about its transactions), `createTopic`, `deleteTopic`, `retain`, `restart` |
//! | `topic`, `group`, `queue`, `queueOffset`, `logOffset` | where; `queue` and `logOffset` may be left out |
//! | `key` | of one send alone: each try has its own |
//! | `lane`, `batch` | message group; entries of one call, which keep their order in each queue |
//! | `delayMs` | of a send: not to come before so long after it was stored; its `ok` says no `queueOffset` |
//! | `producerGroup` | of a send: a half message of its; its `ok` says no `queueOffset` either. Of a check: who is asked |
//! | `bodyHash`, `propertiesHash` | `hash_of`, `hash_of_properties`, sixteen hex digits |
//! | `level` | what an `ok` promised: `memory` survives a kill, `disk` a power cut too |
//! | `storedMs` | of a send's `ok`: the broker's time when it was stored |
//! | `mayGoBelow`, `mayGoUntilMs` | of a `retain`, a pass of retention: nothing else may go than what lies below this place of the log, or was stored until then |
//! | `fault` | of a restart: `stop`, `kill`, `powerCut`; `invoke` is the fault, `ok` the broker that serves again |
//!
//! A receive has one `ok` line for each message that came, and a check one for each transaction it is about. [`check`] takes a history and the [`ReadBack`] after its last
//! restart. An unknown outcome is never taken for a yes or a no.

mod delivery;
mod transactions;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    Invoke,
    Ok,
    Fail,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    Send,
    Receive,
    Ack,
    Nack,
    DeadLetter,
    Commit,
    RollBack,
    Check,
    CreateTopic,
    DeleteTopic,
    Retain,
    Restart,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    Memory,
    Disk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    Stop,
    Kill,
    PowerCut,
}

/// Sixteen hex digits of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hash(pub u64);

pub fn hash_of(bytes: &[u8]) -> Hash {
    first_8_bytes(Sha256::digest(bytes).as_slice())
}

/// Of names with values, in whatever order they come.
pub fn hash_of_properties<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Hash {
    let mut properties: Vec<(&str, &str)> = properties.into_iter().collect();
    properties.sort_unstable();
    let mut sha = Sha256::new();
    for text in properties.iter().flat_map(|(name, value)| [name, value]) {
        sha.update((text.len() as u64).to_be_bytes());
        sha.update(text);
    }
    first_8_bytes(sha.finalize().as_slice())
}

/// One line of a history. What does not concern an operation is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub at: u64,
    pub id: u64,
    pub phase: Phase,
    pub operation: Operation,
    pub client: String,
    #[serde(flatten)]
    pub subject: Subject,
}

/// What an operation is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub producer_group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_hash: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties_hash: Option<Hash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_go_below: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub may_go_until_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Writes a history, from as many threads as there are callers.
pub struct Recorder {
    began: Instant,
    lines: Mutex<Lines>,
}

/// What a recorder has written. While this is held, nothing happens that the history would know of.
pub struct Lines {
    next_id: u64,
    kept: Vec<Line>,
    file: Option<std::fs::File>,
}

/// An operation that was begun and has no outcome yet.
#[derive(Debug, Clone)]
pub struct Invoked {
    pub id: u64,
    operation: Operation,
    client: String,
}

impl Recorder {
    /// Keeps the lines in memory.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Recorder {
        Recorder { began: Instant::now(), lines: Mutex::new(Lines { next_id: 0, kept: Vec::new(), file: None }) }
    }

    /// Goes on behind a history that was cut short: its lines are kept.
    pub fn behind(lines: Vec<Line>) -> Recorder {
        let recorder = Recorder::new();
        *recorder.lock() =
            Lines { next_id: lines.iter().map(|line| line.id + 1).max().unwrap_or(0), kept: lines, file: None };
        recorder
    }

    /// Appends them to a file as well, so that a caller which is killed leaves its history behind.
    pub fn to_file(path: &Path) -> io::Result<Recorder> {
        let recorder = Recorder::new();
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        recorder.lock().file = Some(file);
        Ok(recorder)
    }

    /// Before the request leaves.
    pub fn invoke(&self, client: &str, operation: Operation, subject: Subject) -> Invoked {
        let mut lines = self.lock();
        let id = lines.next_id;
        lines.next_id += 1;
        let invoked = Invoked { id, operation, client: client.into() };
        self.write(&mut lines, &invoked, Phase::Invoke, subject);
        invoked
    }

    pub fn ok(&self, invoked: &Invoked, subject: Subject) {
        self.write(&mut self.lock(), invoked, Phase::Ok, subject);
    }

    /// It did not happen and never will.
    pub fn fail(&self, invoked: &Invoked, reason: impl fmt::Display) {
        let subject = Subject { reason: Some(reason.to_string()), ..Subject::default() };
        self.write(&mut self.lock(), invoked, Phase::Fail, subject);
    }

    pub fn unknown(&self, invoked: &Invoked, reason: impl fmt::Display) {
        let subject = Subject { reason: Some(reason.to_string()), ..Subject::default() };
        self.write(&mut self.lock(), invoked, Phase::Unknown, subject);
    }

    /// Holds the history, so that a disk can be copied at a moment of it.
    pub fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().expect("nobody panics holding it")
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lock().kept.clone()
    }

    fn write(&self, lines: &mut Lines, invoked: &Invoked, phase: Phase, subject: Subject) {
        let at = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let Invoked { id, operation, client } = invoked.clone();
        let line = Line { at, id, phase, operation, client, subject };
        if let Some(file) = &mut lines.file {
            let mut json = serde_json::to_vec(&line).expect("plain fields become JSON");
            json.push(b'\n');
            file.write_all(&json).expect("a history can be written");
        }
        lines.kept.push(line);
    }
}

impl Lines {
    pub fn all(&self) -> &[Line] {
        &self.kept
    }
}

/// Reads a history. A last line that was cut off in the middle is no line.
pub fn read_lines(from: impl io::Read) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut reader = io::BufReader::new(from);
    let mut text = String::new();
    while reader.read_line(&mut text)? > 0 {
        if text.ends_with('\n') {
            let line = serde_json::from_str(&text);
            lines.push(line.map_err(|error| io::Error::other(format!("line {}: {error}", lines.len() + 1)))?);
        }
        text.clear();
    }
    Ok(lines)
}

/// What was read after the last restart of a history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadBack {
    /// Every topic that exists, clients' topics alone.
    pub topics: Vec<String>,
    pub queues: Vec<QueueRead>,
    /// What lies in the dead letter queues, by consumer group.
    #[serde(default)]
    pub dead_letters: BTreeMap<String, Vec<MessageRead>>,
    /// What lies in the retry topics, by consumer group.
    #[serde(default)]
    pub retried: BTreeMap<String, Vec<MessageRead>>,
    /// What was delayed until this time of the broker's, or less long, has come.
    #[serde(default)]
    pub due_until_ms: i64,
    /// Keys of the half messages that the broker calls open, read before `held`.
    #[serde(default)]
    pub open: Vec<String>,
    /// What lies in the topic of those that nobody decided.
    #[serde(default)]
    pub held: Vec<MessageRead>,
    /// Producers are asked so often before a half message is given up.
    #[serde(default)]
    pub check_max: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueRead {
    pub topic: String,
    pub queue: u32,
    /// Retention took what lies below: what it was allowed to take, says the history.
    pub min_offset: u64,
    /// In the order they were read.
    pub messages: Vec<MessageRead>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageRead {
    pub queue_offset: u64,
    pub key: String,
    pub body_hash: Hash,
    pub properties_hash: Hash,
    /// The broker's time.
    #[serde(default)]
    pub stored_ms: i64,
}

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An acknowledged message is gone, though its level promised that it survives.
    Lost,
    /// An acknowledged message went with retention, though no pass was allowed to take it yet.
    TakenTooEarly,
    /// A message is missing that lies before another one in the log: no prefix.
    Hole,
    /// Other bytes or properties, another queue or offset than was answered.
    Altered,
    /// Nobody sent it, its send was refused, or its topic was deleted after it.
    Phantom,
    /// A later send lies before an earlier one, or a queue's offsets do not follow each other.
    Disorder,
    /// The same queue offset was answered to two sends.
    OffsetTwice,
    /// One send is stored twice.
    StoredTwice,
    /// A message came again after its ack was answered, or after it was given up.
    AckLost,
    /// A delayed message is in its topic twice.
    FiredTwice,
    /// A delayed message is in its topic before its time.
    FiredEarly,
    /// A delayed message is not in its topic after its time.
    TimerLost,
    /// A message came though one before it in its lane was neither settled nor given up, and did not come with it.
    LaneDisorder,
    /// A message is in one dead letter queue twice.
    DeadTwice,
    /// A message lies in a group's retry topic twice.
    RetriedTwice,
    /// A message that its consumer gave up is not in the dead letter queue.
    DeadLetterLost,
    /// A half message was seen that nobody had committed, or that was rolled back.
    UncommittedSeen,
    /// Both decisions of one transaction counted, or it was decided and given up.
    DecidedTwice,
    /// A committed message is not in its topic.
    CommitLost,
    /// A transaction is open, or its producers were asked, though it is decided.
    DecisionLost,
    /// A half message that nobody decided is neither open nor held.
    TransactionLost,
    TopicVanished,
    TopicCameBack,
    /// A restart ended in a refusal.
    NoStart,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub kind: Kind,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.what)
    }
}

/// Every broken promise; an empty answer is a clean bill.
pub fn check(lines: &[Line], read_back: &ReadBack) -> Vec<Violation> {
    let history = History::of(lines);
    let mut found = Vec::new();
    history.check_restarts(lines, &mut found);
    history.check_answers(&mut found);
    history.check_read_back(read_back, &mut found);
    history.check_topics(read_back, &mut found);
    history.check_deliveries(lines, &mut found);
    history.check_lanes(lines, read_back, &mut found);
    history.check_dead_letters(read_back, &mut found);
    history.check_retried(read_back, &mut found);
    history.check_transactions(lines, read_back, &mut found);
    found
}

/// Places in a history are the numbers of its lines.
type Place = usize;

/// The broker reads the clock before it stores what is delayed: so much earlier, or as much as the send took.
const LOOKED_AT_BEFORE_MS: u64 = 1_000;

/// It may still happen at any later time.
const NEVER: Place = Place::MAX;

/// A history, its lines brought together.
struct History<'a> {
    sends: Vec<Done<'a>>,
    by_key: HashMap<&'a str, usize>,
    /// Creates and deletes, by topic.
    topics: BTreeMap<&'a str, Vec<Done<'a>>>,
    acks: Vec<Done<'a>>,
    dead_letters: Vec<Done<'a>>,
    /// Commits and rollbacks, by the key of their half message.
    decisions: HashMap<&'a str, Vec<Done<'a>>>,
    /// Where producers were asked.
    checks: Vec<Place>,
    power_cuts: Vec<Place>,
    /// Passes of retention: where they began, and what they might take.
    passes: Vec<(Place, &'a Subject)>,
}

/// One operation from its invocation to its outcome.
struct Done<'a> {
    operation: Operation,
    began: Place,
    /// Its effect, if it has one, came before. An operation without an answer ends with its broker.
    ended: Place,
    outcome: Phase,
    asked: &'a Subject,
    answered: Option<&'a Subject>,
    took_us: u64,
}

impl<'a> History<'a> {
    fn of(lines: &'a [Line]) -> History<'a> {
        let mut history = History {
            sends: Vec::new(),
            by_key: HashMap::new(),
            topics: BTreeMap::new(),
            acks: Vec::new(),
            dead_letters: Vec::new(),
            decisions: HashMap::new(),
            checks: Vec::new(),
            power_cuts: Vec::new(),
            passes: Vec::new(),
        };
        let mut answers: HashMap<u64, (Place, &Line)> = HashMap::new();
        let mut restarts = Vec::new();
        for (place, line) in lines.iter().enumerate() {
            if line.phase != Phase::Invoke {
                answers.insert(line.id, (place, line));
            } else if line.operation == Operation::Restart {
                restarts.push(place);
                if line.subject.fault == Some(Fault::PowerCut) {
                    history.power_cuts.push(place);
                }
            }
        }
        for (began, line) in lines.iter().enumerate().filter(|(_, line)| line.phase == Phase::Invoke) {
            let next_restart = || restarts.iter().copied().find(|restart| *restart > began).unwrap_or(NEVER);
            let (ended, outcome, answered, took_us) = match answers.get(&line.id) {
                Some((place, answer)) if answer.phase != Phase::Unknown => {
                    (*place, answer.phase, Some(&answer.subject), answer.at.saturating_sub(line.at))
                }
                _ => (next_restart(), Phase::Unknown, None, 0),
            };
            let asked = &line.subject;
            let done = Done { operation: line.operation, began, ended, outcome, asked, answered, took_us };
            match line.operation {
                Operation::Send => {
                    let key = asked.key.as_deref().expect("a send has a key");
                    let before = history.by_key.insert(key, history.sends.len());
                    assert!(before.is_none(), "two sends bear the key {key}");
                    history.sends.push(done);
                }
                Operation::CreateTopic | Operation::DeleteTopic => {
                    let topic = asked.topic.as_deref().expect("it has a topic");
                    history.topics.entry(topic).or_default().push(done);
                }
                Operation::Ack => history.acks.push(done),
                Operation::DeadLetter => history.dead_letters.push(done),
                Operation::Commit | Operation::RollBack => {
                    let key = asked.key.as_deref().expect("a decision names its half message");
                    history.decisions.entry(key).or_default().push(done);
                }
                Operation::Check => history.checks.push(began),
                Operation::Retain => history.passes.push((began, asked)),
                Operation::Receive | Operation::Nack | Operation::Restart => {}
            }
        }
        history
    }

    /// Did the effect of this operation have to survive everything up to `until`?
    fn is_certain(&self, done: &Done, until: Place) -> bool {
        let level = done.answered.and_then(|answer| answer.level);
        done.outcome == Phase::Ok
            && (level == Some(Level::Disk) || !self.power_cuts.iter().any(|cut| (done.began..until).contains(cut)))
    }

    fn deletes(&self, topic: &str) -> impl Iterator<Item = &Done<'a>> {
        let of_topic = self.topics.get(topic).into_iter().flatten();
        of_topic.filter(|done| done.operation == Operation::DeleteTopic && done.outcome != Phase::Fail)
    }

    /// Could a delete of the topic have taken what this send stored?
    fn maybe_deleted(&self, send: &Done) -> bool {
        self.deletes(send.topic()).any(|delete| delete.ended > send.began)
    }

    /// Could a pass of retention have taken what this send stored? One that began before the send could not.
    fn may_be_taken(&self, send: &Done) -> bool {
        let Some(answer) = send.answered else { return true };
        let lies_below =
            |pass: &Subject| answer.log_offset.zip(pass.may_go_below).is_some_and(|(at, below)| at < below);
        self.is_old(send) || self.passes_behind(send).any(lies_below)
    }

    /// Could a pass of retention have taken it for its age?
    fn is_old(&self, send: &Done) -> bool {
        let Some(answer) = send.answered else { return true };
        self.passes_behind(send)
            .any(|pass| answer.stored_ms.zip(pass.may_go_until_ms).is_some_and(|(stored, until)| stored <= until))
    }

    fn passes_behind(&self, send: &Done) -> impl Iterator<Item = &'a Subject> {
        let began = send.began;
        self.passes.iter().filter(move |(pass_began, _)| *pass_began > began).map(|(_, pass)| *pass)
    }

    fn check_restarts(&self, lines: &[Line], found: &mut Vec<Violation>) {
        let refused = |line: &&Line| line.operation == Operation::Restart && line.phase == Phase::Fail;
        for line in lines.iter().filter(refused) {
            found.push(Kind::NoStart.because(line.subject.reason.clone().unwrap_or_default()));
        }
    }

    /// What the answers say about each other.
    fn check_answers(&self, found: &mut Vec<Violation>) {
        let mut given: HashMap<(&str, u32, u64), &Done> = HashMap::new();
        for send in self.sends.iter().filter(|send| send.outcome == Phase::Ok) {
            let (Some(queue), Some(offset)) = (send.queue(), send.queue_offset()) else { continue };
            if let Some(before) = given.insert((send.topic(), queue, offset), send) {
                let apart = self.deletes(send.topic()).any(|d| d.began < send.ended && d.ended > before.began);
                if !apart && self.is_certain(before, send.began) {
                    found.push(Kind::OffsetTwice.because(format!(
                        "offset {offset} of queue {queue} of {} went to {} and to {}",
                        send.topic(),
                        before.key(),
                        send.key()
                    )));
                }
            }
        }
    }

    fn check_read_back(&self, read_back: &ReadBack, found: &mut Vec<Violation>) {
        let mut seen = vec![false; self.sends.len()];
        let mut lanes: HashMap<(&str, &str), u32> = HashMap::new();
        for queue in &read_back.queues {
            if queue.min_offset > 0 && self.passes.is_empty() {
                let (of, min) = (&queue.topic, queue.min_offset);
                found.push(Kind::TakenTooEarly.because(format!("queue {} of {of} begins at {min}", queue.queue)));
            }
            let place = |offset: u64| format!("offset {offset} of queue {} of {}", queue.queue, queue.topic);
            // The latest send that lies before, by when it began, and the last entry of each batch.
            let mut latest: Option<&Done> = None;
            let mut batches: HashMap<u64, Place> = HashMap::new();
            for (index, message) in queue.messages.iter().enumerate() {
                let at = place(message.queue_offset);
                let expected = queue.min_offset + index as u64;
                if message.queue_offset != expected {
                    found.push(Kind::Disorder.because(format!("{at} is read where {expected} belongs")));
                }
                let Some(&number) = self.by_key.get(message.key.as_str()) else {
                    found.push(Kind::Phantom.because(format!("{} at {at} was never sent", message.key)));
                    continue;
                };
                let send = &self.sends[number];
                if std::mem::replace(&mut seen[number], true) {
                    let kind = if send.is_delayed() { Kind::FiredTwice } else { Kind::StoredTwice };
                    found.push(kind.because(format!("{} at {at} lies elsewhere as well", message.key)));
                }
                if let Some(altered) = send.differs(queue, message) {
                    found.push(Kind::Altered.because(format!("{} at {at}: {altered}", message.key)));
                }
                if send.outcome == Phase::Fail {
                    found.push(Kind::Phantom.because(format!("{} at {at} was refused", message.key)));
                }
                let gone = |delete: &Done| delete.began > send.ended && self.is_certain(delete, NEVER);
                if self.deletes(send.topic()).any(gone) {
                    found.push(Kind::Phantom.because(format!("{} at {at} went with its topic", message.key)));
                }
                if send.is_delayed()
                    && send.due_ms().is_some_and(|due_ms| {
                        message.stored_ms.saturating_add_unsigned(send.looked_at_before_ms()) < due_ms
                    })
                {
                    found.push(Kind::FiredEarly.because(format!("{} at {at} of {}", message.key, message.stored_ms)));
                }
                if send.is_delayed() || send.is_half() {
                    // It lies behind what was sent while it waited.
                    continue;
                }
                if let Some(before) = latest
                    && send.ended < before.began
                {
                    found.push(Kind::Disorder.because(format!(
                        "{} at {at} was answered before {} was sent",
                        message.key,
                        before.key()
                    )));
                }
                if latest.is_none_or(|latest| latest.began < send.began) {
                    latest = Some(send);
                }
                if let Some(batch) = send.asked.batch
                    && let Some(before) = batches.insert(batch, send.began)
                    && before > send.began
                {
                    found.push(
                        Kind::Disorder.because(format!("{} at {at} lies behind its batch's later ones", message.key)),
                    );
                }
                if let Some(lane) = &send.asked.lane
                    && *lanes.entry((send.topic(), lane)).or_insert(queue.queue) != queue.queue
                {
                    found.push(Kind::Disorder.because(format!("{} at {at}: its lane has two queues", message.key)));
                }
            }
        }
        self.check_missing(read_back, &seen, found);
    }

    fn check_missing(&self, read_back: &ReadBack, seen: &[bool], found: &mut Vec<Violation>) {
        // Between two power cuts the log only grows: how far it reaches for sure, by the power cuts before.
        let era = |send: &Done| self.power_cuts.iter().filter(|cut| **cut < send.began).count();
        let mut reaches: HashMap<usize, u64> = HashMap::new();
        for (send, _) in self.sends.iter().zip(seen).filter(|(_, seen)| **seen) {
            if let Some(log_offset) = send.answered.and_then(|answer| answer.log_offset) {
                let end = reaches.entry(era(send)).or_default();
                *end = log_offset.max(*end);
            }
        }
        let min_of: HashMap<(&str, u32), u64> =
            read_back.queues.iter().map(|queue| ((queue.topic.as_str(), queue.queue), queue.min_offset)).collect();
        for send in self.sends.iter().zip(seen).filter(|(_, seen)| !**seen).map(|(send, _)| send) {
            if send.outcome != Phase::Ok || self.maybe_deleted(send) {
                continue;
            }
            if send.is_half() && self.may_be_unseen(send, read_back) {
                continue;
            }
            if send.is_delayed() {
                let still_waits = send.due_ms().is_none_or(|due_ms| due_ms > read_back.due_until_ms);
                // Nobody knows at which place it came.
                if still_waits || self.may_be_taken(send) {
                    continue;
                }
            }
            let min = send.queue().and_then(|queue| min_of.get(&(send.topic(), queue))).copied().unwrap_or(0);
            let is_below = send.queue_offset().is_some_and(|offset| offset < min);
            if is_below && self.may_be_taken(send) {
                continue;
            }
            let place = || {
                let offset = send.queue_offset().map_or("?".into(), |offset| offset.to_string());
                let queue = send.queue().map_or("?".into(), |queue| queue.to_string());
                format!("{} of {}, offset {offset} of queue {queue}", send.key(), send.topic())
            };
            if self.is_certain(send, NEVER) {
                let level = send.answered.and_then(|answer| answer.level);
                let kind = match () {
                    () if send.is_delayed() => Kind::TimerLost,
                    () if send.is_half() => Kind::TransactionLost,
                    () if is_below => Kind::TakenTooEarly,
                    () => Kind::Lost,
                };
                found.push(kind.because(format!("{}, answered with {level:?}", place())));
            } else if let Some(log_offset) = send.answered.and_then(|answer| answer.log_offset)
                && reaches.get(&era(send)).is_some_and(|end| *end > log_offset)
            {
                found.push(Kind::Hole.because(format!("{} at {log_offset} of the log, which goes on", place())));
            }
        }
    }

    fn check_topics(&self, read_back: &ReadBack, found: &mut Vec<Violation>) {
        for (topic, changes) in &self.topics {
            let exists = read_back.topics.iter().any(|name| name == topic);
            let changes = || changes.iter().filter(|change| change.outcome != Phase::Fail);
            let last = changes().filter(|change| self.is_certain(change, NEVER)).max_by_key(|change| change.ended);
            // What may have been the last word: the last certain change, and whatever did not end before it began.
            let may_be_last = |change: &&Done| last.is_none_or(|last| change.ended >= last.began);
            let leaves = |change: &Done| change.operation == Operation::CreateTopic;
            let possible = changes().filter(may_be_last).any(|change| leaves(change) == exists);
            if !possible && (last.is_some() || exists) {
                let kind = if exists { Kind::TopicCameBack } else { Kind::TopicVanished };
                found.push(kind.because((*topic).to_string()));
            }
        }
        for topic in read_back.topics.iter().filter(|topic| !self.topics.contains_key(topic.as_str())) {
            found.push(Kind::TopicCameBack.because(format!("{topic}, which nobody made")));
        }
    }
}

impl Done<'_> {
    fn key(&self) -> &str {
        self.asked.key.as_deref().unwrap_or("?")
    }

    fn topic(&self) -> &str {
        self.asked.topic.as_deref().unwrap_or("?")
    }

    fn queue(&self) -> Option<u32> {
        self.answered.and_then(|answer| answer.queue).or(self.asked.queue)
    }

    fn queue_offset(&self) -> Option<u64> {
        self.answered.and_then(|answer| answer.queue_offset)
    }

    fn is_delayed(&self) -> bool {
        self.asked.delay_ms.is_some()
    }

    fn is_half(&self) -> bool {
        self.asked.producer_group.is_some()
    }

    /// When a delayed message comes, as far as anybody was told.
    fn due_ms(&self) -> Option<i64> {
        Some(self.answered?.stored_ms? + self.asked.delay_ms?)
    }

    /// So long before it was stored the broker may have looked at the clock.
    fn looked_at_before_ms(&self) -> u64 {
        LOOKED_AT_BEFORE_MS.max(self.took_us / 1_000)
    }

    /// In what a message is another than the one that was sent and answered.
    fn differs(&self, queue: &QueueRead, message: &MessageRead) -> Option<&'static str> {
        let other = |told: bool| !told;
        if let Some(differs) = self.differs_itself(message) {
            return Some(differs);
        }
        if other(self.topic() == queue.topic && self.queue().is_none_or(|sent| sent == queue.queue)) {
            return Some("another queue");
        }
        if other(self.queue_offset().is_none_or(|offset| offset == message.queue_offset)) {
            return Some("another offset");
        }
        None
    }

    /// In what it differs wherever it lies.
    fn differs_itself(&self, message: &MessageRead) -> Option<&'static str> {
        if self.asked.body_hash.is_some_and(|hash| hash != message.body_hash) {
            return Some("other bytes");
        }
        self.asked.properties_hash.is_some_and(|hash| hash != message.properties_hash).then_some("other properties")
    }
}

impl Kind {
    fn because(self, what: impl Into<String>) -> Violation {
        Violation { kind: self, what: what.into() }
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> String {
        format!("{:016x}", hash.0)
    }
}

impl TryFrom<String> for Hash {
    type Error = String;

    fn try_from(text: String) -> Result<Hash, String> {
        let hash = u64::from_str_radix(&text, 16).ok().filter(|_| text.len() == 16);
        hash.map(Hash).ok_or_else(|| format!("'{text}' is not a hash of sixteen hex digits"))
    }
}

fn first_8_bytes(digest: &[u8]) -> Hash {
    Hash(u64::from_be_bytes(digest[..8].try_into().expect("a digest is longer")))
}
