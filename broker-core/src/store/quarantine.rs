//! `gantry/quarantine`: where things go that no start may see and nobody shall lose.

use std::io;
use std::path::{Path, PathBuf};

use crate::store::files::Files;

/// Under the data directory.
pub const QUARANTINE_DIR: &str = "gantry/quarantine";

/// Moves a file or a directory for good: when this returns, a power cut cannot bring it back. What takes its name would
/// otherwise be mixed with it.
pub(super) fn move_away(files: &dyn Files, from: &Path, to: &Path) -> io::Result<()> {
    files.rename(from, to)?;
    // In this order, so that it is never in neither place.
    for path in [to, from] {
        files.sync_dir(path.parent().expect("a path inside of the store"))?;
    }
    Ok(())
}

/// What `move_away` has still to do, where it was killed in between. Comes before anything takes a name that was moved.
pub(super) fn settle(files: &dyn Files, data_dir: &Path) -> io::Result<()> {
    let dir = data_dir.join(QUARANTINE_DIR);
    let moved = files.list(&dir)?;
    if moved.is_empty() {
        return Ok(());
    }
    for listed in moved.iter().filter(|listed| listed.is_dir) {
        files.sync_dir(&dir.join(&listed.name))?;
    }
    files.sync_dir(&dir)?;
    for parent in files.list(data_dir)?.iter().filter(|listed| listed.is_dir) {
        files.sync_dir(&data_dir.join(&parent.name))?;
    }
    files.sync_dir(data_dir)
}

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::simulated_files::SimulatedFiles;

    /// What may lie in a directory after a power cut, when another one of its name had been moved away before.
    fn after_power_cuts(move_away: impl Fn(&SimulatedFiles, &Path, &Path)) -> BTreeSet<Vec<String>> {
        let files = SimulatedFiles::new();
        let dir = Path::new("/data/index");
        let put = |name: &str| {
            files.create_dir(dir).unwrap();
            files.data_file(&dir.join(name), 8).unwrap().sync().unwrap();
            files.sync_dir(dir).unwrap();
        };
        put("old");
        files.create_dir(Path::new("/data/gantry/quarantine/index.1")).unwrap();
        move_away(&files, dir, Path::new("/data/gantry/quarantine/index.1/index"));
        put("new");
        let names = |files: SimulatedFiles| {
            files.list(dir).unwrap().into_iter().map(|listed| listed.name.into_string().unwrap()).collect()
        };
        (0..100).map(|seed| names(files.power_cut(seed))).collect()
    }

    #[test]
    fn d6_what_went_away_does_not_come_back() {
        let only_the_new = BTreeSet::from([vec!["new".to_string()]]);
        assert_eq!(after_power_cuts(|files, from, to| super::move_away(files, from, to).unwrap()), only_the_new);
        let killed_and_settled = |files: &SimulatedFiles, from: &Path, to: &Path| {
            files.rename(from, to).unwrap();
            settle(files, Path::new("/data")).unwrap();
        };
        assert_eq!(after_power_cuts(killed_and_settled), only_the_new);
        // The control: a rename alone.
        assert_ne!(after_power_cuts(|files, from, to| files.rename(from, to).unwrap()), only_the_new);
    }
}
