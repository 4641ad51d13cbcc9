//! What a miner is given and what it gives back.
//!
//! A [`Template`] spans a search space of 64-bit positions: the low 32 bits are the header's nonce,
//! the high 32 bits are written (little-endian) into the last four bytes of the coinbase's 16-byte
//! extra-nonce; the first twelve are the caller's, so that many searchers of one chain tip never
//! overlap. Invariant: the root of every header made here commits to the coinbase made with it:
//! `root = H2(H2(coinbase_id || extension_hash) || tx_root)` (`spec/05-blocks-and-state.md#header-root`).

use std::ops::Range;

use ruint::aliases::U256;

use cairn_protocol::hash::h2;
use cairn_protocol::pow::PowFunction;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 80;
/// Where the extra-nonce stands in the coinbase's bytes.
pub const EXTRA_NONCE: Range<usize> = 12..28;
/// The part of the extra-nonce that the search rolls.
const ROLLED: Range<usize> = 24..28;
/// Where the root stands in the header.
const ROOT: Range<usize> = 36..68;
/// Where the nonce stands in the header.
const NONCE: Range<usize> = 76..80;

/// A block waiting for its nonce, as the bytes that the search needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    header: [u8; HEADER_BYTES],
    coinbase: Vec<u8>,
    extension_hash: [u8; 32],
    tx_root: [u8; 32],
    target: U256,
    function: PowFunction,
}

/// Why bytes are no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The coinbase ends before its extra-nonce does.
    #[error("coinbase of {bytes} bytes ends before its extra-nonce does at byte {}", EXTRA_NONCE.end)]
    CoinbaseTooShort {
        /// Bytes of the coinbase given.
        bytes: usize,
    },
}

impl Template {
    /// A template over a header whose root and nonce will be overwritten.
    pub fn new(
        header: [u8; HEADER_BYTES],
        coinbase: Vec<u8>,
        extension_hash: [u8; 32],
        tx_root: [u8; 32],
        target: U256,
        function: PowFunction,
    ) -> Result<Self, TemplateError> {
        if coinbase.len() < EXTRA_NONCE.end {
            return Err(TemplateError::CoinbaseTooShort {
                bytes: coinbase.len(),
            });
        }
        Ok(Self {
            header,
            coinbase,
            extension_hash,
            tx_root,
            target,
            function,
        })
    }

    /// The highest digest that solves this template.
    pub fn target(&self) -> U256 {
        self.target
    }

    /// The function that hashes the header.
    pub fn function(&self) -> PowFunction {
        self.function
    }

    /// The coinbase of all positions whose high half is `extra`.
    pub fn coinbase_at(&self, extra: u32) -> Vec<u8> {
        let mut coinbase = self.coinbase.clone();
        coinbase[ROLLED].copy_from_slice(&extra.to_le_bytes());
        coinbase
    }

    /// The complete header of one position.
    pub fn header_at(&self, position: u64) -> [u8; HEADER_BYTES] {
        with_nonce(self.header_of((position >> 32) as u32), position as u32)
    }

    /// The header of all positions whose high half is `extra`; its nonce is not set.
    pub(crate) fn header_of(&self, extra: u32) -> [u8; HEADER_BYTES] {
        let coinbase_id = h2(&self.coinbase_at(extra));
        let inner = h2(&[coinbase_id, self.extension_hash].concat());
        let root = h2(&[inner, self.tx_root].concat());
        let mut header = self.header;
        header[ROOT].copy_from_slice(&root);
        header
    }

    /// The solution at a position that is known to solve.
    pub(crate) fn solution(&self, position: u64) -> Solution {
        let header = self.header_at(position);
        Solution {
            header,
            coinbase: self.coinbase_at((position >> 32) as u32),
            position,
            digest: self.function.digest(&header),
        }
    }
}

/// The header with its nonce replaced.
pub(crate) fn with_nonce(mut header: [u8; HEADER_BYTES], nonce: u32) -> [u8; HEADER_BYTES] {
    header[NONCE].copy_from_slice(&nonce.to_le_bytes());
    header
}

/// A solved template: put these bytes into the block and it is valid work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// The complete header.
    pub header: [u8; HEADER_BYTES],
    /// The coinbase that the header's root commits to.
    pub coinbase: Vec<u8>,
    /// The position in the search space: rolled extra-nonce above nonce.
    pub position: u64,
    /// The digest, at or below the target.
    pub digest: U256,
}

impl Solution {
    /// The header's nonce.
    pub fn nonce(&self) -> u32 {
        self.position as u32
    }

    /// The coinbase's whole extra-nonce.
    pub fn extra_nonce(&self) -> [u8; 16] {
        self.coinbase[EXTRA_NONCE]
            .try_into()
            .expect("a template's coinbase holds 16 such bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(coinbase: Vec<u8>) -> Result<Template, TemplateError> {
        Template::new(
            [7; 80],
            coinbase,
            [1; 32],
            [2; 32],
            U256::MAX,
            PowFunction::Sha256d,
        )
    }

    #[test]
    fn a_coinbase_must_hold_its_extra_nonce() {
        assert_eq!(
            template(vec![0; 27]).unwrap_err().to_string(),
            "coinbase of 27 bytes ends before its extra-nonce does at byte 28"
        );
        assert!(template(vec![0; 28]).is_ok());
    }

    #[test]
    fn a_position_sets_the_nonce_and_the_rolled_bytes_only() {
        let template = template(vec![9; 40]).unwrap();
        let position = 0x0403_0201_ddcc_bbaa;
        let coinbase = template.coinbase_at(0x0403_0201);
        assert_eq!(coinbase[..24], [9; 24]);
        assert_eq!(coinbase[24..28], [1, 2, 3, 4]);
        assert_eq!(coinbase[28..], [9; 12]);

        let header = template.header_at(position);
        assert_eq!(header[..36], [7; 36]);
        assert_eq!(header[68..76], [7; 8]);
        assert_eq!(header[76..], [0xaa, 0xbb, 0xcc, 0xdd]);
        let pair = |left: [u8; 32], right: [u8; 32]| {
            h2(&left.into_iter().chain(right).collect::<Vec<_>>())
        };
        assert_eq!(header[36..68], pair(pair(h2(&coinbase), [1; 32]), [2; 32]));
    }

    #[test]
    fn a_solution_carries_what_its_header_commits_to() {
        let template = template(vec![0; 28]).unwrap();
        let solution = template.solution(5 << 32 | 3);
        assert_eq!(solution.nonce(), 3);
        assert_eq!(
            solution.extra_nonce(),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0]
        );
        assert_eq!(solution.header, template.header_at(solution.position));
        assert_eq!(solution.digest, U256::from_le_bytes(h2(&solution.header)));
    }
}
