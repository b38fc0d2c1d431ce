//! Subscriptions are state: whatever happens to publishers and connections, each publisher knows all of them in the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use zerowire::{Context, PubSocket, SubSocket};

use super::{eager_sub, hear, ready, to};
use crate::on_every_transport;
use crate::support::{DEADLINE, wait_until};

fn topic(number: usize) -> String {
    format!("topic {number:05}/")
}

/// A message for each of the topics that are wanted goes to one, and for each other one to nobody; the subscriber receives
/// exactly those.
#[track_caller]
fn check_topics(
    publisher: &mut PubSocket,
    subscriber: &mut SubSocket,
    numbers: std::ops::Range<usize>,
    is_wanted: impl Fn(usize) -> bool,
) {
    // In portions that fit the queues.
    for start in numbers.clone().step_by(500) {
        let portion: Vec<usize> = (start..numbers.end.min(start + 500)).collect();
        for &number in &portion {
            let published = publisher.send(topic(number)).unwrap();
            assert_eq!(published, to(usize::from(is_wanted(number))), "topic {number}");
        }
        for number in portion.into_iter().filter(|&number| is_wanted(number)) {
            assert_eq!(hear(subscriber), topic(number));
        }
    }
}

on_every_transport! {
    /// A publisher that is replaced by a new one at the same address: the new one learns of ten thousand topics, which is ten
    /// times what a queue holds, without a word from the application.
    fn ten_thousand_topics_survive_a_restart_of_the_publisher(transport) {
        const TOPICS: usize = 10_000;
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut subscriber = eager_sub(&context);
        subscriber.connect(endpoint.as_str()).unwrap();
        for number in 0..TOPICS {
            subscriber.subscribe(topic(number)).unwrap();
        }
        for _ in 0..3 {
            let mut publisher = PubSocket::new(&context);
            publisher.bind(endpoint.as_str()).unwrap();
            publisher.wait_for_subscribers_to(topic(TOPICS - 1), 1, DEADLINE).unwrap();
            check_topics(&mut publisher, &mut subscriber, 0..TOPICS, |_| true);
            ready(&mut subscriber);
            // The address is free when this is done.
            publisher.unbind(endpoint.as_str()).unwrap();
        }
    }

    /// Publishers come and go while the subscriber changes its mind thousands of times: the last one knows exactly what is
    /// wanted in the end.
    fn topics_that_change_during_restarts_are_right_in_the_end(transport) {
        const TOPICS: usize = 6000;
        let context = Context::new();
        let endpoint = transport.fresh();
        let restarting = Arc::new(AtomicBool::new(true));
        let publishers = {
            let (context, endpoint, restarting) = (context.clone(), endpoint.clone(), restarting.clone());
            thread::spawn(move || {
                let mut restarts = 0;
                while restarting.load(Ordering::Relaxed) || restarts < 3 {
                    let mut publisher = PubSocket::new(&context);
                    publisher.bind(endpoint.as_str()).unwrap();
                    publisher.wait_for_subscribers(1, DEADLINE).unwrap();
                    // Not all restarts come at the same point of the telling.
                    for _ in 0..restarts * 7 % 50 {
                        publisher.send("nothing").unwrap();
                        thread::yield_now();
                    }
                    publisher.unbind(endpoint.as_str()).unwrap();
                    restarts += 1;
                }
            })
        };
        let mut subscriber = eager_sub(&context);
        subscriber.connect(endpoint.as_str()).unwrap();
        let mut wanted = BTreeSet::new();
        for number in 0..TOPICS {
            subscriber.subscribe(topic(number)).unwrap();
            wanted.insert(number);
            if number % 3 == 0 {
                // Some are taken back at once, some later, some twice.
                let earlier = number / 2;
                if wanted.remove(&earlier) {
                    subscriber.unsubscribe(topic(earlier)).unwrap();
                }
            }
            if number % 1000 == 999 {
                subscriber.wait_ready(Duration::from_millis(50)).ok();
            }
        }
        restarting.store(false, Ordering::Relaxed);
        publishers.join().unwrap();

        let mut publisher = PubSocket::new(&context);
        publisher.bind(endpoint.as_str()).unwrap();
        // A second burst while the first is being told.
        for number in TOPICS..2 * TOPICS {
            subscriber.subscribe(topic(number)).unwrap();
            wanted.insert(number);
        }
        for number in (0..TOPICS).step_by(5) {
            if wanted.remove(&number) {
                subscriber.unsubscribe(topic(number)).unwrap();
            }
        }
        subscriber.subscribe("end").unwrap();
        publisher.wait_for_subscribers_to("end", 1, DEADLINE).unwrap();
        check_topics(&mut publisher, &mut subscriber, 0..2 * TOPICS, |number| wanted.contains(&number));
        ready(&mut subscriber);
    }

    /// A subscriber that drops thousands of topics at once, and takes others, is understood.
    fn thousands_of_topics_are_exchanged_for_others(transport) {
        const TOPICS: usize = 5000;
        let context = Context::new();
        let endpoint = transport.fresh();
        let mut publisher = PubSocket::new(&context);
        publisher.bind(endpoint.as_str()).unwrap();
        let mut subscriber = eager_sub(&context);
        subscriber.connect(endpoint.as_str()).unwrap();
        for round in 0..3 {
            for number in 0..TOPICS {
                subscriber.subscribe(topic(round * TOPICS + number)).unwrap();
                if round > 0 {
                    subscriber.unsubscribe(topic((round - 1) * TOPICS + number)).unwrap();
                }
            }
            let end = format!("end {round}");
            subscriber.subscribe(&end).unwrap();
            publisher.wait_for_subscribers_to(&end, 1, DEADLINE).unwrap();
            check_topics(&mut publisher, &mut subscriber, 0..3 * TOPICS, |number| number / TOPICS == round);
        }
        for number in 0..TOPICS {
            subscriber.unsubscribe(topic(2 * TOPICS + number)).unwrap();
        }
        for round in 0..3 {
            subscriber.unsubscribe(format!("end {round}")).unwrap();
        }
        wait_until("nothing is wanted any more", || publisher.subscribers() == 0);
    }
}
