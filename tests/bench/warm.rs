//! Memory that the machine has touched already, given to whoever needs it while a round runs.
//!
//! A virtual machine hands what it frees back to its host within seconds. Touching it again costs thirty times a plain
//! page fault (measured: 3.7 s instead of 0.1 s for 1 GiB of a file), which would drown whatever a row compares. So a store
//! that grows finds memory that was free for less than a second, on every side alike.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use memmap2::{MmapMut, MmapOptions};

const PIECE_BYTES: usize = 16 << 20;
/// What shall be free beyond what was at the beginning of a round.
const MARGIN_BYTES: u64 = 256 << 20;
/// In this time nobody writes more than the margin.
const LOOK: Duration = Duration::from_millis(20);

/// A reservoir.
#[derive(Debug, Clone)]
pub struct WarmMemory {
    pieces: Arc<Mutex<Vec<MmapMut>>>,
    pieces_max: usize,
}

impl WarmMemory {
    /// Holds as much as `bytes_max`, and no more than a third of what is free: the stores under measurement lie there too.
    pub fn new(bytes_max: u64) -> WarmMemory {
        let bytes = bytes_max.min(available_bytes().unwrap_or(0) / 3);
        WarmMemory { pieces: Arc::default(), pieces_max: bytes as usize / PIECE_BYTES }
    }

    /// Touches what is missing. The sooner after somebody freed it, the cheaper.
    pub fn fill(&self) {
        let mut pieces = self.pieces.lock().expect("no code panics while holding it");
        while pieces.len() < self.pieces_max {
            let Ok(piece) = MmapOptions::new().len(PIECE_BYTES).populate().map_anon() else { return };
            pieces.push(piece);
        }
    }

    /// Gives from now on, until the answer is dropped.
    pub fn giving(&self) -> Giving {
        let over = Arc::new(AtomicBool::new(false));
        let (pieces, is_over) = (self.pieces.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            let Some(begin) = free_bytes() else { return };
            while !is_over.load(Ordering::Relaxed) {
                let Some(mut free) = free_bytes() else { return };
                while free < begin + MARGIN_BYTES
                    && let Some(piece) = pieces.lock().expect("no code panics while holding it").pop()
                {
                    drop(piece);
                    free += PIECE_BYTES as u64;
                }
                std::thread::sleep(LOOK);
            }
        });
        Giving { over, thread: Some(thread) }
    }
}

/// A round in which memory is given.
#[derive(Debug)]
pub struct Giving {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Giving {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // It can only have ended early.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn free_bytes() -> Option<u64> {
    meminfo_bytes("MemFree:")
}

fn available_bytes() -> Option<u64> {
    meminfo_bytes("MemAvailable:")
}

fn meminfo_bytes(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
