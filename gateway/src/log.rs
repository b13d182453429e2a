//! The program's log on stderr, and how much of it is told.

use std::sync::OnceLock;

use tracing::Level;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::error::GatewayError;

static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Once, at the start. Without `GANTRY_LOG` it tells info and worse.
pub fn install() {
    let filter = EnvFilter::try_from_env("GANTRY_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    // A log that cannot be written, on a full disk say, is no reason to stop serving: without this the subscriber
    // complains about it on stderr as well, and that panics.
    let lines = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false);
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::registry().with(filter).with(lines.with_ansi(colours)).init();
    FILTER.set(handle).expect("the log is installed once");
}

/// What is told from now on, until somebody changes it again or the program starts anew.
pub fn change_level(level: Level) -> Result<(), GatewayError> {
    let not_ours = || GatewayError::NotImplemented { what: "changing a log that another program has set up".into() };
    let handle = FILTER.get().ok_or_else(not_ours)?;
    handle.reload(filter_of(level)).map_err(|error| GatewayError::Internal { reason: error.to_string() })?;
    tracing::warn!(%level, "the log level was changed");
    Ok(())
}

/// Only of ourselves more than info: libraries write headers and bytes of the wire then, credentials among them.
fn filter_of(level: Level) -> EnvFilter {
    let others = level.min(Level::INFO);
    EnvFilter::new(format!("{others},gantry={level}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_never_tell_more_than_info() {
        for (level, written) in [
            (Level::TRACE, "gantry=trace,info"),
            (Level::DEBUG, "gantry=debug,info"),
            (Level::INFO, "gantry=info,info"),
            (Level::ERROR, "gantry=error,error"),
        ] {
            assert_eq!(filter_of(level).to_string(), written);
        }
    }
}
