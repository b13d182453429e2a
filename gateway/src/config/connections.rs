//! How many connections there may be, and how long they may take over what they do.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::{ConfigError, as_size_text, parse_size};
use crate::duration;
use crate::transport::limits::Limits;

/// Shorter than a second would refuse the honest, and longer than an hour nobody.
const TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;
const BODY_RATE_MAX: u64 = 1 << 20;
const AGES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 86_400);

/// As flags, as variables, and as the table `[connections]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "How many may connect, and how long they may take")]
pub struct ConnectionKeys {
    /// Most connections on both ports together [default: 10000]
    #[arg(long, env = "GANTRY_CONNECTIONS_MAX", value_name = "COUNT")]
    connections_max: Option<usize>,
    /// Most connections of one address; this machine's and load balancers' are not counted [default: 200]
    #[arg(long, env = "GANTRY_CONNECTIONS_PER_ADDRESS_MAX", value_name = "COUNT")]
    connections_per_address_max: Option<usize>,
    /// Time for each of: a load balancer's header, the first byte, the TLS handshake, HTTP/2's first bytes [default: 5s]
    #[arg(long, env = "GANTRY_OPENING_TIMEOUT", value_name = "TIME")]
    opening_timeout: Option<String>,
    /// Time from the first byte of an HTTP/1 request to the end of its head [default: 10s]
    #[arg(long, env = "GANTRY_HEAD_TIMEOUT", value_name = "TIME")]
    head_timeout: Option<String>,
    /// Time from an HTTP/1 answer to the next request [default: 60s]
    #[arg(long, env = "GANTRY_IDLE_TIMEOUT", value_name = "TIME")]
    idle_timeout: Option<String>,
    /// What the body of a request must bring in a second, over 5 s; 0 for nothing [default: 1KiB]
    #[arg(long, env = "GANTRY_BODY_RATE_MIN", value_name = "SIZE")]
    body_rate_min: Option<String>,
    /// How old a connection becomes, give or take a tenth; what runs on it then gets 90 s. 0s for no end [default: 0s]
    #[arg(long, env = "GANTRY_CONNECTION_AGE_MAX", value_name = "TIME")]
    connection_age_max: Option<String>,
}

impl ConnectionKeys {
    /// What is not said here is said there.
    pub fn or(self, there: ConnectionKeys) -> ConnectionKeys {
        ConnectionKeys {
            connections_max: self.connections_max.or(there.connections_max),
            connections_per_address_max: self.connections_per_address_max.or(there.connections_per_address_max),
            opening_timeout: self.opening_timeout.or(there.opening_timeout),
            head_timeout: self.head_timeout.or(there.head_timeout),
            idle_timeout: self.idle_timeout.or(there.idle_timeout),
            body_rate_min: self.body_rate_min.or(there.body_rate_min),
            connection_age_max: self.connection_age_max.or(there.connection_age_max),
        }
    }

    pub fn effective(&self) -> Result<Limits, ConfigError> {
        let usual = Limits::default();
        let count = |key: &str, count: Option<usize>, usual: usize| match count.unwrap_or(usual) {
            count if CONNECTIONS.contains(&count) => Ok(count),
            count => Err(ConfigError(format!("connections.{key} must be 1 to 1000000, not {count}"))),
        };
        let time = |key: &str, text: &Option<String>, usual: Duration| {
            let Some(text) = text else { return Ok(usual) };
            let refused = |reason: &str| Err(ConfigError(format!("connections.{key} '{text}' {reason}")));
            match duration::parse(text) {
                Ok(time) if TIMES.contains(&time) => Ok(time),
                Ok(_) => refused("must be 1s to 1h"),
                Err(reason) => refused(reason),
            }
        };
        let body_rate = match &self.body_rate_min {
            None => usual.body_bytes_per_second_min,
            Some(text) => parse_size(text).filter(|rate| *rate <= BODY_RATE_MAX).ok_or_else(|| {
                ConfigError(format!("connections.body_rate_min '{text}' is no size from 0 to 1MiB, such as 1KiB"))
            })?,
        };
        let connection_age_max = match &self.connection_age_max {
            None => usual.connection_age_max,
            Some(text) => {
                let refused = |reason| ConfigError(format!("connections.connection_age_max '{text}' {reason}"));
                let age = duration::parse(text).map_err(refused)?;
                match age.is_zero() || AGES.contains(&age) {
                    true => Some(age).filter(|age| !age.is_zero()),
                    false => return Err(refused("must be 0s, for no end, or 1s to 30d")),
                }
            }
        };
        Ok(Limits {
            connections_max: count("connections_max", self.connections_max, usual.connections_max)?,
            connections_per_address_max: count(
                "connections_per_address_max",
                self.connections_per_address_max,
                usual.connections_per_address_max,
            )?,
            opening_timeout: time("opening_timeout", &self.opening_timeout, usual.opening_timeout)?,
            head_timeout: time("head_timeout", &self.head_timeout, usual.head_timeout)?,
            idle_timeout: time("idle_timeout", &self.idle_timeout, usual.idle_timeout)?,
            body_bytes_per_second_min: body_rate,
            connection_age_max,
        })
    }

    /// Keys that say what is in effect.
    pub fn of(limits: &Limits) -> ConnectionKeys {
        ConnectionKeys {
            connections_max: Some(limits.connections_max),
            connections_per_address_max: Some(limits.connections_per_address_max),
            opening_timeout: Some(duration::format(limits.opening_timeout)),
            head_timeout: Some(duration::format(limits.head_timeout)),
            idle_timeout: Some(duration::format(limits.idle_timeout)),
            body_rate_min: Some(as_size_text(limits.body_bytes_per_second_min)),
            connection_age_max: Some(limits.connection_age_max.map_or_else(|| "0s".into(), duration::format)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_limits_and_limits_keys() {
        let flags = ConnectionKeys { connections_max: Some(5), idle_timeout: Some("2m".into()), ..Default::default() };
        let file = ConnectionKeys { connections_max: Some(6), body_rate_min: Some("0".into()), ..Default::default() };
        let limits = flags.or(file).effective().unwrap();
        assert_eq!((limits.connections_max, limits.body_bytes_per_second_min), (5, 0));
        assert_eq!(limits.idle_timeout, Duration::from_secs(120));
        assert_eq!(ConnectionKeys::of(&limits).effective().unwrap(), limits);
        assert_eq!(ConnectionKeys::default().effective().unwrap(), Limits::default());
        for (text, age) in [("0s", None), ("12h", Some(Duration::from_secs(43_200)))] {
            let keys = ConnectionKeys { connection_age_max: Some(text.into()), ..Default::default() };
            let limits = keys.effective().unwrap();
            assert_eq!(limits.connection_age_max, age);
            assert_eq!(ConnectionKeys::of(&limits).connection_age_max.as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let usual = ConnectionKeys::default;
        let text = |text: &str| Some(text.to_string());
        for (key, keys) in [
            ("connections.connections_max", ConnectionKeys { connections_max: Some(0), ..usual() }),
            ("connections_per_address_max", ConnectionKeys { connections_per_address_max: Some(0), ..usual() }),
            ("opening_timeout", ConnectionKeys { opening_timeout: text("0s"), ..usual() }),
            ("head_timeout", ConnectionKeys { head_timeout: text("10"), ..usual() }),
            ("idle_timeout", ConnectionKeys { idle_timeout: text("2h"), ..usual() }),
            ("body_rate_min", ConnectionKeys { body_rate_min: text("2MiB"), ..usual() }),
            ("connection_age_max", ConnectionKeys { connection_age_max: text("31d"), ..usual() }),
            ("connection_age_max", ConnectionKeys { connection_age_max: text("500ms"), ..usual() }),
        ] {
            let refused = keys.effective().unwrap_err().to_string();
            assert!(refused.contains(key), "{refused}");
        }
    }
}
