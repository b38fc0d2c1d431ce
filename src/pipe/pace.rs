//! Who writes what a sender has appended: the sender itself, or the I/O thread.

use std::time::{Duration, Instant};

/// Decides between a direct write and the I/O thread by the average time between the sends since the clock was last
/// read. The clock is read only when the pipe is found idle, so a burst does not pay for it.
pub(super) struct Pace {
    at: Option<Instant>,
    /// Messages accepted when the clock was read.
    accepted: u64,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace {
            at: None,
            accepted: 0,
        }
    }

    /// The models decide instead of the clock.
    #[cfg(zerowire_loom)]
    pub(super) fn allows_direct_write(&mut self, accepted: u64) -> bool {
        *self = Pace { at: None, accepted };
        DIRECT_IN_MODELS.with(std::cell::Cell::get)
    }

    #[cfg(not(zerowire_loom))]
    pub(super) fn allows_direct_write(&mut self, accepted: u64) -> bool {
        let now = Instant::now();
        let sends = u32::try_from(accepted - self.accepted).unwrap_or(u32::MAX);
        let slow = match self.at {
            Some(at) => now.saturating_duration_since(at) >= BURST_GAP.saturating_mul(sends),
            // The first message of a pipe, or the first after a wait at the high-water mark.
            None => accepted == 1,
        };
        *self = Pace {
            at: Some(now),
            accepted,
        };
        slow
    }

    /// The wait to come ends a burst, but is no reason to write directly.
    pub(super) fn wait(&mut self) {
        self.at = None;
    }

    /// Takes note that the burst went through a full queue: its messages are no measure of the time between sends.
    pub(super) fn pass(&mut self, accepted: u64) {
        self.accepted = accepted;
        self.at = None;
    }

    /// Takes note of a direct write, which took its time.
    pub(super) fn restart(&mut self, accepted: u64) {
        *self = Pace {
            at: Some(Instant::now()),
            accepted,
        };
    }
}

#[cfg(zerowire_loom)]
std::thread_local! {
    /// Whether the models write directly. One thread of the system runs all threads of a model.
    pub(super) static DIRECT_IN_MODELS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Sends that follow each other faster than this are a burst, which the I/O thread writes in larger pieces.
const BURST_GAP: Duration = Duration::from_nanos(1500);
