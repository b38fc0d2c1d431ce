//! Connections end, peers die, and no message is torn, repeated or lost that the kernel had not taken.

use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{Context, Dropped, Event, Monitor, PullSocket, PushSocket, SendTimeoutError, Sent};

use crate::raw::{MORE, Raw, RawListener, frame, header, message};
use crate::support::{
    DEADLINE, pattern, receive, receive_number, send, send_number, wait_for, wait_for_end, wait_for_handshake,
};
use crate::{on_every_transport, on_every_wire};

/// A PUSH socket that does not wait long before it tries again.
fn eager_push(context: &Context) -> PushSocket {
    PushSocket::builder(context)
        .reconnect_min(Duration::from_millis(1))
        .reconnect_max(Duration::from_millis(20))
        .build()
        .unwrap()
}

fn eager_pull(context: &Context) -> PullSocket {
    PullSocket::builder(context)
        .reconnect_min(Duration::from_millis(1))
        .reconnect_max(Duration::from_millis(20))
        .build()
        .unwrap()
}

on_every_transport! {
    /// PUSH shall keep the queue of an outgoing connection whether or not that stands.
    fn what_is_sent_while_the_peer_is_away_arrives_when_it_is_back(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = eager_push(&context);
        let monitor = push.monitor();
        push.connect(endpoint.as_str()).unwrap();
        for round in 0..5 {
            let mut pull = PullSocket::new(&context);
            pull.bind(endpoint.as_str()).unwrap();
            if round > 0 {
                for number in 0..10 {
                    assert_eq!(receive_number(&mut pull), number);
                }
            }
            send(&mut push, "while it is here");
            assert_eq!(receive(&mut pull).as_bytes(), b"while it is here");
            pull.unbind(endpoint.as_str()).unwrap();
            drop(pull);
            if !transport.is_inproc() {
                wait_for_end(&monitor);
            }
            for number in 0..10 {
                send_number(&mut push, number);
            }
        }
    }

    /// A PULL that connected hears a PUSH that comes back.
    fn a_pull_hears_a_peer_that_is_back(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut pull = eager_pull(&context);
        pull.connect(endpoint.as_str()).unwrap();
        for number in 0..5 {
            let mut push = PushSocket::new(&context);
            push.bind(endpoint.as_str()).unwrap();
            send_number(&mut push, number);
            assert_eq!(receive_number(&mut pull), number);
            push.unbind(endpoint.as_str()).unwrap();
        }
    }
}

on_every_wire! {
    /// A message that was half sent when the connection broke is sent again whole.
    fn a_peer_that_dies_in_a_large_message_gets_it_whole_next_time(transport) {
        // More than the kernel takes of a peer that stops reading, so that the end of it is still ours.
        const BYTES: usize = 32 << 20;
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut push = eager_push(&context);
        push.connect(endpoint.as_str()).unwrap();
        let body = pattern(BYTES, 5);
        send(&mut push, body.clone());
        send(&mut push, "the next one");

        for read_before_death in [1 << 20, 1, 100_000] {
            let mut dying = listener.accept();
            dying.shake_hands("PULL");
            let (flags, size) = dying.read_header();
            assert_eq!((flags, size), (0, BYTES));
            let mut start = vec![0; read_before_death];
            std::io::Read::read_exact(&mut dying, &mut start).unwrap();
            assert!(body[..read_before_death] == start);
        }

        let mut living = listener.accept();
        living.shake_hands("PULL");
        assert!(living.read_message() == [body]);
        assert_eq!(living.read_message(), [b"the next one"]);
    }

    /// The same for a message of several parts: all of them are sent again.
    fn a_peer_that_dies_in_a_multipart_message_gets_all_parts_next_time(transport) {
        const BYTES: usize = 32 << 20;
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut push = eager_push(&context);
        push.connect(endpoint.as_str()).unwrap();
        let parts = [b"first".to_vec(), Vec::new(), pattern(BYTES, 5), b"last".to_vec()];
        send(&mut push, parts.clone());
        for _ in 0..2 {
            let mut dying = listener.accept();
            dying.shake_hands("PULL");
            assert_eq!(dying.read_frame(), (MORE, b"first".to_vec()));
            assert_eq!(dying.read_frame(), (MORE, Vec::new()));
            assert_eq!(dying.read_header(), (MORE, BYTES));
        }
        let mut living = listener.accept();
        living.shake_hands("PULL");
        assert!(living.read_message() == parts);
    }

    /// Messages that the kernel had not taken when the peer died are sent to the next one, each once and in order.
    fn a_peer_that_dies_between_messages_leaves_a_clean_cut(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut push = PushSocket::builder(&context)
            .send_hwm(100_000)
            .reconnect_min(Duration::from_millis(1))
            .handshake_timeout(DEADLINE)
            .build()
            .unwrap();
        push.connect(endpoint.as_str()).unwrap();
        // Far more than fits into the kernel.
        const COUNT: u32 = 60_000;
        for number in 0..COUNT {
            let mut body = pattern(1000, number as u8);
            body[..4].copy_from_slice(&number.to_be_bytes());
            send(&mut push, body);
        }
        let mut next = 0;
        for last in [false, false, true] {
            let mut raw = listener.accept();
            raw.shake_hands("PULL");
            let mut first = true;
            for _ in 0..if last { u32::MAX } else { 500 } {
                let parts = raw.read_message();
                let number = u32::from_be_bytes(parts[0][..4].try_into().unwrap());
                let mut body = pattern(1000, number as u8);
                body[..4].copy_from_slice(&number.to_be_bytes());
                assert!(parts == [body], "message {number} is whole");
                // What the kernel had taken of the last connection is lost, and that may be anything from nothing on.
                assert!(number == next || first && number > next, "{number} instead of {next}");
                first = false;
                next = number + 1;
                if next == COUNT {
                    break;
                }
            }
        }
        assert_eq!(next, COUNT);
    }

    /// A message of which the sender died before its end is never seen, nor is anything of it in the next one.
    fn a_half_received_message_never_surfaces(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let monitor = pull.monitor();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let large = pattern(4 << 20, 1);
        let halves: [(&str, Vec<u8>); 10] = [
            ("a flag byte", vec![0]),
            ("half a long header", header(0, 100_000)[..5].to_vec()),
            ("a header", header(0, 100)),
            ("half a small body", [header(0, 100), vec![1; 50]].concat()),
            ("a part of two", frame(MORE, b"part")),
            ("parts, and half of the next", [frame(MORE, b"one"), frame(MORE, b""), header(0, 10), vec![7]].concat()),
            ("half a large body", [header(0, large.len() as u64), large[..1 << 20].to_vec()].concat()),
            ("all of a large body but one byte", {
                let mut bytes = frame(0, &large);
                bytes.pop();
                bytes
            }),
            ("a large part of two", frame(MORE, &large)),
            ("large parts, and half of the next", {
                [frame(MORE, &large), frame(MORE, &pattern(5000, 2)), header(0, 10_000), vec![7; 5000]].concat()
            }),
        ];
        for (what, half) in halves {
            for whole_before in [0, 3] {
                let mut dying = Raw::peer(&endpoint.to_string(), "PUSH");
                for number in 0..whole_before {
                    dying.send(&message(&[b"whole", &[number]]));
                }
                dying.send(&half);
                drop(dying);
                wait_for_end(&monitor);
                for number in 0..whole_before {
                    let message = receive(&mut pull);
                    assert_eq!(message.part(0), Some(&b"whole"[..]), "before {what}");
                    assert_eq!(message.part(1), Some(&[number][..]), "before {what}");
                }
                let mut next = Raw::peer(&endpoint.to_string(), "PUSH");
                next.send(&message(&[b"next", b"", what.as_bytes()]));
                let message = receive(&mut pull);
                let parts: Vec<&[u8]> = message.parts().collect();
                assert!(parts == [b"next", &b""[..], what.as_bytes()], "after {what}");
                drop(next);
                wait_for_end(&monitor);
            }
        }
    }

    /// The same where PULL has dialed: the next connection goes through the same queue.
    fn a_half_received_message_does_not_run_into_the_next_connection(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut pull = eager_pull(&context);
        pull.connect(endpoint.as_str()).unwrap();
        let large = frame(0, &pattern(1 << 20, 1));
        for half in [&[0][..], &frame(MORE, b"part"), &large[..500_000], &large[..5000], &large[..100]] {
            let mut dying = listener.accept();
            dying.shake_hands("PUSH");
            dying.send(&message(&[b"whole"]));
            dying.send(half);
            drop(dying);
            let mut living = listener.accept();
            living.shake_hands("PUSH");
            living.send(&message(&[b"next", b"one"]));
            assert_eq!(receive(&mut pull).as_bytes(), b"whole");
            let next = receive(&mut pull);
            assert!(next.parts().eq([b"next", &b"one"[..]]), "{next:?}");
        }
    }

    /// A peer that closes its sending side at once after its messages, as programs do that end, has all of them delivered,
    /// however slowly they are taken.
    fn the_end_of_a_connection_does_not_overtake_its_messages(transport) {
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).receive_hwm(2).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "PUSH");
        let sender = thread::spawn(move || {
            for number in 0..3000u32 {
                raw.send(&message(&[&number.to_be_bytes(), &pattern(number as usize, 1)]));
            }
            raw.shutdown_write();
            raw.read_to_hang_up();
        });
        for number in 0..3000u32 {
            let message = receive(&mut pull);
            assert_eq!(message.part(0), Some(&number.to_be_bytes()[..]));
            assert!(message.part(1) == Some(&pattern(number as usize, 1)[..]));
        }
        sender.join().unwrap();
    }

    /// Whoever dialed says that it tries again, and succeeds when the peer is there.
    fn failures_to_connect_are_told_and_tried_again(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = eager_push(&context);
        let monitor = push.monitor();
        push.connect(endpoint.as_str()).unwrap();
        for _ in 0..3 {
            let reason = wait_for(&monitor, "connect failed", |event| match event {
                Event::ConnectFailed { connection, reason } if connection.endpoint == endpoint => Some(reason.clone()),
                _ => None,
            });
            assert!(!reason.to_string().is_empty());
            let delay = wait_for(&monitor, "retrying", |event| match event {
                Event::Retrying { endpoint: failed, delay } if *failed == endpoint => Some(*delay),
                _ => None,
            });
            assert!(delay <= Duration::from_millis(25), "{delay:?}");
        }
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        wait_for_handshake(&monitor);
        send(&mut push, "there you are");
        assert_eq!(receive(&mut pull).as_bytes(), b"there you are");
    }

    /// A server that is restarted a hundred times, in the middle of the traffic: it goes on each time with the first message
    /// that the kernel had not taken. So nothing comes twice or out of order, and what is missing was in the kernels, or in the
    /// server, when that was stopped.
    fn a_hundred_restarts_repeat_nothing(transport) {
        const RESTARTS: u32 = 100;
        const EACH: u32 = 20;
        const BODY: usize = 1000;
        const RECEIVE_HWM: u32 = 50;
        // What is on its way in the buffers of the kernel and of an I/O thread, with small ones asked for: ample, and still less
        // than what waits in the queue.
        const ON_ITS_WAY_MAX: u64 = 512 * 1024 / BODY as u64;
        let (ours, theirs) = (Context::new(), Context::new());
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&ours)
            .reconnect_min(Duration::from_millis(1))
            .reconnect_max(Duration::from_millis(20))
            .send_buffer(64 << 10)
            .build()
            .unwrap();
        let monitor = push.monitor();
        push.connect(endpoint.as_str()).unwrap();
        let (ask, asked) = channel::<Sender<(u32, Sent)>>();
        let sender = thread::spawn(move || {
            let mut number = 0;
            let mut body = [0; BODY];
            loop {
                body[..4].copy_from_slice(&u32::to_be_bytes(number));
                match push.send_timeout(&body, Duration::from_millis(1)) {
                    Ok(()) => number += 1,
                    Err(SendTimeoutError::Timeout(_)) => {}
                    // The context is shut down.
                    Err(error) => {
                        assert!(matches!(error, SendTimeoutError::Closed(_)), "{error}");
                        return (push, number);
                    }
                }
                if let Ok(answer) = asked.try_recv() {
                    answer.send((number, push.stats().sent)).unwrap();
                }
            }
        });
        let start = || {
            let builder = PullSocket::builder(&theirs).receive_hwm(RECEIVE_HWM).receive_buffer(64 << 10);
            let mut pull = builder.build().unwrap();
            pull.bind(endpoint.as_str()).unwrap();
            wait_for_handshake(&monitor);
            pull
        };
        let take = |pull: &mut PullSocket, expected: u64| {
            let message = receive(pull);
            let (number, rest) = message.as_bytes().split_first_chunk().unwrap();
            assert_eq!((u64::from(u32::from_be_bytes(*number)), rest.len()), (expected, BODY - 4));
        };
        let mut handed_over = 0;
        for _ in 0..RESTARTS {
            let mut pull = start();
            for number in 0..EACH {
                take(&mut pull, handed_over + u64::from(number));
            }
            // The address has to be free for the next one.
            pull.unbind(endpoint.as_str()).unwrap();
            let received = pull.stats().received.received;
            drop(pull);
            wait_for_end(&monitor);
            let (answer, answered) = channel();
            ask.send(answer).unwrap();
            let (sent, stats) = answered.recv().unwrap();
            assert_eq!(stats.accepted, sent.into());
            assert_eq!(stats.accepted, stats.handed_over + stats.waiting);
            let taken = stats.handed_over - handed_over;
            // More may have come after the last look, until the connection was closed.
            let most = received + u64::from(RECEIVE_HWM) + ON_ITS_WAY_MAX;
            assert!((received..=most).contains(&taken), "{received} of {taken} received");
            handed_over = stats.handed_over;
        }
        let mut pull = start();
        // What is sent from here on goes to this one.
        take(&mut pull, handed_over);
        let shutdown = thread::spawn(move || ours.shutdown(DEADLINE));
        let (mut push, sent) = sender.join().unwrap();
        for number in handed_over + 1..sent.into() {
            take(&mut pull, number);
        }
        assert!(shutdown.join().unwrap().is_complete());
        let stats = push.stats().sent;
        assert_eq!((stats.accepted, stats.handed_over), (sent.into(), sent.into()));
        assert_eq!(stats.dropped, Dropped::default());
        assert_eq!(pull.stats().received.received, u64::from(sent) - handed_over);
    }

    /// Neither an address where nobody is nor a server that does not want us, or that we do not want, is stormed: there is one
    /// try for each pause, and the pauses double. Only a connection that was of use makes them short again.
    fn pauses_grow_until_a_connection_is_of_use(transport) {
        let (min, max) = (Duration::from_millis(1), Duration::from_millis(64));
        for refusal in [Refusal::Nobody, Refusal::HangUp, Refusal::WrongType, Refusal::Nonsense] {
            let context = Context::new();
            let endpoint = transport.fresh();
            let mut push = PushSocket::builder(&context)
                .reconnect_min(min)
                .reconnect_max(max)
                .build()
                .unwrap();
            let monitor = push.monitor();
            let listener = (refusal != Refusal::Nobody).then(|| RawListener::bind(&endpoint));
            let mut tries = Tries::begin();
            push.connect(endpoint.as_str()).unwrap();
            for round in 0..10 {
                if let Some(listener) = &listener {
                    refusal.meet(listener.accept());
                }
                assert_pause(tries.next_pause(&monitor), (min * (1 << round)).min(max));
            }
            if let Some(listener) = &listener {
                for pause in [min, min] {
                    listener.accept().shake_hands("PULL");
                    assert_pause(tries.next_pause(&monitor), pause);
                }
                refusal.meet(listener.accept());
                assert_pause(tries.next_pause(&monitor), 2 * min);
            }
        }
    }

    /// The pauses of who has not said anything about them.
    fn pauses_begin_with_a_tenth_of_a_second(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        let mut tries = Tries::begin();
        push.connect(transport.fresh().as_str()).unwrap();
        for milliseconds in [100, 200, 400, 800, 1600] {
            assert_pause(tries.next_pause(&monitor), Duration::from_millis(milliseconds));
        }
    }
}

/// Why a server is of no use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Nobody,
    HangUp,
    WrongType,
    /// After the handshake.
    Nonsense,
}

impl Refusal {
    /// Treats who has dialed accordingly.
    fn meet(self, mut raw: Raw) {
        match self {
            Refusal::Nobody | Refusal::HangUp => {}
            Refusal::WrongType => raw.send(&[crate::raw::greeting(), crate::raw::ready("PUSH")].concat()),
            Refusal::Nonsense => {
                raw.shake_hands("PULL");
                // No frame has all flags.
                raw.send(&[0xff; 10]);
                raw.read_to_hang_up();
            }
        }
    }
}

/// What a monitor tells of tries to connect.
struct Tries {
    start: Instant,
    /// All of them so far.
    pauses: Duration,
}

impl Tries {
    /// Before the first try.
    fn begin() -> Tries {
        Tries {
            start: Instant::now(),
            pauses: Duration::ZERO,
        }
    }

    /// Waits for a pause, before which there has to be one try that came to an end, and not before the last pause was over.
    #[track_caller]
    fn next_pause(&mut self, monitor: &Monitor) -> Duration {
        let (mut tries, mut ends) = (0, 0);
        let pause = wait_for(monitor, "a pause", |event| {
            match event {
                Event::Connecting { .. } => tries += 1,
                Event::ConnectFailed { .. } | Event::HandshakeFailed { .. } | Event::Disconnected { .. } => {
                    ends += 1
                }
                Event::Missed { count } => panic!("{count} events missed"),
                Event::Retrying { delay, .. } => return Some(*delay),
                _ => {}
            }
            None
        });
        assert_eq!((tries, ends), (1, 1));
        assert!(self.start.elapsed() >= self.pauses, "the last pause was not kept");
        self.pauses += pause;
        pause
    }
}

/// A quarter more or less is a matter of chance.
#[track_caller]
fn assert_pause(pause: Duration, expected: Duration) {
    let range = expected * 3 / 4..=expected * 5 / 4;
    assert!(range.contains(&pause), "{pause:?} instead of {expected:?}");
}
