//! PUB and SUB: who gets what is published, and who knows who wants what.

pub mod on_the_wire;
mod restarts;
mod slow_subscribers;

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Context, Endpoint, Message, PubSocket, Published, SubSocket, SubscribeError, Told, TryRecvError,
    WaitError,
};

use crate::executors::{block_on, poll_once};
use crate::on_every_transport;
use crate::support::{DEADLINE, ReceivesInTurn, Transport, number, pattern, receive, wait_until};

/// Receives a message of one part, as text.
#[track_caller]
pub fn hear(socket: &mut impl ReceivesInTurn) -> String {
    let message = receive(socket);
    assert_eq!(message.part_count(), 1, "one part, not {message:?}");
    String::from_utf8_lossy(message.as_bytes()).into_owned()
}

/// Receives messages up to the one that says "end", which is left out.
#[track_caller]
pub fn hear_to_end(socket: &mut impl ReceivesInTurn) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        match hear(socket) {
            end if end == "end" => return heard,
            other => heard.push(other),
        }
    }
}

/// A subscriber that does not wait long before it connects again.
pub fn eager_sub(context: &Context) -> SubSocket {
    SubSocket::builder(context)
        .reconnect_min(Duration::from_millis(1))
        .reconnect_max(Duration::from_millis(20))
        .build()
        .unwrap()
}

/// A publisher that is bound.
pub fn publisher(context: &Context, transport: Transport) -> (PubSocket, Endpoint) {
    let mut publisher = PubSocket::new(context);
    let endpoint = publisher.bind(transport.wildcard()).unwrap();
    (publisher, endpoint)
}

/// A subscriber whose publisher knows the topics when its next call begins.
#[track_caller]
pub fn subscriber(context: &Context, endpoint: &Endpoint, topics: &[&str]) -> SubSocket {
    let mut subscriber = eager_sub(context);
    for topic in topics {
        subscriber.subscribe(topic).unwrap();
    }
    subscriber.connect(endpoint).unwrap();
    ready(&mut subscriber);
    subscriber
}

/// Waits until the publishers know what the subscriber wants.
#[track_caller]
pub fn ready(subscriber: &mut SubSocket) {
    assert_eq!(subscriber.wait_ready(DEADLINE), Ok(Told::Acknowledged));
}

/// A message that went to all who want it, of whom there are so many.
pub fn to(peers: usize) -> Published {
    Published {
        matched: peers,
        queued: peers,
        ..Published::default()
    }
}

on_every_transport! {
    /// Topics are bytes, and a message is for whoever holds one with which its first part begins.
    fn a_message_is_for_those_whose_topics_it_begins_with(transport) {
        const WANTED: [&[&[u8]]; 7] = [
            &[],
            &[b""],
            &[b"a"],
            &[b"ab", b"b"],
            &[b"a", b"abc", b"b", b"abc\0"],
            &[b"\0", b"a\0b", b"\xff"],
            &[b"a topic that is longer than what a message holds inline, which is sixty-four bytes, and goes on"],
        ];
        const SENT: [&[u8]; 18] = [
            b"", b"a", b"ab", b"abc", b"abc\0", b"abd", b"b", b"ba", b"c", b"\0", b"\0a", b"a\0", b"a\0b",
            b"a\0bc", b"\xff", b"\xfe\xff", b"A",
            b"a topic that is longer than what a message holds inline, which is sixty-four bytes, and goes on",
        ];
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let mut subscribers: Vec<SubSocket> = WANTED
            .iter()
            .map(|topics| {
                let mut subscriber = subscriber(&context, &endpoint, &["end"]);
                for topic in *topics {
                    subscriber.subscribe(topic).unwrap();
                }
                ready(&mut subscriber);
                subscriber
            })
            .collect();
        let mut expected: Vec<Vec<Vec<u8>>> = vec![Vec::new(); WANTED.len()];
        // Short ones, such as are copied, and such as are passed on by reference.
        for padding in [0, 100, 6000] {
            for start in SENT {
                let first = [start, &vec![b'.'; padding][..]].concat();
                let mut matched = 0;
                for (topics, expected) in WANTED.iter().zip(&mut expected) {
                    if topics.iter().any(|topic| first.starts_with(topic)) {
                        expected.push(first.clone());
                        matched += 1;
                    }
                }
                // What else is in the message does not count.
                assert_eq!(publisher.send([&first[..], b"a", b"\xff"]).unwrap(), to(matched), "{start:?}");
            }
        }
        assert_eq!(publisher.send("end").unwrap(), to(WANTED.len()));
        for (subscriber, expected) in subscribers.iter_mut().zip(expected) {
            for first in expected {
                assert!(receive(subscriber).parts().eq([&first[..], b"a", b"\xff"]));
            }
            assert_eq!(hear(subscriber), "end");
            assert_eq!(subscriber.try_recv(), Err(TryRecvError::Empty));
        }
        assert_eq!((publisher.dropped(), publisher.lost()), (0, 0));
    }

    /// Whoever wants something more than once gets it once, and as long as one of the reasons stands.
    fn subscriptions_are_counted(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let mut subscriber = subscriber(&context, &endpoint, &["a", "a", "ab"]);
        assert_eq!(publisher.send("ab 1").unwrap(), to(1));
        subscriber.unsubscribe("a").unwrap();
        ready(&mut subscriber);
        assert_eq!(publisher.send("a 2").unwrap(), to(1));
        subscriber.unsubscribe("a").unwrap();
        ready(&mut subscriber);
        assert_eq!(publisher.send("a 3").unwrap(), to(0));
        assert_eq!(publisher.send("ab 4").unwrap(), to(1));
        match subscriber.unsubscribe("a") {
            Err(SubscribeError::NotSubscribed { topic }) => assert_eq!(topic, "a"),
            other => panic!("{other:?}"),
        }
        subscriber.unsubscribe("ab").unwrap();
        ready(&mut subscriber);
        assert_eq!(publisher.send("ab 5").unwrap(), to(0));
        assert_eq!(publisher.subscribers(), 0);
        subscriber.subscribe("").unwrap();
        ready(&mut subscriber);
        assert_eq!(publisher.send("end").unwrap(), to(1));
        // What came before the last subscription and is wanted by it now is received: it was on its way for other reasons.
        assert_eq!(hear_to_end(&mut subscriber), ["ab 1", "a 2", "ab 4"]);
    }

    /// The longest topic works, a longer one is refused before anybody hears of it.
    fn a_topic_has_16_kib_at_most(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let mut subscriber = subscriber(&context, &endpoint, &["end"]);
        let longest = pattern(16 << 10, 3);
        subscriber.subscribe(&longest).unwrap();
        let longer = pattern((16 << 10) + 1, 3);
        let refused = SubscribeError::TooLong { bytes: longer.len(), limit: longest.len() };
        assert_eq!(subscriber.subscribe(&longer), Err(refused));
        ready(&mut subscriber);
        assert_eq!(publisher.send(longer.clone()).unwrap(), to(1));
        assert_eq!(publisher.send(&longest[..longest.len() - 1]).unwrap(), to(0));
        assert_eq!(publisher.send("end").unwrap(), to(1));
        assert!(receive(&mut subscriber).as_bytes() == longer);
        assert_eq!(hear(&mut subscriber), "end");
    }

    /// A message that is here, or on its way, when its topic is given up is not received.
    fn what_was_given_up_is_not_received_even_if_it_has_come(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let mut subscriber = subscriber(&context, &endpoint, &["a", "ab", "b", "end"]);
        for round in 0..20 {
            for topic in ["b", "a", "b", "ab", "ac"] {
                for padding in [0, 100, 6000] {
                    let first = [topic.as_bytes(), &vec![b'.'; padding]].concat();
                    assert_eq!(publisher.send([&first[..], &[round]]).unwrap(), to(1));
                }
            }
        }
        assert_eq!(publisher.send("end").unwrap(), to(1));
        assert_eq!(receive(&mut subscriber).part(0), Some(&b"b"[..]));
        subscriber.unsubscribe("a").unwrap();
        let mut heard = 1;
        loop {
            let message = receive(&mut subscriber);
            let first = message.part(0).unwrap();
            if first == b"end" {
                break;
            }
            assert!(first.starts_with(b"b") || first.starts_with(b"ab"), "nothing with \"a\" alone");
            heard += 1;
        }
        assert_eq!(heard, 20 * 3 * 3);
        // Taken up again, it is what it was.
        subscriber.subscribe("a").unwrap();
        ready(&mut subscriber);
        assert_eq!(publisher.send("ac").unwrap(), to(1));
        assert_eq!(hear(&mut subscriber), "ac");
    }

    /// Whether the subscriber connects or is bound, and subscribes before or after: every publisher learns of every topic.
    fn every_publisher_learns_of_every_topic(transport) {
        let context = Context::new();
        let mut subscriber = eager_sub(&context);
        subscriber.subscribe("before").unwrap();
        let bound = subscriber.bind(transport.wildcard()).unwrap();
        let late = transport.fresh();
        subscriber.connect(late.as_str()).unwrap();
        subscriber.subscribe("between").unwrap();

        let mut publishers: Vec<PubSocket> = (0..3)
            .map(|_| {
                let mut publisher = PubSocket::new(&context);
                publisher.connect(&bound).unwrap();
                publisher
            })
            .collect();
        let mut last = PubSocket::new(&context);
        last.bind(late.as_str()).unwrap();
        publishers.push(last);
        subscriber.subscribe("after").unwrap();

        for (number, publisher) in publishers.iter_mut().enumerate() {
            for topic in ["before", "between", "after"] {
                publisher.wait_for_subscribers_to(topic, 1, DEADLINE).unwrap();
                assert_eq!(publisher.send([topic, &number.to_string()]).unwrap(), to(1));
            }
            assert_eq!(publisher.send("neither").unwrap(), to(0));
        }
        let heard: BTreeSet<(String, String)> = (0..12)
            .map(|_| {
                let message = receive(&mut subscriber);
                let part = |index| String::from_utf8_lossy(message.part(index).unwrap()).into_owned();
                (part(0), part(1))
            })
            .collect();
        assert_eq!(heard.len(), 12);
        ready(&mut subscriber);
        subscriber.unsubscribe("between").unwrap();
        ready(&mut subscriber);
        for publisher in &mut publishers {
            assert_eq!(publisher.send("between").unwrap(), to(0));
        }
    }

    /// Who has disconnected is no subscriber any more, hears nothing, and may come back.
    fn a_subscriber_that_disconnects_is_gone(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let mut subscriber = subscriber(&context, &endpoint, &["a"]);
        for _ in 0..3 {
            assert_eq!(publisher.send("a 1").unwrap(), to(1));
            assert_eq!(hear(&mut subscriber), "a 1");
            subscriber.disconnect(&endpoint).unwrap();
            wait_until("the subscriber is gone", || publisher.subscribers() == 0);
            assert_eq!(publisher.send("a 2").unwrap(), to(0));
            // What it subscribes to meanwhile is between it and the publishers to come.
            subscriber.subscribe("b").unwrap();
            assert_eq!(publisher.wait_for_subscribers(1, Duration::from_millis(5)), Err(WaitError::Timeout));
            subscriber.connect(&endpoint).unwrap();
            ready(&mut subscriber);
            assert_eq!(publisher.send("b 3").unwrap(), to(1));
            assert_eq!(hear(&mut subscriber), "b 3");
        }
    }

    /// Being ready is about the publishers that are connected to now, not about those of the past.
    fn a_subscriber_is_not_ready_for_a_publisher_that_is_not_there(transport) {
        let context = Context::new();
        let (_publisher, endpoint) = publisher(&context, transport);
        let mut subscriber = subscriber(&context, &endpoint, &["a"]);
        let moment = Duration::from_millis(20);
        let absent = transport.fresh();
        subscriber.connect(absent.as_str()).unwrap();
        assert_eq!(subscriber.wait_ready(moment), Err(WaitError::Timeout), "one of two");
        subscriber.disconnect(&endpoint).unwrap();
        assert_eq!(subscriber.wait_ready(moment), Err(WaitError::Timeout), "one is gone, one not there");
        let mut present = PubSocket::new(&context);
        present.bind(absent.as_str()).unwrap();
        ready(&mut subscriber);
        assert_eq!(present.send("a").unwrap(), to(1));
        subscriber.disconnect(absent.as_str()).unwrap();
        // A connection that is closing counts until it is closed.
        wait_until("nobody is there", || subscriber.wait_ready(moment) == Err(WaitError::Timeout));
    }

    /// There may be nothing to tell.
    fn a_subscriber_that_wants_nothing_is_ready_when_it_is_connected(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        for _ in 0..200 {
            let mut subscriber = SubSocket::new(&context);
            subscriber.connect(&endpoint).unwrap();
            ready(&mut subscriber);
        }
        assert_eq!(publisher.send("anything").unwrap(), to(0));
    }

    /// However much there is to learn for a publisher that has not looked for a while: what was acknowledged, it knows in its
    /// very next call.
    fn what_was_acknowledged_counts_for_the_next_message(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let mut subscribers: Vec<SubSocket> = (0..4)
            .map(|_| {
                let mut subscriber = eager_sub(&context);
                for topic in 0..900 {
                    subscriber.subscribe(format!("topic {topic}")).unwrap();
                }
                subscriber.subscribe("end").unwrap();
                subscriber.connect(&endpoint).unwrap();
                ready(&mut subscriber);
                subscriber
            })
            .collect();
        assert_eq!(publisher.send("end").unwrap(), to(4));
        for subscriber in &mut subscribers {
            assert_eq!(hear(subscriber), "end");
        }
        for mut subscriber in subscribers {
            subscriber.unsubscribe("end").unwrap();
            ready(&mut subscriber);
        }
    }

    /// Waiting for subscribers ends when there are enough of them, and not before.
    fn a_publisher_waits_for_its_subscribers(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let moment = Duration::from_millis(20);
        assert_eq!(publisher.wait_for_subscribers(0, Duration::ZERO), Ok(()));
        assert_eq!(publisher.wait_for_subscribers_to("a", 0, Duration::ZERO), Ok(()));
        for wait in [0, 1, 20, 60].map(Duration::from_millis) {
            let start = Instant::now();
            assert_eq!(publisher.wait_for_subscribers(1, wait), Err(WaitError::Timeout));
            assert!(start.elapsed() >= wait);
            let start = Instant::now();
            assert_eq!(publisher.wait_for_subscribers_to("a", 1, wait), Err(WaitError::Timeout));
            assert!(start.elapsed() >= wait);
        }
        let connecting = {
            let (context, endpoint) = (context.clone(), endpoint.clone());
            thread::spawn(move || ["a", "ab", "b"].map(|topic| subscriber(&context, &endpoint, &[topic])))
        };
        publisher.wait_for_subscribers(3, DEADLINE).unwrap();
        let [mut late, _others @ ..] = connecting.join().unwrap();
        assert_eq!(publisher.subscribers(), 3);
        assert_eq!(publisher.wait_for_subscribers(4, moment), Err(WaitError::Timeout));
        // A message that begins with "ab" is for the holders of "a" and of "ab".
        publisher.wait_for_subscribers_to("abc", 2, DEADLINE).unwrap();
        publisher.wait_for_subscribers_to("ab", 2, DEADLINE).unwrap();
        assert_eq!(publisher.wait_for_subscribers_to("abc", 3, moment), Err(WaitError::Timeout));
        assert_eq!(publisher.wait_for_subscribers_to("a", 2, moment), Err(WaitError::Timeout));
        assert_eq!(publisher.wait_for_subscribers_to("c", 1, moment), Err(WaitError::Timeout));
        let waiting = thread::spawn(move || {
            publisher.wait_for_subscribers_to("c", 1, DEADLINE).unwrap();
            publisher
        });
        late.subscribe("c").unwrap();
        let mut publisher = waiting.join().unwrap();
        assert_eq!(publisher.send("c").unwrap(), to(1));
        assert_eq!(hear(&mut late), "c");
    }

    /// Turned round, topics say what is not wanted.
    fn inverted_matching_delivers_the_rest(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::builder(&context).invert_matching(true).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let connect = |topics: &[&str]| {
            let mut subscriber = SubSocket::builder(&context).invert_matching(true).build().unwrap();
            for topic in topics {
                subscriber.subscribe(topic).unwrap();
            }
            subscriber.connect(&endpoint).unwrap();
            ready(&mut subscriber);
            subscriber
        };
        let (mut all, mut not_a, mut neither) = (connect(&[]), connect(&["a"]), connect(&["a", "b"]));
        assert_eq!(publisher.send("a 1").unwrap(), to(1));
        assert_eq!(publisher.send("b 2").unwrap(), to(2));
        assert_eq!(publisher.send("c 3").unwrap(), to(3));
        not_a.subscribe("b").unwrap();
        // Filtered here, though it was sent.
        let mut nothing = connect(&[""]);
        assert_eq!(publisher.send("end").unwrap(), to(3));
        assert_eq!(hear_to_end(&mut all), ["a 1", "b 2", "c 3"]);
        assert_eq!(hear_to_end(&mut not_a), ["c 3"]);
        assert_eq!(hear_to_end(&mut neither), ["c 3"]);
        drop(all);
        ready(&mut not_a);
        wait_until("the first has left", || publisher.send("c 4").unwrap() == to(2));
        assert_eq!(publisher.send("b 5").unwrap(), to(0));
        assert_eq!(nothing.try_recv(), Err(TryRecvError::Empty));
    }

    /// Who waits for subscribers to a topic waits for those that would get a message, also if matching is turned round.
    fn waiting_for_subscribers_knows_of_inverted_matching(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::builder(&context).invert_matching(true).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = SubSocket::builder(&context).invert_matching(true).build().unwrap();
        subscriber.subscribe("a").unwrap();
        subscriber.connect(&endpoint).unwrap();
        ready(&mut subscriber);
        assert_eq!(publisher.send("b").unwrap(), to(1));
        assert_eq!(publisher.wait_for_subscribers_to("b", 1, Duration::from_millis(20)), Ok(()));
        assert_eq!(
            publisher.wait_for_subscribers_to("a", 1, Duration::from_millis(20)),
            Err(WaitError::Timeout)
        );
    }

    /// One subscriber after the other, two hundred in all and ten at a time, while the publisher goes on: nobody is
    /// overlooked, and nobody is remembered.
    fn subscribers_come_and_go_while_the_publisher_goes_on(transport) {
        const THREADS: usize = 10;
        const EACH: usize = 20;
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let visitors: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (context, endpoint) = (context.clone(), endpoint.clone());
                thread::spawn(move || {
                    for visit in 0..EACH {
                        let own = format!("for {thread}/{visit}/");
                        let mut subscriber = eager_sub(&context);
                        subscriber.connect(&endpoint).unwrap();
                        subscriber.subscribe(&own).unwrap();
                        subscriber.subscribe("for all").unwrap();
                        let (mut own_heard, mut all_heard) = (0, 0);
                        while own_heard < 3 || all_heard < 3 {
                            let heard = hear(&mut subscriber);
                            own_heard += usize::from(heard.starts_with(&own));
                            all_heard += usize::from(heard == "for all");
                        }
                    }
                })
            })
            .collect();
        while visitors.iter().any(|visitor| !visitor.is_finished()) {
            publisher.send("for all").unwrap();
            for thread in 0..THREADS {
                for visit in 0..EACH {
                    let published = publisher.send(format!("for {thread}/{visit}/")).unwrap();
                    assert!(published.matched <= 1, "{published:?}");
                }
            }
            thread::yield_now();
        }
        for visitor in visitors {
            visitor.join().unwrap();
        }
        wait_until("all have left", || publisher.subscribers() == 0);
        assert_eq!(publisher.send("for all").unwrap(), to(0));
        let mut last = subscriber(&context, &endpoint, &["for all"]);
        assert_eq!(publisher.send("for all").unwrap(), to(1));
        assert_eq!(hear(&mut last), "for all");
    }

    /// Both sides as futures, under an executor of a few lines.
    fn messages_pass_under_any_executor(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let mut subscriber = subscriber(&context, &endpoint, &["even"]);
        let (go_on, wait) = std::sync::mpsc::channel();
        let sender = thread::spawn(move || {
            block_on(async {
                for number in 0..4000u32 {
                    let topic = if number % 2 == 0 { "even" } else { "odd" };
                    let message = Message::from([topic.as_bytes(), &number.to_be_bytes()]);
                    let published = publisher.send_async(message).await.unwrap();
                    assert_eq!(published, to(usize::from(number % 2 == 0)));
                    if number % 500 == 499 {
                        // The subscriber keeps up, so nothing is dropped.
                        wait.recv().unwrap();
                    }
                }
            });
            publisher
        });
        for expected in (0..4000).step_by(2) {
            let mut message = block_on(subscriber.recv_async()).unwrap();
            assert_eq!(message.pop_front().unwrap(), "even");
            assert_eq!(number(&message), expected);
            if expected % 500 == 498 {
                go_on.send(()).unwrap();
            }
        }
        sender.join().unwrap();
    }

    /// A receive future that is dropped has taken nothing, though the filter has looked at messages.
    fn a_dropped_receive_future_loses_nothing(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = publisher(&context, transport);
        let mut subscriber = subscriber(&context, &endpoint, &["a", "b"]);
        let (go_on, wait) = std::sync::mpsc::channel();
        let sender = thread::spawn(move || {
            for number in 0..10_000u32 {
                let topic = if number % 3 == 0 { "a" } else { "b" };
                let first = [topic.as_bytes(), &vec![b'.'; (number % 2) as usize * 5000]].concat();
                assert_eq!(publisher.send([&first[..], &number.to_be_bytes()]).unwrap(), to(1));
                if number % 500 == 499 {
                    wait.recv().unwrap();
                }
            }
            publisher
        });
        let end = Instant::now() + DEADLINE;
        let mut expected = 0;
        while expected < 10_000 {
            match poll_once(pin!(subscriber.recv_async())) {
                Poll::Ready(message) => {
                    let mut message = message.unwrap();
                    message.pop_front().unwrap();
                    assert_eq!(number(&message), expected);
                    if expected % 500 == 499 {
                        go_on.send(()).unwrap();
                    }
                    expected += 1;
                }
                Poll::Pending => {
                    assert!(Instant::now() < end, "{expected} of 10,000");
                    thread::yield_now();
                }
            }
        }
        sender.join().unwrap();
    }
}
