//! Durations and times as people write them: `"1.5s"`, `"12h"`; RFC 3339 or milliseconds.

use std::time::Duration;

use gantry_broker_core::clock::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};

use crate::duration;
use crate::error::{FieldAt, GatewayError};

/// A number and a unit: ms, s, m, h, d.
pub(super) fn parse_duration(text: &str, at: FieldAt) -> Result<Duration, GatewayError> {
    duration::parse(text).map_err(|reason| GatewayError::InvalidDuration { at, reason: format!("'{text}' {reason}") })
}

/// RFC 3339, or milliseconds since 1970.
pub(super) fn parse_timestamp(text: &str, at: FieldAt) -> Result<Timestamp, GatewayError> {
    let refuse = || GatewayError::InvalidTimestamp {
        at: at.clone(),
        reason: format!("'{text}' is no time: write RFC 3339 or milliseconds since 1970"),
    };
    let ms = match text.parse::<i64>() {
        Ok(ms) => ms,
        Err(_) => text.parse::<jiff::Timestamp>().map_err(|_| refuse())?.as_millisecond(),
    };
    jiff::Timestamp::from_millisecond(ms).map_err(|_| refuse())?;
    Ok(Timestamp(ms))
}

/// A time in an answer: RFC 3339 in UTC with milliseconds, or the milliseconds themselves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    pub(super) at: Timestamp,
    pub(super) as_ms: bool,
}

impl Time {
    pub(super) fn text(self) -> String {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        match jiff::Timestamp::from_millisecond(self.at.0) {
            Ok(time) => PRINTER.timestamp_to_string(&time),
            Err(_) => self.at.to_string(),
        }
    }
}

impl utoipa::ToSchema for Time {}

impl utoipa::PartialSchema for Time {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let ms = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .description(Some("Milliseconds since 1970, with `timeFormat=ms`"));
        OneOfBuilder::new().item(text).item(ms).into()
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.as_ms { serializer.serialize_i64(self.at.0) } else { serializer.serialize_str(&self.text()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> FieldAt {
        FieldAt::Query("d".into())
    }

    #[test]
    fn durations() {
        for (text, ms) in [("250ms", 250), ("1.5s", 1_500), ("12h", 43_200_000), ("40d", 3_456_000_000), ("0s", 0)] {
            assert_eq!(parse_duration(text, here()).unwrap().as_millis(), ms, "{text}");
        }
        for text in ["", "5", "s", "-1s", "1 s", "1w", "1.s", ".5s", "1e3s", "1.2.3s", "99999999d", "s5"] {
            assert!(matches!(parse_duration(text, here()), Err(GatewayError::InvalidDuration { .. })), "{text}");
        }
        for text in ["250ms", "90s", "12h", "40d", "0ms", "2m"] {
            assert_eq!(duration::format(parse_duration(text, here()).unwrap()), text);
        }
    }

    #[test]
    fn times() {
        for text in ["2026-01-02T03:04:05.678Z", "2026-01-02T04:04:05.678+01:00", "1767323045678"] {
            assert_eq!(parse_timestamp(text, here()).unwrap(), Timestamp(1_767_323_045_678), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-02", "99999999999999999"] {
            assert!(parse_timestamp(text, here()).is_err(), "{text}");
        }
        let time = Time { at: Timestamp(1_767_323_045_000), as_ms: false };
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2026-01-02T03:04:05.000Z\"");
        assert_eq!(serde_json::to_string(&Time { as_ms: true, ..time }).unwrap(), "1767323045000");
    }
}
