use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use zmq::SocketEvent;

use crate::deadline::CALL_TIMEOUT;

/// What happened to a connection, in the words of neither library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Messages can flow.
    HandshakeSucceeded,
    /// The connection ended before messages could flow. The reason is zerowire's; libzmq's codes are not looked at.
    HandshakeFailed(Option<zerowire::Reason>),
    /// A connection on which messages flowed has ended.
    Disconnected,
}

/// Connection events of one socket of zerowire or libzmq.
pub enum Watch {
    /// Those of zerowire.
    Zerowire(zerowire::Monitor),
    /// Those of libzmq, which come over a PAIR socket.
    Libzmq(zmq::Socket),
}

impl Watch {
    pub(crate) fn zerowire(monitor: zerowire::Monitor) -> Watch {
        Watch::Zerowire(monitor)
    }

    pub(crate) fn libzmq(context: &zmq::Context, socket: &zmq::Socket) -> Watch {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let endpoint = format!("inproc://watch-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        socket
            .monitor(&endpoint, i32::from(SocketEvent::ALL.to_raw()))
            .expect("zmq_socket_monitor");
        let pair = context.socket(zmq::PAIR).expect("zmq_socket");
        pair.set_linger(0).expect("LINGER");
        pair.connect(&endpoint).expect("zmq_connect");
        Watch::Libzmq(pair)
    }

    /// The next event of those in [`Happening`], or nothing if none comes within `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<Happening> {
        let end = Instant::now() + timeout;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let happening = match self {
                Watch::Zerowire(monitor) => match monitor.recv_timeout(left)? {
                    zerowire::Event::HandshakeSucceeded { .. } => Happening::HandshakeSucceeded,
                    zerowire::Event::HandshakeFailed { reason, .. } => {
                        Happening::HandshakeFailed(Some(reason))
                    }
                    zerowire::Event::Disconnected { .. } => Happening::Disconnected,
                    _ => continue,
                },
                Watch::Libzmq(pair) => match libzmq_event(pair, left)? {
                    SocketEvent::HANDSHAKE_SUCCEEDED => Happening::HandshakeSucceeded,
                    SocketEvent::HANDSHAKE_FAILED_NO_DETAIL
                    | SocketEvent::HANDSHAKE_FAILED_PROTOCOL
                    | SocketEvent::HANDSHAKE_FAILED_AUTH => Happening::HandshakeFailed(None),
                    SocketEvent::DISCONNECTED => Happening::Disconnected,
                    _ => continue,
                },
            };
            return Some(happening);
        }
    }

    /// Waits until `count` peers have finished their handshakes; anything else that happens is a failure.
    #[track_caller]
    pub fn wait_for_handshakes(&self, count: usize) {
        for number in 0..count {
            let happening = self.next(CALL_TIMEOUT);
            assert_eq!(
                happening,
                Some(Happening::HandshakeSucceeded),
                "handshake {number} of {count}"
            );
        }
    }

    /// Waits until `wanted` has happened, whatever happens before.
    #[track_caller]
    pub fn wait_for(&self, wanted: &Happening) {
        loop {
            match self.next(CALL_TIMEOUT) {
                Some(happening) if happening == *wanted => return,
                Some(_) => {}
                None => panic!("no {wanted:?} within {CALL_TIMEOUT:?}"),
            }
        }
    }

    /// Waits for a failed handshake and returns zerowire's reason for it; the failure must come from zerowire.
    #[track_caller]
    pub fn wait_for_refusal(&self) -> zerowire::Reason {
        loop {
            match self.next(CALL_TIMEOUT) {
                Some(Happening::HandshakeFailed(reason)) => return reason.expect("a reason of zerowire"),
                Some(_) => {}
                None => panic!("no handshake failed within {CALL_TIMEOUT:?}"),
            }
        }
    }

    /// Asserts that nothing happens for as long as `time`.
    #[track_caller]
    pub fn assert_quiet(&self, time: Duration) {
        assert_eq!(self.next(time), None, "the connection was to stay as it is");
    }
}

/// An event is two parts: number (u16) and value (u32) in the machine's byte order, then the endpoint.
fn libzmq_event(pair: &zmq::Socket, timeout: Duration) -> Option<SocketEvent> {
    pair.set_rcvtimeo(timeout.as_millis() as i32).expect("RCVTIMEO");
    match pair.recv_multipart(0) {
        Ok(parts) => Some(SocketEvent::from_raw(u16::from_ne_bytes([
            parts[0][0],
            parts[0][1],
        ]))),
        Err(zmq::Error::EAGAIN) => None,
        Err(error) => panic!("zmq_recv of an event: {error}"),
    }
}
