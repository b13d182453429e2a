//! The data plane, rpc by rpc: who may call, then the translation's own file.

use futures_util::stream;
use gantry_proto::grpc::v2::messaging_service_server::MessagingService;
use gantry_proto::grpc::v2::pull_message_response::Content as PullContent;
use gantry_proto::grpc::v2::*;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Streaming};

use super::receive_message::Frames;
use super::{GrpcFront, caller, receipts, send_message, status, telemetry};

type Reply<T> = Result<Response<T>, tonic::Status>;

#[tonic::async_trait]
impl MessagingService for GrpcFront {
    async fn query_route(&self, request: Request<QueryRouteRequest>) -> Reply<QueryRouteResponse> {
        let local = request.local_addr();
        let route = match caller::identified(&request) {
            Ok(()) => self.route(request.into_inner(), local).await,
            Err(error) => Err(error),
        };
        let status = Some(status::of(&route));
        Ok(Response::new(QueryRouteResponse { status, message_queues: route.unwrap_or_default() }))
    }

    /// Nothing hangs on it: a client is alive if it calls. Always fine, because producers take an endpoint whose
    /// heartbeat failed out of use.
    async fn heartbeat(&self, _: Request<HeartbeatRequest>) -> Reply<HeartbeatResponse> {
        Ok(Response::new(HeartbeatResponse { status: Some(status::ok()) }))
    }

    async fn send_message(&self, request: Request<SendMessageRequest>) -> Reply<SendMessageResponse> {
        let peer = caller::peer(&request);
        let identified = caller::identified(&request);
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
        let local = request.local_addr();
        let assignments = match caller::identified(&request) {
            Ok(()) => self.assignments(request.into_inner(), local).await,
            Err(error) => Err(error),
        };
        let status = Some(status::of(&assignments));
        Ok(Response::new(QueryAssignmentResponse { status, assignments: assignments.unwrap_or_default() }))
    }

    type ReceiveMessageStream = Frames;

    async fn receive_message(&self, request: Request<ReceiveMessageRequest>) -> Reply<Frames> {
        let time_to_deadline = caller::time_to_deadline(request.metadata());
        let inflate = caller::is_without_inflate(request.metadata());
        Ok(Response::new(match caller::identified(&request) {
            Ok(()) => self.receive(request.into_inner(), time_to_deadline, inflate).await,
            Err(error) => self.refused(&error),
        }))
    }

    async fn ack_message(&self, request: Request<AckMessageRequest>) -> Reply<AckMessageResponse> {
        let identified = caller::identified(&request);
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
        let identified = caller::identified(&request);
        let request = request.into_inner();
        let changed = match identified {
            Ok(()) => self.change(&request, is_node).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(receipts::change_answer(request, changed)))
    }

    type TelemetryStream = BoxStream<TelemetryCommand>;

    async fn telemetry(&self, request: Request<Streaming<TelemetryCommand>>) -> Reply<Self::TelemetryStream> {
        let is_node = caller::is_node(request.metadata());
        Ok(Response::new(match caller::identified(&request) {
            Ok(()) => self.converse(request.into_inner(), is_node),
            Err(error) => telemetry::refusal(&error),
        }))
    }

    /// Nothing is kept of a client, so there is nothing to drop.
    async fn notify_client_termination(
        &self,
        request: Request<NotifyClientTerminationRequest>,
    ) -> Reply<NotifyClientTerminationResponse> {
        let status = Some(status::of(&caller::identified(&request)));
        Ok(Response::new(NotifyClientTerminationResponse { status }))
    }

    async fn recall_message(&self, request: Request<RecallMessageRequest>) -> Reply<RecallMessageResponse> {
        let recalled = match caller::identified(&request) {
            Ok(()) => self.recall(request.into_inner()).await,
            Err(error) => Err(error),
        };
        let status = Some(status::of(&recalled));
        Ok(Response::new(RecallMessageResponse { status, message_id: recalled.unwrap_or_default() }))
    }

    async fn end_transaction(&self, request: Request<EndTransactionRequest>) -> Reply<EndTransactionResponse> {
        let ended = match caller::identified(&request) {
            Ok(()) => self.end(request.into_inner()).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(EndTransactionResponse { status: Some(status::of(&ended)) }))
    }

    async fn forward_message_to_dead_letter_queue(
        &self,
        request: Request<ForwardMessageToDeadLetterQueueRequest>,
    ) -> Reply<ForwardMessageToDeadLetterQueueResponse> {
        let forwarded = match caller::identified(&request) {
            Ok(()) => self.forward(request.get_ref()).await,
            Err(error) => Err(error),
        };
        Ok(Response::new(ForwardMessageToDeadLetterQueueResponse { status: Some(status::of(&forwarded)) }))
    }

    // What this version does not do.

    type PullMessageStream = BoxStream<PullMessageResponse>;

    async fn pull_message(&self, _: Request<PullMessageRequest>) -> Reply<Self::PullMessageStream> {
        let content = Some(PullContent::Status(status::not_implemented("pulling by offset over gRPC")));
        Ok(Response::new(Box::pin(stream::iter([Ok(PullMessageResponse { content })]))))
    }

    async fn update_offset(&self, _: Request<UpdateOffsetRequest>) -> Reply<UpdateOffsetResponse> {
        let status = Some(status::not_implemented("updating offsets over gRPC"));
        Ok(Response::new(UpdateOffsetResponse { status }))
    }

    async fn get_offset(&self, _: Request<GetOffsetRequest>) -> Reply<GetOffsetResponse> {
        let status = Some(status::not_implemented("reading offsets over gRPC"));
        Ok(Response::new(GetOffsetResponse { status, offset: 0 }))
    }

    async fn query_offset(&self, _: Request<QueryOffsetRequest>) -> Reply<QueryOffsetResponse> {
        let status = Some(status::not_implemented("reading offsets over gRPC"));
        Ok(Response::new(QueryOffsetResponse { status, offset: 0 }))
    }

    async fn sync_lite_subscription(
        &self,
        _: Request<SyncLiteSubscriptionRequest>,
    ) -> Reply<SyncLiteSubscriptionResponse> {
        let status = Some(status::not_implemented("lite topics"));
        Ok(Response::new(SyncLiteSubscriptionResponse { status }))
    }
}
