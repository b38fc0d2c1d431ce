//! A ceiling on the bytes that all queues of a context hold together, for those who ask for one.
//!
//! What is charged: the elements of each segment of a chain when its producer has left it, and each body by reference when it is
//! appended. So an idle pipe is charged for nothing, and the last segment of a busy one, of 4 KiB, is not counted. What leaves
//! the queue is given back.
//!
//! A queue that is empty takes a message in any case. Otherwise what one queue holds could stop the very traffic that would empty
//! it: two peers that both read nothing before they have written, or a thread that passes messages on and finds no room
//! behind because of what waits before.
//!
//! A producer that finds the ceiling reached asks for word, *then* looks once more; whoever gives back so much that there is room
//! again looks for those that asked, with a fence between the two steps on both sides.

use std::collections::BTreeMap;

use super::PipeId;
use super::inbox::Ready;
use super::sync::{AtomicBool, AtomicU64, HomeMutex, Ordering, fence};

pub(crate) struct Quota {
    max: u64,
    queued: AtomicU64,
    /// Somebody is in `waiting`.
    is_awaited: AtomicBool,
    /// Pipes whose producers wait for room.
    waiting: HomeMutex<BTreeMap<PipeId, std::sync::Arc<dyn Ready>>>,
}

impl Quota {
    pub(crate) fn new(max: u64) -> Quota {
        Quota {
            max,
            queued: AtomicU64::new(0),
            is_awaited: AtomicBool::new(false),
            waiting: HomeMutex::default(),
        }
    }

    /// Bytes that are charged.
    pub(crate) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Whether more may be queued. It may exceed the ceiling, but nothing after that.
    pub(crate) fn has_room(&self) -> bool {
        self.queued() < self.max
    }

    pub(super) fn charge(&self, bytes: usize) {
        self.queued.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        let before = self.queued.fetch_sub(bytes as u64, Ordering::Relaxed);
        if before >= self.max && before - (bytes as u64) < self.max {
            // Pairs with the fence in `wait`: either the producer sees the room, or we see that it waits.
            fence(Ordering::SeqCst);
            if self.is_awaited.load(Ordering::Relaxed) {
                self.tell();
            }
        }
    }

    #[cold]
    fn tell(&self) {
        let waiting = {
            let mut waiting = self.waiting.lock();
            self.is_awaited.store(false, Ordering::Relaxed);
            std::mem::take(&mut *waiting)
        };
        // Outside the lock: it may call anybody's waker.
        for (pipe, producer) in waiting {
            producer.ready(pipe);
        }
    }

    /// Whether there is room after all; if not, the producer will hear when there is.
    pub(super) fn wait(&self, pipe: PipeId, producer: &std::sync::Arc<dyn Ready>) -> bool {
        {
            let mut waiting = self.waiting.lock();
            waiting.insert(pipe, producer.clone());
            self.is_awaited.store(true, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.has_room()
    }

    /// The pipe is gone, and nobody waits for room in it.
    pub(super) fn forget(&self, pipe: PipeId) {
        let forgotten = self.waiting.lock().remove(&pipe);
        // Outside the lock: the last owner of an inbox drops what is in it.
        drop(forgotten);
    }
}
