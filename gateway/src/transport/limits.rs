//! How many connections there may be, and how long they may take over what they do.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Of the files that a process may open, those that are kept for the store: connections must not keep it from a segment.
const FILES_FOR_THE_STORE: usize = 1_024;

/// None of it ends a connection on which a call runs or waits, but for those that are older than they may become: they get
/// `AGE_GRACE` for it. Of what is answered, only the request must not dawdle.
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
    /// What a request's body must bring, over each `BODY_WINDOW`.
    pub body_bytes_per_second_min: u64,
    /// How old a connection becomes, give or take a tenth.
    pub connection_age_max: Option<Duration>,
}

/// As long a body may bring nothing at all.
pub const BODY_WINDOW: Duration = Duration::from_secs(5);
/// What runs on a connection that has become too old may run for so long: three of the longest polls that clients ask for.
pub const AGE_GRACE: Duration = Duration::from_secs(90);

impl Default for Limits {
    /// A connection costs a descriptor and 9 (HTTP/1) to 16 KiB (gRPC), measured on 2,000 idle ones: ten thousand are at most
    /// 160 MiB, and fifty addresses are needed to take them all. One over gRPC that does not take its answers has up to 64 KiB
    /// of them held for it besides. Clients that pool connections expect an idle one to last about a minute; the rest is many
    /// times what a bad mobile network needs.
    ///
    /// No connection is too old unless somebody says so: the good of it lies with load balancers and certificates, and some
    /// clients do not open a Telemetry stream again, whoever ended it.
    fn default() -> Limits {
        Limits {
            connections_max: 10_000,
            connections_per_address_max: 200,
            opening_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_bytes_per_second_min: 1_024,
            connection_age_max: None,
        }
    }
}

impl Limits {
    /// How old the connection of this number becomes. Those that were opened together are spread evenly, whatever the number
    /// of them: the fractions of multiples of the golden ratio are.
    pub fn age_of(&self, number: u32) -> Option<Duration> {
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let spread = (f64::from(number) * GOLDEN).fract();
        self.connection_age_max.map(|age| age.mul_f64(0.9 + 0.2 * spread))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_were_opened_together_do_not_end_together() {
        let age = Duration::from_secs(1_000);
        let limits = Limits { connection_age_max: Some(age), ..Limits::default() };
        let mut ages: Vec<_> = (0..100).map(|number| limits.age_of(number).unwrap()).collect();
        ages.sort();
        assert!(ages[0] >= age.mul_f64(0.9) && ages[99] <= age.mul_f64(1.1), "{ages:?}");
        assert!(ages.windows(2).all(|two| two[1] - two[0] < Duration::from_secs(5)), "{ages:?}");
        assert_eq!(Limits::default().age_of(7), None);
    }
}
