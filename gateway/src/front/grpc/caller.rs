//! What a call's headers say of its caller. Unknown languages, versions and protocols are all welcome.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::ConnectInfo;
use tonic::Request;
use tonic::metadata::MetadataMap;

use crate::error::GatewayError;

/// Every call names its client; the name itself is opaque.
pub fn identified<T>(request: &Request<T>) -> Result<(), GatewayError> {
    match request.metadata().get("x-mq-client-id") {
        Some(id) if !id.as_bytes().trim_ascii().is_empty() => Ok(()),
        _ => Err(GatewayError::ClientIdRequired),
    }
}

/// The Node client, which calls itself HTTP: it misreads retry policies (see `settings` and `receipts`).
pub fn is_node(metadata: &MetadataMap) -> bool {
    metadata.get("x-mq-language").is_some_and(|language| matches!(language.as_bytes(), b"HTTP" | b"NODE_JS"))
}

/// Clients that hand a body on as it came, compressed or not: Rust always, Node unless it is gzip (see `delivery`).
pub fn is_without_inflate(metadata: &MetadataMap) -> bool {
    metadata.get("x-mq-language").is_some_and(|language| language == "RUST") || is_node(metadata)
}

/// How long the caller will wait for the whole call.
pub fn time_to_deadline(metadata: &MetadataMap) -> Option<Duration> {
    parse_timeout(metadata.get("grpc-timeout")?.to_str().ok()?)
}

/// The other end of the connection; the unspecified address when the transport does not say.
pub fn peer<T>(request: &Request<T>) -> SocketAddr {
    request
        .remote_addr()
        .or_else(|| request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0))
        .unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}

/// gRPC's own notation: 1 to 8 digits and a unit. Anything else counts as no timeout.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_and_nonsense_is_none() {
        assert_eq!(parse_timeout("3S"), Some(Duration::from_secs(3)));
        assert_eq!(parse_timeout("23000m"), Some(Duration::from_secs(23)));
        assert_eq!(parse_timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for text in ["", "S", "3", "-3S", "123456789S", "3X", "3é", "é"] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
    }

    #[test]
    fn a_blank_client_id_is_none() {
        let mut request = Request::new(());
        assert!(matches!(identified(&request), Err(GatewayError::ClientIdRequired)));
        request.metadata_mut().insert("x-mq-client-id", "  ".parse().unwrap());
        assert!(matches!(identified(&request), Err(GatewayError::ClientIdRequired)));
        request.metadata_mut().insert("x-mq-client-id", "host@1#0".parse().unwrap());
        assert!(identified(&request).is_ok());
    }
}
