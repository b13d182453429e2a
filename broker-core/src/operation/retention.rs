//! Letting old messages go, and telling the consumer groups that waited for them.

use std::sync::Arc;

use crate::local_broker::Parts;
use crate::operation::snapshot::take_newer_snapshot;
use crate::state::record::{CellKey, Entry};
use crate::store::consume_queue::ConsumeQueue;
use crate::store::error::StoreError;

pub(crate) fn enforce_retention(parts: &Parts) -> Result<(), StoreError> {
    let retained = parts.store.enforce_retention(&parts.config.retention)?;
    if retained.deleted_below.is_some() {
        settle_what_is_gone(parts)?;
    }
    if retained.wants_snapshot {
        take_newer_snapshot(parts)?;
    }
    Ok(())
}

/// Messages that retention took count as settled: nobody can have them any more. Groups go on with what is left.
pub(crate) fn settle_what_is_gone(parts: &Parts) -> Result<(), StoreError> {
    for (pair, cells) in parts.cells.all() {
        // Held until the record is applied, so that none can follow the deletion of the topic.
        let tables = parts.tables();
        let (Some(group), Some(topic)) = (tables.consumer_group_by_id(pair.0), tables.topic_by_id(pair.1)) else {
            continue;
        };
        let mut cells = cells.lock().expect("no code panics while holding it");
        let queues = parts.store.queues(&topic.config.topic);
        let behind = |queue: &Arc<ConsumeQueue>| {
            let (min, queue_id) = (queue.min_offset().0, queue.queue_id());
            let floor = cells.get(&queue_id)?.floor();
            let cell = CellKey { consumer_group_id: pair.0, topic_id: pair.1, queue_id };
            (floor < min).then(|| (Entry::CommitOffset { cell, offset: min }, min - floor))
        };
        let (entries, missed): (Vec<Entry>, Vec<u64>) = queues.iter().filter_map(behind).unzip();
        if entries.is_empty() {
            continue;
        }
        parts.append_state(&entries).map_err(|refused| refused.store_error())?;
        cells.apply(&entries);
        tracing::warn!(
            topic = %topic.config.topic, consumer_group = %group.config.consumer_group, messages = missed.iter().sum::<u64>(),
            "messages were deleted after their time before the consumer group had settled them"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::broker::{Broker, PullMessages, PutWhen, TopicConfig};
    use crate::config::Retention;
    use crate::error::BrokerError;
    use crate::local_broker::LocalBroker;
    use crate::names::TopicName;
    use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
    use crate::operation::tests::{group, message, open_simulated, pop, send, topic, with_topic};
    use crate::store::files::Files;
    use crate::store::simulated_files::SimulatedFiles;

    const SEGMENT_BYTES: u64 = 64 << 10;

    fn short() -> Retention {
        Retention { commit_log_bytes_max: Some(2 * SEGMENT_BYTES), ..Retention::default() }
    }

    fn pull(offset: u64) -> PullMessages {
        PullMessages {
            topic: topic(),
            queue_id: QueueId(0),
            offset: QueueOffset(offset),
            messages_max: 1,
            bytes_max: 1,
        }
    }

    async fn fill(broker: &LocalBroker, from: u32, to: u32) {
        for at in from..to {
            broker.send_messages(send(0, message(&format!("id{at}"), &format!("{at}").repeat(300)))).await.unwrap();
        }
    }

    /// As the thread does it: what lacks a snapshot goes when there are two newer ones.
    fn retain(broker: &LocalBroker) {
        (0..4).for_each(|_| broker.enforce_retention().unwrap());
    }

    /// Where queue 0 begins and ends, and where its group is.
    async fn ends(broker: &LocalBroker) -> (u64, u64, u64) {
        let queue = broker.query_queue_offsets(topic()).await.unwrap()[0];
        let group = broker.query_consume_offsets(group(), topic()).await.unwrap()[0].consume_offset;
        (queue.min_offset.0, queue.max_offset.0, group.unwrap().0)
    }

    fn remove(files: &SimulatedFiles, dir: &Path) {
        for listed in files.list(dir).unwrap() {
            let path = dir.join(&listed.name);
            match listed.is_dir {
                true => remove(files, &path),
                false => files.remove_file(&path).unwrap(),
            }
        }
        files.remove_dir(dir).unwrap();
    }

    #[tokio::test]
    async fn d10_queues_that_were_last_synced_before_all_that_is_left_begin_behind_what_went() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        broker.close().unwrap();
        drop(broker);
        let queue_ends = Path::new("/data/gantry/queue-ends");
        let before = files.read(queue_ends).unwrap();
        let broker = open_simulated(&files, short()).unwrap();
        fill(&broker, 0, 300).await;
        let of_queue_1 = broker.send_messages(send(1, message("last", "last"))).await.unwrap().remove(0).unwrap();
        assert_eq!(of_queue_1.queue_offset, QueueOffset(0));
        retain(&broker);
        let (min, max, _) = queue_of(&broker, 0).await;
        assert!(min > 0);
        // Killed before it was written again.
        let killed = files.kill();
        drop(broker);
        killed.replace(queue_ends, &before, false).unwrap();
        let broker = open_simulated(&killed, short()).unwrap();
        assert_eq!(queue_of(&broker, 0).await, (min, max, max - min));
        assert_eq!(queue_of(&broker, 1).await, (0, 1, 1));
        let sent = broker.send_messages(send(0, message("next", "next"))).await.unwrap().remove(0).unwrap();
        assert_eq!(sent.queue_offset.0, max);
    }

    /// Where a queue begins and ends, and how many of its messages can be read.
    async fn queue_of(broker: &LocalBroker, queue_id: u32) -> (u64, u64, u64) {
        let ends = broker.query_queue_offsets(topic()).await.unwrap()[queue_id as usize];
        let (min, max) = (ends.min_offset.0, ends.max_offset.0);
        let mut read = 0;
        for offset in min..max {
            let pull = PullMessages { queue_id: QueueId(queue_id), ..pull(offset) };
            read += broker.pull_messages(pull).await.unwrap().messages.len() as u64;
        }
        (min, max, read)
    }

    #[tokio::test]
    async fn a_group_ahead_of_what_goes_stays_where_it_is() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        fill(&broker, 0, 300).await;
        for _ in 0..9 {
            let popped = broker.pop_messages(pop(32)).await.unwrap();
            broker.ack_messages(popped.into_iter().map(|popped| popped.handle).collect()).await.unwrap();
        }
        retain(&broker);
        let (min, max, floor) = ends(&broker).await;
        assert!(0 < min && min < floor && (floor, max) == (288, 300), "{min} {floor} {max}");
    }

    #[tokio::test]
    async fn what_is_old_goes_and_everybody_goes_on_behind_it() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        // Of this one nothing will be left but where it ended.
        let quiet = TopicName::from_client("quiet").unwrap();
        broker.put_topic(TopicConfig::new(quiet.clone()), PutWhen::Missing).await.unwrap();
        let to_quiet = || crate::broker::SendMessages { topic: quiet.clone(), ..send(0, message("q", "q")) };
        for _ in 0..3 {
            broker.send_messages(to_quiet()).await.unwrap();
        }
        fill(&broker, 0, 1).await;
        let leased = broker.pop_messages(pop(1)).await.unwrap();
        fill(&broker, 1, 600).await;
        let min_before = broker.describe_broker().await.unwrap().commit_log_min;
        assert_eq!(min_before, CommitLogOffset(0));
        retain(&broker);
        let described = broker.describe_broker().await.unwrap();
        let kept = described.commit_log_max.0 - described.commit_log_min.0;
        assert!(kept <= 3 * SEGMENT_BYTES, "{kept}");

        let (min, max, floor) = ends(&broker).await;
        assert!(min > 0 && max == 600 && floor == min, "{min} {max} {floor}");
        assert!(
            matches!(broker.pull_messages(pull(min - 1)).await, Err(BrokerError::OffsetExpired { min: now }) if now.0 == min)
        );
        assert_eq!(broker.pull_messages(pull(min)).await.unwrap().messages[0].body, format!("{min}").repeat(300));
        assert!(broker.ack_messages(vec![leased[0].handle.clone()]).await.unwrap()[0].is_ok(), "settled is settled");
        assert!(broker.find_message(topic(), "id0".into()).await.is_err());
        assert!(broker.find_message(topic(), format!("id{min}")).await.is_ok());
        let quiet_ends = |broker: &LocalBroker| {
            let queue = broker.parts().store.queue(&quiet, QueueId(0)).unwrap();
            (queue.min_offset().0, queue.max_offset().0)
        };
        assert_eq!(quiet_ends(&broker), (3, 3));
        let killed = files.kill();
        drop(broker);

        let same = |files: &SimulatedFiles| open_simulated(files, short()).unwrap();
        let without = |paths: &[&str]| {
            let files = killed.kill();
            paths.iter().for_each(|path| remove(&files, &PathBuf::from("/data").join(path)));
            files
        };
        // Derived files that are gone lose nothing, whatever the log still holds.
        for files in [killed.kill(), without(&["consumequeue", "index"]), without(&["index"])] {
            let broker = same(&files);
            assert_eq!(ends(&broker).await, (min, max, floor));
            assert_eq!(quiet_ends(&broker), (3, 3));
            let sent = broker.send_messages(to_quiet()).await.unwrap().remove(0).unwrap();
            assert_eq!(sent.queue_offset, QueueOffset(3), "it goes on where it ended");
            fill(&broker, 600, 601).await;
            assert_eq!(ends(&broker).await, (min, max + 1, floor));
            assert!(broker.find_message(topic(), format!("id{min}")).await.is_ok());
        }
        // Without queue ends too.
        let files = without(&["consumequeue"]);
        files.remove_file(Path::new("/data/gantry/queue-ends")).unwrap();
        let broker = same(&files);
        assert_eq!((ends(&broker).await, quiet_ends(&broker)), ((min, max, floor), (3, 3)));
        drop(broker);

        // Both snapshots lost is a loss, and not passed over.
        let files = killed.kill();
        for listed in files.list(Path::new("/data/gantry")).unwrap() {
            if listed.name.to_string_lossy().starts_with("snapshot-") {
                files.remove_file(&Path::new("/data/gantry").join(listed.name)).unwrap();
            }
        }
        assert!(matches!(open_simulated(&files, short()), Err(StoreError::StateLost { .. })));
    }

    /// Killed at any change that retention makes, the next start finds everything that was not let go.
    #[tokio::test]
    async fn d10_retention_killed_anywhere_leaves_what_it_did_not_take() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, short()).unwrap();
        with_topic(&broker).await;
        fill(&broker, 0, 1).await;
        broker.pop_messages(pop(1)).await.unwrap();
        fill(&broker, 1, 500).await;
        broker.take_snapshot().unwrap();
        fill(&broker, 500, 501).await;
        broker.take_snapshot().unwrap();
        broker.close().unwrap();
        drop(broker);
        let mut finished = false;
        for operations in (0..).step_by(2) {
            let files = files.kill();
            let broker = open_simulated(&files, short()).unwrap();
            files.halt_after(operations);
            finished = broker.enforce_retention().is_ok() && broker.enforce_retention().is_ok();
            let killed = if operations % 4 == 0 { files.kill() } else { files.power_cut(operations) };
            drop(broker);
            let broker = open_simulated(&killed, short()).unwrap();
            let (min, max, floor) = ends(&broker).await;
            assert_eq!((max, floor), (501, floor.max(min)), "after {operations}");
            for at in min..max {
                let pulled = broker.pull_messages(pull(at)).await.unwrap();
                assert_eq!(pulled.messages[0].body, format!("{at}").repeat(300), "after {operations}");
            }
            if finished {
                break;
            }
        }
        assert!(finished);
    }

    #[tokio::test]
    async fn a_disk_that_is_nearly_full_refuses_messages_and_takes_acks() {
        let files = SimulatedFiles::new();
        let broker = open_simulated(&files, Retention::default()).unwrap();
        with_topic(&broker).await;
        fill(&broker, 0, 2).await;
        let popped = broker.pop_messages(pop(1)).await.unwrap();
        // Of its 2^64 bytes a simulated disk has few left, and yet enough for what is reserved.
        files.limit_space(Some(64 << 20));
        broker.enforce_retention().unwrap();
        let refused = broker.send_messages(send(0, message("x", "x"))).await;
        assert!(matches!(refused, Err(BrokerError::StorageFull)), "{refused:?}");
        assert!(matches!(broker.describe_broker().await.unwrap().refuses_sends, Some(BrokerError::StorageFull)));
        assert!(broker.ack_messages(vec![popped[0].handle.clone()]).await.unwrap()[0].is_ok());
        assert_eq!(broker.pop_messages(pop(1)).await.unwrap().len(), 1);
        broker.delete_topic(topic()).await.unwrap();
        files.limit_space(None);
        broker.enforce_retention().unwrap();
        with_topic(&broker).await;
        fill(&broker, 2, 3).await;
    }
}
