//! Security mechanisms: how two peers come to trust each other before messages flow.
//!
//! A mechanism gets and makes bodies of commands; the greeting, the frames and what the properties mean belong to
//! `engine`.

pub(crate) mod null;

use crate::security::null::Null;
use crate::wire::error::ProtocolError;
use crate::wire::properties::Properties;

/// The mechanism of one connection, with its state.
#[derive(Debug)]
pub(crate) enum Mechanism {
    Null(Null),
}

impl Mechanism {
    /// Its name in the greeting.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Mechanism::Null(_) => null::NAME,
        }
    }

    /// Appends the frames to send as soon as both greetings agree.
    pub(crate) fn start(&mut self, out: &mut Vec<u8>) {
        match self {
            Mechanism::Null(null) => null.start(out),
        }
    }

    /// Takes a command of the peer. The peer's properties are the end of the handshake.
    pub(crate) fn receive<'a>(&mut self, body: &'a [u8]) -> Result<Option<Properties<'a>>, ProtocolError> {
        match self {
            Mechanism::Null(null) => null.receive(body).map(Some),
        }
    }
}
