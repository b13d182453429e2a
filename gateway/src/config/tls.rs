//! Where the certificate is.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::transport::tls::TlsFiles;

/// As flags, as variables, and as the table `[tls]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
#[command(next_help_heading = "TLS, which every port takes beside plain text")]
pub struct TlsKeys {
    /// Certificate chain in PEM, read again when it changes [default: one that proves nothing, made when asked for]
    #[arg(long = "tls-certificate", env = "GANTRY_TLS_CERTIFICATE", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<PathBuf>,
    /// Private key of the certificate in PEM
    #[arg(long = "tls-key", env = "GANTRY_TLS_KEY", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
}

impl TlsKeys {
    /// What is not said here is said there.
    pub fn or(self, there: TlsKeys) -> TlsKeys {
        TlsKeys { certificate: self.certificate.or(there.certificate), key: self.key.or(there.key) }
    }

    pub fn effective(&self) -> Result<Option<TlsFiles>, ConfigError> {
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(ConfigError("tls.certificate is of no use without tls.key".into())),
            (None, Some(_)) => Err(ConfigError("tls.key is of no use without tls.certificate".into())),
        }
    }

    pub fn of(files: &TlsFiles) -> TlsKeys {
        TlsKeys { certificate: Some(files.certificate.clone()), key: Some(files.key.clone()) }
    }
}
