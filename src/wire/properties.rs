//! The properties, or metadata, in the commands of a handshake: a list of names and values.
//!
//! ```text
//!   name size, 1 byte │ name │ value size, 4 bytes, big endian │ value
//! ```

use super::error::ProtocolError;

/// The type of the sender's socket.
pub(crate) const SOCKET_TYPE: &str = "Socket-Type";
/// The name by which a router addresses the sender.
pub(crate) const IDENTITY: &str = "Identity";

/// A list of properties that was checked as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Properties<'a> {
    /// A concatenation of whole properties: [`split_first`] succeeds until nothing is left.
    bytes: &'a [u8],
}

impl<'a> Properties<'a> {
    /// Reads a list that `bytes` holds to its end.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Properties<'a>, ProtocolError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match split_first(rest) {
                Some((_, _, behind)) => rest = behind,
                None => {
                    let offset = bytes.len() - rest.len();
                    return Err(ProtocolError::MalformedProperties {
                        offset,
                        bytes: bytes.len(),
                    });
                }
            }
        }
        Ok(Properties { bytes })
    }

    /// The value of a property. Names are compared without regard to case, and of equal names the first counts.
    pub(crate) fn find(self, name: &str) -> Option<&'a [u8]> {
        self.iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All properties as they came, equal names included.
    pub(crate) fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (name, value, behind) = split_first(rest)?;
            rest = behind;
            Some((name, value))
        })
    }
}

/// Appends one property.
///
/// The name has 1 to 255 of the characters that [`is_name_byte`] allows, the value at most [`VALUE_BYTES_MAX`] bytes.
pub(crate) fn encode(name: &str, value: &[u8], out: &mut Vec<u8>) {
    debug_assert!((1..=255).contains(&name.len()) && name.bytes().all(is_name_byte));
    debug_assert!(value.len() <= VALUE_BYTES_MAX);
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
    out.extend_from_slice(value);
}

/// The first property and what is behind it, if `bytes` starts with a whole and sound one.
fn split_first(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (&name_bytes, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(name_bytes.into())?;
    if name.is_empty() || !name.iter().copied().all(is_name_byte) {
        return None;
    }
    let (value_bytes, rest) = rest.split_first_chunk::<4>()?;
    let value_bytes = usize::try_from(u32::from_be_bytes(*value_bytes)).ok()?;
    if value_bytes > VALUE_BYTES_MAX {
        return None;
    }
    let (value, rest) = rest.split_at_checked(value_bytes)?;
    Some((std::str::from_utf8(name).ok()?, value, rest))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+')
}

/// Largest value of a property. The frame it comes in is always smaller.
const VALUE_BYTES_MAX: usize = i32::MAX as usize;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_is_read_in_order() {
        let bytes = b"\x0bSocket-Type\0\0\0\x04PULL\x08Identity\0\0\0\0\x03X-a\0\0\0\x02\0\xff";
        let properties = Properties::parse(bytes).unwrap();
        assert_eq!(
            properties.iter().collect::<Vec<_>>(),
            [
                ("Socket-Type", &b"PULL"[..]),
                ("Identity", b""),
                ("X-a", b"\0\xff")
            ]
        );
        assert_eq!(Properties::parse(b"").unwrap().iter().count(), 0);
    }

    #[test]
    fn names_are_found_in_any_case_and_the_first_of_equals_counts() {
        let bytes = b"\x08identITY\0\0\0\x01a\x08Identity\0\0\0\x01b";
        let properties = Properties::parse(bytes).unwrap();
        assert_eq!(properties.find(IDENTITY), Some(&b"a"[..]));
        assert_eq!(properties.find(SOCKET_TYPE), None);
    }

    #[test]
    fn a_malformed_property_is_reported_with_its_place() {
        for (tail, why) in [
            (&b"\x00\0\0\0\0"[..], "an empty name"),
            (b"\x01", "no name"),
            (b"\x02a", "half a name"),
            (b"\x01a", "no value size"),
            (b"\x01a\0\0\0", "half a value size"),
            (b"\x01a\0\0\0\x02b", "half a value"),
            (b"\x01a\x80\0\0\0", "a value of 2^31 bytes"),
            (b"\x01a\xff\xff\xff\xff", "a value of 2^32 - 1 bytes"),
            (b"\x01 \0\0\0\0", "a space in the name"),
            (b"\x01\xc3\0\0\0\0", "a name that is no text"),
        ] {
            for before in [&b""[..], b"\x01a\0\0\0\x01b"] {
                let bytes = [before, tail].concat();
                let error = ProtocolError::MalformedProperties {
                    offset: before.len(),
                    bytes: bytes.len(),
                };
                assert_eq!(Properties::parse(&bytes), Err(error), "{why}");
            }
        }
    }

    #[test]
    fn a_list_cut_anywhere_but_between_properties_is_malformed() {
        let mut bytes = Vec::new();
        let mut ends = vec![0];
        for (name, value) in [
            ("Socket-Type", &b"REQ"[..]),
            ("Identity", b""),
            ("X-Name_1.0+", b"value"),
        ] {
            encode(name, value, &mut bytes);
            ends.push(bytes.len());
        }
        for end in 0..=bytes.len() {
            assert_eq!(
                Properties::parse(&bytes[..end]).is_ok(),
                ends.contains(&end),
                "{end} bytes"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            list in prop::collection::vec(("[A-Za-z0-9_.+-]{1,255}", prop::collection::vec(any::<u8>(), 0..300)), 0..8)
        ) {
            let mut bytes = Vec::new();
            for (name, value) in &list {
                encode(name, value, &mut bytes);
            }
            let properties = Properties::parse(&bytes).unwrap();
            let read: Vec<_> = properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            prop_assert_eq!(read, list);
        }

        #[test]
        fn any_bytes_are_a_list_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(properties) = Properties::parse(&bytes) {
                let mut again = Vec::new();
                properties.iter().for_each(|(name, value)| encode(name, value, &mut again));
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
