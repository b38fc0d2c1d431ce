//! The copy of everything that passes.

use crate::message::Message;
use crate::socket::passing::{Given, Side, Sink};
use crate::socket::pipeline::PushSocket;
use crate::socket::pubsub::PubSocket;

/// The socket to which a [`Proxy`](crate::Proxy) gives a copy of each message that it has passed on.
///
/// Copies are as the back socket has or had them: in a queue the first part is the name of the client, both of requests and
/// of replies.
///
/// # Examples
/// ```
/// use zerowire::{Capture, Context, PubSocket};
///
/// let context = Context::new();
/// let capture = Capture::from(PubSocket::new(&context));
/// assert!(matches!(capture, Capture::Pub(_)));
/// ```
#[allow(
    clippy::large_enum_variant,
    reason = "a proxy has one, and takes it out of no box for each message"
)]
#[derive(Debug)]
pub enum Capture {
    /// Each copy goes to one of its peers.
    Push(PushSocket),
    /// Each copy goes to those who have subscribed to what it begins with.
    Pub(PubSocket),
}

impl From<PushSocket> for Capture {
    fn from(socket: PushSocket) -> Capture {
        Capture::Push(socket)
    }
}

impl From<PubSocket> for Capture {
    fn from(socket: PubSocket) -> Capture {
        Capture::Pub(socket)
    }
}

/// What a proxy knows of its capture socket, if it has one.
#[derive(Debug, Default)]
pub struct Tap {
    pub(super) socket: Option<Capture>,
    pub(super) captured: u64,
    pub(super) dropped: u64,
}

impl Tap {
    pub(super) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// A copy of the message, if somebody wants one.
    #[inline]
    pub(super) fn wants(&self, message: &Message) -> Option<Message> {
        self.socket.is_some().then(|| message.clone())
    }

    /// Gives a copy away, or drops it.
    #[inline]
    pub(super) fn take(&mut self, copy: Option<Message>) {
        if let (Some(message), Some(socket)) = (copy, &mut self.socket) {
            let given = match socket {
                Capture::Push(socket) => socket.give(message, true),
                Capture::Pub(socket) => socket.give(message, true),
            };
            match given {
                Given::Accepted { missed: 0 } => self.captured += 1,
                _ => self.dropped += 1,
            }
        }
    }

    pub(super) fn side(&mut self) -> Option<&mut dyn Side> {
        match &mut self.socket {
            Some(Capture::Push(socket)) => Some(socket),
            Some(Capture::Pub(socket)) => Some(socket),
            None => None,
        }
    }
}
