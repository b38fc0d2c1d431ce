//! The context: starts and joins the I/O threads, and owns the names of inproc.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::mpsc::channel;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::OptionError;
use crate::mailbox::{Over, SocketId, SocketLink, ToReactor, ToSocket};
use crate::monitor::Reason;
use crate::pipe::PipeId;
use crate::pipe::inbox::hold_wakes;
use crate::pipe::quota::Quota;
use crate::pipe::sync::{AtomicBool, AtomicU64, AtomicUsize, HomeMutex, Ordering};
use crate::reactor::{IoHandle, Reactor};
use crate::socket::inproc::Registry;
use crate::stats::ShutdownReport;

/// What sockets are made in: it owns the I/O threads, and the names that inproc endpoints refer to.
///
/// A program usually has one. A clone is another handle to the same context; sockets hold one too. I/O threads are
/// started when the first endpoint needs them, so inproc alone runs without any.
///
/// When the last handle is dropped, sockets included, the drop waits until what those sockets still had to write is
/// written, or has lingered long enough (see [`Builder::linger`](crate::Builder::linger)); so a program that returns
/// from `main` has delivered its messages.
///
/// # Examples
/// ```
/// use zerowire::{Context, PullSocket, PushSocket};
///
/// let context = Context::new();
/// let mut pull = PullSocket::new(&context);
/// let endpoint = pull.bind("tcp://127.0.0.1:0")?;
/// let mut push = PushSocket::new(&context);
/// push.connect(endpoint)?;
/// push.send("hello")?;
/// assert_eq!(pull.recv()?.as_bytes(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Context {
    pub(crate) inner: Arc<Inner>,
}

impl Context {
    /// Makes a context with one I/O thread, which is enough for several million messages a second.
    pub fn new() -> Context {
        Context {
            inner: Arc::new(Inner::new(&Context::builder())),
        }
    }

    /// Makes a context with other options.
    pub fn builder() -> ContextBuilder {
        ContextBuilder {
            io_threads: 1,
            max_queued_bytes: None,
        }
    }
}

impl Context {
    /// Ends the context: writes what its sockets have accepted, for `timeout` at most whatever their lingers say, and returns
    /// what could not be delivered.
    ///
    /// From the moment of the call on, sends fail with `Closed`, and so do receives that find nothing more to take; calls that
    /// wait in other threads are woken for that. Nothing can be bound or connected any more. Sockets still have to be
    /// dropped, which takes no time then. Messages in inproc have been handed over: who is to receive them still can, unless they
    /// wait for a name that nobody has bound.
    ///
    /// In a process that was forked off it does nothing.
    ///
    /// Blocks until all is written and read by the peers' systems, and the I/O threads have ended. A second call finds nothing
    /// to do, and may return before the first one.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use zerowire::{Context, PushSocket, TrySendError};
    ///
    /// let context = Context::new();
    /// let mut push = PushSocket::new(&context);
    /// push.connect("tcp://127.0.0.1:9")?; // nobody is there
    /// push.send("lost")?;
    /// let report = context.shutdown(Duration::from_millis(10));
    /// assert_eq!(report.to_string(), "1 messages undelivered: 1 of PUSH at tcp://127.0.0.1:9");
    /// assert!(matches!(push.try_send("too late"), Err(TrySendError::Closed(_))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, timeout: Duration) -> ShutdownReport {
        if self.inner.is_forked() {
            return ShutdownReport::default();
        }
        let now = Instant::now();
        let until = now.checked_add(timeout).unwrap_or(now + TIMEOUT_MAX);
        let threads = {
            let mut threads = self.inner.threads.lock();
            self.inner.shut.store(true, Ordering::Relaxed);
            std::mem::take(&mut *threads)
        };
        let mut lost = self.inner.inproc.give_up_waiting();
        // Before the connections end: whoever waits hears of this first, and not of a peer that it loses thereby.
        end_all(&self.inner.sockets, Over::Closed);
        let (report, undelivered) = channel();
        for thread in &threads {
            let report = report.clone();
            thread.handle.post(ToReactor::Shutdown { until, report });
        }
        drop(report);
        join(threads);
        lost.extend(undelivered.try_iter());
        ShutdownReport { undelivered: lost }
    }
}

impl Context {
    /// How many bytes the queues of all sockets hold, as far as [`max_queued_bytes`](ContextBuilder::max_queued_bytes) counts
    /// them; `None` without that limit, because nobody counts then.
    pub fn queued_bytes(&self) -> Option<u64> {
        let quota = self.inner.quota.as_ref()?;
        Some(quota.queued())
    }
}

/// For as long as nobody waits.
const TIMEOUT_MAX: Duration = Duration::from_secs(1 << 32);

impl Default for Context {
    fn default() -> Context {
        Context::new()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("io_threads", &self.inner.io_threads)
            .finish_non_exhaustive()
    }
}

/// The options of a [`Context`].
///
/// # Examples
/// ```
/// let context = zerowire::Context::builder().io_threads(2).build()?;
/// assert!(zerowire::Context::builder().io_threads(0).build().is_err());
/// # Ok::<(), zerowire::OptionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ContextBuilder {
    io_threads: usize,
    max_queued_bytes: Option<u64>,
}

impl ContextBuilder {
    /// How many I/O threads serve the context's connections, each of which belongs to one of them.
    ///
    /// Default 1, allowed 1 to 64. More than one pays when a single core cannot move the bytes of all connections.
    #[must_use]
    pub fn io_threads(mut self, threads: usize) -> ContextBuilder {
        self.io_threads = threads;
        self
    }

    /// How many bytes the queues of all sockets hold together, beside their high-water marks, which count messages.
    ///
    /// Default unlimited; allowed from 1 MiB. When so much is queued, each queue has room for a message only when it is empty:
    /// sends wait, fail with `Full`, or a publisher goes by its rule for slow subscribers, as at a high-water mark, and
    /// connections are read no further. So messages that nobody takes slow all sockets of the context down: choose it well
    /// above what they need.
    ///
    /// It is a limit for memory and not an exact count: each queue may exceed it by one message and by 4 KiB, or by the
    /// 64 KiB that are read from a connection at a time. A message for many subscribers counts in the queue of each,
    /// although long ones share their memory. [`Context::queued_bytes`] tells where it stands.
    ///
    /// # Examples
    /// ```
    /// use zerowire::{Context, PullSocket, PushSocket};
    ///
    /// let context = Context::builder().max_queued_bytes(1 << 20).build()?;
    /// let mut pull = PullSocket::new(&context);
    /// pull.bind("inproc://images")?;
    /// let mut push = PushSocket::new(&context);
    /// push.connect("inproc://images")?;
    /// let image = vec![0; 600_000];
    /// push.send(image.clone())?;
    /// push.send(image.clone())?;
    /// assert!(push.try_send(image.clone()).is_err());
    /// pull.recv()?;
    /// push.try_send(image)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn max_queued_bytes(mut self, bytes: u64) -> ContextBuilder {
        self.max_queued_bytes = Some(bytes);
        self
    }

    /// Makes the context.
    ///
    /// # Errors
    /// [`OptionError::OutOfRange`] names an option outside its range.
    pub fn build(self) -> Result<Context, OptionError> {
        if !(1..=IO_THREADS_MAX).contains(&self.io_threads) {
            return Err(OptionError::OutOfRange {
                option: "io_threads",
                value: self.io_threads.to_string(),
                min: "1".into(),
                max: IO_THREADS_MAX.to_string(),
            });
        }
        if let Some(bytes @ ..MAX_QUEUED_BYTES_MIN) = self.max_queued_bytes {
            return Err(OptionError::OutOfRange {
                option: "max_queued_bytes",
                value: bytes.to_string(),
                min: MAX_QUEUED_BYTES_MIN.to_string(),
                max: u64::MAX.to_string(),
            });
        }
        Ok(Context {
            inner: Arc::new(Inner::new(&self)),
        })
    }
}

const IO_THREADS_MAX: usize = 64;
/// Well above what a few connections hold until their last message has been taken and looked behind.
const MAX_QUEUED_BYTES_MIN: u64 = 1 << 20;

/// What all handles share.
pub(crate) struct Inner {
    /// The process that made the context.
    process: u32,
    io_threads: usize,
    threads: HomeMutex<Vec<IoThread>>,
    /// The application has shut the context down. Changed and relied upon under the lock of `threads`.
    shut: AtomicBool,
    /// Counts the endpoints, to spread them over the I/O threads.
    turn: AtomicUsize,
    ids: Arc<AtomicU64>,
    pub(crate) inproc: Arc<Registry>,
    /// The sockets that are alive, to be told when they have no use any more.
    sockets: Arc<Sockets>,
    /// The ceiling on what all queues hold, if there is one.
    pub(crate) quota: Option<Arc<Quota>>,
}

type Sockets = HomeMutex<HashMap<SocketId, Weak<SocketLink>>>;

struct IoThread {
    handle: IoHandle,
    join: JoinHandle<()>,
}

impl Inner {
    fn new(options: &ContextBuilder) -> Inner {
        let ids = Arc::new(AtomicU64::new(1));
        Inner {
            process: std::process::id(),
            inproc: Arc::new(Registry::new(ids.clone())),
            io_threads: options.io_threads,
            threads: HomeMutex::default(),
            shut: AtomicBool::new(false),
            turn: AtomicUsize::new(0),
            ids,
            sockets: Arc::default(),
            quota: options.max_queued_bytes.map(|max| Arc::new(Quota::new(max))),
        }
    }

    /// A number that no socket, pipe or connection of this context had before.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether this process was forked off the one that made the context.
    pub(crate) fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    /// Whether the application has shut the context down.
    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    /// The I/O thread for the next endpoint, started if it is the first; none if the context was shut down.
    pub(crate) fn io(&self) -> io::Result<Option<IoHandle>> {
        let mut threads = self.threads.lock();
        if self.is_shut() {
            return Ok(None);
        }
        if threads.is_empty() {
            self.start(&mut threads)?;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Ok(Some(threads[turn % threads.len()].handle.clone()))
    }

    /// Does something unless the context was shut down; what it gives to I/O threads or names comes before a shutdown then,
    /// which sees to it.
    pub(crate) fn unless_shut<T>(&self, action: impl FnOnce() -> T) -> Option<T> {
        // Called without the lock: a waker is anybody's code.
        let _held = hold_wakes();
        let _threads = self.threads.lock();
        (!self.is_shut()).then(action)
    }

    /// Starts all I/O threads, or none.
    fn start(&self, threads: &mut Vec<IoThread>) -> io::Result<()> {
        let mut reactors = Vec::new();
        for _ in 0..self.io_threads {
            reactors.push(Reactor::new(self.ids.clone(), self.quota.as_ref())?);
        }
        let handles: Vec<IoHandle> = reactors.iter().map(Reactor::handle).collect();
        for (number, mut reactor) in reactors.into_iter().enumerate() {
            reactor.meet(handles.clone());
            match self.spawn(number, reactor) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    stop(std::mem::take(threads));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn spawn(&self, number: usize, mut reactor: Reactor) -> io::Result<IoThread> {
        let handle = reactor.handle();
        let dying = reactor.handle();
        let sockets = self.sockets.clone();
        let join = thread::Builder::new()
            .name(format!("zerowire-io-{number}"))
            .spawn(move || {
                let failed = reactor.run().is_err();
                dying.declare_dead();
                if failed {
                    end_all(&sockets, Over::IoThreadDied);
                }
            })?;
        Ok(IoThread { handle, join })
    }

    /// Ends a connection, whichever I/O thread has it.
    pub(crate) fn abort(&self, pipe: PipeId, reason: Reason) {
        for thread in self.threads.lock().iter() {
            thread.handle.post(ToReactor::Abort {
                pipe,
                reason: reason.clone(),
            });
        }
    }

    pub(crate) fn register(&self, socket: &Arc<SocketLink>) {
        self.sockets.lock().insert(socket.id, Arc::downgrade(socket));
        // Either `shutdown` finds the socket in the list, or we find the context shut.
        let threads = self.threads.lock();
        if self.is_shut() {
            drop(threads);
            end(socket, Over::Closed);
        }
    }

    /// The application dropped the socket: its connections linger and end.
    pub(crate) fn unregister(&self, socket: &Arc<SocketLink>) {
        self.sockets.lock().remove(&socket.id);
        for thread in self.threads.lock().iter() {
            thread.handle.post(ToReactor::CloseSocket { socket: socket.id });
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_forked() {
            // There are no such threads here, and the handles must not be touched.
            std::mem::forget(std::mem::take(&mut self.threads));
            // Nor what inproc connectors hold, whose other ends may be the parent's.
            std::mem::forget(self.inproc.clone());
            return;
        }
        stop(std::mem::take(&mut *self.threads.lock()));
    }
}

/// Lets the threads end when nothing lingers any more, and waits for that.
fn stop(threads: Vec<IoThread>) {
    for thread in &threads {
        thread.handle.post(ToReactor::Stop);
    }
    join(threads);
}

fn join(threads: Vec<IoThread>) {
    for IoThread { join, .. } in threads {
        // The last handle may go with a waker that the I/O thread itself drops: it ends on its own then.
        if join.thread().id() != thread::current().id() {
            let _ = join.join();
        }
    }
}

fn end_all(sockets: &Sockets, over: Over) {
    // Outside the lock: a waker is anybody's code, and may drop a socket.
    let alive: Vec<_> = sockets.lock().values().filter_map(Weak::upgrade).collect();
    for socket in alive {
        end(&socket, over);
    }
}

/// Tells a socket that it has no use any more.
fn end(socket: &SocketLink, over: Over) {
    for inbox in [&socket.send, &socket.receive].into_iter().flatten() {
        inbox.post(ToSocket::Over(over));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::{
        ConnectError, DealerSocket, Event, Message, Monitor, PullSocket, PushSocket, RecvError, ReqSocket,
        RequestError, RouterSocket, SelectError, Selector, SendError, SubSocket, TrySendError,
    };

    const DEADLINE: Duration = Duration::from_secs(30);

    fn fail(context: &Context, each_peer: bool) {
        for thread in context.inner.threads.lock().iter() {
            thread.handle.post(ToReactor::Fail { each_peer });
        }
    }

    fn wait_for<T>(monitor: &Monitor, pick: impl Fn(&Event) -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = monitor.recv_timeout(left).expect("the event comes in time");
            if let Some(picked) = pick(&event) {
                return picked;
            }
        }
    }

    #[test]
    fn a_panic_in_a_peers_turn_costs_its_connection_and_nothing_else() {
        let (near, far) = (Context::new(), Context::new());
        let mut pull = PullSocket::new(&far);
        let endpoint = pull.bind("tcp://127.0.0.1:*").expect("a port is free");
        let mut push = PushSocket::builder(&near)
            .reconnect_min(Duration::from_millis(1))
            .build()
            .expect("valid");
        let monitor = push.monitor();
        push.connect(endpoint).expect("valid");
        push.send("before").expect("alive");
        assert_eq!(pull.recv_timeout(DEADLINE), Ok(Message::from("before")));
        fail(&near, true);
        let reason = wait_for(&monitor, |event| match event {
            Event::Disconnected { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        assert!(matches!(reason, Reason::Internal), "{reason:?}");
        // It is dialed again, by the same thread.
        wait_for(&monitor, |event| {
            matches!(event, Event::HandshakeSucceeded { .. }).then_some(())
        });
        push.send("after").expect("alive");
        assert_eq!(pull.recv_timeout(DEADLINE), Ok(Message::from("after")));
        let sent = push.stats().sent;
        assert_eq!((sent.accepted, sent.dropped.total()), (2, 0));
    }

    /// What a call says that was waiting when the I/O thread failed.
    fn waits<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> mpsc::Receiver<T> {
        let (said, hears) = mpsc::channel();
        thread::spawn(move || said.send(call()));
        hears
    }

    #[test]
    fn a_panic_of_the_io_thread_is_an_error_of_every_socket() {
        let context = Context::new();
        let nowhere = "tcp://127.0.0.1:9";
        let mut pull = PullSocket::new(&context);
        pull.bind("tcp://127.0.0.1:*").expect("a port is free");
        let mut sub = SubSocket::new(&context);
        sub.bind("inproc://near").expect("free");
        let mut push = PushSocket::builder(&context).send_hwm(1).build().expect("valid");
        push.connect(nowhere).expect("valid");
        push.send("waits").expect("there is room");
        let mut req = ReqSocket::new(&context);
        req.connect(nowhere).expect("valid");
        let mut dealer = DealerSocket::new(&context);
        dealer.connect(nowhere).expect("valid");
        let mut router = RouterSocket::new(&context);
        router.bind("tcp://127.0.0.1:*").expect("a port is free");
        let mut selector = Selector::new();
        selector.receive("router", &mut router).expect("new");

        let received = waits(move || pull.recv());
        let heard = waits(move || sub.recv());
        let sent = waits(move || (push.send("no room"), push));
        let asked = waits(move || req.request("a question", DEADLINE));
        let selected = waits(move || selector.wait_timeout(DEADLINE).map(|ready| ready.len()));
        fail(&context, false);
        let in_time = "who waits is woken";
        assert_eq!(
            received.recv_timeout(DEADLINE).expect(in_time),
            Err(RecvError::IoThreadDied)
        );
        assert_eq!(
            heard.recv_timeout(DEADLINE).expect(in_time),
            Err(RecvError::IoThreadDied)
        );
        let (result, mut push) = sent.recv_timeout(DEADLINE).expect(in_time);
        assert!(matches!(result, Err(SendError::IoThreadDied(message)) if message.as_bytes() == b"no room"));
        let asked = asked.recv_timeout(DEADLINE).expect(in_time);
        assert!(matches!(asked, Err(RequestError::IoThreadDied)), "{asked:?}");
        let selected: Result<usize, SelectError> = selected.recv_timeout(DEADLINE).expect(in_time);
        assert_eq!(selected.expect("no error of its own"), 1);

        // And for who comes later.
        assert!(matches!(
            dealer.try_send(Message::from("x")),
            Err(TrySendError::IoThreadDied(_))
        ));
        assert_eq!(router.recv_from().map(drop), Err(RecvError::IoThreadDied));
        assert!(matches!(
            dealer.connect("tcp://127.0.0.1:10"),
            Err(ConnectError::IoThreadDied)
        ));
        let sent = push.stats().sent;
        assert_eq!((sent.accepted, sent.dropped.peer_gone), (1, 1));
        // Ends at once, although nobody answers.
        context.shutdown(DEADLINE);
    }
}
