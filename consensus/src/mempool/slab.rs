//! Numbered places for values that refer to each other: entries and clusters.
//!
//! Invariant: a slot number stands for one value from `insert` to `remove`; numbers are used again
//! afterwards and never decide an order that anyone outside can see.

use std::ops::{Index, IndexMut};

/// The number of a place in a [`Slab`].
pub type Slot = u32;

/// A vector with holes that are filled first.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Stores a value and tells its place.
    pub fn insert(&mut self, value: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.places[slot as usize] = Some(value);
            return slot;
        }
        self.places.push(Some(value));
        Slot::try_from(self.places.len() - 1)
            .expect("the pool's byte cap is far below 2^32 entries")
    }

    /// Takes a value out.
    ///
    /// # Panics
    /// If the place is empty: someone kept a slot of a value that is gone.
    pub fn remove(&mut self, slot: Slot) -> T {
        let value = self.places[slot as usize]
            .take()
            .expect("the slot holds a value");
        self.free.push(slot);
        value
    }

    /// The value in a place, if there is one.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.places.get(slot as usize)?.as_ref()
    }

    /// How many values are stored.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// All values with their places, in the order of places.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        (0..)
            .zip(&self.places)
            .filter_map(|(slot, place)| Some((slot, place.as_ref()?)))
    }
}

impl<T> Index<Slot> for Slab<T> {
    type Output = T;
    fn index(&self, slot: Slot) -> &T {
        self.places[slot as usize]
            .as_ref()
            .expect("the slot holds a value")
    }
}

impl<T> IndexMut<Slot> for Slab<T> {
    fn index_mut(&mut self, slot: Slot) -> &mut T {
        self.places[slot as usize]
            .as_mut()
            .expect("the slot holds a value")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_reused() {
        let mut slab = Slab::default();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!(slab.remove(a), 'a');
        let c = slab.insert('c');
        assert_eq!((a, slab.len()), (c, 2));
        assert_eq!(slab.iter().collect::<Vec<_>>(), vec![(c, &'c'), (b, &'b')]);
    }

    #[test]
    #[should_panic(expected = "the slot holds a value")]
    fn a_stale_slot_is_a_bug() {
        let mut slab = Slab::default();
        let slot = slab.insert(1);
        slab.remove(slot);
        let _ = slab[slot];
    }
}
