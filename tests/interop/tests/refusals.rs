//! Peers that zerowire cannot work with are refused, with a reason, and harm nobody else.

use std::time::Duration;

use zerowire::{ProtocolError, Reason, SocketType};
use zerowire_interop::{
    CALL_TIMEOUT, Deadline, Library, Libzmq, Pull, Push, Scratch, Transport, assert_payload, payload,
};

const TRANSPORTS: [Transport; 2] = [Transport::Tcp, Transport::Ipc];
const MESSAGES: u64 = 2000;

/// What libzmq calls a type that does not go with PULL, and what zerowire calls it.
const NO_PUSH: [(zmq::SocketType, SocketType); 8] = [
    (zmq::PUB, SocketType::Pub),
    (zmq::SUB, SocketType::Sub),
    (zmq::PULL, SocketType::Pull),
    (zmq::REQ, SocketType::Req),
    (zmq::REP, SocketType::Rep),
    (zmq::DEALER, SocketType::Dealer),
    (zmq::ROUTER, SocketType::Router),
    (zmq::PAIR, SocketType::Pair),
];

#[test]
fn a_bound_pull_refuses_every_other_type_and_serves_on() {
    let _deadline = Deadline::start("a bound PULL", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let (mut good, mut pull) = (Push::new(Library::Libzmq), Pull::new(Library::Zerowire));
        let endpoint = pull.bind(&transport.fresh(&scratch));
        let (unharmed, watch) = (good.watch(), pull.watch());
        good.connect(&endpoint);
        unharmed.wait_for_handshakes(1);
        for (libzmq_type, theirs) in NO_PUSH {
            let wrong = Libzmq::new(libzmq_type);
            wrong.socket.set_linger(0).expect("LINGER");
            wrong.socket.connect(&endpoint).expect("zmq_connect");
            expect(
                &watch,
                ProtocolError::SocketTypeMismatch {
                    ours: SocketType::Pull,
                    theirs,
                },
            );
        }
        let again = Libzmq::new(zmq::PUB);
        again.socket.connect(&endpoint).expect("zmq_connect");
        // Traffic goes on while the PUB keeps trying.
        traffic(&mut good, &mut pull);
        unharmed.assert_quiet(Duration::ZERO);
    }
}

#[test]
fn a_bound_push_refuses_every_other_type_and_serves_on() {
    let _deadline = Deadline::start("a bound PUSH", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let (mut push, mut good) = (Push::new(Library::Zerowire), Pull::new(Library::Libzmq));
        let endpoint = push.bind(&transport.fresh(&scratch));
        let (unharmed, watch) = (good.watch(), push.watch());
        good.connect(&endpoint);
        unharmed.wait_for_handshakes(1);
        for (libzmq_type, theirs) in [(zmq::SUB, SocketType::Sub), (zmq::PUSH, SocketType::Push)] {
            let wrong = Libzmq::new(libzmq_type);
            wrong.socket.set_linger(0).expect("LINGER");
            wrong.socket.connect(&endpoint).expect("zmq_connect");
            expect(
                &watch,
                ProtocolError::SocketTypeMismatch {
                    ours: SocketType::Push,
                    theirs,
                },
            );
        }
        traffic(&mut push, &mut good);
        unharmed.assert_quiet(Duration::ZERO);
    }
}

#[test]
fn a_connected_pull_refuses_a_publisher_and_hears_the_others() {
    let _deadline = Deadline::start("a connected PULL", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        let scratch = Scratch::new();
        let (mut good, mut pull, wrong) = (
            Push::new(Library::Libzmq),
            Pull::new(Library::Zerowire),
            Libzmq::new(zmq::PUB),
        );
        let watch = pull.watch();
        pull.connect(&wrong.bind(&transport.fresh(&scratch)));
        expect(
            &watch,
            ProtocolError::SocketTypeMismatch {
                ours: SocketType::Pull,
                theirs: SocketType::Pub,
            },
        );
        pull.connect(&good.bind(&transport.fresh(&scratch)));
        traffic(&mut good, &mut pull);
    }
}

#[test]
fn a_peer_with_the_plain_mechanism_is_refused_and_harms_nobody() {
    let _deadline = Deadline::start("PLAIN", 4 * CALL_TIMEOUT);
    for transport in TRANSPORTS {
        for as_server in [false, true] {
            let scratch = Scratch::new();
            let (mut good, mut pull) = (Push::new(Library::Libzmq), Pull::new(Library::Zerowire));
            let wrong = Libzmq::new(zmq::PUSH);
            wrong.socket.set_linger(0).expect("LINGER");
            let endpoint = pull.bind(&transport.fresh(&scratch));
            let watch = pull.watch();
            if as_server {
                wrong.socket.set_plain_server(true).expect("PLAIN_SERVER");
                pull.connect(&wrong.bind(&transport.fresh(&scratch)));
            } else {
                wrong
                    .socket
                    .set_plain_username(Some("user"))
                    .expect("PLAIN_USERNAME");
                wrong
                    .socket
                    .set_plain_password(Some("password"))
                    .expect("PLAIN_PASSWORD");
                wrong.socket.connect(&endpoint).expect("zmq_connect");
            }
            let mismatch = ProtocolError::MechanismMismatch {
                ours: "NULL",
                theirs: "PLAIN".into(),
            };
            let reason = watch.wait_for_refusal();
            // libzmq 4.3.4 hangs up as soon as it has read a whole greeting with another mechanism than its own, before
            // it has sent its own greeting to the end. Then there is nothing to tell but that.
            assert!(
                reason == Reason::Protocol(mismatch) || reason == Reason::PeerClosed,
                "{reason}"
            );
            good.connect(&endpoint);
            traffic(&mut good, &mut pull);
        }
    }
}

/// libzmq retries at once and again, so the same refusal may come more than once before the next.
#[track_caller]
fn expect(watch: &zerowire_interop::Watch, error: ProtocolError) {
    let wanted = Reason::Protocol(error);
    let mut others = Vec::new();
    while others.len() < 100 {
        let reason = watch.wait_for_refusal();
        if reason == wanted {
            return;
        }
        others.push(reason);
    }
    panic!("no refusal because of `{wanted}`, but {others:?}");
}

fn traffic(push: &mut Push, pull: &mut Pull) {
    for index in 0..MESSAGES {
        push.send(&payload(index, 64));
        assert_payload(&pull.recv(), index, 64);
    }
}
