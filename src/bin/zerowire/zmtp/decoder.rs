//! Follows one direction of a connection, whatever that holds.

use std::fmt;

use super::item::{Command, Greeting, Item, PART_BYTES_KEPT, Part, shortened};
use super::{COMMAND, GREETING_BYTES, LONG, MORE};

/// Follows one direction of a connection.
#[derive(Default)]
pub struct Decoder {
    state: State,
    /// What of a greeting, a header or a body has come and is kept; at most [`COMMAND_BYTES_KEPT`].
    kept: Vec<u8>,
}

#[derive(Default)]
enum State {
    #[default]
    Greeting,
    Header,
    Body {
        flags: u8,
        size: u64,
        /// So much of it has not come yet.
        left: u64,
    },
    /// It could not be understood from some point on.
    Lost,
}

/// Why a direction cannot be followed further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It begins with these bytes, at most [`FIRST_BYTES_KEPT`].
    NotZmtp { first: Vec<u8> },
    /// It says that it speaks this version, which is laid out differently.
    OldVersion { major: u8 },
    /// A frame has flags without a meaning.
    Flags(u8),
    /// A frame announces a size that no frame may have.
    Size(u64),
    /// A command has no name.
    NoName,
}

const SIGNATURE_BYTES: usize = 10;
/// Enough to recognise what else it is.
pub const FIRST_BYTES_KEPT: usize = 64;
/// So much of a command is kept; what a peer says of itself is far shorter.
const COMMAND_BYTES_KEPT: u64 = 64 * 1024;

impl Decoder {
    /// Takes what has come and appends what it makes to `items`. After a fault, further bytes are ignored.
    pub fn feed(&mut self, mut bytes: &[u8], items: &mut Vec<Item>) -> Result<(), Fault> {
        let result = self.follow(&mut bytes, items);
        if result.is_err() {
            self.state = State::Lost;
            self.kept = Vec::new();
        }
        result
    }

    /// Whether a greeting has begun, and not ended.
    pub fn is_amid_greeting(&self) -> bool {
        matches!(self.state, State::Greeting) && self.kept.len() >= SIGNATURE_BYTES
    }

    fn follow(&mut self, bytes: &mut &[u8], items: &mut Vec<Item>) -> Result<(), Fault> {
        loop {
            match self.state {
                State::Greeting => {
                    let before = self.kept.len();
                    self.keep(GREETING_BYTES - before, bytes);
                    check_greeting(&self.kept, bytes)?;
                    if self.kept.len() < GREETING_BYTES {
                        return Ok(());
                    }
                    items.push(Item::Greeting(Greeting::parse(&self.kept)));
                    self.begin(State::Header);
                }
                State::Header => {
                    let wanted = 1 + if self.flags() & LONG == 0 { 1 } else { 8 };
                    // The flags come first, and say how long the header is.
                    let step = if self.kept.is_empty() {
                        1
                    } else {
                        wanted - self.kept.len()
                    };
                    if self.keep(step, bytes) < step {
                        return Ok(());
                    }
                    let flags = self.flags();
                    if flags & !(MORE | LONG | COMMAND) != 0 {
                        return Err(Fault::Flags(flags));
                    }
                    let size = match *self.kept.as_slice() {
                        [_, size] if flags & LONG == 0 => u64::from(size),
                        [_, a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
                        _ => continue,
                    };
                    if size > i64::MAX as u64 {
                        return Err(Fault::Size(size));
                    }
                    self.begin(State::Body {
                        flags,
                        size,
                        left: size,
                    });
                }
                State::Body { flags, size, left } => {
                    let is_command = flags & COMMAND != 0;
                    let come = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let limit = if is_command {
                        COMMAND_BYTES_KEPT
                    } else {
                        PART_BYTES_KEPT
                    };
                    let room = (limit as usize).saturating_sub(self.kept.len()).min(come);
                    self.kept.extend_from_slice(&bytes[..room]);
                    *bytes = &bytes[come..];
                    let left = left - come as u64;
                    if left > 0 {
                        self.state = State::Body { flags, size, left };
                        return Ok(());
                    }
                    let body = std::mem::take(&mut self.kept);
                    items.push(match is_command {
                        true => Item::Command(Command::parse(&body, size).ok_or(Fault::NoName)?),
                        false => Item::Part(Part {
                            size,
                            more: flags & MORE != 0,
                            start: body,
                        }),
                    });
                    self.begin(State::Header);
                }
                State::Lost => return Ok(()),
            }
        }
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.kept.clear();
    }

    fn flags(&self) -> u8 {
        self.kept.first().copied().unwrap_or(0)
    }

    /// Keeps up to `count` of the bytes, and says how many there were.
    fn keep(&mut self, count: usize, bytes: &mut &[u8]) -> usize {
        let (taken, rest) = bytes.split_at(count.min(bytes.len()));
        self.kept.extend_from_slice(taken);
        *bytes = rest;
        taken.len()
    }
}

/// Whether this can be the start of a greeting that is understood here. `rest` is what has come beyond it.
fn check_greeting(bytes: &[u8], rest: &[u8]) -> Result<(), Fault> {
    let is_signature =
        bytes.first().is_none_or(|byte| *byte == 0xff) && bytes.get(9).is_none_or(|byte| *byte == 0x7f);
    if !is_signature {
        let first = bytes.iter().chain(rest).take(FIRST_BYTES_KEPT).copied().collect();
        return Err(Fault::NotZmtp { first });
    }
    match bytes.get(10) {
        Some(&major) if major < 3 => Err(Fault::OldVersion { major }),
        _ => Ok(()),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotZmtp { first } => write!(f, "not ZMTP: begins with `{}`", shortened(first)),
            Fault::OldVersion { major: 0 } => f.write_str("ZMTP 1.0, which is not read here"),
            Fault::OldVersion { .. } => f.write_str("ZMTP 2.0, which is not read here"),
            Fault::Flags(flags) => write!(f, "frame with flags {flags:#04x}, which mean nothing"),
            Fault::Size(size) => write!(f, "frame that announces {size} bytes"),
            Fault::NoName => f.write_str("command without a name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use zerowire::SocketType;

    use super::*;
    use crate::zmtp::client::{command, greeting, ping, ready};

    fn decode(bytes: &[u8], piece: usize) -> (Vec<Item>, Result<(), Fault>) {
        let mut decoder = Decoder::default();
        let mut items = Vec::new();
        for piece in bytes.chunks(piece) {
            let result = decoder.feed(piece, &mut items);
            if result.is_err() {
                return (items, result);
            }
        }
        (items, Ok(()))
    }

    fn shown(bytes: &[u8]) -> Vec<String> {
        let (items, result) = decode(bytes, bytes.len().max(1));
        for piece in 1..bytes.len() {
            assert_eq!(
                decode(bytes, piece),
                decode(bytes, bytes.len()),
                "pieces of {piece}"
            );
        }
        let fault = result.err().map(|fault| fault.to_string());
        items.iter().map(Item::to_string).chain(fault).collect()
    }

    #[test]
    fn a_conversation_is_shown_line_by_line() {
        let mut bytes = greeting().to_vec();
        bytes.extend(ready(SocketType::Push));
        bytes.extend(ping(b"ab"));
        bytes.extend(command("SUBSCRIBE", b"news"));
        bytes.extend(command("ERROR", b"\x04gone beyond"));
        bytes.extend(command("HELLO", b"\x03ann\x06secret"));
        bytes.extend([MORE, 2, b'h', b'i']);
        bytes.extend([LONG, 0, 0, 0, 0, 0, 0, 0, 100]);
        bytes.extend([b'x'; 100]);
        bytes.extend([0, 0]);
        assert_eq!(
            shown(&bytes),
            [
                "greeting ZMTP 3.1, mechanism NULL",
                "READY, Socket-Type `PUSH`, Identity ``",
                "PING, good for 0.0 s, context `ab`",
                "SUBSCRIBE, topic `news`",
                "ERROR, reason `gone`",
                "HELLO, user `ann`",
                "part of 2 bytes, more follow: `hi`",
                &format!("part of 100 bytes: `{}…`", "x".repeat(64)),
                "part of 0 bytes: ``",
            ]
        );
    }

    #[test]
    fn what_is_not_zmtp_is_named_as_soon_as_it_shows() {
        assert_eq!(
            decode(b"HTTP/1.1 400", 12).1,
            Err(Fault::NotZmtp {
                first: b"HTTP/1.1 400".to_vec()
            })
        );
        assert_eq!(
            decode(b"\x01\x00", 2).1,
            Err(Fault::NotZmtp { first: vec![1, 0] })
        );
        let mut old = greeting();
        old[10] = 1;
        assert_eq!(decode(&old[..11], 1).1, Err(Fault::OldVersion { major: 1 }));
        let mut unsigned = greeting();
        unsigned[9] = 0;
        assert!(matches!(
            decode(&unsigned[..10], 10).1,
            Err(Fault::NotZmtp { .. })
        ));
    }

    #[test]
    fn faulty_frames_are_named() {
        let after_greeting = |bytes: &[u8]| decode(&[&greeting(), bytes].concat(), 1).1;
        assert_eq!(after_greeting(&[8, 0]), Err(Fault::Flags(8)));
        assert_eq!(
            after_greeting(&[[LONG].as_slice(), &[255; 8]].concat()),
            Err(Fault::Size(u64::MAX))
        );
        for body in [&[COMMAND, 0][..], &[COMMAND, 1, 0], &[COMMAND, 2, 9, b'x']] {
            assert_eq!(after_greeting(body), Err(Fault::NoName), "{body:?}");
        }
    }

    #[test]
    fn little_is_kept_of_what_is_large() {
        let mut decoder = Decoder::default();
        let mut items = Vec::new();
        decoder.feed(&greeting(), &mut items).unwrap();
        for flags in [LONG, LONG | COMMAND] {
            decoder
                .feed(&[flags, 0, 0, 0, 0, 16, 0, 0, 0], &mut items)
                .unwrap();
            for _ in 0..4096 {
                decoder.feed(&[1; 65_536], &mut items).unwrap();
                assert!(decoder.kept.len() as u64 <= COMMAND_BYTES_KEPT);
            }
        }
        assert_eq!(items.len(), 3);
    }

    #[test]
    fn after_a_fault_nothing_is_read() {
        let mut decoder = Decoder::default();
        let mut items = Vec::new();
        assert!(decoder.feed(b"GET", &mut items).is_err());
        assert_eq!(decoder.feed(&greeting(), &mut items), Ok(()));
        assert!(items.is_empty() && decoder.kept.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_the_same_wherever_they_are_cut(
            bytes in vec(any::<u8>(), 0..300), greets: bool, piece in 1..64_usize,
        ) {
            let bytes = if greets { [&greeting()[..], &bytes].concat() } else { bytes };
            let (whole, cut) = (decode(&bytes, bytes.len().max(1)), decode(&bytes, piece));
            // Of what is not ZMTP, the first bytes are shown as far as they have come.
            if !matches!(whole.1, Err(Fault::NotZmtp { .. })) {
                prop_assert_eq!(&whole, &cut);
            }
            prop_assert_eq!(whole.1.is_err(), cut.1.is_err());
            for item in whole.0 {
                prop_assert!(item.to_string().is_ascii() || item.to_string().contains('…'));
            }
        }
    }
}
