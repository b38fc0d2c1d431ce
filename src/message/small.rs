use std::num::NonZeroU64;

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
pub(super) struct Small {
    /// Of no meaning behind `used`; not always zero there.
    bytes: [u8; SMALL_BYTES],
    header: Header,
}

/// How many parts there are, 1..=SMALL_BYTES, how many bytes they take, 0..=SMALL_BYTES, and how many of these are not lengths:
/// that is asked of each message that is received, to be counted.
///
/// ```text
///   bits 32..    | bits 16..32  | bits 8..16 | bits 0..8
///   content      | parts        | used       | 1: keeps the word from being zero, which stands for `Large`
/// ```
#[derive(Clone, Copy)]
struct Header(NonZeroU64);

impl Header {
    #[inline]
    fn new(parts: usize, used: usize) -> Header {
        debug_assert!((1..=SMALL_BYTES).contains(&parts) && used <= SMALL_BYTES);
        let content = if parts == 1 { used } else { used - parts };
        Header(NonZeroU64::MIN | (used as u64) << 8 | (parts as u64) << 16 | (content as u64) << 32)
    }

    #[inline]
    fn content(self) -> usize {
        (self.0.get() >> 32) as usize
    }

    #[inline]
    fn parts(self) -> usize {
        usize::from((self.0.get() >> 16) as u16)
    }

    #[inline]
    fn used(self) -> usize {
        usize::from((self.0.get() >> 8) as u8)
    }
}

impl Small {
    /// One part with zero bytes.
    pub(super) const EMPTY: Small = Small {
        bytes: [0; SMALL_BYTES],
        header: Header(NonZeroU64::MIN.saturating_add(1 << 16)),
    };

    #[inline]
    pub(super) fn single(bytes: [u8; SMALL_BYTES], length: usize) -> Small {
        Small {
            bytes,
            header: Header::new(1, length),
        }
    }

    /// One part, or `None` if it is too long.
    #[inline]
    pub(super) fn copied(part: &[u8]) -> Option<Small> {
        let mut bytes = [0; SMALL_BYTES];
        bytes.get_mut(..part.len())?.copy_from_slice(part);
        Some(Small::single(bytes, part.len()))
    }

    /// As many parts as said, at least one, from where they are laid out; `None` if they are too long.
    fn laid_out(bytes: &[u8], parts: usize) -> Option<Small> {
        if parts == 1 {
            return Small::copied(split_flat(bytes)?.0);
        }
        let copied = Small::copied(bytes)?;
        Some(Small {
            header: Header::new(parts, bytes.len()),
            ..copied
        })
    }

    #[inline]
    pub(super) fn parts(&self) -> usize {
        self.header.parts()
    }

    /// The only part, or several laid out.
    #[inline]
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.header.used()]
    }

    #[inline]
    pub(super) fn first(&self) -> &[u8] {
        match self.parts() {
            1 => self.as_slice(),
            _ => split_flat(self.as_slice()).map_or(&[], |(first, _)| first),
        }
    }

    /// The block that a part which is alone is the start of, and the part's length.
    #[inline]
    pub(super) fn block(&self) -> Option<(&[u8; SMALL_BYTES], u8)> {
        (self.parts() == 1).then(|| (&self.bytes, self.header.used() as u8))
    }

    /// How many bytes the parts have without their lengths.
    #[inline]
    pub(super) fn content_bytes(&self) -> usize {
        self.header.content()
    }

    /// What is left behind the first part, if there is anything.
    pub(super) fn without_first(&self) -> Option<Small> {
        let parts = self.parts();
        if parts == 1 {
            return None;
        }
        Small::laid_out(split_flat(self.as_slice())?.1, parts - 1)
    }

    /// What is left behind the first part, if that is empty and there is anything.
    ///
    /// As in [`Message::copied_prefix`](super::Message::copied_prefix), how much is copied is known to the compiler.
    #[inline]
    pub(super) fn without_delimiter(&self) -> Option<Small> {
        let mut bytes = [0; SMALL_BYTES];
        match (self.parts(), &self.bytes) {
            (2, [0, length, content @ ..]) => {
                bytes[..content.len()].copy_from_slice(content);
                Some(Small::single(bytes, usize::from(*length)))
            }
            (parts @ 3.., [0, laid_out @ ..]) => {
                bytes[..laid_out.len()].copy_from_slice(laid_out);
                Some(Small {
                    bytes,
                    header: Header::new(parts - 1, self.header.used() - 1),
                })
            }
            _ => None,
        }
    }

    /// All parts behind an empty one, or `None` if that does not fit. Copied as in
    /// [`without_delimiter`](Self::without_delimiter).
    #[inline]
    pub(super) fn with_delimiter(&self) -> Option<Small> {
        let (parts, used) = (self.parts(), self.header.used());
        let mut bytes = [0; SMALL_BYTES];
        // A part that was alone gets its length byte too.
        let added = if parts == 1 {
            bytes[1] = used as u8;
            bytes[2..].copy_from_slice(&self.bytes[..SMALL_BYTES - 2]);
            2
        } else {
            bytes[1..].copy_from_slice(&self.bytes[..SMALL_BYTES - 1]);
            1
        };
        (used + added <= SMALL_BYTES).then(|| Small {
            bytes,
            header: Header::new(parts + 1, used + added),
        })
    }

    /// The parts up to the first empty one, that included, and the parts behind; `None` if there is no empty part or
    /// nothing behind it.
    pub(super) fn split_behind_empty(&self) -> Option<(Small, Small)> {
        let (parts, bytes) = (self.parts(), self.as_slice());
        let mut behind = bytes;
        for taken in 1..parts {
            let (part, rest) = split_flat(behind)?;
            behind = rest;
            if part.is_empty() {
                let front = &bytes[..bytes.len() - behind.len()];
                return Small::laid_out(front, taken).zip(Small::laid_out(behind, parts - taken));
            }
        }
        None
    }

    /// Adds a part at the end; `false`, and nothing changed, if it does not fit.
    #[inline]
    pub(super) fn push_back(&mut self, part: &[u8]) -> bool {
        self.insert(part, |used| used)
    }

    /// Adds a part at the beginning; `false`, and nothing changed, if it does not fit.
    #[inline]
    pub(super) fn push_front(&mut self, part: &[u8]) -> bool {
        self.insert(part, |_| 0)
    }

    /// Adds the parts of another at the end; `false`, and nothing changed, if they do not fit.
    pub(super) fn append(&mut self, other: &Small) -> bool {
        let (parts, added) = (self.parts(), other.as_slice());
        if other.parts() == 1 {
            return self.push_back(added);
        }
        let start = self.header.used() + self.missing_lengths();
        let used = start + added.len();
        if used > SMALL_BYTES {
            return false;
        }
        self.lay_out();
        self.bytes[start..used].copy_from_slice(added);
        self.header = Header::new(parts + other.parts(), used);
        true
    }

    /// Adds a part where `position` says, given how many bytes are used, once all parts are laid out.
    #[inline]
    fn insert(&mut self, part: &[u8], position: impl FnOnce(usize) -> usize) -> bool {
        let (parts, used) = (self.parts(), self.header.used());
        let missing = self.missing_lengths();
        let free = SMALL_BYTES.saturating_sub(used + missing);
        if part.len() >= free {
            return false;
        }
        self.lay_out();
        let used = used + missing;
        let at = position(used);
        let content = at + 1;
        self.bytes.copy_within(at..used, content + part.len());
        self.bytes[at] = part.len() as u8;
        self.bytes[content..content + part.len()].copy_from_slice(part);
        self.header = Header::new(parts + 1, content + part.len() + used - at);
        true
    }

    /// How many length bytes it takes to lay the parts out: a part that is alone has none yet.
    #[inline]
    fn missing_lengths(&self) -> usize {
        usize::from(self.parts() == 1)
    }

    /// Gives a part that is alone its length byte, for which there must be room. The header is left to the caller,
    /// who adds more.
    #[inline]
    fn lay_out(&mut self) {
        let used = self.header.used();
        if self.parts() == 1 {
            self.bytes.copy_within(..used, 1);
            self.bytes[0] = used as u8;
        }
    }
}

/// Splits the first part off parts laid out as in [`Small`]; `None` behind the last.
#[inline]
pub(super) fn split_flat(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// How many bytes a message holds without an allocation. Lengths up to here fit a `u8`.
pub(super) const SMALL_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use crate::message::Message;
    use crate::message::oracle::{check, is_held_inline};

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
}
