//! Wtxids refused since the last tip: a cheap "no" to the same bytes from the next peer.
//!
//! Invariant: never more than `count_max` ids; the oldest goes first. Keyed by wtxid, so that a
//! mutated witness cannot make the honest transaction unwelcome. Emptied at every new tip, because a
//! block changes what is acceptable. Rule: `spec/11-mempool.md#rejects`.

use std::collections::{BTreeSet, VecDeque};

use cairn_protocol::hash::Wtxid;

/// A bounded set of wtxids.
#[derive(Clone, Debug)]
pub struct Rejects {
    ids: BTreeSet<Wtxid>,
    arrival: VecDeque<Wtxid>,
    count_max: usize,
}

impl Rejects {
    /// An empty set of at most `count_max` ids.
    pub fn new(count_max: usize) -> Rejects {
        Rejects {
            ids: BTreeSet::new(),
            arrival: VecDeque::new(),
            count_max,
        }
    }

    /// Remembers an id, forgetting the oldest one when full.
    pub fn insert(&mut self, id: Wtxid) {
        if self.count_max == 0 || !self.ids.insert(id) {
            return;
        }
        self.arrival.push_back(id);
        if self.arrival.len() > self.count_max {
            let oldest = self.arrival.pop_front().expect("more than count_max ids");
            self.ids.remove(&oldest);
        }
    }

    /// Whether the id was refused.
    pub fn contains(&self, id: &Wtxid) -> bool {
        self.ids.contains(id)
    }

    /// How many ids are remembered.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.arrival.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_oldest_first() {
        let id = |n: u8| Wtxid([n; 32]);
        let mut rejects = Rejects::new(3);
        for n in [1, 2, 2, 3, 4] {
            rejects.insert(id(n));
        }
        assert_eq!(rejects.len(), 3);
        assert!(!rejects.contains(&id(1)));
        assert!(rejects.contains(&id(2)) && rejects.contains(&id(4)));
        rejects.clear();
        assert!(rejects.len() == 0 && !rejects.contains(&id(4)));
    }
}
