//! Who may propose in a round.
//!
//! Invariant: a function of the rule, the set, the instance and the round, so that every node and
//! every light client names the same proposer.
//! Rules: `spec/09-bft.md#leaders`.

use super::instance::Instance;
use super::set::ValidatorSet;
use super::statement::Round;
use crate::hash::{self, Hash};

/// How the leader of a round is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LeaderRule {
    /// `pbft` and `dpos`: set order, one place further each instance and each round.
    Rotation,
    /// `pos`: drawn by power, from the seed of the epoch.
    Draw {
        /// The seed.
        seed: Hash,
    },
}

impl LeaderRule {
    /// The leader's place in the set.
    pub fn leader(&self, set: &ValidatorSet, instance: Instance, round: Round) -> u16 {
        match self {
            LeaderRule::Rotation => {
                let len = set.len() as u64;
                let place = (instance % len + u64::from(round) % len) % len;
                u16::try_from(place).expect("a place of at most 512")
            }
            LeaderRule::Draw { seed } => draw(seed, set, instance, round),
        }
    }
}

/// The validator whose share of the power a hash falls into. 128 bits modulo a total of 64: the
/// bias is below 2^-64.
fn draw(seed: &Hash, set: &ValidatorSet, instance: Instance, round: Round) -> u16 {
    let parts: [&[u8]; 3] = [
        seed.as_bytes(),
        &instance.to_le_bytes(),
        &round.to_le_bytes(),
    ];
    let hash = hash::LEADER.hash(&parts);
    let low: [u8; 16] = hash[..16].try_into().expect("sixteen bytes of 32");
    let mut point = u128::from_le_bytes(low) % u128::from(set.total());
    for (index, validator) in (0..).zip(set.validators()) {
        match point.checked_sub(u128::from(validator.power)) {
            None => return index,
            Some(rest) => point = rest,
        }
    }
    unreachable!("the point is below the total of all powers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bft::SetRule;
    use crate::signature::PublicKey;
    use crate::state::Validator;

    fn set(powers: &[u64]) -> ValidatorSet {
        let validator = |(i, power): (u8, &u64)| Validator {
            key: PublicKey([i; 32]),
            power: *power,
        };
        let validators = (0..).zip(powers).map(validator).collect();
        ValidatorSet::new(SetRule::Pos, validators).unwrap()
    }

    #[test]
    fn rotation_visits_all_and_never_overflows() {
        let set = set(&[1; 7]);
        for instance in [0, 1, 6, 7, u64::MAX, 1 << 63] {
            let base = LeaderRule::Rotation.leader(&set, instance, 0);
            assert_eq!(u64::from(base), instance % 7);
            for round in 0..21 {
                let leader = LeaderRule::Rotation.leader(&set, instance, round);
                assert_eq!(u32::from(leader), (u32::from(base) + round) % 7);
            }
            LeaderRule::Rotation.leader(&set, instance, u32::MAX);
        }
    }

    /// C10: over many rounds each is drawn as often as its power says, within five deviations.
    #[test]
    fn draws_follow_the_power() {
        let powers = [1u64, 2, 3, 10];
        let set = set(&powers);
        let rule = LeaderRule::Draw {
            seed: Hash([7; 32]),
        };
        let mut hits = [0u64; 4];
        const DRAWS: u64 = 20_000;
        for draw in 0..DRAWS {
            hits[usize::from(rule.leader(&set, draw / 4, (draw % 4) as u32))] += 1;
        }
        for (hits, power) in hits.iter().zip(powers) {
            let share = power as f64 / 16.0;
            let expected = DRAWS as f64 * share;
            let deviation = (DRAWS as f64 * share * (1.0 - share)).sqrt();
            assert!((*hits as f64 - expected).abs() < 5.0 * deviation, "{hits}");
        }
    }

    #[test]
    fn the_largest_powers_are_drawn_without_overflow() {
        let set = set(&[u64::MAX - 1, 1]);
        let rule = LeaderRule::Draw { seed: Hash::ZERO };
        assert!((0..50).all(|round| rule.leader(&set, 1, round) == 0));
    }
}
