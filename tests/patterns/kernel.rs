//! What an application chooses about the kernel's side of its connections holds for those that it dials and for those that it
//! accepts.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use zerowire::{
    Builder, Context, Event, Monitor, PullSocket, PushSocket, Reason, SendTimeoutError, TcpKeepalive,
};

use crate::on_every_wire;
use crate::raw::{Raw, RawListener, message};
use crate::support::{Transport, wait_for, wait_for_handshake, wait_until, with_deadline};

on_every_wire! {
    /// Who asks for a small buffer has little on its way to a peer that does not read.
    fn the_send_buffer_is_as_large_as_asked_for(transport) {
        for side in SIDES {
            let taken = |choose: fn(Builder<PushSocket>) -> Builder<PushSocket>| {
                let builder = PushSocket::builder(&Context::new()).send_hwm(1);
                let (mut push, _monitor, _peer) = join_push(transport, side, choose(builder));
                // The kernel takes more for as long as it moves something.
                loop {
                    match push.send_timeout(vec![0; 1000], QUIET) {
                        Ok(()) => {}
                        Err(SendTimeoutError::Timeout(_)) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
                push.peer_stats()[0].bytes_written
            };
            let (default, small) = (taken(|builder| builder), taken(|builder| builder.send_buffer(4096)));
            assert!(small < default / 2, "{side:?}: {small} bytes instead of {default}");
        }
    }
}

/// The same of who receives. Over ipc the sender's buffer is the only one.
#[test]
fn the_receive_buffer_is_as_large_as_asked_for() {
    with_deadline(|| {
        for side in SIDES {
            let taken = |choose: fn(Builder<PullSocket>) -> Builder<PullSocket>| {
                let builder = PullSocket::builder(&Context::new()).receive_hwm(1);
                let (_pull, mut peer) = join_pull(side, choose(builder));
                peer.set_send_buffer(4096);
                peer.set_write_timeout(QUIET);
                let mut taken = 0;
                loop {
                    match peer.write(&message(&[&[0; 998]])) {
                        Ok(count) => taken += count,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => return taken,
                        Err(error) => panic!("{error}"),
                    }
                }
            };
            let (small, large) = (
                taken(|builder| builder.receive_buffer(4096)),
                taken(|builder| builder.receive_buffer(200_000)),
            );
            assert!(small < large / 2, "{side:?}: {small} bytes instead of {large}");
        }
    });
}

/// How long a connection is quiet before the first probe can be read in the kernel's table of connections.
#[cfg(target_os = "linux")]
#[test]
fn the_kernel_probes_quiet_connections_if_asked() {
    with_deadline(|| {
        let keepalive = TcpKeepalive {
            idle: Duration::from_secs(1000),
            interval: Duration::from_secs(10),
            probes: 6,
        };
        for side in SIDES {
            let builder = PullSocket::builder(&Context::new()).tcp_keepalive(keepalive);
            let (_pull, peer) = join_pull(side, builder);
            let Raw::Tcp(stream) = &peer else { unreachable!() };
            wait_until("the first probe is due in about 1000 s", || {
                let due = first_probe(stream);
                due.is_some_and(|due| due <= keepalive.idle && due > keepalive.idle * 9 / 10)
            });
        }
    });
}

/// A peer that reads nothing for longer than that is given up.
#[cfg(target_os = "linux")]
#[test]
fn the_kernel_gives_up_in_the_time_it_was_told() {
    with_deadline(|| {
        for side in SIDES {
            let builder = PushSocket::builder(&Context::new())
                .heartbeat(Duration::ZERO)
                .tcp_user_timeout(Duration::from_millis(100));
            let (mut push, monitor, _peer) = join_push(Transport::Tcp, side, builder);
            while push.try_send(vec![0; 100_000]).is_ok() {}
            let reason = wait_for(&monitor, "disconnected", |event| match event {
                Event::Disconnected { reason, .. } => Some(reason.clone()),
                _ => None,
            });
            assert!(
                matches!(
                    reason,
                    Reason::Io {
                        kind: ErrorKind::TimedOut,
                        ..
                    }
                ),
                "{side:?}: {reason:?}"
            );
        }
    });
}

/// As long as this nothing has to move for a connection to be full.
const QUIET: Duration = Duration::from_millis(500);

/// How the socket came by its connection.
#[derive(Clone, Copy, Debug)]
enum Side {
    Dialed,
    Accepted,
}

const SIDES: [Side; 2] = [Side::Dialed, Side::Accepted];

/// A PUSH and a peer that has little room.
fn join_push(transport: Transport, side: Side, builder: Builder<PushSocket>) -> (PushSocket, Monitor, Raw) {
    let mut push = builder.build().unwrap();
    let monitor = push.monitor();
    let mut raw = match side {
        Side::Dialed => {
            let endpoint = transport.fresh();
            let listener = RawListener::bind(&endpoint);
            push.connect(endpoint.as_str()).unwrap();
            listener.accept()
        }
        Side::Accepted => Raw::connect(&push.bind(transport.wildcard()).unwrap().to_string()),
    };
    raw.set_receive_buffer(4096);
    raw.shake_hands("PULL");
    wait_for_handshake(&monitor);
    (push, monitor, raw)
}

fn join_pull(side: Side, builder: Builder<PullSocket>) -> (PullSocket, Raw) {
    let mut pull = builder.build().unwrap();
    let mut raw = match side {
        Side::Dialed => {
            let endpoint = Transport::Tcp.fresh();
            let listener = RawListener::bind(&endpoint);
            pull.connect(endpoint.as_str()).unwrap();
            listener.accept()
        }
        Side::Accepted => Raw::connect(&pull.bind(Transport::Tcp.wildcard()).unwrap().to_string()),
    };
    raw.shake_hands("PUSH");
    (pull, raw)
}

/// When the kernel will first probe the other end of a connection, if it is to do that.
///
/// See `Documentation/networking/proc_net_tcp.rst` in the sources of Linux: local address, remote address, state, queues, and then
/// the timer, of which kind 2 is that of probes, with the time that is left in hundredths of a second.
#[cfg(target_os = "linux")]
fn first_probe(stream: &TcpStream) -> Option<Duration> {
    let text = |address: SocketAddr| match address {
        SocketAddr::V4(address) => {
            format!(
                "{:08X}:{:04X}",
                u32::from_ne_bytes(address.ip().octets()),
                address.port()
            )
        }
        SocketAddr::V6(_) => unreachable!("all tests are on 127.0.0.0/8"),
    };
    let (theirs, ours) = (
        text(stream.peer_addr().unwrap()),
        text(stream.local_addr().unwrap()),
    );
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[1..3] == [theirs.as_str(), ours.as_str()]).then(|| fields[5].to_owned())
    });
    let timer = line.expect("the connection is in the table");
    let (kind, left) = timer.split_once(':').unwrap();
    (kind == "02").then(|| Duration::from_millis(10 * u64::from_str_radix(left, 16).unwrap()))
}
