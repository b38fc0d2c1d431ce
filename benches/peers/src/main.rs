//! Races zerowire against other libraries, each at its default settings, in one run.
//!
//! | file | what it is |
//! | --- | --- |
//! | `arguments.rs` | the command line |
//! | `race.rs` | which work, how much of it, in which order; what a round measured |
//! | `lane.rs` | starts the processes of one round and reads their results |
//! | `runner.rs` | what such a process does: sends or receives, and measures itself |
//! | `contestants.rs` | the loops themselves, one pair for each library |
//! | `report.rs` | the table, and JSON |
//! | `fan_out.rs` | PUB to many SUB |
//! | `round_trip.rs` | REQ to REP and back |
//! | `machine.rs` | what it ran on |

mod arguments;
mod contestants;
mod fan_out;
mod lane;
mod machine;
mod race;
mod report;
mod round_trip;
mod runner;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use arguments::{Command, USAGE};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zerowire-peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    match arguments::parse(arguments)? {
        Command::Help => println!("{USAGE}"),
        Command::Runner(job) => runner::run(&job)?,
        Command::FanOut(options) => {
            println!("{}\n", machine::describe());
            print!("{}", fan_out::race(&options)?);
        }
        Command::Subscribers(contestant, endpoint, count) => {
            fan_out::subscribe(contestant, &endpoint, count)?
        }
        Command::RoundTrip(options) => {
            println!("{}\n", machine::describe());
            print!("{}", round_trip::race(&options)?);
        }
        Command::Server(contestant, endpoint) => round_trip::serve(contestant, &endpoint)?,
        Command::Throughput(options) => {
            let machine = machine::describe();
            if !options.json {
                println!("{machine}\n");
            }
            let rows = race::throughput(&options)?;
            if options.json {
                println!("{}", report::json(&machine, &rows));
            } else {
                print!("{}", report::table(&rows));
            }
        }
    }
    Ok(())
}
