//! What the library takes from the heap: nothing for a small message in a steady flow, little for a connection.
//!
//! A counting allocator sees the whole process, so every count runs in a process of its own: each test starts this
//! binary again with itself as the only test.
#![allow(unsafe_code, clippy::unwrap_used, clippy::print_stdout)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    Context, DealerSocket, Event, Message, Monitor, Proxy, PubSocket, PullSocket, PushSocket, RepSocket,
    ReqSocket, RouterSocket, Selector, SubSocket,
};

/// The system's allocator, and how often and how much it was asked for.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

fn note(added: usize, removed: usize) {
    LIVE_BYTES.fetch_add(added as i64 - removed as i64, Ordering::Relaxed);
}

// SAFETY: every method passes its arguments on to the system's allocator as they are, so the caller's promises are kept
// to it and its promises to the caller. The counters are atomics and touch no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        note(layout.size(), 0);
        // SAFETY: see the impl.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        note(layout.size(), 0);
        // SAFETY: see the impl.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        note(new_size, layout.size());
        // SAFETY: see the impl.
        unsafe { System.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: see the impl.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const DEADLINE: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 1000;

/// Runs a test alone in a process, which may open enough descriptors.
fn alone(test: &str, body: impl FnOnce()) {
    const CHILD: &str = "ZEROWIRE_FOOTPRINT_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return body();
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 4096 && exec timeout 120 \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    print!("{out}");
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "the test ran in the child: {out}");
}

/// Messages of 64 bytes through a connected pair, in bursts that fit the queues.
fn exchange(push: &mut PushSocket, pull: &mut PullSocket, bursts: u32, burst: u32) {
    let body = [7; 64];
    for _ in 0..bursts {
        for _ in 0..burst {
            push.send_timeout(&body, DEADLINE).unwrap();
        }
        for _ in 0..burst {
            assert_eq!(pull.recv_timeout(DEADLINE).unwrap().len(), 64);
        }
    }
}

fn pair(endpoint: &str) -> (PushSocket, PullSocket) {
    let context = Context::new();
    // A sign of life now and then is no message, and may allocate.
    let pull = PullSocket::builder(&context).heartbeat(Duration::ZERO);
    let push = PushSocket::builder(&context).heartbeat(Duration::ZERO);
    let (mut pull, mut push) = (pull.build().unwrap(), push.build().unwrap());
    let endpoint = pull.bind(endpoint).unwrap();
    push.connect(&endpoint).unwrap();
    (push, pull)
}

/// Allocations of 100,000 messages in bursts, by one thread.
fn count_in_bursts(endpoint: &str, burst: u32) -> u64 {
    let (mut push, mut pull) = pair(endpoint);
    exchange(&mut push, &mut pull, 100_000 / burst, burst);
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    exchange(&mut push, &mut pull, 100_000 / burst, burst);
    ALLOCATIONS.load(Ordering::SeqCst) - before
}

/// Allocations of 100,000 messages between two threads that go as fast as they can.
fn count_in_a_stream(endpoint: &str) -> u64 {
    const WARM_UP: u64 = 300_000;
    const COUNTED: u64 = 100_000;
    const REST: u64 = 50_000;
    let (mut push, mut pull) = pair(endpoint);
    let sender = thread::spawn(move || {
        for _ in 0..WARM_UP + COUNTED + REST {
            push.send_timeout(&[7; 64], DEADLINE).unwrap();
        }
        push
    });
    let mut take = |count| {
        for _ in 0..count {
            assert_eq!(pull.recv_timeout(DEADLINE).unwrap().len(), 64);
        }
    };
    take(WARM_UP);
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    take(COUNTED);
    let count = ALLOCATIONS.load(Ordering::SeqCst) - before;
    take(REST);
    drop(sender.join().unwrap());
    count
}

/// The counts of several ways to send. Each has to come to zero.
///
/// What circulates between the threads grows to the most that was ever on its way at once, and on a busy machine a new
/// record may come late: that is one allocation, not one for each message. So each way has some tries, of 100,000 messages
/// each, to show that it allocates nothing at all; one allocation in a hundred thousand messages, if it came every time,
/// would fail the test.
fn assert_nothing_allocated(endpoint: &str) {
    let ways: [(&str, &dyn Fn() -> u64); 4] = [
        ("one at a time", &|| count_in_bursts(endpoint, 1)),
        ("in bursts of 10", &|| count_in_bursts(endpoint, 10)),
        ("in bursts of 500", &|| count_in_bursts(endpoint, 500)),
        ("in a stream", &|| count_in_a_stream(endpoint)),
    ];
    for (way, count) in ways {
        let mut counts = Vec::new();
        while counts.last() != Some(&0) {
            assert!(
                counts.len() < TRIES,
                "{way} over {endpoint}: {counts:?} allocations"
            );
            counts.push(count());
        }
    }
}

const TRIES: usize = 8;

#[test]
fn a_small_message_over_inproc_allocates_nothing() {
    alone("a_small_message_over_inproc_allocates_nothing", || {
        assert_nothing_allocated("inproc://footprint")
    });
}

#[test]
fn a_small_message_over_tcp_allocates_nothing() {
    alone("a_small_message_over_tcp_allocates_nothing", || {
        assert_nothing_allocated("tcp://127.0.0.1:*")
    });
}

#[test]
fn a_small_message_over_ipc_allocates_nothing() {
    alone("a_small_message_over_ipc_allocates_nothing", || {
        assert_nothing_allocated("ipc://*")
    });
}

/// A streamer passes on the frames of messages that need not be looked into. Only where the memory that was read into ends in
/// the middle of a message, that one has to be taken out, and would take memory of its own.
#[test]
fn most_messages_through_a_streamer_allocate_nothing() {
    alone("most_messages_through_a_streamer_allocate_nothing", || {
        const BURSTS: u64 = 500;
        const BURST: u64 = 100;
        /// Longer than what a message holds inline.
        const FRAME: &[u8; 202] = &{
            let mut frame = [7; 202];
            (frame[0], frame[1]) = (0, 200);
            frame
        };
        let context = Context::new();
        let front = PullSocket::builder(&context).heartbeat(Duration::ZERO);
        let back = PushSocket::builder(&context).heartbeat(Duration::ZERO);
        let (mut front, mut back) = (front.build().unwrap(), back.build().unwrap());
        let source = front.bind("tcp://127.0.0.1:*").unwrap().to_string();
        let sink = back.bind("tcp://127.0.0.1:*").unwrap().to_string();
        let proxy = Proxy::streamer(front, back).spawn().unwrap();
        let (mut source, mut sink) = (raw_peer(&source, PUSH_READY), raw_peer(&sink, PULL_READY));
        let burst = FRAME.repeat(BURST as usize);
        let mut passed_on = vec![0; burst.len()];
        let mut exchange = || {
            for _ in 0..BURSTS {
                source.write_all(&burst).unwrap();
                sink.read_exact(&mut passed_on).unwrap();
                assert!(passed_on == burst);
            }
        };
        exchange();
        let before = ALLOCATIONS.load(Ordering::SeqCst);
        exchange();
        let count = ALLOCATIONS.load(Ordering::SeqCst) - before;
        println!(
            "{count} allocations for {} messages through a streamer",
            BURSTS * BURST
        );
        assert!(count < BURSTS * BURST / 2, "{count} allocations");
        let flow = proxy.stop().unwrap().stats.front_to_back;
        assert_eq!(
            (flow.messages, flow.bytes),
            (2 * BURSTS * BURST, 2 * BURSTS * BURST * 200)
        );
    });
}

/// A raw peer that has shaken hands. It keeps nothing on the heap.
fn raw_peer(endpoint: &str, ready: &[u8]) -> TcpStream {
    shake_hands(
        TcpStream::connect(endpoint.strip_prefix("tcp://").unwrap()).unwrap(),
        ready,
    )
}

fn shake_hands(mut raw: TcpStream, ready: &[u8]) -> TcpStream {
    raw.set_nodelay(true).unwrap();
    raw.set_read_timeout(Some(DEADLINE)).unwrap();
    raw.set_write_timeout(Some(DEADLINE)).unwrap();
    let mut greeting = [0; 64];
    (greeting[0], greeting[9], greeting[10], greeting[11]) = (0xff, 0x7f, 3, 1);
    greeting[12..16].copy_from_slice(b"NULL");
    raw.write_all(&greeting).unwrap();
    raw.write_all(ready).unwrap();
    // Greeting and READY of a socket whose type has four letters.
    let mut theirs = [0; 64 + 2 + PUSH_READY.len() - 2];
    raw.read_exact(&mut theirs).unwrap();
    assert_eq!(&theirs[66..72], b"\x05READY");
    raw
}

const PUSH_READY: &[u8; 28] = b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH";
const PULL_READY: &[u8; 28] = b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PULL";

fn wait_for_handshake(monitor: &Monitor) {
    let end = Instant::now() + DEADLINE;
    while let Some(event) = monitor.recv_timeout(end.saturating_duration_since(Instant::now())) {
        match event {
            Event::HandshakeSucceeded { .. } => return,
            Event::HandshakeFailed { reason, .. } | Event::Disconnected { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }
    panic!("no handshake in time");
}

fn wait_for_end(monitor: &Monitor) {
    let end = Instant::now() + DEADLINE;
    while let Some(event) = monitor.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if matches!(event, Event::Disconnected { .. }) {
            return;
        }
    }
    panic!("the connection does not end in time");
}

/// Connects so many raw peers, with their place made before counting starts.
fn connect_all(endpoint: &str, ready: &[u8], monitor: &Monitor, peers: &mut Vec<TcpStream>) {
    assert!(peers.capacity() >= CONNECTIONS);
    for _ in 0..CONNECTIONS {
        peers.push(raw_peer(endpoint, ready));
        wait_for_handshake(monitor);
    }
}

fn live() -> i64 {
    LIVE_BYTES.load(Ordering::SeqCst)
}

#[test]
fn a_connection_of_a_pull_stays_small() {
    alone("a_connection_of_a_pull_stays_small", || {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let monitor = pull.monitor();
        let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap().to_string();
        let mut peers = Vec::with_capacity(CONNECTIONS + 1);
        // What the socket needs once, whoever comes, is not the connection's.
        peers.push(raw_peer(&endpoint, PUSH_READY));
        wait_for_handshake(&monitor);
        talk_to_pull(&mut peers, &mut pull);
        peers.clear();
        wait_for_end(&monitor);

        let before = live();
        connect_all(&endpoint, PUSH_READY, &monitor, &mut peers);
        // The socket has seen all of them.
        assert!(pull.try_recv().is_err());
        let silent = (live() - before) / CONNECTIONS as i64;
        talk_to_pull(&mut peers, &mut pull);
        let used = (live() - before) / CONNECTIONS as i64;
        println!("heap of a PULL per connection: {silent} bytes before traffic, {used} after");
        assert!(silent <= 4096, "{silent} bytes a connection before traffic");
        assert!(used <= 8192, "{used} bytes a connection after traffic");
    });
}

/// Each peer sends a few messages, which are received.
fn talk_to_pull(peers: &mut [TcpStream], pull: &mut PullSocket) {
    let mut bytes = [7; 66];
    (bytes[0], bytes[1]) = (0, 64);
    for _ in 0..5 {
        for peer in &mut *peers {
            peer.write_all(&bytes).unwrap();
        }
        for _ in 0..peers.len() {
            assert_eq!(pull.recv_timeout(DEADLINE).unwrap().len(), 64);
        }
    }
    assert!(pull.try_recv().is_err());
}

#[test]
fn a_connection_of_a_push_stays_small() {
    alone("a_connection_of_a_push_stays_small", || {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        let endpoint = push.bind("tcp://127.0.0.1:*").unwrap().to_string();
        let mut peers = Vec::with_capacity(CONNECTIONS + 1);
        peers.push(raw_peer(&endpoint, PULL_READY));
        wait_for_handshake(&monitor);
        talk_to_push(&mut peers, &mut push);
        peers.clear();
        wait_for_end(&monitor);
        // Until the socket has forgotten it, messages may still go to the first peer.
        let end = Instant::now() + DEADLINE;
        while push.try_send("nobody").is_ok() {
            assert!(Instant::now() < end, "the first peer goes");
        }

        let before = live();
        connect_all(&endpoint, PULL_READY, &monitor, &mut peers);
        // The socket has seen all of them when each has got a message.
        let silent = (live() - before) / CONNECTIONS as i64;
        talk_to_push(&mut peers, &mut push);
        let used = (live() - before) / CONNECTIONS as i64;
        println!("heap of a PUSH per connection: {silent} bytes before traffic, {used} after");
        assert!(silent <= 4096, "{silent} bytes a connection before traffic");
        assert!(used <= 8192, "{used} bytes a connection after traffic");
    });
}

/// Each peer gets a few messages.
fn talk_to_push(peers: &mut [TcpStream], push: &mut PushSocket) {
    let mut bytes = [0; 66];
    for _ in 0..5 {
        for _ in 0..peers.len() {
            push.send_timeout(&[7; 64], DEADLINE).unwrap();
        }
        for peer in &mut *peers {
            peer.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes[..3], [0, 64, 7]);
        }
    }
}

/// Whoever asks and does not listen to the answers costs a bounded amount of memory.
#[test]
fn a_flood_of_pings_does_not_fill_the_heap() {
    alone("a_flood_of_pings_does_not_fill_the_heap", || {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let monitor = pull.monitor();
        let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap().to_string();
        let mut raw = raw_peer(&endpoint, PUSH_READY);
        wait_for_handshake(&monitor);
        raw.set_nonblocking(true).unwrap();
        const PING: &[u8; 25] = b"\x04\x17\x04PING\0\0sixteen bytes!!!";
        let flood = PING.repeat(1000);
        let before = live();
        let (mut sent, mut stalls, mut most) = (0usize, 0, 0);
        while sent < 64 << 20 && stalls < 300 {
            match raw.write(&flood[sent % flood.len()..]) {
                Ok(count) => (sent, stalls) = (sent + count, 0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    stalls += 1;
                    // Gives the I/O thread time: nothing comes here.
                    assert!(pull.recv_timeout(Duration::from_millis(1)).is_err());
                }
                // Being disconnected is an answer too.
                Err(_) => break,
            }
            most = most.max(live() - before);
        }
        println!("{sent} bytes of PING sent, at most {most} bytes of heap more than before");
        assert!(most < 1 << 20, "{most} bytes");
    });
}

/// A frame that is announced and does not come costs what has come of it.
#[test]
fn an_announced_size_takes_no_memory() {
    alone("an_announced_size_takes_no_memory", || {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let monitor = pull.monitor();
        let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap().to_string();
        let mut peers: Vec<TcpStream> = Vec::with_capacity(100);
        let before = live();
        for _ in 0..100 {
            let mut raw = raw_peer(&endpoint, PUSH_READY);
            wait_for_handshake(&monitor);
            raw.write_all(b"\x02\0\0\0\0\x04\0\0\0only this of 64 MiB")
                .unwrap();
            // A PING would have to come behind the frame, so another connection tells that these bytes were read.
            peers.push(raw);
        }
        let mut other = raw_peer(&endpoint, PUSH_READY);
        other.write_all(b"\0\x04done").unwrap();
        let message: Message = pull.recv_timeout(DEADLINE).unwrap();
        assert_eq!(message.as_bytes(), b"done");
        let each = (live() - before) / 100;
        println!("{each} bytes for each frame of 64 MiB that was announced");
        assert!(each < 32 * 1024, "{each} bytes");
    });
}

/// Threads, descriptors and bytes on the heap of this process.
#[cfg(target_os = "linux")]
fn holdings() -> (usize, usize, i64) {
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"), live())
}

/// Sockets of all kinds over a transport, made, used and dropped.
#[cfg(target_os = "linux")]
fn live_and_die(context: &Context, endpoint: &str) {
    let mut pull = PullSocket::new(context);
    let monitor = pull.monitor();
    let bound = pull.bind(endpoint).unwrap();
    let mut push = PushSocket::new(context);
    push.connect(&bound).unwrap();
    push.connect("inproc://nobody").unwrap();
    let mut selector = Selector::new();
    selector.receive((), &mut pull).unwrap();
    push.send(vec![7; 10_000]).unwrap();
    if selector.wait_timeout(DEADLINE).unwrap().is_empty() {
        panic!("nothing comes");
    }
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().len(), 10_000);
    drop((selector, monitor));

    let mut publisher = PubSocket::new(context);
    let bound = publisher.bind(endpoint.replace("round", "published")).unwrap();
    let mut subscriber = SubSocket::new(context);
    subscriber.subscribe("a").unwrap();
    subscriber.connect(&bound).unwrap();
    publisher.wait_for_subscribers(1, DEADLINE).unwrap();
    publisher.send("a message").unwrap();
    assert_eq!(
        subscriber.recv_timeout(DEADLINE).unwrap().as_bytes(),
        b"a message"
    );

    let mut rep = RepSocket::new(context);
    let bound = rep.bind(endpoint.replace("round", "asked")).unwrap();
    let mut req = ReqSocket::new(context);
    req.connect(&bound).unwrap();
    req.send("a question").unwrap();
    assert_eq!(rep.recv_timeout(DEADLINE).unwrap().as_bytes(), b"a question");
    rep.send("an answer").unwrap();
    assert_eq!(req.recv_timeout(DEADLINE).unwrap().as_bytes(), b"an answer");
}

/// Checks that many rounds leave behind what a few do.
#[cfg(target_os = "linux")]
fn assert_nothing_left_behind(mut round: impl FnMut()) {
    const WARM_UP: usize = 100;
    const ROUNDS: usize = 1000;
    /// Less than a byte of each socket.
    const SLACK_BYTES: i64 = 4096;
    for _ in 0..WARM_UP {
        round();
    }
    let (threads, descriptors, bytes) = holdings();
    for _ in 0..ROUNDS {
        round();
    }
    // What dropped sockets leave to the I/O thread is gone soon after.
    let end = Instant::now() + DEADLINE;
    loop {
        let now = holdings();
        if now.0 <= threads && now.1 <= descriptors && now.2 <= bytes + SLACK_BYTES {
            return;
        }
        assert!(
            Instant::now() < end,
            "{now:?}, and before {:?}",
            (threads, descriptors, bytes)
        );
        thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_contexts_leave_nothing_behind() {
    alone("a_thousand_contexts_leave_nothing_behind", || {
        assert_nothing_left_behind(|| {
            let context = Context::new();
            for endpoint in ["inproc://round", "ipc://*", "tcp://127.0.0.1:0"] {
                live_and_die(&context, endpoint);
            }
        });
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_thousand_sockets_leave_nothing_behind_in_their_context() {
    alone("a_thousand_sockets_leave_nothing_behind_in_their_context", || {
        let context = Context::new();
        assert_nothing_left_behind(|| {
            for endpoint in ["inproc://round", "ipc://*", "tcp://127.0.0.1:0"] {
                live_and_die(&context, endpoint);
            }
        });
    });
}

/// Peers that come and go while the application does not look at its socket, which has this monitor. `visit` is such a peer.
fn assert_bounded(monitor: &Monitor, mut visit: impl FnMut()) {
    const WARM_UP: usize = 1000;
    const VISITS: usize = 4000;
    /// What some hundred peers leave, until it is found to be void. All of them would leave ten times as much.
    const SLACK_BYTES: i64 = 512 * 1024;
    let mut come_and_go = |visits| {
        for _ in 0..visits {
            visit();
            wait_for_end(monitor);
        }
    };
    come_and_go(WARM_UP);
    let before = live();
    come_and_go(VISITS);
    let grown = live() - before;
    println!("{grown} bytes for {VISITS} peers that are gone");
    assert!(grown < SLACK_BYTES, "{grown} bytes");
}

#[test]
fn peers_that_come_and_go_unseen_leave_nothing_with_a_router() {
    alone(
        "peers_that_come_and_go_unseen_leave_nothing_with_a_router",
        || {
            let context = Context::new();
            let mut router = RouterSocket::new(&context);
            let monitor = router.monitor();
            for endpoint in ["inproc://router", "tcp://127.0.0.1:*"] {
                let endpoint = router.bind(endpoint).unwrap();
                assert_bounded(&monitor, || {
                    let mut dealer = DealerSocket::new(&context);
                    let monitor = dealer.monitor();
                    dealer.connect(&endpoint).unwrap();
                    wait_for_handshake(&monitor);
                });
            }
        },
    );
}

/// A part of a socket that nobody uses is told of peers as the other one is.
#[test]
fn peers_that_come_and_go_leave_nothing_with_an_unused_sender() {
    alone(
        "peers_that_come_and_go_leave_nothing_with_an_unused_sender",
        || {
            let context = Context::new();
            let mut router = RouterSocket::new(&context);
            let monitor = router.monitor();
            let endpoint = router.bind("tcp://127.0.0.1:*").unwrap();
            let (_sender, mut receiver) = router.into_split();
            assert_bounded(&monitor, || {
                let mut dealer = DealerSocket::new(&context);
                dealer.connect(&endpoint).unwrap();
                dealer.send("a visit").unwrap();
                receiver.recv_from_timeout(DEADLINE).unwrap();
            });
        },
    );
}

#[test]
fn subscribers_that_come_and_go_unseen_leave_nothing_with_a_publisher() {
    alone(
        "subscribers_that_come_and_go_unseen_leave_nothing_with_a_publisher",
        || {
            let context = Context::new();
            let mut publisher = PubSocket::new(&context);
            let monitor = publisher.monitor();
            for endpoint in ["inproc://publisher", "tcp://127.0.0.1:*"] {
                let endpoint = publisher.bind(endpoint).unwrap();
                assert_bounded(&monitor, || {
                    let mut subscriber = SubSocket::new(&context);
                    subscriber.subscribe("a topic").unwrap();
                    let monitor = subscriber.monitor();
                    subscriber.connect(&endpoint).unwrap();
                    wait_for_handshake(&monitor);
                });
            }
            // Who comes after all that is heard.
            let mut subscriber = SubSocket::new(&context);
            subscriber.subscribe("a topic").unwrap();
            subscriber.connect("inproc://publisher").unwrap();
            publisher.wait_for_subscribers(1, DEADLINE).unwrap();
            assert_eq!(publisher.send("a topic").unwrap().matched, 1);
            assert_eq!(subscriber.recv_timeout(DEADLINE).unwrap().as_bytes(), b"a topic");
        },
    );
}
