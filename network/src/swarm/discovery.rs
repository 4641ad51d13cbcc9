//! Finding peers: dialling, identify, the routing table, the local network and the peers file.
//!
//! Invariant: rumours become dials only through the address book and the slots; the routing table
//! holds only peers whose status matched. Source: `spec/07-p2p.md#discovery`.

use std::collections::BTreeSet;
use std::sync::Arc;

use libp2p::{
    Multiaddr, PeerId, identify, kad, mdns,
    swarm::dial_opts::{DialOpts, PeerCondition},
};

use super::task::{Nameless, Task};
use crate::{
    limits::{AGENT_BYTES_MAX, Limits, PEER_ADDRESSES_MAX},
    peers::{
        book::{Direction, Entry, split_peer},
        dialing::{self, ANCHORS_MAX, Slots},
        groups::{Subnet, ip_of, is_dialable, is_global},
        store::{Record, SavedScore},
    },
};

/// Slots are looked at this often.
const DIAL_INTERVAL_MS: u64 = 500;
/// Random walks right after the start, when the routing table has just begun to fill.
const WALKS_MS_FIRST: [u64; 3] = [2_000, 5_000, 15_000];
/// Random walks while few peers are known.
const WALK_HUNGRY_MS: u64 = 60_000;
/// Random walks when enough peers are known.
const WALK_CALM_MS: u64 = 300_000;
/// Pinned peers are redialled at least this often.
const PINNED_REDIAL_MS_MAX: u64 = 15_000;

impl Task {
    /// Plans the first dials.
    pub(super) fn begin_discovery(&mut self, bootnodes: Vec<Multiaddr>) {
        let now_ms = self.clock.now_ms();
        self.next_walk_ms = now_ms + WALKS_MS_FIRST[0];
        self.next_save_ms = now_ms + self.limits.persist_interval_ms;
        for address in bootnodes {
            self.dial_address(address);
        }
        self.fill_slots(now_ms);
    }

    /// Keeps an address given by the operator and dials it now.
    pub(super) fn dial_address(&mut self, address: Multiaddr) {
        match split_peer(address.clone()) {
            (_, Some(peer)) if peer == *self.swarm.local_peer_id() => {}
            (address, Some(peer)) => {
                self.book.pin(peer, address);
                self.dial(peer);
            }
            (address, None) => {
                self.nameless.push(Nameless {
                    address,
                    next_dial_ms: 0,
                    failures: 0,
                });
                self.dial_nameless(self.clock.now_ms());
            }
        }
    }

    fn dial_nameless(&mut self, now_ms: u64) {
        let (ms_min, ms_max) = (self.limits.redial_ms_min, PINNED_REDIAL_MS_MAX);
        for index in 0..self.nameless.len() {
            if self.nameless[index].next_dial_ms > now_ms {
                continue;
            }
            let salt = rand::random();
            let nameless = &mut self.nameless[index];
            let delay_ms = dialing::redial_delay_ms(nameless.failures, ms_min, ms_max, salt);
            nameless.failures = nameless.failures.saturating_add(1);
            nameless.next_dial_ms = now_ms + delay_ms.max(self.limits.transport_handshake_ms);
            let options = DialOpts::unknown_peer_id()
                .address(nameless.address.clone())
                .build();
            if let Err(error) = self.swarm.dial(options) {
                self.on_dial_error(None, &error);
            }
        }
    }

    /// An address without a peer id answered: from now on it is a pinned peer.
    pub(super) fn nameless_answered(&mut self, peer: PeerId, address: &Multiaddr) {
        let before = self.nameless.len();
        self.nameless
            .retain(|nameless| nameless.address != *address);
        if self.nameless.len() < before {
            self.book.pin(peer, address.clone());
        }
    }

    fn dial(&mut self, peer: PeerId) {
        let Some(entry) = self.book.get(&peer) else {
            return;
        };
        // A port of its own: one that is shared with the listener cannot be used twice for the
        // same peer while an old connection is still being forgotten by the system.
        let options = DialOpts::peer_id(peer)
            .addresses(entry.addresses.clone())
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .allocate_new_port()
            .build();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dialing.insert(peer);
            }
            Err(error) => self.on_dial_error(Some(peer), &error),
        }
    }

    /// Dials peers for the free outbound slots.
    pub(super) fn fill_slots(&mut self, now_ms: u64) {
        self.next_dial_ms = now_ms + DIAL_INTERVAL_MS;
        self.dial_nameless(now_ms);
        let outbound = self
            .peers
            .values()
            .filter(|peer| peer.direction == Direction::Outbound);
        let mut subnets = BTreeSet::new();
        let mut used = self.dialing.len();
        for peer in outbound {
            used += 1;
            let ip = ip_of(&peer.address());
            let ip = ip.filter(|ip| !self.private_addresses || is_global(*ip));
            subnets.extend(ip.map(Subnet::of));
        }
        let mut taken: BTreeSet<PeerId> = self.peers.keys().copied().collect();
        taken.extend(&self.dialing);
        taken.extend(self.scores.banned(now_ms).map(|(peer, _)| *peer));
        taken.insert(*self.swarm.local_peer_id());
        let slots = Slots {
            free: (self.limits.outbound_peers_target as usize).saturating_sub(used),
            taken: &taken,
            subnets: &subnets,
            private_exempt: self.private_addresses,
            salt: rand::random(),
        };
        for peer in dialing::choose(now_ms, &self.book, &slots) {
            self.dial(peer);
        }
    }

    pub(super) fn redial_delay_ms(&self, failures: u32) -> u64 {
        let Limits {
            redial_ms_min,
            redial_ms_max,
            ..
        } = self.limits;
        dialing::redial_delay_ms(failures, redial_ms_min, redial_ms_max, rand::random())
    }

    pub(super) fn dial_failed(&mut self, peer: PeerId) {
        let now_ms = self.clock.now_ms();
        let Some(entry) = self.book.get(&peer) else {
            return;
        };
        let mut delay_ms = self.redial_delay_ms(entry.failures);
        if entry.is_pinned {
            delay_ms = delay_ms.min(PINNED_REDIAL_MS_MAX);
        }
        self.book.failed(&peer, now_ms + delay_ms);
    }

    pub(super) fn on_identify_event(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else {
            return;
        };
        let kad_name = self.names.kademlia();
        let private = self.private_addresses;
        let Some(peer) = self.peers.get_mut(&peer_id) else {
            return;
        };
        peer.agent = printable(&info.agent_version);
        peer.speaks_kad = info
            .protocols
            .iter()
            .any(|protocol| protocol.as_ref() == kad_name);
        peer.listen = info
            .listen_addrs
            .into_iter()
            .map(|address| split_peer(address).0)
            .filter(|address| is_dialable(address, private))
            .take(PEER_ADDRESSES_MAX)
            .collect();
        if peer.is_ready() {
            self.learn_listen_addresses(peer_id);
        } else {
            self.check_identity(peer_id, &info.protocol_version);
        }
    }

    /// Takes over where a ready peer says it listens.
    pub(super) fn learn_listen_addresses(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let (listen, speaks_kad) = (peer.listen.clone(), peer.speaks_kad);
        for address in listen {
            self.book.heard(id, address.clone());
            if speaks_kad {
                self.swarm.behaviour_mut().kad.add_address(&id, address);
            }
        }
    }

    pub(super) fn on_kad_event(&mut self, event: kad::Event) {
        let kad::Event::OutboundQueryProgressed {
            result: kad::QueryResult::GetClosestPeers(result),
            ..
        } = event
        else {
            return;
        };
        let peers = match result {
            Ok(found) => found.peers,
            Err(kad::GetClosestPeersError::Timeout { peers, .. }) => peers,
        };
        for info in peers {
            self.hear(info.peer_id, info.addrs);
        }
    }

    fn hear(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if peer == *self.swarm.local_peer_id() {
            return;
        }
        let private = self.private_addresses;
        for address in addresses.into_iter().take(PEER_ADDRESSES_MAX) {
            if is_dialable(&address, private) {
                self.book.heard(peer, address);
            }
        }
    }

    pub(super) fn on_mdns_event(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else {
            return;
        };
        for (peer, address) in found {
            if peer != *self.swarm.local_peer_id() {
                self.book.heard(peer, address);
            }
        }
    }

    /// A random walk through the routing table.
    pub(super) fn walk(&mut self, now_ms: u64) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let has_table = kad.kbuckets().any(|bucket| !bucket.is_empty());
        if has_table {
            kad.get_closest_peers(PeerId::random());
            self.walks += 1;
        }
        let is_hungry = self.book.len() < 2 * self.limits.outbound_peers_target as usize;
        let delay_ms = match WALKS_MS_FIRST.get(self.walks) {
            Some(first) => *first,
            None if is_hungry => WALK_HUNGRY_MS,
            None => WALK_CALM_MS,
        };
        self.next_walk_ms = now_ms + delay_ms;
    }

    fn records(&mut self) -> Vec<(PeerId, Record)> {
        let mut outbound: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.is_ready() && peer.direction == Direction::Outbound)
            .map(|(id, peer)| (peer.ready_ms, *id))
            .collect();
        outbound.sort_unstable();
        let anchors: Vec<_> = outbound
            .into_iter()
            .take(ANCHORS_MAX)
            .map(|(_, id)| id)
            .collect();
        self.book.set_anchors(&anchors);
        let score_of = |id: &PeerId| {
            let standing = self.scores.standing(id);
            SavedScore {
                score: standing.map_or(0.0, |standing| standing.score),
                at_ms: standing.map_or(0, |standing| standing.updated_ms),
                ban_until_ms: standing.map_or(0, |standing| standing.ban_until_ms),
            }
        };
        let record = |id: &PeerId, entry: Option<&Entry>| (*id, Record::new(entry, score_of(id)));
        let mut records: Vec<_> = self
            .book
            .iter()
            .map(|(id, entry)| record(id, Some(entry)))
            .collect();
        let others = self.scores.peers().filter(|id| self.book.get(id).is_none());
        records.extend(others.map(|id| record(id, None)));
        records
    }

    /// Writes the peers file without making the swarm wait. A write that is still under way when
    /// the next is due is not overtaken.
    pub(super) fn save_in_background(&mut self, now_ms: u64) {
        self.next_save_ms = now_ms + self.limits.persist_interval_ms;
        let Some(file) = self.peers_file.clone() else {
            return;
        };
        if self
            .saving
            .as_ref()
            .is_some_and(|saving| !saving.is_finished())
        {
            return;
        }
        let records = self.records();
        self.saving = Some(tokio::task::spawn_blocking(move || {
            let file = file.lock().expect("no writer panics");
            if let Err(error) = file.save(&records) {
                tracing::warn!(%error, "peers are not saved");
            }
        }));
    }

    /// Writes the peers file and waits for it; only after the loop has ended.
    pub(super) async fn save_now(&mut self) {
        if let Some(saving) = self.saving.take() {
            // A panic in the writer was reported where it happened.
            let _ = saving.await;
        }
        self.save_in_background(self.clock.now_ms());
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
        if let Some(file) = self.peers_file.take()
            && Arc::strong_count(&file) > 1
        {
            tracing::warn!("the peers file is still in use");
        }
    }
}

/// The first printable characters of what a stranger calls itself.
fn printable(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_graphic)
        .take(AGENT_BYTES_MAX)
        .collect()
}
