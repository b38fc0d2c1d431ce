//! What a client says, with the mechanism NULL.

use std::fmt::Write as _;

use zerowire::SocketType;

use super::{COMMAND, GREETING_BYTES};

/// The greeting up to the version.
pub const VERSION_END: usize = 12;

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
pub(super) fn command(name: &str, data: &[u8]) -> Vec<u8> {
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
const TYPES: [SocketType; 11] = [
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
    use super::*;

    #[test]
    fn partners_are_named_as_commands() {
        assert_eq!(partners(SocketType::Pub), "sub or xsub");
        assert_eq!(partners(SocketType::Router), "req or dealer or router");
    }
}
