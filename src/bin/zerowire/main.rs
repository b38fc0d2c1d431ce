//! The command `zerowire`: sends, receives, measures and diagnoses ZeroMQ traffic from a shell.
//!
//! It uses the library as any other program does, through its public interface alone.
//!
//! ```text
//!   arguments ──► plan ──► exchange ──► source, peer, output     the eleven socket types
//!             ──► perf, proxy                                    measuring, passing on
//!             ──► doctor, tap ──► zmtp, streams                  what goes over the wire, read byte by byte
//! ```

mod arguments;
mod doctor;
mod durations;
mod events;
mod examples;
mod exchange;
mod failure;
mod histogram;
mod input;
mod interrupts;
mod json;
mod lines;
mod output;
mod pcapng;
mod peer;
mod perf;
mod plan;
mod proxy;
mod source;
mod streams;
mod tap;
mod zmtp;

use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};
use plan::Plan;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "zerowire", &mut script);
            output::write_all(&mut io::stdout().lock(), &script)
        }
        Command::Perf { perf } => perf::run(&perf),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Tap(tap) => tap::run(&tap),
        Command::Proxy { pattern } => proxy::run(&pattern),
        other => Plan::try_from(other).and_then(|plan| {
            plan.check().unwrap_or_else(|error| refuse(&error));
            exchange::run(plan)
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.report()),
    }
}

/// Ends the command because its arguments make no sense.
fn refuse(error: &dyn std::error::Error) -> ! {
    Arguments::command()
        .error(ErrorKind::ValueValidation, error)
        .exit()
}
