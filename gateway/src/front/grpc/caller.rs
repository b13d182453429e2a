//! What a call's headers say of its caller. Unknown languages, versions and protocols are all welcome.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::HeaderMap;
use tonic::Request;
use tonic::metadata::MetadataMap;

use super::GrpcFront;
use super::delivery::Reader;
use crate::error::GatewayError;
use crate::transport::ConnectionInfo;

impl GrpcFront {
    /// May whoever calls do anything here?
    pub(super) fn admitted<T>(&self, request: &Request<T>) -> Result<(), GatewayError> {
        if self.users.is_empty() {
            return Ok(());
        }
        self.users.admit_signed(request.metadata().as_ref(), connection(request), self.clock.wall())
    }

    /// Every call names its client as well; the name itself is opaque.
    pub(super) fn identified<T>(&self, request: &Request<T>) -> Result<(), GatewayError> {
        self.admitted(request)?;
        let client = client_id(request.metadata()).ok_or(GatewayError::ClientIdRequired)?;
        // Whatever it asks for, it lives.
        self.messaging.lives(client);
        Ok(())
    }
}

/// What the client calls itself; blank is no name.
pub fn client_id(metadata: &MetadataMap) -> Option<&[u8]> {
    let id = metadata.get("x-mq-client-id")?.as_bytes().trim_ascii();
    (!id.is_empty()).then_some(id)
}

/// Who has opened a stream.
#[derive(Debug, Clone)]
pub struct Caller {
    pub client_id: String,
    pub language: String,
    pub version: String,
    pub peer: SocketAddr,
    pub is_node: bool,
}

impl Caller {
    pub fn of<T>(request: &Request<T>) -> Caller {
        let metadata = request.metadata();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let header = |name| metadata.get(name).map(|value| text(value.as_bytes())).unwrap_or_default();
        Caller {
            client_id: client_id(metadata).map(text).unwrap_or_default(),
            language: header("x-mq-language"),
            version: header("x-mq-client-version"),
            peer: peer(request),
            is_node: is_node(metadata),
        }
    }
}

/// The Node client, which calls itself HTTP: it misreads retry policies (see `settings` and `receipts`).
pub fn is_node(metadata: &MetadataMap) -> bool {
    metadata.get("x-mq-language").is_some_and(|language| matches!(language.as_bytes(), b"HTTP" | b"NODE_JS"))
}

/// Some clients hand a body on as it came, compressed or not: Rust always, Node unless it is gzip.
pub fn reader(metadata: &MetadataMap) -> Reader {
    let language = metadata.get("x-mq-language").map(|language| language.as_bytes()).unwrap_or_default();
    Reader {
        inflates: language != b"RUST" && !is_node(metadata),
        knows_crc32: matches!(language, b"JAVA" | b"PYTHON" | b"RUST"),
    }
}

/// How long the caller will wait for the whole call.
pub fn time_to_deadline(headers: &HeaderMap) -> Option<Duration> {
    parse_timeout(headers.get("grpc-timeout")?.to_str().ok()?)
}

/// The other end of the connection; the unspecified address when the transport does not say.
pub fn peer<T>(request: &Request<T>) -> SocketAddr {
    connection(request).map_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |info| info.peer)
}

/// Where the call arrived.
pub fn local<T>(request: &Request<T>) -> Option<SocketAddr> {
    connection(request).map(|info| info.local)
}

pub fn connection<T>(request: &Request<T>) -> Option<&ConnectionInfo> {
    request.extensions().get()
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
        let mut metadata = MetadataMap::new();
        assert_eq!(client_id(&metadata), None);
        metadata.insert("x-mq-client-id", "  ".parse().unwrap());
        assert_eq!(client_id(&metadata), None);
        metadata.insert("x-mq-client-id", "host@1#0".parse().unwrap());
        assert_eq!(client_id(&metadata), Some(&b"host@1#0"[..]));
    }
}
