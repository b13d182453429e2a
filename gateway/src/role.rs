//! What each role starts, in order, and stops, in reverse. Threads and runtimes are decided in `role/workers.rs`.

use std::process::ExitCode;

use gantry_broker_core::store::error::StoreError;

use crate::transport::tls::TlsError;

pub mod all_in_one;
mod workers;

/// How the program ends when it does not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Error = 1,
    Usage = 2,
    DataDirectoryInUse = 3,
    StorageFailed = 4,
    DataRefused = 5,
}

impl From<Ended> for ExitCode {
    fn from(ended: Ended) -> ExitCode {
        ExitCode::from(ended as u8)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    #[error("cannot listen on {address}: {source}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("the data directory {}: {source}", data_dir.display())]
    Store { data_dir: std::path::PathBuf, source: StoreError },
    #[error("the store has failed: {reason}: nothing was acknowledged since; start again once the disk is well")]
    StorageFailed { reason: String },
    #[error("TLS: {source}")]
    Tls { source: TlsError },
    #[error("{what}: {source}")]
    System { what: &'static str, source: std::io::Error },
}

impl RoleError {
    pub fn ended(&self) -> Ended {
        match self {
            RoleError::Store { source: StoreError::InUse { .. }, .. } => Ended::DataDirectoryInUse,
            RoleError::Store {
                source: StoreError::Damaged { .. } | StoreError::NewerFormat { .. } | StoreError::StateLost { .. },
                ..
            } => Ended::DataRefused,
            RoleError::Store { source: StoreError::Failed { .. }, .. } | RoleError::StorageFailed { .. } => {
                Ended::StorageFailed
            }
            RoleError::Store { .. } | RoleError::Listen { .. } | RoleError::Tls { .. } | RoleError::System { .. } => {
                Ended::Error
            }
        }
    }
}
