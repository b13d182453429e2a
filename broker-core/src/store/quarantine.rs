//! `gantry/quarantine`: where things go that no start may see and nobody shall lose.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::files::Files;

/// Under the data directory.
pub const QUARANTINE_DIR: &str = "gantry/quarantine";

/// A place in there that nothing has, of those that `name` makes of 0, 1, 2, ... The directory is made if need be.
pub(super) fn free_place(
    files: &dyn Files,
    data_dir: &Path,
    mut name: impl FnMut(usize) -> String,
) -> io::Result<PathBuf> {
    let dir = data_dir.join(QUARANTINE_DIR);
    files.create_dir(&dir)?;
    let taken = files.list(&dir)?;
    let is_free = |name: &String| taken.iter().all(|listed| listed.name != std::ffi::OsStr::new(name));
    let name = (0..=taken.len()).map(&mut name).find(is_free).expect("one name more than is taken");
    Ok(dir.join(name))
}
