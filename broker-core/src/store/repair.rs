//! Giving up the end of a log, on an operator's word: what a damaged store needs when there is no other copy of it.
//!
//! Whole files are kept: segments behind the cut, snapshots that reflect more than is kept, queues and index go to
//! quarantine, and what is derived is made anew by the next start. What lies behind the cut in its own segment is zeroed,
//! as recovery does it with a torn tail.
//!
//! Invariant: killed at any point and run again, it comes to the same.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::offset::CommitLogOffset;
use crate::store::checkpoint::{Checkpoint, CheckpointFile};
use crate::store::commit_log::{Inspected, UncheckedLog};
use crate::store::error::StoreError;
use crate::store::files::Files;
use crate::store::identity::{AbortFile, DirectoryLock, Identity};
use crate::store::quarantine::{self, QUARANTINE_DIR};
use crate::store::record::PropertyCrc;
use crate::store::snapshots;

/// What was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The log ends here now.
    pub end: CommitLogOffset,
    /// Bytes behind it, those of whole segments included.
    pub given_up_bytes: u64,
    /// Where everything went that was moved.
    pub quarantine: PathBuf,
    pub moved: Vec<PathBuf>,
}

/// Makes `at`, where a record begins or ends, the end of the log of a store that nobody has open.
pub fn cut(files: Arc<dyn Files>, data_dir: &Path, at: CommitLogOffset) -> Result<Cut, StoreError> {
    let _lock = DirectoryLock::take(&*files, data_dir)?;
    let Some(mut identity) = Identity::read(&*files, data_dir)? else {
        let (path, key) = (data_dir.to_path_buf(), "gantry/store.json is missing");
        return Err(StoreError::Foreign { path, key, what: "a store that Gantry never opened" });
    };
    let mut log = UncheckedLog::open(files.clone(), data_dir, identity.segment_bytes)?;
    if at < log.min() || at > log.max() || !is_boundary(&log, at) {
        return Err(StoreError::NoRecord { at });
    }
    let given_up_bytes = log.max().0 - at.0;
    let mut aside = Aside { files: &*files, data_dir, to: None, moved: Vec::new() };
    // From what believes most to what believes least: after each step a start finds less, and nothing wrong.
    let gantry = data_dir.join("gantry");
    for listed in aside.io(&gantry, files.list(&gantry))? {
        if snapshots::replay_from_of(&listed.name).is_some()
            && !reflects_at_most(&*files, &gantry.join(&listed.name), at)
        {
            aside.move_away(&gantry.join(&listed.name))?;
        }
    }
    for derived in ["gantry/queue-ends", "consumequeue", "index"] {
        aside.move_away(&data_dir.join(derived))?;
    }
    let abort = AbortFile::new(data_dir);
    abort.write(&*files)?;
    // What is cut off here was not cut off by somebody else.
    identity.stopped = None;
    identity.foreign_end = identity.foreign_end.min(at);
    if let Some(importing) = &mut identity.importing {
        importing.end = importing.end.min(at);
    }
    identity.write(&*files, data_dir)?;
    let path = data_dir.join("checkpoint");
    let (checkpoint, last) = aside.io(&path, CheckpointFile::open(&*files, &path))?;
    let last = last.unwrap_or_default();
    let kept = last.synced_offset.min(at);
    aside.io(&path, checkpoint.write(&Checkpoint { synced_offset: kept, confirm_offset: kept, ..last }))?;
    log.cut(at, CommitLogOffset(0))?;
    let quarantine = aside.to.unwrap_or_else(|| data_dir.join(QUARANTINE_DIR));
    Ok(Cut { end: at, given_up_bytes, quarantine, moved: aside.moved })
}

/// Does a record begin or end here? Every record from the beginning of its segment on must be whole.
fn is_boundary(log: &UncheckedLog, at: CommitLogOffset) -> bool {
    let mut bases = log.segments().iter().map(|segment| segment.base());
    let mut place = bases.rfind(|base| *base <= at).unwrap_or(at);
    while place < at {
        match log.inspect(place, PropertyCrc::Optional) {
            Inspected::Record(message) => place.0 += u64::from(message.record_len),
            Inspected::Blank { next } => place = next,
            Inspected::Invalid(_) | Inspected::Outside => return false,
        }
    }
    place == at
}

fn reflects_at_most(files: &dyn Files, path: &Path, at: CommitLogOffset) -> bool {
    files
        .read(path)
        .ok()
        .and_then(|bytes| snapshots::reflects_below(&bytes))
        .is_some_and(|reflects_below| reflects_below <= at)
}

/// Where things go, made when the first one does.
struct Aside<'a> {
    files: &'a dyn Files,
    data_dir: &'a Path,
    to: Option<PathBuf>,
    moved: Vec<PathBuf>,
}

impl Aside<'_> {
    fn move_away(&mut self, path: &Path) -> Result<(), StoreError> {
        let parent = path.parent().expect("a path inside of the store");
        let name = path.file_name().expect("a path inside of the store");
        if !self.io(parent, self.files.list(parent))?.iter().any(|listed| listed.name == name) {
            return Ok(());
        }
        let to = match &self.to {
            Some(to) => to.clone(),
            None => {
                let place = quarantine::free_place(self.files, self.data_dir, |number| format!("cut.{}", number + 1));
                let to = self.io(self.data_dir, place)?;
                self.io(&to, self.files.create_dir(&to))?;
                self.to.insert(to).clone()
            }
        };
        self.io(path, quarantine::move_away(self.files, path, &to.join(name)))?;
        self.moved.push(path.to_path_buf());
        Ok(())
    }

    fn io<T>(&self, path: &Path, result: io::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| StoreError::io(path.display().to_string(), &error))
    }
}
