//! SIGSTOP and SIGCONT: a process that does not run, and knows nothing of it afterwards.

use std::time::Duration;

use zerowire::{
    Context, DealerSocket, Dropped, Event, Monitor, PushSocket, Reason, SendTimeoutError, TrySendError,
};

use crate::on_every_wire;
use crate::process::{Process, checked, wait_for_answers};
use crate::support::{send, wait_for_handshake, wait_until};

const INTERVAL: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_millis(500);
/// For who runs and has to answer in time, on a machine that has more to do.
const LONG_TIMEOUT: Duration = Duration::from_secs(2);
const OFF: Duration = Duration::ZERO;

on_every_wire! {
    /// What is for a worker that does not run waits for it, up to the high-water mark exactly. Others do not notice. When all
    /// are like that, the sender is told; when they run again, everything arrives, in order and once.
    fn a_stopped_worker_holds_up_nobody_but_itself(transport) {
        const HWM: u32 = 10;
        const BYTES: usize = 10_000;
        let context = Context::new();
        let builder = PushSocket::builder(&context).send_hwm(HWM).send_buffer(128 << 10);
        let mut push = builder.build().unwrap();
        let monitor = push.monitor();
        let endpoint = push.bind(transport.wildcard()).unwrap();
        let workers = [(); 2].map(|()| Process::start(format!("pull {endpoint}")));
        wait_for_handshake(&monitor);
        wait_for_handshake(&monitor);
        let body = |number: u32| {
            let mut body = vec![7; BYTES];
            body[..4].copy_from_slice(&number.to_be_bytes());
            body
        };
        let mut got = [const { Vec::new() }; 2];
        let mut count = 0;
        workers[0].stop();
        // The other one does the work.
        while got[1].len() < 300 {
            send(&mut push, body(count));
            count += 1;
            got[1].extend(workers[1].numbers_so_far());
        }
        let waiting = |push: &mut PushSocket| {
            let mut waiting: Vec<u64> = push.peer_stats().iter().map(|peer| peer.waiting_to_be_sent).collect();
            waiting.sort();
            waiting
        };
        wait_until("the stopped one is full, and the other has taken all", || {
            let waiting = waiting(&mut push);
            if waiting[0] == 0 && waiting[1] < HWM.into() {
                send(&mut push, body(count));
                count += 1;
            }
            got[1].extend(workers[1].numbers_so_far());
            waiting == [0, HWM.into()]
        });
        assert_eq!(workers[0].numbers_so_far().count(), 0);

        // Now both: nobody is there to take anything.
        workers[1].stop();
        while let Ok(()) = push.send_timeout(body(count), Duration::from_millis(500)) {
            count += 1;
        }
        assert_eq!(waiting(&mut push), [u64::from(HWM); 2]);
        match push.try_send(body(count)) {
            Err(TrySendError::Full(refused)) => assert!(refused.as_bytes() == body(count)),
            other => panic!("{other:?}"),
        }
        match push.send_timeout(body(count), Duration::from_millis(1)) {
            Err(SendTimeoutError::Timeout(refused)) => assert!(refused.as_bytes() == body(count)),
            other => panic!("{other:?}"),
        }
        let sent = checked(push.stats()).sent;
        assert_eq!((sent.accepted, sent.waiting), (count.into(), 2 * u64::from(HWM)));

        for worker in &workers {
            worker.go_on();
        }
        send(&mut push, body(count));
        count += 1;
        wait_until("all has come", || {
            for (got, worker) in got.iter_mut().zip(&workers) {
                got.extend(worker.numbers_so_far());
            }
            got[0].len() + got[1].len() >= count as usize
        });
        for numbers in &got {
            assert!(numbers.is_sorted_by(|one, next| one < next), "in order: {numbers:?}");
        }
        let mut all = got.concat();
        all.sort();
        assert!(all.iter().copied().eq(0..count), "everything came, once");
        wait_until("it is counted", || push.stats().sent.waiting == 0);
        let sent = checked(push.stats()).sent;
        assert_eq!((sent.handed_over, sent.peers, sent.dropped), (count.into(), 2, Dropped::default()));
        while let Some(event) = monitor.try_recv() {
            assert!(!matches!(event, Event::Disconnected { .. }), "{event}");
        }
    }

    /// A peer that does not run for longer than the heartbeat's timeout is given up, and is back as soon as it runs again,
    /// with what was sent to it in the meantime.
    fn a_process_that_is_stopped_for_long_is_given_up_until_it_runs(transport) {
        for dialed in [false, true] {
            let context = Context::new();
            let mut dealer = dealer(&context, INTERVAL);
            let monitor = dealer.monitor();
            let peer = if dialed {
                let endpoint = transport.fresh();
                let peer = start_dealer("bind", &endpoint, OFF, TIMEOUT);
                peer.says("bound");
                dealer.connect(endpoint.as_str()).unwrap();
                peer
            } else {
                let endpoint = dealer.bind(transport.wildcard()).unwrap();
                start_dealer("connect", &endpoint.to_string(), OFF, TIMEOUT)
            };
            wait_for_handshake(&monitor);
            for round in 0..2 {
                let before = format!("before {round}");
                send(&mut dealer, before.as_str());
                peer.says(&format!("got {before}"));
                let reason = stop_until_given_up(&peer, &mut dealer, &monitor);
                assert_eq!(reason, Reason::HeartbeatTimeout(TIMEOUT));
                let meanwhile = format!("meanwhile {round}");
                if dialed {
                    // Accepted for when it is back.
                    send(&mut dealer, meanwhile.as_str());
                    assert_eq!(dealer.stats().sent.waiting, 1);
                } else {
                    wait_until("it is gone", || dealer.stats().sent.peers == 0);
                    assert!(matches!(dealer.try_send("to nobody"), Err(TrySendError::NoPeer(_))));
                }
                peer.go_on();
                wait_for_handshake(&monitor);
                if !dialed {
                    send(&mut dealer, meanwhile.as_str());
                }
                peer.says(&format!("got {meanwhile}"));
            }
            wait_until("it is counted", || dealer.stats().sent.waiting == 0);
            let sent = checked(dealer.stats()).sent;
            assert_eq!((sent.accepted, sent.handed_over, sent.waiting), (4, 4, 0));
        }
    }

    /// Who was stopped itself finds on its return that all its timers have run out, and that its peers have spoken in the
    /// meantime: it gives up none of them.
    fn a_process_that_was_stopped_does_not_take_its_peers_for_dead(transport) {
        let endpoint = transport.fresh();
        let mut watchful = start_dealer("bind", &endpoint, INTERVAL, LONG_TIMEOUT);
        watchful.says("bound");
        let mut other = start_dealer("connect", &endpoint, OFF, TIMEOUT);
        for round in 0..2 {
            other.tell("send hello");
            other.says("sent");
            watchful.says("got hello");
            // Before that, silence would mean nothing.
            watchful.tell("answers");
            watchful.says("answered");
            // The other one owes an answer when time stands still.
            other.stop();
            watchful.tell("asks");
            watchful.says("asked");
            watchful.stop();
            pass(LONG_TIMEOUT + 10 * INTERVAL);
            other.go_on();
            let text = format!("send still here {round}");
            other.tell(&text);
            other.says("sent");
            watchful.go_on();
            watchful.says(&format!("got still here {round}"));
            // It has had the time to think about it.
            pass(10 * INTERVAL);
            for process in [&mut watchful, &mut other] {
                process.tell("ends");
                process.says("0 ends: ");
            }
        }
    }
}

fn dealer(context: &Context, interval: Duration) -> DealerSocket {
    let builder = DealerSocket::builder(context)
        .heartbeat(interval)
        .heartbeat_timeout(TIMEOUT);
    let builder = builder
        .reconnect_min(Duration::from_millis(1))
        .reconnect_max(Duration::from_millis(100));
    builder.build().unwrap()
}

fn start_dealer(how: &str, endpoint: &str, interval: Duration, timeout: Duration) -> Process {
    let (interval, timeout) = (interval.as_millis(), timeout.as_millis());
    Process::start(format!("dealer {how} {endpoint} peer {interval} {timeout}"))
}

/// Stops a process until its peer here has noticed.
///
/// Before it has answered a PING behind the last message, its silence would mean nothing. Should the answers have been to
/// earlier ones, it gets another chance.
fn stop_until_given_up(peer: &Process, dealer: &mut DealerSocket, monitor: &Monitor) -> Reason {
    for _ in 0..10 {
        wait_for_answers(dealer);
        peer.stop();
        while let Some(event) = monitor.recv_timeout(4 * TIMEOUT) {
            if let Event::Disconnected { reason, .. } = event {
                return reason;
            }
        }
        peer.go_on();
    }
    panic!("a process that is stopped is not given up");
}

/// Lets time pass, which is what the test is about: there is nothing to wait for while somebody is stopped.
fn pass(time: Duration) {
    std::thread::sleep(time);
}
