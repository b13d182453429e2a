//! What a broker shall do, in plain Rust: one topic, one consumer group, and the state of each message. It does no I/O,
//! knows no log and cannot lose anything. Obviously right is what it has to be; fast it need not be.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::HalfMessageId;
use crate::message::MessageType;
use crate::offset::{Incarnation, QueueId};
use crate::receipt_handle::{LeaseId, ReceiptHandle};

/// A handle counts so much longer than its lease, unless somebody else has the message.
const GRACE_MS: i64 = 5_000;
const DAY_MS: i64 = 24 * 3_600_000;
/// So long an idempotency key stands for the first message stored with it.
const KEY_WINDOW_MS: i64 = 600_000;
/// RocketMQ's `transactionTimeOut`, `transactionCheckInterval` and `transactionCheckMax`.
const FIRST_CHECK_MS: i64 = 6_000;
const CHECK_INTERVAL_MS: i64 = 30_000;
const CHECK_MAX: u32 = 15;
/// Beyond this distance the wall draws effective time.
const DRAWN_BEYOND_MS: i64 = 5_000;
/// RocketMQ's eighteen levels, in seconds.
const LEVELS: [i64; 18] = [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200];

pub(super) type Place = (QueueId, u64);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    /// Nobody took it yet.
    Fresh,
    Leased {
        id: LeaseId,
        deadline: i64,
        attempt: u32,
        attempt_id: Option<u64>,
        /// Who keeps it while it lives.
        client: Option<u64>,
    },
    Settled,
}

/// A message in the topic.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) body: String,
    pub(super) message_group: Option<u64>,
    /// By the consumer group's filter.
    pub(super) wanted: bool,
    pub(super) state: State,
}

/// A delivery time as a producer says it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Delivery {
    Level(u32),
    After(i64),
    At(i64),
}

/// A message on its way.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) body: String,
    pub(super) queue_id: QueueId,
    pub(super) message_group: Option<u64>,
    pub(super) delivery: Option<Delivery>,
    pub(super) wanted: bool,
    /// Of its idempotency.
    pub(super) key: Option<u64>,
}

/// What an idempotency key stands for.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) body: String,
    pub(super) stored_at: i64,
}

/// What becomes of a draft.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fate {
    Stored(u64),
    /// Its key stands for this message already.
    Repeated,
    /// Until this time, in this row.
    Waits(i64, Row),
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Refusal {
    Type,
    Queue,
    DeliveryTime,
    /// The key stands for another body.
    KeyReused,
    /// Its own batch has the key already.
    KeyInProgress,
}

/// What comes in the order in which it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Row {
    Level(u32),
    /// The second that ends at the delivery time, or soon after.
    Second(i64),
    /// So far away that it is put back on its way: what was sent later may come before it.
    Far,
}

/// A delayed message.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) draft: Draft,
    pub(super) due: i64,
    pub(super) row: Row,
}

/// A half message: how far its transaction is.
#[derive(Debug, Clone)]
pub(super) struct Half {
    pub(super) id: HalfMessageId,
    pub(super) draft: Draft,
    /// Of the topic to which it was sent.
    pub(super) incarnation: Incarnation,
    pub(super) state: HalfState,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum HalfState {
    Open {
        checks: u32,
        next_check: i64,
    },
    Committed,
    RolledBack,
    /// Its producer was asked for the last time, and said nothing.
    Held,
}

/// What comes of a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ended {
    AsAsked,
    Otherwise,
    TooLate,
    /// Its topic is another by now.
    NoTopic,
}

/// The lane of a message: its queue and what it is in order with there. Most messages are alone in theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    Group(QueueId, u64),
    Rest(QueueId),
    Alone(Place),
}

/// Does a handle still speak for its message?
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    Current {
        attempt: u32,
    },
    Settled,
    Superseded,
    Expired,
    /// Its topic or its consumer group was deleted.
    Gone,
}

pub(super) struct Model {
    /// The broker's effective time.
    pub(super) now: i64,
    /// The last time of which the log knows.
    pub(super) stored_at: i64,
    pub(super) message_type: MessageType,
    pub(super) incarnation: Incarnation,
    pub(super) consumer_group_id: u32,
    pub(super) orderly: bool,
    pub(super) retry_max_times: u32,
    pub(super) queues: BTreeMap<QueueId, Vec<Sent>>,
    /// In the order of their sends.
    pub(super) waiting: Vec<Waiting>,
    /// In the order of their sends.
    pub(super) halves: Vec<Half>,
    /// By idempotency key, over or not.
    pub(super) keys: BTreeMap<u64, Known>,
    /// Until when consumers that keep messages while they live count as alive.
    pub(super) clients: BTreeMap<u64, i64>,
    /// Bodies of dead letters.
    pub(super) letters: Vec<String>,
}

impl Model {
    /// Which topic it is about: everything of an earlier one is gone, and what waits for its time will not come.
    pub(super) fn begin_topic(&mut self, message_type: MessageType, queues: u32, incarnation: Incarnation) {
        self.message_type = message_type;
        self.incarnation = incarnation;
        self.queues = (0..queues).map(|queue| (QueueId(queue), Vec::new())).collect();
        self.waiting.clear();
        self.keys.clear();
    }

    /// A new consumer group gets everything.
    pub(super) fn begin_consumer_group(&mut self, consumer_group_id: u32) {
        self.consumer_group_id = consumer_group_id;
        self.queues.values_mut().flatten().for_each(|sent| sent.state = State::Fresh);
    }

    /// The boot clock has gone on by `ms` and the wall now shows `wall`: what the broker's time is then. Drawn to the wall,
    /// it goes half as fast again or half as fast, and never past the wall.
    pub(super) fn time_after(&self, ms: i64, wall: i64) -> i64 {
        let undrawn = self.now + ms;
        match wall - undrawn {
            behind if behind.abs() <= DRAWN_BEYOND_MS => undrawn,
            behind => undrawn + behind.clamp(-ms / 2, ms / 2),
        }
    }

    pub(super) fn at(&mut self, place: Place) -> &mut Sent {
        &mut self.queues.get_mut(&place.0).unwrap()[place.1 as usize]
    }

    pub(super) fn places(&self) -> impl Iterator<Item = (Place, &Sent)> {
        self.queues
            .iter()
            .flat_map(|(queue, sent)| sent.iter().enumerate().map(|(at, sent)| ((*queue, at as u64), sent)))
    }

    pub(super) fn lane(&self, place: Place, sent: &Sent) -> Lane {
        let keeps_groups = self.orderly || matches!(self.message_type, MessageType::Fifo | MessageType::Mixed);
        match sent.message_group {
            Some(message_group) if keeps_groups => Lane::Group(place.0, message_group),
            None if self.orderly => Lane::Rest(place.0),
            _ => Lane::Alone(place),
        }
    }

    pub(super) fn is_due(&self, sent: &Sent) -> bool {
        matches!(sent.state, State::Leased { deadline, .. } if deadline <= self.now)
    }

    /// What came back and may be handed out: of each lane, what no message before it holds up.
    pub(super) fn came_back(&self) -> BTreeSet<Place> {
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

    /// What nobody took yet and may be handed out: nothing of its lane is in flight.
    pub(super) fn fresh(&self) -> BTreeSet<Place> {
        let in_flight: BTreeSet<Lane> = self
            .places()
            .filter(|(_, sent)| matches!(sent.state, State::Leased { .. }))
            .map(|(place, sent)| self.lane(place, sent))
            .collect();
        let is_owed = |sent: &Sent| sent.state == State::Fresh && sent.wanted;
        let may_go =
            self.places().filter(|(place, sent)| is_owed(sent) && !in_flight.contains(&self.lane(*place, sent)));
        may_go.map(|(place, _)| place).collect()
    }

    /// What a receive of this name has already and gets again.
    pub(super) fn taken_by(&self, asked: u64) -> Vec<Place> {
        let is_his = |sent: &Sent| match sent.state {
            State::Leased { attempt_id, deadline, .. } => attempt_id == Some(asked) && deadline > self.now,
            _ => false,
        };
        self.places().filter(|(_, sent)| is_his(sent)).map(|(place, _)| place).collect()
    }

    pub(super) fn fate(&self, draft: &Draft) -> Fate {
        let own_type = match draft {
            Draft { delivery: Some(_), .. } => MessageType::Delay,
            Draft { message_group: Some(_), .. } => MessageType::Fifo,
            _ => MessageType::Normal,
        };
        if ![own_type, MessageType::Mixed].contains(&self.message_type) {
            return Fate::Refused(Refusal::Type);
        }
        let Some(queue) = self.queues.get(&draft.queue_id) else { return Fate::Refused(Refusal::Queue) };
        let stored = Fate::Stored(queue.len() as u64);
        let deliver_at = match draft.delivery {
            None => return stored,
            Some(Delivery::Level(level)) => {
                return match LEVELS.get(level as usize - 1) {
                    Some(seconds) => Fate::Waits(self.now + seconds * 1_000, Row::Level(level)),
                    None => Fate::Refused(Refusal::DeliveryTime),
                };
            }
            Some(Delivery::After(ms)) => self.now + ms,
            Some(Delivery::At(at)) if !(self.now - 60_000..=self.now + 40 * DAY_MS).contains(&at) => {
                return Fate::Refused(Refusal::DeliveryTime);
            }
            Some(Delivery::At(at)) => at,
        };
        if deliver_at <= self.now {
            return stored;
        }
        // At the end of a second: never early, and late by less than that second.
        let due = (deliver_at + 999).div_euclid(1_000) * 1_000;
        Fate::Waits(due, if due - self.now > DAY_MS { Row::Far } else { Row::Second(due) })
    }

    /// Sends a batch: the fate of each draft. Behind a refused message no other of its group is stored.
    pub(super) fn send(&mut self, drafts: Vec<Draft>) -> Vec<Fate> {
        let mut broken: BTreeMap<u64, Fate> = BTreeMap::new();
        let mut of_batch: BTreeMap<u64, String> = BTreeMap::new();
        let send_one = |draft: Draft| {
            let message_group = draft.message_group;
            let known = message_group.and_then(|message_group| broken.get(&message_group));
            let fate = known.copied().unwrap_or_else(|| match self.fate(&draft) {
                Fate::Refused(refusal) => Fate::Refused(refusal),
                fate => match draft.key.and_then(|key| of_batch.get(&key)) {
                    Some(body) if *body == draft.body => Fate::Refused(Refusal::KeyInProgress),
                    Some(_) => Fate::Refused(Refusal::KeyReused),
                    None => self.repeats(&draft).unwrap_or(fate),
                },
            });
            if let (Fate::Stored(_) | Fate::Waits(..), Some(key)) = (fate, draft.key) {
                of_batch.insert(key, draft.body.clone());
                self.remember(key, &draft.body);
            }
            match fate {
                Fate::Stored(_) => self.arrive(draft),
                Fate::Waits(due, row) => self.waiting.push(Waiting { draft, due, row }),
                Fate::Repeated => {}
                Fate::Refused(_) => drop(message_group.map(|message_group| broken.insert(message_group, fate))),
            }
            fate
        };
        drafts.into_iter().map(send_one).collect()
    }

    /// What a key stands for now.
    pub(super) fn known(&self, key: u64) -> Option<&Known> {
        self.keys.get(&key).filter(|known| self.now - known.stored_at < KEY_WINDOW_MS)
    }

    fn remember(&mut self, key: u64, body: &str) {
        self.keys.insert(key, Known { body: body.into(), stored_at: self.now });
    }

    /// The fate of a draft whose key stands for something.
    pub(super) fn repeats(&self, draft: &Draft) -> Option<Fate> {
        let known = self.known(draft.key?)?;
        Some(if known.body == draft.body { Fate::Repeated } else { Fate::Refused(Refusal::KeyReused) })
    }

    /// A message comes into its queue.
    pub(super) fn arrive(&mut self, draft: Draft) {
        let Draft { body, queue_id, message_group, wanted, .. } = draft;
        let queue = self.queues.get_mut(&queue_id).expect("looked up before");
        queue.push(Sent { body, message_group, wanted, state: State::Fresh });
    }

    pub(super) fn takes_transactions(&self) -> bool {
        matches!(self.message_type, MessageType::Transaction | MessageType::Mixed)
    }

    pub(super) fn begin_transaction(&mut self, id: HalfMessageId, draft: Draft) {
        let state = HalfState::Open { checks: 0, next_check: self.now + FIRST_CHECK_MS };
        if let Some(key) = draft.key {
            self.remember(key, &draft.body);
        }
        self.halves.push(Half { id, draft, incarnation: self.incarnation, state });
    }

    /// The first decision counts.
    pub(super) fn end_transaction(&mut self, at: usize, commit: bool) -> Ended {
        let half = &mut self.halves[at];
        match half.state {
            HalfState::Open { .. } if commit && half.incarnation != self.incarnation => Ended::NoTopic,
            HalfState::Open { .. } if commit => {
                half.state = HalfState::Committed;
                let draft = half.draft.clone();
                self.arrive(draft);
                Ended::AsAsked
            }
            HalfState::Open { .. } => {
                half.state = HalfState::RolledBack;
                Ended::AsAsked
            }
            HalfState::Held => Ended::TooLate,
            state if (state == HalfState::Committed) == commit => Ended::AsAsked,
            _ => Ended::Otherwise,
        }
    }

    /// Those about which producers are asked now, the longest due first and then in the order of their sends.
    pub(super) fn check_transactions(&mut self, max: usize) -> Vec<(String, u32)> {
        let now = self.now;
        let mut due: Vec<(i64, usize)> = Vec::new();
        for (at, half) in self.halves.iter().enumerate() {
            if let HalfState::Open { next_check, .. } = half.state
                && next_check <= now
            {
                due.push((next_check, at));
            }
        }
        due.sort_unstable();
        due.truncate(max);
        due.sort_unstable_by_key(|(_, at)| *at);
        let mut asked = Vec::new();
        for (_, at) in due {
            let HalfState::Open { checks, .. } = self.halves[at].state else { unreachable!("looked at above") };
            self.halves[at].state = HalfState::Open { checks: checks + 1, next_check: now + CHECK_INTERVAL_MS };
            asked.push((self.halves[at].draft.body.clone(), checks + 1));
        }
        asked
    }

    /// Those about which producers were asked often enough are given up.
    pub(super) fn hold_halves(&mut self) {
        for half in &mut self.halves {
            if let HalfState::Open { checks: CHECK_MAX.., next_check } = half.state
                && next_check <= self.now
            {
                half.state = HalfState::Held;
            }
        }
    }

    /// Who waits for this second under this unique key is not delivered.
    pub(super) fn recall(&mut self, unique_key: &str, second: i64) {
        let is_it = |waiting: &Waiting| {
            let waits = !matches!(waiting.row, Row::Level(_)) && waiting.due == second + 1_000;
            waits && waiting.draft.unique_key() == unique_key
        };
        self.waiting.retain(|waiting| !is_it(waiting));
    }

    /// Takes out what has waited long enough, in the order of the sends.
    pub(super) fn take_due(&mut self) -> Vec<Waiting> {
        let (due, waiting) = self.waiting.drain(..).partition(|waiting| waiting.due <= self.now);
        self.waiting = waiting;
        due
    }

    /// Messages whose deliveries are used up are dead letters.
    pub(super) fn give_up_exhausted(&mut self) {
        let max = self.retry_max_times + 1;
        let is_exhausted = |sent: &Sent| matches!(sent.state, State::Leased { attempt, .. } if attempt >= max);
        let exhausted: Vec<Place> =
            self.places().filter(|(_, sent)| self.is_due(sent) && is_exhausted(sent)).map(|(place, _)| place).collect();
        exhausted.into_iter().for_each(|place| self.give_up(place));
    }

    /// What a consumer kept while it lived comes back a second later.
    pub(super) fn release_client(&mut self, gone: u64) {
        let back_at = self.now + 1_000;
        for sent in self.queues.values_mut().flatten() {
            if let State::Leased { client, deadline, .. } = &mut sent.state
                && *client == Some(gone)
            {
                (*client, *deadline) = (None, back_at.min(*deadline));
            }
        }
        self.clients.remove(&gone);
    }

    pub(super) fn release_lost_clients(&mut self) {
        let lost: Vec<u64> =
            self.clients.iter().filter(|(_, until)| **until <= self.now).map(|(client, _)| *client).collect();
        lost.into_iter().for_each(|client| self.release_client(client));
    }

    /// Nobody was heard of before the start; who keeps something has a minute.
    pub(super) fn restarted(&mut self) {
        let held = self.places().filter_map(|(_, sent)| match sent.state {
            State::Leased { client, .. } => client,
            _ => None,
        });
        self.clients = held.map(|client| (client, self.now + 60_000)).collect();
    }

    pub(super) fn give_up(&mut self, place: Place) {
        self.at(place).state = State::Settled;
        let body = self.at(place).body.clone();
        self.letters.push(body);
    }

    pub(super) fn reset(&mut self, queue_id: QueueId, to: u64) {
        for (at, sent) in (0..).zip(self.queues.get_mut(&queue_id).unwrap()) {
            sent.state = if at < to { State::Settled } else { State::Fresh };
        }
    }

    pub(super) fn verdict(&mut self, handle: &ReceiptHandle) -> Verdict {
        if (handle.incarnation, handle.consumer_group_id) != (self.incarnation, self.consumer_group_id) {
            return Verdict::Gone;
        }
        let now = self.now;
        match self.at(place_of(handle)).state {
            State::Leased { id, deadline, .. } if id == handle.lease_id && now > deadline + GRACE_MS => {
                Verdict::Expired
            }
            State::Leased { id, attempt, .. } if id == handle.lease_id => Verdict::Current { attempt },
            State::Leased { .. } | State::Fresh => Verdict::Superseded,
            State::Settled => Verdict::Settled,
        }
    }
}

impl Draft {
    /// What tells it from others: of the key, where it has one.
    pub(super) fn unique_key(&self) -> String {
        self.key.map_or_else(|| format!("id{}", self.body), |key| format!("key{key}"))
    }
}

pub(super) fn place_of(handle: &ReceiptHandle) -> Place {
    (handle.queue_id, handle.queue_offset.0)
}
