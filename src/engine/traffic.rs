//! The frames after the handshake.

use crate::wire::error::ProtocolError;
use crate::wire::frame::{Header, MORE};

/// What a peer may send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Largest sum of the parts of one message.
    pub(crate) message_bytes_max: u64,
    /// Most parts of one message; at least 1.
    pub(crate) message_parts_max: u32,
    /// Largest body of a command.
    pub(crate) command_bytes_max: u64,
}

/// What is at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Item {
    /// One part of a message, all there.
    Frame {
        header_bytes: usize,
        body_bytes: usize,
        /// Whether the message ends with it.
        last: bool,
    },
    /// A command, all there. Commands may come between the parts of a message and do not belong to it.
    Command { header_bytes: usize, body_bytes: usize },
    /// A frame that is not all there. With a header, its size is known and within the limits.
    Partial { header: Option<Header> },
}

/// Walks the frames that are received, and keeps the size of the message under way.
///
/// It keeps no bytes: the caller shows it the same frame again when there is more of it, or assembles a large one
/// elsewhere and says so with [`large_frame_done`](Self::large_frame_done).
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: Limits,
    /// Sum of the parts of the message under way; at most `limits.message_bytes_max`.
    message_bytes: u64,
    /// Parts of the message under way; below `limits.message_parts_max`, as one more has been announced.
    message_parts: u32,
}

impl Decoder {
    pub(crate) fn new(limits: Limits) -> Decoder {
        debug_assert!(limits.message_parts_max > 0);
        Decoder {
            limits,
            message_bytes: 0,
            message_parts: 0,
        }
    }

    /// Looks at the frame that `bytes` start with. If it is all there, the next call is for what is behind it.
    ///
    /// What is over a limit is an error as soon as the header announces it, so that nobody makes room for it.
    #[inline]
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Item, ProtocolError> {
        let Some(header) = Header::parse(bytes)? else {
            return Ok(Item::Partial { header: None });
        };
        if header.is_command() {
            return self.command(header, bytes.len());
        }
        let message_bytes = self.message_bytes.saturating_add(header.body_bytes);
        // A frame with MORE announces one more part than there is.
        let announced = self.message_parts + u32::from(header.flags & MORE);
        if message_bytes > self.limits.message_bytes_max || announced >= self.limits.message_parts_max {
            return Err(self.refuse(message_bytes));
        }
        // The header has been read from `bytes`, so this does not wrap.
        if header.body_bytes > (bytes.len() - header.header_bytes) as u64 {
            return Ok(Item::Partial { header: Some(header) });
        }
        self.count(header);
        // Not cut off: so many bytes are in memory.
        let body_bytes = header.body_bytes as usize;
        Ok(Item::Frame {
            header_bytes: header.header_bytes,
            body_bytes,
            last: header.is_last(),
        })
    }

    /// Counts a frame that the caller has put together elsewhere, after [`next`](Self::next) gave its header with
    /// [`Item::Partial`]. The next call is for what is behind that frame.
    pub(crate) fn large_frame_done(&mut self, header: Header) {
        if !header.is_command() {
            self.count(header);
        }
        debug_assert!(self.message_bytes <= self.limits.message_bytes_max);
        debug_assert!(self.message_parts < self.limits.message_parts_max);
    }

    /// Whether parts of a message have come and its last one has not.
    pub(crate) fn in_message(&self) -> bool {
        self.message_parts > 0
    }

    #[inline]
    fn count(&mut self, header: Header) {
        if header.is_last() {
            self.message_bytes = 0;
            self.message_parts = 0;
        } else {
            // Saturating, because the limits may be the largest numbers there are.
            self.message_bytes = self.message_bytes.saturating_add(header.body_bytes);
            self.message_parts += 1;
        }
    }

    #[cold]
    fn command(&self, header: Header, available: usize) -> Result<Item, ProtocolError> {
        let Header {
            header_bytes,
            body_bytes,
            ..
        } = header;
        let limit = self.limits.command_bytes_max;
        if body_bytes > limit {
            return Err(ProtocolError::CommandTooLarge {
                bytes: body_bytes,
                limit,
            });
        }
        if body_bytes > (available - header_bytes) as u64 {
            return Ok(Item::Partial { header: Some(header) });
        }
        Ok(Item::Command {
            header_bytes,
            body_bytes: body_bytes as usize,
        })
    }

    #[cold]
    fn refuse(&self, message_bytes: u64) -> ProtocolError {
        let Limits {
            message_bytes_max,
            message_parts_max,
            ..
        } = self.limits;
        if message_bytes > message_bytes_max {
            ProtocolError::MessageTooLarge {
                bytes: message_bytes,
                limit: message_bytes_max,
            }
        } else {
            ProtocolError::TooManyParts {
                limit: message_parts_max,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::command;
    use crate::wire::frame::{BODY_BYTES_MAX, HEADER_BYTES_MAX, encode_header};

    const LIMITS: Limits = Limits {
        message_bytes_max: 1000,
        message_parts_max: 3,
        command_bytes_max: 64,
    };

    fn part(more: bool, body: &[u8]) -> Vec<u8> {
        let mut header = [0; HEADER_BYTES_MAX];
        let header_bytes = encode_header(more, body.len(), &mut header);
        [&header[..header_bytes], body].concat()
    }

    /// All items of some bytes, up to the first that is not whole.
    fn items(decoder: &mut Decoder, mut bytes: &[u8]) -> Result<Vec<Item>, ProtocolError> {
        let mut items = Vec::new();
        loop {
            let item = decoder.next(bytes)?;
            items.push(item);
            match item {
                Item::Frame {
                    header_bytes,
                    body_bytes,
                    ..
                }
                | Item::Command {
                    header_bytes,
                    body_bytes,
                } => {
                    bytes = &bytes[header_bytes + body_bytes..];
                }
                Item::Partial { .. } => return Ok(items),
            }
        }
    }

    const END: Item = Item::Partial { header: None };

    #[test]
    fn frames_are_found_one_behind_the_other() {
        let bytes = [part(false, b"one"), part(true, b""), part(false, &[7; 300])].concat();
        let mut decoder = Decoder::new(LIMITS);
        assert_eq!(
            items(&mut decoder, &bytes).unwrap(),
            [
                Item::Frame {
                    header_bytes: 2,
                    body_bytes: 3,
                    last: true
                },
                Item::Frame {
                    header_bytes: 2,
                    body_bytes: 0,
                    last: false
                },
                Item::Frame {
                    header_bytes: 9,
                    body_bytes: 300,
                    last: true
                },
                END,
            ]
        );
        assert!(!decoder.in_message());
    }

    #[test]
    fn commands_come_between_the_parts_of_a_message() {
        let mut bytes = part(true, b"a");
        command::ping(0, b"", &mut bytes);
        bytes.extend(part(true, b"b"));
        let mut decoder = Decoder::new(LIMITS);
        assert_eq!(
            items(&mut decoder, &bytes).unwrap(),
            [
                Item::Frame {
                    header_bytes: 2,
                    body_bytes: 1,
                    last: false
                },
                Item::Command {
                    header_bytes: 2,
                    body_bytes: 7
                },
                Item::Frame {
                    header_bytes: 2,
                    body_bytes: 1,
                    last: false
                },
                END,
            ]
        );
        assert!(decoder.in_message());
        assert_eq!(items(&mut decoder, &part(false, b"c")).unwrap().len(), 2);
        assert!(!decoder.in_message());
    }

    #[test]
    fn a_frame_is_looked_at_as_often_as_needed() {
        for frame in [part(true, &[1; 20]), part(true, &[1; 400])] {
            let mut decoder = Decoder::new(LIMITS);
            let header = Header::parse(&frame).unwrap();
            let header_bytes = header.unwrap().header_bytes;
            for end in 0..frame.len() {
                let header = header.filter(|_| end >= header_bytes);
                assert_eq!(
                    decoder.next(&frame[..end]),
                    Ok(Item::Partial { header }),
                    "{end} bytes"
                );
                assert!(!decoder.in_message());
            }
            let body_bytes = frame.len() - header_bytes;
            assert_eq!(
                decoder.next(&frame),
                Ok(Item::Frame {
                    header_bytes,
                    body_bytes,
                    last: false
                })
            );
            assert!(decoder.in_message());
        }
    }

    #[test]
    fn a_message_may_reach_its_limits_and_not_more() {
        let mut decoder = Decoder::new(LIMITS);
        for _ in 0..2 {
            let message = [part(true, &[1; 500]), part(true, b""), part(false, &[1; 500])].concat();
            assert_eq!(items(&mut decoder, &message).unwrap().len(), 4);
        }
        let too_large = ProtocolError::MessageTooLarge {
            bytes: 1001,
            limit: 1000,
        };
        let too_many = ProtocolError::TooManyParts { limit: 3 };
        for (bytes, error) in [
            (part(false, &[1; 1001]), &too_large),
            (
                [part(true, &[1; 500]), part(false, &[1; 501])].concat(),
                &too_large,
            ),
            (
                [part(true, b""), part(true, b""), part(true, b"")].concat(),
                &too_many,
            ),
        ] {
            assert_eq!(items(&mut Decoder::new(LIMITS), &bytes), Err(error.clone()));
        }
    }

    #[test]
    fn what_is_too_large_is_refused_by_its_header() {
        let huge = [&[2][..], &BODY_BYTES_MAX.to_be_bytes()].concat();
        let impossible = [&[2][..], &u64::MAX.to_be_bytes()].concat();
        for (bytes, error) in [
            (
                &huge[..],
                ProtocolError::MessageTooLarge {
                    bytes: BODY_BYTES_MAX,
                    limit: 1000,
                },
            ),
            (
                &impossible,
                ProtocolError::FrameTooLarge {
                    bytes: u64::MAX,
                    limit: BODY_BYTES_MAX,
                },
            ),
            (&[4, 65], ProtocolError::CommandTooLarge { bytes: 65, limit: 64 }),
            (&[8], ProtocolError::ReservedFlags { flags: 8 }),
            (&[5], ProtocolError::CommandWithMore { flags: 5 }),
        ] {
            assert_eq!(Decoder::new(LIMITS).next(bytes), Err(error));
        }
    }

    #[test]
    fn without_a_limit_sizes_do_not_overflow() {
        let limits = Limits {
            message_bytes_max: u64::MAX,
            message_parts_max: u32::MAX,
            ..LIMITS
        };
        let mut decoder = Decoder::new(limits);
        let bytes = [&[3][..], &BODY_BYTES_MAX.to_be_bytes()].concat();
        for parts in 1..5 {
            let Ok(Item::Partial { header: Some(header) }) = decoder.next(&bytes) else {
                panic!("the frame is not all there");
            };
            decoder.large_frame_done(header);
            assert_eq!(decoder.message_bytes, BODY_BYTES_MAX.saturating_mul(parts));
        }
    }

    #[test]
    fn one_part_is_the_least_a_message_may_be_limited_to() {
        let mut decoder = Decoder::new(Limits {
            message_parts_max: 1,
            ..LIMITS
        });
        assert!(decoder.next(&part(false, b"x")).is_ok());
        assert_eq!(
            decoder.next(&part(true, b"x")),
            Err(ProtocolError::TooManyParts { limit: 1 })
        );
    }

    #[test]
    fn a_frame_that_was_put_together_elsewhere_counts_like_any_other() {
        let frame = part(true, &[1; 600]);
        let mut decoder = Decoder::new(LIMITS);
        let Ok(Item::Partial { header: Some(header) }) = decoder.next(&frame[..20]) else {
            panic!("the frame is not all there");
        };
        decoder.large_frame_done(header);
        assert!(decoder.in_message());
        assert_eq!(
            decoder.next(&part(false, &[1; 401])[..9]),
            Err(ProtocolError::MessageTooLarge {
                bytes: 1001,
                limit: 1000
            })
        );
        let Ok(Item::Partial { header: Some(header) }) = decoder.next(&part(false, &[1; 400])[..9]) else {
            panic!("the frame is not all there");
        };
        decoder.large_frame_done(header);
        assert!(!decoder.in_message());
    }

    #[test]
    fn a_command_that_was_put_together_elsewhere_belongs_to_no_message() {
        let mut decoder = Decoder::new(LIMITS);
        assert!(decoder.next(&part(true, b"a")).is_ok());
        let Ok(Item::Partial { header: Some(header) }) = decoder.next(&[4, 10, 9]) else {
            panic!("the command is not all there");
        };
        decoder.large_frame_done(header);
        assert!(decoder.in_message());
    }
}
