//! What is read of a connection, and how it is shown.

use std::fmt;

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

/// So much of a part of a message is kept.
pub(super) const PART_BYTES_KEPT: u64 = 64;

impl Greeting {
    pub(super) fn parse(bytes: &[u8]) -> Greeting {
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
    /// None if it has no name.
    pub(super) fn parse(body: &[u8], size: u64) -> Option<Command> {
        let name_bytes = body.first().map_or(0, |size| usize::from(*size));
        match body.get(1..=name_bytes) {
            Some(name) if !name.is_empty() => Some(Command {
                name: printable(name),
                data: body[1 + name_bytes..].to_vec(),
                size,
            }),
            _ => None,
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

pub(super) fn shortened(bytes: &[u8]) -> String {
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

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use zerowire::SocketType;

    use super::*;
    use crate::zmtp::client::ready;

    #[test]
    fn properties_end_where_they_are_cut() {
        let whole = ready(SocketType::Sub);
        for end in 0..whole.len() - 8 {
            let body = &whole[2..2 + end];
            if let Some(command) = Command::parse(body, 0) {
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

    proptest! {
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
}
