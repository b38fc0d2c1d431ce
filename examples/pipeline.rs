//! Stages of a computation, each a thread, with messages in between: PUSH and PULL over inproc.
//!
//! ```text
//!   source ──► stage 1 ──► stage 2 ──► stage 3 ──► sink
//! ```
//!
//! A message is a number of eight bytes; an empty message is the last one. A stage that falls behind is not flooded: its
//! queue is full at the high-water mark, and whoever sends to it waits.

use std::io::{self, Write};
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use clap::{Parser, value_parser};
use zerowire::{Context, PullSocket, PushSocket};

/// Messages that a stage takes at once, if so many are there.
const BATCH: usize = 256;

/// Sends numbers through stages that each change them, and compares the sum with that of a plain loop.
#[derive(Parser)]
struct Arguments {
    /// Numbers to send.
    #[arg(long, default_value_t = 2_000_000)]
    messages: u64,
    /// Threads between the source and the sink.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(..=256))]
    stages: u32,
}

fn main() -> Result<()> {
    let Arguments { messages, stages } = Arguments::parse();
    let context = Context::new();
    let mut source = PushSocket::new(&context);
    source.bind("inproc://0")?;

    let mut threads = Vec::new();
    for number in 0..stages {
        let mut input = PullSocket::new(&context);
        input.connect(format!("inproc://{number}"))?;
        let mut output = PushSocket::new(&context);
        output.bind(format!("inproc://{}", number + 1))?;
        threads.push(thread::spawn(move || stage(input, output)));
    }
    let mut sink = PullSocket::new(&context);
    sink.connect(format!("inproc://{stages}"))?;

    let start = Instant::now();
    threads.push(thread::spawn(move || -> Result<()> {
        for number in 0..messages {
            source.send(&number.to_le_bytes())?;
        }
        Ok(source.send("")?)
    }));
    let mut sum = 0_u64;
    let mut count = 0;
    loop {
        let message = sink.recv()?;
        if message.is_empty() {
            break;
        }
        sum = sum.wrapping_add(u64::from_le_bytes(message.as_bytes().try_into()?));
        count += 1;
    }
    let elapsed = start.elapsed();
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a stage panicked"))??;
    }

    let expected = (0..messages).map(|number| (0..stages).fold(number, |number, _| change(number)));
    ensure!(count == messages, "{count} messages of {messages} arrived");
    ensure!(
        sum == expected.fold(0, u64::wrapping_add),
        "a plain loop has another sum"
    );
    let rate = messages as f64 / elapsed.as_secs_f64();
    writeln!(
        io::stdout(),
        "{messages} messages through {stages} stages in {elapsed:.2?}"
    )?;
    writeln!(
        io::stdout(),
        "{:.2} million messages/s, the sum is right",
        rate / 1e6
    )?;
    Ok(())
}

/// Changes each number and passes it on, up to and with the empty message.
fn stage(mut input: PullSocket, mut output: PushSocket) -> Result<()> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        input.recv_many(&mut batch, BATCH)?;
        for message in batch.drain(..) {
            if message.is_empty() {
                return Ok(output.send(message)?);
            }
            let number = u64::from_le_bytes(message.as_bytes().try_into()?);
            output.send(&change(number).to_le_bytes())?;
        }
    }
}

/// A step of a random number generator: cheap, and a lost or repeated number changes the sum.
fn change(number: u64) -> u64 {
    number
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}
