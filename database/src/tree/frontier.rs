//! The right edge of a tree: all that is needed to add leaves and to know the root.
//!
//! Invariant: one hash for each set bit of the size, the largest subtree first.

use super::hash::{EMPTY_ROOT, Hash, node_hash};

/// Bytes of the longest encoding.
pub const FRONTIER_BYTES_MAX: usize = 8 + 64 * 32;

/// The roots of the full subtrees that a tree is made of, left to right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf by its hash.
    pub fn push(&mut self, leaf: Hash) {
        self.push_with(leaf, |_, _, _| ());
    }

    /// Adds a leaf and tells of each node that it completes: level (0 is a leaf), index in the level,
    /// hash.
    pub fn push_with(&mut self, leaf: Hash, mut completed: impl FnMut(u32, u64, &Hash)) {
        let mut hash = leaf;
        completed(0, self.size, &hash);
        for level in 0..self.size.trailing_ones() {
            let left = self.roots.pop().expect("one root for each set bit");
            hash = node_hash(&left, &hash);
            completed(level + 1, self.size >> (level + 1), &hash);
        }
        self.roots.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else {
            return EMPTY_ROOT;
        };
        roots.fold(*last, |right, left| node_hash(left, &right))
    }

    /// Size (u64 LE) and the roots.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_le_bytes().to_vec();
        for root in &self.roots {
            bytes.extend_from_slice(root);
        }
        bytes
    }

    /// From [`Frontier::to_bytes`]; none if the number of roots is not that of the size.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, roots) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_le_bytes(*size);
        let (roots, rest) = roots.as_chunks::<32>();
        let fits = rest.is_empty() && roots.len() as u32 == size.count_ones();
        fits.then(|| Frontier {
            size,
            roots: roots.to_vec(),
        })
    }

    /// The frontier of a tree of `size` leaves, from its nodes (level, index).
    ///
    /// # Errors
    /// Those of `node`.
    pub fn of<E>(size: u64, mut node: impl FnMut(u32, u64) -> Result<Hash, E>) -> Result<Self, E> {
        let levels = (0..u64::BITS).rev();
        let full = levels.filter(|level| size >> level & 1 == 1);
        // Left of the subtree of a level stand all larger ones, and nothing else.
        let roots = full.map(|level| node(level, (size >> level) - 1));
        Ok(Frontier {
            size,
            roots: roots.collect::<Result<_, E>>()?,
        })
    }

    /// The roots of the full subtrees, the largest first.
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_hold_as_many_roots_as_the_size_has_bits() {
        let mut frontier = Frontier::default();
        for leaf in 0..70u8 {
            let bytes = frontier.to_bytes();
            assert_eq!(Frontier::from_bytes(&bytes), Some(frontier.clone()));
            assert_eq!(Frontier::from_bytes(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Frontier::from_bytes(&[&bytes[..], &[0; 32]].concat()), None);
            frontier.push([leaf; 32]);
        }
    }
}
