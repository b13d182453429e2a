//! How many may connect and how long they may take, tried on real sockets: whoever dawdles is cut off, whoever waits for an
//! answer never is. And what a connection carries: the largest message, and pings at any pace.

use std::time::{Duration, Instant};

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use gantry_proto::grpc::v2::receive_message_response::Content;
use harness::h2::{
    self, DATA, END_HEADERS, FRAME_HEAD, FrameHead, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, put_call, put_frame,
};
use harness::{Home, Server, ask, bytes_of};
use prost::Message as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use v2::Code;

use crate::delivery::{asked, resource};

/// Many times what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than every limit of `HASTY`.
const LONG: Duration = Duration::from_secs(3);
const HASTY: [&str; 6] = ["--opening-timeout", "1s", "--head-timeout", "1s", "--idle-timeout", "1s"];
const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

fn http(server: &Server) -> &str {
    server.http.trim_start_matches("http://")
}

async fn connect(address: &str, first: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("the server listens");
    // Whom the server has cut off already finds out by reading.
    let _ = socket.write_all(first).await;
    socket
}

/// Whether a request on this connection is answered; `false`: it was hung up.
async fn is_served(socket: &mut TcpStream) -> bool {
    let _ = socket.write_all(GET).await;
    let answer = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        let head = String::from_utf8(head).expect("a head of HTTP/1");
        let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        socket.read_exact(&mut vec![0; len.parse().expect("a number")]).await?;
        Ok::<_, std::io::Error>(head)
    };
    match tokio::time::timeout(PATIENCE, answer).await.expect("an answer or an end") {
        Ok(head) => assert!(head.starts_with("HTTP/1.1 200"), "{head}"),
        Err(_) => return false,
    }
    true
}

/// What the server says until it hangs up.
async fn until_hung_up(mut socket: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // It may leave with a reset.
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut said)).await.expect("the server hangs up");
    said
}

async fn scrape(socket: &mut TcpStream) -> String {
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn so_many_connections_and_no_more_until_one_ends() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--connections-max", "3"]);
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(connect(http(&server), b"").await);
        assert!(is_served(held.last_mut().unwrap()).await);
    }
    // Both ports together.
    let grpc = connect(&server.grpc, &h2::hello(&[])).await;
    let mut byte = [0];
    assert_eq!(tokio::time::timeout(PATIENCE, grpc.peek(&mut byte)).await.unwrap().unwrap(), 1, "its settings");
    for address in [http(&server), &server.grpc] {
        assert!(until_hung_up(connect(address, b"").await).await.is_empty());
    }
    assert!(is_served(&mut held[0]).await, "those who are in stay in");
    drop(grpc);
    let begin = Instant::now();
    loop {
        let mut next = connect(http(&server), b"").await;
        if is_served(&mut next).await {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "its place is never free again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let metrics = scrape(&mut held[0]).await;
    assert!(metrics.contains("gantry_connections_refused_total{reason=\"connections_max\"}"), "{metrics}");
    assert!(metrics.contains("\ngantry_connections "), "{metrics}");
    let log = server.log();
    assert!(log.contains("a connection is refused") && log.contains("connections_max=3"), "{log}");
    assert_eq!(log.matches("a connection is refused").count(), 1, "a flood is told of once: {log}");
}

#[tokio::test]
async fn so_many_of_one_address_which_is_the_clients_also_behind_a_load_balancer() {
    let home = Home::new();
    let flags = ["--connections-per-address-max", "2", "--proxy-protocol-from", "127.0.0.0/8"];
    let server = Server::start(&home.data(), &flags);
    let of = |address: &str| format!("PROXY TCP4 {address} 127.0.0.1 4660 8080\r\n").into_bytes();
    let mut held = Vec::new();
    let mut may = async |first: &[u8]| {
        let mut socket = connect(http(&server), first).await;
        let is_served = is_served(&mut socket).await;
        held.push(socket);
        is_served
    };
    assert!(may(&of("203.0.113.7")).await && may(&of("203.0.113.7")).await);
    assert!(!may(&of("203.0.113.7")).await);
    assert!(may(&of("203.0.113.8")).await, "another address");
    for _ in 0..4 {
        assert!(may(b"PROXY UNKNOWN\r\n").await, "the load balancer's own health checks");
        assert!(may(&of("127.0.0.1")).await, "this machine");
    }
    assert!(server.log().contains("connections_per_address_max=2"), "{}", server.log());
}

#[tokio::test]
async fn who_does_not_come_to_the_point_is_cut_off() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--opening-timeout", "1s", "--head-timeout", "1s"]);
    for address in [http(&server), &server.grpc] {
        for first in [&b""[..], &PREFACE[..3], &PREFACE[..23], b"\x16\x03\x01"] {
            until_hung_up(connect(address, first).await).await;
        }
    }
    // The head of a request, on a new connection and on one that has been served. What is idle here may be so for a minute.
    until_hung_up(connect(http(&server), b"GET /healthz HTTP/1.1\r\nHost").await).await;
    let mut served = connect(http(&server), b"").await;
    assert!(is_served(&mut served).await);
    tokio::time::sleep(LONG).await;
    assert!(is_served(&mut served).await, "idling is not dawdling");
    served.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let begin = Instant::now();
    until_hung_up(served).await;
    assert!(begin.elapsed() < Duration::from_secs(30), "not its idle time's end");
}

#[tokio::test]
async fn who_idles_over_http_1_is_cut_off() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--idle-timeout", "1s"]);
    let mut socket = connect(http(&server), b"").await;
    assert!(is_served(&mut socket).await);
    let begin = Instant::now();
    until_hung_up(socket).await;
    assert!(begin.elapsed() < Duration::from_secs(30), "not the usual minute");
}

#[tokio::test]
async fn a_body_that_stops_coming_is_refused_and_stores_nothing() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    let client = reqwest::Client::new();
    ask(client.put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let head = b"POST /v1/topics/t/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nthe beginning";
    let said = until_hung_up(connect(http(&server), head).await).await;
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("too slowly"), "{said}");
    let queues = ask(client.get(server.url("/v1/topics/t/queues"))).await.unwrap().expect(200).json();
    let stored: u64 =
        queues["items"].as_array().unwrap().iter().map(|queue| queue["maxOffset"].as_u64().unwrap()).sum();
    assert_eq!(stored, 0);
}

/// Frames until one ends this stream's answer, and what comes for it then.
async fn answer_and_reset(socket: &mut TcpStream, stream: u32) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while frames.last().is_none_or(|(kind, _)| *kind != RST_STREAM) {
        let mut head = [0; FRAME_HEAD];
        socket.read_exact(&mut head).await.expect("the connection stays");
        let head = FrameHead::of(&head);
        let mut payload = vec![0; head.len];
        socket.read_exact(&mut payload).await.expect("the connection stays");
        assert_ne!(head.kind, GOAWAY, "the connection stays");
        if head.stream == stream {
            frames.push((head.kind, payload));
        }
    }
    frames
}

/// The kinds of frames that come until the server hangs up, of which pings are answered: it waits for that.
async fn frames_until_hung_up(mut socket: TcpStream) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut head = [0; FRAME_HEAD];
    let read = async {
        while socket.read_exact(&mut head).await.is_ok() {
            let head = FrameHead::of(&head);
            kinds.push(head.kind);
            let mut payload = vec![0; head.len];
            socket.read_exact(&mut payload).await.expect("whole frames");
            let mut pong = Vec::new();
            put_frame(&mut pong, PING, h2::ACK, 0, &payload);
            if head.kind == PING {
                // It may have hung up by now.
                let _ = socket.write_all(&pong).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the server hangs up");
    kinds
}

/// Half of what is said to come, and nothing more.
struct Stalls(Option<bytes::Bytes>);

impl hyper::body::Body for Stalls {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, Self::Error>>> {
        match self.0.take() {
            Some(part) => std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(part)))),
            None => std::task::Poll::Pending,
        }
    }
}

/// The message of a call that began to come, over gRPC. Official clients try a refused send again.
#[tokio::test]
async fn a_message_that_stops_coming_is_refused_and_its_stream_reset() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    ask(reqwest::Client::new().put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
    let mut channel = channel.connect().await.unwrap();
    let half = b"\0\0\0\0\x64the beginning";
    for (rpc, part) in [("SendMessage", &half[..]), ("SendMessage", b""), ("Telemetry", half), ("Telemetry", b"\0\0")] {
        let path = format!("http://gantry/apache.rocketmq.v2.MessagingService/{rpc}");
        let request = tonic::codegen::http::Request::post(path).header("content-type", "application/grpc");
        let request = request.header("te", "trailers").header("x-mq-client-id", "slow");
        let body = tonic::body::Body::new(Stalls(Some(part.into())));
        let answer = async {
            use tonic::codegen::Service as _;
            std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
            let mut answer = channel.call(request.body(body).unwrap()).await.expect("an answer");
            // That of Telemetry has begun before anything came.
            let mut status = answer.headers().clone();
            while let Some(frame) = std::future::poll_fn(|context| {
                hyper::body::Body::poll_frame(std::pin::Pin::new(answer.body_mut()), context)
            })
            .await
            {
                status.extend(frame.expect("a whole answer").into_trailers().unwrap_or_default());
            }
            status
        };
        let status = tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time");
        assert_eq!(status["grpc-status"], "4", "{rpc}: {status:?}");
        let said = status["grpc-message"].to_str().unwrap();
        assert!(said.contains("too%20slowly"), "{rpc}: {said}");
    }
    // Frame by frame: the answer is whole, and then the peer hears that nobody waits for the rest. The connection stays.
    let mut socket = connect(&server.grpc, &h2::hello(&[])).await;
    let mut opening = Vec::new();
    put_frame(&mut opening, HEADERS, END_HEADERS, 1, &h2::head_of("SendMessage", "slow"));
    put_frame(&mut opening, DATA, 0, 1, half);
    socket.write_all(&opening).await.unwrap();
    let frames = tokio::time::timeout(PATIENCE, answer_and_reset(&mut socket, 1)).await.expect("an answer in time");
    let no_error = 0_u32.to_be_bytes().to_vec();
    assert!(matches!(&frames[..], [(HEADERS, _), (RST_STREAM, code)] if *code == no_error), "{frames:?}");
    let queues = ask(reqwest::Client::new().get(server.url("/v1/topics/t/queues"))).await.unwrap().expect(200).json();
    let stored: u64 =
        queues["items"].as_array().unwrap().iter().map(|queue| queue["maxOffset"].as_u64().unwrap()).sum();
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn a_connection_that_is_too_old_takes_no_new_calls_and_ends_with_those_it_has() {
    let home = Home::new();
    let server = Server::start(&home.data(), &["--connection-age-max", "2s"]);
    ask(reqwest::Client::new().put(server.url("/v1/topics/t"))).await.unwrap().expect(201);

    // One that has nothing to do is told, and ended.
    let idle = (
        frames_until_hung_up(connect(&server.grpc, &h2::hello(&[])).await),
        until_hung_up(connect(http(&server), GET).await),
    );
    // One at work: its client goes elsewhere with what is new, and what waits on it is served.
    let client = MessagingServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let mut telemetry = client.clone().telemetry(asked(tokio_stream::pending())).await.unwrap().into_inner();
    let parked = async {
        let mut frames = client.clone().receive_message(asked(receive(20))).await.expect("a stream").into_inner();
        let mut bodies = 0;
        while let Some(frame) = frames.message().await.expect("it is not cut off") {
            bodies += usize::from(matches!(frame.content, Some(Content::Message(_))));
        }
        bodies
    };
    let busy = async {
        let begin = Instant::now();
        let mut beats = 0;
        while begin.elapsed() < LONG * 2 {
            let beat = async || client.clone().heartbeat(asked(v2::HeartbeatRequest::default())).await;
            // This client may give up what it has not sent yet when its connection is closed to new calls.
            let beat = match beat().await {
                Err(status) if status.code() == tonic::Code::Cancelled => beat().await,
                answered => answered,
            };
            assert_eq!(beat.expect("an answer").into_inner().status.unwrap().code(), Code::Ok);
            beats += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let sent = client.clone().send_message(asked(message("late", b"late".to_vec()))).await;
        assert_eq!(sent.expect("an answer").into_inner().status.unwrap().code(), Code::Ok);
        beats
    };
    let told = async {
        let last = telemetry.message().await.expect("no transport error").and_then(|frame| frame.command);
        assert!(telemetry.message().await.expect("a whole stream").is_none());
        last
    };
    let (received, beats, last, said) = tokio::join!(parked, busy, told, async { (idle.0.await, idle.1.await) });
    assert_eq!(received, 1);
    assert!(beats > 10);
    assert!(
        matches!(&last, Some(v2::telemetry_command::Command::ReconnectEndpointsCommand(said)) if said.nonce.contains("old")),
        "{last:?}"
    );
    assert!(said.0.contains(&GOAWAY), "{:?}", said.0);
    assert!(said.1.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&said.1));
}

fn message(id: &str, body: Vec<u8>) -> v2::SendMessageRequest {
    let system = v2::SystemProperties { message_id: id.into(), ..v2::SystemProperties::default() };
    let user_properties = [("padding".to_string(), "p".repeat(10_000))].into();
    let system_properties = Some(system);
    v2::SendMessageRequest {
        messages: vec![v2::Message { topic: resource("t"), body: body.into(), user_properties, system_properties }],
    }
}

fn receive(seconds: i64) -> v2::ReceiveMessageRequest {
    let duration = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    v2::ReceiveMessageRequest {
        group: resource("g"),
        message_queue: Some(v2::MessageQueue { topic: resource("t"), ..v2::MessageQueue::default() }),
        batch_size: 32,
        invisible_duration: duration(60),
        long_polling_timeout: duration(seconds),
        ..v2::ReceiveMessageRequest::default()
    }
}

#[tokio::test]
async fn whoever_waits_for_an_answer_is_never_cut_off() {
    let home = Home::new();
    let flags = [&HASTY[..], &["--body-rate-min", "1MiB"]].concat();
    let server = Server::start(&home.data(), &flags);
    let http = reqwest::Client::new();
    ask(http.put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    ask(http.put(server.url("/v1/topics/other"))).await.unwrap().expect(201);

    let mut client = MessagingServiceClient::connect(format!("http://{}", server.grpc)).await.unwrap();
    let mut telemetry = client.telemetry(asked(tokio_stream::pending())).await.unwrap().into_inner();
    let polled = client.receive_message(asked(receive(30)));
    let wait = http.post(server.url("/v1/groups/g/receive")).header("prefer", "wait=30");
    let waited = ask(wait.json(&json!({"topic": "other"})));
    let later = async {
        // Six times as long: a body's window counts as well.
        tokio::time::sleep(LONG * 2).await;
        for topic in ["t", "other"] {
            let publish = reqwest::Client::new().post(server.url(&format!("/v1/topics/{topic}/messages")));
            ask(publish.body("late")).await.unwrap().expect(201);
        }
    };
    let frames = async {
        let mut frames = polled.await.expect("a stream").into_inner();
        let mut bodies = Vec::new();
        while let Some(frame) = frames.message().await.expect("it is not cut off") {
            bodies.extend(match frame.content {
                Some(Content::Message(message)) => Some(message.body),
                _ => None,
            });
        }
        bodies
    };
    let (bodies, waited, ()) = tokio::join!(frames, waited, later);
    assert_eq!(bodies, ["late"]);
    assert_eq!(waited.expect("it is not cut off").expect(200).json()["messages"][0]["body"], "late");
    let quiet = tokio::time::timeout(Duration::from_millis(1), telemetry.message()).await;
    assert!(quiet.is_err(), "the stream is open: {quiet:?}");
    assert_eq!(
        client.heartbeat(asked(v2::HeartbeatRequest::default())).await.unwrap().into_inner().status.unwrap().code(),
        Code::Ok
    );
}

#[tokio::test]
async fn the_largest_message_goes_in_and_out_beside_others_of_its_size() {
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    ask(reqwest::Client::new().put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
    let client = MessagingServiceClient::new(channel.connect().await.unwrap()).max_decoding_message_size(64 << 20);
    // More at once than the connection's window holds.
    let bodies: Vec<_> = (0..3).map(|seed| bytes_of(seed, 4 << 20)).collect();
    let send = async |id: usize| {
        let sent = client.clone().send_message(asked(message(&id.to_string(), bodies[id].clone()))).await;
        assert_eq!(sent.expect("an answer").into_inner().status.unwrap().code(), Code::Ok);
    };
    tokio::join!(send(0), send(1), send(2));
    let mut seen = std::collections::BTreeMap::new();
    while seen.len() < bodies.len() {
        let mut frames = client.clone().receive_message(asked(receive(5))).await.expect("a stream").into_inner();
        while let Some(frame) = frames.message().await.expect("no transport error") {
            if let Some(Content::Message(message)) = frame.content {
                let id: usize = message.system_properties.unwrap().message_id.parse().unwrap();
                assert!(message.body == bodies[id], "message {id} is what was sent");
                seen.insert(id, message.user_properties["padding"].len());
            }
        }
    }
    assert!(seen.values().all(|padding| *padding == 10_000));
}

#[tokio::test]
async fn pings_are_answered_at_any_pace_also_where_no_call_runs() {
    const PINGS: usize = 10_000;
    let home = Home::new();
    let server = Server::start(&home.data(), &[]);
    ask(reqwest::Client::new().put(server.url("/v1/topics/t"))).await.unwrap().expect(201);
    let (mut from_server, mut to_server) = connect(&server.grpc, &h2::hello(&[])).await.into_split();
    let mut pings = Vec::new();
    for number in 0..PINGS as u64 {
        put_frame(&mut pings, PING, 0, 0, &number.to_be_bytes());
    }
    put_call(&mut pings, 1, &h2::head_of("SendMessage", "eager"), &message("after", b"body".to_vec()).encode_to_vec());
    let write = async { to_server.write_all(&pings).await.expect("the connection stays") };
    let read = async {
        let mut answered = 0;
        loop {
            let mut head = [0; FRAME_HEAD];
            from_server.read_exact(&mut head).await.expect("the connection stays");
            let head = FrameHead::of(&head);
            let mut payload = vec![0; head.len];
            from_server.read_exact(&mut payload).await.expect("the connection stays");
            match head.kind {
                PING if head.flags == h2::ACK => {
                    assert_eq!(payload, (answered as u64).to_be_bytes());
                    answered += 1;
                }
                GOAWAY => panic!("refused after {answered} pings: {}", String::from_utf8_lossy(&payload)),
                HEADERS => break,
                _ => {}
            }
        }
        answered
    };
    let (answered, ()) = tokio::join!(async { tokio::time::timeout(PATIENCE, read).await.expect("in time") }, write);
    assert_eq!(answered, PINGS, "each in its turn, and then the call");
}
