//! Headers from one peer at a time: which phase, which request.
//!
//! Invariant: at most one header request is open; while the best header shows less than the
//! specification's minimum work, nothing is stored before presync has seen that work.

use super::{RequestId, Tip, presync::Presync};

/// What the open header request is about.
#[derive(Clone, Debug)]
pub enum Phase {
    /// Bare headers, to be shown to presync; `None` before the first answer.
    Show(Option<Box<Presync>>),
    /// The same headers again, checked against presync.
    Check(Box<Presync>),
    /// Headers on a chain that has shown enough work.
    Direct,
}

/// The header request that is open.
#[derive(Clone, Debug)]
pub struct HeaderRequest<P> {
    pub peer: P,
    pub request: RequestId,
    pub phase: Phase,
    pub asked_ms: u64,
    pub deadline_ms: u64,
    /// Headers have come and are being validated by the node: no deadline any more. Their number.
    pub storing: Option<usize>,
    /// The last header of the peer that was stored in this run.
    pub stored: Option<Tip>,
}
