//! Options before a socket exists.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;

use super::pubsub::SubSocket;
use super::req::ReqSocket;
use super::router::RouterSocket;
use super::xpubsub::XPubSocket;
use crate::context::Context;
use crate::error::OptionError;
use crate::message::Message;
use crate::options::{OnDuplicate, Options, SlowSubscriber, TcpKeepalive, Verbosity};

/// A socket type: sealed, implemented by all of this crate's sockets.
pub trait Socket: sealed::Sealed + Sized {}

/// A socket type that sends messages.
pub trait Sends: Socket {}

/// A socket type that receives messages.
pub trait Receives: Socket {}

/// A socket type that tells its peers who it is.
pub trait Identified: Socket {}

/// A socket type that can make itself known to routers before it says anything else.
pub trait Probes: Socket {}

/// A socket type that publishes.
pub trait Publishes: Socket {}

/// A socket type that deals out its messages to peers in turn.
pub trait Deals: Socket {}

/// A socket type that can do with the newest message of each peer.
pub trait Conflates: Socket {}

pub(crate) mod sealed {
    use crate::context::Context;
    use crate::options::Options;

    pub trait Sealed {
        fn with_options(context: &Context, options: Options) -> Self;
    }
}

/// The options of a socket of type `S`; only those that make sense for the type are there.
///
/// Made by the socket's `builder` function. All options apply from the start and do not change.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, PushSocket};
///
/// let context = Context::new();
/// let push = PushSocket::builder(&context).send_hwm(10_000).linger(Duration::from_secs(5)).build()?;
/// let refused = PushSocket::builder(&context).send_hwm(0).build();
/// assert_eq!(refused.unwrap_err().to_string(), "option send_hwm is 0, allowed is 1 to 1000000");
/// # drop(push);
/// # Ok::<(), zerowire::OptionError>(())
/// ```
#[must_use = "options do nothing until `build`"]
pub struct Builder<S> {
    context: Context,
    options: Options,
    socket: PhantomData<fn() -> S>,
}

impl<S: Socket> Builder<S> {
    pub(crate) fn new(context: &Context) -> Builder<S> {
        Builder {
            context: context.clone(),
            options: Options::default(),
            socket: PhantomData,
        }
    }

    /// Makes the socket.
    ///
    /// # Errors
    /// [`OptionError::OutOfRange`] names the first option outside its range.
    pub fn build(self) -> Result<S, OptionError> {
        self.options.check()?;
        Ok(S::with_options(&self.context, self.options))
    }

    /// How long closing goes on without progress: a connection that is closed keeps writing what was accepted, and waits
    /// for the peer to read to the end, as long as a message is finished or 64 KiB are written at least this often.
    ///
    /// Default 1 s, allowed 0 to one day. Zero gives up at once what the kernel does not take. The wait is the I/O
    /// thread's; only the drop of the last handle of a context waits for it.
    pub fn linger(mut self, without_progress: Duration) -> Builder<S> {
        self.options.linger = without_progress;
        self
    }

    /// How long closing may take in all, progress or not.
    ///
    /// Default 30 s, allowed 0 to one day.
    pub fn linger_max(mut self, in_all: Duration) -> Builder<S> {
        self.options.linger_max = in_all;
        self
    }

    /// The largest message, in bytes: the sum of its parts.
    ///
    /// Default 64 MiB, allowed 1 to 2 GiB − 1. A peer that sends more is disconnected as soon as it announces it; memory is
    /// spent only on what has arrived. Sends of more are refused, because a peer with the same limit would hang up, and
    /// get the same message again. What subscribers send to a publisher is limited to 64 KiB whatever this says.
    pub fn max_message_bytes(mut self, bytes: u64) -> Builder<S> {
        self.options.max_message_bytes = bytes;
        self
    }

    /// The largest number of parts of a message, sent or received.
    ///
    /// Default 1,024, allowed 1 to 1,048,576.
    pub fn max_message_parts(mut self, parts: u32) -> Builder<S> {
        self.options.max_message_parts = parts;
        self
    }

    /// How long an attempt to connect may take before the next address is tried.
    ///
    /// Default 15 s, allowed 1 ms to one day.
    pub fn connect_timeout(mut self, timeout: Duration) -> Builder<S> {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long a connection is silent before the peer is asked for a sign of life, with a PING (ZeroMQ RFC 37), and again
    /// after each further such time.
    ///
    /// Default 10 s over tcp and off over ipc, where the system tells when a peer's process ends. Allowed 1 ms to one day, over
    /// both; zero turns it off. Peers of ZMTP 3.0 cannot be asked, in inproc nobody has to be.
    ///
    /// Any byte from the peer is a sign of life, so a connection that is busy with its messages costs no PING, and a large
    /// message over a slow line ends none. Back-pressure is not taken for death: neither while this side does not read,
    /// because its application takes nothing, nor while the peer may not, because it was sent messages and has not yet shown
    /// that it took them in. The peer hears a PING each second from a connection that does not read, whether or not this is off,
    /// because the peer may be the one that asks.
    pub fn heartbeat(mut self, interval: Duration) -> Builder<S> {
        self.options.heartbeat = Some(interval);
        self
    }

    /// How long a PING may be followed by nothing at all before the connection is given up, with
    /// [`Reason::HeartbeatTimeout`](crate::Reason::HeartbeatTimeout); a side that connected tries again.
    ///
    /// Default twice the [`heartbeat`](Self::heartbeat) interval, allowed 1 ms to one day. Holds from the first PING on that the
    /// peer answers.
    pub fn heartbeat_timeout(mut self, timeout: Duration) -> Builder<S> {
        self.options.heartbeat_timeout = Some(timeout);
        self
    }

    /// Has the kernel probe quiet tcp connections: finds out that a machine or the way to it is gone, also if the peer
    /// answers no PING.
    ///
    /// Default: as the system is set up, which mostly is off.
    pub fn tcp_keepalive(mut self, keepalive: TcpKeepalive) -> Builder<S> {
        self.options.tcp_keepalive = Some(keepalive);
        self
    }

    /// How long the kernel tries to get bytes across a tcp connection before it gives it up (`TCP_USER_TIMEOUT`; Linux only,
    /// elsewhere nothing happens).
    ///
    /// Default: the system's, which mostly comes to a quarter of an hour. Allowed 1 ms to one day. A peer that does not read for
    /// so long, because its application takes nothing, is given up as well, with what was on its way to it: choose it longer
    /// than any such pause.
    pub fn tcp_user_timeout(mut self, timeout: Duration) -> Builder<S> {
        self.options.tcp_user_timeout = Some(timeout);
        self
    }

    /// How long a peer may take from the connection to the end of the handshake.
    ///
    /// Default 10 s, allowed 1 ms to one day.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Builder<S> {
        self.options.handshake_timeout = timeout;
        self
    }

    /// The pause before the first attempt to connect again.
    ///
    /// Default 100 ms, allowed 1 ms to one day. It doubles with each failure up to
    /// [`reconnect_max`](Self::reconnect_max), give or take a quarter at random, and starts over only after a handshake
    /// has succeeded.
    pub fn reconnect_min(mut self, pause: Duration) -> Builder<S> {
        self.options.reconnect_min = pause;
        self
    }

    /// The longest pause between attempts to connect.
    ///
    /// Default 5 s, allowed [`reconnect_min`](Self::reconnect_min) to one day.
    pub fn reconnect_max(mut self, pause: Duration) -> Builder<S> {
        self.options.reconnect_max = pause;
        self
    }

    /// How many connections may wait to be accepted at each bound endpoint.
    ///
    /// Default 1,024, allowed 1 to 65,535; the system may allow less.
    pub fn backlog(mut self, connections: u32) -> Builder<S> {
        self.options.backlog = connections;
        self
    }

    /// Size of the kernel's send buffer of each connection, in bytes. The kernel may round or bound it.
    ///
    /// Default: the system's choice, which grows with the connection. Allowed 1 to 1 GiB.
    pub fn send_buffer(mut self, bytes: usize) -> Builder<S> {
        self.options.send_buffer = Some(bytes);
        self
    }

    /// Size of the kernel's receive buffer of each connection, in bytes. The kernel may round or bound it.
    ///
    /// Default: the system's choice, which grows with the connection. Allowed 1 to 1 GiB.
    pub fn receive_buffer(mut self, bytes: usize) -> Builder<S> {
        self.options.receive_buffer = Some(bytes);
        self
    }
}

impl<S: Sends> Builder<S> {
    /// How many messages may wait for each peer, accepted and not yet taken by the kernel (by the receiver, for inproc).
    ///
    /// Unit: whole messages. Default 1,000, allowed 1 to 1,000,000. At the mark a peer is passed over; when every peer is
    /// at it, a send waits. Worst case per peer: this many messages of [`max_message_bytes`](Self::max_message_bytes).
    pub fn send_hwm(mut self, messages: u32) -> Builder<S> {
        self.options.send_hwm = messages.into();
        self
    }
}

impl<S: Receives> Builder<S> {
    /// How many messages of each peer may wait for the application before the connection is no longer read.
    ///
    /// Unit: whole messages. Default 1,000, allowed 1 to 1,000,000. Reading goes on when half of them are taken.
    /// For inproc the sender's mark alone counts. What the system has of a connection that has ended is read to its end, beyond
    /// the mark if need be.
    pub fn receive_hwm(mut self, messages: u32) -> Builder<S> {
        self.options.receive_hwm = messages.into();
        self
    }
}

impl<S: Identified> Builder<S> {
    /// The name under which routers know this socket, for as long as it is connected to them.
    ///
    /// Default: none, and each router makes one up. Allowed: up to 255 bytes that do not begin with a zero byte (ZeroMQ
    /// RFC 28). Two peers of one router with the same identity are the router's matter, see
    /// [`on_duplicate`](Builder::on_duplicate).
    pub fn identity(mut self, identity: impl Into<Bytes>) -> Builder<S> {
        self.options.identity = identity.into();
        self
    }
}

impl<S: Probes> Builder<S> {
    /// Sends an empty message on each new connection, before anything else, so that a router learns of this socket.
    ///
    /// Default: off. Only of use if every peer is a [`RouterSocket`](crate::RouterSocket), which receives the message.
    pub fn probe_router(mut self, on: bool) -> Builder<S> {
        self.options.probe = on;
        self
    }
}

impl<S: Deals> Builder<S> {
    /// Whether messages may wait for a peer that is still being connected to.
    ///
    /// Default: yes, while no peer is connected. If not, a send waits until one is, and a send that does not wait is refused
    /// with `NoPeer`. Messages that a peer had been given when its connection was lost wait for the next one all the same.
    pub fn queue_unconnected(mut self, on: bool) -> Builder<S> {
        self.options.queue_unconnected = on;
        self
    }
}

impl<S: Publishes> Builder<S> {
    /// What happens when a subscriber is at its high-water mark.
    ///
    /// Default: [`SlowSubscriber::DropNewest`]. A time to block for may be 0 to one day.
    pub fn slow_subscriber(mut self, what: SlowSubscriber) -> Builder<S> {
        self.options.slow_subscriber = what;
        self
    }

    /// Sends a message to the peers whose subscriptions it does *not* match.
    ///
    /// Default: off. The subscribers have to be [`SubSocket`]s with the same option.
    pub fn invert_matching(mut self, on: bool) -> Builder<S> {
        self.options.invert_matching = on;
        self
    }

    /// How many topics a peer may subscribe to; one that wants more is disconnected.
    ///
    /// Default 1,000,000, allowed 1 to 4,294,967,296. A topic takes about its length and 100 bytes.
    pub fn topics_max(mut self, topics: usize) -> Builder<S> {
        self.options.topics_max = topics;
        self
    }

    /// How many bytes the topics of a peer may have together; one that wants more is disconnected.
    ///
    /// Default 64 MiB, allowed 1 to 1 TiB. A single topic may have 16 KiB.
    pub fn topic_bytes_max(mut self, bytes: usize) -> Builder<S> {
        self.options.topic_bytes_max = bytes;
        self
    }
}

impl Builder<SubSocket> {
    /// Receives the messages that match *no* subscription.
    ///
    /// Default: off. The publishers have to have the same option.
    pub fn invert_matching(mut self, on: bool) -> Builder<SubSocket> {
        self.options.invert_matching = on;
        self
    }
}

impl Builder<XPubSocket> {
    /// Which subscriptions are received.
    ///
    /// Default: [`Verbosity::Changes`].
    pub fn verbosity(mut self, verbosity: Verbosity) -> Builder<XPubSocket> {
        self.options.verbosity = verbosity;
        self
    }

    /// Leaves it to the application what subscribers get: every subscription, and the end of every one, is received and has
    /// no other effect. See [`XPubSocket::subscribe`].
    ///
    /// Default: off. While [`receive_hwm`](Self::receive_hwm) of them wait to be received, no more are read.
    pub fn manual(mut self, on: bool) -> Builder<XPubSocket> {
        self.options.manual = on;
        self
    }

    /// What every subscriber gets when it connects, before anything else and whatever it subscribes to. A subscriber that
    /// filters receives it if it has subscribed to what it begins with.
    ///
    /// Default: nothing.
    pub fn welcome(mut self, message: impl Into<Message>) -> Builder<XPubSocket> {
        self.options.welcome = Some(message.into());
        self
    }
}

impl<S: Conflates> Builder<S> {
    /// Keeps one message for each peer, the newest: one that was not handed over yet is replaced by the next, multipart
    /// messages as a whole.
    ///
    /// Default: off. A socket that conflates what it sends is never at a high-water mark, and one that conflates what it
    /// receives holds nobody up; what the network's buffers hold comes on top. Over inproc, a peer that connects and does
    /// not conflate keeps the queue of its own, with its high-water mark; the newest message of that queue is received.
    pub fn conflate(mut self, on: bool) -> Builder<S> {
        self.options.conflate = on;
        self
    }
}

impl Builder<ReqSocket> {
    /// Has requests carry an id, and takes a reply only if it has the same.
    ///
    /// Default: off. Giving up a request then costs no connection. Each request begins with a part of four bytes, which a
    /// [`RepSocket`](crate::RepSocket) sends back, and other peers have to.
    pub fn correlate(mut self, on: bool) -> Builder<ReqSocket> {
        self.options.correlate = on;
        self
    }

    /// Lets a request be sent while another one is under way, which is [given up](ReqSocket::give_up).
    ///
    /// Default: off.
    pub fn relaxed(mut self, on: bool) -> Builder<ReqSocket> {
        self.options.relaxed = on;
        self
    }
}

impl Builder<RouterSocket> {
    /// What to do when a peer comes with the identity of one that is there.
    ///
    /// Default: [`OnDuplicate::Challenge`].
    pub fn on_duplicate(mut self, what: OnDuplicate) -> Builder<RouterSocket> {
        self.options.on_duplicate = what;
        self
    }

    /// Drops messages to peers that are not there, and counts them ([`RouterSocket::lost`]), instead of failing.
    ///
    /// Default: off.
    pub fn drop_unroutable(mut self, on: bool) -> Builder<RouterSocket> {
        self.options.drop_unroutable = on;
        self
    }
}

impl<S> fmt::Debug for Builder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
