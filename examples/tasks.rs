//! Counts lines, words and bytes of many files with several processes: the work that PUSH and PULL are made for.
//!
//! ```text
//!                ┌──► worker 0 ───┐
//!   ventilator ──┼──► worker 1 ───┼──► sink      ventilator and sink are sockets of this process,
//!     (PUSH)     └──► worker 2 ───┘   (PULL)     each worker is a process with a PULL and a PUSH of its own
//! ```
//!
//! A task has two parts: a file's number and its path. A result has the worker's number, the file's, and then either what
//! was counted or the reason why not. At the end this process counts each file again and has to come to the same.
#![allow(clippy::print_stderr)] // Only the library has to be silent.

#[path = "tasks/files.rs"]
mod files;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{self, Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, str, thread};

use files::{Counted, HELP, Job, count, draw_progress, parse_arguments, path_of, report, walk};
use zerowire::{Context, Event, Message, PullSocket, PushSocket, RecvTimeoutError, TrySendError};

/// As first argument it makes this program a worker.
const WORKER: &str = "--as-worker-process";
/// How often the workers are looked after and the progress bar is drawn.
const TICK: Duration = Duration::from_millis(100);
/// Tasks under way for each worker: enough that none runs dry, and so few that all their results fit the sink's queue.
/// One thread serves ventilator and sink here; it must not wait for room at the one while workers wait at the other.
const UNDER_WAY: usize = 100;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;
fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1).peekable();
    let outcome = match arguments.next_if(|first| first == WORKER) {
        Some(_) => work(arguments.filter_map(|text| text.into_string().ok()).collect()),
        None => run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tasks: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A worker: takes tasks for as long as its standard input is open.
fn work(arguments: Vec<String>) -> Result<()> {
    let [worker, ventilator, sink] = arguments.as_slice() else {
        return Err(format!("{WORKER} takes a number and two endpoints").into());
    };
    let context = Context::new();
    let mut results = PushSocket::new(&context);
    results.connect(sink)?;
    let mut tasks = PullSocket::new(&context);
    tasks.connect(ventilator)?;
    thread::Builder::new().spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0)
    })?;
    loop {
        let task = tasks.recv()?;
        let mut fields = vec![worker.clone(), task.to_str()?.to_owned()];
        match count(&path_of(task.part(1).unwrap_or_default())) {
            Ok([_, lines, words, bytes]) => {
                fields.extend([lines, words, bytes].map(|number| number.to_string()))
            }
            Err(reason) => fields.push(reason),
        }
        results.send(Message::from_parts(fields))?;
    }
}

fn run(arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let Some(Job { workers, paths }) = parse_arguments(arguments)? else {
        return Ok(io::stdout().write_all(HELP.as_bytes())?);
    };
    let files = walk(paths)?;
    let context = Context::new();
    let mut ventilator = PushSocket::new(&context);
    let tasks_at = ventilator.bind("tcp://127.0.0.1:*")?;
    let mut sink = PullSocket::new(&context);
    let results_at = sink.bind("tcp://127.0.0.1:*")?;

    // A worker ends when its standard input does. Nobody writes to it: it ends when this process closes it, and also when
    // this process fails or is killed. Messages that say "the end" would be less sure: PUSH deals to those that have room,
    // which may be one worker twice and another never.
    let monitor = ventilator.monitor();
    let mut crew = Vec::new();
    for worker in 0..workers {
        let mut command = Command::new(env::current_exe()?);
        command.arg(WORKER).arg(worker.to_string());
        command.arg(tasks_at.to_string()).arg(results_at.to_string());
        crew.push(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?);
    }
    // PUSH deals to those who are there: wait for all, or the first would get far more than its share.
    let mut missing = workers;
    while missing > 0 {
        match monitor.recv_timeout(TICK) {
            Some(Event::HandshakeSucceeded { .. }) => missing -= 1,
            _ => check(&mut crew)?,
        }
    }
    let start = Instant::now();
    let results = deal(&files, &mut ventilator, &mut sink, &mut crew)?;
    let elapsed = start.elapsed();
    for mut child in crew {
        // Closes its standard input first.
        child.wait()?;
    }

    io::stdout().write_all(report(&files, &results, workers, elapsed).as_bytes())?;
    for (file, (worker, counted)) in files.iter().zip(results) {
        if count(file) != counted {
            return Err(format!("worker {worker} counted {file:?} wrong, or it changed since").into());
        }
    }
    Ok(io::stdout().write_all(b"A single process counts the same.\n")?)
}

/// Deals out the files and collects the results, each with the worker it is from.
fn deal(
    files: &[PathBuf],
    ventilator: &mut PushSocket,
    sink: &mut PullSocket,
    crew: &mut [Child],
) -> Result<Vec<(usize, Counted)>> {
    let mut results = vec![(0, Err("no result".to_owned())); files.len()];
    let (mut sent, mut done, mut tick) = (0, 0, Instant::now());
    while done < files.len() {
        while sent < files.len() && sent - done < UNDER_WAY * crew.len() {
            let path = files[sent].as_os_str().as_encoded_bytes();
            match ventilator.try_send([sent.to_string().as_bytes(), path]) {
                Ok(()) => sent += 1,
                Err(TrySendError::Full(_) | TrySendError::NoPeer(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        match sink.recv_timeout(TICK) {
            Ok(message) => {
                let result = parse(&message).filter(|(worker, file, _)| *worker < crew.len() && *file < sent);
                let (worker, file, counted) = result.ok_or_else(|| format!("not a result: {message:?}"))?;
                results[file] = (worker, counted);
                done += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => return Err(error.into()),
        }
        if tick.elapsed() >= TICK {
            tick = Instant::now();
            check(crew)?;
            let bar = "#".repeat(50 * done / files.len());
            draw_progress(&format!("[{bar:<50}] {done} of {}", files.len()));
        }
    }
    draw_progress("");
    Ok(results)
}

/// Fails if a worker has ended: results of what it held would be waited for in vain.
fn check(crew: &mut [Child]) -> Result<()> {
    for (worker, child) in crew.iter_mut().enumerate() {
        if let Some(status) = child.try_wait()? {
            draw_progress("");
            return Err(format!("worker {worker} (process {}) ended early: {status}", child.id()).into());
        }
    }
    Ok(())
}

fn parse(result: &Message) -> Option<(usize, usize, Counted)> {
    let text = |part| str::from_utf8(result.part(part)?).ok();
    let number = |part| text(part)?.parse().ok();
    let counted = match result.part_count() {
        3 => Err(text(2)?.to_owned()),
        _ => Ok([1, number(2)?, number(3)?, number(4)?]),
    };
    Some((text(0)?.parse().ok()?, text(1)?.parse().ok()?, counted))
}
