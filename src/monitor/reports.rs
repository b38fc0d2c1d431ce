//! Where events are reported: the one way to all monitors of a socket, and to `tracing`.
//!
//! Reports are made by I/O threads, and by application threads that hold the lock of inproc's names. So nothing here runs
//! foreign code: events are put into the queues at once, in the same order for every reader, and what remains to be done,
//! waking tasks and telling `tracing`, is handed back as [`Later`], for when no lock is held.

use std::collections::HashMap;
#[cfg(feature = "tracing")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Instant;

use smallvec::SmallVec;

use super::meter::Meter;
use super::{Connection, Event, Events, Monitor, Reason};
use crate::peer_id::PeerId;
use crate::pipe::PipeId;
use crate::pipe::inbox::wake;
use crate::wire::socket_type::SocketType;

/// The monitors of one socket, as those who report see them. When it is dropped, which is when nothing is left of the socket,
/// the events end.
pub(crate) struct Monitors {
    #[cfg_attr(not(feature = "tracing"), allow(dead_code))]
    socket_type: SocketType,
    observed: Mutex<Observed>,
    /// The process that made the socket.
    process: u32,
}

#[derive(Default)]
struct Observed {
    monitors: Vec<Weak<Events>>,
    /// Connections on which messages flow, by the pipes under which the socket knows them: so those who know a pipe only
    /// can report, and do so between the beginning and the end.
    connections: HashMap<PipeId, Trail>,
}

/// What is told of one connection from its first event to its last.
#[derive(Clone)]
pub(crate) struct Trail {
    connection: Arc<Connection>,
    pub(crate) meter: Arc<Meter>,
    #[cfg(feature = "tracing")]
    pub(super) span: Arc<std::sync::OnceLock<tracing::Span>>,
}

/// What is left of a report: foreign code to call when no lock is held.
#[must_use]
#[derive(Default)]
pub(crate) struct Later {
    wakers: SmallVec<[Waker; 1]>,
    #[cfg(feature = "tracing")]
    untold: Option<(SocketType, Event, Option<Trail>)>,
}

impl Monitors {
    pub(crate) fn new(socket_type: SocketType) -> Monitors {
        Monitors {
            socket_type,
            observed: Mutex::default(),
            process: std::process::id(),
        }
    }

    pub(crate) fn add(&self, capacity: usize) -> Monitor {
        let monitor = Monitor::new(capacity);
        // In a child nothing is reported.
        if !self.is_forked() {
            self.lock().monitors.push(Arc::downgrade(&monitor.events));
        }
        monitor
    }

    /// Reports an event that is about no connection. It is made only if somebody listens.
    pub(crate) fn report(&self, event: impl FnOnce() -> Event) -> Later {
        if self.is_forked() {
            return Later::default();
        }
        self.tell(&mut self.lock(), None, event)
    }

    /// Reports an event of a connection.
    pub(crate) fn report_on(&self, trail: &Trail, event: impl FnOnce(Arc<Connection>) -> Event) -> Later {
        if self.is_forked() {
            return Later::default();
        }
        self.tell(&mut self.lock(), Some(trail), || event(trail.connection.clone()))
    }

    /// Reports that messages flow on a connection, which the socket knows by this pipe.
    pub(crate) fn established(&self, pipe: PipeId, trail: &Trail) -> Later {
        if self.is_forked() {
            return Later::default();
        }
        let mut observed = self.lock();
        observed.connections.insert(pipe, trail.clone());
        self.tell(&mut observed, Some(trail), || Event::HandshakeSucceeded {
            connection: trail.connection.clone(),
        })
    }

    /// Reports that a connection has ended on which messages flowed. Nothing more can be told of it.
    pub(crate) fn ended(&self, pipe: PipeId, reason: Reason) -> Later {
        if self.is_forked() {
            return Later::default();
        }
        let mut observed = self.lock();
        let Some(trail) = observed.connections.remove(&pipe) else {
            return Later::default();
        };
        self.tell(&mut observed, Some(&trail), || Event::Disconnected {
            connection: trail.connection.clone(),
            reason,
        })
    }

    /// The connection with this pipe, if messages flow on it, and what has come over it.
    pub(crate) fn connection(&self, pipe: PipeId) -> Option<(Arc<Connection>, Arc<Meter>)> {
        if self.is_forked() {
            return None;
        }
        let observed = self.lock();
        let trail = observed.connections.get(&pipe)?;
        Some((trail.connection.clone(), trail.meter.clone()))
    }

    /// Reports an event of the connection with this pipe, if messages flow on it. None if they do not, or not any more.
    pub(crate) fn report_of(
        &self,
        pipe: PipeId,
        event: impl FnOnce(Arc<Connection>) -> Event,
    ) -> Option<Later> {
        if self.is_forked() {
            return None;
        }
        let mut observed = self.lock();
        let trail = observed.connections.get(&pipe)?.clone();
        Some(self.tell(&mut observed, Some(&trail), || event(trail.connection.clone())))
    }

    fn tell(&self, observed: &mut Observed, trail: Option<&Trail>, event: impl FnOnce() -> Event) -> Later {
        let mut later = Later::default();
        #[cfg(feature = "tracing")]
        let traced = super::spans::is_anybody_there();
        #[cfg(not(feature = "tracing"))]
        let (traced, _) = (false, trail);
        if observed.monitors.is_empty() && !traced {
            return later;
        }
        let event = event();
        observed.monitors.retain(|monitor| {
            let Some(events) = monitor.upgrade() else {
                return false;
            };
            let mut state = events.lock();
            state.queue.push(event.clone());
            events.announce(&mut state, &mut later.wakers);
            true
        });
        #[cfg(feature = "tracing")]
        if traced {
            later.untold = Some((self.socket_type, event, trail.cloned()));
        }
        later
    }

    /// Whether this process was forked off the one that made the socket. Then all of it is the parent's, and the lock may be
    /// held for ever.
    fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Monitors {
    fn drop(&mut self) {
        if self.is_forked() {
            return;
        }
        let mut observed = self.lock();
        let mut later = self.tell(&mut observed, None, || Event::Closed);
        for events in observed
            .monitors
            .drain(..)
            .filter_map(|monitor| monitor.upgrade())
        {
            let mut state = events.lock();
            state.ended = true;
            events.announce(&mut state, &mut later.wakers);
        }
        drop(observed);
        later.carry_out();
    }
}

impl Trail {
    /// Begins with a number that no connection of the context had before. The addresses are written like endpoints.
    pub(crate) fn new(id: u64, endpoint: String, local: String, remote: String) -> Trail {
        Trail {
            connection: Arc::new(Connection::new(id, endpoint, local, remote)),
            meter: Arc::new(Meter::new(Instant::now())),
            #[cfg(feature = "tracing")]
            span: Arc::default(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.connection.id.as_u64()
    }

    /// The connection stands between these addresses.
    pub(crate) fn connected(&mut self, local: String, remote: String) {
        let connection = Arc::make_mut(&mut self.connection);
        (connection.local, connection.remote) = (local, remote);
    }

    /// The peer has said what it is, and a ROUTER has a name for it.
    pub(crate) fn introduced(&mut self, peer_type: Option<SocketType>, peer: Option<PeerId>) {
        let connection = Arc::make_mut(&mut self.connection);
        (connection.peer_type, connection.peer) = (peer_type, peer);
    }
}

impl Later {
    /// Runs foreign code: not to be called with a lock held.
    pub(crate) fn carry_out(self) {
        self.wakers.into_iter().for_each(wake);
        #[cfg(feature = "tracing")]
        if let Some((socket_type, event, trail)) = self.untold {
            // A subscriber that panics has lost this event, and nobody else anything.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                super::spans::tell(socket_type, &event, trail.as_ref());
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitors() -> Monitors {
        Monitors::new(SocketType::Pull)
    }

    fn trail(id: u64) -> Trail {
        Trail::new(id, "inproc://a".into(), String::new(), "inproc://a".into())
    }

    fn listening() -> Event {
        Event::Listening {
            endpoint: "inproc://a".into(),
        }
    }

    #[cfg(not(feature = "tracing"))]
    #[test]
    fn nobody_listening_costs_no_event() {
        let monitors = monitors();
        drop(monitors.add(1));
        monitors.report(listening).carry_out();
        monitors
            .report(|| unreachable!("the dropped monitor was forgotten"))
            .carry_out();
    }

    #[test]
    fn what_is_known_by_its_pipe_is_told_between_the_beginning_and_the_end_only() {
        let monitors = monitors();
        let monitor = monitors.add(10);
        let slow = |connection| Event::SlowPeer {
            connection,
            waiting: 1,
        };
        assert!(monitors.report_of(5, slow).is_none());
        monitors.established(5, &trail(7)).carry_out();
        monitors.report_of(5, slow).expect("messages flow").carry_out();
        monitors.ended(5, Reason::Closed).carry_out();
        monitors.ended(5, Reason::PeerClosed).carry_out();
        assert!(monitors.report_of(5, slow).is_none());
        let connection = trail(7).connection;
        let events: Vec<Event> = std::iter::from_fn(|| monitor.try_recv()).collect();
        let expected = [
            Event::HandshakeSucceeded {
                connection: connection.clone(),
            },
            slow(connection.clone()),
            Event::Disconnected {
                connection,
                reason: Reason::Closed,
            },
        ];
        assert_eq!(events, expected);
    }

    #[test]
    fn every_monitor_reads_all_events_and_then_their_end() {
        let monitors = monitors();
        let readers = [monitors.add(10), monitors.add(1)];
        monitors.report(listening).carry_out();
        drop(monitors);
        assert!(!readers[0].is_finished());
        assert_eq!(
            readers[0].iter().collect::<Vec<_>>(),
            [listening(), Event::Closed]
        );
        assert_eq!(
            readers[1].iter().collect::<Vec<_>>(),
            [Event::Missed { count: 1 }, Event::Closed]
        );
        assert!(readers[0].is_finished() && readers[1].is_finished());
        assert_eq!(readers[0].recv_timeout(std::time::Duration::MAX), None);
    }
}
