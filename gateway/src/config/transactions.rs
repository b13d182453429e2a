//! When producers are asked what became of their transactions: RocketMQ's keys, in words of our files.

use std::time::Duration;

use clap::Args;
use gantry_broker_core::config::TransactionRules;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::duration;

const TIME_MIN: Duration = Duration::from_secs(1);
const TIME_MAX: Duration = Duration::from_secs(24 * 3_600);
const CHECKS_MAX: u32 = 1_000;

/// As flags, as variables, and as the table `[transactions]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "When producers are asked what became of a transaction")]
pub struct TransactionKeys {
    /// How old a half message is when it is checked first [default: 6s]
    #[arg(long, env = "GANTRY_TRANSACTION_TIMEOUT", value_name = "TIME")]
    transaction_timeout: Option<String>,
    /// Time between two checks of a half message [default: 30s]
    #[arg(long, env = "GANTRY_TRANSACTION_CHECK_INTERVAL", value_name = "TIME")]
    transaction_check_interval: Option<String>,
    /// Unanswered checks after which a half message is given up [default: 15]
    #[arg(long, env = "GANTRY_TRANSACTION_CHECK_MAX", value_name = "COUNT")]
    transaction_check_max: Option<u32>,
}

impl TransactionKeys {
    /// What is not said here is said there.
    pub fn or(self, there: TransactionKeys) -> TransactionKeys {
        TransactionKeys {
            transaction_timeout: self.transaction_timeout.or(there.transaction_timeout),
            transaction_check_interval: self.transaction_check_interval.or(there.transaction_check_interval),
            transaction_check_max: self.transaction_check_max.or(there.transaction_check_max),
        }
    }

    pub fn effective(&self) -> Result<TransactionRules, ConfigError> {
        let usual = TransactionRules::default();
        let time = |key: &str, text: &Option<String>, usual: Duration| {
            let Some(text) = text else { return Ok(usual) };
            let refused = |reason: &str| Err(ConfigError(format!("transactions.{key} '{text}' {reason}")));
            match duration::parse(text) {
                Ok(time) if (TIME_MIN..=TIME_MAX).contains(&time) => Ok(time),
                Ok(_) => refused("must be 1s to 24h"),
                Err(reason) => refused(reason),
            }
        };
        let check_max = self.transaction_check_max.unwrap_or(usual.check_max);
        if !(1..=CHECKS_MAX).contains(&check_max) {
            let reason = format!("transactions.transaction_check_max must be 1 to {CHECKS_MAX}, not {check_max}");
            return Err(ConfigError(reason));
        }
        Ok(TransactionRules {
            timeout: time("transaction_timeout", &self.transaction_timeout, usual.timeout)?,
            check_interval: time("transaction_check_interval", &self.transaction_check_interval, usual.check_interval)?,
            check_max,
        })
    }

    /// Keys that say what is in effect.
    pub fn of(rules: &TransactionRules) -> TransactionKeys {
        TransactionKeys {
            transaction_timeout: Some(duration::format(rules.timeout)),
            transaction_check_interval: Some(duration::format(rules.check_interval)),
            transaction_check_max: Some(rules.check_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_rules_and_rules_keys() {
        let keys = TransactionKeys { transaction_timeout: Some("90s".into()), ..TransactionKeys::default() };
        let rules = keys.or(TransactionKeys { transaction_check_max: Some(3), ..TransactionKeys::default() });
        let rules = rules.effective().unwrap();
        assert_eq!((rules.timeout, rules.check_max), (Duration::from_secs(90), 3));
        assert_eq!(TransactionKeys::of(&rules).effective().unwrap(), rules);
        assert_eq!(TransactionKeys::default().effective().unwrap(), TransactionRules::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let usual = TransactionKeys::default;
        for (key, keys) in [
            ("transaction_timeout", TransactionKeys { transaction_timeout: Some("0s".into()), ..usual() }),
            ("transaction_timeout", TransactionKeys { transaction_timeout: Some("6".into()), ..usual() }),
            ("check_interval", TransactionKeys { transaction_check_interval: Some("25h".into()), ..usual() }),
            ("check_max", TransactionKeys { transaction_check_max: Some(0), ..usual() }),
        ] {
            let refused = keys.effective().unwrap_err().to_string();
            assert!(refused.contains(key), "{refused}");
        }
    }
}
