//! A socket of any type and library behind the same verbs.

mod libzmq;
mod omq;
mod ours;

use std::str::FromStr;
use std::time::Duration;

use zerowire::SocketType;

use crate::deadline::CALL_TIMEOUT;
use crate::watch::Watch;

pub use libzmq::Libzmq;
pub(crate) use libzmq::raw_type;

/// Whose sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The library under test.
    Zerowire,
    /// The reference implementation.
    Libzmq,
    /// One that shares no code with either.
    Omq,
}

impl Library {
    /// Its name on the command line of a peer process.
    pub fn name(self) -> &'static str {
        match self {
            Library::Zerowire => "zerowire",
            Library::Libzmq => "libzmq",
            Library::Omq => "omq",
        }
    }

    /// Makes a socket without a name.
    pub fn socket(self, socket_type: SocketType) -> Box<dyn Peer> {
        self.named_socket(socket_type, "")
    }

    /// Makes a socket that tells routers a name, if sockets of its type do.
    pub fn named_socket(self, socket_type: SocketType, name: &str) -> Box<dyn Peer> {
        match self {
            Library::Zerowire => ours::socket(socket_type, name),
            Library::Libzmq => Box::new(Libzmq::named(socket_type, name)),
            Library::Omq => omq::socket(socket_type, name),
        }
    }
}

impl FromStr for Library {
    type Err = String;

    fn from_str(name: &str) -> Result<Library, String> {
        match name {
            "zerowire" => Ok(Library::Zerowire),
            "libzmq" => Ok(Library::Libzmq),
            "omq" => Ok(Library::Omq),
            _ => Err(format!("unknown library `{name}`")),
        }
    }
}

/// A socket in a context of its own, so that dropping it ends all there is of the peer.
///
/// Messages are what libzmq shows of them: at a ROUTER the first part names the peer, at an XPUB one that begins with a
/// byte of 1 or 0 is a subscription or its end. No call blocks longer than [`CALL_TIMEOUT`]; then it panics. So does a
/// call that the socket's type does not have.
pub trait Peer: Send {
    /// Binds and returns the endpoint with its wildcards resolved.
    fn bind(&mut self, endpoint: &str) -> String;

    /// Connects.
    fn connect(&mut self, endpoint: &str);

    /// Sends a message. A publisher makes sure that nobody who wants it goes without.
    fn send(&mut self, _parts: &[Vec<u8>]) {
        unreachable!("a socket of this type does not send");
    }

    /// Receives a message, or nothing if none comes within `timeout`.
    fn recv_timeout(&mut self, _timeout: Duration) -> Option<Vec<Vec<u8>>> {
        unreachable!("a socket of this type does not receive");
    }

    /// Receives a message.
    fn recv(&mut self) -> Vec<Vec<u8>> {
        self.recv_timeout(CALL_TIMEOUT)
            .unwrap_or_else(|| panic!("no message within {CALL_TIMEOUT:?}"))
    }

    /// Subscribes to a topic.
    fn subscribe(&mut self, _topic: &[u8]) {
        unreachable!("a socket of this type does not subscribe");
    }

    /// Takes a subscription back.
    fn unsubscribe(&mut self, _topic: &[u8]) {
        unreachable!("a socket of this type does not subscribe");
    }

    /// Whether a publisher has a subscriber to `topic`, or a subscriber has told its publishers what it wants, within
    /// `timeout`. True for libraries that cannot tell.
    fn knows_subscription(&mut self, _topic: &[u8], _timeout: Duration) -> bool {
        true
    }

    /// Does what the library leaves to the next call of its application: libzmq's bound subscriber, for one, says what it
    /// wants only then.
    fn catch_up(&mut self) {}

    /// Observes its connections from here on.
    fn watch(&self) -> Watch {
        unreachable!("the events of this library are not looked at");
    }
}
