//! The contract's optional control plane: what the broker and the open streams know. What would need more says in its
//! reply's own status that it is not built; the REST face has what operators need.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_broker_core::broker::{BrowseMessages, ConsumeProgress, ResetOffsets, ResetTo};
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::names::TopicName;
use gantry_proto::grpc::v2::admin_server::Admin as AdminService;
use gantry_proto::grpc::v2::describe_group_accumulation_response::GroupAccumulation;
use gantry_proto::grpc::v2::describe_subscription_response::ClientSubscriptionInfo;
use gantry_proto::grpc::v2::list_message_request::SearchKey;
use gantry_proto::grpc::v2::*;
use telemetry_command::Command;
use tonic::{Request, Response};

use super::clients::Known;
use super::delivery::{self, Reader};
use super::{GrpcFront, send_message, status, words};
use crate::error::{FieldAt, GatewayError};

/// Most messages of one query.
const MESSAGES_MAX: u32 = 32;
/// What one query reads of the log.
const QUERY_BYTES_MAX: u32 = 8 * 1024 * 1024;

#[derive(Clone)]
pub struct Admin {
    pub(super) front: GrpcFront,
}

type Answer<T> = Result<T, GatewayError>;

impl Admin {
    async fn describe_topic_status(&self, request: DescribeTopicStatusRequest) -> Answer<DescribeTopicStatusResponse> {
        let topic = words::topic(request.topic.as_ref())?;
        let topic = self.front.messaging.broker.describe_topic(topic).await?;
        let topic_message_type = words::wire_message_type(topic.config.message_type).into();
        Ok(DescribeTopicStatusResponse { topic_message_type, ..DescribeTopicStatusResponse::default() })
    }

    async fn list_subscription(&self, request: ListSubscriptionRequest) -> Answer<ListSubscriptionResponse> {
        let mut known: BTreeMap<(String, String), SubscriptionInfo> = BTreeMap::new();
        for (_, info) in self.subscriptions(request.topic.as_ref(), request.group.as_ref()) {
            let name = |resource: &Option<Resource>| resource.clone().unwrap_or_default().name;
            let key = (name(&info.group), name(&info.topic));
            match known.get_mut(&key) {
                // Clients of one group shall all want the same.
                Some(first) => first.subscription_consistency &= first.expression == info.expression,
                None => drop(known.insert(key, info)),
            }
        }
        let subscription_info = known.into_values().collect();
        Ok(ListSubscriptionResponse { subscription_info, ..ListSubscriptionResponse::default() })
    }

    async fn describe_subscription(
        &self,
        request: DescribeSubscriptionRequest,
    ) -> Answer<DescribeSubscriptionResponse> {
        let subscriptions = self.subscriptions(request.topic.as_ref(), request.group.as_ref());
        let infos = subscriptions.into_iter().map(|(client, info)| ClientSubscriptionInfo {
            client_info: Some(client_info(&client)),
            subscription_info: Some(info),
        });
        let client_subscription_info = infos.collect();
        Ok(DescribeSubscriptionResponse { client_subscription_info, ..DescribeSubscriptionResponse::default() })
    }

    async fn describe_group_accumulation(
        &self,
        request: DescribeGroupAccumulationRequest,
    ) -> Answer<DescribeGroupAccumulationResponse> {
        let group = words::consumer_group(request.group.as_ref())?;
        let broker = &self.front.messaging.broker;
        let mut topics: Vec<TopicName> =
            request.topics.iter().map(|topic| words::topic(Some(topic))).collect::<Result<_, _>>()?;
        if topics.is_empty() {
            let all = broker.list_consumptions(Some(group.clone()), None).await?;
            topics.extend(all.into_iter().map(|consumption| consumption.topic));
        }
        let now = self.front.clock.wall();
        let mut sum = Accumulated::default();
        let mut topic_accumulation = std::collections::HashMap::new();
        for topic in topics {
            let mut of_topic = Accumulated::default();
            for queue in broker.query_consume_offsets(group.clone(), topic.clone()).await? {
                let delay = queue.oldest_behind.map(|stored| now.since(stored)).unwrap_or_default();
                of_topic.add(&queue, delay);
                sum.add(&queue, delay);
            }
            topic_accumulation.insert(topic.to_string(), of_topic.wire());
        }
        let accumulation = Some(sum.wire());
        let rest = DescribeGroupAccumulationResponse::default();
        Ok(DescribeGroupAccumulationResponse { accumulation, topic_accumulation, ..rest })
    }

    async fn list_consumer_connection(
        &self,
        request: ListConsumerConnectionRequest,
    ) -> Answer<ListConsumerConnectionResponse> {
        words::consumer_group(request.group.as_ref())?;
        let mut client_info: Vec<_> = Vec::new();
        for (client, _) in self.subscriptions(request.topic.as_ref(), request.group.as_ref()) {
            let info = self::client_info(&client);
            if client_info.last() != Some(&info) {
                client_info.push(info);
            }
        }
        Ok(ListConsumerConnectionResponse { client_info, ..ListConsumerConnectionResponse::default() })
    }

    async fn reset_group_offset(&self, request: ResetGroupOffsetRequest) -> Answer<ResetGroupOffsetResponse> {
        let time = request.reset_timestamp.as_ref().ok_or_else(|| GatewayError::InvalidParameter {
            at: FieldAt::Pointer("reset_timestamp".into()),
            reason: "the time to go back to is missing".into(),
        })?;
        let reset = ResetOffsets {
            consumer_group: words::consumer_group(request.group.as_ref())?,
            topic: words::topic(request.topic.as_ref())?,
            to: ResetTo::Time(words::timestamp(time)),
            queues: None,
            // As RocketMQ does it: consumers go on from where they are put.
            force: true,
            dry_run: false,
        };
        self.front.messaging.broker.reset_offsets(reset).await?;
        Ok(ResetGroupOffsetResponse::default())
    }

    /// By id, or by time.
    async fn query_message(&self, request: ListMessageRequest) -> Answer<ListMessageResponse> {
        let topic = words::topic(request.topic.as_ref())?;
        let resource = request.topic.clone().unwrap_or_default();
        let broker = &self.front.messaging.broker;
        let found = match request.search_key {
            Some(SearchKey::MessageId(id)) => vec![broker.find_message(topic, id).await?],
            Some(SearchKey::MessageKey(_)) => return Err(not_built("looking for messages by key over gRPC")),
            Some(SearchKey::LiteTopic(_)) => return Err(not_built("lite topics")),
            Some(SearchKey::Subscription(_)) => return Err(not_built("looking for messages by subscription")),
            None => {
                let browse = BrowseMessages {
                    topic,
                    queue_id: None,
                    from: request.begin_timestamp.as_ref().map(words::timestamp),
                    to: request.end_timestamp.as_ref().map(words::timestamp),
                    filter: Filter::All,
                    newest_first: false,
                    position: None,
                    messages_max: u32::try_from(request.max_message_nums).unwrap_or(0).clamp(1, MESSAGES_MAX),
                    bytes_max: QUERY_BYTES_MAX,
                };
                broker.browse_messages(browse).await?.messages
            }
        };
        let messages = found.into_iter().map(|message| delivery::stored(message, &resource, Reader::ANY)).collect();
        Ok(ListMessageResponse { messages, ..ListMessageResponse::default() })
    }

    async fn print_thread_stack_trace(
        &self,
        request: PrintThreadStackTraceRequest,
    ) -> Answer<PrintThreadStackTraceResponse> {
        let print = |nonce| Command::PrintThreadStackTraceCommand(PrintThreadStackTraceCommand { nonce });
        let answer = self.front.clients.ask(&request.client_id, print).await?;
        let thread_stack_trace = match answer.command {
            Some(Command::ThreadStackTrace(trace)) => trace.thread_stack_trace,
            _ => None,
        };
        // One client answers without a status.
        let status = answer.status;
        Ok(PrintThreadStackTraceResponse { status, thread_stack_trace })
    }

    /// Has the client consume a message once more; what it says of it is the answer.
    async fn verify_message(&self, request: VerifyMessageRequest) -> Answer<VerifyMessageResponse> {
        let topic = words::topic(request.topic.as_ref())?;
        let message = self.front.messaging.broker.find_message(topic, request.message_id).await?;
        let mut message = delivery::stored(message, &request.topic.unwrap_or_default(), Reader::ANY);
        if let Some(system) = &mut message.system_properties {
            system.delivery_attempt = Some(1);
        }
        let message = Some(message);
        let verify = |nonce| Command::VerifyMessageCommand(VerifyMessageCommand { nonce, message });
        let answer = self.front.clients.ask(&request.client_id, verify).await?;
        Ok(VerifyMessageResponse { status: answer.status })
    }

    async fn admin_send_message(&self, request: AdminSendMessageRequest) -> Answer<AdminSendMessageResponse> {
        let mut system = request.system_properties.unwrap_or_default();
        system.tag = request.tag.or(system.tag);
        system.keys.extend(request.key);
        let mut messages = vec![Message {
            topic: request.topic,
            user_properties: request.user_properties,
            system_properties: Some(system),
            body: request.body,
        }];
        let ids = send_message::take_message_ids(&mut messages);
        let peer = self.front.listening;
        let sent = self.front.send(messages, &ids, peer).await?;
        let (receipt, _) = sent.into_iter().next().expect("one answer per message")?;
        let message_id = receipt.unique_key.into_string();
        Ok(AdminSendMessageResponse { message_id, ..AdminSendMessageResponse::default() })
    }

    async fn get_proxy_runtime_stats(&self, _: GetProxyRuntimeStatsRequest) -> Answer<GetProxyRuntimeStatsResponse> {
        let stats = self.front.messaging.broker.broker_stats().await?;
        let clients = self.front.clients.all();
        let consumers = clients.iter().filter(|client| client.subscription().is_some()).count();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        Ok(GetProxyRuntimeStatsResponse {
            status: None,
            proxy_name: self.front.broker_name.to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            in_tps: stats.traffic.messages_in_per_second,
            out_tps: stats.traffic.messages_out_per_second,
            connections: count(clients.len()),
            producers: count(clients.len() - consumers),
            consumers: count(consumers),
        })
    }

    async fn delete_subscription(&self, _: DeleteSubscriptionRequest) -> Answer<DeleteSubscriptionResponse> {
        Err(not_built("deleting subscriptions"))
    }

    async fn get_consumer_running_info(
        &self,
        _: GetConsumerRunningInfoRequest,
    ) -> Answer<GetConsumerRunningInfoResponse> {
        Err(not_built("running information, which gRPC clients have none of,"))
    }

    async fn get_topic_route(&self, _: GetTopicRouteRequest) -> Answer<GetTopicRouteResponse> {
        Err(not_built("routes in the form of the classic protocol"))
    }

    async fn query_time_span(&self, _: QueryTimeSpanRequest) -> Answer<QueryTimeSpanResponse> {
        Err(not_built("time spans of queues"))
    }

    /// What clients with an open stream subscribe to, narrowed to a topic and a group.
    fn subscriptions(&self, topic: Option<&Resource>, group: Option<&Resource>) -> Vec<(Known, SubscriptionInfo)> {
        let is_meant = |asked: Option<&Resource>, there: &Option<Resource>| {
            asked.is_none_or(|asked| there.as_ref().is_some_and(|there| there.name == asked.name))
        };
        let mut found = Vec::new();
        for client in self.front.clients.all() {
            let Some(subscription) = client.subscription().cloned() else { continue };
            if !is_meant(group, &subscription.group) {
                continue;
            }
            for entry in subscription.subscriptions.into_iter().filter(|entry| is_meant(topic, &entry.topic)) {
                let info = SubscriptionInfo {
                    group: subscription.group.clone(),
                    topic: entry.topic,
                    expression: entry.expression,
                    online: true,
                    last_update_timestamp: None,
                    message_model: MessageModel::Clustering.into(),
                    subscription_consistency: true,
                };
                found.push((client.clone(), info));
            }
        }
        found
    }
}

fn client_info(client: &Known) -> ClientInfo {
    let agent = client.settings.as_ref().and_then(|settings| settings.user_agent.as_ref());
    ClientInfo {
        client_id: client.caller.client_id.clone(),
        version: client.caller.version.clone(),
        language: client.caller.language.clone(),
        hostname: agent.map(|agent| agent.hostname.clone()).unwrap_or_default(),
        egress_ip: client.caller.peer.ip().to_string(),
        message_model: MessageModel::Clustering.into(),
    }
}

#[derive(Default)]
struct Accumulated {
    in_flight: u64,
    ready: u64,
    delay: Duration,
}

impl Accumulated {
    fn add(&mut self, queue: &ConsumeProgress, delay: Duration) {
        let from = queue.next_offset.unwrap_or(queue.min_offset).max(queue.min_offset);
        self.in_flight += queue.in_flight;
        self.ready += queue.max_offset.0.saturating_sub(from.0);
        self.delay = self.delay.max(delay);
    }

    fn wire(&self) -> GroupAccumulation {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        GroupAccumulation {
            inflight_messages: count(self.in_flight),
            ready_messages: count(self.ready),
            accumulation: count(self.in_flight + self.ready),
            deliver_delay_time: Some(words::wire_duration(self.delay)),
            last_consume_timestamp: 0,
        }
    }
}

fn not_built(what: &str) -> GatewayError {
    GatewayError::NotImplemented { what: what.to_string() }
}

macro_rules! rpcs {
    ($($rpc:ident: $request:ty => $response:ty,)*) => {
        #[tonic::async_trait]
        impl AdminService for Admin {
            /// The one reply without a status.
            async fn change_log_level(
                &self,
                request: Request<ChangeLogLevelRequest>,
            ) -> Result<Response<ChangeLogLevelResponse>, tonic::Status> {
                let refused = self.front.admitted(&request).and(Err::<(), _>(not_built("changing the log level")));
                Ok(Response::new(ChangeLogLevelResponse { remark: status::of(&refused).message }))
            }

            $(async fn $rpc(&self, request: Request<$request>) -> Result<Response<$response>, tonic::Status> {
                let answer = match self.front.admitted(&request) {
                    // The method above, which takes the request alone.
                    Ok(()) => Admin::$rpc(self, request.into_inner()).await,
                    Err(error) => Err(error),
                };
                let said = status::of(&answer);
                let mut response = answer.unwrap_or_default();
                response.status.get_or_insert(said);
                Ok(Response::new(response))
            })*
        }
    };
}

rpcs! {
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
