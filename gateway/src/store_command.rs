//! `gantry store verify`, `dump`, `cut` and `recover-state`: a data directory without its broker, for people and for
//! scripts.
//!
//! The first two change nothing in the directory. What is read, judged and given up is the store's business; here it is
//! asked for and printed.

mod recover_state;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, Subcommand, ValueEnum};
use gantry_broker_core::message::StoredMessage;
use gantry_broker_core::names::STATE_TOPIC;
use gantry_broker_core::offset::CommitLogOffset;
use gantry_broker_core::recover_state::RecoverStateError;
use gantry_broker_core::state::record;
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::store::error::StoreError;
use gantry_broker_core::store::index_file::{IndexLayout, TopicHash};
use gantry_broker_core::store::offline::index::index_files;
use gantry_broker_core::store::offline::log::Step;
use gantry_broker_core::store::offline::queues::queue_dirs;
use gantry_broker_core::store::offline::report::{Report, Stopped, WrittenBy};
use gantry_broker_core::store::offline::source::ReadFiles as _;
use gantry_broker_core::store::offline::verify::{Progress, VerifyOptions, verify};
use gantry_broker_core::store::offline::{OfflineError, OfflineStore};
use gantry_broker_core::store::repair;
use serde_json::{Value, json};

use crate::numbers::grouped;
use crate::role::Ended;
use crate::store_command::recover_state::{RecoverStateFlags, recover_state_command};

/// Bytes in a line of `--body hex`.
const HEX_LINE_BYTES: usize = 32;
/// Folders inside of folders that `dump files` goes down.
const DEPTH_MAX: usize = 8;
/// A rate is told of reads of this length.
const RATE_BYTES_MIN: u64 = 64 << 20;

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Check everything in a data directory; exit code 1 if something is wrong
    Verify(VerifyFlags),
    /// Print what a data directory holds
    Dump(DumpFlags),
    /// Give up the end of a damaged commit log, so that a broker starts with what lies before
    Cut(CutFlags),
    /// Show what is known of a state whose snapshots are lost, and write a new one with --yes
    RecoverState(RecoverStateFlags),
}

#[derive(Debug, Args)]
pub struct VerifyFlags {
    /// The data directory, of Gantry or of RocketMQ 4.x or 5.x
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Read while a broker has the directory open, up to what was written so far
    #[arg(long)]
    live: bool,
}

#[derive(Debug, Args)]
pub struct CutFlags {
    /// The data directory of a Gantry that is stopped
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where the log shall end: the log offset that `verify` names, or any other at which a record begins
    #[arg(long, value_name = "OFFSET")]
    end: u64,
}

#[derive(Debug, Args)]
pub struct DumpFlags {
    /// The data directory, of Gantry or of RocketMQ 4.x or 5.x
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[arg(value_name = "WHAT", default_value = "records")]
    what: What,
    /// Only of this topic
    #[arg(long)]
    topic: Option<String>,
    /// Only of this queue
    #[arg(long, value_name = "QUEUE-ID")]
    queue: Option<u32>,
    /// Only at or behind this offset of the commit log
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,
    /// Only before this offset of the commit log
    #[arg(long, value_name = "OFFSET")]
    to: Option<u64>,
    /// Only with this key or unique key
    #[arg(long)]
    key: Option<String>,
    /// Only stored at or after this time: RFC 3339, or milliseconds since 1970
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<i64>,
    /// Only stored before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<i64>,
    /// So many at most
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Print bodies too: as text, where they are text, or as hex
    #[arg(long, default_value = "none")]
    body: Body,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    /// Read while a broker has the directory open
    #[arg(long)]
    live: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// The commit log, one line for each message
    Records,
    /// The consume queues, one line for each; with --topic their entries
    Queues,
    /// The index, one line for each file; with --from, --to or --limit its entries, with --topic and --key those of a key
    Index,
    /// What the broker wrote down about topics, groups and deliveries
    State,
    /// The files
    Files,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Body {
    Text,
    Hex,
    None,
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Store(#[from] OfflineError),
    #[error("{0}")]
    Cut(StoreError),
    #[error("{0}")]
    RecoverState(RecoverStateError),
    #[error("{0}")]
    Usage(&'static str),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// Nobody reads the output any more.
    #[error("the output is closed")]
    Closed,
}

/// Carries out the command. 0: nothing wrong; 1: something is; 2: not what can be asked; 3: a broker has the directory.
pub fn run(command: StoreCommand) -> ExitCode {
    let outcome = match command {
        StoreCommand::Verify(flags) => verify_command(&flags),
        StoreCommand::Cut(flags) => cut_command(&flags),
        StoreCommand::RecoverState(flags) => recover_state_command(&flags),
        StoreCommand::Dump(flags) => {
            Dump { flags, out: io::BufWriter::new(io::stdout().lock()), left: 0, damaged: false }.run()
        }
    };
    match outcome {
        Ok(true) | Err(Failure::Closed) => ExitCode::SUCCESS,
        Ok(false) => Ended::Error.into(),
        Err(failure) => {
            complain(&failure.to_string());
            match failure {
                Failure::Usage(_) | Failure::Store(OfflineError::NoStore { .. }) => Ended::Usage.into(),
                Failure::Cut(StoreError::NoRecord { .. } | StoreError::Foreign { .. }) => Ended::Usage.into(),
                Failure::RecoverState(RecoverStateError::NotLost { .. }) => Ended::Usage.into(),
                Failure::Store(OfflineError::InUse { .. })
                | Failure::Cut(StoreError::InUse { .. })
                | Failure::RecoverState(RecoverStateError::Store(StoreError::InUse { .. })) => {
                    Ended::DataDirectoryInUse.into()
                }
                _ => Ended::Error.into(),
            }
        }
    }
}

fn verify_command(flags: &VerifyFlags) -> Result<bool, Failure> {
    let options = VerifyOptions { live: flags.live, index_layout: IndexLayout::default() };
    let terminal = io::stderr().is_terminal();
    let started = Instant::now();
    let mut shown = false;
    let mut progress = |progress: Progress| {
        if terminal {
            shown = true;
            let percent = progress.read_bytes.min(progress.total_bytes) * 100 / progress.total_bytes.max(1);
            let _ = write!(io::stderr(), "\r{percent:>3} % of {} ", size(progress.total_bytes));
        }
    };
    let report = verify(&DiskFiles, &flags.dir, options, &mut progress)?;
    if shown {
        let _ = write!(io::stderr(), "\r{:40}\r", "");
    }
    let seconds = started.elapsed().as_secs_f64();
    let text = match flags.json {
        true => serde_json::to_string(&report).expect("a report is plain values") + "\n",
        false => for_people(&report, seconds),
    };
    print(&text)?;
    Ok(report.is_well())
}

fn cut_command(flags: &CutFlags) -> Result<bool, Failure> {
    if !flags.dir.is_dir() {
        return Err(OfflineError::NoStore { path: flags.dir.clone() }.into());
    }
    let cut = repair::cut(Arc::new(DiskFiles), &flags.dir, CommitLogOffset(flags.end)).map_err(Failure::Cut)?;
    let (end, given_up) = (grouped(cut.end.0), grouped(cut.given_up_bytes));
    let mut text = format!("the commit log ends at {end}: the {given_up} bytes of its files behind it are given up\n");
    for moved in &cut.moved {
        text.push_str(&format!(
            "moved to {}: {}\n",
            plain(&cut.quarantine.to_string_lossy()),
            plain(&moved.to_string_lossy())
        ));
    }
    print(&text)?;
    Ok(true)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|_| Failure::Closed)
}

fn for_people(report: &Report, seconds: f64) -> String {
    let by = match report.written_by {
        WrittenBy::Gantry => "a store of Gantry",
        WrittenBy::RocketMq => "a store of RocketMQ",
    };
    let stopped = match report.stopped {
        Stopped::Cleanly => "stopped cleanly",
        Stopped::Not => "not stopped cleanly",
        Stopped::Running => "open in a running broker",
    };
    let mut text = format!("{}: {by}, {stopped}\n\n", plain(&report.directory));
    let mut row = |name: &str, what: String| text.push_str(&format!("{name:<16}{what}\n"));
    let log = &report.commit_log;
    let times = match (log.first_stored_ms, log.last_stored_ms) {
        (Some(first), Some(last)) => format!(", stored {} to {}", time(first), time(last)),
        _ => String::new(),
    };
    row(
        "commit log",
        format!(
            "{} in {}, offsets {} to {}{times}",
            many(log.records, "record"),
            many(log.segments, "segment"),
            grouped(log.min_offset),
            grouped(log.end_offset)
        ),
    );
    let queues = &report.consume_queues;
    row(
        "consume queues",
        format!(
            "{} in {} of {}",
            counted(queues.entries, "entry", "entries"),
            many(queues.queues, "queue"),
            many(queues.topics, "topic")
        ),
    );
    let index = &report.index;
    row(
        "index",
        format!(
            "{} in {}, {} looked for",
            counted(index.entries, "entry", "entries"),
            many(index.files, "file"),
            many(index.keys, "key")
        ),
    );
    if report.written_by == WrittenBy::Gantry {
        let boot = report.state.boot.map_or(String::new(), |boot| format!(", start number {}", grouped(boot)));
        let entries = counted(report.state.entries, "entry", "entries");
        row("state", format!("{entries} in {}{boot}", many(report.state.records, "record")));
    }
    text.push('\n');
    let relative = |file: &str| {
        let inside = Path::new(file).strip_prefix(&report.directory).map(Path::to_path_buf);
        plain(&inside.unwrap_or_else(|_| file.into()).to_string_lossy())
    };
    for note in &report.notes {
        text.push_str(&format!("note      {}\n", plain(note).replace(&format!("{}/", plain(&report.directory)), "")));
    }
    for problem in &report.problems {
        let (file, reason) = (relative(&problem.file), plain(&problem.reason));
        text.push_str(&format!("PROBLEM   {file}, byte {}: {reason}\n", problem.offset));
        text.push_str(&format!("  do      {}\n", problem.remedy));
    }
    let untold = report.problems_found - report.problems.len() as u64;
    if untold > 0 {
        text.push_str(&format!("          and {} more\n", many(untold, "problem")));
    }
    let verdict = match report.problems_found {
        0 => "nothing wrong".to_string(),
        count => many(count, "problem"),
    };
    // Of a small store it says nothing.
    let rate = match log.bytes {
        0..RATE_BYTES_MIN => String::new(),
        bytes => format!(" in {seconds:.1} s, {:.2} GB/s", bytes as f64 / 1e9 / seconds.max(1e-9)),
    };
    let blank = if report.notes.is_empty() && report.problems.is_empty() { "" } else { "\n" };
    text.push_str(&format!("{blank}{verdict}; {} read{rate}\n", size(log.bytes)));
    text
}

/// One dump, while it runs.
struct Dump {
    flags: DumpFlags,
    out: io::BufWriter<io::StdoutLock<'static>>,
    /// How many may still be printed.
    left: u64,
    /// Something could not be read.
    damaged: bool,
}

impl Dump {
    fn run(mut self) -> Result<bool, Failure> {
        self.left = self.flags.limit.unwrap_or(u64::MAX);
        let dir = self.flags.dir.clone();
        let mut store = OfflineStore::open(&DiskFiles, &dir, self.flags.live)?;
        match self.flags.what {
            What::Records => self.records(&mut store, false)?,
            What::State => self.records(&mut store, true)?,
            What::Queues => self.queues(&store)?,
            What::Index => self.index(&store)?,
            What::Files => self.files(&dir, 0)?,
        }
        self.out.flush().map_err(|_| Failure::Closed)?;
        Ok(!self.damaged)
    }

    fn records(&mut self, store: &mut OfflineStore<'_>, state: bool) -> Result<(), Failure> {
        let from = CommitLogOffset(self.flags.from.unwrap_or(0)).max(store.log.min());
        let mut at = from;
        while self.left > 0 {
            let Some(step) = store.log.step(&mut at) else { break };
            match step {
                Step::PassedOver { from: begin, to, reason } => {
                    // Whoever names an offset need not name the first byte of a record.
                    if begin != from || self.flags.from.is_none() {
                        let (file, offset) = store.log.place(begin);
                        let bytes = to.0 - begin.0;
                        self.damage(&format!("{}, byte {offset}: {reason}; {bytes} bytes passed over", file.display()));
                    }
                }
                Step::Record(message) => {
                    if self.flags.to.is_some_and(|to| message.commit_log_offset.0 >= to) {
                        break;
                    }
                    if !self.wants(&message) || (state && message.topic() != STATE_TOPIC) {
                        continue;
                    }
                    self.left -= 1;
                    if state { self.state_record(&message)? } else { self.record(&message)? }
                }
            }
        }
        Ok(())
    }

    fn wants(&self, message: &StoredMessage) -> bool {
        let flags = &self.flags;
        let stored = message.store_timestamp.0;
        let bears = |key: &String| message.unique_key() == Some(key) || message.keys().any(|word| word == key);
        flags.topic.as_ref().is_none_or(|topic| topic == message.topic())
            && flags.queue.is_none_or(|queue| queue == message.queue_id.0)
            && flags.key.as_ref().is_none_or(bears)
            && flags.since.is_none_or(|since| stored >= since)
            && flags.until.is_none_or(|until| stored < until)
    }

    fn record(&mut self, message: &StoredMessage) -> Result<(), Failure> {
        if self.flags.json {
            let properties: serde_json::Map<String, Value> =
                message.properties().map(|(name, value)| (name.to_string(), value.into())).collect();
            let mut value = json!({
                "commitLogOffset": message.commit_log_offset.0,
                "recordLen": message.record_len,
                "topic": message.topic(),
                "queueId": message.queue_id.0,
                "queueOffset": message.queue_offset.0,
                "storeTimestamp": message.store_timestamp.0,
                "bornTimestamp": message.born_timestamp.0,
                "storeHost": message.store_host.to_string(),
                "bornHost": message.born_host.to_string(),
                "sysFlag": message.sys_flag,
                "flag": message.flag,
                "reconsumeTimes": message.reconsume_times,
                "preparedTransactionOffset": message.prepared_transaction_offset,
                "bodyLen": message.body.len(),
                "properties": properties,
            });
            match (self.flags.body, std::str::from_utf8(&message.body)) {
                (Body::None, _) => {}
                (Body::Text, Ok(text)) => value["body"] = text.into(),
                (Body::Text | Body::Hex, _) => value["bodyHex"] = hex(&message.body).into(),
            }
            return self.line(&value.to_string());
        }
        let mut line = format!(
            "{:>12}  {}/{} @ {}  {}  {} bytes",
            message.commit_log_offset,
            plain(message.topic()),
            message.queue_id,
            message.queue_offset,
            time(message.store_timestamp.0),
            message.record_len
        );
        if let Some(tag) = message.tag() {
            line.push_str(&format!("  tag {}", plain(tag)));
        }
        for key in message.keys() {
            line.push_str(&format!("  key {}", plain(key)));
        }
        if let Some(id) = message.unique_key() {
            line.push_str(&format!("  id {}", plain(id)));
        }
        self.line(&line)?;
        match (self.flags.body, std::str::from_utf8(&message.body)) {
            (Body::None, _) => Ok(()),
            (Body::Text, Ok(text)) => text.lines().try_for_each(|text| self.line(&format!("    {}", plain(text)))),
            (Body::Text | Body::Hex, _) => {
                message.body.chunks(HEX_LINE_BYTES).try_for_each(|bytes| self.line(&format!("    {}", hex(bytes))))
            }
        }
    }

    fn state_record(&mut self, message: &StoredMessage) -> Result<(), Failure> {
        let at = message.commit_log_offset;
        let entries = match record::decode(&message.body) {
            Ok(entries) => entries,
            Err(error) => {
                self.damage(&format!("the state record at log offset {at}: {error}"));
                return Ok(());
            }
        };
        let synced = record::synced_stamp(&message.body).unwrap_or_default();
        if self.flags.json {
            let entries: Vec<String> = entries.iter().map(|entry| format!("{entry:?}")).collect();
            let value = json!({
                "commitLogOffset": at.0,
                "storeTimestamp": message.store_timestamp.0,
                "syncedOffset": synced.0,
                "entries": entries,
            });
            return self.line(&value.to_string());
        }
        entries.iter().try_for_each(|entry| {
            let stored = time(message.store_timestamp.0);
            self.line(&format!("{at:>12}  {stored}  synced {synced}  {}", plain(&format!("{entry:?}"))))
        })
    }

    fn queues(&mut self, store: &OfflineStore<'_>) -> Result<(), Failure> {
        let mut strangers = Vec::new();
        let dirs = queue_dirs(store.files, &store.dir, &mut strangers).map_err(failed(&store.dir))?;
        for dir in dirs {
            let named = self.flags.topic.as_ref().is_none_or(|topic| *topic == dir.topic);
            if !named || self.flags.queue.is_some_and(|queue| queue != dir.queue_id.0) || self.left == 0 {
                continue;
            }
            let (topic, queue_id) = (dir.topic.clone(), dir.queue_id.0);
            if self.flags.topic.is_none() {
                let ends = dir.ends(store.files).map_err(failed(&dir.dir))?;
                let (min, max) = ends.map_or((0, 0), |(min, max)| (min.0, max.0));
                let files = dir.files.len();
                self.left -= 1;
                self.value(
                    || json!({"topic": topic, "queueId": queue_id, "minOffset": min, "maxOffset": max, "files": files}),
                    || format!("{}/{queue_id}  offsets {min} to {max}  {}", plain(&topic), many(files as u64, "file")),
                )?;
                continue;
            }
            let mut outcome = Ok(());
            let (from, to) = (self.flags.from.unwrap_or(0), self.flags.to.unwrap_or(u64::MAX));
            let read = dir.each_entry(store.files, |at, entry| {
                let place = entry.commit_log_offset.0;
                if place < from || place >= to {
                    return true;
                }
                if self.left == 0 {
                    return false;
                }
                self.left -= 1;
                let (len, hash) = (entry.record_len, entry.tag_hash);
                outcome = self.value(
                    || {
                        json!({"topic": topic, "queueId": queue_id, "queueOffset": at.0, "commitLogOffset": place,
                            "recordLen": len, "tagHash": hash})
                    },
                    || format!("{}/{queue_id} @ {at}  log offset {place}  {len} bytes  tag hash {hash}", plain(&topic)),
                );
                outcome.is_ok()
            });
            read.map_err(failed(&dir.dir))?;
            outcome?;
        }
        Ok(())
    }

    fn index(&mut self, store: &OfflineStore<'_>) -> Result<(), Failure> {
        let key = match (&self.flags.topic, &self.flags.key) {
            (Some(topic), Some(key)) => Some(TopicHash::new(topic).key(key)),
            (None, None) => None,
            _ => {
                return Err(Failure::Usage("the index knows hashes of topic and key together: give --topic and --key"));
            }
        };
        let flags = &self.flags;
        let entries = flags.from.is_some() || flags.to.is_some() || flags.limit.is_some();
        let (from, to) = (flags.from.unwrap_or(0), flags.to.unwrap_or(u64::MAX));
        let mut refused = Vec::new();
        let files = index_files(store.files, &store.dir, IndexLayout::default(), |path, offset, reason| {
            refused.push(format!("{}, byte {offset}: {reason}", path.display()));
        });
        let files = files.map_err(failed(&store.dir))?;
        refused.iter().for_each(|reason| self.damage(reason));
        for mut file in files {
            let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let header = file.header;
            if key.is_none() && !entries {
                self.value(
                    || json!({"file": name, "header": header}),
                    || {
                        format!(
                            "{name}  {}  log offsets {} to {}  stored {} to {}  {} used slots",
                            counted(u64::from(header.count.saturating_sub(1)), "entry", "entries"),
                            header.begin_offset,
                            header.end_offset,
                            time(header.begin_ms),
                            time(header.end_ms),
                            header.used_slots
                        )
                    },
                )?;
                continue;
            }
            let path = file.path.clone();
            let numbers: Vec<u32> = match key {
                Some(key) => file.find(key).map_err(failed(&path))?.iter().map(|entry| entry.number).collect(),
                None => Vec::new(),
            };
            let all = if key.is_none() { 1..header.count } else { 0..0 };
            for number in numbers.into_iter().chain(all) {
                if self.left == 0 {
                    return Ok(());
                }
                let entry = file.entry(number).map_err(failed(&path))?;
                if entry.commit_log_offset < from || entry.commit_log_offset >= to {
                    continue;
                }
                self.left -= 1;
                self.value(
                    || json!({"file": name, "entry": entry}),
                    || {
                        format!(
                            "{name} # {number}  log offset {}  key hash {}  {} s after the first  before it # {}",
                            entry.commit_log_offset, entry.key_hash, entry.seconds, entry.previous
                        )
                    },
                )?;
            }
        }
        Ok(())
    }

    fn files(&mut self, dir: &Path, depth: usize) -> Result<(), Failure> {
        for listed in DiskFiles.read_dir(dir).map_err(failed(dir))? {
            let path = dir.join(&listed.name);
            if listed.is_dir && depth < DEPTH_MAX {
                self.files(&path, depth + 1)?;
            } else if !listed.is_dir && self.left > 0 {
                self.left -= 1;
                let inside = path.strip_prefix(&self.flags.dir).unwrap_or(&path).to_string_lossy().into_owned();
                let (len, what) = (listed.len, what_is(&inside));
                self.value(
                    || json!({"file": inside, "bytes": len, "is": what}),
                    || format!("{:>14}  {}  {what}", grouped(len), plain(&inside)),
                )?;
            }
        }
        Ok(())
    }

    fn value(&mut self, json: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let line = if self.flags.json { json().to_string() } else { text() };
        self.line(&line)
    }

    fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.out, "{line}").map_err(|_| Failure::Closed)
    }

    fn damage(&mut self, what: &str) {
        self.damaged = true;
        complain(what);
    }
}

/// What a file of a store is there for.
fn what_is(inside: &str) -> &'static str {
    match inside.split('/').next().unwrap_or_default() {
        "commitlog" => "commit log",
        "consumequeue" => "consume queue",
        "consumequeue_ext" => "consume queue extension",
        "batchconsumequeue" => "batch consume queue",
        "index" => "index",
        "config" => "configuration",
        "checkpoint" => "what was synced last",
        "abort" => "not stopped cleanly",
        "lock" => "lock",
        "timerwheel" | "timerlog" => "timers",
        "compaction" => "compaction",
        "gantry" if inside.starts_with("gantry/quarantine") => "put aside by a recovery",
        "gantry" => "Gantry's own",
        _ => "unknown",
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_path_buf();
    move |source| Failure::Io { path, source }
}

/// Text of others on a terminal: without what could move its cursor.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    text.chars().map(shown).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    let time = text.parse::<jiff::Timestamp>();
    time.map(|time| time.as_millisecond()).map_err(|_| "write it as 2026-11-21T14:00:00Z, or in milliseconds".into())
}

fn many(count: u64, one: &str) -> String {
    counted(count, one, &format!("{one}s"))
}

fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { more })
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// On stderr, unless it cannot be written: the exit code still tells.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "gantry: {}", plain(what));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_read_well() {
        assert_eq!([0u64, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([many(1, "file"), many(2_000, "file")], ["1 file", "2,000 files"]);
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(parse_time("2023-11-14T22:13:20.123Z"), Ok(1_700_000_000_123));
        assert_eq!(parse_time("1700000000123"), Ok(1_700_000_000_123));
        assert!(parse_time("yesterday").is_err());
        assert_eq!([size(9_999), size(12_345_678)], ["9999 B", "12.3 MB"]);
    }

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(plain("a\u{1b}[2J\tb"), "a\\u{1b}[2J\\tb");
    }
}
