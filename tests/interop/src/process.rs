use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use crate::deadline::CALL_TIMEOUT;

/// The helper binary `peer` of this crate, running. Killed when dropped before [`finish`](PeerProcess::finish).
pub struct PeerProcess {
    command: String,
    child: Child,
    /// What it prints; disconnected when it has closed its standard output, by exiting.
    lines: Receiver<String>,
}

impl PeerProcess {
    /// Starts `program` (`env!("CARGO_BIN_EXE_peer")`) with `arguments`, separated by spaces.
    pub fn start(program: &str, arguments: &str) -> PeerProcess {
        let mut child = Command::new(program)
            .args(arguments.split(' '))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start a peer process");
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        PeerProcess {
            command: arguments.into(),
            child,
            lines,
        }
    }

    /// The endpoint that it bound, its first line.
    #[track_caller]
    pub fn endpoint(&self) -> String {
        let line = self.lines.recv_timeout(CALL_TIMEOUT);
        let line = line.unwrap_or_else(|error| panic!("no endpoint from `peer {}`: {error}", self.command));
        line.strip_prefix("endpoint ")
            .expect("the first line names the endpoint")
            .into()
    }

    /// Waits until it has exited, which must be with success.
    #[track_caller]
    pub fn finish(mut self) {
        loop {
            match self.lines.recv_timeout(2 * CALL_TIMEOUT) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("`peer {}` does not exit", self.command),
            }
        }
        let status = self.child.wait().expect("wait for a peer process");
        assert!(status.success(), "`peer {}` failed: {status}", self.command);
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        // Both do nothing to a process that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
