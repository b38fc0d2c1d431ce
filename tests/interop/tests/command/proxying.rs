//! `zerowire proxy` with sockets of libzmq at both ends, and one that looks on.

use std::time::{Duration, Instant};

use zerowire::SocketType;
use zerowire_interop::{CALL_TIMEOUT, Library, Peer};

use crate::process::Zerowire;

/// A proxy with libzmq at both ends and at the capture.
struct Proxied {
    process: Zerowire,
    front: Box<dyn Peer>,
    back: Box<dyn Peer>,
    copies: Box<dyn Peer>,
}

/// Starts a proxy that binds both ends, or connects to them. Copies are had from the next message on.
fn proxied(pattern: &str, front: SocketType, back: SocketType, binds: bool) -> Proxied {
    let (mut front, mut back) = (Library::Libzmq.socket(front), Library::Libzmq.socket(back));
    let arguments = match binds {
        true => "--front tcp://127.0.0.1:* --back ipc://*".to_owned(),
        false => format!(
            "--front-connect {} --back-connect {}",
            front.bind("ipc://*"),
            back.bind("tcp://127.0.0.1:*")
        ),
    };
    let mut process = Zerowire::start(&format!(
        "proxy {pattern} {arguments} --capture tcp://127.0.0.1:*"
    ));
    if binds {
        front.connect(&process.told_endpoint("front"));
        back.connect(&process.told_endpoint("back"));
    }
    let mut copies = Library::Libzmq.socket(SocketType::Sub);
    copies.connect(&process.told_endpoint("capture"));
    copies.subscribe(b"");
    Proxied {
        process,
        front,
        back,
        copies,
    }
}

impl Proxied {
    /// What the front hears of the wishes of the back, which libzmq tells a peer that has connected to it only when its
    /// application calls it next.
    fn subscription(&mut self) -> Vec<Vec<u8>> {
        let until = Instant::now() + CALL_TIMEOUT;
        loop {
            self.back.catch_up();
            if let Some(parts) = self.front.recv_timeout(TURN) {
                return parts;
            }
            assert!(Instant::now() < until, "nobody hears of a subscription");
        }
    }

    /// Ends the proxy, and returns what it says at last.
    fn end(self) -> String {
        self.process.signal("TERM");
        let ended = self.process.end();
        let last = ended.errors.last().unwrap().clone();
        ended.well();
        last
    }
}

fn parts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// How long one side is waited for before the other has its turn.
const TURN: Duration = Duration::from_millis(5);
/// How many messages are sent; more than any queue holds by default.
const MANY: usize = 5_000;

#[test]
fn a_queue_takes_requests_and_replies_of_libzmq() {
    for binds in [true, false] {
        let mut proxied = proxied("queue", SocketType::Req, SocketType::Rep, binds);
        for number in 0..500 {
            let (question, answer) = (format!("question {number}"), format!("answer {number}"));
            proxied.front.send(&parts(&[&question, "", "of parts"]));
            assert_eq!(proxied.back.recv(), parts(&[&question, "", "of parts"]));
            proxied.back.send(&parts(&[&answer]));
            assert_eq!(proxied.front.recv(), parts(&[&answer]));
        }
        let last = proxied.end();
        assert!(last.starts_with("front to back 500 messages, "), "{last}");
        assert!(last.contains("; back to front 500 messages, "), "{last}");
    }
}

#[test]
fn a_queue_shares_the_requests_of_many_clients_among_workers_of_libzmq() {
    let mut proxied = proxied("queue", SocketType::Dealer, SocketType::Rep, true);
    let requests: Vec<String> = (0..MANY).map(|number| number.to_string()).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..MANY {
                let request = proxied.back.recv();
                proxied.back.send(&request);
            }
        });
        // Fewer under way than any queue holds, as replies for which there is no room are lost.
        for request in requests.chunks(100) {
            request
                .iter()
                .for_each(|text| proxied.front.send(&parts(&["", text])));
            for text in request {
                assert_eq!(proxied.front.recv(), parts(&["", text]));
            }
        }
    });
    let last = proxied.end();
    assert!(
        last.starts_with(&format!("front to back {MANY} messages, ")),
        "{last}"
    );
}

#[test]
fn a_forwarder_takes_subscriptions_of_libzmq_up_and_messages_down() {
    for binds in [true, false] {
        let mut proxied = proxied("forwarder", SocketType::XPub, SocketType::Sub, binds);
        proxied.back.subscribe(b"news");
        assert_eq!(proxied.subscription(), [b"\x01news"]);
        for number in 0..MANY {
            proxied.front.send(&parts(&["other", "dropped"]));
            proxied.front.send(&parts(&[&format!("news {number}"), "body"]));
            if number % 100 == 99 {
                // Not so many at a time that a publisher drops some.
                for number in number - 99..=number {
                    assert_eq!(proxied.back.recv(), parts(&[&format!("news {number}"), "body"]));
                }
            }
        }
        proxied.back.unsubscribe(b"news");
        assert_eq!(proxied.subscription(), [b"\x00news"]);
        proxied.end();
    }
}

#[test]
fn a_streamer_takes_the_work_of_libzmq_on_and_publishes_copies() {
    for binds in [true, false] {
        let mut proxied = proxied("streamer", SocketType::Push, SocketType::Pull, binds);
        // The copy of a message shows that copies are had; then the other ones are all there.
        let mut knocks = 0;
        while proxied.copies.recv_timeout(TURN).is_none() {
            proxied.front.send(&parts(&["knock"]));
            assert_eq!(proxied.back.recv(), parts(&["knock"]));
            knocks += 1;
        }
        let mut copied = 0;
        for number in 0..MANY {
            proxied.front.send(&parts(&[&number.to_string(), "", "work"]));
            if number % 100 < 99 {
                continue;
            }
            for number in number - 99..=number {
                let expected = parts(&[&number.to_string(), "", "work"]);
                assert_eq!(proxied.back.recv(), expected);
                let mut copy = proxied.copies.recv();
                while copy == parts(&["knock"]) {
                    copy = proxied.copies.recv();
                }
                assert_eq!(copy, expected);
                copied += 1;
            }
        }
        assert_eq!(copied, MANY);
        let last = proxied.end();
        let all = MANY + knocks;
        assert!(
            last.starts_with(&format!("front to back {all} messages, ")),
            "{last}"
        );
    }
}
