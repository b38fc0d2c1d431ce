//! Which bytes of a chain the kernel took, in whole messages.
//!
//! ```text
//!          boundary                 frame      next
//!   ───────┬────────────────────────┬──────────┬────────────────
//!     done │ frames of a message    │ of a frame │ still to write
//!          │ not wholly taken       │ half taken │
//!   ───────┴────────────────────────┴──────────┴────────────────
//! ```
//!
//! Segments stay until the last byte of the message they belong to is taken, because a connection that breaks has to
//! be replaced by one on which the half-sent message is sent again, whole, from the boundary.

use std::io::IoSlice;

use smallvec::SmallVec;

use super::chain::{BODY, Consumer, SEALED, SPLIT, Segment, messages, published};
use crate::wire::frame::Header;

/// Most slices in one write: 256 KiB of small messages, and well below what every kernel takes.
pub(super) const SLICES_MAX: usize = 64;

pub(super) type Slices<'a> = SmallVec<[IoSlice<'a>; SLICES_MAX]>;

/// A place in the chain: an offset counts the segment's elements, then the bytes of its body.
#[derive(Clone, Copy)]
struct Place {
    segment: *mut Segment<u8>,
    offset: usize,
    /// Messages of the segment that end at or before `offset`, as far as they were counted.
    counted: u32,
}

/// The consuming end of a chain of frames, as one that writes them to a connection needs it.
pub(super) struct Batch {
    /// Owns the segments from `boundary` on.
    chain: Consumer<u8>,
    boundary: Place,
    next: Place,
    /// Start of the frame that `next` is in, in the same segment; equals `next.offset` between frames.
    frame: usize,
    /// The last segment of the newest [`gather`](Self::gather) and the word it had then: what was lent out ends there.
    last: (*mut Segment<u8>, u64),
}

// SAFETY: the pointers are places in the chain that `chain`, which is `Send`, owns the consuming end of.
unsafe impl Send for Batch {}

impl Batch {
    pub(super) fn new(chain: Consumer<u8>) -> Batch {
        let start = Place {
            segment: chain.segment,
            offset: 0,
            counted: 0,
        };
        Batch {
            chain,
            boundary: start,
            next: start,
            frame: 0,
            last: (start.segment, 0),
        }
    }

    /// Whether the next byte to write begins a frame, so that a command may be written first.
    pub(super) fn between_frames(&self) -> bool {
        self.frame == self.next.offset
    }

    /// Whether the next byte to write begins a message.
    pub(super) fn between_messages(&self) -> bool {
        self.between_frames()
            && self.next.segment == self.boundary.segment
            && self.next.offset == self.boundary.offset
    }

    /// Lends the bytes to write next, about `bytes_max` at most, and returns how many they are.
    pub(super) fn gather<'a>(&'a mut self, slices: &mut Slices<'a>, bytes_max: usize) -> usize {
        let Place {
            mut segment,
            mut offset,
            ..
        } = self.next;
        let mut bytes = 0;
        loop {
            // SAFETY: segments from the boundary on are not freed.
            let current = unsafe { &*segment };
            let word = current.load();
            self.last = (segment, word);
            let elements = published(word);
            if offset < elements {
                // SAFETY: below the published length; `&'a mut self` keeps the segment and its content in place.
                slices.push(IoSlice::new(unsafe { current.slice(offset, elements) }));
                bytes += elements - offset;
                offset = elements;
            }
            if word & BODY != 0 {
                // SAFETY: BODY was seen, and `&'a mut self` keeps the body in place.
                let body: &'a [u8] = unsafe { current.body_slice() };
                if let Some(rest @ [_, ..]) = body.get(offset - elements..) {
                    slices.push(IoSlice::new(rest));
                    bytes += rest.len();
                }
            }
            if word & SEALED == 0 || bytes >= bytes_max || slices.len() + 2 > SLICES_MAX {
                return bytes;
            }
            // SAFETY: SEALED was seen.
            (segment, offset) = (unsafe { next_of(segment) }, 0);
        }
    }

    /// Whether what was lent last ended before the chain did: more was there at the time than was asked for.
    pub(super) fn has_more(&self) -> bool {
        let (segment, word) = self.last;
        word & SEALED != 0 && segment == self.next.segment
    }

    /// Lends the rest of the frame that is half taken, so that something else can follow it.
    pub(super) fn gather_frame<'a>(&'a mut self, slices: &mut Slices<'a>) -> usize {
        // SAFETY: segments from the boundary on are not freed.
        let current = unsafe { &*self.next.segment };
        let word = current.load();
        self.last = (self.next.segment, word);
        let end = self
            .frame_end(current, word, self.frame)
            .map_or(self.next.offset, |(end, _)| end);
        let elements = published(word);
        let from = self.next.offset;
        if from < elements {
            // SAFETY: below the published length; `&'a mut self` keeps the segment in place.
            slices.push(IoSlice::new(unsafe { current.slice(from, end.min(elements)) }));
        }
        if end > elements {
            // SAFETY: the frame reaches beyond the elements, so BODY was seen.
            let body: &'a [u8] = unsafe { current.body_slice() };
            slices.push(IoSlice::new(&body[from.saturating_sub(elements)..end - elements]));
        }
        end - from
    }

    /// Lends the rest of the message that is half taken, about `bytes_max` at most, so that something else can follow it.
    pub(super) fn gather_message<'a>(&'a mut self, slices: &mut Slices<'a>, bytes_max: usize) -> usize {
        let Place {
            mut segment,
            offset: mut from,
            ..
        } = self.next;
        let mut frame = self.frame;
        let mut bytes = 0;
        loop {
            // SAFETY: segments from the boundary on are not freed.
            let current = unsafe { &*segment };
            let word = current.load();
            self.last = (segment, word);
            let mut ended = false;
            while let (false, Some((end, last))) = (ended, self.frame_end(current, word, frame)) {
                (frame, ended) = (end, last);
            }
            let elements = published(word);
            if from < frame.min(elements) {
                // SAFETY: below the published length; `&'a mut self` keeps the segment in place.
                slices.push(IoSlice::new(unsafe { current.slice(from, frame.min(elements)) }));
            }
            if frame > from.max(elements) {
                // SAFETY: the frame reaches beyond the elements, so BODY was seen.
                let body: &'a [u8] = unsafe { current.body_slice() };
                slices.push(IoSlice::new(
                    &body[from.saturating_sub(elements)..frame - elements],
                ));
            }
            bytes += frame - from;
            if ended || word & SEALED == 0 || bytes >= bytes_max || slices.len() + 2 > SLICES_MAX {
                return bytes;
            }
            // SAFETY: SEALED was seen.
            (segment, from, frame) = (unsafe { next_of(segment) }, 0, 0);
        }
    }

    /// Takes note that the kernel took `count` bytes of what was lent, and returns how many messages that finished.
    pub(super) fn wrote(&mut self, mut count: usize) -> u64 {
        let mut finished = 0;
        loop {
            // SAFETY: segments from the boundary on are not freed.
            let current = unsafe { &*self.next.segment };
            // A sealed segment does not change; the last one may have grown since, beyond what was lent.
            let word = if self.next.segment == self.last.0 {
                self.last.1
            } else {
                current.load()
            };
            let body = match word & BODY {
                0 => 0,
                // SAFETY: BODY was seen.
                _ => unsafe { current.body_len() },
            };
            let total = published(word) + body;
            let step = count.min(total - self.next.offset);
            self.next.offset += step;
            count -= step;
            if self.next.offset < total {
                finished += self.walk(current, word);
                debug_assert_eq!(count, 0);
                break;
            }
            if word & SPLIT != 0 && messages(word) > self.next.counted {
                // The segment ends inside a message, and others end before: the boundary is behind the last of those.
                finished += self.walk(current, word);
            }
            finished += u64::from(messages(word) - self.next.counted);
            self.next.counted = messages(word);
            self.frame = total;
            if word & SPLIT == 0 {
                if body > 0 {
                    // The message is done: let go of its memory now, not when the segment is left.
                    // SAFETY: BODY was seen, and nothing is lent any more.
                    self.chain.let_go(unsafe { current.take_body() });
                    self.next.offset = published(word);
                    self.frame = self.next.offset;
                }
                self.boundary = self.next;
            }
            if word & SEALED == 0 || self.next.segment == self.last.0 && count == 0 {
                break;
            }
            // SAFETY: SEALED was seen.
            let segment = unsafe { next_of(self.next.segment) };
            self.next = Place {
                segment,
                offset: 0,
                counted: 0,
            };
            self.frame = 0;
            if word & SPLIT == 0 {
                self.boundary = self.next;
            }
        }
        self.chain.segment = self.boundary.segment;
        self.chain.free_up_to(self.boundary.segment);
        finished
    }

    /// Moves `frame` to the frame that `next` is in, and counts the messages passed.
    fn walk(&mut self, current: &Segment<u8>, word: u64) -> u64 {
        let mut finished = 0;
        while let Some((end, last)) = self.frame_end(current, word, self.frame) {
            if end > self.next.offset {
                break;
            }
            self.frame = end;
            if last {
                self.next.counted += 1;
                finished += 1;
                self.boundary = Place {
                    offset: end,
                    ..self.next
                };
            }
        }
        finished
    }

    /// Where the frame that starts at `start` ends, and whether a message ends with it; nothing at the end.
    fn frame_end(&self, current: &Segment<u8>, word: u64, start: usize) -> Option<(usize, bool)> {
        // SAFETY: below the published length; segments from the boundary on are not freed.
        let bytes: &[u8] = unsafe { current.slice(start.min(published(word)), published(word)) };
        let header = Header::parse(bytes).ok()??;
        let body = usize::try_from(header.body_bytes).ok()?;
        Some((start + header.header_bytes + body, header.is_last()))
    }

    /// Goes back to the start of the first message that was not wholly taken: the connection is gone.
    pub(super) fn rewind(&mut self) {
        self.next = self.boundary;
        self.frame = self.boundary.offset;
        self.last = (self.boundary.segment, 0);
    }
}

/// The segment behind a sealed one.
///
/// # Safety
/// - The caller is the consumer, the segment is not freed, and its SEALED was seen.
unsafe fn next_of(segment: *mut Segment<u8>) -> *mut Segment<u8> {
    // SAFETY: not freed, says the caller.
    let segment = unsafe { &*segment };
    // SAFETY: SEALED was seen, says the caller.
    unsafe { segment.next() }
}

#[cfg(all(test, not(zerowire_loom)))]
mod tests {
    use super::super::chain::chain;
    use super::super::recycle::{Pool, Sizes, Spares};
    use super::*;

    #[test]
    fn a_lost_connection_does_not_bring_back_the_messages_before_a_split_one() {
        let mut spares = Spares::new(Pool::new(Sizes {
            first: 8,
            small: 8,
            block: 0,
        }));
        let (mut producer, consumer) = chain::<u8>(spares.pool());
        let mut batch = Batch::new(consumer);
        // One segment: a whole message, then the first part of another, which goes on in the next segment.
        producer.push(&[0, 1], b"a", &mut spares);
        producer.end_messages(1);
        producer.push(&[1, 1], b"b", &mut spares);
        producer.push(&[0, 3], b"ccc", &mut spares);
        producer.end_messages(1);
        producer.commit();
        let mut slices = Slices::new();
        assert_eq!(batch.gather(&mut slices, usize::MAX), 11);
        drop(slices);
        assert_eq!(batch.wrote(6), 1);
        batch.rewind();
        let mut slices = Slices::new();
        batch.gather(&mut slices, usize::MAX);
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        assert_eq!(bytes, b"\x01\x01b\x00\x03ccc");
    }
}
