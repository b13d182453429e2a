//! Command line -> configuration -> role -> wait for the end.

use std::process::ExitCode;

use clap::Parser as _;
use gantry_gateway::config::{CommandLine, Task};
use gantry_gateway::role::{Ended, all_in_one};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let task = CommandLine::parse().task();
    let flags = match task {
        Task::Serve(flags) => flags,
        Task::PrintConfig(flags) => return print_config(flags.config()),
    };
    // Logs go to stderr: stdout carries the ready line and nothing else.
    let filter = EnvFilter::try_from_env("GANTRY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter).init();
    let config = match flags.config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("gantry: {error}");
            return Ended::Usage.into();
        }
    };
    match all_in_one::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gantry: {error}");
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
            eprintln!("gantry: {error}");
            Ended::Usage.into()
        }
    }
}
