//! PUSH and PULL: dealing out work and collecting it (ZeroMQ RFC 30).

use std::fmt;
use std::future::poll_fn;
use std::time::{Duration, Instant};

use super::builder::{Builder, Receives, Sends, Socket, sealed};
use super::core::SocketCore;
use super::receive_half::{Nothing, ReceiveHalf};
use super::send_half::{Refusal, SendHalf};
use crate::context::Context;
use crate::endpoint::{Endpoint, EndpointError};
use crate::error::{
    BindError, ConnectError, DetachError, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    TryRecvError, TrySendError,
};
use crate::message::Message;
use crate::monitor::Monitor;
use crate::options::Options;
use crate::wire::socket_type::SocketType;

/// The methods that every socket type has.
macro_rules! socket_methods {
    ($socket:ident) => {
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
                self.core.bind(endpoint)
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
                self.core.connect(endpoint)
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
                self.core.unbind(endpoint)
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
                self.core.disconnect(endpoint)?;
                self.half.collect();
                Ok(())
            }

            /// Observes the socket's connections from here on.
            pub fn monitor(&self) -> Monitor {
                self.core.monitor()
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

/// Deals out messages: each goes to one of the connected [`PullSocket`]s, in turn.
///
/// A peer at its high-water mark is passed over; when all are, a send waits. Messages for a peer that is still being
/// connected to wait in its queue, but only while no peer is connected: a message is better off with a worker that is
/// there. A connection that breaks takes nothing with it that the kernel had not accepted: the unsent messages are sent on
/// the next connection to the same endpoint, a half-sent one whole. What the kernel had accepted when a peer died is lost.
///
/// Dropping the socket returns at once; what it accepted is still written (see [`Builder::linger`]).
///
/// # Examples
/// ```
/// use zerowire::{Context, PullSocket, PushSocket};
///
/// let context = Context::new();
/// let mut ventilator = PushSocket::new(&context);
/// ventilator.bind("inproc://tasks")?;
/// let mut worker = PullSocket::new(&context);
/// worker.connect("inproc://tasks")?;
/// ventilator.send("task 1")?;
/// ventilator.send(["task 2", "with a second part"])?;
/// assert_eq!(worker.recv()?.as_bytes(), b"task 1");
/// assert_eq!(worker.recv()?.part_count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PushSocket {
    core: SocketCore,
    half: SendHalf,
}

socket_methods!(PushSocket);
impl Sends for PushSocket {}

impl sealed::Sealed for PushSocket {
    fn with_options(context: &Context, options: Options) -> PushSocket {
        let core = SocketCore::new(&context.inner, SocketType::Push, options);
        let half = core.send_half().expect("a PUSH socket sends");
        PushSocket { core, half }
    }
}

impl PushSocket {
    /// Sends a message, waiting while every peer is at its high-water mark, or while there is none.
    ///
    /// # Errors
    /// [`SendError`] gives the message back.
    #[inline]
    pub fn send(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        self.half
            .send(message.into(), None)
            .map_err(|(message, refusal)| match refusal {
                Refusal::TooLarge => SendError::TooLarge(message),
                Refusal::Full | Refusal::NoPeer | Refusal::IoThreadDied => SendError::IoThreadDied(message),
            })
    }

    /// Sends a message if a peer has room for it.
    ///
    /// # Errors
    /// [`TrySendError`] tells why not, "no peer" and "queue full" apart, and gives the message back.
    #[inline]
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.half
            .try_send(message.into())
            .map_err(|(message, refusal)| match refusal {
                Refusal::Full => TrySendError::Full(message),
                Refusal::NoPeer => TrySendError::NoPeer(message),
                Refusal::TooLarge => TrySendError::TooLarge(message),
                Refusal::IoThreadDied => TrySendError::IoThreadDied(message),
            })
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
        self.half
            .send(message.into(), deadline)
            .map_err(|(message, refusal)| match refusal {
                Refusal::Full | Refusal::NoPeer => SendTimeoutError::Timeout(message),
                Refusal::TooLarge => SendTimeoutError::TooLarge(message),
                Refusal::IoThreadDied => SendTimeoutError::IoThreadDied(message),
            })
    }

    /// Sends a message, waiting without blocking the thread. Any executor will do.
    ///
    /// Cancel-safe in this sense: a future that is dropped before it is ready has sent nothing, and its message goes with
    /// it. To keep the message, await [`send_ready`](Self::send_ready) and then call [`try_send`](Self::try_send).
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn send_async(&mut self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut message = message.into();
        loop {
            message = match self.half.try_send(message) {
                Ok(()) => return Ok(()),
                Err((message, Refusal::TooLarge)) => return Err(SendError::TooLarge(message)),
                Err((message, Refusal::IoThreadDied)) => return Err(SendError::IoThreadDied(message)),
                Err((message, Refusal::Full | Refusal::NoPeer)) => message,
            };
            poll_fn(|task| self.half.poll_ready(task)).await;
        }
    }

    /// Waits, without blocking the thread, until a peer has room, or sending would fail for good.
    ///
    /// Dropping the future changes nothing.
    pub async fn send_ready(&mut self) {
        poll_fn(|task| self.half.poll_ready(task)).await;
    }

    /// Messages that were accepted and never handed over, because their peer is gone for good. Since the socket was made.
    ///
    /// Counted when the socket notices, which is in one of its calls.
    pub fn lost(&self) -> u64 {
        self.half.lost()
    }
}

/// Collects messages from all connected [`PushSocket`]s, fairly: one from each that has any, in turn.
///
/// A peer whose messages are not taken is no longer read at the high-water mark, and has to wait. What a peer handed over
/// before it closed can still be received afterwards.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, PullSocket, PushSocket, RecvTimeoutError};
///
/// let context = Context::new();
/// let mut sink = PullSocket::new(&context);
/// let endpoint = sink.bind("ipc://*")?;
/// let mut worker = PushSocket::new(&context);
/// worker.connect(endpoint)?;
/// worker.send("result")?;
/// assert_eq!(sink.recv_timeout(Duration::from_secs(5))?.as_bytes(), b"result");
/// assert_eq!(sink.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PullSocket {
    core: SocketCore,
    half: ReceiveHalf,
}

socket_methods!(PullSocket);
impl Receives for PullSocket {}

impl sealed::Sealed for PullSocket {
    fn with_options(context: &Context, options: Options) -> PullSocket {
        let core = SocketCore::new(&context.inner, SocketType::Pull, options);
        let half = core.receive_half().expect("a PULL socket receives");
        PullSocket { core, half }
    }
}

impl PullSocket {
    /// Receives a message, waiting for one.
    ///
    /// # Errors
    /// [`RecvError::IoThreadDied`] if nothing can come any more.
    #[inline]
    pub fn recv(&mut self) -> Result<Message, RecvError> {
        if !self.half.is_ready() {
            self.half.wait(None).map_err(|_| RecvError::IoThreadDied)?;
        }
        Ok(self.half.take())
    }

    /// Receives a message if one is waiting.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] if none is.
    #[inline]
    pub fn try_recv(&mut self) -> Result<Message, TryRecvError> {
        if !self.half.is_ready() {
            self.half.look().map_err(|nothing| match nothing {
                Nothing::Empty => TryRecvError::Empty,
                Nothing::IoThreadDied => TryRecvError::IoThreadDied,
            })?;
        }
        Ok(self.half.take())
    }

    /// Receives a message, waiting up to `timeout` for one.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`] if none came in time.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Message, RecvTimeoutError> {
        if !self.half.is_ready() {
            let deadline = Instant::now().checked_add(timeout);
            self.half.wait(deadline).map_err(|nothing| match nothing {
                Nothing::Empty => RecvTimeoutError::Timeout,
                Nothing::IoThreadDied => RecvTimeoutError::IoThreadDied,
            })?;
        }
        Ok(self.half.take())
    }

    /// Receives a message, waiting without blocking the thread. Any executor will do.
    ///
    /// Cancel-safe: a future that is dropped before it is ready has taken nothing.
    ///
    /// # Errors
    /// As for [`recv`](Self::recv).
    pub async fn recv_async(&mut self) -> Result<Message, RecvError> {
        poll_fn(|task| self.half.poll_look(task))
            .await
            .map_err(|_| RecvError::IoThreadDied)?;
        Ok(self.half.take())
    }

    /// Waits for one message, then takes what is there, up to `max` in all, and appends it to `messages`. Returns how many
    /// were appended: at least one, unless `max` is 0.
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
            if !self.half.is_ready() && self.half.look().is_err() {
                break;
            }
            messages.push(self.half.take());
            count += 1;
        }
        Ok(count)
    }
}
