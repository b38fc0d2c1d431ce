//! Sockets as streams and sinks.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread;
use std::time::Instant;

use futures_util::stream::FusedStream;
use futures_util::{Sink, SinkExt, Stream, StreamExt, TryStreamExt, stream};
use zerowire::{
    Context, DealerSocket, Message, PairSocket, PeerId, PubSocket, PullSocket, PushSocket, RecvError,
    RouterSocket, SendError, SendToError, SlowSubscriber, SubSocket, TryRecvError, Upstream, XPubSocket,
    XSubSocket,
};

use crate::executors::{block_on, poll_and_drop, poll_once};
use crate::raw::{Raw, frame};
use crate::support::{
    DEADLINE, Transport, number, receive, receive_number, send, send_number, wait_for_end, wait_until,
    with_deadline,
};
use crate::{on_every_executor, on_every_transport, on_every_wire};

fn poll_ready<T, S: Sink<T> + Unpin>(sink: &mut S) -> Poll<Result<(), S::Error>> {
    Pin::new(sink).poll_ready(&mut TaskContext::from_waker(Waker::noop()))
}

fn poll_flush<T, S: Sink<T> + Unpin>(sink: &mut S) -> Poll<Result<(), S::Error>> {
    Pin::new(sink).poll_flush(&mut TaskContext::from_waker(Waker::noop()))
}

fn poll_close<T, S: Sink<T> + Unpin>(sink: &mut S) -> Poll<Result<(), S::Error>> {
    Pin::new(sink).poll_close(&mut TaskContext::from_waker(Waker::noop()))
}

fn start_send<T, S: Sink<T> + Unpin>(sink: &mut S, item: T) -> Result<(), S::Error> {
    Pin::new(sink).start_send(item)
}

fn numbers(numbers: std::ops::Range<u32>) -> impl Stream<Item = Message> + Send {
    stream::iter(numbers.map(|number| Message::from(&number.to_be_bytes())))
}

/// A connected pair.
fn pair(transport: Transport, send_hwm: u32) -> (PushSocket, PullSocket) {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind(transport.wildcard()).unwrap();
    let mut push = PushSocket::builder(&context).send_hwm(send_hwm).build().unwrap();
    push.connect(&endpoint).unwrap();
    (push, pull)
}

/// Says so when it is woken.
struct Tell(mpsc::Sender<()>);

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

on_every_executor! {
    fn a_stream_is_forwarded_into_a_sink_and_out_of_a_stream(transport, executor) {
        let (push, pull) = pair(transport, 10);
        let sender = executor.spawn(numbers(0..5000).map(Ok::<_, SendError>).forward(push));
        executor.run(async {
            let received: Vec<Message> = pull.take(5000).try_collect().await.unwrap();
            assert!(received.iter().map(number).eq(0..5000));
            sender.await.unwrap();
        });
    }

    /// The two sides of one socket wait in different tasks.
    fn a_socket_is_split_into_a_sink_and_a_stream(transport, executor) {
        let context = Context::new();
        let mut left = PairSocket::builder(&context).send_hwm(3).receive_hwm(3).build().unwrap();
        let endpoint = left.bind(transport.wildcard()).unwrap();
        let mut right = PairSocket::builder(&context).send_hwm(3).receive_hwm(3).build().unwrap();
        right.connect(&endpoint).unwrap();

        // The peer is taken apart by the library, and sends back what comes.
        let (sender, receiver) = right.into_split();
        let echo = receiver.take(2000).map_err(drop).forward(sender.sink_map_err(drop));
        let echo = executor.spawn(echo);
        let (to_right, from_right) = left.split();
        let sender = executor.spawn(async move {
            let sent = numbers(0..2000).map(Ok).forward(to_right).await;
            sent.unwrap();
        });
        executor.run(async {
            let received: Vec<Message> = from_right.take(2000).try_collect().await.unwrap();
            assert!(received.iter().map(number).eq(0..2000));
            sender.await;
            echo.await.unwrap();
        });
    }

    /// A server of many clients is a router whose stream goes into its sink.
    fn a_router_is_a_stream_and_a_sink_of_named_messages(transport, executor) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).send_hwm(2).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let (replies, requests) = router.split();
        let server = requests.take(900).map_err(drop).forward(replies.sink_map_err(drop));
        let server = executor.spawn(server);
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let mut dealer = DealerSocket::builder(&context).send_hwm(2).build().unwrap();
                dealer.connect(&endpoint).unwrap();
                let (to_server, from_server) = dealer.split();
                let sending = executor.spawn(numbers(0..300).map(Ok).forward(to_server));
                executor.spawn(async move {
                    let replies: Vec<Message> = from_server.take(300).try_collect().await.unwrap();
                    assert!(replies.iter().map(number).eq(0..300));
                    sending.await.unwrap();
                })
            })
            .collect();
        executor.run(async {
            for client in clients {
                client.await;
            }
            server.await.unwrap();
        });
    }

    /// A publisher that may wait for slow subscribers is a sink that waits.
    fn a_publisher_is_a_sink_and_a_subscriber_a_stream(transport, executor) {
        let context = Context::new();
        let builder = PubSocket::builder(&context).send_hwm(2);
        let mut publisher = builder.slow_subscriber(SlowSubscriber::Block(DEADLINE)).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let readers = [(); 2].map(|()| {
            let mut subscriber = SubSocket::builder(&context).receive_hwm(2).build().unwrap();
            subscriber.subscribe("").unwrap();
            subscriber.connect(&endpoint).unwrap();
            executor.spawn(async move {
                let received: Vec<Message> = subscriber.take(500).try_collect().await.unwrap();
                assert!(received.iter().map(number).eq(0..500));
            })
        });
        publisher.wait_for_subscribers(2, DEADLINE).unwrap();
        executor.run(async {
            // Kept until they have it all.
            let mut publisher = publisher;
            numbers(0..500).map(Ok).forward(&mut publisher).await.unwrap();
            for reader in readers {
                reader.await;
            }
            assert_eq!(publisher.dropped(), 0);
        });
    }
}

on_every_transport! {
    /// The error comes once, after everything that was received, and then nothing.
    fn a_stream_ends_after_its_error(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        send(&mut push, "before");
        send(&mut push, "the end");
        assert_eq!(block_on(pull.next()).unwrap().unwrap().as_bytes(), b"before");
        wait_until("the second message", || pull.stats().received.waiting == 1);
        context.shutdown(DEADLINE);
        assert_eq!(block_on(pull.next()).unwrap().unwrap().as_bytes(), b"the end");
        assert!(!pull.is_terminated());
        assert_eq!(block_on(pull.next()), Some(Err(RecvError::Closed)));
        assert!(pull.is_terminated());
        for _ in 0..3 {
            assert_eq!(poll_once(pin!(pull.next())), Poll::Ready(None));
        }
        assert_eq!(pull.try_recv(), Err(TryRecvError::Closed), "the calls say it each time");
    }

    /// A stream that waits is woken by the end.
    fn a_pending_stream_is_woken_by_the_end(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        pull.bind(transport.wildcard()).unwrap();
        assert!(poll_once(pin!(pull.next())).is_pending());
        let (begun, begins) = std::sync::mpsc::channel();
        let waiting = thread::spawn(move || {
            block_on(async {
                let mut stream = pin!(pull);
                poll_fn(|task| {
                    let polled = stream.as_mut().poll_next(task);
                    let _ = begun.send(());
                    polled
                })
                .await
            })
        });
        begins.recv().unwrap();
        context.shutdown(DEADLINE);
        assert_eq!(waiting.join().unwrap(), Some(Err(RecvError::Closed)));
    }

    /// Ready means that a peer has room, so that no more than the high-water mark is taken.
    fn a_sink_is_ready_when_a_peer_has_room(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context).send_hwm(2).build().unwrap();
        assert!(poll_ready::<Message, _>(&mut push).is_pending(), "there is nobody");
        push.connect(endpoint.as_str()).unwrap();
        for number in 0..2u32 {
            assert!(matches!(poll_ready::<Message, _>(&mut push), Poll::Ready(Ok(()))));
            start_send(&mut push, Message::from(&number.to_be_bytes())).unwrap();
            assert!(matches!(poll_flush::<Message, _>(&mut push), Poll::Ready(Ok(()))), "it is handed over");
        }
        assert!(poll_ready::<Message, _>(&mut push).is_pending());
        assert!(matches!(poll_close::<Message, _>(&mut push), Poll::Ready(Ok(()))));
        assert_eq!(push.stats().sent.waiting, 2);
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        assert_eq!(receive_number(&mut pull), 0);
        assert_eq!(receive_number(&mut pull), 1);
        // To be closed means nothing: it closes when it is dropped.
        block_on(SinkExt::send(&mut push, "more".into())).unwrap();
        assert_eq!(receive(&mut pull).as_bytes(), b"more");
    }

    /// What a failed send gives back is the message, and the sink goes on with others.
    fn an_error_of_a_sink_concerns_one_message(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::builder(&context).max_message_bytes(10).build().unwrap();
        push.connect(&endpoint).unwrap();
        match block_on(SinkExt::send(&mut push, "more than ten bytes".into())) {
            Err(SendError::TooLarge(back)) => assert_eq!(back.as_bytes(), b"more than ten bytes"),
            other => panic!("{other:?}"),
        }
        block_on(SinkExt::send(&mut push, "short".into())).unwrap();
        assert_eq!(receive(&mut pull).as_bytes(), b"short");
        context.shutdown(DEADLINE);
        match block_on(SinkExt::send(&mut push, "late".into())) {
            Err(SendError::Closed(back)) => assert_eq!(back.as_bytes(), b"late"),
            other => panic!("{other:?}"),
        }
    }

    /// A sink of named messages takes one, and waits with it for its peer.
    fn a_router_holds_a_message_for_a_peer_without_room(transport) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).send_hwm(1).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = DealerSocket::builder(&context).identity("slow").receive_hwm(1).build().unwrap();
        dealer.connect(&endpoint).unwrap();
        send(&mut dealer, "here");
        let (peer, _) = router.recv_from_timeout(DEADLINE).unwrap();
        let body = |number: u32| {
            // Enough to fill the buffers of the system.
            let mut body = vec![0; 1 << 20];
            body[..4].copy_from_slice(&number.to_be_bytes());
            Message::from(body)
        };
        let mut count = 0;
        while let Poll::Ready(ready) = poll_ready::<(PeerId, Message), _>(&mut router) {
            ready.unwrap();
            start_send(&mut router, (peer.clone(), body(count))).unwrap();
            count += 1;
        }
        // It is not ready, and says so to who does not ask.
        match start_send(&mut router, (peer.clone(), "out of turn".into())) {
            Err(SendToError::Full(back)) => assert_eq!(back.as_bytes(), b"out of turn"),
            other => panic!("{other:?}"),
        }
        assert!(poll_flush::<(PeerId, Message), _>(&mut router).is_pending());
        let receiver = thread::spawn(move || {
            for expected in 0..count {
                assert_eq!(receive(&mut dealer).as_bytes()[..4], expected.to_be_bytes());
            }
            assert_eq!(receive(&mut dealer).as_bytes(), b"next");
        });
        block_on(poll_fn(|task| Pin::new(&mut router).poll_flush(task))).unwrap();
        block_on(router.send((peer.clone(), "next".into()))).unwrap();
        receiver.join().unwrap();
    }

    fn an_unknown_peer_is_an_error_of_that_message(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        router.bind(transport.wildcard()).unwrap();
        let nobody = PeerId::new("nobody").unwrap();
        match block_on(router.send((nobody.clone(), "lost".into()))) {
            Err(SendToError::Unroutable { peer, message }) => {
                assert_eq!((peer, message.as_bytes()), (nobody, &b"lost"[..]));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(poll_ready::<(PeerId, Message), _>(&mut router), Poll::Ready(Ok(()))));
    }

    /// The peer that had room leaves between the two steps: the message waits for another one.
    fn a_message_whose_peer_left_is_held_for_the_next(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut first = PullSocket::new(&context);
        first.connect(&endpoint).unwrap();
        block_on(poll_fn(|task| Pin::new(&mut push).poll_ready(task))).unwrap();
        drop(first);
        wait_until("the peer is gone", || push.stats().sent.peers == 0);
        start_send(&mut push, Message::from("held")).unwrap();
        assert!(poll_flush::<Message, _>(&mut push).is_pending());
        assert!(poll_ready::<Message, _>(&mut push).is_pending());
        assert_eq!(push.stats().sent.accepted, 0, "it is not sent yet");
        let mut second = PullSocket::new(&context);
        second.connect(&endpoint).unwrap();
        block_on(poll_fn(|task| Pin::new(&mut push).poll_flush(task))).unwrap();
        send(&mut push, "next");
        assert_eq!(receive(&mut second).as_bytes(), b"held");
        assert_eq!(receive(&mut second).as_bytes(), b"next");
    }

    /// It goes along when the socket changes hands.
    fn a_held_message_stays_with_the_part_that_sends(transport) {
        let context = Context::new();
        let mut pair = PairSocket::new(&context);
        let endpoint = pair.bind(transport.wildcard()).unwrap();
        let mut first = PairSocket::new(&context);
        first.connect(&endpoint).unwrap();
        block_on(poll_fn(|task| Pin::new(&mut pair).poll_ready(task))).unwrap();
        drop(first);
        wait_until("the peer is gone", || pair.stats().sent.peers == 0);
        start_send(&mut pair, Message::from("held")).unwrap();
        let (mut sender, _receiver) = pair.into_split();
        assert!(poll_flush::<Message, _>(&mut sender).is_pending());
        let mut second = PairSocket::new(&context);
        second.connect(&endpoint).unwrap();
        block_on(SinkExt::send(&mut sender, "next".into())).unwrap();
        assert_eq!(receive(&mut second).as_bytes(), b"held");
        assert_eq!(receive(&mut second).as_bytes(), b"next");
    }

    /// Wherever `next` is dropped, the stream goes on with what comes next.
    fn dropped_futures_of_a_stream_lose_nothing(transport) {
        let (mut push, mut pull) = pair(transport, 100);
        let sender = thread::spawn(move || {
            for number in 0..5000 {
                send_number(&mut push, number);
            }
            push
        });
        let end = Instant::now() + DEADLINE;
        let (mut expected, mut started) = (0, 0);
        while expected < 5000 {
            assert!(Instant::now() < end, "{expected} of 5,000");
            if let Some(item) = poll_and_drop(pull.next(), started % 3) {
                assert_eq!(number(&item.unwrap().unwrap()), expected);
                expected += 1;
            }
            started += 1;
        }
        sender.join().unwrap();
    }

    /// A `send` that is dropped before its message is taken has sent nothing; one that was ready has sent it once.
    fn dropped_futures_of_a_sink_send_once_or_not_at_all(transport) {
        let (mut push, mut pull) = pair(transport, 2);
        let receiver = thread::spawn(move || {
            let numbers = std::iter::from_fn(|| Some(receive_number(&mut pull)).filter(|&number| number != u32::MAX));
            numbers.collect::<Vec<_>>()
        });
        let end = Instant::now() + DEADLINE;
        let (mut sent, mut number) = (Vec::new(), 0u32);
        while sent.len() < 2000 {
            assert!(Instant::now() < end, "{} of {number} sent", sent.len());
            let message = Message::from(&number.to_be_bytes());
            if let Some(result) = poll_and_drop(SinkExt::send(&mut push, message), number as usize % 4) {
                result.unwrap();
                sent.push(number);
            }
            number += 1;
        }
        send_number(&mut push, u32::MAX);
        assert!(receiver.join().unwrap() == sent);
    }

    /// A `send` to a peer may be dropped when the sink has the message: then it is sent, in its turn, and once.
    fn dropped_futures_of_a_sink_that_holds_their_message_send_it_once(transport) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).send_hwm(1).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = DealerSocket::builder(&context).identity("d").receive_hwm(1).build().unwrap();
        dealer.connect(&endpoint).unwrap();
        send(&mut dealer, "here");
        let (peer, _) = router.recv_from_timeout(DEADLINE).unwrap();
        let receiver = thread::spawn(move || {
            let numbers =
                std::iter::from_fn(|| Some(receive_number(&mut dealer)).filter(|&number| number != u32::MAX));
            numbers.collect::<Vec<_>>()
        });
        let end = Instant::now() + DEADLINE;
        let (mut sent, mut number) = (Vec::new(), 0u32);
        while sent.len() < 500 {
            assert!(Instant::now() < end, "{} of {number} sent", sent.len());
            let item = (peer.clone(), Message::from(&number.to_be_bytes()));
            if let Some(result) = poll_and_drop(router.send(item), number as usize % 4) {
                result.unwrap();
                sent.push(number);
            }
            number += 1;
        }
        block_on(router.send((peer.clone(), Message::from(&u32::MAX.to_be_bytes())))).unwrap();
        let heard = receiver.join().unwrap();
        assert!(heard.is_sorted_by(|before, after| before < after), "once, and in order: {heard:?}");
        assert!(sent.iter().all(|number| heard.binary_search(number).is_ok()));
        assert!(heard.iter().all(|heard| *heard < number));
    }

    /// Subscriptions flow through a forwarder of streams and sinks, and so do messages.
    fn a_forwarder_is_two_streams_and_two_sinks(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::new(&context);
        let source = publisher.bind(transport.wildcard()).unwrap();
        let (mut front, mut back) = (XSubSocket::new(&context), XPubSocket::new(&context));
        front.connect(&source).unwrap();
        let copy = back.bind(transport.wildcard()).unwrap();
        let ((to_front, messages), (to_back, wishes)) = (front.split(), back.split());
        let forwarder = thread::spawn(move || {
            block_on(async {
                let down = messages.map_err(drop).forward(to_back.sink_map_err(drop));
                let up = wishes.map_err(drop).forward(to_front.sink_map_err(drop));
                futures_util::future::join(down, up).await
            })
        });
        let mut subscriber = SubSocket::new(&context);
        subscriber.connect(&copy).unwrap();
        subscriber.subscribe("a").unwrap();
        publisher.wait_for_subscribers_to("a", 1, DEADLINE).unwrap();
        for number in 0..500 {
            publisher.send(format!("a {number}")).unwrap();
            assert_eq!(receive(&mut subscriber).to_str().unwrap(), format!("a {number}"));
        }
        subscriber.unsubscribe("a").unwrap();
        wait_until("the end of the subscription", || publisher.subscribers() == 0);
        context.shutdown(DEADLINE);
        // Both directions end with the context.
        assert_eq!(forwarder.join().unwrap(), (Err(()), Err(())));
    }
}

on_every_wire! {
    /// A task publishes, and thereby drops a slow subscriber; another one waits for what subscribers say.
    fn what_publishing_ends_is_news_for_the_stream(transport) {
        let context = Context::new();
        let builder = XPubSocket::builder(&context).send_hwm(1);
        let mut xpub = builder.slow_subscriber(SlowSubscriber::Disconnect).build().unwrap();
        let endpoint = xpub.bind(transport.wildcard()).unwrap();
        // It does not read, and does not come back.
        let mut slow = Raw::peer(&endpoint.to_string(), "SUB");
        slow.send(&frame(0, b"\x01topic"));
        let (mut sink, mut said) = xpub.split();
        let message = block_on(said.next()).unwrap().unwrap();
        assert_eq!(Upstream::of(&message), Upstream::Subscribe(b"topic"));
        let (asleep, sleeps) = std::sync::mpsc::channel();
        let listener = thread::spawn(move || {
            block_on(poll_fn(|task| {
                let polled = said.poll_next_unpin(task);
                let _ = asleep.send(());
                polled
            }))
        });
        sleeps.recv().unwrap();
        let body = [&b"topic"[..], &vec![0; 1 << 20]].concat();
        let end = Instant::now() + DEADLINE;
        while !listener.is_finished() {
            assert!(Instant::now() < end, "the stream is not woken");
            block_on(sink.feed(Message::from(&body[..]))).unwrap();
        }
        let message = listener.join().unwrap().unwrap().unwrap();
        assert_eq!(Upstream::of(&message), Upstream::Unsubscribe(b"topic"));
    }

    /// Other calls between two polls take nothing from the task that waits.
    fn who_polled_a_stream_is_woken_although_the_socket_was_asked_for_its_counts(transport) {
        let (mut push, mut pull) = pair(transport, 10);
        // The connection is made and seen, so that nothing but the message is news.
        send_number(&mut push, 0);
        receive_number(&mut pull);
        let (woken, wakes) = mpsc::channel();
        let waker = Waker::from(Arc::new(Tell(woken)));
        let mut task = TaskContext::from_waker(&waker);
        let pending = Pin::new(&mut pull).poll_next(&mut task);
        assert!(pending.is_pending());
        assert_eq!(pull.stats().received.taken, 1);
        send_number(&mut push, 1);
        wakes.recv_timeout(DEADLINE).expect("the task is woken");
        assert_eq!(receive_number(&mut pull), 1);
    }

    /// A peer that goes while its message waits is an error that gives the message back.
    fn a_peer_that_goes_while_its_message_waits_gives_it_back(transport) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).send_hwm(1).build().unwrap();
        let monitor = router.monitor();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = DealerSocket::builder(&context).identity("slow").receive_hwm(1).build().unwrap();
        dealer.connect(&endpoint).unwrap();
        send(&mut dealer, "here");
        let (peer, _) = router.recv_from_timeout(DEADLINE).unwrap();
        while let Poll::Ready(ready) = poll_ready::<(PeerId, Message), _>(&mut router) {
            ready.unwrap();
            start_send(&mut router, (peer.clone(), vec![7; 1 << 20].into())).unwrap();
        }
        drop(dealer);
        wait_for_end(&monitor);
        match block_on(poll_fn(|task| Pin::new(&mut router).poll_flush(task))) {
            Err(SendToError::Unroutable { peer: gone, message }) => {
                assert_eq!((gone, message.len()), (peer, 1 << 20));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(poll_flush::<(PeerId, Message), _>(&mut router), Poll::Ready(Ok(()))));
    }
}

/// Two tasks: one waits for what subscribers say, and one for a slow subscriber.
#[test]
fn the_two_tasks_of_an_xpub_are_both_woken_by_what_subscribers_say() {
    for sink_is_first in [true, false] {
        with_deadline(move || {
            let context = Context::new();
            let builder = XPubSocket::builder(&context).send_hwm(1);
            let builder = builder.slow_subscriber(SlowSubscriber::Block(DEADLINE));
            let mut xpub = builder.build().unwrap();
            xpub.bind("inproc://two-tasks").unwrap();
            let mut slow = SubSocket::new(&context);
            slow.connect("inproc://two-tasks").unwrap();
            slow.subscribe("topic").unwrap();
            receive(&mut xpub);
            xpub.try_send("topic: room").unwrap();
            start_send(&mut xpub, Message::from("topic: no room")).unwrap();

            let (wakers, wakes): (Vec<Waker>, Vec<_>) = (0..2)
                .map(|_| {
                    let (woken, wakes) = mpsc::channel();
                    (Waker::from(Arc::new(Tell(woken))), wakes)
                })
                .unzip();
            let mut tasks = wakers.iter().map(TaskContext::from_waker);
            let (mut sink, mut stream) = (tasks.next().unwrap(), tasks.next().unwrap());
            let mut flush = |xpub: &mut XPubSocket| Pin::new(xpub).poll_flush(&mut sink);
            let mut next = |xpub: &mut XPubSocket| Pin::new(xpub).poll_next(&mut stream);
            if sink_is_first {
                assert!(flush(&mut xpub).is_pending());
                assert!(next(&mut xpub).is_pending());
            } else {
                assert!(next(&mut xpub).is_pending());
                assert!(flush(&mut xpub).is_pending());
            }
            slow.unsubscribe("topic").unwrap();
            for (task, wakes) in ["sink", "stream"].into_iter().zip(&wakes) {
                wakes
                    .recv_timeout(DEADLINE)
                    .unwrap_or_else(|_| panic!("the {task} is woken"));
            }
            assert!(flush(&mut xpub).is_ready());
            assert!(next(&mut xpub).is_ready());
        });
    }
}

/// Streams and sinks, by reference or not, in tasks of executors with many threads.
#[test]
fn sockets_are_streams_and_sinks_that_can_be_moved_and_sent() {
    fn is_stream<S: FusedStream + Unpin + Send + 'static>() {}
    fn is_sink<S: Sink<T> + Unpin + Send + 'static, T>() {}

    with_deadline(|| {
        is_stream::<PullSocket>();
        is_stream::<SubSocket>();
        is_stream::<XSubSocket>();
        is_stream::<XPubSocket>();
        is_stream::<PairSocket>();
        is_stream::<DealerSocket>();
        is_stream::<RouterSocket>();
        is_stream::<zerowire::PairReceiver>();
        is_stream::<zerowire::DealerReceiver>();
        is_stream::<zerowire::RouterReceiver>();
        is_sink::<PushSocket, Message>();
        is_sink::<PubSocket, Message>();
        is_sink::<XPubSocket, Message>();
        is_sink::<XSubSocket, Message>();
        is_sink::<PairSocket, Message>();
        is_sink::<DealerSocket, Message>();
        is_sink::<RouterSocket, (PeerId, Message)>();
        is_sink::<zerowire::PairSender, Message>();
        is_sink::<zerowire::DealerSender, Message>();
        is_sink::<zerowire::RouterSender, (PeerId, Message)>();
    });
}
