//! The tree over a block's transactions.
//!
//! Invariant: leaf, node and root have their own domains and the root commits to the count, so no
//! two lists of transactions have one root (CVE-2012-2459 and 64-byte transactions cannot happen).
//! Rules: `spec/05-blocks-and-state.md#transaction-root`.

use crate::hash::{self, Hash, TxId, Wtxid};
use serde::{Deserialize, Serialize};

/// Hash of one transaction's leaf.
pub fn leaf(txid: &TxId, wtxid: &Wtxid) -> [u8; 32] {
    hash::TX_LEAF.hash(&[txid.as_ref(), wtxid.as_ref()])
}

fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    hash::TX_NODE.hash(&[left, right])
}

fn root_of_top(count: u32, top: &[u8; 32]) -> Hash {
    Hash(hash::TX_ROOT.hash(&[&count.to_le_bytes(), top]))
}

/// The level above `level`: pairs are hashed, an odd last node is promoted as it is.
fn parents(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let (pairs, odd) = level.as_chunks::<2>();
    let mut above: Vec<_> = pairs
        .iter()
        .map(|[left, right]| node(left, right))
        .collect();
    above.extend_from_slice(odd);
    above
}

/// The root over `ids` in block order; the coinbase is not among them.
pub fn tx_root<'a>(ids: impl IntoIterator<Item = (&'a TxId, &'a Wtxid)>) -> Hash {
    let mut level: Vec<_> = ids
        .into_iter()
        .map(|(txid, wtxid)| leaf(txid, wtxid))
        .collect();
    let count = u32::try_from(level.len()).expect("transactions of a block are bounded");
    while level.len() > 1 {
        level = parents(&level);
    }
    root_of_top(count, level.first().unwrap_or(&[0; 32]))
}

/// The way from one transaction to the root.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TxProof {
    /// Transactions in the block.
    pub count: u32,
    /// Index of this one.
    pub index: u32,
    /// Siblings from the leaf upward; a promoted node has none.
    #[serde(deserialize_with = "crate::codec::bounded::<_, _, 32>")]
    pub siblings: Vec<Hash>,
}

/// The proof of transaction `index`, or `None` if there is no such one.
pub fn prove(ids: &[(TxId, Wtxid)], index: usize) -> Option<TxProof> {
    let mut level: Vec<_> = ids.iter().map(|(txid, wtxid)| leaf(txid, wtxid)).collect();
    let (count, at) = (u32::try_from(level.len()).ok()?, u32::try_from(index).ok()?);
    level.get(index)?;
    let (mut siblings, mut position) = (Vec::new(), index);
    while level.len() > 1 {
        if let Some(sibling) = level.get(position ^ 1) {
            siblings.push(Hash(*sibling));
        }
        position /= 2;
        level = parents(&level);
    }
    Some(TxProof {
        count,
        index: at,
        siblings,
    })
}

/// The root that `proof` leads to from a transaction; `None` if the proof has a wrong shape.
pub fn root_of_proof(proof: &TxProof, txid: &TxId, wtxid: &Wtxid) -> Option<Hash> {
    if proof.index >= proof.count {
        return None;
    }
    let mut hash = leaf(txid, wtxid);
    let (mut position, mut width) = (proof.index, proof.count);
    let mut siblings = proof.siblings.iter();
    while width > 1 {
        if position ^ 1 < width {
            let sibling = &siblings.next()?.0;
            hash = if position % 2 == 0 {
                node(&hash, sibling)
            } else {
                node(sibling, &hash)
            };
        }
        position /= 2;
        width = width.div_ceil(2);
    }
    siblings
        .next()
        .is_none()
        .then(|| root_of_top(proof.count, &hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(n: u8) -> Vec<(TxId, Wtxid)> {
        (0..n)
            .map(|i| (TxId([i; 32]), Wtxid([i ^ 0xff; 32])))
            .collect()
    }

    fn root(ids: &[(TxId, Wtxid)]) -> Hash {
        tx_root(ids.iter().map(|(t, w)| (t, w)))
    }

    #[test]
    fn every_transaction_has_a_proof_and_only_it() {
        for n in 1..20 {
            let ids = ids(n);
            for i in 0..n as usize {
                let proof = prove(&ids, i).unwrap();
                assert_eq!(
                    root_of_proof(&proof, &ids[i].0, &ids[i].1),
                    Some(root(&ids))
                );
                assert_ne!(
                    root_of_proof(&proof, &TxId([99; 32]), &ids[i].1),
                    Some(root(&ids))
                );
                let mut longer = proof.clone();
                longer.siblings.push(Hash::ZERO);
                assert_eq!(root_of_proof(&longer, &ids[i].0, &ids[i].1), None);
            }
            assert_eq!(prove(&ids, n as usize), None);
        }
    }

    /// Attack catalogue V08: a duplicated tail has another root.
    #[test]
    fn duplicated_tails_have_other_roots() {
        for n in 1..16 {
            let ids = ids(n);
            for tail in 1..=n as usize {
                let mut longer = ids.clone();
                longer.extend_from_slice(&ids[n as usize - tail..]);
                assert_ne!(root(&ids), root(&longer));
            }
        }
    }
}
