//! Stores of a real broker, whole and damaged in every way there is, and one that RocketMQ would have written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::report::{Report, Stopped, WrittenBy};
use super::verify::{VerifyOptions, verify};
use super::*;
use crate::broker::TopicConfig;
use crate::clock::SystemClock;
use crate::config::Durability;
use crate::message::Message;
use crate::names::TopicName;
use crate::offset::{Incarnation, QueueId, QueueOffset};
use crate::random::SystemRandom;
use crate::state::record::{self as state_record, Entry};
use crate::store::commit_log::{Append, AppendClass};
use crate::store::consume_queue::QueueEntry;
use crate::store::files::Files;
use crate::store::index_file::{IndexLayout, TopicHash};
use crate::store::offline::source::ReadFiles;
use crate::store::record::EncodedRecord;
use crate::store::simulated_files::SimulatedFiles;
use crate::store::{Store, StoreConfig, StoreHooks, StoreParts, TopicAtStart};

const DIR: &str = "/data";
const SEGMENT_BYTES: u64 = 64 << 10;
const MESSAGES: u32 = 240;
const QUEUES: u32 = 3;

const LAYOUT: IndexLayout = IndexLayout { slots: 16, entries: 256 };

/// A store as the broker has it: topics are state records, and each opening is one.
struct Opened {
    store: Store,
    topic_ids: u32,
}

fn open(files: &SimulatedFiles, durability: Durability) -> Opened {
    open_with(files, durability, &[])
}

/// `queue_ends`: where a snapshot says that the queues of each topic ended.
fn open_with(files: &SimulatedFiles, durability: Durability, queue_ends: &[QueueOffset]) -> Opened {
    let config = StoreConfig {
        data_dir: DIR.into(),
        durability,
        segment_bytes: SEGMENT_BYTES,
        store_host: "127.0.0.1:10911".parse().unwrap(),
        index_layout: LAYOUT,
        pace: crate::config::Pace::default(),
        delay_levels: Default::default(),
    };
    let parts =
        StoreParts { files: Arc::new(files.clone()), clock: Box::new(SystemClock), random: Arc::new(SystemRandom) };
    let hooks = StoreHooks { arrived: Box::new(|_, _| {}), failed: Box::new(|_| {}), stamp_of };
    let mut store = Store::open(config, parts, hooks).unwrap();
    let mut topics = BTreeMap::new();
    let mut topic_ids = 0;
    store
        .read_state(
            |_| false,
            |message| {
                for entry in state_record::decode(&message.body).unwrap() {
                    match entry {
                        Entry::PutTopic { topic_id, config, .. } => {
                            let incarnation = Incarnation(message.commit_log_offset.0);
                            let queue_ends = queue_ends.to_vec();
                            let at_start =
                                TopicAtStart { topic: config.topic, incarnation, queues: QUEUES, queue_ends };
                            topics.insert(topic_id, at_start);
                            topic_ids = topic_id;
                        }
                        Entry::DeleteTopic { topic_id } => drop(topics.remove(&topic_id)),
                        _ => {}
                    }
                }
            },
        )
        .unwrap();
    store.start(&topics.into_values().collect::<Vec<_>>()).unwrap();
    let opened = Opened { store, topic_ids };
    opened.state(Entry::Boot { boot: opened.store.boot() });
    opened
}

impl Opened {
    fn state(&self, entry: Entry) -> Incarnation {
        let body = state_record::encode(self.store.synced_offset(), &[entry]);
        let batch = self.store.append_state(body).unwrap();
        Incarnation(batch.entries[0].as_ref().unwrap().commit_log_offset.0)
    }

    fn put(&mut self, topic: &str) -> u32 {
        self.topic_ids += 1;
        let topic = TopicName::from_client(topic).unwrap();
        let config = TopicConfig { read_queues: QUEUES, write_queues: QUEUES, ..TopicConfig::new(topic.clone()) };
        let incarnation = self.state(Entry::PutTopic { topic_id: self.topic_ids, version: 1, config });
        self.store.create_queues(&topic, incarnation, QUEUES);
        self.topic_ids
    }

    fn delete(&self, topic: &str, topic_id: u32) {
        self.state(Entry::DeleteTopic { topic_id });
        self.store.delete_queues(&TopicName::from_client(topic).unwrap()).unwrap();
    }

    fn send(&self, topic: &str, numbers: std::ops::Range<u32>) {
        let born_host = "127.0.0.1:4000".parse().unwrap();
        let topic = TopicName::from_client(topic).unwrap();
        for number in numbers {
            let body = Bytes::from(vec![b'a' + (number % 26) as u8; 100 + (number as usize * 37) % 900]);
            let message = Message::new(body, &format!("ID{topic}{number}"), Timestamp(1), born_host).unwrap();
            let message = message.with_tag("paid").unwrap().with_keys([format!("k{}", number % 7).as_str()]).unwrap();
            let queue_id = QueueId(number % QUEUES);
            let queue = self.store.queue(&topic, queue_id).unwrap().counter().clone();
            let record = EncodedRecord::message(&topic, queue_id, self.store.store_host(), &message);
            let batch = self.store.append(vec![Append { record, queue, class: AppendClass::Message }]).unwrap();
            self.store.reached(batch.end).wait().unwrap();
        }
    }

    /// A topic, another one that was deleted, a third one that was deleted and made again.
    fn fill(&mut self) {
        let mut ids = Vec::new();
        for topic in ["orders", "gone", "again"] {
            ids.push(self.put(topic));
            self.send(topic, 0..MESSAGES / 3);
        }
        self.delete("gone", ids[1]);
        self.delete("again", ids[2]);
        self.put("again");
        self.send("again", 0..MESSAGES / 3);
        self.send("orders", MESSAGES / 3..MESSAGES);
    }

    fn close(self) {
        self.state(Entry::Stop { exported: Vec::new() });
        self.store.close().unwrap();
    }
}

fn stopped_cleanly() -> SimulatedFiles {
    let files = SimulatedFiles::new();
    let mut store = open(&files, Durability::Memory);
    store.fill();
    store.close();
    files
}

fn read(files: &dyn ReadFiles, live: bool) -> Result<Report, OfflineError> {
    verify(files, Path::new(DIR), VerifyOptions { live, index_layout: LAYOUT }, &mut |_| {})
}

fn check(files: &dyn ReadFiles) -> Report {
    read(files, false).unwrap()
}

#[track_caller]
fn nothing_wrong(report: &Report) {
    assert!(report.is_well(), "{:#?}", report.problems);
}

fn all_files(files: &SimulatedFiles) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![PathBuf::from(DIR)];
    while let Some(dir) = dirs.pop() {
        for listed in files.read_dir(&dir).unwrap() {
            let path = dir.join(listed.name);
            match listed.is_dir {
                true => dirs.push(path),
                // Long files are compared by what they hold.
                false => {
                    let file = ReadFiles::open(files, &path).unwrap();
                    let mut held = file.len().unwrap().to_be_bytes().to_vec();
                    for stretch in file.data_from(0).unwrap() {
                        let mut bytes = vec![0; (stretch.end - stretch.start) as usize];
                        file.read_at(stretch.start, &mut bytes).unwrap();
                        held.extend(bytes);
                    }
                    found.insert(path, held);
                }
            }
        }
    }
    found
}

#[test]
fn a_clean_store_has_nothing_wrong_and_nothing_odd() {
    let files = stopped_cleanly();
    let before = all_files(&files);
    let report = check(&files);
    nothing_wrong(&report);
    assert_eq!(report.notes, Vec::<String>::new());
    assert_eq!((report.written_by, report.stopped), (WrittenBy::Gantry, Stopped::Cleanly));
    // Four lives of topics, of which two count.
    let sent = u64::from(MESSAGES / 3 * 4 + MESSAGES / 3 * 2);
    assert_eq!(report.commit_log.records, sent + report.state.records);
    assert_eq!(report.state.boot, Some(1));
    assert!(report.commit_log.segments >= 2 && report.commit_log.blanks >= 1);
    assert!(report.consume_queues.entries > sent);
    assert_eq!(report.index.keys, 2 * sent);
    assert_eq!(report.index.entries, 2 * sent);
    assert!(all_files(&files) == before, "verify changes nothing");
}

#[test]
fn after_a_kill_or_a_power_cut_nothing_is_wrong() {
    let files = SimulatedFiles::new();
    let mut store = open(&files, Durability::Disk);
    store.fill();
    let report = check(&files.kill());
    nothing_wrong(&report);
    assert_eq!(report.stopped, Stopped::Not);
    for seed in 0..40 {
        let files = files.power_cut(seed);
        nothing_wrong(&check(&files));
        let mut store = open(&files, Durability::Disk);
        nothing_wrong(&check(&files.kill()));
        store.put("more");
        store.send("more", 0..3);
        store.close();
        nothing_wrong(&check(&files.kill()));
    }
    // While it is open, it is refused, unless one says so.
    assert!(matches!(read(&files, false), Err(OfflineError::InUse { .. })));
    let live = read(&files, true).unwrap();
    nothing_wrong(&live);
    assert_eq!(live.stopped, Stopped::Running);
}

/// Where something of this store lies, and what its damage must be told as.
struct Place {
    file: &'static str,
    at: u64,
}

#[test]
fn a_flipped_byte_is_found_and_named_wherever_it_is() {
    let files = stopped_cleanly();
    let index = files.read_dir(&Path::new(DIR).join("index")).unwrap().remove(0).name.into_string().unwrap();
    let index: &'static str = format!("index/{index}").leak();
    let layout = LAYOUT;
    let slot = TopicHash::new("orders").key("k1").0.unsigned_abs() % layout.slots;
    let places = [
        Place { file: "commitlog/00000000000000000000", at: 2 },
        Place { file: "commitlog/00000000000000000000", at: 40_000 },
        Place { file: "commitlog/00000000000000065536", at: 10 },
        Place { file: "consumequeue/orders/0/00000000000000000000", at: 3 * 20 + 7 },
        Place { file: "consumequeue/orders/1/00000000000000000000", at: 11 },
        Place { file: "consumequeue/again/2/00000000000000000000", at: 19 },
        Place { file: "consumequeue/rmq_sys_GANTRY_STATE/0/00000000000000000000", at: 7 },
        // Behind the last entry.
        Place { file: "consumequeue/orders/0/00000000000000000000", at: 3_000 * 20 + 10 },
        Place { file: index, at: 35 },
        Place { file: index, at: 39 },
        Place { file: index, at: layout.slot_at(slot) + 3 },
        Place { file: index, at: layout.entry_at(5) + 2 },
        Place { file: index, at: layout.entry_at(9) + 11 },
        Place { file: index, at: layout.entry_at(200) + 19 },
        Place { file: "checkpoint", at: 31 },
        Place { file: "checkpoint", at: 1_000 },
        Place { file: "gantry/queue-ends", at: 3 },
        Place { file: "gantry/queue-ends", at: 30 },
        Place { file: "gantry/store.json", at: 12 },
    ];
    for Place { file, at } in places {
        let damaged = files.kill();
        let path = Path::new(DIR).join(file);
        let mut byte = [0];
        ReadFiles::open(&damaged, &path).unwrap().read_at(at, &mut byte).unwrap();
        damaged.damage(&path, at, &[byte[0] ^ 0x80]).unwrap();
        let before = all_files(&damaged);
        let report = check(&damaged);
        assert!(!report.is_well(), "byte {at} of {file}");
        let named = report.problems.iter().find(|problem| Path::new(&problem.file) == path);
        let named = named.unwrap_or_else(|| panic!("byte {at} of {file}: {:#?}", report.problems));
        assert!(named.offset <= at, "byte {at} of {file}: {named:?}");
        assert!(all_files(&damaged) == before, "verify changes nothing");
    }
}

#[test]
fn what_is_missing_is_found() {
    let files = stopped_cleanly();
    for gone in [
        "commitlog/00000000000000000000",
        "commitlog/00000000000000065536",
        "consumequeue/orders/0/00000000000000000000",
        "checkpoint",
        "gantry/queue-ends",
    ] {
        let files = files.kill();
        files.remove_file(&Path::new(DIR).join(gone)).unwrap();
        assert!(!check(&files).is_well(), "{gone}");
    }
    let index = files.kill();
    let name = index.read_dir(&Path::new(DIR).join("index")).unwrap().remove(0).name;
    index.remove_file(&Path::new(DIR).join("index").join(name)).unwrap();
    assert!(!check(&index).is_well());
    let nothing = verify(&files, Path::new("/nowhere"), VerifyOptions::default(), &mut |_| {});
    assert!(matches!(nothing, Err(OfflineError::NoStore { .. })));
}

#[test]
fn records_behind_a_damaged_place_are_still_checked_and_dumped() {
    let files = stopped_cleanly();
    let path = Path::new(DIR).join("commitlog/00000000000000000000");
    let whole = check(&files).commit_log.records;
    files.damage(&path, 20_000, &[0xFF; 300]).unwrap();
    let report = check(&files);
    // One problem: queues and index point at records that nobody can read, which is no second one.
    assert_eq!(report.problems_found, 1, "{:#?}", report.problems);
    assert!(report.problems[0].reason.contains("was synced once"), "{:?}", report.problems[0]);
    assert!((whole - 4..whole).contains(&report.commit_log.records), "{} of {whole}", report.commit_log.records);

    let mut store = OfflineStore::open(&files, Path::new(DIR), false).unwrap();
    let (mut at, mut records, mut passed_over) = (CommitLogOffset(0), 0, 0);
    while let Some(step) = store.log.step(&mut at) {
        match step {
            log::Step::Record(_) => records += 1,
            log::Step::PassedOver { .. } => passed_over += 1,
        }
    }
    assert_eq!((records, passed_over), (report.commit_log.records, 1));
}

#[test]
fn no_bytes_make_it_panic() {
    let files = stopped_cleanly();
    let paths: Vec<PathBuf> = all_files(&files).into_keys().filter(|path| !path.ends_with("lock")).collect();
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below.max(1)
    };
    let mut found = 0;
    let rounds = 150;
    for _ in 0..rounds {
        let files = files.kill();
        for _ in 0..=random(3) {
            let path = &paths[random(paths.len() as u64) as usize];
            let file = ReadFiles::open(&files, path).unwrap();
            let stretches = file.data_from(0).unwrap();
            let Some(stretch) = stretches.get(random(stretches.len() as u64) as usize) else { continue };
            let at = stretch.start + random(stretch.end - stretch.start);
            let len = (1 + random(60)).min(file.len().unwrap() - at);
            let pattern = [0x00, 0xFF, 0x7F, 0x80, random(256) as u8][random(5) as usize];
            files.damage(path, at, &vec![pattern; len as usize]).unwrap();
        }
        let report = check(&files);
        found += u32::from(!report.is_well());
        let mut store = OfflineStore::open(&files, Path::new(DIR), false).unwrap();
        let mut at = CommitLogOffset(0);
        while store.log.step(&mut at).is_some() {}
        for queue in queues::queue_dirs(&files, Path::new(DIR), &mut Vec::new()).unwrap() {
            queue.ends(&files).unwrap();
            queue.each_entry(&files, |_, _| true).unwrap();
        }
        let opened = index::index_files(&files, Path::new(DIR), LAYOUT, |_, _, _| {});
        for mut file in opened.unwrap() {
            file.find(TopicHash::new("orders").key("k1")).unwrap();
        }
    }
    assert!(found > rounds / 3, "{found} of {rounds} were seen");
}

/// A record as RocketMQ writes it: no CRC but the body's.
fn foreign_record(at: u64, queue_offset: u64, stored: i64, body: &[u8], properties: &str) -> Vec<u8> {
    let topic = b"TopicTest";
    let len = 91 + body.len() + topic.len() + properties.len();
    let mut bytes = Vec::new();
    bytes.extend((len as u32).to_be_bytes());
    bytes.extend(0xDAA3_20A7_u32.to_be_bytes());
    bytes.extend((crc32fast::hash(body) & 0x7FFF_FFFF).to_be_bytes());
    bytes.extend([0, 0, 0, 3, 0, 0, 0, 0]);
    bytes.extend(queue_offset.to_be_bytes());
    bytes.extend(at.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(1_700_000_000_000_i64.to_be_bytes());
    bytes.extend([127, 0, 0, 1, 0, 0, 0xC3, 0x50]);
    bytes.extend(stored.to_be_bytes());
    bytes.extend([127, 0, 0, 1, 0, 0, 0x2A, 0x9F]);
    bytes.extend([0; 12]);
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    bytes.push(topic.len() as u8);
    bytes.extend(topic);
    bytes.extend((properties.len() as u16).to_be_bytes());
    bytes.extend(properties.as_bytes());
    assert_eq!(bytes.len(), len);
    bytes
}

/// A store of RocketMQ: twenty messages in one queue, the log beginning at its second segment.
fn foreign_store(files: &SimulatedFiles) {
    const BASE: u64 = 1 << 16;
    let dir = Path::new(DIR);
    let queue_dir = dir.join("consumequeue/TopicTest/3");
    for dir in [dir.join("commitlog"), queue_dir.clone(), dir.join("config")] {
        files.create_dir(&dir).unwrap();
    }
    let log = files.create_log_file(&dir.join("commitlog/00000000000000065536"), BASE).unwrap();
    log.reserve(BASE).unwrap();
    let queue = files.data_file(&queue_dir.join("00000000000000000000"), 6_000_000).unwrap();
    let mut at = 0;
    for number in 0..20_u64 {
        let stored = 1_700_000_000_000 + number as i64;
        let record =
            foreign_record(BASE + at, 7 + number, stored, b"Hello RocketMQ", "UNIQ_KEY\u{1}01\u{2}TAGS\u{1}TagA\u{2}");
        log.write_at(at, &record);
        let entry = QueueEntry {
            commit_log_offset: CommitLogOffset(BASE + at),
            record_len: record.len() as u32,
            tag_hash: 2_598_919,
            inner: 0,
        };
        queue.write_at((7 + number) * 20, &entry.encode()).unwrap();
        at += record.len() as u64;
    }
    // What was deleted from the log has its entries still.
    let old = QueueEntry { commit_log_offset: CommitLogOffset(100), record_len: 100, tag_hash: 0, inner: 0 };
    queue.write_at(6 * 20, &old.encode()).unwrap();
    let mut checkpoint = vec![0; 4096];
    for field in 0..3 {
        checkpoint[field * 8..field * 8 + 8].copy_from_slice(&1_700_000_000_019_i64.to_be_bytes());
    }
    files.replace(&dir.join("checkpoint"), &checkpoint, false).unwrap();
}

/// All of their messages went with retention, and a start has made them anew: they go on where they ended.
#[test]
fn queues_that_the_log_has_nothing_of_any_more_are_well() {
    let files = SimulatedFiles::new();
    let mut store = open(&files, Durability::Memory);
    store.put("orders");
    store.close();
    open_with(&files, Durability::Memory, &[QueueOffset(5), QueueOffset(0), QueueOffset(7)]).close();
    let report = check(&files);
    nothing_wrong(&report);
    assert_eq!(report.notes, Vec::<String>::new());

    let queue = Path::new(DIR).join("consumequeue/orders/2/00000000000000000000");
    let filled = ReadFiles::open(&files, &queue).unwrap().data_from(0).unwrap();
    assert!(!filled.is_empty(), "what nobody reads is there");
    let entry = QueueEntry { commit_log_offset: CommitLogOffset(100), record_len: 100, tag_hash: 0, inner: 0 };
    files.damage(&queue, 7 * 20, &entry.encode()).unwrap();
    let report = check(&files);
    assert_eq!(report.problems_found, 1, "an entry where the queue ends: {:#?}", report.problems);
}

#[test]
fn a_store_of_rocketmq_is_read_without_our_checksum() {
    let files = SimulatedFiles::new();
    foreign_store(&files);
    let report = check(&files);
    nothing_wrong(&report);
    assert_eq!(report.written_by, WrittenBy::RocketMq);
    assert_eq!((report.commit_log.records, report.commit_log.min_offset), (20, 1 << 16));
    assert_eq!((report.consume_queues.entries, report.index.keys), (20, 20));

    let queue = Path::new(DIR).join("consumequeue/TopicTest/3/00000000000000000000");
    for at in [7 * 20 + 7, 26 * 20 + 18] {
        let files = files.kill();
        files.damage(&queue, at, &[0xAA]).unwrap();
        assert_eq!(check(&files).problems_found, 1, "byte {at}");
    }
    let log = Path::new(DIR).join("commitlog/00000000000000065536");
    let damaged = files.kill();
    damaged.damage(&log, 500, &[0xAA; 30]).unwrap();
    let report = check(&damaged);
    assert_eq!(report.problems_found, 1, "{:#?}", report.problems);
    assert!(report.problems[0].offset <= 500);
}
