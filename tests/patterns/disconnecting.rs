//! What is left of a peer when its endpoint was disconnected, or its name was taken: nothing.

use std::time::{Duration, Instant};

use zerowire::{
    Context, Message, OnDuplicate, PeerId, PubSocket, RouterSocket, SubSocket, Told, TryRecvError,
    XPubSocket, XSubSocket,
};

use crate::support::{DEADLINE, with_deadline};
use crate::{on_every_transport, on_every_wire};

/// What a subscriber said used to reach a publisher of the same context after `disconnect`, which counted as a publisher
/// that knows what is wanted.
#[test]
fn a_publisher_of_this_context_hears_nothing_after_a_disconnect() {
    with_deadline(|| {
        let context = Context::new();
        let mut publisher = XPubSocket::new(&context);
        publisher.bind("inproc://left").unwrap();
        let mut subscriber = XSubSocket::new(&context);
        subscriber.connect("inproc://left").unwrap();
        subscriber.disconnect("inproc://left").unwrap();
        assert_eq!(subscriber.send("ghost").unwrap().matched, 0);
        assert_eq!(publisher.try_recv(), Err(TryRecvError::Empty));
        subscriber.connect("inproc://nobody").unwrap();
        assert!(subscriber.wait_ready(Duration::ZERO).is_err());
    });
}

/// A router that lost its place at another one, whose name it kept, could not come back.
#[test]
fn a_router_whose_name_was_taken_over_comes_back_when_it_is_free() {
    with_deadline(|| {
        let context = Context::new();
        let mut hub = RouterSocket::builder(&context)
            .identity("hub")
            .on_duplicate(OnDuplicate::TakeOver)
            .build()
            .unwrap();
        hub.bind("inproc://hub").unwrap();
        let worker = || {
            RouterSocket::builder(&context)
                .identity("worker")
                .build()
                .unwrap()
        };
        let (mut first, mut second) = (worker(), worker());
        first.connect("inproc://hub").unwrap();
        second.connect("inproc://hub").unwrap();
        // Only now the hub lets go of the first, whose end would take messages otherwise.
        assert_eq!(hub.try_recv_from(), Err(TryRecvError::Empty));
        drop(second);
        let name = PeerId::new("hub").unwrap();
        first.send_to(&name, "back").unwrap();
        let (peer, message) = hub.recv_from_timeout(DEADLINE).unwrap();
        assert_eq!(
            (peer.as_bytes(), message.as_bytes()),
            (&b"worker"[..], &b"back"[..])
        );
    });
}

on_every_wire! {
    /// A publisher that connects used to go on publishing to a subscriber that it had disconnected from, for as long as
    /// that did not read.
    fn nothing_more_is_published_to_who_was_disconnected(transport) {
        let context = Context::new();
        let mut subscriber = SubSocket::builder(&context).receive_hwm(1).build().unwrap();
        let endpoint = subscriber.bind(transport.wildcard()).unwrap();
        subscriber.subscribe("").unwrap();
        let mut publisher = PubSocket::builder(&context)
            .linger(2 * DEADLINE)
            .linger_max(2 * DEADLINE)
            .send_hwm(1)
            .build()
            .unwrap();
        publisher.connect(endpoint.clone()).unwrap();
        publisher.wait_for_subscribers(1, DEADLINE).unwrap();
        let end = Instant::now() + DEADLINE;
        // Many in a row, or it may only be that the I/O thread had no time.
        let message = Message::from(vec![0; 1 << 20]);
        let mut in_a_row = 0;
        while in_a_row < 10_000 {
            assert!(Instant::now() < end, "the subscriber is never full");
            let dropped = publisher.send(message.clone()).unwrap().dropped;
            in_a_row = (in_a_row + dropped) * dropped;
        }
        publisher.disconnect(endpoint).unwrap();
        while publisher.send("late").unwrap().matched > 0 {
            assert!(Instant::now() < end, "the subscriber is still published to");
        }
        drop(subscriber);
    }
}

on_every_transport! {
    fn who_wants_nothing_yet_is_ready_when_the_publisher_is_there(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::new(&context);
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        for _ in 0..100 {
            let mut subscriber = SubSocket::new(&context);
            subscriber.connect(endpoint.clone()).unwrap();
            assert_eq!(subscriber.wait_ready(DEADLINE), Ok(Told::Acknowledged));
        }
    }
}
