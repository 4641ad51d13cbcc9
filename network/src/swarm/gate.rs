//! The gate: connections are counted per address and subnet before they cost a handshake.
//!
//! Invariant: this behaviour is the first field of the swarm's behaviour, so that nothing has
//! accepted a connection which it refuses; every connection that it counted is released exactly
//! once, when it fails or closes. Source: `spec/07-p2p.md#limits`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure,
        NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};

use crate::{
    counters::{NetCounters, Refused},
    peers::groups::{Host, Subnet, ip_of, is_global},
};

/// A connection that the gate refused.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Too many connections of one address.
    #[error("{count} inbound connections of one address, {count_max} are allowed")]
    Ip {
        /// Connections counted.
        count: u32,
        /// The bound.
        count_max: u32,
    },
    /// Too many connections of one subnet.
    #[error("{count} inbound connections of one subnet, {count_max} are allowed")]
    Subnet {
        /// Connections counted.
        count: u32,
        /// The bound.
        count_max: u32,
    },
    /// The address is banned.
    #[error("address {0} is banned")]
    BannedIp(IpAddr),
    /// The peer is banned.
    #[error("peer {0} is banned")]
    BannedPeer(PeerId),
    /// The peer was sent away a short time ago.
    #[error("peer {0} was sent away and may not come back yet")]
    Held(PeerId),
}

/// The behaviour.
pub struct Gate {
    counters: Arc<NetCounters>,
    per_ip_max: u32,
    per_subnet_max: u32,
    private_exempt: bool,
    counted: HashMap<ConnectionId, IpAddr>,
    hosts: BTreeMap<Host, u32>,
    subnets: BTreeMap<Subnet, u32>,
    banned_peers: BTreeSet<PeerId>,
    banned_hosts: BTreeSet<Host>,
    held: BTreeSet<PeerId>,
}

impl Gate {
    /// A gate with these bounds. `private_exempt`: addresses that are not global are not counted.
    pub fn new(
        counters: Arc<NetCounters>,
        per_ip_max: u32,
        per_subnet_max: u32,
        private_exempt: bool,
    ) -> Self {
        Self {
            counters,
            per_ip_max,
            per_subnet_max,
            private_exempt,
            counted: HashMap::new(),
            hosts: BTreeMap::new(),
            subnets: BTreeMap::new(),
            banned_peers: BTreeSet::new(),
            banned_hosts: BTreeSet::new(),
            held: BTreeSet::new(),
        }
    }

    /// Replaces the sets of refused peers and addresses.
    pub fn set_refused(
        &mut self,
        banned_peers: BTreeSet<PeerId>,
        banned_hosts: BTreeSet<Host>,
        held: BTreeSet<PeerId>,
    ) {
        self.banned_peers = banned_peers;
        self.banned_hosts = banned_hosts;
        self.held = held;
    }

    fn refuse<T>(&self, cause: Refused, error: GateError) -> Result<T, ConnectionDenied> {
        self.counters.refused(cause);
        Err(ConnectionDenied::new(error))
    }

    fn admit(&mut self, id: ConnectionId, remote: &Multiaddr) -> Result<(), ConnectionDenied> {
        let Some(ip) = ip_of(remote) else {
            return Ok(());
        };
        let (host, subnet) = (Host::of(ip), Subnet::of(ip));
        if self.banned_hosts.contains(&host) {
            return self.refuse(Refused::BannedIp, GateError::BannedIp(ip));
        }
        if self.private_exempt && !is_global(ip) {
            return Ok(());
        }
        let count = self.hosts.get(&host).copied().unwrap_or(0);
        if count >= self.per_ip_max {
            let error = GateError::Ip {
                count,
                count_max: self.per_ip_max,
            };
            return self.refuse(Refused::Ip, error);
        }
        let count = self.subnets.get(&subnet).copied().unwrap_or(0);
        if count >= self.per_subnet_max {
            let error = GateError::Subnet {
                count,
                count_max: self.per_subnet_max,
            };
            return self.refuse(Refused::Subnet, error);
        }
        *self.hosts.entry(host).or_default() += 1;
        *self.subnets.entry(subnet).or_default() += 1;
        self.counted.insert(id, ip);
        Ok(())
    }

    fn release(&mut self, id: ConnectionId) {
        let Some(ip) = self.counted.remove(&id) else {
            return;
        };
        decrement(&mut self.hosts, Host::of(ip));
        decrement(&mut self.subnets, Subnet::of(ip));
    }

    fn check_peer(&self, peer: PeerId) -> Result<(), ConnectionDenied> {
        if self.banned_peers.contains(&peer) {
            return self.refuse(Refused::BannedPeer, GateError::BannedPeer(peer));
        }
        Ok(())
    }
}

fn decrement<K: Ord>(counts: &mut BTreeMap<K, u32>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit(id, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(peer)?;
        if self.held.contains(&peer) {
            return self.refuse(Refused::Held, GateError::Held(peer));
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.release(connection_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => {
                self.release(connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(private_exempt: bool) -> (Gate, Arc<NetCounters>) {
        let counters = Arc::new(NetCounters::default());
        (Gate::new(counters.clone(), 2, 3, private_exempt), counters)
    }

    fn arrive(gate: &mut Gate, id: usize, ip: &str) -> bool {
        let remote = format!("/ip4/{ip}/tcp/1").parse().unwrap();
        let local = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let id = ConnectionId::new_unchecked(id);
        gate.handle_pending_inbound_connection(id, &local, &remote)
            .is_ok()
    }

    #[test]
    fn each_bound_names_its_counter() {
        let (mut gate, counters) = gate(false);
        assert!(arrive(&mut gate, 1, "8.8.8.1"));
        assert!(arrive(&mut gate, 2, "8.8.8.1"));
        assert!(!arrive(&mut gate, 3, "8.8.8.1"));
        assert_eq!(counters.refused_count(Refused::Ip), 1);
        assert!(arrive(&mut gate, 4, "8.8.8.2"));
        assert!(!arrive(&mut gate, 5, "8.8.8.3"));
        assert_eq!(counters.refused_count(Refused::Subnet), 1);
        assert!(arrive(&mut gate, 6, "8.8.9.1"));
    }

    #[test]
    fn released_connections_make_room_and_leave_nothing_behind() {
        let (mut gate, _) = gate(false);
        for round in 0..100 {
            assert!(arrive(&mut gate, round, "8.8.8.1"));
            gate.release(ConnectionId::new_unchecked(round));
            gate.release(ConnectionId::new_unchecked(round));
        }
        assert!(gate.hosts.is_empty() && gate.subnets.is_empty() && gate.counted.is_empty());
    }

    #[test]
    fn private_addresses_are_exempt_only_on_request() {
        let (mut open, _) = gate(true);
        let (mut strict, _) = gate(false);
        let admitted =
            |gate: &mut Gate| (0..10).filter(|id| arrive(gate, *id, "127.0.0.1")).count();
        assert_eq!(admitted(&mut open), 10);
        assert_eq!(admitted(&mut strict), 2);
    }

    #[test]
    fn a_banned_host_is_refused_even_when_exempt() {
        let (mut gate, counters) = gate(true);
        let host = Host::of("127.0.0.1".parse().unwrap());
        gate.set_refused(BTreeSet::new(), BTreeSet::from([host]), BTreeSet::new());
        assert!(!arrive(&mut gate, 1, "127.0.0.1"));
        assert_eq!(counters.refused_count(Refused::BannedIp), 1);
    }
}
