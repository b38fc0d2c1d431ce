//! As much as goes through pipes in a day of work, in the time of a test.

use std::io::{Read, Write};
use std::thread;

use crate::process::Zerowire;

const TOTAL: usize = 1 << 30;

#[test]
fn a_gibibyte_goes_through_a_pipe_in_little_memory() {
    let (mut pull, mut output) = Zerowire::start_unread("pull -b tcp://127.0.0.1:*");
    let mut push = Zerowire::start(&format!("push -c {}", pull.told_endpoint("")));
    let lines = lines();
    let mut input = push.take_stdin();
    let writer = thread::spawn({
        let lines = lines.clone();
        move || {
            for _ in 0..TOTAL / lines.len() {
                input.write_all(&lines).unwrap();
            }
            input
        }
    });
    let mut heard = vec![0; lines.len()];
    for round in 0..TOTAL / lines.len() {
        output.read_exact(&mut heard).unwrap();
        assert!(heard == lines, "round {round}");
    }
    let input = writer.join().unwrap();
    // The lines of a queue at its high-water mark take less than one; the rest is the program.
    for process in [&push, &pull] {
        let peak = process.memory_peak();
        assert!(peak < 16 << 20, "{} KiB", peak >> 10);
    }
    drop(input);
    push.end().well();
    pull.signal("TERM");
    pull.end().well();
    assert_eq!(output.read(&mut heard).unwrap(), 0);
}

/// A mebibyte of lines that differ, short ones and long ones.
fn lines() -> Vec<u8> {
    let mut lines = Vec::with_capacity(1 << 20);
    while lines.len() < 1 << 20 {
        let length = (lines.len() * 7 + 11) % 2000;
        let start = lines.len();
        lines.extend((0..length).map(|at| b'!' + ((start + at) % 90) as u8));
        lines.truncate((1 << 20) - 1);
        lines.push(b'\n');
    }
    lines
}
