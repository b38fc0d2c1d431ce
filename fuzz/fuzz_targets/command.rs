//! The body of a command.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zerowire::fuzzing::command(data));
