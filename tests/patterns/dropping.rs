//! What is left when futures are dropped before they are ready: wherever they wait, they lose nothing and repeat nothing.

use std::collections::HashSet;
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::Instant;

use zerowire::{
    Context, DealerSocket, Message, PeerId, PubSocket, PullSocket, PushSocket, RepSocket, ReqSocket,
    RouterSocket, Selector, SlowSubscriber, SubSocket, TryRecvError, TrySendError,
};

use crate::executors::{block_on, poll_and_drop, poll_once};
use crate::on_every_transport;
use crate::support::{DEADLINE, Transport, number, receive, receive_number, send, send_number};

/// A connected pair.
fn pair(transport: Transport, send_hwm: u32) -> (PushSocket, PullSocket) {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind(transport.wildcard()).unwrap();
    let mut push = PushSocket::builder(&context).send_hwm(send_hwm).build().unwrap();
    push.connect(&endpoint).unwrap();
    (push, pull)
}

/// The end of a list of numbers.
const LAST: u32 = u32::MAX;

/// Starts futures that send a number each, drops each after a few polls, and returns those that said they had sent.
fn send_and_drop(count: usize, mut attempt: impl FnMut(u32, usize) -> bool) -> Vec<u32> {
    let end = Instant::now() + DEADLINE;
    let mut sent = Vec::new();
    for number in 0.. {
        if sent.len() == count {
            break;
        }
        assert!(Instant::now() < end, "{} of {number} sent", sent.len());
        // From never polled to polled more often than there are places to wait at.
        if attempt(number, number as usize % 5) {
            sent.push(number);
        }
    }
    sent
}

/// Starts futures that receive a number each, drops each after a few polls, and checks what they took.
fn receive_and_drop(count: u32, mut attempt: impl FnMut(usize) -> Option<u32>) {
    let end = Instant::now() + DEADLINE;
    let (mut expected, mut started) = (0, 0);
    while expected < count {
        assert!(
            Instant::now() < end,
            "{expected} of {count} after {started} futures"
        );
        if let Some(number) = attempt(started % 4) {
            assert_eq!(number, expected);
            expected += 1;
        }
        started += 1;
    }
}

/// Receives numbers until the last.
fn numbers(mut next: impl FnMut() -> Message) -> Vec<u32> {
    std::iter::from_fn(|| Some(number(&next())).filter(|&number| number != LAST)).collect()
}

on_every_transport! {
    /// A receive future that is dropped has taken nothing: messages that come before, after and between stay.
    fn a_dropped_receive_future_loses_nothing(transport) {
        let (mut push, mut pull) = pair(transport, 1000);
        let sender = thread::spawn(move || {
            for number in 0..20_000 {
                send_number(&mut push, number);
            }
            push
        });
        let end = Instant::now() + DEADLINE;
        let (mut expected, mut dropped) = (0, 0);
        while expected < 20_000 {
            let poll = poll_once(pin!(pull.recv_async()));
            match poll {
                Poll::Ready(message) => {
                    assert_eq!(number(&message.unwrap()), expected);
                    expected += 1;
                }
                Poll::Pending => {
                    dropped += 1;
                    assert!(Instant::now() < end, "{expected} of 20,000 after {dropped} drops");
                    thread::yield_now();
                }
            }
        }
        assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
        sender.join().unwrap();
    }

    /// The same one drop at a time, and by a blocking receive after it.
    fn a_receive_after_a_dropped_future_gets_the_message(transport) {
        let (mut push, mut pull) = pair(transport, 10);
        for number in 0..300 {
            assert!(poll_once(pin!(pull.recv_async())).is_pending());
            send_number(&mut push, number);
            assert_eq!(receive_number(&mut pull), number);
        }
    }

    /// A future that was never polled has done nothing.
    fn a_future_that_was_never_polled_has_done_nothing(transport) {
        let (mut push, mut pull) = pair(transport, 10);
        drop(push.send_async("never"));
        drop(push.send_ready());
        send(&mut push, "sent");
        drop(pull.recv_async());
        assert_eq!(receive(&mut pull).as_bytes(), b"sent");
        assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
    }

    /// A send future that is dropped while it waits for room has sent nothing; one that is ready has sent once.
    fn a_dropped_send_future_has_sent_nothing(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context).send_hwm(3).build().unwrap();
        // While there is no peer,
        for _ in 0..10 {
            assert!(poll_once(pin!(push.send_async("dropped"))).is_pending());
            assert!(poll_once(pin!(push.send_ready())).is_pending());
        }
        push.connect(endpoint.as_str()).unwrap();
        for number in 0..3u32 {
            match poll_once(pin!(push.send_async(&number.to_be_bytes()))) {
                Poll::Ready(result) => result.unwrap(),
                Poll::Pending => panic!("there is room"),
            }
        }
        // and while its queue is full.
        for _ in 0..10 {
            assert!(poll_once(pin!(push.send_async("dropped"))).is_pending());
            assert!(poll_once(pin!(push.send_ready())).is_pending());
        }
        assert!(matches!(push.try_send("refused"), Err(TrySendError::Full(_))));
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        for number in 0..3 {
            assert_eq!(receive_number(&mut pull), number);
        }
        send_number(&mut push, 3);
        assert_eq!(receive_number(&mut pull), 3);
        assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
    }

    /// The same while the peer is reading: whatever each future says of itself is what arrives.
    fn send_futures_that_are_dropped_at_any_time_send_once_or_not_at_all(transport) {
        let (mut push, mut pull) = pair(transport, 2);
        let receiver = thread::spawn(move || {
            let mut heard = Vec::new();
            loop {
                match number(&receive(&mut pull)) {
                    u32::MAX => return heard,
                    number => heard.push(number),
                }
            }
        });
        let mut sent = Vec::new();
        let end = Instant::now() + DEADLINE;
        let mut number = 0u32;
        while sent.len() < 3000 {
            assert!(Instant::now() < end, "{} of {number} sent", sent.len());
            match poll_once(pin!(push.send_async(&number.to_be_bytes()))) {
                Poll::Ready(result) => {
                    result.unwrap();
                    sent.push(number);
                }
                Poll::Pending => thread::yield_now(),
            }
            number += 1;
        }
        send_number(&mut push, u32::MAX);
        assert!(receiver.join().unwrap() == sent);
    }

    /// Waiting for room and then sending keeps the message where a dropped send future would take it along.
    fn a_dropped_wait_for_room_keeps_the_message(transport) {
        let (mut push, mut pull) = pair(transport, 2);
        let receiver = thread::spawn(move || {
            for expected in 0..2000 {
                assert_eq!(receive_number(&mut pull), expected);
            }
            pull
        });
        let end = Instant::now() + DEADLINE;
        for number in 0..2000u32 {
            let mut message = Message::from(&number.to_be_bytes());
            loop {
                assert!(Instant::now() < end, "{number} of 2,000");
                // Dropped while pending every time.
                if poll_once(pin!(push.send_ready())).is_ready() {
                    match push.try_send(message) {
                        Ok(()) => break,
                        Err(error) => message = error.into_message(),
                    }
                } else {
                    thread::yield_now();
                }
            }
        }
        receiver.join().unwrap();
    }

    /// A request whose future is dropped is given up, wherever it was: no later one gets its reply, and it is asked once.
    fn dropped_requests_are_asked_once_and_answer_no_other(transport) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let mut req = ReqSocket::new(&context);
        req.connect(&endpoint).unwrap();
        let server = thread::spawn(move || {
            let mut heard = Vec::new();
            loop {
                let request = rep.next_timeout(DEADLINE).unwrap();
                let number = number(request.message());
                // Whoever asked may have gone.
                let _ = request.reply(&number.to_be_bytes());
                heard.push(number);
                if number == LAST {
                    return (rep, heard);
                }
            }
        });
        let mut answered = Vec::new();
        for round in 0..120u32 {
            // Now and then it has all the time it needs.
            let times = if round % 10 == 9 { usize::MAX } else { round as usize % 10 };
            match poll_and_drop(req.request_async(&round.to_be_bytes()), times) {
                Some(reply) => {
                    assert_eq!(number(&reply.unwrap()), round);
                    answered.push(round);
                }
                None => assert!(!req.is_waiting(), "it is given up"),
            }
        }
        assert!(answered.len() >= 12);
        assert_eq!(number(&block_on(req.request_async(&LAST.to_be_bytes())).unwrap()), LAST);
        let (_, heard) = server.join().unwrap();
        // Connections follow each other, so one request may overtake another that was given up.
        let different: HashSet<u32> = heard.iter().copied().collect();
        assert_eq!(different.len(), heard.len(), "{heard:?}");
        assert!(answered.iter().all(|round| different.contains(round)));
    }

    fn dropped_waits_for_requests_lose_none(transport) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let mut req = ReqSocket::new(&context);
        req.connect(&endpoint).unwrap();
        let client = thread::spawn(move || {
            for round in 0..300u32 {
                assert_eq!(number(&req.request(&round.to_be_bytes(), DEADLINE).unwrap()), round);
            }
        });
        receive_and_drop(300, |times| {
            let request = poll_and_drop(rep.next_async(), times)?.unwrap();
            let message = request.message().clone();
            request.reply(message.clone()).unwrap();
            Some(number(&message))
        });
        client.join().unwrap();
    }

    fn dropped_receives_with_names_lose_nothing(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = DealerSocket::builder(&context).identity("sender").build().unwrap();
        dealer.connect(&endpoint).unwrap();
        let sender = thread::spawn(move || {
            for number in 0..5000 {
                send_number(&mut dealer, number);
            }
            dealer
        });
        receive_and_drop(5000, |times| {
            let (peer, message) = poll_and_drop(router.recv_from_async(), times)?.unwrap();
            assert_eq!(peer.as_bytes(), b"sender");
            Some(number(&message))
        });
        sender.join().unwrap();
    }

    fn dropped_sends_to_a_peer_have_sent_nothing(transport) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).send_hwm(2).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let builder = DealerSocket::builder(&context).identity("receiver");
        let mut dealer = builder.receive_hwm(2).build().unwrap();
        dealer.connect(&endpoint).unwrap();
        send(&mut dealer, "here");
        let (peer, _) = router.recv_from_timeout(DEADLINE).unwrap();
        let receiver = thread::spawn(move || (numbers(|| receive(&mut dealer)), dealer));
        let sent = send_and_drop(2000, |number, times| {
            let sent = poll_and_drop(router.send_to_async(&peer, &number.to_be_bytes()), times);
            sent.map(Result::unwrap).is_some()
        });
        router.send_to_timeout(&peer, &LAST.to_be_bytes(), DEADLINE).unwrap();
        assert!(receiver.join().unwrap().0 == sent);
        assert_eq!(peer, PeerId::new("receiver").unwrap());
    }

    /// A publisher's future waits for a slow subscriber.
    fn dropped_futures_that_publish_have_published_nothing(transport) {
        let context = Context::new();
        let builder = PubSocket::builder(&context).send_hwm(2);
        let mut publisher = builder.slow_subscriber(SlowSubscriber::Block(DEADLINE)).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let readers = [(); 2].map(|()| {
            let mut subscriber = SubSocket::builder(&context).receive_hwm(2).build().unwrap();
            subscriber.subscribe("").unwrap();
            subscriber.connect(&endpoint).unwrap();
            thread::spawn(move || numbers(|| receive(&mut subscriber)))
        });
        publisher.wait_for_subscribers(2, DEADLINE).unwrap();
        let sent = send_and_drop(500, |number, times| {
            let published = poll_and_drop(publisher.send_async(&number.to_be_bytes()), times);
            published.map(|published| assert_eq!(published.unwrap().queued, 2)).is_some()
        });
        let shared = publisher.into_shared();
        let first = sent.last().unwrap() + 1;
        let more = send_and_drop(500, |number, times| {
            let published = poll_and_drop(shared.send_async(&(first + number).to_be_bytes()), times);
            published.map(|published| assert_eq!(published.unwrap().queued, 2)).is_some()
        });
        let sent: Vec<u32> = sent.into_iter().chain(more.into_iter().map(|number| first + number)).collect();
        assert_eq!(shared.send(&LAST.to_be_bytes()).unwrap().queued, 2);
        for reader in readers {
            assert!(reader.join().unwrap() == sent);
        }
    }

    /// Many senders share one socket, and each drops futures in the others' midst.
    fn dropped_futures_of_shared_senders_have_sent_nothing(transport) {
        let (push, mut pull) = pair(transport, 2);
        let shared = push.into_shared();
        let senders = [1u32, 2, 3].map(|sender| {
            let shared = shared.clone();
            thread::spawn(move || {
                let sent = send_and_drop(500, |number, times| {
                    let message = [sender.to_be_bytes(), number.to_be_bytes()].concat();
                    poll_and_drop(shared.send_async(message), times).map(Result::unwrap).is_some()
                });
                shared.send([sender.to_be_bytes(), LAST.to_be_bytes()].concat()).unwrap();
                sent
            })
        });
        let mut heard = [(); 3].map(|()| Vec::new());
        let mut running = 3;
        while running > 0 {
            let message = receive(&mut pull);
            let (sender, number) = message.as_bytes().split_at(4);
            let sender = u32::from_be_bytes(sender.try_into().unwrap()) as usize;
            match u32::from_be_bytes(number.try_into().unwrap()) {
                LAST => running -= 1,
                number => heard[sender - 1].push(number),
            }
        }
        for (sender, heard) in senders.into_iter().zip(heard) {
            assert!(sender.join().unwrap() == heard);
        }
    }

    /// What a dropped wait had found is found by the next.
    fn dropped_waits_of_a_selector_forget_nothing(transport) {
        let pairs: Vec<_> = (0..3).map(|_| pair(transport, 10)).collect();
        let (pushes, mut pulls): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let mut selector = Selector::new();
        for (key, pull) in pulls.iter_mut().enumerate() {
            selector.receive(key, pull).unwrap();
        }
        let senders: Vec<_> = pushes
            .into_iter()
            .map(|mut push| {
                thread::spawn(move || {
                    for number in 0..300 {
                        send_number(&mut push, number);
                    }
                    push
                })
            })
            .collect();
        let end = Instant::now() + DEADLINE;
        let mut next = [0; 3];
        while next != [300; 3] {
            assert!(Instant::now() < end, "{next:?} of 300 each");
            for times in 0..3 {
                poll_and_drop(selector.wait_async(), times);
            }
            for ready in block_on(selector.wait_async()).unwrap() {
                if let Ok(message) = pulls[ready.key].try_recv() {
                    assert_eq!(number(&message), next[ready.key]);
                    next[ready.key] += 1;
                }
            }
        }
        for sender in senders {
            sender.join().unwrap();
        }
    }
}
