//! The operating system's file system.

use std::any::Any;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustix::fs::FlockOperation;

use crate::store::failpoint::{self, Point};
use crate::store::files::{DataFile, Files, Listed, LogFile, TableFile};
use crate::store::mapped_file::{self, MappedLogFile, MappedTableFile};
use crate::store::offline::source::Share;

/// A call that signals interrupt again and again is given up after so many tries.
const INTERRUPTIONS_MAX: usize = 1_000;
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
        failpoint::at(Point::RenameBefore);
        if let Err(error) = written.and_then(|()| uninterrupted(|| std::fs::rename(temporary, path))) {
            let _ = std::fs::remove_file(temporary);
            return Err(error);
        }
        failpoint::at(Point::RenameUnsynced);
        let synced = self.sync_dir(parent);
        failpoint::at(Point::RenameAfter);
        synced
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let entries = match uninterrupted(|| std::fs::read_dir(dir)) {
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

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        failpoint::at(Point::DeleteBefore);
        let removed = std::fs::remove_file(path);
        failpoint::at(Point::DeleteAfter);
        removed
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        std::fs::remove_dir(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        failpoint::at(Point::RenameBefore);
        let renamed = uninterrupted(|| std::fs::rename(from, to));
        failpoint::at(Point::RenameUnsynced);
        renamed
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir)?.sync_all()
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(dir)?)?)
    }

    fn available_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn total_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        // As df counts it: what a file system keeps back is nobody's.
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        Ok((used + stat.f_bavail).saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        Ok(Lock::take(path)?.map(|lock| Box::new(lock) as Box<dyn Any + Send + Sync>))
    }
}

/// Makes a call again that a signal interrupted: the standard library does so for some calls only.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..INTERRUPTIONS_MAX {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
    call()
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

/// Shares a lock for reading: `InUse` while somebody may write. The file is not made, and nothing in it changes.
pub(super) fn share_lock(path: &Path) -> io::Result<Share> {
    let held = HELD.lock().expect("nobody panics holding it");
    match std::fs::metadata(path) {
        Ok(metadata) if held.contains(&(metadata.dev(), metadata.ino())) => return Ok(Share::InUse),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Share::NoFile),
        Ok(_) => {}
        Err(error) => return Err(error),
    }
    let file = File::open(path)?;
    match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {}
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => return Ok(Share::InUse),
        Err(error) => return Err(error.into()),
    }
    match file.try_lock_shared() {
        Ok(()) => Ok(Share::Held(Box::new(file))),
        Err(std::fs::TryLockError::WouldBlock) => Ok(Share::InUse),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
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

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;
    use crate::store::simulated_files::SimulatedFiles;

    /// What the store counts on, on every kind of disk.
    fn on_both(check: impl Fn(&dyn Files, &Path)) {
        let dir = tempfile::tempdir().unwrap();
        check(&DiskFiles, dir.path());
        let files = SimulatedFiles::new();
        files.create_dir(Path::new("/simulated")).unwrap();
        check(&files, Path::new("/simulated"));
    }

    const LEN: u64 = 1 << 20;

    #[test]
    fn a_log_file_is_written_from_front_to_back() {
        on_both(|files, dir| {
            let path = dir.join("f");
            let file = files.create_log_file(&path, LEN).unwrap();
            assert_eq!(file.len(), LEN);
            assert_eq!(files.create_log_file(&path, LEN).map(drop).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            file.reserve(LEN / 2).unwrap();
            file.warm(0, LEN / 2).unwrap();
            file.write_at(0, b"one");
            let one = file.read(0, 3);
            file.write_at(3, b"two");
            file.sync().unwrap();
            assert_eq!((&one[..], &file.read(1, 4)[..]), (&b"one"[..], &b"netw"[..]));
            // A view outlives its file and its name.
            files.remove_file(&path).unwrap();
            drop(file);
            assert_eq!(&one[..], b"one");
        });
    }

    #[test]
    fn gathered_pieces_are_written_one_behind_the_other() {
        on_both(|files, dir| {
            let file = files.create_log_file(&dir.join("f"), LEN).unwrap();
            file.reserve(LEN).unwrap();
            // More pieces than the system takes at once; some of them are long, some empty.
            let pieces: Vec<Vec<u8>> = (0..3_000).map(|number: usize| vec![number as u8; number % 97]).collect();
            let all = pieces.concat();
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let begin = all.len() as u64 + 3;
            file.write_at(0, b"abc");
            file.write_gathered_at(3, &slices).unwrap();
            // Into warm memory, and where the writer goes on one by one.
            file.warm(begin, begin + 4_096).unwrap();
            file.warm(begin, begin + 4_096).unwrap();
            file.write_gathered_at(begin, &slices[..100]).unwrap();
            file.write_at(begin + pieces[..100].concat().len() as u64, b"end");
            let written = [&b"abc"[..], &all, &pieces[..100].concat(), b"end"].concat();
            assert!(file.read(0, written.len())[..] == written[..]);
            file.sync().unwrap();
            assert!(panics(|| drop(file.write_gathered_at(5, &slices[..9]))), "written below the frontier");
            drop(file);
            assert!(files.open_log_file(&dir.join("f")).unwrap().read(0, written.len())[..] == written[..]);
            let short = files.create_log_file(&dir.join("short"), LEN).unwrap();
            short.reserve(100).unwrap();
            assert!(panics(|| drop(short.write_gathered_at(0, &slices[..90]))), "written without blocks");
        });
    }

    #[test]
    fn a_cut_file_is_zero_behind_the_cut_and_open_for_writing() {
        on_both(|files, dir| {
            let path = dir.join("f");
            let file = files.create_log_file(&path, LEN).unwrap();
            file.reserve(LEN).unwrap();
            file.write_at(0, &vec![7; LEN as usize]);
            drop(file);
            let mut file = files.open_log_file(&path).unwrap();
            assert!(file.read(0, LEN as usize).iter().all(|byte| *byte == 7));
            Arc::get_mut(&mut file).unwrap().cut(5_000).unwrap();
            file.reserve(LEN).unwrap();
            file.write_at(6_000, b"x");
            drop(file);
            let bytes = files.open_log_file(&path).unwrap().read(0, LEN as usize);
            assert!(bytes[..5_000].iter().all(|byte| *byte == 7));
            let file = files.open_log_file(&path).unwrap();
            let stretches = file.data_from(100);
            assert_eq!(stretches[0].start, 100);
            assert!(stretches.iter().any(|stretch| stretch.contains(&6_000)), "{stretches:?}");
            assert!(stretches.is_sorted_by_key(|stretch| stretch.start));
            assert!(stretches.iter().all(|stretch| stretch.end <= LEN && !stretch.is_empty()));
            assert!(bytes[5_000..].iter().enumerate().all(|(at, byte)| *byte == if at == 1_000 { b'x' } else { 0 }));
        });
    }

    fn panics(what: impl FnOnce()) -> bool {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(what)).is_err()
    }

    #[test]
    fn wrong_programs_panic() {
        on_both(|files, dir| {
            let files_of = |name| {
                let file = files.create_log_file(&dir.join(name), LEN).unwrap();
                file.reserve(8_192).unwrap();
                file.write_at(0, b"abc");
                file
            };
            // Each with its own file, so that no panic stands for another.
            let (a, b, c) = (files_of("a"), files_of("b"), files_of("c"));
            assert!(panics(|| a.write_at(2, b"x")), "written below the frontier");
            assert!(panics(|| b.write_at(8_190, b"xyz")), "written without blocks");
            assert!(panics(|| drop(c.read(2, 2))), "read above the frontier");
            assert!(panics(|| drop(c.read(u64::MAX, 2))), "read beyond everything");
            c.write_at(3, b"d");
            drop(c);
            let c = files.open_log_file(&dir.join("c")).unwrap();
            assert!(panics(|| c.write_at(4, b"x")), "written before the cut");
        });
        let dir = tempfile::tempdir().unwrap();
        let mut file = DiskFiles.create_log_file(&dir.path().join("f"), LEN).unwrap();
        let _view = file.read(0, 0);
        let file = Arc::get_mut(&mut file).unwrap();
        assert!(panics(|| drop(file.cut(0))), "cut under a view");
    }

    #[test]
    fn derived_files_have_their_length_or_are_refused() {
        on_both(|files, dir| {
            let path = dir.join("f");
            let file = files.data_file(&path, 6_000_000).unwrap();
            file.write_at(5_999_980, &[9; 20]).unwrap();
            let mut bytes = [1; 40];
            files.data_file(&path, 6_000_000).unwrap().read_at(5_999_960, &mut bytes).unwrap();
            assert_eq!(bytes[..20], [0; 20]);
            assert_eq!(bytes[20..], [9; 20]);
            assert!(file.read_at(5_999_961, &mut bytes).is_err());
            assert_eq!(files.data_file(&path, 6_000_020).map(drop).unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert_eq!(files.list(dir).unwrap()[0].len, 6_000_000);
        });
    }

    #[test]
    fn a_table_is_written_where_it_was_reserved() {
        on_both(|files, dir| {
            let mut table = files.table_file(&dir.join("t"), 420_000_040).unwrap();
            table.reserve(0, 40).unwrap();
            table.reserve(400_000_000, 400_004_096).unwrap();
            table.reserve(400_004_096, 400_008_192).unwrap();
            table.write_at(36, b"head");
            table.write_at(400_004_094, b"tail");
            table.sync().unwrap();
            let table = files.table_file(&dir.join("t"), 420_000_040).unwrap();
            let (mut head, mut tail, mut hole) = ([0; 4], [0; 4], [1; 4]);
            table.read_at(36, &mut head);
            table.read_at(400_004_094, &mut tail);
            table.read_at(200_000_000, &mut hole);
            assert_eq!((&head, &tail, hole), (b"head", b"tail", [0; 4]));
        });
    }

    #[test]
    fn names_come_and_go() {
        on_both(|files, dir| {
            let deep = dir.join("a/b");
            assert_eq!(files.list(&deep).unwrap(), []);
            files.create_dir(&deep).unwrap();
            files.create_dir(&deep).unwrap();
            files.replace(&deep.join("f"), b"one", false).unwrap();
            files.replace(&deep.join("f"), b"two!", true).unwrap();
            assert_eq!(files.read(&deep.join("f")).unwrap(), b"two!");
            assert_eq!(files.read(&deep.join("g")).unwrap_err().kind(), io::ErrorKind::NotFound);
            let listed = Listed { name: "f".into(), len: 4, is_dir: false };
            assert_eq!(files.list(&deep).unwrap(), [listed]);
            assert!(files.remove_dir(&deep).is_err());
            files.rename(&deep, &dir.join("c")).unwrap();
            assert_eq!(files.read(&dir.join("c/f")).unwrap(), b"two!");
            files.remove_file(&dir.join("c/f")).unwrap();
            files.remove_dir(&dir.join("c")).unwrap();
            files.remove_dir(&dir.join("a")).unwrap();
            files.sync_dir(dir).unwrap();
            assert_eq!(files.list(dir).unwrap(), []);
            assert!(files.available_bytes(dir).unwrap() > 0);
        });
    }

    #[test]
    fn a_private_file_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        DiskFiles.replace(&path, b"secret", true).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_lock_has_one_holder() {
        on_both(|files, dir| {
            let path = dir.join("lock");
            let held = files.lock(&path).unwrap().unwrap();
            assert!(files.lock(&path).unwrap().is_none());
            drop(held);
            assert!(files.lock(&path).unwrap().is_some());
        });
    }

    /// The other process is this test again, told by a variable which file to try.
    #[test]
    fn a_lock_keeps_other_processes_out_even_after_a_refused_try() {
        const PATH: &str = "GANTRY_TEST_LOCK";
        if let Some(path) = std::env::var_os(PATH) {
            let taken = DiskFiles.lock(Path::new(&path)).unwrap().is_some();
            std::process::exit(if taken { 10 } else { 11 });
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let try_elsewhere = || {
            let name = "store::disk_files::tests::a_lock_keeps_other_processes_out_even_after_a_refused_try";
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            let command = command.args([name, "--exact"]).env(PATH, &path).stdout(std::process::Stdio::null());
            command.status().unwrap().code()
        };
        let held = DiskFiles.lock(&path).unwrap().unwrap();
        assert!(DiskFiles.lock(&path).unwrap().is_none());
        assert_eq!(try_elsewhere(), Some(11));
        drop(held);
        assert_eq!(try_elsewhere(), Some(10));
    }
}
