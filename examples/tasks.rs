//! Counts lines, words and bytes of many files with several processes: the work that PUSH and PULL are made for.
//!
//! ```text
//!                ┌──► worker 0 ───┐
//!   ventilator ──┼──► worker 1 ───┼──► sink      ventilator and sink are sockets of this process,
//!     (PUSH)     └──► worker 2 ───┘   (PULL)     each worker is a process with a PULL and a PUSH of its own
//! ```
//!
//! A task is a path. A result is the worker's number with what it counted, or why it could not. Both travel as JSON.

#[path = "tasks/files.rs"]
mod files;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, value_parser};
use files::{Counts, add, count, report, walk};
use indicatif::{ProgressBar, ProgressFinish};
use zerowire::{Context, Event, PullSocket, PushSocket, RecvTimeoutError};

/// How long workers may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a lost worker may go unnoticed.
const TICK: Duration = Duration::from_millis(100);
/// Tasks under way for each worker: so many that none runs dry, and so few that a send finds room: a queue takes 1000.
const UNDER_WAY: usize = 100;

/// Counts lines, words and bytes of files with several processes, and compares with a count of its own.
///
/// A file that cannot be read is listed. Exit status 1: a worker was lost, or a single process counts otherwise.
/// Exit status 2: an argument is wrong.
#[derive(Parser)]
struct Arguments {
    /// Number of worker processes, 1 to 64; by default one for each core, but at least 2.
    #[arg(long, value_parser = value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// Files, and folders of files.
    #[arg(default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/src"))]
    paths: Vec<PathBuf>,
    /// Makes this process a worker: its number, and the endpoints of the ventilator and the sink.
    #[arg(long, num_args = 3, hide = true)]
    as_worker: Vec<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.as_worker.as_slice() {
        [number, ventilator, sink] => work(number.parse()?, ventilator, sink),
        _ => run(arguments),
    }
}

/// Takes tasks and sends results for as long as standard input is open.
fn work(number: usize, ventilator: &str, sink: &str) -> Result<()> {
    let context = Context::new();
    let mut results = PushSocket::new(&context);
    results.connect(sink)?;
    let mut tasks = PullSocket::new(&context);
    tasks.connect(ventilator)?;
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0)
    });
    loop {
        let path: OsString = serde_json::from_slice(tasks.recv()?.as_bytes())?;
        let counted = count(path.as_ref()).map_err(|reason| format!("{path:?}: {reason}"));
        results.send(serde_json::to_vec(&(number, counted))?)?;
    }
}

/// Starts the workers, deals out the files, adds up the results, and compares.
fn run(arguments: Arguments) -> Result<()> {
    let files = walk(&arguments.paths);
    let cores = thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 64));
    let mut shares = vec![Counts::default(); arguments.workers.map_or(cores, usize::from)];
    let mut unread = Vec::new();

    let context = Context::new();
    let mut ventilator = PushSocket::new(&context);
    let tasks_at = ventilator.bind("tcp://127.0.0.1:*")?.to_string();
    let mut sink = PullSocket::new(&context);
    let results_at = sink.bind("tcp://127.0.0.1:*")?.to_string();
    let monitor = ventilator.monitor();

    // A worker ends when its standard input does: when we wait for it, and also when we fail or are killed.
    let mut crew = Vec::new();
    for number in 0..shares.len() {
        let mut worker = Command::new(env::current_exe()?);
        worker.args(["--as-worker", &number.to_string(), &tasks_at, &results_at]);
        crew.push(worker.stdin(Stdio::piped()).spawn()?);
    }
    // PUSH deals to those who are there: wait for all, or the first would get far more than its share.
    let mut ready = 0;
    while ready < crew.len() {
        let event = monitor
            .recv_timeout(PATIENCE)
            .context("a worker did not come up")?;
        ready += usize::from(matches!(event, Event::HandshakeSucceeded { .. }));
    }

    let start = Instant::now();
    let bar = ProgressBar::new(files.len() as u64).with_finish(ProgressFinish::AndClear);
    let (mut sent, mut done) = (0, 0);
    while done < files.len() {
        while sent < files.len().min(done + UNDER_WAY * crew.len()) {
            let task = serde_json::to_vec(files[sent].as_os_str())?;
            ventilator.try_send(task).context("no worker is left")?;
            sent += 1;
        }
        // What a worker held is lost with it, and would be waited for in vain.
        if let Some(Event::Disconnected { connection, reason }) = monitor.try_recv() {
            bail!("lost the worker at {}: {reason}", connection.remote);
        }
        let result = match sink.recv_timeout(TICK) {
            Err(RecvTimeoutError::Timeout) => continue,
            result => result?,
        };
        let (worker, counted): (usize, Result<Counts, String>) = serde_json::from_slice(result.as_bytes())?;
        let share = shares.get_mut(worker).context("a result is from no worker")?;
        match counted {
            Ok(counts) => *share = add(*share, counts),
            Err(reason) => unread.push(reason),
        }
        done += 1;
        bar.inc(1);
    }
    drop(bar);
    let elapsed = start.elapsed();
    for mut worker in crew {
        worker.wait()?; // Closes its standard input first.
    }

    let total = shares.iter().copied().fold(Counts::default(), add);
    io::stdout().write_all(report(&shares, total, &unread, elapsed).as_bytes())?;
    let alone = files
        .iter()
        .filter_map(|file| count(file).ok())
        .fold(Counts::default(), add);
    ensure!(alone == total, "a single process counts otherwise: {alone:?}");
    Ok(io::stdout().write_all(b"A single process counts the same.\n")?)
}
