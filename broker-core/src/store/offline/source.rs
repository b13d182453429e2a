//! Files as somebody reads them who must not change anything: opened for reading alone, read by offset.
//!
//! Never mapped: a file that gets shorter while it is read is an error here and a signal there.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;

use crate::store::disk_files::{self, DiskFiles};
use crate::store::files::{Files, Listed};

/// A directory tree that is only read.
pub trait ReadFiles: Send + Sync {
    /// Sorted by name; empty if the directory is missing.
    fn read_dir(&self, dir: &Path) -> io::Result<Vec<Listed>>;
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>>;

    /// Shares the lock of a data directory, so that no broker takes it meanwhile.
    fn share_lock(&self, path: &Path) -> io::Result<Share>;

    /// The whole of a small file; a longer one than `len_max` is refused.
    fn read_small(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        let len = file.len()?;
        if len > len_max {
            let reason = format!("it has {len} bytes, at most {len_max} are expected");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let mut bytes = vec![0; len as usize];
        let read = file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

/// Whether a directory's lock could be shared.
pub enum Share {
    /// Held as long as this lives.
    Held(Box<dyn Any + Send>),
    /// A broker has it.
    InUse,
    /// No broker was ever here.
    NoFile,
}

#[allow(clippy::len_without_is_empty)] // asks the file system each time
pub trait ReadFile: Send {
    fn len(&self) -> io::Result<u64>;
    /// As many bytes as there are; fewer than asked for only at the end of the file.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize>;
    /// The stretches from `from` on that may hold anything but zeros, in order.
    fn data_from(&self, from: u64) -> io::Result<Vec<Range<u64>>>;
}

impl ReadFiles for DiskFiles {
    fn read_dir(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        Files::list(self, dir)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let open = |flags: OFlags| OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
        // Not even the time of the last access, where we may ask for that: not on files of others.
        let file = match open(OFlags::NOATIME) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => open(OFlags::empty())?,
            file => file?,
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file"));
        }
        Ok(Box::new(DiskFile(file)))
    }

    fn share_lock(&self, path: &Path) -> io::Result<Share> {
        disk_files::share_lock(path)
    }
}

struct DiskFile(File);

impl ReadFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() {
            match self.0.read_at(&mut bytes[done..], at + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn data_from(&self, from: u64) -> io::Result<Vec<Range<u64>>> {
        let len = self.len()?;
        let seek = |from| rustix::fs::seek(&self.0, from);
        let mut stretches = Vec::new();
        let mut at = from;
        while at < len {
            match seek(SeekFrom::Data(at)).and_then(|start| Ok(start..seek(SeekFrom::Hole(start))?)) {
                Ok(stretch) if stretch.end > at => {
                    at = stretch.end;
                    stretches.push(stretch);
                }
                Err(Errno::NXIO) => break,
                // A file system that does not know its holes.
                _ => {
                    stretches.push(at..len);
                    break;
                }
            }
        }
        Ok(stretches)
    }
}
