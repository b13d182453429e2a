//! The contract's optional control plane. Not built: every rpc says so in its reply's own status, and the REST face has
//! what operators need.

use gantry_proto::grpc::v2::admin_server::Admin as AdminService;
use gantry_proto::grpc::v2::*;
use tonic::{Request, Response};

use super::status;

#[derive(Debug, Clone, Copy)]
pub struct Admin;

macro_rules! not_implemented {
    ($($rpc:ident: $request:ty => $response:ty,)*) => {
        #[tonic::async_trait]
        impl AdminService for Admin {
            /// The one reply without a status.
            async fn change_log_level(
                &self,
                _: Request<ChangeLogLevelRequest>,
            ) -> Result<Response<ChangeLogLevelResponse>, tonic::Status> {
                let remark = status::not_implemented("changing the log level over gRPC").message;
                Ok(Response::new(ChangeLogLevelResponse { remark }))
            }

            $(async fn $rpc(&self, _: Request<$request>) -> Result<Response<$response>, tonic::Status> {
                let status = Some(status::not_implemented("the Admin service"));
                Ok(Response::new(<$response>::from_status(status)))
            })*
        }

        $(impl FromStatus for $response {
            fn from_status(status: Option<Status>) -> Self {
                Self { status, ..Self::default() }
            }
        })*
    };
}

trait FromStatus {
    fn from_status(status: Option<Status>) -> Self;
}

not_implemented! {
    describe_topic_status: DescribeTopicStatusRequest => DescribeTopicStatusResponse,
    list_subscription: ListSubscriptionRequest => ListSubscriptionResponse,
    describe_subscription: DescribeSubscriptionRequest => DescribeSubscriptionResponse,
    delete_subscription: DeleteSubscriptionRequest => DeleteSubscriptionResponse,
    describe_group_accumulation: DescribeGroupAccumulationRequest => DescribeGroupAccumulationResponse,
    list_consumer_connection: ListConsumerConnectionRequest => ListConsumerConnectionResponse,
    reset_group_offset: ResetGroupOffsetRequest => ResetGroupOffsetResponse,
    query_message: ListMessageRequest => ListMessageResponse,
    print_thread_stack_trace: PrintThreadStackTraceRequest => PrintThreadStackTraceResponse,
    verify_message: VerifyMessageRequest => VerifyMessageResponse,
    admin_send_message: AdminSendMessageRequest => AdminSendMessageResponse,
    get_consumer_running_info: GetConsumerRunningInfoRequest => GetConsumerRunningInfoResponse,
    get_topic_route: GetTopicRouteRequest => GetTopicRouteResponse,
    query_time_span: QueryTimeSpanRequest => QueryTimeSpanResponse,
    get_proxy_runtime_stats: GetProxyRuntimeStatsRequest => GetProxyRuntimeStatsResponse,
}
