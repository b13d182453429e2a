//! A directory as Apache RocketMQ leaves it, written here from the layouts alone, opens and reads back equal.
//!
//! The writer shares no line with the production encoder: its records, units, checksums and JSON are its own. A second
//! one, Apache's broker itself, is in `apache.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gantry_broker_core::broker::*;
use gantry_broker_core::clock::{Clock, Timestamp};
use gantry_broker_core::config::{Durability, Retention};
use gantry_broker_core::delivery::filter::Filter;
use gantry_broker_core::local_broker::{LocalBroker, Surroundings};
use gantry_broker_core::message::Message;
use gantry_broker_core::names::{ConsumerGroup, TopicName};
use gantry_broker_core::offset::{QueueId, QueueOffset};
use gantry_broker_core::random::Random;
use gantry_broker_core::store::disk_files::DiskFiles;
use gantry_broker_core::store::error::StoreError;
use gantry_broker_core::store::files::Files;
use gantry_broker_core::store::offline::report::WrittenBy;
use gantry_broker_core::store::offline::verify::{VerifyOptions, verify};
use gantry_broker_core::store::simulated_files::SimulatedFiles;
use gantry_broker_core::{BrokerConfig, BrokerError};

const SEGMENT_BYTES: u64 = 64 << 10;
const QUEUE_FILE_BYTES: u64 = 6_000_000;
const BORN: i64 = 1_700_000_000_000;
const DIR: &str = "/data";
const REVIVE_TOPIC: &str = "rmq_sys_REVIVE_LOG_DefaultCluster";

// ---- the writer -------------------------------------------------------------------------------------------------

#[derive(Clone)]
struct Record {
    topic: String,
    queue: u32,
    /// `None`: the next of its queue.
    queue_offset: Option<u64>,
    sys_flag: i32,
    flag: i32,
    born_host: SocketAddr,
    store_host: SocketAddr,
    reconsume_times: i32,
    prepared_offset: i64,
    body: Vec<u8>,
    properties: Vec<(String, String)>,
    /// Old clients leave out the last separator.
    unended: bool,
    property_crc: bool,
}

/// What a consumer must see of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    offset: u64,
    place: u64,
    stored: i64,
    flag: i32,
    born_host: SocketAddr,
    store_host: SocketAddr,
    reconsume_times: i32,
    body: Vec<u8>,
    properties: Vec<(String, String)>,
}

/// A store as a broker's files. Every file is a list of runs of bytes in a length.
struct Foreign {
    segments: Vec<Vec<u8>>,
    next: BTreeMap<(String, u32), u64>,
    units: BTreeMap<(String, u32), Vec<[u8; 20]>>,
    first_offset: BTreeMap<(String, u32), u64>,
    batch_units: Vec<[u8; 46]>,
    index: Vec<(String, u64, i64)>,
    clock: i64,
    messages: BTreeMap<(String, u32), Vec<Seen>>,
    config: BTreeMap<&'static str, String>,
    abort: bool,
    /// Written behind the end.
    tail: Vec<u8>,
}

fn record(topic: &str, queue: u32, body: &[u8]) -> Record {
    Record {
        topic: topic.into(),
        queue,
        queue_offset: None,
        sys_flag: 0,
        flag: 0,
        born_host: "10.1.2.3:4567".parse().unwrap(),
        store_host: "10.9.8.7:10911".parse().unwrap(),
        reconsume_times: 0,
        prepared_offset: 0,
        body: body.to_vec(),
        properties: Vec::new(),
        unended: false,
        property_crc: false,
    }
}

impl Record {
    fn with(mut self, name: &str, value: &str) -> Record {
        self.properties.push((name.into(), value.into()));
        self
    }

    fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn encode(&self, queue_offset: u64, place: u64, stored: i64) -> Vec<u8> {
        let v2 = self.topic.len() > 127;
        let mut properties: Vec<u8> = Vec::new();
        for (name, value) in &self.properties {
            properties.extend([name.as_bytes(), &[1], value.as_bytes(), &[2]].concat());
        }
        if self.unended {
            properties.pop();
        }
        if self.property_crc && properties.last().is_some_and(|byte| *byte != 2) {
            properties.push(2);
        }
        let properties_len = properties.len() + if self.property_crc { 20 } else { 0 };
        let host = |host: SocketAddr| {
            let ip = match host.ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            [ip, i32::from(host.port()).to_be_bytes().to_vec()].concat()
        };
        let v6 = if self.born_host.is_ipv6() { 0x10 } else { 0 } | if self.store_host.is_ipv6() { 0x20 } else { 0 };
        let mut bytes = vec![0; 4];
        bytes.extend(if v2 { 0xDAA3_20ABu32 } else { 0xDAA3_20A7 }.to_be_bytes());
        bytes.extend((crc32(&self.body) & 0x7FFF_FFFF).to_be_bytes());
        bytes.extend(self.queue.to_be_bytes());
        bytes.extend(self.flag.to_be_bytes());
        bytes.extend(queue_offset.to_be_bytes());
        bytes.extend(place.to_be_bytes());
        bytes.extend((self.sys_flag | v6).to_be_bytes());
        bytes.extend((stored - 5).to_be_bytes());
        bytes.extend(host(self.born_host));
        bytes.extend(stored.to_be_bytes());
        bytes.extend(host(self.store_host));
        bytes.extend(self.reconsume_times.to_be_bytes());
        bytes.extend(self.prepared_offset.to_be_bytes());
        bytes.extend((self.body.len() as i32).to_be_bytes());
        bytes.extend_from_slice(&self.body);
        match v2 {
            true => bytes.extend((self.topic.len() as i16).to_be_bytes()),
            false => bytes.push(self.topic.len() as u8),
        }
        bytes.extend_from_slice(self.topic.as_bytes());
        bytes.extend((properties_len as i16).to_be_bytes());
        bytes.extend_from_slice(&properties);
        let total = bytes.len() + properties_len - properties.len();
        bytes[..4].copy_from_slice(&(total as i32).to_be_bytes());
        if self.property_crc {
            let mut crc = crc32(&bytes) & 0x7FFF_FFFF;
            bytes.extend(b"__CRC32#\x01");
            for _ in 0..10 {
                bytes.push(b'0' + (crc % 10) as u8);
                crc /= 10;
            }
            bytes.push(2);
        }
        bytes
    }
}

impl Foreign {
    fn new() -> Foreign {
        Foreign {
            segments: vec![Vec::new()],
            next: BTreeMap::new(),
            units: BTreeMap::new(),
            first_offset: BTreeMap::new(),
            batch_units: Vec::new(),
            index: Vec::new(),
            clock: BORN,
            messages: BTreeMap::new(),
            config: BTreeMap::new(),
            abort: false,
            tail: Vec::new(),
        }
    }

    fn end(&self) -> u64 {
        (self.segments.len() as u64 - 1) * SEGMENT_BYTES + self.segments.last().unwrap().len() as u64
    }

    fn append(&mut self, record: &Record) -> u64 {
        self.clock += 7;
        let key = (record.topic.clone(), record.queue);
        let transaction = record.sys_flag & 0xC;
        let is_dispatched = transaction == 0 || transaction == 8;
        let queue_offset = match record.queue_offset {
            Some(offset) => offset,
            None if is_dispatched => self.next.get(&key).copied().unwrap_or(0),
            None => 0,
        };
        let len = record.encode(0, 0, 0).len() as u64;
        let last = self.segments.last_mut().unwrap();
        let remaining = SEGMENT_BYTES - last.len() as u64;
        if len + 8 > remaining {
            last.extend((remaining as i32).to_be_bytes());
            last.extend(0xCBD4_3194u32.to_be_bytes());
            // Whatever was there before.
            last.resize(SEGMENT_BYTES as usize, 0xEE);
            self.segments.push(Vec::new());
        }
        let place = self.end();
        let bytes = record.encode(queue_offset, place, self.clock);
        self.segments.last_mut().unwrap().extend(&bytes);
        if !is_dispatched {
            return place;
        }
        let count = record.property("INNER_NUM").map_or(1, |count| count.parse().unwrap());
        self.next.insert(key.clone(), queue_offset + count);
        self.first_offset.entry(key.clone()).or_insert(queue_offset);
        for name in ["UNIQ_KEY", "KEYS"] {
            for word in record.property(name).unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
                self.index.push((format!("{}#{word}", record.topic), place, self.clock));
            }
        }
        if record.sys_flag & 0x80 != 0 {
            let mut unit = [0; 46];
            unit[..8].copy_from_slice(&place.to_be_bytes());
            unit[8..12].copy_from_slice(&(bytes.len() as i32).to_be_bytes());
            unit[20..28].copy_from_slice(&self.clock.to_be_bytes());
            unit[28..36].copy_from_slice(&queue_offset.to_be_bytes());
            unit[36..38].copy_from_slice(&(count as i16).to_be_bytes());
            unit[38..42].copy_from_slice(&(-1i32).to_be_bytes());
            self.batch_units.push(unit);
            return place;
        }
        let tags_code = match record.property("DELAY") {
            Some(level) if record.topic == "SCHEDULE_TOPIC_XXXX" => {
                self.clock + [1_000, 5_000, 10_000, 30_000][level.parse::<usize>().unwrap() - 1]
            }
            _ => record.property("TAGS").map_or(0, |tag| i64::from(java_hash(tag))),
        };
        let mut unit = [0; 20];
        unit[..8].copy_from_slice(&place.to_be_bytes());
        unit[8..12].copy_from_slice(&(bytes.len() as i32).to_be_bytes());
        unit[12..].copy_from_slice(&tags_code.to_be_bytes());
        self.units.entry(key.clone()).or_default().push(unit);
        self.messages.entry(key).or_default().push(Seen {
            offset: queue_offset,
            place,
            stored: self.clock,
            flag: record.flag,
            born_host: record.born_host,
            store_host: record.store_host,
            reconsume_times: record.reconsume_times,
            body: record.body.clone(),
            properties: record.properties.clone(),
        });
        place
    }

    /// Ends a topic's life: its queues start again at 0.
    fn delete(&mut self, topic: &str) {
        self.next.retain(|(name, _), _| name != topic);
        self.units.retain(|(name, _), _| name != topic);
        self.first_offset.retain(|(name, _), _| name != topic);
        self.messages.retain(|(name, _), _| name != topic);
    }

    /// Writes it all. The index, which is 420 MB of almost nothing, only where files may have holes.
    fn write(&self, files: &dyn Files, dir: &Path, with_index: bool) {
        let put = |path: PathBuf, len: u64, runs: &[(u64, Vec<u8>)]| {
            files.make_dir(path.parent().unwrap()).unwrap();
            let file = files.data_file(&path, len).unwrap();
            runs.iter().for_each(|(at, bytes)| file.write_at(*at, bytes).unwrap());
            file.sync().unwrap();
        };
        for (number, segment) in self.segments.iter().enumerate() {
            let path = dir.join("commitlog").join(format!("{:020}", number as u64 * SEGMENT_BYTES));
            let mut bytes = segment.clone();
            if number + 1 == self.segments.len() {
                bytes.extend(&self.tail);
                bytes.truncate(SEGMENT_BYTES as usize);
            }
            put(path, SEGMENT_BYTES, &[(0, bytes)]);
        }
        for ((topic, queue), units) in &self.units {
            put(
                dir.join("consumequeue").join(topic).join(queue.to_string()).join("0".repeat(20)),
                QUEUE_FILE_BYTES,
                &[(0, self.queue_file(topic, *queue, units))],
            );
        }
        if !self.batch_units.is_empty() {
            put(
                dir.join("batchconsumequeue/batches/0").join("0".repeat(20)),
                13_800_000,
                &[(0, self.batch_units.concat())],
            );
        }
        if with_index {
            put(dir.join("index/20231114221320123"), 420_000_040, &self.index_file());
        }
        let checkpoint: Vec<u8> =
            [self.clock, self.clock, self.clock, 0, 0].iter().flat_map(|n| n.to_be_bytes()).collect();
        put(dir.join("checkpoint"), 4096, &[(0, checkpoint)]);
        files.create_dir(&dir.join("config")).unwrap();
        for (name, text) in &self.config {
            files.replace(&dir.join("config").join(name), text.as_bytes(), false).unwrap();
        }
        files.replace(&dir.join("lock"), b"lock", false).unwrap();
        if self.abort {
            files.replace(&dir.join("abort"), b"4711", false).unwrap();
        }
        files.sync_all(dir).unwrap();
        files.sync_dir(Path::new("/")).ok();
    }

    /// With filler before the first message, as RocketMQ writes it.
    fn queue_file(&self, topic: &str, queue: u32, units: &[[u8; 20]]) -> Vec<u8> {
        let first = self.first_offset[&(topic.to_string(), queue)] as usize;
        let mut filler = [0; 20];
        filler[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        [vec![filler; first].concat(), units.concat()].concat()
    }

    fn index_file(&self) -> Vec<(u64, Vec<u8>)> {
        let (slots, mut heads, mut runs) = (5_000_000u64, BTreeMap::new(), Vec::new());
        let begin = self.index[0].2;
        for (number, (key, place, stored)) in self.index.iter().enumerate() {
            let hash = java_hash(key).checked_abs().unwrap_or(0);
            let slot = hash as u64 % slots;
            let entry = number as i32 + 1;
            let previous = heads.insert(slot, entry).unwrap_or(0);
            let seconds = ((stored - begin) / 1000) as i32;
            let bytes =
                [&hash.to_be_bytes()[..], &place.to_be_bytes(), &seconds.to_be_bytes(), &previous.to_be_bytes()];
            runs.push((40 + slots * 4 + entry as u64 * 20, bytes.concat()));
        }
        let (first, last) = (&self.index[0], self.index.last().unwrap());
        let header =
            [first.2.to_be_bytes(), last.2.to_be_bytes(), first.1.to_be_bytes(), last.1.to_be_bytes()].concat();
        let counts = [(heads.len() as i32).to_be_bytes(), (self.index.len() as i32 + 1).to_be_bytes()].concat();
        runs.push((0, [header, counts].concat()));
        runs.extend(heads.into_iter().map(|(slot, entry)| (40 + slot * 4, entry.to_be_bytes().to_vec())));
        runs
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

fn batch_item(flag: i32, body: &[u8], properties: &[u8]) -> Vec<u8> {
    let size = 22 + body.len() + properties.len();
    let mut item = (size as i32).to_be_bytes().to_vec();
    item.extend([0; 8]);
    item.extend(flag.to_be_bytes());
    item.extend((body.len() as i32).to_be_bytes());
    item.extend(body);
    item.extend((properties.len() as i16).to_be_bytes());
    item.extend(properties);
    item
}

#[test]
fn the_writer_writes_the_documented_record() {
    let golden = "00000092daa320a769c865ed000000030000000000000000000000070000000000000400000000000000018bcfe56800\
                  7f0000010000c3500000018bcfe5687b7f00000100002a9f0000000000000000000000000000000e48656c6c6f20526f636b\
                  65744d5109546f706963546573740020554e49515f4b45590130310254414753015461674102574149540174727565\
                  02";
    let mut golden: Vec<u8> = {
        let digits: String = golden.split_whitespace().collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    };
    let mut record =
        record("TopicTest", 3, b"Hello RocketMQ").with("UNIQ_KEY", "01").with("TAGS", "TagA").with("WAIT", "true");
    record.born_host = "127.0.0.1:50000".parse().unwrap();
    record.store_host = "127.0.0.1:10911".parse().unwrap();
    // The writer's clients are five milliseconds away, the document's 123.
    let mut bytes = record.encode(7, 1024, 1_700_000_000_123);
    bytes[40..48].copy_from_slice(&1_700_000_000_000i64.to_be_bytes());
    assert_eq!(bytes, golden);
    record.property_crc = true;
    let with_crc = record.encode(7, 1024, 1_700_000_000_123);
    golden.truncate(0);
    assert_eq!((with_crc.len(), &with_crc[146..155]), (166, &b"__CRC32#\x01"[..]));
    assert_eq!(java_hash("order_created"), 848_461_559);
    assert_eq!(java_hash("TopicTest#key1"), -1_655_984_460);
}

// ---- the store --------------------------------------------------------------------------------------------------

fn long_retry_topic() -> String {
    format!("%RETRY%{}_orders", "g".repeat(120))
}

fn check_point(group: &str, queue: u32, start: u64, deltas: &str, count: u32, bits: u32) -> String {
    format!(
        r#"{{"bm":{bits},"bn":"broker-a","c":"{group}","d":{deltas},"it":60000,"n":{count},"pt":{BORN},"q":{queue},"ro":0,"so":{start},"t":"orders"}}"#
    )
}

/// Everything that a store can hold and that Gantry reads.
fn foreign_store() -> Foreign {
    let mut store = Foreign::new();
    for number in 0..90u32 {
        let body: Vec<u8> = (0..200 + number * 37 % 5_000).map(|at| (at * 7 + number) as u8).collect();
        let mut one = record("orders", number % 4, &body)
            .with("UNIQ_KEY", &format!("0A010203{number:024X}"))
            .with("colour", "r\u{e4}d");
        if number % 3 == 0 {
            one = one.with("TAGS", &format!("tag{}", number % 2)).with("KEYS", &format!("key-{number} shared"));
        }
        one.flag = number as i32;
        one.property_crc = number % 5 == 0;
        one.unended = number % 7 == 1;
        if number % 2 == 1 {
            one.born_host = "[2001:db8::7]:4567".parse().unwrap();
        }
        if number % 11 == 1 {
            one.store_host = "[2001:db8::1]:10911".parse().unwrap();
        }
        store.append(&one);
        match number {
            // A topic that was deleted and made again, and one that was deleted for good.
            5..9 => drop(store.append(&record("reborn", number % 2, b"of an earlier life"))),
            9 => {
                store.delete("reborn");
                store.append(&record("gone", 0, b"nobody may see this"));
                store.delete("gone");
            }
            10..13 => drop(store.append(&record("reborn", number % 2, b"of this life"))),
            // Its first messages have expired: the queue begins at 6.
            20 => drop(store.append(&Record { queue_offset: Some(6), ..record("quiet", 0, b"the seventh") })),
            _ => {}
        }
    }
    let mut again = record(&long_retry_topic(), 0, b"tried before").with("RETRY_TOPIC", "orders");
    again.reconsume_times = 2;
    store.append(&again);
    store.append(&record("%RETRY%billing+orders.v2", 0, b"a dotted one"));
    // Delayed, timed, half: data of the broker's own.
    store.append(&record("SCHEDULE_TOPIC_XXXX", 2, b"later").with("DELAY", "3").with("REAL_TOPIC", "orders"));
    store.append(&record("RMQ_SYS_TRANS_HALF_TOPIC", 0, b"half").with("TRAN_MSG", "true"));
    store.append(&Record { sys_flag: 0x4, ..record("orders", 0, b"a prepared one of 4.x: in no queue") });
    let mut committed = record("orders", 0, b"committed").with("UNIQ_KEY", "COMMITTED");
    committed.sys_flag = 0x8;
    committed.prepared_offset = 17;
    store.append(&committed);
    // Two records of a batch queue, of three and two messages.
    for (number, count) in [(0, 3), (3, 2)] {
        let items = (0..count).map(|at| {
            let number = number + at;
            batch_item(
                number,
                format!("inner {number}").as_bytes(),
                format!("UNIQ_KEY\u{1}IN{number}\u{2}TAGS\u{1}t\u{2}").as_bytes(),
            )
        });
        let mut batch = record("batches", 0, &items.collect::<Vec<_>>().concat())
            .with("INNER_NUM", &count.to_string())
            .with("INNER_BASE", &number.to_string());
        batch.sys_flag = 0xC0;
        store.append(&batch);
    }
    // Popped by `poppers`: orders 0 has given out 0, 1, 2; orders 1 has given out 0 and 1; orders 2 has given out 0.
    let revive = |tag: &str, body: String| record(REVIVE_TOPIC, 0, body.as_bytes()).with("TAGS", tag);
    let timer = |tag: &str, body: String| {
        record("rmq_sys_wheel_timer", 0, body.as_bytes())
            .with("TAGS", tag)
            .with("REAL_TOPIC", REVIVE_TOPIC)
            .with("REAL_QID", "0")
    };
    let settled = check_point("poppers", 1, 0, "[0]", 1, 0);
    let open = check_point("poppers", 0, 0, "[0,1,2]", 3, 0b001);
    let not_fired = check_point("poppers", 1, 1, "[]", 1, 0);
    store.append(&timer("ck", settled.clone()));
    store.append(&timer("ck", open.clone()));
    store.append(&revive("ck", settled));
    store.append(&revive("ck", open));
    store.append(&timer("ck", not_fired));
    store.append(&timer("ck", check_point("poppers", 2, 0, "[0]", 1, 0)));
    store.append(&timer(
        "ack",
        format!(r#"{{"ao":0,"so":0,"c":"poppers","t":"orders","q":2,"pt":{BORN},"bn":"broker-a"}}"#),
    ));
    store.append(&revive(
        "bAck",
        format!(r#"{{"ackOffset":-1,"aol":[1],"startOffset":0,"consumerGroup":"poppers","topic":"orders","queueId":0,"popTime":{BORN},"brokerName":"broker-a"}}"#),
    ));

    let topic = |name: &str, perm: u32, queues: u32, attributes: &str| {
        format!(
            r#""{name}":{{"attributes":{{{attributes}}},"order":false,"perm":{perm},"readQueueNums":{queues},"topicFilterType":"SINGLE_TAG","topicName":"{name}","topicSysFlag":0,"writeQueueNums":{queues}}}"#
        )
    };
    let topics = [
        topic("orders", 6, 4, r#""message.type":"NORMAL""#),
        topic("reborn", 6, 2, ""),
        topic("quiet", 4, 1, ""),
        topic("batches", 6, 1, r#""queue.type":"BatchCQ""#),
        topic(&long_retry_topic(), 6, 1, ""),
        topic("%RETRY%billing+orders.v2", 6, 1, ""),
        topic("SCHEDULE_TOPIC_XXXX", 6, 18, ""),
        topic("RMQ_SYS_TRANS_HALF_TOPIC", 6, 1, ""),
        topic(REVIVE_TOPIC, 6, 8, ""),
        topic("rmq_sys_wheel_timer", 6, 1, ""),
        topic("DefaultCluster", 7, 16, ""),
    ];
    let version = r#""dataVersion":{"counter":3,"stateVersion":0,"timestamp":1700000000000}"#;
    store
        .config
        .insert("topics.json", format!("{{\n\t{version},\n\t\"topicConfigTable\":{{{}}}\n}}", topics.join(",\n")));
    store.config.insert(
        "subscriptionGroup.json",
        format!(
            r#"{{{version},"forbiddenTable":{{}},"subscriptionGroupTable":{{"billing":{{"consumeEnable":true,"groupName":"billing","retryMaxTimes":5,"subscriptionDataSet":[]}},"poppers":{{"groupName":"poppers"}},"CID_RMQ_SYS_REVIVE_GROUP":{{"groupName":"CID_RMQ_SYS_REVIVE_GROUP"}}}}}}"#
        ),
    );
    store.config.insert(
        "consumerOffset.json",
        format!(
            r#"{{{version},"offsetTable":{{"orders@billing":{{0:2,1:1,2:999}},"gone@billing":{{0:1}},"orders@poppers":{{0:3,1:2,2:1}},"{REVIVE_TOPIC}@CID_RMQ_SYS_REVIVE_GROUP":{{0:0}}}}}}"#
        ),
    );
    store.config.insert("delayOffset.json", format!("{{{version},\"offsetTable\":{{3:1}}}}"));
    store.config.insert(
        "consumerOrderInfo.json",
        r#"{"table":{"orders@ordered":{3:{"a":"x","cm":1,"i":30000,"l":1,"o":[4,1,2],"oc":{5:2},"ot":{},"popTime":1}}}}"#.into(),
    );
    store
}

// ---- opening it -------------------------------------------------------------------------------------------------

/// It is so many hours after the first message was made.
struct StillClock(i64);

impl Clock for StillClock {
    fn wall(&self) -> Timestamp {
        Timestamp(BORN + self.0 * 3_600_000)
    }
    fn since_boot(&self) -> Duration {
        Duration::from_secs(5)
    }
}

struct SameRandom;

impl Random for SameRandom {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0x5A);
    }
}

fn open(files: Arc<dyn Files>, dir: &Path) -> Result<LocalBroker, StoreError> {
    open_after(files, dir, 1)
}

fn open_after(files: Arc<dyn Files>, dir: &Path, hours: i64) -> Result<LocalBroker, StoreError> {
    open_as(files, dir, hours, Retention::default())
}

fn open_as(files: Arc<dyn Files>, dir: &Path, hours: i64, retention: Retention) -> Result<LocalBroker, StoreError> {
    let config = BrokerConfig { durability: Durability::Memory, retention, ..BrokerConfig::new(dir) };
    let surroundings = Surroundings {
        files,
        clock: Box::new(StillClock(hours)),
        random: Arc::new(SameRandom),
        failed: Box::new(|_| {}),
    };
    LocalBroker::open(config, surroundings)
}

fn name(text: &str) -> TopicName {
    TopicName::from_store(text.as_bytes()).unwrap()
}

fn group(text: &str) -> ConsumerGroup {
    ConsumerGroup::from_store(text.as_bytes()).unwrap()
}

async fn pull(broker: &LocalBroker, topic: &str, queue: u32, offset: u64) -> Result<PulledMessages, BrokerError> {
    let (topic, queue_id, offset) = (name(topic), QueueId(queue), QueueOffset(offset));
    broker.pull_messages(PullMessages { topic, queue_id, offset, messages_max: 500, bytes_max: u32::MAX }).await
}

/// Every message of the store, and no other, is where it was; each is found by its keys.
async fn reads_back(broker: &LocalBroker, store: &Foreign) {
    let live =
        |topic: &str| !topic.starts_with("rmq_sys") && !topic.starts_with("RMQ_SYS") && topic != "SCHEDULE_TOPIC_XXXX";
    let mut topics = BTreeSet::new();
    for ((topic, queue), messages) in store.messages.iter().filter(|((topic, _), _)| live(topic)) {
        topics.insert(topic.as_str());
        let first = messages[0].offset;
        let pulled = pull(broker, topic, *queue, first).await.unwrap();
        assert_eq!(
            (pulled.min_offset.0, pulled.max_offset.0),
            (first, first + messages.len() as u64),
            "{topic} {queue}"
        );
        let seen: Vec<Seen> = pulled
            .messages
            .iter()
            .map(|message| Seen {
                offset: message.queue_offset.0,
                place: message.commit_log_offset.0,
                stored: message.store_timestamp.0,
                flag: message.flag,
                born_host: message.born_host,
                store_host: message.store_host,
                reconsume_times: message.reconsume_times,
                body: message.body.to_vec(),
                properties: message
                    .properties()
                    .filter(|(name, _)| *name != "__CRC32#")
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect(),
            })
            .collect();
        assert_eq!(seen, *messages, "{topic} {queue}");
        for message in messages {
            if let Some((_, key)) = message.properties.iter().find(|(name, _)| name == "UNIQ_KEY") {
                let found = broker.find_message(name(topic), key.clone()).await.unwrap();
                assert_eq!(found.commit_log_offset.0, message.place);
            }
        }
    }
    let pulled = pull(broker, "batches", 0, 0).await.unwrap();
    let inner: Vec<_> = pulled
        .messages
        .iter()
        .map(|message| (message.queue_offset.0, message.flag, String::from_utf8(message.body.to_vec()).unwrap()))
        .collect();
    assert_eq!(inner, (0..5).map(|at| (at, at as i32, format!("inner {at}"))).collect::<Vec<_>>());
    assert_eq!(&broker.find_message(name("batches"), "IN4".into()).await.unwrap().body[..], b"inner 4");
    // Between the two of one record.
    assert_eq!(&pull(broker, "batches", 0, 4).await.unwrap().messages[0].body[..], b"inner 4");
    topics.insert("batches");

    let listed = broker.list_topics().await.unwrap();
    let listed: BTreeSet<&str> =
        listed.iter().map(|topic| topic.config.topic.as_str()).filter(|topic| live(topic)).collect();
    assert_eq!(listed, topics);
    for system in ["SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRANS_HALF_TOPIC", REVIVE_TOPIC, "rmq_sys_wheel_timer"] {
        let refused = pull(broker, system, 0, 0).await;
        assert!(matches!(refused, Err(BrokerError::SystemTopic { .. })), "{system}: {refused:?}");
    }
    let half = &store.messages[&("RMQ_SYS_TRANS_HALF_TOPIC".to_string(), 0)][0];
    let at = gantry_broker_core::offset::CommitLogOffset(half.place);
    assert!(matches!(broker.read_message(at).await, Err(BrokerError::MessageNotFound)));
    assert!(matches!(pull(broker, "gone", 0, 0).await, Err(BrokerError::TopicNotFound { .. })));
}

fn message(id: &str, body: &str) -> Message {
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    Message::new(body, id, Timestamp(1), "127.0.0.1:4000".parse().unwrap()).unwrap()
}

async fn send(broker: &LocalBroker, topic: &str, queue: u32, message: Message) -> Result<SendReceipt, BrokerError> {
    let messages = vec![SendMessage { queue_id: QueueId(queue), message, idempotency_key: None }];
    broker.send_messages(SendMessages { topic: name(topic), messages }).await?.remove(0)
}

async fn progress(broker: &LocalBroker, of: &str, topic: &str) -> Vec<(Option<u64>, Option<u64>, u64)> {
    let progress = broker.query_consume_offsets(group(of), name(topic)).await.unwrap();
    let offset = |offset: Option<QueueOffset>| offset.map(|offset| offset.0);
    progress.iter().map(|queue| (offset(queue.consume_offset), offset(queue.next_offset), queue.in_flight)).collect()
}

/// All that the state says, as text.
async fn state(broker: &LocalBroker) -> String {
    let mut text = String::new();
    let topics = broker.list_topics().await.unwrap();
    for topic in &topics {
        let Topic { config, topic_id, incarnation, version } = topic;
        text += &format!("{topic_id} {version} {incarnation} {config:?}\n");
    }
    for group in broker.list_consumer_groups().await.unwrap() {
        text += &format!("{} {} {:?}\n", group.consumer_group_id, group.version, group.config);
        for topic in &topics {
            let of = group.config.consumer_group.as_str();
            text +=
                &format!("  {} {:?}\n", topic.config.topic, progress(broker, of, topic.config.topic.as_str()).await);
        }
    }
    text
}

async fn pop(broker: &LocalBroker, of: &str) -> Vec<(u32, u64, u32)> {
    let popped = broker
        .pop_messages(PopMessages {
            consumer_group: group(of),
            topic: name("orders"),
            messages_max: 3,
            lease: LeaseLength::Exactly(Duration::from_secs(60)),
            filter: Filter::All,
            attempt_id: None,
        })
        .await
        .unwrap();
    let mut popped: Vec<_> = popped
        .iter()
        .map(|popped| (popped.message.queue_id.0, popped.message.queue_offset.0, popped.delivery_attempt))
        .collect();
    popped.sort_unstable();
    popped
}

fn simulated(store: &Foreign) -> SimulatedFiles {
    let files = SimulatedFiles::new();
    files.create_dir(Path::new(DIR)).unwrap();
    store.write(&files, Path::new(DIR), false);
    files
}

fn open_simulated(files: &SimulatedFiles) -> Result<LocalBroker, StoreError> {
    open(Arc::new(files.clone()), Path::new(DIR))
}

// ---- the rules --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn b8_a_foreign_store_on_a_disk_opens_and_goes_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("store");
    let store = foreign_store();
    store.write(&DiskFiles, &data, true);
    is_well(&data, WrittenBy::RocketMq);
    let broker = open(Arc::new(DiskFiles), &data).unwrap();
    reads_back(&broker, &store).await;

    // Offsets: committed, clamped to the end, and with what is in flight.
    let ends: Vec<u64> = (0..4).map(|queue| store.next[&("orders".to_string(), queue)]).collect();
    let committed = |offset| (Some(offset), Some(offset), 0);
    assert_eq!(
        progress(&broker, "billing", "orders").await,
        [committed(2), committed(1), committed(ends[2]), (None, None, 0)]
    );
    assert_eq!(
        progress(&broker, "poppers", "orders").await[..3],
        [(Some(2), Some(3), 1), (Some(1), Some(2), 1), committed(1)]
    );
    assert_eq!(progress(&broker, "ordered", "orders").await[3], (Some(5), Some(7), 2));
    assert_eq!(broker.describe_consumer_group(group("billing")).await.unwrap().config.retry_max_times, 5);

    // Sends go on where the queues ended; a batch queue takes none.
    let receipt = send(&broker, "orders", 1, message("ours", "of ours")).await.unwrap();
    assert_eq!(receipt.queue_offset.0, ends[1]);
    let receipt = send(&broker, "reborn", 0, message("ours2", "of ours")).await.unwrap();
    assert_eq!(receipt.queue_offset.0, 2);
    assert!(matches!(send(&broker, "batches", 0, message("b", "b")).await, Err(BrokerError::TopicNotWritable { .. })));
    assert!(matches!(send(&broker, "quiet", 0, message("q", "q")).await, Err(BrokerError::TopicNotWritable { .. })));
    let before = state(&broker).await;
    broker.close().unwrap();
    drop(broker);
    is_well(&data, WrittenBy::Gantry);

    // What Apache needs is there, what it would stumble over is not.
    assert!(!data.join("abort").exists());
    assert_eq!(std::fs::metadata(data.join("checkpoint")).unwrap().len(), 4096);
    assert!(!data.join("consumequeue/batches").exists() && data.join("batchconsumequeue/batches/0").exists());
    for ((topic, queue), units) in &store.units {
        let path = data.join("consumequeue").join(topic).join(queue.to_string()).join("0".repeat(20));
        let file = std::fs::read(&path).unwrap();
        let expected = store.queue_file(topic, *queue, units);
        assert_eq!(file.len() as u64, QUEUE_FILE_BYTES);
        assert!(file.starts_with(&expected), "{topic} {queue}: every unit is the one that was there");
    }
    let index: Vec<u64> =
        std::fs::read_dir(data.join("index")).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).collect();
    assert_eq!(index, [420_000_040]);
    let config = |name: &str| std::fs::read_to_string(data.join("config").join(name)).unwrap();
    let offsets = config("consumerOffset.json");
    let squeezed: String = offsets.split_whitespace().collect();
    assert!(squeezed.contains(r#""orders@poppers":{0:2,1:1,2:1}"#), "{offsets}");
    assert!(squeezed.contains(r#""counter":4"#), "{offsets}");
    // RocketMQ reads from behind this check point on.
    assert!(squeezed.contains(&format!(r#""{REVIVE_TOPIC}@CID_RMQ_SYS_REVIVE_GROUP":{{0:2"#)), "{offsets}");
    let topics: serde_json::Value = serde_json::from_str(&config("topics.json")).unwrap();
    let table = topics["topicConfigTable"].as_object().unwrap();
    assert!(table.contains_key("DefaultCluster") && table.contains_key("SCHEDULE_TOPIC_XXXX"));
    assert_eq!(table["batches"]["attributes"]["queue.type"], "BatchCQ");
    assert_eq!(table["rmq_sys_GANTRY_STATE"]["perm"], 0);
    assert_eq!(config("delayOffset.json"), store.config["delayOffset.json"]);

    // Nobody else was there: nothing is imported again, and everything is as it was.
    let broker = open(Arc::new(DiskFiles), &data).unwrap();
    assert_eq!(state(&broker).await, before);
    assert_eq!(&pull(&broker, "orders", 1, ends[1]).await.unwrap().messages[0].body[..], b"of ours");
    assert_eq!(pull(&broker, "batches", 0, 0).await.unwrap().messages.len(), 5);
    let again = send(&broker, "orders", 1, message("ours3", "of ours")).await.unwrap();
    assert_eq!(again.queue_offset.0, ends[1] + 1);
    broker.close().unwrap();
    drop(broker);
    is_well(&data, WrittenBy::Gantry);
}

/// What `gantry store verify` says of a directory that nobody has open.
#[track_caller]
fn is_well(data: &Path, written_by: WrittenBy) {
    let report = verify(&DiskFiles, data, VerifyOptions::default(), &mut |_| {}).unwrap();
    assert_eq!((report.written_by, &report.problems), (written_by, &vec![]), "{:#?}", report.notes);
}

/// Each message of a batch has an entry in a queue of ours, which says which of its record's messages it is.
#[tokio::test]
async fn b8_the_queues_of_batches_are_verified_like_all_others() {
    let files = simulated(&foreign_store());
    let broker = open_simulated(&files).unwrap();
    let report = |files: &SimulatedFiles| verify(files, Path::new(DIR), VerifyOptions::default(), &mut |_| {}).unwrap();
    let at_once = report(&files.kill());
    assert_eq!(at_once.problems, [], "killed before a checkpoint of ours: {:#?}", at_once.notes);
    // From when on a start believes the entries that are there.
    let queue_ends = Path::new(DIR).join("gantry/queue-ends");
    while files.read(&queue_ends).is_err() {
        std::thread::yield_now();
    }
    let killed = files.kill();
    drop(broker);
    let whole = report(&killed);
    assert_eq!(whole.problems, [], "{:#?}", whole.notes);
    assert!(!whole.notes.iter().any(|note| note.contains("batches")), "{:#?}", whole.notes);
    let queue = Path::new(DIR).join("consumequeue/batches/0").join("0".repeat(20));
    // The second and the fifth message are not the first of their records; each byte is of another field.
    for at in [20 + 1, 20 + 7, 4 * 20 + 1, 4 * 20 + 11, 4 * 20 + 19] {
        let damaged = killed.kill();
        damaged.damage(&queue, at, &[0x55]).unwrap();
        let found = report(&damaged);
        assert_eq!(found.problems_found, 1, "byte {at}: {:#?}", found.problems);
        assert!(found.problems[0].reason.contains("of its batch"), "{:#?}", found.problems);
    }
}

#[tokio::test]
async fn b8_what_was_popped_and_not_acked_is_due_again() {
    let files = simulated(&foreign_store());
    let broker = open_simulated(&files).unwrap();
    // Acked: 0 by its check point, 1 by a batch; 2 is owed. Of queue 1, what never came to the revive topic.
    let popped = pop(&broker, "poppers").await;
    let again: Vec<_> = popped.into_iter().filter(|(.., attempt)| *attempt > 1).collect();
    assert_eq!(again, [(0, 2, 2), (1, 1, 2)]);
    let ordered = pop(&broker, "ordered").await;
    assert!(ordered.contains(&(3, 5, 4)) && ordered.contains(&(3, 6, 2)), "{ordered:?}");
    broker.close().unwrap();
}

#[tokio::test]
async fn b8_a_store_that_was_killed_ends_at_its_last_whole_record() {
    let mut store = foreign_store();
    store.abort = true;
    let end = store.end();
    // Half a record; a stale one with another place; and one of this place that a crash long ago left.
    let torn = record("orders", 0, &[9; 300]).encode(99, end, store.clock + 1);
    let elsewhere = record("orders", 0, &[8; 50]).encode(98, 77, store.clock + 1);
    let mut tail = [&torn[..150], &elsewhere].concat();
    let stale_at = end + tail.len() as u64;
    tail.extend(record("orders", 0, &[7; 50]).encode(97, stale_at, BORN - 1));
    store.tail = tail;
    let files = simulated(&store);
    // The queues lag behind the log.
    let units = store.units[&("orders".to_string(), 2)].len();
    let path = Path::new(DIR).join("consumequeue/orders/2").join("0".repeat(20));
    files.damage(&path, (units as u64 - 3) * 20, &[0; 60]).unwrap();
    let broker = open_simulated(&files).unwrap();
    reads_back(&broker, &store).await;
    let receipt = send(&broker, "orders", 0, message("first", "behind the tear")).await.unwrap();
    assert!(receipt.commit_log_offset.0 > end);
    broker.close().unwrap();
    drop(broker);
    // What lay behind the tear does not come back to life, whatever comes to lie before it.
    let broker = open_simulated(&files).unwrap();
    let pulled = pull(&broker, "orders", 0, receipt.queue_offset.0).await.unwrap();
    assert_eq!((pulled.messages.len(), &pulled.messages[0].body[..]), (1, &b"behind the tear"[..]));
    broker.close().unwrap();
}

#[tokio::test]
async fn b8_what_waits_is_delivered_and_what_was_delivered_is_not() {
    let mut store = foreign_store();
    store.config.insert("delayOffset.json", r#"{"offsetTable":{3:0}}"#.into());
    let files = simulated(&store);
    let end = store.messages[&("orders".to_string(), 0)].last().unwrap().offset + 1;
    for _ in 0..2 {
        let broker = open_simulated(&files).unwrap();
        // The broker's own thread delivers it, as soon as it has a moment.
        while pull(&broker, "orders", 0, end).await.unwrap().messages.is_empty() {
            tokio::task::yield_now().await;
        }
        broker.close().unwrap();
        let later = pull(&broker, "orders", 0, end).await.unwrap().messages;
        let bodies: Vec<&[u8]> = later.iter().map(|message| &message.body[..]).collect();
        assert_eq!(bodies, [&b"later"[..]], "once");
        drop(broker);
        let offsets = files.read(&Path::new(DIR).join("config/delayOffset.json")).unwrap();
        let offsets: String = String::from_utf8(offsets).unwrap().split_whitespace().collect();
        assert!(offsets.contains(r#""offsetTable":{3:1}"#), "{offsets}");
    }
}

/// RocketMQ puts what waits for long back and says nothing of the copies before, which stand in the same second here: the
/// last one comes, once, wherever a kill makes us begin anew and whatever retention has put back meanwhile.
#[tokio::test]
async fn b8_what_rocketmq_put_back_comes_once() {
    let mut store = foreign_store();
    let out = BORN + 10 * 3_600_000;
    // The first copy of one has expired; two bear the same key.
    let copies =
        [("a", 0), ("twin", 0), ("twin", 0), ("a", 1), ("old", 1), ("a", 2), ("twin", 1), ("twin", 1), ("near", 0)];
    for (id, times) in copies {
        let mut one = record("rmq_sys_wheel_timer", 0, format!("waits: {id}").as_bytes())
            .with("UNIQ_KEY", id)
            .with("REAL_TOPIC", "orders")
            .with("REAL_QID", "0")
            .with("TIMER_OUT_MS", &out.to_string());
        if times > 0 {
            one = one.with("TIMER_ROLL_TIMES", &times.to_string());
        }
        store.append(&one);
    }
    let end = store.messages[&("orders".to_string(), 0)].last().unwrap().offset + 1;
    let came = async |broker: &LocalBroker| {
        let pulled = pull(broker, "orders", 0, end).await.unwrap().messages;
        let bodies = pulled.iter().map(|message| String::from_utf8_lossy(&message.body).into_owned());
        let mut bodies: Vec<_> = bodies.filter(|body| body.starts_with("waits")).collect();
        bodies.sort();
        bodies
    };
    for retained in [false, true] {
        let files = simulated(&store);
        let broker = open_simulated(&files).unwrap();
        broker.deliver_due().unwrap();
        if retained {
            drop(broker);
            let retention = Retention { commit_log_bytes_max: Some(SEGMENT_BYTES), ..Retention::default() };
            let broker = open_as(Arc::new(files.clone()), Path::new(DIR), 1, retention).unwrap();
            for _ in 0..4 {
                for at in 0..40 {
                    send(&broker, "orders", 1, message(&format!("f{at}"), &"x".repeat(4_000))).await.unwrap();
                }
                broker.take_snapshot().unwrap();
                broker.enforce_retention().unwrap();
            }
            assert!(
                broker.describe_broker().await.unwrap().commit_log_min.0 > 4 * SEGMENT_BYTES,
                "their segments are gone"
            );
        } else {
            assert_eq!(came(&broker).await, Vec::<String>::new());
        }
        let files = files.kill();
        let states: Arc<std::sync::Mutex<Vec<SimulatedFiles>>> = Arc::default();
        let keep = states.clone();
        files.before_each_change(Box::new(move |files, _| keep.lock().unwrap().push(files.kill())));
        let broker = open_after(Arc::new(files.clone()), Path::new(DIR), 11).unwrap();
        broker.deliver_due().unwrap();
        drop(broker);
        let states = std::mem::take(&mut *states.lock().unwrap());
        assert!(states.len() > 10, "{}", states.len());
        for (at, files) in states.iter().enumerate() {
            let broker = open_after(Arc::new(files.kill()), Path::new(DIR), 11).unwrap();
            broker.deliver_due().unwrap();
            let expected = ["waits: a", "waits: near", "waits: old", "waits: twin", "waits: twin"];
            assert_eq!(came(&broker).await, expected, "killed before change {at}, retention: {retained}");
        }
    }
}

/// Of half messages: below the offset, named by an op record of either form, committed without one yet, put back by a check,
/// and open.
#[tokio::test]
async fn b8_transactions_come_along_as_far_as_they_are_decided_and_go_back() {
    let mut store = foreign_store();
    let half = |id: &str| {
        let half =
            record("RMQ_SYS_TRANS_HALF_TOPIC", 0, id.as_bytes()).with("UNIQ_KEY", id).with("REAL_TOPIC", "orders");
        half.with("REAL_QID", "1").with("TRAN_MSG", "true").with("PGROUP", "shop").with("__transactionId__", id)
    };
    for id in ["below", "listed", "of old form"] {
        store.append(&half(id));
    }
    let place = store.append(&half("committed late"));
    store.append(&half("asked"));
    store.append(&half("asked").with("TRANSACTION_CHECK_TIMES", "1"));
    store.append(&half("open"));
    let mut committed = record("orders", 1, b"committed late").with("UNIQ_KEY", "committed late");
    committed.sys_flag = 0x8;
    committed.prepared_offset = place as i64;
    store.append(&committed);
    for body in ["1,", "2,", "3"] {
        store.append(&record("RMQ_SYS_TRANS_OP_HALF_TOPIC", 0, body.as_bytes()).with("TAGS", "d"));
    }
    let offsets =
        "\"RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS\":{0:2},\"RMQ_SYS_TRANS_OP_HALF_TOPIC@CID_RMQ_SYS_TRANS\":{0:1},";
    let with_offsets =
        store.config["consumerOffset.json"].replace("\"orders@billing\"", &format!("{offsets}\"orders@billing\""));
    store.config.insert("consumerOffset.json", with_offsets);
    let op_topic = r#""RMQ_SYS_TRANS_OP_HALF_TOPIC":{"perm":6,"readQueueNums":1,"topicName":"RMQ_SYS_TRANS_OP_HALF_TOPIC","writeQueueNums":1},"RMQ_SYS_TRANS_HALF_TOPIC":"#;
    let topics = store.config["topics.json"].replace(r#""RMQ_SYS_TRANS_HALF_TOPIC":"#, op_topic);
    store.config.insert("topics.json", topics);
    let files = simulated(&store);
    let open = async |broker: &LocalBroker| {
        let (topic, producer_group, born_before) = (name("orders"), None, None);
        let (from, transactions_max, bytes_max) = (QueueOffset(0), 100, u32::MAX);
        let list = ListTransactions { topic, producer_group, born_before, from, transactions_max, bytes_max };
        broker.list_transactions(list).await.unwrap().transactions
    };
    let ids = |open: &[OpenTransaction]| -> Vec<(String, u32)> {
        open.iter().map(|open| (open.message.unique_key().unwrap().to_string(), open.checks)).collect()
    };
    let broker = open_simulated(&files).unwrap();
    let found = open(&broker).await;
    assert_eq!(ids(&found), [("asked".to_string(), 1), ("open".to_string(), 0)]);
    let end =
        EndTransaction { half: found[1].half, topic: Some(name("orders")), resolution: TransactionResolution::Commit };
    broker.end_transaction(end).await.unwrap();
    assert_eq!(&broker.find_message(name("orders"), "open".into()).await.unwrap().body[..], b"open");
    broker.close().unwrap();
    drop(broker);
    let offsets = files.read(&Path::new(DIR).join("config/consumerOffset.json")).unwrap();
    let offsets: String = String::from_utf8(offsets).unwrap().split_whitespace().collect();
    for exported in [
        r#""RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS":{0:6}"#,
        r#""RMQ_SYS_TRANS_OP_HALF_TOPIC@CID_RMQ_SYS_TRANS":{0:3}"#,
    ] {
        assert!(offsets.contains(exported), "{offsets}");
    }
    // RocketMQ is told by the op record that lies there, and would be by anybody else's.
    for _ in 0..2 {
        let broker = open_simulated(&files).unwrap();
        assert_eq!(ids(&open(&broker).await), [("asked".to_string(), 1)]);
        broker.close().unwrap();
    }
}

#[tokio::test]
async fn b8_who_wrote_after_us_is_heard() {
    let files = simulated(&foreign_store());
    let broker = open_simulated(&files).unwrap();
    let ours = send(&broker, "orders", 0, message("ours", "of ours")).await.unwrap();
    broker.delete_topic(name("quiet")).await.unwrap();
    broker.close().unwrap();
    drop(broker);

    // As Apache would go on: a record behind ours, offsets of its own, a topic deleted and made again.
    let identity: serde_json::Value =
        serde_json::from_slice(&files.read(&Path::new(DIR).join("gantry/store.json")).unwrap()).unwrap();
    let end = identity["stopped"]["end"].as_u64().unwrap();
    let base = end / SEGMENT_BYTES * SEGMENT_BYTES;
    let path = Path::new(DIR).join("commitlog").join(format!("{base:020}"));
    let theirs = record("orders", 0, b"of theirs").with("UNIQ_KEY", "theirs");
    let reborn = record("reborn", 1, b"of a third life");
    let first = theirs.encode(ours.queue_offset.0 + 1, end, BORN + 3_700_000);
    let second_at = end + first.len() as u64;
    let second = reborn.encode(0, second_at, BORN + 3_700_001);
    let unit = [&second_at.to_be_bytes()[..], &(second.len() as i32).to_be_bytes(), &[0; 8]].concat();
    files.damage(&path, end - base, &[first, second].concat()).unwrap();
    let reborn_queue = Path::new(DIR).join("consumequeue/reborn");
    for queue in ["0", "1"] {
        files.damage(&reborn_queue.join(queue).join("0".repeat(20)), 0, &[0; 400]).unwrap();
    }
    files.damage(&reborn_queue.join("1").join("0".repeat(20)), 0, &unit).unwrap();
    let offsets = r#"{"offsetTable":{"orders@billing":{0:9}}}"#;
    files.replace(&Path::new(DIR).join("config/consumerOffset.json"), offsets.as_bytes(), false).unwrap();

    let broker = open_simulated(&files).unwrap();
    let pulled = pull(&broker, "orders", 0, ours.queue_offset.0).await.unwrap();
    let bodies: Vec<&[u8]> = pulled.messages.iter().map(|message| &message.body[..]).collect();
    assert_eq!(bodies, [&b"of ours"[..], b"of theirs"]);
    assert_eq!(progress(&broker, "billing", "orders").await[0], (Some(9), Some(9), 0));
    assert_eq!(&pull(&broker, "reborn", 1, 0).await.unwrap().messages[0].body[..], b"of a third life");
    assert!(matches!(pull(&broker, "quiet", 0, 6).await, Err(BrokerError::TopicNotFound { .. })));
    assert_eq!(&broker.find_message(name("orders"), "theirs".into()).await.unwrap().body[..], b"of theirs");
    let before = state(&broker).await;
    broker.close().unwrap();
    drop(broker);
    let broker = open_simulated(&files).unwrap();
    assert_eq!(state(&broker).await, before);
    broker.close().unwrap();

    // An `abort` behind our stop is somebody else's crash.
    drop(broker);
    files.replace(&Path::new(DIR).join("abort"), b"4711", false).unwrap();
    let offsets = r#"{"offsetTable":{"orders@billing":{0:8}}}"#;
    files.replace(&Path::new(DIR).join("config/consumerOffset.json"), offsets.as_bytes(), false).unwrap();
    let broker = open_simulated(&files).unwrap();
    assert_eq!(progress(&broker, "billing", "orders").await[0], (Some(8), Some(8), 0));
    broker.close().unwrap();
}

/// Killed or powered off after any number of changes, an import begun again comes to the same.
#[tokio::test]
async fn d10_an_import_that_is_killed_is_done_again_to_the_same_end() {
    let store = foreign_store();
    let expected = {
        let broker = open_simulated(&simulated(&store)).unwrap();
        reads_back(&broker, &store).await;
        state(&broker).await
    };
    let (mut killed, mut operations) = (0, 0);
    loop {
        let files = simulated(&store);
        files.halt_after(operations);
        let done = open_simulated(&files).is_ok();
        let next = if operations % 2 == 0 { files.kill() } else { files.power_cut(operations) };
        let broker = open_simulated(&next).unwrap_or_else(|error| panic!("after {operations} changes: {error}"));
        assert_eq!(state(&broker).await, expected, "after {operations} changes");
        if operations < 4 || done {
            reads_back(&broker, &store).await;
        }
        killed += u32::from(!done);
        if done {
            break;
        }
        operations += 1 + operations / 3;
    }
    assert!(killed > 12, "{killed}");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_its_key() {
    let planted: [(&str, &str); 7] = [
        ("consumequeue/CURRENT", "storeType=defaultRocksDB"),
        ("kvStore/pop/CURRENT", "popConsumerKVServiceEnable"),
        ("config/topics/CURRENT", "configManagerVersion"),
        ("config/tieredStoreMetadata.json", "messageStorePlugIn"),
        ("dledger-n0/data", "enableDLegerCommitLog"),
        ("consumequeue_r/CURRENT", "storeType"),
        ("compaction/compactionLog/topic", "cleanup.policy=COMPACTION"),
    ];
    for (path, key) in planted {
        let files = simulated(&foreign_store());
        let path = Path::new(DIR).join(path);
        files.create_dir(path.parent().unwrap()).unwrap();
        files.replace(&path, b"x", false).unwrap();
        let error = open_simulated(&files).err().expect(key);
        assert!(matches!(&error, StoreError::Foreign { key: found, .. } if *found == key), "{key}: {error}");
        assert!(files.read(&Path::new(DIR).join("gantry/store.json")).is_err(), "nothing was written");
    }
    let mut compacted = foreign_store();
    let topics =
        compacted.config["topics.json"].replace(r#""message.type":"NORMAL""#, r#""cleanup.policy":"COMPACTION""#);
    compacted.config.insert("topics.json", topics);
    let error = open_simulated(&simulated(&compacted)).err().expect("refused");
    assert!(error.to_string().contains("cleanup.policy=COMPACTION"), "{error}");
}

#[tokio::test]
async fn what_is_damaged_is_refused_with_its_place_and_not_cut_off() {
    let store = foreign_store();
    let place = store.messages[&("orders".to_string(), 1)][1].place;
    let files = simulated(&store);
    let segment = Path::new(DIR).join("commitlog").join(format!("{:020}", place / SEGMENT_BYTES * SEGMENT_BYTES));
    files.damage(&segment, place % SEGMENT_BYTES + 120, &[0xFF; 3]).unwrap();
    let error = open_simulated(&files).err().expect("refused");
    assert!(
        matches!(&error, StoreError::Damaged { file, offset, .. } if *file == segment && *offset == place % SEGMENT_BYTES),
        "{error}"
    );

    // Two broken files of topics, and one with its copy.
    for (has_copy, opens) in [(false, false), (true, true)] {
        let files = simulated(&store);
        let path = Path::new(DIR).join("config/topics.json");
        files.replace(&path, b"{\"topicConfigTable\":{", false).unwrap();
        let copy = if has_copy { store.config["topics.json"].as_str() } else { "" };
        files.replace(&path.with_extension("json.bak"), copy.as_bytes(), false).unwrap();
        match open_simulated(&files) {
            Ok(broker) => {
                assert!(opens);
                reads_back(&broker, &store).await;
            }
            Err(error) => {
                assert!(!opens && matches!(&error, StoreError::Damaged { file, .. } if *file == path), "{error}");
            }
        }
    }
}

/// Those that Gantry does not honour too: they are shown, kept when they are put as they were, and written again.
#[tokio::test]
async fn b8_attributes_come_along_and_go_back() {
    let mut store = foreign_store();
    let brought = r#""lite.topic.expiration":"30","message.type":"MIXED","reserve.time":"1""#;
    let topics = store.config["topics.json"].replace(r#""message.type":"NORMAL""#, brought);
    store.config.insert("topics.json", topics);
    let files = simulated(&store);
    let broker = open_simulated(&files).unwrap();
    let described = broker.describe_topic(name("orders")).await.unwrap();
    let attributes: Vec<_> = described.config.attributes.iter().collect();
    assert_eq!(attributes, [("lite.topic.expiration", "30"), ("reserve.time", "1")]);
    let batches = broker.describe_topic(name("batches")).await.unwrap().config;
    assert_eq!(batches.attributes.iter().collect::<Vec<_>>(), [("queue.type", "BatchCQ")]);
    assert!(pull(&broker, "orders", 0, 0).await.is_ok(), "no message is older than an hour");

    let changed = TopicConfig { permission: Permission { read: true, write: false }, ..described.config.clone() };
    broker.put_topic(PutTopic::new(changed, PutWhen::Exists)).await.unwrap();
    let odd = [("lite.topic.expiration".to_string(), "31".to_string())].into_iter().collect();
    let odd = TopicConfig { attributes: odd, ..described.config };
    assert!(matches!(
        broker.put_topic(PutTopic::new(odd, PutWhen::Exists)).await,
        Err(BrokerError::InvalidParameter { .. })
    ));
    // Whoever does not speak of how queues are laid out does not change it.
    let put = TopicConfig { write_queues: 1, ..TopicConfig::new(name("batches")) };
    broker.put_topic(PutTopic::new(TopicConfig { read_queues: 1, ..put }, PutWhen::Exists)).await.unwrap();
    assert!(matches!(send(&broker, "batches", 0, message("x", "x")).await, Err(BrokerError::TopicNotWritable { .. })));
    broker.close().unwrap();
    drop(broker);
    let exported = files.read(&Path::new(DIR).join("config/topics.json")).unwrap();
    let exported: serde_json::Value = serde_json::from_slice(&exported).unwrap();
    let exported = &exported["topicConfigTable"];
    let of = |topic: &str| serde_json::to_string(&exported[topic]["attributes"]).unwrap();
    assert_eq!((of("orders"), &exported["orders"]["perm"]), (format!("{{{brought}}}"), &4.into()));
    assert_eq!((of("batches"), of("quiet")), (r#"{"queue.type":"BatchCQ"}"#.into(), "{}".into()));

    // An hour later they have had their time, and RocketMQ would go on behind them.
    let broker = open_after(Arc::new(files.clone()), Path::new(DIR), 2).unwrap();
    let of_orders = broker.query_queue_offsets(name("orders")).await.unwrap();
    assert!(of_orders.iter().all(|queue| queue.min_offset == queue.max_offset) && of_orders[0].max_offset.0 > 0);
    let consumed = progress(&broker, "billing", "orders").await;
    assert!(consumed.iter().zip(&of_orders).all(|(at, queue)| at.0.is_none_or(|at| at == queue.max_offset.0)));
    assert!(
        broker
            .query_queue_offsets(name("reborn"))
            .await
            .unwrap()
            .iter()
            .any(|queue| queue.min_offset < queue.max_offset)
    );
}

/// Killed at any step of a clean stop, nothing that was acked comes back: the stop's files are not somebody else's.
#[tokio::test]
async fn b8_a_stop_that_is_killed_is_nobody_elses() {
    let (mut operations, mut killed) = (0, 0);
    loop {
        let files = SimulatedFiles::new();
        let broker = open_simulated_small(&files);
        let config = TopicConfig { read_queues: 1, write_queues: 1, ..TopicConfig::new(name("orders")) };
        broker.put_topic(PutTopic::new(config, PutWhen::Missing)).await.unwrap();
        for number in 0..3 {
            send(&broker, "orders", 0, message(&format!("id{number}"), "body")).await.unwrap();
        }
        let popped = broker
            .pop_messages(PopMessages {
                consumer_group: group("billing"),
                topic: name("orders"),
                messages_max: 3,
                lease: LeaseLength::Exactly(Duration::from_secs(60)),
                filter: Filter::All,
                attempt_id: None,
            })
            .await
            .unwrap();
        let later = popped.iter().filter(|popped| popped.message.queue_offset.0 > 0);
        let acked = broker.ack_messages(later.map(|popped| popped.handle.clone()).collect()).await.unwrap();
        assert!(acked.len() == 2 && acked.iter().all(Result::is_ok));
        files.halt_after(operations);
        let done = broker.close().is_ok();
        drop(broker);
        let broker = open_simulated_small(&files.kill());
        assert_eq!(progress(&broker, "billing", "orders").await, [(Some(0), Some(3), 1)], "after {operations} changes");
        if done {
            break;
        }
        killed += 1;
        operations += 1;
    }
    assert!(killed > 10, "{killed}");
}

fn open_simulated_small(files: &SimulatedFiles) -> LocalBroker {
    let config =
        BrokerConfig { durability: Durability::Memory, segment_bytes: SEGMENT_BYTES, ..BrokerConfig::new(DIR) };
    let surroundings = Surroundings {
        files: Arc::new(files.clone()),
        clock: Box::new(StillClock(1)),
        random: Arc::new(SameRandom),
        failed: Box::new(|_| {}),
    };
    LocalBroker::open(config, surroundings).unwrap()
}
