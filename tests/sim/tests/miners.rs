//! What hostile miners gain: by lying about time (H03), by withholding blocks (H08). Measured and
//! printed.

use cairn_protocol::spec::builtin;
use cairn_sim::selfish;
use cairn_sim::timewarp::{self, STRATEGIES, Setting, Strategy};

/// H03: 90 days with 60 % of the hash rate lying about time. The retarget is bound to an absolute
/// schedule: a lie can move it by the future bound once, and never adds up.
#[test]
fn lies_about_time_do_not_change_the_rate_of_blocks() {
    let testnet = builtin::by_name("testnet").expect("built in");
    let timing = *testnet.timing();
    let settings = [
        (
            "testnet",
            (timing.block_time_ms / 1_000) as u32,
            timing.half_life_s as u32,
            timing.max_future_s,
        ),
        ("600 s, half-life 144 blocks", 600, 144 * 600, 7_200),
    ];
    println!(
        "H03: 90 days, 60 % hostile: blocks / expected, busiest and slowest day, easiest target / fair"
    );
    for (name, spacing_s, half_life_s, max_future_s) in settings {
        let setting = Setting {
            spacing_s,
            half_life_s,
            max_future_s,
            hostile_per_mille: 600,
            days: 90,
        };
        for strategy in STRATEGIES {
            let measured = timewarp::measure(3, setting, strategy);
            println!(
                "  {name}: {strategy:?}: {:.4}, {:.3}, {:.3}, {:.3}",
                measured.rate(),
                measured.busiest_day,
                measured.slowest_day,
                measured.easiest
            );
            // The schedule may slip by the bound and a few half-lives, whatever the days: under 1 %
            // of 90.
            assert!(
                (measured.rate() - 1.0).abs() < 0.01,
                "{name}: {strategy:?}: {measured:?}"
            );
        }
        let honest = timewarp::measure(3, setting, Strategy::Honest);
        assert!(
            honest.blocks > 10_000,
            "the run is long enough to mean something"
        );
    }
}

/// H08: the share that a selfish miner gets, by hash rate and by how well it is connected. Our rule
/// (first seen wins) gives a badly connected attacker nothing below a third.
#[test]
fn the_revenue_of_a_selfish_miner_is_known() {
    const BLOCKS: u64 = 60_000;
    println!(
        "H08: share of the chain (stale rate) of a selfish miner; in brackets the closed form"
    );
    let unheard = |power| selfish::measure(power, BLOCKS, power, 0).revenue();
    assert!(
        unheard(250) < 0.25 && unheard(400) > 0.4,
        "without being heard first it pays from a third on"
    );
    for power in [250, 330, 450] {
        for first in [0, 500, 1_000] {
            let measured = selfish::measure(power + first, BLOCKS, power, first);
            let expected = selfish::expected_revenue(power as f64 / 1e3, first as f64 / 1e3);
            println!(
                "  {} % of the hash rate, heard first by {} %: {:.1} % (stale {:.1} %) [{:.1} %]",
                power as f64 / 10.0,
                first / 10,
                measured.revenue() * 100.0,
                measured.stale() * 100.0,
                expected * 100.0
            );
            assert!(
                (measured.revenue() - expected).abs() < 0.02,
                "{measured:?}: expected {expected}"
            );
        }
    }
}
