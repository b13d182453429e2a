//! Each operation, done to the broker and to its model alike, and their answers compared.

use std::collections::BTreeMap;

use super::reference::{
    Delivery, Draft, Ended, Fate, HalfState, Model, Place, Refusal, Row, State, Verdict, Waiting, place_of,
};
use super::*;
use crate::delivery::clients::ClientId;
use crate::message;
use crate::message::Transaction;
use crate::names::ProducerGroup;
use crate::operation::{half_messages, release_client};
use crate::store::index_file::IndexLayout;

/// Consumers that keep messages while they live.
const CLIENTS: u64 = 2;
const DAY_MS: u64 = 24 * 3_600_000;
/// A start goes through all of an index file: with RocketMQ's lengths that was nine tenths of a sequence's time.
const INDEX_LAYOUT: IndexLayout = IndexLayout { slots: 64, entries: 1_024 };
/// Different idempotency keys.
const KEYS: u64 = 5;

pub(super) struct Play {
    dice: Dice,
    files: SimulatedFiles,
    hand: Hand,
    broker: Option<LocalBroker>,
    pub(super) model: Model,
    /// All that were ever given out, in their order.
    handles: Vec<ReceiptHandle>,
    /// What may be taken back, or once could, with the unique key that the model has for it.
    recalls: Vec<(RecallMessage, String)>,
    /// What was answered to the first send with a key.
    receipts: BTreeMap<u64, SendReceipt>,
    filter: Filter,
    sent: u64,
    is_told: bool,
}

impl Play {
    pub(super) async fn new(seed: u64) -> Play {
        let mut dice = Dice::new(seed);
        let filter = match dice.roll(4) {
            0 => Filter::tags("x").unwrap(),
            1 => Filter::sql("TAGS = 'x'").unwrap(),
            _ => Filter::All,
        };
        let hand = Hand::new();
        let model = Model {
            now: hand.wall().0,
            stored_at: hand.wall().0,
            message_type: MessageType::Normal,
            incarnation: crate::offset::Incarnation(0),
            consumer_group_id: 0,
            orderly: dice.one_in(4),
            retry_max_times: 16,
            queues: Default::default(),
            waiting: Vec::new(),
            halves: Vec::new(),
            keys: Default::default(),
            clients: Default::default(),
            letters: Vec::new(),
        };
        let mut play = Play {
            dice,
            files: SimulatedFiles::new(),
            hand,
            broker: None,
            model,
            handles: Vec::new(),
            recalls: Vec::new(),
            receipts: BTreeMap::new(),
            filter,
            sent: 0,
            is_told: std::env::var_os("GANTRY_SEED").is_some(),
        };
        play.open();
        play.put_topic().await;
        play.put_consumer_group(PutWhen::Missing).await;
        play
    }

    pub(super) fn broker(&self) -> &LocalBroker {
        self.broker.as_ref().expect("open between steps")
    }

    fn open(&mut self) {
        let config = BrokerConfig { index_layout: INDEX_LAYOUT, ..simulated_config() };
        let opened = open_simulated_with(&self.files, config, Box::new(self.hand.clone()));
        self.broker = Some(opened.unwrap());
    }

    pub(super) async fn step(&mut self) {
        let operation = self.dice.operation();
        if self.is_told {
            let states = self.model.places().map(|(place, sent)| (place.0.0, place.1, sent.state)).collect::<Vec<_>>();
            println!("{operation:?} at {} of {:?} {states:?}", self.model.now, self.model.message_type);
        }
        match operation {
            Operation::Send => self.send().await,
            Operation::Pop => self.pop().await,
            Operation::Ack => self.ack().await,
            Operation::ChangeInvisibleDuration => self.change().await,
            Operation::ForwardToDeadLetterQueue => self.give_up().await,
            Operation::LifeSign => {
                let client = self.dice.roll(CLIENTS);
                self.broker().clients_seen(vec![ClientId::of(&client.to_string())]).await.unwrap();
                if let Some(until) = self.model.clients.get_mut(&client) {
                    *until = (self.model.now + 120_000).max(*until);
                }
            }
            Operation::ReleaseClient => {
                let client = self.dice.roll(CLIENTS);
                self.broker().release_client(ClientId::of(&client.to_string())).await.unwrap();
                self.model.release_client(client);
            }
            Operation::Recall => self.recall().await,
            Operation::BeginTransaction => self.begin_transaction().await,
            Operation::EndTransaction => self.end_transaction().await,
            Operation::CheckTransactions => self.check_transactions().await,
            Operation::ResetOffsets => self.reset().await,
            Operation::PutConsumerGroup => {
                self.model.retry_max_times = self.dice.pick(&[0, 1, 2, 16]);
                self.put_consumer_group(PutWhen::Exists).await;
            }
            Operation::ReplaceTopic => {
                self.broker().delete_topic(topic()).await.unwrap();
                if self.dice.one_in(3) {
                    self.restart();
                }
                self.put_topic().await;
            }
            Operation::ReplaceConsumerGroup => {
                self.broker().delete_consumer_group(group()).await.unwrap();
                if self.dice.one_in(3) {
                    self.restart();
                }
                self.put_consumer_group(PutWhen::Missing).await;
            }
            Operation::PassTime => self.pass_time(),
            Operation::StepClock => {
                let ms = self.dice.pick(&[1_000, 10_000, 3_600_000, 30 * DAY_MS as i64]);
                let ms = if self.dice.one_in(2) { ms } else { -ms };
                self.hand.step_wall_ms(ms);
            }
            Operation::Restart => self.restart(),
            Operation::TakeSnapshot => self.broker().take_snapshot().unwrap(),
        }
        self.settle_clock().await;
        self.check().await;
    }

    /// What is due comes now, and what came back once too often is a dead letter, in both.
    async fn settle_clock(&mut self) {
        assert_eq!(self.broker().parts().store.now().0, self.model.now, "effective time");
        self.deliver_due();
        self.check_fired().await;
        let tables = self.broker().parts().tables();
        let pair =
            (tables.consumer_group(&group()).unwrap().consumer_group_id, tables.topic(&topic()).unwrap().topic_id);
        drop(tables);
        release_client::release_lost_clients(self.broker().parts()).unwrap();
        self.model.release_lost_clients();
        self.broker().parts().came_back(pair);
        self.model.give_up_exhausted();
        half_messages::upkeep::keep_up(self.broker().parts());
        self.model.hold_halves();
        self.dispatched();
    }

    /// What was put back on its way is due as well, once it can be seen.
    fn deliver_due(&self) {
        let end = || self.broker().parts().store.max_offset();
        loop {
            self.dispatched();
            let before = end();
            self.broker().deliver_due().unwrap();
            if end() == before {
                return;
            }
        }
    }

    /// What one thread appended may be with another that is about to dispatch it.
    fn dispatched(&self) {
        let store = &self.broker().parts().store;
        while store.dispatched_offset() < store.confirm_offset() {
            std::thread::yield_now();
        }
    }

    async fn put_topic(&mut self) {
        use MessageType::{Delay, Fifo, Mixed, Normal, Transaction};
        let types = [Normal, Fifo, Delay, Transaction, Mixed, Mixed];
        let (message_type, queues) = (self.dice.pick(&types), 1 + self.dice.roll(2) as u32);
        let config =
            TopicConfig { read_queues: queues, write_queues: queues, message_type, ..TopicConfig::new(topic()) };
        let (topic, _) = self.broker().put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
        self.model.begin_topic(message_type, queues, topic.incarnation);
    }

    async fn put_consumer_group(&mut self, when: PutWhen) {
        let config = ConsumerGroupConfig {
            orderly: self.model.orderly,
            retry_max_times: self.model.retry_max_times,
            ..ConsumerGroupConfig::new(group())
        };
        let (group, is_new) = self.broker().put_consumer_group(PutConsumerGroup::new(config, when)).await.unwrap();
        if is_new {
            self.model.begin_consumer_group(group.consumer_group_id);
        }
    }

    async fn send(&mut self) {
        let count = if self.dice.one_in(3) { 1 + self.dice.roll(8) } else { 1 };
        let mut drafts = Vec::new();
        let mut messages = Vec::new();
        for _ in 0..count {
            let (draft, tag) = self.draft(&drafts);
            let message = message(&format!("id{}", draft.body), &draft.body).with_tag(tag).unwrap();
            let message = match (draft.message_group, draft.delivery) {
                (Some(message_group), _) => message.with_message_group(&format!("group{message_group}")).unwrap(),
                (_, Some(delivery)) => message.with_delivery(delivery_of(delivery)).unwrap(),
                _ => message,
            };
            messages.push(SendMessage { queue_id: draft.queue_id, message, idempotency_key: idempotency_key(&draft) });
            drafts.push(draft);
        }
        let keys: Vec<_> = drafts.iter().map(|draft| (draft.key, draft.unique_key())).collect();
        let fates = self.model.send(drafts);
        let sent = self.broker().send_messages(SendMessages { topic: topic(), messages }).await.unwrap();
        assert_eq!(sent.len(), fates.len());
        for ((result, fate), (key, unique_key)) in sent.into_iter().zip(fates).zip(keys) {
            match (&result, fate) {
                (Ok(receipt), Fate::Repeated) => {
                    self.check_repeated(key, receipt);
                    continue;
                }
                (Ok(receipt), Fate::Stored(offset)) => {
                    assert_eq!((receipt.queue_offset.0, receipt.waits_for), (offset, None));
                }
                (Ok(receipt), Fate::Waits(_, Row::Level(_))) => assert_eq!(receipt.waits_for, None),
                (Ok(receipt), Fate::Waits(due, _)) => {
                    let second = Timestamp(due - 1_000);
                    assert_eq!(receipt.waits_for, Some(second));
                    let recall = RecallMessage { topic: topic(), unique_key: receipt.unique_key.clone(), second };
                    self.recalls.push((recall, unique_key));
                }
                (Err(BrokerError::MessageTypeMismatch { .. }), Fate::Refused(Refusal::Type)) => {}
                (Err(BrokerError::QueueNotFound { .. }), Fate::Refused(Refusal::Queue)) => {}
                (
                    Err(BrokerError::Message(MessageError::InvalidDeliveryTime { .. })),
                    Fate::Refused(Refusal::DeliveryTime),
                ) => {}
                (Err(BrokerError::IdempotencyKeyReused), Fate::Refused(Refusal::KeyReused)) => {}
                (Err(BrokerError::IdempotencyInProgress), Fate::Refused(Refusal::KeyInProgress)) => {}
                _ => panic!("{fate:?}: {result:?}"),
            }
            if let Ok(receipt) = result {
                self.stored(key, receipt);
            }
        }
    }

    fn stored(&mut self, key: Option<u64>, receipt: SendReceipt) {
        assert_eq!((receipt.duplicate, receipt.store_timestamp.0), (false, self.model.now));
        self.model.stored_at = self.model.now;
        key.into_iter().for_each(|key| drop(self.receipts.insert(key, receipt.clone())));
    }

    /// A repeat is answered as the first send was.
    fn check_repeated(&self, key: Option<u64>, again: &SendReceipt) {
        let told = |receipt: &SendReceipt| {
            let SendReceipt { unique_key, queue_id, queue_offset, commit_log_offset, store_timestamp, .. } = receipt;
            (unique_key.clone(), *queue_id, *queue_offset, *commit_log_offset, *store_timestamp)
        };
        let first = &self.receipts[&key.expect("what repeats has a key")];
        assert_eq!((again.duplicate, told(again)), (true, told(first)));
        let can_be_recalled = |second: &Timestamp| self.model.now < second.0 + 1_000;
        assert_eq!(again.waits_for, first.waits_for.filter(can_be_recalled), "until it can be recalled no more");
    }

    /// A message to send behind others of its batch, and its tag, mostly of the topic's type.
    fn draft(&mut self, before: &[Draft]) -> (Draft, &'static str) {
        let types = [MessageType::Normal, MessageType::Fifo, MessageType::Delay];
        let message_type = match self.model.message_type {
            MessageType::Mixed => self.dice.pick(&types),
            _ if self.dice.one_in(20) => self.dice.pick(&types),
            of_topic => of_topic,
        };
        let queues = self.model.queues.len() as u64;
        let message_group = (message_type == MessageType::Fifo).then(|| self.dice.roll(4));
        let queue = match message_group {
            _ if self.dice.one_in(30) => queues,
            Some(message_group) => message_group % queues,
            None => self.dice.roll(queues),
        };
        let delivery = (message_type == MessageType::Delay).then(|| self.delivery());
        let tag = self.dice.pick(&["x", "x", "y"]);
        let wanted = matches!(self.filter, Filter::All) || tag == "x";
        let key = self.dice.one_in(3).then(|| self.dice.roll(KEYS));
        let body = self.body(key, before);
        (Draft { body, queue_id: QueueId(queue as u32), message_group, delivery, wanted, key }, tag)
    }

    /// A new one, unless the key has one already: then mostly that.
    fn body(&mut self, key: Option<u64>, before: &[Draft]) -> String {
        let of_batch = before.iter().rev().find(|draft| key.is_some() && draft.key == key);
        let known = key.and_then(|key| self.model.known(key)).map(|known| &known.body);
        let known = known.or(of_batch.map(|draft| &draft.body)).cloned();
        known.filter(|_| !self.dice.one_in(4)).unwrap_or_else(|| {
            let body = self.sent.to_string();
            self.sent += 1;
            body
        })
    }

    /// Mostly soon, now and then around a limit.
    fn delivery(&mut self) -> Delivery {
        let ms = match self.dice.roll(12) {
            0 => self.dice.roll(40 * DAY_MS),
            1 => 40 * DAY_MS,
            2 => 0,
            3..6 => self.dice.roll(600_000),
            _ => self.dice.roll(30_000),
        } as i64;
        match self.dice.roll(8) {
            0 => Delivery::At(self.model.now - 59_990 - self.dice.roll(20) as i64),
            1 => Delivery::At(self.model.now + 40 * DAY_MS as i64 - 10 + self.dice.roll(20) as i64),
            2 => Delivery::At(self.model.now + ms),
            3 | 4 => Delivery::Level(1 + self.dice.roll(5) as u32),
            5 => Delivery::Level(1 + self.dice.roll(19) as u32),
            _ => Delivery::After(ms),
        }
    }

    async fn pop(&mut self) {
        let messages_max = 1 + self.dice.roll(6) as u32;
        let client = self.dice.one_in(3).then(|| self.dice.roll(CLIENTS));
        let lease_ms = match client {
            None => 10_000 + 1_000 * self.dice.roll(50) as i64,
            Some(_) => 3 * 3_600_000,
        };
        let lease = match client {
            None => LeaseLength::Exactly(Duration::from_millis(lease_ms.unsigned_abs())),
            Some(client) => LeaseLength::WhileSeen(ClientId::of(&client.to_string())),
        };
        let attempt = self.dice.one_in(3).then(|| self.dice.roll(3));
        let asked = PopMessages {
            lease,
            filter: self.filter.clone(),
            attempt_id: attempt.map(|attempt| format!("attempt{attempt}").into()),
            ..pop(messages_max)
        };
        let popped = self.broker().pop_messages(asked).await.unwrap();
        self.model.clients.extend(client.map(|client| (client, self.model.now + 120_000)));
        let places: Vec<Place> = popped.iter().map(|popped| place_of(&popped.handle)).collect();
        let again = attempt.map_or(Vec::new(), |attempt| self.model.taken_by(attempt));
        match &again[..] {
            [] => self.check_taken(&places, messages_max as usize),
            again => assert_eq!(places, again[..again.len().min(messages_max as usize)], "the same messages again"),
        }
        for popped in &popped {
            let known = self.model.at(place_of(&popped.handle));
            let deliveries = match known.state {
                State::Leased { attempt, .. } if !again.is_empty() => attempt,
                State::Leased { attempt, .. } => attempt + 1,
                _ => 1,
            };
            assert_eq!((popped.delivery_attempt, &popped.message.body[..]), (deliveries, known.body.as_bytes()));
            let (id, deadline) = (popped.handle.lease_id, self.model.now + lease_ms);
            assert_eq!(popped.invisible_until, Timestamp(deadline));
            let state = State::Leased { id, deadline, attempt: deliveries, attempt_id: attempt, client };
            self.model.at(place_of(&popped.handle)).state = state;
            self.handles.push(popped.handle.clone());
        }
    }

    /// Any handle that was ever given out.
    fn any_handle(&mut self) -> Option<ReceiptHandle> {
        let count = self.handles.len() as u64;
        // Mostly a new one.
        let back = if count == 0 { return None } else { self.dice.roll(count.min(8)).min(self.dice.roll(count)) };
        Some(self.handles[(count - 1 - back) as usize].clone())
    }

    async fn ack(&mut self) {
        let mut handles = Vec::new();
        for _ in 0..=self.dice.roll(3) {
            handles.extend(self.any_handle());
        }
        let answers = self.broker().ack_messages(handles.clone()).await.unwrap();
        let verdicts: Vec<_> = handles.iter().map(|handle| self.model.verdict(handle)).collect();
        for ((handle, answer), verdict) in handles.iter().zip(&answers).zip(verdicts) {
            match (verdict, answer) {
                (Verdict::Current { .. }, Ok(())) => self.model.at(place_of(handle)).state = State::Settled,
                (Verdict::Settled, Ok(())) => {}
                (Verdict::Superseded, Err(BrokerError::ReceiptSuperseded)) => {}
                (Verdict::Expired | Verdict::Gone, Err(BrokerError::ReceiptExpired)) => {}
                _ => panic!("{verdict:?}: {answer:?}"),
            }
        }
    }

    async fn change(&mut self) {
        let Some(handle) = self.any_handle() else { return };
        let invisible_ms = 1_000 * self.dice.roll(40) as i64 * i64::from(!self.dice.one_in(3));
        let suspend = self.dice.one_in(4);
        let invisible = Some(Duration::from_millis(invisible_ms.unsigned_abs()));
        let change = ChangeInvisibleDuration { handle: handle.clone(), invisible, suspend };
        let answer = self.broker().change_invisible_durations(vec![change]).await.unwrap().remove(0);
        match (self.model.verdict(&handle), answer) {
            (Verdict::Current { attempt }, Ok(changed)) => {
                let deadline = self.model.now + invisible_ms;
                let attempt = if suspend { attempt.saturating_sub(1) } else { attempt };
                let id = changed.handle.lease_id;
                self.model.at(place_of(&handle)).state =
                    State::Leased { id, deadline, attempt, attempt_id: None, client: None };
                self.handles.push(changed.handle);
            }
            (Verdict::Settled | Verdict::Expired | Verdict::Gone, Err(BrokerError::ReceiptExpired)) => {}
            (Verdict::Superseded, Err(BrokerError::ReceiptSuperseded)) => {}
            (verdict, answer) => panic!("{verdict:?}: {answer:?}"),
        }
    }

    async fn give_up(&mut self) {
        let Some(handle) = self.any_handle() else { return };
        let forwards = vec![ForwardToDeadLetterQueue { handle: handle.clone(), reason: None }];
        let answer = self.broker().forward_messages_to_dead_letter_queue(forwards).await.unwrap().remove(0);
        match (self.model.verdict(&handle), answer) {
            (Verdict::Current { .. }, Ok(_)) => self.model.give_up(place_of(&handle)),
            (Verdict::Settled, Ok(_)) => {}
            (Verdict::Expired | Verdict::Gone, Err(BrokerError::ReceiptExpired)) => {}
            (Verdict::Superseded, Err(BrokerError::ReceiptSuperseded)) => {}
            (verdict, answer) => panic!("{verdict:?}: {answer:?}"),
        }
    }

    async fn recall(&mut self) {
        let count = self.recalls.len() as u64;
        let back = if count == 0 { return } else { self.dice.roll(count.min(6)).min(self.dice.roll(count)) };
        let (recall, unique_key) = self.recalls[(count - 1 - back) as usize].clone();
        let answer = self.broker().recall_message(recall.clone()).await;
        match answer {
            Err(BrokerError::MessageTypeMismatch { .. }) => {
                assert!(!matches!(self.model.message_type, MessageType::Delay | MessageType::Mixed));
            }
            Ok(outcome) => {
                let is_late = self.model.now >= recall.second.0 + 1_000;
                assert_eq!(outcome == RecallOutcome::AlreadyDelivered, is_late, "{outcome:?}");
                self.model.recall(&unique_key, recall.second.0);
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn begin_transaction(&mut self) {
        let (mut draft, tag) = self.draft(&[]);
        let queue_id = QueueId(self.dice.roll(self.model.queues.len() as u64) as u32);
        draft = Draft { queue_id, message_group: None, delivery: None, ..draft };
        let transaction = Transaction { producer_group: producer_group(), check_after: None };
        let unique_key = format!("id{}", draft.body);
        let half = message(&unique_key, &draft.body).with_tag(tag).unwrap().with_transaction(transaction).unwrap();
        let messages = vec![SendMessage { queue_id, message: half, idempotency_key: idempotency_key(&draft) }];
        let sent = self.broker().send_messages(SendMessages { topic: topic(), messages }).await.unwrap().remove(0);
        let repeats = self.model.repeats(&draft);
        match (sent, self.model.takes_transactions(), repeats) {
            (Err(BrokerError::MessageTypeMismatch { .. }), false, _) => {}
            (Ok(receipt), true, None) => {
                let id = HalfMessageId::new(&receipt.unique_key, receipt.queue_offset, receipt.commit_log_offset);
                let key = draft.key;
                self.model.begin_transaction(id, draft);
                self.stored(key, receipt);
            }
            (Ok(receipt), true, Some(Fate::Repeated)) => self.check_repeated(draft.key, &receipt),
            (Err(BrokerError::IdempotencyKeyReused), true, Some(Fate::Refused(Refusal::KeyReused))) => {}
            (answer, takes, repeats) => panic!("{takes}, {repeats:?}: {answer:?}"),
        }
    }

    async fn end_transaction(&mut self) {
        let count = self.model.halves.len() as u64;
        // Mostly a new one.
        let back = if count == 0 { return } else { self.dice.roll(count.min(6)).min(self.dice.roll(count)) };
        let at = (count - 1 - back) as usize;
        let commit = self.dice.one_in(2);
        let resolution = if commit { TransactionResolution::Commit } else { TransactionResolution::Rollback };
        let half = self.model.halves[at].clone();
        let end = EndTransaction { half: half.id, topic: None, resolution };
        let answer = self.broker().end_transaction(end).await;
        match (self.model.end_transaction(at, commit), answer) {
            (Ended::AsAsked, Ok(())) => {}
            (Ended::Otherwise, Err(BrokerError::TransactionResolved { .. })) => {}
            (Ended::TooLate, Err(BrokerError::TransactionExpired)) => {}
            (Ended::NoTopic, Err(BrokerError::TopicNotFound { .. })) => {}
            // The message that says so went with its topic.
            (_, Err(BrokerError::TransactionExpired))
                if half.state == HalfState::Committed && half.incarnation != self.model.incarnation => {}
            (ended, answer) => panic!("{ended:?}: {answer:?} of {half:?}"),
        }
    }

    async fn check_transactions(&mut self) {
        let checks_max = 1 + self.dice.roll(4) as u32;
        let check = CheckTransactions { producer_group: producer_group(), checks_max, wait: Duration::ZERO };
        let asked = self.broker().check_transactions(check).await.unwrap();
        let told = |check: &TransactionCheck| (String::from_utf8(check.message.body.to_vec()).unwrap(), check.checks);
        let asked: Vec<_> = asked.iter().map(told).collect();
        assert_eq!(asked, self.model.check_transactions(checks_max as usize));
    }

    fn pass_time(&mut self) {
        let ms = match self.dice.roll(24) {
            0 => self.dice.roll(41 * DAY_MS),
            1 => self.dice.roll(3_600_000),
            2..6 => self.dice.roll(3_000),
            _ => 1_000 * self.dice.roll(40),
        };
        self.pass_ms(ms as i64);
    }

    fn pass_ms(&mut self, ms: i64) {
        self.hand.pass_ms(ms);
        let told = self.model.time_after(ms, self.hand.wall().0);
        let now = self.broker().parts().store.now().0;
        // Halves of milliseconds.
        assert!((told - 1..=told + 1).contains(&now), "{now} after {ms} ms, which should be {told}");
        self.model.now = now;
    }

    fn restart(&mut self) {
        let broker = self.broker.take().expect("open between steps");
        if self.dice.one_in(4) {
            broker.close().unwrap();
            drop(broker);
        } else {
            self.files = self.files.kill();
            drop(broker);
        }
        self.open();
        // The log has kept the time, as far as it had any reason to.
        let now = self.broker().parts().store.now().0;
        let wall = self.hand.wall().0;
        let earliest = self.model.stored_at.max(wall);
        assert!(
            (earliest..=self.model.now.max(wall)).contains(&now),
            "{now} after a restart, {earliest} at the earliest"
        );
        self.model.now = now;
        self.model.restarted();
    }

    async fn reset(&mut self) {
        let queue_id = QueueId(self.dice.roll(self.model.queues.len() as u64) as u32);
        let len = self.model.queues[&queue_id].len() as u64;
        let to = self.dice.roll(len + 1);
        let reset = ResetOffsets {
            consumer_group: group(),
            topic: topic(),
            to: ResetTo::Offset(QueueOffset(to)),
            queues: Some(vec![queue_id]),
            force: true,
            dry_run: false,
        };
        self.broker().reset_offsets(reset).await.unwrap();
        self.model.reset(queue_id, to);
    }

    /// Everything that is owed comes in the end, and dead letters are those of the model.
    pub(super) async fn finish(mut self) {
        // Drawn back by the wall, effective time goes half as fast; and what is put back on its way comes at its time.
        self.pass_ms(90 * DAY_MS as i64);
        self.settle_clock().await;
        self.check().await;
        assert!(self.model.waiting.is_empty(), "the backlog drains");
        loop {
            let before = self.handles.len();
            self.pop().await;
            let new: Vec<_> = self.handles[before..].to_vec();
            let nothing = self.model.came_back().is_empty() && self.model.fresh().is_empty();
            for handle in &new {
                self.broker().ack_messages(vec![handle.clone()]).await.unwrap().remove(0).unwrap();
                self.model.at(place_of(handle)).state = State::Settled;
            }
            if new.is_empty() && nothing {
                break;
            }
        }
        self.check_finished().await;
    }

    /// Does something behind the model's back, if there is anything to do it to.
    pub(super) async fn lie(&mut self, lie: Lie) -> bool {
        let current = |play: &mut Play| {
            let is_current =
                |handle: &ReceiptHandle, model: &mut Model| matches!(model.verdict(handle), Verdict::Current { .. });
            let Play { handles, model, .. } = play;
            handles.iter().find(|handle| is_current(handle, model)).cloned()
        };
        match lie {
            Lie::MessageTwice => {
                let delivery = crate::message::Delivery::Level(1);
                let one = |text| message(text, text);
                let draft = match self.model.message_type {
                    MessageType::Fifo => one("again").with_message_group("group0").unwrap(),
                    MessageType::Normal => one("again"),
                    MessageType::Transaction => return false,
                    _ => one("again").with_delivery(delivery).unwrap(),
                };
                self.broker().send_messages(send(0, draft)).await.unwrap().remove(0).unwrap();
                true
            }
            Lie::TimerLost => {
                let now = self.model.now;
                let waits = |(recall, unique_key): &&(RecallMessage, String)| {
                    let is_it = |waiting: &Waiting| {
                        waiting.draft.unique_key() == *unique_key && waiting.due == recall.second.0 + 1_000
                    };
                    recall.second.0 > now && self.model.waiting.iter().any(is_it)
                };
                let Some((recall, _)) = self.recalls.iter().find(waits).cloned() else { return false };
                self.broker().recall_message(recall).await.unwrap();
                true
            }
            Lie::AckLost => {
                let Some(handle) = current(self) else { return false };
                self.model.at(place_of(&handle)).state = State::Settled;
                true
            }
            Lie::LaneIgnored => {
                let mut sent = self.model.queues.values_mut().flatten();
                let Some(in_lane) = sent.find(|sent| sent.message_group.is_some()) else { return false };
                in_lane.message_group = Some(99);
                true
            }
            Lie::ClockRuns => {
                self.hand.pass_ms(2_000);
                true
            }
            Lie::LetterLost => self.model.letters.pop().is_some(),
            Lie::KeyForgotten => self.model.keys.pop_first().is_some(),
            Lie::CommittedUnseen => {
                let incarnation = self.model.incarnation;
                let mut halves = self.model.halves.iter();
                let open =
                    halves.find(|half| half.incarnation == incarnation && matches!(half.state, HalfState::Open { .. }));
                let Some(half) = open.map(|half| half.id) else { return false };
                let resolution = TransactionResolution::Commit;
                self.broker().end_transaction(EndTransaction { half, topic: None, resolution }).await.unwrap();
                true
            }
        }
    }
}

fn producer_group() -> ProducerGroup {
    ProducerGroup::from_client("producers").unwrap()
}

fn idempotency_key(draft: &Draft) -> Option<Box<str>> {
    draft.key.map(|key| key.to_string().into())
}

fn delivery_of(delivery: Delivery) -> message::Delivery {
    match delivery {
        Delivery::Level(level) => message::Delivery::Level(level),
        Delivery::After(ms) => message::Delivery::After(Duration::from_millis(ms.unsigned_abs())),
        Delivery::At(at) => message::Delivery::At(Timestamp(at)),
    }
}
