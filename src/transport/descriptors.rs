//! Descriptors of others that a thread waits for, together with a waker that ends the wait.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// Waits for descriptors to be readable or writable, level-triggered.
pub(crate) struct Descriptors {
    poll: Poll,
    events: Events,
    waker: Waker,
    watched: Slab<Watched>,
    /// Keys in `watched` of what was reported last: mio reports edges, so these have to be asked for anew.
    reported: Vec<usize>,
}

struct Watched {
    fd: OwnedFd,
    interest: Interest,
    /// What the caller calls it.
    name: usize,
}

/// Whether a descriptor is to be readable or writable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

impl Descriptors {
    pub(crate) fn new() -> io::Result<Descriptors> {
        let poll = Poll::new()?;
        let waker = Waker::from(Arc::new(PollWaker(mio::Waker::new(poll.registry(), WAKER)?)));
        Ok(Descriptors {
            poll,
            events: Events::with_capacity(EVENTS_PER_WAIT),
            waker,
            watched: Slab::new(),
            reported: Vec::new(),
        })
    }

    /// Adds a descriptor, and returns the key to [`remove`](Self::remove) it by.
    ///
    /// # Errors
    /// What the system says: a plain file, for instance, cannot be waited for.
    pub(crate) fn add(&mut self, name: usize, fd: OwnedFd, direction: Direction) -> io::Result<usize> {
        let interest = match direction {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        };
        let entry = self.watched.vacant_entry();
        let (key, raw) = (entry.key(), fd.as_raw_fd());
        let registry = self.poll.registry();
        registry.register(&mut SourceFd(&raw), Token(key), interest)?;
        entry.insert(Watched { fd, interest, name });
        Ok(key)
    }

    pub(crate) fn remove(&mut self, key: usize) {
        let removed = self.watched.remove(key);
        // It goes with its last descriptor anyway; but this one has a twin elsewhere.
        let _ = self
            .poll
            .registry()
            .deregister(&mut SourceFd(&removed.fd.as_raw_fd()));
        self.reported.retain(|&other| other != key);
    }

    /// Ends a wait, the present one or the next.
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Waits until a descriptor is ready, somebody wakes, or the time is over; appends the names of those that are ready.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, ready: &mut Vec<usize>) -> io::Result<()> {
        let registry = self.poll.registry();
        while let Some(key) = self.reported.pop() {
            let watched = &self.watched[key];
            registry.reregister(
                &mut SourceFd(&watched.fd.as_raw_fd()),
                Token(key),
                watched.interest,
            )?;
        }
        match self.poll.poll(&mut self.events, timeout) {
            // A signal: whoever waits looks at the clock and comes back.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &self.events {
            let Token(key) = event.token();
            if let Some(watched) = self.watched.get(key) {
                self.reported.push(key);
                ready.push(watched.name);
            }
        }
        Ok(())
    }
}

/// Wakes a thread that waits for descriptors.
struct PollWaker(mio::Waker);

impl Wake for PollWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It fails only if nobody waits there any more.
        let _ = self.0.wake();
    }
}

const WAKER: Token = Token(usize::MAX);
/// What does not fit is reported by the next wait.
const EVENTS_PER_WAIT: usize = 256;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn ready(descriptors: &mut Descriptors) -> Vec<usize> {
        let mut ready = Vec::new();
        descriptors.wait(NOW, &mut ready).unwrap();
        ready.sort_unstable();
        ready
    }

    #[test]
    fn what_stays_ready_is_reported_again() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut descriptors = Descriptors::new().unwrap();
        descriptors
            .add(7, there.try_clone().unwrap().into(), Direction::Read)
            .unwrap();
        let key = descriptors
            .add(8, there.try_clone().unwrap().into(), Direction::Write)
            .unwrap();
        assert_eq!(ready(&mut descriptors), [8]);
        here.write_all(b"ab").unwrap();
        for _ in 0..3 {
            assert_eq!(ready(&mut descriptors), [7, 8]);
        }
        descriptors.remove(key);
        (&there).read_exact(&mut [0]).unwrap();
        assert_eq!(ready(&mut descriptors), [7]);
        (&there).read_exact(&mut [0]).unwrap();
        assert_eq!(ready(&mut descriptors), []);
    }

    #[test]
    fn a_wake_up_ends_the_next_wait() {
        let mut descriptors = Descriptors::new().unwrap();
        descriptors.waker().wake_by_ref();
        let mut ready = Vec::new();
        descriptors.wait(None, &mut ready).unwrap();
        assert!(ready.is_empty());
    }

    #[test]
    fn a_plain_file_is_refused() {
        let file = std::fs::File::open("Cargo.toml").unwrap();
        let mut descriptors = Descriptors::new().unwrap();
        assert!(descriptors.add(0, file.into(), Direction::Read).is_err());
        assert_eq!(ready(&mut descriptors), []);
    }
}
