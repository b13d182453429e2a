//! `gantry store verify` and `gantry store dump` on the directory of a real server: what is well is called well, what is
//! damaged is named, and not one byte changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use harness::{Home, Server, ask, gantry};
use reqwest::Client;
use serde_json::{Value, json};

const MESSAGES: u64 = 300;
const ARGS: [&str; 4] = ["--segment-size", "8MiB", "--durability", "memory"];

/// A server with messages in two topics, some of them taken and acknowledged, and a topic that was deleted.
async fn filled(home: &Home) -> Server {
    let server = Server::start(&home.data(), &ARGS);
    let http = Client::new();
    for topic in ["orders", "gone", "fruit"] {
        ask(http.put(server.url(&format!("/v1/topics/{topic}")))).await.unwrap().expect(201);
        for first in (0..MESSAGES).step_by(50) {
            let message =
                |number: u64| json!({"body": format!("{topic} {number}"), "tag": "t", "keys": [format!("k{number}")]});
            let messages: Vec<Value> = (first..first + 50).map(message).collect();
            let url = server.url(&format!("/v1/topics/{topic}/messages/batch"));
            ask(http.post(url).json(&json!({"messages": messages}))).await.unwrap().expect(201);
        }
    }
    let receive = http.post(server.url("/v1/groups/g/receive")).json(&json!({"topic": "orders", "maxMessages": 10}));
    let received = ask(receive).await.unwrap().expect(200).json();
    let handle = received["messages"][0]["receiptHandle"].as_str().expect("a handle");
    ask(http.delete(server.url(&format!("/v1/receipts/{handle}")))).await.unwrap().expect(204);
    ask(http.delete(server.url("/v1/topics/gone"))).await.unwrap().expect(204);
    server
}

fn store(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(gantry());
    command.arg("store").arg(words[0]).arg(dir).args(&words[1..]).output().expect("the program runs")
}

fn verified(dir: &Path, flags: &[&str]) -> (Option<i32>, Value) {
    let output = store(dir, &[&["verify", "--json"], flags].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {output:?}"));
    (output.status.code(), report)
}

fn lines(dir: &Path, words: &[&str]) -> Vec<Value> {
    let output = store(dir, words);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A copy of a directory. Its files are full of holes.
fn copy(from: &Path, to: &Path) -> PathBuf {
    let copied = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status().expect("cp(1)");
    assert!(copied.success());
    to.to_path_buf()
}

/// Length and time of the last change of every file and directory.
fn times(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            if metadata.is_dir() {
                dirs.push(path.clone());
            }
            found.insert(path, (metadata.len(), metadata.modified().unwrap()));
        }
    }
    found
}

/// Runs something, and sees that it has changed neither a byte nor a time.
#[track_caller]
fn untouched<T>(dir: &Path, home: &Home, what: impl FnOnce() -> T) -> T {
    let as_it_was = copy(dir, &home.path().join("as-it-was"));
    let before = times(dir);
    let result = what();
    assert_eq!(times(dir), before);
    let same = Command::new("diff").arg("-rq").arg(&as_it_was).arg(dir).output().expect("diff(1)");
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
    std::fs::remove_dir_all(as_it_was).unwrap();
    result
}

#[tokio::test]
async fn a_store_that_was_stopped_is_well_and_can_be_read() {
    let home = Home::new();
    let server = filled(&home).await;
    let refused = store(&home.data(), &["verify"]);
    assert_eq!(refused.status.code(), Some(3), "a broker has it: {refused:?}");
    let (code, live) = verified(&home.data(), &["--live"]);
    assert_eq!((code, &live["problems"], &live["stopped"]), (Some(0), &json!([]), &json!("running")));
    assert_eq!(server.stop("-TERM").code(), Some(0));

    let dir = home.data();
    untouched(&dir, &home, || {
        let (code, report) = verified(&dir, &[]);
        assert_eq!((code, &report["problems"], &report["notes"]), (Some(0), &json!([]), &json!([])));
        assert_eq!((&report["writtenBy"], &report["stopped"]), (&json!("gantry"), &json!("cleanly")));
        assert!(report["commitLog"]["records"].as_u64() > Some(3 * MESSAGES));
        assert_eq!(report["index"]["keys"].as_u64(), Some(3 * MESSAGES * 2));
        let text = String::from_utf8(store(&dir, &["verify"]).stdout).unwrap();
        assert!(text.contains("stopped cleanly") && text.contains("nothing wrong"), "{text}");

        let orders = lines(&dir, &["dump", "--json", "--topic", "orders", "--body", "text"]);
        assert_eq!(orders.len() as u64, MESSAGES);
        assert!(orders.iter().all(|record| record["body"].as_str().unwrap().starts_with("orders ")));
        let one = lines(&dir, &["dump", "records", "--json", "--topic", "fruit", "--key", "k7", "--body", "hex"]);
        assert_eq!((one.len(), one[0]["bodyHex"].as_str()), (1, Some("66727569742037")));
        let at = one[0]["commitLogOffset"].as_u64().unwrap();
        let (from, to) = (at.to_string(), (at + 1).to_string());
        let same = lines(&dir, &["dump", "records", "--json", "--from", &from, "--to", &to]);
        assert_eq!(same[0]["properties"]["KEYS"], json!("k7"));
        let stored = one[0]["storeTimestamp"].as_i64().unwrap().to_string();
        let since = lines(&dir, &["dump", "--json", "--topic", "fruit", "--since", &stored, "--limit", "3"]);
        assert_eq!(since.len(), 3);
        let found = lines(&dir, &["dump", "index", "--json", "--topic", "fruit", "--key", "k7"]);
        assert_eq!((found.len(), found[0]["entry"]["commitLogOffset"].as_u64()), (1, Some(at)));
        let queues = lines(&dir, &["dump", "queues", "--json"]);
        let of_orders = queues.iter().filter(|queue| queue["topic"] == "orders");
        assert_eq!(of_orders.map(|queue| queue["maxOffset"].as_u64().unwrap()).sum::<u64>(), MESSAGES);
        let entries = lines(&dir, &["dump", "queues", "--json", "--topic", "orders"]);
        assert_eq!(entries.len() as u64, MESSAGES);
        let state = lines(&dir, &["dump", "state", "--json"]);
        assert!(state[0]["entries"][0].as_str().unwrap().starts_with("Boot"), "{}", state[0]);
        let files = lines(&dir, &["dump", "files", "--json"]);
        assert!(files.iter().any(|file| file["file"] == "gantry/store.json"));
    });
    let nothing = store(home.path(), &["verify"]);
    assert_eq!(nothing.status.code(), Some(2), "no store: {nothing:?}");
    assert_eq!(store(&dir, &["dump", "everything"]).status.code(), Some(2));
}

#[tokio::test]
async fn after_kill_9_nothing_is_wrong_and_a_torn_tail_is_told() {
    let home = Home::new();
    let server = filled(&home).await;
    server.kill_9();
    let dir = home.data();
    let end = untouched(&dir, &home, || {
        let (code, report) = verified(&dir, &[]);
        assert_eq!((code, &report["problems"], &report["stopped"]), (Some(0), &json!([]), &json!("not")));
        report["commitLog"]["endOffset"].as_u64().unwrap()
    });
    let log = dir.join("commitlog/00000000000000000000");
    let mut bytes = std::fs::read(&log).unwrap();
    let first_len = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    // Half of a record.
    bytes.copy_within(..first_len / 2, end as usize);
    std::fs::write(&log, &bytes).unwrap();
    let (code, report) = untouched(&dir, &home, || verified(&dir, &[]));
    let notes = report["notes"].as_array().unwrap();
    assert_eq!((code, report["commitLog"]["endOffset"].as_u64()), (Some(0), Some(end)));
    assert!(notes.iter().any(|note| note.as_str().unwrap().contains("torn tail")), "{notes:?}");
    // And the server starts with it.
    assert_eq!(Server::start(&dir, &ARGS).stop("-TERM").code(), Some(0));
    assert_eq!(verified(&dir, &[]).0, Some(0));
}

#[tokio::test]
async fn a_flipped_byte_is_found_in_every_kind_of_file() {
    let home = Home::new();
    assert_eq!(filled(&home).await.stop("-TERM").code(), Some(0));
    let whole = home.data();
    let only = |dir: &str, prefix: &str| {
        let mut names = std::fs::read_dir(whole.join(dir)).unwrap().map(|entry| entry.unwrap().file_name());
        let name = names.find(|name| name.to_string_lossy().starts_with(prefix)).expect("there is one");
        format!("{dir}/{}", name.to_string_lossy())
    };
    let places = [
        ("commitlog/00000000000000000000".to_string(), 20_000),
        ("consumequeue/orders/0/00000000000000000000".to_string(), 7),
        (only("index", "2"), 39),
        (only("gantry", "snapshot-"), 40),
        ("gantry/queue-ends".to_string(), 20),
        ("gantry/store.json".to_string(), 20),
        ("gantry/handle-keys".to_string(), 0),
        ("checkpoint".to_string(), 27),
    ];
    for (file, at) in places {
        let dir = copy(&whole, &home.path().join("flipped"));
        let path = dir.join(&file);
        flip(&path, at);
        untouched(&dir, &home, || {
            let (code, report) = verified(&dir, &[]);
            let problems = report["problems"].as_array().unwrap();
            let named = |problem: &&Value| Path::new(problem["file"].as_str().unwrap()) == path;
            let named = problems.iter().find(named).unwrap_or_else(|| panic!("{file}: {report}"));
            assert_eq!(code, Some(1), "{file}");
            assert!(named["offset"].as_u64() <= Some(at), "{named}");
            let text = String::from_utf8(store(&dir, &["verify"]).stdout).unwrap();
            assert!(text.contains(&format!("{file}, byte")), "{text}");

            let dumped = store(&dir, &["dump", "--json"]);
            let records = dumped.stdout.iter().filter(|byte| **byte == b'\n').count() as u64;
            assert_eq!(dumped.status.code(), Some(if file.starts_with("commitlog") { 1 } else { 0 }), "{file}");
            assert!(records >= 3 * MESSAGES, "all but one can be read: {records}");
        });
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[tokio::test]
async fn the_end_of_a_damaged_log_is_given_up_on_a_word() {
    let home = Home::new();
    let dir = &home.data();
    assert_eq!(filled(&home).await.stop("-TERM").code(), Some(0));
    // After a clean stop a start does not read the whole log; after this it does.
    Server::start(dir, &ARGS).kill_9();
    flip(&dir.join("commitlog/00000000000000000000"), 20_000);
    let cut =
        |end: u64| Command::new(gantry()).arg("store").arg("cut").arg(dir).args(["--end", &end.to_string()]).output();
    let (status, log) = Server::try_start(dir, &ARGS).err().expect("it does not start");
    assert_eq!(status.code(), Some(5), "{log}");
    let damaged_at = verified(dir, &[]).1["problems"][0]["offset"].as_u64().unwrap();
    assert_eq!(cut(damaged_at - 1).unwrap().status.code(), Some(2), "no record begins there");
    let done = cut(damaged_at).unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let (code, report) = verified(dir, &[]);
    assert_eq!((code, report["commitLog"]["endOffset"].as_u64()), (Some(0), Some(damaged_at)), "{report}");
    assert_eq!(Server::start(dir, &ARGS).stop("-TERM").code(), Some(0));
    assert_eq!(verified(dir, &[]).0, Some(0));
}

fn flip(path: &Path, at: u64) {
    use std::os::unix::fs::FileExt as _;
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x80], at).unwrap();
}
