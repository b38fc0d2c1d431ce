//! What a caller can get wrong is an error of its own, whose text names the value.

use std::time::Duration;

use zerowire::{
    BindError, ConnectError, Context, DealerSocket, Endpoint, EndpointError, Event, OptionError, PairSocket,
    PullSocket, PushSocket, Reason, TcpKeepalive, TrySendError,
};

use crate::raw::{Raw, RawListener};
use crate::support::{
    DEADLINE, Transport, ipc_path, receive, send, wait_for, wait_for_handshake, with_deadline,
};
use crate::{on_every_transport, on_every_wire};

/// The error of an endpoint, which has to be the same however the endpoint is used.
fn endpoint_error(text: &str) -> EndpointError {
    let error = Endpoint::try_from(text).expect_err(text);
    let context = Context::new();
    let (mut push, mut pull) = (PushSocket::new(&context), PullSocket::new(&context));
    match pull.bind(text) {
        Err(BindError::Endpoint(bind)) => assert_eq!(bind, error),
        other => panic!("bind {text}: {other:?}"),
    }
    match push.connect(text) {
        Err(ConnectError::Endpoint(connect)) => assert_eq!(connect, error),
        other => panic!("connect {text}: {other:?}"),
    }
    assert!(pull.unbind(text).is_err() && push.disconnect(text).is_err());
    error
}

#[test]
fn each_malformed_endpoint_has_an_error_of_its_own() {
    use EndpointError as E;
    macro_rules! check {
        ($($text:expr => $variant:pat, naming $value:expr;)*) => {
            $(
                let text: String = $text.into();
                let error = endpoint_error(&text);
                assert!(matches!(&error, $variant), "{text}: {error:?}");
                let told = error.to_string();
                assert!(told.contains($value), "{told:?} does not name {:?}", $value);
                assert!(!told.ends_with('.') && !told.starts_with(char::is_uppercase), "{told:?}");
            )*
        };
    }
    check! {
        "" => E::MissingScheme { .. }, naming "\"\"";
        "localhost:5555" => E::MissingScheme { .. }, naming "localhost:5555";
        "://x" => E::MissingScheme { .. }, naming "://x";
        "udp://127.0.0.1:5555" => E::UnknownScheme { .. }, naming "\"udp\"";
        "TCP://127.0.0.1:5555" => E::UnknownScheme { .. }, naming "\"TCP\"";
        "tcp://" => E::MissingAddress { .. }, naming "tcp://";
        "ipc://" => E::MissingAddress { .. }, naming "ipc://";
        "inproc://" => E::MissingAddress { .. }, naming "inproc://";
        "tcp://host" => E::MissingPort { .. }, naming "tcp://host";
        "tcp://host:" => E::MissingPort { .. }, naming "tcp://host:";
        "tcp://:5555" => E::MissingHost { .. }, naming "tcp://:5555";
        "tcp://host:65536" => E::PortOutOfRange { .. }, naming "65536";
        "tcp://host:99999999999999999999" => E::PortOutOfRange { .. }, naming "99999999999999999999";
        "tcp://host:12x" => E::PortNotNumber { .. }, naming "12x";
        "tcp://host:-1" => E::PortNotNumber { .. }, naming "-1";
        "tcp://host:+1" => E::PortNotNumber { .. }, naming "+1";
        "tcp://host: 1" => E::PortNotNumber { .. }, naming " 1";
        "tcp://host:5555/path" => E::TcpPath { .. }, naming "tcp://host:5555/path";
        "tcp://::1:5555" => E::UnbracketedIpv6 { .. }, naming "::1:5555";
        "tcp://[::1:5555" => E::UnbalancedBrackets { .. }, naming "[::1:5555";
        "tcp://[host]:5555" => E::InvalidIpv6 { .. }, naming "host";
        "tcp://300.0.0.1:5555" => E::InvalidIpv4 { .. }, naming "300.0.0.1";
        "tcp://ho st:5555" => E::IllegalHostCharacter { .. }, naming "' '";
        "tcp://a..b:5555" => E::InvalidHostName { .. }, naming "a..b";
        "ipc://@" => E::MissingAbstractName { .. }, naming "ipc://@";
        "ipc:///a\0b" => E::ZeroByte { .. }, naming "ipc:///a\\0b";
        format!("ipc:///tmp/{}", "x".repeat(120)) => E::IpcAddressTooLong { .. }, naming "125 bytes";
        format!("inproc://{}", "x".repeat(257)) => E::InprocNameTooLong { .. }, naming "257 bytes";
    }
}

#[test]
fn what_only_a_bind_can_mean_is_refused_by_connect() {
    let context = Context::new();
    let mut push = PushSocket::new(&context);
    for text in [
        "tcp://*:5555",
        "tcp://127.0.0.1:*",
        "tcp://127.0.0.1:0",
        "ipc://*",
    ] {
        match push.connect(text) {
            Err(ConnectError::Endpoint(
                error @ (EndpointError::ConnectToAnyHost { .. }
                | EndpointError::ConnectToAnyPort { .. }
                | EndpointError::ConnectToTemporary { .. }),
            )) => assert!(
                error.to_string().contains(text.split(':').next().unwrap()),
                "{error}"
            ),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let context = Context::new();
    let push = PushSocket::builder(&context);
    let refused = [
        (push.send_hwm(0).build().map(drop), "send_hwm", "0"),
        (
            PullSocket::builder(&context)
                .receive_hwm(1_000_001)
                .build()
                .map(drop),
            "receive_hwm",
            "1000001",
        ),
        (
            PullSocket::builder(&context)
                .max_message_bytes(0)
                .build()
                .map(drop),
            "max_message_bytes",
            "0",
        ),
        (
            PullSocket::builder(&context)
                .max_message_bytes(1 << 40)
                .build()
                .map(drop),
            "max_message_bytes",
            "1099511627776",
        ),
        (
            PullSocket::builder(&context)
                .max_message_parts(0)
                .build()
                .map(drop),
            "max_message_parts",
            "0",
        ),
        (
            PullSocket::builder(&context)
                .handshake_timeout(Duration::ZERO)
                .build()
                .map(drop),
            "handshake_timeout",
            "0ns",
        ),
        (
            PullSocket::builder(&context).backlog(0).build().map(drop),
            "backlog",
            "0",
        ),
        (
            Context::builder().io_threads(65).build().map(drop),
            "io_threads",
            "65",
        ),
    ];
    for (result, name, value) in refused {
        assert_refused(result, name, value);
    }
}

/// The same of what the kernel is told.
#[test]
fn options_of_the_kernel_out_of_range_are_refused_by_name() {
    let context = Context::new();
    let keepalive = |idle, interval, probes| {
        let (idle, interval) = (Duration::from_secs(idle), Duration::from_secs(interval));
        let keepalive = TcpKeepalive {
            idle,
            interval,
            probes,
        };
        let builder = PullSocket::builder(&context).tcp_keepalive(keepalive);
        builder.build().map(drop)
    };
    let user_timeout = |timeout| {
        let builder = PullSocket::builder(&context).tcp_user_timeout(timeout);
        builder.build().map(drop)
    };
    let send_buffer = |bytes| {
        let builder = PullSocket::builder(&context).send_buffer(bytes);
        builder.build().map(drop)
    };
    let receive_buffer = |bytes| {
        let builder = PullSocket::builder(&context).receive_buffer(bytes);
        builder.build().map(drop)
    };
    let refused = [
        (keepalive(0, 1, 1), "tcp_keepalive idle", "0ns"),
        (keepalive(32_768, 1, 1), "tcp_keepalive idle", "32768s"),
        (keepalive(1, 0, 1), "tcp_keepalive interval", "0ns"),
        (keepalive(1, 32_768, 1), "tcp_keepalive interval", "32768s"),
        (keepalive(1, 1, 0), "tcp_keepalive probes", "0"),
        (keepalive(1, 1, 128), "tcp_keepalive probes", "128"),
        (
            user_timeout(Duration::from_micros(999)),
            "tcp_user_timeout",
            "999µs",
        ),
        (
            user_timeout(Duration::from_secs(86_401)),
            "tcp_user_timeout",
            "86401s",
        ),
        (send_buffer(0), "send_buffer", "0"),
        (send_buffer((1 << 30) + 1), "send_buffer", "1073741825"),
        (receive_buffer(0), "receive_buffer", "0"),
        (receive_buffer((1 << 30) + 1), "receive_buffer", "1073741825"),
    ];
    // The ends of the ranges are allowed.
    for allowed in [
        keepalive(1, 1, 1),
        keepalive(32_767, 32_767, 127),
        user_timeout(Duration::from_millis(1)),
        user_timeout(Duration::from_secs(86_400)),
        send_buffer(1),
        send_buffer(1 << 30),
        receive_buffer(1),
        receive_buffer(1 << 30),
    ] {
        assert_eq!(allowed, Ok(()));
    }
    for (result, name, value) in refused {
        assert_refused(result, name, value);
    }
}

#[track_caller]
fn assert_refused(result: Result<(), OptionError>, name: &str, value: &str) {
    let error = result.unwrap_err();
    let OptionError::OutOfRange { option, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(*option, name);
    assert!(
        error
            .to_string()
            .contains(&format!("{name} is {value}, allowed is")),
        "{error}"
    );
}

on_every_transport! {
    /// An address belongs to one socket at a time, and the loser is told which one it was.
    fn an_address_in_use_is_an_error(transport) {
        let context = Context::new();
        let mut first = PullSocket::new(&context);
        let endpoint = first.bind(transport.wildcard()).unwrap();
        let other_context = Context::new();
        let mut others = vec![PullSocket::new(&context)];
        // Names of inproc are the context's own.
        if !transport.is_inproc() {
            others.push(PullSocket::new(&other_context));
        }
        for other in &mut others {
            match other.bind(&endpoint) {
                Err(error @ BindError::AddressInUse { .. }) => {
                    assert!(error.to_string().contains(&endpoint.to_string()), "{error}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(first.bind(&endpoint), Err(BindError::AddressInUse { .. })));
        // The owner of the address has not noticed, and the loser is as good as before.
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        send(&mut push, "x");
        assert_eq!(receive(&mut first).as_bytes(), b"x");
        others[0].bind(transport.wildcard()).unwrap();
    }
}

on_every_wire! {
    /// The same for an address that another program has.
    fn an_address_of_another_program_is_in_use(transport) {
        let endpoint = transport.fresh();
        let listener = RawListener::bind(&endpoint);
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        match pull.bind(endpoint.as_str()) {
            Err(error @ BindError::AddressInUse { .. }) => assert!(error.to_string().contains(&endpoint), "{error}"),
            other => panic!("{other:?}"),
        }
        // It still has it.
        let _client = Raw::connect(&endpoint);
        listener.accept();
        drop(listener);
        pull.bind(endpoint.as_str()).unwrap();
    }
}

#[test]
fn an_address_of_another_machine_cannot_be_bound() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    // Reserved for documentation, so no machine has it.
    match pull.bind("tcp://192.0.2.1:5555") {
        Err(error @ BindError::AddressNotAvailable { .. }) => {
            assert!(error.to_string().contains("tcp://192.0.2.1:5555"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_directory_is_named() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = format!("{}-missing/socket", Transport::Ipc.fresh());
    match pull.bind(endpoint.as_str()) {
        Err(error @ BindError::DirectoryMissing { .. }) => {
            assert!(error.to_string().contains(&endpoint), "{error}");
            let directory = ipc_path(&endpoint).parent().unwrap().display().to_string();
            assert!(error.to_string().contains(&directory), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let endpoint = Transport::Ipc.fresh();
    std::fs::write(ipc_path(&endpoint), "precious").unwrap();
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let result = pull.bind(endpoint.as_str());
    let content = std::fs::read(ipc_path(&endpoint)).unwrap();
    std::fs::remove_file(ipc_path(&endpoint)).unwrap();
    assert_eq!(content, b"precious");
    match result {
        Err(error @ BindError::NotASocket { .. }) => {
            assert!(error.to_string().contains(&endpoint), "{error}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_path_that_a_dead_process_left_behind_is_taken_over() {
    with_deadline(|| {
        let endpoint = Transport::Ipc.fresh();
        // Dropping a listener of the standard library leaves its file.
        drop(std::os::unix::net::UnixListener::bind(ipc_path(&endpoint)).unwrap());
        assert!(ipc_path(&endpoint).exists());
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        pull.bind(endpoint.as_str()).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(endpoint.as_str()).unwrap();
        send(&mut push, "x");
        assert_eq!(receive(&mut pull).as_bytes(), b"x");
    });
}

#[test]
fn an_inproc_name_of_a_socket_that_does_not_fit_is_refused() {
    let context = Context::new();
    let mut first = PushSocket::new(&context);
    first.bind("inproc://pushers").unwrap();
    let mut second = PushSocket::new(&context);
    match second.connect("inproc://pushers") {
        Err(error @ ConnectError::IncompatiblePeer { .. }) => {
            assert!(
                error.to_string().contains("inproc://pushers") && error.to_string().contains("PUSH"),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_host_that_does_not_resolve_is_tried_again_and_told() {
    with_deadline(|| {
        let endpoint = "tcp://no-such-host.invalid:1";
        let context = Context::new();
        let mut push = PushSocket::builder(&context)
            .reconnect_min(Duration::from_millis(1))
            .reconnect_max(Duration::from_millis(10))
            .build()
            .unwrap();
        let monitor = push.monitor();
        push.connect(endpoint).unwrap();
        for _ in 0..2 {
            wait_for(&monitor, "connect failed", |event| match event {
                Event::ConnectFailed { connection, reason } if connection.endpoint == endpoint => {
                    assert!(matches!(reason, Reason::Io { .. }), "{reason:?}");
                    Some(())
                }
                _ => None,
            });
            wait_for(&monitor, "retrying", |event| {
                matches!(event, Event::Retrying { endpoint: failed, .. } if failed == endpoint).then_some(())
            });
        }
        // Other endpoints of the socket are not held up by it.
        let mut pull = PullSocket::new(&context);
        push.connect(pull.bind("tcp://127.0.0.1:*").unwrap()).unwrap();
        wait_for_handshake(&monitor);
        send(&mut push, "x");
        assert_eq!(receive(&mut pull).as_bytes(), b"x");
    });
}

#[test]
fn a_host_that_does_not_resolve_cannot_be_bound() {
    with_deadline(|| {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        match pull.bind("tcp://no-such-host.invalid:1") {
            Err(error @ BindError::Resolve { .. }) => {
                assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn unusual_endpoints_work() {
    with_deadline(|| {
        let context = Context::new();
        let name = std::process::id();
        let (bind, connect): (Vec<String>, Vec<Option<String>>) = [
            (format!("ipc://@zerowire-test-{name}"), None),
            ("tcp://localhost:*".into(), None),
            ("tcp://*:*".into(), Some("tcp://127.0.0.1")),
            ("tcp://0.0.0.0:0".into(), Some("tcp://localhost")),
            ("tcp://[::1]:*".into(), None),
        ]
        .map(|(bind, host)| (bind, host.map(str::to_owned)))
        .into_iter()
        .unzip();
        for (bind, host) in bind.into_iter().zip(connect) {
            let mut pull = PullSocket::new(&context);
            let bound = match pull.bind(bind.as_str()) {
                // Machines without IPv6 exist.
                Err(BindError::AddressNotAvailable { .. } | BindError::Io { .. }) if bind.contains("::1") => {
                    continue;
                }
                bound => bound.unwrap().to_string(),
            };
            assert!(
                !bound.ends_with(":0") && !bound.ends_with(":*"),
                "{bound} is resolved"
            );
            let target = match host {
                Some(host) => format!("{host}:{}", bound.rsplit(':').next().unwrap()),
                None => bound,
            };
            let mut push = PushSocket::new(&context);
            push.connect(target.as_str()).unwrap();
            send(&mut push, target.as_str());
            assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), target.as_bytes());
        }
    });
}

/// A socket has nothing to say to itself.
#[test]
fn a_socket_does_not_connect_to_its_own_name() {
    let context = Context::new();
    let mut dealer = DealerSocket::new(&context);
    dealer.bind("inproc://myself").unwrap();
    let refused = dealer.connect("inproc://myself").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "`inproc://myself` is bound by the socket itself"
    );
    assert!(matches!(dealer.try_send("hello?"), Err(TrySendError::NoPeer(_))));
    // The other way round it waits for another socket to bind the name.
    let mut pair = PairSocket::new(&context);
    pair.connect("inproc://later").unwrap();
    pair.bind("inproc://later").unwrap();
    pair.try_send("for whoever comes").unwrap();
    assert!(pair.try_recv().is_err());
}
