//! PUSH and PULL, as ZeroMQ RFC 30 specifies them. Above each test stands what the specification demands, in other words.
//!
//! That PUSH only sends and PULL only receives needs no test: the methods do not exist. What a peer does about it on the
//! wire is in [`hostile_peers`](crate::hostile_peers).

use std::collections::HashSet;
use std::thread;

use zerowire::{Context, Message, PullSocket, PushSocket, TrySendError};

use crate::raw::Raw;
use crate::support::{
    pattern, receive, receive_number, send, send_number, wait_for_end, wait_for_handshake, wait_until,
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

on_every_transport! {
    /// Messages of one peer arrive whole and in order, whoever binds.
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

    /// PUSH shall neither filter nor change what it sends, and PULL shall neither filter nor change what it receives.
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

    /// The same for every size around the limits of small and of large messages, one right behind the other.
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

    /// The same for messages of many parts: they arrive as one, with their empty parts.
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

    /// PUSH shall make a peer's queue when it starts to connect, and keep it whether or not the connection stands.
    fn what_is_sent_before_the_peer_is_there_arrives(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::new(&context);
        push.connect(endpoint.as_str()).unwrap();
        for number in 0..100 {
            send_number(&mut push, number);
        }
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        for number in 0..100 {
            assert_eq!(receive_number(&mut pull), number);
        }
    }

    /// PULL shall make its queue when it starts to connect: it may be there before its peer.
    fn a_pull_may_connect_before_its_peer_binds(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut pull = PullSocket::new(&context);
        pull.connect(endpoint.as_str()).unwrap();
        let mut push = PushSocket::new(&context);
        push.bind(endpoint.as_str()).unwrap();
        send(&mut push, "hello");
        assert_eq!(receive(&mut pull).as_bytes(), b"hello");
    }

    /// Both sockets may have any number of peers, bound and connected.
    fn sockets_bind_and_connect_to_many_at_once(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let bound: Vec<_> = (0..3).map(|_| pull.bind(transport.wildcard()).unwrap()).collect();
        let mut pushers = Vec::new();
        for endpoint in &bound {
            for _ in 0..2 {
                let mut push = PushSocket::new(&context);
                push.connect(endpoint).unwrap();
                pushers.push(push);
            }
        }
        for _ in 0..3 {
            let mut push = PushSocket::new(&context);
            pull.connect(push.bind(transport.wildcard()).unwrap()).unwrap();
            pushers.push(push);
        }
        for (number, push) in pushers.iter_mut().enumerate() {
            send_number(push, number as u32);
        }
        let heard: HashSet<u32> = pushers.iter().map(|_| receive_number(&mut pull)).collect();
        assert_eq!(heard, (0..9).collect());
    }

    /// PUSH shall route to its available peers in turn.
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

    /// The same for peers that came to a bound PUSH.
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

    /// PULL shall receive from its peers by fair queueing.
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

    /// The same while one of them does not stop sending.
    fn a_flooding_peer_does_not_silence_the_others(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        let flood = thread::spawn(move || {
            while stopped.try_recv().is_err() {
                let _ = push.send_timeout("flood", std::time::Duration::from_millis(10));
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

    /// Receiving many takes what is there after the first, in order, and never more than was asked for.
    fn many_are_received_at_once(transport) {
        let context = Context::new();
        let (mut push, mut pull) = pair(&context, &transport.wildcard(), false);
        let mut messages = vec![Message::from("kept")];
        assert_eq!(pull.recv_many(&mut messages, 0).unwrap(), 0);
        for number in 0..100 {
            send_number(&mut push, number);
        }
        let mut taken = 0;
        while taken < 100 {
            let count = pull.recv_many(&mut messages, 7).unwrap();
            assert!((1..=7).contains(&count), "{count}");
            taken += count;
            assert_eq!(messages.len(), 1 + taken);
        }
        assert_eq!(messages.remove(0).as_bytes(), b"kept");
        let numbers: Vec<u32> = messages.iter().map(crate::support::number).collect();
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }

    /// Receiving many waits for the first and is content with it.
    fn receiving_many_waits_for_the_first(transport) {
        let context = Context::new();
        let (mut push, mut pull) = pair(&context, &transport.wildcard(), false);
        let receiver = thread::spawn(move || {
            let mut messages = Vec::new();
            let count = pull.recv_many(&mut messages, 1000).unwrap();
            assert_eq!((count, messages.len()), (1, 1));
            (messages.remove(0), pull)
        });
        send(&mut push, "only one");
        assert_eq!(receiver.join().unwrap().0.as_bytes(), b"only one");
    }
}

on_every_wire! {
    /// PUSH shall make a queue when a peer connects to it; when that peer goes, it shall destroy the queue and discard what
    /// is in it.
    fn the_queue_of_an_accepted_peer_goes_with_it(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).send_hwm(10).build().unwrap();
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let silent = Raw::peer(&endpoint.to_string(), "PULL");
        wait_for_handshake(&monitor);
        let mut accepted = 0u64;
        while push.try_send(pattern(1 << 20, 0)).is_ok() {
            accepted += 1;
            assert!(accepted < 1000, "nobody reads, so there must be an end");
        }
        drop(silent);
        wait_for_end(&monitor);
        wait_until("no peer", || matches!(push.try_send("nobody is there"), Err(TrySendError::NoPeer(_))));
        assert!((1..=10).contains(&push.lost()), "{} lost, where the queue holds 10", push.lost());

        let mut pull = PullSocket::new(&context);
        pull.connect(&endpoint).unwrap();
        send(&mut push, "fresh");
        assert_eq!(receive(&mut pull).as_bytes(), b"fresh");
    }

    /// PULL shall deliver what it received. The specification lets it discard the queue of a peer that disconnects; here
    /// what the peer handed over before it went can still be received.
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
        wait_for_end(&monitor);
        for number in 0..500 {
            assert_eq!(receive_number(&mut pull), number);
        }
    }

    /// A connected peer is preferred to one that is still being connected to: there a message would only wait.
    fn a_peer_that_is_not_there_yet_gets_nothing_while_another_is(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        push.connect(transport.fresh()).unwrap();
        let mut pull = PullSocket::new(&context);
        push.connect(pull.bind(transport.wildcard()).unwrap()).unwrap();
        wait_for_handshake(&monitor);
        for number in 0..100 {
            send_number(&mut push, number);
        }
        for number in 0..100 {
            assert_eq!(receive_number(&mut pull), number);
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
