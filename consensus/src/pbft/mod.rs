//! The PBFT core: one instance decides one value among validators of whom less than a third of the
//! power is faulty. It serves PBFT, PoS and DPoS with different sets and leader rules.
//!
//! ```text
//!                     round 0                                    round r > 0
//!   leader   PRE-PREPARE(id)                          VIEW-CHANGE x quorum ─> NEW-VIEW(id, why)
//!              │                                         ▲                        │
//!   all      PREPARE(id) x quorum ─> certificate         │ timeout, f + 1 ahead,  ▼
//!              │                                         │ or invalid proposal  PREPARE(id, hash of why)
//!            COMMIT(id)  x quorum ─> decided, sealed ────┘                        …
//! ```
//!
//! There is no lock: what a replica has seen prepared travels in its VIEW-CHANGE, and a NEW-VIEW
//! justifies itself with a quorum of them. A replica that committed to b may later prepare b' if a
//! valid NEW-VIEW says so; by the intersection of quorums that happens only if b was not decided.
//!
//! **Purity.** [`PbftCore::handle`] takes the time as an argument and answers with effects. It owns
//! no clock, key, socket, file or thread, and its state is `Clone + Eq + Hash`, so a simulator, a
//! model checker and the node run the same code.
//!
//! **Durable before visible.** Each promise raises the rank of the [`SafetyRecord`]; `Send` names
//! the rank that must be on disk before it leaves. [`Outbox`] keeps that order for any shell.
//!
//! Rules: `spec/09-bft.md`.

mod core;
mod effect;
mod future;
mod outbox;
mod pace;
mod propose;
mod record;
mod setup;
#[cfg(test)]
mod tests;
mod votes;
mod watch;

pub use self::core::PbftCore;
pub use effect::{Effect, Input, ObserveReason};
pub use future::FutureBuffer;
pub use outbox::Outbox;
pub use pace::{Pace, Timeouts};
pub use record::{RecordError, SafetyRecord};
pub use setup::Setup;
