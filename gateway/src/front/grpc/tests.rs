//! The face over a real connection, in front of a broker that only remembers what it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use gantry_broker_core::broker::*;
use gantry_broker_core::clock::{Clock, SystemClock, Timestamp};
use gantry_broker_core::config::{BrokerConfig, Durability};
use gantry_broker_core::delivery::clients::ClientId;
use gantry_broker_core::local_broker::{LocalBroker, Surroundings};
use gantry_broker_core::message::{Message, MessageType, StoredMessage, sys_flag};
use gantry_broker_core::names::{BrokerName, ConsumerGroup, TopicName};
use gantry_broker_core::offset::{CommitLogOffset, Incarnation, QueueId, QueueOffset};
use gantry_broker_core::random::SystemRandom;
use gantry_broker_core::receipt_handle::{HandleKeys, LeaseId, ReceiptHandle};
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::{Broker, BrokerError};
use gantry_proto::grpc::v2;
use gantry_proto::grpc::v2::admin_client::AdminClient;
use gantry_proto::grpc::v2::messaging_service_client::MessagingServiceClient;
use hyper_util::rt::TokioIo;
use md5::{Digest as _, Md5};
use tokio::sync::{Notify, mpsc, watch};
use tonic::transport::Channel;
use tonic::{Code as TransportCode, Request};
use v2::Code;
use v2::receive_message_response::Content;
use v2::settings::PubSub;
use v2::telemetry_command::Command;

use super::{GrpcFront, calls, http2, request};
use crate::messaging::Messaging;
use crate::metrics::RpcCounts;
use crate::transport::limits::Limits;
use crate::transport::tls::Tls;
use crate::transport::{Speaks, Transport};

/// Sends end in one list, pops are served from another.
#[derive(Default)]
struct Memory {
    config: Mutex<Option<TopicConfig>>,
    group: Mutex<Option<ConsumerGroupConfig>>,
    sent: Mutex<Vec<SendMessage>>,
    to_pop: Mutex<VecDeque<StoredMessage>>,
    pops: Mutex<Vec<PopMessages>>,
    acked: Mutex<Vec<ReceiptHandle>>,
    changes: Mutex<Vec<ChangeInvisibleDuration>>,
    found: Mutex<Option<StoredMessage>>,
    seen: Mutex<Vec<ClientId>>,
    released: Mutex<Vec<ClientId>>,
    changed: Notify,
    awaiting: Notify,
    /// Waits never find anything, and end only with the program.
    patient: bool,
}

fn handle(queue_offset: QueueOffset) -> ReceiptHandle {
    ReceiptHandle {
        consumer_group_id: 1,
        topic_id: 1,
        incarnation: Incarnation(1),
        queue_id: QueueId(3),
        queue_offset,
        lease_id: LeaseId { boot: 1, sequence: 1 },
        deadline: Timestamp(0),
        broker_name: BrokerName::new("broker-a").unwrap(),
    }
}

fn unasked<T>() -> Result<T, BrokerError> {
    Err(BrokerError::NotImplemented { what: "this" })
}

#[async_trait]
impl Broker for Memory {
    async fn describe_broker(&self) -> Result<BrokerDescription, BrokerError> {
        unasked()
    }

    async fn describe_storage(&self) -> Result<StorageDescription, BrokerError> {
        unasked()
    }

    async fn broker_stats(&self) -> Result<BrokerStats, BrokerError> {
        unasked()
    }

    async fn topic_stats(&self, _: TopicName) -> Result<TopicStats, BrokerError> {
        unasked()
    }

    async fn browse_messages(&self, _: BrowseMessages) -> Result<BrowsedMessages, BrokerError> {
        unasked()
    }

    async fn query_messages(&self, _: QueryMessages) -> Result<BrowsedMessages, BrokerError> {
        unasked()
    }

    async fn list_consumptions(
        &self,
        _: Option<ConsumerGroup>,
        _: Option<TopicName>,
    ) -> Result<Vec<Consumption>, BrokerError> {
        unasked()
    }

    async fn send_messages(&self, send: SendMessages) -> Result<Vec<Result<SendReceipt, BrokerError>>, BrokerError> {
        let mut sent = self.sent.lock().unwrap();
        let receipt = |at: usize, message: &SendMessage| SendReceipt {
            unique_key: message.message.unique_key().into(),
            queue_id: message.queue_id,
            queue_offset: QueueOffset(at as u64),
            commit_log_offset: CommitLogOffset(0),
            store_host: "127.0.0.1:10911".parse().unwrap(),
            store_timestamp: Timestamp(0),
            durability: Durability::Memory,
            duplicate: false,
            waits_for: None,
            decide_until: None,
        };
        let results = send
            .messages
            .into_iter()
            .map(|message| {
                if message.message.tag() == Some("full") {
                    return Err(BrokerError::StorageFull);
                }
                sent.push(message.clone());
                Ok(receipt(sent.len() - 1, &message))
            })
            .collect();
        Ok(results)
    }

    async fn end_transaction(&self, _: EndTransaction) -> Result<(), BrokerError> {
        unasked()
    }
    async fn check_transactions(&self, _: CheckTransactions) -> Result<Vec<TransactionCheck>, BrokerError> {
        unasked()
    }
    async fn list_transactions(&self, _: ListTransactions) -> Result<OpenTransactions, BrokerError> {
        unasked()
    }
    async fn recall_message(&self, _: RecallMessage) -> Result<RecallOutcome, BrokerError> {
        Ok(RecallOutcome::Recalled)
    }

    async fn pull_messages(&self, pull: PullMessages) -> Result<PulledMessages, BrokerError> {
        let messages: Vec<_> = self.to_pop.lock().unwrap().drain(..).collect();
        let end = QueueOffset(pull.offset.0 + messages.len() as u64);
        Ok(PulledMessages { messages, next_offset: end, min_offset: QueueOffset(0), max_offset: end })
    }

    async fn pop_messages(&self, pop: PopMessages) -> Result<Vec<PoppedMessage>, BrokerError> {
        let mut to_pop = self.to_pop.lock().unwrap();
        let count = to_pop.len().min(pop.messages_max as usize);
        self.pops.lock().unwrap().push(pop);
        Ok(to_pop
            .drain(..count)
            .map(|message| PoppedMessage {
                handle: handle(message.queue_offset),
                message,
                delivery_attempt: 2,
                invisible_until: Timestamp(0),
            })
            .collect())
    }

    async fn reset_offsets(&self, _: ResetOffsets) -> Result<Vec<OffsetReset>, BrokerError> {
        unasked()
    }

    async fn forward_messages_to_dead_letter_queue(
        &self,
        forwards: Vec<ForwardToDeadLetterQueue>,
    ) -> Result<Vec<Result<TopicName, BrokerError>>, BrokerError> {
        Ok(forwards.iter().map(|_| Ok(TopicName::from_client("%DLQ%shop").unwrap())).collect())
    }

    async fn await_messages(&self, _: AwaitMessages) -> Result<bool, BrokerError> {
        self.awaiting.notify_one();
        if self.patient {
            std::future::pending::<()>().await;
        }
        Ok(false)
    }

    async fn await_offset(&self, _: AwaitOffset) -> Result<bool, BrokerError> {
        unasked()
    }

    async fn clients_seen(&self, clients: Vec<ClientId>) -> Result<(), BrokerError> {
        self.seen.lock().unwrap().extend(clients);
        Ok(())
    }

    async fn release_client(&self, client: ClientId) -> Result<(), BrokerError> {
        self.released.lock().unwrap().push(client);
        Ok(())
    }

    async fn ack_messages(&self, acks: Vec<ReceiptHandle>) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
        let results = acks.iter().map(|_| Ok(())).collect();
        self.acked.lock().unwrap().extend(acks);
        Ok(results)
    }

    async fn change_invisible_durations(
        &self,
        changes: Vec<ChangeInvisibleDuration>,
    ) -> Result<Vec<Result<ChangedLease, BrokerError>>, BrokerError> {
        let changed = |change: &ChangeInvisibleDuration| {
            let mut handle = change.handle.clone();
            handle.lease_id.sequence += 1;
            Ok(ChangedLease { handle, invisible_until: Timestamp(0) })
        };
        let results = changes.iter().map(changed).collect();
        self.changes.lock().unwrap().extend(changes);
        self.changed.notify_one();
        Ok(results)
    }

    async fn list_in_flight(&self, _: ListInFlight) -> Result<Vec<InFlight>, BrokerError> {
        unasked()
    }

    async fn redeliver_message(&self, _: RedeliverMessage) -> Result<(), BrokerError> {
        unasked()
    }

    async fn put_topic(&self, _: PutTopic) -> Result<(Topic, bool), BrokerError> {
        unasked()
    }

    async fn describe_topic(&self, topic: TopicName) -> Result<Topic, BrokerError> {
        match &*self.config.lock().unwrap() {
            Some(config) if config.topic == topic => {
                Ok(Topic { config: config.clone(), topic_id: 1, incarnation: Incarnation(1), version: 1 })
            }
            _ => Err(BrokerError::TopicNotFound { topic: topic.to_string() }),
        }
    }

    async fn list_topics(&self) -> Result<Vec<Topic>, BrokerError> {
        unasked()
    }

    async fn delete_topic(&self, _: TopicName) -> Result<(), BrokerError> {
        unasked()
    }

    async fn query_queue_offsets(&self, _: TopicName) -> Result<Vec<QueueOffsets>, BrokerError> {
        unasked()
    }

    async fn query_offset(&self, _: QueryOffset) -> Result<QueueOffset, BrokerError> {
        unasked()
    }

    async fn put_consumer_group(&self, _: PutConsumerGroup) -> Result<(ConsumerGroupDescription, bool), BrokerError> {
        unasked()
    }

    async fn describe_consumer_group(&self, group: ConsumerGroup) -> Result<ConsumerGroupDescription, BrokerError> {
        match &*self.group.lock().unwrap() {
            Some(config) if config.consumer_group == group => Ok(ConsumerGroupDescription {
                config: config.clone(),
                consumer_group_id: 1,
                incarnation: Incarnation(1),
                version: 1,
            }),
            _ => Err(BrokerError::ConsumerGroupNotFound { consumer_group: group.to_string() }),
        }
    }

    async fn list_consumer_groups(&self) -> Result<Vec<ConsumerGroupDescription>, BrokerError> {
        unasked()
    }

    async fn delete_consumer_group(&self, _: ConsumerGroup) -> Result<(), BrokerError> {
        unasked()
    }

    async fn query_consume_offsets(&self, _: ConsumerGroup, _: TopicName) -> Result<Vec<ConsumeProgress>, BrokerError> {
        unasked()
    }

    async fn update_consume_offsets(
        &self,
        _: ConsumerGroup,
        _: TopicName,
        _: Vec<(QueueId, QueueOffset)>,
    ) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
        unasked()
    }

    async fn read_message(&self, _: CommitLogOffset) -> Result<StoredMessage, BrokerError> {
        unasked()
    }

    async fn find_message(&self, _: TopicName, _: String) -> Result<StoredMessage, BrokerError> {
        self.found.lock().unwrap().clone().ok_or(BrokerError::MessageNotFound)
    }
}

struct House {
    memory: Arc<Memory>,
    client: MessagingServiceClient<Channel>,
    admin: AdminClient<Channel>,
    drain: watch::Sender<bool>,
}

async fn house(memory: Memory) -> House {
    let topic = TopicName::from_client("orders").unwrap();
    memory.config.lock().unwrap().get_or_insert(TopicConfig::new(topic));
    let memory = Arc::new(memory);
    let (drain, draining) = watch::channel(false);
    let channel = gateway(memory.clone(), HandleKeys::generate(&SystemRandom), draining).await;
    House {
        memory,
        client: MessagingServiceClient::new(channel.clone()).max_decoding_message_size(64 << 20),
        admin: AdminClient::new(channel),
        drain,
    }
}

/// One gateway in front of this broker.
async fn gateway(broker: Arc<dyn Broker>, keys: HandleKeys, draining: watch::Receiver<bool>) -> Channel {
    let messaging = Arc::new(Messaging::new(broker, keys, draining));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listening = listener.local_addr().unwrap();
    let tls = Arc::new(Tls::new(None, Vec::new(), Timestamp(0)).unwrap());
    let transport = Transport::new(tls, Vec::new(), Limits::default());
    let broker_name = BrokerName::new("broker-a").unwrap();
    let front = GrpcFront::new(messaging, Arc::default(), Arc::new(SystemClock), broker_name, None, listening);
    let counts = Arc::new(RpcCounts::new("DefaultCluster", "broker-a"));
    let calls = calls(front, counts);
    tokio::spawn(async move {
        loop {
            let (socket, peer) = listener.accept().await.unwrap();
            let place = transport.enter(peer).unwrap();
            let (calls, connection) = (calls.clone(), transport.open(socket, place, Speaks::Grpc).await.unwrap());
            let (info, limits) = (connection.info().clone(), transport.limits.clone());
            let service = hyper::service::service_fn(move |taken| {
                let answer = calls.answer(request(taken, &limits, &info));
                async move { Ok::<_, std::convert::Infallible>(answer.await) }
            });
            tokio::spawn(http2().serve_connection(TokioIo::new(connection), service));
        }
    });
    Channel::from_shared(format!("http://{listening}")).unwrap().connect().await.unwrap()
}

/// A call of a client that has a name.
fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-mq-client-id", "host@1@0@abc".parse().unwrap());
    request
}

fn resource(name: &str) -> Option<v2::Resource> {
    Some(v2::Resource { resource_namespace: "tenant".into(), name: name.into() })
}

fn wire_message(id: &str, body: &'static str) -> v2::Message {
    v2::Message {
        topic: resource("orders"),
        body: Bytes::from_static(body.as_bytes()),
        system_properties: Some(v2::SystemProperties { message_id: id.into(), ..v2::SystemProperties::default() }),
        ..v2::Message::default()
    }
}

fn receive() -> v2::ReceiveMessageRequest {
    v2::ReceiveMessageRequest {
        group: resource("shop"),
        message_queue: Some(v2::MessageQueue { topic: resource("orders"), id: 5, ..v2::MessageQueue::default() }),
        batch_size: 100,
        auto_renew: true,
        ..v2::ReceiveMessageRequest::default()
    }
}

/// What the store would hand out after `message` was stored in it.
fn stored(message: &Message, queue_offset: u64) -> StoredMessage {
    let mut properties = Vec::new();
    for (name, value) in message.stored_properties() {
        properties.extend([name.as_bytes(), &[1], value.as_bytes(), &[2]].concat());
    }
    StoredMessage {
        topic: Bytes::from_static(b"orders"),
        queue_id: QueueId(3),
        queue_offset: QueueOffset(queue_offset),
        commit_log_offset: CommitLogOffset(4_096),
        record_len: 100,
        body: message.body().clone(),
        body_crc: 0,
        sys_flag: if message.body_compressed { sys_flag::COMPRESSED } else { 0 },
        flag: 0,
        born_timestamp: message.born_timestamp,
        born_host: message.born_host,
        store_timestamp: Timestamp(1_700_000_000_500),
        store_host: "10.0.0.1:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        properties: properties.into(),
    }
}

fn plain(body: Bytes) -> Message {
    Message::new(body, "id", Timestamp(1), "127.0.0.1:1".parse().unwrap()).unwrap()
}

/// CRC-32 where all who know it write the same, MD5 for the others.
fn digest_of(body: &[u8], knows_crc32: bool) -> v2::Digest {
    let crc = format!("{:X}", crc32fast::hash(body));
    let md5 = || Md5::digest(body).iter().map(|byte| format!("{byte:02X}")).collect();
    let (digest_type, checksum) =
        if knows_crc32 && crc.len() == 8 { (v2::DigestType::Crc32, crc) } else { (v2::DigestType::Md5, md5()) };
    v2::Digest { r#type: digest_type.into(), checksum }
}

async fn frames(house: &mut House, request: v2::ReceiveMessageRequest) -> Vec<Content> {
    let stream = house.client.receive_message(call(request)).await.unwrap().into_inner();
    stream.map(|frame| frame.unwrap().content.unwrap()).collect().await
}

/// A stream without messages: its status, and a delivery timestamp after it.
fn only_status(frames: &[Content]) -> Code {
    match frames {
        [Content::Status(status), Content::DeliveryTimestamp(_)] => status.code(),
        other => panic!("not a status and a timestamp: {other:?}"),
    }
}

#[tokio::test]
async fn a_message_goes_the_whole_way_and_every_field_arrives() {
    let mut house = house(Memory::default()).await;
    let message = v2::Message {
        topic: resource("orders"),
        user_properties: [("colour", "red"), ("contentType", "text/plain")]
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .into(),
        system_properties: Some(v2::SystemProperties {
            tag: Some("paid".into()),
            keys: vec!["order-1 customer-7".into(), String::new(), "third".into()],
            message_id: "01ABC".into(),
            body_encoding: v2::Encoding::Gzip.into(),
            born_timestamp: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 }),
            born_host: "10.1.2.3".into(),
            // Nonsense that one client sends.
            delivery_attempt: Some(-77),
            trace_context: Some("00-trace".into()),
            ..v2::SystemProperties::default()
        }),
        body: Bytes::from_static(b"hello"),
    };
    let sent = house.client.send_message(call(v2::SendMessageRequest { messages: vec![message] })).await.unwrap();
    let sent = sent.into_inner();
    assert_eq!(sent.status.unwrap().code(), Code::Ok);
    assert_eq!(sent.entries[0].message_id, "01ABC");
    assert_eq!(sent.entries[0].status.as_ref().unwrap().code(), Code::Ok);

    let taken = house.memory.sent.lock().unwrap()[0].message.clone();
    house.memory.to_pop.lock().unwrap().push_back(stored(&taken, 118));
    let frames = frames(&mut house, receive()).await;
    let [Content::Status(status), Content::Message(message), Content::DeliveryTimestamp(_)] = &frames[..] else {
        panic!("{frames:?}")
    };
    assert_eq!(status.code(), Code::Ok);
    assert_eq!(message.topic, resource("orders"));
    assert_eq!(&message.body[..], b"hello");
    assert_eq!(message.user_properties["colour"], "red");
    assert_eq!(message.user_properties["contentType"], "text/plain");
    assert_eq!(message.user_properties.len(), 2);
    let system = message.system_properties.clone().unwrap();
    let expected = v2::SystemProperties {
        tag: Some("paid".into()),
        keys: ["order-1", "customer-7", "third"].map(String::from).to_vec(),
        message_id: "01ABC".into(),
        body_digest: Some(v2::Digest {
            r#type: v2::DigestType::Md5.into(),
            checksum: "5D41402ABC4B2A76B9719D911017C592".into(),
        }),
        body_encoding: v2::Encoding::Gzip.into(),
        message_type: v2::MessageType::Normal.into(),
        born_timestamp: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 123_000_000 }),
        born_host: "10.1.2.3".into(),
        store_timestamp: Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 500_000_000 }),
        store_host: "10.0.0.1:10911".into(),
        receipt_handle: system.receipt_handle.clone(),
        queue_id: 3,
        queue_offset: Some(118),
        delivery_attempt: Some(2),
        trace_context: Some("00-trace".into()),
        ..v2::SystemProperties::default()
    };
    assert_eq!(system, expected);
    let pop = house.memory.pops.lock().unwrap()[0].clone();
    assert_eq!((pop.messages_max, pop.lease), (32, LeaseLength::WhileSeen(ClientId::of("host@1@0@abc"))));

    let receipt_handle = system.receipt_handle.unwrap();
    let change = v2::ChangeInvisibleDurationRequest {
        group: resource("shop"),
        topic: resource("orders"),
        receipt_handle: receipt_handle.clone(),
        invisible_duration: Some(prost_types::Duration { seconds: 30, nanos: 0 }),
        ..v2::ChangeInvisibleDurationRequest::default()
    };
    let changed = house.client.change_invisible_duration(call(change)).await.unwrap().into_inner();
    assert_eq!(changed.status.unwrap().code(), Code::Ok);
    assert_ne!(changed.receipt_handle, receipt_handle);
    let entry = |receipt_handle: &str| v2::AckMessageEntry {
        message_id: "01ABC".into(),
        receipt_handle: receipt_handle.into(),
        lite_topic: None,
    };
    let ack = v2::AckMessageRequest {
        group: resource("shop"),
        topic: resource("orders"),
        entries: vec![entry(&changed.receipt_handle), entry("forged")],
    };
    let acked = house.client.ack_message(call(ack)).await.unwrap().into_inner();
    assert_eq!(acked.status.unwrap().code(), Code::MultipleResults);
    let codes: Vec<_> = acked.entries.iter().map(|entry| entry.status.as_ref().unwrap().code()).collect();
    assert_eq!(codes, [Code::Ok, Code::InvalidReceiptHandle]);
    assert_eq!(acked.entries[1].receipt_handle, "forged");
    assert_eq!(house.memory.acked.lock().unwrap()[0].queue_offset, QueueOffset(118));
}

#[tokio::test]
async fn a_caller_without_a_name_is_told_so_everywhere_but_in_heartbeats() {
    let mut house = house(Memory::default()).await;
    let client = &mut house.client;
    let messages = vec![wire_message("a", "x"), wire_message("b", "x")];
    let sent = client.send_message(v2::SendMessageRequest { messages }).await.unwrap().into_inner();
    assert_eq!(sent.status.unwrap().code(), Code::ClientIdRequired);
    let ids: Vec<_> = sent.entries.iter().map(|entry| entry.message_id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
    let routed = client.query_route(v2::QueryRouteRequest::default()).await.unwrap().into_inner();
    assert_eq!(routed.status.unwrap().code(), Code::ClientIdRequired);
    let assigned = client.query_assignment(v2::QueryAssignmentRequest::default()).await.unwrap().into_inner();
    assert_eq!(assigned.status.unwrap().code(), Code::ClientIdRequired);
    let received = client.receive_message(receive()).await.unwrap().into_inner();
    let received: Vec<_> = received.map(|frame| frame.unwrap().content.unwrap()).collect().await;
    assert_eq!(only_status(&received), Code::ClientIdRequired);
    let ack = v2::AckMessageRequest { entries: vec![v2::AckMessageEntry::default()], ..Default::default() };
    let acked = client.ack_message(ack).await.unwrap().into_inner();
    assert_eq!(acked.status.unwrap().code(), Code::ClientIdRequired);
    assert_eq!(acked.entries.len(), 1);
    let change = v2::ChangeInvisibleDurationRequest { receipt_handle: "r1.x".into(), ..Default::default() };
    let changed = client.change_invisible_duration(change).await.unwrap().into_inner();
    assert_eq!(changed.status.unwrap().code(), Code::ClientIdRequired);
    assert_eq!(changed.receipt_handle, "r1.x");
    let gone = client.notify_client_termination(v2::NotifyClientTerminationRequest::default()).await.unwrap();
    assert_eq!(gone.into_inner().status.unwrap().code(), Code::ClientIdRequired);
    let alive = client.heartbeat(v2::HeartbeatRequest::default()).await.unwrap().into_inner();
    assert_eq!(alive.status.unwrap().code(), Code::Ok);
}

#[tokio::test]
async fn what_is_not_built_says_so_in_the_status_of_a_good_reply() {
    let mut house = house(Memory::default()).await;
    macro_rules! refused {
        ($client:expr, $($rpc:ident),*) => {$(
            let status = $client.$rpc(call(Default::default())).await.unwrap().into_inner().status.unwrap();
            assert_eq!(status.code(), Code::NotImplemented, stringify!($rpc));
        )*};
    }
    refused!(house.client, sync_lite_subscription);
    refused!(house.admin, delete_subscription, get_consumer_running_info);
    let level = house.admin.change_log_level(v2::ChangeLogLevelRequest::default()).await.unwrap();
    assert!(level.into_inner().remark.contains("not built"));
}

#[tokio::test]
async fn a_consumer_that_takes_messages_while_it_lives_is_told_of_and_released_by_its_name() {
    let mut house = house(Memory::default()).await;
    only_status(&frames(&mut house, receive()).await);
    house.client.notify_client_termination(call(v2::NotifyClientTerminationRequest::default())).await.unwrap();
    let client = ClientId::of("host@1@0@abc");
    let beat = v2::HeartbeatRequest::default();
    assert_eq!(house.client.heartbeat(call(beat)).await.unwrap().into_inner().status.unwrap().code(), Code::Ok);
    assert_eq!(*house.memory.seen.lock().unwrap(), [client], "once, however often it calls");
    assert_eq!(*house.memory.released.lock().unwrap(), [client]);
    // Also if this gateway never saw it.
    house.client.notify_client_termination(call(v2::NotifyClientTerminationRequest::default())).await.unwrap();
    assert_eq!(*house.memory.released.lock().unwrap(), [client, client]);
}

#[tokio::test]
async fn an_operator_asks_a_client_over_its_stream() {
    let mut house = house(Memory::default()).await;
    let (to_server, from_test) = mpsc::channel(4);
    let mut stream = house.client.telemetry(call(tokio_stream_of(from_test))).await.unwrap().into_inner();
    let subscription = v2::Subscription {
        group: resource("shop"),
        subscriptions: vec![v2::SubscriptionEntry { topic: resource("orders"), expression: None }],
        ..v2::Subscription::default()
    };
    to_server.send(settings(PubSub::Subscription(subscription))).await.unwrap();
    stream.message().await.unwrap().unwrap();

    let mut admin = house.admin.clone();
    let listed = v2::ListConsumerConnectionRequest { group: resource("shop"), ..Default::default() };
    let listed = admin.list_consumer_connection(listed).await.unwrap().into_inner();
    assert_eq!(listed.client_info[0].client_id, "host@1@0@abc");
    let other = v2::ListSubscriptionRequest { topic: resource("elsewhere"), ..Default::default() };
    assert!(admin.list_subscription(other).await.unwrap().into_inner().subscription_info.is_empty());
    let subscriptions = admin.list_subscription(v2::ListSubscriptionRequest::default()).await.unwrap().into_inner();
    assert!(subscriptions.subscription_info[0].online);

    let print =
        |client_id: &str| v2::PrintThreadStackTraceRequest { client_id: client_id.into(), ..Default::default() };
    let nobody = admin.print_thread_stack_trace(print("nobody")).await.unwrap().into_inner();
    assert_eq!(nobody.status.unwrap().code(), Code::NotFound);
    let asked = tokio::spawn(async move { admin.print_thread_stack_trace(print("host@1@0@abc")).await });
    let Some(Command::PrintThreadStackTraceCommand(command)) = stream.message().await.unwrap().unwrap().command else {
        panic!("another command")
    };
    let answer = |nonce: &str| {
        let trace = v2::ThreadStackTrace { nonce: nonce.into(), thread_stack_trace: Some("at work".into()) };
        v2::TelemetryCommand { status: None, command: Some(Command::ThreadStackTrace(trace)) }
    };
    // An answer that nobody asked for is passed by.
    to_server.send(answer("another nonce")).await.unwrap();
    to_server.send(answer(&command.nonce)).await.unwrap();
    let answered = asked.await.unwrap().unwrap().into_inner();
    assert_eq!(answered.status.unwrap().code(), Code::Ok);
    assert_eq!(answered.thread_stack_trace.as_deref(), Some("at work"));

    // What the client says of a message is the operator's answer.
    let mut admin = house.admin.clone();
    *house.memory.found.lock().unwrap() = Some(stored(&plain(Bytes::from_static(b"body")), 7));
    let verify = v2::VerifyMessageRequest {
        client_id: "host@1@0@abc".into(),
        topic: resource("orders"),
        message_id: "id".into(),
        ..Default::default()
    };
    let asked = tokio::spawn(async move { admin.verify_message(verify).await });
    let Some(Command::VerifyMessageCommand(command)) = stream.message().await.unwrap().unwrap().command else {
        panic!("another command")
    };
    assert_eq!(command.message.unwrap().body, "body");
    let failed = v2::Status { code: Code::FailedToConsumeMessage.into(), message: "no".into() };
    let result = v2::VerifyMessageResult { nonce: command.nonce };
    let command = Some(Command::VerifyMessageResult(result));
    to_server.send(v2::TelemetryCommand { status: Some(failed), command }).await.unwrap();
    let answered = asked.await.unwrap().unwrap().into_inner();
    assert_eq!(answered.status.unwrap().code(), Code::FailedToConsumeMessage);

    drop(to_server);
    assert!(stream.message().await.unwrap().is_none());
    let mut admin = house.admin.clone();
    let gone = admin.list_subscription(v2::ListSubscriptionRequest::default()).await.unwrap().into_inner();
    assert!(gone.subscription_info.is_empty());
}

#[tokio::test]
async fn a_send_is_refused_whole_or_answered_entry_by_entry() {
    let mut house = house(Memory::default()).await;
    let mut refused = async |messages: Vec<v2::Message>| {
        let count = messages.len();
        let sent = house.client.send_message(call(v2::SendMessageRequest { messages })).await.unwrap().into_inner();
        assert_eq!(sent.entries.len(), count);
        assert!(house.memory.sent.lock().unwrap().is_empty());
        sent.status.unwrap().code()
    };
    let with = |change: &dyn Fn(&mut v2::Message)| {
        let mut message = wire_message("id", "body");
        change(&mut message);
        vec![wire_message("good", "body"), message]
    };
    assert_eq!(refused(vec![]).await, Code::MessageCorrupted);
    assert_eq!(refused(with(&|message| message.topic = resource("others"))).await, Code::MessageCorrupted);
    let mut elsewhere = wire_message("id", "body");
    elsewhere.topic = resource("a.b");
    assert_eq!(refused(vec![elsewhere.clone()]).await, Code::IllegalTopic);
    elsewhere.topic = resource("unknown");
    assert_eq!(refused(vec![elsewhere]).await, Code::TopicNotFound);
    assert_eq!(refused(with(&|message| message.body = Bytes::new())).await, Code::MessageBodyEmpty);
    let large = Bytes::from(vec![7; 4 * 1024 * 1024 + 1]);
    assert_eq!(refused(with(&|message| message.body = large.clone())).await, Code::MessageBodyTooLarge);
    let many = (0..129).map(|n| (format!("KEYS{n}"), String::new()));
    assert_eq!(
        refused(with(&|message| message.user_properties = many.clone().collect())).await,
        Code::MessagePropertiesTooLarge
    );
    let property = |name: &str, value: &str| {
        let (name, value) = (name.to_string(), value.to_string());
        with(&|message| message.user_properties = [(name.clone(), value.clone())].into())
    };
    assert_eq!(refused(property("UNIQ_KEY", "x")).await, Code::IllegalMessagePropertyKey);
    assert_eq!(refused(property("a", "x\u{1}")).await, Code::IllegalMessagePropertyKey);
    assert_eq!(refused(property("Idempotency-Key", "")).await, Code::IllegalMessagePropertyKey);
    assert_eq!(refused(property("a", &"v".repeat(16 * 1024))).await, Code::MessagePropertiesTooLarge);
    let system = |change: &dyn Fn(&mut v2::SystemProperties)| {
        with(&|message| change(message.system_properties.as_mut().unwrap()))
    };
    assert_eq!(refused(system(&|system| system.tag = Some(" ".into()))).await, Code::IllegalMessageTag);
    assert_eq!(refused(system(&|system| system.tag = Some("a|b".into()))).await, Code::IllegalMessageTag);
    assert_eq!(refused(system(&|system| system.keys = vec!["  ".into()])).await, Code::IllegalMessageKey);
    assert_eq!(refused(system(&|system| system.keys = vec!["a\tb".into()])).await, Code::IllegalMessageKey);
    assert_eq!(refused(system(&|system| system.message_id = " ".into())).await, Code::IllegalMessageId);
    assert_eq!(refused(system(&|system| system.message_group = Some(" ".into()))).await, Code::IllegalMessageGroup);
    assert_eq!(refused(system(&|system| system.message_group = Some("g".repeat(64)))).await, Code::IllegalMessageGroup);
    let now = SystemClock.wall();
    let due = |offset_secs: i64| {
        let seconds = now.0 / 1_000 + offset_secs;
        system(&|system| system.delivery_timestamp = Some(prost_types::Timestamp { seconds, nanos: 0 }))
    };
    assert_eq!(refused(due(41 * 24 * 3_600)).await, Code::IllegalDeliveryTime);
    assert_eq!(refused(due(-3_600)).await, Code::IllegalDeliveryTime);
    let misfit = Code::MessagePropertyConflictWithType;
    assert_eq!(refused(due(60)).await, misfit);
    assert_eq!(refused(system(&|system| system.message_group = Some("g".into()))).await, misfit);
    assert_eq!(refused(system(&|system| system.message_type = v2::MessageType::Transaction.into())).await, misfit);
    assert_eq!(refused(system(&|system| system.lite_topic = Some("l".into()))).await, misfit);
    assert_eq!(refused(system(&|system| system.priority = Some(1))).await, misfit);

    let messages =
        [system(&|system| system.tag = Some("full".into())), property("Idempotency-Key", "order-1")].concat();
    let sent = house.client.send_message(call(v2::SendMessageRequest { messages })).await.unwrap().into_inner();
    assert_eq!(sent.status.unwrap().code(), Code::MultipleResults);
    let codes: Vec<_> = sent.entries.iter().map(|entry| entry.status.as_ref().unwrap().code()).collect();
    assert_eq!(codes, [Code::Ok, Code::InternalServerError, Code::Ok, Code::Ok]);
    let sent = house.memory.sent.lock().unwrap();
    assert_eq!(sent[2].idempotency_key.as_deref(), Some("order-1"));
    assert!(sent[0].message.born_host.ip().is_loopback(), "a sender without a host is its peer");
}

#[tokio::test]
async fn a_receive_that_is_wrong_or_finds_nothing_is_one_status_and_a_timestamp() {
    let mut house = house(Memory::default()).await;
    assert_eq!(only_status(&frames(&mut house, receive()).await), Code::MessageNotFound);
    let mut refused = async |change: &dyn Fn(&mut v2::ReceiveMessageRequest)| {
        let mut request = receive();
        change(&mut request);
        only_status(&frames(&mut house, request).await)
    };
    assert_eq!(refused(&|request| request.group = None).await, Code::IllegalConsumerGroup);
    assert_eq!(refused(&|request| request.message_queue = None).await, Code::IllegalTopic);
    assert_eq!(refused(&|request| request.auto_renew = false).await, Code::IllegalInvisibleTime);
    let invisible = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    for seconds in [-1, 0, 9, 12 * 3_600 + 1] {
        let change = |request: &mut v2::ReceiveMessageRequest| {
            request.auto_renew = false;
            request.invisible_duration = invisible(seconds);
        };
        assert_eq!(refused(&change).await, Code::IllegalInvisibleTime, "{seconds}");
    }
    let sql = |expression: &str| {
        Some(v2::FilterExpression { r#type: v2::FilterType::Sql.into(), expression: expression.into() })
    };
    assert_eq!(refused(&|request| request.filter_expression = sql("")).await, Code::IllegalFilterExpression);
    assert_eq!(refused(&|request| request.filter_expression = sql("a = ")).await, Code::IllegalFilterExpression);
    assert_eq!(refused(&|request| request.filter_expression = sql("a = 1")).await, Code::MessageNotFound);
}

#[tokio::test]
async fn a_message_of_an_old_producer_or_a_dead_letter_queue_says_where_it_came_from() {
    let mut house = house(Memory::default()).await;
    let mut message = stored(&plain(Bytes::from_static(b"x")), 0);
    let properties =
        "DLQ_ORIGIN_TOPIC\u{1}orders\u{2}DLQ_ORIGIN_MESSAGE_ID\u{1}01AB\u{2}__SHARDINGKEY\u{1}g\u{2}a\u{1}b";
    message.properties = Bytes::from_static(properties.as_bytes());
    house.memory.to_pop.lock().unwrap().push_back(message);
    let frames = frames(&mut house, receive()).await;
    let Content::Message(message) = &frames[1] else { panic!("{frames:?}") };
    let system = message.system_properties.as_ref().unwrap();
    assert_eq!(system.message_id, "0A00000100002A9F0000000000001000");
    let origin = v2::DeadLetterQueue { topic: "orders".into(), message_id: "01AB".into() };
    assert_eq!(system.dead_letter_queue, Some(origin));
    assert_eq!(system.body_encoding(), v2::Encoding::Identity);
    assert_eq!(message.user_properties, [("a".to_string(), "b".to_string())].into());
}

#[tokio::test]
async fn who_cannot_inflate_gets_plain_bodies_with_their_own_digest() {
    let mut house = house(Memory::default()).await;
    let message_of = |packed: &'static [u8]| {
        let mut message = plain(Bytes::from_static(packed));
        message.body_compressed = true;
        message
    };
    house.memory.group.lock().unwrap().replace(ConsumerGroupConfig::new(ConsumerGroup::from_client("shop").unwrap()));
    // "x", as zlib packs it.
    const PACKED: &[u8] = &[0x78, 0x9C, 0xAB, 0x00, 0x00, 0x00, 0x79, 0x00, 0x79];
    for (language, body, encoding) in [
        ("RUST", &b"x"[..], v2::Encoding::Identity),
        ("HTTP", b"x", v2::Encoding::Identity),
        ("JAVA", PACKED, v2::Encoding::Gzip),
    ] {
        house.memory.to_pop.lock().unwrap().push_back(stored(&message_of(PACKED), 0));
        let mut call = call(receive());
        call.metadata_mut().insert("x-mq-language", language.parse().unwrap());
        let stream = house.client.receive_message(call).await.unwrap().into_inner();
        let frames: Vec<Content> = stream.map(|frame| frame.unwrap().content.unwrap()).collect().await;
        let Content::Message(message) = &frames[1] else { panic!("{frames:?}") };
        let system = message.system_properties.as_ref().unwrap();
        assert_eq!((&message.body[..], system.body_encoding()), (body, encoding), "{language}");
        assert_eq!(system.body_digest, Some(digest_of(body, language != "HTTP")), "{language}");

        // A pull gives the same, but for what makes it a delivery.
        house.memory.to_pop.lock().unwrap().push_back(stored(&message_of(PACKED), 0));
        let pull = v2::PullMessageRequest {
            group: resource("shop"),
            message_queue: Some(v2::MessageQueue { topic: resource("orders"), ..v2::MessageQueue::default() }),
            offset: 7,
            ..v2::PullMessageRequest::default()
        };
        let mut pull = self::call(pull);
        pull.metadata_mut().insert("x-mq-language", language.parse().unwrap());
        let stream = house.client.pull_message(pull).await.unwrap().into_inner();
        let pulled: Vec<_> = stream.map(|frame| frame.unwrap().content.unwrap()).collect().await;
        use v2::pull_message_response::Content as Pulled;
        let [Pulled::Status(status), Pulled::Message(other), Pulled::NextOffset(8)] = &pulled[..] else {
            panic!("{pulled:?}")
        };
        assert_eq!(status.code(), Code::Ok);
        let mut message = message.clone();
        let system = message.system_properties.as_mut().unwrap();
        (system.receipt_handle, system.delivery_attempt) = (None, Some(1));
        assert_eq!(other, &message, "{language}");
    }
}

/// "x" has a CRC-32 of eight digits, "33" of seven.
#[tokio::test]
async fn a_digest_is_one_that_the_client_makes_in_the_same_words() {
    let mut house = house(Memory::default()).await;
    for (language, knows_crc32) in [
        ("JAVA", true),
        ("GO", false),
        ("PYTHON", true),
        ("CPP", false),
        ("DOTNET", false),
        ("RUST", true),
        ("HTTP", false),
        ("ELIXIR", false),
    ] {
        for (body, is_crc32) in [(&b"x"[..], knows_crc32), (b"33", false)] {
            house.memory.to_pop.lock().unwrap().push_back(stored(&plain(Bytes::from_static(body)), 0));
            let mut call = call(receive());
            call.metadata_mut().insert("x-mq-language", language.parse().unwrap());
            let stream = house.client.receive_message(call).await.unwrap().into_inner();
            let frames: Vec<Content> = stream.map(|frame| frame.unwrap().content.unwrap()).collect().await;
            let Content::Message(message) = &frames[1] else { panic!("{frames:?}") };
            let digest = message.system_properties.as_ref().unwrap().body_digest.clone().unwrap();
            assert_eq!(digest.r#type() == v2::DigestType::Crc32, is_crc32, "{language}");
            assert_eq!(digest, digest_of(body, knows_crc32), "{language}");
        }
    }
}

#[tokio::test]
async fn a_receive_that_is_cancelled_gives_its_messages_back_and_a_finished_one_does_not() {
    let mut house = house(Memory::default()).await;
    let memory = house.memory.clone();
    let fill = |count: u64, bytes: usize| {
        let message = plain(vec![7; bytes].into());
        memory.to_pop.lock().unwrap().extend((0..count).map(|n| stored(&message, n)));
    };
    fill(40, 100);
    assert_eq!(frames(&mut house, receive()).await.len(), 32 + 2);
    assert_eq!(frames(&mut house, receive()).await.len(), 8 + 2);
    assert!(house.memory.changes.lock().unwrap().is_empty());

    // Far more than fits into the client's window: the server cannot hand it all over.
    fill(3, 4 * 1024 * 1024);
    let mut stream = house.client.receive_message(call(receive())).await.unwrap().into_inner();
    assert!(matches!(stream.message().await.unwrap().unwrap().content, Some(Content::Status(_))));
    drop(stream);
    house.memory.changed.notified().await;
    let changes = house.memory.changes.lock().unwrap();
    assert_eq!(changes.len(), 3);
    assert!(changes.iter().all(|change| change.invisible == Some(Duration::ZERO) && change.suspend));
}

#[tokio::test]
async fn a_failed_change_gives_the_handle_back_and_node_does_not_nack_in_a_circle() {
    let mut house = house(Memory::default()).await;
    house.memory.to_pop.lock().unwrap().push_back(stored(&plain(Bytes::from_static(b"x")), 0));
    let frames = frames(&mut house, receive()).await;
    let Content::Message(message) = &frames[1] else { panic!("{frames:?}") };
    let change = |receipt_handle: &str, seconds| v2::ChangeInvisibleDurationRequest {
        group: resource("shop"),
        topic: resource("orders"),
        receipt_handle: receipt_handle.into(),
        invisible_duration: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..v2::ChangeInvisibleDurationRequest::default()
    };
    for (receipt_handle, seconds, code) in [
        ("forged", 1, Code::InvalidReceiptHandle),
        ("any", -1, Code::IllegalInvisibleTime),
        ("any", 12 * 3_600 + 1, Code::IllegalInvisibleTime),
    ] {
        let answer = house.client.change_invisible_duration(call(change(receipt_handle, seconds))).await.unwrap();
        let answer = answer.into_inner();
        assert_eq!((answer.status.unwrap().code(), answer.receipt_handle.as_str()), (code, receipt_handle));
    }
    let receipt_handle = message.system_properties.as_ref().unwrap().receipt_handle.clone().unwrap();
    house.client.change_invisible_duration(call(change(&receipt_handle, 0))).await.unwrap();
    let mut from_node = call(change(&receipt_handle, 0));
    from_node.metadata_mut().insert("x-mq-language", "HTTP".parse().unwrap());
    house.client.change_invisible_duration(from_node).await.unwrap();
    let changes = house.memory.changes.lock().unwrap();
    let invisible: Vec<_> = changes.iter().map(|change| change.invisible).collect();
    assert_eq!(invisible, [Some(Duration::ZERO), Some(Duration::from_secs(1))]);
}

#[tokio::test]
async fn routes_show_real_queues_and_assignments_any_queue_unless_order_matters() {
    let mut house = house(Memory::default()).await;
    house.memory.config.lock().unwrap().as_mut().unwrap().read_queues = 9;
    let asked = v2::Endpoints {
        scheme: v2::AddressScheme::DomainName.into(),
        addresses: vec![v2::Address { host: "mq.example".into(), port: 80 }],
    };
    let route = v2::QueryRouteRequest { topic: resource("orders"), endpoints: Some(asked.clone()) };
    let routed = house.client.query_route(call(route)).await.unwrap().into_inner();
    assert_eq!(routed.status.unwrap().code(), Code::Ok);
    let queues = routed.message_queues;
    assert_eq!(queues.iter().map(|queue| queue.id).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    assert_eq!(queues[0].permission(), v2::Permission::ReadWrite);
    assert_eq!(queues[8].permission(), v2::Permission::Read);
    assert_eq!(queues[0].topic, resource("orders"));
    assert_eq!(queues[0].accept_message_types, [i32::from(v2::MessageType::Normal)]);
    let broker = v2::Broker { name: "broker-a".into(), id: 0, endpoints: Some(asked.clone()) };
    assert_eq!(queues[0].broker, Some(broker));

    let assignment = v2::QueryAssignmentRequest { topic: resource("orders"), group: resource("shop"), endpoints: None };
    let assigned = house.client.query_assignment(call(assignment.clone())).await.unwrap().into_inner();
    let queues: Vec<_> = assigned.assignments.into_iter().map(|one| one.message_queue.unwrap()).collect();
    assert_eq!(queues.iter().map(|queue| queue.id).collect::<Vec<_>>(), [-1]);
    let endpoints = queues[0].broker.clone().unwrap().endpoints.unwrap();
    assert_eq!((endpoints.scheme(), endpoints.addresses[0].host.as_str()), (v2::AddressScheme::IPv4, "127.0.0.1"));
    assert_ne!(endpoints.addresses[0].port, 0);

    let orderly =
        ConsumerGroupConfig { orderly: true, ..ConsumerGroupConfig::new(ConsumerGroup::from_client("shop").unwrap()) };
    *house.memory.group.lock().unwrap() = Some(orderly);
    let assigned = house.client.query_assignment(call(assignment.clone())).await.unwrap().into_inner();
    let ids: Vec<_> = assigned.assignments.iter().map(|one| one.message_queue.as_ref().unwrap().id).collect();
    assert_eq!(ids, (0..9).collect::<Vec<_>>());

    house.memory.config.lock().unwrap().as_mut().unwrap().permission = Permission { read: false, write: false };
    let assigned = house.client.query_assignment(call(assignment)).await.unwrap().into_inner();
    assert_eq!(assigned.status.unwrap().code(), Code::Forbidden);
    let route = v2::QueryRouteRequest { topic: resource("orders"), endpoints: Some(asked) };
    let routed = house.client.query_route(call(route)).await.unwrap().into_inner();
    assert!(routed.message_queues.iter().all(|queue| queue.permission() == v2::Permission::None));
    let route = v2::QueryRouteRequest { topic: resource("unknown"), endpoints: None };
    let routed = house.client.query_route(call(route)).await.unwrap().into_inner();
    assert_eq!(routed.status.unwrap().code(), Code::TopicNotFound);
}

fn settings(pub_sub: PubSub) -> v2::TelemetryCommand {
    let settings = v2::Settings { pub_sub: Some(pub_sub), ..v2::Settings::default() };
    v2::TelemetryCommand { status: None, command: Some(Command::Settings(settings)) }
}

fn publishing() -> PubSub {
    PubSub::Publishing(v2::Publishing {
        topics: resource("orders").into_iter().collect(),
        max_body_size: 128 << 20,
        validate_message_type: false,
    })
}

#[tokio::test]
async fn telemetry_answers_every_settings_frame_and_ends_with_the_clients_side() {
    let mut house = house(Memory::default()).await;
    let (to_server, from_test) = mpsc::channel(4);
    let outbound = tokio_stream_of(from_test);
    // The headers come before the first frame was sent.
    let mut stream = house.client.telemetry(call(outbound)).await.unwrap().into_inner();
    for _ in 0..2 {
        to_server.send(v2::TelemetryCommand::default()).await.unwrap();
        to_server.send(settings(publishing())).await.unwrap();
        let frame = stream.message().await.unwrap().unwrap();
        assert_eq!(frame.status.unwrap().code(), Code::Ok);
        let Some(Command::Settings(settings)) = frame.command else { panic!("not settings") };
        let Some(PubSub::Publishing(publishing)) = settings.pub_sub else { panic!("another arm") };
        assert_eq!(publishing.topics[0], resource("orders").unwrap());
        assert_eq!((publishing.max_body_size, publishing.validate_message_type), (4 << 20, true));
    }
    drop(to_server);
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn refused_settings_are_one_frame_with_the_reason_and_a_broken_stream() {
    let mut house = house(Memory::default()).await;
    let (to_server, from_test) = mpsc::channel(4);
    let mut stream = house.client.telemetry(call(tokio_stream_of(from_test))).await.unwrap().into_inner();
    let topics = resource("a.b").into_iter().collect();
    to_server.send(settings(PubSub::Publishing(v2::Publishing { topics, ..Default::default() }))).await.unwrap();
    let frame = stream.message().await.unwrap().unwrap();
    assert_eq!(frame.status.unwrap().code(), Code::IllegalTopic);
    assert_eq!(stream.message().await.unwrap_err().code(), TransportCode::InvalidArgument);

    let mut stream = house.client.telemetry(tokio_stream::iter([settings(publishing())])).await.unwrap().into_inner();
    let frame = stream.message().await.unwrap().unwrap();
    assert_eq!(frame.status.unwrap().code(), Code::ClientIdRequired);
    assert_eq!(stream.message().await.unwrap_err().code(), TransportCode::InvalidArgument);
}

#[tokio::test]
async fn parked_polls_and_streams_end_when_the_program_begins_to_stop() {
    let mut house = house(Memory { patient: true, ..Memory::default() }).await;
    let (to_server, from_test) = mpsc::channel(4);
    let mut stream = house.client.telemetry(call(tokio_stream_of(from_test))).await.unwrap().into_inner();
    to_server.send(settings(publishing())).await.unwrap();
    stream.message().await.unwrap().unwrap();
    let mut client = house.client.clone();
    let parked = tokio::spawn(async move {
        let stream = client.receive_message(call(receive())).await.unwrap().into_inner();
        stream.map(|frame| frame.unwrap().content.unwrap()).collect::<Vec<_>>().await
    });
    house.memory.awaiting.notified().await;
    house.drain.send(true).unwrap();
    assert_eq!(only_status(&parked.await.unwrap()), Code::MessageNotFound);
    let last = stream.message().await.unwrap().unwrap().command;
    assert!(matches!(last, Some(Command::ReconnectEndpointsCommand(_))), "{last:?}");
    assert!(stream.message().await.unwrap().is_none());
    assert_eq!(only_status(&frames(&mut house, receive()).await), Code::InternalServerError);
}

/// Two gateways with the same keys, none of which ever saw settings, in front of one broker.
#[tokio::test]
async fn what_one_gateway_began_another_finishes() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        BrokerConfig { segment_bytes: 8 << 20, durability: Durability::Memory, ..BrokerConfig::new(dir.path()) };
    let surroundings = Surroundings {
        files: Arc::new(DiskFiles),
        clock: Box::new(SystemClock),
        random: Arc::new(SystemRandom),
        failed: Box::new(|error| panic!("the store failed: {error}")),
    };
    let broker = Arc::new(LocalBroker::open(config, surroundings).unwrap());
    let (_drain, draining) = watch::channel(false);
    let mut clients = Vec::new();
    for _ in 0..2 {
        let channel = gateway(broker.clone(), broker.handle_keys(), draining.clone()).await;
        clients.push(MessagingServiceClient::new(channel));
    }
    let [mut one, mut other] = <[_; 2]>::try_from(clients).unwrap();
    for (name, message_type) in
        [("orders", MessageType::Normal), ("pay", MessageType::Transaction), ("later", MessageType::Delay)]
    {
        let topic = TopicName::from_client(name).unwrap();
        let config = TopicConfig { message_type, ..TopicConfig::new(topic) };
        broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
    }
    let received = async |client: &mut MessagingServiceClient<Channel>, topic: &str| {
        let queue = Some(v2::MessageQueue { topic: resource(topic), ..v2::MessageQueue::default() });
        let request = v2::ReceiveMessageRequest { message_queue: queue, ..receive() };
        let stream = client.receive_message(call(request)).await.unwrap().into_inner();
        let frames: Vec<_> = stream.map(|frame| frame.unwrap().content.unwrap()).collect().await;
        let messages = frames.into_iter().filter_map(|frame| match frame {
            Content::Message(message) => message.system_properties.unwrap().receipt_handle,
            _ => None,
        });
        messages.collect::<Vec<_>>()
    };
    let ack = |topic: &str, handle: &str| v2::AckMessageRequest {
        group: resource("shop"),
        topic: resource(topic),
        entries: vec![v2::AckMessageEntry { receipt_handle: handle.into(), ..v2::AckMessageEntry::default() }],
    };

    let messages = vec![wire_message("id", "body")];
    one.send_message(call(v2::SendMessageRequest { messages })).await.unwrap();
    let handles = received(&mut other, "orders").await;
    let change = v2::ChangeInvisibleDurationRequest {
        group: resource("shop"),
        topic: resource("orders"),
        receipt_handle: handles[0].clone(),
        invisible_duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..v2::ChangeInvisibleDurationRequest::default()
    };
    let renewed = one.change_invisible_duration(call(change)).await.unwrap().into_inner();
    assert_eq!(renewed.status.unwrap().code(), Code::Ok);
    let old = other.ack_message(call(ack("orders", &handles[0]))).await.unwrap().into_inner();
    assert_eq!(old.status.unwrap().code(), Code::InvalidReceiptHandle);
    let acked = other.ack_message(call(ack("orders", &renewed.receipt_handle))).await.unwrap().into_inner();
    assert_eq!(acked.status.unwrap().code(), Code::Ok);

    let mut half = wire_message("half", "body");
    half.topic = resource("pay");
    half.system_properties.as_mut().unwrap().message_type = v2::MessageType::Transaction.into();
    let begun = one.send_message(call(v2::SendMessageRequest { messages: vec![half] })).await.unwrap().into_inner();
    let commit = v2::EndTransactionRequest {
        topic: resource("pay"),
        message_id: "half".into(),
        transaction_id: begun.entries[0].transaction_id.clone(),
        resolution: v2::TransactionResolution::Commit.into(),
        ..v2::EndTransactionRequest::default()
    };
    let ended = other.end_transaction(call(commit)).await.unwrap().into_inner();
    assert_eq!(ended.status.unwrap().code(), Code::Ok);
    assert_eq!(received(&mut one, "pay").await.len(), 1);

    let mut later = wire_message("later", "body");
    later.topic = resource("later");
    let due = SystemClock.wall().plus(Duration::from_secs(600));
    later.system_properties.as_mut().unwrap().delivery_timestamp = Some(super::words::wire_timestamp(due));
    let sent = one.send_message(call(v2::SendMessageRequest { messages: vec![later] })).await.unwrap().into_inner();
    let recall_handle = sent.entries[0].recall_handle.clone();
    let recall = v2::RecallMessageRequest { topic: resource("later"), recall_handle };
    let recalled = other.recall_message(call(recall)).await.unwrap().into_inner();
    assert_eq!((recalled.status.unwrap().code(), &*recalled.message_id), (Code::Ok, "later"));
}

fn tokio_stream_of<T>(receiver: mpsc::Receiver<T>) -> impl futures_core::Stream<Item = T> {
    futures_util::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}
