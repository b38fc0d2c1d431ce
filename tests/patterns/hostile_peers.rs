//! Whatever comes from the network costs its own connection at most: a good peer goes on undisturbed, and the monitor
//! tells why the bad one had to go.

use std::io::{ErrorKind, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use zerowire::{
    Builder, Context, Event, Message, Monitor, ProtocolError, PullSocket, PushSocket, Reason, SocketType,
};

use crate::descriptors::with_descriptors;
use crate::on_every_wire;
use crate::raw::{
    COMMAND, LONG, MORE, Raw, command, frame, greeting, greeting_with, header, message, ping, ready,
    ready_with,
};
use crate::support::{DEADLINE, Transport, pattern, send, wait_for, wait_for_handshake};

/// A bound PULL with a good peer that keeps sending numbers to it, both on threads of their own.
struct Scene {
    endpoint: String,
    monitor: Monitor,
    /// What came from others than the good peer.
    strange: Receiver<Message>,
    stop: Sender<()>,
    good: JoinHandle<u32>,
    receiver: JoinHandle<u32>,
}

impl Scene {
    fn new(transport: Transport) -> Scene {
        Scene::with(transport, |builder| builder)
    }

    fn with(transport: Transport, options: impl FnOnce(Builder<PullSocket>) -> Builder<PullSocket>) -> Scene {
        let context = Context::new();
        let mut pull = options(PullSocket::builder(&context)).build().unwrap();
        let monitor = pull.monitor();
        let endpoint = pull.bind(transport.wildcard()).unwrap().to_string();
        let mut push = PushSocket::new(&Context::new());
        push.connect(endpoint.as_str()).unwrap();
        wait_for_handshake(&monitor);
        let (stop, stopped) = channel();
        let (strange_in, strange) = channel();
        let good = thread::spawn(move || {
            let mut sent = 0u32;
            // A pace that leaves the processor to the attack.
            while stopped.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                for _ in 0..5 {
                    send(&mut push, [&b"good"[..], &sent.to_be_bytes()]);
                    sent += 1;
                }
            }
            for _ in 0..100 {
                send(&mut push, [&b"good"[..], &sent.to_be_bytes()]);
                sent += 1;
            }
            send(&mut push, ["good", "bye"]);
            sent
        });
        let receiver = thread::spawn(move || {
            let mut next = 0u32;
            loop {
                let message = pull.recv_timeout(DEADLINE).expect("the good peer is heard");
                match message.part(0) {
                    Some(b"good") if message.part(1) == Some(b"bye") => return next,
                    Some(b"good") => {
                        assert_eq!(
                            message.part(1),
                            Some(&next.to_be_bytes()[..]),
                            "the good peer is in order"
                        );
                        next += 1;
                    }
                    _ => strange_in.send(message).unwrap(),
                }
            }
        });
        Scene {
            endpoint,
            monitor,
            strange,
            stop,
            good,
            receiver,
        }
    }

    fn client(&self) -> Raw {
        Raw::connect(&self.endpoint)
    }

    fn peer(&self) -> Raw {
        let raw = Raw::peer(&self.endpoint, "PUSH");
        wait_for_handshake(&self.monitor);
        raw
    }

    /// The next message that did not come from the good peer.
    #[track_caller]
    fn receive(&self) -> Message {
        self.strange.recv_timeout(DEADLINE).expect("a message in time")
    }

    /// Why the next connection was closed, before or after its handshake had succeeded.
    #[track_caller]
    fn reason(&self) -> (Stage, Reason) {
        wait_for(&self.monitor, "a connection was closed", |event| match event {
            Event::HandshakeFailed { reason, connection } => {
                assert_eq!(connection.endpoint, self.endpoint);
                Some((Stage::Handshake, reason.clone()))
            }
            Event::Disconnected { reason, connection } => {
                assert_eq!(connection.endpoint, self.endpoint);
                Some((Stage::Traffic, reason.clone()))
            }
            _ => None,
        })
    }

    /// Ends the scene: the good peer was heard to the end, in order, and nothing else surfaced.
    fn end(self) {
        self.stop.send(()).unwrap();
        let sent = self.good.join().unwrap();
        assert_eq!(self.receiver.join().unwrap(), sent);
        assert!(
            self.strange.try_recv().is_err(),
            "nothing of the bad peer surfaces"
        );
    }

    /// Lets a peer write these bytes: it is disconnected for the expected reason.
    fn attack(self, stage: Stage, bytes: &[u8], is_expected: impl FnOnce(&Reason) -> bool) {
        let mut raw = self.client();
        if stage == Stage::Traffic {
            raw.shake_hands("PUSH");
            wait_for_handshake(&self.monitor);
        }
        raw.send_if_taken(bytes);
        let (ended_in, reason) = self.reason();
        assert!(is_expected(&reason), "unexpected reason: {reason:?}");
        assert_eq!(ended_in, stage);
        raw.read_to_hang_up();
        self.end();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Handshake,
    Traffic,
}

/// A test for an attack: when it comes, what is sent, and the reason that has to be told.
macro_rules! attacks {
    ($($(#[$doc:meta])* $name:ident: $stage:ident, $bytes:expr => $reason:pat $(if $guard:expr)?,)*) => {
        on_every_wire! {
            $(
                $(#[$doc])*
                fn $name(transport) {
                    #[allow(unused_imports)]
                    use ProtocolError as P;
                    let bytes: Vec<u8> = $bytes;
                    Scene::new(transport)
                        .attack(Stage::$stage, &bytes, |reason| matches!(reason, $reason $(if $guard)?));
                }
            )*
        }
    };
}

attacks! {
    garbage: Handshake, pattern(1000, 0x55) => Reason::Protocol(P::NotZmtp { .. }),
    garbage_that_begins_well: Handshake, [&[0xff][..], &[0xab; 100]].concat()
        => Reason::Protocol(P::BadSignature { byte: 0xab }),
    http: Handshake, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()
        => Reason::Protocol(P::NotZmtp { first_byte: b'G' }),
    tls: Handshake, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()
        => Reason::Protocol(P::NotZmtp { first_byte: 0x16 }),
    /// An anonymous identity, as the first protocol began.
    zmtp_1_0: Handshake, vec![1, 0] => Reason::Protocol(P::NotZmtp { first_byte: 1 }),
    zmtp_1_0_with_a_long_identity: Handshake, vec![0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0]
        => Reason::Protocol(P::VersionTooOld { major: 1, minor: 0 }),
    zmtp_2_0: Handshake, vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, 8, 0, 0]
        => Reason::Protocol(P::VersionTooOld { major: 2, minor: 0 }),
    curve: Handshake, greeting_with(3, 1, b"CURVE")
        => Reason::Protocol(P::MechanismMismatch { ours: "NULL", theirs }) if theirs == "CURVE",
    plain: Handshake, greeting_with(3, 0, b"PLAIN")
        => Reason::Protocol(P::MechanismMismatch { theirs, .. }) if theirs == "PLAIN",
    no_mechanism: Handshake, greeting_with(3, 1, b"")
        => Reason::Protocol(P::MalformedMechanism { name }) if name.is_empty(),
    mechanism_of_garbage: Handshake, greeting_with(3, 1, b"N\xffLL")
        => Reason::Protocol(P::MalformedMechanism { .. }),
    wrong_socket_type: Handshake, [greeting(), ready("PUB")].concat()
        => Reason::Protocol(P::SocketTypeMismatch { ours: SocketType::Pull, theirs: SocketType::Pub }),
    same_socket_type: Handshake, [greeting(), ready("PULL")].concat()
        => Reason::Protocol(P::SocketTypeMismatch { ours: SocketType::Pull, theirs: SocketType::Pull }),
    unknown_socket_type: Handshake, [greeting(), ready("PUSHER")].concat()
        => Reason::Protocol(P::UnknownSocketType { name }) if name == "PUSHER",
    message_in_place_of_ready: Handshake, [greeting(), message(&[b"hello"])].concat()
        => Reason::Protocol(P::UnexpectedMessage { bytes: 5 }),
    another_command_in_place_of_ready: Handshake, [greeting(), command("HELLO", &[0; 194])].concat()
        => Reason::Protocol(P::UnexpectedCommand { name }) if name == "HELLO",
    ping_in_place_of_ready: Handshake, [greeting(), ping(b"")].concat()
        => Reason::Protocol(P::UnexpectedCommand { name }) if name == "PING",
    properties_cut_off: Handshake, [greeting(), command("READY", b"\x0bSocket-Type\0\0\0\x04PUS")].concat()
        => Reason::Protocol(P::MalformedProperties { offset: 0, bytes: 19 }),
    property_without_a_name: Handshake, [greeting(), command("READY", b"\0\0\0\0\0")].concat()
        => Reason::Protocol(P::MalformedProperties { offset: 0, .. }),
    property_of_four_gigabytes: Handshake, [greeting(), command("READY", b"\x01X\xff\xff\xff\xffx")].concat()
        => Reason::Protocol(P::MalformedProperties { .. }),
    trailing_byte_behind_properties: Handshake, {
        let mut ready = ready("PUSH");
        ready.push(0);
        ready[1] += 1;
        [greeting(), ready].concat()
    } => Reason::Protocol(P::MalformedProperties { .. }),
    identity_too_long: Handshake,
        [greeting(), ready_with(&[("Socket-Type", b"PUSH"), ("Identity", &[1; 256])])].concat()
        => Reason::Protocol(P::IdentityTooLong { bytes: 256, limit: 255 }),
    reserved_identity: Handshake,
        [greeting(), ready_with(&[("Socket-Type", b"PUSH"), ("Identity", &[0, 1])])].concat()
        => Reason::Protocol(P::IdentityReserved { .. }),
    huge_handshake_frame: Handshake, [greeting(), header(COMMAND, 1 << 20), vec![5; 1 << 20]].concat()
        => Reason::Protocol(P::HandshakeFrameTooLarge { bytes: 0x10_0000, limit: 4096 }),
    handshake_frame_of_half_the_address_space: Handshake, [greeting(), header(COMMAND, 1 << 62)].concat()
        => Reason::Protocol(P::HandshakeFrameTooLarge { .. }),
    error_in_the_handshake: Handshake, [greeting(), command("ERROR", b"\x07go away")].concat()
        => Reason::Protocol(P::PeerError { reason }) if reason == "go away",
    reserved_flags_in_the_handshake: Handshake, [greeting(), frame(0x0c, b"\x05READY")].concat()
        => Reason::Protocol(P::ReservedFlags { flags: 0x0c }),

    frame_of_half_the_address_space: Traffic, header(0, 1 << 62)
        => Reason::Protocol(P::MessageTooLarge { bytes: 0x4000_0000_0000_0000, limit: 0x400_0000 }),
    frame_over_the_address_space: Traffic, header(0, u64::MAX)
        => Reason::Protocol(P::FrameTooLarge { bytes: u64::MAX, .. }),
    part_of_half_the_address_space: Traffic, [frame(MORE, b"x"), header(MORE, 1 << 62)].concat()
        => Reason::Protocol(P::MessageTooLarge { .. }),
    frame_just_over_the_limit: Traffic, header(0, (64 << 20) + 1)
        => Reason::Protocol(P::MessageTooLarge { bytes: 0x400_0001, limit: 0x400_0000 }),
    too_many_parts: Traffic, frame(MORE, b"").repeat(1024)
        => Reason::Protocol(P::TooManyParts { limit: 1024 }),
    reserved_flags: Traffic, frame(8, b"x") => Reason::Protocol(P::ReservedFlags { flags: 8 }),
    all_flags: Traffic, vec![0xff; 20] => Reason::Protocol(P::ReservedFlags { flags: 0xff }),
    command_with_more: Traffic, frame(COMMAND | MORE, b"\x04PING\0\0")
        => Reason::Protocol(P::CommandWithMore { flags: 5 }),
    command_without_a_name: Traffic, frame(COMMAND, b"\0")
        => Reason::Protocol(P::MalformedCommandName { bytes: 1 }),
    command_of_nothing: Traffic, frame(COMMAND, b"")
        => Reason::Protocol(P::MalformedCommandName { bytes: 0 }),
    command_shorter_than_its_name: Traffic, frame(COMMAND, b"\x10PING")
        => Reason::Protocol(P::MalformedCommandName { bytes: 5 }),
    ping_without_a_ttl: Traffic, command("PING", b"\0")
        => Reason::Protocol(P::MalformedCommand { name: "PING", bytes: 6 }),
    ping_with_a_long_context: Traffic, ping(&[7; 17])
        => Reason::Protocol(P::MalformedCommand { name: "PING", .. }),
    pong_with_a_long_context: Traffic, command("PONG", &[7; 17])
        => Reason::Protocol(P::MalformedCommand { name: "PONG", .. }),
    huge_command: Traffic, header(COMMAND, 1 << 20)
        => Reason::Protocol(P::CommandTooLarge { bytes: 0x10_0000, .. }),
    error_after_the_handshake: Traffic, command("ERROR", b"\x03bye")
        => Reason::Protocol(P::PeerError { reason }) if reason == "bye",
    error_with_terminal_codes: Traffic, command("ERROR", b"\x05\x1b[31m")
        => Reason::Protocol(P::PeerError { reason }) if reason.is_ascii() && !reason.contains('\x1b'),
}

on_every_wire! {
    /// A connection that ends is no error of anybody.
    fn a_peer_that_leaves_is_told_as_such(transport) {
        let scene = Scene::new(transport);
        for bytes in [vec![], greeting()] {
            let mut raw = scene.client();
            raw.send(&bytes);
            drop(raw);
            // Leaving unread bytes behind, as our greeting may be, makes it a reset.
            let (stage, reason) = scene.reason();
            assert_eq!(stage, Stage::Handshake);
            assert!(is_end(&reason), "{reason:?}");
        }
        drop(scene.peer());
        assert_eq!(scene.reason(), (Stage::Traffic, Reason::PeerClosed));
        scene.end();
    }

    /// Messages in front of a violation were good, and are delivered.
    fn messages_before_a_violation_are_delivered(transport) {
        let scene = Scene::new(transport);
        let violations = [frame(8, b"x"), header(0, 1 << 62), frame(COMMAND, b""), frame(COMMAND | MORE, b"x")];
        for violation in violations {
            let mut raw = scene.peer();
            let large = pattern(50_000, 1);
            let good = [message(&[b"one"]), message(&[b"two", b"parts"]), message(&[&large])].concat();
            raw.send_if_taken(&[good, violation].concat());
            assert!(matches!(scene.reason(), (Stage::Traffic, Reason::Protocol(_))));
            assert_eq!(scene.receive().as_bytes(), b"one");
            assert_eq!(scene.receive().part_count(), 2);
            assert!(scene.receive().as_bytes() == large);
            raw.read_to_hang_up();
        }
        scene.end();
    }

    /// The parts of a message count together.
    fn a_message_over_the_configured_size_is_refused(transport) {
        let scene = Scene::with(transport, |builder| builder.max_message_bytes(10_000).max_message_parts(10));
        for bytes in [
            header(0, 10_001),
            [frame(MORE, &[1; 5000]), header(0, 5001)].concat(),
            [frame(MORE, &[1; 9990]), frame(MORE, b""), frame(MORE, &[1; 10]), header(0, 1)].concat(),
        ] {
            let mut raw = scene.peer();
            raw.send_if_taken(&bytes);
            let (stage, reason) = scene.reason();
            let expected = ProtocolError::MessageTooLarge { bytes: 10_001, limit: 10_000 };
            assert_eq!((stage, reason), (Stage::Traffic, Reason::Protocol(expected)));
            raw.read_to_hang_up();
        }
        let mut raw = scene.peer();
        raw.send_if_taken(&frame(MORE, b"x").repeat(10));
        let expected = ProtocolError::TooManyParts { limit: 10 };
        assert_eq!(scene.reason(), (Stage::Traffic, Reason::Protocol(expected)));
        raw.read_to_hang_up();
        // The limits themselves are allowed.
        let mut raw = scene.peer();
        raw.send(&message(&[&[1; 5000], &[2; 5000]]));
        raw.send(&message(&[&b"part"[..]; 10]));
        assert_eq!(scene.receive().total_bytes(), 10_000);
        assert_eq!(scene.receive().part_count(), 10);
        scene.end();
    }

    /// A socket that only sends does not listen.
    fn a_push_hangs_up_on_a_peer_that_sends_messages(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap().to_string();
        let hello = message(&[b"hello"]);
        for bytes in [hello.clone(), frame(MORE, b"hello"), header(0, 5), [ping(b""), hello].concat()] {
            let mut raw = Raw::peer(&endpoint, "PULL");
            wait_for_handshake(&monitor);
            raw.send_if_taken(&bytes);
            let reason = wait_for(&monitor, "disconnected", |event| match event {
                Event::Disconnected { reason, .. } => Some(reason.clone()),
                _ => None,
            });
            assert_eq!(reason, Reason::Protocol(ProtocolError::UnexpectedMessage { bytes: 5 }));
            raw.read_to_hang_up();
        }
        // Commands are something else.
        let mut raw = Raw::peer(&endpoint, "PULL");
        wait_for_handshake(&monitor);
        raw.send(&ping(b"are you there"));
        assert_eq!(raw.read_frame(), (COMMAND, b"\x04PONGare you there".to_vec()));
        send(&mut push, "yes");
        assert_eq!(raw.read_message(), [b"yes"]);
    }

    /// A server that does not behave is tried again, because it may be replaced by one that does.
    fn a_bad_server_is_tried_again(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = crate::raw::RawListener::bind(&endpoint);
        let mut push = PushSocket::builder(&context)
            .reconnect_min(Duration::from_millis(1))
            .reconnect_max(Duration::from_millis(10))
            .build()
            .unwrap();
        let monitor = push.monitor();
        push.connect(endpoint.as_str()).unwrap();
        send(&mut push, "kept");
        for bytes in [
            b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
            greeting_with(3, 1, b"CURVE"),
            [greeting(), ready("SUB")].concat(),
            [greeting(), command("ERROR", b"\x04busy")].concat(),
        ] {
            let mut raw = listener.accept();
            raw.send_if_taken(&bytes);
            wait_for(&monitor, "handshake failed", |event| match event {
                Event::HandshakeFailed { reason: Reason::Protocol(_), .. } => Some(()),
                _ => None,
            });
            raw.read_to_hang_up();
        }
        let mut good = listener.accept();
        good.shake_hands("PULL");
        assert_eq!(good.read_message(), [b"kept"]);
    }

    /// So is one that accepts and says nothing: who dialed gives up on it, at whatever point its silence begins.
    fn a_silent_server_is_given_up_on_and_tried_again(transport) {
        let limit = Duration::from_millis(50);
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = crate::raw::RawListener::bind(&endpoint);
        let mut push = PushSocket::builder(&context)
            .connect_timeout(Duration::from_secs(3600))
            .handshake_timeout(limit)
            .reconnect_min(Duration::from_millis(1))
            .reconnect_max(Duration::from_millis(10))
            .build()
            .unwrap();
        let monitor = push.monitor();
        let start = Instant::now();
        push.connect(endpoint.as_str()).unwrap();
        send(&mut push, "kept");
        let all = [greeting(), ready("PULL")].concat();
        for (round, end) in [0, 1, 64, all.len() - 1].into_iter().enumerate() {
            let mut raw = listener.accept();
            // On a busy machine it may have been given up already.
            raw.send_if_taken(&all[..end]);
            let reason = wait_for(&monitor, "handshake failed", |event| match event {
                Event::HandshakeFailed { reason, .. } => Some(reason.clone()),
                Event::ConnectFailed { reason, .. } => panic!("{reason}"),
                _ => None,
            });
            assert_eq!(reason, Reason::HandshakeTimeout(limit));
            assert!(start.elapsed() >= limit * (round as u32 + 1));
            wait_for(&monitor, "retrying", |event| matches!(event, Event::Retrying { .. }).then_some(()));
            raw.read_to_hang_up();
        }
        let sent = push.stats().sent;
        assert_eq!((sent.waiting, sent.dropped.total()), (1, 0));
    }

    /// Silence is given up on, at whatever point of the handshake it begins.
    fn a_peer_that_says_nothing_is_given_up_on(transport) {
        let limit = Duration::from_millis(100);
        let scene = Scene::with(transport, |builder| builder.handshake_timeout(limit));
        let all = [greeting(), ready("PUSH")].concat();
        for end in [0, 1, 10, 11, 63, 64, 65, 73, all.len() - 1] {
            let mut raw = scene.client();
            raw.send(&all[..end]);
            assert_eq!(scene.reason(), (Stage::Handshake, Reason::HandshakeTimeout(limit)));
            raw.read_to_hang_up();
        }
        // Who has shaken hands may be silent as long as it likes.
        let mut quiet = scene.peer();
        let mut silent = scene.client();
        silent.read_to_hang_up();
        quiet.send(&message(&[b"still here"]));
        assert_eq!(scene.receive().as_bytes(), b"still here");
        scene.end();
    }

    /// Bytes may come one at a time.
    fn a_peer_that_trickles_is_understood(transport) {
        let scene = Scene::new(transport);
        let mut raw = scene.client();
        let bytes = [
            greeting(),
            ready_with(&[("Socket-Type", b"PUSH"), ("Identity", b"me"), ("X-Mood", b"slow")]),
            message(&[b"one"]),
            ping(b"ctx"),
            message(&[b"", &pattern(300, 1), b"three"]),
            message(&[&pattern(5000, 2)]),
            message(&[b""]),
        ]
        .concat();
        for byte in bytes {
            raw.send(&[byte]);
        }
        assert_eq!(scene.receive().as_bytes(), b"one");
        let parts = scene.receive();
        assert!(parts.parts().eq([&b""[..], &pattern(300, 1), b"three"]));
        assert!(scene.receive().as_bytes() == pattern(5000, 2));
        let last = scene.receive();
        assert_eq!((last.part_count(), last.len()), (1, 0));
        raw.read_handshake();
        assert_eq!(raw.read_frame(), (COMMAND, b"\x04PONGctx".to_vec()));
        scene.end();
    }

    /// Everything may come in one piece: greeting, READY and traffic.
    fn a_peer_that_says_everything_at_once_is_understood(transport) {
        let scene = Scene::new(transport);
        let mut raw = scene.client();
        let many: Vec<u8> = (0..200u8).flat_map(|number| message(&[&[number], &pattern(100, number)])).collect();
        raw.send(&[greeting(), ready("PUSH"), many].concat());
        for number in 0..200u8 {
            assert!(scene.receive().parts().eq([&[number][..], &pattern(100, number)]));
        }
        scene.end();
    }

    /// Old and new minor versions, missing and unknown properties, any case of names: all of them are allowed.
    fn harmless_variations_of_the_handshake_are_accepted(transport) {
        let scene = Scene::new(transport);
        let mut odd_padding = greeting();
        odd_padding[1..9].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        let mut as_server = greeting();
        as_server[32] = 1;
        for bytes in [
            [greeting_with(3, 0, b"NULL"), ready("PUSH")].concat(),
            [greeting_with(3, 7, b"NULL"), ready("PUSH")].concat(),
            [greeting_with(4, 0, b"NULL"), ready("PUSH")].concat(),
            [odd_padding, ready("PUSH")].concat(),
            [as_server, ready("PUSH")].concat(),
            [greeting(), ready_with(&[])].concat(),
            [greeting(), ready_with(&[("socket-type", b"PUSH"), ("X-Unknown", b"\0\xff"), ("Identity", b"")])].concat(),
            // The long form of the header for a short body.
            [greeting(), vec![COMMAND | LONG, 0, 0, 0, 0, 0, 0, 0], ready("PUSH")[1..].to_vec()].concat(),
        ] {
            let mut raw = scene.client();
            raw.send(&[bytes, message(&[b"accepted"])].concat());
            raw.read_handshake();
            assert_eq!(scene.receive().as_bytes(), b"accepted");
        }
        scene.end();
    }

    /// A PING is answered with its own context, between messages and between the parts of one.
    fn a_ping_is_answered_with_its_context(transport) {
        let scene = Scene::new(transport);
        let mut raw = scene.peer();
        for context in [&b""[..], b"x", b"sixteen bytes!!!"] {
            raw.send(&ping(context));
            assert_eq!(raw.read_frame(), (COMMAND, [b"\x04PONG", context].concat()));
        }
        raw.send(&[frame(MORE, b"first"), ping(b"between"), frame(MORE, b"")].concat());
        assert_eq!(raw.read_frame(), (COMMAND, b"\x04PONGbetween".to_vec()));
        raw.send(&[ping(b"again"), frame(0, &pattern(10_000, 3)), ping(b"behind"), message(&[b"next"])].concat());
        assert_eq!(raw.read_frame(), (COMMAND, b"\x04PONGagain".to_vec()));
        assert_eq!(raw.read_frame(), (COMMAND, b"\x04PONGbehind".to_vec()));
        let message = scene.receive();
        assert!(message.parts().eq([&b"first"[..], b"", &pattern(10_000, 3)]));
        assert_eq!(scene.receive().as_bytes(), b"next");
        scene.end();
    }

    /// A large part with PINGs around it, so that the frame is put together across reads.
    fn a_ping_next_to_a_large_part_is_answered(transport) {
        let scene = Scene::new(transport);
        let mut raw = scene.peer();
        let large = pattern(3 << 20, 9);
        raw.send(&[frame(MORE, &large), ping(b"a"), frame(MORE, &large), ping(b"b"), frame(0, b"end")].concat());
        assert_eq!(raw.read_frame(), (COMMAND, b"\x04PONGa".to_vec()));
        assert_eq!(raw.read_frame(), (COMMAND, b"\x04PONGb".to_vec()));
        let message = scene.receive();
        assert!(message.parts().eq([&large[..], &large, b"end"]));
        scene.end();
    }

    /// What a command means that nobody knows is its own business.
    fn unknown_commands_are_skipped(transport) {
        let scene = Scene::new(transport);
        let mut raw = scene.peer();
        raw.send(&[command("DANCE", b"now"), frame(MORE, b"a"), command("X", &[9; 200]), frame(0, b"b")].concat());
        raw.send(&[command("SUBSCRIBE", b"topic"), command("PONG", b"unasked"), message(&[b"c"])].concat());
        assert!(scene.receive().parts().eq([b"a", b"b"]));
        assert_eq!(scene.receive().as_bytes(), b"c");
        scene.end();
    }

    /// Whoever asks and does not listen to the answers fills the kernel's buffers and is not read any further, or is
    /// disconnected. That memory stays bounded is counted in the footprint tests.
    fn a_flood_of_pings_without_reading_disturbs_nobody(transport) {
        let scene = Scene::new(transport);
        let mut raw = scene.peer();
        raw.set_nonblocking();
        let flood = ping(b"sixteen bytes!!!").repeat(1000);
        let mut sent = 0usize;
        let mut stalls = 0;
        while sent < 32 << 20 && stalls < 200 {
            match raw.write(&flood[sent % flood.len()..]) {
                Ok(count) => (sent, stalls) = (sent + count, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    stalls += 1;
                    // The good peer is heard meanwhile; its pace is the measure of time.
                    let _ = scene.strange.recv_timeout(Duration::from_millis(1));
                }
                Err(error) => {
                    assert!(crate::raw::is_hang_up(&error), "{error}");
                    break;
                }
            }
        }
        drop(raw);
        scene.end();
    }

    /// A PULL that has no room for messages still answers, once it reads again.
    fn a_ping_behind_messages_is_answered_when_they_are_taken(transport) {
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).receive_hwm(2).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "PUSH");
        for number in 0..50u8 {
            raw.send(&message(&[&[number]]));
        }
        raw.send(&ping(b"end"));
        for number in 0..50u8 {
            assert_eq!(crate::support::receive(&mut pull).as_bytes(), [number]);
        }
        assert_eq!(raw.read_frame(), (COMMAND, b"\x04PONGend".to_vec()));
    }

    /// Two thousand connections that say nothing are more than the socket waits for; the oldest yield, and a good peer
    /// gets in all the same.
    fn silent_connections_do_not_keep_a_good_peer_out(transport) {
        with_descriptors(4096, module_path!(), transport, move || {
            let scene = Scene::with(transport, |builder| builder.handshake_timeout(Duration::from_secs(3600)));
            let mut yielded = 0;
            let mut silent = Vec::new();
            for _ in 0..2000 {
                silent.push(scene.client());
                wait_for(&scene.monitor, "accepted", |event| {
                    yielded += u32::from(is_yield(event));
                    matches!(event, Event::Accepted { .. }).then_some(())
                });
            }
            let mut late = Raw::peer(&scene.endpoint, "PUSH");
            late.send(&message(&[b"let me in"]));
            assert_eq!(scene.receive().as_bytes(), b"let me in");
            for raw in &mut silent[..900] {
                raw.read_to_hang_up();
            }
            while yielded < 900 {
                wait_for(&scene.monitor, "a handshake yields", |event| is_yield(event).then_some(()));
                yielded += 1;
            }
            // The newest still may.
            let newest = &mut silent[1999];
            newest.shake_hands("PUSH");
            newest.send(&message(&[b"me too"]));
            assert_eq!(scene.receive().as_bytes(), b"me too");
            scene.end();
        });
    }
}

/// Whether a handshake was ended to make room for others; no other failure is expected where this is asked.
fn is_yield(event: &Event) -> bool {
    match event {
        Event::HandshakeFailed { reason, .. } => {
            assert!(matches!(reason, Reason::TooManyHandshakes { .. }), "{reason:?}");
            true
        }
        _ => false,
    }
}

/// How the end of a connection may look to the other side.
fn is_end(reason: &Reason) -> bool {
    match reason {
        Reason::PeerClosed => true,
        Reason::Io { kind, .. } => matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
        _ => false,
    }
}
