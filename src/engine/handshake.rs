//! The start of a connection, until both sides know each other.
//!
//! ```text
//!   we send   greeting          READY                  traffic
//!   peer      greeting                     READY       traffic
//!   state     Greeting          Mechanism              Done
//! ```

use bytes::Bytes;

use crate::security::Mechanism;
use crate::security::null::Null;
use crate::wire::command;
use crate::wire::error::{ProtocolError, printable};
use crate::wire::frame::{HEADER_BYTES_MAX, Header};
use crate::wire::greeting::{self, GREETING_BYTES};
use crate::wire::properties::{IDENTITY, Properties, SOCKET_TYPE};
use crate::wire::socket_type::SocketType;

/// Largest body of a frame before the handshake has ended: what an unknown peer can make us keep for it.
pub(crate) const HANDSHAKE_FRAME_BYTES_MAX: u64 = 4096;

/// Largest identity of a socket.
pub(crate) const IDENTITY_BYTES_MAX: usize = 255;

/// What this side says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) socket_type: SocketType,
    /// At most [`IDENTITY_BYTES_MAX`] bytes, not beginning with zero; may be empty.
    pub(crate) identity: Bytes,
    pub(crate) as_server: bool,
}

/// What the other side said about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The version both sides speak: (3, 0) or (3, 1).
    pub(crate) version: (u8, u8),
    /// `None` if the peer did not say it, as libzmq allows. Otherwise one that our type accepts.
    pub(crate) socket_type: Option<SocketType>,
    /// Empty, or up to [`IDENTITY_BYTES_MAX`] bytes not beginning with zero.
    pub(crate) identity: Bytes,
    /// The other properties, in order; of equal names the first counts. All of them came in one frame of the handshake,
    /// so together they are below [`HANDSHAKE_FRAME_BYTES_MAX`].
    pub(crate) properties: Vec<(String, Bytes)>,
}

/// What a handshake made of some input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// How much of the input it took: all of it, unless the handshake ended before.
    pub(crate) consumed: usize,
    /// Present when the handshake has ended. What follows in the input is traffic.
    pub(crate) peer: Option<Peer>,
}

/// One side of a handshake.
#[derive(Debug)]
pub(crate) struct Handshake {
    local: Local,
    mechanism: Mechanism,
    state: State,
    /// The start of the greeting, or of the frame, that is not all there yet.
    partial: Vec<u8>,
    output: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Greeting,
    Mechanism { version: (u8, u8) },
    Done,
    Failed(ProtocolError),
}

impl Handshake {
    /// Begins a handshake. [`output`](Self::output) holds our whole greeting at once, so that a peer that sends its own
    /// in steps never waits for us.
    ///
    /// To hold back what follows the version until the peer has told its own would make libzmq name a mechanism that it
    /// does not like before it hangs up; but our READY would then come together with our mechanism, and libzmq would hang
    /// up on a socket type that it does not like before it has named its own, which people get wrong far more often.
    pub(crate) fn new(local: Local) -> Handshake {
        debug_assert!(local.identity.len() <= IDENTITY_BYTES_MAX);
        let mechanism = Mechanism::Null(Null::new(local.socket_type, local.identity.clone()));
        let output = greeting::encode(mechanism.name(), local.as_server).to_vec();
        Handshake {
            local,
            mechanism,
            state: State::Greeting,
            partial: Vec::new(),
            output,
        }
    }

    /// The bytes to write next. The caller takes out what it has written, or all of it.
    ///
    /// After an error it may hold an ERROR command that tells the peer why; it should be written before the connection
    /// is closed. After the end of the handshake it may hold our READY, which goes before any traffic.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Takes bytes from the peer.
    ///
    /// After the end it takes nothing more. After an error it returns the same error again.
    pub(crate) fn receive(&mut self, input: &[u8]) -> Result<Progress, ProtocolError> {
        let mut rest = input;
        let result = self.advance(&mut rest);
        if let Err(error) = &result {
            self.state = State::Failed(error.clone());
            self.partial = Vec::new();
        }
        Ok(Progress {
            peer: result?,
            consumed: input.len() - rest.len(),
        })
    }

    fn advance(&mut self, rest: &mut &[u8]) -> Result<Option<Peer>, ProtocolError> {
        loop {
            match &self.state {
                State::Greeting => {
                    fill(&mut self.partial, GREETING_BYTES, rest);
                    let Some(version) = greeting::parse(&self.partial, self.mechanism.name())? else {
                        return Ok(None);
                    };
                    self.partial.clear();
                    self.mechanism.start(&mut self.output);
                    self.state = State::Mechanism { version };
                }
                State::Mechanism { version } => {
                    let version = *version;
                    let Some(header_bytes) = fill_frame(&mut self.partial, rest)? else {
                        return Ok(None);
                    };
                    let properties = self.mechanism.receive(&self.partial[header_bytes..])?;
                    let Some(properties) = properties else {
                        self.partial.clear();
                        continue;
                    };
                    let peer = meet(self.local.socket_type, version, properties);
                    if let Err(error) = &peer {
                        command::error(&error.to_string(), &mut self.output);
                    }
                    let peer = peer?;
                    self.partial = Vec::new();
                    self.state = State::Done;
                    return Ok(Some(peer));
                }
                State::Done => return Ok(None),
                State::Failed(error) => return Err(error.clone()),
            }
        }
    }
}

/// Moves bytes from `rest` to `partial` until that has `target`.
fn fill(partial: &mut Vec<u8>, target: usize, rest: &mut &[u8]) {
    let count = target.saturating_sub(partial.len()).min(rest.len());
    let (taken, left) = rest.split_at(count);
    partial.extend_from_slice(taken);
    *rest = left;
}

/// Moves bytes from `rest` to `partial` until that has one whole frame, and returns the size of its header then.
///
/// The header is judged before any of the body is kept.
fn fill_frame(partial: &mut Vec<u8>, rest: &mut &[u8]) -> Result<Option<usize>, ProtocolError> {
    loop {
        let header = Header::parse(partial)?;
        let target = match header {
            Some(header) => judge(header)?,
            // Short or long: the flags tell, so nothing behind a short frame is touched.
            None if partial.len() < 2 => partial.len() + 1,
            None => HEADER_BYTES_MAX,
        };
        match header {
            Some(header) if partial.len() == target => return Ok(Some(header.header_bytes)),
            _ if rest.is_empty() => return Ok(None),
            _ => fill(partial, target, rest),
        }
    }
}

/// The size of a frame that may come during a handshake.
fn judge(header: Header) -> Result<usize, ProtocolError> {
    let bytes = header.body_bytes;
    if !header.is_command() {
        return Err(ProtocolError::UnexpectedMessage { bytes });
    }
    if bytes > HANDSHAKE_FRAME_BYTES_MAX {
        return Err(ProtocolError::HandshakeFrameTooLarge {
            bytes,
            limit: HANDSHAKE_FRAME_BYTES_MAX,
        });
    }
    Ok(header.header_bytes + bytes as usize)
}

/// Judges what the peer said about itself.
fn meet(ours: SocketType, version: (u8, u8), properties: Properties<'_>) -> Result<Peer, ProtocolError> {
    let socket_type = properties
        .find(SOCKET_TYPE)
        .map(SocketType::from_bytes)
        .transpose()?;
    match socket_type {
        Some(theirs) if !ours.accepts(theirs) => {
            return Err(ProtocolError::SocketTypeMismatch { ours, theirs });
        }
        _ => {}
    }
    let identity = properties.find(IDENTITY).unwrap_or_default();
    if identity.len() > IDENTITY_BYTES_MAX {
        return Err(ProtocolError::IdentityTooLong {
            bytes: identity.len(),
            limit: IDENTITY_BYTES_MAX,
        });
    }
    if identity.first() == Some(&0) {
        return Err(ProtocolError::IdentityReserved {
            identity: printable(identity),
        });
    }
    let known = |name: &str| {
        [SOCKET_TYPE, IDENTITY]
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
    };
    let others = properties.iter().filter(|(name, _)| !known(name));
    Ok(Peer {
        version,
        socket_type,
        identity: Bytes::copy_from_slice(identity),
        properties: others
            .map(|(name, value)| (name.to_owned(), Bytes::copy_from_slice(value)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::properties;

    fn local(socket_type: SocketType) -> Local {
        Local {
            socket_type,
            identity: Bytes::new(),
            as_server: false,
        }
    }

    fn greeting() -> Vec<u8> {
        greeting::encode("NULL", false).to_vec()
    }

    fn ready(list: &[(&str, &[u8])]) -> Vec<u8> {
        let mut encoded = Vec::new();
        for (name, value) in list {
            properties::encode(name, value, &mut encoded);
        }
        let mut frame = Vec::new();
        command::ready(&encoded, &mut frame);
        frame
    }

    /// What came of a conversation in which the peer's bytes came in these pieces, and what we wrote.
    #[derive(Debug, PartialEq, Eq)]
    struct Outcome {
        result: Result<Progress, ProtocolError>,
        output: Vec<u8>,
    }

    fn converse<'a>(local: &Local, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
        let mut handshake = Handshake::new(local.clone());
        let mut total = Progress {
            consumed: 0,
            peer: None,
        };
        for piece in pieces {
            match handshake.receive(piece) {
                Ok(progress) => {
                    total.consumed += progress.consumed;
                    assert!(
                        progress.peer.is_none() || total.peer.is_none(),
                        "the peer is reported once"
                    );
                    assert!(
                        progress.consumed == piece.len() || progress.peer.is_some() || total.peer.is_some()
                    );
                    total.peer = progress.peer.or(total.peer);
                }
                Err(error) => {
                    assert_eq!(handshake.receive(b""), Err(error.clone()));
                    assert!(handshake.partial.capacity() == 0);
                    return Outcome {
                        result: Err(error),
                        output: handshake.output,
                    };
                }
            }
            let limit = HANDSHAKE_FRAME_BYTES_MAX as usize + HEADER_BYTES_MAX;
            assert!(handshake.partial.len() <= limit);
        }
        Outcome {
            result: Ok(total),
            output: handshake.output,
        }
    }

    /// The outcome, after checking that it is the same however the bytes are cut.
    fn outcome(local: Local, input: &[u8]) -> Outcome {
        let whole = converse(&local, [input]);
        assert_eq!(converse(&local, input.chunks(1)), whole);
        for split in 0..=input.len() {
            let (first, second) = input.split_at(split);
            assert_eq!(converse(&local, [first, second]), whole, "split at {split}");
        }
        whole
    }

    fn ended(outcome: Outcome) -> (usize, Peer) {
        let progress = outcome.result.unwrap();
        (progress.consumed, progress.peer.unwrap())
    }

    #[test]
    fn the_peer_is_known_after_its_greeting_and_ready() {
        let mut input = greeting();
        input.extend(ready(&[
            ("Socket-Type", b"DEALER"),
            ("Identity", b"worker"),
            ("X-Zone", b"north"),
        ]));
        let end = input.len();
        // What follows is traffic, here a PING and a message, and stays.
        input.extend(b"\x04\x07\x04PING\0\0\0\x02hi");
        let outcome = outcome(local(SocketType::Router), &input);
        let mut expected_output = greeting();
        expected_output.extend(ready(&[("Socket-Type", b"ROUTER"), ("Identity", b"")]));
        assert_eq!(outcome.output, expected_output);
        let (consumed, peer) = ended(outcome);
        assert_eq!(consumed, end);
        assert_eq!(
            peer,
            Peer {
                version: (3, 1),
                socket_type: Some(SocketType::Dealer),
                identity: Bytes::from_static(b"worker"),
                properties: vec![("X-Zone".into(), Bytes::from_static(b"north"))],
            }
        );
    }

    #[test]
    fn a_peer_of_version_3_0_is_told_apart() {
        let mut input = greeting();
        input[11] = 0;
        input.extend(ready(&[("Socket-Type", b"SUB")]));
        let (_, peer) = ended(outcome(local(SocketType::Pub), &input));
        assert_eq!(peer.version, (3, 0));
    }

    #[test]
    fn a_newer_peer_is_spoken_to_in_our_version() {
        let mut input = greeting();
        input[10..12].copy_from_slice(&[4, 2]);
        input.extend(ready(&[("Socket-Type", b"SUB")]));
        let (_, peer) = ended(outcome(local(SocketType::Pub), &input));
        assert_eq!(peer.version, (3, 1));
    }

    #[test]
    fn our_greeting_is_there_before_the_peer_has_said_anything() {
        let mut handshake = Handshake::new(Local {
            as_server: true,
            ..local(SocketType::Pull)
        });
        assert_eq!(handshake.output().as_slice(), greeting::encode("NULL", true));
        handshake.output().clear();
        // A libzmq peer sends ten bytes, then one, then the rest, each after it has seen ours.
        let theirs = greeting();
        for (end, start) in [(10, 0), (11, 10)] {
            let progress = handshake.receive(&theirs[start..end]).unwrap();
            assert_eq!(
                progress,
                Progress {
                    consumed: end - start,
                    peer: None
                }
            );
            assert!(handshake.output().is_empty());
        }
        handshake.receive(&theirs[11..]).unwrap();
        assert_eq!(*handshake.output(), ready(&[("Socket-Type", b"PULL")]));
    }

    #[test]
    fn the_ready_of_a_dealer_has_the_43_bytes_that_libzmq_sends() {
        let mut handshake = Handshake::new(local(SocketType::Dealer));
        handshake.receive(&greeting()).unwrap();
        let expected = b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0";
        assert_eq!(expected.len(), 43);
        assert_eq!(handshake.output()[GREETING_BYTES..], expected[..]);
    }

    #[test]
    fn a_missing_socket_type_is_accepted() {
        let (_, peer) = ended(outcome(
            local(SocketType::Pull),
            &[greeting(), ready(&[])].concat(),
        ));
        assert_eq!((peer.socket_type, peer.identity.len()), (None, 0));
    }

    #[test]
    fn property_names_are_read_in_any_case_and_the_first_counts() {
        let list: [(&str, &[u8]); 5] = [
            ("socket-TYPE", b"REQ"),
            ("IDENTITY", b"a"),
            ("Socket-Type", b"PUB"),
            ("identity", b"b"),
            ("x-a", b"1"),
        ];
        let (_, peer) = ended(outcome(
            local(SocketType::Rep),
            &[greeting(), ready(&list)].concat(),
        ));
        assert_eq!(peer.socket_type, Some(SocketType::Req));
        assert_eq!(peer.identity, "a");
        assert_eq!(peer.properties, [("x-a".to_owned(), Bytes::from_static(b"1"))]);
    }

    #[test]
    fn a_frame_of_exactly_the_limit_is_taken() {
        // READY with its name is 6 bytes, the property 8 and its value.
        let value = vec![b'v'; HANDSHAKE_FRAME_BYTES_MAX as usize - 6 - 8];
        let input = [greeting(), ready(&[("X-a", &value)])].concat();
        assert_eq!(input.len() as u64, 64 + 9 + HANDSHAKE_FRAME_BYTES_MAX);
        let whole = converse(&local(SocketType::Pull), [&input[..]]);
        assert_eq!(converse(&local(SocketType::Pull), input.chunks(1)), whole);
        let (consumed, peer) = ended(whole);
        assert_eq!(consumed, input.len());
        assert_eq!(peer.properties[0].1.len(), value.len());
    }

    #[test]
    fn a_refused_peer_is_told_why() {
        let long = [b'i'; IDENTITY_BYTES_MAX + 1];
        for (list, error) in [
            (
                &[("Socket-Type", &b"PUB"[..])][..],
                ProtocolError::SocketTypeMismatch {
                    ours: SocketType::Pull,
                    theirs: SocketType::Pub,
                },
            ),
            (
                &[("Socket-Type", b"CLIENT")],
                ProtocolError::UnknownSocketType {
                    name: "CLIENT".into(),
                },
            ),
            (
                &[("Socket-Type", b"")],
                ProtocolError::UnknownSocketType { name: String::new() },
            ),
            (
                &[("Socket-Type", b"PUSH"), ("Identity", &long)],
                ProtocolError::IdentityTooLong {
                    bytes: 256,
                    limit: 255,
                },
            ),
            (
                &[("Socket-Type", b"PUSH"), ("Identity", b"\0abc")],
                ProtocolError::IdentityReserved {
                    identity: "\\x00abc".into(),
                },
            ),
        ] {
            let outcome = outcome(local(SocketType::Pull), &[greeting(), ready(list)].concat());
            let mut expected = [greeting(), ready(&[("Socket-Type", b"PULL")])].concat();
            command::error(&error.to_string(), &mut expected);
            assert_eq!(
                outcome,
                Outcome {
                    result: Err(error),
                    output: expected
                }
            );
        }
    }

    #[test]
    fn the_longest_identity_is_taken() {
        let longest = [b'i'; IDENTITY_BYTES_MAX];
        let list: [(&str, &[u8]); 2] = [("Socket-Type", b"ROUTER"), ("Identity", &longest)];
        let (_, peer) = ended(outcome(
            local(SocketType::Dealer),
            &[greeting(), ready(&list)].concat(),
        ));
        assert_eq!(peer.identity[..], longest);
    }

    #[test]
    fn a_broken_greeting_ends_the_handshake_without_a_ready() {
        for (at, byte, error) in [
            (0, b'G', ProtocolError::NotZmtp { first_byte: b'G' }),
            (9, 3, ProtocolError::BadSignature { byte: 3 }),
            (9, 0, ProtocolError::VersionTooOld { major: 1, minor: 0 }),
            (10, 1, ProtocolError::VersionTooOld { major: 2, minor: 0 }),
            (
                12,
                b' ',
                ProtocolError::MalformedMechanism { name: " ULL".into() },
            ),
            (
                12,
                b'F',
                ProtocolError::MechanismMismatch {
                    ours: "NULL",
                    theirs: "FULL".into(),
                },
            ),
        ] {
            let mut input = greeting();
            input[at] = byte;
            assert_eq!(
                outcome(local(SocketType::Pull), &input),
                Outcome {
                    result: Err(error),
                    output: greeting()
                }
            );
        }
    }

    #[test]
    fn broken_frames_end_the_handshake() {
        let limit = HANDSHAKE_FRAME_BYTES_MAX;
        for (frame, error) in [
            (&b"\x08"[..], ProtocolError::ReservedFlags { flags: 8 }),
            (b"\x05", ProtocolError::CommandWithMore { flags: 5 }),
            (b"\x00\x05", ProtocolError::UnexpectedMessage { bytes: 5 }),
            (
                b"\x03\0\0\0\0\0\x10\0\0",
                ProtocolError::UnexpectedMessage { bytes: 1 << 20 },
            ),
            (
                b"\x06\0\0\0\0\0\0\x10\x01",
                ProtocolError::HandshakeFrameTooLarge { bytes: 4097, limit },
            ),
            (
                b"\x06\x80\0\0\0\0\0\0\0",
                ProtocolError::FrameTooLarge {
                    bytes: 1 << 63,
                    limit: i64::MAX as u64,
                },
            ),
            (b"\x04\x00", ProtocolError::MalformedCommandName { bytes: 0 }),
            (
                b"\x04\x05\x04PING",
                ProtocolError::MalformedCommand {
                    name: "PING",
                    bytes: 5,
                },
            ),
            (
                b"\x04\x07\x04PING\0\0",
                ProtocolError::UnexpectedCommand { name: "PING".into() },
            ),
            (
                b"\x04\x08\x05ERROR\x01x",
                ProtocolError::PeerError { reason: "x".into() },
            ),
            (
                b"\x04\x07\x05READY\x01",
                ProtocolError::MalformedProperties { offset: 0, bytes: 1 },
            ),
        ] {
            for behind in [&b""[..], b"\0\0whatever"] {
                let input = [&greeting(), frame, behind].concat();
                let output = [greeting(), ready(&[("Socket-Type", b"PULL")])].concat();
                let expected = Outcome {
                    result: Err(error.clone()),
                    output,
                };
                assert_eq!(outcome(local(SocketType::Pull), &input), expected);
            }
        }
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let mut handshake = Handshake::new(local(SocketType::Pull));
        let input = [greeting(), ready(&[("Socket-Type", b"PUSH")])].concat();
        assert!(handshake.receive(&input).unwrap().peer.is_some());
        assert_eq!(
            handshake.receive(&input),
            Ok(Progress {
                consumed: 0,
                peer: None
            })
        );
        assert_eq!(handshake.partial.capacity(), 0);
    }

    /// Lets two sides talk, each read being at most `piece` bytes, until both have come to an end.
    fn talk(mut sides: [Handshake; 2], piece: usize) -> [Result<Peer, ProtocolError>; 2] {
        let mut results = [None, None];
        while results.iter().any(Option::is_none) {
            let mut moved = false;
            for (from, to) in [(0, 1), (1, 0)] {
                let output = sides[from].output();
                let bytes: Vec<u8> = output.drain(..piece.min(output.len())).collect();
                moved |= !bytes.is_empty();
                if results[to].is_none() {
                    results[to] = sides[to]
                        .receive(&bytes)
                        .map(|progress| progress.peer)
                        .transpose();
                }
            }
            assert!(
                moved || results.iter().all(Option::is_some),
                "both sides wait for each other"
            );
        }
        results.map(Option::unwrap)
    }

    #[test]
    fn two_of_our_own_meet_if_their_types_go_together() {
        use SocketType::*;
        let types = [Pair, Pub, Sub, Req, Rep, Dealer, Router, Pull, Push, XPub, XSub];
        for (first, second) in types
            .iter()
            .flat_map(|first| types.map(|second| (*first, second)))
        {
            for piece in [1, 7, 64, 1000] {
                let identity = Bytes::from_static(b"first");
                let sides = [
                    Handshake::new(Local {
                        socket_type: first,
                        identity,
                        as_server: true,
                    }),
                    Handshake::new(local(second)),
                ];
                let [ours, theirs] = talk(sides, piece);
                if first.accepts(second) {
                    assert_eq!(ours.unwrap().socket_type, Some(second));
                    let peer = theirs.unwrap();
                    assert_eq!((peer.version, peer.socket_type), ((3, 1), Some(first)));
                    assert_eq!(peer.identity, if first.has_identity() { "first" } else { "" });
                } else {
                    let mismatch = |ours, theirs| Err(ProtocolError::SocketTypeMismatch { ours, theirs });
                    assert_eq!([ours, theirs], [mismatch(first, second), mismatch(second, first)]);
                }
            }
        }
    }
}
