//! `zerowire perf` at one end, and at the other what libzmq's tools do.

use crate::process::{Ended, Zerowire};

/// One end of a measurement.
#[derive(Clone, Copy, Debug)]
enum Tools {
    Zerowire,
    Libzmq,
}

impl Tools {
    fn start(self, arguments: &str) -> Zerowire {
        match self {
            Tools::Zerowire => Zerowire::start(&format!("perf {arguments}")),
            Tools::Libzmq => Zerowire::start_program(
                env!("CARGO_BIN_EXE_perf").as_ref(),
                &arguments.split(' ').collect::<Vec<_>>(),
            ),
        }
    }
}

const BOTH_WAYS: [(Tools, Tools); 2] = [(Tools::Zerowire, Tools::Libzmq), (Tools::Libzmq, Tools::Zerowire)];

/// The last lines, with a zero for each figure that was measured.
fn closing_lines(ended: Ended, count: usize) -> Vec<String> {
    let output = ended.well();
    let lines: Vec<&str> = output.lines().collect();
    let lines = lines[lines.len() - count..].iter();
    lines
        .map(|line| {
            let (name, figure) = line.split_once(": ").unwrap();
            let (figure, unit) = figure.split_once(' ').unwrap_or((figure, ""));
            assert!(figure.parse::<f64>().unwrap() > 0.0, "{line}");
            let decimals = figure.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            match name {
                "mean throughput" | "average latency" => format!("{name}: {:.decimals$} {unit}", 0.0),
                _ => line.to_string(),
            }
        })
        .collect()
}

#[test]
fn throughput_is_measured_at_either_end() {
    let closings = BOTH_WAYS.map(|(local, remote)| {
        let mut lines = Vec::new();
        for transport in ["tcp://127.0.0.1:*", "ipc://*"] {
            for (size, count) in [(100, 50_000), (1, 1), (100_000, 200)] {
                let mut local = local.start(&format!("local_thr {transport} {size} {count}"));
                let endpoint = local.told_endpoint("");
                let remote = remote.start(&format!("remote_thr {endpoint} {size} {count}"));
                assert_eq!(remote.end().well(), "");
                lines.push(closing_lines(local.end(), 4));
            }
        }
        lines
    });
    assert_eq!(
        closings[0][0],
        [
            "message size: 100 [B]",
            "message count: 50000",
            "mean throughput: 0 [msg/s]",
            "mean throughput: 0.000 [Mb/s]"
        ]
    );
    assert_eq!(closings[0], closings[1]);
}

#[test]
fn latency_is_measured_at_either_end() {
    let closings = BOTH_WAYS.map(|(local, remote)| {
        let mut lines = Vec::new();
        for transport in ["tcp://127.0.0.1:*", "ipc://*"] {
            for (size, count) in [(100, 2_000), (1, 1), (100_000, 50)] {
                let mut local = local.start(&format!("local_lat {transport} {size} {count}"));
                let endpoint = local.told_endpoint("");
                let remote = remote.start(&format!("remote_lat {endpoint} {size} {count}"));
                lines.push(closing_lines(remote.end(), 3));
                assert_eq!(local.end().well(), "");
            }
        }
        lines
    });
    assert_eq!(
        closings[0][0],
        [
            "message size: 100 [B]",
            "roundtrip count: 2000",
            "average latency: 0.000 [us]"
        ]
    );
    assert_eq!(closings[0], closings[1]);
}

#[test]
fn the_sender_may_be_there_first() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (local, remote) in BOTH_WAYS {
        let remote = remote.start(&format!("remote_thr tcp://{port} 10 1000"));
        let local = local.start(&format!("local_thr tcp://{port} 10 1000"));
        remote.end().well();
        closing_lines(local.end(), 4);
    }
}
