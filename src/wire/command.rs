//! Commands: what the two ends of a connection tell each other, beside the messages of their applications.
//!
//! ```text
//!   body of a command frame   name size, 1 byte │ name │ data
//! ```

use super::error::{ProtocolError, printable};
use super::frame::{HEADER_BYTES_MAX, encode_command_header};

/// Largest context of a PING, which the PONG repeats.
pub(crate) const CONTEXT_BYTES_MAX: usize = 16;

/// Longest topic of a subscription. Much longer than any in use; what a peer sends first is kept until it is whole.
pub(crate) const TOPIC_BYTES_MAX: usize = 16 * 1024;

/// A command, with its data where it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// The sender is ready for traffic. Holds [`Properties`](super::properties::Properties), not checked yet.
    Ready(&'a [u8]),
    /// The sender gives up. Holds its reason.
    Error(&'a [u8]),
    /// A sign of life is asked for.
    Ping {
        /// How long the sender may be thought alive without a further byte, in tenths of a second; 0 if it does not say.
        ttl_tenths: u16,
        /// To be sent back; at most [`CONTEXT_BYTES_MAX`] bytes.
        context: &'a [u8],
    },
    /// The sign of life.
    Pong {
        /// As it came with the PING; at most [`CONTEXT_BYTES_MAX`] bytes.
        context: &'a [u8],
    },
    /// The sender wants messages that begin with these bytes.
    Subscribe(&'a [u8]),
    /// The sender takes one subscription back.
    Cancel(&'a [u8]),
    /// A command that is not known here.
    Unknown {
        /// At least one byte.
        name: &'a [u8],
    },
}

impl<'a> Command<'a> {
    /// Reads the body of a command frame.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Command<'a>, ProtocolError> {
        let (name, data) =
            split_name(body).ok_or(ProtocolError::MalformedCommandName { bytes: body.len() })?;
        let malformed = |name| ProtocolError::MalformedCommand {
            name,
            bytes: body.len(),
        };
        match name {
            b"READY" => Ok(Command::Ready(data)),
            b"ERROR" => {
                // What follows the reason is let pass: a peer that gives up is better understood than corrected.
                let reason = data
                    .split_first()
                    .and_then(|(&size, rest)| rest.get(..size.into()));
                reason.map(Command::Error).ok_or_else(|| malformed("ERROR"))
            }
            b"PING" => match data.split_first_chunk::<2>() {
                Some((ttl, context)) if context.len() <= CONTEXT_BYTES_MAX => Ok(Command::Ping {
                    ttl_tenths: u16::from_be_bytes(*ttl),
                    context,
                }),
                _ => Err(malformed("PING")),
            },
            b"PONG" if data.len() <= CONTEXT_BYTES_MAX => Ok(Command::Pong { context: data }),
            b"PONG" => Err(malformed("PONG")),
            b"SUBSCRIBE" => Ok(Command::Subscribe(data)),
            b"CANCEL" => Ok(Command::Cancel(data)),
            name => Ok(Command::Unknown { name }),
        }
    }

    /// The error to report if this command may not come now; for an ERROR, which may come always, its reason.
    pub(crate) fn unexpected(self) -> ProtocolError {
        let name = match self {
            Command::Ready(_) => "READY".into(),
            Command::Error(reason) => {
                return ProtocolError::PeerError {
                    reason: printable(reason),
                };
            }
            Command::Ping { .. } => "PING".into(),
            Command::Pong { .. } => "PONG".into(),
            Command::Subscribe(_) => "SUBSCRIBE".into(),
            Command::Cancel(_) => "CANCEL".into(),
            Command::Unknown { name } => printable(name),
        };
        ProtocolError::UnexpectedCommand { name }
    }
}

/// Appends the frame of a READY with these encoded properties.
pub(crate) fn ready(properties: &[u8], out: &mut Vec<u8>) {
    frame("READY", &[properties], out);
}

/// Appends the frame of an ERROR. A reason of more than 255 bytes is cut.
pub(crate) fn error(reason: &str, out: &mut Vec<u8>) {
    let reason = reason.as_bytes();
    let size = u8::try_from(reason.len()).unwrap_or(u8::MAX);
    frame("ERROR", &[&[size], &reason[..size.into()]], out);
}

/// Appends the frame of a PING, with at most [`CONTEXT_BYTES_MAX`] bytes of context.
///
/// libzmq multiplies the time by 100 in 16 bits, so more than [`TTL_TENTHS_MAX`] makes it close the connection early.
pub(crate) fn ping(ttl_tenths: u16, context: &[u8], out: &mut Vec<u8>) {
    debug_assert!(ttl_tenths <= TTL_TENTHS_MAX && context.len() <= CONTEXT_BYTES_MAX);
    frame("PING", &[&ttl_tenths.to_be_bytes(), context], out);
}

/// Appends the frame of a PONG, with the context of the PING it answers.
pub(crate) fn pong(context: &[u8], out: &mut Vec<u8>) {
    debug_assert!(context.len() <= CONTEXT_BYTES_MAX);
    frame("PONG", &[context], out);
}

/// Appends the frame of a SUBSCRIBE.
pub(crate) fn subscribe(topic: &[u8], out: &mut Vec<u8>) {
    frame("SUBSCRIBE", &[topic], out);
}

/// Appends the frame of a CANCEL.
pub(crate) fn cancel(topic: &[u8], out: &mut Vec<u8>) {
    frame("CANCEL", &[topic], out);
}

fn frame(name: &'static str, data: &[&[u8]], out: &mut Vec<u8>) {
    let body_bytes = 1 + name.len() + data.iter().map(|piece| piece.len()).sum::<usize>();
    let mut header = [0; HEADER_BYTES_MAX];
    let header_bytes = encode_command_header(body_bytes, &mut header);
    out.reserve(header_bytes + body_bytes);
    out.extend_from_slice(&header[..header_bytes]);
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    for piece in data {
        out.extend_from_slice(piece);
    }
}

/// The name and what is behind it, if there is a whole name.
fn split_name(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&name_bytes, rest) = body.split_first()?;
    let (name, data) = rest.split_at_checked(name_bytes.into())?;
    (!name.is_empty()).then_some((name, data))
}

/// Longest time to announce in a PING.
pub(crate) const TTL_TENTHS_MAX: u16 = 655;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame::Header;
    use super::*;

    /// The frame that `encode` appends, after checking that its header tells its size.
    fn written(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut frame = b"before".to_vec();
        encode(&mut frame);
        let frame = frame.split_off(6);
        let header = Header::parse(&frame).unwrap().unwrap();
        assert!(header.is_command());
        assert_eq!(header.header_bytes + header.body_bytes as usize, frame.len());
        frame
    }

    fn body(frame: &[u8]) -> &[u8] {
        &frame[Header::parse(frame).unwrap().unwrap().header_bytes..]
    }

    #[test]
    fn commands_are_written_as_rfc_37_says() {
        for (frame, expected) in [
            (written(|out| ready(b"", out)), &b"\x04\x06\x05READY"[..]),
            (written(|out| error("no", out)), b"\x04\x09\x05ERROR\x02no"),
            (written(|out| ping(300, b"", out)), b"\x04\x07\x04PING\x01\x2c"),
            (written(|out| ping(0, b"abc", out)), b"\x04\x0a\x04PING\0\0abc"),
            (written(|out| pong(b"abc", out)), b"\x04\x08\x04PONGabc"),
            (written(|out| subscribe(b"", out)), b"\x04\x0a\x09SUBSCRIBE"),
            (written(|out| subscribe(b"a", out)), b"\x04\x0b\x09SUBSCRIBEa"),
            (written(|out| cancel(b"a", out)), b"\x04\x08\x06CANCELa"),
        ] {
            assert_eq!(frame, expected);
        }
    }

    #[test]
    fn a_long_command_gets_a_long_header() {
        let frame = written(|out| subscribe(&[b'x'; 246], out));
        assert_eq!(frame[..9], [6, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(written(|out| subscribe(&[b'x'; 245], out))[..2], [4, 255]);
    }

    #[test]
    fn a_long_reason_is_cut_to_what_fits() {
        let frame = written(|out| error(&"x".repeat(300), out));
        assert_eq!(Command::parse(body(&frame)), Ok(Command::Error(&[b'x'; 255])));
    }

    #[test]
    fn commands_are_read() {
        let context = &[7; CONTEXT_BYTES_MAX];
        let ping = [b"\x04PING\xff\xff", &context[..]].concat();
        let pong = [b"\x04PONG", &context[..]].concat();
        for (body, command) in [
            (&b"\x05READY"[..], Command::Ready(b"")),
            (b"\x05READY\x01a\0\0\0\0", Command::Ready(b"\x01a\0\0\0\0")),
            (b"\x05ERROR\0", Command::Error(b"")),
            (b"\x05ERROR\x03no!", Command::Error(b"no!")),
            (b"\x05ERROR\x02no!", Command::Error(b"no")),
            (
                b"\x04PING\0\x05",
                Command::Ping {
                    ttl_tenths: 5,
                    context: b"",
                },
            ),
            (
                &ping,
                Command::Ping {
                    ttl_tenths: 65535,
                    context,
                },
            ),
            (b"\x04PONG", Command::Pong { context: b"" }),
            (&pong, Command::Pong { context }),
            (b"\x09SUBSCRIBE", Command::Subscribe(b"")),
            (b"\x09SUBSCRIBE\0\xff", Command::Subscribe(b"\0\xff")),
            (b"\x06CANCELab", Command::Cancel(b"ab")),
            (b"\x04JOINgroup", Command::Unknown { name: b"JOIN" }),
            (b"\x04ping\0\0", Command::Unknown { name: b"ping" }),
            (b"\x01\0", Command::Unknown { name: b"\0" }),
        ] {
            assert_eq!(Command::parse(body), Ok(command), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn commands_of_wrong_length_are_malformed() {
        let malformed = |name, bytes| ProtocolError::MalformedCommand { name, bytes };
        for (body, error) in [
            (vec![], ProtocolError::MalformedCommandName { bytes: 0 }),
            (b"\0".to_vec(), ProtocolError::MalformedCommandName { bytes: 1 }),
            (
                b"\0READY".to_vec(),
                ProtocolError::MalformedCommandName { bytes: 6 },
            ),
            (
                b"\x05REA".to_vec(),
                ProtocolError::MalformedCommandName { bytes: 4 },
            ),
            (b"\xff".to_vec(), ProtocolError::MalformedCommandName { bytes: 1 }),
            (b"\x05ERROR".to_vec(), malformed("ERROR", 6)),
            (b"\x05ERROR\x03no".to_vec(), malformed("ERROR", 9)),
            (b"\x04PING".to_vec(), malformed("PING", 5)),
            (b"\x04PING\0".to_vec(), malformed("PING", 6)),
            ([b"\x04PING\0\0", &[7; 17][..]].concat(), malformed("PING", 24)),
            ([b"\x04PONG", &[7; 17][..]].concat(), malformed("PONG", 22)),
        ] {
            assert_eq!(Command::parse(&body), Err(error), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn an_unexpected_command_is_reported_by_its_name() {
        for (body, name) in [
            (&b"\x05READY"[..], "READY"),
            (b"\x04PING\0\0", "PING"),
            (b"\x04PONG", "PONG"),
            (b"\x09SUBSCRIBE", "SUBSCRIBE"),
            (b"\x06CANCEL", "CANCEL"),
            (b"\x05HELLO", "HELLO"),
            (b"\x02\x1b\n", "\\x1b\\n"),
        ] {
            let expected = ProtocolError::UnexpectedCommand { name: name.into() };
            assert_eq!(Command::parse(body).unwrap().unexpected(), expected);
        }
        let refused = ProtocolError::PeerError {
            reason: "no\\n".into(),
        };
        assert_eq!(
            Command::parse(b"\x05ERROR\x03no\n").unwrap().unexpected(),
            refused
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            data in prop::collection::vec(any::<u8>(), 0..600),
            ttl_tenths in 0..=TTL_TENTHS_MAX,
        ) {
            let context = &data[..data.len().min(CONTEXT_BYTES_MAX)];
            let text = "x".repeat(data.len() % 256);
            for (frame, command) in [
                (written(|out| ready(&data, out)), Command::Ready(&data)),
                (written(|out| error(&text, out)), Command::Error(text.as_bytes())),
                (written(|out| ping(ttl_tenths, context, out)), Command::Ping { ttl_tenths, context }),
                (written(|out| pong(context, out)), Command::Pong { context }),
                (written(|out| subscribe(&data, out)), Command::Subscribe(&data)),
                (written(|out| cancel(&data, out)), Command::Cancel(&data)),
            ] {
                prop_assert_eq!(Command::parse(body(&frame)), Ok(command));
            }
        }
    }
}
