//! ROUTER and DEALER: names and who has them, messages to a certain peer, and sockets that are taken apart. What RFC 28
//! says, sentence by sentence, is in [`conformance`](crate::conformance).

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Context, DealerSocket, Endpoint, Event, Message, Monitor, OnDuplicate, OptionError, PeerId,
    ProtocolError, Reason, RepSocket, ReqSocket, RouterSocket, SendToError, TryRecvError,
};

use crate::executors::{block_on, poll_once};
use crate::raw::{COMMAND, Raw, RawListener, command, greeting, message, ready_with};
use crate::support::{
    DEADLINE, Transport, number, pattern, receive, receive_number, send, send_number, wait_for, wait_for_end,
    wait_for_handshake, wait_until, with_deadline,
};
use crate::{on_every_transport, on_every_wire};

fn id(name: impl Into<Vec<u8>>) -> PeerId {
    PeerId::new(name.into()).unwrap()
}

/// A DEALER that does not wait long before it tries again.
fn dealer(context: &Context, identity: impl Into<Vec<u8>>) -> DealerSocket {
    let builder = DealerSocket::builder(context).reconnect_min(Duration::from_millis(1));
    let builder = builder.reconnect_max(Duration::from_millis(20));
    builder.identity(identity.into()).build().unwrap()
}

fn eager_router(context: &Context) -> RouterSocket {
    let builder = RouterSocket::builder(context).reconnect_min(Duration::from_millis(1));
    builder.reconnect_max(Duration::from_millis(20)).build().unwrap()
}

fn receive_from(router: &mut RouterSocket) -> (PeerId, Message) {
    router.recv_from_timeout(DEADLINE).expect("a message in time")
}

fn wait_for_peer(router: &mut RouterSocket, peer: &PeerId) {
    wait_until("the peer is connected", || router.peers().contains(peer));
}

/// Shakes hands as a DEALER with this identity.
fn raw_dealer(endpoint: &str, identity: &[u8]) -> Raw {
    let mut raw = Raw::connect(endpoint);
    introduce(&mut raw, identity);
    raw.read_handshake();
    raw
}

fn introduce(raw: &mut Raw, identity: &[u8]) {
    raw.send(&greeting());
    raw.send(&ready_with(&[("Socket-Type", b"DEALER"), ("Identity", identity)]));
}

/// Why the next handshake came to nothing.
#[track_caller]
fn refusal(monitor: &Monitor) -> Reason {
    wait_for(monitor, "handshake failed", |event| match event {
        Event::HandshakeFailed { reason, .. } => Some(reason.clone()),
        _ => None,
    })
}

/// Why the next connection was lost.
#[track_caller]
fn reason(monitor: &Monitor) -> Reason {
    wait_for(monitor, "disconnected", |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.clone()),
        _ => None,
    })
}

fn duplicate(identity: &str) -> Reason {
    Reason::DuplicateIdentity {
        identity: identity.into(),
    }
}

fn taken_over(identity: &str) -> Reason {
    Reason::IdentityTakenOver {
        identity: identity.into(),
    }
}

/// Both can reach each other, the peer by its name.
#[track_caller]
fn converse(router: &mut RouterSocket, peer: &PeerId, dealer: &mut DealerSocket) {
    router.send_to_timeout(peer, "to the dealer", DEADLINE).unwrap();
    assert_eq!(receive(dealer).as_bytes(), b"to the dealer");
    send(dealer, "to the router");
    assert_eq!(
        receive_from(router),
        (peer.clone(), Message::from("to the router"))
    );
}

on_every_transport! {
    /// An identity may have 1 to 255 bytes, of any value but a zero at the beginning.
    fn identities_may_be_short_and_long(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let every_byte: Vec<u8> = (1..=255).collect();
        let mut dealers = Vec::new();
        for identity in [&b"x"[..], &[1], &[0xff], &[1, 0, 0, 0, 0], &[b'i'; 255], &every_byte] {
            let mut dealer = dealer(&context, identity);
            dealer.connect(&endpoint).unwrap();
            wait_for_peer(&mut router, &id(identity));
            converse(&mut router, &id(identity), &mut dealer);
            dealers.push(dealer);
        }
        assert_eq!(router.peers().len(), dealers.len());
    }

    /// Whoever has no identity gets a name for as long as it is connected, and another one when it comes back.
    fn a_peer_without_an_identity_gets_a_name(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut names = HashSet::new();
        for _ in 0..20 {
            let mut dealer = DealerSocket::new(&context);
            dealer.connect(&endpoint).unwrap();
            send(&mut dealer, "hello");
            let (peer, _) = receive_from(&mut router);
            assert!(peer.is_generated() && peer.as_bytes().len() == 5 && peer.as_bytes()[0] == 0);
            converse(&mut router, &peer, &mut dealer);
            drop(dealer);
            wait_until("it is gone", || router.peers().is_empty());
            assert!(matches!(router.send_to(&peer, "x"), Err(SendToError::Unroutable { .. })));
            assert!(names.insert(peer));
        }
    }

    /// The names of those who are there, and of nobody else.
    fn peers_are_listed_while_they_are_there(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        assert!(router.peers().is_empty());
        let mut dealers: HashMap<PeerId, DealerSocket> = HashMap::new();
        for name in ["a", "b", "c", "d"] {
            let mut dealer = dealer(&context, name);
            dealer.connect(&endpoint).unwrap();
            dealers.insert(id(name), dealer);
            wait_until("all are there", || {
                router.peers().into_iter().collect::<HashSet<_>>() == dealers.keys().cloned().collect()
            });
        }
        for name in ["c", "a", "d", "b"] {
            dealers.remove(&id(name));
            wait_until("all others are there", || {
                router.peers().into_iter().collect::<HashSet<_>>() == dealers.keys().cloned().collect()
            });
        }
    }

    /// A peer that the router connects to is called what the application says, whatever it calls itself.
    fn the_application_names_whom_it_connects_to(transport) {
        let context = Context::new();
        let mut router = eager_router(&context);
        let mut dealers = ["one", "two", "three"].map(|name| {
            let mut dealer = dealer(&context, "an identity that they share");
            router.connect_as(dealer.bind(transport.wildcard()).unwrap(), id(name)).unwrap();
            (id(name), dealer)
        });
        for (name, dealer) in &mut dealers {
            wait_for_peer(&mut router, name);
            converse(&mut router, name, dealer);
        }
        assert_eq!(router.peers().len(), 3);
        // A name that looks as if it had been made up is as good as any, and nobody else gets it.
        let number = {
            let mut dealer = DealerSocket::new(&context);
            router.connect(dealer.bind(transport.wildcard()).unwrap()).unwrap();
            send(&mut dealer, "who am I?");
            receive_from(&mut router).0.into_bytes()
        };
        let next = u32::from_be_bytes(number[1..].try_into().unwrap()).wrapping_add(1);
        let chosen = id([&[0][..], &next.to_be_bytes()].concat());
        let mut named = DealerSocket::new(&context);
        router.connect_as(named.bind(transport.wildcard()).unwrap(), chosen.clone()).unwrap();
        wait_for_peer(&mut router, &chosen);
        let mut other = DealerSocket::new(&context);
        router.connect(other.bind(transport.wildcard()).unwrap()).unwrap();
        send(&mut other, "who am I?");
        assert_ne!(receive_from(&mut router).0, chosen);
        converse(&mut router, &chosen, &mut named);
    }

    /// Two connections of a router are never called the same.
    fn a_name_that_the_application_gives_twice_is_the_first_ones(transport) {
        let context = Context::new();
        let mut router = eager_router(&context);
        let monitor = router.monitor();
        let (mut first, mut second) = (dealer(&context, "first"), dealer(&context, "second"));
        router.connect_as(first.bind(transport.wildcard()).unwrap(), id("it")).unwrap();
        wait_for_peer(&mut router, &id("it"));
        router.connect_as(second.bind(transport.wildcard()).unwrap(), id("it")).unwrap();
        assert_eq!(refusal(&monitor), duplicate("it"));
        converse(&mut router, &id("it"), &mut first);
        drop(first);
        // Tried again and again, the second one gets the name when it is free.
        wait_until("the second one is there", || {
            let _ = router.try_send_to(&id("it"), "are you there?");
            second.try_recv().is_ok()
        });
    }

    /// With the option a socket says something on each connection before anything else, so that a router knows of it.
    fn a_probe_comes_first(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut dealer = DealerSocket::builder(&context)
            .probe_router(true)
            .reconnect_min(Duration::from_millis(1))
            .identity("dealer")
            .build()
            .unwrap();
        dealer.connect(endpoint.as_str()).unwrap();
        send(&mut dealer, "it waited");
        let mut req = ReqSocket::builder(&context)
            .probe_router(true)
            .reconnect_min(Duration::from_millis(1))
            .identity("req")
            .build()
            .unwrap();
        req.connect(endpoint.as_str()).unwrap();
        for round in 0..3 {
            let mut router = RouterSocket::new(&context);
            router.bind(endpoint.as_str()).unwrap();
            let mut heard: HashMap<PeerId, Vec<Message>> = HashMap::new();
            for _ in 0..if round == 0 { 3 } else { 2 } {
                let (peer, message) = receive_from(&mut router);
                heard.entry(peer).or_default().push(message);
            }
            assert_eq!(heard[&id("req")], [Message::new()]);
            match round {
                0 => assert_eq!(heard[&id("dealer")], [Message::new(), Message::from("it waited")]),
                _ => assert_eq!(heard[&id("dealer")], [Message::new()]),
            }
            // Who was heard of can be spoken to.
            router.send_to(&id("dealer"), "first word").unwrap();
            assert_eq!(receive(&mut dealer).as_bytes(), b"first word");
            assert_eq!(router.try_recv_from(), Err(TryRecvError::Empty));
            router.unbind(endpoint.as_str()).unwrap();
        }
    }

    /// A REP takes no notice of a probe.
    fn a_probe_is_no_request(transport) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let mut req = ReqSocket::builder(&context).probe_router(true).build().unwrap();
        req.connect(&endpoint).unwrap();
        send(&mut req, "request");
        assert_eq!(receive(&mut rep).as_bytes(), b"request");
        send(&mut rep, "reply");
        assert_eq!(receive(&mut req).as_bytes(), b"reply");
        assert_eq!(rep.try_recv(), Err(TryRecvError::Empty));
    }

    /// Two routers know each other by their identities, or by names that each makes up for the other.
    fn two_routers_talk_to_each_other(transport) {
        for named in [true, false] {
            let context = Context::new();
            let router = |name: &str| {
                let builder = RouterSocket::builder(&context).probe_router(true);
                builder.identity(if named { name.to_owned() } else { String::new() }).build().unwrap()
            };
            let (mut one, mut other) = (router("one"), router("other"));
            other.connect(one.bind(transport.wildcard()).unwrap()).unwrap();
            let (name_of_other, probe) = receive_from(&mut one);
            assert!(probe.is_empty());
            let (name_of_one, probe) = receive_from(&mut other);
            assert!(probe.is_empty());
            assert_eq!((name_of_one == id("one"), name_of_other == id("other")), (named, named));
            for number in 0..1000u32 {
                one.send_to(&name_of_other, [&b""[..], &number.to_be_bytes()]).unwrap();
                let (peer, message) = receive_from(&mut other);
                assert_eq!(peer, name_of_one);
                other.send_to(&name_of_one, message).unwrap();
                let (peer, message) = receive_from(&mut one);
                assert_eq!((peer, message), (name_of_other.clone(), Message::from([&b""[..], &number.to_be_bytes()])));
            }
        }
    }

    /// A send that waits for room at a peer goes on when there is some, and ends when the peer does.
    fn a_send_that_waits_is_woken(transport) {
        let context = Context::new();
        let builder = RouterSocket::builder(&context).send_hwm(1);
        let mut router = builder.send_buffer(65_536).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let peer = id("dealer");
        for (asynchronous, ends) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut dealer = DealerSocket::builder(&context)
                .identity("dealer")
                .receive_hwm(1)
                .receive_buffer(65_536)
                .build()
                .unwrap();
            dealer.connect(&endpoint).unwrap();
            wait_for_peer(&mut router, &peer);
            let large = pattern(1 << 20, 1);
            let mut filled = 0;
            // The kernel may take more for a while.
            while router.send_to_timeout(&peer, large.clone(), Duration::from_millis(50)).is_ok() {
                filled += 1;
                assert!(filled < 100);
            }
            assert!(matches!(router.try_send_to(&peer, "full"), Err(SendToError::Full(_))));
            let name = peer.clone();
            let sender = thread::spawn(move || {
                let result = match asynchronous {
                    true => block_on(router.send_to_async(&name, "at last")),
                    false => router.send_to(&name, "at last"),
                };
                (router, result)
            });
            if ends {
                drop(dealer);
            } else {
                for _ in 0..filled {
                    assert_eq!(receive(&mut dealer).len(), 1 << 20);
                }
                assert_eq!(receive(&mut dealer).as_bytes(), b"at last");
                drop(dealer);
            }
            let result;
            (router, result) = sender.join().unwrap();
            match result {
                Ok(()) => assert!(!ends),
                Err(SendToError::Unroutable { peer, message }) => {
                    assert!(ends);
                    assert_eq!((peer, message.as_bytes()), (id("dealer"), &b"at last"[..]));
                }
                Err(error) => panic!("{error}"),
            }
            wait_until("the peer is gone", || router.peers().is_empty());
        }
    }

    /// Futures that are dropped have sent nothing and taken nothing.
    fn dropped_futures_do_nothing(transport) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).send_hwm(1).send_buffer(65_536).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let peer = id("dealer");
        let mut dealer = DealerSocket::builder(&context)
            .identity("dealer")
            .receive_hwm(1)
            .receive_buffer(65_536)
            .build()
            .unwrap();
        dealer.connect(&endpoint).unwrap();
        wait_for_peer(&mut router, &peer);
        for _ in 0..5 {
            assert!(poll_once(pin!(router.recv_from_async())).is_pending());
        }
        send(&mut dealer, "hello");
        drop(router.recv_from_async());
        assert_eq!(block_on(router.recv_from_async()).unwrap(), (peer.clone(), Message::from("hello")));
        let large = pattern(1 << 20, 1);
        let mut filled = 0;
        while router.send_to_timeout(&peer, large.clone(), Duration::from_millis(50)).is_ok() {
            filled += 1;
            assert!(filled < 100);
        }
        for _ in 0..5 {
            drop(router.send_to_async(&peer, "never"));
            assert!(poll_once(pin!(router.send_to_async(&peer, "never"))).is_pending());
        }
        for _ in 0..filled {
            assert_eq!(receive(&mut dealer).len(), 1 << 20);
        }
        block_on(router.send_to_async(&peer, "sent")).unwrap();
        assert_eq!(receive(&mut dealer).as_bytes(), b"sent");
        assert!(matches!(
            block_on(router.send_to_async(&id("nobody"), "x")),
            Err(SendToError::Unroutable { .. })
        ));
    }

    /// What is over the limits is refused whoever it is for.
    fn a_message_over_the_limits_comes_back(transport) {
        let context = Context::new();
        let builder = RouterSocket::builder(&context).drop_unroutable(true);
        let mut router = builder.max_message_bytes(10).max_message_parts(2).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = dealer(&context, "dealer");
        dealer.connect(&endpoint).unwrap();
        wait_for_peer(&mut router, &id("dealer"));
        for (peer, message) in [
            ("dealer", Message::from("eleven bytes")),
            ("nobody", Message::from("eleven bytes")),
            ("dealer", Message::from(["", "", ""])),
        ] {
            match router.send_to(&id(peer), message.clone()) {
                Err(SendToError::TooLarge(back)) => assert_eq!(back, message),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(router.lost(), 0);
        converse_shortly(&mut router, &mut dealer);
    }
}

fn converse_shortly(router: &mut RouterSocket, dealer: &mut DealerSocket) {
    router.send_to(&id("dealer"), "ten bytes!").unwrap();
    assert_eq!(receive(dealer).as_bytes(), b"ten bytes!");
}

/// What no identity may be is refused before there is a socket.
#[test]
fn an_identity_that_is_none_is_refused() {
    let context = Context::new();
    for (identity, bytes, first_byte) in [
        (vec![0], 1, 0),
        (vec![0, 1, 2, 3, 4], 5, 0),
        (vec![b'x'; 256], 256, b'x'),
        (vec![b'x'; 5000], 5000, b'x'),
    ] {
        let expected = OptionError::Identity { bytes, first_byte };
        assert_eq!(
            DealerSocket::builder(&context)
                .identity(identity.clone())
                .build()
                .err(),
            Some(expected.clone())
        );
        assert_eq!(
            RouterSocket::builder(&context)
                .identity(identity.clone())
                .build()
                .err(),
            Some(expected.clone())
        );
        assert_eq!(
            ReqSocket::builder(&context).identity(identity).build().err(),
            Some(expected.clone())
        );
        assert!(expected.to_string().contains(&bytes.to_string()), "{expected}");
    }
}

on_every_wire! {
    /// A peer with an identity that no identity may be costs its own connection only.
    fn a_malformed_identity_costs_its_connection(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let monitor = router.monitor();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut good = dealer(&context, "good");
        good.connect(&endpoint).unwrap();
        wait_for_peer(&mut router, &id("good"));
        for identity in [&[0][..], b"\0\x01\x02\x03\x04", &[b'x'; 256], &[b'x'; 3000]] {
            let mut raw = Raw::connect(&endpoint.to_string());
            introduce(&mut raw, identity);
            raw.send_if_taken(&message(&[b"let me in"]));
            match refusal(&monitor) {
                Reason::Protocol(ProtocolError::IdentityReserved { .. }) => assert_eq!(identity[0], 0),
                Reason::Protocol(ProtocolError::IdentityTooLong { bytes, limit: 255 }) => {
                    assert_eq!(bytes, identity.len());
                }
                other => panic!("{other:?}"),
            }
            raw.read_to_hang_up();
            assert_eq!(router.peers(), [id("good")]);
            converse(&mut router, &id("good"), &mut good);
        }
    }

    /// What peers send in their READY and behind it costs nobody else anything.
    fn what_a_bad_peer_sends_costs_its_connection(transport) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).max_message_bytes(1000).build().unwrap();
        let monitor = router.monitor();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut good = dealer(&context, "good");
        good.connect(&endpoint).unwrap();
        wait_for_peer(&mut router, &id("good"));
        for socket_type in [&b"PUB"[..], b"REP", b"PULL", b"ROUTERS"] {
            let mut raw = Raw::connect(&endpoint.to_string());
            raw.send(&greeting());
            raw.send(&ready_with(&[("Socket-Type", socket_type), ("Identity", b"bad")]));
            assert!(matches!(refusal(&monitor), Reason::Protocol(_)));
            raw.read_to_hang_up();
        }
        for bytes in [message(&[&[0; 1001]]), vec![0xff; 100], command("ERROR", b"\x03bad")] {
            let mut raw = raw_dealer(&endpoint.to_string(), b"bad");
            raw.send(&message(&[b"a good start"]));
            assert_eq!(receive_from(&mut router), (id("bad"), Message::from("a good start")));
            raw.send_if_taken(&bytes);
            assert!(matches!(reason(&monitor), Reason::Protocol(_)));
            assert_eq!(router.peers(), [id("good")]);
            converse(&mut router, &id("good"), &mut good);
        }
        assert_eq!(router.try_recv_from(), Err(TryRecvError::Empty));
    }

    /// A peer that is dialed may be another one each time, and is called what it then calls itself.
    fn a_peer_that_comes_back_as_another_is_another(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut router = eager_router(&context);
        let monitor = router.monitor();
        router.connect(endpoint.as_str()).unwrap();
        for name in ["first", "second", "first", "third"] {
            let mut raw = listener.accept();
            introduce(&mut raw, name.as_bytes());
            raw.read_handshake();
            raw.send(&message(&[b"it is me"]));
            assert_eq!(receive_from(&mut router), (id(name), Message::from("it is me")));
            assert_eq!(router.peers(), [id(name)]);
            router.send_to(&id(name), "hello").unwrap();
            assert_eq!(raw.read_message(), [b"hello"]);
            raw.send(&message(&[b"good-bye"]));
            drop(raw);
            wait_for_end(&monitor);
            assert!(matches!(router.send_to(&id(name), "too late"), Err(SendToError::Unroutable { .. })));
            // What it said is still called its, also when the next one is there.
            assert_eq!(receive_from(&mut router), (id(name), Message::from("good-bye")));
        }
    }
}

/// What a newcomer that was refused hears.
#[track_caller]
fn assert_told(monitor: &Monitor, name: &str) {
    match reason(monitor) {
        Reason::Protocol(ProtocolError::PeerError { reason }) => assert!(reason.contains(name), "{reason}"),
        other => panic!("{other:?}"),
    }
}

/// A bound router with so many I/O threads and the events of its connections.
fn bound_router(
    transport: Transport,
    io_threads: usize,
    on_duplicate: OnDuplicate,
) -> (RouterSocket, Monitor, Endpoint) {
    let context = Context::builder().io_threads(io_threads).build().unwrap();
    let mut router = RouterSocket::builder(&context)
        .on_duplicate(on_duplicate)
        .build()
        .unwrap();
    let monitor = router.monitor();
    let endpoint = router.bind(transport.wildcard()).unwrap();
    (router, monitor, endpoint)
}

/// Reads the PING by which a peer is asked whether it is alive.
#[track_caller]
fn read_ping(raw: &mut Raw) {
    let (flags, body) = raw.read_frame();
    assert_eq!((flags, &body[..5]), (COMMAND, &b"\x04PING"[..]));
}

fn pong() -> Vec<u8> {
    command("PONG", b"")
}

on_every_wire! {
    /// A peer that is well keeps its name. Whoever wants it too is told so, as is the application, and gets it when it is
    /// free.
    fn a_peer_that_is_well_keeps_its_name(transport) {
        for io_threads in [1, 3] {
            let (mut router, monitor, endpoint) = bound_router(transport, io_threads, OnDuplicate::Challenge);
            let context = Context::new();
            let mut old = dealer(&context, "twin");
            old.connect(&endpoint).unwrap();
            wait_for_peer(&mut router, &id("twin"));
            let mut newcomer = dealer(&context, "twin");
            let newcomers = newcomer.monitor();
            newcomer.connect(&endpoint).unwrap();
            for _ in 0..3 {
                assert_eq!(refusal(&monitor), duplicate("twin"));
                assert_told(&newcomers, "twin");
                converse(&mut router, &id("twin"), &mut old);
            }
            assert_eq!(newcomer.try_recv(), Err(TryRecvError::Empty));
            assert_eq!(router.peers(), [id("twin")]);
            drop(old);
            wait_until("the newcomer has the name", || {
                let _ = router.try_send_to(&id("twin"), "are you there?");
                newcomer.try_recv().is_ok()
            });
        }
    }

    /// A peer that gives no sign of life for a second loses its name to a newcomer.
    fn a_peer_that_is_dead_loses_its_name(transport) {
        for io_threads in [1, 3] {
            let (mut router, monitor, endpoint) = bound_router(transport, io_threads, OnDuplicate::Challenge);
            let mut dead = raw_dealer(&endpoint.to_string(), b"twin");
            dead.send(&message(&[b"last words"]));
            dead.wait_until_read();
            router.send_to(&id("twin"), "for the old one").unwrap();
            let start = Instant::now();
            let context = Context::new();
            let mut newcomer = dealer(&context, "twin");
            newcomer.connect(&endpoint).unwrap();
            send(&mut newcomer, "I am new");
            assert_eq!(receive_from(&mut router), (id("twin"), Message::from("last words")));
            assert_eq!(receive_from(&mut router), (id("twin"), Message::from("I am new")));
            assert!(start.elapsed() >= Duration::from_secs(1));
            assert_eq!(reason(&monitor), taken_over("twin"));
            assert_eq!(dead.read_message(), [b"for the old one"]);
            read_ping(&mut dead);
            assert!(dead.read_to_hang_up().is_empty());
            converse(&mut router, &id("twin"), &mut newcomer);
            assert_eq!(router.peers(), [id("twin")]);
        }
    }

    /// Any bytes are a sign of life, and one that goes while it is asked leaves its name at once.
    fn a_challenged_peer_may_answer_or_go(transport) {
        let (mut router, monitor, endpoint) = bound_router(transport, 1, OnDuplicate::Challenge);
        let endpoint = endpoint.to_string();
        for sign in [pong(), message(&[b"here I am"]), vec![0], command("UNHEARD-OF", b"")] {
            let mut old = raw_dealer(&endpoint, b"twin");
            wait_for_handshake(&monitor);
            let mut newcomer = raw_dealer(&endpoint, b"twin");
            newcomer.send(&message(&[b"let me in"]));
            read_ping(&mut old);
            old.send(&sign);
            assert_eq!(refusal(&monitor), duplicate("twin"));
            let told = newcomer.read_to_hang_up();
            assert!(told.windows(6).any(|bytes| bytes == b"\x05ERROR"), "{}", told.escape_ascii());
            router.send_to(&id("twin"), "it is yours").unwrap();
            assert_eq!(old.read_message(), [b"it is yours"]);
            drop(old);
            wait_for_end(&monitor);
            while router.try_recv_from().is_ok() {}
        }
        let mut old = raw_dealer(&endpoint, b"twin");
        wait_for_handshake(&monitor);
        let mut newcomer = raw_dealer(&endpoint, b"twin");
        newcomer.send(&message(&[b"let me in"]));
        read_ping(&mut old);
        drop(old);
        assert_eq!(receive_from(&mut router), (id("twin"), Message::from("let me in")));
        router.send_to(&id("twin"), "it is yours").unwrap();
        assert_eq!(newcomer.read_message(), [b"it is yours"]);
    }

    /// A peer that is not read because the application does not take its messages is not dead.
    fn a_peer_that_is_held_up_keeps_its_name(transport) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).receive_hwm(2).build().unwrap();
        let monitor = router.monitor();
        let endpoint = router.bind(transport.wildcard()).unwrap().to_string();
        let mut old = raw_dealer(&endpoint, b"twin");
        for number in 0..10u8 {
            old.send(&message(&[&[number]]));
        }
        wait_for_handshake(&monitor);
        for _ in 0..3 {
            let mut newcomer = raw_dealer(&endpoint, b"twin");
            assert_eq!(refusal(&monitor), duplicate("twin"));
            newcomer.read_to_hang_up();
        }
        for number in 0..10 {
            assert_eq!(receive_from(&mut router), (id("twin"), Message::from(&[number])));
        }
    }

    /// Of several newcomers one gets the name of a dead peer.
    fn one_of_several_newcomers_gets_the_name(transport) {
        let (mut router, monitor, endpoint) = bound_router(transport, 2, OnDuplicate::Challenge);
        let mut dead = raw_dealer(&endpoint.to_string(), b"twin");
        wait_for_handshake(&monitor);
        let context = Context::new();
        let mut newcomers = [(); 4].map(|()| {
            let mut newcomer = dealer(&context, "twin");
            newcomer.connect(&endpoint).unwrap();
            newcomer
        });
        assert_eq!(reason(&monitor), taken_over("twin"));
        read_ping(&mut dead);
        dead.read_to_hang_up();
        wait_for_peer(&mut router, &id("twin"));
        let mut winner = None;
        wait_until("one of them has the name", || {
            let _ = router.try_send_to(&id("twin"), "are you there?");
            winner = newcomers.iter_mut().position(|newcomer| newcomer.try_recv().is_ok());
            winner.is_some()
        });
        let winner = &mut newcomers[winner.unwrap()];
        while winner.try_recv().is_ok() {}
        for _ in 0..3 {
            assert_eq!(refusal(&monitor), duplicate("twin"));
        }
        assert_eq!(router.peers(), [id("twin")]);
        router.send_to(&id("twin"), "the winner").unwrap();
        while receive(winner).as_bytes() != b"the winner" {}
    }

    /// A sign of life that came in time counts, also if this side was too busy to look.
    fn a_sign_of_life_counts_when_it_comes_not_when_it_is_read(transport) {
        /// Holds up whoever calls it until it is let go.
        struct HoldUp {
            entered: Sender<()>,
            release: Mutex<Receiver<()>>,
        }

        impl Wake for HoldUp {
            fn wake(self: Arc<Self>) {
                self.entered.send(()).unwrap();
                let _ = self.release.lock().unwrap().recv_timeout(DEADLINE);
            }
        }

        let (mut router, monitor, endpoint) = bound_router(transport, 1, OnDuplicate::Challenge);
        let endpoint = endpoint.to_string();
        let mut old = raw_dealer(&endpoint, b"twin");
        let mut other = raw_dealer(&endpoint, b"other");
        wait_for_peer(&mut router, &id("twin"));
        wait_for_peer(&mut router, &id("other"));
        let (entered, is_held_up) = channel();
        let (let_go, release) = channel();
        let waker = Waker::from(Arc::new(HoldUp { entered, release: Mutex::new(release) }));
        assert_eq!(router.try_recv_from(), Err(TryRecvError::Empty));
        let mut newcomer = raw_dealer(&endpoint, b"twin");
        read_ping(&mut old);
        let challenged = Instant::now();
        {
            let mut receiving = pin!(router.recv_from_async());
            use std::future::Future;
            assert!(receiving.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending());
            other.send(&message(&[b"wake the application"]));
            is_held_up.recv_timeout(DEADLINE).unwrap();
        }
        old.send(&pong());
        wait_until("its time is over", || challenged.elapsed() > Duration::from_millis(1100));
        let_go.send(()).unwrap();
        assert_eq!(refusal(&monitor), duplicate("twin"));
        newcomer.read_to_hang_up();
        router.send_to(&id("twin"), "it is yours").unwrap();
        assert_eq!(old.read_message(), [b"it is yours"]);
    }

    /// With `Reject` the newcomer is refused, and nobody is asked anything.
    fn a_name_that_is_taken_may_be_refused_at_once(transport) {
        let (mut router, monitor, endpoint) = bound_router(transport, 1, OnDuplicate::Reject);
        let mut silent = raw_dealer(&endpoint.to_string(), b"twin");
        wait_for_peer(&mut router, &id("twin"));
        let context = Context::new();
        let mut newcomer = dealer(&context, "twin");
        let newcomers = newcomer.monitor();
        newcomer.connect(&endpoint).unwrap();
        for _ in 0..3 {
            assert_eq!(refusal(&monitor), duplicate("twin"));
            assert_told(&newcomers, "twin");
        }
        router.send_to(&id("twin"), "still you").unwrap();
        assert_eq!(silent.read_frame(), (0, b"still you".to_vec()));
        drop(silent);
        wait_until("the newcomer has the name", || {
            let _ = router.try_send_to(&id("twin"), "are you there?");
            newcomer.try_recv().is_ok()
        });
    }

    /// With `TakeOver` the newcomer has the name at once, and what was waiting for the old peer is lost.
    fn a_newcomer_may_take_a_name_over_at_once(transport) {
        for io_threads in [1, 3] {
            let (mut router, monitor, endpoint) = bound_router(transport, io_threads, OnDuplicate::TakeOver);
            let mut last = raw_dealer(&endpoint.to_string(), b"twin");
            last.send(&message(&[&[0]]));
            assert_eq!(receive_from(&mut router), (id("twin"), Message::from(&[0])));
            for round in 1..5 {
                // More than the kernel takes of a peer that does not read.
                router.send_to(&id("twin"), pattern(32 << 20, 1)).unwrap();
                let lost = router.lost();
                let mut newcomer = raw_dealer(&endpoint.to_string(), b"twin");
                newcomer.send(&message(&[&[round]]));
                assert_eq!(receive_from(&mut router), (id("twin"), Message::from(&[round])));
                assert_eq!(reason(&monitor), taken_over("twin"));
                last.read_to_hang_up();
                assert_eq!(router.peers(), [id("twin")]);
                router.send_to(&id("twin"), &[round]).unwrap();
                assert_eq!(newcomer.read_message(), [[round]]);
                assert_eq!(router.lost(), lost + 1);
                last = newcomer;
            }
        }
    }
}

/// Endpoints of a router inside its context, and on a wire.
fn two_ways(context: &Context, on_duplicate: OnDuplicate) -> (RouterSocket, Monitor, Endpoint, Endpoint) {
    let mut router = RouterSocket::builder(context)
        .on_duplicate(on_duplicate)
        .build()
        .unwrap();
    let monitor = router.monitor();
    let near = router.bind(Transport::Inproc.wildcard()).unwrap();
    let far = router.bind(Transport::Ipc.wildcard()).unwrap();
    (router, monitor, near, far)
}

/// A peer in the same process needs no sign of life. Whoever wants its name waits for it, with all that it has said.
#[test]
fn a_newcomer_of_the_same_process_waits_for_the_name() {
    for on_duplicate in [OnDuplicate::Challenge, OnDuplicate::Reject] {
        with_deadline(move || {
            let context = Context::new();
            let (mut router, monitor, near, _) = two_ways(&context, on_duplicate);
            let mut old = dealer(&context, "twin");
            old.connect(&near).unwrap();
            converse(&mut router, &id("twin"), &mut old);
            let mut newcomer = dealer(&context, "twin");
            let newcomers = newcomer.monitor();
            newcomer.connect(&near).unwrap();
            assert_eq!(refusal(&monitor), duplicate("twin"));
            assert_eq!(refusal(&newcomers), duplicate("twin"));
            send(&mut newcomer, "let me in");
            converse(&mut router, &id("twin"), &mut old);
            assert_eq!(router.try_recv_from(), Err(TryRecvError::Empty));
            drop(old);
            assert_eq!(
                receive_from(&mut router),
                (id("twin"), Message::from("let me in"))
            );
            converse(&mut router, &id("twin"), &mut newcomer);
            assert_eq!(router.peers(), [id("twin")]);
        });
    }
}

/// Who is pushed out in the same process waits in its turn.
#[test]
fn a_name_passes_from_hand_to_hand_in_the_same_process() {
    with_deadline(|| {
        let context = Context::new();
        let (mut router, monitor, near, _) = two_ways(&context, OnDuplicate::TakeOver);
        let mut dealers = Vec::new();
        for number in 0..3 {
            let mut dealer = dealer(&context, "twin");
            dealer.connect(&near).unwrap();
            if number > 0 {
                assert_eq!(reason(&monitor), taken_over("twin"));
            }
            wait_for_handshake(&monitor);
            converse(&mut router, &id("twin"), &mut dealer);
            assert_eq!(router.peers(), [id("twin")]);
            dealers.push(dealer);
        }
        send(&mut dealers[0], "I am waiting");
        assert_eq!(router.try_recv_from(), Err(TryRecvError::Empty));
        // Those who wait take the name from nobody, whoever else comes and goes.
        for _ in 0..5 {
            let mut other = dealer(&context, "other");
            other.connect(&near).unwrap();
            converse(&mut router, &id("other"), &mut other);
            drop(other);
            converse(&mut router, &id("twin"), &mut dealers[2]);
        }
        while let Some(event) = monitor.try_recv() {
            let peer = event.connection().and_then(|connection| connection.peer.clone());
            let is_quiet = peer != Some(id("twin")) && !matches!(event, Event::DuplicateIdentity { .. });
            assert!(is_quiet, "{event}");
        }
        // When it is free, it is the one's who has waited longest.
        drop(dealers.pop());
        assert_eq!(
            receive_from(&mut router),
            (id("twin"), Message::from("I am waiting"))
        );
        converse(&mut router, &id("twin"), &mut dealers[0]);
        drop(dealers.remove(0));
        converse(&mut router, &id("twin"), &mut dealers[0]);
    });
}

/// The same between routers, which call each other something: neither forgets to give the other's name back.
#[test]
fn routers_of_one_process_pass_a_name_on() {
    with_deadline(|| {
        let context = Context::new();
        let router = |name: &str| {
            let builder = RouterSocket::builder(&context).on_duplicate(OnDuplicate::TakeOver);
            builder.identity(name.to_owned()).build().unwrap()
        };
        let mut hub = router("hub");
        let endpoint = hub.bind("inproc://hub").unwrap();
        // Those who are pushed out may not take the hub's name over from themselves.
        let patient = |name: &str| {
            let builder = RouterSocket::builder(&context).on_duplicate(OnDuplicate::Reject);
            builder.identity(name.to_owned()).build().unwrap()
        };
        let (mut old, mut newcomer) = (patient("twin"), patient("twin"));
        old.connect(&endpoint).unwrap();
        newcomer.connect(&endpoint).unwrap();
        newcomer.send_to(&id("hub"), "I have taken over").unwrap();
        assert_eq!(
            receive_from(&mut hub),
            (id("twin"), Message::from("I have taken over"))
        );
        assert!(matches!(
            old.send_to(&id("hub"), "x"),
            Err(SendToError::Unroutable { .. })
        ));
        drop(newcomer);
        old.send_to(&id("hub"), "I am back").unwrap();
        assert_eq!(receive_from(&mut hub), (id("twin"), Message::from("I am back")));
        hub.send_to(&id("twin"), "welcome").unwrap();
        assert_eq!(receive_from(&mut old), (id("hub"), Message::from("welcome")));
    });
}

/// A router that connects to two namesakes knows one of them, and the other one when that is gone.
#[test]
fn a_router_that_connects_to_namesakes_knows_one_at_a_time() {
    with_deadline(|| {
        for on_duplicate in [OnDuplicate::Challenge, OnDuplicate::Reject] {
            let context = Context::new();
            let mut router = RouterSocket::builder(&context)
                .on_duplicate(on_duplicate)
                .build()
                .unwrap();
            let monitor = router.monitor();
            let (mut first, mut second) = (dealer(&context, "twin"), dealer(&context, "twin"));
            router
                .connect(first.bind(Transport::Inproc.wildcard()).unwrap())
                .unwrap();
            router
                .connect(second.bind(Transport::Inproc.wildcard()).unwrap())
                .unwrap();
            assert_eq!(refusal(&monitor), duplicate("twin"));
            converse(&mut router, &id("twin"), &mut first);
            drop(first);
            converse(&mut router, &id("twin"), &mut second);
        }
    });
}

/// Names are one matter for all peers of a router, near and far.
#[test]
fn peers_near_and_far_share_the_names() {
    with_deadline(|| {
        let context = Context::new();
        let (mut router, monitor, near, far) = two_ways(&context, OnDuplicate::Challenge);
        // A near one is never asked.
        let mut near_one = dealer(&context, "twin");
        near_one.connect(&near).unwrap();
        let mut raw = raw_dealer(&far.to_string(), b"twin");
        assert_eq!(refusal(&monitor), duplicate("twin"));
        raw.read_to_hang_up();
        converse(&mut router, &id("twin"), &mut near_one);
        drop(near_one);
        // A far one is not asked by a near one, which waits until it goes.
        let mut raw = raw_dealer(&far.to_string(), b"twin");
        wait_for_peer(&mut router, &id("twin"));
        let mut near_one = dealer(&context, "twin");
        near_one.connect(&near).unwrap();
        assert_eq!(refusal(&monitor), duplicate("twin"));
        send(&mut near_one, "let me in");
        raw.send(&message(&[b"it is mine"]));
        assert_eq!(
            receive_from(&mut router),
            (id("twin"), Message::from("it is mine"))
        );
        drop(raw);
        assert_eq!(
            receive_from(&mut router),
            (id("twin"), Message::from("let me in"))
        );
        converse(&mut router, &id("twin"), &mut near_one);
    });
}

/// The same where newcomers win.
#[test]
fn peers_near_and_far_take_names_over_from_each_other() {
    with_deadline(|| {
        let context = Context::new();
        let (mut router, monitor, near, far) = two_ways(&context, OnDuplicate::TakeOver);
        let mut near_one = dealer(&context, "twin");
        near_one.connect(&near).unwrap();
        converse(&mut router, &id("twin"), &mut near_one);
        let mut raw = raw_dealer(&far.to_string(), b"twin");
        raw.send(&message(&[b"it is mine"]));
        assert_eq!(
            receive_from(&mut router),
            (id("twin"), Message::from("it is mine"))
        );
        router.send_to(&id("twin"), "it is yours").unwrap();
        assert_eq!(raw.read_message(), [b"it is yours"]);
        assert_eq!(near_one.try_recv(), Err(TryRecvError::Empty));
        let mut another = dealer(&context, "twin");
        another.connect(&near).unwrap();
        assert_eq!(reason(&monitor), taken_over("twin"));
        raw.read_to_hang_up();
        converse(&mut router, &id("twin"), &mut another);
        // The first one is not forgotten.
        send(&mut near_one, "I am waiting");
        drop(another);
        assert_eq!(
            receive_from(&mut router),
            (id("twin"), Message::from("I am waiting"))
        );
        converse(&mut router, &id("twin"), &mut near_one);
    });
}

/// As many peers as a busy server has, each of which gets its own reply.
fn crowd(transport: Transport, peers: u32) {
    let context = Context::new();
    let mut router = RouterSocket::new(&context);
    let endpoint = router.bind(transport.wildcard()).unwrap();
    let mut dealers: Vec<DealerSocket> = (0..peers)
        .map(|number| {
            let mut dealer = match number % 2 {
                0 => DealerSocket::new(&context),
                _ => dealer(&context, format!("dealer {number}")),
            };
            dealer.connect(&endpoint).unwrap();
            dealer
        })
        .collect();
    let server = thread::spawn(move || {
        let mut known = HashSet::new();
        for _ in 0..2 * peers {
            let (peer, message) = receive_from(&mut router);
            let number = number(&message);
            if number % 2 == 1 {
                assert_eq!(peer, id(format!("dealer {number}")));
            }
            router.send_to(&peer, message).unwrap();
            known.insert(peer);
        }
        assert_eq!(known.len(), peers as usize);
        assert_eq!(router.peers().into_iter().collect::<HashSet<_>>(), known);
        router
    });
    for _ in 0..2 {
        for (number, dealer) in dealers.iter_mut().enumerate() {
            send_number(dealer, number as u32);
        }
        for (number, dealer) in dealers.iter_mut().enumerate() {
            assert_eq!(receive_number(dealer), number as u32);
            assert_eq!(dealer.try_recv(), Err(TryRecvError::Empty));
        }
    }
    let mut router = server.join().unwrap();
    drop(dealers);
    wait_until("all are gone", || router.peers().is_empty());
}

#[test]
fn ten_thousand_peers_of_one_process_are_answered() {
    with_deadline(|| crowd(Transport::Inproc, 10_000));
}

#[test]
fn five_hundred_peers_are_answered_over_tcp() {
    with_deadline(|| crowd(Transport::Tcp, 500));
}

#[test]
fn five_hundred_peers_are_answered_over_ipc() {
    with_deadline(|| crowd(Transport::Ipc, 500));
}

on_every_transport! {
    /// The parts of a socket that was taken apart work on two threads at once.
    fn both_parts_work_on_threads_of_their_own(transport) {
        const COUNT: u32 = 5000;
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut threads = Vec::new();
        for name in 0..3u8 {
            let mut dealer = DealerSocket::new(&context);
            dealer.connect(&endpoint).unwrap();
            let (mut sender, mut receiver) = dealer.into_split();
            threads.push(thread::spawn(move || {
                for number in 0..COUNT {
                    send(&mut sender, [&[name][..], &number.to_be_bytes()]);
                }
                drop(sender);
            }));
            threads.push(thread::spawn(move || {
                for number in 0..COUNT {
                    assert_eq!(receive(&mut receiver), Message::from([&[name][..], &number.to_be_bytes()]));
                }
            }));
        }
        let (mut sender, mut receiver) = router.into_split();
        let (heard, to_say) = channel();
        threads.push(thread::spawn(move || {
            for _ in 0..3 * COUNT {
                heard.send(receiver.recv_from_timeout(DEADLINE).expect("a message in time")).unwrap();
            }
        }));
        threads.push(thread::spawn(move || {
            for (peer, message) in to_say {
                // Whom the receiver has heard, the sender knows, and all of them are waiting for what is to come.
                sender.send_to_timeout(&peer, message, DEADLINE).unwrap();
            }
        }));
        for thread in threads {
            thread.join().unwrap();
        }
    }

    /// A part that is dropped takes nothing from the other one; when both are, the socket closes and says what it has to.
    fn each_part_outlives_the_other(transport) {
        let context = Context::new();
        let mut router = eager_router(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let monitor = router.monitor();
        // Of a dealer,
        for sender_first in [true, false] {
            let mut dealer = dealer(&context, "dealer");
            dealer.connect(&endpoint).unwrap();
            wait_for_peer(&mut router, &id("dealer"));
            let (mut sender, mut receiver) = dealer.into_split();
            if sender_first {
                send(&mut sender, "before");
                drop(sender);
                for number in 0..100u32 {
                    router.send_to(&id("dealer"), &number.to_be_bytes()).unwrap();
                    assert_eq!(receive_number(&mut receiver), number);
                }
                drop(receiver);
            } else {
                router.send_to(&id("dealer"), "never to be received").unwrap();
                drop(receiver);
                send(&mut sender, "before");
                for number in 0..100 {
                    send_number(&mut sender, number);
                    if number == 0 {
                        assert_eq!(receive_from(&mut router).1.as_bytes(), b"before");
                    }
                    assert_eq!(receive_from(&mut router), (id("dealer"), Message::from(&number.to_be_bytes())));
                }
                send(&mut sender, "before");
                drop(sender);
            }
            assert_eq!(receive_from(&mut router), (id("dealer"), Message::from("before")));
            wait_until("the dealer is gone", || router.peers().is_empty());
        }
        drop(monitor);
        // and of a router.
        let mut dealer = dealer(&context, "dealer");
        dealer.connect(&endpoint).unwrap();
        wait_for_peer(&mut router, &id("dealer"));
        let (mut sender, receiver) = router.into_split();
        drop(receiver);
        for number in 0..100u32 {
            sender.send_to(&id("dealer"), &number.to_be_bytes()).unwrap();
            assert_eq!(receive_number(&mut dealer), number);
        }
        assert_eq!(sender.peers(), [id("dealer")]);
        let mut late = DealerSocket::new(&context);
        late.connect(&endpoint).unwrap();
        wait_until("also who comes now is known", || sender.peers().len() == 2);
        drop((sender, late, dealer));

        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = DealerSocket::new(&context);
        dealer.connect(&endpoint).unwrap();
        send_number(&mut dealer, 0);
        let (peer, _) = receive_from(&mut router);
        router.send_to(&peer, "before").unwrap();
        let (sender, mut receiver) = router.into_split();
        drop(sender);
        for number in 0..100u32 {
            send_number(&mut dealer, number);
            let (from, message) = receiver.recv_from_timeout(DEADLINE).unwrap();
            assert_eq!((from, message), (peer.clone(), Message::from(&number.to_be_bytes())));
        }
        assert_eq!(receive(&mut dealer).as_bytes(), b"before");
    }
}
