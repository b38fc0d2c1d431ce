//! How the command ends when it does not end well.

use std::error::Error;
use std::io;

use crate::output;

/// Why the command ends before it is done. Mistakes in its arguments are the parser's, which exits with 2.
#[derive(Debug)]
pub enum Failure {
    /// Something went wrong: exit status 1.
    Error(String),
    /// Nothing has moved for as long as `--timeout` says: exit status 3.
    Timeout(String),
    /// Whoever read standard output does so no longer, and that is how pipes end: exit status 0, without a word.
    OutputClosed,
}

impl Failure {
    /// What went wrong with writing to standard output.
    pub fn of_output(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Error(format!("standard output: {error}")),
        }
    }

    /// Says in one line what went wrong, and returns the exit status that goes with it.
    pub fn report(&self) -> u8 {
        let (status, reason) = match self {
            Failure::OutputClosed => return 0,
            Failure::Error(reason) => (1, reason),
            Failure::Timeout(reason) => (3, reason),
        };
        output::tell(&format!("zerowire: {reason}"));
        status
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Error(error.to_string())
    }
}
