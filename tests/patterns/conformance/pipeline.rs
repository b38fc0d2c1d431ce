//! PUSH and PULL, as ZeroMQ RFC 30 specifies them.

use std::collections::HashSet;
use std::thread;
use std::time::Duration;

use zerowire::{Context, Message, PullSocket, PushSocket, SendTimeoutError, TryRecvError, TrySendError};

use super::{Able, Unable};
use crate::high_water_mark::fill;
use crate::raw::{COMMAND, Raw, message};
use crate::support::{
    DEADLINE, pattern, receive, receive_number, send, send_number, wait_for_end, wait_for_handshake,
    wait_until,
};
use crate::{on_every_transport, on_every_wire};

/// A pair of sockets; `push_binds` says which of them is found by the other.
fn pair(context: &Context, endpoint: &str, push_binds: bool) -> (PushSocket, PullSocket) {
    let (mut push, mut pull) = (PushSocket::new(context), PullSocket::new(context));
    if push_binds {
        pull.connect(push.bind(endpoint).unwrap()).unwrap();
    } else {
        push.connect(pull.bind(endpoint).unwrap()).unwrap();
    }
    (push, pull)
}

/// A PUSH whose queue is what holds most of the messages that nobody takes: the kernel holds less than two of
/// [`LARGE_BYTES`].
fn narrow_push(context: &Context, hwm: u32) -> PushSocket {
    PushSocket::builder(context)
        .send_hwm(hwm)
        .send_buffer(KERNEL_BYTES)
        .build()
        .unwrap()
}

fn narrow_pull(context: &Context, hwm: u32) -> PullSocket {
    PullSocket::builder(context)
        .receive_hwm(hwm)
        .receive_buffer(KERNEL_BYTES)
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

#[track_caller]
fn large_number(message: &Message) -> u32 {
    let number = u32::from_be_bytes(message.part(0).unwrap().try_into().unwrap());
    assert!(*message == large(number), "content of the large message {number}");
    number
}

const _: () = assert!(Able::<PushSocket>::TO_SEND && !Able::<PushSocket>::TO_RECEIVE);
const _: () = assert!(Able::<PullSocket>::TO_RECEIVE && !Able::<PullSocket>::TO_SEND);

on_every_wire! {
    /// [30/PUSH-1] SHALL: it only sends; there is no way to receive, and a peer that sends is hung up on.
    fn a_push_takes_no_messages(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "PULL");
        wait_for_handshake(&monitor);
        raw.send_if_taken(&message(&[b"for nobody"]));
        wait_for_end(&monitor);
        assert!(messages(&raw.read_to_hang_up()).is_empty());
    }

    /// [30/PULL-1] SHALL: it only receives; nothing but commands of the protocol comes from it.
    fn a_pull_sends_no_messages(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "PUSH");
        for number in 0..10u32 {
            raw.send(&message(&[&number.to_be_bytes()]));
            assert_eq!(receive_number(&mut pull), number);
        }
        drop(pull);
        raw.shutdown_write();
        assert!(messages(&raw.read_to_hang_up()).is_empty());
    }
}

on_every_transport! {
    /// [30/PUSH-2] SHALL: nothing that it sends is changed or withheld, here parts of any size.
    /// [30/PULL-2] SHALL: nothing that it receives is changed or withheld, here parts of any size.
    fn messages_of_any_size_arrive_unchanged(transport) {
        let context = Context::new();
        let (mut push, mut pull) = pair(&context, &transport.wildcard(), false);
        let sizes = [
            0, 1, 2, 63, 64, 65, 127, 128, 253, 254, 255, 256, 257, 4094, 4095, 4096, 4097, 8191, 8192, 65_534, 65_535,
            65_536, 65_537, 1 << 20, 16 << 20, 0, 1,
        ];
        let sender = thread::spawn(move || {
            for (index, size) in sizes.into_iter().enumerate() {
                send(&mut push, pattern(size, index as u8));
            }
            push
        });
        for (index, size) in sizes.into_iter().enumerate() {
            let message = receive(&mut pull);
            assert_eq!((message.part_count(), message.len()), (1, size));
            assert!(message.as_bytes() == pattern(size, index as u8), "content of the message of {size} bytes");
        }
        drop(sender.join().unwrap());
    }

    /// [30/PUSH-2] SHALL: nothing that it sends is changed or withheld, here every small size, one right behind the other.
    /// [30/PULL-2] SHALL: nothing that it receives is changed or withheld, here every small size, one right behind the other.
    fn every_small_size_arrives_unchanged(transport) {
        let context = Context::new();
        let (mut push, mut pull) = pair(&context, &transport.wildcard(), true);
        for round in 0..3u8 {
            for size in 0..600 {
                send(&mut push, pattern(size, round));
            }
            for size in 0..600 {
                assert_eq!(receive(&mut pull).as_bytes(), pattern(size, round));
            }
        }
    }

    /// [30/PUSH-2] SHALL: nothing that it sends is changed or withheld, here many parts, empty ones among them.
    /// [30/PULL-2] SHALL: nothing that it receives is changed or withheld, here many parts, empty ones among them.
    fn multipart_messages_arrive_unchanged(transport) {
        let context = Context::new();
        let (mut push, mut pull) = pair(&context, &transport.wildcard(), false);
        let large = pattern(70_000, 1);
        let mut messages: Vec<Vec<Vec<u8>>> = vec![
            vec![vec![], vec![]],
            vec![vec![], vec![], vec![7]],
            vec![vec![1], vec![], vec![2]],
            vec![vec![], b"body".to_vec()],
            vec![b"envelope".to_vec(), vec![], large.clone()],
            vec![large.clone(), vec![], large.clone()],
            vec![large.clone(), b"small".to_vec()],
            (0..64).map(|size| pattern(size * 130, 2)).collect(),
        ];
        for count in [2, 3, 4, 15, 16, 17, 255, 256, 1023, 1024] {
            messages.push((0..count).map(|part| pattern(part % 70, part as u8)).collect());
            messages.push(vec![Vec::new(); count]);
        }
        let expected = messages.clone();
        let sender = thread::spawn(move || {
            for parts in messages {
                send(&mut push, Message::from_parts(parts));
            }
            push
        });
        for parts in expected {
            let message = receive(&mut pull);
            assert_eq!(message.part_count(), parts.len());
            assert!(message.parts().eq(parts.iter().map(Vec::as_slice)), "content of {} parts", parts.len());
            assert_eq!(message.total_bytes(), parts.iter().map(Vec::len).sum());
        }
        drop(sender.join().unwrap());
    }

    /// [30/PUSH-3] SHALL: each peer has an outgoing queue of its own, with its own limit.
    fn each_peer_of_a_push_has_a_queue_of_its_own(transport) {
        let context = Context::new();
        let endpoints: Vec<String> = (0..3).map(|_| transport.fresh()).collect();
        let mut push = PushSocket::builder(&context).send_hwm(10).build().unwrap();
        for (index, endpoint) in endpoints.iter().enumerate() {
            push.connect(endpoint.as_str()).unwrap();
            // With each peer, there is room for ten messages more.
            for _ in 0..10 {
                push.try_send(&(index as u32).to_be_bytes()).unwrap();
            }
            assert!(matches!(push.try_send("one too many"), Err(TrySendError::Full(_))));
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            let mut pull = PullSocket::new(&context);
            pull.bind(endpoint.as_str()).unwrap();
            for _ in 0..10 {
                assert_eq!(receive_number(&mut pull), index as u32);
            }
            assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
        }
    }

    /// [30/PUSH-4] SHALL: the queue to a peer is there from the moment it connects to it, with or without a connection.
    fn the_queue_of_a_push_that_connects_is_there_with_or_without_its_peer(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context).reconnect_min(Duration::from_millis(1)).build().unwrap();
        let monitor = push.monitor();
        push.connect(endpoint.as_str()).unwrap();
        for round in 0..3 {
            for number in 0..100 {
                send_number(&mut push, round * 100 + number);
            }
            let mut pull = PullSocket::new(&context);
            pull.bind(endpoint.as_str()).unwrap();
            for number in 0..100 {
                assert_eq!(receive_number(&mut pull), round * 100 + number);
            }
            pull.unbind(endpoint.as_str()).unwrap();
            drop(pull);
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
        }
    }

    /// [30/PULL-4] SHALL: the queue from a peer is there from the moment it connects to it, with or without a connection.
    fn the_queue_of_a_pull_that_connects_is_there_with_or_without_its_peer(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut pull = PullSocket::builder(&context).reconnect_min(Duration::from_millis(1)).build().unwrap();
        let monitor = pull.monitor();
        pull.connect(endpoint.as_str()).unwrap();
        for number in 0..10 {
            let mut push = PushSocket::new(&context);
            push.bind(endpoint.as_str()).unwrap();
            send_number(&mut push, number);
            if number == 0 {
                assert_eq!(receive_number(&mut pull), 0);
            }
            push.unbind(endpoint.as_str()).unwrap();
            drop(push);
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
        }
        // Nine peers have come and gone since, and what they left is all in there.
        let mut heard: Vec<u32> = (1..10).map(|_| receive_number(&mut pull)).collect();
        heard.sort_unstable();
        assert_eq!(heard, (1..10).collect::<Vec<_>>());
    }

    /// [30/PUSH-5] SHALL: a peer that connects to it gets a queue then, and not before.
    fn the_queue_of_an_accepted_peer_comes_with_it(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).send_hwm(10).build().unwrap();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        assert!(matches!(push.try_send("nobody is there"), Err(TrySendError::NoPeer(_))));
        let mut pull = PullSocket::new(&context);
        pull.connect(&endpoint).unwrap();
        // Nobody receives them yet.
        for number in 0..10 {
            send_number(&mut push, number);
        }
        for number in 0..10 {
            assert_eq!(receive_number(&mut pull), number);
        }
    }

    /// [30/PUSH-6] SHALL: when such a peer disconnects, its queue goes with it, and so does what is in it.
    fn the_queue_of_an_accepted_peer_goes_with_it(transport) {
        let context = Context::new();
        let mut push = narrow_push(&context, 10);
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut idle = narrow_pull(&context, 1);
        idle.connect(&endpoint).unwrap();
        if !transport.is_inproc() {
            wait_for_handshake(&monitor);
        }
        let mut accepted = 0;
        while push.try_send(large(accepted)).is_ok() {
            accepted += 1;
            assert!(accepted < 100, "nobody takes them, so there must be an end");
        }
        drop(idle);
        if !transport.is_inproc() {
            wait_for_end(&monitor);
        }
        wait_until("no peer", || matches!(push.try_send("nobody is there"), Err(TrySendError::NoPeer(_))));
        assert!((1..=10).contains(&push.lost()), "{} lost, where the queue holds 10", push.lost());

        let mut pull = PullSocket::new(&context);
        pull.connect(&endpoint).unwrap();
        send(&mut push, "fresh");
        assert_eq!(receive(&mut pull).as_bytes(), b"fresh");
    }

    /// [30/PUSH-7] SHOULD: the limit of its queues can be configured, and is exact.
    fn a_peer_to_be_takes_exactly_as_many_messages_as_the_mark_says(transport) {
        for hwm in [1, 2, 10, 1000] {
            let context = Context::new();
            let endpoint = transport.fresh();
            let mut push = PushSocket::builder(&context).send_hwm(hwm).build().unwrap();
            push.connect(endpoint.as_str()).unwrap();
            assert_eq!(fill(&mut push), hwm);
            let mut pull = PullSocket::new(&context);
            pull.bind(endpoint.as_str()).unwrap();
            for number in 0..hwm {
                assert_eq!(receive_number(&mut pull), number);
            }
            assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
        }
    }

    /// [30/PUSH-8] SHALL: a peer whose queue is full is not available, and others get the messages.
    fn a_peer_that_does_not_take_is_passed_over(transport) {
        const COUNT: u32 = 200;
        let context = Context::new();
        let mut push = narrow_push(&context, 5);
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let (mut idle, mut busy) = (narrow_pull(&context, 1), narrow_pull(&context, 1));
        for pull in [&mut idle, &mut busy] {
            pull.connect(&endpoint).unwrap();
            if !transport.is_inproc() {
                wait_for_handshake(&monitor);
            }
        }
        let mut heard = Vec::new();
        let mut sent = 0;
        wait_until("all were accepted", || {
            sent += u32::from(push.try_send(large(sent)).is_ok());
            heard.extend(busy.try_recv().iter().map(large_number));
            sent == COUNT
        });
        while heard.last() != Some(&(COUNT - 1)) {
            heard.push(large_number(&receive(&mut busy)));
        }
        // The idle one got its turns until it was full: the limit, and what the kernel holds.
        let rest: Vec<u32> = (0..COUNT).filter(|number| !heard.contains(number)).collect();
        assert!((5..=25).contains(&rest.len()), "of {COUNT} the idle one got {rest:?}");
        for number in rest {
            assert_eq!(large_number(&receive(&mut idle)), number);
        }
    }

    /// [30/PUSH-8] SHALL: a peer whose queue is not full is available. DIFFERS: while a peer is connected, one that is still
    /// being connected to is not available, because a message for it would only wait.
    fn a_peer_that_is_not_there_yet_gets_nothing_while_another_is(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        push.connect(transport.fresh()).unwrap();
        let mut pull = PullSocket::new(&context);
        push.connect(pull.bind(transport.wildcard()).unwrap()).unwrap();
        if !transport.is_inproc() {
            wait_for_handshake(&monitor);
        }
        for number in 0..100 {
            send_number(&mut push, number);
        }
        for number in 0..100 {
            assert_eq!(receive_number(&mut pull), number);
        }
    }

    /// [30/PUSH-9] SHALL: available peers take turns, here those that it has connected to.
    fn connected_pullers_get_equal_shares(transport) {
        const PULLERS: u32 = 4;
        const EACH: u32 = 100;
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        let mut pullers = Vec::new();
        for _ in 0..PULLERS {
            let mut pull = PullSocket::new(&context);
            push.connect(pull.bind(transport.wildcard()).unwrap()).unwrap();
            pullers.push(pull);
            if !transport.is_inproc() {
                wait_for_handshake(&monitor);
            }
        }
        deal_out(&mut push, &mut pullers, EACH);
    }

    /// [30/PUSH-9] SHALL: available peers take turns, here those that have connected to it.
    fn accepted_pullers_get_equal_shares(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut pullers = Vec::new();
        for _ in 0..5 {
            let mut pull = PullSocket::new(&context);
            pull.connect(&endpoint).unwrap();
            pullers.push(pull);
            if !transport.is_inproc() {
                wait_for_handshake(&monitor);
            }
        }
        deal_out(&mut push, &mut pullers, 60);
    }

    /// [30/PUSH-10] SHALL: a send waits for an available peer, or returns an error, here while there is none.
    /// [30/PUSH-12] SHALL NOT: a message is not thrown away because there is no queue for it; it comes back.
    fn without_a_peer_the_message_comes_back(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let message = Message::from_parts([pattern(100, 1), Vec::new(), pattern(5000, 2)]);
        match push.try_send(message.clone()) {
            Err(TrySendError::NoPeer(back)) => assert_eq!(back, message),
            other => panic!("{other:?}"),
        }
        push.bind(transport.wildcard()).unwrap();
        match push.try_send(message.clone()) {
            Err(TrySendError::NoPeer(back)) => assert_eq!(back, message),
            other => panic!("{other:?}"),
        }
        match push.send_timeout(message.clone(), Duration::from_millis(1)) {
            Err(SendTimeoutError::Timeout(back)) => assert_eq!(back, message),
            other => panic!("{other:?}"),
        }
    }

    /// [30/PUSH-12] SHALL NOT: a message is not thrown away because every queue is full; it comes back.
    fn without_room_the_message_comes_back(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).send_hwm(1).build().unwrap();
        push.connect(transport.fresh()).unwrap();
        send(&mut push, "the only one");
        let message = Message::from_parts([pattern(100, 1), Vec::new(), pattern(5000, 2)]);
        match push.try_send(message.clone()) {
            Err(TrySendError::Full(back)) => assert_eq!(back, message),
            other => panic!("{other:?}"),
        }
        match push.send_timeout(message.clone(), Duration::from_millis(1)) {
            Err(SendTimeoutError::Timeout(back)) => assert_eq!(back, message),
            other => panic!("{other:?}"),
        }
    }

    /// [30/PUSH-10] SHALL: a send waits for an available peer, here until the first one arrives.
    fn a_blocked_send_wakes_when_a_peer_arrives(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let sender = thread::spawn(move || {
            send(&mut push, "at last");
            push
        });
        let mut pull = PullSocket::new(&context);
        pull.connect(&endpoint).unwrap();
        assert_eq!(receive(&mut pull).as_bytes(), b"at last");
        sender.join().unwrap();
    }

    /// [30/PUSH-10] SHALL: a send waits for an available peer, here until the queue of one is no longer full.
    fn a_blocked_send_wakes_when_there_is_room(transport) {
        for hwm in [1, 2, 5] {
            let context = Context::new();
            let endpoint = transport.fresh();
            let mut push = PushSocket::builder(&context).send_hwm(hwm).build().unwrap();
            push.connect(endpoint.as_str()).unwrap();
            assert_eq!(fill(&mut push), hwm);
            let sender = thread::spawn(move || {
                for number in hwm..hwm + 300 {
                    send_number(&mut push, number);
                }
                push
            });
            let mut pull = PullSocket::builder(&context).receive_hwm(1).build().unwrap();
            pull.bind(endpoint.as_str()).unwrap();
            for number in 0..hwm + 300 {
                assert_eq!(receive_number(&mut pull), number);
            }
            sender.join().unwrap();
        }
    }

    /// [30/PUSH-11] SHALL: while no peer is available no message is accepted; one that was refused is never delivered.
    fn what_a_push_refused_is_never_delivered(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).send_hwm(3).build().unwrap();
        let refused = |push: &mut PushSocket| {
            for _ in 0..20 {
                push.try_send("refused").unwrap_err();
                push.send_timeout("refused", Duration::from_millis(1)).unwrap_err();
            }
        };
        refused(&mut push);
        let endpoint = transport.fresh();
        push.connect(endpoint.as_str()).unwrap();
        assert_eq!(fill(&mut push), 3);
        refused(&mut push);
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        for number in 0..3 {
            assert_eq!(receive_number(&mut pull), number);
        }
        send(&mut push, "accepted");
        assert_eq!(receive(&mut pull).as_bytes(), b"accepted");
        assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
    }

    /// [30/PULL-3] SHALL: each peer has an incoming queue of its own; one that is full does not stop the others.
    fn each_peer_of_a_pull_has_a_queue_of_its_own(transport) {
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).receive_hwm(10).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut flood = narrow_push(&context, 10);
        flood.connect(&endpoint).unwrap();
        // It has its place before the others come, and no room at the end of this.
        let mut flooded = 0;
        while flood.send_timeout(large(flooded), Duration::from_millis(100)).is_ok() {
            flooded += 1;
            assert!(flooded < 100, "nobody takes them, so there must be an end");
        }
        let monitor = pull.monitor();
        for number in 100..103 {
            let mut push = PushSocket::new(&context);
            push.connect(&endpoint).unwrap();
            for _ in 0..5 {
                send_number(&mut push, number);
            }
            drop(push);
            // Its end is told behind its last message, which so has found room.
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
        }
        let first: Vec<Message> = (0..20).map(|_| receive(&mut pull)).collect();
        for number in 100..103u32 {
            let heard = first.iter().filter(|message| message.as_bytes() == number.to_be_bytes()).count();
            assert_eq!(heard, 5, "of peer {number} among the first 20 of four");
        }
    }

    /// [30/PULL-5] SHALL: a peer that connects to it gets a queue then, and can send at once.
    fn every_peer_that_connects_to_a_pull_is_heard(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut pushers = Vec::new();
        for number in 0..20 {
            assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
            let mut push = PushSocket::new(&context);
            push.connect(&endpoint).unwrap();
            send_number(&mut push, number);
            assert_eq!(receive_number(&mut pull), number);
            pushers.push(push);
        }
    }

    /// [30/PULL-6] SHALL: when such a peer disconnects, its queue goes with it, and so does what is in it. DIFFERS: what a
    /// peer handed over before it went can still be received, so that a program may end when it has sent its last message.
    fn what_a_gone_peer_handed_over_is_delivered(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let monitor = pull.monitor();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        for number in 0..500 {
            send_number(&mut push, number);
        }
        drop(push);
        if !transport.is_inproc() {
            wait_for_end(&monitor);
        }
        for number in 0..500 {
            assert_eq!(receive_number(&mut pull), number);
        }
        assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
    }

    /// [30/PULL-7] SHOULD: the limit of its queues can be configured. In inproc, where both ends have one queue, the
    /// sender's limit counts.
    fn a_pull_holds_as_many_messages_as_its_mark_says(transport) {
        /// More than the kernel and the sender hold beside the queue.
        const BESIDE_MAX: u32 = 30;
        for hwm in [1, 2 * BESIDE_MAX] {
            let context = Context::new();
            let mut pull = narrow_pull(&context, hwm);
            let endpoint = pull.bind(transport.wildcard()).unwrap();
            let mut push = narrow_push(&context, if transport.is_inproc() { hwm } else { 1 });
            push.connect(&endpoint).unwrap();
            for number in 0..hwm {
                push.send_timeout(large(number), DEADLINE).expect("room for as many as the mark says");
            }
            let mut beside = 0;
            while push.send_timeout(large(hwm + beside), Duration::from_millis(200)).is_ok() {
                beside += 1;
                assert!(beside < BESIDE_MAX, "nobody takes them, so there must be an end");
            }
            for number in 0..hwm + beside {
                assert_eq!(large_number(&receive(&mut pull)), number);
            }
            assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
        }
    }

    /// [30/PULL-8] SHALL: peers that have messages are received from in turn.
    fn waiting_messages_are_taken_from_each_peer_in_turn(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let monitor = pull.monitor();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        for (name, count) in [("flood", 600), ("one", 10), ("two", 10), ("three", 10)] {
            let mut push = PushSocket::new(&context);
            push.connect(&endpoint).unwrap();
            for _ in 0..count {
                send(&mut push, name);
            }
            // What a peer sent is waiting for the application before its end is reported.
            drop(push);
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
        }
        let heard: Vec<String> = (0..630).map(|_| receive(&mut pull).to_str().unwrap().to_owned()).collect();
        for name in ["flood", "one", "two", "three"] {
            let among_first = heard[..40].iter().filter(|heard| *heard == name).count();
            assert_eq!(among_first, 10, "{name} in the first 40 of four peers: {:?}", &heard[..40]);
        }
    }

    /// [30/PULL-8] SHALL: peers that have messages are received from in turn, also while one does not stop sending.
    fn a_flooding_peer_does_not_silence_the_others(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        let flood = thread::spawn(move || {
            while stopped.try_recv().is_err() {
                let _ = push.send_timeout("flood", Duration::from_millis(10));
            }
        });
        // The flood is on before the others begin.
        assert_eq!(receive(&mut pull).as_bytes(), b"flood");
        let mut others = Vec::new();
        for _ in 0..3 {
            let mut push = PushSocket::new(&context);
            push.connect(&endpoint).unwrap();
            for number in 0..100 {
                send_number(&mut push, number);
            }
            others.push(push);
        }
        let mut missing = 300;
        wait_until("all messages of the quiet peers", || {
            if receive(&mut pull).len() == 4 {
                missing -= 1;
            }
            missing == 0
        });
        stop.send(()).unwrap();
        drop(pull);
        flood.join().unwrap();
    }

    /// [30/PULL-9] SHALL: what comes is delivered to the application, whole and in order, whoever binds.
    fn messages_arrive_in_order(transport) {
        for push_binds in [false, true] {
            let context = Context::new();
            let (mut push, mut pull) = pair(&context, &transport.wildcard(), push_binds);
            for number in 0..10_000u32 {
                send_number(&mut push, number);
                if number % 500 == 499 {
                    for expected in number - 499..=number {
                        assert_eq!(receive_number(&mut pull), expected);
                    }
                }
            }
        }
    }
}

/// Sends numbers and checks that every puller gets one of each round, in order.
fn deal_out(push: &mut PushSocket, pullers: &mut [PullSocket], each: u32) {
    let count = pullers.len() as u32;
    for number in 0..count * each {
        send_number(push, number);
    }
    let mut firsts = HashSet::new();
    for pull in pullers {
        let first = receive_number(pull);
        assert!(first < count, "{first} is not of the first round");
        firsts.insert(first);
        for round in 1..each {
            assert_eq!(receive_number(pull), first + round * count);
        }
        assert!(pull.try_recv().is_err());
    }
    assert_eq!(firsts.len(), count as usize);
}

/// The flags of those frames that are not commands.
fn messages(mut bytes: &[u8]) -> Vec<u8> {
    let mut flags = Vec::new();
    while let [first, size, rest @ ..] = bytes {
        if first & COMMAND == 0 {
            flags.push(*first);
        }
        bytes = &rest[usize::from(*size).min(rest.len())..];
    }
    flags
}
