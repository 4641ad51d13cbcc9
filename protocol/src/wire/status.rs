//! The handshake and the farewell.
//!
//! Rules: `spec/07-p2p.md#status`, `#goodbye`.

use crate::hash::{BlockId, Hash};
use crate::units::Height;
use serde::{Deserialize, Serialize};

/// Version of the status message.
pub const STATUS_VERSION: u16 = 1;

/// Service bit: serves ledger blocks.
pub const SERVICE_LEDGER: u64 = 1;

/// What each side says first, and again on every new best block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Status {
    /// `STATUS_VERSION`.
    pub version: u16,
    /// Genesis.
    pub genesis: BlockId,
    /// Hash of the immutable specification.
    pub spec_hash: Hash,
    /// Schedule entries announced at the sender's tip.
    pub schedule_hash: Hash,
    /// Height of the next announcement; 0 if none.
    pub next_announce: Height,
    /// Ruleset at the sender's tip.
    pub ruleset_id: Hash,
    /// Height of the last certified or anchored block; 0 in pure proof of work.
    pub finalized_height: Height,
    /// Its id; genesis in pure proof of work.
    pub finalized_id: BlockId,
    /// Height of the sender's tip.
    pub best_height: Height,
    /// Its id.
    pub best_id: BlockId,
    /// Total work of the sender's tip, 32 bytes big-endian.
    pub total_work: [u8; 32],
    /// Lowest height whose block the sender serves.
    pub lowest_height: Height,
    /// Bitmap of services.
    pub services: u64,
    /// TCP port on which the sender listens; 0 if it does not.
    pub listen_port: u16,
}

/// Why a node closes a connection. The numbers up to 251 are those of eth2's phase 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GoodbyeReason {
    /// 1: the node stops.
    Shutdown,
    /// 2: another genesis or specification.
    WrongNetwork,
    /// 3: a fault of the sender's own.
    Fault,
    /// 128: the network cannot be verified.
    CannotVerifyNetwork,
    /// 129: no room.
    TooManyPeers,
    /// 130: no status in time.
    StatusTimeout,
    /// 131: too many peers of this subnet.
    Diversity,
    /// 132: this peer is connected already.
    DuplicateConnection,
    /// 250: the receiver's score.
    BadScore,
    /// 251: the receiver is banned.
    Banned,
    /// 252: the receiver's address is banned.
    BannedIp,
    /// Any other number: ignored.
    Unknown(u64),
}

impl GoodbyeReason {
    const ALL: [(u64, GoodbyeReason); 11] = [
        (1, GoodbyeReason::Shutdown),
        (2, GoodbyeReason::WrongNetwork),
        (3, GoodbyeReason::Fault),
        (128, GoodbyeReason::CannotVerifyNetwork),
        (129, GoodbyeReason::TooManyPeers),
        (130, GoodbyeReason::StatusTimeout),
        (131, GoodbyeReason::Diversity),
        (132, GoodbyeReason::DuplicateConnection),
        (250, GoodbyeReason::BadScore),
        (251, GoodbyeReason::Banned),
        (252, GoodbyeReason::BannedIp),
    ];

    /// The number on the wire.
    pub fn code(self) -> u64 {
        match self {
            GoodbyeReason::Unknown(code) => code,
            known => Self::ALL
                .iter()
                .find(|(_, r)| *r == known)
                .map_or(0, |(code, _)| *code),
        }
    }

    /// The reason with this number.
    pub fn from_code(code: u64) -> GoodbyeReason {
        let known = Self::ALL.iter().find(|(number, _)| *number == code);
        known.map_or(GoodbyeReason::Unknown(code), |(_, reason)| *reason)
    }
}

/// The farewell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Goodbye {
    /// See [`GoodbyeReason`].
    pub code: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;
    use crate::limits::{GOODBYE_BYTES_MAX, STATUS_BYTES_MAX};

    #[test]
    fn the_largest_messages_fit_their_limits() {
        let largest = Status {
            version: u16::MAX,
            genesis: BlockId([0xff; 32]),
            spec_hash: Hash([0xff; 32]),
            schedule_hash: Hash([0xff; 32]),
            next_announce: u64::MAX,
            ruleset_id: Hash([0xff; 32]),
            finalized_height: u64::MAX,
            finalized_id: BlockId([0xff; 32]),
            best_height: u64::MAX,
            best_id: BlockId([0xff; 32]),
            total_work: [0xff; 32],
            lowest_height: u64::MAX,
            services: u64::MAX,
            listen_port: u16::MAX,
        };
        let bytes = encode(&largest).len();
        assert_eq!(
            bytes, 280,
            "the derivation in limits.rs and spec/07-p2p.md#framing"
        );
        const { assert!(280 <= STATUS_BYTES_MAX) };
        assert!(encode(&Goodbye { code: u64::MAX }).len() <= GOODBYE_BYTES_MAX);
    }
}
