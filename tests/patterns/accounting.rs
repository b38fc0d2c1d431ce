//! What became of messages, in numbers. That they add up is checked by every socket of a debug build when it is dropped; here
//! it is checked that they are the right ones.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use zerowire::{
    Context, DealerSocket, Discarded, Dropped, PubSocket, PullSocket, PushSocket, ReqSocket, RequestError,
    RouterSocket, SendError, SlowSubscriber, Stats, SubSocket, XPubSocket, XSubSocket,
};

use crate::raw::{Raw, RawListener, message};
use crate::support::{
    DEADLINE, number, pattern, receive, receive_number, send, send_number, wait_for_handshake, wait_until,
};
use crate::{on_every_transport, on_every_wire};

/// Checks what is always true, and returns the numbers.
#[track_caller]
fn checked(stats: Stats) -> Stats {
    let Stats { sent, received, .. } = &stats;
    assert_eq!(
        sent.accepted,
        sent.handed_over + sent.waiting + sent.dropped.total(),
        "{sent:?}"
    );
    assert_eq!(
        received.received,
        received.taken + received.waiting + received.discarded.total(),
        "{received:?}"
    );
    stats
}

on_every_transport! {
    /// Whatever one side handed over, the other side has received or will.
    fn what_is_sent_is_received(transport) {
        const COUNT: u32 = 2500;
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        for sent in 0..COUNT {
            // More than fits the queues.
            while push.try_send(&sent.to_be_bytes()).is_err() {
                receive(&mut pull);
            }
            let stats = checked(push.stats()).sent;
            assert_eq!(stats.accepted, u64::from(sent) + 1);
            assert!(stats.waiting <= 1000);
            checked(pull.stats());
        }
        let sent = push.stats().sent;
        assert_eq!((sent.peers, sent.accepted_bytes), (1, 4 * u64::from(COUNT)));
        assert_eq!(sent.dropped, Dropped::default());
        wait_until("all is handed over", || {
            while pull.try_recv().is_ok() {}
            push.stats().sent.handed_over == u64::from(COUNT)
        });
        wait_until("all is received", || {
            while pull.try_recv().is_ok() {}
            pull.stats().received.taken == u64::from(COUNT)
        });
        let received = checked(pull.stats()).received;
        assert_eq!((received.received, received.waiting), (u64::from(COUNT), 0));
        assert_eq!(received.taken_bytes, 4 * u64::from(COUNT));
        assert_eq!(pull.stats().sent, Stats::default().sent);
        let text = push.stats().to_string();
        assert!(text.starts_with("sent 2500 = 2500 handed over + 0 waiting + 0 dropped; received 0 = "), "{text}");
    }

    /// Messages for nobody wait for the first that comes.
    fn what_waits_is_counted(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context).reconnect_min(Duration::from_millis(1)).build().unwrap();
        push.connect(endpoint.as_str()).unwrap();
        for sent in 0..10 {
            send_number(&mut push, sent);
        }
        let sent = checked(push.stats()).sent;
        assert_eq!((sent.accepted, sent.waiting, sent.handed_over), (10, 10, 0));
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        for sent in 0..10 {
            assert_eq!(receive_number(&mut pull), sent);
        }
        wait_until("all is handed over", || push.stats().sent.handed_over == 10);
        assert_eq!(checked(push.stats()).sent.waiting, 0);
    }

    /// A publisher counts each peer that a message is for, and each that did not get it.
    fn a_publisher_counts_each_peer(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::builder(&context).send_hwm(10).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscribers = ["a", "a", "b"].map(|topic| {
            let mut subscriber = SubSocket::new(&context);
            subscriber.subscribe(topic).unwrap();
            subscriber.connect(&endpoint).unwrap();
            subscriber.wait_ready(DEADLINE).unwrap();
            subscriber
        });
        publisher.wait_for_subscribers(3, DEADLINE).unwrap();
        for text in ["a", "b", "b", "nobody"] {
            publisher.send(text).unwrap();
        }
        let sent = checked(publisher.stats()).sent;
        assert_eq!((sent.peers, sent.accepted, sent.accepted_bytes), (3, 4, 4));
        for (subscriber, count) in subscribers.iter_mut().zip([1, 1, 2]) {
            for _ in 0..count {
                receive(subscriber);
            }
            assert_eq!(checked(subscriber.stats()).received.taken, count);
        }
        // Nobody takes anything any more.
        let body = vec![b'a'; 100_000];
        let mut dropped = 0;
        while dropped < 20 {
            dropped += publisher.send(body.clone()).unwrap().dropped as u64;
        }
        let sent = checked(publisher.stats()).sent;
        assert_eq!(sent.dropped, dropped_because_full(dropped));
        assert_eq!((sent.full, publisher.dropped()), (dropped, dropped));
    }

    /// A message that is refused because a subscriber has no room was not accepted; that it met a full queue is counted, once.
    fn a_publisher_counts_whom_it_could_not_send_to(transport) {
        for slow in [SlowSubscriber::Fail, SlowSubscriber::Block(Duration::from_millis(1))] {
            let context = Context::new();
            let builder = PubSocket::builder(&context).send_hwm(10).slow_subscriber(slow);
            let mut publisher = builder.build().unwrap();
            let endpoint = publisher.bind(transport.wildcard()).unwrap();
            let mut subscriber = SubSocket::new(&context);
            subscriber.subscribe("").unwrap();
            subscriber.connect(&endpoint).unwrap();
            publisher.wait_for_subscribers(1, DEADLINE).unwrap();
            let body = vec![7; 100_000];
            let mut accepted = 0;
            let mut refused = 0;
            while refused < 20 {
                match publisher.send(body.clone()) {
                    Ok(published) if published.dropped == 0 => accepted += 1,
                    // One that waits gives up in the end, and drops it.
                    Ok(_) | Err(SendError::Full(_)) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            let sent = checked(publisher.stats()).sent;
            let dropped = sent.dropped.full;
            assert_eq!(dropped, if slow == SlowSubscriber::Fail { 0 } else { refused });
            assert_eq!(sent.accepted, accepted + dropped);
            assert_eq!(publisher.peer_stats()[0].full, sent.full);
            match slow {
                SlowSubscriber::Fail => assert_eq!(sent.full, refused),
                // At least when it began to wait, and when it gave up.
                _ => assert!(sent.full >= 2 * refused, "{sent:?}"),
            }
        }
    }

    /// Each peer has its own numbers, and the connection that they are about.
    fn each_peer_is_counted(transport) {
        let context = Context::new();
        let mut dealer = DealerSocket::new(&context);
        let monitor = dealer.monitor();
        let endpoint = dealer.bind(transport.wildcard()).unwrap();
        let mut peers = [(); 2].map(|()| {
            let mut peer = DealerSocket::new(&context);
            peer.connect(&endpoint).unwrap();
            wait_for_handshake(&monitor);
            peer
        });
        for _ in 0..4 {
            send(&mut dealer, "to whoever is next");
        }
        for (count, peer) in peers.iter_mut().enumerate() {
            for _ in 0..2 {
                receive(peer);
            }
            for _ in 0..=count {
                send(peer, "back");
            }
        }
        wait_until("all is there", || dealer.stats().received.received == 3);
        let nowhere = transport.fresh();
        dealer.connect(nowhere.as_str()).unwrap();
        wait_until("all is handed over", || dealer.stats().sent.handed_over == 4);
        let stats = dealer.peer_stats();
        assert_eq!(stats.iter().map(|peer| peer.handed_over).sum::<u64>(), 4);
        let mut connected: Vec<_> = stats.iter().filter(|peer| peer.connection.is_some()).collect();
        connected.sort_by_key(|peer| peer.received);
        for (count, peer) in connected.iter().enumerate() {
            assert_eq!((peer.accepted, peer.handed_over, peer.waiting_to_be_sent), (2, 2, 0));
            assert_eq!((peer.received, peer.waiting_to_be_taken), (count as u64 + 1, count as u64 + 1));
            assert_eq!(peer.connection.as_ref().unwrap().endpoint, endpoint.to_string());
        }
        let ids: BTreeSet<_> = connected.iter().map(|peer| peer.connection.as_ref().unwrap().id).collect();
        assert_eq!(ids.len(), 2);
        // The queue for an endpoint where nobody is.
        assert_eq!(stats.len(), 3);
    }

    /// What a peer's connection carried, when it was last heard, and how often its queue was full.
    fn the_traffic_of_each_peer_is_told(transport) {
        let (ours, theirs) = (Context::new(), Context::new());
        let theirs = if transport.is_inproc() { &ours } else { &theirs };
        let mut pull = PullSocket::builder(theirs).receive_hwm(2).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::builder(&ours).send_hwm(2).build().unwrap();
        push.connect(&endpoint).unwrap();
        let begun = Instant::now();
        let mut before = (0, 0, None);
        for round in 1..=3 {
            send(&mut push, pattern(1000, round));
            assert!(receive(&mut pull).as_bytes() == pattern(1000, round));
            wait_until("it is handed over", || push.stats().sent.waiting == 0);
            let ([sender], [receiver]) = (&push.peer_stats()[..], &pull.peer_stats()[..]) else {
                panic!("one peer each");
            };
            assert_eq!((sender.handed_over, receiver.received, sender.full), (round.into(), round.into(), 0));
            if transport.is_inproc() {
                assert_eq!((sender.bytes_written, receiver.bytes_read, receiver.last_heard), (0, 0, None));
                continue;
            }
            // A message of 1000 bytes has a header of 9 bytes.
            assert!(sender.bytes_written >= before.0 + 1009, "{sender:?}");
            assert!(receiver.bytes_read >= before.1 + 1009, "{receiver:?}");
            assert!(receiver.last_heard >= before.2 && receiver.last_heard > Some(begun), "{receiver:?}");
            assert!(receiver.last_heard <= Some(Instant::now()));
            before = (sender.bytes_written, receiver.bytes_read, receiver.last_heard);
        }
        while push.try_send(pattern(1_000_000, 0)).is_ok() {}
        assert_eq!(push.peer_stats()[0].full, 1);
        assert!(push.try_send("once more").is_err());
        // It may find out at once that nothing has changed, or look again.
        assert!(push.peer_stats()[0].full <= 2);
        drop(pull);
        wait_until("the peer is gone", || push.peer_stats().iter().all(|peer| peer.connection.is_none()));
        assert!(push.peer_stats().iter().all(|peer| (peer.bytes_written, peer.bytes_read) == (0, 0)));
    }

    /// A subscriber that filters more than its publishers do counts what it throws away.
    fn what_a_subscriber_throws_away_is_counted(transport) {
        let context = Context::new();
        let mut publisher = XPubSocket::builder(&context).manual(true).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = SubSocket::new(&context);
        subscriber.subscribe("a").unwrap();
        subscriber.connect(&endpoint).unwrap();
        assert_eq!(receive(&mut publisher).as_bytes(), b"\x01a");
        publisher.subscribe("").unwrap();
        for text in ["b", "a", "c", "a"] {
            assert_eq!(publisher.send(text).unwrap().queued, 1);
        }
        for _ in 0..2 {
            assert_eq!(receive(&mut subscriber).as_bytes(), b"a");
        }
        let received = checked(subscriber.stats()).received;
        assert_eq!((received.received, received.taken, received.discarded.filtered), (4, 2, 2));
        assert_eq!(checked(publisher.stats()).received.taken, 1);
    }

    /// Of messages that replace each other, all are counted.
    fn what_is_replaced_is_counted(transport) {
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).conflate(true).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::builder(&context).conflate(true).build().unwrap();
        push.connect(&endpoint).unwrap();
        for sent in 0..100 {
            send_number(&mut push, sent);
        }
        while number(&receive(&mut pull)) < 99 {}
        wait_until("it is handed over", || push.stats().sent.waiting == 0);
        let sent = checked(push.stats()).sent;
        let received = checked(pull.stats()).received;
        assert_eq!(sent.accepted, 100);
        if transport.is_inproc() {
            // There is one place, which both sides look at.
            assert_eq!((received.received, received.taken), (100, sent.handed_over));
        } else {
            assert_eq!(received.received, sent.handed_over);
        }
        assert_eq!(sent.dropped.total(), sent.dropped.replaced);
        assert_eq!(received.discarded.total(), received.discarded.replaced);
    }

    /// A ROUTER that is told to drop what it cannot route counts that.
    fn what_cannot_be_routed_is_counted(transport) {
        let context = Context::new();
        let mut router = RouterSocket::builder(&context).drop_unroutable(true).build().unwrap();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let mut dealer = DealerSocket::new(&context);
        dealer.connect(&endpoint).unwrap();
        send(&mut dealer, "hello");
        let (peer, _) = router.recv_from_timeout(DEADLINE).unwrap();
        router.send_to(&peer, "to you").unwrap();
        router.send_to(&"nobody".try_into().unwrap(), "to nobody").unwrap();
        assert_eq!(receive(&mut dealer).as_bytes(), b"to you");
        wait_until("it is handed over", || router.stats().sent.handed_over == 1);
        let Stats { sent, received, .. } = checked(router.stats());
        assert_eq!((sent.accepted, sent.dropped.unroutable, sent.dropped.total()), (2, 1, 1));
        assert_eq!((received.taken, received.taken_bytes), (1, 5));
        // Each part of a socket that was taken apart goes on counting.
        let (mut sender, mut receiver) = router.into_split();
        assert_eq!((sender.stats(), receiver.stats()), (sent, received));
    }

    /// What one publisher got over the wire and another in this process is counted alike.
    fn what_goes_up_to_publishers_is_counted(transport) {
        let context = Context::new();
        let mut xsub = XSubSocket::builder(&context).send_hwm(10).build().unwrap();
        let endpoint = xsub.bind(transport.wildcard()).unwrap();
        let mut publishers = [(); 2].map(|()| XPubSocket::builder(&context).receive_hwm(10).build().unwrap());
        for publisher in &mut publishers {
            publisher.connect(&endpoint).unwrap();
        }
        wait_until("both are there", || xsub.send("hello").unwrap().matched == 2);
        for publisher in &mut publishers {
            while publisher.recv_timeout(Duration::from_millis(1)).is_ok() {}
        }
        let mut dropped = checked(xsub.stats()).sent.dropped.full;
        for _ in 0..10 {
            dropped += xsub.send(vec![2; 10_000]).unwrap().dropped as u64;
        }
        assert_eq!(checked(xsub.stats()).sent.dropped, dropped_because_full(dropped));
    }
}

on_every_wire! {
    /// What waited for a peer that leaves is lost, and counted as that.
    fn what_was_for_a_peer_that_left_is_counted(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let raw = Raw::peer(&endpoint.to_string(), "PULL");
        wait_for_handshake(&monitor);
        let mut accepted = 0;
        while push.try_send(vec![0; 100_000]).is_ok() {
            accepted += 1;
        }
        drop(raw);
        wait_until("it is gone", || push.stats().sent.peers == 0);
        let sent = checked(push.stats()).sent;
        assert_eq!((sent.accepted, sent.waiting), (accepted, 0));
        assert!(sent.dropped.peer_gone > 0 && sent.dropped.peer_gone == sent.dropped.total());
        assert_eq!(push.lost(), sent.dropped.peer_gone);
    }

    /// A peer that was disconnected from and takes nothing has its time; then what is left is counted.
    fn what_linger_leaves_is_counted(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut push = PushSocket::builder(&context).linger(Duration::from_millis(50)).build().unwrap();
        push.connect(endpoint.as_str()).unwrap();
        let mut raw = listener.accept();
        raw.shake_hands("PULL");
        let mut accepted = 0;
        while push.try_send(vec![0; 100_000]).is_ok() {
            accepted += 1;
        }
        push.disconnect(endpoint.as_str()).unwrap();
        let sent = checked(push.stats()).sent;
        assert_eq!((sent.peers, sent.accepted), (0, accepted));
        wait_until("linger has expired", || push.stats().sent.waiting == 0);
        let sent = checked(push.stats()).sent;
        assert!(sent.dropped.linger_expired > 0 && sent.dropped.linger_expired == sent.dropped.total());
        assert_eq!(push.lost(), sent.dropped.linger_expired);
    }

    /// What a peer that was disconnected from still takes is handed over.
    fn what_is_written_after_a_disconnect_is_counted(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let mut push = PushSocket::builder(&context).linger(DEADLINE).build().unwrap();
        push.connect(endpoint.as_str()).unwrap();
        let mut raw = listener.accept();
        raw.shake_hands("PULL");
        for _ in 0..100 {
            push.try_send(vec![0; 100_000]).unwrap();
        }
        push.disconnect(endpoint.as_str()).unwrap();
        for _ in 0..100 {
            raw.read_message();
        }
        drop(raw);
        wait_until("all is handed over", || push.stats().sent.handed_over == 100);
        let sent = checked(push.stats()).sent;
        assert_eq!((sent.accepted, sent.waiting, push.lost()), (100, 0, 0));
    }

    /// Replies that come too late, or from whom was not asked, are thrown away and counted.
    fn late_replies_are_counted(transport) {
        let context = Context::new();
        let mut req = ReqSocket::builder(&context).correlate(true).build().unwrap();
        let monitor = req.monitor();
        let endpoint = req.bind(transport.wildcard()).unwrap();
        let mut raw = Raw::peer(&endpoint.to_string(), "REP");
        wait_for_handshake(&monitor);
        assert!(matches!(req.request("too late", Duration::from_millis(1)), Err(RequestError::Timeout)));
        let late = raw.read_message();
        let late: Vec<&[u8]> = late.iter().map(Vec::as_slice).collect();
        send(&mut req, "in time");
        let request = raw.read_message();
        let request: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        raw.send(&[message(&late), message(&request)].concat());
        assert_eq!(receive(&mut req).as_bytes(), b"in time");
        let received = checked(req.stats()).received;
        let unwanted = Discarded::default().total() + received.discarded.unwanted;
        assert_eq!((received.received, received.taken, unwanted), (2, 1, 1));
    }
}

fn dropped_because_full(messages: u64) -> Dropped {
    let mut dropped = Dropped::default();
    dropped.full = messages;
    dropped
}
