//! Data directories for the rigs: with short segments, so that the log comes to their ends often.

use std::path::Path;
use std::process::Command;

use gantry_broker_core::random::SystemRandom;
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::store::files::Files as _;
use gantry_broker_core::store::identity::Identity;
use harness::history::Level;
use harness::{Server, Starting};

/// So often are producers asked what became of a transaction.
pub const CHECK_MAX: u32 = 2;

/// A directory whose segments have this length, shorter than a configuration may ask for. A record needs far less.
pub fn make(data: &Path, segment_bytes: u64) {
    DiskFiles.create_dir(&data.join("gantry")).expect("a data directory");
    Identity::new(&SystemRandom, segment_bytes).raise_boot(&DiskFiles, data).expect("its identity");
}

/// What a body may have, so that batches and properties fit as well.
pub fn body_bytes_max(segment_bytes: u64) -> u64 {
    segment_bytes / 8
}

/// The program on this directory. It takes snapshots all the time: its lives are short.
pub fn command(data: &Path) -> Command {
    let mut command = harness::command(data);
    command.env("GANTRY_HURRY", "1");
    // Their producers are asked in time, and given up in time.
    command.env("GANTRY_TRANSACTION_TIMEOUT", "1s");
    command.env("GANTRY_TRANSACTION_CHECK_INTERVAL", "1s");
    command.env("GANTRY_TRANSACTION_CHECK_MAX", CHECK_MAX.to_string());
    command
}

/// Starts it. `Err`: how it ended instead, and its last words.
pub fn serve(data: &Path, level: Level) -> Result<Server, String> {
    let started = Starting::spawn(command(data), data, &durability(level)).ready();
    started.map_err(|(status, said)| format!("{status}: {}", last_lines(&said)))
}

/// What a process said in the end.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
}

pub fn durability(level: Level) -> [&'static str; 2] {
    ["--durability", if level == Level::Disk { "disk" } else { "memory" }]
}

/// A directory with everything in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// What `gantry store verify` says of a directory that nobody uses.
pub fn verify(data: &Path) -> Result<(), String> {
    let mut verify = Command::new(harness::gantry());
    let output = verify.args(["store", "verify"]).arg(data).output().expect("the program runs");
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("the store is not whole: {}: {}", output.status, String::from_utf8_lossy(&said)))
}
