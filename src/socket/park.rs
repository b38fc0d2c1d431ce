//! A thread that waits for its inbox.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::mailbox::ToSocket;
use crate::pipe::inbox::Inbox;

/// Waits until the inbox has something, or until the deadline: then it returns false.
///
/// It first looks for about a microsecond, because at a high-water mark the other side is often just about to make room
/// and a sleep and wake-up cost ten times that.
pub(crate) fn wait(inbox: &Inbox<ToSocket>, deadline: Option<Instant>) -> bool {
    for _ in 0..SPINS {
        if inbox.is_filled() {
            return true;
        }
        std::hint::spin_loop();
    }
    WAKER.with(|waker| {
        if !inbox.sleep(waker) {
            return true;
        }
        // The thread may be unparked for any reason, so what counts is the inbox.
        while !inbox.is_filled() {
            match deadline {
                None => thread::park(),
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => thread::park_timeout(left),
                    _ => return false,
                },
            }
        }
        true
    })
}

/// A pause instruction takes 40 to 140 cycles, so this is about one microsecond.
const SPINS: u32 = 30;

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
