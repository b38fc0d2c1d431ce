//! Deadlines of the loop.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// A heap of deadlines, at most one live entry for each key in practice: owners keep their own deadline and, when an
/// entry fires too early, enter again. So moving a deadline later costs nothing.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Timers {
    pub(super) fn add(&mut self, at: Instant, key: usize) {
        self.heap.push(Reverse((at, key)));
    }

    /// Takes a key whose time has come.
    pub(super) fn pop(&mut self, now: Instant) -> Option<usize> {
        match self.heap.peek() {
            Some(Reverse((at, _))) if *at <= now => {
                let key = self.heap.pop().map(|Reverse((_, key))| key);
                // Entries of owners that are gone stay until their time: many connections that came and went leave many.
                let capacity = self.heap.capacity();
                if capacity > CAPACITY_KEPT && self.heap.len() < capacity / 4 {
                    self.heap.shrink_to(capacity / 2);
                }
                key
            }
            _ => None,
        }
    }

    /// How long the loop may sleep.
    pub(super) fn sleep(&self, now: Instant) -> Option<Duration> {
        self.heap
            .peek()
            .map(|Reverse((at, _))| at.saturating_duration_since(now))
    }
}

/// So little is not worth giving back.
const CAPACITY_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_fire_in_order_and_not_before_their_time() {
        let start = Instant::now();
        let mut timers = Timers::default();
        assert_eq!(timers.sleep(start), None);
        timers.add(start + Duration::from_millis(20), 2);
        timers.add(start + Duration::from_millis(10), 1);
        assert_eq!(timers.sleep(start), Some(Duration::from_millis(10)));
        assert_eq!(timers.pop(start), None);
        let later = start + Duration::from_millis(30);
        assert_eq!(
            (timers.pop(later), timers.pop(later), timers.pop(later)),
            (Some(1), Some(2), None)
        );
    }
}
