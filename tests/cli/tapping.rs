//! `zerowire tap`: what goes through arrives as it was, and is told.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use zerowire::{Context, PullSocket, PushSocket, RepSocket, ReqSocket};

use crate::process::{DEADLINE, Zerowire};

fn tap(arguments: &str) -> (Zerowire, String) {
    Zerowire::listening(&format!("tap {arguments}"))
}

/// Reads lines of the trace up to one that ends like this; without their times.
fn trace(tap: &mut Zerowire, until: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = String::from_utf8(tap.line()).unwrap();
        let (time, rest) = line.trim_start().split_once(' ').unwrap();
        assert!(time.parse::<f64>().unwrap() >= 0.0);
        lines.push(rest.to_owned());
        if rest.ends_with(until) {
            return lines;
        }
    }
}

/// What was said in one direction.
fn said(lines: &[String], start: &str) -> Vec<String> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(start))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_conversation_is_printed_in_both_directions() {
    for listen in ["tcp://127.0.0.1:*", "ipc://*"] {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let target = rep.bind("tcp://127.0.0.1:*").unwrap();
        let (mut tap, endpoint) = tap(&format!("--listen {listen} --to {target}"));
        let mut req = ReqSocket::builder(&context).identity("asker").build().unwrap();
        req.connect(endpoint.as_str()).unwrap();
        req.send(["a question", "of two parts"]).unwrap();
        rep.next_timeout(DEADLINE).unwrap().reply("an answer").unwrap();
        assert_eq!(req.recv_timeout(DEADLINE).unwrap().as_bytes(), b"an answer");
        drop(req);
        let lines = trace(&mut tap, "closed");
        assert_eq!(
            said(&lines, "#1 > ")
                .iter()
                .filter(|line| !line.starts_with("PING") && !line.starts_with("PONG"))
                .collect::<Vec<_>>(),
            [
                "greeting ZMTP 3.1, mechanism NULL",
                "READY, Socket-Type `REQ`, Identity `asker`",
                "part of 0 bytes, more follow: ``",
                "part of 10 bytes, more follow: `a question`",
                "part of 12 bytes: `of two parts`",
                "end",
            ]
        );
        let answers = said(&lines, "#1 < ");
        assert_eq!(answers[0], "greeting ZMTP 3.1, mechanism NULL");
        assert!(answers[1].starts_with("READY, Socket-Type `REP`"), "{answers:?}");
        assert!(
            answers.contains(&"part of 9 bytes: `an answer`".to_owned()),
            "{answers:?}"
        );
        tap.signal("TERM");
        tap.end().well();
        if let Some(path) = endpoint.strip_prefix("ipc://") {
            // Neither the file nor the directory around it.
            let path = std::path::Path::new(path);
            assert!(path.is_absolute() && !path.parent().unwrap().exists());
        }
    }
}

#[test]
fn a_path_that_a_killed_tap_has_left_is_taken_over() {
    let path = std::env::temp_dir().join(format!("zerowire-test-tap-{}", std::process::id()));
    let arguments = format!("--listen ipc://{} --to tcp://127.0.0.1:1", path.display());
    let (killed, _) = tap(&arguments);
    killed.signal("KILL");
    assert_eq!(killed.end().status.code(), None);
    let (tap, endpoint) = tap(&arguments);
    // But not from one that listens.
    let second = Zerowire::run(&format!("tap {arguments}"), b"");
    assert_eq!(second.code(), 1);
    assert!(second.reason().starts_with(&format!("cannot bind {endpoint}: ")));
    tap.signal("TERM");
    tap.end().well();
    assert!(!path.exists());
}

#[test]
fn several_connections_are_told_apart() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let target = pull.bind("ipc://*").unwrap();
    let (mut tap, endpoint) = tap(&format!("--listen tcp://127.0.0.1:* --to {target}"));
    for text in ["one", "two"] {
        let mut push = PushSocket::new(&context);
        push.connect(endpoint.as_str()).unwrap();
        push.send(text).unwrap();
        assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), text.as_bytes());
        drop(push);
        let number = if text == "one" { 1 } else { 2 };
        let lines = trace(&mut tap, "closed");
        assert!(
            lines.contains(&format!("#{number} > part of 3 bytes: `{text}`")),
            "{lines:#?}"
        );
    }
}

#[test]
fn what_is_not_zmtp_is_relayed_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        // Up to the end of what the client says, which goes through while the other direction is open.
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(&heard).unwrap();
    });
    let (mut tap, endpoint) = tap(&format!("--listen tcp://127.0.0.1:* --to tcp://{target}"));
    let mut client = TcpStream::connect(endpoint.trim_start_matches("tcp://")).unwrap();
    let text: Vec<u8> = b"GET / HTTP/1.0\r\n\r\n"
        .iter()
        .copied()
        .cycle()
        .take(1 << 20)
        .collect();
    let mut reader = client.try_clone().unwrap();
    let writer = {
        let text = text.clone();
        thread::spawn(move || {
            client.write_all(&text).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        })
    };
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).unwrap();
    assert!(answer == text);
    writer.join().unwrap();
    server.join().unwrap();
    let lines = trace(&mut tap, "closed");
    let faults = lines
        .iter()
        .filter(|line| line.contains("not ZMTP: begins with `GET / HTTP"));
    assert_eq!(faults.count(), 2, "{lines:#?}");
}

#[test]
fn a_target_that_is_not_there_is_told() {
    let (mut tap, endpoint) = tap("--listen tcp://127.0.0.1:* --to ipc:///nowhere/to/be/found");
    let mut client = TcpStream::connect(endpoint.trim_start_matches("tcp://")).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let lines = trace(&mut tap, "(os error 2)");
    assert!(
        lines[1].starts_with("#1   cannot connect to ipc:///nowhere/to/be/found: "),
        "{lines:?}"
    );
}

#[test]
fn much_goes_through_in_little_memory() {
    const MESSAGE: usize = 16 << 20;
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let target = pull.bind("tcp://127.0.0.1:*").unwrap();
    let (mut tap, endpoint) = tap(&format!("--listen tcp://127.0.0.1:* --to {target}"));
    let mut push = PushSocket::new(&context);
    push.connect(endpoint.as_str()).unwrap();
    for _ in 0..4 {
        push.send(vec![7; MESSAGE]).unwrap();
        assert_eq!(pull.recv_timeout(DEADLINE).unwrap().len(), MESSAGE);
    }
    let lines = trace(&mut tap, "…`");
    assert!(
        lines.last().unwrap().contains("part of 16777216 bytes"),
        "{lines:?}"
    );
    let peak = tap.memory_peak();
    assert!(peak < 16 << 20, "{} KiB", peak >> 10);
}

#[test]
fn the_capture_file_holds_both_directions_as_tcp() {
    let path = std::env::temp_dir().join(format!("zerowire-test-{}.pcapng", std::process::id()));
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let target = pull.bind("tcp://127.0.0.1:*").unwrap();
    let (mut tap, endpoint) = tap(&format!(
        "--listen tcp://127.0.0.1:* --to {target} --pcapng {}",
        path.display()
    ));
    let mut push = PushSocket::new(&context);
    push.connect(endpoint.as_str()).unwrap();
    push.send("captured").unwrap();
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"captured");
    drop(push);
    trace(&mut tap, "closed");
    tap.signal("TERM");
    tap.end().well();
    let file = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let port: u16 = endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let streams = reassembled(&file, port);
    let [to_server, to_client] = &streams;
    assert!(to_server.starts_with(&[0xff]) && to_server.windows(8).any(|bytes| bytes == b"captured"));
    assert!(to_client.starts_with(&[0xff]) && to_client.windows(4).any(|bytes| bytes == b"PULL"));
}

/// The two streams of the one connection in a file, by their sequence numbers.
fn reassembled(file: &[u8], server_port: u16) -> [Vec<u8>; 2] {
    let word = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
    let mut streams = [Vec::new(), Vec::new()];
    let mut flags_seen = 0;
    let mut kinds = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let (kind, length) = (word(rest), word(&rest[4..]) as usize);
        assert_eq!((length % 4, word(&rest[length - 4..]) as usize), (0, length));
        kinds.push(kind);
        if kind == 6 {
            let size = word(&rest[20..]) as usize;
            let packet = &rest[28..28 + size];
            assert_eq!((packet[0], packet[9]), (0x45, 6));
            let tcp = &packet[20..];
            let direction = usize::from(u16::from_be_bytes([tcp[0], tcp[1]]) == server_port);
            let sequence = u32::from_be_bytes(tcp[4..8].try_into().unwrap()) as usize;
            // After the SYN, which counts as one.
            let expected = if tcp[13] & 2 == 0 {
                streams[direction].len() + 1
            } else {
                0
            };
            assert_eq!(sequence, expected);
            streams[direction].extend_from_slice(&tcp[20..]);
            flags_seen |= tcp[13];
        }
        rest = &rest[length..];
    }
    assert_eq!((kinds[0], kinds[1], flags_seen), (0x0a0d_0d0a, 1, 0b11011));
    streams
}

#[test]
fn mistakes_are_named() {
    for arguments in [
        "tap",
        "tap --listen tcp://127.0.0.1:*",
        "tap --to tcp://127.0.0.1:1",
        "tap --listen x --to y",
    ] {
        assert_eq!(Zerowire::run(arguments, b"").code(), 2, "{arguments}");
    }
    let (_tap, endpoint) = tap("--listen tcp://127.0.0.1:* --to tcp://127.0.0.1:1");
    let ended = Zerowire::run(&format!("tap --listen {endpoint} --to tcp://127.0.0.1:1"), b"");
    assert_eq!(ended.code(), 1);
    assert!(
        ended.reason().starts_with(&format!("cannot bind {endpoint}: ")),
        "{:?}",
        ended.errors
    );
    let ended = Zerowire::run(
        "tap --listen tcp://127.0.0.1:* --to tcp://127.0.0.1:1 --pcapng /nowhere/x",
        b"",
    );
    assert_eq!(
        (ended.code(), ended.reason().starts_with("/nowhere/x: ")),
        (1, true)
    );
}
