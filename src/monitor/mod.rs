//! Events of a socket's connections: what happened, to which connection, and why.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`event`] | the events, and what they tell of a connection |
//! | [`queue`] | events on their way to one reader: bounded, with the gaps in their places |
//! | [`reports`] | the one place where events are reported: to monitors, and to `tracing` |
//! | `spans` | how they look there |

mod event;
mod meter;
mod queue;
mod reports;
#[cfg(feature = "tracing")]
mod spans;

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use smallvec::SmallVec;
use thiserror::Error;

pub use event::{Connection, ConnectionId, DuplicateOutcome, Event};
use queue::Queue;
pub(crate) use reports::{Later, Monitors, Trail};

use crate::wire::error::ProtocolError;

/// Why a connection failed or ended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// The other side closed the connection.
    #[error("the peer closed the connection")]
    PeerClosed,
    /// This side closed the connection.
    #[error("closed by this side")]
    Closed,
    /// This side closed the connection while messages were waiting for it, because nothing had moved for the linger time.
    #[error("linger expired with {messages} messages unsent")]
    LingerExpired {
        /// Messages that were lost.
        messages: u64,
    },
    /// The connection of a socket that was dropped, or of an endpoint that was disconnected from, ended while messages were
    /// waiting for it, and nobody will make it again. Where a socket lives on, its statistics have them.
    #[error("{cause}, with {messages} messages unsent")]
    Undelivered {
        /// Messages that were lost.
        messages: u64,
        /// Why the connection ended.
        cause: Box<Reason>,
    },
    /// The other side broke the protocol.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The other side did not finish the handshake in time.
    #[error("no handshake within {0:?}")]
    HandshakeTimeout(Duration),
    /// The other side did not answer in time.
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    /// Nothing was heard of the other side for so long after it was asked for a sign of life, or for as long as it said that it
    /// would not be silent.
    #[error("no sign of life for {0:?}")]
    HeartbeatTimeout(Duration),
    /// A PAIR has one peer only, and has it already.
    #[error("the PAIR has its one peer already")]
    AlreadyPaired,
    /// A peer came with the identity of another one that is there; this connection is the one that lost.
    #[error("another peer has the identity `{identity}`")]
    DuplicateIdentity {
        /// The identity.
        identity: String,
    },
    /// A newcomer with the same identity took this peer's place, because it gave no sign of life or because the socket was
    /// told to let newcomers win.
    #[error("another peer took over the identity `{identity}`")]
    IdentityTakenOver {
        /// The identity.
        identity: String,
    },
    /// The subscriber was at its high-water mark, and the publisher was told to disconnect such.
    #[error("the subscriber is too slow")]
    SlowSubscriber,
    /// The subscriber holds more subscriptions than the publisher allows.
    #[error("more than {topics} topics or {bytes} bytes of them")]
    TooManySubscriptions {
        /// How many topics a peer may hold.
        topics: usize,
        /// How many bytes they may have together.
        bytes: usize,
    },
    /// A request or a reply without the empty part that ends its envelope (ZeroMQ RFC 28).
    #[error("a message without an envelope")]
    NoEnvelope,
    /// So many subscriptions changed while the peer did not read that the connection starts over with the present ones.
    #[error("the peer fell behind with subscriptions")]
    SubscriptionsOutdated,
    /// The application gave up a request, and with it the connection over which a late reply might have come.
    #[error("the request was given up")]
    RequestGivenUp,
    /// Too many handshakes are in progress; the oldest yields.
    #[error("more than {limit} handshakes in progress")]
    TooManyHandshakes {
        /// How many there may be.
        limit: usize,
    },
    /// Something panicked while the I/O thread served the connection: an owner of bytes in its drop, or a mistake of this
    /// library. Other connections do not notice.
    #[error("internal error")]
    Internal,
    /// The operating system reported an error.
    #[error("{message}")]
    Io {
        /// Its kind.
        kind: io::ErrorKind,
        /// Its text.
        message: String,
    },
}

impl Reason {
    /// Whether that is how connections end when nothing is wrong: one of the two sides closed it, and nothing that was left over
    /// went uncounted.
    pub fn is_ordinary(&self) -> bool {
        matches!(self, Reason::PeerClosed | Reason::Closed | Reason::RequestGivenUp)
    }

    /// Whether the two sides do not want each other: to try again at once would lead to the same.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Reason::Protocol(_)
                | Reason::AlreadyPaired
                | Reason::DuplicateIdentity { .. }
                | Reason::NoEnvelope
                | Reason::TooManySubscriptions { .. }
        )
    }
}

impl From<io::Error> for Reason {
    fn from(error: io::Error) -> Reason {
        Reason::Io {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

/// Receives the events of one socket from the moment it was made.
///
/// A reader may be as slow as it likes: the I/O thread never waits for it. Up to [`capacity`](Monitor::DEFAULT_CAPACITY)
/// events wait. Then, events that say little (attempts to connect, connections coming in, subscriptions) are displaced
/// first, the oldest first, and without such the oldest of all. Where events are missing the reader finds
/// [`Event::Missed`] with their number, so it knows what it knows not.
///
/// What an event tells is done when it is received: after [`Event::HandshakeSucceeded`] the next call to the socket knows the
/// peer, after [`Event::ListenerClosed`] others can bind the address.
///
/// The events end when the socket was dropped and its last connection has ended, lingering included: the last one is
/// [`Event::Closed`]. Then [`recv`](Monitor::recv) and [`recv_async`](Monitor::recv_async) return `None`, and so do all others.
/// In a process that was forked off there are no events, so they have ended there.
///
/// Dropping the monitor ends the observation; a socket may have many. With the feature `futures` it is a `Stream`.
///
/// # Examples
/// ```
/// use zerowire::{Context, Event, PullSocket, PushSocket};
///
/// let context = Context::new();
/// let mut pull = PullSocket::new(&context);
/// let monitor = pull.monitor();
/// let endpoint = pull.bind("tcp://127.0.0.1:0")?;
/// assert_eq!(monitor.recv(), Some(Event::Listening { endpoint: endpoint.to_string() }));
///
/// let mut push = PushSocket::new(&context);
/// push.connect(endpoint)?;
/// push.send("hello")?;
/// pull.recv()?;
/// drop((push, pull));
/// for event in &monitor {
///     // connection 3 from tcp://127.0.0.1:40001 to tcp://127.0.0.1:51234: accepted
///     println!("{event}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Monitor {
    events: Arc<Events>,
    /// Where the task that polls the stream is registered.
    #[cfg(feature = "futures")]
    stream: Option<usize>,
}

impl Monitor {
    /// How many events wait for a reader at most, unless [`monitor_with`](crate::PullSocket::monitor_with) says otherwise.
    ///
    /// Events take about 100 bytes each; those of one connection share its description, and a subscription brings its topic
    /// along, which has up to 16 KiB.
    pub const DEFAULT_CAPACITY: usize = 1024;

    fn new(capacity: usize) -> Monitor {
        Monitor {
            events: Arc::new(Events {
                state: Mutex::new(State {
                    queue: Queue::new(capacity),
                    tasks: Slab::new(),
                    ended: false,
                }),
                changed: Condvar::new(),
                process: std::process::id(),
            }),
            #[cfg(feature = "futures")]
            stream: None,
        }
    }

    /// Takes the oldest event, waiting for one. `None` means that the socket is gone and all events were read.
    pub fn recv(&self) -> Option<Event> {
        self.wait(None)
    }

    /// Takes the oldest event, waiting up to `timeout` for one. `None` means that none came in time or, at once, that none
    /// will come any more: see [`is_finished`](Self::is_finished).
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Event> {
        // A time beyond what the clock can tell is for ever.
        self.wait(Instant::now().checked_add(timeout))
    }

    /// Takes the oldest event if there is one.
    pub fn try_recv(&self) -> Option<Event> {
        if self.events.is_forked() {
            return None;
        }
        self.events.lock().queue.pop()
    }

    /// Takes the oldest event, waiting without blocking the thread. Any executor will do. `None` means that the socket is
    /// gone and all events were read.
    ///
    /// Cancel-safe: a future that is dropped before it is ready has taken nothing.
    pub async fn recv_async(&self) -> Option<Event> {
        let mut waiting = Waiting {
            events: &self.events,
            key: None,
        };
        poll_fn(|task| self.events.poll(&mut waiting.key, task)).await
    }

    /// The events as they come: waits for each, and ends with the socket.
    pub fn iter(&self) -> MonitorIter<'_> {
        MonitorIter { monitor: self }
    }

    /// How many events were displaced so far, whether or not the reader has come to the [`Event::Missed`] that tells of them.
    pub fn missed(&self) -> u64 {
        if self.events.is_forked() {
            return 0;
        }
        self.events.lock().queue.missed()
    }

    /// Whether the socket is gone and all events were read.
    pub fn is_finished(&self) -> bool {
        if self.events.is_forked() {
            return true;
        }
        let state = self.events.lock();
        state.ended && state.queue.is_empty()
    }

    fn wait(&self, deadline: Option<Instant>) -> Option<Event> {
        if self.events.is_forked() {
            return None;
        }
        let changed = &self.events.changed;
        let mut state = self.events.lock();
        loop {
            if let Some(event) = state.queue.pop() {
                return Some(event);
            }
            if state.ended {
                return None;
            }
            state = match deadline {
                None => changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    let waited = changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        if self.events.is_forked() {
            return;
        }
        // Wakers are anybody's code: they are dropped without the lock.
        let tasks = std::mem::take(&mut self.events.lock().tasks);
        drop(tasks);
    }
}

#[cfg(feature = "futures")]
impl futures_core::Stream for Monitor {
    type Item = Event;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Event>> {
        let monitor = &mut *self;
        monitor.events.poll(&mut monitor.stream, task)
    }
}

impl<'a> IntoIterator for &'a Monitor {
    type Item = Event;
    type IntoIter = MonitorIter<'a>;

    fn into_iter(self) -> MonitorIter<'a> {
        self.iter()
    }
}

/// The events of a [`Monitor`] as they come. Made by [`Monitor::iter`].
///
/// # Examples
/// ```
/// use zerowire::{Context, Event, PullSocket};
///
/// let context = Context::new();
/// let pull = PullSocket::new(&context);
/// let monitor = pull.monitor();
/// drop(pull);
/// assert_eq!(monitor.iter().last(), Some(Event::Closed));
/// ```
#[derive(Debug)]
pub struct MonitorIter<'a> {
    monitor: &'a Monitor,
}

impl Iterator for MonitorIter<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.monitor.recv()
    }
}

/// The place where a monitor finds its events.
#[derive(Debug)]
struct Events {
    state: Mutex<State>,
    changed: Condvar,
    /// The process that made the monitor.
    process: u32,
}

#[derive(Debug)]
struct State {
    queue: Queue,
    /// Tasks that wait for an event. A place without a waker was woken, or has found one.
    tasks: Slab<Option<Waker>>,
    /// Nothing is added any more.
    ended: bool,
}

impl Events {
    /// Whether this process was forked off the one that made the monitor. Then there is nobody to report anything, and
    /// the lock may be held for ever.
    fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event, or has the task woken when there is one. `key` is the task's place, once it has one.
    fn poll(&self, key: &mut Option<usize>, task: &TaskContext<'_>) -> Poll<Option<Event>> {
        if self.is_forked() {
            return Poll::Ready(None);
        }
        // Cloned and dropped outside the lock: both run code of the executor.
        let mut waker = Some(task.waker().clone());
        let mut state = self.lock();
        let ready = match state.queue.pop() {
            None if !state.ended => None,
            event => {
                waker = None;
                Some(event)
            }
        };
        if ready.is_none() || key.is_some() {
            let key = *key.get_or_insert_with(|| state.tasks.insert(None));
            std::mem::swap(&mut state.tasks[key], &mut waker);
        }
        drop(state);
        drop(waker);
        ready.map_or(Poll::Pending, Poll::Ready)
    }

    /// Lets the reader know of what was added. The tasks are to be woken without a lock.
    fn announce(&self, state: &mut State, wakers: &mut SmallVec<[Waker; 1]>) {
        wakers.extend(state.tasks.iter_mut().filter_map(|(_, task)| task.take()));
        self.changed.notify_all();
    }
}

/// A future's place among those who wait.
struct Waiting<'a> {
    events: &'a Events,
    key: Option<usize>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.events.is_forked() {
            return;
        }
        let waker = self.key.and_then(|key| self.events.lock().tasks.try_remove(key));
        drop(waker);
    }
}
