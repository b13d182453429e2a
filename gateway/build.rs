//! Lists the built console for `front/console.rs`. Compiles nothing: a tree without the console builds as well.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let crate_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let console = crate_dir.parent().expect("the crate lies in the workspace").join("web-console");
    let dist = console.join("dist");
    // A path that is missing counts as changed, so naming `dist` before it exists would build this crate again every
    // time. Its parent tells as well when it appears; but with packages installed that is a folder too large to watch.
    let watched = if dist.exists() || console.join("node_modules").exists() { &dist } else { &console };
    println!("cargo::rerun-if-changed={}", watched.display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut files = Vec::new();
    collect(&dist, &mut files);
    files.sort();
    let mut table = String::from("&[\n");
    for path in &files {
        let name = path.strip_prefix(&dist).expect("found there").to_str().expect("names of a build are UTF-8");
        let of_use = match name.strip_prefix("index.html") {
            // The page is filled in for each answer: only its plain form is of use.
            Some(suffix) => suffix.is_empty(),
            // What was packed is kept packed: a client that wants it plain is rare and gets it unpacked.
            None => !with_suffix(path, ".gz").exists(),
        };
        if !of_use {
            continue;
        }
        writeln!(table, "    ({name:?}, include_bytes!({path:?})),").expect("a string takes everything");
    }
    table.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("console_files.rs"), table).expect("cargo's own folder is writable");
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    // Not there: the console was not built.
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
