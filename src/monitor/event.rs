//! What can happen to a socket, and what is told of the connection it happened to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Reason;
use crate::peer_id::PeerId;
use crate::wire::socket_type::SocketType;

/// Something that happened to a socket's listeners or connections.
///
/// All events of a connection carry the same [`Connection::id`], and come in this order:
///
/// ```text
///   Connecting ──► Connected ──┐
///        └───► ConnectFailed   ├──► HandshakeSucceeded ──► Subscription, SlowPeer … ──► Disconnected
///                Accepted ─────┘
///                              └──► DuplicateIdentity ──► HandshakeFailed
/// ```
///
/// So what begins with `Connecting` or `Accepted` ends with exactly one of `ConnectFailed`, `HandshakeFailed` and
/// `Disconnected`, as long as the I/O thread lives. A `DuplicateIdentity` may also come before a `HandshakeSucceeded`.
///
/// `Display` shows an event as one line of text.
///
/// # Examples
/// ```
/// use zerowire::Event;
///
/// /// What an operator wants to be woken for.
/// fn is_alarming(event: &Event) -> bool {
///     match event {
///         Event::AcceptFailed { .. } | Event::HandshakeFailed { .. } | Event::SlowPeer { .. } => true,
///         Event::Disconnected { reason, .. } => !reason.is_ordinary(),
///         _ => false,
///     }
/// }
///
/// let event = Event::Missed { count: 3 };
/// assert!(!is_alarming(&event));
/// assert_eq!(event.to_string(), "3 events missed");
/// ```
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
        /// The connection.
        connection: Arc<Connection>,
    },
    /// A connection could not be accepted; the listener goes on, after a pause if the process is out of descriptors.
    AcceptFailed {
        /// The endpoint that is bound.
        endpoint: String,
        /// Why.
        reason: Reason,
    },
    /// A connection is tried. A host name may have several addresses, each of which is tried as a connection of its own. In
    /// inproc it means that the socket waits for the other side to bind the name.
    Connecting {
        /// The connection, of which the local address is not known yet.
        connection: Arc<Connection>,
    },
    /// A connection that this side dialed stands; its handshake begins.
    Connected {
        /// The connection.
        connection: Arc<Connection>,
    },
    /// A connection could not be made, or its host name not be resolved: then no `Connecting` came before.
    ConnectFailed {
        /// The connection.
        connection: Arc<Connection>,
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
    /// The peer is known and messages flow. The socket has it: a `RouterSocket` finds it among its peers.
    HandshakeSucceeded {
        /// The connection, with what the peer said about itself.
        connection: Arc<Connection>,
    },
    /// The connection was closed before messages could flow.
    HandshakeFailed {
        /// The connection.
        connection: Arc<Connection>,
        /// Why.
        reason: Reason,
    },
    /// A peer claims an identity that another peer of this ROUTER has; the other one keeps its connection unless
    /// `outcome` says otherwise.
    DuplicateIdentity {
        /// The connection of the peer that came second.
        connection: Arc<Connection>,
        /// What both want to be called.
        identity: PeerId,
        /// What became of it.
        outcome: DuplicateOutcome,
    },
    /// A peer of this publisher has subscribed to a topic, or ended a subscription. Told when the publisher takes note,
    /// which is in one of its calls; what it publishes afterwards is filtered accordingly. What a peer says again changes
    /// nothing and is not told, and the end of a connection ends its subscriptions without further events.
    Subscription {
        /// The connection.
        connection: Arc<Connection>,
        /// The topic: the start of the messages that are wanted.
        topic: Bytes,
        /// Whether the peer wants them from now on, or no longer.
        subscribed: bool,
    },
    /// A peer has as many messages waiting as the high-water mark allows, so that this socket waits for it, or a publisher
    /// drops what is for it. Told in the call that finds it so, when that begins, not for each message; and again when the
    /// peer has had room and is found full a second or more after the last time. Messages that wait for a connection say
    /// nothing about the peer.
    SlowPeer {
        /// The connection.
        connection: Arc<Connection>,
        /// Messages that wait for the peer: the high-water mark.
        waiting: u64,
    },
    /// A connection on which messages flowed has ended.
    Disconnected {
        /// The connection.
        connection: Arc<Connection>,
        /// Why.
        reason: Reason,
    },
    /// The socket no longer accepts connections at `endpoint`, which others may bind.
    ListenerClosed {
        /// The endpoint that was bound.
        endpoint: String,
    },
    /// The socket was dropped and its last connection has ended. This is the last event.
    Closed,
    /// In this place, events are missing: so many waited that they were not kept for this [`Monitor`](crate::Monitor).
    Missed {
        /// How many.
        count: u64,
    },
}

/// What is known of a connection, as of an event.
///
/// Addresses are written like endpoints: `tcp://192.0.2.1:5555`, `ipc:///run/app.sock`, `inproc://name`. The dialing end of
/// an ipc connection has no address: it is told as `ipc://`, and by the other side as the path that it dialed.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, Event, PullSocket, PushSocket, SocketType};
///
/// let context = Context::new();
/// let mut pull = PullSocket::new(&context);
/// let monitor = pull.monitor();
/// let endpoint = pull.bind("tcp://127.0.0.1:0")?;
/// let mut push = PushSocket::new(&context);
/// push.connect(&endpoint)?;
/// push.send("hello")?;
/// pull.recv()?;
/// for event in &monitor {
///     if let Event::HandshakeSucceeded { connection } = event {
///         assert_eq!(connection.endpoint, endpoint.to_string());
///         assert_eq!(connection.peer_type, Some(SocketType::Push));
///         break;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The same in all events of this connection.
    pub id: ConnectionId,
    /// The endpoint that is bound, or connected to.
    pub endpoint: String,
    /// The address of this side; empty until the connection stands.
    pub local: String,
    /// The address of the other side: while connecting the one that is tried.
    pub remote: String,
    /// The type of the peer's socket, when it is known: it may not say.
    pub peer_type: Option<SocketType>,
    /// What a ROUTER calls the peer, from the end of the handshake on.
    pub peer: Option<PeerId>,
}

/// Names a connection: no other one of the same [`Context`](crate::Context) ever has the same id.
///
/// The two ends of an inproc connection, which are in one context, share it.
///
/// # Examples
/// ```
/// use std::collections::HashMap;
/// use zerowire::{ConnectionId, Event};
///
/// /// Keeps a list of the connections that stand.
/// fn follow(event: Event, addresses: &mut HashMap<ConnectionId, String>) {
///     match event {
///         Event::HandshakeSucceeded { connection } => {
///             addresses.insert(connection.id, connection.remote.clone());
///         }
///         Event::Disconnected { connection, .. } => {
///             addresses.remove(&connection.id);
///         }
///         _ => {}
///     }
/// }
/// # let mut addresses = HashMap::new();
/// # follow(Event::Closed, &mut addresses);
/// # assert!(addresses.is_empty());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// What became of a peer that claimed the identity of another one.
///
/// # Examples
/// ```
/// assert_eq!(zerowire::DuplicateOutcome::Refused.to_string(), "the newcomer is refused");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DuplicateOutcome {
    /// The other peer keeps the name. The newcomer is refused; in inproc it waits for the name.
    Refused,
    /// The newcomer has the name, and the connection of the other peer ends: see
    /// [`Reason::IdentityTakenOver`](crate::Reason).
    TakenOver,
}

impl Event {
    /// The connection that the event is about, if it is about one.
    pub fn connection(&self) -> Option<&Connection> {
        match self {
            Event::Accepted { connection }
            | Event::Connecting { connection }
            | Event::Connected { connection }
            | Event::ConnectFailed { connection, .. }
            | Event::HandshakeSucceeded { connection }
            | Event::HandshakeFailed { connection, .. }
            | Event::DuplicateIdentity { connection, .. }
            | Event::Subscription { connection, .. }
            | Event::SlowPeer { connection, .. }
            | Event::Disconnected { connection, .. } => Some(connection),
            Event::Listening { .. }
            | Event::AcceptFailed { .. }
            | Event::Retrying { .. }
            | Event::ListenerClosed { .. }
            | Event::Closed
            | Event::Missed { .. } => None,
        }
    }

    /// The endpoint that the event is about, as it was bound or connected to.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Event::Listening { endpoint }
            | Event::AcceptFailed { endpoint, .. }
            | Event::Retrying { endpoint, .. }
            | Event::ListenerClosed { endpoint } => Some(endpoint),
            _ => self.connection().map(|connection| connection.endpoint.as_str()),
        }
    }

    /// Why it happened, for events that have a reason.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Event::AcceptFailed { reason, .. }
            | Event::ConnectFailed { reason, .. }
            | Event::HandshakeFailed { reason, .. }
            | Event::Disconnected { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// Whether little is lost without it: what follows of the same connection tells as much.
    pub(super) fn is_minor(&self) -> bool {
        matches!(
            self,
            Event::Accepted { .. }
                | Event::Connecting { .. }
                | Event::Connected { .. }
                | Event::Retrying { .. }
                | Event::Subscription { .. }
        )
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(connection) = self.connection() {
            write!(f, "{connection}: ")?;
        }
        match self {
            Event::Listening { endpoint } => write!(f, "listening at {endpoint}"),
            Event::Accepted { .. } => f.write_str("accepted"),
            Event::AcceptFailed { endpoint, reason } => write!(f, "cannot accept at {endpoint}: {reason}"),
            Event::Connecting { .. } => f.write_str("connecting"),
            Event::Connected { .. } => f.write_str("connected"),
            Event::ConnectFailed { reason, .. } => write!(f, "cannot connect: {reason}"),
            Event::Retrying { endpoint, delay } => write!(f, "connecting to {endpoint} again in {delay:.1?}"),
            Event::HandshakeSucceeded { .. } => f.write_str("handshake succeeded"),
            Event::HandshakeFailed { reason, .. } => write!(f, "handshake failed: {reason}"),
            Event::DuplicateIdentity {
                identity, outcome, ..
            } => write!(f, "another peer is called `{identity}`: {outcome}"),
            Event::Subscription {
                topic, subscribed, ..
            } => {
                let verb = if *subscribed { "subscribed to" } else { "cancelled" };
                write!(f, "{verb} `{}`", topic.escape_ascii())
            }
            Event::SlowPeer { waiting, .. } => write!(f, "slow, {waiting} messages wait for it"),
            Event::Disconnected { reason, .. } => write!(f, "disconnected: {reason}"),
            Event::ListenerClosed { endpoint } => write!(f, "no longer listening at {endpoint}"),
            Event::Closed => f.write_str("socket closed"),
            Event::Missed { count } => write!(f, "{count} events missed"),
        }
    }
}

impl Connection {
    /// A connection of which only the endpoint and the address of the other side are known.
    pub(crate) fn new(id: u64, endpoint: String, local: String, remote: String) -> Connection {
        Connection {
            id: ConnectionId(id),
            endpoint,
            local,
            remote,
            peer_type: None,
            peer: None,
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} ", self.id)?;
        if self.local.is_empty() {
            write!(f, "to {}", self.remote)?;
        } else {
            write!(f, "from {} to {}", self.local, self.remote)?;
        }
        match (&self.peer_type, &self.peer) {
            (Some(peer_type), Some(peer)) => write!(f, " ({peer_type} `{peer}`)"),
            (Some(peer_type), None) => write!(f, " ({peer_type})"),
            (None, Some(peer)) => write!(f, " (`{peer}`)"),
            (None, None) => Ok(()),
        }
    }
}

impl ConnectionId {
    /// The number, for a log or a table.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for DuplicateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DuplicateOutcome::Refused => "the newcomer is refused",
            DuplicateOutcome::TakenOver => "the newcomer takes the name over",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_shown_as_lines_that_begin_with_their_connection() {
        let mut connection = Connection::new(
            7,
            "tcp://server:5555".into(),
            String::new(),
            "tcp://192.0.2.1:5555".into(),
        );
        let trying = Event::Connecting {
            connection: Arc::new(connection.clone()),
        };
        assert_eq!(
            trying.to_string(),
            "connection 7 to tcp://192.0.2.1:5555: connecting"
        );
        assert_eq!(trying.endpoint(), Some("tcp://server:5555"));
        connection.local = "tcp://192.0.2.9:40000".into();
        connection.peer_type = Some(SocketType::Dealer);
        connection.peer = PeerId::new("line\nbreak").ok();
        let connection = Arc::new(connection);
        let lost = Event::Disconnected {
            connection: connection.clone(),
            reason: Reason::PeerClosed,
        };
        assert_eq!(
            lost.to_string(),
            "connection 7 from tcp://192.0.2.9:40000 to tcp://192.0.2.1:5555 (DEALER `line\\nbreak`): disconnected: \
             the peer closed the connection"
        );
        assert_eq!(lost.reason(), Some(&Reason::PeerClosed));
        let subscription = Event::Subscription {
            connection,
            topic: Bytes::from_static(b"a\nb\xff"),
            subscribed: true,
        };
        assert!(subscription.to_string().ends_with(": subscribed to `a\\nb\\xff`"));
        let retrying = Event::Retrying {
            endpoint: "tcp://server:5555".into(),
            delay: Duration::from_micros(101_234),
        };
        assert_eq!(
            retrying.to_string(),
            "connecting to tcp://server:5555 again in 101.2ms"
        );
    }
}
