//! Where messages wait for their time: RocketMQ's `timerlog`, one unit for each message of the topic of timers.
//!
//! Files of 100 MiB; units never span two, and the last is followed by a blank. Here unit `k` of all is queue offset `k`
//! of the topic of timers, so a unit's place follows from its message. All integers are big-endian.
//!
//! | at | field |
//! |---|---|
//! | 0 | size i32, always 52 |
//! | 4 | place of the unit before it in the same second i64, -1 for the first |
//! | 12 | magic i32: 1, +2 to be put back, +4 recalls another message |
//! | 16 | base time i64 |
//! | 24 | its second, as milliseconds after the base time i32 |
//! | 28 | place of the message in the commit log i64 |
//! | 36 | length of the message's record i32 |
//! | 40 | Java's hash of the real topic i32 |
//! | 44 | zeros |
//!
//! Derived: what is missing or wrong is made anew from the topic's queue. No unit has a checksum; each must agree with
//! its queue entry instead.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::offset::{CommitLogOffset, QueueOffset};
use crate::store::files::{DataFile, Files};
use crate::store::record::MAGIC_BLANK;

pub const TIMER_LOG_DIR: &str = "timerlog";
pub const UNIT_BYTES: usize = 52;
/// RocketMQ's `mappedFileSizeTimerLog`.
pub const FILE_BYTES: u64 = 100 << 20;
const BLANK_BYTES: u64 = 16;
pub const UNITS_PER_FILE: u64 = (FILE_BYTES - BLANK_BYTES) / UNIT_BYTES as u64;
const PREVIOUS_AT: u64 = 4;

const MAGIC_DEFAULT: i32 = 1;
const MAGIC_ROLL: i32 = 1 << 1;
const MAGIC_DELETE: i32 = 1 << 2;

/// One message that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimerUnit {
    /// The message before it in the same second.
    pub previous: Option<QueueOffset>,
    /// Its time is far away: it is put back into the topic of timers.
    pub rolls: bool,
    /// It is no message but recalls one.
    pub recalls: bool,
    /// When its message was stored.
    pub base: Timestamp,
    /// The second in which it waits.
    pub second: Timestamp,
    pub commit_log_offset: CommitLogOffset,
    pub record_len: u32,
    pub topic_hash: i32,
}

impl TimerUnit {
    fn encode(&self) -> [u8; UNIT_BYTES] {
        let mut bytes = [0; UNIT_BYTES];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        let magic =
            MAGIC_DEFAULT | if self.rolls { MAGIC_ROLL } else { 0 } | if self.recalls { MAGIC_DELETE } else { 0 };
        let delay = i32::try_from(self.second.0 - self.base.0);
        let (base, delay) = delay.map_or((self.second, 0), |delay| (self.base, delay));
        put(0, &(UNIT_BYTES as i32).to_be_bytes());
        put(4, &place(self.previous).to_be_bytes());
        put(12, &magic.to_be_bytes());
        put(16, &base.0.to_be_bytes());
        put(24, &delay.to_be_bytes());
        put(28, &self.commit_log_offset.0.to_be_bytes());
        put(36, &self.record_len.to_be_bytes());
        put(40, &self.topic_hash.to_be_bytes());
        bytes
    }

    /// `None` for anything that was not written as a unit.
    fn decode(bytes: &[u8; UNIT_BYTES]) -> Option<TimerUnit> {
        let i32_at = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let i64_at = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let magic = i32_at(12);
        let known = MAGIC_DEFAULT | MAGIC_ROLL | MAGIC_DELETE;
        if i32_at(0) != UNIT_BYTES as i32 || magic & MAGIC_DEFAULT == 0 || magic & !known != 0 {
            return None;
        }
        let base = Timestamp(i64_at(16));
        Some(TimerUnit {
            previous: at_place(i64_at(4))?,
            rolls: magic & MAGIC_ROLL != 0,
            recalls: magic & MAGIC_DELETE != 0,
            base,
            second: Timestamp(base.0.checked_add(i64::from(i32_at(24)))?),
            commit_log_offset: CommitLogOffset(u64::try_from(i64_at(28)).ok()?),
            record_len: u32::try_from(i32_at(36)).ok()?,
            topic_hash: i32_at(40),
        })
    }
}

/// Bytes before this unit's first, over all files.
pub fn place(at: Option<QueueOffset>) -> i64 {
    at.map_or(-1, |at| {
        let place = at.0 / UNITS_PER_FILE * FILE_BYTES + at.0 % UNITS_PER_FILE * UNIT_BYTES as u64;
        i64::try_from(place).unwrap_or(i64::MAX)
    })
}

/// `Some(None)` is the place of no unit; `None` cannot be one.
fn at_place(place: i64) -> Option<Option<QueueOffset>> {
    if place == -1 {
        return Some(None);
    }
    let place = u64::try_from(place).ok()?;
    let (file, inside) = (place / FILE_BYTES, place % FILE_BYTES);
    let is_unit = inside % UNIT_BYTES as u64 == 0 && inside / (UNIT_BYTES as u64) < UNITS_PER_FILE;
    is_unit.then(|| Some(QueueOffset(file * UNITS_PER_FILE + inside / UNIT_BYTES as u64)))
}

/// Units of a stretch that lie in one file.
struct Piece {
    file: u64,
    at: u64,
    count: u64,
}

/// The files. One owner reads and writes them.
pub struct TimerLog {
    files: Arc<dyn Files>,
    dir: PathBuf,
    open: BTreeMap<u64, Arc<dyn DataFile>>,
}

impl TimerLog {
    /// Files of another length go: they are somebody's who will make them anew, too.
    pub fn open(files: Arc<dyn Files>, dir: PathBuf) -> io::Result<TimerLog> {
        files.make_dir(&dir)?;
        for listed in files.list(&dir)? {
            let number = listed.name.to_str().and_then(|name| name.parse::<u64>().ok());
            let is_ours = number.is_some_and(|number| number % FILE_BYTES == 0) && listed.len == FILE_BYTES;
            if !is_ours && !listed.is_dir {
                files.remove_file(&dir.join(&listed.name))?;
            }
        }
        Ok(TimerLog { files, dir, open: BTreeMap::new() })
    }

    /// Writes the units of messages from `first` on.
    pub fn write(&mut self, first: QueueOffset, units: &[TimerUnit]) -> io::Result<()> {
        let mut left = units;
        for piece in pieces(first, units.len() as u64) {
            let (now, later) = left.split_at(piece.count as usize);
            left = later;
            let mut bytes = Vec::with_capacity(now.len() * UNIT_BYTES + BLANK_BYTES as usize);
            now.iter().for_each(|unit| bytes.extend_from_slice(&unit.encode()));
            let end = piece.at + piece.count * UNIT_BYTES as u64;
            if end == UNITS_PER_FILE * UNIT_BYTES as u64 {
                bytes.extend_from_slice(&((FILE_BYTES - end) as i32).to_be_bytes());
                bytes.extend_from_slice(&[0; 8]);
                bytes.extend_from_slice(&MAGIC_BLANK.to_be_bytes());
            }
            self.file(piece.file)?.write_at(piece.at, &bytes)?;
        }
        Ok(())
    }

    /// Adds the units of at most `count` messages from `first` on; fewer where something else than a unit lies.
    pub fn read(&mut self, first: QueueOffset, count: u64, units: &mut Vec<TimerUnit>) -> io::Result<()> {
        for piece in pieces(first, count) {
            if !self.open.contains_key(&piece.file) && !self.is_there(piece.file)? {
                return Ok(());
            }
            let mut bytes = vec![0; piece.count as usize * UNIT_BYTES];
            self.file(piece.file)?.read_at(piece.at, &mut bytes)?;
            for unit in bytes.as_chunks::<UNIT_BYTES>().0 {
                let Some(unit) = TimerUnit::decode(unit) else { return Ok(()) };
                units.push(unit);
            }
        }
        Ok(())
    }

    /// Says anew which message comes before this one in its second.
    pub fn set_previous(&mut self, of: QueueOffset, previous: Option<QueueOffset>) -> io::Result<()> {
        let at = of.0 % UNITS_PER_FILE * UNIT_BYTES as u64 + PREVIOUS_AT;
        self.file(of.0 / UNITS_PER_FILE)?.write_at(at, &place(previous).to_be_bytes())
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.open.values().try_for_each(|file| file.sync())?;
        self.files.sync_dir(&self.dir)
    }

    /// Nothing is left of the units from `end` on (rule B11).
    pub fn truncate(&mut self, end: QueueOffset) -> io::Result<()> {
        let (keep, inside) = (end.0 / UNITS_PER_FILE, end.0 % UNITS_PER_FILE * UNIT_BYTES as u64);
        for file in self.there()? {
            if file > keep || (file == keep && inside == 0) {
                self.remove(file)?;
            } else if file == keep {
                self.file(file)?.zero(inside, FILE_BYTES)?;
            }
        }
        Ok(())
    }

    /// Removes files that hold nothing from `min` on.
    pub fn trim(&mut self, min: QueueOffset) -> io::Result<()> {
        for file in self.there()? {
            if (file + 1) * UNITS_PER_FILE <= min.0 {
                self.remove(file)?;
            }
        }
        Ok(())
    }

    fn is_there(&self, file: u64) -> io::Result<bool> {
        Ok(self.there()?.contains(&file))
    }

    fn there(&self) -> io::Result<Vec<u64>> {
        let number = |name: &std::ffi::OsString| Some(name.to_str()?.parse::<u64>().ok()? / FILE_BYTES);
        Ok(self.files.list(&self.dir)?.iter().filter_map(|listed| number(&listed.name)).collect())
    }

    fn remove(&mut self, file: u64) -> io::Result<()> {
        self.open.remove(&file);
        self.files.remove_file(&self.path(file))
    }

    fn file(&mut self, file: u64) -> io::Result<&Arc<dyn DataFile>> {
        if !self.open.contains_key(&file) {
            let opened = self.files.data_file(&self.path(file), FILE_BYTES)?;
            self.open.insert(file, opened);
        }
        Ok(&self.open[&file])
    }

    fn path(&self, file: u64) -> PathBuf {
        self.dir.join(format!("{:020}", file * FILE_BYTES))
    }
}

fn pieces(first: QueueOffset, count: u64) -> impl Iterator<Item = Piece> {
    let (mut next, end) = (first.0, first.0 + count);
    std::iter::from_fn(move || {
        let (file, inside) = (next / UNITS_PER_FILE, next % UNITS_PER_FILE);
        let count = (end - next).min(UNITS_PER_FILE - inside);
        next += count;
        (count > 0).then_some(Piece { file, at: inside * UNIT_BYTES as u64, count })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::simulated_files::SimulatedFiles;

    fn unit(at: u64) -> TimerUnit {
        TimerUnit {
            previous: at.checked_sub(1).map(QueueOffset),
            rolls: at.is_multiple_of(3),
            recalls: at.is_multiple_of(5),
            base: Timestamp(1_700_000_000_123),
            second: Timestamp(1_700_000_007_000),
            commit_log_offset: CommitLogOffset(at * 100),
            record_len: 300,
            topic_hash: -7,
        }
    }

    fn log(files: &SimulatedFiles) -> TimerLog {
        TimerLog::open(Arc::new(files.clone()), "/data/timerlog".into()).unwrap()
    }

    fn read(log: &mut TimerLog, first: u64, count: u64) -> Vec<TimerUnit> {
        let mut units = Vec::new();
        log.read(QueueOffset(first), count, &mut units).unwrap();
        units
    }

    #[test]
    fn the_bytes_are_rocketmqs() {
        let hex: String = unit(3).encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "00000034".to_owned()
            + "0000000000000068"
            + "00000003"
            + "0000018bcfe5687b"
            + "00001add"
            + "000000000000012c"
            + "0000012c"
            + "fffffff9"
            + "0000000000000000";
        assert_eq!(hex, expected);
        assert_eq!(TimerUnit::decode(&unit(3).encode()), Some(unit(3)));
        assert_eq!(TimerUnit::decode(&[0; UNIT_BYTES]), None);
        let mut strange = unit(3).encode();
        strange[15] |= 8;
        assert_eq!(TimerUnit::decode(&strange), None);
    }

    #[test]
    fn units_lie_across_files_and_a_blank_closes_each() {
        let files = SimulatedFiles::new();
        let mut timers = log(&files);
        let first = UNITS_PER_FILE - 2;
        let units: Vec<_> = (first..first + 5).map(unit).collect();
        timers.write(QueueOffset(first), &units).unwrap();
        assert_eq!(read(&mut timers, first, 9), units);
        let mut again = log(&files);
        assert_eq!(read(&mut again, first + 3, 2), units[3..]);
        let mut blank = [0; 16];
        again.file(0).unwrap().read_at(UNITS_PER_FILE * UNIT_BYTES as u64, &mut blank).unwrap();
        let remaining = (FILE_BYTES - UNITS_PER_FILE * UNIT_BYTES as u64) as u32;
        assert_eq!((&blank[..4], &blank[12..]), (&remaining.to_be_bytes()[..], &MAGIC_BLANK.to_be_bytes()[..]));
        again.set_previous(QueueOffset(first + 4), None).unwrap();
        assert_eq!(read(&mut again, first + 4, 1)[0].previous, None);

        again.truncate(QueueOffset(first + 3)).unwrap();
        assert_eq!(read(&mut again, first, 9), units[..3]);
        again.trim(QueueOffset(UNITS_PER_FILE)).unwrap();
        assert!(read(&mut again, first, 9).is_empty());
        assert_eq!(read(&mut again, UNITS_PER_FILE, 9), units[2..3]);
        again.truncate(QueueOffset(0)).unwrap();
        assert!(files.list("/data/timerlog".as_ref()).unwrap().is_empty());
    }
}
