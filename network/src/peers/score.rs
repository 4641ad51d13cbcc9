//! Scores and bans: what a peer did wrong fades, what it did badly enough keeps it out.
//!
//! Invariant: a score halves its distance to zero every [`HALF_LIFE_MS`]; below
//! [`SCORE_DISCONNECT`] a peer is sent away, below [`SCORE_BAN`] it is banned and its score starts
//! to recover only after the ban. Only the link that delivered something is ever punished.
//! Source: `spec/07-p2p.md#scores`.

use std::collections::{BTreeMap, BTreeSet};

use super::groups::Host;

/// Best and worst score.
pub const SCORE_MAX: f64 = 100.0;
/// Below this a peer is sent away.
pub const SCORE_DISCONNECT: f64 = -20.0;
/// Below this a peer is banned.
pub const SCORE_BAN: f64 = -50.0;
/// Time in which a score halves.
pub const HALF_LIFE_MS: u64 = 600_000;

/// How bad an offence is: how many of them a peer survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// About 50 until the ban: could happen to an honest peer.
    High,
    /// About 10 until the ban: a peer that is slow or confused.
    Mid,
    /// About 5 until the ban: an honest implementation never does this.
    Low,
    /// At once: proof of malice, or of being useless for us.
    Fatal,
}

impl Severity {
    /// What the offence costs.
    pub const fn points(self) -> f64 {
        match self {
            Severity::High => -1.0,
            Severity::Mid => -5.0,
            Severity::Low => -10.0,
            Severity::Fatal => -2.0 * SCORE_MAX,
        }
    }
}

/// What a peer did. The node reports the first group, the swarm sees the second itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// A block whose content breaks a rule that the sender could check.
    InvalidBlock,
    /// A header without its work, or with wrong fields.
    InvalidHeader,
    /// A transaction with a bad signature or a broken rule that depends on no state.
    InvalidTransaction,
    /// Headers with less work than the chain must have.
    LowWork,
    /// An answer that does not fit the request.
    WrongAnswer,
    /// No answer in time.
    Stalled,
    /// "Have none" for something that the peer announced.
    Withheld,
    /// Data that nobody asked for.
    Unsolicited,
    /// A frame over its bound.
    Oversized,
    /// A frame that is no canonical message.
    Undecodable,
    /// A frame that ends early.
    Truncated,
    /// A gossip message that the node rejected.
    RejectedGossip,
    /// More requests than the quota allows.
    OverQuota,
    /// Requests or gossip before the status.
    BeforeStatus,
    /// The send queue towards the peer is full.
    Slow,
}

impl Offence {
    /// How bad it is.
    pub const fn severity(self) -> Severity {
        match self {
            Offence::InvalidBlock | Offence::InvalidHeader => Severity::Fatal,
            Offence::InvalidTransaction
            | Offence::WrongAnswer
            | Offence::Oversized
            | Offence::RejectedGossip
            | Offence::Undecodable => Severity::Low,
            Offence::Truncated
            | Offence::LowWork
            | Offence::Stalled
            | Offence::Withheld
            | Offence::Unsolicited => Severity::Mid,
            Offence::OverQuota | Offence::BeforeStatus | Offence::Slow => Severity::High,
        }
    }
}

/// What follows from a change of the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sanction {
    /// Nothing.
    None,
    /// Say goodbye and close.
    Disconnect,
    /// Say goodbye, close and refuse until the time given in milliseconds.
    Ban {
        /// End of the ban.
        until_ms: u64,
    },
}

/// One peer's record, as it is kept and persisted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Score at `updated_ms`.
    pub score: f64,
    /// When the score was last changed.
    pub updated_ms: u64,
    /// Refused until then; 0 if never banned.
    pub ban_until_ms: u64,
    /// Where it was connected from when it was banned.
    pub banned_host: Option<Host>,
}

impl Standing {
    fn score_at(&self, now_ms: u64) -> f64 {
        let since_ms = self.updated_ms.max(self.ban_until_ms);
        let elapsed_ms = now_ms.saturating_sub(since_ms) as f64;
        self.score * (-elapsed_ms / HALF_LIFE_MS as f64).exp2()
    }
}

/// The scores of all peers, bounded.
#[derive(Debug)]
pub struct Scores<P> {
    standings: BTreeMap<P, Standing>,
    entries_max: usize,
    ban_ms: u64,
    banned_per_host_max: u32,
}

impl<P: Ord + Copy> Scores<P> {
    /// No peer has a score yet.
    pub fn new(entries_max: usize, ban_ms: u64, banned_per_host_max: u32) -> Self {
        Self {
            standings: BTreeMap::new(),
            entries_max,
            ban_ms,
            banned_per_host_max,
        }
    }

    /// The score now; unknown peers have 0.
    pub fn score(&self, now_ms: u64, peer: &P) -> f64 {
        self.standings
            .get(peer)
            .map_or(0.0, |standing| standing.score_at(now_ms))
    }

    /// Whether the peer is banned now.
    pub fn is_banned(&self, now_ms: u64, peer: &P) -> bool {
        self.standings
            .get(peer)
            .is_some_and(|standing| standing.ban_until_ms > now_ms)
    }

    /// Adds `offence` to the record of `peer`, connected from `host`.
    pub fn punish(
        &mut self,
        now_ms: u64,
        peer: P,
        host: Option<Host>,
        offence: Offence,
    ) -> Sanction {
        self.add(now_ms, peer, host, offence.severity().points())
    }

    /// Adds points; rewards are positive.
    pub fn add(&mut self, now_ms: u64, peer: P, host: Option<Host>, points: f64) -> Sanction {
        let was = self.score(now_ms, &peer);
        let score = (was + points).clamp(-SCORE_MAX, SCORE_MAX);
        let mut standing = self.standings.get(&peer).copied().unwrap_or(Standing {
            score: 0.0,
            updated_ms: now_ms,
            ban_until_ms: 0,
            banned_host: None,
        });
        standing.score = score;
        standing.updated_ms = now_ms;
        let sanction = if score < SCORE_BAN && points < 0.0 {
            standing.ban_until_ms = now_ms + self.ban_ms;
            standing.banned_host = host;
            Sanction::Ban {
                until_ms: standing.ban_until_ms,
            }
        } else if score < SCORE_DISCONNECT && points < 0.0 {
            Sanction::Disconnect
        } else {
            Sanction::None
        };
        self.standings.insert(peer, standing);
        self.evict(now_ms);
        sanction
    }

    /// Hosts with so many banned peers that they are banned as a whole.
    pub fn banned_hosts(&self, now_ms: u64) -> BTreeSet<Host> {
        let mut counts = BTreeMap::<Host, u32>::new();
        for standing in self.standings.values().filter(|s| s.ban_until_ms > now_ms) {
            if let Some(host) = standing.banned_host {
                *counts.entry(host).or_default() += 1;
            }
        }
        counts.retain(|_, count| *count >= self.banned_per_host_max);
        counts.into_keys().collect()
    }

    /// Peers that are banned now, with the end of their bans.
    pub fn banned(&self, now_ms: u64) -> impl Iterator<Item = (&P, u64)> {
        self.standings
            .iter()
            .filter(move |(_, standing)| standing.ban_until_ms > now_ms)
            .map(|(peer, standing)| (peer, standing.ban_until_ms))
    }

    /// Peers with a record.
    pub fn peers(&self) -> impl Iterator<Item = &P> {
        self.standings.keys()
    }

    /// The record of a peer.
    pub fn standing(&self, peer: &P) -> Option<&Standing> {
        self.standings.get(peer)
    }

    /// Takes over a record from disk.
    pub fn restore(&mut self, now_ms: u64, peer: P, standing: Standing) {
        if standing.score.is_finite() {
            self.standings.insert(peer, standing);
            self.evict(now_ms);
        }
    }

    /// Forgets the least interesting record: never a ban while anything else is left.
    fn evict(&mut self, now_ms: u64) {
        while self.standings.len() > self.entries_max {
            let victim = self.standings.iter().min_by(|(_, a), (_, b)| {
                let key = |s: &Standing| (s.ban_until_ms > now_ms, s.updated_ms);
                key(a).cmp(&key(b))
            });
            let Some(victim) = victim.map(|(peer, _)| *peer) else {
                return;
            };
            self.standings.remove(&victim);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BAN_MS: u64 = 1_000_000;

    fn scores() -> Scores<u32> {
        Scores::new(100, BAN_MS, 5)
    }

    fn offences_until_ban(offence: Offence) -> u32 {
        let mut scores = scores();
        (1..=1_000)
            .find(|_| matches!(scores.punish(0, 1, None, offence), Sanction::Ban { .. }))
            .expect("a peer that goes on is banned")
    }

    #[test]
    fn each_level_tolerates_its_number_of_offences() {
        let table = [
            (Offence::InvalidBlock, 1),
            (Offence::Undecodable, 6),
            (Offence::Stalled, 11),
            (Offence::OverQuota, 51),
        ];
        for (offence, count) in table {
            assert_eq!(offences_until_ban(offence), count, "{offence:?}");
        }
    }

    #[test]
    fn a_score_halves_and_a_ban_ends() {
        let mut scores = scores();
        for _ in 0..3 {
            scores.punish(0, 1, None, Offence::Undecodable);
        }
        assert!((scores.score(0, &1) + 30.0).abs() < 1e-9);
        assert!((scores.score(HALF_LIFE_MS, &1) + 15.0).abs() < 1e-9);

        let sanction = scores.punish(0, 2, None, Offence::InvalidBlock);
        assert_eq!(sanction, Sanction::Ban { until_ms: BAN_MS });
        assert!(scores.is_banned(BAN_MS - 1, &2));
        assert!(!scores.is_banned(BAN_MS, &2));
        // The score recovers only after the ban.
        assert!((scores.score(BAN_MS, &2) + SCORE_MAX).abs() < 1e-9);
        assert!((scores.score(BAN_MS + HALF_LIFE_MS, &2) + 50.0).abs() < 1e-9);
    }

    #[test]
    fn disconnect_comes_before_ban() {
        let mut scores = scores();
        assert_eq!(
            scores.punish(0, 1, None, Offence::Undecodable),
            Sanction::None
        );
        assert_eq!(
            scores.punish(0, 1, None, Offence::Undecodable),
            Sanction::None
        );
        assert_eq!(
            scores.punish(0, 1, None, Offence::Undecodable),
            Sanction::Disconnect
        );
    }

    #[test]
    fn five_banned_peers_ban_their_host() {
        let host = Host::of("10.0.0.1".parse().unwrap());
        let mut scores = scores();
        for peer in 0..4 {
            scores.punish(0, peer, Some(host), Offence::InvalidBlock);
        }
        assert!(scores.banned_hosts(0).is_empty());
        scores.punish(0, 4, Some(host), Offence::InvalidBlock);
        assert_eq!(
            scores.banned_hosts(0).into_iter().collect::<Vec<_>>(),
            [host]
        );
        assert!(scores.banned_hosts(BAN_MS).is_empty());
    }

    #[test]
    fn bans_outlive_other_records_when_space_is_short() {
        let mut scores = Scores::new(3, BAN_MS, 5);
        scores.punish(0, 1, None, Offence::InvalidBlock);
        for peer in 2..50u32 {
            scores.punish(u64::from(peer), peer, None, Offence::OverQuota);
        }
        assert!(scores.is_banned(50, &1));
        assert_eq!(scores.standings.len(), 3);
    }

    proptest! {
        #[test]
        fn scores_stay_bounded_and_decay_never_changes_sign(
            steps in prop::collection::vec((0u64..100_000, -300.0f64..50.0), 1..60),
        ) {
            let mut scores = scores();
            let mut now = 0;
            for (wait, points) in steps {
                let before = scores.score(now, &1);
                now += wait;
                let after = scores.score(now, &1);
                prop_assert!(before * after >= 0.0 && after.abs() <= before.abs() + 1e-9);
                scores.add(now, 1, None, points);
                prop_assert!(scores.score(now, &1).abs() <= SCORE_MAX);
            }
        }
    }
}
