//! Sockets that keep the newest message of each peer only.

use std::time::Duration;

use zerowire::{Context, DealerSocket, Message, PubSocket, PullSocket, PushSocket, SubSocket};

use crate::on_every_transport;
use crate::support::{DEADLINE, number, receive_number, send_number};

/// More than the high-water marks and the kernel's buffers take.
const MANY: u32 = 300_000;

on_every_transport! {
    fn of_what_waits_for_a_peer_only_the_newest_is_sent(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::builder(&context).conflate(true).build().unwrap();
        push.connect(endpoint.as_str()).unwrap();
        for message in 0..5000 {
            push.try_send(&u32::to_be_bytes(message)).unwrap();
        }
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        assert_eq!(receive_number(&mut pull), 4999);
        send_number(&mut push, 7);
        assert_eq!(receive_number(&mut pull), 7);
    }

    fn a_receiver_that_conflates_holds_nobody_up(transport) {
        let context = Context::new();
        let mut push = PushSocket::new(&context);
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut pull = PullSocket::builder(&context).conflate(true).build().unwrap();
        pull.connect(endpoint).unwrap();
        for message in 0..MANY {
            send_number(&mut push, message);
        }
        let mut last = receive_number(&mut pull);
        while last < MANY - 1 {
            let next = receive_number(&mut pull);
            assert!(next > last, "{next} came after {last}");
            last = next;
        }
        assert!(pull.try_recv().is_err());
    }

    fn a_peer_with_a_queue_of_its_own_is_read_to_its_newest_message(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut push = PushSocket::new(&context);
        push.connect(endpoint.as_str()).unwrap();
        for message in 0..1000 {
            push.try_send(&u32::to_be_bytes(message)).unwrap();
        }
        let mut pull = PullSocket::builder(&context).conflate(true).build().unwrap();
        pull.bind(endpoint.as_str()).unwrap();
        let mut last = receive_number(&mut pull);
        if transport.is_inproc() {
            assert_eq!(last, 999);
        }
        while last < 999 {
            last = receive_number(&mut pull);
        }
        send_number(&mut push, 1000);
        assert_eq!(receive_number(&mut pull), 1000);
    }

    fn parts_stay_together(transport) {
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).conflate(true).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::builder(&context).conflate(true).build().unwrap();
        push.connect(endpoint).unwrap();
        let message = |number: u32| Message::from([number.to_string(), "-".repeat(5000), number.to_string()]);
        for number in 0..1000 {
            push.send(message(number)).unwrap();
        }
        loop {
            let received = pull.recv_timeout(DEADLINE).unwrap();
            let number: u32 = received.to_str().unwrap().parse().unwrap();
            assert_eq!(received, message(number));
            if number == 999 {
                break;
            }
        }
    }

    fn a_publisher_keeps_the_newest_for_each_subscriber(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::builder(&context).conflate(true).build().unwrap();
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscribers: Vec<SubSocket> = (0..3)
            .map(|_| {
                let mut subscriber = SubSocket::builder(&context).conflate(true).build().unwrap();
                subscriber.connect(endpoint.clone()).unwrap();
                subscriber.subscribe([]).unwrap();
                subscriber
            })
            .collect();
        publisher.wait_for_subscribers(3, DEADLINE).unwrap();
        for message in 0..MANY {
            let published = publisher.send(&message.to_be_bytes()).unwrap();
            assert_eq!((published.queued, published.dropped), (3, 0));
        }
        for subscriber in &mut subscribers {
            while number(&subscriber.recv_timeout(DEADLINE).unwrap()) < MANY - 1 {}
        }
    }

    fn the_filter_of_a_subscriber_comes_after_its_place(transport) {
        let context = Context::new();
        let mut publisher = PubSocket::new(&context);
        let endpoint = publisher.bind(transport.wildcard()).unwrap();
        let mut subscriber = SubSocket::builder(&context).conflate(true).build().unwrap();
        subscriber.connect(endpoint).unwrap();
        subscriber.subscribe("a").unwrap();
        publisher.wait_for_subscribers_to("a", 1, DEADLINE).unwrap();
        publisher.send("a1").unwrap();
        assert_eq!(subscriber.recv_timeout(DEADLINE).unwrap().as_bytes(), b"a1");
        subscriber.unsubscribe("a").unwrap();
        publisher.send("a2").unwrap();
        subscriber.subscribe("b").unwrap();
        publisher.wait_for_subscribers_to("b", 1, DEADLINE).unwrap();
        publisher.send("b").unwrap();
        assert_eq!(subscriber.recv_timeout(DEADLINE).unwrap().as_bytes(), b"b");
    }

    fn dealers_conflate_both_ways(transport) {
        let context = Context::new();
        let mut one = DealerSocket::builder(&context).conflate(true).build().unwrap();
        let endpoint = one.bind(transport.wildcard()).unwrap();
        let mut other = DealerSocket::builder(&context).conflate(true).build().unwrap();
        other.connect(endpoint).unwrap();
        for message in 0..MANY {
            other.send_timeout(&message.to_be_bytes(), DEADLINE).unwrap();
        }
        while number(&one.recv_timeout(DEADLINE).unwrap()) < MANY - 1 {}
        for message in 0..MANY {
            one.send_timeout(&message.to_be_bytes(), DEADLINE).unwrap();
        }
        while number(&other.recv_timeout(DEADLINE).unwrap()) < MANY - 1 {}
    }

    fn the_newest_message_is_delivered_after_the_sender_closed(transport) {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::builder(&context)
            .conflate(true)
            .linger(Duration::from_secs(30))
            .build()
            .unwrap();
        push.connect(endpoint).unwrap();
        for message in 0..MANY {
            send_number(&mut push, message);
        }
        drop(push);
        while receive_number(&mut pull) < MANY - 1 {}
    }
}
