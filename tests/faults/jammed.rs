//! Connections that take nothing more for a while, and then are gone: what becomes of messages that are half written by then,
//! and of those that are not read yet.

use std::time::Duration;

use zerowire::{Builder, Context, DealerSocket, Event, Message, PullSocket, PushSocket, Socket};

use crate::on_every_wire;
use crate::process::checked;
use crate::relay::{Plan, Relay, Way, jam_bytes_max, whole_messages};
use crate::support::{Transport, pattern, receive, send, wait_for_end, wait_for_handshake, wait_until};

on_every_wire! {
    /// A message too large for the kernel is half written at whichever byte its connection comes to a halt: in its header, in
    /// its body, between its parts. It is sent again, whole, on the next connection, and nothing is lost.
    fn a_large_message_that_is_half_written_is_sent_again(transport) {
        let mut halts = Vec::new();
        let mut at = opening_bytes(transport);
        for number in 0..LARGE_MESSAGES {
            let end = at + frames_bytes(&large(number));
            for part in large(number) {
                let body = at + header_bytes(&part);
                let inside = (at..=body + 1).chain([body + part.len() / 2]);
                halts.extend(inside.filter(|halt| halt + KERNEL_BYTES_MAX < end));
                at = body + part.len();
            }
        }
        assert!(halts.len() > 30, "{halts:?}");
        for halt in halts {
            let halted = halt_at(transport, halt, LARGE_MESSAGES, large);
            assert_eq!(halted.finished, halted.through, "only what came through was written to its end");
        }
    }

    /// Of many small messages the kernel holds some when the connection is gone, and those are lost, counted as handed over.
    /// What it had not taken to the last byte is sent again, from the first byte of a message on.
    fn small_messages_go_on_where_the_kernel_had_taken_no_more(transport) {
        let opening = opening_bytes(transport);
        for round in 0..24 {
            let halted = halt_at(transport, opening + 20_000 + 41 * round, SMALL_MESSAGES, small);
            let taken: usize = (0..halted.finished).map(|number| frames_bytes(&small(number))).sum();
            assert!(
                halted.finished < SMALL_MESSAGES && taken < halted.at + KERNEL_BYTES_MAX,
                "{} are no more than the kernel holds",
                halted.finished
            );
        }
    }

    /// What a peer had sent is read to the end, also if it is more than is read at a time and writing fails meanwhile.
    fn a_write_that_fails_does_not_end_reading(transport) {
        const COUNT: u32 = 300;
        /// More than one side's high-water mark, and less than all.
        const WANTED: u32 = 50;
        let context = Context::new();
        let mut one = calm(DealerSocket::builder(&context).receive_hwm(10).receive_buffer(4 << 20));
        let mut other = calm(DealerSocket::builder(&context).send_hwm(COUNT));
        let (monitor, others_monitor) = (one.monitor(), other.monitor());
        let target = other.bind(transport.wildcard()).unwrap().to_string();
        let most = jam_bytes_max();
        let jam = Plan::Jam([30_000, most]);
        let relay = Relay::start(transport, &target, vec![jam]);
        one.connect(relay.endpoint()).unwrap();
        let body = |number: u32| vec![number.to_be_bytes().to_vec(), pattern(most / WANTED as usize, number as u8)];
        for number in 0..COUNT {
            send(&mut one, Message::from_parts(body(number)));
        }
        wait_for_handshake(&others_monitor);
        for number in 0..COUNT {
            send(&mut other, Message::from_parts(body(number)));
        }
        let link = relay.link(0);
        wait_until("nothing moves any more", || link.is_jammed());
        assert!(one.stats().sent.waiting > 0, "there is something left to write");
        link.cut();
        wait_for_end(&monitor);
        let sent = whole_messages(&link.forwarded(Way::Down));
        assert!(sent.len() + 5 > WANTED as usize);
        for parts in sent {
            assert!(receive(&mut one) == Message::from_parts(parts));
        }
        // One side may be back before the other one knows that it was gone.
        let (mut ended, mut back) = (false, false);
        wait_until("they have a new connection, and no other", || {
            while let Some(event) = others_monitor.try_recv() {
                ended |= matches!(event, Event::Disconnected { .. });
                back |= matches!(event, Event::HandshakeSucceeded { .. });
            }
            ended && back && other.stats().sent.peers == 1
        });
        send(&mut other, "the next");
        assert_eq!(receive(&mut one).as_bytes(), b"the next");
        checked(one.stats());
        checked(other.stats());
    }
}

/// What was known when a connection had halted and was gone.
struct Halted {
    /// Bytes that came through.
    at: usize,
    /// Messages that came through to the last byte.
    through: u32,
    /// Messages that count as handed over.
    finished: u32,
}

/// Sends messages over a connection that takes no more than so many bytes, cuts it, and checks what comes on that and the next
/// one.
fn halt_at(transport: Transport, bytes: usize, count: u32, parts_of: fn(u32) -> Vec<Vec<u8>>) -> Halted {
    let context = Context::new();
    let mut pull = calm(PullSocket::builder(&context));
    let mut push = calm(PushSocket::builder(&context).send_hwm(count));
    let monitor = push.monitor();
    let target = pull.bind(transport.wildcard()).unwrap().to_string();
    let plans = vec![Plan::Jam([bytes, usize::MAX]), Plan::Stall(Way::Up, 0)];
    let relay = Relay::start(transport, &target, plans);
    push.connect(relay.endpoint()).unwrap();
    if bytes % 2 == 0 {
        // Now it may write some of them itself.
        wait_for_handshake(&monitor);
    }
    for number in 0..count {
        push.try_send(Message::from_parts(parts_of(number))).unwrap();
    }
    let first = relay.link(0);
    wait_until("nothing moves any more", || first.is_jammed());
    first.cut();
    wait_for_end(&monitor);
    // The next one gets nowhere yet.
    let next = relay.link(1);
    let sent = checked(push.stats()).sent;
    assert_eq!((sent.accepted, sent.dropped.total()), (count.into(), 0));
    let finished = u32::try_from(sent.handed_over).unwrap();
    next.release();

    let numbers_through = |bytes: &[u8]| -> Vec<u32> {
        let number_of = |parts: &Vec<Vec<u8>>| {
            let number = u32::from_be_bytes(parts[0][..4].try_into().unwrap());
            assert!(*parts == parts_of(number), "message {number} is whole");
            number
        };
        whole_messages(bytes).iter().map(number_of).collect()
    };
    let through = numbers_through(&first.forwarded(Way::Up));
    assert!(through.iter().copied().eq(0..through.len() as u32), "{through:?}");
    let expected: Vec<u32> = through.iter().copied().chain(finished..count).collect();
    let mut heard: Vec<u32> = expected
        .iter()
        .map(|_| {
            let message = receive(&mut pull);
            let number = u32::from_be_bytes(message.as_bytes()[..4].try_into().unwrap());
            assert!(
                message == Message::from_parts(parts_of(number)),
                "message {number} is whole"
            );
            number
        })
        .collect();
    wait_until("all is handed over", || push.stats().sent.waiting == 0);
    let again: Vec<u32> = (finished..count).collect();
    // The relay takes note of bytes when they are written.
    wait_until("all has come through", || {
        whole_messages(&next.forwarded(Way::Up)).len() >= again.len()
    });
    assert_eq!(
        numbers_through(&next.forwarded(Way::Up)),
        again,
        "halted at {bytes}"
    );
    // The last ones of the first connection may be overtaken.
    heard.sort();
    assert_eq!(heard, expected, "halted at {bytes}");
    let sent = checked(push.stats()).sent;
    assert_eq!((sent.handed_over, sent.dropped.total()), (count.into(), 0));
    assert_eq!(checked(pull.stats()).received.taken, expected.len() as u64);
    Halted {
        at: bytes,
        through: through.len() as u32,
        finished,
    }
}

/// How many bytes come before the first message of who dials.
fn opening_bytes(transport: Transport) -> usize {
    const GREETING_BYTES: usize = 64;
    let context = Context::new();
    let mut pull = calm(PullSocket::builder(&context));
    let mut push = calm(PushSocket::builder(&context));
    let target = pull.bind(transport.wildcard()).unwrap().to_string();
    let relay = Relay::start(transport, &target, Vec::new());
    push.connect(relay.endpoint()).unwrap();
    let link = relay.link(0);
    let mut opening = 0;
    wait_until("the handshake is done", || {
        let bytes = link.forwarded(Way::Up);
        opening = bytes.len();
        // One short command.
        let size = bytes.get(GREETING_BYTES + 1).copied();
        size.is_some_and(|size| opening == GREETING_BYTES + 2 + usize::from(size))
    });
    opening
}

const LARGE_MESSAGES: u32 = 4;
const SMALL_MESSAGES: u32 = 5000;
/// What the kernel and the relay hold of a connection that has halted is less.
const KERNEL_BYTES_MAX: usize = 600_000;

/// Among small ones, two that are larger than that: of one part, and of several.
fn large(number: u32) -> Vec<Vec<u8>> {
    const BYTES: usize = KERNEL_BYTES_MAX + 100_000;
    let name = number.to_be_bytes().to_vec();
    match number {
        0 => vec![name],
        1 => vec![[name, pattern(BYTES, 1)].concat()],
        2 => vec![
            name,
            pattern(300, 2),
            Vec::new(),
            pattern(BYTES, 3),
            pattern(BYTES, 4),
        ],
        _ => vec![name, pattern(300, 5)],
    }
}

fn small(number: u32) -> Vec<Vec<u8>> {
    let name = number.to_be_bytes().to_vec();
    let body = pattern(100 + number as usize % 397, number as u8);
    match number % 3 {
        0 => vec![name, Vec::new(), body],
        _ => vec![[name, body].concat()],
    }
}

/// How long a message is on the wire.
fn frames_bytes(parts: &[Vec<u8>]) -> usize {
    parts.iter().map(|part| header_bytes(part) + part.len()).sum()
}

fn header_bytes(part: &[u8]) -> usize {
    if part.len() > 255 { 9 } else { 2 }
}

/// Says nothing of its own accord, has little in the kernel, and tries again soon.
fn calm<S: Socket>(builder: Builder<S>) -> S {
    let builder = builder.heartbeat(Duration::ZERO).send_buffer(64 << 10);
    builder.reconnect_min(Duration::from_millis(1)).build().unwrap()
}
