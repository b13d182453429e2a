//! The data plane, rpc by rpc: who may call, then the translation's own file.

use gantry_proto::grpc::v2::messaging_service_server::MessagingService;
use gantry_proto::grpc::v2::*;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Streaming};

use super::frames::Empty;
use super::{GrpcFront, caller, pull_message, receipts, send_message, status, telemetry};
use crate::error::GatewayError;

type Reply<T> = Result<Response<T>, tonic::Status>;

#[tonic::async_trait]
impl MessagingService for GrpcFront {
    async fn query_route(&self, request: Request<QueryRouteRequest>) -> Reply<QueryRouteResponse> {
        let local = caller::local(&request);
        let route = match self.identified(&request) {
            Ok(()) => self.route(request.into_inner(), local).await,
            Err(error) => Err(error),
        };
        let status = Some(status::of(&route));
        Ok(Response::new(QueryRouteResponse { status, message_queues: route.unwrap_or_default() }))
    }

    /// As good a sign of life as any other call. Fine also without a client's name, because producers take an
    /// endpoint whose heartbeat failed out of use.
    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Reply<HeartbeatResponse> {
        let status = match self.identified(&request) {
            Err(GatewayError::ClientIdRequired) => status::ok(),
            identified => status::of(&identified),
        };
        Ok(Response::new(HeartbeatResponse { status: Some(status) }))
    }

    async fn send_message(&self, request: Request<SendMessageRequest>) -> Reply<SendMessageResponse> {
        let peer = caller::peer(&request);
        let identified = self.identified(&request);
        let mut messages = request.into_inner().messages;
        let message_ids = send_message::take_message_ids(&mut messages);
        let topic = messages.first().and_then(|message| message.topic.as_ref()).map(|topic| topic.name.clone());
        let receipts = match identified {
            Ok(()) => self.send(messages, &message_ids, peer).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(send_message::answer(
            (&topic.unwrap_or_default(), self.broker_name.as_str()),
            message_ids,
            receipts,
        )))
    }

    async fn query_assignment(&self, request: Request<QueryAssignmentRequest>) -> Reply<QueryAssignmentResponse> {
        let local = caller::local(&request);
        let assignments = match self.identified(&request) {
            Ok(()) => self.assignments(request.into_inner(), local).await,
            Err(error) => Err(error),
        };
        let status = Some(status::of(&assignments));
        Ok(Response::new(QueryAssignmentResponse { status, assignments: assignments.unwrap_or_default() }))
    }

    type ReceiveMessageStream = Empty<ReceiveMessageResponse>;

    async fn receive_message(&self, request: Request<ReceiveMessageRequest>) -> Reply<Self::ReceiveMessageStream> {
        Ok(self.receive(request).await.beside_nothing())
    }

    async fn ack_message(&self, request: Request<AckMessageRequest>) -> Reply<AckMessageResponse> {
        let identified = self.identified(&request);
        let request = request.into_inner();
        let results = match identified {
            Ok(()) => self.ack(&request).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(receipts::ack_answer(request, results)))
    }

    async fn change_invisible_duration(
        &self,
        request: Request<ChangeInvisibleDurationRequest>,
    ) -> Reply<ChangeInvisibleDurationResponse> {
        let is_node = caller::is_node(request.metadata());
        let identified = self.identified(&request);
        let request = request.into_inner();
        let changed = match identified {
            Ok(()) => self.change(&request, is_node).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(receipts::change_answer(request, changed)))
    }

    type TelemetryStream = BoxStream<TelemetryCommand>;

    async fn telemetry(&self, request: Request<Streaming<TelemetryCommand>>) -> Reply<Self::TelemetryStream> {
        Ok(Response::new(match self.identified(&request) {
            Ok(()) => {
                let caller = caller::Caller::of(&request);
                let connection = caller::connection(&request).cloned();
                self.converse(request.into_inner(), connection, caller)
            }
            Err(error) => telemetry::refusal(&error),
        }))
    }

    /// What it kept while it lived comes back at once. Also from clients that nobody knows.
    async fn notify_client_termination(
        &self,
        request: Request<NotifyClientTerminationRequest>,
    ) -> Reply<NotifyClientTerminationResponse> {
        let released = match self.identified(&request) {
            Ok(()) => {
                let client = caller::client_id(request.metadata()).unwrap_or_default();
                self.messaging.release_client(client).await
            }
            Err(error) => Err(error),
        };
        Ok(Response::new(NotifyClientTerminationResponse { status: Some(status::of(&released)) }))
    }

    async fn recall_message(&self, request: Request<RecallMessageRequest>) -> Reply<RecallMessageResponse> {
        let recalled = match self.identified(&request) {
            Ok(()) => self.recall(request.into_inner()).await,
            Err(error) => Err(error),
        };
        let status = Some(status::of(&recalled));
        Ok(Response::new(RecallMessageResponse { status, message_id: recalled.unwrap_or_default() }))
    }

    async fn end_transaction(&self, request: Request<EndTransactionRequest>) -> Reply<EndTransactionResponse> {
        let ended = match self.identified(&request) {
            Ok(()) => self.end(request.into_inner()).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(EndTransactionResponse { status: Some(status::of(&ended)) }))
    }

    async fn forward_message_to_dead_letter_queue(
        &self,
        request: Request<ForwardMessageToDeadLetterQueueRequest>,
    ) -> Reply<ForwardMessageToDeadLetterQueueResponse> {
        let forwarded = match self.identified(&request) {
            Ok(()) => self.forward(request.get_ref()).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(ForwardMessageToDeadLetterQueueResponse { status: Some(status::of(&forwarded)) }))
    }

    type PullMessageStream = Empty<PullMessageResponse>;

    async fn pull_message(&self, request: Request<PullMessageRequest>) -> Reply<Self::PullMessageStream> {
        let time_to_deadline = caller::time_to_deadline(request.metadata().as_ref());
        let reader = caller::reader(request.metadata());
        let frames = match self.identified(&request) {
            Ok(()) => self.pull(request.into_inner(), time_to_deadline, reader).await,
            Err(error) => pull_message::refused(&error),
        };
        Ok(frames.beside_nothing())
    }

    async fn update_offset(&self, request: Request<UpdateOffsetRequest>) -> Reply<UpdateOffsetResponse> {
        let updated = match self.identified(&request) {
            Ok(()) => self.update_consume_offset(request.into_inner()).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(UpdateOffsetResponse { status: Some(status::of(&updated)) }))
    }

    async fn get_offset(&self, request: Request<GetOffsetRequest>) -> Reply<GetOffsetResponse> {
        let offset = match self.identified(&request) {
            Ok(()) => self.consume_offset(request.into_inner()).await,
            Err(error) => Err(error),
        };
        let status = Some(status::of(&offset));
        Ok(Response::new(GetOffsetResponse { status, offset: offset.unwrap_or_default() }))
    }

    async fn query_offset(&self, request: Request<QueryOffsetRequest>) -> Reply<QueryOffsetResponse> {
        let offset = match self.identified(&request) {
            Ok(()) => self.query_queue_offset(request.into_inner()).await,
            Err(error) => Err(error),
        };
        let status = Some(status::of(&offset));
        Ok(Response::new(QueryOffsetResponse { status, offset: offset.unwrap_or_default() }))
    }

    /// Lite topics are not offered, and clients are told so in the way that ends their start with a reason.
    async fn sync_lite_subscription(
        &self,
        request: Request<SyncLiteSubscriptionRequest>,
    ) -> Reply<SyncLiteSubscriptionResponse> {
        let status = match self.identified(&request) {
            Ok(()) => status::not_implemented("lite topics"),
            Err(error) => status::refused(&error),
        };
        Ok(Response::new(SyncLiteSubscriptionResponse { status: Some(status) }))
    }
}
