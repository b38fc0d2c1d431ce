//! The I/O thread: a loop over readiness events, the inbox and deadlines.
//!
//! A turn takes what is there (inbox, events, timers), then serves each connection that has something to do once, with a
//! budget in bytes, so that a hot connection starves nobody; what is left goes on in the next turn, without sleeping.
//! Readiness is state of the connection: mio reports edges, and a connection that is paused gets no second one.

mod acceptor;
mod connection;
mod connector;
mod peer;
mod resolver;
mod timers;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;

use acceptor::Acceptor;
use peer::{Peer, Verdict, answer};
use resolver::Resolver;
use timers::Timers;

use crate::endpoint::Endpoint;
use crate::mailbox::{SocketLink, ToReactor, byte_pool};
use crate::monitor::{Event, Reason, Trail};
use crate::pipe::PipeId;
use crate::pipe::chain::Block;
use crate::pipe::inbox::{Inbox, Ready};
use crate::pipe::quota::Quota;
use crate::pipe::recycle::{Pool, Spares};
use crate::pipe::sync::{AtomicBool, AtomicU64, Ordering};
use crate::stats::Undelivered;
use crate::transport::Stream;

/// What other threads hold of an I/O thread.
#[derive(Clone)]
pub(crate) struct IoHandle {
    inbox: Arc<Inbox<ToReactor>>,
    /// Where the segments of this thread's inbound chains come back to.
    pool: Arc<Pool<u8>>,
    dead: Arc<AtomicBool>,
}

impl IoHandle {
    pub(crate) fn post(&self, item: ToReactor) {
        // A dead thread reads nothing; what is posted to it is dropped, which ends its pipes.
        if !self.is_dead() {
            self.inbox.post(item);
        }
    }

    /// The handle as pipes know it.
    pub(crate) fn ready(&self) -> Arc<dyn Ready> {
        self.inbox.clone()
    }

    pub(crate) fn pool(&self) -> &Arc<Pool<u8>> {
        &self.pool
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    pub(crate) fn declare_dead(&self) {
        self.dead.store(true, Ordering::Release);
        self.inbox.take(&mut Vec::new(), &mut Vec::new());
    }
}

/// The I/O thread's state; [`run`](Reactor::run) is its life.
pub(crate) struct Reactor {
    poll: Poll,
    events: Events,
    waker: Waker,
    entries: Slab<Entry>,
    /// Entries with something to do, each at most once.
    run: VecDeque<usize>,
    io: Io,
    /// All I/O threads of the context, this one included.
    threads: Vec<IoHandle>,
    /// Counts accepted connections, to spread them over the I/O threads.
    turn: usize,
    stopping: bool,
    /// When everything has to be over.
    end: Option<Instant>,
    items: Vec<ToReactor>,
    ready: Vec<PipeId>,
}

enum Entry {
    Acceptor(Acceptor),
    Peer(Box<Peer>),
}

/// What a peer needs of its I/O thread.
struct Io {
    handle: IoHandle,
    /// Numbers that no socket, pipe or connection of this context had before.
    ids: Arc<AtomicU64>,
    /// Peers by their names and those of their pipes, for what comes from other threads.
    keys: HashMap<PipeId, usize>,
    registry: Registry,
    resolver: Resolver,
    timers: Timers,
    /// The clock, read once a turn.
    now: Instant,
    spares: Spares<u8>,
    /// The block that is read into, when nobody has linked it into a chain.
    block: Option<Block>,
    /// Accepted connections whose handshake is in progress, oldest first.
    handshakes: BTreeMap<PipeId, usize>,
    /// Where to say what is left when a peer ends.
    report: Option<Sender<Undelivered>>,
}

impl Reactor {
    pub(crate) fn new(ids: Arc<AtomicU64>, quota: Option<&Arc<Quota>>) -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Waker::from(Arc::new(LoopWaker(mio::Waker::new(poll.registry(), WAKER)?)));
        let inbox = Arc::new(Inbox::new());
        let pool = byte_pool(crate::pipe::INBOUND_SIZES, quota);
        let answers = Arc::downgrade(&inbox);
        let resolver = Resolver::new(move |pipe, result| {
            if let Some(inbox) = answers.upgrade() {
                inbox.post(ToReactor::Resolved { pipe, result });
            }
        });
        Ok(Reactor {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            waker,
            entries: Slab::new(),
            run: VecDeque::new(),
            io: Io {
                handle: IoHandle {
                    inbox,
                    pool: pool.clone(),
                    dead: Arc::new(AtomicBool::new(false)),
                },
                ids,
                keys: HashMap::new(),
                registry,
                resolver,
                timers: Timers::default(),
                now: Instant::now(),
                spares: Spares::new(pool),
                block: None,
                handshakes: BTreeMap::new(),
                report: None,
            },
            threads: Vec::new(),
            turn: 0,
            stopping: false,
            end: None,
            items: Vec::new(),
            ready: Vec::new(),
        })
    }

    pub(crate) fn handle(&self) -> IoHandle {
        self.io.handle.clone()
    }

    /// Introduces the I/O threads of the context to each other.
    pub(crate) fn meet(&mut self, threads: Vec<IoHandle>) {
        self.threads = threads;
    }

    /// Serves until the context is gone and nothing lingers any more. An error means that the loop itself has failed.
    pub(crate) fn run(&mut self) -> Result<(), ()> {
        match catch_unwind(AssertUnwindSafe(|| self.turns())) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }

    fn turns(&mut self) -> io::Result<()> {
        loop {
            self.wait()?;
            self.io.now = Instant::now();
            self.take_events();
            self.take_inbox();
            self.take_timers();
            for _ in 0..self.run.len() {
                if let Some(key) = self.run.pop_front() {
                    self.serve(key);
                }
            }
            if self.stopping && self.entries.is_empty() {
                return Ok(());
            }
        }
    }

    /// Sleeps until there is something to do; does not sleep if there is.
    fn wait(&mut self) -> io::Result<()> {
        let timeout = if self.run.is_empty() && self.io.handle.inbox.sleep(&self.waker) {
            self.io.timers.sleep(Instant::now())
        } else {
            Some(Duration::ZERO)
        };
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                // After a stop, deadlines have passed that what waits in the kernel may have met: it is looked at first.
                match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                        self.events.clear();
                        Ok(())
                    }
                    result => result,
                }
            }
            result => result,
        }
    }

    fn take_events(&mut self) {
        for event in &self.events {
            let key = event.token().0;
            match self.entries.get_mut(key) {
                Some(Entry::Peer(peer)) => {
                    peer.on_event(event);
                    enqueue(&mut self.run, peer, key);
                }
                Some(Entry::Acceptor(acceptor)) => {
                    acceptor.wake();
                    self.run.push_back(key);
                }
                // The loop's waker, or an entry that went in this turn.
                None => {}
            }
        }
    }

    fn take_inbox(&mut self) {
        if !self.io.handle.inbox.is_filled() {
            return;
        }
        let (mut items, mut ready) = (std::mem::take(&mut self.items), std::mem::take(&mut self.ready));
        self.io.handle.inbox.take(&mut items, &mut ready);
        for item in items.drain(..) {
            self.act(item);
        }
        for pipe in ready.drain(..) {
            if let Some(key) = self.io.keys.get(&pipe).copied() {
                self.with_peer(key, |peer, _| peer.on_ready());
            }
        }
        (self.items, self.ready) = (items, ready);
    }

    fn take_timers(&mut self) {
        while let Some(key) = self.io.timers.pop(self.io.now) {
            match self.entries.get_mut(key) {
                Some(Entry::Peer(peer)) => {
                    peer.timer = None;
                    enqueue(&mut self.run, peer, key);
                }
                Some(Entry::Acceptor(_)) => self.run.push_back(key),
                None => {}
            }
        }
    }

    fn act(&mut self, item: ToReactor) {
        match item {
            // Dropped, and with it the listener.
            ToReactor::Listen { .. } if self.end.is_some() => {}
            ToReactor::Listen {
                socket,
                listener,
                endpoint,
            } => self.listen(Acceptor::new(socket, listener, endpoint)),
            ToReactor::Unlisten {
                socket,
                endpoint,
                done,
            } => {
                self.close_acceptors(|acceptor| {
                    acceptor.socket.id == socket && *acceptor.endpoint == endpoint
                });
                // The caller may have gone away, which is its business.
                let _ = done.send(());
            }
            ToReactor::Dial(dial) => {
                let key = self.add_peer(Peer::dialed(*dial, self.io.now));
                let end = self.end;
                self.with_peer(key, |peer, io| {
                    if let Some(end) = end {
                        peer.end_by(end, io.now);
                    }
                });
            }
            ToReactor::Undial { pipe } => {
                if let Some(key) = self.io.keys.get(&pipe).copied() {
                    self.with_peer(key, |peer, io| peer.close(io.now));
                }
            }
            ToReactor::Forget { pipe, reason } => {
                if let Some(key) = self.io.keys.get(&pipe).copied() {
                    self.with_peer(key, |peer, io| peer.forget(reason, io.now));
                }
            }
            ToReactor::Abort { pipe, reason } => {
                if let Some(key) = self.io.keys.get(&pipe).copied() {
                    self.with_peer(key, |peer, io| peer.abort(reason, io));
                }
            }
            ToReactor::Challenge { pipe, newcomer } => match self.io.keys.get(&pipe).copied() {
                Some(key) => self.with_peer(key, |peer, io| peer.challenge(newcomer, io)),
                None => answer(&newcomer, true),
            },
            ToReactor::Challenged {
                newcomer,
                name_is_free,
            } => {
                if let Some(key) = self.io.keys.get(&newcomer).copied() {
                    self.with_peer(key, |peer, io| peer.challenged(name_is_free, key, io));
                }
            }
            ToReactor::Adopt {
                socket,
                stream,
                endpoint,
                trail,
            } => self.adopt(socket, endpoint, stream, trail),
            ToReactor::CloseSocket { socket } => {
                self.close_acceptors(|acceptor| acceptor.socket.id == socket);
                for (key, entry) in &mut self.entries {
                    if let Entry::Peer(peer) = entry {
                        if peer.socket.id == socket {
                            peer.close(self.io.now);
                            enqueue(&mut self.run, peer, key);
                        }
                    }
                }
            }
            ToReactor::Resolved { pipe, result } => {
                if let Some(key) = self.io.keys.get(&pipe).copied() {
                    self.with_peer(key, |peer, io| peer.on_resolved(result, key, io));
                }
            }
            ToReactor::Stop => self.stopping = true,
            ToReactor::Shutdown { until, report } => self.shut_down(until, report),
            #[cfg(test)]
            ToReactor::Fail { each_peer } => {
                assert!(each_peer, "a test has the loop fail");
                let peers: Vec<usize> = self.io.keys.values().copied().collect();
                for key in peers {
                    self.with_peer(key, |_, _| panic!("a test has a peer's turn fail"));
                }
            }
        }
    }

    /// Ends everything by the time given.
    fn shut_down(&mut self, until: Instant, report: Sender<Undelivered>) {
        self.stopping = true;
        self.end = Some(until);
        self.io.report = Some(report);
        self.close_acceptors(|_| true);
        for (key, entry) in &mut self.entries {
            if let Entry::Peer(peer) = entry {
                peer.end_by(until, self.io.now);
                enqueue(&mut self.run, peer, key);
            }
        }
    }

    /// Does something to a peer, which is served afterwards.
    fn with_peer(&mut self, key: usize, action: impl FnOnce(&mut Peer, &mut Io)) {
        if let Some(Entry::Peer(peer)) = self.entries.get_mut(key) {
            let io = &mut self.io;
            if catch_unwind(AssertUnwindSafe(|| action(peer, io))).is_err() {
                give_up(peer, io);
            }
            enqueue(&mut self.run, peer, key);
        }
    }

    fn add_peer(&mut self, peer: Peer) -> usize {
        let pipe = peer.pipe;
        let key = self.entries.insert(Entry::Peer(Box::new(peer)));
        self.io.keys.insert(pipe, key);
        key
    }

    fn listen(&mut self, mut acceptor: Acceptor) {
        let entry = self.entries.vacant_entry();
        let key = entry.key();
        let registered = self
            .io
            .registry
            .register(&mut acceptor.listener, Token(key), Interest::READABLE);
        let (socket, endpoint) = (acceptor.socket.clone(), acceptor.endpoint.to_string());
        let event = match registered {
            Ok(()) => {
                entry.insert(Entry::Acceptor(acceptor));
                self.run.push_back(key);
                Event::Listening { endpoint }
            }
            Err(error) => {
                drop(acceptor);
                Event::AcceptFailed {
                    endpoint,
                    reason: error.into(),
                }
            }
        };
        socket.monitors.report(|| event).carry_out();
    }

    /// Closes some listeners.
    fn close_acceptors(&mut self, closes: impl Fn(&Acceptor) -> bool) {
        let registry = &self.io.registry;
        let mut closed = Vec::new();
        self.entries.retain(|_, entry| {
            let Entry::Acceptor(acceptor) = entry else {
                return true;
            };
            if !closes(acceptor) {
                return true;
            }
            let _ = registry.deregister(&mut acceptor.listener);
            closed.push((acceptor.socket.clone(), acceptor.endpoint.clone()));
            false
        });
        // Told when the address is free.
        for (socket, endpoint) in closed {
            let closed = || Event::ListenerClosed {
                endpoint: endpoint.to_string(),
            };
            socket.monitors.report(closed).carry_out();
        }
    }

    fn serve(&mut self, key: usize) {
        match self.entries.get_mut(key) {
            Some(Entry::Peer(peer)) => {
                peer.queued = false;
                let io = &mut self.io;
                let verdict = catch_unwind(AssertUnwindSafe(|| peer.serve(key, io)));
                // Served once more: a peer that was not dialed is done, and goes in order.
                match verdict.unwrap_or_else(|_| give_up(peer, io)) {
                    Verdict::Keep => {}
                    Verdict::Again => enqueue(&mut self.run, peer, key),
                    Verdict::Remove => {
                        self.io.keys.remove(&peer.pipe);
                        self.entries.remove(key);
                    }
                }
            }
            Some(Entry::Acceptor(acceptor)) => {
                let mut accepted = Vec::new();
                if acceptor.serve(self.io.now, &self.io.ids, |stream, trail| {
                    accepted.push((stream, trail));
                }) {
                    self.run.push_back(key);
                }
                if let Some(until) = acceptor.pause_begins {
                    self.io.timers.add(until, key);
                }
                let (socket, endpoint) = (acceptor.socket.clone(), acceptor.endpoint.clone());
                for (stream, trail) in accepted {
                    self.spread(&socket, &endpoint, stream, trail);
                }
            }
            None => {}
        }
    }

    /// Gives an accepted connection to the next I/O thread.
    fn spread(&mut self, socket: &Arc<SocketLink>, endpoint: &Arc<Endpoint>, stream: Stream, trail: Trail) {
        self.turn = self.turn.wrapping_add(1);
        let thread = &self.threads[self.turn % self.threads.len()];
        if Arc::ptr_eq(&thread.inbox, &self.io.handle.inbox) {
            self.adopt(socket.clone(), endpoint.clone(), stream, trail);
        } else {
            thread.post(ToReactor::Adopt {
                socket: socket.clone(),
                stream,
                endpoint: endpoint.clone(),
                trail,
            });
        }
    }

    fn adopt(&mut self, socket: Arc<SocketLink>, endpoint: Arc<Endpoint>, stream: Stream, trail: Trail) {
        // The socket may have been closed while the connection was on its way here.
        if socket.is_closed() || self.end.is_some() {
            drop(stream);
            let failed = |connection| Event::HandshakeFailed {
                connection,
                reason: Reason::Closed,
            };
            socket.monitors.report_on(&trail, failed).carry_out();
            return;
        }
        let pipe = self.io.ids.fetch_add(1, Ordering::Relaxed);
        let key = self.add_peer(Peer::accepted(pipe, socket, endpoint));
        self.with_peer(key, |peer, io| {
            peer.take_stream(stream, trail, key, io);
        });
        if self.io.handshakes.len() > HANDSHAKES_MAX {
            if let Some((_, oldest)) = self.io.handshakes.pop_first() {
                self.with_peer(oldest, |peer, io| peer.yield_handshake(HANDSHAKES_MAX, io));
            }
        }
    }
}

/// A peer's turn has panicked, of which the others are to know nothing: its connection ends.
#[cold]
fn give_up(peer: &mut Peer, io: &mut Io) -> Verdict {
    match catch_unwind(AssertUnwindSafe(|| peer.abort(Reason::Internal, io))) {
        Ok(()) => Verdict::Again,
        Err(_) => Verdict::Remove,
    }
}

fn enqueue(run: &mut VecDeque<usize>, peer: &mut Peer, key: usize) {
    if !std::mem::replace(&mut peer.queued, true) {
        run.push_back(key);
    }
}

/// Wakes the loop out of its sleep.
struct LoopWaker(mio::Waker);

impl Wake for LoopWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // It fails only if the loop is gone, and then nobody has to be woken.
        let _ = self.0.wake();
    }
}

const WAKER: Token = Token(usize::MAX);
const EVENTS_PER_TURN: usize = 256;
/// Handshakes of accepted connections in progress on one I/O thread; when there are more, the oldest yields.
const HANDSHAKES_MAX: usize = 1024;
