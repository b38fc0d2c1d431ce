//! What was accepted is delivered, what is closed is free, and nothing hangs.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    ConnectError, Context, DealerSocket, DetachError, Event, Monitor, PullSocket, PushSocket, Reason,
    TryRecvError, TrySendError,
};

use crate::raw::{Raw, frame};
use crate::support::{
    DEADLINE, Transport, ipc_path, pattern, receive, receive_number, send, send_number, wait_for,
    wait_for_end, wait_for_handshake, wait_until, within,
};
use crate::{on_every_transport, on_every_wire};

on_every_transport! {
    /// A socket that is dropped right after its last send delivers everything: a thousand short lives.
    fn a_connected_push_dropped_after_its_last_send_delivers(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        for round in 0..1000 {
            let mut push = PushSocket::new(&context);
            push.connect(&endpoint).unwrap();
            for number in 0..3 {
                send_number(&mut push, round * 3 + number);
            }
            drop(push);
            for number in 0..3 {
                assert_eq!(receive_number(&mut pull), round * 3 + number);
            }
        }
    }

    /// The same where the receiver has connected.
    fn a_bound_push_dropped_after_its_last_send_delivers(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        for round in 0..1000 {
            let mut push = PushSocket::new(&context);
            let endpoint = push.bind(transport.wildcard()).unwrap();
            pull.connect(&endpoint).unwrap();
            for number in 0..3 {
                send_number(&mut push, round * 3 + number);
            }
            drop(push);
            for number in 0..3 {
                assert_eq!(receive_number(&mut pull), round * 3 + number);
            }
            pull.disconnect(&endpoint).unwrap();
        }
    }

    /// The same for many messages, whichever side binds.
    fn a_push_dropped_after_many_messages_delivers(transport) {
        for push_binds in [false, true] {
            let context = Context::new();
            let mut pull = PullSocket::new(&context);
            let mut push = PushSocket::new(&context);
            if push_binds {
                pull.connect(push.bind(transport.wildcard()).unwrap()).unwrap();
            } else {
                push.connect(pull.bind(transport.wildcard()).unwrap()).unwrap();
            }
            let sender = thread::spawn(move || {
                for number in 0..100_000 {
                    send_number(&mut push, number);
                }
            });
            for number in 0..100_000 {
                assert_eq!(receive_number(&mut pull), number);
            }
            sender.join().unwrap();
            assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
        }
    }

    /// Large messages are delivered as well, to a receiver that begins only when the sender is gone.
    fn a_push_dropped_after_large_messages_delivers(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        for number in 0..20 {
            send(&mut push, pattern(1 << 20, number));
        }
        drop(push);
        for number in 0..20 {
            assert!(receive(&mut pull).as_bytes() == pattern(1 << 20, number));
        }
    }

    /// A connection is made once for each endpoint.
    fn connecting_twice_to_an_endpoint_is_an_error(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::new(&context);
        push.connect(endpoint.as_str()).unwrap();
        match push.connect(endpoint.as_str()) {
            Err(error @ ConnectError::AlreadyConnected { .. }) => assert!(error.to_string().contains(&endpoint)),
            other => panic!("{other:?}"),
        }
        // The first connection is as good as before, and after it was given up there may be another.
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        send(&mut push, "one");
        assert_eq!(receive(&mut pull).as_bytes(), b"one");
        push.disconnect(endpoint.as_str()).unwrap();
        push.connect(endpoint.as_str()).unwrap();
        send(&mut push, "two");
        assert_eq!(receive(&mut pull).as_bytes(), b"two");
    }

    /// What is not bound cannot be unbound, and what is not connected cannot be disconnected.
    fn an_endpoint_the_socket_does_not_have_is_an_error(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut pull = PullSocket::new(&context);
        for result in [pull.unbind(endpoint.as_str()), pull.disconnect(endpoint.as_str())] {
            match result {
                Err(error @ DetachError::UnknownEndpoint { .. }) => assert!(error.to_string().contains(&endpoint)),
                other => panic!("{other:?}"),
            }
        }
        // Binding is not connecting.
        pull.bind(endpoint.as_str()).unwrap();
        assert!(matches!(pull.disconnect(endpoint.as_str()), Err(DetachError::UnknownEndpoint { .. })));
        pull.unbind(endpoint.as_str()).unwrap();
        assert!(matches!(pull.unbind(endpoint.as_str()), Err(DetachError::UnknownEndpoint { .. })));
        pull.connect(endpoint.as_str()).unwrap();
        assert!(matches!(pull.unbind(endpoint.as_str()), Err(DetachError::UnknownEndpoint { .. })));
        pull.disconnect(endpoint.as_str()).unwrap();
        assert!(matches!(pull.disconnect(endpoint.as_str()), Err(DetachError::UnknownEndpoint { .. })));
    }

    /// When `unbind` returns, the address is free; connections that were made stay.
    fn unbinding_frees_the_address_and_keeps_the_connections(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.fresh()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        send(&mut push, "before");
        assert_eq!(receive(&mut pull).as_bytes(), b"before");
        for _ in 0..20 {
            pull.unbind(&endpoint).unwrap();
            pull.bind(&endpoint).unwrap();
        }
        pull.unbind(&endpoint).unwrap();
        let mut other = PullSocket::new(&context);
        other.bind(&endpoint).unwrap();
        send(&mut push, "after");
        assert_eq!(receive(&mut pull).as_bytes(), b"after");
        assert_eq!(other.try_recv(), Err(TryRecvError::Empty));
        // Who comes now comes to the new owner of the address.
        let mut late = PushSocket::new(&context);
        late.connect(&endpoint).unwrap();
        send(&mut late, "to the other");
        assert_eq!(receive(&mut other).as_bytes(), b"to the other");
    }

    /// Dropping a socket frees its addresses, at the latest when its context has gone.
    fn dropping_a_context_frees_the_addresses(transport) {
        let endpoint = transport.fresh();
        for _ in 0..5 {
            let context = Context::new();
            let mut pull = PullSocket::new(&context);
            pull.bind(endpoint.as_str()).unwrap();
            let mut push = PushSocket::new(&context);
            push.connect(endpoint.as_str()).unwrap();
            send(&mut push, "x");
            receive(&mut pull);
            drop((push, pull));
            within(DEADLINE, move || drop(context));
        }
    }

    /// Disconnecting delivers what was accepted, and then there is no such peer any more.
    fn disconnecting_delivers_what_was_accepted(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        for number in 0..500 {
            send_number(&mut push, number);
        }
        push.disconnect(&endpoint).unwrap();
        assert!(matches!(push.try_send("nobody"), Err(TrySendError::NoPeer(_))));
        for number in 0..500 {
            assert_eq!(receive_number(&mut pull), number);
        }
        // It may come back.
        push.connect(&endpoint).unwrap();
        send(&mut push, "again");
        assert_eq!(receive(&mut pull).as_bytes(), b"again");
    }

    /// What was received from a peer can be read after disconnecting from it.
    fn what_was_received_survives_disconnecting(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut pull = PullSocket::new(&context);
        let monitor = pull.monitor();
        pull.connect(&endpoint).unwrap();
        for number in 0..10 {
            send_number(&mut push, number);
        }
        // The end of the connection comes behind the messages: then all of them are here.
        drop(push);
        if !transport.is_inproc() {
            wait_for_end(&monitor);
        }
        pull.disconnect(&endpoint).unwrap();
        for number in 0..10 {
            assert_eq!(receive_number(&mut pull), number);
        }
        assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
    }

    /// A sender learns that its only accepted peer has gone.
    fn a_bound_push_has_no_peer_when_the_last_one_has_gone(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        for _ in 0..3 {
            let mut pull = PullSocket::new(&context);
            pull.connect(&endpoint).unwrap();
            send(&mut push, "hello");
            assert_eq!(receive(&mut pull).as_bytes(), b"hello");
            drop(pull);
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
            wait_until("no peer", || matches!(push.try_send("nobody"), Err(TrySendError::NoPeer(_))));
        }
    }

    /// Sockets and contexts may be dropped in any order, used or not.
    fn any_order_of_dropping_ends(transport) {
        for order in 0..6 {
            let context = Context::new();
            let mut pull = PullSocket::new(&context);
            let endpoint = pull.bind(transport.wildcard()).unwrap();
            let mut push = PushSocket::new(&context);
            push.connect(&endpoint).unwrap();
            if order % 2 == 0 {
                send(&mut push, "x");
            }
            within(DEADLINE, move || match order {
                0 | 1 => {
                    drop(context);
                    drop(push);
                    drop(pull);
                }
                2 | 3 => {
                    drop(pull);
                    drop(context);
                    drop(push);
                }
                _ => {
                    drop(push);
                    drop(pull);
                    drop(context);
                }
            });
        }
    }
}

on_every_wire! {
    /// Who has been told that a peer has gone does not send to it any more: what is accepted then would be lost.
    fn nothing_is_accepted_for_a_peer_whose_end_was_told(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap().to_string();
        for round in 0..200 {
            let raw = Raw::peer(&endpoint, "PULL");
            wait_for_handshake(&monitor);
            drop(raw);
            wait_for_end(&monitor);
            assert!(matches!(push.try_send("nobody"), Err(TrySendError::NoPeer(_))), "round {round}");
        }
    }

    /// A program that returns from `main` has delivered: the drop of its context waits for that.
    fn a_context_dropped_after_the_last_send_delivers(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        for round in 0..50 {
            let program = Context::new();
            let mut push = PushSocket::new(&program);
            push.connect(&endpoint).unwrap();
            for number in 0..5 {
                send_number(&mut push, round * 5 + number);
            }
            drop(push);
            within(DEADLINE, move || drop(program));
            for number in 0..5 {
                assert_eq!(receive_number(&mut pull), round * 5 + number);
            }
        }
    }

    /// What was accepted waits for a peer that comes within the linger time, though the socket is gone.
    fn a_dropped_push_still_finds_a_peer_that_comes_late(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context)
            .linger(DEADLINE)
            .reconnect_min(Duration::from_millis(1))
            .reconnect_max(Duration::from_millis(20))
            .build()
            .unwrap();
        let monitor = push.monitor();
        push.connect(endpoint.as_str()).unwrap();
        for number in 0..10 {
            send_number(&mut push, number);
        }
        drop(push);
        wait_for(&monitor, "connect failed", |event| matches!(event, Event::ConnectFailed { .. }).then_some(()));
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        for number in 0..10 {
            assert_eq!(receive_number(&mut pull), number);
        }
    }

    /// Nobody waits for a peer that never comes: longer than linger, but not for ever.
    fn an_absent_peer_does_not_hang_the_drop(transport) {
        for linger in [0, 1, 200].map(Duration::from_millis) {
            let context = Context::new();
            let mut push = PushSocket::builder(&context).linger(linger).build().unwrap();
            push.connect(transport.fresh()).unwrap();
            send(&mut push, "is anybody there");
            let start = Instant::now();
            drop(push);
            within(DEADLINE, move || drop(context));
            assert!(start.elapsed() >= linger, "{:?} is less than {linger:?}", start.elapsed());
        }
    }

    /// Nothing is waited for where nothing is to be delivered.
    fn an_idle_connection_is_not_lingered_for(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context)
            .linger(Duration::from_secs(3600))
            .linger_max(Duration::from_secs(3600))
            .build()
            .unwrap();
        push.connect(transport.fresh()).unwrap();
        let mut pull = PullSocket::new(&context);
        push.connect(pull.bind(transport.wildcard()).unwrap()).unwrap();
        drop((push, pull));
        within(DEADLINE, move || drop(context));
    }

    /// Nobody waits for a peer that is there and does not read.
    fn a_peer_that_does_not_read_does_not_hang_the_drop(transport) {
        for linger in [0, 100].map(Duration::from_millis) {
            let context = Context::new();
            let mut push = PushSocket::builder(&context).linger(linger).build().unwrap();
            let monitor = push.monitor();
            let endpoint = push.bind(transport.wildcard()).unwrap();
            let silent = Raw::peer(&endpoint.to_string(), "PULL");
            wait_for_handshake(&monitor);
            for _ in 0..64 {
                send(&mut push, pattern(1 << 20, 0));
            }
            drop(push);
            within(DEADLINE, move || drop(context));
            drop(silent);
        }
    }

    /// A peer that reads, however slowly, gets everything: linger counts the time without progress only.
    fn a_slow_reader_gets_everything_from_a_dropped_push(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).linger(DEADLINE).linger_max(DEADLINE).build().unwrap();
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut slow = Raw::peer(&endpoint.to_string(), "PULL");
        wait_for_handshake(&monitor);
        for number in 0..40 {
            send(&mut push, pattern(1 << 20, number));
        }
        drop(push);
        for number in 0..40 {
            assert!(slow.read_message() == [pattern(1 << 20, number)]);
        }
        assert!(slow.read_to_hang_up().is_empty());
    }

    /// A peer that takes its time gets everything, though that takes longer than linger: every message renews it.
    fn a_reader_that_pauses_gets_all_messages_of_a_dropped_push(transport) {
        let messages = (0..PORTIONS).map(|number| pattern(PORTION_BYTES, number)).collect();
        is_delivered_to_a_reader_that_pauses(transport, messages);
    }

    /// The same within one message, in the time of which none is finished.
    fn a_reader_that_pauses_gets_a_large_message_of_a_dropped_push(transport) {
        let messages = vec![pattern(PORTION_BYTES * usize::from(PORTIONS), 1)];
        is_delivered_to_a_reader_that_pauses(transport, messages);
    }

    /// A peer that makes progress for ever holds nobody for longer than the whole of the time, and what it did not get by then
    /// is told.
    fn a_trickling_reader_does_not_hang_the_end(transport) {
        const COUNT: u8 = 100;
        let (linger, linger_max) = (Duration::from_secs(1), Duration::from_millis(1500));
        let context = Context::new();
        let (push, mut reader) = push_and_slow_peer(transport, &context, linger, linger_max);
        let (mut push, monitor) = push;
        for number in 0..COUNT {
            send(&mut push, pattern(PORTION_BYTES, number));
        }
        let start = Instant::now();
        drop(push);
        let reader = thread::spawn(move || {
            let mut stream = Vec::new();
            let mut portion = vec![0; PORTION_BYTES];
            loop {
                match reader.read(&mut portion) {
                    Ok(0) => return stream,
                    Ok(count) => stream.extend_from_slice(&portion[..count]),
                    Err(error) => panic!("not the end of the stream: {error}"),
                }
                pause();
            }
        });
        let report = context.shutdown(DEADLINE);
        assert!(start.elapsed() >= linger_max, "{:?}", start.elapsed());
        let reason = wait_for(&monitor, "disconnected", |event| match event {
            Event::Disconnected { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        let messages = report.messages();
        assert_eq!(reason, Reason::LingerExpired { messages });
        let stream = reader.join().unwrap();
        let frames: Vec<u8> = (0..COUNT).flat_map(|number| frame(0, &pattern(PORTION_BYTES, number))).collect();
        assert!(frames.starts_with(&stream));
        // What the kernel has taken arrives after the end, and perhaps half a message.
        let whole = stream.len() / frame(0, &pattern(PORTION_BYTES, 0)).len();
        assert_eq!(whole as u64 + messages, COUNT.into());
        assert!(messages > 0);
    }

    /// Closing a connection while something has come that nobody has read would reset it, and destroy what the other side has
    /// not read yet: the socket reads on until its peer has seen the end.
    fn what_was_not_received_destroys_nothing_that_was_sent(transport) {
        const COUNT: u8 = 100;
        let context = Context::new();
        let mut dealer = DealerSocket::builder(&context)
            .receive_hwm(1)
            .send_buffer(1 << 20)
            .build()
            .unwrap();
        let monitor = dealer.monitor();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::connect(&endpoint.to_string());
        // Most of what the dealer sends is still in its own kernel buffer when it closes.
        raw.set_receive_buffer(4096);
        raw.shake_hands("DEALER");
        wait_for_handshake(&monitor);
        // However they are cut, zeros are empty messages.
        let flood = [0; 65_536];
        raw.fill_with(&flood);
        wait_until("the dealer reads no more", || dealer.stats().received.received > 0);
        raw.fill_with(&flood);
        for number in 0..COUNT {
            send(&mut dealer, pattern(1000, number));
        }
        wait_until("the kernel has all", || dealer.stats().sent.handed_over == COUNT.into());
        drop(dealer);
        for number in 0..COUNT {
            assert!(raw.read_message() == [pattern(1000, number)]);
        }
        assert_eq!(raw.read(&mut [0]).expect("the end of the stream"), 0);
        drop(raw);
        assert!(context.shutdown(DEADLINE).is_complete());
    }

    /// Nobody is accepted any more at an endpoint that was unbound.
    fn nobody_is_accepted_after_unbinding(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let monitor = pull.monitor();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        pull.unbind(&endpoint).unwrap();
        let text = endpoint.to_string();
        wait_for(&monitor, "listener closed", |event| {
            (*event == Event::ListenerClosed { endpoint: text.clone() }).then_some(())
        });
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        push.connect(&endpoint).unwrap();
        wait_for(&monitor, "connect failed", |event| matches!(event, Event::ConnectFailed { .. }).then_some(()));
        if transport == Transport::Ipc {
            assert!(!ipc_path(&text).exists(), "the file of the socket is removed");
        }
    }

    /// The file of an ipc socket goes with it.
    fn nothing_is_left_in_the_file_system(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap().to_string();
        if transport == Transport::Ipc {
            assert!(ipc_path(&endpoint).exists());
            drop(pull);
            within(DEADLINE, move || drop(context));
            assert!(!ipc_path(&endpoint).exists());
        }
    }
}

/// What a slow reader reads at a time, and how much that is in all.
const PORTION_BYTES: usize = 256 * 1024;
const PORTIONS: u8 = 35;

/// The slowness of slow readers, which is what their tests are about. Nothing is waited for.
fn pause() {
    thread::sleep(Duration::from_millis(100));
}

/// A bound PUSH with its monitor, and its only peer, with so little room between them that who reads slowly is waited for.
fn push_and_slow_peer(
    transport: Transport,
    context: &Context,
    linger: Duration,
    linger_max: Duration,
) -> ((PushSocket, Monitor), Raw) {
    const KERNEL_BYTES: usize = 64 * 1024;
    let mut push = PushSocket::builder(context)
        .linger(linger)
        .linger_max(linger_max)
        .send_buffer(KERNEL_BYTES)
        .build()
        .unwrap();
    let monitor = push.monitor();
    let endpoint = push.bind(transport.wildcard()).unwrap();
    let mut peer = Raw::connect(&endpoint.to_string());
    peer.set_receive_buffer(KERNEL_BYTES);
    peer.shake_hands("PULL");
    wait_for_handshake(&monitor);
    ((push, monitor), peer)
}

/// Sends the messages to a peer that needs much longer than linger for all of them, and less than that for each portion.
fn is_delivered_to_a_reader_that_pauses(transport: Transport, messages: Vec<Vec<u8>>) {
    let linger = Duration::from_secs(2);
    let context = Context::new();
    let ((mut push, monitor), mut reader) = push_and_slow_peer(transport, &context, linger, DEADLINE);
    for message in &messages {
        send(&mut push, message.clone());
    }
    let start = Instant::now();
    drop(push);
    let mut portion = vec![0; PORTION_BYTES];
    for message in messages {
        let (_, bytes) = reader.read_header();
        assert_eq!(bytes, message.len());
        for expected in message.chunks(PORTION_BYTES) {
            pause();
            reader.read_exact(&mut portion).expect("what was accepted");
            assert!(portion == expected);
        }
    }
    assert!(reader.read_to_hang_up().is_empty());
    assert!(start.elapsed() > linger, "{:?} is too fast", start.elapsed());
    drop(reader);
    let reason = wait_for(&monitor, "disconnected", |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(reason, Reason::Closed);
}
