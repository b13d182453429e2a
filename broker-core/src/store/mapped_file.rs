//! Mapped files: the one place where memory is reached through raw pointers.
//!
//! A segment's mapping is split by its frontier: below it bytes never change and may be viewed, from it on the one
//! writer copies in. The frontier only grows while the file is shared, so that a view never sees a write. Both sides
//! are asserted, always. Files are never shortened while they are mapped, and the store's lock keeps others away.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use memmap2::{Advice, MmapRaw};
use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use crate::store::disk_files::uninterrupted;
use crate::store::files::{LogFile, TableFile};

/// Zeros are written in pieces of this where blocks cannot be reserved.
const ZEROS_BYTES: usize = 1 << 20;

/// The system takes so many pieces in a call.
const PIECES_MAX: usize = 1_024;
/// It has no such call, or did not come to it. All else that it refuses the mapping would not be told: it would be a signal.
const UNABLE: [Errno; 5] = [Errno::INTR, Errno::AGAIN, Errno::NOSYS, Errno::PERM, Errno::OPNOTSUPP];

/// A mapped segment of the commit log.
pub(super) struct MappedLogFile {
    file: File,
    /// Every view owns a share: the last one unmaps.
    mapping: Arc<Mapping>,
    /// Below: written, never again. The writer stores, readers load.
    frontier: AtomicU64,
    /// Below: real blocks. Held while reserving, since two threads may want to.
    reserving: Mutex<()>,
    reserved: AtomicU64,
    small_syncs: AtomicBool,
    /// The last write was a gathered one.
    gathers: AtomicBool,
    /// Between: memory that meets no page fault, as far as `warm` came.
    warm_from: AtomicU64,
    warm_to: AtomicU64,
    /// Faults bring their own page alone.
    alone: Mutex<bool>,
    /// Held by `write_at`: there is one writer, and this turns a second one into a panic instead of a race.
    writing: Mutex<()>,
}

/// A mapped derived file, with one owner.
pub(super) struct MappedTableFile {
    file: File,
    mapping: MmapRaw,
    /// Ranges with real blocks; sorted, apart from each other.
    reserved: Vec<(u64, u64)>,
}

struct Mapping(MmapRaw);

/// A stretch of a mapping below its frontier.
struct View {
    mapping: Arc<Mapping>,
    at: usize,
    len: usize,
}

impl MappedLogFile {
    /// Maps the whole of `file`. A file just created is open for the writer from its start; any other is closed for
    /// writing, and readable to its end, until it is cut.
    pub(super) fn map(file: File, created: bool) -> io::Result<MappedLogFile> {
        let mapping = Arc::new(Mapping(MmapRaw::map_raw(&file)?));
        let open_from = if created { 0 } else { mapping.0.len() as u64 };
        Ok(MappedLogFile {
            file,
            mapping,
            frontier: AtomicU64::new(open_from),
            reserving: Mutex::new(()),
            reserved: AtomicU64::new(open_from),
            small_syncs: AtomicBool::new(false),
            gathers: AtomicBool::new(false),
            warm_from: AtomicU64::new(0),
            warm_to: AtomicU64::new(0),
            alone: Mutex::new(false),
            writing: Mutex::new(()),
        })
    }

    /// Asserts that the writer may write there; answers where that ends.
    fn writable(&self, at: u64, len: usize) -> u64 {
        let end = at.checked_add(len as u64).expect("an offset of the file");
        assert!(at >= self.frontier.load(Ordering::Relaxed), "what readers may see is not written again");
        assert!(end <= self.reserved.load(Ordering::Acquire), "written without blocks");
        end
    }

    /// Through the mapping.
    fn copy_in(&self, at: u64, bytes: &[u8]) {
        let end = self.writable(at, bytes.len());
        // SAFETY: `[at, end)` lies in the mapping, since the reserved end does. It lies above the frontier, so that no
        // `View` covers it, and callers hold `writing`, which keeps other writers out. `bytes` cannot overlap it: safe
        // code has no other reference to the mapping than views. Blocks are reserved, so the store meets no SIGBUS.
        unsafe {
            let target = self.mapping.0.as_mut_ptr().add(at as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
        self.publish(end);
    }

    fn publish(&self, end: u64) {
        self.frontier.store(end, Ordering::Release);
        if end == self.len() {
            self.advise();
        }
    }

    /// What is written in small pieces, or read right behind gathered writes, is best faulted in page by page. What is not
    /// written any more is only read, mostly in order.
    fn advise(&self) {
        let mut known = self.alone.lock().expect("nobody panics holding it");
        let alone = self.frontier.load(Ordering::Acquire) < self.len()
            && (self.small_syncs.load(Ordering::Relaxed) || self.gathers.load(Ordering::Relaxed));
        if *known != alone {
            *known = alone;
            // If the kernel cannot be told, things are slower, no more.
            let _ = self.mapping.0.advise(if alone { Advice::Random } else { Advice::Normal });
        }
    }
}

impl LogFile for MappedLogFile {
    fn len(&self) -> u64 {
        self.mapping.0.len() as u64
    }

    fn reserve(&self, end: u64) -> io::Result<()> {
        assert!(end <= self.len(), "reserving inside of the file");
        let _reserving = self.reserving.lock().expect("nobody panics holding it");
        let reserved = self.reserved.load(Ordering::Relaxed);
        if end > reserved {
            reserve_blocks(&self.file, reserved, end)?;
            self.reserved.store(end, Ordering::Release);
        }
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) {
        let _writing = self.writing.try_lock().expect("a segment has one writer");
        self.gathers.store(false, Ordering::Relaxed);
        self.copy_in(at, bytes);
    }

    // A write through the mapping costs a fault for each page that is not warm, and the kernel zeroes it first; a call
    // finds room for what it is given, and nothing is zeroed. Measured with 32 messages of 1 KiB in a call, in memory that
    // the machine has to find first: 2.5 us of CPU a message, warming included, instead of 6.5, and 99.9 % of the calls in
    // 1 ms instead of 30.
    fn write_gathered_at(&self, at: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let _writing = self.writing.try_lock().expect("a segment has one writer");
        self.gathers.store(true, Ordering::Relaxed);
        let mut at = at;
        for pieces in pieces.chunks(PIECES_MAX) {
            let len = pieces.iter().map(|piece| piece.len()).sum();
            // As in `copy_in`: above the frontier, where no view is.
            let end = self.writable(at, len);
            let is_warm = at >= self.warm_from.load(Ordering::Relaxed) && end <= self.warm_to.load(Ordering::Relaxed);
            let written = if is_warm { Ok(0) } else { rustix::io::pwritev(&self.file, pieces, at) };
            match written {
                Ok(written) if written == len => self.publish(end),
                Err(error) if !UNABLE.contains(&error) => return Err(error.into()),
                _ => {
                    pieces.iter().fold(at, |at, piece| {
                        self.copy_in(at, piece);
                        at + piece.len() as u64
                    });
                }
            }
            at = end;
        }
        Ok(())
    }

    fn read(&self, at: u64, len: usize) -> Bytes {
        let end = at.checked_add(len as u64).expect("an offset of the file");
        assert!(end <= self.frontier.load(Ordering::Acquire), "readers stay below what was written");
        Bytes::from_owner(View { mapping: self.mapping.clone(), at: at as usize, len })
    }

    // Reading a hole through the mapping fills the page cache with zeros, a second for some hundred MiB, and reading
    // near one makes the kernel read ahead into it: so all stretches are known before any is read.
    fn data_from(&self, from: u64) -> Vec<Range<u64>> {
        let mut stretches = Vec::new();
        let mut at = from;
        while at < self.len() {
            let seek = |from| rustix::fs::seek(&self.file, from);
            let stretch = seek(SeekFrom::Data(at)).and_then(|start| Ok(start..seek(SeekFrom::Hole(start))?));
            match stretch {
                Ok(stretch) => {
                    at = stretch.end;
                    stretches.push(stretch);
                }
                Err(Errno::NXIO) => break,
                // A file system that does not know its holes.
                Err(_) => {
                    stretches.push(at..self.len());
                    break;
                }
            }
        }
        stretches
    }

    fn warm(&self, from: u64, to: u64) -> io::Result<()> {
        assert!(from <= to && to <= self.reserved.load(Ordering::Acquire), "warming reserved blocks");
        self.advise();
        // Gathered writes do without.
        if self.gathers.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Populating takes the page faults of the range without changing a byte, so it may run beside the writer.
        self.mapping.0.advise_range(Advice::PopulateWrite, from as usize, (to - from) as usize)?;
        if self.warm_to.load(Ordering::Relaxed) != from {
            self.warm_from.store(from, Ordering::Relaxed);
        }
        self.warm_to.store(to, Ordering::Relaxed);
        Ok(())
    }

    // Otherwise the kernel reads ahead of each fault, into large folios, and one byte that changes makes all of a folio
    // dirty. Measured with 8 MiB of read-ahead: 77 KB that were appended took 1,641 KiB to sync instead of 83. Where a sync
    // covers a MiB, folios of one page cost a third of the throughput.
    fn expect_small_syncs(&self, small: bool) {
        self.small_syncs.store(small, Ordering::Relaxed);
        self.advise();
    }

    fn cut(&mut self, end: u64) -> io::Result<()> {
        assert!(end <= self.len(), "cutting inside of the file");
        assert!(Arc::get_mut(&mut self.mapping).is_some(), "a cut file has no views");
        zero(&self.file, end, self.len())?;
        *self.frontier.get_mut() = end;
        *self.reserved.get_mut() = end;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    // msync is Linux's fdatasync of a part. One of the whole file would also write the zeros of the memory that is warm
    // ahead of the writer, up to 16 MiB, and take its pages away from the writer again: then each of them costs a fault.
    fn sync_range(&self, from: u64, to: u64) -> io::Result<()> {
        uninterrupted(|| self.mapping.0.flush_range(from as usize, (to - from) as usize))
    }
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `read` checked that the range lies in the mapping and below the frontier. Nothing below it is
        // written again while a share of the mapping lives: `write_at` asserts the frontier, and `cut`, which moves it
        // back, needs the only share. The share also keeps the memory mapped.
        unsafe { std::slice::from_raw_parts(self.mapping.0.as_ptr().add(self.at), self.len) }
    }
}

impl MappedTableFile {
    pub(super) fn map(file: File) -> io::Result<MappedTableFile> {
        let mapping = MmapRaw::map_raw(&file)?;
        Ok(MappedTableFile { file, mapping, reserved: Vec::new() })
    }

    fn is_reserved(&self, from: u64, to: u64) -> bool {
        self.reserved.iter().any(|(start, end)| *start <= from && to <= *end)
    }
}

impl TableFile for MappedTableFile {
    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()> {
        assert!(from <= to && to <= self.mapping.len() as u64, "reserving inside of the file");
        if from == to || self.is_reserved(from, to) {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::empty(), from, to) {
            Ok(()) => {}
            Err(error) if cannot(&error) => rewrite(&self.file, from, to)?,
            Err(error) => return Err(error),
        }
        add_range(&mut self.reserved, from, to);
        Ok(())
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) {
        assert!(at.checked_add(bytes.len() as u64).is_some_and(|end| end <= self.mapping.len() as u64), "in the file");
        // SAFETY: the range lies in the mapping, and `&self` keeps writers (`&mut self`) away. `bytes` is the caller's
        // own memory.
        unsafe {
            let source = self.mapping.as_ptr().add(at as usize);
            std::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), bytes.len());
        }
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) {
        let end = at.checked_add(bytes.len() as u64).expect("an offset of the file");
        assert!(self.is_reserved(at, end), "written without blocks");
        // SAFETY: reserved ranges lie in the mapping; `&mut self` makes this the only access; no reference into the
        // mapping ever leaves this type, so `bytes` is other memory.
        unsafe {
            let target = self.mapping.as_mut_ptr().add(at as usize);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Puts a range into sorted ranges that do not touch.
fn add_range(ranges: &mut Vec<(u64, u64)>, mut from: u64, mut to: u64) {
    ranges.retain(|(start, end)| {
        let apart = *end < from || to < *start;
        if !apart {
            from = from.min(*start);
            to = to.max(*end);
        }
        apart
    });
    let at = ranges.partition_point(|(start, _)| *start < from);
    ranges.insert(at, (from, to));
}

/// Kernels may be interrupted in the middle of it.
fn fallocate(file: &File, flags: FallocateFlags, from: u64, to: u64) -> io::Result<()> {
    uninterrupted(|| Ok(rustix::fs::fallocate(file, flags, from, to - from)?))
}

/// This file system has no such call.
fn cannot(error: &io::Error) -> bool {
    [Errno::OPNOTSUPP, Errno::NOSYS].iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Real blocks for `[from, to)` of a segment, of which nothing from `from` on was written.
fn reserve_blocks(file: &File, from: u64, to: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), from, to) {
        Ok(()) => Ok(()),
        Err(error) if cannot(&error) => write_zeros(file, from, to),
        Err(error) => Err(error),
    }
}

/// All bytes of `[from, to)` are zero afterwards; their blocks may be given back.
pub(super) fn zero(file: &File, from: u64, to: u64) -> io::Result<()> {
    if from == to {
        return Ok(());
    }
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file, hole, from, to) {
        Ok(()) => Ok(()),
        Err(error) if cannot(&error) => write_zeros(file, from, to),
        Err(error) => Err(error),
    }
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS_BYTES.min((to - from) as usize)];
    let mut at = from;
    while at < to {
        let len = zeros.len().min((to - at) as usize);
        file.write_all_at(&zeros[..len], at)?;
        at += len as u64;
    }
    Ok(())
}

/// Gives a range blocks by writing what it holds, for file systems that cannot reserve.
fn rewrite(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; ZEROS_BYTES.min((to - from) as usize)];
    let mut at = from;
    while at < to {
        let len = bytes.len().min((to - at) as usize);
        file.read_exact_at(&mut bytes[..len], at)?;
        file.write_all_at(&bytes[..len], at)?;
        at += len as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_fails_is_an_error_and_publishes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let writable = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        writable.set_len(1 << 20).unwrap();
        let mut file = MappedLogFile::map(writable, true).unwrap();
        file.reserve(1 << 20).unwrap();
        // Every write to it is refused from now on.
        file.file = File::open(&path).unwrap();
        let pieces = [IoSlice::new(b"a mess"), IoSlice::new(b"age")];
        assert!(file.write_gathered_at(0, &pieces).is_err());
        assert_eq!(file.frontier.load(Ordering::Relaxed), 0);
        // Warm memory needs no call.
        file.write_at(0, b"x");
        file.warm(1, 4_096).unwrap();
        file.write_gathered_at(1, &pieces).unwrap();
        assert_eq!(&file.read(0, 10)[..], b"xa message");
        assert!(file.write_gathered_at(4_090, &pieces).is_err(), "not warm to its end");
    }
}
