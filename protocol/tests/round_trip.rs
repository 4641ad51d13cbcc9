//! Every type that travels or is stored: its canonical bytes decode to it, garbage never panics, and
//! whatever decodes encodes to the same bytes (ENC-01 … ENC-03, attack catalogue V15).

use cairn_fixtures::arbitrary;
use cairn_protocol::block::{Attachments, Block, HeaderRecord};
use cairn_protocol::codec::{DecodeError, decode, encode};
use cairn_protocol::coinbase::Coinbase;
use cairn_protocol::extension::Extension;
use cairn_protocol::header::Header;
use cairn_protocol::ledger::{BlockUndo, Coin};
use cairn_protocol::lock::{Lock, Witness};
use cairn_protocol::merkle::TxProof;
use cairn_protocol::state::{EngineState, LedgerState};
use cairn_protocol::transaction::{OutPoint, Output, Transaction};
use cairn_protocol::wire::{CompactBlock, Goodbye, Status, SyncRequest, SyncResponse, TxBatch};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

const ANY_BYTES: usize = 1 << 24;

fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = encode(value);
    assert_eq!(decode::<T>(&bytes, bytes.len()).as_ref(), Ok(value));
    assert!(matches!(
        decode::<T>(&bytes, bytes.len() - 1),
        Err(DecodeError::TooLong { .. })
    ));
    for shorter in [0, bytes.len() / 2, bytes.len() - 1] {
        assert!(decode::<T>(&bytes[..shorter], ANY_BYTES).is_err());
    }
    let mut longer = bytes;
    longer.push(0);
    assert_eq!(
        decode::<T>(&longer, ANY_BYTES),
        Err(DecodeError::NotCanonical)
    );
}

/// What decodes at all is canonical, whatever the bytes are.
fn is_canonical_or_refused<T: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) -> bool {
    match decode::<T>(bytes, ANY_BYTES) {
        Ok(value) => {
            assert_eq!(encode(&value), bytes, "{value:?}");
            true
        }
        Err(_) => false,
    }
}

macro_rules! round_trips {
    ($($test:ident: $type:ty = $strategy:expr;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(96))]
            $(
                #[test]
                fn $test(
                    value in $strategy,
                    flips in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4),
                ) {
                    survives::<$type>(&value);
                    let mut bytes = encode(&value);
                    for (at, flip) in flips {
                        let at = at.index(bytes.len());
                        bytes[at] ^= flip;
                    }
                    is_canonical_or_refused::<$type>(&bytes);
                }
            )*
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(2_000))]
            #[test]
            fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
                $(is_canonical_or_refused::<$type>(&bytes);)*
            }

            /// Small bytes reach deeper: most tags and lengths are small.
            #[test]
            fn garbage_of_small_bytes_never_panics(
                bytes in proptest::collection::vec(0u8..6, 0..700)
            ) {
                $(is_canonical_or_refused::<$type>(&bytes);)*
            }
        }
    };
}

round_trips! {
    header: Header = arbitrary::header();
    extension: Extension = arbitrary::extension();
    coinbase: Coinbase = arbitrary::coinbase();
    attachments: Attachments = arbitrary::attachments();
    outpoint: OutPoint = arbitrary::outpoint();
    lock: Lock = arbitrary::lock();
    output: Output = arbitrary::output();
    witness: Witness = arbitrary::witness();
    transaction: Transaction = arbitrary::transaction();
    block: Block = arbitrary::block();
    header_record: HeaderRecord = arbitrary::header_record();
    coin: Coin = arbitrary::coin();
    engine_state: EngineState = arbitrary::engine_state();
    ledger_state: LedgerState = arbitrary::ledger_state();
    block_undo: BlockUndo = arbitrary::block_undo();
    tx_proof: TxProof = arbitrary::tx_proof();
    compact_block: CompactBlock = arbitrary::compact_block();
    status: Status = arbitrary::status();
    goodbye: Goodbye = arbitrary::goodbye();
    sync_request: SyncRequest = arbitrary::sync_request();
    sync_response: SyncResponse = arbitrary::sync_response();
    tx_batch: TxBatch = arbitrary::tx_batch();
}

proptest! {
    /// A coin's row key has the order of outpoints and reads back.
    #[test]
    fn row_keys_keep_the_order(a in arbitrary::outpoint(), b in arbitrary::outpoint()) {
        prop_assert_eq!(OutPoint::from_key(&a.to_key()), a);
        prop_assert_eq!(a.cmp(&b), a.to_key().cmp(&b.to_key()));
    }

    /// The ids and the weight come from the very bytes that travel.
    #[test]
    fn ids_agree_with_the_encoding(tx in arbitrary::transaction()) {
        let (ids, bytes, body) = (tx.ids(), encode(&tx), tx.body_bytes());
        prop_assert_eq!(ids.bytes as usize, bytes.len());
        prop_assert!(bytes.starts_with(&body));
        prop_assert_eq!(ids.weight as usize, 4 * body.len() + (bytes.len() - body.len()));
        prop_assert_eq!(ids.txid, tx.txid());
        let mut stripped = tx.clone();
        stripped.witnesses.clear();
        prop_assert_eq!(stripped.txid(), ids.txid);
        prop_assert_eq!(stripped.wtxid() == ids.wtxid, tx.witnesses.is_empty());
    }

    /// Texts of hashes and amounts read back.
    #[test]
    fn texts_read_back(bytes in arbitrary::bytes32(), pebbles in any::<u64>()) {
        use cairn_protocol::{hash::BlockId, units::Amount};
        prop_assert_eq!(BlockId(bytes).to_hex().parse::<BlockId>().unwrap(), BlockId(bytes));
        prop_assert_eq!(Amount::parse_crn(&Amount(pebbles).to_crn()), Ok(Amount(pebbles)));
    }
}
