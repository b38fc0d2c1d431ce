//! Sockets of omq, which is written in Rust from the ground up.

use std::thread;
use std::time::Duration;

use omq_tokio::blocking::Socket;
use omq_tokio::{Context, Error, Message, Options};
use zerowire::SocketType;

use super::Peer;
use crate::deadline::CALL_TIMEOUT;

/// An omq socket, which keeps a context and its thread to itself.
struct Omq {
    socket: Socket,
}

pub(super) fn socket(socket_type: SocketType, name: &str) -> Box<dyn Peer> {
    let mut options = Options::new().identity(name.as_bytes().to_vec());
    match socket_type {
        SocketType::Pub | SocketType::XPub => {
            // Else it drops what a subscriber is too slow for, and does not tell.
            options.xpub_nodrop = true;
            // At the default of 1,000 it stops reading from subscribers when nobody receives their requests from an XPUB.
            options.recv_hwm = 20_000;
        }
        // Else it drops what it cannot address, and does not tell.
        SocketType::Router => options.router_mandatory = true,
        _ => {}
    }
    // The default is to throw away at once what is not sent yet.
    options.linger = Some(CALL_TIMEOUT);
    Box::new(Omq {
        socket: Context::new().blocking_socket(raw_type(socket_type), options),
    })
}

impl Peer for Omq {
    fn bind(&mut self, endpoint: &str) -> String {
        self.socket.bind(endpoint).expect("bind").to_string()
    }

    fn connect(&mut self, endpoint: &str) {
        self.socket.connect(endpoint).expect("connect");
    }

    fn send(&mut self, parts: &[Vec<u8>]) {
        self.socket
            .send_timeout(Message::multipart(parts.iter().cloned()), CALL_TIMEOUT)
            .expect("send");
    }

    fn recv_timeout(&mut self, timeout: Duration) -> Option<Vec<Vec<u8>>> {
        match self.socket.recv_timeout(timeout) {
            Ok(message) => Some(message.iter().map(|part| part.to_vec()).collect()),
            Err(Error::Timeout | Error::WouldBlock) => None,
            Err(error) => panic!("recv: {error}"),
        }
    }

    fn subscribe(&mut self, topic: &[u8]) {
        self.socket.subscribe(topic.to_vec()).expect("subscribe");
    }

    fn unsubscribe(&mut self, topic: &[u8]) {
        self.socket.unsubscribe(topic.to_vec()).expect("unsubscribe");
    }

    /// Its connections answer a PING before the socket has applied the subscriptions that came with it.
    fn knows_subscription(&mut self, topic: &[u8], timeout: Duration) -> bool {
        use omq_tokio::SocketType::{Pub, XPub};
        if !matches!(self.socket.socket_type(), Pub | XPub) {
            return true;
        }
        // How many came so far, which is one more after the next.
        let seen = self
            .socket
            .wait_subscribed(0, timeout)
            .expect("count subscriptions");
        let (_, peers) = self
            .socket
            .monitor_with_subscriptions()
            .expect("list subscriptions");
        let mut prefixes = peers.iter().flat_map(|peer| &peer.prefixes);
        prefixes.any(|prefix| prefix[..] == *topic) || {
            let _ = self.socket.wait_subscribed(seen + 1, timeout);
            false
        }
    }
}

impl Drop for Omq {
    /// Waits until everything is sent. Without, the end of the context is the end of what is not sent yet.
    fn drop(&mut self) {
        let closed = self.socket.clone().close();
        if !thread::panicking() {
            closed.expect("close");
        }
    }
}

fn raw_type(socket_type: SocketType) -> omq_tokio::SocketType {
    match socket_type {
        SocketType::Pair => omq_tokio::SocketType::Pair,
        SocketType::Pub => omq_tokio::SocketType::Pub,
        SocketType::Sub => omq_tokio::SocketType::Sub,
        SocketType::Req => omq_tokio::SocketType::Req,
        SocketType::Rep => omq_tokio::SocketType::Rep,
        SocketType::Dealer => omq_tokio::SocketType::Dealer,
        SocketType::Router => omq_tokio::SocketType::Router,
        SocketType::Pull => omq_tokio::SocketType::Pull,
        SocketType::Push => omq_tokio::SocketType::Push,
        SocketType::XPub => omq_tokio::SocketType::XPub,
        SocketType::XSub => omq_tokio::SocketType::XSub,
        other => panic!("no {other} socket in these tests"),
    }
}
