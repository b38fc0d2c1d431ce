//! Shutting a context down: what was accepted is delivered or reported, whoever waits is woken, and it ends in time.

use std::path::Path;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zerowire::{
    BindError, ConnectError, Context, DealerSocket, PairSocket, PubSocket, PullSocket, PushSocket, RecvError,
    RecvTimeoutError, RepSocket, ReqSocket, RequestError, RouterSocket, Selector, SendError, SendToError,
    SocketType, SubSocket, TryRecvError, TrySendError, WaitError, XPubSocket, XSubSocket,
};

use crate::raw::Raw;
use crate::support::{
    DEADLINE, Transport, receive, receive_number, send, send_number, wait_for_handshake, wait_until,
    with_deadline,
};
use crate::{on_every_transport, on_every_wire};

on_every_transport! {
    /// Calls that wait in other threads end, each with the error that says why.
    fn who_waits_is_woken(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        let mut req = ReqSocket::new(&context);
        let mut rep = RepSocket::new(&context);
        let mut subscriber = SubSocket::new(&context);
        let mut publisher = PubSocket::new(&context);
        let (mut sender, mut receiver) = PairSocket::new(&context).into_split();
        req.connect(rep.bind(transport.wildcard()).unwrap()).unwrap();
        send(&mut req, "a question");
        assert_eq!(receive(&mut rep).as_bytes(), b"a question");
        let mut selected = PullSocket::new(&context);
        selected.bind(transport.wildcard()).unwrap();
        let mut unconnected = PushSocket::new(&context);
        let waiting = [
            asleep(move || matches!(push.send("for nobody"), Err(SendError::Closed(_)))),
            asleep(move || pull.recv() == Err(RecvError::Closed)),
            asleep(move || req.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Closed)),
            asleep(move || {
                subscriber.subscribe("").unwrap();
                subscriber.wait_ready(DEADLINE) == Err(WaitError::Closed)
            }),
            asleep(move || publisher.wait_for_subscribers(1, DEADLINE) == Err(WaitError::Closed)),
            asleep(move || matches!(sender.send("for nobody"), Err(SendError::Closed(_)))),
            asleep(move || receiver.recv() == Err(RecvError::Closed)),
            // Sockets are ready to say that they will receive nothing more, and that they take nothing more.
            asleep(move || {
                let mut selector = Selector::new();
                selector.receive((), &mut selected).unwrap();
                while selected.try_recv() == Err(TryRecvError::Empty) {
                    assert_ne!(selector.wait_timeout(DEADLINE).unwrap(), []);
                }
                selected.try_recv() == Err(TryRecvError::Closed)
            }),
            asleep(move || {
                let mut selector = Selector::new();
                selector.send((), &mut unconnected).unwrap();
                while let Err(TrySendError::NoPeer(_)) = unconnected.try_send("for nobody") {
                    assert_ne!(selector.wait_timeout(DEADLINE).unwrap(), []);
                }
                matches!(unconnected.try_send("for nobody"), Err(TrySendError::Closed(_)))
            }),
        ];
        let report = context.shutdown(DEADLINE);
        assert!(report.is_complete(), "{report}");
        for call in waiting {
            assert!(call.join().unwrap());
        }
        // The reply has nobody to go to.
        assert!(rep.send("an answer").is_err());
        assert!(matches!(PushSocket::new(&context).bind(&endpoint), Err(BindError::Closed)));
    }

    /// What was sent before is delivered, also if it is more than the queues and the kernel hold.
    fn what_was_accepted_is_delivered(transport) {
        const COUNT: u32 = 900;
        let (ours, theirs) = (Context::new(), Context::new());
        // Names of inproc belong to a context.
        let theirs = if transport.is_inproc() { &ours } else { &theirs };
        let mut pull = PullSocket::new(theirs);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&ours);
        push.connect(&endpoint).unwrap();
        for number in 0..COUNT {
            let mut body = vec![0; 20_000];
            body[..4].copy_from_slice(&number.to_be_bytes());
            send(&mut push, body);
        }
        let receiver = thread::spawn(move || {
            for number in 0..COUNT {
                assert_eq!(receive(&mut pull).as_bytes()[..4], number.to_be_bytes());
            }
            pull
        });
        let report = ours.shutdown(DEADLINE);
        assert!(report.is_complete(), "{report}");
        assert_eq!(report.to_string(), "all messages delivered");
        let sent = push.stats().sent;
        assert_eq!((sent.accepted, sent.handed_over), (COUNT.into(), COUNT.into()));
        let mut pull = receiver.join().unwrap();
        let end = if transport.is_inproc() { TryRecvError::Closed } else { TryRecvError::Empty };
        assert_eq!(pull.try_recv(), Err(end));
    }

    /// What has come can be received afterwards; then the socket says that there will be no more.
    fn what_has_come_can_be_received(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        for number in 0..10 {
            send_number(&mut push, number);
        }
        assert_eq!(receive_number(&mut pull), 0);
        while pull.stats().received.received < 10 {
            thread::yield_now();
        }
        assert!(context.shutdown(DEADLINE).is_complete());
        for number in 1..10 {
            assert_eq!(receive_number(&mut pull), number);
        }
        assert_eq!(pull.recv(), Err(RecvError::Closed));
    }

    /// Nothing is bound or connected afterwards, by old sockets or new ones, and every call says so.
    fn nothing_works_afterwards(transport) {
        let context = Context::new();
        let mut old = PullSocket::new(&context);
        let endpoint = old.bind(transport.wildcard()).unwrap();
        assert!(context.shutdown(DEADLINE).is_complete());
        // A second time there is nothing to do.
        assert!(context.shutdown(Duration::ZERO).is_complete());
        assert!(matches!(old.bind(transport.wildcard()), Err(BindError::Closed)));
        assert!(matches!(old.connect(transport.fresh().as_str()), Err(ConnectError::Closed)));
        old.unbind(&endpoint).unwrap();
        assert_eq!(old.try_recv(), Err(TryRecvError::Closed));
        let mut push = PushSocket::new(&context);
        assert!(matches!(push.connect(&endpoint), Err(ConnectError::Closed)));
        assert!(matches!(push.try_send(""), Err(TrySendError::Closed(_))));
        assert!(matches!(push.send(""), Err(SendError::Closed(_))));
        let mut router = RouterSocket::new(&context);
        assert!(matches!(
            router.send_to(&"peer".try_into().unwrap(), ""),
            Err(SendToError::Closed(_))
        ));
        assert_eq!(router.recv_from(), Err(RecvError::Closed));
        let mut req = ReqSocket::new(&context);
        assert!(matches!(req.request("", DEADLINE), Err(RequestError::Closed)));
        assert_eq!(RepSocket::new(&context).recv(), Err(RecvError::Closed));
        assert!(matches!(PubSocket::new(&context).send(""), Err(SendError::Closed(_))));
        assert!(matches!(XSubSocket::new(&context).send("x"), Err(SendError::Closed(_))));
        assert_eq!(XPubSocket::new(&context).recv(), Err(RecvError::Closed));
        assert_eq!(SubSocket::new(&context).recv(), Err(RecvError::Closed));
        assert!(matches!(DealerSocket::new(&context).send(""), Err(SendError::Closed(_))));
        let shared = PushSocket::new(&context).into_shared();
        assert!(matches!(shared.send(""), Err(SendError::Closed(_))));
    }
}

on_every_wire! {
    /// What nobody takes is reported when the time is over, which linger neither shortens nor extends.
    fn what_is_not_taken_is_reported(transport) {
        for linger in [Duration::ZERO, DEADLINE] {
            let context = Context::new();
            let endpoint = transport.fresh();
            let mut push = PushSocket::builder(&context).linger(linger).build().unwrap();
            push.connect(endpoint.as_str()).unwrap();
            for number in 0..3 {
                send_number(&mut push, number);
            }
            let mut stuck = PushSocket::builder(&context).linger(linger).build().unwrap();
            let monitor = stuck.monitor();
            let bound = stuck.bind(transport.wildcard()).unwrap();
            let mut raw = Raw::peer(&bound.to_string(), "PULL");
            wait_for_handshake(&monitor);
            while stuck.try_send(vec![0; 100_000]).is_ok() {}
            let timeout = Duration::from_millis(100);
            let start = Instant::now();
            let report = context.shutdown(timeout);
            assert!(start.elapsed() >= timeout);
            let mut left: Vec<_> = report.undelivered.iter().map(|it| (it.endpoint.clone(), it.messages)).collect();
            left.sort_unstable_by_key(|(_, messages)| *messages);
            let messages = stuck.stats().sent.dropped.linger_expired;
            assert_eq!(left, [(endpoint, 3), (bound.to_string(), messages)]);
            assert_eq!(report.messages(), 3 + messages);
            assert!(!report.is_complete());
            raw.read_to_hang_up();
        }
    }

    /// Of a socket that conflates, the newest message is what was accepted.
    fn the_newest_message_that_nobody_takes_is_reported(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context).conflate(true).build().unwrap();
        push.connect(endpoint.as_str()).unwrap();
        send(&mut push, "replaced");
        send(&mut push, "the newest");
        let report = context.shutdown(Duration::from_millis(50));
        let sent = push.stats().sent;
        assert_eq!((sent.handed_over, sent.dropped.replaced), (0, 1), "{sent:?}");
        assert_eq!(report.messages(), 1, "{report}");
    }

    /// Sockets that were dropped before have their linger, and no more than the time there is.
    fn what_dropped_sockets_left_is_reported(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context).linger(DEADLINE).build().unwrap();
        push.connect(endpoint.as_str()).unwrap();
        send(&mut push, "for nobody");
        drop(push);
        assert_eq!(context.shutdown(Duration::from_millis(50)).messages(), 1);
    }

    /// A message that waits for its peer is delivered if that comes in time.
    fn who_comes_in_time_gets_its_messages(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context).linger(Duration::ZERO).build().unwrap();
        push.connect(endpoint.as_str()).unwrap();
        send(&mut push, "patience");
        let shutdown = thread::spawn(move || context.shutdown(DEADLINE));
        while !matches!(push.try_send("refused"), Err(TrySendError::Closed(_))) {
            thread::yield_now();
        }
        let mut pull = PullSocket::new(&Context::new());
        pull.bind(endpoint.as_str()).unwrap();
        assert_eq!(receive(&mut pull).as_bytes(), b"patience");
        while pull.try_recv().is_ok() {}
        assert!(shutdown.join().unwrap().is_complete());
    }
}

/// Over inproc, too, messages may wait for a peer that never comes.
#[test]
fn what_waits_for_a_name_that_nobody_binds_is_reported() {
    with_deadline(|| {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        push.connect("inproc://nobody").unwrap();
        let mut newest = PushSocket::builder(&context).conflate(true).build().unwrap();
        newest.connect("inproc://nobody-either").unwrap();
        let mut pull = PullSocket::new(&context);
        pull.connect("inproc://nobody").unwrap();
        for _ in 0..3 {
            send(&mut push, "for nobody");
            send(&mut newest, "the newest for nobody");
        }
        let report = context.shutdown(DEADLINE);
        let mut undelivered: Vec<_> = report
            .undelivered
            .iter()
            .map(|left| (left.socket_type, left.endpoint.as_str(), left.messages))
            .collect();
        undelivered.sort_by_key(|left| left.2);
        let push_type = SocketType::Push;
        assert_eq!(
            undelivered,
            [
                (push_type, "inproc://nobody-either", 1),
                (push_type, "inproc://nobody", 3)
            ]
        );
        assert!(matches!(push.try_send("too late"), Err(TrySendError::Closed(_))));
        let sent = push.stats().sent;
        assert_eq!((sent.accepted, sent.handed_over, sent.dropped.total()), (3, 0, 3));
        assert_eq!(pull.try_recv(), Err(TryRecvError::Closed));
        for socket in [&mut push, &mut newest] {
            for endpoint in ["inproc://nobody", "inproc://nobody-either"] {
                let _ = socket.disconnect(endpoint);
            }
        }
    });
}

/// Many threads bind, connect, send and drop while the context goes down: nobody hangs.
#[test]
fn a_shutdown_in_the_middle_of_everything_ends() {
    with_deadline(|| {
        for round in 0..20 {
            let context = Context::builder().io_threads(1 + round % 2).build().unwrap();
            let threads: Vec<_> = [Transport::Inproc, Transport::Ipc, Transport::Tcp]
                .into_iter()
                .map(|transport| {
                    let context = context.clone();
                    thread::spawn(move || {
                        let mut count = 0;
                        loop {
                            let mut pull = PullSocket::new(&context);
                            let Ok(endpoint) = pull.bind(transport.wildcard()) else {
                                return count;
                            };
                            let mut push = PushSocket::new(&context);
                            if push.connect(&endpoint).is_err() || push.send("hello").is_err() {
                                return count;
                            }
                            match pull.recv() {
                                Ok(message) => assert_eq!(message.as_bytes(), b"hello"),
                                Err(error) => {
                                    assert_eq!(error, RecvError::Closed);
                                    return count;
                                }
                            }
                            count += 1;
                        }
                    })
                })
                .collect();
            for _ in 0..round * 100 {
                thread::yield_now();
            }
            // A message may wait for a peer that could not be bound any more.
            context.shutdown(Duration::from_millis(100));
            for thread in threads {
                thread.join().unwrap();
            }
        }
    });
}

/// Starts a thread that makes a call, and returns when it sleeps in it, as far as that can be seen.
fn asleep(call: impl FnOnce() -> bool + Send + 'static) -> JoinHandle<bool> {
    let (tell, told) = channel();
    let thread = thread::spawn(move || {
        // Which of the threads this is, and from here on there is nothing else to wait for.
        tell.send(std::fs::read_link("/proc/thread-self").ok()).unwrap();
        call()
    });
    let Some(name) = told.recv().unwrap() else {
        // Elsewhere than on Linux it makes its call before the shutdown, or while that goes on, or afterwards.
        return thread;
    };
    // It sleeps for a moment, too, where it waits for a lock; the processor's clock tells whether it has moved since.
    let status =
        || std::fs::read_to_string(Path::new("/proc").join(&name).join("status")).unwrap_or_default();
    let mut before = status();
    let mut same = 0;
    wait_until("the call sleeps", || {
        let now = status();
        let sleeps = now.lines().any(|line| line.starts_with("State:\tS"));
        same = if sleeps && now == before { same + 1 } else { 0 };
        before = now;
        same > 20
    });
    thread
}
