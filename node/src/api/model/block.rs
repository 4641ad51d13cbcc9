//! Blocks, headers, seals.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::Pebbles;
use super::hash::{Hash32, HexBytes};
use super::transaction::TransactionOutput;

/// How a caller names a block of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockRef {
    /// By height on the main chain.
    Height(u64),
    /// By id, on the main chain or off it.
    Id(Hash32),
}

impl BlockRef {
    /// Reads a height (decimal digits) or an id (64 hex digits).
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() == 64 {
            return text.parse().ok().map(Self::Id);
        }
        let is_decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        is_decimal
            .then(|| text.parse().ok().map(Self::Height))
            .flatten()
    }
}

/// A place on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChainPoint {
    /// Its height.
    pub height: u64,
    /// The block there.
    pub id: Hash32,
}

/// A block in lists and events: what its header's row knows, so that a list reads no body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockSummary {
    /// Block id: double SHA-256 of the header.
    pub id: Hash32,
    /// Its height.
    pub height: u64,
    /// The block before it.
    pub parent: Hash32,
    /// Unix time in seconds, as its header says.
    pub time: u32,
    /// The engine that ordered it: pow, pbft, pos or dpos.
    pub engine: String,
    /// Number of transactions, the coinbase not counted.
    pub transactions: u64,
    /// Whether it can no longer be reorganised away.
    pub finalized: bool,
    /// Bytes of the whole block.
    pub bytes: u64,
}

/// One block in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockDetail {
    /// What lists show too.
    #[serde(flatten)]
    pub summary: BlockSummary,
    /// Weight of the whole block.
    pub weight: u64,
    /// Sum of the fees.
    pub fees: Pebbles,
    /// Whether it is on the main chain.
    pub main_chain: bool,
    /// Blocks on top of it, itself included; 0 off the main chain.
    pub confirmations: u64,
    /// The block after it on the main chain.
    pub next: Option<Hash32>,
    /// Header version.
    pub version: u32,
    /// Compact target.
    pub bits: u32,
    /// Nonce.
    pub nonce: u32,
    /// Root that the header commits to.
    pub root: Hash32,
    /// Commitment of the state after its parent.
    pub state_root: Hash32,
    /// Work of the chain up to it, as a hexadecimal number.
    pub total_work: String,
    /// The coinbase's id.
    pub coinbase: Hash32,
    /// What the coinbase pays.
    pub coinbase_outputs: Vec<TransactionOutput>,
    /// Ids of its transactions in block order, without the coinbase.
    pub txids: Vec<Hash32>,
}

/// A page of blocks, highest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockPage {
    /// The blocks.
    pub blocks: Vec<BlockSummary>,
    /// Pass as `before` to go on; none at the end of the chain.
    pub next_before: Option<u64>,
}

/// A header record: what header sync carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeaderItem {
    /// Block id.
    pub id: Hash32,
    /// Its height.
    pub height: u64,
    /// The block before it.
    pub parent: Hash32,
    /// Unix time in seconds.
    pub time: u32,
    /// Header version.
    pub version: u32,
    /// Compact target.
    pub bits: u32,
    /// Nonce.
    pub nonce: u32,
    /// Root that the header commits to.
    pub root: Hash32,
    /// The coinbase's id.
    pub coinbase: Hash32,
    /// Root over the transactions without the coinbase.
    pub tx_root: Hash32,
    /// Commitment of the state after its parent.
    pub state_root: Hash32,
    /// The header's 80 bytes.
    pub header: HexBytes,
    /// The whole HeaderRecord in its canonical encoding.
    pub hex: HexBytes,
}

/// A page of headers, lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeaderPage {
    /// The headers.
    pub headers: Vec<HeaderItem>,
    /// Pass as `from` to go on; none at the tip.
    pub next_from: Option<u64>,
}

/// The certificate of a block ordered by a vote, with the set that signed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlockSeal {
    /// Block id.
    pub id: Hash32,
    /// Its height.
    pub height: u64,
    /// The instance that decided it, as its signatures name it.
    pub instance: u64,
    /// The rules of that instance, likewise.
    pub ruleset_id: Hash32,
    /// The certificate's canonical bytes.
    pub certificate_hex: HexBytes,
    /// The certificate decoded.
    pub certificate: serde_json::Value,
    /// The validator set's canonical bytes.
    pub validator_set_hex: HexBytes,
    /// The validator set decoded.
    pub validator_set: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_named_by_height_or_id() {
        assert_eq!(BlockRef::parse("0"), Some(BlockRef::Height(0)));
        assert_eq!(
            BlockRef::parse("18446744073709551615"),
            Some(BlockRef::Height(u64::MAX))
        );
        let digits = "1".repeat(64);
        assert_eq!(
            BlockRef::parse(&digits),
            Some(BlockRef::Id(Hash32([0x11; 32])))
        );
        for bad in [
            "",
            "-1",
            "+1",
            "1.0",
            "tip",
            "18446744073709551616",
            "0x1",
            &"g".repeat(64),
        ] {
            assert_eq!(BlockRef::parse(bad), None, "{bad}");
        }
    }
}
