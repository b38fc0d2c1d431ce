use std::time::Duration;

use zerowire::SocketType;

use super::Peer;
use crate::deadline::CALL_TIMEOUT;
use crate::watch::Watch;

/// A libzmq socket and its context.
pub struct Libzmq {
    /// To set options before it is bound or connected.
    pub socket: zmq::Socket,
    context: zmq::Context,
    socket_type: SocketType,
}

impl Libzmq {
    /// Makes a socket.
    pub fn new(socket_type: SocketType) -> Libzmq {
        let context = zmq::Context::new();
        let socket = context.socket(raw_type(socket_type)).expect("zmq_socket");
        let limit = CALL_TIMEOUT.as_millis() as i32;
        socket.set_sndtimeo(limit).expect("SNDTIMEO");
        if !matches!(socket_type, SocketType::Sub | SocketType::XSub) {
            // The default is to wait for ever, which would hang the test when the peer is lost, and for subscribers 0.
            socket.set_linger(limit).expect("LINGER");
        }
        match socket_type {
            // Else it drops what a subscriber is too slow for, and does not tell.
            SocketType::Pub | SocketType::XPub => socket.set_sndhwm(0).expect("SNDHWM"),
            // Else it drops subscriptions beyond the mark, and does not tell.
            SocketType::Sub | SocketType::XSub => socket.set_sndhwm(0).expect("SNDHWM"),
            // Else it drops what it cannot address, and does not tell.
            SocketType::Router => socket.set_router_mandatory(true).expect("ROUTER_MANDATORY"),
            _ => {}
        }
        Libzmq {
            socket,
            context,
            socket_type,
        }
    }

    /// Makes a socket that tells routers a name.
    pub fn named(socket_type: SocketType, name: &str) -> Libzmq {
        let peer = Libzmq::new(socket_type);
        if !name.is_empty() {
            peer.socket.set_identity(name.as_bytes()).expect("ROUTING_ID");
        }
        peer
    }

    /// A message that is there already, or nothing.
    pub fn try_recv(&self) -> Option<Vec<Vec<u8>>> {
        received(self.socket.recv_multipart(zmq::DONTWAIT))
    }
}

impl Peer for Libzmq {
    fn bind(&mut self, endpoint: &str) -> String {
        self.socket.bind(endpoint).expect("zmq_bind");
        self.socket
            .get_last_endpoint()
            .expect("LAST_ENDPOINT")
            .expect("an endpoint is text")
    }

    fn connect(&mut self, endpoint: &str) {
        self.socket.connect(endpoint).expect("zmq_connect");
    }

    fn send(&mut self, parts: &[Vec<u8>]) {
        self.socket.send_multipart(parts, 0).expect("zmq_send");
    }

    fn recv_timeout(&mut self, timeout: Duration) -> Option<Vec<Vec<u8>>> {
        self.socket
            .set_rcvtimeo(timeout.as_millis() as i32)
            .expect("RCVTIMEO");
        received(self.socket.recv_multipart(0))
    }

    fn subscribe(&mut self, topic: &[u8]) {
        match self.socket_type {
            SocketType::XSub => self.socket.send([&[1], topic].concat(), 0).expect("zmq_send"),
            _ => self.socket.set_subscribe(topic).expect("SUBSCRIBE"),
        }
    }

    fn unsubscribe(&mut self, topic: &[u8]) {
        match self.socket_type {
            SocketType::XSub => self.socket.send([&[0], topic].concat(), 0).expect("zmq_send"),
            _ => self.socket.set_unsubscribe(topic).expect("UNSUBSCRIBE"),
        }
    }

    /// Applies what its I/O thread has handed over.
    fn catch_up(&mut self) {
        self.socket.get_events().expect("EVENTS");
    }

    fn watch(&self) -> Watch {
        Watch::libzmq(&self.context, &self.socket)
    }
}

fn received(received: zmq::Result<Vec<Vec<u8>>>) -> Option<Vec<Vec<u8>>> {
    match received {
        Ok(parts) => Some(parts),
        Err(zmq::Error::EAGAIN) => None,
        Err(error) => panic!("zmq_recv: {error}"),
    }
}

/// What libzmq calls a type.
pub(crate) fn raw_type(socket_type: SocketType) -> zmq::SocketType {
    match socket_type {
        SocketType::Pair => zmq::PAIR,
        SocketType::Pub => zmq::PUB,
        SocketType::Sub => zmq::SUB,
        SocketType::Req => zmq::REQ,
        SocketType::Rep => zmq::REP,
        SocketType::Dealer => zmq::DEALER,
        SocketType::Router => zmq::ROUTER,
        SocketType::Pull => zmq::PULL,
        SocketType::Push => zmq::PUSH,
        SocketType::XPub => zmq::XPUB,
        SocketType::XSub => zmq::XSUB,
        other => panic!("no {other} socket in these tests"),
    }
}
