//! A small store in memory that fuzz targets damage and open again, and what must hold of it then.
//!
//! One store is filled once; each try gets a copy of it. What is true of every copy, whatever was damaged: nothing
//! panics, an open that is refused says why, and no message is given out that was not sent.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use gantry_broker_core::clock::{SystemClock, Timestamp};
use gantry_broker_core::config::{Durability, Pace};
use gantry_broker_core::message::{Message, StoredMessage};
use gantry_broker_core::names::{STATE_TOPIC, TopicName};
use gantry_broker_core::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use gantry_broker_core::random::SystemRandom;
use gantry_broker_core::state::record::synced_stamp;
use gantry_broker_core::store::commit_log::{Append, AppendClass};
use gantry_broker_core::store::error::StoreError;
use gantry_broker_core::store::files::Files;
use gantry_broker_core::store::index_file::{ALL_TIME, IndexLayout};
use gantry_broker_core::store::offline::OfflineStore;
use gantry_broker_core::store::offline::log::Step;
use gantry_broker_core::store::offline::verify::{VerifyOptions, verify};
use gantry_broker_core::store::record::EncodedRecord;
use gantry_broker_core::store::simulated_files::SimulatedFiles;
use gantry_broker_core::store::{Store, StoreConfig, StoreHooks, StoreParts, TopicAtStart};

const DIR: &str = "/data";
const LAYOUT: IndexLayout = IndexLayout { slots: 16, entries: 64 };
const QUEUES: u32 = 2;
const MESSAGES: u32 = 60;
/// Most pieces of a file that one try overwrites.
const PIECES_MAX: usize = 16;

/// The store before any damage.
pub struct Original {
    cleanly: SimulatedFiles,
    killed: SimulatedFiles,
    incarnation: Incarnation,
    /// Body by commit-log offset.
    sent: BTreeMap<CommitLogOffset, Bytes>,
}

/// How a try begins, and which bytes it puts where.
pub struct Try {
    pub files: SimulatedFiles,
    pub damaged: Vec<PathBuf>,
}

impl Original {
    pub fn the() -> &'static Original {
        static ORIGINAL: OnceLock<Original> = OnceLock::new();
        ORIGINAL.get_or_init(Original::fill)
    }

    fn fill() -> Original {
        let files = SimulatedFiles::new();
        let mut store = open(&files).expect("an empty directory opens");
        store.start(&[]).expect("an empty store starts");
        let stamp = synced_body(&store);
        let batch = store.append_state(stamp).expect("room for a record");
        let appended = batch.entries[0].as_ref().expect("room for a record");
        let incarnation = Incarnation(appended.commit_log_offset.0);
        store.create_queues(&topic(), incarnation, QUEUES);
        let mut sent = BTreeMap::new();
        send(&store, 0..MESSAGES, &mut sent);
        store.close().expect("a clean stop");
        drop(store);
        let cleanly = files.kill();
        // What was synced at the stop, and a little more that was not.
        let mut store = open(&files).expect("a clean store opens");
        store.start(&[at_start(incarnation)]).expect("a clean store starts");
        send(&store, MESSAGES..MESSAGES + MESSAGES / 4, &mut sent);
        Original { cleanly, killed: files.kill(), incarnation, sent }
    }

    /// A copy with some bytes overwritten, in files below a directory: `input` says which.
    ///
    /// | u8 flags: 1 killed | pieces: u8 file, u16 place, u8 length, bytes |
    pub fn damage(&self, below: &str, input: &[u8]) -> Option<Try> {
        let (flags, mut rest) = input.split_first()?;
        let files = if flags & 1 == 0 { self.cleanly.kill() } else { self.killed.kill() };
        let paths = files_below(&files, &Path::new(DIR).join(below));
        let mut damaged = Vec::new();
        for _ in 0..if paths.is_empty() { 0 } else { PIECES_MAX } {
            let Some(([file, high, low, len], after)) =
                rest.split_first_chunk::<4>().map(|(head, after)| (*head, after))
            else {
                break;
            };
            let (bytes, after) = after.split_at(after.len().min(usize::from(len)));
            rest = after;
            let (path, file_len) = &paths[usize::from(file) % paths.len()];
            let at = u64::from(u16::from_be_bytes([high, low])).min(file_len.saturating_sub(1));
            let bytes = &bytes[..bytes.len().min((file_len - at) as usize)];
            files.damage(path, at, bytes).expect("inside of a file");
            damaged.push(path.clone());
        }
        Some(Try { files, damaged })
    }

    /// Opens the store as a broker would, reads all of it, and compares with what was sent.
    pub fn check(&self, files: &SimulatedFiles) {
        // The offline reader sees any directory without harm.
        let options = VerifyOptions { live: false, index_layout: LAYOUT };
        verify(files, Path::new(DIR), options, &mut |_| {}).expect("there is a store");
        if let Ok(mut store) = OfflineStore::open(files, Path::new(DIR), false) {
            let mut at = CommitLogOffset(0);
            while let Some(step) = store.log.step(&mut at) {
                if let Step::Record(message) = step {
                    self.was_sent(&message);
                }
            }
        }
        let Ok(mut store) = open(files) else { return };
        if store.start(&[at_start(self.incarnation)]).is_err() {
            return;
        }
        for queue_id in 0..QUEUES {
            let queue = store.queue(&topic(), QueueId(queue_id)).expect("a queue");
            let mut next = queue.min_offset();
            while next < queue.max_offset() {
                let mut entries = Vec::new();
                if store.read_queue(&queue, next, 16, &mut entries).is_err() || entries.is_empty() {
                    break;
                }
                for entry in &entries {
                    if let Ok(message) = store.read_record(entry) {
                        self.was_sent(&message);
                    }
                }
                next = QueueOffset(next.0 + entries.len() as u64);
            }
        }
        for key in ["all", "id7", "nobody"] {
            for message in store.find_by_key(&topic(), key, &ALL_TIME) {
                self.was_sent(&message);
                assert!(message.unique_key() == Some(key) || message.keys().any(|word| word == key), "{key}");
            }
        }
        let second: RangeInclusive<Timestamp> = Timestamp(0)..=Timestamp(1_000);
        assert!(store.find_by_key(&topic(), "all", &second).is_empty());
        let _ = store.close();
    }

    fn was_sent(&self, message: &StoredMessage) {
        if message.topic() != STATE_TOPIC {
            assert_eq!(self.sent.get(&message.commit_log_offset), Some(&message.body), "nobody sent this");
        }
    }
}

fn topic() -> TopicName {
    TopicName::from_client("orders").expect("a legal name")
}

fn at_start(incarnation: Incarnation) -> TopicAtStart {
    TopicAtStart { topic: topic(), incarnation, queues: QUEUES, queue_ends: Vec::new() }
}

fn send(store: &Store, numbers: std::ops::Range<u32>, sent: &mut BTreeMap<CommitLogOffset, Bytes>) {
    for number in numbers {
        let body = Bytes::from(format!("body {number}"));
        let born_host = "127.0.0.1:50000".parse().expect("an address");
        let message = Message::new(body.clone(), &format!("id{number}"), Timestamp(1), born_host).expect("a message");
        let message = message.with_tag("T").expect("a tag").with_keys(["all", "some"]).expect("keys");
        let queue_id = QueueId(number % QUEUES);
        let queue = store.queue(&topic(), queue_id).expect("a queue").counter().clone();
        let record = EncodedRecord::message(&topic(), queue_id, store.store_host(), &message);
        let batch = store.append(vec![Append { record, queue, class: AppendClass::Message }]).expect("room");
        let appended = batch.entries[0].as_ref().expect("room");
        sent.insert(appended.commit_log_offset, body);
    }
}

fn synced_body(store: &Store) -> Vec<u8> {
    gantry_broker_core::state::record::encode(store.synced_offset(), &[])
}

fn open(files: &SimulatedFiles) -> Result<Store, StoreError> {
    let config = StoreConfig {
        data_dir: DIR.into(),
        durability: Durability::Memory,
        segment_bytes: 64 << 10,
        store_host: "127.0.0.1:10911".parse().expect("an address"),
        index_layout: LAYOUT,
        pace: Pace::default(),
        delay_levels: Default::default(),
    };
    let parts =
        StoreParts { files: Arc::new(files.clone()), clock: Box::new(SystemClock), random: Arc::new(SystemRandom) };
    let stamp_of =
        |message: &StoredMessage| (message.topic() == STATE_TOPIC).then(|| synced_stamp(&message.body)).flatten();
    let hooks = StoreHooks { arrived: Box::new(|_, _| {}), failed: Box::new(|_| {}), stamp_of };
    Store::open(config, parts, hooks)
}

fn files_below(files: &SimulatedFiles, dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for listed in files.list(dir).expect("a directory") {
        let path = dir.join(&listed.name);
        match listed.is_dir {
            true => found.extend(files_below(files, &path)),
            false => found.push((path, listed.len)),
        }
    }
    found
}
