//! Reads everything that a server holds, as the checker wants to see it.

use std::collections::BTreeMap;

use gantry_broker_core::names::HOLDING_TOPIC;
use harness::history::{MessageRead, QueueRead, ReadBack};
use harness::{Answer, ask};
use reqwest::Client;
use serde_json::{Value, json};

use crate::clients::{GROUP, TRANSACTION_TOPIC, seen, wall_us};
use crate::store;

/// More pages than any rig fills.
const PAGES_MAX: usize = 10_000;
/// Nobody sends while it reads: the log is at its end, and retention soon.
const READINGS_MAX: usize = 100;

/// All topics, and every queue from its first message to its last.
pub async fn read_back(base: &str) -> Result<ReadBack, String> {
    let http = Client::new();
    let mut read = ReadBack::default();
    let mut cursor = String::new();
    for _ in 0..PAGES_MAX {
        let page = get(&http, &format!("{base}/v1/topics?limit=500{cursor}")).await?;
        let topics = page["items"].as_array().ok_or("no list of topics")?;
        read.topics.extend(topics.iter().filter_map(|topic| topic["name"].as_str()).map(str::to_string));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    for topic in &read.topics {
        read.queues.extend(read_queues(&http, base, topic).await?);
    }
    if let Some(letters) = read_if_any(&http, base, &format!("%25DLQ%25{GROUP}")).await? {
        read.dead_letters.insert(GROUP.into(), letters);
    }
    if read.topics.iter().any(|topic| topic == TRANSACTION_TOPIC) {
        read.open = open_transactions(base).await?;
        confirm(&http, base).await?;
    }
    // Behind what is open: what was given up before or in between is in one of the two.
    read.held = read_if_any(&http, base, HOLDING_TOPIC).await?.unwrap_or_default();
    read.check_max = store::CHECK_MAX;
    Ok(read)
}

/// What is answered at the broker's level speaks for all that lies before it in the log: from then on it can be read.
async fn confirm(http: &Client, base: &str) -> Result<(), String> {
    let url = format!("{base}/v1/groups/rig-{}", wall_us());
    let made = ask(http.put(&url).json(&json!({}))).await.ok_or_else(|| format!("no answer from {url}"))?;
    if made.status == 201 { Ok(()) } else { Err(format!("{} from {url}", made.status)) }
}

/// The messages of a topic that comes with the first of them.
async fn read_if_any(http: &Client, base: &str, topic: &str) -> Result<Option<Vec<MessageRead>>, String> {
    let url = format!("{base}/v1/topics/{topic}/queues");
    let known = ask(http.get(&url)).await.ok_or_else(|| format!("no answer from {url}"))?;
    if known.status == 404 {
        return Ok(None);
    }
    let queues = read_queues(http, base, topic).await?;
    Ok(Some(queues.into_iter().flat_map(|queue| queue.messages).collect()))
}

/// Keys of half messages that nobody has decided.
pub async fn open_transactions(base: &str) -> Result<Vec<String>, String> {
    let http = Client::new();
    let mut keys = Vec::new();
    let mut cursor = String::new();
    for _ in 0..PAGES_MAX {
        let url = format!("{base}/v1/topics/{TRANSACTION_TOPIC}/transactions?limit=500{cursor}");
        let page = get(&http, &url).await?;
        let items = page["items"].as_array().ok_or("no list of transactions")?;
        keys.extend(items.iter().filter_map(|open| open["messageId"].as_str()).map(str::to_string));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(keys),
        }
    }
    Err("the list of transactions has no end".into())
}

/// Where retention takes the beginning of a queue while it is read, it is read again.
async fn read_queues(http: &Client, base: &str, topic: &str) -> Result<Vec<QueueRead>, String> {
    let mut read: BTreeMap<u32, QueueRead> = BTreeMap::new();
    for _ in 0..READINGS_MAX {
        let queues = get(http, &format!("{base}/v1/topics/{topic}/queues")).await?;
        let mut moved = false;
        for queue in queues["items"].as_array().ok_or("no list of queues")? {
            let ends = Ends::of(topic, queue)?;
            if read.get(&ends.queue).is_none_or(|read| read.min_offset != ends.min_offset) {
                moved = true;
                match read_queue(http, base, topic, &ends).await? {
                    Some(queue) => drop(read.insert(ends.queue, queue)),
                    None => drop(read.remove(&ends.queue)),
                }
            }
        }
        if !moved {
            return Ok(read.into_values().collect());
        }
    }
    Err(format!("the queues of {topic} are never at rest"))
}

/// What the broker says of a queue.
struct Ends {
    broker: String,
    queue: u32,
    min_offset: u64,
    max_offset: u64,
}

impl Ends {
    fn of(topic: &str, queue: &Value) -> Result<Ends, String> {
        let number = |name: &str| queue[name].as_u64().ok_or(format!("a queue of {topic} without {name}: {queue}"));
        Ok(Ends {
            broker: queue["brokerName"].as_str().ok_or("a queue without a broker")?.to_string(),
            queue: u32::try_from(number("queueId")?).map_err(|error| error.to_string())?,
            min_offset: number("minOffset")?,
            max_offset: number("maxOffset")?,
        })
    }
}

/// `None`: what was asked for has gone meanwhile.
async fn read_queue(http: &Client, base: &str, topic: &str, ends: &Ends) -> Result<Option<QueueRead>, String> {
    let Ends { broker, queue, min_offset, max_offset } = ends;
    let mut messages = Vec::new();
    let mut offset = *min_offset;
    while offset < *max_offset {
        let path = format!("/v1/topics/{topic}/queues/{broker}/{queue}/messages");
        let url = format!("{base}{path}?bodyAs=base64&timeFormat=ms&limit=500&offset={offset}");
        let answer = ask(http.get(&url)).await.ok_or_else(|| format!("no answer from {url}"))?;
        if answer.code() == "offset_expired" {
            return Ok(None);
        }
        let page = good(&url, &answer)?;
        for message in page["items"].as_array().ok_or("no list of messages")? {
            let queue_offset = message["queueOffset"].as_u64().ok_or("a message without its offset")?;
            let (key, body_hash, properties_hash) = seen(message);
            let stored_ms = message["storeTimestamp"].as_i64().ok_or("a message without its time")?;
            messages.push(MessageRead { queue_offset, key, body_hash, properties_hash, stored_ms });
        }
        let next = page["nextOffset"].as_u64().ok_or("a page without its end")?;
        if next <= offset {
            return Err(format!("queue {queue} of {topic} stands still at {offset} of {max_offset}"));
        }
        offset = next;
    }
    Ok(Some(QueueRead { topic: topic.into(), queue: *queue, min_offset: *min_offset, messages }))
}

pub async fn get(http: &Client, url: &str) -> Result<Value, String> {
    good(url, &ask(http.get(url)).await.ok_or_else(|| format!("no answer from {url}"))?)
}

fn good(url: &str, answer: &Answer) -> Result<Value, String> {
    match answer.status {
        200 => Ok(answer.json()),
        status => Err(format!("{status} from {url}: {}", String::from_utf8_lossy(&answer.body))),
    }
}
