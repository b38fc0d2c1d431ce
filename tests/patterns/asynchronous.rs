//! The futures, under several executors.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use zerowire::{
    Context, DealerSocket, PubSocket, PullSocket, PushSocket, RepSocket, ReqSocket, RouterSocket, Selector,
    SendError, SlowSubscriber, SubSocket, TryRecvError,
};

use crate::executors::{block_on, poll_once, timer};
use crate::support::{
    DEADLINE, Transport, number, receive, receive_number, send, send_number, wait_for_handshake, wait_until,
    with_deadline,
};
use crate::{on_every_executor, on_every_transport};

/// A waker that counts.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn assert_send<T: Send>(value: T) -> T {
    value
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

on_every_executor! {
    fn messages_pass_between_tasks(transport, executor) {
        let (mut push, mut pull) = pair(transport, 10);
        let sender = executor.spawn(async move {
            for number in 0..5000u32 {
                push.send_async(&number.to_be_bytes()).await.unwrap();
            }
            push
        });
        let receiver = executor.spawn(async move {
            for expected in 0..5000 {
                assert_eq!(number(&pull.recv_async().await.unwrap()), expected);
            }
        });
        executor.run(async {
            receiver.await;
            drop(sender.await);
        });
    }

    /// Blocking and asynchronous calls take turns on one socket.
    fn calls_of_both_kinds_mix(transport, executor) {
        let (mut push, mut pull) = pair(transport, 100);
        for number in (0..300).step_by(3) {
            executor.run(push.send_async(&u32::to_be_bytes(number))).unwrap();
            send_number(&mut push, number + 1);
            executor.run(push.send_ready());
            push.try_send(&u32::to_be_bytes(number + 2)).unwrap();
            assert_eq!(receive_number(&mut pull), number);
            assert_eq!(crate::support::number(&executor.run(pull.recv_async()).unwrap()), number + 1);
            assert_eq!(receive_number(&mut pull), number + 2);
        }
    }

    /// A send that waits is woken when there is room.
    fn a_pending_send_is_woken_by_room(transport, executor) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context).send_hwm(1).build().unwrap();
        push.connect(endpoint.as_str()).unwrap();
        send_number(&mut push, 0);
        let sender = executor.spawn(async move {
            for number in 1..300u32 {
                push.send_ready().await;
                push.send_async(&number.to_be_bytes()).await.unwrap();
            }
            push
        });
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        executor.run(async {
            for expected in 0..300 {
                assert_eq!(number(&pull.recv_async().await.unwrap()), expected);
            }
            drop(sender.await);
        });
    }

    /// A task waits for two sockets at once, and what the losing future would have taken is still there.
    fn a_task_waits_for_two_sockets(transport, executor) {
        let (first_push, mut first) = pair(transport, 1000);
        let (second_push, mut second) = pair(transport, 1000);
        let senders = [first_push, second_push].map(|mut push| {
            executor.spawn(async move {
                for number in 0..2000u32 {
                    push.send_async(&number.to_be_bytes()).await.unwrap();
                }
                push
            })
        });
        executor.run(async {
            let mut next = [0, 0];
            while next != [2000, 2000] {
                let (from, message) = tokio::select! {
                    message = first.recv_async() => (0, message.unwrap()),
                    message = second.recv_async() => (1, message.unwrap()),
                };
                assert_eq!(number(&message), next[from]);
                next[from] += 1;
            }
            for sender in senders {
                drop(sender.await);
            }
        });
    }

    /// A timeout around a receive drops it, again and again, and takes nothing.
    fn a_timeout_around_a_receive_takes_nothing(transport, executor) {
        let (mut push, mut pull) = pair(transport, 10);
        executor.run(async {
            for number in 0..20 {
                tokio::select! {
                    message = pull.recv_async() => panic!("{message:?} out of nowhere"),
                    () = timer(Duration::from_millis(1)) => {}
                }
                push.send_async(&u32::to_be_bytes(number)).await.unwrap();
                assert_eq!(crate::support::number(&pull.recv_async().await.unwrap()), number);
            }
        });
    }

    /// Both ends of a flow go from task to task in its middle.
    fn sockets_move_between_tasks(transport, executor) {
        /// Lets a task do some of the work, and the next one the rest, with the same socket.
        async fn in_turns<S, F>(executor: &Executor, mut socket: S, work: impl Fn(S, u32) -> F)
        where
            S: Send + 'static,
            F: Future<Output = S> + Send + 'static,
        {
            for turn in 0..40 {
                socket = executor.spawn(work(socket, turn)).await;
            }
        }

        let (push, pull) = pair(transport, 2);
        let sending = in_turns(executor, push, |mut push, turn| async move {
            for number in 0..25 {
                push.send_async(&(turn * 25 + number).to_be_bytes()).await.unwrap();
            }
            push
        });
        let receiving = in_turns(executor, pull, |mut pull, turn| async move {
            for expected in 0..25 {
                assert_eq!(number(&pull.recv_async().await.unwrap()), turn * 25 + expected);
            }
            pull
        });
        executor.run(async { tokio::join!(sending, receiving) });
    }

    /// So do futures that wait already: whoever has one is woken.
    fn pending_futures_move_between_tasks(transport, executor) {
        type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

        /// Has a future wait in one task, and gives it to another.
        async fn moved<T: Send + 'static>(executor: &Executor, mut future: Pending<T>) -> impl Future<Output = T> {
            let (give, given) = oneshot::channel();
            executor
                .spawn(async move {
                    let polled = std::future::poll_fn(|task| Poll::Ready(future.as_mut().poll(task))).await;
                    assert!(polled.is_pending());
                    give.send(future).ok().expect("it is taken");
                })
                .await;
            let future = given.await.expect("it is given");
            executor.spawn(future)
        }

        let (mut push, mut pull) = pair(transport, 1);
        executor.run(async {
            for round in 0..20u32 {
                let received = moved(executor, Box::pin(async {
                    let message = pull.recv_async().await.unwrap();
                    (pull, message)
                }));
                let received = received.await;
                push.send_async(&round.to_be_bytes()).await.unwrap();
                let (back, message) = received.await;
                assert_eq!(number(&message), round);
                pull = back;
            }
        });

        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::new(&context);
        push.connect(endpoint.as_str()).unwrap();
        while push.try_send("filler").is_ok() {}
        executor.run(async {
            let sent = moved(executor, Box::pin(async {
                push.send_async("last").await.unwrap();
                push
            }));
            let sent = sent.await;
            let mut pull = PullSocket::new(&context);
            pull.bind(endpoint.as_str()).unwrap();
            while pull.recv_async().await.unwrap().as_bytes() != b"last" {}
            drop(sent.await);
        });
    }

    fn requests_and_replies_pass_between_tasks(transport, executor) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let endpoint = rep.bind(transport.wildcard()).unwrap();
        let mut req = ReqSocket::new(&context);
        req.connect(&endpoint).unwrap();
        let server = executor.spawn(async move {
            for _ in 0..300 {
                let request = rep.next_async().await.unwrap();
                let reply = request.message().clone();
                request.reply(reply).unwrap();
            }
            rep
        });
        executor.run(async {
            for round in 0..300u32 {
                let reply = req.request_async(&round.to_be_bytes()).await.unwrap();
                assert_eq!(number(&reply), round);
            }
            drop(server.await);
        });
    }

    fn routed_messages_pass_between_tasks(transport, executor) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).send_hwm(1).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let clients: Vec<_> = (0..3)
            .map(|_| {
                let mut dealer = DealerSocket::builder(&context).send_hwm(1).build().unwrap();
                dealer.connect(&endpoint).unwrap();
                let (mut sender, mut receiver) = dealer.into_split();
                let sending = executor.spawn(async move {
                    for number in 0..200u32 {
                        sender.send_async(&number.to_be_bytes()).await.unwrap();
                    }
                    sender
                });
                executor.spawn(async move {
                    for expected in 0..200 {
                        assert_eq!(number(&receiver.recv_async().await.unwrap()), expected);
                    }
                    drop(sending.await);
                })
            })
            .collect();
        executor.run(async {
            for _ in 0..600 {
                let (peer, message) = router.recv_from_async().await.unwrap();
                router.send_to_async(&peer, message).await.unwrap();
            }
            for client in clients {
                client.await;
            }
        });
    }

    /// A publisher that waits for slow subscribers wakes when they have room.
    fn published_messages_pass_between_tasks(transport, executor) {
        let context = Context::new();
        let builder = PubSocket::builder(&context).send_hwm(2);
        let mut publisher = builder.slow_subscriber(SlowSubscriber::Block(DEADLINE)).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let readers = [(); 2].map(|()| {
            let mut subscriber = SubSocket::builder(&context).receive_hwm(2).build().unwrap();
            subscriber.subscribe("").unwrap();
            subscriber.connect(&endpoint).unwrap();
            executor.spawn(async move {
                for expected in 0..500 {
                    assert_eq!(number(&subscriber.recv_async().await.unwrap()), expected);
                }
            })
        });
        publisher.wait_for_subscribers(2, DEADLINE).unwrap();
        executor.run(async {
            for number in 0..500u32 {
                let published = publisher.send_async(&number.to_be_bytes()).await.unwrap();
                assert_eq!((published.queued, published.dropped), (2, 0));
            }
            for reader in readers {
                reader.await;
            }
        });
    }

    /// Many tasks send through one socket, and all of them wait for its room.
    fn tasks_share_a_sender(transport, executor) {
        let (push, mut pull) = pair(transport, 1);
        let shared = push.into_shared();
        let senders: Vec<_> = (0..4u32)
            .map(|sender| {
                let shared = shared.clone();
                executor.spawn(async move {
                    for number in 0..250 {
                        shared.send_async(&(sender * 1000 + number).to_be_bytes()).await.unwrap();
                    }
                })
            })
            .collect();
        executor.run(async {
            let mut next = [0; 4];
            for _ in 0..1000 {
                let number = number(&pull.recv_async().await.unwrap());
                let sender = (number / 1000) as usize;
                assert_eq!(number % 1000, next[sender]);
                next[sender] += 1;
            }
            for sender in senders {
                sender.await;
            }
        });
    }

    fn a_task_waits_with_a_selector(transport, executor) {
        let pairs: Vec<_> = (0..3).map(|_| pair(transport, 10)).collect();
        let (pushes, mut pulls): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let mut selector = Selector::new();
        for (key, pull) in pulls.iter_mut().enumerate() {
            selector.receive(key, pull).unwrap();
        }
        let senders: Vec<_> = pushes
            .into_iter()
            .map(|mut push| {
                executor.spawn(async move {
                    for number in 0..300u32 {
                        push.send_async(&number.to_be_bytes()).await.unwrap();
                    }
                    push
                })
            })
            .collect();
        executor.run(async {
            let mut next = [0; 3];
            while next != [300; 3] {
                for ready in selector.wait_async().await.unwrap() {
                    while let Ok(message) = pulls[ready.key].try_recv() {
                        assert_eq!(number(&message), next[ready.key]);
                        next[ready.key] += 1;
                    }
                }
            }
            for sender in senders {
                drop(sender.await);
            }
        });
    }
}

on_every_transport! {
    /// A receive that is pending wakes its task when a message comes, not before, and from any thread.
    fn a_pending_receive_is_woken_by_a_message(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        let monitor = pull.monitor();
        push.connect(&endpoint).unwrap();
        if !transport.is_inproc() {
            wait_for_handshake(&monitor);
        }
        // The first message settles what there is to do with a new peer.
        send(&mut push, "first");
        receive(&mut pull);
        for round in 0..200u32 {
            let count = Arc::new(Count(AtomicUsize::new(0)));
            let waker = Waker::from(count.clone());
            {
                let mut future = pin!(pull.recv_async());
                assert!(future.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending());
                assert_eq!(count.0.load(Ordering::SeqCst), 0, "nothing has come");
                send_number(&mut push, round);
                wait_until("the wake-up", || count.0.load(Ordering::SeqCst) > 0);
                match future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
                    Poll::Ready(message) => assert_eq!(number(&message.unwrap()), round),
                    Poll::Pending => panic!("woken for nothing"),
                };
            }
        }
    }

    /// A future that has moved to another task wakes that one.
    fn the_latest_waker_is_the_one_that_is_called(transport) {
        let (mut push, mut pull) = pair(transport, 10);
        send(&mut push, "first");
        receive(&mut pull);
        let counts = [(); 3].map(|()| Arc::new(Count(AtomicUsize::new(0))));
        let mut future = pin!(pull.recv_async());
        for count in &counts {
            let waker = Waker::from(count.clone());
            assert!(future.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending());
        }
        send(&mut push, "second");
        wait_until("the wake-up", || counts[2].0.load(Ordering::SeqCst) > 0);
        assert!(poll_once(future.as_mut()).is_ready());
    }

    /// Sockets may go from thread to thread, also after one has waited with them.
    fn sockets_move_between_threads(transport) {
        let (mut push, mut pull) = pair(transport, 2);
        for round in 0..50 {
            let sender = thread::spawn(move || {
                for number in 0..5 {
                    send_number(&mut push, round * 5 + number);
                }
                push
            });
            let receiver = thread::spawn(move || {
                for number in 0..5 {
                    assert_eq!(receive_number(&mut pull), round * 5 + number);
                }
                assert!(pull.recv_timeout(Duration::ZERO).is_err());
                pull
            });
            push = sender.join().unwrap();
            pull = receiver.join().unwrap();
        }
    }

    /// A send that can never succeed does not wait.
    fn a_message_over_the_limits_is_refused_at_once(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).max_message_bytes(10).build().unwrap();
        push.bind(transport.wildcard()).unwrap();
        match block_on(push.send_async("more than ten bytes")) {
            Err(SendError::TooLarge(back)) => assert_eq!(back.as_bytes(), b"more than ten bytes"),
            other => panic!("{other:?}"),
        }
    }
}

/// Neither sockets nor their futures are bound to a thread.
#[test]
fn sockets_and_futures_are_send() {
    with_deadline(|| {
        let context = assert_send(Context::new());
        let mut push = assert_send(PushSocket::new(&context));
        let mut pull = assert_send(PullSocket::new(&context));
        drop(assert_send(push.send_async("x")));
        drop(assert_send(push.send_ready()));
        drop(assert_send(pull.recv_async()));
        drop(assert_send(pull.monitor()));
    });
}

/// Some executors run a task where it is woken.
#[test]
fn a_waker_may_use_the_shared_socket_that_woke_it() {
    with_deadline(|| {
        let (push, mut pull) = pair(Transport::Inproc, 10);
        let push = push.into_shared();
        assert!(matches!(pull.try_recv(), Err(TryRecvError::Empty)));
        let clone = push.clone();
        let waker = on_wake(move || clone.try_send("by the waker").unwrap());
        {
            let mut receiving = pin!(pull.recv_async());
            assert!(
                receiving
                    .as_mut()
                    .poll(&mut TaskContext::from_waker(&waker))
                    .is_pending()
            );
            push.send("first").unwrap();
        }
        for expected in ["first", "by the waker"] {
            assert_eq!(receive(&mut pull).as_bytes(), expected.as_bytes());
        }
        // And for a publisher, whose subscriber's task publishes.
        let context = Context::new();
        let mut publisher = PubSocket::new(&context);
        let mut subscriber = SubSocket::new(&context);
        subscriber.connect(publisher.bind("inproc://*").unwrap()).unwrap();
        subscriber.subscribe("").unwrap();
        publisher.wait_for_subscribers(1, DEADLINE).unwrap();
        let publisher = publisher.into_shared();
        let clone = publisher.clone();
        let waker = on_wake(move || {
            clone.send("by the waker").unwrap();
        });
        {
            let mut receiving = pin!(subscriber.recv_async());
            assert!(
                receiving
                    .as_mut()
                    .poll(&mut TaskContext::from_waker(&waker))
                    .is_pending()
            );
            publisher.send("first").unwrap();
        }
        for expected in ["first", "by the waker"] {
            assert_eq!(receive(&mut subscriber).as_bytes(), expected.as_bytes());
        }
    });
}

/// A waker that does something the first time.
fn on_wake(act: impl FnOnce() + Send + 'static) -> Waker {
    Waker::from(Arc::new(OnWake(Mutex::new(Some(Box::new(act))))))
}

struct OnWake(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Wake for OnWake {
    fn wake(self: Arc<Self>) {
        let act = self.0.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
    }
}
