//! Drained segments on their way back to the producer, so that a steady flow allocates nothing.
//!
//! A [`Pool`] belongs to one producing thread (a socket's send half, or an I/O thread) and serves all its chains.
//! Consumers push single segments; the owner takes the whole stack at once into its [`Spares`]. Nobody ever pops
//! a single node from the shared stack, so the classic ABA problem cannot arise.

use std::ptr;

use super::chain::Segment;
use super::quota::Quota;
use super::sync::{Arc, AtomicPtr, AtomicUsize, Ordering};

/// Sizes of the segments of one producer's chains, in elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The first segment of each chain: small, because most connections say little. Never recycled.
    pub(crate) first: usize,
    /// Every later segment.
    pub(crate) small: usize,
    /// Blocks that are read into and handed over whole; 0 where there are none.
    pub(crate) block: usize,
}

/// Where the chains of a producer charge what they hold, and what an element weighs beside its own size.
pub(super) struct Charging<T> {
    pub(super) quota: std::sync::Arc<Quota>,
    pub(super) weigh: fn(&T) -> usize,
}

impl<T> Clone for Charging<T> {
    fn clone(&self) -> Charging<T> {
        Charging {
            quota: self.quota.clone(),
            weigh: self.weigh,
        }
    }
}

/// The shared side: where consumers put drained segments.
pub(crate) struct Pool<T> {
    sizes: Sizes,
    pub(super) charging: Option<Charging<T>>,
    small: Stack<T>,
    blocks: Stack<T>,
}

impl<T> Pool<T> {
    /// A pool whose chains charge nothing.
    pub(crate) fn new(sizes: Sizes) -> Arc<Pool<T>> {
        Pool::with(sizes, None)
    }

    /// A pool whose chains charge what they hold; `weigh` tells what an element holds beside its own size.
    pub(crate) fn charging(
        sizes: Sizes,
        quota: std::sync::Arc<Quota>,
        weigh: fn(&T) -> usize,
    ) -> Arc<Pool<T>> {
        Pool::with(sizes, Some(Charging { quota, weigh }))
    }

    fn with(sizes: Sizes, charging: Option<Charging<T>>) -> Arc<Pool<T>> {
        Arc::new(Pool {
            sizes,
            charging,
            small: Stack::new(SMALL_BYTES_MAX, sizes.small),
            blocks: Stack::new(BLOCK_BYTES_MAX, sizes.block),
        })
    }

    /// Takes a segment that nobody else can reach any more and whose elements have all been moved out.
    pub(crate) fn give(&self, mut segment: Box<Segment<T>>) {
        segment.reset();
        // A run of elements may be as long as a block is, but only what was made as a block is initialised throughout.
        if segment.is_block() {
            self.blocks.push(segment);
        } else if segment.capacity() == self.sizes.small {
            self.small.push(segment);
        }
    }
}

/// The producer's side: what it has taken back, and where it gets new segments.
///
/// `Send` but not shared: one thread at a time owns it, as it owns the producers it serves.
pub(crate) struct Spares<T> {
    pool: Arc<Pool<T>>,
    small: List<T>,
    blocks: List<T>,
}

impl<T> Spares<T> {
    pub(crate) fn new(pool: Arc<Pool<T>>) -> Spares<T> {
        Spares {
            pool,
            small: List::new(),
            blocks: List::new(),
        }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<T>> {
        &self.pool
    }

    pub(crate) fn sizes(&self) -> Sizes {
        self.pool.sizes
    }

    pub(crate) fn small(&mut self) -> Box<Segment<T>> {
        let Spares { pool, small, .. } = self;
        small
            .pop(&pool.small)
            .unwrap_or_else(|| Segment::new(pool.sizes.small))
    }

    /// A block that came back, if there is one.
    #[cfg(not(zerowire_loom))]
    pub(super) fn block(&mut self) -> Option<Box<Segment<T>>> {
        self.blocks.pop(&self.pool.blocks)
    }
}

/// How many bytes of small segments a pool keeps, for each socket that was ever that busy: 256 segments.
const SMALL_BYTES_MAX: usize = 1024 * 1024;
/// How many bytes of blocks a pool keeps, for each I/O thread: 32 blocks.
const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A stack with many pushers and one taker, who takes all.
struct Stack<T> {
    /// Newest segment; each one's `next` leads to the one below. Publishes the segment's reset state.
    head: AtomicPtr<Segment<T>>,
    /// Segments here or in the owner's list; may be stale by the number of pushers, which only moves the limit.
    kept: AtomicUsize,
    segments_max: usize,
}

impl<T> Stack<T> {
    /// A stack for at most `bytes_max` of elements in segments of `capacity`; for none where there are no such segments.
    fn new(bytes_max: usize, capacity: usize) -> Stack<T> {
        Stack {
            head: AtomicPtr::new(ptr::null_mut()),
            kept: AtomicUsize::new(0),
            segments_max: bytes_max.checked_div(capacity * size_of::<T>()).unwrap_or(0),
        }
    }

    fn push(&self, segment: Box<Segment<T>>) {
        if self.kept.fetch_add(1, Ordering::Relaxed) >= self.segments_max {
            self.kept.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let node = Box::into_raw(segment);
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: `node` came from a Box just now and is not yet reachable by anyone else.
            unsafe { Segment::set_next(node, head) };
            // Release pairs with the Acquire of `take_all`: the taker sees the link and the reset segment.
            match self
                .head
                .compare_exchange_weak(head, node, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// The whole stack as a linked list, now owned by the caller.
    fn take_all(&self) -> *mut Segment<T> {
        if self.head.load(Ordering::Relaxed).is_null() {
            return ptr::null_mut();
        }
        self.head.swap(ptr::null_mut(), Ordering::Acquire)
    }
}

impl<T> Drop for Stack<T> {
    fn drop(&mut self) {
        drop(List {
            head: self.take_all(),
        });
    }
}

/// A private linked list of recycled segments.
struct List<T> {
    head: *mut Segment<T>,
}

// SAFETY: the list owns its segments, which hold no elements; a segment is `Send` when its elements are.
unsafe impl<T: Send> Send for List<T> {}

impl<T> List<T> {
    fn new() -> List<T> {
        List {
            head: ptr::null_mut(),
        }
    }

    /// Takes one segment, refilling the list from the shared stack when it is empty.
    fn pop(&mut self, stack: &Stack<T>) -> Option<Box<Segment<T>>> {
        if self.head.is_null() {
            self.head = stack.take_all();
        }
        let segment = self.unlink()?;
        stack.kept.fetch_sub(1, Ordering::Relaxed);
        Some(segment)
    }

    fn unlink(&mut self) -> Option<Box<Segment<T>>> {
        if self.head.is_null() {
            return None;
        }
        // SAFETY: every pointer in the list came from `Box::into_raw` and is owned by this list alone.
        let mut segment = unsafe { Box::from_raw(self.head) };
        self.head = segment.take_next();
        Some(segment)
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        while self.unlink().is_some() {}
    }
}

#[cfg(all(test, not(zerowire_loom)))]
mod tests {
    use super::super::{BYTE_SIZES, INBOUND_SIZES};
    use super::*;

    fn given_back(sizes: Sizes, capacity: usize, count: usize) -> (usize, usize) {
        let pool = Pool::new(sizes);
        for _ in 0..count {
            pool.give(Segment::<u8>::new(capacity));
        }
        let kept = |stack: &Stack<u8>| stack.kept.load(Ordering::Relaxed);
        (kept(&pool.small), kept(&pool.blocks))
    }

    #[test]
    fn a_pool_keeps_a_mebibyte_of_small_segments() {
        assert_eq!(given_back(INBOUND_SIZES, 4096, 1000), (256, 0));
    }

    #[test]
    fn a_pool_keeps_no_segment_of_another_size() {
        // The first of a chain has no capacity, which is also the size of the blocks where there are none.
        for capacity in [0, BYTE_SIZES.first, BYTE_SIZES.small + 1] {
            assert_eq!(given_back(BYTE_SIZES, capacity, 1), (0, 0));
        }
    }

    #[test]
    fn a_run_as_long_as_a_block_does_not_come_back_as_one() {
        assert_eq!(given_back(INBOUND_SIZES, INBOUND_SIZES.block, 1), (0, 0));
    }
}
