//! `cairn devnet`: a private network of real processes on this machine.
//!
//! ```text
//!   supervisor (this process) ──spawns──▶ cairn node  node-0   node-1   node-2   node-3
//!     │  DIR/devnet.lock                    own process group, own data directory, own ports;
//!     │  DIR/chain.toml                     the kernel kills them when the supervisor dies
//!     │  DIR/devnet.json   ◀── written whole once every node answers
//!     │  DIR/control.sock  ◀── cairn devnet stop | status | add-node | start-node
//!     └─ DIR/wallets/{faucet, miner, node-N}, DIR/logs/node-N.log, DIR/node-N/
//! ```
//!
//! Invariants:
//! * the supervisor knows its nodes as any other program would: process id, HTTP interface, log
//!   file; it shares no memory and no store with them;
//! * one supervisor per directory (a lock that dies with the process);
//! * all listeners are on loopback;
//! * every child is spawned by the main thread, because the kernel's death signal watches the
//!   thread that spawned, not the process.

pub mod command;

mod chain;
mod child;
mod control;
mod error;
mod layout;
mod manifest;
mod node;
mod ports;
mod report;
mod start;
mod supervisor;
mod watch;

pub use error::DevnetError;
pub use manifest::{Faucet, Manifest, ManifestNode};
