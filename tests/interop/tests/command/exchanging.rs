//! What each socket type of the command does with sockets of libzmq: both ways, bound and connected, in every format.

use std::time::Duration;

use zerowire::SocketType;
use zerowire_interop::{Library, Libzmq, Peer};

use crate::process::Zerowire;

/// Starts a command that binds or connects, with the socket of libzmq at the other end.
fn start(binds: bool, arguments: &str, other: &mut dyn Peer) -> Zerowire {
    if binds {
        let (process, endpoint) = Zerowire::listening(&format!("{arguments} -b tcp://127.0.0.1:*"));
        other.connect(&endpoint);
        process
    } else {
        let endpoint = other.bind("tcp://127.0.0.1:*");
        Zerowire::start(&format!("{arguments} -c {endpoint}"))
    }
}

/// A socket of libzmq, which wants everything if it is one that subscribes.
fn libzmq(socket_type: SocketType) -> Box<dyn Peer> {
    let mut socket = Library::Libzmq.socket(socket_type);
    if matches!(socket_type, SocketType::Sub | SocketType::XSub) {
        socket.subscribe(b"");
    }
    socket
}

type Parts = Vec<Vec<u8>>;

/// Lines with the messages that they are.
struct Script {
    option: &'static str,
    lines: Vec<u8>,
    messages: Vec<Parts>,
}

/// Any text and any bytes but line breaks, one part each.
fn plain() -> Script {
    let long = [b'x'; 100_000];
    let texts: [&[u8]; 5] = [
        b"hello",
        b"",
        "gr\u{fc}\u{df}e".as_bytes(),
        b"\0\xff\r no text",
        &long,
    ];
    Script {
        option: "",
        lines: texts.map(|text| [text, b"\n"].concat()).concat(),
        messages: texts.map(|text| vec![text.to_vec()]).into(),
    }
}

/// Every byte, and messages of many parts.
fn hexadecimal() -> Script {
    let messages: Vec<Parts> = vec![
        vec![b"hello".into(), vec![], vec![0, 255]],
        vec![vec![]],
        vec![(0..=255).collect()],
        vec![vec![], vec![]],
        (0..100).map(|number| vec![number; 300]).collect(),
    ];
    let line = |parts: &Parts| {
        let digits = |part: &Vec<u8>| part.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        parts.iter().map(digits).collect::<Vec<_>>().join("|") + "\n"
    };
    Script {
        option: " --hex",
        lines: messages.iter().map(line).collect::<String>().into(),
        messages,
    }
}

/// Runs over both formats and bind sides.
fn in_every_way(check: impl Fn(&Script, bool)) {
    for script in [plain(), hexadecimal()] {
        check(&script, true);
        check(&script, false);
    }
}

/// Checks that all lines of a script are printed, whatever came before them.
fn check_printed(process: &mut Zerowire, script: &Script) {
    let lines = script.lines.strip_suffix(b"\n").unwrap();
    for expected in lines.split(|byte| *byte == b'\n') {
        let line = process.line();
        assert!(
            line == expected,
            "{} and not {}",
            line.escape_ascii(),
            expected.escape_ascii()
        );
    }
}

#[test]
fn libzmq_receives_what_is_sent() {
    for (command, other) in [
        ("push", SocketType::Pull),
        ("pub --wait-subscribers 1", SocketType::Sub),
        ("pub --wait-subscribers 1", SocketType::XSub),
        ("xpub --wait-subscribers 1", SocketType::Sub),
        ("xpub --wait-subscribers 1", SocketType::XSub),
    ] {
        in_every_way(|script, binds| {
            let mut peer = libzmq(other);
            let mut process = start(binds, &format!("{command}{}", script.option), &mut *peer);
            process.write(&script.lines);
            // Until then a subscriber of libzmq that was connected to has not said what it wants.
            peer.catch_up();
            for message in &script.messages {
                assert!(peer.recv() == *message, "{command} to {other}, binds: {binds}");
            }
            process.end().well();
        });
    }
}

#[test]
fn what_libzmq_sends_is_printed() {
    for (command, other) in [
        ("pull", SocketType::Push),
        ("sub", SocketType::XPub),
        ("xsub", SocketType::XPub),
    ] {
        in_every_way(|script, binds| {
            let mut peer = libzmq(other);
            let count = script.messages.len();
            let arguments = format!("{command} -n {count}{}", script.option);
            let mut process = start(binds, &arguments, &mut *peer);
            if other == SocketType::XPub {
                assert_eq!(peer.recv(), [[1]], "it subscribes to everything");
            }
            script.messages.iter().for_each(|message| peer.send(message));
            check_printed(&mut process, script);
            process.end().well();
        });
    }
}

/// A PUB of libzmq does not say who has subscribed, so it repeats itself until it is heard.
#[test]
fn what_a_publisher_of_libzmq_says_is_printed() {
    for command in ["sub -s knock -s end -s hello", "xsub -s knock -s end -s hello"] {
        for binds in [true, false] {
            let mut peer = libzmq(SocketType::Pub);
            let mut process = start(binds, command, &mut *peer);
            while process.line_within(Duration::from_millis(5)).is_none() {
                peer.send(&[b"knock".into()]);
            }
            for text in ["end of that", "not wanted", "hello world"] {
                peer.send(&[text.into(), b"part".into()]);
            }
            let mut line = process.line();
            while line == b"knock" {
                line = process.line();
            }
            assert_eq!(line, b"end of that\tpart");
            assert_eq!(process.line(), b"hello world\tpart");
            process.signal("INT");
            process.end().well();
        }
    }
}

#[test]
fn pairs_and_dealers_talk_both_ways_with_libzmq() {
    for (command, other) in [
        ("pair", SocketType::Pair),
        ("dealer", SocketType::Dealer),
        ("dealer --identity ann", SocketType::Router),
    ] {
        in_every_way(|script, binds| {
            let mut peer = libzmq(other);
            let count = script.messages.len();
            let arguments = format!("{command} -n {count}{}", script.option);
            let mut process = start(binds, &arguments, &mut *peer);
            process.write(&script.lines);
            let name = match other {
                SocketType::Router => vec![b"ann".to_vec()],
                _ => vec![],
            };
            for message in &script.messages {
                let message = [&name[..], message].concat();
                assert!(peer.recv() == message, "{command} to {other}, binds: {binds}");
            }
            for message in &script.messages {
                peer.send(&[&name[..], message].concat());
            }
            check_printed(&mut process, script);
            process.end().well();
        });
    }
}

#[test]
fn req_asks_libzmq() {
    for (other, around) in [(SocketType::Rep, 0), (SocketType::Router, 2)] {
        in_every_way(|script, binds| {
            let mut peer = libzmq(other);
            let mut process = start(binds, &format!("req{}", script.option), &mut *peer);
            process.write(&script.lines);
            for message in &script.messages {
                let request = peer.recv();
                // Before the request a ROUTER hears who asks, and an empty part.
                assert!(request[around..] == *message, "req to {other}, binds: {binds}");
                peer.send(&request);
            }
            check_printed(&mut process, script);
            process.end().well();
        });
    }
}

#[test]
fn rep_answers_libzmq() {
    for (other, around) in [(SocketType::Req, vec![]), (SocketType::Dealer, vec![vec![]])] {
        in_every_way(|script, binds| {
            let mut peer = libzmq(other);
            let count = script.messages.len();
            let arguments = format!("rep -n {count}{}", script.option);
            let mut process = start(binds, &arguments, &mut *peer);
            for message in &script.messages {
                let request = [&around[..], message].concat();
                peer.send(&request);
                assert!(peer.recv() == request, "rep to {other}, binds: {binds}");
            }
            check_printed(&mut process, script);
            process.end().well();
        });
    }
    let mut peer = libzmq(SocketType::Req);
    let mut process = start(true, "rep -m yes -m no -n 2", &mut *peer);
    for answer in ["yes", "no"] {
        peer.send(&[b"well?".into()]);
        assert_eq!(peer.recv(), [answer.as_bytes()]);
        assert_eq!(process.line(), b"well?");
    }
    process.end().well();
}

#[test]
fn router_names_and_echoes_what_libzmq_says() {
    for binds in [true, false] {
        // (type, parts before its text, the line that is printed)
        for (other, around, printed) in [
            (SocketType::Req, vec![], "6361726c||68656c6c6f"),
            (SocketType::Dealer, vec![], "6361726c|68656c6c6f"),
        ] {
            let mut peer = Libzmq::named(other, "carl");
            let mut process = start(binds, "router --echo --hex -n 1", &mut peer);
            let message = [&around[..], &[b"hello".to_vec()]].concat();
            peer.send(&message);
            assert_eq!(peer.recv(), message);
            assert_eq!(process.line(), printed.as_bytes());
            process.end().well();
        }
    }
    // Without a name it gets one: five bytes, the first of them 0.
    let mut peer = libzmq(SocketType::Dealer);
    let mut process = start(true, "router --hex -n 1", &mut *peer);
    peer.send(&[b"?".into()]);
    let line = String::from_utf8(process.line()).unwrap();
    assert!(
        line.starts_with("00") && line.ends_with("|3f") && line.len() == 13,
        "{line}"
    );
    process.end().well();
}

#[test]
fn xpub_prints_the_subscriptions_of_libzmq() {
    for other in [SocketType::Sub, SocketType::XSub] {
        let mut peer = Library::Libzmq.socket(other);
        let mut process = start(true, "xpub --hex", &mut *peer);
        peer.subscribe(b"\xab");
        assert_eq!(process.line(), b"01ab");
        process.write(b"ac\nab01|02\n");
        assert_eq!(peer.recv(), [vec![0xab, 1], vec![2]]);
        peer.unsubscribe(b"\xab");
        assert_eq!(process.line(), b"00ab");
        process.end().well();
    }
}

#[test]
fn a_subscriber_gets_from_libzmq_what_it_asked_for() {
    let mut peer = libzmq(SocketType::XPub);
    let mut process = start(false, "sub -s a -s bc", &mut *peer);
    let mut topics = [peer.recv(), peer.recv()];
    topics.sort();
    assert_eq!(topics, [[b"\x01a".to_vec()], [b"\x01bc".to_vec()]]);
    for text in ["b", "abc", "c", "bcd"] {
        peer.send(&[text.into()]);
    }
    assert_eq!(process.line(), b"abc");
    assert_eq!(process.line(), b"bcd");
    process.signal("TERM");
    process.end().well();
}

#[test]
fn over_ipc_too() {
    let mut peer = libzmq(SocketType::Pull);
    let endpoint = peer.bind("ipc://*");
    Zerowire::run(&format!("push -c {endpoint} -m over -m ipc"), b"").well();
    assert_eq!(peer.recv(), [b"over"]);
    assert_eq!(peer.recv(), [b"ipc"]);
    let (process, endpoint) = Zerowire::listening("pull -b ipc://* -n 1");
    let mut peer = libzmq(SocketType::Push);
    peer.connect(&endpoint);
    peer.send(&[b"back".into()]);
    assert_eq!(process.end().well(), "back\n");
}

#[test]
fn a_type_that_does_not_go_with_the_other_is_named() {
    let mut peer = libzmq(SocketType::Pull);
    let endpoint = peer.bind("tcp://127.0.0.1:*");
    let ended = Zerowire::run(&format!("sub -c {endpoint} --events --timeout 200ms"), b"");
    assert_eq!(ended.code(), 3);
    let told = ended.errors.iter().find(|line| line.contains("handshake_failed"));
    assert!(
        told.unwrap()
            .contains("socket type PULL of the peer does not go with SUB"),
        "{:#?}",
        ended.errors
    );
}
