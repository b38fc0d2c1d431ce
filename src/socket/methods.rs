//! The methods that socket types share, written once.
//!
//! Each macro is given where the type keeps the part that does the work: a [`SocketCore`](super::core::SocketCore), something
//! [`Outgoing`], something [`Incoming`].

use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use super::receive_half::{Nothing, ReceiveHalf};
use super::send_half::Refusal;
use crate::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError, WaitError,
};
use crate::mailbox::Over;
use crate::message::Message;

/// The names that the macros use.
pub(crate) mod scope {
    pub(crate) use std::fmt;
    pub(crate) use std::future::poll_fn;
    pub(crate) use std::time::{Duration, Instant};

    pub(crate) use super::{
        Incoming, Outgoing, receive_many_method, receive_methods, send_methods, socket_methods,
    };
    pub(crate) use crate::context::Context;
    pub(crate) use crate::endpoint::{Endpoint, EndpointError};
    pub(crate) use crate::error::{
        BindError, ConnectError, DetachError, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
        TryRecvError, TrySendError,
    };
    pub(crate) use crate::message::Message;
    pub(crate) use crate::monitor::Monitor;
    pub(crate) use crate::options::Options;
    pub(crate) use crate::socket::builder::{Builder, Socket, sealed};
    pub(crate) use crate::socket::core::SocketCore;
    pub(crate) use crate::socket::counting::{Counted, peer_stats};
    pub(crate) use crate::socket::level::{receive_ready, room_ready, send_ready};
    pub(crate) use crate::socket::receive_half::ReceiveHalf;
    pub(crate) use crate::socket::send_half::{Refusal, SendHalf};
    pub(crate) use crate::socket::streams::{sink, stream};
    pub(crate) use crate::stats::{PeerStats, Stats};
    pub(crate) use crate::wire::socket_type::SocketType;
}

/// What messages are sent through.
pub(crate) trait Outgoing {
    fn try_send(&mut self, message: Message) -> Result<(), (Message, Refusal)>;

    /// Waits for room until the deadline, for ever without one.
    fn send(&mut self, message: Message, deadline: Option<Instant>) -> Result<(), (Message, Refusal)>;

    /// Ready when a send would be accepted, or fail for good.
    fn poll_ready(&mut self, task: &TaskContext<'_>) -> Poll<()>;
}

/// What messages are received from. To find one and to take it are two steps, so that a message is moved once, straight to
/// where the caller wants it.
pub(crate) trait Incoming {
    /// Where news of it comes.
    fn receive_half(&mut self) -> &mut ReceiveHalf;

    /// Whether a message can be taken; may say no although [`look`](Self::look) finds one.
    fn is_ready(&mut self) -> bool;

    /// The same for a caller that will wait otherwise.
    fn has_some_left(&mut self) -> bool {
        self.is_ready()
    }

    /// Finds a message.
    fn look(&mut self) -> Result<(), Nothing>;

    /// Waits for a message until the deadline, for ever without one.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Nothing> {
        loop {
            match self.look() {
                Err(Nothing::Empty) if self.receive_half().wait_for_news(deadline) => {}
                done => return done,
            }
        }
    }

    /// Finds a message, or has the task woken when there may be one. What is not for the application may keep coming, so
    /// others have their turn in between.
    fn poll_look(&mut self, task: &TaskContext<'_>) -> Poll<Result<(), Nothing>> {
        loop {
            match self.look() {
                Err(Nothing::Empty) => {
                    if self.receive_half().sleep_or_yield(task) {
                        return Poll::Pending;
                    }
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Takes the message that was found.
    fn take(&mut self) -> Message;
}

impl Incoming for ReceiveHalf {
    fn receive_half(&mut self) -> &mut ReceiveHalf {
        self
    }

    #[inline]
    fn is_ready(&mut self) -> bool {
        ReceiveHalf::is_ready(self)
    }

    #[inline]
    fn has_some_left(&mut self) -> bool {
        ReceiveHalf::has_some_left(self)
    }

    fn look(&mut self) -> Result<(), Nothing> {
        ReceiveHalf::look(self)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Nothing> {
        ReceiveHalf::wait(self, deadline)
    }

    #[inline]
    fn take(&mut self) -> Message {
        ReceiveHalf::take(self)
    }
}

/// The methods that every socket type has. The type has a `catch_up` that takes note of what has changed, and the `halves` that
/// count what became of its messages.
macro_rules! socket_methods {
    ($socket:ident, core: $($core:ident).+) => {
        impl $socket {
            /// Makes a socket with the default options.
            pub fn new(context: &Context) -> $socket {
                sealed::Sealed::with_options(context, Options::default())
            }

            /// Makes a socket with other options.
            pub fn builder(context: &Context) -> Builder<$socket> {
                Builder::new(context)
            }

            /// Lets peers connect to `endpoint`, and returns it with wildcards resolved.
            ///
            /// `tcp://*:5555` listens on all IPv4 addresses; port `0` or `*` takes a free one. `ipc://*` makes a fresh path,
            /// and a path that a dead process left behind is taken over. A socket may be bound to many endpoints.
            /// Blocks for the resolution of a host name only.
            ///
            /// # Errors
            /// [`BindError`] tells what is wrong with the endpoint or what the operating system said; the socket is as it
            /// was.
            pub fn bind<E>(&mut self, endpoint: E) -> Result<Endpoint, BindError>
            where
                E: TryInto<Endpoint>,
                EndpointError: From<E::Error>,
            {
                self.$($core).+.bind(endpoint)
            }

            /// Connects to `endpoint`, now and whenever the connection is lost, and returns at once.
            ///
            /// The peer need not be there yet. A host name is resolved anew at each attempt. Failures are told by
            /// [`monitor`](Self::monitor), and tried again after a growing pause.
            ///
            /// # Errors
            /// [`ConnectError`] tells what is wrong with the endpoint, or that the socket is connected to it already.
            pub fn connect<E>(&mut self, endpoint: E) -> Result<(), ConnectError>
            where
                E: TryInto<Endpoint>,
                EndpointError: From<E::Error>,
            {
                self.$($core).+.connect(endpoint, None)
            }

            /// Stops accepting peers at `endpoint`, as [`bind`](Self::bind) returned it. Connections that were made stay.
            ///
            /// When it returns, the address is free.
            ///
            /// # Errors
            /// [`DetachError::UnknownEndpoint`] if the socket is not bound to it.
            pub fn unbind<E>(&mut self, endpoint: E) -> Result<(), DetachError>
            where
                E: TryInto<Endpoint>,
                EndpointError: From<E::Error>,
            {
                self.$($core).+.unbind(endpoint)
            }

            /// Ends the connection to `endpoint`, as given to [`connect`](Self::connect), and returns at once.
            ///
            /// What was accepted for it is still sent, within linger; what was received from it can still be read.
            ///
            /// # Errors
            /// [`DetachError::UnknownEndpoint`] if the socket is not connected to it.
            pub fn disconnect<E>(&mut self, endpoint: E) -> Result<(), DetachError>
            where
                E: TryInto<Endpoint>,
                EndpointError: From<E::Error>,
            {
                self.$($core).+.disconnect(endpoint)?;
                self.catch_up();
                Ok(())
            }

            /// What became of the socket's messages so far, in numbers that add up. Never blocks.
            pub fn stats(&mut self) -> Stats {
                self.catch_up();
                let (send, receive) = self.halves();
                Stats {
                    sent: send.map(Counted::stats).unwrap_or_default(),
                    received: receive.map(ReceiveHalf::stats).unwrap_or_default(),
                }
            }

            /// The same for each peer that there is, in no particular order. Never blocks.
            pub fn peer_stats(&mut self) -> Vec<PeerStats> {
                self.catch_up();
                let (send, receive) = self.halves();
                peer_stats(&self.$($core).+.link().monitors, send, receive)
            }

            /// Observes the socket's connections from here on: what happens to them, and why.
            ///
            /// The monitor is independent of the socket, for another thread or task. It keeps
            /// [`Monitor::DEFAULT_CAPACITY`] events for a reader that is slow.
            pub fn monitor(&self) -> Monitor {
                self.monitor_with(Monitor::DEFAULT_CAPACITY)
            }

            /// As [`monitor`](Self::monitor), with another number of events that may wait for the reader. At least one may.
            ///
            /// Memory is taken as events come, about 100 bytes for each that waits.
            pub fn monitor_with(&self, capacity: usize) -> Monitor {
                self.$($core).+.monitor(capacity)
            }
        }

        impl fmt::Debug for $socket {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($socket)).finish_non_exhaustive()
            }
        }

        impl Socket for $socket {}
    };
}
pub(crate) use socket_methods;

/// Sending to whoever is next, in all the ways to wait. The type implements [`Outgoing`] or has a part that does.
macro_rules! send_methods {
    ($socket:ident, $($half:ident).*) => {
        impl $socket {
            /// Sends a message, waiting while every peer that could take it is at its high-water mark, or while there is
            /// none.
            ///
            /// # Errors
            /// [`SendError`] gives the message back.
            #[inline]
            pub fn send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
                Outgoing::send(&mut (*self)$(.$half)*, message.into(), None).map_err(SendError::from)
            }

            /// Sends a message if a peer has room for it.
            ///
            /// # Errors
            /// [`TrySendError`] tells why not, "no peer" and "queue full" apart, and gives the message back.
            #[inline]
            pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), TrySendError> {
                Outgoing::try_send(&mut (*self)$(.$half)*, message.into()).map_err(TrySendError::from)
            }

            /// Sends a message, waiting up to `timeout` for a peer with room.
            ///
            /// # Errors
            /// [`SendTimeoutError`] tells why not and gives the message back.
            pub fn send_timeout(
                &mut self,
                message: impl Into<Message>,
                timeout: Duration,
            ) -> Result<(), SendTimeoutError> {
                let deadline = Instant::now().checked_add(timeout);
                Outgoing::send(&mut (*self)$(.$half)*, message.into(), deadline).map_err(SendTimeoutError::from)
            }

            /// Sends a message, waiting without blocking the thread. Any executor will do.
            ///
            /// Cancel-safe in this sense: a future that is dropped before it is ready has sent nothing, and its message
            /// goes with it. To keep the message, await [`send_ready`](Self::send_ready) and then call
            /// [`try_send`](Self::try_send).
            ///
            /// # Errors
            /// As for [`send`](Self::send).
            pub async fn send_async(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
                let mut message = message.into();
                loop {
                    message = match Outgoing::try_send(&mut (*self)$(.$half)*, message) {
                        Err((message, Refusal::Full | Refusal::NoPeer)) => message,
                        done => return done.map_err(SendError::from),
                    };
                    poll_fn(|task| Outgoing::poll_ready(&mut (*self)$(.$half)*, task)).await;
                }
            }

            /// Waits, without blocking the thread, until a peer has room, or sending would fail for good.
            ///
            /// Dropping the future changes nothing.
            pub async fn send_ready(&mut self) {
                poll_fn(|task| Outgoing::poll_ready(&mut (*self)$(.$half)*, task)).await;
            }
        }
    };
}
pub(crate) use send_methods;

/// Receiving from everybody in turn, in all the ways to wait. The type implements [`Incoming`] or has a part that does, and
/// a `tidy` that takes note of peers that are gone in the part that sends: a socket may receive only for a long time.
macro_rules! receive_methods {
    ($socket:ident, $($half:ident).*) => {
        impl $socket {
            /// Receives a message, waiting for one.
            ///
            /// # Errors
            /// [`RecvError::Closed`], [`RecvError::IoThreadDied`] or [`RecvError::Forked`] if nothing can come any more; others
            /// only for the types that name them.
            #[inline]
            pub fn recv(&mut self) -> Result<Message, RecvError> {
                if !Incoming::has_some_left(&mut (*self)$(.$half)*) {
                    self.tidy();
                    Incoming::wait(&mut (*self)$(.$half)*, None)?;
                }
                Ok(Incoming::take(&mut (*self)$(.$half)*))
            }

            /// Receives a message if one is waiting.
            ///
            /// # Errors
            /// [`TryRecvError::Empty`] if none is.
            #[inline]
            pub fn try_recv(&mut self) -> Result<Message, TryRecvError> {
                if !Incoming::is_ready(&mut (*self)$(.$half)*) {
                    self.tidy();
                    Incoming::look(&mut (*self)$(.$half)*)?;
                }
                Ok(Incoming::take(&mut (*self)$(.$half)*))
            }

            /// Receives a message, waiting up to `timeout` for one.
            ///
            /// # Errors
            /// [`RecvTimeoutError::Timeout`] if none came in time.
            pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message, RecvTimeoutError> {
                if !Incoming::has_some_left(&mut (*self)$(.$half)*) {
                    self.tidy();
                    let deadline = Instant::now().checked_add(timeout);
                    Incoming::wait(&mut (*self)$(.$half)*, deadline)?;
                }
                Ok(Incoming::take(&mut (*self)$(.$half)*))
            }

            /// Receives a message, waiting without blocking the thread. Any executor will do.
            ///
            /// Cancel-safe: a future that is dropped before it is ready has taken nothing.
            ///
            /// # Errors
            /// As for [`recv`](Self::recv).
            pub async fn recv_async(&mut self) -> Result<Message, RecvError> {
                self.tidy();
                poll_fn(|task| Incoming::poll_look(&mut (*self)$(.$half)*, task)).await?;
                Ok(Incoming::take(&mut (*self)$(.$half)*))
            }
        }
    };
}
pub(crate) use receive_methods;

/// Receiving many messages in one call, for the types that are never asked to answer in between.
macro_rules! receive_many_method {
    ($socket:ident, $($half:ident).*) => {
        impl $socket {
            /// Waits for one message, then takes what is there, up to `max` in all, and appends it to `messages`. Returns how
            /// many were appended: at least one, unless `max` is 0.
            ///
            /// # Errors
            /// As for [`recv`](Self::recv); then nothing was appended.
            pub fn recv_many(&mut self, messages: &mut Vec<Message>, max: usize) -> Result<usize, RecvError> {
                if max == 0 {
                    return Ok(0);
                }
                messages.push(self.recv()?);
                let mut count = 1;
                while count < max {
                    if !Incoming::is_ready(&mut (*self)$(.$half)*) && Incoming::look(&mut (*self)$(.$half)*).is_err() {
                        break;
                    }
                    messages.push(Incoming::take(&mut (*self)$(.$half)*));
                    count += 1;
                }
                Ok(count)
            }
        }
    };
}
pub(crate) use receive_many_method;

impl From<(Message, Refusal)> for SendError {
    fn from((message, refusal): (Message, Refusal)) -> SendError {
        match refusal {
            Refusal::TooLarge => SendError::TooLarge(message),
            Refusal::WrongState => SendError::WrongState(message),
            Refusal::PeerLost => SendError::PeerLost(message),
            // Who may wait for ever for a peer is refused for want of one only if the socket was told to fail then.
            Refusal::Full | Refusal::NoPeer => SendError::Full(message),
            Refusal::Over(Over::IoThreadDied) => SendError::IoThreadDied(message),
            Refusal::Over(Over::Closed) => SendError::Closed(message),
            Refusal::Over(Over::Forked) => SendError::Forked(message),
        }
    }
}

impl From<(Message, Refusal)> for TrySendError {
    fn from((message, refusal): (Message, Refusal)) -> TrySendError {
        match refusal {
            Refusal::Full => TrySendError::Full(message),
            Refusal::NoPeer => TrySendError::NoPeer(message),
            Refusal::TooLarge => TrySendError::TooLarge(message),
            Refusal::WrongState => TrySendError::WrongState(message),
            Refusal::PeerLost => TrySendError::PeerLost(message),
            Refusal::Over(Over::IoThreadDied) => TrySendError::IoThreadDied(message),
            Refusal::Over(Over::Closed) => TrySendError::Closed(message),
            Refusal::Over(Over::Forked) => TrySendError::Forked(message),
        }
    }
}

impl From<(Message, Refusal)> for SendTimeoutError {
    fn from((message, refusal): (Message, Refusal)) -> SendTimeoutError {
        match refusal {
            Refusal::Full | Refusal::NoPeer => SendTimeoutError::Timeout(message),
            Refusal::TooLarge => SendTimeoutError::TooLarge(message),
            Refusal::WrongState => SendTimeoutError::WrongState(message),
            Refusal::PeerLost => SendTimeoutError::PeerLost(message),
            Refusal::Over(Over::IoThreadDied) => SendTimeoutError::IoThreadDied(message),
            Refusal::Over(Over::Closed) => SendTimeoutError::Closed(message),
            Refusal::Over(Over::Forked) => SendTimeoutError::Forked(message),
        }
    }
}

impl From<Nothing> for RecvError {
    fn from(nothing: Nothing) -> RecvError {
        match nothing {
            Nothing::WrongState => RecvError::WrongState,
            Nothing::PeerLost => RecvError::PeerLost,
            // Without a deadline, waiting ends with a message or for one of the other reasons.
            Nothing::Empty | Nothing::Over(Over::IoThreadDied) => RecvError::IoThreadDied,
            Nothing::Over(Over::Closed) => RecvError::Closed,
            Nothing::Over(Over::Forked) => RecvError::Forked,
        }
    }
}

impl From<Nothing> for TryRecvError {
    fn from(nothing: Nothing) -> TryRecvError {
        match nothing {
            Nothing::Empty => TryRecvError::Empty,
            Nothing::WrongState => TryRecvError::WrongState,
            Nothing::PeerLost => TryRecvError::PeerLost,
            Nothing::Over(Over::IoThreadDied) => TryRecvError::IoThreadDied,
            Nothing::Over(Over::Closed) => TryRecvError::Closed,
            Nothing::Over(Over::Forked) => TryRecvError::Forked,
        }
    }
}

impl From<Nothing> for RecvTimeoutError {
    fn from(nothing: Nothing) -> RecvTimeoutError {
        match nothing {
            Nothing::Empty => RecvTimeoutError::Timeout,
            Nothing::WrongState => RecvTimeoutError::WrongState,
            Nothing::PeerLost => RecvTimeoutError::PeerLost,
            Nothing::Over(Over::IoThreadDied) => RecvTimeoutError::IoThreadDied,
            Nothing::Over(Over::Closed) => RecvTimeoutError::Closed,
            Nothing::Over(Over::Forked) => RecvTimeoutError::Forked,
        }
    }
}

impl From<Nothing> for WaitError {
    fn from(nothing: Nothing) -> WaitError {
        match nothing {
            Nothing::Over(Over::IoThreadDied) => WaitError::IoThreadDied,
            Nothing::Over(Over::Closed) => WaitError::Closed,
            Nothing::Over(Over::Forked) => WaitError::Forked,
            _ => WaitError::Timeout,
        }
    }
}
