//! Requests and replies: whose reply it is, what becomes of a request when its connection breaks, and what a malformed one
//! costs. What RFC 28 says, sentence by sentence, is in [`conformance`](crate::conformance).
#![allow(clippy::print_stdout, reason = "a random test tells its seed")]

use std::hash::BuildHasher;
use std::pin::pin;
use std::sync::mpsc::{Receiver, channel};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Context, DealerSocket, Event, Message, Monitor, PeerId, Reason, RecvError, RecvTimeoutError, RepSocket,
    ReqSocket, RequestError, RouterSocket, SendError, TryRecvError, TrySendError,
};

use crate::executors::{block_on, poll_once};
use crate::raw::{MORE, Raw, RawListener, frame, message};
use crate::support::{
    DEADLINE, Transport, pattern, receive, send, wait_for, wait_for_end, wait_for_handshake, wait_until,
    with_deadline,
};
use crate::{on_every_transport, on_every_wire};

/// A REQ that does not wait long before it tries again.
fn eager_req(context: &Context) -> ReqSocket {
    let builder = ReqSocket::builder(context).reconnect_min(Duration::from_millis(1));
    builder.reconnect_max(Duration::from_millis(20)).build().unwrap()
}

/// A pair of which either side may be the one that binds.
fn connect(context: &Context, transport: Transport, req_binds: bool) -> (ReqSocket, RepSocket) {
    let mut req = eager_req(context);
    let builder = RepSocket::builder(context).reconnect_min(Duration::from_millis(1));
    let mut rep = builder.reconnect_max(Duration::from_millis(20)).build().unwrap();
    if req_binds {
        rep.connect(req.bind(transport.wildcard()).unwrap()).unwrap();
    } else {
        req.connect(rep.bind(transport.wildcard()).unwrap()).unwrap();
    }
    (req, rep)
}

/// One request and its reply, between these two.
#[track_caller]
fn exchange(req: &mut ReqSocket, rep: &mut RepSocket) {
    send(req, "how are you?");
    assert_eq!(receive(rep).as_bytes(), b"how are you?");
    send(rep, "well");
    assert_eq!(receive(req).as_bytes(), b"well");
}

/// Why the next connection was lost.
#[track_caller]
fn reason(monitor: &Monitor) -> Reason {
    wait_for(monitor, "disconnected", |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.clone()),
        _ => None,
    })
}

/// One intermediary of a chain: a ROUTER towards those who ask, a DEALER towards those who reply.
struct Hop {
    router: RouterSocket,
    dealer: DealerSocket,
}

impl Hop {
    fn forth(&mut self) {
        let (peer, mut message) = self.router.recv_from_timeout(DEADLINE).unwrap();
        message.push_front(peer.into_bytes());
        send(&mut self.dealer, message);
    }

    fn back(&mut self) {
        let mut message = receive(&mut self.dealer);
        let peer = PeerId::new(message.pop_front().unwrap()).unwrap();
        self.router.send_to(&peer, message).unwrap();
    }
}

on_every_transport! {
    /// Replies find their way back through any number of intermediaries, each of which knows its neighbours only.
    fn requests_pass_through_chains_of_intermediaries(transport) {
        for length in 1..=5 {
            let context = Context::new();
            let mut rep = RepSocket::new(&context);
            let mut next = rep.bind(transport.wildcard()).unwrap();
            let mut hops: Vec<Hop> = (0..length)
                .map(|_| {
                    let mut router = RouterSocket::new(&context);
                    let mut dealer = DealerSocket::new(&context);
                    dealer.connect(&next).unwrap();
                    next = router.bind(transport.wildcard()).unwrap();
                    Hop { router, dealer }
                })
                .collect();
            let mut reqs = [false, true].map(|correlate| {
                let mut req = ReqSocket::builder(&context).correlate(correlate).build().unwrap();
                req.connect(&next).unwrap();
                req
            });
            let bodies = [
                Message::new(),
                Message::from("body"),
                Message::from(["", "", "body", ""]),
                Message::from([&b"small"[..], &pattern(100_000, 1)]),
                Message::from(pattern(4 << 20, 2)),
            ];
            for body in bodies {
                for (number, req) in reqs.iter_mut().enumerate() {
                    let mut request = body.clone();
                    request.push_back(&[number as u8]);
                    send(req, request);
                }
                for _ in 0..2 {
                    hops.iter_mut().rev().for_each(Hop::forth);
                }
                for _ in 0..2 {
                    let request = receive(&mut rep);
                    assert!(request.parts().take(body.part_count()).eq(body.parts()));
                    send(&mut rep, request);
                }
                for _ in 0..2 {
                    hops.iter_mut().for_each(Hop::back);
                }
                for (number, req) in reqs.iter_mut().enumerate() {
                    let reply = receive(req);
                    assert_eq!(reply.part_count(), body.part_count() + 1);
                    assert_eq!(reply.part(body.part_count()), Some(&[number as u8][..]));
                }
            }
        }
    }

    /// What is refused, for whatever reason, leaves the socket where it was.
    fn a_refused_step_changes_nothing(transport) {
        let context = Context::new();
        let mut rep = RepSocket::builder(&context).max_message_bytes(100).build().unwrap();
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let mut req = ReqSocket::builder(&context).max_message_bytes(100).build().unwrap();
        req.connect(&endpoint).unwrap();
        let large = pattern(101, 1);
        for _ in 0..3 {
            // Ready: there is nothing to receive, and no sending what is too large.
            assert_eq!(req.recv(), Err(RecvError::WrongState));
            assert_eq!(block_on(req.recv_async()), Err(RecvError::WrongState));
            assert!(matches!(req.send(large.clone()), Err(SendError::TooLarge(back)) if back.as_bytes() == large));
            match req.request(large.clone(), DEADLINE) {
                Err(RequestError::TooLarge(back)) => assert!(back.as_bytes() == large),
                other => panic!("{other:?}"),
            }
            assert!(matches!(block_on(req.request_async(large.clone())), Err(RequestError::TooLarge(_))));
            assert!(!req.is_waiting());
            send(&mut req, "request");
            // Asked: there is no sending, and waiting in vain changes nothing.
            assert!(matches!(req.send("again"), Err(SendError::WrongState(back)) if back.as_bytes() == b"again"));
            assert!(matches!(block_on(req.send_async("again")), Err(SendError::WrongState(_))));
            assert!(matches!(req.request("again", DEADLINE), Err(RequestError::WrongState(back)) if back.as_bytes() == b"again"));
            assert!(matches!(block_on(req.request_async("again")), Err(RequestError::WrongState(_))));
            block_on(req.send_ready());
            assert_eq!(req.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
            assert!(poll_once(pin!(req.recv_async())).is_pending());
            assert!(req.is_waiting());

            assert_eq!(receive(&mut rep).as_bytes(), b"request");
            assert_eq!(rep.recv(), Err(RecvError::WrongState));
            assert!(matches!(rep.next(), Err(RecvError::WrongState)));
            assert!(matches!(rep.next_timeout(DEADLINE), Err(RecvTimeoutError::WrongState)));
            assert!(matches!(block_on(rep.next_async()), Err(RecvError::WrongState)));
            assert!(matches!(rep.send(large.clone()), Err(SendError::TooLarge(back)) if back.as_bytes() == large));
            assert!(rep.is_asked());
            block_on(rep.send_async("reply")).unwrap();
            assert!(matches!(rep.send("again"), Err(SendError::WrongState(back)) if back.as_bytes() == b"again"));
            assert!(matches!(block_on(rep.send_async("again")), Err(SendError::WrongState(_))));
            block_on(rep.send_ready());
            assert_eq!(rep.try_recv(), Err(TryRecvError::Empty));
            assert!(poll_once(pin!(rep.next_async())).is_pending());
            assert_eq!(block_on(req.recv_async()).unwrap().as_bytes(), b"reply");
        }
    }

    /// A request object replies once, in any way; dropped, it leaves its request without a reply.
    fn a_request_is_replied_to_or_dismissed(transport) {
        let context = Context::new();
        let mut rep = RepSocket::builder(&context).max_message_bytes(100).build().unwrap();
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let mut dealer = DealerSocket::new(&context);
        dealer.connect(&endpoint).unwrap();
        for number in 0..8u8 {
            send(&mut dealer, [&b""[..], &[number]]);
        }
        let request = rep.next().unwrap();
        assert_eq!(request.message().as_bytes(), [0]);
        request.reply("by reply").unwrap();
        drop(rep.next().unwrap());
        assert!(!rep.is_asked());
        let request = block_on(rep.next_async()).unwrap();
        assert_eq!(request.message().as_bytes(), [2]);
        block_on(request.reply_async("by reply_async")).unwrap();
        // A reply that is not awaited is none.
        drop(rep.next_timeout(DEADLINE).unwrap().reply_async("never"));
        // Nor is one that is refused.
        let refused = rep.next().unwrap().reply(pattern(101, 0));
        assert!(matches!(refused, Err(SendError::TooLarge(back)) if back.len() == 101));
        assert!(!rep.is_asked());
        assert_eq!(receive(&mut rep).as_bytes(), [5]);
        rep.dismiss();
        assert_eq!(receive(&mut rep).as_bytes(), [6]);
        send(&mut rep, "by send");
        rep.dismiss();
        rep.next().unwrap().reply("the last one").unwrap();
        for reply in ["by reply", "by reply_async", "by send", "the last one"] {
            assert_eq!(receive(&mut dealer), Message::from(["", reply]));
        }
        assert_eq!(dealer.try_recv(), Err(TryRecvError::Empty));
    }

    /// A server that died with the request says nothing any more, and that is told at once; the next server is asked anew.
    fn a_server_that_dies_with_the_request_is_missed_at_once(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut req = eager_req(&context);
        req.connect(endpoint.as_str()).unwrap();
        for round in 0..6 {
            let mut rep = RepSocket::new(&context);
            rep.bind(endpoint.as_str()).unwrap();
            exchange(&mut req, &mut rep);
            let server = thread::spawn(move || {
                // Dropped by a thread of its own, while the other side waits.
                let request = rep.recv().unwrap();
                assert_eq!(request.as_bytes(), b"are you there?");
            });
            if round % 2 == 0 {
                assert!(matches!(req.request("are you there?", DEADLINE), Err(RequestError::PeerLost)));
            } else {
                send(&mut req, "are you there?");
                assert_eq!(req.recv_timeout(DEADLINE), Err(RecvTimeoutError::PeerLost));
            }
            assert!(!req.is_waiting());
            assert_eq!(req.try_recv(), Err(TryRecvError::WrongState));
            server.join().unwrap();
        }
    }

    /// The same where the REQ was dialed.
    fn a_server_that_had_connected_is_missed_at_once(transport) {
        let context = Context::new();
        let mut req = eager_req(&context);
        let endpoint = req.bind(transport.wildcard()).unwrap();
        for _ in 0..6 {
            let mut rep = RepSocket::new(&context);
            rep.connect(&endpoint).unwrap();
            exchange(&mut req, &mut rep);
            let server = thread::spawn(move || rep.recv().map(drop).unwrap());
            let start = Instant::now();
            match block_on(req.request_async("are you there?")) {
                Err(RequestError::PeerLost) => {}
                other => panic!("{other:?}"),
            }
            assert!(start.elapsed() < DEADLINE);
            server.join().unwrap();
        }
    }

    /// Asking again at once finds the next server, however the end of the last one and the new request cross.
    fn a_request_right_behind_a_loss_finds_the_next_server(transport) {
        let context = Context::new();
        let mut req = eager_req(&context);
        let endpoint = transport.fresh();
        req.connect(endpoint.as_str()).unwrap();
        let address = endpoint.clone();
        let servers = {
            let context = context.clone();
            thread::spawn(move || {
                for round in 0..200u32 {
                    let mut rep = RepSocket::new(&context);
                    // The last one may be on its way out still.
                    wait_until("the address is free", || rep.bind(address.as_str()).is_ok());
                    let request = rep.next_timeout(DEADLINE).expect("a request");
                    let number = request.message().clone();
                    if round % 2 == 1 {
                        request.reply(number).unwrap();
                        rep.next_timeout(DEADLINE).map(drop).expect("the request that this one dies with");
                    }
                }
            })
        };
        let mut answered = 0;
        for number in 0..300u32 {
            match req.request(&number.to_be_bytes(), DEADLINE) {
                Ok(reply) => {
                    assert_eq!(reply.as_bytes(), number.to_be_bytes());
                    answered += 1;
                }
                Err(RequestError::PeerLost) => {}
                Err(error) => panic!("request {number}: {error}"),
            }
        }
        assert_eq!(answered, 100);
        servers.join().unwrap();
    }

    /// A request that waits for its server to come back is sent when it is there.
    fn a_request_that_was_not_sent_waits_for_the_next_server(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut req = eager_req(&context);
        let monitor = req.monitor();
        req.connect(endpoint.as_str()).unwrap();
        for _ in 0..5 {
            send(&mut req, "how are you?");
            assert_eq!(req.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
            assert!(req.is_waiting());
            let mut rep = RepSocket::new(&context);
            rep.bind(endpoint.as_str()).unwrap();
            assert_eq!(receive(&mut rep).as_bytes(), b"how are you?");
            send(&mut rep, "well");
            assert_eq!(receive(&mut req).as_bytes(), b"well");
            exchange(&mut req, &mut rep);
            rep.unbind(endpoint.as_str()).unwrap();
            drop(rep);
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
        }
    }

    /// A request that was given up before its server was there is not sent to it.
    fn a_request_that_was_given_up_in_time_is_never_sent(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut req = eager_req(&context);
        req.connect(endpoint.as_str()).unwrap();
        for _ in 0..20 {
            let start = Instant::now();
            let short = Duration::from_millis(1);
            assert!(matches!(req.request("given up", short), Err(RequestError::Timeout)));
            assert!(start.elapsed() >= short);
            send(&mut req, "given up");
            req.give_up();
            assert_eq!(req.try_recv(), Err(TryRecvError::WrongState));
        }
        let mut rep = RepSocket::new(&context);
        rep.bind(endpoint.as_str()).unwrap();
        exchange(&mut req, &mut rep);
        assert_eq!(rep.try_recv(), Err(TryRecvError::Empty));
    }
}

/// What a client does about replies that come late.
#[derive(Clone, Copy, Debug)]
struct Client {
    req_binds: bool,
    correlate: bool,
    relaxed: bool,
}

/// How long a server takes, which the request tells it.
const PROMPT: u8 = 0;
/// Until the client has given the request up.
const LATE: u8 = 1;
/// Until about the time when the client gives it up.
const CLOSE: u8 = 2;

on_every_transport! {
    /// A reply that comes after its request was given up answers no later request, whatever the timing.
    fn a_late_reply_answers_no_later_request(transport) {
        for req_binds in [false, true] {
            for (correlate, relaxed) in [(false, false), (true, false), (false, true), (true, true)] {
                late_replies(transport, Client { req_binds, correlate, relaxed }, 200);
            }
        }
    }
}

fn late_replies(transport: Transport, client: Client, rounds: u32) {
    let seed = std::collections::hash_map::RandomState::new().hash_one(0) | 1;
    println!("seed {seed}, {client:?}");
    let mut random = Random(seed);
    let context = Context::new();
    let builder = ReqSocket::builder(&context)
        .correlate(client.correlate)
        .relaxed(client.relaxed);
    let mut req = builder.reconnect_min(Duration::from_millis(1)).build().unwrap();
    let mut rep = RepSocket::builder(&context)
        .reconnect_min(Duration::from_millis(1))
        .build()
        .unwrap();
    if client.req_binds {
        rep.connect(req.bind(transport.wildcard()).unwrap()).unwrap();
    } else {
        req.connect(rep.bind(transport.wildcard()).unwrap()).unwrap();
    }
    let (given_up, told) = channel();
    let server = thread::spawn(move || late_server(rep, &told, rounds));
    let mut answered = 0;
    for number in 0..rounds {
        let mode = [PROMPT, LATE, CLOSE][random.below(3)];
        let timeout = Duration::from_micros(random.below(2000) as u64);
        let request = Message::from([&number.to_be_bytes()[..], &[mode]]);
        let result = if client.relaxed && mode != PROMPT {
            // The next request gives this one up.
            send(&mut req, request);
            match req.recv_timeout(timeout) {
                Ok(reply) => Ok(reply),
                Err(RecvTimeoutError::Timeout) => Err(RequestError::Timeout),
                Err(error) => panic!("{error} of request {number}, seed {seed}, {client:?}"),
            }
        } else {
            req.request(request, if mode == PROMPT { DEADLINE } else { timeout })
        };
        match result {
            Ok(reply) => {
                assert_ne!(mode, LATE, "request {number}, seed {seed}, {client:?}");
                assert_eq!(
                    reply.part(0),
                    Some(&number.to_be_bytes()[..]),
                    "seed {seed}, {client:?}"
                );
                answered += 1;
            }
            Err(RequestError::Timeout) => {
                assert_ne!(mode, PROMPT, "request {number}, seed {seed}, {client:?}");
            }
            Err(error) => panic!("{error} of request {number}, seed {seed}, {client:?}"),
        }
        given_up.send(number).unwrap();
    }
    drop(given_up);
    let end = req
        .request([&rounds.to_be_bytes()[..], &[PROMPT]], DEADLINE)
        .unwrap();
    assert_eq!(end.part(0), Some(&rounds.to_be_bytes()[..]));
    assert!(
        answered > 0 && answered < rounds,
        "{answered} of {rounds} answered, seed {seed}, {client:?}"
    );
    server.join().unwrap();
}

/// Answers as late as each request says, up to that with the number `last`.
fn late_server(mut rep: RepSocket, given_up: &Receiver<u32>, last: u32) {
    let mut over = 0;
    loop {
        let request = rep.next_timeout(DEADLINE).expect("a request in time");
        let body = request.message().clone();
        let number = u32::from_be_bytes(body.part(0).unwrap().try_into().unwrap());
        match body.part(1).unwrap()[0] {
            LATE => {
                // After the last request there is nothing to wait for.
                while over <= number {
                    over = given_up.recv().map_or(u32::MAX, |given_up| given_up + 1);
                }
            }
            CLOSE => {
                for _ in 0..number % 7 * 50 {
                    thread::yield_now();
                }
            }
            _ => {}
        }
        match request.reply(body) {
            Ok(()) | Err(SendError::PeerLost(_)) => {}
            Err(error) => panic!("{error}"),
        }
        if number == last {
            return;
        }
    }
}

/// Numbers as random as a test needs.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

on_every_wire! {
    /// A connection that breaks after the request was handed over takes the reply with it, and that is told at once.
    fn a_connection_that_breaks_is_missed_at_once(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut req = eager_req(&context);
        req.connect(endpoint.as_str()).unwrap();
        for round in 0..10 {
            let asking = thread::spawn(move || {
                let result = req.request(["request", "of two parts"], DEADLINE);
                (result, req)
            });
            let mut raw = listener.accept();
            raw.shake_hands("REP");
            assert_eq!(raw.read_message(), [&b""[..], b"request", b"of two parts"]);
            match round % 5 {
                // Half a reply is none.
                1 => raw.send(&frame(MORE, b"")),
                2 => raw.send(&[frame(MORE, b""), frame(MORE, b"half of it")].concat()),
                3 => raw.send(&message(&[b"", &pattern(100_000, 1)])[..50_000]),
                4 => raw.shutdown_write(),
                _ => {}
            }
            drop(raw);
            let result;
            (result, req) = asking.join().unwrap();
            assert!(matches!(result, Err(RequestError::PeerLost)), "{result:?}");
            assert!(!req.is_waiting());
        }
        let mut raw = {
            send(&mut req, "request");
            listener.accept()
        };
        raw.shake_hands("REP");
        assert_eq!(raw.read_message(), [&b""[..], b"request"]);
        raw.send(&message(&[b"", b"reply"]));
        assert_eq!(receive(&mut req).as_bytes(), b"reply");
    }

    /// The same where the REQ was dialed.
    fn an_accepted_connection_that_breaks_is_missed_at_once(transport) {
        let context = Context::new();
        let mut req = ReqSocket::new(&context);
        let endpoint = req.bind(transport.wildcard()).unwrap().to_string();
        for _ in 0..10 {
            let mut raw = Raw::peer(&endpoint, "REP");
            send(&mut req, "request");
            assert_eq!(raw.read_message(), [&b""[..], b"request"]);
            let closing = thread::spawn(move || drop(raw));
            assert_eq!(req.recv(), Err(RecvError::PeerLost));
            closing.join().unwrap();
        }
    }

    /// A reply that came before the connection broke is a reply.
    fn a_reply_of_a_server_that_went_is_heard(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut req = eager_req(&context);
        let monitor = req.monitor();
        req.connect(endpoint.as_str()).unwrap();
        for _ in 0..20 {
            send(&mut req, "request");
            let mut raw = listener.accept();
            raw.shake_hands("REP");
            raw.read_message();
            raw.send(&message(&[b"", b"last words"]));
            drop(raw);
            wait_for_end(&monitor);
            assert_eq!(receive(&mut req).as_bytes(), b"last words");
        }
    }

    /// A request of which the server had only read a part when it died goes to the next one, whole.
    fn a_request_that_was_half_written_is_sent_again(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut req = eager_req(&context);
        let monitor = req.monitor();
        req.connect(endpoint.as_str()).unwrap();
        let body = pattern(32 << 20, 1);
        send(&mut req, body.clone());
        for _ in 0..2 {
            let mut raw = listener.accept();
            raw.shake_hands("REP");
            assert_eq!(raw.read_frame(), (MORE, Vec::new()));
            assert_eq!(raw.read_header(), (0, body.len()));
            drop(raw);
            wait_for_end(&monitor);
            assert_eq!(req.try_recv(), Err(TryRecvError::Empty), "it is not lost");
        }
        let mut raw = listener.accept();
        raw.shake_hands("REP");
        assert!(raw.read_message() == [&b""[..], &body]);
        raw.send(&message(&[b"", b"reply"]));
        assert_eq!(receive(&mut req).as_bytes(), b"reply");
    }

    /// A request goes to a server that is there rather than to one that is not, and the loss of another is no matter.
    fn only_the_loss_of_the_asked_server_counts(transport) {
        let context = Context::new();
        let mut req = ReqSocket::new(&context);
        let monitor = req.monitor();
        let endpoint = req.bind(transport.wildcard()).unwrap().to_string();
        for _ in 0..10 {
            let mut asked = Raw::peer(&endpoint, "REP");
            wait_for_handshake(&monitor);
            send(&mut req, "request");
            asked.read_message();
            drop(Raw::peer(&endpoint, "REP"));
            wait_for_end(&monitor);
            assert_eq!(req.try_recv(), Err(TryRecvError::Empty));
            asked.send(&message(&[b"", b"reply"]));
            assert_eq!(receive(&mut req).as_bytes(), b"reply");
            drop(asked);
            wait_for_end(&monitor);
        }
    }

    /// A reply without an envelope costs the server its connection, and the request its reply. Others are not affected.
    fn a_reply_without_an_envelope_costs_its_connection(transport) {
        let context = Context::new();
        let mut req = ReqSocket::new(&context);
        let monitor = req.monitor();
        let endpoint = req.bind(transport.wildcard()).unwrap().to_string();
        let malformed: [&[&[u8]]; 5] = [&[b"reply"], &[b"reply", b"of two"], &[b""], &[b"id", b"", b"reply"], &[b"x", b""]];
        for parts in malformed {
            let mut raw = Raw::peer(&endpoint, "REP");
            wait_for_handshake(&monitor);
            send(&mut req, "request");
            raw.read_message();
            let mut good = Raw::peer(&endpoint, "REP");
            wait_for_handshake(&monitor);
            // Nothing behind it is heard either.
            raw.send(&[message(parts), message(&[b"", b"a reply after all"])].concat());
            assert_eq!(req.recv_timeout(DEADLINE), Err(RecvTimeoutError::PeerLost), "{parts:?}");
            assert_eq!(reason(&monitor), Reason::NoEnvelope, "{parts:?}");
            raw.read_to_hang_up();
            send(&mut req, "request");
            assert_eq!(good.read_message(), [&b""[..], b"request"]);
            good.send(&message(&[b"", b"reply"]));
            assert_eq!(receive(&mut req).as_bytes(), b"reply");
            drop(good);
            wait_for_end(&monitor);
        }
    }

    /// A server that is dialed and that does not keep to the format is dialed again, later.
    fn a_dialed_server_without_envelopes_gets_another_chance(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut req = eager_req(&context);
        let monitor = req.monitor();
        req.connect(endpoint.as_str()).unwrap();
        for _ in 0..3 {
            send(&mut req, "request");
            let mut raw = listener.accept();
            raw.shake_hands("REP");
            raw.read_message();
            raw.send(&message(&[b"no envelope"]));
            assert_eq!(req.recv_timeout(DEADLINE), Err(RecvTimeoutError::PeerLost));
            assert_eq!(reason(&monitor), Reason::NoEnvelope);
        }
        let mut rep = {
            drop(listener);
            let mut rep = RepSocket::new(&context);
            rep.bind(endpoint.as_str()).unwrap();
            rep
        };
        exchange(&mut req, &mut rep);
    }

    /// A request without an envelope costs its sender the connection, with all that it sent behind it, and nobody else
    /// anything.
    fn a_request_without_an_envelope_costs_its_connection(transport) {
        let context = Context::new();
        let (mut req, mut rep) = connect(&context, transport, false);
        let endpoint = rep.bind(transport.wildcard()).unwrap().to_string();
        let monitor = rep.monitor();
        let malformed: [&[&[u8]]; 4] = [&[b"request"], &[b"request", b"of two"], &[b"peer", b""], &[b"a", b"b", b"c"]];
        for parts in malformed {
            let mut raw = Raw::peer(&endpoint, "DEALER");
            send(&mut req, "good");
            raw.send(&[message(&[b"", b"good"]), message(parts), message(&[b"", b"bad"])].concat());
            for _ in 0..2 {
                let request = receive(&mut rep);
                assert_eq!(request.as_bytes(), b"good");
                send(&mut rep, request);
            }
            assert_eq!(receive(&mut req).as_bytes(), b"good");
            assert_eq!(rep.try_recv(), Err(TryRecvError::Empty));
            wait_until("the malformed one is noticed", || {
                assert_eq!(rep.try_recv(), Err(TryRecvError::Empty));
                let mut events = std::iter::from_fn(|| monitor.try_recv());
                events.any(|event| matches!(event, Event::Disconnected { reason: Reason::NoEnvelope, .. }))
            });
            assert!(raw.read_to_hang_up().ends_with(&message(&[b"", b"good"])));
            exchange(&mut req, &mut rep);
        }
    }

    /// A reply that waits for room ends with the connection that it waits for.
    fn a_reply_that_waits_ends_with_its_connection(transport) {
        let context = Context::new();
        let mut rep = RepSocket::builder(&context).send_hwm(1).send_buffer(65_536).build().unwrap();
        let endpoint = rep.bind(transport.wildcard()).unwrap().to_string();
        let mut raw = Raw::peer(&endpoint, "DEALER");
        for _ in 0..3 {
            raw.send(&message(&[b"", b"request"]));
        }
        // Too large for the kernel: the next one has to wait.
        receive(&mut rep);
        send(&mut rep, pattern(32 << 20, 1));
        receive(&mut rep);
        assert!(matches!(rep.try_send("reply"), Err(TrySendError::Full(_))));
        assert!(poll_once(pin!(rep.send_async("reply"))).is_pending());
        let closing = thread::spawn(move || drop(raw));
        match rep.send("reply") {
            Err(SendError::PeerLost(back)) => assert_eq!(back.as_bytes(), b"reply"),
            other => panic!("{other:?}"),
        }
        closing.join().unwrap();
        let mut req = ReqSocket::new(&context);
        req.connect(endpoint.as_str()).unwrap();
        send(&mut req, "how are you?");
        // What the peer had said before it went is still there to be heard.
        assert_eq!(receive(&mut rep).as_bytes(), b"request");
        assert!(matches!(rep.send("well"), Err(SendError::PeerLost(_))));
        assert_eq!(receive(&mut rep).as_bytes(), b"how are you?");
        send(&mut rep, "well");
        assert_eq!(receive(&mut req).as_bytes(), b"well");
    }

    /// Requests with an id are answered by that id only; what comes without or with another one is passed over.
    fn only_a_reply_with_the_right_id_counts(transport) {
        let context = Context::new();
        let mut req = ReqSocket::builder(&context).correlate(true).build().unwrap();
        let endpoint = req.bind(transport.wildcard()).unwrap().to_string();
        let mut raw = Raw::peer(&endpoint, "REP");
        let mut ids = Vec::new();
        for round in 0..10 {
            send(&mut req, "request");
            let parts = raw.read_message();
            assert_eq!(parts[1..], [&b""[..], b"request"]);
            let id = parts[0].clone();
            assert_eq!(id.len(), 4);
            assert!(!ids.contains(&id), "no id is used twice");
            for old in &ids {
                raw.send(&message(&[old, b"", b"late"]));
            }
            raw.send(&message(&[b"", b"without"]));
            raw.send(&message(&[&id[..3], b"", b"short"]));
            raw.send(&message(&[&[&id[..], &[0]].concat(), b"", b"long"]));
            raw.wait_until_read();
            assert_eq!(req.try_recv(), Err(TryRecvError::Empty));
            if round % 2 == 0 {
                raw.send(&message(&[&id, b"", b"reply"]));
                assert_eq!(receive(&mut req).as_bytes(), b"reply");
            } else {
                // The connection stays.
                req.give_up();
            }
            ids.push(id);
        }
        // The right id and no envelope is malformed all the same.
        send(&mut req, "request");
        let id = raw.read_message().remove(0);
        raw.send(&message(&[&id, b"no delimiter"]));
        assert_eq!(req.recv_timeout(DEADLINE), Err(RecvTimeoutError::PeerLost));
        raw.read_to_hang_up();
    }
}

on_every_transport! {
    /// A malformed message is told to its sender in the same way by sockets of this process: the connection is made anew.
    fn a_socket_without_envelopes_gets_another_chance(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut req = eager_req(&context);
        req.connect(&endpoint).unwrap();
        for _ in 0..3 {
            send(&mut req, "request");
            let (peer, _) = router.recv_from_timeout(DEADLINE).unwrap();
            router.send_to(&peer, "no envelope").unwrap();
            assert_eq!(req.recv_timeout(DEADLINE), Err(RecvTimeoutError::PeerLost));
            send(&mut req, "request");
            let (peer, request) = router.recv_from_timeout(DEADLINE).unwrap();
            router.send_to(&peer, request).unwrap();
            assert_eq!(receive(&mut req).as_bytes(), b"request");
        }
    }

    /// The same for requests.
    fn a_dealer_without_envelopes_gets_another_chance(transport) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let builder = DealerSocket::builder(&context).reconnect_min(Duration::from_millis(1));
        let mut dealer = builder.reconnect_max(Duration::from_millis(20)).build().unwrap();
        dealer.connect(&endpoint).unwrap();
        let (mut req, monitor) = (ReqSocket::new(&context), dealer.monitor());
        req.connect(&endpoint).unwrap();
        for _ in 0..3 {
            send(&mut dealer, ["no", "envelope"]);
            wait_until("it is told to go", || {
                assert_eq!(rep.try_recv(), Err(TryRecvError::Empty));
                transport.is_inproc() || matches!(monitor.try_recv(), Some(Event::Disconnected { .. }))
            });
            exchange(&mut req, &mut rep);
            send(&mut dealer, ["", "with envelope"]);
            assert_eq!(receive(&mut rep).as_bytes(), b"with envelope");
            send(&mut rep, "thank you");
            assert_eq!(receive(&mut dealer), Message::from(["", "thank you"]));
        }
    }

    /// Futures that are dropped at any time leave the sockets ready for the next request.
    fn dropped_futures_leave_the_sockets_usable(transport) {
        for (correlate, req_binds) in [(false, false), (true, false), (false, true), (true, true)] {
            let context = Context::new();
            let builder = ReqSocket::builder(&context).correlate(correlate).send_hwm(1);
            let mut req = builder.reconnect_min(Duration::from_millis(1)).build().unwrap();
            let builder = RepSocket::builder(&context);
            let mut rep = builder.reconnect_min(Duration::from_millis(1)).build().unwrap();
            // There is nobody to ask: the request was not sent, and its reply is not waited for.
            for _ in 0..5 {
                drop(req.request_async("never polled"));
                assert!(poll_once(pin!(req.request_async("dropped"))).is_pending());
                assert!(poll_once(pin!(req.send_async("dropped"))).is_pending());
                assert!(!req.is_waiting());
            }
            if req_binds {
                rep.connect(req.bind(transport.wildcard()).unwrap()).unwrap();
            } else {
                req.connect(rep.bind(transport.wildcard()).unwrap()).unwrap();
            }
            exchange_any(&mut req, &mut rep);
            for round in 0..20u32 {
                // Asked, and dropped before the reply, which comes all the same; or was there already.
                {
                    let mut request = pin!(req.request_async("dropped"));
                    wait_until("the request is sent", || {
                        assert!(poll_once(request.as_mut()).is_pending());
                        rep.try_recv().is_ok()
                    });
                    match round % 4 {
                        0 => {
                            rep.try_send("too late").unwrap();
                        }
                        1 => {
                            assert!(poll_once(request.as_mut()).is_pending());
                        }
                        _ => {}
                    }
                }
                assert!(!req.is_waiting());
                assert_eq!(req.try_recv(), Err(TryRecvError::WrongState));
                match round % 4 {
                    2 => {
                        // Who is gone is told so, unless ids make it no matter.
                        let _ = rep.try_send("too late");
                    }
                    3 => rep.dismiss(),
                    _ => {}
                }
                if rep.is_asked() {
                    rep.dismiss();
                }
                exchange_any(&mut req, &mut rep);
            }
            // The steps: a dropped wait for the reply leaves the request under way.
            for _ in 0..20 {
                for _ in 0..3 {
                    assert!(poll_once(pin!(rep.recv_async())).is_pending());
                    assert!(poll_once(pin!(rep.next_async())).is_pending());
                }
                block_on(req.send_async("steps")).unwrap();
                assert!(poll_once(pin!(req.recv_async())).is_pending());
                assert!(req.is_waiting());
                drop(rep.recv_async());
                assert_eq!(block_on(rep.next_async()).unwrap().message().as_bytes(), b"steps");
                // That request was dropped, and so dismissed.
                assert!(poll_once(pin!(req.recv_async())).is_pending());
                req.give_up();
                exchange_any(&mut req, &mut rep);
            }
        }
    }
}

/// A request and its reply, where earlier requests may still be on their way.
#[track_caller]
fn exchange_any(req: &mut ReqSocket, rep: &mut RepSocket) {
    let mut request = pin!(req.request_async("the one that counts"));
    let end = Instant::now() + DEADLINE;
    loop {
        match poll_once(request.as_mut()) {
            Poll::Ready(reply) => {
                assert_eq!(reply.unwrap().as_bytes(), b"the one that counts");
                return;
            }
            Poll::Pending => assert!(Instant::now() < end, "no reply in time"),
        }
        if let Ok(request) = rep.next_timeout(Duration::from_millis(1)) {
            let reply = request.message().clone();
            let _ = request.reply(reply);
        }
    }
}

/// Who does not look for long is not told of all the peers that came and went, but of the one that was asked.
#[test]
fn the_loss_of_who_was_asked_is_told_after_that_of_many_others() {
    with_deadline(|| {
        let context = Context::new();
        let mut req = ReqSocket::new(&context);
        req.connect("inproc://asked").unwrap();
        req.bind("inproc://others").unwrap();
        req.send("a question").unwrap();
        let mut rep = RepSocket::new(&context);
        rep.bind("inproc://asked").unwrap();
        assert_eq!(receive(&mut rep).as_bytes(), b"a question");
        drop(rep);
        for _ in 0..1000 {
            RepSocket::new(&context).connect("inproc://others").unwrap();
        }
        assert_eq!(req.recv_timeout(DEADLINE), Err(RecvTimeoutError::PeerLost));
    });
}
