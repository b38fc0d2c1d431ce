//! A thread that waits for its inbox.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::pipe::inbox::Inbox;

/// Whether to look for a while before sleeping: only as long as that pays. One for each half of a socket.
///
/// The wait for an answer is shorter if somebody looks for it, because a processor that has gone to sleep takes tens of
/// microseconds to wake, and too long to be worth it if nobody does. So who has given up tries again now and then, and all do so
/// at the same times: that is when both sides of a conversation find each other awake.
#[derive(Debug)]
pub(crate) struct Patience {
    /// Looks in vain until it is given up.
    left: u8,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { left: PATIENCE_MAX }
    }
}

impl Patience {
    fn is_worth_it(&self) -> bool {
        self.left > 0 || is_time_to_try()
    }

    fn paid(&mut self) {
        self.left = (self.left + PATIENCE_GAIN).min(PATIENCE_MAX);
    }

    fn failed(&mut self) {
        self.left = self.left.saturating_sub(1);
    }
}

fn is_time_to_try() -> bool {
    // The only clock that processes have in common. If it is set, the next time comes sooner or later, that is all.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_millis() % TRY_EVERY_MS < TRY_FOR_MS
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
/// looks for about a microsecond, then, as long as that pays, for up to [`LOOK_MAX`] while other threads may have the
/// processor, and then it sleeps.
pub(crate) fn wait<T>(inbox: &Inbox<T>, patience: &mut Patience, deadline: Option<Instant>) -> bool {
    if look_for_a_while(patience, deadline, || inbox.is_filled()) {
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
pub(crate) fn look_for_a_while(
    patience: &mut Patience,
    deadline: Option<Instant>,
    is_there: impl Fn() -> bool,
) -> bool {
    for _ in 0..SPINS {
        if is_there() {
            return true;
        }
        std::hint::spin_loop();
    }
    if !patience.is_worth_it() {
        return false;
    }
    let end = Instant::now() + LOOK_MAX;
    let end = deadline.map_or(end, |deadline| deadline.min(end));
    loop {
        thread::yield_now();
        if is_there() {
            patience.paid();
            return true;
        }
        if Instant::now() >= end {
            patience.failed();
            return false;
        }
    }
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

/// Looks with other threads let by, before a sleep.
const LOOK_MAX: Duration = Duration::from_micros(50);
/// Looks in vain until it is given up, when it has paid before, and when it is only tried.
const PATIENCE_MAX: u8 = 64;
/// Looks in vain that one which paid makes up for.
const PATIENCE_GAIN: u8 = 8;
/// How often, and for how long, looking is tried although it has not paid.
const TRY_EVERY_MS: u128 = 64;
const TRY_FOR_MS: u128 = 4;
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
