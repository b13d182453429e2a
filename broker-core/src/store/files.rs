//! Files enter the store here and nowhere else, so that tests can bring a disk with faults.
//!
//! `DiskFiles` is the operating system's file system. Every path is absolute or relative to the working directory and was
//! built by the store from checked names.

use std::any::Any;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

/// A segment of the commit log: written once from front to back, read anywhere below what was published.
#[allow(clippy::len_without_is_empty)] // of fixed length, never 0
pub trait LogFile: Send + Sync {
    /// Length of the file, fixed at creation.
    fn len(&self) -> u64;
    /// Makes sure that `[0, end)` has real blocks, so that no later write in there can meet a full disk.
    fn reserve(&self, end: u64) -> io::Result<()>;
    /// Copies into the file. The caller is the one writer, stays below the reserved end and never writes where a
    /// reader may be: violations are programming errors and panic.
    fn write_at(&self, at: u64, bytes: &[u8]);
    /// The same for much at once, one piece behind the other. After an error nobody knows what was written.
    fn write_gathered_at(&self, at: u64, pieces: &[IoSlice<'_>]) -> io::Result<()>;
    /// A view that keeps the file alive; for a mapped file no copy is made.
    fn read(&self, at: u64, len: usize) -> Bytes;
    /// The stretches from `from` on that may hold anything but zeros, in order: the rest need not be read.
    fn data_from(&self, from: u64) -> Vec<std::ops::Range<u64>>;
    /// Touches memory of `[from, to)` ahead of writes, so that they meet no page fault.
    fn warm(&self, from: u64, to: u64) -> io::Result<()>;
    /// Whether syncs cover little at a time: then what a small write makes dirty shall be small too.
    fn expect_small_syncs(&self, small: bool);
    /// Recovery only, when nobody else holds the file: all bytes from `end` on are zero again and open for the writer.
    /// A file that was opened is closed for writing until this was called. Panics while a view of the file is alive.
    fn cut(&mut self, end: u64) -> io::Result<()>;
    /// Returns when all that was written is on the disk, and the file's length.
    fn sync(&self) -> io::Result<()>;
    /// Returns when what was written in `[from, to)` is on the disk; the file's length must be there already.
    fn sync_range(&self, from: u64, to: u64) -> io::Result<()>;
}

/// A derived file of fixed length, read and written in place: consume queues.
pub trait DataFile: Send + Sync {
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()>;
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Syncs the file, whoever wrote it: what was written through another handle of it too.
    fn sync(&self) -> io::Result<()>;
    /// Makes all bytes of `[from, to)` zero. Space that only zeros take may be given back.
    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        const PIECE_BYTES: u64 = 64 * 1024;
        let mut at = from;
        while at < to {
            let mut piece = vec![0; PIECE_BYTES.min(to - at) as usize];
            self.read_at(at, &mut piece)?;
            if piece.iter().any(|byte| *byte != 0) {
                piece.fill(0);
                self.write_at(at, &piece)?;
            }
            at += piece.len() as u64;
        }
        Ok(())
    }
}

/// A derived file of fixed length with random small reads and writes by one owner: the index.
pub trait TableFile: Send {
    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()>;
    fn read_at(&self, at: u64, bytes: &mut [u8]);
    fn write_at(&mut self, at: u64, bytes: &[u8]);
    fn sync(&self) -> io::Result<()>;
}

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: std::ffi::OsString,
    pub len: u64,
    pub is_dir: bool,
}

pub trait Files: Send + Sync + 'static {
    /// A new file of this length without blocks; fails if it exists.
    fn create_log_file(&self, path: &Path, len: u64) -> io::Result<Arc<dyn LogFile>>;
    fn open_log_file(&self, path: &Path) -> io::Result<Arc<dyn LogFile>>;
    /// Opens a sparse file of exactly this length, made if it is missing; another length is an error.
    fn data_file(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DataFile>>;
    fn table_file(&self, path: &Path, len: u64) -> io::Result<Box<dyn TableFile>>;
    /// The whole of a small file; `NotFound` if there is none.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Puts a small file in place whole or not at all: temporary file, sync, rename, sync of the directory.
    fn replace(&self, path: &Path, bytes: &[u8], private: bool) -> io::Result<()>;
    /// Sorted by name; empty if the directory is missing.
    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>>;
    /// With its parents; synced.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// With its parents, not synced: for what is derived, whose loss is noticed.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Syncs everything below `dir`, and maybe more, at once: for very many files.
    fn sync_all(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that can still be allocated where `dir` lies.
    fn available_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Bytes that are used and that can still be allocated where `dir` lies.
    fn total_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes the exclusive lock of byte 0 of this file, made if missing; `None` if another process has it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
}
