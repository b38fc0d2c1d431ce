//! Running out of file descriptors is a state that passes.

use std::fs::File;
use std::process::Command;

use zerowire::{Context, Event, PullSocket, PushSocket, Reason};

use crate::on_every_wire;
use crate::raw::{Raw, message};
use crate::support::{Transport, receive, receive_number, send, send_number, wait_for, wait_for_handshake};

/// Runs a test in a process of its own that may open so many descriptors. `module` is the test's `module_path!()`.
pub fn with_descriptors(limit: u32, module: &str, transport: Transport, body: impl FnOnce()) {
    const CHILD: &str = "ZEROWIRE_TEST_CHILD";
    let (_, module) = module.split_once("::").expect("a module of this crate");
    let test = format!("{module}::{}", format!("{transport:?}").to_lowercase());
    if std::env::var(CHILD).is_ok_and(|name| name == test) {
        return body();
    }
    let output = Command::new("sh")
        .args(["-c", "ulimit -n \"$0\" && exec \"$@\"", &limit.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(CHILD, &test)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "the test ran in the child: {out}");
}

on_every_wire! {
    /// A listener that cannot accept for want of descriptors tells so and goes on when there are some again;
    /// connections that stand are not affected.
    fn a_listener_survives_a_lack_of_descriptors(transport) {
        with_descriptors(64, module_path!(), transport, move || {
            let context = Context::new();
            let mut pull = PullSocket::new(&context);
            let monitor = pull.monitor();
            let endpoint = pull.bind(transport.wildcard()).unwrap();
            let mut good = PushSocket::new(&context);
            good.connect(&endpoint).unwrap();
            wait_for_handshake(&monitor);
            for round in 0..3 {
                let mut files = Vec::new();
                while let Ok(file) = File::open("/dev/null") {
                    files.push(file);
                }
                // The client takes the only descriptor there is, so that none is left for the other side.
                files.pop();
                let mut waiting = Raw::connect(&endpoint.to_string());
                let reason = wait_for(&monitor, "accept failed", |event| match event {
                    Event::AcceptFailed { reason, .. } => Some(reason.clone()),
                    _ => None,
                });
                assert!(matches!(reason, Reason::Io { .. }), "{reason:?}");
                for number in 0..100 {
                    send_number(&mut good, number);
                    assert_eq!(receive_number(&mut pull), number);
                }
                drop(files);
                waiting.shake_hands("PUSH");
                wait_for_handshake(&monitor);
                waiting.send(&message(&[b"waited", &[round]]));
                assert_eq!(receive(&mut pull).part(1), Some(&[round][..]));
            }
        });
    }

    /// Nor does a socket that dials give up: it tries again.
    fn a_dialer_survives_a_lack_of_descriptors(transport) {
        with_descriptors(64, module_path!(), transport, move || {
            let context = Context::new();
            let mut pull = PullSocket::new(&context);
            let endpoint = pull.bind(transport.wildcard()).unwrap();
            let mut good = PushSocket::new(&context);
            good.connect(&endpoint).unwrap();
            send(&mut good, "good");
            receive(&mut pull);
            let mut files = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                files.push(file);
            }
            let mut push = PushSocket::new(&context);
            let monitor = push.monitor();
            push.connect(&endpoint).unwrap();
            wait_for(&monitor, "connect failed", |event| matches!(event, Event::ConnectFailed { .. }).then_some(()));
            drop(files);
            wait_for_handshake(&monitor);
            send(&mut push, "here I am");
            assert_eq!(receive(&mut pull).as_bytes(), b"here I am");
        });
    }

    /// An I/O thread that cannot be started for want of descriptors is an error of the call, and there is another try.
    fn a_bind_without_descriptors_is_an_error_that_passes(transport) {
        with_descriptors(64, module_path!(), transport, move || {
            let context = Context::new();
            let mut pull = PullSocket::new(&context);
            let mut push = PushSocket::new(&context);
            let mut files = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                files.push(file);
            }
            let endpoint = transport.fresh();
            assert!(pull.bind(endpoint.as_str()).is_err());
            assert!(push.connect(endpoint.as_str()).is_err());
            drop(files);
            pull.bind(endpoint.as_str()).unwrap();
            push.connect(endpoint.as_str()).unwrap();
            send(&mut push, "x");
            assert_eq!(receive(&mut pull).as_bytes(), b"x");
        });
    }
}
