//! zerowire's sockets.

use std::time::Duration;

use zerowire::{
    Context, DealerSocket, Message, PairSocket, PeerId, PubSocket, Published, PullSocket, PushSocket,
    RecvTimeoutError, RepSocket, ReqSocket, RouterSocket, SlowSubscriber, SocketType, SubSocket, Told,
    XPubSocket, XSubSocket,
};

use super::Peer;
use crate::deadline::CALL_TIMEOUT;
use crate::watch::Watch;

pub(super) fn socket(socket_type: SocketType, name: &str) -> Box<dyn Peer> {
    let context = &Context::new();
    let name = name.as_bytes().to_vec();
    let patient = SlowSubscriber::Block(CALL_TIMEOUT);
    match socket_type {
        SocketType::Pair => Box::new(PairSocket::new(context)),
        SocketType::Pub => built(PubSocket::builder(context).slow_subscriber(patient).build()),
        SocketType::Sub => Box::new(SubSocket::new(context)),
        SocketType::Req => built(ReqSocket::builder(context).identity(name).build()),
        SocketType::Rep => Box::new(RepSocket::new(context)),
        SocketType::Dealer => built(DealerSocket::builder(context).identity(name).build()),
        SocketType::Router => built(RouterSocket::builder(context).identity(name).build()),
        SocketType::Pull => Box::new(PullSocket::new(context)),
        SocketType::Push => Box::new(PushSocket::new(context)),
        SocketType::XPub => built(XPubSocket::builder(context).slow_subscriber(patient).build()),
        SocketType::XSub => Box::new(XSubSocket::new(context)),
        other => panic!("no {other} socket in these tests"),
    }
}

fn built<P: Peer + 'static>(socket: Result<P, zerowire::OptionError>) -> Box<dyn Peer> {
    Box::new(socket.expect("the options are in their ranges"))
}

/// Implements what every type does, and the groups of verbs that are named.
macro_rules! peers {
    ($($socket:ident: $($verbs:ident)+,)+) => {$(
        impl Peer for $socket {
            fn bind(&mut self, endpoint: &str) -> String {
                $socket::bind(self, endpoint).expect("bind").to_string()
            }

            fn connect(&mut self, endpoint: &str) {
                $socket::connect(self, endpoint).expect("connect");
            }

            fn watch(&self) -> Watch {
                Watch::zerowire(self.monitor())
            }

            $($verbs!();)+
        }
    )+};
}

macro_rules! sends {
    () => {
        fn send(&mut self, parts: &[Vec<u8>]) {
            self.send_timeout(message(parts), CALL_TIMEOUT)
                .expect("send");
        }
    };
}

macro_rules! receives {
    () => {
        fn recv_timeout(&mut self, timeout: Duration) -> Option<Vec<Vec<u8>>> {
            in_time(self.recv_timeout(timeout)).map(|message| parts(&message))
        }
    };
}

macro_rules! addresses {
    () => {
        fn send(&mut self, parts: &[Vec<u8>]) {
            let (name, parts) = parts.split_first().expect("the first part names the peer");
            let peer = PeerId::new(name.clone()).expect("a name");
            self.send_to_timeout(&peer, message(parts), CALL_TIMEOUT)
                .expect("send to a peer");
        }

        fn recv_timeout(&mut self, timeout: Duration) -> Option<Vec<Vec<u8>>> {
            let (peer, message) = in_time(self.recv_from_timeout(timeout))?;
            let mut all = vec![peer.as_bytes().to_vec()];
            all.extend(parts(&message));
            Some(all)
        }
    };
}

macro_rules! publishes {
    () => {
        fn send(&mut self, parts: &[Vec<u8>]) {
            nothing_dropped(self.send(message(parts)).expect("send"));
        }

        fn knows_subscription(&mut self, topic: &[u8], timeout: Duration) -> bool {
            self.wait_for_subscribers_to(topic, 1, timeout).is_ok()
        }
    };
}

macro_rules! subscribes {
    () => {
        fn subscribe(&mut self, topic: &[u8]) {
            self.subscribe(topic).expect("subscribe");
        }

        fn unsubscribe(&mut self, topic: &[u8]) {
            self.unsubscribe(topic).expect("unsubscribe");
        }

        fn knows_subscription(&mut self, _topic: &[u8], timeout: Duration) -> bool {
            self.wait_ready(timeout) == Ok(Told::Acknowledged)
        }
    };
}

macro_rules! sends_upstream {
    () => {
        fn send(&mut self, parts: &[Vec<u8>]) {
            nothing_dropped(self.send(message(parts)).expect("send"));
        }
    };
}

peers! {
    PairSocket: sends receives,
    PubSocket: publishes,
    SubSocket: subscribes receives,
    ReqSocket: sends receives,
    RepSocket: sends receives,
    DealerSocket: sends receives,
    RouterSocket: addresses,
    PullSocket: receives,
    PushSocket: sends,
    XPubSocket: publishes receives,
    XSubSocket: subscribes sends_upstream receives,
}

fn message(parts: &[Vec<u8>]) -> Message {
    Message::from_parts(parts.iter().map(Vec::as_slice))
}

fn parts(message: &Message) -> Vec<Vec<u8>> {
    message.parts().map(<[u8]>::to_vec).collect()
}

fn in_time<T>(received: Result<T, RecvTimeoutError>) -> Option<T> {
    match received {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Timeout) => None,
        Err(error) => panic!("recv: {error}"),
    }
}

fn nothing_dropped(published: Published) {
    assert_eq!(published.dropped, 0, "{published:?}");
}
