use std::process;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// How long one call may block before the test fails. Far above what any call needs, because test machines are slow
/// and shared.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Ends the process with a message unless it is dropped in time.
///
/// Sends and receives have time limits of their own and say better what did not come. This one is for what has none:
/// closing a socket, ending a context, joining a thread.
pub struct Deadline {
    /// Dropping it tells the watchdog that all went well.
    _alive: Sender<()>,
}

impl Deadline {
    /// Starts the watchdog; `what` names what hung.
    pub fn start(what: impl Into<String>, limit: Duration) -> Deadline {
        let what = what.into();
        let (alive, watched) = channel();
        thread::spawn(move || {
            if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                eprintln!("deadline of {limit:?} passed: {what}");
                process::abort();
            }
        });
        Deadline { _alive: alive }
    }
}
