//! The envelope of a request: the parts in front of its body, the last of them empty, that say where the reply goes.
//!
//! ```text
//!   what a REQ sends                  | "" | body ...
//!   what a REP gets through routers   | address | address | "" | body ...
//!                                     | <---- envelope ----->|
//! ```
//!
//! Small requests and replies go through here without an allocation, in both directions.

use bytes::Bytes;

use super::{Body, Large, Message, Part};

impl Message {
    /// The message behind an empty part.
    #[inline]
    pub(crate) fn with_delimiter(mut self) -> Message {
        if let Body::Small(small) = &self.body {
            if let Some(held) = small.with_delimiter() {
                return Message::small(held);
            }
        }
        self.push_front_part(Part::from(b""));
        self
    }

    /// The message without its first part.
    ///
    /// # Errors
    /// The message as it was, if its first part is not empty or is the only one.
    #[inline]
    pub(crate) fn strip_delimiter(self) -> Result<Message, Message> {
        match self.body {
            Body::Small(small) => match small.without_delimiter() {
                Some(rest) => Ok(Message::small(rest)),
                None => Err(self),
            },
            Body::Large(Large::Many(mut parts)) if parts.first().is_some_and(Bytes::is_empty) => {
                parts.remove(0);
                Ok(Message::from_vec(parts))
            }
            Body::Large(_) => Err(self),
        }
    }

    /// The envelope, which is all up to the first empty part and that too, and the body behind it.
    ///
    /// # Errors
    /// The message as it was, if it has no empty part or nothing behind the first: an envelope without a body is
    /// malformed.
    pub(crate) fn split_envelope(self) -> Result<(Message, Message), Message> {
        match self.body {
            Body::Small(small) => match small.split_behind_empty() {
                Some((envelope, body)) => Ok((Message::small(envelope), Message::small(body))),
                None => Err(self),
            },
            Body::Large(Large::Shared(_)) => Err(self),
            Body::Large(Large::Many(mut parts)) => match parts.iter().position(Bytes::is_empty) {
                Some(delimiter) if delimiter + 1 < parts.len() => {
                    // Made anew, so that a short envelope is held inline, and the body keeps the vector.
                    let envelope = Message::from_parts(parts.drain(..=delimiter));
                    Ok((envelope, Message::from_vec(parts)))
                }
                _ => Err(Message::many(parts)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::oracle::{check, fits_inline, is_held_inline, lists_of_parts, ways_to_hold};

    /// What `split_envelope` should give: the index behind the first empty part, if there is a part.
    fn body_index(parts: &[Vec<u8>]) -> Option<usize> {
        let index = parts.iter().position(Vec::is_empty)? + 1;
        (index < parts.len()).then_some(index)
    }

    #[test]
    fn a_reply_is_stripped_down_to_one_part_that_is_held_as_one() {
        for length in [0, 1, 61, 62, 63, 64, 65, 5000] {
            let body = vec![7; length];
            for reply in ways_to_hold(&[vec![], body.clone()]) {
                let stripped = reply.strip_delimiter().expect("a delimiter and a body");
                check(&stripped, std::slice::from_ref(&body));
                assert_eq!(is_held_inline(&stripped), length <= 64, "{length} bytes");
            }
        }
    }

    #[test]
    fn a_large_body_is_not_copied_on_its_way_through_the_envelope() {
        let body = Bytes::from(vec![7; 65]);
        let request = Message::from(body.clone()).with_delimiter();
        assert_eq!(request.part(1).map(<[u8]>::as_ptr), Some(body.as_ptr()));
        let stripped = request.clone().strip_delimiter().expect("a delimiter");
        assert_eq!(stripped.as_bytes().as_ptr(), body.as_ptr());

        let mut request = request;
        request.push_front("peer");
        let (envelope, rest) = request.split_envelope().expect("an envelope");
        assert_eq!(envelope, Message::from(["peer", ""]));
        assert!(is_held_inline(&envelope));
        assert_eq!(rest.as_bytes().as_ptr(), body.as_ptr());
    }

    #[test]
    fn only_an_empty_part_with_others_behind_it_is_a_delimiter() {
        for parts in [&["body"][..], &[""], &["a", "b"], &["a", ""], &["a", "b", ""]] {
            let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.as_bytes().to_vec()).collect();
            for message in ways_to_hold(&parts) {
                check(
                    &message.clone().strip_delimiter().expect_err("no delimiter"),
                    &parts,
                );
                check(&message.split_envelope().expect_err("no envelope"), &parts);
            }
        }
    }

    #[test]
    fn the_first_empty_part_ends_the_envelope() {
        for (parts, index) in [
            (&["", "body"][..], 1),
            (&["", ""], 1),
            (&["", "", "body"], 1),
            (&["a", "", "body", "", "more"], 2),
            (&["a", "b", "", ""], 3),
        ] {
            let message = Message::from_parts(parts.iter().copied());
            let (envelope, body) = message.split_envelope().expect("an envelope");
            assert_eq!(envelope, Message::from_parts(parts[..index].iter().copied()));
            assert_eq!(body, Message::from_parts(parts[index..].iter().copied()));
        }
    }

    proptest! {
        #[test]
        fn a_delimiter_comes_and_goes(parts in lists_of_parts()) {
            let behind = [&[vec![]], &parts[..]].concat();
            for message in ways_to_hold(&parts) {
                let small = is_held_inline(&message);
                let delimited = message.with_delimiter();
                check(&delimited, &behind);
                prop_assert_eq!(is_held_inline(&delimited), small && fits_inline(&behind));
                let stripped = delimited.strip_delimiter().expect("a delimiter was added");
                check(&stripped, &parts);
            }
            for message in ways_to_hold(&parts) {
                let small = is_held_inline(&message);
                match message.strip_delimiter() {
                    Ok(stripped) => {
                        prop_assert!(parts[0].is_empty());
                        check(&stripped, &parts[1..]);
                        prop_assert!(is_held_inline(&stripped) || !small);
                    }
                    Err(message) => {
                        prop_assert!(!parts[0].is_empty() || parts.len() == 1);
                        check(&message, &parts);
                        prop_assert_eq!(is_held_inline(&message), small);
                    }
                }
            }
        }

        #[test]
        fn an_envelope_and_its_body_are_the_message(parts in lists_of_parts()) {
            for message in ways_to_hold(&parts) {
                let small = is_held_inline(&message);
                match (message.split_envelope(), body_index(&parts)) {
                    (Ok((mut envelope, body)), Some(index)) => {
                        check(&envelope, &parts[..index]);
                        check(&body, &parts[index..]);
                        prop_assert_eq!(is_held_inline(&envelope), fits_inline(&parts[..index]));
                        prop_assert!(is_held_inline(&body) || !small);
                        envelope.append(body);
                        check(&envelope, &parts);
                        prop_assert!(is_held_inline(&envelope) || !small);
                    }
                    (Err(message), None) => {
                        check(&message, &parts);
                        prop_assert_eq!(is_held_inline(&message), small);
                    }
                    (result, index) => prop_assert!(false, "{result:?} where the body starts at {index:?}"),
                }
            }
        }
    }
}
