//! XPUB and XSUB: subscriptions that programs see, and forwarders made of them.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zerowire::{
    Builder, Context, Endpoint, Message, PubSocket, Published, RecvTimeoutError, SendError, SubSocket,
    SubscribeError, Told, TryRecvError, Upstream, Verbosity, XPubSocket, XSubSocket,
};

use crate::executors::{block_on, poll_once};
use crate::publishing::on_the_wire::{Flood, cancel, raw_subscriber, subscribe, subscription_message, sync};
use crate::publishing::{eager_sub, hear, hear_to_end, publisher, ready, subscriber, to};
use crate::raw::{RawListener, message};
use crate::support::{
    DEADLINE, Transport, number, receive, wait_for_end, wait_for_handshake, wait_until, with_deadline,
};
use crate::{on_every_transport, on_every_wire};

/// A bound XPUB.
pub fn xpub(
    context: &Context,
    transport: Transport,
    options: impl FnOnce(Builder<XPubSocket>) -> Builder<XPubSocket>,
) -> (XPubSocket, Endpoint) {
    let mut xpub = options(XPubSocket::builder(context)).build().unwrap();
    let endpoint = xpub.bind(transport.wildcard()).unwrap();
    (xpub, endpoint)
}

/// An XSUB whose publishers know that it wants these topics.
#[track_caller]
fn xsub(context: &Context, endpoint: &Endpoint, topics: &[&str]) -> XSubSocket {
    let mut xsub = XSubSocket::new(context);
    for topic in topics {
        xsub.subscribe(topic).unwrap();
    }
    xsub.connect(endpoint).unwrap();
    assert_eq!(xsub.wait_ready(DEADLINE), Ok(Told::Acknowledged));
    xsub
}

/// A message from upstream in short: `+topic`, `-topic`, or what it says.
fn short(message: &Message) -> String {
    match Upstream::of(message) {
        Upstream::Subscribe(topic) => format!("+{}", String::from_utf8_lossy(topic)),
        Upstream::Unsubscribe(topic) => format!("-{}", String::from_utf8_lossy(topic)),
        Upstream::Other => message
            .parts()
            .map(String::from_utf8_lossy)
            .collect::<Vec<_>>()
            .join(" | "),
    }
}

/// Receives the next message from upstream.
#[track_caller]
pub fn news(xpub: &mut XPubSocket) -> String {
    short(&receive(xpub))
}

/// Receives what there is from upstream.
pub fn all_news(xpub: &mut XPubSocket) -> Vec<String> {
    std::iter::from_fn(|| xpub.try_recv().ok())
        .map(|message| short(&message))
        .collect()
}

/// A waker that counts.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

on_every_transport! {
    /// What is received of subscriptions depends on how much the application wants to see.
    fn verbosity_says_which_subscriptions_are_received(transport) {
        for (verbosity, repeated, each_end) in [
            (Verbosity::Changes, false, false),
            (Verbosity::Subscriptions, true, false),
            (Verbosity::All, true, true),
        ] {
            let context = Context::new();
            let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder.verbosity(verbosity));
            let expect = |xpub: &mut XPubSocket, is_received: bool, what: &str| {
                let expected: &[&str] = if is_received { &[what] } else { &[] };
                assert_eq!(all_news(xpub), expected, "with {verbosity:?}");
            };
            let (mut one, mut other) = (subscriber(&context, &endpoint, &[]), subscriber(&context, &endpoint, &[]));
            for _ in 0..3 {
                one.subscribe("a").unwrap();
                ready(&mut one);
                expect(&mut xpub, true, "+a");
                other.subscribe("a").unwrap();
                ready(&mut other);
                expect(&mut xpub, repeated, "+a");
                // One peer's own second subscription is between it and its socket.
                other.subscribe("a").unwrap();
                other.unsubscribe("a").unwrap();
                ready(&mut other);
                expect(&mut xpub, false, "");
                one.unsubscribe("a").unwrap();
                ready(&mut one);
                expect(&mut xpub, each_end, "-a");
                other.unsubscribe("a").unwrap();
                ready(&mut other);
                expect(&mut xpub, true, "-a");
            }
            // The end of a connection is the end of its subscriptions.
            one.subscribe("b").unwrap();
            ready(&mut one);
            expect(&mut xpub, true, "+b");
            other.subscribe("b").unwrap();
            ready(&mut other);
            expect(&mut xpub, repeated, "+b");
            drop(one);
            wait_until("one has left", || xpub.subscribers() == 1);
            expect(&mut xpub, each_end, "-b");
            drop(other);
            wait_until("the other has left", || xpub.subscribers() == 0);
            expect(&mut xpub, true, "-b");
        }
    }

    /// A change that was undone before it was received is no news.
    fn what_is_void_is_not_received(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder);
        let mut one = subscriber(&context, &endpoint, &["kept"]);
        assert_eq!(news(&mut xpub), "+kept");
        for _ in 0..100 {
            for topic in ["a", "b", "c"] {
                one.subscribe(topic).unwrap();
                ready(&mut one);
                one.unsubscribe(topic).unwrap();
                ready(&mut one);
            }
        }
        one.unsubscribe("kept").unwrap();
        ready(&mut one);
        one.subscribe("kept").unwrap();
        ready(&mut one);
        let passing = subscriber(&context, &endpoint, &["d"]);
        xpub.wait_for_subscribers(2, DEADLINE).unwrap();
        drop(passing);
        wait_until("the second has left", || xpub.subscribers() == 1);
        one.subscribe("end").unwrap();
        ready(&mut one);
        assert_eq!(all_news(&mut xpub), ["+end"]);
        assert_eq!(xpub.send("kept").unwrap(), to(1));
    }

    /// A receive that waits is woken by a subscription, and by the end of one however it comes.
    fn a_blocked_receive_is_woken_by_subscriptions_and_losses(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder);
        let mut staying = subscriber(&context, &endpoint, &[]);
        let in_turn = |xpub: XPubSocket, action: &mut dyn FnMut()| {
            let mut xpub = xpub;
            let receiver = thread::spawn(move || {
                let news = news(&mut xpub);
                (xpub, news)
            });
            action();
            receiver.join().unwrap()
        };
        let mut news;
        for _ in 0..20 {
            let mut leaving = eager_sub(&context);
            leaving.connect(&endpoint).unwrap();
            (xpub, news) = in_turn(xpub, &mut || leaving.subscribe("a").unwrap());
            assert_eq!(news, "+a");
            (xpub, news) = in_turn(xpub, &mut || leaving.disconnect(&endpoint).unwrap());
            assert_eq!(news, "-a");
            leaving.connect(&endpoint).unwrap();
            assert_eq!(self::news(&mut xpub), "+a");
            let mut leaving = Some(leaving);
            (xpub, news) = in_turn(xpub, &mut || drop(leaving.take()));
            assert_eq!(news, "-a");
            (xpub, news) = in_turn(xpub, &mut || staying.subscribe("b").unwrap());
            assert_eq!(news, "+b");
            (xpub, news) = in_turn(xpub, &mut || staying.unsubscribe("b").unwrap());
            assert_eq!(news, "-b");
        }
        assert_eq!(all_news(&mut xpub), [""; 0]);
    }

    /// The same for a task: it is woken, and finds what it was woken for.
    fn a_pending_receive_is_woken_by_subscriptions_and_losses(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder);
        for round in 0..20 {
            let topic = round.to_string();
            let mut leaving = Some(subscriber(&context, &endpoint, &[]));
            // What there is to do with a new peer is done.
            assert_eq!(xpub.try_recv(), Err(TryRecvError::Empty));
            for expected in [format!("+{topic}"), format!("-{topic}")] {
                let count = Arc::new(Count(AtomicUsize::new(0)));
                let waker = Waker::from(count.clone());
                let mut future = pin!(xpub.recv_async());
                assert!(future.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending());
                if expected.starts_with('+') {
                    leaving.as_mut().unwrap().subscribe(&topic).unwrap();
                } else {
                    drop(leaving.take());
                }
                let end = Instant::now() + DEADLINE;
                loop {
                    wait_until("the wake-up", || count.0.swap(0, Ordering::SeqCst) > 0);
                    // A wake-up is a hint.
                    if let Poll::Ready(message) = future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
                        assert_eq!(short(&message.unwrap()), expected);
                        break;
                    }
                    assert!(Instant::now() < end, "woken for nothing again and again");
                }
            }
        }
    }

    /// Futures that are dropped lose no news, and keep their order.
    fn a_dropped_receive_future_loses_no_news(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder);
        let sender = thread::spawn(move || {
            let mut xsub = xsub(&context, &endpoint, &[]);
            for number in 0..3000u32 {
                xsub.subscribe(number.to_be_bytes()).unwrap();
            }
            xsub
        });
        let end = Instant::now() + DEADLINE;
        let mut expected = 0u32;
        while expected < 3000 {
            match poll_once(pin!(xpub.recv_async())) {
                Poll::Ready(message) => {
                    let message = message.unwrap();
                    assert_eq!(Upstream::of(&message), Upstream::Subscribe(&expected.to_be_bytes()));
                    expected += 1;
                }
                Poll::Pending => {
                    assert!(Instant::now() < end, "{expected} of 3,000");
                    thread::yield_now();
                }
            }
        }
        let mut xsub = sender.join().unwrap();
        assert_eq!(block_on(xpub.send_async(&7u32.to_be_bytes())).unwrap(), to(1));
        assert_eq!(number(&block_on(xsub.recv_async()).unwrap()), 7);
    }

    /// In manual mode a subscription does nothing but be received, and the application decides for the peer that sent it.
    fn in_manual_mode_the_application_decides(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder.manual(true));
        assert_eq!(xpub.subscribe("a"), Err(SubscribeError::NoRequest));
        assert_eq!(xpub.unsubscribe("a"), Err(SubscribeError::NoRequest));
        let (mut one, mut other) = (xsub(&context, &endpoint, &["a"]), xsub(&context, &endpoint, &[]));
        assert_eq!(news(&mut xpub), "+a");
        assert_eq!(xpub.send("a").unwrap(), to(0));
        assert_eq!(xpub.subscribers(), 0);
        xpub.subscribe("something else").unwrap();
        xpub.subscribe("and more").unwrap();
        assert_eq!(xpub.send("a").unwrap(), to(0));
        assert_eq!(xpub.send("something else").unwrap(), to(1));
        assert_eq!(xpub.send("and more").unwrap(), to(1));
        assert_eq!(hear(&mut one), "something else");
        assert_eq!(hear(&mut one), "and more");

        // Whose request was received last counts, not who said something last.
        other.subscribe("b").unwrap();
        one.subscribe("c").unwrap();
        assert_eq!(other.wait_ready(DEADLINE), Ok(Told::Acknowledged));
        assert_eq!(one.wait_ready(DEADLINE), Ok(Told::Acknowledged));
        let mut requests = BTreeSet::new();
        for _ in 0..2 {
            let request = news(&mut xpub);
            xpub.subscribe(format!("for {request}")).unwrap();
            requests.insert(request);
        }
        assert_eq!(requests, BTreeSet::from(["+b".into(), "+c".into()]));
        assert_eq!(xpub.send("for +b").unwrap(), to(1));
        assert_eq!(xpub.send("for +c").unwrap(), to(1));
        assert_eq!(hear(&mut other), "for +b");
        assert_eq!(hear(&mut one), "for +c");

        // The end of a subscription is a request like others, and is not answered by itself.
        other.unsubscribe("b").unwrap();
        assert_eq!(news(&mut xpub), "-b");
        assert_eq!(xpub.send("for +b").unwrap(), to(1));
        assert_eq!(hear(&mut other), "for +b");
        xpub.unsubscribe("for +b").unwrap();
        xpub.unsubscribe("what it never had").unwrap();
        assert_eq!(xpub.send("for +b").unwrap(), to(0));
        // So is any other message.
        assert_eq!(other.send("hello").unwrap(), to(1));
        assert_eq!(news(&mut xpub), "hello");
        xpub.subscribe("you said hello").unwrap();
        assert_eq!(xpub.send("you said hello").unwrap(), to(1));
        assert_eq!(hear(&mut other), "you said hello");
    }

    /// Who asked and has gone cannot be answered, and what it was given ends.
    fn in_manual_mode_a_peer_that_has_gone_gets_nothing(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder.manual(true));
        let one = xsub(&context, &endpoint, &["a"]);
        assert_eq!(news(&mut xpub), "+a");
        xpub.subscribe("b").unwrap();
        drop(one);
        assert_eq!(news(&mut xpub), "-b");
        assert_eq!(xpub.subscribe("b"), Err(SubscribeError::NoRequest));
        assert_eq!(xpub.send("b").unwrap(), to(0));
        let _other = xsub(&context, &endpoint, &["c"]);
        assert_eq!(news(&mut xpub), "+c");
        xpub.subscribe("d").unwrap();
        assert_eq!(xpub.send("d").unwrap(), to(1));
        let gone = xsub(&context, &endpoint, &["e"]);
        assert_eq!(news(&mut xpub), "+e");
        drop(gone);
        wait_until("it has gone", || xpub.subscribe("f") == Err(SubscribeError::NoRequest));
        assert_eq!(xpub.unsubscribe("f"), Err(SubscribeError::NoRequest));
    }

    /// Requests beyond the mark wait outside, none is lost, and they stay in order.
    fn in_manual_mode_requests_are_bounded(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder.manual(true).receive_hwm(5));
        let mut xsub = XSubSocket::new(&context);
        xsub.connect(&endpoint).unwrap();
        for number in 0..300 {
            xsub.subscribe(number.to_string()).unwrap();
        }
        for number in 0..300 {
            assert_eq!(news(&mut xpub), format!("+{number}"));
            xpub.subscribe("yes").unwrap();
        }
        assert_eq!(xpub.send("yes").unwrap(), to(1));
        assert_eq!(hear(&mut xsub), "yes");
    }

    /// The welcome comes to each peer with each of its connections, before anything else, whatever it subscribes to; whether
    /// it is received is up to who filters.
    fn the_welcome_comes_first(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let welcome = Message::from([&b"welcome"[..], b"", &[b'.'; 5000]]);
        let mut everything = XSubSocket::builder(&context).reconnect_min(Duration::from_millis(1)).build().unwrap();
        everything.connect(endpoint.as_str()).unwrap();
        everything.subscribe("a").unwrap();
        let mut interested = eager_sub(&context);
        interested.connect(endpoint.as_str()).unwrap();
        interested.subscribe("wel").unwrap();
        interested.subscribe("a").unwrap();
        let mut others = eager_sub(&context);
        others.connect(endpoint.as_str()).unwrap();
        others.subscribe("a").unwrap();
        for _ in 0..3 {
            let mut xpub = XPubSocket::builder(&context).welcome(welcome.clone()).build().unwrap();
            xpub.bind(endpoint.as_str()).unwrap();
            xpub.wait_for_subscribers_to("a", 3, DEADLINE).unwrap();
            assert_eq!(xpub.send("a").unwrap(), to(3));
            assert_eq!(receive(&mut everything), welcome);
            assert_eq!(hear(&mut everything), "a");
            assert_eq!(receive(&mut interested), welcome);
            assert_eq!(hear(&mut interested), "a");
            assert_eq!(hear(&mut others), "a");
            xpub.unbind(endpoint.as_str()).unwrap();
        }
    }

    /// An XSUB may say anything to its publishers: an XPUB receives it, a PUB does not mind.
    fn messages_go_upstream(transport) {
        let context = Context::new();
        let (mut xpub, upstream) = xpub(&context, transport, |builder| builder);
        let (mut plain, other) = publisher(&context, transport);
        let mut xsub = XSubSocket::new(&context);
        assert_eq!(xsub.send("to nobody").unwrap(), to(0));
        xsub.connect(&upstream).unwrap();
        assert_eq!(xsub.wait_ready(DEADLINE), Ok(Told::Acknowledged));
        let sent = [
            Message::from("hello"),
            Message::from(""),
            Message::from(["one", "", "three"]),
            Message::from(vec![b'.'; 10_000]),
            // These begin like subscriptions, and are none.
            Message::from(["\u{1}a", ""]),
            Message::from(["\0a", "b"]),
            Message::from("\u{2}"),
        ];
        for message in &sent {
            assert_eq!(xsub.send(message.clone()).unwrap(), to(1));
        }
        for message in &sent {
            let received = receive(&mut xpub);
            assert_eq!(Upstream::of(&received), Upstream::Other);
            assert_eq!(received, *message);
        }
        xsub.connect(&other).unwrap();
        assert_eq!(xsub.wait_ready(DEADLINE), Ok(Told::Acknowledged));
        assert_eq!(xsub.send("to both").unwrap(), to(2));
        assert_eq!(news(&mut xpub), "to both");
        xsub.subscribe("a").unwrap();
        assert_eq!(news(&mut xpub), "+a");
        plain.wait_for_subscribers(1, DEADLINE).unwrap();
        assert_eq!(plain.send("a").unwrap(), to(1));
        assert_eq!(hear(&mut xsub), "a");
        // It has disconnected, and says no more.
        xsub.disconnect(&upstream).unwrap();
        assert_eq!(news(&mut xpub), "-a");
        wait_until("the message is for one", || xsub.send("to the other").unwrap() == to(1));
        assert_eq!(xpub.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
    }

    /// In this process it is at once that who has disconnected from a publisher says nothing more to it.
    fn nothing_goes_upstream_after_disconnecting(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder);
        let mut xsub = xsub(&context, &endpoint, &["a"]);
        assert_eq!(news(&mut xpub), "+a");
        assert_eq!(xsub.send("before").unwrap(), to(1));
        xsub.disconnect(&endpoint).unwrap();
        if transport.is_inproc() {
            assert_eq!(xsub.send("after").unwrap(), to(0));
        }
        xsub.subscribe("b").unwrap();
        assert_eq!(BTreeSet::from([news(&mut xpub), news(&mut xpub)]), BTreeSet::from(["before".into(), "-a".into()]));
        assert_eq!(xpub.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
    }

    /// A publisher that does not take what comes from upstream costs messages, which are counted, and no time.
    fn messages_upstream_are_dropped_at_the_mark(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder.receive_hwm(10));
        let mut xsub = XSubSocket::builder(&context).send_hwm(10).build().unwrap();
        xsub.connect(&endpoint).unwrap();
        assert_eq!(xsub.wait_ready(DEADLINE), Ok(Told::Acknowledged));
        let body = vec![b'.'; 50_000];
        let (mut queued, mut dropped) = (Vec::new(), 0u64);
        for number in 0..u32::MAX {
            let published = xsub.send([&number.to_be_bytes()[..], &body]).unwrap();
            assert_eq!(published.matched, 1);
            match published {
                Published { queued: 1, dropped: 0, .. } => queued.push(number),
                Published { queued: 0, dropped: 1, .. } => dropped += 1,
                other => panic!("{other:?}"),
            }
            assert_eq!(xsub.dropped(), dropped);
            if dropped == 50 {
                break;
            }
        }
        if transport.is_inproc() {
            assert_eq!(queued, (0..10).collect::<Vec<_>>());
        }
        // Subscriptions are not messages: they are not lost.
        xsub.subscribe("a").unwrap();
        let mut heard = Vec::new();
        let mut subscriptions = 0;
        while heard.len() < queued.len() || subscriptions == 0 {
            let message = receive(&mut xpub);
            match Upstream::of(&message) {
                Upstream::Subscribe(b"a") => subscriptions += 1,
                Upstream::Other => heard.push(u32::from_be_bytes(message.part(0).unwrap().try_into().unwrap())),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((heard, subscriptions), (queued, 1));
        assert_eq!(xsub.send("room").unwrap(), to(1));
        assert_eq!(news(&mut xpub), "room");
    }

    /// Subscriptions may be messages or calls, which count together; what is over the limit comes back.
    fn an_xsub_subscribes_by_messages(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let mut xsub = xsub(&context, &endpoint, &["a"]);
        assert_eq!(xsub.send("\u{1}a").unwrap(), Published::default());
        xsub.send("\u{1}b").unwrap();
        xsub.subscribe("b").unwrap();
        let ready = |xsub: &mut XSubSocket| assert_eq!(xsub.wait_ready(DEADLINE), Ok(Told::Acknowledged));
        ready(&mut xsub);
        for (end, left) in [("\0a", 1), ("\0a", 0), ("\0a", 0), ("\0never", 0)] {
            xsub.send(end).unwrap();
            ready(&mut xsub);
            assert_eq!(publisher.send("a").unwrap(), to(left), "after {end:?}");
        }
        assert!(matches!(xsub.unsubscribe("a"), Err(SubscribeError::NotSubscribed { .. })));
        xsub.unsubscribe("b").unwrap();
        ready(&mut xsub);
        assert_eq!(publisher.send("b").unwrap(), to(1));
        xsub.send("\0b").unwrap();
        ready(&mut xsub);
        assert_eq!(publisher.send("b").unwrap(), to(0));

        let long = [&b"\x01"[..], &[b'x'; (16 << 10) + 1]].concat();
        match xsub.send(long.clone()) {
            Err(SendError::TooLarge(back)) => assert_eq!(back.as_bytes(), long),
            other => panic!("{other:?}"),
        }
        xsub.send(&long[..1 + (16 << 10)]).unwrap();
        ready(&mut xsub);
        assert_eq!(publisher.send(&long[1..]).unwrap(), to(1));
        // Without a filter, what was given up and is on its way is received.
        for expected in ["a", "b"] {
            assert_eq!(hear(&mut xsub), expected);
        }
        assert!(receive(&mut xsub).as_bytes() == &long[1..]);
    }

    /// A publisher that wants to see each subscription does see those that an XSUB repeats.
    fn an_xsub_announces_each_subscription(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder.verbosity(Verbosity::Subscriptions));
        let mut xsub = xsub(&context, &endpoint, &[]);
        for _ in 0..5 {
            xsub.send("\u{1}a").unwrap();
            assert_eq!(news(&mut xpub), "+a");
            assert_eq!(xpub.send("a, for the newcomer").unwrap(), to(1));
            assert_eq!(hear(&mut xsub), "a, for the newcomer");
        }
        for _ in 0..5 {
            xsub.send("\0a").unwrap();
        }
        assert_eq!(news(&mut xpub), "-a");
        assert_eq!(all_news(&mut xpub), [""; 0]);
    }

    /// Through one forwarder and through two: whoever comes and goes, the source ends up with exactly what is wanted.
    fn forwarders_pass_on_exactly_what_is_wanted(transport) {
        for forwarders in [1, 2] {
            let context = Context::new();
            let (mut source, mut endpoint) = publisher(&context, transport);
            let mut running = Vec::new();
            for _ in 0..forwarders {
                let forwarder = Forwarder::start(&context, transport, &endpoint.to_string(), |builder| builder);
                endpoint = forwarder.endpoint.clone();
                running.push(forwarder);
            }
            let mut crowd = Crowd::visit(&context, &endpoint);
            crowd.check(&mut source);
            // When all have left, nothing is wanted.
            drop(crowd);
            wait_until("nothing is wanted any more", || source.subscribers() == 0);
            running.into_iter().rev().for_each(Forwarder::stop);
        }
    }

    /// The same when the source is replaced in the middle of it.
    fn a_forwarder_survives_a_restart_of_the_source(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let forwarder = Forwarder::start(&context, transport, &endpoint, |builder| builder);
        let crowd = {
            let (context, endpoint) = (context.clone(), forwarder.endpoint.clone());
            thread::spawn(move || Crowd::visit(&context, &endpoint))
        };
        let mut restarts = 0;
        while restarts < 5 || !crowd.is_finished() {
            let mut source = PubSocket::new(&context);
            source.bind(endpoint.as_str()).unwrap();
            let _ = source.wait_for_subscribers(1, Duration::from_millis(20));
            source.unbind(endpoint.as_str()).unwrap();
            restarts += 1;
        }
        let mut crowd = crowd.join().unwrap();
        let mut source = PubSocket::new(&context);
        source.bind(endpoint.as_str()).unwrap();
        crowd.check(&mut source);
        drop(crowd);
        forwarder.stop();
    }
}

on_every_wire! {
    /// A connection that just breaks is the end of its subscriptions, of each topic once.
    fn the_loss_of_a_peer_ends_its_subscriptions(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder);
        let monitor = xpub.monitor();
        let _staying = subscriber(&context, &endpoint, &["b"]);
        assert_eq!(news(&mut xpub), "+b");
        for _ in 0..10 {
            let mut raw = raw_subscriber(&endpoint.to_string(), 1);
            raw.send(&[subscribe(b"a"), subscription_message(true, b"b"), subscribe(b"c"), subscribe(b"c")].concat());
            assert_eq!((news(&mut xpub), news(&mut xpub)), ("+a".into(), "+c".into()));
            raw.send(&[cancel(b"c"), cancel(b"x"), subscribe(b"d")].concat());
            // Half of a message is the last that is heard of it.
            raw.send(&subscribe(b"half")[..8]);
            assert_eq!((news(&mut xpub), news(&mut xpub)), ("-c".into(), "+d".into()));
            drop(raw);
            wait_for_end(&monitor);
            let mut ends = [news(&mut xpub), news(&mut xpub)];
            ends.sort();
            assert_eq!(ends, ["-a", "-d"]);
            assert_eq!(all_news(&mut xpub), [""; 0]);
        }
    }

    /// What a peer says is received in the order in which it says it, whatever form that has.
    fn everything_a_peer_says_is_received_in_order(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder.receive_hwm(3));
        let mut raw = raw_subscriber(&endpoint.to_string(), 1);
        raw.send(&[
            subscribe(b"a"),
            message(&[b"one"]),
            subscription_message(true, b"b"),
            message(&[b"two", b"2"]),
            message(&[b""]),
            subscribe(b"c"),
            message(&[b"three"]),
            message(&[b"four"]),
            message(&[b"five"]),
        ]
        .concat());
        for expected in ["+a", "one", "+b", "two | 2", "", "+c", "three", "four", "five"] {
            assert_eq!(news(&mut xpub), expected);
        }
        raw.send(&[cancel(b"a"), message(&[b"six"]), subscription_message(false, b"c"), message(&[b"seven"])].concat());
        for expected in ["-a", "six", "-c", "seven"] {
            assert_eq!(news(&mut xpub), expected);
        }
        sync(&mut raw);
        assert_eq!(all_news(&mut xpub), [""; 0]);
    }

    /// An XSUB takes whatever its publishers send, and says subscriptions as its publisher understands them.
    fn an_xsub_receives_everything_and_speaks_both_versions(transport) {
        let context = Context::new();
        for minor in [0, 1] {
            let endpoint = transport.fresh();
            let listener = RawListener::bind(&endpoint);
            let mut xsub = XSubSocket::new(&context);
            xsub.connect(endpoint.as_str()).unwrap();
            let mut raw = listener.accept();
            crate::publishing::on_the_wire::shake_hands_as(&mut raw, minor, "XPUB");
            xsub.send("\u{1}a").unwrap();
            xsub.wait_ready(if minor == 0 { DEADLINE } else { Duration::ZERO }).ok();
            let mut expect = |expected: (u8, &[u8])| loop {
                let (flags, body) = raw.read_frame();
                if body.starts_with(b"\x04PING") && flags == crate::raw::COMMAND {
                    assert_eq!(minor, 1, "a publisher of 3.0 knows no PING");
                    continue;
                }
                assert_eq!((flags, &body[..]), expected);
                break;
            };
            let command = crate::raw::COMMAND;
            expect(if minor == 0 { (0, b"\x01a") } else { (command, b"\x09SUBSCRIBEa") });
            xsub.send("hello").unwrap();
            expect((0, b"hello"));
            xsub.send(["\u{1}two", "parts"]).unwrap();
            expect((crate::raw::MORE, b"\x01two"));
            expect((0, b"parts"));
            xsub.unsubscribe("a").unwrap();
            expect(if minor == 0 { (0, b"\0a") } else { (command, b"\x06CANCELa") });
            raw.send(&[message(&[b"a"]), message(&[b"b", b""]), message(&[b""])].concat());
            assert_eq!(hear(&mut xsub), "a");
            assert!(receive(&mut xsub).parts().eq([&b"b"[..], b""]));
            assert_eq!(hear(&mut xsub), "");
        }
    }

    /// A flood of changes that come to nothing does not keep a receive from its end, and what others say is heard.
    fn a_flood_of_changes_does_not_keep_a_receive_from_its_end(transport) {
        let context = Context::new();
        let (mut xpub, endpoint) = xpub(&context, transport, |builder| builder);
        let monitor = xpub.monitor();
        let flood = Flood::start(&endpoint.to_string(), "SUB", {
            (0..100u8).flat_map(|number| [subscribe(&[b'x', number]), cancel(&[b'x', number])].concat())
        });
        wait_for_handshake(&monitor);
        for _ in 0..20 {
            let (start, wait) = (Instant::now(), Duration::from_millis(5));
            match xpub.recv_timeout(wait) {
                Ok(message) => assert!(short(&message)[1..].starts_with('x')),
                Err(RecvTimeoutError::Timeout) => assert!(start.elapsed() >= wait),
                Err(other) => panic!("{other}"),
            }
            if let Poll::Ready(message) = poll_once(pin!(xpub.recv_async())) {
                assert!(short(&message.unwrap())[1..].starts_with('x'));
            }
        }
        let mut good = subscriber(&context, &endpoint, &[]);
        for number in 0..100 {
            let topic = format!("good {number}");
            good.subscribe(&topic).unwrap();
            while news(&mut xpub) != format!("+{topic}") {}
            assert_eq!(xpub.send(topic.as_str()).unwrap(), to(1));
            assert_eq!(hear(&mut good), topic);
        }
        flood.stop();
    }
}

/// The whole of a message counts: what has several parts is no subscription.
#[test]
fn upstream_tells_subscriptions_from_other_messages() {
    with_deadline(|| {
        let topic = [7; 1000];
        let long = [&b"\x01"[..], &topic].concat();
        for (message, expected) in [
            (Message::from(b"\x01"), Upstream::Subscribe(b"")),
            (Message::from(b"\0"), Upstream::Unsubscribe(b"")),
            (Message::from(b"\x01\x01\0"), Upstream::Subscribe(b"\x01\0")),
            (Message::from(b"\0\x01"), Upstream::Unsubscribe(b"\x01")),
            (Message::from(long), Upstream::Subscribe(&topic)),
            (Message::from(b""), Upstream::Other),
            (Message::from(b"\x02a"), Upstream::Other),
            (Message::from([&b"\x01a"[..], b""]), Upstream::Other),
        ] {
            assert_eq!(Upstream::of(&message), expected);
        }
    });
}

/// A thread that passes messages one way and subscriptions the other.
struct Forwarder {
    context: Context,
    endpoint: Endpoint,
    thread: JoinHandle<()>,
}

impl Forwarder {
    fn start(
        context: &Context,
        transport: Transport,
        source: &str,
        options: impl FnOnce(Builder<XPubSocket>) -> Builder<XPubSocket>,
    ) -> Forwarder {
        let mut front = XSubSocket::builder(context)
            .reconnect_min(Duration::from_millis(1))
            .reconnect_max(Duration::from_millis(20))
            .build()
            .unwrap();
        front.connect(source).unwrap();
        let (mut back, endpoint) = xpub(context, transport, options);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        message = front.recv_async() => drop(back.send(message.unwrap()).unwrap()),
                        message = back.recv_async() => match message.unwrap() {
                            stop if stop.as_bytes() == b"stop" => return,
                            message => drop(front.send(message).unwrap()),
                        },
                    }
                }
            });
        });
        Forwarder {
            context: context.clone(),
            endpoint,
            thread,
        }
    }

    fn stop(self) {
        let mut last = xsub(&self.context, &self.endpoint, &[]);
        assert_eq!(last.send("stop").unwrap(), to(1));
        self.thread.join().unwrap();
    }
}

const TOPICS: usize = 40;

fn topic(number: usize) -> String {
    format!("topic {number:02}")
}

/// Subscribers that have changed their minds many times, and what each wants in the end.
pub struct Crowd {
    subscribers: Vec<(SubSocket, BTreeSet<usize>)>,
}

impl Crowd {
    pub fn visit(context: &Context, endpoint: &Endpoint) -> Crowd {
        let visitors: Vec<_> = (0..6)
            .map(|seed| {
                let (context, endpoint) = (context.clone(), endpoint.clone());
                thread::spawn(move || Crowd::wander(&context, &endpoint, seed))
            })
            .collect();
        Crowd {
            subscribers: visitors
                .into_iter()
                .map(|visitor| visitor.join().unwrap())
                .collect(),
        }
    }

    fn wander(context: &Context, endpoint: &Endpoint, seed: u64) -> (SubSocket, BTreeSet<usize>) {
        // Any sequence will do that is another for each seed.
        let mut state = seed + 1;
        let mut random = move |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let connect = || {
            let mut subscriber = eager_sub(context);
            subscriber.connect(endpoint).unwrap();
            subscriber
        };
        let (mut subscriber, mut wanted) = (connect(), BTreeSet::new());
        for step in 0..600 {
            let number = random(TOPICS);
            if !wanted.insert(number) {
                wanted.remove(&number);
                subscriber.unsubscribe(topic(number)).unwrap();
            } else {
                subscriber.subscribe(topic(number)).unwrap();
            }
            match step % 100 {
                // Some leave for good, and somebody else comes.
                40 => (subscriber, wanted) = (connect(), BTreeSet::new()),
                // Some look up.
                70 => ready(&mut subscriber),
                _ => {}
            }
        }
        (subscriber, wanted)
    }

    /// The source knows what is wanted, and nothing else, and everybody gets just that.
    pub fn check(&mut self, source: &mut PubSocket) {
        for (subscriber, _) in &mut self.subscribers {
            subscriber.subscribe("end").unwrap();
            ready(subscriber);
        }
        source.wait_for_subscribers_to("end", 1, DEADLINE).unwrap();
        let wanted: BTreeSet<usize> = self
            .subscribers
            .iter()
            .flat_map(|(_, wanted)| wanted.iter().copied())
            .collect();
        assert!(!wanted.is_empty());
        wait_until("the source knows what is wanted", || {
            (0..TOPICS).all(|number| {
                let known = source
                    .wait_for_subscribers_to(topic(number), 1, Duration::ZERO)
                    .is_ok();
                known == wanted.contains(&number)
            })
        });
        for number in 0..TOPICS {
            source.send(topic(number)).unwrap();
        }
        source.send("end").unwrap();
        for (subscriber, wanted) in &mut self.subscribers {
            let expected: Vec<String> = wanted.iter().copied().map(topic).collect();
            assert_eq!(hear_to_end(subscriber), expected);
        }
    }
}
