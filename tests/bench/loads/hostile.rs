//! Peers that break HTTP/2's manners on the gRPC port, on a thread of their own, for as long as somebody beside them is
//! measured. That they are cut off or starve alone, and cost bounded memory, `tests/conformance` knows.
//!
//! A peer has a machine of its own, which it shall not borrow from the server and the client that is measured: its thread runs
//! when nobody else wants a core (SCHED_IDLE; the nicest of the usual threads keeps a core for milliseconds). It does as much
//! all the same: in 3.3 s it was cut off 12,567 times for its header lists, and 12,079 times as a nice thread (19). And it
//! writes many calls at once, since the kernel's part in each write is done on our cores whoever asks for it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use gantry_proto::grpc::v2;
use harness::h2::{
    CONTINUATION, END_HEADERS, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, head_of, hello, put_call, put_frame,
    put_header,
};
use prost::Message as _;

/// How long a write that goes nowhere is waited for before the peer begins anew.
const WRITE_MAX: Duration = Duration::from_millis(500);
const AT_ONCE: u32 = 5_000;
const CALLS_AT_ONCE: usize = 100;
const STREAMS: u32 = 1_000;
const CONNECTIONS: usize = 4;

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
    pub const ALL: [Peer; 5] = [Peer::Resets, Peer::Headers, Peer::SilentStreams, Peer::NeverReads, Peer::NoWindow];

    pub fn name(self) -> &'static str {
        match self {
            Peer::Resets => "streams opened and reset",
            Peer::Headers => "a header list without end",
            Peer::SilentStreams => "4,000 silent Telemetry streams",
            Peer::NeverReads => "a client that never reads",
            Peer::NoWindow => "4,000 calls with a window of 0",
        }
    }

    /// Once: until the server hangs up, takes no more, or all of it is there to stay.
    fn turn(self, address: SocketAddr, ended: &AtomicBool) -> io::Result<()> {
        match self {
            Peer::Resets => {
                let mut socket = connect(address, &[])?;
                let head = head_of("Heartbeat", "hostile");
                for first in (0..).step_by(AT_ONCE as usize).take_while(|_| !ended.load(Ordering::Relaxed)) {
                    let mut together = Vec::new();
                    for stream in (first..first + AT_ONCE).map(|number| 2 * number + 1) {
                        put_frame(&mut together, HEADERS, END_HEADERS, stream, &head);
                        put_frame(&mut together, RST_STREAM, 0, stream, &8_u32.to_be_bytes());
                    }
                    socket.write_all(&together)?;
                }
                Ok(())
            }
            Peer::Headers => {
                let mut socket = connect(address, &[])?;
                let (mut opening, mut part, mut more) = Default::default();
                put_frame(&mut opening, HEADERS, 0, 1, &head_of("Heartbeat", "hostile"));
                (0..100).for_each(|_| put_header(&mut part, "x-filler", &"x".repeat(100)));
                put_frame(&mut more, CONTINUATION, 0, 1, &part);
                socket.write_all(&opening)?;
                while !ended.load(Ordering::Relaxed) {
                    socket.write_all(&more)?;
                }
                Ok(())
            }
            Peer::SilentStreams => {
                let head = head_of("Telemetry", "hostile");
                stay(address, &[], ended, |out, stream| put_frame(out, HEADERS, END_HEADERS, stream, &head))
            }
            Peer::NeverReads => {
                let mut socket = connect(address, &[(INITIAL_WINDOW_SIZE, (1 << 31) - 1)])?;
                let (head, asked) = (head_of("QueryRoute", "hostile"), route());
                let mut streams = (1..).step_by(2);
                while !ended.load(Ordering::Relaxed) {
                    let mut together = Vec::new();
                    streams.by_ref().take(CALLS_AT_ONCE).for_each(|one| put_call(&mut together, one, &head, &asked));
                    socket.write_all(&together)?;
                }
                Ok(())
            }
            Peer::NoWindow => {
                let (head, asked) = (head_of("QueryRoute", "hostile"), route());
                stay(address, &[(INITIAL_WINDOW_SIZE, 0)], ended, |out, stream| put_call(out, stream, &head, &asked))
            }
        }
    }
}

fn route() -> Vec<u8> {
    let topic = Some(v2::Resource { name: "t".into(), ..v2::Resource::default() });
    v2::QueryRouteRequest { topic, endpoints: None }.encode_to_vec()
}

fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_write_timeout(Some(WRITE_MAX))?;
    socket.write_all(&hello(settings))?;
    Ok(socket)
}

/// Opens all streams and reads what comes, slowly, until it is over.
fn stay(
    address: SocketAddr,
    settings: &[(u16, u32)],
    ended: &AtomicBool,
    open: impl Fn(&mut Vec<u8>, u32),
) -> io::Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut socket = connect(address, settings)?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        let mut out = Vec::new();
        (0..STREAMS).for_each(|number| open(&mut out, 2 * number + 1));
        socket.write_all(&out)?;
        sockets.push(socket);
    }
    let mut buffer = vec![0; 64 << 10];
    while !ended.load(Ordering::Relaxed) {
        for socket in &mut sockets {
            match socket.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(error);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(())
}

/// A peer at work, until it is dropped.
pub struct AtWork {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AtWork {
    pub fn start(peer: Peer, address: SocketAddr) -> AtWork {
        let ended = Arc::new(AtomicBool::new(false));
        let its = ended.clone();
        let thread = std::thread::spawn(move || {
            let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
            let idle = Command::new("chrt").args(["--idle", "--pid", "0", &thread]).status();
            assert!(idle.is_ok_and(|idle| idle.success()), "chrt (util-linux) makes its thread idle");
            while !its.load(Ordering::Relaxed) {
                // Being cut off is what it is here for: it comes again.
                let _cut_off = peer.turn(address, &its);
            }
        });
        AtWork { ended, thread: Some(thread) }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join).expect("joined once").expect("a hostile peer does not panic");
    }
}
