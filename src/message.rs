use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
use std::num::NonZeroU64;
use std::str::Utf8Error;
use std::{mem, slice, vec};

use bytes::{Buf, Bytes};

/// What sockets carry: one or more parts, each any number of bytes, delivered together or not at all.
///
/// Most messages have one part, and [`as_bytes`](Self::as_bytes), [`len`](Self::len) and [`to_str`](Self::to_str)
/// speak of the first part. A message never has zero parts: [`new`](Self::new), an empty array and an empty
/// iterator all give one part of zero bytes.
///
/// Small messages hold their bytes themselves and allocate nothing: one part of up to 64 bytes, or several parts
/// that together with one length byte each take up to 64. A larger part is kept as [`Bytes`]: building a message
/// from `Bytes`, `Vec<u8>` or `String` does not copy it, nor does cloning the message. How a message is held is
/// not visible: two messages are equal, and hash alike, when their parts are.
///
/// # Examples
/// ```
/// use zerowire::Message;
///
/// let single = Message::from("hello");
/// assert_eq!(single.as_bytes(), b"hello");
///
/// let mut multipart = Message::from(["topic", "body"]);
/// multipart.push_back("trailer");
/// assert_eq!(multipart.parts().collect::<Vec<_>>(), [&b"topic"[..], b"body", b"trailer"]);
/// ```
#[derive(Clone)]
pub struct Message {
    body: Body,
}

/// How the parts are held.
///
/// ```text
///   Small, one part      | bytes ................................. | header |     up to 64 bytes
///   Small, several       | 3 a b c | 0 | 2 d e | ................. | header |     "abc", "", "de"
///   Shared               | pointer, length |              | zero            |     one part of more than 64 bytes
///   Many                 | pointer, length, capacity |    | zero            |     whatever does not fit Small
/// ```
///
/// A message of one part is never `Many`, so that "is it a single part?" needs no look at a vector.
#[derive(Clone)]
enum Body {
    Small(Small),
    Large(Large),
}

/// An enum of its own, because one value is all the header of [`Small`] leaves free to tell the two apart.
#[derive(Clone)]
enum Large {
    Shared(Bytes),
    /// Two parts or more.
    Many(Vec<Bytes>),
}

// Messages are moved through queues by value; 64 bytes of content must not cost more than one word beside them.
const _: () = assert!(size_of::<Message>() <= 72 && size_of::<Option<Message>>() <= 80);

impl Message {
    /// Makes a message of one part with zero bytes.
    #[inline]
    pub const fn new() -> Message {
        Message::small(Small::EMPTY)
    }

    /// Makes a message of the parts an iterator yields, in that order.
    ///
    /// If it yields none, the message is that of [`new`](Self::new): one part with zero bytes.
    ///
    /// # Examples
    /// ```
    /// use zerowire::Message;
    ///
    /// let message = Message::from_parts("a,b,c".split(','));
    /// assert_eq!(message.part_count(), 3);
    /// assert_eq!(Message::from_parts(Vec::<String>::new()), Message::new());
    /// ```
    pub fn from_parts<'a, P: Into<Part<'a>>>(parts: impl IntoIterator<Item = P>) -> Message {
        let mut builder = Builder::default();
        for part in parts {
            builder.push(part.into());
        }
        builder.finish()
    }

    /// Makes a message of one part by copying it: inline if it is short, into one allocation otherwise.
    #[inline]
    pub(crate) fn copied(part: &[u8]) -> Message {
        match Small::copied(part) {
            Some(small) => Message::small(small),
            None => Message::shared(Bytes::copy_from_slice(part)),
        }
    }

    /// Makes a message of one part, the first `length` bytes of `block`: [`copied`](Self::copied) for who has more
    /// bytes at hand than the part, as a receiver does.
    ///
    /// If the block is long enough, a fixed 64 bytes are copied, whatever `length` is. That takes four wide loads
    /// and stores where a length only known at run time takes a call, and the message can be moved on at once: a
    /// wide load of what was just stored in narrower pieces waits for the stores to retire. Measured on a virtual
    /// AMD EPYC, made of 8 to 30 bytes and pushed to a vector: 5 ns against 13. The bytes behind the part are never looked at again.
    #[inline]
    pub(crate) fn copied_prefix(block: &[u8], length: usize) -> Message {
        debug_assert!(length <= block.len(), "the part lies in the block");
        match block.first_chunk() {
            Some(chunk) if length <= SMALL_BYTES => Message {
                body: Body::Small(Small::single(*chunk, length)),
            },
            _ => Message::copied(block.get(..length).unwrap_or(block)),
        }
    }

    /// The first part: the whole message if it has one part.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.body {
            Body::Small(small) => small.first(),
            Body::Large(Large::Shared(part)) => part,
            Body::Large(Large::Many(parts)) => parts.first().map_or(&[], |first| first),
        }
    }

    /// The first part as text.
    ///
    /// # Errors
    /// [`Utf8Error`] if the first part is not UTF-8.
    #[inline]
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.as_bytes())
    }

    /// The number of bytes of the *first part*; [`total_bytes`](Self::total_bytes) counts them all.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether there is nothing in the message at all: one part, with zero bytes.
    ///
    /// A message of several parts is never empty, even if [`len`](Self::len) is 0: an empty first part is content,
    /// such as the delimiter in front of a request.
    ///
    /// # Examples
    /// ```
    /// use zerowire::Message;
    ///
    /// assert!(Message::from("").is_empty());
    /// assert!(!Message::from(["", "request"]).is_empty());
    /// ```
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.single().is_some_and(|part| part.as_slice().is_empty())
    }

    /// The number of bytes of all parts together, framing not counted.
    ///
    /// Parts may share memory, so the sum can exceed what the message occupies; it stops at `usize::MAX`.
    #[inline]
    pub fn total_bytes(&self) -> usize {
        match &self.body {
            Body::Small(small) => small.content_bytes(),
            Body::Large(Large::Shared(part)) => part.len(),
            Body::Large(Large::Many(parts)) => parts.iter().map(Bytes::len).fold(0, usize::saturating_add),
        }
    }

    /// The number of parts, at least 1.
    #[inline]
    pub fn part_count(&self) -> usize {
        match &self.body {
            Body::Small(small) => small.parts(),
            Body::Large(Large::Shared(_)) => 1,
            Body::Large(Large::Many(parts)) => parts.len(),
        }
    }

    /// The part at `index`, counted from 0, or `None` if there are fewer.
    #[inline]
    pub fn part(&self, index: usize) -> Option<&[u8]> {
        match &self.body {
            Body::Large(Large::Many(parts)) => parts.get(index).map(|part| &part[..]),
            _ => self.parts().nth(index),
        }
    }

    /// The parts in order, borrowed. It can be walked from both ends and knows how many are left.
    #[inline]
    pub fn parts(&self) -> Parts<'_> {
        Parts(self.part_refs())
    }

    /// The parts in order, owned.
    ///
    /// A large part is handed over without copying. The parts of a small message move to one allocation that
    /// they share, at most 64 bytes that live until the last of them is dropped.
    ///
    /// # Examples
    /// ```
    /// use zerowire::Message;
    ///
    /// let mut parts = Message::from(["name", "value"]).into_parts();
    /// assert_eq!(parts.len(), 2);
    /// assert_eq!(parts.next().as_deref(), Some(&b"name"[..]));
    /// assert_eq!(parts.next().as_deref(), Some(&b"value"[..]));
    /// assert_eq!(parts.next(), None);
    /// ```
    pub fn into_parts(self) -> IntoParts {
        IntoParts(match self.body {
            Body::Small(small) if small.parts() == 1 => {
                Owned::One(Some(Bytes::copy_from_slice(small.first())))
            }
            Body::Small(small) => Owned::Small {
                parts: small.parts(),
                bytes: Bytes::copy_from_slice(small.as_slice()),
            },
            Body::Large(Large::Shared(part)) => Owned::One(Some(part)),
            Body::Large(Large::Many(parts)) => Owned::Many(parts.into_iter()),
        })
    }

    /// Takes the first part off: gives it, and the message of the other parts if there are any.
    ///
    /// This consumes the message because what is left may be no message: one always has a part.
    ///
    /// # Examples
    /// ```
    /// use zerowire::Message;
    ///
    /// let (address, rest) = Message::from(["peer", "hello"]).split_first();
    /// assert_eq!(address, "peer");
    /// assert_eq!(rest, Some(Message::from("hello")));
    ///
    /// let (only, rest) = Message::from("hello").split_first();
    /// assert_eq!(only, "hello");
    /// assert_eq!(rest, None);
    /// ```
    pub fn split_first(self) -> (Bytes, Option<Message>) {
        match self.body {
            Body::Small(small) => {
                let rest = small.without_first().map(Message::small);
                (Bytes::copy_from_slice(small.first()), rest)
            }
            Body::Large(Large::Shared(part)) => (part, None),
            Body::Large(Large::Many(mut parts)) => {
                debug_assert!(parts.len() >= 2, "a message of one part is never Many");
                let first = parts.remove(0);
                let rest = match parts.len() {
                    0 | 1 => parts.pop().map(Message::from),
                    _ => Some(Message::many(parts)),
                };
                (first, rest)
            }
        }
    }

    /// Adds a part behind the others.
    ///
    /// Text and slices are copied; [`Bytes`], `Vec<u8>` and `String` are taken over, and copied only where the
    /// message stays small enough to hold them inline.
    ///
    /// # Examples
    /// ```
    /// use zerowire::Message;
    ///
    /// let mut message = Message::from("first");
    /// message.push_back(vec![0; 1_000_000]);
    /// assert_eq!(message.part_count(), 2);
    /// assert_eq!(message.part(1).map(<[u8]>::len), Some(1_000_000));
    /// ```
    pub fn push_back<'a>(&mut self, part: impl Into<Part<'a>>) {
        self.push_back_part(part.into());
    }

    /// Adds a part in front of the others. What is said of [`push_back`](Self::push_back) holds here too.
    ///
    /// # Examples
    /// ```
    /// use zerowire::Message;
    ///
    /// let mut message = Message::from("hello");
    /// message.push_front("peer");
    /// assert_eq!(message, Message::from(["peer", "hello"]));
    /// ```
    pub fn push_front<'a>(&mut self, part: impl Into<Part<'a>>) {
        self.push_front_part(part.into());
    }

    /// The part of a message that has one, or `None` if it has several. What a sender asks first.
    #[inline]
    pub(crate) fn single(&self) -> Option<PartRef<'_>> {
        match &self.body {
            Body::Small(small) => (small.parts() == 1).then(|| PartRef::Slice(small.as_slice())),
            Body::Large(Large::Shared(part)) => Some(PartRef::Shared(part)),
            Body::Large(Large::Many(_)) => None,
        }
    }

    /// The part of a message that has one which lies in the message itself: the block that it is the start of, and its
    /// length, 0..=64. What is behind it in the block means nothing.
    #[inline]
    pub(crate) fn single_small(&self) -> Option<(&[u8; SMALL_BYTES], u8)> {
        match &self.body {
            Body::Small(small) if small.parts() == 1 => Some((&small.bytes, small.header.used() as u8)),
            _ => None,
        }
    }

    /// The parts in order, each with what a writer can do with it: copy a slice, or keep a handle of shared bytes.
    #[inline]
    pub(crate) fn part_refs(&self) -> PartRefs<'_> {
        PartRefs(match &self.body {
            Body::Small(small) if small.parts() == 1 => Borrowed::One(Some(PartRef::Slice(small.as_slice()))),
            Body::Small(small) => Borrowed::Small {
                parts: small.parts(),
                bytes: small.as_slice(),
            },
            Body::Large(Large::Shared(part)) => Borrowed::One(Some(PartRef::Shared(part))),
            Body::Large(Large::Many(parts)) => Borrowed::Many(parts.iter()),
        })
    }

    #[inline]
    const fn small(small: Small) -> Message {
        Message {
            body: Body::Small(small),
        }
    }

    fn shared(part: Bytes) -> Message {
        Message {
            body: Body::Large(Large::Shared(part)),
        }
    }

    fn many(parts: Vec<Bytes>) -> Message {
        Message {
            body: Body::Large(Large::Many(parts)),
        }
    }

    fn from_part(part: Part<'_>) -> Message {
        match part.source {
            Source::Slice(part) => Message::copied(part),
            Source::Vector(part) => Message::from(part),
            Source::Shared(part) => Message::from(part),
        }
    }

    fn push_back_part(&mut self, part: Part<'_>) {
        let held = match &mut self.body {
            Body::Small(small) => small.push_back(part.as_slice()),
            Body::Large(Large::Many(parts)) => return parts.push(part.into_bytes()),
            Body::Large(Large::Shared(_)) => false,
        };
        if !held {
            let mut parts = mem::take(self).into_vec();
            parts.push(part.into_bytes());
            *self = Message::many(parts);
        }
    }

    fn push_front_part(&mut self, part: Part<'_>) {
        let held = match &mut self.body {
            Body::Small(small) => small.push_front(part.as_slice()),
            Body::Large(Large::Many(parts)) => return parts.insert(0, part.into_bytes()),
            Body::Large(Large::Shared(_)) => false,
        };
        if !held {
            let mut parts = mem::take(self).into_vec();
            parts.insert(0, part.into_bytes());
            *self = Message::many(parts);
        }
    }

    /// The parts as a vector with room for one more, so that the part that made the message spill finds its place.
    fn into_vec(self) -> Vec<Bytes> {
        let parts = self.into_parts();
        let mut vector = Vec::with_capacity((parts.len() + 1).max(SPILLED_PARTS_MIN));
        vector.extend(parts);
        vector
    }
}

impl Default for Message {
    /// One part with zero bytes, as [`Message::new`].
    fn default() -> Message {
        Message::new()
    }
}

impl AsRef<[u8]> for Message {
    /// The first part, as [`Message::as_bytes`].
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Message) -> bool {
        match (self.single(), other.single()) {
            (Some(mine), Some(theirs)) => mine.as_slice() == theirs.as_slice(),
            (None, None) => self.parts().eq(other.parts()),
            _ => false,
        }
    }
}

impl Eq for Message {}

impl Hash for Message {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.part_count().hash(state);
        for part in self.parts() {
            part.hash(state);
        }
    }
}

impl fmt::Debug for Message {
    /// Writes the parts as text, other bytes escaped; of long parts and long lists only the beginning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Message[")?;
        for (index, part) in self.parts().take(DEBUG_PARTS_MAX).enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match part.get(..DEBUG_PART_BYTES_MAX) {
                Some(start) if part.len() > start.len() => {
                    write!(f, "\"{}…\" ({} bytes)", start.escape_ascii(), part.len())?;
                }
                _ => write!(f, "\"{}\"", part.escape_ascii())?,
            }
        }
        match self.part_count().saturating_sub(DEBUG_PARTS_MAX) {
            0 => f.write_str("]"),
            more => write!(f, ", … {more} more]"),
        }
    }
}

impl From<&str> for Message {
    #[inline]
    fn from(part: &str) -> Message {
        Message::copied(part.as_bytes())
    }
}

impl From<&[u8]> for Message {
    #[inline]
    fn from(part: &[u8]) -> Message {
        Message::copied(part)
    }
}

impl<const N: usize> From<&[u8; N]> for Message {
    #[inline]
    fn from(part: &[u8; N]) -> Message {
        Message::copied(part)
    }
}

impl From<String> for Message {
    #[inline]
    fn from(part: String) -> Message {
        Message::from(part.into_bytes())
    }
}

impl From<Vec<u8>> for Message {
    #[inline]
    fn from(part: Vec<u8>) -> Message {
        match Small::copied(&part) {
            Some(small) => Message::small(small),
            None => Message::shared(Bytes::from(part)),
        }
    }
}

impl From<Bytes> for Message {
    /// Keeps a large part without copying it. A short one is copied, so that it does not hold on to the block
    /// it may be a slice of.
    #[inline]
    fn from(part: Bytes) -> Message {
        match Small::copied(&part) {
            Some(small) => Message::small(small),
            None => Message::shared(part),
        }
    }
}

impl<'a, P: Into<Part<'a>>, const N: usize> From<[P; N]> for Message {
    /// One part for each element. An array of no elements gives one part with zero bytes.
    fn from(parts: [P; N]) -> Message {
        Message::from_parts(parts)
    }
}

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
pub struct Part<'a> {
    source: Source<'a>,
}

/// A vector stays one until its place is known: making `Bytes` of it can cost an allocation, and where it fits
/// inline that would be for nothing.
enum Source<'a> {
    Slice(&'a [u8]),
    Vector(Vec<u8>),
    Shared(Bytes),
}

impl Part<'_> {
    fn as_slice(&self) -> &[u8] {
        match &self.source {
            Source::Slice(part) => part,
            Source::Vector(part) => part,
            Source::Shared(part) => part,
        }
    }

    fn into_bytes(self) -> Bytes {
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

/// The borrowed parts of a message, made by [`Message::parts`].
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
pub struct Parts<'a>(PartRefs<'a>);

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

/// The owned parts of a message, made by [`Message::into_parts`].
///
/// # Examples
/// ```
/// use zerowire::Message;
///
/// let lengths: Vec<usize> = Message::from(["a", "bc"]).into_parts().map(|part| part.len()).collect();
/// assert_eq!(lengths, [1, 2]);
/// ```
pub struct IntoParts(Owned);

enum Owned {
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

/// The parts of a message as [`PartRef`]s, made by [`Message::part_refs`].
#[derive(Clone)]
pub(crate) struct PartRefs<'a>(Borrowed<'a>);

#[derive(Clone)]
enum Borrowed<'a> {
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

/// Collects the parts of one incoming message, without allocating while it is small.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    message: Option<Message>,
}

impl Builder {
    /// Adds a part by copying it: for what lies in a buffer the message must not hold on to.
    #[inline]
    pub(crate) fn push_slice(&mut self, part: &[u8]) {
        match &mut self.message {
            None => self.message = Some(Message::copied(part)),
            Some(message) => message.push_back(part),
        }
    }

    /// Adds a part that is a buffer of its own, or large enough to be worth holding on to a larger one.
    #[inline]
    pub(crate) fn push_bytes(&mut self, part: Bytes) {
        match &mut self.message {
            None => self.message = Some(Message::from(part)),
            Some(message) => message.push_back(part),
        }
    }

    /// The message of all parts added; one part with zero bytes if there were none.
    #[inline]
    pub(crate) fn finish(self) -> Message {
        self.message.unwrap_or_default()
    }

    fn push(&mut self, part: Part<'_>) {
        match &mut self.message {
            None => self.message = Some(Message::from_part(part)),
            Some(message) => message.push_back_part(part),
        }
    }
}

/// Parts held in the message itself: one of up to [`SMALL_BYTES`], or several, each behind a byte that holds its
/// length ("laid out"), that together take no more.
///
/// The order and the width of the fields are measured. A message is written once and then moved, in loads of 16
/// bytes and one of 8, from its start; each such load must find all it reads in one earlier store. So the bytes
/// come first, and what describes them is one word, written whole. With a tag in front and two one-byte fields
/// behind, as an enum of plain variants has them, returning a message of 64 bytes from a call took 22 ns instead
/// of 10 on a virtual AMD EPYC.
#[derive(Clone, Copy)]
#[repr(C)]
struct Small {
    /// Of no meaning behind `used`; not always zero there.
    bytes: [u8; SMALL_BYTES],
    header: Header,
}

/// How many parts there are, 1..=SMALL_BYTES, and how many bytes they take, lengths included, 0..=SMALL_BYTES.
///
/// ```text
///   bits 16..    | bits 8..16 | bits 0..8
///   parts        | used       | 1: keeps the word from being zero, which stands for `Large`
/// ```
#[derive(Clone, Copy)]
struct Header(NonZeroU64);

impl Header {
    #[inline]
    fn new(parts: usize, used: usize) -> Header {
        debug_assert!((1..=SMALL_BYTES).contains(&parts) && used <= SMALL_BYTES);
        Header(NonZeroU64::MIN | (used as u64) << 8 | (parts as u64) << 16)
    }

    #[inline]
    fn parts(self) -> usize {
        (self.0.get() >> 16) as usize
    }

    #[inline]
    fn used(self) -> usize {
        usize::from((self.0.get() >> 8) as u8)
    }
}

impl Small {
    /// One part with zero bytes.
    const EMPTY: Small = Small {
        bytes: [0; SMALL_BYTES],
        header: Header(NonZeroU64::MIN.saturating_add(1 << 16)),
    };

    #[inline]
    fn single(bytes: [u8; SMALL_BYTES], length: usize) -> Small {
        Small {
            bytes,
            header: Header::new(1, length),
        }
    }

    /// One part, or `None` if it is too long.
    #[inline]
    fn copied(part: &[u8]) -> Option<Small> {
        let mut bytes = [0; SMALL_BYTES];
        bytes.get_mut(..part.len())?.copy_from_slice(part);
        Some(Small::single(bytes, part.len()))
    }

    #[inline]
    fn parts(&self) -> usize {
        self.header.parts()
    }

    /// The only part, or several laid out.
    #[inline]
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.header.used()]
    }

    #[inline]
    fn first(&self) -> &[u8] {
        match self.parts() {
            1 => self.as_slice(),
            _ => split_flat(self.as_slice()).map_or(&[], |(first, _)| first),
        }
    }

    /// How many bytes the parts have without their lengths.
    #[inline]
    fn content_bytes(&self) -> usize {
        match self.parts() {
            1 => self.header.used(),
            several => self.header.used() - several,
        }
    }

    /// What is left behind the first part, if there is anything.
    fn without_first(&self) -> Option<Small> {
        let parts = self.parts();
        if parts == 1 {
            return None;
        }
        let (_, rest) = split_flat(self.as_slice())?;
        if parts == 2 {
            return Small::copied(split_flat(rest)?.0);
        }
        let laid_out = Small::copied(rest)?;
        Some(Small {
            header: Header::new(parts - 1, rest.len()),
            ..laid_out
        })
    }

    /// Adds a part at the end; `false`, and nothing changed, if it does not fit.
    #[inline]
    fn push_back(&mut self, part: &[u8]) -> bool {
        self.insert(part, |used| used)
    }

    /// Adds a part at the beginning; `false`, and nothing changed, if it does not fit.
    #[inline]
    fn push_front(&mut self, part: &[u8]) -> bool {
        self.insert(part, |_| 0)
    }

    /// Adds a part where `position` says, given how many bytes are used, once all parts are laid out.
    #[inline]
    fn insert(&mut self, part: &[u8], position: impl FnOnce(usize) -> usize) -> bool {
        let (parts, used) = (self.parts(), self.header.used());
        // A part that was alone has no length byte yet.
        let missing = usize::from(parts == 1);
        let free = SMALL_BYTES.saturating_sub(used + missing);
        if part.len() >= free {
            return false;
        }
        if parts == 1 {
            self.bytes.copy_within(..used, 1);
            self.bytes[0] = used as u8;
        }
        let used = used + missing;
        let at = position(used);
        let content = at + 1;
        self.bytes.copy_within(at..used, content + part.len());
        self.bytes[at] = part.len() as u8;
        self.bytes[content..content + part.len()].copy_from_slice(part);
        self.header = Header::new(parts + 1, content + part.len() + used - at);
        true
    }
}

/// Splits the first part off parts laid out as in [`Small`]; `None` behind the last.
#[inline]
fn split_flat(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// How many bytes a message holds without an allocation. Lengths up to here fit a `u8`.
const SMALL_BYTES: usize = 64;

/// How many parts a message that outgrows [`Small`] has room for at once.
const SPILLED_PARTS_MIN: usize = 4;

/// How many parts [`Debug`](fmt::Debug) shows.
const DEBUG_PARTS_MAX: usize = 8;

/// How many bytes of a part [`Debug`](fmt::Debug) shows.
const DEBUG_PART_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::hash_map::DefaultHasher;

    use proptest::prelude::*;

    use super::*;

    /// Whether the first part lies in the message itself, and not in memory of its own.
    fn is_held_inline(message: &Message) -> bool {
        let start = std::ptr::from_ref(message).addr();
        (start..start + size_of::<Message>()).contains(&message.as_bytes().as_ptr().addr())
    }

    fn hash_of(message: &Message) -> u64 {
        let mut hasher = DefaultHasher::new();
        message.hash(&mut hasher);
        hasher.finish()
    }

    fn owned(message: &Message) -> Vec<Vec<u8>> {
        message.parts().map(<[u8]>::to_vec).collect()
    }

    /// A message of the same parts that is held as `Many`, whatever would fit.
    fn spread(parts: &[Vec<u8>]) -> Message {
        match parts {
            [only] => Message::shared(Bytes::copy_from_slice(only)),
            several => Message::many(several.iter().map(|part| Bytes::copy_from_slice(part)).collect()),
        }
    }

    /// Everything that can be asked of a message, against the parts it should have.
    fn check(message: &Message, expected: &[Vec<u8>]) {
        assert_eq!(owned(message), expected);
        assert_eq!(message.part_count(), expected.len());
        assert_eq!(message.parts().len(), expected.len());
        assert_eq!(
            message.total_bytes(),
            expected.iter().map(Vec::len).sum::<usize>()
        );
        assert_eq!(message.as_bytes(), expected[0]);
        assert_eq!(message.as_ref(), &expected[0][..]);
        assert_eq!(message.len(), expected[0].len());
        assert_eq!(message.is_empty(), *expected == [vec![]]);
        for (index, part) in expected.iter().enumerate() {
            assert_eq!(message.part(index), Some(&part[..]));
        }
        assert_eq!(message.part(expected.len()), None);
        assert!(message.parts().rev().eq(expected.iter().rev()));
        let mut both_ends = message.parts();
        assert_eq!(both_ends.next_back(), expected.last().map(|part| &part[..]));
        assert!(both_ends.eq(&expected[..expected.len() - 1]));
        let single = message.single().map(|part| part.as_slice().to_vec());
        assert_eq!(single, (expected.len() == 1).then(|| expected[0].clone()));
        assert!(message.part_refs().map(PartRef::as_slice).eq(expected));

        let parts = message.clone().into_parts();
        assert_eq!(parts.len(), expected.len());
        assert!(parts.eq(expected));
        let mut rest = Some(message.clone());
        for (taken, part) in expected.iter().enumerate() {
            let (first, next) = rest.expect("as many parts as expected").split_first();
            assert_eq!(first, part);
            rest = next;
            assert_eq!(
                rest.as_ref().map_or(0, Message::part_count),
                expected.len() - taken - 1
            );
        }
        assert_eq!(rest, None);

        let other = spread(expected);
        assert_eq!(message, &other);
        assert_eq!(hash_of(message), hash_of(&other));
        assert_eq!(format!("{message:?}"), format!("{other:?}"));
    }

    #[test]
    fn every_source_gives_its_bytes() {
        let expected = [b"hello".to_vec()];
        for message in [
            Message::from("hello"),
            Message::from(String::from("hello")),
            Message::from(&b"hello"[..]),
            Message::from(b"hello"),
            Message::from(b"hello".to_vec()),
            Message::from(Bytes::from_static(b"hello")),
        ] {
            check(&message, &expected);
        }
        let expected = [b"a".to_vec(), b"b".to_vec()];
        for message in [
            Message::from(["a", "b"]),
            Message::from([&b"a"[..], &b"b"[..]]),
            Message::from([b"a", b"b"]),
            Message::from([vec![b'a'], vec![b'b']]),
            Message::from([String::from("a"), String::from("b")]),
            Message::from([Bytes::from_static(b"a"), Bytes::from_static(b"b")]),
        ] {
            check(&message, &expected);
        }
    }

    #[test]
    fn a_message_never_has_zero_parts() {
        let one_empty_part = [vec![]];
        check(&Message::new(), &one_empty_part);
        check(&Message::default(), &one_empty_part);
        check(&Message::from([""; 0]), &one_empty_part);
        check(&Message::from_parts(Vec::<Bytes>::new()), &one_empty_part);
        check(&Builder::default().finish(), &one_empty_part);
    }

    #[test]
    fn several_empty_parts_are_not_an_empty_message() {
        check(&Message::from(["", ""]), &[vec![], vec![]]);
        assert_ne!(Message::from(["", ""]), Message::new());
    }

    #[test]
    fn equality_and_hash_keep_part_boundaries() {
        let joined = Message::from(["ab", "c"]);
        let moved = Message::from(["a", "bc"]);
        assert_ne!(joined, moved);
        assert_ne!(hash_of(&joined), hash_of(&moved));
        assert_ne!(Message::from("abc"), joined);
    }

    #[test]
    fn a_part_of_64_bytes_is_held_inline_and_one_of_65_is_not() {
        for length in 0..=200 {
            let part: Vec<u8> = (0..length).collect();
            let message = Message::copied(&part);
            check(&message, &[part]);
            assert_eq!(is_held_inline(&message), length <= 64, "{length} bytes");
        }
    }

    #[test]
    fn a_prefix_of_a_block_is_copied_whatever_lies_behind_it() {
        let block: Vec<u8> = (0..=255).collect();
        for end in [0, 1, 63, 64, 65, 66, 130, 256] {
            for length in 0..=end {
                let message = Message::copied_prefix(&block[..end], length);
                assert_eq!(message, Message::from(&block[..length]), "{length} of {end}");
                assert_eq!(is_held_inline(&message), length <= 64);
            }
        }
        let mut message = Message::copied_prefix(&block, 5);
        message.push_back("x");
        message.push_front("y");
        check(&message, &[b"y".to_vec(), block[..5].to_vec(), b"x".to_vec()]);
    }

    #[test]
    fn large_bytes_and_vectors_are_not_copied() {
        let bytes = Bytes::from(vec![1; 65]);
        let address = bytes.as_ptr();
        let mut message = Message::from(bytes.clone());
        assert_eq!(message.as_bytes().as_ptr(), address);
        assert!(matches!(message.single(), Some(PartRef::Shared(part)) if part.as_ptr() == address));
        assert_eq!(message.clone().as_bytes().as_ptr(), address);
        message.push_front("small");
        message.push_back(bytes.clone());
        assert!(message.parts().skip(1).all(|part| part.as_ptr() == address));
        assert!(message.into_parts().skip(1).all(|part| part.as_ptr() == address));

        let vector = vec![2; 1000];
        let address = vector.as_ptr();
        let (part, _) = Message::from(vector).split_first();
        assert_eq!(part.as_ptr(), address);
        let text = "x".repeat(1000);
        let address = text.as_ptr();
        assert_eq!(Message::from([text]).as_bytes().as_ptr(), address);
    }

    #[test]
    fn a_short_message_does_not_hold_on_to_a_large_block() {
        let block = Bytes::from(vec![0; 65536]);
        let single = Message::from(block.slice(10..20));
        let several = Message::from([block.slice(10..20), block.slice(20..30)]);
        assert!(block.is_unique());
        assert_eq!((single.part_count(), several.part_count()), (1, 2));
    }

    #[test]
    fn a_small_multipart_is_held_inline_up_to_64_bytes_with_lengths() {
        for (first, second, inline) in [
            (62, 0, true),
            (0, 62, true),
            (31, 31, true),
            (63, 0, false),
            (31, 32, false),
        ] {
            let parts = [vec![1; first], vec![2; second]];
            let message = Message::from_parts(parts.iter().map(Vec::as_slice));
            check(&message, &parts);
            assert_eq!(is_held_inline(&message), inline, "{first} and {second} bytes");
            let mut reversed = Message::from(&parts[1][..]);
            reversed.push_front(&parts[0][..]);
            check(&reversed, &parts);
            assert_eq!(is_held_inline(&reversed), inline, "{first} and {second} bytes");
        }
        let mut message = Message::new();
        for count in 2..=64 {
            message.push_back("");
            assert!(is_held_inline(&message), "{count} empty parts");
        }
        check(&message, &vec![vec![]; 64]);
        message.push_front("");
        assert!(!is_held_inline(&message));
        check(&message, &vec![vec![]; 65]);
    }

    #[test]
    fn the_builder_collects_slices_and_bytes_in_order() {
        let large = Bytes::from(vec![7; 5000]);
        let mut builder = Builder::default();
        builder.push_slice(b"peer");
        builder.push_slice(b"");
        builder.push_bytes(Bytes::from_static(b"short"));
        assert!(builder.message.as_ref().is_some_and(is_held_inline));
        builder.push_bytes(large.clone());
        builder.push_slice(b"end");
        let message = builder.finish();
        let expected = [&b"peer"[..], b"", b"short", &large, b"end"].map(<[u8]>::to_vec);
        check(&message, &expected);
        assert_eq!(message.part(3).map(<[u8]>::as_ptr), Some(large.as_ptr()));
    }

    #[test]
    fn text_is_only_lent_if_it_is_utf_8() {
        assert_eq!(Message::from("grün").to_str(), Ok("grün"));
        assert!(Message::from(b"\xff").to_str().is_err());
    }

    #[test]
    fn debug_escapes_and_shortens() {
        let message = Message::from([&b"a\"b"[..], b"\x00\xff", &[b'x'; 70]]);
        let expected = format!(r#"Message["a\"b", "\x00\xff", "{}…" (70 bytes)]"#, "x".repeat(64));
        assert_eq!(format!("{message:?}"), expected);
        assert_eq!(
            format!("{:?}", Message::from(&[b'y'; 64])),
            format!("Message[\"{}\"]", "y".repeat(64))
        );
        let many = Message::from(["p"; 11]);
        assert!(format!("{many:?}").ends_with(r#""p", … 3 more]"#), "{many:?}");
        assert_eq!(format!("{:?}", Message::new()), r#"Message[""]"#);
    }

    #[test]
    fn messages_cross_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Message>();
        crosses::<IntoParts>();
        crosses::<Parts<'static>>();
        crosses::<Part<'static>>();
    }

    proptest! {
        #[test]
        fn a_message_is_the_list_of_its_parts_however_it_was_made(
            pushes in prop::collection::vec((0..6, prop_oneof![0..8_usize, 0..70_usize]), 1..12),
        ) {
            let mut expected: Vec<Vec<u8>> = Vec::new();
            let mut message: Option<Message> = None;
            for (kind, length) in pushes {
                let part: Vec<u8> = (0..length).map(|index| (index * 7 + expected.len()) as u8).collect();
                let to_front = kind >= 3;
                expected.insert(if to_front { 0 } else { expected.len() }, part.clone());
                let source = match kind % 3 {
                    0 => Part::from(&part[..]),
                    1 => Part::from(part.clone()),
                    _ => Part::from(Bytes::from(part.clone())),
                };
                match &mut message {
                    None => message = Some(Message::from_part(source)),
                    Some(message) if to_front => message.push_front(source),
                    Some(message) => message.push_back(source),
                }
                check(message.as_ref().expect("one part was pushed"), &expected);
            }
            check(&Message::from_parts(expected.iter().map(Vec::as_slice)), &expected);
            check(&Message::from_parts(expected.clone()), &expected);
        }
    }
}
