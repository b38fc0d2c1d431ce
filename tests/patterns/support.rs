//! What the tests share: endpoints of each transport, and deadlines that fail loudly.

use std::time::Duration;

use zerowire::{Message, PullSocket};

/// Long enough for any machine; a test that gets here has hung.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The transports, as endpoints to bind: wildcards, so that every test has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Inproc,
    Ipc,
    Tcp,
}

impl Transport {
    pub fn wildcard(self) -> &'static str {
        match self {
            // Each test has a context of its own, and with it the names.
            Transport::Inproc => "inproc://test",
            Transport::Ipc => "ipc://*",
            Transport::Tcp => "tcp://127.0.0.1:*",
        }
    }
}

/// Receives a message or fails.
pub fn receive(socket: &mut PullSocket) -> Message {
    socket.recv_timeout(DEADLINE).expect("a message in time")
}

/// Writes a test for each transport.
#[macro_export]
macro_rules! on_every_transport {
    ($($(#[$doc:meta])* fn $name:ident($transport:ident) $body:block)*) => {
        $(
            mod $name {
                use super::*;
                use $crate::support::Transport;

                fn run($transport: Transport) $body

                $(#[$doc])*
                #[test]
                fn inproc() {
                    run(Transport::Inproc);
                }
                $(#[$doc])*
                #[test]
                fn ipc() {
                    run(Transport::Ipc);
                }
                $(#[$doc])*
                #[test]
                fn tcp() {
                    run(Transport::Tcp);
                }
            }
        )*
    };
}
