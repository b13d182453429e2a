//! Who may call: users, each an access key and a secret, as RocketMQ's clients have them. Without users nobody is
//! asked.
//!
//! RocketMQ's signature covers the caller's clock alone, and HTTP Basic carries the secret itself: both are taken only
//! where nobody between can read along, and what they do not say is protected by that connection.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_broker_core::clock::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, header};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use crate::error::GatewayError;
use crate::transport::ConnectionInfo;

const SCHEME: &str = "MQv2-HMAC-SHA1";
const DATE_TIME: HeaderName = HeaderName::from_static("x-mq-date-time");
/// Clients sign the time of their own zone, which may be as far off, and clocks are never quite right.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(14 * 3_600 + 5 * 60);
/// Longest header that is looked at.
const CREDENTIALS_BYTES_MAX: usize = 1_024;
/// Signed in place of the secret of a user that is not there: whether it is shall not show in the time.
const NOBODY: &[u8] = b"nobody knows this, and it opens nothing";

/// Secrets by access key.
#[derive(Default)]
pub struct Users(BTreeMap<String, String>);

impl Users {
    pub fn new(users: impl IntoIterator<Item = (String, String)>) -> Users {
        Users(users.into_iter().collect())
    }

    /// Nobody is asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By RocketMQ's signature. `now` is the wall's time.
    pub fn admit_signed(
        &self,
        headers: &HeaderMap,
        connection: Option<&ConnectionInfo>,
        now: Timestamp,
    ) -> Result<(), GatewayError> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.signed(private(credentials(headers)?, connection)?, headers, now)
    }

    /// By RocketMQ's signature or by HTTP Basic.
    pub fn admit(
        &self,
        headers: &HeaderMap,
        connection: Option<&ConnectionInfo>,
        now: Timestamp,
    ) -> Result<(), GatewayError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let credentials = private(credentials(headers)?, connection)?;
        match credentials.split_once(' ') {
            Some((scheme, encoded)) if scheme.eq_ignore_ascii_case("Basic") => self.basic(encoded.trim()),
            _ => self.signed(credentials, headers, now),
        }
    }

    fn basic(&self, encoded: &str) -> Result<(), GatewayError> {
        let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((access_key, secret)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return refused("the credentials are not base64 of ACCESS_KEY:SECRET");
        };
        let known = self.0.get(access_key);
        // Of equal length whatever the secrets are.
        let of = |secret: &[u8]| signature(NOBODY, secret);
        let is_right = of(known.map_or(NOBODY, |known| known.as_bytes())).ct_eq(&of(secret.as_bytes()));
        if known.is_some() && bool::from(is_right) { Ok(()) } else { wrong() }
    }

    fn signed(&self, credentials: &str, headers: &HeaderMap, now: Timestamp) -> Result<(), GatewayError> {
        let Some(fields) = credentials.strip_prefix(SCHEME).and_then(|rest| rest.strip_prefix(' ')) else {
            return refused("the authorization header is of another scheme than MQv2-HMAC-SHA1");
        };
        let field = |name: &str| {
            let fields = fields.split(',').filter_map(|field| field.trim().split_once('='));
            fields.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
        };
        let access_key = field("Credential").and_then(|credential| credential.split('/').next());
        let signed = field("Signature").and_then(unhex);
        let (Some(access_key), Some(signed)) = (access_key, signed) else {
            return refused("the authorization header lacks its Credential or its Signature of 40 hex digits");
        };
        let Some(date_time) = headers.get(DATE_TIME).filter(|text| text.len() <= CREDENTIALS_BYTES_MAX) else {
            return refused("the header x-mq-date-time is missing, which is what is signed");
        };
        let known = self.0.get(access_key);
        let expected = signature(known.map_or(NOBODY, |secret| secret.as_bytes()), date_time.as_bytes());
        if known.is_none() || !bool::from(expected.ct_eq(&signed)) {
            return wrong();
        }
        // Not every client writes its time in the same way; one that cannot be read proves nothing, either way.
        let signed_at = date_time.to_str().ok().and_then(parse_date_time);
        if signed_at.is_some_and(|at| at.since(now).max(now.since(at)) > CLOCK_DIFFERENCE_MAX) {
            return refused("the signed time is more than 14 hours from the server's: set the clock");
        }
        Ok(())
    }
}

fn credentials(headers: &HeaderMap) -> Result<&str, GatewayError> {
    let Some(header) = headers.get(header::AUTHORIZATION) else {
        return refused("the call carries no credentials, and this server asks for them");
    };
    match header.to_str() {
        Ok(text) if text.len() <= CREDENTIALS_BYTES_MAX => Ok(text.trim()),
        _ => refused("the authorization header cannot be read"),
    }
}

fn private<'a>(credentials: &'a str, connection: Option<&ConnectionInfo>) -> Result<&'a str, GatewayError> {
    if connection.is_some_and(|connection| connection.is_private) {
        Ok(credentials)
    } else {
        refused("credentials are taken over TLS or from the same machine alone: connect with TLS")
    }
}

/// Does not say which of the two is wrong.
fn wrong<T>() -> Result<T, GatewayError> {
    refused("the access key is unknown or its secret is another")
}

fn refused<T>(reason: &'static str) -> Result<T, GatewayError> {
    Err(GatewayError::Unauthenticated { reason })
}

fn signature(secret: &[u8], text: &[u8]) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// In either case: clients differ.
fn unhex(text: &str) -> Option<[u8; 20]> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let digits: [u8; 40] = digits.try_into().ok()?;
    let mut bytes = [0; 20];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = pair[0] << 4 | pair[1];
    }
    Some(bytes)
}

/// `20261122T063905Z`, which most clients write in local time all the same, or RFC 3339.
fn parse_date_time(text: &str) -> Option<Timestamp> {
    let compact = || DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?.to_zoned(TimeZone::UTC).ok();
    let at = compact().map(|zoned| zoned.timestamp()).or_else(|| text.parse().ok())?;
    Some(Timestamp(at.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const NOW: &str = "20261122T063905Z";

    fn users() -> Users {
        Users::new([("app".to_string(), "quite secret".to_string())])
    }

    fn from(address: &str, is_private: bool) -> ConnectionInfo {
        let peer: SocketAddr = address.parse().unwrap();
        ConnectionInfo::of(peer, is_private)
    }

    fn headers(authorization: &str, date_time: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(header::AUTHORIZATION, authorization), (DATE_TIME, date_time)] {
            if !value.is_empty() {
                headers.insert(name, value.parse().unwrap());
            }
        }
        headers
    }

    fn signed_by(access_key: &str, secret: &str, date_time: &str, upper: bool) -> HeaderMap {
        let hex: String = signature(secret.as_bytes(), date_time.as_bytes()).map(|byte| format!("{byte:02x}")).concat();
        let hex = if upper { hex.to_uppercase() } else { hex };
        let text = format!("{SCHEME} Credential={access_key}, SignedHeaders=x-mq-date-time, Signature={hex}");
        headers(&text, date_time)
    }

    fn admits(headers: &HeaderMap) -> bool {
        let now = parse_date_time(NOW).unwrap();
        users().admit_signed(headers, Some(&from("127.0.0.1:1", true)), now).is_ok()
    }

    #[test]
    fn the_signature_is_hmac_sha1_of_the_date() {
        // RFC 2202, test cases 1 and 2.
        let expected = unhex("b617318655057264e28bc0b6fb378c8ef146be00").unwrap();
        assert_eq!(signature(&[0x0b; 20], b"Hi There"), expected);
        let expected = unhex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79").unwrap();
        assert_eq!(signature(b"Jefe", b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn every_clients_way_of_writing_it_is_taken() {
        for access_key in ["app", "app//Rocketmq", "app/cn-hangzhou/RocketMQ"] {
            for upper in [true, false] {
                assert!(admits(&signed_by(access_key, "quite secret", NOW, upper)), "{access_key}");
            }
        }
        for date_time in
            ["2026-11-22T06:39:05.123456789+00:00", "20261122T203905Z", "20261121T163905Z", "odd, but signed"]
        {
            assert!(admits(&signed_by("app", "quite secret", date_time, true)), "{date_time}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let good = || signed_by("app", "quite secret", NOW, true);
        let mut other_date = good();
        other_date.insert(DATE_TIME, "20261122T063906Z".parse().unwrap());
        let mut no_date = good();
        no_date.remove(DATE_TIME);
        for (why, headers) in [
            ("no credentials", HeaderMap::new()),
            ("another secret", signed_by("app", "guess", NOW, true)),
            ("nobody", signed_by("nobody", "quite secret", NOW, true)),
            ("what nobody signs with", signed_by("nobody", std::str::from_utf8(NOBODY).unwrap(), NOW, true)),
            ("an empty key, as one client sends it", signed_by("", "", NOW, true)),
            ("another date than the signed one", other_date),
            ("no date", no_date),
            ("too early", signed_by("app", "quite secret", "20261121T163000Z", true)),
            ("too late", signed_by("app", "quite secret", "20261122T205000Z", true)),
            ("another scheme", headers("Bearer x", NOW)),
            ("no fields", headers(SCHEME, NOW)),
            ("half a signature", headers("MQv2-HMAC-SHA1 Credential=app, Signature=ABCD", NOW)),
            ("no hex", headers(&format!("MQv2-HMAC-SHA1 Credential=app, Signature={}", "é".repeat(20)), NOW)),
            ("a long one", headers(&format!("MQv2-HMAC-SHA1 Credential={}", "a".repeat(2_000)), NOW)),
            ("a password, which gRPC does not take", headers("Basic YXBwOnF1aXRlIHNlY3JldA==", NOW)),
        ] {
            assert!(!admits(&headers), "{why}");
        }
    }

    #[test]
    fn credentials_are_for_nobody_else_to_read() {
        let now = parse_date_time(NOW).unwrap();
        let headers = signed_by("app", "quite secret", NOW, true);
        let admits = |connection: Option<&ConnectionInfo>| users().admit_signed(&headers, connection, now).is_ok();
        assert!(admits(Some(&from("10.0.0.1:1", true))));
        assert!(!admits(Some(&from("10.0.0.1:1", false))) && !admits(None));
        let nobody_asks = Users::default().admit_signed(&HeaderMap::new(), None, now);
        assert!(nobody_asks.is_ok());
    }

    #[test]
    fn http_takes_passwords_too() {
        let now = parse_date_time(NOW).unwrap();
        let here = from("127.0.0.1:1", true);
        let admits = |text: &str| users().admit(&headers(text, NOW), Some(&here), now).is_ok();
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert!(admits(&basic("app:quite secret")) && admits(&basic("app:quite secret").replace("Basic", "basic")));
        for wrong in ["app:guess", "app:", "app", "nobody:quite secret", ":", "app:quite secret:", ""] {
            assert!(!admits(&basic(wrong)), "{wrong}");
        }
        assert!(!admits("Basic ***") && !admits("Basic"));
        assert!(users().admit(&signed_by("app", "quite secret", NOW, false), Some(&here), now).is_ok());
    }
}
