//! The ceiling on what all queues of a context hold: no more is queued, nothing is lost, and what was stopped goes on.

use std::thread;

use zerowire::{
    Context, OptionError, PubSocket, PullSocket, PushSocket, SlowSubscriber, SubSocket, TrySendError,
};

use crate::on_every_transport;
use crate::support::{DEADLINE, Transport, pattern, receive, send, wait_until};

const MAX: u64 = 1 << 20;
/// What the kernel, and a block that is read into, may hold beside the queues.
const SLACK: u64 = 256 << 10;

fn limited() -> Context {
    Context::builder().max_queued_bytes(MAX).build().unwrap()
}

/// A PUSH and a PULL without any high-water mark that matters here. Over inproc they share the first context.
fn pair(transport: Transport, of_push: &Context, of_pull: &Context) -> (PushSocket, PullSocket) {
    let of_pull = if transport.is_inproc() { of_push } else { of_pull };
    let mut pull = PullSocket::builder(of_pull)
        .receive_hwm(1_000_000)
        .build()
        .unwrap();
    let endpoint = pull.bind(transport.wildcard()).unwrap();
    let mut push = PushSocket::builder(of_push).send_hwm(1_000_000).build().unwrap();
    push.connect(&endpoint).unwrap();
    (push, pull)
}

/// Sends until there is no room for a while; returns how many messages were accepted.
fn fill(push: &mut PushSocket, bytes: usize) -> u64 {
    let before = push.stats().sent.accepted;
    loop {
        match push.try_send(pattern(bytes, 0)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return push.stats().sent.accepted - before,
            Err(error) => panic!("{error}"),
        }
    }
}

on_every_transport! {
    /// Small messages, which lie in the queues themselves, and large ones, which lie beside them.
    fn a_sender_finds_no_room_at_the_ceiling(transport) {
        for bytes in [10, 1000, 100_000] {
            let ours = limited();
            let (mut push, mut pull) = pair(transport, &ours, &Context::new());
            assert_eq!(ours.queued_bytes(), Some(0));
            if !transport.is_inproc() {
                // Without a peer that reads, all stays here.
                let nobody = transport.fresh();
                push = PushSocket::builder(&ours).send_hwm(1_000_000).build().unwrap();
                push.connect(nobody.as_str()).unwrap();
                let sent = fill(&mut push, bytes);
                let queued = ours.queued_bytes().unwrap();
                assert!((MAX..MAX + SLACK).contains(&queued), "{queued}");
                // Each is charged with its header, or as a message that holds it.
                assert!(sent * bytes as u64 <= queued + 4096, "{sent} messages of {bytes} bytes");
                pull = PullSocket::new(&Context::new());
                pull.bind(nobody.as_str()).unwrap();
                // It goes on by itself.
                for _ in 0..sent {
                    assert!(receive(&mut pull).as_bytes() == pattern(bytes, 0));
                }
                push.send_timeout(pattern(bytes, 0), DEADLINE).unwrap();
                assert!(receive(&mut pull).as_bytes() == pattern(bytes, 0));
            } else {
                let sent = fill(&mut push, bytes);
                let queued = ours.queued_bytes().unwrap();
                assert!((MAX..MAX + SLACK).contains(&queued), "{queued}");
                let sending = thread::spawn(move || {
                    push.send_timeout(pattern(bytes, 1), DEADLINE).unwrap();
                    push
                });
                for _ in 0..sent {
                    assert!(receive(&mut pull).as_bytes() == pattern(bytes, 0));
                }
                assert!(receive(&mut pull).as_bytes() == pattern(bytes, 1));
                push = sending.join().unwrap();
            }
            drop((push, pull));
            wait_until("nothing is queued", || ours.queued_bytes() == Some(0));
        }
    }

    /// What is not taken in one socket stops the others, and they hear when it is.
    fn sockets_share_the_ceiling(transport) {
        let ours = limited();
        let (mut first, mut of_first) = pair(transport, &ours, &ours);
        let (mut second, mut of_second) = pair(transport, &ours, &ours);
        // They are connected.
        for (push, pull) in [(&mut first, &mut of_first), (&mut second, &mut of_second)] {
            send(push, "hello");
            receive(pull);
        }
        let sent = fill(&mut first, 50_000);
        let sending = thread::spawn(move || {
            send(&mut second, "at last");
            second
        });
        for _ in 0..sent {
            assert!(receive(&mut of_first).as_bytes() == pattern(50_000, 0));
        }
        assert_eq!(receive(&mut of_second).as_bytes(), b"at last");
        drop((first, of_first, of_second, sending.join().unwrap()));
        wait_until("nothing is queued", || ours.queued_bytes() == Some(0));
    }

    /// Nothing more is read from connections than the ceiling allows; the rest waits where it is, and comes.
    fn a_receiver_reads_no_more_at_the_ceiling(transport) {
        const COUNT: u64 = 500;
        let theirs = limited();
        let (mut push, mut pull) = pair(transport, &if transport.is_inproc() { theirs.clone() } else { Context::new() }, &theirs);
        let sending = thread::spawn(move || {
            for number in 0..COUNT {
                push.send_timeout(pattern(60_000, number as u8), DEADLINE).unwrap();
            }
            push
        });
        wait_until("the ceiling is reached", || theirs.queued_bytes() >= Some(MAX));
        for number in 0..COUNT {
            assert!(theirs.queued_bytes().unwrap() < MAX + SLACK, "{:?}", theirs.queued_bytes());
            assert!(receive(&mut pull).as_bytes() == pattern(60_000, number as u8), "message {number}");
        }
        drop((sending.join().unwrap(), pull));
        wait_until("nothing is queued", || theirs.queued_bytes() == Some(0));
    }

    /// What waits before a thread that passes messages on does not keep it from sending them.
    fn who_passes_messages_on_is_not_stopped_by_those_that_wait(transport) {
        const COUNT: u32 = 300;
        let (ours, theirs) = (limited(), Context::new());
        let outside = if transport.is_inproc() { &ours } else { &theirs };
        let (mut source, mut front) = pair(transport, outside, &ours);
        let (mut back, mut sink) = pair(transport, &ours, outside);
        let sending = thread::spawn(move || {
            for number in 0..COUNT {
                source.send_timeout(pattern(20_000, number as u8), DEADLINE).unwrap();
            }
            source
        });
        wait_until("the ceiling is reached", || ours.queued_bytes() >= Some(MAX));
        let receiving = thread::spawn(move || {
            for number in 0..COUNT {
                assert!(receive(&mut sink).as_bytes() == pattern(20_000, number as u8));
            }
        });
        for _ in 0..COUNT {
            let message = receive(&mut front);
            back.send_timeout(message, DEADLINE).unwrap();
        }
        receiving.join().unwrap();
        drop((front, back, sending.join().unwrap()));
        wait_until("nothing is queued", || ours.queued_bytes() == Some(0));
    }

    /// A publisher goes by its rule for slow subscribers: here it drops and counts.
    fn a_publisher_drops_at_the_ceiling(transport) {
        let ours = limited();
        let mut publisher = PubSocket::builder(&ours)
            .send_hwm(1_000_000)
            .slow_subscriber(SlowSubscriber::DropNewest)
            .build()
            .unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let other = Context::new();
        let mut subscriber = SubSocket::builder(if transport.is_inproc() { &ours } else { &other })
            .receive_hwm(1)
            .build()
            .unwrap();
        subscriber.subscribe("").unwrap();
        subscriber.connect(&endpoint).unwrap();
        publisher.wait_for_subscribers(1, DEADLINE).unwrap();
        let mut queued = 0;
        loop {
            let published = publisher.send(pattern(100_000, 0)).unwrap();
            assert_eq!((published.matched, published.queued + published.dropped), (1, 1));
            if published.dropped == 1 {
                break;
            }
            queued += 1;
        }
        assert_eq!(publisher.stats().sent.dropped.full, 1);
        for _ in 0..queued {
            assert!(subscriber.recv_timeout(DEADLINE).unwrap().as_bytes() == pattern(100_000, 0));
        }
        drop((publisher, subscriber));
        wait_until("nothing is queued", || ours.queued_bytes() == Some(0));
    }

    /// Messages that nobody takes any more are not charged any longer.
    fn what_is_dropped_is_given_back(transport) {
        let ours = limited();
        for _ in 0..20 {
            let (mut push, mut pull) = pair(transport, &ours, &ours);
            for number in 0..20 {
                send(&mut push, pattern(30_000, number));
                send(&mut push, pattern(100, number));
            }
            receive(&mut pull);
            drop(pull);
            drop(push);
        }
        wait_until("nothing is queued", || ours.queued_bytes() == Some(0));
    }
}

#[test]
fn a_ceiling_is_at_least_a_mebibyte() {
    for bytes in [0, MAX - 1] {
        let error = Context::builder().max_queued_bytes(bytes).build().unwrap_err();
        let OptionError::OutOfRange { option, value, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((option, value), ("max_queued_bytes", bytes.to_string()));
    }
    assert_eq!(limited().queued_bytes(), Some(0));
    assert_eq!(Context::new().queued_bytes(), None);
}
