//! `zerowire doctor`: what stands there, and what is wrong with it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use zerowire::{
    Context, DealerSocket, PairSocket, PubSocket, PullSocket, PushSocket, RepSocket, ReqSocket, RouterSocket,
    SubSocket, XPubSocket, XSubSocket,
};

use crate::process::{DEADLINE, Ended, Zerowire};

fn doctor(arguments: &str) -> Ended {
    Zerowire::run(&format!("doctor {arguments}"), b"")
}

/// The reason why the endpoint is not well.
fn wrong(arguments: &str) -> String {
    let ended = doctor(arguments);
    assert_eq!(ended.code(), 1, "{:#?}", ended.errors);
    ended.reason().to_owned()
}

/// Serves each connection with this, and says where.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap());
        }
    });
    endpoint
}

/// Says this, whatever it hears, until the other side goes.
fn saying(what: impl Into<Vec<u8>>) -> String {
    let what = what.into();
    server(move |mut stream| {
        stream.write_all(&what).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

fn greeting(major: u8, minor: u8, mechanism: &str) -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, major, minor];
    greeting.extend(mechanism.bytes());
    greeting.resize(64, 0);
    greeting
}

fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x05READY\x0bSocket-Type\0\0\0".to_vec();
    body.push(socket_type.len() as u8);
    body.extend(socket_type.bytes());
    [&[4, body.len() as u8], &body[..]].concat()
}

#[test]
fn every_type_is_recognised_and_its_partners_are_named() {
    let context = Context::new();
    macro_rules! check {
        ($socket:ident, $name:literal, $partners:literal, $answer:literal) => {
            for transport in ["tcp://127.0.0.1:*", "ipc://*"] {
                let mut socket = $socket::new(&context);
                let endpoint = socket.bind(transport).unwrap();
                let found = doctor(&endpoint.to_string()).well();
                let lines: Vec<&str> = found.lines().collect();
                assert!(lines[0].starts_with("connected to "), "{found}");
                assert_eq!(lines[1], "speaks ZMTP 3.1, mechanism NULL");
                assert_eq!(
                    lines[2],
                    concat!("is a ", $name, ": connect with ", $partners)
                );
                assert!(lines[3].starts_with($answer), "{found}");
                assert_eq!(lines.len(), 4, "{found}");
            }
        };
    }
    check!(
        PullSocket,
        "PULL",
        "push",
        "shook hands as a PUSH; a PING comes back after "
    );
    check!(
        PubSocket,
        "PUB",
        "sub or xsub",
        "shook hands as a SUB; a PING comes back after "
    );
    check!(XPubSocket, "XPUB", "sub or xsub", "shook hands as a SUB; ");
    check!(SubSocket, "SUB", "pub or xpub", "shook hands as a PUB; ");
    check!(XSubSocket, "XSUB", "pub or xpub", "shook hands as a PUB; ");
    check!(RepSocket, "REP", "req or dealer", "shook hands as a REQ; ");
    check!(
        RouterSocket,
        "ROUTER",
        "req or dealer or router",
        "shook hands as a DEALER; "
    );
    // These would give the doctor what was meant for others.
    check!(PushSocket, "PUSH", "pull", "no handshake, ");
    check!(
        DealerSocket,
        "DEALER",
        "rep or dealer or router",
        "no handshake, "
    );
    check!(ReqSocket, "REQ", "rep or router", "no handshake, ");
    check!(PairSocket, "PAIR", "pair", "no handshake, ");
}

#[test]
fn examining_a_push_takes_none_of_its_messages() {
    let context = Context::new();
    let mut push = PushSocket::new(&context);
    let endpoint = push.bind("tcp://127.0.0.1:*").unwrap();
    doctor(&endpoint.to_string()).well();
    let mut pull = PullSocket::new(&context);
    pull.connect(&endpoint).unwrap();
    push.send("for the puller").unwrap();
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"for the puller");
}

#[test]
fn the_handshake_is_as_the_type_that_is_asked_for() {
    let context = Context::new();
    let mut router = RouterSocket::builder(&context)
        .identity("the-router")
        .build()
        .unwrap();
    let endpoint = router.bind("tcp://127.0.0.1:*").unwrap();
    let found = doctor(&format!("{endpoint} --as req")).well();
    assert!(found.contains("; calls itself `the-router`"), "{found}");
    assert!(found.contains("shook hands as a REQ; a PING"), "{found}");
    assert_eq!(
        wrong(&format!("{endpoint} --as sub")),
        "is a ROUTER, which does not talk to a SUB: connect with req or dealer or router"
    );
    let mut push = PushSocket::new(&context);
    let endpoint = push.bind("tcp://127.0.0.1:*").unwrap();
    assert!(
        doctor(&format!("{endpoint} --as PULL"))
            .well()
            .contains("shook hands as a PULL; a PING")
    );
}

#[test]
fn where_nothing_listens_is_said() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let reason = wrong(&format!("tcp://{free}"));
    assert!(
        reason.starts_with(&format!("nothing listens at tcp://{free}: ")),
        "{reason}"
    );
    let reason = wrong("ipc:///nowhere/to/be/found");
    assert_eq!(
        reason,
        "nothing listens at ipc:///nowhere/to/be/found: there is no such file"
    );
    let reason = wrong("tcp://name.invalid:1");
    assert!(
        reason.starts_with("the name name.invalid does not resolve: "),
        "{reason}"
    );
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap().to_string();
    let by_name = endpoint.replace("127.0.0.1", "localhost");
    assert!(doctor(&by_name).well().starts_with("localhost resolves to "));
}

#[test]
fn what_is_not_zmtp_is_recognised() {
    for (says, named) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "answers like HTTP"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "answers like SSH"),
        ("\x15\x03\x01\x00\x02\x02\x0a", "answers like TLS"),
        ("220 mail ESMTP\r\n", "answers like SMTP or FTP"),
        ("-ERR unknown command", "answers like Redis"),
        ("something\x07 else", "answers `something\\x07 else`"),
        ("\x01\x00", "answers like ZMTP 1.0, which libzmq 2 speaks"),
    ] {
        assert_eq!(wrong(&saying(says)), format!("not ZMTP: {named}"));
    }
}

#[test]
fn a_web_server_that_waits_for_a_line_is_recognised_too() {
    let endpoint = server(|mut stream| {
        let mut heard = Vec::new();
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|read| read > 0) {
            heard.extend(byte);
            if heard.ends_with(b"\r\n\r\n") {
                stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
                return;
            }
        }
    });
    assert_eq!(
        wrong(&format!("{endpoint} --timeout 100ms")),
        "not ZMTP: answers like HTTP"
    );
}

#[test]
fn those_who_say_nothing_are_named() {
    let reason = wrong(&format!("{} --timeout 50ms", saying("")));
    assert!(
        reason.starts_with("accepts connections and says nothing within 50ms"),
        "{reason}"
    );
    let endpoint = server(|mut stream| {
        // It reads first, so that its end is not a reset.
        let _ = stream.read_exact(&mut [0; 64]);
    });
    let reason = wrong(&endpoint);
    assert!(
        reason.starts_with("accepts connections and closes them without a word"),
        "{reason}"
    );
}

/// What libzmq does when it hears of another mechanism than its own before it has told its own.
#[test]
fn a_peer_that_waits_for_the_version_only_is_understood() {
    let endpoint = server(|mut stream| {
        let greeting = greeting(3, 1, "PLAIN");
        stream.write_all(&greeting[..10]).unwrap();
        stream.read_exact(&mut [0; 12]).unwrap();
        // More than a version would be a mechanism.
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        if stream.read(&mut [0]).is_err() {
            stream.write_all(&greeting[10..]).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    assert_eq!(
        wrong(&format!("{endpoint} --timeout 20s")),
        "speaks PLAIN, you offered NULL: it asks for a user and a password"
    );
    let endpoint = server(|mut stream| {
        stream.write_all(&greeting(3, 1, "NULL")[..20]).unwrap();
        let _ = stream.read_exact(&mut [0; 12]);
    });
    let reason = wrong(&endpoint);
    assert!(
        reason.starts_with("begins like ZMTP, and closes the connection in the middle of its greeting"),
        "{reason}"
    );
}

#[test]
fn a_peer_that_waits_for_the_whole_greeting_is_understood() {
    let endpoint = server(|mut stream| {
        stream.read_exact(&mut [0; 64]).unwrap();
        stream
            .write_all(&[greeting(3, 0, "NULL"), ready("PUB")].concat())
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let found = doctor(&format!("{endpoint} --timeout 200ms")).well();
    assert!(found.contains("is a PUB: connect with sub or xsub"), "{found}");
}

#[test]
fn other_versions_and_mechanisms_are_named() {
    let reason = wrong(&saying(greeting(1, 1, "")));
    assert!(reason.starts_with("speaks ZMTP 2.0, "), "{reason}");
    for (mechanism, reason) in [
        (
            "CURVE",
            "speaks CURVE, you offered NULL: it asks for the public key of the server",
        ),
        (
            "PLAIN",
            "speaks PLAIN, you offered NULL: it asks for a user and a password",
        ),
        (
            "NOVEL",
            "speaks NOVEL, you offered NULL: it asks for a mechanism that is not known here",
        ),
    ] {
        assert_eq!(wrong(&saying(greeting(3, 1, mechanism))), reason);
    }
    let old = doctor(&saying([greeting(3, 0, "NULL"), ready("PUB")].concat())).well();
    assert!(
        old.contains("speaks ZMTP 3.0") && old.contains("3.0 has no PING"),
        "{old}"
    );
}

#[test]
fn peers_that_refuse_are_quoted() {
    let error = |reason: &str| {
        let body = [b"\x05ERROR", &[reason.len() as u8][..], reason.as_bytes()].concat();
        saying([greeting(3, 1, "NULL"), vec![4, body.len() as u8], body].concat())
    };
    assert_eq!(
        wrong(&error("400")),
        "refuses this client: its authenticator says 400"
    );
    assert_eq!(wrong(&error("not you")), "refuses this client: it says `not you`");
    let reason = wrong(&saying([greeting(3, 1, "NULL"), ready("STRANGE")].concat()));
    assert_eq!(reason, "is a STRANGE, a type that is not known here");
    let mute = saying([greeting(3, 1, "NULL"), ready("ROUTER")].concat());
    assert_eq!(
        wrong(&format!("{mute} --timeout 50ms")),
        "does not take a DEALER: it does not answer"
    );
    let shy = saying(greeting(3, 1, "NULL"));
    assert!(wrong(&format!("{shy} --timeout 50ms")).ends_with("say as what, with --as TYPE"));
    let broken = saying([greeting(3, 1, "NULL"), vec![0xf8, 0]].concat());
    assert_eq!(
        wrong(&broken),
        "does not introduce itself: frame with flags 0xf8, which mean nothing"
    );
}

#[test]
fn a_peer_that_never_stops_does_not_hold_it_up() {
    let endpoint = server(|mut stream| {
        let mut flood = [greeting(3, 1, "NULL"), ready("PUB")].concat();
        // A frame of 2^62 bytes.
        flood.extend([2, 0x40, 0, 0, 0, 0, 0, 0, 0]);
        let _ = stream.write_all(&flood);
        while stream.write_all(&[b'x'; 65_536]).is_ok() {}
    });
    assert_eq!(
        wrong(&format!("{endpoint} --timeout 50ms")),
        "does not take a SUB: it does not answer"
    );
}

#[test]
fn arguments_are_checked() {
    for arguments in [
        "",
        "nonsense",
        "tcp://*:1",
        "inproc://name",
        "tcp://127.0.0.1:1 --as shove",
    ] {
        assert_eq!(doctor(arguments).code(), 2, "{arguments}");
    }
}
