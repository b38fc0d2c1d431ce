//! PUSH to PULL over the kernel, inside one process: tcp on loopback, and ipc.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zerowire::{Context, PullSocket, PushSocket};

const TRANSPORTS: [(&str, &str); 2] = [("tcp", "tcp://127.0.0.1:0"), ("ipc", "ipc://*")];

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("throughput");
    group.throughput(Throughput::Elements(1));
    for (name, endpoint) in TRANSPORTS {
        for size in [8, 64, 1024, 65536] {
            group.bench_with_input(BenchmarkId::new(name, size), &size, |bencher, &size| {
                bencher.iter_custom(|count| stream(endpoint, count, size));
            });
        }
    }
    group.finish();
}

/// Times `count` messages from one thread to another, each with a context of its own.
fn stream(endpoint: &str, count: u64, size: usize) -> Duration {
    let mut pull = PullSocket::new(&Context::new());
    let endpoint = pull.bind(endpoint).unwrap();
    let sending = std::thread::spawn(move || {
        let mut push = PushSocket::new(&Context::new());
        push.connect(endpoint).unwrap();
        let body = vec![7; size];
        for _ in 0..=count {
            push.send(&body[..]).unwrap();
        }
    });
    // The first message ends the handshake.
    pull.recv().unwrap();
    let start = Instant::now();
    for _ in 0..count {
        assert_eq!(pull.recv().unwrap().len(), size);
    }
    let elapsed = start.elapsed();
    sending.join().unwrap();
    elapsed
}

fn round_trip(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round trip of 64 B");
    for (name, endpoint) in TRANSPORTS {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| ping_pong(endpoint, count))
        });
    }
    group.finish();
}

/// Times `count` round trips over two pipelines, one for each direction.
fn ping_pong(endpoint: &str, count: u64) -> Duration {
    let (here, there) = (Context::new(), Context::new());
    let (mut requests, mut replies) = (PullSocket::new(&there), PullSocket::new(&here));
    let (to_requests, to_replies) = (requests.bind(endpoint).unwrap(), replies.bind(endpoint).unwrap());
    let echoing = std::thread::spawn(move || {
        let mut push = PushSocket::new(&there);
        push.connect(to_replies).unwrap();
        for _ in 0..=count {
            let message = requests.recv().unwrap();
            push.send(message).unwrap();
        }
    });
    let mut push = PushSocket::new(&here);
    push.connect(to_requests).unwrap();
    let mut start = Instant::now();
    for trip in 0..=count {
        push.send(&[7; 64]).unwrap();
        replies.recv().unwrap();
        if trip == 0 {
            start = Instant::now();
        }
    }
    let elapsed = start.elapsed();
    echoing.join().unwrap();
    elapsed
}

criterion_group!(benches, throughput, round_trip);
criterion_main!(benches);
