//! Messages of every shape cross unchanged and in order, between zerowire and libzmq or omq in one process.

use std::thread;

use zerowire_interop::{Cell, Flow, Scratch, Side, assert_payload, matrix, payload};

matrix! {
    every_pair:
    messages_of_every_shape_arrive_unchanged,
    a_row_of_messages_arrives_in_order,
}

matrix! {
    push_pull:
    messages_of_sizes_around_every_boundary_arrive_unchanged,
    messages_of_mixed_sizes_in_a_row_arrive_unchanged,
    multipart_messages_keep_their_parts,
    a_hundred_thousand_messages_arrive_in_order,
}

mod with_omq {
    use super::*;

    matrix! {
        Omq every_pair:
        messages_of_every_shape_arrive_unchanged,
        a_row_of_messages_arrives_in_order,
    }

    matrix! {
        Omq push_pull:
        messages_of_sizes_around_every_boundary_arrive_unchanged,
        messages_of_mixed_sizes_in_a_row_arrive_unchanged,
        multipart_messages_keep_their_parts,
        a_hundred_thousand_messages_arrive_in_order,
    }
}

/// Either side of: inline bodies (libzmq 33 B, zerowire 64 B), the one-byte frame size, zerowire's own segments (4 KiB),
/// libzmq's batch (8 KiB), zerowire's largest direct write (64 KiB).
const SIZES: [usize; 20] = [
    0,
    1,
    33,
    34,
    63,
    64,
    65,
    254,
    255,
    256,
    4095,
    4096,
    4097,
    8191,
    8192,
    8193,
    65_535,
    65_536,
    1 << 20,
    16 << 20,
];

/// One at a time, forth and, if the pair can, back.
fn messages_of_every_shape_arrive_unchanged(cell: Cell) {
    let mut shapes: Vec<Vec<usize>> = SIZES[..19].iter().map(|size| vec![*size]).collect();
    shapes.extend([
        vec![0, 0],
        vec![1, 0],
        vec![0, 1],
        vec![0, 5, 0],
        vec![0; 100],
        SIZES[..18].into(),
        vec![10, 1 << 20, 10],
    ]);
    let scratch = Scratch::new();
    let (mut first, mut second) = cell.sides();
    cell.join(&mut first, &mut second, &scratch);
    for (index, shape) in (0..).zip(&shapes) {
        first.say(&message(index, shape));
        assert_message(&second.hear(), index, shape);
        if cell.pair.flow() != Flow::OneWay {
            second.say(&message(!index, shape));
            assert_message(&first.hear(), !index, shape);
        }
    }
}

/// Many at once, with answers if the pair has any.
fn a_row_of_messages_arrives_in_order(cell: Cell) {
    let count = match cell.pair.flow() {
        Flow::OneWay => 20_000,
        Flow::BothWays => 10_000,
        Flow::InTurns => 500,
    };
    let scratch = Scratch::new();
    let (mut first, mut second) = cell.sides();
    cell.join(&mut first, &mut second, &scratch);
    // Below every high-water mark, at which libzmq's ROUTER would drop.
    cell.converse(&mut first, &mut second, (count, 300), |index| {
        (index % 97) as usize
    });
}

fn messages_of_sizes_around_every_boundary_arrive_unchanged(cell: Cell) {
    let scratch = Scratch::new();
    let (mut push, mut pull) = cell.sides();
    cell.join(&mut push, &mut pull, &scratch);
    for (index, size) in (0..).zip(SIZES) {
        push.say_payload(index, size);
        pull.hear_payload(index, size);
    }
}

/// Unlike one by one, these meet in the same blocks: every size follows every other at some offset.
fn messages_of_mixed_sizes_in_a_row_arrive_unchanged(cell: Cell) {
    let mut sizes: Vec<usize> = SIZES.into();
    sizes.extend(SIZES.iter().rev());
    for first in &SIZES[..18] {
        sizes.extend(SIZES[..18].iter().flat_map(|second| [*first, *second]));
    }
    in_a_row(
        cell,
        {
            let sizes = sizes.clone();
            move |push| {
                (0..)
                    .zip(sizes)
                    .for_each(|(index, size)| push.say_payload(index, size))
            }
        },
        |pull| {
            (0..)
                .zip(sizes)
                .for_each(|(index, size)| pull.hear_payload(index, size))
        },
    );
}

fn multipart_messages_keep_their_parts(cell: Cell) {
    let mut shapes: Vec<Vec<usize>> = vec![
        vec![0],
        vec![0, 0],
        vec![1, 0],
        vec![0, 1],
        vec![0, 5, 0],
        vec![3, 3, 3],
        SIZES[..19].into(),
        SIZES[..19].iter().rev().copied().collect(),
        vec![0; 100],
        // zerowire's default limit.
        (0..1024).map(|part| part % 70).collect(),
    ];
    // A large part first, in the middle and last.
    for position in 0..3 {
        let mut shape = vec![10; 3];
        shape[position] = 1 << 20;
        shapes.push(shape);
    }
    // Many small ones in a row, so that message ends fall on block ends.
    shapes.extend((0..3000).map(|index| vec![index % 300, index % 7, 0]));
    in_a_row(
        cell,
        {
            let shapes = shapes.clone();
            move |push| {
                for (index, shape) in (0..).zip(&shapes) {
                    push.say(&message(index, shape));
                }
            }
        },
        |pull| {
            for (index, shape) in (0..).zip(&shapes) {
                assert_message(&pull.hear(), index, shape);
            }
        },
    );
}

fn a_hundred_thousand_messages_arrive_in_order(cell: Cell) {
    const COUNT: u64 = 100_000;
    let size = |index: u64| (index % 97) as usize + 8;
    in_a_row(
        cell,
        move |push| (0..COUNT).for_each(|index| push.say_payload(index, size(index))),
        |pull| (0..COUNT).for_each(|index| pull.hear_payload(index, size(index))),
    );
}

/// Sends in a thread of its own and receives here. The sender closes its socket when it is done, with messages under way.
fn in_a_row(cell: Cell, send: impl FnOnce(&mut Side) + Send + 'static, receive: impl FnOnce(&mut Side)) {
    let scratch = Scratch::new();
    let (mut push, mut pull) = cell.sides();
    cell.join(&mut push, &mut pull, &scratch);
    let sender = thread::spawn(move || send(&mut push));
    receive(&mut pull);
    sender.join().expect("the sender");
}

fn message(index: u64, shape: &[usize]) -> Vec<Vec<u8>> {
    (0..)
        .zip(shape)
        .map(|(part, size)| payload(part_index(index, part), *size))
        .collect()
}

#[track_caller]
fn assert_message(parts: &[Vec<u8>], index: u64, shape: &[usize]) {
    assert_eq!(parts.len(), shape.len(), "number of parts of message {index}");
    for (part, (body, size)) in (0..).zip(parts.iter().zip(shape)) {
        assert_payload(body, part_index(index, part), *size);
    }
}

fn part_index(index: u64, part: u64) -> u64 {
    index << 16 | part
}
