//! The schedule as people write it, and its checks.
//!
//! Invariant: a schedule that passes runs as it says: what this program lacks is refused here, with
//! an error that names it, and never found out at a height.
//! Rules: `spec/12-switching.md#schedule`.

use super::devnet::number_of;
use super::file::{EntryFile, SpecFile, value_error};
use super::{Engine, PbftRules, PowRules, SWITCH_HEIGHT_MAX, ScheduleEntry, SpecError};
use crate::bft::check_key;
use crate::limits::{SCHEDULE_ENTRIES_MAX, SUBSIDY_STEPS_MAX, VALIDATORS_MAX};
use crate::pow::{Bits, Target};
use crate::state::Validator;
use crate::units::{Amount, Height};

/// Heights between two tries at least: the anchor is buried, and a fork is looked back on, by one
/// block at least.
const SWITCH_K_MIN: u64 = 2;

/// A validator's power at most: the sum of a full set's stays below 2^63.
const POWER_MAX: u64 = 1 << 53;

impl SpecFile {
    /// The schedule, checked.
    pub(super) fn entries(&self) -> Result<Vec<ScheduleEntry>, SpecError> {
        let count = self.schedule.len();
        if count == 0 || count > SCHEDULE_ENTRIES_MAX {
            let expected = format!("1 to {SCHEDULE_ENTRIES_MAX} entries");
            return Err(value_error("schedule", count, expected));
        }
        let limit = self.timing.limit_bits.to_target()?;
        let mut entries: Vec<ScheduleEntry> = Vec::with_capacity(count);
        for (index, file) in self.schedule.iter().enumerate() {
            let entry = ScheduleEntry {
                announce: file.announce,
                start: file.start,
                engine: self.engine(index, file, limit)?,
                k: file.k,
                m: file.m,
            };
            match entries.last() {
                None => check_first(&entry)?,
                Some(before) => check_after(before, &entry, follows_work(&entries))?,
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn engine(&self, index: usize, file: &EntryFile, limit: Target) -> Result<Engine, SpecError> {
        match file.engine.as_str() {
            "pow" => pow_rules(file, limit).map(Engine::Pow),
            "pbft" => self.pbft_rules(file).map(Engine::Pbft),
            name => Err(SpecError::MissingEngine {
                entry: index,
                engine: name.to_owned(),
            }),
        }
    }

    fn pbft_rules(&self, file: &EntryFile) -> Result<PbftRules, SpecError> {
        if file.initial_bits != Bits::default() || !file.subsidy.is_empty() {
            let expected =
                "subsidy_per_second, and no initial_bits or subsidy, with engine \"pbft\"";
            return Err(value_error(
                "schedule.initial_bits",
                file.initial_bits,
                expected,
            ));
        }
        let money_cap = self.limits.money_cap;
        if file.subsidy_per_second > money_cap {
            let expected = format!("at most the money cap {money_cap}");
            return Err(value_error(
                "schedule.subsidy_per_second",
                file.subsidy_per_second,
                expected,
            ));
        }
        Ok(PbftRules {
            validators: self.validators(file)?,
            subsidy_per_second: file.subsidy_per_second,
            evidence_window_s: file.evidence_window_s,
        })
    }

    /// The validators of an entry, ascending by key.
    fn validators(&self, file: &EntryFile) -> Result<Vec<Validator>, SpecError> {
        let key = "schedule.validators";
        if file.validators.is_empty() || file.validators.len() > VALIDATORS_MAX {
            let expected = format!("1 to {VALIDATORS_MAX} with engine \"{}\"", file.engine);
            return Err(value_error(key, file.validators.len(), expected));
        }
        let mut validators = Vec::with_capacity(file.validators.len());
        for validator in &file.validators {
            let text = || hex::encode(validator.key.0);
            check_key(&validator.key)?;
            if !(1..=POWER_MAX).contains(&validator.power) {
                let expected = format!("1 to {POWER_MAX}");
                return Err(value_error(
                    "schedule.validators.power",
                    validator.power,
                    expected,
                ));
            }
            if let Some(number) = (!self.devnet).then(|| number_of(&validator.key)).flatten() {
                let value = format!("{}, devnet validator {number}", text());
                let expected = "a key that nobody else knows: this chain is not marked devnet";
                return Err(value_error("schedule.validators.key", value, expected));
            }
            validators.push(Validator {
                key: validator.key,
                power: validator.power,
            });
        }
        validators.sort_by_key(|validator| validator.key);
        match validators
            .windows(2)
            .find(|pair| pair[0].key == pair[1].key)
        {
            Some(pair) => Err(value_error(
                key,
                hex::encode(pair[0].key.0),
                "each key once",
            )),
            None => Ok(validators),
        }
    }
}

fn pow_rules(file: &EntryFile, limit: Target) -> Result<PowRules, SpecError> {
    if !file.validators.is_empty() {
        let expected = "none with engine \"pow\"";
        return Err(value_error(
            "schedule.validators",
            file.validators.len(),
            expected,
        ));
    }
    if file.subsidy_per_second != Amount::ZERO || file.evidence_window_s != 0 {
        let value = format!("{}, {}", file.subsidy_per_second, file.evidence_window_s);
        let key = "schedule.subsidy_per_second, schedule.evidence_window_s";
        return Err(value_error(key, value, "none with engine \"pow\""));
    }
    if file.initial_bits.to_target()? > limit {
        let expected = "at most the limit";
        return Err(value_error(
            "schedule.initial_bits",
            file.initial_bits,
            expected,
        ));
    }
    let steps = &file.subsidy;
    let ascending = steps.windows(2).all(|pair| pair[0].height < pair[1].height);
    if steps.len() > SUBSIDY_STEPS_MAX || !ascending {
        let expected = format!("at most {SUBSIDY_STEPS_MAX} steps, heights ascending");
        return Err(value_error("schedule.subsidy", steps.len(), expected));
    }
    Ok(PowRules {
        initial_bits: file.initial_bits,
        subsidy: steps.clone(),
    })
}

fn check_first(entry: &ScheduleEntry) -> Result<(), SpecError> {
    let ScheduleEntry {
        announce,
        start,
        k,
        m,
        ..
    } = entry;
    if (*announce, *start, *k, *m) != (0, 1, 0, 0) {
        let value = format!("announce {announce}, start {start}, k {k}, m {m}");
        let expected = "announce 0, start 1, k 0, m 0";
        return Err(value_error("schedule[0]", value, expected));
    }
    Ok(())
}

/// Whether proof of work may be in force before the entry that follows `entries`: the last of them is
/// proof of work, or has to take over from it and may lapse.
fn follows_work(entries: &[ScheduleEntry]) -> bool {
    let last = entries.last();
    last.is_some_and(|last| !last.engine.is_bft() || last.may_slip())
}

/// Checks an entry against the one before it.
fn check_after(
    before: &ScheduleEntry,
    entry: &ScheduleEntry,
    follows_work: bool,
) -> Result<(), SpecError> {
    if entry.start <= before.start || entry.start > SWITCH_HEIGHT_MAX {
        let expected = format!(
            "above {}, where the entry before starts, and at most {SWITCH_HEIGHT_MAX}",
            before.start
        );
        return Err(value_error("schedule.start", entry.start, expected));
    }
    if entry.announce < before.announce || entry.announce >= entry.start {
        let expected = format!(
            "from {} (the entry before) to below its start {}",
            before.announce, entry.start
        );
        return Err(value_error("schedule.announce", entry.announce, expected));
    }
    if entry.engine.is_bft() && follows_work {
        return check_tries(before, entry);
    }
    // Only a switch from proof of work to BFT may slip; the others happen where they say.
    if (entry.k, entry.m) != (0, 0) {
        let value = format!("k {}, m {}", entry.k, entry.m);
        let expected = match entry.engine.is_bft() {
            true => format!("k 0, m 0 after engine \"{}\"", before.engine.name()),
            false => "k 0, m 0 with engine \"pow\"".to_owned(),
        };
        return Err(value_error("schedule", value, expected));
    }
    check_resolved(before, entry.start)
}

/// Checks the tries of an entry that may have to take over from proof of work.
fn check_tries(before: &ScheduleEntry, entry: &ScheduleEntry) -> Result<(), SpecError> {
    let (k, m, start) = (entry.k, entry.m, entry.start);
    if !(SWITCH_K_MIN..=start / 2).contains(&k) {
        let expected = format!(
            "{SWITCH_K_MIN} to half of its start {start}: proof of work may be in force before it"
        );
        return Err(value_error("schedule.k", k, expected));
    }
    let latest = m.checked_mul(k).and_then(|slips| slips.checked_add(start));
    if latest.is_none_or(|latest| latest > SWITCH_HEIGHT_MAX) {
        let expected = format!("tries up to height {SWITCH_HEIGHT_MAX}");
        return Err(value_error("schedule.m", m, expected));
    }
    let fixed_at = entry.fixed_at();
    if fixed_at == 0 || entry.announce >= fixed_at {
        let expected = format!("below {fixed_at}, its start less 2 k, and that above 0");
        return Err(value_error("schedule.announce", entry.announce, expected));
    }
    check_resolved(before, fixed_at)
}

/// What became of the entry before is known below `height`, and its first block is made.
fn check_resolved(before: &ScheduleEntry, height: Height) -> Result<(), SpecError> {
    if before.may_slip() && height <= before.latest() {
        let expected = format!(
            "so that it begins (its start, less 2 k if it has one) above {}, the last try of the \
             entry before",
            before.latest()
        );
        return Err(value_error("schedule.start", height, expected));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hash;
    use crate::spec::{ChainParams, RulesetKind, ValidatorFile, builtin, devnet_validator};

    fn pbft(validators: u32) -> SpecFile {
        let mut file = builtin::devnet_file();
        file.schedule = vec![EntryFile::devnet_pbft(validators, Amount(7))];
        file
    }

    fn at(announce: Height, start: Height, mut entry: EntryFile) -> EntryFile {
        (entry.announce, entry.start) = (announce, start);
        entry
    }

    /// PBFT, other validators from 100, work from 200.
    fn eras() -> SpecFile {
        let mut file = pbft(4);
        let work = builtin::devnet_file().schedule[0].clone();
        let others = EntryFile::devnet_pbft(7, Amount(9));
        file.schedule.push(at(50, 100, others));
        file.schedule.push(at(150, 200, work));
        file
    }

    fn refusal(change: impl FnOnce(&mut SpecFile)) -> String {
        let mut file = eras();
        change(&mut file);
        ChainParams::new(file).expect_err("refused").to_string()
    }

    #[test]
    fn a_schedule_reads_back_and_names_its_rulesets_apart() {
        let file = SpecFile::parse(&eras().to_toml()).unwrap();
        assert_eq!(file, eras());
        let params = ChainParams::new(file).unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for entry in 0..3 {
            for kind in [
                RulesetKind::Blocks,
                RulesetKind::Anchor,
                RulesetKind::Terminal,
            ] {
                assert!(ids.insert(params.entry_ruleset_id(entry, kind)));
            }
        }
        assert_eq!(
            params.ruleset_id(150),
            params.entry_ruleset_id(1, RulesetKind::Blocks)
        );
        let keys: Vec<_> = params.schedule()[1].engine.validators().to_vec();
        assert!(keys.windows(2).all(|pair| pair[0].key < pair[1].key));
    }

    #[test]
    fn heights_have_the_engine_of_their_entry() {
        let params = ChainParams::new(eras()).unwrap();
        let sealed: Vec<_> = [0, 1, 99, 100, 199, 200]
            .map(|height| params.is_bft(height))
            .to_vec();
        assert_eq!(sealed, [false, true, true, true, true, false]);
        assert_eq!(params.last_bft_height(0), None);
        assert_eq!(params.last_bft_height(1), Some(1));
        assert_eq!(params.last_bft_height(150), Some(150));
        assert_eq!(params.last_bft_height(5_000), Some(199));
        assert_eq!(params.set_hash(0), Hash::ZERO);
        assert_eq!(params.next_set_hash(49), Hash::ZERO);
        assert_eq!(params.next_set_hash(50), params.set_hash(100));
        assert_eq!(params.next_set_hash(99), params.set_hash(100));
        assert_eq!(params.next_set_hash(100), Hash::ZERO);
        assert_eq!(params.set_hash(200), Hash::ZERO);
        let genesis = &params.genesis_state().engine;
        assert_eq!(genesis.current_set.len(), 4);
        assert_eq!((genesis.epoch_height, genesis.era.height), (1, 0));
    }

    /// By the second, to the pebble, to the cap and not beyond it.
    #[test]
    fn the_subsidy_of_seconds() {
        let params = ChainParams::new(pbft(4)).unwrap();
        let subsidy = |issued, parent, time| params.block_subsidy(1, issued, parent, time);
        assert_eq!(subsidy(Amount(0), 100, 100), Amount(0));
        assert_eq!(subsidy(Amount(0), 100, 103), Amount(21));
        assert_eq!(subsidy(Amount(0), 100, 99), Amount(0));
        let cap = params.limits().money_cap;
        assert_eq!(subsidy(Amount(cap.0 - 20), 100, 103), Amount(20));
        assert_eq!(subsidy(cap, 0, u32::MAX), Amount(0));
        assert_eq!(params.subsidy(1, Amount(0)), Amount(0), "no table");
    }

    #[test]
    fn what_is_refused_is_named() {
        let text = refusal(|f| f.schedule[0].engine = "pos".to_owned());
        assert!(
            text.contains("engine `pos`, which this program does not have yet"),
            "{text}"
        );
        let text = refusal(|f| {
            f.schedule
                .push(at(250, 300, EntryFile::devnet_pbft(4, Amount(1))))
        });
        assert!(text.contains("`schedule.k` is 0: expected 2"), "{text}");
        let text = refusal(|f| f.schedule[1].start = 1);
        assert!(text.contains("schedule.start"), "{text}");
        for announce in [100, 200] {
            let text = refusal(|f| f.schedule[1].announce = announce);
            assert!(text.contains("schedule.announce"), "{text}");
        }
        let text = refusal(|f| f.schedule[2].announce = 49);
        assert!(text.contains("schedule.announce"), "{text}");
        let text = refusal(|f| f.schedule[2].k = 5);
        assert!(text.contains("k 0, m 0 with engine \"pow\""), "{text}");
        let text = refusal(|f| f.schedule[1].k = 5);
        assert!(text.contains("k 0, m 0 after engine \"pbft\""), "{text}");
        let text = refusal(|f| f.schedule[0].validators.clear());
        assert!(text.contains("schedule.validators"), "{text}");
        let text = refusal(|f| {
            let first = f.schedule[0].validators[0];
            f.schedule[0].validators.push(first);
        });
        assert!(text.contains("each key once"), "{text}");
        for power in [0, POWER_MAX + 1] {
            let text = refusal(|f| f.schedule[0].validators[0].power = power);
            assert!(text.contains("schedule.validators.power"), "{text}");
        }
        let text = refusal(|f| f.schedule[0].validators[0].key.0 = [0; 32]);
        assert!(text.contains("SET-05"), "{text}");
        let text = refusal(|f| f.schedule[0].initial_bits = Bits(0x207f_ffff));
        assert!(text.contains("schedule.initial_bits"), "{text}");
        let text = refusal(|f| f.schedule[0].subsidy_per_second = Amount(u64::MAX));
        assert!(text.contains("money cap"), "{text}");
        let text = refusal(|f| f.schedule[2].subsidy_per_second = Amount(1));
        assert!(text.contains("none with engine \"pow\""), "{text}");
        let text = refusal(|f| {
            f.schedule[2].validators = vec![ValidatorFile {
                key: devnet_validator(1),
                power: 1,
            }];
        });
        assert!(text.contains("none with engine \"pow\""), "{text}");
    }

    /// Work, PBFT from 60 (K 10, two slips), others from 120, work from 180.
    fn switching() -> SpecFile {
        let mut file = builtin::devnet_file();
        let work = file.schedule[0].clone();
        for (announce, start, validators) in [(20, 60, 4), (70, 120, 7)] {
            let mut entry = at(
                announce,
                start,
                EntryFile::devnet_pbft(validators, Amount(1)),
            );
            (entry.k, entry.m) = (10, 2);
            file.schedule.push(entry);
        }
        file.schedule.push(at(150, 180, work));
        file
    }

    #[test]
    fn a_switch_from_work_has_room_for_its_tries() {
        let params = ChainParams::new(switching()).unwrap();
        let latest: Vec<_> = params.schedule().iter().map(|e| e.latest()).collect();
        assert_eq!(latest, [1, 80, 140, 180]);
        let text = |change: &dyn Fn(&mut SpecFile)| {
            let mut file = switching();
            change(&mut file);
            ChainParams::new(file).expect_err("refused").to_string()
        };
        for k in [0, 1, 31] {
            let text = text(&|f| f.schedule[1].k = k);
            assert!(text.contains(&format!("`schedule.k` is {k}")), "{text}");
        }
        let found = text(&|f| f.schedule[1].k = 30);
        assert!(found.contains("below 0, its start less 2 k"), "{found}");
        let found = text(&|f| f.schedule[1].announce = 40);
        assert!(found.contains("below 40, its start less 2 k"), "{found}");
        let found = text(&|f| f.schedule[1].m = u64::MAX / 10);
        assert!(found.contains("`schedule.m`"), "{found}");
        // Entry 2 fixes its set at 100: the tries of entry 1 end below.
        for (m, valid) in [(3, true), (4, false)] {
            let mut file = switching();
            file.schedule[1].m = m;
            let made = ChainParams::new(file);
            assert_eq!(made.is_ok(), valid, "S_m = {}", 60 + 10 * m);
        }
        let found = text(&|f| (f.schedule[3].announce, f.schedule[3].start) = (130, 140));
        assert!(found.contains("above 140, the last try"), "{found}");
        // If entry 1 lapses, entry 2 takes over from work and needs tries of its own.
        let found = text(&|f| (f.schedule[2].k, f.schedule[2].m) = (0, 0));
        assert!(found.contains("proof of work may be in force"), "{found}");
    }

    /// Everybody knows these keys.
    #[test]
    fn devnet_keys_are_refused_elsewhere() {
        let mut file = pbft(4);
        file.devnet = false;
        file.network = crate::address::Network::Testnet;
        file.schedule[0].validators[2].key = devnet_validator(511);
        let text = ChainParams::new(file).expect_err("refused").to_string();
        assert!(text.contains("devnet validator"), "{text}");
    }
}
