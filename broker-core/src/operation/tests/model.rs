//! The broker beside a model of it: random sequences of everything that delivery knows, kills and the passing of time among
//! them. The model is a list of states, one for each message, and obviously right; it does no I/O and knows no log.
//!
//! `GANTRY_MODEL_SEQUENCES` says how many sequences, `GANTRY_SEED` which one alone; `make torture` plays a million.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::*;
use crate::receipt_handle::LeaseId;

const SEQUENCES: u64 = 2_000;
const STEPS: u64 = 40;
const GRACE_MS: i64 = 5_000;

/// Small and reproducible (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }
}

/// Moves only when a sequence says so.
#[derive(Clone)]
pub(super) struct Hand(Arc<AtomicI64>);

impl Hand {
    pub(super) fn new() -> Hand {
        Hand(Arc::new(AtomicI64::new(1_700_000_000_000)))
    }

    pub(super) fn pass_ms(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn wall(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn since_boot(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed).unsigned_abs())
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Waiting,
    Leased { id: LeaseId, deadline: i64, attempt: u32, attempt_id: Option<u64> },
    Settled,
}

#[derive(Debug, Clone)]
struct Sent {
    body: String,
    /// What must stay in order, if anything must.
    lane: Option<u64>,
    wanted: bool,
    state: State,
}

/// What order a sequence is about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Normal,
    Fifo,
    Orderly,
}

type Place = (QueueId, u64);

struct Model {
    kind: Kind,
    queues: BTreeMap<QueueId, Vec<Sent>>,
    letters: Vec<String>,
    retry_max_times: u32,
    now: i64,
}

impl Model {
    fn at(&mut self, place: Place) -> &mut Sent {
        &mut self.queues.get_mut(&place.0).unwrap()[place.1 as usize]
    }

    fn places(&self) -> impl Iterator<Item = (Place, &Sent)> {
        self.queues
            .iter()
            .flat_map(|(queue, sent)| sent.iter().enumerate().map(|(at, sent)| ((*queue, at as u64), sent)))
    }

    /// The lane of a message: everything of one queue, where nothing else is said.
    fn lane(&self, place: Place, sent: &Sent) -> (QueueId, u64) {
        (place.0, sent.lane.unwrap_or(place.1))
    }

    fn is_due(&self, sent: &Sent) -> bool {
        matches!(sent.state, State::Leased { deadline, .. } if deadline <= self.now)
    }

    /// What came back and may be handed out.
    fn deliverable(&self) -> BTreeSet<Place> {
        let mut stopped = BTreeSet::new();
        let mut places = BTreeSet::new();
        for (place, sent) in self.places() {
            match sent.state {
                State::Leased { .. } if self.is_due(sent) && !stopped.contains(&self.lane(place, sent)) => {
                    places.insert(place);
                }
                State::Leased { .. } => drop(stopped.insert(self.lane(place, sent))),
                _ => {}
            }
        }
        places
    }

    /// What nobody took yet and may be handed out.
    fn fresh(&self) -> BTreeSet<Place> {
        let in_flight: BTreeSet<_> = self
            .places()
            .filter(|(_, sent)| matches!(sent.state, State::Leased { .. }))
            .map(|(place, sent)| self.lane(place, sent))
            .collect();
        let waits = |sent: &Sent| sent.state == State::Waiting && sent.wanted;
        let ready = self.places().filter(|(place, sent)| waits(sent) && !in_flight.contains(&self.lane(*place, sent)));
        ready.map(|(place, _)| place).collect()
    }

    /// Messages whose deliveries are used up are dead letters.
    fn give_up_exhausted(&mut self) {
        let max = self.retry_max_times + 1;
        let is_exhausted = |sent: &Sent| matches!(sent.state, State::Leased { attempt, .. } if attempt >= max);
        let exhausted: Vec<Place> =
            self.places().filter(|(_, sent)| self.is_due(sent) && is_exhausted(sent)).map(|(place, _)| place).collect();
        exhausted.into_iter().for_each(|place| self.give_up(place));
    }

    fn give_up(&mut self, place: Place) {
        self.at(place).state = State::Settled;
        let body = self.at(place).body.clone();
        self.letters.push(body);
    }

    /// Does this handle still speak for its message?
    fn verdict(&mut self, handle: &ReceiptHandle) -> Verdict {
        let now = self.now;
        match self.at(place_of(handle)).state {
            State::Leased { id, deadline, .. } if id == handle.lease_id && now > deadline + GRACE_MS => {
                Verdict::Expired
            }
            State::Leased { id, attempt, .. } if id == handle.lease_id => Verdict::Current { attempt },
            State::Leased { .. } | State::Waiting => Verdict::Superseded,
            State::Settled => Verdict::Settled,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Current { attempt: u32 },
    Settled,
    Superseded,
    Expired,
}

fn place_of(handle: &ReceiptHandle) -> Place {
    (handle.queue_id, handle.queue_offset.0)
}

struct Play {
    dice: Dice,
    files: SimulatedFiles,
    hand: Hand,
    broker: Option<LocalBroker>,
    model: Model,
    handles: Vec<ReceiptHandle>,
    filter: Filter,
    sent: u64,
}

impl Play {
    async fn new(seed: u64) -> Play {
        let mut dice = Dice::new(seed);
        let kind = [Kind::Normal, Kind::Fifo, Kind::Orderly][dice.roll(3) as usize];
        let queues = 1 + dice.roll(2) as u32;
        let filter = match dice.roll(4) {
            0 => Filter::tags("x").unwrap(),
            1 => Filter::sql("TAGS = 'x'").unwrap(),
            _ => Filter::All,
        };
        let files = SimulatedFiles::new();
        let hand = Hand::new();
        let model = Model {
            kind,
            queues: (0..queues).map(|queue| (QueueId(queue), Vec::new())).collect(),
            letters: Vec::new(),
            retry_max_times: 16,
            now: hand.0.load(Ordering::Relaxed),
        };
        let mut play = Play { dice, files, hand, broker: None, model, handles: Vec::new(), filter, sent: 0 };
        play.open();
        let message_type = if kind == Kind::Fifo { MessageType::Fifo } else { MessageType::Normal };
        let config =
            TopicConfig { read_queues: queues, write_queues: queues, message_type, ..TopicConfig::new(topic()) };
        play.broker().put_topic(config, PutWhen::Missing).await.unwrap();
        play.put_group(PutWhen::Missing).await;
        play
    }

    fn broker(&self) -> &LocalBroker {
        self.broker.as_ref().expect("open between steps")
    }

    fn open(&mut self) {
        let opened = open_simulated_by(&self.files, Retention::default(), Box::new(self.hand.clone()));
        self.broker = Some(opened.unwrap());
    }

    async fn put_group(&self, when: PutWhen) {
        let config = ConsumerGroupConfig {
            orderly: self.model.kind == Kind::Orderly,
            retry_max_times: self.model.retry_max_times,
            ..ConsumerGroupConfig::new(group())
        };
        self.broker().put_consumer_group(config, when).await.unwrap();
    }

    async fn step(&mut self) {
        self.settle_clock();
        let rolled = self.dice.roll(100);
        if std::env::var_os("GANTRY_SEED").is_some() {
            println!(
                "{rolled} {:?} {:?}",
                self.model.kind,
                self.model.places().map(|(place, sent)| (place.0.0, place.1, sent.state)).collect::<Vec<_>>()
            );
        }
        match rolled {
            0..25 => self.send().await,
            25..50 => self.pop().await,
            50..65 => self.ack().await,
            65..75 => self.change().await,
            75..79 => self.give_up().await,
            79..90 => self.pass_time(),
            90..94 => self.restart(),
            94..96 => self.reset().await,
            96..98 => {
                self.model.retry_max_times = [0, 1, 2, 16][self.dice.roll(4) as usize];
                self.put_group(PutWhen::Exists).await;
            }
            _ => self.broker().take_snapshot().unwrap(),
        }
        self.settle_clock();
        self.check().await;
    }

    /// What came back once too often is a dead letter now, in both.
    fn settle_clock(&mut self) {
        let tables = self.broker().parts().tables();
        let pair =
            (tables.consumer_group(&group()).unwrap().consumer_group_id, tables.topic(&topic()).unwrap().topic_id);
        drop(tables);
        self.broker().parts().came_back(pair);
        self.model.give_up_exhausted();
    }

    async fn send(&mut self) {
        for _ in 0..=self.dice.roll(4) {
            let queues = self.model.queues.len() as u64;
            let message_group = self.dice.roll(4);
            let queue_id = match self.model.kind {
                Kind::Fifo => message_group % queues,
                _ => self.dice.roll(queues),
            };
            let body = format!("{}", self.sent);
            let tag = if self.dice.roll(3) == 0 { "y" } else { "x" };
            let message = message(&format!("id{body}"), &body).with_tag(tag).unwrap();
            let message = match self.model.kind {
                Kind::Fifo => message.with_message_group(&format!("group{message_group}")).unwrap(),
                _ => message,
            };
            self.broker().send_messages(send(queue_id as u32, message)).await.unwrap().remove(0).unwrap();
            let lane = match self.model.kind {
                Kind::Normal => None,
                Kind::Fifo => Some(message_group),
                Kind::Orderly => Some(0),
            };
            let wanted = self.filter == Filter::All || tag == "x";
            let sent = Sent { body, lane, wanted, state: State::Waiting };
            self.model.queues.get_mut(&QueueId(queue_id as u32)).unwrap().push(sent);
            self.sent += 1;
        }
    }

    async fn pop(&mut self) {
        let messages_max = 1 + self.dice.roll(6) as u32;
        let lease_ms = 10_000 + 1_000 * self.dice.roll(50) as i64;
        let attempt = (self.dice.roll(3) == 0).then(|| self.dice.roll(3));
        let asked = PopMessages {
            lease: LeaseLength::Exactly(Duration::from_millis(lease_ms.unsigned_abs())),
            filter: self.filter.clone(),
            attempt_id: attempt.map(|attempt| format!("attempt{attempt}").into()),
            ..pop(messages_max)
        };
        let popped = self.broker().pop_messages(asked).await.unwrap();
        let places: Vec<Place> = popped.iter().map(|popped| place_of(&popped.handle)).collect();
        let taken: BTreeSet<Place> = places.iter().copied().collect();
        assert_eq!(taken.len(), places.len(), "nothing twice in one batch");

        let now = self.model.now;
        let again: Vec<Place> = self
            .model
            .places()
            .filter(|(_, sent)| match sent.state {
                State::Leased { attempt_id, deadline, .. } => {
                    attempt.is_some() && attempt_id == attempt && deadline > now
                }
                _ => false,
            })
            .map(|(place, _)| place)
            .collect();
        let is_again = !again.is_empty();
        if is_again {
            assert_eq!(places, again[..again.len().min(messages_max as usize)], "the same messages again");
        } else {
            let (due, fresh) = (self.model.deliverable(), self.model.fresh());
            assert!(
                taken.iter().all(|place| due.contains(place) || fresh.contains(place)),
                "{places:?}: {due:?} {fresh:?}"
            );
            assert_eq!(
                taken.len(),
                (due.len() + fresh.len()).min(messages_max as usize),
                "all that there is: {due:?} {fresh:?}"
            );
            if taken.intersection(&fresh).next().is_some() {
                assert!(due.is_subset(&taken), "what came back comes first");
            }
            self.check_order(&places, &due, &fresh);
        }
        for popped in &popped {
            let place = place_of(&popped.handle);
            let known = self.model.at(place).clone();
            let deliveries = match known.state {
                State::Leased { attempt, .. } if is_again => attempt,
                State::Leased { attempt, .. } => attempt + 1,
                _ => 1,
            };
            assert_eq!((popped.delivery_attempt, &popped.message.body[..]), (deliveries, known.body.as_bytes()));
            let (id, deadline) = (popped.handle.lease_id, now + lease_ms);
            assert_eq!(popped.invisible_until, Timestamp(deadline));
            self.model.at(place).state = State::Leased { id, deadline, attempt: deliveries, attempt_id: attempt };
            self.handles.push(popped.handle.clone());
        }
    }

    /// Of what is in order, the first come first and none is left out.
    fn check_order(&self, places: &[Place], due: &BTreeSet<Place>, fresh: &BTreeSet<Place>) {
        for eligible in [due, fresh] {
            let mut lanes: BTreeMap<(QueueId, u64), Vec<Place>> = BTreeMap::new();
            for place in eligible {
                let sent = &self.model.queues[&place.0][place.1 as usize];
                let lane = match self.model.kind {
                    // What is new of a queue comes in its order without any lane.
                    Kind::Normal if std::ptr::eq(eligible, fresh) => (place.0, u64::MAX),
                    _ => self.model.lane(*place, sent),
                };
                lanes.entry(lane).or_default().push(*place);
            }
            for (lane, of_lane) in lanes {
                let taken: Vec<Place> = places.iter().copied().filter(|place| of_lane.contains(place)).collect();
                assert_eq!(taken, of_lane[..taken.len()], "lane {lane:?} in its order");
            }
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
            match verdict {
                Verdict::Current { .. } => {
                    assert!(answer.is_ok(), "{handle:?}");
                    self.model.at(place_of(handle)).state = State::Settled;
                }
                Verdict::Settled => assert!(answer.is_ok(), "{handle:?}"),
                Verdict::Superseded => assert!(matches!(answer, Err(BrokerError::ReceiptSuperseded)), "{answer:?}"),
                Verdict::Expired => assert!(matches!(answer, Err(BrokerError::ReceiptExpired)), "{answer:?}"),
            }
        }
    }

    async fn change(&mut self) {
        let Some(handle) = self.any_handle() else { return };
        let invisible_ms = 1_000 * self.dice.roll(40) as i64 * i64::from(self.dice.roll(3) != 0);
        let suspend = self.dice.roll(4) == 0;
        let invisible = Some(Duration::from_millis(invisible_ms.unsigned_abs()));
        let change = ChangeInvisibleDuration { handle: handle.clone(), invisible, suspend };
        let answer = self.broker().change_invisible_durations(vec![change]).await.unwrap().remove(0);
        match (self.model.verdict(&handle), answer) {
            (Verdict::Current { attempt }, Ok(changed)) => {
                let deadline = self.model.now + invisible_ms;
                let attempt = if suspend { attempt.saturating_sub(1) } else { attempt };
                let id = changed.handle.lease_id;
                self.model.at(place_of(&handle)).state = State::Leased { id, deadline, attempt, attempt_id: None };
                self.handles.push(changed.handle);
            }
            (Verdict::Settled | Verdict::Expired, Err(BrokerError::ReceiptExpired)) => {}
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
            (Verdict::Expired, Err(BrokerError::ReceiptExpired)) => {}
            (Verdict::Superseded, Err(BrokerError::ReceiptSuperseded)) => {}
            (verdict, answer) => panic!("{verdict:?}: {answer:?}"),
        }
    }

    fn pass_time(&mut self) {
        let ms = 1_000 * self.dice.roll(40) as i64;
        self.hand.pass_ms(ms);
        self.model.now += ms;
    }

    fn restart(&mut self) {
        let broker = self.broker.take().expect("open between steps");
        if self.dice.roll(4) == 0 {
            broker.close().unwrap();
            drop(broker);
        } else {
            self.files = self.files.kill();
            drop(broker);
        }
        self.open();
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
        for (at, sent) in (0..).zip(self.model.queues.get_mut(&queue_id).unwrap()) {
            sent.state = if at < to { State::Settled } else { State::Waiting };
        }
    }

    async fn check(&self) {
        let progress = self.broker().query_consume_offsets(group(), topic()).await.unwrap();
        for queue in progress {
            let sent = &self.model.queues[&queue.queue_id];
            let in_flight = sent.iter().filter(|sent| matches!(sent.state, State::Leased { .. })).count();
            assert_eq!(queue.in_flight, in_flight as u64, "{:?}", queue.queue_id);
            // What nobody wants may or may not have been passed over.
            let owed = sent.iter().position(|sent| sent.state != State::Settled && sent.wanted).unwrap_or(sent.len());
            assert!(queue.consume_offset.is_none_or(|offset| offset.0 <= owed as u64), "{queue:?}, {owed} is owed");
        }
    }

    /// Everything that is owed comes in the end, and dead letters are those of the model.
    async fn finish(mut self) {
        self.hand.pass_ms(1_000_000);
        self.model.now += 1_000_000;
        self.settle_clock();
        loop {
            let before = self.handles.len();
            self.pop().await;
            let new: Vec<_> = self.handles[before..].to_vec();
            let nothing = self.model.deliverable().is_empty() && self.model.fresh().is_empty();
            for handle in &new {
                self.broker().ack_messages(vec![handle.clone()]).await.unwrap().remove(0).unwrap();
                self.model.at(place_of(handle)).state = State::Settled;
            }
            if new.is_empty() && nothing {
                break;
            }
        }
        assert!(self.model.places().all(|(_, sent)| sent.state == State::Settled || !sent.wanted));
        let mut letters = std::mem::take(&mut self.model.letters);
        let mut stored = Vec::new();
        while !letters.is_empty() {
            let pull = PullMessages {
                topic: TopicName::dead_letter_queue(&group()),
                queue_id: QueueId(0),
                offset: QueueOffset(stored.len() as u64),
                messages_max: 500,
                bytes_max: 1 << 20,
            };
            let pulled = self.broker().pull_messages(pull).await.unwrap().messages;
            if pulled.is_empty() {
                break;
            }
            stored.extend(pulled.iter().map(|letter| String::from_utf8(letter.body.to_vec()).unwrap()));
        }
        letters.sort_unstable();
        stored.sort_unstable();
        assert_eq!(stored, letters, "each dead letter once");
    }
}

fn play(seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut play = Play::new(seed).await;
        for _ in 0..STEPS {
            play.step().await;
        }
        play.finish().await;
    });
}

#[test]
fn the_broker_does_what_the_model_does() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    if let Some(seed) = number("GANTRY_SEED") {
        return play(seed);
    }
    let sequences = number("GANTRY_MODEL_SEQUENCES").unwrap_or(SEQUENCES);
    let next = AtomicU64::new(0);
    let failed = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= sequences || failed.load(Ordering::Relaxed) != u64::MAX {
                        return;
                    }
                    if std::panic::catch_unwind(|| play(seed)).is_err() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert_eq!(failed, u64::MAX, "sequence {failed} differs: run it alone with GANTRY_SEED={failed}");
}
