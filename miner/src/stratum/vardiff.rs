//! Variable difficulty: brings each session to a share every few seconds.
//!
//! Invariants: never above the network's difficulty, never below what the miner asked for as its
//! floor, unless the network is; a rate that is good enough changes nothing. Time is an input.
//! Rules: `spec/14-mining.md#difficulty`.

use super::difficulty::Difficulty;
use super::limits::{
    FIXED_SHARE_INTERVAL_MIN_MS, LOOK_MS, LOWER_MAX, RAISE_MAX, SHARE_INTERVAL_MS,
    SHARE_INTERVALS_KEPT_MS, SHARES_PER_LOOK,
};

/// The difficulty of one session and the rate of its shares since the last look.
#[derive(Clone, Debug)]
pub struct Vardiff {
    difficulty: Difficulty,
    floor: Option<Difficulty>,
    fixed: bool,
    since_ms: u64,
    shares: u32,
}

impl Vardiff {
    /// Begins at a difficulty.
    pub fn new(now_ms: u64, start: Difficulty) -> Vardiff {
        Vardiff {
            difficulty: start,
            floor: None,
            fixed: false,
            since_ms: now_ms,
            shares: 0,
        }
    }

    /// The difficulty of the next job on a network of this difficulty.
    pub fn difficulty(&self, network: Difficulty) -> Difficulty {
        self.floor
            .map_or(self.difficulty, |floor| self.difficulty.max(floor))
            .min(network)
    }

    /// Goes on from a difficulty that the miner suggests.
    pub fn suggest(&mut self, now_ms: u64, difficulty: Difficulty) {
        self.difficulty = difficulty;
        self.restart(now_ms);
    }

    /// Stays at a difficulty that the miner asks for, unless it floods us there.
    pub fn fix(&mut self, now_ms: u64, difficulty: Difficulty) {
        self.suggest(now_ms, difficulty);
        self.fixed = true;
    }

    /// Never goes below a difficulty that the miner asks for.
    pub fn set_floor(&mut self, floor: Difficulty) {
        self.floor = Some(floor);
    }

    /// Begins to measure: work was handed out that is searched from now on.
    pub fn restart(&mut self, now_ms: u64) {
        self.since_ms = now_ms;
        self.shares = 0;
    }

    /// Counts a good share. Whether the difficulty has changed.
    pub fn share(&mut self, now_ms: u64, network: Difficulty) -> bool {
        self.shares += 1;
        self.look(now_ms, network)
    }

    /// Looks at the time. Whether the difficulty has changed.
    pub fn look(&mut self, now_ms: u64, network: Difficulty) -> bool {
        let elapsed_ms = now_ms.saturating_sub(self.since_ms).max(1);
        if self.shares < SHARES_PER_LOOK && elapsed_ms < LOOK_MS {
            return false;
        }
        let interval_ms = elapsed_ms / u64::from(self.shares.max(1));
        self.restart(now_ms);
        let keep = if self.fixed {
            interval_ms >= FIXED_SHARE_INTERVAL_MIN_MS
        } else {
            SHARE_INTERVALS_KEPT_MS.contains(&interval_ms)
        };
        if keep {
            return false;
        }
        let factor = SHARE_INTERVAL_MS as f64 / interval_ms.max(1) as f64;
        let before = self.difficulty(network);
        self.difficulty = before.times(factor.clamp(1.0 / LOWER_MAX, RAISE_MAX));
        let after = self.difficulty(network);
        // What the network caps is forgotten: it would grow without end.
        self.difficulty = after;
        after != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difficulty(value: f64) -> Difficulty {
        Difficulty::new(value).unwrap()
    }

    const NETWORK: f64 = 1e9;

    /// Shares of a miner of a fixed hash rate that always needs the mean; the difficulty at the end.
    fn after(vardiff: &mut Vardiff, hash_rate: f64, network: f64, seconds: u64) -> f64 {
        let network = difficulty(network);
        let (mut now_ms, mut hashes) = (0, 0.0);
        while now_ms < seconds * 1000 {
            now_ms += 10;
            hashes += hash_rate / 100.0;
            let mut shares = 0;
            while hashes >= vardiff.difficulty(network).hashes() && shares < 50 {
                hashes -= vardiff.difficulty(network).hashes();
                shares += 1;
                vardiff.share(now_ms, network);
            }
            if shares == 50 {
                hashes = 0.0; // a client's own limit: what it cannot send is lost
            }
            vardiff.look(now_ms, network);
        }
        vardiff.difficulty(network).value()
    }

    #[test]
    fn every_machine_comes_to_rest_at_a_share_every_few_seconds() {
        // One slow core, one fast core, a stick, a machine of chips.
        for hash_rate in [2e5, 15e6, 5e11, 1e14] {
            let mut vardiff = Vardiff::new(0, difficulty(0.01));
            let settled = after(&mut vardiff, hash_rate, NETWORK, 600);
            let seconds = settled * 4_294_967_296.0 / hash_rate;
            assert!((0.5..=8.0).contains(&seconds), "{hash_rate}: {seconds} s");
        }
    }

    #[test]
    fn the_network_is_the_ceiling() {
        let mut vardiff = Vardiff::new(0, difficulty(0.01));
        assert_eq!(after(&mut vardiff, 1e9, 0.000_015, 100), 0.000_015);
        // And when it rises the session follows from there.
        assert!(after(&mut vardiff, 1e9, NETWORK, 100) > 0.1);
    }

    #[test]
    fn a_good_rate_is_left_alone() {
        let network = difficulty(NETWORK);
        for interval_ms in [500, 1_000, 2_000, 8_000] {
            let mut vardiff = Vardiff::new(0, difficulty(4.0));
            for share in 1..200 {
                assert!(
                    !vardiff.share(share * interval_ms, network),
                    "{interval_ms}"
                );
            }
        }
    }

    #[test]
    fn silence_lowers_it_step_by_step() {
        let network = difficulty(NETWORK);
        let mut vardiff = Vardiff::new(0, difficulty(64.0));
        assert!(!vardiff.look(29_999, network));
        assert!(vardiff.look(30_000, network));
        assert_eq!(vardiff.difficulty(network).value(), 8.0);
        assert!(!vardiff.look(59_999, network));
        assert!(vardiff.look(60_000, network));
        assert_eq!(vardiff.difficulty(network).value(), 1.0);
    }

    #[test]
    fn what_the_miner_asks_for_is_kept_within_reason() {
        let network = difficulty(NETWORK);
        let mut vardiff = Vardiff::new(0, difficulty(0.01));
        vardiff.fix(0, difficulty(8.0));
        assert!(
            !vardiff.look(3_600_000, network),
            "silence does not lower it"
        );
        for share in 0..100 {
            assert!(!vardiff.share(3_600_000 + share * 150, network));
        }
        let raised = (0..32).any(|_| vardiff.share(3_700_000, network));
        assert!(
            raised && vardiff.difficulty(network).value() > 8.0,
            "a flood does raise it"
        );

        let mut vardiff = Vardiff::new(0, difficulty(64.0));
        vardiff.set_floor(difficulty(32.0));
        vardiff.look(30_000, network);
        assert_eq!(vardiff.difficulty(network).value(), 32.0);
        assert_eq!(vardiff.difficulty(difficulty(2.0)).value(), 2.0);
    }
}
