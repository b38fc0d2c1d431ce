//! Queues have limits, and waiting has an end.

use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Context, Message, PullSocket, PushSocket, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError,
    TrySendError,
};

use crate::raw::Raw;
use crate::support::{
    DEADLINE, Transport, pattern, receive, receive_number, send, wait_for_handshake, with_deadline,
};
use crate::{on_every_transport, on_every_wire};

/// Sends numbers until the socket is full, and returns how many it took.
pub fn fill(push: &mut PushSocket) -> u32 {
    for number in 0u32..2_000_000 {
        match push.try_send(&number.to_be_bytes()) {
            Ok(()) => {}
            Err(TrySendError::Full(message)) => {
                assert_eq!(message.as_bytes(), number.to_be_bytes());
                return number;
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("there is no end to it");
}

/// PUSH should bound its queues. With nobody reading, the mark is exact.
#[test]
fn inproc_takes_exactly_as_many_messages_as_the_mark_says() {
    with_deadline(|| {
        for hwm in [1, 2, 3, 7, 64, 1000] {
            let context = Context::new();
            let mut pull = PullSocket::new(&context);
            let endpoint = pull.bind("inproc://mark").unwrap();
            let mut push = PushSocket::builder(&context).send_hwm(hwm).build().unwrap();
            push.connect(&endpoint).unwrap();
            for _ in 0..3 {
                assert_eq!(fill(&mut push), hwm);
                for number in 0..hwm {
                    assert_eq!(receive_number(&mut pull), number);
                }
                assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
            }
        }
    });
}

/// PUSH shall have a queue for each peer.
#[test]
fn each_inproc_peer_has_a_mark_of_its_own() {
    with_deadline(|| {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).send_hwm(10).build().unwrap();
        let endpoint = push.bind("inproc://marks").unwrap();
        let mut pullers: Vec<_> = (0..3)
            .map(|_| {
                let mut pull = PullSocket::new(&context);
                pull.connect(&endpoint).unwrap();
                pull
            })
            .collect();
        assert_eq!(fill(&mut push), 30);
        for pull in &mut pullers {
            for _ in 0..10 {
                receive(pull);
            }
            assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
        }
    });
}

/// PUSH shall consider only those peers available whose queue is not full.
#[test]
fn a_full_peer_is_passed_over() {
    with_deadline(|| {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).send_hwm(5).build().unwrap();
        let endpoint = push.bind("inproc://marks").unwrap();
        let mut pullers: Vec<_> = (0..2)
            .map(|_| {
                let mut pull = PullSocket::new(&context);
                pull.connect(&endpoint).unwrap();
                pull
            })
            .collect();
        assert_eq!(fill(&mut push), 10);
        let (idle, busy) = pullers.split_at_mut(1);
        for _ in 0..5 {
            receive(&mut busy[0]);
        }
        // Only the second has room, and gets all of them.
        for number in 100..105 {
            push.try_send(&u32::to_be_bytes(number)).unwrap();
        }
        assert!(matches!(push.try_send("more"), Err(TrySendError::Full(_))));
        for number in 100..105 {
            assert_eq!(receive_number(&mut busy[0]), number);
        }
        for _ in 0..5 {
            assert!(receive_number(&mut idle[0]) < 10);
        }
        assert_eq!(idle[0].try_recv(), Err(TryRecvError::Empty));
    });
}

on_every_transport! {
    /// A wait that ends without success lasted as long as was asked for.
    fn timeouts_do_not_come_early(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut pull = PullSocket::new(&context);
        let mut push = PushSocket::builder(&context).send_hwm(1).build().unwrap();
        for wait in [0, 1, 20, 60].map(Duration::from_millis) {
            let start = Instant::now();
            assert_eq!(pull.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
            assert!(start.elapsed() >= wait);

            let start = Instant::now();
            let error = push.send_timeout("no peer", wait).unwrap_err();
            assert!(start.elapsed() >= wait);
            assert!(matches!(&error, SendTimeoutError::Timeout(back) if back.as_bytes() == b"no peer"), "{error}");
        }
        push.connect(endpoint.as_str()).unwrap();
        assert_eq!(fill(&mut push), 1);
        for wait in [0, 1, 20, 60].map(Duration::from_millis) {
            let start = Instant::now();
            let error = push.send_timeout("full", wait).unwrap_err();
            assert!(start.elapsed() >= wait);
            assert!(matches!(&error, SendTimeoutError::Timeout(back) if back.as_bytes() == b"full"), "{error}");
        }
        // None of the refused messages is there.
        pull.bind(endpoint.as_str()).unwrap();
        assert_eq!(receive_number(&mut pull), 0);
        assert_eq!(pull.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
    }

    /// A receive that waits is woken by a message.
    fn a_blocked_receive_wakes_on_a_message(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let receiver = thread::spawn(move || receive(&mut pull));
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        send(&mut push, "good morning");
        assert_eq!(receiver.join().unwrap().as_bytes(), b"good morning");
    }

    /// However small the receiver's mark is, everything arrives.
    fn a_low_receive_mark_loses_nothing(transport) {
        for hwm in [1, 2, 3] {
            let context = Context::new();
            let mut pull = PullSocket::builder(&context).receive_hwm(hwm).build().unwrap();
            let endpoint = pull.bind(transport.wildcard()).unwrap();
            let mut push = PushSocket::new(&context);
            push.connect(&endpoint).unwrap();
            let sizes = |number: u32| [3, 64, 300, 5000, 0, 40_000][number as usize % 6];
            let sender = thread::spawn(move || {
                for number in 0..2000u32 {
                    send(&mut push, [number.to_be_bytes().to_vec(), pattern(sizes(number), number as u8)]);
                }
                push
            });
            for number in 0..2000u32 {
                let message = receive(&mut pull);
                assert_eq!(message.part(0), Some(&number.to_be_bytes()[..]));
                assert!(message.part(1) == Some(&pattern(sizes(number), number as u8)[..]));
            }
            sender.join().unwrap();
        }
    }

    /// A message that no peer with the same limits would take is refused, and comes back.
    fn a_message_over_the_limits_is_refused(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push =
            PushSocket::builder(&context).max_message_bytes(1000).max_message_parts(3).build().unwrap();
        push.connect(&endpoint).unwrap();
        for message in [
            Message::from(pattern(1001, 0)),
            Message::from([pattern(500, 0), pattern(501, 0)]),
            Message::from(["a", "b", "c", "d"]),
        ] {
            match push.try_send(message.clone()) {
                Err(TrySendError::TooLarge(back)) => assert_eq!(back, message),
                other => panic!("{other:?}"),
            }
            match push.send_timeout(message.clone(), DEADLINE) {
                Err(SendTimeoutError::TooLarge(back)) => assert_eq!(back, message),
                other => panic!("{other:?}"),
            }
            match push.send(message.clone()) {
                Err(SendError::TooLarge(back)) => assert_eq!(back, message),
                other => panic!("{other:?}"),
            }
        }
        let error = push.try_send(pattern(1001, 0)).unwrap_err();
        assert!(error.to_string().contains("1001"), "{error}");
        // The limits themselves are allowed, and nothing of the refused messages is on its way.
        send(&mut push, pattern(1000, 3));
        send(&mut push, [pattern(300, 4), pattern(300, 5), pattern(400, 6)]);
        assert_eq!(receive(&mut pull).as_bytes(), pattern(1000, 3));
        assert_eq!(receive(&mut pull).total_bytes(), 1000);
    }
}

on_every_wire! {
    /// A peer that does not read fills its queue, and gets everything that was taken when it reads again, nothing else.
    fn a_peer_that_stops_reading_gets_everything_later(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).send_hwm(20).build().unwrap();
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut slow = Raw::peer(&endpoint.to_string(), "PULL");
        wait_for_handshake(&monitor);
        let mut taken = 0u32;
        while push.try_send([taken.to_be_bytes().to_vec(), pattern(100_000, taken as u8)]).is_ok() {
            taken += 1;
            assert!(taken < 10_000, "nobody reads, so there must be an end");
        }
        assert!(taken >= 20, "{taken} is less than the mark");
        for number in 0..taken {
            let parts = slow.read_message();
            assert_eq!(parts[0], number.to_be_bytes());
            assert!(parts[1] == pattern(100_000, number as u8));
        }
        send(&mut push, "next");
        assert_eq!(slow.read_message(), [b"next"]);
    }

    /// A receiver that does not take holds its sender back, however fast the network is.
    fn a_receiver_that_does_not_take_holds_the_sender_back(transport) {
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).receive_hwm(1).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::builder(&context).send_hwm(1).build().unwrap();
        push.connect(&endpoint).unwrap();
        let mut sent = 0;
        // The kernel's buffers come on top of the marks.
        while push.send_timeout(pattern(1 << 20, 0), Duration::from_millis(500)).is_ok() {
            sent += 1;
            assert!(sent < 100, "nobody takes, so there must be an end");
        }
        for _ in 0..sent {
            assert_eq!(receive(&mut pull).len(), 1 << 20);
        }
        assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
    }
}

/// The transports differ in what takes part, the errors do not.
#[test]
fn texts_of_refusals_are_plain() {
    let context = Context::new();
    let mut push = PushSocket::new(&context);
    assert_eq!(push.try_send("x").unwrap_err().to_string(), "no peer");
    push.connect(Transport::Inproc.fresh()).unwrap();
    fill(&mut push);
    assert_eq!(
        push.try_send("x").unwrap_err().to_string(),
        "every peer is at its high-water mark"
    );
    let error = push.send_timeout("x", Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "no peer had room in time");
}
