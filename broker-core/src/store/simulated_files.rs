//! A file system in memory, for tests: it knows what a power cut may take, and it fails when told to.
//!
//! Files are tracked in sectors of 512 bytes. What was written since a file's last sync may be old or new after a power
//! cut, each sector on its own; so may the length, and each name that was made, moved or removed since its directory's
//! last sync. Chance is the caller's seed, so a failure can be repeated.
//!
//! It is stricter than a disk: without a sync of its directory a new file may be gone although its bytes were synced.
//! A copy is one moment of the whole disk, whatever other threads are doing, and shares all pages with it.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::ops::{Deref, DerefMut, Range};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;

use crate::store::files::{DataFile, Files, Listed, LogFile, TableFile};
use crate::store::offline::source::{ReadFile, ReadFiles, Share};

const SECTOR_BYTES: u64 = 512;
const PAGE_BYTES: u64 = 4096;

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimulatedFiles {
    disk: Arc<Disk>,
}

#[derive(Default)]
struct Disk {
    faults: Faults,
    /// Held by each change while it lasts, and alone by whoever copies the disk. Taken before all other locks.
    moment: RwLock<()>,
    before_change: OnceLock<BeforeChange>,
    /// Taken before any file's lock.
    names: Mutex<Names>,
    locked: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// Told of each change before it happens, by the number of the change: the moment to copy the disk.
pub type BeforeChange = Box<dyn Fn(&SimulatedFiles, u64) + Send + Sync>;

#[derive(Default)]
struct Faults {
    syncs_fail: AtomicBool,
    syncs_lie: AtomicBool,
    gathered_writes_fail: AtomicBool,
    /// Changes so far.
    operations: AtomicU64,
    /// Changes that are still let through; `u64::MAX` is no bound.
    operations_left: Countdown,
    /// Bytes that can still be given to files.
    space_left: Countdown,
    /// Syncs that succeeded.
    syncs: AtomicU64,
}

struct Countdown(AtomicU64);

/// Which path is which file: now, and on the disk.
#[derive(Clone, Default)]
struct Names {
    now: BTreeMap<PathBuf, Node>,
    synced: BTreeMap<PathBuf, Node>,
    /// Changes of names whose directories were not synced, oldest first.
    pending: Vec<NameChange>,
}

#[derive(Clone)]
enum Node {
    Directory,
    File(Arc<SimulatedFile>),
}

/// Names that change together or not at all.
#[derive(Clone)]
struct NameChange {
    names: Vec<(PathBuf, Option<Node>)>,
    /// Directories that still have to be synced.
    unsynced: BTreeSet<PathBuf>,
}

#[derive(Default)]
struct SimulatedFile {
    content: Mutex<Content>,
}

#[derive(Clone, Default)]
struct Content {
    len: u64,
    synced_len: u64,
    /// Pages that were given blocks, as stretches that do not touch: first page, and one past the last.
    blocks: BTreeMap<u64, u64>,
    /// Pages that were written; all others read as zeros.
    pages: BTreeMap<u64, Arc<Page>>,
    /// Sectors written since the last sync, with what the disk holds instead.
    unsynced: BTreeMap<u64, Sector>,
}

type Page = [u8; PAGE_BYTES as usize];
type Sector = [u8; SECTOR_BYTES as usize];

/// One opened segment.
struct OpenLogFile {
    disk: Arc<Disk>,
    file: Arc<SimulatedFile>,
    len: u64,
    frontier: AtomicU64,
    reserved: AtomicU64,
}

/// One opened derived file of either kind.
struct OpenFile {
    disk: Arc<Disk>,
    file: Arc<SimulatedFile>,
    len: u64,
}

/// The right to change the disk, for one change.
struct Changing<'a> {
    _moment: RwLockReadGuard<'a, ()>,
}

/// The names, for a change of them.
struct ChangingNames<'a> {
    names: MutexGuard<'a, Names>,
    _changing: Changing<'a>,
}

struct HeldLock {
    locked: Arc<Mutex<BTreeSet<PathBuf>>>,
    path: PathBuf,
}

impl SimulatedFiles {
    pub fn new() -> SimulatedFiles {
        SimulatedFiles::default()
    }

    /// The disk as the next process finds it after this one was killed: nothing is lost, no fault is left, no lock held.
    pub fn kill(&self) -> SimulatedFiles {
        let _moment = self.disk.stand_still();
        let names = self.disk.names.lock().expect("nobody panics holding it").clone();
        let mut copies = BTreeMap::new();
        let now = names.copy(&names.now, &mut copies);
        let synced = names.copy(&names.synced, &mut copies);
        let copy_change = |change: &NameChange, copies: &mut Copies| NameChange {
            names: change
                .names
                .iter()
                .map(|(path, node)| (path.clone(), node.as_ref().map(|n| n.copy(copies))))
                .collect(),
            unsynced: change.unsynced.clone(),
        };
        let pending = names.pending.iter().map(|change| copy_change(change, &mut copies)).collect();
        SimulatedFiles::with_names(Names { now, synced, pending })
    }

    /// The disk after the power went: of everything unsynced, some is there and some is not.
    pub fn power_cut(&self, seed: u64) -> SimulatedFiles {
        let _moment = self.disk.stand_still();
        let mut chance = Chance(seed);
        let names = self.disk.names.lock().expect("nobody panics holding it").clone();
        let mut survivors = names.synced.clone();
        for change in &names.pending {
            if chance.coin() {
                for (path, node) in &change.names {
                    match node {
                        Some(node) => survivors.insert(path.clone(), node.clone()),
                        None => survivors.remove(path),
                    };
                }
            }
        }
        // What lies in a directory that was lost is lost.
        let reachable = survivors.clone();
        survivors.retain(|path, _| {
            path.ancestors().skip(1).all(|dir| is_root(dir) || matches!(reachable.get(dir), Some(Node::Directory)))
        });
        let mut copies = BTreeMap::new();
        let survivors = names.copy(&survivors, &mut copies);
        let mut cut = BTreeSet::new();
        for node in survivors.values() {
            if let Node::File(file) = node
                && cut.insert(Arc::as_ptr(file) as usize)
            {
                file.content.lock().expect("nobody panics holding it").lose_some(&mut chance);
            }
        }
        SimulatedFiles::with_names(Names { now: survivors.clone(), synced: survivors, pending: Vec::new() })
    }

    /// What a system does by itself at any time: some of what was written and not synced is on the disk from now on, each
    /// sector as it is now.
    pub fn write_back(&self, seed: u64) {
        let _moment = self.disk.stand_still();
        let mut chance = Chance(seed);
        let names = self.disk.names.lock().expect("nobody panics holding it");
        for node in names.now.values() {
            if let Node::File(file) = node {
                let mut content = file.content.lock().expect("nobody panics holding it");
                content.unsynced.retain(|_, _| chance.coin());
                if chance.coin() {
                    content.synced_len = content.len;
                }
            }
        }
    }

    /// From now on syncs succeed and do nothing, as on a drive that lies: the control that must lose.
    pub fn lie_about_syncs(&self) {
        self.disk.faults.syncs_lie.store(true, Ordering::SeqCst);
    }

    /// Calls this before each change, with this disk and the number of the change. Set once; no lock of the disk is held
    /// during a call.
    pub fn before_each_change(&self, call: BeforeChange) {
        assert!(self.disk.before_change.set(call).is_ok(), "set once");
    }

    /// From now on no sync succeeds, of files or directories.
    pub fn fail_syncs(&self) {
        self.disk.faults.syncs_fail.store(true, Ordering::SeqCst);
    }

    /// A gathered write leaves half of what it was given, and says so.
    pub fn fail_gathered_writes(&self) {
        self.disk.faults.gathered_writes_fail.store(true, Ordering::SeqCst);
    }

    /// Only this many more bytes can be given to files; `None` for as many as wanted.
    pub fn limit_space(&self, bytes: Option<u64>) {
        self.disk.faults.space_left.0.store(bytes.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// After this many more changes everything fails and nothing changes any more, as if the process were dead: `kill`
    /// or `power_cut` shows what it left.
    pub fn halt_after(&self, operations: u64) {
        self.disk.faults.operations_left.0.store(operations, Ordering::SeqCst);
    }

    /// Syncs of files and directories that succeeded so far.
    pub fn syncs(&self) -> u64 {
        self.disk.faults.syncs.load(Ordering::SeqCst)
    }

    /// Overwrites bytes of a file as a failing disk would: at once, synced, unseen.
    pub fn damage(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        let file = self.disk.names.lock().expect("nobody panics holding it").file(path)?;
        let mut content = file.content.lock().expect("nobody panics holding it");
        let unsynced = content.unsynced.clone();
        content.write(at, bytes);
        content.unsynced = unsynced;
        Ok(())
    }

    /// Flips bits of one byte of a file, at once, synced, unseen.
    pub fn flip_bits(&self, path: &Path, at: u64, mask: u8) -> io::Result<()> {
        let file = self.disk.names.lock().expect("nobody panics holding it").file(path)?;
        let mut byte = [0];
        file.content.lock().expect("nobody panics holding it").read(at, &mut byte);
        self.damage(path, at, &[byte[0] ^ mask])
    }

    /// Takes the end of a file away, at once, synced, unseen.
    pub fn cut_short(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = self.disk.names.lock().expect("nobody panics holding it").file(path)?;
        let mut content = file.content.lock().expect("nobody panics holding it");
        content.zero_from(len);
        content.len = content.len.min(len);
        content.sync();
        Ok(())
    }

    /// Puts another disk's file in the place of this one's, at once, synced, unseen.
    pub fn put_copy(&self, path: &Path, other: &SimulatedFiles, from: &Path) -> io::Result<()> {
        let from = other.disk.names.lock().expect("nobody panics holding it").file(from)?;
        let mut copy = from.content.lock().expect("nobody panics holding it").clone();
        copy.sync();
        let file = self.disk.names.lock().expect("nobody panics holding it").file(path)?;
        *file.content.lock().expect("nobody panics holding it") = copy;
        Ok(())
    }

    /// What a file takes of the disk.
    pub fn block_bytes(&self, path: &Path) -> io::Result<u64> {
        let file = self.disk.names.lock().expect("nobody panics holding it").file(path)?;
        Ok(file.content.lock().expect("nobody panics holding it").block_bytes())
    }

    /// Every file, with the stretches of it that were ever written.
    pub fn written(&self) -> Vec<(PathBuf, Vec<Range<u64>>)> {
        let names = self.disk.names.lock().expect("nobody panics holding it");
        let files = names.now.iter().filter_map(|(path, node)| match node {
            Node::Directory => None,
            Node::File(file) => {
                let content = file.content.lock().expect("nobody panics holding it");
                Some((path.clone(), content.written(0)))
            }
        });
        files.collect()
    }

    /// Makes the directories that are missing on the way to `dir`; answers them, the outermost first.
    fn make_dirs<'a>(&self, dir: &'a Path) -> io::Result<Vec<&'a Path>> {
        let mut missing = Vec::new();
        {
            let names = self.disk.names.lock().expect("nobody panics holding it");
            for dir in dir.ancestors().filter(|dir| !is_root(dir)) {
                match names.now.get(dir) {
                    Some(Node::Directory) => break,
                    Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                    None => missing.push(dir),
                }
            }
        }
        missing.reverse();
        for dir in &missing {
            self.change()?.change(vec![(dir.to_path_buf(), Some(Node::Directory))]);
        }
        Ok(missing)
    }

    fn with_names(names: Names) -> SimulatedFiles {
        SimulatedFiles { disk: Arc::new(Disk { names: Mutex::new(names), ..Disk::default() }) }
    }

    /// The names, for a change of them.
    fn change(&self) -> io::Result<ChangingNames<'_>> {
        let _changing = self.disk.change()?;
        Ok(ChangingNames { names: self.disk.names.lock().expect("nobody panics holding it"), _changing })
    }

    fn create_file(&self, path: &Path, len: u64) -> io::Result<Arc<SimulatedFile>> {
        let file = self.change()?.create_file(path, Arc::default())?;
        // Its name is there before its length is.
        let _moment = self.disk.moment.read().expect("nobody panics holding it");
        file.content.lock().expect("nobody panics holding it").len = len;
        Ok(file)
    }

    fn open(&self, path: &Path, len: u64) -> io::Result<OpenFile> {
        let known = self.disk.names.lock().expect("nobody panics holding it").file(path);
        let file = match known {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut names = self.change()?;
                names.create_file(path, Arc::default())?
            }
            known => known?,
        };
        let _moment = self.disk.moment.read().expect("nobody panics holding it");
        let mut content = file.content.lock().expect("nobody panics holding it");
        match content.len {
            0 => content.len = len,
            found if found == len => {}
            found => {
                let reason = format!("{} has {found} bytes instead of {len}", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
        }
        drop(content);
        Ok(OpenFile { disk: self.disk.clone(), file, len })
    }
}

impl Files for SimulatedFiles {
    fn create_log_file(&self, path: &Path, len: u64) -> io::Result<Arc<dyn LogFile>> {
        let file = self.create_file(path, len)?;
        Ok(Arc::new(OpenLogFile {
            disk: self.disk.clone(),
            file,
            len,
            frontier: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
        }))
    }

    fn open_log_file(&self, path: &Path) -> io::Result<Arc<dyn LogFile>> {
        let file = self.disk.names.lock().expect("nobody panics holding it").file(path)?;
        let len = file.content.lock().expect("nobody panics holding it").len;
        let (frontier, reserved) = (AtomicU64::new(len), AtomicU64::new(len));
        Ok(Arc::new(OpenLogFile { disk: self.disk.clone(), file, len, frontier, reserved }))
    }

    fn data_file(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DataFile>> {
        Ok(Arc::new(self.open(path, len)?))
    }

    fn table_file(&self, path: &Path, len: u64) -> io::Result<Box<dyn TableFile>> {
        Ok(Box::new(self.open(path, len)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.disk.names.lock().expect("nobody panics holding it").file(path)?;
        let content = file.content.lock().expect("nobody panics holding it");
        let mut bytes = vec![0; content.len as usize];
        content.read(0, &mut bytes);
        Ok(bytes)
    }

    fn replace(&self, path: &Path, bytes: &[u8], _private: bool) -> io::Result<()> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let mut temporary = path.as_os_str().to_os_string();
        temporary.push(".new");
        let temporary = PathBuf::from(temporary);
        match self.remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let len = bytes.len() as u64;
        let open = OpenFile { disk: self.disk.clone(), file: self.create_file(&temporary, len)?, len };
        DataFile::write_at(&open, 0, bytes)?;
        DataFile::sync(&open)?;
        self.rename(&temporary, path)?;
        self.sync_dir(parent)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let names = self.disk.names.lock().expect("nobody panics holding it");
        let children = names.now.iter().filter(|(path, _)| path.parent() == Some(dir));
        let listed = children.map(|(path, node)| Listed {
            name: path.file_name().expect("has a parent").to_os_string(),
            len: match node {
                Node::Directory => 0,
                Node::File(file) => file.content.lock().expect("nobody panics holding it").len,
            },
            is_dir: matches!(node, Node::Directory),
        });
        let mut listed: Vec<Listed> = listed.collect();
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        for made in self.make_dirs(dir)? {
            self.sync_dir(made.parent().expect("not the root"))?;
        }
        Ok(())
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.make_dirs(dir).map(drop)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.names.lock().expect("nobody panics holding it").file(path)?;
        let mut names = self.change()?;
        let file = names.file(path)?;
        names.change(vec![(path.to_path_buf(), None)]);
        let content = file.content.lock().expect("nobody panics holding it");
        self.disk.faults.space_left.give_back(content.block_bytes());
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let mut names = self.change()?;
        match names.now.get(dir) {
            Some(Node::Directory) => {}
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        if names.now.keys().any(|path| path.parent() == Some(dir)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        names.change(vec![(dir.to_path_buf(), None)]);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.change()?;
        names.check_parent(to)?;
        let moved: Vec<(PathBuf, Node)> = names
            .now
            .iter()
            .filter_map(|(path, node)| Some((path.strip_prefix(from).ok()?.to_path_buf(), node.clone())))
            .collect();
        if moved.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let place =
            |dir: &Path, rest: &Path| if rest.as_os_str().is_empty() { dir.to_path_buf() } else { dir.join(rest) };
        let left = moved.iter().map(|(rest, _)| (place(from, rest), None));
        let made = moved.iter().map(|(rest, node)| (place(to, rest), Some(node.clone())));
        let change = left.chain(made).collect();
        // A moved directory brings its children along: only the outer names have to be synced.
        names.change_in(change, [from, to].into_iter().filter_map(Path::parent).map(Path::to_path_buf).collect());
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let Syncing::Done { _changing } = self.disk.sync()? else { return Ok(()) };
        let mut names = self.disk.names.lock().expect("nobody panics holding it");
        if !is_root(dir) && !matches!(names.now.get(dir), Some(Node::Directory)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        names.sync(dir);
        Ok(())
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        let Syncing::Done { _changing } = self.disk.sync()? else { return Ok(()) };
        let mut names = self.disk.names.lock().expect("nobody panics holding it");
        let below = |path: &&PathBuf| path.starts_with(dir);
        let dirs: BTreeSet<PathBuf> =
            names.now.keys().filter(below).filter_map(|path| path.parent()).map(Path::to_path_buf).collect();
        dirs.iter().for_each(|dir| names.sync(dir));
        for (_, node) in names.now.iter().filter(|(path, _)| path.starts_with(dir)) {
            if let Node::File(file) = node {
                file.content.lock().expect("nobody panics holding it").sync();
            }
        }
        Ok(())
    }

    fn available_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(self.disk.faults.space_left.0.load(Ordering::SeqCst))
    }

    fn total_bytes(&self, _dir: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let known = self.disk.names.lock().expect("nobody panics holding it").file(path).is_ok();
        if !known {
            self.change()?.create_file(path, Arc::default())?;
        }
        let locked = self.disk.locked.clone();
        if !locked.lock().expect("nobody panics holding it").insert(path.to_path_buf()) {
            return Ok(None);
        }
        Ok(Some(Box::new(HeldLock { locked, path: path.to_path_buf() })))
    }
}

impl LogFile for OpenLogFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn reserve(&self, end: u64) -> io::Result<()> {
        assert!(end <= self.len, "reserving inside of the file");
        let _changing = self.disk.change()?;
        let from = self.reserved.load(Ordering::SeqCst);
        if end > from {
            let mut content = self.file.content.lock().expect("nobody panics holding it");
            content.allocate(&self.disk.faults, from, end)?;
            self.reserved.store(end, Ordering::SeqCst);
        }
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        assert!(at >= self.frontier.load(Ordering::SeqCst), "what readers may see is not written again");
        assert!(end <= self.reserved.load(Ordering::SeqCst), "written without blocks");
        // Whoever is dead leaves no bytes, and does not notice.
        if let Ok(_changing) = self.disk.change() {
            self.file.content.lock().expect("nobody panics holding it").write(at, bytes);
        }
        self.frontier.store(end, Ordering::SeqCst);
    }

    fn write_gathered_at(&self, at: u64, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let fails = self.disk.faults.gathered_writes_fail.load(Ordering::SeqCst);
        let taken = if fails { pieces.len() / 2 } else { pieces.len() };
        pieces[..taken].iter().fold(at, |at, piece| {
            self.write_at(at, piece);
            at + piece.len() as u64
        });
        if fails { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn read(&self, at: u64, len: usize) -> Bytes {
        assert!(at + len as u64 <= self.frontier.load(Ordering::SeqCst), "readers stay below what was written");
        let mut bytes = vec![0; len];
        self.file.content.lock().expect("nobody panics holding it").read(at, &mut bytes);
        bytes.into()
    }

    fn data_from(&self, from: u64) -> Vec<Range<u64>> {
        let content = self.file.content.lock().expect("nobody panics holding it");
        content.written(from)
    }

    fn warm(&self, from: u64, to: u64) -> io::Result<()> {
        assert!(from <= to && to <= self.reserved.load(Ordering::SeqCst), "warming reserved blocks");
        Ok(())
    }

    fn expect_small_syncs(&self, _small: bool) {}

    fn cut(&mut self, end: u64) -> io::Result<()> {
        assert!(end <= self.len, "cutting inside of the file");
        let _changing = self.disk.change()?;
        let mut content = self.file.content.lock().expect("nobody panics holding it");
        let before = content.block_bytes();
        content.zero_from(end);
        self.disk.faults.space_left.give_back(before - content.block_bytes());
        *self.frontier.get_mut() = end;
        *self.reserved.get_mut() = end;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let Syncing::Done { _changing } = self.disk.sync()? else { return Ok(()) };
        self.file.content.lock().expect("nobody panics holding it").sync();
        Ok(())
    }

    fn sync_range(&self, from: u64, to: u64) -> io::Result<()> {
        let Syncing::Done { _changing } = self.disk.sync()? else { return Ok(()) };
        self.file.content.lock().expect("nobody panics holding it").sync_range(from, to);
        Ok(())
    }
}

impl DataFile for OpenFile {
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        if at + bytes.len() as u64 > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.content.lock().expect("nobody panics holding it").read(at, bytes);
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let end = at + bytes.len() as u64;
        assert!(end <= self.len, "written beyond the file's fixed length");
        let _changing = self.disk.change()?;
        let mut content = self.file.content.lock().expect("nobody panics holding it");
        content.allocate(&self.disk.faults, at, end)?;
        content.write(at, bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let Syncing::Done { _changing } = self.disk.sync()? else { return Ok(()) };
        self.file.content.lock().expect("nobody panics holding it").sync();
        Ok(())
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        assert!(from <= to && to == self.len, "zeroed to the file's end");
        let _changing = self.disk.change()?;
        self.file.content.lock().expect("nobody panics holding it").zero_from(from);
        Ok(())
    }
}

impl TableFile for OpenFile {
    fn reserve(&mut self, from: u64, to: u64) -> io::Result<()> {
        assert!(from <= to && to <= self.len, "reserving inside of the file");
        let _changing = self.disk.change()?;
        self.file.content.lock().expect("nobody panics holding it").allocate(&self.disk.faults, from, to)
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) {
        assert!(at + bytes.len() as u64 <= self.len, "in the file");
        self.file.content.lock().expect("nobody panics holding it").read(at, bytes);
    }

    fn write_at(&mut self, at: u64, bytes: &[u8]) {
        let changing = self.disk.change();
        let mut content = self.file.content.lock().expect("nobody panics holding it");
        assert!(content.is_allocated(at, at + bytes.len() as u64), "written without blocks");
        if changing.is_ok() {
            content.write(at, bytes);
        }
    }

    fn sync(&self) -> io::Result<()> {
        DataFile::sync(self)
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.locked.lock().expect("nobody panics holding it").remove(&self.path);
    }
}

/// What a sync came to.
enum Syncing<'a> {
    Done {
        _changing: Changing<'a>,
    },
    /// Said to be done.
    Lied,
}

impl Disk {
    /// Begins one change.
    fn change(self: &Arc<Disk>) -> io::Result<Changing<'_>> {
        let number = self.faults.operations.fetch_add(1, Ordering::SeqCst);
        if let Some(call) = self.before_change.get() {
            call(&SimulatedFiles { disk: self.clone() }, number);
        }
        let _moment = self.moment.read().expect("nobody panics holding it");
        let dead = |()| io::Error::other("simulated: the process is dead");
        self.faults.operations_left.take(1).map_err(dead)?;
        Ok(Changing { _moment })
    }

    fn sync(self: &Arc<Disk>) -> io::Result<Syncing<'_>> {
        let _changing = self.change()?;
        if self.faults.syncs_fail.load(Ordering::SeqCst) {
            return Err(io::Error::other("simulated: the sync has failed"));
        }
        self.faults.syncs.fetch_add(1, Ordering::SeqCst);
        if self.faults.syncs_lie.load(Ordering::SeqCst) {
            return Ok(Syncing::Lied);
        }
        Ok(Syncing::Done { _changing })
    }

    /// Waits for the changes that are under way; until this is dropped there are no others.
    fn stand_still(&self) -> RwLockWriteGuard<'_, ()> {
        self.moment.write().expect("nobody panics holding it")
    }
}

impl Deref for ChangingNames<'_> {
    type Target = Names;

    fn deref(&self) -> &Names {
        &self.names
    }
}

impl DerefMut for ChangingNames<'_> {
    fn deref_mut(&mut self) -> &mut Names {
        &mut self.names
    }
}

impl Countdown {
    fn take(&self, count: u64) -> Result<(), ()> {
        let take = |left: u64| if left == u64::MAX { Some(left) } else { left.checked_sub(count) };
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).map(drop).map_err(drop)
    }

    fn give_back(&self, count: u64) {
        let give = |left: u64| (left != u64::MAX).then(|| left.saturating_add(count).min(u64::MAX - 1));
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, give);
    }
}

impl Default for Countdown {
    fn default() -> Countdown {
        Countdown(AtomicU64::new(u64::MAX))
    }
}

/// Copies of files, by the address of the original.
type Copies = BTreeMap<usize, Arc<SimulatedFile>>;

impl Names {
    fn file(&self, path: &Path) -> io::Result<Arc<SimulatedFile>> {
        match self.now.get(path) {
            Some(Node::File(file)) => Ok(file.clone()),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn check_parent(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(dir) if is_root(dir) || matches!(self.now.get(dir), Some(Node::Directory)) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create_file(&mut self, path: &Path, file: Arc<SimulatedFile>) -> io::Result<Arc<SimulatedFile>> {
        self.check_parent(path)?;
        if self.now.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.change(vec![(path.to_path_buf(), Some(Node::File(file.clone())))]);
        Ok(file)
    }

    /// Changes names that lie in one directory.
    fn change(&mut self, names: Vec<(PathBuf, Option<Node>)>) {
        let unsynced = names.iter().filter_map(|(path, _)| path.parent()).map(Path::to_path_buf).collect();
        self.change_in(names, unsynced);
    }

    fn change_in(&mut self, names: Vec<(PathBuf, Option<Node>)>, unsynced: BTreeSet<PathBuf>) {
        for (path, node) in &names {
            match node {
                Some(node) => self.now.insert(path.clone(), node.clone()),
                None => self.now.remove(path),
            };
        }
        self.pending.push(NameChange { names, unsynced });
    }

    fn sync(&mut self, dir: &Path) {
        for change in &mut self.pending {
            change.unsynced.remove(dir);
        }
        let mut at = 0;
        while at < self.pending.len() {
            if !self.pending[at].unsynced.is_empty() {
                at += 1;
                continue;
            }
            for (path, node) in self.pending.remove(at).names {
                // What was changed before and is not synced yet comes too late for this name.
                self.pending[..at].iter_mut().for_each(|before| before.names.retain(|(name, _)| *name != path));
                match node {
                    Some(node) => self.synced.insert(path, node),
                    None => self.synced.remove(&path),
                };
            }
        }
    }

    fn copy(&self, nodes: &BTreeMap<PathBuf, Node>, copies: &mut Copies) -> BTreeMap<PathBuf, Node> {
        nodes.iter().map(|(path, node)| (path.clone(), node.copy(copies))).collect()
    }
}

impl Node {
    /// The same file is copied once, so that all its names stay its names.
    fn copy(&self, copies: &mut Copies) -> Node {
        match self {
            Node::Directory => Node::Directory,
            Node::File(file) => {
                let copy = copies.entry(Arc::as_ptr(file) as usize).or_insert_with(|| {
                    let content = file.content.lock().expect("nobody panics holding it").clone();
                    Arc::new(SimulatedFile { content: Mutex::new(content) })
                });
                Node::File(copy.clone())
            }
        }
    }
}

impl Content {
    fn read(&self, at: u64, bytes: &mut [u8]) {
        each_part(at, bytes.len() as u64, PAGE_BYTES, |page, inside, part| {
            let target = &mut bytes[part];
            match self.pages.get(&page) {
                Some(page) => target.copy_from_slice(&page[inside..inside + target.len()]),
                None => target.fill(0),
            }
        });
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        self.remember(at, at + bytes.len() as u64);
        each_part(at, bytes.len() as u64, PAGE_BYTES, |page, inside, part| {
            let source = &bytes[part];
            let page = Arc::make_mut(self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES as usize])));
            page[inside..inside + source.len()].copy_from_slice(source);
        });
    }

    /// Keeps what the disk holds of the sectors that are about to change.
    fn remember(&mut self, from: u64, to: u64) {
        if from == to {
            return;
        }
        for sector in from / SECTOR_BYTES..=(to - 1) / SECTOR_BYTES {
            if !self.unsynced.contains_key(&sector) {
                let mut held = [0; SECTOR_BYTES as usize];
                self.read(sector * SECTOR_BYTES, &mut held);
                self.unsynced.insert(sector, held);
            }
        }
    }

    fn allocate(&mut self, faults: &Faults, from: u64, to: u64) -> io::Result<()> {
        if from == to {
            return Ok(());
        }
        let (first, end) = (from / PAGE_BYTES, to.div_ceil(PAGE_BYTES));
        // The stretches that this one touches become one with it.
        let touched: Vec<(u64, u64)> =
            self.blocks.range(..=end).rev().map(|(a, b)| (*a, *b)).take_while(|(_, b)| *b >= first).collect();
        let there: u64 = touched.iter().map(|(a, b)| (*b).min(end).saturating_sub((*a).max(first))).sum();
        let full = |()| io::Error::from(io::ErrorKind::StorageFull);
        faults.space_left.take((end - first - there) * PAGE_BYTES).map_err(full)?;
        for (a, _) in &touched {
            self.blocks.remove(a);
        }
        let first = touched.iter().map(|(a, _)| *a).fold(first, u64::min);
        let end = touched.iter().map(|(_, b)| *b).fold(end, u64::max);
        self.blocks.insert(first, end);
        Ok(())
    }

    fn is_allocated(&self, from: u64, to: u64) -> bool {
        let stretch = self.blocks.range(..=from / PAGE_BYTES).next_back();
        from == to || stretch.is_some_and(|(_, end)| to <= end * PAGE_BYTES)
    }

    fn block_bytes(&self) -> u64 {
        self.blocks.iter().map(|(first, end)| (end - first) * PAGE_BYTES).sum()
    }

    /// The stretches from `from` on that may hold anything but zeros.
    fn written(&self, from: u64) -> Vec<Range<u64>> {
        let pages = self.pages.range(from / PAGE_BYTES..).map(|(page, _)| page * PAGE_BYTES);
        let stretches = pages.map(|start| from.max(start)..self.len.min(start + PAGE_BYTES));
        stretches.filter(|stretch| !stretch.is_empty()).collect()
    }

    /// Zeroes everything from here on, and gives back the blocks of whole pages.
    fn zero_from(&mut self, from: u64) {
        let pages: Vec<u64> = self.pages.range(from / PAGE_BYTES..).map(|(page, _)| *page).collect();
        for page in pages {
            let start = from.max(page * PAGE_BYTES);
            let end = (page + 1) * PAGE_BYTES;
            self.write(start, &vec![0; (end - start) as usize]);
            if start == page * PAGE_BYTES {
                self.pages.remove(&page);
            }
        }
        let kept_below = from.div_ceil(PAGE_BYTES);
        self.blocks.retain(|first, _| *first < kept_below);
        if let Some((_, end)) = self.blocks.iter_mut().next_back() {
            *end = kept_below.min(*end);
        }
    }

    fn sync(&mut self) {
        self.synced_len = self.len;
        self.unsynced.clear();
    }

    /// The pages that hold `[from, to)`, whole, as a mapping is synced.
    fn sync_range(&mut self, from: u64, to: u64) {
        let sectors = PAGE_BYTES / SECTOR_BYTES;
        let (first, end) = (from / PAGE_BYTES * sectors, to.div_ceil(PAGE_BYTES) * sectors);
        self.unsynced.retain(|sector, _| !(first..end).contains(sector));
    }

    /// A power cut, as far as this file goes.
    fn lose_some(&mut self, chance: &mut Chance) {
        for (sector, held) in std::mem::take(&mut self.unsynced) {
            if chance.coin() {
                self.write(sector * SECTOR_BYTES, &held);
            }
        }
        if self.len != self.synced_len && chance.coin() {
            self.len = self.synced_len;
            let end = self.len.div_ceil(PAGE_BYTES);
            self.pages.retain(|page, _| *page < end);
            self.blocks.retain(|first, _| *first < end);
            self.blocks.values_mut().for_each(|block_end| *block_end = end.min(*block_end));
        }
        self.sync();
    }
}

/// The directory that is always there.
fn is_root(dir: &Path) -> bool {
    dir.as_os_str().is_empty() || dir.parent().is_none()
}

/// Cuts `[at, at + len)` at multiples of `unit`: unit number, place inside of it, place in the caller's bytes.
fn each_part(at: u64, len: u64, unit: u64, mut part: impl FnMut(u64, usize, std::ops::Range<usize>)) {
    let mut done = 0;
    while done < len {
        let (number, inside) = ((at + done) / unit, (at + done) % unit);
        let count = (unit - inside).min(len - done);
        part(number, inside as usize, done as usize..(done + count) as usize);
        done += count;
    }
}

/// SplitMix64: as much chance as a simulation needs, the same for the same seed.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }

    #[cfg(test)]
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

impl ReadFiles for SimulatedFiles {
    fn read_dir(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        Files::list(self, dir)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadFile>> {
        let file = self.disk.names.lock().expect("nobody panics holding it").file(path)?;
        Ok(Box::new(file))
    }

    fn share_lock(&self, path: &Path) -> io::Result<Share> {
        let locked = self.disk.locked.lock().expect("nobody panics holding it").contains(path);
        Ok(if locked { Share::InUse } else { Share::Held(Box::new(())) })
    }
}

impl ReadFile for Arc<SimulatedFile> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().expect("nobody panics holding it").len)
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let content = self.content.lock().expect("nobody panics holding it");
        let len = content.len.saturating_sub(at).min(bytes.len() as u64) as usize;
        content.read(at, &mut bytes[..len]);
        Ok(len)
    }

    fn data_from(&self, from: u64) -> io::Result<Vec<Range<u64>>> {
        let content = self.content.lock().expect("nobody panics holding it");
        let pages = content.pages.range(from / PAGE_BYTES..).map(|(page, _)| page * PAGE_BYTES);
        let stretches = pages.map(|start| from.max(start)..content.len.min(start + PAGE_BYTES));
        Ok(stretches.filter(|stretch| !stretch.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 64 << 10;

    fn disk() -> SimulatedFiles {
        let files = SimulatedFiles::new();
        files.create_dir(Path::new("/d")).unwrap();
        files
    }

    /// What is left in `/d`, over many power cuts.
    fn outcomes<T: Ord>(files: &SimulatedFiles, look: impl Fn(&SimulatedFiles) -> T) -> BTreeSet<T> {
        (0..64).map(|seed| look(&files.power_cut(seed))).collect()
    }

    #[test]
    fn a_power_cut_takes_unsynced_sectors_one_by_one() {
        let files = disk();
        let path = Path::new("/d/f");
        let file = files.data_file(path, LEN).unwrap();
        file.write_at(0, &[1; 1024]).unwrap();
        file.sync().unwrap();
        files.sync_dir(Path::new("/d")).unwrap();
        file.write_at(256, &[2; 512]).unwrap();
        let seen = outcomes(&files, |files| {
            let mut bytes = [0; 1024];
            files.data_file(path, LEN).unwrap().read_at(0, &mut bytes).unwrap();
            assert_eq!((bytes[0], bytes[1023]), (1, 1));
            (bytes[300], bytes[600])
        });
        assert_eq!(seen, BTreeSet::from([(1, 1), (1, 2), (2, 1), (2, 2)]));
        file.sync().unwrap();
        let seen = outcomes(&files, |files| files.read(path).unwrap());
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn what_a_system_wrote_back_by_itself_stays_as_it_was_then() {
        let files = disk();
        let path = Path::new("/d/f");
        let file = files.data_file(path, LEN).unwrap();
        file.sync().unwrap();
        files.sync_dir(Path::new("/d")).unwrap();
        // Old, between and new: a sector that is written twice can be caught in the middle.
        file.write_at(0, &[1; 8]).unwrap();
        (0..8).for_each(|seed| files.write_back(seed));
        file.write_at(8, &[2; 8]).unwrap();
        let seen = outcomes(&files, |files| {
            let bytes = files.read(path).unwrap();
            (bytes[0], bytes[8])
        });
        assert_eq!(seen, BTreeSet::from([(1, 0), (1, 2)]));
    }

    #[test]
    fn later_writes_may_be_there_without_earlier_ones() {
        let files = disk();
        let paths = [Path::new("/d/f"), Path::new("/d/g")];
        let open = paths.map(|path| files.data_file(path, LEN).unwrap());
        open.iter().for_each(|file| file.sync().unwrap());
        files.sync_dir(Path::new("/d")).unwrap();
        open[0].write_at(0, &[1]).unwrap();
        open[1].write_at(0, &[1]).unwrap();
        open[0].write_at(60_000, &[1]).unwrap();
        let seen = outcomes(&files, |files| {
            let [f, g] = paths.map(|path| files.read(path).unwrap());
            (f[0], g[0], f[60_000])
        });
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn a_lying_drive_syncs_nothing() {
        let files = disk();
        files.lie_about_syncs();
        let path = Path::new("/d/f");
        files.replace(path, &[1; 600], false).unwrap();
        let seen = outcomes(&files, |files| files.read(path).map(|bytes| bytes.len()).unwrap_or(usize::MAX));
        assert!(seen.contains(&usize::MAX) && seen.contains(&0));
    }

    #[test]
    fn a_copy_is_one_moment_before_a_change() {
        let files = disk();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let copies = seen.clone();
        files.before_each_change(Box::new(move |files, number| {
            copies.lock().unwrap().push((number, files.kill().read(Path::new("/d/f")).unwrap_or_default()));
        }));
        let file = files.data_file(Path::new("/d/f"), 2).unwrap();
        file.write_at(0, &[1]).unwrap();
        file.write_at(1, &[2]).unwrap();
        let copies: Vec<Vec<u8>> = seen.lock().unwrap().iter().map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(copies, [vec![], vec![0, 0], vec![1, 0]]);
        assert_eq!(files.read(Path::new("/d/f")).unwrap(), [1, 2], "a copy shares nothing that changes");
    }

    #[test]
    fn d6_a_new_name_counts_when_its_directory_is_synced() {
        let files = disk();
        let (path, moved) = (Path::new("/d/f"), Path::new("/d/g"));
        files.create_log_file(path, LEN).unwrap().sync().unwrap();
        let names = |files: &SimulatedFiles| {
            files.list(Path::new("/d")).unwrap().into_iter().map(|listed| (listed.name, listed.len)).collect::<Vec<_>>()
        };
        assert_eq!(outcomes(&files, names), BTreeSet::from([vec![], vec![("f".into(), LEN)]]));
        files.sync_dir(Path::new("/d")).unwrap();
        assert_eq!(outcomes(&files, names), BTreeSet::from([vec![("f".into(), LEN)]]));
        files.rename(path, moved).unwrap();
        assert_eq!(outcomes(&files, names), BTreeSet::from([vec![("f".into(), LEN)], vec![("g".into(), LEN)]]));
    }

    #[test]
    fn what_was_synced_later_is_not_undone_by_what_came_before() {
        let files = disk();
        files.create_dir(Path::new("/e")).unwrap();
        let (path, moved) = (Path::new("/d/f"), Path::new("/e/f"));
        files.create_log_file(path, LEN).unwrap().sync().unwrap();
        files.sync_dir(Path::new("/d")).unwrap();
        // Its new directory is never synced, and another file takes the name.
        files.rename(path, moved).unwrap();
        files.create_log_file(path, LEN).unwrap().sync().unwrap();
        files.sync_dir(Path::new("/d")).unwrap();
        assert_eq!(outcomes(&files, |files| files.read(path).is_ok()), BTreeSet::from([true]));
    }

    #[test]
    fn an_unsynced_length_may_be_lost() {
        let files = disk();
        files.create_log_file(Path::new("/d/f"), LEN).unwrap();
        files.sync_dir(Path::new("/d")).unwrap();
        assert_eq!(outcomes(&files, |files| files.list(Path::new("/d")).unwrap()[0].len), BTreeSet::from([0, LEN]));
    }

    #[test]
    fn a_small_file_is_replaced_whole() {
        let files = disk();
        let path = Path::new("/d/f");
        files.replace(path, &[1; 2000], false).unwrap();
        for operations in 0..8 {
            let files = files.kill();
            files.halt_after(operations);
            let done = files.replace(path, &[2; 3000], false).is_ok();
            let seen = outcomes(&files, |files| files.read(path).unwrap());
            assert!(seen.iter().all(|bytes| *bytes == [1; 2000] || *bytes == [2; 3000]));
            assert!(!done || seen.contains(&vec![2; 3000]) && seen.len() == 1);
        }
    }

    #[test]
    fn a_kill_loses_nothing_and_frees_the_lock() {
        let files = disk();
        let path = Path::new("/d/lock");
        let file = files.data_file(Path::new("/d/f"), LEN).unwrap();
        file.write_at(5, b"x").unwrap();
        let _held = files.lock(path).unwrap().unwrap();
        assert!(files.lock(path).unwrap().is_none());
        files.halt_after(0);
        assert!(file.write_at(6, b"y").is_err());
        let next = files.kill();
        assert!(next.lock(path).unwrap().is_some());
        assert_eq!(next.read(Path::new("/d/f")).unwrap()[5..7], *b"x\0");
    }

    #[test]
    fn a_full_disk_gives_no_more_pages() {
        let files = disk();
        files.limit_space(Some(2 * PAGE_BYTES));
        let file = files.create_log_file(Path::new("/d/f"), LEN).unwrap();
        file.reserve(2 * PAGE_BYTES).unwrap();
        assert_eq!(file.reserve(LEN).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(files.available_bytes(Path::new("/d")).unwrap(), 0);
        files.remove_file(Path::new("/d/f")).unwrap();
        assert_eq!(files.available_bytes(Path::new("/d")).unwrap(), 2 * PAGE_BYTES);
    }
}
