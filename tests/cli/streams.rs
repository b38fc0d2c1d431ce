//! Pipes: binary and endless input, much of it, and readers that go away.

use std::io::Write;
use std::thread;
use std::time::Duration;

use zerowire::{Context, PullSocket, PushSocket};

use crate::process::{DEADLINE, Zerowire};

#[test]
fn binary_input_arrives_as_it_is() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap();
    // Every byte but the line break, in lines of many lengths.
    let line = |length: usize| -> Vec<u8> {
        let bytes = (0..=255_u8).filter(|byte| *byte != b'\n');
        bytes.cycle().skip(length % 251).take(length).collect()
    };
    let lengths = [0, 1, 63, 64, 65, 255, 65_535, 65_536, 65_537, 1_000_000];
    let input: Vec<u8> = lengths
        .iter()
        .flat_map(|length| [line(*length), b"\n".to_vec()].concat())
        .collect();
    Zerowire::run(&format!("push -c {endpoint}"), &input).well();
    for length in lengths {
        let message = pull.recv_timeout(DEADLINE).unwrap();
        assert!(message.as_bytes() == line(length), "line of {length} bytes");
    }
}

#[test]
fn output_that_nobody_reads_any_more_ends_it_quietly() {
    let (mut pull, output) = Zerowire::start_unread("pull -b tcp://127.0.0.1:*");
    let endpoint = pull.told_endpoint("");
    // What `| head -0` does.
    drop(output);
    let context = Context::new();
    let mut push = PushSocket::new(&context);
    push.connect(endpoint.as_str()).unwrap();
    push.send("for nobody").unwrap();
    let ended = pull.end();
    assert_eq!((ended.code(), ended.errors.len()), (0, 1), "{:#?}", ended.errors);
}

#[test]
fn completions_for_nobody_end_quietly() {
    let (completions, output) = Zerowire::start_unread("completions bash");
    drop(output);
    completions.end().well();
}

#[test]
fn endless_input_is_sent_as_it_comes_until_a_signal() {
    let (mut pull, endpoint) = Zerowire::listening("pull -b tcp://127.0.0.1:* -n 100000");
    let mut push = Zerowire::start(&format!("push -c {endpoint}"));
    let mut input = push.take_stdin();
    let writer = thread::spawn(move || while input.write_all(&b"and so on\n".repeat(1000)).is_ok() {});
    for _ in 0..100_000 {
        assert_eq!(pull.line(), b"and so on");
    }
    pull.end().well();
    push.signal("TERM");
    push.end().well();
    writer.join().unwrap();
}

#[test]
fn a_long_stream_takes_little_memory_on_both_sides() {
    const TOTAL: usize = 64 << 20;
    let line = [&[b'x'; 4095][..], b"\n"].concat();
    let lines = TOTAL / line.len();
    let (mut pull, endpoint) = Zerowire::listening("pull -b tcp://127.0.0.1:*");
    let mut push = Zerowire::start(&format!("push -c {endpoint}"));
    let mut input = push.take_stdin();
    let written = line.clone();
    let writer = thread::spawn(move || {
        for _ in 0..lines {
            input.write_all(&written).unwrap();
        }
        input
    });
    let mut bytes = 0;
    for _ in 0..lines {
        bytes += pull.line().len() + 1;
    }
    assert_eq!(bytes, TOTAL);
    let input = writer.join().unwrap();
    // A thousand lines of 4 KiB may wait at the high-water mark of either side, and the program takes some itself.
    for process in [&push, &pull] {
        let peak = process.memory_peak();
        assert!(peak < 32 << 20, "{} KiB", peak >> 10);
    }
    drop(input);
    push.end().well();
    pull.signal("TERM");
    pull.end().well();
}

#[test]
fn a_signal_ends_it_even_if_its_output_is_stuck() {
    let (mut pull, output) = Zerowire::start_unread("pull -b tcp://127.0.0.1:*");
    let endpoint = pull.told_endpoint("");
    let context = Context::new();
    let mut push = PushSocket::new(&context);
    push.connect(endpoint.as_str()).unwrap();
    // More than the pipe, the queues and the kernel hold: when no more is taken, the command waits for its output.
    let text = vec![b'x'; 64 << 10];
    while push
        .send_timeout(text.clone(), Duration::from_millis(200))
        .is_ok()
    {}
    pull.signal("TERM");
    pull.end().well();
    drop(output);
}
