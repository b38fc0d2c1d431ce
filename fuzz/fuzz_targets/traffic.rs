//! What a peer sends after the handshake, whole and in pieces.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerowire::fuzzing::traffic(data));
