//! The program itself: its one line, its exit codes, its configuration, its stop.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gantry_proto::grpc::v2;
use harness::{Home, Server, ask, command};

/// A stop takes milliseconds; cut off by force it would take 10 s.
const STOP_MAX: Duration = Duration::from_secs(9);

fn code_of(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().expect("the program runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).to_string())
}

#[test]
fn both_signals_stop_it_well() {
    for signal in ["-TERM", "-INT"] {
        let home = Home::new();
        let server = Server::start(&home.data(), &[]);
        assert_eq!(server.stop(signal).code(), Some(0), "{signal}");
        assert!(!home.data().join("abort").exists(), "a clean stop leaves no abort marker");
    }
}

#[tokio::test]
async fn an_open_stream_and_a_parked_receive_never_delay_the_stop() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    let http = reqwest::Client::new();
    ask(http.put(server.url("/v1/topics/t"))).await.unwrap().expect(201);

    let mut client = v2::messaging_service_client::MessagingServiceClient::connect(format!("http://{}", server.grpc))
        .await
        .expect("a connection");
    let settings = v2::Settings {
        client_type: Some(v2::ClientType::Producer as i32),
        pub_sub: Some(v2::settings::PubSub::Publishing(v2::Publishing::default())),
        ..v2::Settings::default()
    };
    let command = v2::telemetry_command::Command::Settings(settings);
    let first = v2::TelemetryCommand { command: Some(command), ..v2::TelemetryCommand::default() };
    let (keep_open, commands) = tokio::sync::mpsc::channel(1);
    keep_open.send(first).await.expect("room for one");
    let outgoing = tonic::codegen::tokio_stream::wrappers::ReceiverStream::new(commands);
    let mut request = tonic::Request::new(outgoing);
    request.metadata_mut().insert("x-mq-client-id", "test@1@0@x".parse().expect("ascii"));
    let mut telemetry = client.telemetry(request).await.expect("a stream").into_inner();
    let settled = telemetry.message().await.expect("no error").expect("the settings come back");
    assert_eq!(settled.status.expect("a status").code, v2::Code::Ok as i32);

    let body = serde_json::json!({"topic": "t"});
    let parked = ask(http.post(server.url("/v1/groups/g/receive")).header("Prefer", "wait=30").json(&body));
    let stopped = async {
        // Parked once the group it makes exists.
        for _ in 0..10_000 {
            if ask(http.get(server.url("/v1/groups/g"))).await.is_some_and(|answer| answer.status == 200) {
                break;
            }
        }
        let started = Instant::now();
        let status = tokio::task::spawn_blocking(move || server.stop("-TERM")).await.expect("no panic");
        (status, started.elapsed())
    };
    let (parked, (status, took)) = tokio::join!(parked, stopped);
    assert_eq!(status.code(), Some(0));
    assert!(took < STOP_MAX, "the stop took {took:?}");
    let parked = parked.expect("the parked receive is answered").expect(200);
    assert_eq!(parked.json()["messages"].as_array().map(Vec::len), Some(0));
    drop(keep_open);
}

#[test]
fn a_data_directory_has_one_user() {
    let home = Home::new();
    let _server = Server::start(&home.data(), &[]);
    let Err((status, log)) = Server::try_start(&home.data(), &[]) else { panic!("two users of one directory") };
    assert_eq!(status.code(), Some(3));
    assert!(log.contains("in use") && log.contains("data"), "{log}");
}

#[test]
fn what_cannot_be_served_is_refused_with_a_reason() {
    let home = Home::new();
    let run = |args: &[&str]| code_of(command(&home.data()).args(args));
    assert_eq!(run(&["--no-such-flag"]).0, Some(2));
    let (code, text) = run(&["--http-listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("--allow-anonymous"), "{text}");
    let (code, text) = run(&["--durability", "ram"]);
    assert!(code == Some(2) && text.contains("durability"), "{text}");
    std::fs::write(home.path().join("gantry.toml"), "http_port = 1\n").unwrap();
    let (code, text) = run(&[]);
    assert!(code == Some(2) && text.contains("http_port"), "{text}");
    assert!(!home.data().exists(), "a refused start leaves nothing behind");
}

#[test]
fn a_taken_port_is_an_error() {
    let home = Home::new();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let (code, text) = code_of(command(&home.data()).args(["--http-listen", &address]));
    assert!(code == Some(1) && text.contains(&address), "{text}");
}

#[test]
fn a_store_of_a_newer_gantry_is_refused() {
    let home = Home::new();
    Server::start(&home.data(), &[]).stop("-TERM");
    let path = home.data().join("gantry/store.json");
    let mut store: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let version = store.as_object().unwrap().keys().find(|key| *key == "minReaderVersion").cloned();
    let version = version.expect("store.json names the oldest reader");
    store[&version] = serde_json::json!(999);
    std::fs::write(&path, serde_json::to_vec(&store).unwrap()).unwrap();
    let Err((status, log)) = Server::try_start(&home.data(), &[]) else { panic!("it was read") };
    assert!(status.code() == Some(5) && log.contains("newer Gantry"), "{status}: {log}");
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let home = Home::new();
    std::fs::write(home.path().join("gantry.toml"), "broker_name = \"file\"\ncluster_name = \"file\"\n").unwrap();
    let print = |name: &str, set: &dyn Fn(&mut Command)| {
        let mut config = Command::new(harness::gantry());
        config.arg("config").current_dir(home.path()).env_clear();
        set(&mut config);
        let output = config.output().expect("the program runs");
        let text = String::from_utf8_lossy(&output.stdout).to_string();
        assert!(output.status.success() && text.contains(name), "{name}: {text}");
    };
    print("broker_name = \"file\"", &|_| {});
    print("broker_name = \"variable\"", &|config| {
        config.env("GANTRY_BROKER_NAME", "variable");
    });
    print("broker_name = \"flag\"", &|config| {
        config.env("GANTRY_BROKER_NAME", "variable").args(["--broker-name", "flag"]);
    });
    print("durability = \"disk\"", &|_| {});
}
