//! Peers without manners on the gRPC port, and what they say: for whoever sees what they cost the server, or those beside
//! them. Frames are written by hand: no client library sends what is sent here.

use gantry_proto::grpc::v2;
use prost::Message as _;

use crate::h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, WINDOW_UPDATE, head_of,
    put_call, put_frame, put_header,
};

/// Peers that stay do so on so many connections, with so many streams on each.
pub const CONNECTIONS: usize = 4;
const STREAMS: usize = 1_000;
/// One write carries several times as many as the server lets wait, so that it has them before it also when it keeps pace with
/// its peer.
pub const RESETS_AT_ONCE: usize = 5_000;
const CALLS_AT_ONCE: usize = 100;
const ERRORS_AT_ONCE: usize = 20_000;
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
    /// Sends data for calls that were never made, behind one that closed their streams.
    DeadStreams,
    /// Makes calls on such streams.
    OldStreams,
    /// Sends heads that no request has.
    WrongHeads,
    /// Sends more than it has said it would.
    LongBodies,
    /// Opens windows further than they go.
    WideWindows,
    /// Opens windows by nothing.
    NarrowWindows,
}

impl Peer {
    /// Whoever must be told of an error in each thing it does.
    pub const IN_ERROR: [Peer; 6] = [
        Peer::DeadStreams,
        Peer::OldStreams,
        Peer::WrongHeads,
        Peer::LongBodies,
        Peer::WideWindows,
        Peer::NarrowWindows,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Peer::Resets => "streams opened and reset",
            Peer::Headers => "a header list without end",
            Peer::SilentStreams => "4,000 silent Telemetry streams",
            Peer::NeverReads => "a client that never reads",
            Peer::NoWindow => "4,000 calls with a window of 0",
            Peer::DeadStreams => "data for streams that are closed",
            Peer::OldStreams => "calls on streams that are closed",
            Peer::WrongHeads => "heads that no request has",
            Peer::LongBodies => "bodies longer than they say",
            Peer::WideWindows => "windows opened too far",
            Peer::NarrowWindows => "windows opened by nothing",
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
            Peer::DeadStreams => {
                let dead = |out: &mut Vec<u8>, stream| put_frame(out, DATA, 0, stream, b"");
                closing_all(&heartbeat, streams(ERRORS_AT_ONCE, dead))
            }
            Peer::OldStreams => {
                let head = heartbeat.clone();
                let old = move |out: &mut Vec<u8>, stream| put_frame(out, HEADERS, END_HEADERS, stream, &head);
                closing_all(&heartbeat, streams(ERRORS_AT_ONCE, old))
            }
            Peer::WrongHeads => streams(ERRORS_AT_ONCE, |out, stream| {
                // Two methods and no path.
                put_frame(out, HEADERS, END_HEADERS | END_STREAM, stream, &[0x83, 0x83, 0x86]);
            }),
            Peer::LongBodies => {
                let mut head = heartbeat;
                put_header(&mut head, "content-length", "5");
                streams(ERRORS_AT_ONCE, move |out, stream| {
                    put_frame(out, HEADERS, END_HEADERS, stream, &head);
                    put_frame(out, DATA, END_STREAM, stream, b"longer");
                })
            }
            Peer::WideWindows => streams(ERRORS_AT_ONCE, move |out, stream| {
                put_frame(out, HEADERS, END_HEADERS, stream, &heartbeat);
                put_frame(out, WINDOW_UPDATE, 0, stream, &STREAM_MAX.to_be_bytes());
            }),
            Peer::NarrowWindows => streams(ERRORS_AT_ONCE, move |out, stream| {
                put_frame(out, HEADERS, END_HEADERS, stream, &heartbeat);
                put_frame(out, WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes());
            }),
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

/// A call on the last stream there is closes all before it.
fn closing_all(
    head: &[u8],
    then: Box<dyn Iterator<Item = Vec<u8>> + Send>,
) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
    let mut last = Vec::new();
    put_frame(&mut last, HEADERS, END_HEADERS, STREAM_MAX, head);
    Box::new(std::iter::once(last).chain(then))
}

fn asks() -> impl FnMut(&mut Vec<u8>, u32) {
    let head = head_of("QueryRoute", "hostile");
    let topic = Some(v2::Resource { name: "t".into(), ..v2::Resource::default() });
    let asked = v2::QueryRouteRequest { topic, endpoints: None }.encode_to_vec();
    move |out, stream| put_call(out, stream, &head, &asked)
}
