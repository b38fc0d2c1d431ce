//! A hash table from what the caller knows to where it keeps it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use super::{ITEMS_KEPT, NONE};

/// A hash table that holds indices only; what they stand for, and thus their keys and hashes, the caller knows.
///
/// Each is in the first slot from the one its hash asks for that was free, and removing one moves others up, so that no
/// free slot comes between an index and the slot it asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// [`NONE`] where free. None at all, or a power of two of which at most three quarters are taken.
    pub(super) slots: Vec<u32>,
    /// How many slots are taken.
    pub(super) count: usize,
}

impl Table {
    /// The slot of the index that `is_it` accepts, among those with this hash.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        let last = self.slots.len().checked_sub(1)?;
        let mut slot = hash as usize & last;
        loop {
            match self.slots[slot] {
                NONE => return None,
                index if is_it(index) => return Some(slot),
                _ => slot = (slot + 1) & last,
            }
        }
    }

    /// Adds an index that is not in the table.
    pub(super) fn insert(&mut self, hash: u64, index: u32, hash_of: impl Fn(u32) -> u64) {
        if self.count >= self.slots.len() / 4 * 3 {
            let len = (self.slots.len() * 2).max(SLOTS_MIN);
            let slots = std::mem::replace(&mut self.slots, vec![NONE; len]);
            for index in slots.into_iter().filter(|&index| index != NONE) {
                self.place(hash_of(index), index);
            }
        }
        self.place(hash, index);
        self.count += 1;
    }

    fn place(&mut self, hash: u64, index: u32) {
        let last = self.slots.len() - 1;
        let mut slot = hash as usize & last;
        while self.slots[slot] != NONE {
            slot = (slot + 1) & last;
        }
        self.slots[slot] = index;
    }

    /// Frees a slot, and moves up what is behind it and asked for it or for one before it.
    pub(super) fn remove(&mut self, slot: usize, hash_of: impl Fn(u32) -> u64) {
        let last = self.slots.len() - 1;
        let mut hole = slot;
        let mut slot = (hole + 1) & last;
        while self.slots[slot] != NONE {
            let index = self.slots[slot];
            let asked = hash_of(index) as usize & last;
            // Distances are counted backwards from `slot`, round the end of the table.
            if slot.wrapping_sub(asked) & last >= slot.wrapping_sub(hole) & last {
                self.slots[hole] = index;
                hole = slot;
            }
            slot = (slot + 1) & last;
        }
        self.slots[hole] = NONE;
        self.count -= 1;
    }

    /// Gives back the memory that many indices took, if none is left.
    pub(super) fn shrink_if_empty(&mut self) {
        if self.count == 0 && self.slots.len() > ITEMS_KEPT {
            self.slots = Vec::new();
        }
    }
}

/// Hashes pairs of numbers, with secrets, so that no peer can choose topics that all want the same slot.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    mask: u64,
    factor: u64,
}

impl Hasher {
    pub(super) fn new() -> Hasher {
        let random = RandomState::new();
        Hasher {
            mask: random.hash_one(0),
            factor: random.hash_one(1) | 1,
        }
    }

    /// One multiplication, both halves of the product put together: the table of a large tree is out of the caches, so
    /// that a few nanoseconds more for a stronger hash would show, and nobody outside learns any of its values.
    #[inline]
    pub(super) fn hash(&self, high: u32, low: u32) -> u64 {
        let key = u64::from(high) << 32 | u64::from(low);
        let product = u128::from(key ^ self.mask) * u128::from(self.factor);
        product as u64 ^ (product >> 64) as u64
    }
}

const SLOTS_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_table_keeps_what_is_in_it_through_growth_and_collisions() {
        // Hashes that crowd together and run past the end of the table.
        let hash_of = |index: u32| u64::from(index % 5) + 4;
        let mut table = Table::default();
        for round in 0..200_u32 {
            let index = round * 37 % 101;
            match table.find(hash_of(index), |other| other == index) {
                Some(slot) => table.remove(slot, hash_of),
                None => table.insert(hash_of(index), index, hash_of),
            }
            let held: Vec<u32> = table
                .slots
                .iter()
                .copied()
                .filter(|&index| index != NONE)
                .collect();
            assert_eq!(held.len(), table.count);
            for index in held {
                let slot = table.find(hash_of(index), |other| other == index).unwrap();
                assert_eq!(table.slots[slot], index);
            }
        }
    }
}
