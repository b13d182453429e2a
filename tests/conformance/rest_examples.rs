//! The worked examples of the REST API, run by a shell as they are printed.

use std::process::Command;

use harness::{Home, Server};

/// Examples 1, 2, 4, 6, 7 and 10 but for its live tail, and the filter of the README; `B` and `TOKEN` come from the environment, all else is as printed.
const SCRIPT: &str = r#"
set -e
A='Authorization: Bearer '$TOKEN
step() { echo; echo "== $1"; }
step 1
curl -sS -X PUT $B/v1/topics/orders -H "$A" -H 'If-None-Match: *' --json '{"messageType":"normal","writeQueues":8,"readQueues":8}'
step 2
curl -sS $B/v1/topics/orders/messages -H "$A" -H 'Content-Type: application/json' -H 'Idempotency-Key: order-991' \
  -H 'Gantry-Tag: paid' -H 'Gantry-Keys: 991' -H 'Gantry-Property: Region=eu' --data-binary '{"id":991,"total":42}'
step 4
curl -sS $B/v1/topics/orders/messages/batch -H "$A" --json '{"messages":[{"id":"a","body":"hi","tag":"t1"},{"id":"b","bodyBase64":"%%"}]}'
step 6
curl -sS $B/v1/groups/billing/receive -H "$A" -H 'Prefer: wait=20' \
  --json '{"topic":"orders","maxMessages":10,"invisibleDuration":"45s","filter":{"type":"tag","expression":"paid || refunded"}}'
for n in 1 2 3 4; do curl -sS -o /dev/null $B/v1/topics/orders/messages -d "m$n"; done
step sql92
curl -sS $B/v1/topics/orders/messages -o /dev/null -H 'Gantry-Property: region=us,amount=120' -d no
curl -sS $B/v1/topics/orders/messages -o /dev/null -H 'Gantry-Property: region=eu,amount=120' -d yes
curl -sS $B/v1/groups/europe/receive -H "$A" \
  --json '{"topic":"orders","filter":{"type":"sql92","expression":"region = '"'eu'"' AND amount > 100"}}'
step 7
R=$(curl -sS $B/v1/groups/billing/receive -H "$A" -H 'Prefer: wait=20' --json '{"topic":"orders","maxMessages":4}')
h() { jq -r ".messages[$1].receiptHandle" <<<"$R"; }
curl -sS $B/v1/receipts/settle -H "$A" --json "{\"entries\":[{\"receiptHandle\":\"$(h 0)\",\"action\":\"ack\"},{\"receiptHandle\":\"$(h 1)\",\"action\":\"nack\",\"retryAfter\":\"30s\"}]}"
step 7b
curl -sS -w '%{http_code}' -X DELETE $B/v1/receipts/$(h 2) -H "$A"
step 7c
curl -sS -X PATCH $B/v1/receipts/$(h 3) -H "$A" --json '{"invisibleDuration":"2m"}'
step 10
curl -sS "$B/v1/groups/billing/lag?perQueue=true" -H "$A"
step 10b
curl -sS "$B/v1/groups/billing/offsets/reset?dryRun=true" -H "$A" --json '{"topic":"orders","to":{"timestamp":"2026-01-02T00:00:00Z"}}'
step 10c
curl -sS "$B/v1/groups/billing/dlq/resend?dryRun=true" -H "$A" --json '{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","target":"originalTopic","ratePerSecond":50}'
step 10d
E=$(curl -sSI $B/v1/topics/orders -H "$A" | tr -d '\r' | sed -n 's/^etag: //Ip')
curl -sS -X PATCH $B/v1/topics/orders -H "$A" -H "If-Match: $E" -H 'Content-Type: application/merge-patch+json' -d '{"writeQueues":16}'
"#;

#[test]
fn the_printed_examples_work() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    let output =
        Command::new("bash").args(["-c", SCRIPT]).env("B", &server.http).env("TOKEN", "none").output().expect("bash");
    let text = String::from_utf8_lossy(&output.stdout).to_string();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let step = |name: &str| {
        let from = text.split(&format!("== {name}\n")).nth(1).unwrap_or_else(|| panic!("no step {name}: {text}"));
        from.split("\n==").next().expect("the step's output").trim().to_string()
    };
    let json = |name: &str| -> serde_json::Value { serde_json::from_str(&step(name)).expect("an answer in JSON") };
    assert_eq!(json("1")["name"], "orders");
    let published = json("2");
    assert_eq!((published["mode"].as_str(), published["bodySize"].as_u64()), (Some("raw"), Some(21)));
    assert_eq!(published["sendStatus"], "ok");
    let batch = json("4");
    assert_eq!((batch["summary"]["ok"].as_u64(), batch["summary"]["failed"].as_u64()), (Some(1), Some(1)));
    assert_eq!(batch["results"][0]["id"], "a");
    assert_eq!(batch["results"][1]["problem"]["code"], "invalid_parameter");
    let received = json("6");
    assert_eq!(received["messages"][0]["body"], "{\"id\":991,\"total\":42}");
    assert_eq!(received["messages"][0]["messageId"], published["messageId"]);
    assert_eq!(received["messages"][0]["properties"]["Region"], "eu");
    assert_eq!(received["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(json("sql92")["messages"][0]["body"], "yes");
    assert_eq!(json("7")["summary"]["ok"], 2);
    assert_eq!(step("7b"), "204");
    assert!(json("7c")["receiptHandle"].as_str().is_some_and(|handle| handle.starts_with("r1.")));
    let lag = json("10");
    assert_eq!((lag["inflight"].as_u64(), lag["deadLetters"].as_u64()), (Some(3), Some(0)));
    assert_eq!(lag["topics"][0]["queues"].as_array().map(Vec::len), Some(8));
    assert_eq!(json("10b")["queues"].as_array().map(Vec::len), Some(8));
    assert_eq!(json("10c")["summary"]["ok"], 0);
    assert_eq!((json("10d")["writeQueues"].as_u64(), json("10d")["readQueues"].as_u64()), (Some(16), Some(16)));
}
