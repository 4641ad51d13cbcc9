//! A miner that withholds its blocks (attack row H08): its share of the chain under our tie rule,
//! first seen wins.
//!
//! Honest miners are of two groups: in a race of two equal branches, one group hears the honest
//! block first and the other the attacker's. Each group mines on what the production header tree
//! says. The attacker follows Eyal and Sirer ("Majority is not enough", 2013), whose closed form
//! the measurement is compared with.

use std::collections::BTreeMap;

use cairn_consensus::nakamoto::{HeaderTree, Index};
use cairn_protocol::hash::{BlockId, Hash};
use cairn_protocol::header::{HEADER_VERSION, Header};
use cairn_protocol::pow::{Bits, Work};

use crate::rng::Rng;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Blocks found in all.
    pub found: u64,
    /// Blocks of the chain that won.
    pub chain: u64,
    /// The attacker's among them.
    pub hostile: u64,
}

impl Measured {
    /// The attacker's share of the chain.
    #[must_use]
    pub fn revenue(&self) -> f64 {
        self.hostile as f64 / self.chain as f64
    }

    /// Share of blocks that are not on the chain.
    #[must_use]
    pub fn stale(&self) -> f64 {
        1.0 - self.chain as f64 / self.found as f64
    }
}

/// The closed form for a share `a` of the hash rate when a share `g` of the honest miners hears the
/// attacker first.
#[must_use]
pub fn expected_revenue(a: f64, g: f64) -> f64 {
    (a * (1.0 - a).powi(2) * (4.0 * a + g * (1.0 - 2.0 * a)) - a.powi(3))
        / (1.0 - a * (1.0 + (2.0 - a) * a))
}

/// Two views of one public tree that differ in what came first.
struct Public {
    hears_honest_first: HeaderTree,
    hears_attacker_first: HeaderTree,
    hostile: BTreeMap<BlockId, bool>,
}

/// A block as both trees take it.
#[derive(Clone, Copy)]
struct Found {
    id: BlockId,
    parent: BlockId,
    hostile: bool,
}

impl Public {
    fn new() -> Public {
        let tree = HeaderTree::new(BlockId::ZERO, &header(BlockId::ZERO));
        Public {
            hears_honest_first: tree.clone(),
            hears_attacker_first: tree,
            hostile: BTreeMap::new(),
        }
    }

    /// Publishes blocks that meet on the wire: each group sees its own side first.
    fn publish(&mut self, honest: &[Found], attacker: &[Found]) {
        for (tree, order) in [
            (&mut self.hears_honest_first, [honest, attacker]),
            (&mut self.hears_attacker_first, [attacker, honest]),
        ] {
            for found in order.into_iter().flatten() {
                let parent = tree
                    .find(&found.parent)
                    .expect("parents are published first");
                let index = tree.insert(found.id, &header(found.parent), Work::from(1u8), parent);
                tree.body_stored(index.expect("little work"));
            }
        }
        for found in honest.iter().chain(attacker) {
            self.hostile.insert(found.id, found.hostile);
        }
    }

    fn tip(&self, hears_attacker_first: bool) -> (BlockId, u64) {
        let tree = if hears_attacker_first {
            &self.hears_attacker_first
        } else {
            &self.hears_honest_first
        };
        let entry = tree.entry(tree.best_candidate());
        (entry.id, entry.height)
    }
}

fn header(parent: BlockId) -> Header {
    Header {
        version: HEADER_VERSION,
        parent,
        root: Hash::ZERO,
        time: 0,
        bits: Bits(0x207f_ffff),
        nonce: 0,
    }
}

/// Mines `blocks` blocks with the attacker at `power_per_mille`; `first_per_mille` of the honest
/// hear it first in a race.
#[must_use]
pub fn measure(seed: u64, blocks: u64, power_per_mille: u64, first_per_mille: u64) -> Measured {
    let mut rng = Rng::new(seed);
    let mut public = Public::new();
    let mut private: Vec<Found> = Vec::new();
    // Height of the block below the private branch, and of its published part.
    let (mut base, mut base_height, mut published) = (BlockId::ZERO, 0, 0);
    for number in 1..=blocks {
        let mut id = BlockId::ZERO;
        id.0[..8].copy_from_slice(&number.to_le_bytes());
        if rng.chance(power_per_mille) {
            let parent = private.last().map_or(base, |found| found.id);
            private.push(Found {
                id,
                parent,
                hostile: true,
            });
            let racing = published > 0 && published == private.len() - 1 && published == 1;
            if racing {
                // Its own block decides the race.
                public.publish(&[], &private[published..]);
                (base, base_height) = (id, base_height + private.len() as u64);
                (private, published) = (Vec::new(), 0);
            }
            continue;
        }
        let group = rng.chance(first_per_mille);
        let (parent, height) = public.tip(group);
        let honest = Found {
            id,
            parent,
            hostile: false,
        };
        let height = height + 1;
        let private_height = base_height + private.len() as u64;
        let lead = private_height as i64 - height as i64;
        let reveal = match lead {
            // Equal: race. One ahead: take all. More: match the public branch.
            0 | 1 => private.len(),
            more if more > 1 => (height - base_height) as usize,
            _ => published,
        };
        public.publish(&[honest], &private[published.min(reveal)..reveal]);
        published = reveal.max(published);
        if lead < 0 {
            (base, base_height) = (id, height);
            (private, published) = (Vec::new(), 0);
        } else if lead == 1 {
            (base, base_height) = (private.last().expect("ahead by one").id, private_height);
            (private, published) = (Vec::new(), 0);
        }
    }
    public.publish(&[], &private[published..]);
    count(&public, blocks)
}

fn count(public: &Public, found: u64) -> Measured {
    let tree = &public.hears_honest_first;
    let (mut at, mut chain, mut hostile) = (tree.best_candidate(), 0, 0);
    while at != Index::GENESIS {
        chain += 1;
        hostile += u64::from(public.hostile[&tree.entry(at).id]);
        at = tree.parent(at).expect("not genesis");
    }
    Measured {
        found,
        chain,
        hostile,
    }
}
