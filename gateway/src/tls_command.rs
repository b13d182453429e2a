//! `gantry tls`: certificates for a machine that nobody vouches for.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use gantry_broker_core::clock::{Clock as _, SystemClock};

use crate::role::Ended;
use crate::transport::tls::{SelfSigned, TlsFiles, own_names};

#[derive(Debug, Subcommand)]
pub enum TlsCommand {
    /// Write certificate.pem and key.pem for development; clients must be told to believe them
    SelfSigned {
        /// Where to write them
        dir: PathBuf,
        /// Names and addresses under which clients will connect, beside localhost; may be given several times
        #[arg(long = "host", value_name = "NAME")]
        hosts: Vec<String>,
    },
}

pub fn run(command: TlsCommand) -> ExitCode {
    let TlsCommand::SelfSigned { dir, hosts } = command;
    let made = SelfSigned::new(&own_names(hosts), SystemClock.wall()).map_err(|error| error.to_string());
    match made.and_then(|made| made.write(&dir).map_err(|error| error.to_string())) {
        Ok(TlsFiles { certificate, key }) => {
            // As flags, to be pasted behind the program's name.
            println!("--tls-certificate {} --tls-key {}", certificate.display(), key.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "gantry: {error}");
            Ended::Error.into()
        }
    }
}
