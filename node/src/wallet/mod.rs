//! The wallet: words to keys, keys to addresses, coins to payments.
//!
//! ```text
//!  words ─▶ seed ─▶ KeyRing ─▶ addresses ──┐
//!  (24, BIP-39)     (SLIP-0010)            ▼
//!   keystore.json (sealed)     wallet.json: addresses, labels, payments sent
//!                                          │
//!                NodeClient (HTTP) ◀───────┴──▶ balance, history, coins ─▶ selection ─▶ payment
//! ```
//!
//! Invariants of the folder:
//! * the wallet knows a node only by its HTTP interface; it never opens a node's files;
//! * everything that needs no signature needs no password: addresses are kept in `wallet.json`,
//!   because hardened derivation cannot make them without the seed;
//! * one process at a time changes a wallet directory (`directory`), and a payment is on disk before
//!   the node is told of it (`send`).

pub mod command;

mod balance;
mod chain_binding;
mod derivation;
mod directory;
mod discovery;
mod error;
#[cfg(test)]
mod fake_node;
mod history;
mod node_client;
mod payment;
mod selection;
mod send;
mod state;
mod words;

pub use balance::Balance;
pub use derivation::{Branch, KeyRing};
pub use directory::{KeyProtection, Wallet};
pub use error::WalletError;
pub use node_client::{ClientError, NodeClient, NodeStatus};
pub use state::{AddressEntry, Payment, WalletState};
pub use words::{Words, WordsError};
