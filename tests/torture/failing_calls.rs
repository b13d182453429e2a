//! System calls of the real process that fail, are interrupted or take two seconds, from a random one on: strace answers
//! them in the kernel's place.
//!
//! Whatever fails, the process is not killed by a signal and does not panic, and what it acknowledged is there after a
//! start without faults. After a failed sync of the log nothing more is acknowledged and the process ends with code 4
//! (D4). Control: strace's own record shows each fault to have happened, for each call.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::history::{Fault as Restart, Level, Line, Operation, Phase, Subject};
use harness::{Home, Server, Starting};

use crate::clients::Callers;
use crate::kill_9::{ends_within, runtime};
use crate::random::Random;
use crate::read_back::read_back;
use crate::report::{Control, Outcome, Plan, Progress, Rig, judge};
use crate::store::{self, last_lines};

pub const RIG: Rig = Rig {
    name: "d4_d5_failing_calls",
    fault: "calls that fail with EIO, ENOSPC, EINTR or take 2 s",
    slice: 160,
    full: 1_600,
    run,
};

/// Most of a run is waiting.
const LANES: u64 = 6;
/// How long callers work on a server whose calls fail.
const LOAD_MS: u64 = 200;
/// After one of so many runs the server is stopped and its store verified.
const VERIFY_EVERY: u64 = 4;
/// A delay has begun by then, and must be over.
const DELAYED_LOAD_MS: u64 = 2_400;
/// A server whose log cannot be synced ends within a second (D4). Several run side by side here, each slowed down by its
/// tracer, on a machine that builds besides: five times as long is for that.
const END_MS_MAX: u64 = 5_000;
/// When it is given up.
const END_MAX: Duration = Duration::from_secs(20);
/// Between a call's return and the moment from which a new request is refused lie a few instructions and a wakeup.
const NOTICED_US: u64 = 100_000;
const SEGMENT_BYTES: u64 = 64 << 10;
/// The process's own code for storage that failed.
const STORAGE_FAILED: i32 = 4;

/// A kind of call, as strace names it.
struct Call {
    name: &'static str,
    calls: &'static str,
    /// A thread that does no start comes to so many of them under load.
    under_load: u64,
}

/// What the store uses. It maps segments and syncs what was appended with msync, which nothing else does; the sync of the
/// log has two turns, early and late. Other files are synced with fdatasync, as new segments are.
const CALLS: &[Call] = &[
    Call { name: "msync", calls: "msync", under_load: 20 },
    Call { name: "fsync", calls: "fsync", under_load: 4 },
    Call { name: "ftruncate", calls: "ftruncate", under_load: 2 },
    Call { name: "open", calls: "openat,open", under_load: 6 },
    Call { name: "msync", calls: "msync", under_load: 100 },
    Call { name: "rename", calls: "rename,renameat,renameat2", under_load: 0 },
    Call { name: "write", calls: "pwrite64", under_load: 20 },
    Call { name: "fallocate", calls: "fallocate", under_load: 6 },
    Call { name: "fdatasync", calls: "fdatasync", under_load: 10 },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Failure {
    Eio,
    Enospc,
    Eintr,
    Delay,
}

const FAILURES: [Failure; 4] = [Failure::Eio, Failure::Enospc, Failure::Eintr, Failure::Delay];

/// One call that strace saw.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    thread: u64,
    /// Microseconds since 1970, when it returned.
    at_us: u64,
    call: String,
    text: String,
    injected: bool,
}

#[derive(Default)]
struct Tally {
    /// Pairs of call and failure that happened.
    injected: BTreeSet<(&'static str, Failure)>,
    runs_injected: u64,
    refused_starts: u64,
    failed_syncs: u64,
    /// From a failed sync to the end that a server comes to by itself.
    ends_ms: Vec<u64>,
    /// The record of one that did.
    ended: Option<Vec<Seen>>,
    acks_after: u64,
    violations: Vec<String>,
    /// The history of a run whose log could not be synced, and when.
    failed: Option<(Vec<Line>, u64)>,
}

fn run(plan: &Plan, progress: &Progress) -> Outcome {
    if !can_trace() {
        return Outcome { not_run: Some("strace is missing or may not trace"), ..Outcome::default() };
    }
    let starts: Vec<(u64, u64)> = match runtime().block_on(calls_of_a_start()) {
        Ok(starts) => starts,
        Err(why) => return Outcome { violations: vec![why], ..Outcome::default() },
    };
    let tally = Mutex::new(Tally::default());
    let next = AtomicU64::new(0);
    std::thread::scope(|lanes| {
        for _ in 0..LANES {
            lanes.spawn(|| {
                let runtime = runtime();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= 2 * progress.wanted {
                        break;
                    }
                    let which = number as usize % CALLS.len();
                    let failure = FAILURES[number as usize / CALLS.len() % FAILURES.len()];
                    // Chance may have left a pair out, and that alone is tried on.
                    let pair = (CALLS[which].name, failure);
                    let has_happened = || tally.lock().expect("no lane panics holding it").injected.contains(&pair);
                    if number >= progress.wanted && has_happened() {
                        continue;
                    }
                    let mut random = Random::new(plan.seed.wrapping_add(number));
                    let name = format!("failing calls {number} {} {failure:?}", CALLS[which].name);
                    runtime.block_on(one(&name, &CALLS[which], starts[which], failure, &mut random, &tally));
                    progress.done(1);
                }
            });
        }
    });
    let tally = tally.into_inner().expect("no lane panics holding it");
    let names: BTreeSet<&str> = CALLS.iter().map(|call| call.name).collect();
    let pairs = names.len() * FAILURES.len();
    let slowest_ms = tally.ends_ms.iter().copied().max().unwrap_or_default();
    let notes = vec![format!(
        "in {} of {} runs calls failed, {} of {pairs} pairs of call and failure happened; {} starts were refused; {} \
             syncs of the log failed, and {} servers ended by themselves, {} ms later at most",
        tally.runs_injected,
        progress.count(),
        tally.injected.len(),
        tally.refused_starts,
        tally.failed_syncs,
        tally.ends_ms.len(),
        slowest_ms
    )];
    let late_end = tally.ended.as_ref().is_some_and(|seen| late_end_is_seen(seen));
    let planted = tally.failed.as_ref().is_some_and(|(lines, at)| planted_ack_is_seen(lines, *at));
    let controls = vec![
        Control { name: "each failure of each call, in strace's record", found: tally.injected.len() == pairs },
        Control { name: "an ack after a failed sync", found: planted },
        Control { name: "an end that comes too late", found: late_end },
    ];
    Outcome { runs: progress.count(), violations: tally.violations, controls, notes, not_run: None }
}

fn can_trace() -> bool {
    let tried = Command::new("strace").args(["-f", "-o", "/dev/null", "--seccomp-bpf", "true"]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// `-D`: the server is our own child, and strace its tracer on the side, which ends with it.
fn traced(data: &Path, record: &Path, calls: &str, inject: Option<&str>) -> Command {
    let plain = store::command(data);
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "--seccomp-bpf", "-q", "-ttt", "-T", "-y", "-e", "signal=none", "-o"]).arg(record);
    traced.args(["-e", &format!("trace={calls}")]);
    if let Some(inject) = inject {
        traced.args(["-e", &format!("inject={calls}:{inject}")]);
    }
    traced.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    traced.current_dir(plain.get_current_dir().expect("the harness says where"));
    traced
}

/// How many of each call a start's own thread does: before the first that concerns the data, and from then on.
async fn calls_of_a_start() -> Result<Vec<(u64, u64)>, String> {
    let home = Home::new();
    prepare(&home.data(), &Callers::new(Level::Disk, store::body_bytes_max(SEGMENT_BYTES)), 0).await?;
    let record = home.path().join("strace");
    let all: BTreeSet<&str> = CALLS.iter().map(|call| call.calls).collect();
    let all: Vec<&str> = all.into_iter().collect();
    let traced = traced(&home.data(), &record, &all.join(","), None);
    let server = Starting::spawn(traced, &home.data(), &[]).ready();
    let server = server.map_err(|(status, said)| format!("no start under strace: {status}: {said}"))?;
    let main = u64::from(server.id());
    server.kill_9();
    let seen = read_record(&record).await;
    let data = home.data().display().to_string();
    let count = |call: &Call| {
        let is_one = |seen: &&Seen| seen.thread == main && call.calls.split(',').any(|name| name == seen.call);
        let seen: Vec<&Seen> = seen.iter().filter(is_one).collect();
        let before = seen.iter().position(|seen| seen.text.contains(&data)).unwrap_or(seen.len());
        (before as u64, (seen.len() - before) as u64)
    };
    Ok(CALLS.iter().map(count).collect())
}

/// Something to recover: a server that was killed under load.
async fn prepare(data: &Path, callers: &std::sync::Arc<Callers>, seed: u64) -> Result<(), String> {
    store::make(data, SEGMENT_BYTES);
    let server = store::serve(data, Level::Disk).map_err(|why| format!("no start: {why}"))?;
    callers.create_topics(&server.http).await;
    let load = callers.start(&server.http, &server.grpc, seed);
    tokio::time::sleep(Duration::from_millis(20)).await;
    server.kill_9();
    load.end().await;
    note_kill(callers);
    Ok(())
}

fn note_kill(callers: &Callers) {
    let subject = Subject { fault: Some(Restart::Kill), ..Subject::default() };
    callers.recorder.invoke("rig", Operation::Restart, subject);
}

async fn one(
    name: &str,
    call: &'static Call,
    (before, at_start): (u64, u64),
    failure: Failure,
    random: &mut Random,
    tally: &Mutex<Tally>,
) {
    let level = random.one_of(&[Level::Disk, Level::Disk, Level::Disk, Level::Memory]);
    let home = Home::new();
    let callers = Callers::new(level, store::body_bytes_max(SEGMENT_BYTES));
    let complain = |what: String| {
        tally.lock().expect("no lane panics holding it").violations.push(format!("{name}: {what}"));
    };
    if let Err(why) = prepare(&home.data(), &callers, random.next()).await {
        return complain(why);
    }
    let in_start = at_start > 0 && (call.under_load == 0 || random.below(2) == 0);
    let nth = before + 1 + if in_start { random.below(at_start) } else { at_start + random.below(call.under_load) };
    // Each thread's first: also of the one that prepares segments, on which a start once waited in vain.
    let stands_still = call.name == "fallocate" && failure == Failure::Delay;
    let nth = if stands_still { before + 1 } else { nth };
    let for_ever = random.below(2) == 0;
    let inject = match failure {
        Failure::Eio => format!("error=EIO:when={nth}{}", if for_ever { "+" } else { "" }),
        Failure::Enospc if for_ever => format!("error=ENOSPC:when={nth}+"),
        Failure::Enospc => format!("error=ENOSPC:when={nth}..{}", nth + 4),
        Failure::Eintr => format!("error=EINTR:when={nth}..{}", nth + 3),
        Failure::Delay => format!("delay_enter=2000000:when={nth}"),
    };
    let name = format!("{name} {inject} {level:?}");
    let complain = |what: String| {
        tally.lock().expect("no lane panics holding it").violations.push(format!("{name}: {what}"));
    };
    let record = home.path().join("strace");
    let traced = traced(&home.data(), &record, call.calls, Some(&inject));
    let marks = callers.recorder.lines().len();
    let ended = match Starting::spawn(traced, &home.data(), &store::durability(level)).ready() {
        Err((status, said)) => {
            tally.lock().expect("no lane panics holding it").refused_starts += 1;
            if failure == Failure::Delay || failure == Failure::Eintr {
                complain(format!("no start: {status}: {}", last_lines(&said)));
            }
            Ended::NotStarted(status, said)
        }
        Ok(server) => under_load(server, failure, &callers, &record, random).await,
    };
    note_kill(&callers);
    let seen = read_record(&record).await;
    let injected: Vec<&Seen> = seen.iter().filter(|seen| seen.injected).collect();
    if !injected.is_empty() {
        let mut tally = tally.lock().expect("no lane panics holding it");
        tally.injected.insert((call.name, failure));
        tally.runs_injected += 1;
    }
    if let Ended::NotStarted(status, said) | Ended::ByItself(status, said) | Ended::Stopped(status, said) = &ended {
        if status.signal().is_some() {
            complain(format!("it died of a signal: {status}: {}", last_lines(said)));
        }
        if said.contains("panicked at") {
            let at = said.lines().skip_while(|line| !line.contains("panicked at")).take(2).collect::<Vec<_>>();
            complain(format!("it panicked: {status}: {}", at.join(" / ")));
        }
    }
    let failed_sync = seen.iter().find(|seen| seen.is_failed_sync_of_the_log()).map(|seen| seen.at_us);
    match (&ended, failed_sync) {
        (Ended::ByItself(status, said), Some(_)) if status.code() != Some(STORAGE_FAILED) => {
            complain(format!("a sync of the log failed and it ended with {status}: {}", last_lines(said)));
        }
        (Ended::LivedOn(said), _) => {
            let what = format!("a sync of the log failed, and it was alive {} s later", END_MAX.as_secs());
            complain(format!("{what}: {}", last_lines(said)));
        }
        (Ended::ByItself(status, said), None) => {
            let why = "no sync of the log had failed";
            complain(format!("it ended by itself with {status}, though {why}: {}", last_lines(said)));
        }
        (Ended::Stopped(status, said), Some(_)) if status.success() => {
            complain(format!("a sync of the log failed and it ended well: {}", last_lines(said)));
        }
        _ => {}
    }
    if let Some(failed_at) = failed_sync {
        let lines = callers.recorder.lines();
        let after = acks_after(&lines, callers.began_us(), failed_at);
        let mut tally = tally.lock().expect("no lane panics holding it");
        tally.failed_syncs += 1;
        // A stop has things of its own to wait for, a kill is ours, and a start that is refused is no service that ends.
        // Nothing else is injected in such a run: a delay is a run of its own.
        if matches!(ended, Ended::ByItself(..)) {
            let took_ms = end_ms(&seen).unwrap_or_default();
            tally.ends_ms.push(took_ms);
            tally.ended.get_or_insert_with(|| seen.clone());
            if is_late(took_ms) {
                tally.violations.push(format!("{name}: it ended {took_ms} ms after a failed sync"));
            }
        }
        tally.acks_after += after.len() as u64;
        tally.violations.extend(after.iter().map(|line| format!("{name}: acknowledged after a failed sync: {line:?}")));
        if tally.failed.is_none() && lines[marks..].iter().any(is_ack) {
            tally.failed = Some((lines, failed_at.saturating_sub(callers.began_us())));
        }
    }
    // Without faults everything is there.
    let server = match store::serve(&home.data(), level) {
        Ok(server) => server,
        Err(why) => return complain(format!("no start afterwards: {why}")),
    };
    match read_back(&server.http).await {
        Ok(read) => {
            let found = judge(&name, &callers.recorder.lines(), &read);
            tally.lock().expect("no lane panics holding it").violations.extend(found);
        }
        Err(why) => complain(format!("nothing can be read back: {why}")),
    }
    if random.below(VERIFY_EVERY) != 0 {
        return server.kill_9();
    }
    let status = tokio::task::spawn_blocking(move || server.stop("-TERM")).await.expect("a stop does not panic");
    if status.code() != Some(0) {
        complain(format!("the stop afterwards ended with {status}"));
    }
    if let Err(said) = store::verify(&home.data()) {
        complain(said);
    }
}

/// How long after the first failed sync of the log the last call was made.
fn end_ms(seen: &[Seen]) -> Option<u64> {
    let failed_at = seen.iter().find(|seen| seen.is_failed_sync_of_the_log())?.at_us;
    seen.iter().map(|seen| seen.at_us).max().map(|ended_at| (ended_at - failed_at) / 1_000)
}

fn is_late(ended_after_ms: u64) -> bool {
    ended_after_ms >= END_MS_MAX
}

enum Ended {
    /// With what it said, as the next two.
    NotStarted(ExitStatus, String),
    ByItself(ExitStatus, String),
    Stopped(ExitStatus, String),
    /// It had to be killed, long after a failed sync.
    LivedOn(String),
    /// Before a failed sync, or at the same moment.
    Killed,
}

async fn under_load(
    mut server: Server,
    failure: Failure,
    callers: &std::sync::Arc<Callers>,
    record: &Path,
    random: &mut Random,
) -> Ended {
    let load = callers.start(&server.http, &server.grpc, random.next());
    let load_ms = if failure == Failure::Delay { DELAYED_LOAD_MS } else { LOAD_MS };
    let mut ended = ends_within(&mut server, Duration::from_millis(load_ms)).await;
    if ended.is_none() && parse_all(record).iter().any(Seen::is_failed_sync_of_the_log) {
        ended = ends_within(&mut server, END_MAX).await;
        if ended.is_none() {
            let said = server.log();
            server.kill_9();
            load.end().await;
            return Ended::LivedOn(said);
        }
    }
    if let Some(status) = ended {
        load.end().await;
        return Ended::ByItself(status, server.log());
    }
    // What fails for ever may fail a clean stop too: half are killed.
    if random.below(2) == 0 {
        server.kill_9();
        load.end().await;
        return Ended::Killed;
    }
    load.end().await;
    let log = server.log_path().to_path_buf();
    let status = tokio::task::spawn_blocking(move || server.stop("-TERM")).await.expect("a stop does not panic");
    Ended::Stopped(status, std::fs::read_to_string(log).unwrap_or_default())
}

/// Waits for strace to have written the last line, and reads all of them.
async fn read_record(path: &Path) -> Vec<Seen> {
    let mut text = String::new();
    for _ in 0..1_000 {
        text = std::fs::read_to_string(path).unwrap_or_default();
        if text.lines().last().is_some_and(|line| line.contains("+++ exited") || line.contains("+++ killed")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    text.lines().filter_map(parse).collect()
}

fn parse_all(path: &Path) -> Vec<Seen> {
    std::fs::read_to_string(path).unwrap_or_default().lines().filter_map(parse).collect()
}

impl Seen {
    /// Of what was appended, of a segment or of their directory. An interrupted one is done again.
    fn is_failed_sync_of_the_log(&self) -> bool {
        let failed = self.text.contains("= -1 EIO") || self.text.contains("= -1 ENOSPC");
        // strace does not know which file an address belongs to; nothing but the log is synced by address.
        failed && (self.call == "msync" || self.call.ends_with("sync") && self.text.contains("/commitlog"))
    }
}

/// `4711  1795269033.511603 openat(…) = -1 EIO (Input/output error) (INJECTED) <0.000015>`
fn parse(line: &str) -> Option<Seen> {
    let (thread, rest) = line.split_once(' ')?;
    let (time, rest) = rest.trim_start().split_once(' ')?;
    let (seconds, micros) = time.split_once('.')?;
    let began_us = seconds.parse::<u64>().ok()? * 1_000_000 + micros.parse::<u64>().ok()?;
    let took = rest.rsplit_once('<').and_then(|(_, took)| took.strip_suffix('>')?.parse::<f64>().ok());
    let rest = rest.strip_prefix("<... ").unwrap_or(rest);
    let call: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    Some(Seen {
        thread: thread.parse().ok()?,
        at_us: began_us + (took.unwrap_or(0.0) * 1e6) as u64,
        call,
        text: rest.to_string(),
        injected: rest.contains("(INJECTED)") || rest.contains("(DELAYED)"),
    })
}

/// Requests that began after the log's sync had failed and were acknowledged.
fn acks_after(lines: &[Line], began_us: u64, failed_at_us: u64) -> Vec<Line> {
    let late = failed_at_us.saturating_sub(began_us) + NOTICED_US;
    acks_after_moment(lines, late)
}

fn acks_after_moment(lines: &[Line], late: u64) -> Vec<Line> {
    let asked_late: BTreeSet<u64> =
        lines.iter().filter(|line| line.phase == Phase::Invoke && line.at > late).map(|line| line.id).collect();
    // What comes after the next restart is another server's.
    let restart = lines.iter().find(|line| line.operation == Operation::Restart && line.at > late).map(|line| line.at);
    let before = |line: &&Line| restart.is_none_or(|restart| line.at < restart);
    lines.iter().filter(|line| is_ack(line) && asked_late.contains(&line.id)).filter(before).cloned().collect()
}

fn is_ack(line: &Line) -> bool {
    use Operation::{Ack, Commit, CreateTopic, DeleteTopic, RollBack, Send};
    let acks = [Send, Ack, Commit, RollBack, CreateTopic, DeleteTopic];
    line.phase == Phase::Ok && acks.contains(&line.operation)
}

/// The record of a real end is in time; with its last call made later by as much as is allowed it is not.
fn late_end_is_seen(seen: &[Seen]) -> bool {
    let mut late = seen.to_vec();
    if let Some(last) = late.iter_mut().max_by_key(|seen| seen.at_us) {
        last.at_us += END_MS_MAX * 1_000;
    }
    end_ms(seen).is_some_and(|ms| !is_late(ms)) && end_ms(&late).is_some_and(is_late)
}

/// The last ack of such a history, moved behind the failure.
fn planted_ack_is_seen(lines: &[Line], failed_at: u64) -> bool {
    let late = failed_at + NOTICED_US;
    let mut lines: Vec<Line> = lines.iter().filter(|line| line.operation != Operation::Restart).cloned().collect();
    let Some(acked) = lines.iter().rev().find(|line| is_ack(line)).map(|line| line.id) else { return false };
    let clean = acks_after_moment(&lines, late).is_empty();
    for line in lines.iter_mut().filter(|line| line.id == acked) {
        line.at += late + 1;
    }
    clean && !acks_after_moment(&lines, late).is_empty()
}
