//! `zerowire proxy`, between processes and between sockets of the library.

use zerowire::{Context, PubSocket, PullSocket, PushSocket, RepSocket, ReqSocket, SubSocket};

use crate::process::{DEADLINE, Zerowire};

/// Starts a proxy, and says where its ends are.
fn proxy(arguments: &str) -> (Zerowire, String, String) {
    let mut process = Zerowire::start(&format!(
        "proxy {arguments} --front tcp://127.0.0.1:* --back tcp://127.0.0.1:*"
    ));
    let front = process.told_endpoint("front");
    let back = process.told_endpoint("back");
    (process, front, back)
}

#[test]
fn a_queue_takes_requests_to_workers_and_replies_back() {
    let (proxy, front, back) = proxy("queue");
    let worker = Zerowire::start(&format!("rep -c {back} -n 2 -m done"));
    assert_eq!(
        Zerowire::run(&format!("req -c {front} -m job -n 2"), b"").well(),
        "done\ndone\n"
    );
    assert_eq!(worker.end().well(), "job\njob\n");
    proxy.signal("TERM");
    let ended = proxy.end();
    let line = ended.errors.last().unwrap().clone();
    assert_eq!(
        line,
        "front to back 2 messages, 6 bytes; back to front 2 messages, 8 bytes"
    );
    ended.well();
}

#[test]
fn a_forwarder_passes_subscriptions_up_and_messages_down() {
    let (proxy, front, back) = proxy("forwarder");
    let context = Context::new();
    let mut publisher = PubSocket::new(&context);
    publisher.connect(front.as_str()).unwrap();
    let mut sub = SubSocket::new(&context);
    sub.connect(back.as_str()).unwrap();
    sub.subscribe("a").unwrap();
    publisher.wait_for_subscribers_to("a", 1, DEADLINE).unwrap();
    publisher.send("b").unwrap();
    publisher.send("a").unwrap();
    assert_eq!(sub.recv_timeout(DEADLINE).unwrap().as_bytes(), b"a");
    proxy.signal("INT");
    proxy.end().well();
}

#[test]
fn a_streamer_passes_work_on_and_publishes_copies() {
    let (mut proxy, front, back) = proxy("streamer --capture tcp://127.0.0.1:*");
    let capture = proxy.told_endpoint("capture");
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    pull.connect(back.as_str()).unwrap();
    let mut push = PushSocket::new(&context);
    push.connect(front.as_str()).unwrap();
    let mut copies = SubSocket::new(&context);
    copies.connect(capture.as_str()).unwrap();
    copies.subscribe("").unwrap();
    copies.wait_ready(DEADLINE).unwrap();
    push.send(["work", "to do"]).unwrap();
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().part(1), Some(&b"to do"[..]));
    assert_eq!(
        copies.recv_timeout(DEADLINE).unwrap().part(1),
        Some(&b"to do"[..])
    );
    proxy.signal("TERM");
    let ended = proxy.end();
    assert!(
        ended
            .errors
            .last()
            .unwrap()
            .ends_with("; captured 1, not captured 0"),
        "{:?}",
        ended.errors
    );
    ended.well();
}

#[test]
fn both_ends_can_connect() {
    let context = Context::new();
    let mut rep = RepSocket::new(&context);
    let back = rep.bind("tcp://127.0.0.1:*").unwrap();
    let mut proxy = Zerowire::start(&format!("proxy queue --front ipc://* --back-connect {back}"));
    let front = proxy.told_endpoint("front");
    let mut req = ReqSocket::new(&context);
    req.connect(front.as_str()).unwrap();
    req.send("?").unwrap();
    let request = rep.next_timeout(DEADLINE).unwrap();
    request.reply("!").unwrap();
    assert_eq!(req.recv_timeout(DEADLINE).unwrap().as_bytes(), b"!");
    proxy.signal("TERM");
    proxy.end().well();
}

#[test]
fn figures_are_shown_as_often_as_is_asked() {
    let (mut proxy, front, back) = proxy("streamer --every 5ms");
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    pull.connect(back.as_str()).unwrap();
    let mut push = PushSocket::new(&context);
    push.connect(front.as_str()).unwrap();
    push.send("four").unwrap();
    pull.recv_timeout(DEADLINE).unwrap();
    let line = proxy.told("front to back 1 messages, 4 bytes");
    assert!(line.contains("; now "), "{line}");
}

#[test]
fn a_proxy_needs_two_ends() {
    for arguments in [
        "proxy",
        "proxy ring",
        "proxy queue",
        "proxy queue --front ipc://*",
        "proxy queue --back ipc://*",
    ] {
        assert_eq!(Zerowire::run(arguments, b"").code(), 2, "{arguments}");
    }
    let (_proxy, front, _) = proxy("queue");
    let second = Zerowire::run(&format!("proxy queue --front {front} --back ipc://*"), b"");
    assert_eq!(
        (second.code(), second.reason()),
        (1, format!("address `{front}` is in use").as_str())
    );
}
