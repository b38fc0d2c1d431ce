use std::fmt;

use bytes::Bytes;

/// One part on its way into a [`Message`]: what [`Message::push_back`] and [`Message::from_parts`] accept.
///
/// There is nothing to do with it but make one `From` text, a slice, a `Vec<u8>`, a `String` or [`Bytes`]; as the
/// functions take `impl Into<Part>`, even that is seldom written out.
///
/// # Examples
/// ```
/// use bytes::Bytes;
/// use zerowire::{Message, Part};
///
/// // Parts of different types in one list.
/// let parts = [Part::from("copied"), Part::from(Bytes::from_static(b"shared"))];
/// assert_eq!(Message::from_parts(parts), Message::from(["copied", "shared"]));
/// ```
///
/// [`Message`]: super::Message
/// [`Message::from_parts`]: super::Message::from_parts
/// [`Message::push_back`]: super::Message::push_back
pub struct Part<'a> {
    pub(super) source: Source<'a>,
}

/// A vector stays one until its place is known: making `Bytes` of it can cost an allocation, and where it fits
/// inline that would be for nothing.
pub(super) enum Source<'a> {
    Slice(&'a [u8]),
    Vector(Vec<u8>),
    Shared(Bytes),
}

impl Part<'_> {
    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        match &self.source {
            Source::Slice(part) => part,
            Source::Vector(part) => part,
            Source::Shared(part) => part,
        }
    }

    #[inline]
    pub(super) fn into_bytes(self) -> Bytes {
        match self.source {
            Source::Slice(part) => Bytes::copy_from_slice(part),
            Source::Vector(part) => Bytes::from(part),
            Source::Shared(part) => part,
        }
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({} bytes)", self.as_slice().len())
    }
}

impl<'a> From<&'a str> for Part<'a> {
    fn from(part: &'a str) -> Part<'a> {
        Part::from(part.as_bytes())
    }
}

impl<'a> From<&'a [u8]> for Part<'a> {
    fn from(part: &'a [u8]) -> Part<'a> {
        Part {
            source: Source::Slice(part),
        }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Part<'a> {
    fn from(part: &'a [u8; N]) -> Part<'a> {
        Part::from(&part[..])
    }
}

impl From<String> for Part<'_> {
    fn from(part: String) -> Self {
        Part::from(part.into_bytes())
    }
}

impl From<Vec<u8>> for Part<'_> {
    fn from(part: Vec<u8>) -> Self {
        Part {
            source: Source::Vector(part),
        }
    }
}

impl From<Bytes> for Part<'_> {
    fn from(part: Bytes) -> Self {
        Part {
            source: Source::Shared(part),
        }
    }
}
