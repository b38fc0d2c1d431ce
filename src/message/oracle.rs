//! Messages against the plain list of parts that they stand for.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use proptest::prelude::*;

use super::{Body, Large, Message, PartRef};

/// Lists of parts about the limits of what is held inline.
pub(super) fn lists_of_parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let any = prop_oneof![
        6 => Just(0),
        3 => Just(1),
        3 => 2..40_usize,
        4 => 60..68_usize,
        1 => Just(5000),
    ];
    let lengths = prop_oneof![
        3 => prop::collection::vec(any, 1..6),
        2 => prop::collection::vec(0..30_usize, 1..6),
        1 => prop::collection::vec(0..2_usize, 1..70),
    ];
    lengths.prop_map(|lengths| {
        let parts = lengths.iter().enumerate();
        parts
            .map(|(part, length)| (0..*length).map(|index| (index + 31 * part + 1) as u8).collect())
            .collect()
    })
}

/// Messages of the same parts: one that takes no more memory than it needs, and one that is spread.
pub(super) fn ways_to_hold(parts: &[Vec<u8>]) -> [Message; 2] {
    [
        Message::from_parts(parts.iter().map(Vec::as_slice)),
        spread(parts),
    ]
}

/// Whether a message of these parts needs no memory of its own.
pub(super) fn fits_inline(parts: &[Vec<u8>]) -> bool {
    match parts {
        [only] => only.len() <= 64,
        several => several.iter().map(|part| part.len() + 1).sum::<usize>() <= 64,
    }
}

/// Everything that can be asked of a message, against the parts it should have.
pub(super) fn check(message: &Message, expected: &[Vec<u8>]) {
    if let Body::Large(Large::Many(parts)) = &message.body {
        assert!(parts.len() >= 2, "one part is never held in a vector");
    }
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

/// A message of the same parts that is held as `Many`, whatever would fit.
pub(super) fn spread(parts: &[Vec<u8>]) -> Message {
    match parts {
        [only] => Message::shared(Bytes::copy_from_slice(only)),
        several => Message::many(several.iter().map(|part| Bytes::copy_from_slice(part)).collect()),
    }
}

fn owned(message: &Message) -> Vec<Vec<u8>> {
    message.parts().map(<[u8]>::to_vec).collect()
}

pub(super) fn hash_of(message: &Message) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}

/// Whether the first part lies in the message itself, and not in memory of its own.
pub(super) fn is_held_inline(message: &Message) -> bool {
    let start = std::ptr::from_ref(message).addr();
    (start..start + size_of::<Message>()).contains(&message.as_bytes().as_ptr().addr())
}
