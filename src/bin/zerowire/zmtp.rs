//! A reader of ZMTP, for looking on: it follows one direction of a connection, whatever that holds, in little memory.
//!
//! ```text
//!   greeting, 64 bytes     ff │ 8 padding │ 7f │ major │ minor │ mechanism, 20 │ as-server │ 31 zeros
//!   frame                  flags │ size, 1 byte or 8 │ body          flags: 1 MORE, 2 long size, 4 command
//!   body of a command      name size, 1 byte │ name │ data
//! ```
//!
//! It belongs to the tools that diagnose; connections of sockets are read by the library, which is stricter.

use std::fmt::{self, Write as _};

use zerowire::SocketType;

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

/// Something that was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Greeting(Greeting),
    Command(Command),
    Part(Part),
}

/// What a side says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    pub major: u8,
    pub minor: u8,
    /// In printable characters.
    pub mechanism: String,
    pub as_server: bool,
}

/// A command, as far as it was kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// In printable characters.
    pub name: String,
    pub data: Vec<u8>,
    /// Bytes of the body, which may be more than were kept.
    pub size: u64,
}

/// A part of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    pub size: u64,
    /// Whether more parts of the message follow.
    pub more: bool,
    /// The first bytes.
    pub start: Vec<u8>,
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

pub const GREETING_BYTES: usize = 64;
/// The greeting up to the version.
pub const VERSION_END: usize = 12;
const SIGNATURE_BYTES: usize = 10;
/// Enough to recognise what else it is.
pub const FIRST_BYTES_KEPT: usize = 64;
/// So much of a command is kept; what a peer says of itself is far shorter.
const COMMAND_BYTES_KEPT: u64 = 64 * 1024;
/// So much of a part of a message is kept.
const PART_BYTES_KEPT: u64 = 64;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

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
                        true => Item::Command(Command::parse(&body, size)?),
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

impl Greeting {
    fn parse(bytes: &[u8]) -> Greeting {
        let mechanism = &bytes[12..32];
        let end = mechanism
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        Greeting {
            major: bytes[10],
            minor: bytes[11],
            mechanism: printable(&mechanism[..end]),
            as_server: bytes[32] != 0,
        }
    }
}

impl Command {
    fn parse(body: &[u8], size: u64) -> Result<Command, Fault> {
        let name_bytes = body.first().map_or(0, |size| usize::from(*size));
        match body.get(1..=name_bytes) {
            Some(name) if !name.is_empty() => Ok(Command {
                name: printable(name),
                data: body[1 + name_bytes..].to_vec(),
                size,
            }),
            _ => Err(Fault::NoName),
        }
    }

    /// The properties that the data begins with, from `skipped` on, as far as they are whole.
    pub fn properties(&self, skipped: usize) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        let mut rest = self.data.get(skipped..).unwrap_or_default();
        while let Some((property, after)) = property(rest) {
            found.push(property);
            rest = after;
        }
        found
    }

    /// What a READY says the type of the socket is.
    pub fn socket_type(&self) -> Option<String> {
        let mut properties = self.properties(0).into_iter();
        let (_, value) = properties.find(|(name, _)| name.eq_ignore_ascii_case("Socket-Type"))?;
        Some(printable(&value))
    }

    /// What an ERROR says.
    pub fn reason(&self) -> String {
        match self.data.split_first() {
            Some((size, rest)) => printable(&rest[..rest.len().min(usize::from(*size))]),
            None => String::new(),
        }
    }
}

type Property = (String, Vec<u8>);

fn property(bytes: &[u8]) -> Option<(Property, &[u8])> {
    let (name_bytes, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*name_bytes))?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*size)).ok()?)?;
    Some(((printable(name), value.to_vec()), rest))
}

impl fmt::Display for Greeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Greeting {
            major,
            minor,
            mechanism,
            ..
        } = self;
        write!(f, "ZMTP {major}.{minor}, mechanism {mechanism}")?;
        match self.as_server {
            true => f.write_str(", as server"),
            false => Ok(()),
        }
    }
}

/// As a line of a trace. Passwords are not shown.
impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Greeting(greeting) => write!(f, "greeting {greeting}"),
            Item::Command(command) => command.fmt(f),
            Item::Part(part) => {
                let more = if part.more { ", more follow" } else { "" };
                let cut = if part.size > part.start.len() as u64 {
                    "…"
                } else {
                    ""
                };
                write!(
                    f,
                    "part of {} bytes{more}: `{}{cut}`",
                    part.size,
                    printable(&part.start)
                )
            }
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let data = self.data.as_slice();
        match (self.name.as_str(), data) {
            ("READY", _) => write_properties(&self.properties(0), f),
            // Of PLAIN only; the one of CURVE is encrypted, and longer than any name.
            ("HELLO", [name_bytes, rest @ ..])
                if data.len() < 200 && usize::from(*name_bytes) < rest.len() =>
            {
                write!(f, ", user `{}`", printable(&rest[..usize::from(*name_bytes)]))
            }
            ("INITIATE", _) if !self.properties(0).is_empty() => write_properties(&self.properties(0), f),
            ("ERROR", _) => write!(f, ", reason `{}`", self.reason()),
            ("SUBSCRIBE" | "CANCEL", _) => write!(f, ", topic `{}`", shortened(data)),
            ("PING", [high, low, context @ ..]) => {
                let tenths = u16::from_be_bytes([*high, *low]);
                write!(
                    f,
                    ", good for {}.{} s, context `{}`",
                    tenths / 10,
                    tenths % 10,
                    shortened(context)
                )
            }
            ("PONG", context) => write!(f, ", context `{}`", shortened(context)),
            _ => write!(f, ", command of {} bytes", self.size),
        }
    }
}

fn write_properties(properties: &[Property], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (name, value) in properties {
        write!(f, ", {name} `{}`", shortened(value))?;
    }
    Ok(())
}

fn shortened(bytes: &[u8]) -> String {
    let kept = PART_BYTES_KEPT as usize;
    match bytes.get(..kept) {
        Some(start) if bytes.len() > kept => format!("{}…", printable(start)),
        _ => printable(bytes),
    }
}

/// The bytes as they can be shown on a terminal.
pub fn printable(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
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

/// The greeting of a client that speaks ZMTP 3.1 with the mechanism NULL.
pub fn greeting() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    greeting[0] = 0xff;
    greeting[9..12].copy_from_slice(&[0x7f, 3, 1]);
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

/// The frame of a READY of a socket of this type.
pub fn ready(socket_type: SocketType) -> Vec<u8> {
    let mut data = Vec::new();
    let value = socket_type.to_string();
    for (name, value) in [("Socket-Type", value.as_str()), ("Identity", "")] {
        data.push(name.len() as u8);
        data.extend_from_slice(name.as_bytes());
        data.extend_from_slice(&(value.len() as u32).to_be_bytes());
        data.extend_from_slice(value.as_bytes());
    }
    command("READY", &data)
}

/// The frame of a PING with up to 16 bytes of context.
pub fn ping(context: &[u8]) -> Vec<u8> {
    command("PING", &[&[0, 0], context].concat())
}

/// The frame of a short command.
fn command(name: &str, data: &[u8]) -> Vec<u8> {
    let size = 1 + name.len() + data.len();
    debug_assert!(size < 256, "a short frame");
    [&[COMMAND, size as u8, name.len() as u8], name.as_bytes(), data].concat()
}

/// The names of commands for a socket that goes with one of this type, as `sub or xsub`.
pub fn partners(of: SocketType) -> String {
    let mut names = String::new();
    for partner in TYPES.into_iter().filter(|partner| partner.accepts(of)) {
        if !names.is_empty() {
            names.push_str(" or ");
        }
        let _ = write!(names, "{}", partner.to_string().to_ascii_lowercase());
    }
    names
}

/// All types, the more usual partners first.
pub const TYPES: [SocketType; 11] = [
    SocketType::Push,
    SocketType::Pull,
    SocketType::Pub,
    SocketType::Sub,
    SocketType::Req,
    SocketType::Rep,
    SocketType::Dealer,
    SocketType::Router,
    SocketType::Pair,
    SocketType::XPub,
    SocketType::XSub,
];

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

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
    fn properties_end_where_they_are_cut() {
        let whole = ready(SocketType::Sub);
        for end in 0..whole.len() - 8 {
            let body = &whole[2..2 + end];
            if let Ok(command) = Command::parse(body, 0) {
                assert!(command.properties(0).len() <= 2);
            }
        }
        let huge = Command {
            name: "READY".into(),
            data: b"\x01A\xff\xff\xff\xffrest".to_vec(),
            size: 0,
        };
        assert!(huge.properties(0).is_empty() && huge.properties(99).is_empty());
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

        #[test]
        fn any_command_can_be_shown(
            name in prop_oneof![Just("READY"), Just("HELLO"), Just("INITIATE"), Just("ERROR"), Just("PING"), Just("PONG")],
            data in vec(any::<u8>(), 0..100),
        ) {
            let command = Command { name: name.into(), size: data.len() as u64, data };
            prop_assert!(command.to_string().starts_with(name));
            command.socket_type();
        }
    }

    #[test]
    fn partners_are_named_as_commands() {
        assert_eq!(partners(SocketType::Pub), "sub or xsub");
        assert_eq!(partners(SocketType::Router), "req or dealer or router");
    }
}
