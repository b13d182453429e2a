//! The load generator against a real server: it counts what the server holds, and says what is wrong when it cannot.

use std::process::{Command, Stdio};

use harness::{Home, Server, ask, gantry};
use serde_json::Value;

/// Time is no matter here: the number of messages ends each run.
const COUNTED: [&str; 4] = ["--warm-up", "0s", "--duration", "120s"];

/// Exit code, stdout, stderr.
fn bench(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(gantry()).arg("bench").args(args).stdin(Stdio::null()).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A clean run's object.
#[track_caller]
fn clean(shape: &str, server: &[&str], args: &[&str]) -> Value {
    let (code, stdout, stderr) = bench(&[&[shape, "--json"], server, &COUNTED, args].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let report: Value = serde_json::from_str(&stdout).expect("one JSON object");
    assert_eq!((&report["command"], &report["errors"]), (&shape.into(), &serde_json::json!({})));
    report
}

/// How many messages a topic holds.
async fn held(server: &Server, topic: &str) -> u64 {
    let http = reqwest::Client::new();
    let queues = ask(http.get(server.url(&format!("/v1/topics/{topic}/queues")))).await.unwrap().expect(200).json();
    let queues = queues["items"].as_array().expect("queues").clone();
    queues.iter().map(|queue| queue["maxOffset"].as_u64().expect("an offset")).sum()
}

async fn lag(server: &Server, group: &str) -> u64 {
    let http = reqwest::Client::new();
    let lag = ask(http.get(server.url(&format!("/v1/groups/{group}/lag")))).await.unwrap().expect(200).json();
    lag["totalLag"].as_u64().unwrap_or_else(|| panic!("no lag in {lag}"))
}

async fn each_shape_counts_what_the_server_holds(protocol: &str) {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--durability", "memory"]);
    let http = server.http.strip_prefix("http://").expect("an address").to_string();
    let address = if protocol == "grpc" { server.grpc.clone() } else { http.clone() };
    let at = |topic: &'static str| {
        ["--protocol", protocol, "--address", &address, "--http-address", &http, "--topic", topic].map(String::from)
    };
    let run = |shape: &str, topic: &'static str, args: &[&str]| {
        let server = at(topic);
        let server: Vec<&str> = server.iter().map(String::as_str).collect();
        clean(shape, &server, args)
    };

    let report = run("send", "single", &["--messages", "300", "--size", "100", "--connections", "2"]);
    assert_eq!((&report["sent"], &report["messages"], &report["calls"]), (&300.into(), &300.into(), &300.into()));
    assert_eq!((report["latencyUs"]["count"].as_u64(), held(&server, "single").await), (Some(300), 300));
    assert!(report["missing"].is_null() && report["endToEndUs"].is_null() && report["targetRate"].is_null());

    // The last batch is smaller.
    let report = run("send", "batch", &["--messages", "330", "--batch", "32", "--rate", "20000", "--threads", "2"]);
    assert_eq!((&report["sent"], &report["calls"], held(&server, "batch").await), (&330.into(), &11.into(), 330));
    assert_eq!((&report["targetRate"], &report["messageBytes"]), (&20_000.0.into(), &1_024.into()));

    let report = run("receive", "filled", &["--prefill", "500", "--group", "g", "--connections", "2"]);
    assert_eq!((&report["messages"], &report["received"]), (&500.into(), &500.into()));
    assert_eq!((&report["missing"], &report["duplicates"]), (&0.into(), &0.into()));
    assert_eq!((held(&server, "filled").await, lag(&server, "g").await), (500, 0));

    let report = run("mixed", "mixed", &["--messages", "200", "--rate", "2000", "--group", "m", "--size", "64"]);
    assert_eq!((&report["sent"], &report["received"]), (&200.into(), &200.into()));
    assert_eq!((&report["missing"], &report["duplicates"]), (&0.into(), &0.into()));
    assert_eq!((report["endToEndUs"]["count"].as_u64(), lag(&server, "m").await), (Some(200), 0));

    let report = run("fanout", "fanout", &["--messages", "50", "--groups", "3", "--group", "f"]);
    assert_eq!((&report["sent"], &report["messages"], &report["received"]), (&50.into(), &150.into(), &150.into()));
    assert_eq!((report["endToEndUs"]["count"].as_u64(), &report["missing"]), (Some(150), &0.into()));

    let report =
        run("fanout", "parked", &["--parked", "40", "--consumers", if protocol == "grpc" { "2" } else { "40" }]);
    assert_eq!((&report["sent"], &report["received"]), (&40.into(), &40.into()));
    assert_eq!(
        (report["wakeUs"]["count"].as_u64(), &report["missing"], held(&server, "parked").await),
        (Some(40), &0.into(), 40)
    );
}

#[tokio::test]
async fn each_shape_counts_what_the_server_holds_over_grpc() {
    each_shape_counts_what_the_server_holds("grpc").await;
}

#[tokio::test]
async fn each_shape_counts_what_the_server_holds_over_http() {
    each_shape_counts_what_the_server_holds("http").await;
}

#[tokio::test]
async fn what_fails_is_counted_and_never_a_success() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--durability", "memory"]);
    let http = server.http.strip_prefix("http://").expect("an address");
    // More than a body may have: refused one by one.
    let http_args = ["--protocol", "http", "--address", http, "--size", "4194304", "--batch", "1"];
    let (code, stdout, stderr) = bench(&[&["send", "--json", "--messages", "3"], &COUNTED[..], &http_args].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "the largest body is taken: {stdout}");
    let made = ["send", "--json", "--messages", "1", "--topic", "read-only", "--http-address", http];
    let grpc = ["--address", server.grpc.as_str()];
    assert_eq!(bench(&[&made[..], &COUNTED, &grpc].concat()).0, Some(0));
    let client = reqwest::Client::new();
    let put = client.put(server.url("/v1/topics/read-only")).header("If-Match", "*");
    ask(put.json(&serde_json::json!({"perm": "read"}))).await.unwrap().expect(200);
    let over_http =
        ["send", "--json", "--messages", "5", "--topic", "read-only", "--protocol", "http", "--address", http];
    let (code, stdout, stderr) = bench(&[&over_http[..], &COUNTED].concat());
    let report: Value = serde_json::from_str(&stdout).expect("one JSON object");
    assert_eq!((code, &report["sent"], &report["messages"]), (Some(1), &0.into(), &0.into()));
    assert_eq!(report["errors"], serde_json::json!({"topic_not_writable": 5}));
    assert!(report["latencyUs"].is_null() && stderr.contains("topic_not_writable"), "{stderr}");
    assert_eq!(held(&server, "read-only").await, 1);
}

#[tokio::test]
async fn a_missing_topic_and_a_missing_server_say_what_to_do() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    let (code, stdout, stderr) = bench(&["send", "--address", &server.grpc, "--topic", "nowhere"]);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("there is no topic 'nowhere'") && stderr.contains("--http-address"), "{stderr}");
    let address = server.grpc.clone();
    assert_eq!(server.stop("-TERM").code(), Some(0));
    for protocol in ["grpc", "http"] {
        let (code, stdout, stderr) = bench(&["mixed", "--protocol", protocol, "--address", &address]);
        assert_eq!((code, stdout.as_str()), (Some(1), ""));
        assert!(stderr.contains(&format!("nothing listens at {address}")) && stderr.contains("--address"), "{stderr}");
    }
    let (code, _, stderr) = bench(&["send", "--rate", "0"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("--rate"), "{stderr}");
}
