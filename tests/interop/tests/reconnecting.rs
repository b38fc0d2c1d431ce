//! A peer that goes and one that comes in its place, at the same endpoint.

use zerowire_interop::{Cell, Scratch, matrix};

matrix! {
    every_pair: a_new_peer_takes_the_place_of_one_that_is_gone,
}

mod with_omq {
    use super::*;

    matrix! {
        Omq every_pair: a_new_peer_takes_the_place_of_one_that_is_gone,
    }
}

fn a_new_peer_takes_the_place_of_one_that_is_gone(cell: Cell) {
    let scratch = Scratch::new();
    let (mut first, mut second) = cell.sides();
    let mut joined = cell.join(&mut first, &mut second, &scratch);
    cell.converse(&mut first, &mut second, (100, 10), |_| 100);
    for _ in 0..2 {
        cell.replace_binder(&mut joined, &mut first, &mut second);
        cell.converse(&mut first, &mut second, (100, 10), |_| 100);
    }
}
