//! C01 to C07 and C12 by simulation: thousands of instances under changing faults, each seed a run.
//! `CAIRN_TEST_BUDGET=full` for 20,000 seeds.

use std::time::Duration;

use cairn_bft::report::Report;
use cairn_bft::world::{EARLY_US, LATE_US, Plan, run};
use cairn_sim::budget::{for_each_seed, seeds};

const PLAN: Plan = Plan {
    instances: 200,
    ed25519_per_mille: 50,
};

/// Each of these must have happened this often, or the suite tested too little.
const SOMETIMES: &[&str] = &[
    "view changes with a prepared value",
    "new views that propose the prepared value again",
    "torn records",
    "failed writes",
    "restarts with a record",
    "power cuts",
    "partitions",
    "one-way partitions",
    "pauses",
    "villain proposes twice",
    "villain hides a prepared value",
    "villain names a low certificate",
    "villain shows another certificate",
    "villain runs ahead",
    "villain proposes a bad value",
    "villains proven guilty",
    "a false seal was refused",
    "caught up by a seal",
    "decisions in a later round",
];
/// Throughput two decisions after the faults stopped, in percent of what it is later.
const RECOVERED_PERCENT: u64 = 90;

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn nothing_that_must_hold_is_broken() {
    let first: u64 = std::env::var("CAIRN_SEED").map_or(0, |seed| seed.parse().expect("a seed"));
    let count = if first > 0 { 1 } else { seeds(500, 20_000) };
    let before = cpu();
    let outcomes = for_each_seed(count, |seed| run(first + seed, PLAN));
    let mut all = Report::default();
    for outcome in &outcomes {
        all.add(&outcome.report);
    }
    println!("{}", all.lines());
    println!(
        "{:.0} simulated events/s per core",
        all.of("events") as f64 / (cpu() - before).as_secs_f64()
    );
    let (early, late) = (all.of(EARLY_US), all.of(LATE_US));
    let percent = (100 * late).checked_div(early).unwrap_or(100);
    println!("throughput two decisions after the faults stopped: {percent} % of later");
    if count >= 500 {
        assert!(
            percent >= RECOVERED_PERCENT,
            "only {percent} % of the throughput is back"
        );
        assert!(
            all.of("runs with Ed25519") * 40 >= count,
            "too few real signatures"
        );
        for what in SOMETIMES {
            assert!(all.of(what) >= 50, "{what}: only {} times", all.of(what));
        }
    }
}

#[test]
fn one_seed_is_one_run() {
    for seed in 0..8 {
        assert_eq!(run(seed, PLAN).trace, run(seed, PLAN).trace, "seed {seed}");
    }
}
