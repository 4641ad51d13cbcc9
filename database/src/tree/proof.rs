//! Proofs that a leaf is in a tree and that one tree begins with another (RFC 6962 section 2.1;
//! verification as in RFC 9162 sections 2.1.3.2 and 2.1.4.2).
//!
//! Invariant: a proof is exactly as long as its numbers demand; a verifier takes no other.

use super::hash::{Hash, node_hash};

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf or the older size lies outside the tree.
    #[error("{what} {value} is outside a tree of {size} leaves")]
    Outside {
        /// "leaf" or "size".
        what: &'static str,
        /// What was given.
        value: u64,
        /// The size of the tree.
        size: u64,
    },
    /// It has too many or too few hashes.
    #[error("the proof has {found} hashes, {expected} are needed")]
    Length {
        /// Number of hashes.
        found: usize,
        /// Number that the sizes demand.
        expected: usize,
    },
    /// The hashes lead to another root.
    #[error("the proof leads to another {0} root")]
    Root(&'static str),
}

/// The nodes of a tree, by level (0 is a leaf) and index: full subtrees only.
pub type Nodes<'a, E> = dyn FnMut(u32, u64) -> Result<Hash, E> + 'a;

/// Proof that leaf `index` is in the tree of `size` leaves, from its nodes.
///
/// # Errors
/// Those of `nodes`. An index outside the tree gives an empty proof, which nobody accepts.
pub fn inclusion_proof<E>(index: u64, size: u64, nodes: &mut Nodes<'_, E>) -> Result<Vec<Hash>, E> {
    let mut proof = Vec::new();
    let (mut low, mut high) = (0, size);
    while index < size && high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(range_root(middle, high, nodes)?);
            high = middle;
        } else {
            proof.push(range_root(low, middle, nodes)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proof that the tree of `old` leaves is the beginning of that of `size`, from its nodes.
///
/// # Errors
/// Those of `nodes`. An `old` outside 1 to `size` gives an empty proof.
pub fn consistency_proof<E>(old: u64, size: u64, nodes: &mut Nodes<'_, E>) -> Result<Vec<Hash>, E> {
    let mut proof = Vec::new();
    if old == 0 || old >= size {
        return Ok(proof);
    }
    let (mut low, mut high) = (0, size);
    let mut whole = true;
    while old != high {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(range_root(middle, high, nodes)?);
            high = middle;
        } else {
            proof.push(range_root(low, middle, nodes)?);
            low = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range_root(low, high, nodes)?);
    }
    proof.reverse();
    Ok(proof)
}

/// [`inclusion_proof`] over leaf hashes in memory.
pub fn prove_inclusion(index: u64, leaves: &[Hash]) -> Vec<Hash> {
    let Ok(proof) = inclusion_proof(index, leaves.len() as u64, &mut in_memory(leaves));
    proof
}

/// [`consistency_proof`] over leaf hashes in memory.
pub fn prove_consistency(old: u64, leaves: &[Hash]) -> Vec<Hash> {
    let Ok(proof) = consistency_proof(old, leaves.len() as u64, &mut in_memory(leaves));
    proof
}

fn in_memory(leaves: &[Hash]) -> impl FnMut(u32, u64) -> Result<Hash, std::convert::Infallible> {
    |level, index| {
        let low = (index << level) as usize;
        Ok(super::root_of(&leaves[low..low + (1 << level)]))
    }
}

/// Checks that `leaf` is leaf `index` of the tree with `size` leaves and the given root.
///
/// # Errors
/// What does not hold.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Outside {
            what: "leaf",
            value: index,
            size,
        });
    }
    let (inner, border) = path_lengths(index, size);
    check_length(proof, inner + border)?;
    let (inner, border) = proof.split_at(inner);
    let hash = climb(*leaf, index, inner);
    let found = border
        .iter()
        .fold(hash, |hash, left| node_hash(left, &hash));
    expect_root(&found, root, "tree's")
}

/// Checks that the tree with `size` leaves and `root` begins with that of `old` leaves and `old_root`.
///
/// # Errors
/// What does not hold.
pub fn verify_consistency(
    old: u64,
    size: u64,
    old_root: &Hash,
    root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old == 0 || old > size {
        return Err(ProofError::Outside {
            what: "size",
            value: old,
            size,
        });
    }
    if old == size {
        check_length(proof, 0)?;
        return expect_root(old_root, root, "tree's");
    }
    // The proof runs from the last full subtree of the old tree. If that is the whole old tree, its
    // root is known and not in the proof.
    let (inner, border) = path_lengths(old - 1, size);
    let shift = old.trailing_zeros() as usize;
    let whole = old.is_power_of_two();
    let inner = inner - shift;
    check_length(proof, usize::from(!whole) + inner + border)?;
    let (seed, path) = if whole {
        (*old_root, proof)
    } else {
        (proof[0], &proof[1..])
    };
    let (inner, border) = path.split_at(inner);
    let position = (old - 1) >> shift;
    let lefts = inner.iter().enumerate();
    let lefts = lefts.filter(|(level, _)| position >> level & 1 == 1);
    let found_old = lefts
        .map(|(_, left)| left)
        .chain(border)
        .fold(seed, |hash, left| node_hash(left, &hash));
    expect_root(&found_old, old_root, "older tree's")?;
    let hash = climb(seed, position, inner);
    let found = border
        .iter()
        .fold(hash, |hash, left| node_hash(left, &hash));
    expect_root(&found, root, "tree's")
}

fn climb(mut hash: Hash, index: u64, siblings: &[Hash]) -> Hash {
    for (level, sibling) in siblings.iter().enumerate() {
        hash = if index >> level & 1 == 0 {
            node_hash(&hash, sibling)
        } else {
            node_hash(sibling, &hash)
        };
    }
    hash
}

/// Hashes of a path below and above the level at which the leaf's way joins the right edge.
fn path_lengths(index: u64, size: u64) -> (usize, usize) {
    let inner = (u64::BITS - (index ^ (size - 1)).leading_zeros()) as usize;
    let border = index.checked_shr(inner as u32).unwrap_or(0).count_ones() as usize;
    (inner, border)
}

fn check_length(proof: &[Hash], expected: usize) -> Result<(), ProofError> {
    if proof.len() != expected {
        return Err(ProofError::Length {
            found: proof.len(),
            expected,
        });
    }
    Ok(())
}

fn expect_root(found: &Hash, root: &Hash, whose: &'static str) -> Result<(), ProofError> {
    if found != root {
        return Err(ProofError::Root(whose));
    }
    Ok(())
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// The root over leaves `low..high`; `low` is a multiple of the power of two at or above the length.
fn range_root<E>(low: u64, high: u64, nodes: &mut Nodes<'_, E>) -> Result<Hash, E> {
    let mut parts = Vec::new();
    let mut at = low;
    while at < high {
        let level = u64::BITS - 1 - (high - at).leading_zeros();
        parts.push(nodes(level, at >> level)?);
        at += 1 << level;
    }
    let last = parts.pop().expect("a range of a proof has leaves");
    Ok(parts
        .iter()
        .rev()
        .fold(last, |right, left| node_hash(left, &right)))
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
