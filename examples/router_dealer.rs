//! Many clients, many workers, and a front between them that gives each job to the worker that has rested longest.
//!
//! ```text
//!   client ──┐                    ┌── worker       A client is a DEALER with many jobs under way. A worker is a DEALER
//!            ├──► ROUTER front ◄──┤                too: it says `ready`, gets one job, and sends it back as `done`.
//!   client ──┘                    └── worker       The front knows each of them by name, and waits for all in one place.
//! ```

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io::{self, Write};
use std::time::{Duration, Instant};
use std::{iter, thread};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::{Parser, value_parser};
use zerowire::{Context, DealerSocket, Endpoint, Message, PeerId, RouterSocket, SendToError};

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(10);
/// Jobs that a client has under way.
const UNDER_WAY: usize = 100;

/// Has workers count, for clients, the steps of the Collatz sequences of 1, 2, 3 and so on.
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u64).range(1..=256))]
    clients: u64,
    #[arg(long, default_value_t = 8, value_parser = value_parser!(u64).range(1..=256))]
    workers: u64,
    /// Jobs of each client.
    #[arg(long, default_value_t = 10_000, value_parser = value_parser!(u64).range(1..=1_000_000_000))]
    jobs: u64,
    /// Where the front is bound.
    #[arg(default_value = "tcp://127.0.0.1:*")]
    endpoint: Endpoint,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (context, jobs) = (Context::new(), arguments.jobs);
    let mut front = RouterSocket::new(&context);
    let endpoint = front.bind(arguments.endpoint)?;

    let start = Instant::now();
    for number in 0..arguments.workers {
        let name = format!("worker {number}");
        let mut socket = DealerSocket::builder(&context).identity(name).build()?;
        socket.connect(&endpoint)?;
        thread::spawn(move || work(socket)); // Until the program ends.
    }
    let mut clients = Vec::new();
    for _ in 0..arguments.clients {
        let mut socket = DealerSocket::new(&context);
        socket.connect(&endpoint)?;
        clients.push(thread::spawn(move || order(socket, jobs)));
    }
    let done = distribute(&mut front, arguments.clients * jobs)?;
    for client in clients {
        client.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    let elapsed = start.elapsed();

    for (worker, jobs) in &done {
        writeln!(io::stdout(), "{jobs:>10} jobs by {worker}")?;
    }
    let rate = (arguments.clients * jobs) as f64 / elapsed.as_secs_f64();
    writeln!(
        io::stdout(),
        "{elapsed:.2?}, {rate:.0} jobs/s, every result is right"
    )?;
    Ok(())
}

/// Passes jobs to workers and results to clients until all are done. Returns how many each worker did.
fn distribute(front: &mut RouterSocket, jobs: u64) -> Result<BTreeMap<PeerId, u64>> {
    let mut idle = VecDeque::new(); // Workers; who has rested longest is first.
    let mut waiting = VecDeque::new(); // Jobs, each behind the name of its client.
    let mut done = BTreeMap::new();
    let mut left = jobs;
    while left > 0 {
        let (peer, message) = front.recv_from_timeout(PATIENCE)?;
        let (kind, rest) = message.split_first();
        match (&kind[..], rest) {
            (b"ready", None) => {
                done.insert(peer.clone(), 0);
                idle.push_back(peer);
            }
            (b"job", Some(mut job)) => {
                job.push_front(peer.into_bytes());
                waiting.push_back(job);
            }
            (b"done", Some(job)) => {
                *done.entry(peer.clone()).or_default() += 1;
                idle.push_back(peer);
                left -= 1;
                let (client, result) = job.split_first();
                // Never waits for a client that does not read: it has less under way than its queue takes.
                match front.try_send_to(&PeerId::new(client)?, result.unwrap_or_default()) {
                    Err(SendToError::Unroutable { .. }) => {} // The client has gone.
                    sent => sent?,
                }
            }
            _ => {} // A stranger, to whom nothing is owed.
        }
        while !idle.is_empty() && !waiting.is_empty() {
            let (Some(worker), Some(job)) = (idle.pop_front(), waiting.pop_front()) else {
                break;
            };
            match front.try_send_to(&worker, job) {
                Err(SendToError::Unroutable { message, .. }) => waiting.push_front(message), // The worker has gone.
                sent => sent?,
            }
        }
    }
    Ok(done)
}

/// Works until the program ends. A job is the name of a client, which only goes back, and a number.
fn work(mut front: DealerSocket) -> Result<()> {
    front.send("ready")?;
    loop {
        let (client, job) = front.recv()?.split_first();
        let mut done = Message::from(solve(job.context("a job without a number")?.to_str()?.parse()?));
        done.push_front(client);
        done.push_front("done");
        front.send(done)?;
    }
}

/// Has 1, 2, 3 and so on solved, many at a time. Results come in any order.
fn order(mut front: DealerSocket, jobs: u64) -> Result<()> {
    let mut numbers = 1..=jobs;
    let mut awaited = HashSet::new();
    loop {
        for number in numbers.by_ref().take(UNDER_WAY - awaited.len()) {
            front.send(["job", &number.to_string()])?;
            awaited.insert(solve(number));
        }
        if awaited.is_empty() {
            return Ok(());
        }
        let result = front.recv_timeout(PATIENCE)?;
        ensure!(awaited.remove(result.to_str()?), "a wrong result: {result:?}");
    }
}

/// Counts the steps from a number to 1, if an even one is halved and an odd one goes to three times itself and one.
fn solve(number: u64) -> String {
    let sequence = iter::successors(Some(number), |&number| match number {
        0 | 1 => None,
        _ if number % 2 == 0 => Some(number / 2),
        _ => Some(3 * number + 1),
    });
    format!("{number} {}", sequence.count() - 1)
}
