//! Durations as people write them: `"1.5s"`, `"72h"`.

use std::time::Duration;

const UNITS: [(&str, f64); 5] = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];
/// Longer is no duration that anything here accepts.
const DAYS_MAX: f64 = 36_500.0;

/// A number and a unit: ms, s, m, h, d. The error says what is wrong, to be put behind the text.
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    if unit.is_empty() && !number.is_empty() {
        return Err("has no unit: write for example \"30s\" or \"250ms\"");
    }
    let (_, seconds) =
        UNITS.iter().find(|(known, _)| *known == unit).ok_or("is no duration: units are ms, s, m, h, d")?;
    let well_formed = number.starts_with(|c: char| c.is_ascii_digit()) && !number.ends_with('.');
    let number: f64 = number.parse().ok().filter(|_| well_formed).ok_or("is no duration")?;
    let duration = number * seconds;
    if duration > DAYS_MAX * 86_400.0 {
        return Err("is too long");
    }
    Ok(Duration::from_millis((duration * 1_000.0).round() as u64))
}

/// The shortest exact form.
pub fn format(duration: Duration) -> String {
    let ms = duration.as_millis();
    for (unit, unit_ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if ms >= unit_ms && ms.is_multiple_of(unit_ms) {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}
