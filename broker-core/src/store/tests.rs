//! The store as a whole: round trips, kills, power cuts, damage, and derived files that come back.

mod queries;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use super::*;
use crate::message::Message;
use crate::offset::QueueId;
use crate::store::disk_files::DiskFiles;
use crate::store::dispatch::Arrival;
use crate::store::quarantine::QUARANTINE_DIR;
use crate::store::segment;
use crate::store::simulated_files::SimulatedFiles;

const SEGMENT_BYTES: u64 = 64 << 10;
const DIR: &str = "/data";

/// Time that stands still unless it is told to go on; shared, so that it goes on over restarts.
#[derive(Clone, Default)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn wall(&self) -> Timestamp {
        Timestamp(1_700_000_000_000 + self.0.load(Ordering::Relaxed))
    }
    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).unsigned_abs())
    }
}

struct CountingRandom;

impl Random for CountingRandom {
    fn fill(&self, bytes: &mut [u8]) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        bytes.fill_with(|| NEXT.fetch_add(1, Ordering::Relaxed) as u8);
    }
}

/// How a store is opened in these tests.
#[derive(Clone)]
struct Rig {
    files: Arc<dyn Files>,
    dir: PathBuf,
    durability: Durability,
    hands: Hands,
    segment_bytes: u64,
}

impl Rig {
    fn simulated(files: &SimulatedFiles, durability: Durability) -> Rig {
        let hands = Hands::default();
        Rig { files: Arc::new(files.clone()), dir: DIR.into(), durability, hands, segment_bytes: SEGMENT_BYTES }
    }

    fn on_disk(dir: &Path, durability: Durability) -> Rig {
        let hands = Hands::default();
        Rig { files: Arc::new(DiskFiles), dir: dir.join("data"), durability, hands, segment_bytes: SEGMENT_BYTES }
    }

    fn open_only(&self, arrived: impl Fn(&[Arrival]) + Send + Sync + 'static) -> Result<Store, StoreError> {
        let config = StoreConfig {
            data_dir: self.dir.clone(),
            durability: self.durability,
            segment_bytes: self.segment_bytes,
            store_host: "127.0.0.1:10911".parse().unwrap(),
            index_layout: IndexLayout { slots: 64, entries: 256 },
            pace: Pace::default(),
            delay_levels: Default::default(),
        };
        let parts = StoreParts {
            files: self.files.clone(),
            clock: Box::new(self.hands.clone()),
            random: Arc::new(CountingRandom),
        };
        let hooks =
            StoreHooks { arrived: Box::new(move |arrivals, _| arrived(arrivals)), failed: Box::new(|_| {}), stamp_of };
        Store::open(config, parts, hooks)
    }

    /// Opens, replays the topics, starts.
    fn open(&self) -> Result<Store, StoreError> {
        self.open_telling(|_| {})
    }

    fn open_telling(&self, arrived: impl Fn(&[Arrival]) + Send + Sync + 'static) -> Result<Store, StoreError> {
        let mut store = self.open_only(arrived)?;
        let topics = topics(&store)?;
        store.start(&topics)?;
        Ok(store)
    }
}

/// State records of these tests: the stamp, then `create <topic> <queues>`, `delete <topic>` or nothing of meaning.
fn stamp_of(message: &StoredMessage) -> Option<CommitLogOffset> {
    let is_state = message.topic() == crate::names::STATE_TOPIC;
    is_state.then(|| CommitLogOffset(u64::from_be_bytes(message.body[..8].try_into().unwrap())))
}

fn topics(store: &Store) -> Result<Vec<TopicAtStart>, StoreError> {
    let mut topics = BTreeMap::new();
    let mut last = None;
    store.read_state(
        |_| false,
        |message| {
            assert!(last < Some(message.commit_log_offset), "in the order of the log");
            last = Some(message.commit_log_offset);
            let text = String::from_utf8(message.body[8..].to_vec()).unwrap();
            match text.split(' ').collect::<Vec<_>>()[..] {
                ["create", topic, queues] => {
                    let topic = TopicName::from_client(topic).unwrap();
                    topics.insert(topic, (Incarnation(message.commit_log_offset.0), queues.parse().unwrap()));
                }
                ["delete", topic] => drop(topics.remove(topic)),
                _ => {}
            }
        },
    )?;
    let at_start = |(topic, (incarnation, queues))| TopicAtStart { topic, incarnation, queues, queue_ends: Vec::new() };
    Ok(topics.into_iter().map(at_start).collect())
}

fn name(text: &str) -> TopicName {
    TopicName::from_client(text).unwrap()
}

/// Does not wait: at level disk a state record rides with the next message.
fn state(store: &Store, text: &str) -> Result<Incarnation, StoreError> {
    let body = [&store.synced_offset().0.to_be_bytes()[..], text.as_bytes()].concat();
    let batch = store.append_state(body)?;
    Ok(Incarnation(batch.entries[0].clone()?.commit_log_offset.0))
}

fn create(store: &Store, topic: &str, queues: u32) -> Result<(), StoreError> {
    let incarnation = state(store, &format!("create {topic} {queues}"))?;
    store.create_queues(&name(topic), incarnation, queues);
    Ok(())
}

fn delete(store: &Store, topic: &str) {
    state(store, &format!("delete {topic}")).unwrap();
    store.delete_queues(&name(topic)).unwrap();
}

fn message(body: &str) -> Message {
    let born_host = "127.0.0.1:50000".parse().unwrap();
    let message = Message::new(Bytes::from(body.to_string()), &format!("id-{body}"), Timestamp(1), born_host).unwrap();
    message.with_tag("T").unwrap().with_keys(["all", &format!("key-{body}")]).unwrap()
}

fn append(topic: &str, store: &Store, queue_id: u32, body: &str) -> Append {
    let (topic, queue_id) = (name(topic), QueueId(queue_id));
    let queue = store.queue(&topic, queue_id).expect("the queue exists").counter().clone();
    let record = EncodedRecord::message(&topic, queue_id, store.store_host(), &message(body));
    Append { record, queue, class: AppendClass::Message }
}

/// Sends, and waits until the level is reached.
fn send(store: &Store, topic: &str, queue_id: u32, body: &str) -> Result<QueueOffset, StoreError> {
    let batch = store.append(vec![append(topic, store, queue_id, body)])?;
    store.reached(batch.end).wait()?;
    batch.entries[0].clone().map(|appended| appended.queue_offset)
}

/// All bodies of all queues of a topic.
fn bodies(store: &Store, topic: &str) -> Vec<Vec<String>> {
    let read = |queue: &Arc<ConsumeQueue>| {
        let mut entries = Vec::new();
        queue.read_entries(queue.min_offset(), usize::MAX, &mut entries).unwrap();
        assert_eq!(entries.len() as u64, queue.max_offset().0 - queue.min_offset().0);
        let read = |(at, entry)| {
            let message = store.read_record(entry).unwrap();
            assert_eq!(message.queue_offset.0, queue.min_offset().0 + at as u64, "entry k is queue offset k");
            assert_eq!((message.topic(), message.queue_id), (topic, queue.queue_id()));
            assert_eq!(entry.tag_hash, crate::delivery::filter::tag_hash("T"));
            String::from_utf8(message.body.to_vec()).unwrap()
        };
        entries.iter().enumerate().map(read).collect()
    };
    store.queues(&name(topic)).iter().map(read).collect()
}

fn found(store: &Store, topic: &str, key: &str) -> Vec<String> {
    let found = store.find_by_key(&name(topic), key, &ALL_TIME);
    found.into_iter().map(|message| String::from_utf8(message.body.to_vec()).unwrap()).collect()
}

/// Bodies 0 to `count`, over `queues` queues in turn.
fn fill(store: &Store, topic: &str, queues: u32, count: u32) -> Vec<Vec<String>> {
    let mut expected = vec![Vec::new(); queues as usize];
    for number in 0..count {
        let body = format!("{topic}-{number}");
        let offset = send(store, topic, number % queues, &body).unwrap();
        assert_eq!(offset.0, u64::from(number / queues));
        expected[(number % queues) as usize].push(body);
    }
    expected
}

/// What the keeper does now and then. On a disk that has halted it does nothing.
fn sync_derived(store: &Store) {
    let ends = store.shared.sync_derived();
    if ends.needs_log_below() <= store.synced_offset() {
        let _ = store.shared.write_derived_ends(&ends);
    }
    let _ = store.shared.write_checkpoint();
}

#[test]
fn what_was_sent_is_read_again_after_a_close_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    for durability in [Durability::Memory, Durability::Disk] {
        let rig = Rig::on_disk(&dir.path().join(format!("{durability:?}")), durability);
        let store = rig.open().unwrap();
        assert_eq!(store.boot(), 1);
        create(&store, "orders", 4).unwrap();
        let mut expected = fill(&store, "orders", 4, 200);
        assert_eq!(bodies(&store, "orders"), expected);
        store.close().unwrap();
        assert!(matches!(store.append_state(vec![0; 8]), Err(StoreError::Closed)));
        assert_eq!(bodies(&store, "orders"), expected, "what is closed can be read");
        drop(store);
        assert!(!rig.dir.join("abort").exists());

        for boot in 2..5 {
            let store = rig.open().unwrap();
            assert_eq!(store.boot(), boot);
            assert!(rig.dir.join("abort").exists());
            assert_eq!(bodies(&store, "orders"), expected);
            assert_eq!(found(&store, "orders", "key-orders-77"), ["orders-77"]);
            let body = format!("after-{boot}");
            assert_eq!(send(&store, "orders", 1, &body).unwrap().0, expected[1].len() as u64);
            expected[1].push(body);
            // Dropped without a close: the next open takes it for a kill.
        }
        let store = rig.open().unwrap();
        assert_eq!(bodies(&store, "orders"), expected);
        assert_eq!(found(&store, "orders", "id-after-4"), ["after-4"]);
    }
}

#[test]
fn a_store_rolls_over_many_segments_and_index_files() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(dir.path(), Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 3).unwrap();
    let expected = fill(&store, "orders", 3, 3_000);
    for _ in 0..2 {
        assert!(store.max_offset().0 > 8 * SEGMENT_BYTES);
        assert_eq!(bodies(&store, "orders"), expected);
        for number in [0, 1, 1_500, 2_999] {
            let body = format!("orders-{number}");
            assert_eq!(found(&store, "orders", &format!("key-{body}")), std::slice::from_ref(&body));
            assert_eq!(found(&store, "orders", &format!("id-{body}")), [body]);
        }
        let newest: Vec<String> = (2_936..3_000).rev().map(|number| format!("orders-{number}")).collect();
        assert_eq!(found(&store, "orders", "all"), newest);
        assert!(found(&store, "orders", "key-nobody").is_empty());
    }
    drop(store);
    let store = rig.open().unwrap();
    assert_eq!(bodies(&store, "orders"), expected);
    assert_eq!(found(&store, "orders", "key-orders-2"), ["orders-2"]);
}

/// Found by a kill between the two: the dispatch of what was missing ran into the empty segment, and the start was refused.
#[test]
fn d10_a_kill_between_a_segments_end_and_the_next_record_is_no_damage() {
    for sync in [false, true] {
        let files = SimulatedFiles::new();
        let rig = Rig::simulated(&files, Durability::Memory);
        let store = rig.open().unwrap();
        create(&store, "orders", 1).unwrap();
        let mut expected = Vec::new();
        while store.max_offset().0 <= SEGMENT_BYTES {
            if sync && expected.len() == 100 {
                sync_derived(&store);
            }
            let body = format!("orders-{}", expected.len());
            send(&store, "orders", 0, &body).unwrap();
            expected.push(body);
        }
        // The first segment is closed; of the record that did not fit nothing has arrived yet.
        let killed = files.kill();
        let second = Path::new(DIR).join(commit_log::COMMIT_LOG_DIR).join(segment::file_name(SEGMENT_BYTES));
        killed.damage(&second, 0, &[0; 4_096]).unwrap();
        expected.pop();
        drop(store);
        let rig = Rig::simulated(&killed, Durability::Memory);
        for round in 0..3 {
            let store = rig.open().unwrap();
            assert_eq!(bodies(&store, "orders"), std::slice::from_ref(&expected));
            let body = format!("after-{round}");
            send(&store, "orders", 0, &body).unwrap();
            expected.push(body);
        }
    }
}

#[test]
fn d2_a_kill_right_after_a_segment_was_closed_leaves_a_store_that_opens() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    let mut sent = 0;
    while store.max_offset().0 < SEGMENT_BYTES {
        send(&store, "orders", 0, &format!("orders-{sent}")).unwrap();
        sent += 1;
    }
    // The blank is there, the record behind it is not.
    let files = files.kill();
    let next = Path::new(DIR).join("commitlog").join(segment::file_name(SEGMENT_BYTES));
    files.damage(&next, 0, &[0; 4096]).unwrap();
    for _ in 0..2 {
        let rig = Rig::simulated(&files.kill(), Durability::Memory);
        let store = rig.open().unwrap();
        assert_eq!(bodies(&store, "orders")[0].len(), sent - 1);
        assert_eq!(send(&store, "orders", 0, "behind").unwrap().0, sent as u64 - 1);
        assert_eq!(bodies(&store, "orders")[0].last().unwrap(), "behind");
    }
}

#[test]
fn d3_a_queue_file_of_another_queue_serves_nothing_wrong_and_is_made_anew() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 2).unwrap();
    let expected = fill(&store, "orders", 2, 50);
    store.close().unwrap();
    drop(store);
    let file = |queue: u32| Path::new(DIR).join(format!("consumequeue/orders/{queue}/00000000000000000000"));
    files.put_copy(&file(0), &files.kill(), &file(1)).unwrap();

    let store = rig.open().unwrap();
    let queue = store.queue(&name("orders"), QueueId(0)).unwrap();
    let entry = queue.read_entry(QueueOffset(7)).unwrap().unwrap();
    let refused = store.read_message(&mut Window::default(), &queue, QueueOffset(7), &entry).unwrap_err();
    assert!(matches!(&refused, StoreError::Damaged { file: damaged, offset: 140, .. } if *damaged == file(0)));
    store.close().unwrap();
    drop(store);
    assert_eq!(bodies(&rig.open().unwrap(), "orders"), expected, "the next start has made it anew");
}

#[test]
fn d7_what_queues_were_synced_with_is_a_watermark() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    fill(&store, "orders", 1, 20);
    let last = store.max_offset().0 - 30;
    store.close().unwrap();
    drop(store);
    // The checkpoint is gone and the last record is damaged: a torn tail, if nobody knew better.
    files.damage(&Path::new(DIR).join("checkpoint"), 0, &[0; 48]).unwrap();
    files.flip_bits(&first_segment(), last, 1).unwrap();
    let refused = rig.open().map(drop).unwrap_err().to_string();
    assert!(refused.contains("00000000000000000000 is damaged at byte"), "{refused}");
    assert!(refused.contains("gantry store verify DIR"), "{refused}");
}

#[test]
fn d7_what_was_synced_long_ago_must_be_records_and_is_checked_when_it_is_read() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    fill(&store, "orders", 1, 100);
    assert!(store.max_offset().0 > SEGMENT_BYTES / 8, "most of it is not checked by a start");
    let mut entries = Vec::new();
    store.queues(&name("orders"))[0].read_entries(QueueOffset(5), 1, &mut entries).unwrap();
    let entry = entries[0];
    store.close().unwrap();
    drop(store);
    let damaged = |at: u64| {
        let files = files.kill();
        files.damage(&Path::new(DIR).join("checkpoint"), 0, &[0; 48]).unwrap();
        files.flip_bits(&first_segment(), at, 1).unwrap();
        Rig { files: Arc::new(files), ..rig.clone() }
    };
    let last_byte = entry.end().0 - 1;
    let store = damaged(last_byte).open().unwrap();
    assert!(matches!(store.read_record(&entry), Err(StoreError::Damaged { .. })));
    store.close().unwrap();
    // Its length, its place.
    for byte in [entry.commit_log_offset.0 + 3, entry.commit_log_offset.0 + 35] {
        let refused = damaged(byte).open().map(drop).unwrap_err().to_string();
        let expected = format!("00000000000000000000 is damaged at byte {}", entry.commit_log_offset);
        assert!(refused.contains(&expected), "{refused}");
    }
}

#[test]
fn c2_a_boot_number_that_was_flipped_is_seen() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    drop(rig.open().unwrap());
    let path = Path::new(DIR).join("gantry/store.json");
    let text = String::from_utf8(files.read(&path).unwrap()).unwrap();
    let at = text.find("\"boot\": 1").unwrap() as u64 + 8;
    files.flip_bits(&path, at, 2).unwrap();
    let refused = rig.open().map(drop).unwrap_err();
    assert!(matches!(&refused, StoreError::Damaged { file, .. } if *file == path), "{refused}");
    files.flip_bits(&path, at, 2).unwrap();
    assert_eq!(rig.open().unwrap().boot(), 2);
    // A program that knew of no checksum wrote none.
    let (before, _) = text.split_once(",\n  \"crc32\"").unwrap();
    files.replace(&path, format!("{before}\n}}\n").as_bytes(), false).unwrap();
    assert_eq!(rig.open().unwrap().boot(), 2);
}

#[test]
fn d10_what_is_derived_is_synced_by_one_at_a_time_and_never_goes_back() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 2).unwrap();
    let before = store.shared.sync_derived();
    fill(&store, "orders", 2, 40);
    // The keeper and retention.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..200 {
                    store.shared.write_derived_ends(&store.shared.sync_derived()).unwrap();
                }
            });
        }
    });
    let written = DerivedEnds::read(&files, Path::new(DIR)).unwrap();
    assert_eq!(written.as_ref(), Some(&store.shared.sync_derived()));
    store.shared.write_derived_ends(&before).unwrap();
    assert_eq!(DerivedEnds::read(&files, Path::new(DIR)).unwrap(), written);
}

#[test]
fn a_checkpoint_that_has_lost_its_end_still_says_what_it_said() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    let expected = fill(&store, "orders", 1, 5);
    store.close().unwrap();
    drop(store);
    let path = Path::new(DIR).join("checkpoint");
    for len in [3_000, 48, 20, 0] {
        files.cut_short(&path, len).unwrap();
        let (_, checkpoint) = CheckpointFile::open(&files.kill(), &path).unwrap();
        assert_eq!(checkpoint.is_some(), len >= 48);
        assert_eq!(bodies(&rig.open().unwrap(), "orders"), expected);
        assert_eq!(files.read(&path).unwrap().len(), 4096);
    }
}

#[test]
fn d6_what_a_kill_left_without_a_synced_name_survives_the_next_power_cut() {
    for operations in 0.. {
        let files = SimulatedFiles::new();
        let rig = Rig::simulated(&files, Durability::Disk);
        files.halt_after(operations);
        let opened = rig.open();
        let whole = files.make_dir(&Path::new(DIR).join("alive")).is_ok();
        drop(opened);
        // Killed there; then a life that acknowledges a message, and the power goes.
        let files = files.kill();
        let store = Rig::simulated(&files, Durability::Disk).open().unwrap();
        create(&store, "orders", 1).unwrap();
        send(&store, "orders", 0, "kept").unwrap();
        for seed in 0..8 {
            let store = Rig::simulated(&files.power_cut(seed), Durability::Disk).open().unwrap();
            assert_eq!(bodies(&store, "orders"), [["kept"]], "killed before change {operations}");
        }
        if whole {
            return;
        }
    }
}

#[test]
fn d8_derived_files_come_back_when_they_were_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(dir.path(), Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 3).unwrap();
    create(&store, "bills", 2).unwrap();
    let orders = fill(&store, "orders", 3, 500);
    let bills = fill(&store, "bills", 2, 300);
    store.close().unwrap();
    drop(store);
    let deletions: [&[&str]; 6] = [
        &["consumequeue", "index"],
        &["consumequeue"],
        &["index"],
        &["consumequeue/orders/1"],
        &["consumequeue/bills/0/00000000000000000000"],
        &["consumequeue/rmq_sys_GANTRY_STATE", "checkpoint", "gantry/queue-ends"],
    ];
    for (round, deletion) in deletions.into_iter().enumerate() {
        for path in deletion.iter().map(|path| rig.dir.join(path)) {
            if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
        }
        let store = rig.open().unwrap();
        assert_eq!(bodies(&store, "orders"), orders, "{deletion:?}");
        assert_eq!(bodies(&store, "bills"), bills, "{deletion:?}");
        for key in ["key-orders-3", "key-orders-499"] {
            assert_eq!(found(&store, "orders", key), [key.strip_prefix("key-").unwrap()], "{deletion:?}");
        }
        if round % 2 == 0 {
            store.close().unwrap();
        }
    }
}

#[test]
fn b10_a_topic_made_again_has_nothing_of_the_old_one() {
    for clean in [true, false] {
        let files = SimulatedFiles::new();
        let rig = Rig::simulated(&files, Durability::Memory);
        let store = rig.open().unwrap();
        create(&store, "orders", 2).unwrap();
        fill(&store, "orders", 2, 50);
        let old = store.queue(&name("orders"), QueueId(0)).unwrap();
        delete(&store, "orders");
        let mut entries = Vec::new();
        old.read_entries(QueueOffset(0), 10, &mut entries).unwrap_or_default();
        assert!(entries.is_empty() && store.queues(&name("orders")).is_empty());
        create(&store, "orders", 1).unwrap();
        assert_eq!(send(&store, "orders", 0, "new").unwrap(), QueueOffset(0));
        assert!(old.read_entries(QueueOffset(0), 10, &mut entries).is_err() || entries.is_empty());
        let check = |store: &Store| {
            assert_eq!(bodies(store, "orders"), [["new"]]);
            assert_eq!(found(store, "orders", "all"), ["new"]);
            assert!(found(store, "orders", "key-orders-1").is_empty());
        };
        check(&store);
        if clean {
            store.close().unwrap();
        }
        drop(store);
        check(&rig.open().unwrap());

        // And when all of it is made anew from the log.
        let mut gone: Vec<PathBuf> = vec![Path::new(DIR).join("gantry/queue-ends")];
        gone.retain(|path| files.read(path).is_ok());
        gone.iter().for_each(|path| files.remove_file(path).unwrap());
        check(&rig.open().unwrap());
    }
}

#[test]
fn a_kill_after_a_sync_of_the_queues_dispatches_only_the_rest() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Disk);
    let store = rig.open().unwrap();
    create(&store, "orders", 2).unwrap();
    let mut expected = fill(&store, "orders", 2, 300);
    sync_derived(&store);
    let synced_below = store.max_offset();
    create(&store, "young", 1).unwrap();
    send(&store, "young", 0, "x").unwrap();
    for body in ["late", "later"] {
        send(&store, "orders", 1, body).unwrap();
        expected[1].push(body.into());
    }
    let after = files.kill();
    drop(store);
    // Entries behind the synced end are nonsense after a power cut.
    let path = Path::new(DIR).join("consumequeue/orders/1/00000000000000000000");
    after.damage(&path, 150 * 20, &[7; 20 * 90]).unwrap();
    let rig = Rig { files: Arc::new(after.clone()), ..rig };
    let store = rig.open_only(|_| {}).unwrap();
    let topics = topics(&store).unwrap();
    store.shared.recover_queues(&topics).unwrap();
    for queue in store.queues(&name("orders")).iter() {
        assert_eq!((queue.max_offset().0, queue.missing_from()), (150, Some(synced_below)));
    }
    drop(store);
    let store = rig.open().unwrap();
    assert_eq!(bodies(&store, "orders"), expected);
    assert_eq!(bodies(&store, "young"), [["x"]]);
    for key in ["id-later", "key-orders-7", "key-orders-299"] {
        assert_eq!(found(&store, "orders", key).len(), 1, "{key}");
    }
    drop(store);
    // An entry that is not what it was takes the whole queue's word away.
    after.damage(&path, 149 * 20, &[7; 20]).unwrap();
    assert_eq!(bodies(&rig.open().unwrap(), "orders"), expected);
    let file = after.data_file(&path, 6_000_000).unwrap();
    let mut behind = [1; 40 * 20];
    file.read_at(expected[1].len() as u64 * 20, &mut behind).unwrap();
    assert_eq!(behind, [0; 40 * 20], "nothing lies behind the end");
}

#[test]
fn b10_what_was_sent_to_the_old_topic_and_dispatched_later_is_passed_over() {
    let files = SimulatedFiles::new();
    let store = Rig::simulated(&files, Durability::Disk).open().unwrap();
    create(&store, "orders", 1).unwrap();
    // Nothing makes haste to sync this, so dispatch has not seen it when the topic is made again.
    let late = |body| Append { class: AppendClass::State, ..append("orders", &store, 0, body) };
    store.append(vec![late("late"), late("later")]).unwrap();
    delete(&store, "orders");
    create(&store, "orders", 1).unwrap();
    assert_eq!(send(&store, "orders", 0, "new").unwrap(), QueueOffset(0));
    assert_eq!(bodies(&store, "orders"), [["new"]]);
    assert!(store.queue(&name("orders"), QueueId(0)).unwrap().is_trusted());
}

#[test]
fn queues_of_no_topic_go_to_quarantine() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(dir.path(), Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 2).unwrap();
    create(&store, "gone", 1).unwrap();
    let expected = fill(&store, "orders", 2, 10);
    // More than a queue keeps in memory.
    fill(&store, "gone", 1, 300);
    // The record is written, and then the machine dies before the files go.
    state(&store, "delete gone").unwrap();
    drop(store);
    std::fs::create_dir_all(rig.dir.join("consumequeue/orders/7")).unwrap();
    std::fs::write(rig.dir.join("consumequeue/orders/7/00000000000000000000"), "strange").unwrap();
    let store = rig.open().unwrap();
    assert_eq!(bodies(&store, "orders"), expected);
    assert!(!rig.dir.join("consumequeue/gone").exists() && !rig.dir.join("consumequeue/orders/7").exists());
    let quarantine = rig.dir.join(QUARANTINE_DIR).join("consumequeue.1");
    assert!(quarantine.join("gone/0/00000000000000000000").exists());
    assert!(quarantine.join("orders/7/00000000000000000000").exists());
}

#[test]
fn a_queue_takes_more_queues_and_keeps_what_it_has() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    send(&store, "orders", 0, "a").unwrap();
    let incarnation = store.queue(&name("orders"), QueueId(0)).unwrap().incarnation();
    store.create_queues(&name("orders"), incarnation, 3);
    assert_eq!(send(&store, "orders", 2, "b").unwrap(), QueueOffset(0));
    assert_eq!(send(&store, "orders", 0, "c").unwrap(), QueueOffset(1));
    assert_eq!(bodies(&store, "orders"), [vec!["a", "c"], vec![], vec!["b"]]);
}

#[test]
fn consumers_hear_of_every_message_once_whoever_sent_it() {
    const THREADS: u32 = 4;
    const EACH: u32 = 400;
    for durability in [Durability::Memory, Durability::Disk] {
        let files = SimulatedFiles::new();
        let heard: Arc<Mutex<BTreeMap<u32, u64>>> = Arc::default();
        let rig = Rig::simulated(&files, durability);
        let store = {
            let heard = heard.clone();
            rig.open_telling(move |arrivals| {
                let mut heard = heard.lock().unwrap();
                for arrival in arrivals {
                    assert_eq!(arrival.topic.as_str(), "orders");
                    *heard.entry(arrival.queue_id.0).or_default() += arrival.count;
                }
            })
            .unwrap()
        };
        create(&store, "orders", 2).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let store = &store;
                scope.spawn(move || {
                    for number in 0..EACH {
                        // Nobody runs dispatch after the last append but the appends themselves and the flusher.
                        send(store, "orders", number % 2, &format!("{thread}-{number}")).unwrap();
                    }
                });
            }
        });
        // What the flusher or a neighbour had in hand when the last send returned is done once dispatch can be paused.
        store.shared.dispatch.paused(|_| ());
        let all = u64::from(THREADS * EACH);
        assert_eq!(heard.lock().unwrap().values().sum::<u64>(), all);
        let bodies = bodies(&store, "orders");
        assert_eq!(bodies.iter().map(Vec::len).sum::<usize>() as u64, all);
        for thread in 0..THREADS {
            for queue in &bodies {
                let of_thread = |body: &&String| body.starts_with(&format!("{thread}-"));
                let numbers: Vec<u32> = queue.iter().filter(of_thread).map(|body| body[2..].parse().unwrap()).collect();
                assert!(numbers.is_sorted() && numbers.len() as u32 == EACH / 2, "each sender's order is kept");
            }
        }
    }
}

#[test]
fn a_message_that_comes_while_dispatch_is_busy_is_not_forgotten() {
    let store = Rig::simulated(&SimulatedFiles::new(), Durability::Memory).open().unwrap();
    create(&store, "orders", 1).unwrap();
    store.shared.dispatch.paused(|progress| {
        send(&store, "orders", 0, "x").unwrap();
        assert_eq!(store.shared.dispatch.dispatched(), progress.dispatched);
    });
    assert_eq!(bodies(&store, "orders"), [["x"]]);
}

#[test]
fn messages_are_found_by_the_time_they_were_stored() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    let start = store.now();
    for number in 0..10 {
        send(&store, "orders", 0, &number.to_string()).unwrap();
        rig.hands.advance(100);
    }
    let queue = store.queue(&name("orders"), QueueId(0)).unwrap();
    let at = |ms: i64| store.offset_at_time(&queue, Timestamp(start.0 + ms), Boundary::Lower).unwrap().0;
    assert_eq!([at(-1_000), at(0), at(1), at(100), at(450), at(900), at(901)], [0, 0, 1, 1, 5, 9, 10]);
}

#[test]
fn one_store_one_process() {
    let dir = tempfile::tempdir().unwrap();
    for (rig, path) in [
        (Rig::on_disk(dir.path(), Durability::Memory), dir.path().join("data")),
        (Rig::simulated(&SimulatedFiles::new(), Durability::Memory), DIR.into()),
    ] {
        let store = rig.open().unwrap();
        assert!(matches!(rig.open(), Err(StoreError::InUse { path: taken }) if taken == path));
        drop(store);
        rig.open().unwrap();
    }
}

#[test]
fn a_store_of_a_newer_version_or_of_somebody_else_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(dir.path(), Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    store.close().unwrap();
    drop(store);
    let path = rig.dir.join("gantry/store.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"formatVersion\": 1", "\"formatVersion\": 2, \"new\": true")).unwrap();
    let error = rig.open().err().expect("refused");
    assert!(matches!(&error, StoreError::NewerFormat { file } if *file == path), "{error}");
    assert!(error.to_string().ends_with("was written by a newer Gantry"));
    std::fs::write(&path, "{}").unwrap();
    assert!(matches!(rig.open(), Err(StoreError::Damaged { .. })));
    std::fs::remove_file(&path).unwrap();
    let refused = rig.open().map(drop);
    assert!(matches!(&refused, Err(StoreError::Damaged { file, .. }) if *file == path), "{refused:?}");
    assert!(!path.exists() && !rig.dir.join("abort").exists());
}

#[test]
fn a_full_disk_keeps_entries_back_and_loses_none() {
    let files = SimulatedFiles::new();
    let rig = Rig { segment_bytes: 16 << 20, ..Rig::simulated(&files, Durability::Memory) };
    let store = rig.open().unwrap();
    create(&store, "orders", 3).unwrap();
    send(&store, "orders", 0, "a").unwrap();
    // One step to write into and one that is kept: the preparer may not have got to the second yet.
    while files.block_bytes(&first_segment()).unwrap() < 2 << 20 {
        std::thread::yield_now();
    }
    files.limit_space(Some(0));
    // The log's blocks are reserved; the queues' are not. More than dispatch takes at once.
    let mut late: Vec<String> = (0..1_500).map(|number| format!("late-{number}")).collect();
    for body in &late {
        send(&store, "orders", 1, body).unwrap();
    }
    send(&store, "orders", 0, "b").unwrap();
    // What a queue keeps in memory is seen, as far as it reaches.
    let seen = bodies(&store, "orders");
    assert_eq!((&seen[0], &seen[2]), (&vec!["a".to_string(), "b".to_string()], &vec![]));
    assert!((1..1_500).contains(&seen[1].len()) && late.starts_with(&seen[1]));
    assert!(store.shared.dispatch.is_ailing());
    store.shared.dispatch.heal();
    assert!(store.shared.dispatch.is_ailing(), "there is still no room");
    files.limit_space(None);
    store.shared.dispatch.heal();
    assert!(!store.shared.dispatch.is_ailing());
    assert_eq!(bodies(&store, "orders")[1], late);
    send(&store, "orders", 1, "after").unwrap();
    late.push("after".into());
    assert_eq!(bodies(&store, "orders")[1], late);
    assert_eq!(bodies(&store, "orders")[0], ["a", "b"]);

    // A stop in that state is mended by the next start.
    files.limit_space(Some(0));
    send(&store, "orders", 2, "c").unwrap();
    drop(store);
    files.limit_space(None);
    let store = rig.open().unwrap();
    assert_eq!(bodies(&store, "orders")[1..], [late, vec!["c".into()]]);
    assert_eq!(send(&store, "orders", 2, "d").unwrap(), QueueOffset(1));
}

#[test]
fn d4_after_a_failed_sync_nothing_is_acknowledged_any_more() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Disk);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    send(&store, "orders", 0, "kept").unwrap();
    assert_eq!(store.failure(), None);
    files.fail_syncs();
    assert!(matches!(send(&store, "orders", 0, "unknown"), Err(StoreError::OutcomeUnknown { .. })));
    assert!(matches!(send(&store, "orders", 0, "refused"), Err(StoreError::Failed { .. })));
    assert!(store.failure().is_some());
    assert!(matches!(store.close(), Err(StoreError::Failed { .. })));
    assert_eq!(bodies(&store, "orders"), [["kept"]], "what was confirmed can be read");
    drop(store);
    // The stop was no clean one, and a start looks at the disk.
    let files = files.power_cut(1);
    assert!(files.read(&Path::new(DIR).join("abort")).is_ok());
    let store = Rig::simulated(&files, Durability::Disk).open().unwrap();
    assert_eq!(bodies(&store, "orders")[0][0], "kept");
}

#[test]
fn the_owner_hears_of_a_failure_once() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Disk);
    let heard: Arc<AtomicU64> = Arc::default();
    let mut store = rig.open_only(|_| {}).unwrap();
    let failed = heard.clone();
    Arc::get_mut(&mut store.shared).expect("not started").failed = Box::new(move |_| {
        failed.fetch_add(1, Ordering::Relaxed);
    });
    store.start(&[]).unwrap();
    create(&store, "orders", 1).unwrap();
    files.fail_syncs();
    for _ in 0..3 {
        send(&store, "orders", 0, "x").unwrap_err();
    }
    store.fail("again".into());
    drop(store);
    assert_eq!(heard.load(Ordering::Relaxed), 1);
}

#[test]
fn the_boot_number_is_on_the_disk_before_the_store_is_open() {
    let mut files = SimulatedFiles::new();
    for boot in 1..6 {
        let rig = Rig::simulated(&files, Durability::Memory);
        let store = rig.open_only(|_| {}).unwrap();
        assert_eq!(store.boot(), boot);
        let incarnation = store.identity().incarnation.clone();
        let next = files.power_cut(boot);
        assert_eq!(Identity::read(&next, Path::new(DIR)).unwrap().unwrap().incarnation, incarnation);
        drop(store);
        files = next;
    }
}

#[test]
fn what_a_killed_store_had_not_synced_is_synced_before_it_is_called_so() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    let expected = fill(&store, "orders", 1, 800);
    assert!(store.max_offset().0 > 2 * SEGMENT_BYTES);
    let files = files.kill();
    drop(store);
    let store = Rig::simulated(&files, Durability::Disk).open().unwrap();
    assert_eq!(store.synced_offset(), store.max_offset());
    // Says in the log that everything before it is on the disk.
    state(&store, "noted").unwrap();
    send(&store, "orders", 0, "last").unwrap();
    for seed in 0..20 {
        let store = Rig::simulated(&files.power_cut(seed), Durability::Disk).open().unwrap();
        assert_eq!(bodies(&store, "orders")[0][..800], expected[0]);
        assert_eq!(bodies(&store, "orders")[0][800..], ["last"]);
    }
}

#[test]
fn small_files_are_kept_under_gantry() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::on_disk(dir.path(), Durability::Memory);
    let store = rig.open().unwrap();
    assert_eq!(store.read_small_file("handle-keys").unwrap(), None);
    store.replace_small_file("handle-keys", b"secret", true).unwrap();
    assert_eq!(store.read_small_file("handle-keys").unwrap().unwrap(), b"secret");
    assert!(rig.dir.join("gantry/handle-keys").exists());
}

#[test]
fn a_store_is_shared_by_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Store>();
}

fn first_segment() -> PathBuf {
    Path::new(DIR).join("commitlog").join(segment::file_name(0))
}

#[test]
fn d7_a_torn_tail_is_cut_and_its_entries_too() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Memory);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    send(&store, "orders", 0, "kept").unwrap();
    let torn = store.max_offset();
    for body in ["torn", "behind"] {
        send(&store, "orders", 0, body).unwrap();
    }
    let files = files.kill();
    drop(store);
    files.damage(&first_segment(), torn.0 + 91, b"?").unwrap();
    let rig = Rig { files: Arc::new(files.clone()), ..rig };
    for _ in 0..2 {
        let store = rig.open().unwrap();
        assert_eq!(store.max_offset(), torn);
        assert_eq!(bodies(&store, "orders"), [["kept"]]);
        assert_eq!(found(&store, "orders", "all"), ["kept"]);
        assert!(matches!(store.read_record_at(torn), Err(StoreError::NoRecord { .. })));
    }
    let store = rig.open().unwrap();
    assert_eq!(send(&store, "orders", 0, "next").unwrap(), QueueOffset(1));
    assert_eq!(bodies(&store, "orders"), [["kept", "next"]]);
    drop(store);
    // Nothing of what was cut has come back.
    assert_eq!(bodies(&rig.open().unwrap(), "orders"), [["kept", "next"]]);
}

#[test]
fn d7_damage_below_the_watermark_refuses_the_start() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Disk);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    send(&store, "orders", 0, "kept").unwrap();
    let bad = store.max_offset();
    send(&store, "orders", 0, "damaged").unwrap();
    let unstamped = files.kill();
    store.shared.write_checkpoint().unwrap();
    let noted = files.kill();
    send(&store, "orders", 0, "behind").unwrap();
    // A later state record knows that all of this was synced.
    state(&store, "noted").unwrap();
    let stamped = files.kill();
    store.close().unwrap();
    let checkpointed = files.kill();
    drop(store);

    let reopen = |files: &SimulatedFiles| {
        files.damage(&first_segment(), bad.0 + 95, b"?").unwrap();
        (Rig { files: Arc::new(files.clone()), ..rig.clone() }).open()
    };
    // Nobody can tell this from a tail that was torn.
    assert_eq!(bodies(&reopen(&unstamped).unwrap(), "orders"), [["kept"]]);
    let is_refused = |result: Result<Store, StoreError>| match result.err().expect("refused") {
        StoreError::Damaged { file, offset, .. } => assert_eq!((file, offset), (first_segment(), bad.0)),
        other => panic!("{other}"),
    };
    is_refused(reopen(&stamped));
    is_refused(reopen(&stamped));
    is_refused(reopen(&noted));
    // After a clean stop the log is trusted, and the record's own checksum speaks when it is read.
    let store = reopen(&checkpointed).unwrap();
    let queue = store.queue(&name("orders"), QueueId(0)).unwrap();
    let entry = queue.read_entry(QueueOffset(1)).unwrap().unwrap();
    assert!(matches!(store.read_record(&entry), Err(StoreError::Damaged { .. })));
    // After a kill the checkpoint is the watermark.
    is_refused(reopen(&checkpointed.kill()));
}

#[test]
fn d7_a_missing_segment_refuses_the_start() {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, Durability::Disk);
    let store = rig.open().unwrap();
    create(&store, "orders", 1).unwrap();
    fill(&store, "orders", 1, 400);
    store.close().unwrap();
    let last = rig.files.list(&Path::new(DIR).join("commitlog")).unwrap();
    let holds_end = |name: &&files::Listed| segment::parse_file_name(&name.name).unwrap() < store.max_offset().0;
    let last = last.iter().rfind(holds_end).unwrap().name.clone();
    drop(store);
    for listed in rig.files.list(&Path::new(DIR).join("commitlog")).unwrap() {
        if listed.name >= last {
            rig.files.remove_file(&Path::new(DIR).join("commitlog").join(listed.name)).unwrap();
        }
    }
    assert!(matches!(rig.open(), Err(StoreError::Damaged { .. })));
}

/// Sends until the disk halts; what was acknowledged by then, per queue.
fn send_until_dead(store: &Store, seed: u64) -> Vec<Vec<String>> {
    const BATCH: u64 = 3;
    let mut acked = vec![Vec::new(); 2];
    if create(store, "orders", 2).is_err() {
        return acked;
    }
    for number in 0..400 {
        let queue = (seed + number) % 2;
        let batch: Vec<String> = (0..BATCH).map(|entry| format!("{queue}-{seed}-{number}-{entry}")).collect();
        let appends = batch.iter().map(|body| append("orders", store, queue as u32, body)).collect();
        let Ok(appended) = store.append(appends) else { break };
        if store.reached(appended.end).wait().is_err() {
            break;
        }
        acked[queue as usize].extend(batch);
        if number % 40 == 39 && state(store, "noted").is_err() {
            break;
        }
        if number % 29 == seed % 29 {
            sync_derived(store);
        }
    }
    acked
}

/// Everything acknowledged is there, in order, and nothing that was never sent; how many messages are missing.
fn missing(store: &Store, acked: &[Vec<String>]) -> usize {
    let present = bodies(store, "orders");
    let mut missing = 0;
    for (queue, acked) in acked.iter().enumerate() {
        let present = present.get(queue).map_or(&[][..], |queue| &queue[..]);
        let common = present.iter().zip(acked).take_while(|(present, acked)| present == acked).count();
        missing += acked.len() - common;
        assert!(common == present.len().min(acked.len()), "a prefix, whatever was lost");
        for body in present {
            assert!(body.starts_with(&format!("{queue}-")), "sent to this queue");
            assert!(found(store, "orders", &format!("id-{body}")).contains(body), "the index has {body}");
        }
    }
    missing
}

/// One store's life up to a power cut; the disk afterwards, and what was acknowledged.
fn life(durability: Durability, seed: u64) -> (SimulatedFiles, Vec<Vec<String>>) {
    let files = SimulatedFiles::new();
    let rig = Rig::simulated(&files, durability);
    let store = rig.open().unwrap();
    files.halt_after(seed * 37 % 1_500);
    let acked = send_until_dead(&store, seed);
    // The image is taken before the store can put anything in order.
    let after = files.power_cut(seed);
    drop(store);
    (after, acked)
}

const SEEDS: u64 = 60;

#[test]
fn d2_a_power_cut_at_level_disk_loses_nothing_acknowledged() {
    let mut acked_in_all = 0;
    for seed in 0..SEEDS {
        let (files, acked) = life(Durability::Disk, seed);
        acked_in_all += acked.iter().map(Vec::len).sum::<usize>();
        let rig = Rig::simulated(&files, Durability::Disk);
        let store = rig.open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(missing(&store, &acked), 0, "seed {seed}");
        let before = bodies(&store, "orders");
        if !before.is_empty() {
            send(&store, "orders", 0, &format!("0-again-{seed}")).unwrap();
        }
        let files = files.power_cut(seed + 1);
        drop(store);
        let store = Rig::simulated(&files, Durability::Disk).open().unwrap();
        assert_eq!(missing(&store, &acked), 0, "seed {seed}, the second cut");
        if !before.is_empty() {
            assert_eq!(bodies(&store, "orders")[0].len(), before[0].len() + 1);
        }
    }
    assert!(acked_in_all > 1_000, "{acked_in_all} messages tried this");
}

/// The control of the test above: without syncs the same checks must find losses.
#[test]
fn d2_control_a_power_cut_at_level_memory_is_seen_to_lose() {
    let mut lost = 0;
    for seed in 0..SEEDS {
        let (files, acked) = life(Durability::Memory, seed);
        // A topic whose creation was lost has lost all of its messages.
        let store = Rig::simulated(&files, Durability::Memory).open().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        lost += missing(&store, &acked);
    }
    assert!(lost > 0);
}

#[test]
fn d10_recovery_killed_anywhere_and_begun_again_gives_the_same() {
    for (seed, durability) in [(11, Durability::Disk), (5, Durability::Memory), (23, Durability::Memory)] {
        let files = SimulatedFiles::new();
        let rig = Rig::simulated(&files, durability);
        let store = rig.open().unwrap();
        files.halt_after(1_000);
        let acked = send_until_dead(&store, seed);
        let image = files.power_cut(seed);
        drop(store);
        let expected = {
            let files = image.kill();
            let store = Rig::simulated(&files, durability).open().unwrap();
            (store.max_offset(), bodies(&store, "orders"))
        };
        assert!(durability == Durability::Memory || expected.1.iter().map(Vec::len).sum::<usize>() > 0);
        let mut operations = 0;
        loop {
            let files = image.kill();
            files.halt_after(operations);
            let done = Rig::simulated(&files, durability).open_halting();
            for next in [files.kill(), files.power_cut(operations)] {
                let store = Rig::simulated(&next, durability).open().unwrap_or_else(|error| {
                    panic!("seed {seed}, {operations} operations: {error}");
                });
                assert_eq!((store.max_offset(), bodies(&store, "orders")), expected, "{operations} operations");
                if durability == Durability::Disk {
                    assert_eq!(missing(&store, &acked), 0);
                }
            }
            if done {
                break;
            }
            operations += 1;
        }
        assert!(operations > 10, "the recovery had {operations} places to die at");
    }
}

impl Rig {
    /// Opens on a disk that may halt; whether that went through.
    fn open_halting(&self) -> bool {
        self.open().is_ok()
    }
}
