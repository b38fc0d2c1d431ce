//! Whether a socket can go on, as those see it who wait for it and do not hold it: selectors and descriptors.
//!
//! ```text
//!          a call found nothing to do, and the inbox is calm
//!   high ────────────────────────────────────────────────────► low
//!     ▲  ◄────────────────────────────────────────────────────
//!     │    news in the inbox, from any thread; or a call on this socket that makes the other direction possible
//!   new                                           (closed: high for ever)
//! ```
//!
//! Only the socket lowers its level, in its own calls, and only after it has looked: everything it might wait for will
//! post to its inbox then. It lowers first and says to the inbox that it is calm afterwards: whoever posts in between finds
//! it not calm and does nothing, but then the inbox is filled and the socket raises the level again; whoever posts later
//! raises it. A word that comes late raises a level that could be low, which costs whoever waits a look and nothing else.

#[cfg(unix)]
use std::io;
use std::sync::Arc;
use std::task::{Wake, Waker};

use slab::Slab;
use smallvec::SmallVec;

use crate::pipe::inbox::wake;
use crate::pipe::sync::HomeMutex;
#[cfg(unix)]
use crate::transport::bell::ReadyFd;

/// Whether one direction of a socket is ready.
pub struct Level {
    state: HomeMutex<State>,
}

struct State {
    is_high: bool,
    /// The socket is gone; then it is high for ever.
    is_closed: bool,
    /// Who is told when it rises. These are wakers of this crate.
    observers: Slab<Waker>,
    /// Readable while it is high.
    #[cfg(unix)]
    descriptor: Option<ReadyFd>,
}

impl Default for State {
    fn default() -> State {
        State {
            is_high: true,
            is_closed: false,
            observers: Slab::new(),
            #[cfg(unix)]
            descriptor: None,
        }
    }
}

impl Level {
    fn new() -> Level {
        Level {
            state: HomeMutex::default(),
        }
    }

    /// Has a waker called whenever the level rises from now on; whether it is high already is for the caller to see.
    pub(crate) fn observe(&self, waker: Waker) -> usize {
        self.state.lock().observers.insert(waker)
    }

    pub(crate) fn forget(&self, observer: usize) {
        self.state.lock().observers.try_remove(observer);
    }

    pub(crate) fn is_high(&self) -> bool {
        self.state.lock().is_high
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }

    /// The descriptor that is readable while the level is high, made at the first call.
    #[cfg(unix)]
    pub(crate) fn descriptor(&self) -> io::Result<ReadyFd> {
        let mut state = self.state.lock();
        if let Some(descriptor) = &state.descriptor {
            return Ok(descriptor.clone());
        }
        let descriptor = ReadyFd::new()?;
        if state.is_high {
            descriptor.ring();
        }
        Ok(state.descriptor.insert(descriptor).clone())
    }

    pub(crate) fn raise(&self) {
        self.rise(false);
    }

    fn close(&self) {
        self.rise(true);
    }

    fn rise(&self, closes: bool) {
        let mut state = self.state.lock();
        let rises = !state.is_high;
        state.is_high = true;
        #[cfg(unix)]
        if let (true, Some(descriptor)) = (rises, &state.descriptor) {
            descriptor.ring();
        }
        let is_news = rises || closes && !state.is_closed;
        state.is_closed |= closes;
        if !is_news || state.observers.is_empty() {
            return;
        }
        // Called without the lock: behind an observer is a waker that is anybody's code.
        let observers: SmallVec<[Waker; 4]> =
            state.observers.iter().map(|(_, waker)| waker.clone()).collect();
        drop(state);
        observers.into_iter().for_each(wake);
    }

    /// Lowers the level of a socket that has found nothing to do, unless the inbox is not calm: then it returns false, the
    /// level is high, and the socket looks again, now or in its next call.
    pub(crate) fn lower_if(&self, is_calm: impl FnOnce() -> bool) -> bool {
        self.lower();
        let calm = is_calm();
        if !calm {
            self.raise();
        }
        calm
    }

    fn lower(&self) {
        let mut state = self.state.lock();
        if state.is_closed || !state.is_high {
            return;
        }
        state.is_high = false;
        #[cfg(unix)]
        if let Some(descriptor) = &state.descriptor {
            descriptor.silence();
        }
    }
}

/// Sockets and parts of sockets that a [`Selector`](crate::Selector) can wait for until they can receive: all that receive.
/// Sealed.
pub trait ReceiveReady: sealed::ReceiveLevel {}

/// Sockets and parts of sockets that a [`Selector`](crate::Selector) can wait for until they can send: all that send. Sealed.
pub trait SendReady: sealed::SendLevel {}

pub(crate) mod sealed {
    use super::{Arc, Level};

    pub trait ReceiveLevel {
        fn receive_level(&mut self) -> Arc<Level>;
    }

    pub trait SendLevel {
        fn send_level(&mut self) -> Arc<Level>;
    }
}

/// What those who wait without holding a socket need of one that receives.
macro_rules! receive_ready {
    ($socket:ident, |$this:ident| $level:expr) => {
        impl crate::socket::level::sealed::ReceiveLevel for $socket {
            fn receive_level(&mut self) -> std::sync::Arc<crate::socket::level::Level> {
                let $this = self;
                $level
            }
        }

        impl crate::socket::level::ReceiveReady for $socket {}

        #[cfg(unix)]
        impl $socket {
            /// A descriptor that polls readable while there is something to receive, for event loops that know descriptors
            /// only.
            ///
            /// It is level-triggered, made at the first call, and always the same; see [`ReadyFd`](crate::ReadyFd). Readiness
            /// is a hint: receive with a call that does not wait. It is also there when receiving would fail at once. Selectors,
            /// calls that block and futures work beside it, and each hears of everything.
            ///
            /// Costs two descriptors, and a system call each time the socket becomes ready or ceases to be.
            ///
            /// # Errors
            /// What the system says, as a rule that the process has too many descriptors.
            pub fn recv_ready_fd(&mut self) -> std::io::Result<crate::transport::bell::ReadyFd> {
                crate::socket::level::sealed::ReceiveLevel::receive_level(self).descriptor()
            }
        }
    };
}
pub(crate) use receive_ready;

/// What those who wait without holding a socket need of one that sends. `$when` says when it can.
macro_rules! send_ready {
    ($socket:ident, |$this:ident| $level:expr, $when:literal) => {
        impl crate::socket::level::sealed::SendLevel for $socket {
            fn send_level(&mut self) -> std::sync::Arc<crate::socket::level::Level> {
                let $this = self;
                $level
            }
        }

        impl crate::socket::level::SendReady for $socket {}

        #[cfg(unix)]
        impl $socket {
            /// A descriptor that polls *readable* while a message can be sent, for event loops that know descriptors only.
            ///
            #[doc = $when]
            ///
            /// It is level-triggered, made at the first call, and always the same; see [`ReadyFd`](crate::ReadyFd). Readiness
            /// is a hint: send with a call that does not wait. It is also there when sending would fail at once. Selectors,
            /// calls that block and futures work beside it, and each hears of everything.
            ///
            /// Costs two descriptors, and a system call each time the socket becomes ready or ceases to be.
            ///
            /// # Errors
            /// What the system says, as a rule that the process has too many descriptors.
            pub fn send_ready_fd(&mut self) -> std::io::Result<crate::transport::bell::ReadyFd> {
                crate::socket::level::sealed::SendLevel::send_level(self).descriptor()
            }
        }
    };
}
pub(crate) use send_ready;

/// When sockets can send that deal out their messages.
macro_rules! room_ready {
    ($socket:ident, |$this:ident| $half:expr) => {
        crate::socket::level::send_ready!(
            $socket,
            |$this| $half.room_level(),
            "That is, while a peer has room."
        );
    };
}
pub(crate) use room_ready;

/// What an inbox calls when there is news.
impl Wake for Level {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}

/// The socket's own hold of a level, if anybody asked for one: when it lets go, the level is closed.
#[derive(Default)]
pub(crate) struct Gauge {
    level: Option<Arc<Level>>,
}

impl Gauge {
    /// Whether anybody asked.
    #[inline]
    pub(crate) fn is_read(&self) -> bool {
        self.level.is_some()
    }

    /// The level, and if it is new, its waker, for the inbox.
    pub(crate) fn level(&mut self) -> (Arc<Level>, Option<Waker>) {
        match &self.level {
            Some(level) => (level.clone(), None),
            None => {
                let level = self.level.insert(Arc::new(Level::new()));
                (level.clone(), Some(Waker::from(level.clone())))
            }
        }
    }

    pub(crate) fn raise(&self) {
        if let Some(level) = &self.level {
            level.raise();
        }
    }

    /// See [`Level::lower_if`]. True if nobody asked.
    pub(crate) fn lower_if(&self, is_calm: impl FnOnce() -> bool) -> bool {
        self.level.as_ref().is_none_or(|level| level.lower_if(is_calm))
    }

    /// Lowers the level of a socket for which no news means anything now.
    pub(crate) fn lower(&self) {
        if let Some(level) = &self.level {
            level.lower();
        }
    }

    /// Ends the readiness of a part of a socket that is not used any more, although it is kept.
    pub(crate) fn close(&mut self) {
        if let Some(level) = self.level.take() {
            level.close();
        }
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe::inbox::{Inbox, Watching};

    fn watched() -> (Gauge, Arc<Level>, Inbox<char>) {
        let inbox = Inbox::new();
        let mut gauge = Gauge::default();
        let (level, waker) = gauge.level();
        inbox.watch(Watching::ToReceive, waker.expect("it is new"));
        (gauge, level, inbox)
    }

    #[test]
    fn news_between_looking_and_lowering_is_not_lost() {
        let (gauge, level, inbox) = watched();
        // The socket has looked, and then something comes:
        inbox.post('a');
        assert!(!gauge.lower_if(|| inbox.calm(Watching::ToReceive)));
        assert!(level.is_high());
        inbox.take(&mut Vec::new(), &mut Vec::new());
        // when it has lowered and not said yet that it is calm,
        let calm = gauge.lower_if(|| {
            assert!(!level.is_high());
            inbox.post('b');
            inbox.calm(Watching::ToReceive)
        });
        assert!(!calm && level.is_high());
        inbox.take(&mut Vec::new(), &mut Vec::new());
        // and when it has.
        assert!(gauge.lower_if(|| inbox.calm(Watching::ToReceive)));
        assert!(!level.is_high());
        inbox.post('c');
        assert!(level.is_high());
    }

    #[test]
    fn a_closed_level_is_high_for_ever_and_says_so_to_who_saw_it_high() {
        let (gauge, level, inbox) = watched();
        let observer = Arc::new(Inbox::<char>::new());
        struct Post(Arc<Inbox<char>>);
        impl Wake for Post {
            fn wake(self: Arc<Self>) {
                self.0.post('!');
            }
        }
        level.observe(Waker::from(Arc::new(Post(observer.clone()))));
        level.raise();
        assert!(!observer.is_filled(), "it was high before");
        drop(gauge);
        assert!(observer.is_filled() && level.is_closed());
        level.lower_if(|| inbox.calm(Watching::ToReceive));
        assert!(level.is_high());
    }
}
