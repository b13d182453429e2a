//! The configuration tree: defaults < file < environment < flag, read once, checked whole, handed down as plain values.

mod connections;
mod retention;
mod tls;
mod transactions;
mod users;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use gantry_broker_core::BrokerConfig;
use gantry_broker_core::clock::{Clock as _, SystemClock};
use gantry_broker_core::config::{Durability, Retention, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MIN, TransactionRules};
use gantry_broker_core::delivery::delay_levels::DelayLevels;
use gantry_broker_core::delivery::idempotency::{WINDOW_DEFAULT, WINDOW_MAX};
use gantry_broker_core::names::BrokerName;
use serde::{Deserialize, Serialize};

use crate::access::Users;
use crate::duration;
use crate::front::grpc::endpoints;
use crate::transport::limits::Limits;
use crate::transport::proxy_protocol::Network;
use crate::transport::tls::{Tls, TlsError, TlsFiles, own_names};

use self::connections::ConnectionKeys;
use self::retention::RetentionKeys;
use self::tls::TlsKeys;
use self::transactions::TransactionKeys;
use self::users::UserKeys;

/// RocketMQ-style messaging in one binary: broker, HTTP and gRPC gateway, console.
#[derive(Debug, Parser)]
#[command(name = "gantry", version, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all in one: broker, gateway and console in one process (the default)
    Serve(Flags),
    /// Print the effective configuration and end
    Config(Flags),
    /// Measure a server: how many messages, how soon, none missing, none twice
    Bench(crate::bench::plan::Flags),
    /// A data directory without its broker: is all of it well, what is in it, give up a damaged end
    #[command(subcommand)]
    Store(crate::store_command::StoreCommand),
    /// Certificates
    #[command(subcommand)]
    Tls(crate::tls_command::TlsCommand),
}

/// What the program was asked to do.
#[derive(Debug)]
pub enum Task {
    Serve(Flags),
    PrintConfig(Flags),
    Bench(crate::bench::plan::Flags),
    Store(crate::store_command::StoreCommand),
    Tls(crate::tls_command::TlsCommand),
}

impl CommandLine {
    pub fn task(self) -> Task {
        match self.command {
            None => Task::Serve(self.flags),
            Some(Command::Serve(flags)) => Task::Serve(flags),
            Some(Command::Config(flags)) => Task::PrintConfig(flags),
            Some(Command::Bench(flags)) => Task::Bench(flags),
            Some(Command::Store(command)) => Task::Store(command),
            Some(Command::Tls(command)) => Task::Tls(command),
        }
    }
}

/// Every flag has a variable and a key in the file.
#[derive(Debug, Default, Args)]
pub struct Flags {
    /// Configuration file [default: ./gantry.toml, then gantry.toml in the data directory]
    #[arg(long, env = "GANTRY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept [default: ./gantry-data]
    #[arg(long, env = "GANTRY_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Address for REST, console and documents; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, env = "GANTRY_HTTP_LISTEN", value_name = "HOST:PORT")]
    http_listen: Option<SocketAddr>,
    /// Address for RocketMQ's gRPC clients; port 0 picks a free one [default: 127.0.0.1:8081]
    #[arg(long, env = "GANTRY_GRPC_LISTEN", value_name = "HOST:PORT")]
    grpc_listen: Option<SocketAddr>,
    /// Address that gRPC clients are told to connect to [default: the one they used]
    #[arg(long, env = "GANTRY_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Name of this broker [default: broker-a]
    #[arg(long, env = "GANTRY_BROKER_NAME", value_name = "NAME")]
    broker_name: Option<String>,
    /// Name of the cluster [default: DefaultCluster]
    #[arg(long, env = "GANTRY_CLUSTER_NAME", value_name = "NAME")]
    cluster_name: Option<String>,
    /// How safe a message is before its producer hears of it: memory or disk [default: disk]
    #[arg(long, env = "GANTRY_DURABILITY", value_name = "LEVEL")]
    durability: Option<String>,
    /// Length of a commit-log segment of a new store, e.g. 64MiB [default: 1GiB]
    #[arg(long, env = "GANTRY_SEGMENT_SIZE", value_name = "SIZE")]
    segment_size: Option<String>,
    /// How long messages of each delay level wait (RocketMQ's messageDelayLevel) [default: "1s 5s 10s 30s 1m ... 2h"]
    #[arg(long, env = "GANTRY_MESSAGE_DELAY_LEVEL", value_name = "LEVELS")]
    message_delay_level: Option<String>,
    /// How long an idempotency key stands for the message sent with it, up to 24h [default: 10m]
    #[arg(long, env = "GANTRY_IDEMPOTENCY_WINDOW", value_name = "DURATION")]
    idempotency_window: Option<String>,
    /// Serve whoever connects, also from other machines
    #[arg(long, env = "GANTRY_ALLOW_ANONYMOUS", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    allow_anonymous: Option<bool>,
    /// Load balancers whose connections begin with a PROXY header: addresses and networks, separated by commas
    #[arg(long, env = "GANTRY_PROXY_PROTOCOL_FROM", value_name = "NETWORKS")]
    proxy_protocol_from: Option<String>,
    #[command(flatten)]
    connections: ConnectionKeys,
    #[command(flatten)]
    tls: TlsKeys,
    #[command(flatten)]
    retention: RetentionKeys,
    #[command(flatten)]
    transactions: TransactionKeys,
}

/// What a configuration file may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: Option<PathBuf>,
    http_listen: Option<SocketAddr>,
    grpc_listen: Option<SocketAddr>,
    advertise: Option<String>,
    broker_name: Option<String>,
    cluster_name: Option<String>,
    durability: Option<String>,
    segment_size: Option<String>,
    message_delay_level: Option<String>,
    idempotency_window: Option<String>,
    allow_anonymous: Option<bool>,
    proxy_protocol_from: Option<String>,
    #[serde(default)]
    users: Vec<UserKeys>,
    #[serde(default)]
    connections: ConnectionKeys,
    #[serde(default)]
    tls: TlsKeys,
    #[serde(default)]
    retention: RetentionKeys,
    #[serde(default)]
    transactions: TransactionKeys,
}

/// The effective configuration; prints itself as a file that would give it.
#[derive(Debug, Clone, Serialize)]
pub struct Config {
    pub data_dir: PathBuf,
    pub http_listen: SocketAddr,
    pub grpc_listen: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    pub broker_name: String,
    pub cluster_name: String,
    pub durability: Durability,
    #[serde(serialize_with = "as_size")]
    pub segment_size: u64,
    #[serde(serialize_with = "as_text")]
    pub message_delay_level: DelayLevels,
    #[serde(serialize_with = "as_duration")]
    pub idempotency_window: Duration,
    pub allow_anonymous: bool,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_list")]
    pub proxy_protocol_from: Vec<Network>,
    #[serde(rename = "connections", serialize_with = "as_connection_keys")]
    pub limits: Limits,
    #[serde(rename = "tls", skip_serializing_if = "Option::is_none", serialize_with = "as_tls_keys")]
    pub tls_files: Option<TlsFiles>,
    #[serde(serialize_with = "as_keys")]
    pub retention: Retention,
    #[serde(serialize_with = "as_transaction_keys")]
    pub transactions: TransactionRules,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<UserKeys>,
}

/// A configuration that cannot be served, in words that say how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl Flags {
    pub fn config(self) -> Result<Config, ConfigError> {
        let file = self.file()?;
        let durability = self.durability.or(file.durability);
        let segment_size = self.segment_size.or(file.segment_size);
        let delay_levels = self.message_delay_level.or(file.message_delay_level);
        let idempotency_window = self.idempotency_window.or(file.idempotency_window);
        let proxies = self.proxy_protocol_from.or(file.proxy_protocol_from);
        let config = Config {
            data_dir: self.data_dir.or(file.data_dir).unwrap_or_else(|| "gantry-data".into()),
            http_listen: self.http_listen.or(file.http_listen).unwrap_or(([127, 0, 0, 1], 8080).into()),
            grpc_listen: self.grpc_listen.or(file.grpc_listen).unwrap_or(([127, 0, 0, 1], 8081).into()),
            advertise: self.advertise.or(file.advertise),
            broker_name: self.broker_name.or(file.broker_name).unwrap_or_else(|| "broker-a".into()),
            cluster_name: self.cluster_name.or(file.cluster_name).unwrap_or_else(|| "DefaultCluster".into()),
            durability: durability.as_deref().map_or(Ok(Durability::Disk), parse_durability)?,
            segment_size: segment_size.as_deref().map_or(Ok(SEGMENT_BYTES_DEFAULT), parse_segment_size)?,
            message_delay_level: delay_levels.as_deref().map_or(Ok(DelayLevels::default()), parse_delay_levels)?,
            idempotency_window: idempotency_window.as_deref().map_or(Ok(WINDOW_DEFAULT), parse_idempotency_window)?,
            allow_anonymous: self.allow_anonymous.or(file.allow_anonymous).unwrap_or(false),
            proxy_protocol_from: proxies.as_deref().map_or(Ok(Vec::new()), parse_networks)?,
            limits: self.connections.or(file.connections).effective()?,
            tls_files: self.tls.or(file.tls).effective()?,
            retention: self.retention.or(file.retention).effective()?,
            transactions: self.transactions.or(file.transactions).effective()?,
            users: file.users,
        };
        config.check()?;
        Ok(config)
    }

    fn file(&self) -> Result<File, ConfigError> {
        let data_dir = self.data_dir.as_deref().unwrap_or(Path::new("gantry-data"));
        let found = match &self.config {
            Some(path) => Some(path.clone()),
            None => ["gantry.toml".into(), data_dir.join("gantry.toml")].into_iter().find(|path| path.exists()),
        };
        let Some(path) = found else { return Ok(File::default()) };
        let wrong = |reason: String| ConfigError(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if !file.users.is_empty() && is_open_to_others(&path) {
            tracing::warn!(path = %path.display(), "everybody on this machine can read the secrets in this file: chmod 600");
        }
        file.check().map_err(|ConfigError(reason)| wrong(reason))?;
        Ok(file)
    }
}

fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o044 != 0)
}

impl File {
    /// What is wrong whatever else is said elsewhere; found here, it can be told where it stands.
    fn check(&self) -> Result<(), ConfigError> {
        self.durability.as_deref().map(parse_durability).transpose()?;
        self.segment_size.as_deref().map(parse_segment_size).transpose()?;
        self.message_delay_level.as_deref().map(parse_delay_levels).transpose()?;
        self.idempotency_window.as_deref().map(parse_idempotency_window).transpose()?;
        self.broker_name.as_deref().map(check_broker_name).transpose()?;
        self.cluster_name.as_deref().map(check_cluster_name).transpose()?;
        self.advertise.as_deref().map(check_advertise).transpose()?;
        self.proxy_protocol_from.as_deref().map(parse_networks).transpose()?;
        users::check(&self.users)?;
        self.connections.effective()?;
        self.retention.effective()?;
        self.transactions.effective().map(drop)
    }
}

impl Config {
    fn check(&self) -> Result<(), ConfigError> {
        check_broker_name(&self.broker_name)?;
        check_cluster_name(&self.cluster_name)?;
        self.advertise.as_deref().map(check_advertise).transpose()?;
        for (key, address) in [("http_listen", self.http_listen), ("grpc_listen", self.grpc_listen)] {
            if !address.ip().is_loopback() && !self.allow_anonymous && self.users.is_empty() {
                return Err(ConfigError(format!(
                    "{key} = {address} would serve other machines without asking who they are: listen on 127.0.0.1, \
                     name [[users]] in the configuration file, or say --allow-anonymous if everybody who can connect \
                     may do everything"
                )));
            }
        }
        if self.allow_anonymous && !self.users.is_empty() {
            let reason =
                "allow_anonymous and [[users]] contradict each other: either everybody may call, or these users";
            return Err(ConfigError(reason.into()));
        }
        Ok(())
    }

    pub fn users(&self) -> Users {
        users::users(&self.users)
    }

    /// Reads the certificate, if one is named.
    pub fn tls(&self) -> Result<Tls, TlsError> {
        let advertised = self.advertise.as_deref().and_then(|text| endpoints(text).ok()).unwrap_or_default();
        let names = own_names(advertised.addresses.into_iter().map(|address| address.host));
        Tls::new(self.tls_files.clone(), names, SystemClock.wall())
    }

    pub fn broker(&self) -> BrokerConfig {
        BrokerConfig {
            broker_name: BrokerName::new(&self.broker_name).expect("checked before"),
            cluster_name: self.cluster_name.clone(),
            durability: self.durability,
            segment_bytes: self.segment_size,
            retention: self.retention.clone(),
            delay_levels: self.message_delay_level.clone(),
            idempotency_window: self.idempotency_window,
            transactions: self.transactions.clone(),
            ..BrokerConfig::new(&self.data_dir)
        }
    }
}

fn parse_durability(text: &str) -> Result<Durability, ConfigError> {
    match text {
        "disk" => Ok(Durability::Disk),
        "memory" => Ok(Durability::Memory),
        other => Err(ConfigError(format!("durability must be memory or disk, not '{other}'"))),
    }
}

fn parse_segment_size(text: &str) -> Result<u64, ConfigError> {
    let bytes = parse_size(text).ok_or_else(|| {
        ConfigError(format!("segment_size '{text}' is no size: write a number with B, KiB, MiB or GiB"))
    })?;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_DEFAULT).contains(&bytes) || bytes % 4096 != 0 {
        return Err(ConfigError("segment_size must be 8MiB to 1GiB and a multiple of 4KiB".into()));
    }
    Ok(bytes)
}

fn parse_delay_levels(text: &str) -> Result<DelayLevels, ConfigError> {
    text.parse().map_err(|error| ConfigError(format!("message_delay_level {error}")))
}

fn parse_idempotency_window(text: &str) -> Result<Duration, ConfigError> {
    let wrong = |reason: &str| ConfigError(format!("idempotency_window '{text}' {reason}"));
    match duration::parse(text).map_err(wrong)? {
        window if window.is_zero() || window > WINDOW_MAX => Err(wrong("is not more than 0 and 24h at most")),
        window => Ok(window),
    }
}

fn parse_networks(text: &str) -> Result<Vec<Network>, ConfigError> {
    let wrong = |network: &str, reason| ConfigError(format!("proxy_protocol_from: '{network}' {reason}"));
    text.split(',').map(str::trim).map(|text| text.parse().map_err(|reason| wrong(text, reason))).collect()
}

fn check_broker_name(name: &str) -> Result<(), ConfigError> {
    BrokerName::new(name).map(drop).map_err(|error| ConfigError(format!("broker_name {error}")))
}

fn check_cluster_name(name: &str) -> Result<(), ConfigError> {
    let name_ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if name.is_empty() || name.len() > 127 || !name.bytes().all(name_ok) {
        return Err(ConfigError("cluster_name may only hold letters, digits, _ and -".into()));
    }
    Ok(())
}

fn check_advertise(text: &str) -> Result<(), ConfigError> {
    endpoints(text).map(drop).map_err(|error| ConfigError(format!("advertise: {error}")))
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn parse_size(text: &str) -> Option<u64> {
    let (digits, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor))).unwrap_or((text, 1));
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

fn as_keys<S: serde::Serializer>(retention: &Retention, serializer: S) -> Result<S::Ok, S::Error> {
    RetentionKeys::of(retention).serialize(serializer)
}

fn as_transaction_keys<S: serde::Serializer>(rules: &TransactionRules, serializer: S) -> Result<S::Ok, S::Error> {
    TransactionKeys::of(rules).serialize(serializer)
}

fn as_connection_keys<S: serde::Serializer>(limits: &Limits, serializer: S) -> Result<S::Ok, S::Error> {
    ConnectionKeys::of(limits).serialize(serializer)
}

fn as_tls_keys<S: serde::Serializer>(files: &Option<TlsFiles>, serializer: S) -> Result<S::Ok, S::Error> {
    files.as_ref().map(TlsKeys::of).serialize(serializer)
}

fn as_list<S: serde::Serializer>(values: &[Network], serializer: S) -> Result<S::Ok, S::Error> {
    let values: Vec<String> = values.iter().map(Network::to_string).collect();
    serializer.collect_str(&values.join(","))
}

fn as_text<S: serde::Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_duration<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&duration::format(*value))
}

fn as_size<S: serde::Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&as_size_text(*bytes))
}

fn as_size_text(bytes: u64) -> String {
    let (unit, factor) =
        UNITS.iter().find(|(_, factor)| bytes.is_multiple_of(*factor)).expect("every number is whole bytes");
    format!("{}{unit}", bytes / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Flags {
        Flags { data_dir: Some("/nonexistent".into()), ..Flags::default() }
    }

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes) in [("8MiB", 8 << 20), ("1GiB", 1 << 30), ("4096", 4096), ("64 KiB", 64 << 10)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "MiB", "1TB", "-1", "99999999999GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn wide_binds_need_a_word() {
        let wide = || Flags { http_listen: Some(([0, 0, 0, 0], 1).into()), ..flags() };
        assert!(wide().config().unwrap_err().to_string().contains("--allow-anonymous"));
        assert!(Flags { allow_anonymous: Some(true), ..wide() }.config().is_ok());
    }

    #[test]
    fn users_open_the_way_to_other_machines_and_their_secrets_are_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.toml");
        std::fs::write(&path, "[[users]]\naccess_key = \"app\"\nsecret = \"quite secret\"").unwrap();
        let given = |flags: Flags| Flags { config: Some(path.clone()), ..flags }.config();
        let config = given(Flags { grpc_listen: Some(([0, 0, 0, 0], 1).into()), ..flags() }).unwrap();
        let printed = toml::to_string(&config).unwrap();
        assert!(printed.contains("access_key = \"app\"") && !printed.contains("quite secret"), "{printed}");
        assert!(!format!("{config:?}").contains("quite secret"));
        let both = given(Flags { allow_anonymous: Some(true), ..flags() }).unwrap_err();
        assert!(both.to_string().contains("allow_anonymous"), "{both}");
    }

    #[test]
    fn wrong_values_are_refused_with_their_key() {
        let refused = |flags: Flags| flags.config().unwrap_err().to_string();
        assert!(refused(Flags { durability: Some("ram".into()), ..flags() }).contains("durability"));
        assert!(refused(Flags { segment_size: Some("1MiB".into()), ..flags() }).contains("segment_size"));
        assert!(refused(Flags { broker_name: Some("a/b".into()), ..flags() }).contains("broker_name"));
        let half = toml::from_str("certificate = \"a.pem\"").unwrap();
        assert!(refused(Flags { tls: half, ..flags() }).contains("tls.key"));
        assert!(refused(Flags { advertise: Some("nowhere".into()), ..flags() }).contains("advertise"));
        assert!(toml::from_str::<File>("http_port = 1").is_err());
    }

    #[test]
    fn what_is_wrong_in_a_file_is_refused_with_its_key_and_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.toml");
        let given = |text: &str, flags: Flags| {
            std::fs::write(&path, text).unwrap();
            Flags { config: Some(path.clone()), ..flags }.config()
        };
        for (key, text) in [
            ("durability", "durability = \"ram\""),
            ("segment_size", "segment_size = \"1MiB\""),
            ("segment_size", "segment_size = \"long\""),
            ("message_delay_level", "message_delay_level = \"1s 1w\""),
            ("idempotency_window", "idempotency_window = \"soon\""),
            ("idempotency_window", "idempotency_window = \"0s\""),
            ("idempotency_window", "idempotency_window = \"25h\""),
            ("broker_name", "broker_name = \"a/b\""),
            ("cluster_name", "cluster_name = \"\""),
            ("advertise", "advertise = \"nowhere\""),
            ("proxy_protocol_from", "proxy_protocol_from = \"10.0.0.0/8, lb\""),
            ("keys", "[tls]\nkeys = \"key.pem\""),
            ("users", "[[users]]\naccess_key = \"a/b\"\nsecret = \"long enough\""),
            ("users", "[[users]]\naccess_key = \"app\"\nsecret = \"short\""),
            ("users", "[[users]]\naccess_key = \"app\"\nsecret = \"***\""),
            ("secret", "[[users]]\naccess_key = \"app\""),
            ("connections.idle_timeout", "connections.idle_timeout = \"1w\""),
            ("retention.delete_when", "retention.delete_when = \"24\""),
            ("transactions.transaction_check_max", "transactions.transaction_check_max = 0"),
            ("http_listen", "http_listen = 8080"),
        ] {
            let refused = given(text, flags()).unwrap_err().to_string();
            assert!(refused.contains(key) && refused.contains("some.toml"), "{refused}");
        }
        // A flag's value comes before the file's, and is not the file's fault.
        let flag = Flags { durability: Some("ram".into()), ..flags() };
        assert!(!given("durability = \"disk\"", flag).unwrap_err().to_string().contains("some.toml"));
        assert_eq!(given("durability = \"memory\"", flags()).unwrap().durability, Durability::Memory);
    }

    #[test]
    fn the_printed_tree_reads_back() {
        let tls: TlsKeys = toml::from_str("certificate = \"a.pem\"\nkey = \"b.pem\"").unwrap();
        let proxies = Some("10.0.0.0/8, ::1".into());
        let advertise = Some("mq.example:443".into());
        let config = Flags { advertise, proxy_protocol_from: proxies, tls, ..flags() }.config().unwrap();
        let text = toml::to_string(&config).unwrap();
        let file: File = toml::from_str(&text).unwrap();
        assert_eq!(file.advertise.as_deref(), Some("mq.example:443"));
        assert_eq!(file.proxy_protocol_from.as_deref(), Some("10.0.0.0/8,::1/128"));
        assert_eq!(file.tls.effective().unwrap(), config.tls_files);
        assert_eq!(file.segment_size.as_deref(), Some("1GiB"));
        assert_eq!(file.idempotency_window.as_deref(), Some("10m"));
        assert_eq!(file.message_delay_level.unwrap().parse(), Ok(config.message_delay_level));
        assert_eq!(file.connections.effective().unwrap(), config.limits);
        assert_eq!(file.retention.effective().unwrap(), config.retention);
        assert_eq!(file.transactions.effective().unwrap(), config.transactions);
    }
}
