//! Which work is raced, how much of it, and in which order.

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal};
use std::time::Duration;

use crate::contestants::{Contestant, Transport};
use crate::lane;

/// What the command line can change.
#[derive(Debug)]
pub struct Options {
    /// Message sizes in bytes.
    pub sizes: Vec<usize>,
    pub rounds: usize,
    /// How long a round should last.
    pub round: Duration,
    /// Transports, sizes and libraries to keep; what is not named in a category is kept in all its values.
    pub only: Vec<String>,
    pub json: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            sizes: vec![8, 64, 1024],
            rounds: 5,
            round: Duration::from_millis(1500),
            only: Vec::new(),
            json: false,
        }
    }
}

/// What is carried, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    pub transport: Transport,
    /// Message size in bytes.
    pub size: usize,
}

/// One round of one contestant.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Messages after the first.
    pub count: u64,
    /// From the first message to the last, as the receiver saw it.
    pub wall: Duration,
    /// Of the receiver and the sender; of both in the first one when they share a process.
    pub cpu: [Duration; 2],
}

/// The rounds of all contestants at one work.
#[derive(Debug)]
pub struct Row {
    pub work: Work,
    /// In the order of [`Contestant::ALL`]; all have the same number of rounds, and equal indexes ran one after another.
    pub lanes: Vec<(Contestant, Vec<Run>)>,
}

/// Races PUSH and PULL.
pub fn throughput(options: &Options) -> Result<Vec<Row>, Box<dyn Error>> {
    options.check()?;
    let work = Transport::ALL
        .into_iter()
        .flat_map(|transport| options.sizes.iter().map(move |&size| Work { transport, size }));
    let mut rows = Vec::new();
    for work in work.filter(|work| options.keeps(*work)) {
        let row = race(work, options)?;
        if !row.lanes.is_empty() {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Err("--only leaves nothing to do".into());
    }
    Ok(rows)
}

fn race(work: Work, options: &Options) -> Result<Row, Box<dyn Error>> {
    let mut counts = Vec::new();
    let mut lanes: Vec<(Contestant, Vec<Run>)> = Vec::new();
    for contestant in Contestant::ALL {
        if contestant.can(work.transport) && options.admits(contestant) {
            progress(&format!("{work}: calibrating {contestant}"));
            counts.push(calibrate(contestant, work, options.round)?);
            lanes.push((contestant, Vec::new()));
        }
    }
    for round in 0..options.rounds {
        // Every other round backwards, so that nobody always runs after the same neighbour.
        let mut order: Vec<usize> = (0..lanes.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for lane in order {
            let (contestant, runs) = &mut lanes[lane];
            progress(&format!(
                "{work}: round {} of {}, {contestant}",
                round + 1,
                options.rounds
            ));
            runs.push(lane::run(*contestant, work, counts[lane])?);
        }
    }
    progress("");
    Ok(Row { work, lanes })
}

/// Shows where the race is to somebody who watches; a log gets nothing.
pub fn progress(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
    }
}

/// Finds how many messages last about as long as a round should.
fn calibrate(contestant: Contestant, work: Work, round: Duration) -> Result<u64, Box<dyn Error>> {
    let mut count = COUNT_FIRST;
    loop {
        let run = lane::run(contestant, work, count)?;
        let longer = round.as_secs_f64() / run.wall.as_secs_f64().max(1e-6);
        // A run of a fifth of the length is long enough to tell the rest.
        if longer <= 5.0 {
            return Ok(((count as f64 * longer) as u64).max(1));
        }
        count = (count as f64 * longer.min(20.0)) as u64;
    }
}

const COUNT_FIRST: u64 = 20_000;

impl Options {
    /// A name that means nothing would silently keep everything.
    fn check(&self) -> Result<(), String> {
        let unknown = |name: &&String| {
            name.parse::<Transport>().is_err()
                && name.parse::<Contestant>().is_err()
                && !self.sizes.iter().any(|size| size.to_string() == **name)
        };
        match self.only.iter().find(unknown) {
            Some(name) => Err(format!(
                "--only `{name}`: no transport, size or library of this race"
            )),
            None => Ok(()),
        }
    }

    fn keeps(&self, work: Work) -> bool {
        let kept = |all: &[String], one: String| {
            let named: Vec<_> = self.only.iter().filter(|name| all.contains(name)).collect();
            named.is_empty() || named.contains(&&one)
        };
        kept(
            &Transport::ALL.map(|transport| transport.to_string()),
            work.transport.to_string(),
        ) && kept(
            &self.sizes.iter().map(usize::to_string).collect::<Vec<_>>(),
            work.size.to_string(),
        )
    }

    fn admits(&self, contestant: Contestant) -> bool {
        let names = Contestant::ALL.map(|contestant| contestant.to_string());
        let mut named = self.only.iter().filter(|name| names.contains(name)).peekable();
        named.peek().is_none() || named.any(|name| *name == contestant.to_string())
    }
}

impl Run {
    /// Messages per second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }

    /// CPU nanoseconds per message of the receiver and the sender.
    pub fn cpu_ns(&self) -> [f64; 2] {
        self.cpu.map(|cpu| cpu.as_secs_f64() * 1e9 / self.count as f64)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} {} B", self.transport, self.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_restricts_each_category_it_names() {
        let keeps = |only: &[&str], transport, size| {
            let only = only.iter().map(|name| String::from(*name)).collect();
            Options {
                only,
                ..Options::default()
            }
            .keeps(Work { transport, size })
        };
        assert!(keeps(&[], Transport::Ipc, 8));
        assert!(keeps(&["tcp"], Transport::Tcp, 8));
        assert!(!keeps(&["tcp"], Transport::Ipc, 8));
        assert!(keeps(&["tcp", "64"], Transport::Tcp, 64));
        assert!(!keeps(&["tcp", "64"], Transport::Tcp, 8));
        assert!(keeps(&["libzmq", "8"], Transport::Inproc, 8));
        let options = Options {
            only: vec!["libzmq".into()],
            ..Options::default()
        };
        assert!(options.admits(Contestant::Libzmq) && !options.admits(Contestant::Raw));
    }

    #[test]
    fn rates_are_per_second_and_costs_per_message() {
        let run = Run {
            count: 1000,
            wall: Duration::from_millis(500),
            cpu: [Duration::from_micros(100), Duration::from_micros(50)],
        };
        assert_eq!(run.rate(), 2000.0);
        assert_eq!(run.cpu_ns().map(f64::round), [100.0, 50.0]);
    }
}
