//! The proxy of the library with peers of libzmq and omq at both ends, and one that looks on.

use std::thread;
use std::time::Duration;

use zerowire::{
    Context, DealerSocket, Endpoint, Event, Proxy, PullSocket, PushSocket, RouterSocket, SocketType,
    XPubSocket, XSubSocket,
};
use zerowire_interop::{CALL_TIMEOUT, Deadline, Library, Peer, assert_payload, payload};

const OTHERS: [Library; 2] = [Library::Libzmq, Library::Omq];
const TRANSPORTS: [&str; 2] = ["tcp://127.0.0.1:*", "ipc://*"];

/// Runs over both transports, with each other library in front and behind.
fn everywhere(check: impl Fn(Library, Library, &str)) {
    let _deadline = Deadline::start("proxies", 8 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        for (front, back) in [
            (Library::Libzmq, Library::Libzmq),
            (Library::Libzmq, Library::Omq),
            (Library::Omq, Library::Libzmq),
        ] {
            check(front, back, transport);
        }
    }
}

fn connected(library: Library, socket_type: SocketType, endpoint: &Endpoint) -> Box<dyn Peer> {
    let mut peer = library.socket(socket_type);
    peer.connect(&endpoint.to_string());
    peer
}

/// Where the copies of a proxy go: to one of libzmq's pullers.
fn copies(context: &Context) -> (PushSocket, Box<dyn Peer>) {
    // As many as any of these tests passes on: what has no room is not copied.
    let mut socket = PushSocket::builder(context)
        .send_hwm(100_000)
        .build()
        .expect("in range");
    let events = socket.monitor();
    let endpoint = socket.bind("tcp://127.0.0.1:*").expect("bind");
    let peer = connected(Library::Libzmq, SocketType::Pull, &endpoint);
    while !matches!(
        events.recv_timeout(CALL_TIMEOUT).expect("the puller comes"),
        Event::HandshakeSucceeded { .. }
    ) {}
    (socket, peer)
}

#[test]
fn a_streamer_passes_everything_on_in_order_and_copies_it() {
    const COUNT: u64 = 20_000;
    let size = |index: u64| [0, 1, 100, 255, 256, 9_000][index as usize % 6];
    everywhere(|before, behind, transport| {
        let context = Context::new();
        let (mut front, mut back) = (PullSocket::new(&context), PushSocket::new(&context));
        let mut push = connected(before, SocketType::Push, &front.bind(transport).expect("bind"));
        let mut pull = connected(behind, SocketType::Pull, &back.bind(transport).expect("bind"));
        let (capture, mut copies) = copies(&context);
        let proxy = Proxy::streamer(front, back)
            .capture(capture)
            .spawn()
            .expect("spawn");
        thread::scope(|scope| {
            scope
                .spawn(|| (0..COUNT).for_each(|index| push.send(&[payload(index, size(index)), vec![1; 3]])));
            scope.spawn(|| {
                for index in 0..COUNT {
                    let parts = copies.recv();
                    assert_payload(&parts[0], index, size(index));
                }
            });
            for index in 0..COUNT {
                let parts = pull.recv();
                assert_eq!(parts.len(), 2);
                assert_payload(&parts[0], index, size(index));
            }
        });
        let end = proxy.stop().expect("the proxy ends well");
        assert_eq!(end.stats.front_to_back.messages, COUNT);
        assert_eq!((end.stats.captured, end.stats.capture_dropped), (COUNT, 0));
    });
}

#[test]
fn a_queue_shares_requests_among_workers_and_returns_each_reply_to_whoever_asked() {
    const CLIENTS: usize = 4;
    const REQUESTS: u64 = 500;
    everywhere(|clients, workers, transport| {
        let context = Context::new();
        let (mut front, mut back) = (RouterSocket::new(&context), DealerSocket::new(&context));
        let asked = front.bind(transport).expect("bind");
        let served = back.bind(transport).expect("bind");
        let proxy = Proxy::queue(front, back).spawn().expect("spawn");
        let total = CLIENTS as u64 * REQUESTS;
        thread::scope(|scope| {
            // One that answers each request at once, and one that takes several before it answers.
            let mut rep = connected(workers, SocketType::Rep, &served);
            let mut router = connected(workers, SocketType::Router, &served);
            scope.spawn(move || {
                while let Some(request) = rep.recv_timeout(CALL_TIMEOUT) {
                    if request == [b"end"] {
                        break;
                    }
                    rep.send(&request);
                }
            });
            scope.spawn(move || {
                let mut waiting = Vec::new();
                loop {
                    // A request that comes alone is answered, too.
                    match router.recv_timeout(Duration::from_millis(1)) {
                        Some(request) if request.last().is_some_and(|part| part == b"end") => break,
                        Some(request) => waiting.push(request),
                        None => waiting.drain(..).for_each(|request| router.send(&request)),
                    }
                    if waiting.len() == 3 {
                        waiting.drain(..).for_each(|request| router.send(&request));
                    }
                }
            });
            let asking: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let mut req = connected(clients, SocketType::Req, &asked);
                    scope.spawn(move || {
                        for index in 0..REQUESTS {
                            let body = payload(index * CLIENTS as u64 + client as u64, 40);
                            req.send(&[body.clone(), vec![]]);
                            assert_eq!(req.recv(), [body, vec![]], "the reply to client {client}");
                        }
                    })
                })
                .collect();
            asking
                .into_iter()
                .for_each(|client| client.join().expect("a client"));
            // Who asks in turn reaches both in turn.
            let mut last = connected(clients, SocketType::Dealer, &asked);
            last.send(&[vec![], b"end".into()]);
            last.send(&[vec![], b"end".into()]);
        });
        let stats = proxy.stop().expect("the proxy ends well").stats;
        assert_eq!(stats.front_to_back.messages, total + 2);
        assert_eq!(stats.back_to_front.messages, total);
        assert_eq!(stats.back_to_front.unroutable, 0);
    });
}

#[test]
fn a_forwarder_passes_subscriptions_up_and_what_was_asked_for_down() {
    const COUNT: u64 = 5_000;
    everywhere(|publisher, subscriber, transport| {
        let context = Context::new();
        let (mut front, mut back) = (XSubSocket::new(&context), XPubSocket::new(&context));
        let told = front.bind(transport).expect("bind");
        let heard = back.bind(transport).expect("bind");
        let proxy = Proxy::forwarder(front, back).spawn().expect("spawn");
        let mut xpub = connected(publisher, SocketType::XPub, &told);
        let mut sub = connected(subscriber, SocketType::Sub, &heard);
        sub.subscribe(b"news");
        assert_eq!(xpub.recv(), [b"\x01news"]);
        for index in 0..COUNT {
            xpub.send(&[b"noise".into()]);
            xpub.send(&[b"news".into(), payload(index, 50)]);
            // So few at a time that nobody drops any.
            if index % 50 == 49 {
                for index in index - 49..=index {
                    let parts = sub.recv();
                    assert_eq!((parts.len(), &parts[0][..]), (2, &b"news"[..]));
                    assert_payload(&parts[1], index, 50);
                }
            }
        }
        sub.unsubscribe(b"news");
        assert_eq!(xpub.recv(), [b"\x00news"]);
        proxy.stop().expect("the proxy ends well");
    });
}

#[test]
fn a_proxy_that_pauses_holds_libzmq_back_and_loses_nothing() {
    let _deadline = Deadline::start("a proxy that pauses", 4 * CALL_TIMEOUT);
    for library in OTHERS {
        let context = Context::new();
        let (mut front, mut back) = (PullSocket::new(&context), PushSocket::new(&context));
        let mut push = connected(library, SocketType::Push, &front.bind("ipc://*").expect("bind"));
        let mut pull = connected(library, SocketType::Pull, &back.bind("ipc://*").expect("bind"));
        let proxy = Proxy::streamer(front, back).spawn().expect("spawn");
        push.send(&[payload(0, 1000)]);
        assert_payload(&pull.recv()[0], 0, 1000);
        proxy.pause();
        for index in 1..900 {
            push.send(&[payload(index, 1000)]);
        }
        assert_eq!(pull.recv_timeout(Duration::from_millis(50)), None);
        assert_eq!(proxy.stats().front_to_back.messages, 1);
        proxy.resume();
        for index in 1..900 {
            assert_payload(&pull.recv()[0], index, 1000);
        }
        proxy.stop().expect("the proxy ends well");
    }
}
