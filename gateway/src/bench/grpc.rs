//! A minimal honest client of `apache.rocketmq.v2` over HTTP/2: says who it is, asks for the route, tells its settings
//! on a Telemetry stream, beats its heart, and uses nothing that RocketMQ's own servers do not know.
//!
//! It stays at the address it was given: what is measured is that server.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use gantry_broker_core::clock::{Clock as _, SystemClock};
use gantry_broker_core::random::{Random as _, SystemRandom};
use gantry_proto::grpc::v2;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use prost::Message;
use tokio::net::TcpStream;
use v2::settings::PubSub;
use v2::telemetry_command::Command;

use super::client::{Delivery, Failure, INVISIBLE_DURATION, Receive, Side};
use super::outbox::{Outbox, filler};
use super::plan::Plan;
use super::wire::{self, Frame, MESSAGE_NOT_FOUND, PREFIX_LEN, refused_entries, refused_messages};
use crate::front::grpc::endpoints;

/// As the servers of this house have them: smaller ones would measure the waiting for updates.
const WINDOW_BYTES: u32 = 4 << 20;
const FRAME_BYTES_MAX: u32 = 64 << 10;
/// Official clients beat this often.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// Official clients wait this long for the first settings.
const SETTINGS_MAX: Duration = Duration::from_secs(3);
const UNIMPLEMENTED: &str = "grpc_UNIMPLEMENTED";

/// Cheap to clone: one for each call at once.
#[derive(Clone)]
pub struct Caller {
    requests: SendRequest<Bytes>,
    known: Arc<Known>,
}

struct Known {
    timeout: Duration,
    topic: v2::Resource,
    /// A readable queue of each broker; one of nowhere where there is no route to ask for.
    queues: Vec<v2::MessageQueue>,
    send: Request<()>,
    receive: Request<()>,
    ack: Request<()>,
}

pub async fn connect(plan: &Plan, side: Side, group: &str, callers: usize) -> Result<Caller, Failure> {
    let socket = super::dial(&plan.address).await?;
    let (requests, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .handshake::<TcpStream, Bytes>(socket)
        .await
        .map_err(Failure::connection)?;
    // Its end is seen by every call that is under way.
    tokio::spawn(connection);

    let topic = v2::Resource { name: plan.topic.clone(), ..v2::Resource::default() };
    let group = v2::Resource { name: group.into(), ..v2::Resource::default() };
    let headers = headers();
    let timeout = plan.timeout;
    let asking = |method: &str, timeout| request(&plan.address, method, &headers, Some(timeout));
    let known = Known {
        timeout,
        topic: topic.clone(),
        queues: vec![v2::MessageQueue { topic: Some(topic.clone()), ..v2::MessageQueue::default() }],
        send: asking("SendMessage", timeout)?,
        receive: asking("ReceiveMessage", plan.wait + timeout)?,
        ack: asking("AckMessage", timeout)?,
    };
    let mut caller = Caller { requests, known: Arc::new(known) };
    let access_point = endpoints(&plan.address).map_err(Failure::connection)?;
    let route = v2::QueryRouteRequest { topic: Some(topic.clone()), endpoints: Some(access_point.clone()) };
    if let Some(queues) = caller.route(asking("QueryRoute", timeout)?, &route, side).await? {
        let known = Arc::get_mut(&mut caller.known).expect("nobody else has it yet");
        known.queues = queues;
    }
    let allowed = caller.requests.current_max_send_streams();
    // Room for the Telemetry stream and the heartbeat.
    if allowed < callers + 2 {
        return Err(Failure::answer(
            "streams",
            format!("the server allows {allowed} calls at once on a connection: use more connections with fewer calls"),
        ));
    }

    let settings = settings(side, &topic, &group, access_point);
    caller.tell_settings(request(&plan.address, "Telemetry", &headers, None)?, settings).await?;
    let is_consumer = side == Side::Consumer;
    let client_type = if is_consumer { v2::ClientType::SimpleConsumer } else { v2::ClientType::Producer };
    let heartbeat = v2::HeartbeatRequest { group: is_consumer.then_some(group), client_type: client_type.into() };
    let (heart, request) = (caller.clone(), asking("Heartbeat", timeout)?);
    tokio::spawn(async move {
        let mut heart = heart;
        loop {
            tokio::time::sleep(HEARTBEAT_INTERVAL).await;
            // A server that knows no heartbeat is no worse; one that is gone is seen by every call.
            if heart.unary(&request, framed(&heartbeat)).await.is_err_and(|failure| failure.is_final) {
                return;
            }
        }
    });
    Ok(caller)
}

impl Caller {
    pub fn outbox(&self, plan: &Plan) -> Outbox {
        let mut unique = [0; 8];
        SystemRandom.fill(&mut unique);
        let now = SystemClock.wall().0;
        let born = prost_types::Timestamp { seconds: now / 1_000, nanos: (now % 1_000) as i32 * 1_000_000 };
        // RocketMQ's form: 01, who, when; the rest counts messages.
        let who = u64::from_be_bytes(unique) >> 16;
        let message_id = format!("01{who:012X}{:04X}{:08X}{:08X}", std::process::id() & 0xffff, now / 1_000, 0);
        let message_id = message_id[message_id.len() - 34..].to_string();
        let message = v2::Message {
            topic: Some(self.known.topic.clone()),
            body: filler(plan.size).into(),
            system_properties: Some(v2::SystemProperties {
                message_id,
                body_encoding: v2::Encoding::Identity.into(),
                message_type: v2::MessageType::Normal.into(),
                born_timestamp: Some(born),
                born_host: "127.0.0.1".into(),
                ..v2::SystemProperties::default()
            }),
            ..v2::Message::default()
        };
        Outbox::grpc(message, plan.batch)
    }

    pub async fn send(&mut self, call: Bytes, count: usize) -> Result<Vec<(usize, Failure)>, Failure> {
        let known = self.known.clone();
        let answer = self.unary(&known.send, call).await?;
        refused_messages(&answer, count)
    }

    pub fn receiving(&self, plan: &Plan, group: &str, messages_max: usize, turn: usize) -> Receive {
        let group = Some(v2::Resource { name: group.into(), ..v2::Resource::default() });
        let request = v2::ReceiveMessageRequest {
            group: group.clone(),
            message_queue: Some(self.known.queues[turn % self.known.queues.len()].clone()),
            filter_expression: Some(v2::FilterExpression {
                r#type: v2::FilterType::Tag.into(),
                expression: "*".into(),
            }),
            batch_size: i32::try_from(messages_max).expect("at most 32"),
            invisible_duration: Some(wire_duration(INVISIBLE_DURATION)),
            long_polling_timeout: Some(wire_duration(plan.wait)),
            ..v2::ReceiveMessageRequest::default()
        };
        let ack_head = v2::AckMessageRequest { group, topic: Some(self.known.topic.clone()), entries: Vec::new() };
        let ack_head = ack_head.encode_to_vec().into();
        Receive { path: String::new(), request: framed(&request), ack_head, wait: plan.wait }
    }

    pub async fn receive(&mut self, receive: &Receive) -> Result<Vec<Delivery>, Failure> {
        let known = self.known.clone();
        let answer = self.answer(&known.receive, receive.request.clone(), known.timeout + receive.wait).await?;
        let (mut status, mut deliveries) = (None, Vec::new());
        for frame in frames(answer) {
            match wire::received(&frame?)? {
                Frame::Status(first) => status = Some(first),
                Frame::Message(delivery) => deliveries.push(delivery),
                Frame::Other => {}
            }
        }
        match status {
            Some(Ok(())) => Ok(deliveries),
            Some(Err(failure)) if failure.code == MESSAGE_NOT_FOUND => Ok(Vec::new()),
            Some(Err(failure)) => Err(failure),
            None => Err(Failure::answer("garbled_answer", "the stream has no status")),
        }
    }

    pub async fn ack(&mut self, receive: &Receive, list: &[Delivery]) -> Result<Vec<(usize, Failure)>, Failure> {
        let known = self.known.clone();
        let answer = self.unary(&known.ack, wire::ack(&receive.ack_head, list)).await?;
        refused_entries(&answer, 3, list.len())
    }

    /// `None`: the server has no such call.
    async fn route(
        &mut self,
        request: Request<()>,
        route: &v2::QueryRouteRequest,
        side: Side,
    ) -> Result<Option<Vec<v2::MessageQueue>>, Failure> {
        let answer = match self.unary(&request, framed(route)).await {
            Ok(answer) => answer,
            Err(failure) if failure.code == UNIMPLEMENTED => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let garbled = |error: prost::DecodeError| Failure::answer("garbled_answer", error.to_string());
        let route = v2::QueryRouteResponse::decode(answer).map_err(garbled)?;
        let status = route.status.unwrap_or_default();
        if status.code() != v2::Code::Ok {
            return Err(Failure::answer(status.code().as_str_name(), status.message));
        }
        let fits = |queue: &v2::MessageQueue| match (queue.permission(), side) {
            (v2::Permission::ReadWrite, _) => true,
            (permission, Side::Consumer) => permission == v2::Permission::Read,
            (permission, Side::Producer) => permission == v2::Permission::Write,
        };
        let mut queues: Vec<v2::MessageQueue> = Vec::new();
        for queue in route.message_queues.into_iter().filter(fits) {
            let broker = |queue: &v2::MessageQueue| queue.broker.as_ref().map(|broker| broker.name.clone());
            if queues.iter().all(|known| broker(known) != broker(&queue)) {
                queues.push(queue);
            }
        }
        match queues.is_empty() {
            true => Err(Failure::answer("FORBIDDEN", "the topic has no message queue for this")),
            false => Ok(Some(queues)),
        }
    }

    /// Waits for the server's settings, and keeps the stream open for as long as the connection is.
    async fn tell_settings(&mut self, request: Request<()>, settings: v2::Settings) -> Result<(), Failure> {
        let mut requests = self.requests.clone().ready().await.map_err(Failure::connection)?;
        let (answer, mut to_server) = requests.send_request(request, false).map_err(Failure::connection)?;
        let command = v2::TelemetryCommand { command: Some(Command::Settings(settings)), ..Default::default() };
        to_server.send_data(framed(&command), false).map_err(Failure::connection)?;
        let first = async {
            let mut from_server = answer.await.map_err(Failure::connection)?.into_body();
            let frame = from_server.data().await.transpose().map_err(Failure::connection)?;
            let refusal = match frame {
                Some(frame) => {
                    let _ = from_server.flow_control().release_capacity(frame.len());
                    let command = frames(frame).next().and_then(Result::ok);
                    let status = command.and_then(|command| v2::TelemetryCommand::decode(command).ok()?.status);
                    status.filter(|status| status.code() != v2::Code::Ok)
                }
                None => None,
            };
            match refusal {
                Some(status) => Err(Failure::answer(status.code().as_str_name(), status.message)),
                None => Ok(from_server),
            }
        };
        match tokio::time::timeout(SETTINGS_MAX, first).await {
            Ok(Ok(from_server)) => {
                tokio::spawn(listen(to_server, from_server));
                Ok(())
            }
            Ok(Err(failure)) => Err(failure),
            // A server without settings measures as well.
            Err(_) => Ok(()),
        }
    }

    /// The one message of an answer, without its prefix.
    async fn unary(&mut self, request: &Request<()>, call: Bytes) -> Result<Bytes, Failure> {
        let timeout = self.known.timeout;
        let mut answer = self.answer(request, call, timeout).await?;
        if answer.len() < PREFIX_LEN {
            return Err(Failure::answer("garbled_answer", "the answer holds no message"));
        }
        answer.advance(PREFIX_LEN);
        Ok(answer)
    }

    async fn answer(&mut self, request: &Request<()>, call: Bytes, timeout: Duration) -> Result<Bytes, Failure> {
        match tokio::time::timeout(timeout, self.exchange(request, call)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::timeout(timeout)),
        }
    }

    async fn exchange(&mut self, request: &Request<()>, call: Bytes) -> Result<Bytes, Failure> {
        std::future::poll_fn(|context| self.requests.poll_ready(context)).await.map_err(transport)?;
        let (answer, mut body) = self.requests.send_request(request.clone(), false).map_err(transport)?;
        body.send_data(call, true).map_err(transport)?;
        let (head, mut body) = answer.await.map_err(transport)?.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(Failure::answer(format!("http_{}", head.status.as_u16()), "this is no gRPC server"));
        }
        if let Some(status) = head.headers.get("grpc-status") {
            check(status, &head.headers)?;
        }
        let mut whole = Bytes::new();
        while let Some(piece) = body.data().await {
            let piece = piece.map_err(transport)?;
            // An error would mean that the stream has ended: then nothing has to be released.
            let _ = body.flow_control().release_capacity(piece.len());
            if whole.is_empty() {
                whole = piece;
            } else {
                let mut joined = whole.try_into_mut().unwrap_or_else(|whole| BytesMut::from(&whole[..]));
                joined.extend_from_slice(&piece);
                whole = joined.freeze();
            }
        }
        if let Some(trailers) = body.trailers().await.map_err(transport)? {
            match trailers.get("grpc-status") {
                Some(status) => check(status, &trailers)?,
                None => return Err(Failure::answer("garbled_answer", "the answer has no grpc-status")),
            }
        }
        Ok(whole)
    }
}

async fn listen(to_server: SendStream<Bytes>, mut from_server: RecvStream) {
    while let Some(Ok(frame)) = from_server.data().await {
        let _ = from_server.flow_control().release_capacity(frame.len());
    }
    drop(to_server);
}

fn transport(error: h2::Error) -> Failure {
    let is_one_stream = error.is_reset();
    let failure = Failure::connection(&error);
    // One reset stream leaves the others alone.
    if is_one_stream { Failure { code: "reset".into(), is_final: false, ..failure } } else { failure }
}

fn check(status: &HeaderValue, headers: &HeaderMap) -> Result<(), Failure> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    if status == "0" {
        return Ok(());
    }
    let number = status.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    let name = number.and_then(|number| NAMES.get(number)).unwrap_or(&"UNKNOWN");
    let detail = headers.get("grpc-message").map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
    Err(Failure::answer(format!("grpc_{name}"), detail.unwrap_or_default()))
}

/// The gRPC messages in a body, without their prefixes.
fn frames(mut body: Bytes) -> impl Iterator<Item = Result<Bytes, Failure>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let len = body.get(1..PREFIX_LEN).map(|len| u32::from_be_bytes(len.try_into().expect("four bytes")) as usize);
        match len {
            Some(len) if body.len() >= PREFIX_LEN + len => {
                body.advance(PREFIX_LEN);
                Some(Ok(body.split_to(len)))
            }
            _ => {
                body.clear();
                Some(Err(Failure::answer("garbled_answer", "the last message is cut off")))
            }
        }
    })
}

fn framed(message: &impl Message) -> Bytes {
    let mut bytes = vec![0; PREFIX_LEN];
    message.encode(&mut bytes).expect("a vector grows");
    wire::write_prefix(&mut bytes);
    bytes.into()
}

fn headers() -> HeaderMap {
    let mut unique = [0; 6];
    SystemRandom.fill(&mut unique);
    let unique: String = unique.iter().map(|byte| format!("{byte:02x}")).collect();
    let client_id = format!("gantry-bench@{}@0@{unique}", std::process::id());
    let mut headers = HeaderMap::new();
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("x-mq-client-id", HeaderValue::try_from(client_id).expect("visible ASCII"));
    headers.insert("x-mq-language", HeaderValue::from_static("RUST"));
    headers.insert("x-mq-client-version", HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    headers.insert("x-mq-protocol", HeaderValue::from_static("v2"));
    headers
}

fn request(
    address: &str,
    method: &str,
    headers: &HeaderMap,
    timeout: Option<Duration>,
) -> Result<Request<()>, Failure> {
    let path = format!("http://{address}/apache.rocketmq.v2.MessagingService/{method}");
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::try_from(path).map_err(Failure::connection)?;
    *request.headers_mut() = headers.clone();
    if let Some(timeout) = timeout {
        let text = format!("{}m", timeout.as_millis().min(99_999_999));
        request.headers_mut().insert("grpc-timeout", HeaderValue::try_from(text).expect("digits"));
    }
    Ok(request)
}

fn settings(side: Side, topic: &v2::Resource, group: &v2::Resource, access_point: v2::Endpoints) -> v2::Settings {
    let (client_type, pub_sub) = match side {
        Side::Producer => {
            let publishing = v2::Publishing { topics: vec![topic.clone()], ..v2::Publishing::default() };
            (v2::ClientType::Producer, PubSub::Publishing(publishing))
        }
        Side::Consumer => {
            let all = v2::FilterExpression { r#type: v2::FilterType::Tag.into(), expression: "*".into() };
            let entry = v2::SubscriptionEntry { topic: Some(topic.clone()), expression: Some(all) };
            let subscription = v2::Subscription {
                group: Some(group.clone()),
                subscriptions: vec![entry],
                ..v2::Subscription::default()
            };
            (v2::ClientType::SimpleConsumer, PubSub::Subscription(subscription))
        }
    };
    v2::Settings {
        client_type: Some(client_type.into()),
        access_point: Some(access_point),
        request_timeout: Some(wire_duration(Duration::from_secs(3))),
        user_agent: Some(v2::Ua {
            language: v2::Language::Rust.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            platform: std::env::consts::OS.into(),
            hostname: "gantry-bench".into(),
        }),
        pub_sub: Some(pub_sub),
        ..v2::Settings::default()
    }
}

fn wire_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.as_secs() as i64, nanos: duration.subsec_nanos() as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_taken_apart_and_a_cut_one_is_told() {
        let message = |text: &str| framed(&v2::Status { code: 0, message: text.into() });
        let body: Bytes = [message("a"), message("bcd")].concat().into();
        let read: Vec<_> = frames(body.clone()).map(|frame| frame.unwrap().len()).collect();
        assert_eq!(read, [3, 5]);
        for cut in [1, 4, body.len() - 1] {
            assert!(frames(body.slice(..cut)).last().unwrap().is_err(), "{cut}");
        }
        assert_eq!(frames(Bytes::new()).count(), 0);
    }

    #[test]
    fn a_transport_status_has_its_name() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-message", HeaderValue::from_static("gone"));
        let check = |text| check(&HeaderValue::from_static(text), &headers);
        assert_eq!(check("0"), Ok(()));
        let failure = check("14").unwrap_err();
        assert_eq!((failure.code.as_ref(), failure.detail.as_str()), ("grpc_UNAVAILABLE", "gone"));
        assert_eq!(check("12").unwrap_err().code, UNIMPLEMENTED);
        assert_eq!(check("x").unwrap_err().code, "grpc_UNKNOWN");
    }
}
