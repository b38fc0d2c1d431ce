//! PUSH to PULL between two threads of one process, beside a bounded channel of the standard library.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use zerowire::{Context, Message, PullSocket, PushSocket};

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inproc throughput");
    group.throughput(Throughput::Elements(1));
    for size in [8, 64, 1024] {
        group.bench_with_input(BenchmarkId::new("push to pull", size), &size, |bencher, &size| {
            bencher.iter_custom(|count| push_to_pull(count, size));
        });
        group.bench_with_input(
            BenchmarkId::new("std sync_channel", size),
            &size,
            |bencher, &size| {
                bencher.iter_custom(|count| channel(count, size));
            },
        );
    }
    group.finish();
}

fn push_to_pull(count: u64, size: usize) -> Duration {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    pull.bind("inproc://bench").unwrap();
    let mut push = PushSocket::new(&context);
    push.connect("inproc://bench").unwrap();
    let sending = std::thread::spawn(move || {
        let body = vec![7; size];
        for _ in 0..count {
            push.send(&body[..]).unwrap();
        }
    });
    let start = Instant::now();
    for _ in 0..count {
        assert_eq!(pull.recv().unwrap().len(), size);
    }
    let elapsed = start.elapsed();
    sending.join().unwrap();
    elapsed
}

fn channel(count: u64, size: usize) -> Duration {
    let (sender, receiver) = sync_channel::<Message>(1000);
    let sending = std::thread::spawn(move || {
        let body = vec![7; size];
        for _ in 0..count {
            sender.send(Message::from(&body[..])).unwrap();
        }
    });
    let start = Instant::now();
    for _ in 0..count {
        assert_eq!(receiver.recv().unwrap().len(), size);
    }
    let elapsed = start.elapsed();
    sending.join().unwrap();
    elapsed
}

criterion_group!(benches, throughput);
criterion_main!(benches);
