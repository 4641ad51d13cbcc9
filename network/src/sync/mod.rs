//! Sync: how a node that is behind catches up, as one pure state machine.
//!
//! ```text
//!   peers' statuses ────▶ ┌───────────┐ ─▶ ask for headers  (one peer at a time, work shown first)
//!   answers, failures ──▶ │ Scheduler │ ─▶ ask for bodies   (many peers, window of 16 batches)
//!   what is connected ──▶ └───────────┘ ─▶ punish, progress
//! ```
//! The node runs the effects through the [`crate::NetworkHandle`], validates what comes, and tells
//! the outcome. The scheduler itself never sees a header's content and never validates.
//!
//! A header answer takes three steps: the node reports the ids ([`Input::HeadersArrived`]), the
//! scheduler checks them against what presync committed to and says [`Effect::StoreHeaders`], the
//! node validates, stores and reports [`Input::HeadersStored`] or [`Input::HeadersBad`].
//!
//! A peer is asked for the bodies that lead to its own tip, so a branch whose bodies are withheld
//! costs its claimers their good name and nobody else the sync.
//!
//! Invariant: with one honest peer that has the best chain, however many others stall or lie, the
//! node reaches its tip: whoever fails is benched for a time that doubles, and asked last.
//! Source: `spec/08-sync.md`.

mod bodies;
mod headers;
mod peers;
pub mod presync;
mod progress;
mod scheduler;

use cairn_protocol::{hash::BlockId, pow::Work, units::Height};

pub use presync::HeaderFacts;
pub use progress::Progress;
pub use scheduler::Scheduler;

use crate::peers::score::Offence;

/// Headers per request.
pub const HEADERS_PER_REQUEST: usize = cairn_protocol::limits::HEADERS_MAX;
/// An answer with fewer headers than this ends the run, if it does not lead to the claimed tip:
/// answers may stop early because of their size, but nobody may hold us up with drops.
pub const HEADERS_PER_ANSWER_MIN: usize = 128;
/// Blocks per batch. Answers end after the object that passes 4 MiB, so a full window of answers
/// holds some 64 MiB however large the blocks are.
pub const BLOCKS_PER_BATCH: usize = 32;
/// Batches under way or waiting to be connected.
pub const WINDOW_BATCHES: usize = 16;
/// Tips of peers besides the best header whose branches are fetched too: a peer that keeps the bodies
/// of a heavier branch to itself does not hold up the others. As many as outbound peers, which a
/// stranger cannot choose.
pub const OTHER_TIPS_MAX: usize = 16;
/// Blocks under way or waiting that are on such a branch only: a small part of the window.
pub const SIDE_BLOCKS_MAX: usize = 2 * BLOCKS_PER_BATCH;
/// Batches asked of one peer at a time.
pub const BATCHES_PER_PEER: usize = 2;
/// Shortest deadline of a request.
pub const DEADLINE_MS_MIN: u64 = 2_000;
/// Longest deadline of a request.
pub const DEADLINE_MS_MAX: u64 = 64_000;

/// Names one request of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A place on a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// Height of the block.
    pub height: Height,
    /// Its id.
    pub id: BlockId,
    /// What fork choice compares: total work up to and including it, below the height of the last
    /// sealed block on chains that have such.
    pub work: Work,
}

/// Why a request brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer within the deadline.
    Timeout,
    /// The connection or the stream broke, or the peer cannot answer.
    Lost,
    /// The peer, or our own limiter, asks to wait.
    Wait {
        /// For this long.
        ms: u64,
    },
    /// The answer was another kind than the request wants, or not canonical.
    WrongAnswer,
}

/// What the scheduler is told.
#[derive(Clone, Debug)]
pub enum Input<P> {
    /// Time has passed; at least every second.
    Tick,
    /// A peer is ready, or repeated its status.
    Peer {
        /// The peer.
        peer: P,
        /// Its best block, as it says.
        tip: Tip,
        /// The lowest height whose block it serves.
        lowest: Height,
    },
    /// A peer left.
    PeerGone(P),
    /// Our chain: the connected tip and the best header.
    Chain {
        /// Height of the connected tip.
        connected: Height,
        /// The best header.
        best_header: Tip,
    },
    /// The blocks whose bodies are missing, ascending from where each branch leaves the connected
    /// chain; replaces what was needed before. Asked for by [`Effect::NeedBodies`].
    Need {
        /// Along the best header chain, best at least 512 of them.
        best: Vec<(Height, BlockId)>,
        /// Along the branches of other tips that have more work than the connected tip.
        others: Vec<(BlockId, Vec<(Height, BlockId)>)>,
    },
    /// Header records came. The node keeps them until the next effect.
    HeadersArrived {
        /// Which request.
        request: RequestId,
        /// Their ids in order.
        ids: Vec<BlockId>,
    },
    /// The headers of a request are stored.
    HeadersStored {
        /// Which request.
        request: RequestId,
        /// The last of them; `None` if there were none.
        last: Option<Tip>,
        /// Whether a bound or the clock of this node stopped them: nobody is at fault, and the peer
        /// may have more.
        refused: bool,
    },
    /// The headers of a request do not follow the block after which they were asked for: the peer
    /// has moved to another branch since.
    Moved {
        /// Which request.
        request: RequestId,
    },
    /// The headers of a request broke a rule.
    HeadersBad {
        /// Which request.
        request: RequestId,
        /// Which rule, as an offence.
        offence: Offence,
    },
    /// Bare headers came, and each carries its proof of work.
    BareHeadersArrived {
        /// Which request.
        request: RequestId,
        /// The block we have on which the first of them builds; needed for the first answer.
        anchor: Option<Tip>,
        /// The headers in order.
        facts: Vec<HeaderFacts>,
    },
    /// Blocks came: their ids in order, as computed from their headers.
    BodiesArrived {
        /// Which request.
        request: RequestId,
        /// Their ids.
        ids: Vec<BlockId>,
    },
    /// A block that came is not valid.
    BodyBad {
        /// Its id.
        id: BlockId,
        /// The content does not belong to the id: another peer may have the right one.
        is_content: bool,
    },
    /// A request brought nothing.
    Failed {
        /// Which request.
        request: RequestId,
        /// Why.
        failure: Failure,
    },
}

/// From where headers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The node's own locator.
    Locator,
    /// After this block, which the peer has named before; the node's own locator follows it, for
    /// a peer that has moved to another branch since.
    After(BlockId),
}

/// What the node shall do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<P> {
    /// Ask for header records, at most [`HEADERS_PER_REQUEST`].
    AskHeaders {
        /// Whom.
        peer: P,
        /// Names the request.
        request: RequestId,
        /// From where.
        start: Start,
        /// How long to wait.
        deadline_ms: u64,
    },
    /// Ask for bare headers, at most [`HEADERS_PER_REQUEST`].
    AskBareHeaders {
        /// Whom.
        peer: P,
        /// Names the request.
        request: RequestId,
        /// From where.
        start: Start,
        /// How long to wait.
        deadline_ms: u64,
    },
    /// Validate and store the first `count` headers of the answer.
    StoreHeaders {
        /// Which answer.
        request: RequestId,
        /// How many of them.
        count: usize,
    },
    /// Ask for blocks.
    AskBodies {
        /// Whom.
        peer: P,
        /// Names the request.
        request: RequestId,
        /// Which blocks.
        ids: Vec<BlockId>,
        /// How long to wait.
        deadline_ms: u64,
    },
    /// Say which bodies are missing, with [`Input::Need`].
    NeedBodies {
        /// Besides the best header chain, toward these tips of peers.
        toward: Vec<BlockId>,
    },
    /// Report an offence.
    Punish {
        /// Whose.
        peer: P,
        /// Which.
        offence: Offence,
    },
    /// Show how far sync has come; at most once a second.
    Progress(Progress),
}
