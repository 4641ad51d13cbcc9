//! The chain over the durable store survives power cuts at any step: known tip, right state, no
//! stored block lost, and the rest of the way taken afterwards.

use cairn_sim::budget::{for_each_seed, seeds};
use cairn_sim::power;
use cairn_sim::report::Report;

#[test]
fn a_chain_on_a_disk_that_loses_power_ends_where_it_should() {
    let count = seeds(150, 3_000);
    let mut total = Report::default();
    for report in for_each_seed(count, power::run) {
        total.merge(&report);
    }
    println!("power cuts in {count} seeds:\n{total}");
    for (name, number) in [
        ("seeds", count),
        ("steps", 20 * count),
        ("fault: killed", count / 4),
        ("fault: power cut, nothing unsynced kept", count / 4),
        ("fault: power cut, any part kept", count / 4),
        ("tips taken back by a cut", count / 4),
        ("blocks known after a cut", count),
        ("flushes", count),
    ] {
        let found = total.get(name);
        assert!(
            found >= number,
            "{name}: {found}, expected at least {number}"
        );
    }
}
