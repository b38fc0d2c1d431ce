//! A thread that waits for its inbox.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::pipe::inbox::Inbox;

/// Whether looking for a while before sleeping has paid lately. One for each half of a socket.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    /// Waits that ended while looking count up, others down; within ±[`PATIENCE_MAX`].
    balance: i8,
    /// Waits since looking was last tried although it does not pay.
    since_try: u8,
}

/// How long to leave a pipe alone that has run dry before looking again. Each look takes a cache line away from the writer, which
/// is most of what a message costs in a steady flow between two processors; so a reader that is as quick as its writer does
/// better to let some messages gather. Where they come one by one there is nothing to wait for.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// Pauses before the next look.
    pauses: u32,
    /// Messages taken when the pipe was last found dry.
    taken: u64,
    /// Times that the pipe has yet to be found dry after a single message, before gathering is tried again.
    holdoff: u32,
}

impl Gathering {
    /// The pauses to make at a pipe that is dry, after so many messages were taken from it in all.
    pub(crate) fn pauses(&mut self, taken: u64) -> u32 {
        let found = taken.wrapping_sub(std::mem::replace(&mut self.taken, taken));
        self.pauses = match (found, self.pauses) {
            // Asked again about the same wait, or the first message has yet to come.
            (0, _) => return 0,
            (1, 0) if self.holdoff == 0 => GATHER_MIN,
            (1, 0) => {
                self.holdoff -= 1;
                0
            }
            (1, _) => {
                self.holdoff = GATHER_AGAIN_AFTER;
                0
            }
            (_, pauses) => (pauses * 2).clamp(GATHER_MIN, GATHER_MAX),
        };
        self.pauses
    }
}

/// Waits until the inbox has something, or until the deadline: then it returns false.
///
/// A sleep and a wake-up cost ten microseconds and more, and in a steady flow the other side is nearer than that. So it
/// looks for about a microsecond, then, as long as that pays, for some ten more while other threads may have the
/// processor, and then it sleeps.
pub(crate) fn wait<T>(inbox: &Inbox<T>, patience: &mut Patience, deadline: Option<Instant>) -> bool {
    if look_for_a_while(patience, || inbox.is_filled()) {
        return true;
    }
    if !with_waker(|waker| inbox.sleep(waker)) {
        return true;
    }
    // The thread may be unparked for any reason, so what counts is the inbox.
    while !inbox.is_filled() {
        if !until(deadline) {
            return false;
        }
    }
    true
}

/// Looks whether something is there, for as long as [`wait`] does before it sleeps.
pub(crate) fn look_for_a_while(patience: &mut Patience, is_there: impl Fn() -> bool) -> bool {
    for _ in 0..SPINS {
        if is_there() {
            return true;
        }
        std::hint::spin_loop();
    }
    if patience.is_worth_it() {
        for _ in 0..YIELDS {
            thread::yield_now();
            if is_there() {
                patience.paid();
                return true;
            }
        }
        patience.failed();
    }
    false
}

/// Lends the waker that ends [`until`] on this thread.
pub(crate) fn with_waker<R>(action: impl FnOnce(&Waker) -> R) -> R {
    WAKER.with(action)
}

/// Sleeps until woken, for whatever reason. False if the deadline has passed.
pub(crate) fn until(deadline: Option<Instant>) -> bool {
    match deadline {
        None => thread::park(),
        Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
            Some(left) if !left.is_zero() => thread::park_timeout(left),
            _ => return false,
        },
    }
    true
}

impl Patience {
    fn is_worth_it(&mut self) -> bool {
        self.since_try = self.since_try.wrapping_add(1);
        self.balance >= 0 || self.since_try % TRY_EVERY == 0
    }

    fn paid(&mut self) {
        self.balance = (self.balance + 1).min(PATIENCE_MAX);
    }

    fn failed(&mut self) {
        self.balance = (self.balance - 1).max(-PATIENCE_MAX);
    }
}

/// Looks with other threads let by: about ten microseconds on a free processor.
const YIELDS: u32 = 8;
const PATIENCE_MAX: i8 = 8;
const TRY_EVERY: u8 = 32;
/// A pause instruction takes 40 to 140 cycles, so this is about one microsecond.
const SPINS: u32 = 30;
/// Pauses while messages gather, at first and at most: half a microsecond.
const GATHER_MIN: u32 = 8;
const GATHER_MAX: u32 = 32;
const GATHER_AGAIN_AFTER: u32 = 64;

std::thread_local! {
    /// Made once per thread, so that waiting allocates nothing.
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
