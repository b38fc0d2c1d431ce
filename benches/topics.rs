//! Matching messages with topics: in the small sets that most publishers have, and in one of a million, with the time to
//! build it and the memory it takes. Beside that, what one would write in ten lines: a hash map of the topics, asked for
//! every length that any of them has.
//!
//! The module is private to the library, so the bench compiles its source into itself.
#![allow(
    missing_docs,
    dead_code,
    unused_imports,
    unsafe_code,
    clippy::unwrap_used,
    clippy::print_stdout
)]

#[path = "../src/routing/topics/mod.rs"]
mod topics;

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{Bencher, Criterion, Throughput, criterion_group, criterion_main};

use topics::Topics;

const TOPICS: usize = 1_000_000;
const NAMED_ALIKE: &str = "named alike, 17 B";
const RANDOM: &str = "random bytes, 12 to 28 B";
const SUBSCRIBERS: usize = 8;
/// Messages that are matched in turn, so that not all they touch is in the caches.
const MESSAGES: usize = 65_536;

fn small(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("few topics");
    group.throughput(Throughput::Elements(1));
    let message = b"weather.oslo 12 degrees, clear";
    let apart = [
        "weather.oslo",
        "weather.rome",
        "weather.bergen",
        "wind",
        "tide",
        "price.",
        "news.",
        "sport.",
    ];
    let nested = ["", "weather", "weather.", "weather.oslo"];
    let cases: [(&str, &[&str], usize); 6] = [
        ("none", &[], 0),
        ("the empty one, 1 subscriber", &[""], 1),
        ("the empty one, 8 subscribers", &[""], 8),
        ("one, 8 subscribers", &["weather."], 8),
        ("8 apart, 1 subscriber", &apart, 1),
        ("4 nested, 8 subscribers each", &nested, 8),
    ];
    for (name, held, subscribers) in cases {
        let mut topics = Topics::default();
        for subscriber in 0..subscribers {
            for topic in held {
                topics.add(topic.as_bytes(), subscriber);
            }
        }
        let mut found = 0;
        topics.matches(message, |_| found += 1);
        assert_eq!(found, subscribers);

        group.bench_function(format!("{name}: who"), |bencher| {
            bencher.iter(|| topics.matches(black_box(message), consume));
        });
        group.bench_function(format!("{name}: anybody"), |bencher| {
            bencher.iter(|| topics.matches_any(black_box(message)));
        });
    }
    group.finish();
}

/// Prints what the large sets take, as asked of the allocator: what it adds to each of the map's small blocks is left out.
fn memory(_: &mut Criterion) {
    for (shape, topics) in [(NAMED_ALIKE, named_alike()), (RANDOM, random())] {
        let before = ALLOCATED.load(Ordering::Relaxed);
        let tree = build_tree(&topics);
        let tree_bytes = ALLOCATED.load(Ordering::Relaxed) - before;
        drop(tree);
        let map = ByLength::build(&topics);
        let map_bytes = ALLOCATED.load(Ordering::Relaxed) - before;
        drop(map);
        println!(
            "{TOPICS} topics, {shape}: {} B each as a tree, {} B each as a hash map",
            tree_bytes / TOPICS,
            map_bytes / TOPICS
        );
    }
}

fn large_named_alike(criterion: &mut Criterion) {
    large(criterion, NAMED_ALIKE, &named_alike());
}

fn large_random(criterion: &mut Criterion) {
    large(criterion, RANDOM, &random());
}

fn large(criterion: &mut Criterion, shape: &str, topics: &[Vec<u8>]) {
    let mut tree = build_tree(topics);
    let map = ByLength::build(topics);
    let mut random = Random(2);
    let mut hits: Vec<Vec<u8>> = Vec::new();
    for _ in 0..MESSAGES {
        hits.push([&topics[random.below(TOPICS)][..], b" 1234.5"].concat());
    }
    let mut misses: Vec<Vec<u8>> = Vec::new();
    for _ in 0..MESSAGES {
        let mut message = topics[random.below(TOPICS)].clone();
        let end = message.len() - 1;
        message[end - random.below(6)] ^= 0x80;
        misses.push(message);
    }

    let mut group = criterion.benchmark_group(format!("{TOPICS} topics, {shape}"));
    group.throughput(Throughput::Elements(1));
    for (case, messages) in [("hit", &hits), ("miss", &misses)] {
        let mut next = messages.iter().cycle();
        let mut next = || next.next().unwrap().as_slice();
        group.bench_function(format!("{case}, tree: who"), |bencher| {
            bencher.iter(|| tree.matches(next(), consume));
        });
        group.bench_function(format!("{case}, tree: anybody"), |bencher| {
            bencher.iter(|| tree.matches_any(next()));
        });
        group.bench_function(format!("{case}, hash map: who"), |bencher| {
            bencher.iter(|| map.matches(next(), consume));
        });
    }
    let mut next = topics.iter().cycle();
    group.bench_function("one more taken up and given up, tree", |bencher| {
        bencher.iter(|| {
            let topic = &next.next().unwrap()[..10];
            (tree.add(topic, SUBSCRIBERS), tree.remove(topic, SUBSCRIBERS))
        });
    });
    drop((tree, map));

    group.sample_size(10);
    group.throughput(Throughput::Elements(TOPICS as u64));
    group.bench_function("all taken up, tree", |bencher| {
        bencher.iter_with_large_drop(|| build_tree(topics));
    });
    group.bench_function("all taken up, hash map", |bencher| {
        bencher.iter_with_large_drop(|| ByLength::build(topics));
    });
    let give_up = |bencher: &mut Bencher| {
        bencher.iter_batched_ref(
            || build_tree(topics),
            |tree| {
                for subscriber in 0..SUBSCRIBERS {
                    tree.remove_subscriber(subscriber, |topic, _| consume(topic.len()));
                }
                assert_eq!(tree.subscribers(), 0);
            },
            criterion::BatchSize::PerIteration,
        );
    };
    group.bench_function("all given up, subscriber by subscriber, tree", give_up);
    group.finish();
}

fn named_alike() -> Vec<Vec<u8>> {
    let name = |number: usize| format!("price.{}.{:08}", number % 97, number * 37);
    (0..TOPICS).map(|number| name(number).into_bytes()).collect()
}

fn random() -> Vec<Vec<u8>> {
    let mut random = Random(1);
    let mut topic = || {
        let len = 12 + random.below(17);
        (0..len).map(|_| random.below(256) as u8).collect()
    };
    (0..TOPICS).map(|_| topic()).collect()
}

fn build_tree(topics: &[Vec<u8>]) -> Topics {
    let mut tree = Topics::default();
    for (index, topic) in topics.iter().enumerate() {
        tree.add(topic, index % SUBSCRIBERS);
    }
    tree
}

/// The subscribers of each topic, and how many topics there are of each length.
#[derive(Default)]
struct ByLength {
    subscribers: HashMap<Box<[u8]>, Vec<u32>>,
    lengths: BTreeMap<usize, usize>,
}

impl ByLength {
    fn build(topics: &[Vec<u8>]) -> ByLength {
        let mut map = ByLength::default();
        for (index, topic) in topics.iter().enumerate() {
            let subscribers = map.subscribers.entry(topic.as_slice().into()).or_default();
            subscribers.push((index % SUBSCRIBERS) as u32);
            *map.lengths.entry(topic.len()).or_default() += 1;
        }
        map
    }

    /// Finds a subscriber once for each of its topics that match, which spares it the work of telling that it did.
    fn matches(&self, message: &[u8], mut found: impl FnMut(usize)) {
        for (&length, _) in self.lengths.range(..=message.len()) {
            for &subscriber in self.subscribers.get(&message[..length]).into_iter().flatten() {
                found(subscriber as usize);
            }
        }
    }
}

/// Marsaglia's xorshift, for the same topics in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % bound
    }
}

fn consume(found: usize) {
    black_box(found);
}

/// The system's allocator, and how many bytes it was asked for that it has not been given back.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every method passes its arguments on to the system's allocator as they are, so the caller's promises are kept
// where they are needed, and what the system's allocator promises is promised here.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATED.fetch_add(size, Ordering::Relaxed);
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

criterion_group!(benches, memory, small, large_named_alike, large_random);
criterion_main!(benches);
