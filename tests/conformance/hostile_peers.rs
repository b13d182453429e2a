//! Peers that break HTTP/2's manners on the gRPC port: they are cut off or starve alone. A client beside them is served all
//! the while, and the server's memory stays within bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use harness::h2::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_HEAD, FrameHead, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
    RST_STREAM, put_call, put_frame,
};
use harness::hostile::{CONNECTIONS, Peer, RESETS_AT_ONCE};
use harness::{Home, Server, ask};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// What a hostile peer may cost the server.
const GROWTH_MAX_KIB: u64 = 64 * 1024;
const RESETS: usize = 100_000;
/// What is sent to a server that should have hung up long ago.
const FLOOD_BYTES: usize = 256 << 20;
/// Of each peer in error: sixteen times as many errors as are let pass, and more.
const ERRORS_BYTES: usize = 4 << 20;
const DEAF_CONNECTIONS: usize = 20;
/// A socket that takes nothing for so long is full.
const FULL: Duration = Duration::from_secs(1);
/// Whoever was hung up on sooner would come again too soon.
const HUNG_UP_MIN: Duration = Duration::from_secs(4);
/// Twice what it may cost, all in all, if somebody keeps what nobody takes.
const LARGE_BYTES: usize = 192 << 10;
const LARGE_IN_A_BATCH: usize = 16;
const LARGE_BATCHES: usize = 48;
/// Ten times what a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_frame(&mut frame, kind, flags, stream, payload);
    frame
}

fn head_of(rpc: &str) -> Vec<u8> {
    h2::head_of(rpc, "hostile")
}

fn call(stream: u32, rpc: &str, message: &[u8]) -> Vec<u8> {
    let mut call = Vec::new();
    put_call(&mut call, stream, &head_of(rpc), message);
    call
}

fn client_streams() -> impl Iterator<Item = u32> {
    (1..).step_by(2)
}

async fn connect(server: &Server, settings: &[(u16, u32)]) -> TcpStream {
    let mut socket = TcpStream::connect(&server.grpc).await.expect("the server listens");
    socket.write_all(&h2::hello(settings)).await.expect("a socket just opened");
    socket
}

/// Reads until the server hangs up.
async fn hung_up(socket: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut head = [0; FRAME_HEAD];
    while socket.read_exact(&mut head).await.is_ok() {
        let mut payload = vec![0; FrameHead::of(&head).len];
        if socket.read_exact(&mut payload).await.is_err() {
            break;
        }
    }
}

fn anonymous_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// A well-behaved client that goes on sending, and the server's memory meanwhile.
struct Beside {
    ended: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    client: tokio::task::JoinHandle<()>,
    before_kib: u64,
}

impl Beside {
    async fn start(server: &Server) -> Beside {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
        let mut client = MessagingServiceClient::new(channel.connect().await.expect("the server listens"));
        let (ended, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let before_kib = anonymous_kib(server);
        let (its_ended, its_sent) = (ended.clone(), sent.clone());
        let client = tokio::spawn(async move {
            while !its_ended.load(Ordering::Relaxed) {
                let number = its_sent.load(Ordering::Relaxed);
                let mut request = tonic::Request::new(v2::SendMessageRequest { messages: vec![message(number)] });
                request.metadata_mut().insert("x-mq-client-id", "well-behaved".parse().unwrap());
                let reply = tokio::time::timeout(PATIENCE, client.send_message(request)).await;
                let reply = reply.expect("the client beside is served").expect("its connection stays").into_inner();
                assert_eq!(reply.status.map(|status| status.code), Some(v2::Code::Ok as i32));
                its_sent.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Beside { ended, sent, client, before_kib }
    }

    /// While the hostile peer is at its worst.
    #[track_caller]
    fn holds(&self, server: &Server) {
        let now = anonymous_kib(server);
        assert!(now <= self.before_kib + GROWTH_MAX_KIB, "{} KiB have become {now}", self.before_kib);
    }

    async fn end(self, server: &Server) {
        self.holds(server);
        // Served after the peer as well.
        let so_far = self.sent.load(Ordering::Relaxed);
        while self.sent.load(Ordering::Relaxed) < so_far + 10 && !self.client.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.ended.store(true, Ordering::Relaxed);
        self.client.await.expect("the client beside was served to the end");
    }
}

fn resource(name: &str) -> Option<v2::Resource> {
    Some(v2::Resource { name: name.into(), ..v2::Resource::default() })
}

fn message(number: u64) -> v2::Message {
    v2::Message {
        topic: resource("t"),
        system_properties: Some(v2::SystemProperties {
            message_id: format!("beside-{number}"),
            body_encoding: v2::Encoding::Identity as i32,
            message_type: v2::MessageType::Normal as i32,
            ..v2::SystemProperties::default()
        }),
        body: vec![b'x'; 1_024].into(),
        ..v2::Message::default()
    }
}

fn receive(batch_size: i32) -> Vec<u8> {
    v2::ReceiveMessageRequest {
        group: resource("g"),
        message_queue: Some(v2::MessageQueue { topic: resource("t"), ..v2::MessageQueue::default() }),
        batch_size,
        invisible_duration: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        long_polling_timeout: Some(prost_types::Duration { seconds: 0, nanos: 0 }),
        ..v2::ReceiveMessageRequest::default()
    }
    .encode_to_vec()
}

async fn started(home: &Home) -> Server {
    let server = Server::start(&home.data(), &["--durability", "memory"]);
    let topic = reqwest::Client::new().put(server.url("/v1/topics/t")).json(&serde_json::json!({}));
    ask(topic).await.expect("an answer").expect(201);
    server
}

#[tokio::test]
async fn streams_opened_and_reset_without_end() {
    let home = Home::new();
    let server = started(&home).await;
    let beside = Beside::start(&server).await;
    let mut sent = 0;
    while sent < RESETS {
        let (mut reader, mut writer) = connect(&server, &[]).await.into_split();
        let goodbye = tokio::spawn(async move { hung_up(&mut reader).await });
        for together in Peer::Resets.says() {
            if sent >= RESETS || writer.write_all(&together).await.is_err() {
                break;
            }
            sent += RESETS_AT_ONCE;
        }
        // It is hung up on when they pile up. Mostly they do not: what is read in a turn of the worker is done in it.
        drop(writer);
        tokio::time::timeout(PATIENCE, goodbye).await.expect("it hangs up").unwrap();
        beside.holds(&server);
    }
    beside.end(&server).await;
}

#[tokio::test]
async fn a_header_list_without_end() {
    let home = Home::new();
    let server = started(&home).await;
    let beside = Beside::start(&server).await;
    // Also one that has nothing in it.
    let nothing = frame(CONTINUATION, 0, 1, &[]);
    for replaced in [None, Some(nothing)] {
        let (mut reader, mut writer) = connect(&server, &[]).await.into_split();
        let goodbye = tokio::spawn(async move { hung_up(&mut reader).await });
        let mut said = Peer::Headers.says();
        let opening = said.next().expect("it begins");
        let mut sent = writer.write_all(&opening).await.map_or(0, |()| opening.len());
        for more in said {
            let more = replaced.as_ref().unwrap_or(&more);
            if sent >= FLOOD_BYTES || writer.write_all(more).await.is_err() {
                break;
            }
            sent += more.len();
        }
        assert!(sent < FLOOD_BYTES, "it took all of the {} MiB", FLOOD_BYTES >> 20);
        tokio::time::timeout(PATIENCE, goodbye).await.expect("it hangs up").unwrap();
        beside.holds(&server);
    }
    beside.end(&server).await;
}

/// Large answers are wanted, and never let through: not at all, or byte by byte.
#[tokio::test]
async fn windows_of_nothing() {
    for window in [0, 1] {
        let home = Home::new();
        let server = started(&home).await;
        let batch: Vec<_> =
            (0..LARGE_IN_A_BATCH).map(|_| serde_json::json!({"body": "x".repeat(LARGE_BYTES)})).collect();
        let batch = serde_json::json!({"messages": batch});
        let url = server.url("/v1/topics/t/messages/batch");
        for _ in 0..LARGE_BATCHES {
            ask(reqwest::Client::new().post(&url).json(&batch)).await.expect("an answer").expect(201);
        }
        let beside = Beside::start(&server).await;
        let mut sockets = Vec::new();
        for _ in 0..CONNECTIONS {
            let (mut reader, mut writer) = connect(&server, &[(INITIAL_WINDOW_SIZE, window)]).await.into_split();
            let goodbye = tokio::spawn(async move { hung_up(&mut reader).await });
            for stream in client_streams().take(1_000) {
                writer.write_all(&call(stream, "ReceiveMessage", &receive(1))).await.expect("it is listened to");
            }
            sockets.push((goodbye, writer));
            beside.holds(&server);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        beside.holds(&server);
        drop(sockets);
        beside.end(&server).await;
    }
}

/// It asks and asks, and would come again at once if it were hung up on at once.
#[tokio::test]
async fn a_client_that_never_reads() {
    let home = Home::new();
    let server = started(&home).await;
    let beside = Beside::start(&server).await;
    let mut socket = connect(&server, Peer::NeverReads.settings()).await;
    let begin = Instant::now();
    for asked in Peer::NeverReads.says() {
        match tokio::time::timeout(FULL, socket.write_all(&asked)).await {
            Ok(Ok(())) => beside.holds(&server),
            Ok(Err(hung_up)) => {
                assert!(begin.elapsed() >= HUNG_UP_MIN, "after {:?}: {hung_up}", begin.elapsed());
                break;
            }
            // Once the server no longer reads either, nothing goes through any more.
            Err(_) => break,
        }
    }
    beside.end(&server).await;
    drop(socket);
}

/// Each thing it says owes it an answer that says no, and it reads none. Its socket takes as little as sockets can, so that what
/// it is owed waits in the server.
#[tokio::test]
async fn errors_that_nobody_hears_of() {
    for peer in Peer::IN_ERROR {
        println!("{}", peer.name());
        let home = Home::new();
        let server = started(&home).await;
        let beside = Beside::start(&server).await;
        let address = server.grpc.parse().expect("an address");
        let mut deaf = JoinSet::new();
        for _ in 0..DEAF_CONNECTIONS {
            deaf.spawn(async move {
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.set_recv_buffer_size(1).expect("the kernel makes it as much as must be");
                let mut socket = socket.connect(address).await.expect("the server listens");
                socket.write_all(&h2::hello(peer.settings())).await.expect("a socket just opened");
                let mut sent = 0;
                for said in peer.says() {
                    let written = tokio::time::timeout(FULL, socket.write_all(&said)).await;
                    sent += said.len();
                    if sent >= ERRORS_BYTES || !matches!(written, Ok(Ok(()))) {
                        break;
                    }
                }
                socket
            });
        }
        let mut sockets = Vec::new();
        while !deaf.is_empty() {
            match tokio::time::timeout(Duration::from_millis(10), deaf.join_next()).await {
                Ok(socket) => sockets.extend(socket.transpose().expect("no peer panics")),
                Err(_) => beside.holds(&server),
            }
        }
        beside.holds(&server);
        // What it hears at last is the end: errors without end have one.
        for mut socket in sockets {
            let hung_up = async { while matches!(socket.read(&mut [0; 4_096]).await, Ok(1..)) {} };
            tokio::time::timeout(PATIENCE, hung_up).await.expect("it is cut off");
        }
        beside.end(&server).await;
    }
}

#[tokio::test]
async fn telemetry_streams_that_say_nothing() {
    let home = Home::new();
    let server = started(&home).await;
    let beside = Beside::start(&server).await;
    let mut sockets = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut socket = connect(&server, &[]).await;
        for opening in Peer::SilentStreams.says() {
            socket.write_all(&opening).await.expect("it is listened to");
        }
        sockets.push(socket);
        beside.holds(&server);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    beside.holds(&server);
    drop(sockets);
    beside.end(&server).await;
}

/// No message, half a message, one that is longer than it says, one that is longer than any may be.
#[tokio::test]
async fn messages_that_are_none() {
    let home = Home::new();
    let server = started(&home).await;
    let beside = Beside::start(&server).await;
    let (mut reader, mut writer) = connect(&server, &[]).await.into_split();
    let mut streams = client_streams();
    for rpc in ["SendMessage", "ReceiveMessage", "AckMessage", "Telemetry", "EndTransaction"] {
        for body in [
            &b""[..],
            b"\0",
            b"\0\0\0\0\x05\xff\xff\xff\xff\xff",
            b"\0\0\0\0\x02\x0a\x7f",
            b"\x01\0\0\0\x02\x0a\x7f",
            b"\x07\0\0\0\0",
            b"\0\xff\xff\xff\xff",
        ] {
            let stream = streams.next().expect("there are enough");
            writer.write_all(&frame(HEADERS, END_HEADERS, stream, &head_of(rpc))).await.unwrap();
            writer.write_all(&frame(DATA, END_STREAM, stream, body)).await.unwrap();
        }
    }
    // Each is answered, and none by hanging up: a call behind them all is.
    let last = streams.next().expect("there are enough");
    writer.write_all(&call(last, "Heartbeat", &v2::HeartbeatRequest::default().encode_to_vec())).await.unwrap();
    let mut ended = std::collections::BTreeSet::new();
    let all = async {
        let mut head = [0; FRAME_HEAD];
        while !ended.contains(&last) || ended.len() < last.div_ceil(2) as usize {
            reader.read_exact(&mut head).await.expect("it does not hang up");
            let FrameHead { len, kind, flags, stream } = FrameHead::of(&head);
            reader.read_exact(&mut vec![0; len]).await.expect("whole frames");
            assert_ne!(kind, GOAWAY, "it does not hang up");
            if kind == RST_STREAM || kind == HEADERS && flags & END_STREAM != 0 {
                ended.insert(stream);
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("answered up to {last}"));
    beside.end(&server).await;
}
