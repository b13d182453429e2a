//! Peers without manners on the gRPC port, and what they say: for whoever sees what they cost the server, or those beside
//! them. Frames are written by hand: no client library sends what is sent here.

use gantry_proto::grpc::v2;
use prost::Message as _;

use crate::h2::{
    CONTINUATION, END_HEADERS, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, head_of, put_call, put_frame, put_header,
};

/// Peers that stay do so on so many connections, with so many streams on each.
pub const CONNECTIONS: usize = 4;
const STREAMS: usize = 1_000;
/// One write carries several times as many as the server lets wait, so that it has them before it also when it keeps pace with
/// its peer.
pub const RESETS_AT_ONCE: usize = 5_000;
const CALLS_AT_ONCE: usize = 100;
const STREAM_MAX: u32 = u32::MAX >> 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Opens streams and resets them.
    Resets,
    /// Sends a header list without end.
    Headers,
    /// Opens Telemetry streams and says nothing on them.
    SilentStreams,
    /// Asks, and reads no answer.
    NeverReads,
    /// Asks, and opens no window for the answers.
    NoWindow,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Peer::Resets => "streams opened and reset",
            Peer::Headers => "a header list without end",
            Peer::SilentStreams => "4,000 silent Telemetry streams",
            Peer::NeverReads => "a client that never reads",
            Peer::NoWindow => "4,000 calls with a window of 0",
        }
    }

    /// What it says first.
    pub fn settings(self) -> &'static [(u16, u32)] {
        match self {
            Peer::NeverReads => &[(INITIAL_WINDOW_SIZE, STREAM_MAX)],
            Peer::NoWindow => &[(INITIAL_WINDOW_SIZE, 0)],
            _ => &[],
        }
    }

    /// What it says then, write by write: without end, but for those that stay.
    pub fn says(self) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        let heartbeat = head_of("Heartbeat", "hostile");
        match self {
            Peer::Resets => streams(RESETS_AT_ONCE, move |out, stream| {
                put_frame(out, HEADERS, END_HEADERS, stream, &heartbeat);
                put_frame(out, RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            }),
            Peer::Headers => {
                let (mut opening, mut part, mut more) = Default::default();
                put_frame(&mut opening, HEADERS, 0, 1, &heartbeat);
                (0..100).for_each(|_| put_header(&mut part, "x-filler", &"x".repeat(100)));
                put_frame(&mut more, CONTINUATION, 0, 1, &part);
                Box::new(std::iter::once(opening).chain(std::iter::repeat(more)))
            }
            Peer::SilentStreams => {
                let head = head_of("Telemetry", "hostile");
                let open = move |out: &mut Vec<u8>, stream| put_frame(out, HEADERS, END_HEADERS, stream, &head);
                Box::new(streams(STREAMS, open).take(1))
            }
            Peer::NeverReads => streams(CALLS_AT_ONCE, asks()),
            Peer::NoWindow => Box::new(streams(STREAMS, asks()).take(1)),
        }
    }
}

/// A client's streams one after the other, so many in a write.
fn streams(
    at_once: usize,
    mut put: impl FnMut(&mut Vec<u8>, u32) + Send + 'static,
) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
    let mut streams = (1..STREAM_MAX).step_by(2);
    Box::new(std::iter::from_fn(move || {
        let mut together = Vec::new();
        streams.by_ref().take(at_once).for_each(|stream| put(&mut together, stream));
        Some(together).filter(|together| !together.is_empty())
    }))
}

fn asks() -> impl FnMut(&mut Vec<u8>, u32) {
    let head = head_of("QueryRoute", "hostile");
    let topic = Some(v2::Resource { name: "t".into(), ..v2::Resource::default() });
    let asked = v2::QueryRouteRequest { topic, endpoints: None }.encode_to_vec();
    move |out, stream| put_call(out, stream, &head, &asked)
}
