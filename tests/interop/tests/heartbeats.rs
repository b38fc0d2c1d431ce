//! libzmq's PING is answered, so that a quiet connection with heartbeats stays up, and disturbs no traffic.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use zerowire::{Context, Event, PullSocket, PushSocket, SocketType};
use zerowire_interop::{
    CALL_TIMEOUT, Cell, Deadline, Flow, Happening, Library, Libzmq, Peer, Place, ROLES, Scratch, Side,
    Transport, Watch, matrix,
};

matrix! {
    every_pair: pings_between_messages_disturb_nothing,
}

/// How often libzmq sends a PING.
const INTERVAL_MS: i32 = 50;
/// How long it waits for anything to come back; long enough for a busy machine.
const TIMEOUT_MS: i32 = 1000;
/// How long the connection must stay up: an unanswered PING would have ended it long before.
const QUIET: Duration = Duration::from_millis(2500);

#[test]
fn quiet_connections_of_every_pair_outlive_the_heartbeat_timeout_over_tcp() {
    quiet_connections_of_every_pair_outlive_the_heartbeat_timeout(Transport::Tcp);
}

#[test]
fn quiet_connections_of_every_pair_outlive_the_heartbeat_timeout_over_ipc() {
    quiet_connections_of_every_pair_outlive_the_heartbeat_timeout(Transport::Ipc);
}

/// All at once, because they have to be waited for.
#[track_caller]
fn quiet_connections_of_every_pair_outlive_the_heartbeat_timeout(transport: Transport) {
    let _deadline = Deadline::start("quiet connections", 4 * CALL_TIMEOUT);
    let scratch = Scratch::new();
    let mut connections = Vec::new();
    for (pair, zerowire) in ROLES {
        for zerowire_binds in [false, true] {
            let cell = Cell {
                pair: *pair,
                zerowire: *zerowire,
                other: Library::Libzmq,
                zerowire_binds,
                transport,
            };
            let (mut first, mut second, watch) = sides(cell, INTERVAL_MS);
            cell.join(&mut first, &mut second, &scratch);
            watch.wait_for_handshakes(1);
            connections.push((cell, first, second, watch));
        }
    }
    let end = Instant::now() + QUIET;
    for (cell, _, _, watch) in &connections {
        let left = end.saturating_duration_since(Instant::now());
        assert_eq!(watch.next(left), None, "{cell:?} was to stay as it is");
    }
    for (cell, first, second, watch) in &mut connections {
        cell.converse(first, second, (1, 1), |_| 100);
        assert_eq!(watch.next(Duration::ZERO), None, "{cell:?} was to stay as it is");
    }
}

fn pings_between_messages_disturb_nothing(cell: Cell) {
    let count = match cell.pair.flow() {
        Flow::InTurns => 500,
        Flow::OneWay | Flow::BothWays => 5_000,
    };
    let scratch = Scratch::new();
    let (mut first, mut second, watch) = sides(cell, 1);
    cell.join(&mut first, &mut second, &scratch);
    watch.wait_for_handshakes(1);
    cell.converse(&mut first, &mut second, (count, 200), |index| {
        match index % 1000 {
            // Now and then one that takes several writes.
            500 => 1 << 20,
            _ => 200,
        }
    });
    watch.assert_quiet(Duration::ZERO);
}

/// Sockets that are to be connected, of which libzmq's sends heartbeats, and the events of that one.
fn sides(cell: Cell, interval_ms: i32) -> (Side, Side, Watch) {
    let place = cell.zerowire.other();
    let libzmq = Libzmq::named(cell.socket_type(place), place.name());
    with_heartbeats(&libzmq.socket, interval_ms);
    let watch = libzmq.watch();
    let (libzmq, zerowire) = (cell.side_of(place, Box::new(libzmq)), cell.side(cell.zerowire));
    match cell.zerowire {
        Place::First => (zerowire, libzmq, watch),
        Place::Second => (libzmq, zerowire, watch),
    }
}

/// libzmq does not read, and so answers no PING, while its application takes nothing.
#[test]
fn a_busy_libzmq_is_not_given_up() {
    const COUNT: u32 = 1000;
    const OFTEN: Duration = Duration::from_millis(20);
    let _deadline = Deadline::start("a busy peer", 4 * CALL_TIMEOUT);
    for transport in [Transport::Tcp, Transport::Ipc] {
        let scratch = Scratch::new();
        let mut pull = Libzmq::new(SocketType::Pull);
        pull.socket.set_rcvhwm(1).expect("RCVHWM");
        let endpoint = pull.bind(&transport.fresh(&scratch));
        let push = PushSocket::builder(&Context::new()).heartbeat(OFTEN);
        let mut push = push.heartbeat_timeout(OFTEN).build().expect("options");
        let monitor = push.monitor();
        Peer::connect(&mut push, &endpoint);
        let mut ends = 0;
        let mut watch = |time: Duration| {
            let end = Instant::now() + time;
            while let Some(event) = monitor.recv_timeout(end.saturating_duration_since(Instant::now())) {
                ends += u32::from(matches!(event, Event::Disconnected { .. }));
            }
        };
        // It is asked while it still answers, and a hundred times when it does not.
        watch(10 * OFTEN);
        for number in 0..COUNT {
            Peer::send(&mut push, &[number.to_be_bytes().to_vec()]);
        }
        watch(100 * OFTEN);
        for number in 0..COUNT {
            assert_eq!(Peer::recv(&mut pull), [number.to_be_bytes()]);
        }
        assert_eq!(ends, 0);
    }
}

/// The other way round: it hears a PING of ours each second, while its own lie behind messages that nobody takes.
#[test]
fn a_busy_zerowire_is_not_given_up_by_libzmq() {
    const COUNT: u32 = 1000;
    const PATIENCE_MS: i32 = 2 * TIMEOUT_MS;
    let _deadline = Deadline::start("a busy peer", 4 * CALL_TIMEOUT);
    let transports = [Transport::Tcp, Transport::Ipc];
    let mut connections = transports.map(|transport| {
        let scratch = Scratch::new();
        let mut push = Libzmq::new(SocketType::Push);
        with_heartbeats(&push.socket, INTERVAL_MS);
        push.socket
            .set_heartbeat_timeout(PATIENCE_MS)
            .expect("HEARTBEAT_TIMEOUT");
        let watch = push.watch();
        let endpoint = push.bind(&transport.fresh(&scratch));
        let pull = PullSocket::builder(&Context::new()).receive_hwm(1);
        let mut pull = pull.build().expect("options");
        Peer::connect(&mut pull, &endpoint);
        assert_eq!(watch.next(CALL_TIMEOUT), Some(Happening::HandshakeSucceeded));
        for number in 0..COUNT {
            Peer::send(&mut push, &[number.to_be_bytes().to_vec()]);
        }
        (scratch, push, pull, watch)
    });
    let end = Instant::now() + 2 * Duration::from_millis(PATIENCE_MS as u64);
    for (_, _, pull, watch) in &mut connections {
        assert_eq!(watch.next(end.saturating_duration_since(Instant::now())), None);
        for number in 0..COUNT {
            assert_eq!(Peer::recv(pull), [number.to_be_bytes()]);
        }
        assert_eq!(watch.next(Duration::ZERO), None);
    }
}

/// Shows that the tests above can fail: with a peer that finishes the handshake and then says nothing.
#[test]
fn a_mute_peer_is_given_up_by_libzmq() {
    let _deadline = Deadline::start("a mute peer", 2 * CALL_TIMEOUT);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let mut push = Libzmq::new(SocketType::Push);
    with_heartbeats(&push.socket, INTERVAL_MS);
    let watch = push.watch();
    push.connect(&format!("tcp://{}", listener.local_addr().expect("an address")));

    let (mut stream, _) = listener.accept().expect("accept");
    stream.set_read_timeout(Some(CALL_TIMEOUT)).expect("a timeout");
    let mut greeting = [0; 64];
    (greeting[0], greeting[9], greeting[10], greeting[11]) = (0xff, 0x7f, 3, 1);
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting).expect("write");
    stream.read_exact(&mut [0; 64]).expect("read a greeting");
    stream
        .write_all(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PULL")
        .expect("write");

    assert_eq!(watch.next(CALL_TIMEOUT), Some(Happening::HandshakeSucceeded));
    assert_eq!(watch.next(CALL_TIMEOUT), Some(Happening::Disconnected));
}

fn with_heartbeats(socket: &zmq::Socket, interval_ms: i32) {
    socket.set_heartbeat_ivl(interval_ms).expect("HEARTBEAT_IVL");
    socket
        .set_heartbeat_timeout(TIMEOUT_MS)
        .expect("HEARTBEAT_TIMEOUT");
    socket.set_heartbeat_ttl(TIMEOUT_MS).expect("HEARTBEAT_TTL");
}
