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
    Broker as _, ChangeInvisibleDuration, CheckTransactions, ConsumerGroupConfig, EndTransaction,
    ForwardToDeadLetterQueue, HalfMessageId, LeaseLength, PopMessages, PutConsumerGroup, PutTopic, PutWhen,
    SendMessage, SendMessages, SendReceipt, StartFrom, TRANSACTION_CHECKS_MAX, TopicConfig, TransactionResolution,
};
use gantry_broker_core::clock::{Clock as _, Timestamp};
use gantry_broker_core::config::Durability;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::message::{Delivery, Message, MessageType, Transaction};
use gantry_broker_core::names::{ConsumerGroup, ProducerGroup};
use gantry_broker_core::offset::{QueueId, QueueOffset};
use gantry_broker_core::receipt_handle::ReceiptHandle;
use gantry_broker_core::store::simulated_files::SimulatedFiles;
use gantry_broker_core::{BrokerError, LocalBroker};
use harness::history::{
    self, Fault, Kind, Level, Line, MessageRead, Operation, Phase, QueueRead, ReadBack, Recorder, Subject, hash_of,
    hash_of_properties,
};

use crate::world::{
    Chance, SEGMENT_BYTES, Setting, block_on, count_of, data, dead_letters, host, is_unknown, join_all, level_of,
    number_of, read_back, read_of, topic_name,
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
/// At one time: most of a run is waiting for the broker's own threads.
const RUNS_PER_CORE: usize = 6;
/// Lives of one run, one after the other, each from a crash of the one before.
const LIVES: usize = 3;
const TOPICS: [&str; 3] = ["a", "b", MIXED];
/// In runs with every kind of message it takes all of them.
const MIXED: &str = "c";
const QUEUES: u32 = 3;
const GROUPS: [&str; 2] = ["popping", "committing"];
/// Whose half messages there are.
const PRODUCER_GROUP: &str = "producing";
/// Checks that one call asks for.
const CHECKS_MAX: u32 = 8;
/// Message groups that one queue has.
const LANES: u64 = 2;
/// Deliveries after the first, of the group that gives messages up.
const RETRIES_MAX: u32 = 2;
/// Looks for what the broker gives up by itself: most find it at once, a busy machine is given ten seconds.
const LOOKS_MAX: usize = 2_000;
const LOOKS_AT_ONCE: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);
/// Steps of every run, and those of runs that have all kinds of messages.
const STEPS_OF_ALL: u64 = 43;
const STEPS_OF_EVERY_KIND: u64 = 60;
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
    /// There were open transactions before anybody was asked.
    had_open: bool,
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
    let drains = chance.one_in(3);
    if drains {
        // All leases are over and all delays, when it opens.
        setting.hands.advance(Duration::from_secs(24 * 3600));
    }
    let broker = setting.open(disk).map_err(|error| vec![format!("{:?}: {error}", Kind::NoStart)])?;
    let mut read_back = look(setting, &broker).map_err(|error| vec![error])?;
    let had_open = !read_back.open.is_empty();
    let mut broken = Vec::new();
    if drains {
        if setting.has_every_kind {
            decide_all(&broker, &recorder, &mut read_back, &mut broken).map_err(|error| vec![error])?;
        }
        drain(setting, &broker, &recorder, &read_back, &mut broken);
        // What was given up meanwhile.
        read_back = look(setting, &broker).map_err(|error| vec![error])?;
    }
    broken.extend(history::check(&recorder.lines(), &read_back).iter().map(ToString::to_string));
    if broken.is_empty() {
        broken.extend(goes_on(&broker, &recorder, &mut read_back, chance).err());
    }
    if broken.is_empty() { Ok(Life { broker, recorder, read_back, had_open }) } else { Err(broken) }
}

/// What it holds when all that is due has come.
fn look(setting: &Setting, broker: &LocalBroker) -> Result<ReadBack, String> {
    // What was put back on its way waits for the second round.
    for _ in 0..2 {
        broker.deliver_due().map_err(|error| format!("what is due does not come: {error}"))?;
        confirm(broker);
    }
    // A delay ends with a second of the clock.
    let due_until_ms = setting.hands.wall().0 - 1_000;
    Ok(ReadBack { due_until_ms, ..read_back(broker)? })
}

/// What is answered at the broker's level speaks for all that lies before it in the log: from then on it can be read.
fn confirm(broker: &LocalBroker) {
    let config = || ConsumerGroupConfig::new(consumer_group("rig"));
    let known = block_on(broker.put_consumer_group(PutConsumerGroup::new(config(), PutWhen::Exists)));
    if known.is_err() {
        let made = block_on(broker.put_consumer_group(PutConsumerGroup::new(config(), PutWhen::Missing)));
        made.expect("nobody halted this disk");
    }
    block_on(dispatched(broker));
}

/// What was answered at `memory` may be with a thread that is about to dispatch it.
async fn dispatched(broker: &LocalBroker) {
    while broker.describe_storage().await.is_ok_and(|storage| storage.dispatch_behind_bytes > 0) {
        std::thread::yield_now();
    }
}

/// Producers are asked about all that is open, and decide it; what they commit is in its topic.
fn decide_all(
    broker: &LocalBroker,
    recorder: &Recorder,
    read_back: &mut ReadBack,
    broken: &mut Vec<String>,
) -> Result<(), String> {
    let mut asked = BTreeSet::new();
    loop {
        let checks = check(broker, recorder, TRANSACTION_CHECKS_MAX).map_err(|error| format!("checks: {error}"))?;
        if checks.is_empty() {
            break;
        }
        for (half, key) in checks {
            let commits = key.len().is_multiple_of(2);
            let decision = if commits { Operation::Commit } else { Operation::RollBack };
            if let Err(error) = decide(broker, recorder, half, &key, decision)
                && !matches!(error, BrokerError::TopicNotFound { .. })
            {
                broken.push(format!("{key} cannot be decided: {error}"));
            }
            if !asked.insert(key.clone()) {
                return Err(format!("AskedTwice: about {key}, at one time"));
            }
        }
    }
    for key in read_back.open.iter().filter(|key| !asked.contains(*key)) {
        broken.push(format!("NotAsked: nobody is asked about {key}, which is open for a day"));
    }
    confirm(broker);
    *read_back = ReadBack { due_until_ms: read_back.due_until_ms, ..crate::world::read_back(broker)? };
    Ok(())
}

/// What was sent to topics that were deleted, made again or not.
fn of_deleted_topics(recorder: &Recorder) -> BTreeSet<String> {
    let lines = recorder.lock();
    let deletes = lines.all().iter().filter(|line| line.operation == Operation::DeleteTopic);
    let deleted: BTreeSet<&str> = deletes.filter_map(|line| line.subject.topic.as_deref()).collect();
    let of_deleted = |line: &&Line| line.subject.topic.as_deref().is_some_and(|topic| deleted.contains(topic));
    lines.all().iter().filter(of_deleted).filter_map(|line| line.subject.key.clone()).collect()
}

/// Everything that may be delivered is, lane by lane: what was neither acked nor given up must come.
fn drain(setting: &Setting, broker: &LocalBroker, recorder: &Recorder, read_back: &ReadBack, broken: &mut Vec<String>) {
    make_groups(setting, broker);
    for group in GROUPS {
        let settled: BTreeSet<String> = {
            let lines = recorder.lock();
            let is_settle = |line: &&Line| matches!(line.operation, Operation::Ack | Operation::DeadLetter);
            let settles =
                lines.all().iter().filter(is_settle).filter(|line| line.subject.group.as_deref() == Some(group));
            settles.filter_map(|line| line.subject.key.clone()).collect()
        };
        let mut came: BTreeSet<String> = BTreeSet::new();
        for topic in &read_back.topics {
            let mut delivered = BTreeSet::new();
            let mut missing = Vec::new();
            for look in 0..LOOKS_MAX {
                for _ in 0..POPS_MAX {
                    match pop(broker, recorder, group, topic, 32) {
                        Ok(popped) if popped.is_empty() => break,
                        Ok(popped) => {
                            delivered.extend(popped.iter().map(|(_, key)| key.clone()));
                            ack(broker, recorder, group, popped);
                        }
                        Err(error) => broken.push(format!("a pop of {topic}: {error}")),
                    }
                }
                // What came too often is given up, and what is behind it goes on then.
                let dead = dead_letters(broker, &consumer_group(group)).unwrap_or_else(|error| {
                    broken.push(error);
                    Vec::new()
                });
                let is_owed = |key: &String| !settled.contains(key) && !delivered.contains(key) && !dead.contains(key);
                missing.clear();
                for queue in read_back.queues.iter().filter(|queue| queue.topic == *topic) {
                    for message in queue.messages.iter().filter(|message| is_owed(&message.key)) {
                        let place = format!("{} of queue {} of {topic}", message.queue_offset, queue.queue);
                        missing.push(format!("NotDelivered: {} at {place} does not come to {group}", message.key));
                    }
                }
                if missing.is_empty() || !setting.has_every_kind {
                    break;
                }
                give_up_now(setting, broker, look);
            }
            if !missing.is_empty() {
                let progress = block_on(broker.query_consume_offsets(consumer_group(group), topic_name(topic)));
                missing.push(format!("{progress:?}"));
            }
            broken.append(&mut missing);
            came.append(&mut delivered);
        }
        // What was moved comes to receives of its own topic, unless that was deleted since.
        let lost = of_deleted_topics(recorder);
        let moved: Vec<_> = read_back.retried.get(group).into_iter().flatten().collect();
        let mut missing = Vec::new();
        for look in 0..LOOKS_MAX {
            let dead = dead_letters(broker, &consumer_group(group)).unwrap_or_default();
            let is_over = |key: &String| settled.contains(key) || came.contains(key) || dead.contains(key);
            let is_owed = |message: &&&MessageRead| !is_over(&message.key) && !lost.contains(&message.key);
            missing = moved.iter().filter(is_owed).map(|message| message.key.clone()).collect();
            if missing.is_empty() || !setting.has_every_kind {
                break;
            }
            give_up_now(setting, broker, look);
        }
        let never = |key| format!("NotDelivered: {key} of the retry topic does not come to {group}");
        broken.extend(missing.into_iter().map(never));
    }
}

/// What came too often goes to the dead letters. What the broker could not give up it tries again in a second, and this clock
/// stands still: a change of the group has it look at once.
fn give_up_now(setting: &Setting, broker: &LocalBroker, look: usize) {
    change_groups(setting, broker, PutWhen::Exists);
    // On a busy machine its thread has to wait for its turn.
    if look < LOOKS_AT_ONCE { std::thread::yield_now() } else { std::thread::sleep(PAUSE) }
}

/// They begin at the oldest message: left to themselves they would begin at the end of what retention has trimmed.
fn make_groups(setting: &Setting, broker: &LocalBroker) {
    change_groups(setting, broker, PutWhen::Missing);
}

fn change_groups(setting: &Setting, broker: &LocalBroker, when: PutWhen) {
    for group in GROUPS {
        let config = ConsumerGroupConfig::new(consumer_group(group));
        let gives_up = setting.has_every_kind && group == GROUPS[0];
        let retry_max_times = if gives_up { RETRIES_MAX } else { config.retry_max_times };
        let group = ConsumerGroupConfig { start_from: StartFrom::Min, retry_max_times, ..config };
        // There already after a crash that kept it.
        let _ = block_on(broker.put_consumer_group(PutConsumerGroup::new(group, when)));
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
            let type_of_topic = broker.describe_topic(topic_name(topic)).await;
            let type_of_topic =
                type_of_topic.map_err(|error| found("a topic is not known", &error))?.config.message_type;
            let kind = if type_of_topic == MessageType::Fifo { Sort::OfLane(u64::from(*queue)) } else { Sort::Plain };
            let entry = Entry { queue: *queue, key: key.clone(), bytes: 100, sort: kind };
            let sent = send(broker, recorder, topic, vec![entry], 0).await;
            let [Some(receipt)] = &sent[..] else { return Err("a send after the restart is refused".into()) };
            let offset = receipt.queue_offset.0;
            if offset != end {
                return Err(format!("a send after the restart got offset {offset} instead of {end}"));
            }
            dispatched(broker).await;
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

/// One message of a call.
struct Entry {
    queue: u32,
    key: String,
    bytes: usize,
    sort: Sort,
}

#[derive(Debug, Clone, Copy)]
enum Sort {
    Plain,
    OfLane(u64),
    After(Duration),
    OfLevel(u32),
    /// Of a transaction.
    Half,
}

/// RocketMQ's first levels, in seconds.
const LEVELS: [i64; 4] = [1, 5, 10, 30];

impl Sort {
    fn delay_ms(self) -> Option<i64> {
        match self {
            Sort::After(delay) => Some(delay.as_millis() as i64),
            Sort::OfLevel(level) => Some(LEVELS[level as usize - 1] * 1_000),
            Sort::Plain | Sort::OfLane(_) | Sort::Half => None,
        }
    }

    /// It waits elsewhere than in its queue.
    fn waits(self) -> bool {
        self.delay_ms().is_some() || matches!(self, Sort::Half)
    }
}

/// Sends entries in one call; the receipts of those that are stored.
async fn send(
    broker: &LocalBroker,
    recorder: &Recorder,
    topic: &str,
    entries: Vec<Entry>,
    client: usize,
) -> Vec<Option<SendReceipt>> {
    let client = format!("sender{client}");
    let batch = (entries.len() > 1).then(|| recorder.lock().all().len() as u64);
    let (mut messages, mut invoked) = (Vec::new(), Vec::new());
    let mut waiting = Vec::new();
    for Entry { queue, key, bytes, sort } in entries {
        let message = message(&key, bytes);
        let message = match sort {
            Sort::Plain => message,
            Sort::OfLane(lane) => message.with_message_group(&format!("lane{lane}")).expect("a legal group"),
            Sort::After(delay) => message.with_delivery(Delivery::After(delay)).expect("a legal delay"),
            Sort::OfLevel(level) => message.with_delivery(Delivery::Level(level)).expect("a legal level"),
            Sort::Half => {
                let transaction = Transaction { producer_group: producer_group(), check_after: None };
                message.with_transaction(transaction).expect("a legal half message")
            }
        };
        waiting.push(sort.waits());
        let tag = message.tag().map(|tag| ("TAGS", tag));
        let properties = [("number", key.as_str()), ("again", "ä"), ("KEYS", key.as_str())];
        let asked = Subject {
            topic: Some(topic.into()),
            queue: Some(queue),
            batch,
            lane: if let Sort::OfLane(lane) = sort { Some(format!("lane{lane}")) } else { None },
            delay_ms: sort.delay_ms(),
            producer_group: matches!(sort, Sort::Half).then(|| PRODUCER_GROUP.into()),
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
            let record = |((invoked, waits), result): ((_, bool), Result<SendReceipt, _>)| match result {
                Ok(receipt) => {
                    let answered = Subject {
                        queue: Some(receipt.queue_id.0),
                        queue_offset: Some(receipt.queue_offset.0).filter(|_| !waits),
                        log_offset: Some(receipt.commit_log_offset.0),
                        stored_ms: Some(receipt.store_timestamp.0),
                        level: Some(level_of(receipt.durability)),
                        ..Subject::default()
                    };
                    recorder.ok(invoked, answered);
                    Some(receipt)
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
            invoked.iter().zip(waiting).zip(results).map(record).collect()
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

fn invoke_ack(recorder: &Recorder, group: &str, key: &str) -> harness::history::Invoked {
    let asked = Subject { group: Some(group.into()), key: Some(key.into()), ..Subject::default() };
    recorder.invoke(group, Operation::Ack, asked)
}

fn ack(broker: &LocalBroker, recorder: &Recorder, group: &str, acks: Vec<(ReceiptHandle, String)>) {
    let invoked: Vec<_> = acks.iter().map(|(_, key)| invoke_ack(recorder, group, key)).collect();
    let handles = acks.into_iter().map(|(handle, _)| handle).collect();
    match block_on(broker.ack_messages(handles)) {
        Ok(results) => results.iter().zip(&invoked).for_each(|(result, invoked)| match result {
            Ok(()) => recorder.ok(invoked, at_memory()),
            Err(error) => recorder.fail(invoked, error),
        }),
        Err(error) => invoked.iter().for_each(|invoked| recorder.unknown(invoked, &error)),
    }
}

fn producer_group() -> ProducerGroup {
    ProducerGroup::from_client(PRODUCER_GROUP).expect("a legal name")
}

/// Asks producers what became of their transactions: those half messages, and their keys.
fn check(
    broker: &LocalBroker,
    recorder: &Recorder,
    checks_max: u32,
) -> Result<Vec<(HalfMessageId, String)>, BrokerError> {
    let asked = Subject { producer_group: Some(PRODUCER_GROUP.into()), ..Subject::default() };
    let invoked = recorder.invoke(PRODUCER_GROUP, Operation::Check, asked);
    let check = CheckTransactions { producer_group: producer_group(), checks_max, wait: Duration::ZERO };
    let checks = block_on(broker.check_transactions(check))?;
    let each = checks.into_iter().map(|check| {
        let read = read_of(&check.message);
        let came = Subject {
            key: Some(read.key.clone()),
            body_hash: Some(read.body_hash),
            properties_hash: Some(read.properties_hash),
            ..Subject::default()
        };
        recorder.ok(&invoked, came);
        (check.half, read.key)
    });
    Ok(each.collect())
}

/// Commits a transaction or rolls it back.
fn decide(
    broker: &LocalBroker,
    recorder: &Recorder,
    half: HalfMessageId,
    key: &str,
    decision: Operation,
) -> Result<(), BrokerError> {
    let invoked = recorder.invoke(PRODUCER_GROUP, decision, Subject { key: Some(key.into()), ..Subject::default() });
    let resolution = match decision {
        Operation::Commit => TransactionResolution::Commit,
        _ => TransactionResolution::Rollback,
    };
    let ended = block_on(broker.end_transaction(EndTransaction { half, topic: None, resolution }));
    match &ended {
        Ok(()) => {
            let level = Some(level_of(block_on(broker.describe_broker())?.durability));
            recorder.ok(&invoked, Subject { level, ..Subject::default() });
        }
        Err(error) if is_unknown(error) => recorder.unknown(&invoked, error),
        Err(error) => recorder.fail(&invoked, error),
    }
    ended
}

/// In runs with every kind of message, what each topic takes.
fn message_type(setting: &Setting, topic: &str) -> MessageType {
    match topic {
        "b" if setting.has_every_kind => MessageType::Fifo,
        MIXED if setting.has_every_kind => MessageType::Mixed,
        _ => MessageType::Normal,
    }
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
    /// Half messages and their keys, decided or not.
    halves: Vec<(HalfMessageId, String)>,
}

impl Work<'_> {
    fn step(&mut self) {
        self.setting.hands.advance(Duration::from_millis(self.chance.below(100)));
        let topic = self.chance.pick(&self.topics.iter().cloned().collect::<Vec<_>>()).cloned();
        let Some(topic) = topic else { return self.create_topic() };
        match self.chance.below(if self.setting.has_every_kind { STEPS_OF_EVERY_KIND } else { STEPS_OF_ALL }) {
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
            42 => self.delete_topic(&topic),
            43..=45 => self.nack(),
            46 | 47 => self.give_up(),
            48 => self.setting.hands.advance(Duration::from_secs(self.chance.below(5))),
            49..=53 => self.decide(),
            54 | 55 => self.check(),
            _ => self.deliver_due(),
        }
    }

    /// Mostly once, and now and then the other way as well.
    fn decide(&mut self) {
        let Some((half, key)) = self.chance.pick(&self.halves).cloned() else { return };
        let decision = if self.chance.one_in(3) { Operation::RollBack } else { Operation::Commit };
        // Refused, it was decided before or its topic is gone.
        let _ = decide(self.broker, self.recorder, half, &key, decision);
    }

    fn check(&mut self) {
        let checks = check(self.broker, self.recorder, CHECKS_MAX);
        let checks = checks.unwrap_or_else(|error| panic!("seed {}: no checks: {error}", self.setting.seed));
        self.halves.extend(checks);
    }

    /// As its clock moves only in steps, the broker has to be told.
    fn deliver_due(&mut self) {
        self.setting.hands.advance(Duration::from_secs(1 + self.chance.below(4)));
        let delivered = self.broker.deliver_due();
        delivered.unwrap_or_else(|error| panic!("seed {}: nothing is delivered: {error}", self.setting.seed));
    }

    fn sort(&mut self, topic: &str, queue: u32) -> Sort {
        let lane = u64::from(queue) + u64::from(QUEUES) * self.chance.below(LANES);
        match message_type(self.setting, topic) {
            MessageType::Fifo => Sort::OfLane(lane),
            MessageType::Mixed => match self.chance.below(9) {
                0 => Sort::OfLane(lane),
                6..=8 => Sort::Half,
                1..=2 => Sort::OfLevel(1 + self.chance.below(LEVELS.len() as u64) as u32),
                3..=4 => Sort::After(Duration::from_millis(1 + self.chance.below(20_000))),
                // So far, sometimes, that it is put back on its way.
                _ => Sort::After(Duration::from_secs(1 + self.chance.below(400))),
            },
            _ => Sort::Plain,
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
                let queue = self.chance.below(QUEUES.into()) as u32;
                Entry { queue, key, bytes, sort: self.sort(topic, queue) }
            });
            planned.push(entries.collect::<Vec<_>>());
        }
        let places: Vec<Vec<(u32, String, Sort)>> = planned
            .iter()
            .map(|entries| entries.iter().map(|entry| (entry.queue, entry.key.clone(), entry.sort)).collect())
            .collect();
        type Sent<'a> = Pin<Box<dyn Future<Output = Vec<Option<SendReceipt>>> + 'a>>;
        let (broker, recorder) = (self.broker, self.recorder);
        let calls = planned.into_iter().enumerate();
        let calls =
            calls.map(|(client, entries)| -> Sent<'_> { Box::pin(send(broker, recorder, topic, entries, client)) });
        let receipts = block_on(join_all(calls.collect()));
        for ((queue, key, sort), receipt) in places.into_iter().flatten().zip(receipts.into_iter().flatten()) {
            let Some(receipt) = receipt else { continue };
            if matches!(sort, Sort::Half) {
                let half = HalfMessageId::new(&key, receipt.queue_offset, receipt.commit_log_offset);
                self.halves.push((half, key));
            } else if !sort.waits() {
                self.stored.insert((topic.into(), queue, receipt.queue_offset.0), key);
            }
        }
    }

    fn ack(&mut self) {
        let count = (1 + self.chance.below(6) as usize).min(self.leased.len());
        let from = self.chance.below((self.leased.len() - count + 1) as u64) as usize;
        let acks: Vec<_> = self.leased.drain(from..from + count).collect();
        ack(self.broker, self.recorder, GROUPS[0], acks);
    }

    /// A consumer gives a message up.
    fn give_up(&mut self) {
        let Some((handle, key)) = self.leased.pop() else { return };
        let asked = Subject { group: Some(GROUPS[0].into()), key: Some(key), ..Subject::default() };
        let invoked = self.recorder.invoke(GROUPS[0], Operation::DeadLetter, asked);
        let forwards = vec![ForwardToDeadLetterQueue { handle, reason: None }];
        let given_up = block_on(self.broker.forward_messages_to_dead_letter_queue(forwards));
        match given_up.and_then(|mut results| results.remove(0)) {
            Ok(_) => {
                let level = Some(level_of(self.setting.durability));
                self.recorder.ok(&invoked, Subject { level, ..Subject::default() });
            }
            Err(error) if is_unknown(&error) => self.recorder.unknown(&invoked, error),
            Err(error) => self.recorder.fail(&invoked, error),
        }
    }

    fn nack(&mut self) {
        if let Some((handle, _)) = self.leased.pop() {
            let change = ChangeInvisibleDuration { handle, invisible: Some(Duration::ZERO), suspend: false };
            // Refused or not, the message comes back: there is nothing to hold against anybody.
            let _ = block_on(self.broker.change_invisible_durations(vec![change]));
        }
    }

    /// Another group says that it has consumed the beginning of a queue: one in which nobody else puts anything.
    fn commit(&mut self, topic: &str) {
        if message_type(self.setting, topic) == MessageType::Mixed {
            return;
        }
        let queue = self.chance.below(QUEUES.into()) as u32;
        let of_queue = (topic.to_string(), queue, 0)..=(topic.to_string(), queue, u64::MAX);
        let known: Vec<(u64, String)> =
            self.stored.range(of_queue).map(|((_, _, offset), key)| (*offset, key.clone())).collect();
        let Some((last, _)) = self.chance.pick(&known).cloned() else { return };
        let below: Vec<_> = known.iter().filter(|(offset, _)| *offset <= last).collect();
        let invoked: Vec<_> = below.iter().map(|(_, key)| invoke_ack(self.recorder, GROUPS[1], key)).collect();
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
        let message_type = message_type(self.setting, name);
        let config = TopicConfig {
            read_queues: QUEUES,
            write_queues: QUEUES,
            message_type,
            ..TopicConfig::new(topic_name(name))
        };
        self.change_topic(name, Operation::CreateTopic, async |broker| {
            broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.map(drop)
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
    /// States with a dead letter, and those in which a delayed message had come.
    with_dead_letters: u64,
    with_retried: u64,
    with_fired: u64,
    /// States with a committed message, and those with an open transaction.
    with_committed: u64,
    with_open: u64,
    failures: Vec<String>,
}

/// One seeded run: lives, the crash states of each, and every one of these judged.
fn run(seed: u64, faults: Faults, prepare: fn(&SimulatedFiles), durability: Option<Durability>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut setting = Setting::of(seed).with_retention().with_every_kind();
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
                    outcome.with_dead_letters += u64::from(!life.read_back.dead_letters.is_empty());
                    outcome.with_retried += u64::from(!life.read_back.retried.is_empty());
                    let has = |is_it: fn(&Subject) -> bool| u64::from(has_come(&life, is_it));
                    outcome.with_fired += has(|subject| subject.delay_ms.is_some());
                    outcome.with_committed += has(|subject| subject.producer_group.is_some());
                    outcome.with_open += u64::from(life.had_open);
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

/// Is one of these in its topic?
fn has_come(life: &Life, is_it: fn(&Subject) -> bool) -> bool {
    let lines = life.recorder.lines();
    let these: BTreeSet<&str> = lines
        .iter()
        .filter(|line| line.operation == Operation::Send && is_it(&line.subject))
        .filter_map(|line| line.subject.key.as_deref())
        .collect();
    life.read_back.queues.iter().flat_map(|queue| &queue.messages).any(|message| these.contains(&*message.key))
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
    make_groups(setting, broker);
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
        halves: Vec::new(),
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

/// Runs seeds one after the other, several on every core, until so many states were judged.
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
        all.with_dead_letters += outcome.with_dead_letters;
        all.with_retried += outcome.with_retried;
        all.with_fired += outcome.with_fired;
        all.with_committed += outcome.with_committed;
        all.with_open += outcome.with_open;
        all.failures.extend(outcome.failures);
    };
    let threads = RUNS_PER_CORE * std::thread::available_parallelism().map_or(1, usize::from);
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
    let Outcome { states, messages, trimmed, with_dead_letters, with_fired, with_committed, with_open, .. } = outcome;
    let with_retried = outcome.with_retried;
    // Rare, and they come in clusters: a slice of 20,000 may have few (8 to 30 were seen), the full count has many.
    assert!(with_retried >= states / 50_000, "{with_retried} states with something in a retry topic");
    assert!(with_dead_letters >= states / 100 && with_fired >= states / 20, "{with_dead_letters}, {with_fired}");
    assert!(with_committed >= states / 20 && with_open >= states / 20, "{with_committed}, {with_open}");
    eprintln!(
        "{states} crash states, {trimmed} of them behind retention, {with_dead_letters} with dead letters, {with_retried} with \
         messages in retry topics, {with_fired} with \
         delayed messages that came, {with_committed} with committed ones and {with_open} with open transactions; \
         {messages} messages"
    );
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
        assert_eq!(history::check(&lines, &read_back), [], "seed {seed}");
        for line in lines.iter_mut().filter(|line| line.operation == Operation::Retain) {
            line.subject = Subject::default();
        }
        let found = history::check(&lines, &read_back);
        seen += u64::from(found.iter().any(|violation| violation.kind == Kind::TakenTooEarly));
    }
    assert!(seen >= 8, "{seen} of 10 runs in which it was seen");
}

/// The controls of delays, lanes, dead letters and transactions: what a broker would look like that fires twice, fires
/// early, loses a timer, gives a lane out of order, has a dead letter twice, forgets a commit or a transaction, or shows
/// what nobody committed.
#[test]
fn control_broken_delays_lanes_dead_letters_and_transactions_are_seen() {
    let mut seen = BTreeMap::new();
    for seed in 1..=24 {
        let setting = Setting::of(seed).with_every_kind();
        let mut disk = SimulatedFiles::new();
        let recorder = Arc::new(Recorder::new());
        let mut chance = Chance::new(seed);
        for number in 0..6 {
            drop(quiet_life(&setting, &disk, &recorder, number, &mut chance));
            recorder.invoke("rig", Operation::Restart, restart(Fault::Kill));
            disk = disk.kill();
        }
        setting.hands.advance(Duration::from_secs(24 * 3600));
        let broker = setting.open(&disk).unwrap();
        let read_back = look(&setting, &broker).unwrap();
        drain(&setting, &broker, &recorder, &read_back, &mut Vec::new());
        let read_back = look(&setting, &broker).unwrap();
        let lines = recorder.lines();
        assert_eq!(history::check(&lines, &read_back), [], "seed {seed}");
        let mut plant = |kind: Kind, lines: &[Line], read_back: &ReadBack| {
            let found = history::check(lines, read_back).iter().any(|violation| violation.kind == kind);
            assert!(found, "{kind:?} of seed {seed}");
            *seen.entry(kind).or_insert(0) += 1;
        };

        let delayed: BTreeSet<&str> = lines
            .iter()
            .filter(|line| line.subject.delay_ms.is_some())
            .filter_map(|line| line.subject.key.as_deref())
            .collect();
        let is_fired = |queue: &QueueRead| queue.messages.iter().position(|read| delayed.contains(&*read.key));
        let fired = read_back.queues.iter().enumerate().find_map(|(at, queue)| Some((at, is_fired(queue)?)));
        if let Some((queue, at)) = fired {
            let mut twice = read_back.clone();
            let messages = &mut twice.queues[queue].messages;
            messages.push(MessageRead { queue_offset: messages.len() as u64, ..messages[at].clone() });
            plant(Kind::FiredTwice, &lines, &twice);
            let mut early = read_back.clone();
            early.queues[queue].messages[at].stored_ms = 0;
            plant(Kind::FiredEarly, &lines, &early);
            let mut lost = read_back.clone();
            lost.queues[queue].messages.remove(at);
            plant(Kind::TimerLost, &lines, &lost);
        }
        if let Some(letters) = read_back.dead_letters.values().find(|letters| !letters.is_empty()) {
            let group = GROUPS[0].to_string();
            let twice = [&letters[..1], letters].concat();
            plant(
                Kind::DeadTwice,
                &lines,
                &ReadBack { dead_letters: BTreeMap::from([(group, twice)]), ..read_back.clone() },
            );
        }
        let decided = |operation: Operation| {
            let decides = |line: &&Line| line.operation == operation && line.phase == Phase::Ok;
            let ids: BTreeSet<u64> = lines.iter().filter(decides).map(|line| line.id).collect();
            let asked = lines.iter().filter(|line| line.phase == Phase::Invoke && ids.contains(&line.id));
            asked.filter_map(|line| line.subject.key.clone()).collect::<BTreeSet<String>>()
        };
        let is_committed = |queue: &QueueRead| {
            let committed = decided(Operation::Commit);
            queue.messages.iter().position(|read| committed.contains(&read.key))
        };
        if let Some((queue, at)) =
            read_back.queues.iter().enumerate().find_map(|(at, queue)| Some((at, is_committed(queue)?)))
        {
            let mut lost = read_back.clone();
            let key = lost.queues[queue].messages.remove(at).key;
            plant(Kind::CommitLost, &lines, &lost);
            lost.open.push(key.clone());
            plant(Kind::DecisionLost, &lines, &lost);
            let of_it = |line: &Line| line.subject.key.as_deref() == Some(&*key);
            let nobody: Vec<Line> =
                lines.iter().filter(|line| line.operation != Operation::Commit || !of_it(line)).cloned().collect();
            plant(Kind::UncommittedSeen, &nobody, &read_back);
            let mut twice = lines.clone();
            for line in lines.iter().filter(|line| line.operation == Operation::Commit) {
                let id = line.id + lines.len() as u64;
                twice.push(Line { id, operation: Operation::RollBack, ..line.clone() });
            }
            plant(Kind::DecidedTwice, &twice, &read_back);
        }
        let is_deleted = |topic: &str| {
            let deletes = |line: &&Line| line.operation == Operation::DeleteTopic;
            lines.iter().filter(deletes).any(|line| line.subject.topic.as_deref() == Some(topic))
        };
        // Of a topic that was deleted nobody can say what is open.
        if let Some(key) = decided(Operation::RollBack).first().filter(|_| !is_deleted(MIXED)) {
            let of_it = |line: &Line| line.subject.key.as_ref() == Some(key);
            let undecided: Vec<Line> = lines
                .iter()
                .filter(|line| !matches!(line.operation, Operation::Commit | Operation::RollBack) || !of_it(line))
                .cloned()
                .collect();
            plant(Kind::TransactionLost, &undecided, &read_back);
        }
        // Of a lane whose messages came one after the other, nobody has acked any.
        let mut lanes = lanes(&lines);
        lanes.retain(|(topic, _), _| !is_deleted(topic));
        let comes_later = |((of, _), keys): (&(LaneName<'_>, u64), &BTreeSet<&str>)| {
            lanes[of].first_key_value().is_some_and(|(_, first)| !keys.contains(first))
        };
        if receives(&lines, &lanes).iter().any(comes_later) {
            let unsettled: Vec<Line> = lines
                .iter()
                .filter(|line| !matches!(line.operation, Operation::Ack | Operation::DeadLetter))
                .cloned()
                .collect();
            let none_dead = ReadBack { dead_letters: BTreeMap::new(), ..read_back.clone() };
            plant(Kind::LaneDisorder, &unsettled, &none_dead);
        }
    }
    let of_messages = [Kind::FiredTwice, Kind::FiredEarly, Kind::TimerLost, Kind::DeadTwice, Kind::LaneDisorder];
    let of_transactions = [Kind::CommitLost, Kind::DecisionLost, Kind::UncommittedSeen, Kind::DecidedTwice];
    let kinds = [&of_messages[..], &of_transactions[..], &[Kind::TransactionLost]].concat();
    assert!(kinds.iter().all(|kind| seen.get(kind).is_some_and(|count| *count >= 3)), "{seen:?}");
}

/// Topic and message group.
type LaneName<'l> = (&'l str, &'l str);

/// What was stored of each lane, by offset.
fn lanes(lines: &[Line]) -> BTreeMap<LaneName<'_>, BTreeMap<u64, &str>> {
    let mut lanes: BTreeMap<LaneName<'_>, BTreeMap<u64, &str>> = BTreeMap::new();
    let mut sent = BTreeMap::new();
    for line in lines.iter().filter(|line| line.operation == Operation::Send) {
        let Subject { topic, lane, key, queue_offset, .. } = &line.subject;
        if let (Some(topic), Some(lane), Some(key)) = (topic, lane, key) {
            sent.insert(line.id, ((topic.as_str(), lane.as_str()), key.as_str()));
        }
        if let (Some((lane, key)), Some(offset)) = (sent.get(&line.id), queue_offset) {
            lanes.entry(*lane).or_default().insert(*offset, key);
        }
    }
    lanes
}

/// What each receive took of each lane.
fn receives<'l>(
    lines: &'l [Line],
    lanes: &BTreeMap<LaneName<'l>, BTreeMap<u64, &'l str>>,
) -> BTreeMap<(LaneName<'l>, u64), BTreeSet<&'l str>> {
    let lane_of: BTreeMap<&str, LaneName<'_>> =
        lanes.iter().flat_map(|(lane, sent)| sent.values().map(move |key| (*key, *lane))).collect();
    let mut receives: BTreeMap<(LaneName<'_>, u64), BTreeSet<&str>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.operation == Operation::Receive) {
        if let Some((key, lane)) = line.subject.key.as_deref().and_then(|key| Some((key, lane_of.get(key)?))) {
            receives.entry((*lane, line.id)).or_default().insert(key);
        }
    }
    receives
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
