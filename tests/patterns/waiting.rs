//! Waits end in time, and end when what they wait for is there, whatever else comes meanwhile.

use std::time::Duration;

use zerowire::{Context, PubSocket, SubSocket, Told, WaitError, XPubSocket, XSubSocket};

use crate::support::{DEADLINE, wait_until, with_deadline};

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn waiting_for_subscribers_ends_in_time_although_what_they_say_is_not_received() {
    with_deadline(|| {
        let context = Context::new();
        let mut xpub = XPubSocket::builder(&context).receive_hwm(1).build().unwrap();
        xpub.bind("inproc://full").unwrap();
        let mut talker = XSubSocket::new(&context);
        talker.connect("inproc://full").unwrap();
        talker.send("not a subscription").unwrap();
        assert_eq!(xpub.wait_for_subscribers(1, SHORT), Err(WaitError::Timeout));
        // Its news lies in the inbox while nothing more is heard.
        let mut other = SubSocket::new(&context);
        other.connect("inproc://full").unwrap();
        other.subscribe("").unwrap();
        assert_eq!(xpub.wait_for_subscribers(1, SHORT), Err(WaitError::Timeout));
        assert_eq!(xpub.recv().unwrap().as_bytes(), b"not a subscription");
        assert_eq!(xpub.wait_for_subscribers(1, DEADLINE), Ok(()));
    });
}

#[test]
fn a_publisher_that_was_disconnected_from_does_not_count_as_one_that_was_told() {
    with_deadline(|| {
        let context = Context::new();
        let mut publisher = PubSocket::new(&context);
        publisher.bind("inproc://left").unwrap();
        let mut subscriber = SubSocket::new(&context);
        subscriber.subscribe("").unwrap();
        subscriber.connect("inproc://left").unwrap();
        assert_eq!(subscriber.wait_ready(DEADLINE), Ok(Told::Acknowledged));
        publisher.wait_for_subscribers(1, DEADLINE).unwrap();
        subscriber.disconnect("inproc://left").unwrap();
        subscriber.connect("inproc://nobody").unwrap();
        assert_eq!(subscriber.wait_ready(SHORT), Err(WaitError::Timeout));
        wait_until("the publisher has no subscriber", || publisher.subscribers() == 0);
    });
}

#[test]
fn a_message_behind_very_many_that_are_not_wanted_any_more_is_received() {
    with_deadline(|| {
        let context = Context::new();
        let mut publisher = PubSocket::builder(&context).send_hwm(100_000).build().unwrap();
        publisher.bind("inproc://many").unwrap();
        let mut subscriber = SubSocket::new(&context);
        subscriber.connect("inproc://many").unwrap();
        subscriber.subscribe("").unwrap();
        subscriber.subscribe("wanted").unwrap();
        publisher.wait_for_subscribers(1, DEADLINE).unwrap();
        for round in 0..2 {
            for _ in 0..20_000 {
                assert_eq!(publisher.send("given up").unwrap().queued, 1);
            }
            publisher.send("wanted").unwrap();
            if round == 0 {
                subscriber.unsubscribe("").unwrap();
                assert_eq!(subscriber.recv().unwrap().as_bytes(), b"wanted");
                subscriber.subscribe("given").unwrap();
                publisher.wait_for_subscribers_to("given", 1, DEADLINE).unwrap();
            } else {
                subscriber.unsubscribe("given").unwrap();
                let message = crate::executors::block_on(subscriber.recv_async());
                assert_eq!(message.unwrap().as_bytes(), b"wanted");
            }
        }
    });
}
