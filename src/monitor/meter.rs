//! What has come over one connection: written by its I/O thread, read by anybody.

use std::time::{Duration, Instant};

use crate::pipe::sync::{AtomicU64, Ordering};

/// Bytes that came, and when the last of them did.
#[derive(Debug)]
pub(crate) struct Meter {
    began: Instant,
    bytes: AtomicU64,
    /// Microseconds since it began.
    heard: AtomicU64,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Meter {
        Meter {
            began: now,
            bytes: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        }
    }

    /// So many bytes have come in all. For the I/O thread only.
    pub(crate) fn heard(&self, bytes: u64, now: Instant) {
        if bytes != self.bytes.load(Ordering::Relaxed) {
            let heard = now.saturating_duration_since(self.began).as_micros();
            self.heard
                .store(u64::try_from(heard).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.bytes.store(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When bytes last came, if any have.
    pub(crate) fn last_heard(&self) -> Option<Instant> {
        let heard = Duration::from_micros(self.heard.load(Ordering::Relaxed));
        (self.bytes() > 0).then(|| self.began + heard)
    }
}
