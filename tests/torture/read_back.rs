//! Reads everything that a server holds, as the checker wants to see it.

use harness::ask;
use harness::history::{MessageRead, QueueRead, ReadBack};
use reqwest::Client;
use serde_json::Value;

use crate::clients::seen;

/// More pages than any rig fills.
const PAGES_MAX: usize = 10_000;

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
        let queues = get(&http, &format!("{base}/v1/topics/{topic}/queues")).await?;
        for queue in queues["items"].as_array().ok_or("no list of queues")? {
            read.queues.push(read_queue(&http, base, topic, queue).await?);
        }
    }
    Ok(read)
}

async fn read_queue(http: &Client, base: &str, topic: &str, queue: &Value) -> Result<QueueRead, String> {
    let number = |name: &str| queue[name].as_u64().ok_or(format!("a queue of {topic} without {name}: {queue}"));
    let (id, min_offset, max_offset) = (number("queueId")?, number("minOffset")?, number("maxOffset")?);
    let broker = queue["brokerName"].as_str().ok_or("a queue without a broker")?;
    let mut messages = Vec::new();
    let mut offset = min_offset;
    while offset < max_offset {
        let path = format!("/v1/topics/{topic}/queues/{broker}/{id}/messages");
        let page = get(http, &format!("{base}{path}?bodyAs=base64&limit=500&offset={offset}")).await?;
        for message in page["items"].as_array().ok_or("no list of messages")? {
            let queue_offset = message["queueOffset"].as_u64().ok_or("a message without its offset")?;
            let (key, body_hash, properties_hash) = seen(message);
            messages.push(MessageRead { queue_offset, key, body_hash, properties_hash });
        }
        let next = page["nextOffset"].as_u64().ok_or("a page without its end")?;
        if next <= offset {
            return Err(format!("queue {id} of {topic} stands still at {offset} of {max_offset}"));
        }
        offset = next;
    }
    Ok(QueueRead { topic: topic.into(), queue: u32::try_from(id).map_err(|e| e.to_string())?, min_offset, messages })
}

async fn get(http: &Client, url: &str) -> Result<Value, String> {
    let answer = ask(http.get(url)).await.ok_or_else(|| format!("no answer from {url}"))?;
    match answer.status {
        200 => Ok(answer.json()),
        status => Err(format!("{status} from {url}: {}", String::from_utf8_lossy(&answer.body))),
    }
}
