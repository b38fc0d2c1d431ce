use zerowire::SocketType;

use crate::payload::{assert_payload, payload};
use crate::peers::Peer;

/// One end of a conversation between two sockets: whatever their types put around a message, both ends mean the same body.
///
/// ```text
///   REQ says      body                    ROUTER hears   name of the REQ, empty part, body
///   DEALER says   empty part, body        REP hears      body
/// ```
pub struct Side {
    /// The socket.
    pub peer: Box<dyn Peer>,
    /// What stands before the body in each message, sent or received.
    around: Vec<Vec<u8>>,
}

/// Who may speak when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Only the first side.
    OneWay,
    /// The first side, then the second, and so on.
    InTurns,
    /// Both at any time, but the second only after it has heard the first, whose name it may have to know.
    BothWays,
}

impl Side {
    /// Makes the side of a socket that talks to one of type `other`, which is called `other_name` by routers.
    pub fn new(peer: Box<dyn Peer>, own: SocketType, other: SocketType, other_name: &str) -> Side {
        let around = match (own, other) {
            (SocketType::Router, SocketType::Req) => vec![other_name.into(), vec![]],
            (SocketType::Router, _) => vec![other_name.into()],
            (SocketType::Dealer, SocketType::Rep) => vec![vec![]],
            _ => vec![],
        };
        Side { peer, around }
    }

    /// Sends a body of any number of parts.
    pub fn say(&mut self, body: &[Vec<u8>]) {
        self.peer.send(&[&self.around[..], body].concat());
    }

    /// Receives a message and returns its body; what stands before it must be as expected.
    #[track_caller]
    pub fn hear(&mut self) -> Vec<Vec<u8>> {
        let mut parts = self.peer.recv();
        let end = self.around.len().min(parts.len());
        let body = parts.split_off(end);
        assert_eq!(parts, self.around, "what stands before the body {body:?}");
        body
    }

    /// Sends a body of one part that tells which it is.
    pub fn say_payload(&mut self, index: u64, size: usize) {
        self.say(&[payload(index, size)]);
    }

    /// Receives the body that [`say_payload`](Self::say_payload) sent.
    #[track_caller]
    pub fn hear_payload(&mut self, index: u64, size: usize) {
        let body = self.hear();
        assert_eq!(body.len(), 1, "number of parts of message {index}");
        assert_payload(&body[0], index, size);
    }
}
