//! Entry points for the fuzz targets in `fuzz/` and for randomised tests; not part of the crate otherwise.
//!
//! Each takes any bytes as if a peer had sent them, gives them to a parser whole and in pieces, and panics if that makes
//! a difference or if what was read cannot be written again.

use bytes::Bytes;

use crate::engine::handshake::{Handshake, Local, Peer};
use crate::engine::traffic::{Decoder, Item, Limits};
use crate::wire::command::{self, Command};
use crate::wire::error::ProtocolError;
use crate::wire::frame::Header;
use crate::wire::properties::{self, Properties};
use crate::wire::socket_type::SocketType;

/// Takes `data` as all that a peer sends from the start of a connection.
pub fn handshake(data: &[u8]) {
    for socket_type in [SocketType::Dealer, SocketType::Pull, SocketType::XPub] {
        let whole = shake_hands(socket_type, [data]);
        assert_eq!(shake_hands(socket_type, data.chunks(1)), whole);
        // Two pieces, cut at a place that depends on the data.
        let sum: usize = data.iter().map(|byte| usize::from(*byte)).sum();
        let (first, second) = data.split_at(sum % (data.len() + 1));
        assert_eq!(shake_hands(socket_type, [first, second]), whole);
    }
}

/// Takes `data` as what a peer sends after the handshake.
pub fn traffic(data: &[u8]) {
    let mut whole = Vec::new();
    let mut decoder = Decoder::new(LIMITS);
    let mut at = 0;
    let end = loop {
        match decoder.next(&data[at..]) {
            Ok(Item::Partial { header }) => break Ok(header),
            Ok(item) => {
                whole.push(item);
                at += size(item);
            }
            Err(error) => break Err(error),
        }
    };
    assert_eq!(walk_bytewise(data), (whole.clone(), end.clone()));
    assert_eq!(walk_apart(data), (whole.clone(), end));

    let mut at = 0;
    for item in whole {
        if let Item::Command {
            header_bytes,
            body_bytes,
        } = item
        {
            command(&data[at + header_bytes..][..body_bytes]);
        }
        at += size(item);
    }
}

/// Takes `data` as the body of a command.
pub fn command(data: &[u8]) {
    let Ok(command) = Command::parse(data) else {
        return;
    };
    let mut frame = Vec::new();
    match command {
        Command::Ready(list) => {
            command::ready(list, &mut frame);
            if let Ok(properties) = Properties::parse(list) {
                let mut again = Vec::new();
                properties
                    .iter()
                    .for_each(|(name, value)| properties::encode(name, value, &mut again));
                assert_eq!(again, list);
            }
        }
        // What may follow the reason, a longer time than we ask for, and what we do not know are not written again.
        Command::Error(_) | Command::Unknown { .. } => return,
        Command::Ping { ttl_tenths, .. } if ttl_tenths > command::TTL_TENTHS_MAX => return,
        Command::Ping { ttl_tenths, context } => command::ping(ttl_tenths, context, &mut frame),
        Command::Pong { context } => command::pong(context, &mut frame),
        Command::Subscribe(topic) => command::subscribe(topic, &mut frame),
        Command::Cancel(topic) => command::cancel(topic, &mut frame),
    }
    let header = Header::parse(&frame)
        .ok()
        .flatten()
        .expect("the encoders write whole headers");
    assert!(header.is_command());
    assert_eq!(&frame[header.header_bytes..], data);
}

type Introduction = (Result<(usize, Option<Peer>), ProtocolError>, Vec<u8>);

fn shake_hands<'a>(socket_type: SocketType, pieces: impl IntoIterator<Item = &'a [u8]>) -> Introduction {
    let identity = Bytes::from_static(b"fuzz");
    let mut handshake = Handshake::new(Local {
        socket_type,
        identity,
        as_server: false,
    });
    let mut total = 0;
    let mut peer = None;
    for piece in pieces {
        match handshake.receive(piece) {
            Ok(progress) => {
                total += progress.consumed;
                peer = peer.or(progress.peer);
                assert!(peer.is_some() || progress.consumed == piece.len());
            }
            Err(error) => return (Err(error), std::mem::take(handshake.output())),
        }
    }
    (Ok((total, peer)), std::mem::take(handshake.output()))
}

type Walk = (Vec<Item>, Result<Option<Header>, ProtocolError>);

/// Shows the decoder each frame again and again, with one byte more each time.
fn walk_bytewise(data: &[u8]) -> Walk {
    let mut decoder = Decoder::new(LIMITS);
    let mut items = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        match decoder.next(&data[start..end]) {
            Ok(Item::Partial { header }) if end == data.len() => return (items, Ok(header)),
            Ok(Item::Partial { .. }) => end += 1,
            Ok(item) => {
                items.push(item);
                start += size(item);
                assert_eq!(start, end);
            }
            Err(error) => return (items, Err(error)),
        }
    }
}

/// Shows the decoder no more than the header of each frame, and counts the frame as one put together elsewhere.
fn walk_apart(data: &[u8]) -> Walk {
    let mut decoder = Decoder::new(LIMITS);
    let mut items = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        let item = match decoder.next(&data[start..end]) {
            Ok(Item::Partial { header: Some(header) }) => {
                let Header {
                    header_bytes,
                    body_bytes,
                    ..
                } = header;
                let body_bytes = body_bytes as usize;
                if body_bytes > data.len() - end {
                    return (items, Ok(Some(header)));
                }
                decoder.large_frame_done(header);
                if header.is_command() {
                    Item::Command {
                        header_bytes,
                        body_bytes,
                    }
                } else {
                    Item::Frame {
                        header_bytes,
                        body_bytes,
                        last: header.is_last(),
                    }
                }
            }
            Ok(Item::Partial { header: None }) if end == data.len() => return (items, Ok(None)),
            Ok(Item::Partial { header: None }) => {
                end += 1;
                continue;
            }
            // A frame without a body is whole with its header.
            Ok(item) => item,
            Err(error) => return (items, Err(error)),
        };
        items.push(item);
        start += size(item);
        end = start;
    }
}

/// Bytes of a whole frame.
fn size(item: Item) -> usize {
    match item {
        Item::Frame {
            header_bytes,
            body_bytes,
            ..
        }
        | Item::Command {
            header_bytes,
            body_bytes,
        } => header_bytes + body_bytes,
        Item::Partial { .. } => 0,
    }
}

/// Small enough that short inputs reach them.
const LIMITS: Limits = Limits {
    message_bytes_max: 1000,
    message_parts_max: 8,
    command_bytes_max: 64,
};

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::{HEADER_BYTES_MAX, encode_header};
    use crate::wire::greeting;

    fn greeting() -> Vec<u8> {
        greeting::encode("NULL", false).to_vec()
    }

    fn introduction() -> Vec<u8> {
        let mut list = Vec::new();
        properties::encode("Socket-Type", b"REP", &mut list);
        properties::encode("Identity", b"x", &mut list);
        let mut bytes = greeting();
        command::ready(&list, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn any_bytes_are_shaken_hands_with_alike_in_all_pieces(bytes in vec(any::<u8>(), 0..200)) {
            handshake(&bytes);
            handshake(&[greeting(), bytes].concat());
        }

        #[test]
        fn a_changed_byte_is_judged_alike_in_all_pieces(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = introduction();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            handshake(&bytes);
        }

        #[test]
        fn any_bytes_are_walked_alike_in_all_pieces(bytes in vec(any::<u8>(), 0..200)) {
            traffic(&bytes);
        }

        #[test]
        fn any_frames_are_walked_alike_in_all_pieces(
            frames in vec((any::<bool>(), any::<bool>(), vec(any::<u8>(), 0..300)), 0..12)
        ) {
            let mut bytes = Vec::new();
            for (is_command, more, body) in frames {
                if is_command {
                    command::subscribe(&body[..body.len().min(40)], &mut bytes);
                } else {
                    let mut header = [0; HEADER_BYTES_MAX];
                    let header_bytes = encode_header(more, body.len(), &mut header);
                    bytes.extend_from_slice(&header[..header_bytes]);
                    bytes.extend(body);
                }
            }
            traffic(&bytes);
        }

        #[test]
        fn a_command_that_is_read_can_be_written_again(
            name in prop::sample::select(vec!["READY", "ERROR", "PING", "PONG", "SUBSCRIBE", "CANCEL", "JOIN"]),
            data in vec(any::<u8>(), 0..40),
        ) {
            command(&data);
            command(&[&[name.len() as u8], name.as_bytes(), &data].concat());
        }
    }
}
