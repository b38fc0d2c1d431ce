//! With `queue_unconnected(false)` messages are accepted only for peers that are connected.

use std::pin::pin;
use std::thread;
use std::time::Duration;

use zerowire::{
    Builder, ConnectError, Context, DealerSocket, Message, Monitor, PullSocket, PushSocket, SendTimeoutError,
    TrySendError,
};

use crate::executors::{block_on, poll_once};
use crate::raw::RawListener;
use crate::support::{
    DEADLINE, ReceivesInTurn, SendsInTurn, Transport, pattern, receive, send, wait_for_end,
    wait_for_handshake, wait_until,
};
use crate::{on_every_transport, on_every_wire};

/// The types with the option, and the peers that they have here.
trait Deals: SendsInTurn + Sized + Send + 'static {
    type Peer: ReceivesInTurn;

    fn with(context: &Context, queue_unconnected: bool) -> Self;
    fn connect(&mut self, endpoint: &str) -> Result<(), ConnectError>;
    fn try_send(&mut self, message: &str) -> Result<(), TrySendError>;
    fn monitor(&self) -> Monitor;
    fn is_ready(&mut self) -> bool;

    /// Awaits the send.
    fn send_waiting(&mut self, message: &str);

    fn peer(context: &Context, endpoint: &str) -> Self::Peer;
    fn unbind(peer: &mut Self::Peer, endpoint: &str);
}

macro_rules! deals {
    ($($socket:ident to $peer:ident)*) => {
        $(impl Deals for $socket {
            type Peer = $peer;

            fn with(context: &Context, queue_unconnected: bool) -> $socket {
                let builder: Builder<$socket> = $socket::builder(context);
                let builder = builder.queue_unconnected(queue_unconnected).send_hwm(HWM);
                builder.reconnect_min(Duration::from_millis(1)).send_buffer(KERNEL_BYTES).build().unwrap()
            }

            fn connect(&mut self, endpoint: &str) -> Result<(), ConnectError> {
                $socket::connect(self, endpoint)
            }

            fn try_send(&mut self, message: &str) -> Result<(), TrySendError> {
                $socket::try_send(self, message)
            }

            fn monitor(&self) -> Monitor {
                $socket::monitor(self)
            }

            fn is_ready(&mut self) -> bool {
                poll_once(pin!(self.send_ready())).is_ready()
            }

            fn send_waiting(&mut self, message: &str) {
                block_on(self.send_async(message)).unwrap();
            }

            fn peer(context: &Context, endpoint: &str) -> $peer {
                let builder = $peer::builder(context).receive_hwm(HWM).receive_buffer(KERNEL_BYTES);
                let mut peer = builder.build().unwrap();
                peer.bind(endpoint).unwrap();
                peer
            }

            fn unbind(peer: &mut $peer, endpoint: &str) {
                peer.unbind(endpoint).unwrap();
            }
        })*
    };
}

deals! { PushSocket to PullSocket DealerSocket to DealerSocket }

const HWM: u32 = 10;
/// What a kernel's buffer is asked to hold: less than one of the large messages.
const KERNEL_BYTES: usize = 16 << 10;
const LARGE_BYTES: usize = 64 << 10;

#[track_caller]
fn refuses_for_want_of_a_peer(socket: &mut impl Deals) {
    for _ in 0..3 {
        match socket.try_send("refused") {
            Err(TrySendError::NoPeer(back)) => assert_eq!(back.as_bytes(), b"refused"),
            other => panic!("{other:?}"),
        }
    }
    match socket.send_in("refused".into(), Duration::from_millis(1)) {
        Err(SendTimeoutError::Timeout(back)) => assert_eq!(back.as_bytes(), b"refused"),
        other => panic!("{other:?}"),
    }
    assert!(!socket.is_ready());
}

/// Sends until the socket is full, and returns how many messages it took.
#[track_caller]
fn stuff(socket: &mut impl Deals) -> u32 {
    for number in 0..100u32 {
        let message = Message::from([number.to_be_bytes().to_vec(), pattern(LARGE_BYTES, number as u8)]);
        if socket.send_in(message, Duration::from_millis(200)).is_err() {
            return number;
        }
    }
    panic!("nobody takes them, so there must be an end");
}

#[track_caller]
fn receive_stuffed(peer: &mut impl ReceivesInTurn, count: u32) {
    for number in 0..count {
        assert_eq!(receive(peer).part(0), Some(&number.to_be_bytes()[..]));
    }
}

fn nothing_is_accepted_before<S: Deals>(transport: Transport) {
    let context = Context::new();
    let endpoint = transport.fresh();
    let mut socket = S::with(&context, false);
    refuses_for_want_of_a_peer(&mut socket);
    socket.connect(&endpoint).unwrap();
    refuses_for_want_of_a_peer(&mut socket);
    let sender = thread::spawn(move || {
        send(&mut socket, "first");
        socket.send_waiting("second");
        socket
    });
    let mut peer = S::peer(&context, &endpoint);
    assert_eq!(receive(&mut peer).as_bytes(), b"first");
    assert_eq!(receive(&mut peer).as_bytes(), b"second");
    drop(sender.join().unwrap());
    assert!(peer.receive_in(Duration::ZERO).is_err());
}

fn nothing_is_accepted_after<S: Deals>(transport: Transport) {
    let context = Context::new();
    let endpoint = transport.fresh();
    let mut socket = S::with(&context, false);
    let monitor = socket.monitor();
    socket.connect(&endpoint).unwrap();
    for _ in 0..3 {
        let mut peer = S::peer(&context, &endpoint);
        send(&mut socket, "while it is there");
        assert_eq!(receive(&mut peer).as_bytes(), b"while it is there");
        S::unbind(&mut peer, &endpoint);
        drop(peer);
        if !transport.is_inproc() {
            wait_for_end(&monitor);
        }
        refuses_for_want_of_a_peer(&mut socket);
    }
}

fn a_full_peer_is_not_evaded<S: Deals>(transport: Transport) {
    let context = Context::new();
    let (present, absent) = (transport.fresh(), transport.fresh());
    let mut socket = S::with(&context, false);
    socket.connect(&absent).unwrap();
    socket.connect(&present).unwrap();
    let mut peer = S::peer(&context, &present);
    let count = stuff(&mut socket);
    assert!(count >= HWM, "{count}");
    wait_until("full, which is not the same as without a peer", || {
        matches!(socket.try_send("refused"), Err(TrySendError::Full(_)))
    });
    // The other one gets what is sent from now on, and nothing of what was sent before.
    let mut late = S::peer(&context, &absent);
    wait_until("a message for the one with room", || {
        let _ = socket.try_send("for the one with room");
        late.receive_in(Duration::ZERO)
            .is_ok_and(|message| message.as_bytes() == b"for the one with room")
    });
    receive_stuffed(&mut peer, count);
}

fn by_default_messages_wait<S: Deals>(transport: Transport) {
    let context = Context::new();
    let endpoint = transport.fresh();
    let mut socket = S::with(&context, true);
    refuses_for_want_of_a_peer(&mut socket);
    socket.connect(&endpoint).unwrap();
    assert!(socket.is_ready());
    for _ in 0..HWM {
        socket.try_send("early").unwrap();
    }
    assert!(matches!(socket.try_send("refused"), Err(TrySendError::Full(_))));
    let mut peer = S::peer(&context, &endpoint);
    for _ in 0..HWM {
        assert_eq!(receive(&mut peer).as_bytes(), b"early");
    }
}

on_every_transport! {
    /// Before a peer is there, a send waits for it, and one that does not wait is refused.
    fn nothing_is_accepted_before_a_peer_is_there(transport) {
        nothing_is_accepted_before::<PushSocket>(transport);
        nothing_is_accepted_before::<DealerSocket>(transport);
    }

    /// The same when the peer is gone, although the socket goes on connecting to it.
    fn nothing_is_accepted_after_a_peer_has_gone(transport) {
        nothing_is_accepted_after::<PushSocket>(transport);
        nothing_is_accepted_after::<DealerSocket>(transport);
    }

    /// While the connected peer is full, nothing is given to one that is not there.
    fn a_full_peer_is_not_evaded_by_waiting_for_another(transport) {
        a_full_peer_is_not_evaded::<PushSocket>(transport);
        a_full_peer_is_not_evaded::<DealerSocket>(transport);
    }

    /// Without the option it is otherwise.
    fn by_default_messages_wait_for_a_peer(transport) {
        by_default_messages_wait::<PushSocket>(transport);
        by_default_messages_wait::<DealerSocket>(transport);
    }
}

fn what_was_accepted_survives<S: Deals>(transport: Transport, peer_type: &str) {
    let context = Context::new();
    let endpoint = transport.fresh();
    let listener = RawListener::bind(&endpoint);
    let mut socket = S::with(&context, false);
    let monitor = socket.monitor();
    socket.connect(&endpoint).unwrap();
    let mut raw = listener.accept();
    raw.shake_hands(peer_type);
    wait_for_handshake(&monitor);
    let count = stuff(&mut socket);
    drop(raw);
    wait_for_end(&monitor);
    refuses_for_want_of_a_peer(&mut socket);

    let mut raw = listener.accept();
    raw.shake_hands(peer_type);
    let number = |parts: &[Vec<u8>]| u32::from_be_bytes(parts[0][..].try_into().unwrap());
    // What the kernel had taken is lost with the connection; from there on, everything comes.
    let first = number(&raw.read_message());
    assert!(first < count, "{first} of {count}");
    for expected in first + 1..count {
        assert_eq!(number(&raw.read_message()), expected);
    }
    socket.send_in("next".into(), DEADLINE).unwrap();
    assert_eq!(raw.read_message(), [b"next"]);
}

on_every_wire! {
    /// Messages that a peer had been given when its connection was lost wait for the next one all the same.
    fn what_was_accepted_survives_the_connection(transport) {
        what_was_accepted_survives::<PushSocket>(transport, "PULL");
        what_was_accepted_survives::<DealerSocket>(transport, "DEALER");
    }
}
