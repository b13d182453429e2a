//! How long messages are kept: RocketMQ's keys, in words of our files.

use std::time::Duration;

use clap::Args;
use gantry_broker_core::config::Retention;
use serde::{Deserialize, Serialize};

use super::{ConfigError, parse_size};
use crate::duration;

/// As flags, as variables, and as the table `[retention]` of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[command(next_help_heading = "How long messages are kept")]
pub struct RetentionKeys {
    /// Messages are kept at least so long; a bare number means hours [default: 72h]
    #[arg(long, env = "GANTRY_FILE_RESERVED_TIME", value_name = "TIME")]
    file_reserved_time: Option<String>,
    /// Local hours in which what is old enough is deleted, e.g. 04;16 [default: 04]
    #[arg(long, env = "GANTRY_DELETE_WHEN", value_name = "HOURS")]
    delete_when: Option<String>,
    /// Percent of the disk in use from which on it is deleted at any hour [default: 75]
    #[arg(long, env = "GANTRY_DISK_MAX_USED_SPACE_RATIO", value_name = "PERCENT")]
    disk_max_used_space_ratio: Option<u8>,
    /// Percent from which on the oldest messages go before their time [default: 85]
    #[arg(long, env = "GANTRY_DISK_SPACE_CLEAN_FORCIBLY_RATIO", value_name = "PERCENT")]
    disk_space_clean_forcibly_ratio: Option<u8>,
    /// Percent from which on messages are refused; acks and deletes still pass [default: 90]
    #[arg(long, env = "GANTRY_DISK_SPACE_WARNING_LEVEL_RATIO", value_name = "PERCENT")]
    disk_space_warning_level_ratio: Option<u8>,
    /// Whether messages may go before their time at all [default: true]
    #[arg(long, env = "GANTRY_CLEAN_FILE_FORCIBLY_ENABLE", value_name = "BOOL")]
    clean_file_forcibly_enable: Option<bool>,
    /// Longest commit log, e.g. 200GiB; the oldest messages go beyond it [default: as long as the disk allows]
    #[arg(long, env = "GANTRY_COMMIT_LOG_SIZE_MAX", value_name = "SIZE")]
    commit_log_size_max: Option<String>,
}

impl RetentionKeys {
    /// What is not said here is said there.
    pub fn or(self, there: RetentionKeys) -> RetentionKeys {
        RetentionKeys {
            file_reserved_time: self.file_reserved_time.or(there.file_reserved_time),
            delete_when: self.delete_when.or(there.delete_when),
            disk_max_used_space_ratio: self.disk_max_used_space_ratio.or(there.disk_max_used_space_ratio),
            disk_space_clean_forcibly_ratio: self
                .disk_space_clean_forcibly_ratio
                .or(there.disk_space_clean_forcibly_ratio),
            disk_space_warning_level_ratio: self
                .disk_space_warning_level_ratio
                .or(there.disk_space_warning_level_ratio),
            clean_file_forcibly_enable: self.clean_file_forcibly_enable.or(there.clean_file_forcibly_enable),
            commit_log_size_max: self.commit_log_size_max.or(there.commit_log_size_max),
        }
    }

    pub fn effective(&self) -> Result<Retention, ConfigError> {
        let usual = Retention::default();
        let percent = |key: &str, value: Option<u8>, usual: u8| match value.unwrap_or(usual) {
            percent @ 10..=100 => Ok(percent),
            other => Err(ConfigError(format!("retention.{key} must be 10 to 100 percent, not {other}"))),
        };
        let hours = |text: &String| {
            let wrong =
                || ConfigError(format!("retention.delete_when '{text}' is no hour: write 04, or 04;16 for two"));
            let hour = |part: &str| part.trim().parse().ok().filter(|hour| *hour < 24).ok_or_else(wrong);
            text.split(';').map(hour).collect::<Result<Vec<u8>, _>>()
        };
        let size = |text: &String| {
            let wrong = || ConfigError(format!("retention.commit_log_size_max '{text}' is no size: write e.g. 200GiB"));
            parse_size(text).ok_or_else(wrong)
        };
        Ok(Retention {
            file_reserved_time: self.file_reserved_time.as_ref().map_or(Ok(usual.file_reserved_time), reserved_time)?,
            delete_when: self.delete_when.as_ref().map_or(Ok(usual.delete_when), hours)?,
            disk_max_used_space_ratio: percent(
                "disk_max_used_space_ratio",
                self.disk_max_used_space_ratio,
                usual.disk_max_used_space_ratio,
            )?,
            disk_space_clean_forcibly_ratio: percent(
                "disk_space_clean_forcibly_ratio",
                self.disk_space_clean_forcibly_ratio,
                usual.disk_space_clean_forcibly_ratio,
            )?,
            disk_space_warning_level_ratio: percent(
                "disk_space_warning_level_ratio",
                self.disk_space_warning_level_ratio,
                usual.disk_space_warning_level_ratio,
            )?,
            clean_file_forcibly: self.clean_file_forcibly_enable.unwrap_or(usual.clean_file_forcibly),
            commit_log_bytes_max: self.commit_log_size_max.as_ref().map(size).transpose()?,
        })
    }

    /// Keys that say what is in effect.
    pub fn of(retention: &Retention) -> RetentionKeys {
        let hours: Vec<String> = retention.delete_when.iter().map(|hour| format!("{hour:02}")).collect();
        RetentionKeys {
            file_reserved_time: Some(duration::format(retention.file_reserved_time)),
            delete_when: Some(hours.join(";")),
            disk_max_used_space_ratio: Some(retention.disk_max_used_space_ratio),
            disk_space_clean_forcibly_ratio: Some(retention.disk_space_clean_forcibly_ratio),
            disk_space_warning_level_ratio: Some(retention.disk_space_warning_level_ratio),
            clean_file_forcibly_enable: Some(retention.clean_file_forcibly),
            commit_log_size_max: retention.commit_log_bytes_max.map(|bytes| format!("{bytes}B")),
        }
    }
}

/// RocketMQ's number of hours, or a duration.
fn reserved_time(text: &String) -> Result<Duration, ConfigError> {
    let hours = text.parse::<u32>().map(|hours| Duration::from_secs(u64::from(hours) * 3_600)).ok();
    let time = hours.map_or_else(|| duration::parse(text), Ok);
    time.map_err(|reason| ConfigError(format!("retention.file_reserved_time '{text}' {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_rules_and_rules_keys() {
        let keys = RetentionKeys {
            file_reserved_time: Some("48".into()),
            delete_when: Some("04; 16".into()),
            commit_log_size_max: Some("2GiB".into()),
            ..RetentionKeys::default()
        };
        let rules = keys.effective().unwrap();
        assert_eq!(rules.file_reserved_time, Duration::from_secs(48 * 3_600));
        assert_eq!((rules.delete_when.clone(), rules.commit_log_bytes_max), (vec![4, 16], Some(2 << 30)));
        assert_eq!(RetentionKeys::of(&rules).effective().unwrap(), rules);
        assert_eq!(RetentionKeys::default().effective().unwrap(), Retention::default());
        let days = RetentionKeys { file_reserved_time: Some("3d".into()), ..RetentionKeys::default() };
        assert_eq!(days.or(keys).effective().unwrap().file_reserved_time, Duration::from_secs(72 * 3_600));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |keys: RetentionKeys| keys.effective().unwrap_err().to_string();
        let usual = RetentionKeys::default;
        for hours in ["", "24", "4am", "04,16"] {
            let keys = RetentionKeys { delete_when: Some(hours.into()), ..usual() };
            assert!(refused(keys).contains("delete_when"), "{hours}");
        }
        assert!(refused(RetentionKeys { file_reserved_time: Some("soon".into()), ..usual() }).contains("'soon'"));
        assert!(refused(RetentionKeys { commit_log_size_max: Some("1TB".into()), ..usual() }).contains("size_max"));
        let low = RetentionKeys { disk_space_warning_level_ratio: Some(9), ..usual() };
        assert!(refused(low).contains("disk_space_warning_level_ratio"));
    }
}
