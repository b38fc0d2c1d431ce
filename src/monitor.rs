//! Events of a socket's connections: what happened, to which endpoint, and why.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::wire::error::ProtocolError;
use crate::wire::socket_type::SocketType;

/// Something that happened to a socket's listeners or connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The socket accepts connections at `endpoint`.
    Listening {
        /// The resolved endpoint.
        endpoint: String,
    },
    /// A connection came in; its handshake begins.
    Accepted {
        /// The endpoint that is bound.
        endpoint: String,
        /// Address of the other side.
        peer: String,
    },
    /// A connection could not be accepted; the listener goes on, after a pause if the process is out of descriptors.
    AcceptFailed {
        /// The endpoint that is bound.
        endpoint: String,
        /// Why.
        reason: Reason,
    },
    /// A connection that this side dialed stands; its handshake begins.
    Connected {
        /// The endpoint connected to.
        endpoint: String,
        /// Address of the other side.
        peer: String,
    },
    /// A connection could not be made.
    ConnectFailed {
        /// The endpoint connected to.
        endpoint: String,
        /// Why.
        reason: Reason,
    },
    /// The next attempt to connect will be made after `delay`.
    Retrying {
        /// The endpoint connected to.
        endpoint: String,
        /// Time until the attempt.
        delay: Duration,
    },
    /// The peer is known and messages flow.
    HandshakeSucceeded {
        /// The endpoint bound or connected to.
        endpoint: String,
        /// Address of the other side.
        peer: String,
        /// Type of the peer's socket, if it said so.
        peer_type: Option<SocketType>,
    },
    /// The connection was closed before messages could flow.
    HandshakeFailed {
        /// The endpoint bound or connected to.
        endpoint: String,
        /// Address of the other side.
        peer: String,
        /// Why.
        reason: Reason,
    },
    /// A connection on which messages flowed has ended.
    Disconnected {
        /// The endpoint bound or connected to.
        endpoint: String,
        /// Address of the other side.
        peer: String,
        /// Why.
        reason: Reason,
    },
    /// The socket no longer accepts connections at `endpoint`.
    ListenerClosed {
        /// The endpoint that was bound.
        endpoint: String,
    },
}

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
/// Up to 1,024 events wait; beyond that the newest are counted instead of kept ([`missed`](Monitor::missed)), so a slow
/// reader never holds up the I/O thread. Dropping it ends the observation.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, Event, PullSocket};
///
/// let context = Context::new();
/// let mut pull = PullSocket::new(&context);
/// let monitor = pull.monitor();
/// let endpoint = pull.bind("tcp://127.0.0.1:0")?;
/// let event = monitor.recv_timeout(Duration::from_secs(5));
/// assert_eq!(event, Some(Event::Listening { endpoint: endpoint.to_string() }));
/// # Ok::<(), zerowire::BindError>(())
/// ```
#[derive(Debug)]
pub struct Monitor {
    events: Arc<Events>,
}

impl Monitor {
    /// Takes the oldest event, waiting up to `timeout` for one. `None` means that none came in time.
    pub fn recv_timeout(&self, timeout: Duration) -> Option<Event> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.events.lock();
        loop {
            if let Some(event) = state.waiting.pop_front() {
                return Some(event);
            }
            state = match deadline {
                None => self
                    .events
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    self.events
                        .changed
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    /// Takes the oldest event if there is one.
    pub fn try_recv(&self) -> Option<Event> {
        self.events.lock().waiting.pop_front()
    }

    /// How many events were not kept because too many were waiting.
    pub fn missed(&self) -> u64 {
        self.events.lock().missed
    }
}

#[derive(Debug, Default)]
struct Events {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Event>,
    missed: u64,
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The monitors of one socket, as those who report see them.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    list: Mutex<Vec<Weak<Events>>>,
}

impl Monitors {
    pub(crate) fn add(&self) -> Monitor {
        let events = Arc::new(Events::default());
        self.list
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::downgrade(&events));
        Monitor { events }
    }

    /// Reports an event, which is made only if somebody listens. Never blocks for longer than a reader's own step.
    pub(crate) fn report(&self, event: impl FnOnce() -> Event) {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.is_empty() {
            return;
        }
        let event = event();
        list.retain(|monitor| {
            let Some(events) = monitor.upgrade() else {
                return false;
            };
            let mut state = events.lock();
            if state.waiting.len() < WAITING_MAX {
                state.waiting.push_back(event.clone());
            } else {
                state.missed += 1;
            }
            drop(state);
            events.changed.notify_all();
            true
        });
    }
}

/// Events that wait for a reader at most.
const WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_learns_how_much_it_missed() {
        let monitors = Monitors::default();
        let monitor = monitors.add();
        for _ in 0..WAITING_MAX + 5 {
            monitors.report(|| Event::Listening {
                endpoint: "inproc://a".into(),
            });
        }
        assert_eq!(monitor.missed(), 5);
        let mut seen = 0;
        while monitor.try_recv().is_some() {
            seen += 1;
        }
        assert_eq!(seen, WAITING_MAX);
    }

    #[test]
    fn nobody_listening_costs_no_event() {
        let monitors = Monitors::default();
        drop(monitors.add());
        monitors.report(|| Event::Listening {
            endpoint: "inproc://a".into(),
        });
        monitors.report(|| unreachable!("the dropped monitor was forgotten"));
    }
}
