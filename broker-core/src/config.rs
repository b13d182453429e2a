//! What a broker can be told. Read once by the program, handed down as plain values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::delay_levels::DelayLevels;
use crate::delivery::idempotency::WINDOW_DEFAULT;
use crate::names::BrokerName;
use crate::store::index_file::IndexLayout;
pub use crate::store::retention::Retention;

/// How safe a message is before its producer hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// In the memory of the commit log's mapping: survives the death of the process (RocketMQ's ASYNC_FLUSH).
    Memory,
    /// Synced to the disk: survives a power cut (RocketMQ's SYNC_FLUSH).
    Disk,
}

/// Length of a commit-log segment when nothing else is asked for: RocketMQ's own.
pub const SEGMENT_BYTES_DEFAULT: u64 = 1 << 30;
/// Shortest segment: the largest record must fit, with room for the blank that closes a segment.
pub const SEGMENT_BYTES_MIN: u64 = 8 << 20;

/// How long the store's own work may wait. Simulations, whose brokers live for milliseconds, are in more of a hurry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The longest time that appended bytes stay unsynced when nobody waits for them.
    pub sync_delay: Duration,
    /// The checkpoint is written this long after the first sync that it does not know, at the earliest.
    pub checkpoint_delay: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { sync_delay: Duration::from_millis(500), checkpoint_delay: Duration::from_secs(1) }
    }
}

/// When producers are asked what became of their transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRules {
    /// How old a half message is when its producers are asked first (RocketMQ's `transactionTimeOut`).
    pub timeout: Duration,
    /// Between two checks of one half message (RocketMQ's `transactionCheckInterval`).
    pub check_interval: Duration,
    /// After so many checks it goes to the holding topic (RocketMQ's `transactionCheckMax`).
    pub check_max: u32,
}

impl Default for TransactionRules {
    fn default() -> TransactionRules {
        let (timeout, check_interval) = (Duration::from_secs(6), Duration::from_secs(30));
        TransactionRules { timeout, check_interval, check_max: 15 }
    }
}

#[derive(Debug, Clone)]
pub struct BrokerConfig {
    /// Everything the broker keeps lives under here.
    pub data_dir: PathBuf,
    pub broker_name: BrokerName,
    pub cluster_name: String,
    pub durability: Durability,
    /// Used for a new store; an existing store's own length wins.
    pub segment_bytes: u64,
    pub index_layout: IndexLayout,
    pub pace: Pace,
    /// Written into every record as RocketMQ's store host.
    pub store_host: SocketAddr,
    /// How long messages are kept, and when the disk is too full for more.
    pub retention: Retention,
    /// How long messages of a delay level wait (RocketMQ's `messageDelayLevel`).
    pub delay_levels: DelayLevels,
    /// How long an idempotency key stands for the message that was sent with it, `WINDOW_MAX` at most.
    pub idempotency_window: Duration,
    pub transactions: TransactionRules,
    /// Make a topic on its first send (RocketMQ's `autoCreateTopicEnable`).
    pub auto_create_topics: bool,
    /// Make a consumer group on its first receive (RocketMQ's `autoCreateSubscriptionGroup`).
    pub auto_create_consumer_groups: bool,
}

impl BrokerConfig {
    pub fn new(data_dir: impl Into<PathBuf>) -> BrokerConfig {
        BrokerConfig {
            data_dir: data_dir.into(),
            broker_name: BrokerName::new("broker-a").expect("a legal name"),
            cluster_name: "DefaultCluster".into(),
            durability: Durability::Disk,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            index_layout: IndexLayout::default(),
            pace: Pace::default(),
            store_host: SocketAddr::from(([127, 0, 0, 1], 10911)),
            retention: Retention::default(),
            delay_levels: DelayLevels::default(),
            idempotency_window: WINDOW_DEFAULT,
            transactions: TransactionRules::default(),
            auto_create_topics: false,
            auto_create_consumer_groups: true,
        }
    }
}
