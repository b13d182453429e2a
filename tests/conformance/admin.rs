//! The contract's optional Admin service on the built program: what the broker knows, asked over gRPC.

use std::time::{Duration, Instant};

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::admin_client::AdminClient;
use gantry_proto::grpc::v2::change_log_level_request::Level;
use gantry_proto::grpc::v2::list_message_request::SearchKey;
use harness::{Home, Server, ask};
use serde_json::{Value, json};
use tonic::transport::Channel;
use v2::Code;

use crate::delivery::{asked, resource};

struct Office {
    _home: Home,
    server: Server,
    http: reqwest::Client,
    admin: AdminClient<Channel>,
}

/// A server with a topic of two queues and, in each, two messages of which the first bears the key `first`.
async fn office() -> Office {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--cluster-name", "some-cluster"]);
    let http = reqwest::Client::new();
    let queues = json!({"readQueues": 2, "writeQueues": 2});
    ask(http.put(server.url("/v1/topics/t")).json(&queues)).await.unwrap().expect(201);
    for number in 0..4 {
        let keys = if number < 2 { "first,all" } else { "all" };
        let publish = http.post(server.url("/v1/topics/t/messages")).header("Gantry-Keys", keys);
        let publish = publish.header("Gantry-Queue", format!("broker-a/{}", number % 2)).body(format!("body-{number}"));
        ask(publish).await.unwrap().expect(201);
    }
    let admin = AdminClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    Office { _home: home, server, http, admin }
}

#[tokio::test]
async fn messages_are_found_by_their_key() {
    let mut office = office().await;
    let mut query = async |key: &str, max_message_nums: i32, end: Option<i64>| {
        let query = v2::ListMessageRequest {
            topic: resource("t"),
            max_message_nums,
            end_timestamp: end.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
            search_key: Some(SearchKey::MessageKey(key.into())),
            ..v2::ListMessageRequest::default()
        };
        let answer = office.admin.query_message(asked(query)).await.unwrap().into_inner();
        assert_eq!(answer.status.unwrap().code(), Code::Ok);
        answer.messages.iter().map(|message| String::from_utf8(message.body.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(query("first", 32, None).await, ["body-1", "body-0"]);
    assert_eq!(query("all", 3, None).await, ["body-3", "body-2", "body-1"]);
    assert!(query("nobody", 32, None).await.is_empty());
    assert!(query("all", 32, Some(1_000_000_000)).await.is_empty(), "nothing is that old");
}

#[tokio::test]
async fn a_route_is_told_as_the_classic_protocol_writes_it() {
    let mut office = office().await;
    let asking = |topic: &str, protocol: &str| {
        let topic = resource(topic);
        asked(v2::GetTopicRouteRequest { topic, protocol_type: protocol.into(), ..Default::default() })
    };
    let answer = office.admin.get_topic_route(asking("t", "GRPC_V2")).await.unwrap().into_inner();
    assert_eq!(answer.status.unwrap().code(), Code::Ok);
    let route: Value = serde_json::from_str(&answer.topic_route_data).unwrap();
    let expected = json!({
        "brokerDatas": [{
            "cluster": "some-cluster", "brokerName": "broker-a", "brokerAddrs": {"0": office.server.grpc},
        }],
        "filterServerTable": {},
        "queueDatas": [{
            "brokerName": "broker-a", "perm": 6, "readQueueNums": 2, "writeQueueNums": 2, "topicSysFlag": 0,
        }],
    });
    assert_eq!(route, expected);
    for (topic, protocol, code) in [
        ("nowhere", "", Code::TopicNotFound),
        ("t", "REMOTING", Code::NotImplemented),
        ("t", "carrier pigeon", Code::BadRequest),
    ] {
        let answer = office.admin.get_topic_route(asking(topic, protocol)).await.unwrap().into_inner();
        assert_eq!((answer.status.unwrap().code(), answer.topic_route_data.as_str()), (code, ""), "{topic} {protocol}");
    }
}

#[tokio::test]
async fn time_spans_tell_what_lies_in_a_queue_and_what_is_consumed() {
    let mut office = office().await;
    let Office { server, http, .. } = &office;
    // The first message of queue 0, and nothing of queue 1.
    let stored = async |queue: u32, offset: u32| {
        let path = format!("/v1/topics/t/queues/broker-a/{queue}/messages?offset={offset}&limit=1&timeFormat=ms");
        let item = ask(http.get(server.url(&path))).await.unwrap().expect(200).json()["items"][0].clone();
        item["storeTimestamp"].as_i64().unwrap_or_else(|| panic!("no time in {item}"))
    };
    let times = [[stored(0, 0).await, stored(0, 1).await], [stored(1, 0).await, stored(1, 1).await]];
    let receive = http.post(server.url("/v1/groups/g/receive")).json(&json!({"topic": "t", "maxMessages": 1}));
    ask(receive).await.unwrap().expect(200);
    let commit = json!({"queues": [{"brokerName": "broker-a", "queueId": 0, "offset": 2}]});
    ask(http.put(server.url("/v1/groups/g/topics/t/offsets")).json(&commit)).await.unwrap().expect(200);

    let asking = |group: &str, topic: &str| {
        let (group, topics) = (resource(group), resource(topic).into_iter().collect());
        asked(v2::QueryTimeSpanRequest { group, topics, ..v2::QueryTimeSpanRequest::default() })
    };
    let answer = office.admin.query_time_span(asking("g", "t")).await.unwrap().into_inner();
    assert_eq!(answer.status.unwrap().code(), Code::Ok);
    let spans = answer.queue_time_span_list;
    assert_eq!(spans.len(), 2);
    for (id, (span, [min, max])) in spans.iter().zip(times).enumerate() {
        let queue = span.message_queue.as_ref().unwrap();
        assert_eq!((queue.id, queue.broker.as_ref().unwrap().name.as_str()), (id as i32, "broker-a"));
        assert_eq!((span.min_timestamp, span.max_timestamp), (min, max));
    }
    assert_eq!((spans[0].consume_timestamp, spans[0].delay_time_ms), (times[0][1], 0), "consumed to its end");
    assert_eq!(spans[1].consume_timestamp, times[1][0]);
    for (group, topic, code) in [
        ("nobody", "t", Code::ConsumerGroupNotFound),
        ("g", "nowhere", Code::TopicNotFound),
        ("g", "a b", Code::IllegalTopic),
    ] {
        let answer = office.admin.query_time_span(asking(group, topic)).await.unwrap().into_inner();
        assert_eq!(answer.status.unwrap().code(), code, "{group} {topic}");
    }
}

#[tokio::test]
async fn the_log_tells_more_when_it_is_asked_to_and_only_of_the_program_itself() {
    let mut office = office().await;
    let change = |level: i32| asked(v2::ChangeLogLevelRequest { level });
    let refused = office.admin.change_log_level(change(9)).await.unwrap().into_inner().remark;
    assert!(refused.contains("9 is no level"), "{refused}");
    let Office { server, http, .. } = &office;
    let log_has = async |what: &str| {
        ask(http.get(server.url("/v1/topics/t"))).await.unwrap().expect(200);
        server.log().contains(what)
    };
    assert!(!log_has(" DEBUG ").await);
    let said = office.admin.clone().change_log_level(change(Level::Trace as i32)).await.unwrap().into_inner().remark;
    assert!(said.starts_with("changed"), "{said}");
    let begin = Instant::now();
    while !log_has(" DEBUG ").await {
        assert!(begin.elapsed() < Duration::from_secs(30), "{}", server.log());
    }
    let of_others: Vec<_> = server
        .log()
        .lines()
        .filter(|line| line.contains(" h2::") || line.contains(" hyper"))
        .map(str::to_string)
        .collect();
    assert!(of_others.is_empty(), "{of_others:?}");
}
