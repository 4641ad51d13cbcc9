//! The distinct switch states of a header tree: few, because only schedules and anchor certificates
//! change one.
//!
//! Invariant: a place that an entry holds is in the table; genesis holds place 0.
//!
//! Rule: `spec/12-switching.md#schedule`.

use std::collections::BTreeMap;

use cairn_protocol::state::SwitchState;

/// The states.
#[derive(Clone, Debug)]
pub(super) struct SwitchTable(Vec<SwitchState>);

impl SwitchTable {
    /// That of genesis alone.
    pub fn new() -> SwitchTable {
        SwitchTable(vec![SwitchState::default()])
    }

    /// The state at a place.
    pub fn get(&self, place: u32) -> &SwitchState {
        &self.0[place as usize]
    }

    /// The place of `state` after an entry that holds the place `parent`.
    pub fn place_of(&mut self, parent: u32, state: &SwitchState) -> u32 {
        if self.get(parent) == state {
            return parent;
        }
        // Branches that change alike do so one after the other.
        let near = self.0.iter().rposition(|known| known == state);
        let place = near.unwrap_or_else(|| {
            self.0.push(*state);
            self.0.len() - 1
        });
        u32::try_from(place).expect("fewer states than headers")
    }

    /// Forgets what no entry holds; moves the places that are left. The first is genesis'.
    pub fn keep<'a>(&mut self, places: impl Iterator<Item = &'a mut u32>) {
        let old = std::mem::take(&mut self.0);
        let mut moved: BTreeMap<u32, u32> = BTreeMap::new();
        for place in places {
            let next = u32::try_from(self.0.len()).expect("no more than before");
            let new = *moved.entry(*place).or_insert(next);
            if new == next {
                self.0.push(old[*place as usize]);
            }
            *place = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(entry: u32) -> SwitchState {
        SwitchState {
            entry,
            ..SwitchState::default()
        }
    }

    #[test]
    fn a_state_stands_once_and_places_follow_it() {
        let mut table = SwitchTable::new();
        let first = table.place_of(0, &state(1));
        let second = table.place_of(first, &state(2));
        assert_eq!(table.place_of(0, &state(2)), second);
        assert_eq!(table.place_of(second, &state(2)), second);
        assert_eq!(table.0.len(), 3);
        let mut places = [0, second, second, 0];
        table.keep(places.iter_mut());
        assert_eq!(places, [0, 1, 1, 0]);
        assert_eq!(table.get(1), &state(2));
        assert_eq!(table.0.len(), 2);
    }
}
