//! PAIR beyond what its specification asks for, which is in [`conformance`](crate::conformance): who has the place of the
//! one peer, who gets it next, and a socket taken apart.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use zerowire::{
    ConnectError, Context, Event, Message, Monitor, PairSocket, ProtocolError, PullSocket, Reason,
    TryRecvError, TrySendError,
};

use crate::executors::{block_on, poll_once};
use crate::raw::{COMMAND, Raw, greeting, message, ready};
use crate::support::{
    DEADLINE, Transport, pattern, receive, receive_number, send, send_number, wait_for, wait_for_end,
    wait_for_handshake, wait_until, with_deadline,
};
use crate::{on_every_transport, on_every_wire};

/// A socket that does not wait long before it tries again.
fn eager(context: &Context) -> PairSocket {
    PairSocket::builder(context)
        .reconnect_min(Duration::from_millis(1))
        .reconnect_max(Duration::from_millis(20))
        .build()
        .unwrap()
}

/// The socket that was connected to, and the one that connected.
fn pair(transport: Transport) -> (PairSocket, PairSocket) {
    let context = Context::new();
    let (mut left, mut right) = (PairSocket::new(&context), PairSocket::new(&context));
    right.connect(left.bind(transport.wildcard()).unwrap()).unwrap();
    (left, right)
}

/// Has a message go there and back.
#[track_caller]
fn exchange(left: &mut PairSocket, right: &mut PairSocket) {
    send(left, "there");
    assert_eq!(receive(right).as_bytes(), b"there");
    send(right, "and back");
    assert_eq!(receive(left).as_bytes(), b"and back");
}

#[track_caller]
fn wait_for_refusal(monitor: &Monitor) {
    wait_for(monitor, "a peer refused because the place is taken", |event| {
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

/// Waits for the end of a connection, where there are any.
#[track_caller]
fn wait_for_end_on(transport: Transport, monitor: &Monitor) {
    if !transport.is_inproc() {
        wait_for_end(monitor);
    }
}

on_every_wire! {
    /// A second peer is hung up on, which both sides are told, and which the first one does not notice.
    fn a_second_peer_is_refused_and_both_sides_are_told(transport) {
        let context = Context::new();
        let (mut left, mut right, mut third) = (eager(&context), eager(&context), eager(&context));
        let (lefts, rights, thirds) = (left.monitor(), right.monitor(), third.monitor());
        let endpoint = left.bind(transport.wildcard()).unwrap();
        right.connect(&endpoint).unwrap();
        exchange(&mut left, &mut right);
        wait_for_handshake(&rights);
        third.connect(&endpoint).unwrap();
        for _ in 0..3 {
            wait_for_refusal(&lefts);
            let reason = wait_for(&thirds, "an end", |event| match event {
                Event::HandshakeFailed { reason, .. } | Event::Disconnected { reason, .. } => Some(reason.clone()),
                _ => None,
            });
            let text = Reason::AlreadyPaired.to_string();
            assert_eq!(reason, Reason::Protocol(ProtocolError::PeerError { reason: text }));
            wait_for(&thirds, "another attempt", |event| matches!(event, Event::Retrying { .. }).then_some(()));
            exchange(&mut left, &mut right);
        }
        assert_eq!(rights.try_recv(), None);
    }

    /// A peer of another make is told by an ERROR command.
    fn a_refused_peer_gets_an_error(transport) {
        let context = Context::new();
        let mut left = PairSocket::new(&context);
        let monitor = left.monitor();
        let endpoint = left.bind(transport.wildcard()).unwrap().to_string();
        let mut first = Raw::peer(&endpoint, "PAIR");
        wait_for_handshake(&monitor);
        let mut second = Raw::connect(&endpoint);
        second.send(&greeting());
        second.send(&ready("PAIR"));
        let answer = second.read_to_hang_up();
        let text = Reason::AlreadyPaired.to_string();
        let body = [b"\x05ERROR", &[text.len() as u8][..], text.as_bytes()].concat();
        let error = [&[COMMAND, body.len() as u8], &body[..]].concat();
        assert!(answer.ends_with(&error), "{}", answer.escape_ascii());
        wait_for_refusal(&monitor);
        first.send(&message(&[b"still here"]));
        assert_eq!(receive(&mut left).as_bytes(), b"still here");
        send(&mut left, "so am I");
        assert_eq!(first.read_message(), [b"so am I"]);
    }

    /// While a handshake is under way nobody has the place: who is ready first gets it.
    fn a_peer_that_says_nothing_does_not_take_the_place(transport) {
        let context = Context::new();
        let mut left = PairSocket::new(&context);
        let monitor = left.monitor();
        let endpoint = left.bind(transport.wildcard()).unwrap();
        let mut silent = Raw::connect(&endpoint.to_string());
        silent.send(&greeting());
        wait_for(&monitor, "accepted", |event| matches!(event, Event::Accepted { .. }).then_some(()));
        let mut right = eager(&context);
        right.connect(&endpoint).unwrap();
        exchange(&mut left, &mut right);
        silent.send(&ready("PAIR"));
        silent.read_to_hang_up();
        wait_for_refusal(&monitor);
        exchange(&mut left, &mut right);
    }

    /// Who waits in inproc gets the place also if the peer was of another transport.
    fn a_place_that_is_given_up_is_taken_by_who_waits_in_inproc(transport) {
        let context = Context::new();
        let mut left = eager(&context);
        let monitor = left.monitor();
        let name = Transport::Inproc.fresh();
        left.bind(name.as_str()).unwrap();
        let mut right = eager(&context);
        let endpoint = right.bind(transport.wildcard()).unwrap();
        left.connect(&endpoint).unwrap();
        exchange(&mut left, &mut right);
        let mut third = eager(&context);
        third.connect(name.as_str()).unwrap();
        wait_for_refusal(&monitor);
        left.disconnect(&endpoint).unwrap();
        exchange(&mut left, &mut third);
    }
}

/// In inproc nobody tries again: a second peer, of which both sides are told, waits, and what it sends waits with it.
#[test]
fn a_second_inproc_peer_waits_for_the_place() {
    with_deadline(|| {
        let context = Context::new();
        let mut left = PairSocket::new(&context);
        let lefts = left.monitor();
        let endpoint = left.bind("inproc://place").unwrap();
        let mut right = PairSocket::new(&context);
        right.connect(&endpoint).unwrap();
        let mut third = PairSocket::new(&context);
        let thirds = third.monitor();
        third.connect(&endpoint).unwrap();
        wait_for_refusal(&lefts);
        wait_for_refusal(&thirds);
        send(&mut third, "when it is my turn");
        exchange(&mut left, &mut right);
        assert_eq!(left.try_recv(), Err(TryRecvError::Empty));
        drop(right);
        assert_eq!(receive(&mut left).as_bytes(), b"when it is my turn");
        exchange(&mut left, &mut third);
    });
}

/// The same for several that wait, and for one that stops waiting.
#[test]
fn inproc_peers_get_the_place_in_the_order_in_which_they_came() {
    with_deadline(|| {
        let context = Context::new();
        let mut left = PairSocket::new(&context);
        let endpoint = left.bind("inproc://place").unwrap();
        let mut waiting: Vec<PairSocket> = (0..5)
            .map(|number| {
                let mut socket = PairSocket::new(&context);
                socket.connect(&endpoint).unwrap();
                send_number(&mut socket, number);
                socket
            })
            .collect();
        // The one that gives up takes its message with it.
        waiting.remove(3).disconnect(&endpoint).unwrap();
        for (mut socket, number) in waiting.into_iter().zip([0, 1, 2, 4]) {
            assert_eq!(receive_number(&mut left), number);
            exchange(&mut left, &mut socket);
            assert_eq!(left.try_recv(), Err(TryRecvError::Empty));
        }
    });
}

on_every_transport! {
    /// When the one peer goes, who has waited for its place gets it.
    fn a_freed_place_is_taken_by_who_waits(transport) {
        let context = Context::new();
        let mut left = eager(&context);
        let monitor = left.monitor();
        let endpoint = left.bind(transport.wildcard()).unwrap();
        let mut right = eager(&context);
        right.connect(&endpoint).unwrap();
        exchange(&mut left, &mut right);
        for disconnects in [false, true, false] {
            let mut next = eager(&context);
            next.connect(&endpoint).unwrap();
            wait_for_refusal(&monitor);
            if disconnects {
                right.disconnect(&endpoint).unwrap();
            } else {
                drop(right);
            }
            wait_for_end_on(transport, &monitor);
            exchange(&mut left, &mut next);
            right = next;
        }
    }

    /// A socket that connects has its peer from then on, whether or not that is there.
    fn a_socket_that_connects_cannot_connect_to_another(transport) {
        let context = Context::new();
        let (first, second) = (transport.fresh(), transport.fresh());
        let mut left = PairSocket::new(&context);
        left.bind(second.as_str()).unwrap();
        let mut right = PairSocket::new(&context);
        right.connect(first.as_str()).unwrap();
        match right.connect(second.as_str()) {
            Err(ConnectError::AlreadyPaired { endpoint }) => assert_eq!(endpoint, second),
            other => panic!("{other:?}"),
        }
        match right.connect(first.as_str()) {
            Err(ConnectError::AlreadyConnected { endpoint }) => assert_eq!(endpoint, first),
            other => panic!("{other:?}"),
        }
        // Until it disconnects.
        right.disconnect(first.as_str()).unwrap();
        right.connect(second.as_str()).unwrap();
        exchange(&mut left, &mut right);
    }

    /// Nor does it take a peer that connects to it.
    fn a_socket_that_connects_takes_no_other(transport) {
        let context = Context::new();
        let mut right = PairSocket::new(&context);
        let monitor = right.monitor();
        right.connect(transport.fresh()).unwrap();
        let endpoint = right.bind(transport.wildcard()).unwrap();
        let mut stranger = PairSocket::new(&context);
        stranger.connect(&endpoint).unwrap();
        wait_for_refusal(&monitor);
    }

    /// A socket that was connected to has its peer as long as that stays.
    fn a_socket_with_a_peer_cannot_connect(transport) {
        let context = Context::new();
        let (mut left, mut right) = (PairSocket::new(&context), PairSocket::new(&context));
        let monitor = left.monitor();
        right.connect(left.bind(transport.wildcard()).unwrap()).unwrap();
        exchange(&mut left, &mut right);
        let mut other = PairSocket::new(&context);
        let endpoint = other.bind(transport.wildcard()).unwrap();
        match left.connect(&endpoint) {
            Err(ConnectError::AlreadyPaired { endpoint: named }) => assert_eq!(named, endpoint.to_string()),
            other => panic!("{other:?}"),
        }
        exchange(&mut left, &mut right);
        drop(right);
        wait_for_end_on(transport, &monitor);
        left.connect(&endpoint).unwrap();
        exchange(&mut left, &mut other);
    }

    /// Who has connected keeps the place of its peer while that is away.
    fn the_place_is_kept_for_a_peer_that_is_away(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut stays = eager(&context);
        let monitor = stays.monitor();
        let open = stays.bind(transport.wildcard()).unwrap();
        stays.connect(endpoint.as_str()).unwrap();
        let mut comes = PairSocket::new(&context);
        comes.bind(endpoint.as_str()).unwrap();
        exchange(&mut stays, &mut comes);
        comes.unbind(endpoint.as_str()).unwrap();
        drop(comes);
        wait_for_end_on(transport, &monitor);

        let mut stranger = eager(&context);
        stranger.connect(&open).unwrap();
        wait_for_refusal(&monitor);
        send(&mut stays, "for who comes back");
        let mut comes = PairSocket::new(&context);
        comes.bind(endpoint.as_str()).unwrap();
        assert_eq!(receive(&mut comes).as_bytes(), b"for who comes back");
        exchange(&mut comes, &mut stays);
        assert_eq!(stranger.try_recv(), Err(TryRecvError::Empty));
    }

    /// Whichever side closes, what it has sent before arrives. To unbind first has the I/O thread at work when the socket
    /// goes: then it notices that nobody receives any more before it hears of the close.
    fn a_pair_dropped_after_its_last_send_delivers(transport) {
        let context = Context::new();
        for round in 0..200 {
            let (mut left, mut right) = (eager(&context), eager(&context));
            let endpoint = left.bind(transport.wildcard()).unwrap();
            right.connect(&endpoint).unwrap();
            exchange(&mut left, &mut right);
            if round % 4 == 1 {
                std::mem::swap(&mut left, &mut right);
            }
            for number in 0..10 {
                send_number(&mut left, number);
            }
            if round % 4 > 1 {
                left.unbind(&endpoint).unwrap();
            }
            drop(left);
            for number in 0..10 {
                assert_eq!(receive_number(&mut right), number, "in round {round}");
            }
        }
    }

    /// Both parts work at the same time, on threads of their own, at both ends.
    fn the_parts_of_a_socket_work_on_two_threads(transport) {
        const COUNT: u32 = 20_000;
        let (left, right) = pair(transport);
        let threads: Vec<_> = [left, right]
            .into_iter()
            .flat_map(|socket| {
                let (mut sender, mut receiver) = socket.into_split();
                let sends = thread::spawn(move || {
                    (0..COUNT).for_each(|number| send_number(&mut sender, number));
                    drop(sender);
                });
                let receives = thread::spawn(move || {
                    (0..COUNT).for_each(|number| assert_eq!(receive_number(&mut receiver), number));
                });
                [sends, receives]
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }

    /// The socket is there as long as one of its parts: the other side hears of no end.
    fn one_part_goes_on_without_the_other(transport) {
        for keeps_sender in [false, true] {
            let (mut left, mut right) = pair(transport);
            let monitor = right.monitor();
            exchange(&mut left, &mut right);
            let (mut sender, mut receiver) = left.into_split();
            if keeps_sender {
                drop(receiver);
                for number in 0..100 {
                    send_number(&mut sender, number);
                    assert_eq!(receive_number(&mut right), number);
                }
                // Nobody will ever receive it.
                send(&mut right, "for nobody");
                send(&mut sender, "still here");
                assert_eq!(receive(&mut right).as_bytes(), b"still here");
            } else {
                drop(sender);
                for number in 0..100 {
                    send_number(&mut right, number);
                    assert_eq!(receive_number(&mut receiver), number);
                }
            }
            while let Some(event) = monitor.try_recv() {
                assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
            }
        }
    }

    /// When both parts are dropped the socket closes, and what it has sent arrives.
    fn a_socket_closes_with_its_second_part(transport) {
        for sender_first in [false, true] {
            let (mut right, mut left) = pair(transport);
            let monitor = right.monitor();
            exchange(&mut left, &mut right);
            let (mut sender, receiver) = left.into_split();
            for number in 0..100 {
                send_number(&mut sender, number);
            }
            if sender_first {
                drop(sender);
                drop(receiver);
            } else {
                drop(receiver);
                drop(sender);
            }
            wait_for_end_on(transport, &monitor);
            for number in 0..100 {
                assert_eq!(receive_number(&mut right), number);
            }
            assert_eq!(right.try_recv(), Err(TryRecvError::Empty));
            wait_until("no peer", || matches!(right.try_send("gone"), Err(TrySendError::NoPeer(_))));
        }
    }

    /// Both directions at once, as futures on one thread.
    fn futures_of_both_parts_take_turns(transport) {
        const COUNT: u32 = 2000;
        let (mut left, right) = pair(transport);
        let echo = thread::spawn(move || {
            let (mut sender, mut receiver) = right.into_split();
            block_on(async {
                for _ in 0..COUNT {
                    let message = receiver.recv_async().await.unwrap();
                    sender.send_async(message).await.unwrap();
                }
            });
            (sender, receiver)
        });
        // What is accepted at once goes without waiting; the rest of the time is for what comes back.
        block_on(async {
            for number in 0..COUNT {
                left.send_async(&number.to_be_bytes()).await.unwrap();
                if number >= 100 {
                    let back = left.recv_async().await.unwrap();
                    assert_eq!(back.as_bytes(), (number - 100).to_be_bytes());
                }
            }
            for number in COUNT - 100..COUNT {
                assert_eq!(left.recv_async().await.unwrap().as_bytes(), number.to_be_bytes());
            }
        });
        echo.join().unwrap();
    }

    /// A future that is dropped has taken nothing and sent nothing.
    fn dropped_futures_lose_nothing(transport) {
        let context = Context::new();
        let (mut left, mut right) = (PairSocket::new(&context), PairSocket::new(&context));
        let endpoint = left.bind(transport.wildcard()).unwrap();
        assert!(is_pending(left.send_async("dropped")));
        assert!(is_pending(left.send_ready()));
        assert!(is_pending(left.recv_async()));
        right.connect(&endpoint).unwrap();
        for number in 0..100 {
            send_number(&mut right, number);
            // Whether or not it has come yet: what this takes is lost for nobody.
            let early = { poll_once(pin!(left.recv_async())) };
            let message = match early {
                Poll::Ready(message) => message.unwrap(),
                Poll::Pending => block_on(left.recv_async()).unwrap(),
            };
            assert_eq!(message.as_bytes(), number.to_be_bytes());
        }
        block_on(left.send_ready());
        left.try_send("kept").unwrap();
        assert_eq!(receive(&mut right).as_bytes(), b"kept");
        assert_eq!(right.try_recv(), Err(TryRecvError::Empty));
    }

    /// A future that waits for a peer is woken when one comes.
    fn a_pending_send_is_woken_by_a_peer(transport) {
        let context = Context::new();
        let mut left = PairSocket::new(&context);
        let endpoint = left.bind(transport.wildcard()).unwrap();
        let waiting = thread::spawn(move || {
            block_on(left.send_async("at last")).unwrap();
            left
        });
        let mut right = PairSocket::new(&context);
        right.connect(&endpoint).unwrap();
        assert_eq!(block_on(right.recv_async()).unwrap().as_bytes(), b"at last");
        drop(waiting.join().unwrap());
    }

    /// One large message there and one back, at the same time, do not wait for each other.
    fn large_messages_cross(transport) {
        let (mut left, mut right) = pair(transport);
        exchange(&mut left, &mut right);
        let body = pattern(8 << 20, 1);
        for socket in [&mut left, &mut right] {
            socket.send_timeout(body.clone(), DEADLINE).unwrap();
        }
        for socket in [&mut left, &mut right] {
            assert!(receive(socket) == Message::from(body.clone()));
        }
    }
}

/// An attempt to connect that fails takes no place.
#[test]
fn a_refused_connect_leaves_the_place_free() {
    with_deadline(|| {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        pull.bind("inproc://not-a-pair").unwrap();
        let (mut left, mut right) = (PairSocket::new(&context), PairSocket::new(&context));
        let endpoint = left.bind("inproc://a-pair").unwrap();
        let error = right.connect("inproc://not-a-pair").unwrap_err();
        assert!(matches!(error, ConnectError::IncompatiblePeer { .. }), "{error}");
        let error = right.connect("tcp://*:1").unwrap_err();
        assert!(matches!(error, ConnectError::Endpoint(_)), "{error}");
        right.connect(&endpoint).unwrap();
        exchange(&mut left, &mut right);
    });
}

/// Polls a future once and drops it.
fn is_pending(future: impl Future) -> bool {
    poll_once(pin!(future)).is_pending()
}
