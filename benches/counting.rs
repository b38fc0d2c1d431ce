//! What it costs that every message is counted: the library beside itself without the counts that only statistics want.
//!
//! `cargo bench --bench counting` builds the other one, runs the two in turns, and prints how much longer a message takes with
//! the counts than without: the median over the pairs of rounds, where it lies with 95 % certainty, and the middle half of the
//! pairs. Processor time of all threads together, because that is what counting costs. It takes about ten minutes;
//! `cargo bench --bench counting -- tcp` does one kind of work only.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::fs;
use std::process::{Command, exit};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use zerowire::{Context, PullSocket, PushSocket};

/// Rounds of each; an odd number has a median. So many, because on a machine with other work a pair is off by some percent.
const PAIRS: usize = 801;
const WORKS: [&str; 3] = ["inproc, one thread", "inproc, two threads", "tcp"];
const BODY: [u8; 64] = [7; 64];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "--round") {
        Some(at) => println!("{}", round(&arguments[at + 1])),
        // So does `cargo test --benches`, which wants to know that it runs.
        None if !arguments.iter().any(|argument| argument == "--bench") => {
            println!("{} ns", round("inproc, one thread"));
        }
        None => {
            let is_asked = |work: &&str| {
                arguments[1..]
                    .iter()
                    .any(|argument| work.contains(argument.as_str()))
            };
            let works: Vec<&str> = WORKS.into_iter().filter(is_asked).collect();
            compare(if works.is_empty() { &WORKS } else { &works });
        }
    }
}

fn compare(works: &[&str]) {
    let (counted, uncounted) = (std::env::current_exe().unwrap(), build_uncounted());
    for work in works {
        let mut ratios: Vec<f64> = (0..PAIRS)
            .map(|pair| {
                if pair % 100 == 0 {
                    eprintln!("{work}: {pair} of {PAIRS} pairs");
                }
                // Who is first has no advantage over all.
                let mut took = [0.0; 2];
                for turn in 0..2 {
                    let which = (pair + turn) % 2;
                    took[which] = run(
                        [counted.to_str(), uncounted.as_str().into()][which].unwrap(),
                        work,
                    );
                }
                took[0] / took[1]
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        let percent = |at: usize| 100.0 * (ratios[at] - 1.0);
        // How many pairs lie below the true median is binomial, with a deviation of half the root of their number.
        let off = (0.98 * (PAIRS as f64).sqrt()).ceil() as usize;
        println!(
            "{work:20} {:+5.1} % (95 %: {:+.1} .. {:+.1}; middle half {:+.1} .. {:+.1})",
            percent(PAIRS / 2),
            percent(PAIRS / 2 - off),
            percent(PAIRS / 2 + off),
            percent(PAIRS / 4),
            percent(3 * PAIRS / 4)
        );
    }
}

/// Builds this bench with the library that does not count, and returns its path.
fn build_uncounted() -> String {
    let target = format!("{}/uncounted", env!("CARGO_TARGET_TMPDIR"));
    let built = Command::new(env!("CARGO"))
        .args([
            "bench",
            "--bench",
            "counting",
            "--no-run",
            "--target-dir",
            &target,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("RUSTFLAGS", "--cfg zerowire_uncounted")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    // Cargo's last line is `Executable benches/counting.rs (path)`.
    match said
        .trim_end()
        .rsplit_once('(')
        .and_then(|(_, path)| path.strip_suffix(')'))
    {
        Some(path) if built.status.success() => path.to_owned(),
        _ => {
            eprintln!("{said}");
            exit(1);
        }
    }
}

/// The nanoseconds that a program says a message took.
fn run(program: &str, work: &str) -> f64 {
    let said = Command::new(program)
        .args(["--round", work])
        .output()
        .unwrap()
        .stdout;
    String::from_utf8(said).unwrap().trim().parse().unwrap()
}

/// Nanoseconds of processor time for each message.
fn round(work: &str) -> f64 {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = match work {
        "tcp" => pull.bind("tcp://127.0.0.1:*").unwrap(),
        _ => pull.bind("inproc://counting").unwrap(),
    };
    let mut push = PushSocket::new(&context);
    push.connect(endpoint).unwrap();
    let count = 2_000_000;
    if work == "inproc, one thread" {
        let before = processor_time();
        for _ in 0..count / 100 {
            (0..100).for_each(|_| send(&mut push));
            (0..100).for_each(|_| receive(&mut pull));
        }
        return (processor_time() - before).as_nanos() as f64 / f64::from(count);
    }
    // The time of a thread counts for as long as it is there.
    let (begun, done) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            begun.wait();
            (0..count).for_each(|_| send(&mut push));
            done.wait();
        });
        let before = processor_time();
        begun.wait();
        (0..count).for_each(|_| receive(&mut pull));
        let took = processor_time() - before;
        done.wait();
        took.as_nanos() as f64 / f64::from(count)
    })
}

#[inline(never)]
fn send(push: &mut PushSocket) {
    push.send(&std::hint::black_box(BODY)).unwrap();
}

#[inline(never)]
fn receive(pull: &mut PullSocket) {
    assert_eq!(std::hint::black_box(pull.recv().unwrap()).len(), BODY.len());
}

/// Of all threads of this process, as Linux has it.
fn processor_time() -> Duration {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let of_one = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).unwrap();
        stat.split(' ')
            .next()
            .unwrap()
            .parse()
            .map(Duration::from_nanos)
            .unwrap()
    };
    threads.map(|thread| of_one(thread.unwrap())).sum()
}
