//! A broker works on a simulated disk while the disk is copied, before random single changes of it, as a kill or a power
//! cut would leave it. Every copy is opened as the next broker's: the checker judges what it holds, and it must go on.
//!
//! A run is made of its seed: settings, work, copies. What is left to the machine is how the broker's own threads
//! interleave, so a seed that failed may need a few tries.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gantry_broker_core::broker::{
    Broker as _, ChangeInvisibleDuration, ConsumerGroupConfig, LeaseLength, PopMessages, PutWhen, SendMessage,
    SendMessages, StartFrom, TopicConfig,
};
use gantry_broker_core::clock::{Clock as _, Timestamp};
use gantry_broker_core::config::Durability;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::message::Message;
use gantry_broker_core::names::ConsumerGroup;
use gantry_broker_core::offset::{QueueId, QueueOffset};
use gantry_broker_core::receipt_handle::ReceiptHandle;
use gantry_broker_core::store::simulated_files::SimulatedFiles;
use gantry_broker_core::{BrokerError, LocalBroker};
use harness::history::{
    Fault, Kind, Level, Line, Operation, QueueRead, ReadBack, Recorder, Subject, check, hash_of, hash_of_properties,
};

use crate::world::{
    Chance, SEGMENT_BYTES, Setting, block_on, count_of, data, host, is_unknown, join_all, level_of, number_of,
    read_back, read_of, topic_name,
};

/// Crash states of `make test` and of `make torture`; `GANTRY_CRASH_STATES` asks for other numbers.
const STATES: u64 = 20_000;
const STATES_FULL: u64 = 1_000_000;
/// Steps of work between two restarts, at most.
const STEPS_MAX: u64 = 50;
/// One change in so many is copied...
const COPIED_ONE_IN: u64 = 12;
/// ...but not more often in one life.
const COPIES_MAX: usize = 40;
/// Lives of one run, one after the other, each from a crash of the one before.
const LIVES: usize = 3;
const TOPICS: [&str; 3] = ["a", "b", "c"];
const QUEUES: u32 = 3;
const GROUPS: [&str; 2] = ["popping", "committing"];
/// Changes of a recovery, roughly: where it is crashed itself.
const RECOVERY_CHANGES: u64 = 60;
/// Of retention: one finds that a snapshot is missing, one that the older snapshot is, one deletes.
const PASSES: usize = 3;
/// Pops until nothing comes any more.
const POPS_MAX: usize = 200;

/// The disk after a fault, and the history up to it.
struct CrashState {
    fault: Fault,
    disk: SimulatedFiles,
    lines: usize,
    /// The number of the change that did not happen any more.
    change: u64,
}

/// Copies a disk before changes of it.
struct Watch {
    recorder: Arc<Recorder>,
    chance: Mutex<Chance>,
    faults: Faults,
    is_on: AtomicBool,
    states: Mutex<Vec<CrashState>>,
}

/// Which faults a run has, so that controls can have one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faults {
    Both,
    PowerCuts,
}

impl Watch {
    fn over(disk: &SimulatedFiles, recorder: &Arc<Recorder>, faults: Faults, seed: u64) -> Arc<Watch> {
        let watch = Arc::new(Watch {
            recorder: recorder.clone(),
            chance: Mutex::new(Chance::new(seed)),
            faults,
            is_on: AtomicBool::new(true),
            states: Mutex::default(),
        });
        let watching = watch.clone();
        disk.before_each_change(Box::new(move |disk, number| watching.look(disk, number)));
        watch
    }

    fn look(&self, disk: &SimulatedFiles, change: u64) {
        if !self.is_on.load(Ordering::SeqCst) {
            return;
        }
        let mut chance = self.chance.lock().expect("nobody panics holding it");
        if chance.one_in(4 * COPIED_ONE_IN) {
            disk.write_back(chance.next());
        }
        if !chance.one_in(COPIED_ONE_IN) {
            return;
        }
        let mut states = self.states.lock().expect("nobody panics holding it");
        if states.len() >= COPIES_MAX {
            return;
        }
        // While this is held nobody is told anything: copy and history are of one moment.
        let lines = self.recorder.lock();
        let (fault, disk) = match self.faults {
            Faults::Both if chance.one_in(2) => (Fault::Kill, disk.kill()),
            _ => (Fault::PowerCut, disk.power_cut(chance.next())),
        };
        states.push(CrashState { fault, disk, lines: lines.all().len(), change });
    }

    fn states(&self) -> Vec<CrashState> {
        self.is_on.store(false, Ordering::SeqCst);
        std::mem::take(&mut self.states.lock().expect("nobody panics holding it"))
    }
}

/// A broker that came up, and was found to hold what it must.
struct Life {
    broker: LocalBroker,
    recorder: Arc<Recorder>,
    read_back: ReadBack,
}

fn restart(fault: Fault) -> Subject {
    Subject { fault: Some(fault), ..Subject::default() }
}

/// Opens a disk as the next broker's and judges it.
fn revive(
    setting: &Setting,
    disk: &SimulatedFiles,
    recorder: Arc<Recorder>,
    chance: &mut Chance,
) -> Result<Life, Vec<String>> {
    let broker = setting.open(disk).map_err(|error| vec![format!("{:?}: {error}", Kind::NoStart)])?;
    let mut read_back = read_back(&broker).map_err(|error| vec![error])?;
    let mut broken = Vec::new();
    if chance.one_in(3) {
        drain(setting, &broker, &recorder, &read_back, &mut broken);
    }
    broken.extend(check(&recorder.lines(), &read_back).iter().map(ToString::to_string));
    if broken.is_empty() {
        broken.extend(goes_on(&broker, &recorder, &mut read_back, chance).err());
    }
    if broken.is_empty() { Ok(Life { broker, recorder, read_back }) } else { Err(broken) }
}

/// All leases run out, and everything that may be delivered is: what was never acked must come.
fn drain(setting: &Setting, broker: &LocalBroker, recorder: &Recorder, read_back: &ReadBack, broken: &mut Vec<String>) {
    setting.hands.advance(Duration::from_secs(24 * 3600));
    make_groups(broker);
    for group in GROUPS {
        let acked: BTreeSet<String> = {
            let lines = recorder.lock();
            let acks = lines
                .all()
                .iter()
                .filter(|line| line.operation == Operation::Ack && line.subject.group.as_deref() == Some(group));
            acks.filter_map(|line| line.subject.key.clone()).collect()
        };
        for topic in &read_back.topics {
            let mut delivered = BTreeSet::new();
            for _ in 0..POPS_MAX {
                match pop(broker, recorder, group, topic, 32) {
                    Ok(popped) if popped.is_empty() => break,
                    Ok(popped) => delivered.extend(popped.into_iter().map(|(_, key)| key)),
                    Err(error) => broken.push(format!("a pop of {topic}: {error}")),
                }
            }
            for queue in read_back.queues.iter().filter(|queue| queue.topic == *topic) {
                let owed = queue.messages.iter().filter(|message| !acked.contains(&message.key));
                for message in owed.filter(|message| !delivered.contains(&message.key)) {
                    let place = format!("{} of queue {} of {topic}", message.queue_offset, queue.queue);
                    broken.push(format!("NotDelivered: {} at {place} does not come to {group}", message.key));
                }
            }
        }
    }
}

/// They begin at the oldest message: left to themselves they would begin at the end of what retention has trimmed.
fn make_groups(broker: &LocalBroker) {
    for group in GROUPS {
        let group =
            ConsumerGroupConfig { start_from: StartFrom::Min, ..ConsumerGroupConfig::new(consumer_group(group)) };
        // There already after a crash that kept it.
        let _ = block_on(broker.put_consumer_group(group, PutWhen::Missing));
    }
}

/// A broker that came up takes a message for each topic and gives it out; log, queues and index know it.
fn goes_on(
    broker: &LocalBroker,
    recorder: &Recorder,
    read_back: &mut ReadBack,
    chance: &mut Chance,
) -> Result<(), String> {
    block_on(async {
        let found = |what: &str, error: &BrokerError| format!("after the restart {what}: {error}");
        if let Some(queue) = chance.pick(&read_back.queues)
            && let Some(message) = chance.pick(&queue.messages)
        {
            let by_key = broker.find_message(topic_name(&queue.topic), message.key.clone()).await;
            let by_key = by_key.map_err(|error| found(&format!("{} is not found by its key", message.key), &error))?;
            let at = broker.read_message(by_key.commit_log_offset).await;
            let at = at.map_err(|error| found(&format!("{} is not found in the log", message.key), &error))?;
            if read_of(&at) != *message {
                return Err(format!("{} is another message by key than by offset", message.key));
            }
        }
        let number = chance.below(read_back.queues.len().max(1) as u64) as usize;
        if let Some(QueueRead { topic, queue, min_offset, messages }) = read_back.queues.get_mut(number) {
            let end = *min_offset + messages.len() as u64;
            let key = format!("next{}", recorder.lock().all().len());
            let sent = send(broker, recorder, topic, vec![(*queue, key.clone(), 100)], 0).await;
            let [Some(offset)] = sent[..] else { return Err("a send after the restart is refused".into()) };
            if offset != end {
                return Err(format!("a send after the restart got offset {offset} instead of {end}"));
            }
            // What was answered at `memory` may be with a thread that is about to dispatch it.
            while broker.describe_storage().await.is_ok_and(|storage| storage.dispatch_behind_bytes > 0) {
                std::thread::yield_now();
            }
            let by_key = broker.find_message(topic_name(topic), key).await;
            messages.push(read_of(&by_key.map_err(|error| found("a message is not found", &error))?));
        }
        Ok(())
    })
}

fn message(key: &str, bytes: usize) -> Message {
    let number = key.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31) + u64::from(byte));
    let body = Chance::new(number).bytes(bytes);
    let message = Message::new(Bytes::from(body), key, Timestamp(1), host()).expect("a legal message");
    let message = message.with_properties([("number", key), ("again", "ä")]).expect("legal properties");
    let message = message.with_keys([key]).expect("a legal key");
    if number.is_multiple_of(3) { message.with_tag("third").expect("a legal tag") } else { message }
}

/// Sends entries of (queue, key, bytes) in one call; the offsets of those that were stored.
async fn send(
    broker: &LocalBroker,
    recorder: &Recorder,
    topic: &str,
    entries: Vec<(u32, String, usize)>,
    client: usize,
) -> Vec<Option<u64>> {
    let client = format!("sender{client}");
    let batch = (entries.len() > 1).then(|| recorder.lock().all().len() as u64);
    let (mut messages, mut invoked) = (Vec::new(), Vec::new());
    for (queue, key, bytes) in entries {
        let message = message(&key, bytes);
        let tag = message.tag().map(|tag| ("TAGS", tag));
        let properties = [("number", key.as_str()), ("again", "ä"), ("KEYS", key.as_str())];
        let asked = Subject {
            topic: Some(topic.into()),
            queue: Some(queue),
            batch,
            body_hash: Some(hash_of(message.body())),
            properties_hash: Some(hash_of_properties(properties.into_iter().chain(tag))),
            key: Some(key.clone()),
            ..Subject::default()
        };
        invoked.push(recorder.invoke(&client, Operation::Send, asked));
        messages.push(SendMessage { queue_id: QueueId(queue), message, idempotency_key: None });
    }
    match broker.send_messages(SendMessages { topic: topic_name(topic), messages }).await {
        Ok(results) => {
            let record = |(invoked, result)| match result {
                Ok(receipt) => {
                    let receipt: gantry_broker_core::broker::SendReceipt = receipt;
                    let answered = Subject {
                        queue: Some(receipt.queue_id.0),
                        queue_offset: Some(receipt.queue_offset.0),
                        log_offset: Some(receipt.commit_log_offset.0),
                        stored_ms: Some(receipt.store_timestamp.0),
                        level: Some(level_of(receipt.durability)),
                        ..Subject::default()
                    };
                    recorder.ok(invoked, answered);
                    Some(receipt.queue_offset.0)
                }
                Err(error) if is_unknown(&error) => {
                    recorder.unknown(invoked, error);
                    None
                }
                Err(error) => {
                    recorder.fail(invoked, error);
                    None
                }
            };
            invoked.iter().zip(results).map(record).collect()
        }
        Err(error) => {
            let is_unknown = is_unknown(&error);
            for invoked in &invoked {
                if is_unknown { recorder.unknown(invoked, &error) } else { recorder.fail(invoked, &error) }
            }
            invoked.iter().map(|_| None).collect()
        }
    }
}

/// One pop; handles and keys of what came.
fn pop(
    broker: &LocalBroker,
    recorder: &Recorder,
    group: &str,
    topic: &str,
    messages_max: u32,
) -> Result<Vec<(ReceiptHandle, String)>, BrokerError> {
    let asked = Subject { group: Some(group.into()), topic: Some(topic.into()), ..Subject::default() };
    let invoked = recorder.invoke(group, Operation::Receive, asked);
    let popped = block_on(broker.pop_messages(PopMessages {
        consumer_group: consumer_group(group),
        topic: topic_name(topic),
        messages_max,
        lease: LeaseLength::Exactly(Duration::from_secs(20)),
        filter: Filter::All,
        attempt_id: None,
    }))?;
    let each = popped.into_iter().map(|popped| {
        let read = read_of(&popped.message);
        let came = Subject {
            queue: Some(popped.message.queue_id.0),
            queue_offset: Some(read.queue_offset),
            key: Some(read.key.clone()),
            body_hash: Some(read.body_hash),
            properties_hash: Some(read.properties_hash),
            ..Subject::default()
        };
        recorder.ok(&invoked, came);
        (popped.handle, read.key)
    });
    Ok(each.collect())
}

fn consumer_group(name: &str) -> ConsumerGroup {
    ConsumerGroup::from_client(name).expect("a legal name")
}

/// Random work of one life.
struct Work<'a> {
    broker: &'a LocalBroker,
    recorder: &'a Recorder,
    setting: &'a Setting,
    chance: Chance,
    /// Sets this life's keys apart.
    life: usize,
    keys: u64,
    topics: BTreeSet<String>,
    /// Keys by topic, queue and offset.
    stored: BTreeMap<(String, u32, u64), String>,
    leased: Vec<(ReceiptHandle, String)>,
}

impl Work<'_> {
    fn step(&mut self) {
        self.setting.hands.advance(Duration::from_millis(self.chance.below(100)));
        let topic = self.chance.pick(&self.topics.iter().cloned().collect::<Vec<_>>()).cloned();
        let Some(topic) = topic else { return self.create_topic() };
        match self.chance.below(43) {
            0..=16 => self.send(&topic, 1, 1),
            17 => {
                let taken = self.broker.take_snapshot();
                taken.unwrap_or_else(|error| panic!("seed {}: no snapshot: {error}", self.setting.seed));
            }
            18..=22 => self.send(&topic, 1, 12),
            23..=25 => self.send(&topic, 4, 3),
            26..=29 => {
                let messages_max = 1 + self.chance.below(16) as u32;
                if let Ok(popped) = pop(self.broker, self.recorder, "popping", &topic, messages_max) {
                    self.leased.extend(popped);
                }
            }
            30..=33 => self.ack(),
            34 => self.nack(),
            35 => self.commit(&topic),
            36 => self.setting.hands.advance(Duration::from_secs(30)),
            37 | 38 => self.create_topic(),
            39..=41 => self.retain(),
            _ => self.delete_topic(&topic),
        }
    }

    /// So many calls at once, of so many entries at most.
    fn send(&mut self, topic: &str, calls: usize, entries_max: u64) {
        let mut planned = Vec::new();
        for _ in 0..calls {
            let entries = (0..1 + self.chance.below(entries_max)).map(|_| {
                self.keys += 1;
                let key = format!("life{}-{}", self.life, self.keys);
                let bytes = self.chance.body_bytes().max(self.setting.body_bytes_min);
                (self.chance.below(QUEUES.into()) as u32, key, bytes)
            });
            planned.push(entries.collect::<Vec<_>>());
        }
        let places: Vec<Vec<(u32, String)>> = planned
            .iter()
            .map(|entries| entries.iter().map(|(queue, key, _)| (*queue, key.clone())).collect())
            .collect();
        type Sent<'a> = Pin<Box<dyn Future<Output = Vec<Option<u64>>> + 'a>>;
        let (broker, recorder) = (self.broker, self.recorder);
        let calls = planned.into_iter().enumerate();
        let calls =
            calls.map(|(client, entries)| -> Sent<'_> { Box::pin(send(broker, recorder, topic, entries, client)) });
        let offsets = block_on(join_all(calls.collect()));
        for ((queue, key), offset) in places.into_iter().flatten().zip(offsets.into_iter().flatten()) {
            if let Some(offset) = offset {
                self.stored.insert((topic.into(), queue, offset), key);
            }
        }
    }

    fn ack(&mut self) {
        let count = (1 + self.chance.below(6) as usize).min(self.leased.len());
        let from = self.chance.below((self.leased.len() - count + 1) as u64) as usize;
        let acks: Vec<_> = self.leased.drain(from..from + count).collect();
        let invoke = |(_, key): &(ReceiptHandle, String)| self.invoke_ack("popping", key);
        let invoked: Vec<_> = acks.iter().map(invoke).collect();
        let handles = acks.into_iter().map(|(handle, _)| handle).collect();
        match block_on(self.broker.ack_messages(handles)) {
            Ok(results) => results.iter().zip(&invoked).for_each(|(result, invoked)| match result {
                Ok(()) => self.recorder.ok(invoked, at_memory()),
                Err(error) => self.recorder.fail(invoked, error),
            }),
            Err(error) => invoked.iter().for_each(|invoked| self.recorder.unknown(invoked, &error)),
        }
    }

    fn invoke_ack(&self, group: &str, key: &str) -> harness::history::Invoked {
        let asked = Subject { group: Some(group.into()), key: Some(key.into()), ..Subject::default() };
        self.recorder.invoke(group, Operation::Ack, asked)
    }

    fn nack(&mut self) {
        if let Some((handle, _)) = self.leased.pop() {
            let change = ChangeInvisibleDuration { handle, invisible: Some(Duration::ZERO), suspend: false };
            // Refused or not, the message comes back: there is nothing to hold against anybody.
            let _ = block_on(self.broker.change_invisible_durations(vec![change]));
        }
    }

    /// Another group says that it has consumed the beginning of a queue.
    fn commit(&mut self, topic: &str) {
        let queue = self.chance.below(QUEUES.into()) as u32;
        let of_queue = (topic.to_string(), queue, 0)..=(topic.to_string(), queue, u64::MAX);
        let known: Vec<(u64, String)> =
            self.stored.range(of_queue).map(|((_, _, offset), key)| (*offset, key.clone())).collect();
        let Some((last, _)) = self.chance.pick(&known).cloned() else { return };
        let below: Vec<_> = known.iter().filter(|(offset, _)| *offset <= last).collect();
        let invoked: Vec<_> = below.iter().map(|(_, key)| self.invoke_ack("committing", key)).collect();
        let offsets = vec![(QueueId(queue), QueueOffset(last + 1))];
        let committed = self.broker.update_consume_offsets(consumer_group("committing"), topic_name(topic), offsets);
        let committed = block_on(committed).and_then(|mut results| results.remove(0));
        invoked.iter().for_each(|invoked| match &committed {
            Ok(()) => self.recorder.ok(invoked, at_memory()),
            Err(error) => self.recorder.fail(invoked, error),
        });
    }

    /// Passes of retention. What they may take is reckoned from the rules alone: whole segments that begin further from the
    /// log's end than it may be long, and what is old enough.
    fn retain(&mut self) {
        let rules = &self.setting.retention;
        for _ in 0..PASSES {
            let storage = block_on(self.broker.describe_storage()).expect("it is told as long as the broker lives");
            let too_long = rules.commit_log_bytes_max.map(|max| storage.commit_log_max.0.saturating_sub(max));
            let reserved_ms = i64::try_from(rules.file_reserved_time.as_millis()).expect("not for ever");
            let may_go = Subject {
                may_go_below: too_long.map(|bytes| bytes.next_multiple_of(SEGMENT_BYTES)),
                may_go_until_ms: Some(self.setting.hands.wall().0 - reserved_ms),
                ..Subject::default()
            };
            let invoked = self.recorder.invoke("retention", Operation::Retain, may_go);
            let retained = self.broker.enforce_retention();
            retained.unwrap_or_else(|error| panic!("seed {}: no retention: {error}", self.setting.seed));
            self.recorder.ok(&invoked, Subject::default());
        }
    }

    fn create_topic(&mut self) {
        let name = *self.chance.pick(&TOPICS).expect("there are some");
        let config = TopicConfig { read_queues: QUEUES, write_queues: QUEUES, ..TopicConfig::new(topic_name(name)) };
        self.change_topic(name, Operation::CreateTopic, async |broker| {
            broker.put_topic(config, PutWhen::Missing).await.map(drop)
        });
        self.topics.insert(name.into());
    }

    fn delete_topic(&mut self, name: &str) {
        self.change_topic(name, Operation::DeleteTopic, async |broker| broker.delete_topic(topic_name(name)).await);
        self.topics.remove(name);
        self.stored.retain(|(topic, ..), _| topic != name);
    }

    fn change_topic(
        &self,
        name: &str,
        operation: Operation,
        change: impl AsyncFnOnce(&LocalBroker) -> Result<(), BrokerError>,
    ) {
        let asked = Subject { topic: Some(name.into()), ..Subject::default() };
        let invoked = self.recorder.invoke("admin", operation, asked);
        match block_on(change(self.broker)) {
            Ok(()) => {
                let level = Some(level_of(self.setting.durability));
                self.recorder.ok(&invoked, Subject { level, ..Subject::default() });
            }
            Err(error) if is_unknown(&error) => self.recorder.unknown(&invoked, error),
            Err(error) => self.recorder.fail(&invoked, error),
        }
    }
}

/// Acks and commits are answered from memory, whatever the broker promises for messages.
fn at_memory() -> Subject {
    Subject { level: Some(Level::Memory), ..Subject::default() }
}

/// What a run came to.
#[derive(Default)]
struct Outcome {
    states: u64,
    messages: u64,
    /// States in which some queue did not begin at 0 any more.
    trimmed: u64,
    failures: Vec<String>,
}

/// One seeded run: lives, the crash states of each, and every one of these judged.
fn run(seed: u64, faults: Faults, prepare: fn(&SimulatedFiles), durability: Option<Durability>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut setting = Setting::of(seed).with_retention();
    setting.durability = durability.unwrap_or(setting.durability);
    let mut chance = Chance::new(seed ^ 0x5EED);
    let mut disk = SimulatedFiles::new();
    let mut recorder = Arc::new(Recorder::new());
    for number in 0..LIVES {
        let context = |state: &str| format!("seed {seed}, {:?}, life {number}, {state}", setting.durability);
        prepare(&disk);
        let watch = Watch::over(&disk, &recorder, faults, chance.next());
        let life = match revive(&setting, &disk, recorder.clone(), &mut chance) {
            Ok(life) => life,
            Err(broken) => {
                outcome.failures.extend(broken.iter().map(|broken| format!("{}: {broken}", context("start"))));
                return outcome;
            }
        };
        work(&setting, &life, number, &mut chance);
        let mut states = watch.states();
        outcome.messages += messages_of(life.recorder.lock().all());
        if chance.one_in(3) {
            // A clean stop is a state too.
            let lines = life.recorder.lock().all().len();
            match life.broker.close() {
                Ok(()) => states.push(CrashState { fault: Fault::Stop, disk: disk.kill(), lines, change: 0 }),
                Err(error) => outcome.failures.push(format!("{}: {error}", context("stop"))),
            }
        }
        let lines = life.recorder.lines();
        drop(life);
        let chosen = chance.below(states.len().max(1) as u64) as usize;
        let mut next = None;
        for (index, state) in states.into_iter().enumerate() {
            outcome.states += 1;
            let context = context(&format!("{:?} before change {}", state.fault, state.change));
            let recorder = Recorder::behind(lines[..state.lines].to_vec());
            recorder.invoke("rig", Operation::Restart, restart(state.fault));
            let recorder = Arc::new(recorder);
            if index == chosen {
                // Judged when it begins the next life, with its recovery watched.
                next = Some((state.disk, recorder));
                continue;
            }
            let disk = if chance.one_in(3) {
                crash_again(&setting, &state.disk, &recorder, faults, &mut chance)
            } else {
                state.disk
            };
            match revive(&setting, &disk, recorder, &mut chance) {
                Ok(life) => {
                    outcome.trimmed += u64::from(life.read_back.queues.iter().any(|queue| queue.min_offset > 0));
                }
                Err(broken) => outcome.failures.extend(broken.iter().map(|broken| format!("{context}: {broken}"))),
            }
        }
        match next {
            Some(next) => (disk, recorder) = next,
            None => return outcome,
        }
    }
    outcome
}

fn messages_of(lines: &[Line]) -> u64 {
    lines.iter().filter(|line| line.operation == Operation::Send).count() as u64 / 2
}

/// Recovery begins and is crashed itself.
fn crash_again(
    setting: &Setting,
    disk: &SimulatedFiles,
    recorder: &Recorder,
    faults: Faults,
    chance: &mut Chance,
) -> SimulatedFiles {
    disk.halt_after(chance.below(RECOVERY_CHANGES));
    // It fails, or does not notice: either way it is dead.
    drop(setting.open(disk));
    let (fault, disk) = match faults {
        Faults::Both if chance.one_in(2) => (Fault::Kill, disk.kill()),
        _ => (Fault::PowerCut, disk.power_cut(chance.next())),
    };
    recorder.invoke("rig", Operation::Restart, restart(fault));
    disk
}

/// A life that nothing happens to.
pub fn quiet_life(
    setting: &Setting,
    disk: &SimulatedFiles,
    recorder: &Arc<Recorder>,
    number: usize,
    chance: &mut Chance,
) -> LocalBroker {
    let life = revive(setting, disk, recorder.clone(), chance);
    let life = life.unwrap_or_else(|broken| panic!("a quiet life: {broken:?}"));
    work(setting, &life, number, chance);
    life.broker
}

fn work(setting: &Setting, life: &Life, number: usize, chance: &mut Chance) {
    let broker = &life.broker;
    make_groups(broker);
    let mut work = Work {
        broker,
        recorder: &life.recorder,
        setting,
        chance: Chance::new(chance.next()),
        life: number,
        keys: 0,
        topics: life.read_back.topics.iter().cloned().collect(),
        stored: BTreeMap::new(),
        leased: Vec::new(),
    };
    for queue in &life.read_back.queues {
        for message in &queue.messages {
            let place = (queue.topic.clone(), queue.queue, message.queue_offset);
            work.stored.insert(place, message.key.clone());
        }
    }
    for _ in 0..1 + chance.below(STEPS_MAX) {
        work.step();
    }
}

/// Runs seeds one after the other, on every core, until so many states were judged.
fn runs(states: u64, faults: Faults, prepare: fn(&SimulatedFiles), durability: Option<Durability>) -> Outcome {
    let first_seed = number_of("GANTRY_SEED").unwrap_or(1);
    let next_seed = AtomicU64::new(first_seed);
    let all = Mutex::new(Outcome::default());
    let life = || loop {
        {
            let all = all.lock().expect("nobody panics holding it");
            if all.states >= states || !all.failures.is_empty() {
                return;
            }
        }
        let outcome = run(next_seed.fetch_add(1, Ordering::SeqCst), faults, prepare, durability);
        let mut all = all.lock().expect("nobody panics holding it");
        let step = (states / 10).max(1);
        if all.states / step != (all.states + outcome.states) / step && states > STATES {
            eprintln!("{} of {states} crash states, {} messages", all.states + outcome.states, all.messages);
        }
        all.states += outcome.states;
        all.messages += outcome.messages;
        all.trimmed += outcome.trimmed;
        all.failures.extend(outcome.failures);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(life))));
    all.into_inner().expect("nobody panics holding it")
}

#[test]
fn d2_d7_d10_every_crash_state_recovers_what_was_promised() {
    let states = count_of("GANTRY_CRASH_STATES", STATES, STATES_FULL);
    let outcome = runs(states, Faults::Both, |_| {}, None);
    assert!(outcome.failures.is_empty(), "{:#?}", outcome.failures);
    assert!(outcome.states >= states && outcome.messages >= states / 10);
    assert!(outcome.trimmed >= states / 100, "{} states behind retention", outcome.trimmed);
    let Outcome { states, messages, trimmed, .. } = outcome;
    eprintln!("{states} crash states, {trimmed} of them behind retention, {messages} messages");
}

/// The control: on a drive that lies about syncs, the same check must see losses at every level of trust.
#[test]
fn control_a_disk_that_lies_about_syncs_is_seen_to_lose() {
    let mut lost = 0;
    for seed in 1..=20 {
        let outcome = run(seed, Faults::PowerCuts, SimulatedFiles::lie_about_syncs, Some(Durability::Disk));
        lost += u64::from(!outcome.failures.is_empty());
    }
    assert_eq!(lost, 20, "runs in which a loss was seen");
}

/// The control of kills: a disk that loses what was never synced is no disk that was left alone.
#[test]
fn control_a_memory_level_broker_is_seen_to_lose_in_a_power_cut_that_calls_itself_a_kill() {
    let mut lost = 0;
    for seed in 1..=20 {
        let mut setting = Setting::of(seed);
        setting.durability = Durability::Memory;
        setting.pace.sync_delay = Duration::from_secs(60);
        let disk = SimulatedFiles::new();
        let mut chance = Chance::new(seed);
        let life = revive(&setting, &disk, Arc::new(Recorder::new()), &mut chance).unwrap_or_else(|b| panic!("{b:?}"));
        work(&setting, &life, 0, &mut chance);
        let recorder = Arc::new(Recorder::behind(life.recorder.lines()));
        let has_messages = messages_of(recorder.lock().all()) > 4;
        let cut = disk.power_cut(seed);
        drop(life);
        recorder.invoke("rig", Operation::Restart, restart(Fault::Kill));
        lost += u64::from(!has_messages || revive(&setting, &cut, recorder, &mut chance).is_err());
    }
    assert!(lost >= 18, "{lost} of 20 runs in which a loss was seen");
}

/// The control of retention: had its rules allowed nothing, what it took would be missed.
#[test]
fn control_a_retention_that_takes_what_no_rule_allows_is_seen() {
    let mut seen = 0;
    for seed in 1..=10 {
        let mut setting = Setting::of(seed);
        setting.retention.commit_log_bytes_max = Some(SEGMENT_BYTES / 2);
        let disk = SimulatedFiles::new();
        let mut chance = Chance::new(seed);
        let life = revive(&setting, &disk, Arc::new(Recorder::new()), &mut chance).unwrap_or_else(|b| panic!("{b:?}"));
        (0..6).for_each(|number| work(&setting, &life, number, &mut chance));
        let read_back = read_back(&life.broker).unwrap();
        let mut lines = life.recorder.lines();
        assert_eq!(check(&lines, &read_back), [], "seed {seed}");
        for line in lines.iter_mut().filter(|line| line.operation == Operation::Retain) {
            line.subject = Subject::default();
        }
        let found = check(&lines, &read_back);
        seen += u64::from(found.iter().any(|violation| violation.kind == Kind::TakenTooEarly));
    }
    assert!(seen >= 8, "{seen} of 10 runs in which it was seen");
}

/// What happens is what a disk has: the store's files are where they belong.
#[test]
fn runs_roll_segments_and_index_files() {
    let mut setting = Setting::of(3);
    setting.durability = Durability::Memory;
    let disk = SimulatedFiles::new();
    let mut chance = Chance::new(3);
    let life = revive(&setting, &disk, Arc::new(Recorder::new()), &mut chance).unwrap_or_else(|b| panic!("{b:?}"));
    for number in 0..6 {
        work(&setting, &life, number, &mut chance);
    }
    life.broker.close().unwrap();
    let written = disk.written();
    let below = |dir: &str| written.iter().filter(|(path, _)| path.starts_with(data(dir))).count();
    assert!(below("commitlog") >= 3, "{}", below("commitlog"));
    assert!(below("index") >= 2, "{}", below("index"));
    assert!(below("consumequeue") >= 3, "{}", below("consumequeue"));
}
