//! What becomes of a message that one of its subscribers has no room for, by each of the rules there are.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Context, Endpoint, Event, Message, PubSocket, Published, Reason, SendError, SlowSubscriber, SubSocket,
    TryRecvError, TrySendError,
};

use super::on_the_wire::{Flood, subscribe};
use super::{hear, ready, subscriber, to};
use crate::executors::{block_on, poll_once};
use crate::raw::Raw;
use crate::support::{DEADLINE, Transport, receive, wait_for, wait_for_handshake, wait_until, with_deadline};
use crate::{on_every_transport, on_every_wire};

/// Messages that may wait for each subscriber.
const HWM: u32 = 10;

/// More than any kernel takes of messages with [`padding`].
const SENDS_MAX: u32 = 200_000;

/// What waits is soon too much.
fn small_publisher(context: &Context, transport: Transport, slow: SlowSubscriber) -> (PubSocket, Endpoint) {
    let mut publisher = PubSocket::builder(context)
        .send_hwm(HWM)
        .slow_subscriber(slow)
        .build()
        .unwrap();
    let endpoint = publisher.bind(transport.wildcard()).unwrap();
    (publisher, endpoint)
}

/// A subscriber to everything with small queues.
fn small_subscriber(context: &Context, endpoint: &Endpoint) -> SubSocket {
    let mut subscriber = SubSocket::builder(context)
        .receive_hwm(HWM)
        .reconnect_min(Duration::from_millis(1))
        .build()
        .unwrap();
    subscriber.subscribe("").unwrap();
    subscriber.connect(endpoint).unwrap();
    ready(&mut subscriber);
    subscriber
}

/// A message that says its number, and is long enough to fill something.
fn numbered(number: u32) -> Message {
    Message::from([&number.to_be_bytes()[..], &padding()])
}

fn padding() -> [u8; 3000] {
    [b'.'; 3000]
}

#[track_caller]
fn hear_number(subscriber: &mut SubSocket) -> u32 {
    let message = receive(subscriber);
    assert_eq!(message.part(1), Some(&padding()[..]));
    u32::from_be_bytes(message.part(0).unwrap().try_into().unwrap())
}

/// Sends numbers, without waiting, until a subscriber has no room, for good as it seems. Returns how many were accepted.
fn fill(publisher: &mut PubSocket) -> u32 {
    /// The kernel may still make some room.
    const REFUSALS_MIN: u32 = 200;
    let (mut number, mut refusals) = (0, 0);
    while refusals < REFUSALS_MIN {
        assert!(number < SENDS_MAX, "there is no end to it");
        match publisher.try_send(numbered(number)) {
            Ok(_) => (number, refusals) = (number + 1, 0),
            Err(TrySendError::Full(message)) => {
                assert_eq!(message, numbered(number));
                refusals += 1;
                thread::yield_now();
            }
            Err(other) => panic!("{other}"),
        }
    }
    number
}

/// A waker that counts.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

on_every_transport! {
    /// By default the newest messages are dropped, for those that have no room, and counted. What was queued arrives.
    fn drop_newest_drops_and_counts(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = small_publisher(&context, transport, SlowSubscriber::default());
        let mut slow = small_subscriber(&context, &endpoint);
        let mut good = small_subscriber(&context, &endpoint);
        let (mut queued, mut dropped) = (Vec::new(), 0);
        for number in 0..SENDS_MAX {
            let published = publisher.send(numbered(number)).unwrap();
            assert_eq!(published.matched, 2);
            assert_eq!(published.queued + published.dropped, 2);
            assert_eq!(hear_number(&mut good), number, "the one that reads gets everything");
            if published.queued == 2 {
                queued.push(number);
            }
            dropped += published.dropped;
            assert_eq!(publisher.dropped(), dropped as u64);
            if dropped == 100 {
                break;
            }
        }
        assert_eq!(dropped, 100);
        if transport.is_inproc() {
            assert_eq!(queued, (0..HWM).collect::<Vec<_>>());
        }
        for number in queued {
            assert_eq!(hear_number(&mut slow), number);
        }
        // There is room again.
        assert_eq!(publisher.send(numbered(7)).unwrap(), to(2));
        assert_eq!(hear_number(&mut slow), 7);
        assert_eq!(publisher.lost(), 0);
    }

    /// Blocking ends when the time is over; then those with room get the message.
    fn block_waits_as_long_as_it_was_told_to(transport) {
        const PATIENCE: Duration = Duration::from_millis(50);
        let context = Context::new();
        let (mut publisher, endpoint) =
            small_publisher(&context, transport, SlowSubscriber::Block(PATIENCE));
        let mut slow = small_subscriber(&context, &endpoint);
        let mut good = small_subscriber(&context, &endpoint);
        let mut waits = 0;
        let mut queued = 0;
        for number in 0..SENDS_MAX {
            let start = Instant::now();
            let published = publisher.send(numbered(number)).unwrap();
            assert_eq!(hear_number(&mut good), number);
            if published.dropped == 0 {
                queued += 1;
                continue;
            }
            assert_eq!(published, Published { matched: 2, queued: 1, dropped: 1 });
            assert!(start.elapsed() >= PATIENCE);
            waits += 1;
            if waits == 3 {
                break;
            }
        }
        assert_eq!((waits, publisher.dropped()), (3, 3));
        for _ in 0..queued {
            hear_number(&mut slow);
        }
        assert_eq!(publisher.send(numbered(9)).unwrap(), to(2));
        assert_eq!(hear_number(&mut slow), 9);
    }

    /// No patience at all is like dropping the newest.
    fn block_with_no_patience_does_not_wait(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) =
            small_publisher(&context, transport, SlowSubscriber::Block(Duration::ZERO));
        let _slow = small_subscriber(&context, &endpoint);
        for number in 0..SENDS_MAX {
            publisher.send(numbered(number)).unwrap();
            if publisher.dropped() == 10 {
                return;
            }
        }
        panic!("nothing was dropped");
    }

    /// A send that waits is woken by room, and nothing is lost.
    fn block_is_woken_by_room(transport) {
        const MORE: u32 = 300;
        let context = Context::new();
        let (mut publisher, endpoint) =
            small_publisher(&context, transport, SlowSubscriber::Block(Duration::from_secs(3600)));
        let mut slow = small_subscriber(&context, &endpoint);
        let mut other = small_subscriber(&context, &endpoint);
        let (full, is_full) = channel();
        let sender = thread::spawn(move || {
            let accepted = fill(&mut publisher);
            full.send(accepted).unwrap();
            for number in accepted..accepted + MORE {
                assert_eq!(publisher.send(numbered(number)).unwrap(), to(2));
            }
            publisher
        });
        let accepted = is_full.recv_timeout(DEADLINE).unwrap();
        for number in 0..accepted + MORE {
            assert_eq!(hear_number(&mut slow), number);
            assert_eq!(hear_number(&mut other), number);
        }
        assert_eq!(sender.join().unwrap().dropped(), 0);
    }

    /// A send that waits for somebody who leaves need not wait any more.
    fn block_ends_when_the_slow_one_leaves(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) =
            small_publisher(&context, transport, SlowSubscriber::Block(Duration::from_secs(3600)));
        let slow = small_subscriber(&context, &endpoint);
        let (full, is_full) = channel();
        let sender = thread::spawn(move || {
            let accepted = fill(&mut publisher);
            full.send(()).unwrap();
            loop {
                // Some room may turn up in the kernel.
                let published = publisher.send(numbered(accepted)).unwrap();
                assert_eq!(published.dropped, 0);
                if published == to(0) {
                    return publisher;
                }
            }
        });
        is_full.recv_timeout(DEADLINE).unwrap();
        drop(slow);
        assert_eq!(sender.join().unwrap().subscribers(), 0);
    }

    /// Failing means that nobody gets the message, whether or not there is room for it elsewhere.
    fn fail_gives_the_message_back_and_sends_it_to_nobody(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = small_publisher(&context, transport, SlowSubscriber::Fail);
        let mut slow = small_subscriber(&context, &endpoint);
        let mut good = small_subscriber(&context, &endpoint);
        let mut accepted = Vec::new();
        let mut refused = 0;
        for number in 0..SENDS_MAX {
            let result = if number % 2 == 0 {
                publisher.send(numbered(number)).map_err(SendError::into_message)
            } else {
                publisher.try_send(numbered(number)).map_err(TrySendError::into_message)
            };
            match result {
                Ok(published) => {
                    assert_eq!(published, to(2));
                    assert_eq!(hear_number(&mut good), number);
                    accepted.push(number);
                }
                Err(message) => {
                    assert_eq!(message, numbered(number));
                    refused += 1;
                    if refused == 10 {
                        break;
                    }
                }
            }
        }
        assert_eq!(refused, 10);
        for number in accepted {
            assert_eq!(hear_number(&mut slow), number);
        }
        assert_eq!(publisher.send(numbered(u32::MAX)).unwrap(), to(2));
        assert_eq!(hear_number(&mut slow), u32::MAX);
        assert_eq!(hear_number(&mut good), u32::MAX, "nothing of what was refused came before");
        assert_eq!(publisher.dropped(), 0);
    }

    /// The errors say that a subscriber is full, and a message for nobody, or for others, is not refused.
    fn fail_is_about_those_who_want_the_message(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = small_publisher(&context, transport, SlowSubscriber::Fail);
        let mut slow = subscriber(&context, &endpoint, &["slow"]);
        let mut good = subscriber(&context, &endpoint, &["good"]);
        let body = vec![b'.'; 100_000];
        let mut accepted = 0;
        loop {
            match publisher.try_send([b"slow", &body[..]]) {
                Ok(_) => accepted += 1,
                Err(TrySendError::Full(_)) => break,
                Err(other) => panic!("{other}"),
            }
            assert!(accepted < SENDS_MAX);
        }
        assert_eq!(publisher.send("good").unwrap(), to(1));
        assert_eq!(publisher.send("neither").unwrap(), to(0));
        assert_eq!(hear(&mut good), "good");
        for _ in 0..accepted {
            assert_eq!(receive(&mut slow).part(0), Some(&b"slow"[..]));
        }
        assert_eq!(slow.try_recv(), Err(TryRecvError::Empty));
    }

    /// Disconnecting costs the slow one its connection; the others get the message.
    fn disconnect_ends_the_slow_connection_alone(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = small_publisher(&context, transport, SlowSubscriber::Disconnect);
        let monitor = publisher.monitor();
        let mut good = small_subscriber(&context, &endpoint);
        let mut slow = small_subscriber(&context, &endpoint);
        let mut number = 0;
        let published = loop {
            let published = publisher.send(numbered(number)).unwrap();
            assert_eq!(hear_number(&mut good), number);
            number += 1;
            if published != to(2) {
                break published;
            }
            assert!(number < SENDS_MAX);
        };
        assert_eq!(published, Published { matched: 2, queued: 1, dropped: 1 });
        assert_eq!(publisher.dropped(), 1);
        let reason = wait_for(&monitor, "disconnected", |event| match event {
            Event::Disconnected { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        assert_eq!(reason, Reason::SlowSubscriber);
        // When it has read what the kernel had taken, it comes back, and what it gets then is new.
        let reader = thread::spawn(move || {
            let mut expected = 0;
            loop {
                match hear_number(&mut slow) {
                    u32::MAX => return expected,
                    next => assert_eq!(next, expected),
                }
                expected += 1;
            }
        });
        publisher.wait_for_subscribers(2, DEADLINE).unwrap();
        assert_eq!(publisher.send(numbered(u32::MAX)).unwrap(), to(2));
        assert_eq!(hear_number(&mut good), u32::MAX);
        assert!(reader.join().unwrap() < number);
    }

    /// The future of a send that would block is woken by room, and one that is dropped has sent nothing.
    fn a_pending_send_is_woken_by_room_or_has_sent_nothing(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) =
            small_publisher(&context, transport, SlowSubscriber::Block(Duration::from_secs(3600)));
        let mut slow = small_subscriber(&context, &endpoint);
        let mut accepted = fill(&mut publisher);
        for _ in 0..10 {
            if let Poll::Ready(published) = poll_once(pin!(publisher.send_async(numbered(accepted)))) {
                // Some room has turned up in the kernel.
                assert_eq!(published.unwrap(), to(1));
                accepted += 1;
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        {
            let mut future = pin!(publisher.send_async(numbered(accepted)));
            let mut pending = future.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending();
            for number in 0..accepted {
                assert_eq!(hear_number(&mut slow), number);
            }
            if pending {
                wait_until("the wake-up", || count.0.load(Ordering::SeqCst) > 0);
            }
            while pending {
                pending = future.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending();
            }
        }
        assert_eq!(hear_number(&mut slow), accepted);
        assert_eq!(block_on(publisher.send_async(numbered(1))).unwrap(), to(1));
        assert_eq!(hear_number(&mut slow), 1);
        assert_eq!(slow.try_recv(), Err(TryRecvError::Empty));
    }

    /// Sends that are dropped at any moment of their waiting send once or not at all, to all or to nobody.
    fn sends_that_are_dropped_send_to_all_or_to_nobody(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) =
            small_publisher(&context, transport, SlowSubscriber::Block(Duration::from_secs(3600)));
        let readers = [(); 2].map(|()| {
            let mut subscriber = small_subscriber(&context, &endpoint);
            thread::spawn(move || {
                let mut heard = Vec::new();
                loop {
                    match hear_number(&mut subscriber) {
                        u32::MAX => return heard,
                        number => heard.push(number),
                    }
                }
            })
        });
        publisher.wait_for_subscribers(2, DEADLINE).unwrap();
        let mut sent = Vec::new();
        let end = Instant::now() + DEADLINE;
        let mut number = 0;
        while sent.len() < 2000 {
            assert!(Instant::now() < end, "{} of {number} sent", sent.len());
            match poll_once(pin!(publisher.send_async(numbered(number)))) {
                Poll::Ready(published) => {
                    assert_eq!(published.unwrap(), to(2));
                    sent.push(number);
                }
                Poll::Pending => thread::yield_now(),
            }
            number += 1;
        }
        assert_eq!(publisher.send(numbered(u32::MAX)).unwrap(), to(2));
        for reader in readers {
            assert!(reader.join().unwrap() == sent);
        }
    }
}

on_every_wire! {
    /// A subscriber that never reads costs its own queue: the publisher goes on, the others get everything, and what is kept
    /// for the silent one is bounded.
    fn a_subscriber_that_never_reads_holds_up_nobody(transport) {
        /// Together far more than the kernel takes of a peer that does not read.
        const MESSAGES: u32 = 20_000;
        const BYTES: usize = 10_000;
        let context = Context::new();
        let mut publisher = PubSocket::builder(&context).send_hwm(HWM).build().unwrap();
        let monitor = publisher.monitor();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut silent = Raw::peer(&endpoint.to_string(), "SUB");
        wait_for_handshake(&monitor);
        silent.send(&subscribe(b""));
        let mut good = subscriber(&context, &endpoint, &[""]);
        publisher.wait_for_subscribers(2, DEADLINE).unwrap();
        let body = vec![b'.'; BYTES];
        let mut queued = 0;
        for number in 0..MESSAGES {
            let published = publisher.send([&number.to_be_bytes()[..], &body]).unwrap();
            assert_eq!(published.matched, 2);
            assert_eq!(receive(&mut good).part(0), Some(&number.to_be_bytes()[..]));
            queued += published.queued - 1;
        }
        let kept = queued * BYTES;
        assert!(kept < 20 << 20, "{kept} bytes are kept for a peer that does not read");
        assert_eq!(publisher.dropped() as usize, MESSAGES as usize - queued);
        // Gone, it is forgotten, and what had not been written is accounted for.
        drop(silent);
        wait_until("the silent one is gone", || publisher.subscribers() == 1);
        assert!(publisher.lost() <= u64::from(HWM));
        assert_eq!(publisher.send("end").unwrap(), to(1));
        assert_eq!(hear(&mut good), "end");
    }

    /// The monitor tells why, however busy the connection and its neighbours are at that moment.
    fn the_reason_of_a_disconnection_is_told_in_any_traffic(transport) {
        let context = Context::new();
        let (mut publisher, endpoint) = small_publisher(&context, transport, SlowSubscriber::Disconnect);
        let monitor = publisher.monitor();
        let endpoint = endpoint.to_string();
        let talk = || subscribe(b"something").repeat(20).into_iter();
        let talkers = [(); 4].map(|()| Flood::start(&endpoint, "SUB", talk()));
        for _ in 0..8 {
            let mut slow = Raw::peer(&endpoint, "SUB");
            slow.send(&subscribe(b"all"));
            let talking = Flood::go_on(slow, talk());
            publisher.wait_for_subscribers_to("all", 1, DEADLINE).unwrap();
            let body = [&b"all"[..], &[b'.'; 3000]].concat();
            while publisher.send(body.clone()).unwrap().dropped == 0 {}
            let reason = wait_for(&monitor, "disconnected", |event| match event {
                Event::Disconnected { reason, .. } => Some(reason.clone()),
                _ => None,
            });
            assert_eq!(reason, Reason::SlowSubscriber);
            talking.stop();
        }
        drop(publisher);
        talkers.into_iter().for_each(Flood::stop);
    }
}

/// One call hears so much and no more, and looks for the rest before it sleeps.
#[test]
fn a_send_that_waits_hears_everything_that_was_said_before() {
    for in_a_task in [false, true] {
        with_deadline(move || {
            let context = Context::new();
            let builder = PubSocket::builder(&context).send_hwm(1);
            let builder = builder.slow_subscriber(SlowSubscriber::Block(Duration::from_secs(3600)));
            let mut publisher = builder.build().unwrap();
            publisher.bind("inproc://much-is-said").unwrap();
            let mut subscriber = SubSocket::new(&context);
            subscriber.connect("inproc://much-is-said").unwrap();
            subscriber.subscribe("topic").unwrap();
            assert_eq!(publisher.send("topic: room").unwrap(), to(1));
            for number in 0..10_000 {
                subscriber.subscribe(format!("{number}")).unwrap();
            }
            subscriber.unsubscribe("topic").unwrap();
            let message = "topic: nobody wants it any more";
            let published = match in_a_task {
                false => publisher.send(message),
                true => block_on(publisher.send_async(message)),
            };
            assert_eq!(published.unwrap(), to(0));
        });
    }
}
