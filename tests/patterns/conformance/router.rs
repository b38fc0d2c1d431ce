//! DEALER and ROUTER, as ZeroMQ RFC 28 specifies them.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Context, DealerSocket, Endpoint, Message, Monitor, PeerId, ReqSocket, RouterSocket, SendTimeoutError,
    SendToError, TryRecvError, TrySendError,
};

use crate::on_every_transport;
use crate::raw::{Raw, greeting, message, ready_with};
use crate::support::{
    DEADLINE, Transport, pattern, receive, receive_number, send, send_number, wait_for_end,
    wait_for_handshake, wait_until,
};

/// A DEALER with short queues, so that it is full soon.
fn short_dealer(context: &Context) -> DealerSocket {
    let builder = DealerSocket::builder(context).send_hwm(2).receive_hwm(2);
    builder
        .send_buffer(BUFFER)
        .receive_buffer(BUFFER)
        .build()
        .unwrap()
}

fn short_router(context: &Context) -> RouterSocket {
    let builder = RouterSocket::builder(context).send_hwm(2).receive_hwm(2);
    builder
        .send_buffer(BUFFER)
        .receive_buffer(BUFFER)
        .build()
        .unwrap()
}

fn named_dealer(context: &Context, name: &str) -> DealerSocket {
    let builder = DealerSocket::builder(context).reconnect_min(Duration::from_millis(1));
    builder.identity(name.to_owned()).build().unwrap()
}

/// Sends until the socket is full, which has to be soon, and returns how many messages it took.
fn fill(dealer: &mut DealerSocket) -> u32 {
    for count in 0..1000 {
        match dealer.try_send(large()) {
            Ok(()) => {}
            Err(TrySendError::Full(back)) => {
                assert!(back.as_bytes() == large());
                return count;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("there is no end to it");
}

/// The same for one peer of a ROUTER.
fn fill_peer(router: &mut RouterSocket, peer: &PeerId) -> u32 {
    for count in 0..1000 {
        match router.try_send_to(peer, large()) {
            Ok(()) => {}
            Err(SendToError::Full(back)) => {
                assert!(back.as_bytes() == large());
                return count;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("there is no end to it");
}

/// Size of the kernel's buffers: little, so that they are full soon, but not so little that TCP creeps.
const BUFFER: usize = 64 << 10;

/// A message that fills them.
fn large() -> Vec<u8> {
    pattern(BUFFER, 1)
}

/// More than all buffers of the kernel hold.
fn too_large() -> Vec<u8> {
    pattern(16 << 20, 1)
}

/// A peer, called "dealer", that says its last words at once and never reads.
enum Silent {
    Near(#[expect(dead_code, reason = "it is held")] Box<DealerSocket>),
    Far(#[expect(dead_code, reason = "it is held")] Raw),
}

impl Silent {
    fn new(context: &Context, endpoint: &Endpoint) -> Silent {
        if matches!(endpoint, Endpoint::Inproc { .. }) {
            let mut dealer = named_dealer(context, "dealer");
            dealer.connect(endpoint).unwrap();
            send(&mut dealer, "last words");
            return Silent::Near(Box::new(dealer));
        }
        let mut raw = Raw::connect(&endpoint.to_string());
        raw.send(&greeting());
        raw.send(&ready_with(&[
            ("Socket-Type", b"DEALER"),
            ("Identity", b"dealer"),
        ]));
        raw.read_handshake();
        raw.send(&message(&[b"last words"]));
        raw.wait_until_read();
        Silent::Far(raw)
    }
}

/// Waits for the handshake of a connection, if the transport has any.
fn wait_for_connection(transport: Transport, monitor: &Monitor) {
    if !transport.is_inproc() {
        wait_for_handshake(monitor);
    }
}

/// Waits for the end of a connection, of which an inproc socket knows when its peer is dropped.
fn wait_for_parting(transport: Transport, monitor: &Monitor) {
    if !transport.is_inproc() {
        wait_for_end(monitor);
    }
}

fn id(name: &str) -> PeerId {
    PeerId::new(name.to_owned()).unwrap()
}

fn receive_from(router: &mut RouterSocket) -> (PeerId, Message) {
    router.recv_from_timeout(DEADLINE).expect("a message in time")
}

/// Waits until a peer has connected.
fn wait_for_peer(router: &mut RouterSocket, peer: &PeerId) {
    wait_until("the peer is connected", || router.peers().contains(peer));
}

on_every_transport! {
    /// [28/DEALER-1] SHALL: nothing is filtered or changed, on its way in or out.
    fn a_dealer_changes_nothing(transport) {
        let context = Context::new();
        let (mut one, mut other) = (DealerSocket::new(&context), DealerSocket::new(&context));
        other.connect(one.bind(transport.wildcard()).unwrap()).unwrap();
        let mut messages: Vec<Message> = [0, 1, 63, 64, 65, 255, 256, 8192, 1 << 20]
            .map(|size| Message::from(pattern(size, size as u8)))
            .to_vec();
        let parts: [&[&str]; 6] =
            [&["", ""], &["", "body"], &["id", "", "body"], &["", "", ""], &["a", ""], &["\0\u{1}", "x"]];
        messages.extend(parts.map(|parts| Message::from_parts(parts.iter().copied())));
        messages.push(Message::from_parts((0..1000).map(|part| pattern(part % 100, part as u8))));
        for message in messages {
            send(&mut one, message.clone());
            let received = receive(&mut other);
            assert!(received == message);
            send(&mut other, received);
            assert!(receive(&mut one) == message);
        }
    }

    /// [28/DEALER-2] SHALL: there are two queues for each peer, one for each direction, that know nothing of each other.
    fn a_dealer_has_two_queues_for_each_peer(transport) {
        let context = Context::new();
        let mut dealer = short_dealer(&context);
        let monitor = dealer.monitor();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        let mut peers = [(); 2].map(|()| {
            let mut peer = short_dealer(&context);
            peer.connect(&endpoint).unwrap();
            wait_for_connection(transport, &monitor);
            peer
        });
        assert!(fill(&mut dealer) >= 4, "two queues of two messages");
        for number in 0..20 {
            for peer in &mut peers {
                send_number(peer, number);
            }
            for _ in 0..2 {
                assert_eq!(receive_number(&mut dealer), number);
            }
            // The kernel may have taken more meanwhile.
            fill(&mut dealer);
        }
        let mut taken = 0;
        for peer in &mut peers {
            for _ in 0..2 {
                assert!(receive(peer).as_bytes() == large());
                taken += 1;
            }
        }
        assert_eq!(taken, 4);
    }

    /// [28/DEALER-3] SHALL: the queues of a connection that is made from here are there at once, and stay whether or not
    /// the connection stands.
    fn the_queue_of_a_connection_outlives_it(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut dealer = named_dealer(&context, "dealer");
        let monitor = dealer.monitor();
        dealer.connect(endpoint.as_str()).unwrap();
        for _ in 0..4 {
            for number in 0..10 {
                send_number(&mut dealer, number);
            }
            let mut peer = DealerSocket::new(&context);
            peer.bind(endpoint.as_str()).unwrap();
            for number in 0..10 {
                assert_eq!(receive_number(&mut peer), number);
            }
            send(&mut peer, "still to be received when the peer is gone");
            peer.unbind(endpoint.as_str()).unwrap();
            drop(peer);
            wait_for_parting(transport, &monitor);
            assert_eq!(receive(&mut dealer).as_bytes(), b"still to be received when the peer is gone");
        }
        assert_eq!(dealer.lost(), 0);
    }

    /// [28/DEALER-4] SHALL: a peer that connects gets its queues.
    fn a_peer_that_connects_gets_its_queues(transport) {
        let context = Context::new();
        let mut dealer = DealerSocket::new(&context);
        let monitor = dealer.monitor();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        assert!(matches!(dealer.try_send("nobody is there"), Err(TrySendError::NoPeer(_))));
        let mut peer = DealerSocket::new(&context);
        peer.connect(&endpoint).unwrap();
        wait_for_connection(transport, &monitor);
        dealer.try_send("out").unwrap();
        assert_eq!(receive(&mut peer).as_bytes(), b"out");
        send(&mut peer, "in");
        assert_eq!(receive(&mut dealer).as_bytes(), b"in");
    }

    /// [28/DEALER-5] SHALL: the queues of a peer that had connected go with it, and what is in them. DIFFERS: what it had
    /// handed over before it went can still be received.
    fn the_queue_of_a_peer_goes_with_it(transport) {
        let context = Context::new();
        let mut dealer = short_dealer(&context);
        let monitor = dealer.monitor();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        let silent = Silent::new(&context, &endpoint);
        wait_for_connection(transport, &monitor);
        for _ in 0..2 {
            send(&mut dealer, too_large());
        }
        drop(silent);
        wait_for_parting(transport, &monitor);
        assert!(matches!(dealer.try_send("nobody is there"), Err(TrySendError::NoPeer(_))));
        assert_eq!(dealer.lost(), 2);
        assert_eq!(receive(&mut dealer).as_bytes(), b"last words");

        let mut peer = DealerSocket::new(&context);
        peer.connect(&endpoint).unwrap();
        send(&mut dealer, "fresh");
        assert_eq!(receive(&mut peer).as_bytes(), b"fresh");
    }

    /// [28/DEALER-6] SHOULD: the queues have limits that can be set.
    fn the_queues_of_a_dealer_have_limits(transport) {
        let context = Context::new();
        for hwm in [1, 2, 10, 500] {
            let endpoint = transport.fresh();
            let mut dealer = DealerSocket::builder(&context).send_hwm(hwm).build().unwrap();
            dealer.connect(endpoint.as_str()).unwrap();
            for number in 0..hwm {
                dealer.try_send(&number.to_be_bytes()).unwrap();
            }
            assert!(matches!(dealer.try_send("one too many"), Err(TrySendError::Full(_))));
            let mut peer = DealerSocket::new(&context);
            peer.bind(endpoint.as_str()).unwrap();
            for number in 0..hwm {
                assert_eq!(receive_number(&mut peer), number);
            }
        }
        // Who receives and does not take holds the sender up. Both queues together hold no more than this.
        let (mut dealer, mut peer) = (short_dealer(&context), short_dealer(&context));
        let monitor = peer.monitor();
        peer.connect(dealer.bind(transport.wildcard()).unwrap()).unwrap();
        wait_for_connection(transport, &monitor);
        let filled = fill(&mut peer);
        assert!(filled < 50, "{filled} messages in two queues of two and in the kernel");
        for _ in 0..filled {
            receive(&mut dealer);
        }
    }

    /// [28/DEALER-7] SHALL: a peer is available while its queue is not full.
    fn a_full_peer_is_passed_over(transport) {
        let context = Context::new();
        let mut dealer = short_dealer(&context);
        let monitor = dealer.monitor();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        let mut peers = [(); 2].map(|()| {
            let mut peer = short_dealer(&context);
            peer.connect(&endpoint).unwrap();
            wait_for_connection(transport, &monitor);
            peer
        });
        let [silent, reading] = &mut peers;
        // Far more than the one that does not read can be given.
        const COUNT: u32 = 300;
        let (mut taken, mut left) = (0, 0);
        for _ in 0..COUNT {
            wait_until("there is room", || {
                taken += u32::from(reading.try_recv().is_ok());
                dealer.try_send(large()).is_ok()
            });
        }
        wait_until("all have arrived", || {
            taken += u32::from(reading.try_recv().is_ok());
            left += u32::from(silent.try_recv().is_ok());
            taken + left == COUNT
        });
        assert!((2..50).contains(&left), "{left} messages to one who does not read");
    }

    /// [28/DEALER-7] SHALL: a peer is available while its queue is not full. DIFFERS: while a peer is connected, one that is
    /// still being connected to is not available, because a message for it would only wait.
    fn a_dealer_prefers_peers_that_are_there(transport) {
        let context = Context::new();
        let mut dealer = DealerSocket::new(&context);
        let monitor = dealer.monitor();
        dealer.connect(transport.fresh()).unwrap();
        let mut peer = DealerSocket::new(&context);
        dealer.connect(peer.bind(transport.wildcard()).unwrap()).unwrap();
        wait_for_connection(transport, &monitor);
        for number in 0..100 {
            send_number(&mut dealer, number);
        }
        for number in 0..100 {
            assert_eq!(receive_number(&mut peer), number);
        }
    }

    /// [28/DEALER-8] SHALL: messages go to the available peers in turn.
    fn a_dealer_deals_out_in_turn(transport) {
        let context = Context::new();
        let mut dealer = DealerSocket::new(&context);
        let monitor = dealer.monitor();
        let mut peers = [(); 3].map(|()| {
            let mut peer = DealerSocket::new(&context);
            dealer.connect(peer.bind(transport.wildcard()).unwrap()).unwrap();
            wait_for_connection(transport, &monitor);
            peer
        });
        for number in 0..30 {
            send_number(&mut dealer, number);
        }
        let mut firsts = HashSet::new();
        for peer in &mut peers {
            let first = receive_number(peer);
            firsts.insert(first);
            for round in 1..10 {
                assert_eq!(receive_number(peer), first + round * 3);
            }
            assert_eq!(peer.try_recv(), Err(TryRecvError::Empty));
        }
        assert_eq!(firsts, HashSet::from([0, 1, 2]));
    }

    /// [28/DEALER-9] SHALL: without an available peer, sending waits or fails.
    fn without_room_a_dealer_waits_or_fails(transport) {
        let context = Context::new();
        let mut dealer = DealerSocket::builder(&context).send_hwm(1).build().unwrap();
        let short = Duration::from_millis(20);
        // There is no peer.
        assert!(matches!(dealer.try_send("message"), Err(TrySendError::NoPeer(_))));
        let start = Instant::now();
        assert!(matches!(dealer.send_timeout("message", short), Err(SendTimeoutError::Timeout(_))));
        assert!(start.elapsed() >= short);
        // The only queue is full.
        let endpoint = transport.fresh();
        dealer.connect(endpoint.as_str()).unwrap();
        dealer.try_send("first").unwrap();
        assert!(matches!(dealer.try_send("message"), Err(TrySendError::Full(_))));
        let start = Instant::now();
        assert!(matches!(dealer.send_timeout("message", short), Err(SendTimeoutError::Timeout(_))));
        assert!(start.elapsed() >= short);
        let sender = thread::spawn(move || {
            dealer.send("second").unwrap();
            dealer
        });
        let mut peer = DealerSocket::new(&context);
        peer.bind(endpoint.as_str()).unwrap();
        assert_eq!(receive(&mut peer).as_bytes(), b"first");
        assert_eq!(receive(&mut peer).as_bytes(), b"second");
        let mut dealer = sender.join().unwrap();
        // A queue that comes is as good as one that has room again.
        dealer.disconnect(endpoint.as_str()).unwrap();
        assert!(matches!(dealer.try_send("message"), Err(TrySendError::NoPeer(_))));
        let next = dealer.bind(transport.wildcard()).unwrap();
        let sender = thread::spawn(move || {
            dealer.send("third").unwrap();
            dealer
        });
        peer.connect(&next).unwrap();
        assert_eq!(receive(&mut peer).as_bytes(), b"third");
        sender.join().unwrap();
    }

    /// [28/DEALER-10] SHALL: without an available peer, no message is accepted.
    fn without_room_a_dealer_accepts_nothing(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut dealer = DealerSocket::builder(&context).send_hwm(3).build().unwrap();
        for _ in 0..10 {
            assert!(matches!(dealer.try_send("refused"), Err(TrySendError::NoPeer(_))));
        }
        dealer.connect(endpoint.as_str()).unwrap();
        for number in 0..3u32 {
            dealer.try_send(&number.to_be_bytes()).unwrap();
        }
        for _ in 0..10 {
            assert!(matches!(dealer.try_send("refused"), Err(TrySendError::Full(_))));
            assert!(dealer.send_timeout("refused", Duration::ZERO).is_err());
        }
        let mut peer = DealerSocket::new(&context);
        peer.bind(endpoint.as_str()).unwrap();
        for number in 0..3 {
            assert_eq!(receive_number(&mut peer), number);
        }
        send(&mut dealer, "accepted");
        assert_eq!(receive(&mut peer).as_bytes(), b"accepted");
    }

    /// [28/DEALER-11] SHALL NOT: what cannot be queued is not thrown away.
    fn what_a_dealer_cannot_queue_comes_back(transport) {
        const COUNT: u32 = 3000;
        let numbered = |number: u32| Message::from([&b"part"[..], &number.to_be_bytes()]);
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut dealer = short_dealer(&context);
        dealer.connect(endpoint.as_str()).unwrap();
        let mut next = 0;
        let mut message = loop {
            match dealer.try_send(numbered(next)) {
                Ok(()) => next += 1,
                Err(error) => break error.into_message(),
            }
        };
        assert_eq!((next, &message), (2, &numbered(2)));

        let mut peer = short_dealer(&context);
        peer.bind(endpoint.as_str()).unwrap();
        let reader = thread::spawn(move || {
            for number in 0..COUNT {
                assert_eq!(receive(&mut peer), numbered(number));
            }
            peer
        });
        for number in 3..=COUNT {
            // Whichever way it is refused, the message that comes back is sent again.
            while let Err(error) = dealer.try_send(message) {
                message = match dealer.send_timeout(error.into_message(), Duration::from_micros(10)) {
                    Ok(()) => break,
                    Err(error) => error.into_message(),
                };
            }
            message = numbered(number);
        }
        reader.join().unwrap();
    }

    /// [28/DEALER-12] SHALL: messages are received fairly from all peers.
    fn a_dealer_hears_its_peers_in_turn(transport) {
        let context = Context::new();
        let mut dealer = DealerSocket::new(&context);
        let monitor = dealer.monitor();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        crowd(transport, &context, &endpoint, &monitor);
        let heard = (0..630).map(|_| receive(&mut dealer).to_str().unwrap().to_owned()).collect();
        assert_fair(heard);
    }

    /// [28/DEALER-13] SHALL: what is received is handed to the application, each message once and those of a peer in order.
    fn a_dealer_delivers_everything(transport) {
        let context = Context::new();
        let mut dealer = DealerSocket::builder(&context).receive_hwm(10).build().unwrap();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        deliver(&context, &endpoint, || {
            let message = receive(&mut dealer);
            (message.part(0).unwrap().to_vec(), message.part(1).unwrap().to_vec())
        });
    }
}

on_every_transport! {
    /// [28/ROUTER-1] SHALL: there are two queues for each peer, one for each direction, that know nothing of each other.
    fn a_router_has_two_queues_for_each_peer(transport) {
        let context = Context::new();
        let mut router = short_router(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut peers = [(); 2].map(|()| {
            let mut peer = short_dealer(&context);
            peer.connect(&endpoint).unwrap();
            send(&mut peer, "here I am");
            (receive_from(&mut router).0, peer)
        });
        let full = peers[0].0.clone();
        let other = peers[1].0.clone();
        let mut filled = fill_peer(&mut router, &full);
        assert!(filled >= 2);
        for number in 0..20u32 {
            // The full one is heard, and the other one is not full.
            for (id, peer) in &mut peers {
                send_number(peer, number);
                assert_eq!(receive_from(&mut router), (id.clone(), Message::from(&number.to_be_bytes())));
            }
            router.try_send_to(&other, &number.to_be_bytes()).unwrap();
            assert_eq!(receive_number(&mut peers[1].1), number);
            // The kernel may have taken more meanwhile.
            filled += fill_peer(&mut router, &full);
        }
        for _ in 0..filled {
            assert!(receive(&mut peers[0].1).as_bytes() == large());
        }
    }

    /// [28/ROUTER-2] SHALL: the queues of a connection that is made from here are there at once, and stay whether or not
    /// the connection stands. DIFFERS: who the peer is turns out when it connects, and another connection may lead to
    /// another peer; so there are queues as long as there is a connection, and nothing is said into the void.
    fn a_router_talks_to_connected_peers_only(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let builder = RouterSocket::builder(&context);
        let mut router = builder.reconnect_min(Duration::from_millis(1)).build().unwrap();
        let peer = id("whoever is there");
        router.connect_as(endpoint.as_str(), peer.clone()).unwrap();
        for round in 0..3 {
            match router.try_send_to(&peer, "hello") {
                Err(SendToError::Unroutable { peer: unknown, message }) => {
                    assert_eq!((&unknown, message.as_bytes()), (&peer, &b"hello"[..]));
                }
                other => panic!("{other:?}"),
            }
            let mut dealer = DealerSocket::new(&context);
            dealer.bind(endpoint.as_str()).unwrap();
            wait_for_peer(&mut router, &peer);
            router.try_send_to(&peer, &[round]).unwrap();
            assert_eq!(receive(&mut dealer).as_bytes(), [round]);
            dealer.unbind(endpoint.as_str()).unwrap();
            drop(dealer);
            wait_until("the peer is gone", || router.peers().is_empty());
        }
        assert_eq!(router.lost(), 0);
    }

    /// [28/ROUTER-3] SHALL: a peer that connects gets its queues.
    fn a_peer_of_a_router_gets_its_queues(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let peer = id("dealer");
        assert!(matches!(router.try_send_to(&peer, "hello"), Err(SendToError::Unroutable { .. })));
        let mut dealer = named_dealer(&context, "dealer");
        dealer.connect(&endpoint).unwrap();
        wait_for_peer(&mut router, &peer);
        router.try_send_to(&peer, "hello").unwrap();
        assert_eq!(receive(&mut dealer).as_bytes(), b"hello");
        send(&mut dealer, "hello yourself");
        assert_eq!(receive_from(&mut router), (peer, Message::from("hello yourself")));
    }

    /// [28/ROUTER-4] SHALL: the queues of a peer that had connected go with it, and what is in them. DIFFERS: what it had
    /// handed over before it went can still be received.
    fn the_queue_of_a_peer_of_a_router_goes_with_it(transport) {
        let context = Context::new();
        let mut router = short_router(&context);
        let monitor = router.monitor();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let peer = id("dealer");
        let silent = Silent::new(&context, &endpoint);
        wait_for_peer(&mut router, &peer);
        for _ in 0..2 {
            router.send_to(&peer, too_large()).unwrap();
        }
        drop(silent);
        wait_for_parting(transport, &monitor);
        assert!(matches!(router.try_send_to(&peer, "too late"), Err(SendToError::Unroutable { .. })));
        assert!(router.peers().is_empty());
        assert_eq!(router.lost(), 2);
        assert_eq!(receive_from(&mut router), (peer.clone(), Message::from("last words")));

        // It is back under its name, and gets nothing of what was said before.
        let mut dealer = named_dealer(&context, "dealer");
        dealer.connect(&endpoint).unwrap();
        wait_for_peer(&mut router, &peer);
        router.send_to(&peer, "fresh").unwrap();
        assert_eq!(receive(&mut dealer).as_bytes(), b"fresh");
    }

    /// [28/ROUTER-5] SHALL: each peer has an identity that no other one has.
    fn every_peer_has_an_identity_of_its_own(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealers: Vec<DealerSocket> = (0..50u32)
            .map(|number| {
                let mut dealer = match number % 2 {
                    0 => DealerSocket::new(&context),
                    _ => named_dealer(&context, &format!("dealer {number}")),
                };
                dealer.connect(&endpoint).unwrap();
                send_number(&mut dealer, number);
                dealer
            })
            .collect();
        let mut identities = HashSet::new();
        for _ in 0..dealers.len() {
            let (peer, message) = receive_from(&mut router);
            let number = u32::from_be_bytes(message.as_bytes().try_into().unwrap());
            assert_eq!(peer.is_generated(), number % 2 == 0);
            router.send_to(&peer, message).unwrap();
            assert!(identities.insert(peer));
        }
        assert_eq!(router.peers().into_iter().collect::<HashSet<_>>(), identities);
        for (number, dealer) in dealers.iter_mut().enumerate() {
            assert_eq!(receive_number(dealer), number as u32);
            assert_eq!(dealer.try_recv(), Err(TryRecvError::Empty));
        }
    }

    /// [28/ROUTER-6] SHOULD: a peer says its identity by the property of that name.
    fn a_peer_says_its_identity(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = named_dealer(&context, "a dealer");
        dealer.connect(&endpoint).unwrap();
        send(&mut dealer, "hello");
        assert_eq!(receive_from(&mut router), (id("a dealer"), Message::from("hello")));
        let mut req = ReqSocket::builder(&context).identity("a req").build().unwrap();
        req.connect(&endpoint).unwrap();
        send(&mut req, "hello");
        assert_eq!(receive_from(&mut router), (id("a req"), Message::from(["", "hello"])));
        let mut other = RouterSocket::builder(&context).identity("a router").probe_router(true).build().unwrap();
        other.connect(&endpoint).unwrap();
        assert_eq!(receive_from(&mut router), (id("a router"), Message::new()));
        if !transport.is_inproc() {
            let mut raw = Raw::connect(&endpoint.to_string());
            raw.send(&greeting());
            raw.send(&ready_with(&[("Socket-Type", b"DEALER"), ("Identity", b"raw \xff")]));
            raw.read_handshake();
            raw.send(&message(&[b"hello"]));
            let (peer, _) = receive_from(&mut router);
            assert_eq!(peer.as_bytes(), b"raw \xff");
        }
    }

    /// [28/ROUTER-7] SHOULD: the queues have limits that can be set.
    fn the_queues_of_a_router_have_limits(transport) {
        let context = Context::new();
        let mut router = short_router(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = short_dealer(&context);
        dealer.connect(&endpoint).unwrap();
        send(&mut dealer, "here I am");
        let (peer, _) = receive_from(&mut router);
        // Both queues of one direction, and the kernel between them, hold no more than this.
        let outbound = fill_peer(&mut router, &peer);
        let inbound = fill(&mut dealer);
        if transport.is_inproc() {
            assert_eq!((outbound, inbound), (2, 2));
        } else {
            assert!((2..50).contains(&outbound) && (2..50).contains(&inbound), "{outbound}, {inbound}");
        }
        for _ in 0..outbound {
            receive(&mut dealer);
        }
        for _ in 0..inbound {
            receive_from(&mut router);
        }
    }

    /// [28/ROUTER-8] SHALL: messages are received fairly from all peers.
    fn a_router_hears_its_peers_in_turn(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let monitor = router.monitor();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        crowd(transport, &context, &endpoint, &monitor);
        let heard = (0..630).map(|_| receive_from(&mut router).1.to_str().unwrap().to_owned()).collect();
        assert_fair(heard);
    }

    /// [28/ROUTER-9] SHALL: each message comes with the identity of its peer in front. DIFFERS: not as a part of the
    /// message, but beside it.
    fn a_message_comes_with_the_identity_of_its_peer(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        for name in ["one", "two", "three"] {
            let mut dealer = named_dealer(&context, name);
            dealer.connect(&endpoint).unwrap();
            for parts in [&["body"][..], &["", "body"], &["envelope", "", "body"], &[""]] {
                send(&mut dealer, Message::from_parts(parts.iter().copied()));
                let (peer, message) = receive_from(&mut router);
                assert_eq!(peer, id(name));
                assert_eq!(message, Message::from_parts(parts.iter().copied()));
            }
        }
    }

    /// [28/ROUTER-10] SHALL: what is received is handed to the application, each message once and those of a peer in order.
    fn a_router_delivers_everything(transport) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).receive_hwm(10).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut peers = std::collections::HashMap::new();
        deliver(&context, &endpoint, || {
            let (peer, message) = receive_from(&mut router);
            let name = message.part(0).unwrap().to_vec();
            assert_eq!(peers.entry(peer).or_insert_with(|| name.clone()), &name, "messages of one peer have one name");
            (name, message.part(1).unwrap().to_vec())
        });
    }

    /// [28/ROUTER-11] SHALL: the first part of a message says to whom it goes, and is taken off. DIFFERS: the identity is
    /// given beside the message, all of which is sent.
    /// [28/ROUTER-12] SHALL: the message goes to the queue of that peer, if there is one with room.
    fn a_message_goes_to_whom_it_is_for(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let names = ["one", "two", "three"];
        let mut dealers = names.map(|name| {
            let mut dealer = named_dealer(&context, name);
            dealer.connect(&endpoint).unwrap();
            wait_for_peer(&mut router, &id(name));
            dealer
        });
        for round in 0..100u8 {
            let whom = usize::from(round) * 7 % 3;
            router.send_to(&id(names[whom]), [&b"two"[..], &[round]]).unwrap();
        }
        for (whom, dealer) in dealers.iter_mut().enumerate() {
            for round in (0..100u8).filter(|&round| usize::from(round) * 7 % 3 == whom) {
                assert_eq!(receive(dealer), Message::from([&b"two"[..], &[round]]));
            }
            assert_eq!(dealer.try_recv(), Err(TryRecvError::Empty));
        }
    }

    /// [28/ROUTER-13] SHALL: without such a queue, or without room in it, the message is dropped or sending it fails, as
    /// the application wishes.
    fn an_unroutable_message_fails_or_is_dropped(transport) {
        let context = Context::new();
        for drop_unroutable in [false, true] {
            let builder = RouterSocket::builder(&context).drop_unroutable(drop_unroutable);
            let mut router = builder.send_hwm(2).send_buffer(BUFFER).build().unwrap();
            let endpoint = router.bind(transport.wildcard()).unwrap();
            for _ in 0..3 {
                match router.send_to(&id("nobody"), ["to", "nobody"]) {
                    Ok(()) => assert!(drop_unroutable),
                    Err(SendToError::Unroutable { peer, message }) => {
                        assert!(!drop_unroutable);
                        assert_eq!((peer, message), (id("nobody"), Message::from(["to", "nobody"])));
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(router.lost(), if drop_unroutable { 3 } else { 0 });
            // A peer that is full is there: there is nothing to drop.
            let mut dealer = short_dealer(&context);
            dealer.connect(&endpoint).unwrap();
            send(&mut dealer, "here I am");
            let (peer, _) = receive_from(&mut router);
            let filled = fill_peer(&mut router, &peer);
            assert!(filled >= 2);
            assert_eq!(router.lost(), if drop_unroutable { 3 } else { 0 });
        }
    }

    /// [28/ROUTER-14] SHALL NOT: sending does not block. DIFFERS: `send_to` waits for room, because the message would be
    /// lost otherwise; `try_send_to` never waits.
    fn a_router_need_not_block(transport) {
        let context = Context::new();
        let mut router = short_router(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = short_dealer(&context);
        dealer.connect(&endpoint).unwrap();
        send(&mut dealer, "here I am");
        let (peer, _) = receive_from(&mut router);
        let mut filled = fill_peer(&mut router, &peer);
        let short = Duration::from_millis(20);
        loop {
            let start = Instant::now();
            match router.send_to_timeout(&peer, large(), short) {
                // The kernel has taken more meanwhile.
                Ok(()) => filled += 1,
                Err(SendToError::Timeout(back)) => {
                    assert!(back.as_bytes() == large());
                    assert!(start.elapsed() >= short);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        let sender = thread::spawn(move || {
            router.send_to(&peer, "after all").unwrap();
            router
        });
        for _ in 0..filled {
            assert!(receive(&mut dealer).as_bytes() == large());
        }
        assert_eq!(receive(&mut dealer).as_bytes(), b"after all");
        sender.join().unwrap();
    }
}

/// Peers of which one has said far more than the others; all of it waits to be received.
fn crowd(transport: Transport, context: &Context, endpoint: &Endpoint, monitor: &Monitor) {
    for (name, count) in [("flood", 600), ("one", 10), ("two", 10), ("three", 10)] {
        let mut dealer = DealerSocket::new(context);
        dealer.connect(endpoint).unwrap();
        for _ in 0..count {
            send(&mut dealer, name);
        }
        // What a peer sent is waiting for the application before its end is reported.
        drop(dealer);
        wait_for_parting(transport, monitor);
    }
}

/// Each of the crowd has had its turns.
fn assert_fair(heard: Vec<String>) {
    for name in ["flood", "one", "two", "three"] {
        let among_first = heard[..40].iter().filter(|heard| *heard == name).count();
        assert_eq!(
            among_first,
            10,
            "{name} in the first 40 of four peers: {:?}",
            &heard[..40]
        );
    }
}

/// Several peers send numbers behind their names, all at once. What is received has to be all of that, in order.
fn deliver(context: &Context, endpoint: &Endpoint, mut receive: impl FnMut() -> (Vec<u8>, Vec<u8>)) {
    const EACH: u32 = 2000;
    let senders = [0u8, 1, 2].map(|name| {
        let mut dealer = DealerSocket::new(context);
        dealer.connect(endpoint).unwrap();
        thread::spawn(move || {
            for number in 0..EACH {
                send(&mut dealer, [&[name][..], &number.to_be_bytes()]);
            }
            dealer
        })
    });
    let mut next = [0u32; 3];
    for _ in 0..3 * EACH {
        let (name, number) = receive();
        let next = &mut next[usize::from(name[0])];
        assert_eq!(number, next.to_be_bytes());
        *next += 1;
    }
    for sender in senders {
        sender.join().unwrap();
    }
}
