//! Host names to addresses, on a thread that may hang so that the I/O thread does not.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Resolves host names for an I/O loop on one helper thread, which starts with the first request.
///
/// The system's resolver blocks and cannot be interrupted. So names are looked up one after the other: a
/// hanging one delays those behind it and costs no further thread. Every request that is not cancelled is
/// answered exactly once by a call of `deliver`, on the helper thread, or on the caller's if the helper
/// cannot be started. `deliver` must not block.
///
/// Dropping the resolver returns at once. The thread ends after the lookup it is in, however long that takes,
/// and keeps `deliver` alive until then without calling it any more.
pub(crate) struct Resolver {
    shared: Arc<Shared>,
}

impl Resolver {
    pub(crate) fn new(
        deliver: impl Fn(u64, io::Result<Vec<SocketAddr>>) + Send + Sync + 'static,
    ) -> Resolver {
        Resolver::with(deliver, look_up, THREAD_STACK_BYTES)
    }

    /// Asks for the addresses of a host; the answer, never an empty list, comes through `deliver` with the
    /// same key.
    ///
    /// A key has one request at a time: a second one replaces the first, whose answer is not delivered.
    pub(crate) fn resolve(&self, key: u64, host: String, port: u16) {
        let mut state = self.shared.lock();
        state.forget(key);
        state.waiting.push_back(Request { key, host, port });
        if state.running {
            self.shared.changed.notify_one();
            return;
        }
        let shared = Arc::clone(&self.shared);
        let builder = thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .stack_size(self.shared.stack_bytes);
        match builder.spawn(move || shared.run()) {
            Ok(_) => state.running = true,
            Err(error) => {
                state.forget(key);
                // Without the lock, because what is called may well ask for something else.
                drop(state);
                (self.shared.deliver)(key, Err(error));
            }
        }
    }

    /// Gives up a request. One whose answer is being delivered at this moment may still arrive, so the
    /// receiver has to bear an answer for a key it no longer knows.
    pub(crate) fn cancel(&self, key: u64) {
        self.shared.lock().forget(key);
    }

    fn with(
        deliver: impl Fn(u64, io::Result<Vec<SocketAddr>>) + Send + Sync + 'static,
        look_up: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
        stack_bytes: usize,
    ) -> Resolver {
        let shared = Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            deliver: Box::new(deliver),
            look_up: Box::new(look_up),
            stack_bytes,
        };
        Resolver {
            shared: Arc::new(shared),
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.waiting.clear();
        state.in_progress = None;
        self.shared.changed.notify_one();
    }
}

type Deliver = dyn Fn(u64, io::Result<Vec<SocketAddr>>) + Send + Sync;
type LookUp = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

struct Shared {
    state: Mutex<State>,
    /// Signalled when there is a request or the end has come.
    changed: Condvar,
    deliver: Box<Deliver>,
    look_up: Box<LookUp>,
    stack_bytes: usize,
}

#[derive(Default)]
struct State {
    /// At most one request a key.
    waiting: VecDeque<Request>,
    /// The key whose name is being looked up, until somebody stops wanting it.
    in_progress: Option<u64>,
    /// The helper thread was started; it stays until `closed`.
    running: bool,
    closed: bool,
}

struct Request {
    key: u64,
    host: String,
    port: u16,
}

impl State {
    fn forget(&mut self, key: u64) {
        self.waiting.retain(|request| request.key != key);
        if self.in_progress == Some(key) {
            self.in_progress = None;
        }
    }
}

impl Shared {
    /// The helper thread.
    fn run(&self) {
        while let Some(request) = self.next() {
            let addresses = (self.look_up)(&request.host, request.port);
            let wanted = self.lock().in_progress.take().is_some();
            if wanted {
                (self.deliver)(request.key, addresses);
            }
        }
    }

    /// Waits for the next request; `None` is the end.
    fn next(&self) -> Option<Request> {
        let idle = |state: &mut State| !state.closed && state.waiting.is_empty();
        let mut state = self
            .changed
            .wait_while(self.lock(), idle)
            .unwrap_or_else(PoisonError::into_inner);
        let request = state.waiting.pop_front()?;
        state.in_progress = Some(request.key);
        Some(request)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("host name {host:?} has no address"),
        ));
    }
    Ok(addresses)
}

const THREAD_NAME: &str = "zerowire-names";

/// Room for the system's resolver, whose plug-ins are not known to be frugal; only what is used costs memory.
const THREAD_STACK_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
    use std::time::Duration;

    use super::*;

    type Answer = (u64, io::Result<Vec<SocketAddr>>);

    const DEADLINE: Duration = Duration::from_secs(30);

    fn outbox() -> (
        impl Fn(u64, io::Result<Vec<SocketAddr>>) + Send + Sync + 'static,
        Receiver<Answer>,
    ) {
        let (sender, receiver) = channel();
        (move |key, answer| sender.send((key, answer)).unwrap(), receiver)
    }

    /// A resolver whose lookups report that they started and then wait to be let go; the answer is the port
    /// asked for.
    struct Gated {
        resolver: Resolver,
        answers: Receiver<Answer>,
        started: Receiver<u16>,
        gate: Sender<()>,
    }

    impl Gated {
        fn new() -> Gated {
            let (deliver, answers) = outbox();
            let (start, started) = channel();
            let (gate, gated) = channel();
            let gated = Mutex::new(gated);
            let look_up = move |_: &str, port| {
                start.send(port).unwrap();
                // An error is a test that has ended.
                let _ = gated.lock().unwrap().recv();
                Ok(vec![([127, 0, 0, 1], port).into()])
            };
            let resolver = Resolver::with(deliver, look_up, THREAD_STACK_BYTES);
            Gated {
                resolver,
                answers,
                started,
                gate,
            }
        }

        fn answer(&self) -> (u64, u16) {
            let (key, addresses) = self.answers.recv_timeout(DEADLINE).unwrap();
            (key, addresses.unwrap()[0].port())
        }

        fn wait_started(&self) -> u16 {
            self.started.recv_timeout(DEADLINE).unwrap()
        }
    }

    #[test]
    fn localhost_is_delivered_with_the_port_asked_for() {
        let (deliver, answers) = outbox();
        let resolver = Resolver::new(deliver);
        for key in [1, 2] {
            resolver.resolve(key, "localhost".to_owned(), 5555);
            let (delivered, addresses) = answers.recv_timeout(DEADLINE).unwrap();
            let addresses = addresses.unwrap();
            assert_eq!(delivered, key);
            assert!(!addresses.is_empty());
            assert!(
                addresses
                    .iter()
                    .all(|address| address.ip().is_loopback() && address.port() == 5555)
            );
        }
    }

    #[test]
    fn a_name_that_does_not_exist_is_delivered_as_an_error() {
        let (deliver, answers) = outbox();
        let resolver = Resolver::new(deliver);
        resolver.resolve(3, "no-such-host.invalid".to_owned(), 1);
        let (key, addresses) = answers.recv_timeout(DEADLINE).unwrap();
        assert_eq!(key, 3);
        addresses.unwrap_err();
    }

    #[test]
    fn requests_are_answered_in_order_by_one_thread() {
        let gated = Gated::new();
        for key in 0..10 {
            gated.resolver.resolve(key, "host".to_owned(), key as u16);
        }
        for key in 0..10 {
            assert_eq!(gated.wait_started(), key as u16);
            assert!(gated.started.try_recv().is_err());
            gated.gate.send(()).unwrap();
            assert_eq!(gated.answer(), (key, key as u16));
        }
    }

    #[test]
    fn cancelled_requests_are_not_answered_whether_waiting_or_in_progress() {
        let gated = Gated::new();
        for key in [1, 2, 3] {
            gated.resolver.resolve(key, "host".to_owned(), key as u16);
        }
        assert_eq!(gated.wait_started(), 1);
        gated.resolver.cancel(1);
        gated.resolver.cancel(2);
        gated.resolver.cancel(99);
        gated.gate.send(()).unwrap();
        gated.gate.send(()).unwrap();
        assert_eq!(gated.answer(), (3, 3));
        assert_eq!(gated.wait_started(), 3);
        assert!(gated.answers.try_recv().is_err());
    }

    #[test]
    fn a_second_request_for_a_key_replaces_the_first() {
        let gated = Gated::new();
        gated.resolver.resolve(1, "host".to_owned(), 10);
        assert_eq!(gated.wait_started(), 10);
        gated.resolver.resolve(1, "host".to_owned(), 20);
        gated.resolver.resolve(1, "host".to_owned(), 30);
        gated.gate.send(()).unwrap();
        gated.gate.send(()).unwrap();
        assert_eq!(gated.answer(), (1, 30));
        assert!(gated.answers.try_recv().is_err());
    }

    #[test]
    fn dropping_does_not_wait_for_a_hanging_lookup_and_nothing_is_delivered_after_it() {
        let gated = Gated::new();
        gated.resolver.resolve(1, "host".to_owned(), 1);
        gated.resolver.resolve(2, "host".to_owned(), 2);
        assert_eq!(gated.wait_started(), 1);
        // The lookup hangs until the gate opens, so a drop that waited for it would never return.
        drop(gated.resolver);
        gated.gate.send(()).unwrap();
        // The channel closes when the thread ends and lets go of `deliver`.
        assert_eq!(
            gated.answers.recv_timeout(DEADLINE).unwrap_err(),
            RecvTimeoutError::Disconnected
        );
        assert!(gated.started.try_recv().is_err());
    }

    #[test]
    fn a_thread_that_cannot_be_started_is_an_error_for_the_key() {
        let (deliver, answers) = outbox();
        let resolver = Resolver::with(deliver, look_up, usize::MAX >> 1);
        resolver.resolve(4, "localhost".to_owned(), 1);
        let (key, addresses) = answers.recv_timeout(DEADLINE).unwrap();
        assert_eq!(key, 4);
        addresses.unwrap_err();
    }
}
