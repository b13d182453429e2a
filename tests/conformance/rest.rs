//! The REST API's promises: leases, attempts, handles, lists, conditions, and that a restart keeps it all.

use harness::{Answer, Home, Server, ask};
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// A server with one topic, and a client for it.
struct Bench {
    home: Home,
    server: Server,
    http: Client,
}

impl Bench {
    async fn new() -> Bench {
        let home = Home::new();
        let server = Server::start(&home.data(), &[]);
        let bench = Bench { home, server, http: Client::new() };
        bench.ask(Method::PUT, "/v1/topics/t", json!({"readQueues": 2, "writeQueues": 2})).await.expect(201);
        bench
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.http.request(method, self.server.url(path));
        let request = if body.is_null() { request } else { request.json(&body) };
        ask(request).await.expect("an answer")
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, Value::Null).await
    }

    async fn publish(&self, body: &str) -> Value {
        let request = self.http.post(self.server.url("/v1/topics/t/messages")).body(body.to_string());
        ask(request).await.expect("an answer").expect(201).json()
    }

    async fn receive(&self, count: u32) -> Vec<Value> {
        let body = json!({"topic": "t", "maxMessages": count});
        let answer = self.ask(Method::POST, "/v1/groups/g/receive", body).await.expect(200);
        answer.json()["messages"].as_array().expect("messages").clone()
    }

    fn restart(self, clean: bool) -> Bench {
        let Bench { home, server, http } = self;
        if clean {
            assert_eq!(server.stop("-TERM").code(), Some(0));
        } else {
            server.kill_9();
        }
        let server = Server::start(&home.data(), &[]);
        // Connections to the old one are gone.
        drop(http);
        Bench { home, server, http: Client::new() }
    }
}

fn handle(message: &Value) -> &str {
    message["receiptHandle"].as_str().expect("a receipt handle")
}

#[tokio::test]
async fn leases_attempts_and_handles() {
    let bench = Bench::new().await;
    bench.publish("one").await;
    let first = bench.receive(1).await.remove(0);
    assert_eq!(first["deliveryAttempt"], 1);
    assert!(bench.receive(1).await.is_empty(), "leased");

    let path = format!("/v1/receipts/{}", handle(&first));
    let extended = bench.ask(Method::PATCH, &path, json!({"invisibleDuration": "2m"}));
    let extended = extended.await.expect(200).json();
    let old = bench.ask(Method::DELETE, &format!("/v1/receipts/{}", handle(&first)), Value::Null).await.expect(410);
    assert_eq!(old.code(), "receipt_superseded");

    let nack = format!("/v1/receipts/{}/nack", handle(&extended));
    bench.ask(Method::POST, &nack, json!({"retryAfter": "0s"})).await.expect(200);
    let second = bench.receive(1).await.remove(0);
    assert_eq!((second["deliveryAttempt"].as_u64(), &second["messageId"]), (Some(2), &first["messageId"]));
    let nack = format!("/v1/receipts/{}/nack", handle(&second));
    bench.ask(Method::POST, &nack, json!({"retryAfter": "0s", "suspend": true})).await.expect(200);
    let third = bench.receive(1).await.remove(0);
    assert_eq!(third["deliveryAttempt"], 2, "a suspended delivery does not count");

    let ack = format!("/v1/receipts/{}", handle(&third));
    bench.ask(Method::DELETE, &ack, Value::Null).await.expect(204);
    bench.ask(Method::DELETE, &ack, Value::Null).await.expect(204);
    assert!(bench.receive(1).await.is_empty());
}

#[tokio::test]
async fn a_restart_keeps_messages_leases_acks_and_configuration() {
    for clean in [true, false] {
        let bench = Bench::new().await;
        for body in ["a", "b", "c"] {
            bench.publish(body).await;
        }
        let taken = bench.receive(2).await;
        let ack = format!("/v1/receipts/{}", handle(&taken[0]));
        bench.ask(Method::DELETE, &ack, Value::Null).await.expect(204);
        let etag = bench.get("/v1/topics/t").await.expect(200).headers["etag"].clone();

        let bench = bench.restart(clean);
        assert_eq!(bench.get("/v1/topics/t").await.expect(200).headers["etag"], etag);
        let rest = bench.receive(32).await;
        assert_eq!(rest.len(), 1, "one is acked, one is leased");
        for held in [&taken[1], &rest[0]] {
            bench.ask(Method::DELETE, &format!("/v1/receipts/{}", handle(held)), Value::Null).await.expect(204);
        }
        let lag = bench.get("/v1/groups/g/lag?topic=t").await.expect(200).json();
        assert_eq!((lag["totalLag"].as_u64(), lag["topics"][0]["inflight"].as_u64()), (Some(0), Some(0)));
    }
}

#[tokio::test]
async fn a_topic_made_again_is_empty_and_old_handles_are_void() {
    let bench = Bench::new().await;
    bench.publish("old").await;
    let old = bench.receive(1).await.remove(0);
    bench.ask(Method::DELETE, "/v1/topics/t", Value::Null).await.expect(204);
    assert_eq!(bench.get("/v1/topics/t").await.expect(404).code(), "topic_not_found");
    bench.ask(Method::PUT, "/v1/topics/t", json!({"readQueues": 2, "writeQueues": 2})).await.expect(201);
    let bench = bench.restart(false);
    bench.ask(Method::DELETE, &format!("/v1/receipts/{}", handle(&old)), Value::Null).await.expect(410);
    let by_id = format!("/v1/topics/t/messages/{}", old["messageId"].as_str().unwrap());
    assert_eq!(bench.get(&by_id).await.expect(404).code(), "message_not_found");
    let new = bench.publish("new").await;
    assert_eq!(new["queueOffset"], 0);
    let received = bench.receive(32).await;
    assert_eq!((received.len(), &received[0]["body"]), (1, &json!("new")));
}

#[tokio::test]
async fn messages_are_read_back_by_place_and_by_id() {
    let bench = Bench::new().await;
    let published = bench.publish("read me").await;
    let text = |name: &str| published[name].as_str().expect("text").to_string();
    let by_id = bench.get(&format!("/v1/topics/t/messages/{}", text("messageId"))).await.expect(200).json();
    let by_place = bench.get(&format!("/v1/messages/{}", text("offsetMessageId"))).await.expect(200).json();
    assert_eq!(by_id, by_place);
    assert_eq!(by_id["body"], "read me");
    let queue_id = &published["queueId"];
    let browsed = bench.get(&format!("/v1/topics/t/queues/broker-a/{queue_id}/messages?offset=0")).await.expect(200);
    assert_eq!(browsed.json()["items"][0], by_id);
    let beyond = bench.get(&format!("/v1/topics/t/queues/broker-a/{queue_id}/messages?offset=99")).await.expect(200);
    assert_eq!((&beyond.json()["nextOffset"], &beyond.json()["items"]), (&json!(1), &json!([])));
    let queues = bench.get("/v1/topics/t/queues").await.expect(200).json();
    let sum: u64 = queues["items"].as_array().unwrap().iter().map(|queue| queue["maxOffset"].as_u64().unwrap()).sum();
    assert_eq!(sum, 1);
    let lower = bench.get(&format!("/v1/messages/{}", text("offsetMessageId").to_lowercase())).await;
    assert!(lower.status == 200 || lower.status == 404);
    for (path, code) in [
        ("/v1/messages/nonsense", "invalid_message_id"),
        ("/v1/messages/7F00000100002A9F0000000000000001", "message_not_found"),
        ("/v1/messages/7F00000100002A9FFFFFFFFFFFFFFFFF", "message_not_found"),
        ("/v1/topics/t/messages/unknown", "message_not_found"),
        ("/v1/topics/t/queues/broker-b/0/messages", "broker_not_found"),
        ("/v1/topics/t/queues/broker-a/9/messages", "not_found"),
    ] {
        assert_eq!(bench.get(path).await.code(), code, "{path}");
    }
}

#[tokio::test]
async fn conditions_and_pages() {
    let bench = Bench::new().await;
    let put = |path: &'static str, name: &'static str, value: String| {
        let request = bench
            .http
            .put(bench.server.url(path))
            .header(name, value)
            .json(&json!({"writeQueues": 4, "readQueues": 4}));
        async { ask(request).await.expect("an answer") }
    };
    assert_eq!(bench.ask(Method::PUT, "/v1/topics/t", json!({})).await.expect(428).code(), "precondition_required");
    assert_eq!(put("/v1/topics/t", "If-None-Match", "*".into()).await.expect(409).code(), "already_exists");
    assert_eq!(put("/v1/topics/t", "If-Match", "\"no-such\"".into()).await.expect(412).code(), "etag_mismatch");
    let etag = bench.get("/v1/topics/t").await.headers["etag"].to_str().unwrap().to_string();
    let changed = put("/v1/topics/t", "If-Match", etag.clone()).await.expect(200);
    assert_eq!(changed.json()["writeQueues"], 4);
    assert_ne!(changed.headers["etag"], etag.as_str());
    assert_eq!(put("/v1/topics/t", "If-Match", etag).await.expect(412).code(), "etag_mismatch");
    put("/v1/topics/t", "If-Match", "*".into()).await.expect(200);
    let etag = bench.get("/v1/topics/t").await.headers["etag"].clone();
    let known = bench.http.get(bench.server.url("/v1/topics/t")).header("If-None-Match", etag);
    ask(known).await.unwrap().expect(304);

    for name in ["b", "a", "c"] {
        bench.ask(Method::PUT, &format!("/v1/topics/{name}"), json!({})).await.expect(201);
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items");
        items.iter().map(|item| item["name"].as_str().unwrap().to_string()).collect()
    };
    let page = bench.get("/v1/topics?limit=2").await.expect(200).json();
    assert_eq!(names(&page), ["a", "b"]);
    let cursor = page["nextCursor"].as_str().expect("more follow").to_string();
    let rest = bench.get(&format!("/v1/topics?limit=2&cursor={cursor}")).await.expect(200).json();
    assert_eq!((names(&rest), &rest["nextCursor"]), (vec!["c".to_string(), "t".to_string()], &Value::Null));
    for wrong in [
        format!("/v1/groups?cursor={cursor}"),
        format!("/v1/topics?prefix=a&cursor={cursor}"),
        "/v1/topics?cursor=c1.AAAA".into(),
    ] {
        assert_eq!(bench.get(&wrong).await.expect(400).code(), "invalid_cursor", "{wrong}");
    }
    assert_eq!(names(&bench.get("/v1/topics?prefix=b").await.json()), ["b"]);

    let group = bench.ask(
        Method::PUT,
        "/v1/groups/mine",
        json!({"retryMaxTimes": 3, "consumeTimeout": "5m", "startFrom": "max"}),
    );
    assert_eq!(group.await.expect(201).json()["consumeTimeout"], "5m");
    assert_eq!(names(&bench.get("/v1/groups").await.json()), ["mine"]);
    bench.ask(Method::DELETE, "/v1/groups/mine", Value::Null).await.expect(204);
    assert_eq!(bench.get("/v1/groups/mine").await.expect(404).code(), "group_not_found");
}

#[tokio::test]
async fn bytes_and_metadata_come_back_as_they_went_in() {
    let bench = Bench::new().await;
    let body = harness::bytes_of(7, 100_000);
    let request = bench
        .http
        .post(bench.server.url("/v1/topics/t/messages"))
        .header("Content-Type", "image/png")
        .header("Gantry-Tag", "paid")
        .header("Gantry-Keys", "k1,k2")
        .header("Gantry-Property", "a%3Db=c%2Cd")
        .header("Gantry-Message-Id", "my-id")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .body(body.clone());
    let answer = ask(request).await.unwrap().expect(201);
    assert_eq!(answer.headers["location"], "/v1/topics/t/messages/my%2Did");
    let request = bench
        .http
        .post(bench.server.url("/v1/groups/g/receive?topic=t"))
        .header("Accept", "application/vnd.gantry.raw");
    let raw = ask(request.try_clone().unwrap()).await.unwrap().expect(200);
    assert_eq!(raw.body, body);
    for (name, value) in [
        ("content-type", "image/png"),
        ("gantry-tag", "paid"),
        ("gantry-keys", "k1,k2"),
        ("gantry-property", "a%3Db=c%2Cd"),
        ("gantry-message-id", "my-id"),
        ("gantry-delivery-attempt", "1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        assert_eq!(raw.headers[name], value, "{name}");
    }
    ask(request).await.unwrap().expect(204);
    let shown = bench.get("/v1/topics/t/messages/my-id?timeFormat=ms").await.expect(200).json();
    assert_eq!(shown["bodyEncoding"], "base64");
    assert_eq!(shown["properties"], json!({"a=b": "c,d"}));
    assert_eq!(shown["contentType"], "image/png");
    assert!(shown["storeTimestamp"].is_u64());
}

#[tokio::test]
async fn a_parked_receive_gets_the_message_that_arrives() {
    let bench = Bench::new().await;
    let body = json!({"topic": "t", "maxMessages": 1});
    let waiting = bench.http.post(bench.server.url("/v1/groups/g/receive")).header("Prefer", "wait=30").json(&body);
    let (answer, _) = tokio::join!(ask(waiting), async {
        // The group exists once the receive has looked and found nothing.
        while bench.get("/v1/groups/g").await.status != 200 {}
        bench.publish("awaited").await
    });
    let answer = answer.unwrap().expect(200);
    assert_eq!(answer.headers["preference-applied"], "wait=30");
    assert_eq!(answer.json()["messages"][0]["body"], "awaited");
}

#[tokio::test]
async fn an_sql92_filter_gives_out_what_meets_it_and_passes_over_the_rest() {
    let bench = Bench::new().await;
    for (body, region, amount) in [("a", "eu", "120"), ("b", "us", "500"), ("c", "eu", "99"), ("d", "eu", "many")] {
        let properties = json!({"region": region, "amount": amount});
        let message = json!({"messages": [{"body": body, "tag": "paid", "properties": properties}]});
        bench.ask(Method::POST, "/v1/topics/t/messages/batch", message).await.expect(201);
    }
    bench.publish("e").await;
    let expression = "region = 'eu' AND amount > 100 AND TAGS IS NOT NULL";
    let receive = json!({"topic": "t", "maxMessages": 32, "filter": {"type": "sql92", "expression": expression}});
    let bodies = |answer: &Answer, of: &str| {
        let json = answer.json();
        let messages = json[of].as_array().expect("messages");
        let mut bodies: Vec<_> = messages.iter().map(|one| one["body"].as_str().unwrap().to_string()).collect();
        bodies.sort();
        bodies
    };
    let received = bench.ask(Method::POST, "/v1/groups/g/receive", receive.clone()).await.expect(200);
    assert_eq!(bodies(&received, "messages"), ["a"]);
    let ack = format!("/v1/receipts/{}", handle(&received.json()["messages"][0]));
    bench.ask(Method::DELETE, &ack, Value::Null).await.expect(204);
    let lag = bench.get("/v1/groups/g/lag?topic=t").await.expect(200).json();
    assert_eq!(lag["totalLag"], 0, "what does not match counts as consumed");
    assert!(bench.receive(32).await.is_empty());

    // The same as a query; a topic can be looked through by a condition.
    let path = "/v1/groups/other/receive?topic=t&maxMessages=32&filterType=sql92&filter=";
    let path = format!("{path}amount%20%3E%3D%20100%20AND%20region%20%3C%3E%20%27eu%27%20OR%20amount%20IS%20NULL");
    let received = bench.ask(Method::POST, &path, Value::Null).await.expect(200);
    assert_eq!(bodies(&received, "messages"), ["b", "e"]);
    let path =
        "/v1/topics/t/messages?filterType=sql92&filter=region+IN+(%27us%27,%27eu%27)+AND+amount+%3C%3E+%27many%27";
    assert_eq!(bodies(&bench.get(path).await.expect(200), "items"), ["a", "b", "c"]);
    assert_eq!(bench.get("/v1/limits").await.json()["abilities"]["sql92"], true);

    let mut wrong = receive;
    wrong["filter"]["expression"] = json!("region = 'eu' AND amount > '100'");
    let refused = bench.ask(Method::POST, "/v1/groups/third/receive", wrong).await.expect(400);
    let problem = refused.json();
    assert_eq!((&problem["code"], &problem["position"]), (&json!("invalid_filter"), &json!(27)));
    assert_eq!(problem["errors"][0]["pointer"], "/filter/expression");
    assert!(problem["detail"].as_str().unwrap().contains("column 28"), "{problem}");
    bench.get("/v1/groups/third").await.expect(404);
}

#[tokio::test]
async fn messages_are_found_by_a_key_page_by_page() {
    let bench = Bench::new().await;
    // A key may hold what a path may not.
    for number in 0..5 {
        let publish = bench.http.post(bench.server.url("/v1/topics/t/messages")).header("Gantry-Keys", "order/7,all");
        ask(publish.body(format!("{number}"))).await.unwrap().expect(201);
    }
    let first = bench.get("/v1/topics/t/messages/by-key?key=order%2F7&limit=3").await.expect(200).json();
    let bodies = |page: &Value| {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["body"].as_str().unwrap().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!((bodies(&first), &first["scan"]["complete"]), (vec!["4".into(), "3".into(), "2".into()], &json!(false)));
    let cursor = first["nextCursor"].as_str().unwrap();
    let rest = bench.get(&format!("/v1/topics/t/messages/by-key?key=order%2F7&limit=3&cursor={cursor}")).await;
    let rest = rest.expect(200).json();
    assert_eq!(
        (bodies(&rest), &rest["nextCursor"], &rest["scan"]["complete"]),
        (vec!["1".into(), "0".into()], &Value::Null, &json!(true))
    );
    // A cursor of one key is none of another's.
    let other = bench.get(&format!("/v1/topics/t/messages/by-key?key=all&cursor={cursor}")).await;
    assert_eq!(other.expect(400).code(), "invalid_cursor");
    let id = first["items"][0]["messageId"].as_str().unwrap();
    assert_eq!(bodies(&bench.get(&format!("/v1/topics/t/messages/by-key?key={id}")).await.expect(200).json()), ["4"]);
    let none = bench.get("/v1/topics/t/messages/by-key?key=all&to=1000000000000").await.expect(200).json();
    assert_eq!((bodies(&none), &none["scan"]["complete"]), (vec![], &json!(true)));
    for (path, status) in [
        ("t/messages/by-key", 400),
        ("t/messages/by-key?key=", 400),
        ("t/messages/by-key?key=a&limit=65", 400),
        ("nowhere/messages/by-key?key=a", 404),
    ] {
        bench.get(&format!("/v1/topics/{path}")).await.expect(status);
    }
}
