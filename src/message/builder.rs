use bytes::Bytes;

use super::{Message, Part};

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

    pub(super) fn push(&mut self, part: Part<'_>) {
        match &mut self.message {
            None => self.message = Some(Message::from_part(part)),
            Some(message) => message.push_back_part(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::oracle::{check, is_held_inline};

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
}
