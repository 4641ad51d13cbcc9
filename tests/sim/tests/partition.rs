//! Two halves mine apart for 50 blocks and meet: one chain wins, the loser's transactions come
//! back, everyone equals a fresh replay, the supply is exact. Under loss, duplication, reordering,
//! skewed clocks, crashes and an adversary.

use cairn_sim::budget::{for_each_seed, seeds};
use cairn_sim::report::Report;
use cairn_sim::world::{Plan, run};

#[test]
fn a_healed_network_has_one_chain_and_loses_nothing() {
    let count = seeds(200, 4_000);
    let mut total = Report::default();
    for outcome in for_each_seed(count, |seed| run(seed, Plan::default())) {
        total.merge(&outcome.report);
    }
    println!("simulation of {count} seeds:\n{total}");
    let at_least = |name: &str, number: u64| {
        let found = total.get(name);
        assert!(
            found >= number,
            "{name}: {found}, expected at least {number}: the run tested too little"
        );
    };
    at_least("seeds", count);
    at_least("partitions", count);
    at_least("reorganisations", count);
    at_least("max reorganisation depth", 50);
    at_least("transactions returned to the mempool", count);
    for fault in [
        "fault: lost message",
        "fault: doubled message",
        "fault: cut by the partition",
        "fault: crash and restart",
        "fault: pause",
        "fault: one-way cut of a link",
        "fault: lost on a cut link",
        "fault: double spend to both halves",
        "attack: mutated body",
        "attack: greedy coinbase",
        "attack: orphan",
        "attack: forged payment",
        "attack: block with a forged payment",
        "attack: side headers",
        "transactions lost to a conflict",
        "orphans",
        "orphans adopted",
        "blocks held",
        "the adversary blamed",
        "invalid blocks found at connection",
    ] {
        at_least(fault, (count / 10).max(1));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let count = seeds(8, 350).min(350);
    let plan = Plan {
        split_blocks: 10,
        ..Plan::default()
    };
    let twice = |seed: u64| (run(1_000_000 + seed, plan), run(1_000_000 + seed, plan));
    let mut traces = std::collections::BTreeSet::new();
    for (first, second) in for_each_seed(count, twice) {
        assert_eq!(first.trace, second.trace, "seed {}", first.seed);
        assert_eq!(first.report, second.report, "seed {}", first.seed);
        traces.insert(first.trace);
    }
    assert_eq!(
        traces.len() as u64,
        count,
        "different seeds, different traces"
    );
    println!("{count} seeds twice: equal traces");
}
