//! How many connections there may be, and how long they may take over what they do.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of the files that a process may open, those that are kept for the store: connections must not keep it from a segment.
const FILES_FOR_THE_STORE: usize = 1_024;

/// None of it ends a connection on which a call runs or waits: of what is answered, only the request must not dawdle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// On both ports together.
    pub connections_max: usize,
    pub connections_per_address_max: usize,
    /// For each step of a beginning: a load balancer's header, the first byte, TLS' handshake, HTTP/2's first words.
    pub opening_timeout: Duration,
    /// From the first byte of an HTTP/1 request to the end of its head.
    pub head_timeout: Duration,
    /// From an HTTP/1 answer to the next request.
    pub idle_timeout: Duration,
    /// What a request's body must bring on the HTTP port, over each `BODY_WINDOW`.
    pub body_bytes_per_second_min: u64,
}

/// As long a body may bring nothing at all.
pub const BODY_WINDOW: Duration = Duration::from_secs(5);

impl Default for Limits {
    /// A connection costs a descriptor and 9 (HTTP/1) to 16 KiB (gRPC), measured on 2,000 idle ones: ten thousand are at most
    /// 160 MiB, and fifty addresses are needed to take them all. Clients that pool connections expect an idle one to last about a minute; the rest is
    /// many times what a bad mobile network needs.
    fn default() -> Limits {
        Limits {
            connections_max: 10_000,
            connections_per_address_max: 200,
            opening_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_bytes_per_second_min: 1_024,
        }
    }
}

impl Limits {
    /// As many connections as the system lets this process have.
    pub fn within_open_files(self) -> Limits {
        let files = usize::try_from(raise_open_files()).unwrap_or(usize::MAX);
        let possible = files.saturating_sub(FILES_FOR_THE_STORE).max(files / 2);
        if self.connections_max > possible {
            let connections_max = self.connections_max;
            tracing::warn!(
                connections_max,
                possible,
                open_files = files,
                "fewer connections than connections_max are possible: raise the limit on open files (ulimit -n)"
            );
        }
        Limits { connections_max: self.connections_max.min(possible), ..self }
    }
}

/// As many open files as the system allows; says how many these are.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let now = if raised.is_ok() { limit.maximum } else { limit.current };
    now.unwrap_or(u64::MAX)
}
