//! Command line -> configuration -> role -> wait for the end.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use gantry_gateway::config::{CommandLine, Task};
use gantry_gateway::role::{Ended, all_in_one};

/// A send takes a tenth less of the server's CPU than with the C library's, a receive and ack in batches a fifth; memory for
/// an idle server would be 13 MB instead of 4 with huge pages, so it goes without (feature `no_thp`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let task = CommandLine::parse().task();
    let flags = match task {
        Task::Serve(flags) => flags,
        Task::PrintConfig(flags) => return print_config(flags.config()),
        Task::Bench(flags) => return gantry_gateway::bench::run(flags),
        Task::Store(command) => return gantry_gateway::store_command::run(command),
        Task::Tls(command) => return gantry_gateway::tls_command::run(command),
    };
    // Logs go to stderr: stdout carries the ready line and nothing else.
    gantry_gateway::log::install();
    let config = match flags.config() {
        Ok(config) => config,
        Err(error) => {
            complain(&error);
            return Ended::Usage.into();
        }
    };
    match all_in_one::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            error.ended().into()
        }
    }
}

fn print_config(config: Result<gantry_gateway::config::Config, gantry_gateway::config::ConfigError>) -> ExitCode {
    match config {
        Ok(config) => {
            print!("{}", toml::to_string(&config).expect("a configuration is plain values"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            Ended::Usage.into()
        }
    }
}

/// On stderr, unless it cannot be written: the exit code still tells.
fn complain(error: &dyn std::error::Error) {
    let _ = writeln!(std::io::stderr(), "gantry: {error}");
}
