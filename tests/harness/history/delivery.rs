//! What consumers were given and gave back: the right bytes, no more of it after its ack, each lane in its order, each dead
//! letter once.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Done, Hash, History, Kind, Line, Operation, Phase, Place, ReadBack, Violation};

/// A lane of a topic, as one consumer group gets it.
struct Lane<'h> {
    /// By offset.
    sends: Vec<(u64, &'h str)>,
    /// All before are settled.
    settled: usize,
}

impl<'a> History<'a> {
    /// Messages that came: right ones, and none whose ack was answered before they were asked for.
    pub(super) fn check_deliveries(&self, lines: &'a [Line], found: &mut Vec<Violation>) {
        let mut acked: HashMap<(&str, &str), &Done> = HashMap::new();
        for ack in self.settles().filter(|settle| settle.outcome == Phase::Ok) {
            let of = (ack.asked.group.as_deref().unwrap_or_default(), ack.key());
            acked.entry(of).or_insert(ack);
        }
        let mut asked: HashMap<u64, (Place, &Line)> = HashMap::new();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.operation == Operation::Receive) {
            if line.phase == Phase::Invoke {
                asked.insert(line.id, (place, line));
            }
            let Some(key) = line.subject.key.as_deref().filter(|_| line.phase == Phase::Ok) else { continue };
            let (began, request) = asked.get(&line.id).expect("an answer has its request");
            let Some(send) = self.by_key.get(key).map(|number| &self.sends[*number]) else {
                found.push(Kind::Phantom.because(format!("{key} came and was never sent")));
                continue;
            };
            if send.outcome == Phase::Fail {
                found.push(Kind::Phantom.because(format!("{key} came and was refused")));
            }
            let differs = |came: Option<Hash>, sent: Option<Hash>| came.is_some() && sent.is_some() && came != sent;
            if differs(line.subject.body_hash, send.asked.body_hash)
                || differs(line.subject.properties_hash, send.asked.properties_hash)
            {
                found.push(Kind::Altered.because(format!("{key} came with other bytes")));
            }
            let group = request.subject.group.as_deref().unwrap_or_default();
            if let Some(ack) = acked.get(&(group, key))
                && ack.ended < *began
                && self.is_certain(ack, *began)
            {
                found.push(Kind::AckLost.because(format!("{key} came to {group} again")));
            }
        }
    }

    /// What ends the deliveries of a message to a group.
    fn settles(&self) -> impl Iterator<Item = &Done<'a>> {
        self.acks.iter().chain(&self.dead_letters)
    }

    /// Whatever came of a lane: all before it was settled, is given up, or came in front of it in the same answer. A power
    /// cut may take the records of what happened before it, so only what came behind the last one is judged.
    pub(super) fn check_lanes(&self, lines: &'a [Line], read_back: &ReadBack, found: &mut Vec<Violation>) {
        let after = self.power_cuts.last().copied().unwrap_or(0);
        let mut settled: HashMap<(&str, &str), Place> = HashMap::new();
        for settle in self.settles() {
            let of = (settle.asked.group.as_deref().unwrap_or_default(), settle.key());
            let first = settled.entry(of).or_insert(settle.began);
            *first = settle.began.min(*first);
        }
        let dead: HashSet<(&str, &str)> = read_back
            .dead_letters
            .iter()
            .flat_map(|(group, letters)| letters.iter().map(move |letter| (group.as_str(), letter.key.as_str())))
            .collect();
        let is_there = |send: &&Done| {
            let is_stored = send.outcome == Phase::Ok && self.is_certain(send, super::NEVER);
            is_stored && !self.maybe_deleted(send) && (self.passes.is_empty() || !self.may_be_taken(send))
        };
        let mut of_lane: BTreeMap<(&str, &str), Vec<(u64, &str)>> = BTreeMap::new();
        for send in self.sends.iter().filter(is_there) {
            if let Some((lane, offset)) = send.asked.lane.as_deref().zip(send.queue_offset()) {
                of_lane.entry((send.topic(), lane)).or_default().push((offset, send.key()));
            }
        }
        of_lane.values_mut().for_each(|sends| sends.sort_unstable());
        let mut lanes: HashMap<(&str, &str, &str), Lane> = HashMap::new();
        let mut groups: HashMap<u64, &str> = HashMap::new();
        let mut came: HashSet<(u64, &str)> = HashSet::new();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.operation == Operation::Receive) {
            if line.phase == Phase::Invoke {
                groups.insert(line.id, line.subject.group.as_deref().unwrap_or_default());
            }
            let Some(key) = line.subject.key.as_deref().filter(|_| line.phase == Phase::Ok && place > after) else {
                continue;
            };
            came.insert((line.id, key));
            let Some(send) = self.by_key.get(key).map(|number| &self.sends[*number]).filter(is_there) else { continue };
            let Some((lane, offset)) = send.asked.lane.as_deref().zip(send.queue_offset()) else { continue };
            let (group, topic) = (groups[&line.id], send.topic());
            let is_settled = |key: &str| {
                settled.get(&(group, key)).is_some_and(|began| *began < place) || dead.contains(&(group, key))
            };
            let lane = lanes.entry((group, topic, lane)).or_insert_with(|| Lane {
                sends: of_lane.get(&(topic, lane)).cloned().unwrap_or_default(),
                settled: 0,
            });
            while lane.sends.get(lane.settled).is_some_and(|(_, key)| is_settled(key)) {
                lane.settled += 1;
            }
            let before = lane.sends[lane.settled..].iter().take_while(|(before, _)| *before < offset);
            for (_, skipped) in before.filter(|(_, key)| !is_settled(key) && !came.contains(&(line.id, *key))) {
                found.push(
                    Kind::LaneDisorder.because(format!("{key} came to {group}, and {skipped} before it did not")),
                );
            }
        }
    }

    /// A message leaves its place by one record.
    pub(super) fn check_retried(&self, read_back: &ReadBack, found: &mut Vec<Violation>) {
        for (group, moved) in &read_back.retried {
            let mut lying: HashSet<&str> = HashSet::new();
            for message in moved {
                let Some(send) = self.by_key.get(message.key.as_str()).map(|number| &self.sends[*number]) else {
                    let never = format!("{} of {group}'s retry topic was never sent", message.key);
                    found.push(Kind::Phantom.because(never));
                    continue;
                };
                if let Some(altered) = send.differs_itself(message) {
                    found.push(Kind::Altered.because(format!("{} of {group}'s retry topic: {altered}", message.key)));
                }
                if !lying.insert(&message.key) {
                    found.push(Kind::RetriedTwice.because(format!("{} of {group}", message.key)));
                }
            }
        }
    }

    pub(super) fn check_dead_letters(&self, read_back: &ReadBack, found: &mut Vec<Violation>) {
        let mut lying: HashSet<(&str, &str)> = HashSet::new();
        for (group, letters) in &read_back.dead_letters {
            for letter in letters {
                let Some(send) = self.by_key.get(letter.key.as_str()).map(|number| &self.sends[*number]) else {
                    found.push(
                        Kind::Phantom.because(format!("{} of {group}'s dead letters was never sent", letter.key)),
                    );
                    continue;
                };
                if let Some(altered) = send.differs_itself(letter) {
                    found.push(Kind::Altered.because(format!("the dead letter {} of {group}: {altered}", letter.key)));
                }
                if !lying.insert((group, &letter.key)) {
                    found.push(Kind::DeadTwice.because(format!("{} of {group}", letter.key)));
                }
            }
        }
        for given_up in self.dead_letters.iter().filter(|done| done.outcome == Phase::Ok) {
            let of = (given_up.asked.group.as_deref().unwrap_or_default(), given_up.key());
            let is_acked = || self.acks.iter().any(|ack| (ack.asked.group.as_deref(), ack.key()) == (Some(of.0), of.1));
            // Old dead letters go as other messages do.
            if self.is_certain(given_up, super::NEVER) && self.passes.is_empty() && !lying.contains(&of) && !is_acked()
            {
                found.push(Kind::DeadLetterLost.because(format!("{} of {}", of.1, of.0)));
            }
        }
    }
}
