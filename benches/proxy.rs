//! A streamer between two stages, beside the same by hand: tcp on loopback and inproc, inside one process.
#![allow(missing_docs, clippy::unwrap_used)]

use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zerowire::{Context, Proxy, PullSocket, PushSocket};

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("streamer");
    group.throughput(Throughput::Elements(1)).sample_size(20);
    for (transport, endpoint) in [("tcp", "tcp://127.0.0.1:0"), ("inproc", "inproc://stage")] {
        for size in [8, 64, 1024, 65536] {
            for (name, in_between) in [("proxy", pass as fn(_, _, _)), ("by hand", pass_by_hand)] {
                let id = BenchmarkId::new(format!("{transport}, {name}"), size);
                group.bench_with_input(id, &size, |bencher, &size| {
                    bencher.iter_custom(|count| stream(endpoint, count, size, in_between));
                });
            }
        }
    }
    group.finish();
}

/// Times `count` messages from one thread through another to a third.
fn stream(endpoint: &str, count: u64, size: usize, in_between: fn(PullSocket, PushSocket, u64)) -> Duration {
    let context = Context::new();
    let (before, behind) = (endpoint.to_owned(), endpoint.replace("stage", "last"));
    let mut front = PullSocket::new(&context);
    let before = front.bind(before).unwrap();
    let mut sink = PullSocket::new(&context);
    let mut back = PushSocket::new(&context);
    back.connect(sink.bind(behind).unwrap()).unwrap();
    let passing = thread::spawn(move || in_between(front, back, count + 1));
    let sending = thread::spawn(move || {
        let mut push = PushSocket::new(&context);
        push.connect(before).unwrap();
        let body = vec![7; size];
        for _ in 0..=count {
            push.send(&body[..]).unwrap();
        }
        push
    });
    // The first message ends the handshakes.
    sink.recv().unwrap();
    let start = Instant::now();
    for _ in 0..count {
        assert_eq!(sink.recv().unwrap().len(), size);
    }
    let elapsed = start.elapsed();
    drop(sending.join().unwrap());
    passing.join().unwrap();
    elapsed
}

fn pass(front: PullSocket, back: PushSocket, count: u64) {
    let proxy = Proxy::streamer(front, back).spawn().unwrap();
    while proxy.stats().front_to_back.messages < count {
        thread::sleep(Duration::from_millis(1));
    }
    proxy.stop().unwrap();
}

fn pass_by_hand(mut front: PullSocket, mut back: PushSocket, count: u64) {
    let mut messages = Vec::new();
    let mut passed = 0;
    while passed < count {
        passed += front.recv_many(&mut messages, 256).unwrap() as u64;
        for message in messages.drain(..) {
            back.send(message).unwrap();
        }
    }
}

criterion_group!(benches, throughput);
criterion_main!(benches);
