//! Why mining rests. Each reason comes and goes by itself; mining goes on when none is left.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One reason to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseReason {
    /// Somebody asked for it.
    Requested,
    /// The node is behind the network: a block on its tip would be stale.
    Syncing,
    /// Nobody would hear of a block. (A devnet does not use this one.)
    NoPeers,
    /// The machine runs on its battery.
    OnBattery,
}

impl PauseReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [
        Self::Requested,
        Self::Syncing,
        Self::NoPeers,
        Self::OnBattery,
    ];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Syncing => "syncing",
            Self::NoPeers => "no_peers",
            Self::OnBattery => "on_battery",
        }
    }
}

impl fmt::Display for PauseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PauseReasons(u8);

impl PauseReasons {
    /// Adds or removes a reason; true if that changed the set.
    pub fn set(&mut self, reason: PauseReason, holds: bool) -> bool {
        let (bit, before) = (1 << reason as u8, self.0);
        self.0 = if holds { before | bit } else { before & !bit };
        self.0 != before
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The reasons that hold.
    pub fn iter(self) -> impl Iterator<Item = PauseReason> {
        PauseReason::ALL
            .into_iter()
            .filter(move |&reason| self.0 & 1 << reason as u8 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_serialized_form() {
        for reason in PauseReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.to_string());
        }
    }

    #[test]
    fn reasons_come_and_go_one_by_one() {
        let mut reasons = PauseReasons::default();
        assert!(reasons.is_empty());
        assert!(reasons.set(PauseReason::Syncing, true));
        assert!(!reasons.set(PauseReason::Syncing, true));
        assert!(reasons.set(PauseReason::OnBattery, true));
        assert!(reasons.set(PauseReason::Syncing, false));
        assert!(!reasons.set(PauseReason::NoPeers, false));
        assert_eq!(reasons.iter().collect::<Vec<_>>(), [PauseReason::OnBattery]);
    }
}
