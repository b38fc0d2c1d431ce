//! SIGINT, SIGTERM and SIGHUP as something that a [`Selector`] can wait for.

use std::process;
use std::thread;
use std::time::Duration;

use zerowire::{Context, PullSocket, PushSocket, Selector};

use crate::failure::Failure;

/// Whether the command was asked to end. There can be one in a process.
pub struct Interrupts {
    socket: PullSocket,
}

impl Interrupts {
    /// Takes the signals over. From the first one on the command has `grace` to end in order; then, or at the second one, it
    /// is ended, as standard output may be a pipe that nobody reads.
    pub fn catch(grace: Duration) -> Result<Interrupts, Failure> {
        // A context of its own: the handler keeps its socket for ever, and must not keep the command's context with it.
        let context = Context::new();
        let mut socket = PullSocket::new(&context);
        socket.bind(ENDPOINT)?;
        let mut signals = PushSocket::new(&context);
        signals.connect(ENDPOINT)?;
        let mut is_first = true;
        ctrlc::set_handler(move || {
            if !std::mem::replace(&mut is_first, false) {
                process::exit(0);
            }
            let _ = signals.try_send("interrupted");
            thread::spawn(move || {
                thread::sleep(grace);
                process::exit(0);
            });
        })?;
        Ok(Interrupts { socket })
    }

    /// Has the selector wake for a signal.
    pub fn watch<K: Clone + Eq + std::hash::Hash>(
        &mut self,
        key: K,
        selector: &mut Selector<K>,
    ) -> Result<(), Failure> {
        Ok(selector.receive(key, &mut self.socket)?)
    }

    /// Whether there was a signal since the last call.
    pub fn came(&mut self) -> bool {
        self.socket.try_recv().is_ok()
    }

    /// Waits for a signal up to `time`, and says whether there was one.
    pub fn came_within(&mut self, time: Duration) -> bool {
        self.socket.recv_timeout(time).is_ok()
    }
}

const ENDPOINT: &str = "inproc://interrupts";
