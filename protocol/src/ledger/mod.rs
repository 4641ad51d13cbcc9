//! The ledger's rules as pure functions over a view of coins.
//!
//! Invariant: a verdict depends on the block, the state after its parent and the coins alone.
//! Rules: `spec/04-transactions.md`, `spec/05-blocks-and-state.md`.

mod check;
mod coin;
mod connect;
mod evidence;
mod spend;
mod store;

pub use check::{CheckedBlock, check_engine_frame, check_frame, check_output, check_transaction};
pub use coin::{Coin, CoinView, Fault};
pub use connect::{
    BlockUndo, CoinChanges, ConnectError, Connected, Disconnected, connect_block, disconnect_block,
};
pub use evidence::check_evidence;
pub use spend::{Spend, SpendContext, check_spend, spent_coins};
pub use store::{BlockStore, StoredHeader};
