//! What the machine can do without anybody's server: copying, syncing, a round trip. The floor under every row.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::measure::Figure;
use crate::server::Outcome;

const COPY_BYTES: usize = 256 << 20;
const COPIES: usize = 5;
const SYNC_BYTES: usize = 1024;
const SYNCS: usize = 2_000;
const ROUND_TRIPS: usize = 5_000;

pub fn probe(scratch: &Path) -> Vec<(String, Outcome<f64>, &'static str)> {
    let syncs = syncs_us(scratch);
    let of_syncs = |share| syncs.as_ref().map(|times| percentile(times, share)).map_err(Clone::clone);
    vec![
        ("memcpy of 256 MiB".into(), Ok(copy_gb_per_s()), "GB/s"),
        ("write 1 KiB + fdatasync, preallocated, p50".into(), of_syncs(0.50), "us"),
        ("write 1 KiB + fdatasync, preallocated, p99".into(), of_syncs(0.99), "us"),
        ("loopback round trip, blocking threads, p50".into(), round_trips_us().map(|t| percentile(&t, 0.50)), "us"),
    ]
}

fn copy_gb_per_s() -> f64 {
    let from = vec![1u8; COPY_BYTES];
    // Written once: the first touch of memory is not copying.
    let mut to = vec![2u8; COPY_BYTES];
    let rates = (0..COPIES).map(|_| {
        let begin = Instant::now();
        std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from));
        COPY_BYTES as f64 / 1e9 / begin.elapsed().as_secs_f64()
    });
    Figure::of(rates.collect::<Vec<_>>()).median
}

fn syncs_us(scratch: &Path) -> Outcome<Vec<f64>> {
    let path = scratch.join("sync");
    let times = || -> std::io::Result<Vec<f64>> {
        let mut probe = SyncProbe::create(&path, SYNC_BYTES, SYNC_BYTES * SYNCS)?;
        (0..SYNCS).map(|_| probe.sync().map(us)).collect()
    };
    let times = times().map_err(|error| error.to_string());
    let _ = std::fs::remove_file(&path);
    times
}

/// Writes of one length, each with its fdatasync, into blocks that were written before.
pub struct SyncProbe {
    file: File,
    piece: Vec<u8>,
    at: usize,
    bytes: usize,
}

impl SyncProbe {
    /// Goes round in a file of so many bytes.
    pub fn create(path: &Path, piece: usize, bytes: usize) -> std::io::Result<SyncProbe> {
        let file = File::create(path)?;
        (&file).write_all(&vec![0; bytes])?;
        file.sync_all()?;
        Ok(SyncProbe { file, piece: vec![b'x'; piece], at: 0, bytes })
    }

    /// How long one took.
    pub fn sync(&mut self) -> std::io::Result<Duration> {
        let begin = Instant::now();
        self.file.write_all_at(&self.piece, self.at as u64)?;
        self.file.sync_data()?;
        let took = begin.elapsed();
        let next = self.at + self.piece.len();
        self.at = if next + self.piece.len() > self.bytes { 0 } else { next };
        Ok(took)
    }
}

fn round_trips_us() -> Outcome<Vec<f64>> {
    let times = || -> std::io::Result<Vec<f64>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut here = TcpStream::connect(listener.local_addr()?)?;
        let (mut there, _) = listener.accept()?;
        here.set_nodelay(true)?;
        there.set_nodelay(true)?;
        let echo = std::thread::spawn(move || {
            let mut byte = [0];
            while there.read_exact(&mut byte).is_ok() && there.write_all(&byte).is_ok() {}
        });
        let mut byte = [0];
        let times = (0..ROUND_TRIPS).map(|_| {
            let begin = Instant::now();
            here.write_all(&byte)?;
            here.read_exact(&mut byte)?;
            Ok(us(begin.elapsed()))
        });
        let times = times.collect::<std::io::Result<Vec<f64>>>();
        drop(here);
        echo.join().map_err(|_| std::io::Error::other("the echo panicked"))?;
        times
    };
    times().map_err(|error| error.to_string())
}

fn percentile(times: &[f64], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

fn us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
