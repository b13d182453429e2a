//! What a run found: one object for programs, one table for people.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::plan::{Protocol, Shape};
use crate::numbers::grouped;

/// The outcome of one run, printed by `--json`. Field names are a contract: they only grow.
///
/// What is counted in the *window*: the time after the warm-up and before the end. What is counted over the whole *run*
/// has no warm-up taken off, so that nothing that went wrong is ever left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `send`, `receive`, `mixed` or `fanout`.
    pub command: Shape,
    /// `grpc` or `http`.
    pub protocol: Protocol,
    pub address: String,
    /// Bytes of one body.
    pub message_bytes: usize,
    /// Messages of one sending call, and most messages of one receiving call.
    pub batch: usize,
    /// Connections, those of consumers included.
    pub connections: usize,
    /// Sending or receiving calls at once on one connection.
    pub in_flight: usize,
    pub threads: usize,
    /// Messages a second the run was to send; null: as many as possible.
    pub target_rate: Option<f64>,
    pub warm_up_seconds: f64,
    /// Length of the window as it was.
    pub seconds: f64,
    /// Messages done in the window: confirmed by the server (`send`, `mixed`), received and acknowledged (`receive`),
    /// or delivered (`fanout`).
    pub messages: u64,
    /// Calls of every kind that succeeded in the window; long polls that ended empty are none.
    pub calls: u64,
    pub messages_per_second: f64,
    pub calls_per_second: f64,
    /// Bytes of bodies.
    pub bytes_per_second: f64,
    /// Failures in the whole run by code: RocketMQ's or the problem's, `timeout`, `connection`. A failed sending call
    /// counts once for each of its messages.
    pub errors: BTreeMap<String, u64>,
    /// Messages of the window that left more than 1 ms after their intended moment, or never did before the end.
    pub late: u64,
    /// Messages confirmed in the whole run.
    pub sent: u64,
    /// Deliveries in the whole run, repeated ones and those of earlier runs included.
    pub received: u64,
    /// Messages confirmed and not delivered when the run ended, to each group; null where nothing is compared.
    pub missing: Option<u64>,
    /// Deliveries of a message that its group had been given before; null where nothing is compared.
    pub duplicates: Option<u64>,
    /// Of a sending call from its intended moment to its answer; of a receiving call in `receive`.
    pub latency_us: Option<Percentiles>,
    /// From the intended moment of the send to the message in a consumer's hands.
    pub end_to_end_us: Option<Percentiles>,
    /// From the intended moment of the send to the answer of the parked poll that it woke.
    pub wake_us: Option<Percentiles>,
    /// CPU time of this program in the window, user and system, for each message.
    pub loader_cpu_us_per_message: Option<f64>,
}

/// Microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many values these are percentiles of.
    pub count: u64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub p9999: f64,
    pub max: f64,
}

impl Percentiles {
    /// Of nanoseconds; `None` of nothing.
    pub fn of(nanoseconds: &Histogram<u64>) -> Option<Percentiles> {
        if nanoseconds.is_empty() {
            return None;
        }
        let at = |quantile| tenths(nanoseconds.value_at_quantile(quantile) as f64 / 1e3);
        Some(Percentiles {
            count: nanoseconds.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: tenths(nanoseconds.max() as f64 / 1e3),
        })
    }
}

/// More digits would be noise.
pub(super) fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl Report {
    /// Nothing failed, nothing is missing, nothing came twice.
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.missing.unwrap_or_default() == 0 && self.duplicates.unwrap_or_default() == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate =
            self.target_rate.map_or("as fast as possible".into(), |rate| format!("{} messages/s", grouped(rate)));
        writeln!(f, "{} over {} to {}: {rate}", self.command, self.protocol, self.address)?;
        writeln!(
            f,
            "{} bytes, batch {}, {} connections x {} in flight, {} threads, {:.1} s after {:.1} s of warm-up\n",
            self.message_bytes,
            self.batch,
            self.connections,
            self.in_flight,
            self.threads,
            self.seconds,
            self.warm_up_seconds
        )?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: &str| writeln!(f, "{name:<18}{value:>14}");
        row(f, "messages", &grouped(self.messages as f64))?;
        row(f, "messages/s", &grouped(self.messages_per_second))?;
        row(f, "calls/s", &grouped(self.calls_per_second))?;
        row(f, "MB/s", &format!("{:.1}", self.bytes_per_second / 1e6))?;
        if self.target_rate.is_some() {
            row(f, "late", &grouped(self.late as f64))?;
        }
        if let (Some(missing), Some(duplicates)) = (self.missing, self.duplicates) {
            row(f, "missing", &grouped(missing as f64))?;
            row(f, "duplicates", &grouped(duplicates as f64))?;
        }
        if let Some(cpu) = self.loader_cpu_us_per_message {
            row(f, "loader us/message", &format!("{cpu:.2}"))?;
        }
        let times = [("latency", self.latency_us), ("end to end", self.end_to_end_us), ("wake", self.wake_us)];
        if times.iter().any(|(_, percentiles)| percentiles.is_some()) {
            let heads = ["p50", "p90", "p99", "p99.9", "p99.99", "max"];
            write!(f, "\n{:<12}", "us")?;
            heads.iter().try_for_each(|head| write!(f, "{head:>12}"))?;
            writeln!(f)?;
        }
        for (name, percentiles) in times {
            let Some(p) = percentiles else { continue };
            write!(f, "{name:<12}")?;
            [p.p50, p.p90, p.p99, p.p999, p.p9999, p.max].iter().try_for_each(|value| write!(f, "{value:>12.1}"))?;
            writeln!(f)?;
        }
        if self.errors.is_empty() {
            return writeln!(f, "\nno errors");
        }
        writeln!(f, "\nerrors")?;
        self.errors.iter().try_for_each(|(code, count)| writeln!(f, "  {code:<34}{:>12}", grouped(*count as f64)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            command: Shape::Mixed,
            protocol: Protocol::Grpc,
            address: "127.0.0.1:8081".into(),
            message_bytes: 1024,
            batch: 32,
            connections: 4,
            in_flight: 8,
            threads: 1,
            target_rate: None,
            warm_up_seconds: 2.0,
            seconds: 5.0,
            messages: 1_234_567,
            calls: 38_580,
            messages_per_second: 246_913.4,
            calls_per_second: 7_716.0,
            bytes_per_second: 252_839_321.6,
            errors: BTreeMap::new(),
            late: 0,
            sent: 1_300_000,
            received: 1_300_000,
            missing: Some(0),
            duplicates: Some(0),
            latency_us: None,
            end_to_end_us: None,
            wake_us: None,
            loader_cpu_us_per_message: Some(0.9),
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut values = Histogram::new(3).unwrap();
        assert_eq!(Percentiles::of(&values), None);
        (1..=100_000u64).for_each(|us| values.record(us * 1_000).unwrap());
        let found = Percentiles::of(&values).unwrap();
        let expected =
            [(found.p50, 5e4), (found.p90, 9e4), (found.p99, 9.9e4), (found.p999, 9.99e4), (found.p9999, 9.999e4)];
        for (found, expected) in expected {
            assert!((found / expected - 1.0).abs() < 0.002, "{found} is not {expected}");
        }
        assert!((found.max / 1e5 - 1.0).abs() < 0.002 && found.count == 100_000);
    }

    #[test]
    fn the_object_has_the_fields_it_is_documented_to_have() {
        let mut histogram = Histogram::new(3).unwrap();
        histogram.record(1_500).unwrap();
        let report = Report { latency_us: Percentiles::of(&histogram), ..report() };
        let json = serde_json::to_value(&report).unwrap();
        for field in [
            "command",
            "protocol",
            "address",
            "messageBytes",
            "batch",
            "connections",
            "inFlight",
            "targetRate",
            "seconds",
            "messages",
            "calls",
            "messagesPerSecond",
            "bytesPerSecond",
            "errors",
            "late",
            "missing",
            "duplicates",
            "latencyUs",
            "endToEndUs",
            "wakeUs",
            "loaderCpuUsPerMessage",
        ] {
            assert!(json.get(field).is_some(), "{field} is missing");
        }
        assert_eq!((&json["command"], &json["protocol"]), (&"mixed".into(), &"grpc".into()));
        assert_eq!(json["latencyUs"]["p999"], 1.5);
        assert!(json["targetRate"].is_null() && json["wakeUs"].is_null());
    }

    #[test]
    fn a_run_with_a_flaw_is_not_clean() {
        assert!(report().is_clean());
        assert!(!Report { missing: Some(1), ..report() }.is_clean());
        assert!(!Report { duplicates: Some(1), ..report() }.is_clean());
        assert!(!Report { errors: [("timeout".into(), 1)].into(), ..report() }.is_clean());
    }

    #[test]
    fn the_table_says_what_a_person_asks() {
        let text = report().to_string();
        for words in ["mixed over grpc to 127.0.0.1:8081", "1,234,567", "246,913", "missing", "no errors"] {
            assert!(text.contains(words), "'{words}' is not in\n{text}");
        }
        let failed = Report { errors: [("TOPIC_NOT_FOUND".into(), 12)].into(), ..report() }.to_string();
        assert!(failed.contains("TOPIC_NOT_FOUND") && !failed.contains("no errors"));
    }
}
