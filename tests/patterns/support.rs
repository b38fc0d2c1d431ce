//! What the tests share: endpoints of each transport, deadlines that fail loudly, and waiting for events.

use std::panic::resume_unwind;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use zerowire::{
    DealerReceiver, DealerSender, DealerSocket, Event, Message, Monitor, PairReceiver, PairSender,
    PairSocket, PullSocket, PushSocket, RepSocket, ReqSocket, SendTimeoutError, SubSocket, XPubSocket,
    XSubSocket,
};

/// Long enough for any machine; a call that takes so long has hung.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The same for a whole test.
pub const TEST_DEADLINE: Duration = Duration::from_secs(120);

/// The transports, with endpoints to bind, of which every test has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Inproc,
    Ipc,
    Tcp,
}

impl Transport {
    /// An endpoint to bind; the socket says what became of it.
    pub fn wildcard(self) -> String {
        match self {
            Transport::Inproc => self.fresh(),
            Transport::Ipc => "ipc://*".into(),
            Transport::Tcp => "tcp://127.0.0.1:*".into(),
        }
    }

    /// An endpoint that nobody has bound yet, to connect to before it is there.
    pub fn fresh(self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        match self {
            Transport::Inproc => format!("inproc://test-{number}"),
            Transport::Ipc => {
                let path = std::env::temp_dir().join(format!("zerowire-test-{process}-{number}"));
                format!("ipc://{}", path.display())
            }
            // All of 127/8 is this machine. The kernel dials from 127.0.0.1, so no connection takes such an address.
            Transport::Tcp => {
                format!(
                    "tcp://127.{}.{}.{}:24242",
                    1 + process % 250,
                    1 + number / 250 % 250,
                    1 + number % 250
                )
            }
        }
    }

    pub fn is_inproc(self) -> bool {
        self == Transport::Inproc
    }
}

/// Runs a test on a thread of its own, so that a call that hangs fails the test instead of hanging with it.
pub fn with_deadline(body: impl FnOnce() + Send + 'static) {
    within(TEST_DEADLINE, body);
}

/// Runs something that may block, and panics with it or when it takes longer than `limit`.
pub fn within<T: Send + 'static>(limit: Duration, body: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = channel();
    let thread = thread::Builder::new().name(thread::current().name().unwrap_or("test").to_owned());
    let thread = thread
        .spawn(move || {
            let result = body();
            let _ = done.send(());
            result
        })
        .unwrap();
    match finished.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => panic!("still not done after {limit:?}"),
        Ok(()) | Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        },
    }
}

/// Sockets, and parts of them, that receive from everybody in turn.
pub trait ReceivesInTurn {
    fn receive_in(&mut self, timeout: Duration) -> Result<Message, zerowire::RecvTimeoutError>;
}

/// Sockets, and parts of them, that send to everybody in turn.
pub trait SendsInTurn {
    fn send_in(&mut self, message: Message, timeout: Duration) -> Result<(), SendTimeoutError>;
}

macro_rules! in_turn {
    (receive: $($socket:ident)*; send: $($sender:ident)*;) => {
        $(impl ReceivesInTurn for $socket {
            fn receive_in(&mut self, timeout: Duration) -> Result<Message, zerowire::RecvTimeoutError> {
                self.recv_timeout(timeout)
            }
        })*
        $(impl SendsInTurn for $sender {
            fn send_in(&mut self, message: Message, timeout: Duration) -> Result<(), SendTimeoutError> {
                self.send_timeout(message, timeout)
            }
        })*
    };
}

in_turn! {
    receive: PullSocket ReqSocket RepSocket DealerSocket DealerReceiver PairSocket PairReceiver SubSocket XPubSocket
        XSubSocket;
    send: PushSocket ReqSocket RepSocket DealerSocket DealerSender PairSocket PairSender;
}

/// Receives a message or fails.
#[track_caller]
pub fn receive(socket: &mut impl ReceivesInTurn) -> Message {
    socket.receive_in(DEADLINE).expect("a message in time")
}

/// Receives a message and takes it for a number, as [`send_number`] sends it.
#[track_caller]
pub fn receive_number(socket: &mut impl ReceivesInTurn) -> u32 {
    number(&receive(socket))
}

/// Sends a message or fails.
#[track_caller]
pub fn send(socket: &mut impl SendsInTurn, message: impl Into<Message>) {
    socket.send_in(message.into(), DEADLINE).expect("room in time");
}

#[track_caller]
pub fn send_number(socket: &mut impl SendsInTurn, number: u32) {
    send(socket, &number.to_be_bytes());
}

#[track_caller]
pub fn number(message: &Message) -> u32 {
    assert_eq!(message.part_count(), 1, "a number, not {message:?}");
    u32::from_be_bytes(message.as_bytes().try_into().expect("a number"))
}

/// Waits for the event that `pick` is for; others are skipped.
#[track_caller]
pub fn wait_for<T>(monitor: &Monitor, what: &str, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    let mut seen = Vec::new();
    while let Some(event) = monitor.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if let Some(picked) = pick(&event) {
            return picked;
        }
        seen.push(event);
        if seen.len() > 20 {
            seen.remove(0);
        }
    }
    panic!("no event in time: {what}; last events: {seen:#?}");
}

#[track_caller]
pub fn wait_for_handshake(monitor: &Monitor) {
    wait_for(monitor, "handshake succeeded", |event| {
        matches!(event, Event::HandshakeSucceeded { .. }).then_some(())
    });
}

#[track_caller]
pub fn wait_for_end(monitor: &Monitor) {
    wait_for(monitor, "disconnected", |event| {
        matches!(event, Event::Disconnected { .. }).then_some(())
    });
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::yield_now();
    }
}

/// Bytes that tell their place, so that a mix-up is noticed: a long cycle, begun at another place for each seed.
pub fn pattern(length: usize, seed: u8) -> Vec<u8> {
    /// A prime, so that no power of two of a buffer falls into step with it.
    const CYCLE: usize = 1_048_583;
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        (0..CYCLE as u32)
            .map(|index| index.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect()
    });
    let mut pattern = Vec::with_capacity(length);
    let mut start = usize::from(seed) * 4099;
    while pattern.len() < length {
        let count = (length - pattern.len()).min(CYCLE - start);
        pattern.extend_from_slice(&bytes[start..start + count]);
        start = 0;
    }
    pattern
}

/// The path of an ipc endpoint.
pub fn ipc_path(endpoint: &str) -> &std::path::Path {
    std::path::Path::new(endpoint.strip_prefix("ipc://").expect("an ipc endpoint"))
}

/// Writes a test for each transport.
#[macro_export]
macro_rules! on_every_transport {
    ($($(#[$doc:meta])* fn $name:ident($transport:ident) $body:block)*) => {
        $($crate::on_transports! { [inproc Inproc, ipc Ipc, tcp Tcp] $(#[$doc])* fn $name($transport) $body })*
    };
}

/// Writes a test for each transport that has connections, handshakes and bytes on a wire.
#[macro_export]
macro_rules! on_every_wire {
    ($($(#[$doc:meta])* fn $name:ident($transport:ident) $body:block)*) => {
        $($crate::on_transports! { [ipc Ipc, tcp Tcp] $(#[$doc])* fn $name($transport) $body })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! on_transports {
    ([$($test:ident $variant:ident),*] $(#[$doc:meta])* fn $name:ident($transport:ident) $body:block) => {
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            use $crate::support::Transport;

            #[allow(unused_variables)]
            fn run($transport: Transport) $body

            $(
                #[test]
                fn $test() {
                    $crate::support::with_deadline(|| run(Transport::$variant));
                }
            )*
        }
    };
}
