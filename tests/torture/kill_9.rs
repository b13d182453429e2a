//! kill -9 at random moments and at failpoints, a third of them while the server recovers from the kill before.
//!
//! A life is one data directory that is killed again and again. After each start everything is read back and judged;
//! at the end of a life what is left is received and acked, then the server stops and its store is verified.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gantry_broker_core::store::failpoint::Point;
use harness::history::{
    Fault, Kind, Level, Line, MessageRead, Operation, Phase, QueueRead, ReadBack, Subject, hash_of,
};
use harness::{Home, Server, Starting};

use crate::clients::{BATCH_TOPIC, Callers, DELAY_TOPIC};
use crate::random::Random;
use crate::read_back::read_back;
use crate::report::{Control, Outcome, Plan, Progress, Rig, judge};
use crate::retention::{self, Rules};
use crate::store::{self, last_lines};

pub const RIG: Rig = Rig {
    name: "d2_d3_d10_l5_kill_9",
    fault: "kill -9 at random times and at failpoints, a third in recovery",
    slice: 300,
    full: 10_000,
    run,
};

/// Servers side by side: while one is read back, another one starts.
const LANES: u64 = 3;
/// A directory is left after so many kills: reading all of it back after each must stay cheap.
const LIFE_KILLS: u64 = 12;
/// What a server is given to do before it is killed.
const LOAD_MS: std::ops::Range<u64> = 2..70;
/// A server that has not come to its failpoint by then is killed.
const FAILPOINT_MS_MAX: u64 = 150;
/// Recovery is killed after so long, or comes to its end.
const RECOVERY_US_MAX: u64 = 25_000;
/// Comings to a failpoint before it kills.
const HITS_MAX: u64 = 12;
/// Some places are come to by the store's keeper alone, once in a second, or at a stop.
const KEEPER_MS: u64 = 1_500;
/// Some kills in recovery come too late to be one, and the last of all must not decide.
const RECOVERY_AHEAD: u64 = 12;
/// Starts come to a place less often.
const RECOVERY_HITS_MAX: u64 = 3;
/// One of so many lives has rules by which old messages go, so that kills meet deletion.
const RETAINING_EVERY: u64 = 3;
const SEGMENT_BYTES: [u64; 3] = [64 << 10, 256 << 10, 1 << 20];
/// A log that may have one segment has come to several by then.
const TAKEN_STARTS_MAX: usize = 100;
/// A delayed message has come by then, and one was given up.
const FIRED_STARTS_MAX: usize = 100;
/// After one of so many kills the store is verified before it is recovered.
const VERIFY_EVERY: u64 = 4;
/// Of so many kills one is none, but a clean stop: its start is another one.
const STOP_EVERY: u64 = 10;

/// What the lanes share.
pub struct Counts {
    in_recovery: AtomicU64,
    at_failpoints: AtomicU64,
    stops: AtomicU64,
    sends: AtomicU64,
    decided: AtomicU64,
    asked: AtomicU64,
    held: AtomicU64,
    verified: AtomicU64,
    /// Lives with a retention, and those of which it took messages.
    retaining: AtomicU64,
    taken_from: AtomicU64,
    violations: Mutex<Vec<String>>,
}

fn run(plan: &Plan, progress: &Progress) -> Outcome {
    let counts = Counts {
        in_recovery: AtomicU64::new(0),
        at_failpoints: AtomicU64::new(0),
        stops: AtomicU64::new(0),
        sends: AtomicU64::new(0),
        decided: AtomicU64::new(0),
        asked: AtomicU64::new(0),
        held: AtomicU64::new(0),
        verified: AtomicU64::new(0),
        retaining: AtomicU64::new(0),
        taken_from: AtomicU64::new(0),
        violations: Mutex::default(),
    };
    std::thread::scope(|lanes| {
        for lane in 0..LANES {
            let (counts, random) = (&counts, Random::new(plan.seed ^ (lane << 56)));
            lanes.spawn(move || runtime().block_on(lives(counts, progress, lane, random)));
        }
    });
    let violations = counts.violations.into_inner().expect("no lane panics holding it");
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (kills, in_recovery) = (progress.count(), of(&counts.in_recovery));
    let notes = vec![format!(
        "{in_recovery} of {kills} kills in recovery, {} at failpoints, {} clean stops between them; {} acknowledged sends \
         and {} decisions of transactions, {} questions about them, {} of them given up; {} stores verified; retention took messages in {} of its {} lives",
        of(&counts.at_failpoints),
        of(&counts.stops),
        of(&counts.sends),
        of(&counts.decided),
        of(&counts.asked),
        of(&counts.held),
        of(&counts.verified),
        of(&counts.taken_from),
        of(&counts.retaining),
    )];
    let controls = runtime().block_on(async {
        let mut controls = vec![altered().await, older_copy().await, taken_too_early().await];
        controls.extend(broken_delays_lanes_and_dead_letters().await);
        controls.extend(broken_transactions().await);
        controls
    });
    let has_all = [&counts.taken_from, &counts.decided, &counts.asked, &counts.held].into_iter().all(|n| of(n) > 0);
    let runs = if in_recovery * 3 >= kills && has_all { kills } else { 0 };
    Outcome { runs, violations, controls, notes, not_run: None }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn lives(counts: &Counts, progress: &Progress, lane: u64, mut random: Random) {
    let mut drains = tokio::task::JoinSet::new();
    let mut number = 0;
    while !progress.is_over() {
        number += 1;
        let name = format!("kill_9 lane {lane} life {number}");
        let mut life = match (lane + number) % RETAINING_EVERY {
            0 => Life::retaining(name, Rules::random(&mut random), &mut random),
            _ => Life::new(name, &mut random),
        };
        if let Err(violations) = life.kills(counts, progress, &mut random).await {
            counts.violations.lock().expect("no lane panics holding it").extend(violations);
            // More of it would be found by each life.
            if counts.violations.lock().expect("no lane panics holding it").len() > 100 {
                break;
            }
            continue;
        }
        // Waiting for leases costs nobody time: the next life goes on meanwhile.
        drains.spawn(life.end());
    }
    while let Some(ended) = drains.join_next().await {
        let Ending { violations, stored, decided, asked, held, retention } = ended.expect("no life panics");
        counts.sends.fetch_add(stored, Ordering::Relaxed);
        counts.decided.fetch_add(decided, Ordering::Relaxed);
        counts.asked.fetch_add(asked, Ordering::Relaxed);
        counts.held.fetch_add(held, Ordering::Relaxed);
        counts.retaining.fetch_add(u64::from(retention.is_some()), Ordering::Relaxed);
        counts.taken_from.fetch_add(u64::from(retention == Some(Took::Something)), Ordering::Relaxed);
        counts.verified.fetch_add(1, Ordering::Relaxed);
        counts.violations.lock().expect("no lane panics holding it").extend(violations);
    }
}

pub struct Life {
    name: String,
    home: Home,
    pub callers: Arc<Callers>,
    level: Level,
    retention: Option<Rules>,
    has_topics: bool,
}

/// What came of a life.
#[derive(Debug, Default)]
pub struct Ending {
    violations: Vec<String>,
    /// Acknowledged sends.
    stored: u64,
    /// Acknowledged decisions, questions about transactions, and transactions that were given up.
    decided: u64,
    asked: u64,
    held: u64,
    /// Of a life that had one.
    retention: Option<Took>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Took {
    Nothing,
    Something,
}

enum Begun {
    Ready(Server),
    /// It came to its failpoint before.
    Killed,
    Refused(String),
}

impl Life {
    pub fn new(name: String, random: &mut Random) -> Life {
        let home = Home::new();
        let segment_bytes = random.one_of(&SEGMENT_BYTES);
        let level = random.one_of(&[Level::Memory, Level::Memory, Level::Disk]);
        store::make(&home.data(), segment_bytes);
        let callers = Callers::new(level, store::body_bytes_max(segment_bytes));
        Life { name, home, callers, level, retention: None, has_topics: false }
    }

    /// A life whose old messages go.
    pub fn retaining(name: String, rules: Rules, random: &mut Random) -> Life {
        let home = Home::new();
        let level = random.one_of(&[Level::Memory, Level::Disk]);
        store::make(&home.data(), retention::SEGMENT_BYTES);
        let callers = Callers::with_retention(level, store::body_bytes_max(retention::SEGMENT_BYTES));
        Life { name, home, callers, level, retention: Some(rules), has_topics: false }
    }

    fn data(&self) -> PathBuf {
        self.home.data()
    }

    fn spawn(&self, failpoint: Option<(Point, u64)>) -> Starting {
        let mut command = store::command(&self.data());
        if let Some((point, hits)) = failpoint {
            command.env("GANTRY_FAILPOINT", format!("{}:{hits}", point.name()));
        }
        command.args(self.retention.iter().flat_map(|rules| rules.args()));
        Starting::spawn(command, &self.data(), &store::durability(self.level))
    }

    fn begin(&self, failpoint: Option<(Point, u64)>) -> Begun {
        match self.spawn(failpoint).ready() {
            Ok(server) => Begun::Ready(server),
            Err((status, _)) if failpoint.is_some() && was_killed(status) => Begun::Killed,
            Err((status, said)) => Begun::Refused(format!("{status}: {}", last_lines(&said))),
        }
    }

    /// Kills it until its time is over.
    async fn kills(&mut self, counts: &Counts, progress: &Progress, random: &mut Random) -> Result<(), Vec<String>> {
        let mut kills = 0;
        while kills < LIFE_KILLS && !progress.is_over() {
            if self.has_topics && counts.in_recovery.load(Ordering::Relaxed) * 3 < progress.count() + RECOVERY_AHEAD {
                kills += 1;
                progress.done(1);
                self.kill_in_recovery(counts, random)?;
                continue;
            }
            let failpoint =
                (self.has_topics && random.below(2) == 0).then(|| (self.point(random), 1 + random.below(HITS_MAX)));
            let server = match self.start(failpoint).await? {
                Some(server) => server,
                None => {
                    kills += 1;
                    progress.done(1);
                    counts.in_recovery.fetch_add(1, Ordering::Relaxed);
                    counts.at_failpoints.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            };
            if random.below(STOP_EVERY) == 0 && failpoint.is_none() {
                self.load_and_stop(server, random).await?;
                counts.stops.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            kills += 1;
            progress.done(1);
            let at_failpoint = self.load_and_kill(server, failpoint.is_some(), random).await?;
            counts.at_failpoints.fetch_add(u64::from(at_failpoint), Ordering::Relaxed);
            if random.below(VERIFY_EVERY) == 0 {
                store::verify(&self.data()).map_err(|said| vec![format!("{} killed: {said}", self.name)])?;
                counts.verified.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn point(&self, random: &mut Random) -> Point {
        match self.retention {
            Some(_) if random.below(2) == 0 => random.one_of(&retention::FAILPOINTS),
            _ => random.one_of(Point::ALL),
        }
    }

    fn kill_in_recovery(&self, counts: &Counts, random: &mut Random) -> Result<(), Vec<String>> {
        if random.below(2) == 0 {
            let starting = self.spawn(None);
            std::thread::sleep(Duration::from_micros(random.below(RECOVERY_US_MAX)));
            counts.in_recovery.fetch_add(u64::from(starting.kill_9()), Ordering::Relaxed);
            return Ok(());
        }
        match self.begin(Some((self.point(random), 1 + random.below(RECOVERY_HITS_MAX)))) {
            Begun::Killed => {
                counts.in_recovery.fetch_add(1, Ordering::Relaxed);
                counts.at_failpoints.fetch_add(1, Ordering::Relaxed);
            }
            // It never came there.
            Begun::Ready(server) => server.kill_9(),
            Begun::Refused(why) => return Err(vec![format!("{}: no start after a kill: {why}", self.name)]),
        }
        Ok(())
    }

    /// Starts it and judges what it holds. `None`: it was killed at a failpoint on the way.
    pub async fn start(&mut self, failpoint: Option<(Point, u64)>) -> Result<Option<Server>, Vec<String>> {
        let mut server = match self.begin(failpoint) {
            Begun::Ready(server) => server,
            Begun::Killed => return Ok(None),
            Begun::Refused(why) => return Err(vec![format!("{}: no start after a kill: {why}", self.name)]),
        };
        if !self.has_topics {
            self.callers.create_topics(&server.http).await;
            self.has_topics = true;
            return Ok(Some(server));
        }
        let read = match self.read_back(&server).await {
            Ok(read) => read,
            // It came to its failpoint meanwhile.
            Err(_) if failpoint.is_some() && gone(&mut server).await.is_some_and(was_killed) => return Ok(None),
            Err(why) => return Err(vec![format!("{}: nothing can be read back: {why}", self.name)]),
        };
        let violations = judge(&self.name, &self.callers.recorder.lines(), &read);
        if violations.is_empty() { Ok(Some(server)) } else { Err(violations) }
    }

    /// What it holds; and the history learns what may be missing.
    async fn read_back(&self, server: &Server) -> Result<ReadBack, String> {
        let read = read_back(&server.http).await?;
        if let Some(rules) = self.retention {
            rules.note(&self.callers.recorder, &server.http).await?;
        }
        Ok(read)
    }

    /// Lets callers at it and kills it in the middle. `true`: it killed itself, at its failpoint.
    pub async fn load_and_kill(
        &self,
        mut server: Server,
        has_failpoint: bool,
        random: &mut Random,
    ) -> Result<bool, Vec<String>> {
        let load = self.callers.start(&server.http, &server.grpc, random.next());
        let wait_ms =
            if has_failpoint { FAILPOINT_MS_MAX } else { LOAD_MS.start + random.below(LOAD_MS.end - LOAD_MS.start) };
        let ended = ends_within(&mut server, Duration::from_millis(wait_ms)).await;
        let at_failpoint = match ended {
            None => {
                server.kill_9();
                false
            }
            Some(status) if has_failpoint && was_killed(status) => true,
            Some(status) => {
                load.end().await;
                return Err(vec![format!(
                    "{}: it ended by itself: {status}: {}",
                    self.name,
                    last_lines(&server.log())
                )]);
            }
        };
        load.end().await;
        self.note_restart(Fault::Kill);
        Ok(at_failpoint)
    }

    /// Lets callers at it until it kills itself; `false`: it never does, and is killed.
    pub async fn load_until_killed(&self, mut server: Server, random: &mut Random) -> Result<bool, Vec<String>> {
        let load = self.callers.start(&server.http, &server.grpc, random.next());
        let ended = match ends_within(&mut server, Duration::from_millis(KEEPER_MS)).await {
            // Some places are on the way to a stop.
            None => Some(tokio::task::spawn_blocking(move || server.stop("-TERM")).await.expect("it ends")),
            ended => ended,
        };
        load.end().await;
        self.note_restart(Fault::Kill);
        match ended {
            Some(status) if was_killed(status) => Ok(true),
            Some(status) if status.success() => Ok(false),
            ended => Err(vec![format!("{}: it ended by itself: {ended:?}", self.name)]),
        }
    }

    async fn load_and_stop(&self, server: Server, random: &mut Random) -> Result<(), Vec<String>> {
        let load = self.callers.start(&server.http, &server.grpc, random.next());
        tokio::time::sleep(Duration::from_millis(random.below(LOAD_MS.end))).await;
        load.end().await;
        let said = server.log();
        let status = tokio::task::spawn_blocking(move || server.stop("-TERM")).await.expect("a stop does not panic");
        self.note_restart(Fault::Stop);
        match status.code() {
            Some(0) => Ok(()),
            _ => Err(vec![format!("{}: a stop ended with {status}: {}", self.name, last_lines(&said))]),
        }
    }

    fn note_restart(&self, fault: Fault) {
        let subject = Subject { fault: Some(fault), ..Subject::default() };
        self.callers.recorder.invoke("rig", Operation::Restart, subject);
    }

    /// Receives what is left, stops the server and verifies the store.
    pub async fn end(mut self) -> Ending {
        let failed = |violations| Ending { violations, ..Ending::default() };
        let server = match self.start(None).await {
            Ok(server) => server.expect("no failpoint"),
            Err(violations) => return failed(violations),
        };
        let stays_open = match self.callers.decide_all(&server.http).await {
            Ok(stays_open) => stays_open,
            Err(why) => return failed(vec![format!("{}: {why}", self.name)]),
        };
        self.callers.drain(&server.http).await;
        let read = match self.read_back(&server).await {
            // Every delay was over long before every lease.
            Ok(read) => ReadBack { due_until_ms: i64::MAX, ..read },
            Err(why) => return failed(vec![format!("{}: nothing can be read back: {why}", self.name)]),
        };
        let lines = self.callers.recorder.lines();
        let mut violations = judge(&format!("{} drained", self.name), &lines, &read);
        let never_delivered = self.callers.never_delivered(&read);
        let left = stays_open.into_iter().chain(never_delivered);
        violations.extend(left.map(|what| format!("{}: {what}", self.name)));
        let status = tokio::task::spawn_blocking(move || server.stop("-TERM")).await.expect("a stop does not panic");
        if status.code() != Some(0) {
            violations.push(format!("{}: the last stop ended with {status}", self.name));
        }
        violations.extend(store::verify(&self.data()).err().map(|said| format!("{}: {said}", self.name)));
        let took = if retention::took_something(&read) { Took::Something } else { Took::Nothing };
        let of = |is_it: fn(&Line) -> bool| lines.iter().filter(|line| is_it(line)).count() as u64;
        let stored = of(is_stored);
        let decided = of(|line| is_decision(line) && line.phase == Phase::Ok);
        let asked = of(|line| line.operation == Operation::Check && line.subject.key.is_some());
        let (held, retention) = (read.held.len() as u64, self.retention.map(|_| took));
        Ending { violations, stored, decided, asked, held, retention }
    }
}

pub fn is_stored(line: &Line) -> bool {
    line.operation == Operation::Send && line.phase == Phase::Ok
}

/// Waits for a process to end, so long at most.
pub async fn ends_within(server: &mut Server, at_most: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    loop {
        let ended = server.ended();
        if ended.is_some() || begun.elapsed() >= at_most {
            return ended;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A process that lost its connections is about to end.
async fn gone(server: &mut Server) -> Option<ExitStatus> {
    ends_within(server, Duration::from_secs(1)).await
}

pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

/// A small life with one kill, for the controls: what was told, and what is there.
async fn small_life(name: &str) -> (Life, Vec<Line>, ReadBack) {
    let mut random = Random::new(1);
    let mut life = Life::new(name.into(), &mut random);
    loop {
        let server = life.start(None).await.expect("a start").expect("no failpoint");
        life.load_and_kill(server, false, &mut random).await.expect("a kill");
        if life.callers.recorder.lines().iter().filter(|line| is_stored(line)).count() > 20 {
            break;
        }
    }
    let server = life.start(None).await.expect("a start").expect("no failpoint");
    let read = read_back(&server.http).await.expect("it can be read");
    server.kill_9();
    life.note_restart(Fault::Kill);
    let lines = life.callers.recorder.lines();
    (life, lines, read)
}

/// A message that was acknowledged with other bytes than are there.
async fn altered() -> Control {
    let (_life, mut lines, read) = small_life("control altered").await;
    assert!(harness::history::check(&lines, &read).is_empty(), "the control's own history is clean");
    let stored = lines.iter().find(|line| is_stored(line)).expect("a stored message").id;
    let sent = lines.iter_mut().find(|line| line.id == stored).expect("its invocation");
    sent.subject.body_hash = Some(hash_of(b"something else"));
    Control { name: "an altered message", found: !harness::history::check(&lines, &read).is_empty() }
}

/// The whole directory is one of a moment before: what a broker that forgets would look like.
async fn older_copy() -> Control {
    let (mut life, ..) = small_life("control older").await;
    let old = life.home.path().join("old");
    store::copy(&life.data(), &old);
    let mut random = Random::new(2);
    let before = life.callers.recorder.lines().len();
    while !life.callers.recorder.lines()[before..].iter().any(is_stored) {
        let server = life.start(None).await.expect("a start").expect("no failpoint");
        life.load_and_kill(server, false, &mut random).await.expect("a kill");
    }
    std::fs::remove_dir_all(life.data()).expect("the directory goes");
    std::fs::rename(&old, life.data()).expect("the old one takes its place");
    let server = store::serve(&life.data(), life.level).expect("a start");
    let read = read_back(&server.http).await.expect("it can be read");
    let found = harness::history::check(&life.callers.recorder.lines(), &read);
    Control { name: "an older directory", found: !found.is_empty() }
}

/// A life of its own kinds of messages, made to look like that of a broker that keeps none of its promises about them.
async fn broken_delays_lanes_and_dead_letters() -> Vec<Control> {
    let mut random = Random::new(4);
    let mut life = Life::new("control delays, lanes and dead letters".into(), &mut random);
    let mut read = ReadBack::default();
    for _ in 0..FIRED_STARTS_MAX {
        let server = life.start(None).await.expect("a start").expect("no failpoint");
        read = life.read_back(&server).await.expect("it can be read");
        if fired(&read).is_some() && read.dead_letters.values().any(|letters| !letters.is_empty()) {
            server.kill_9();
            break;
        }
        life.load_and_kill(server, true, &mut random).await.expect("a kill");
    }
    let lines = life.callers.recorder.lines();
    assert_eq!(harness::history::check(&lines, &read), [], "the control's own history is clean");
    let control = |name, kind: Kind, lines: &[Line], read: &ReadBack| {
        let found = harness::history::check(lines, read);
        Control { name, found: found.iter().any(|violation| violation.kind == kind) }
    };
    let Some(queue) = fired(&read) else { return vec![Control { name: "a delayed message comes", found: false }] };
    let mut twice = read.clone();
    let messages = &mut twice.queues[queue].messages;
    messages.push(MessageRead { queue_offset: messages.len() as u64, ..messages[0].clone() });
    let mut lost = ReadBack { due_until_ms: i64::MAX, ..read.clone() };
    lost.queues[queue].messages.clear();
    let mut letters = read.clone();
    letters.dead_letters.values_mut().for_each(|letters| drop(letters.pop()));
    let is_settle = |line: &&Line| matches!(line.operation, Operation::Ack | Operation::DeadLetter);
    let never_settled: Vec<Line> = lines.iter().filter(|line| !is_settle(line)).cloned().collect();
    let no_letters = ReadBack { dead_letters: Default::default(), ..read.clone() };
    vec![
        control("a delayed message that fired twice", Kind::FiredTwice, &lines, &twice),
        control("a delayed message that never fired", Kind::TimerLost, &lines, &lost),
        control("a dead letter that is gone", Kind::DeadLetterLost, &lines, &letters),
        control("a lane out of order", Kind::LaneDisorder, &never_settled, &no_letters),
    ]
}

/// A life with transactions, made to look like that of a broker that keeps none of its promises about them.
async fn broken_transactions() -> Vec<Control> {
    let mut random = Random::new(5);
    let mut life = Life::new("control transactions".into(), &mut random);
    let mut read = ReadBack::default();
    let mut lines = Vec::new();
    let decided = |lines: &[Line], operation: Operation| -> BTreeSet<String> {
        let of_operation = lines.iter().filter(|line| line.operation == operation);
        let answered: BTreeSet<u64> =
            of_operation.clone().filter(|line| line.phase == Phase::Ok).map(|line| line.id).collect();
        let asked = of_operation.filter(|line| line.phase == Phase::Invoke && answered.contains(&line.id));
        asked.filter_map(|line| line.subject.key.clone()).collect()
    };
    for _ in 0..FIRED_STARTS_MAX {
        let server = life.start(None).await.expect("a start").expect("no failpoint");
        read = life.read_back(&server).await.expect("it can be read");
        lines = life.callers.recorder.lines();
        if [Operation::Commit, Operation::RollBack].iter().all(|operation| !decided(&lines, *operation).is_empty()) {
            server.kill_9();
            break;
        }
        life.load_and_kill(server, true, &mut random).await.expect("a kill");
    }
    assert_eq!(harness::history::check(&lines, &read), [], "the control's own history is clean");
    let control = |name, kind: Kind, lines: &[Line], read: &ReadBack| {
        let found = harness::history::check(lines, read);
        Control { name, found: found.iter().any(|violation| violation.kind == kind) }
    };
    let committed = decided(&lines, Operation::Commit);
    let mut without = read.clone();
    let is_committed = |message: &MessageRead| committed.contains(&message.key);
    without.queues.iter_mut().for_each(|queue| queue.messages.retain(|message| !is_committed(message)));
    let open = ReadBack { open: committed.into_iter().collect(), ..without.clone() };
    let without_commits: Vec<Line> = lines.iter().filter(|line| line.operation != Operation::Commit).cloned().collect();
    let undecided: Vec<Line> = lines.iter().filter(|line| !is_decision(line)).cloned().collect();
    let turned = |line: &Line| {
        let id = line.id + lines.len() as u64;
        Line { id, operation: Operation::RollBack, ..line.clone() }
    };
    let commits = lines.iter().filter(|line| line.operation == Operation::Commit);
    let twice: Vec<Line> = lines.iter().cloned().chain(commits.map(turned)).collect();
    vec![
        control("a commit that is lost", Kind::CommitLost, &lines, &without),
        control("a commit that is forgotten", Kind::DecisionLost, &lines, &open),
        control("a half message that is seen", Kind::UncommittedSeen, &without_commits, &read),
        control("a transaction that is lost", Kind::TransactionLost, &undecided, &without),
        control("a transaction decided twice", Kind::DecidedTwice, &twice, &read),
    ]
}

fn is_decision(line: &Line) -> bool {
    matches!(line.operation, Operation::Commit | Operation::RollBack)
}

/// A queue to which a delayed message has come.
fn fired(read: &ReadBack) -> Option<usize> {
    read.queues.iter().position(|queue| queue.topic == DELAY_TOPIC && !queue.messages.is_empty())
}

/// A message that has gone by the rules, but lay, as its sender was told, where none of them allowed that yet.
async fn taken_too_early() -> Control {
    let name = "a message taken before its time";
    let mut random = Random::new(3);
    let rules = Rules::Longest { bytes: retention::SEGMENT_BYTES };
    let mut life = Life::retaining("control taken too early".into(), rules, &mut random);
    for _ in 0..TAKEN_STARTS_MAX {
        let server = life.start(None).await.expect("a start").expect("no failpoint");
        let read = life.read_back(&server).await.expect("it can be read");
        let mut lines = life.callers.recorder.lines();
        let is_taken = |line: &&Line| {
            let Subject { queue, queue_offset, .. } = line.subject;
            let of = |read: &&QueueRead| read.topic == BATCH_TOPIC && Some(read.queue) == queue;
            let min = read.queues.iter().find(of).map_or(0, |read| read.min_offset);
            is_stored(line) && line.subject.batch.is_some() && queue_offset.is_some_and(|offset| offset < min)
        };
        if let Some(taken) = lines.iter().position(|line| is_taken(&line)) {
            assert_eq!(harness::history::check(&lines, &read), [], "the control's own history is clean");
            lines[taken].subject.log_offset = Some(u64::MAX);
            let found = harness::history::check(&lines, &read);
            return Control { name, found: found.iter().any(|violation| violation.kind == Kind::TakenTooEarly) };
        }
        life.load_and_kill(server, false, &mut random).await.expect("a kill");
    }
    Control { name, found: false }
}
