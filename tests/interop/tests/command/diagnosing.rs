//! `zerowire doctor` with sockets of libzmq.

use std::thread;

use zerowire::SocketType;
use zerowire_interop::{Libzmq, Peer, TYPES};

use crate::process::{Ended, Zerowire};

fn doctor(arguments: &str) -> Ended {
    Zerowire::run(&format!("doctor {arguments}"), b"")
}

/// The reason why the endpoint is not well.
fn wrong(arguments: &str) -> String {
    let ended = doctor(arguments);
    assert_eq!(ended.code(), 1, "{:#?}", ended.errors);
    ended.reason().to_owned()
}

/// The types that go with one, as the command calls them, and whether one of them takes nothing away from others.
fn partners(of: SocketType) -> (&'static str, bool) {
    match of {
        SocketType::Push => ("pull", false),
        SocketType::Pull => ("push", true),
        SocketType::Pub | SocketType::XPub => ("sub or xsub", true),
        SocketType::Sub | SocketType::XSub => ("pub or xpub", true),
        SocketType::Req => ("rep or router", false),
        SocketType::Rep => ("req or dealer", true),
        SocketType::Dealer => ("rep or dealer or router", false),
        SocketType::Router => ("req or dealer or router", true),
        SocketType::Pair => ("pair", false),
        other => panic!("no {other} socket in these tests"),
    }
}

#[test]
fn every_type_of_libzmq_is_recognised() {
    for socket_type in TYPES {
        for transport in ["tcp://127.0.0.1:*", "ipc://*"] {
            let mut peer = Libzmq::named(socket_type, "carl");
            let endpoint = peer.bind(transport);
            let found = doctor(&endpoint).well();
            let (partners, is_harmless) = partners(socket_type);
            let lines: Vec<&str> = found.lines().collect();
            assert_eq!(lines.len(), 4, "{found}");
            assert!(lines[0].starts_with("connected to "), "{found}");
            assert_eq!(lines[1], "speaks ZMTP 3.1, mechanism NULL");
            let is = format!("is a {socket_type}: connect with {partners}");
            assert_eq!(
                lines[2].strip_suffix("; calls itself `carl`").unwrap_or(lines[2]),
                is
            );
            let last = match is_harmless {
                true => "; a PING comes back after ",
                false => "no handshake, as ",
            };
            assert!(lines[3].contains(last), "{found}");
        }
    }
}

#[test]
fn the_handshake_with_libzmq_is_as_the_type_that_is_asked_for() {
    for theirs in TYPES {
        let mut peer = Libzmq::new(theirs);
        let endpoint = peer.bind("tcp://127.0.0.1:*");
        let (partners, _) = partners(theirs);
        for ours in TYPES {
            let name = ours.to_string().to_lowercase();
            let arguments = format!("{endpoint} --as {name}");
            if partners.split(" or ").any(|partner| partner == name) {
                let found = doctor(&arguments).well();
                let last = format!("shook hands as a {ours}; a PING comes back after ");
                assert!(found.contains(&last), "{found}");
            } else {
                assert_eq!(
                    wrong(&arguments),
                    format!("is a {theirs}, which does not talk to a {ours}: connect with {partners}")
                );
            }
        }
    }
}

#[test]
fn examining_a_pusher_of_libzmq_takes_none_of_its_messages() {
    let mut push = Libzmq::new(SocketType::Push);
    let endpoint = push.bind("tcp://127.0.0.1:*");
    doctor(&endpoint).well();
    let mut pull = Libzmq::new(SocketType::Pull);
    pull.connect(&endpoint);
    push.send(&[b"for the puller".into()]);
    assert_eq!(pull.recv(), [b"for the puller"]);
}

#[test]
fn mechanisms_of_libzmq_are_named() {
    let mut peer = Libzmq::new(SocketType::Rep);
    peer.socket.set_plain_server(true).unwrap();
    let endpoint = peer.bind("tcp://127.0.0.1:*");
    let ended = doctor(&endpoint);
    assert_eq!(
        (ended.code(), ended.reason()),
        (
            1,
            "speaks PLAIN, you offered NULL: it asks for a user and a password"
        )
    );
    let found = String::from_utf8(ended.output).unwrap();
    assert!(found.ends_with("\nspeaks ZMTP 3.1, mechanism PLAIN\n"), "{found}");
    // Whether there is CURVE depends on how libzmq was compiled.
    if zmq::has("curve").unwrap_or(false) {
        let keys = zmq::CurveKeyPair::new().unwrap();
        let mut peer = Libzmq::new(SocketType::Rep);
        peer.socket.set_curve_server(true).unwrap();
        peer.socket.set_curve_secretkey(&keys.secret_key).unwrap();
        assert_eq!(
            wrong(&peer.bind("tcp://127.0.0.1:*")),
            "speaks CURVE, you offered NULL: it asks for the public key of the server"
        );
    } else {
        println!("no CURVE in this libzmq: not tried");
    }
}

/// RFC 27: with a ZAP domain, libzmq asks a REP at this endpoint about every client.
#[test]
fn a_client_that_the_authenticator_of_libzmq_refuses_is_told() {
    let context = zmq::Context::new();
    let authenticator = context.socket(zmq::REP).unwrap();
    authenticator.bind("inproc://zeromq.zap.01").unwrap();
    let peer = context.socket(zmq::REP).unwrap();
    peer.set_zap_domain("closed").unwrap();
    peer.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = peer.get_last_endpoint().unwrap().unwrap();
    let answering = thread::spawn(move || {
        for status in ["400", "500", "200"] {
            let request = authenticator.recv_multipart(0).unwrap();
            let reply: [&[u8]; 6] = [b"1.0", &request[1], status.as_bytes(), b"", b"", b""];
            authenticator.send_multipart(reply, 0).unwrap();
        }
    });
    for status in ["400", "500"] {
        assert_eq!(
            wrong(&endpoint),
            format!("refuses this client: its authenticator says {status}")
        );
    }
    doctor(&endpoint).well();
    answering.join().unwrap();
}

#[test]
fn what_libzmq_has_left_is_nothing_that_listens() {
    let mut peer = Libzmq::new(SocketType::Pull);
    let endpoint = peer.bind("tcp://127.0.0.1:*");
    doctor(&endpoint).well();
    drop(peer);
    let reason = wrong(&endpoint);
    assert!(
        reason.starts_with(&format!("nothing listens at {endpoint}: ")),
        "{reason}"
    );
}

/// A STREAM socket of libzmq is no ZMTP: programs serve HTTP with it.
#[test]
fn a_web_server_made_with_libzmq_is_recognised() {
    let context = zmq::Context::new();
    let server = context.socket(zmq::STREAM).unwrap();
    server.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = server.get_last_endpoint().unwrap().unwrap();
    let serving = thread::spawn(move || {
        // Each message is a peer and what it says: nothing, when it comes or goes.
        loop {
            let [peer, said] = <[Vec<u8>; 2]>::try_from(server.recv_multipart(0).unwrap()).unwrap();
            if !said.is_empty() {
                let answer: [&[u8]; 2] = [&peer, b"HTTP/1.0 400 Bad Request\r\n\r\n"];
                server.send_multipart(answer, 0).unwrap();
                return;
            }
        }
    });
    assert_eq!(wrong(&endpoint), "not ZMTP: answers like HTTP");
    serving.join().unwrap();
}
