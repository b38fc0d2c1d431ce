//! What a monitor tells: every connection from its beginning to its end, in order, with what is missing where it is missing.

use std::collections::HashMap;
use std::pin::pin;
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    ConnectionId, Context, DealerSocket, DuplicateOutcome, Endpoint, Event, Monitor, OnDuplicate, PeerId,
    PubSocket, PullSocket, PushSocket, Reason, RouterSocket, SocketType, SubSocket, TrySendError,
};

use crate::executors::{block_on, poll_once};
use crate::raw::{Raw, greeting, ready_with};
use crate::support::{DEADLINE, Transport, receive, send, wait_for, wait_for_handshake, within};
use crate::{on_every_transport, on_every_wire};

/// The next event, which must be the one that `pick` is for.
#[track_caller]
fn next<T>(monitor: &Monitor, pick: impl FnOnce(&Event) -> Option<T>) -> T {
    let event = monitor.recv_timeout(DEADLINE).expect("an event in time");
    pick(&event).unwrap_or_else(|| panic!("another event is next: {event}"))
}

/// Picks an event of a connection by its variant.
macro_rules! of {
    ($variant:ident) => {
        |event: &Event| match event {
            Event::$variant { connection, .. } => Some((**connection).clone()),
            _ => None,
        }
    };
}

fn peer(name: &str) -> PeerId {
    PeerId::new(name.to_owned()).unwrap()
}

fn dealer(context: &Context, name: &str) -> DealerSocket {
    DealerSocket::builder(context)
        .identity(name.to_owned())
        .reconnect_min(Duration::from_millis(10))
        .reconnect_max(Duration::from_millis(20))
        .build()
        .unwrap()
}

/// What was waiting, and everything until the end.
fn rest(monitor: Monitor) -> Vec<Event> {
    within(DEADLINE, move || monitor.iter().collect())
}

/// Checks what the documentation of `Event` says about their order. Returns how many connections there were.
#[track_caller]
fn assert_in_order(events: &[Event]) -> usize {
    let mut last: HashMap<ConnectionId, &Event> = HashMap::new();
    for event in events {
        let Some(connection) = event.connection() else {
            continue;
        };
        let before = last.insert(connection.id, event);
        let fits = match event {
            Event::Connecting { .. } | Event::Accepted { .. } => before.is_none(),
            Event::Connected { .. } => matches!(before, Some(Event::Connecting { .. })),
            Event::ConnectFailed { .. } => matches!(before, None | Some(Event::Connecting { .. })),
            Event::DuplicateIdentity { .. }
            | Event::HandshakeSucceeded { .. }
            | Event::HandshakeFailed { .. } => {
                matches!(
                    before,
                    Some(Event::Accepted { .. } | Event::Connected { .. } | Event::DuplicateIdentity { .. })
                )
            }
            Event::Subscription { .. } | Event::SlowPeer { .. } | Event::Disconnected { .. } => matches!(
                before,
                Some(Event::HandshakeSucceeded { .. } | Event::Subscription { .. } | Event::SlowPeer { .. })
            ),
            _ => true,
        };
        assert!(fits, "{event} after {before:?}");
    }
    for event in last.values() {
        let is_end = matches!(
            event,
            Event::ConnectFailed { .. } | Event::HandshakeFailed { .. } | Event::Disconnected { .. }
        );
        assert!(is_end, "the last event is no end: {event}");
    }
    last.len()
}

on_every_transport! {
    /// Both sides tell the same story, each with its own addresses.
    fn a_connection_is_told_from_its_beginning_to_its_end(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let pulls = pull.monitor();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        assert_eq!(pulls.recv(), Some(Event::Listening { endpoint: endpoint.to_string() }));
        let mut push = PushSocket::new(&context);
        let pushs = push.monitor();
        push.connect(&endpoint).unwrap();
        send(&mut push, "hello");
        receive(&mut pull);

        let accepted = next(&pulls, of!(Accepted));
        let known = next(&pulls, of!(HandshakeSucceeded));
        assert_eq!((accepted.id, accepted.peer_type), (known.id, accepted.peer_type));
        assert_eq!((known.peer_type, &known.peer), (Some(SocketType::Push), &None));
        assert_eq!(known.endpoint, endpoint.to_string());
        assert_eq!(known.local, endpoint.to_string());

        let connecting = next(&pushs, of!(Connecting));
        assert_eq!((connecting.local.as_str(), &connecting.remote), ("", &endpoint.to_string()));
        let connected = next(&pushs, of!(Connected));
        assert_eq!((connected.id, connected.endpoint), (connecting.id, endpoint.to_string()));
        let dialed = next(&pushs, of!(HandshakeSucceeded));
        assert_eq!((dialed.id, dialed.peer_type), (connecting.id, Some(SocketType::Pull)));
        assert_eq!(dialed.remote, known.local);
        match transport {
            Transport::Tcp => assert_eq!(dialed.local, known.remote),
            // The dialing end has no name: it is told as what it dialed.
            Transport::Ipc => assert_eq!((dialed.local.as_str(), &known.remote), ("ipc://", &known.local)),
            Transport::Inproc => assert_eq!((&dialed.local, dialed.id), (&known.remote, known.id)),
        }

        drop(push);
        let (connection, reason) = next(&pulls, |event| match event {
            Event::Disconnected { connection, reason } => Some(((**connection).clone(), reason.clone())),
            _ => None,
        });
        assert_eq!((connection, reason), (known, Reason::PeerClosed));
        pull.unbind(&endpoint).unwrap();
        assert_eq!(pulls.recv(), Some(Event::ListenerClosed { endpoint: endpoint.to_string() }));
        drop(pull);
        assert_eq!(rest(pulls), [Event::Closed]);
        let end = Event::Disconnected { connection: dialed.into(), reason: Reason::Closed };
        assert_eq!(rest(pushs), [end, Event::Closed]);
    }

    /// A reader that hears of a peer finds it, and does not find one of which it heard that it has gone.
    fn what_an_event_tells_is_done(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let monitor = router.monitor();
        // Not a wildcard, whose directory goes with the listener.
        let endpoint = router.bind(transport.fresh()).unwrap();
        for round in 0..100 {
            let name = format!("peer-{round}");
            let mut dealer = dealer(&context, &name);
            let address = endpoint.clone();
            let connecting = thread::spawn(move || {
                dealer.connect(address).unwrap();
                dealer
            });
            let connection = wait_for(&monitor, "handshake succeeded", of!(HandshakeSucceeded));
            assert_eq!(router.peers(), [peer(&name)]);
            assert_eq!(connection.peer, Some(peer(&name)));
            let dealer = connecting.join().unwrap();
            let dropping = thread::spawn(move || drop(dealer));
            let ended = wait_for(&monitor, "disconnected", of!(Disconnected));
            assert!(router.peers().is_empty());
            assert_eq!(ended, connection);
            dropping.join().unwrap();
        }
        drop(router);
        wait_for(&monitor, "listener closed", |event| matches!(event, Event::ListenerClosed { .. }).then_some(()));
        PullSocket::new(&context).bind(&endpoint).expect("the address is free");
    }

    /// Nothing connects, so nothing is connected: a wait for a peer ends with the socket, and with a word about it.
    fn a_peer_that_never_came_is_told(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).linger(Duration::ZERO).build().unwrap();
        let monitor = push.monitor();
        let endpoint = transport.fresh();
        push.connect(endpoint.as_str()).unwrap();
        let connecting = next(&monitor, of!(Connecting));
        assert_eq!((connecting.endpoint, connecting.remote), (endpoint.clone(), endpoint));
        drop(push);
        let events = rest(monitor);
        let failed = of!(ConnectFailed)(&events[0]).expect("an end of the attempt");
        assert_eq!(failed.id, connecting.id);
        assert_eq!(events.last(), Some(&Event::Closed));
    }

    /// A publisher tells what its subscribers want, when it has taken note.
    fn a_publisher_tells_of_subscriptions(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::new(&context);
        let monitor = publisher.monitor();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = SubSocket::new(&context);
        subscriber.connect(&endpoint).unwrap();
        let connection = wait_for(&monitor, "handshake succeeded", of!(HandshakeSucceeded));
        for subscribed in [true, false] {
            match subscribed {
                true => subscriber.subscribe("news").unwrap(),
                false => subscriber.unsubscribe("news").unwrap(),
            }
            let end = Instant::now() + DEADLINE;
            let event = loop {
                // The publisher hears in its calls.
                publisher.subscribers();
                if let Some(event) = monitor.try_recv() {
                    break event;
                }
                assert!(Instant::now() < end, "no event in time");
                thread::yield_now();
            };
            let told = Event::Subscription {
                connection: connection.clone().into(),
                topic: "news".into(),
                subscribed,
            };
            assert_eq!(event, told);
            assert_eq!(publisher.send("news of today").unwrap().matched, usize::from(subscribed));
        }
        drop(subscriber);
        assert_eq!(next(&monitor, of!(Disconnected)), connection);
    }

    /// Once for as long as the peer is slow, however many messages find it so.
    fn a_slow_subscriber_is_told_once(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::builder(&context).send_hwm(2).build().unwrap();
        let monitor = publisher.monitor();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = SubSocket::builder(&context).receive_hwm(1).build().unwrap();
        subscriber.connect(&endpoint).unwrap();
        subscriber.subscribe("").unwrap();
        publisher.wait_for_subscribers(1, DEADLINE).unwrap();
        let connection = wait_for(&monitor, "handshake succeeded", of!(HandshakeSucceeded));
        let start = Instant::now();
        while publisher.dropped() < 1000 {
            publisher.send(vec![0; 10_000]).unwrap();
        }
        let told: Vec<Event> = std::iter::from_fn(|| monitor.try_recv())
            .filter(|event| !matches!(event, Event::Subscription { .. }))
            .collect();
        let slow = Event::SlowPeer { connection: connection.into(), waiting: 2 };
        assert_eq!(told.first(), Some(&slow));
        // The kernel may take some more now and then, which begins a new time of being slow after a second.
        assert!(told.len() as u64 <= 1 + start.elapsed().as_secs(), "{told:?}");
    }

    /// A queue that is full because nobody is connected is no slow peer; one that a peer does not empty is.
    fn a_slow_worker_is_told(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context)
            .send_hwm(2)
            .reconnect_min(Duration::from_millis(10))
            .reconnect_max(Duration::from_millis(20))
            .build()
            .unwrap();
        let monitor = push.monitor();
        let endpoint = transport.fresh();
        push.connect(endpoint.as_str()).unwrap();
        while push.try_send("waits").is_ok() {}
        let mut pull = PullSocket::builder(&context).receive_hwm(1).build().unwrap();
        pull.bind(endpoint.as_str()).unwrap();
        let connection = wait_for(&monitor, "handshake succeeded, and no slow peer before", |event| {
            assert!(!matches!(event, Event::SlowPeer { .. }), "{event}");
            of!(HandshakeSucceeded)(event)
        });
        for _ in 0..2 {
            assert_eq!(receive(&mut pull).as_bytes(), b"waits");
        }
        let end = Instant::now() + DEADLINE;
        let slow = loop {
            match push.try_send(vec![0; 10_000]) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
            if let Some(event) = monitor.try_recv() {
                break event;
            }
            assert!(Instant::now() < end, "no event in time");
        };
        assert_eq!(slow, Event::SlowPeer { connection: connection.into(), waiting: 2 });
    }

    /// Who claimed a name is told, and what became of it.
    fn a_duplicate_identity_is_told(transport) {
        for (on_duplicate, outcome) in [
            (OnDuplicate::Reject, DuplicateOutcome::Refused),
            (OnDuplicate::Challenge, DuplicateOutcome::Refused),
            (OnDuplicate::TakeOver, DuplicateOutcome::TakenOver),
        ] {
            let context = Context::new();
            let mut router = RouterSocket::builder(&context).on_duplicate(on_duplicate).build().unwrap();
            let monitor = router.monitor();
            let endpoint = router.bind(transport.wildcard()).unwrap();
            let mut old = dealer(&context, "twin");
            old.connect(&endpoint).unwrap();
            let first = wait_for(&monitor, "handshake succeeded", of!(HandshakeSucceeded));
            let mut newcomer = dealer(&context, "twin");
            newcomer.connect(&endpoint).unwrap();
            let second = wait_for(&monitor, "accepted", of!(Accepted));
            let mut seen = Vec::new();
            let claimed = wait_for(&monitor, "duplicate identity", |event| {
                seen.push(event.clone());
                match event {
                    Event::DuplicateIdentity { connection, identity, outcome: told } => {
                        assert_eq!((identity, *told), (&peer("twin"), outcome));
                        Some((**connection).clone())
                    }
                    _ => None,
                }
            });
            assert_eq!((claimed.id, claimed.peer_type), (second.id, Some(SocketType::Dealer)));
            let is_end_of_first = |event: &Event| {
                of!(Disconnected)(event).is_some_and(|connection| connection.id == first.id)
                    && event.reason() == Some(&Reason::IdentityTakenOver { identity: "twin".into() })
            };
            match outcome {
                DuplicateOutcome::TakenOver => {
                    // The first may go before the second is told or after it.
                    let mut gone = seen.iter().any(is_end_of_first);
                    let mut come = false;
                    wait_for(&monitor, "the second in the place of the first", |event| {
                        gone |= is_end_of_first(event);
                        come |= of!(HandshakeSucceeded)(event).is_some_and(|connection| connection.id == second.id);
                        (gone && come).then_some(())
                    });
                }
                _ => assert_eq!(wait_for(&monitor, "handshake failed", of!(HandshakeFailed)).id, second.id),
            }
        }
    }

    /// Whoever waits for an event when the socket goes is woken, however it waits.
    fn the_end_wakes_whoever_waits(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).linger(Duration::ZERO).build().unwrap();
        let monitors: Vec<Monitor> = (0..3).map(|_| push.monitor()).collect();
        let mut waiting = Vec::new();
        for (way, monitor) in monitors.into_iter().enumerate() {
            waiting.push(thread::spawn(move || {
                let mut last = None;
                loop {
                    let event = match way {
                        0 => monitor.recv(),
                        1 => monitor.recv_timeout(Duration::MAX),
                        _ => block_on(monitor.recv_async()),
                    };
                    match event {
                        Some(event) => last = Some(event),
                        None => break,
                    }
                }
                assert!(monitor.is_finished());
                assert_eq!(monitor.recv(), None);
                assert_eq!(block_on(monitor.recv_async()), None);
                assert_eq!(monitor.try_recv(), None);
                last
            }));
        }
        push.connect(transport.fresh().as_str()).unwrap();
        send(&mut push, "is lost");
        drop(push);
        for thread in waiting {
            assert_eq!(within(DEADLINE, || thread.join().unwrap()), Some(Event::Closed));
        }
    }

    /// Sockets of all kinds come and go in a hurry. Every story is told to its end.
    fn all_connections_are_told_in_order(transport) {
        let context = Context::builder().io_threads(2).build().unwrap();
        let mut router = RouterSocket::builder(&context)
            .on_duplicate(OnDuplicate::TakeOver)
            .build()
            .unwrap();
        let monitor = router.monitor_with(1_000_000);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let (context, endpoint) = (context.clone(), endpoint.clone());
                thread::spawn(move || {
                    let mut events = Vec::new();
                    for round in 0..25 {
                        // Names are fought for by two at a time.
                        let mut client = dealer(&context, &format!("client-{}", number / 2));
                        events.push(client.monitor_with(1_000_000));
                        client.connect(&endpoint).unwrap();
                        if round % 3 == 0 {
                            let _ = client.send_timeout("hello", Duration::from_millis(20));
                        }
                        if round % 5 == 0 {
                            client.disconnect(&endpoint).unwrap();
                        }
                    }
                    events
                })
            })
            .collect();
        for client in clients {
            for monitor in client.join().unwrap() {
                assert_in_order(&rest(monitor));
            }
        }
        drop(router);
        let events = rest(monitor);
        assert!(assert_in_order(&events) > 20);
        assert_eq!(events.last(), Some(&Event::Closed));
    }
}

on_every_wire! {
    /// An attempt that fails, the pause, and the one that succeeds, each attempt with a name of its own.
    fn attempts_to_connect_are_told(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context)
            .reconnect_min(Duration::from_millis(10))
            .reconnect_max(Duration::from_millis(20))
            .build()
            .unwrap();
        let monitor = push.monitor();
        let endpoint = transport.fresh();
        push.connect(endpoint.as_str()).unwrap();
        let mut ids = Vec::new();
        for _ in 0..3 {
            let connecting = next(&monitor, of!(Connecting));
            let (failed, reason) = next(&monitor, |event| match event {
                Event::ConnectFailed { connection, reason } => Some(((**connection).clone(), reason.clone())),
                _ => None,
            });
            assert_eq!(failed, connecting);
            assert!(matches!(reason, Reason::Io { .. }), "{reason:?}");
            assert!(!ids.contains(&failed.id));
            ids.push(failed.id);
            next(&monitor, |event| matches!(event, Event::Retrying { .. }).then_some(()));
        }
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        wait_for_handshake(&monitor);
    }

    /// A reader that is slow misses what says least, and is told where. Nobody waits for it.
    fn a_slow_reader_is_told_what_it_missed(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let slow = pull.monitor_with(10);
        let diligent = pull.monitor_with(1_000_000);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut failures = Vec::new();
        for _ in 0..5 {
            drop(Raw::connect(&endpoint.to_string()));
            failures.push(wait_for(&diligent, "handshake failed", |event| {
                matches!(event, Event::HandshakeFailed { .. }).then(|| event.clone())
            }));
        }
        for _ in 0..20 {
            let mut silent = Raw::connect(&endpoint.to_string());
            silent.send(&greeting()[..10]);
            wait_for(&diligent, "accepted", of!(Accepted));
            // It stays until its handshake times out.
            std::mem::forget(silent);
        }
        assert_eq!(slow.missed(), 1 + 2 * 5 + 20 - 10);
        let mut told = Vec::new();
        while let Some(event) = slow.try_recv() {
            told.push(event);
        }
        // Of the reasons none is missing; what was missed stands where it was.
        let mut told_failures = told.clone();
        told_failures.retain(|event| matches!(event, Event::HandshakeFailed { .. }));
        assert_eq!(told_failures, failures);
        assert_eq!(told[..3], [
            Event::Listening { endpoint: endpoint.to_string() },
            Event::Missed { count: 1 },
            failures[0].clone(),
        ]);
        let missed: u64 = told.iter().map(|event| match event {
            Event::Missed { count } => *count,
            _ => 0,
        }).sum();
        assert_eq!((missed, slow.missed()), (21, 21));
    }

    /// The holder of a name that gives no sign of life has to go, and the newcomer that waited is told as its heir.
    fn a_name_that_is_taken_from_the_dead_is_told(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let monitor = router.monitor();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dead = Raw::connect(&endpoint.to_string());
        dead.send(&greeting());
        dead.send(&ready_with(&[("Socket-Type", b"DEALER"), ("Identity", b"twin")]));
        let first = wait_for(&monitor, "handshake succeeded", of!(HandshakeSucceeded));
        let mut newcomer = dealer(&context, "twin");
        newcomer.connect(&endpoint).unwrap();
        let end = wait_for(&monitor, "disconnected", of!(Disconnected));
        assert_eq!(end, first);
        let outcome = next(&monitor, |event| match event {
            Event::DuplicateIdentity { outcome, .. } => Some(*outcome),
            _ => None,
        });
        assert_eq!(outcome, DuplicateOutcome::TakenOver);
        assert_eq!(next(&monitor, of!(HandshakeSucceeded)).peer, Some(peer("twin")));
    }

    /// `Closed` comes when nothing is left of the socket: when what it had accepted is written, or given up.
    fn closed_is_told_when_the_last_connection_has_ended(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context)
            .linger(Duration::from_millis(200))
            .build()
            .unwrap();
        let monitor = push.monitor();
        push.connect(transport.fresh().as_str()).unwrap();
        send(&mut push, "is lost");
        let start = Instant::now();
        drop(push);
        let events = rest(monitor);
        assert!(start.elapsed() >= Duration::from_millis(200));
        let reason = events.iter().rev().find_map(Event::reason);
        assert_eq!(reason, Some(&Reason::LingerExpired { messages: 1 }));
        assert_eq!(events.last(), Some(&Event::Closed));
    }

    /// When a socket is dropped its statistics are gone, so what a peer has not taken that leaves before the end of linger is
    /// told.
    fn what_a_dropped_socket_loses_with_its_peer_is_told(transport) {
        const HWM: u64 = 10;
        let context = Context::new();
        let builder = PushSocket::builder(&context).send_hwm(HWM as u32).send_buffer(64 << 10);
        let mut push = builder.linger(DEADLINE).build().unwrap();
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let raw = Raw::peer(&endpoint.to_string(), "PULL");
        wait_for_handshake(&monitor);
        // Until the kernels take no more.
        while let Ok(()) = push.send_timeout(vec![7; 100_000], Duration::from_millis(500)) {}
        assert_eq!(push.stats().sent.waiting, HWM);
        drop(push);
        drop(raw);
        let events = rest(monitor);
        let end = events.iter().find_map(Event::reason);
        let Some(reason @ Reason::Undelivered { messages: HWM, cause }) = end else {
            panic!("{end:?}");
        };
        assert!(!reason.is_ordinary());
        assert_eq!(reason.to_string(), format!("{cause}, with {HWM} messages unsent"));
        assert_eq!(events.last(), Some(&Event::Closed));
    }
}

/// Two tasks wait at one monitor; one gives up. The event is for the other, and nothing is lost.
#[test]
fn a_future_that_is_dropped_has_taken_nothing() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let monitor = pull.monitor();
    let listening = |endpoint: &Endpoint| Event::Listening {
        endpoint: endpoint.to_string(),
    };
    {
        let mut given_up = pin!(monitor.recv_async());
        assert!(poll_once(given_up.as_mut()).is_pending());
    }
    let endpoint = pull.bind(Transport::Inproc.fresh()).unwrap();
    assert_eq!(block_on(monitor.recv_async()), Some(listening(&endpoint)));
    let mut woken_and_given_up = Box::pin(monitor.recv_async());
    assert!(poll_once(woken_and_given_up.as_mut()).is_pending());
    let endpoint = pull.bind(Transport::Inproc.fresh()).unwrap();
    drop(woken_and_given_up);
    assert_eq!(block_on(monitor.recv_async()), Some(listening(&endpoint)));
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| block_on(monitor.recv_async())))
            .collect();
        let endpoints =
            [Transport::Inproc.fresh(), Transport::Inproc.fresh()].map(|it| pull.bind(it).unwrap());
        let mut heard: Vec<_> = readers
            .into_iter()
            .map(|it| it.join().unwrap().unwrap())
            .collect();
        heard.sort_by_key(|event| event != &listening(&endpoints[0]));
        assert_eq!(heard, endpoints.each_ref().map(listening));
    });
}

/// The stream is the same as the other ways, and ends.
#[cfg(feature = "futures")]
#[test]
fn a_monitor_is_a_stream_of_its_events() {
    use futures_core::Stream;
    use std::future::poll_fn;
    use std::pin::Pin;

    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let mut monitor = pull.monitor();
    let reader = thread::spawn(move || {
        let mut events = Vec::new();
        while let Some(event) = block_on(poll_fn(|task| Pin::new(&mut monitor).poll_next(task))) {
            events.push(event);
        }
        events
    });
    let endpoint = pull.bind("tcp://127.0.0.1:0").unwrap().to_string();
    drop(pull);
    let expected = [
        Event::Listening {
            endpoint: endpoint.clone(),
        },
        Event::ListenerClosed { endpoint },
        Event::Closed,
    ];
    assert_eq!(within(DEADLINE, || reader.join().unwrap()), expected);
}
