//! What the broker says or hands out, compared with what the model knows.

use std::collections::{BTreeMap, BTreeSet};

use super::drive::Play;
use super::reference::{Lane, Place, Row, State, Waiting};
use super::*;

impl Play {
    /// What came into the topic by itself is what was due, each once, in the order that its row has.
    pub(super) async fn check_fired(&mut self) {
        let due = self.model.take_due();
        if due.is_empty() {
            // That nothing else came is seen by the ends of the queues.
            return;
        }
        let ends: Vec<_> = self.model.queues.iter().map(|(queue_id, sent)| (*queue_id, sent.len())).collect();
        let due_of = |(number, waiting): (usize, &'_ Waiting)| (waiting.draft.body.clone(), (number, waiting.clone()));
        let mut left: BTreeMap<String, (usize, Waiting)> = due.iter().enumerate().map(due_of).collect();
        for (queue_id, end) in ends {
            // By the order of their sends.
            let mut last: BTreeMap<Row, usize> = BTreeMap::new();
            let mut last_second = Row::Second(0);
            for body in self.pull(topic(), queue_id, end).await {
                let (number, waiting) = left.remove(&body).unwrap_or_else(|| panic!("{body} came and was not due"));
                assert_eq!(waiting.draft.queue_id, queue_id, "{body} in its queue");
                if waiting.row != Row::Far {
                    let before = last.insert(waiting.row, number);
                    assert!(before.is_none_or(|before| before < number), "{body} of {:?} is late", waiting.row);
                }
                if let Row::Second(_) = waiting.row {
                    assert!(last_second <= waiting.row, "{body} of {:?} after {last_second:?}", waiting.row);
                    last_second = waiting.row;
                }
                self.model.arrive(waiting.draft);
            }
        }
        assert!(left.is_empty(), "due at {} and not there: {left:?}", self.model.now);
        self.model.stored_at = self.model.now;
    }

    /// A receive gave what it had to: what came back before what is new, as much as there is, each lane in its order.
    pub(super) fn check_taken(&self, places: &[Place], messages_max: usize) {
        let taken: BTreeSet<Place> = places.iter().copied().collect();
        assert_eq!(taken.len(), places.len(), "nothing twice in one batch");
        let (due, fresh) = (self.model.came_back(), self.model.fresh());
        let all = || format!("{places:?} of {due:?} and {fresh:?}");
        assert!(taken.iter().all(|place| due.contains(place) || fresh.contains(place)), "{}", all());
        assert_eq!(taken.len(), (due.len() + fresh.len()).min(messages_max), "all that there is: {}", all());
        if taken.intersection(&fresh).next().is_some() {
            assert!(due.is_subset(&taken), "what came back comes first: {}", all());
        }
        // What is new of a queue comes in its order even where nobody asked for any.
        let has_lanes = self.model.places().any(|(place, sent)| self.model.lane(place, sent) != Lane::Alone(place));
        for (eligible, is_fresh) in [(&due, false), (&fresh, true)] {
            let mut lanes: BTreeMap<Lane, Vec<Place>> = BTreeMap::new();
            for place in eligible {
                let sent = &self.model.queues[&place.0][place.1 as usize];
                let lane = if is_fresh && !has_lanes { Lane::Rest(place.0) } else { self.model.lane(*place, sent) };
                lanes.entry(lane).or_default().push(*place);
            }
            for (lane, of_lane) in lanes {
                let taken: Vec<Place> = places.iter().copied().filter(|place| of_lane.contains(place)).collect();
                assert_eq!(taken, of_lane[..taken.len()], "{lane:?} in its order");
            }
        }
    }

    /// Between two steps.
    pub(super) async fn check(&self) {
        for queue in self.broker().query_consume_offsets(group(), topic()).await.unwrap() {
            let sent = &self.model.queues[&queue.queue_id];
            assert_eq!(queue.max_offset.0, sent.len() as u64, "the end of {:?}", queue.queue_id);
            let in_flight = sent.iter().filter(|sent| matches!(sent.state, State::Leased { .. })).count();
            assert_eq!(queue.in_flight, in_flight as u64, "{:?}", queue.queue_id);
            // What nobody wants may or may not have been passed over.
            let owed = sent.iter().position(|sent| sent.state != State::Settled && sent.wanted).unwrap_or(sent.len());
            assert!(queue.consume_offset.is_none_or(|offset| offset.0 <= owed as u64), "{queue:?}, {owed} is owed");
        }
    }

    /// When everything has come and is acked.
    pub(super) async fn check_finished(&mut self) {
        assert!(self.model.places().all(|(_, sent)| sent.state == State::Settled || !sent.wanted));
        assert_eq!(self.broker().describe_storage().await.unwrap().timers.scheduled, 0, "nothing waits any more");
        let mut letters = std::mem::take(&mut self.model.letters);
        let mut stored = match letters.is_empty() {
            true => Vec::new(),
            false => self.pull(TopicName::dead_letter_queue(&group()), QueueId(0), 0).await,
        };
        letters.sort_unstable();
        stored.sort_unstable();
        assert_eq!(stored, letters, "each dead letter once");
    }

    /// The bodies of a queue from there on.
    async fn pull(&self, topic: TopicName, queue_id: QueueId, from: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        loop {
            let pull = PullMessages {
                topic: topic.clone(),
                queue_id,
                offset: QueueOffset((from + bodies.len()) as u64),
                messages_max: 500,
                bytes_max: 1 << 20,
            };
            let pulled = self.broker().pull_messages(pull).await.unwrap().messages;
            if pulled.is_empty() {
                return bodies;
            }
            bodies.extend(pulled.iter().map(|message| String::from_utf8(message.body.to_vec()).unwrap()));
        }
    }
}
