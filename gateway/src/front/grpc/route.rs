//! QueryRoute and QueryAssignment: which queues there are, and where. Answers are stable from call to call, because
//! clients compare them and open channels anew when they differ.

use std::net::{IpAddr, SocketAddr};

use gantry_broker_core::BrokerError;
use gantry_broker_core::broker::{ConsumerGroupConfig, TopicConfig};
use gantry_broker_core::names::{ConsumerGroup, TopicName};
use gantry_proto::grpc::v2;
use v2::AddressScheme;

use super::{GrpcFront, words};
use crate::error::GatewayError;

/// Most addresses of one access point; they are echoed once per queue.
const ADDRESSES_MAX: usize = 32;
/// Longest name of a host.
const HOST_BYTES_MAX: usize = 255;
/// The classic protocol's permissions are bits.
const PERM_READ: u32 = 4;
const PERM_WRITE: u32 = 2;
/// "Any queue of this broker": a pop looks into all of them.
const ANY_QUEUE: i32 = -1;

impl GrpcFront {
    /// `local` is where this call's connection arrived.
    pub(super) async fn route(
        &self,
        request: v2::QueryRouteRequest,
        local: Option<SocketAddr>,
    ) -> Result<Vec<v2::MessageQueue>, GatewayError> {
        let topic = words::topic(request.topic.as_ref())?;
        let broker = self.broker(request.endpoints, local)?;
        let config = self.messaging.broker.describe_topic(topic).await?.config;
        let resource = request.topic.unwrap_or_default();
        Ok(message_queues(&config, &resource, &broker))
    }

    pub(super) async fn assignments(
        &self,
        request: v2::QueryAssignmentRequest,
        local: Option<SocketAddr>,
    ) -> Result<Vec<v2::Assignment>, GatewayError> {
        let topic = words::topic(request.topic.as_ref())?;
        let group = words::consumer_group(request.group.as_ref())?;
        let broker = self.broker(request.endpoints, local)?;
        let config = self.messaging.broker.describe_topic(topic).await?.config;
        if !config.permission.read || config.read_queues == 0 {
            return Err(BrokerError::TopicNotReadable { topic: config.topic.to_string() }.into());
        }
        let resource = request.topic.unwrap_or_default();
        let queues = message_queues(&config, &resource, &broker);
        let orderly = self.consumer_group(&group).await?.orderly;
        let readable =
            |queue: &v2::MessageQueue| matches!(queue.permission(), v2::Permission::Read | v2::Permission::ReadWrite);
        let assigned: Vec<_> = if orderly {
            queues.into_iter().filter(readable).collect()
        } else {
            let any = queues.into_iter().find(readable);
            any.map(|queue| v2::MessageQueue { id: ANY_QUEUE, ..queue }).into_iter().collect()
        };
        Ok(assigned.into_iter().map(|queue| v2::Assignment { message_queue: Some(queue) }).collect())
    }

    /// The route as the classic protocol writes it: JSON, here with the address that gRPC clients connect to.
    pub(super) async fn topic_route_data(
        &self,
        topic: TopicName,
        local: Option<SocketAddr>,
    ) -> Result<String, GatewayError> {
        let broker = self.broker(None, local)?;
        let config = self.messaging.broker.describe_topic(topic).await?.config;
        let cluster = self.messaging.broker.describe_broker().await?.cluster_name;
        let addresses = broker.endpoints.unwrap_or_default().addresses;
        let written = |address: &v2::Address| match address.host.contains(':') {
            true => format!("[{}]:{}", address.host, address.port),
            false => format!("{}:{}", address.host, address.port),
        };
        let addresses: Vec<_> = addresses.iter().map(written).collect();
        let permission =
            u32::from(config.permission.read) * PERM_READ + u32::from(config.permission.write) * PERM_WRITE;
        let route = serde_json::json!({
            "brokerDatas": [{
                "cluster": cluster,
                "brokerName": broker.name,
                // By broker id: 0 is the master.
                "brokerAddrs": { "0": addresses.join(";") },
            }],
            "filterServerTable": {},
            "queueDatas": [{
                "brokerName": broker.name,
                "perm": permission,
                "readQueueNums": config.read_queues,
                "topicSysFlag": 0,
                "writeQueueNums": config.write_queues,
            }],
        });
        Ok(route.to_string())
    }

    /// A group's configuration; one that nobody has made yet will be made with the defaults.
    pub(super) async fn consumer_group(&self, group: &ConsumerGroup) -> Result<ConsumerGroupConfig, GatewayError> {
        match self.messaging.broker.describe_consumer_group(group.clone()).await {
            Ok(description) => Ok(description.config),
            Err(BrokerError::ConsumerGroupNotFound { .. }) => Ok(ConsumerGroupConfig::new(group.clone())),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn broker(
        &self,
        asked: Option<v2::Endpoints>,
        local: Option<SocketAddr>,
    ) -> Result<v2::Broker, GatewayError> {
        let endpoints = match (&self.advertised, asked) {
            (Some(advertised), _) => advertised.clone(),
            (None, Some(asked)) if !asked.addresses.is_empty() => echoed(asked)?,
            (None, _) => at(local.unwrap_or(self.listening)),
        };
        // Clients use only a broker's master, which has id 0.
        Ok(v2::Broker { name: self.broker_name.to_string(), id: 0, endpoints: Some(endpoints) })
    }
}

/// Reads `host:port`, or several addresses of one kind: `10.0.0.1:8081;10.0.0.2:8081`.
pub fn endpoints(text: &str) -> Result<v2::Endpoints, GatewayError> {
    let illegal = |reason: String| GatewayError::IllegalAccessPoint { reason };
    let addresses = text
        .split(';')
        .map(|address| {
            let (host, port) = address.trim().rsplit_once(':').unwrap_or_default();
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            match port.parse::<u16>() {
                Ok(port) if port != 0 && !host.is_empty() => {
                    Ok(v2::Address { host: host.to_string(), port: i32::from(port) })
                }
                _ => Err(illegal(format!("'{address}' is not HOST:PORT"))),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let scheme = scheme_of(&addresses).ok_or_else(|| illegal(format!("'{text}' mixes kinds of addresses")))?;
    checked(v2::Endpoints { scheme: scheme.into(), addresses })
}

/// Unchanged, so that the client recognises its own address; only a scheme it left out is filled in.
fn echoed(asked: v2::Endpoints) -> Result<v2::Endpoints, GatewayError> {
    if asked.scheme() != AddressScheme::Unspecified {
        return checked(asked);
    }
    let scheme = scheme_of(&asked.addresses).ok_or_else(|| GatewayError::IllegalAccessPoint {
        reason: "the access point mixes kinds of addresses".into(),
    })?;
    checked(v2::Endpoints { scheme: scheme.into(), ..asked })
}

fn checked(endpoints: v2::Endpoints) -> Result<v2::Endpoints, GatewayError> {
    let max = if endpoints.scheme() == AddressScheme::DomainName { 1 } else { ADDRESSES_MAX };
    let reason = if endpoints.addresses.len() > max {
        format!("the access point has {} addresses, at most {max} are allowed", endpoints.addresses.len())
    } else if endpoints.addresses.iter().any(|address| address.host.len() > HOST_BYTES_MAX) {
        format!("a host of the access point has more than {HOST_BYTES_MAX} bytes")
    } else {
        return Ok(endpoints);
    };
    Err(GatewayError::IllegalAccessPoint { reason })
}

/// What all addresses are; `None` if they differ.
fn scheme_of(addresses: &[v2::Address]) -> Option<AddressScheme> {
    let scheme = |address: &v2::Address| match address.host.parse() {
        Ok(IpAddr::V4(_)) => AddressScheme::IPv4,
        Ok(IpAddr::V6(_)) => AddressScheme::IPv6,
        Err(_) => AddressScheme::DomainName,
    };
    let first = scheme(addresses.first()?);
    addresses.iter().all(|address| scheme(address) == first).then_some(first)
}

fn at(address: SocketAddr) -> v2::Endpoints {
    let scheme = if address.is_ipv4() { AddressScheme::IPv4 } else { AddressScheme::IPv6 };
    let address = v2::Address { host: address.ip().to_string(), port: i32::from(address.port()) };
    v2::Endpoints { scheme: scheme.into(), addresses: vec![address] }
}

/// One per queue with its real id. An inaccessible topic still shows one: clients cannot do with none.
pub(super) fn message_queues(config: &TopicConfig, topic: &v2::Resource, broker: &v2::Broker) -> Vec<v2::MessageQueue> {
    let queues = config.read_queues.max(config.write_queues).max(1);
    (0..queues)
        .map(|id| {
            let read = config.permission.read && id < config.read_queues;
            let write = config.permission.write && id < config.write_queues;
            let permission = match (read, write) {
                (true, true) => v2::Permission::ReadWrite,
                (true, false) => v2::Permission::Read,
                (false, true) => v2::Permission::Write,
                (false, false) => v2::Permission::None,
            };
            v2::MessageQueue {
                topic: Some(topic.clone()),
                id: i32::try_from(id).unwrap_or(i32::MAX),
                permission: permission.into(),
                broker: Some(broker.clone()),
                accept_message_types: words::accepted_message_types(config.message_type),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_addresses_are_of_one_kind() {
        let one = endpoints("mq.example:8081").unwrap();
        assert_eq!((one.scheme(), one.addresses[0].port), (AddressScheme::DomainName, 8081));
        let two = endpoints("10.0.0.1:8081; 10.0.0.2:8081").unwrap();
        assert_eq!((two.scheme(), two.addresses.len()), (AddressScheme::IPv4, 2));
        let v6 = endpoints("[::1]:8081").unwrap();
        assert_eq!((v6.scheme(), v6.addresses[0].host.as_str()), (AddressScheme::IPv6, "::1"));
        for text in ["", "mq.example", ":8081", "mq.example:0", "mq.example:65536", "a:1;b:1", "10.0.0.1:1;b:1"] {
            assert!(matches!(endpoints(text), Err(GatewayError::IllegalAccessPoint { .. })), "{text}");
        }
    }

    #[test]
    fn an_access_point_is_echoed_unchanged_but_never_without_a_scheme_or_without_bounds() {
        let address = |host: &str| v2::Address { host: host.into(), port: 80 };
        let odd = v2::Endpoints { scheme: AddressScheme::DomainName.into(), addresses: vec![address("10.0.0.1")] };
        assert_eq!(echoed(odd.clone()).unwrap(), odd);
        let bare = v2::Endpoints { scheme: 0, addresses: vec![address("10.0.0.1")] };
        assert_eq!(echoed(bare).unwrap().scheme(), AddressScheme::IPv4);
        for addresses in [vec![address("10.0.0.1"); 33], vec![address(&"h".repeat(256))]] {
            assert!(echoed(v2::Endpoints { scheme: AddressScheme::IPv4.into(), addresses }).is_err());
        }
    }
}
