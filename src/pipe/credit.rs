//! How many messages the consuming side is done with, and the wake-up of a producer that waits for room.
//!
//! The same counter serves three pairs: a sender at its high-water mark and the side that writes to the kernel, an
//! inproc sender and its receiver, a connection that stopped reading and the application that takes its messages.
//! The producer compares the counter with what it has put in itself, so the bound is exact.

use super::PipeId;
use super::inbox::Ready;
use super::quota::Quota;
use super::sync::{AtomicBool, AtomicU64, Ordering, fence};

///
/// It has its cache lines to itself: the consuming side writes the counter at each message, and what lies beside it is read by
/// the producer as often.
#[repr(align(64))]
pub(crate) struct Credit {
    /// Messages done with since the pipe was made. Written by the consuming side only, with Release, so that a producer
    /// which sees it also sees the room it stands for.
    done: AtomicU64,
    /// Bytes written to the present connection, if the consuming side writes to one; as `done`, without the order.
    bytes: AtomicU64,
    /// The producer waits for room. Set by the producer, cleared by whoever answers.
    wanted: AtomicBool,
    pipe: PipeId,
    producer: std::sync::Arc<dyn Ready>,
}

impl Credit {
    pub(crate) fn new(pipe: PipeId, producer: std::sync::Arc<dyn Ready>) -> Credit {
        Credit {
            done: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            pipe,
            producer,
        }
    }

    /// Consuming side: sets the counter. Cheap; wakes nobody.
    #[inline]
    pub(crate) fn set_done(&self, total: u64) {
        self.done.store(total, Ordering::Release);
    }

    /// Consuming side: sets the count of bytes.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Bytes written to the present connection.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Consuming side: tells a producer that waits. To be called after [`set_done`](Self::set_done), at the latest when
    /// the consuming side has nothing left to do.
    #[inline]
    pub(crate) fn announce(&self) {
        // Pairs with the fence in `want`: either the producer sees the new count, or we see that it waits.
        fence(Ordering::SeqCst);
        if self.wanted.load(Ordering::Relaxed) {
            self.answer();
        }
    }

    #[cold]
    fn answer(&self) {
        if self.wanted.swap(false, Ordering::AcqRel) {
            self.producer.ready(self.pipe);
        }
    }

    /// Consuming side: tells the producer, whether it waits or not, that something about the pipe has changed.
    pub(crate) fn producer_ready(&self) {
        self.producer.ready(self.pipe);
    }

    #[inline]
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    /// Producer: asks for word at the next [`announce`](Self::announce), and returns the count as it is *after* asking, and
    /// whether word had been asked for before. A producer that finds room in it calls [`unwant`](Self::unwant), unless word
    /// had been asked for: somebody else who sends through the same socket may rely on it.
    pub(crate) fn want(&self) -> (u64, bool) {
        // A swap, as in `answer`: changes of the flag by both sides then have one order that both agree on.
        let asked_before = self.wanted.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        (self.done(), asked_before)
    }

    /// Producer: asks for word of room below the ceiling on what all queues hold. Whether there is room after all.
    pub(crate) fn wait_for_quota(&self, quota: &Quota) -> bool {
        quota.wait(self.pipe, &self.producer)
    }

    /// Producer: takes the request back. Word may be on its way all the same.
    pub(crate) fn unwant(&self) {
        self.wanted.swap(false, Ordering::AcqRel);
    }
}
