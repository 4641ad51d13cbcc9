//! The residents, the indexes over them and their partition into clusters.
//!
//! Invariants (held by every public method of this module; `assert_consistent` states them as code):
//! * each index holds exactly the residents; no outpoint is spent twice;
//! * clusters are the connected components of "spends an output of"; each is in the order that
//!   [`linearize`] gives it with members sorted by txid, so that the order of the whole pool is a
//!   function of its content and not of its history;
//! * `queue` holds each chunk of each cluster once.
//!
//! The cluster limit is the caller's to check before `insert`; a cluster beyond 64 is an assertion.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use cairn_protocol::hash::{KeyHash, TxId, Wtxid};
use cairn_protocol::transaction::OutPoint;
use cairn_protocol::units::{Height, Weight};

use super::diagram::Rate;
use super::entry::Entry;
use super::graph::Graph;
use super::linearize::{Chunk, linearize};
use super::members::Members;
use super::slab::{Slab, Slot};

/// A connected set of residents in mining order.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The lowest txid: names the cluster in ties.
    pub tag: TxId,
    /// Residents, parents first.
    pub order: Vec<Slot>,
    /// Consecutive runs of `order`.
    pub chunks: Vec<Chunk>,
}

impl Cluster {
    /// The residents of chunk `index`.
    pub fn chunk(&self, index: usize) -> &[Slot] {
        let from: usize = self.chunks[..index].iter().map(|chunk| chunk.count).sum();
        &self.order[from..from + self.chunks[index].count]
    }
}

/// The place of a chunk in the order of the whole pool: best rate first; of equal rates the cluster
/// with the lower tag, and in a cluster the earlier chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkKey {
    /// What the chunk pays and weighs.
    pub rate: Rate,
    /// The cluster's tag.
    pub tag: TxId,
    /// Index of the chunk in its cluster.
    pub index: usize,
    /// The cluster.
    pub cluster: Slot,
}

impl Ord for ChunkKey {
    fn cmp(&self, other: &ChunkKey) -> Ordering {
        let by_rate = other.rate.cmp_rate(&self.rate);
        by_rate.then_with(|| (self.tag, self.index).cmp(&(other.tag, other.index)))
    }
}

impl PartialOrd for ChunkKey {
    fn partial_cmp(&self, other: &ChunkKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Store {
    entries: Slab<Entry>,
    clusters: Slab<Cluster>,
    by_txid: BTreeMap<TxId, Slot>,
    by_wtxid: BTreeMap<Wtxid, Slot>,
    spends: BTreeMap<OutPoint, Slot>,
    by_owner: BTreeSet<(KeyHash, Slot)>,
    by_time: BTreeSet<(u64, Slot)>,
    queue: BTreeSet<ChunkKey>,
    usage: u64,
    bytes: u64,
    total: Rate,
}

impl Store {
    /// How many residents there are.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Memory charged for all residents.
    pub fn usage(&self) -> u64 {
        self.usage
    }

    /// Encoded bytes of all residents.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Fees and weight of all residents.
    pub fn total(&self) -> Rate {
        self.total
    }

    /// The resident in a slot.
    pub fn entry(&self, slot: Slot) -> &Entry {
        &self.entries[slot]
    }

    /// The resident in a slot, if there is one.
    pub fn get(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot)
    }

    /// All residents in mining order: best chunk first, parents before children.
    pub fn in_order(&self) -> impl Iterator<Item = Slot> {
        self.queue
            .iter()
            .flat_map(|key| self.clusters[key.cluster].chunk(key.index))
            .copied()
    }

    /// All residents by slot.
    pub fn entries(&self) -> impl Iterator<Item = (Slot, &Entry)> {
        self.entries.iter()
    }

    /// The resident with a txid.
    pub fn by_txid(&self, txid: &TxId) -> Option<Slot> {
        self.by_txid.get(txid).copied()
    }

    /// The resident with a wtxid.
    pub fn by_wtxid(&self, wtxid: &Wtxid) -> Option<Slot> {
        self.by_wtxid.get(wtxid).copied()
    }

    /// All wtxids, ascending.
    pub fn wtxids(&self) -> impl Iterator<Item = &Wtxid> {
        self.by_wtxid.keys()
    }

    /// The resident that spends an outpoint.
    pub fn spender(&self, outpoint: &OutPoint) -> Option<Slot> {
        self.spends.get(outpoint).copied()
    }

    /// The residents that pay to or spend from a key hash.
    pub fn by_owner(&self, owner: KeyHash) -> impl Iterator<Item = Slot> {
        self.by_owner
            .range((owner, Slot::MIN)..=(owner, Slot::MAX))
            .map(|(_, slot)| *slot)
    }

    /// The resident that waits longest, and since when.
    pub fn oldest(&self) -> Option<(u64, Slot)> {
        self.by_time.first().copied()
    }

    /// All chunks, best first.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = &ChunkKey> {
        self.queue.iter()
    }

    /// A cluster.
    pub fn cluster(&self, slot: Slot) -> &Cluster {
        &self.clusters[slot]
    }

    /// The chunk that a resident is mined with.
    pub fn chunk_rate(&self, slot: Slot) -> Rate {
        let cluster = &self.clusters[self.entries[slot].cluster];
        let mut place = cluster
            .order
            .iter()
            .position(|&member| member == slot)
            .expect("a member");
        for chunk in &cluster.chunks {
            if place < chunk.count {
                return chunk.rate;
            }
            place -= chunk.count;
        }
        unreachable!("the chunks cover the order")
    }

    /// The residents whose outputs a set of inputs spends, ascending without repetition.
    pub fn parents_of(&self, inputs: &[OutPoint]) -> Vec<Slot> {
        let mut parents: Vec<Slot> = inputs
            .iter()
            .filter_map(|outpoint| self.by_txid(&outpoint.txid))
            .collect();
        parents.sort_unstable();
        parents.dedup();
        parents
    }

    /// The given residents and all that depend on them, ascending.
    pub fn with_descendants(&self, roots: impl IntoIterator<Item = Slot>) -> BTreeSet<Slot> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Slot> = roots.into_iter().collect();
        while let Some(slot) = open.pop() {
            if found.insert(slot) {
                open.extend(&self.entries[slot].children);
            }
        }
        found
    }

    /// The clusters of the given residents, without repetition.
    pub fn clusters_of(&self, slots: impl IntoIterator<Item = Slot>) -> BTreeSet<Slot> {
        slots
            .into_iter()
            .map(|slot| self.entries[slot].cluster)
            .collect()
    }

    /// Adds a resident, linked to its parents and to residents that already spend its outputs (after
    /// a reorganisation), and orders the cluster it joins.
    ///
    /// # Panics
    /// If an input is already spent by a resident, or the cluster would exceed 64.
    pub fn insert(&mut self, mut entry: Entry) -> Slot {
        entry.parents = self.parents_of(&entry.transaction.inputs);
        entry.children = self.waiting_children(&entry);
        let (ids, time) = (entry.ids, entry.time_added_s);
        let mut affected = self.clusters_of(entry.parents.iter().copied());
        affected.extend(self.clusters_of(entry.children.iter().copied()));

        self.usage += entry.usage();
        self.bytes += entry.ids.bytes;
        self.total = self.total.plus(entry.rate());
        let slot = self.entries.insert(entry);
        let entry = &self.entries[slot];
        for outpoint in &entry.transaction.inputs {
            let before = self.spends.insert(*outpoint, slot);
            assert!(before.is_none(), "{outpoint} is spent twice in the pool");
        }
        self.by_owner
            .extend(entry.owners.iter().map(|owner| (*owner, slot)));
        self.by_time.insert((time, slot));
        let same = self
            .by_txid
            .insert(ids.txid, slot)
            .or(self.by_wtxid.insert(ids.wtxid, slot));
        assert!(same.is_none(), "{} is in the pool twice", ids.txid);
        for parent in entry.parents.clone() {
            self.entries[parent].children.push(slot);
        }
        for child in self.entries[slot].children.clone() {
            self.entries[child].parents.push(slot);
        }
        self.regroup(&affected, &BTreeSet::new(), Some(slot));
        slot
    }

    /// Residents that spend an output of a transaction not yet resident.
    fn waiting_children(&self, entry: &Entry) -> Vec<Slot> {
        let from = OutPoint {
            txid: entry.txid(),
            index: 0,
        };
        let upto = OutPoint {
            txid: entry.txid(),
            index: u32::MAX,
        };
        let mut children: Vec<Slot> = self
            .spends
            .range(from..=upto)
            .map(|(_, slot)| *slot)
            .collect();
        children.sort_unstable();
        children.dedup();
        children
    }

    /// Takes residents out and orders what is left of their clusters. Children that stay are
    /// unlinked: the caller knows whether their coins are confirmed now.
    pub fn remove(&mut self, slots: &BTreeSet<Slot>) -> Vec<Entry> {
        let affected = self.clusters_of(slots.iter().copied());
        for &slot in slots {
            for parent in std::mem::take(&mut self.entries[slot].parents) {
                self.entries[parent].children.retain(|child| *child != slot);
            }
            for child in std::mem::take(&mut self.entries[slot].children) {
                self.entries[child].parents.retain(|parent| *parent != slot);
            }
        }
        self.regroup(&affected, slots, None);
        slots.iter().map(|&slot| self.take(slot)).collect()
    }

    fn take(&mut self, slot: Slot) -> Entry {
        let entry = self.entries.remove(slot);
        self.by_txid.remove(&entry.txid());
        self.by_wtxid.remove(&entry.wtxid());
        self.by_time.remove(&(entry.time_added_s, slot));
        for outpoint in &entry.transaction.inputs {
            self.spends.remove(outpoint);
        }
        for owner in &entry.owners {
            self.by_owner.remove(&(*owner, slot));
        }
        self.usage -= entry.usage();
        self.bytes -= entry.ids.bytes;
        self.total = self.total.minus(entry.rate());
        entry
    }

    /// A resident was mined at `height` and is about to leave: its children's coins are confirmed.
    pub fn confirm_coins(&mut self, parent: Slot, height: Height) {
        let txid = self.entries[parent].txid();
        for child in self.entries[parent].children.clone() {
            let entry = &mut self.entries[child];
            for (outpoint, coin) in entry.transaction.inputs.iter().zip(&mut entry.spent) {
                if outpoint.txid == txid {
                    coin.height = height;
                }
            }
        }
    }

    /// Partitions the members of `affected` without `gone` and with `joined` anew.
    fn regroup(&mut self, affected: &BTreeSet<Slot>, gone: &BTreeSet<Slot>, joined: Option<Slot>) {
        let mut members: Vec<Slot> = joined.into_iter().collect();
        for &cluster in affected {
            let old = self.dissolve(cluster);
            members.extend(old.order.into_iter().filter(|slot| !gone.contains(slot)));
        }
        for part in self.components(members) {
            let cluster = self.arrange(part, None);
            self.install(cluster);
        }
    }

    fn dissolve(&mut self, slot: Slot) -> Cluster {
        let cluster = self.clusters.remove(slot);
        for (index, chunk) in cluster.chunks.iter().enumerate() {
            let key = ChunkKey {
                rate: chunk.rate,
                tag: cluster.tag,
                index,
                cluster: slot,
            };
            assert!(self.queue.remove(&key), "every chunk is queued");
        }
        cluster
    }

    fn install(&mut self, cluster: Cluster) {
        let tag = cluster.tag;
        let rates: Vec<Rate> = cluster.chunks.iter().map(|chunk| chunk.rate).collect();
        let members = cluster.order.clone();
        let slot = self.clusters.insert(cluster);
        for member in members {
            self.entries[member].cluster = slot;
        }
        for (index, rate) in rates.into_iter().enumerate() {
            self.queue.insert(ChunkKey {
                rate,
                tag,
                index,
                cluster: slot,
            });
        }
    }

    /// Splits residents into connected components; links to others are not followed.
    pub fn components(&self, members: Vec<Slot>) -> Vec<Vec<Slot>> {
        if members.len() <= 1 {
            return if members.is_empty() {
                Vec::new()
            } else {
                vec![members]
            };
        }
        let mut left: BTreeSet<Slot> = members.into_iter().collect();
        let mut parts = Vec::new();
        while let Some(first) = left.pop_first() {
            let (mut part, mut open) = (Vec::new(), vec![first]);
            while let Some(slot) = open.pop() {
                part.push(slot);
                let entry = &self.entries[slot];
                let linked = entry.parents.iter().chain(&entry.children);
                open.extend(linked.copied().filter(|neighbour| left.remove(neighbour)));
            }
            parts.push(part);
        }
        parts
    }

    /// Orders one component; `newcomer` is a transaction that is not resident yet.
    pub fn arrange(&self, part: Vec<Slot>, newcomer: Option<&Newcomer>) -> Cluster {
        if let ([slot], None) = (part.as_slice(), newcomer) {
            let entry = &self.entries[*slot];
            let chunks = vec![Chunk {
                rate: entry.rate(),
                count: 1,
            }];
            return Cluster {
                tag: entry.txid(),
                order: part,
                chunks,
            };
        }
        let mut members: Vec<(TxId, Slot)> = part
            .iter()
            .map(|&slot| (self.entries[slot].txid(), slot))
            .collect();
        members.extend(newcomer.map(|newcomer| (newcomer.txid, Newcomer::SLOT)));
        members.sort_unstable();
        let mut places: Vec<(Slot, usize)> = members
            .iter()
            .enumerate()
            .map(|(place, member)| (member.1, place))
            .collect();
        places.sort_unstable();
        let place_of = |slot: &Slot| {
            let found = places.binary_search_by_key(slot, |(slot, _)| *slot);
            found.ok().map(|index| places[index].1)
        };
        let nodes: Vec<(Rate, Members)> = members
            .iter()
            .map(|(_, slot)| {
                let (rate, parents) = match newcomer {
                    Some(newcomer) if *slot == Newcomer::SLOT => (newcomer.rate, &newcomer.parents),
                    _ => (self.entries[*slot].rate(), &self.entries[*slot].parents),
                };
                let mut set = Members::EMPTY;
                parents
                    .iter()
                    .filter_map(place_of)
                    .for_each(|place| set.insert(place));
                (rate, set)
            })
            .collect();
        let result = linearize(&Graph::new(&nodes));
        Cluster {
            tag: members[0].0,
            order: result.order.iter().map(|&place| members[place].1).collect(),
            chunks: result.chunks,
        }
    }

    /// How many transactions and how much weight these clusters have together.
    pub fn extent(&self, clusters: &BTreeSet<Slot>) -> (usize, Weight) {
        clusters.iter().fold((0, 0), |(count, weight), cluster| {
            let cluster = &self.clusters[*cluster];
            let own: Weight = cluster.chunks.iter().map(|chunk| chunk.rate.weight).sum();
            (count + cluster.order.len(), weight + own)
        })
    }
}

/// A transaction that is tried out against the pool.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// Its id.
    pub txid: TxId,
    /// What it pays and weighs.
    pub rate: Rate,
    /// Its resident parents.
    pub parents: Vec<Slot>,
}

impl Newcomer {
    /// Stands for the newcomer in an order.
    pub const SLOT: Slot = Slot::MAX;
}

#[cfg(test)]
impl Store {
    /// The invariants of the module, checked from scratch.
    pub fn assert_consistent(&self) {
        let all: BTreeSet<Slot> = self.entries.iter().map(|(slot, _)| slot).collect();
        let (mut usage, mut bytes, mut total) = (0, 0, Rate::default());
        let (mut spends, mut owners) = (0, 0);
        for (slot, entry) in self.entries.iter() {
            usage += entry.usage();
            bytes += entry.ids.bytes;
            total = total.plus(entry.rate());
            spends += entry.transaction.inputs.len();
            owners += entry.owners.len();
            assert_eq!(self.by_txid.get(&entry.txid()), Some(&slot));
            assert_eq!(self.by_wtxid.get(&entry.wtxid()), Some(&slot));
            assert!(self.by_time.contains(&(entry.time_added_s, slot)));
            assert!(
                entry
                    .transaction
                    .inputs
                    .iter()
                    .all(|o| self.spends.get(o) == Some(&slot))
            );
            assert!(
                entry
                    .owners
                    .iter()
                    .all(|owner| self.by_owner.contains(&(*owner, slot)))
            );
            assert_eq!(entry.parents, self.parents_of(&entry.transaction.inputs));
            let children: BTreeSet<Slot> = entry.children.iter().copied().collect();
            assert_eq!(children, self.waiting_children(entry).into_iter().collect());
            assert_eq!(children.len(), entry.children.len());
            assert!(self.clusters[entry.cluster].order.contains(&slot));
            assert_eq!(entry.spent.len(), entry.transaction.inputs.len());
        }
        assert_eq!((usage, bytes, total), (self.usage, self.bytes, self.total));
        assert_eq!(
            (self.by_txid.len(), self.by_wtxid.len()),
            (all.len(), all.len())
        );
        assert_eq!((self.by_time.len(), self.spends.len()), (all.len(), spends));
        assert_eq!(self.by_owner.len(), owners);
        let mut queued = 0;
        for part in self.components(all.iter().copied().collect()) {
            let slot = self.entries[part[0]].cluster;
            let (cluster, fresh) = (&self.clusters[slot], self.arrange(part, None));
            assert_eq!(
                (&cluster.order, &cluster.chunks),
                (&fresh.order, &fresh.chunks)
            );
            assert_eq!(cluster.tag, fresh.tag);
            for (index, chunk) in cluster.chunks.iter().enumerate() {
                let key = ChunkKey {
                    rate: chunk.rate,
                    tag: cluster.tag,
                    index,
                    cluster: slot,
                };
                assert!(self.queue.contains(&key));
                queued += 1;
            }
        }
        assert_eq!(queued, self.queue.len());
    }
}
