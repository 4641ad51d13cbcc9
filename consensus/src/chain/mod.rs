//! The chain driver: one pure object that a node and the simulator move forward.
//!
//! ```text
//!   accept_headers ─┐                        ┌─ connect    (ledger rules over the store's coins)
//!   accept_block ───┼─> header tree ─> step ─┤
//!   release_held ───┘                        └─ disconnect (undo data of the store)
//! ```
//!
//! `accept_*` only take in: they judge what can be judged without coins and store it.
//! [`Chain::step`] moves the connected tip by one block toward the best branch whose bodies are
//! there; between two steps the store is at a consistent tip, so that a caller may stop, crash and
//! go on anywhere.
//!
//! Invariants: after [`Chain::advance`] the tip is the best valid branch with all bodies; a block
//! that broke a rule is invalid with its descendants, its sender is named in the event, and a body
//! that merely does not belong to its header marks nothing; nothing below the floor is
//! disconnected. Time is an input; the clock, the disk and the network belong to the caller.
//!
//! A block that validators sealed is final when it is connected: it becomes the floor.
//!
//! Rules: `spec/06-proof-of-work.md#fork-choice`, `spec/08-sync.md`, `spec/12-switching.md`.

mod accept;
mod bodies;
mod event;
mod memory;
mod open;
mod propose;
mod query;
mod seals;
mod step;
mod switch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_protocol::hash::BlockId;
use cairn_protocol::spec::ChainParams;

use crate::nakamoto::{HeaderTree, HeldBlocks, Index, OrphanPool, Path};

pub use accept::{BlockOutcome, Body, HeadersOutcome, Refusal};
pub use event::{ChainEvent, ConnectedBlock, DisconnectedBlock, InvalidBlock, TipChange};
pub use memory::MemoryStore;
pub use query::BlockPlace;
pub use switch::{AnchorOutcome, KnownAnchor, TerminalVote};

use bodies::CheckedBodies;
use propose::Proposals;
use seals::{SealScheme, Seals};
use switch::Anchors;

/// Who sent something: a number that the caller gives to a peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Source(pub u64);

impl Source {
    /// This node itself: its miner, its operator, its disk.
    pub const LOCAL: Source = Source(0);
}

/// The chain driver over a store.
#[derive(Debug)]
pub struct Chain<S> {
    params: Arc<ChainParams>,
    store: S,
    tree: HeaderTree,
    /// From genesis to the connected tip.
    connected: Path,
    orphans: OrphanPool,
    held: HeldBlocks,
    /// Blocks that were checked and wait to be connected; the store has them too.
    bodies: CheckedBodies,
    /// Seals of BFT headers without bodies.
    seals: Seals,
    /// Proposals on the tip that were found good.
    proposals: Proposals,
    /// Anchor certificates.
    anchors: Anchors,
    /// How seals are checked.
    scheme: SealScheme,
    /// Senders of stored blocks that were not judged yet.
    senders: BTreeMap<Index, Source>,
    /// Stored blocks whose ancestors' headers are not known yet.
    unattached: BTreeSet<BlockId>,
}
