//! Nothing that was sent is lost when the sender closes, or its process ends, right after the last send.

use zerowire::SocketType;
use zerowire_interop::{Cell, Flow, Library, Pair, PeerProcess, Place, Scratch, matrix};

matrix! {
    every_pair:
    what_was_said_before_closing_is_heard,
}

matrix! {
    push_pull:
    two_processes_lose_nothing_when_each_exits_after_its_last_message,
    a_receiver_that_was_busy_gets_what_was_sent_before_the_sender_exited,
}

mod with_omq {
    use super::*;

    matrix! {
        Omq every_pair:
        what_was_said_before_closing_is_heard,
    }

    matrix! {
        Omq push_pull:
        two_processes_lose_nothing_when_each_exits_after_its_last_message,
        a_receiver_that_was_busy_gets_what_was_sent_before_the_sender_exited,
    }
}

/// Fewer than any high-water mark, at which libzmq drops what the kernel still holds when an ipc connection is closed.
const WORDS: u64 = 500;

/// Who hears does not look at its socket until who speaks is gone.
fn what_was_said_before_closing_is_heard(cell: Cell) {
    // A REP hears one message at a time.
    let words = match cell.pair {
        Pair {
            second: SocketType::Rep,
            ..
        } => 1,
        pair if pair.flow() == Flow::InTurns => 1,
        _ => WORDS,
    };
    let scratch = Scratch::new();
    let (mut first, mut second) = cell.sides();
    cell.join(&mut first, &mut second, &scratch);
    (0..words).for_each(|index| first.say_payload(index, 100));
    drop(first);
    (0..words).for_each(|index| second.hear_payload(index, 100));

    if cell.pair.flow() == Flow::OneWay {
        return;
    }
    let (mut first, mut second) = cell.sides();
    cell.join(&mut first, &mut second, &scratch);
    (0..words).for_each(|index| first.say_payload(index, 100));
    for index in 0..words {
        second.hear_payload(index, 100);
        second.say_payload(!index, 100);
    }
    drop(second);
    (0..words).for_each(|index| first.hear_payload(!index, 100));
}

const PEER: &str = env!("CARGO_BIN_EXE_peer");

/// (messages, bytes): many tiny ones, where the most messages are under way at the end; ordinary ones; some that do not
/// fit any buffer.
const LOADS: [(u64, usize); 3] = [(300_000, 1), (50_000, 100), (300, 100_000)];

fn two_processes_lose_nothing_when_each_exits_after_its_last_message(cell: Cell) {
    for (count, size) in LOADS {
        let scratch = Scratch::new();
        let wildcard = cell.transport.fresh(&scratch);
        let binder = start(cell, cell.binder(), "bind", &wildcard, count, size);
        let endpoint = binder.endpoint();
        let connector = start(cell, cell.binder().other(), "connect", &endpoint, count, size);
        // A receiver fails if a message is missing or out of order.
        binder.finish();
        connector.finish();
    }
}

/// The application does not look at its socket until the sender is gone.
fn a_receiver_that_was_busy_gets_what_was_sent_before_the_sender_exited(cell: Cell) {
    // A receiver of libzmq or omq gets less than its mark of 1,000. A zerowire receiver reads on beyond its own.
    let (count, size) = match cell.library(Place::Second) {
        Library::Libzmq | Library::Omq => (900, 100),
        Library::Zerowire => (5_000, 1),
    };
    let scratch = Scratch::new();
    let wildcard = cell.transport.fresh(&scratch);
    let mut pull = cell.side(Place::Second);
    let sender = if cell.binder() == Place::First {
        let sender = start(cell, Place::First, "bind", &wildcard, count, size);
        pull.peer.connect(&sender.endpoint());
        sender
    } else {
        let endpoint = pull.peer.bind(&wildcard);
        start(cell, Place::First, "connect", &endpoint, count, size)
    };
    sender.finish();
    for index in 0..count {
        pull.hear_payload(index, size);
    }
}

fn start(cell: Cell, place: Place, side: &str, endpoint: &str, count: u64, size: usize) -> PeerProcess {
    let library = cell.library(place).name();
    let role = match place {
        Place::First => "push",
        Place::Second => "pull",
    };
    PeerProcess::start(
        PEER,
        &format!("{library} {role} {side} {endpoint} {count} {size}"),
    )
}
