//! Damage to the files of a store at rest: flipped bits, lost ends, files swapped or replaced by older ones. It is found or
//! it does no harm: what is served is right, what is missing is missed aloud, and a refusal says where and what to do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gantry_broker_core::LocalBroker;
use gantry_broker_core::broker::{Broker as _, PullMessages};
use gantry_broker_core::offset::{QueueId, QueueOffset};
use gantry_broker_core::store::error::StoreError;
use gantry_broker_core::store::simulated_files::SimulatedFiles;
use harness::history::{MessageRead, ReadBack, Recorder};

use crate::crash_states::quiet_life;
use crate::world::{Chance, DATA_DIR, Setting, block_on, count_of, data, number_of, read_back, read_of, topic_name};

/// Damaged stores of `make test` and of `make torture`; `GANTRY_DAMAGED_STORES` asks for other numbers.
const DAMAGED: u64 = 2_000;
const DAMAGED_FULL: u64 = 100_000;
/// So many are made of one store.
const COPIES: u64 = 25;
/// What every refusal tells the operator to run.
const ADVICE: &str = "gantry store verify";

/// A store at rest, as it is and as it was some time before.
struct AtRest {
    disk: SimulatedFiles,
    older: SimulatedFiles,
    held: ReadBack,
}

/// A file, and the stretches of it that hold anything.
type Written = (PathBuf, Vec<std::ops::Range<u64>>);

impl AtRest {
    fn of(seed: u64) -> AtRest {
        let setting = Setting::of(seed);
        let mut chance = Chance::new(seed ^ 0xDA4A);
        let disk = SimulatedFiles::new();
        let recorder = Arc::new(Recorder::new());
        let mut older = disk.kill();
        let mut disk = disk;
        for number in 0..3 {
            let broker = quiet_life(&setting, &disk, &recorder, number, &mut chance);
            broker.close().expect("a clean stop");
            drop(broker);
            if number < 2 {
                older = disk.kill();
            }
            disk = disk.kill();
        }
        let held = {
            let broker = setting.open(&disk.kill()).expect("it opens unharmed");
            read_back(&broker).expect("it reads unharmed")
        };
        AtRest { disk, older, held }
    }

    /// Harms a file of a random kind; says what was done.
    fn harm(&self, disk: &SimulatedFiles, chance: &mut Chance) -> Option<String> {
        let mut kinds: BTreeMap<String, Vec<Written>> = BTreeMap::new();
        for (path, written) in disk.written().into_iter().filter(|(_, written)| !written.is_empty()) {
            kinds.entry(kind_of(&path)).or_default().push((path, written));
        }
        let kinds: Vec<_> = kinds.into_values().collect();
        let files = chance.pick(&kinds)?;
        let (file, written) = chance.pick(files)?.clone();
        Some(match chance.below(8) {
            0..=3 => {
                let stretch = chance.pick(&written)?.clone();
                let at = stretch.start + chance.below(stretch.end - stretch.start);
                let mask = 1 << chance.below(8);
                disk.flip_bits(&file, at, mask).ok()?;
                format!("byte {at} of {} flipped by {mask:#04x}", file.display())
            }
            4 => {
                let len = chance.below(written.last()?.end);
                disk.cut_short(&file, len).ok()?;
                format!("{} cut to {len} bytes", file.display())
            }
            5 => {
                let other = chance.pick(files)?.0.clone();
                let before = disk.kill();
                disk.put_copy(&file, &before, &other).ok()?;
                disk.put_copy(&other, &before, &file).ok()?;
                format!("{} swapped with {}", file.display(), other.display())
            }
            _ => {
                disk.put_copy(&file, &self.older, &file).ok()?;
                format!("an older {}", file.display())
            }
        })
    }

    /// Opens a harmed disk; everything that is wrong about what comes then, and whether the harm was found.
    fn judge(&self, setting: &Setting, disk: &SimulatedFiles) -> Result<Verdict, String> {
        let broker = match setting.open(disk) {
            Ok(broker) => broker,
            Err(error) => return explained(&error).map(|()| Verdict::Refused),
        };
        self.read_all(&broker)
    }

    fn read_all(&self, broker: &LocalBroker) -> Result<Verdict, String> {
        let mut verdict = Verdict::Harmless;
        block_on(async {
            let topics = broker.list_topics().await.map_err(|error| error.to_string())?;
            let mut names: Vec<String> = topics.iter().map(|topic| topic.config.topic.to_string()).collect();
            names.retain(|name| !topic_name(name).is_system());
            if names != self.held.topics {
                return Err(format!("topics {names:?} instead of {:?}", self.held.topics));
            }
            for queue in &self.held.queues {
                let topic = topic_name(&queue.topic);
                let mut held: BTreeMap<u64, _> = queue.messages.iter().map(|read| (read.queue_offset, read)).collect();
                let mut offset = QueueOffset(0);
                loop {
                    let pull = PullMessages {
                        topic: topic.clone(),
                        queue_id: QueueId(queue.queue),
                        offset,
                        messages_max: 1,
                        bytes_max: u32::MAX,
                    };
                    let place = format!("offset {offset} of queue {} of {}", queue.queue, queue.topic);
                    match broker.pull_messages(pull).await {
                        Ok(pulled) => {
                            let Some(message) = pulled.messages.first() else { break };
                            let expected = held.remove(&offset.0);
                            if expected != Some(&read_of(message)) || message.topic() != queue.topic {
                                return Err(format!("{place} is {:?} instead of {expected:?}", read_of(message)));
                            }
                        }
                        Err(error) => {
                            let text = error.to_string();
                            if !(text.contains(DATA_DIR) && text.contains("at byte")) {
                                return Err(format!("{place} is refused without a place: {text}"));
                            }
                            held.remove(&offset.0);
                            verdict = Verdict::Missed;
                        }
                    }
                    offset.0 += 1;
                    if offset.0 > queue.messages.len() as u64 + 10 {
                        return Err(format!("{place}: the queue does not end"));
                    }
                }
                if let Some((offset, message)) = held.first_key_value() {
                    let place = format!("offset {offset} of queue {} of {}", queue.queue, queue.topic);
                    return Err(format!("{} at {place} is missing silently", message.key));
                }
                // By key it is found or not, and never another one.
                for message in queue.messages.iter().step_by(5) {
                    if let Ok(found) = broker.find_message(topic.clone(), message.key.clone()).await
                        && read_of(&found) != *message
                    {
                        return Err(format!("{} is found as {:?}", message.key, read_of(&found)));
                    }
                }
            }
            Ok(verdict)
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// All is there and right.
    Harmless,
    /// Some messages cannot be read, and the error says where.
    Missed,
    /// The store does not open, and says why.
    Refused,
}

/// Does a refusal say where the harm is, and what to do?
fn explained(error: &StoreError) -> Result<(), String> {
    let text = error.to_string();
    let is_explained = match error {
        StoreError::Damaged { file, .. } => file.starts_with(DATA_DIR) && text.contains(ADVICE),
        StoreError::NewerFormat { file } => file.starts_with(DATA_DIR),
        // What is derived says that it can be deleted.
        StoreError::Io { .. } => {
            let is_mendable = text.contains("at byte") && (text.contains("can be deleted") || text.contains(ADVICE));
            text.contains(DATA_DIR) && (is_mendable || text.contains("bytes instead of"))
        }
        _ => false,
    };
    if is_explained { Ok(()) } else { Err(format!("a refusal that does not help: {text}")) }
}

/// What a file is for: harm goes to all kinds alike.
fn kind_of(path: &Path) -> String {
    let below = path.strip_prefix(DATA_DIR).unwrap_or(path);
    let mut parts = below.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
    let first = parts.next().unwrap_or_default();
    match (first.as_str(), parts.next()) {
        ("gantry", Some(second)) => format!("gantry/{}", second.split('-').next().unwrap_or_default()),
        _ => first,
    }
}

/// Panics of the broker's threads, counted. Threads of tests bear their tests' paths: one that fails says so itself.
fn panics() -> &'static AtomicU64 {
    static PANICS: AtomicU64 = AtomicU64::new(0);
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let is_of_a_test = std::thread::current().name().is_some_and(|name| name.contains("::"));
            PANICS.fetch_add(u64::from(!is_of_a_test), Ordering::SeqCst);
            before(info);
        }));
    });
    &PANICS
}

#[test]
fn d3_d7_damage_is_found_or_does_no_harm() {
    let stores = count_of("GANTRY_DAMAGED_STORES", DAMAGED, DAMAGED_FULL);
    let first_seed = number_of("GANTRY_SEED").unwrap_or(1);
    let mut verdicts = [0_u64; 3];
    let mut failures = Vec::new();
    for seed in first_seed..first_seed + stores.div_ceil(COPIES) {
        let at_rest = AtRest::of(seed);
        for copy in 0..COPIES {
            let mut chance = Chance::new(seed << 16 | copy);
            let disk = at_rest.disk.kill();
            let harms: Vec<String> = (0..=chance.below(2)).filter_map(|_| at_rest.harm(&disk, &mut chance)).collect();
            let panics_before = panics().load(Ordering::SeqCst);
            let setting = Setting::of(seed);
            let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| at_rest.judge(&setting, &disk)));
            let judged = judged.unwrap_or_else(|_| Err("a panic".into()));
            match judged {
                Ok(verdict) if panics().load(Ordering::SeqCst) == panics_before => verdicts[verdict as usize] += 1,
                Ok(_) => failures.push(format!("seed {seed}, copy {copy}, {harms:?}: a thread has panicked")),
                Err(broken) => failures.push(format!("seed {seed}, copy {copy}, {harms:?}: {broken}")),
            }
        }
        if failures.len() > 8 {
            break;
        }
    }
    eprintln!("harmless, missed aloud, refused: {verdicts:?}");
    assert!(failures.is_empty(), "{} of them: {failures:#?}", failures.len());
    assert!(verdicts.iter().all(|count| *count > stores / 50), "every verdict is met: {verdicts:?}");
}

/// The control: what a store serves is compared with what it never held, and that must be seen.
#[test]
fn control_wrong_bytes_and_silent_losses_are_seen() {
    let mut plants = 0;
    for seed in 1..=5 {
        let mut at_rest = AtRest::of(seed);
        let setting = Setting::of(seed);
        let Some(queue) = at_rest.held.queues.iter().position(|queue| queue.messages.len() > 1) else { continue };
        assert_eq!(at_rest.judge(&setting, &at_rest.disk.kill()), Ok(Verdict::Harmless));
        let held = at_rest.held.clone();
        let messages = &held.queues[queue].messages;
        at_rest.held.queues[queue].messages[0].body_hash = messages[1].body_hash;
        assert!(at_rest.judge(&setting, &at_rest.disk.kill()).is_err(), "other bytes");
        at_rest.held = held.clone();
        let more = MessageRead { queue_offset: messages.len() as u64, ..messages[0].clone() };
        at_rest.held.queues[queue].messages.push(more);
        assert!(at_rest.judge(&setting, &at_rest.disk.kill()).is_err(), "a message is missing");
        at_rest.held = held;
        at_rest.held.topics.pop();
        assert!(at_rest.judge(&setting, &at_rest.disk.kill()).is_err(), "a topic too many");
        plants += 1;
    }
    assert!(plants >= 3, "{plants}");
}

/// Taken for the word of the last stop, it would make the log somebody else's work.
#[test]
fn b8_an_older_identity_is_refused() {
    let at_rest = AtRest::of(1);
    let disk = at_rest.disk.kill();
    let file = data("gantry/store.json");
    disk.put_copy(&file, &at_rest.older, &file).unwrap();
    assert_eq!(at_rest.judge(&Setting::of(1), &disk), Ok(Verdict::Refused));
}
