//! PAIR, as ZeroMQ RFC 31 specifies it.

use std::thread;
use std::time::Duration;

use zerowire::{
    Context, Event, Message, Monitor, PairSocket, Reason, SendTimeoutError, TryRecvError, TrySendError,
};

use crate::on_every_transport;
use crate::support::{
    DEADLINE, Transport, pattern, receive, receive_number, send, send_number, wait_for, wait_for_end,
    wait_for_handshake, wait_until,
};

/// The socket that was connected to, and the one that connected.
fn pair(context: &Context, transport: Transport) -> (PairSocket, PairSocket) {
    let (mut left, mut right) = (PairSocket::new(context), PairSocket::new(context));
    right.connect(left.bind(transport.wildcard()).unwrap()).unwrap();
    (left, right)
}

/// A socket whose queues are what holds most of the messages that nobody takes: the kernel holds less than two of
/// [`LARGE_BYTES`].
fn narrow(context: &Context, send_hwm: u32, receive_hwm: u32) -> PairSocket {
    PairSocket::builder(context)
        .send_hwm(send_hwm)
        .receive_hwm(receive_hwm)
        .send_buffer(KERNEL_BYTES)
        .receive_buffer(KERNEL_BYTES)
        .reconnect_min(Duration::from_millis(1))
        .build()
        .unwrap()
}

/// What a kernel's buffer is asked to hold.
const KERNEL_BYTES: usize = 16 << 10;
const LARGE_BYTES: usize = 64 << 10;

/// A message that is larger than the kernel's buffers, and says which one it is.
fn large(number: u32) -> Message {
    Message::from([number.to_be_bytes().to_vec(), pattern(LARGE_BYTES, number as u8)])
}

/// Sends large messages until the socket takes no more for some time, and returns how many it took.
#[track_caller]
fn stuff(socket: &mut PairSocket) -> u32 {
    let mut sent = 0;
    while socket
        .send_timeout(large(sent), Duration::from_millis(200))
        .is_ok()
    {
        sent += 1;
        assert!(sent < 200, "nobody takes them, so there must be an end");
    }
    sent
}

/// Receives what [`stuff`] has sent.
#[track_caller]
fn receive_stuffed(socket: &mut PairSocket, count: u32) {
    for number in 0..count {
        assert!(receive(socket) == large(number), "large message {number}");
    }
}

/// Fills the queue of a peer that is not there yet.
#[track_caller]
fn fill(socket: &mut PairSocket, hwm: u32) {
    for number in 0..hwm {
        socket.try_send(&number.to_be_bytes()).unwrap();
    }
    assert!(matches!(
        socket.try_send("one too many"),
        Err(TrySendError::Full(_))
    ));
}

#[track_caller]
fn wait_for_refusal(monitor: &Monitor) {
    wait_for(monitor, "refused because the place is taken", |event| {
        matches!(
            event,
            Event::HandshakeFailed {
                reason: Reason::AlreadyPaired,
                ..
            }
        )
        .then_some(())
    });
}

on_every_transport! {
    /// [31/PAIR-1] SHALL: no message is changed or withheld in either direction, whatever its size and its parts.
    fn messages_arrive_unchanged_both_ways(transport) {
        let context = Context::new();
        let (mut left, mut right) = pair(&context, transport);
        let mut messages: Vec<Message> = (0..600).map(|size| Message::from(pattern(size, 1))).collect();
        for size in [4095, 4096, 65_535, 65_536, 1 << 20, 5 << 20] {
            messages.push(pattern(size, 2).into());
            messages.push([pattern(size, 3), Vec::new(), pattern(size, 4)].into());
        }
        messages.push([&b""[..], b""].into());
        messages.push(Message::from_parts(vec![Vec::<u8>::new(); 1024]));
        let expected = messages.clone();
        let there = thread::spawn(move || {
            for expected in expected {
                let message = receive(&mut right);
                assert!(message == expected, "{} parts, {} bytes", message.part_count(), message.total_bytes());
                send(&mut right, message);
            }
        });
        for message in messages {
            send(&mut left, message.clone());
            assert!(receive(&mut left) == message, "back: {} bytes", message.total_bytes());
        }
        there.join().unwrap();
    }

    /// [31/PAIR-2] SHALL: each direction has a queue of its own; one that is full does not stop the other.
    fn a_full_queue_in_one_direction_leaves_the_other_alone(transport) {
        let context = Context::new();
        let (mut left, mut right) = (narrow(&context, 5, 5), narrow(&context, 5, 5));
        right.connect(left.bind(transport.wildcard()).unwrap()).unwrap();
        for _ in 0..2 {
            // Both are there before either is full.
            send(&mut left, "hello");
            assert_eq!(receive(&mut right).as_bytes(), b"hello");
            let stuffed = stuff(&mut left);
            for number in 0..100 {
                send_number(&mut right, number);
                assert_eq!(receive_number(&mut left), number);
            }
            receive_stuffed(&mut right, stuffed);
            std::mem::swap(&mut left, &mut right);
        }
    }

    /// [31/PAIR-3] SHALL: the queues to and from its peer are there from the moment it connects, with or without a
    /// connection.
    fn the_queues_of_a_pair_that_connects_are_there_with_or_without_its_peer(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut stays = narrow(&context, 1000, 1000);
        let monitor = stays.monitor();
        stays.connect(endpoint.as_str()).unwrap();
        for round in 0..3 {
            for number in 0..100 {
                send_number(&mut stays, number);
            }
            let mut comes = PairSocket::new(&context);
            comes.bind(endpoint.as_str()).unwrap();
            for number in 0..100 {
                assert_eq!(receive_number(&mut comes), number);
            }
            for number in 0..10 {
                send_number(&mut comes, number + round);
            }
            comes.unbind(endpoint.as_str()).unwrap();
            drop(comes);
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
            for number in 0..10 {
                assert_eq!(receive_number(&mut stays), number + round);
            }
        }
    }

    /// [31/PAIR-4] SHALL: a peer that connects to it gets queues then, and not before.
    fn the_queues_of_an_accepted_peer_come_with_it(transport) {
        let context = Context::new();
        let mut left = PairSocket::new(&context);
        let endpoint = left.bind(transport.wildcard()).unwrap();
        assert!(matches!(left.try_send("nobody is there"), Err(TrySendError::NoPeer(_))));
        assert_eq!(left.try_recv(), Err(TryRecvError::Empty));
        let mut right = PairSocket::new(&context);
        right.connect(&endpoint).unwrap();
        for number in 0..10 {
            send_number(&mut left, number);
            send_number(&mut right, 100 + number);
        }
        for number in 0..10 {
            assert_eq!(receive_number(&mut left), 100 + number);
            assert_eq!(receive_number(&mut right), number);
        }
    }

    /// [31/PAIR-5] SHALL: when such a peer disconnects, its queues go with it, and so does what is in them, here what was
    /// to be sent.
    fn what_an_accepted_peer_was_to_get_goes_with_it(transport) {
        let context = Context::new();
        let mut left = narrow(&context, 10, 10);
        let monitor = left.monitor();
        let endpoint = left.bind(transport.wildcard()).unwrap();
        let mut right = narrow(&context, 10, 1);
        right.connect(&endpoint).unwrap();
        if !transport.is_inproc() {
            wait_for_handshake(&monitor);
        }
        stuff(&mut left);
        drop(right);
        if !transport.is_inproc() {
            wait_for_end(&monitor);
        }
        wait_until("no peer", || matches!(left.try_send("nobody is there"), Err(TrySendError::NoPeer(_))));
        assert!((1..=10).contains(&left.lost()), "{} lost, where the queue holds 10", left.lost());
        let mut next = PairSocket::new(&context);
        next.connect(&endpoint).unwrap();
        send(&mut left, "fresh");
        assert_eq!(receive(&mut next).as_bytes(), b"fresh");
    }

    /// [31/PAIR-5] SHALL: when such a peer disconnects, its queues go with it, and so does what is in them, here what has
    /// been received. DIFFERS: what a peer handed over before it went can still be received, so that a program may end
    /// when it has sent its last message.
    fn what_a_gone_peer_handed_over_is_delivered(transport) {
        let context = Context::new();
        let mut left = PairSocket::new(&context);
        let monitor = left.monitor();
        let endpoint = left.bind(transport.wildcard()).unwrap();
        for round in 0..3 {
            let mut right = PairSocket::new(&context);
            right.connect(&endpoint).unwrap();
            for number in 0..100 {
                send_number(&mut right, round * 100 + number);
            }
            drop(right);
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
        }
        let mut heard: Vec<u32> = (0..300).map(|_| receive_number(&mut left)).collect();
        heard.sort_unstable();
        assert_eq!(heard, (0..300).collect::<Vec<_>>());
        assert_eq!(left.try_recv(), Err(TryRecvError::Empty));
    }

    /// [31/PAIR-6] SHOULD: the limits of its queues can be configured, here of the outgoing one.
    fn the_outgoing_queue_holds_exactly_as_many_messages_as_its_mark_says(transport) {
        for hwm in [1, 2, 10, 1000] {
            let context = Context::new();
            let endpoint = transport.fresh();
            let mut right = PairSocket::builder(&context).send_hwm(hwm).build().unwrap();
            right.connect(endpoint.as_str()).unwrap();
            fill(&mut right, hwm);
            let mut left = PairSocket::new(&context);
            left.bind(endpoint.as_str()).unwrap();
            for number in 0..hwm {
                assert_eq!(receive_number(&mut left), number);
            }
            assert_eq!(left.try_recv(), Err(TryRecvError::Empty));
        }
    }

    /// [31/PAIR-6] SHOULD: the limits of its queues can be configured, here of the incoming one. In inproc, where both
    /// ends have one queue, the sender's limit counts.
    fn the_incoming_queue_holds_as_many_messages_as_its_mark_says(transport) {
        /// More than the kernel and the sender hold beside the queue.
        const BESIDE_MAX: u32 = 30;
        for hwm in [1, 2 * BESIDE_MAX] {
            let context = Context::new();
            let mut left = narrow(&context, 10, hwm);
            let mut right = narrow(&context, if transport.is_inproc() { hwm } else { 1 }, 10);
            right.connect(left.bind(transport.wildcard()).unwrap()).unwrap();
            for number in 0..hwm {
                right.send_timeout(large(number), DEADLINE).expect("room for as many as the mark says");
            }
            let beside = stuff(&mut right);
            assert!(beside < BESIDE_MAX, "{beside} beside the {hwm}");
            receive_stuffed(&mut left, hwm);
            receive_stuffed(&mut left, beside);
            assert_eq!(left.try_recv(), Err(TryRecvError::Empty));
        }
    }

    /// [31/PAIR-7] SHALL: its peer is available only while the queue to it is not full.
    fn a_peer_is_available_again_when_it_has_taken_messages(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut right = PairSocket::builder(&context).send_hwm(4).build().unwrap();
        right.connect(endpoint.as_str()).unwrap();
        fill(&mut right, 4);
        let mut left = PairSocket::new(&context);
        left.bind(endpoint.as_str()).unwrap();
        for number in 0..4 {
            assert_eq!(receive_number(&mut left), number);
        }
        // The last message is taken, and the queue is as empty as it was.
        wait_until("room", || right.try_send("room").is_ok());
        assert_eq!(receive(&mut left).as_bytes(), b"room");
    }

    /// [31/PAIR-8] SHALL: a send waits for an available peer, or returns an error, here while there is none.
    fn a_send_waits_for_a_peer(transport) {
        let context = Context::new();
        let mut left = PairSocket::new(&context);
        let endpoint = left.bind(transport.wildcard()).unwrap();
        assert!(matches!(left.try_send("refused"), Err(TrySendError::NoPeer(_))));
        let timeout = left.send_timeout("refused", Duration::from_millis(1));
        assert!(matches!(timeout, Err(SendTimeoutError::Timeout(_))), "{timeout:?}");
        let sender = thread::spawn(move || {
            send(&mut left, "at last");
            left
        });
        let mut right = PairSocket::new(&context);
        right.connect(&endpoint).unwrap();
        assert_eq!(receive(&mut right).as_bytes(), b"at last");
        sender.join().unwrap();
    }

    /// [31/PAIR-8] SHALL: a send waits for an available peer, or returns an error, here while its queue is full.
    fn a_send_waits_for_room(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut right = PairSocket::builder(&context).send_hwm(2).build().unwrap();
        right.connect(endpoint.as_str()).unwrap();
        fill(&mut right, 2);
        let timeout = right.send_timeout("refused", Duration::from_millis(1));
        assert!(matches!(timeout, Err(SendTimeoutError::Timeout(_))), "{timeout:?}");
        let sender = thread::spawn(move || {
            for number in 2..300 {
                send_number(&mut right, number);
            }
            right
        });
        let mut left = PairSocket::builder(&context).receive_hwm(1).build().unwrap();
        left.bind(endpoint.as_str()).unwrap();
        for number in 0..300 {
            assert_eq!(receive_number(&mut left), number);
        }
        sender.join().unwrap();
    }

    /// [31/PAIR-9] SHALL: while its peer is not available no message is accepted; one that was refused is never delivered.
    fn what_a_pair_refused_is_never_delivered(transport) {
        let context = Context::new();
        let mut right = PairSocket::builder(&context).send_hwm(3).build().unwrap();
        let refused = |right: &mut PairSocket| {
            for _ in 0..20 {
                right.try_send("refused").unwrap_err();
                right.send_timeout("refused", Duration::from_millis(1)).unwrap_err();
            }
        };
        refused(&mut right);
        let endpoint = transport.fresh();
        right.connect(endpoint.as_str()).unwrap();
        fill(&mut right, 3);
        refused(&mut right);
        let mut left = PairSocket::new(&context);
        left.bind(endpoint.as_str()).unwrap();
        for number in 0..3 {
            assert_eq!(receive_number(&mut left), number);
        }
        send(&mut right, "accepted");
        assert_eq!(receive(&mut left).as_bytes(), b"accepted");
        assert_eq!(left.try_recv(), Err(TryRecvError::Empty));
    }

    /// [31/PAIR-10] SHALL NOT: a message that no queue takes is not thrown away; it comes back.
    fn a_refused_message_comes_back(transport) {
        let context = Context::new();
        let mut socket = PairSocket::builder(&context).send_hwm(1).build().unwrap();
        let message = Message::from_parts([pattern(100, 1), Vec::new(), pattern(5000, 2)]);
        match socket.try_send(message.clone()) {
            Err(TrySendError::NoPeer(back)) => assert_eq!(back, message),
            other => panic!("{other:?}"),
        }
        socket.connect(transport.fresh()).unwrap();
        fill(&mut socket, 1);
        match socket.try_send(message.clone()) {
            Err(TrySendError::Full(back)) => assert_eq!(back, message),
            other => panic!("{other:?}"),
        }
        match socket.send_timeout(message.clone(), Duration::from_millis(1)) {
            Err(SendTimeoutError::Timeout(back)) => assert_eq!(back, message),
            other => panic!("{other:?}"),
        }
    }

    /// [31/PAIR-11] SHALL: it receives from its single peer, and from nobody else.
    fn only_the_one_peer_is_received_from(transport) {
        let context = Context::new();
        let (mut left, mut right) = (PairSocket::new(&context), PairSocket::new(&context));
        let monitor = left.monitor();
        let endpoint = left.bind(transport.wildcard()).unwrap();
        right.connect(&endpoint).unwrap();
        send(&mut right, "the first one has the place");
        assert_eq!(receive(&mut left).as_bytes(), b"the first one has the place");
        let mut third = narrow(&context, 10, 10);
        third.connect(&endpoint).unwrap();
        for number in 0..100 {
            let _ = third.try_send("from a stranger");
            if number % 50 == 0 && !(number > 0 && transport.is_inproc()) {
                // Over a wire it tries again and again.
                wait_for_refusal(&monitor);
            }
            send_number(&mut right, number);
            assert_eq!(receive_number(&mut left), number);
        }
        assert_eq!(left.try_recv(), Err(TryRecvError::Empty));
    }

    /// [31/PAIR-12] SHALL: what comes is delivered to the application, whole and in order.
    fn messages_arrive_in_order_both_ways(transport) {
        let context = Context::new();
        let (mut left, mut right) = pair(&context, transport);
        let there = thread::spawn(move || {
            for number in 0..10_000 {
                send_number(&mut right, number);
            }
            for number in 0..10_000 {
                assert_eq!(receive_number(&mut right), number);
            }
            right
        });
        for number in 0..10_000 {
            assert_eq!(receive_number(&mut left), number);
        }
        for number in 0..10_000 {
            send_number(&mut left, number);
        }
        there.join().unwrap();
    }
}
