//! What the engine tells the rest of the node: for the API, readiness and metrics.

use cairn_protocol::bft::Instance;

/// The engine as of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BftStatus {
    /// The instance under way.
    pub instance: Instance,
    /// Its round.
    pub round: u32,
    /// Our place in the set, if we have one.
    pub place: Option<u16>,
    /// Why this node does not vote although it has a key; `None` if it votes or has none.
    pub silent: Option<String>,
}
