//! Arguments, exit statuses, signals, and what is told on standard error.

use std::path::Path;

use serde_json::Value;
use zerowire::{Context, PullSocket, PushSocket};

use crate::process::{DEADLINE, Zerowire, wait_until_signals_are_caught};

#[test]
fn mistakes_in_the_arguments_end_with_status_two() {
    for arguments in [
        "",
        "shove -c tcp://127.0.0.1:1",
        "push",
        "push -c nonsense",
        "push -c tcp://*:1",
        "push -c inproc://here",
        "push -c tcp://127.0.0.1:1 --interval 5",
        "push -c tcp://127.0.0.1:1 --send-hwm many",
        "push -c tcp://127.0.0.1:1 --send-hwm 0",
        "push -c tcp://127.0.0.1:1 -s prefix",
        "pull -c tcp://127.0.0.1:1 -m text",
        "pull -b tcp://127.0.0.1:* --reconnect 2s --reconnect-max 1s",
        "dealer -c tcp://127.0.0.1:1 --heartbeat-timeout 0s",
    ] {
        let ended = Zerowire::run(arguments, b"");
        assert_eq!(ended.code(), 2, "{arguments}: {:#?}", ended.errors);
        assert!(ended.output.is_empty());
    }
    let identity = format!("dealer -c tcp://127.0.0.1:1 --identity {}", "x".repeat(256));
    assert_eq!(Zerowire::run(&identity, b"").code(), 2);
}

#[test]
fn help_and_version_end_well() {
    for socket in "push pull pub sub req rep dealer router pair xpub xsub".split(' ') {
        let help = Zerowire::run(&format!("{socket} --help"), b"").well();
        assert!(help.contains("\nExample") && help.contains("--bind"), "{help}");
    }
    assert!(Zerowire::run("--help", b"").well().contains("\nExamples"));
    assert!(Zerowire::run("--version", b"").well().starts_with("zerowire "));
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = Zerowire::run(&format!("completions {shell}"), b"").well();
        assert!(
            script.contains("wait-subscribers") && script.contains("xpub"),
            "{shell}"
        );
    }
    assert_eq!(Zerowire::run("completions tcsh", b"").code(), 2);
}

#[test]
fn an_address_in_use_is_an_error_of_one_line() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap();
    let ended = Zerowire::run(&format!("pull -b {endpoint}"), b"");
    assert_eq!(ended.code(), 1);
    assert_eq!(ended.reason(), format!("address `{endpoint}` is in use"));
}

#[test]
fn input_that_is_not_hexadecimal_is_named_with_its_line() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap();
    let ended = Zerowire::run(&format!("push -c {endpoint} --hex"), b"00\n0x\n");
    assert_eq!(ended.code(), 1);
    assert_eq!(
        ended.reason(),
        "line 2 of the input: `0x` is not pairs of hexadecimal digits"
    );
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"\0");
}

#[test]
fn a_line_that_is_too_long_is_an_error() {
    let ended = Zerowire::run(
        "push -b ipc://* --max-message-bytes 10",
        b"short\nthis is too long\n",
    );
    assert_eq!(ended.code(), 1);
    assert_eq!(ended.reason(), "line 2 of the input is longer than 10 bytes");
}

#[test]
fn what_makes_no_progress_ends_with_status_three() {
    let (_pull, endpoint) = Zerowire::listening("pull -b tcp://127.0.0.1:*");
    for arguments in [
        "push -b ipc://* -m nobody --timeout 30ms".to_owned(),
        "push -c ipc:///nowhere/to/be/found -m nobody --timeout 30ms".to_owned(),
        "pull -b ipc://* --timeout 30ms".to_owned(),
        "pub -b ipc://* -m x --wait-subscribers 1 --timeout 30ms".to_owned(),
        "req -c ipc:///nowhere/to/be/found -m nobody --timeout 30ms".to_owned(),
        "sub -b ipc://* --timeout 30ms".to_owned(),
        "xsub -b ipc://* --timeout 30ms".to_owned(),
        "xpub -b ipc://* -m x --wait-subscribers 1 --timeout 30ms".to_owned(),
        "rep -b ipc://* --timeout 30ms".to_owned(),
        "router -b ipc://* --timeout 30ms".to_owned(),
        "pair -b ipc://* --timeout 30ms".to_owned(),
        // Not a type that goes with the other one.
        format!("dealer -c {endpoint} -m wrong --timeout 30ms"),
    ] {
        let ended = Zerowire::run(&arguments, b"");
        assert_eq!(ended.code(), 3, "{arguments}: {:#?}", ended.errors);
        assert!(ended.reason().contains("30ms"), "{:?}", ended.errors);
    }
}

#[test]
fn waiting_for_somebody_who_types_is_no_timeout() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind("tcp://127.0.0.1:*").unwrap();
    let mut push = Zerowire::start(&format!("push -c {endpoint} --timeout 1ms --reconnect 1ms"));
    push.write(b"first\n");
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"first");
    // Much longer than the timeout.
    assert!(pull.recv_timeout(std::time::Duration::from_millis(50)).is_err());
    push.write(b"second\n");
    assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"second");
    drop(push);
}

#[test]
fn what_cannot_be_delivered_within_linger_is_an_error() {
    let ended = Zerowire::run("push -c ipc:///nowhere/to/be/found -m a -m b --linger 20ms", b"");
    assert_eq!(ended.code(), 1);
    assert_eq!(ended.reason(), "2 messages could not be delivered");
}

#[test]
fn signals_end_every_kind_of_wait_in_order() {
    for signal in ["INT", "TERM"] {
        for arguments in [
            "pull -b ipc://*",
            "push -b ipc://* -m nobody",
            "push -b ipc://*",
            "pub -b ipc://* -m x --wait-subscribers 1",
            "pub -b ipc://*",
            "sub -b ipc://*",
            "req -b ipc://* -m nobody",
            "rep -b ipc://*",
            "dealer -b ipc://* -m nobody",
            "router -b ipc://*",
            "pair -b ipc://*",
            "xpub -b ipc://*",
            "xsub -b ipc://*",
            "perf local_thr ipc://* 1 1",
            "perf local_lat ipc://* 1 1",
            "proxy queue --front ipc://* --back ipc://@zerowire-test-signals",
            "tap --listen ipc://* --to ipc:///nowhere/to/be/found",
        ] {
            let mut process = Zerowire::start(arguments);
            let name = if arguments.starts_with("proxy") {
                "front"
            } else {
                ""
            };
            let endpoint = process.told_endpoint(name);
            if name == "front" {
                process.told_endpoint("back");
            }
            process.signal(signal);
            process.end().well();
            let path = endpoint.strip_prefix("ipc://").unwrap();
            assert!(!Path::new(path).exists(), "{arguments} leaves {path} behind");
        }
        for arguments in [
            "perf remote_thr ipc:///nowhere/x 1 5",
            "perf remote_lat ipc:///nowhere/x 1 5",
        ] {
            let process = Zerowire::start(arguments);
            wait_until_signals_are_caught(process.id());
            process.signal(signal);
            process.end().well();
        }
    }
}

#[test]
fn every_type_says_in_one_line_why_it_cannot_bind() {
    let types = "push pull pub sub req rep dealer router pair xpub xsub";
    let others = ["perf local_thr", "perf local_lat"];
    for command in types.split(' ').chain(others) {
        let load = if command.starts_with("perf") { "1 1" } else { "" };
        let bind = if command.starts_with("perf") { "" } else { "-b " };
        let ended = Zerowire::run(&format!("{command} {bind}ipc:///nowhere/to/be/found {load}"), b"");
        assert_eq!(ended.code(), 1, "{command}: {:#?}", ended.errors);
        assert!(ended.reason().contains("does not exist"), "{}", ended.reason());
    }
}

/// A text, a topic and a name are what they are on the command line, UTF-8 or not.
#[cfg(unix)]
#[test]
fn texts_may_be_any_bytes() {
    use std::os::unix::ffi::OsStrExt;

    let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe odd");
    let (mut router, endpoint) = Zerowire::listening("router -b tcp://127.0.0.1:* --hex -n 1");
    let dealer = ["dealer", "-c", &endpoint, "-n", "0", "--identity"].map(std::ffi::OsStr::new);
    let dealer = Zerowire::start_with(&[&dealer[..], &[odd, "-m".as_ref(), odd]].concat());
    assert_eq!(router.line(), b"fffe206f6464|fffe206f6464");
    dealer.end().well();
    router.end().well();

    let mut publisher = Zerowire::start("pub -b tcp://127.0.0.1:* --hex --wait-subscribers 1");
    let endpoint = publisher.told_endpoint("");
    publisher.write(b"ff\nfffe206f646421\n");
    let sub = ["sub", "-c", &endpoint, "--hex", "-n", "1", "-s"].map(std::ffi::OsStr::new);
    let sub = Zerowire::start_with(&[&sub[..], &[odd]].concat());
    assert_eq!(sub.end().well(), "fffe206f646421\n");
    publisher.end().well();
}

#[test]
fn messages_that_were_received_are_printed_before_a_signal_ends_it() {
    let (mut pull, endpoint) = Zerowire::listening("pull -b tcp://127.0.0.1:*");
    let context = Context::new();
    let mut push = PushSocket::new(&context);
    push.connect(endpoint.as_str()).unwrap();
    push.send("one").unwrap();
    assert_eq!(pull.line(), b"one");
    pull.signal("TERM");
    pull.end().well();
}

#[test]
fn events_are_json_lines() {
    let mut pull = Zerowire::start("pull -b tcp://127.0.0.1:* --events -n 1");
    let endpoint = pull.told_endpoint("");
    let push = Zerowire::run(&format!("push -c {endpoint} -m x --events"), b"");
    push.well();
    let pull = pull.end();
    // Whoever leaves first is missed by the other one, which may try again before it ends.
    let names = |errors: &[String]| -> Vec<String> {
        let events = errors.iter().filter(|line| line.starts_with('{'));
        let events = events.map(|line| serde_json::from_str::<Value>(line).unwrap());
        events
            .map(|event| event["event"].as_str().unwrap().to_owned())
            .filter(|name| name != "retried")
            .collect()
    };
    assert_eq!(
        names(&pull.errors),
        [
            "listening",
            "accepted",
            "handshake_succeeded",
            "disconnected",
            "closed"
        ]
    );
    assert_eq!(
        names(&push.errors),
        ["connected", "handshake_succeeded", "disconnected", "closed"]
    );
    let find = |errors: &[String], name: &str| -> Value {
        let line = errors
            .iter()
            .find(|line| line.contains(&format!("\"event\":\"{name}\"")))
            .unwrap();
        serde_json::from_str(line).unwrap()
    };
    let met = find(&pull.errors, "handshake_succeeded");
    assert_eq!(
        (&met["endpoint"], &met["peer_type"]),
        (&endpoint.as_str().into(), &"PUSH".into())
    );
    assert!(met["peer"].as_str().unwrap().starts_with("tcp://127.0.0.1:"));
    assert!(find(&pull.errors, "disconnected")["reason"].is_string());
}

#[test]
fn failures_to_connect_are_told_with_their_reason() {
    let mut push = Zerowire::start("push -c ipc:///nowhere/to/be/found -m x --events --reconnect 1ms");
    let retried: Value = serde_json::from_str(&push.told("retried")).unwrap();
    assert_eq!(retried["endpoint"], "ipc:///nowhere/to/be/found");
    assert!(
        retried["reason"].as_str().unwrap().contains("No such file"),
        "{retried}"
    );
    let (_pull, endpoint) = Zerowire::listening("pull -b tcp://127.0.0.1:*");
    let mut sub = Zerowire::start(&format!("sub -c {endpoint} --events"));
    let failed: Value = serde_json::from_str(&sub.told("handshake_failed")).unwrap();
    assert_eq!(
        failed["reason"],
        "socket type PULL of the peer does not go with SUB"
    );
}

#[test]
fn stats_add_up_at_exit() {
    let (pull, endpoint) = Zerowire::listening("pull -b tcp://127.0.0.1:* -n 3 --stats");
    let push = Zerowire::run(&format!("push -c {endpoint} -m four -n 3 --stats"), b"");
    let stats = |errors: &[String]| -> Value { serde_json::from_str(errors.last().unwrap()).unwrap() };
    let sent = &stats(&push.errors)["sent"];
    assert_eq!((&sent["accepted"], &sent["handed_over"]), (&3.into(), &3.into()));
    assert_eq!(
        (&sent["accepted_bytes"], &sent["waiting"]),
        (&12.into(), &0.into())
    );
    let received = &stats(&pull.end().errors)["received"];
    assert_eq!(
        (&received["taken"], &received["taken_bytes"]),
        (&3.into(), &12.into())
    );
}

#[test]
fn the_high_water_mark_is_the_one_asked_for() {
    let mut push = Zerowire::start("push -c ipc:///nowhere/to/be/found --send-hwm 7 --timeout 50ms --stats");
    push.write(&b"x\n".repeat(100));
    let ended = push.end();
    assert_eq!(ended.code(), 3);
    let stats = ended.errors.iter().find(|line| line.starts_with('{')).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(stats).unwrap()["sent"]["accepted"],
        7
    );
}
