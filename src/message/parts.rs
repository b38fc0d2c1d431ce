use std::iter::FusedIterator;
use std::{fmt, slice, vec};

use bytes::{Buf, Bytes};

use super::small::split_flat;

/// The borrowed parts of a message, made by [`Message::parts`](super::Message::parts).
///
/// # Examples
/// ```
/// use zerowire::Message;
///
/// let message = Message::from(["a", "b", "c"]);
/// let mut parts = message.parts();
/// assert_eq!(parts.next_back(), Some(&b"c"[..]));
/// assert_eq!(parts.len(), 2);
/// ```
#[derive(Clone)]
pub struct Parts<'a>(pub(super) PartRefs<'a>);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next().map(PartRef::as_slice)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Parts<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(PartRef::as_slice)
    }
}

impl ExactSizeIterator for Parts<'_> {}

impl FusedIterator for Parts<'_> {}

impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parts({} left)", self.len())
    }
}

/// The owned parts of a message, made by [`Message::into_parts`](super::Message::into_parts).
///
/// # Examples
/// ```
/// use zerowire::Message;
///
/// let lengths: Vec<usize> = Message::from(["a", "bc"]).into_parts().map(|part| part.len()).collect();
/// assert_eq!(lengths, [1, 2]);
/// ```
pub struct IntoParts(pub(super) Owned);

pub(super) enum Owned {
    One(Option<Bytes>),
    Small { parts: usize, bytes: Bytes },
    Many(vec::IntoIter<Bytes>),
}

impl Iterator for IntoParts {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Owned::One(part) => part.take(),
            Owned::Small { parts, bytes } => {
                let length = split_flat(bytes)?.0.len();
                *parts -= 1;
                bytes.advance(1);
                Some(bytes.split_to(length))
            }
            Owned::Many(parts) => parts.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Owned::One(part) => usize::from(part.is_some()),
            Owned::Small { parts, .. } => *parts,
            Owned::Many(parts) => parts.len(),
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for IntoParts {}

impl FusedIterator for IntoParts {}

impl fmt::Debug for IntoParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IntoParts({} left)", self.len())
    }
}

/// One part as it lies in a message, for a writer that copies short parts and keeps a handle of long ones.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PartRef<'a> {
    /// Bytes that move with the message: to be copied, at most 64.
    Slice(&'a [u8]),
    /// Bytes that outlive the message in a clone of the handle. Of any length, short ones too.
    Shared(&'a Bytes),
}

impl<'a> PartRef<'a> {
    #[inline]
    pub(crate) fn as_slice(self) -> &'a [u8] {
        match self {
            PartRef::Slice(part) => part,
            PartRef::Shared(part) => part,
        }
    }
}

/// The parts of a message as [`PartRef`]s, made by [`Message::part_refs`](super::Message::part_refs).
#[derive(Clone)]
pub(crate) struct PartRefs<'a>(pub(super) Borrowed<'a>);

#[derive(Clone)]
pub(super) enum Borrowed<'a> {
    One(Option<PartRef<'a>>),
    Small { parts: usize, bytes: &'a [u8] },
    Many(slice::Iter<'a, Bytes>),
}

impl<'a> Iterator for PartRefs<'a> {
    type Item = PartRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<PartRef<'a>> {
        match &mut self.0 {
            Borrowed::One(part) => part.take(),
            Borrowed::Small { parts, bytes } => {
                let (part, rest) = split_flat(bytes)?;
                *parts -= 1;
                *bytes = rest;
                Some(PartRef::Slice(part))
            }
            Borrowed::Many(parts) => parts.next().map(PartRef::Shared),
        }
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.0 {
            Borrowed::One(part) => usize::from(part.is_some()),
            Borrowed::Small { parts, .. } => *parts,
            Borrowed::Many(parts) => parts.len(),
        };
        (left, Some(left))
    }
}

impl DoubleEndedIterator for PartRefs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Borrowed::One(part) => part.take(),
            Borrowed::Small { parts, bytes } => {
                // Lengths stand in front, so the last part is found from the first on: at most 64 steps.
                let (mut last, mut rest) = split_flat(bytes)?;
                while let Some(next) = split_flat(rest) {
                    (last, rest) = next;
                }
                *parts -= 1;
                *bytes = &bytes[..bytes.len() - last.len() - 1];
                Some(PartRef::Slice(last))
            }
            Borrowed::Many(parts) => parts.next_back().map(PartRef::Shared),
        }
    }
}

impl ExactSizeIterator for PartRefs<'_> {}

impl FusedIterator for PartRefs<'_> {}
