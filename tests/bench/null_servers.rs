//! Servers that decode, answer and keep nothing: what the stacks under Gantry cost by themselves.
//!
//! Stock handlers on Gantry's thread layout and transport numbers. The bench runs itself again as `bench null-http` or
//! `bench null-grpc`, so that a null server's CPU time is a process of its own.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Json;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use gantry_proto::grpc::v2::messaging_service_server::{MessagingService, MessagingServiceServer};
use gantry_proto::grpc::v2::*;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

/// Sockets accepted and not yet taken by their worker, as in Gantry.
const HANDED_MAX: usize = 1_024;

/// Serves until it is killed. Says where on stdout.
pub fn serve(face: Face) -> std::io::Result<()> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut hands = Vec::new();
    for _ in 0..workers {
        let (sender, receiver) = mpsc::channel(HANDED_MAX);
        let runtime = runtime()?;
        std::thread::spawn(move || match face {
            Face::Http => runtime.block_on(http(receiver)),
            Face::Grpc => runtime.block_on(grpc(receiver)),
        });
        hands.push(sender);
    }
    runtime()?.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("ready {}", listener.local_addr()?);
        std::io::stdout().flush()?;
        for hand in hands.iter().cycle() {
            let (socket, _) = listener.accept().await?;
            socket.set_nodelay(true)?;
            hand.send(socket.into_std()?).await.map_err(std::io::Error::other)?;
        }
        Ok(())
    })
}

#[derive(Debug, Clone, Copy)]
pub enum Face {
    Http,
    Grpc,
}

type Handed = mpsc::Receiver<std::net::TcpStream>;

/// The shape of Gantry's answer to a publish, about as long.
async fn http(handed: Handed) {
    let publish = async |body: Bytes| {
        let answer = serde_json::json!({ "messageId": "01AABBCCDDEEFF00112233445500000000", "bytes": body.len() });
        (StatusCode::CREATED, Json(answer))
    };
    let router = axum::Router::new().route("/v1/topics/{topic}/messages", post(publish));
    axum::serve(Sockets(handed), router).await.expect("axum serves for ever");
}

struct Sockets(Handed);

impl axum::serve::Listener for Sockets {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        let socket = self.0.recv().await.expect("the acceptor lives as long as the process");
        let socket = TcpStream::from_std(socket).expect("a socket that was just accepted");
        (socket, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }
}

/// The windows and limits are those of gateway/src/front/grpc.rs.
async fn grpc(handed: Handed) {
    let incoming = ReceiverStream::new(handed).map(TcpStream::from_std);
    let service = MessagingServiceServer::new(Null).max_decoding_message_size(8 << 20);
    tonic::transport::Server::builder()
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_frame_size(64 << 10)
        .max_concurrent_streams(4_096)
        .add_service(service)
        .serve_with_incoming(incoming)
        .await
        .expect("tonic serves for ever");
}

struct Null;

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl MessagingService for Null {
    async fn send_message(&self, request: Request<SendMessageRequest>) -> Reply<SendMessageResponse> {
        let ok = || Some(gantry_proto::grpc::v2::Status { code: Code::Ok.into(), message: "OK".into() });
        let entry = |message: Message| SendResultEntry {
            status: ok(),
            message_id: message.system_properties.map(|system| system.message_id).unwrap_or_default(),
            ..SendResultEntry::default()
        };
        let entries = request.into_inner().messages.into_iter().map(entry).collect();
        Ok(Response::new(SendMessageResponse { status: ok(), entries }))
    }

    async fn query_route(&self, _: Request<QueryRouteRequest>) -> Reply<QueryRouteResponse> {
        nothing()
    }

    async fn heartbeat(&self, _: Request<HeartbeatRequest>) -> Reply<HeartbeatResponse> {
        nothing()
    }

    async fn query_assignment(&self, _: Request<QueryAssignmentRequest>) -> Reply<QueryAssignmentResponse> {
        nothing()
    }

    async fn ack_message(&self, _: Request<AckMessageRequest>) -> Reply<AckMessageResponse> {
        nothing()
    }

    async fn change_invisible_duration(
        &self,
        _: Request<ChangeInvisibleDurationRequest>,
    ) -> Reply<ChangeInvisibleDurationResponse> {
        nothing()
    }

    async fn notify_client_termination(
        &self,
        _: Request<NotifyClientTerminationRequest>,
    ) -> Reply<NotifyClientTerminationResponse> {
        nothing()
    }

    async fn forward_message_to_dead_letter_queue(
        &self,
        _: Request<ForwardMessageToDeadLetterQueueRequest>,
    ) -> Reply<ForwardMessageToDeadLetterQueueResponse> {
        nothing()
    }

    async fn update_offset(&self, _: Request<UpdateOffsetRequest>) -> Reply<UpdateOffsetResponse> {
        nothing()
    }

    async fn get_offset(&self, _: Request<GetOffsetRequest>) -> Reply<GetOffsetResponse> {
        nothing()
    }

    async fn query_offset(&self, _: Request<QueryOffsetRequest>) -> Reply<QueryOffsetResponse> {
        nothing()
    }

    async fn end_transaction(&self, _: Request<EndTransactionRequest>) -> Reply<EndTransactionResponse> {
        nothing()
    }

    async fn recall_message(&self, _: Request<RecallMessageRequest>) -> Reply<RecallMessageResponse> {
        nothing()
    }

    async fn sync_lite_subscription(
        &self,
        _: Request<SyncLiteSubscriptionRequest>,
    ) -> Reply<SyncLiteSubscriptionResponse> {
        nothing()
    }

    type ReceiveMessageStream = BoxStream<ReceiveMessageResponse>;

    /// There is never a message.
    async fn receive_message(&self, _: Request<ReceiveMessageRequest>) -> Reply<Self::ReceiveMessageStream> {
        std::future::pending().await
    }

    type TelemetryStream = BoxStream<TelemetryCommand>;

    async fn telemetry(&self, _: Request<Streaming<TelemetryCommand>>) -> Reply<Self::TelemetryStream> {
        nothing()
    }

    type PullMessageStream = BoxStream<PullMessageResponse>;

    async fn pull_message(&self, _: Request<PullMessageRequest>) -> Reply<Self::PullMessageStream> {
        nothing()
    }
}

/// No row measures it.
fn nothing<T>() -> Reply<T> {
    Err(Status::new(tonic::Code::Unimplemented, "a null server only takes messages"))
}
