//! Users with access key and secret: what official clients sign is taken, everything else is refused in every rpc and
//! on every path, and credentials never cross a network that could read them.

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::admin_client::AdminClient;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use harness::{Home, Server, ask};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use tonic::Request;
use tonic::transport::Channel;
use v2::Code;

use crate::delivery::{asked, resource};
use crate::transport::{connect, tls_client};

const SECRET: &str = "quite secret";

/// As official clients do it; the date is of a zone far in the east.
fn signed<T>(message: T, access_key: &str, secret: &str) -> Request<T> {
    let now = std::process::Command::new("date").args(["-u", "-d", "+14 hours", "+%Y%m%dT%H%M%SZ"]).output().unwrap();
    let date = String::from_utf8(now.stdout).unwrap().trim().to_string();
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(date.as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
    let credentials = format!(
        "MQv2-HMAC-SHA1 Credential={access_key}//RocketMQ, SignedHeaders=x-mq-date-time, Signature={signature}"
    );
    let mut request = asked(message);
    request.metadata_mut().insert("x-mq-date-time", date.parse().unwrap());
    request.metadata_mut().insert("authorization", credentials.parse().unwrap());
    request
}

/// A server with one user, `app`.
fn server(home: &Home, flags: &[&str]) -> Server {
    let path = home.path().join("users.toml");
    std::fs::write(&path, format!("[[users]]\naccess_key = \"app\"\nsecret = \"{SECRET}\"\n")).unwrap();
    Server::start(&home.data(), &[&["--config", path.to_str().unwrap()], flags].concat())
}

async fn route(channel: Channel, request: Request<v2::QueryRouteRequest>) -> Code {
    let answer = MessagingServiceClient::new(channel).query_route(request).await.expect("an answer").into_inner();
    answer.status.expect("a status").code()
}

fn of_topic() -> v2::QueryRouteRequest {
    v2::QueryRouteRequest { topic: resource("t"), endpoints: None }
}

#[tokio::test]
async fn every_rpc_asks_for_credentials() {
    let home = Home::new();
    let server = server(&home, &[]);
    let channel = connect(&server.grpc, b"", None).await.unwrap();
    // Right ones go through to the question itself.
    assert_eq!(route(channel.clone(), signed(of_topic(), "app", SECRET)).await, Code::TopicNotFound);
    assert_eq!(route(channel.clone(), signed(of_topic(), "app", "guess")).await, Code::Unauthorized);
    assert_eq!(route(channel.clone(), signed(of_topic(), "nobody", SECRET)).await, Code::Unauthorized);
    // Before the client's name.
    assert_eq!(route(channel.clone(), Request::new(of_topic())).await, Code::Unauthorized);

    let mut client = MessagingServiceClient::new(channel.clone());
    let mut wrong = Vec::new();
    macro_rules! unary {
        ($($rpc:ident: $request:ty,)*) => {
            $({
                let status = client.$rpc(asked(<$request>::default())).await.expect("an answer").into_inner().status;
                if status.map(|status| status.code()) != Some(Code::Unauthorized) {
                    wrong.push(stringify!($rpc));
                }
            })*
        };
    }
    unary! {
        query_route: v2::QueryRouteRequest,
        heartbeat: v2::HeartbeatRequest,
        send_message: v2::SendMessageRequest,
        query_assignment: v2::QueryAssignmentRequest,
        ack_message: v2::AckMessageRequest,
        forward_message_to_dead_letter_queue: v2::ForwardMessageToDeadLetterQueueRequest,
        update_offset: v2::UpdateOffsetRequest,
        get_offset: v2::GetOffsetRequest,
        query_offset: v2::QueryOffsetRequest,
        end_transaction: v2::EndTransactionRequest,
        notify_client_termination: v2::NotifyClientTerminationRequest,
        change_invisible_duration: v2::ChangeInvisibleDurationRequest,
        recall_message: v2::RecallMessageRequest,
        sync_lite_subscription: v2::SyncLiteSubscriptionRequest,
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    let mut received = client.receive_message(asked(v2::ReceiveMessageRequest::default())).await.unwrap().into_inner();
    let first = received.message().await.unwrap().unwrap();
    let Some(v2::receive_message_response::Content::Status(status)) = first.content else { panic!("no status") };
    assert_eq!(status.code(), Code::Unauthorized);
    let mut pulled = client.pull_message(asked(v2::PullMessageRequest::default())).await.unwrap().into_inner();
    let first = pulled.message().await.unwrap().unwrap();
    let Some(v2::pull_message_response::Content::Status(status)) = first.content else { panic!("no status") };
    assert_eq!(status.code(), Code::Unauthorized);
    // One frame, and the end of the stream.
    let mut stream = client.telemetry(asked(tokio_stream::pending())).await.unwrap().into_inner();
    let frame = stream.message().await.unwrap().unwrap();
    assert_eq!(frame.status.unwrap().code(), Code::Unauthorized);
    assert!(!matches!(stream.message().await, Ok(Some(_))));
    let mut admin = AdminClient::new(channel);
    let status = admin.describe_topic_status(asked(v2::DescribeTopicStatusRequest::default())).await;
    assert_eq!(status.unwrap().into_inner().status.unwrap().code(), Code::Unauthorized);
}

#[tokio::test]
async fn credentials_are_taken_where_nobody_can_read_along() {
    let home = Home::new();
    let server = server(&home, &["--proxy-protocol-from", "127.0.0.1"]);
    let from_afar = b"PROXY TCP4 203.0.113.7 127.0.0.1 4660 8081\r\n";
    let plain = connect(&server.grpc, from_afar, None).await.unwrap();
    assert_eq!(route(plain, signed(of_topic(), "app", SECRET)).await, Code::Unauthorized);
    let tls = connect(&server.grpc, from_afar, Some(tls_client(None, b"h2"))).await.unwrap();
    assert_eq!(route(tls, signed(of_topic(), "app", SECRET)).await, Code::TopicNotFound);
}

#[tokio::test]
async fn http_is_no_back_door() {
    let home = Home::new();
    let server = server(&home, &[]);
    let http = reqwest::Client::new();
    for path in ["/v1/topics", "/", "/docs", "/openapi.json", "/metrics", "/v1/nowhere", "/version"] {
        let refused = ask(http.get(server.url(path))).await.unwrap().expect(401);
        assert_eq!(refused.code(), "unauthenticated", "{path}");
        assert!(refused.headers["www-authenticate"].to_str().unwrap().starts_with("Basic"));
        let guessed = http.get(server.url(path)).basic_auth("app", Some("guess"));
        assert_eq!(ask(guessed).await.unwrap().status, 401, "{path}");
    }
    for path in ["/healthz", "/readyz"] {
        ask(http.get(server.url(path))).await.unwrap().expect(200);
    }
    let put = || http.put(server.url("/v1/topics/t")).basic_auth("app", Some(SECRET));
    let elsewhere = ask(put().header("Sec-Fetch-Site", "cross-site")).await.unwrap().expect(403);
    assert_eq!(elsewhere.code(), "permission_denied");
    ask(http.put(server.url("/v1/topics/t"))).await.unwrap().expect(401);
    ask(http.get(server.url("/v1/topics/t")).basic_auth("app", Some(SECRET))).await.unwrap().expect(404);
    ask(put().header("Sec-Fetch-Site", "same-origin")).await.unwrap().expect(201);
    for path in ["/v1/topics", "/", "/metrics"] {
        ask(http.get(server.url(path)).basic_auth("app", Some(SECRET))).await.unwrap().expect(200);
    }
}
