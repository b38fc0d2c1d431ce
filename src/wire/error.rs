//! The ways a peer can break the protocol.

use thiserror::Error;

use super::socket_type::SocketType;

/// How a peer broke ZMTP, or why it and this side cannot work together.
///
/// The connection to such a peer is closed, and nothing else: other peers are not affected, and a connection that this
/// side dialed is tried again later. Text that came from the peer is cut to 128 bytes, and what is not printable ASCII
/// is escaped.
///
/// # Examples
/// ```
/// use zerowire::{ProtocolError, SocketType};
///
/// /// Whether the other program, and not the network, has to change.
/// fn is_misconfigured(error: &ProtocolError) -> bool {
///     matches!(error, ProtocolError::SocketTypeMismatch { .. } | ProtocolError::MechanismMismatch { .. })
/// }
///
/// let error = ProtocolError::SocketTypeMismatch { ours: SocketType::Pull, theirs: SocketType::Pub };
/// assert!(is_misconfigured(&error));
/// assert_eq!(error.to_string(), "socket type PUB of the peer does not go with PULL");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The connection does not begin as ZMTP 2 or later does. It may be another protocol, or ZMTP 1.0, which begins with
    /// the length of an identity.
    #[error("connection begins with byte {first_byte:#04x}, not with 0xff: not ZMTP, or its version 1.0")]
    NotZmtp {
        /// The first byte that came.
        first_byte: u8,
    },
    /// The tenth byte, the last one of the signature, is wrong.
    #[error("signature ends in byte {byte:#04x}, not in 0x7f")]
    BadSignature {
        /// The tenth byte that came.
        byte: u8,
    },
    /// The peer speaks a version of ZMTP older than 3.0.
    #[error("peer speaks ZMTP {major}.{minor}, which is older than 3.0")]
    VersionTooOld {
        /// Major version of the peer.
        major: u8,
        /// Minor version of the peer.
        minor: u8,
    },
    /// The name of the security mechanism is empty, has characters that no name may have, or is not padded with zeros.
    #[error("malformed mechanism name `{name}`")]
    MalformedMechanism {
        /// The field of the greeting, without the zeros at its end.
        name: String,
    },
    /// The peer wants another security mechanism than this side.
    #[error("mechanism {theirs} of the peer is not {ours}")]
    MechanismMismatch {
        /// Mechanism of this side.
        ours: &'static str,
        /// Mechanism of the peer.
        theirs: String,
    },
    /// A frame has flags that no version of the protocol gives a meaning to.
    #[error("frame with reserved flags in {flags:#04x}")]
    ReservedFlags {
        /// The flags of the frame.
        flags: u8,
    },
    /// A frame is a command and a part of a longer message at once.
    #[error("command frame with the flag MORE in {flags:#04x}")]
    CommandWithMore {
        /// The flags of the frame.
        flags: u8,
    },
    /// A frame announces a size that the protocol does not allow.
    #[error("frame of {bytes} bytes is over the protocol's limit of {limit}")]
    FrameTooLarge {
        /// Announced size of the body.
        bytes: u64,
        /// Largest size allowed.
        limit: u64,
    },
    /// A frame of the handshake announces more bytes than this side takes from a peer it does not know yet.
    #[error("handshake frame of {bytes} bytes is over the limit of {limit}")]
    HandshakeFrameTooLarge {
        /// Announced size of the body.
        bytes: u64,
        /// Largest size taken.
        limit: u64,
    },
    /// A command after the handshake announces more bytes than this side takes.
    #[error("command of {bytes} bytes is over the limit of {limit}")]
    CommandTooLarge {
        /// Announced size of the body.
        bytes: u64,
        /// Largest size taken.
        limit: u64,
    },
    /// The parts of a message are larger together than `max_message_bytes`.
    #[error("message of at least {bytes} bytes is over the limit of {limit}")]
    MessageTooLarge {
        /// Sum of the parts so far, the announced size of the newest one included.
        bytes: u64,
        /// Largest sum taken.
        limit: u64,
    },
    /// A message has, or announces, more parts than `max_message_parts`.
    #[error("message of more than {limit} parts")]
    TooManyParts {
        /// Most parts taken.
        limit: u32,
    },
    /// A message came before the handshake had ended, or from a peer whose type does not send any.
    #[error("message frame of {bytes} bytes where none is allowed")]
    UnexpectedMessage {
        /// Announced size of the frame's body.
        bytes: u64,
    },
    /// A command came at a time when it is not allowed.
    #[error("unexpected command {name}")]
    UnexpectedCommand {
        /// Name of the command.
        name: String,
    },
    /// A command is too short for its own name, or its name is empty.
    #[error("command of {bytes} bytes has no whole name")]
    MalformedCommandName {
        /// Size of the command's body.
        bytes: usize,
    },
    /// The data of a command has a wrong length.
    #[error("malformed {name} command of {bytes} bytes")]
    MalformedCommand {
        /// Name of the command.
        name: &'static str,
        /// Size of the command's body.
        bytes: usize,
    },
    /// The properties in a handshake command cannot be read.
    #[error("malformed property at byte {offset} of {bytes}")]
    MalformedProperties {
        /// Where the property starts that cannot be read.
        offset: usize,
        /// Size of all properties.
        bytes: usize,
    },
    /// The peer's socket type is none that this library knows.
    #[error("unknown socket type `{name}`")]
    UnknownSocketType {
        /// What the peer called it.
        name: String,
    },
    /// The peer's socket type cannot work with this one.
    #[error("socket type {theirs} of the peer does not go with {ours}")]
    SocketTypeMismatch {
        /// Type of this side's socket.
        ours: SocketType,
        /// Type of the peer's socket.
        theirs: SocketType,
    },
    /// The peer's identity is too long.
    #[error("identity of {bytes} bytes is longer than {limit}")]
    IdentityTooLong {
        /// Size of the identity.
        bytes: usize,
        /// Largest size allowed.
        limit: usize,
    },
    /// The peer's identity begins with a zero byte, as only identities that a router makes up do.
    #[error("identity `{identity}` begins with a zero byte, which is reserved")]
    IdentityReserved {
        /// The identity.
        identity: String,
    },
    /// The peer refused this side with an ERROR command.
    #[error("refused by the peer: {reason}")]
    PeerError {
        /// What the peer gave as its reason.
        reason: String,
    },
}

/// Bytes from a peer as text that is safe to show: bounded, ASCII, without control characters.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let mut text = shown.escape_ascii().to_string();
    if shown.len() < bytes.len() {
        text.push_str("...");
    }
    text
}

/// Bytes of a peer's text that are kept; up to four times as many characters after escaping. Enough for every name of
/// the protocol and a sentence, little enough that a peer cannot flood a log with one connection.
pub(crate) const TEXT_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_a_peer_is_escaped_and_cut() {
        assert_eq!(printable(b"NULL"), "NULL");
        assert_eq!(printable(b""), "");
        assert_eq!(printable(b"a\x1b[31m\n\"\xff"), r#"a\x1b[31m\n\"\xff"#);
        let long = printable(&[b'x'; TEXT_BYTES_MAX + 1]);
        assert_eq!(long, "x".repeat(TEXT_BYTES_MAX) + "...");
        assert_eq!(printable(&[0; 4096]).len(), 4 * TEXT_BYTES_MAX + 3);
    }

    #[test]
    fn error_texts_name_the_value_at_fault() {
        for (error, text) in [
            (
                ProtocolError::NotZmtp { first_byte: b'G' },
                "connection begins with byte 0x47, not with 0xff: not ZMTP, or its version 1.0",
            ),
            (
                ProtocolError::VersionTooOld { major: 2, minor: 0 },
                "peer speaks ZMTP 2.0, which is older than 3.0",
            ),
            (
                ProtocolError::ReservedFlags { flags: 8 },
                "frame with reserved flags in 0x08",
            ),
            (
                ProtocolError::MessageTooLarge { bytes: 9, limit: 8 },
                "message of at least 9 bytes is over the limit of 8",
            ),
            (
                ProtocolError::MalformedCommand {
                    name: "PING",
                    bytes: 6,
                },
                "malformed PING command of 6 bytes",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
