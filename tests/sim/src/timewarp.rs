//! Miners that lie about time (attack row H03): what a majority of the hash rate can gain from
//! timestamps.
//!
//! Headers only: the production retarget and the production rules for time, a constant hash rate,
//! blocks found by a process without memory. An attacker's block carries whatever time its strategy
//! likes within the rules: after the median of the last eleven, at most the future bound ahead of
//! the true time.

use std::collections::VecDeque;

use cairn_consensus::asert::{Anchor, Pace, next_target};
use cairn_consensus::time::{is_too_far_ahead, template_time};
use cairn_protocol::limits::MEDIAN_TIMES;
use cairn_protocol::pow::{Target, work_of};
use cairn_protocol::state::median;

use crate::rng::Rng;

/// How the attacker dates its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// By the clock.
    Honest,
    /// As far ahead as the bound allows.
    Ahead,
    /// As early as the median allows.
    Behind,
    /// As early as possible, but each 144th block as far ahead as possible: the classic timewarp.
    Timewarp,
    /// Ahead and behind in turns of eleven blocks, to swing the median.
    Swing,
}

/// All strategies.
pub const STRATEGIES: [Strategy; 5] = [
    Strategy::Honest,
    Strategy::Ahead,
    Strategy::Behind,
    Strategy::Timewarp,
    Strategy::Swing,
];

/// A chain and its miners.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Time between blocks that the chain aims at.
    pub spacing_s: u32,
    /// Half-life of the retarget.
    pub half_life_s: u32,
    /// Future bound.
    pub max_future_s: u32,
    /// Hash rate of the attacker, in 1,000 of all.
    pub hostile_per_mille: u64,
    /// How long the run is.
    pub days: u64,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Blocks found.
    pub blocks: u64,
    /// Blocks that the schedule expects, in the true time that passed.
    pub expected: u64,
    /// Most blocks of one day, over what a day expects.
    pub busiest_day: f64,
    /// Fewest blocks of one day, over what a day expects.
    pub slowest_day: f64,
    /// Easiest target over the fair one.
    pub easiest: f64,
}

impl Measured {
    /// Blocks over expectation.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.blocks as f64 / self.expected as f64
    }
}

const DAY_S: f64 = 86_400.0;
const START: u32 = 1_800_000_000;

/// Runs a strategy.
#[must_use]
pub fn measure(seed: u64, setting: Setting, strategy: Strategy) -> Measured {
    let mut rng = Rng::new(seed);
    let fair = Target::from(1u8) << 200;
    let pace = Pace {
        spacing_s: setting.spacing_s,
        half_life_s: setting.half_life_s,
        limit: Target::from(1u8) << 240,
    };
    let anchor = Anchor {
        height: 1,
        parent_time: START,
        target: fair,
    };
    let hashes_per_s = work_to_f64(fair) / f64::from(setting.spacing_s);
    let (mut now, end) = (0.0, setting.days as f64 * DAY_S);
    let mut times = VecDeque::from([START]);
    let mut days = vec![0u64; setting.days as usize];
    let (mut height, mut target, mut easiest) = (0u64, fair, 0.0f64);
    loop {
        let mean_ms = work_to_f64(target) / hashes_per_s * 1_000.0;
        now += rng.exponential(mean_ms.max(1.0) as u64) as f64 / 1_000.0;
        if now >= end {
            break;
        }
        height += 1;
        days[(now / DAY_S) as usize] += 1;
        let clock = START + now as u32;
        let hostile = rng.chance(setting.hostile_per_mille);
        let strategy = if hostile { strategy } else { Strategy::Honest };
        let time = dated(strategy, height, clock, &times, setting.max_future_s);
        times.push_back(time);
        if times.len() > MEDIAN_TIMES {
            times.pop_front();
        }
        target = next_target(&anchor, &pace, height, time);
        easiest = easiest.max(work_to_f64(fair) / work_to_f64(target));
    }
    let per_day = DAY_S / f64::from(setting.spacing_s);
    let share = |blocks: Option<&u64>| *blocks.expect("a day at least") as f64 / per_day;
    Measured {
        blocks: height,
        expected: (end / f64::from(setting.spacing_s)) as u64,
        busiest_day: share(days.iter().max()),
        slowest_day: share(days.iter().min()),
        easiest,
    }
}

fn dated(
    strategy: Strategy,
    height: u64,
    clock: u32,
    times: &VecDeque<u32>,
    max_future_s: u32,
) -> u32 {
    let times: Vec<u32> = times.iter().copied().collect();
    let median = median(&times);
    let earliest = template_time(median, 0).expect("far from the end of time");
    let latest = (clock + max_future_s).max(earliest);
    let time = match strategy {
        Strategy::Honest => clock.max(earliest),
        Strategy::Ahead => latest,
        Strategy::Behind => earliest,
        Strategy::Timewarp => {
            if height.is_multiple_of(144) {
                latest
            } else {
                earliest
            }
        }
        Strategy::Swing => {
            if (height / 11).is_multiple_of(2) {
                latest
            } else {
                earliest
            }
        }
    };
    assert!(time > median, "rule HDR-07");
    // Honest nodes would hold it otherwise; the median may force an honest miner beyond the bound
    // by a second each.
    debug_assert!(
        strategy == Strategy::Honest
            || !is_too_far_ahead(time, clock.max(time - max_future_s), max_future_s)
    );
    time
}

fn work_to_f64(target: Target) -> f64 {
    let work = work_of(target);
    let shift = work.bit_len().saturating_sub(53);
    let top: u64 = (work >> shift).to();
    top as f64 * 2f64.powi(shift as i32)
}
