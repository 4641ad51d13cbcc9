//! Work for foreign miners: a block without nonce, and the forms in which Stratum cuts it up.
//!
//! ```text
//!  coinbase = coinb1 (12 bytes) | extranonce1 (8) | extranonce2 (8) | coinb2 (the outputs)
//!  root     = H2( H2( H2(coinbase) | extension_hash ) | tx_root )
//! ```
//!
//! Invariant: the header that [`Work::header`] builds is the one that a miner builds from the same
//! notify, byte for byte. Rules: `spec/14-mining.md#notify`.

use cairn_protocol::block::block_root;
use cairn_protocol::coinbase::{Coinbase, EXTRA_NONCE_BYTES, EXTRA_NONCE_OFFSET};
use cairn_protocol::hash::{BlockId, Hash, TxId, h2};
use cairn_protocol::header::Header;
use cairn_protocol::lock::Lock;
use cairn_protocol::pow::PowFunction;
use ruint::aliases::U256;
use serde_json::{Value, json};

use super::difficulty::Difficulty;

/// Bytes of extranonce1, which the node chooses, and of extranonce2, which the miner rolls.
pub(super) const EXTRA_NONCE_HALF: usize = EXTRA_NONCE_BYTES / 2;
/// Where extranonce1 ends in the coinbase.
const EXTRA_NONCE_MIDDLE: usize = EXTRA_NONCE_OFFSET + EXTRA_NONCE_HALF;
/// Where the outputs begin.
const EXTRA_NONCE_END: usize = EXTRA_NONCE_OFFSET + EXTRA_NONCE_BYTES;

/// One block that waits for its nonce; who is paid is left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Its number: unique in the node's life.
    pub number: u64,
    /// Its header; root and nonce are not set.
    pub header: Header,
    /// Its coinbase; extra-nonce and the output's lock are not set.
    pub coinbase: Coinbase,
    /// Hash of its extension.
    pub extension_hash: Hash,
    /// Root over its transactions.
    pub tx_root: Hash,
    /// The highest digest that solves it.
    pub target: U256,
}

impl Work {
    /// The difficulty above which a miner would throw blocks away.
    pub fn difficulty(&self) -> Difficulty {
        Difficulty::of_network(self.target)
    }

    /// The block it follows.
    pub fn parent(&self) -> BlockId {
        self.header.parent
    }

    /// The coinbase that pays `lock`. A block without a reward pays nobody.
    pub fn coinbase_for(&self, lock: &Lock) -> Coinbase {
        let mut coinbase = self.coinbase.clone();
        for output in &mut coinbase.outputs {
            output.lock = lock.clone();
        }
        coinbase
    }

    /// The header over a coinbase.
    pub fn header(&self, coinbase: &[u8]) -> Header {
        Header {
            root: block_root(&TxId(h2(coinbase)), &self.extension_hash, &self.tx_root),
            ..self.header
        }
    }

    /// Whether a header solves this work.
    pub fn is_solved_by(&self, header: &Header) -> bool {
        digest(header) <= self.target
    }

    /// The parameters of `mining.notify`.
    pub(super) fn notify(&self, id: &str, coinbase: &[u8], clean: bool) -> Value {
        json!([
            id,
            hex::encode(swap_words(self.header.parent.as_bytes())),
            hex::encode(&coinbase[..EXTRA_NONCE_OFFSET]),
            hex::encode(&coinbase[EXTRA_NONCE_END..]),
            [self.extension_hash.to_hex(), self.tx_root.to_hex()],
            format!("{:08x}", self.header.version),
            format!("{:08x}", self.header.bits.0),
            format!("{:08x}", self.header.time),
            clean,
        ])
    }
}

/// A block that a foreign miner found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The number of its work.
    pub work: u64,
    /// Its header, complete.
    pub header: Header,
    /// Its coinbase, complete.
    pub coinbase: Coinbase,
}

/// The double SHA-256 of a header as a number.
pub(super) fn digest(header: &Header) -> U256 {
    PowFunction::Sha256d.digest(&header.to_bytes())
}

/// Writes both halves of the extra-nonce into a coinbase's bytes.
pub(super) fn put_extra_nonce(
    coinbase: &mut [u8],
    first: [u8; EXTRA_NONCE_HALF],
    second: [u8; EXTRA_NONCE_HALF],
) {
    coinbase[EXTRA_NONCE_OFFSET..EXTRA_NONCE_MIDDLE].copy_from_slice(&first);
    coinbase[EXTRA_NONCE_MIDDLE..EXTRA_NONCE_END].copy_from_slice(&second);
}

/// Each 4-byte word turned around: how miners write what they hash as big-endian words.
pub(super) fn swap_words(bytes: &[u8]) -> Vec<u8> {
    bytes
        .chunks(4)
        .flat_map(|word| word.iter().rev().copied())
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use cairn_protocol::hash::KeyHash;
    use cairn_protocol::pow::Bits;
    use cairn_protocol::transaction::Output;
    use cairn_protocol::units::Amount;

    /// Work of no chain, with the bits given.
    pub fn work(number: u64, parent: u8, bits: u32) -> Work {
        let bits = Bits(bits);
        Work {
            number,
            header: Header {
                version: 0x2000_0000,
                parent: BlockId(std::array::from_fn(|i| parent.wrapping_add(i as u8))),
                root: Hash::ZERO,
                time: 1_800_000_000,
                bits,
                nonce: 0,
            },
            coinbase: Coinbase {
                version: 1,
                height: 7,
                extra_nonce: [0; 16],
                outputs: vec![Output {
                    value: Amount(1_000),
                    lock: Lock::Key(KeyHash([0; 32])),
                }],
            },
            extension_hash: Hash([0xaa; 32]),
            tx_root: Hash([0xbb; 32]),
            target: bits.to_target().unwrap(),
        }
    }

    #[test]
    fn a_notify_holds_the_forms_that_miners_expect() {
        let work = work(1, 0, 0x1f00_ffff);
        let coinbase = work.coinbase_for(&Lock::Key(KeyHash([5; 32]))).to_bytes();
        let notify = work.notify("1f", &coinbase, true);
        assert_eq!(notify[0], "1f");
        let swapped = "0302010007060504\
                       0b0a09080f0e0d0c\
                       1312111017161514\
                       1b1a19181f1e1d1c";
        assert_eq!(notify[1], swapped);
        assert_eq!(notify[2], "010000000700000000000000");
        let outputs = notify[3].as_str().unwrap();
        assert!(outputs.contains(&"05".repeat(32)), "{outputs}");
        assert_eq!(notify[4], json!(["aa".repeat(32), "bb".repeat(32)]));
        assert_eq!(notify[5], "20000000");
        assert_eq!(notify[6], "1f00ffff");
        assert_eq!(notify[7], "6b49d200");
        assert_eq!(notify[8], true);
    }

    #[test]
    fn the_two_element_branch_gives_the_blocks_root() {
        let work = work(1, 0, 0x1f00_ffff);
        let mut coinbase = work.coinbase_for(&Lock::Key(KeyHash([5; 32]))).to_bytes();
        put_extra_nonce(&mut coinbase, [1; 8], [2; 8]);
        // As a miner does it: fold the branch over the coinbase's hash.
        let mut root = h2(&coinbase);
        for node in [work.extension_hash, work.tx_root] {
            root = h2(&[root, node.0].concat());
        }
        assert_eq!(work.header(&coinbase).root, Hash(root));
        let read = Coinbase::from_bytes(&coinbase).unwrap();
        assert_eq!(
            read.extra_nonce,
            [1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]
        );
    }
}
