//! C03 by exhaustion: in a chain of 20 heights the power of whoever acts goes before each effect, with
//! the writes on their way lost, kept or torn; nobody says two things, and decisions go on.

use cairn_bft::boundary::{Cut, Stage, Writes};
use cairn_bft::report::Report;
use cairn_sim::budget::for_each_seed;

/// Heights of the chain.
const HEIGHTS: u64 = 20;
/// Events within which a chain must be through: several times what it takes.
const EVENTS_MAX: usize = 40_000;

#[test]
fn the_power_may_go_before_any_effect() {
    let (mut stage, mut stages, mut effects) = (Stage::begin(), Vec::new(), 0);
    while stage.height() <= HEIGHTS {
        let before = stage.clone();
        let count = stage.step();
        effects += count;
        if count > 0 {
            stages.push((before, count));
        }
        assert!(effects < EVENTS_MAX, "no end: {:?}", stage.report);
    }
    let events = stages.len();
    let reports = for_each_seed(events as u64, |number| {
        let (before, count) = &stages[number as usize];
        let mut report = Report::default();
        for after in 0..*count {
            for writes in [Writes::Lost, Writes::Kept, Writes::Torn] {
                let mut stage = before.clone();
                stage.report = Report::default();
                stage.cut(Cut { after, writes });
                let mut steps = 0;
                while stage.height() <= HEIGHTS {
                    stage.step();
                    steps += 1;
                    assert!(
                        steps < EVENTS_MAX,
                        "event {number}, {after} effects, {writes:?}: no end at height {}",
                        stage.height()
                    );
                }
                assert!(!stage.is_armed());
                report.count("runs");
                report.add(&stage.report);
            }
        }
        report
    });
    let mut all = Report::default();
    for report in &reports {
        all.add(report);
    }
    println!("{effects} effects of {events} events\n{}", all.lines());
    assert_eq!(all.of("runs"), 3 * effects as u64);
    assert_eq!(all.of("power cuts"), all.of("runs"));
    for what in [
        "torn records",
        "view changes with a prepared value",
        "new views that propose the prepared value again",
        "new views",
    ] {
        assert!(all.of(what) >= 50, "{what}: only {} times", all.of(what));
    }
}
