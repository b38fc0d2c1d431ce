//! One process of a round: sends or receives, measures itself, and prints what it measured.

use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::contestants::{Contestant, Transport};

/// What a process is told to do, as arguments.
#[derive(Debug)]
pub struct Job {
    pub contestant: Contestant,
    pub part: Part,
    pub transport: Transport,
    /// To bind, for a receiver; to connect to, for a sender.
    pub endpoint: String,
    /// Messages that are measured; one more is sent before them.
    pub count: u64,
    pub size: usize,
}

/// Which side, or both in two threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Pull,
    Push,
    Both,
}

/// What a process measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    pub wall: Duration,
    /// User and system time of all threads of the process.
    pub cpu: Duration,
}

/// Measures the time between two points.
#[derive(Default)]
pub struct Gauge {
    started: Option<(Instant, Duration)>,
    reading: Reading,
}

/// Does the job and prints `endpoint ENDPOINT` (a receiver, when it is bound) and `result WALL_NS CPU_NS`.
pub fn run(job: &Job) -> Result<(), Box<dyn Error>> {
    let mut gauge = Gauge::default();
    match job.part {
        Part::Pull => job
            .contestant
            .pull(&job.endpoint, job.count, job.size, &mut gauge)?,
        Part::Push => job
            .contestant
            .push(&job.endpoint, job.count, job.size, &mut gauge)?,
        Part::Both => job.contestant.both(job.count, job.size, &mut gauge)?,
    }
    println!(
        "result {} {}",
        gauge.reading.wall.as_nanos(),
        gauge.reading.cpu.as_nanos()
    );
    Ok(())
}

impl Job {
    /// The arguments of a process that does it.
    pub fn arguments(&self) -> Vec<String> {
        vec![
            "runner".into(),
            self.contestant.to_string(),
            self.part.to_string(),
            self.transport.to_string(),
            self.endpoint.clone(),
            self.count.to_string(),
            self.size.to_string(),
        ]
    }
}

impl Gauge {
    /// Tells the parent where a receiver can be reached.
    pub fn announce(&self, endpoint: &str) {
        println!("endpoint {endpoint}");
    }

    pub fn start(&mut self) {
        self.started = Some((Instant::now(), cpu_time()));
    }

    /// Stops when the parent closes the standard input of this process, which it does when the receiver is done.
    pub fn stop_when_told(&mut self) -> Result<(), Box<dyn Error>> {
        io::stdin().read_to_end(&mut Vec::new())?;
        self.stop();
        Ok(())
    }

    pub fn stop(&mut self) {
        let (wall, cpu) = self.started.expect("started before it is stopped");
        self.reading = Reading {
            wall: wall.elapsed(),
            cpu: cpu_time() - cpu,
        };
    }
}

/// User and system time that this process has used, threads that have ended included.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Pull => "pull",
            Part::Push => "push",
            Part::Both => "both",
        })
    }
}

impl FromStr for Part {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Part, Self::Err> {
        match name {
            "pull" => Ok(Part::Pull),
            "push" => Ok(Part::Push),
            "both" => Ok(Part::Both),
            _ => Err("no such part"),
        }
    }
}
