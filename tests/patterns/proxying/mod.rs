//! Proxies: everything goes on, in order, at the pace of whoever is slowest, and what cannot go on is counted.

mod stopping;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use zerowire::{
    Builder, Context, DealerSocket, Endpoint, Flow, Message, Proxy, ProxyHandle, ProxyStats, PubSocket,
    PullSocket, PushSocket, RecvTimeoutError, RepSocket, ReqSocket, RouterSocket, SendTimeoutError,
    SlowSubscriber, SubSocket, TryRecvError, TrySendError, XPubSocket, XSubSocket,
};

use crate::forwarding::Crowd;
use crate::on_every_transport;
use crate::publishing::{hear, publisher, subscriber, to};
use crate::support::{
    DEADLINE, Transport, pattern, receive, receive_number, send, send_number, wait_until, with_deadline,
};

type Streamer = ProxyHandle<PullSocket, PushSocket>;
type Queue = ProxyHandle<RouterSocket, DealerSocket>;

/// A streamer to be started, who sends to it and who receives from it. High-water marks are those of the two that send.
fn streamer(
    context: &Context,
    transport: Transport,
    before: u32,
    behind: u32,
) -> (PushSocket, Proxy<PullSocket, PushSocket>, PullSocket) {
    let mut front = PullSocket::new(context);
    let mut source = PushSocket::builder(context).send_hwm(before).build().unwrap();
    source.connect(front.bind(transport.wildcard()).unwrap()).unwrap();
    let mut back = PushSocket::builder(context).send_hwm(behind).build().unwrap();
    let mut sink = PullSocket::new(context);
    sink.connect(back.bind(transport.wildcard()).unwrap()).unwrap();
    (source, Proxy::streamer(front, back), sink)
}

/// A queue that is bound at both ends, and where.
fn queue(
    context: &Context,
    transport: Transport,
    front: impl FnOnce(Builder<RouterSocket>) -> Builder<RouterSocket>,
    back: impl FnOnce(Builder<DealerSocket>) -> Builder<DealerSocket>,
) -> (Proxy<RouterSocket, DealerSocket>, Endpoint, Endpoint) {
    let mut front = front(RouterSocket::builder(context)).build().unwrap();
    let mut back = back(DealerSocket::builder(context)).build().unwrap();
    let clients = front.bind(transport.wildcard()).unwrap();
    let workers = back.bind(transport.wildcard()).unwrap();
    (Proxy::queue(front, back), clients, workers)
}

fn dealer(context: &Context, endpoint: &Endpoint) -> DealerSocket {
    let mut dealer = DealerSocket::new(context);
    dealer.connect(endpoint).unwrap();
    dealer
}

/// A forwarder of what this publisher says.
fn forwarder(
    context: &Context,
    transport: Transport,
    source: impl AsRef<str>,
    back: impl FnOnce(Builder<XPubSocket>) -> Builder<XPubSocket>,
) -> (ProxyHandle<XSubSocket, XPubSocket>, Endpoint) {
    let front = XSubSocket::builder(context).reconnect_min(Duration::from_millis(1));
    let mut front = front.reconnect_max(Duration::from_millis(20)).build().unwrap();
    front.connect(source.as_ref()).unwrap();
    let mut back = back(XPubSocket::builder(context)).build().unwrap();
    let endpoint = back.bind(transport.wildcard()).unwrap();
    (Proxy::forwarder(front, back).spawn().unwrap(), endpoint)
}

/// So many messages, of so many bytes in all.
fn passed(flow: Flow) -> (u64, u64) {
    let nothing_else = (
        flow.unroutable,
        flow.too_large,
        flow.dropped,
        flow.missed,
        flow.held,
    );
    assert_eq!(nothing_else, (0, 0, 0, 0, 0), "{flow:?}");
    (flow.messages, flow.bytes)
}

/// Waits until the proxy has done so much.
#[track_caller]
fn wait_for_stats<F, B>(proxy: &ProxyHandle<F, B>, what: &str, holds: impl Fn(&ProxyStats) -> bool) {
    wait_until(what, || holds(&proxy.stats()));
}

on_every_transport! {
    /// Nothing is lost, nothing comes twice, and nothing overtakes anything.
    fn a_streamer_passes_everything_on_in_order(transport) {
        const COUNT: u32 = 100_000;
        let context = Context::new();
        let (mut source, proxy, mut sink) = streamer(&context, transport, 1000, 1000);
        let proxy = proxy.spawn().unwrap();
        let sending = thread::spawn(move || {
            (0..COUNT).for_each(|number| send_number(&mut source, number));
            source
        });
        for number in 0..COUNT {
            assert_eq!(receive_number(&mut sink), number);
        }
        sending.join().unwrap();
        let stats = proxy.stop().unwrap().stats;
        assert_eq!(passed(stats.front_to_back), (COUNT.into(), u64::from(COUNT) * 4));
        assert_eq!(stats.back_to_front, Flow::default());
        assert_eq!(sink.try_recv(), Err(TryRecvError::Empty));
    }

    /// Whatever its size and number of parts, a message comes out as it went in.
    fn messages_of_every_shape_pass(transport) {
        let context = Context::new();
        let (mut source, proxy, mut sink) = streamer(&context, transport, 10, 10);
        let proxy = proxy.spawn().unwrap();
        let messages: Vec<Message> = [0, 1, 64, 255, 256, 4086, 4087, 4096, 65_535, 65_536, 1 << 20]
            .into_iter()
            .map(|length| Message::from(pattern(length, 3)))
            .chain([
                Message::from(["", ""]),
                Message::from(["a", "", "c"]),
                Message::from([&b"small"[..], &pattern(5000, 1), b"", &pattern(200_000, 2), b"end"]),
                Message::from_parts((0..1000u32).map(|part| part.to_be_bytes().to_vec())),
            ])
            .collect();
        let sending = thread::spawn({
            let messages = messages.clone();
            move || {
                for _ in 0..3 {
                    messages.iter().for_each(|message| send(&mut source, message.clone()));
                }
                source
            }
        });
        for message in messages.iter().cycle().take(3 * messages.len()) {
            assert!(receive(&mut sink) == *message, "a message of {} bytes", message.total_bytes());
        }
        sending.join().unwrap();
        let bytes: usize = messages.iter().map(Message::total_bytes).sum();
        let stats = proxy.stop().unwrap().stats;
        assert_eq!(passed(stats.front_to_back), (3 * messages.len() as u64, 3 * bytes as u64));
    }

    /// From several sources to several sinks: each has its turn, and what one source sends to one sink stays in order.
    fn a_streamer_serves_all_its_peers(transport) {
        const COUNT: u32 = 3000;
        let context = Context::new();
        let (mut front, mut back) = (PullSocket::new(&context), PushSocket::new(&context));
        let (to_front, from_back) = (front.bind(transport.wildcard()).unwrap(), back.bind(transport.wildcard()).unwrap());
        let proxy = Proxy::streamer(front, back).spawn().unwrap();
        let taken = Arc::new(AtomicU32::new(0));
        let sinks: Vec<_> = (0..3)
            .map(|_| {
                let taken = taken.clone();
                let mut sink = PullSocket::new(&context);
                sink.connect(&from_back).unwrap();
                thread::spawn(move || {
                    let (mut next, mut count) = ([0; 3], 0u64);
                    loop {
                        let message = receive(&mut sink);
                        if message.is_empty() {
                            return count;
                        }
                        let [source, number @ ..] = *message.as_bytes().first_chunk::<5>().unwrap();
                        let (number, next) = (u32::from_be_bytes(number), &mut next[usize::from(source)]);
                        assert!(number >= *next, "{number} of source {source} came after {next}");
                        (*next, count) = (number + 1, count + 1);
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let sources: Vec<_> = (0..3u8)
            .map(|source| {
                let mut push = PushSocket::new(&context);
                push.connect(&to_front).unwrap();
                thread::spawn(move || {
                    for number in 0..COUNT {
                        send(&mut push, [&[source][..], &number.to_be_bytes()].concat());
                    }
                    push
                })
            })
            .collect();
        let _sources: Vec<_> = sources.into_iter().map(|source| source.join().unwrap()).collect();
        wait_for_stats(&proxy, "all have passed", |stats| stats.front_to_back.messages == u64::from(3 * COUNT));
        let mut end = proxy.stop().unwrap();
        // When all have room, messages are dealt out in turn, so each gets one of these.
        wait_until("all were received", || taken.load(Ordering::Relaxed) == 3 * COUNT);
        (0..3).for_each(|_| send(&mut end.back, ""));
        let counts: Vec<u64> = sinks.into_iter().map(|sink| sink.join().unwrap()).collect();
        assert_eq!(counts.iter().sum::<u64>(), u64::from(3 * COUNT));
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
    }

    /// Each reply finds the client that asked, whichever worker gave it.
    fn a_queue_stands_between_many_clients_and_many_workers(transport) {
        const CLIENTS: u32 = 8;
        const REQUESTS: u32 = 50;
        let context = Context::new();
        let (proxy, clients, workers) = queue(&context, transport, |front| front, |back| back);
        let proxy = proxy.spawn().unwrap();
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let mut rep = RepSocket::new(&context);
                rep.connect(&workers).unwrap();
                thread::spawn(move || {
                    let mut served = 0u64;
                    loop {
                        let request = receive(&mut rep);
                        if request.as_bytes() == b"go home" {
                            return served;
                        }
                        send(&mut rep, request);
                        served += 1;
                    }
                })
            })
            .collect();
        let asking: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (context, clients) = (context.clone(), clients.clone());
                thread::spawn(move || {
                    let mut req = ReqSocket::new(&context);
                    req.connect(&clients).unwrap();
                    for number in 0..REQUESTS {
                        send_number(&mut req, client * REQUESTS + number);
                        assert_eq!(receive_number(&mut req), client * REQUESTS + number);
                    }
                })
            })
            .collect();
        asking.into_iter().for_each(|client| client.join().unwrap());
        let mut end = proxy.stop().unwrap();
        (0..workers.len()).for_each(|_| send(&mut end.back, ["", "go home"]));
        let served: Vec<u64> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        let all = u64::from(CLIENTS * REQUESTS);
        assert_eq!(served.iter().sum::<u64>(), all);
        // Each has the empty part of an envelope, and a number.
        assert_eq!(passed(end.stats.front_to_back), (all, all * 4));
        assert_eq!(passed(end.stats.back_to_front), (all, all * 4));
    }

    /// Queues can stand one behind the other: each knows its neighbours only.
    fn requests_pass_through_a_chain_of_queues(transport) {
        let context = Context::new();
        let mut rep = RepSocket::new(&context);
        let mut next = rep.bind(transport.wildcard()).unwrap();
        let proxies: Vec<Queue> = (0..2)
            .map(|_| {
                let (mut front, mut back) = (RouterSocket::new(&context), DealerSocket::new(&context));
                back.connect(&next).unwrap();
                next = front.bind(transport.wildcard()).unwrap();
                Proxy::queue(front, back).spawn().unwrap()
            })
            .collect();
        let mut req = ReqSocket::new(&context);
        req.connect(&next).unwrap();
        for body in [Message::new(), Message::from(["", "a", ""]), Message::from(pattern(100_000, 1))] {
            send(&mut req, body.clone());
            assert!(receive(&mut rep) == body);
            send(&mut rep, body.clone());
            assert!(receive(&mut req) == body);
        }
        // The second is farther from the worker: what it passes has one part of an envelope less.
        for proxy in proxies {
            let stats = proxy.stop().unwrap().stats;
            assert_eq!((stats.front_to_back.messages, stats.back_to_front.messages), (3, 3));
        }
    }

    /// A reply to a client that has gone, or to nobody, is counted, and the others get theirs.
    fn replies_without_a_client_are_counted(transport) {
        let context = Context::new();
        let (proxy, clients, workers) = queue(&context, transport, |front| front.drop_unroutable(true), |back| back);
        let proxy = proxy.spawn().unwrap();
        let mut worker = dealer(&context, &workers);
        let (mut gone, mut staying) = (dealer(&context, &clients), dealer(&context, &clients));
        send(&mut gone, "request");
        let late = receive(&mut worker);
        drop(gone);
        let mut sent = 0;
        while proxy.stats().back_to_front.unroutable == 0 {
            send(&mut worker, late.clone());
            sent += 1;
        }
        for odd in [Message::from("no body"), Message::from(["", "no name"]), Message::from([&[b'x'; 256][..], b"?"])] {
            send(&mut worker, odd);
        }
        send(&mut staying, "question");
        let request = receive(&mut worker);
        send(&mut worker, request);
        assert_eq!(receive(&mut staying).as_bytes(), b"question");
        let mut end = proxy.stop().unwrap();
        assert_eq!(passed(end.stats.front_to_back), (2, 15));
        let back_to_front = end.stats.back_to_front;
        assert_eq!(back_to_front.messages + back_to_front.unroutable, sent + 4);
        // Those that came while the client was still there, and the one for the other.
        assert_eq!(back_to_front.bytes, (back_to_front.messages - 1) * 7 + 8);
        assert_eq!(end.front.peers().len(), 1);
    }

    /// What the next peers would hang up on is counted instead of sent, and holds nobody up.
    fn messages_over_the_limit_of_the_other_side_are_counted(transport) {
        let context = Context::new();
        let (proxy, clients, workers) =
            queue(&context, transport, |front| front.max_message_bytes(3000), |back| back.max_message_bytes(2000));
        let proxy = proxy.spawn().unwrap();
        let (mut client, mut worker) = (dealer(&context, &clients), dealer(&context, &workers));
        for length in [1000, 2500, 10, 2001] {
            send(&mut client, vec![7; length]);
        }
        for expected in [1000, 10] {
            let mut request = receive(&mut worker);
            assert_eq!(request.part(1).map(<[u8]>::len), Some(expected));
            request.push_back(vec![7; 995]);
            send(&mut worker, request);
        }
        for expected in [1000, 10] {
            assert_eq!(receive(&mut client).len(), expected);
        }
        let stats = proxy.stop().unwrap().stats;
        assert_eq!((stats.front_to_back.messages, stats.front_to_back.too_large), (2, 2));
        assert_eq!(passed(stats.back_to_front), (2, 3000));
    }

    /// The same in a streamer, which need not look into messages where both sides have the same limits.
    fn messages_over_the_limit_of_the_next_stage_are_counted(transport) {
        type Limit = fn(Builder<PushSocket>) -> Builder<PushSocket>;
        let limits: [(Limit, Message); 2] = [
            (|back| back.max_message_bytes(200), Message::from(vec![7; 201])),
            (|back| back.max_message_parts(2), Message::from(["one", "part", "too", "many"])),
        ];
        for (limit, too_large) in limits {
            let context = Context::new();
            let mut front = PullSocket::new(&context);
            let mut source = PushSocket::new(&context);
            source.connect(front.bind(transport.wildcard()).unwrap()).unwrap();
            let mut back = limit(PushSocket::builder(&context)).build().unwrap();
            let mut sink = PullSocket::new(&context);
            sink.connect(back.bind(transport.wildcard()).unwrap()).unwrap();
            for number in 0..100 {
                send_number(&mut source, number);
                send(&mut source, ["with", "two parts"]);
                send(&mut source, too_large.clone());
            }
            // So that they lie one behind the other.
            wait_until("all have come", || front.stats().received.waiting == 300);
            let proxy = Proxy::streamer(front, back).spawn().unwrap();
            for number in 0..100 {
                assert_eq!(receive_number(&mut sink), number);
                assert_eq!(receive(&mut sink), Message::from(["with", "two parts"]));
            }
            let flow = proxy.stop().unwrap().stats.front_to_back;
            assert_eq!((flow.messages, flow.bytes, flow.too_large), (200, 100 * (4 + 13), 100));
            assert_eq!(sink.try_recv(), Err(TryRecvError::Empty));
        }
    }

    /// A sink that takes nothing holds back the source, and nothing is lost when it goes on.
    fn a_slow_sink_holds_back_the_source(transport) {
        let context = Context::new();
        let (mut source, proxy, mut sink) = streamer(&context, transport, 10, 10);
        let proxy = proxy.spawn().unwrap();
        let message = |number: u32| [&number.to_be_bytes()[..], &[7; 16_000]].concat();
        let mut count = 0;
        // The kernel's buffers take some, more than once while they grow.
        while let Ok(()) = source.send_timeout(message(count), Duration::from_millis(300)) {
            count += 1;
            assert!(count < 20_000, "nobody holds the source back");
        }
        assert_eq!(sink.recv_timeout(DEADLINE).unwrap().as_bytes()[..4], [0; 4]);
        for number in 1..count {
            assert_eq!(receive(&mut sink).as_bytes()[..4], number.to_be_bytes());
        }
        send(&mut source, message(count));
        assert_eq!(receive(&mut sink).as_bytes()[..4], count.to_be_bytes());
        let stats = proxy.stop().unwrap().stats;
        assert_eq!(passed(stats.front_to_back).0, u64::from(count) + 1);
    }

    /// Workers that take no requests can still reply.
    fn replies_pass_while_requests_wait(transport) {
        let context = Context::new();
        let (proxy, clients, workers) = queue(&context, transport, |front| front.receive_hwm(5), |back| back.send_hwm(1));
        let proxy = proxy.spawn().unwrap();
        let mut client = DealerSocket::builder(&context).send_hwm(1).build().unwrap();
        client.connect(&clients).unwrap();
        let mut worker = DealerSocket::builder(&context).receive_hwm(1).build().unwrap();
        worker.connect(&workers).unwrap();
        let body = pattern(60_000, 1);
        send(&mut client, &body[..]);
        let name = receive(&mut worker).pop_front().unwrap();
        let mut sent = 1;
        loop {
            match client.send_timeout(&body[..], Duration::from_millis(300)) {
                Ok(()) => sent += 1,
                Err(SendTimeoutError::Timeout(_)) if proxy.stats().front_to_back.held == 1 => break,
                Err(SendTimeoutError::Timeout(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        for number in 0..500u32 {
            send(&mut worker, [&name[..], &number.to_be_bytes()]);
            assert_eq!(receive_number(&mut client), number);
        }
        assert_eq!(proxy.stats().front_to_back.held, 1);
        (1..sent).for_each(|_| drop(receive(&mut worker)));
        let stats = proxy.stop().unwrap().stats;
        assert_eq!(passed(stats.back_to_front).0, 500);
        assert_eq!(passed(stats.front_to_back).0, sent);
    }

    /// A client that reads nothing holds up the replies of others, or does without its own.
    fn a_client_that_reads_nothing_is_waited_for_or_not(transport) {
        for drop_full in [false, true] {
            let context = Context::new();
            let (proxy, clients, workers) = queue(&context, transport, |front| front.send_hwm(3), |back| back);
            let proxy = proxy.drop_full(drop_full).spawn().unwrap();
            let mut worker = dealer(&context, &workers);
            let mut names = ["lazy", "eager"].map(|name| {
                let mut client = DealerSocket::builder(&context).receive_hwm(3).build().unwrap();
                client.connect(&clients).unwrap();
                send(&mut client, name);
                (client, receive(&mut worker).pop_front().unwrap())
            });
            let mut sent = 0;
            let body = vec![7; 60_000];
            while proxy.stats().back_to_front.dropped == 0 {
                match worker.send_timeout([&names[0].1[..], &body], Duration::from_millis(300)) {
                    Ok(()) => sent += 1,
                    Err(_) if !drop_full && proxy.stats().back_to_front.held == 1 => break,
                    Err(_) => {}
                }
            }
            if drop_full {
                send(&mut worker, [&names[1].1[..], b"hello"]);
                assert_eq!(receive(&mut names[1].0).as_bytes(), b"hello");
            } else {
                (0..sent).for_each(|_| drop(receive(&mut names[0].0)));
            }
            let flow = proxy.stop().unwrap().stats.back_to_front;
            let dropped = if drop_full { sent + 1 - flow.messages } else { 0 };
            assert_eq!((flow.messages + flow.dropped, flow.dropped), (sent + u64::from(drop_full), dropped));
        }
    }

    /// In a pause nothing is taken from either side; afterwards everything goes on.
    fn a_pause_is_a_pause_on_both_sides(transport) {
        let context = Context::new();
        let (proxy, clients, workers) = queue(&context, transport, |front| front, |back| back);
        // It may begin before the proxy runs.
        proxy.control().pause();
        let proxy = proxy.spawn().unwrap();
        let (mut client, mut worker) = (dealer(&context, &clients), dealer(&context, &workers));
        for round in 0..5u32 {
            let before = proxy.stats();
            (0..10).for_each(|number| send_number(&mut client, number));
            assert_eq!(worker.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
            assert_eq!(proxy.stats(), before);
            proxy.resume();
            let mut requests: Vec<Message> = (0..10).map(|_| receive(&mut worker)).collect();
            proxy.pause();
            requests.drain(..).for_each(|request| send(&mut worker, request));
            assert_eq!(client.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
            assert_eq!(proxy.stats().front_to_back.messages, u64::from(round + 1) * 10);
            assert_eq!(proxy.stats().back_to_front.messages, u64::from(round) * 10);
            proxy.resume();
            for number in 0..10 {
                assert_eq!(receive_number(&mut client), number);
            }
            proxy.pause();
        }
        let stats = proxy.stop().unwrap().stats;
        assert_eq!((passed(stats.front_to_back), passed(stats.back_to_front)), ((50, 200), (50, 200)));
    }

    /// The capture socket has a copy of all that passed, and the proxy waits for nobody who reads it.
    fn a_capture_sees_what_passes_or_it_is_counted(transport) {
        let context = Context::new();
        let (proxy, clients, workers) = queue(&context, transport, |front| front, |back| back);
        let mut capture = PushSocket::builder(&context).send_hwm(50).build().unwrap();
        let tap = capture.bind(transport.wildcard()).unwrap();
        let proxy = proxy.capture(capture).spawn().unwrap();
        let (mut client, mut worker) = (dealer(&context, &clients), dealer(&context, &workers));
        let mut exchange = |body: &[u8]| {
            send(&mut client, body);
            let mut request = receive(&mut worker);
            let name = request.part(0).unwrap().to_vec();
            request.push_back("reply");
            send(&mut worker, request);
            assert_eq!(receive(&mut client).as_bytes(), body);
            name
        };
        // While nobody is there, nobody is waited for.
        let name = exchange(b"unseen");
        wait_for_stats(&proxy, "both were counted", |stats| stats.capture_dropped == 2);
        let mut reader = PullSocket::new(&context);
        reader.connect(&tap).unwrap();
        let mut counts = (0, 2);
        while counts.0 == 0 {
            exchange(b"seen?");
            wait_for_stats(&proxy, "both were counted", |stats| stats.captured + stats.capture_dropped == counts.0 + counts.1 + 2);
            counts = (proxy.stats().captured, proxy.stats().capture_dropped);
        }
        (0..counts.0).for_each(|_| drop(receive(&mut reader)));
        for _ in 0..20 {
            exchange(b"seen");
            assert!(receive(&mut reader) == Message::from([&name[..], b"seen"]));
            assert!(receive(&mut reader) == Message::from([&name[..], b"seen", b"reply"]));
        }
        // A reader that has stopped reading misses what finds no room.
        let body = pattern(60_000, 1);
        while proxy.stats().capture_dropped == counts.1 {
            exchange(&body);
        }
        let stats = proxy.stop().unwrap().stats;
        let all = passed(stats.front_to_back).0 + passed(stats.back_to_front).0;
        assert_eq!(stats.captured + stats.capture_dropped, all);
        (0..stats.captured - counts.0 - 40).for_each(|_| drop(receive(&mut reader)));
        assert_eq!(reader.try_recv(), Err(TryRecvError::Empty));
    }

    /// A capture socket may be a publisher: whoever wants hears it.
    fn a_capture_can_be_subscribed_to(transport) {
        let context = Context::new();
        let (mut source, proxy, mut sink) = streamer(&context, transport, 10, 10);
        let (capture, tap) = publisher(&context, transport);
        let proxy = proxy.capture(capture).spawn().unwrap();
        send(&mut source, "a1");
        assert_eq!(hear(&mut sink), "a1");
        wait_for_stats(&proxy, "its copy is gone", |stats| stats.captured == 1);
        let mut reader = subscriber(&context, &tap, &["a"]);
        for text in ["a2", "b2", "a3"] {
            send(&mut source, text);
            assert_eq!(hear(&mut sink), text);
        }
        assert_eq!((hear(&mut reader), hear(&mut reader)), ("a2".into(), "a3".into()));
        let stats = proxy.stop().unwrap().stats;
        assert_eq!((stats.captured, stats.capture_dropped), (4, 0));
    }

    /// Through one forwarder and through two, whoever comes and goes: the source ends up with exactly what is wanted.
    fn forwarders_pass_subscriptions_and_their_ends(transport) {
        for length in [1, 2] {
            let context = Context::new();
            let (mut source, mut endpoint) = publisher(&context, transport);
            let mut proxies = Vec::new();
            for _ in 0..length {
                let (proxy, next) = forwarder(&context, transport, endpoint.to_string(), |back| back);
                endpoint = next;
                proxies.push(proxy);
            }
            let mut crowd = Crowd::visit(&context, &endpoint);
            crowd.check(&mut source);
            drop(crowd);
            wait_until("nothing is wanted any more", || source.subscribers() == 0);
            for proxy in proxies.into_iter().rev() {
                let stats = proxy.stop().unwrap().stats;
                assert!(passed(stats.front_to_back).0 > 0 && passed(stats.back_to_front).0 > 0);
            }
        }
    }

    /// What subscribers say beside subscriptions reaches the publisher.
    fn a_forwarder_passes_on_what_subscribers_say(transport) {
        let context = Context::new();
        let mut source = XPubSocket::new(&context);
        let endpoint = source.bind(transport.wildcard()).unwrap();
        let (proxy, copies) = forwarder(&context, transport, endpoint.to_string(), |back| back);
        let mut subscriber = XSubSocket::new(&context);
        subscriber.subscribe("a").unwrap();
        subscriber.connect(&copies).unwrap();
        assert_eq!(receive(&mut source).as_bytes(), b"\x01a");
        subscriber.send(["more", "please"]).unwrap();
        assert!(receive(&mut source) == Message::from(["more", "please"]));
        assert_eq!(source.send(["a", "there"]).unwrap(), to(1));
        assert!(receive(&mut subscriber) == Message::from(["a", "there"]));
        subscriber.unsubscribe("a").unwrap();
        assert_eq!(receive(&mut source).as_bytes(), b"\0a");
        let stats = proxy.stop().unwrap().stats;
        assert_eq!(passed(stats.front_to_back), (1, 6));
        assert_eq!(passed(stats.back_to_front), (3, 14));
    }

    /// The options of the back socket say whether a slow subscriber is waited for.
    fn a_slow_subscriber_is_waited_for_or_what_it_misses_is_counted(transport) {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(60));
        for (slow, waits) in [
            (SlowSubscriber::DropNewest, false),
            (SlowSubscriber::Block(short), false),
            (SlowSubscriber::Block(long), true),
            (SlowSubscriber::Fail, true),
        ] {
            let context = Context::new();
            let patient = PubSocket::builder(&context).slow_subscriber(SlowSubscriber::Block(long));
            let mut source = patient.send_hwm(5).build().unwrap();
            let endpoint = source.bind(transport.wildcard()).unwrap();
            let options = |back: Builder<XPubSocket>| back.slow_subscriber(slow).send_hwm(5);
            let (proxy, copies) = forwarder(&context, transport, endpoint.to_string(), options);
            let mut reader = SubSocket::builder(&context).receive_hwm(5).build().unwrap();
            reader.subscribe("").unwrap();
            reader.connect(&copies).unwrap();
            source.wait_for_subscribers(1, DEADLINE).unwrap();
            let body = vec![7; 60_000];
            let mut sent = 0;
            let has_felt_it = |stats: ProxyStats| match waits {
                true => stats.front_to_back.held == 1 && stats.front_to_back.messages >= 5,
                false => stats.front_to_back.missed > 0,
            };
            while !has_felt_it(proxy.stats()) {
                if source.try_send(&body[..]).is_ok() {
                    sent += 1;
                }
            }
            let flow = || proxy.stats().front_to_back;
            if waits {
                (0..sent).for_each(|_| drop(receive(&mut reader)));
                wait_until("all have passed", || flow().messages == sent);
                assert_eq!(flow().missed, 0);
            } else {
                wait_until("all have passed", || flow().messages == sent);
                let missed = flow().missed;
                (0..sent - missed).for_each(|_| drop(receive(&mut reader)));
                assert_eq!(reader.try_recv(), Err(TryRecvError::Empty));
            }
            proxy.stop().unwrap();
        }
    }

    /// The source may be replaced while a forwarder runs.
    fn a_forwarder_survives_a_restart_of_its_source(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        let (proxy, copies) = forwarder(&context, transport, &endpoint, |back| back);
        let mut reader = SubSocket::new(&context);
        reader.subscribe("a").unwrap();
        reader.connect(&copies).unwrap();
        for round in 0..10 {
            let mut source = PubSocket::new(&context);
            source.bind(endpoint.as_str()).unwrap();
            source.wait_for_subscribers(1, DEADLINE).unwrap();
            let text = format!("a {round}");
            assert_eq!(source.send(text.as_str()).unwrap(), to(1));
            assert_eq!(hear(&mut reader), text);
            source.unbind(endpoint.as_str()).unwrap();
        }
        assert_eq!(passed(proxy.stop().unwrap().stats.front_to_back).0, 10);
    }
}

/// With nobody reading, the bound is exact: two queues, and one message in between.
#[test]
fn a_stuck_sink_costs_two_queues_and_one_message() {
    with_deadline(|| {
        for (before, behind) in [(1, 1), (7, 5), (100, 300)] {
            let context = Context::new();
            let (mut source, proxy, mut sink) = streamer(&context, Transport::Inproc, before, behind);
            let proxy = proxy.spawn().unwrap();
            let most = before + 1 + behind;
            for _ in 0..3 {
                (0..most).for_each(|number| send_number(&mut source, number));
                wait_for_stats(&proxy, "it holds one", |stats| stats.front_to_back.held == 1);
                assert!(matches!(source.try_send("one more"), Err(TrySendError::Full(_))));
                for number in 0..most {
                    assert_eq!(receive_number(&mut sink), number);
                }
                wait_for_stats(&proxy, "it holds none", |stats| stats.front_to_back.held == 0);
            }
            let stats = proxy.stop().unwrap().stats;
            assert_eq!(passed(stats.front_to_back).0, u64::from(most) * 3);
        }
    });
}

/// In a pause the queue before the proxy fills up to its mark.
#[test]
fn a_pause_holds_back_the_source() {
    with_deadline(|| {
        let context = Context::new();
        let (mut source, proxy, mut sink) = streamer(&context, Transport::Inproc, 20, 1000);
        let proxy = proxy.spawn().unwrap();
        send_number(&mut source, 0);
        assert_eq!(receive_number(&mut sink), 0);
        proxy.pause();
        (1..21).for_each(|number| source.try_send(&u32::to_be_bytes(number)).unwrap());
        assert!(matches!(source.try_send("one more"), Err(TrySendError::Full(_))));
        proxy.resume();
        (1..21).for_each(|number| assert_eq!(receive_number(&mut sink), number));
        proxy.stop().unwrap();
    });
}

/// Whoever pauses and resumes, from wherever: nobody hangs, and nothing is lost.
#[test]
fn any_thread_may_pause_and_resume() {
    with_deadline(|| {
        const COUNT: u32 = 20_000;
        let context = Context::new();
        let (mut source, proxy, mut sink) = streamer(&context, Transport::Inproc, 100, 100);
        let proxy = proxy.spawn().unwrap();
        let meddling: Vec<_> = (0..3)
            .map(|_| {
                let control = proxy.control();
                // So many times and no more: who pauses all the time may get all the time of a busy machine.
                thread::spawn(move || {
                    for _ in 0..1000 {
                        control.pause();
                        control.resume();
                    }
                })
            })
            .collect();
        let sending = thread::spawn(move || {
            (0..COUNT).for_each(|number| send_number(&mut source, number));
            source
        });
        (0..COUNT).for_each(|number| assert_eq!(receive_number(&mut sink), number));
        meddling.into_iter().for_each(|thread| thread.join().unwrap());
        drop(sending.join().unwrap());
        assert_eq!(
            passed(proxy.stop().unwrap().stats.front_to_back).0,
            u64::from(COUNT)
        );
    });
}
