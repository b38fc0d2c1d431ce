//! `kill -9`: who goes on, who is told, and what is lost.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use zerowire::{
    BindError, Context, Dropped, Event, Monitor, PeerId, PullSocket, PushSocket, RecvTimeoutError, ReqSocket,
    RouterSocket, SendToError, SubSocket,
};

use crate::on_every_wire;
use crate::process::{Process, checked};
use crate::support::{
    DEADLINE, Transport, ipc_path, receive, send, wait_for, wait_for_handshake, wait_until,
};

/// Waits for the end of a connection, and checks that it does not look like one that was given up.
#[track_caller]
fn wait_for_death(monitor: &Monitor) {
    let reason = wait_for(monitor, "an end", |event| match event {
        Event::Disconnected { reason, .. } => Some(reason.to_string()),
        _ => None,
    });
    let reasons = [
        "the peer closed the connection",
        "Connection reset by peer",
        "Broken pipe",
    ];
    assert!(reasons.iter().any(|known| reason.contains(known)), "{reason}");
}

on_every_wire! {
    /// A worker that dies takes what it had been given with it. The others do its work from then on, and the numbers tell
    /// exactly how much is missing.
    fn a_worker_that_is_killed_takes_only_its_own_with_it(transport) {
        const COUNT: u32 = 1000;
        const BYTES: usize = 10_000;
        /// What fits into the queues of both sides, the kernel's buffers and one read.
        const LOST_MAX: u64 = 200;
        let context = Context::new();
        let mut push = PushSocket::builder(&context).send_hwm(10).send_buffer(128 << 10).build().unwrap();
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut workers = [(); 3].map(|()| Process::start(format!("pull {endpoint}")));
        for _ in &workers {
            wait_for_handshake(&monitor);
        }
        let mut got = [const { Vec::new() }; 3];
        for number in 0..COUNT {
            if number == COUNT / 2 {
                // Traffic goes through it right now.
                got[0].push(workers[0].number());
                assert_eq!(workers[0].kill().signal(), Some(9));
            }
            let mut body = vec![7; BYTES];
            body[..4].copy_from_slice(&number.to_be_bytes());
            send(&mut push, body);
        }
        wait_for_death(&monitor);
        got[0].extend(workers[0].last_numbers());
        wait_until("all is handed over", || push.stats().sent.waiting == 0);
        let by_survivors: u64 = push.peer_stats().iter().map(|peer| peer.handed_over).sum();
        wait_until("the others have said all that they got", || {
            for index in [1, 2] {
                got[index].extend(workers[index].numbers_so_far());
            }
            (got[1].len() + got[2].len()) as u64 >= by_survivors
        });
        assert_eq!((got[1].len() + got[2].len()) as u64, by_survivors);
        for numbers in &got {
            assert!(numbers.is_sorted_by(|one, next| one < next), "in order: {numbers:?}");
        }
        let distinct: BTreeSet<u32> = got.iter().flatten().copied().collect();
        let received: usize = got.iter().map(Vec::len).sum();
        assert_eq!(distinct.len(), received, "nothing twice");
        let sent = checked(push.stats()).sent;
        assert_eq!((sent.accepted, sent.waiting, sent.peers), (COUNT.into(), 0, 2));
        assert_eq!(sent.dropped.total(), sent.dropped.peer_gone);
        let by_the_dead = sent.handed_over - by_survivors;
        let lost = u64::from(COUNT) - received as u64;
        assert_eq!(lost, sent.dropped.peer_gone + by_the_dead - got[0].len() as u64);
        assert!(lost <= LOST_MAX, "{lost} are lost");
        assert!(got[1].len() + got[2].len() > COUNT as usize / 2, "the others go on");
    }

    /// What waited for a worker that dies is gone with it, and counted.
    fn what_waits_for_a_worker_that_is_killed_is_counted_as_lost(transport) {
        const HWM: u32 = 10;
        let mut push = PushSocket::builder(&Context::new()).send_hwm(HWM).send_buffer(128 << 10).build().unwrap();
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let mut worker = Process::start(format!("pull {endpoint}"));
        wait_for_handshake(&monitor);
        // It takes nothing any more, not even into the kernel.
        worker.stop();
        let mut accepted = 0;
        while let Ok(()) = push.send_timeout(vec![7; 10_000], Duration::from_millis(500)) {
            accepted += 1;
        }
        worker.kill();
        wait_for_death(&monitor);
        wait_until("it is counted", || push.stats().sent.peers == 0);
        let sent = checked(push.stats()).sent;
        assert_eq!((sent.accepted, sent.waiting), (accepted, 0));
        assert_eq!((sent.dropped.peer_gone, sent.dropped.total()), (HWM.into(), HWM.into()));
    }

    /// What the kernel had taken from a process that was killed arrives, also if nobody had room for it at that moment.
    fn what_was_sent_before_a_process_was_killed_arrives(transport) {
        const COUNT: u32 = 100;
        let endpoint = transport.fresh();
        let mut push = Process::start(format!("push {endpoint}"));
        push.says("bound");
        let mut pull = PullSocket::builder(&Context::new()).receive_hwm(2).build().unwrap();
        let monitor = pull.monitor();
        pull.connect(endpoint.as_str()).unwrap();
        wait_for_handshake(&monitor);
        push.tell(&COUNT.to_string());
        push.says(&format!("{COUNT} = {COUNT} handed over"));
        push.kill();
        for number in 0..COUNT {
            assert_eq!(receive(&mut pull).as_bytes()[..4], number.to_be_bytes());
        }
        wait_for_death(&monitor);
        assert_eq!(checked(pull.stats()).received.taken, COUNT.into());
    }

    /// Whoever waits for a reply is told at once that it will not come, and can ask the next server.
    fn a_request_to_a_server_that_is_killed_fails_at_once(transport) {
        let context = Context::new();
        let endpoint = transport.fresh();
        // The reason is that the peer is gone, not that it was silent.
        let builder = ReqSocket::builder(&context).heartbeat(Duration::ZERO).reconnect_min(Duration::from_millis(1));
        let mut req = builder.reconnect_max(Duration::from_millis(100)).build().unwrap();
        let monitor = req.monitor();
        req.connect(endpoint.as_str()).unwrap();
        for _ in 0..3 {
            let mut server = Process::start(format!("rep {endpoint}"));
            server.says("bound");
            wait_for_handshake(&monitor);
            assert_eq!(req.request("hello", DEADLINE).unwrap().as_bytes(), b"an answer");
            send(&mut req, "keep");
            server.says("asked");
            server.kill();
            assert_eq!(req.recv_timeout(DEADLINE), Err(RecvTimeoutError::PeerLost));
            wait_for_death(&monitor);
            // Its path is left behind, and the next server takes it over.
            assert!(transport != Transport::Ipc || ipc_path(&endpoint).exists());
        }
        wait_until("it is counted", || req.stats().sent.waiting == 0);
        let sent = checked(req.stats()).sent;
        assert_eq!((sent.accepted, sent.handed_over), (6, 6));
        assert_eq!(req.stats().received.taken, 3);
    }

    /// A subscriber hears that its publisher is gone, and subscribes to the next one by itself.
    fn a_subscriber_goes_on_with_the_next_publisher(transport) {
        const EACH: u32 = 1_000_000;
        let context = Context::new();
        let endpoint = transport.fresh();
        let builder = SubSocket::builder(&context).reconnect_min(Duration::from_millis(1));
        let mut subscriber = builder.reconnect_max(Duration::from_millis(100)).build().unwrap();
        let monitor = subscriber.monitor();
        subscriber.subscribe("a").unwrap();
        subscriber.connect(endpoint.as_str()).unwrap();
        // Those of one that is gone may be taken after the first of the next one.
        let mut last = [None; 3];
        for round in 0..3 {
            let mut publisher = Process::start(format!("pub {endpoint} {}", round * EACH));
            publisher.says("bound");
            wait_for_handshake(&monitor);
            let mut from_this_one = 0;
            while from_this_one < 50 {
                let message = receive(&mut subscriber);
                assert_eq!((message.part_count(), message.part(0)), (2, Some(&b"a"[..])));
                let number = u32::from_be_bytes(message.part(1).unwrap().try_into().unwrap());
                let last = &mut last[(number / EACH) as usize];
                assert!(last.is_none_or(|last| number > last), "{number} after {last:?}");
                *last = Some(number);
                from_this_one += u32::from(number >= round * EACH);
            }
            publisher.kill();
            wait_for_death(&monitor);
        }
        checked(subscriber.stats());
    }

    /// A router knows no longer who died, and finds the next one of the same name.
    fn a_router_forgets_a_peer_that_is_killed(transport) {
        let context = Context::new();
        let mut router = RouterSocket::new(&context);
        let monitor = router.monitor();
        let endpoint = router.bind(transport.wildcard()).unwrap();
        let name = PeerId::try_from("worker").unwrap();
        for _ in 0..3 {
            let mut dealer = Process::start(format!("dealer connect {endpoint} worker 0 2000"));
            wait_for_handshake(&monitor);
            assert_eq!(router.peers(), std::slice::from_ref(&name));
            router.send_to(&name, "hello").unwrap();
            dealer.says("got hello");
            dealer.tell("send hello back");
            dealer.says("sent");
            let (peer, message) = router.recv_from_timeout(DEADLINE).unwrap();
            assert_eq!((&peer, message.as_bytes()), (&name, &b"hello back"[..]));
            dealer.kill();
            wait_for_death(&monitor);
            assert!(matches!(router.send_to(&name, "anybody there"), Err(SendToError::Unroutable { .. })));
            assert!(router.peers().is_empty());
        }
        wait_until("it is counted", || router.stats().sent.waiting == 0);
        let sent = checked(router.stats()).sent;
        assert_eq!((sent.accepted, sent.handed_over, sent.dropped), (3, 3, Dropped::default()));
    }
}

/// The path of an ipc socket outlives who is killed: it is in use as long as the process lives, and free afterwards.
#[test]
fn the_path_of_a_process_that_was_killed_is_free() {
    crate::support::with_deadline(|| {
        let endpoint = Transport::Ipc.fresh();
        let mut server = Process::start(format!("rep {endpoint}"));
        server.says("bound");
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        assert!(matches!(
            pull.bind(endpoint.as_str()),
            Err(BindError::AddressInUse { .. })
        ));
        server.kill();
        assert!(ipc_path(&endpoint).exists());
        pull.bind(endpoint.as_str()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(endpoint.as_str()).unwrap();
        send(&mut push, "hello");
        assert_eq!(receive(&mut pull).as_bytes(), b"hello");
        drop(pull);
        wait_until("the path is gone", || !ipc_path(&endpoint).exists());
    });
}
