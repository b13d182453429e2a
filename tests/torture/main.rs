//! Faults against the real program, and a table of what they did: processes killed, calls that fail, power that goes.
//!
//! `cargo test --test torture` runs a slice of it; `make torture` runs all, for an hour and more. A word on the command line picks
//! the rigs whose name has it. `GANTRY_TORTURE=full` asks for the full counts, `GANTRY_SEED=N` for the seed that a
//! run printed. Each rig brings its control: a run in which the promise is broken on purpose and the judge must see it.

mod clients;
mod failing_calls;
mod failpoints;
mod kill_9;
mod power_cut;
mod random;
mod read_back;
mod report;
mod retention;
mod store;

use std::process::ExitCode;

use report::{Plan, Rig};

const RIGS: &[Rig] = &[failpoints::LEFT_OUT, failpoints::EACH_HIT, kill_9::RIG, failing_calls::RIG, power_cut::RIG];

fn main() -> ExitCode {
    let words = harness::words(std::env::args().skip(1));
    let is_picked = |rig: &&Rig| words.is_empty() || words.iter().any(|word| rig.name.contains(word.as_str()));
    let rigs: Vec<&Rig> = RIGS.iter().filter(is_picked).collect();
    if std::env::args().any(|word| word == "--list") || rigs.is_empty() {
        rigs.iter().for_each(|rig| println!("{}: test", rig.name));
        return ExitCode::SUCCESS;
    }
    let plan = Plan::from_environment();
    println!("torture: {} with seed {}", if plan.full { "full counts" } else { "a slice" }, plan.seed);
    let rows: Vec<report::Row> = rigs.into_iter().map(|rig| report::run(rig, &plan)).collect();
    report::print(&rows);
    if rows.iter().all(report::Row::is_good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
