//! The command line, parsed by hand: there is little of it.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::contestants::{Contestant, Transport};
use crate::fan_out;
use crate::race::Options;
use crate::round_trip;
use crate::runner::{Job, Part};

pub const USAGE: &str = "\
Races zerowire against libzmq and raw sockets, each at its default settings, in one run.

usage: zerowire-peers throughput|fan-out|round-trip [OPTIONS]

  throughput       PUSH to PULL: two processes over tcp and ipc, two threads over inproc
  fan-out          PUB to many SUB over tcp: a process that publishes, a process of subscribers
  round-trip       REQ to REP and back: two processes over tcp and ipc

options:
  --size BYTES     throughput, fan-out: message sizes, separated by commas (8,64,1024; 64,1024)
  --subscribers N  fan-out: how many, separated by commas (8,32)
  --rounds N       rounds of each library, which take turns (5)
  --seconds S      throughput, fan-out: length of a round (1.5)
  --count N        round-trip: exchanges in a round (10000)
  --json           throughput: print one JSON object instead of the table
  --help           print this";

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Print [`USAGE`].
    Help,
    /// The race of PUSH and PULL.
    Throughput(Options),
    /// The race of PUB and SUB.
    FanOut(fan_out::Options),
    /// The process of the subscribers. Not in the usage.
    Subscribers(Contestant, String, usize),
    /// The race of REQ and REP.
    RoundTrip(round_trip::Options),
    /// The process of the REP. Not in the usage.
    Server(Contestant, String),
    /// One process of a round. Not in the usage: the race starts these itself.
    Runner(Job),
}

/// Parses the arguments after the program's name.
pub fn parse(arguments: &[String]) -> Result<Command, String> {
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        return Ok(Command::Help);
    }
    match arguments.split_first() {
        Some((command, rest)) if command == "throughput" => Ok(Command::Throughput(throughput(rest)?)),
        Some((command, rest)) if command == "fan-out" => Ok(Command::FanOut(fan_out(rest)?)),
        Some((command, rest)) if command == "round-trip" => Ok(Command::RoundTrip(round_trip(rest)?)),
        Some((command, [contestant, endpoint, count])) if command == "fan-out-subscribers" => {
            Ok(Command::Subscribers(
                number("contestant", contestant)?,
                endpoint.clone(),
                number("count", count)?,
            ))
        }
        Some((command, [contestant, endpoint])) if command == "round-trip-server" => Ok(Command::Server(
            number("contestant", contestant)?,
            endpoint.clone(),
        )),
        Some((command, rest)) if command == "runner" => Ok(Command::Runner(runner(rest)?)),
        Some((command, _)) => Err(format!("unknown command `{command}`, try --help")),
        None => Ok(Command::Help),
    }
}

fn throughput(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--size" => options.sizes = list(name, value()?)?,
            "--rounds" => options.rounds = number(name, value()?)?,
            "--seconds" => options.round = seconds(name, value()?)?,
            // For work on one row: any of a transport, a size, a library.
            "--only" => options.only = value()?.split(',').map(String::from).collect(),
            "--json" => options.json = true,
            _ => return Err(format!("unknown option `{name}`, try --help")),
        }
    }
    if options.rounds == 0 {
        return Err("--rounds 0: there must be at least one".into());
    }
    if options.round.is_zero() {
        return Err("--seconds 0: a round must last a while".into());
    }
    if options.sizes.contains(&0) {
        return Err("--size 0: raw sockets have no empty messages".into());
    }
    Ok(options)
}

fn fan_out(arguments: &[String]) -> Result<fan_out::Options, String> {
    let mut options = fan_out::Options::default();
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--size" => options.sizes = list(name, value()?)?,
            "--subscribers" => options.subscribers = list(name, value()?)?,
            "--rounds" => options.rounds = number(name, value()?)?,
            "--seconds" => options.round = seconds(name, value()?)?,
            _ => return Err(format!("unknown option `{name}`, try --help")),
        }
    }
    if options.rounds == 0 || options.round.is_zero() || options.subscribers.contains(&0) {
        return Err("--rounds, --seconds and --subscribers must be more than 0".into());
    }
    Ok(options)
}

fn round_trip(arguments: &[String]) -> Result<round_trip::Options, String> {
    let mut options = round_trip::Options::default();
    let mut arguments = arguments.iter();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--rounds" => options.rounds = number(name, value()?)?,
            "--count" => options.count = number(name, value()?)?,
            _ => return Err(format!("unknown option `{name}`, try --help")),
        }
    }
    if options.rounds == 0 || options.count == 0 {
        return Err("--rounds and --count must be more than 0".into());
    }
    Ok(options)
}

fn seconds(name: &str, text: &str) -> Result<Duration, String> {
    let seconds: f64 = number(name, text)?;
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{name} {seconds}: {error}"))
}

/// `CONTESTANT pull|push|both TRANSPORT ENDPOINT COUNT SIZE`, as [`Job::arguments`] writes it.
fn runner(arguments: &[String]) -> Result<Job, String> {
    let [contestant, part, transport, endpoint, count, size] = arguments else {
        return Err(format!("a runner has six arguments, not {}", arguments.len()));
    };
    Ok(Job {
        contestant: number::<Contestant>("contestant", contestant)?,
        part: number::<Part>("part", part)?,
        transport: number::<Transport>("transport", transport)?,
        endpoint: endpoint.clone(),
        count: number("count", count)?,
        size: number("size", size)?,
    })
}

fn list<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<Vec<T>, String> {
    text.split(',').map(|item| number(name, item)).collect()
}

fn number<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{name} `{text}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, String> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_replace_their_defaults() {
        let Ok(Command::Throughput(options)) = parse_line("throughput --size 1,2 --rounds 3 --only tcp,64")
        else {
            panic!("not understood");
        };
        assert_eq!(
            (options.sizes, options.rounds, options.json),
            (vec![1, 2], 3, false)
        );
        assert_eq!(options.only, ["tcp", "64"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, error) in [
            ("jump", "unknown command `jump`, try --help"),
            ("throughput --size", "--size needs a value"),
            (
                "throughput --size 8,x",
                "--size `x`: invalid digit found in string",
            ),
            ("throughput --rounds 0", "--rounds 0: there must be at least one"),
            ("throughput --fast", "unknown option `--fast`, try --help"),
        ] {
            assert_eq!(parse_line(line).err().as_deref(), Some(error));
        }
    }

    #[test]
    fn a_job_is_read_as_it_was_written() {
        let job = Job {
            contestant: Contestant::Libzmq,
            part: Part::Pull,
            transport: Transport::Ipc,
            endpoint: "ipc:///tmp/x".into(),
            count: 7,
            size: 64,
        };
        let Ok(Command::Runner(read)) = parse(&job.arguments()) else {
            panic!("not understood")
        };
        assert_eq!(read.arguments(), job.arguments());
    }
}
