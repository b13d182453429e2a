//! What a consume queue promises: entry k is queue offset k, whatever was written, cut, lost or swapped.

use super::*;
use crate::store::disk_files::DiskFiles;
use crate::store::simulated_files::SimulatedFiles;

const LEN: u32 = 100;

fn queue_on(files: Arc<dyn Files>, root: &Path) -> ConsumeQueue {
    queue_of(&OpenFiles::new(files, root.to_path_buf()), 0)
}

fn queue_of(open_files: &Arc<OpenFiles>, queue_id: u32) -> ConsumeQueue {
    let topic = TopicName::from_client("orders").unwrap();
    ConsumeQueue::new(open_files, topic, QueueId(queue_id), Incarnation(0))
}

fn simulated() -> (SimulatedFiles, ConsumeQueue) {
    let files = SimulatedFiles::new();
    files.create_dir(Path::new("/consumequeue")).unwrap();
    let queue = queue_on(Arc::new(files.clone()), Path::new("/consumequeue"));
    (files, queue)
}

fn entry(at: u64) -> QueueEntry {
    let commit_log_offset = CommitLogOffset(at * u64::from(LEN));
    QueueEntry { commit_log_offset, record_len: LEN, tag_hash: -(at as i64), inner: 0 }
}

fn units(range: std::ops::Range<u64>) -> Vec<u8> {
    range.flat_map(|at| entry(at).encode()).collect()
}

fn read(queue: &ConsumeQueue, from: u64, count_max: usize) -> Vec<QueueEntry> {
    let mut entries = Vec::new();
    queue.read_entries(QueueOffset(from), count_max, &mut entries).unwrap();
    entries
}

fn recover(queue: &ConsumeQueue, min: u64, end: u64) -> bool {
    let ends = QueueEnds { min: QueueOffset(min), end: QueueOffset(end) };
    queue.recover(ends, |at, found| *found == entry(at.0)).unwrap()
}

#[test]
fn a_unit_is_rocketmqs() {
    let commit_log_offset = CommitLogOffset(1_024);
    let unit = QueueEntry { commit_log_offset, record_len: 146, tag_hash: 2_598_919, inner: 0 };
    let in_batch = QueueEntry { inner: 32_767, ..unit };
    assert_eq!(QueueEntry::decode(&in_batch.encode()), Some(in_batch));
    let hex: String = unit.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "000000000000040000000092000000000027a807");
    assert_eq!(QueueEntry::decode(&unit.encode()), Some(unit));
    assert_eq!(QueueEntry::decode(&[0; UNIT_BYTES]), None);
    assert_eq!(QueueEntry::decode(&[0xFF; UNIT_BYTES]), None);
}

#[test]
fn entry_k_is_queue_offset_k_over_files() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue_on(Arc::new(DiskFiles), dir.path());
    assert!(!dir.path().join("orders").exists(), "an empty queue takes no place");
    let count = FILE_UNITS + 1_000;
    let mut at = 0;
    while at < count {
        let next = count.min(at + 70_001);
        queue.append(QueueOffset(at), &units(at..next)).unwrap();
        at = next;
    }
    assert_eq!(queue.max_offset().0, count);
    for from in [0, 1, FILE_UNITS - 300, FILE_UNITS - 1, FILE_UNITS, count - 1] {
        let expected: Vec<QueueEntry> = (from..count.min(from + 600)).map(entry).collect();
        assert_eq!(read(&queue, from, 600), expected);
    }
    assert!(read(&queue, count, 5).is_empty() && read(&queue, u64::MAX, 5).is_empty());
    let second = dir.path().join("orders/0/00000000000006000000");
    assert_eq!(std::fs::metadata(second).unwrap().len(), FILE_BYTES);
    queue.sync().unwrap();

    let again = queue_on(Arc::new(DiskFiles), dir.path());
    assert!(recover(&again, 0, count));
    assert_eq!(read(&again, FILE_UNITS - 2, 4), (FILE_UNITS - 2..FILE_UNITS + 2).map(entry).collect::<Vec<_>>());
    again.truncate_to(entry(FILE_UNITS).commit_log_offset).unwrap();
    assert_eq!(again.max_offset().0, FILE_UNITS);
    assert!(!dir.path().join("orders/0/00000000000006000000").exists());
    again.append(QueueOffset(FILE_UNITS), &units(FILE_UNITS..FILE_UNITS + 1)).unwrap();
    assert_eq!(read(&again, FILE_UNITS - 1, 9), [entry(FILE_UNITS - 1), entry(FILE_UNITS)]);
}

#[test]
fn an_entry_is_never_shifted() {
    let (_, queue) = simulated();
    queue.append(QueueOffset(0), &units(0..10)).unwrap();
    // What is there already is skipped, what follows it is taken.
    queue.append(QueueOffset(5), &units(5..12)).unwrap();
    queue.append(QueueOffset(0), &units(0..3)).unwrap();
    assert_eq!(read(&queue, 0, 99), (0..12).map(entry).collect::<Vec<_>>());
    assert!(queue.missing_from().is_none());
    // What leaves a gap is refused.
    assert!(queue.append(QueueOffset(13), &units(13..14)).is_err());
    assert!(queue.is_worthless() && queue.ends().is_none());
    assert_eq!(queue.missing_from(), Some(entry(13).commit_log_offset));
    assert_eq!(queue.max_offset(), QueueOffset(12));
}

#[test]
fn an_entry_that_disagrees_with_the_log_is_put_right() {
    let (_, queue) = simulated();
    queue.append(QueueOffset(0), &units(1..6)).unwrap();
    queue.append(QueueOffset(2), &units(2..4)).unwrap();
    let expected = [entry(1), entry(2), entry(2), entry(3), entry(5)];
    assert_eq!(read(&queue, 0, 99), expected);
}

#[test]
fn b11_truncating_zeroes_what_lies_behind() {
    for cut in [0, 1, 7, 30, 31] {
        let (files, queue) = simulated();
        queue.append(QueueOffset(0), &units(0..30)).unwrap();
        queue.sync().unwrap();
        // A record that begins below stays, whatever its end.
        queue.truncate_to(CommitLogOffset((cut * u64::from(LEN)).saturating_sub(1))).unwrap();
        let kept = cut.min(30);
        assert_eq!(queue.max_offset().0, kept);
        assert_eq!(read(&queue, 0, 99), (0..kept).map(entry).collect::<Vec<_>>());
        let path = Path::new("/consumequeue/orders/0/00000000000000000000");
        let Ok(on_disk) = files.read(path) else {
            assert_eq!(kept, 0, "only a queue without entries has no file");
            continue;
        };
        assert!(on_disk.len() > 30 * UNIT_BYTES, "there is something behind");
        assert!(on_disk.iter().skip(kept as usize * UNIT_BYTES).all(|byte| *byte == 0));
    }
}

#[test]
fn only_what_was_synced_is_taken_over() {
    let (files, queue) = simulated();
    queue.append(QueueOffset(0), &units(0..500)).unwrap();
    queue.sync().unwrap();
    let ends = queue.ends().unwrap();
    queue.append(QueueOffset(500), &units(500..900)).unwrap();
    for seed in 0..20 {
        let cut = files.power_cut(seed);
        let queue = queue_on(Arc::new(cut.clone()), Path::new("/consumequeue"));
        assert!(recover(&queue, ends.min.0, ends.end.0));
        assert_eq!(read(&queue, 0, 999), (0..500).map(entry).collect::<Vec<_>>());
        let bytes = cut.read(Path::new("/consumequeue/orders/0/00000000000000000000")).unwrap();
        assert!(bytes[500 * UNIT_BYTES..].iter().all(|byte| *byte == 0));
    }
    // Its word for more is not believed.
    let queue = queue_on(Arc::new(files.clone()), Path::new("/consumequeue"));
    assert!(!recover(&queue, 0, 901));
    assert!(!recover(&queue, 0, FILE_UNITS + 1));
    files.remove_file(Path::new("/consumequeue/orders/0/00000000000000000000")).unwrap();
    assert!(!recover(&queue, 0, 500));
    assert!(recover(&queue, 0, 0));
}

#[test]
fn many_queues_are_synced_at_once() {
    let files = SimulatedFiles::new();
    files.create_dir(Path::new("/consumequeue")).unwrap();
    let open_files = OpenFiles::new(Arc::new(files.clone()), "/consumequeue".into());
    let all: Vec<Arc<ConsumeQueue>> =
        (0..SYNC_ONE_BY_ONE_MAX as u32 + 1).map(|id| Arc::new(queue_of(&open_files, id))).collect();
    for (count, syncs) in [(2, 8), (all.len(), 1), (all.len(), 1)] {
        for queue in &all[..count] {
            let end = queue.max_offset();
            queue.append(end, &units(end.0..end.0 + 1)).unwrap();
        }
        let before = files.syncs();
        ConsumeQueue::sync_all(&all).unwrap();
        assert_eq!(files.syncs() - before, syncs);
        assert!(all.iter().all(|queue| !queue.is_unsynced()));
        for seed in 0..5 {
            let files = OpenFiles::new(Arc::new(files.power_cut(seed)), "/consumequeue".into());
            for (id, queue) in (0..).zip(&all) {
                assert!(recover(&queue_of(&files, id), 0, queue.max_offset().0), "queue {id}");
            }
        }
    }
    ConsumeQueue::sync_all(&all).unwrap();
    all.iter().for_each(|queue| queue.append(QueueOffset(0), &units(0..9)).unwrap());
    files.fail_syncs();
    assert!(ConsumeQueue::sync_all(&all).is_err());
    assert!(all.iter().all(|queue| !queue.is_trusted()));
}

#[test]
fn a_queue_whose_first_records_are_gone_begins_where_the_log_does() {
    let (files, queue) = simulated();
    queue.rebuild(CommitLogOffset(0), CommitLogOffset(77)).unwrap();
    assert_eq!(queue.missing_from(), Some(CommitLogOffset(77)));
    let first = FILE_UNITS + 5;
    queue.append(QueueOffset(first), &units(first..first + 3)).unwrap();
    assert_eq!((queue.min_offset().0, queue.max_offset().0), (first, first + 3));
    assert_eq!(read(&queue, first, 9), (first..first + 3).map(entry).collect::<Vec<_>>());
    assert!(read(&queue, first - 1, 9).is_empty());
    let bytes = files.read(Path::new("/consumequeue/orders/0/00000000000006000000")).unwrap();
    let filler = [&[0; 8][..], &[0x7F, 0xFF, 0xFF, 0xFF], &[0; 8]].concat();
    assert_eq!(bytes[..5 * UNIT_BYTES], filler.repeat(5), "as RocketMQ fills it");
    assert!(queue.append(QueueOffset(first + 9), &units(0..1)).is_err(), "once only");
}

#[test]
fn b7_what_has_had_its_time_is_not_seen_and_moves_no_entry() {
    let (files, queue) = simulated();
    let count = FILE_UNITS + 20;
    (0..count).step_by(10_000).for_each(|at| {
        queue.append(QueueOffset(at), &units(at..count.min(at + 10_000))).unwrap();
    });
    queue.sync().unwrap();
    queue.keep_from(QueueOffset(FILE_UNITS + 5));
    queue.keep_from(QueueOffset(3));
    assert_eq!(queue.min_offset().0, FILE_UNITS + 5, "never back");
    assert!(read(&queue, FILE_UNITS + 4, 9).is_empty());
    assert_eq!(read(&queue, FILE_UNITS + 5, 1), [entry(FILE_UNITS + 5)]);
    assert_eq!(queue.offset_at_place(CommitLogOffset(0)).unwrap().0, FILE_UNITS + 5);
    // What the disk holds is another matter, and goes with the log.
    assert_eq!(queue.ends().unwrap().min.0, 0);
    queue.remove_trimmed().unwrap();
    let first = Path::new("/consumequeue/orders/0/00000000000000000000");
    assert!(files.read(first).is_ok());
    assert!(queue.trim(entry(FILE_UNITS + 2).commit_log_offset).unwrap());
    queue.remove_trimmed().unwrap();
    assert!(files.read(first).is_err());
    assert_eq!((queue.ends().unwrap().min.0, queue.min_offset().0), (FILE_UNITS + 2, FILE_UNITS + 5));
    assert!(queue.trim(entry(FILE_UNITS + 9).commit_log_offset).unwrap());
    assert_eq!(queue.min_offset().0, FILE_UNITS + 9);

    // Made anew, it shows nothing on the way there.
    queue.keep_from(QueueOffset(FILE_UNITS + 15));
    queue.rebuild(CommitLogOffset(0), CommitLogOffset(77)).unwrap();
    assert_eq!((queue.min_offset().0, queue.max_offset().0), (0, 0));
    for at in FILE_UNITS + 10..FILE_UNITS + 17 {
        queue.append(QueueOffset(at), &units(at..at + 1)).unwrap();
        assert_eq!(queue.min_offset().0, (at + 1).min(FILE_UNITS + 15));
    }
    assert_eq!(read(&queue, FILE_UNITS + 15, 9), [entry(FILE_UNITS + 15), entry(FILE_UNITS + 16)]);
}

fn rebuilt_from(first: u64, count: u64) -> ConsumeQueue {
    let (_, queue) = simulated();
    queue.rebuild(CommitLogOffset(0), CommitLogOffset(77)).unwrap();
    if count > 0 {
        queue.append(QueueOffset(first), &units(first..first + count)).unwrap();
    }
    queue
}

#[test]
fn both_boundaries_of_a_time() {
    let times = [10, 20, 20, 20, 40];
    let at = |first: u64, time: i64, boundary| {
        let queue = rebuilt_from(first, times.len() as u64);
        let stored =
            |entry: &QueueEntry| Some(Timestamp(times[(entry.commit_log_offset.0 / u64::from(LEN) - first) as usize]));
        queue.offset_at_time(Timestamp(time), boundary, stored).unwrap().0 - first
    };
    // In a queue that begins at 0, and in one whose front is gone.
    for first in [0, FILE_UNITS + 3] {
        let both = |time| (at(first, time, Boundary::Lower), at(first, time, Boundary::Upper));
        assert_eq!(both(9), (0, 0), "before the first");
        assert_eq!(both(10), (0, 0));
        assert_eq!(both(15), (1, 0));
        assert_eq!(both(20), (1, 3), "the first and the last of that time");
        assert_eq!(both(30), (4, 3));
        assert_eq!(both(40), (4, 4));
        assert_eq!(both(41), (5, 4), "after the last");
    }
    let empty = rebuilt_from(0, 0);
    for boundary in [Boundary::Lower, Boundary::Upper] {
        assert_eq!(empty.offset_at_time(Timestamp(1), boundary, |_| None).unwrap(), QueueOffset(0));
    }
}

proptest::proptest! {
    #[test]
    fn a_time_is_found_as_by_looking_at_every_message(
        steps in proptest::collection::vec(0i64..3, 0..60),
        first in 0u64..4,
        time in -2i64..130,
    ) {
        let times: Vec<i64> = steps.iter().scan(0, |time, step| { *time += step; Some(*time) }).collect();
        let queue = rebuilt_from(first, times.len() as u64);
        let first = queue.min_offset().0;
        let stored =
            |entry: &QueueEntry| Some(Timestamp(times[(entry.commit_log_offset.0 / u64::from(LEN) - first) as usize]));
        let lower = times.iter().position(|stored| *stored >= time).unwrap_or(times.len()) as u64;
        let upper = times.iter().rposition(|stored| *stored <= time).unwrap_or(0) as u64;
        let found = |boundary| queue.offset_at_time(Timestamp(time), boundary, stored).unwrap().0 - first;
        proptest::prop_assert_eq!((found(Boundary::Lower), found(Boundary::Upper)), (lower, upper));
    }
}

#[test]
fn a7_descriptors_are_bounded() {
    let files = SimulatedFiles::new();
    let open_files = OpenFiles::new(Arc::new(files), "/consumequeue".into());
    let queues: Vec<ConsumeQueue> = (0..OPEN_FILES_MAX as u32 + 100).map(|id| queue_of(&open_files, id)).collect();
    for round in 0..2 {
        for queue in &queues {
            queue.append(QueueOffset(round), &units(round..round + 1)).unwrap();
            assert!(open_files.held().by_file.len() <= OPEN_FILES_MAX);
            assert!(open_files.held().hand.len() <= OPEN_FILES_MAX);
        }
    }
    for queue in &queues {
        assert_eq!(read(queue, 0, 9), [entry(0), entry(1)]);
        queue.delete().unwrap();
    }
    assert!(open_files.held().by_file.is_empty() && open_files.held().hand.is_empty());
}

#[test]
fn a_failed_write_or_sync_ends_trust_and_nothing_else() {
    let (files, queue) = simulated();
    queue.append(QueueOffset(0), &units(0..10)).unwrap();
    files.limit_space(Some(0));
    // The first page has its block, the second gets none.
    let error = queue.append(QueueOffset(10), &units(10..5_000)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(queue.missing_from(), Some(entry(10).commit_log_offset));
    assert!(queue.ends().is_none() && queue.is_trusted());
    assert_eq!(read(&queue, 0, 99), (0..10).map(entry).collect::<Vec<_>>());
    files.limit_space(None);
    queue.begin_mending();
    queue.append(QueueOffset(10), &units(10..5_000)).unwrap();
    queue.end_mending();
    assert_eq!(queue.ends(), Some(QueueEnds { min: QueueOffset(0), end: QueueOffset(5_000) }));
    files.fail_syncs();
    assert!(queue.sync().is_err());
    assert!(queue.ends().is_none() && !queue.is_trusted());
    assert_eq!(read(&queue, 4_999, 9), [entry(4_999)]);
}

#[test]
fn a_queue_without_room_gives_out_no_offset_twice() {
    let (files, queue) = simulated();
    files.limit_space(Some(0));
    (0..20).for_each(|at| queue.saw(QueueOffset(at)));
    queue.append(QueueOffset(0), &units(0..5_000)).unwrap_err();
    queue.open_for_appends();
    assert_eq!((queue.max_offset(), queue.counter().next()), (QueueOffset(0), QueueOffset(20)));
}

#[test]
fn what_waits_in_memory_is_seen_and_is_in_the_files_after_a_sync() {
    const FILE: &str = "/consumequeue/orders/0/00000000000000000000";
    let (files, queue) = simulated();
    let page = (TAIL_BYTES_MAX / UNIT_BYTES) as u64;
    for at in 0..page + 3 {
        queue.append(QueueOffset(at), &units(at..at + 1)).unwrap();
        assert_eq!(
            read(&queue, at.saturating_sub(2), 9),
            (at.saturating_sub(2)..at + 1).map(entry).collect::<Vec<_>>()
        );
    }
    let written = |count: u64| files.read(Path::new(FILE)).unwrap().starts_with(&units(0..count));
    assert!(written(page) && !written(page + 1));
    assert_eq!(read(&queue, page - 2, 99), (page - 2..page + 3).map(entry).collect::<Vec<_>>());
    assert_eq!(read(&queue, page + 1, 1), [entry(page + 1)]);
    queue.sync().unwrap();
    assert!(written(page + 3) && !queue.is_unsynced());
    // A batch that is larger than a page goes past the memory, and what comes after it does not.
    queue.append(QueueOffset(page + 3), &units(page + 3..5_000)).unwrap();
    assert!(written(5_000));
    queue.append(QueueOffset(5_000), &units(5_000..5_001)).unwrap();
    assert!(queue.is_unsynced() && !written(5_001));
    assert_eq!(read(&queue, 4_999, 9), [entry(4_999), entry(5_000)]);
    // Nobody writes for a queue that is gone: its place may be another one's.
    queue.delete().unwrap();
    assert!(queue.sync().is_ok() && files.read(Path::new(FILE)).is_err());
}

#[test]
fn a_tail_that_cannot_be_written_is_seen_and_not_believed() {
    let (files, queue) = simulated();
    queue.append(QueueOffset(0), &units(0..3)).unwrap();
    files.limit_space(Some(0));
    assert_eq!(queue.sync().unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert!(!queue.is_trusted() && queue.ends().is_none() && queue.is_unsynced());
    assert_eq!(read(&queue, 0, 9), (0..3).map(entry).collect::<Vec<_>>());
    let all = [Arc::new(queue)];
    assert!(ConsumeQueue::sync_all(&all).is_err());
    files.limit_space(None);
    ConsumeQueue::sync_all(&all).unwrap();
    assert!(all[0].is_trusted() && !all[0].is_unsynced());
    let disk = queue_on(Arc::new(files.power_cut(1)), Path::new("/consumequeue"));
    assert!(recover(&disk, 0, 3));
}

#[test]
fn readers_and_syncs_beside_appends_see_every_entry_in_its_place() {
    let (_, queue) = simulated();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while queue.max_offset().0 < 20_000 {
                    let from = queue.max_offset().0.saturating_sub(300);
                    let end = queue.max_offset().0;
                    let seen = read(&queue, from, 400);
                    assert!(seen.len() as u64 >= end - from);
                    assert!(seen.iter().zip(from..).all(|(seen, at)| *seen == entry(at)));
                }
            });
        }
        scope.spawn(|| {
            while queue.max_offset().0 < 20_000 {
                queue.sync().unwrap();
            }
        });
        for at in (0..20_000).step_by(4) {
            queue.append(QueueOffset(at), &units(at..at + 4)).unwrap();
        }
    });
    queue.sync().unwrap();
    assert_eq!(read(&queue, 0, 20_000), (0..20_000).map(entry).collect::<Vec<_>>());
}
