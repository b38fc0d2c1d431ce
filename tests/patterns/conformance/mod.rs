//! What the specifications of the socket types ask for, sentence by sentence: one test for each, over every transport.
//!
//! The line above a test, `[30/PUSH-3] SHALL: what it says.`, names the RFC, the socket type and the number of the sentence
//! among those of that type, in the order of the RFC. What counts is a sentence, up to its full stop or colon, with at least
//! one SHALL or SHOULD: an item of a list that holds two such sentences has two numbers, one that says SHALL twice has
//! one, and one that says MAY and SHALL counts as a SHALL. Sentences that say only MAY have no number. The word in capitals
//! is that of the RFC: SHALL also where it goes on with a small `not`.
//! That makes REQ 8, REP 11, DEALER 13, ROUTER 14; PUB 13, XPUB 14, SUB 10, XSUB 16; PUSH 12, PULL 9; PAIR 12.
//! ` DIFFERS: why.` at the end of such a line marks what this library does otherwise on purpose; the test shows what.
//!
//! `tests/conformance.rs` reads these lines and keeps `tests/CONFORMANCE.md`, the table of them with their results.

mod pair;
mod pipeline;
mod pubsub;
mod reqrep;
mod router;

use std::marker::PhantomData;

use zerowire::{Receives, Sends};

/// Whether a socket has the methods to send or to receive at all: the compiler knows.
struct Able<S>(PhantomData<S>);

trait Unable {
    const TO_SEND: bool = false;
    const TO_RECEIVE: bool = false;
}

impl<S> Unable for Able<S> {}

impl<S: Sends> Able<S> {
    const TO_SEND: bool = true;
}

impl<S: Receives> Able<S> {
    const TO_RECEIVE: bool = true;
}
