//! `make bench`: Gantry as ratios to null servers, peers and the machine itself, all measured in this run.
//!
//! Goals that need hours, other machines or their own harness have no row here.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Parser;

use crate::measure::Pace;
use crate::null_servers::Face;
use crate::rows::{APACHE, Bench, GOALS, LONG_GOALS, apache};
use crate::table::Report;
use crate::warm::WarmMemory;

mod device;
mod h2;
mod loads;
mod measure;
mod null_servers;
mod peers;
mod rows;
mod server;
mod store_loads;
mod table;
mod warm;

/// Measures Gantry and prints one table.
#[derive(Debug, Parser)]
struct CommandLine {
    /// A smoke run: rounds too short to decide anything.
    #[arg(long)]
    quick: bool,
    /// Only these goals; may be repeated.
    #[arg(long = "row", value_name = "GOAL")]
    goals: Vec<String>,
    /// The program under measurement; else the one beside this.
    #[arg(long, value_name = "PATH")]
    gantry: Option<PathBuf>,
    /// Serve as a null server or be the store under load instead.
    #[arg(hide = true)]
    part: Vec<String>,
}

/// The allocator of the program: null servers and the store alone are measured on the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let done = match line.part.first().map(String::as_str) {
        Some("store") => store_loads::run(&line.part[1..]),
        Some("null-http") => null_servers::serve(Face::Http).map_err(|error| error.to_string()),
        Some("null-grpc") => null_servers::serve(Face::Grpc).map_err(|error| error.to_string()),
        Some(other) => Err(format!("no part is called '{other}'")),
        None => bench(line),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(line: CommandLine) -> Result<(), String> {
    let begin = Instant::now();
    if let Some(other) = line.goals.iter().find(|goal| !GOALS.contains(&goal.as_str())) {
        return Err(format!("goal {other} has no row; there are {}", GOALS.join(", ")));
    }
    let beside = || std::env::current_exe().map(|path| path.with_file_name("gantry"));
    let gantry = match line.gantry {
        Some(path) => path,
        None => beside().map_err(|error| error.to_string())?,
    };
    let gantry = gantry.canonicalize().map_err(|error| format!("{}: {error}", gantry.display()))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("tests/ lies in the repository")?;
    let out = root.join("target/bench");
    std::fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    // Held until the end. Two that measure at once measure each other.
    let lock = std::fs::File::create(out.join("lock")).map_err(|error| error.to_string())?;
    lock.try_lock().map_err(|_| format!("another bench runs in {}", out.display()))?;
    let scratch = out.join("scratch");
    server::empty(&scratch)?;
    let pace = if line.quick { Pace::quick() } else { Pace::full() };
    let bench =
        Bench { gantry, scratch, console: root.join("web-console/dist"), pace, warm: WarmMemory::new(pace.warm_bytes) };

    let chosen = |goal: &&str| match line.goals.is_empty() {
        true => *goal != APACHE && !(line.quick && LONG_GOALS.contains(goal)),
        false => line.goals.iter().any(|chosen| chosen == goal),
    };
    let goals: Vec<&str> = GOALS.into_iter().filter(chosen).collect();
    let mut report = Report { about: about(&bench), ..Report::default() };
    if goals.contains(&APACHE) {
        report.about.push(("Apache RocketMQ".into(), apache::about()));
    }
    for goal in goals {
        eprintln!("bench: goal {goal}");
        report.rows.extend(bench.measure(goal));
    }
    if line.goals.is_empty() {
        eprintln!("bench: the machine");
        report.device = device::probe(&bench.scratch);
    }
    if line.quick && line.goals.is_empty() {
        report.about.push(("also out".into(), format!("goals {}: name them with --row", LONG_GOALS.join(", "))));
    }
    report.about.push(("took".into(), format!("{} s", begin.elapsed().as_secs())));
    print!("{}", report.text());
    let write = |name: &str, text: String| {
        let path = out.join(name);
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    write("report.json", format!("{:#}\n", report.json()))?;
    write("report.md", report.markdown())?;
    std::fs::remove_dir_all(&bench.scratch).map_err(|error| error.to_string())
}

/// Where and when, with what.
fn about(bench: &Bench) -> Vec<(String, String)> {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let unknown = || "unknown".to_owned();
    let pace = bench.pace;
    let mut about = vec![
        ("date".to_owned(), said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).unwrap_or_else(unknown)),
        ("CPU".to_owned(), format!("{}, {cores} cores, shared with the loader", model.unwrap_or("unknown"))),
        ("kernel".to_owned(), said("uname", &["-r"]).unwrap_or_else(unknown)),
        (
            "method".to_owned(),
            format!(
                "{}taking turns, {} rounds of {} s after {} s of warm-up, medians; a reference that varies by more than \
                 30 % decides nothing",
                if pace.quick { "QUICK, decides nothing: " } else { "" },
                pace.rounds,
                pace.round_s,
                pace.warm_up_s
            ),
        ),
        ("columns".to_owned(), "spread: (max - min) / median; spread and CPU: Gantry / reference".to_owned()),
        (
            "memory".to_owned(),
            "stores grow into memory that the machine has touched before; a virtual machine's is slow the first time"
                .into(),
        ),
        ("levels".to_owned(), "A: acknowledged from memory; D: after the disk has it".to_owned()),
        (
            "messages".to_owned(),
            "1 KiB over loopback, 8 queues; null servers get the same bytes from the same loader, peers have loaders of their own"
                .to_owned(),
        ),
        ("left out".to_owned(), "rocketmq-rust's proxy (goals 1, 14) and remoting (goal 9)".to_owned()),
    ];
    for (program, package) in
        [("nats-server", "nats-server"), ("redis-server", "redis-server"), ("h2load", "nghttp2-client"), ("wrk", "wrk")]
    {
        let version = loads::installed(program, package).map_or_else(|error| error, |path| peers::version(&path));
        about.push((program.to_owned(), version));
    }
    about
}
