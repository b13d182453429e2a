//! The PROXY header, versions 1 and 2: a load balancer's word on whom it connects. Only networks that the configuration
//! names are believed, and they must send it: guessing whether one is there would let anybody speak for anybody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Version 2 begins with these bytes; version 1 is never shorter.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const V1_BYTES_MAX: usize = 107;
/// Version 2: addresses and whatever else the load balancer tells.
const V2_REST_BYTES_MAX: usize = 4 * 1024;
/// The field of version 2 that speaks of TLS between client and load balancer.
const TYPE_TLS: u8 = 0x20;

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        let same =
            |ours: u128, theirs: u128, width: u32| (ours ^ theirs).checked_shr(width - self.bits).unwrap_or(0) == 0;
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => same(ours.to_bits().into(), theirs.to_bits().into(), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), 128),
            _ => false,
        }
    }
}

impl std::str::FromStr for Network {
    type Err = &'static str;

    /// `10.0.0.0/8`, or one address.
    fn from_str(text: &str) -> Result<Network, &'static str> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| "is no address and no network such as 10.0.0.0/8")?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| "has no number of bits behind its /")?;
        if bits > width {
            return Err("has more bits than its addresses");
        }
        Ok(Network { address, bits })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.address, self.bits)
    }
}

/// For whom the load balancer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    pub address: SocketAddr,
    /// TLS ended at the load balancer.
    pub is_private: bool,
}

/// Reads the header and not a byte more. `None`: the load balancer speaks for itself, or for somebody without an
/// address.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Client>> {
    let mut begin = [0; SIGNATURE.len()];
    stream.read_exact(&mut begin).await?;
    if begin == SIGNATURE {
        let mut head = [0; 4];
        stream.read_exact(&mut head).await?;
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if len > V2_REST_BYTES_MAX {
            return Err(malformed("is too long"));
        }
        let mut rest = vec![0; len];
        stream.read_exact(&mut rest).await?;
        return version_2(head[0], head[1], &rest);
    }
    let mut line = begin.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == V1_BYTES_MAX || !line.starts_with(b"PROXY ") {
            return Err(malformed("is missing"));
        }
        line.push(stream.read_u8().await?);
    }
    version_1(&line)
}

fn version_1(line: &[u8]) -> io::Result<Option<Client>> {
    let line = std::str::from_utf8(line).map_err(|_| malformed("is no text"))?;
    let words: Vec<&str> = line.trim_end_matches("\r\n").split(' ').collect();
    let (source, port) = match words[..] {
        ["PROXY", "UNKNOWN", ..] => return Ok(None),
        ["PROXY", "TCP4", source, _, port, _] => (source.parse::<Ipv4Addr>().map(IpAddr::V4), port),
        ["PROXY", "TCP6", source, _, port, _] => (source.parse::<Ipv6Addr>().map(IpAddr::V6), port),
        _ => return Err(malformed("names no addresses")),
    };
    match (source, port.parse()) {
        (Ok(source), Ok(port)) => Ok(Some(Client { address: SocketAddr::new(source, port), is_private: false })),
        _ => Err(malformed("names no addresses")),
    }
}

/// `command`: version and command; `family`: kind of addresses and transport; `rest`: addresses, then fields.
fn version_2(command: u8, family: u8, rest: &[u8]) -> io::Result<Option<Client>> {
    match command {
        // A health check of the load balancer's own.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(malformed("is of an unknown version")),
    }
    let short = || malformed("is too short for its addresses");
    let (address, fields) = match family {
        0x11 => {
            let (addresses, fields) = rest.split_first_chunk::<12>().ok_or_else(short)?;
            let [a, b, c, d, _, _, _, _, p, q, ..] = *addresses;
            (SocketAddr::from(([a, b, c, d], u16::from_be_bytes([p, q]))), fields)
        }
        0x21 => {
            let (addresses, fields) = rest.split_first_chunk::<36>().ok_or_else(short)?;
            let source = Ipv6Addr::from(*addresses.first_chunk::<16>().expect("36 bytes"));
            (SocketAddr::from((source, u16::from_be_bytes([addresses[32], addresses[33]]))), fields)
        }
        _ => return Ok(None),
    };
    Ok(Some(Client { address, is_private: says_tls(fields) }))
}

/// Fields: | u8 type | u16 length | value |. The first byte of the field of TLS has its lowest bit set if there was
/// any.
fn says_tls(mut fields: &[u8]) -> bool {
    while let Some(([kind, high, low], rest)) = fields.split_first_chunk::<3>() {
        let Some((value, next)) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low]))) else { break };
        if *kind == TYPE_TLS {
            return value.first().is_some_and(|flags| flags & 1 != 0);
        }
        fields = next;
    }
    false
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the PROXY header of a trusted peer {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, and what is left.
    async fn given(bytes: &[u8]) -> (io::Result<Option<Client>>, usize) {
        let mut stream = bytes;
        let read = read(&mut stream).await;
        (read, stream.len())
    }

    fn client(address: &str, is_private: bool) -> Client {
        Client { address: address.parse().unwrap(), is_private }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, rest, b"rest"].concat()
    }

    #[tokio::test]
    async fn both_versions_are_read_and_nothing_behind_them() {
        let v4 = [10, 1, 2, 3, 10, 0, 0, 1, 0x12, 0x34, 0, 80];
        let v6 = [&Ipv6Addr::LOCALHOST.octets()[..], &[0; 16], &[0x12, 0x34, 0, 80]].concat();
        let tls = |flags: u8| [&v4[..], &[0x01, 0, 2, b'h', b'2'], &[TYPE_TLS, 0, 5, flags, 0, 0, 0, 0]].concat();
        for (bytes, expected) in [
            (b"PROXY TCP4 10.1.2.3 10.0.0.1 4660 80\r\nrest".to_vec(), Some(client("10.1.2.3:4660", false))),
            (b"PROXY TCP6 ::1 ::2 4660 80\r\nrest".to_vec(), Some(client("[::1]:4660", false))),
            (b"PROXY UNKNOWN\r\nrest".to_vec(), None),
            (b"PROXY UNKNOWN ff:: ::1 1 2\r\nrest".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some(client("10.1.2.3:4660", false))),
            (v2(0x21, 0x21, &v6), Some(client("[::1]:4660", false))),
            (v2(0x21, 0x11, &tls(1)), Some(client("10.1.2.3:4660", true))),
            (v2(0x21, 0x11, &tls(0)), Some(client("10.1.2.3:4660", false))),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let (read, left) = given(&bytes).await;
            assert_eq!((read.unwrap(), left), (expected, 4), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        for bytes in [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00".to_vec(),
            b"PROXY TCP4 ::1 ::2 1 2\r\n".to_vec(),
            b"PROXY TCP4 10.1.2.3 10.0.0.1 65536 80\r\n".to_vec(),
            b"PROXY TCP4 10.1.2.3\r\n".to_vec(),
            [&b"PROXY TCP4 "[..], &[b'x'; 200], b"\r\n"].concat(),
            b"PROXY".to_vec(),
            v2(0x31, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x11, &vec![0; V2_REST_BYTES_MAX + 1]),
            Vec::new(),
        ] {
            assert!(given(&bytes).await.0.is_err(), "{}", String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn networks_hold_what_begins_alike() {
        let holds =
            |network: &str, address: &str| network.parse::<Network>().unwrap().contains(address.parse().unwrap());
        assert!(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.0.0.7", "10.0.0.7") && !holds("10.0.0.7", "10.0.0.6"));
        assert!(holds("10.0.0.7", "::ffff:10.0.0.7") && !holds("10.0.0.7", "::1"));
        assert!(holds("0.0.0.0/0", "8.8.8.8") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(
            holds("::/0", "2001:db8::1") && holds("2001:db8::/32", "2001:db8:1::") && !holds("2001:db8::/32", "::1")
        );
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/x", "lb.example", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
