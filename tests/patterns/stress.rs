//! Many sockets, many threads, many messages.
#![allow(clippy::print_stdout, reason = "a random test tells its seed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{Context, Endpoint, PullSocket, PushSocket, RecvTimeoutError};

use crate::on_every_transport;
use crate::support::{TEST_DEADLINE, number, pattern, receive, send, send_number};

const PUSHERS: u32 = 8;
const PULLERS: u32 = 4;
const EACH: u32 = 25_000;

on_every_transport! {
    /// Each message is received once, whichever way it took.
    fn every_message_arrives_exactly_once(transport) {
        for io_threads in [1, 3] {
            let context = Context::builder().io_threads(io_threads).build().unwrap();
            let seen: Arc<Vec<AtomicU64>> =
                Arc::new((0..(PUSHERS * EACH).div_ceil(64)).map(|_| AtomicU64::new(0)).collect());
            let count = Arc::new(AtomicU32::new(0));
            let mut endpoints: Vec<Endpoint> = Vec::new();
            let mut threads = Vec::new();
            for _ in 0..PULLERS {
                let mut pull = PullSocket::new(&context);
                endpoints.push(pull.bind(transport.wildcard()).unwrap());
                let (seen, count) = (seen.clone(), count.clone());
                threads.push(thread::spawn(move || {
                    let end = Instant::now() + TEST_DEADLINE;
                    while count.load(Ordering::Relaxed) < PUSHERS * EACH {
                        // The last message may be another puller's, so nobody waits for one for ever.
                        match pull.recv_timeout(Duration::from_millis(20)) {
                            Ok(message) => {
                                let number = number(&message);
                                let before = seen[number as usize / 64].fetch_or(1 << (number % 64), Ordering::Relaxed);
                                assert_eq!(before & 1 << (number % 64), 0, "{number} came twice");
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(RecvTimeoutError::Timeout) => assert!(Instant::now() < end, "messages are missing"),
                            Err(error) => panic!("{error}"),
                        }
                    }
                    assert!(pull.try_recv().is_err());
                }));
            }
            for pusher in 0..PUSHERS {
                // Patient with receivers that get no turn for a while because everybody is so busy.
                let mut push = PushSocket::builder(&context).linger(TEST_DEADLINE).linger_max(TEST_DEADLINE).build().unwrap();
                for endpoint in &endpoints {
                    push.connect(endpoint).unwrap();
                }
                threads.push(thread::spawn(move || {
                    for number in pusher * EACH..(pusher + 1) * EACH {
                        send_number(&mut push, number);
                    }
                }));
            }
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(count.load(Ordering::Relaxed), PUSHERS * EACH);
            assert!(seen.iter().all(|word| word.load(Ordering::Relaxed) == u64::MAX));
        }
    }

    /// Peers that come and go lose nothing of what they sent.
    fn peers_that_come_and_go_lose_nothing(transport) {
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).receive_hwm(10).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let threads: Vec<_> = (0..4u32)
            .map(|thread| {
                let (context, endpoint) = (context.clone(), endpoint.clone());
                std::thread::spawn(move || {
                    for life in 0..50 {
                        let mut push =
                            PushSocket::builder(&context).linger(TEST_DEADLINE).linger_max(TEST_DEADLINE).build().unwrap();
                        push.connect(&endpoint).unwrap();
                        for number in 0..20 {
                            send_number(&mut push, (thread * 50 + life) * 20 + number);
                        }
                    }
                })
            })
            .collect();
        let mut seen = vec![false; 4000];
        for _ in 0..4000 {
            let number = number(&receive(&mut pull)) as usize;
            assert!(!std::mem::replace(&mut seen[number], true), "{number} came twice");
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(pull.try_recv().is_err());
    }

    /// Sizes of all kinds, in an order that nobody chose, through marks that are always reached.
    fn a_random_mix_of_messages_arrives_in_order(transport) {
        let seed = std::collections::hash_map::RandomState::new();
        let seed = std::hash::BuildHasher::hash_one(&seed, 0) | 1;
        println!("seed {seed}");
        let context = Context::new();
        let mut pull = PullSocket::builder(&context).receive_hwm(5).build().unwrap();
        let endpoint = pull.bind(transport.wildcard()).unwrap();
        let mut push = PushSocket::builder(&context).send_hwm(7).build().unwrap();
        push.connect(&endpoint).unwrap();
        let sender = thread::spawn(move || {
            let mut random = Random(seed);
            for _ in 0..3000 {
                send(&mut push, zerowire::Message::from_parts(random.message()));
            }
            push
        });
        let mut random = Random(seed);
        for index in 0..3000 {
            let message = receive(&mut pull);
            let expected = random.message();
            assert!(message.parts().eq(expected.iter().map(Vec::as_slice)), "message {index} of seed {seed}");
        }
        sender.join().unwrap();
    }
}

/// Xorshift: any mix will do here.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn message(&mut self) -> Vec<Vec<u8>> {
        let parts = if self.below(3) == 0 { 2 + self.below(5) } else { 1 };
        (0..parts)
            .map(|part| {
                let limit = [16, 64, 300, 300, 5000, 20_000, 100_000][self.below(7) as usize];
                pattern(self.below(limit) as usize, part as u8)
            })
            .collect()
    }
}
