//! House rules as code. Few, each failing with its reason, each shown to be able to fail.

use std::path::{Path, PathBuf};

/// A source file: its path from the repository's root, and its text.
struct Source {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_path_buf()
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut dirs: Vec<PathBuf> =
        ["gateway", "broker-core", "proto", "tests"].iter().map(|name| root().join(name)).collect();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("UTF-8");
                let path = path.strip_prefix(root()).expect("inside").to_string_lossy().replace('\\', "/");
                found.push(Source { path, text });
            }
        }
    }
    assert!(found.len() > 50, "the sources were found");
    found
}

/// Code without comments: a rule about words in code must not read prose.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    lines.map(|(at, line)| (at, line.split("//").next().unwrap_or_default()))
}

fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part))
}

/// Lines of code with one of these words, in files that `covers` picks.
fn find(sources: &[Source], covers: impl Fn(&str) -> bool, words: &[&str]) -> Vec<String> {
    let covered = sources.iter().filter(|source| covers(&source.path));
    covered
        .flat_map(|source| {
            let hits = code(&source.text).filter(|(_, line)| words.iter().any(|word| has_word(line, word)));
            hits.map(|(at, line)| format!("{}:{at}: {}", source.path, line.trim())).collect::<Vec<_>>()
        })
        .collect()
}

#[track_caller]
fn none(found: Vec<String>, reason: &str) {
    assert!(found.is_empty(), "{reason}:\n{}", found.join("\n"));
}

#[test]
fn the_rules_can_fail() {
    let planted = |path: &str, text: &str| vec![Source { path: path.into(), text: text.into() }];
    assert_eq!(find(&planted("a.rs", "use tokio::fs;\n// tokio\n"), |_| true, &["tokio"]), ["a.rs:1: use tokio::fs;"]);
    assert!(find(&planted("a.rs", "let httpd = 1; // http"), |_| true, &["http"]).is_empty());
    assert!(find(&planted("b.rs", "tokio"), |path| path == "a.rs", &["tokio"]).is_empty());
    assert_eq!(headless(&planted("a.rs", "use x;")), ["a.rs"]);
    let tests = "[[test]]\nname = \"a\"\n[[test]]\nname = \"b\"\n";
    assert_eq!(unnamed_tests(tests, "COMPUTING := --lib --test a\nWAITING := --test ab\n"), ["b"]);
    assert_eq!(unnamed_tests(tests, "COMPUTING := --test a\nWAITING := --test a --test b\n"), ["a"]);
    let shown = "//! ```text\n//! a\n//! ```\n/// ```\n/// b\n/// ```\n";
    assert_eq!(examples(&planted("a.rs", shown)), ["a.rs:4"]);
    assert_eq!(second_tls_providers("name = \"ring\"\nname = \"aws-lc-rs\"\n"), ["aws-lc-rs"]);
}

#[test]
fn the_broker_knows_no_protocol() {
    let words = [
        "http",
        "grpc",
        "remoting",
        "axum",
        "hyper",
        "tonic",
        "prost",
        "tower",
        "reqwest",
        "gantry_proto",
        "gantry_gateway",
    ];
    let covers = |path: &str| path.starts_with("broker-core/");
    none(find(&sources(), covers, &words), "broker-core translates nothing: wire words stop in the gateway");
    let manifest = std::fs::read_to_string(root().join("broker-core/Cargo.toml")).expect("a manifest");
    let named = words.iter().filter(|word| has_word(&manifest, word)).map(|word| word.to_string());
    none(named.collect(), "broker-core depends on no protocol");
}

#[test]
fn the_store_is_blocking_code() {
    let covers = |path: &str| path.starts_with("broker-core/src/store");
    none(find(&sources(), covers, &["tokio", "async_trait", "await"]), "store/ is plain blocking Rust");
}

#[test]
fn unsafe_lives_in_one_file() {
    let covers = |path: &str| path != "broker-core/src/store/mapped_file.rs" && path != "tests/tidy/main.rs";
    none(find(&sources(), covers, &["unsafe"]), "unsafe is for store/mapped_file.rs alone");
}

#[test]
fn time_comes_from_the_clock() {
    let covers = |path: &str| path.starts_with("broker-core/src/") && path != "broker-core/src/clock.rs";
    none(find(&sources(), covers, &["SystemTime", "Instant"]), "broker-core reads time through clock.rs alone");
    let covers = |path: &str| path.starts_with("gateway/src/");
    none(find(&sources(), covers, &["SystemTime"]), "the gateway takes the wall from the broker's clock");
}

#[test]
fn front_ends_do_not_reach_into_the_store() {
    // Their tests open a broker of their own, which needs its files.
    let covers = |path: &str| {
        (path.starts_with("gateway/src/front") || path.starts_with("gateway/src/messaging"))
            && !path.ends_with("/tests.rs")
    };
    let found = sources().into_iter().filter(|source| covers(&source.path));
    let reaching = found.filter(|source| source.text.contains("broker_core::store")).map(|source| source.path);
    none(reaching.collect(), "front ends and messaging enter the broker by its trait");
}

#[test]
fn every_file_says_its_job_and_folders_have_title_pages() {
    let sources = sources();
    none(headless(&sources), "a file opens with //! and its one job");
    let mods = sources.iter().filter(|source| source.path.ends_with("/mod.rs")).map(|source| source.path.clone());
    none(mods.collect(), "foo.rs beside foo/, not foo/mod.rs");
}

fn headless(sources: &[Source]) -> Vec<String> {
    sources.iter().filter(|source| !source.text.starts_with("//!")).map(|source| source.path.clone()).collect()
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["unimple", "mented"].concat()];
    let marked = |source: &Source| words.iter().any(|word| has_word(&source.text, word));
    let found = sources().into_iter().filter(marked).map(|source| source.path);
    none(found.collect(), "no lists of things to do in the tree");
    let ignored = ["#[ig", "nore"].concat();
    let found = sources().into_iter().filter(|source| source.text.contains(&ignored)).map(|source| source.path);
    none(found.collect(), "no ignored tests");
}

/// `make test` runs its tests in two halves, each named there.
#[test]
fn every_test_is_run() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    none(
        unnamed_tests(&read("tests/Cargo.toml"), &read("Makefile")),
        "`make test` names each test binary, in one half",
    );
    none(examples(&sources()), "examples in comments are not run: say ```text");
}

fn unnamed_tests(manifest: &str, makefile: &str) -> Vec<String> {
    let names = manifest.split("[[test]]").skip(1).filter_map(|test| test.split('"').nth(1));
    let halves: Vec<&str> =
        makefile.lines().filter(|line| line.starts_with("COMPUTING") || line.starts_with("WAITING")).collect();
    let count =
        |name: &str| halves.iter().flat_map(|half| half.split("--test ")).filter(|part| part.trim() == name).count();
    names.filter(|name| count(name) != 1).map(str::to_string).collect()
}

/// Lines that begin an example which the compiler would be given.
fn examples(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let mut is_inside = false;
        for (at, line) in source.text.lines().enumerate() {
            let comment = line.trim_start().strip_prefix("//!").or_else(|| line.trim_start().strip_prefix("///"));
            let Some(kind) = comment.and_then(|comment| comment.trim().strip_prefix("```")) else { continue };
            if !is_inside && kind != "text" {
                found.push(format!("{}:{}", source.path, at + 1));
            }
            is_inside = !is_inside;
        }
    }
    found
}

#[test]
fn there_is_one_tls_provider() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is checked in");
    none(second_tls_providers(&lock), "TLS is ring everywhere: some default feature brought another provider");
}

fn second_tls_providers(lock: &str) -> Vec<String> {
    let others = ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls", "boring"];
    let is_there = |name: &&str| lock.contains(&format!("name = \"{name}\"\n"));
    others.iter().filter(|name| is_there(name)).map(|name| name.to_string()).collect()
}
