//! Consume queues as they lie on the disk: which there are, and what a run of their units says.

use std::io;
use std::path::{Path, PathBuf};

use crate::offset::{QueueId, QueueOffset};
use crate::store::consume_queue::{FILE_BYTES, FILLER_LEN, QueueEntry, UNIT_BYTES};
use crate::store::files::Listed;
use crate::store::offline::source::ReadFiles;
use crate::store::segment;

pub const CONSUME_QUEUE_DIR: &str = "consumequeue";
/// Units read at once.
pub const READ_UNITS: u64 = 16_384;

/// One queue's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDir {
    pub topic: String,
    pub queue_id: QueueId,
    pub dir: PathBuf,
    /// Byte offset and length of each file, in order.
    pub files: Vec<(u64, u64)>,
}

/// Every queue that has a directory, ordered by topic and queue id. What does not look like one is a `stranger`.
pub fn queue_dirs(files: &dyn ReadFiles, data_dir: &Path, strangers: &mut Vec<PathBuf>) -> io::Result<Vec<QueueDir>> {
    let root = data_dir.join(CONSUME_QUEUE_DIR);
    let mut found = Vec::new();
    for topic in files.read_dir(&root)? {
        let topic_dir = root.join(&topic.name);
        let name = topic.name.to_str().filter(|_| topic.is_dir);
        let Some(name) = name else {
            strangers.push(topic_dir);
            continue;
        };
        for queue in files.read_dir(&topic_dir)? {
            let dir = topic_dir.join(&queue.name);
            match queue_id(&queue) {
                Some(queue_id) => {
                    let files = queue_files(files, &dir, strangers)?;
                    found.push(QueueDir { topic: name.to_string(), queue_id, dir, files });
                }
                None => strangers.push(dir),
            }
        }
    }
    found.sort_by(|a, b| (&a.topic, a.queue_id).cmp(&(&b.topic, b.queue_id)));
    Ok(found)
}

fn queue_id(listed: &Listed) -> Option<QueueId> {
    let id = listed.name.to_str()?.parse::<u32>().ok()?;
    (listed.is_dir && id.to_string() == listed.name.to_str()?).then_some(QueueId(id))
}

fn queue_files(files: &dyn ReadFiles, dir: &Path, strangers: &mut Vec<PathBuf>) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for listed in files.read_dir(dir)? {
        match segment::parse_file_name(&listed.name) {
            Some(base) if !listed.is_dir && i64::try_from(base.saturating_add(listed.len)).is_ok() => {
                found.push((base, listed.len));
            }
            _ => strangers.push(dir.join(&listed.name)),
        }
    }
    Ok(found)
}

/// The length that every file of this store should have: our own, or what an operator of RocketMQ has set.
pub fn file_bytes_of(queues: &[QueueDir], ours: bool) -> u64 {
    let first = queues.iter().flat_map(|queue| &queue.files).map(|(_, len)| *len).find(|len| *len > 0);
    match first {
        Some(len) if !ours && len % UNIT_BYTES as u64 == 0 => len,
        _ => FILE_BYTES,
    }
}

impl QueueDir {
    /// Where a unit lies, whether or not there is such a file.
    pub fn place(&self, at: QueueOffset, file_bytes: u64) -> (PathBuf, u64) {
        let byte = at.0.saturating_mul(UNIT_BYTES as u64);
        let base = match self.files.iter().rfind(|(base, _)| *base <= byte) {
            Some((base, len)) if byte - base < (*len).max(1) => *base,
            _ => byte / file_bytes * file_bytes,
        };
        (self.dir.join(segment::file_name(base)), byte - base)
    }

    /// The first unit that a file has room for.
    pub fn first(&self) -> QueueOffset {
        QueueOffset(self.files.first().map_or(0, |(base, _)| base / UNIT_BYTES as u64))
    }

    /// Reads `units.len() / UNIT_BYTES` units from `at` on; what no file holds is zeros.
    pub fn read(&self, files: &dyn ReadFiles, at: QueueOffset, units: &mut [u8]) -> io::Result<()> {
        units.fill(0);
        let from = at.0.saturating_mul(UNIT_BYTES as u64);
        let end = from.saturating_add(units.len() as u64);
        for (base, len) in &self.files {
            let (start, stop) = (from.max(*base), end.min(base + len));
            if start >= stop {
                continue;
            }
            let file = files.open(&self.dir.join(segment::file_name(*base)))?;
            file.read_at(start - base, &mut units[(start - from) as usize..(stop - from) as usize])?;
        }
        Ok(())
    }

    /// The first entry, and one past the last one; `None` for a queue without entries. What lies between is not looked at.
    pub fn ends(&self, files: &dyn ReadFiles) -> io::Result<Option<(QueueOffset, QueueOffset)>> {
        let runs = self.data_from(files, self.first())?;
        let pieces: Vec<_> = runs
            .into_iter()
            .flat_map(|run| {
                let starts = (run.start..run.end).step_by(READ_UNITS as usize);
                starts.map(move |start| start..run.end.min(start + READ_UNITS))
            })
            .collect();
        let mut units = Vec::new();
        let mut holds = |piece: &std::ops::Range<u64>, last: bool| -> io::Result<Option<u64>> {
            units.resize((piece.end - piece.start) as usize * UNIT_BYTES, 0);
            self.read(files, QueueOffset(piece.start), &mut units)?;
            let mut written = units
                .chunks_exact(UNIT_BYTES)
                .map(|bytes| QueueEntry::decode(bytes).is_some_and(|entry| entry.record_len != FILLER_LEN));
            let found = if last { written.rposition(|is| is) } else { written.position(|is| is) };
            Ok(found.map(|index| piece.start + index as u64))
        };
        for piece in &pieces {
            if let Some(first) = holds(piece, false)? {
                for piece in pieces.iter().rev() {
                    if let Some(last) = holds(piece, true)? {
                        return Ok(Some((QueueOffset(first), QueueOffset(last + 1))));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Gives out all entries, as long as `each` wants more.
    pub fn each_entry(
        &self,
        files: &dyn ReadFiles,
        mut each: impl FnMut(QueueOffset, QueueEntry) -> bool,
    ) -> io::Result<()> {
        let mut units = Vec::new();
        for run in self.data_from(files, self.first())? {
            for start in run.clone().step_by(READ_UNITS as usize) {
                let end = run.end.min(start + READ_UNITS);
                units.resize((end - start) as usize * UNIT_BYTES, 0);
                self.read(files, QueueOffset(start), &mut units)?;
                for (at, bytes) in (start..).zip(units.chunks_exact(UNIT_BYTES)) {
                    if let Some(entry) = QueueEntry::decode(bytes).filter(|entry| entry.record_len != FILLER_LEN)
                        && !each(QueueOffset(at), entry)
                    {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs of units at or behind `from` that may hold anything, as queue offsets.
    pub fn data_from(&self, files: &dyn ReadFiles, from: QueueOffset) -> io::Result<Vec<std::ops::Range<u64>>> {
        const UNIT: u64 = UNIT_BYTES as u64;
        let from = from.0.saturating_mul(UNIT);
        let mut runs: Vec<std::ops::Range<u64>> = Vec::new();
        for (base, len) in &self.files {
            if base + len <= from {
                continue;
            }
            let file = files.open(&self.dir.join(segment::file_name(*base)))?;
            for stretch in file.data_from(from.saturating_sub(*base))? {
                let (start, end) = ((base + stretch.start) / UNIT, (base + stretch.end).div_ceil(UNIT));
                let start = start.max(from.div_ceil(UNIT)).max(runs.last().map_or(0, |run| run.end));
                if start < end {
                    runs.push(start..end);
                }
            }
        }
        Ok(runs)
    }
}

/// The entry of one unit, and whether the unit is all zeros.
pub fn unit(bytes: &[u8]) -> (Option<QueueEntry>, bool) {
    (QueueEntry::decode(bytes), bytes.iter().all(|byte| *byte == 0))
}
