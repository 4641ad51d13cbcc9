//! Transactions that spend outputs nobody knows yet, kept for a while in case the parent follows.
//!
//! Nothing here has been checked beyond its own bytes, so everything is bounded per peer: whoever
//! announces an orphan is charged for it, the peer charged most loses its oldest one first, and an
//! orphan is tried again only when *all* the parents it missed have come. So a peer's orphans cost
//! one look each per missing parent, however they are wired (attack catalogue M05).
//!
//! Invariants: counts and bytes stay within [`OrphanPolicy`]; an orphan has at least one announcer;
//! `ready` holds the orphans with nothing missing. Rule: `spec/11-mempool.md#orphans`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_protocol::hash::{TxId, Wtxid};
use cairn_protocol::transaction::{Transaction, TransactionIds};

use super::policy::OrphanPolicy;

/// A peer as the caller numbers it.
pub type PeerKey = u64;

/// A transaction that waits for parents.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// The transaction.
    pub transaction: Arc<Transaction>,
    /// Its ids and size.
    pub ids: TransactionIds,
    /// Who announced it, first announcer first.
    pub announcers: Vec<PeerKey>,
    missing: BTreeSet<TxId>,
    expires_s: u64,
}

/// Why a transaction was not kept as an orphan.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrphanRefused {
    /// It could never fit a cluster.
    #[error("{missing} unknown parents exceed {max}")]
    TooManyParents {
        /// Unknown parents.
        missing: usize,
        /// The bound.
        max: usize,
    },
    /// Larger than all that one peer may have.
    #[error("an orphan of {bytes} bytes exceeds {max}")]
    TooLarge {
        /// Encoded bytes.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// Enough peers stand for it.
    #[error("already kept for {0} peers")]
    Known(usize),
}

#[derive(Clone, Debug, Default)]
struct Charge {
    bytes: u64,
    /// By arrival number: the oldest goes first.
    orphans: BTreeMap<u64, Wtxid>,
    ready: BTreeSet<Wtxid>,
}

/// The orphan pool.
#[derive(Clone, Debug)]
pub struct Orphans {
    policy: OrphanPolicy,
    orphans: BTreeMap<Wtxid, Orphan>,
    by_parent: BTreeSet<(TxId, Wtxid)>,
    by_expiry: BTreeSet<(u64, Wtxid)>,
    peers: BTreeMap<PeerKey, Charge>,
    bytes: u64,
    arrivals: u64,
}

impl Orphans {
    /// An empty orphan pool.
    pub fn new(policy: OrphanPolicy) -> Orphans {
        Orphans {
            policy,
            orphans: BTreeMap::new(),
            by_parent: BTreeSet::new(),
            by_expiry: BTreeSet::new(),
            peers: BTreeMap::new(),
            bytes: 0,
            arrivals: 0,
        }
    }

    /// How many orphans there are.
    pub fn len(&self) -> usize {
        self.orphans.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.orphans.is_empty()
    }

    /// Encoded bytes of all orphans.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether this orphan is kept.
    pub fn contains(&self, wtxid: &Wtxid) -> bool {
        self.orphans.contains_key(wtxid)
    }

    /// Keeps a transaction for `peer` until the `missing` parents come.
    pub fn add(
        &mut self,
        now_s: u64,
        peer: PeerKey,
        transaction: Arc<Transaction>,
        ids: TransactionIds,
        missing: BTreeSet<TxId>,
    ) -> Result<(), OrphanRefused> {
        let limits = self.policy;
        if missing.len() > limits.missing_max {
            let (missing, max) = (missing.len(), limits.missing_max);
            return Err(OrphanRefused::TooManyParents { missing, max });
        }
        if ids.bytes > limits.peer_bytes_max {
            return Err(OrphanRefused::TooLarge {
                bytes: ids.bytes,
                max: limits.peer_bytes_max,
            });
        }
        if let Some(known) = self.orphans.get(&ids.wtxid) {
            let announcers = known.announcers.len();
            if known.announcers.contains(&peer) || announcers >= limits.announcers_max {
                return Err(OrphanRefused::Known(announcers));
            }
            self.charge(peer, ids.wtxid);
        } else {
            let expires_s = now_s.saturating_add(limits.expiry_s);
            self.by_expiry.insert((expires_s, ids.wtxid));
            self.by_parent
                .extend(missing.iter().map(|parent| (*parent, ids.wtxid)));
            self.bytes += ids.bytes;
            let orphan = Orphan {
                transaction,
                ids,
                announcers: Vec::new(),
                missing,
                expires_s,
            };
            self.orphans.insert(ids.wtxid, orphan);
            self.charge(peer, ids.wtxid);
        }
        self.enforce(peer);
        Ok(())
    }

    fn charge(&mut self, peer: PeerKey, wtxid: Wtxid) {
        let orphan = self
            .orphans
            .get_mut(&wtxid)
            .expect("the caller just saw it");
        orphan.announcers.push(peer);
        let charge = self.peers.entry(peer).or_default();
        charge.bytes += orphan.ids.bytes;
        charge.orphans.insert(self.arrivals, wtxid);
        if orphan.missing.is_empty() {
            charge.ready.insert(wtxid);
        }
        self.arrivals += 1;
    }

    /// Brings `peer`, then the whole pool, back within the limits.
    fn enforce(&mut self, peer: PeerKey) {
        let limits = self.policy;
        let over = |charge: &Charge| {
            charge.orphans.len() > limits.peer_count_max || charge.bytes > limits.peer_bytes_max
        };
        while self.peers.get(&peer).is_some_and(over) {
            self.drop_oldest_of(peer);
        }
        while self.orphans.len() > limits.count_max || self.bytes > limits.bytes_max {
            let most = self.peers.iter().max_by_key(|(_, charge)| {
                // Shares of the per-peer limits in thousandths, whichever is larger.
                let bytes = charge.bytes.saturating_mul(1000) / limits.peer_bytes_max.max(1);
                let count =
                    charge.orphans.len() as u64 * 1000 / limits.peer_count_max.max(1) as u64;
                bytes.max(count)
            });
            let most = *most.expect("orphans have announcers").0;
            self.drop_oldest_of(most);
        }
    }

    fn drop_oldest_of(&mut self, peer: PeerKey) {
        let charge = &self.peers[&peer];
        let wtxid = *charge
            .orphans
            .values()
            .next()
            .expect("a charged peer has orphans");
        self.withdraw(peer, wtxid);
    }

    /// `peer` no longer stands for an orphan; the orphan goes with its last announcer.
    fn withdraw(&mut self, peer: PeerKey, wtxid: Wtxid) {
        let orphan = self
            .orphans
            .get_mut(&wtxid)
            .expect("charged orphans are kept");
        orphan.announcers.retain(|announcer| *announcer != peer);
        let (bytes, is_last) = (orphan.ids.bytes, orphan.announcers.is_empty());
        let charge = self.peers.get_mut(&peer).expect("the peer is charged");
        charge.bytes -= bytes;
        charge.orphans.retain(|_, held| *held != wtxid);
        charge.ready.remove(&wtxid);
        if charge.orphans.is_empty() {
            self.peers.remove(&peer);
        }
        if is_last {
            self.forget(&wtxid);
        }
    }

    fn forget(&mut self, wtxid: &Wtxid) {
        let orphan = self.orphans.remove(wtxid).expect("a kept orphan");
        self.bytes -= orphan.ids.bytes;
        self.by_expiry.remove(&(orphan.expires_s, *wtxid));
        for parent in orphan.missing {
            self.by_parent.remove(&(parent, *wtxid));
        }
    }

    /// Takes an orphan out, for instance because it was accepted or found invalid.
    pub fn remove(&mut self, wtxid: &Wtxid) -> Option<Orphan> {
        let orphan = self.orphans.get(wtxid)?.clone();
        for peer in &orphan.announcers {
            self.withdraw(*peer, *wtxid);
        }
        Some(orphan)
    }

    /// A peer left: what only it stood for is forgotten.
    pub fn peer_gone(&mut self, peer: PeerKey) {
        while self.peers.contains_key(&peer) {
            self.drop_oldest_of(peer);
        }
    }

    /// Forgets what waited too long; returns how many.
    pub fn expire(&mut self, now_s: u64) -> usize {
        let before = self.len();
        while let Some(&(expires_s, wtxid)) = self.by_expiry.first() {
            if expires_s > now_s {
                break;
            }
            self.remove(&wtxid);
        }
        before - self.len()
    }

    /// A parent became known, in the pool or in a block. Returns how many orphans became ready.
    pub fn parent_arrived(&mut self, txid: &TxId) -> usize {
        let mut ready = 0;
        while let Some(wtxid) = self.next_child(txid) {
            self.by_parent.remove(&(*txid, wtxid));
            let orphan = self
                .orphans
                .get_mut(&wtxid)
                .expect("waiting orphans are kept");
            orphan.missing.remove(txid);
            if orphan.missing.is_empty() {
                ready += 1;
                for peer in &orphan.announcers {
                    self.peers
                        .get_mut(peer)
                        .expect("announcers are charged")
                        .ready
                        .insert(wtxid);
                }
            }
        }
        ready
    }

    fn next_child(&self, txid: &TxId) -> Option<Wtxid> {
        let range = (*txid, Wtxid([0; 32]))..=(*txid, Wtxid([0xff; 32]));
        self.by_parent.range(range).next().map(|(_, wtxid)| *wtxid)
    }

    /// Takes out orphans whose parents are known, at most `per_peer` on behalf of each peer, in the
    /// order of peers. To be tried like new transactions; call again until empty, at leisure.
    pub fn take_ready(&mut self, per_peer: usize) -> Vec<Orphan> {
        let waiting: Vec<(PeerKey, Vec<Wtxid>)> = self
            .peers
            .iter()
            .filter(|(_, charge)| !charge.ready.is_empty())
            .map(|(peer, charge)| (*peer, charge.ready.iter().take(per_peer).copied().collect()))
            .collect();
        let mut taken = Vec::new();
        for wtxid in waiting.into_iter().flat_map(|(_, wtxids)| wtxids) {
            taken.extend(self.remove(&wtxid));
        }
        taken
    }
}
