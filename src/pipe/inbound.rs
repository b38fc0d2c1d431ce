//! The way of messages in: a chain that is handed to the receiving application thread.
//!
//! From a connection it is a chain of bytes and the writer is the I/O thread; in inproc it is a chain of messages and the
//! writer is the sending application thread. The doorbell says whether the reader knows that there is something:
//!
//! ```text
//!   Quiet ── the writer publishes, and tells the reader's inbox ──► Rung
//!   Quiet ◄── the reader found the chain dry, and looked again ──── Rung
//! ```
//!
//! The writer publishes, then looks at the bell; the reader stores `Quiet`, then looks at the chain.

use bytes::Bytes;

use super::PipeId;
#[cfg(not(zerowire_loom))]
use super::chain::Block;
use super::chain::{Consumer, Producer, chain};
use super::credit::Credit;
use super::inbox::Ready;
use super::recycle::{Pool, Spares};
use super::sync::{Arc, AtomicBool, Ordering, fence};

/// Makes an inbound pipe with room for `hwm` messages that the reader has not taken.
///
/// The bell starts rung: the reader is expected to look at a new pipe without being told. `writer` is told when there
/// is room again, or when the reader left.
pub(crate) fn pipe<T>(
    id: PipeId,
    hwm: u64,
    pool: &Arc<Pool<T>>,
    writer: std::sync::Arc<dyn Ready>,
    reader: std::sync::Arc<dyn Ready>,
) -> (Writer<T>, Reader<T>) {
    let (producer, consumer) = chain(pool);
    let shared = Arc::new(Inbound {
        id,
        rung: AtomicBool::new(true),
        taken: Credit::new(id, writer),
        attached: AtomicBool::new(false),
        abandoned: AtomicBool::new(false),
        left: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        reader,
    });
    let writer = Writer {
        shared: shared.clone(),
        chain: producer,
        hwm,
        handed: 0,
        taken_seen: 0,
    };
    let step = (hwm / 2).clamp(1, ANNOUNCE_EVERY_MAX);
    (
        writer,
        Reader {
            shared,
            chain: consumer,
            taken: 0,
            announced: 0,
            step,
        },
    )
}

/// The reader announces what it took at half the high-water mark, and at least every so many messages.
const ANNOUNCE_EVERY_MAX: u64 = 1 << 20;

struct Inbound {
    id: PipeId,
    /// Set by the writer when it has told the reader, cleared by the reader when it found the chain dry.
    rung: AtomicBool,
    /// Messages that the reader took.
    taken: Credit,
    /// The other socket has the reader: for inproc, where a connector may wait for its binder.
    attached: AtomicBool,
    /// The reader is gone, or wants nothing more. Written once.
    abandoned: AtomicBool,
    /// The reader wants nothing more, and still has what is in the pipe. Written before `abandoned`.
    left: AtomicBool,
    /// The writer is gone. Written once, after its last message.
    ended: AtomicBool,
    reader: std::sync::Arc<dyn Ready>,
}

/// The end that puts messages in.
pub(crate) struct Writer<T> {
    shared: Arc<Inbound>,
    chain: Producer<T>,
    hwm: u64,
    handed: u64,
    /// The newest taken count we know; never above the real one.
    taken_seen: u64,
}

impl<T> Writer<T> {
    pub(crate) fn id(&self) -> PipeId {
        self.shared.id
    }

    /// Whether one more message is within the high-water mark, and within the ceiling on what all queues hold: that lets a
    /// pipe which is empty have one message in any case.
    #[inline]
    pub(crate) fn has_room(&mut self) -> bool {
        self.is_below_hwm() && (self.chain.is_within_quota() || self.is_empty())
    }

    #[cold]
    fn is_empty(&mut self) -> bool {
        self.taken_seen = self.shared.taken.done();
        self.handed == self.taken_seen
    }

    #[inline]
    fn is_below_hwm(&mut self) -> bool {
        if self.handed - self.taken_seen < self.hwm {
            return true;
        }
        self.taken_seen = self.shared.taken.done();
        self.handed - self.taken_seen < self.hwm
    }

    /// How many messages more are within the high-water mark.
    pub(crate) fn room(&mut self) -> u64 {
        self.taken_seen = self.shared.taken.done();
        self.hwm.saturating_sub(self.handed - self.taken_seen)
    }

    /// Whether there is room after all; if not, the writer's inbox will hear when there is.
    pub(crate) fn wait_for_room(&mut self) -> bool {
        let (taken, asked_before) = self.shared.taken.want();
        self.taken_seen = taken;
        let room = self.handed - self.taken_seen < self.hwm && self.waits_for_no_quota();
        if room && !asked_before {
            self.shared.taken.unwant();
        }
        room
    }

    /// Whether the ceiling on what all queues hold lets this one have a message more; if not, the writer's inbox will hear when
    /// that changes.
    fn waits_for_no_quota(&self) -> bool {
        match self.chain.quota() {
            Some(quota) if self.handed > self.taken_seen => {
                quota.has_room() || self.shared.taken.wait_for_quota(quota)
            }
            _ => true,
        }
    }

    /// Whether half of the high-water mark is free; if not, the writer's inbox will hear when it may be. For a writer that
    /// rather pauses than goes on message by message.
    pub(crate) fn wait_for_half(&mut self) -> bool {
        self.taken_seen = self.shared.taken.want().0;
        let free = self.hwm.saturating_sub(self.handed - self.taken_seen);
        let room = free >= self.hwm.div_ceil(2) && self.waits_for_no_quota();
        if room {
            self.shared.taken.unwant();
        }
        room
    }

    /// Whether the reader is gone, so that nothing put in will ever be read.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.shared.abandoned.load(Ordering::Acquire)
    }

    /// Whether somebody can still read what is in the pipe.
    pub(crate) fn is_readable(&self) -> bool {
        !self.is_abandoned() || self.shared.left.load(Ordering::Relaxed)
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.shared.attached.load(Ordering::Relaxed)
    }

    /// Messages handed over since the pipe was made, and how many of them the reader took.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.handed, self.shared.taken.done())
    }

    /// Puts one message in.
    #[inline]
    pub(crate) fn push(&mut self, message: T, spares: &mut Spares<T>) {
        self.chain.push_message(message, spares);
        self.handed += 1;
        self.ring();
        self.chain.touch_ahead();
    }

    #[inline]
    fn ring(&self) {
        // Pairs with the fence in `Reader::settle`: either we see the bell quiet, or the reader sees the message.
        fence(Ordering::SeqCst);
        if !self.shared.rung.load(Ordering::Relaxed) && !self.shared.rung.swap(true, Ordering::AcqRel) {
            self.shared.reader.ready(self.shared.id);
        }
    }
}

impl Writer<u8> {
    /// Appends whole frames, visible from the next [`publish`](Self::publish) on.
    pub(crate) fn frames(&mut self, frames: &[u8], spares: &mut Spares<u8>) {
        self.chain.push(&[], frames, spares);
    }

    /// Appends a frame whose body is handed over by reference.
    pub(crate) fn frame_by_reference(&mut self, header: &[u8], body: Bytes) {
        self.chain.push_body(header, body);
    }

    /// Makes everything appended so far visible; it ends `messages` messages.
    pub(crate) fn publish(&mut self, messages: u32) {
        self.chain.end_messages(messages);
        self.chain.commit();
        self.handed += u64::from(messages);
        self.ring();
    }

    /// Forgets what was appended and not published: a message that will never be whole.
    pub(crate) fn rollback(&mut self) {
        self.chain.rollback();
    }

    /// The chain itself, for the blocks of a connection.
    #[cfg(not(zerowire_loom))]
    pub(crate) fn link_block(&mut self, block: Block) {
        self.chain.link_block(block);
    }

    #[cfg(not(zerowire_loom))]
    pub(crate) fn chain(&mut self) -> &mut Producer<u8> {
        &mut self.chain
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        if let Some(quota) = self.chain.quota() {
            quota.forget(self.shared.id);
        }
        self.shared.ended.store(true, Ordering::Release);
        self.shared.reader.ready(self.shared.id);
    }
}

/// The end that takes messages out.
pub(crate) struct Reader<T> {
    shared: Arc<Inbound>,
    chain: Consumer<T>,
    taken: u64,
    /// The value of `taken` when a waiting writer was last looked for.
    announced: u64,
    step: u64,
}

/// What a reader that found nothing has to expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// There is something after all.
    Ready,
    /// The reader's inbox will hear of the next message.
    Quiet,
    /// Nothing will come any more.
    Ended,
}

impl<T> Reader<T> {
    pub(crate) fn id(&self) -> PipeId {
        self.shared.id
    }

    /// Has a writer that waits hear of each message that is taken, not only when half of the queue is free: for a writer that
    /// is an application, which may hold back something else until its message has found room.
    pub(crate) fn announce_each(&mut self) {
        self.step = 1;
    }

    /// Takes note that the reader has found its socket; the writer's inbox has to be told.
    pub(crate) fn attach(&self) {
        self.shared.attached.store(true, Ordering::Relaxed);
    }

    /// Asks the writer to put nothing more in; it will end the pipe. What is in it stays readable.
    pub(crate) fn leave(&mut self) {
        self.shared.left.store(true, Ordering::Relaxed);
        self.abandon();
    }

    fn abandon(&self) {
        self.shared.abandoned.store(true, Ordering::Release);
        self.shared.taken.producer_ready();
    }

    /// Messages that were put in since the pipe was made, and how many of them were taken.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.chain.messages(), self.taken)
    }

    /// The chain itself, to take frames out of it.
    #[inline]
    pub(crate) fn chain(&mut self) -> &mut Consumer<T> {
        &mut self.chain
    }

    /// Takes note that a message was taken out.
    #[inline]
    pub(crate) fn took_message(&mut self) {
        self.took_messages(1);
    }

    /// Takes note that so many messages were taken out.
    #[inline]
    pub(crate) fn took_messages(&mut self, count: u64) {
        self.taken += count;
        self.shared.taken.set_done(self.taken);
        if self.taken - self.announced >= self.step {
            self.announced = self.taken;
            self.shared.taken.announce();
        }
    }

    /// Whether nothing is in the pipe, and nothing will come any more.
    pub(crate) fn is_over(&mut self) -> bool {
        // Read before the chain, as below.
        self.has_ended() && !self.chain.refill()
    }

    /// Whether nothing will come any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// To be called when nothing was found: makes sure that the next message is heard of.
    pub(crate) fn settle(&mut self) -> Settled {
        self.announced = self.taken;
        self.shared.taken.announce();
        // Read before the chain: what the writer put in before it ended is seen below.
        let ended = self.has_ended();
        // A swap, as in `Writer::ring`: changes of the bell by both sides then have one order that both agree on.
        self.shared.rung.swap(false, Ordering::AcqRel);
        // Pairs with the fence in `Writer::ring`.
        fence(Ordering::SeqCst);
        if self.chain.refill() {
            // If the writer rang meanwhile, its word in the inbox is one too many, which is harmless.
            self.shared.rung.swap(true, Ordering::AcqRel);
            return Settled::Ready;
        }
        if ended { Settled::Ended } else { Settled::Quiet }
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.shared.left.store(false, Ordering::Relaxed);
        self.abandon();
    }
}

#[cfg(all(test, not(zerowire_loom)))]
mod tests {
    use super::super::inbox::Inbox;
    use super::*;

    #[test]
    fn a_writer_that_finds_room_leaves_word_to_another_that_asked_for_it() {
        let pool = Pool::new(super::super::MESSAGE_SIZES);
        let inbox = std::sync::Arc::new(Inbox::<()>::new());
        let (mut writer, mut reader) = pipe::<u8>(7, 4, &pool, inbox.clone(), inbox.clone());
        let mut spares = Spares::new(pool);
        (0..4).for_each(|item| writer.push(item, &mut spares));
        assert!(!writer.wait_for_room(), "a first task sleeps");
        let mut take = || {
            assert!(reader.chain().refill());
            reader.took_message();
            reader.chain().take(|_| {})
        };
        assert_eq!(take(), 0);
        assert!(
            writer.wait_for_room(),
            "a second one finds room before there is word of it"
        );
        writer.push(4, &mut spares);
        assert!(!inbox.is_filled());
        assert_eq!(take(), 1);
        assert!(inbox.is_filled(), "the first one hears of room");
    }
}
