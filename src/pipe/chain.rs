//! The one lock-free queue: a chain of segments with a single producer and a single consumer.
//!
//! ```text
//!      first            segment               open
//!   ┌─────────┐  next  ┌─────────┐  next  ┌─────────────┐
//!   │ sealed  │ ─────► │ sealed  │ ─────► │ published│  │ ◄── the producer writes here, then stores the word
//!   └─────────┘        └─────────┘        └──────────┴──┘
//!        ▲ the consumer frees what lies behind it; it reads up to the published length
//! ```
//!
//! Each segment has one [`AtomicU64`] *word*: how many elements are published, how many messages end among them, and
//! the bits [`SEALED`], [`SPLIT`] and [`BODY`]. The rules, each of which a loom model needs in order to pass:
//!
//! - The producer owns the *open* segment and never touches a sealed one again. The consumer frees sealed ones only,
//!   so nobody frees what may still grow.
//! - `next` and `body` are written before the word that says they are there.
//! - Elements written but not committed are invisible. Where they have spilled into later segments, [`Producer::commit`]
//!   stores the later words first and the word of the *anchor* (the segment that holds the published end) last: one
//!   release store makes a message of any number of segments appear as a whole.
//! - An element run handed to one `push` stays in one segment. For bytes, each push is one frame (or several whole
//!   ones), so every segment starts and ends at a frame.
//! - A frame body may be appended by reference, as the *body* of its segment, behind the elements.
//!
//! The chain starts with a segment of no capacity, so an unused one costs about 200 bytes.

use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use bytes::Bytes;

use super::quota::Quota;
use super::recycle::{Charging, Pool, Spares};
use super::sync::{Arc, AtomicU64, Ordering, UnsafeCell};

/// No element will be added to this segment, and `next` is there.
pub(super) const SEALED: u64 = 1 << 63;
/// The segment ends inside a message, which goes on in the next one. Set with [`SEALED`] only.
pub(super) const SPLIT: u64 = 1 << 62;
/// `body` is there, behind the last element. No element will be added.
pub(super) const BODY: u64 = 1 << 61;
const MESSAGES_SHIFT: u32 = 32;
const MESSAGES_MAX: u32 = (1 << 29) - 1;

/// Elements published in a segment with this word.
pub(super) const fn published(word: u64) -> usize {
    (word & 0xffff_ffff) as usize
}

/// Messages that end among the published elements (or with the body).
pub(super) const fn messages(word: u64) -> u32 {
    ((word >> MESSAGES_SHIFT) as u32) & MESSAGES_MAX
}

/// In a cache line of its own.
#[repr(align(64))]
struct Apart<T>(T);

/// One link of the chain.
pub(crate) struct Segment<T> {
    /// Publishes the elements below its length, `next` once it has SEALED, and `body` once it has BODY. Written by the
    /// producer with Release (or Relaxed while the segment cannot be reached yet), read by the consumer with Acquire.
    ///
    /// Apart from the rest, which the consumer reads at each element: the producer writes the word as often.
    word: Apart<AtomicU64>,
    /// The segment behind this one; in a pool, the one below. Written by the producer before SEALED is published.
    next: UnsafeCell<*mut Segment<T>>,
    /// A frame body by reference. Written by the producer before BODY is published, afterwards the consumer's.
    body: UnsafeCell<Option<Bytes>>,
    /// Slots below the published length are initialised and the consumer's; the others are the producer's.
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Made to be read into: every slot has been initialised from the start. Never changes.
    block: bool,
    /// Copies that the models lend in place of slices, because loom's cells are not laid out like their content.
    #[cfg(zerowire_loom)]
    views: std::sync::Mutex<Vec<Box<[T]>>>,
}

impl<T> Segment<T> {
    pub(super) fn new(capacity: usize) -> Box<Segment<T>> {
        let slots = (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit()));
        Segment::with_slots(slots.collect(), false)
    }

    fn with_slots(slots: Box<[UnsafeCell<MaybeUninit<T>>]>, block: bool) -> Box<Segment<T>> {
        Box::new(Segment {
            word: Apart(AtomicU64::new(0)),
            next: UnsafeCell::new(ptr::null_mut()),
            body: UnsafeCell::new(None),
            slots,
            block,
            #[cfg(zerowire_loom)]
            views: std::sync::Mutex::default(),
        })
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_block(&self) -> bool {
        self.block
    }

    /// Makes a drained segment as good as new.
    pub(super) fn reset(&mut self) {
        self.word = Apart(AtomicU64::new(0));
        self.next = UnsafeCell::new(ptr::null_mut());
        self.body = UnsafeCell::new(None);
    }

    /// Links `segment` to `next` while it is outside every chain.
    ///
    /// # Safety
    /// - `segment` is valid and only the caller can reach it.
    pub(super) unsafe fn set_next(segment: *mut Segment<T>, next: *mut Segment<T>) {
        // SAFETY: the caller alone can reach the segment, so the reference is valid and unshared.
        let segment = unsafe { &*segment };
        // SAFETY: as above, nobody else reads or writes the cell.
        segment.next.with_mut(|cell| unsafe { *cell = next });
    }

    pub(super) fn take_next(&mut self) -> *mut Segment<T> {
        // SAFETY: `&mut self` excludes every other access to the cell.
        self.next
            .with_mut(|cell| unsafe { ptr::replace(cell, ptr::null_mut()) })
    }

    /// Reads the link to the next segment.
    ///
    /// # Safety
    /// - The caller is the producer, or the consumer that has seen SEALED in the word.
    pub(super) unsafe fn next(&self) -> *mut Segment<T> {
        // SAFETY: the producer writes the cell only before it publishes SEALED, so no write can overlap.
        self.next.with(|cell| unsafe { *cell })
    }

    pub(super) fn load(&self) -> u64 {
        // Acquire pairs with the Release store of `Producer::commit`: what the word publishes is visible.
        self.word.0.load(Ordering::Acquire)
    }

    /// Length of the body by reference; 0 without one, or after it was released.
    ///
    /// # Safety
    /// - The caller is the consumer and has seen BODY in the word.
    pub(super) unsafe fn body_len(&self) -> usize {
        // SAFETY: once BODY is published only the consumer, our caller, touches the cell.
        self.body
            .with(|cell| unsafe { (*cell).as_ref().map_or(0, Bytes::len) })
    }

    /// The body's bytes.
    ///
    /// # Safety
    /// - As for [`body_len`](Self::body_len), and the body is not taken while the slice lives.
    pub(super) unsafe fn body_slice<'a>(&self) -> &'a [u8] {
        // SAFETY: once BODY is published only the consumer, our caller, touches the cell, and it keeps it in place for 'a.
        let body: &'a Option<Bytes> = self.body.with(|cell| unsafe { &*cell });
        body.as_deref().unwrap_or_default()
    }

    /// Moves the body out.
    ///
    /// # Safety
    /// - As for [`body_len`](Self::body_len).
    pub(super) unsafe fn take_body(&self) -> Option<Bytes> {
        // SAFETY: once BODY is published only the consumer, our caller, touches the cell.
        self.body.with_mut(|cell| unsafe { (*cell).take() })
    }

    /// Borrows published elements.
    ///
    /// # Safety
    /// - `from <= to`, `to` is at most a published length that the caller has seen, and no element of the range was
    ///   moved out.
    /// - The segment is not freed while the slice lives.
    #[cfg(not(zerowire_loom))]
    #[inline]
    pub(super) unsafe fn slice<'a>(&self, from: usize, to: usize) -> &'a [T] {
        debug_assert!(from <= to && to <= self.slots.len());
        let base = self.slots.as_ptr().cast::<T>();
        // SAFETY: `from <= to <= capacity`, so the offset stays inside the allocation.
        let start = unsafe { base.add(from) };
        // SAFETY: published slots are initialised and no longer written; the cells are laid out like their content.
        unsafe { std::slice::from_raw_parts(start, to - from) }
    }

    /// See above; the models copy, element by element, so that loom checks each access.
    ///
    /// # Safety
    /// - As above, and `T` is plain data.
    #[cfg(zerowire_loom)]
    pub(super) unsafe fn slice<'a>(&self, from: usize, to: usize) -> &'a [T] {
        let copy: Box<[T]> = (from..to)
            // SAFETY: published slots are initialised.
            .map(|at| self.slots[at].with(|slot| unsafe { (*slot).assume_init_read() }))
            .collect();
        let view = ptr::from_ref::<[T]>(&copy);
        self.views
            .lock()
            .expect("models do not panic under the lock")
            .push(copy);
        // SAFETY: the copy lives as long as the segment.
        unsafe { &*view }
    }

    /// Writes elements that are not published yet.
    ///
    /// # Safety
    /// - The caller is the producer, and `at..at + from.len()` lies within the capacity and above every published length.
    #[inline]
    unsafe fn copy_in(&self, at: usize, from: &[T])
    where
        T: Copy,
    {
        debug_assert!(at + from.len() <= self.slots.len());
        #[cfg(not(zerowire_loom))]
        {
            let base = self.slots.as_ptr().cast::<T>().cast_mut();
            // SAFETY: the range lies within the allocation.
            let start = unsafe { base.add(at) };
            // SAFETY: unpublished slots are the producer's alone, and cells allow writing through a shared reference.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), start, from.len()) };
        }
        #[cfg(zerowire_loom)]
        for (slot, element) in self.slots[at..at + from.len()].iter().zip(from) {
            // SAFETY: unpublished slots are the producer's alone.
            slot.with_mut(|slot| unsafe { (*slot).write(*element) });
        }
    }

    /// Moves one element in.
    ///
    /// # Safety
    /// - As for [`copy_in`](Self::copy_in) with one element.
    #[inline]
    unsafe fn move_in(&self, at: usize, element: T) {
        // SAFETY: unpublished slots are the producer's alone.
        self.slots[at].with_mut(|slot| unsafe { (*slot).write(element) });
    }

    /// Moves one element out, after it was shown where it lies.
    ///
    /// # Safety
    /// - The slot is initialised, the caller has seen it published (or is the producer and it is not), and nobody takes
    ///   or reads it again.
    #[inline(always)]
    unsafe fn move_out(&self, at: usize, see: impl FnOnce(&T)) -> T {
        self.slots[at].with(|slot| {
            // SAFETY: published slots are no longer written.
            let slot = unsafe { &*slot };
            // SAFETY: published slots are initialised.
            see(unsafe { slot.assume_init_ref() });
            // SAFETY: as above, and it is not read again.
            unsafe { slot.assume_init_read() }
        })
    }
}

/// Makes a chain whose drained segments go to `pool`, which is the pool of the producer's spares.
pub(crate) fn chain<T>(pool: &Arc<Pool<T>>) -> (Producer<T>, Consumer<T>) {
    let first = Box::into_raw(Segment::new(0));
    let link = Arc::new(Link {
        head: UnsafeCell::new((first, 0)),
        charging: pool.charging.clone(),
    });
    let charges = link.charging.is_some();
    let producer = Producer {
        open: first,
        capacity: 0,
        used: 0,
        messages: 0,
        body: 0,
        inside_message: false,
        grown: false,
        anchor: first,
        anchor_word: 0,
        anchor_sealed: 0,
        charges,
        link: link.clone(),
    };
    (
        producer,
        Consumer {
            first,
            segment: first,
            at: 0,
            word: 0,
            passed: 0,
            pool: pool.clone(),
            charges,
            link,
        },
    )
}

/// What the two sides share beside the segments: it frees what is left when both are gone.
struct Link<T> {
    /// First segment that is not freed yet and how many of its elements were moved out. Written once, by the dropped
    /// consumer; read when the last side is gone.
    head: UnsafeCell<(*mut Segment<T>, usize)>,
    /// Where what the chain holds is charged, if anywhere.
    charging: Option<Charging<T>>,
}

impl<T> Link<T> {
    /// So many elements were put into a segment that has been left.
    #[cold]
    fn charge(&self, elements: usize) {
        if let Some(charging) = &self.charging {
            charging.quota.charge(elements * size_of::<T>());
        }
    }

    /// The segment with so many elements is no longer in the chain.
    #[cold]
    fn give_back(&self, elements: usize) {
        self.give_back_bytes(elements * size_of::<T>());
    }

    fn charge_bytes(&self, bytes: usize) {
        if let Some(charging) = &self.charging {
            charging.quota.charge(bytes);
        }
    }

    fn give_back_bytes(&self, bytes: usize) {
        if let (Some(charging), 1..) = (&self.charging, bytes) {
            charging.quota.give_back(bytes);
        }
    }

    /// Drops a body, as [`let_go`] does.
    fn let_go(&self, body: Option<Bytes>) {
        self.give_back_bytes(body.as_ref().map_or(0, Bytes::len));
        let_go(body);
    }

    fn weigh(&self, element: &T) -> usize {
        self.charging
            .as_ref()
            .map_or(0, |charging| (charging.weigh)(element))
    }
}

// SAFETY: the cell is written by the consumer only and read by `drop`, which the Arc orders after every other use.
unsafe impl<T: Send> Send for Link<T> {}
// SAFETY: as above: a shared reference gives no access to the cell outside the consumer's drop.
unsafe impl<T: Send> Sync for Link<T> {}

impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: both sides are gone.
        let (mut segment, mut at) = self.head.with(|cell| unsafe { *cell });
        while !segment.is_null() {
            // SAFETY: from `head` on, every segment came from `Box::into_raw` and nobody else can reach it.
            let mut owned = unsafe { Box::from_raw(segment) };
            let end = published(owned.load());
            if std::mem::needs_drop::<T>() {
                for slot in at..end {
                    // SAFETY: published and not yet moved out; the segment is freed right after.
                    let element = unsafe { owned.move_out(slot, |_| {}) };
                    self.give_back_bytes(self.weigh(&element));
                }
            }
            // SAFETY: it is ours alone.
            self.let_go(unsafe { owned.take_body() });
            if owned.load() & SEALED != 0 {
                self.give_back(end);
            }
            segment = owned.take_next();
            at = 0;
        }
    }
}

/// The writing end. `Send`, not shared.
pub(crate) struct Producer<T> {
    /// The segment being filled. Always valid.
    open: *mut Segment<T>,
    /// How many elements of `open` may be used; less than its real capacity once it has a body or is a finished block.
    capacity: usize,
    /// Elements written to `open`, published or not.
    used: usize,
    /// Messages that end in `open`, published or not.
    messages: u32,
    /// [`BODY`] if `open` has a body and takes no further element, otherwise 0: the bit as it goes into the word, because
    /// a byte-sized flag beside others is loaded together with a fresh store to one of them, which stalls.
    body: u64,
    /// Elements were pushed since the last message ended.
    inside_message: bool,
    /// The small first segment has been used.
    grown: bool,
    /// The segment that holds the published end; `open`, or before it.
    anchor: *mut Segment<T>,
    /// The word published in `anchor`.
    anchor_word: u64,
    /// The word that `anchor` gets at the next commit, once it has been left for a later segment.
    anchor_sealed: u64,
    /// What is put in is charged.
    charges: bool,
    link: Arc<Link<T>>,
}

// SAFETY: a producer only reaches what the protocol above leaves to it, whichever thread it is on.
unsafe impl<T: Send> Send for Producer<T> {}

impl<T> Producer<T> {
    /// Appends one element, which is a whole message, and publishes it.
    #[inline]
    pub(crate) fn push_message(&mut self, element: T, spares: &mut Spares<T>) {
        self.reserve(1, spares);
        // SAFETY: `open` is valid, and `reserve` made sure of a free slot at `used`.
        unsafe { self.open().move_in(self.used, element) };
        if self.charges {
            self.charge_element();
        }
        self.used += 1;
        self.messages += 1;
        self.commit();
    }

    /// Charges the element that was just put behind those in use.
    #[cold]
    fn charge_element(&self) {
        // SAFETY: `open` is valid, and the slot at `used` was written and is not published yet: ours alone.
        if let [element] = unsafe { self.open().slice(self.used, self.used + 1) } {
            self.link.charge_bytes(self.link.weigh(element));
        }
    }

    /// Appends two runs of elements that stay together in one segment: a header and a body.
    #[inline]
    pub(crate) fn push(&mut self, head: &[T], tail: &[T], spares: &mut Spares<T>)
    where
        T: Copy,
    {
        self.reserve(head.len() + tail.len(), spares);
        // SAFETY: `open` is valid, and `reserve` made sure of room for both runs at `used`.
        unsafe { self.open().copy_in(self.used, head) };
        // SAFETY: as above.
        unsafe { self.open().copy_in(self.used + head.len(), tail) };
        self.used += head.len() + tail.len();
        self.inside_message = true;
    }

    /// Appends `head` and the first `length` elements of `block`, together in one segment. If there is room, the whole block
    /// is copied, which is quicker than to copy a length that is known only now; what is behind will be overwritten.
    ///
    /// A `length` above `N` would publish slots that nobody wrote. It is checked in debug builds only, because every small
    /// message passes here: the length is the one that the message keeps beside the very array that is copied.
    #[inline]
    pub(crate) fn push_prefix<const H: usize, const N: usize>(
        &mut self,
        head: &[T; H],
        block: &[T; N],
        length: usize,
        spares: &mut Spares<T>,
    ) where
        T: Copy,
    {
        debug_assert!(length <= N);
        if self.capacity - self.used < H + N || self.messages == MESSAGES_MAX {
            self.push(head, &block[..length], spares);
            return;
        }
        // SAFETY: `open` is valid and has room for both above everything published.
        unsafe { self.open().copy_in(self.used, head) };
        // SAFETY: as above.
        unsafe { self.open().copy_in(self.used + H, block) };
        self.used += H + length;
        self.inside_message = true;
    }

    /// Appends a header and, by reference, the body that follows it.
    ///
    /// # Panics
    /// If `head` is empty. A header needs room, and a segment that has a body gives none: so the open one is left, and
    /// the body that the consumer may be reading is not touched.
    pub(crate) fn push_body(&mut self, head: &[T], body: Bytes)
    where
        T: Copy,
    {
        assert!(!head.is_empty(), "a body follows its header");
        if self.capacity - self.used < head.len() {
            // The next frame may well have a body too, so a whole segment for its header would be a waste.
            self.advance(Segment::new(HEADER_SEGMENT.max(head.len())));
        }
        // SAFETY: `open` is valid and has room for the header.
        unsafe { self.open().copy_in(self.used, head) };
        self.used += head.len();
        self.link.charge_bytes(body.len());
        // SAFETY: `open` is valid, and BODY is not published for it yet, so the cell is ours.
        self.open().body.with_mut(|cell| unsafe { *cell = Some(body) });
        self.body = BODY;
        self.capacity = self.used;
        self.inside_message = true;
    }

    /// Says that what was pushed so far ends `count` messages more.
    ///
    /// More than [`MESSAGES_MAX`] in a segment would spill into the bits above. It is checked in debug builds only, because
    /// every message passes here: a segment has room for some thousand pushes, and what is pushed at a time is a message or
    /// the content of a block, so they never come near.
    #[inline]
    pub(crate) fn end_messages(&mut self, count: u32) {
        debug_assert!(self.messages + count <= MESSAGES_MAX);
        self.messages += count;
        self.inside_message = false;
    }

    /// Writes to a free slot some way ahead, in whose cache line the consumer last read something else, so that the line is
    /// here when its turn comes. To be called behind a fence, which the producer has after each message: the next one would
    /// wait for the line otherwise.
    #[inline]
    pub(crate) fn touch_ahead(&mut self) {
        let distance = if cfg!(zerowire_loom) {
            1
        } else {
            AHEAD_BYTES / size_of::<T>()
        };
        let at = self.used + distance;
        if at < self.capacity {
            // SAFETY: slots above everything pushed are the producer's alone, and hold nothing: any byte may stand in them.
            self.open().slots[at].with_mut(|slot| unsafe { slot.cast::<u8>().write_volatile(0) });
        }
    }

    /// The ceiling on what the queues hold, if there is one.
    pub(super) fn quota(&self) -> Option<&Quota> {
        let charging = self.link.charging.as_ref()?;
        Some(&charging.quota)
    }

    /// Whether the ceiling on what the queues hold leaves room for more.
    #[inline]
    pub(super) fn is_within_quota(&self) -> bool {
        !self.charges || self.quota().is_none_or(Quota::has_room)
    }

    /// Publishes everything up to here, which must be the end of a message.
    #[inline]
    pub(crate) fn commit(&mut self) {
        debug_assert!(!self.inside_message, "only whole messages are published");
        let word = self.open_word();
        // SAFETY: `open` and `anchor` are valid: the consumer frees sealed segments only, and `open` is not sealed,
        // nor is `anchor` before the store below, which is the last access to it.
        let anchor = unsafe { &*self.anchor };
        let open = self.open();
        if self.open == self.anchor {
            if word != self.anchor_word {
                // Release pairs with the consumer's Acquire in `load`: the elements come with the word.
                open.word.0.store(word, Ordering::Release);
            }
        } else {
            // Relaxed: nobody can reach this segment before the store that follows, which releases it as well.
            open.word.0.store(word, Ordering::Relaxed);
            anchor.word.0.store(self.anchor_sealed, Ordering::Release);
            self.anchor = self.open;
        }
        self.anchor_word = word;
    }

    /// Takes back everything that was pushed and not committed.
    pub(crate) fn rollback(&mut self) {
        // SAFETY: `anchor` is valid until its SEALED is published, which has not happened.
        let anchor = unsafe { &*self.anchor };
        let kept = published(self.anchor_word);
        if self.open != self.anchor {
            drop_elements(anchor, kept, published(self.anchor_sealed));
            self.link.give_back(published(self.anchor_sealed));
            // SAFETY: we are the producer.
            let mut segment = unsafe { anchor.next() };
            // SAFETY: SEALED of the anchor is unpublished, so its `next` is ours to change.
            anchor.next.with_mut(|cell| unsafe { *cell = ptr::null_mut() });
            while !segment.is_null() {
                // SAFETY: segments behind the anchor are unpublished: ours alone.
                let mut owned = unsafe { Box::from_raw(segment) };
                let end = if segment == self.open {
                    self.used
                } else {
                    let end = published(owned.load());
                    self.link.give_back(end);
                    end
                };
                drop_elements(&owned, 0, end);
                // SAFETY: as above.
                self.link.let_go(unsafe { owned.take_body() });
                segment = owned.take_next();
            }
        } else {
            drop_elements(anchor, kept, self.used);
        }
        self.open = self.anchor;
        self.used = kept;
        self.messages = messages(self.anchor_word);
        self.body = self.anchor_word & BODY;
        if self.body == 0 {
            // SAFETY: BODY is not published for the anchor, so the cell is ours.
            self.link.let_go(unsafe { anchor.take_body() });
        }
        self.capacity = if self.body != 0 { kept } else { anchor.capacity() };
        self.inside_message = false;
    }

    #[inline]
    fn open(&self) -> &Segment<T> {
        // SAFETY: `open` is not sealed as far as the consumer can see, so it has not been freed.
        unsafe { &*self.open }
    }

    /// Makes sure that the open segment takes `count` more elements.
    #[inline]
    fn reserve(&mut self, count: usize, spares: &mut Spares<T>) {
        if self.capacity - self.used < count || self.messages == MESSAGES_MAX {
            self.grow(count, spares);
        }
    }

    #[cold]
    fn grow(&mut self, count: usize, spares: &mut Spares<T>) {
        let sizes = spares.sizes();
        let next = if count > sizes.small {
            Segment::new(count)
        } else if !self.grown && count <= sizes.first {
            Segment::new(sizes.first)
        } else {
            spares.small()
        };
        self.grown = true;
        self.advance(next);
    }

    /// Leaves the open segment for `next`. Not visible before the next commit.
    fn advance(&mut self, next: Box<Segment<T>>) {
        let capacity = next.capacity();
        let next = Box::into_raw(next);
        let word = self.open_word() | SEALED | if self.inside_message { SPLIT } else { 0 };
        if self.charges {
            self.link.charge(self.used);
        }
        // SAFETY: `open` is valid and not sealed.
        let open = unsafe { &*self.open };
        // SAFETY: SEALED is not published yet, so the cell is the producer's.
        open.next.with_mut(|cell| unsafe { *cell = next });
        if self.open == self.anchor {
            self.anchor_sealed = word;
        } else {
            // Relaxed: unreachable until the anchor's word is stored with Release.
            open.word.0.store(word, Ordering::Relaxed);
        }
        self.open = next;
        self.capacity = capacity;
        self.used = 0;
        self.messages = 0;
        self.body = 0;
    }

    #[inline]
    fn open_word(&self) -> u64 {
        self.used as u64 | u64::from(self.messages) << MESSAGES_SHIFT | self.body
    }
}

/// Blocks: segments that are read into before they join the chain, and that may carry bytes beyond the published ones.
#[cfg(not(zerowire_loom))]
impl Producer<u8> {
    /// Makes `block` the open segment. Its bytes are accepted from the front with [`keep`](Self::keep).
    pub(crate) fn link_block(&mut self, block: Block) {
        self.advance(block.0);
        self.capacity = 0;
    }

    /// Accepts the next `count` bytes of the open block, as they stand, as pushed.
    ///
    /// # Panics
    /// If the open segment is no block or has fewer bytes left, some of which nobody would have written.
    pub(crate) fn keep(&mut self, count: usize, inside_message: bool) {
        let open = self.open();
        assert!(
            open.is_block() && count <= open.capacity() - self.used,
            "what is kept lies inside the open block"
        );
        self.used += count;
        self.capacity = self.used;
        self.inside_message = inside_message;
    }

    /// The open block's bytes behind those that were kept, up to `end` as an offset in the block.
    ///
    /// # Panics
    /// If the open segment is no block, whose bytes may be uninitialised, or `end` lies outside what is left of it.
    pub(crate) fn block_rest(&mut self, end: usize) -> &mut [u8] {
        // SAFETY: `open` is valid.
        let open = unsafe { &*self.open };
        assert!(
            open.is_block() && self.used <= end && end <= open.capacity(),
            "the rest of a block lies inside the block"
        );
        let base = open.slots.as_ptr().cast::<u8>().cast_mut();
        // SAFETY: `used <= capacity`, so the offset stays inside the allocation.
        let start = unsafe { base.add(self.used) };
        // SAFETY: nothing from `used` on was published, so the range is ours alone, and blocks are initialised.
        unsafe { std::slice::from_raw_parts_mut(start, end - self.used) }
    }

    /// How many bytes of the open block are kept: the offset at which [`block_rest`](Self::block_rest) starts.
    pub(crate) fn kept(&self) -> usize {
        self.used
    }

    /// Leaves a finished block for an ordinary segment, so that an idle pipe does not hold on to it. Commits.
    pub(crate) fn leave_block(&mut self, spares: &mut Spares<u8>) {
        debug_assert!(!self.inside_message);
        if self.open().is_block() {
            let next = spares.small();
            self.advance(next);
            self.commit();
        }
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.rollback();
    }
}

/// A segment outside every chain that bytes are read into.
#[cfg(not(zerowire_loom))]
pub(crate) struct Block(Box<Segment<u8>>);

// SAFETY: the block owns its segment alone, and bytes may move between threads.
#[cfg(not(zerowire_loom))]
unsafe impl Send for Block {}

#[cfg(not(zerowire_loom))]
impl Block {
    /// Takes a block from the spares, or allocates and zeroes one.
    pub(crate) fn take(spares: &mut Spares<u8>) -> Block {
        Block(spares.block().unwrap_or_else(|| {
            let slots = (0..spares.sizes().block).map(|_| UnsafeCell::new(MaybeUninit::new(0)));
            Segment::with_slots(slots.collect(), true)
        }))
    }

    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let base = self.0.slots.as_mut_ptr().cast::<u8>();
        // SAFETY: blocks are initialised when they are made and stay so, and `&mut self` is the only access.
        unsafe { std::slice::from_raw_parts_mut(base, self.0.slots.len()) }
    }
}

/// The reading end. `Send`, not shared.
pub(crate) struct Consumer<T> {
    /// The oldest segment that is not freed. Equals `segment`, except where a batch keeps what it may have to repeat.
    pub(super) first: *mut Segment<T>,
    /// The segment being read. Always valid.
    pub(super) segment: *mut Segment<T>,
    /// Elements of `segment` that were taken.
    pub(super) at: usize,
    /// The newest word seen in `segment`.
    pub(super) word: u64,
    /// Messages that ended in the segments before `segment`. Not kept where a batch moves through the chain.
    passed: u64,
    pub(super) pool: Arc<Pool<T>>,
    /// What is taken out was charged.
    charges: bool,
    link: Arc<Link<T>>,
}

// SAFETY: a consumer only reaches what the protocol above leaves to it, whichever thread it is on.
unsafe impl<T: Send> Send for Consumer<T> {}

impl<T> Consumer<T> {
    /// Takes one element, if there is one.
    #[cfg(test)]
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.refill().then(|| self.take(|_| {}))
    }

    /// Takes one element that [`refill`](Self::refill) has found, and shows it where it lies, before it is moved.
    #[inline(always)]
    pub(crate) fn take(&mut self, see: impl FnOnce(&T)) -> T {
        assert!(self.at < published(self.word), "an element was found");
        if self.charges {
            self.give_back_element();
        }
        let at = self.at;
        self.at += 1;
        // SAFETY: `segment` is valid, `at` was below the published length, and has moved on for good.
        unsafe { self.current().move_out(at, see) }
    }

    /// Gives back what the next element, which is there, is charged.
    #[cold]
    fn give_back_element(&self) {
        // SAFETY: `segment` is valid and freed only by `&mut self`; the element is published and not taken.
        if let [element] = unsafe { self.current().slice(self.at, self.at + 1) } {
            self.link.give_back_bytes(self.link.weigh(element));
        }
    }

    /// Elements that lie ready in one piece: empty only if nothing is published.
    #[inline]
    pub(crate) fn peek(&mut self) -> &[T] {
        if self.refill() {
            // SAFETY: `segment` is valid and freed only by `&mut self`; the range is published and not taken.
            unsafe { self.current().slice(self.at, published(self.word)) }
        } else {
            &[]
        }
    }

    /// Takes `count` elements that [`peek`](Self::peek) has shown. More would be passed over unseen, but never lent.
    #[inline]
    pub(crate) fn skip(&mut self, count: usize) {
        debug_assert!(self.at + count <= published(self.word));
        self.at += count;
    }

    /// Drops a body that was taken out of one of the segments, as [`let_go`] does.
    pub(super) fn let_go(&self, body: Option<Bytes>) {
        self.link.let_go(body);
    }

    /// Takes the body that follows the last element of the current segment, once.
    ///
    /// # Panics
    /// If there is none, as far as the newest word tells, or elements before it were not taken.
    pub(crate) fn take_body(&mut self) -> Option<Bytes> {
        assert!(
            self.at == published(self.word) && self.word & BODY != 0,
            "a body was seen, and what is before it was taken"
        );
        // SAFETY: BODY was seen in the word, and we are the consumer.
        let body = unsafe { self.current().take_body() };
        self.link.give_back_bytes(body.as_ref().map_or(0, Bytes::len));
        body
    }

    /// Whether an element is ready, moving on to the segment that holds it.
    #[inline]
    pub(crate) fn refill(&mut self) -> bool {
        self.at < published(self.word) || self.refill_slow()
    }

    /// As [`refill`](Self::refill), as far as that can be told without looking at the word that the producer writes.
    #[inline]
    pub(crate) fn has_some_left(&mut self) -> bool {
        self.at < published(self.word) || self.word & SEALED != 0 && self.refill_slow()
    }

    /// Messages published since the chain was made, those that were taken included.
    pub(crate) fn messages(&self) -> u64 {
        let mut total = self.passed;
        let mut segment = self.segment;
        loop {
            // SAFETY: `self.segment` is valid, and so is what lies behind it, because only this consumer frees segments.
            let present = unsafe { &*segment };
            let word = present.load();
            total += u64::from(messages(word));
            if word & SEALED == 0 {
                return total;
            }
            // SAFETY: SEALED was seen.
            segment = unsafe { present.next() };
        }
    }

    #[inline]
    fn current(&self) -> &Segment<T> {
        // SAFETY: only this consumer frees the segment, and it has not left it.
        unsafe { &*self.segment }
    }

    /// As [`refill`](Self::refill), when everything in the newest word has been taken.
    fn refill_slow(&mut self) -> bool {
        loop {
            // SAFETY: `segment` is valid: only this consumer frees it.
            let segment = unsafe { &*self.segment };
            if self.word & SEALED == 0 {
                self.word = segment.load();
                if self.at < published(self.word) {
                    return true;
                }
                if self.word & SEALED == 0 {
                    return false;
                }
            }
            self.passed += u64::from(messages(self.word));
            // SAFETY: SEALED was seen.
            self.segment = unsafe { segment.next() };
            self.at = 0;
            self.word = 0;
            self.free_up_to(self.segment);
        }
    }

    /// Gives back the segments before `end`, whose elements must all have been taken.
    pub(super) fn free_up_to(&mut self, end: *mut Segment<T>) {
        while self.first != end {
            // SAFETY: the segment is sealed and behind the consumer: nobody else can reach it.
            let mut owned = unsafe { Box::from_raw(self.first) };
            self.first = owned.take_next();
            // SAFETY: it is ours alone.
            self.link.let_go(unsafe { owned.take_body() });
            if self.charges {
                self.link.give_back(published(owned.load()));
            }
            self.pool.give(owned);
        }
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        let head = (self.first, if self.first == self.segment { self.at } else { 0 });
        // SAFETY: only the consumer writes the cell, and only here; it is read when both sides are gone.
        self.link.head.with_mut(|cell| unsafe { *cell = head });
    }
}

/// Drops a body. The drop of its owner is anybody's code; a panic in it ends here, when the panic hook has told it, because
/// whoever lets go of a body is in the middle of something that has to be brought to its end.
fn let_go(body: Option<Bytes>) {
    if body.is_some() {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(body)));
    }
}

/// Drops elements that were written and never published.
fn drop_elements<T>(segment: &Segment<T>, from: usize, to: usize) {
    if std::mem::needs_drop::<T>() {
        for slot in from..to {
            // SAFETY: the caller, the producer, has written these slots, has not published them, and forgets them now.
            drop(unsafe { segment.move_out(slot, |_| {}) });
        }
    }
}

/// How far ahead of what is written the producer asks for cache lines: some two messages.
const AHEAD_BYTES: usize = 192;
/// Capacity of a segment made for the header of a body by reference.
const HEADER_SEGMENT: usize = 64;

#[cfg(all(test, not(zerowire_loom)))]
mod tests {
    use super::super::recycle::Sizes;
    use super::*;

    const SIZES: Sizes = Sizes {
        first: 4,
        small: 8,
        block: 32,
    };

    fn drain(consumer: &mut Consumer<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let ready = consumer.peek().to_vec();
            if ready.is_empty() {
                return out;
            }
            consumer.skip(ready.len());
            out.extend(ready);
        }
    }

    #[test]
    fn uncommitted_elements_are_invisible_and_can_be_taken_back() {
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut producer, mut consumer) = chain::<u8>(spares.pool());
        producer.push(b"ab", b"c", &mut spares);
        assert!(consumer.peek().is_empty());
        producer.end_messages(1);
        producer.commit();
        assert_eq!(drain(&mut consumer), b"abc");
        for round in 0..4 {
            // Long enough to spill over several segments in later rounds.
            for _ in 0..round * 3 {
                producer.push(b"xx", b"yyy", &mut spares);
            }
            producer.push_body(b"h", Bytes::from_static(b"body"));
            assert!(consumer.peek().is_empty());
            producer.rollback();
            producer.push(b"1", b"2", &mut spares);
            producer.end_messages(1);
            producer.commit();
            assert_eq!(drain(&mut consumer), b"12");
        }
    }

    #[test]
    fn a_run_longer_than_a_segment_stays_in_one_piece() {
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut producer, mut consumer) = chain::<u8>(spares.pool());
        producer.push(b"", &[7; 100], &mut spares);
        producer.end_messages(1);
        producer.commit();
        assert_eq!(consumer.peek(), [7; 100]);
    }

    #[test]
    fn drained_segments_come_back_to_the_producer() {
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut producer, mut consumer) = chain::<u8>(spares.pool());
        let mut addresses = std::collections::HashSet::new();
        for _ in 0..1000 {
            producer.push(b"1234", b"5678", &mut spares);
            producer.end_messages(1);
            producer.commit();
            addresses.insert(producer.open);
            assert_eq!(drain(&mut consumer), b"12345678");
        }
        assert!(addresses.len() <= 4, "{} segments were in use", addresses.len());
    }

    #[test]
    fn bodies_travel_by_reference_behind_their_header() {
        let spares = Spares::new(Pool::new(SIZES));
        let (mut producer, mut consumer) = chain::<u8>(spares.pool());
        let body = Bytes::from(vec![9; 100]);
        for _ in 0..3 {
            producer.push_body(b"head", body.clone());
            producer.end_messages(1);
        }
        producer.commit();
        for _ in 0..3 {
            assert_eq!(consumer.peek(), b"head");
            consumer.skip(4);
            assert_eq!(consumer.take_body().unwrap().as_ptr(), body.as_ptr());
        }
        assert!(consumer.peek().is_empty());
    }

    #[test]
    fn a_block_joins_the_chain_and_grows_in_place() {
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut producer, mut consumer) = chain::<u8>(spares.pool());
        producer.push(b"a", b"b", &mut spares);
        producer.end_messages(1);
        let mut block = Block::take(&mut spares);
        block.bytes()[..10].copy_from_slice(b"0123456789");
        producer.link_block(block);
        producer.keep(4, false);
        producer.end_messages(1);
        producer.commit();
        assert_eq!(drain(&mut consumer), b"ab0123");
        assert_eq!(producer.block_rest(10), b"456789");
        producer.keep(6, false);
        producer.end_messages(1);
        producer.commit();
        assert_eq!(drain(&mut consumer), b"456789");
        producer.leave_block(&mut spares);
        assert!(consumer.peek().is_empty());
        producer.push(b"z", b"", &mut spares);
        producer.end_messages(1);
        producer.commit();
        assert_eq!(drain(&mut consumer), b"z");
    }

    #[test]
    fn only_a_block_is_lent_and_kept_beyond_what_was_pushed() {
        type Misuse = fn(&mut Producer<u8>);
        let misuses: [(&str, Misuse); 5] = [
            ("no block, kept", |producer| producer.keep(1, false)),
            ("no block, lent", |producer| drop(producer.block_rest(8).to_vec())),
            ("a block, kept beyond its end", |producer| {
                producer.link_block(Block::take(&mut Spares::new(Pool::new(SIZES))));
                producer.keep(30, false);
                producer.keep(3, false);
            }),
            ("a block, lent beyond its end", |producer| {
                producer.link_block(Block::take(&mut Spares::new(Pool::new(SIZES))));
                drop(producer.block_rest(33).to_vec());
            }),
            ("a body without a header", |producer| {
                producer.push_body(b"", Bytes::from_static(b"body"));
            }),
        ];
        for (name, misuse) in misuses {
            let mut spares = Spares::new(Pool::new(SIZES));
            let (mut producer, _consumer) = chain::<u8>(spares.pool());
            producer.push(b"a", b"b", &mut spares);
            let misuse = std::panic::AssertUnwindSafe(|| misuse(&mut producer));
            assert!(std::panic::catch_unwind(misuse).is_err(), "{name}");
        }
    }

    #[test]
    #[should_panic(expected = "a body was seen")]
    fn a_body_that_was_not_seen_is_not_taken() {
        let mut spares = Spares::new(Pool::new(SIZES));
        let (mut producer, mut consumer) = chain::<u8>(spares.pool());
        producer.push_body(b"head", Bytes::from_static(b"body"));
        producer.end_messages(1);
        producer.commit();
        producer.push(b"1", b"2", &mut spares);
        consumer.take_body();
    }

    #[test]
    fn messages_left_in_a_chain_are_dropped_once() {
        let counter = std::sync::Arc::new(());
        let mut spares = Spares::new(Pool::new(Sizes {
            first: 2,
            small: 3,
            block: 0,
        }));
        let (mut producer, mut consumer) = chain(spares.pool());
        for _ in 0..20 {
            producer.push_message(counter.clone(), &mut spares);
        }
        for _ in 0..7 {
            drop(consumer.pop().unwrap());
        }
        assert_eq!(std::sync::Arc::strong_count(&counter), 14);
        drop(consumer);
        drop(producer);
        assert_eq!(std::sync::Arc::strong_count(&counter), 1);
    }

    #[test]
    fn two_threads_agree_on_a_million_elements() {
        let mut spares = Spares::new(Pool::new(Sizes {
            first: 4,
            small: 16,
            block: 0,
        }));
        let (mut producer, mut consumer) = chain(spares.pool());
        let writer = std::thread::spawn(move || {
            for element in 0..1_000_000u64 {
                producer.push_message(Box::new(element), &mut spares);
            }
        });
        for expected in 0..1_000_000u64 {
            let got = loop {
                match consumer.pop() {
                    Some(element) => break element,
                    None => std::hint::spin_loop(),
                }
            };
            assert_eq!(*got, expected);
        }
        writer.join().unwrap();
        assert!(consumer.pop().is_none());
    }
}
