//! Options before a socket exists.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::context::Context;
use crate::error::OptionError;
use crate::options::Options;

/// A socket type: sealed, implemented by all of this crate's sockets.
pub trait Socket: sealed::Sealed + Sized {}

/// A socket type that sends messages.
pub trait Sends: Socket {}

/// A socket type that receives messages.
pub trait Receives: Socket {}

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
    /// get the same message again.
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
    /// For inproc the sender's mark alone counts.
    pub fn receive_hwm(mut self, messages: u32) -> Builder<S> {
        self.options.receive_hwm = messages.into();
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
