//! `gantry store recover-state`: what can be known of a lost state, told before anything is written.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use gantry_broker_core::clock::{Clock as _, SystemClock};
use gantry_broker_core::recover_state::{Consumed, Exports, RecoverState, RecoveredState, Source, recover_state};
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::store::offline::OfflineError;

use super::{Failure, counted, many, plain, print, time};
use crate::numbers::grouped;

/// Lines of one kind that people are told; `--json` has all of them.
const LINES_MAX: usize = 50;

#[derive(Debug, Args)]
pub struct RecoverStateFlags {
    /// The data directory of a Gantry that is stopped
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Write the snapshot; without it nothing changes
    #[arg(long)]
    yes: bool,
    /// Go on although nothing says who had consumed what: every group begins at the oldest message
    #[arg(long)]
    invent: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn recover_state_command(flags: &RecoverStateFlags) -> Result<bool, Failure> {
    if !flags.dir.is_dir() {
        return Err(OfflineError::NoStore { path: flags.dir.clone() }.into());
    }
    let options = RecoverState { write: flags.yes, invent: flags.invent };
    let recovered = recover_state(Arc::new(DiskFiles), &flags.dir, SystemClock.wall(), options);
    let recovered = recovered.map_err(Failure::RecoverState)?;
    print(&match flags.json {
        true => serde_json::to_string(&recovered).expect("a report is plain values") + "\n",
        false => for_people(&recovered, flags),
    })?;
    Ok(recovered.written || !flags.yes)
}

fn for_people(recovered: &RecoveredState, flags: &RecoverStateFlags) -> String {
    let mut text = format!(
        "{}: the state is lost; the log goes from {} to {}\n\n",
        plain(&flags.dir.to_string_lossy()),
        grouped(recovered.log_min_offset),
        grouped(recovered.log_end_offset)
    );
    let is_known = match &recovered.exports {
        Exports::Good { stopped_ms, .. } => {
            let stopped = time(*stopped_ms);
            text.push_str(&format!(
                "config/*.json are as the stop at {stopped} left them, and the log goes on from there\n\n"
            ));
            true
        }
        Exports::Unusable { reason } => {
            text.push_str(&format!("nothing says who had consumed what: {}\n\n", plain(reason)));
            false
        }
    };
    let of = |source: Source| match source {
        Source::Known => "",
        Source::OldExport => ", as config/*.json say, however old they are",
        Source::Messages => ", seen in its messages: settings of a new topic",
    };
    let topics = recovered.topics.iter().map(|topic| {
        format!("{}  {}{}", plain(&topic.topic), many(u64::from(topic.queues), "queue"), of(topic.source))
    });
    list(&mut text, "topic", topics);
    let groups = recovered.consumer_groups.iter();
    list(&mut text, "group", groups.map(|group| format!("{}{}", plain(&group.consumer_group), of(group.source))));
    list(&mut text, "consumed", recovered.consumed.iter().map(consumed));

    text.push('\n');
    let mut say = |word: &str, what: String| text.push_str(&format!("{word:<11}{what}\n"));
    say("certain", "every message is kept, and none is counted as consumed of which no record says so".into());
    let again: u64 = recovered.consumed.iter().map(|consumed| consumed.delivered_again_max).sum();
    if is_known {
        say("certain", "topics, consumer groups, and where each queue begins and ends".into());
        if again > 0 {
            let messages = counted(again, "message lies", "messages lie");
            say(
                "uncertain",
                format!("{messages} behind the offsets that are known: consumed or not, they are delivered"),
            );
        }
        let exact: u64 = recovered.consumed.iter().map(|consumed| consumed.exact_queues).sum();
        let all: u64 = recovered.consumed.iter().map(|consumed| consumed.queues).sum();
        if exact < all {
            let inexact = counted(all - exact, "offset that is", "offsets that are");
            say("gone", format!("the leases behind the {inexact} a lower bound: their receipts are refused"));
        }
    } else {
        say("invented", "every consumer group begins at the oldest message, unless a line above says otherwise".into());
        say("gone", "groups without a line above: they begin like new ones when they come again".into());
        if recovered.deleted_topics_unknown > 0 {
            let topics = counted(recovered.deleted_topics_unknown, "topic", "topics");
            say("uncertain", format!("{topics} without a known name had been deleted, and may be back"));
        }
    }
    let snapshot = recovered.snapshot.strip_prefix(&flags.dir).unwrap_or(&recovered.snapshot);
    let snapshot = plain(&snapshot.to_string_lossy());
    text.push('\n');
    text.push_str(&match (recovered.written, is_known || flags.invent) {
        (true, _) => format!("{snapshot} is written: start the broker\n"),
        (false, true) => format!("nothing is written; --yes writes {snapshot}\n"),
        (false, false) => format!("nothing is written; --invent --yes writes {snapshot}\n"),
    });
    text
}

fn consumed(consumed: &Consumed) -> String {
    let names = format!("{} of {}", plain(&consumed.consumer_group), plain(&consumed.topic));
    match (consumed.queues - consumed.exact_queues, consumed.delivered_again_max) {
        (0, _) => format!("{names}  exact in {}, with what is in flight", many(consumed.queues, "queue")),
        (inexact, again) => {
            let offsets = counted(inexact, "queue", "queues");
            format!(
                "{names}  exact in {}, a lower bound in {offsets} with {} behind",
                consumed.exact_queues,
                many(again, "message")
            )
        }
    }
}

fn list(text: &mut String, word: &str, lines: impl ExactSizeIterator<Item = String>) {
    let untold = lines.len().saturating_sub(LINES_MAX);
    lines.take(LINES_MAX).for_each(|line| text.push_str(&format!("{word:<11}{line}\n")));
    if untold > 0 {
        text.push_str(&format!("{:<11}and {} more\n", "", grouped(untold as u64)));
    }
}
