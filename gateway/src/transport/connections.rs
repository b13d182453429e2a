//! Who is connected: so many in all, and so many from one address, so that nobody takes the place of everybody.
//!
//! Not counted by address: this machine, whose sidecars and tests share one, and a trusted load balancer, whose clients are
//! counted in its place as soon as it has named them. An IPv6 address counts by its first 64 bits: whoever has one has
//! all that begin with them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, counter, gauge};

use super::limits::Limits;

/// Refusals come in floods; the log tells of the first, and then how many there were.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

pub struct Connections {
    max: usize,
    per_address_max: usize,
    counts: Mutex<Counts>,
    open: Gauge,
    refused_of_all: Counter,
    refused_of_address: Counter,
}

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    told: Option<Instant>,
    untold: u64,
}

/// Which limit a connection would have passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there are as many connections as connections_max")]
    All,
    #[error("its address has as many connections as connections_per_address_max")]
    Address,
}

/// A connection's place among the others; it is free again when this is dropped.
pub struct Place {
    connections: Arc<Connections>,
    address: Option<IpAddr>,
}

impl Connections {
    /// Told of in metrics from the first scrape on.
    pub fn new(limits: &Limits) -> Arc<Connections> {
        let refused = |limit| counter!("gantry_connections_refused_total", "reason" => limit);
        let [refused_of_all, refused_of_address] = ["connections_max", "connections_per_address_max"].map(refused);
        let open = gauge!("gantry_connections");
        open.set(0.0);
        Arc::new(Connections {
            open,
            refused_of_all,
            refused_of_address,
            max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            counts: Mutex::default(),
        })
    }

    /// One more among all.
    pub fn enter(self: &Arc<Self>, peer: SocketAddr) -> Result<Place, Refused> {
        let mut counts = self.counts();
        if counts.all >= self.max {
            self.tell(&mut counts, Refused::All, peer);
            return Err(Refused::All);
        }
        counts.all += 1;
        self.open.set(counts.all as f64);
        Ok(Place { connections: self.clone(), address: None })
    }

    fn tell(&self, counts: &mut Counts, refused: Refused, peer: SocketAddr) {
        match refused {
            Refused::All => self.refused_of_all.increment(1),
            Refused::Address => self.refused_of_address.increment(1),
        }
        counts.untold += 1;
        let now = Instant::now();
        if counts.told.is_none_or(|told| now.duration_since(told) >= TELL_INTERVAL) {
            counts.told = Some(now);
            let (all, since) = (counts.all, std::mem::take(&mut counts.untold));
            let (max, per_address_max) = (self.max, self.per_address_max);
            tracing::warn!(
                %peer,
                connections = all,
                connections_max = max,
                connections_per_address_max = per_address_max,
                refused = since,
                "a connection is refused: {refused}"
            );
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().expect("no code panics while holding it")
    }
}

impl Place {
    /// Whose connection it is. An error leaves it to nobody: drop the socket.
    pub fn is_of(&mut self, client: SocketAddr) -> Result<(), Refused> {
        let address = client.ip().to_canonical();
        if address.is_loopback() {
            return Ok(());
        }
        let address = match address {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 => v4,
        };
        let mut counts = self.connections.counts();
        let count = counts.by_address.get(&address).copied().unwrap_or_default();
        if count >= self.connections.per_address_max {
            self.connections.tell(&mut counts, Refused::Address, client);
            return Err(Refused::Address);
        }
        counts.by_address.insert(address, count + 1);
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        counts.all -= 1;
        self.connections.open.set(counts.all as f64);
        let Some(address) = self.address else { return };
        match counts.by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.by_address.remove(&address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(max: usize, per_address_max: usize) -> Arc<Connections> {
        let (connections_max, connections_per_address_max) = (max, per_address_max);
        Connections::new(&Limits { connections_max, connections_per_address_max, ..Limits::default() })
    }

    fn peer(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 4_660)
    }

    fn of(connections: &Arc<Connections>, ip: &str) -> Result<Place, Refused> {
        let mut place = connections.enter(peer(ip))?;
        place.is_of(peer(ip)).map(|()| place)
    }

    #[test]
    fn so_many_in_all_and_a_place_is_free_again_when_its_connection_ends() {
        let connections = connections(2, 9);
        let first = of(&connections, "203.0.113.1").unwrap();
        let _second = of(&connections, "127.0.0.1").unwrap();
        assert_eq!(of(&connections, "203.0.113.2").err(), Some(Refused::All));
        drop(first);
        assert!(of(&connections, "203.0.113.2").is_ok());
    }

    #[test]
    fn so_many_from_one_address_and_what_is_one_address() {
        let connections = connections(100, 2);
        let twice = ["203.0.113.1", "::ffff:203.0.113.1"].map(|ip| of(&connections, ip).unwrap());
        assert_eq!(of(&connections, "203.0.113.1").err(), Some(Refused::Address));
        let neighbours = ["2001:db8::1", "2001:db8::2:1"].map(|ip| of(&connections, ip).unwrap());
        assert_eq!(of(&connections, "2001:db8::3").err(), Some(Refused::Address));
        assert!(of(&connections, "2001:db8:0:1::3").is_ok() && of(&connections, "203.0.113.2").is_ok());
        let local: Vec<_> = (0..9).map(|_| of(&connections, "127.0.0.1").unwrap()).collect();
        drop((twice, neighbours, local));
        assert!(of(&connections, "203.0.113.1").is_ok() && of(&connections, "2001:db8::3").is_ok());
        let counts = connections.counts();
        assert_eq!((counts.all, counts.by_address.len()), (0, 0), "nothing is kept of who is gone");
    }
}
