//! Consumer groups: create, change, describe, delete.

use crate::broker::{ConsumerGroupConfig, ConsumerGroupDescription, PutConsumerGroup, PutWhen, RetryPolicy};
use crate::error::BrokerError;
use crate::local_broker::Parts;
use crate::names::ConsumerGroup;
use crate::offset::CommitLogOffset;
use crate::state::record::Entry;

pub(crate) async fn put_consumer_group(
    parts: &Parts,
    put: PutConsumerGroup,
) -> Result<(ConsumerGroupDescription, bool), BrokerError> {
    check(&put.config)?;
    let dry_run = put.dry_run;
    let (group, created, end) = put_unchecked(parts, put)?;
    if dry_run {
        return Ok((group, created));
    }
    if !created {
        // With fewer deliveries than before, messages may have had theirs.
        let pairs = parts.cells.pairs().into_iter().filter(|(group_id, _)| *group_id == group.consumer_group_id);
        pairs.for_each(|pair| parts.redelivery.arm(pair, parts.store.now()));
    }
    parts.reached_soon(end).await?;
    Ok((group, created))
}

/// Without the wait: a group that a receive makes is as safe as that receive's lease.
pub(crate) fn put_unchecked(
    parts: &Parts,
    put: PutConsumerGroup,
) -> Result<(ConsumerGroupDescription, bool, CommitLogOffset), BrokerError> {
    let PutConsumerGroup { config, when, dry_run } = put;
    let name = config.consumer_group.clone();
    let mut tables = parts.tables.write().expect("no code panics while holding it");
    let known = tables.consumer_group(&name).cloned();
    match (&known, when) {
        (None, PutWhen::Missing | PutWhen::Unconditional) => {}
        (None, PutWhen::Exists | PutWhen::Version(..)) => {
            return Err(BrokerError::ConsumerGroupNotFound { consumer_group: name.to_string() });
        }
        (Some(_), PutWhen::Exists) => {}
        (Some(known), PutWhen::Version(incarnation, version))
            if (known.incarnation, known.version) == (incarnation, version) => {}
        (Some(known), PutWhen::Version(..)) => {
            let (incarnation, version) = (known.incarnation, known.version);
            return Err(BrokerError::VersionMismatch { name: name.to_string(), incarnation, version });
        }
        (Some(_), PutWhen::Missing) => {
            return Err(BrokerError::ConsumerGroupExists { consumer_group: name.to_string() });
        }
        (Some(_), PutWhen::Unconditional) => return Err(BrokerError::VersionRequired { name: name.to_string() }),
    }
    let (consumer_group_id, version) = match &known {
        Some(known) => (known.consumer_group_id, known.version + 1),
        None => (tables.next_consumer_group_id(), 1),
    };
    if dry_run {
        let incarnation = known.as_ref().map(|known| known.incarnation).unwrap_or_default();
        let group = ConsumerGroupDescription { config, consumer_group_id, incarnation, version };
        return Ok((group, known.is_none(), CommitLogOffset(0)));
    }
    let entry = Entry::PutConsumerGroup { consumer_group_id, version, config };
    let (at, end) = parts.append_state(std::slice::from_ref(&entry))?;
    tables.apply(&entry, at);
    let group = ConsumerGroupDescription::clone(tables.consumer_group(&name).expect("just applied"));
    Ok((group, known.is_none(), end))
}

/// Those of the system are the broker's to consume with.
pub(crate) fn refuse_system(name: &ConsumerGroup) -> Result<(), BrokerError> {
    if name.is_system() {
        return Err(BrokerError::SystemConsumerGroup { consumer_group: name.to_string() });
    }
    Ok(())
}

fn check(config: &ConsumerGroupConfig) -> Result<(), BrokerError> {
    refuse_system(&config.consumer_group)?;
    let invalid = |name, reason: &str| Err(BrokerError::InvalidParameter { name, reason: reason.to_string() });
    match &config.retry_policy {
        RetryPolicy::Customized(pauses) if pauses.is_empty() || pauses.len() > 64 => {
            invalid("retryPolicy", "must have 1 to 64 pauses")
        }
        RetryPolicy::Exponential { multiplier, .. } if !(multiplier.is_finite() && *multiplier >= 1.0) => {
            invalid("retryPolicy", "must have a multiplier of at least 1")
        }
        RetryPolicy::Exponential { initial, .. } if initial.is_zero() => {
            invalid("retryPolicy", "must begin with a pause longer than nothing")
        }
        RetryPolicy::Exponential { initial, max, .. } if max < initial => {
            invalid("retryPolicy", "must have a longest pause that is not shorter than the first")
        }
        _ if config.consume_timeout.is_zero() => invalid("consumeTimeout", "must be longer than nothing"),
        _ => Ok(()),
    }
}

pub(crate) fn describe_consumer_group(
    parts: &Parts,
    name: &ConsumerGroup,
) -> Result<ConsumerGroupDescription, BrokerError> {
    let tables = parts.tables();
    let not_found = || BrokerError::ConsumerGroupNotFound { consumer_group: name.to_string() };
    Ok(ConsumerGroupDescription::clone(tables.consumer_group(name).ok_or_else(not_found)?))
}

pub(crate) async fn delete_consumer_group(parts: &Parts, name: &ConsumerGroup) -> Result<(), BrokerError> {
    refuse_system(name)?;
    let end = {
        let mut tables = parts.tables.write().expect("no code panics while holding it");
        let not_found = || BrokerError::ConsumerGroupNotFound { consumer_group: name.to_string() };
        let consumer_group_id = tables.consumer_group(name).ok_or_else(not_found)?.consumer_group_id;
        let entry = Entry::DeleteConsumerGroup { consumer_group_id };
        let (at, end) = parts.append_state(std::slice::from_ref(&entry))?;
        tables.apply(&entry, at);
        parts.cells.apply(&entry);
        parts.long_polling.consumer_group_is_gone(name);
        end
    };
    parts.reached_soon(end).await
}
