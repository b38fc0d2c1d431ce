//! `zerowire perf`, in pairs and against the library.

use zerowire::{Context, PullSocket, PushSocket, RepSocket, ReqSocket};

use crate::process::{DEADLINE, Ended, Zerowire};

/// The number in the line that begins like this.
fn figure(ended: &Ended, start: &str, unit: &str) -> f64 {
    let output = String::from_utf8_lossy(&ended.output);
    let lines = output
        .lines()
        .filter_map(|line| line.strip_prefix(start)?.strip_suffix(unit));
    match lines.map(str::parse).collect::<Result<Vec<f64>, _>>().as_deref() {
        Ok(&[figure]) => figure,
        _ => panic!("not one `{start}…{unit}` in {output}"),
    }
}

/// The beginnings of the last lines.
fn last(ended: &Ended, count: usize) -> Vec<String> {
    let output = String::from_utf8_lossy(&ended.output);
    let lines: Vec<&str> = output.lines().collect();
    let lines = &lines[lines.len() - count..];
    lines
        .iter()
        .map(|line| line.split(':').next().unwrap().to_owned())
        .collect()
}

fn check_throughput(ended: &Ended) {
    assert_eq!(ended.code(), 0, "{:#?}", ended.errors);
    assert_eq!(
        last(ended, 4),
        [
            "message size",
            "message count",
            "mean throughput",
            "mean throughput"
        ]
    );
    assert_eq!(figure(ended, "message size: ", " [B]"), 100.0);
    assert_eq!(figure(ended, "message count: ", ""), 5000.0);
    let messages = figure(ended, "mean throughput: ", " [msg/s]");
    let megabits = figure(ended, "mean throughput: ", " [Mb/s]");
    assert!(
        messages > 0.0 && (megabits - messages * 800.0 / 1e6).abs() < 0.01,
        "{messages} {megabits}"
    );
}

fn check_latency(ended: &Ended) {
    assert_eq!(ended.code(), 0, "{:#?}", ended.errors);
    assert_eq!(
        last(ended, 3),
        ["message size", "roundtrip count", "average latency"]
    );
    assert_eq!(figure(ended, "roundtrip count: ", ""), 500.0);
    let figures = ["p50", "p99", "p99.9"].map(|name| figure(ended, &format!("{name} latency: "), " [us]"));
    assert!(figures.is_sorted() && figures[0] > 0.0, "{figures:?}");
    assert!(figure(ended, "average latency: ", " [us]") > 0.0);
    // The rows of the picture hold all roundtrips.
    let output = String::from_utf8_lossy(&ended.output);
    let rows = output
        .lines()
        .filter_map(|line| line.strip_prefix("  up to ")?.split_once("[us]:"));
    let counts = rows.map(|(_, row)| row.split_whitespace().next().unwrap().parse::<u64>().unwrap());
    assert_eq!(counts.sum::<u64>(), 500, "{output}");
}

#[test]
fn throughput_is_measured_between_two_processes() {
    for transport in ["tcp://127.0.0.1:*", "ipc://*"] {
        let (local, endpoint) = Zerowire::listening(&format!("perf local_thr {transport} 100 5000"));
        Zerowire::run(&format!("perf remote_thr {endpoint} 100 5000"), b"").well();
        check_throughput(&local.end());
    }
}

#[test]
fn latency_is_measured_between_two_processes() {
    let (local, endpoint) = Zerowire::listening("perf local_lat tcp://127.0.0.1:* 10 500");
    check_latency(&Zerowire::run(&format!("perf remote_lat {endpoint} 10 500"), b""));
    assert_eq!(local.end().well(), "");
}

#[test]
fn both_are_measured_between_threads() {
    check_throughput(&Zerowire::run("perf inproc_thr 100 5000", b""));
    check_latency(&Zerowire::run("perf inproc_lat 10 500", b""));
}

#[test]
fn the_other_end_may_be_another_program() {
    let context = Context::new();
    let (local, endpoint) = Zerowire::listening("perf local_thr tcp://127.0.0.1:* 100 5000");
    let mut push = PushSocket::new(&context);
    push.connect(endpoint.as_str()).unwrap();
    for _ in 0..5000 {
        push.send([b' '; 100].as_slice()).unwrap();
    }
    check_throughput(&local.end());

    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap();
    let remote = Zerowire::start(&format!("perf remote_thr {endpoint} 7 3"));
    for _ in 0..3 {
        assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), [0; 7]);
    }
    remote.end().well();

    let mut rep = RepSocket::new(&context);
    let endpoint = rep.bind("tcp://127.0.0.1:*").unwrap();
    let remote = Zerowire::start(&format!("perf remote_lat {endpoint} 10 500"));
    for _ in 0..500 {
        let request = rep.next_timeout(DEADLINE).unwrap();
        let question = request.message().clone();
        request.reply(question).unwrap();
    }
    check_latency(&remote.end());

    let (local, endpoint) = Zerowire::listening("perf local_lat tcp://127.0.0.1:* 1 2");
    let mut req = ReqSocket::new(&context);
    req.connect(endpoint.as_str()).unwrap();
    for text in ["a", "b"] {
        assert_eq!(req.request(text, DEADLINE).unwrap().as_bytes(), text.as_bytes());
    }
    local.end().well();
}

#[test]
fn messages_of_another_size_are_an_error() {
    let (local, endpoint) = Zerowire::listening("perf local_thr tcp://127.0.0.1:* 100 2");
    let context = Context::new();
    let mut push = PushSocket::new(&context);
    push.connect(endpoint.as_str()).unwrap();
    push.send("short").unwrap();
    let ended = local.end();
    assert_eq!(
        (ended.code(), ended.reason()),
        (1, "a message of 5 bytes came, not of 100")
    );
}

#[test]
fn empty_messages_and_single_ones_can_be_measured() {
    for arguments in ["perf inproc_thr 0 1", "perf inproc_lat 0 1"] {
        Zerowire::run(arguments, b"").well();
    }
    for arguments in [
        "perf",
        "perf inproc_thr 1",
        "perf inproc_thr 1 0",
        "perf local_thr tcp://*:1 x 1",
        "perf inproc_lat -1 1",
    ] {
        assert_eq!(Zerowire::run(arguments, b"").code(), 2, "{arguments}");
    }
}
