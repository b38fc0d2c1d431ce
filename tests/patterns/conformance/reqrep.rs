//! REQ and REP, as ZeroMQ RFC 28 specifies them.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Context, DealerSocket, Endpoint, Event, Message, PeerId, RecvTimeoutError, RepSocket, ReqSocket,
    RouterSocket, SendError, SendTimeoutError, TryRecvError, TrySendError,
};

use crate::on_every_transport;
use crate::raw::{MORE, Raw, frame, message};
use crate::support::{
    DEADLINE, Transport, pattern, receive, send, wait_for_end, wait_for_handshake, wait_until,
};

/// A connected pair.
fn pair(transport: Transport) -> (ReqSocket, RepSocket) {
    let context = Context::new();
    let mut rep = RepSocket::new(&context);
    let endpoint = rep.bind(transport.wildcard()).unwrap();
    let mut req = ReqSocket::new(&context);
    req.connect(&endpoint).unwrap();
    (req, rep)
}

/// A REP with one DEALER, whose envelopes can be seen.
fn observed(transport: Transport) -> (DealerSocket, RepSocket) {
    let context = Context::new();
    let mut rep = RepSocket::new(&context);
    let endpoint = rep.bind(transport.wildcard()).unwrap();
    let mut dealer = DealerSocket::new(&context);
    dealer.connect(&endpoint).unwrap();
    (dealer, rep)
}

/// What an application may say: of every size that is treated in a way of its own, and of many parts.
fn bodies() -> Vec<Message> {
    let mut bodies: Vec<Message> = [
        0,
        1,
        2,
        61,
        62,
        63,
        64,
        65,
        255,
        256,
        4096,
        8192,
        65_536,
        1 << 20,
        8 << 20,
    ]
    .into_iter()
    .map(|size| Message::from(pattern(size, size as u8)))
    .collect();
    let large = pattern(100_000, 9);
    let parts: [&[&[u8]]; 7] = [
        &[b"", b""],
        &[b"", b"", b""],
        &[b"", b"body"],
        &[b"body", b""],
        &[b"a", b"", b"b", b"", b""],
        &[b"small", &large],
        &[&large, b"", &large],
    ];
    bodies.extend(parts.map(|parts| Message::from_parts(parts.iter().copied())));
    bodies.push(Message::from_parts(
        (0..1000).map(|part| pattern(part % 100, part as u8)),
    ));
    bodies
}

/// The message behind an empty part.
fn delimited(body: &Message) -> Message {
    let mut message = body.clone();
    message.push_front("");
    message
}

on_every_transport! {
    /// [28/REQ-1] SHALL: sending one message and receiving one alternate.
    fn a_req_sends_and_receives_in_turn(transport) {
        let (mut req, mut rep) = pair(transport);
        for round in 0..3 {
            assert!(!req.is_waiting());
            assert_eq!(req.try_recv(), Err(TryRecvError::WrongState));
            assert_eq!(req.recv_timeout(DEADLINE), Err(RecvTimeoutError::WrongState));
            send(&mut req, format!("request {round}"));
            assert!(req.is_waiting());
            for _ in 0..3 {
                match req.try_send("another") {
                    Err(TrySendError::WrongState(back)) => assert_eq!(back.as_bytes(), b"another"),
                    other => panic!("{other:?}"),
                }
                assert!(matches!(req.send("another"), Err(SendError::WrongState(_))));
                assert!(req.is_waiting());
            }
            assert_eq!(receive(&mut rep).to_str(), Ok(&*format!("request {round}")));
            send(&mut rep, format!("reply {round}"));
            assert_eq!(receive(&mut req).to_str(), Ok(&*format!("reply {round}")));
        }
        assert_eq!(rep.try_recv(), Err(TryRecvError::Empty), "what was refused was not sent");
    }

    /// [28/REQ-2] SHALL: a request and a reply are an empty part and the parts of the application behind it.
    fn requests_and_replies_begin_with_an_empty_part(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut req = ReqSocket::new(&context);
        req.connect(&endpoint).unwrap();
        for body in bodies() {
            send(&mut req, body.clone());
            let (peer, request) = router.recv_from_timeout(DEADLINE).unwrap();
            assert!(request == delimited(&body));
            router.send_to(&peer, request).unwrap();
            assert!(receive(&mut req) == body);
        }
        if !transport.is_inproc() {
            let mut req = ReqSocket::new(&context);
            let endpoint = req.bind(transport.wildcard()).unwrap();
            let mut raw = Raw::peer(&endpoint.to_string(), "REP");
            send(&mut req, ["one", "two"]);
            assert_eq!(raw.read_frame(), (MORE, b"".to_vec()));
            assert_eq!(raw.read_frame(), (MORE, b"one".to_vec()));
            assert_eq!(raw.read_frame(), (0, b"two".to_vec()));
            raw.send(&[frame(MORE, b""), frame(0, b"three")].concat());
            assert_eq!(receive(&mut req).as_bytes(), b"three");
        }
    }

    /// [28/REQ-3] SHALL: the socket puts the empty part in front of what is sent, whatever that begins with.
    fn a_req_adds_the_empty_part(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut req = ReqSocket::builder(&context).relaxed(true).build().unwrap();
        req.connect(&endpoint).unwrap();
        for body in [Message::new(), Message::from("body"), Message::from(["", "body"]), Message::from(["", ""])] {
            send(&mut req, body.clone());
            let (_, request) = router.recv_from_timeout(DEADLINE).unwrap();
            assert_eq!(request.part_count(), body.part_count() + 1);
            assert_eq!(request, delimited(&body));
        }
    }

    /// [28/REQ-4] SHALL: requests go to the connected peers in turn.
    fn a_req_asks_its_peers_in_turn(transport) {
        let context = Context::new();
        let mut req = ReqSocket::new(&context);
        let monitor = req.monitor();
        let mut reps: Vec<RepSocket> = (0..3)
            .map(|_| {
                let mut rep = RepSocket::new(&context);
                req.connect(rep.bind(transport.wildcard()).unwrap()).unwrap();
                if !transport.is_inproc() {
                    wait_for_handshake(&monitor);
                }
                rep
            })
            .collect();
        let mut asked = Vec::new();
        for _ in 0..12 {
            send(&mut req, "whose turn is it?");
            wait_until("one of them is asked", || {
                let who = reps.iter_mut().position(|rep| rep.try_recv().is_ok());
                asked.extend(who);
                who.is_some()
            });
            send(&mut reps[asked[asked.len() - 1]], "mine");
            receive(&mut req);
        }
        assert_eq!(asked[..3].iter().collect::<HashSet<_>>().len(), 3, "{asked:?}");
        assert!(asked.windows(4).all(|turns| turns[0] == turns[3]), "{asked:?}");
    }

    /// [28/REQ-5] SHALL: without a connected peer, sending waits or fails. DIFFERS: while a connection is being made, the
    /// request waits in its queue instead; with `queue_unconnected(false)` it does not.
    fn without_a_peer_a_req_waits_or_fails(transport) {
        let context = Context::new();
        let mut req = ReqSocket::new(&context);
        match req.try_send("request") {
            Err(TrySendError::NoPeer(back)) => assert_eq!(back.as_bytes(), b"request"),
            other => panic!("{other:?}"),
        }
        let start = Instant::now();
        match req.send_timeout("request", Duration::from_millis(20)) {
            Err(SendTimeoutError::Timeout(back)) => assert_eq!(back.as_bytes(), b"request"),
            other => panic!("{other:?}"),
        }
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert!(!req.is_waiting());

        let endpoint = req.bind(transport.wildcard()).unwrap();
        let asking = thread::spawn(move || {
            req.send("request").unwrap();
            receive(&mut req)
        });
        let mut rep = RepSocket::new(&context);
        rep.connect(&endpoint).unwrap();
        assert_eq!(receive(&mut rep).as_bytes(), b"request");
        send(&mut rep, "reply");
        assert_eq!(asking.join().unwrap().as_bytes(), b"reply");

        for queue_unconnected in [true, false] {
            let endpoint = transport.fresh();
            let builder = ReqSocket::builder(&context).queue_unconnected(queue_unconnected);
            let mut req = builder.reconnect_min(Duration::from_millis(1)).build().unwrap();
            req.connect(endpoint.as_str()).unwrap();
            match req.try_send("request") {
                Ok(()) => assert!(queue_unconnected && req.is_waiting()),
                Err(TrySendError::NoPeer(_)) => assert!(!queue_unconnected && !req.is_waiting()),
                other => panic!("{other:?}"),
            }
            let mut rep = RepSocket::new(&context);
            rep.bind(endpoint.as_str()).unwrap();
            if !queue_unconnected {
                send(&mut req, "request");
            }
            assert_eq!(receive(&mut rep).as_bytes(), b"request");
            send(&mut rep, "reply");
            assert_eq!(receive(&mut req).as_bytes(), b"reply");
        }
    }

    /// [28/REQ-6] SHALL NOT: a request that cannot be sent is not thrown away.
    fn a_request_that_cannot_be_sent_is_not_lost(transport) {
        let context = Context::new();
        let mut req = ReqSocket::builder(&context).reconnect_min(Duration::from_millis(1)).build().unwrap();
        let Err(error) = req.try_send(["request", "of two parts"]) else {
            panic!("there is nobody to take it");
        };
        let request = error.into_message();
        assert_eq!(request, Message::from(["request", "of two parts"]));
        // It waits for a peer that is not there yet.
        let endpoint = transport.fresh();
        req.connect(endpoint.as_str()).unwrap();
        send(&mut req, request);
        assert_eq!(req.try_recv(), Err(TryRecvError::Empty));
        let mut rep = RepSocket::new(&context);
        rep.bind(endpoint.as_str()).unwrap();
        assert_eq!(receive(&mut rep), Message::from(["request", "of two parts"]));
        send(&mut rep, "reply");
        assert_eq!(receive(&mut req).as_bytes(), b"reply");
        assert_eq!(rep.try_recv(), Err(TryRecvError::Empty), "it was sent once");
    }

    /// [28/REQ-7] SHALL: only the peer that was asked last can answer.
    /// [28/REQ-8] SHALL: what other peers send is thrown away without a word.
    fn a_req_hears_only_whom_it_has_asked(transport) {
        let context = Context::new();
        let mut req = ReqSocket::builder(&context).probe_router(true).build().unwrap();
        let monitor = req.monitor();
        let endpoint = req.bind(transport.wildcard()).unwrap();
        let mut peers = [(); 2].map(|()| Answerer::new(&context, &endpoint));
        for round in 0..20 {
            for peer in &mut peers {
                peer.say(&[b"", b"before anybody was asked"]);
            }
            send(&mut req, "request");
            let mut asked = None;
            wait_until("one of them is asked", || {
                asked = peers.iter_mut().position(Answerer::is_asked);
                asked.is_some()
            });
            let asked = asked.unwrap();
            for _ in 0..5 {
                peers[1 - asked].say(&[b"", b"wrong answer"]);
                // No answer either, nor a reason to complain.
                peers[1 - asked].say(&[b"without an envelope"]);
                assert_eq!(req.try_recv(), Err(TryRecvError::Empty));
            }
            peers[asked].say(&[b"", &[round]]);
            assert_eq!(receive(&mut req).as_bytes(), [round]);
        }
        let mut events = std::iter::from_fn(|| monitor.try_recv());
        assert!(!events.any(|event| matches!(event, Event::Disconnected { .. })));
    }
}

/// A peer of a REQ that answers at will. On a wire it can tell when the REQ has what it said.
enum Answerer {
    Near(Box<RouterSocket>, PeerId),
    Far(Raw),
}

impl Answerer {
    fn new(context: &Context, endpoint: &Endpoint) -> Answerer {
        if matches!(endpoint, Endpoint::Inproc { .. }) {
            let mut router = RouterSocket::new(context);
            router.connect(endpoint).unwrap();
            let (req, _probe) = router.recv_from_timeout(DEADLINE).unwrap();
            return Answerer::Near(Box::new(router), req);
        }
        let mut raw = Raw::peer(&endpoint.to_string(), "ROUTER");
        assert_eq!(raw.read_message(), [b""]);
        Answerer::Far(raw)
    }

    /// Says something, and returns when the other side has it.
    fn say(&mut self, parts: &[&[u8]]) {
        match self {
            Answerer::Near(router, req) => router
                .send_to(req, Message::from_parts(parts.iter().copied()))
                .unwrap(),
            Answerer::Far(raw) => {
                raw.send(&message(parts));
                raw.wait_until_read();
            }
        }
    }

    /// Takes the request, if one has come.
    fn is_asked(&mut self) -> bool {
        match self {
            Answerer::Near(router, _) => router.try_recv_from().is_ok(),
            Answerer::Far(raw) => raw.has_bytes() && !raw.read_message().is_empty(),
        }
    }
}

on_every_transport! {
    /// [28/REP-1] SHALL: nothing is filtered or changed, on its way in or out.
    fn a_rep_changes_nothing(transport) {
        let (mut req, mut rep) = pair(transport);
        for body in bodies() {
            send(&mut req, body.clone());
            let request = receive(&mut rep);
            assert!(request == body);
            send(&mut rep, request);
            assert!(receive(&mut req) == body);
        }
    }

    /// [28/REP-2] SHALL: receiving one message and sending one alternate.
    fn a_rep_receives_and_sends_in_turn(transport) {
        let (mut dealer, mut rep) = observed(transport);
        for number in 0..3u8 {
            send(&mut dealer, [&b""[..], &[number]]);
        }
        for number in 0..3 {
            assert!(!rep.is_asked());
            match rep.try_send("too early") {
                Err(TrySendError::WrongState(back)) => assert_eq!(back.as_bytes(), b"too early"),
                other => panic!("{other:?}"),
            }
            assert!(matches!(rep.send("too early"), Err(SendError::WrongState(_))));
            assert_eq!(receive(&mut rep).as_bytes(), [number]);
            for _ in 0..3 {
                assert!(rep.is_asked());
                assert_eq!(rep.try_recv(), Err(TryRecvError::WrongState));
                assert_eq!(rep.recv_timeout(DEADLINE), Err(RecvTimeoutError::WrongState));
            }
            send(&mut rep, &[number]);
            assert_eq!(receive(&mut dealer), Message::from([&b""[..], &[number]]));
        }
        assert_eq!(dealer.try_recv(), Err(TryRecvError::Empty), "what was refused was not sent");
    }

    /// [28/REP-3] SHALL: requests and replies are an envelope of any depth, an empty part, and the parts of the application.
    fn requests_and_replies_have_envelopes_of_any_depth(transport) {
        let (mut dealer, mut rep) = observed(transport);
        for depth in [0, 1, 2, 5, 50] {
            let envelope: Vec<Vec<u8>> = (0..depth).map(|part| pattern(1 + part * 5, part as u8)).collect();
            let inside = |body: &str| Message::from_parts(envelope.iter().map(Vec::as_slice).chain([&b""[..], body.as_bytes()]));
            send(&mut dealer, inside("request"));
            assert_eq!(receive(&mut rep).as_bytes(), b"request");
            send(&mut rep, "reply");
            assert_eq!(receive(&mut dealer), inside("reply"), "through {depth}");
        }
        if !transport.is_inproc() {
            let endpoint = rep.bind(transport.wildcard()).unwrap();
            let mut raw = Raw::peer(&endpoint.to_string(), "REQ");
            raw.send(&[frame(MORE, b"peer"), frame(MORE, b""), frame(MORE, b"one"), frame(0, b"two")].concat());
            assert_eq!(receive(&mut rep), Message::from(["one", "two"]));
            send(&mut rep, "three");
            assert_eq!(raw.read_frame(), (MORE, b"peer".to_vec()));
            assert_eq!(raw.read_frame(), (MORE, b"".to_vec()));
            assert_eq!(raw.read_frame(), (0, b"three".to_vec()));
        }
    }

    /// [28/REP-4] SHALL: requests are received fairly from all peers.
    fn a_rep_hears_its_peers_in_turn(transport) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let monitor = rep.monitor();
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        for (name, count) in [("flood", 600), ("one", 10), ("two", 10), ("three", 10)] {
            let mut dealer = DealerSocket::new(&context);
            dealer.connect(&endpoint).unwrap();
            for _ in 0..count {
                send(&mut dealer, ["", name]);
            }
            // What a peer sent is waiting for the application before its end is reported.
            drop(dealer);
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
        }
        let mut heard = Vec::new();
        for _ in 0..630 {
            let request = rep.next_timeout(DEADLINE).unwrap();
            heard.push(request.message().to_str().unwrap().to_owned());
        }
        for name in ["flood", "one", "two", "three"] {
            let among_first = heard[..40].iter().filter(|heard| *heard == name).count();
            assert_eq!(among_first, 10, "{name} in the first 40 of four peers: {:?}", &heard[..40]);
        }
    }

    /// [28/REP-5] SHALL: the envelope with its empty part is taken off and kept.
    /// [28/REP-6] SHALL: what is behind it is the application's, all of it.
    /// [28/REP-8] SHALL: the reply goes into the envelope of its request.
    fn a_rep_keeps_the_envelope_for_the_reply(transport) {
        let (mut dealer, mut rep) = observed(transport);
        for body in bodies() {
            let mut request = delimited(&body);
            request.push_front("second");
            request.push_front("first");
            send(&mut dealer, request);
            assert!(receive(&mut rep) == body, "nothing of the envelope, and all of the rest");
            send(&mut rep, ["", "reply"]);
            assert_eq!(receive(&mut dealer), Message::from(["first", "second", "", "", "reply"]));
        }
    }

    /// [28/REP-7] SHALL: there is one reply, for which the socket waits.
    fn a_rep_waits_for_one_reply(transport) {
        let (mut dealer, mut rep) = observed(transport);
        send(&mut dealer, ["", "first"]);
        send(&mut dealer, ["", "second"]);
        assert_eq!(receive(&mut rep).as_bytes(), b"first");
        assert_eq!(rep.try_recv(), Err(TryRecvError::WrongState), "the second waits for the reply to the first");
        send(&mut rep, "one reply");
        assert!(matches!(rep.try_send("another"), Err(TrySendError::WrongState(_))));
        assert_eq!(receive(&mut rep).as_bytes(), b"second");
        send(&mut rep, "the next reply");
        assert_eq!(receive(&mut dealer), Message::from(["", "one reply"]));
        assert_eq!(receive(&mut dealer), Message::from(["", "the next reply"]));
        assert_eq!(dealer.try_recv(), Err(TryRecvError::Empty));
    }

    /// [28/REP-9] SHALL: the reply goes to the peer that has asked.
    fn a_reply_goes_to_whom_has_asked(transport) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let mut peers: Vec<DealerSocket> = (0..5u8)
            .map(|number| {
                let mut dealer = DealerSocket::new(&context);
                dealer.connect(&endpoint).unwrap();
                for round in 0..20 {
                    // The envelopes say nothing about who it is.
                    send(&mut dealer, [&b"peer"[..], b"", &[number, round]]);
                }
                dealer
            })
            .collect();
        for _ in 0..100 {
            let request = receive(&mut rep);
            send(&mut rep, request);
        }
        for (number, dealer) in peers.iter_mut().enumerate() {
            for round in 0..20 {
                assert_eq!(receive(dealer), Message::from([&b"peer"[..], b"", &[number as u8, round]]));
            }
            assert_eq!(dealer.try_recv(), Err(TryRecvError::Empty));
        }
    }

    /// [28/REP-10] SHALL: if the peer that has asked is gone, the reply is dropped, or sending it fails, as it does here.
    fn a_reply_to_a_peer_that_is_gone_fails(transport) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let monitor = rep.monitor();
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        for _ in 0..5 {
            let mut req = ReqSocket::new(&context);
            req.connect(&endpoint).unwrap();
            send(&mut req, "who is there?");
            receive(&mut rep);
            drop(req);
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
            match rep.send("nobody") {
                Err(SendError::PeerLost(back)) => assert_eq!(back.as_bytes(), b"nobody"),
                other => panic!("{other:?}"),
            }
            assert!(!rep.is_asked(), "ready for the next request");
        }
    }

    /// [28/REP-11] SHALL: sending a reply does not block. DIFFERS: `send` waits while the peer that has asked is at its
    /// high-water mark, because the reply would be lost otherwise; `try_send` never waits.
    fn sending_a_reply_need_not_block(transport) {
        let context = Context::new();
        let mut rep = RepSocket::builder(&context).send_hwm(1).send_buffer(65_536).build().unwrap();
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let mut dealer = DealerSocket::builder(&context).receive_hwm(1).receive_buffer(65_536).build().unwrap();
        dealer.connect(&endpoint).unwrap();
        for _ in 0..200 {
            send(&mut dealer, ["", "request"]);
        }
        // Nobody takes the replies, so there must be an end.
        let reply = pattern(1 << 20, 3);
        let mut replies = 0;
        loop {
            receive(&mut rep);
            match rep.try_send(reply.clone()) {
                Ok(()) => replies += 1,
                Err(TrySendError::Full(back)) => {
                    assert!(back.as_bytes() == reply);
                    break;
                }
                other => panic!("{other:?}"),
            }
            assert!(replies < 200);
        }
        assert!(rep.is_asked(), "the reply is still due");
        let sender = thread::spawn(move || {
            rep.send(reply).unwrap();
            rep
        });
        for _ in 0..=replies {
            assert_eq!(receive(&mut dealer).total_bytes(), 1 << 20);
        }
        sender.join().unwrap();
    }
}
