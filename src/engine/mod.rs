//! The protocol state of one connection, without its socket: bytes and time are arguments, results are values.
//!
//! A connection begins with a [`handshake::Handshake`], which takes bytes from the peer and makes bytes for it until
//! both know each other, and goes on with a [`traffic::Decoder`], which finds the frames in what is received. How the
//! bytes are cut into reads makes no difference to either; tests and fuzz targets compare.
//!
//! # Fuzzing
//! `src/fuzzing.rs` is a public module of the crate under `cfg(fuzzing)` (and a private one for tests); the targets in
//! `fuzz/` call its functions: `cargo +nightly fuzz run handshake`, `traffic` or `command`.

pub(crate) mod handshake;
pub(crate) mod heartbeat;
pub(crate) mod traffic;
