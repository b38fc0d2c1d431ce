//! Frame headers: the walk that an I/O thread makes over what it has read.
//!
//! The modules are private to the library, so the bench compiles their sources into itself.
#![allow(missing_docs, dead_code, unused_imports)]

#[path = "../src/engine/mod.rs"]
mod engine;
#[path = "../src/security/mod.rs"]
mod security;
#[path = "../src/wire/mod.rs"]
mod wire;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

use engine::traffic::{Decoder, Item, Limits};
use wire::frame::{Header, encode_header};

/// What one read of the I/O thread brings at most.
const BLOCK_BYTES: usize = 64 * 1024;

fn block(body_bytes: usize) -> (Vec<u8>, u64) {
    let mut header = [0; 9];
    let header_bytes = encode_header(false, body_bytes, &mut header);
    let frame = [&header[..header_bytes], &vec![7; body_bytes]].concat();
    let frames = BLOCK_BYTES / frame.len();
    (frame.repeat(frames), frames as u64)
}

fn walk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("walk over a block of 64 KiB");
    for size in [8, 64, 1024] {
        let (bytes, frames) = block(size);
        group.throughput(Throughput::Elements(frames));
        group.bench_with_input(
            BenchmarkId::new("headers only", size),
            &bytes,
            |bencher, bytes| {
                bencher.iter(|| {
                    let mut at = 0;
                    while let Ok(Some(header)) = Header::parse(black_box(&bytes[at..])) {
                        at += header.header_bytes + header.body_bytes as usize;
                    }
                    assert_eq!(at, bytes.len());
                });
            },
        );
        group.bench_with_input(
            BenchmarkId::new("decoder with limits", size),
            &bytes,
            |bencher, bytes| {
                let limits = Limits {
                    message_bytes_max: 64 << 20,
                    message_parts_max: 1024,
                    command_bytes_max: 4096,
                };
                let mut decoder = Decoder::new(limits);
                bencher.iter(|| {
                    let mut at = 0;
                    while let Ok(Item::Frame {
                        header_bytes,
                        body_bytes,
                        ..
                    }) = decoder.next(black_box(&bytes[at..]))
                    {
                        at += header_bytes + body_bytes;
                    }
                    assert_eq!(at, bytes.len());
                });
            },
        );
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode a header");
    for size in [64, 1024] {
        group.bench_with_input(BenchmarkId::from_parameter(size), &size, |bencher, &size| {
            let mut header = [0; 9];
            bencher.iter(|| encode_header(false, black_box(size), black_box(&mut header)));
        });
    }
    group.finish();
}

criterion_group!(benches, walk, encode);
criterion_main!(benches);
