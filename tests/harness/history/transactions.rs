//! Transactions: nobody sees a half message before its commit, one decision counts for good, and what nobody decided is
//! open or held.

use std::collections::{HashMap, HashSet};

use super::{Done, History, Kind, Line, NEVER, Operation, Phase, Place, ReadBack, Violation};

impl<'a> History<'a> {
    /// A half message that is in no queue: may that be? What was committed for sure is judged by `check_commits`.
    pub(super) fn may_be_unseen(&self, half: &Done, read_back: &ReadBack) -> bool {
        let is_known = read_back.open.iter().any(|key| key == half.key())
            || read_back.held.iter().any(|message| message.key == half.key());
        let mut decisions = self.counting_decisions(half.key()).peekable();
        let may_have_gone = match decisions.peek() {
            // Open, it is put back before its segment goes. Held or committed, it is a message like any other.
            None => self.is_old(half) || self.may_be_held(half, read_back.check_max),
            Some(_) => self.may_be_taken(half),
        };
        let is_decided = |done: &Done| done.operation == Operation::RollBack || self.is_certain(done, NEVER);
        is_known || may_have_gone || decisions.any(is_decided)
    }

    /// Were its producers asked so often that it may have been given up?
    fn may_be_held(&self, half: &Done, check_max: u32) -> bool {
        let asked = self.checks.iter().filter(|asked| **asked > half.began).count();
        !self.passes.is_empty() && asked >= check_max as usize
    }

    /// Decisions that were not refused.
    fn counting_decisions(&self, key: &str) -> impl Iterator<Item = &Done<'a>> {
        self.decisions.get(key).into_iter().flatten().filter(|decision| decision.outcome != Phase::Fail)
    }

    fn certain_decisions(&self, key: &str) -> impl Iterator<Item = &Done<'a>> {
        self.counting_decisions(key).filter(|decision| self.is_certain(decision, NEVER))
    }

    pub(super) fn check_transactions(&self, lines: &'a [Line], read_back: &ReadBack, found: &mut Vec<Violation>) {
        let in_queues: HashSet<&str> =
            read_back.queues.iter().flat_map(|queue| &queue.messages).map(|message| message.key.as_str()).collect();
        let letters = read_back.dead_letters.values().flatten().map(|letter| letter.key.as_str());
        self.check_decisions(found);
        self.check_commits(&in_queues, found);
        for key in in_queues.iter().copied().chain(letters).filter(|key| self.half(key).is_some()) {
            self.check_seen(key, (NEVER, NEVER), "in its topic", found);
        }
        self.check_received(lines, found);
        self.check_open(read_back, &in_queues, found);
        self.check_held(read_back, &in_queues, found);
        self.check_asked(lines, found);
    }

    fn half(&self, key: &str) -> Option<&Done<'a>> {
        self.by_key.get(key).map(|number| &self.sends[*number]).filter(|send| send.is_half())
    }

    /// Of two different decisions that were answered as counting, a power cut has taken the first.
    fn check_decisions(&self, found: &mut Vec<Violation>) {
        for (key, decisions) in &self.decisions {
            if self.half(key).is_none() {
                found.push(Kind::Phantom.because(format!("{key} was decided and is no half message")));
            }
            let answered: Vec<&Done> = decisions.iter().filter(|decision| decision.outcome == Phase::Ok).collect();
            let both = answered.iter().enumerate().any(|(number, first)| {
                let differs = |later: &&&Done| later.operation != first.operation;
                answered[number..].iter().filter(differs).any(|later| self.is_certain(first, later.ended))
            });
            if both {
                found.push(Kind::DecidedTwice.because(format!("{key} was committed and rolled back")));
            }
        }
    }

    fn check_commits(&self, in_queues: &HashSet<&str>, found: &mut Vec<Violation>) {
        for half in self.sends.iter().filter(|send| send.is_half() && !in_queues.contains(send.key())) {
            let is_commit = |decision: &&Done| decision.operation == Operation::Commit;
            if self.certain_decisions(half.key()).any(|decision| is_commit(&decision))
                && !self.maybe_deleted(half)
                && !self.may_be_taken(half)
            {
                found.push(Kind::CommitLost.because(format!("{} of {}", half.key(), half.topic())));
            }
        }
    }

    /// Seen at `at` by whoever asked at `asked`: somebody had begun to commit it, and no rollback had counted.
    fn check_seen(&self, key: &str, (asked, at): (Place, Place), where_: &str, found: &mut Vec<Violation>) {
        let is_commit = |decision: &Done| decision.operation == Operation::Commit && decision.began < at;
        if !self.counting_decisions(key).any(is_commit) {
            found.push(Kind::UncommittedSeen.because(format!("{key} is {where_}, and nobody committed it")));
        }
        let is_rolled_back = |decision: &Done| {
            decision.operation == Operation::RollBack && decision.ended < asked && self.is_certain(decision, asked)
        };
        if self.counting_decisions(key).any(|decision| decision.outcome == Phase::Ok && is_rolled_back(decision)) {
            found.push(Kind::UncommittedSeen.because(format!("{key} is {where_}, and was rolled back")));
        }
    }

    fn check_received(&self, lines: &'a [Line], found: &mut Vec<Violation>) {
        let mut asked: HashMap<u64, Place> = HashMap::new();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.operation == Operation::Receive) {
            if line.phase == Phase::Invoke {
                asked.insert(line.id, place);
            }
            let Some(key) = line.subject.key.as_deref().filter(|_| line.phase == Phase::Ok) else { continue };
            if self.half(key).is_some() {
                self.check_seen(key, (asked[&line.id], place), "with a consumer", found);
            }
        }
    }

    fn check_open(&self, read_back: &ReadBack, in_queues: &HashSet<&str>, found: &mut Vec<Violation>) {
        for key in &read_back.open {
            match self.half(key) {
                None => found.push(Kind::Phantom.because(format!("{key} is open and no half message"))),
                Some(half) if half.outcome == Phase::Fail => {
                    found.push(Kind::Phantom.because(format!("{key} is open and was refused")));
                }
                Some(_) if self.certain_decisions(key).next().is_some() => {
                    found.push(Kind::DecisionLost.because(format!("{key} is open, and its decision was answered")));
                }
                Some(_) if in_queues.contains(key.as_str()) => {
                    found.push(Kind::DecisionLost.because(format!("{key} is open, and in its topic")));
                }
                Some(_) => {}
            }
        }
    }

    fn check_held(&self, read_back: &ReadBack, in_queues: &HashSet<&str>, found: &mut Vec<Violation>) {
        let mut held = HashSet::new();
        for message in &read_back.held {
            let key = message.key.as_str();
            let Some(half) = self.half(key) else {
                found.push(Kind::Phantom.because(format!("{key} is held and no half message")));
                continue;
            };
            if let Some(altered) = half.differs_itself(message) {
                found.push(Kind::Altered.because(format!("{key}, which is held: {altered}")));
            }
            if !held.insert(key) {
                found.push(Kind::StoredTwice.because(format!("{key} is held twice")));
            }
            if in_queues.contains(key) || self.certain_decisions(key).next().is_some() {
                found.push(Kind::DecidedTwice.because(format!("{key} is held, and was decided")));
            }
        }
    }

    /// Producers are asked about what they sent, with its own bytes, and not about what is decided.
    fn check_asked(&self, lines: &'a [Line], found: &mut Vec<Violation>) {
        let mut asked: HashMap<u64, (Place, &Line)> = HashMap::new();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.operation == Operation::Check) {
            if line.phase == Phase::Invoke {
                asked.insert(line.id, (place, line));
            }
            let Some(key) = line.subject.key.as_deref().filter(|_| line.phase == Phase::Ok) else { continue };
            let (began, request) = asked[&line.id];
            let Some(half) = self.half(key).filter(|half| half.outcome != Phase::Fail) else {
                found.push(Kind::Phantom.because(format!("producers were asked about {key}, which nobody sent")));
                continue;
            };
            let (came, sent) = (&line.subject, half.asked);
            if request.subject.producer_group != sent.producer_group
                || (came.body_hash, came.properties_hash) != (sent.body_hash, sent.properties_hash)
            {
                found.push(Kind::Altered.because(format!("producers were asked about another {key}")));
            }
            let is_over = |decision: &Done| decision.ended < began && self.is_certain(decision, began);
            let mut answered = self.counting_decisions(key).filter(|decision| decision.outcome == Phase::Ok);
            if answered.any(is_over) {
                found.push(Kind::DecisionLost.because(format!("producers were asked about {key} after its decision")));
            }
        }
    }
}
