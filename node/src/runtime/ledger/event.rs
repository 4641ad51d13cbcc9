//! What the ledger tells the rest of the node.

use cairn_protocol::hash::TxId;

/// One event, after the snapshot and the view that it speaks of were published. Events come in the
/// order in which the chain moved.
#[derive(Clone, Copy, Debug)]
pub enum LedgerEvent {
    /// The chain has come to rest at another tip, or at the same one after a reorganisation.
    TipChanged,
    /// A transaction entered the mempool.
    TransactionAdded {
        /// Its id.
        txid: TxId,
    },
    /// A transaction that waited for its parents entered the mempool: nobody was told of it when it
    /// came. Follows its `TransactionAdded`.
    OrphanAdmitted {
        /// Its id.
        txid: TxId,
    },
    /// A block was found invalid when it was to be connected.
    InvalidBlock {
        /// Number of the peer that sent it, which is at fault; 0 is this node.
        source: u64,
    },
}
