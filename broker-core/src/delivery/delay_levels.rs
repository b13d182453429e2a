//! The delay levels (RocketMQ's `messageDelayLevel`): a short list of pauses that producers name by number, from 1.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Most levels: each is a queue of its own.
pub const DELAY_LEVELS_MAX: usize = 64;
/// Longest time by which a message may be delayed, whichever way it is said.
pub const DELAY_MAX: Duration = Duration::from_secs(40 * 24 * 3_600);

/// By level, 1 being the first. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayLevels(Arc<[Duration]>);

impl DelayLevels {
    /// Says nothing about level 0 and levels beyond the last.
    pub fn delay(&self, level: u32) -> Option<Duration> {
        self.0.get((level as usize).checked_sub(1)?).copied()
    }

    /// How long RocketMQ keeps a stored message of this level: the longest time for a level that was taken away since.
    pub fn delay_of_stored(&self, level: usize) -> Duration {
        level.min(self.0.len()).checked_sub(1).map_or(Duration::from_secs(1), |at| self.0[at])
    }

    pub fn count(&self) -> u32 {
        self.0.len() as u32
    }
}

/// RocketMQ's eighteen.
impl Default for DelayLevels {
    fn default() -> DelayLevels {
        const SECONDS: [u64; 18] =
            [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200];
        DelayLevels(SECONDS.map(Duration::from_secs).into())
    }
}

/// Why a list of levels was refused; reads after "messageDelayLevel".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelayLevelsError {
    #[error("names no level")]
    Empty,
    #[error("names more than {DELAY_LEVELS_MAX} levels")]
    TooMany,
    #[error("holds '{0}', which is not a whole number and one of s, m, h and d, from 1s to 40d")]
    Level(String),
}

/// RocketMQ's text: `1s 5s 10m 2h`.
impl FromStr for DelayLevels {
    type Err = DelayLevelsError;

    fn from_str(text: &str) -> Result<DelayLevels, DelayLevelsError> {
        let level = |word: &str| {
            let refused = || DelayLevelsError::Level(word.escape_debug().to_string());
            let unit = match word.bytes().last() {
                Some(b's') => 1,
                Some(b'm') => 60,
                Some(b'h') => 3_600,
                Some(b'd') => 24 * 3_600,
                _ => return Err(refused()),
            };
            let digits = &word[..word.len() - 1];
            let number: Option<u64> =
                digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten();
            let delay = number.and_then(|number| number.checked_mul(unit)).map(Duration::from_secs);
            delay.filter(|delay| !delay.is_zero() && *delay <= DELAY_MAX).ok_or_else(refused)
        };
        let levels = text.split_ascii_whitespace().map(level).collect::<Result<Vec<_>, _>>()?;
        match levels.len() {
            0 => Err(DelayLevelsError::Empty),
            1..=DELAY_LEVELS_MAX => Ok(DelayLevels(levels.into())),
            _ => Err(DelayLevelsError::TooMany),
        }
    }
}

impl fmt::Display for DelayLevels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, delay) in self.0.iter().enumerate() {
            let seconds = delay.as_secs();
            let (number, unit) = [(24 * 3_600, 'd'), (3_600, 'h'), (60, 'm')]
                .into_iter()
                .find(|(unit, _)| seconds % unit == 0)
                .map_or((seconds, 's'), |(unit, letter)| (seconds / unit, letter));
            let gap = if at == 0 { "" } else { " " };
            write!(f, "{gap}{number}{unit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_rocketmqs_and_reads_back() {
        let text = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
        assert_eq!(DelayLevels::default().to_string(), text);
        assert_eq!(text.parse(), Ok(DelayLevels::default()));
        assert_eq!("  90s\t40d ".parse::<DelayLevels>().unwrap().to_string(), "90s 40d");
    }

    #[test]
    fn levels_count_from_one() {
        let levels: DelayLevels = "1s 2h".parse().unwrap();
        assert_eq!(
            [0, 1, 2, 3].map(|level| levels.delay(level).map(|delay| delay.as_secs())),
            [None, Some(1), Some(7_200), None]
        );
        assert_eq!([0, 1, 2, 3].map(|level| levels.delay_of_stored(level).as_secs()), [1, 1, 7_200, 7_200]);
    }

    #[test]
    fn what_is_no_level_is_named() {
        for word in ["1", "s", "1w", "-1s", "+1s", "0s", "1.5s", "41d", "99999999999999999999s", "1é"] {
            let refused = format!("1s {word}").parse::<DelayLevels>().unwrap_err();
            assert_eq!(refused, DelayLevelsError::Level(word.to_string()));
        }
        assert_eq!(" ".parse::<DelayLevels>(), Err(DelayLevelsError::Empty));
        assert_eq!("1s ".repeat(DELAY_LEVELS_MAX + 1).parse::<DelayLevels>(), Err(DelayLevelsError::TooMany));
    }
}
