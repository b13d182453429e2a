//! The world of a simulated broker: its disk, its clock, its chance, and how to look at all that it holds.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use gantry_broker_core::broker::{Broker as _, ListTransactions, OpenTransaction, PullMessages};
use gantry_broker_core::clock::{Clock, Timestamp};
use gantry_broker_core::config::{BrokerConfig, Durability, Pace, Retention, TransactionRules};
use gantry_broker_core::local_broker::Surroundings;
use gantry_broker_core::message::StoredMessage;
use gantry_broker_core::names::{ConsumerGroup, HOLDING_TOPIC, TopicName};
use gantry_broker_core::offset::{QueueId, QueueOffset};
use gantry_broker_core::random::Random;
use gantry_broker_core::store::error::StoreError;
use gantry_broker_core::store::index_file::IndexLayout;
use gantry_broker_core::store::simulated_files::SimulatedFiles;
use gantry_broker_core::{BrokerError, LocalBroker};
use harness::history::{Level, MessageRead, QueueRead, ReadBack, hash_of, hash_of_properties};

pub const DATA_DIR: &str = "/data";
/// Small, so that a run rolls segments often.
pub const SEGMENT_BYTES: u64 = 64 << 10;
/// Small, so that a run has more index files than one.
const INDEX_LAYOUT: IndexLayout = IndexLayout { slots: 32, entries: 64 };
const HOST: &str = "127.0.0.1:10911";
/// Open transactions that are read at once.
const TRANSACTIONS_MAX: u32 = 100;
const DEAD_LETTER_QUEUE_PREFIX: &str = "%DLQ%";
/// 2026-11-21.
const WALL_AT_FIRST_MS: i64 = 1_795_219_200_000;

/// SplitMix64: the same seed, the same chance.
#[derive(Clone)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0xD134_2543_DE82_EF95))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        (!from.is_empty()).then(|| &from[self.below(from.len() as u64) as usize])
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// Mostly small, sometimes so large that few of them fill a segment.
    pub fn body_bytes(&mut self) -> usize {
        let bound = match self.below(16) {
            0 => 40_000,
            1..=4 => 4_000,
            _ => 300,
        };
        1 + self.below(bound) as usize
    }
}

/// Both hands of a clock that moves when it is told to.
#[derive(Clone, Default)]
pub struct Hands(Arc<AtomicU64>);

impl Hands {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp(WALL_AT_FIRST_MS + self.0.load(Ordering::SeqCst).cast_signed())
    }

    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

struct SeededRandom(Mutex<Chance>);

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut chance = self.0.lock().expect("nobody panics holding it");
        bytes.iter_mut().for_each(|byte| *byte = chance.next() as u8);
    }
}

/// What brokers of one run have in common.
#[derive(Clone)]
pub struct Setting {
    pub durability: Durability,
    pub pace: Pace,
    pub hands: Hands,
    pub seed: u64,
    /// As a broker keeps messages that nobody told anything: longer than a run takes.
    pub retention: Retention,
    /// Runs that shall delete segments fill some.
    pub body_bytes_min: usize,
    /// Delays, lanes and dead letters.
    pub has_every_kind: bool,
}

impl Setting {
    /// Half of all runs at each level; the store's own work in a hurry, or never in the time that a run takes.
    pub fn of(seed: u64) -> Setting {
        let mut chance = Chance::new(seed);
        let durability = if chance.one_in(2) { Durability::Memory } else { Durability::Disk };
        let mut delay = || Duration::from_micros(if chance.one_in(3) { 60_000_000 } else { chance.below(2_000) });
        let pace = Pace { sync_delay: delay(), checkpoint_delay: delay() };
        Setting {
            durability,
            pace,
            hands: Hands::default(),
            seed,
            retention: Retention::default(),
            body_bytes_min: 1,
            has_every_kind: false,
        }
    }

    /// Most runs keep a log of few segments, or messages of a few minutes.
    pub fn with_retention(mut self) -> Setting {
        let mut chance = Chance::new(!self.seed);
        match chance.below(4) {
            0 | 1 => {
                self.retention.commit_log_bytes_max = Some(SEGMENT_BYTES / 8 + chance.below(SEGMENT_BYTES));
                self.body_bytes_min = 2_500;
            }
            2 => {
                self.retention.file_reserved_time = Duration::from_secs(30 + chance.below(300));
                self.retention.delete_when = (0..24).collect();
            }
            _ => {}
        }
        self
    }

    pub fn with_every_kind(mut self) -> Setting {
        self.has_every_kind = true;
        self
    }

    pub fn open(&self, disk: &SimulatedFiles) -> Result<LocalBroker, StoreError> {
        let config = BrokerConfig {
            durability: self.durability,
            segment_bytes: SEGMENT_BYTES,
            index_layout: INDEX_LAYOUT,
            pace: self.pace,
            retention: self.retention.clone(),
            ..BrokerConfig::new(DATA_DIR)
        };
        let surroundings = Surroundings {
            files: Arc::new(disk.clone()),
            clock: Box::new(self.hands.clone()),
            random: Arc::new(SeededRandom(Mutex::new(Chance::new(!self.seed)))),
            // Only a disk that was halted fails, and that is asked for.
            failed: Box::new(|_| {}),
        };
        LocalBroker::open(config, surroundings)
    }
}

/// How much is asked for: what the variable says, else the slice, or all of it for `make torture`.
pub fn count_of(variable: &str, slice: u64, full: u64) -> u64 {
    let is_full = std::env::var("GANTRY_TORTURE").is_ok_and(|word| word == "full");
    number_of(variable).unwrap_or(if is_full { full } else { slice })
}

pub fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

pub fn level_of(durability: Durability) -> Level {
    match durability {
        Durability::Memory => Level::Memory,
        Durability::Disk => Level::Disk,
    }
}

pub fn host() -> SocketAddr {
    HOST.parse().expect("an address")
}

pub fn data(path: &str) -> std::path::PathBuf {
    Path::new(DATA_DIR).join(path)
}

/// A message as the checker compares it.
pub fn read_of(message: &StoredMessage) -> MessageRead {
    let own = message.user_properties();
    let tag = message.tag().map(|tag| ("TAGS", tag));
    let keys: Vec<&str> = message.keys().collect();
    let keys = keys.join(" ");
    let properties = own.chain(tag).chain((!keys.is_empty()).then_some(("KEYS", keys.as_str())));
    MessageRead {
        queue_offset: message.queue_offset.0,
        key: message.unique_key().unwrap_or("").into(),
        body_hash: hash_of(&message.body),
        properties_hash: hash_of_properties(properties),
        stored_ms: message.store_timestamp.0,
    }
}

/// Everything that a broker holds, by its queues. `Err`: it cannot be read, or queues and log do not agree.
pub fn read_back(broker: &LocalBroker) -> Result<ReadBack, String> {
    block_on(async {
        let mut read_back = ReadBack::default();
        let topics = broker.list_topics().await.map_err(|error| format!("listing topics: {error}"))?;
        for topic in topics.into_iter().filter(|topic| !topic.config.topic.is_system()) {
            let name = topic.config.topic.clone();
            let queues = broker.query_queue_offsets(name.clone()).await;
            let mut read = Vec::new();
            for queue in queues.map_err(|error| format!("queues of {name}: {error}"))? {
                let range = queue.min_offset..queue.max_offset;
                let messages = read_queue(broker, &name, queue.queue_id, range).await?;
                let (topic, min_offset, queue) = (name.to_string(), queue.min_offset.0, queue.queue_id.0);
                read.push(QueueRead { topic, queue, min_offset, messages });
            }
            match name.as_str().strip_prefix(DEAD_LETTER_QUEUE_PREFIX) {
                Some(group) => {
                    let letters = read.into_iter().flat_map(|queue| queue.messages).collect();
                    read_back.dead_letters.insert(group.into(), letters);
                }
                None if name.retry_group().is_some() => {
                    let group = name.retry_group().expect("just asked").to_string();
                    let moved = read.into_iter().flat_map(|queue| queue.messages).collect();
                    read_back.retried.insert(group, moved);
                }
                None => {
                    read_back.open.extend(open_transactions(broker, &name).await?);
                    read_back.topics.push(name.to_string());
                    read_back.queues.extend(read);
                }
            }
        }
        read_back.held = read_held(broker).await?;
        read_back.check_max = TransactionRules::default().check_max;
        Ok(read_back)
    })
}

async fn open_transactions(broker: &LocalBroker, topic: &TopicName) -> Result<Vec<String>, String> {
    let mut keys = Vec::new();
    let mut from = QueueOffset(0);
    loop {
        let (topic, transactions_max) = (topic.clone(), TRANSACTIONS_MAX);
        let list = ListTransactions {
            topic,
            producer_group: None,
            born_before: None,
            from,
            transactions_max,
            bytes_max: u32::MAX,
        };
        let open = broker.list_transactions(list).await.map_err(|error| format!("open transactions: {error}"))?;
        let key = |open: &OpenTransaction| open.message.unique_key().unwrap_or_default().to_string();
        keys.extend(open.transactions.iter().map(key));
        if open.complete {
            return Ok(keys);
        }
        from = open.next;
    }
}

/// Half messages that nobody decided.
async fn read_held(broker: &LocalBroker) -> Result<Vec<MessageRead>, String> {
    let topic = TopicName::from_store(HOLDING_TOPIC.as_bytes()).expect("a legal name");
    // There is none before the first of them.
    let Ok(queues) = broker.query_queue_offsets(topic.clone()).await else { return Ok(Vec::new()) };
    let mut held = Vec::new();
    for queue in queues {
        held.extend(read_queue(broker, &topic, queue.queue_id, queue.min_offset..queue.max_offset).await?);
    }
    Ok(held)
}

async fn read_queue(
    broker: &LocalBroker,
    name: &TopicName,
    queue_id: QueueId,
    range: std::ops::Range<QueueOffset>,
) -> Result<Vec<MessageRead>, String> {
    let place = format!("queue {queue_id} of {name}");
    let mut messages = Vec::new();
    let mut next = range.start;
    let mut before = None;
    while next < range.end {
        let pull = PullMessages { topic: name.clone(), queue_id, offset: next, messages_max: 500, bytes_max: u32::MAX };
        let pulled = broker.pull_messages(pull).await.map_err(|error| format!("{place}: {error}"))?;
        if pulled.messages.is_empty() {
            return Err(format!("{place} gives nothing at {next}"));
        }
        for message in &pulled.messages {
            if message.topic() != name.as_str() || message.queue_id != queue_id {
                return Err(format!("{place} holds a message of another queue"));
            }
            if before.is_some_and(|before| before >= message.commit_log_offset) {
                return Err(format!("{place} goes back in the log at {}", message.queue_offset));
            }
            before = Some(message.commit_log_offset);
        }
        messages.extend(pulled.messages.iter().map(read_of));
        next = pulled.next_offset;
    }
    Ok(messages)
}

/// The keys of a group's dead letters.
pub fn dead_letters(broker: &LocalBroker, group: &ConsumerGroup) -> Result<Vec<String>, String> {
    let name = TopicName::dead_letter_queue(group);
    block_on(async {
        // There is none before the first letter.
        let Ok(queues) = broker.query_queue_offsets(name.clone()).await else { return Ok(Vec::new()) };
        let mut keys = Vec::new();
        for queue in queues {
            let letters = read_queue(broker, &name, queue.queue_id, queue.min_offset..queue.max_offset).await?;
            keys.extend(letters.into_iter().map(|letter| letter.key));
        }
        Ok(keys)
    })
}

pub fn topic_name(name: &str) -> TopicName {
    TopicName::from_client(name).expect("a legal name")
}

/// Did the broker say that it cannot know?
pub fn is_unknown(error: &BrokerError) -> bool {
    matches!(error, BrokerError::OutcomeUnknown { .. })
}

/// Runs a future of a broker on this thread: all of them wait for the broker's own threads alone.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// All of them at once; the results in their order.
pub async fn join_all<T>(mut futures: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(result) = future.as_mut().poll(context)
            {
                *done = Some(result);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().map(|done| done.expect("all are done")).collect()
}
