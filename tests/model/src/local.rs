//! One validator in the model: the production core in its shell, and all that it has said.

use cairn_bft::solo::Solo;

/// A validator between two events.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Local {
    /// Its place in the set.
    pub place: u16,
    /// Core, outbox, disk.
    pub solo: Solo,
    /// Numbers of the messages that it said, ascending.
    pub said: Vec<u32>,
    /// How often its power has gone.
    pub crashes: u8,
    /// Whether its record was lost with the power: then it is the faulty one.
    pub lost: bool,
    /// What it broke, if it broke a promise.
    pub broken: Option<&'static str>,
}
