//! Subscriptions reach publishers of the other library: those in effect, all of them, and again after a reconnect.

use std::time::Duration;

use zerowire::{
    Context, Message, PubSocket, SocketType, SubSocket, Told, Upstream, Verbosity, WaitError, XPubSocket,
    XSubSocket,
};
use zerowire_interop::{
    CALL_TIMEOUT, Cell, Deadline, Happening, Joined, Library, Libzmq, Peer, Place, Scratch, Side, Transport,
    assert_payload, matrix, payload,
};

matrix! {
    publishing:
    what_was_subscribed_to_arrives_and_nothing_else,
    ten_thousand_topics_are_all_known_and_so_they_are_after_a_reconnect,
}

mod with_omq {
    use super::*;

    matrix! {
        Omq publishing:
        what_was_subscribed_to_arrives_and_nothing_else,
        ten_thousand_topics_are_all_known_and_so_they_are_after_a_reconnect,
    }
}

fn what_was_subscribed_to_arrives_and_nothing_else(cell: Cell) {
    let long = vec![b'l'; 300];
    let topics = [
        b"a".to_vec(),
        b"b/c".to_vec(),
        vec![0, 0xff],
        vec![1],
        long.clone(),
        b"last".to_vec(),
    ];
    let scratch = Scratch::new();
    let (mut first, mut second) = cell.sides();
    cell.join_wanting(&topics, &mut first, &mut second, &scratch);
    let mut heard = publish(
        &mut first,
        &mut second,
        &[
            b"a",
            b"ab",
            b"b",
            b"b/",
            b"b/c",
            b"b/cd/e",
            b"c",
            b"",
            &[0],
            &[0, 0xff],
            &[0, 0xff, 0xff],
            &[1, 1],
            &long[..299],
            &long,
            b"A",
        ],
        b"last",
    );
    assert_eq!(heard.pop(), Some(long));
    assert_eq!(
        heard,
        [
            &b"a"[..],
            b"ab",
            b"b/c",
            b"b/cd/e",
            &[0, 0xff],
            &[0, 0xff, 0xff],
            &[1, 1]
        ]
    );

    // Subscriptions are counted. omq leaves that to the publisher: it sends a CANCEL each time, and the first one ends the
    // subscription at libzmq's publishers as at zerowire's.
    if cell.library(Place::Second) != Library::Omq {
        second.peer.subscribe(b"a");
        second.peer.unsubscribe(b"a");
    }
    second.peer.unsubscribe(b"b/c");
    second.peer.subscribe(b"second");
    cell.wait_until_heard(b"second", &mut first, &mut second);
    let heard = publish(&mut first, &mut second, &[b"a", b"b/c", b"last"], b"second");
    assert_eq!(heard, [&b"a"[..], b"last"]);
    second.peer.unsubscribe(b"a");
    second.peer.unsubscribe(b"last");
    second.peer.subscribe(b"b");
    second.peer.subscribe(b"third");
    cell.wait_until_heard(b"third", &mut first, &mut second);
    let heard = publish(&mut first, &mut second, &[b"a", b"b/c", b"last"], b"third");
    assert_eq!(heard, [b"b/c"]);
}

fn ten_thousand_topics_are_all_known_and_so_they_are_after_a_reconnect(cell: Cell) {
    const TOPICS: usize = 10_000;
    let topic = |number: usize| format!("topic/{number:05}/").into_bytes();
    let mut topics: Vec<Vec<u8>> = (0..TOPICS).map(topic).collect();
    // Either side of the last one, and now and then one in between.
    let samples: Vec<Vec<u8>> = (0..TOPICS).step_by(101).chain(9_990..10_010).map(topic).collect();
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    let known = |topics: &[Vec<u8>]| -> Vec<Vec<u8>> {
        let known = samples
            .iter()
            .filter(|sample| topics.iter().any(|topic| topic == *sample));
        known.map(|sample| sample.to_vec()).collect()
    };
    let scratch = Scratch::new();
    let (mut first, mut second) = cell.sides();
    let mut joined: Joined = cell.join_wanting(&topics, &mut first, &mut second, &scratch);
    let last = topic(TOPICS - 1);
    assert_eq!(publish(&mut first, &mut second, &samples, &last), known(&topics));

    // Every third one is given up.
    for topic in topics.iter().step_by(3) {
        second.peer.unsubscribe(topic);
    }
    topics = (0..TOPICS).filter(|number| number % 3 != 0).map(topic).collect();
    // The last one also for libzmq, which tells a new publisher what it wants in alphabetical order.
    let end = b"z";
    topics.push(end.to_vec());
    second.peer.subscribe(end);
    cell.wait_until_heard(end, &mut first, &mut second);
    assert_eq!(publish(&mut first, &mut second, &samples, end), known(&topics));

    joined.topics = topics;
    cell.replace_binder(&mut joined, &mut first, &mut second);
    assert_eq!(
        publish(&mut first, &mut second, &samples, end),
        known(&joined.topics)
    );
}

/// Publishes a message under each topic, and one at the end that arrives in any case. Returns the topics that arrived before.
#[track_caller]
fn publish(first: &mut Side, second: &mut Side, topics: &[&[u8]], end: &[u8]) -> Vec<Vec<u8>> {
    for topic in topics {
        first.say(&[topic.to_vec(), b"a message".to_vec()]);
    }
    first.say(&[end.to_vec(), b"the end".to_vec()]);
    let mut heard = Vec::new();
    loop {
        let body = second.hear();
        assert_eq!(body.len(), 2, "{body:?}");
        if body[1] == b"the end" {
            assert_eq!(body[0], end);
            return heard;
        }
        heard.push(body[0].clone());
    }
}

const TRANSPORTS: [Transport; 2] = [Transport::Tcp, Transport::Ipc];

#[test]
fn an_xpub_of_libzmq_hears_what_subscribers_of_zerowire_want() {
    let _deadline = Deadline::start("an XPUB of libzmq", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let mut xpub = Libzmq::new(SocketType::XPub);
        let endpoint = xpub.bind(&transport.fresh(&scratch));
        let mut sub = SubSocket::new(&Context::new());
        sub.subscribe("early").expect("subscribe");
        sub.connect(&*endpoint).expect("connect");
        assert_eq!(xpub.recv(), [b"\x01early"]);
        // Only the first subscription to a topic and the end of the last one are news.
        sub.subscribe("twice").expect("subscribe");
        assert_eq!(xpub.recv(), [b"\x01twice"]);
        sub.subscribe("twice").expect("subscribe");
        sub.unsubscribe("twice").expect("unsubscribe");
        sub.unsubscribe("early").expect("unsubscribe");
        assert_eq!(xpub.recv(), [b"\x00early"]);
        sub.unsubscribe("twice").expect("unsubscribe");
        assert_eq!(xpub.recv(), [b"\x00twice"]);
        // What ends with the connection ends at the XPUB.
        sub.subscribe("late").expect("subscribe");
        assert_eq!(xpub.recv(), [b"\x01late"]);
        drop(sub);
        assert_eq!(xpub.recv(), [b"\x00late"]);
    }
}

#[test]
fn a_verbose_xpub_of_libzmq_hears_each_subscription_of_zerowire() {
    let _deadline = Deadline::start("a verbose XPUB of libzmq", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        for verbose in [false, true] {
            let scratch = Scratch::new();
            let mut xpub = Libzmq::new(SocketType::XPub);
            xpub.socket.set_xpub_verbose(verbose).expect("XPUB_VERBOSE");
            let endpoint = xpub.bind(&transport.fresh(&scratch));
            let context = Context::new();
            let mut sub = SubSocket::new(&context);
            sub.connect(&*endpoint).expect("connect");
            sub.subscribe("topic").expect("subscribe");
            assert_eq!(xpub.recv(), [b"\x01topic"]);
            let mut xsub = XSubSocket::new(&context);
            xsub.connect(&*endpoint).expect("connect");
            for repetition in ["by another peer", "again"] {
                xsub.send("\x01topic").expect("send");
                if verbose {
                    assert_eq!(xpub.recv(), [b"\x01topic"], "{repetition}");
                }
            }
            xsub.send("\x01end").expect("send");
            assert_eq!(xpub.recv(), [b"\x01end"]);
            // Ends are heard once, verbose or not.
            sub.unsubscribe("topic").expect("unsubscribe");
            xsub.send("\x00topic").expect("send");
            xsub.send("\x00topic").expect("send");
            assert_eq!(xpub.recv(), [b"\x00topic"]);
            drop((sub, xsub));
            assert_eq!(xpub.recv(), [b"\x00end"]);
        }
    }
}

#[test]
fn an_xpub_of_zerowire_hears_of_subscribers_of_libzmq_what_it_wants_to() {
    let _deadline = Deadline::start("an XPUB of zerowire", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        for (verbosity, subscribed_again, ended_once) in [
            (Verbosity::Changes, false, false),
            (Verbosity::Subscriptions, true, false),
            (Verbosity::All, true, true),
        ] {
            let scratch = Scratch::new();
            let xpub = XPubSocket::builder(&Context::new()).verbosity(verbosity);
            let mut xpub = xpub.build().expect("options");
            let endpoint = Peer::bind(&mut xpub, &transport.fresh(&scratch));
            let mut subs = [SocketType::Sub, SocketType::XSub].map(|socket_type| {
                let mut sub = Libzmq::new(socket_type);
                sub.connect(&endpoint);
                sub
            });
            let [one, other] = &mut subs;
            one.subscribe(b"topic");
            assert_eq!(Peer::recv(&mut xpub), [b"\x01topic"]);
            other.subscribe(b"topic");
            if subscribed_again {
                assert_eq!(Peer::recv(&mut xpub), [b"\x01topic"], "{verbosity:?}");
            }
            // What each says comes in order, so this shows that nothing was left out but what should be.
            other.subscribe(b"end");
            assert_eq!(Peer::recv(&mut xpub), [b"\x01end"], "{verbosity:?}");
            one.unsubscribe(b"topic");
            one.subscribe(b"end 2");
            if ended_once {
                assert_eq!(Peer::recv(&mut xpub), [b"\x00topic"], "{verbosity:?}");
            }
            assert_eq!(Peer::recv(&mut xpub), [b"\x01end 2"], "{verbosity:?}");
            other.unsubscribe(b"topic");
            assert_eq!(Peer::recv(&mut xpub), [b"\x00topic"], "{verbosity:?}");
            // Whoever goes takes its subscriptions with it.
            let [one, other] = subs;
            drop(one);
            assert_eq!(Peer::recv(&mut xpub), [b"\x00end 2"], "{verbosity:?}");
            drop(other);
            assert_eq!(Peer::recv(&mut xpub), [b"\x00end"], "{verbosity:?}");
        }
    }
}

#[test]
fn an_xpub_of_zerowire_gets_other_messages_from_an_xsub_of_libzmq() {
    let _deadline = Deadline::start("messages to an XPUB of zerowire", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let mut xpub = XPubSocket::new(&Context::new());
        let endpoint = Peer::bind(&mut xpub, &transport.fresh(&scratch));
        let mut xsub = Libzmq::new(SocketType::XSub);
        xsub.connect(&endpoint);
        for message in upstream_messages() {
            xsub.send(&message);
            let heard = xpub.recv_timeout(CALL_TIMEOUT).expect("a message");
            assert_eq!(Upstream::of(&heard), Upstream::Other);
            assert_eq!(parts(&heard), message);
        }
        xsub.subscribe(b"and a topic");
        assert_eq!(Peer::recv(&mut xpub), [b"\x01and a topic"]);
    }
}

#[test]
fn an_xpub_of_libzmq_gets_other_messages_from_an_xsub_of_zerowire() {
    let _deadline = Deadline::start("messages to an XPUB of libzmq", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let mut xpub = Libzmq::new(SocketType::XPub);
        let endpoint = xpub.bind(&transport.fresh(&scratch));
        let mut xsub = XSubSocket::new(&Context::new());
        let watch = xsub.watch();
        Peer::connect(&mut xsub, &endpoint);
        watch.wait_for_handshakes(1);
        for message in upstream_messages() {
            let sent = xsub.send(Message::from_parts(message.iter().map(Vec::as_slice)));
            assert_eq!(sent.expect("send").queued, 1);
            assert_eq!(xpub.recv(), message);
        }
        xsub.send("\x01and a topic").expect("send");
        assert_eq!(xpub.recv(), [b"\x01and a topic"]);
    }
}

/// None of them begins like a subscription.
fn upstream_messages() -> Vec<Vec<Vec<u8>>> {
    vec![
        vec![b"a word".to_vec()],
        vec![vec![]],
        vec![b"two".to_vec(), b"parts".to_vec()],
        vec![vec![2; 60_000]],
    ]
}

#[test]
fn a_welcome_of_zerowire_reaches_a_subscriber_of_libzmq_first() {
    let _deadline = Deadline::start("a welcome of zerowire", 2 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let xpub = XPubSocket::builder(&Context::new()).welcome(["hello", "again"]);
        let mut xpub = xpub.build().expect("options");
        let endpoint = Peer::bind(&mut xpub, &transport.fresh(&scratch));
        for _ in 0..2 {
            let mut sub = Libzmq::new(SocketType::Sub);
            sub.subscribe(b"");
            sub.connect(&endpoint);
            assert_eq!(sub.recv(), [&b"hello"[..], b"again"]);
        }
    }
}

#[test]
fn a_welcome_of_libzmq_reaches_a_subscriber_of_zerowire_first() {
    let _deadline = Deadline::start("a welcome of libzmq", 2 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let mut xpub = Libzmq::new(SocketType::XPub);
        xpub.socket
            .set_xpub_welcome_msg(Some("hello"))
            .expect("XPUB_WELCOME_MSG");
        let endpoint = xpub.bind(&transport.fresh(&scratch));
        for _ in 0..2 {
            let mut sub = SubSocket::new(&Context::new());
            sub.subscribe("").expect("subscribe");
            Peer::connect(&mut sub, &endpoint);
            // libzmq greets only when its application calls.
            while !sub.knows_subscription(b"", Duration::from_millis(5)) {
                xpub.catch_up();
            }
            xpub.catch_up();
            assert_eq!(Peer::recv(&mut sub), [b"hello"]);
        }
    }
}

#[test]
fn a_manual_xpub_of_zerowire_decides_what_a_subscriber_of_libzmq_gets() {
    let _deadline = Deadline::start("a manual XPUB", 2 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let xpub = XPubSocket::builder(&Context::new()).manual(true);
        let mut xpub = xpub.build().expect("options");
        let endpoint = Peer::bind(&mut xpub, &transport.fresh(&scratch));
        let mut sub = Libzmq::new(SocketType::Sub);
        sub.connect(&endpoint);
        sub.subscribe(b"a");
        assert_eq!(Peer::recv(&mut xpub), [b"\x01a"]);
        assert_eq!(xpub.send("abc").expect("send").matched, 0);
        xpub.subscribe("ab").expect("answer the request");
        assert_eq!(xpub.send("ac").expect("send").matched, 0);
        assert_eq!(xpub.send("abd").expect("send").matched, 1);
        assert_eq!(sub.recv(), [b"abd"]);
        sub.unsubscribe(b"a");
        assert_eq!(Peer::recv(&mut xpub), [b"\x00a"]);
        assert_eq!(xpub.send("abe").expect("send").matched, 1);
        xpub.unsubscribe("ab").expect("answer the request");
        assert_eq!(xpub.send("abf").expect("send").matched, 0);
    }
}

#[test]
fn publishers_of_libzmq_acknowledge_subscriptions() {
    let _deadline = Deadline::start("wait_ready", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        for socket_type in [SocketType::Pub, SocketType::XPub] {
            let scratch = Scratch::new();
            let mut sub = SubSocket::new(&Context::new());
            sub.subscribe("a").expect("subscribe");
            let missing = transport_of_nobody(transport, &scratch);
            Peer::connect(&mut sub, &missing);
            assert_eq!(sub.wait_ready(Duration::from_millis(50)), Err(WaitError::Timeout));
            let mut publishers = [Libzmq::new(socket_type), Libzmq::new(socket_type)];
            let [one, other] = &mut publishers;
            let endpoint = one.bind(&transport.fresh(&scratch));
            Peer::connect(&mut sub, &endpoint);
            // One of the two is still missing.
            assert_eq!(sub.wait_ready(Duration::from_millis(50)), Err(WaitError::Timeout));
            other.bind(&missing);
            assert_eq!(sub.wait_ready(CALL_TIMEOUT), Ok(Told::Acknowledged));
            sub.subscribe("b").expect("subscribe");
            assert_eq!(sub.wait_ready(CALL_TIMEOUT), Ok(Told::Acknowledged));
            sub.unsubscribe("a").expect("unsubscribe");
            assert_eq!(sub.wait_ready(CALL_TIMEOUT), Ok(Told::Acknowledged));
            if socket_type == SocketType::XPub {
                for xpub in &mut publishers {
                    assert_eq!(xpub.recv(), [b"\x01a"]);
                    assert_eq!(xpub.recv(), [b"\x01b"]);
                    assert_eq!(xpub.recv(), [b"\x00a"]);
                }
            }
        }
    }
}

/// Now and then libzmq answers a PING before its application can see the subscription that came with it.
#[test]
fn what_libzmq_publishes_after_it_has_acknowledged_a_subscription_arrives() {
    let _deadline = Deadline::start("acknowledged subscriptions", 4 * CALL_TIMEOUT);
    let scratch = Scratch::new();
    for round in 0..500 {
        let mut publisher = Libzmq::new(SocketType::Pub);
        let endpoint = publisher.bind(&TRANSPORTS[round % 2].fresh(&scratch));
        let mut sub = SubSocket::new(&Context::new());
        Peer::connect(&mut sub, &endpoint);
        assert_eq!(sub.wait_ready(CALL_TIMEOUT), Ok(Told::Acknowledged));
        publisher.catch_up();
        sub.subscribe("").expect("subscribe");
        assert_eq!(sub.wait_ready(CALL_TIMEOUT), Ok(Told::Acknowledged));
        publisher.catch_up();
        publisher.send(&[b"a message".to_vec()]);
        assert_eq!(Peer::recv(&mut sub), [b"a message"], "round {round}");
    }
}

/// An endpoint at which nothing is bound, yet.
fn transport_of_nobody(transport: Transport, scratch: &Scratch) -> String {
    Libzmq::new(SocketType::Pull).bind(&transport.fresh(scratch))
}

#[test]
fn a_publisher_of_zerowire_counts_its_subscribers_of_libzmq() {
    let _deadline = Deadline::start("wait_for_subscribers", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let mut publisher = PubSocket::new(&Context::new());
        let watch = publisher.watch();
        let endpoint = Peer::bind(&mut publisher, &transport.fresh(&scratch));
        let mut subs: Vec<Libzmq> = (0..3)
            .map(|_| {
                let mut sub = Libzmq::new(SocketType::Sub);
                sub.connect(&endpoint);
                sub
            })
            .collect();
        watch.wait_for_handshakes(3);
        assert_eq!(publisher.subscribers(), 0);
        let short = Duration::from_millis(20);
        assert_eq!(publisher.wait_for_subscribers(1, short), Err(WaitError::Timeout));
        for (number, sub) in subs.iter_mut().enumerate() {
            sub.subscribe(b"all");
            sub.subscribe(format!("just {number}").as_bytes());
        }
        assert_eq!(publisher.wait_for_subscribers(3, CALL_TIMEOUT), Ok(()));
        assert_eq!(
            publisher.wait_for_subscribers_to("all of you", 3, CALL_TIMEOUT),
            Ok(())
        );
        assert_eq!(
            publisher.wait_for_subscribers_to("just 1", 1, CALL_TIMEOUT),
            Ok(())
        );
        assert_eq!(
            publisher.wait_for_subscribers_to("just 1", 2, short),
            Err(WaitError::Timeout)
        );
        assert_eq!(publisher.send("all").expect("send").queued, 3);
        assert_eq!(publisher.send("just 1").expect("send").queued, 1);
        for (number, sub) in subs.iter_mut().enumerate() {
            assert_eq!(sub.recv(), [b"all"]);
            if number == 1 {
                assert_eq!(sub.recv(), [b"just 1"]);
            }
        }
        subs.pop();
        watch.wait_for(&Happening::Disconnected);
        assert_eq!(publisher.subscribers(), 2);
        subs[0].unsubscribe(b"all");
        subs[0].unsubscribe(b"just 0");
        subs[0].subscribe(b"marker");
        assert_eq!(
            publisher.wait_for_subscribers_to("marker", 1, CALL_TIMEOUT),
            Ok(())
        );
        assert_eq!(publisher.send("all").expect("send").queued, 1);
        assert_eq!(publisher.subscribers(), 2);
    }
}

/// What a subscriber is too slow for is dropped and counted, and everything else arrives.
#[test]
fn a_slow_subscriber_of_libzmq_gets_exactly_what_was_queued() {
    let _deadline = Deadline::start("a slow subscriber", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let mut publisher = PubSocket::builder(&Context::new())
            .send_hwm(10)
            .build()
            .expect("options");
        let endpoint = Peer::bind(&mut publisher, &transport.fresh(&scratch));
        let mut sub = Libzmq::new(SocketType::Sub);
        sub.socket.set_rcvhwm(10).expect("RCVHWM");
        sub.subscribe(b"");
        sub.connect(&endpoint);
        publisher
            .wait_for_subscribers(1, CALL_TIMEOUT)
            .expect("a subscriber");
        let mut queued = Vec::new();
        let mut index = 0;
        while publisher.dropped() < 100 {
            let published = publisher.send(payload(index, 10_000)).expect("send");
            assert_eq!((published.matched, published.queued + published.dropped), (1, 1));
            queued.extend((published.queued == 1).then_some(index));
            index += 1;
        }
        assert_eq!(queued.len() as u64 + publisher.dropped(), index);
        for index in queued {
            let parts = sub.recv();
            assert_payload(&parts[0], index, 10_000);
        }
        // There is room again, and nothing else is on its way.
        while publisher.send("the end").expect("send").queued == 0 {}
        assert_eq!(sub.recv(), [b"the end"]);
    }
}

fn parts(message: &Message) -> Vec<Vec<u8>> {
    message.parts().map(<[u8]>::to_vec).collect()
}
