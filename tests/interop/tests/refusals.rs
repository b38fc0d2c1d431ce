//! Peers that zerowire cannot work with are refused, with a reason, and harm nobody else.

use std::time::Duration;

use zerowire::{ProtocolError, Reason, SocketType};
use zerowire_interop::{
    CALL_TIMEOUT, Cell, Deadline, Happening, Library, Libzmq, Pair, Peer, Place, Scratch, TYPES, Transport,
    matrix,
};

matrix! {
    every_pair:
    wrong_peers_do_not_disturb_the_right_one,
}

matrix! {
    every_pair_zerowire_connects:
    the_right_peer_is_found_where_a_wrong_one_was,
}

#[test]
fn a_bound_socket_and_a_wrong_peer_refuse_each_other_over_tcp() {
    sockets_that_do_not_go_together_refuse_each_other(true, Transport::Tcp);
}

#[test]
fn a_bound_socket_and_a_wrong_peer_refuse_each_other_over_ipc() {
    sockets_that_do_not_go_together_refuse_each_other(true, Transport::Ipc);
}

#[test]
fn a_connected_socket_and_a_wrong_peer_refuse_each_other_over_tcp() {
    sockets_that_do_not_go_together_refuse_each_other(false, Transport::Tcp);
}

#[test]
fn a_connected_socket_and_a_wrong_peer_refuse_each_other_over_ipc() {
    sockets_that_do_not_go_together_refuse_each_other(false, Transport::Ipc);
}

/// zerowire says why. libzmq 4.3.4 has found it out by itself and closes, which it reports as the end of a connection, not
/// as a failed handshake.
#[track_caller]
fn sockets_that_do_not_go_together_refuse_each_other(zerowire_binds: bool, transport: Transport) {
    let _deadline = Deadline::start("types that do not go together", 4 * CALL_TIMEOUT);
    let scratch = Scratch::new();
    for ours in TYPES {
        for theirs in TYPES.into_iter().filter(|theirs| !ours.accepts(*theirs)) {
            until_it_is_said(&mismatch(ours, theirs), || {
                let mut zerowire = Library::Zerowire.socket(ours);
                let mut libzmq = hasty(theirs);
                let (our_watch, their_watch) = (zerowire.watch(), libzmq.watch());
                if zerowire_binds {
                    libzmq.connect(&zerowire.bind(&transport.fresh(&scratch)));
                } else {
                    zerowire.connect(&libzmq.bind(&transport.fresh(&scratch)));
                }
                let reason = our_watch.wait_for_refusal();
                assert_eq!(
                    their_watch.next(CALL_TIMEOUT),
                    Some(Happening::Disconnected),
                    "what {theirs} of libzmq says about {ours} of zerowire"
                );
                reason
            });
        }
    }
}

/// All wrong types there are come, or are connected to, while the right peer is there.
fn wrong_peers_do_not_disturb_the_right_one(cell: Cell) {
    let ours = cell.socket_type(cell.zerowire);
    let scratch = Scratch::new();
    let (mut first, mut second) = cell.sides();
    let joined = cell.join(&mut first, &mut second, &scratch);
    let (zerowire, libzmq) = match cell.zerowire {
        Place::First => (&mut first.peer, &second.peer),
        Place::Second => (&mut second.peer, &first.peer),
    };
    let (watch, unharmed) = (zerowire.watch(), libzmq.watch());
    let mut wrong_peers = Vec::new();
    let mut refused = Vec::new();
    for theirs in TYPES.into_iter().filter(|theirs| !ours.accepts(*theirs)) {
        if ours == SocketType::Pair && !cell.zerowire_binds {
            // It connects only once.
            break;
        }
        until_it_is_said(&mismatch(ours, theirs), || {
            let mut wrong = hasty(theirs);
            if cell.zerowire_binds {
                wrong.connect(&joined.endpoint);
            } else {
                zerowire.connect(&wrong.bind(&cell.transport.fresh(&scratch)));
            }
            // Whom zerowire has connected to and refused before, it refuses again at each retry.
            let reason = loop {
                let reason = watch.wait_for_refusal();
                if !refused.contains(&reason) {
                    break reason;
                }
            };
            wrong_peers.push(wrong);
            reason
        });
        refused.push(mismatch(ours, theirs));
    }
    cell.converse(&mut first, &mut second, (100, 10), |_| 64);
    while let Some(happening) = unharmed.next(Duration::ZERO) {
        // Its own handshake may have ended after zerowire's.
        assert_eq!(happening, Happening::HandshakeSucceeded);
    }
}

/// zerowire retries after a refusal. libzmq does not, when it is the one that connects.
fn the_right_peer_is_found_where_a_wrong_one_was(cell: Cell) {
    let scratch = Scratch::new();
    let (mut first, mut second) = cell.sides();
    let ours = cell.socket_type(cell.zerowire);
    let wrong = TYPES.into_iter().find(|theirs| !ours.accepts(*theirs));
    let mut wrong = hasty(wrong.expect("every type has one"));
    let endpoint = wrong.bind(&cell.transport.fresh(&scratch));
    let zerowire = match cell.zerowire {
        Place::First => &mut first.peer,
        Place::Second => &mut second.peer,
    };
    let watch = zerowire.watch();
    zerowire.connect(&endpoint);
    watch.wait_for_refusal();
    drop(wrong);
    cell.join_bound_at(&endpoint, watch, &mut first, &mut second);
    cell.converse(&mut first, &mut second, (10, 1), |_| 64);
}

#[test]
fn a_peer_with_the_plain_mechanism_is_refused_and_harms_nobody() {
    let _deadline = Deadline::start("PLAIN", 4 * CALL_TIMEOUT);
    for transport in [Transport::Tcp, Transport::Ipc] {
        for as_server in [false, true] {
            let cell = Cell {
                pair: Pair {
                    first: SocketType::Push,
                    second: SocketType::Pull,
                },
                zerowire: Place::Second,
                other: Library::Libzmq,
                zerowire_binds: true,
                transport,
            };
            let scratch = Scratch::new();
            let (mut push, mut pull) = cell.sides();
            let joined = cell.join(&mut push, &mut pull, &scratch);
            let watch = pull.peer.watch();
            let mut wrong = hasty(SocketType::Push);
            if as_server {
                wrong.socket.set_plain_server(true).expect("PLAIN_SERVER");
                pull.peer.connect(&wrong.bind(&transport.fresh(&scratch)));
            } else {
                let socket = &wrong.socket;
                socket.set_plain_username(Some("user")).expect("PLAIN_USERNAME");
                socket
                    .set_plain_password(Some("password"))
                    .expect("PLAIN_PASSWORD");
                wrong.connect(&joined.endpoint);
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
            cell.converse(&mut push, &mut pull, (1000, 100), |_| 64);
        }
    }
}

/// A libzmq socket that waits for nobody when it is closed.
fn hasty(socket_type: SocketType) -> Libzmq {
    let peer = Libzmq::new(socket_type);
    peer.socket.set_linger(0).expect("LINGER");
    peer
}

fn mismatch(ours: SocketType, theirs: SocketType) -> Reason {
    Reason::Protocol(ProtocolError::SocketTypeMismatch { ours, theirs })
}

/// Tries again when libzmq was faster: if zerowire's half of the handshake is there before libzmq has sent its own, it hangs
/// up without having said what it is.
#[track_caller]
fn until_it_is_said(wanted: &Reason, mut refusal: impl FnMut() -> Reason) {
    for _ in 0..10 {
        let reason = refusal();
        if reason == *wanted {
            return;
        }
        assert_eq!(reason, Reason::PeerClosed, "instead of `{wanted}`");
    }
    panic!("libzmq hung up each time before `{wanted}` could be said");
}
