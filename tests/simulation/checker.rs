//! The checker of histories is checked itself: a clean history passes, and each planted violation is named.

use harness::history::{
    Fault, Invoked, Kind, Level, Line, MessageRead, Operation, QueueRead, ReadBack, Recorder, Subject, check, hash_of,
    hash_of_properties, read_lines,
};

/// A history in the making, and the store that it would leave behind.
struct Story {
    recorder: Recorder,
    read_back: ReadBack,
}

fn topic(name: &str) -> Subject {
    Subject { topic: Some(name.into()), ..Subject::default() }
}

fn at(level: Level) -> Subject {
    Subject { level: Some(level), ..Subject::default() }
}

/// A send of `key` to queue 0 of `t`.
fn message(key: &str) -> Subject {
    Subject {
        queue: Some(0),
        key: Some(key.into()),
        body_hash: Some(hash_of(key.as_bytes())),
        properties_hash: Some(hash_of_properties([("a", key)])),
        ..topic("t")
    }
}

fn stored(offset: u64, level: Level) -> Subject {
    Subject { queue_offset: Some(offset), log_offset: Some(offset * 100), ..at(level) }
}

fn read(offset: u64, key: &str) -> MessageRead {
    MessageRead {
        queue_offset: offset,
        key: key.into(),
        body_hash: hash_of(key.as_bytes()),
        properties_hash: hash_of_properties([("a", key)]),
        stored_ms: 0,
    }
}

impl Story {
    fn new() -> Story {
        let read_back = ReadBack {
            topics: vec!["t".into()],
            queues: vec![QueueRead { topic: "t".into(), ..QueueRead::default() }],
            check_max: 15,
            ..ReadBack::default()
        };
        let story = Story { recorder: Recorder::new(), read_back };
        story.done(Operation::CreateTopic, topic("t"), at(Level::Disk));
        story
    }

    fn begin(&self, operation: Operation, asked: Subject) -> Invoked {
        self.recorder.invoke("c", operation, asked)
    }

    fn done(&self, operation: Operation, asked: Subject, answered: Subject) {
        self.recorder.ok(&self.begin(operation, asked), answered);
    }

    fn send(&self, key: &str, offset: u64, level: Level) {
        self.done(Operation::Send, message(key), stored(offset, level));
    }

    fn restart(&self, fault: Fault) {
        let asked = Subject { fault: Some(fault), ..Subject::default() };
        self.done(Operation::Restart, asked, Subject::default());
    }

    fn receive(&self, group: &str, key: &str) {
        let invoked = self.begin(Operation::Receive, Subject { group: Some(group.into()), ..topic("t") });
        self.recorder.ok(&invoked, Subject { body_hash: Some(hash_of(key.as_bytes())), ..key_of(key) });
    }

    fn ack(&self, group: &str, key: &str) {
        self.done(Operation::Ack, Subject { group: Some(group.into()), ..key_of(key) }, at(Level::Memory));
    }

    fn found(&mut self, messages: Vec<MessageRead>) {
        self.read_back.queues[0].messages = messages;
    }

    fn kinds(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> =
            check(&self.recorder.lines(), &self.read_back).into_iter().map(|violation| violation.kind).collect();
        kinds.dedup();
        kinds
    }
}

fn key_of(key: &str) -> Subject {
    Subject { key: Some(key.into()), ..Subject::default() }
}

/// Two sends of each level, one without an answer and one that was refused; kept, acked and read as they should be.
fn clean() -> Story {
    let mut story = Story::new();
    story.send("a", 0, Level::Disk);
    story.send("b", 1, Level::Memory);
    let refused = story.begin(Operation::Send, message("refused"));
    story.recorder.fail(&refused, "full");
    story.receive("g", "a");
    story.ack("g", "a");
    story.begin(Operation::Send, message("unanswered"));
    story.restart(Fault::Kill);
    story.found(vec![read(0, "a"), read(1, "b")]);
    story
}

#[test]
fn t3_a_clean_history_passes() {
    let mut story = clean();
    assert_eq!(story.kinds(), []);
    // An unknown outcome is neither absent nor present.
    story.found(vec![read(0, "a"), read(1, "b"), read(2, "unanswered")]);
    assert_eq!(story.kinds(), []);
    // To another group it may come, and before the ack it may come twice.
    story.receive("other", "a");
    assert_eq!(story.kinds(), []);
}

/// Messages `a`, `b` and `c` at log offsets 0, 100 and 200, stored at 1, 2 and 3 ms; a pass of retention, and `b` on it.
fn retained(pass: Subject) -> Story {
    let mut story = Story::new();
    for (offset, key) in (0..).zip(["a", "b", "c"]) {
        let stored = Subject { stored_ms: Some(offset as i64 + 1), ..stored(offset, Level::Disk) };
        story.done(Operation::Send, message(key), stored);
    }
    story.begin(Operation::Retain, pass);
    story.restart(Fault::Kill);
    story.found(vec![read(1, "b"), read(2, "c")]);
    story.read_back.queues[0].min_offset = 1;
    story
}

#[test]
fn t3_what_retention_was_allowed_to_take_may_go() {
    let by_place = Subject { may_go_below: Some(1), ..Subject::default() };
    let by_age = Subject { may_go_until_ms: Some(1), ..Subject::default() };
    for pass in [by_place, by_age] {
        let mut story = retained(pass);
        assert_eq!(story.kinds(), []);
        // It need not have come so far.
        story.found(vec![read(0, "a"), read(1, "b"), read(2, "c")]);
        story.read_back.queues[0].min_offset = 0;
        assert_eq!(story.kinds(), []);
        // What is not below the minimum is no business of retention.
        story.found(vec![read(1, "b"), read(2, "c")]);
        assert!(story.kinds().contains(&Kind::Lost));
    }
}

#[test]
fn t3_a_message_that_retention_did_not_cover_is_seen() {
    let mut story = retained(Subject { may_go_below: Some(100), ..Subject::default() });
    story.found(vec![read(2, "c")]);
    story.read_back.queues[0].min_offset = 2;
    assert_eq!(story.kinds(), [Kind::TakenTooEarly], "by place");
    let mut story = retained(Subject { may_go_until_ms: Some(1), ..Subject::default() });
    story.found(vec![read(2, "c")]);
    story.read_back.queues[0].min_offset = 2;
    assert_eq!(story.kinds(), [Kind::TakenTooEarly], "by age");
    // A pass that began before the send cannot have meant it.
    let mut story = Story::new();
    story.begin(Operation::Retain, Subject { may_go_below: Some(1_000), ..Subject::default() });
    story.send("a", 0, Level::Disk);
    story.found(vec![]);
    story.read_back.queues[0].min_offset = 1;
    assert_eq!(story.kinds(), [Kind::TakenTooEarly], "by time");
    // Without any pass no queue begins anywhere else than at 0.
    let mut story = Story::new();
    story.read_back.queues[0].min_offset = 1;
    assert_eq!(story.kinds(), [Kind::TakenTooEarly]);
}

#[test]
fn t3_what_a_level_does_not_promise_may_go() {
    let mut story = Story::new();
    story.send("a", 0, Level::Disk);
    story.receive("g", "a");
    story.ack("g", "a");
    story.send("b", 1, Level::Memory);
    story.send("c", 2, Level::Memory);
    story.restart(Fault::PowerCut);
    story.receive("g", "a");
    for kept in [vec![], vec![read(1, "b")], vec![read(1, "b"), read(2, "c")]] {
        story.found([vec![read(0, "a")], kept].concat());
        assert_eq!(story.kinds(), []);
    }
    // What was lost is gone, and its offset is given anew.
    story.send("d", 1, Level::Disk);
    story.found(vec![read(0, "a"), read(1, "d")]);
    assert_eq!(story.kinds(), []);
}

#[test]
fn t3_a_lost_message_is_seen() {
    let mut story = clean();
    story.found(vec![read(0, "a")]);
    assert_eq!(story.kinds(), [Kind::Lost], "memory, after a kill");
    let mut story = Story::new();
    story.send("a", 0, Level::Disk);
    story.restart(Fault::PowerCut);
    story.found(vec![]);
    assert_eq!(story.kinds(), [Kind::Lost], "disk, after a power cut");
    // A queue that is not read at all is no way around it.
    story.read_back.queues.clear();
    assert_eq!(story.kinds(), [Kind::Lost]);
}

#[test]
fn t3_a_log_that_is_no_prefix_is_seen() {
    let mut story = Story::new();
    let other = Subject { queue: Some(1), ..message("b") };
    story.send("a", 0, Level::Memory);
    story.done(Operation::Send, other, Subject { log_offset: Some(500), ..stored(0, Level::Memory) });
    story.restart(Fault::PowerCut);
    story.read_back.queues.push(QueueRead {
        topic: "t".into(),
        queue: 1,
        messages: vec![read(0, "b")],
        ..QueueRead::default()
    });
    assert_eq!(story.kinds(), [Kind::Hole]);
    story.found(vec![read(0, "a")]);
    assert_eq!(story.kinds(), []);
}

#[test]
fn t3_an_altered_message_is_seen() {
    let mut story = clean();
    for alter in [
        |read: &mut MessageRead| read.body_hash = hash_of(b"x"),
        |read: &mut MessageRead| read.properties_hash = hash_of(b"x"),
    ] {
        let mut altered = read(1, "b");
        alter(&mut altered);
        story.found(vec![read(0, "a"), altered]);
        assert_eq!(story.kinds(), [Kind::Altered]);
    }
    story.found(vec![read(0, "a"), read(1, "unanswered"), read(2, "b")]);
    assert!(story.kinds().contains(&Kind::Altered), "another offset than answered");
    story.found(vec![read(0, "a"), read(1, "b")]);
    story.read_back.queues[0].queue = 3;
    assert_eq!(story.kinds(), [Kind::Altered], "another queue");
}

#[test]
fn t3_a_delivery_with_other_bytes_is_seen() {
    let story = clean();
    let invoked = story.begin(Operation::Receive, Subject { group: Some("h".into()), ..topic("t") });
    story.recorder.ok(&invoked, Subject { body_hash: Some(hash_of(b"x")), ..key_of("a") });
    assert_eq!(story.kinds(), [Kind::Altered]);
    let story = clean();
    story.receive("h", "stranger");
    assert_eq!(story.kinds(), [Kind::Phantom]);
}

#[test]
fn t3_a_phantom_is_seen() {
    let mut story = clean();
    for key in ["stranger", "refused"] {
        story.found(vec![read(0, "a"), read(1, "b"), read(2, key)]);
        assert_eq!(story.kinds(), [Kind::Phantom], "{key}");
    }
    // What went with its topic stays gone when the name comes back.
    let mut story = Story::new();
    story.send("a", 0, Level::Disk);
    story.done(Operation::DeleteTopic, topic("t"), at(Level::Disk));
    story.done(Operation::CreateTopic, topic("t"), at(Level::Disk));
    assert_eq!(story.kinds(), []);
    story.found(vec![read(0, "a")]);
    assert_eq!(story.kinds(), [Kind::Phantom]);
}

#[test]
fn t3_disorder_within_a_queue_is_seen() {
    let mut story = Story::new();
    let early = Subject { queue_offset: None, ..stored(0, Level::Disk) };
    story.done(Operation::Send, message("early"), early.clone());
    story.done(Operation::Send, message("late"), early);
    story.found(vec![read(0, "late"), read(1, "early")]);
    assert_eq!(story.kinds(), [Kind::Disorder]);
    story.found(vec![read(0, "early"), read(2, "late")]);
    assert_eq!(story.kinds(), [Kind::Disorder], "an offset is missing");
    story.found(vec![read(0, "early"), read(1, "late")]);
    assert_eq!(story.kinds(), []);

    let mut story = Story::new();
    for key in ["first", "second"] {
        story.begin(Operation::Send, Subject { batch: Some(1), ..message(key) });
    }
    story.found(vec![read(0, "second"), read(1, "first")]);
    assert_eq!(story.kinds(), [Kind::Disorder], "a batch");
    story.found(vec![read(0, "first"), read(1, "second")]);
    assert_eq!(story.kinds(), []);

    let mut story = Story::new();
    for (key, queue) in [("a", 0), ("b", 1)] {
        story.begin(Operation::Send, Subject { lane: Some("l".into()), queue: Some(queue), ..message(key) });
    }
    story.found(vec![read(0, "a")]);
    story.read_back.queues.push(QueueRead {
        topic: "t".into(),
        queue: 1,
        messages: vec![read(0, "b")],
        ..QueueRead::default()
    });
    assert_eq!(story.kinds(), [Kind::Disorder], "a lane in two queues");
}

#[test]
fn t3_an_offset_given_twice_is_seen() {
    let mut story = Story::new();
    story.send("a", 0, Level::Disk);
    story.send("b", 0, Level::Disk);
    story.found(vec![read(0, "b")]);
    assert_eq!(story.kinds(), [Kind::OffsetTwice, Kind::Lost]);
    // A topic that came anew counts anew.
    let mut story = Story::new();
    story.send("a", 0, Level::Disk);
    story.done(Operation::DeleteTopic, topic("t"), at(Level::Disk));
    story.done(Operation::CreateTopic, topic("t"), at(Level::Disk));
    story.send("b", 0, Level::Disk);
    story.found(vec![read(0, "b")]);
    assert_eq!(story.kinds(), []);
}

#[test]
fn t3_a_message_stored_twice_is_seen() {
    let mut story = Story::new();
    story.begin(Operation::Send, message("a"));
    story.found(vec![read(0, "a"), read(1, "a")]);
    assert_eq!(story.kinds(), [Kind::StoredTwice]);
}

#[test]
fn t3_a_lost_ack_is_seen() {
    let story = clean();
    story.receive("g", "a");
    assert_eq!(story.kinds(), [Kind::AckLost]);
}

/// A send that is delayed for 5 s, stored at 10 s; a kill at 20 s, when everything until 19 s has come.
fn delayed(level: Level, fault: Fault) -> Story {
    let mut story = Story::new();
    let asked = Subject { delay_ms: Some(5_000), ..message("a") };
    let answered = Subject { queue_offset: None, stored_ms: Some(10_000), ..stored(7, level) };
    story.done(Operation::Send, asked, answered);
    story.done(Operation::Send, message("b"), stored(0, level));
    story.restart(fault);
    story.read_back.due_until_ms = 19_000;
    story.found(vec![read(0, "b"), fired(1, 15_000)]);
    story
}

fn fired(offset: u64, stored_ms: i64) -> MessageRead {
    MessageRead { stored_ms, ..read(offset, "a") }
}

#[test]
fn t3_a_delayed_message_comes_once_and_at_its_time() {
    let mut story = delayed(Level::Disk, Fault::PowerCut);
    assert_eq!(story.kinds(), []);
    story.found(vec![read(0, "b"), fired(1, 15_000), fired(2, 15_000)]);
    assert_eq!(story.kinds(), [Kind::FiredTwice]);
    story.found(vec![read(0, "b"), fired(1, 13_000)]);
    assert_eq!(story.kinds(), [Kind::FiredEarly]);
    story.found(vec![read(0, "b")]);
    assert_eq!(story.kinds(), [Kind::TimerLost]);
    story.read_back.due_until_ms = 14_000;
    assert_eq!(story.kinds(), [], "it may wait still");
    // At memory a power cut may take it, a kill may not; nor may a power cut take it and leave what came later.
    let mut story = delayed(Level::Memory, Fault::Kill);
    story.found(vec![read(0, "b")]);
    assert_eq!(story.kinds(), [Kind::TimerLost]);
    let mut story = delayed(Level::Memory, Fault::PowerCut);
    story.found(vec![]);
    assert_eq!(story.kinds(), []);
    let later = Subject { log_offset: Some(10_000), ..stored(1, Level::Memory) };
    let mut story = delayed(Level::Memory, Fault::Kill);
    story.done(Operation::Send, message("c"), later);
    story.restart(Fault::PowerCut);
    story.found(vec![read(0, "b"), read(1, "c")]);
    assert_eq!(story.kinds(), [Kind::Hole]);
}

/// `a`, `b` and `c` of one lane, and `x` of another.
fn lane() -> Story {
    let story = Story::new();
    for (offset, key, lane) in [(0, "a", "l"), (1, "b", "l"), (2, "x", "m"), (3, "c", "l")] {
        let asked = Subject { lane: Some(lane.into()), ..message(key) };
        story.done(Operation::Send, asked, stored(offset, Level::Disk));
    }
    let mut story = story;
    story.found(vec![read(0, "a"), read(1, "b"), read(2, "x"), read(3, "c")]);
    story
}

fn receive_all(story: &Story, group: &str, keys: &[&str]) {
    let invoked = story.begin(Operation::Receive, Subject { group: Some(group.into()), ..topic("t") });
    keys.iter().for_each(|key| story.recorder.ok(&invoked, key_of(key)));
}

#[test]
fn t3_a_lane_out_of_order_is_seen() {
    let story = lane();
    receive_all(&story, "g", &["a", "b", "x"]);
    story.ack("g", "a");
    receive_all(&story, "g", &["b"]);
    story.begin(Operation::Ack, Subject { group: Some("g".into()), ..key_of("b") });
    receive_all(&story, "g", &["c"]);
    receive_all(&story, "h", &["a"]);
    assert_eq!(story.kinds(), [], "an ack without an answer may have counted");
    receive_all(&story, "h", &["b"]);
    assert_eq!(story.kinds(), [Kind::LaneDisorder], "the first is in flight");
    for keys in [&["b", "a"][..], &["c"], &["x", "c", "a", "b"]] {
        let story = lane();
        receive_all(&story, "g", keys);
        assert_eq!(story.kinds(), [Kind::LaneDisorder], "{keys:?}");
    }
    // What was given up holds up nobody.
    let mut story = lane();
    receive_all(&story, "g", &["a"]);
    receive_all(&story, "g", &["b"]);
    story.read_back.dead_letters.insert("g".into(), vec![read(0, "a")]);
    assert_eq!(story.kinds(), []);
    // Before a power cut that may have taken what gave it up.
    story.read_back.dead_letters.clear();
    story.restart(Fault::PowerCut);
    assert_eq!(story.kinds(), []);
    receive_all(&story, "g", &["b"]);
    assert_eq!(story.kinds(), [Kind::LaneDisorder]);
}

#[test]
fn t3_a_dead_letter_that_is_lost_doubled_or_altered_is_seen() {
    let mut story = clean();
    let give_up = |story: &Story, level| {
        story.done(Operation::DeadLetter, Subject { group: Some("g".into()), ..key_of("b") }, at(level));
    };
    give_up(&story, Level::Disk);
    assert_eq!(story.kinds(), [Kind::DeadLetterLost]);
    let mut letters = |letters: Vec<MessageRead>| {
        story.read_back.dead_letters.insert("g".into(), letters);
        story.kinds()
    };
    assert_eq!(letters(vec![read(0, "b")]), []);
    assert_eq!(letters(vec![read(0, "b"), read(1, "b")]), [Kind::DeadTwice]);
    assert_eq!(letters(vec![read(0, "b"), read(1, "stranger")]), [Kind::Phantom]);
    assert_eq!(letters(vec![MessageRead { body_hash: hash_of(b"x"), ..read(0, "b") }]), [Kind::Altered]);
    letters(vec![read(0, "b")]);
    story.receive("g", "b");
    assert_eq!(story.kinds(), [Kind::AckLost], "given up, and there again");
    // A power cut may take what was answered at memory; a message that was acked before is no dead letter.
    let story = clean();
    give_up(&story, Level::Memory);
    story.restart(Fault::PowerCut);
    assert_eq!(story.kinds(), []);
    let story = clean();
    story.ack("g", "b");
    give_up(&story, Level::Disk);
    assert_eq!(story.kinds(), []);
}

/// A half message `a`, stored at 1 s and 700 of the log; `b` is no half message.
fn transaction() -> Story {
    transaction_at(Level::Disk)
}

fn transaction_at(level: Level) -> Story {
    let mut story = Story::new();
    let asked = Subject { producer_group: Some("p".into()), ..message("a") };
    let answered = Subject { queue_offset: None, stored_ms: Some(1_000), log_offset: Some(700), ..stored(7, level) };
    story.done(Operation::Send, asked, answered);
    story.done(Operation::Send, message("b"), stored(0, level));
    story.found(vec![read(0, "b")]);
    story
}

impl Story {
    fn decide(&self, operation: Operation, level: Level) {
        self.done(operation, key_of("a"), at(level));
    }

    fn asked(&self, producer_group: &str, subject: Subject) {
        let asked = Subject { producer_group: Some(producer_group.into()), ..Subject::default() };
        self.recorder.ok(&self.begin(Operation::Check, asked), subject);
    }

    fn is_open(&mut self) {
        self.read_back.open = vec!["a".into()];
    }

    fn is_committed(&mut self) {
        self.found(vec![read(0, "b"), read(1, "a")]);
    }
}

#[test]
fn t3_a_transaction_that_goes_its_way_passes() {
    let mut story = transaction();
    story.is_open();
    story.asked("p", question("a"));
    assert_eq!(story.kinds(), []);
    story.read_back.held = vec![read(0, "a")];
    assert_eq!(story.kinds(), [], "moved between two looks");
    story.read_back.open.clear();
    assert_eq!(story.kinds(), [], "given up");
    let mut story = transaction();
    story.decide(Operation::Commit, Level::Disk);
    story.decide(Operation::Commit, Level::Disk);
    let refused = story.begin(Operation::RollBack, key_of("a"));
    story.recorder.fail(&refused, "committed");
    story.restart(Fault::PowerCut);
    story.is_committed();
    story.receive("g", "a");
    assert_eq!(story.kinds(), []);
    let story = transaction();
    story.decide(Operation::RollBack, Level::Disk);
    story.restart(Fault::PowerCut);
    assert_eq!(story.kinds(), []);
    // Without an answer a commit has counted, or has not.
    let mut story = transaction();
    story.begin(Operation::Commit, key_of("a"));
    story.restart(Fault::Kill);
    story.is_open();
    assert_eq!(story.kinds(), []);
    story.read_back.open.clear();
    story.is_committed();
    assert_eq!(story.kinds(), []);
}

/// What producers are told when they are asked.
fn question(key: &str) -> Subject {
    Subject {
        body_hash: Some(hash_of(key.as_bytes())),
        properties_hash: Some(hash_of_properties([("a", key)])),
        ..key_of(key)
    }
}

#[test]
fn t3_a_half_message_that_is_seen_without_its_commit_is_seen() {
    let mut story = transaction();
    story.is_committed();
    assert_eq!(story.kinds(), [Kind::UncommittedSeen], "nobody decided");
    let refused = story.begin(Operation::Commit, key_of("a"));
    story.recorder.fail(&refused, "rolled back");
    assert_eq!(story.kinds(), [Kind::UncommittedSeen], "a refused commit is none");
    let mut story = transaction();
    story.is_open();
    story.receive("g", "a");
    story.begin(Operation::Commit, key_of("a"));
    assert_eq!(story.kinds(), [Kind::UncommittedSeen], "a consumer had it before the commit began");
    let story = transaction();
    story.begin(Operation::Commit, key_of("a"));
    story.restart(Fault::Kill);
    story.decide(Operation::RollBack, Level::Disk);
    assert_eq!(story.kinds(), [], "the first decision has not counted");
    story.receive("g", "a");
    assert_eq!(story.kinds(), [Kind::UncommittedSeen], "a consumer had it after the rollback");
    let mut story = transaction();
    story.begin(Operation::Commit, key_of("a"));
    story.decide(Operation::RollBack, Level::Disk);
    story.is_committed();
    assert_eq!(story.kinds(), [Kind::UncommittedSeen], "rolled back");
    story.found(vec![read(0, "b")]);
    story.read_back.dead_letters.insert("g".into(), vec![read(0, "a")]);
    assert_eq!(story.kinds(), [Kind::UncommittedSeen], "a dead letter");
}

#[test]
fn t3_a_transaction_decided_twice_is_seen() {
    let mut story = transaction();
    story.decide(Operation::Commit, Level::Disk);
    story.decide(Operation::RollBack, Level::Disk);
    story.is_committed();
    assert!(story.kinds().contains(&Kind::DecidedTwice));
    let mut story = transaction();
    story.decide(Operation::Commit, Level::Disk);
    story.is_committed();
    story.read_back.held = vec![read(0, "a")];
    assert_eq!(story.kinds(), [Kind::DecidedTwice], "committed and given up");
    let mut story = transaction();
    story.decide(Operation::RollBack, Level::Disk);
    story.read_back.held = vec![read(0, "a")];
    assert_eq!(story.kinds(), [Kind::DecidedTwice], "rolled back and given up");
    // A power cut may take a decision that was answered at memory, and then the other one counts.
    let mut story = transaction_at(Level::Memory);
    story.decide(Operation::RollBack, Level::Memory);
    story.restart(Fault::PowerCut);
    story.decide(Operation::Commit, Level::Memory);
    story.is_committed();
    assert_eq!(story.kinds(), []);
}

#[test]
fn t3_a_commit_or_a_transaction_that_is_lost_is_seen() {
    let mut story = transaction();
    story.decide(Operation::Commit, Level::Disk);
    story.restart(Fault::PowerCut);
    assert_eq!(story.kinds(), [Kind::CommitLost]);
    story.is_open();
    assert!(story.kinds().contains(&Kind::DecisionLost), "open again");
    // At memory a power cut may take the commit, a kill may not.
    let mut story = transaction_at(Level::Memory);
    story.decide(Operation::Commit, Level::Memory);
    story.restart(Fault::Kill);
    assert_eq!(story.kinds(), [Kind::CommitLost]);
    story.restart(Fault::PowerCut);
    story.is_open();
    assert_eq!(story.kinds(), []);
    // What nobody decided is open or held, also when nobody knows whether it was committed.
    let mut story = transaction();
    assert_eq!(story.kinds(), [Kind::TransactionLost]);
    story.begin(Operation::Commit, key_of("a"));
    story.restart(Fault::Kill);
    assert_eq!(story.kinds(), [Kind::TransactionLost]);
    story.begin(Operation::RollBack, key_of("a"));
    assert_eq!(story.kinds(), []);
    story.is_committed();
    story.found(vec![read(0, "b"), read(1, "a"), read(2, "a")]);
    assert_eq!(story.kinds(), [Kind::StoredTwice], "committed twice");
    // Lost in a power cut, it is no hole; with what lies behind it still there it is one.
    let mut story = transaction_at(Level::Memory);
    story.restart(Fault::PowerCut);
    story.found(vec![]);
    assert_eq!(story.kinds(), []);
    let story = transaction_at(Level::Memory);
    let later = Subject { log_offset: Some(10_000), ..stored(1, Level::Memory) };
    story.done(Operation::Send, message("c"), later);
    story.restart(Fault::PowerCut);
    let mut story = story;
    story.found(vec![read(0, "b"), read(1, "c")]);
    assert_eq!(story.kinds(), [Kind::Hole]);
}

#[test]
fn t3_what_retention_may_do_to_a_transaction() {
    let by_place = Subject { may_go_below: Some(10_000), ..Subject::default() };
    let by_age = Subject { may_go_until_ms: Some(1_000), ..Subject::default() };
    let passed = |pass: &Subject| {
        let story = transaction();
        story.begin(Operation::Retain, pass.clone());
        story
    };
    assert_eq!(passed(&by_place).kinds(), [Kind::TransactionLost], "put back before its segment goes");
    assert_eq!(passed(&by_age).kinds(), [], "given up for its age, and gone");
    let story = passed(&by_place);
    story.decide(Operation::Commit, Level::Disk);
    assert_eq!(story.kinds(), [], "a committed message goes like any other");
    let story = passed(&by_place);
    for _ in 0..15 {
        story.asked("p", question("a"));
    }
    assert_eq!(story.kinds(), [], "asked so often, it is held and goes like any other");
}

#[test]
fn t3_a_check_that_should_not_be_is_seen() {
    let story = transaction();
    story.decide(Operation::RollBack, Level::Disk);
    story.asked("p", question("a"));
    assert_eq!(story.kinds(), [Kind::DecisionLost]);
    let mut story = transaction();
    story.is_open();
    story.asked("q", question("a"));
    assert_eq!(story.kinds(), [Kind::Altered], "another producer group");
    let mut story = transaction();
    story.is_open();
    story.asked("p", Subject { body_hash: Some(hash_of(b"x")), ..question("a") });
    assert_eq!(story.kinds(), [Kind::Altered]);
    for stranger in ["stranger", "b"] {
        let mut story = transaction();
        story.is_open();
        story.asked("p", question(stranger));
        assert_eq!(story.kinds(), [Kind::Phantom], "{stranger}");
        let mut story = transaction();
        story.read_back.open = vec!["a".into(), stranger.into()];
        assert_eq!(story.kinds(), [Kind::Phantom], "{stranger} is open");
        story.read_back.held = vec![read(0, stranger)];
        story.is_open();
        assert_eq!(story.kinds(), [Kind::Phantom], "{stranger} is held");
    }
    let mut story = transaction();
    story.read_back.held = vec![read(0, "a"), read(1, "a")];
    assert_eq!(story.kinds(), [Kind::StoredTwice]);
    story.read_back.held = vec![MessageRead { body_hash: hash_of(b"x"), ..read(0, "a") }];
    assert_eq!(story.kinds(), [Kind::Altered]);
}

#[test]
fn t3_a_topic_that_vanished_or_came_back_is_seen() {
    let mut story = Story::new();
    story.restart(Fault::Kill);
    story.read_back = ReadBack::default();
    assert_eq!(story.kinds(), [Kind::TopicVanished]);

    let mut story = Story::new();
    story.done(Operation::DeleteTopic, topic("t"), at(Level::Disk));
    story.restart(Fault::PowerCut);
    assert_eq!(story.kinds(), [Kind::TopicCameBack]);
    story.read_back = ReadBack::default();
    assert_eq!(story.kinds(), []);
    story.read_back.topics.push("nobodys".into());
    assert_eq!(story.kinds(), [Kind::TopicCameBack]);

    // A delete without an answer may have happened.
    let mut story = Story::new();
    story.begin(Operation::DeleteTopic, topic("t"));
    story.restart(Fault::Kill);
    assert_eq!(story.kinds(), []);
    story.read_back = ReadBack::default();
    assert_eq!(story.kinds(), []);
}

#[test]
fn t3_a_refusal_to_start_is_seen() {
    let story = clean();
    let invoked = story.begin(Operation::Restart, Subject { fault: Some(Fault::Kill), ..Subject::default() });
    story.recorder.fail(&invoked, "damaged");
    assert_eq!(story.kinds(), [Kind::NoStart]);
}

#[test]
fn a_history_in_a_file_is_the_same_history() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let recorder = Recorder::to_file(&path).unwrap();
    let invoked = recorder.invoke("c1", Operation::Send, message("a"));
    recorder.ok(&invoked, stored(3, Level::Disk));
    let invoked = recorder.invoke("c1", Operation::Send, message("b"));
    recorder.unknown(&invoked, "no answer");
    let read: Vec<Line> = read_lines(std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(read, recorder.lines());
    // Its writer was killed in the middle of a line.
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(read_lines(&bytes[..bytes.len() - 5]).unwrap(), recorder.lines()[..3]);
    assert!(read_lines(&b"{}\n"[..]).is_err());
}
