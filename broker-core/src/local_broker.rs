//! A broker in this process: the parts, opened and closed in order. What it does is in `operation/`.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};
use std::time::Duration;

use async_trait::async_trait;

use crate::background::Background;
use crate::broker::*;
use crate::clock::{Clock, Timestamp};
use crate::config::BrokerConfig;
use crate::delivery::cell::Cell;
use crate::delivery::cells::AllCells;
use crate::delivery::clients::{ClientId, Clients};
use crate::delivery::idempotency::IdempotencyKeys;
use crate::delivery::leases::Lease;
use crate::delivery::long_polling::LongPolling;
use crate::delivery::redelivery::Redelivery;
use crate::error::BrokerError;
use crate::foreign;
use crate::foreign::export::export;
use crate::foreign::import::Import;
use crate::message::{StoredMessage, property};
use crate::metrics::Traffic;
use crate::names::{ConsumerGroup, STATE_TOPIC, TopicName};
use crate::offset::{CommitLogOffset, QueueId, QueueOffset};
use crate::operation;
use crate::operation::fire_messages::{Bell, Delayed};
use crate::operation::forward_message_to_dead_letter_queue::{AttemptLimit, give_up_exhausted};
use crate::operation::half_messages::{self, Transactions};
use crate::random::Random;
use crate::receipt_handle::{HandleKeys, LeaseId, ReceiptHandle};
use crate::state::record::{Entry, KeyedMessage, StateRecordError, decode, encode, synced_stamp};
use crate::state::replay::Replay;
use crate::state::snapshot::Snapshot;
use crate::state::source::Source;
use crate::state::tables::Tables;
use crate::store::error::StoreError;
use crate::store::files::Files;
use crate::store::record::Glance;
use crate::store::snapshots::SnapshotFile;
use crate::store::{Store, StoreConfig, StoreHooks, StoreParts, TopicAtStart};

pub struct LocalBroker {
    parts: Arc<Parts>,
    background: Mutex<Option<Background>>,
}

/// What every operation works with.
pub(crate) struct Parts {
    pub(crate) config: BrokerConfig,
    pub(crate) store: Store,
    pub(crate) tables: RwLock<Tables>,
    pub(crate) cells: AllCells,
    pub(crate) idempotency: IdempotencyKeys,
    pub(crate) long_polling: Arc<LongPolling>,
    pub(crate) redelivery: Redelivery,
    pub(crate) clients: Clients,
    pub(crate) delayed: Delayed,
    pub(crate) transactions: Transactions,
    /// Which queue a pop looks at first: each pop begins one further, so no queue starves.
    pub(crate) next_queue: AtomicU32,
    lease_sequence: AtomicU64,
    /// Where the log ended when the last mark was written.
    marked: AtomicU64,
    handle_keys: HandleKeys,
    pub(crate) started: Timestamp,
    /// Where the log ended when the broker started, and what its records of state have taken since.
    pub(crate) log_at_start: CommitLogOffset,
    pub(crate) state_bytes: AtomicU64,
    /// What went through topics that are gone.
    pub(crate) traffic_of_deleted: Traffic,
}

/// What a broker takes from the world around it.
pub struct Surroundings {
    pub files: Arc<dyn Files>,
    pub clock: Box<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Called once when the store fails: nothing is acknowledged any more and the process shall end.
    pub failed: Box<dyn Fn(&str) + Send + Sync>,
}

/// A mark is written after so many bytes of messages.
const MARK_BYTES: u64 = 64 << 20;
/// Each waits a tenth of a second for the disk.
const PATIENT_ATTEMPTS_MAX: usize = 600;

/// Kept beside the log and never in it: whoever reads the log must not be able to forge handles.
const HANDLE_KEYS_FILE: &str = "handle-keys";

impl LocalBroker {
    /// Opens the store, replays the state and starts the threads. Blocking.
    pub fn open(config: BrokerConfig, surroundings: Surroundings) -> Result<LocalBroker, StoreError> {
        let long_polling = Arc::new(LongPolling::default());
        let waiters = long_polling.clone();
        let bell = Arc::new(Bell::default());
        let timer_bell = bell.clone();
        let random = surroundings.random.clone();
        let mut store = Store::open(
            StoreConfig {
                data_dir: config.data_dir.clone(),
                durability: config.durability,
                segment_bytes: config.segment_bytes,
                store_host: config.store_host,
                index_layout: config.index_layout,
                pace: config.pace,
                delay_levels: config.delay_levels.clone(),
            },
            StoreParts { files: surroundings.files, clock: surroundings.clock, random: surroundings.random },
            StoreHooks {
                arrived: Box::new(move |arrivals, read| {
                    for arrival in arrivals {
                        waiters.arrived(arrival, read);
                    }
                    timer_bell.arrived(arrivals);
                }),
                failed: surroundings.failed,
                stamp_of,
            },
        )?;

        let Replay { mut tables, cells, mut timers, mut queue_ends, idempotency, .. } =
            replay(&store, config.idempotency_window)?;
        let mut import = Import::begin(&store, &mut tables)?;
        queue_ends.extend(import.iter_mut().flat_map(Import::take_queue_ends));
        let topics: Vec<_> = tables
            .topics()
            .map(|topic| TopicAtStart {
                topic: topic.config.topic.clone(),
                incarnation: topic.incarnation,
                queues: queues_of(&topic.config),
                queue_ends: queue_ends.remove(&topic.topic_id).unwrap_or_default(),
            })
            .collect();
        store.start(&topics)?;
        tables.topics().for_each(|topic| operation::retention::begin_as_decided(&store, &tables, topic));
        if let Some(import) = import {
            import.finish(&store, &mut tables, &cells, &mut timers)?;
        }

        let handle_keys = match store.read_small_file(HANDLE_KEYS_FILE)? {
            Some(bytes) => HandleKeys::from_bytes(&bytes).ok_or_else(|| StoreError::Damaged {
                file: config.data_dir.join("gantry").join(HANDLE_KEYS_FILE),
                offset: 0,
                reason: "not a file of handle keys".into(),
            })?,
            None => {
                let keys = HandleKeys::generate(&*random);
                store.replace_small_file(HANDLE_KEYS_FILE, &keys.to_bytes(), true)?;
                keys
            }
        };
        let (started, log_at_start) = (store.now(), store.max_offset());
        let broker = LocalBroker {
            parts: Arc::new(Parts {
                config,
                store,
                tables: RwLock::new(tables),
                cells,
                idempotency,
                long_polling,
                redelivery: Redelivery::default(),
                clients: Clients::default(),
                delayed: Delayed::new(timers, bell),
                transactions: Transactions::default(),
                next_queue: AtomicU32::new(0),
                lease_sequence: AtomicU64::new(0),
                marked: AtomicU64::new(0),
                handle_keys,
                started,
                log_at_start,
                state_bytes: AtomicU64::new(0),
                traffic_of_deleted: Traffic::default(),
            }),
            background: Mutex::new(None),
        };
        let parts = &broker.parts;
        let boot = [Entry::Boot { boot: parts.store.boot() }];
        parts.append_state_patiently(&boot).map_err(|refused| refused.store_error())?;
        parts.arm_all();
        half_messages::upkeep::arm_at_start(parts);
        // Killed between the deletion of messages and the record that they are settled.
        let begins_later = parts.store.min_offset().0 > 0;
        let has_expired = |topic_id| parts.tables().kept_from(topic_id).next().is_some();
        operation::retention::settle_what_is_gone(parts, |topic_id| begins_later || has_expired(topic_id))?;
        // Nobody receives what has had its time while the broker was away.
        operation::retention::expire_messages(parts)?;
        *broker.background.lock().expect("just made") = Some(Background::start(parts));
        Ok(broker)
    }

    pub fn handle_keys(&self) -> HandleKeys {
        self.parts.handle_keys.clone()
    }

    /// Writes down the state as a whole. Done now and then by itself. Blocking.
    pub fn take_snapshot(&self) -> Result<(), StoreError> {
        operation::snapshot::take_snapshot(&self.parts)
    }

    /// Delivers the delayed messages whose time has come. Done at their time by itself. Blocking.
    pub fn deliver_due(&self) -> Result<(), StoreError> {
        loop {
            // What was put back on its way may be due as well, and holds its second until the wheel has it.
            let end = self.parts.store.max_offset();
            self.parts.store.reached_soon(end).wait()?;
            operation::fire_messages::fire_due(&self.parts)?;
            if self.parts.store.max_offset() == end {
                return Ok(());
            }
        }
    }

    /// Lets go of what has been kept long enough. Done every few seconds by itself. Blocking.
    pub fn enforce_retention(&self) -> Result<(), StoreError> {
        operation::retention::enforce_retention(&self.parts)
    }

    /// Ends all waits, so that a stop has nothing to wait for.
    pub fn drain(&self) {
        self.parts.long_polling.close();
        self.parts.transactions.close();
    }

    /// The clean stop: what was appended is synced, derived files are whole. Blocking.
    pub fn close(&self) -> Result<(), StoreError> {
        self.drain();
        self.end_background();
        // What RocketMQ is told is read from queues, and those have what the disk has. It must not hear of anything else.
        let end = self.parts.store.max_offset();
        if let Err(error) = self.parts.store.reached_soon(end).wait() {
            self.parts.store.close()?;
            return Err(error);
        }
        if let Err(error) = operation::fire_messages::record_fired(&self.parts) {
            tracing::error!(%error, "what was fired last is known by its records alone");
        }
        if let Err(error) = operation::fire_messages::leave_wheel(&self.parts) {
            tracing::error!(%error, "RocketMQ's timer files were not written: only Gantry should open this store next");
        }
        if let Err(error) = foreign::transactions::leave_ops(&self.parts) {
            tracing::error!(%error, "RocketMQ was not told which transactions are decided: only Gantry should open this store next");
        }
        let exported = export(&self.parts.store, &self.parts.tables(), &self.parts.cells, &self.parts.delayed.timers())
            .unwrap_or_else(|error| {
                tracing::error!(%error, "RocketMQ's files were not written: only Gantry should open this store next");
                Vec::new()
            });
        let stopped = self.parts.append_state_patiently(&[Entry::Stop { exported }]);
        if stopped.is_ok()
            && let Err(error) = operation::snapshot::take_snapshot(&self.parts)
        {
            tracing::error!(%error, "the state was not written down: the next start replays more of the log");
        }
        self.parts.store.close()?;
        stopped.map(|_| ()).map_err(|refused| refused.store_error())
    }
}

impl LocalBroker {
    #[cfg(test)]
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    fn end_background(&self) {
        if let Some(mut background) = self.background.lock().expect("no code panics while holding it").take() {
            background.stop(&self.parts);
        }
    }
}

/// Without `close` this is what a kill leaves behind, for a test in the same process.
impl Drop for LocalBroker {
    fn drop(&mut self) {
        self.end_background();
    }
}

/// What a state record says was synced; every other record says nothing, whatever its body looks like.
pub(crate) fn stamp_of(message: &StoredMessage) -> Option<CommitLogOffset> {
    (message.topic() == STATE_TOPIC).then(|| synced_stamp(&message.body)).flatten()
}

/// The state as the log says it is.
fn replay(store: &Store, idempotency_window: Duration) -> Result<Replay, StoreError> {
    let mut replay = Replay::new(idempotency_window);
    if let Some(SnapshotFile { head, body }) = store.snapshot() {
        let name = format!("snapshot at {}", head.replay_from);
        let snapshot = Snapshot::decode(body).map_err(|error| refused_state(name.into(), 0, &error))?;
        replay = Replay::from_snapshot(snapshot, idempotency_window);
    }
    let mut refused = None;
    let concern = |record: &Glance<'_>| Source::is_in(record.properties) || KeyedMessage::is_in(record.properties);
    store.read_state(concern, |message| {
        let taken = match message.topic() {
            STATE_TOPIC => state_entries(&message)
                .map(|entries| entries.iter().for_each(|entry| replay.apply(entry, message.commit_log_offset))),
            _ if KeyedMessage::is_in(&message.properties) => {
                KeyedMessage::of(&message).iter().for_each(|message| replay.keyed(message));
                Ok(())
            }
            _ => source_of(&message).map(|source| replay.moved(&source, message.commit_log_offset)),
        };
        refused = refused.take().or(taken.err());
    })?;
    refused.map_or(Ok(replay), Err)
}

/// What a state record says.
pub(crate) fn state_entries(message: &StoredMessage) -> Result<Vec<Entry>, StoreError> {
    let at = message.commit_log_offset;
    decode(&message.body).map_err(|error| refused_state(format!("state record at {at}").into(), at.0, &error))
}

/// From where a message was moved, of which its properties say that it was.
pub(crate) fn source_of(message: &StoredMessage) -> Result<Source, StoreError> {
    let at = message.commit_log_offset;
    let text = message.property(property::SOURCE).unwrap_or_default();
    Source::parse(text).map_err(|error| refused_state(format!("moved message at {at}").into(), at.0, &error))
}

/// A whole record, its checksum right, that we cannot read: a newer Gantry wrote it, or this one is wrong.
fn refused_state(file: PathBuf, offset: u64, error: &StateRecordError) -> StoreError {
    match error {
        StateRecordError::NewerVersion(_) | StateRecordError::UnknownKind(_) | StateRecordError::NewerField(_) => {
            StoreError::NewerFormat { file }
        }
        StateRecordError::Malformed(reason) => StoreError::Damaged { file, offset, reason: (*reason).into() },
    }
}

/// How many queues a topic has ever had: the read queues, which never shrink. Writers may leave queues that readers drain.
pub(crate) fn queues_of(config: &TopicConfig) -> u32 {
    config.read_queues
}

/// An append of state that was refused.
#[derive(Debug, Clone)]
pub(crate) struct StateRefused(StoreError);

impl StateRefused {
    pub(crate) fn store_error(self) -> StoreError {
        self.0
    }
}

impl From<StateRefused> for BrokerError {
    fn from(refused: StateRefused) -> BrokerError {
        refused.0.into()
    }
}

impl Parts {
    /// The tables, held from looking a topic up until the append is done, so that no record of a deleted topic can
    /// follow the record that deletes it.
    pub(crate) fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read().expect("no code panics while holding it")
    }

    /// Appends one state record; the offset it begins at and the end to wait for.
    pub(crate) fn append_state(&self, entries: &[Entry]) -> Result<(CommitLogOffset, CommitLogOffset), StateRefused> {
        let body = encode(self.store.synced_offset(), entries);
        let mut batch = self.store.append_state(body).map_err(StateRefused)?;
        let appended = batch.entries.pop().expect("one result for one record").map_err(StateRefused)?;
        self.state_bytes.fetch_add(appended.record_len.into(), Ordering::Relaxed);
        Ok((appended.commit_log_offset, batch.end))
    }

    /// As `append_state`, for a start and a stop: a disk that stands still for a while only slows them down.
    fn append_state_patiently(&self, entries: &[Entry]) -> Result<(CommitLogOffset, CommitLogOffset), StateRefused> {
        for _ in 1..PATIENT_ATTEMPTS_MAX {
            match self.append_state(entries) {
                Err(StateRefused(StoreError::Overloaded { .. })) => {}
                outcome => return outcome,
            }
        }
        self.append_state(entries)
    }

    /// Ids for so many new leases.
    pub(crate) fn lease_ids(&self, count: usize) -> LeaseId {
        let sequence = self.lease_sequence.fetch_add(count as u64, Ordering::Relaxed);
        LeaseId { boot: self.store.boot(), sequence }
    }

    /// As `reached`, for a change of topics or groups: nobody should wait for the next message to have it synced.
    pub(crate) async fn reached_soon(&self, end: CommitLogOffset) -> Result<(), BrokerError> {
        self.store.reached_soon(end).await.map_err(BrokerError::from)
    }

    /// While data flows, a state record says now and then how much of it is synced: recovery tells damage from a torn
    /// tail by it. Losing the race or the append is no harm, the next one comes soon.
    pub(crate) fn mark(&self, end: CommitLogOffset) {
        let last = self.marked.load(Ordering::Relaxed);
        if end.0.saturating_sub(last) < MARK_BYTES {
            return;
        }
        let won = self.marked.compare_exchange(last, end.0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if won && let Err(error) = self.append_state(&[Entry::Mark]) {
            tracing::debug!(?error, "no mark was written");
        }
    }

    /// Waits until what ends at `end` is as safe as the broker promises.
    pub(crate) async fn reached(&self, end: CommitLogOffset) -> Result<(), BrokerError> {
        self.store.reached(end).await.map_err(BrokerError::from)
    }

    /// Wakes receives for messages whose leases ran out, and arms the next deadline.
    pub(crate) fn came_back(&self, pair: (u32, u32)) {
        if half_messages::is_theirs(&self.tables(), pair) {
            return half_messages::upkeep::keep_up(self);
        }
        give_up_exhausted(self, pair);
        let (group_id, topic_id) = pair;
        let tables = self.tables();
        let (Some(group), Some(topic)) = (tables.consumer_group_by_id(group_id), tables.topic_by_id(topic_id)) else {
            return;
        };
        let now = self.store.now();
        let cells = self.cells.of(pair);
        let cells = cells.lock().expect("no code panics while holding it");
        let limit = AttemptLimit::of(&group.config, &topic.config.topic);
        let stays = |lease: &Lease| limit.is_reached(lease.attempt);
        // A lane goes on when its first message was given up.
        let waiting = self.long_polling.len();
        let may_go_on = |cell: &Cell| {
            let came_back = cell.deliverable(now, stays).map(|(offset, _)| offset);
            cell.ready().chain(came_back).take(waiting).count() as u64
        };
        let count: u64 = cells.values().map(|cell| may_go_on(cell)).sum();
        let next = cells.values().filter_map(|cell| cell.next_deadline(now)).min();
        drop(cells);
        if count > 0 {
            self.long_polling.came_back(&topic.config.topic, &group.config.consumer_group, count);
        }
        if let Some(deadline) = next {
            self.redelivery.arm(pair, deadline);
        }
    }

    /// After a start: leases of the last life run out in this one.
    /// Consumers that held something have a while to be heard of.
    fn arm_all(&self) {
        let now = self.store.now();
        for (_, cells) in self.cells.all() {
            let cells = cells.lock().expect("nobody else is here yet");
            self.clients.held_before(cells.values().flat_map(|cell| cell.clients()), now);
        }
        for pair in self.cells.pairs() {
            let cells = self.cells.of(pair);
            let next = cells
                .lock()
                .expect("nobody else is here yet")
                .values()
                .filter_map(|cell| cell.next_deadline(now))
                .min();
            if let Some(deadline) = next {
                self.redelivery.arm(pair, deadline);
            }
        }
    }
}

#[async_trait]
impl Broker for LocalBroker {
    async fn describe_broker(&self) -> Result<BrokerDescription, BrokerError> {
        let Parts { config, store, .. } = &*self.parts;
        let tables = self.parts.tables();
        Ok(BrokerDescription {
            broker_name: config.broker_name.clone(),
            cluster_name: config.cluster_name.clone(),
            durability: config.durability,
            refuses_sends: store
                .failure()
                .map(|reason| BrokerError::ReadOnly { reason })
                .or_else(|| store.refuses_messages().then_some(BrokerError::StorageFull)),
            commit_log_min: store.min_offset(),
            commit_log_max: store.max_offset(),
            topics: tables.topics().len(),
            consumer_groups: tables.consumer_groups().len(),
            started: self.parts.started,
        })
    }

    async fn describe_storage(&self) -> Result<StorageDescription, BrokerError> {
        let store = &self.parts.store;
        let (disk_total_bytes, disk_available_bytes) = store.disk_bytes()?;
        Ok(StorageDescription {
            commit_log_min: store.min_offset(),
            commit_log_max: store.max_offset(),
            disk_total_bytes,
            disk_available_bytes,
            earliest: store.earliest()?.map(|record| record.store_timestamp),
            retention: self.parts.config.retention.clone(),
            flush_behind_bytes: store.max_offset().0.saturating_sub(store.synced_offset().0),
            dispatch_behind_bytes: store.confirm_offset().0.saturating_sub(store.dispatched_offset().0),
            syncs: store.syncs(),
            timers: operation::fire_messages::stats(&self.parts),
        })
    }

    async fn broker_stats(&self) -> Result<BrokerStats, BrokerError> {
        Ok(operation::stats::broker_stats(&self.parts))
    }

    async fn send_messages(&self, send: SendMessages) -> Result<Vec<Result<SendReceipt, BrokerError>>, BrokerError> {
        operation::send_message::send_messages(&self.parts, send).await
    }

    async fn recall_message(&self, recall: RecallMessage) -> Result<RecallOutcome, BrokerError> {
        operation::recall_message::recall_message(&self.parts, recall).await
    }

    async fn end_transaction(&self, end: EndTransaction) -> Result<(), BrokerError> {
        operation::end_transaction::end_transaction(&self.parts, end).await
    }

    async fn check_transactions(&self, check: CheckTransactions) -> Result<Vec<TransactionCheck>, BrokerError> {
        operation::check_transactions::check_transactions(&self.parts, &check).await
    }

    async fn list_transactions(&self, list: ListTransactions) -> Result<OpenTransactions, BrokerError> {
        operation::check_transactions::list_transactions(&self.parts, &list)
    }

    async fn pull_messages(&self, pull: PullMessages) -> Result<PulledMessages, BrokerError> {
        operation::pull_message::pull_messages(&self.parts, &pull)
    }

    async fn browse_messages(&self, browse: BrowseMessages) -> Result<BrowsedMessages, BrokerError> {
        operation::browse_messages::browse_messages(&self.parts, &browse)
    }

    async fn query_messages(&self, query: QueryMessages) -> Result<BrowsedMessages, BrokerError> {
        operation::query_messages::query_messages(&self.parts, &query)
    }

    async fn pop_messages(&self, pop: PopMessages) -> Result<Vec<PoppedMessage>, BrokerError> {
        operation::pop_message::pop_messages(&self.parts, &pop)
    }

    async fn await_messages(&self, wait: AwaitMessages) -> Result<bool, BrokerError> {
        operation::await_message::await_messages(&self.parts, &wait).await
    }

    async fn await_offset(&self, wait: AwaitOffset) -> Result<bool, BrokerError> {
        operation::await_offset::await_offset(&self.parts, &wait).await
    }

    async fn clients_seen(&self, clients: Vec<ClientId>) -> Result<(), BrokerError> {
        operation::release_client::clients_seen(&self.parts, &clients);
        Ok(())
    }

    async fn release_client(&self, client: ClientId) -> Result<(), BrokerError> {
        operation::release_client::release_client(&self.parts, client)
    }

    async fn ack_messages(&self, acks: Vec<ReceiptHandle>) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
        operation::ack_message::ack_messages(&self.parts, &acks)
    }

    async fn change_invisible_durations(
        &self,
        changes: Vec<ChangeInvisibleDuration>,
    ) -> Result<Vec<Result<ChangedLease, BrokerError>>, BrokerError> {
        operation::change_invisible_duration::change_invisible_durations(&self.parts, &changes)
    }

    async fn forward_messages_to_dead_letter_queue(
        &self,
        forwards: Vec<ForwardToDeadLetterQueue>,
    ) -> Result<Vec<Result<TopicName, BrokerError>>, BrokerError> {
        operation::forward_message_to_dead_letter_queue::forward_messages_to_dead_letter_queue(&self.parts, &forwards)
            .await
    }

    async fn redeliver_message(&self, redeliver: RedeliverMessage) -> Result<(), BrokerError> {
        operation::redeliver_message::redeliver_message(&self.parts, &redeliver).await
    }

    async fn put_topic(&self, put: PutTopic) -> Result<(Topic, bool), BrokerError> {
        operation::topics::put_topic(&self.parts, put).await
    }

    async fn describe_topic(&self, topic: TopicName) -> Result<Topic, BrokerError> {
        operation::topics::describe_topic(&self.parts, &topic)
    }

    async fn list_topics(&self) -> Result<Vec<Topic>, BrokerError> {
        Ok(self.parts.tables().topics().map(|topic| Topic::clone(topic)).collect())
    }

    async fn delete_topic(&self, topic: TopicName) -> Result<(), BrokerError> {
        operation::topics::delete_topic(&self.parts, &topic).await
    }

    async fn query_queue_offsets(&self, topic: TopicName) -> Result<Vec<QueueOffsets>, BrokerError> {
        operation::topics::query_queue_offsets(&self.parts, &topic)
    }

    async fn query_offset(&self, query: QueryOffset) -> Result<QueueOffset, BrokerError> {
        operation::query_offset::query_offset(&self.parts, &query)
    }

    async fn topic_stats(&self, topic: TopicName) -> Result<TopicStats, BrokerError> {
        operation::stats::topic_stats(&self.parts, &topic)
    }

    async fn put_consumer_group(&self, put: PutConsumerGroup) -> Result<(ConsumerGroupDescription, bool), BrokerError> {
        operation::consumer_groups::put_consumer_group(&self.parts, put).await
    }

    async fn describe_consumer_group(&self, group: ConsumerGroup) -> Result<ConsumerGroupDescription, BrokerError> {
        operation::consumer_groups::describe_consumer_group(&self.parts, &group)
    }

    async fn list_consumer_groups(&self) -> Result<Vec<ConsumerGroupDescription>, BrokerError> {
        Ok(self.parts.tables().consumer_groups().map(|group| ConsumerGroupDescription::clone(group)).collect())
    }

    async fn delete_consumer_group(&self, group: ConsumerGroup) -> Result<(), BrokerError> {
        operation::consumer_groups::delete_consumer_group(&self.parts, &group).await
    }

    async fn query_consume_offsets(
        &self,
        group: ConsumerGroup,
        topic: TopicName,
    ) -> Result<Vec<ConsumeProgress>, BrokerError> {
        operation::consume_offsets::query_consume_offsets(&self.parts, &group, &topic)
    }

    async fn list_in_flight(&self, list: ListInFlight) -> Result<Vec<InFlight>, BrokerError> {
        operation::list_in_flight::list_in_flight(&self.parts, &list)
    }

    async fn list_consumptions(
        &self,
        group: Option<ConsumerGroup>,
        topic: Option<TopicName>,
    ) -> Result<Vec<Consumption>, BrokerError> {
        operation::consume_offsets::list_consumptions(&self.parts, group.as_ref(), topic.as_ref())
    }

    async fn update_consume_offsets(
        &self,
        group: ConsumerGroup,
        topic: TopicName,
        offsets: Vec<(QueueId, QueueOffset)>,
    ) -> Result<Vec<Result<(), BrokerError>>, BrokerError> {
        operation::consume_offsets::update_consume_offsets(&self.parts, &group, &topic, &offsets)
    }

    async fn reset_offsets(&self, reset: ResetOffsets) -> Result<Vec<OffsetReset>, BrokerError> {
        operation::reset_offsets::reset_offsets(&self.parts, &reset)
    }

    async fn read_message(&self, at: CommitLogOffset) -> Result<StoredMessage, BrokerError> {
        operation::read_message::read_message(&self.parts, at)
    }

    async fn find_message(&self, topic: TopicName, unique_key: String) -> Result<StoredMessage, BrokerError> {
        operation::read_message::find_message(&self.parts, &topic, &unique_key)
    }
}
