//! NULL: no authentication and no encryption. Each side sends a READY with its properties, without waiting for the
//! other's, and has nothing to say after it.

use bytes::Bytes;

use crate::wire::command::{self, Command};
use crate::wire::error::ProtocolError;
use crate::wire::properties::{self, IDENTITY, Properties, SOCKET_TYPE};
use crate::wire::socket_type::SocketType;

pub(crate) const NAME: &str = "NULL";

/// This side's part in a NULL handshake.
#[derive(Debug)]
pub(crate) struct Null {
    socket_type: SocketType,
    identity: Bytes,
}

impl Null {
    pub(crate) fn new(socket_type: SocketType, identity: Bytes) -> Null {
        Null {
            socket_type,
            identity,
        }
    }

    /// Appends our READY. The types that have an identity send it even when it is empty, as libzmq does.
    pub(crate) fn start(&self, out: &mut Vec<u8>) {
        let mut list = Vec::new();
        properties::encode(SOCKET_TYPE, self.socket_type.name().as_bytes(), &mut list);
        if self.socket_type.has_identity() {
            properties::encode(IDENTITY, &self.identity, &mut list);
        }
        command::ready(&list, out);
    }

    /// Takes the peer's only command.
    pub(crate) fn receive<'a>(&self, body: &'a [u8]) -> Result<Properties<'a>, ProtocolError> {
        match Command::parse(body)? {
            Command::Ready(list) => Properties::parse(list),
            other => Err(other.unexpected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready_of(socket_type: SocketType, identity: &'static [u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Null::new(socket_type, Bytes::from_static(identity)).start(&mut out);
        out
    }

    #[test]
    fn ready_has_the_bytes_that_libzmq_sends() {
        let dealer = ready_of(SocketType::Dealer, b"");
        assert_eq!(
            dealer,
            b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
        );
        assert_eq!(dealer.len(), 43);
        let sub = ready_of(SocketType::Sub, b"");
        assert_eq!(sub, b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB");
        assert_eq!(sub.len(), 27);
        assert_eq!(ready_of(SocketType::XPub, b"").len(), 28);
    }

    #[test]
    fn only_the_types_that_have_an_identity_send_it() {
        for (socket_type, sends_it) in [
            (SocketType::Req, true),
            (SocketType::Dealer, true),
            (SocketType::Router, true),
            (SocketType::Rep, false),
            (SocketType::Pair, false),
            (SocketType::Push, false),
            (SocketType::Sub, false),
        ] {
            let ready = ready_of(socket_type, b"me");
            assert_eq!(
                ready.ends_with(b"\x08Identity\0\0\0\x02me"),
                sends_it,
                "{socket_type}"
            );
        }
    }

    #[test]
    fn the_longest_identity_makes_a_long_frame() {
        let ready = ready_of(SocketType::Router, &[b'i'; 255]);
        assert_eq!(ready[..9], [6, 0, 0, 0, 0, 0, 0, 1, 0x28]);
        assert_eq!(ready.len(), 9 + 0x128);
    }

    #[test]
    fn ready_is_taken_and_every_other_command_refused() {
        let null = Null::new(SocketType::Pull, Bytes::new());
        let properties = null.receive(b"\x05READY\x0bSocket-Type\0\0\0\x04PUSH").unwrap();
        assert_eq!(properties.find(SOCKET_TYPE), Some(&b"PUSH"[..]));
        for (body, error) in [
            (
                &b"\x05ERROR\x03no!"[..],
                ProtocolError::PeerError { reason: "no!".into() },
            ),
            (
                b"\x05HELLO",
                ProtocolError::UnexpectedCommand { name: "HELLO".into() },
            ),
            (
                b"\x04PING\0\0",
                ProtocolError::UnexpectedCommand { name: "PING".into() },
            ),
            (
                b"\x04PING",
                ProtocolError::MalformedCommand {
                    name: "PING",
                    bytes: 5,
                },
            ),
            (
                b"\x05READY\x01",
                ProtocolError::MalformedProperties { offset: 0, bytes: 1 },
            ),
            (b"", ProtocolError::MalformedCommandName { bytes: 0 }),
        ] {
            assert_eq!(null.receive(body), Err(error));
        }
    }
}
