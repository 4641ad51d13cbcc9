//! What a client has done wrong lately.
//!
//! Invariant: a score only falls with time, so a client that offends rarely is never shut out.

use super::limits::{SCORE_FORGIVEN_PER_S, SCORE_MAX};

/// The score of one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    points: u32,
    at_ms: u64,
}

impl Score {
    /// Adds an offence. Whether the client is shut out now.
    pub fn add(&mut self, now_ms: u64, points: u32) -> bool {
        self.points = self.points(now_ms).saturating_add(points);
        self.at_ms = now_ms;
        self.points >= SCORE_MAX
    }

    /// The score as of now.
    pub fn points(&self, now_ms: u64) -> u32 {
        let seconds = now_ms.saturating_sub(self.at_ms) / 1000;
        let forgiven = u32::try_from(seconds)
            .unwrap_or(u32::MAX)
            .saturating_mul(SCORE_FORGIVEN_PER_S);
        self.points.saturating_sub(forgiven)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_offences_are_forgiven_and_many_are_not() {
        let mut rare = Score::default();
        assert!((0..1_000).all(|i| !rare.add(i * 10_000, 10)));
        let mut often = Score::default();
        let first = (0..100).find(|i| often.add(i * 100, 10));
        assert_eq!(first, Some(9));
        assert_eq!(often.points(1_000_000), 0);
    }
}
