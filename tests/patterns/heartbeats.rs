//! Whether a peer that is silent is still there: who is asked, who is given up, and who is not.

use std::time::{Duration, Instant};

use zerowire::{
    Context, DealerSocket, Event, Monitor, OptionError, PullSocket, PushSocket, Reason, SubSocket, Told,
};

use crate::raw::{COMMAND, Raw, RawListener, command, message, ready};
use crate::support::{
    DEADLINE, Transport, receive, send, send_number, wait_for, wait_for_handshake, wait_until, with_deadline,
};
use crate::{on_every_transport, on_every_wire};

const INTERVAL: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(1);

fn dealer(context: &Context) -> DealerSocket {
    let builder = DealerSocket::builder(context).heartbeat(INTERVAL);
    builder.heartbeat_timeout(TIMEOUT).build().unwrap()
}

/// The next frame has to be a PING with a TTL of 0; returns its context.
#[track_caller]
fn read_ping(raw: &mut Raw) -> Vec<u8> {
    let (flags, body) = raw.read_frame();
    assert_eq!((flags, &body[..7]), (COMMAND, &b"\x04PING\0\0"[..]));
    body[7..].to_vec()
}

#[track_caller]
fn answer_ping(raw: &mut Raw) {
    let context = read_ping(raw);
    raw.send(&command("PONG", &context));
}

/// Reads up to the first message. What comes before are PINGs, which are counted.
#[track_caller]
fn pings_before_a_message(raw: &mut Raw) -> (usize, Vec<u8>) {
    for count in 0.. {
        let (flags, body) = raw.read_frame();
        if flags != COMMAND {
            return (count, body);
        }
        assert_eq!(body[..7], b"\x04PING\0\0"[..]);
    }
    unreachable!("counts for ever")
}

fn end(monitor: &Monitor) -> Reason {
    wait_for(monitor, "an end", |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.clone()),
        _ => None,
    })
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Disconnected { .. } | Event::HandshakeFailed { .. })
}

on_every_wire! {
    /// A peer that has answered once and is silent from then on is given up, and who dialed dials again.
    fn a_peer_that_falls_silent_is_given_up(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut dealer = dealer(&context);
        let monitor = dealer.monitor();
        dealer.connect(endpoint.as_str()).unwrap();
        for _ in 0..2 {
            let mut raw = listener.accept();
            raw.shake_hands("DEALER");
            for _ in 0..3 {
                answer_ping(&mut raw);
            }
            assert_eq!(end(&monitor), Reason::HeartbeatTimeout(TIMEOUT));
            raw.read_to_hang_up();
        }
    }

    /// There are peers that take no notice of PINGs.
    fn a_peer_that_never_answered_is_not_given_up(transport) {
        let context = Context::new();
        let mut dealer = DealerSocket::builder(&context).heartbeat(INTERVAL).heartbeat_timeout(INTERVAL).build().unwrap();
        let monitor = dealer.monitor();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "DEALER");
        for _ in 0..20 {
            read_ping(&mut raw);
        }
        raw.send(&message(&[b"still here"]));
        assert_eq!(receive(&mut dealer).as_bytes(), b"still here");
        while let Some(event) = monitor.try_recv() {
            assert!(!is_end(&event), "{event:?}");
        }
    }

    /// Any byte is a sign of life: a message that takes its time ends nothing, and makes PINGs unnecessary.
    fn a_message_that_comes_byte_by_byte_keeps_the_connection(transport) {
        let context = Context::new();
        let mut dealer = dealer(&context);
        let monitor = dealer.monitor();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "DEALER");
        answer_ping(&mut raw);
        let bytes = message(&[&[b'x'; 100]]);
        for byte in &bytes {
            // More than the timeout in all.
            let pause = 2 * TIMEOUT / 100;
            let due = Instant::now() + pause;
            while let Some(event) = monitor.recv_timeout(due.saturating_duration_since(Instant::now())) {
                assert!(!is_end(&event), "{event:?}");
            }
            raw.send(&[*byte]);
        }
        assert_eq!(receive(&mut dealer).len(), 100);
    }

    /// A peer that has messages to take in may be busy with them, whatever it answered before.
    fn a_peer_that_does_not_read_is_not_given_up(transport) {
        let context = Context::new();
        let builder = PushSocket::builder(&context).heartbeat(INTERVAL).heartbeat_timeout(INTERVAL);
        let mut push = builder.build().unwrap();
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "PULL");
        wait_for_handshake(&monitor);
        send(&mut push, "some work");
        // In front of it at the latest, it was asked.
        let (_, body) = pings_before_a_message(&mut raw);
        assert_eq!(body, b"some work");
        raw.send(&command("PONG", b""));
        assert_eq!(monitor.recv_timeout(30 * INTERVAL), None);
        // And then it has done the work.
        send(&mut push, "more work");
        let (pings, body) = pings_before_a_message(&mut raw);
        assert!(pings > 1, "it was asked again and again");
        assert_eq!(body, b"more work");
    }

    /// While the application takes nothing, the peer is not read, and so not heard: it is told that we live, and is not
    /// expected to show that it does.
    fn a_connection_that_is_not_read_says_that_it_lives(transport) {
        const HWM: u32 = 5;
        const COUNT: u32 = 100;
        let context = Context::new();
        let builder = PullSocket::builder(&context).receive_hwm(HWM).heartbeat(INTERVAL);
        let mut pull = builder.heartbeat_timeout(TIMEOUT).build().unwrap();
        let monitor = pull.monitor();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "PUSH");
        answer_ping(&mut raw);
        for number in 0..COUNT {
            raw.send(&message(&[&number.to_be_bytes()]));
        }
        let start = Instant::now();
        while start.elapsed() < 2 * TIMEOUT {
            read_ping(&mut raw);
        }
        for number in 0..COUNT {
            assert_eq!(receive(&mut pull).as_bytes(), number.to_be_bytes());
        }
        wait_for_handshake(&monitor);
        assert_eq!(monitor.try_recv(), None);
        // Now it is heard again, and expected to speak.
        assert_eq!(end(&monitor), Reason::HeartbeatTimeout(TIMEOUT));
    }

    /// That is so also where nobody is watched: the peer may be one that watches.
    fn a_connection_that_is_not_read_says_that_it_lives_if_nobody_is_watched(transport) {
        let context = Context::new();
        let builder = PullSocket::builder(&context).receive_hwm(1);
        let builder = match transport {
            Transport::Tcp => builder.heartbeat(Duration::ZERO),
            // By default.
            _ => builder,
        };
        let mut pull = builder.build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "PUSH");
        for number in 0..10_u32 {
            raw.send(&message(&[&number.to_be_bytes()]));
        }
        for _ in 0..2 {
            read_ping(&mut raw);
        }
        for number in 0..10_u32 {
            assert_eq!(receive(&mut pull).as_bytes(), number.to_be_bytes());
        }
    }

    /// Both sides watch over the connection and neither takes a busy one for dead.
    fn two_that_watch_each_other_get_along(transport) {
        let context = Context::new();
        let mut push = PushSocket::builder(&context).heartbeat(INTERVAL).heartbeat_timeout(TIMEOUT).build().unwrap();
        let builder = PullSocket::builder(&context).receive_hwm(1).heartbeat(INTERVAL);
        let mut pull = builder.heartbeat_timeout(TIMEOUT).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let monitor = pull.monitor();
        push.connect(&endpoint).unwrap();
        wait_for_handshake(&monitor);
        for round in 0..2 {
            for number in 0..10 {
                send_number(&mut push, 10 * round + number);
            }
            // Nothing is taken for longer than the patience of either.
            assert_eq!(monitor.recv_timeout(2 * TIMEOUT), None);
            for number in 0..10 {
                assert_eq!(receive(&mut pull).as_bytes(), (10 * round + number).to_be_bytes());
            }
        }
        assert_eq!(monitor.recv_timeout(2 * TIMEOUT), None);
    }

    /// A peer may ask to be given up when it has been silent for so long.
    fn a_time_to_live_is_kept(transport) {
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).heartbeat(DEADLINE).build().unwrap();
        let monitor = pull.monitor();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "PUSH");
        raw.send(&command("PING", b"\0\x02with two tenths"));
        assert_eq!(raw.read_frame(), (COMMAND, b"\x04PONGwith two tenths".to_vec()));
        assert_eq!(end(&monitor), Reason::HeartbeatTimeout(Duration::from_millis(200)));
        raw.read_to_hang_up();
    }

    /// Peers of ZMTP 3.0 know no PING, and a heartbeat that is off sends none.
    fn who_cannot_answer_is_not_asked(transport) {
        let context = Context::new();
        for (minor, interval) in [(0, INTERVAL), (1, Duration::ZERO)] {
            let mut dealer = DealerSocket::builder(&context).heartbeat(interval).build().unwrap();
            let monitor = dealer.monitor();
            let endpoint = dealer.bind(transport.wildcard()).unwrap();
            let mut raw = Raw::connect(&endpoint.to_string());
            raw.send(&crate::raw::greeting_with(3, minor, b"NULL"));
            raw.send(&ready("DEALER"));
            raw.read_handshake();
            wait_for_handshake(&monitor);
            assert_eq!(monitor.recv_timeout(10 * INTERVAL), None);
            send(&mut dealer, "a message");
            assert_eq!(raw.read_message(), [b"a message"]);
        }
    }

    /// The PING by which a subscriber finds out that it was heard comes again when it is not answered, and the next question
    /// waits for the answer.
    fn a_question_about_subscriptions_is_repeated(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut subscriber = SubSocket::builder(&context).heartbeat(INTERVAL).build().unwrap();
        subscriber.subscribe("a").unwrap();
        subscriber.connect(endpoint.as_str()).unwrap();
        let mut raw = listener.accept();
        raw.shake_hands("PUB");
        assert_eq!(raw.read_frame(), (COMMAND, b"\x09SUBSCRIBEa".to_vec()));
        let first = read_ping(&mut raw);
        for _ in 0..3 {
            assert_eq!(read_ping(&mut raw), first);
        }
        raw.send(&command("PONG", &first));
        let again = [&first[..], b"again"].concat();
        while read_ping(&mut raw) != again {}
        assert_eq!(read_ping(&mut raw), again);
        raw.send(&command("PONG", &again));
        subscriber.wait_ready(DEADLINE).unwrap();
        while read_ping(&mut raw) == again {}
    }

    /// A publisher that has much to say says it before it answers; who waits for the answer and takes none of it would wait for
    /// ever, and is told so.
    fn an_answer_behind_messages_is_not_waited_for(transport) {
        const COUNT: u32 = 10;
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut subscriber = SubSocket::builder(&context).receive_hwm(2).build().unwrap();
        subscriber.subscribe("").unwrap();
        subscriber.connect(endpoint.as_str()).unwrap();
        let mut raw = listener.accept();
        raw.shake_hands("PUB");
        assert_eq!(raw.read_frame(), (COMMAND, b"\x09SUBSCRIBE".to_vec()));
        let first = read_ping(&mut raw);
        for number in 0..COUNT {
            raw.send(&message(&[&number.to_be_bytes()]));
        }
        raw.send(&command("PONG", &first));
        assert_eq!(subscriber.wait_ready(DEADLINE), Ok(Told::Sent));
        for number in 0..COUNT {
            assert_eq!(receive(&mut subscriber).as_bytes(), number.to_be_bytes());
        }
        let again = [&first[..], b"again"].concat();
        while read_ping(&mut raw) != again {}
        raw.send(&command("PONG", &again));
        wait_until("it is heard", || subscriber.wait_ready(DEADLINE) == Ok(Told::Acknowledged));
    }
}

on_every_transport! {
    /// What makes no sense is refused, and what does is taken, also where it has no effect.
    fn heartbeats_have_ranges(transport) {
        let context = Context::new();
        let build = |interval, timeout| {
            let builder = PullSocket::builder(&context).heartbeat(interval);
            builder.heartbeat_timeout(timeout).build()
        };
        let micro = Duration::from_micros(1);
        for (interval, timeout, option) in [(micro, TIMEOUT, "heartbeat"), (INTERVAL, micro, "heartbeat_timeout")] {
            match build(interval, timeout) {
                Err(OptionError::OutOfRange { option: named, .. }) => assert_eq!(named, option),
                other => panic!("{other:?}"),
            }
        }
        let mut pull = build(INTERVAL, TIMEOUT).unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        send(&mut push, "a message");
        assert_eq!(receive(&mut pull).as_bytes(), b"a message");
    }
}

/// By default heartbeats are on over tcp. This takes as long as the default interval.
#[test]
fn a_quiet_connection_over_tcp_is_asked_by_default() {
    with_deadline(|| {
        let context = Context::new();
        let [mut over_tcp, mut over_ipc] = [Transport::Tcp, Transport::Ipc].map(|transport| {
            let mut pull = PullSocket::new(&context);
            let endpoint = pull.bind(transport.wildcard()).unwrap();
            (Raw::peer(&endpoint.to_string(), "PUSH"), pull)
        });
        wait_until("it is asked", || over_tcp.0.has_bytes());
        read_ping(&mut over_tcp.0);
        assert!(!over_ipc.0.has_bytes());
        for (raw, pull) in [&mut over_tcp, &mut over_ipc] {
            raw.send(&message(&[b"a message"]));
            assert_eq!(receive(pull).as_bytes(), b"a message");
        }
    });
}
