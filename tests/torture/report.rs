//! What a rig is, how it is run, and the table at the end.

use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use harness::history::{Line, ReadBack, Violation, check};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);
/// Violations that are printed of each rig.
const PRINTED_MAX: usize = 20;

pub struct Plan {
    pub full: bool,
    pub seed: u64,
}

pub struct Rig {
    pub name: &'static str,
    pub fault: &'static str,
    /// How often the fault is done, in the slice and in full.
    pub slice: u64,
    pub full: u64,
    pub run: fn(&Plan, &Progress) -> Outcome,
}

/// What came of a rig.
#[derive(Debug, Default)]
pub struct Outcome {
    pub runs: u64,
    pub violations: Vec<String>,
    pub controls: Vec<Control>,
    /// Why it could not be run here.
    pub not_run: Option<&'static str>,
    /// What else there is to say of it.
    pub notes: Vec<String>,
}

/// A promise that was broken on purpose.
#[derive(Debug)]
pub struct Control {
    pub name: &'static str,
    pub found: bool,
}

/// How far a rig is.
pub struct Progress {
    name: &'static str,
    pub wanted: u64,
    done: AtomicU64,
    began: Instant,
    said_at: AtomicU64,
}

pub struct Row {
    rig: &'static str,
    fault: &'static str,
    wanted: u64,
    took: Duration,
    outcome: Outcome,
}

impl Plan {
    pub fn from_environment() -> Plan {
        let full = std::env::var("GANTRY_TORTURE").is_ok_and(|word| word == "full");
        let given = std::env::var("GANTRY_SEED").ok();
        let given = given.map(|text| text.parse().expect("GANTRY_SEED is a number"));
        let by_the_clock = || {
            let since = std::time::UNIX_EPOCH.elapsed().expect("later than 1970");
            since.as_micros() as u64 % 1_000_000_007
        };
        Plan { full, seed: given.unwrap_or_else(by_the_clock) }
    }
}

impl Progress {
    /// So many are done; says so now and then.
    pub fn done(&self, count: u64) -> u64 {
        let done = self.done.fetch_add(count, Ordering::Relaxed) + count;
        let now = self.began.elapsed().as_secs();
        let said_at = self.said_at.load(Ordering::Relaxed);
        let due = now >= said_at + PROGRESS.as_secs();
        if due && self.said_at.compare_exchange(said_at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            println!("  {}: {done} of {} after {now} s", self.name, self.wanted);
            let _ = std::io::stdout().flush();
        }
        done
    }

    pub fn count(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    pub fn is_over(&self) -> bool {
        self.count() >= self.wanted
    }
}

impl Row {
    pub fn is_good(&self) -> bool {
        let Outcome { runs, violations, controls, not_run, .. } = &self.outcome;
        violations.is_empty()
            && (not_run.is_some() || (*runs >= self.wanted && controls.iter().all(|control| control.found)))
    }
}

/// Runs one rig; a panic of it is a violation.
pub fn run(rig: &Rig, plan: &Plan) -> Row {
    let wanted = if plan.full { rig.full } else { rig.slice };
    println!("{}: {}", rig.name, rig.fault);
    let (done, said_at) = (AtomicU64::new(0), AtomicU64::new(0));
    let progress = Progress { name: rig.name, wanted, done, began: Instant::now(), said_at };
    let outcome = catch_unwind(AssertUnwindSafe(|| (rig.run)(plan, &progress))).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        let said = format!("the rig panicked: {}", said.unwrap_or_default());
        Outcome { violations: vec![said], ..Outcome::default() }
    });
    for violation in outcome.violations.iter().take(PRINTED_MAX) {
        println!("  VIOLATION {violation}");
    }
    Row { rig: rig.name, fault: rig.fault, wanted, took: progress.began.elapsed(), outcome }
}

/// The table.
pub fn print(rows: &[Row]) {
    println!("\n| fault | runs | seconds | violations | control |\n| --- | --- | --- | --- | --- |");
    for row in rows {
        let outcome = &row.outcome;
        let runs = match outcome.not_run {
            Some(why) => format!("not run: {why}"),
            None => format!("{} of {}", outcome.runs, row.wanted),
        };
        let of = |control: &Control| format!("{}: {}", control.name, if control.found { "found" } else { "MISSED" });
        let controls: Vec<String> = outcome.controls.iter().map(of).collect();
        println!(
            "| {} | {runs} | {:.1} | {} | {} |",
            row.fault,
            row.took.as_secs_f64(),
            outcome.violations.len(),
            controls.join("; ")
        );
    }
    println!();
    for row in rows {
        row.outcome.notes.iter().for_each(|note| println!("{}: {note}", row.rig));
    }
    let not_run = rows.iter().filter(|row| row.outcome.not_run.is_some()).count();
    let broken = rows.iter().filter(|row| !row.is_good()).count();
    println!("{} faults tried, {not_run} not run, {broken} with something wrong", rows.len() - not_run);
}

/// Lets the checker judge. What it condemns is kept beside the build, so that it can be looked at.
pub fn judge(what: &str, lines: &[Line], read: &ReadBack) -> Vec<String> {
    let found = check(lines, read);
    if found.is_empty() {
        return Vec::new();
    }
    let kept = keep(what, lines, read).map_or_else(|error| error.to_string(), |path| path.display().to_string());
    found.iter().map(|violation: &Violation| format!("{what}: {violation} (history: {kept})")).collect()
}

fn keep(what: &str, lines: &[Line], read: &ReadBack) -> std::io::Result<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("torture");
    fs::create_dir_all(&dir)?;
    let name: String = what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let path = dir.join(format!("{name}.jsonl"));
    let mut file = fs::File::create(&path)?;
    for line in lines {
        writeln!(file, "{}", serde_json::to_string(line)?)?;
    }
    fs::write(dir.join(format!("{name}.read-back.json")), serde_json::to_vec_pretty(read)?)?;
    Ok(path)
}
