//! Measures throughput and latency in the way of libzmq's tools `local_thr`, `remote_thr`, `local_lat`, `remote_lat`,
//! `inproc_thr` and `inproc_lat`, with the same arguments and the same closing lines, so that each can be at the other end.
//!
//! ```text
//!   local_thr  PULL, binds, measures    ◄── remote_thr  PUSH, connects
//!   local_lat  REP, binds, echoes       ◄─► remote_lat  REQ, connects, measures
//! ```

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, Subcommand};
use zerowire::{Context, Endpoint, Message, PullSocket, PushSocket, RepSocket, ReqSocket, ShutdownReport};

use crate::arguments::{to_bind, to_connect};
use crate::examples;
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::interrupts::Interrupts;
use crate::output;

#[derive(Subcommand)]
pub enum Perf {
    /// Receives COUNT messages from remote_thr, and says how fast they came.
    #[command(name = "local_thr", after_help = examples::THROUGHPUT)]
    LocalThroughput(Bound),
    /// Sends COUNT messages to local_thr.
    #[command(name = "remote_thr", after_help = examples::THROUGHPUT)]
    RemoteThroughput(Connected),
    /// Sends back COUNT messages of remote_lat.
    #[command(name = "local_lat", after_help = examples::LATENCY)]
    LocalLatency(Bound),
    /// Sends COUNT messages to local_lat, one after the other, and says how long they took.
    #[command(name = "remote_lat", after_help = examples::LATENCY)]
    RemoteLatency(Connected),
    /// Measures the throughput between two threads.
    #[command(name = "inproc_thr", after_help = examples::INPROC_THROUGHPUT)]
    InprocThroughput(Load),
    /// Measures the latency between two threads.
    #[command(name = "inproc_lat", after_help = examples::INPROC_LATENCY)]
    InprocLatency(Load),
}

#[derive(Args)]
pub struct Bound {
    /// The endpoint to bind.
    #[arg(value_name = "EP", value_parser = to_bind)]
    endpoint: Endpoint,
    #[command(flatten)]
    load: Load,
}

#[derive(Args)]
pub struct Connected {
    /// The endpoint to connect to.
    #[arg(value_name = "EP", value_parser = to_connect)]
    endpoint: Endpoint,
    #[command(flatten)]
    load: Load,
}

#[derive(Args, Clone, Copy)]
pub struct Load {
    /// Bytes of each message.
    #[arg(value_parser = clap::value_parser!(u32).range(..=MESSAGE_BYTES_MAX))]
    size: u32,
    /// How many messages, or roundtrips.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
}

/// The most that a socket can be told to take.
const MESSAGE_BYTES_MAX: i64 = i32::MAX as i64;

/// Measures, or stops at a signal.
pub fn run(perf: &Perf) -> Result<(), Failure> {
    let context = Context::new();
    let mut interrupts = Interrupts::catch(GRACE)?;
    // Whoever takes it ends the measurement: a signal, or its own end.
    let running = Arc::new(Mutex::new(Some(context.clone())));
    let stopped = running.clone();
    let signals = thread::Builder::new().name("signals".into()).spawn(move || {
        while !interrupts.came_within(Duration::MAX) {}
        if let Some(context) = take(&stopped) {
            // Whatever waits for a peer ends with an error.
            context.shutdown(Duration::ZERO);
        }
    })?;
    let result = measure(perf, &context);
    match take(&running) {
        Some(_) => result,
        None => {
            let _ = signals.join();
            Ok(())
        }
    }
}

fn take<T>(from: &Mutex<Option<T>>) -> Option<T> {
    from.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// How long the end may take after a signal.
const GRACE: Duration = Duration::from_secs(1);

fn measure(perf: &Perf, context: &Context) -> Result<(), Failure> {
    match perf {
        Perf::LocalThroughput(Bound { endpoint, load }) => {
            let mut pull = load.pull(context)?;
            announce(&pull.bind(endpoint)?);
            load.receive(&mut pull)?.print(load)
        }
        Perf::RemoteThroughput(Connected { endpoint, load }) => {
            let mut push = load.push(context)?;
            push.connect(endpoint)?;
            load.send(&mut push)?;
            // However slow the other side is, and even if it is not there yet.
            all_delivered(&context.shutdown(Duration::MAX))
        }
        Perf::LocalLatency(Bound { endpoint, load }) => {
            let mut rep = load.rep(context)?;
            announce(&rep.bind(endpoint)?);
            load.echo(&mut rep)?;
            drop(rep);
            all_delivered(&context.shutdown(Duration::MAX))
        }
        Perf::RemoteLatency(Connected { endpoint, load }) => {
            let mut req = load.req(context)?;
            req.connect(endpoint)?;
            load.ask(&mut req)?.print(load)
        }
        Perf::InprocThroughput(load) => {
            let mut pull = load.pull(context)?;
            pull.bind(INPROC)?;
            let mut push = load.push(context)?;
            push.connect(INPROC)?;
            let sender = *load;
            thread::spawn(move || sender.send(&mut push));
            load.receive(&mut pull)?.print(load)
        }
        Perf::InprocLatency(load) => {
            let mut rep = load.rep(context)?;
            rep.bind(INPROC)?;
            let mut req = load.req(context)?;
            req.connect(INPROC)?;
            let echo = *load;
            thread::spawn(move || echo.echo(&mut rep));
            load.ask(&mut req)?.print(load)
        }
    }
}

const INPROC: &str = "inproc://perf";

fn announce(endpoint: &Endpoint) {
    output::tell(&format!("listening on {endpoint}"));
}

fn all_delivered(report: &ShutdownReport) -> Result<(), Failure> {
    match report.is_complete() {
        true => Ok(()),
        false => Err(Failure::Error(report.to_string())),
    }
}

/// How long the messages took, from the first that came to the last.
struct Throughput {
    elapsed: Duration,
}

/// How long each roundtrip took.
struct Latency {
    elapsed: Duration,
    roundtrips: Histogram,
}

impl Load {
    fn bytes_max(self) -> u64 {
        u64::from(self.size).max(1)
    }

    fn push(self, context: &Context) -> Result<PushSocket, Failure> {
        Ok(PushSocket::builder(context)
            .max_message_bytes(self.bytes_max())
            .build()?)
    }

    fn pull(self, context: &Context) -> Result<PullSocket, Failure> {
        Ok(PullSocket::builder(context)
            .max_message_bytes(self.bytes_max())
            .build()?)
    }

    fn req(self, context: &Context) -> Result<ReqSocket, Failure> {
        Ok(ReqSocket::builder(context)
            .max_message_bytes(self.bytes_max())
            .build()?)
    }

    fn rep(self, context: &Context) -> Result<RepSocket, Failure> {
        Ok(RepSocket::builder(context)
            .max_message_bytes(self.bytes_max())
            .build()?)
    }

    fn message(self) -> Message {
        Message::from(Bytes::from(vec![0; self.size as usize]))
    }

    fn send(self, push: &mut PushSocket) -> Result<(), Failure> {
        let message = self.message();
        for _ in 0..self.count {
            push.send(message.clone())?;
        }
        Ok(())
    }

    fn receive(self, pull: &mut PullSocket) -> Result<Throughput, Failure> {
        self.check(&pull.recv()?)?;
        let start = Instant::now();
        let mut messages = Vec::new();
        let mut left = self.count - 1;
        while left > 0 {
            left -= pull.recv_many(&mut messages, left.min(BATCH) as usize)? as u64;
            for message in messages.drain(..) {
                self.check(&message)?;
            }
        }
        Ok(Throughput {
            elapsed: start.elapsed(),
        })
    }

    fn echo(self, rep: &mut RepSocket) -> Result<(), Failure> {
        for _ in 0..self.count {
            let request = rep.recv()?;
            self.check(&request)?;
            rep.send(request)?;
        }
        Ok(())
    }

    fn ask(self, req: &mut ReqSocket) -> Result<Latency, Failure> {
        let message = self.message();
        let mut roundtrips = Histogram::new();
        let start = Instant::now();
        let mut sent = start;
        for _ in 0..self.count {
            req.send(message.clone())?;
            self.check(&req.recv()?)?;
            let now = Instant::now();
            roundtrips.record(now - sent);
            sent = now;
        }
        Ok(Latency {
            elapsed: start.elapsed(),
            roundtrips,
        })
    }

    fn check(self, message: &Message) -> Result<(), Failure> {
        match message.total_bytes() == self.size as usize {
            true => Ok(()),
            false => Err(Failure::Error(format!(
                "a message of {} bytes came, not of {}",
                message.total_bytes(),
                self.size
            ))),
        }
    }
}

/// As many messages as are taken at once.
const BATCH: u64 = 1000;

impl Throughput {
    fn print(&self, load: &Load) -> Result<(), Failure> {
        let seconds = self.elapsed.max(Duration::from_micros(1)).as_secs_f64();
        let per_second = load.count as f64 / seconds;
        let megabits = per_second * f64::from(load.size) * 8.0 / 1e6;
        let text = format!(
            "message size: {} [B]\nmessage count: {}\nmean throughput: {} [msg/s]\nmean throughput: {megabits:.3} [Mb/s]\n",
            load.size, load.count, per_second as u64
        );
        output::write_all(&mut io::stdout().lock(), text.as_bytes())
    }
}

impl Latency {
    /// The histogram comes first, so that the last lines are those that other tools write.
    fn print(&self, load: &Load) -> Result<(), Failure> {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let mut text = Vec::new();
        let _ = write!(text, "{}", self.roundtrips);
        for (name, part) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            // One way, as the average is.
            let latency = micros(self.roundtrips.quantile(part)) / 2.0;
            let _ = writeln!(text, "{name} latency: {latency:.3} [us]");
        }
        let average = micros(self.elapsed) / (load.count as f64 * 2.0);
        let _ = write!(
            text,
            "message size: {} [B]\nroundtrip count: {}\naverage latency: {average:.3} [us]\n",
            load.size, load.count
        );
        output::write_all(&mut io::stdout().lock(), &text)
    }
}
