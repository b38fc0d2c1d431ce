use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use zerowire::{SocketType, XPubSocket, XSubSocket};

use crate::peers::raw_type;

/// `zmq_proxy` in a thread, which ends when this is dropped.
pub struct Proxy {
    context: zmq::Context,
    thread: Option<JoinHandle<()>>,
    /// Where its first socket is bound.
    pub front: String,
    /// Where its second socket is bound.
    pub back: String,
}

impl Proxy {
    /// Starts a proxy between two sockets of these types, bound at these endpoints.
    pub fn start(front: (SocketType, &str), back: (SocketType, &str)) -> Proxy {
        let context = zmq::Context::new();
        let bound = |(socket_type, endpoint): (SocketType, &str)| {
            let socket = context.socket(raw_type(socket_type)).expect("zmq_socket");
            socket.set_linger(0).expect("LINGER");
            socket.set_sndhwm(0).expect("SNDHWM");
            socket.bind(endpoint).expect("zmq_bind");
            let endpoint = socket.get_last_endpoint().expect("LAST_ENDPOINT");
            (socket, endpoint.expect("an endpoint is text"))
        };
        let ((one, front), (other, back)) = (bound(front), bound(back));
        let thread = thread::spawn(move || {
            // Its only way to end is that the context does.
            assert_eq!(zmq::proxy(&one, &other), Err(zmq::Error::ETERM));
        });
        Proxy {
            context,
            thread: Some(thread),
            front,
            back,
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let ended = self.context.destroy();
        let thread = self.thread.take().expect("it is joined once");
        if !thread::panicking() {
            ended.expect("zmq_ctx_term");
            thread.join().expect("the proxy");
        }
    }
}

/// Passes on what an XSUB and an XPUB of zerowire receive, in a thread, which ends when this is dropped.
pub struct Forwarder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Starts passing on between two sockets that are bound or connected already.
    pub fn start(mut front: XSubSocket, mut back: XPubSocket) -> Forwarder {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // Each message may be the last for a while, so neither side may be waited for long.
                if let Ok(message) = front.recv_timeout(TURN) {
                    back.send(message).expect("pass on a message");
                    while let Ok(message) = front.try_recv() {
                        back.send(message).expect("pass on a message");
                    }
                }
                while let Ok(message) = back.try_recv() {
                    front.send(message).expect("pass on a subscription");
                }
            }
        });
        Forwarder {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().expect("it is joined once").join();
        if !thread::panicking() {
            ended.expect("the forwarder");
        }
    }
}

/// How long one side of a forwarder is waited for before the other is looked at.
const TURN: Duration = Duration::from_millis(1);
