//! The command line, parsed by hand: there is little of it.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::contestants::{Contestant, Transport};
use crate::race::Options;
use crate::runner::{Job, Part};

pub const USAGE: &str = "\
Races zerowire against libzmq and raw sockets, each at its default settings, in one run.

usage: zerowire-peers throughput [OPTIONS]

  throughput       PUSH to PULL: two processes over tcp and ipc, two threads over inproc

options:
  --size BYTES     message sizes, separated by commas (8,64,1024)
  --rounds N       rounds of each library, which take turns (5)
  --seconds S      length of a round (1.5)
  --json           print one JSON object instead of the table
  --help           print this";

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Print [`USAGE`].
    Help,
    /// The race of PUSH and PULL.
    Throughput(Options),
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
            "--seconds" => {
                let seconds: f64 = number(name, value()?)?;
                options.round =
                    Duration::try_from_secs_f64(seconds).map_err(|e| format!("{name} {seconds}: {e}"))?;
            }
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
