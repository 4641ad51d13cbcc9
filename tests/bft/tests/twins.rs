//! C01, C02 and C04 by Twins: every split of four validators and a twin over three rounds, and more
//! of them by lot. `CAIRN_TEST_BUDGET=full` for 2,000,000 and more.

use std::time::Duration;

use cairn_bft::report::Report;
use cairn_bft::scenario::{Family, count, counted, drawn, partitions};
use cairn_bft::twins::{Bench, run};
use cairn_sim::budget::{for_each_seed, seeds};
use cairn_sim::rng::Rng;

/// Scenarios that run as one piece of work.
const BATCH: u64 = 250;
/// Scenarios by lot in a short run: with those that are counted, 100,000.
const DRAWN: u64 = 84_000;
/// In a full run: with 562,432 that are counted, 3,500,000.
const DRAWN_FULL: u64 = 3_000_000;

/// Each of these must have happened this often, or the suite tested too little.
const SOMETIMES: &[(&str, u64)] = &[
    ("twin quorum attempts with PREPAREs", 50),
    ("view changes with a prepared value", 50),
    ("new views that propose the prepared value again", 50),
    ("decisions in a later round", 50),
    ("forks by too many twins, all makers named", 50),
];

/// Of the scenarios in which a twin contradicts itself, how many in 100 end with a proof in the hands
/// of an honest validator. In the others the two statements never met before the decision; wherever
/// they do, the run itself requires the proof.
const PROVEN_PERCENT: u64 = 40;

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn two_copies_of_a_key_break_nothing() {
    let is_full = seeds(0, 1) == 1;
    let groups = if is_full { 5 } else { 2 };
    let splits = partitions(Family::Four.nodes(), groups);
    let (in_order, by_lot) = (count(&splits), seeds(DRAWN, DRAWN_FULL));
    let (bench, before) = (Bench::default(), cpu());
    let reports = for_each_seed((in_order + by_lot).div_ceil(BATCH), |batch| {
        let mut report = Report::default();
        for number in batch * BATCH..((batch + 1) * BATCH).min(in_order + by_lot) {
            let scenario = match number.checked_sub(in_order) {
                None => counted(&splits, number),
                Some(lot) => drawn(&mut Rng::new(lot)),
            };
            run(&bench, &scenario, &mut report);
        }
        report
    });
    let spent = cpu() - before;
    let mut all = Report::default();
    for report in &reports {
        all.add(report);
    }
    let total = in_order + by_lot;
    println!("{}", all.lines());
    println!(
        "{total} scenarios, {in_order} of them counted, in {:.1} s of CPU: {:.0} scenarios/s and {:.0} deliveries/s per core",
        spent.as_secs_f64(),
        total as f64 / spent.as_secs_f64(),
        all.of("deliveries") as f64 / spent.as_secs_f64(),
    );
    if by_lot < DRAWN {
        return;
    }
    for (what, least) in SOMETIMES {
        assert!(
            all.of(what) >= *least,
            "{what}: only {} times",
            all.of(what)
        );
    }
    let guilty = all.of("scenarios in which a twin contradicts itself");
    let proven = all.of("scenarios in which an honest validator proves it");
    assert!(
        100 * proven >= PROVEN_PERCENT * guilty,
        "an honest validator held a proof in {proven} of {guilty} scenarios"
    );
}
