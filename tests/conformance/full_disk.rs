//! A full disk answers 507 and loses nothing; acks and deletes still pass. On a tmpfs of 64 MiB, which needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Home, Server, ask, bytes_of};
use reqwest::Client;
use serde_json::json;

const BODY_BYTES: usize = 100_000;
/// 64 MiB hold fewer.
const MESSAGES_MAX: u64 = 1_000;

/// A small file system that goes when it is dropped, also in a panic.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<SmallDisk> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "gantry-test"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| SmallDisk(at.into()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn d5_a_full_disk_refuses_cleanly_and_loses_nothing() {
    let home = Home::new();
    let Some(disk) = SmallDisk::mount(&home.path().join("disk")) else {
        println!("not run: needs root");
        return;
    };
    // The log of the server goes onto the full disk too.
    let data = disk.0.join("data");
    let args = ["--segment-size", "8MiB"];
    let server = Server::start(&data, &args);
    let http = Client::new();
    for topic in ["t", "other"] {
        ask(http.put(server.url(&format!("/v1/topics/{topic}")))).await.unwrap().expect(201);
    }
    let publish = |base: &str, number: u64| {
        let url = format!("{base}/v1/topics/t/messages");
        ask(http.post(url).header("Gantry-Message-Id", format!("m{number}")).body(bytes_of(number, BODY_BYTES)))
    };
    let mut stored = 0;
    let refused = loop {
        let answer = publish(&server.http, stored).await.expect("an answer");
        if answer.status != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < MESSAGES_MAX, "64 MiB never get full");
    };
    assert_eq!((refused.status, &*refused.code()), (507, "storage_full"));
    assert!(stored > 300, "only {stored} fitted");

    // What there is can be taken, settled and deleted.
    let taken = ask(http.post(server.url("/v1/groups/g/receive")).json(&json!({"topic": "t", "maxMessages": 2})));
    let taken = taken.await.unwrap().expect(200).json();
    for message in taken["messages"].as_array().unwrap() {
        let path = format!("/v1/receipts/{}", message["receiptHandle"].as_str().unwrap());
        ask(http.delete(server.url(&path))).await.unwrap().expect(204);
    }
    ask(http.delete(server.url("/v1/topics/other"))).await.unwrap().expect(204);
    assert_eq!(ask(http.get(server.url("/healthz"))).await.unwrap().status, 200);

    // Killed on the full disk, started on the full disk.
    server.kill_9();
    let server = Server::start(&data, &args);
    let http = Client::new();
    for number in 0..stored {
        let body = ask(http.get(server.url(&format!("/v1/topics/t/messages/m{number}?bodyAs=none")))).await.unwrap();
        assert!(body.status == 200 || body.status == 404, "{}", body.status);
    }
    let mut seen = std::collections::BTreeSet::new();
    let queues = ask(http.get(server.url("/v1/topics/t/queues"))).await.unwrap().expect(200).json();
    for queue in queues["items"].as_array().unwrap() {
        let mut offset = 0;
        while offset < queue["maxOffset"].as_u64().unwrap() {
            let path =
                format!("/v1/topics/t/queues/broker-a/{}/messages?bodyAs=base64&offset={offset}", queue["queueId"]);
            let page = ask(http.get(server.url(&path))).await.unwrap().expect(200).json();
            for message in page["items"].as_array().unwrap() {
                // The body was checked against the record's checksum on the way here.
                assert_eq!(message["bodySize"], BODY_BYTES);
                seen.insert(message["messageId"].as_str().unwrap().to_string());
            }
            offset = page["nextOffset"].as_u64().unwrap();
        }
    }
    let missing: Vec<_> = (0..stored).map(|number| format!("m{number}")).filter(|id| !seen.contains(id)).collect();
    assert!(missing.is_empty(), "acknowledged and gone: {missing:?}");
    assert_eq!(ask(http.get(server.url("/v1/topics/other"))).await.unwrap().status, 404, "the delete held");
    let left = ask(http.post(server.url("/v1/groups/g/receive")).json(&json!({"topic": "t", "maxMessages": 32})));
    let left = left.await.unwrap().expect(200).json();
    let acked: Vec<_> = taken["messages"].as_array().unwrap().iter().map(|message| &message["messageId"]).collect();
    assert!(left["messages"].as_array().unwrap().iter().all(|message| !acked.contains(&&message["messageId"])));
    assert_eq!(server.stop("-TERM").code(), Some(0));
}
