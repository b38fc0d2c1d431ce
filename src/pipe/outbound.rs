//! The way of messages out: a chain of frames, and the drain token that says who writes them to the connection.
//!
//! ```text
//!             append               the I/O thread takes it up
//!   ┌──────┐ ────────► ┌───────────┐ ────────────────────► ┌──────┐  not connected, handshaking,
//!   │ Idle │           │ Scheduled │ ◄──────────────────── │  Io  │  waiting for room, or writing
//!   └──────┘           └───────────┘   more has come       └──────┘
//!     │  ▲  ▲                │ ▲                             │  ▲
//!     │  │  └────────────────┼─┼───── dry, and looked again ─┘  │
//!     │  │ all written       │ │ more than one write            │ blocked, failed, or asked for
//!     ▼  │                   ▼ │                                │
//!   ┌──────────────────────────────┐    the I/O thread asks   ┌────────┐
//!   │             App              │ ───────────────────────► │ Wanted │
//!   └──────────────────────────────┘                          └────────┘
//! ```
//!
//! Whoever holds the token as Io, App or Wanted owns the [`Drain`]: the consuming end of the chain, the stream, the
//! commands owed. `Idle` means that everything accepted was finished and nobody is at it; `Scheduled` that the I/O thread
//! was told of messages and has not begun. The sender publishes a message, then looks at the token; the I/O thread stores
//! `Idle`, then looks at the count of accepted messages: with a fence between the two steps on both sides, one of them
//! sees the other.
//!
//! The token ends as `Closed`, by way of `Closing`, when nothing that is published from then on will be written. The I/O
//! thread stores `Closing`, then counts what was accepted: a sender that has not seen it is in that count, by the same two
//! steps with a fence between. One that has waits for the count, which says of each message whether it was in time. So the
//! two never disagree about the last messages: what was not accepted is refused, and what was accepted is written, or known
//! to be lost.
//!
//! The sender writes itself, as App, on two occasions. When it finds the pipe idle and is not in the middle of a burst:
//! that saves the wake-up of the I/O thread, which is most of the time of a round trip. And when a burst has brought it to
//! the high-water mark while the pipe is only scheduled: it would have to sleep otherwise, and one write of a whole queue
//! costs less than a sleep and a wake-up. The I/O thread plays along: it lets a burst grow for some microseconds before
//! it takes the token, and so writes little pieces only when the burst is over. Both go the same way through the chain, so
//! short writes, errors and accounting are one piece of code. Only the I/O thread judges errors.
//!
//! A message for many pipes is appended quietly to all of them; then one fence stands for those of all these appends, and
//! each token is looked at. However many pipes there are, it costs one fence, and wakes nobody before all have the message.
//!
//! Two things go out that no sender put into the chain. The I/O thread owes them, and a write that begins at the right place
//! takes them along:
//!
//! ```text
//!   owe        commands       before the next frame, also in the middle of a message
//!   owe_aside  whole messages before the next message, as the frames of a message follow each other
//!              or commands
//! ```
//!
//! Both belong to the connection: what is not written when it breaks is dropped, and the next one begins with the first
//! unfinished message of the chain.

use bytes::Bytes;

use super::chain::{Producer, chain};
use super::credit::Credit;
pub(crate) use super::drain::Drained;
use super::drain::{COMMANDS_BYTES_MAX, Drain};
use super::inbox::Ready;
use super::pace::Pace;
use super::recycle::{Pool, Spares};
use super::sync::{Arc, AtomicBool, AtomicU8, AtomicU64, Ordering, UnsafeCell, fence};
use super::{PipeId, WriteSide};

const IDLE: u8 = 0;
const IO: u8 = 1;
const APP: u8 = 2;
const WANTED: u8 = 3;
const SCHEDULED: u8 = 4;
const CLOSING: u8 = 5;
const CLOSED: u8 = 6;

/// Makes an outbound pipe. The token starts with the I/O thread, which has no stream yet.
///
/// `hwm` bounds the messages that are accepted and not finished. `sender` and `io` are told when the pipe has room
/// (or ended), and when it has work.
pub(crate) fn pipe(
    id: PipeId,
    hwm: u64,
    pool: &Arc<Pool<u8>>,
    sender: std::sync::Arc<dyn Ready>,
    io: std::sync::Arc<dyn Ready>,
) -> (Sender, Drainer) {
    let (producer, consumer) = chain(pool);
    let shared = Arc::new(Outbound {
        id,
        process: std::process::id(),
        token: AtomicU8::new(IO),
        accepted: AtomicU64::new(0),
        accepted_at_close: AtomicU64::new(0),
        finished: Credit::new(id, sender),
        connected: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        drain: UnsafeCell::new(Drain::new(consumer)),
        io,
    });
    let sender = Sender {
        shared: shared.clone(),
        chain: producer,
        hwm,
        accepted: 0,
        finished_seen: 0,
        pace: Pace::new(),
    };
    (
        sender,
        Drainer {
            shared,
            owed: Vec::new(),
            asides: Vec::new(),
            written: 0,
            commands_left: 0,
            accepted_at_close: None,
        },
    )
}

struct Outbound {
    id: PipeId,
    /// The process that made the pipe.
    process: u32,
    /// Who owns `drain`. Taking it is an Acquire, giving it up a Release: the drain travels with it.
    token: AtomicU8,
    /// Messages published in the chain. Written by the sender after the chain's word, with Release: who sees the
    /// count finds the messages. The sender looks at the token after that, with a fence between: its own, or the one that a
    /// fan-out has for all of its pipes.
    accepted: AtomicU64,
    /// The last value of `accepted` that counts. Written by the I/O thread before the token becomes Closed.
    accepted_at_close: AtomicU64,
    /// Messages whose last byte the kernel took.
    finished: Credit,
    /// A handshake succeeded and the connection stands. Written by the I/O thread; a hint for the load balancer.
    connected: AtomicBool,
    /// No connection will come any more. Written once by the I/O thread.
    ended: AtomicBool,
    /// Owned by the holder of the token.
    drain: UnsafeCell<Drain>,
    io: std::sync::Arc<dyn Ready>,
}

// SAFETY: `drain` is reached by the holder of the token only (see the methods); everything else is atomic.
unsafe impl Sync for Outbound {}
// SAFETY: as above, and every part is `Send`.
unsafe impl Send for Outbound {}

/// The application's end.
pub(crate) struct Sender {
    shared: Arc<Outbound>,
    chain: Producer<u8>,
    hwm: u64,
    accepted: u64,
    /// The newest finished count we know; never above the real one.
    finished_seen: u64,
    pace: Pace,
}

impl Sender {
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
        self.finished_seen = self.shared.finished.done();
        self.accepted == self.finished_seen
    }

    #[inline]
    fn is_below_hwm(&mut self) -> bool {
        if self.accepted - self.finished_seen < self.hwm {
            return true;
        }
        self.finished_seen = self.shared.finished.done();
        self.accepted - self.finished_seen < self.hwm
    }

    /// How many messages more are within the high-water mark, as far as is known; if none, the newest count is looked at.
    pub(crate) fn room(&mut self) -> u64 {
        match self.has_room() {
            true => self.hwm - (self.accepted - self.finished_seen),
            false => 0,
        }
    }

    /// Whether there is room after all; if not, the sender's inbox will hear when there is.
    pub(crate) fn wait_for_room(&mut self) -> bool {
        if self.assist() {
            return true;
        }
        let (finished, asked_before) = self.shared.finished.want();
        self.finished_seen = finished;
        let waiting = self.accepted - finished;
        let room = waiting < self.hwm
            && match self.chain.quota() {
                Some(quota) if waiting > 0 => quota.has_room() || self.shared.finished.wait_for_quota(quota),
                _ => true,
            };
        if room {
            if !asked_before {
                self.shared.finished.unwant();
            }
        } else {
            self.pace.wait();
        }
        room
    }

    /// Appends a frame whose body is copied.
    #[inline]
    pub(crate) fn frame(&mut self, header: &[u8], body: &[u8], spares: &mut Spares<u8>) {
        self.chain.push(header, body, spares);
    }

    /// Appends a frame whose body is the first `length` bytes of `block`.
    #[inline]
    pub(crate) fn frame_prefix<const N: usize>(
        &mut self,
        header: &[u8; 2],
        block: &[u8; N],
        length: usize,
        spares: &mut Spares<u8>,
    ) {
        self.chain.push_prefix(header, block, length, spares);
    }

    /// Appends a frame whose body is kept by reference until it is finished.
    pub(crate) fn frame_by_reference(&mut self, header: &[u8], body: Bytes) {
        self.chain.push_body(header, body);
    }

    /// Ends the message: from here on it is the pipe's. False if the pipe was closed meanwhile and did not accept it.
    #[inline]
    #[must_use]
    pub(crate) fn finish_message(&mut self) -> bool {
        self.finish_messages(1) == 0
    }

    /// Ends so many messages, which were appended as one run of frames. Returns how many of them, the last ones, were not
    /// accepted because the pipe was closed meanwhile.
    #[inline]
    #[must_use]
    pub(crate) fn finish_messages(&mut self, count: u32) -> u32 {
        self.chain.end_messages(count);
        self.chain.commit();
        self.accepted += u64::from(count);
        self.shared.accepted.store(self.accepted, Ordering::Release);
        // Pairs with the fences in `Drainer::drain` and `Drainer::close`: either we see Idle or Closing, or the I/O thread
        // sees the new count.
        fence(Ordering::SeqCst);
        match self.shared.token.load(Ordering::Relaxed) {
            IDLE => self.start_drain(),
            // What was accepted before this call is counted, so no more than these can be refused.
            CLOSING | CLOSED => return u32::try_from(self.settle()).unwrap_or(count),
            _ => {}
        }
        0
    }

    /// Ends the message as [`finish_message`](Self::finish_message) does, but wakes nobody: the caller goes on to other pipes,
    /// then calls [`fence_after_fan_out`], then [`wake_drain`](Self::wake_drain) for each. A pipe that is left out may
    /// keep the message until its next one.
    #[inline]
    pub(crate) fn finish_message_quietly(&mut self) {
        self.chain.end_messages(1);
        self.chain.commit();
        self.accepted += 1;
        self.shared.accepted.store(self.accepted, Ordering::Release);
    }

    /// Has the pipe drained, if nobody is at it: by the I/O thread, or if it `may_write`, by this thread as
    /// [`finish_message`](Self::finish_message) does. False if the pipe was closed meanwhile and did not accept the message.
    #[inline]
    #[must_use]
    pub(crate) fn wake_drain(&mut self, may_write: bool) -> bool {
        // Relaxed suffices: `fence_after_fan_out` stands between this look and the count.
        match self.shared.token.load(Ordering::Relaxed) {
            IDLE if may_write => self.start_drain(),
            IDLE if self.shared.exchange(IDLE, SCHEDULED) => self.shared.io.ready(self.shared.id),
            CLOSING | CLOSED => return self.settle() == 0,
            _ => {}
        }
        true
    }

    /// The pipe is being closed: waits for the count of what was accepted, and takes back the messages that are not in it.
    /// Returns their number.
    #[cold]
    fn settle(&mut self) -> u64 {
        loop {
            // Acquire pairs with the Release of the I/O thread, which counts first.
            match self.shared.token.load(Ordering::Acquire) {
                CLOSED => break,
                // Who was closing it is not in this process: what goes in goes nowhere.
                CLOSING if std::process::id() != self.shared.process => return 0,
                CLOSING => super::sync::yield_now(),
                // There is more to write after all.
                _ => return 0,
            }
        }
        let counted = self.shared.accepted_at_close.load(Ordering::Relaxed);
        let refused = self.accepted - counted;
        if refused > 0 {
            self.accepted = counted;
            self.shared.accepted.store(counted, Ordering::Release);
            // Nobody takes out what is in the chain, so no more is to go in.
            self.hwm = 0;
        }
        refused
    }

    /// Whether one more message is within the high-water mark, if need be after writing some of what waits. Asks for no
    /// word of room.
    #[inline]
    pub(crate) fn make_room(&mut self) -> bool {
        self.has_room() || self.assist()
    }

    fn start_drain(&mut self) {
        let shared = &self.shared;
        if self.pace.allows_direct_write(self.accepted) {
            // The connection is the parent's, if this process was forked off it.
            if shared.process == std::process::id() && shared.exchange(IDLE, APP) {
                self.drain();
                self.pace.restart(self.accepted);
            }
        } else if shared.exchange(IDLE, SCHEDULED) {
            shared.io.ready(shared.id);
        }
    }

    /// At the high-water mark, before sleeping: writes what waits, if the I/O thread has not begun to. That is the steady
    /// state of a burst, and it takes neither a sleep nor a wake-up.
    fn assist(&mut self) -> bool {
        if self.shared.process != std::process::id() || !self.shared.exchange(SCHEDULED, APP) {
            return false;
        }
        self.drain();
        self.pace.pass(self.accepted);
        self.has_room()
    }

    /// Writes once, holding the token, and gives the token up.
    fn drain(&self) {
        /// Gives the token to the I/O thread if a write panics, as a body may whose owner's drop does.
        struct OnPanic<'a>(&'a Outbound);
        impl Drop for OnPanic<'_> {
            fn drop(&mut self) {
                self.0.token.swap(IO, Ordering::AcqRel);
                self.0.io.ready(self.0.id);
            }
        }

        let shared = &self.shared;
        let on_panic = OnPanic(shared);
        // SAFETY: the token is App, which is ours.
        let outcome = shared
            .drain
            .with_mut(|drain| unsafe { (*drain).write(false, &shared.finished, DIRECT_BYTES_MAX) });
        std::mem::forget(on_panic);
        let handed_over = match outcome {
            Drained::Dry if shared.exchange(APP, IDLE) => return,
            Drained::Unfinished => shared.exchange(APP, SCHEDULED),
            _ => false,
        };
        if !handed_over {
            // The kernel takes no more, or the connection failed, or the I/O thread asked. Release hands the drain over; a
            // swap, because the I/O thread may be changing App to Wanted at this moment.
            shared.token.swap(IO, Ordering::AcqRel);
        }
        shared.io.ready(shared.id);
    }

    /// Whether a message was refused because the pipe is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.hwm == 0
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Whether no connection will come any more; what was not finished is lost.
    pub(crate) fn is_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Acquire)
    }

    /// Bytes written to the present connection, commands included.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.shared.finished.bytes()
    }

    /// Messages accepted since the pipe was made, and how many of them are finished.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.accepted, self.shared.finished.done())
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if let Some(quota) = self.chain.quota() {
            quota.forget(self.shared.id);
        }
    }
}

/// Stands between the appends of a fan-out and the looks at the tokens: one fence for all pipes. Pairs with the fence in
/// [`Drainer::drain`], as the one in [`Sender::finish_message`] does. A fence orders all that its thread did before against
/// all that it does after, whichever pipe it is about: for each pipe, either we see Idle, or the I/O thread sees the
/// new count.
#[inline]
pub(crate) fn fence_after_fan_out() {
    fence(Ordering::SeqCst);
}

/// How often the I/O thread looks whether a burst is still growing: 50 µs at most on a free processor.
const BURST_LOOKS_MAX: usize = if cfg!(zerowire_loom) { 1 } else { 100 };
/// A direct write blocks the application for one system call of at most about this many bytes. So few in the models that
/// the third frame of a message is one too many.
const DIRECT_BYTES_MAX: usize = if cfg!(zerowire_loom) { 4 } else { 64 * 1024 };

/// The I/O thread's end.
pub(crate) struct Drainer {
    shared: Arc<Outbound>,
    /// Commands to be written at the next opportunity, waiting for the token.
    owed: Vec<u8>,
    /// The same for frames that may not come between the parts of a message.
    asides: Vec<u8>,
    /// Bytes written, as of the last drain.
    written: u64,
    /// Bytes of commands that were not written, as of the last drain.
    commands_left: usize,
    /// What counts as accepted, once the pipe is closed.
    accepted_at_close: Option<u64>,
}

impl Drainer {
    /// Gives the pipe its connection. What waits in the chain is written by the next [`drain`](Self::drain).
    ///
    /// Only allowed while there is none, when the token is always with the I/O thread.
    pub(crate) fn connect(&mut self, side: std::sync::Arc<dyn WriteSide>) {
        self.with_drain(|drain| {
            debug_assert!(drain.side.is_none());
            drain.side = Some(side);
            drain.written_before = drain.written;
        });
        self.shared.connected.store(true, Ordering::Relaxed);
        self.shared.finished.producer_ready();
    }

    /// Writes until the chain is dry, the kernel's buffer is full, or about `bytes_max` bytes are written.
    pub(crate) fn drain(&mut self, bytes_max: usize) -> Drained {
        let mut bytes_left = bytes_max;
        loop {
            self.shared.let_burst_grow();
            if !self.claim() {
                return Drained::Elsewhere;
            }
            let owed = std::mem::take(&mut self.owed);
            let asides = std::mem::take(&mut self.asides);
            let shared = &self.shared;
            // SAFETY: `claim` said that the token is Io, which is ours.
            let drain =
                |drain: *mut Drain| unsafe { (*drain).work(&owed, &asides, &shared.finished, bytes_left) };
            let (outcome, finished, written, commands_left) = shared.drain.with_mut(drain);
            self.commands_left = commands_left;
            bytes_left =
                bytes_left.saturating_sub(usize::try_from(written - self.written).unwrap_or(usize::MAX));
            self.written = written;
            match outcome {
                Drained::Dry => {}
                Drained::Unfinished if bytes_left > 0 => continue,
                outcome => return outcome,
            }
            // Release hands the drain to whoever takes the token next.
            shared.token.store(IDLE, Ordering::Release);
            // Pairs with the fences in `Sender::finish_message` and `fence_after_fan_out`.
            fence(Ordering::SeqCst);
            if shared.accepted.load(Ordering::Acquire) <= finished {
                return Drained::Dry;
            }
            if bytes_left == 0 || !shared.exchange(IDLE, SCHEDULED) {
                // Somebody else has taken it up, and will say so if we are needed.
                if !shared.exchange(IDLE, IO) {
                    return Drained::Elsewhere;
                }
                return Drained::Unfinished;
            }
        }
    }

    /// Bytes of a command, written between two frames by the next [`drain`](Self::drain).
    pub(crate) fn owe(&mut self, command: &[u8]) {
        // A peer that asks and asks and does not read the answers gets no more of them.
        if self.owed.len() + command.len() <= COMMANDS_BYTES_MAX {
            self.owed.extend_from_slice(command);
        }
    }

    /// Frames that do not come through the pipe, written between two messages by the next [`drain`](Self::drain). Not
    /// bounded: the caller looks at [`owes_nothing`](Self::owes_nothing) before.
    pub(crate) fn owe_aside(&mut self, frames: &[u8]) {
        self.asides.extend_from_slice(frames);
    }

    /// Whether all commands and asides are written. Exact, even while the application writes: it gets the token only when
    /// nothing is owed, and what is owed from then on waits here.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.owes() == 0 && self.commands_left == 0
    }

    /// Bytes of commands and asides that no drain has taken up yet. What a drain has taken up and could not write is not
    /// among them: it is written as soon as the connection takes more.
    pub(crate) fn owes(&self) -> usize {
        self.owed.len() + self.asides.len()
    }

    /// Takes the connection away and goes back to the start of the first unfinished message. Returns false if the
    /// application is writing just now: then the pipe will be reported ready, and this is to be called again.
    pub(crate) fn disconnect(&mut self) -> bool {
        self.shared.connected.store(false, Ordering::Relaxed);
        if !self.claim() {
            return false;
        }
        self.owed.clear();
        self.asides.clear();
        self.commands_left = 0;
        let side = self.with_drain(|drain| {
            drain.batch.rewind();
            drain.commands.clear();
            drain.asides.clear();
            drain.asides_moved = 0;
            drain.side.take()
        });
        drop(side);
        self.shared.finished.set_bytes(0);
        self.shared.finished.producer_ready();
        true
    }

    /// Has the pipe accept nothing more, if it is dry. Otherwise it stays as it is: unfinished, or elsewhere until the
    /// application has given the token back, which will be reported.
    pub(crate) fn close(&mut self) -> Drained {
        self.close_with(|waiting| waiting == 0)
    }

    /// Has the pipe accept nothing more if that is all right with so many messages waiting.
    fn close_with(&mut self, is_right: impl FnOnce(u64) -> bool) -> Drained {
        if self.accepted_at_close.is_some() {
            return Drained::Dry;
        }
        if !self.claim() {
            return Drained::Elsewhere;
        }
        let shared = &self.shared;
        shared.token.store(CLOSING, Ordering::Release);
        // Pairs with the fences in `Sender::finish_messages` and `fence_after_fan_out`.
        fence(Ordering::SeqCst);
        // A message may be written before it is counted.
        let finished = shared.finished.done();
        let accepted = shared.accepted.load(Ordering::Acquire).max(finished);
        if !is_right(accepted - finished) {
            shared.token.store(IO, Ordering::Release);
            return Drained::Unfinished;
        }
        shared.accepted_at_close.store(accepted, Ordering::Relaxed);
        self.accepted_at_close = Some(accepted);
        shared.token.store(CLOSED, Ordering::Release);
        Drained::Dry
    }

    /// Tells the sender that no connection will come any more. Returns how many messages are lost with it.
    ///
    /// Only allowed while there is no connection, when the token is always with the I/O thread.
    pub(crate) fn end(&mut self) -> u64 {
        let closed = self.close_with(|_| true);
        debug_assert!(
            matches!(closed, Drained::Dry),
            "the application does not write to a pipe without a connection"
        );
        let lost = self.waiting();
        self.shared.ended.store(true, Ordering::Release);
        self.shared.finished.producer_ready();
        lost
    }

    /// Messages accepted and not finished.
    pub(crate) fn waiting(&self) -> u64 {
        let finished = self.shared.finished.done();
        let accepted = self
            .accepted_at_close
            .unwrap_or_else(|| self.shared.accepted.load(Ordering::Acquire));
        accepted.saturating_sub(finished)
    }

    /// Bytes written to connections, commands included, as of the last drain.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    pub(crate) fn finished(&self) -> u64 {
        self.shared.finished.done()
    }

    /// Makes sure that the token is Io, or Closed. False if the application holds it; then it will hand it over.
    fn claim(&self) -> bool {
        loop {
            // Acquire pairs with the Release of a sender that handed the token over.
            match self.shared.token.load(Ordering::Acquire) {
                IO | CLOSED => return true,
                IDLE if self.shared.exchange(IDLE, IO) => return true,
                SCHEDULED if self.shared.exchange(SCHEDULED, IO) => return true,
                APP if self.shared.exchange(APP, WANTED) => return false,
                WANTED => return false,
                // It changed under our eyes: look again.
                _ => super::sync::pause(),
            }
        }
    }

    fn with_drain<R>(&mut self, action: impl FnOnce(&mut Drain) -> R) -> R {
        assert!(
            self.claim(),
            "the application does not write to a pipe without a connection"
        );
        // SAFETY: the token is Io or Closed, which are ours, and `&mut self` is the only handle that gives it away.
        self.shared.drain.with_mut(|drain| action(unsafe { &mut *drain }))
    }
}

impl Outbound {
    /// While a burst is filling a scheduled pipe, waits for it to pause or for the sender to write itself: what a write
    /// costs depends little on its size. Gives the processor to others meanwhile; a lone message is delayed by one look.
    fn let_burst_grow(&self) {
        let mut before = self.accepted.load(Ordering::Relaxed);
        for _ in 0..BURST_LOOKS_MAX {
            if self.token.load(Ordering::Relaxed) != SCHEDULED {
                return;
            }
            super::sync::yield_now();
            let now = self.accepted.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Moves the token. Acquire takes the drain over, Release gives it away.
    fn exchange(&self, from: u8, to: u8) -> bool {
        self.token
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(all(test, not(zerowire_loom)))]
mod tests {
    use std::io::{self, IoSlice};

    use super::super::inbox::Inbox;
    use super::super::recycle::Sizes;
    use super::super::sync::{Mutex, lock};
    use super::*;

    const FIRST: &[u8] = b"\x01\x03one";
    const SECOND: &[u8] = b"\x00\x03two";
    const NEXT: &[u8] = b"\x00\x04next";
    const COMMAND: &[u8] = b"\x04\x02!!";
    /// Two messages, the first of which has two frames.
    const ASIDE: &[u8] = b"\x01\x01a\x00\x01b\x00\x01c";

    /// A connection that takes as many bytes as it has room for, and calls `during` in the middle of a write.
    #[derive(Default)]
    struct Tap {
        room: Mutex<usize>,
        taken: Mutex<Vec<u8>>,
        during: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    }

    impl Tap {
        fn with_room(room: usize) -> std::sync::Arc<Tap> {
            let tap = std::sync::Arc::new(Tap::default());
            *lock(&tap.room) = room;
            tap
        }

        fn taken(&self) -> Vec<u8> {
            lock(&self.taken).clone()
        }
    }

    impl WriteSide for Tap {
        fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            if let Some(during) = lock(&self.during).take() {
                during();
            }
            let mut room = lock(&self.room);
            if *room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
            let bytes = Vec::from_iter(bytes.take(*room));
            *room -= bytes.len();
            lock(&self.taken).extend(&bytes);
            Ok(bytes.len())
        }
    }

    /// How frames lie in the chain.
    #[derive(Clone, Copy, Debug)]
    enum Layout {
        OneSegment,
        SegmentEach,
        ByReference,
    }

    fn new_pipe(layout: Layout) -> (Sender, Drainer, Spares<u8>) {
        let size = if let Layout::SegmentEach = layout { 6 } else { 64 };
        let spares = Spares::new(Pool::new(Sizes {
            first: size,
            small: size,
            block: 0,
        }));
        let inbox = std::sync::Arc::new(Inbox::<()>::new());
        let (sender, drainer) = pipe(5, 10, spares.pool(), inbox.clone(), inbox);
        (sender, drainer, spares)
    }

    fn send(sender: &mut Sender, frames: &[&'static [u8]], layout: Layout, spares: &mut Spares<u8>) {
        for frame in frames {
            let (header, body) = frame.split_at(2);
            match layout {
                Layout::ByReference => sender.frame_by_reference(header, Bytes::from_static(body)),
                _ => sender.frame(header, body, spares),
            }
        }
        assert!(sender.finish_message());
    }

    #[test]
    fn an_aside_comes_after_the_last_frame_of_a_half_written_message() {
        for layout in [Layout::OneSegment, Layout::SegmentEach, Layout::ByReference] {
            for cut in 0..=FIRST.len() + SECOND.len() {
                let (mut sender, mut drainer, mut spares) = new_pipe(layout);
                let tap = Tap::with_room(cut);
                drainer.connect(tap.clone());
                send(&mut sender, &[FIRST, SECOND], layout, &mut spares);
                send(&mut sender, &[NEXT], layout, &mut spares);
                assert!(matches!(drainer.drain(usize::MAX), Drained::Blocked));
                assert!(drainer.owes_nothing());

                drainer.owe_aside(ASIDE);
                drainer.owe(COMMAND);
                // A command goes between two frames, the aside between two messages, and so not before it.
                let expected = match cut {
                    0 => [COMMAND, ASIDE, FIRST, SECOND, NEXT],
                    1..=5 => [FIRST, COMMAND, SECOND, ASIDE, NEXT],
                    _ => [FIRST, SECOND, COMMAND, ASIDE, NEXT],
                };
                let aside_at = expected.iter().position(|part| *part == ASIDE).unwrap();
                let owed_end = expected[..=aside_at].concat().len();
                let expected = expected.concat();
                for end in cut..expected.len() {
                    assert!(drainer.owes() > 0 || end > cut);
                    assert_eq!(
                        drainer.owes_nothing(),
                        end >= owed_end,
                        "{layout:?}, {cut}, {end}"
                    );
                    *lock(&tap.room) = 1;
                    let drained = drainer.drain(usize::MAX);
                    assert!(matches!(drained, Drained::Blocked) || end + 1 == expected.len());
                    assert_eq!(tap.taken(), expected[..=end], "{layout:?}, {cut}");
                }
                assert!(matches!(drainer.drain(usize::MAX), Drained::Dry));
                assert!(drainer.owes_nothing());
                assert_eq!(drainer.finished(), 2);
            }
        }
    }

    #[test]
    fn an_aside_goes_with_its_connection() {
        let message = [FIRST, SECOND].concat();
        for layout in [Layout::OneSegment, Layout::SegmentEach, Layout::ByReference] {
            // Up to the middle of the aside behind the message.
            for room in 0..message.len() + ASIDE.len() - 1 {
                for taken_up in [false, true] {
                    let (mut sender, mut drainer, mut spares) = new_pipe(layout);
                    let tap = Tap::with_room(1);
                    drainer.connect(tap.clone());
                    send(&mut sender, &[FIRST, SECOND], layout, &mut spares);
                    assert!(matches!(drainer.drain(usize::MAX), Drained::Blocked));
                    drainer.owe_aside(ASIDE);
                    if taken_up {
                        *lock(&tap.room) = room;
                        assert!(matches!(drainer.drain(usize::MAX), Drained::Blocked));
                    }
                    assert!(!drainer.owes_nothing());
                    assert!(drainer.disconnect());
                    assert!(drainer.owes_nothing());

                    let unfinished = drainer.finished() == 0;
                    let tap = Tap::with_room(usize::MAX);
                    drainer.connect(tap.clone());
                    send(&mut sender, &[NEXT], layout, &mut spares);
                    assert!(matches!(drainer.drain(usize::MAX), Drained::Dry));
                    assert!(drainer.owes_nothing());
                    let again = if unfinished { message.as_slice() } else { &[] };
                    assert_eq!(tap.taken(), [again, NEXT].concat(), "{layout:?}, {room}");
                }
            }
        }
    }

    #[test]
    fn an_aside_owed_while_the_application_writes_waits_for_the_token() {
        let layout = Layout::OneSegment;
        let (mut sender, mut drainer, mut spares) = new_pipe(layout);
        let tap = Tap::with_room(usize::MAX);
        drainer.connect(tap.clone());
        assert!(matches!(drainer.drain(usize::MAX), Drained::Dry));
        let drainer = std::sync::Arc::new(Mutex::new(drainer));
        let io = drainer.clone();
        *lock(&tap.during) = Some(Box::new(move || {
            let mut drainer = lock(&io);
            drainer.owe_aside(ASIDE);
            assert!(matches!(drainer.drain(usize::MAX), Drained::Elsewhere));
            assert!(!drainer.owes_nothing());
        }));
        send(&mut sender, &[FIRST, SECOND], layout, &mut spares);
        assert!(
            lock(&tap.during).is_none(),
            "the first message is written directly"
        );
        assert_eq!(tap.taken(), [FIRST, SECOND].concat());
        let mut drainer = lock(&drainer);
        assert!(!drainer.owes_nothing());
        assert!(matches!(drainer.drain(usize::MAX), Drained::Dry));
        assert!(drainer.owes_nothing());
        assert_eq!(tap.taken(), [FIRST, SECOND, ASIDE].concat());
    }

    #[test]
    fn an_aside_does_not_wait_for_a_pause_between_messages() {
        for layout in [Layout::OneSegment, Layout::SegmentEach, Layout::ByReference] {
            let (mut sender, mut drainer, mut spares) = new_pipe(layout);
            // Each write ends in the middle of a message.
            let tap = Tap::with_room(3);
            drainer.connect(tap.clone());
            for round in 0..4 {
                while sender.has_room() {
                    send(&mut sender, &[FIRST, SECOND], layout, &mut spares);
                }
                assert!(matches!(drainer.drain(usize::MAX), Drained::Blocked));
                if round == 0 {
                    drainer.owe_aside(ASIDE);
                }
                *lock(&tap.room) = 10;
            }
            assert!(drainer.owes_nothing());
            let start = [FIRST, SECOND, ASIDE, FIRST, SECOND].concat();
            assert!(tap.taken().starts_with(&start), "{layout:?}");
        }
    }
}
