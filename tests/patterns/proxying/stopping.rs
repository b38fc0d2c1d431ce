//! Stopping a proxy: what has come goes on, what comes later or finds no room stays, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use zerowire::{Context, Message, Proxy, TryRecvError, XPubSocket, XSubSocket};

use super::{Streamer, dealer, passed, queue, streamer, wait_for_stats};
use crate::on_every_transport;
use crate::publishing::{hear, to};
use crate::support::{
    DEADLINE, Transport, number, receive, receive_number, send, send_number, wait_until, with_deadline,
};

/// What a forwarder is made of, and who is before and behind it; all are connected. Of what the reader says, so much may wait
/// in the back.
fn unforwarded(
    context: &Context,
    transport: Transport,
    upstream: u32,
) -> (XPubSocket, XSubSocket, XPubSocket, XSubSocket) {
    let mut source = XPubSocket::new(context);
    let mut back = XPubSocket::builder(context)
        .receive_hwm(upstream)
        .build()
        .unwrap();
    let [front, reader] = [&mut source, &mut back].map(|publisher| {
        let mut xsub = XSubSocket::builder(context).send_hwm(20_000).build().unwrap();
        xsub.connect(publisher.bind(transport.wildcard()).unwrap())
            .unwrap();
        wait_until("it is connected", || xsub.send("hello").unwrap().queued == 1);
        assert_eq!(hear(publisher), "hello");
        xsub
    });
    (source, front, back, reader)
}

on_every_transport! {
    /// Of what was sent before the stop, part has passed, and the rest is in the socket that comes back.
    fn a_stop_loses_nothing(transport) {
        let context = Context::new();
        let (mut source, proxy, mut sink) = streamer(&context, transport, 500, 1000);
        let proxy = proxy.spawn().unwrap();
        proxy.pause();
        (0..500).for_each(|number| send_number(&mut source, number));
        let mut end = proxy.stop().unwrap();
        let count = u32::try_from(passed(end.stats.front_to_back).0).unwrap();
        if transport.is_inproc() {
            assert_eq!(count, 500);
        }
        for number in 0..count {
            assert_eq!(receive_number(&mut sink), number);
        }
        for number in count..500 {
            assert_eq!(receive_number(&mut end.front), number);
        }
        assert_eq!(sink.try_recv(), Err(TryRecvError::Empty));
        // The sockets are as they were.
        send(&mut source, "goodbye");
        assert_eq!(receive(&mut end.front).as_bytes(), b"goodbye");
    }

    /// Everything that has come when the stop comes passes, whether or not the proxy has looked at it.
    fn a_stop_of_a_streamer_passes_on_all_that_has_come(transport) {
        let context = Context::new();
        let (mut source, proxy, mut sink) = streamer(&context, transport, 500, 1000);
        let mut end = proxy.spawn().unwrap().stop().unwrap();
        (0..500).for_each(|number| send_number(&mut source, number));
        wait_until("all has come", || end.front.stats().received.waiting == 500);
        let proxy = Proxy::streamer(end.front, end.back);
        proxy.control().pause();
        let mut end = proxy.spawn().unwrap().stop().unwrap();
        assert_eq!(passed(end.stats.front_to_back), (500, 2000));
        (0..500).for_each(|number| assert_eq!(receive_number(&mut sink), number));
        assert_eq!(end.front.try_recv(), Err(TryRecvError::Empty));
    }

    /// The same both ways, and each reply finds its client.
    fn a_stop_of_a_queue_passes_on_all_that_has_come(transport) {
        let context = Context::new();
        let (proxy, clients, workers) = queue(&context, transport, |front| front, |back| back);
        let proxy = proxy.spawn().unwrap();
        let mut worker = dealer(&context, &workers);
        let mut clients = [0, 1].map(|_| {
            let mut client = dealer(&context, &clients);
            send(&mut client, "hello");
            (client, receive(&mut worker).pop_front().unwrap())
        });
        let mut end = proxy.stop().unwrap();
        for number in 0..100 {
            for (index, (client, name)) in clients.iter_mut().enumerate() {
                send(client, format!("request {number} of {index}"));
                send(&mut worker, [&name[..], format!("reply {number} to {index}").as_bytes()]);
            }
        }
        wait_until("all has come", || {
            (end.front.stats().received.waiting, end.back.stats().received.waiting) == (200, 200)
        });
        let proxy = Proxy::queue(end.front, end.back);
        proxy.control().pause();
        let end = proxy.spawn().unwrap().stop().unwrap();
        assert_eq!((passed(end.stats.front_to_back).0, passed(end.stats.back_to_front).0), (200, 200));
        let mut next = [0, 0];
        for _ in 0..200 {
            let mut request = receive(&mut worker);
            let name = request.pop_front().unwrap();
            let index = clients.iter().position(|client| client.1 == name).unwrap();
            assert_eq!(request, Message::from(format!("request {} of {index}", next[index])));
            next[index] += 1;
        }
        for (index, (client, _)) in clients.iter_mut().enumerate() {
            (0..100).for_each(|number| assert_eq!(hear(client), format!("reply {number} to {index}")));
        }
    }

    /// The same with messages of a publisher, and the one subscription.
    fn a_stop_of_a_forwarder_passes_on_all_that_has_come(transport) {
        let context = Context::new();
        let (mut source, mut front, mut back, mut reader) = unforwarded(&context, transport, 5);
        front.subscribe("").unwrap();
        source.wait_for_subscribers(1, DEADLINE).unwrap();
        reader.subscribe("").unwrap();
        back.wait_for_subscribers(1, DEADLINE).unwrap();
        (0..500).for_each(|number| assert_eq!(source.send(number.to_string()).unwrap(), to(1)));
        wait_until("all has come", || front.stats().received.waiting == 500);
        let proxy = Proxy::forwarder(front, back);
        proxy.control().pause();
        let mut end = proxy.spawn().unwrap().stop().unwrap();
        assert_eq!((passed(end.stats.front_to_back).0, passed(end.stats.back_to_front).0), (500, 1));
        (0..500).for_each(|number| assert_eq!(hear(&mut reader), number.to_string()));
        assert_eq!(end.front.try_recv(), Err(TryRecvError::Empty));
    }

    /// What subscribers have said passes, also if the proxy has not heard it: it hears no more while so many messages wait.
    fn a_stop_passes_on_what_subscribers_have_said(transport) {
        const SENT: u32 = 1000;
        let context = Context::new();
        let (mut source, front, mut back, mut reader) = unforwarded(&context, transport, 5);
        (0..SENT).for_each(|number| assert_eq!(reader.send(number.to_string()).unwrap(), to(1)));
        // Five are heard, and more are not; the rest is on its way, or in the queue of the reader.
        let (at_least, most) = if transport.is_inproc() { (SENT, SENT) } else { (6, 10) };
        wait_until("more has come than is heard", || back.stats().received.received > u64::from(at_least));
        let received = back.stats().received.received - 1;
        let proxy = Proxy::forwarder(front, back);
        proxy.control().stop();
        let mut end = proxy.run().unwrap();
        let count = u32::try_from(passed(end.stats.back_to_front).0).unwrap();
        assert!(received <= count.into() && count <= most, "{count} of {received}");
        (0..count).for_each(|number| assert_eq!(hear(&mut source), number.to_string()));
        (count..SENT).for_each(|number| assert_eq!(hear(&mut end.back), number.to_string()));
    }

    /// Sources that never pause do not keep a proxy from its end.
    fn a_flood_does_not_keep_a_proxy_from_its_end(transport) {
        let context = Context::new();
        let (mut source, proxy, mut sink) = streamer(&context, transport, 1000, 1000);
        let proxy = proxy.spawn().unwrap();
        let enough = Arc::new(AtomicBool::new(false));
        let flooding = thread::spawn({
            let enough = enough.clone();
            move || {
                let mut number = 0;
                while !enough.load(Ordering::Relaxed) {
                    if source.send_timeout(&u32::to_be_bytes(number), Duration::from_millis(10)).is_ok() {
                        number += 1;
                    }
                }
                (source, number)
            }
        });
        let draining = thread::spawn(move || {
            let mut next = 0;
            loop {
                let message = receive(&mut sink);
                if message.is_empty() {
                    return next;
                }
                assert_eq!(number(&message), next);
                next += 1;
            }
        });
        wait_for_stats(&proxy, "a flood passes", |stats| stats.front_to_back.messages > 5000);
        let mut end = proxy.stop().unwrap();
        // The sockets have counted the same, whichever way the messages took.
        let (taken, sent) = (end.front.stats().received, end.back.stats().sent);
        let counted = (end.stats.front_to_back.messages, end.stats.front_to_back.bytes);
        assert_eq!((taken.taken, taken.taken_bytes), counted);
        assert_eq!((sent.accepted, sent.accepted_bytes), counted);
        send(&mut end.back, "");
        let passed_on = draining.join().unwrap();
        assert_eq!(passed(end.stats.front_to_back).0, u64::from(passed_on));
        enough.store(true, Ordering::Relaxed);
        let (_source, sent) = loop {
            // Whoever waits for room finds it.
            let _ = end.front.recv_timeout(Duration::ZERO);
            if flooding.is_finished() {
                break flooding.join().unwrap();
            }
        };
        assert!(passed_on <= sent);
    }
}

/// Of what subscribers say, some is void when it is heard, and nothing else stays behind for that.
#[test]
fn a_stop_passes_on_what_is_wanted_behind_what_is_void() {
    with_deadline(|| {
        // More than is heard in one go, and nothing of it is left; and some among others, of which only a few may wait.
        for (texts, voids) in [(0, 5000), (8, 1)] {
            let context = Context::new();
            let (mut source, front, back, mut reader) = unforwarded(&context, Transport::Inproc, 5);
            let texts: Vec<String> = (0..texts).map(|number| number.to_string()).collect();
            for text in &texts {
                reader.send(text.as_str()).unwrap();
            }
            for _ in 0..voids {
                reader.subscribe("void").unwrap();
                reader.unsubscribe("void").unwrap();
            }
            reader.subscribe("wanted").unwrap();
            assert_eq!(reader.send("the last").unwrap(), to(1));
            let proxy = Proxy::forwarder(front, back);
            proxy.control().stop();
            let mut end = proxy.run().unwrap();
            let last = ["\u{1}wanted".to_owned(), "the last".to_owned()];
            let passed_on = [texts, last.into()].concat();
            assert_eq!(passed(end.stats.back_to_front).0, passed_on.len() as u64);
            passed_on
                .iter()
                .for_each(|text| assert_eq!(hear(&mut source), *text));
            assert_eq!(end.back.try_recv(), Err(TryRecvError::Empty));
        }
    });
}

/// A stop waits for a sink that takes its time.
#[test]
fn a_stop_passes_on_all_that_was_received_at_the_pace_of_the_sink() {
    with_deadline(|| {
        let context = Context::new();
        let (mut source, proxy, mut sink) = streamer(&context, Transport::Inproc, 1000, 1);
        let proxy = proxy.spawn().unwrap();
        proxy.pause();
        (0..1000).for_each(|number| send_number(&mut source, number));
        let control = proxy.control();
        let stopping = thread::spawn(move || proxy.stop().unwrap());
        (0..1000).for_each(|number| assert_eq!(receive_number(&mut sink), number));
        let end = stopping.join().unwrap();
        assert_eq!(passed(end.stats.front_to_back).0, 1000);
        // A proxy that has ended can be told anything.
        control.resume();
        control.pause();
        control.stop();
        assert_eq!(control.stats(), end.stats);
    });
}

/// When time is up, what was taken comes back, and the rest is where it was.
#[test]
fn a_stop_ends_in_time_though_nobody_takes_anything() {
    with_deadline(|| {
        for timeout in [Duration::ZERO, Duration::from_millis(50)] {
            let context = Context::new();
            let (mut source, proxy, mut sink) = streamer(&context, Transport::Inproc, 10, 5);
            let proxy: Streamer = proxy.stop_timeout(timeout).spawn().unwrap();
            (0..16).for_each(|number| send_number(&mut source, number));
            wait_for_stats(&proxy, "it holds one", |stats| stats.front_to_back.held == 1);
            let mut end = proxy.stop().unwrap();
            let flow = end.stats.front_to_back;
            assert_eq!((flow.messages, flow.held), (5, 1));
            for expected in 0..5 {
                assert_eq!(receive_number(&mut sink), expected);
            }
            assert_eq!(number(&end.for_back.unwrap()), 5);
            for expected in 6..16 {
                assert_eq!(receive_number(&mut end.front), expected);
            }
            assert!(end.for_front.is_none());
        }
    });
}

/// A reply that was taken comes back as well, with the name of its client.
#[test]
fn a_reply_for_which_a_client_has_no_room_comes_back() {
    with_deadline(|| {
        let context = Context::new();
        let (proxy, clients, workers) = queue(
            &context,
            Transport::Inproc,
            |front| front.send_hwm(3),
            |back| back,
        );
        let proxy = proxy.stop_timeout(Duration::ZERO).spawn().unwrap();
        let (mut client, mut worker) = (dealer(&context, &clients), dealer(&context, &workers));
        send(&mut client, "hello");
        let name = receive(&mut worker).pop_front().unwrap();
        for number in 0..10u32 {
            send(&mut worker, [&name[..], &number.to_be_bytes()]);
        }
        wait_for_stats(&proxy, "it holds one", |stats| stats.back_to_front.held == 1);
        let mut end = proxy.stop().unwrap();
        let flow = end.stats.back_to_front;
        assert_eq!((flow.messages, flow.held), (3, 1));
        assert_eq!(
            end.for_front,
            Some(Message::from([&name[..], &3u32.to_be_bytes()]))
        );
        assert_eq!(end.for_back, None);
        (0..3).for_each(|number| assert_eq!(receive_number(&mut client), number));
        for number in 4..10u32 {
            assert_eq!(
                receive(&mut end.back),
                Message::from([&name[..], &number.to_be_bytes()])
            );
        }
    });
}
