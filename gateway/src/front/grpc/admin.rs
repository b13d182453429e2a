//! The contract's optional control plane: what the broker and the open streams know. What neither knows says so in its
//! reply's own status: a subscription is what a client says while it is connected, so there is none to delete, and the
//! contract has no words to ask a client how its consuming runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{BrowseMessages, ConsumeProgress, PullMessages, QueryMessages, ResetOffsets, ResetTo};
use gantry_broker_core::clock::Timestamp;
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::names::TopicName;
use gantry_broker_core::offset::{QueueId, QueueOffset};
use gantry_proto::grpc::v2::admin_server::Admin as AdminService;
use gantry_proto::grpc::v2::describe_group_accumulation_response::GroupAccumulation;
use gantry_proto::grpc::v2::describe_subscription_response::ClientSubscriptionInfo;
use gantry_proto::grpc::v2::list_message_request::SearchKey;
use gantry_proto::grpc::v2::query_time_span_response::QueueTimeSpan;
use gantry_proto::grpc::v2::*;
use telemetry_command::Command;
use tonic::{Request, Response};
use tracing::Level;

use super::caller;
use super::clients::Known;
use super::delivery::{self, Reader};
use super::route::message_queues;
use super::{GrpcFront, send_message, status, words};
use crate::error::{FieldAt, GatewayError};
use crate::log;

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

    /// By id, by key, or by time.
    async fn query_message(&self, request: ListMessageRequest) -> Answer<ListMessageResponse> {
        let topic = words::topic(request.topic.as_ref())?;
        let resource = request.topic.clone().unwrap_or_default();
        let broker = &self.front.messaging.broker;
        let from = request.begin_timestamp.as_ref().map(words::timestamp);
        let to = request.end_timestamp.as_ref().map(words::timestamp);
        let messages_max = u32::try_from(request.max_message_nums).unwrap_or(0).clamp(1, MESSAGES_MAX);
        let bytes_max = QUERY_BYTES_MAX;
        let found = match request.search_key {
            Some(SearchKey::MessageId(id)) => vec![broker.find_message(topic, id).await?],
            Some(SearchKey::MessageKey(key)) => {
                let query = QueryMessages { topic, key, from, to, position: None, messages_max, bytes_max };
                broker.query_messages(query).await?.messages
            }
            Some(SearchKey::LiteTopic(_)) => return Err(not_built("lite topics")),
            Some(SearchKey::Subscription(_)) => return Err(not_built("looking for messages by subscription")),
            None => {
                let browse = BrowseMessages {
                    topic,
                    queue_id: None,
                    from,
                    to,
                    filter: Filter::All,
                    newest_first: false,
                    position: None,
                    messages_max,
                    bytes_max,
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
        Err(not_built("deleting subscriptions, which are gone with the clients that have them,"))
    }

    async fn get_consumer_running_info(
        &self,
        _: GetConsumerRunningInfoRequest,
    ) -> Answer<GetConsumerRunningInfoResponse> {
        Err(not_built("running information, which gRPC clients have none of,"))
    }

    /// As the classic protocol writes a route: JSON, with the address that gRPC clients connect to.
    async fn get_topic_route(
        &self,
        request: GetTopicRouteRequest,
        local: Option<SocketAddr>,
    ) -> Answer<GetTopicRouteResponse> {
        match request.protocol_type.as_str() {
            "" | "GRPC_V2" => {}
            "REMOTING" => return Err(not_built("the classic TCP protocol")),
            other => {
                let at = FieldAt::Pointer("protocol_type".into());
                let reason = format!("the protocol type is GRPC_V2 or REMOTING, not '{other}'");
                return Err(GatewayError::InvalidParameter { at, reason });
            }
        }
        let topic = words::topic(request.topic.as_ref())?;
        let topic_route_data = self.front.topic_route_data(topic, local).await?;
        Ok(GetTopicRouteResponse { topic_route_data, ..GetTopicRouteResponse::default() })
    }

    /// When what lies in each queue was stored, and up to when a group has consumed it.
    async fn query_time_span(
        &self,
        request: QueryTimeSpanRequest,
        local: Option<SocketAddr>,
    ) -> Answer<QueryTimeSpanResponse> {
        let group = words::consumer_group(request.group.as_ref())?;
        let broker = &self.front.messaging.broker;
        let at = self.front.broker(None, local)?;
        let now = self.front.clock.wall();
        let mut queue_time_span_list = Vec::new();
        for resource in &request.topics {
            let topic = words::topic(Some(resource))?;
            let config = broker.describe_topic(topic.clone()).await?.config;
            let queues = message_queues(&config, resource, &at);
            let newest = broker.query_queue_offsets(topic.clone()).await?;
            for queue in broker.query_consume_offsets(group.clone(), topic.clone()).await? {
                let stored = async |offset| self.stored_at(&topic, queue.queue_id, offset).await;
                let min = stored(Some(queue.min_offset)).await?;
                let consumed = queue.consume_offset.and_then(|offset| offset.0.checked_sub(1)).map(QueueOffset);
                let consumed = stored(consumed.filter(|offset| *offset >= queue.min_offset)).await?;
                let max = newest.iter().find(|of| of.queue_id == queue.queue_id).and_then(|of| of.last_update);
                let delay = queue.oldest_behind.map(|stored| now.since(stored)).unwrap_or_default();
                let ms = |time: Option<Timestamp>| time.map_or(0, |time| time.0);
                queue_time_span_list.push(QueueTimeSpan {
                    message_queue: queues.get(queue.queue_id.0 as usize).cloned(),
                    min_timestamp: ms(min),
                    max_timestamp: ms(max),
                    // As RocketMQ has it: of a group that has consumed nothing, the beginning.
                    consume_timestamp: ms(consumed.or(min)),
                    delay_time_ms: i64::try_from(delay.as_millis()).unwrap_or(i64::MAX),
                });
            }
        }
        Ok(QueryTimeSpanResponse { queue_time_span_list, ..QueryTimeSpanResponse::default() })
    }

    /// When the message at this offset was stored; `None` where there is none, or none any more.
    async fn stored_at(
        &self,
        topic: &TopicName,
        queue_id: QueueId,
        offset: Option<QueueOffset>,
    ) -> Answer<Option<Timestamp>> {
        let Some(offset) = offset else { return Ok(None) };
        let pull = PullMessages { topic: topic.clone(), queue_id, offset, messages_max: 1, bytes_max: 1 };
        match self.front.messaging.broker.pull_messages(pull).await {
            Ok(pulled) => Ok(pulled.messages.first().map(|message| message.store_timestamp)),
            // Retention was faster.
            Err(BrokerError::OffsetExpired { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
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

fn log_level(wire: i32) -> Answer<Level> {
    use change_log_level_request::Level as Wire;
    Ok(match Wire::try_from(wire) {
        Ok(Wire::Trace) => Level::TRACE,
        Ok(Wire::Debug) => Level::DEBUG,
        Ok(Wire::Info) => Level::INFO,
        Ok(Wire::Warn) => Level::WARN,
        Ok(Wire::Error) => Level::ERROR,
        Err(_) => {
            let reason = format!("{wire} is no level: they are 0 (TRACE) to 4 (ERROR)");
            return Err(GatewayError::InvalidParameter { at: FieldAt::Pointer("level".into()), reason });
        }
    })
}

fn not_built(what: &str) -> GatewayError {
    GatewayError::NotImplemented { what: what.to_string() }
}

macro_rules! rpcs {
    ($($rpc:ident $(($local:ident))?: $request:ty => $response:ty,)*) => {
        #[tonic::async_trait]
        impl AdminService for Admin {
            /// The one reply without a status.
            async fn change_log_level(
                &self,
                request: Request<ChangeLogLevelRequest>,
            ) -> Result<Response<ChangeLogLevelResponse>, tonic::Status> {
                let level = log_level(request.get_ref().level);
                let changed = self.front.admitted(&request).and(level).and_then(log::change_level);
                let remark = match &changed {
                    Ok(()) => "changed; the next start is at the level of GANTRY_LOG again".to_string(),
                    Err(_) => status::of(&changed).message,
                };
                Ok(Response::new(ChangeLogLevelResponse { remark }))
            }

            $(async fn $rpc(&self, request: Request<$request>) -> Result<Response<$response>, tonic::Status> {
                $(let $local = caller::local(&request);)?
                let answer = match self.front.admitted(&request) {
                    // The method above, which takes what the request says.
                    Ok(()) => Admin::$rpc(self, request.into_inner() $(, $local)?).await,
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
    get_topic_route(local): GetTopicRouteRequest => GetTopicRouteResponse,
    query_time_span(local): QueryTimeSpanRequest => QueryTimeSpanResponse,
    get_proxy_runtime_stats: GetProxyRuntimeStatsRequest => GetProxyRuntimeStatsResponse,
}
