//! `zerowire tap` between two sockets of libzmq, which notice nothing.

use zerowire::SocketType;
use zerowire_interop::{CALL_TIMEOUT, Library, Libzmq, Peer, assert_payload, payload};

use crate::process::Zerowire;

/// Taps what goes to an endpoint, and says where to connect instead.
fn tap(target: &str) -> (Zerowire, String) {
    Zerowire::listening(&format!("tap --listen tcp://127.0.0.1:* --to {target}"))
}

/// What was said in one direction of the first connection, up to its end: commands of the mechanism and of heartbeats aside.
struct Trace {
    to_server: Vec<String>,
    to_client: Vec<String>,
}

fn trace(tap: &mut Zerowire) -> Trace {
    let mut trace = Trace {
        to_server: Vec::new(),
        to_client: Vec::new(),
    };
    loop {
        let line = String::from_utf8(tap.line()).unwrap();
        let (_, line) = line.trim_start().split_once(' ').unwrap();
        if let Some(said) = line.strip_prefix("#1 > ") {
            trace.to_server.push(said.to_owned());
        } else if let Some(said) = line.strip_prefix("#1 < ") {
            trace.to_client.push(said.to_owned());
        } else if line == "#1   closed" {
            return trace;
        }
    }
}

#[test]
fn requests_and_replies_go_through_and_are_told() {
    let mut server = Library::Libzmq.socket(SocketType::Rep);
    let (mut tap, endpoint) = tap(&server.bind("tcp://127.0.0.1:*"));
    let mut client = Libzmq::named(SocketType::Req, "asker");
    client.connect(&endpoint);
    client.send(&[b"a question".into(), b"of two parts".into()]);
    assert_eq!(server.recv(), [&b"a question"[..], b"of two parts"]);
    server.send(&[b"an answer".into()]);
    assert_eq!(client.recv(), [b"an answer"]);
    drop(client);
    let trace = trace(&mut tap);
    assert_eq!(
        trace.to_server,
        [
            "greeting ZMTP 3.1, mechanism NULL",
            "READY, Socket-Type `REQ`, Identity `asker`",
            "part of 0 bytes, more follow: ``",
            "part of 10 bytes, more follow: `a question`",
            "part of 12 bytes: `of two parts`",
            "end"
        ]
    );
    let end = trace.to_client.len() - 1;
    assert_eq!(
        trace.to_client[..end],
        [
            "greeting ZMTP 3.1, mechanism NULL",
            "READY, Socket-Type `REP`",
            "part of 0 bytes, more follow: ``",
            "part of 9 bytes: `an answer`"
        ]
    );
    assert!(trace.to_client[end].starts_with("end"), "{:?}", trace.to_client);
}

#[test]
fn subscriptions_go_through_and_are_told() {
    let mut server = Library::Libzmq.socket(SocketType::XPub);
    let (mut tap, endpoint) = tap(&server.bind("ipc://*"));
    let mut client = Library::Libzmq.socket(SocketType::Sub);
    client.connect(&endpoint);
    client.subscribe(b"a\xff");
    assert_eq!(server.recv(), [b"\x01a\xff"]);
    server.send(&[b"b".into()]);
    server.send(&[b"a\xffb".into()]);
    assert_eq!(client.recv(), [b"a\xffb"]);
    client.unsubscribe(b"a\xff");
    assert_eq!(server.recv(), [b"\x00a\xff"]);
    drop(client);
    let trace = trace(&mut tap);
    // libzmq 4.3 uses the commands of version 3.1, or else messages as in 3.0.
    let said = trace.to_server[2..].join("; ");
    assert!(
        said == "SUBSCRIBE, topic `a\\xff`; CANCEL, topic `a\\xff`; end"
            || said == "part of 3 bytes: `\\x01a\\xff`; part of 3 bytes: `\\x00a\\xff`; end",
        "{said}"
    );
    assert_eq!(trace.to_client[2], "part of 3 bytes: `a\\xffb`");
}

#[test]
fn many_and_large_messages_go_through_as_they_are() {
    let mut server = Library::Libzmq.socket(SocketType::Pull);
    let (mut tap, endpoint) = tap(&server.bind("tcp://127.0.0.1:*"));
    let mut client = Library::Libzmq.socket(SocketType::Push);
    client.connect(&endpoint);
    let sizes = |index: u64| [0, 1, 33, 255, 256, 8192, 100_000][index as usize % 7];
    let count = 7 * 300;
    std::thread::scope(|scope| {
        scope.spawn(|| (0..count).for_each(|index| client.send(&[payload(index, sizes(index))])));
        for index in 0..count {
            let parts = server.recv();
            assert_eq!(parts.len(), 1);
            assert_payload(&parts[0], index, sizes(index));
        }
    });
    drop(client);
    let trace = trace(&mut tap);
    let parts = &trace.to_server[2..];
    assert_eq!(parts.len() as u64, count + 1);
    for (index, part) in (0..count).zip(parts) {
        let start = format!("part of {} bytes: `", sizes(index));
        assert!(part.starts_with(&start), "{part}");
    }
}

#[test]
fn heartbeats_of_libzmq_are_told() {
    let mut server = Library::Libzmq.socket(SocketType::Pull);
    let (mut tap, endpoint) = tap(&server.bind("tcp://127.0.0.1:*"));
    let mut client = Libzmq::new(SocketType::Push);
    client.socket.set_heartbeat_ivl(5).unwrap();
    client.socket.set_heartbeat_ttl(1500).unwrap();
    client.connect(&endpoint);
    let mut lines = vec![String::new()];
    while !lines.last().unwrap().contains("< PONG") {
        lines.push(String::from_utf8(tap.line()).unwrap());
    }
    assert!(
        lines
            .iter()
            .any(|line| line.ends_with("#1 > PING, good for 1.5 s, context ``")),
        "{lines:#?}"
    );
    assert!(
        lines.last().unwrap().ends_with("#1 < PONG, context ``"),
        "{lines:#?}"
    );
}

/// RFC 27: with PLAIN, libzmq asks a REP at this endpoint whether it is the right password.
#[test]
fn passwords_go_through_and_are_not_told() {
    let context = zmq::Context::new();
    let authenticator = context.socket(zmq::REP).unwrap();
    let limit = CALL_TIMEOUT.as_millis() as i32;
    authenticator.set_rcvtimeo(limit).unwrap();
    authenticator.bind("inproc://zeromq.zap.01").unwrap();
    let server = context.socket(zmq::PULL).unwrap();
    server.set_rcvtimeo(limit).unwrap();
    server.set_plain_server(true).unwrap();
    server.bind("tcp://127.0.0.1:*").unwrap();
    let (mut tap, endpoint) = tap(&server.get_last_endpoint().unwrap().unwrap());
    let mut client = Libzmq::new(SocketType::Push);
    client.socket.set_plain_username(Some("ann")).unwrap();
    client.socket.set_plain_password(Some("sesame")).unwrap();
    client.connect(&endpoint);
    let request = authenticator.recv_multipart(0).unwrap();
    assert_eq!(request[5..], [&b"PLAIN"[..], b"ann", b"sesame"]);
    let reply: [&[u8]; 6] = [b"1.0", &request[1], b"200", b"", b"", b""];
    authenticator.send_multipart(reply, 0).unwrap();
    client.send(&[b"let in".into()]);
    assert_eq!(server.recv_bytes(0).unwrap(), b"let in");
    drop(client);
    let trace = trace(&mut tap);
    assert_eq!(
        trace.to_server,
        [
            "greeting ZMTP 3.1, mechanism PLAIN",
            "HELLO, user `ann`",
            "INITIATE, Socket-Type `PUSH`",
            "part of 6 bytes: `let in`",
            "end"
        ]
    );
    // libzmq does not say as what, though the specification asks for that.
    assert_eq!(trace.to_client[0], "greeting ZMTP 3.1, mechanism PLAIN");
    assert!(trace.to_client[1].starts_with("WELCOME"), "{:?}", trace.to_client);
    assert!(
        trace.to_client[2].starts_with("READY, Socket-Type `PULL`"),
        "{:?}",
        trace.to_client
    );
}
