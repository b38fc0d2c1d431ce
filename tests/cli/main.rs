//! The command `zerowire` as a real process, against itself and against the library.
#![allow(clippy::unwrap_used)]

mod diagnosing;
#[cfg(target_os = "linux")]
mod examples;
mod exchanging;
mod measuring;
mod options;
mod process;
mod proxying;
mod streams;
mod tapping;
mod terminals;

/// The command, built by cargo for these tests.
fn program() -> &'static std::path::Path {
    env!("CARGO_BIN_EXE_zerowire").as_ref()
}
