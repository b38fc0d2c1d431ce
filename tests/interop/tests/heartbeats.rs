//! libzmq's PING is answered, so that a quiet connection with heartbeats stays up.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use zerowire_interop::{
    CALL_TIMEOUT, Cell, Deadline, Happening, Library, Libzmq, Scratch, assert_payload, matrix, payload,
};

matrix! {
    a_quiet_connection_outlives_the_heartbeat_timeout,
    pings_between_messages_disturb_nothing,
}

/// How often libzmq sends a PING.
const INTERVAL_MS: i32 = 50;
/// How long it waits for anything to come back; long enough for a busy machine.
const TIMEOUT_MS: i32 = 1000;
/// How long the connection must stay up: an unanswered PING would have ended it long before.
const QUIET: Duration = Duration::from_millis(2000);

fn a_quiet_connection_outlives_the_heartbeat_timeout(cell: Cell) {
    let scratch = Scratch::new();
    let (mut push, mut pull) = cell.sockets();
    let (libzmq, watch) = match cell.sender() {
        Library::Libzmq => (push.libzmq(), push.watch()),
        Library::Zerowire => (pull.libzmq(), pull.watch()),
    };
    with_heartbeats(libzmq.expect("one side is libzmq"), INTERVAL_MS);
    cell.join(&mut push, &mut pull, &scratch);
    watch.wait_for_handshakes(1);
    watch.assert_quiet(QUIET);
    push.send(&payload(1, 100));
    assert_payload(&pull.recv(), 1, 100);
    watch.assert_quiet(Duration::ZERO);
}

fn pings_between_messages_disturb_nothing(cell: Cell) {
    const COUNT: u64 = 50_000;
    let scratch = Scratch::new();
    let (mut push, mut pull) = cell.sockets();
    with_heartbeats(push.libzmq().or(pull.libzmq()).expect("one side is libzmq"), 1);
    cell.join(&mut push, &mut pull, &scratch);
    let sender = thread::spawn(move || {
        for index in 0..COUNT {
            // Now and then one that takes several writes.
            let size = if index % 1000 == 0 { 1 << 20 } else { 200 };
            push.send(&payload(index, size));
        }
        push
    });
    for index in 0..COUNT {
        assert_payload(&pull.recv(), index, if index % 1000 == 0 { 1 << 20 } else { 200 });
    }
    sender.join().expect("the sender");
}

/// Shows that the tests above can fail: with a peer that finishes the handshake and then says nothing.
#[test]
fn a_mute_peer_is_given_up_by_libzmq() {
    let _deadline = Deadline::start("a mute peer", 2 * CALL_TIMEOUT);
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let push = Libzmq::new(zmq::PUSH);
    with_heartbeats(&push.socket, INTERVAL_MS);
    let watch = push.watch();
    push.socket
        .connect(&format!("tcp://{}", listener.local_addr().expect("an address")))
        .expect("zmq_connect");

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
