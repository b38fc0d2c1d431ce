//! Receiving fairly: one message from each peer that has any, in turn.

use std::collections::VecDeque;

/// The peers that may have a message, in the order in which they are asked.
///
/// A key enters when its peer becomes ready and leaves when it was found empty, so the cost of a message does not grow
/// with the number of silent peers.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    turn: VecDeque<usize>,
    /// Whether a key is in `turn`, by key.
    queued: Vec<bool>,
}

impl FairQueue {
    /// Puts a key at the end of the queue, unless it is in it.
    pub(crate) fn push(&mut self, key: usize) {
        if self.queued.len() <= key {
            self.queued.resize(key + 1, false);
        }
        if !std::mem::replace(&mut self.queued[key], true) {
            self.turn.push_back(key);
        }
    }

    /// The key whose turn it is.
    #[inline]
    pub(crate) fn current(&self) -> Option<usize> {
        self.turn.front().copied()
    }

    /// Ends the turn of the current key, which stays in the queue.
    #[inline]
    pub(crate) fn advance(&mut self) {
        if self.turn.len() > 1 {
            self.turn.rotate_left(1);
        }
    }

    /// Takes the current key out of the queue.
    pub(crate) fn drop_current(&mut self) {
        if let Some(key) = self.turn.pop_front() {
            self.queued[key] = false;
        }
    }

    /// Takes a key out of the queue, wherever it is.
    pub(crate) fn remove(&mut self, key: usize) {
        if self.queued.get(key).copied().unwrap_or(false) {
            self.queued[key] = false;
            self.turn.retain(|&queued| queued != key);
        }
    }

    /// How many keys are in the queue.
    pub(crate) fn len(&self) -> usize {
        self.turn.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ready_peer_gets_one_turn_a_round() {
        let mut queue = FairQueue::default();
        for key in [3, 1, 2, 1] {
            queue.push(key);
        }
        let mut order = Vec::new();
        for _ in 0..6 {
            order.push(queue.current().unwrap());
            queue.advance();
        }
        assert_eq!(order, [3, 1, 2, 3, 1, 2]);
    }

    #[test]
    fn an_empty_peer_leaves_and_comes_back_at_the_end() {
        let mut queue = FairQueue::default();
        queue.push(0);
        queue.push(1);
        queue.drop_current();
        assert_eq!(queue.current(), Some(1));
        queue.push(0);
        queue.remove(1);
        assert_eq!((queue.current(), queue.len()), (Some(0), 1));
        queue.drop_current();
        assert_eq!(queue.current(), None);
    }
}
