//! Messages found by key in a time, by unique key, by place and by time, against a look at every message there is.

use proptest::prelude::*;

use super::*;
use crate::store::index_file::FOUND_MAX;

/// One message as it was sent.
#[derive(Debug, Clone)]
struct Sent {
    topic: &'static str,
    queue_id: u32,
    id: String,
    key: String,
    at: CommitLogOffset,
    queue_offset: QueueOffset,
    stored: Timestamp,
}

const TOPICS: [&str; 2] = ["orders", "Orders"];
const QUEUES: u32 = 2;

/// Sends messages as `plan` says: the pause before each, its topic, queue and key.
fn send_all(rig: &Rig, store: &Store, plan: &[(i64, usize, u32, u32)]) -> Vec<Sent> {
    let mut sent = Vec::new();
    for (number, (pause_ms, topic, queue_id, key)) in plan.iter().enumerate() {
        rig.hands.advance(*pause_ms);
        let (topic, key, id) = (TOPICS[*topic], format!("k{key}"), format!("id{number}"));
        let born_host = "127.0.0.1:50000".parse().unwrap();
        let message = Message::new(Bytes::from_static(b"x"), &id, Timestamp(1), born_host).unwrap();
        let message = message.with_keys([key.as_str(), "all"]).unwrap();
        let queue = store.queue(&name(topic), QueueId(*queue_id)).unwrap();
        let record = EncodedRecord::message(&name(topic), QueueId(*queue_id), store.store_host(), &message);
        let append = Append { record, queue: queue.counter().clone(), class: AppendClass::Message };
        let appended = store.append(vec![append]).unwrap().entries.remove(0).unwrap();
        sent.push(Sent {
            topic,
            queue_id: *queue_id,
            id,
            key,
            at: appended.commit_log_offset,
            queue_offset: appended.queue_offset,
            stored: appended.store_timestamp,
        });
    }
    sent
}

fn check(store: &Store, sent: &[Sent], from: Timestamp, to: Timestamp) {
    for topic in TOPICS {
        let of_topic = || sent.iter().rev().filter(|sent| sent.topic == topic);
        for key in ["all", "k0", "k1", "k2", "nobody"] {
            let expected: Vec<CommitLogOffset> = of_topic()
                .filter(|sent| (sent.key == key || key == "all") && (from..=to).contains(&sent.stored))
                .map(|sent| sent.at)
                .collect();
            let found: Vec<CommitLogOffset> = store
                .find_by_key(&name(topic), key, &(from..=to))
                .iter()
                .map(|found| found.commit_log_offset)
                .collect();
            assert_eq!(found, expected[..expected.len().min(FOUND_MAX)], "{key} in {topic}");
        }
        for queue_id in 0..QUEUES {
            let queue = store.queue(&name(topic), QueueId(queue_id)).unwrap();
            let times: Vec<Timestamp> = sent
                .iter()
                .filter(|sent| (sent.topic, sent.queue_id) == (topic, queue_id))
                .map(|sent| sent.stored)
                .collect();
            let at = |time, boundary| store.offset_at_time(&queue, time, boundary).unwrap().0;
            for time in [from, to] {
                let lower = times.iter().position(|stored| *stored >= time).unwrap_or(times.len());
                let upper = times.iter().rposition(|stored| *stored <= time).unwrap_or(0);
                assert_eq!((at(time, Boundary::Lower), at(time, Boundary::Upper)), (lower as u64, upper as u64));
            }
        }
    }
    for sent in sent {
        let found = store.find_by_unique_key(&name(sent.topic), &sent.id).unwrap().expect("it was sent");
        assert_eq!((found.commit_log_offset, found.queue_offset), (sent.at, sent.queue_offset));
        let other = TOPICS[usize::from(sent.topic == TOPICS[0])];
        assert!(store.find_by_unique_key(&name(other), &sent.id).unwrap().is_none());
        assert_eq!(store.read_record_at(sent.at).unwrap().unique_key(), Some(&*sent.id));
        // A place inside of a record is no record's, whatever bytes lie there.
        for inside in [1, 8, 60] {
            assert!(store.read_record_at(CommitLogOffset(sent.at.0 + inside)).is_err());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn queries_find_what_a_look_at_every_message_finds(
        plan in proptest::collection::vec((0i64..1_500, 0usize..2, 0u32..QUEUES, 0u32..3), 0..120),
        windows in proptest::collection::vec((-3_000i64..100_000, 0i64..40_000), 1..6),
    ) {
        let files = SimulatedFiles::new();
        let rig = Rig::simulated(&files, Durability::Memory);
        let store = rig.open().unwrap();
        TOPICS.iter().for_each(|topic| create(&store, topic, QUEUES).unwrap());
        let start = store.now();
        let sent = send_all(&rig, &store, &plan);
        let at = |ms: i64| Timestamp(start.0 + ms);
        check(&store, &sent, Timestamp(i64::MIN), Timestamp(i64::MAX));
        for (from, len) in &windows {
            check(&store, &sent, at(*from), at(from + len));
        }
        // The same after a clean stop and after a kill.
        store.close().unwrap();
        drop(store);
        let store = rig.open().unwrap();
        check(&store, &sent, at(windows[0].0), at(windows[0].0 + windows[0].1));
        drop(store);
        let store = rig.open().unwrap();
        check(&store, &sent, at(windows[0].0), at(windows[0].0 + windows[0].1));
    }
}
