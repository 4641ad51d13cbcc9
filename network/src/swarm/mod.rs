//! The swarm: one task that owns all connections and moves bytes and verdicts.
//!
//! ```text
//!   handle ──urgent──▶ ┌────────────┐ ──events──▶ node
//!          ──patient─▶ │ swarm task │
//!   sockets ◀────────▶ └────────────┘ ──records─▶ peers file
//! ```
//! Invariant: the task awaits nothing but its own select; every queue is bounded, and what is over
//! the bound is dropped by a stated rule and counted. Source: `spec/07-p2p.md`.

pub(crate) mod behaviour;
pub(crate) mod codec;
pub(crate) mod command;
mod connections;
pub(crate) mod dial_filter;
mod discovery;
pub(crate) mod gate;
pub(crate) mod gossip;
pub(crate) mod handshake;
mod parting;
mod peer;
mod sanctions;
pub(crate) mod start;
mod status;
pub(crate) mod task;
mod traffic;
pub(crate) mod transport;
