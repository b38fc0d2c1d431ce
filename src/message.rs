use std::fmt;
use std::hash::{Hash, Hasher};
use std::iter::FusedIterator;
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

/// How the parts are held. Messages of one part are always `Inline` or `Shared`, so that "is it a single part?" is
/// one look at the variant; `Flat` and `Many` hold two parts or more.
///
/// ```text
///   Inline  | length | bytes ............................ |        one part of up to 64 bytes
///   Flat    | parts | used | 3 a b c | 0 | 2 d e | ...... |        "abc", "", "de": 64 bytes, lengths included
///   Shared  | pointer, length |                                    one part of more than 64 bytes
///   Many    | parts of any size |                                  whatever does not fit Flat
/// ```
#[derive(Clone)]
enum Body {
    Inline(Inline),
    Flat(Flat),
    Shared(Bytes),
    Many(Vec<Bytes>),
}

// Messages are moved through queues by value; 64 bytes of content must not cost more than one word beside them.
const _: () = assert!(size_of::<Message>() <= 72 && size_of::<Option<Message>>() <= 72);

impl Message {
    /// Makes a message of one part with zero bytes.
    #[inline]
    pub const fn new() -> Message {
        Message { body: Body::Inline(Inline::EMPTY) }
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
        let body = match Inline::copied(part) {
            Some(inline) => Body::Inline(inline),
            None => Body::Shared(Bytes::copy_from_slice(part)),
        };
        Message { body }
    }

    /// The first part: the whole message if it has one part.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.body {
            Body::Inline(inline) => inline.as_slice(),
            Body::Shared(part) => part,
            Body::Flat(flat) => split_flat(flat.as_slice()).map_or(&[], |(first, _)| first),
            Body::Many(parts) => parts.first().map_or(&[], |first| first),
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
        match &self.body {
            Body::Inline(inline) => usize::from(inline.length),
            _ => self.as_bytes().len(),
        }
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
            Body::Inline(inline) => usize::from(inline.length),
            Body::Flat(flat) => usize::from(flat.used - flat.parts),
            Body::Shared(part) => part.len(),
            Body::Many(parts) => parts.iter().map(Bytes::len).fold(0, usize::saturating_add),
        }
    }

    /// The number of parts, at least 1.
    #[inline]
    pub fn part_count(&self) -> usize {
        match &self.body {
            Body::Inline(_) | Body::Shared(_) => 1,
            Body::Flat(flat) => usize::from(flat.parts),
            Body::Many(parts) => parts.len(),
        }
    }

    /// The part at `index`, counted from 0, or `None` if there are fewer.
    #[inline]
    pub fn part(&self, index: usize) -> Option<&[u8]> {
        match &self.body {
            Body::Many(parts) => parts.get(index).map(|part| &part[..]),
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
            Body::Inline(inline) => Owned::One(Some(Bytes::copy_from_slice(inline.as_slice()))),
            Body::Shared(part) => Owned::One(Some(part)),
            Body::Flat(flat) => Owned::Flat {
                parts: usize::from(flat.parts),
                bytes: Bytes::copy_from_slice(flat.as_slice()),
            },
            Body::Many(parts) => Owned::Many(parts.into_iter()),
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
            Body::Inline(inline) => (Bytes::copy_from_slice(inline.as_slice()), None),
            Body::Shared(part) => (part, None),
            Body::Flat(flat) => match split_flat(flat.as_slice()) {
                Some((first, rest)) => {
                    (Bytes::copy_from_slice(first), Message::from_flat(flat.parts.saturating_sub(1), rest))
                }
                None => (Bytes::new(), None),
            },
            Body::Many(mut parts) => {
                debug_assert!(parts.len() >= 2, "a message of one part is Inline or Shared");
                let first = parts.remove(0);
                let rest = match parts.len() {
                    0 | 1 => parts.pop().map(Message::from),
                    _ => Some(Message { body: Body::Many(parts) }),
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
            Body::Inline(inline) => Some(PartRef::Slice(inline.as_slice())),
            Body::Shared(part) => Some(PartRef::Shared(part)),
            Body::Flat(_) | Body::Many(_) => None,
        }
    }

    /// The parts in order, each with what a writer can do with it: copy a slice, or keep a handle of shared bytes.
    #[inline]
    pub(crate) fn part_refs(&self) -> PartRefs<'_> {
        PartRefs(match &self.body {
            Body::Inline(inline) => Borrowed::One(Some(PartRef::Slice(inline.as_slice()))),
            Body::Shared(part) => Borrowed::One(Some(PartRef::Shared(part))),
            Body::Flat(flat) => Borrowed::Flat { parts: usize::from(flat.parts), bytes: flat.as_slice() },
            Body::Many(parts) => Borrowed::Many(parts.iter()),
        })
    }

    fn from_part(part: Part<'_>) -> Message {
        match part.source {
            Source::Slice(part) => Message::copied(part),
            Source::Vector(part) => Message::from(part),
            Source::Shared(part) => Message::from(part),
        }
    }

    /// The message of `parts` parts laid out as in [`Flat`]; `None` if there is none.
    fn from_flat(parts: u8, bytes: &[u8]) -> Option<Message> {
        if parts > 1 {
            return Flat::copied(parts, bytes).map(|flat| Message { body: Body::Flat(flat) });
        }
        split_flat(bytes).map(|(only, _)| Message::copied(only))
    }

    fn push_back_part(&mut self, part: Part<'_>) {
        match &mut self.body {
            Body::Many(parts) => return parts.push(part.into_bytes()),
            Body::Flat(flat) => {
                if flat.push_back(part.as_slice()) {
                    return;
                }
            }
            Body::Inline(inline) => {
                if let Some(flat) = Flat::pair(inline.as_slice(), part.as_slice()) {
                    self.body = Body::Flat(flat);
                    return;
                }
            }
            Body::Shared(_) => {}
        }
        let mut parts = mem::take(self).into_vec();
        parts.push(part.into_bytes());
        self.body = Body::Many(parts);
    }

    fn push_front_part(&mut self, part: Part<'_>) {
        match &mut self.body {
            Body::Many(parts) => return parts.insert(0, part.into_bytes()),
            Body::Flat(flat) => {
                if flat.push_front(part.as_slice()) {
                    return;
                }
            }
            Body::Inline(inline) => {
                if let Some(flat) = Flat::pair(part.as_slice(), inline.as_slice()) {
                    self.body = Body::Flat(flat);
                    return;
                }
            }
            Body::Shared(_) => {}
        }
        let mut parts = mem::take(self).into_vec();
        parts.insert(0, part.into_bytes());
        self.body = Body::Many(parts);
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
        let body = match Inline::copied(&part) {
            Some(inline) => Body::Inline(inline),
            None => Body::Shared(Bytes::from(part)),
        };
        Message { body }
    }
}

impl From<Bytes> for Message {
    /// Keeps a large part without copying it. A short one is copied, so that it does not hold on to the block
    /// it may be a slice of.
    #[inline]
    fn from(part: Bytes) -> Message {
        let body = match Inline::copied(&part) {
            Some(inline) => Body::Inline(inline),
            None => Body::Shared(part),
        };
        Message { body }
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
        Part { source: Source::Slice(part) }
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
        Part { source: Source::Vector(part) }
    }
}

impl From<Bytes> for Part<'_> {
    fn from(part: Bytes) -> Self {
        Part { source: Source::Shared(part) }
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
    Flat { parts: usize, bytes: Bytes },
    Many(vec::IntoIter<Bytes>),
}

impl Iterator for IntoParts {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        match &mut self.0 {
            Owned::One(part) => part.take(),
            Owned::Flat { parts, bytes } => {
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
            Owned::Flat { parts, .. } => *parts,
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
    Flat { parts: usize, bytes: &'a [u8] },
    Many(slice::Iter<'a, Bytes>),
}

impl<'a> Iterator for PartRefs<'a> {
    type Item = PartRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<PartRef<'a>> {
        match &mut self.0 {
            Borrowed::One(part) => part.take(),
            Borrowed::Flat { parts, bytes } => {
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
            Borrowed::Flat { parts, .. } => *parts,
            Borrowed::Many(parts) => parts.len(),
        };
        (left, Some(left))
    }
}

impl DoubleEndedIterator for PartRefs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Borrowed::One(part) => part.take(),
            Borrowed::Flat { parts, bytes } => {
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

/// One part of up to [`SMALL_BYTES`].
#[derive(Clone)]
struct Inline {
    /// 0..=SMALL_BYTES.
    length: u8,
    /// Zero from `length` on.
    bytes: [u8; SMALL_BYTES],
}

impl Inline {
    const EMPTY: Inline = Inline { length: 0, bytes: [0; SMALL_BYTES] };

    #[inline]
    fn copied(part: &[u8]) -> Option<Inline> {
        let mut bytes = [0; SMALL_BYTES];
        bytes.get_mut(..part.len())?.copy_from_slice(part);
        Some(Inline { length: part.len() as u8, bytes })
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Several parts, each behind a byte that holds its length, all within [`SMALL_BYTES`].
#[derive(Clone)]
struct Flat {
    /// 2..=SMALL_BYTES in a message.
    parts: u8,
    /// How many of `bytes` are taken, lengths included: parts..=SMALL_BYTES.
    used: u8,
    bytes: [u8; SMALL_BYTES],
}

impl Flat {
    const EMPTY: Flat = Flat { parts: 0, used: 0, bytes: [0; SMALL_BYTES] };

    #[inline]
    fn pair(first: &[u8], second: &[u8]) -> Option<Flat> {
        let mut flat = Flat::EMPTY;
        (flat.push_back(first) && flat.push_back(second)).then_some(flat)
    }

    fn copied(parts: u8, laid_out: &[u8]) -> Option<Flat> {
        let Inline { length, bytes } = Inline::copied(laid_out)?;
        Some(Flat { parts, used: length, bytes })
    }

    #[inline]
    fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.used)]
    }

    /// Adds a part at the end; `false`, and nothing changed, if it does not fit.
    #[inline]
    fn push_back(&mut self, part: &[u8]) -> bool {
        let Some((length, place)) = self.bytes[usize::from(self.used)..].split_first_mut() else { return false };
        let Some(place) = place.get_mut(..part.len()) else { return false };
        place.copy_from_slice(part);
        *length = part.len() as u8;
        self.used += part.len() as u8 + 1;
        self.parts += 1;
        true
    }

    /// Adds a part at the beginning; `false`, and nothing changed, if it does not fit.
    fn push_front(&mut self, part: &[u8]) -> bool {
        let used = usize::from(self.used);
        if part.len() >= SMALL_BYTES - used {
            return false;
        }
        self.bytes.copy_within(..used, part.len() + 1);
        self.bytes[0] = part.len() as u8;
        self.bytes[1..=part.len()].copy_from_slice(part);
        self.used += part.len() as u8 + 1;
        self.parts += 1;
        true
    }
}

/// Splits the first part off parts laid out as in [`Flat`]; `None` behind the last.
#[inline]
fn split_flat(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// How many bytes a message holds without an allocation. Lengths up to here fit a `u8`.
const SMALL_BYTES: usize = 64;

/// How many parts a message that outgrows [`Flat`] has room for at once.
const SPILLED_PARTS_MIN: usize = 4;

/// How many parts [`Debug`](fmt::Debug) shows.
const DEBUG_PARTS_MAX: usize = 8;

/// How many bytes of a part [`Debug`](fmt::Debug) shows.
const DEBUG_PART_BYTES_MAX: usize = 64;
