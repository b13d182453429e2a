//! The operating system's file system.

use std::any::Any;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::FlockOperation;

use crate::store::files::{DataFile, Files, Listed, LogFile, TableFile};
use crate::store::mapped_file::{self, MappedLogFile, MappedTableFile};

/// Small files are put together under this name first.
const TEMPORARY_SUFFIX: &str = ".new";

#[derive(Debug, Clone, Copy, Default)]
pub struct DiskFiles;

impl Files for DiskFiles {
    fn create_log_file(&self, path: &Path, len: u64) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        let mapped = file.set_len(len).and_then(|()| MappedLogFile::map(file, true));
        match mapped {
            Ok(mapped) => Ok(Arc::new(mapped)),
            Err(error) => {
                // Nobody has used it: without this, the next try would find it in the way.
                let _ = std::fs::remove_file(path);
                Err(error)
            }
        }
    }

    fn open_log_file(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(MappedLogFile::map(file, false)?))
    }

    fn data_file(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DataFile>> {
        Ok(Arc::new(SparseFile { file: open_sparse(path, len)?, len }))
    }

    fn table_file(&self, path: &Path, len: u64) -> io::Result<Box<dyn TableFile>> {
        Ok(Box::new(MappedTableFile::map(open_sparse(path, len)?)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn replace(&self, path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let mut temporary = path.as_os_str().to_os_string();
        temporary.push(TEMPORARY_SUFFIX);
        let temporary = Path::new(&temporary);
        // One left over by a kill may have other permissions.
        match std::fs::remove_file(temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mode = if private { 0o600 } else { 0o666 };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary)?;
        let written = file.write_all_at(bytes, 0).and_then(|()| file.sync_all());
        if let Err(error) = written.and_then(|()| std::fs::rename(temporary, path)) {
            let _ = std::fs::remove_file(temporary);
            return Err(error);
        }
        self.sync_dir(parent)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let entries = match std::fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry?;
            let metadata = entry.metadata()?;
            listed.push(Listed { name: entry.file_name(), len: metadata.len(), is_dir: metadata.is_dir() });
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = match dir.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(io::ErrorKind::InvalidInput.into()),
        };
        self.create_dir(parent)?;
        match std::fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
            outcome => outcome?,
        }
        self.sync_dir(parent)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir)?.sync_all()
    }

    fn available_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        Ok(Lock::take(path)?.map(|lock| Box::new(lock) as Box<dyn Any + Send + Sync>))
    }
}

/// A file of fixed length that holds blocks only where it was written.
struct SparseFile {
    file: File,
    len: u64,
}

impl DataFile for SparseFile {
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(bytes, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let end = at.checked_add(bytes.len() as u64);
        assert!(end.is_some_and(|end| end <= self.len), "written beyond the file's fixed length");
        self.file.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        assert!(from <= to && to <= self.len, "zeroed beyond the file's fixed length");
        mapped_file::zero(&self.file, from, to)
    }
}

fn open_sparse(path: &Path, len: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.metadata()?.len() {
        found if found == len => {}
        // Just made, or made right before a kill.
        0 => file.set_len(len)?,
        found => {
            let reason = format!("{} has {found} bytes instead of {len}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
    }
    Ok(file)
}

/// Lock files held by this process, by device and inode.
///
/// RocketMQ's lock is a POSIX record lock, and those know only processes: a second one of the same process succeeds, and
/// closing any descriptor of the file drops them all. So a file that is held here is not even opened a second time.
static HELD: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

struct Lock {
    file: Option<File>,
    inode: (u64, u64),
}

impl Lock {
    fn take(path: &Path) -> io::Result<Option<Lock>> {
        let mut held = HELD.lock().expect("nobody panics holding it");
        match std::fs::metadata(path) {
            Ok(metadata) if held.contains(&(metadata.dev(), metadata.ino())) => return Ok(None),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        // The record lock keeps out Java and other processes of ours; the second one, which belongs to this
        // descriptor, also those that reach the file by a way on which record locks are not seen (another mount, NFS).
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        let metadata = file.metadata()?;
        let inode = (metadata.dev(), metadata.ino());
        held.insert(inode);
        Ok(Some(Lock { file: Some(file), inode }))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut held = HELD.lock().expect("nobody panics holding it");
        // Closed before somebody else may open it: the closing would take the other's lock along.
        drop(self.file.take());
        held.remove(&self.inode);
    }
}
