//! Subscriptions as bytes: as commands and as messages, to and from peers of either version, well-formed or not.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zerowire::{
    Builder, Context, Endpoint, Event, Monitor, ProtocolError, PubSocket, Reason, RecvTimeoutError,
    SubSocket, Told, WaitError,
};

use super::{eager_sub, hear, hear_to_end, publisher, ready, subscriber, to};
use crate::raw::{
    COMMAND, LONG, MORE, Raw, RawListener, command, frame, greeting_with, header, is_hang_up, message, ping,
    ready as ready_command,
};
use crate::support::{DEADLINE, Transport, pattern, receive, wait_for_handshake, wait_until};
use crate::{on_every_transport, on_every_wire};

/// Writes that a peer wants a topic, or does not want it any more.
type Form = fn(bool, &[u8]) -> Vec<u8>;

/// How a peer of ZMTP 3.1 says what it wants.
pub fn subscribe(topic: &[u8]) -> Vec<u8> {
    command("SUBSCRIBE", topic)
}

pub fn cancel(topic: &[u8]) -> Vec<u8> {
    command("CANCEL", topic)
}

/// How a peer of ZMTP 3.0 says it, and anybody may.
pub fn subscription_message(wanted: bool, topic: &[u8]) -> Vec<u8> {
    message(&[&[&[u8::from(wanted)], topic].concat()])
}

/// Shakes hands as a peer of some version.
pub fn shake_hands_as(raw: &mut Raw, minor: u8, socket_type: &str) {
    raw.send(&greeting_with(3, minor, b"NULL"));
    raw.send(&ready_command(socket_type));
    raw.read_handshake();
}

/// Connects as a subscriber of some version.
pub fn raw_subscriber(endpoint: &str, minor: u8) -> Raw {
    let mut raw = Raw::connect(endpoint);
    shake_hands_as(&mut raw, minor, "SUB");
    raw
}

/// Waits until everything that was sent so far has been handed to the application's side of a publisher.
#[track_caller]
pub fn sync(raw: &mut Raw) {
    raw.send(&ping(b"sync"));
    while raw.read_frame() != (COMMAND, b"\x04PONGsync".to_vec()) {}
}

/// The next frame has to be a PING; returns its context.
#[track_caller]
fn read_ping(raw: &mut Raw) -> Vec<u8> {
    let (flags, body) = raw.read_frame();
    assert_eq!((flags, &body[..7]), (COMMAND, &b"\x04PING\0\0"[..]));
    body[7..].to_vec()
}

/// Answers as a publisher that has taken in what it was told. It is asked twice, and nothing else in between.
#[track_caller]
fn acknowledge(raw: &mut Raw) {
    let first = read_ping(raw);
    raw.send(&command("PONG", &first));
    acknowledge_again(raw, &first);
}

/// Answers to the second question.
#[track_caller]
fn acknowledge_again(raw: &mut Raw, first: &[u8]) {
    let second = read_ping(raw);
    assert_eq!(second, [first, b"again"].concat());
    raw.send(&command("PONG", &second));
}

#[track_caller]
fn expect_bytes(raw: &mut Raw, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    std::io::Read::read_exact(raw, &mut bytes).expect("as many bytes");
    assert!(
        bytes == expected,
        "{} instead of {}",
        bytes.escape_ascii(),
        expected.escape_ascii()
    );
}

/// Topics whose frames have headers of either form, in commands and in messages.
fn topics() -> Vec<Vec<u8>> {
    let mut topics: Vec<Vec<u8>> = vec![Vec::new(), b"a".to_vec(), b"\0\x01\xff".to_vec()];
    for length in [244, 245, 246, 248, 249, 253, 254, 255, 256, 5000, 16 << 10] {
        topics.push(pattern(length, length as u8));
    }
    topics
}

/// A bound publisher with a good subscriber, whom nothing that others do may disturb.
struct Scene {
    publisher: PubSocket,
    endpoint: Endpoint,
    monitor: Monitor,
    good: SubSocket,
    sent: u32,
}

impl Scene {
    fn new(transport: Transport) -> Scene {
        Scene::with(transport, |builder| builder)
    }

    fn with(transport: Transport, options: impl FnOnce(Builder<PubSocket>) -> Builder<PubSocket>) -> Scene {
        let context = Context::new();
        let mut publisher = options(PubSocket::builder(&context)).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let good = subscriber(&Context::new(), &endpoint, &["good"]);
        let monitor = publisher.monitor();
        assert_eq!(publisher.subscribers(), 1);
        Scene {
            publisher,
            endpoint,
            monitor,
            good,
            sent: 0,
        }
    }

    fn peer(&self, minor: u8) -> Raw {
        let raw = raw_subscriber(&self.endpoint.to_string(), minor);
        wait_for_handshake(&self.monitor);
        raw
    }

    /// The good subscriber gets what it wants.
    #[track_caller]
    fn check_good(&mut self) {
        self.sent += 1;
        let text = format!("good {}", self.sent);
        let published = self.publisher.send(text.as_str()).unwrap();
        assert_eq!(published.dropped, 0);
        assert_eq!(hear(&mut self.good), text);
    }

    /// Why the next connection was closed.
    #[track_caller]
    fn reason(&mut self) -> Reason {
        let (publisher, monitor) = (&mut self.publisher, &self.monitor);
        let mut found = None;
        // Some of what a peer says is judged by the publisher, when it is called.
        wait_until("a peer is disconnected", || {
            publisher.subscribers();
            while let Some(event) = monitor.try_recv() {
                if let Event::Disconnected { reason, .. } = event {
                    found = Some(reason);
                    return true;
                }
            }
            false
        });
        found.unwrap()
    }
}

on_every_wire! {
    /// A publisher of ZMTP 3.1 is told by commands, with a PING behind them, which says when they have arrived.
    fn a_publisher_of_3_1_is_told_by_commands(transport) {
        let context = Context::new();
        let listener_endpoint = transport.fresh();
        let listener = RawListener::bind(&listener_endpoint);
        let mut subscriber = eager_sub(&context);
        for topic in topics() {
            subscriber.subscribe(topic).unwrap();
        }
        subscriber.connect(listener_endpoint.as_str()).unwrap();
        let mut raw = listener.accept();
        shake_hands_as(&mut raw, 1, "PUB");
        for topic in topics() {
            expect_bytes(&mut raw, &subscribe(&topic));
        }
        let first = read_ping(&mut raw);
        let moment = Duration::from_millis(20);
        assert_eq!(subscriber.wait_ready(moment), Err(WaitError::Timeout), "it has not answered");

        // The second of two is no news, nor is the end of one of two.
        subscriber.subscribe("a").unwrap();
        subscriber.unsubscribe("a").unwrap();
        subscriber.unsubscribe("a").unwrap();
        expect_bytes(&mut raw, b"\x04\x08\x06CANCELa");
        raw.send(&command("PONG", b"what is that"));
        raw.send(&command("PONG", &[&first[..], b"again"].concat()));
        assert_eq!(subscriber.wait_ready(moment), Err(WaitError::Timeout), "it has answered something else");
        raw.send(&command("PONG", &first));
        assert_eq!(subscriber.wait_ready(moment), Err(WaitError::Timeout), "it may not have looked yet");
        acknowledge_again(&mut raw, &first);
        assert_eq!(subscriber.wait_ready(moment), Err(WaitError::Timeout), "it has not heard of the end of one");
        acknowledge(&mut raw);
        assert_eq!(subscriber.wait_ready(DEADLINE), Ok(Told::Acknowledged));

        for topic in topics().into_iter().filter(|topic| topic != b"a") {
            subscriber.unsubscribe(&topic).unwrap();
            expect_bytes(&mut raw, &cancel(&topic));
            acknowledge(&mut raw);
        }
        ready(&mut subscriber);
        // A new connection is told what is wanted now.
        subscriber.subscribe("b").unwrap();
        drop(raw);
        let mut raw = listener.accept();
        shake_hands_as(&mut raw, 1, "XPUB");
        expect_bytes(&mut raw, b"\x04\x0b\x09SUBSCRIBEb");
        acknowledge(&mut raw);
        ready(&mut subscriber);
        // It filters by itself.
        raw.send(&[message(&[b"a"]), message(&[b"b1"]), message(&[b"", b"b"]), message(&[b"b2", b""])].concat());
        assert_eq!(hear(&mut subscriber), "b1");
        assert!(receive(&mut subscriber).parts().eq([&b"b2"[..], b""]));
    }

    /// A publisher of ZMTP 3.0 is told by messages. It cannot say when they have arrived.
    fn a_publisher_of_3_0_is_told_by_messages(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut subscriber = eager_sub(&context);
        for topic in topics() {
            subscriber.subscribe(topic).unwrap();
        }
        subscriber.connect(endpoint.as_str()).unwrap();
        let mut raw = listener.accept();
        shake_hands_as(&mut raw, 0, "PUB");
        assert_eq!(subscriber.wait_ready(DEADLINE), Ok(Told::Sent));
        for topic in topics() {
            expect_bytes(&mut raw, &subscription_message(true, &topic));
        }
        for topic in topics() {
            subscriber.unsubscribe(&topic).unwrap();
            expect_bytes(&mut raw, &subscription_message(false, &topic));
        }
        subscriber.subscribe("b").unwrap();
        assert_eq!(subscriber.wait_ready(DEADLINE), Ok(Told::Sent));
        expect_bytes(&mut raw, b"\0\x02\x01b");
        raw.send(&[message(&[b"a"]), message(&[b"b1"])].concat());
        assert_eq!(hear(&mut subscriber), "b1");
    }

    /// With publishers of both versions, it is certain only that the subscriptions were sent.
    fn one_publisher_of_3_0_makes_ready_mean_sent(transport) {
        let context = Context::new();
        let (_publisher, new) = publisher(&context, transport);
        let old = transport.fresh();
        let listener = RawListener::bind(&old);
        let mut subscriber = subscriber(&context, &new, &["a"]);
        subscriber.connect(old.as_str()).unwrap();
        let mut raw = listener.accept();
        shake_hands_as(&mut raw, 0, "PUB");
        assert_eq!(subscriber.wait_ready(DEADLINE), Ok(Told::Sent));
        expect_bytes(&mut raw, b"\0\x02\x01a");
        subscriber.disconnect(old.as_str()).unwrap();
        raw.read_to_hang_up();
        drop(raw);
        wait_until("the old one is forgotten", || subscriber.wait_ready(DEADLINE) == Ok(Told::Acknowledged));
    }

    /// There may be nothing to tell a publisher of 3.0 either.
    fn a_subscriber_that_wants_nothing_is_ready_for_3_0(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        for _ in 0..50 {
            let mut subscriber = eager_sub(&context);
            subscriber.connect(endpoint.as_str()).unwrap();
            let mut raw = listener.accept();
            shake_hands_as(&mut raw, 0, "PUB");
            assert_eq!(subscriber.wait_ready(DEADLINE), Ok(Told::Sent));
            // In this order, or it would connect once more.
            drop(subscriber);
        }
    }

    /// A publisher understands commands and messages from everybody, all at once or byte by byte.
    fn a_publisher_understands_both_forms_from_both_versions(transport) {
        let mut scene = Scene::new(transport);
        for minor in [0, 1] {
            let mut raw = scene.peer(minor);
            let command = |wanted, topic: &[u8]| if wanted { subscribe(topic) } else { cancel(topic) };
            let forms = [subscription_message as Form, command];
            for (number, topic) in topics().iter().enumerate() {
                for (first, second) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let bytes = forms[first](true, topic);
                    if topic.len() < 300 && number % 2 == 0 {
                        bytes.iter().for_each(|byte| raw.send(&[*byte]));
                    } else {
                        raw.send(&bytes);
                    }
                    sync(&mut raw);
                    let text = [topic, &b" and more"[..]].concat();
                    assert_eq!(scene.publisher.send(text.clone()).unwrap(), to(1), "{number}");
                    assert!(raw.read_message() == [text]);
                    raw.send(&forms[second](false, topic));
                    sync(&mut raw);
                    assert_eq!(scene.publisher.send([topic, &b" and more"[..]].concat()).unwrap(), to(0));
                }
            }
            // One of each for the same topic is one subscription.
            raw.send(&[subscribe(b"x"), subscription_message(true, b"x"), subscribe(b"x")].concat());
            sync(&mut raw);
            assert_eq!(scene.publisher.send("x").unwrap(), to(1));
            raw.send(&subscription_message(false, b"x"));
            sync(&mut raw);
            assert_eq!(scene.publisher.send("x").unwrap(), to(0));
            scene.check_good();
        }
    }

    /// The end of a subscription that there is not, and messages that mean nothing, are no fault.
    fn a_publisher_ignores_what_means_nothing(transport) {
        let mut scene = Scene::new(transport);
        let mut raw = scene.peer(1);
        raw.send(&[cancel(b"never"), subscription_message(false, b"good"), subscribe(b"a")].concat());
        // Not of one part, or of no byte, or of another first byte.
        raw.send(&[message(&[b""]), message(&[b"\x02a"]), message(&[b"hello"])].concat());
        raw.send(&[message(&[b"\x01b", b""]), message(&[b"\x01b", b"more"]), message(&[b"\0a", b"x"])].concat());
        raw.send(&[message(&[&pattern(50_000, 1)]), command("DANCE", b"\x01b")].concat());
        sync(&mut raw);
        assert_eq!(scene.publisher.send("a").unwrap(), to(1));
        assert_eq!(scene.publisher.send("b").unwrap(), to(0));
        assert_eq!(raw.read_message(), [b"a"]);
        scene.check_good();
    }

    /// What breaks the protocol, or wants too much, costs its own connection, and the monitor says why.
    fn a_bad_subscription_costs_its_own_connection(transport) {
        type Check = fn(&Reason) -> bool;
        let too_many: Check = |reason| matches!(reason, Reason::TooManySubscriptions { topics: 50, bytes: 40_000 });
        let unexpected: Check = |reason| {
            matches!(reason, Reason::Protocol(ProtocolError::UnexpectedCommand { .. }))
        };
        let too_large: Check = |reason| {
            matches!(reason, Reason::Protocol(ProtocolError::CommandTooLarge { .. }))
        };
        let protocol: Check = |reason| matches!(reason, Reason::Protocol(_));
        let many: Vec<u8> = (0..51u8).flat_map(|number| subscribe(&[number])).collect();
        let long = |length: usize| pattern(length, length as u8);
        let attacks: Vec<(&str, Vec<u8>, Check)> = vec![
            ("a topic over 16 KiB, as a message", subscription_message(true, &long((16 << 10) + 1)), too_many),
            ("a topic over 16 KiB, as a command", subscribe(&long((16 << 10) + 1)), too_many),
            ("a command that is far too long", subscribe(&long(20_000)), too_large),
            ("the announcement of one", header(COMMAND | LONG, 1 << 40), too_large),
            ("one topic too many", many, too_many),
            (
                "too many bytes",
                [subscribe(&long(16_000)), subscribe(&long(15_999)), subscribe(&long(8002))].concat(),
                too_many,
            ),
            ("between the parts of a message", [frame(MORE, b"x"), subscribe(b"a")].concat(), unexpected),
            ("its end there", [frame(MORE, b"x"), cancel(b"a")].concat(), unexpected),
            ("a command of two frames", frame(COMMAND | MORE, b"\x09SUBSCRIBE"), protocol),
            ("a name that is cut", frame(COMMAND, b"\x09SUBSCRI"), protocol),
        ];
        let mut scene = Scene::with(transport, |builder| builder.topics_max(50).topic_bytes_max(40_000));
        for (what, bytes, is_expected) in attacks {
            let mut raw = scene.peer(1);
            raw.send(&subscribe(b"before"));
            raw.send_if_taken(&bytes);
            let reason = scene.reason();
            assert!(is_expected(&reason), "{what}: {reason:?}");
            raw.read_to_hang_up();
            assert_eq!(scene.publisher.subscribers(), 1, "after {what}");
            assert_eq!(scene.publisher.send("before").unwrap(), to(0));
            scene.check_good();
        }
        // The limits themselves are allowed,
        let mut raw = scene.peer(1);
        for length in [16 << 10, 15_000, 40_000 - (16 << 10) - 15_000 - 47] {
            raw.send(&subscribe(&long(length)));
        }
        (0..47u8).for_each(|number| raw.send(&subscription_message(true, &[number])));
        sync(&mut raw);
        scene.check_good();
        assert_eq!(scene.publisher.send(&[46]).unwrap(), to(1));
        assert_eq!(raw.read_message(), [[46]]);
        // and what was given up leaves room for others.
        for number in 0..47u8 {
            raw.send(&[cancel(&[number]), subscribe(&[number + 100])].concat());
        }
        sync(&mut raw);
        assert_eq!(scene.publisher.send(&[146]).unwrap(), to(1));
        assert_eq!(scene.publisher.send(&[46]).unwrap(), to(0));
        assert_eq!(raw.read_message(), [[146]]);
        scene.check_good();
    }

    /// A flood of changes, from a peer that reads nothing, does not keep a send from its end or the others from their messages.
    fn a_flood_of_changes_holds_up_nobody(transport) {
        let mut scene = Scene::new(transport);
        let flood = Flood::start(&scene.endpoint.to_string(), "SUB", {
            (0..50u8).flat_map(|number| {
                [
                    subscribe(&[b'x', number]),
                    subscription_message(true, b"y"),
                    cancel(&[b'x', number]),
                    subscription_message(false, b"y"),
                    message(&[b"noise", b""]),
                    ping(b"sixteen bytes!!!"),
                ]
                .concat()
            })
        });
        wait_for_handshake(&scene.monitor);
        for _ in 0..2000 {
            scene.check_good();
            scene.publisher.send("x").unwrap();
        }
        assert!(scene.publisher.wait_for_subscribers(3, Duration::from_millis(50)).is_err());
        flood.stop();
        wait_until("the flood is over", || scene.publisher.subscribers() == 1);
        scene.check_good();
    }

    /// A flood of messages that are not wanted does not keep a receive from its end.
    fn a_flood_of_unwanted_messages_does_not_keep_a_receive_from_its_end(transport) {
        let context = Context::new();
        let mut subscriber = SubSocket::new(&context);
        let monitor = subscriber.monitor();
        subscriber.subscribe("wanted").unwrap();
        let endpoint = subscriber.bind(transport.wildcard()).unwrap();
        let flood = Flood::start(&endpoint.to_string(), "PUB", (0..1000).flat_map(|_| message(&[b"no"])));
        wait_for_handshake(&monitor);
        for _ in 0..20 {
            let start = Instant::now();
            let wait = Duration::from_millis(10);
            assert_eq!(subscriber.recv_timeout(wait), Err(RecvTimeoutError::Timeout));
            assert!(start.elapsed() >= wait);
            assert!(subscriber.try_recv().is_err());
        }
        // Among the others, a good one is heard.
        let mut good = PubSocket::new(&context);
        good.connect(&endpoint).unwrap();
        good.wait_for_subscribers(1, DEADLINE).unwrap();
        for number in 0..100 {
            let text = format!("wanted {number}");
            assert_eq!(good.send(text.as_str()).unwrap(), to(1));
            assert_eq!(hear(&mut subscriber), text);
        }
        flood.stop();
    }

    /// While a connection is jammed by messages that the subscriber does not take, its changes go the other way all the same;
    /// and when it takes the messages, it learns that they have arrived.
    fn changes_pass_a_jammed_connection(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::builder(&context).send_hwm(10).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = SubSocket::builder(&context).receive_hwm(10).build().unwrap();
        subscriber.subscribe("jam").unwrap();
        subscriber.connect(&endpoint).unwrap();
        ready(&mut subscriber);
        let mut jammed = vec![b'.'; 100_000];
        jammed[..3].copy_from_slice(b"jam");
        let mut queued = 0;
        let jam = |publisher: &mut PubSocket| {
            let mut queued = 0;
            let mut dropped_in_a_row = 0;
            while dropped_in_a_row < 50 {
                let published = publisher.send(jammed.clone()).unwrap();
                queued += published.queued;
                dropped_in_a_row = if published.dropped == 0 { 0 } else { dropped_in_a_row + 1 };
            }
            queued
        };
        queued += jam(&mut publisher);
        for number in 0..100 {
            let topic = format!("topic {number}/");
            subscriber.subscribe(&topic).unwrap();
            publisher.wait_for_subscribers_to(&topic, 1, DEADLINE).unwrap();
        }
        queued += jam(&mut publisher);
        for _ in 0..queued {
            assert_eq!(&receive(&mut subscriber).as_bytes()[..3], b"jam");
        }
        ready(&mut subscriber);
        assert_eq!(publisher.send("topic 99/").unwrap(), to(1));
        assert_eq!(hear(&mut subscriber), "topic 99/");
    }
}

on_every_transport! {
    /// A subscriber that wants more than its publisher allows is disconnected, the others stay.
    fn a_subscriber_that_wants_too_much_is_disconnected(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::builder(&context).topics_max(10).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut good = subscriber(&context, &endpoint, &["a", "end"]);
        let mut greedy = SubSocket::builder(&context).reconnect_min(Duration::from_secs(3600)).reconnect_max(Duration::from_secs(3600)).build().unwrap();
        greedy.connect(&endpoint).unwrap();
        for number in 0..10 {
            greedy.subscribe(format!("a{number}")).unwrap();
        }
        ready(&mut greedy);
        assert_eq!(publisher.send("a9").unwrap(), to(2));
        greedy.subscribe("one more").unwrap();
        wait_until("the greedy one is gone", || publisher.subscribers() == 1);
        assert_eq!(publisher.send("a9").unwrap(), to(1));
        assert_eq!(publisher.send("one more").unwrap(), to(0));
        assert_eq!(publisher.send("end").unwrap(), to(1));
        assert_eq!(hear_to_end(&mut good), ["a9", "a9"]);
    }

    /// To be told again what one holds is not to want more.
    fn a_topic_that_is_held_counts_once_towards_the_limit(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::builder(&context).topics_max(3).topic_bytes_max(3).build().unwrap();
        let monitor = publisher.monitor();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = zerowire::XSubSocket::new(&context);
        subscriber.connect(&endpoint).unwrap();
        for topic in ["\u{1}a", "\u{1}b", "\u{1}c"] {
            subscriber.send(topic).unwrap();
        }
        publisher.wait_for_subscribers_to("c", 1, DEADLINE).unwrap();
        // An XSUB says each subscription again.
        for _ in 0..10 {
            for topic in ["\u{1}a", "\u{1}b", "\u{1}c"] {
                subscriber.send(topic).unwrap();
            }
            assert_eq!(subscriber.wait_ready(DEADLINE), Ok(Told::Acknowledged));
            assert_eq!(publisher.send("a").unwrap(), to(1));
            assert_eq!(hear(&mut subscriber), "a");
        }
        while let Some(event) = monitor.try_recv() {
            assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
        }
    }
}

/// A peer that sends the same bytes again and again and reads nothing.
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Flood {
    pub fn start(endpoint: &str, socket_type: &str, bytes: impl Iterator<Item = u8>) -> Flood {
        Flood::go_on(Raw::peer(endpoint, socket_type), bytes)
    }

    pub fn go_on(mut raw: Raw, bytes: impl Iterator<Item = u8>) -> Flood {
        let bytes: Vec<u8> = bytes.collect();
        raw.set_nonblocking();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut at = 0;
            while !stopped.load(Ordering::Relaxed) {
                match raw.write(&bytes[at..]) {
                    Ok(count) => at = (at + count) % bytes.len(),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                    Err(error) => {
                        assert!(is_hang_up(&error), "{error}");
                        return;
                    }
                }
            }
        });
        Flood { stop, thread }
    }

    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}
