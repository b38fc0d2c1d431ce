//! The pipes alone: what a message costs before any kernel is involved.
//!
//! The modules are private to the library, so the bench compiles their sources into itself.
#![allow(missing_docs, dead_code, unused_imports, clippy::unwrap_used)]

#[path = "../src/pipe/mod.rs"]
mod pipe;
#[path = "../src/wire/mod.rs"]
mod wire;

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use pipe::inbox::Inbox;
use pipe::recycle::{Pool, Spares};
use pipe::{BYTE_SIZES, MESSAGE_SIZES, WriteSide, chain, inbound, outbound};

/// Messages in one measured step: a full queue at the default high-water mark.
const MESSAGES: u64 = 1000;

/// A connection that takes everything at once.
struct Sink;

impl WriteSide for Sink {
    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(slices.iter().map(|slice| slice.len()).sum())
    }
}

fn chain_of_bytes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain");
    group.throughput(Throughput::Elements(MESSAGES));
    let mut spares = Spares::new(Pool::new(BYTE_SIZES));
    let (mut producer, mut consumer) = chain::chain::<u8>(spares.pool());
    let body = [7; 64];
    group.bench_function("1000 frames of 64 B in and out, one thread", |bencher| {
        bencher.iter(|| {
            for _ in 0..MESSAGES {
                producer.push(&[0, 64], &body, &mut spares);
                producer.end_messages(1);
                producer.commit();
            }
            loop {
                let ready = black_box(consumer.peek()).len();
                if ready == 0 {
                    break;
                }
                consumer.skip(ready);
            }
        });
    });
    group.finish();
}

fn outbound_to_a_sink(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("outbound");
    group.throughput(Throughput::Elements(MESSAGES));
    let to_sender = Arc::new(Inbox::<()>::new());
    let to_io = Arc::new(Inbox::<()>::new());
    let mut spares = Spares::new(Pool::new(BYTE_SIZES));
    let (mut sender, mut drainer) = outbound::pipe(1, MESSAGES, spares.pool(), to_sender, to_io);
    drainer.connect(Arc::new(Sink));
    let body = [7; 64];
    group.bench_function("1000 frames of 64 B appended, then drained", |bencher| {
        bencher.iter(|| {
            for _ in 0..MESSAGES {
                sender.frame_prefix(&[0, 64], &body, 64, &mut spares);
                assert!(sender.finish_message());
            }
            black_box(drainer.drain(usize::MAX));
            assert!(sender.has_room());
        });
    });
    group.finish();
}

fn inbound_between_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inbound");
    group.throughput(Throughput::Elements(1));
    group.bench_function("u64 from thread to thread, spinning", |bencher| {
        bencher.iter_custom(|count| {
            let to_writer = Arc::new(Inbox::<()>::new());
            let to_reader = Arc::new(Inbox::<()>::new());
            let mut spares = Spares::new(Pool::new(MESSAGE_SIZES));
            let (mut writer, mut reader) =
                inbound::pipe::<u64>(1, MESSAGES, spares.pool(), to_writer, to_reader);
            let writing = std::thread::spawn(move || {
                for message in 0..count {
                    while !writer.has_room() {
                        std::hint::spin_loop();
                    }
                    writer.push(message, &mut spares);
                }
            });
            let start = std::time::Instant::now();
            for expected in 0..count {
                while !reader.chain().refill() {
                    std::hint::spin_loop();
                }
                assert_eq!(reader.chain().take(|_| {}), expected);
                reader.took_message();
            }
            let elapsed = start.elapsed();
            writing.join().unwrap();
            elapsed
        });
    });
    group.finish();
}

criterion_group!(
    benches,
    chain_of_bytes,
    outbound_to_a_sink,
    inbound_between_threads
);
criterion_main!(benches);
