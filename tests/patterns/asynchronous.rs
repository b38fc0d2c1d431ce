//! The futures, under tokio and under an executor of a few lines, and what is left when they are dropped.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use zerowire::{Context, Message, PullSocket, PushSocket, SendError, TryRecvError, TrySendError};

use crate::on_every_transport;
use crate::support::{
    DEADLINE, Transport, number, receive, receive_number, send, send_number, wait_for_handshake, wait_until,
    with_deadline,
};

/// Runs a future on this thread.
#[track_caller]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let end = Instant::now() + DEADLINE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            return output;
        }
        let left = end.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "the future is not ready in time");
        thread::park_timeout(left);
    }
}

/// Polls a future once.
pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut TaskContext::from_waker(Waker::noop()))
}

/// A waker that counts.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn tokio(threads: usize) -> tokio::runtime::Runtime {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_time().build().unwrap()
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

on_every_transport! {
    fn messages_pass_between_tokio_tasks(transport) {
        for threads in [1, 2] {
            let (mut push, mut pull) = pair(transport, 10);
            tokio(threads).block_on(async {
                let sender = tokio::spawn(assert_send(async move {
                    for number in 0..5000u32 {
                        push.send_async(&number.to_be_bytes()).await.unwrap();
                    }
                    push
                }));
                let receiver = tokio::spawn(assert_send(async move {
                    for expected in 0..5000 {
                        let message = tokio::time::timeout(DEADLINE, pull.recv_async()).await;
                        assert_eq!(number(&message.expect("in time").unwrap()), expected);
                    }
                }));
                receiver.await.unwrap();
                drop(sender.await.unwrap());
            });
        }
    }

    fn messages_pass_under_any_executor(transport) {
        let (mut push, mut pull) = pair(transport, 10);
        let sender = thread::spawn(move || {
            block_on(async {
                for number in 0..5000u32 {
                    push.send_async(&number.to_be_bytes()).await.unwrap();
                }
            });
            push
        });
        for expected in 0..5000 {
            assert_eq!(number(&block_on(pull.recv_async()).unwrap()), expected);
        }
        sender.join().unwrap();
    }

    /// Blocking and asynchronous calls take turns on one socket.
    fn calls_of_both_kinds_mix(transport) {
        let (mut push, mut pull) = pair(transport, 100);
        for number in (0..300).step_by(3) {
            block_on(push.send_async(&u32::to_be_bytes(number))).unwrap();
            send_number(&mut push, number + 1);
            block_on(push.send_ready());
            push.try_send(&u32::to_be_bytes(number + 2)).unwrap();
            assert_eq!(receive_number(&mut pull), number);
            assert_eq!(crate::support::number(&block_on(pull.recv_async()).unwrap()), number + 1);
            assert_eq!(receive_number(&mut pull), number + 2);
        }
    }

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

    /// A send that waits is woken when there is room.
    fn a_pending_send_is_woken_by_room(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context).send_hwm(1).build().unwrap();
        push.connect(endpoint.as_str()).unwrap();
        send_number(&mut push, 0);
        let sender = thread::spawn(move || {
            for number in 1..300u32 {
                block_on(push.send_ready());
                block_on(push.send_async(&number.to_be_bytes())).unwrap();
            }
            push
        });
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        for number in 0..300 {
            assert_eq!(receive_number(&mut pull), number);
        }
        sender.join().unwrap();
    }

    /// A task waits for two sockets at once, and what the losing future would have taken is still there.
    fn a_task_waits_for_two_sockets(transport) {
        let (mut first_push, mut first) = pair(transport, 1000);
        let (mut second_push, mut second) = pair(transport, 1000);
        let senders = [
            thread::spawn(move || {
                for number in 0..2000 {
                    send_number(&mut first_push, number);
                }
                first_push
            }),
            thread::spawn(move || {
                for number in 0..2000 {
                    send_number(&mut second_push, number);
                }
                second_push
            }),
        ];
        tokio(1).block_on(async {
            let mut next = [0, 0];
            while next != [2000, 2000] {
                let (from, message) = tokio::select! {
                    message = first.recv_async() => (0, message.unwrap()),
                    message = second.recv_async() => (1, message.unwrap()),
                    () = tokio::time::sleep(DEADLINE) => panic!("{next:?} of 2,000 each"),
                };
                assert_eq!(number(&message), next[from]);
                next[from] += 1;
            }
        });
        for sender in senders {
            sender.join().unwrap();
        }
    }

    /// A timeout around a receive drops it, again and again, and takes nothing.
    fn a_timeout_around_a_receive_takes_nothing(transport) {
        let (mut push, mut pull) = pair(transport, 10);
        tokio(1).block_on(async {
            for number in 0..20 {
                let early = tokio::time::timeout(Duration::from_millis(1), pull.recv_async()).await;
                assert!(early.is_err());
                push.send_async(&u32::to_be_bytes(number)).await.unwrap();
                let message = tokio::time::timeout(DEADLINE, pull.recv_async()).await.expect("in time").unwrap();
                assert_eq!(crate::support::number(&message), number);
            }
        });
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
