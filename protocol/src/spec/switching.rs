//! The switch from proof of work to BFT as arithmetic: heights of an entry, and the state of a
//! switch from one block to the next.
//!
//! ```text
//!   F = S0 - 2K   V = F + ceil(K/2)   F + K          S0      S0 + K    ...   S0 + mK
//!   set is read   the anchor          ANCHOR runs    S_0     S_1             S_m
//!                                     └── included at a: S_i is the least above a
//! ```
//!
//! Invariant: the state after a block is a function of the schedule, the state before it, its height
//! and the anchor that it includes. No clock, no message and no other branch takes part.
//! Rules: `spec/12-switching.md#from-proof-of-work-to-bft`.

use super::{ChainParams, Ruleset, ScheduleEntry};
use crate::hash::{BlockId, Hash};
use crate::state::SwitchState;
use crate::units::Height;

/// The highest height that a switch may name: instances of switches are numbered from 2^63 on, and no
/// sum of heights below it overflows.
pub const SWITCH_HEIGHT_MAX: Height = 1 << 62;

impl ScheduleEntry {
    /// Whether the entry may have to take over from proof of work: it has tries then, and may slip or
    /// lapse.
    pub fn may_slip(&self) -> bool {
        self.k > 0
    }

    /// `F = S0 - 2K`: the height whose state fixes the entry's validators.
    pub fn fixed_at(&self) -> Height {
        self.start - 2 * self.k
    }

    /// `F + ceil(K/2)`: the height of the block that ANCHOR decides.
    pub fn anchor_height(&self) -> Height {
        self.fixed_at() + self.k.div_ceil(2)
    }

    /// `floor(K/2)`: how deep the anchor is buried before a validator votes for it, and how deep the
    /// parent of TERMINAL's block may fork from a validator's heaviest chain.
    pub fn burial(&self) -> u64 {
        self.k / 2
    }

    /// `S_m`: the last height at which the entry takes effect.
    pub fn latest(&self) -> Height {
        self.start + self.m * self.k
    }

    /// The switch height on a branch that includes the anchor's certificate at `included_at`: the
    /// least `S_i` above it. `None` if that is no try of the entry.
    pub fn activation(&self, included_at: Height) -> Option<Height> {
        if included_at < self.start {
            return Some(self.start);
        }
        let tries = (included_at - self.start).checked_div(self.k)? + 1;
        (tries <= self.m).then(|| self.start + tries * self.k)
    }
}

impl ChainParams {
    /// The rules of the block at `height` whose parent left the state `before`.
    pub fn rules(&self, height: Height, before: &SwitchState) -> Ruleset<'_> {
        Ruleset::new(self, height, *before)
    }

    /// The switch state after the block at `height`, which stood on `before` and includes the anchor
    /// certificate of `included`, if any. (Whether it may include one is SWT-01's to say.)
    pub fn switch_after(
        &self,
        before: &SwitchState,
        height: Height,
        included: Option<BlockId>,
    ) -> SwitchState {
        let (entries, next) = (self.schedule(), height + 1);
        let mut after = *before;
        if after.is_crossing() {
            // The first block of the era was this one: nothing of the switch is open any more.
            after = SwitchState {
                entry: after.entry,
                since: after.since,
                ..SwitchState::default()
            };
        }
        if let (Some(anchor), true) = (included, after.is_open()) {
            (after.anchor, after.included_at) = (anchor, height);
        }
        if after.pending != 0 {
            let entry = &entries[after.pending as usize];
            if after.included_at != 0 {
                if entry.activation(after.included_at) == Some(next) {
                    (after.entry, after.since) = (after.pending, next);
                }
            } else if next >= entry.latest() {
                after.pending = 0;
            }
        }
        if after.pending == 0 {
            self.follow_schedule(&mut after, next);
        }
        after
    }

    /// What the schedule says of the block at `next` where no switch is under way: a bare height at
    /// which an entry takes over, or the beginning of a switch.
    fn follow_schedule(&self, after: &mut SwitchState, next: Height) {
        let entries = self.schedule();
        for (index, entry) in entries.iter().enumerate().skip(after.entry as usize + 1) {
            let is_bft = entries[after.entry as usize].engine.is_bft();
            let number = u32::try_from(index).expect("a schedule is short");
            let by_height = !entry.may_slip() || is_bft;
            if by_height && entry.start == next {
                (after.entry, after.since) = (number, next);
            } else if !by_height && entry.fixed_at() + 1 == next {
                after.pending = number;
            }
        }
    }

    /// The entry whose blocks have this ruleset id. What a header claims, before its ancestors are
    /// known; EXT-04 judges it.
    pub fn entry_of_ruleset(&self, ruleset: &Hash) -> Option<usize> {
        let ids = 0..self.schedule().len();
        ids.into_iter()
            .find(|entry| self.entry_ruleset_id(*entry, super::RulesetKind::Blocks) == *ruleset)
    }

    /// Whether validators seal the block that claims `ruleset`.
    pub fn is_sealed_ruleset(&self, ruleset: &Hash) -> bool {
        let entry = self.entry_of_ruleset(ruleset);
        entry.is_some_and(|entry| self.schedule()[entry].engine.is_bft())
    }

    /// Whether a block of `height` may include an anchor certificate on any branch.
    pub fn may_include_anchor(&self, height: Height) -> bool {
        let mut slipping = self.schedule().iter().filter(|entry| entry.may_slip());
        slipping.any(|entry| entry.anchor_height() < height && height < entry.latest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{EntryFile, SpecFile, builtin};
    use crate::units::Amount;

    fn entry(mut file: EntryFile, numbers: [u64; 4]) -> EntryFile {
        [file.announce, file.start, file.k, file.m] = numbers;
        file
    }

    /// Work, PBFT from 20 (K 4, two slips), other validators from 40, work from 60.
    fn file() -> SpecFile {
        let mut file = builtin::devnet_file();
        let work = file.schedule[0].clone();
        let pbft = |validators| EntryFile::devnet_pbft(validators, Amount(7));
        file.schedule.push(entry(pbft(4), [5, 20, 4, 2]));
        file.schedule.push(entry(pbft(7), [10, 40, 4, 2]));
        file.schedule.push(entry(work, [50, 60, 0, 0]));
        file
    }

    fn params() -> ChainParams {
        ChainParams::new(file()).expect("a valid file")
    }

    /// Engines by height, from 1 to `height`, with certificates included at some heights.
    fn run(params: &ChainParams, height: Height, included: &[Height]) -> Vec<SwitchState> {
        let mut states = vec![params.genesis_state().engine.switch];
        for height in 1..=height {
            let anchor = included.contains(&height).then_some(BlockId([9; 32]));
            let before = states.last().expect("genesis at least");
            states.push(params.switch_after(before, height, anchor));
        }
        states
    }

    #[test]
    fn heights_of_an_entry() {
        let params = params();
        let entry = &params.schedule()[1];
        let heights = [entry.fixed_at(), entry.anchor_height(), entry.latest()];
        assert_eq!((heights, entry.burial()), ([12, 14, 28], 2));
        for (included_at, activation) in [
            (15, Some(20)),
            (19, Some(20)),
            (20, Some(24)),
            (23, Some(24)),
            (24, Some(28)),
            (27, Some(28)),
            (28, None),
            (u64::MAX, None),
        ] {
            assert_eq!(entry.activation(included_at), activation, "{included_at}");
        }
    }

    #[test]
    fn a_switch_is_under_way_from_f_on_and_over_with_the_first_block_of_the_era() {
        let params = params();
        let states = run(&params, 30, &[16]);
        assert_eq!(states[11], SwitchState::default());
        for state in &states[12..16] {
            assert!(state.is_open(), "{state:?}");
        }
        for state in &states[16..19] {
            assert_eq!((state.pending, state.entry), (1, 0));
            assert!(!state.is_open());
            assert_eq!(state.included_at, 16);
        }
        assert!(states[19].is_crossing(), "block 20 is TERMINAL's");
        assert_eq!((states[19].entry, states[19].since), (1, 20));
        let over = SwitchState {
            entry: 1,
            since: 20,
            ..SwitchState::default()
        };
        assert_eq!(states[20..].iter().find(|state| **state != over), None);
    }

    #[test]
    fn inclusion_after_a_try_slips_to_the_next_and_no_inclusion_lapses() {
        let params = params();
        for (included_at, since) in [(19, 20), (20, 24), (23, 24), (24, 28), (27, 28)] {
            let states = run(&params, 30, &[included_at]);
            assert_eq!((states[30].entry, states[30].since), (1, since));
        }
        let lapsed = run(&params, 45, &[28]);
        assert!(lapsed[26].is_open(), "block 27 may still include it");
        assert_eq!(lapsed[27], SwitchState::default(), "S_m - 1 was the last");
        // The entry after it finds proof of work in force and needs an anchor of its own.
        assert_eq!(lapsed[31], SwitchState::default());
        assert_eq!((lapsed[32].pending, lapsed[32].is_open()), (2, true));
    }

    #[test]
    fn the_next_entries_keep_their_heights_whatever_became_of_this_one() {
        let params = params();
        let at = |included: &[Height]| {
            let states = run(&params, 70, included);
            [30, 39, 47, 59, 60].map(|height| states[height].entry)
        };
        assert_eq!(at(&[16]), [1, 2, 2, 3, 3], "validators hand over at 40");
        assert_eq!(at(&[27]), [1, 2, 2, 3, 3]);
        assert_eq!(at(&[]), [0, 0, 0, 3, 3], "both lapse, work follows work");
        assert_eq!(at(&[36]), [0, 2, 2, 3, 3]);
        assert_eq!(at(&[47]), [0, 0, 2, 3, 3], "the last slip of the second");
    }

    #[test]
    fn rules_of_a_height_follow_the_branch() {
        let params = params();
        let states = run(&params, 30, &[21]);
        let rules = |height: usize| params.rules(height as Height, &states[height - 1]);
        assert!(!rules(23).is_bft(), "slipped past 20");
        assert!(rules(24).is_terminal() && rules(24).is_bft());
        assert!(rules(25).is_bft() && !rules(25).is_terminal());
        let set = params.entry_set(1).expect("four validators").hash();
        assert_eq!(rules(12).next_set_hash(), Hash::ZERO);
        assert_eq!(rules(13).next_set_hash(), set, "from F + 1 on");
        assert_eq!(rules(23).next_set_hash(), set, "not moved by a slip");
        assert_eq!(rules(24).set_hash(), set);
        let record = rules(23).switch_record();
        assert_eq!(
            (record.entry, record.included_at, record.activation),
            (1, 21, 24)
        );
        assert_eq!(rules(24).switch_record(), record);
        assert_eq!(rules(25).switch_record(), Default::default());
        let ids: std::collections::BTreeSet<_> = [rules(23), rules(24), rules(25)]
            .map(|rules| rules.scope())
            .into();
        assert_eq!(ids.len(), 3);
        assert_eq!(rules(24).ruleset_id(), rules(25).ruleset_id());
    }
}
