use std::str::FromStr;
use std::time::Duration;

use crate::deadline::CALL_TIMEOUT;
use crate::watch::Watch;

/// Whose sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The library under test.
    Zerowire,
    /// The reference implementation.
    Libzmq,
}

impl Library {
    /// Its name on the command line of a peer process.
    pub fn name(self) -> &'static str {
        match self {
            Library::Zerowire => "zerowire",
            Library::Libzmq => "libzmq",
        }
    }
}

impl FromStr for Library {
    type Err = String;

    fn from_str(name: &str) -> Result<Library, String> {
        match name {
            "zerowire" => Ok(Library::Zerowire),
            "libzmq" => Ok(Library::Libzmq),
            _ => Err(format!("unknown library `{name}`")),
        }
    }
}

/// A PUSH socket of either library in a context of its own, so that dropping it ends all there is of the peer.
///
/// No call blocks longer than [`CALL_TIMEOUT`]; then it panics.
#[allow(clippy::large_enum_variant)] // A test has a handful of them.
pub enum Push {
    /// One of zerowire.
    Zerowire(zerowire::PushSocket),
    /// One of libzmq.
    Libzmq(Libzmq),
}

/// A PULL socket of either library, likewise.
#[allow(clippy::large_enum_variant)]
pub enum Pull {
    /// One of zerowire.
    Zerowire(zerowire::PullSocket),
    /// One of libzmq.
    Libzmq(Libzmq),
}

/// A libzmq socket and its context.
pub struct Libzmq {
    /// To set options before it is bound or connected.
    pub socket: zmq::Socket,
    context: zmq::Context,
}

impl Push {
    /// Makes a socket.
    pub fn new(library: Library) -> Push {
        match library {
            Library::Zerowire => Push::Zerowire(zerowire::PushSocket::new(&zerowire::Context::new())),
            Library::Libzmq => Push::Libzmq(Libzmq::new(zmq::PUSH)),
        }
    }

    /// Binds and returns the endpoint with its wildcards resolved.
    pub fn bind(&mut self, endpoint: &str) -> String {
        match self {
            Push::Zerowire(socket) => socket.bind(endpoint).expect("bind").to_string(),
            Push::Libzmq(peer) => peer.bind(endpoint),
        }
    }

    /// Connects.
    pub fn connect(&mut self, endpoint: &str) {
        match self {
            Push::Zerowire(socket) => socket.connect(endpoint).expect("connect"),
            Push::Libzmq(peer) => peer.socket.connect(endpoint).expect("zmq_connect"),
        }
    }

    /// Sends a message of one part.
    pub fn send(&mut self, body: &[u8]) {
        match self {
            Push::Zerowire(socket) => socket.send_timeout(body, CALL_TIMEOUT).expect("send"),
            Push::Libzmq(peer) => peer.socket.send(body, 0).expect("zmq_send"),
        }
    }

    /// Sends a message of many parts.
    pub fn send_parts(&mut self, parts: &[Vec<u8>]) {
        match self {
            Push::Zerowire(socket) => {
                let message = zerowire::Message::from_parts(parts.iter().map(Vec::as_slice));
                socket.send_timeout(message, CALL_TIMEOUT).expect("send");
            }
            Push::Libzmq(peer) => peer.socket.send_multipart(parts, 0).expect("zmq_send"),
        }
    }

    /// Observes its connections from here on.
    pub fn watch(&self) -> Watch {
        match self {
            Push::Zerowire(socket) => Watch::zerowire(socket.monitor()),
            Push::Libzmq(peer) => peer.watch(),
        }
    }

    /// The socket, if it is libzmq's.
    pub fn libzmq(&self) -> Option<&zmq::Socket> {
        match self {
            Push::Zerowire(_) => None,
            Push::Libzmq(peer) => Some(&peer.socket),
        }
    }
}

impl Pull {
    /// Makes a socket.
    pub fn new(library: Library) -> Pull {
        match library {
            Library::Zerowire => Pull::Zerowire(zerowire::PullSocket::new(&zerowire::Context::new())),
            Library::Libzmq => Pull::Libzmq(Libzmq::new(zmq::PULL)),
        }
    }

    /// Binds and returns the endpoint with its wildcards resolved.
    pub fn bind(&mut self, endpoint: &str) -> String {
        match self {
            Pull::Zerowire(socket) => socket.bind(endpoint).expect("bind").to_string(),
            Pull::Libzmq(peer) => peer.bind(endpoint),
        }
    }

    /// Connects.
    pub fn connect(&mut self, endpoint: &str) {
        match self {
            Pull::Zerowire(socket) => socket.connect(endpoint).expect("connect"),
            Pull::Libzmq(peer) => peer.socket.connect(endpoint).expect("zmq_connect"),
        }
    }

    /// Receives a message of one part.
    pub fn recv(&mut self) -> Vec<u8> {
        let mut parts = self.recv_parts();
        assert_eq!(parts.len(), 1, "number of parts");
        parts.remove(0)
    }

    /// Receives a message.
    pub fn recv_parts(&mut self) -> Vec<Vec<u8>> {
        self.recv_parts_timeout(CALL_TIMEOUT)
            .unwrap_or_else(|| panic!("no message within {CALL_TIMEOUT:?}"))
    }

    /// Receives a message, or nothing if none comes within `timeout`.
    pub fn recv_parts_timeout(&mut self, timeout: Duration) -> Option<Vec<Vec<u8>>> {
        match self {
            Pull::Zerowire(socket) => match socket.recv_timeout(timeout) {
                Ok(message) => Some(message.parts().map(<[u8]>::to_vec).collect()),
                Err(zerowire::RecvTimeoutError::Timeout) => None,
                Err(error) => panic!("recv: {error}"),
            },
            Pull::Libzmq(peer) => {
                peer.socket
                    .set_rcvtimeo(timeout.as_millis() as i32)
                    .expect("RCVTIMEO");
                match peer.socket.recv_multipart(0) {
                    Ok(parts) => Some(parts),
                    Err(zmq::Error::EAGAIN) => None,
                    Err(error) => panic!("zmq_recv: {error}"),
                }
            }
        }
    }

    /// Observes its connections from here on.
    pub fn watch(&self) -> Watch {
        match self {
            Pull::Zerowire(socket) => Watch::zerowire(socket.monitor()),
            Pull::Libzmq(peer) => peer.watch(),
        }
    }

    /// The socket, if it is libzmq's.
    pub fn libzmq(&self) -> Option<&zmq::Socket> {
        match self {
            Pull::Zerowire(_) => None,
            Pull::Libzmq(peer) => Some(&peer.socket),
        }
    }
}

impl Libzmq {
    /// Makes a socket of any type; PUSH and PULL are better made through [`Push`] and [`Pull`].
    pub fn new(socket_type: zmq::SocketType) -> Libzmq {
        let context = zmq::Context::new();
        let socket = context.socket(socket_type).expect("zmq_socket");
        let limit = CALL_TIMEOUT.as_millis() as i32;
        socket.set_sndtimeo(limit).expect("SNDTIMEO");
        // Not libzmq's default, which is to wait for ever: a lost peer must not hang the test.
        socket.set_linger(limit).expect("LINGER");
        Libzmq { socket, context }
    }

    /// Binds and returns the endpoint with its wildcards resolved.
    pub fn bind(&self, endpoint: &str) -> String {
        self.socket.bind(endpoint).expect("zmq_bind");
        self.socket
            .get_last_endpoint()
            .expect("LAST_ENDPOINT")
            .expect("an endpoint is text")
    }

    /// Observes its connections from here on.
    pub fn watch(&self) -> Watch {
        Watch::libzmq(&self.context, &self.socket)
    }
}
