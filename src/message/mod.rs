//! What sockets carry.
//!
//! | file | what it is |
//! | --- | --- |
//! | this one | [`Message`]: its layout, what can be asked of it, and how parts are added and taken |
//! | [`small`] | the parts of a message that holds them itself |
//! | [`part`] | one part on its way in |
//! | [`parts`] | the iterators over the parts, borrowed and owned |
//! | [`builder`] | an incoming message while its parts arrive |
//! | [`envelope`] | the parts in front of a request or a reply that say where it goes |

mod builder;
mod envelope;
#[cfg(test)]
mod oracle;
mod part;
mod parts;
mod small;

use std::hash::{Hash, Hasher};
use std::str::Utf8Error;
use std::{fmt, mem};

use bytes::Bytes;

use part::Source;
use parts::{Borrowed, Owned};
use small::{SMALL_BYTES, Small};

pub use part::Part;
pub use parts::{IntoParts, Parts};

pub(crate) use builder::Builder;
pub(crate) use parts::{PartRef, PartRefs};

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
    /// AMD EPYC, made of 8 to 30 bytes and pushed to a vector: 5 ns against 13. The bytes behind the part are never
    /// looked at again.
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

    /// How many bytes the message holds outside itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.body {
            Body::Small(_) => 0,
            Body::Large(_) => self.total_bytes(),
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
    pub fn split_first(mut self) -> (Bytes, Option<Message>) {
        match self.pop_front() {
            Some(first) => (first, Some(self)),
            None => (self.into_parts().next().unwrap_or_default(), None),
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
    /// The other parts move up each time, so a long list is better built from its first part on.
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

    /// Takes the first part off and gives it, if others stand behind it; `None`, and nothing changed, if it is the
    /// only one.
    ///
    /// The last part stays because a message always has one: [`split_first`](Self::split_first) gives that up too.
    /// To take all parts, [`into_parts`](Self::into_parts) is cheaper: here those that stay move up each time.
    ///
    /// # Examples
    /// ```
    /// use zerowire::Message;
    ///
    /// let mut message = Message::from(["peer", "hello"]);
    /// assert_eq!(message.pop_front().as_deref(), Some(&b"peer"[..]));
    /// assert_eq!(message.pop_front(), None);
    /// assert_eq!(message, Message::from("hello"));
    /// ```
    pub fn pop_front(&mut self) -> Option<Bytes> {
        match &mut self.body {
            Body::Small(small) => {
                let rest = small.without_first()?;
                let first = Bytes::copy_from_slice(small.first());
                *small = rest;
                Some(first)
            }
            Body::Large(Large::Shared(_)) => None,
            Body::Large(Large::Many(parts)) => {
                let mut parts = mem::take(parts);
                let first = parts.remove(0);
                *self = Message::from_vec(parts);
                Some(first)
            }
        }
    }

    /// Adds all parts of another message behind the others, in their order.
    ///
    /// Large parts are handed over without copying. Two messages that need no allocation make one that needs none if
    /// their parts fit in 64 bytes together, with one length byte each.
    ///
    /// # Examples
    /// ```
    /// use zerowire::Message;
    ///
    /// let mut message = Message::from(["peer", ""]);
    /// message.append(Message::from(["status", "body"]));
    /// assert_eq!(message, Message::from(["peer", "", "status", "body"]));
    ///
    /// // An empty message is one part too, and stays in front.
    /// let mut message = Message::new();
    /// message.append(Message::from("body"));
    /// assert_eq!(message, Message::from(["", "body"]));
    /// ```
    pub fn append(&mut self, other: Message) {
        let held = match (&mut self.body, &other.body) {
            (Body::Small(small), Body::Small(other)) => small.append(other),
            _ => false,
        };
        if !held {
            let mut parts = mem::take(self).into_vec(other.part_count());
            parts.extend(other.into_parts());
            *self = Message::many(parts);
        }
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
            Body::Small(small) => small.block(),
            Body::Large(_) => None,
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

    /// A message of one part or more, one alone held as one.
    fn from_vec(mut parts: Vec<Bytes>) -> Message {
        debug_assert!(!parts.is_empty(), "a message always has a part");
        match parts.len() {
            0 | 1 => Message::from(parts.pop().unwrap_or_default()),
            _ => Message::many(parts),
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
            let mut parts = mem::take(self).into_vec(1);
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
            let mut parts = mem::take(self).into_vec(1);
            parts.insert(0, part.into_bytes());
            *self = Message::many(parts);
        }
    }

    /// The parts as a vector with room for `more`, so that the parts that made the message spill find their place.
    fn into_vec(self, more: usize) -> Vec<Bytes> {
        if let Body::Large(Large::Many(mut parts)) = self.body {
            parts.reserve(more);
            return parts;
        }
        let parts = self.into_parts();
        let mut vector = Vec::with_capacity((parts.len() + more).max(SPILLED_PARTS_MIN));
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

/// How many parts a message that outgrows [`Small`] has room for at once.
const SPILLED_PARTS_MIN: usize = 4;

/// How many parts [`Debug`](fmt::Debug) shows.
const DEBUG_PARTS_MAX: usize = 8;

/// How many bytes of a part [`Debug`](fmt::Debug) shows.
const DEBUG_PART_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::oracle::{check, fits_inline, hash_of, is_held_inline, lists_of_parts, ways_to_hold};
    use super::*;

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
    fn an_appended_message_is_held_inline_up_to_64_bytes_with_lengths() {
        for (front, back, inline) in [
            (&[62][..], &[0][..], true),
            (&[63], &[0], false),
            (&[64], &[0], false),
            (&[30], &[15, 16], true),
            (&[30], &[16, 16], false),
            (&[15, 15], &[15, 15], true),
            (&[15, 15], &[15, 16], false),
            (&[0; 32], &[0; 32], true),
            (&[0; 32], &[0; 33], false),
        ] {
            let parts = |lengths: &[usize], byte| lengths.iter().map(|length| vec![byte; *length]).collect();
            let (front, back): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (parts(front, 1), parts(back, 2));
            let mut message = Message::from_parts(front.iter().map(Vec::as_slice));
            message.append(Message::from_parts(back.iter().map(Vec::as_slice)));
            check(&message, &[front, back].concat());
            assert_eq!(is_held_inline(&message), inline, "{message:?}");
        }
    }

    #[test]
    fn large_parts_are_popped_and_appended_without_a_copy() {
        let large = Bytes::from(vec![1; 65]);
        let mut message = Message::from("peer");
        message.append(Message::from(large.clone()));
        message.append(Message::from([Bytes::new(), large.clone()]));
        assert_eq!(message.part_count(), 4);
        assert_eq!(message.pop_front().as_deref(), Some(&b"peer"[..]));
        assert_eq!(
            message.pop_front().map(|part| part.as_ptr()),
            Some(large.as_ptr())
        );
        assert_eq!(message.pop_front(), Some(Bytes::new()));
        assert_eq!(message.as_bytes().as_ptr(), large.as_ptr());
        assert_eq!(message.pop_front(), None);
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
        fn parts_pop_in_order_until_one_is_left(parts in lists_of_parts()) {
            for mut message in ways_to_hold(&parts) {
                let small = is_held_inline(&message);
                for (index, part) in parts[..parts.len() - 1].iter().enumerate() {
                    let popped = message.pop_front();
                    prop_assert_eq!(popped.as_deref(), Some(&part[..]));
                    check(&message, &parts[index + 1..]);
                    prop_assert!(is_held_inline(&message) || !small);
                }
                prop_assert_eq!(message.pop_front(), None);
                check(&message, &parts[parts.len() - 1..]);
            }
        }

        #[test]
        fn parts_pushed_to_the_front_come_out_in_reverse(parts in lists_of_parts()) {
            let mut message = Message::from(&parts[0][..]);
            for (index, part) in parts.iter().enumerate().skip(1) {
                message.push_front(&part[..]);
                let expected: Vec<Vec<u8>> = parts[..=index].iter().rev().cloned().collect();
                check(&message, &expected);
                prop_assert_eq!(is_held_inline(&message), fits_inline(&expected));
            }
        }

        #[test]
        fn appended_parts_stand_behind_the_others(
            front in lists_of_parts(),
            back in lists_of_parts(),
        ) {
            let expected = [&front[..], &back].concat();
            for mine in ways_to_hold(&front) {
                for theirs in ways_to_hold(&back) {
                    let small = is_held_inline(&mine) && is_held_inline(&theirs);
                    let mut message = mine.clone();
                    message.append(theirs);
                    check(&message, &expected);
                    prop_assert_eq!(is_held_inline(&message), small && fits_inline(&expected));
                }
            }
        }

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
