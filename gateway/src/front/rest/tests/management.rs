//! What operators see and change of deliveries: what is in flight, patches, force, dead letters as a file.

use super::*;

#[tokio::test]
async fn what_is_in_flight_is_listed_in_pages() {
    let face = Face::new().await;
    face.ask("PUT /v1/topics/u", &[], r#"{"readQueues":2}"#).await.expect(201);
    for body in ["a", "b", "c"] {
        face.ask("POST /v1/topics/t/messages", &[("gantry-keys", body)], body).await.expect(201);
    }
    let received = face.receive().await;
    face.ask("POST /v1/topics/u/messages", &[("gantry-tag", "x")], "d").await.expect(201);
    face.ask("POST /v1/groups/g/receive", &[], r#"{"topic":"u"}"#).await.expect(200);
    let nack = format!("POST /v1/receipts/{}/nack", received[1]["receiptHandle"].as_str().unwrap());
    face.ask(&nack, &[], r#"{"retryAfter":"0s"}"#).await.expect(200);
    let again = face.receive().await;
    assert_eq!((&again[0]["body"], &again[0]["deliveryAttempt"]), (&json!("b"), &json!(2)));

    let list = async |query: &str| {
        let line = format!("GET /v1/groups/g/inflight{query}");
        face.ask(&line, &[], "").await.expect(200).json()
    };
    let all = list("").await;
    assert_eq!((all["items"].as_array().unwrap().len(), &all["nextCursor"]), (4, &Value::Null));
    let second = &all["items"][1];
    let expected = json!({
        "topic": "t", "brokerName": "broker-a", "queueId": 0, "queueOffset": 1, "deliveryAttempt": 2,
        "invisibleUntil": again[0]["invisibleUntil"], "cameBack": false, "messageId": again[0]["messageId"],
        "keys": ["b"], "storeTimestamp": again[0]["storeTimestamp"],
    });
    assert_eq!(*second, expected);
    assert_eq!((&all["items"][3]["topic"], &all["items"][3]["tag"]), (&json!("u"), &json!("x")));
    let mut found = Vec::new();
    let mut query = "?limit=1".to_string();
    for _ in 0..4 {
        let page = list(&query).await;
        found.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=1&cursor={cursor}");
    }
    assert_eq!(json!(found), all["items"], "page by page it is the same");
    assert_eq!(list("?topic=u").await["items"], json!([all["items"][3]]));

    // Settled between two pages: the next one goes on where the last ended.
    let page = list("?limit=2").await;
    let ack = format!("DELETE /v1/receipts/{}", again[0]["receiptHandle"].as_str().unwrap());
    face.ask(&ack, &[], "").await.expect(204);
    let rest = list(&format!("?limit=2&cursor={}", page["nextCursor"].as_str().unwrap())).await;
    assert_eq!(rest["items"], json!([all["items"][2], all["items"][3]]));

    let lag = face.ask("GET /v1/groups/g/lag", &[], "").await.expect(200).json();
    assert_eq!([&lag["inflight"], &lag["retry"], &lag["deadLetters"]], [&json!(3), &json!(0), &json!(0)]);
    assert_eq!(lag["topics"][0]["deliveryAttemptMax"], 1);
    assert_eq!(lag["topics"][0]["nextVisibleAt"], all["items"][0]["invisibleUntil"]);
    assert_eq!(lag["topics"][0]["queues"][0]["standsStill"], false);
    let short = face.ask("GET /v1/groups/g/lag?perQueue=false", &[], "").await.expect(200).json();
    assert_eq!((&short["topics"][0]["queues"], &short["inflight"]), (&json!([]), &json!(3)));
    let of_topic = face.ask("GET /v1/topics/t/groups", &[], "").await.expect(200).json();
    assert_eq!(of_topic["items"][0]["nextVisibleAt"], lag["topics"][0]["nextVisibleAt"]);

    let cursor = page["nextCursor"].as_str().unwrap();
    for (path, refused) in [
        ("/v1/groups/nobody/inflight".to_string(), (404, "group_not_found")),
        ("/v1/groups/g/inflight?topic=none".into(), (404, "topic_not_found")),
        ("/v1/groups/g/inflight?limit=0".into(), (400, "invalid_parameter")),
        ("/v1/groups/g/inflight?limit=501".into(), (400, "invalid_parameter")),
        ("/v1/groups/g/inflight?cursor=x".into(), (400, "invalid_cursor")),
        (format!("/v1/groups/g/inflight?topic=t&cursor={cursor}"), (400, "invalid_cursor")),
        ("/v1/groups/g/inflight?queue=1".into(), (400, "unknown_field")),
    ] {
        let answer = face.ask(&format!("GET {path}"), &[], "").await;
        assert_eq!(answer.refused(), (refused.0, refused.1.to_string()), "{path}");
    }
}

#[tokio::test]
async fn a_patch_changes_what_it_names() {
    let face = Face::new().await;
    let made = r#"{"readQueues":4,"perm":"write","attributes":{"reserve.time":"24"}}"#;
    face.ask("PUT /v1/topics/u", &[], made).await.expect(201);
    let patch = "PATCH /v1/topics/u";
    let read = face.ask("GET /v1/topics/u", &[], "").await.expect(200);
    let etag = read.header("etag").to_string();
    assert_eq!(face.ask(patch, &[], "{}").await.refused(), (428, "precondition_required".into()));
    assert_eq!(face.ask(patch, &[("if-none-match", "*")], "{}").await.refused(), (400, "malformed_request".into()));
    let absent = face.ask("PATCH /v1/topics/none", &[("if-match", "*")], "{}").await;
    assert_eq!(absent.refused(), (404, "topic_not_found".into()));
    let more = face.ask(patch, &[("if-match", &etag)], r#"{"writeQueues":6}"#).await.expect(200);
    let expected = json!({
        "name": "u", "messageType": "normal", "readQueues": 6, "writeQueues": 6, "perm": "write",
        "attributes": {"reserve.time": "24"}, "system": false,
    });
    assert_eq!(more.json(), expected, "who writes more has it read as well");
    let stale = face.ask(patch, &[("if-match", &etag)], r#"{"writeQueues":5}"#).await;
    assert_eq!((stale.refused(), stale.header("etag")), ((412, "etag_mismatch".into()), more.header("etag")));
    let merge = [("if-match", "*"), ("content-type", "application/merge-patch+json")];
    let back = face.ask(patch, &merge, r#"{"perm":null,"attributes":{"reserve.time":null}}"#).await.expect(200).json();
    assert_eq!(
        (&back["perm"], &back["attributes"], &back["writeQueues"]),
        (&json!("readWrite"), &json!({}), &json!(6))
    );
    for (body, code) in [
        (r#"{"nope":1}"#, "unknown_field"),
        (r#"{"perm":1}"#, "invalid_parameter"),
        (r#"{"readQueues":2}"#, "invalid_parameter"),
        ("[]", "invalid_parameter"),
        ("{", "malformed_request"),
    ] {
        assert_eq!(face.ask(patch, &merge, body).await.refused(), (400, code.to_string()), "{body}");
    }
    assert_eq!(face.ask("GET /v1/topics/u", &[], "").await.json(), back, "nothing of that changed anything");

    face.ask("PUT /v1/groups/h", &[], r#"{"retryMaxTimes":3,"consumeTimeout":"30s"}"#).await.expect(201);
    let patch = "PATCH /v1/groups/h";
    let grows = r#"{"retryPolicy":{"type":"exponential","initial":"1s","max":"1m","multiplier":2}}"#;
    let grown = face.ask(patch, &merge, grows).await.expect(200).json();
    let policy = json!({"type": "exponential", "initial": "1s", "max": "1m", "multiplier": 2.0});
    assert_eq!((&grown["retryPolicy"], &grown["retryMaxTimes"]), (&policy, &json!(3)));
    let longer = face.ask(patch, &merge, r#"{"retryPolicy":{"max":"1h"}}"#).await.expect(200).json();
    assert_eq!((&longer["retryPolicy"]["max"], &longer["retryPolicy"]["initial"]), (&json!("1h"), &json!("1s")));
    let steps = r#"{"retryPolicy":{"type":"customized","next":["2s","9s"]},"retryMaxTimes":-1}"#;
    let steps = face.ask(patch, &merge, steps).await.expect(200).json();
    assert_eq!(steps["retryPolicy"], json!({"type": "customized", "next": ["2s", "9s"]}));
    assert_eq!((&steps["retryMaxTimes"], &steps["consumeTimeout"]), (&json!(-1), &json!("30s")));
    for (body, code) in [
        (r#"{"retryPolicy":{"initial":"1s"}}"#, "unknown_field"),
        (r#"{"retryPolicy":{"next":[]}}"#, "invalid_parameter"),
        (r#"{"retryPolicy":{"type":"exponential","initial":"0s","max":"1m","multiplier":2}}"#, "invalid_parameter"),
        (r#"{"retryPolicy":{"type":"exponential","initial":"2m","max":"1m","multiplier":2}}"#, "invalid_parameter"),
        (r#"{"retryPolicy":{"type":"exponential","initial":"1s","max":"1m","multiplier":0.5}}"#, "invalid_parameter"),
    ] {
        assert_eq!(face.ask(patch, &merge, body).await.refused(), (400, code.to_string()), "{body}");
    }
    assert_eq!(face.ask(patch, &[], "{}").await.refused(), (428, "precondition_required".into()));
    assert_eq!(face.ask("GET /v1/groups/h", &[], "").await.json(), steps);
}

#[tokio::test]
async fn a_put_says_first_what_it_would_change() {
    let face = Face::new().await;
    let dry = async |line: &str, headers: &[(&str, &str)], body: &str| {
        let (path, query) = line.split_once('?').unwrap_or((line, ""));
        let answer = face.ask(&format!("{path}?dryRun=true{query}"), headers, body.to_string()).await;
        assert!(answer.status != StatusCode::OK || answer.header("gantry-dry-run") == "true");
        answer
    };
    let made = dry("PUT /v1/topics/u", &[], r#"{"messageType":"fifo"}"#).await.expect(200).json();
    assert_eq!((&made["messageType"], &made["plan"]["creates"]), (&json!("fifo"), &json!(true)));
    assert_eq!(made["plan"]["changes"]["writeQueues"], json!({"from": null, "to": 8}));
    assert_eq!(face.ask("GET /v1/topics/u", &[], "").await.refused(), (404, "topic_not_found".into()));

    let before = face.ask("GET /v1/topics/t", &[], "").await.expect(200);
    let merge = [("if-match", before.header("etag"))];
    let patched = dry("PATCH /v1/topics/t", &merge, r#"{"perm":"read","readQueues":1}"#).await.expect(200).json();
    let plan = json!({"creates": false, "changes": {"perm": {"from": "readWrite", "to": "read"}}});
    assert_eq!((&patched["plan"], &patched["perm"]), (&plan, &json!("read")));
    let put = dry("PUT /v1/topics/t", &[("if-match", "*")], r#"{"readQueues":4}"#).await.expect(200).json();
    assert_eq!(put["plan"]["changes"]["readQueues"], json!({"from": 1, "to": 4}));
    for (line, headers, body, refused) in [
        ("PUT /v1/topics/t", &[][..], "{}", (428, "precondition_required")),
        ("PUT /v1/topics/t", &[("if-match", "\"0-0\"")], "{}", (412, "etag_mismatch")),
        ("PUT /v1/topics/t", &[("if-none-match", "*")], "{}", (409, "already_exists")),
        ("PATCH /v1/topics/t", &[("if-match", "*")], r#"{"writeQueues":0}"#, (400, "invalid_parameter")),
        ("PATCH /v1/groups/none", &[("if-match", "*")], "{}", (404, "group_not_found")),
        ("PUT /v1/groups/h", &[], r#"{"retryPolicy":{"type":"customized","next":[]}}"#, (400, "invalid_parameter")),
    ] {
        assert_eq!(dry(line, headers, body).await.refused(), (refused.0, refused.1.to_string()), "{line} {body}");
    }
    let after = face.ask("GET /v1/topics/t", &[], "").await.expect(200);
    assert_eq!((after.json(), after.header("etag")), (before.json(), before.header("etag")));

    let made = dry("PUT /v1/groups/h", &[], r#"{"orderly":true}"#).await.expect(200).json();
    assert_eq!((&made["orderly"], &made["plan"]["creates"]), (&json!(true), &json!(true)));
    face.ask("PUT /v1/groups/h", &[], "{}").await.expect(201);
    let patched = dry("PATCH /v1/groups/h", &[("if-match", "*")], r#"{"orderly":true}"#).await.expect(200).json();
    assert_eq!(patched["plan"]["changes"], json!({"orderly": {"from": false, "to": true}}));
    let would_go = face.ask("DELETE /v1/groups/h?dryRun=true", &[], "").await.expect(200);
    assert_eq!((would_go.header("gantry-dry-run"), &would_go.json()["totalLag"]), ("true", &json!(0)));
    let nobody = face.ask("DELETE /v1/groups/none?dryRun=true", &[], "").await;
    assert_eq!(nobody.refused(), (404, "group_not_found".into()));
    let done = face.ask("GET /v1/groups/h", &[], "").await.expect(200).json();
    assert_eq!((&done["orderly"], done.get("plan")), (&json!(false), None));
}

#[tokio::test]
async fn dead_letters_go_back_to_topics_of_every_type() {
    let face = Face::new().await;
    let send = async |topic: &str, headers: &[(&str, &str)]| {
        face.ask(&format!("POST /v1/topics/{topic}/messages"), headers, topic.to_string()).await.expect(201)
    };
    for message_type in ["fifo", "delay", "transaction"] {
        let config = json!({"messageType": message_type, "readQueues": 1}).to_string();
        face.ask(&format!("PUT /v1/topics/{message_type}"), &[], config).await.expect(201);
    }
    send("t", &[]).await;
    send("fifo", &[("gantry-message-group", "a")]).await;
    let now = SystemClock.wall().0.to_string();
    send("delay", &[("gantry-deliver-at", &now)]).await;
    let half = [("gantry-producer-group", "shop")];
    let half = face.ask("POST /v1/topics/transaction/transactions", &half, "transaction").await.expect(201).json();
    let commit = format!("POST /v1/transactions/{}/commit", half["transactionHandle"].as_str().unwrap());
    face.ask(&commit, &[], "").await.expect(204);
    let mut letters = Vec::new();
    let receive = async |topic: &str| {
        let body = json!({"topic": topic, "maxMessages": 32}).to_string();
        // What is due comes in a moment, by the broker's own hand.
        let wait = [("prefer", if topic == "delay" { "wait=20" } else { "wait=0" })];
        let received = face.ask("POST /v1/groups/g/receive", &wait, body).await.expect(200).json();
        received["messages"].as_array().unwrap().clone()
    };
    for topic in ["t", "fifo", "delay", "transaction"] {
        let received = receive(topic).await;
        let handle = received[0]["receiptHandle"].as_str().unwrap();
        face.ask(&format!("POST /v1/receipts/{handle}/dead-letter"), &[], "").await.expect(200);
        letters.push(received[0]["messageId"].clone());
    }
    let resend = async |query: &str, body: Value| {
        face.ask(&format!("POST /v1/groups/g/dlq/resend{query}"), &[], body.to_string()).await
    };
    // What would be refused is known before.
    let to_delay = json!({"messageIds": [letters[1]], "target": {"topic": "delay"}});
    let refused = resend("?dryRun=true", to_delay.clone()).await.expect(207).json();
    assert_eq!(refused["results"][0]["problem"]["code"], "message_type_mismatch");
    assert_eq!(resend("", to_delay).await.expect(207).json()["summary"], json!({"ok": 0, "failed": 1}));
    let retry = resend("", json!({"messageIds": letters, "target": "retry"})).await;
    assert_eq!(retry.refused(), (501, "not_implemented".into()));

    let all = json!({"messageIds": letters});
    assert_eq!(resend("?dryRun=true", all.clone()).await.expect(200).json()["summary"]["ok"], 4);
    assert_eq!(resend("", all).await.expect(200).json()["summary"]["ok"], 4);
    for topic in ["t", "fifo", "delay", "transaction"] {
        let received = receive(topic).await;
        assert_eq!((received.len(), &received[0]["body"]), (1, &json!(topic)));
    }
}

#[tokio::test]
async fn an_offset_is_found_by_time() {
    let face = Face::new().await;
    let mut stored = Vec::new();
    for body in ["a", "b", "c"] {
        face.ask("POST /v1/topics/t/messages", &[], body).await.expect(201);
        let all = face.ask("GET /v1/topics/t/messages?timeFormat=ms", &[], "").await.expect(200).json();
        stored.push(all["items"][0]["storeTimestamp"].as_i64().unwrap());
    }
    const QUEUE: &str = "/v1/topics/t/queues/broker-a/0";
    let offset = async |query: String| {
        let found = face.ask(&format!("GET {QUEUE}/offset?{query}"), &[], "").await.expect(200).json();
        (found["offset"].as_u64().unwrap(), found["boundary"].clone())
    };
    assert_eq!(offset("at=min".into()).await, (0, Value::Null));
    assert_eq!(offset("at=max".into()).await, (3, Value::Null));
    for at in &stored {
        // Two may be of one millisecond.
        let first = stored.iter().position(|stored| stored >= at).unwrap() as u64;
        let last = stored.iter().rposition(|stored| stored <= at).unwrap() as u64;
        assert_eq!(offset(format!("at={at}")).await, (first, json!("lower")));
        assert_eq!(offset(format!("at={at}&boundary=upper")).await, (last, json!("upper")));
    }
    assert_eq!(offset("at=2000-01-01T00:00:00Z".into()).await.0, 0);
    assert_eq!(offset("at=2100-01-01T00:00:00Z".into()).await.0, 3);
    let page = face.ask(&format!("GET {QUEUE}/messages?at={}", stored[2]), &[], "").await.expect(200).json();
    let first = stored.iter().position(|at| *at == stored[2]).unwrap();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["items"][0]["queueOffset"]), (3 - first, &json!(first)));
    for (path, refused) in [
        ("/offset", (400, "invalid_parameter")),
        ("/offset?at=soon", (400, "invalid_timestamp")),
        ("/offset?at=min&boundary=middle", (400, "invalid_parameter")),
        ("/offset?at=min&x=1", (400, "unknown_field")),
        ("/messages?at=min&offset=0", (400, "invalid_parameter")),
    ] {
        let answer = face.ask(&format!("GET {QUEUE}{path}"), &[], "").await;
        assert_eq!(answer.refused(), (refused.0, refused.1.to_string()), "{path}");
    }
    for (path, refused) in [
        ("t/queues/broker-a/7", (404, "not_found")),
        ("t/queues/broker-b/0", (404, "broker_not_found")),
        ("t/queues/broker-a/x", (400, "invalid_parameter")),
        ("none/queues/broker-a/0", (404, "topic_not_found")),
        ("SCHEDULE_TOPIC_XXXX/queues/broker-a/0", (403, "system_resource")),
    ] {
        let answer = face.ask(&format!("GET /v1/topics/{path}/offset?at=min"), &[], "").await;
        assert_eq!(answer.refused(), (refused.0, refused.1.to_string()), "{path}");
    }
}

#[tokio::test]
async fn open_transactions_are_shown_with_their_messages() {
    let face = Face::new().await;
    face.ask("PUT /v1/topics/pay", &[], r#"{"messageType":"transaction"}"#).await.expect(201);
    let half = async |body: &str| {
        let headers = [("gantry-producer-group", "shop"), ("gantry-tag", "x")];
        face.ask("POST /v1/topics/pay/transactions", &headers, body.to_string()).await.expect(201).json()
    };
    let [a, b] = [half("a").await, half("b").await];
    let list = async |query: &str| {
        face.ask(&format!("GET /v1/topics/pay/transactions{query}"), &[], "").await.expect(200).json()
    };
    let listed = list("").await;
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["nextCursor"]), (2, &Value::Null));
    let first = &listed["items"][0];
    assert_eq!((&first["messageId"], &first["checkCount"]), (&a["messageId"], &json!(0)));
    let message = &first["message"];
    assert_eq!((&message["body"], &message["tag"], &message["topic"]), (&json!("a"), &json!("x"), &json!("pay")));
    assert_eq!(list("?bodyAs=none").await["items"][0]["message"].get("body"), None);
    let page = list("?limit=1").await;
    let cursor = page["nextCursor"].as_str().unwrap();
    assert_eq!(list(&format!("?limit=1&cursor={cursor}")).await["items"][0]["messageId"], b["messageId"]);
    let foreign = face.ask(&format!("GET /v1/topics/pay/transactions?producerGroup=x&cursor={cursor}"), &[], "").await;
    assert_eq!(foreign.refused(), (400, "invalid_cursor".into()));
    let commit = format!("POST /v1/transactions/{}/commit", first["transactionHandle"].as_str().unwrap());
    face.ask(&commit, &[], "").await.expect(204);
    let stats = face.ask("GET /v1/topics/pay/stats", &[], "").await.expect(200).json();
    assert_eq!(stats["transactions"], json!({"open": 1, "committed": 1, "rolledBack": 0}));
}

#[tokio::test]
async fn the_pause_after_a_nack_is_the_groups_policy() {
    let face = Face::new().await;
    face.ask("POST /v1/topics/t/messages", &[], "x").await.expect(201);
    let pause_until = async |policy: &str| {
        let group = format!(r#"{{"retryPolicy":{policy},"retryMaxTimes":100}}"#);
        let made = face.ask("PUT /v1/groups/g", &[("if-match", "*")], group.clone()).await;
        if made.status == StatusCode::NOT_FOUND {
            face.ask("PUT /v1/groups/g", &[], group).await.expect(201);
        }
        let again = r#"{"topic":"t","to":{"position":"min"},"force":true}"#;
        face.ask("POST /v1/groups/g/offsets/reset", &[], again).await.expect(200);
        let received = face.receive().await;
        let handle = received[0]["receiptHandle"].as_str().unwrap();
        face.ask(&format!("POST /v1/receipts/{handle}/nack"), &[], "").await.expect(200);
        let listed = face.ask("GET /v1/groups/g/inflight?timeFormat=ms", &[], "").await.expect(200).json();
        assert_eq!(listed["items"][0]["cameBack"], false);
        listed["items"][0]["invisibleUntil"].as_i64().unwrap()
    };
    const HOUR_MS: i64 = 3_600_000;
    let begin = SystemClock.wall().0;
    let steps = pause_until(r#"{"type":"customized","next":["2h","4h"]}"#).await;
    let grows = pause_until(r#"{"type":"exponential","initial":"4h","max":"5h","multiplier":2}"#).await;
    let end = SystemClock.wall().0;
    // An hour either way: the two clocks need not agree.
    assert!((begin + HOUR_MS..end + 3 * HOUR_MS).contains(&steps));
    assert!((begin + 3 * HOUR_MS..end + 5 * HOUR_MS).contains(&grows));
}

#[tokio::test]
async fn c4_more_queues_of_a_fifo_topic_need_force() {
    let face = Face::new().await;
    face.ask("PUT /v1/topics/ledger", &[], r#"{"messageType":"fifo","readQueues":4}"#).await.expect(201);
    let merge = [("if-match", "*")];
    let refused = face.ask("PATCH /v1/topics/ledger", &merge, r#"{"writeQueues":8}"#).await;
    assert_eq!(refused.refused(), (400, "invalid_parameter".into()));
    let problem = refused.json();
    assert!(problem["detail"].as_str().unwrap().contains("force"), "{problem}");
    assert_eq!(problem["errors"][0]["pointer"], "/writeQueues");
    let forced = face.ask("PATCH /v1/topics/ledger", &merge, r#"{"writeQueues":8,"force":true}"#).await.expect(200);
    assert_eq!(forced.json()["writeQueues"], 8);
    let put = r#"{"messageType":"fifo","readQueues":9,"force":true}"#;
    assert_eq!(face.ask("PUT /v1/topics/ledger", &merge, put).await.expect(200).json()["writeQueues"], 9);
    assert_eq!(face.ask("PUT /v1/topics/v", &[], r#"{"force":1}"#).await.refused(), (400, "invalid_parameter".into()));
}

#[tokio::test]
async fn dead_letters_come_as_a_file_whose_last_line_says_whether_it_is_whole() {
    let face = Face::new().await;
    for body in ["{\"a\": 1}", "=1,2"] {
        face.ask("POST /v1/topics/t/messages", &[("gantry-tag", "x")], body).await.expect(201);
    }
    let received = face.receive().await;
    let export = "GET /v1/groups/g/dlq/export";
    let nothing = face.ask(export, &[], "").await.expect(200);
    assert_eq!(String::from_utf8(nothing.body).unwrap(), "{\"scan\":{\"scanned\":0,\"complete\":true}}\n");
    for message in &received {
        let handle = message["receiptHandle"].as_str().unwrap();
        let reason = r#"{"reason":"too \"hard\""}"#;
        face.ask(&format!("POST /v1/receipts/{handle}/dead-letter"), &[], reason).await.expect(200);
    }
    let lines = face.ask(&format!("{export}?bodyAs=json"), &[], "").await.expect(200);
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(lines.header("content-disposition"), "attachment; filename=\"dead-letters.ndjson\"");
    let lines: Vec<Value> = lines
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[0]["body"], &lines[0]["deadLetter"]["messageId"]),
        (&json!({"a": 1}), &received[0]["messageId"])
    );
    assert_eq!(lines[2], json!({"scan": {"scanned": 2, "complete": true}}));
    let table = face.ask(&format!("{export}?format=csv&timeFormat=ms"), &[], "").await.expect(200);
    let table = String::from_utf8(table.body).unwrap();
    let rows: Vec<&str> = table.lines().collect();
    assert!(rows[0].starts_with("messageId,storeTimestamp,originTopic"), "{table}");
    assert!(rows[1].contains("\"too \"\"hard\"\"\""), "{table}");
    assert!(rows[2].ends_with("\"'=1,2\""), "{table}");
    assert_eq!((rows.len(), rows[3]), (4, r#""{""scan"":{""scanned"":2,""complete"":true}}""#));
    let later = face.ask(&format!("{export}?from=2100-01-01T00:00:00Z"), &[], "").await.expect(200);
    assert_eq!(String::from_utf8(later.body).unwrap().lines().count(), 1);
    for (query, code) in [("format=xml", "invalid_parameter"), ("to=x", "invalid_timestamp"), ("x=1", "unknown_field")]
    {
        assert_eq!(face.ask(&format!("{export}?{query}"), &[], "").await.refused(), (400, code.to_string()));
    }
    assert_eq!(face.ask("GET /v1/groups/no/dlq/export", &[], "").await.refused(), (404, "group_not_found".into()));

    let slow = r#"{"from":0,"to":"2100-01-01T00:00:00Z","ratePerSecond":1000}"#;
    let sent = face.ask("POST /v1/groups/g/dlq/resend", &[], slow).await.expect(200).json();
    assert_eq!(sent["summary"], json!({"ok": 2, "failed": 0}));
    let many = r#"{"messageIds":["a","b","c"],"ratePerSecond":1}"#;
    let refused = face.ask("POST /v1/groups/g/dlq/resend", &[("gantry-timeout", "2s")], many).await;
    assert_eq!(refused.refused(), (400, "invalid_parameter".into()));
}

#[tokio::test]
async fn a_message_says_when_it_was_to_be_delivered() {
    let face = Face::new().await;
    face.ask("PUT /v1/topics/later", &[], r#"{"messageType":"delay"}"#).await.expect(201);
    // Within the last minute is now.
    let at = SystemClock.wall().0 - 1_000;
    let headers = [("gantry-deliver-at", &*at.to_string())];
    let sent = face.ask("POST /v1/topics/later/messages", &headers, "x").await.expect(201).json();
    let path = format!("GET /v1/topics/later/messages/{}?timeFormat=ms", sent["messageId"].as_str().unwrap());
    let read = face.ask(&path, &[], "").await.expect(200).json();
    assert_eq!((&read["deliverAt"], &read["messageType"]), (&json!(at), &json!("delay")));
    let plain = face.ask("POST /v1/topics/t/messages", &[], "x").await.expect(201).json();
    let path = format!("GET /v1/topics/t/messages/{}", plain["messageId"].as_str().unwrap());
    assert_eq!(face.ask(&path, &[], "").await.expect(200).json().get("deliverAt"), None);
}
