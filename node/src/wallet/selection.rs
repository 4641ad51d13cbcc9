//! Which coins pay: branch and bound for a payment without change, else a random draw, else the
//! largest coins first.
//!
//! Invariant: what is chosen covers the amount and the fee of everything chosen at the asked rate,
//! and the result is a function of the candidates, the target and the seed only.
//!
//! Sources: M. Erhardt, "An Evaluation of Coin Selection Strategies" (2016), sections 4.2 and 5.1.

use cairn_protocol::units::{Amount, FeeRate, Weight};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Steps of the branch-and-bound search: the bound that the paper's evaluation used.
const STEPS_MAX: u32 = 100_000;
/// Inputs of one payment: at 130 bytes an input the transaction stays under 100 kB, which fits a
/// mempool cluster.
pub const INPUTS_MAX: usize = 700;

/// A coin that could be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its value.
    pub value: Amount,
    /// What its input and witness add to the transaction's weight.
    pub weight: Weight,
}

/// What is to be paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// To the recipient.
    pub amount: Amount,
    /// The asked fee rate.
    pub rate: FeeRate,
    /// Weight of the transaction without any input and without change.
    pub base_weight: Weight,
    /// Weight of a change output.
    pub change_weight: Weight,
    /// Weight of spending the change later.
    pub change_spend_weight: Weight,
}

impl Target {
    /// Change below this costs more to spend than it is worth and goes to the fee.
    pub fn dust(&self) -> Amount {
        self.rate.fee(self.change_spend_weight)
    }

    /// What must come in beyond the inputs' own fees.
    fn need(&self) -> Option<u64> {
        self.amount
            .checked_add(self.rate.fee(self.base_weight))
            .map(|amount| amount.0)
    }

    /// What change costs now and later: a payment without change may waste up to this.
    fn change_cost(&self) -> u64 {
        self.rate
            .fee(self.change_weight)
            .0
            .saturating_add(self.dust().0)
    }
}

/// The coins that pay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Positions in the list of candidates, ascending.
    pub chosen: Vec<usize>,
    /// Whether there is enough left for a change output that is not dust.
    pub has_change: bool,
}

/// Why no coins pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// There is less than the amount and its fee.
    #[error("not enough money: {need} CRN are needed with the fee, {available} CRN can be spent now", need = need.to_crn(), available = available.to_crn())]
    Insufficient {
        /// Amount and fee.
        need: Amount,
        /// What all coins are worth after their own fees.
        available: Amount,
    },
    /// There is enough, in too many small coins.
    #[error("the amount needs more than {INPUTS_MAX} coins; send less at once")]
    TooManyCoins,
}

/// A candidate with what it is worth after the fee of its own input.
#[derive(Clone, Copy)]
struct Effective {
    position: usize,
    value: u64,
}

/// Chooses coins for `target`; `seed` decides the random draw.
pub fn select(
    candidates: &[Candidate],
    target: &Target,
    seed: u64,
) -> Result<Selection, SelectionError> {
    let mut coins = effective(candidates, target.rate);
    // By value, largest first; ties by position, so that the order of equal coins is fixed.
    coins.sort_by_key(|coin| (std::cmp::Reverse(coin.value), coin.position));
    let available = coins
        .iter()
        .fold(0u64, |sum, coin| sum.saturating_add(coin.value));
    let insufficient = |need| SelectionError::Insufficient {
        need: Amount(need),
        available: Amount(available),
    };
    let need = target.need().ok_or(insufficient(u64::MAX))?;
    if available < need {
        return Err(insufficient(need));
    }
    if let Some(chosen) = branch_and_bound(&coins, need, target.change_cost()) {
        return Ok(finished(chosen, false));
    }
    // With room for change when the coins allow it, so that the remainder is not given away.
    let with_change = need.saturating_add(target.change_cost());
    for goal in [with_change, need] {
        let drawn = random_draw(&coins, goal, seed).or_else(|| largest_first(&coins, goal));
        if let Some(chosen) = drawn {
            return Ok(finished(chosen, goal == with_change));
        }
    }
    Err(SelectionError::TooManyCoins)
}

fn finished(coins: Vec<Effective>, has_change: bool) -> Selection {
    let mut chosen: Vec<usize> = coins.iter().map(|coin| coin.position).collect();
    chosen.sort_unstable();
    Selection { chosen, has_change }
}

/// Coins that are worth more than their input costs.
fn effective(candidates: &[Candidate], rate: FeeRate) -> Vec<Effective> {
    let worth = |coin: &Candidate| coin.value.checked_sub(rate.fee(coin.weight));
    candidates
        .iter()
        .enumerate()
        .filter_map(|(position, coin)| {
            Some(Effective {
                position,
                value: worth(coin)?.0,
            })
        })
        .filter(|coin| coin.value > 0)
        .collect()
}

/// The subset with the least excess over `need`, if one stays within `need + slack`.
///
/// Depth first over coins in descending order, taking each coin before leaving it; a branch ends
/// when it is over the bound or when all that is left cannot reach `need`.
fn branch_and_bound(coins: &[Effective], need: u64, slack: u64) -> Option<Vec<Effective>> {
    let limit = need.saturating_add(slack);
    let mut rest: u64 = coins
        .iter()
        .fold(0, |sum, coin| sum.saturating_add(coin.value));
    let (mut taken, mut sum): (Vec<usize>, u64) = (Vec::new(), 0);
    let mut best: Option<(u64, Vec<usize>)> = None;
    let mut next = 0;
    for _ in 0..STEPS_MAX {
        let is_hopeless = sum.saturating_add(rest) < need;
        let is_over = sum > limit || best.as_ref().is_some_and(|(least, _)| sum >= *least);
        let is_enough = sum >= need && !is_over;
        if is_enough {
            best = Some((sum, taken.clone()));
            if sum == need {
                break;
            }
        }
        if is_hopeless || is_over || is_enough || next == coins.len() || taken.len() == INPUTS_MAX {
            // Back: leave the last coin taken, give back the ones left out after it.
            let Some(last) = taken.pop() else { break };
            rest += coins[last + 1..next]
                .iter()
                .map(|coin| coin.value)
                .sum::<u64>();
            sum -= coins[last].value;
            next = last + 1;
            continue;
        }
        // A coin equal to the one just left out would repeat the search that failed with it.
        let left_out = next
            .checked_sub(1)
            .filter(|&before| taken.last() != Some(&before));
        rest -= coins[next].value;
        if left_out.is_none_or(|before| coins[before].value != coins[next].value) {
            taken.push(next);
            sum += coins[next].value;
        }
        next += 1;
    }
    best.map(|(_, positions)| {
        positions
            .into_iter()
            .map(|position| coins[position])
            .collect()
    })
}

/// Coins in random order until the goal is reached; none when that takes too many.
fn random_draw(coins: &[Effective], goal: u64, seed: u64) -> Option<Vec<Effective>> {
    let mut shuffled = coins.to_vec();
    shuffled.shuffle(&mut StdRng::seed_from_u64(seed));
    until_reached(&shuffled, goal)
}

/// The largest coins until the goal is reached: the fewest inputs there can be.
fn largest_first(coins: &[Effective], goal: u64) -> Option<Vec<Effective>> {
    until_reached(coins, goal)
}

fn until_reached(coins: &[Effective], goal: u64) -> Option<Vec<Effective>> {
    let mut sum = 0u64;
    for (index, coin) in coins.iter().take(INPUTS_MAX).enumerate() {
        sum = sum.saturating_add(coin.value);
        if sum >= goal {
            return Some(coins[..=index].to_vec());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INPUT_WEIGHT: Weight = 229;

    fn target(amount: u64, rate: u64) -> Target {
        Target {
            amount: Amount(amount),
            rate: FeeRate(rate),
            base_weight: 200,
            change_weight: 160,
            change_spend_weight: INPUT_WEIGHT,
        }
    }

    fn coins(values: &[u64]) -> Vec<Candidate> {
        values
            .iter()
            .map(|&v| Candidate {
                value: Amount(v),
                weight: INPUT_WEIGHT,
            })
            .collect()
    }

    /// What the chosen coins bring beyond amount and fee, or a panic when they do not cover it.
    fn excess(candidates: &[Candidate], target: &Target, selection: &Selection) -> u64 {
        let chosen = selection
            .chosen
            .iter()
            .map(|&position| candidates[position]);
        let total: u64 = chosen.clone().map(|coin| coin.value.0).sum();
        let weight = target.base_weight
            + chosen.map(|coin| coin.weight).sum::<u64>()
            + if selection.has_change {
                target.change_weight
            } else {
                0
            };
        total
            .checked_sub(target.amount.0 + target.rate.fee(weight).0)
            .expect("covers the fee")
    }

    #[test]
    fn an_exact_set_is_found_without_change() {
        // Rate 0: fees vanish, so 3 + 8 = 11 is exact.
        let selection = select(&coins(&[1, 3, 8, 20, 50]), &target(11, 0), 0).unwrap();
        assert_eq!(
            selection,
            Selection {
                chosen: vec![1, 2],
                has_change: false
            }
        );
    }

    #[test]
    fn equal_coins_do_not_make_the_search_endless() {
        let values = vec![1000; 500];
        let selection = select(&coins(&values), &target(400_000, 0), 0).unwrap();
        assert_eq!(selection.chosen.len(), 400);
        assert!(!selection.has_change);
    }

    #[test]
    fn coins_that_cost_more_than_they_bring_are_left_alone() {
        // At 1,000 per 1,000 weight an input costs 229.
        let error = select(&coins(&[229; 100]), &target(1, 1000), 0).unwrap_err();
        assert!(matches!(
            error,
            SelectionError::Insufficient {
                available: Amount(0),
                need: Amount(201)
            }
        ));
    }

    #[test]
    fn too_many_small_coins_are_said_so() {
        let error = select(&coins(&[10; 2000]), &target(10 * 800, 0), 0).unwrap_err();
        assert_eq!(error, SelectionError::TooManyCoins);
    }

    #[test]
    fn overflowing_amounts_are_insufficient() {
        let error = select(
            &coins(&[u64::MAX, u64::MAX]),
            &target(u64::MAX, u64::MAX),
            0,
        );
        assert!(matches!(error, Err(SelectionError::Insufficient { .. })));
    }

    proptest! {
        #[test]
        fn a_selection_covers_the_payment_and_is_repeatable(
            values in prop::collection::vec(1u64..2_000_000, 1..60),
            amount in 1u64..20_000_000,
            rate in 0u64..20_000,
            seed: u64,
        ) {
            let (candidates, target) = (coins(&values), target(amount, rate));
            let result = select(&candidates, &target, seed);
            prop_assert_eq!(&result, &select(&candidates, &target, seed));
            match result {
                Ok(selection) => {
                    let excess = excess(&candidates, &target, &selection);
                    let is_ascending = selection.chosen.windows(2).all(|pair| pair[0] < pair[1]);
                    prop_assert!(is_ascending, "a coin was chosen twice");
                    if selection.has_change {
                        prop_assert!(excess >= target.dust().0, "change {excess} is dust");
                    }
                }
                Err(SelectionError::Insufficient { need, available }) => {
                    prop_assert!(available < need);
                    let worth: u64 = effective(&candidates, target.rate).iter().map(|c| c.value).sum();
                    prop_assert_eq!(worth, available.0);
                }
                Err(SelectionError::TooManyCoins) => prop_assert!(false, "60 coins are not many"),
            }
        }

        #[test]
        fn branch_and_bound_equals_brute_force(
            values in prop::collection::vec(1u64..400, 1..12),
            need in 1u64..1500,
            slack in 0u64..40,
        ) {
            let mut sorted: Vec<Effective> = values
                .iter()
                .enumerate()
                .map(|(position, &value)| Effective { position, value })
                .collect();
            sorted.sort_by_key(|coin| std::cmp::Reverse(coin.value));
            let sums = (0u32..1 << values.len()).map(|set| {
                (0..values.len()).filter(|i| set >> i & 1 == 1).map(|i| values[i]).sum::<u64>()
            });
            let least = sums.filter(|sum| (need..=need + slack).contains(sum)).min();
            let found = branch_and_bound(&sorted, need, slack)
                .map(|chosen| chosen.iter().map(|coin| coin.value).sum::<u64>());
            prop_assert_eq!(found, least);
        }
    }
}
