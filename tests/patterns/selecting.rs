//! Waiting for many sockets at once, with a selector or by descriptors.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use zerowire::{
    Context, DealerSocket, PairSocket, PubSocket, PullSocket, PushSocket, RegisterError, RepSocket,
    ReqSocket, RouterSocket, SelectError, Selected, Selector, SendToError, SlowSubscriber, SubSocket,
    TryRecvError, TrySendError, Upstream, XPubSocket, XSubSocket,
};

use crate::executors::{block_on, poll_once};
use crate::on_every_transport;
use crate::support::{
    DEADLINE, Transport, number, receive, receive_number, send, send_number, wait_until, with_deadline,
};

const SHORT: Duration = Duration::from_millis(20);

/// The keys of what is ready within the deadline.
#[track_caller]
fn select<K: Clone + Eq + std::hash::Hash + Ord>(selector: &mut Selector<K>) -> Vec<K> {
    let ready = selector.wait_timeout(DEADLINE).unwrap();
    assert!(!ready.is_empty(), "nothing is ready in time");
    let mut keys: Vec<K> = ready
        .into_iter()
        .map(|selected| {
            assert!(!selected.is_closed);
            selected.key
        })
        .collect();
    keys.sort();
    keys
}

/// Whether a descriptor polls readable, asked as who polls for the level asks: anew each time.
fn is_readable(fd: &impl AsFd) -> bool {
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(1);
    let raw = fd.as_fd().as_raw_fd();
    let mut source = mio::unix::SourceFd(&raw);
    poll.registry()
        .register(&mut source, mio::Token(0), mio::Interest::READABLE)
        .unwrap();
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    !events.is_empty()
}

#[track_caller]
fn wait_readable(fd: &impl AsFd) {
    wait_until("the descriptor is readable", || is_readable(fd));
}

fn pair(transport: Transport) -> (PushSocket, PullSocket) {
    let context = Context::new();
    let mut pull = PullSocket::builder(&context).receive_hwm(1).build().unwrap();
    let endpoint = pull.bind(transport.wildcard()).unwrap();
    let mut push = PushSocket::builder(&context).send_hwm(2).build().unwrap();
    push.connect(&endpoint).unwrap();
    (push, pull)
}

/// A publisher that waits for a subscriber which receives nothing.
fn slow_subscriber(transport: Transport) -> (PubSocket, SubSocket) {
    let context = Context::new();
    let builder = PubSocket::builder(&context).send_hwm(1);
    let mut publisher = builder
        .slow_subscriber(SlowSubscriber::Block(DEADLINE))
        .build()
        .unwrap();
    let endpoint = publisher.bind(transport.wildcard()).unwrap();
    let mut subscriber = SubSocket::builder(&context).receive_hwm(1).build().unwrap();
    subscriber.connect(&endpoint).unwrap();
    subscriber.subscribe("").unwrap();
    publisher.wait_for_subscribers(1, DEADLINE).unwrap();
    (publisher, subscriber)
}

/// Sends until there is no room anywhere, also not in the kernel and after it.
fn fill(push: &mut PushSocket, selector: &mut Selector<&str>) -> u32 {
    fill_with(selector, |body| push.try_send(body).is_ok())
}

/// As [`fill`], for whatever tries to send a body and says whether it was accepted.
fn fill_with<K>(selector: &mut Selector<K>, mut try_send: impl FnMut(&[u8]) -> bool) -> u32
where
    K: Clone + Eq + std::hash::Hash,
{
    let mut sent = 0;
    let body = vec![0; 100_000];
    // Where connections are, room comes for as long as the kernel takes something.
    while !selector
        .wait_timeout(Duration::from_millis(200))
        .unwrap()
        .is_empty()
    {
        while try_send(&body) {
            sent += 1;
        }
    }
    sent
}

on_every_transport! {
    fn what_is_not_received_is_reported_again(transport) {
        let (mut push, mut pull) = pair(transport);
        let mut selector = Selector::new();
        selector.receive('a', &mut pull).unwrap();
        assert_eq!(selector.try_wait().unwrap(), []);
        send_number(&mut push, 1);
        send_number(&mut push, 2);
        for expected in [1, 2] {
            // The first word may be that there is a peer.
            let number = loop {
                assert_eq!(select(&mut selector), ['a']);
                if let Ok(message) = pull.try_recv() {
                    break number(&message);
                }
            };
            assert_eq!(number, expected);
        }
        // The last one was taken, so it is not looked for in vain.
        assert_eq!(selector.try_wait().unwrap(), []);
        send_number(&mut push, 3);
        for _ in 0..3 {
            assert_eq!(select(&mut selector), ['a']);
        }
        assert_eq!(receive_number(&mut pull), 3);
        assert_eq!(selector.wait_timeout(SHORT).unwrap(), []);
    }

    fn a_sender_is_ready_while_a_peer_has_room(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).send_hwm(2).build().unwrap();
        let mut selector = Selector::new();
        selector.send("push", &mut push).unwrap();
        let fd = push.send_ready_fd().unwrap();
        assert_eq!(selector.try_wait().unwrap(), [], "there is no peer");
        assert!(!is_readable(&fd));
        let mut pull = PullSocket::builder(&context).receive_hwm(1).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        push.connect(&endpoint).unwrap();
        assert_eq!(select(&mut selector), ["push"]);
        assert!(is_readable(&fd));
        let mut sent = fill(&mut push, &mut selector);
        assert!(sent >= 2 && !is_readable(&fd), "{sent} sent");
        for _ in 0..3 {
            receive(&mut pull);
            sent -= 1;
            if sent == 0 {
                break;
            }
        }
        while sent > 0 {
            receive(&mut pull);
            sent -= 1;
        }
        assert_eq!(select(&mut selector), ["push"]);
        wait_readable(&fd);
        push.try_send("room").unwrap();
    }

    fn a_descriptor_is_readable_for_as_long_as_there_is_something_to_receive(transport) {
        let (mut push, mut pull) = pair(transport);
        let fd = pull.recv_ready_fd().unwrap();
        assert!(!is_readable(&fd));
        for round in 0..20 {
            send_number(&mut push, round);
            send_number(&mut push, round + 100);
            let number = loop {
                wait_readable(&fd);
                if let Ok(message) = pull.try_recv() {
                    break number(&message);
                }
            };
            assert_eq!(number, round);
            assert_eq!(receive_number(&mut pull), round + 100);
            assert!(!is_readable(&fd), "round {round}");
        }
        assert_eq!(pull.recv_ready_fd().unwrap().as_raw_fd(), fd.as_raw_fd());
        // Made when a message is there already.
        drop((push, fd));
        let (mut push, mut pull) = pair(transport);
        send_number(&mut push, 1);
        send_number(&mut push, 2);
        assert_eq!(receive_number(&mut pull), 1);
        wait_until("the second message is there", || is_readable(&pull.recv_ready_fd().unwrap()));
        drop(push);
        assert_eq!(receive_number(&mut pull), 2);
    }

    /// A selector, a descriptor, a future and a call that blocks: one message wakes them all, and one gets it.
    fn all_ways_to_wait_work_beside_each_other(transport) {
        let (mut push, mut pull) = pair(transport);
        let fd = pull.recv_ready_fd().unwrap();
        let mut selectors = [Selector::new(), Selector::new()];
        for selector in &mut selectors {
            selector.receive((), &mut pull).unwrap();
        }
        send_number(&mut push, 0);
        assert_eq!(receive_number(&mut pull), 0);
        for number in 1..100 {
            assert!(!is_readable(&fd));
            assert!(poll_once(std::pin::pin!(pull.recv_async())).is_pending());
            let blocked = thread::spawn(move || {
                assert_eq!(receive_number(&mut pull), number);
                pull
            });
            let waiting = selectors.map(|mut selector| thread::spawn(move || {
                assert_eq!(select(&mut selector), [()]);
                selector
            }));
            // Not before both wait, because the level is low again when the message is received.
            thread::yield_now();
            send_number(&mut push, number);
            pull = blocked.join().unwrap();
            // Who was late waits for the next.
            send_number(&mut push, number + 1000);
            selectors = waiting.map(|waiting| waiting.join().unwrap());
            assert_eq!(receive_number(&mut pull), number + 1000);
        }
    }

    fn a_socket_that_is_dropped_wakes_who_waits_and_is_reported_once(transport) {
        let (push, mut pull) = pair(transport);
        let mut push = push;
        let fd = pull.recv_ready_fd().unwrap();
        let mut selector = Selector::new();
        selector.receive(1, &mut pull).unwrap();
        selector.send(2, &mut push).unwrap();
        assert!(selector.remove(&2) && !selector.remove(&2));
        let (idle_push, mut idle) = pair(transport);
        selector.receive(3, &mut idle).unwrap();
        let waiting = thread::spawn(move || {
            let mut closed = Vec::new();
            // Words of peers may come, too.
            while closed.is_empty() {
                closed = selector.wait_timeout(DEADLINE).unwrap();
                assert!(!closed.is_empty(), "not woken");
                closed.retain(|selected| selected.is_closed);
                let _ = idle.try_recv();
            }
            (selector, closed, idle)
        });
        drop(pull);
        let (mut selector, closed, idle) = waiting.join().unwrap();
        assert_eq!(closed, [Selected { key: 1, is_closed: true }]);
        assert_eq!(selector.len(), 1);
        assert!(selector.wait_timeout(SHORT).unwrap().iter().all(|selected| selected.key == 3));
        for _ in 0..2 {
            assert!(is_readable(&fd), "it is for ever");
        }
        drop((push, idle_push, idle));
        assert_eq!(selector.wait_timeout(DEADLINE).unwrap(), [Selected { key: 3, is_closed: true }]);
        assert!(matches!(selector.wait(), Err(SelectError::Empty)));
    }

    fn requests_and_replies_are_ready_in_turn(transport) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let mut req = ReqSocket::new(&context);
        req.connect(&endpoint).unwrap();
        let mut other = ReqSocket::new(&context);
        other.connect(&endpoint).unwrap();
        let mut selector = Selector::new();
        selector.receive("rep receives", &mut rep).unwrap();
        selector.send("rep sends", &mut rep).unwrap();
        selector.receive("req receives", &mut req).unwrap();
        selector.send("req sends", &mut req).unwrap();
        for round in 0..20 {
            assert!(select(&mut selector).contains(&"req sends"));
            assert!(!req.is_waiting() && !rep.is_asked());
            req.try_send("question").unwrap();
            // Two requests: the second one is found before its turn.
            send(&mut other, "question");
            while rep.try_recv().is_err() {
                let ready = select(&mut selector);
                assert!(ready == ["rep receives"], "{ready:?}");
            }
            assert!(rep.is_asked() && req.is_waiting());
            let ready = select(&mut selector);
            assert!(ready == ["rep sends"], "{ready:?}");
            rep.try_send("answer").unwrap();
            if round % 2 == 0 {
                receive(&mut rep);
                rep.try_send("answer").unwrap();
            } else {
                rep.next().unwrap().reply("answer").unwrap();
            }
            while !select(&mut selector).contains(&"req receives") {
                let _ = rep.try_recv();
            }
            let answered = [&mut req, &mut other].map(|req| receive(req).as_bytes().to_vec());
            assert_eq!(answered, [b"answer", b"answer"]);
        }
        // A peer that is lost is news for who waits for its reply.
        selector.remove(&"req sends");
        req.try_send("never answered").unwrap();
        receive(&mut rep);
        drop(rep);
        let end = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < end);
            let ready = selector.wait_timeout(DEADLINE).unwrap();
            if ready.iter().any(|selected| selected.key == "req receives") {
                // Found by the selector's word or not: the call says it, and once.
                match req.try_recv() {
                    Err(TryRecvError::PeerLost) => break,
                    Err(TryRecvError::Empty) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(req.try_recv(), Err(TryRecvError::WrongState));
        assert!(!req.is_waiting());
    }

    fn the_loss_of_a_peer_that_was_found_early_is_not_forgotten(transport) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let mut req = ReqSocket::new(&context);
        req.connect(&endpoint).unwrap();
        req.send("question").unwrap();
        receive(&mut rep);
        drop(rep);
        // Asking for the descriptor is what looks.
        let fd = req.recv_ready_fd().unwrap();
        wait_readable(&fd);
        wait_until("the loss is known", || {
            let _ = req.send_ready_fd().unwrap();
            req.try_recv() == Err(TryRecvError::PeerLost)
        });
        assert!(!is_readable(&fd));
    }

    fn a_filter_leaves_only_what_is_wanted_to_be_ready(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::new(&context);
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = SubSocket::new(&context);
        subscriber.connect(&endpoint).unwrap();
        subscriber.subscribe("").unwrap();
        publisher.wait_for_subscribers(1, DEADLINE).unwrap();
        let fd = subscriber.recv_ready_fd().unwrap();
        for message in ["a1", "b", "a2", "b"] {
            publisher.send(message).unwrap();
        }
        subscriber.subscribe("a").unwrap();
        subscriber.unsubscribe("").unwrap();
        for expected in ["a1", "a2"] {
            assert!(receive(&mut subscriber).as_bytes() == expected.as_bytes());
        }
        // The last one may be on its way.
        let end = Instant::now() + SHORT;
        while Instant::now() < end {
            if is_readable(&fd) {
                assert_eq!(subscriber.try_recv(), Err(TryRecvError::Empty));
            }
        }
    }

    fn of_a_conflating_socket_the_newest_is_received_although_it_was_ready_before(transport) {
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).conflate(true).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        let mut selector = Selector::new();
        selector.receive((), &mut pull).unwrap();
        send_number(&mut push, 1);
        while pull.try_recv().is_err() {
            select(&mut selector);
        }
        assert_eq!(selector.try_wait().unwrap(), []);
        for number in 2..100 {
            send_number(&mut push, number);
        }
        let mut last = 0;
        while last != 99 {
            assert_eq!(select(&mut selector), [()]);
            // Looks before the last one has come, perhaps.
            pull.recv_ready_fd().unwrap();
            if let Ok(message) = pull.try_recv() {
                assert!(number(&message) > last);
                last = number(&message);
            }
        }
        assert_eq!(selector.try_wait().unwrap(), []);
    }

    /// The message that was received last is the one that manual mode is about, whatever was found since.
    fn finding_what_comes_next_does_not_confuse_manual_mode(transport) {
        let context = Context::new();
        let mut xpub = XPubSocket::builder(&context).manual(true).build().unwrap();
        let endpoint = xpub.bind(transport.wildcard()).unwrap();
        let mut selector = Selector::new();
        selector.receive((), &mut xpub).unwrap();
        let mut subscribers = ["first", "second"].map(|topic| {
            let mut subscriber = XSubSocket::new(&context);
            subscriber.connect(&endpoint).unwrap();
            subscriber.subscribe(topic).unwrap();
            subscriber
        });
        wait_until("both are heard", || {
            let _ = xpub.try_send("nobody");
            xpub.recv_ready_fd().unwrap();
            !selector.try_wait().unwrap().is_empty()
        });
        let mut topics = HashSet::new();
        while topics.len() < 2 {
            select(&mut selector);
            let Ok(message) = xpub.try_recv() else { continue };
            if let Upstream::Subscribe(topic) = Upstream::of(&message) {
                xpub.subscribe(topic).unwrap();
                topics.insert(topic.to_vec());
            }
        }
        for topic in ["first", "second"] {
            assert_eq!(xpub.send(topic).unwrap().matched, 1);
        }
        assert_eq!(receive(&mut subscribers[0]).as_bytes(), b"first");
        assert_eq!(receive(&mut subscribers[1]).as_bytes(), b"second");
        assert_eq!(xpub.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(selector.try_wait().unwrap(), []);
    }

    fn a_router_is_ready_again_when_there_is_news_after_a_send_without_room(transport) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).send_hwm(1).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = DealerSocket::builder(&context).receive_hwm(1).build().unwrap();
        dealer.connect(&endpoint).unwrap();
        send(&mut dealer, "hello");
        let (peer, _) = router.recv_from_timeout(DEADLINE).unwrap();
        let mut selector = Selector::new();
        selector.send((), &mut router).unwrap();
        let mut sent = 0;
        let body = vec![0; 100_000];
        while !selector.wait_timeout(Duration::from_millis(200)).unwrap().is_empty() {
            loop {
                match router.try_send_to(&peer, &body[..]) {
                    Ok(()) => sent += 1,
                    Err(SendToError::Full(_)) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        for _ in 0..sent {
            receive(&mut dealer);
        }
        assert_eq!(select(&mut selector), [()]);
        router.try_send_to(&peer, "room").unwrap();
    }

    fn a_publisher_that_waits_for_slow_subscribers_is_ready_when_they_have_room(transport) {
        let (publisher, mut subscriber) = slow_subscriber(transport);
        let mut publisher = publisher.into_shared();
        let mut selector = Selector::new();
        selector.send((), &mut publisher).unwrap();
        let fd = publisher.send_ready_fd().unwrap();
        let sent = fill_with(&mut selector, |body| publisher.try_send(body).is_ok());
        assert!(!is_readable(&fd));
        for _ in 0..sent {
            receive(&mut subscriber);
        }
        assert_eq!(select(&mut selector), [()]);
        assert!(is_readable(&fd));
        publisher.try_send("room").unwrap();
    }

    fn a_publisher_is_ready_when_the_slow_subscriber_wants_no_more(transport) {
        let (mut publisher, mut subscriber) = slow_subscriber(transport);
        let mut selector = Selector::new();
        selector.send((), &mut publisher).unwrap();
        let fd = publisher.send_ready_fd().unwrap();
        fill_with(&mut selector, |body| publisher.try_send(body).is_ok());
        assert!(!is_readable(&fd));
        subscriber.unsubscribe("").unwrap();
        assert_eq!(select(&mut selector), [()]);
        wait_readable(&fd);
        assert_eq!(publisher.try_send("to nobody").unwrap().matched, 0);
    }

    fn a_publisher_that_is_shared_is_ready_when_the_slow_subscriber_wants_no_more(transport) {
        let (publisher, mut subscriber) = slow_subscriber(transport);
        let mut publisher = publisher.into_shared();
        let mut selector = Selector::new();
        selector.send((), &mut publisher).unwrap();
        fill_with(&mut selector, |body| publisher.try_send(body).is_ok());
        subscriber.unsubscribe("").unwrap();
        assert_eq!(select(&mut selector), [()]);
        assert_eq!(publisher.try_send("to nobody").unwrap().matched, 0);
    }

    /// What subscribers say is received by the same socket, whose two directions are waited for apart.
    fn an_xpub_hears_that_it_can_send_and_that_it_can_receive(transport) {
        let context = Context::new();
        let builder = XPubSocket::builder(&context);
        let builder = builder.send_hwm(1).slow_subscriber(SlowSubscriber::Block(DEADLINE));
        let mut publisher = builder.build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = SubSocket::builder(&context).receive_hwm(1).build().unwrap();
        subscriber.connect(&endpoint).unwrap();
        subscriber.subscribe("").unwrap();
        assert_eq!(Upstream::of(&receive(&mut publisher)), Upstream::Subscribe(b""));
        let mut selector = Selector::new();
        selector.send('s', &mut publisher).unwrap();
        fill_with(&mut selector, |body| publisher.try_send(body).is_ok());
        selector.receive('r', &mut publisher).unwrap();
        assert!(selector.try_wait().unwrap().is_empty());

        subscriber.unsubscribe("").unwrap();
        let mut ready = HashSet::new();
        wait_until("both directions are ready", || {
            ready.extend(select(&mut selector));
            ready.len() == 2
        });
        assert_eq!(publisher.try_send("to nobody").unwrap().matched, 0);
        assert_eq!(Upstream::of(&receive(&mut publisher)), Upstream::Unsubscribe(b""));
        assert_eq!(select(&mut selector), ['s']);
    }

    fn the_parts_of_a_socket_are_waited_for_apart(transport) {
        let context = Context::new();
        let mut first = PairSocket::new(&context);
        let endpoint = first.bind(transport.wildcard()).unwrap();
        let mut second = PairSocket::new(&context);
        second.connect(&endpoint).unwrap();
        send(&mut second, "hello");
        receive(&mut first);
        let (mut sender, mut receiver) = first.into_split();
        let mut selector = Selector::new();
        selector.send("sends", &mut sender).unwrap();
        selector.receive("receives", &mut receiver).unwrap();
        assert_eq!(select(&mut selector), ["sends"]);
        send(&mut second, "again");
        wait_until("both are ready", || select(&mut selector) == ["receives", "sends"]);
        // The other one holds the socket, but to receive is over.
        drop(receiver);
        let ready = selector.wait().unwrap();
        assert!(ready.contains(&Selected { key: "receives", is_closed: true }), "{ready:?}");
        assert_eq!(select(&mut selector), ["sends"]);
        sender.send("still there").unwrap();
        assert_eq!(receive(&mut second).as_bytes(), b"still there");
    }

    fn a_task_waits_with_a_selector(transport) {
        let (mut push, mut pull) = pair(transport);
        let mut selector = Selector::new();
        selector.receive((), &mut pull).unwrap();
        let sender = thread::spawn(move || {
            for number in 0..500 {
                send_number(&mut push, number);
            }
            push
        });
        let mut expected = 0;
        while expected < 500 {
            // A wait that is given up takes nothing.
            let _ = poll_once(std::pin::pin!(selector.wait_async()));
            assert_eq!(block_on(selector.wait_async()).unwrap(), [Selected { key: (), is_closed: false }]);
            while let Ok(message) = pull.try_recv() {
                assert_eq!(number(&message), expected);
                expected += 1;
            }
        }
        sender.join().unwrap();
    }

    fn tokio_waits_for_the_descriptor(transport) {
        let (mut push, mut pull) = pair(transport);
        let sender = thread::spawn(move || {
            for number in 0..2000 {
                send_number(&mut push, number);
            }
            push
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            // Not the newer function, which is unsafe because it knows less of a descriptor than we do.
            #[allow(deprecated)]
            let fd = AsyncFd::new(pull.recv_ready_fd().unwrap()).unwrap();
            let mut expected = 0;
            while expected < 2000 {
                let ready = tokio::time::timeout(DEADLINE, fd.readable()).await;
                let mut ready = ready.unwrap_or_else(|_| panic!("{expected} of 2000")).unwrap();
                // Tokio takes edges: what was ready is so until somebody says it is not.
                match pull.try_recv() {
                    Ok(message) => {
                        assert_eq!(number(&message), expected);
                        expected += 1;
                    }
                    Err(_) => ready.clear_ready(),
                }
            }
        });
        sender.join().unwrap();
    }
}

/// What sends numbers to a socket in the stress test, and the socket.
struct Lane {
    send: Box<dyn FnMut(u32) + Send>,
    sink: Sink,
}

#[expect(clippy::large_enum_variant, reason = "there are a hundred of them")]
enum Sink {
    Pull(PullSocket),
    Pair(PairSocket),
    Dealer(DealerSocket),
    Router(RouterSocket),
    Sub(SubSocket),
    XSub(XSubSocket),
    Rep(RepSocket),
    XPub(XPubSocket),
    Descriptor(UnixStream),
}

impl Sink {
    fn register(&mut self, key: usize, selector: &mut Selector<usize>) {
        match self {
            Sink::Pull(socket) => selector.receive(key, socket),
            Sink::Pair(socket) => selector.receive(key, socket),
            Sink::Dealer(socket) => selector.receive(key, socket),
            Sink::Router(socket) => selector.receive(key, socket),
            Sink::Sub(socket) => selector.receive(key, socket),
            Sink::XSub(socket) => selector.receive(key, socket),
            Sink::Rep(socket) => selector.receive(key, socket),
            Sink::XPub(socket) => selector.receive(key, socket),
            Sink::Descriptor(stream) => selector.readable(key, stream),
        }
        .unwrap();
    }

    fn try_number(&mut self) -> Option<u32> {
        let message = match self {
            Sink::Pull(socket) => socket.try_recv(),
            Sink::Pair(socket) => socket.try_recv(),
            Sink::Dealer(socket) => socket.try_recv(),
            Sink::Router(socket) => socket.try_recv_from().map(|(_, message)| message),
            Sink::Sub(socket) => socket.try_recv(),
            Sink::XSub(socket) => socket.try_recv(),
            Sink::Rep(socket) => socket.try_recv().inspect(|_| socket.dismiss()),
            Sink::XPub(socket) => socket.try_recv(),
            Sink::Descriptor(stream) => {
                let mut bytes = [0; 4];
                return stream
                    .read_exact(&mut bytes)
                    .ok()
                    .map(|()| u32::from_be_bytes(bytes));
            }
        };
        let message = message.ok()?;
        let bytes = message.parts().last()?.to_vec();
        // The end of a subscription is no number.
        Some(u32::from_be_bytes(bytes.last_chunk().copied()?))
    }
}

fn lane(context: &Context, kind: usize, transport: Transport) -> Lane {
    /// Binds the one and connects the other.
    macro_rules! join {
        ($sink:ident, $source:ident) => {{
            let mut sink = $sink::new(context);
            let endpoint = sink.bind(transport.wildcard()).unwrap();
            let mut source = $source::new(context);
            source.connect(&endpoint).unwrap();
            (sink, source)
        }};
    }
    macro_rules! dealing {
        ($variant:ident, $sink:ident, $source:ident, $parts:expr) => {{
            let (sink, mut source) = join!($sink, $source);
            let parts: fn([u8; 4]) -> zerowire::Message = $parts;
            Lane {
                send: Box::new(move |number| send(&mut source, parts(number.to_be_bytes()))),
                sink: Sink::$variant(sink),
            }
        }};
    }
    let plain = |bytes: [u8; 4]| bytes[..].into();
    match kind % 9 {
        0 => dealing!(Pull, PullSocket, PushSocket, plain),
        1 => dealing!(Pair, PairSocket, PairSocket, plain),
        2 => dealing!(Dealer, DealerSocket, DealerSocket, plain),
        3 => dealing!(Router, RouterSocket, DealerSocket, plain),
        4 => {
            let (mut sink, mut source) = join!(SubSocket, PubSocket);
            sink.subscribe("x").unwrap();
            source.wait_for_subscribers(1, DEADLINE).unwrap();
            Lane {
                send: Box::new(move |number| {
                    // What is not wanted comes, too, in this context.
                    source.send("y").unwrap();
                    assert_eq!(source.send([&b"x"[..], &number.to_be_bytes()]).unwrap().queued, 1);
                }),
                sink: Sink::Sub(sink),
            }
        }
        5 => {
            let (mut sink, mut source) = join!(XSubSocket, PubSocket);
            sink.subscribe("").unwrap();
            source.wait_for_subscribers(1, DEADLINE).unwrap();
            Lane {
                send: Box::new(move |number| {
                    assert_eq!(source.send(&number.to_be_bytes()).unwrap().queued, 1);
                }),
                sink: Sink::XSub(sink),
            }
        }
        6 => dealing!(Rep, RepSocket, DealerSocket, |bytes| [&b""[..], &bytes].into()),
        7 => {
            let (mut sink, mut source) = join!(XPubSocket, XSubSocket);
            source.wait_ready(DEADLINE).unwrap();
            // So that the publisher is known to be there.
            source.subscribe("").unwrap();
            sink.wait_for_subscribers(1, DEADLINE).unwrap();
            assert_eq!(receive(&mut sink).as_bytes(), b"\x01");
            Lane {
                send: Box::new(move |number| {
                    assert_eq!(source.send([&b"m"[..], &number.to_be_bytes()]).unwrap().queued, 1);
                }),
                sink: Sink::XPub(sink),
            }
        }
        _ => {
            let (sink, mut source) = UnixStream::pair().unwrap();
            sink.set_nonblocking(true).unwrap();
            Lane {
                send: Box::new(move |number| source.write_all(&number.to_be_bytes()).unwrap()),
                sink: Sink::Descriptor(sink),
            }
        }
    }
}

/// 100 sockets of all types over all transports, written to by four threads: now and then each of these waits until what it
/// sent was received, and one lost wake-up would be the end of it.
fn stress(descriptors: bool, receive_all: bool) {
    const LANES: usize = 100;
    const ROUNDS: u32 = 3000;
    let context = Context::new();
    let received: Arc<Vec<AtomicU32>> = Arc::new((0..LANES).map(|_| AtomicU32::new(0)).collect());
    let mut selector = Selector::new();
    let (mut sinks, mut groups) = (Vec::new(), [(); 4].map(|()| Vec::new()));
    for key in 0..LANES {
        let transport = [Transport::Inproc, Transport::Ipc, Transport::Tcp][key / 9 % 3];
        let kind = if descriptors { key } else { key % 8 };
        let mut lane = lane(&context, kind, transport);
        lane.sink.register(key, &mut selector);
        sinks.push(lane.sink);
        groups[key % 4].push((key, 0, lane.send));
    }
    let senders: Vec<_> = groups
        .into_iter()
        .enumerate()
        .map(|(group, mut lanes)| {
            let received = received.clone();
            thread::spawn(move || {
                let mut random = group as u32 + 1;
                for _ in 0..ROUNDS {
                    // xorshift
                    random ^= random << 13;
                    random ^= random >> 17;
                    random ^= random << 5;
                    let index = random as usize % lanes.len();
                    let (key, sent, send) = &mut lanes[index];
                    *sent += 1;
                    send(*sent);
                    if random >> 16 & 3 == 0 {
                        wait_until("what was sent is received", || {
                            received[*key].load(Ordering::Acquire) == *sent
                        });
                    }
                }
                lanes
            })
        })
        .collect();
    let total = 4 * ROUNDS;
    let mut count = 0;
    while count < total {
        let ready = selector.wait_timeout(DEADLINE).unwrap();
        assert!(!ready.is_empty(), "{count} of {total}");
        for selected in ready {
            while let Some(number) = sinks[selected.key].try_number() {
                let before = received[selected.key].swap(number, Ordering::Release);
                assert_eq!(number, before + 1);
                count += 1;
                if !receive_all {
                    break;
                }
            }
        }
    }
    for sender in senders {
        drop(sender.join().unwrap());
    }
    // When all is received, nothing is ready any more: what came late is found to be nothing.
    wait_until("nothing is ready", || {
        let ready = selector.try_wait().unwrap();
        let is_quiet = ready.is_empty();
        for selected in ready {
            let number = sinks[selected.key].try_number();
            assert!(number.is_none() || selected.is_closed, "{number:?}");
            if let Sink::Descriptor(_) = sinks[selected.key] {
                // Its other end is gone, which is ready for ever.
                selector.remove(&selected.key);
            }
        }
        is_quiet || selector.is_empty()
    });
}

#[test]
fn no_wake_up_is_lost_among_a_hundred_sockets() {
    with_deadline(|| stress(false, true));
}

#[test]
fn no_wake_up_is_lost_among_a_hundred_sockets_and_descriptors() {
    with_deadline(|| stress(true, false));
}

#[test]
fn descriptors_of_others_are_level_triggered() {
    with_deadline(|| {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let mut selector = Selector::new();
        selector.readable("read", &there).unwrap();
        assert_eq!(selector.wait_timeout(SHORT).unwrap(), []);
        selector.writable("write", &there).unwrap();
        here.write_all(b"ab").unwrap();
        for _ in 0..3 {
            assert_eq!(select(&mut selector), ["read", "write"]);
        }
        there.read_exact(&mut [0]).unwrap();
        assert_eq!(select(&mut selector), ["read", "write"]);
        there.read_exact(&mut [0]).unwrap();
        assert_eq!(select(&mut selector), ["write"]);
        selector.remove(&"write");
        assert_eq!(selector.wait_timeout(SHORT).unwrap(), []);
        // The end is something to read.
        drop(here);
        assert_eq!(select(&mut selector), ["read"]);
        assert!(matches!(
            block_on(selector.wait_async()),
            Err(SelectError::Descriptors)
        ));
        let file = std::fs::File::open("Cargo.toml").unwrap();
        assert!(matches!(
            selector.readable("file", &file),
            Err(RegisterError::Io(_))
        ));
        assert!(matches!(
            selector.readable("read", &there),
            Err(RegisterError::KeyInUse)
        ));
        assert_eq!(selector.len(), 1);
    });
}

#[test]
fn a_message_ends_a_wait_for_descriptors_and_a_busy_socket_does_not_hide_them() {
    with_deadline(|| {
        let (mut here, there) = UnixStream::pair().unwrap();
        let (mut push, mut pull) = pair(Transport::Inproc);
        let mut selector = Selector::new();
        selector.readable("descriptor", &there).unwrap();
        selector.receive("socket", &mut pull).unwrap();
        send_number(&mut push, 0);
        receive(&mut pull);
        for number in 1..100 {
            let waiting = thread::spawn(move || {
                assert_eq!(select(&mut selector), ["socket"]);
                selector
            });
            send_number(&mut push, number);
            selector = waiting.join().unwrap();
            assert_eq!(receive_number(&mut pull), number);
            assert_eq!(selector.try_wait().unwrap(), []);
        }
        send_number(&mut push, 100);
        here.write_all(b"x").unwrap();
        assert_eq!(select(&mut selector), ["descriptor", "socket"]);
        assert_eq!(select(&mut selector), ["descriptor", "socket"]);
    });
}

#[test]
fn waits_end_in_time() {
    with_deadline(|| {
        let (_push, mut pull) = pair(Transport::Inproc);
        let mut selector = Selector::new();
        assert!(matches!(selector.wait_timeout(DEADLINE), Err(SelectError::Empty)));
        assert!(matches!(selector.try_wait(), Err(SelectError::Empty)));
        assert!(matches!(block_on(selector.wait_async()), Err(SelectError::Empty)));
        let (_here, there) = UnixStream::pair().unwrap();
        selector.receive(1, &mut pull).unwrap();
        assert!(matches!(
            selector.receive(1, &mut pull),
            Err(RegisterError::KeyInUse)
        ));
        let _ = pull.try_recv();
        for with_descriptor in [false, true] {
            if with_descriptor {
                selector.readable(2, &there).unwrap();
            }
            let start = Instant::now();
            assert_eq!(selector.wait_timeout(SHORT).unwrap(), []);
            assert!(start.elapsed() >= SHORT);
            assert_eq!(selector.wait_timeout(Duration::ZERO).unwrap(), []);
        }
    });
}

#[test]
fn a_selector_that_is_dropped_is_forgotten_and_so_is_what_was_removed() {
    with_deadline(|| {
        let (mut push, mut pull) = pair(Transport::Inproc);
        let (mut kept, mut dropped) = (Selector::new(), Selector::new());
        for selector in [&mut kept, &mut dropped] {
            selector.receive((), &mut pull).unwrap();
        }
        assert!(kept.remove(&()));
        drop(dropped);
        send_number(&mut push, 1);
        assert!(kept.is_empty());
        kept.receive((), &mut pull).unwrap();
        assert_eq!(select(&mut kept), [()]);
        assert_eq!(receive_number(&mut pull), 1);
        assert_eq!(kept.try_wait().unwrap(), []);
    });
}

#[test]
fn a_reply_out_of_turn_has_nothing_to_wait_for() {
    with_deadline(|| {
        let context = Context::new();
        let mut rep = RepSocket::builder(&context).send_hwm(1).build().unwrap();
        rep.bind("inproc://found-early").unwrap();
        let mut dealer = DealerSocket::new(&context);
        dealer.connect("inproc://found-early").unwrap();
        // Who waits for requests by a descriptor has the next one found early.
        let _fd = rep.recv_ready_fd().unwrap();
        for request in ["first", "second"] {
            send(&mut dealer, ["", request]);
        }
        receive(&mut rep);
        assert!(poll_once(pin!(rep.send_ready())).is_ready());
        rep.try_send("to the first").unwrap();
        // The peer has no room now, but it is not the turn for a reply.
        assert!(poll_once(pin!(rep.send_ready())).is_ready());
        assert!(matches!(rep.try_send("reply"), Err(TrySendError::WrongState(_))));
        receive(&mut rep);
        assert!(poll_once(pin!(rep.send_ready())).is_pending());
        receive(&mut dealer);
        assert!(poll_once(pin!(rep.send_ready())).is_ready());
        rep.try_send("to the second").unwrap();
    });
}

#[test]
fn who_shares_a_socket_shares_its_readiness() {
    with_deadline(|| {
        let (push, mut pull) = pair(Transport::Inproc);
        let first = push.into_shared();
        let mut second = first.clone();
        let fd = first.send_ready_fd().unwrap();
        let mut selector = Selector::new();
        selector.send((), &mut second).unwrap();
        assert_eq!(select(&mut selector), [()]);
        while first.try_send("fill").is_ok() {}
        assert_eq!(selector.try_wait().unwrap(), []);
        assert!(!is_readable(&fd));
        while pull.try_recv().is_ok() {}
        assert_eq!(select(&mut selector), [()]);
        assert!(is_readable(&fd));
        drop(first);
        second.send("last").unwrap();
        drop(second);
        assert_eq!(
            selector.wait().unwrap(),
            [Selected {
                key: (),
                is_closed: true
            }]
        );
    });
}

/// What a subscriber said after as many messages as may wait is heard when one of them was received.
#[test]
fn an_xpub_can_send_when_it_may_hear_again_that_nobody_wants_it() {
    with_deadline(|| {
        let context = Context::new();
        let builder = XPubSocket::builder(&context).send_hwm(1).receive_hwm(1);
        let builder = builder.slow_subscriber(SlowSubscriber::Block(DEADLINE));
        let mut publisher = builder.build().unwrap();
        publisher.bind("inproc://hears-again").unwrap();
        let mut subscriber = XSubSocket::new(&context);
        subscriber.connect("inproc://hears-again").unwrap();
        subscriber.send(b"\x01").unwrap();
        receive(&mut publisher);
        subscriber.send("as many as may wait").unwrap();
        subscriber.send(b"\x00").unwrap();
        let mut selector = Selector::new();
        selector.send((), &mut publisher).unwrap();
        publisher.try_send("room").unwrap();
        assert!(matches!(
            publisher.try_send("no room"),
            Err(TrySendError::Full(_))
        ));
        assert_eq!(selector.try_wait().unwrap(), []);
        receive(&mut publisher);
        assert_eq!(select(&mut selector), [()]);
        assert_eq!(publisher.try_send("to nobody").unwrap().matched, 0);
    });
}

#[test]
fn a_socket_that_is_split_or_not_has_room_or_none_by_the_same_level() {
    with_deadline(|| {
        let context = Context::new();
        let mut dealer = DealerSocket::builder(&context).send_hwm(2).build().unwrap();
        dealer.connect("inproc://nobody-yet").unwrap();
        let fd = dealer.send_ready_fd().unwrap();
        assert!(is_readable(&fd));
        dealer.try_send(&[1]).unwrap();
        assert!(is_readable(&fd));
        dealer.try_send(&[2]).unwrap();
        assert!(!is_readable(&fd), "it is known before a send fails");
        let (mut sender, receiver) = dealer.into_split();
        assert!(matches!(sender.try_send("more"), Err(TrySendError::Full(_))));
        let mut peer = DealerSocket::new(&context);
        peer.bind("inproc://nobody-yet").unwrap();
        receive(&mut peer);
        receive(&mut peer);
        wait_readable(&fd);
        sender.try_send("more").unwrap();
        drop((sender, receiver));
        assert!(is_readable(&fd));
    });
}

/// A loop of mio's own, edge-triggered: one edge for what comes after the socket was found empty.
#[cfg(feature = "mio")]
#[test]
fn a_loop_of_mio_waits_for_sockets() {
    with_deadline(|| {
        let mut poll = mio::Poll::new().unwrap();
        let mut events = mio::Events::with_capacity(8);
        let mut lanes = Vec::new();
        for transport in [Transport::Inproc, Transport::Ipc, Transport::Tcp] {
            let (mut push, mut pull) = pair(transport);
            let token = mio::Token(lanes.len());
            let mut ready = pull.recv_ready_fd().unwrap();
            poll.registry()
                .register(&mut ready, token, mio::Interest::READABLE)
                .unwrap();
            let sender = thread::spawn(move || {
                for number in 0..1000 {
                    send_number(&mut push, number);
                }
                push
            });
            lanes.push((pull, ready, sender, 0));
        }
        while lanes.iter().any(|(.., expected)| *expected < 1000) {
            poll.poll(&mut events, Some(DEADLINE)).unwrap();
            assert!(!events.is_empty(), "no event in time");
            for event in &events {
                let (pull, _, _, expected) = &mut lanes[event.token().0];
                while let Ok(message) = pull.try_recv() {
                    assert_eq!(number(&message), *expected);
                    *expected += 1;
                }
            }
        }
        for (_, mut ready, sender, _) in lanes {
            poll.registry()
                .reregister(&mut ready, mio::Token(9), mio::Interest::READABLE)
                .unwrap();
            poll.registry().deregister(&mut ready).unwrap();
            drop(sender.join().unwrap());
        }
    });
}
