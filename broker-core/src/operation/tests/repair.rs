//! A store whose end was given up on the operator's word.

use std::path::Path;
use std::sync::Arc;

use crate::broker::{Broker, PullMessages};
use crate::config::Retention;
use crate::local_broker::LocalBroker;
use crate::offset::CommitLogOffset;
use crate::offset::{QueueId, QueueOffset};
use crate::operation::tests::{message, open_simulated, send, topic, with_topic};
use crate::store::error::StoreError;
use crate::store::files::Files;
use crate::store::repair::{Cut, cut};
use crate::store::simulated_files::SimulatedFiles;

fn repair(files: &SimulatedFiles, at: u64) -> Result<Cut, StoreError> {
    cut(Arc::new(files.clone()), Path::new("/data"), CommitLogOffset(at))
}

fn open(files: &SimulatedFiles) -> Result<LocalBroker, StoreError> {
    open_simulated(files, Retention::default())
}

/// Bodies of queue 0.
async fn bodies(broker: &LocalBroker) -> Vec<String> {
    let (queue_id, offset) = (QueueId(0), QueueOffset(0));
    let pull = PullMessages { topic: topic(), queue_id, offset, messages_max: 500, bytes_max: u32::MAX };
    let pulled = broker.pull_messages(pull).await.unwrap();
    pulled.messages.iter().map(|message| String::from_utf8(message.body.to_vec()).unwrap()).collect()
}

/// A store over a few segments, closed, and the place of message 195.
async fn store() -> (SimulatedFiles, u64) {
    let files = SimulatedFiles::new();
    let broker = open(&files).unwrap();
    with_topic(&broker).await;
    let mut place = 0;
    for at in 0..200 {
        let body = format!("{at:04}").repeat(250);
        let sent = broker.send_messages(send(0, message(&format!("id{at}"), &body))).await.unwrap().remove(0);
        if at == 195 {
            place = sent.unwrap().commit_log_offset.0;
            broker.take_snapshot().unwrap();
        }
    }
    broker.close().unwrap();
    (files, place)
}

#[tokio::test]
async fn d7_damage_is_given_up_on_the_operators_word_alone() {
    let (files, place) = store().await;
    let segment = crate::store::segment::file_name(place / (64 << 10) * (64 << 10));
    files.damage(&Path::new("/data/commitlog").join(segment), place % (64 << 10) + 300, b"?").unwrap();
    files.replace(Path::new("/data/abort"), b"1", false).unwrap();
    files.remove_file(Path::new("/data/checkpoint")).unwrap();
    assert!(matches!(open(&files), Err(StoreError::Damaged { .. })));

    for wrong in [place + 1, place - 1, 1 << 40] {
        let refused = repair(&files, wrong);
        assert!(matches!(refused, Err(StoreError::NoRecord { .. })), "{wrong}: {refused:?}");
    }
    assert!(matches!(open(&files), Err(StoreError::Damaged { .. })), "a refusal changes nothing");
    let done = repair(&files, place).unwrap();
    assert_eq!(done.end.0, place);
    assert!(done.moved.len() >= 3, "{done:?}");
    let broker = open(&files).unwrap();
    let kept = bodies(&broker).await;
    assert_eq!(kept.len(), 195);
    let sent = broker.send_messages(send(0, message("new", "new"))).await.unwrap().remove(0).unwrap();
    assert_eq!(sent.queue_offset, QueueOffset(195));
    broker.close().unwrap();
    drop(broker);
    assert_eq!(bodies(&open(&files).unwrap()).await.len(), 196);
}

#[tokio::test]
async fn d10_a_cut_killed_anywhere_and_done_again_comes_to_the_same() {
    let (files, place) = store().await;
    let mut finished = false;
    for operations in (0..).step_by(3) {
        let killed = files.kill();
        killed.halt_after(operations);
        finished = repair(&killed, place).is_ok();
        let killed = if operations % 2 == 0 { killed.kill() } else { killed.power_cut(operations) };
        repair(&killed, place).unwrap();
        let broker = open(&killed).unwrap();
        assert_eq!(bodies(&broker).await.len(), 195, "after {operations}");
        if finished {
            break;
        }
    }
    assert!(finished);
}
