//! The header of a frame: flags and size.
//!
//! ```text
//!   short   flags  size                          body of up to 255 bytes
//!   long    flags  size, 8 bytes, big endian     body of up to 2^63 - 1 bytes
//! ```

use super::error::ProtocolError;

/// Another part of the same message follows.
pub(crate) const MORE: u8 = 1;
/// The size has eight bytes instead of one.
pub(crate) const LONG: u8 = 2;
/// The body is a command, not a part of a message.
pub(crate) const COMMAND: u8 = 4;

/// Size of the longest header.
pub(crate) const HEADER_BYTES_MAX: usize = 9;

/// What the start of a frame says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// [`MORE`], [`LONG`] and [`COMMAND`]; never others, and never a command with MORE.
    pub(crate) flags: u8,
    /// Where the body starts: 2 or 9.
    pub(crate) header_bytes: usize,
    /// At most [`BODY_BYTES_MAX`].
    pub(crate) body_bytes: u64,
}

impl Header {
    /// Reads the header of the frame that starts with `bytes`; `None` means that not all of it is there.
    ///
    /// The receiver calls this for every frame, so it is one comparison for all that is wrong with flags, one for the
    /// form and one for the length.
    #[inline]
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, ProtocolError> {
        let [flags, rest @ ..] = bytes else {
            return Ok(None);
        };
        let flags = *flags;
        if flags > COMMAND | LONG || flags == COMMAND | MORE {
            return Err(refuse_flags(flags));
        }
        if flags & LONG == 0 {
            return Ok(rest.first().map(|&size| Header {
                flags,
                header_bytes: 2,
                body_bytes: size.into(),
            }));
        }
        let Some(size) = rest.first_chunk::<8>() else {
            return Ok(None);
        };
        let body_bytes = u64::from_be_bytes(*size);
        if body_bytes > BODY_BYTES_MAX {
            return Err(refuse_size(body_bytes));
        }
        Ok(Some(Header {
            flags,
            header_bytes: HEADER_BYTES_MAX,
            body_bytes,
        }))
    }

    /// Whether a message ends with this frame. Has no meaning for commands, which are no part of a message.
    #[inline]
    pub(crate) fn is_last(self) -> bool {
        self.flags & MORE == 0
    }

    #[inline]
    pub(crate) fn is_command(self) -> bool {
        self.flags & COMMAND != 0
    }
}

/// Writes the header of a part of a message, and returns its size. The form is the shortest one possible.
#[inline]
pub(crate) fn encode_header(more: bool, body_bytes: usize, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
    encode(if more { MORE } else { 0 }, body_bytes, out)
}

/// Writes the header of a command, and returns its size.
#[inline]
pub(crate) fn encode_command_header(body_bytes: usize, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
    encode(COMMAND, body_bytes, out)
}

#[inline]
fn encode(flags: u8, body_bytes: usize, out: &mut [u8; HEADER_BYTES_MAX]) -> usize {
    match u8::try_from(body_bytes) {
        Ok(size) => {
            out[0] = flags;
            out[1] = size;
            2
        }
        Err(_) => {
            out[0] = flags | LONG;
            out[1..].copy_from_slice(&(body_bytes as u64).to_be_bytes());
            HEADER_BYTES_MAX
        }
    }
}

#[cold]
fn refuse_flags(flags: u8) -> ProtocolError {
    if flags & !(MORE | LONG | COMMAND) != 0 {
        ProtocolError::ReservedFlags { flags }
    } else {
        ProtocolError::CommandWithMore { flags }
    }
}

#[cold]
fn refuse_size(bytes: u64) -> ProtocolError {
    ProtocolError::FrameTooLarge {
        bytes,
        limit: BODY_BYTES_MAX,
    }
}

/// Largest size a frame may announce: the protocol keeps the highest bit zero.
pub(crate) const BODY_BYTES_MAX: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_are_read_in_both_forms() {
        for (bytes, flags, header_bytes, body_bytes) in [
            (&[0, 0][..], 0, 2, 0),
            (&[0, 255], 0, 2, 255),
            (&[1, 7, 9, 9], MORE, 2, 7),
            (&[4, 41], COMMAND, 2, 41),
            (&[2, 0, 0, 0, 0, 0, 0, 1, 0], LONG, 9, 256),
            (&[3, 0, 0, 0, 0, 0, 0, 0, 5], MORE | LONG, 9, 5),
            (&[6, 0, 0, 0, 0, 0, 1, 0, 0], COMMAND | LONG, 9, 65536),
            (
                &[2, 0x7f, 255, 255, 255, 255, 255, 255, 255],
                LONG,
                9,
                BODY_BYTES_MAX,
            ),
        ] {
            let header = Header {
                flags,
                header_bytes,
                body_bytes,
            };
            assert_eq!(Header::parse(bytes), Ok(Some(header)));
            assert_eq!(header.is_last(), flags & MORE == 0);
            assert_eq!(header.is_command(), flags & COMMAND != 0);
            for end in 0..header_bytes {
                assert_eq!(Header::parse(&bytes[..end]), Ok(None), "{end} bytes of {bytes:?}");
            }
        }
    }

    #[test]
    fn flags_are_judged_by_the_first_byte() {
        for flags in 0..=255 {
            let expected = match flags {
                0..=4 | 6 => Ok(None),
                5 | 7 => Err(ProtocolError::CommandWithMore { flags }),
                _ => Err(ProtocolError::ReservedFlags { flags }),
            };
            assert_eq!(Header::parse(&[flags]), expected);
        }
    }

    #[test]
    fn a_size_with_the_highest_bit_is_refused() {
        for bytes in [1 << 63, u64::MAX] {
            let mut header = vec![LONG];
            header.extend(bytes.to_be_bytes());
            let error = ProtocolError::FrameTooLarge {
                bytes,
                limit: BODY_BYTES_MAX,
            };
            assert_eq!(Header::parse(&header), Err(error));
            assert_eq!(Header::parse(&header[..8]), Ok(None));
        }
    }

    #[test]
    fn headers_are_written_in_the_shortest_form() {
        let mut out = [0xaa; HEADER_BYTES_MAX];
        assert_eq!(encode_header(false, 255, &mut out), 2);
        assert_eq!(out[..3], [0, 255, 0xaa]);
        assert_eq!(encode_header(true, 256, &mut out), 9);
        assert_eq!(out, [3, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(encode_command_header(5, &mut out), 2);
        assert_eq!(out[..2], [4, 5]);
        assert_eq!(encode_command_header(0x0102_0304, &mut out), 9);
        assert_eq!(out, [6, 0, 0, 0, 0, 1, 2, 3, 4]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(kind in 0u8..3, size in 0usize..1 << 20, shift in 0u32..40) {
            let body_bytes = size << shift;
            let mut out = [0; HEADER_BYTES_MAX];
            let (flags, header_bytes) = match kind {
                0 => (0, encode_header(false, body_bytes, &mut out)),
                1 => (MORE, encode_header(true, body_bytes, &mut out)),
                _ => (COMMAND, encode_command_header(body_bytes, &mut out)),
            };
            let flags = flags | if body_bytes > 255 { LONG } else { 0 };
            let body_bytes = body_bytes as u64;
            prop_assert_eq!(Header::parse(&out[..header_bytes]), Ok(Some(Header { flags, header_bytes, body_bytes })));
        }

        #[test]
        fn any_bytes_are_a_header_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Ok(Some(header)) = Header::parse(&bytes) {
                prop_assert!(header.header_bytes <= bytes.len());
                prop_assert!(header.body_bytes <= BODY_BYTES_MAX);
                prop_assert!(header.is_last() || !header.is_command());
            }
        }
    }
}
