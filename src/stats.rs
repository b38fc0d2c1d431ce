//! What became of a socket's messages, in numbers that add up.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::SocketType;
use crate::monitor::Connection;

/// Whether what only statistics want is counted. It always is: without it, the bench that measures its cost has something to
/// compare with.
pub(crate) const COUNTS: bool = !cfg!(zerowire_uncounted);

/// What became of a socket's messages since it was made, as it stands at this moment.
///
/// The numbers add up, always:
///
/// - accepted = handed over + waiting + dropped, see [`Sent`];
/// - received = taken + waiting + discarded, see [`Received`].
///
/// # Examples
/// ```
/// use zerowire::{Context, PullSocket, PushSocket};
///
/// let context = Context::new();
/// let mut pull = PullSocket::new(&context);
/// pull.bind("inproc://counted")?;
/// let mut push = PushSocket::new(&context);
/// push.connect("inproc://counted")?;
/// push.send("one")?;
/// push.send("two")?;
/// assert_eq!(pull.recv()?.as_bytes(), b"one");
///
/// let sent = push.stats().sent;
/// assert_eq!((sent.accepted, sent.handed_over, sent.waiting), (2, 1, 1));
/// let received = pull.stats().received;
/// assert_eq!((received.received, received.taken, received.waiting), (2, 1, 1));
/// assert_eq!(received.taken_bytes, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What was to be sent; all zero for a socket that does not send.
    pub sent: Sent,
    /// What has come; all zero for a socket that does not receive.
    pub received: Received,
}

/// What became of the messages of one peer, since its queues were made: when it connected, or for an endpoint that messages can
/// wait for, when that was connected to. What is counted for the whole socket only, such as messages that were filtered, is not
/// here; neither are peers that are gone, whose messages [`Stats`] goes on counting.
///
/// # Examples
/// ```
/// use zerowire::{Context, PullSocket, PushSocket};
///
/// let context = Context::new();
/// let mut pull = PullSocket::new(&context);
/// let endpoint = pull.bind("tcp://127.0.0.1:0")?;
/// let mut push = PushSocket::new(&context);
/// push.connect(&endpoint)?;
/// push.send("one")?;
/// pull.recv()?;
/// for peer in push.peer_stats() {
///     let address = peer.connection.map_or("nobody".into(), |connection| connection.remote.clone());
///     println!("{address}: {} accepted, {} waiting", peer.accepted, peer.waiting_to_be_sent);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStats {
    /// The connection that messages flow on, as a monitor tells it. None while there is none.
    pub connection: Option<Arc<Connection>>,
    /// Messages that were accepted for this peer: handed over, waiting, and replaced together.
    pub accepted: u64,
    /// See [`Sent::handed_over`].
    pub handed_over: u64,
    /// See [`Sent::waiting`].
    pub waiting_to_be_sent: u64,
    /// See [`Dropped::replaced`].
    pub replaced: u64,
    /// How many times this peer's queue was met full, at the high-water mark.
    pub full: u64,
    /// See [`Received::received`].
    pub received: u64,
    /// See [`Received::waiting`].
    pub waiting_to_be_taken: u64,
    /// Bytes that the operating system took for the present connection, with all that the protocol adds after the handshake. 0 in
    /// inproc, and for a socket that conflates.
    pub bytes_written: u64,
    /// Bytes that came over the present connection, with all that the protocol adds. 0 in inproc.
    pub bytes_read: u64,
    /// When bytes last came over the present connection: a message, a command, or a sign of life that a heartbeat asked for.
    /// None in inproc.
    pub last_heard: Option<Instant>,
}

/// Messages that a socket was to send. A message for several peers counts once for each.
///
/// accepted = handed over + waiting + dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Peers that there are, and endpoints that are being connected to, if messages can wait for them.
    pub peers: usize,
    /// Messages that a send call took. One that it gave back was not accepted. In inproc also the probe or the welcome that each
    /// new peer gets; over connections those are none of the queue's.
    pub accepted: u64,
    /// Bytes of these messages: of all their parts, without what the protocol adds.
    pub accepted_bytes: u64,
    /// Messages that the operating system took to the last byte, or, in inproc, that the peer's application took.
    pub handed_over: u64,
    /// Messages that wait in the queues of peers.
    pub waiting: u64,
    /// Messages that will never be handed over.
    pub dropped: Dropped,
    /// How many times a message met a peer's queue that was full, at the high-water mark. What became of the message, another
    /// field says: it waited, was given back, or was dropped.
    pub full: u64,
}

/// Messages that were accepted and will never be handed over, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// A publisher's peer was at its high-water mark.
    pub full: u64,
    /// The peer went for good, or was given up.
    pub peer_gone: u64,
    /// The endpoint was disconnected from, and its peer took nothing for the linger time.
    pub linger_expired: u64,
    /// A ROUTER had no such peer, and was told to drop such messages.
    pub unroutable: u64,
    /// A newer message took the place of this one, because the socket conflates.
    pub replaced: u64,
}

/// Messages that came to a socket. Those of subscribers to a publisher, subscriptions included, are among them.
///
/// received = taken + waiting + discarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// Peers that messages may come from, and those that are gone and left some.
    pub peers: usize,
    /// Messages that came, as far as they were read: what is beyond the high-water mark stays in the operating system.
    pub received: u64,
    /// Messages that the application got.
    pub taken: u64,
    /// Bytes of these messages: of all their parts.
    pub taken_bytes: u64,
    /// Messages that the application can still take, some of which may turn out not to be for it.
    pub waiting: u64,
    /// Messages that the application will never get.
    pub discarded: Discarded,
}

/// Messages that came and were not for the application, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discarded {
    /// A subscriber did not ask for them.
    pub filtered: u64,
    /// A newer message of the same peer had come, and the socket conflates.
    pub replaced: u64,
    /// Nobody waited for them: replies to requests that were given up, and what was left by a peer that was let go of.
    pub unwanted: u64,
}

impl Dropped {
    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        let Dropped {
            full,
            peer_gone,
            linger_expired,
            unroutable,
            replaced,
        } = self;
        full + peer_gone + linger_expired + unroutable + replaced
    }
}

impl Discarded {
    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        let Discarded {
            filtered,
            replaced,
            unwanted,
        } = self;
        filtered + replaced + unwanted
    }
}

impl Sent {
    /// Whether nothing is missing.
    pub(crate) fn adds_up(&self) -> bool {
        self.accepted == self.handed_over + self.waiting + self.dropped.total()
    }
}

impl Received {
    /// Whether nothing is missing.
    pub(crate) fn adds_up(&self) -> bool {
        self.received == self.taken + self.waiting + self.discarded.total()
    }
}

/// One line: `sent 10 = 7 handed over + 2 waiting + 1 dropped; received 0 = …`.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { sent, received } = self;
        write!(
            f,
            "sent {} = {} handed over + {} waiting + {} dropped; received {} = {} taken + {} waiting + {} discarded",
            sent.accepted,
            sent.handed_over,
            sent.waiting,
            sent.dropped.total(),
            received.received,
            received.taken,
            received.waiting,
            received.discarded.total(),
        )
    }
}

/// What a [shutdown](crate::Context::shutdown) could not deliver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// The peers for which messages were left, in no particular order.
    pub undelivered: Vec<Undelivered>,
}

/// Messages that were accepted for a peer and could not be handed over before the context was shut down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered {
    /// The type of the socket that sent them.
    pub socket_type: SocketType,
    /// The endpoint that this side was bound or connected to.
    pub endpoint: String,
    /// How many there are.
    pub messages: u64,
}

impl ShutdownReport {
    /// Whether everything that was accepted was handed over.
    pub fn is_complete(&self) -> bool {
        self.undelivered.is_empty()
    }

    /// Messages that were not handed over, to any peer.
    pub fn messages(&self) -> u64 {
        self.undelivered.iter().map(|it| it.messages).sum()
    }
}

/// One line: `all messages delivered`, or `3 messages undelivered: 1 of PUSH at tcp://127.0.0.1:5555, 2 of …`.
impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return f.write_str("all messages delivered");
        }
        write!(f, "{} messages undelivered", self.messages())?;
        let mut separator = ": ";
        for Undelivered {
            socket_type,
            endpoint,
            messages,
        } in &self.undelivered
        {
            write!(f, "{separator}{messages} of {socket_type} at {endpoint}")?;
            separator = ", ";
        }
        Ok(())
    }
}
