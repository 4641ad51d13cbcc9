//! Whether two statuses fit together. Pure.
//!
//! Invariant: nothing of a peer is used before its status passed this check; both sides check, so
//! both know why they part. Source: `spec/07-p2p.md#status`.

use std::fmt::Write as _;

use crate::wire::Status;

/// Why two nodes cannot work together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The chains begin differently.
    #[error("another genesis: theirs {theirs}, ours {ours}")]
    Genesis {
        /// First bytes of their genesis id.
        theirs: String,
        /// First bytes of ours.
        ours: String,
    },
    /// The chains have the same genesis but other rules.
    #[error("another chain specification: theirs {theirs}, ours {ours}")]
    Specification {
        /// First bytes of their specification's hash.
        theirs: String,
        /// First bytes of ours.
        ours: String,
    },
    /// No common version of the protocol.
    #[error("no common protocol version: theirs {theirs}, ours {ours}")]
    Version {
        /// Theirs.
        theirs: u16,
        /// Ours.
        ours: u16,
    },
    /// The two follow different engine schedules: one must upgrade.
    #[error("another schedule, one of the two must upgrade: theirs {theirs}, ours {ours}")]
    Schedule {
        /// First bytes of their schedule's hash.
        theirs: String,
        /// First bytes of ours.
        ours: String,
    },
    /// Both finalized a block at one height, but not the same.
    #[error("another block is final at height {height}: theirs {theirs}, ours {ours}")]
    Finalized {
        /// The height.
        height: u64,
        /// First bytes of their block's id.
        theirs: String,
        /// First bytes of ours.
        ours: String,
    },
}

impl Mismatch {
    /// Whether an upgrade of one side would help: such a peer is refused, but not for long.
    pub fn is_upgrade(&self) -> bool {
        matches!(self, Mismatch::Schedule { .. } | Mismatch::Version { .. })
    }
}

/// Checks what a peer says against what we say.
pub fn check(ours: &Status, theirs: &Status) -> Result<(), Mismatch> {
    let short = |hash: &[u8]| {
        hash.iter().take(8).fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    if ours.genesis != theirs.genesis {
        let (theirs, ours) = (short(theirs.genesis.as_ref()), short(ours.genesis.as_ref()));
        return Err(Mismatch::Genesis { theirs, ours });
    }
    if ours.spec_hash != theirs.spec_hash {
        let (theirs, ours) = (
            short(theirs.spec_hash.as_ref()),
            short(ours.spec_hash.as_ref()),
        );
        return Err(Mismatch::Specification { theirs, ours });
    }
    // Each release speaks its own version and the one before.
    if ours.version.abs_diff(theirs.version) > 1 {
        return Err(Mismatch::Version {
            theirs: theirs.version,
            ours: ours.version,
        });
    }
    if ours.schedule_hash != theirs.schedule_hash {
        let theirs = short(theirs.schedule_hash.as_ref());
        return Err(Mismatch::Schedule {
            theirs,
            ours: short(ours.schedule_hash.as_ref()),
        });
    }
    if ours.finalized_height == theirs.finalized_height && ours.finalized_id != theirs.finalized_id
    {
        let theirs = short(theirs.finalized_id.as_ref());
        let (height, ours) = (ours.finalized_height, short(ours.finalized_id.as_ref()));
        return Err(Mismatch::Finalized {
            height,
            theirs,
            ours,
        });
    }
    Ok(())
}
