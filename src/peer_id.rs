//! The name of a peer, as a ROUTER knows it.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

/// Names a peer of a [`RouterSocket`](crate::RouterSocket): the peer's own identity, or an id made up for it.
///
/// 1 to 255 bytes. A peer chooses its identity by a builder option; ids that are made up begin with a zero byte, which no
/// identity may (ZeroMQ RFC 28). A clone shares the bytes.
///
/// # Examples
/// ```
/// use zerowire::PeerId;
///
/// let id = PeerId::new("worker-7")?;
/// assert_eq!(id.as_bytes(), b"worker-7");
/// assert!(!id.is_generated());
/// assert!(PeerId::new("").is_err());
/// # Ok::<(), zerowire::InvalidPeerId>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Bytes);

impl PeerId {
    /// Takes the bytes for a name.
    ///
    /// # Errors
    /// [`InvalidPeerId`] if there are none, or more than 255.
    pub fn new(bytes: impl Into<Bytes>) -> Result<PeerId, InvalidPeerId> {
        let bytes = bytes.into();
        match bytes.len() {
            1..=PEER_ID_BYTES_MAX => Ok(PeerId(bytes)),
            bytes => Err(InvalidPeerId { bytes }),
        }
    }

    /// An id for a peer that has no identity. Numbers repeat after four billion, which whoever takes one looks out for.
    pub(crate) fn generated(number: u32) -> PeerId {
        let [a, b, c, d] = number.to_be_bytes();
        PeerId(Bytes::copy_from_slice(&[0, a, b, c, d]))
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes of the name, for a part of a message. Nothing is copied.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Whether the id was made up, because the peer has no identity.
    pub fn is_generated(&self) -> bool {
        self.0[0] == 0
    }
}

impl AsRef<[u8]> for PeerId {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&str> for PeerId {
    type Error = InvalidPeerId;

    fn try_from(name: &str) -> Result<PeerId, InvalidPeerId> {
        PeerId::new(Bytes::copy_from_slice(name.as_bytes()))
    }
}

impl From<PeerId> for Bytes {
    fn from(id: PeerId) -> Bytes {
        id.0
    }
}

/// Shows text as text, and other bytes as their values.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_generated() {
            f.write_str("#")?;
            return self.0[1..].iter().try_for_each(|byte| write!(f, "{byte:02x}"));
        }
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

/// Bytes that cannot name a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a peer id of {bytes} bytes, allowed are 1 to 255")]
pub struct InvalidPeerId {
    /// How many bytes there were.
    pub bytes: usize,
}

/// Longest name, as ZeroMQ RFC 23 has it.
pub(crate) const PEER_ID_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_to_255_bytes() {
        assert_eq!(PeerId::new(""), Err(InvalidPeerId { bytes: 0 }));
        assert_eq!(PeerId::new(vec![1; 256]), Err(InvalidPeerId { bytes: 256 }));
        assert!(PeerId::new(vec![1; 255]).is_ok());
    }

    #[test]
    fn names_are_shown_so_that_people_can_read_them() {
        assert_eq!(PeerId::new("worker-7").unwrap().to_string(), "worker-7");
        assert_eq!(PeerId::new(vec![1, b'a']).unwrap().to_string(), r"\x01a");
        assert_eq!(
            format!("{:?}", PeerId::generated(0x0102_0a0b)),
            "PeerId(#01020a0b)"
        );
    }
}
