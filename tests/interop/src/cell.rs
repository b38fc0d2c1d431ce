use std::env;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::peers::{Library, Pull, Push};

/// One cell of the matrix: what zerowire does, and over which transport. libzmq does the opposite.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// What zerowire does with messages.
    pub role: Role,
    /// Whether zerowire binds and libzmq connects, or the other way round.
    pub zerowire_binds: bool,
    /// How they are connected.
    pub transport: Transport,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// PUSH.
    Sends,
    /// PULL.
    Receives,
}

/// How two peers are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Loopback TCP.
    Tcp,
    /// A socket file.
    Ipc,
    /// A Unix socket with a name in the abstract namespace of Linux.
    Abstract,
}

impl Cell {
    /// Who sends.
    pub fn sender(&self) -> Library {
        match self.role {
            Role::Sends => Library::Zerowire,
            Role::Receives => Library::Libzmq,
        }
    }

    /// Who receives.
    pub fn receiver(&self) -> Library {
        match self.role {
            Role::Sends => Library::Libzmq,
            Role::Receives => Library::Zerowire,
        }
    }

    /// Whether the side that sends is the one that binds.
    pub fn sender_binds(&self) -> bool {
        self.zerowire_binds == (self.role == Role::Sends)
    }

    /// Makes both sockets, to set options before [`join`](Cell::join).
    pub fn sockets(&self) -> (Push, Pull) {
        (Push::new(self.sender()), Pull::new(self.receiver()))
    }

    /// Binds one socket at a fresh endpoint, connects the other to it, and returns the endpoint.
    pub fn join(&self, push: &mut Push, pull: &mut Pull, scratch: &Scratch) -> String {
        let wildcard = self.transport.fresh(scratch);
        if self.sender_binds() {
            let endpoint = push.bind(&wildcard);
            pull.connect(&endpoint);
            endpoint
        } else {
            let endpoint = pull.bind(&wildcard);
            push.connect(&endpoint);
            endpoint
        }
    }
}

impl Transport {
    /// An endpoint to bind that nobody else has: the caller must read back what it became.
    pub fn fresh(self, scratch: &Scratch) -> String {
        match self {
            Transport::Tcp => "tcp://127.0.0.1:*".into(),
            Transport::Ipc => format!("ipc://{}", scratch.path(&unique("socket")).display()),
            Transport::Abstract => format!("ipc://@{}", unique("zerowire-interop")),
        }
    }
}

/// A directory of one test, removed with everything in it when dropped.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the directory.
    pub fn new() -> Scratch {
        let path = env::temp_dir().join(unique("zerowire-interop"));
        fs::create_dir_all(&path).expect("make a directory for the test");
        Scratch { path }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn unique(name: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!(
        "{name}-{}-{}",
        process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    )
}

/// Runs each behaviour, a function of [`Cell`](crate::Cell), over the whole matrix: a module per behaviour with a test
/// per cell. The watchdog of a cell is armed here.
#[macro_export]
macro_rules! matrix {
    ($($behaviour:ident),+ $(,)?) => {$(
        mod $behaviour {
            $crate::matrix! { @cells $behaviour
                zerowire_binds_and_sends_over_tcp: Sends true Tcp,
                zerowire_binds_and_sends_over_ipc: Sends true Ipc,
                zerowire_binds_and_sends_over_abstract_ipc: Sends true Abstract,
                zerowire_connects_and_sends_over_tcp: Sends false Tcp,
                zerowire_connects_and_sends_over_ipc: Sends false Ipc,
                zerowire_connects_and_sends_over_abstract_ipc: Sends false Abstract,
                zerowire_binds_and_receives_over_tcp: Receives true Tcp,
                zerowire_binds_and_receives_over_ipc: Receives true Ipc,
                zerowire_binds_and_receives_over_abstract_ipc: Receives true Abstract,
                zerowire_connects_and_receives_over_tcp: Receives false Tcp,
                zerowire_connects_and_receives_over_ipc: Receives false Ipc,
                zerowire_connects_and_receives_over_abstract_ipc: Receives false Abstract,
            }
        }
    )+};
    (@cells $behaviour:ident $($name:ident: $role:ident $binds:literal $transport:ident,)+) => {$(
        #[test]
        fn $name() {
            let _deadline = $crate::Deadline::start(
                concat!(stringify!($behaviour), "::", stringify!($name)),
                4 * $crate::CALL_TIMEOUT,
            );
            super::$behaviour($crate::Cell {
                role: $crate::Role::$role,
                zerowire_binds: $binds,
                transport: $crate::Transport::$transport,
            });
        }
    )+};
}
