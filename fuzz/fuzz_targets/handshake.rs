//! All that a peer sends from the start of a connection, whole and in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerowire::fuzzing::handshake(data));
