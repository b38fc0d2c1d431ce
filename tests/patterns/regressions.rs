//! What once went wrong and must not come back: above each test stands what happened.
#![allow(clippy::print_stdout, reason = "a random test tells its seed")]

use std::future::Future;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context as TaskContext, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zerowire::{
    Context, DealerSocket, Event, Message, OnDuplicate, PairSocket, PubSocket, PullSocket, PushSocket,
    Reason, RouterSocket, SlowSubscriber, SubSocket, TryRecvError, TrySendError, XSubSocket,
};

use crate::raw::{MORE, Raw, RawListener, frame, is_hang_up, message, ping};
use crate::support::{
    DEADLINE, Transport, pattern, receive, receive_number, send, send_number, wait_for, wait_for_end,
    wait_for_handshake, with_deadline, within,
};
use crate::{on_every_transport, on_every_wire};

/// A connection to a name that nobody had bound yet used to outlive `disconnect`, and whoever bound the name later was
/// sent messages by it.
#[test]
fn an_inproc_name_that_was_disconnected_before_it_was_bound_is_not_connected() {
    with_deadline(|| {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        push.connect("inproc://given-up").unwrap();
        push.disconnect("inproc://given-up").unwrap();
        let mut pull = PullSocket::new(&context);
        pull.bind("inproc://given-up").unwrap();
        assert!(matches!(push.try_send("ghost"), Err(TrySendError::NoPeer(_))));
        assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
        // It is free to connect again.
        push.connect("inproc://given-up").unwrap();
        send(&mut push, "alive");
        assert_eq!(receive(&mut pull).as_bytes(), b"alive");
    });
}

/// Wakers used to be called under the lock of the names. The waker of a task may be the last to own the task, and with
/// it a socket: dropping that in the waker takes the same lock, and hung for ever.
#[test]
fn a_waker_may_drop_the_last_handle_of_a_socket_while_names_change() {
    type Body = Pin<Box<dyn Future<Output = ()> + Send>>;

    /// A task that wakes by queueing itself, as in the simplest of executors.
    struct Task {
        body: Mutex<Option<Body>>,
        queue: Sender<Arc<Task>>,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            // Without an executor the error gives the task back, and it goes with the error.
            let _ = self.queue.clone().send(self);
        }
    }

    within(DEADLINE, || {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        pull.bind("inproc://woken").unwrap();
        let (queue, executor) = channel();
        let task = Arc::new(Task {
            body: Mutex::new(Some(Box::pin(async move {
                let _ = pull.recv_async().await;
            }))),
            queue,
        });
        let waker = Waker::from(task.clone());
        let poll = task
            .body
            .lock()
            .unwrap()
            .as_mut()
            .map(|body| body.as_mut().poll(&mut TaskContext::from_waker(&waker)));
        assert!(poll.is_some_and(|poll| poll.is_pending()));
        // From here on the socket owns its waker, that owns the task, that owns the socket.
        drop((waker, task, executor));
        let mut push = PushSocket::new(&context);
        push.connect("inproc://woken").unwrap();
        // The name is free, and the connection waits for whoever has it next.
        let mut next = PullSocket::new(&context);
        next.bind("inproc://woken").unwrap();
        send(&mut push, "hello");
        assert_eq!(receive(&mut next).as_bytes(), b"hello");
    });
}

/// A peer that cannot be answered used to be read without regard to the mark, for its last words: one that only shut
/// its reading side could fill the memory.
#[test]
fn a_peer_that_shuts_its_reading_side_is_held_to_the_mark() {
    /// How long a peer stands still before we believe that it is held: less would only let the test pass too easily.
    const HELD: Duration = Duration::from_millis(300);
    /// Far more than the mark and the buffers of the kernel.
    const MESSAGES_MAX: usize = 100_000;

    with_deadline(|| {
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).receive_hwm(10).build().unwrap();
        let monitor = pull.monitor();
        let endpoint = pull.bind("ipc://*").unwrap().to_string();
        let mut raw = Raw::peer(&endpoint, "PUSH");
        wait_for_handshake(&monitor);
        shut_reading(&raw);
        if let Raw::Unix(stream) = &raw {
            stream.set_write_timeout(Some(HELD)).unwrap();
        }
        let chunk = [ping(b"x"), message(&[&pattern(1000, 7)]).repeat(1000)].concat();
        let mut taken = 0;
        while taken < MESSAGES_MAX && raw.write_all(&chunk).is_ok() {
            taken += 1000;
        }
        assert!(
            taken < MESSAGES_MAX / 10,
            "{taken} messages taken with a mark of 10"
        );
        // What it has said is heard, and then it is told good-bye: it is there, but there is no talking to it.
        let mut reason = None;
        while reason.is_none() {
            while let Ok(message) = pull.recv_timeout(Duration::from_millis(1)) {
                assert!(message.as_bytes() == pattern(1000, 7));
            }
            reason = std::iter::from_fn(|| monitor.try_recv()).find_map(|event| match event {
                Event::Disconnected { reason, .. } => Some(reason),
                _ => None,
            });
        }
        assert!(matches!(reason, Some(Reason::Io { .. })), "{reason:?}");
    });
}

/// A PUSH whose write had failed used to keep a connection that nothing could be written to, until the peer hung up.
#[test]
fn a_push_disconnects_a_peer_that_shuts_its_reading_side() {
    with_deadline(|| {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        let endpoint = push.bind("ipc://*").unwrap().to_string();
        let mut raw = Raw::peer(&endpoint, "PULL");
        wait_for_handshake(&monitor);
        shut_reading(&raw);
        send(&mut push, "to nobody");
        let reason = wait_for(&monitor, "disconnected", |event| match event {
            Event::Disconnected { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        assert!(matches!(reason, Reason::Io { .. }), "{reason:?}");
        assert!(matches!(push.try_send("nobody"), Err(TrySendError::NoPeer(_))));
        let refused = raw
            .write_all(&ping(b"x"))
            .expect_err("the other side has hung up");
        assert!(is_hang_up(&refused), "{refused}");
    });
}

/// With a linger time of 0 closing used to end after one turn of the I/O thread, though the kernel would have taken more.
#[test]
fn without_linger_the_kernel_still_gets_all_it_takes() {
    const SEND_BUFFER: usize = 4 << 20;
    const MESSAGES: usize = 3000;
    const BODY: usize = 1000;

    /// How much a connection takes of which nobody reads, on this machine.
    fn room() -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _unread = listener.accept().unwrap();
        socket2::SockRef::from(&stream)
            .set_send_buffer_size(SEND_BUFFER)
            .unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut taken = 0;
        while let Ok(count) = stream.write(&[1; BODY]) {
            taken += count;
        }
        taken
    }

    with_deadline(|| {
        // Half of it is certain, however the bytes are cut.
        let expected = (room() / 2).min(MESSAGES * BODY);
        for round in 0..20 {
            let context = Context::new();
            let mut push = PushSocket::builder(&context)
                .linger(Duration::ZERO)
                .send_hwm(10_000)
                .send_buffer(SEND_BUFFER)
                .build()
                .unwrap();
            let monitor = push.monitor();
            let endpoint = push.bind("tcp://127.0.0.1:*").unwrap().to_string();
            let mut raw = Raw::peer(&endpoint, "PULL");
            wait_for_handshake(&monitor);
            for _ in 0..MESSAGES {
                send(&mut push, pattern(BODY, 1));
            }
            drop(push);
            within(DEADLINE, move || drop(context));
            let arrived = raw.read_to_hang_up().len();
            assert!(
                arrived >= expected,
                "round {round}: {arrived} bytes of {expected}"
            );
        }
    });
}

on_every_wire! {
    /// The bytes of a connection are cut into blocks on the way, wherever the kernel likes, and the mark interrupts the
    /// reading anywhere. The room behind the bytes of a large frame was once cut off and zeroed again for each read: this
    /// watches over what is kept there instead, with frames of all sizes around the limits.
    fn frames_that_end_around_the_limits_of_blocks_arrive_unchanged(transport) {
        let seed = std::collections::hash_map::RandomState::new();
        let seed = std::hash::BuildHasher::hash_one(&seed, 0);
        for receive_hwm in [1, 2, 50] {
            for cut in [Cut::Blocks, Cut::Small, Cut::Large, Cut::Odd] {
                let seed = seed.wrapping_add(u64::from(receive_hwm)) | 1;
                println!("seed {seed}, mark {receive_hwm}, {cut:?}");
                exchange_mix(transport, seed, receive_hwm, cut);
            }
        }
    }
}

/// A PUSH that connected while the binder closed used to be left with the binder that had gone: it went on accepting
/// messages that nobody would ever receive.
#[test]
fn an_inproc_push_that_connects_while_the_binder_closes_finds_the_next_one() {
    with_deadline(|| {
        let context = Context::new();
        for round in 0..ROUNDS {
            let mut first = PullSocket::new(&context);
            first.bind("inproc://succession").unwrap();
            let mut push = PushSocket::new(&context);
            race(
                round,
                || drop(first),
                || push.connect("inproc://succession").unwrap(),
            );
            let mut second = PullSocket::new(&context);
            second.bind("inproc://succession").unwrap();
            for number in 0..10 {
                send_number(&mut push, number);
            }
            for number in 0..10 {
                assert_eq!(receive_number(&mut second), number, "round {round}");
            }
        }
    });
}

/// A PULL that disconnected while the name was being bound used to be attached all the same.
#[test]
fn an_inproc_pull_that_disconnects_while_the_name_is_bound_is_not_attached() {
    with_deadline(|| {
        let context = Context::new();
        for round in 0..ROUNDS {
            let mut pull = PullSocket::new(&context);
            pull.connect("inproc://parting").unwrap();
            let mut push = PushSocket::new(&context);
            race(
                round,
                || drop(push.bind("inproc://parting").unwrap()),
                || pull.disconnect("inproc://parting").unwrap(),
            );
            // Gives the socket the occasion to take in what was posted to it, however late.
            assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
            assert!(
                matches!(push.try_send("nobody"), Err(TrySendError::NoPeer(_))),
                "round {round}"
            );
        }
    });
}

/// Within so many, each of these races was usually lost once.
const ROUNDS: u32 = 3000;

/// Does two things at once, a little apart and differently so in each round.
fn race(round: u32, one: impl FnOnce() + Send, other: impl FnOnce()) {
    let gate = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            gate.wait();
            one();
        });
        gate.wait();
        for _ in 0..round % 60 {
            std::hint::spin_loop();
        }
        other();
    });
}

fn shut_reading(raw: &Raw) {
    match raw {
        Raw::Unix(stream) => stream.shutdown(Shutdown::Read).unwrap(),
        Raw::Tcp(_) => panic!("with TCP the other side does not notice"),
    }
}

/// In which portions the bytes are written.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Blocks,
    Small,
    Large,
    Odd,
}

/// Writes a mix of frames to a PULL and compares what it receives.
fn exchange_mix(transport: Transport, seed: u64, receive_hwm: u32, cut: Cut) {
    let context = Context::new();
    let mut pull = PullSocket::builder(&context)
        .receive_hwm(receive_hwm)
        .build()
        .unwrap();
    let endpoint = pull.bind(transport.wildcard()).unwrap().to_string();
    let mut random = Random(seed);
    let (wire, expected) = mix(&mut random);
    let writer = thread::spawn(move || {
        let mut raw = Raw::peer(&endpoint, "PUSH");
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let count = match cut {
                Cut::Blocks => BLOCK,
                Cut::Small => 1 + random.below(5000),
                Cut::Large => 1 + random.below(200_000),
                Cut::Odd => random.pick(&[1, 2, 9, 10, 4096, BLOCK - 1, BLOCK, 70_000]),
            };
            let (portion, behind) = rest.split_at(count.min(rest.len()));
            raw.send(portion);
            rest = behind;
        }
        raw
    });
    for (index, parts) in expected.iter().enumerate() {
        let message = receive(&mut pull);
        assert!(
            message
                .parts()
                .eq(parts.iter().map(|part| pattern(part.size, part.pattern))),
            "message {index} of seed {seed}, mark {receive_hwm}, {cut:?}: {parts:?}"
        );
    }
    drop(writer.join().unwrap());
    assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
}

/// A part that is to be expected.
#[derive(Debug)]
struct Part {
    size: usize,
    pattern: u8,
}

/// Bytes of many messages, and what they say.
fn mix(random: &mut Random) -> (Vec<u8>, Vec<Vec<Part>>) {
    const BYTES: usize = 800_000;
    const SIZES: &[usize] = &[
        0, 1, 62, 63, 64, 65, 255, 256, 4085, 4086, 4087, 4088, 4094, 4095, 4096, 4097, 4105, 8192, 32_757,
        32_758, 32_768, 65_525, 65_526, 65_527, 65_533, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073,
    ];
    let (mut wire, mut expected) = (Vec::new(), Vec::new());
    while wire.len() < BYTES {
        let count = match random.below(12) {
            0 => 1000,
            1 | 2 => 2 + random.below(8),
            _ => 1,
        };
        let is_small = count == 1000 || random.below(3) > 0;
        let mut parts = Vec::new();
        for index in 0..count {
            let size = if is_small {
                random.below(130)
            } else {
                random.pick(SIZES)
            };
            let part = Part {
                size,
                pattern: random.byte(),
            };
            if random.below(10) == 0 {
                wire.extend(ping(b"in between"));
            }
            let flags = if index + 1 < count { MORE } else { 0 };
            wire.extend(frame(flags, &pattern(part.size, part.pattern)));
            parts.push(part);
        }
        expected.push(parts);
        // Now and then a message ends exactly where a block does, if the blocks are full.
        let gap = BLOCK - wire.len() % BLOCK;
        if random.below(8) == 0 && gap > 300 {
            let part = Part {
                size: gap - 9,
                pattern: random.byte(),
            };
            wire.extend(frame(0, &pattern(part.size, part.pattern)));
            expected.push(vec![part]);
        }
    }
    (wire, expected)
}

/// What one read takes at most.
const BLOCK: usize = 65_536;

/// Xorshift: any mix will do here.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn pick(&mut self, choice: &[usize]) -> usize {
        choice[self.below(choice.len())]
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

/// A full inproc queue told of room only when half of it was free, and a send that does not wait believed it.
#[test]
fn an_inproc_queue_takes_a_message_for_each_that_was_received() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    pull.bind("inproc://room").unwrap();
    let mut push = PushSocket::builder(&context).send_hwm(8).build().unwrap();
    push.connect("inproc://room").unwrap();
    for _ in 0..8 {
        push.try_send("fills the queue").unwrap();
    }
    for _ in 0..3 {
        assert!(matches!(push.try_send("too much"), Err(TrySendError::Full(_))));
        pull.recv_timeout(DEADLINE).unwrap();
        push.try_send("takes its place").unwrap();
    }
}

/// The same for a send that waits: it slept on until half of the queue was free, for ever if the receiver waited for it.
#[test]
fn a_send_that_waits_for_an_inproc_queue_is_woken_for_one_message() {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    pull.bind("inproc://one-place").unwrap();
    let mut push = PushSocket::builder(&context).send_hwm(8).build().unwrap();
    push.connect("inproc://one-place").unwrap();
    for _ in 0..8 {
        push.try_send("fills the queue").unwrap();
    }
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(woken.clone());
    let mut task = TaskContext::from_waker(&waker);
    let mut send = pin!(push.send_async("takes the first place that is free"));
    assert!(send.as_mut().poll(&mut task).is_pending());
    pull.recv_timeout(DEADLINE).unwrap();
    assert!(woken.0.load(Ordering::SeqCst));
    assert!(send.as_mut().poll(&mut task).is_ready());
}

/// A connector of this context that was refused because a peer with a connection had the place waited for ever: the I/O
/// thread freed the place without a word to those who waited.
#[test]
fn an_inproc_pair_gets_the_place_of_a_wire_peer_that_left() {
    with_deadline(|| {
        let context = Context::new();
        let mut hub = PairSocket::new(&context);
        let endpoint = hub.bind("tcp://127.0.0.1:0").unwrap();
        hub.bind("inproc://place").unwrap();
        let monitor = hub.monitor();
        let mut first = PairSocket::new(&context);
        first.connect(endpoint).unwrap();
        wait_for_handshake(&monitor);
        let mut second = PairSocket::new(&context);
        second.connect("inproc://place").unwrap();
        drop(first);
        wait_for_end(&monitor);
        second.try_send("mine now").unwrap();
        assert_eq!(hub.recv_timeout(DEADLINE).unwrap().as_bytes(), b"mine now");
    });
}

/// The same with the name that a ROUTER gives, after a peer with a connection had taken it over.
#[test]
fn an_inproc_dealer_whose_name_a_wire_peer_took_over_comes_back() {
    with_deadline(|| {
        let context = Context::new();
        let mut hub = RouterSocket::builder(&context)
            .on_duplicate(OnDuplicate::TakeOver)
            .build()
            .unwrap();
        let endpoint = hub.bind("tcp://127.0.0.1:0").unwrap();
        hub.bind("inproc://name").unwrap();
        let dealer = || DealerSocket::builder(&context).identity("w").build().unwrap();
        let (mut first, mut second) = (dealer(), dealer());
        first.connect("inproc://name").unwrap();
        second.connect(endpoint).unwrap();
        second.send_timeout("a", DEADLINE).unwrap();
        hub.recv_from_timeout(DEADLINE).unwrap();
        drop(second);
        first.send_timeout("b", DEADLINE).unwrap();
        let (_, message) = hub.recv_from_timeout(DEADLINE).unwrap();
        assert_eq!(message.as_bytes(), b"b");
    });
}

on_every_transport! {
    /// Over inproc, a subscriber that was disconnected for being slow never came back.
    fn a_slow_subscriber_that_was_disconnected_comes_back(transport) {
        let context = Context::new();
        let builder = PubSocket::builder(&context).slow_subscriber(SlowSubscriber::Disconnect);
        let mut publisher = builder.send_hwm(100).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = SubSocket::new(&context);
        subscriber.connect(&endpoint).unwrap();
        subscriber.subscribe("").unwrap();
        publisher.wait_for_subscribers(1, DEADLINE).unwrap();
        while publisher.send(vec![0; 300]).unwrap().dropped == 0 {}
        // What was on its way has to be read, or the end is not seen.
        let reader = thread::spawn(move || {
            while subscriber.recv_timeout(DEADLINE).unwrap().as_bytes() != b"again" {}
        });
        publisher.wait_for_subscribers(1, DEADLINE).unwrap();
        publisher.send("again").unwrap();
        reader.join().unwrap();
    }
}

on_every_wire! {
    /// What was queued for a peer that has gone used to stay in memory until the socket sent again, which a socket may have
    /// no reason to do.
    fn what_a_gone_peer_did_not_take_is_dropped_by_a_socket_that_only_receives(transport) {
        struct Body(Vec<u8>, #[expect(dead_code, reason = "counts the bodies")] Arc<()>);

        impl AsRef<[u8]> for Body {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        let context = Context::new();
        let mut dealer = DealerSocket::new(&context);
        let monitor = dealer.monitor();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        let peer = Raw::peer(&endpoint.to_string(), "DEALER");
        wait_for_handshake(&monitor);
        let bodies = Arc::new(());
        while dealer.try_send(Bytes::from_owner(Body(vec![7; 100_000], bodies.clone()))).is_ok() {}
        assert!(Arc::strong_count(&bodies) > 100);
        drop(peer);
        wait_for_end(&monitor);
        assert_eq!(dealer.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(Arc::strong_count(&bodies), 1);
    }
}

on_every_wire! {
    /// A body whose owner panics when it is dropped used to end the I/O thread, and with it all sockets of the context; then its
    /// connection, over the next one of which it was sent again without its bytes. It is nobody's concern but its owner's.
    fn a_body_whose_owner_panics_costs_nothing(transport) {
        struct Trap(Vec<u8>);

        impl AsRef<[u8]> for Trap {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl Drop for Trap {
            fn drop(&mut self) {
                std::panic::resume_unwind(Box::new("the owner of a body panics"));
            }
        }

        // This thread may be the last to let go of what it sends: then it is the one that panics, when that is sent.
        fn send_it(push: &mut PushSocket, message: impl Into<Message>) {
            if let Ok(sent) = catch_unwind(AssertUnwindSafe(|| push.send(message))) {
                sent.unwrap();
            }
        }

        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut push = PushSocket::new(&context);
        push.connect(endpoint.as_str()).unwrap();
        let mut raw = listener.accept();
        raw.shake_hands("PULL");
        // Too much to be written by this thread, and so little that it may be.
        for length in [10_000_000, 5_000] {
            let body = || Bytes::from_owner(Trap(vec![7; length]));
            send_it(&mut push, body());
            assert_eq!(raw.read_message(), [vec![7; length]]);
            // Of several parts, the first stays until the last is written.
            send_it(&mut push, [body(), Bytes::from_static(b"middle"), Bytes::from_static(b"end")]);
            assert_eq!(raw.read_message(), [&vec![7; length][..], b"middle", b"end"]);
            send(&mut push, "next");
            assert_eq!(raw.read_message(), [b"next"]);
        }
        // What waits when the connection is lost is sent again whole.
        let full = (0..20).map(|_| Message::from(Bytes::from_owner(Trap(vec![8; 1_000_000]))));
        full.for_each(|message| send_it(&mut push, message));
        raw.read_header();
        drop(raw);
        let mut raw = listener.accept();
        raw.shake_hands("PULL");
        assert_eq!(raw.read_message(), [vec![8; 1_000_000]]);
    }
}

on_every_transport! {
    /// A publisher that waits for a slow subscriber waited on when that subscriber no longer wanted the message.
    fn who_wants_it_no_more_is_not_waited_for(transport) {
        let context = Context::new();
        let builder = PubSocket::builder(&context).send_hwm(1);
        let mut publisher = builder.slow_subscriber(SlowSubscriber::Block(2 * DEADLINE)).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = SubSocket::builder(&context).receive_hwm(1).build().unwrap();
        subscriber.connect(&endpoint).unwrap();
        subscriber.subscribe("").unwrap();
        publisher.wait_for_subscribers(1, DEADLINE).unwrap();
        let body = vec![0; 100_000];
        let mut full = Instant::now();
        while full.elapsed() < Duration::from_millis(200) {
            if publisher.try_send(&body[..]).is_ok() {
                full = Instant::now();
            }
        }
        struct Tell(Sender<()>);
        impl Wake for Tell {
            fn wake(self: Arc<Self>) {
                let _ = self.0.send(());
            }
        }
        let (tell, told) = channel();
        let waker = Waker::from(Arc::new(Tell(tell)));
        let mut task = TaskContext::from_waker(&waker);
        let mut sending = pin!(publisher.send_async(&body[..]));
        assert!(sending.as_mut().poll(&mut task).is_pending());
        subscriber.unsubscribe("").unwrap();
        loop {
            told.recv_timeout(DEADLINE).expect("it is woken");
            if sending.as_mut().poll(&mut task).is_ready() {
                break;
            }
        }
    }
}

/// To bind and to connect in inproc used to let go of messages while a lock of the context was held, and the drop of a body's
/// owner that used the context waited for itself.
#[test]
fn a_body_whose_owner_uses_the_context_is_dropped_while_something_is_connected() {
    struct Owner(Context, Sender<()>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            &[7; 1000]
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            drop(PushSocket::new(&self.0));
            let _ = self.1.send(());
        }
    }
    with_deadline(|| {
        let context = Context::new();
        let (dropped, drops) = channel();
        let mut publisher = PubSocket::new(&context);
        publisher.bind("inproc://gone").unwrap();
        let mut subscriber = XSubSocket::new(&context);
        subscriber.connect("inproc://gone").unwrap();
        subscriber
            .send(Bytes::from_owner(Owner(context.clone(), dropped)))
            .unwrap();
        drop(publisher);
        assert!(drops.try_recv().is_err(), "it is in the way to who is gone");
        let mut publisher = PubSocket::new(&context);
        publisher.bind("inproc://next").unwrap();
        subscriber.connect("inproc://next").unwrap();
        drops.recv_timeout(DEADLINE).unwrap();
    });
}
