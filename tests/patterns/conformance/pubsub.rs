//! PUB, SUB, XPUB and XSUB, as ZeroMQ RFC 29 specifies them.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Builder, Context, Endpoint, Event, Message, Monitor, PubSocket, Published, SlowSubscriber, SubSocket,
    Told, Upstream, XPubSocket, XSubSocket,
};

use super::{Able, Unable};
use crate::forwarding::{all_news, news};
use crate::on_every_transport;
use crate::publishing::on_the_wire::{
    cancel, raw_subscriber, shake_hands_as, subscribe, subscription_message, sync,
};
use crate::publishing::{hear, to};
use crate::raw::{Raw, RawListener, message};
use crate::support::{DEADLINE, ReceivesInTurn, Transport, pattern, receive, wait_for_end, wait_until};

const _: () = assert!(Able::<PubSocket>::TO_SEND && !Able::<PubSocket>::TO_RECEIVE);
const _: () = assert!(Able::<SubSocket>::TO_RECEIVE && !Able::<SubSocket>::TO_SEND);
const _: () = assert!(Able::<XPubSocket>::TO_SEND && Able::<XPubSocket>::TO_RECEIVE);
const _: () = assert!(Able::<XSubSocket>::TO_SEND && Able::<XSubSocket>::TO_RECEIVE);

/// What a PUB and an XPUB have in common.
trait Publisher: Sized + Send + 'static {
    fn with(context: &Context, hwm: u32, slow: SlowSubscriber) -> Self;
    fn bind(&mut self, endpoint: &str) -> Endpoint;
    fn connect(&mut self, endpoint: &str);
    fn publish(&mut self, message: impl Into<Message>) -> Published;
    fn wait_for(&mut self, topic: &str, count: usize);
    fn subscribers(&mut self) -> usize;
    fn dropped(&self) -> u64;
    fn lost(&self) -> u64;

    fn new(context: &Context) -> Self {
        Publisher::with(context, 1000, SlowSubscriber::default())
    }
}

/// What a SUB and an XSUB have in common.
trait Subscriber: ReceivesInTurn + Sized + Send + 'static {
    fn with(context: &Context, hwm: u32) -> Self;
    fn bind(&mut self, endpoint: &str) -> Endpoint;
    fn connect(&mut self, endpoint: &str);
    fn subscribe(&mut self, topic: &[u8]);
    fn unsubscribe(&mut self, topic: &[u8]);
    /// Waits until all publishers know what it wants.
    fn ready(&mut self);
    fn monitor(&self) -> Monitor;

    fn new(context: &Context) -> Self {
        Subscriber::with(context, 1000)
    }
}

macro_rules! sockets {
    (publish: $($publisher:ident)*; subscribe: $($subscriber:ident)*;) => {
        $(impl Publisher for $publisher {
            fn with(context: &Context, hwm: u32, slow: SlowSubscriber) -> Self {
                let builder = $publisher::builder(context).send_hwm(hwm).slow_subscriber(slow);
                narrow(builder).build().unwrap()
            }

            fn bind(&mut self, endpoint: &str) -> Endpoint {
                $publisher::bind(self, endpoint).unwrap()
            }

            fn connect(&mut self, endpoint: &str) {
                $publisher::connect(self, endpoint).unwrap();
            }

            #[track_caller]
            fn publish(&mut self, message: impl Into<Message>) -> Published {
                self.send(message).expect("a publisher takes every message")
            }

            #[track_caller]
            fn wait_for(&mut self, topic: &str, count: usize) {
                self.wait_for_subscribers_to(topic, count, DEADLINE).expect("subscribers in time");
            }

            fn subscribers(&mut self) -> usize {
                $publisher::subscribers(self)
            }

            fn dropped(&self) -> u64 {
                $publisher::dropped(self)
            }

            fn lost(&self) -> u64 {
                $publisher::lost(self)
            }
        })*
        $(impl Subscriber for $subscriber {
            fn with(context: &Context, hwm: u32) -> Self {
                narrow($subscriber::builder(context).receive_hwm(hwm)).build().unwrap()
            }

            fn bind(&mut self, endpoint: &str) -> Endpoint {
                $subscriber::bind(self, endpoint).unwrap()
            }

            fn connect(&mut self, endpoint: &str) {
                $subscriber::connect(self, endpoint).unwrap();
            }

            fn subscribe(&mut self, topic: &[u8]) {
                $subscriber::subscribe(self, topic).unwrap();
            }

            fn unsubscribe(&mut self, topic: &[u8]) {
                $subscriber::unsubscribe(self, topic).unwrap();
            }

            #[track_caller]
            fn ready(&mut self) {
                assert_eq!(self.wait_ready(DEADLINE), Ok(Told::Acknowledged));
            }

            fn monitor(&self) -> Monitor {
                $subscriber::monitor(self)
            }
        })*
    };
}

sockets! {
    publish: PubSocket XPubSocket;
    subscribe: SubSocket XSubSocket;
}

/// Has the kernel hold little, so that the queues are what counts, and a lost peer come back soon.
fn narrow<S: zerowire::Socket>(builder: Builder<S>) -> Builder<S> {
    builder
        .send_buffer(KERNEL_BYTES)
        .receive_buffer(KERNEL_BYTES)
        .reconnect_min(Duration::from_millis(1))
        .reconnect_max(Duration::from_millis(20))
}

/// What a kernel's buffer is asked to hold; with less, tcp gets slow.
const KERNEL_BYTES: usize = 256 << 10;
/// Messages that the kernel holds on both sides at most, where it may take twice what it was asked for.
const KERNEL_MESSAGES: u32 = 25;
/// The body of a message of which the kernel holds few.
const LARGE_BYTES: usize = 60 << 10;

/// A message that says its topic and its number, and is larger than the kernel's buffers.
fn large(topic: &str, number: u32) -> Message {
    Message::from([
        topic.as_bytes().to_vec(),
        number.to_be_bytes().to_vec(),
        pattern(LARGE_BYTES, number as u8),
    ])
}

/// Receives a large message, and returns its number.
#[track_caller]
fn receive_large(socket: &mut impl ReceivesInTurn, topic: &str) -> u32 {
    let message = receive(socket);
    let number = u32::from_be_bytes(message.part(1).unwrap().try_into().unwrap());
    assert!(
        message == large(topic, number),
        "content of the large message {number}"
    );
    number
}

/// A subscriber whose publisher knows the topics when its next call begins.
fn subscriber<S: Subscriber>(context: &Context, endpoint: &Endpoint, topics: &[&str]) -> S {
    let mut subscriber = S::new(context);
    for topic in topics {
        subscriber.subscribe(topic.as_bytes());
    }
    subscriber.connect(&endpoint.to_string());
    subscriber.ready();
    subscriber
}

/// Gives away large messages until none is taken for a while, after so many at least; returns how many were, which are the
/// first.
fn fill(topic: &str, at_least: u32, mut give: impl FnMut(Message) -> Published) -> u32 {
    /// The kernel may still make some room.
    const REFUSALS_MIN: u32 = 100;
    let end = Instant::now() + DEADLINE;
    let (mut number, mut refusals) = (0, 0);
    while refusals < REFUSALS_MIN || number < at_least {
        assert!(number < 1000, "nobody takes them, so there must be an end");
        assert!(Instant::now() < end, "only {number} are taken");
        let published = give(large(topic, number));
        assert_eq!(published.matched, 1);
        if published.queued == 1 {
            (number, refusals) = (number + 1, 0);
        } else {
            refusals += 1;
            thread::yield_now();
        }
    }
    number
}

/// How many large messages two queues take whose reader does nothing.
fn limits(transport: Transport, send_hwm: u32, receive_hwm: u32) -> RangeInclusive<u32> {
    if transport.is_inproc() {
        return send_hwm..=send_hwm;
    }
    let both = send_hwm + receive_hwm;
    both..=both + KERNEL_MESSAGES
}

/// Messages of every size that is treated in a way of its own, and of many parts.
fn bodies(bytes_max: usize) -> Vec<Message> {
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
        4095,
        4096,
        8192,
        60_000,
        1 << 20,
        8 << 20,
    ]
    .into_iter()
    .filter(|&size| size <= bytes_max)
    .map(|size| Message::from(pattern(size, size as u8)))
    .collect();
    bodies.push(Message::from_parts(vec![Vec::<u8>::new(); 3]));
    bodies.push(Message::from([
        pattern(10_000, 1),
        Vec::new(),
        pattern(1, 2),
        pattern(5000, 3),
        pattern(64, 4),
    ]));
    bodies.push(Message::from_parts(
        (0..1000usize)
            .map(|size| pattern(size % 50, size as u8))
            .collect::<Vec<_>>(),
    ));
    bodies
}

/// Checks something for PUB and for XPUB, or for SUB and for XSUB, or for each with each.
macro_rules! check {
    ($check:ident::<publishers>($transport:ident)) => {
        $check::<PubSocket>($transport);
        $check::<XPubSocket>($transport);
    };
    ($check:ident::<subscribers>($transport:ident)) => {
        $check::<SubSocket>($transport);
        $check::<XSubSocket>($transport);
    };
    ($check:ident::<both>($transport:ident)) => {
        $check::<PubSocket, SubSocket>($transport);
        $check::<PubSocket, XSubSocket>($transport);
        $check::<XPubSocket, SubSocket>($transport);
        $check::<XPubSocket, XSubSocket>($transport);
    };
}

/// Receives 20 numbered messages of each of two publishers.
fn hears_both_in_order(subscriber: &mut impl ReceivesInTurn) {
    let heard: Vec<String> = (0..40).map(|_| hear(subscriber)).collect();
    for name in ["one ", "other "] {
        let numbers = heard
            .iter()
            .filter_map(|text| text.strip_prefix(name))
            .map(str::to_owned);
        assert!(numbers.eq((0..20).map(|number| number.to_string())));
    }
}

on_every_transport! {
    /// [29/PUB-1] SHALL: it only sends, to any number of SUB and XSUB; there is no way to receive.
    /// [29/SUB-1] SHALL: it only receives, from any number of PUB and XPUB; there is no way to send.
    fn publishers_send_and_subscribers_receive(transport) {
        let context = Context::new();
        let (mut one, mut other) = (PubSocket::new(&context), XPubSocket::new(&context));
        let endpoints = [one.bind(transport.wildcard()).unwrap(), other.bind(transport.wildcard()).unwrap()];
        let (mut subs, mut xsubs) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (mut sub, mut xsub) = (SubSocket::new(&context), XSubSocket::new(&context));
            for endpoint in &endpoints {
                sub.connect(endpoint).unwrap();
                xsub.connect(endpoint).unwrap();
            }
            sub.subscribe("").unwrap();
            xsub.subscribe("").unwrap();
            sub.ready();
            xsub.ready();
            subs.push(sub);
            xsubs.push(xsub);
        }
        for number in 0..20 {
            assert_eq!(one.send(format!("one {number}")).unwrap(), to(6));
            assert_eq!(other.send(format!("other {number}")).unwrap(), to(6));
        }
        subs.iter_mut().for_each(hears_both_in_order);
        xsubs.iter_mut().for_each(hears_both_in_order);
    }

    /// [29/PUB-2] SHALL: each subscriber has an outgoing queue of its own; one that is full is nothing to the others.
    fn each_subscriber_has_a_queue_of_its_own(transport) {
        const HWM: u32 = 10;
        let context = Context::new();
        let mut publisher = <PubSocket as Publisher>::with(&context, HWM, SlowSubscriber::DropNewest);
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let topics = ["a", "b", "c"];
        let mut subscribers = topics.map(|topic| {
            let mut subscriber = <SubSocket as Subscriber>::with(&context, HWM);
            subscriber.subscribe(topic).unwrap();
            subscriber.connect(&endpoint).unwrap();
            subscriber.ready();
            subscriber
        });
        let taken = topics.map(|topic| fill(topic, HWM, |message| publisher.publish(message)));
        for ((subscriber, topic), taken) in subscribers.iter_mut().zip(topics).zip(taken) {
            for number in 0..taken {
                assert_eq!(receive_large(subscriber, topic), number);
            }
            // It is empty, whatever the others are.
            assert_eq!(publisher.publish(topic), to(1));
            assert_eq!(hear(subscriber), topic);
        }
    }

    /// [29/XPUB-1] SHALL: each subscriber has a queue for each direction; one that is full does not stop the other.
    /// [29/XSUB-1] SHALL: each publisher has a queue for each direction; one that is full does not stop the other.
    fn the_two_queues_of_a_peer_are_independent(transport) {
        const HWM: u32 = 10;
        let context = Context::new();
        let mut xpub = narrow(XPubSocket::builder(&context).send_hwm(HWM).receive_hwm(HWM)).build().unwrap();
        let endpoint = xpub.bind(transport.wildcard()).unwrap();
        let mut xsub = narrow(XSubSocket::builder(&context).send_hwm(HWM).receive_hwm(HWM)).build().unwrap();
        xsub.connect(&endpoint).unwrap();
        xsub.subscribe("").unwrap();
        xsub.ready();
        assert_eq!(news(&mut xpub), "+");
        for _ in 0..3 {
            let down = fill("down", HWM, |message| xpub.publish(message));
            for _ in 0..5 {
                assert_eq!(xsub.send("up").unwrap(), to(1));
                assert_eq!(hear(&mut xpub), "up");
            }
            for number in 0..down {
                assert_eq!(receive_large(&mut xsub, "down"), number);
            }
            let up = fill("up", HWM, |message| xsub.send(message).unwrap());
            for _ in 0..5 {
                assert_eq!(xpub.publish("down"), to(1));
                assert_eq!(hear(&mut xsub), "down");
            }
            for number in 0..up {
                assert_eq!(receive_large(&mut xpub, "up"), number);
            }
        }
    }

    /// [29/PUB-3] SHALL: a queue is made when it connects, and kept with or without a connection. DIFFERS: the queue comes and
    /// goes with the connection, because a subscriber that has not told its topics would get nothing anyway.
    /// [29/XPUB-2] SHALL: queues are made when it connects, and kept with or without a connection. DIFFERS: as for PUB.
    fn a_publisher_that_connects_serves_a_subscriber_whenever_it_is_there(transport) {
        fn check<P: Publisher>(transport: Transport) {
            let context = Context::new();
            let endpoint = transport.fresh();
            let mut publisher = P::new(&context);
            publisher.connect(&endpoint);
            for round in 0..3 {
                assert_eq!(publisher.publish("a, for nobody"), to(0));
                let mut subscriber = SubSocket::new(&context);
                subscriber.subscribe("a").unwrap();
                subscriber.bind(endpoint.as_str()).unwrap();
                publisher.wait_for("a", 1);
                assert_eq!(publisher.publish(format!("a {round}")), to(1));
                assert_eq!(hear(&mut subscriber), format!("a {round}"));
                subscriber.unbind(endpoint.as_str()).unwrap();
                drop(subscriber);
                wait_until("it is gone", || publisher.subscribers() == 0);
            }
        }
        check!(check::<publishers>(transport));
    }

    /// [29/SUB-3] SHALL: a queue is made when it connects, and kept with or without a connection: topics wait for the publisher,
    /// and what came stays.
    /// [29/XSUB-2] SHALL: queues are made when it connects, and kept with or without a connection, here subscriptions and what
    /// comes.
    fn a_subscriber_that_connects_keeps_topics_and_messages_without_a_connection(transport) {
        fn check<S: Subscriber>(transport: Transport) {
            let context = Context::new();
            let endpoint = transport.fresh();
            let mut subscriber = S::new(&context);
            let monitor = subscriber.monitor();
            subscriber.subscribe(b"a");
            subscriber.connect(&endpoint);
            subscriber.subscribe(b"b");
            for round in 0..3 {
                let mut publisher = PubSocket::new(&context);
                publisher.bind(endpoint.as_str()).unwrap();
                publisher.wait_for("b", 1);
                for topic in ["a", "b", "c"] {
                    publisher.publish(format!("{topic}{round}"));
                }
                publisher.unbind(endpoint.as_str()).unwrap();
                drop(publisher);
                if !transport.is_inproc() {
                    wait_for_end(&monitor);
                }
            }
            let heard: BTreeSet<String> = (0..6).map(|_| hear(&mut subscriber)).collect();
            assert_eq!(heard, ["a0", "a1", "a2", "b0", "b1", "b2"].map(String::from).into());
        }
        check!(check::<subscribers>(transport));
    }

    /// [29/XSUB-2] SHALL: queues are made when it connects, and kept with or without a connection, here other messages to the
    /// publisher. DIFFERS: only subscriptions wait for a connection; other messages go to publishers that are there.
    fn messages_of_an_xsub_do_not_wait_for_a_publisher(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut xsub = <XSubSocket as Subscriber>::new(&context);
        xsub.connect(endpoint.as_str()).unwrap();
        for round in 0..3 {
            assert_eq!(xsub.send("for nobody").unwrap(), to(0));
            let mut xpub = XPubSocket::new(&context);
            xpub.bind(endpoint.as_str()).unwrap();
            wait_until("it is connected", || xsub.send(format!("hello {round}")).unwrap() == to(1));
            assert_eq!(hear(&mut xpub), format!("hello {round}"));
            xpub.unbind(endpoint.as_str()).unwrap();
            drop(xpub);
            wait_until("it is gone", || xsub.send("for whom").unwrap() == to(0));
        }
    }

    /// [29/PUB-4] SHALL: a subscriber that connects to it gets a queue then.
    /// [29/XPUB-3] SHALL: a subscriber that connects to it gets its queues then.
    /// [29/SUB-4] SHALL: a publisher that connects to it gets a queue then.
    /// [29/XSUB-3] SHALL: a publisher that connects to it gets its queues then.
    fn who_connects_gets_a_queue(transport) {
        fn check<P: Publisher, S: Subscriber>(transport: Transport) {
            let context = Context::new();
            let mut bound = P::new(&context);
            let endpoint = bound.bind(&transport.wildcard());
            assert_eq!(bound.publish("a"), to(0));
            let mut connected: Vec<S> = Vec::new();
            for count in 1..4 {
                connected.push(subscriber(&context, &endpoint, &["a"]));
                assert_eq!(bound.publish(format!("a {count}")), to(count));
            }
            for (index, subscriber) in connected.iter_mut().enumerate() {
                for count in index + 1..4 {
                    assert_eq!(hear(subscriber), format!("a {count}"));
                }
            }

            let mut bound = S::new(&context);
            let endpoint = bound.bind(&transport.wildcard()).to_string();
            bound.subscribe(b"b");
            for number in 0..3 {
                let mut publisher = P::new(&context);
                publisher.connect(&endpoint);
                publisher.wait_for("b", 1);
                assert_eq!(publisher.publish(format!("b {number}")), to(1));
                assert_eq!(hear(&mut bound), format!("b {number}"));
            }
        }
        check!(check::<both>(transport));
    }

    /// [29/PUB-5] SHALL: when a subscriber disconnects, its queue goes with it, and so does what is in it.
    /// [29/XPUB-4] SHALL: when a subscriber disconnects, its queues go with it, here what was to be sent.
    fn what_a_subscriber_has_not_got_goes_with_it(transport) {
        fn check<P: Publisher>(transport: Transport) {
            let context = Context::new();
            let mut publisher = P::with(&context, 10, SlowSubscriber::DropNewest);
            let endpoint = publisher.bind(&transport.wildcard());
            let mut leaving = <SubSocket as Subscriber>::with(&context, 1);
            leaving.subscribe("a").unwrap();
            leaving.connect(&endpoint).unwrap();
            leaving.ready();
            fill("a", 10, |message| publisher.publish(message));
            drop(leaving);
            wait_until("it is gone", || publisher.subscribers() == 0);
            let lost = publisher.lost();
            assert!((1..=10).contains(&lost), "{lost} lost, where the queue holds 10");
            let mut next: SubSocket = subscriber(&context, &endpoint, &["a"]);
            assert_eq!(publisher.publish("a fresh one"), to(1));
            assert_eq!(hear(&mut next), "a fresh one");
        }
        check!(check::<publishers>(transport));
    }

    /// [29/XPUB-4] SHALL: when a subscriber disconnects, its queues go with it, here what has come from it. DIFFERS: what a peer
    /// said before it left is received, as from any peer of any socket.
    fn what_a_subscriber_has_said_is_received_when_it_is_gone(transport) {
        let context = Context::new();
        let mut xpub = XPubSocket::new(&context);
        let endpoint = xpub.bind(transport.wildcard()).unwrap();
        let mut leaving: XSubSocket = subscriber(&context, &endpoint, &["a"]);
        xpub.wait_for("a", 1);
        for number in 0..10 {
            assert_eq!(leaving.send(number.to_string()).unwrap(), to(1));
        }
        drop(leaving);
        wait_until("it is gone", || xpub.subscribers() == 0);
        let said: Vec<String> = (0..10).map(|_| news(&mut xpub)).collect();
        assert!(said.into_iter().eq((0..10).map(|number| number.to_string())));
        assert_eq!(all_news(&mut xpub), [""; 0], "its subscription came and went");
    }

    /// [29/SUB-5] SHALL: when a publisher disconnects, its queue goes with it, and so does what is in it. DIFFERS: what a peer
    /// sent before it left is received, so that a publisher may say its last words.
    /// [29/XSUB-4] SHALL: when a publisher disconnects, its queues go with it, here what has come from it. DIFFERS: as for SUB.
    fn what_a_publisher_has_sent_is_received_when_it_is_gone(transport) {
        fn check<S: Subscriber>(transport: Transport) {
            let context = Context::new();
            let mut bound = S::with(&context, 5);
            bound.subscribe(b"a");
            let endpoint = bound.bind(&transport.wildcard()).to_string();
            let mut publisher = <PubSocket as Publisher>::new(&context);
            publisher.connect(endpoint.as_str()).unwrap();
            publisher.wait_for("a", 1);
            for number in 0..100 {
                assert_eq!(publisher.publish(format!("a {number}")), to(1));
            }
            drop(publisher);
            for number in 0..100 {
                assert_eq!(hear(&mut bound), format!("a {number}"));
            }
        }
        check!(check::<subscribers>(transport));
    }

    /// [29/XSUB-4] SHALL: when a publisher disconnects, its queues go with it, here what was to be sent.
    fn what_a_publisher_has_not_got_goes_with_it(transport) {
        let context = Context::new();
        let mut xsub = narrow(XSubSocket::builder(&context).send_hwm(10)).build().unwrap();
        let endpoint = xsub.bind(transport.wildcard()).unwrap();
        let mut leaving = narrow(XPubSocket::builder(&context).receive_hwm(1)).build().unwrap();
        leaving.connect(&endpoint).unwrap();
        wait_until("it is connected", || xsub.send("hello").unwrap() == to(1));
        // In inproc its greeting is one of the ten that the queue holds.
        fill("a", 9, |message| xsub.send(message).unwrap());
        drop(leaving);
        wait_until("it is gone", || xsub.send("for nobody").unwrap() == to(0));
        let mut next = XPubSocket::new(&context);
        next.connect(&endpoint).unwrap();
        wait_until("it is connected", || xsub.send("fresh").unwrap() == to(1));
        assert_eq!(hear(&mut next), "fresh");
    }

    /// [29/PUB-6] SHOULD: the limits of its queues can be configured, and are exact.
    /// [29/XPUB-5] SHOULD: the limits of its queues can be configured, here of what is to be sent.
    /// [29/SUB-6] SHOULD: the limits of its queues can be configured, and are exact. In inproc, where both sides share one
    /// queue, it is the sender's limit that counts.
    /// [29/XSUB-5] SHOULD: the limits of its queues can be configured, here of what has come.
    fn the_queues_from_publishers_to_subscribers_are_limited(transport) {
        fn check<P: Publisher, S: Subscriber>(transport: Transport) {
            for (send_hwm, receive_hwm) in [(10, 10), (70, 10), (10, 70)] {
                let context = Context::new();
                let mut publisher = P::with(&context, send_hwm, SlowSubscriber::DropNewest);
                let endpoint = publisher.bind(&transport.wildcard());
                let mut subscriber = S::with(&context, receive_hwm);
                subscriber.subscribe(b"a");
                subscriber.connect(&endpoint.to_string());
                subscriber.ready();
                let limits = limits(transport, send_hwm, receive_hwm);
                let taken = fill("a", *limits.start(), |message| publisher.publish(message));
                assert!(limits.contains(&taken), "{taken} of {limits:?}");
                for number in 0..taken {
                    assert_eq!(receive_large(&mut subscriber, "a"), number);
                }
            }
        }
        check!(check::<both>(transport));
    }

    /// [29/XPUB-5] SHOULD: the limits of its queues can be configured, here of what has come.
    /// [29/XSUB-5] SHOULD: the limits of its queues can be configured, here of what is to be sent. In inproc, where both sides
    /// share one queue, it is the sender's limit that counts.
    fn the_queues_from_xsub_to_xpub_are_limited(transport) {
        for (send_hwm, receive_hwm) in [(10, 10), (70, 10), (10, 70)] {
            let context = Context::new();
            let mut xpub = narrow(XPubSocket::builder(&context).receive_hwm(receive_hwm)).build().unwrap();
            let endpoint = xpub.bind(transport.wildcard()).unwrap();
            let mut xsub = narrow(XSubSocket::builder(&context).send_hwm(send_hwm)).build().unwrap();
            xsub.connect(&endpoint).unwrap();
            xsub.ready();
            let limits = limits(transport, send_hwm, receive_hwm);
            let taken = fill("a", *limits.start(), |message| xsub.send(message).unwrap());
            assert!(limits.contains(&taken), "{taken} of {limits:?}");
            for number in 0..taken {
                assert_eq!(receive_large(&mut xpub, "a"), number);
            }
        }
    }

    /// [29/PUB-7] SHALL: what subscribers send is thrown away without a word, and they get their messages as before.
    fn what_subscribers_send_to_a_pub_is_thrown_away(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::new(&context);
        let monitor = publisher.monitor();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut talking: XSubSocket = subscriber(&context, &endpoint, &["a"]);
        for number in 0..5000u32 {
            // Its queue never stays full, because the publisher looks at it.
            assert_eq!(talking.send([&number.to_be_bytes()[..], b"blah"]).unwrap(), to(1));
            if number % 500 == 0 {
                assert_eq!(publisher.publish(format!("a {number}")), to(1));
                assert_eq!(hear(&mut talking), format!("a {number}"));
            }
        }
        assert_eq!((publisher.dropped(), publisher.lost()), (0, 0));
        while let Some(event) = monitor.try_recv() {
            assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
        }
    }

    /// [29/PUB-8] SHALL: no message is changed on its way out.
    /// [29/XPUB-6] SHALL: no message is changed on its way out.
    /// [29/SUB-9] SHALL: no message is changed on its way in.
    /// [29/SUB-10] SHALL: what comes is delivered to the application, whole and in order.
    /// [29/XSUB-6] SHALL: no message is changed on its way in.
    /// [29/XSUB-9] SHALL: what comes is delivered to the application, whole and in order.
    fn published_messages_are_not_changed(transport) {
        fn check<P: Publisher, S: Subscriber>(transport: Transport) {
            let context = Context::new();
            let mut publisher = P::new(&context);
            let endpoint = publisher.bind(&transport.wildcard());
            // Ten of them, so that bodies are shared as well as copied.
            let mut subscribers: Vec<S> = (0..10).map(|_| subscriber(&context, &endpoint, &[""])).collect();
            for count in [10, 1] {
                subscribers.truncate(count);
                wait_until("the others are gone", || publisher.subscribers() == count);
                for body in bodies(if count == 1 { usize::MAX } else { 1 << 20 }) {
                    assert_eq!(publisher.publish(body.clone()), to(count));
                    for subscriber in &mut subscribers {
                        assert!(receive(subscriber) == body, "of {} bytes", body.total_bytes());
                    }
                }
            }
        }
        check!(check::<both>(transport));
    }

    /// [29/PUB-9] SHALL: a message is for whoever holds a topic that its first part begins with, byte by byte.
    /// [29/XPUB-7] SHALL: a message is for whoever holds a topic that its first part begins with, byte by byte.
    fn topics_are_compared_with_the_first_part_byte_by_byte(transport) {
        fn check<P: Publisher>(transport: Transport) {
            const TOPICS: [&[u8]; 6] = [b"", b"a", b"aB", b"\0", b"\xff\xfe", b"aBc"];
            let context = Context::new();
            let mut publisher = P::new(&context);
            let endpoint = publisher.bind(&transport.wildcard());
            // They do not filter by themselves, so it is the publisher's doing what they get.
            let mut subscribers = TOPICS.map(|topic| {
                let mut subscriber: XSubSocket = subscriber(&context, &endpoint, &["end"]);
                subscriber.subscribe(topic).unwrap();
                subscriber.ready();
                subscriber
            });
            let firsts: [&[u8]; 12] = [
                b"", b"a", b"A", b"aB", b"ab", b"aBc", b"aBcd", b"\0", b"\0a", b"\xff", b"\xff\xfe", b"\xff\xfe\xfd",
            ];
            for first in firsts {
                let matched = TOPICS.iter().filter(|topic| first.starts_with(topic)).count();
                assert_eq!(publisher.publish([first, b"aBcd"]), to(matched), "{first:?}");
            }
            publisher.publish("end");
            for (subscriber, topic) in subscribers.iter_mut().zip(TOPICS) {
                for first in firsts.into_iter().filter(|first| first.starts_with(topic)) {
                    assert!(receive(subscriber).parts().eq([first, b"aBcd"]));
                }
                assert_eq!(hear(subscriber), "end");
            }
        }
        check!(check::<publishers>(transport));
    }

    /// [29/PUB-10] SHALL: a message is dropped for a subscriber whose queue is full, without an error; others get it.
    /// [29/PUB-11] SHALL NOT: sending waits for nobody, here for a subscriber that does not read.
    /// [29/XPUB-8] SHALL: a message is dropped for a subscriber whose queue is full, without an error; others get it.
    /// [29/XPUB-9] SHALL NOT: sending waits for nobody, here for a subscriber that does not read.
    fn a_full_subscriber_misses_messages_and_holds_up_nobody(transport) {
        fn check<P: Publisher>(transport: Transport) {
            let context = Context::new();
            let mut publisher = P::with(&context, 10, SlowSubscriber::default());
            let endpoint = publisher.bind(&transport.wildcard());
            let mut idle = <SubSocket as Subscriber>::with(&context, 10);
            idle.subscribe("a").unwrap();
            idle.connect(&endpoint).unwrap();
            idle.ready();
            let mut taken = fill("a", 10, |message| publisher.publish(message));
            let mut dropped = publisher.dropped();
            let mut busy: SubSocket = subscriber(&context, &endpoint, &["a"]);
            for _ in 0..1000 {
                let published = publisher.publish(large("a", taken));
                assert_eq!(receive_large(&mut busy, "a"), taken);
                match published {
                    Published { matched: 2, queued: 1, dropped: 1 } => dropped += 1,
                    // Some room has turned up in the kernel.
                    published => {
                        assert_eq!(published, to(2));
                        taken += 1;
                    }
                }
            }
            assert_eq!(publisher.dropped(), dropped);
            assert!(taken < 10 + 10 + KERNEL_MESSAGES, "{taken}");
            for number in 0..taken {
                assert_eq!(receive_large(&mut idle, "a"), number);
            }
            assert_eq!(publisher.publish("a last one"), to(2));
            assert_eq!(hear(&mut idle), "a last one", "it got nothing else");
        }
        check!(check::<publishers>(transport));
    }

    /// [29/PUB-11] SHALL NOT: sending waits for nobody, here where there is no subscriber, or none that wants the message.
    /// [29/XPUB-9] SHALL NOT: sending waits for nobody, here where there is no subscriber, or none that wants the message.
    fn a_publisher_without_subscribers_does_not_wait(transport) {
        fn check<P: Publisher>(transport: Transport) {
            let context = Context::new();
            let mut publisher = P::with(&context, 1, SlowSubscriber::default());
            assert_eq!(publisher.publish("before anything"), to(0));
            let endpoint = publisher.bind(&transport.wildcard());
            publisher.connect(&transport.fresh());
            let _other: SubSocket = subscriber(&context, &endpoint, &["b"]);
            for number in 0..10_000 {
                assert_eq!(publisher.publish(format!("a {number}")), to(0));
            }
            assert_eq!(publisher.dropped(), 0);
        }
        check!(check::<publishers>(transport));
    }

    /// [29/PUB-12] SHALL: subscriptions, and the ends of them, are received as the transport carries them.
    /// [29/PUB-13] SHALL NOT: the application is not given them: it has no way to receive, and only who gets a message changes.
    /// [29/XPUB-12] SHALL: subscriptions, and the ends of them, are received as the transport carries them.
    /// [29/XSUB-15] SHALL: subscriptions, and the ends of them, are sent to publishers as the transport carries them.
    fn subscriptions_come_and_go(transport) {
        fn check<P: Publisher, S: Subscriber>(transport: Transport) {
            let context = Context::new();
            let mut publisher = P::new(&context);
            let endpoint = publisher.bind(&transport.wildcard());
            let mut subscriber: S = subscriber(&context, &endpoint, &[]);
            for number in 0..200 {
                let topic = format!("topic {number}/");
                subscriber.subscribe(topic.as_bytes());
                subscriber.ready();
                assert_eq!(publisher.publish(topic.as_str()), to(1));
                assert_eq!(hear(&mut subscriber), topic);
                if number % 2 == 0 {
                    subscriber.unsubscribe(topic.as_bytes());
                    subscriber.ready();
                    assert_eq!(publisher.publish(topic.as_str()), to(0));
                }
            }
            assert_eq!(publisher.publish("topic 199/"), to(1));
            assert_eq!(hear(&mut subscriber), "topic 199/");
            if transport.is_inproc() {
                return;
            }
            // From peers of each version, in either form.
            for minor in [0, 1] {
                let mut raw = raw_subscriber(&endpoint.to_string(), minor);
                for (begin, end) in [
                    (subscribe(b"raw"), cancel(b"raw")),
                    (subscription_message(true, b"raw"), subscription_message(false, b"raw")),
                ] {
                    raw.send(&begin);
                    sync(&mut raw);
                    assert_eq!(publisher.publish("raw"), to(1));
                    assert_eq!(raw.read_message(), [b"raw"]);
                    raw.send(&end);
                    sync(&mut raw);
                    assert_eq!(publisher.publish("raw"), to(0));
                }
            }
        }
        check!(check::<both>(transport));
    }

    /// [29/XPUB-10] SHALL: subscribers that have something to say are heard in turn.
    /// [29/XPUB-11] SHALL: what they say is delivered to the application, whole and in order.
    fn an_xpub_hears_its_subscribers_in_turn(transport) {
        const MESSAGES: usize = 30;
        let context = Context::new();
        let mut xpub = XPubSocket::new(&context);
        let endpoint = xpub.bind(transport.wildcard()).unwrap();
        let text = |peer: usize, number: usize| format!("{peer} says {number}");
        let mut peers: (Vec<XSubSocket>, Vec<Raw>) = Default::default();
        for peer in 0..3 {
            if transport.is_inproc() {
                let mut xsub: XSubSocket = subscriber(&context, &endpoint, &[]);
                for number in 0..MESSAGES {
                    assert_eq!(xsub.send(text(peer, number)).unwrap(), to(1));
                }
                peers.0.push(xsub);
            } else {
                let mut raw = raw_subscriber(&endpoint.to_string(), 1);
                (0..MESSAGES).for_each(|number| raw.send(&message(&[text(peer, number).as_bytes()])));
                sync(&mut raw);
                peers.1.push(raw);
            }
        }
        in_turn(&mut xpub, MESSAGES, text);
    }

    /// [29/SUB-8] SHALL: publishers that have sent something are heard in turn.
    /// [29/XSUB-8] SHALL: publishers that have sent something are heard in turn.
    fn a_subscriber_hears_its_publishers_in_turn(transport) {
        const MESSAGES: usize = 30;
        fn check<S: Subscriber>(transport: Transport) {
            let context = Context::new();
            let mut bound = S::new(&context);
            bound.subscribe(b"");
            let endpoint = bound.bind(&transport.wildcard()).to_string();
            let text = |peer: usize, number: usize| format!("{peer} says {number}");
            let mut peers: (Vec<PubSocket>, Vec<Raw>) = Default::default();
            for peer in 0..3 {
                if transport.is_inproc() {
                    let mut publisher = PubSocket::new(&context);
                    publisher.connect(endpoint.as_str()).unwrap();
                    (0..MESSAGES).for_each(|number| assert_eq!(publisher.publish(text(peer, number)), to(1)));
                    peers.0.push(publisher);
                } else {
                    let mut raw = Raw::peer(&endpoint, "PUB");
                    (0..MESSAGES).for_each(|number| raw.send(&message(&[text(peer, number).as_bytes()])));
                    sync(&mut raw);
                    peers.1.push(raw);
                }
            }
            in_turn(&mut bound, MESSAGES, text);
        }
        check!(check::<subscribers>(transport));
    }

    /// [29/SUB-2] SHALL: each publisher has an incoming queue of its own; one that is full is nothing to the others.
    fn each_publisher_has_a_queue_of_its_own(transport) {
        let context = Context::new();
        let mut bound = <SubSocket as Subscriber>::with(&context, 10);
        let endpoint = bound.bind(transport.wildcard()).unwrap();
        bound.subscribe("").unwrap();
        let topics = ["a", "b", "c"];
        let mut publishers = topics.map(|topic| {
            let mut publisher = <PubSocket as Publisher>::with(&context, 10, SlowSubscriber::DropNewest);
            publisher.connect(&endpoint).unwrap();
            publisher.wait_for(topic, 1);
            publisher
        });
        let mut left: Vec<(&str, u32, u32)> = Vec::new();
        for (publisher, topic) in publishers.iter_mut().zip(topics) {
            let taken = fill(topic, 10, |message| publisher.publish(message));
            left.push((topic, 0, taken));
        }
        while left.iter().any(|(_, next, taken)| next < taken) {
            let message = receive(&mut bound);
            let (topic, next, _) = left
                .iter_mut()
                .find(|(topic, ..)| message.part(0) == Some(topic.as_bytes()))
                .expect("one of the topics");
            assert!(message == large(topic, *next));
            *next += 1;
        }
    }

    /// [29/SUB-7] SHALL: a message is discarded when the queue from its publisher is full. DIFFERS: then the connection is not
    /// read any further, and the publisher has the choice of what to drop, or to wait as it does here.
    /// [29/XSUB-7] SHALL: a message is discarded when the queue from its publisher is full. DIFFERS: as for SUB.
    fn a_full_subscriber_holds_its_publisher_up(transport) {
        const MESSAGES: u32 = 300;
        fn check<S: Subscriber>(transport: Transport) {
            let context = Context::new();
            let patience = SlowSubscriber::Block(Duration::from_secs(3600));
            let mut publisher = <PubSocket as Publisher>::with(&context, 3, patience);
            let endpoint = publisher.bind(transport.wildcard()).unwrap();
            let mut subscriber = S::with(&context, 3);
            subscriber.subscribe(b"a");
            subscriber.connect(&endpoint.to_string());
            subscriber.ready();
            let sender = thread::spawn(move || {
                for number in 0..MESSAGES {
                    assert_eq!(publisher.publish(large("a", number)), to(1));
                }
                publisher
            });
            for number in 0..MESSAGES {
                assert_eq!(receive_large(&mut subscriber, "a"), number);
            }
            sender.join().unwrap();
        }
        check!(check::<subscribers>(transport));
    }

    /// [29/XPUB-13] SHALL: subscriptions, and the ends of them, are delivered to the application.
    /// [29/XSUB-14] SHALL: subscriptions, and the ends of them, are accepted from the application, here as messages.
    fn what_an_xsub_subscribes_to_is_what_an_xpub_receives(transport) {
        let context = Context::new();
        let mut xpub = XPubSocket::new(&context);
        let endpoint = xpub.bind(transport.wildcard()).unwrap();
        let mut xsub: XSubSocket = subscriber(&context, &endpoint, &[]);
        for topic in [&b""[..], b"a", b"\0\x01\xff", &pattern(300, 1), &pattern(16 << 10, 2)] {
            for (flag, expected) in [(1, Upstream::Subscribe(topic)), (0, Upstream::Unsubscribe(topic))] {
                let request = Message::from([&[flag][..], topic].concat());
                xsub.send(request.clone()).unwrap();
                let received = receive(&mut xpub);
                assert!(received == request);
                assert!(Upstream::of(&received) == expected);
                assert_eq!(xpub.publish([topic, b" and more"].concat()), to(flag.into()));
            }
        }
    }

    /// [29/XPUB-14] SHALL: the application is told of the end of each subscription of a peer that has gone.
    fn the_subscriptions_of_a_lost_peer_end(transport) {
        let context = Context::new();
        let mut xpub = XPubSocket::new(&context);
        let endpoint = xpub.bind(transport.wildcard()).unwrap();
        let _staying: SubSocket = subscriber(&context, &endpoint, &["both"]);
        assert_eq!(news(&mut xpub), "+both");
        for leave in [
            (|_, leaving| drop::<SubSocket>(leaving)) as fn(&Endpoint, SubSocket),
            |endpoint, mut leaving| {
                leaving.disconnect(endpoint).unwrap();
                // It may go on with others.
                leaving.subscribe("c").unwrap();
            },
        ] {
            let leaving: SubSocket = subscriber(&context, &endpoint, &["a", "both", "b"]);
            assert_eq!((news(&mut xpub), news(&mut xpub)), ("+a".into(), "+b".into()));
            leave(&endpoint, leaving);
            assert_eq!(BTreeSet::from([news(&mut xpub), news(&mut xpub)]), ["-a", "-b"].map(String::from).into());
            assert_eq!(xpub.publish("a"), to(0));
            assert_eq!(xpub.publish("both"), to(1));
            assert_eq!(all_news(&mut xpub), [""; 0]);
        }
        if transport.is_inproc() {
            return;
        }
        let mut raw = raw_subscriber(&endpoint.to_string(), 1);
        raw.send(&subscribe(b"a"));
        assert_eq!(news(&mut xpub), "+a");
        drop(raw);
        assert_eq!(news(&mut xpub), "-a");
    }

    /// [29/XSUB-10] SHALL: no message is changed on its way to the publishers.
    /// [29/XSUB-11] SHALL: every message goes to every publisher that is connected.
    fn messages_of_an_xsub_go_to_all_publishers_unchanged(transport) {
        let context = Context::new();
        let mut publishers = [(); 3].map(|()| XPubSocket::new(&context));
        let mut xsub = XSubSocket::new(&context);
        for publisher in &mut publishers {
            xsub.connect(publisher.bind(transport.wildcard()).unwrap()).unwrap();
        }
        xsub.ready();
        // What says that it is a subscription is one.
        for body in bodies(60_000).into_iter().filter(|body| Upstream::of(body) == Upstream::Other) {
            assert_eq!(xsub.send(body.clone()).unwrap(), to(3));
            for publisher in &mut publishers {
                assert!(receive(publisher) == body, "of {} bytes", body.total_bytes());
            }
        }
    }

    /// [29/XSUB-12] SHALL: a message is dropped for a publisher whose queue is full, without an error; others get it.
    /// [29/XSUB-13] SHALL NOT: sending waits for nobody, here for a publisher that does not read.
    fn a_full_publisher_misses_messages_and_holds_up_nobody(transport) {
        let context = Context::new();
        let mut idle = narrow(XPubSocket::builder(&context).receive_hwm(10)).build().unwrap();
        let mut busy = XPubSocket::new(&context);
        let mut xsub = narrow(XSubSocket::builder(&context).send_hwm(10)).build().unwrap();
        xsub.connect(idle.bind(transport.wildcard()).unwrap()).unwrap();
        xsub.ready();
        let mut taken = fill("a", 10, |message| xsub.send(message).unwrap());
        let mut dropped = xsub.dropped();
        xsub.connect(busy.bind(transport.wildcard()).unwrap()).unwrap();
        xsub.ready();
        for _ in 0..300 {
            let published = xsub.send(large("a", taken)).unwrap();
            assert_eq!(receive_large(&mut busy, "a"), taken);
            match published {
                Published { matched: 2, queued: 1, dropped: 1 } => dropped += 1,
                // Some room has turned up in the kernel.
                published => {
                    assert_eq!(published, to(2));
                    taken += 1;
                }
            }
        }
        assert_eq!(xsub.dropped(), dropped);
        assert!(taken < 10 + 10 + KERNEL_MESSAGES, "{taken}");
        for number in 0..taken {
            assert_eq!(receive_large(&mut idle, "a"), number);
        }
        assert_eq!(xsub.send("a last one").unwrap(), to(2));
        assert_eq!(hear(&mut idle), "a last one", "it got nothing else");
    }

    /// [29/XSUB-13] SHALL NOT: sending waits for nobody, here where there is no publisher.
    fn an_xsub_without_publishers_does_not_wait(transport) {
        let context = Context::new();
        let mut xsub = XSubSocket::builder(&context).send_hwm(1).build().unwrap();
        xsub.bind(transport.wildcard()).unwrap();
        xsub.connect(transport.fresh()).unwrap();
        for number in 0..2000 {
            assert_eq!(xsub.send(format!("message {number}")).unwrap(), to(0));
            assert_eq!(xsub.send(format!("\x01topic {number}")).unwrap(), Published::default());
        }
        assert_eq!(xsub.dropped(), 0);
    }

    /// [29/XSUB-16] SHOULD: its subscriptions are taken back before a connection to a publisher is closed. DIFFERS: the end of
    /// the connection does that, for every publisher, and takes no time.
    fn closing_a_connection_ends_its_subscriptions(transport) {
        let context = Context::new();
        let mut xpub = XPubSocket::new(&context);
        let endpoint = xpub.bind(transport.wildcard()).unwrap();
        let mut xsub: XSubSocket = subscriber(&context, &endpoint, &["a"]);
        assert_eq!(news(&mut xpub), "+a");
        xsub.disconnect(&endpoint).unwrap();
        assert_eq!(news(&mut xpub), "-a");
        xsub.connect(&endpoint).unwrap();
        assert_eq!(news(&mut xpub), "+a");
        drop(xsub);
        assert_eq!(news(&mut xpub), "-a");
        if transport.is_inproc() {
            return;
        }
        // On the wire there is the end, and nothing before it.
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut xsub = XSubSocket::new(&context);
        xsub.subscribe("a").unwrap();
        xsub.connect(endpoint.as_str()).unwrap();
        let mut raw = listener.accept();
        shake_hands_as(&mut raw, 0, "XPUB");
        assert_eq!(raw.read_frame(), (0, b"\x01a".to_vec()));
        xsub.disconnect(endpoint.as_str()).unwrap();
        raw.shutdown_write();
        assert_eq!(raw.read_to_hang_up(), b"");
    }
}

/// Three peers have sent so many messages each: every three messages there is one of each, and each peer's are in order.
#[track_caller]
fn in_turn(socket: &mut impl ReceivesInTurn, messages: usize, text: impl Fn(usize, usize) -> String) {
    for number in 0..messages {
        let heard: BTreeSet<String> = (0..3).map(|_| hear(socket)).collect();
        assert_eq!(heard, (0..3).map(|peer| text(peer, number)).collect());
    }
}
