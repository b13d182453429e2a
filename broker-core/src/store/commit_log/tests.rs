//! What the commit log promises its callers, on a real disk and on a simulated one.

use super::*;
use crate::clock::SystemClock;
use crate::names::TopicName;
use crate::offset::QueueId;
use crate::store::disk_files::DiskFiles;
use crate::store::simulated_files::SimulatedFiles;
use bytes::Bytes;
use std::task::{Context, Wake, Waker};

const SEGMENT_BYTES: u64 = 64 << 10;
const SYNC_DELAY: Duration = Duration::from_millis(500);
const CRC: PropertyCrc = PropertyCrc::Required;

fn dir() -> &'static Path {
    Path::new("/data")
}

fn time() -> Arc<EffectiveTime> {
    Arc::new(EffectiveTime::start(Box::new(SystemClock), Timestamp(0)))
}

fn record(body: impl Into<Bytes>) -> EncodedRecord {
    let topic = TopicName::from_client("orders").unwrap();
    EncodedRecord::state(&topic, QueueId(0), "127.0.0.1:10911".parse().unwrap(), body)
}

fn message(body: impl Into<Bytes>, queue: &Arc<QueueCounter>) -> Append {
    Append { record: record(body), queue: queue.clone(), class: AppendClass::Message }
}

fn state(body: impl Into<Bytes>, queue: &Arc<QueueCounter>) -> Append {
    Append { class: AppendClass::State, ..message(body, queue) }
}

fn unchecked(files: &SimulatedFiles) -> UncheckedLog {
    UncheckedLog::open(Arc::new(files.clone()), dir(), SEGMENT_BYTES).unwrap()
}

/// All records from the start on, and where they end.
fn scan(log: &UncheckedLog) -> (Vec<StoredMessage>, CommitLogOffset) {
    let (mut at, mut records) = (log.min(), Vec::new());
    loop {
        match log.inspect(at, CRC) {
            Inspected::Record(message) => {
                at.0 += u64::from(message.record_len);
                records.push(*message);
            }
            Inspected::Blank { next } => at = next,
            Inspected::Invalid(_) | Inspected::Outside => return (records, at),
        }
    }
}

fn start(log: UncheckedLog, end: CommitLogOffset, durability: Durability) -> CommitLog {
    CommitLog::start(log, Recovered { end, ..Recovered::default() }, durability, SYNC_DELAY, time()).unwrap()
}

/// A log after recovery, with what it holds.
fn recovered(files: &SimulatedFiles, durability: Durability) -> (CommitLog, Vec<StoredMessage>) {
    let log = unchecked(files);
    let (records, end) = scan(&log);
    (start(log, end, durability), records)
}

fn bodies(records: &[StoredMessage]) -> Vec<&[u8]> {
    records.iter().map(|record| &record.body[..]).collect()
}

#[test]
fn d7_a_log_of_which_nothing_is_left_goes_on_where_it_began() {
    let files = SimulatedFiles::new();
    let base = CommitLogOffset(3 * SEGMENT_BYTES);
    files.create_dir(&dir().join(COMMIT_LOG_DIR)).unwrap();
    let path = dir().join(COMMIT_LOG_DIR).join(segment::file_name(base.0));
    files.create_log_file(&path, SEGMENT_BYTES).unwrap();
    files.damage(&path, 100, b"torn").unwrap();
    let (log, records) = recovered(&files, Durability::Memory);
    assert_eq!((records.len(), log.min(), log.written()), (0, base, base));
    assert!(matches!(log.read_at(CommitLogOffset(0)), Err(StoreError::NoRecord { .. })));
    let queue = Arc::new(QueueCounter::new(QueueOffset(0)));
    let appended = log.append(vec![message("new", &queue)]).unwrap().entries.remove(0).unwrap();
    assert_eq!(appended.commit_log_offset, base);
    drop(log);
    assert_eq!(bodies(&recovered(&files, Durability::Memory).1), [b"new"]);
}

#[derive(Default)]
struct Told {
    confirmed: Mutex<Vec<u64>>,
    synced: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl CommitLogEvents for Told {
    fn confirm_moved(&self, to: CommitLogOffset) {
        self.confirmed.lock().unwrap().push(to.0);
    }
    fn synced(&self, to: CommitLogOffset) {
        self.synced.store(to.0, Ordering::SeqCst);
    }
    fn failed(&self, reason: &str) {
        self.failures.lock().unwrap().push(reason.into());
    }
}

fn told(log: &CommitLog) -> Arc<Told> {
    let told = Arc::new(Told::default());
    let events: Arc<dyn CommitLogEvents> = told.clone();
    log.report_to(Arc::downgrade(&events));
    told
}

#[test]
fn a4_records_get_their_places_in_one_order() {
    let (log, _) = recovered(&SimulatedFiles::new(), Durability::Memory);
    let queues = [Arc::new(QueueCounter::new(QueueOffset(0))), Arc::new(QueueCounter::new(QueueOffset(40)))];
    let batch = vec![message("a", &queues[0]), message("b", &queues[1]), message("c", &queues[1])];
    let batch = log.append(batch).unwrap();
    let entries: Vec<Appended> = batch.entries.into_iter().map(Result::unwrap).collect();
    assert_eq!(entries.iter().map(|entry| entry.queue_offset.0).collect::<Vec<_>>(), [0, 40, 41]);
    let mut end = 0;
    for (entry, body) in entries.iter().zip(["a", "b", "c"]) {
        assert_eq!(entry.commit_log_offset.0, end);
        end += u64::from(entry.record_len);
        let stored = log.read(entry.commit_log_offset, entry.record_len).unwrap();
        assert_eq!(&stored.body[..], body.as_bytes());
        assert_eq!((stored.queue_offset, stored.store_timestamp), (entry.queue_offset, entry.store_timestamp));
    }
    assert_eq!((batch.end.0, log.written().0, log.confirm_offset().0), (end, end, end));
    assert_eq!((queues[0].next().0, queues[1].next().0), (1, 42));
}

#[test]
fn a_fresh_log_on_a_real_disk_takes_a_message_at_once_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let open = || UncheckedLog::open(Arc::new(DiskFiles), dir.path(), 8 << 20).unwrap();
    let queue = Arc::new(QueueCounter::default());
    let log = start(open(), CommitLogOffset(0), Durability::Disk);
    // Two such bodies need more than the steps that were reserved ahead, and two segments.
    let large = vec![5; 5 << 20];
    let batch = log.append(vec![message("small", &queue), message(large.clone(), &queue)]).unwrap();
    let second = log.append(vec![message(large.clone(), &queue)]).unwrap();
    log.reached(second.end).wait().unwrap();
    assert_eq!(log.synced(), second.end);
    let at = second.entries[0].as_ref().unwrap();
    assert_eq!(at.commit_log_offset.0, 8 << 20);
    assert_eq!(log.read(at.commit_log_offset, at.record_len).unwrap().body, large);
    log.close().unwrap();
    assert!(matches!(log.append(vec![message("late", &queue)]), Err(StoreError::Closed)));
    drop(log);

    let log = open();
    let (records, end) = scan(&log);
    assert_eq!((records.len(), end), (3, second.end));
    drop(records);
    let log = start(log, end, Durability::Disk);
    let third = log.append(vec![message("more", &queue)]).unwrap();
    log.reached(third.end).wait().unwrap();
    assert!(third.end > second.end && batch.end < second.end);
}

#[test]
fn a_record_never_spans_two_segments() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    // Lengths that leave every kind of rest, some in batches that cross segments.
    for round in 0..60 {
        let batch: Vec<Append> = (0..5).map(|n| message(vec![n; 997 * (round % 7) + 331], &queue)).collect();
        log.append(batch).unwrap();
    }
    let (records, end) = scan(&unchecked(&files.kill()));
    assert_eq!((records.len(), end), (300, log.written()));
    assert!(end.0 > 8 * SEGMENT_BYTES);
    for (n, record) in records.iter().enumerate() {
        let (first, last) = (record.commit_log_offset.0, record.commit_log_offset.0 + u64::from(record.record_len) - 1);
        assert_eq!(first / SEGMENT_BYTES, last / SEGMENT_BYTES);
        assert!(last % SEGMENT_BYTES < SEGMENT_BYTES - BLANK_LEN as u64, "room for a blank is left");
        assert_eq!(record.queue_offset.0, n as u64);
    }
    // The running log can be walked the same way.
    let mut at = CommitLogOffset(0);
    for record in &records {
        let (mut view, segment_end) = log.view(at, end).unwrap();
        if matches!(record::peek(&view), Peek::Blank { len } if at.0 + u64::from(len) == segment_end.0) {
            at = segment_end;
            view = log.view(at, end).unwrap().0;
        }
        let glance = record::glance(&view, at).unwrap();
        assert_eq!((glance.commit_log_offset, glance.record_len), (record.commit_log_offset, record.record_len));
        assert_eq!((glance.topic, glance.queue_offset), (&record.topic[..], record.queue_offset));
        assert_eq!((glance.properties, glance.store_timestamp), (&record.properties[..], record.store_timestamp));
        at.0 += u64::from(glance.record_len);
    }
    assert!(matches!(log.view(at, end), Err(StoreError::NoRecord { .. })));
}

#[test]
fn the_last_eight_bytes_of_a_segment_are_the_blanks() {
    let overhead = u64::from(record("").record_len());
    for rest in 0..12 {
        let files = SimulatedFiles::new();
        let (log, _) = recovered(&files, Durability::Memory);
        let queue = Arc::new(QueueCounter::default());
        let second_len = overhead + 10;
        let first_body = SEGMENT_BYTES - second_len - rest - overhead;
        let batch = vec![message(vec![0; first_body as usize], &queue), message(vec![1; 10], &queue)];
        let batch = log.append(batch).unwrap();
        let second = batch.entries[1].as_ref().unwrap().commit_log_offset.0;
        let here = SEGMENT_BYTES - second_len - rest;
        assert_eq!(second, if rest < BLANK_LEN as u64 { SEGMENT_BYTES } else { here }, "{rest} bytes would be left");
        log.append(vec![message(vec![2; 10], &queue)]).unwrap();
        drop(log);
        assert_eq!(scan(&unchecked(&files)).0.len(), 3);
    }
}

#[test]
fn the_largest_record_fills_a_segment_and_a_larger_one_is_refused_alone() {
    let (log, _) = recovered(&SimulatedFiles::new(), Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    let overhead = u64::from(record("").record_len());
    let largest = (SEGMENT_BYTES - BLANK_LEN as u64 - overhead) as usize;
    let bodies = [1, largest + 1, largest, 1];
    let batch = log.append(bodies.iter().map(|len| message(vec![0; *len], &queue)).collect()).unwrap();
    assert!(matches!(batch.entries[1], Err(StoreError::RecordTooLarge { .. })));
    let offsets: Vec<_> = batch.entries.iter().flatten().map(|entry| entry.queue_offset.0).collect();
    assert_eq!(offsets, [0, 1, 2]);
    let places: Vec<_> = batch.entries.iter().flatten().map(|entry| entry.commit_log_offset.0).collect();
    assert_eq!(places, [0, SEGMENT_BYTES, 2 * SEGMENT_BYTES]);
    let nothing = log.append(vec![message(vec![0; largest + 1], &queue)]).unwrap();
    assert_eq!(nothing.end, batch.end);
}

#[test]
fn many_threads_append_without_mixing() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Disk);
    let shared = Arc::new(QueueCounter::default());
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let (log, shared) = (&log, &shared);
            scope.spawn(move || {
                let own = Arc::new(QueueCounter::default());
                for round in 0..50u64 {
                    let batch = (0..3).map(|n| message(vec![thread, n], shared)).chain([message("own", &own)]);
                    let batch = log.append(batch.collect()).unwrap();
                    let entries: Vec<Appended> = batch.entries.into_iter().map(Result::unwrap).collect();
                    assert_eq!(entries[1].queue_offset.0, entries[0].queue_offset.0 + 1);
                    assert_eq!(entries[2].queue_offset.0, entries[0].queue_offset.0 + 2);
                    assert_eq!(entries[3].queue_offset.0, round);
                    log.reached(batch.end).wait().unwrap();
                    let read = log.read(entries[2].commit_log_offset, entries[2].record_len).unwrap();
                    assert_eq!(&read.body[..], [thread, 2]);
                }
            });
        }
    });
    let (records, _) = scan(&unchecked(&files.power_cut(1)));
    assert_eq!(records.len(), 4 * 50 * 4);
    assert!(records.is_sorted_by_key(|record| record.store_timestamp), "time runs as the log does");
    let shared = records.iter().filter(|record| record.body.len() == 2).map(|record| record.queue_offset.0);
    assert!(shared.eq(0..600));
}

#[test]
fn a6_a_full_disk_refuses_messages_and_still_takes_state() {
    let files = SimulatedFiles::new();
    files.limit_space(Some(3 * SEGMENT_BYTES / 2));
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    let mut messages = 0;
    for len in [1000, 1] {
        let refusal = loop {
            match log.append(vec![message(vec![0; len], &queue)]) {
                Ok(_) => messages += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(refusal, StoreError::StorageFull), "{refusal}");
    }
    assert!(messages > 60, "{messages}");
    let step = (SEGMENT_BYTES / 16) as usize;
    let mut states = 0;
    let refusal = loop {
        assert!(matches!(log.append(vec![message("m", &queue)]), Err(StoreError::StorageFull)));
        match log.append(vec![state(vec![1; 100], &queue)]) {
            Ok(batch) => states += batch.entries[0].as_ref().unwrap().record_len as usize,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, StoreError::StorageFull), "{refusal}");
    assert!(states + 300 > step, "a step was kept: {states}");
    let count = queue.next().0;

    files.limit_space(Some(4 * SEGMENT_BYTES));
    let batch = log.append(vec![message("again", &queue)]).unwrap();
    assert_eq!(batch.entries[0].as_ref().unwrap().queue_offset.0, count);
    let (records, end) = scan(&unchecked(&files.kill()));
    assert_eq!((records.len() as u64, end), (count + 1, batch.end));
}

#[test]
fn a5_the_next_segment_is_made_when_this_one_is_half_full() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    let lens =
        || -> Vec<u64> { files.list(&dir().join(COMMIT_LOG_DIR)).unwrap().iter().map(|listed| listed.len).collect() };
    log.append(vec![message(vec![0; SEGMENT_BYTES as usize / 2 - 1000], &queue)]).unwrap();
    assert_eq!(lens(), [SEGMENT_BYTES]);
    log.append(vec![message(vec![0; 1000], &queue)]).unwrap();
    // Nobody needs it yet: the preparer makes it.
    while lens().len() < 2 {
        std::thread::yield_now();
    }
    assert_eq!(lens(), [SEGMENT_BYTES; 2]);
}

#[test]
fn what_a_killed_process_left_unsynced_is_synced_before_it_counts() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    log.append((0..6).map(|n| message(vec![n; 40_000], &queue)).collect()).unwrap();
    let files = files.kill();
    drop(log);
    let (log, records) = recovered(&files, Durability::Disk);
    assert_eq!((records.len(), log.synced()), (6, log.written()));
    for seed in 0..20 {
        assert_eq!(scan(&unchecked(&files.power_cut(seed))).0.len(), 6);
    }
}

#[test]
fn a2_only_records_below_the_foreign_end_may_lack_the_crc() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    let batch = log.append(vec![message("a", &queue), message("b", &queue)]).unwrap();
    let places: Vec<_> = batch.entries.iter().flatten().map(|entry| entry.commit_log_offset).collect();
    drop(log);
    // Both lose the name of the CRC's property, and so look like records of a Java broker.
    let path = dir().join(COMMIT_LOG_DIR).join("00000000000000000000");
    for end in [places[1].0, batch.end.0] {
        files.damage(&path, end - 20, b"another_").unwrap();
    }
    let recovered = Recovered { end: batch.end, foreign_end: places[1], ..Recovered::default() };
    let log = CommitLog::start(unchecked(&files), recovered, Durability::Memory, SYNC_DELAY, time()).unwrap();
    assert!(log.read_at(places[0]).is_ok());
    assert!(matches!(log.read_at(places[1]), Err(StoreError::Damaged { .. })));
}

#[test]
fn a10_a_cut_zeroes_and_quarantines_before_the_first_append() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Disk);
    let queue = Arc::new(QueueCounter::default());
    let batch = log.append((0..200).map(|_| message(vec![9; 1000], &queue)).collect()).unwrap();
    log.reached(batch.end).wait().unwrap();
    let places: Vec<_> = batch.entries.iter().flatten().map(|entry| entry.commit_log_offset).collect();
    drop(log);

    let cut_at = places[30];
    for cut_again_after in [0, 1, 2, 5, 8, u64::MAX] {
        // Killed in the middle of it, it is done again.
        let files = files.kill();
        files.halt_after(cut_again_after);
        let recovered = Recovered { end: cut_at, ..Recovered::default() };
        let first = CommitLog::start(unchecked(&files), recovered, Durability::Disk, SYNC_DELAY, time());
        assert_eq!(first.is_ok(), cut_again_after == u64::MAX);
        drop(first);
        let files = files.power_cut(cut_again_after);
        drop(start(unchecked(&files), cut_at, Durability::Disk));

        let files = files.power_cut(7);
        let log = unchecked(&files);
        let (records, end) = scan(&log);
        assert_eq!((records.len(), end), (30, cut_at));
        assert!(log.find_record(end, CRC).is_none(), "nothing is left behind the end");
        let rest = log.segments()[0].read(end, (SEGMENT_BYTES - end.0) as usize);
        assert!(rest.iter().all(|byte| *byte == 0));
        let quarantined = files.list(&dir().join(QUARANTINE_DIR)).unwrap();
        let names: Vec<_> = quarantined.iter().map(|listed| listed.name.to_str().unwrap()).collect();
        assert_eq!(names[0], "commitlog-00000000000000065536");
        assert!(names.len() >= 3, "{names:?}");
    }
}

#[test]
fn a10_a_valid_record_behind_a_damaged_one_is_found() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    let batch = log.append((0..100).map(|_| message(vec![9; 1000], &queue)).collect()).unwrap();
    let places: Vec<_> = batch.entries.iter().flatten().map(|entry| entry.commit_log_offset).collect();
    drop(log);
    let path = dir().join(COMMIT_LOG_DIR).join("00000000000000000000");
    files.damage(&path, places[3].0 + 500, b"damage").unwrap();
    let log = unchecked(&files);
    let (records, end) = scan(&log);
    assert_eq!((records.len(), end), (3, places[3]));
    let found = |from| log.find_record(CommitLogOffset(from), CRC).map(|message| message.commit_log_offset);
    assert_eq!(found(places[3].0), Some(places[4]));
    assert_eq!(found(places[99].0), Some(places[99]));
    assert_eq!(found(places[99].0 + 1), None);
    let last_of_first = places.iter().rposition(|place| place.0 < SEGMENT_BYTES).unwrap();
    assert_eq!(found(places[last_of_first].0 + 1), Some(CommitLogOffset(SEGMENT_BYTES)));
}

#[test]
fn d2_whatever_was_acked_survives_any_power_cut() {
    for seed in 0..60 {
        let files = SimulatedFiles::new();
        let (log, _) = recovered(&files, Durability::Disk);
        let queue = Arc::new(QueueCounter::default());
        // The power goes at some change: no sync succeeds behind it, so nothing is acked behind it.
        files.halt_after(40 + seed * 7);
        let mut acked = 0u64;
        for round in 0..200u64 {
            let batch = (0..3).map(|_| message(round.to_be_bytes().repeat(20 + seed as usize), &queue)).collect();
            let Ok(batch) = log.append(batch) else { break };
            if round % 3 == 2 {
                match log.reached(batch.end).wait() {
                    Ok(()) => acked = (round + 1) * 3,
                    Err(StoreError::OutcomeUnknown { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        let files = files.power_cut(seed);
        drop(log);
        let (log, records) = recovered(&files, Durability::Disk);
        assert!(records.len() as u64 >= acked, "seed {seed}: {} of {acked}", records.len());
        for (n, record) in records.iter().enumerate() {
            assert_eq!(record.body[..8], (n as u64 / 3).to_be_bytes(), "seed {seed}");
            assert_eq!(record.queue_offset.0, n as u64, "seed {seed}");
        }
        // And it goes on.
        let batch = log.append(vec![message("next", &queue)]).unwrap();
        log.reached(batch.end).wait().unwrap();
        drop(log);
        let (_, again) = recovered(&files.power_cut(seed), Durability::Disk);
        assert_eq!(again.len(), records.len() + 1, "seed {seed}");
    }
}

#[test]
fn d4_after_the_first_failed_sync_nothing_is_acked_or_tried_again() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Disk);
    let told = told(&log);
    let queue = Arc::new(QueueCounter::default());
    let before = log.append(vec![message("before", &queue)]).unwrap();
    log.reached(before.end).wait().unwrap();
    files.fail_syncs();
    let batch = log.append(vec![message("lost", &queue)]).unwrap();
    let (a, b) = (log.reached(batch.end), log.reached(batch.end));
    assert!(matches!(a.wait(), Err(StoreError::OutcomeUnknown { .. })));
    assert!(matches!(b.wait(), Err(StoreError::OutcomeUnknown { .. })));
    assert!(matches!(log.reached(before.end).wait(), Err(StoreError::OutcomeUnknown { .. })));
    assert!(matches!(log.append(vec![state("s", &queue)]), Err(StoreError::Failed { .. })));
    log.fail("and once more".into());
    assert!(matches!(log.close(), Err(StoreError::Failed { .. })));
    assert_eq!(told.failures.lock().unwrap().len(), 1);
    assert_eq!((log.confirm_offset(), log.synced()), (before.end, before.end));
}

#[test]
fn d4_holds_at_memory_too() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let told = told(&log);
    let queue = Arc::new(QueueCounter::default());
    files.fail_syncs();
    let batch = log.append(vec![message("m", &queue)]).unwrap();
    log.reached(batch.end).wait().unwrap();
    // The close syncs what was not, if the half second has not passed yet.
    assert!(matches!(log.close(), Err(StoreError::Failed { .. })));
    assert!(matches!(log.reached(batch.end).wait(), Err(StoreError::OutcomeUnknown { .. })));
    assert_eq!(told.failures.lock().unwrap().len(), 1);
}

#[test]
fn b6_what_counters_count_is_waited_for() {
    let (log, _) = recovered(&SimulatedFiles::new(), Durability::Memory);
    let log = &log;
    let under_way = log.shared.writer.lock().unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(move || log.appended());
        // Whoever did not wait would have its answer by now.
        (0..100_000).for_each(|_| std::thread::yield_now());
        assert!(!asked.is_finished());
        drop(under_way);
        assert_eq!(asked.join().unwrap(), log.written());
    });
    log.close().unwrap();
}

#[test]
fn b4_the_confirm_offset_is_moved_by_the_caller_at_memory_and_by_the_flusher_at_disk() {
    let queue = Arc::new(QueueCounter::default());
    let (memory, _) = recovered(&SimulatedFiles::new(), Durability::Memory);
    let told_memory = told(&memory);
    let batch = memory.append(vec![message("m", &queue)]).unwrap();
    assert_eq!(*told_memory.confirmed.lock().unwrap(), [batch.end.0]);
    memory.close().unwrap();
    assert_eq!(told_memory.synced.load(Ordering::SeqCst), batch.end.0);
    assert_eq!(*told_memory.confirmed.lock().unwrap(), [batch.end.0]);

    let (disk, _) = recovered(&SimulatedFiles::new(), Durability::Disk);
    let told_disk = told(&disk);
    let batch = disk.append(vec![message("m", &queue)]).unwrap();
    disk.reached(batch.end).wait().unwrap();
    // Told before the waiters are woken: what was answered can be seen by consumers.
    assert_eq!(*told_disk.confirmed.lock().unwrap(), [batch.end.0]);
    assert_eq!(disk.confirm_offset(), batch.end);
}

#[test]
fn b5_state_alone_is_synced_in_the_end() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Disk);
    let queue = Arc::new(QueueCounter::default());
    let batch = log.append(vec![state("s", &queue)]).unwrap();
    log.reached(batch.end).wait().unwrap();
    let (records, _) = scan(&unchecked(&files.power_cut(3)));
    assert_eq!(bodies(&records), [b"s"]);
}

#[test]
fn a_waiter_that_leaves_is_forgotten() {
    struct Count(AtomicU64);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let flusher = Arc::new(Flusher::new(Durability::Disk, SYNC_DELAY, 0));
    let (gone, stays) = (Arc::new(Count(AtomicU64::new(0))), Arc::new(Count(AtomicU64::new(0))));
    let poll = |reached: &mut Reached, count: &Arc<Count>| {
        let waker = Waker::from(count.clone());
        std::pin::Pin::new(reached).poll(&mut Context::from_waker(&waker)).is_ready()
    };
    let (mut leaves, mut waits) = (flusher.reached(CommitLogOffset(10)), flusher.reached(CommitLogOffset(10)));
    assert!(!poll(&mut leaves, &gone) && !poll(&mut waits, &stays) && !poll(&mut waits, &stays));
    drop(leaves);
    flusher.fail("for the test".into());
    assert_eq!((gone.0.load(Ordering::SeqCst), stays.0.load(Ordering::SeqCst)), (0, 1));
    assert!(poll(&mut waits, &stays));
}

#[test]
fn one_waiter_of_a_thread_is_woken_and_wakes_the_others_whether_it_goes_on_or_leaves() {
    struct Count(AtomicU64);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    struct Source(Arc<Flusher>);
    impl SyncSource for Source {
        fn written(&self) -> u64 {
            20
        }
        fn sync(&self, _from: u64, _to: u64) -> io::Result<()> {
            Ok(())
        }
        fn synced(&self, _to: u64) {
            // Dispatch runs in here: nobody may be answered before it is done.
            let mut early = self.0.reached(CommitLogOffset(10));
            let mut context = Context::from_waker(Waker::noop());
            assert!(std::pin::Pin::new(&mut early).poll(&mut context).is_pending());
        }
        fn failed(&self, _reason: &str) {}
    }
    for leaves in [false, true] {
        let flusher = Arc::new(Flusher::new(Durability::Disk, SYNC_DELAY, 0));
        let counts: Vec<_> = (0..4).map(|_| Arc::new(Count(AtomicU64::new(0)))).collect();
        let poll = |reached: &mut Reached, count: &Arc<Count>| {
            let waker = Waker::from(count.clone());
            std::pin::Pin::new(reached).poll(&mut Context::from_waker(&waker)).is_ready()
        };
        // The last one waits for more than the sync covers.
        let mut waits: Vec<_> = [10, 15, 20, 30].map(|end| flusher.reached(CommitLogOffset(end))).into();
        assert!(waits.iter_mut().zip(&counts).all(|(wait, count)| !poll(wait, count)));
        flusher.stop();
        flusher.run(&Source(flusher.clone()));
        let woken = || counts.iter().map(|count| count.0.load(Ordering::SeqCst)).collect::<Vec<_>>();
        assert_eq!(woken(), [1, 0, 0, 0]);
        if leaves {
            drop(waits.remove(0));
        } else {
            assert!(poll(&mut waits[0], &counts[0]));
        }
        assert_eq!(woken(), [1, 1, 1, 0]);
    }
}

#[test]
fn d5_a_wish_that_others_have_met_moves_nothing_back_on_a_full_disk() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    log.append(vec![message("a", &queue)]).unwrap();
    files.limit_space(Some(0));
    let before = log.shared.reserved.load(Ordering::Acquire);
    assert!(before > 1);
    for free_bytes_kept in [0, log.shared.free_bytes_kept] {
        let outcome = log.shared.begin_preparing().unwrap().reserve_step(1, free_bytes_kept);
        assert!(outcome.is_err(), "the disk is full");
        assert!(log.shared.reserved.load(Ordering::Acquire) >= before);
    }
}

#[test]
fn segments_of_another_length_or_with_a_hole_are_refused() {
    let filled = || {
        let files = SimulatedFiles::new();
        let (log, _) = recovered(&files, Durability::Memory);
        let queue = Arc::new(QueueCounter::default());
        log.append((0..5).map(|_| message(vec![0; SEGMENT_BYTES as usize / 2], &queue)).collect()).unwrap();
        drop(log);
        files
    };
    let segments = dir().join(COMMIT_LOG_DIR);
    let open = |files: &SimulatedFiles| UncheckedLog::open(Arc::new(files.clone()), dir(), 1 << 30);
    let files = filled();
    assert_eq!(open(&files).unwrap().segment_bytes(), SEGMENT_BYTES, "an existing log's own length wins");

    files.remove_file(&segments.join(segment::file_name(2 * SEGMENT_BYTES))).unwrap();
    assert!(matches!(open(&files), Err(StoreError::Damaged { .. })), "a hole");

    let with_next = |len| {
        let files = filled();
        let end = unchecked(&files).max();
        files.create_log_file(&segments.join(segment::file_name(end.0)), len).unwrap();
        (files, end)
    };
    assert!(matches!(open(&with_next(2 * SEGMENT_BYTES).0), Err(StoreError::Damaged { .. })), "another length");
    let (files, end) = with_next(0);
    assert_eq!(open(&files).unwrap().max(), end, "a file that never got its length is no segment");
}

#[test]
fn a_segment_made_ahead_survives_a_restart() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    // The first fills its segment so far that the second needs the next one.
    let body = vec![0; SEGMENT_BYTES as usize - 4096];
    log.append(vec![message(body, &queue)]).unwrap();
    log.append(vec![state("x", &queue)]).unwrap();
    drop(log);
    let before = unchecked(&files).segments().len();
    assert!(before >= 2);
    let (log, records) = recovered(&files, Durability::Memory);
    assert_eq!(records.len(), 2);
    drop(log);
    assert!(unchecked(&files).segments().len() >= before);
    assert_eq!(files.list(&dir().join(QUARANTINE_DIR)).unwrap(), []);
}

#[test]
fn a_log_that_ends_with_its_segment_goes_on_in_the_next() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    let batch = log.append((0..3).map(|_| message(vec![0; 40_000], &queue)).collect()).unwrap();
    let second = batch.entries[1].as_ref().unwrap().commit_log_offset;
    assert_eq!(second.0, SEGMENT_BYTES);
    drop(log);
    // What recovery finds when the blank is the last thing that survived.
    let log = start(unchecked(&files), second, Durability::Memory);
    let batch = log.append(vec![message("next", &queue)]).unwrap();
    assert_eq!(batch.entries[0].as_ref().unwrap().commit_log_offset, second);
    drop(log);
    let (records, _) = scan(&unchecked(&files));
    assert_eq!((records.len(), &records[1].body[..]), (2, &b"next"[..]));
}

#[test]
fn only_records_can_be_read() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    let batch = log.append((0..3).map(|_| message(vec![0; 40_000], &queue)).collect()).unwrap();
    let first = batch.entries[0].as_ref().unwrap();
    assert_eq!(log.read_at(first.commit_log_offset).unwrap().record_len, first.record_len);
    let blank = u64::from(first.record_len);
    for at in [1, 8, blank, blank + 8, SEGMENT_BYTES - 4, batch.end.0 - 4, batch.end.0, 1 << 40, u64::MAX] {
        let outcome = log.read_at(CommitLogOffset(at));
        assert!(matches!(outcome, Err(StoreError::NoRecord { .. })), "{at}");
    }
    assert!(matches!(log.read(first.commit_log_offset, 100), Err(StoreError::Damaged { .. })));
    assert!(matches!(log.read(CommitLogOffset(0), 0), Err(StoreError::NoRecord { .. })));
    let path = dir().join(COMMIT_LOG_DIR).join("00000000000000000000");
    files.damage(&path, 3_000, b"!").unwrap();
    let error = log.read_at(first.commit_log_offset).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { offset: 0, .. }), "{error}");
}

#[test]
fn old_segments_are_deleted_and_their_views_stay() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::default());
    let batch = log.append((0..5).map(|n| message(vec![n; 40_000], &queue)).collect()).unwrap();
    let view = log.read_at(CommitLogOffset(SEGMENT_BYTES)).unwrap();
    assert_eq!(log.delete_before(CommitLogOffset(2 * SEGMENT_BYTES + 5)).unwrap().0, 2 * SEGMENT_BYTES);
    assert!(view.body.iter().all(|byte| *byte == 1));
    assert!(matches!(log.read_at(CommitLogOffset(SEGMENT_BYTES)), Err(StoreError::NoRecord { .. })));
    // Never what is being written.
    let min = log.delete_before(CommitLogOffset(u64::MAX)).unwrap();
    assert_eq!(min.0, batch.end.0 / SEGMENT_BYTES * SEGMENT_BYTES);
    let last = batch.entries[4].as_ref().unwrap();
    assert!(log.read(last.commit_log_offset, last.record_len).is_ok());
    drop((log, view));
    let (log, records) = recovered(&files, Durability::Memory);
    assert_eq!((records.len(), log.min()), (1, min));
}

#[test]
fn b7_a_damaged_segment_is_as_old_as_the_record_behind_it() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let queue = Arc::new(QueueCounter::new(QueueOffset(0)));
    let mut places = Vec::new();
    while log.closed_segments().is_empty() {
        let appended = log.append(vec![message(vec![7; 1_000], &queue)]).unwrap().entries.remove(0).unwrap();
        places.push(appended);
    }
    let closed = log.closed_segments()[0];
    let behind = log.read_at(closed.end).unwrap();
    let last = places.iter().rfind(|appended| appended.commit_log_offset < closed.end).unwrap();
    assert_eq!(log.last_stored(&closed).unwrap(), last.store_timestamp);
    let end = log.written();
    drop(log);
    let path = dir().join(COMMIT_LOG_DIR).join(segment::file_name(0));
    // A length that leads beyond the segment, one that leads nowhere, a record without a magic, and a wrong last one.
    for (at, bit) in [(0, 6), (2, 0), (4, 0), (100, 0)] {
        let files = files.kill();
        let record = if at == 100 { last } else { &places[3] };
        files.flip_bits(&path, record.commit_log_offset.0 + at, 1 << bit).unwrap();
        let log = start(unchecked(&files), end, Durability::Memory);
        assert_eq!(log.last_stored(&closed).unwrap(), behind.store_timestamp, "byte {at}");
    }
}

#[test]
fn d5_a_failed_write_of_many_records_ends_everything() {
    let files = SimulatedFiles::new();
    let (log, _) = recovered(&files, Durability::Memory);
    let told = told(&log);
    let queue = Arc::new(QueueCounter::new(QueueOffset(0)));
    let many = || (0..20).map(|_| message(vec![7; 1_000], &queue)).collect::<Vec<_>>();
    let end = log.append(many()).unwrap().end;
    files.fail_gathered_writes();
    for _ in 0..2 {
        assert!(matches!(log.append(many()), Err(StoreError::Failed { .. })));
    }
    assert!(matches!(log.append(vec![message("one", &queue)]), Err(StoreError::Failed { .. })));
    assert_eq!((log.written(), told.failures.lock().unwrap().len()), (end, 1));
    assert!(log.close().is_err());
    drop(log);
    let (records, found) = scan(&unchecked(&files));
    // What was written before the error may be there: nobody was told that it is.
    assert!((20..40).contains(&records.len()) && found >= end, "{} records", records.len());
}
