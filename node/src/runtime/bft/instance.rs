//! One instance under way: the core, what waits for the disk, its timer.

use cairn_consensus::pbft::{Outbox, PbftCore};
use cairn_network::PeerId;
use cairn_protocol::bft::{Instance, Round};
use cairn_protocol::hash::BlockId;
use std::collections::BTreeMap;

/// An instance.
pub(super) struct Running {
    /// Which.
    pub number: Instance,
    /// The core.
    pub core: PbftCore,
    /// What waits for the disk.
    pub outbox: Outbox,
    /// Round and time of the timer, in milliseconds of the monotonic clock.
    pub timer: Option<(Round, u64)>,
    /// What the core wants judged.
    pub wanted: Option<(Round, BlockId)>,
    /// The first value that was proposed as new in a round, and who sent it.
    pub fresh: BTreeMap<Round, (BlockId, PeerId)>,
    /// When the round under way began.
    pub round_began_ms: u64,
    /// When something last changed; after a while of silence we say again what counts.
    pub moved_ms: u64,
}
