//! Index files as they lie on the disk, entry by entry.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::index_file::{ENTRY_BYTES, Entry, HEADER_BYTES, Header, IndexLayout, KeyHash, SLOT_BYTES};
use crate::store::offline::source::{ReadFile, ReadFiles};

pub const INDEX_DIR: &str = "index";
/// Entries and slots read at once.
const READ_BYTES: usize = 1 << 20;
/// Entries that one search looks at in one file: as many as its fullest chain could have in a file without damage.
const CHAIN_MAX: u32 = 1 << 20;

/// One index file, opened for reading.
pub struct OfflineIndexFile {
    pub path: PathBuf,
    pub layout: IndexLayout,
    pub header: IndexHeader,
    file: Box<dyn ReadFile>,
    /// Entries or slots that were read last: where they begin in the file.
    window: (u64, Vec<u8>),
}

/// What the first bytes of an index file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexHeader {
    pub begin_ms: i64,
    pub end_ms: i64,
    pub begin_offset: u64,
    pub end_offset: u64,
    pub used_slots: u32,
    /// One more than the entries: number 0 is never used.
    pub count: u32,
}

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexEntry {
    pub number: u32,
    pub key_hash: i32,
    pub commit_log_offset: u64,
    pub seconds: i32,
    pub previous: u32,
}

/// Opens all index files, oldest first. One that cannot be an index file of this layout is told of with the reason.
pub fn index_files(
    files: &dyn ReadFiles,
    data_dir: &Path,
    layout: IndexLayout,
    mut refused: impl FnMut(PathBuf, u64, String),
) -> io::Result<Vec<OfflineIndexFile>> {
    let dir = data_dir.join(INDEX_DIR);
    let mut found = Vec::new();
    for listed in files.read_dir(&dir)? {
        let path = dir.join(&listed.name);
        let is_name = |name: &str| name.len() == 17 && name.bytes().all(|byte| byte.is_ascii_digit());
        if listed.is_dir || !listed.name.to_str().is_some_and(is_name) {
            refused(path, 0, "no index file has such a name".into());
        } else if listed.len != layout.file_bytes() {
            let reason = format!("it has {} bytes, an index file has {}", listed.len, layout.file_bytes());
            refused(path, 0, reason);
        } else {
            match OfflineIndexFile::open(files, &path, layout) {
                Ok(file) if file.header.count > layout.entries => {
                    let reason = format!(
                        "its header counts {} entries, there is room for {}",
                        file.header.count, layout.entries
                    );
                    refused(path, 36, reason);
                }
                Ok(file) => found.push(file),
                Err(error) => refused(path, 0, format!("it cannot be read: {error}")),
            }
        }
    }
    Ok(found)
}

impl OfflineIndexFile {
    fn open(files: &dyn ReadFiles, path: &Path, layout: IndexLayout) -> io::Result<OfflineIndexFile> {
        let file = files.open(path)?;
        let mut bytes = [0; HEADER_BYTES as usize];
        file.read_at(0, &mut bytes)?;
        let Header { begin_ms, end_ms, begin_offset, end_offset, used_slots, count } = Header::decode(&bytes);
        let header = IndexHeader { begin_ms, end_ms, begin_offset, end_offset, used_slots, count };
        Ok(OfflineIndexFile { path: path.to_path_buf(), layout, header, file, window: (0, Vec::new()) })
    }

    /// Byte place of an entry.
    pub fn place(&self, number: u32) -> u64 {
        self.layout.entry_at(number)
    }

    pub fn entry(&mut self, number: u32) -> io::Result<IndexEntry> {
        let at = self.layout.entry_at(number);
        let end = self.layout.entry_at(self.layout.entries);
        let bytes = self.bytes(at, ENTRY_BYTES as usize, end)?;
        let Entry { hash, offset, seconds, previous } = Entry::decode(bytes);
        Ok(IndexEntry { number, key_hash: hash.0, commit_log_offset: offset, seconds, previous })
    }

    /// The newest entry of a slot, 0 for none; as it stands there.
    pub fn slot(&mut self, slot: u32) -> io::Result<u32> {
        let bytes = self.bytes(self.layout.slot_at(slot), SLOT_BYTES as usize, self.layout.entry_at(0))?;
        Ok(u32::from_be_bytes(bytes.try_into().expect("4 bytes")))
    }

    /// Runs of slots that may hold anything but zeros, in order.
    pub fn slot_runs(&self) -> io::Result<Vec<std::ops::Range<u32>>> {
        let end = self.layout.slot_at(self.layout.slots);
        let mut runs: Vec<std::ops::Range<u32>> = Vec::new();
        for stretch in self.file.data_from(HEADER_BYTES)? {
            let (from, to) = (stretch.start.max(HEADER_BYTES), stretch.end.min(end));
            if from < to {
                let slot = |at: u64| u32::try_from(at).expect("fewer than there are slots");
                let start = slot((from - HEADER_BYTES) / SLOT_BYTES).max(runs.last().map_or(0, |run| run.end));
                runs.push(start..slot((to - HEADER_BYTES).div_ceil(SLOT_BYTES)));
            }
        }
        Ok(runs)
    }

    pub fn slot_of(&self, key_hash: i32) -> u32 {
        key_hash.unsigned_abs() % self.layout.slots
    }

    /// Entries of a key, newest first.
    pub fn find(&mut self, key: KeyHash) -> io::Result<Vec<IndexEntry>> {
        let mut found = Vec::new();
        let mut next = self.slot(self.slot_of(key.0))?;
        for _ in 0..CHAIN_MAX {
            if next == 0 || next >= self.header.count {
                break;
            }
            let entry = self.entry(next)?;
            if entry.key_hash == key.0 {
                found.push(entry);
            }
            next = if entry.previous < next { entry.previous } else { 0 };
        }
        Ok(found)
    }

    fn bytes(&mut self, at: u64, len: usize, end: u64) -> io::Result<&[u8]> {
        let (start, window) = &mut self.window;
        let holds = at >= *start && at + len as u64 <= *start + window.len() as u64;
        if !holds {
            window.resize((end - at).min(READ_BYTES as u64) as usize, 0);
            let read = self.file.read_at(at, window)?;
            window.truncate(read);
            *start = at;
        }
        let from = (at - *start) as usize;
        window.get(from..from + len).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}
