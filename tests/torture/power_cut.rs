//! Power cuts: the server writes to an ext4 image that lies on an XFS image with reflinks. A clone of the inner image,
//! taken in one moment in the middle of writes, is the disk after a cut at that moment (T8).
//!
//! Every clone is mounted, recovered from and judged by what was acknowledged before the clone began. Control: at
//! `memory` nothing is synced before its ack, and the same cuts must lose.
//!
//! What the file system has handed to its device is on the disk here: a clone sees the device's cache too, so no flush of
//! that cache is waited for. The simulated crash states know caches that lose.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harness::history::{Fault, Level, Line, Operation, Phase, Subject};
use harness::{Server, Starting};

use crate::clients::Callers;
use crate::kill_9::{is_stored, runtime};
use crate::random::Random;
use crate::read_back::read_back;
use crate::report::{Control, Outcome, Plan, Progress, Rig, judge};
use crate::store;

pub const RIG: Rig = Rig {
    name: "d2_d6_power_cut",
    fault: "power cuts: clones of an ext4 image on XFS, taken in mid-write",
    slice: 100,
    full: 2_000,
    run,
};

const LANES: u64 = 2;
/// Of a rig's directory, before its process id.
const PREFIX: &str = "power-cut-";
const OUTER_BYTES: u64 = 2 << 30;
const INNER_BYTES: u64 = 512 << 20;
const SEGMENT_BYTES: [u64; 2] = [64 << 10, 1 << 20];
/// Cuts of a server under load, before one in its recovery.
const CUTS_UNDER_LOAD: u64 = 4;
/// So long callers work before the next cut, at most.
const LOAD_MS_MAX: u64 = 120;
/// A recovery is cut after so long, or after its end.
const RECOVERY_US_MAX: u64 = 25_000;
/// A directory is left after so many cuts: reading all of it back after each must stay cheap.
const LIFE_CUTS: u64 = 15;
/// More cuts than a broker that forgets can survive unseen.
const CONTROL_CUTS_MAX: u64 = 20;

#[derive(Default)]
struct Tally {
    violations: Vec<String>,
    sends: u64,
    verified: u64,
    in_recovery: u64,
}

fn run(plan: &Plan, progress: &Progress) -> Outcome {
    clear_left_over();
    if let Err(why) = Disk::make("probe") {
        println!("  not run: {}", why.said);
        return Outcome { not_run: Some(why.reason), ..Outcome::default() };
    }
    let tally = Mutex::new(Tally::default());
    let lanes_done = AtomicU64::new(0);
    let control = Mutex::new(None);
    std::thread::scope(|lanes| {
        for lane in 0..LANES {
            let (tally, lanes_done, control) = (&tally, &lanes_done, &control);
            let mut random = Random::new(plan.seed ^ (lane << 48));
            lanes.spawn(move || {
                let disk = Disk::make(&format!("lane-{lane}")).expect("it could be made a moment ago");
                while !progress.is_over() && tally.lock().expect("nobody panics").violations.len() < 20 {
                    let level = Level::Disk;
                    let mut life = Life::new(&disk, level, format!("power cut lane {lane}"), &mut random);
                    if let Err(found) = runtime().block_on(life.cuts(progress, tally, &mut random)) {
                        tally.lock().expect("nobody panics").violations.extend(found);
                    }
                }
                if lanes_done.fetch_add(1, Ordering::Relaxed) == 0 {
                    let found = runtime().block_on(flush_off(&disk, &mut random));
                    *control.lock().expect("nobody panics") = Some(found);
                }
            });
        }
    });
    let tally = tally.into_inner().expect("nobody panics holding it");
    let notes = vec![format!(
        "{} of {} cuts in recovery; {} acknowledged sends; {} stores verified",
        tally.in_recovery,
        progress.count(),
        tally.sends,
        tally.verified
    )];
    let found = control.into_inner().expect("nobody panics holding it").unwrap_or(false);
    let controls = vec![Control { name: "flush off", found }];
    Outcome { runs: progress.count(), violations: tally.violations, controls, notes, not_run: None }
}

/// The same cuts, at a level that survives none.
async fn flush_off(disk: &Disk, random: &mut Random) -> bool {
    let mut life = Life::new(disk, Level::Memory, "control flush off".into(), random);
    let server = life.start().expect("a start");
    life.callers.create_topics(&server.http).await;
    let load = life.callers.start(&server.http, &server.grpc, random.next());
    let mut found = false;
    for _ in 0..CONTROL_CUTS_MAX {
        tokio::time::sleep(Duration::from_millis(random.below(LOAD_MS_MAX))).await;
        let cut = life.cut().await;
        // Refusing to start is another way of seeing it.
        found = life.judge_cut(cut).await.map_or(true, |found| !found.is_empty());
        if found {
            break;
        }
    }
    server.kill_9();
    load.end().await;
    found
}

/// One data directory on the inner image.
struct Life<'a> {
    disk: &'a Disk,
    data: PathBuf,
    level: Level,
    name: String,
    callers: std::sync::Arc<Callers>,
    next_cut: u64,
}

/// A clone, and the history as it was.
struct Cut {
    image: PathBuf,
    number: u64,
    /// Everything that was begun before the clone was there, with the answers that had come when it began.
    lines: Vec<Line>,
}

impl<'a> Life<'a> {
    /// It claims `disk` for every answer, whatever the server's own level is.
    fn new(disk: &'a Disk, level: Level, name: String, random: &mut Random) -> Life<'a> {
        let segment_bytes = random.one_of(&SEGMENT_BYTES);
        let data = disk.inner.dir.join("data");
        let _ = std::fs::remove_dir_all(&data);
        store::make(&data, segment_bytes);
        let callers = Callers::new(Level::Disk, store::body_bytes_max(segment_bytes));
        Life { disk, data, level, name, callers, next_cut: 0 }
    }

    fn start(&mut self) -> Result<Server, Vec<String>> {
        store::serve(&self.data, self.level).map_err(|why| vec![format!("{}: no start: {why}", self.name)])
    }

    async fn cuts(
        &mut self,
        progress: &Progress,
        tally: &Mutex<Tally>,
        random: &mut Random,
    ) -> Result<(), Vec<String>> {
        let server = self.start()?;
        self.callers.create_topics(&server.http).await;
        let mut server = Some(server);
        while self.next_cut < LIFE_CUTS && !progress.is_over() {
            let running = match server.take() {
                Some(server) => server,
                None => self.start()?,
            };
            let load = self.callers.start(&running.http, &running.grpc, random.next());
            let mut cuts = Vec::new();
            for _ in 0..CUTS_UNDER_LOAD {
                tokio::time::sleep(Duration::from_millis(random.below(LOAD_MS_MAX))).await;
                cuts.push(self.cut().await);
            }
            running.kill_9();
            load.end().await;
            let kill = Subject { fault: Some(Fault::Kill), ..Subject::default() };
            self.callers.recorder.invoke("rig", Operation::Restart, kill);
            let starting = Starting::spawn(store::command(&self.data), &self.data, &store::durability(self.level));
            tokio::time::sleep(Duration::from_micros(random.below(RECOVERY_US_MAX))).await;
            cuts.push(self.cut().await);
            let unready = starting.kill_9();
            tally.lock().expect("nobody panics holding it").in_recovery += u64::from(unready);
            for cut in cuts {
                self.survives(cut, tally).await?;
                progress.done(1);
            }
        }
        let stored = self.callers.recorder.lines().iter().filter(|line| is_stored(line)).count() as u64;
        tally.lock().expect("nobody panics holding it").sends += stored;
        Ok(())
    }

    async fn survives(&mut self, cut: Cut, tally: &Mutex<Tally>) -> Result<(), Vec<String>> {
        let verifies = cut.number.is_multiple_of(5);
        let name = format!("{} cut {}", self.name, cut.number);
        let (mount, lines) = self.mount(&cut).map_err(|why| vec![format!("{name}: {why}")])?;
        let data = mount.dir.join("data");
        let server =
            store::serve(&data, self.level).map_err(|why| vec![format!("{name}: no start after it: {why}")])?;
        let read = read_back(&server.http).await.map_err(|why| vec![format!("{name}: nothing can be read: {why}")])?;
        let found = judge(&name, &lines, &read);
        if !found.is_empty() {
            return Err(found);
        }
        if !verifies {
            server.kill_9();
            return Ok(());
        }
        let status = tokio::task::spawn_blocking(move || server.stop("-TERM")).await.expect("a stop does not panic");
        if status.code() != Some(0) {
            return Err(vec![format!("{name}: the stop after it ended with {status}")]);
        }
        store::verify(&data).map_err(|said| vec![format!("{name}: {said}")])?;
        tally.lock().expect("nobody panics holding it").verified += 1;
        Ok(())
    }

    /// For the control: what is missing; `Err` when there is no start at all.
    async fn judge_cut(&self, cut: Cut) -> Result<Vec<harness::history::Violation>, String> {
        let (mount, lines) = self.mount(&cut)?;
        let server = store::serve(&mount.dir.join("data"), self.level)?;
        let read = read_back(&server.http).await?;
        Ok(harness::history::check(&lines, &read))
    }

    /// Clones the inner image. What is answered while that takes its time counts as not answered.
    async fn cut(&mut self) -> Cut {
        let number = self.next_cut;
        self.next_cut += 1;
        let image = self.disk.outer.dir.join(format!("cut-{number}.img"));
        let (from, to) = (self.disk.image.clone(), image.clone());
        let before = self.callers.recorder.lock().all().len();
        let cloned = tokio::task::spawn_blocking(move || {
            let mut clone = Command::new("cp");
            tool(clone.arg("--reflink=always").arg(from).arg(to))
        });
        cloned.await.expect("a clone does not panic").expect("an image can be cloned");
        let mut lines = self.callers.recorder.lines();
        let mut place = 0;
        lines.retain(|line| {
            place += 1;
            place <= before || line.phase == Phase::Invoke
        });
        let restart = Subject { fault: Some(Fault::PowerCut), ..Subject::default() };
        let last = lines.last().map_or(0, |line| line.at);
        let operation = Operation::Restart;
        let phase = Phase::Invoke;
        lines.push(Line { at: last, id: u64::MAX, phase, operation, client: "rig".into(), subject: restart });
        Cut { image, number, lines }
    }

    fn mount(&self, cut: &Cut) -> Result<(Mounted, Vec<Line>), String> {
        let dir = self.disk.home.join(format!("cut-{}", cut.number));
        let mounted = Mounted::new(&cut.image, dir, "ext4", Some(cut.image.clone()));
        mounted.map(|mounted| (mounted, cut.lines.clone()))
    }
}

/// Two images, one on the other; both go when it is dropped.
struct Disk {
    image: PathBuf,
    // Dropped in this order: the inner one lies on the outer one.
    inner: Mounted,
    outer: Mounted,
    home: PathBuf,
    _dir: tempfile::TempDir,
}

#[derive(Debug)]
struct Unable {
    reason: &'static str,
    said: String,
}

impl Disk {
    fn make(name: &str) -> Result<Disk, Unable> {
        let unable = |reason: &'static str| move |said: String| Unable { reason, said };
        let needs_root = "needs root, with loop mounts and XFS";
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let dir =
            tempfile::Builder::new().prefix(&format!("{PREFIX}{}-{name}-", std::process::id())).tempdir_in(parent);
        let dir = dir.map_err(|error| unable("needs a directory")(error.to_string()))?;
        let home = dir.path().to_path_buf();
        let outer_image = home.join("outer.img");
        sparse(&outer_image, OUTER_BYTES).map_err(|error| unable("needs a disk")(error.to_string()))?;
        let mut make = Command::new("mkfs.xfs");
        tool(make.args(["-q", "-m", "reflink=1"]).arg(&outer_image)).map_err(unable("needs mkfs.xfs (xfsprogs)"))?;
        let outer = Mounted::new(&outer_image, home.join("outer"), "xfs", None).map_err(unable(needs_root))?;
        let image = outer.dir.join("inner.img");
        sparse(&image, INNER_BYTES).map_err(|error| unable("needs a disk")(error.to_string()))?;
        let mut make = Command::new("mkfs.ext4");
        let whole = "lazy_itable_init=0,lazy_journal_init=0";
        tool(make.args(["-q", "-F", "-m", "0", "-E", whole]).arg(&image)).map_err(unable("needs mkfs.ext4"))?;
        let inner = Mounted::new(&image, home.join("inner"), "ext4", None).map_err(unable(needs_root))?;
        Ok(Disk { image, inner, outer, home, _dir: dir })
    }
}

/// What a run that was killed itself has left mounted.
fn clear_left_over() {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let ours = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).filter(|dir| {
        let inside = dir.strip_prefix(env!("CARGO_TARGET_TMPDIR")).and_then(|rest| rest.strip_prefix('/'));
        let id = inside.and_then(|rest| rest.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        id.is_some_and(|id| !Path::new("/proc").join(id).exists())
    });
    for dir in ours {
        let _ = tool(Command::new("umount").arg("-l").arg(dir));
    }
}

fn sparse(path: &Path, bytes: u64) -> std::io::Result<()> {
    std::fs::File::create_new(path)?.set_len(bytes)
}

/// An image on a loop device of its own. Unmounted when it is dropped, also in a panic; the device goes with the mount.
struct Mounted {
    dir: PathBuf,
    /// A clone goes too.
    clone: Option<PathBuf>,
}

impl Mounted {
    fn new(image: &Path, dir: PathBuf, kind: &str, clone: Option<PathBuf>) -> Result<Mounted, String> {
        std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        let mut mount = Command::new("mount");
        let options = if kind == "ext4" { "loop,barrier=0" } else { "loop" };
        // A clone has its original's identity, which XFS alone would mind.
        match tool(mount.args(["-t", kind, "-o", options]).arg(image).arg(&dir)) {
            Ok(()) => Ok(Mounted { dir, clone }),
            Err(why) => {
                clone.map(std::fs::remove_file);
                Err(why)
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A server that was just killed may hold it for a moment.
        let unmounted = (0..50).any(|_| {
            let done = tool(Command::new("umount").arg(&self.dir)).is_ok();
            if !done {
                std::thread::sleep(Duration::from_millis(20));
            }
            done
        });
        if !unmounted {
            let _ = tool(Command::new("umount").arg("-l").arg(&self.dir));
        }
        let _ = std::fs::remove_dir(&self.dir);
        let _ = self.clone.take().map(std::fs::remove_file);
    }
}

/// Runs a tool to its end; `Err`: what it said.
fn tool(command: &mut Command) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default();
    // Debian keeps these where only root's PATH looks.
    let output = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).output();
    let output = output.map_err(|error| format!("{:?}: {error}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim()))
}
