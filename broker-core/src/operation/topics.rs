//! Topics: create, change, describe, delete; and what their queues hold.

use crate::broker::{PutTopic, PutWhen, QUEUES_MAX, QueueOffsets, Topic, TopicConfig};
use crate::error::BrokerError;
use crate::local_broker::{Parts, queues_of};
use crate::message::MessageType;
use crate::names::TopicName;
use crate::offset::QueueOffset;
use crate::operation::delay::{schedule_topic, timer_topic};
use crate::operation::half_messages::{half_topic, holding_topic, op_topic};
use crate::state::record::Entry;
use crate::topic_attributes::{AttributeRefused, TopicAttributes};

pub(crate) async fn put_topic(parts: &Parts, put: PutTopic) -> Result<(Topic, bool), BrokerError> {
    let PutTopic { config, when, force, dry_run } = put;
    check(&config)?;
    let name = config.topic.clone();
    let (topic, created, end) = {
        let mut tables = parts.tables.write().expect("no code panics while holding it");
        let known = tables.topic(&name).cloned();
        match (&known, when) {
            (None, PutWhen::Missing | PutWhen::Unconditional) => {}
            (None, PutWhen::Exists | PutWhen::Version(..)) => {
                return Err(BrokerError::TopicNotFound { topic: name.to_string() });
            }
            (Some(_), PutWhen::Exists) => {}
            (Some(known), PutWhen::Version(incarnation, version))
                if (known.incarnation, known.version) == (incarnation, version) => {}
            (Some(known), PutWhen::Version(..)) => {
                let (incarnation, version) = (known.incarnation, known.version);
                return Err(BrokerError::VersionMismatch { name: name.to_string(), incarnation, version });
            }
            (Some(_), PutWhen::Missing) => return Err(BrokerError::TopicExists { topic: name.to_string() }),
            (Some(_), PutWhen::Unconditional) => {
                return Err(BrokerError::VersionRequired { name: name.to_string() });
            }
        }
        if known.as_ref().is_some_and(|known| config.read_queues < known.config.read_queues) {
            let reason = "cannot shrink: messages of the queues left out could not be received any more".to_string();
            return Err(BrokerError::InvalidParameter { name: "readQueues", reason });
        }
        let moved_from = known.as_ref().filter(|known| moves_message_groups(known, &config));
        if moved_from.is_some() && !force {
            let reason = "cannot change where message groups are: they would move to other queues, out of order; \
                          with force they do";
            return Err(BrokerError::InvalidParameter { name: "writeQueues", reason: reason.to_string() });
        }
        let (topic_id, version) = match &known {
            Some(known) => (known.topic_id, known.version + 1),
            None => (tables.next_topic_id(), 1),
        };
        let attributes = match &known {
            Some(known) => config.attributes.put_over(&known.config.attributes),
            None => config.attributes.put_over(&TopicAttributes::default()),
        };
        let attributes = attributes
            .map_err(|AttributeRefused { field, reason }| BrokerError::InvalidParameter { name: field, reason })?;
        let config = TopicConfig { attributes, ..config };
        if dry_run {
            let incarnation = known.as_ref().map(|known| known.incarnation).unwrap_or_default();
            return Ok((Topic { config, topic_id, incarnation, version }, known.is_none()));
        }
        let entry = Entry::PutTopic { topic_id, version, config };
        let (at, end) = parts.append_state(std::slice::from_ref(&entry))?;
        tables.apply(&entry, at);
        let topic = Topic::clone(tables.topic(&name).expect("just applied"));
        if let Some(before) = moved_from {
            tracing::info!(
                target: "audit", topic = %name, from = before.config.write_queues, to = topic.config.write_queues,
                "message groups of a topic were moved to other queues by force"
            );
        }
        parts.store.create_queues(&name, topic.incarnation, queues_of(&topic.config));
        (topic, known.is_none(), end)
    };
    parts.reached_soon(end).await?;
    Ok((topic, created))
}

/// The queue of a message group follows from how many queues there are to write to.
fn moves_message_groups(known: &Topic, config: &TopicConfig) -> bool {
    let has_groups = |config: &TopicConfig| matches!(config.message_type, MessageType::Fifo | MessageType::Mixed);
    has_groups(&known.config) && has_groups(config) && known.config.write_queues != config.write_queues
}

fn check(config: &TopicConfig) -> Result<(), BrokerError> {
    if config.topic.is_system() || config.topic.is_derived() {
        return Err(BrokerError::SystemTopic { topic: config.topic.to_string() });
    }
    use MessageType::{Delay, Fifo, Mixed, Normal, Transaction};
    const BUILT: [MessageType; 5] = [Normal, Fifo, Delay, Transaction, Mixed];
    if !BUILT.contains(&config.message_type) {
        return Err(BrokerError::NotImplemented { what: "a topic of this message type" });
    }
    for (name, queues) in [("readQueues", config.read_queues), ("writeQueues", config.write_queues)] {
        if !(1..=QUEUES_MAX).contains(&queues) {
            return Err(BrokerError::InvalidParameter { name, reason: format!("must be 1 to {QUEUES_MAX}") });
        }
    }
    if config.write_queues > config.read_queues {
        let reason = "must not be more than readQueues: nobody would receive from the others".to_string();
        return Err(BrokerError::InvalidParameter { name: "writeQueues", reason });
    }
    Ok(())
}

/// Makes a topic of the broker's own that a message is about to go to, or gives it the queues that it lacks: a dead letter
/// queue, the topics in which delayed messages wait. Nobody waits for it to be safe: it is before what is stored in it.
pub(crate) fn ensure_topic(parts: &Parts, name: &TopicName, queues: u32) -> Result<(), BrokerError> {
    let has_enough = |config: &TopicConfig| config.read_queues >= queues && config.write_queues >= queues;
    if parts.tables().topic(name).is_some_and(|topic| has_enough(&topic.config)) {
        return Ok(());
    }
    let mut tables = parts.tables.write().expect("no code panics while holding it");
    let known = tables.topic(name).cloned();
    let (topic_id, version, config) = match &known {
        Some(known) if has_enough(&known.config) => return Ok(()),
        Some(known) => (known.topic_id, known.version + 1, known.config.clone()),
        None => (tables.next_topic_id(), 1, TopicConfig { read_queues: 0, ..TopicConfig::new(name.clone()) }),
    };
    let queues = config.read_queues.max(queues);
    let config = TopicConfig { read_queues: queues, write_queues: queues, ..config };
    let entry = Entry::PutTopic { topic_id, version, config };
    let (at, _) = parts.append_state(std::slice::from_ref(&entry))?;
    tables.apply(&entry, at);
    let topic = tables.topic(name).expect("just applied");
    parts.store.create_queues(name, topic.incarnation, queues_of(&topic.config));
    Ok(())
}

pub(crate) fn describe_topic(parts: &Parts, name: &TopicName) -> Result<Topic, BrokerError> {
    let tables = parts.tables();
    let topic = tables.topic(name).ok_or_else(|| BrokerError::TopicNotFound { topic: name.to_string() })?;
    Ok(Topic::clone(topic))
}

pub(crate) async fn delete_topic(parts: &Parts, name: &TopicName) -> Result<(), BrokerError> {
    // Messages of other topics wait in them.
    if [schedule_topic(), timer_topic(), half_topic(), op_topic(), holding_topic()].contains(name) {
        return Err(BrokerError::SystemTopic { topic: name.to_string() });
    }
    let end = {
        let mut tables = parts.tables.write().expect("no code panics while holding it");
        let (topic_id, traffic) = match tables.topic(name) {
            Some(topic) => (topic.topic_id, topic.traffic.clone()),
            None if name.is_system() => return Err(BrokerError::SystemTopic { topic: name.to_string() }),
            None => return Err(BrokerError::TopicNotFound { topic: name.to_string() }),
        };
        let entry = Entry::DeleteTopic { topic_id };
        let (at, end) = parts.append_state(std::slice::from_ref(&entry))?;
        tables.apply(&entry, at);
        parts.traffic_of_deleted.absorb(&traffic);
        parts.cells.apply(&entry);
        parts.long_polling.topic_is_gone(name);
        if let Err(error) = parts.store.delete_queues(name) {
            // The record says that they are gone; what is left of their files the next start sets aside.
            tracing::warn!(topic = %name, %error, "the queues of a deleted topic were not removed whole");
        }
        end
    };
    parts.reached_soon(end).await
}

pub(crate) fn query_queue_offsets(parts: &Parts, name: &TopicName) -> Result<Vec<QueueOffsets>, BrokerError> {
    let tables = parts.tables();
    tables.topic(name).ok_or_else(|| BrokerError::TopicNotFound { topic: name.to_string() })?;
    let mut entries = Vec::with_capacity(1);
    parts
        .store
        .queues(name)
        .iter()
        .map(|queue| {
            let (min_offset, max_offset) = (queue.min_offset(), queue.max_offset());
            entries.clear();
            if max_offset > min_offset {
                parts.store.read_queue(queue, QueueOffset(max_offset.0 - 1), 1, &mut entries)?;
            }
            let newest = entries.first().map(|entry| parts.store.read_record(entry)).transpose()?;
            Ok(QueueOffsets {
                queue_id: queue.queue_id(),
                min_offset,
                max_offset,
                last_update: newest.map(|message| message.store_timestamp),
            })
        })
        .collect()
}
