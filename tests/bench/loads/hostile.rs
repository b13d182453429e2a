//! Hostile peers (`harness::hostile`) at work, each on a thread of their own, for as long as somebody beside them is
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

use harness::h2::hello;
use harness::hostile::{CONNECTIONS, Peer};

/// How long a write that goes nowhere is waited for before the peer begins anew.
const WRITE_MAX: Duration = Duration::from_millis(500);

/// Those whose part is played here.
pub const PEERS: [Peer; 5] = [Peer::Resets, Peer::Headers, Peer::SilentStreams, Peer::NeverReads, Peer::NoWindow];

/// Once: until the server hangs up, takes no more, or all of it is there to stay.
fn turn(peer: Peer, address: SocketAddr, ended: &AtomicBool) -> io::Result<()> {
    if matches!(peer, Peer::SilentStreams | Peer::NoWindow) {
        return stay(peer, address, ended);
    }
    let mut socket = connect(peer, address)?;
    for piece in peer.says().take_while(|_| !ended.load(Ordering::Relaxed)) {
        socket.write_all(&piece)?;
    }
    Ok(())
}

fn connect(peer: Peer, address: SocketAddr) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_write_timeout(Some(WRITE_MAX))?;
    socket.write_all(&hello(peer.settings()))?;
    Ok(socket)
}

/// Opens all streams and reads what comes, slowly, until it is over.
fn stay(peer: Peer, address: SocketAddr, ended: &AtomicBool) -> io::Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut socket = connect(peer, address)?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        for piece in peer.says() {
            socket.write_all(&piece)?;
        }
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
                let _cut_off = turn(peer, address, &its);
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
