//! Instances: what one run of the PBFT core decides, and the scope that its signatures name.
//!
//! Invariant: two scopes never share sign bytes, so a vote cannot be replayed on another chain,
//! under other rules or for another decision.
//! Rules: `spec/09-bft.md#instances`.

use crate::hash::{BlockId, Hash};
use crate::units::Height;

/// Number of an instance: a height, or one of the two instances of a switch.
pub type Instance = u64;

/// Numbers from here on belong to switches.
const SWITCHES: Instance = 1 << 63;

/// What an instance decides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum InstanceKind {
    /// The block of a height.
    Block(Height),
    /// ANCHOR of a schedule entry: one proof-of-work block, once and for ever.
    Anchor(u32),
    /// TERMINAL of a schedule entry: the first BFT block, with its height and parent.
    Terminal(u32),
}

impl InstanceKind {
    /// The kind of a number; `None` for a number that no entry has.
    pub fn of(instance: Instance) -> Option<InstanceKind> {
        if instance < SWITCHES {
            return Some(InstanceKind::Block(instance));
        }
        let entry = u32::try_from((instance - SWITCHES) / 2).ok()?;
        Some(if instance.is_multiple_of(2) {
            InstanceKind::Anchor(entry)
        } else {
            InstanceKind::Terminal(entry)
        })
    }

    /// The number: the height, `2^63 + 2e` or `2^63 + 2e + 1`.
    pub fn number(self) -> Instance {
        match self {
            InstanceKind::Block(height) => height,
            InstanceKind::Anchor(entry) => SWITCHES + 2 * Instance::from(entry),
            InstanceKind::Terminal(entry) => SWITCHES + 2 * Instance::from(entry) + 1,
        }
    }
}

/// What every signature of an instance is bound to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Scope {
    /// The chain: its genesis.
    pub chain_id: BlockId,
    /// The rules in force.
    pub ruleset_id: Hash,
    /// The instance.
    pub instance: Instance,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_kinds_are_one_to_one() {
        for kind in [
            InstanceKind::Block(0),
            InstanceKind::Block((1 << 63) - 1),
            InstanceKind::Anchor(0),
            InstanceKind::Terminal(0),
            InstanceKind::Anchor(7),
            InstanceKind::Terminal(u32::MAX),
        ] {
            assert_eq!(InstanceKind::of(kind.number()), Some(kind));
        }
        assert_eq!(InstanceKind::Terminal(3).number(), (1 << 63) + 7);
        assert_eq!(InstanceKind::of(u64::MAX), None);
    }
}
