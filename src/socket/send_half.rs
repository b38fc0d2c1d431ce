//! The half of a socket that sends: its pipes, and a [`Route`] that says which of them a message goes to.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Context as TaskContext;
use std::time::{Duration, Instant};

use slab::Slab;

use super::counting::{Counted, Counts, Witness};
use super::level::{Gauge, Level};
use super::park;
use super::split::Part;
use crate::context;
use crate::framing::{self, Framed, Run};
use crate::mailbox::{Over, SendPipe, SocketLink, ToSocket};
use crate::message::Message;
use crate::monitor::Event;
use crate::options::Options;
use crate::peer_id::PeerId;
use crate::pipe::PipeId;
use crate::pipe::inbox::{Inbox, Ready, Watching};
use crate::pipe::outbound::{Sender, fence_after_fan_out};
use crate::pipe::recycle::Spares;
use crate::routing::load_balancer::LoadBalancer;
use crate::stats::{COUNTS, Sent};

pub(crate) struct SendHalf<R: Route> {
    /// Keeps the I/O threads alive.
    context: Arc<context::Inner>,
    link: Arc<SocketLink>,
    inbox: Arc<Inbox<ToSocket>>,
    pipes: Slab<Entry>,
    keys: HashMap<PipeId, usize>,
    pub(crate) route: R,
    byte_spares: Spares<u8>,
    message_spares: Spares<Message>,
    /// Nothing comes or goes any more, for this reason.
    over: Option<Over>,
    /// Pipes whose peers are not listed any more, while what they hold is still being written.
    leaving: Vec<(SendPipe, Cause)>,
    /// The counts that no pipe keeps, and those of pipes that are gone. Not for a message as it passes: that it was accepted, its
    /// pipe counts.
    tally: Sent,
    witness: Witness,
    /// For those who wait without holding the socket.
    gauge: Gauge,
    patience: park::Patience,
    /// What a sink has taken and could not send yet.
    #[cfg(feature = "futures")]
    pub(crate) unsent: Option<R::Item>,
    items: Vec<ToSocket>,
    ready: Vec<PipeId>,
}

/// Knows the peers of a half by their keys, and which of them a message goes to.
pub(crate) trait Route {
    /// What is given to be sent: a message, or more, if that does not say where to.
    type Item: Send;

    /// There is a peer with this key, with the name that a ROUTER has for it.
    fn add(&mut self, _key: usize, _name: Option<PeerId>) {}

    /// What is known of a peer: whether it is connected, and whether it is at its high-water mark. Called after
    /// [`add`](Self::add), and whenever it may have changed.
    fn set(&mut self, _key: usize, _connected: bool, _full: bool) {}

    /// The peer is gone.
    fn remove(&mut self, key: usize);
}

impl Route for LoadBalancer {
    type Item = Message;

    fn set(&mut self, key: usize, connected: bool, full: bool) {
        LoadBalancer::set(self, key, connected, full);
    }

    fn remove(&mut self, key: usize) {
        LoadBalancer::remove(self, key);
    }
}

struct Entry {
    pipe: SendPipe,
    fullness: Fullness,
}

/// Whether a peer is at its high-water mark, to be told once for as long as it mostly is.
#[derive(Default)]
struct Fullness {
    /// Times that no room was found.
    count: u64,
    /// No room was found, and none since.
    is_full: bool,
    /// When that was last found, and told or not told because it was so shortly before.
    since: Option<Instant>,
}

/// From so many peers on, a body is shared by them from [`BY_REFERENCE_MANY_MIN`] bytes on.
const BY_REFERENCE_PEERS_MIN: usize = 8;
/// Here the count of references costs less than as many copies.
const BY_REFERENCE_MANY_MIN: usize = 256;
/// The publisher writes to idle connections itself if there are no more than these: a system call for each is what their
/// latency is worth.
const DIRECT_PEERS_MAX: usize = 4;

/// The name of no pipe.
const NO_PIPE: PipeId = 0;

/// A peer that had room for a moment, and is full again within this time, is still the same slow peer.
const FULL_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    NoPeer,
    TooLarge,
    Over(Over),
    WrongState,
    PeerLost,
}

impl<R: Route> SendHalf<R> {
    pub(crate) fn new(
        context: Arc<context::Inner>,
        link: Arc<SocketLink>,
        inbox: Arc<Inbox<ToSocket>>,
        route: R,
    ) -> SendHalf<R> {
        SendHalf {
            inbox,
            pipes: Slab::new(),
            keys: HashMap::new(),
            route,
            byte_spares: Spares::new(link.byte_pool.clone()),
            message_spares: Spares::new(link.message_pool.clone()),
            over: None,
            leaving: Vec::new(),
            tally: Sent::default(),
            witness: Witness::default(),
            gauge: Gauge::default(),
            patience: park::Patience::default(),
            #[cfg(feature = "futures")]
            unsent: None,
            items: Vec::new(),
            ready: Vec::new(),
            context,
            link,
        }
    }

    /// Takes note of what has changed since the last call, if anything has.
    #[inline]
    pub(crate) fn catch_up(&mut self) {
        if self.inbox.is_filled() {
            self.collect();
        }
    }

    /// Gives a message to a peer, or back if the peer is at its high-water mark; then the inbox will hear when it has room.
    #[inline]
    pub(crate) fn give(&mut self, key: usize, message: Message) -> Result<(), Message> {
        let bytes = message.total_bytes();
        self.give_counted(key, message, bytes)
    }

    /// As [`give`](Self::give), for a caller that has the length of the message already: to ask it of the message here would
    /// have that moved once more.
    #[inline(always)]
    pub(crate) fn give_counted(&mut self, key: usize, message: Message, bytes: usize) -> Result<(), Message> {
        match &mut self.pipes[key].pipe {
            SendPipe::Wire(pipe) => {
                if pipe.has_room() || pipe.wait_for_room() {
                    self.tally.add_bytes(1, bytes);
                    if framing::send(pipe, &message, &mut self.byte_spares) {
                        self.witness.saw(1);
                        return Ok(());
                    }
                    // News of the end is in the inbox, or on its way to it.
                    self.tally.take_back(&message);
                    return Err(message);
                }
            }
            SendPipe::Inproc(pipe) => {
                if pipe.has_room() || pipe.wait_for_room() {
                    self.tally.add_bytes(1, bytes);
                    pipe.push(message, &mut self.message_spares);
                    self.witness.saw(1);
                    return Ok(());
                }
            }
            SendPipe::Latest(pipe) => {
                self.tally.add_bytes(1, bytes);
                self.witness.saw(1);
                // The one before is dropped here, which is its owner's code.
                pipe.put(message);
                return Ok(());
            }
        }
        self.found_full(key);
        Err(message)
    }

    /// Whether a message was given back because the peer is about to go, and not because it has no room. It will be gone when the
    /// news of that is taken.
    pub(crate) fn is_going(&self, key: usize) -> bool {
        matches!(&self.pipes[key].pipe, SendPipe::Wire(pipe) if pipe.is_closed())
    }

    /// What frames can be appended to, if the peer has a connection.
    pub(crate) fn frames(&mut self, key: usize) -> Option<(&mut Sender, &mut Spares<u8>)> {
        match &mut self.pipes[key].pipe {
            SendPipe::Wire(pipe) => Some((pipe, &mut self.byte_spares)),
            SendPipe::Inproc(_) | SendPipe::Latest(_) => None,
        }
    }

    /// Takes note that frames were appended for the peer whose turn it was.
    pub(crate) fn count_frames(&mut self, run: Run) {
        self.tally.accepted_bytes += run.bytes;
        self.witness.saw(run.messages.into());
    }

    /// Whether a peer has room for a message, or can be given some at once. Asks for no word of room.
    #[inline]
    pub(crate) fn make_room(&mut self, key: usize) -> bool {
        let has_room = self.pipes[key].pipe.make_room();
        self.met(key, has_room)
    }

    /// As [`make_room`](Self::make_room); if there is none, the inbox will hear when there is.
    #[inline]
    pub(crate) fn make_room_or_ask(&mut self, key: usize) -> bool {
        let pipe = &mut self.pipes[key].pipe;
        let has_room = pipe.make_room() || pipe.has_room();
        self.met(key, has_room)
    }

    /// Takes note of what a message has met at a peer.
    #[inline]
    fn met(&mut self, key: usize, has_room: bool) -> bool {
        if has_room {
            self.pipes[key].fullness.is_full = false;
        } else {
            self.found_full(key);
        }
        has_room
    }

    /// A message has met a peer that is at its high-water mark.
    #[cold]
    fn found_full(&mut self, key: usize) {
        self.tally.full += 1;
        self.pipes[key].fullness.count += 1;
        self.tell_full(key);
    }

    /// Tells that a peer is at its high-water mark, unless that was told already and has hardly been otherwise since.
    #[cold]
    fn tell_full(&mut self, key: usize) {
        let Entry { pipe, fullness } = &mut self.pipes[key];
        if std::mem::replace(&mut fullness.is_full, true) {
            return;
        }
        let now = Instant::now();
        let before = fullness.since.replace(now);
        if before.is_some_and(|before| now.duration_since(before) < FULL_AGAIN_AFTER) {
            return;
        }
        let slow = |connection| Event::SlowPeer {
            connection,
            waiting: self.link.options.send_hwm,
        };
        match self.link.monitors.report_of(pipe.id(), slow) {
            Some(later) => later.carry_out(),
            // It is not connected. When it is and has had room, it may be slow.
            None => fullness.since = None,
        }
    }

    /// Gives a message to several peers, all of which have room. It is framed once, and they are woken when all have it.
    /// Returns how many of them have accepted it: one whose connection was closed meanwhile has not.
    pub(crate) fn give_all(&mut self, keys: &[usize], message: &Message) -> usize {
        let by_reference_min = if keys.len() >= BY_REFERENCE_PEERS_MIN {
            BY_REFERENCE_MANY_MIN
        } else {
            framing::BY_REFERENCE_MIN
        };
        let mut framed = None;
        for &key in keys {
            match &mut self.pipes[key].pipe {
                SendPipe::Wire(pipe) => {
                    if framed.is_some() || !framing::append_small(pipe, message, &mut self.byte_spares) {
                        framed
                            .get_or_insert_with(|| Framed::new(message, by_reference_min))
                            .append(pipe, &mut self.byte_spares);
                    }
                }
                SendPipe::Inproc(pipe) => pipe.push(message.clone(), &mut self.message_spares),
                SendPipe::Latest(pipe) => pipe.put(message.clone()),
            }
        }
        fence_after_fan_out();
        let mut refused = 0;
        for &key in keys {
            if let SendPipe::Wire(pipe) = &mut self.pipes[key].pipe {
                refused += usize::from(!pipe.wake_drain(keys.len() <= DIRECT_PEERS_MAX));
            }
        }
        self.tally.add_bytes(keys.len() - refused, message.total_bytes());
        self.witness.saw((keys.len() - refused) as u64);
        keys.len() - refused
    }

    /// Whether a peer has room; if not, the inbox will hear when it has.
    pub(crate) fn has_room(&mut self, key: usize) -> bool {
        let Entry { pipe, fullness } = &mut self.pipes[key];
        let has_room = pipe.has_room();
        if has_room {
            fullness.is_full = false;
        } else {
            self.tell_full(key);
        }
        has_room
    }

    /// Waits for news, until the deadline: then it returns false.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> bool {
        if self.context.is_forked() {
            self.give_up(Over::Forked);
            return true;
        }
        park::wait(&self.inbox, &mut self.patience, deadline)
    }

    /// Whether this process was forked off: then there is nothing to wait for.
    pub(crate) fn is_forked(&mut self) -> bool {
        let is_forked = self.context.is_forked();
        if is_forked {
            self.give_up(Over::Forked);
        }
        is_forked
    }

    /// Has the task woken at the next news. False if there is news already.
    pub(crate) fn sleep(&self, task: &TaskContext<'_>) -> bool {
        if self.context.is_forked() && self.over != Some(Over::Forked) {
            // Nobody else would tell.
            self.inbox.post(ToSocket::Over(Over::Forked));
        }
        self.inbox.sleep(task.waker())
    }

    /// Whether something can be sent, for those who wait without holding the socket. The type of socket says when it can,
    /// by [`set_level`](Self::set_level); until it does the level is high.
    pub(crate) fn level(&mut self) -> Arc<Level> {
        let (level, waker) = self.gauge.level();
        if let Some(waker) = waker {
            self.inbox.watch(Watching::ToSend, waker);
        }
        level
    }

    /// Whether anybody has asked for the level.
    #[inline]
    pub(crate) fn has_level(&self) -> bool {
        self.gauge.is_read()
    }

    /// Sets the level after a call. If nothing can be sent, the inbox will hear when it can, or will not because there is
    /// news in it: then the level is high.
    pub(crate) fn set_level(&self, can_send: bool) {
        self.set_level_unless(can_send, || true);
    }

    /// As [`set_level`](Self::set_level), for a socket that may be able to send because of other news, too: it says whether
    /// it is calm there.
    pub(crate) fn set_level_unless(&self, can_send: bool, is_calm: impl FnOnce() -> bool) {
        if can_send {
            self.gauge.raise();
        } else {
            self.gauge
                .lower_if(|| self.inbox.calm(Watching::ToSend) && is_calm());
        }
    }

    /// Keeps the level low whatever news there is: the socket will say when it is its turn to send.
    pub(crate) fn hold_level(&self) {
        self.inbox.disregard(Watching::ToSend);
        self.gauge.lower();
    }

    /// Has whoever waits for news look again although there is none.
    pub(crate) fn remind(&self) {
        self.inbox.ready(NO_PIPE);
    }

    /// Whether there is news.
    pub(crate) fn is_news(&self) -> bool {
        self.inbox.is_filled()
    }

    /// The key of the peer with this pipe.
    pub(crate) fn key_of(&self, pipe: PipeId) -> Option<usize> {
        self.keys.get(&pipe).copied()
    }

    /// The pipe of a peer.
    pub(crate) fn pipe_of(&self, key: usize) -> PipeId {
        self.pipes[key].pipe.id()
    }

    /// Messages that a peer's pipe has accepted since it was made.
    pub(crate) fn accepted(&self, key: usize) -> u64 {
        self.pipes[key].pipe.counts().accepted
    }

    /// Why nothing comes or goes any more, if that is so.
    pub(crate) fn over(&self) -> Option<Over> {
        self.over
    }

    pub(crate) fn options(&self) -> &Options {
        &self.link.options
    }

    /// Counts a message that so many peers did not get, because they were at their high-water mark.
    pub(crate) fn count_full(&mut self, peers: usize, message: &Message) {
        self.count_elsewhere(peers, message);
        self.tally.dropped.full += peers as u64;
    }

    /// Counts a message that so many peers of this context were given by another way.
    pub(crate) fn count_handed_over(&mut self, peers: usize, message: &Message) {
        self.count_elsewhere(peers, message);
        self.tally.handed_over += peers as u64;
    }

    /// Counts a message that no peer is there for.
    pub(crate) fn count_unroutable(&mut self, message: &Message) {
        self.count_elsewhere(1, message);
        self.tally.dropped.unroutable += 1;
    }

    /// Counts a message as accepted that goes into no pipe.
    fn count_elsewhere(&mut self, peers: usize, message: &Message) {
        self.tally.accepted += peers as u64;
        self.tally.add_bytes(peers, message.total_bytes());
        self.witness.saw(peers as u64);
    }

    /// Lets go of a peer, with all that is in its pipe.
    pub(crate) fn let_go(&mut self, pipe: PipeId) {
        if let Some(key) = self.key_of(pipe) {
            self.lose(key);
        }
    }

    #[inline]
    pub(crate) fn is_too_large(&self, message: &Message) -> bool {
        self.exceeds_limits(message.total_bytes(), message.part_count())
    }

    /// Whether a message of so many bytes and parts is too large.
    #[inline]
    pub(crate) fn exceeds_limits(&self, bytes: usize, parts: usize) -> bool {
        let options = &self.link.options;
        bytes as u64 > options.max_message_bytes || parts as u64 > u64::from(options.max_message_parts)
    }

    /// Takes the inbox: new peers, peers with room again, peers that are gone.
    pub(crate) fn collect(&mut self) {
        let (mut items, mut ready) = (std::mem::take(&mut self.items), std::mem::take(&mut self.ready));
        self.inbox.take(&mut items, &mut ready);
        for item in items.drain(..) {
            match item {
                // Dropped, so that the other side learns of it.
                ToSocket::Send(..) if self.over == Some(Over::Closed) => {}
                ToSocket::Send(pipe, name) => self.attach(pipe, name),
                ToSocket::Detach(id) => {
                    if let Some(key) = self.keys.get(&id).copied() {
                        let pipe = self.remove(key);
                        self.retire(pipe, Cause::Disconnected);
                    }
                }
                ToSocket::Gone(id) => {
                    if let Some(key) = self.keys.get(&id).copied() {
                        let pipe = self.remove(key);
                        self.leave(pipe, Cause::PeerGone);
                    }
                }
                ToSocket::Over(over) => self.give_up(over),
                ToSocket::Receive(..) | ToSocket::Lost { .. } => {
                    debug_assert!(false, "what is received goes to the receive half");
                }
            }
        }
        for id in ready.drain(..) {
            if let Some(key) = self.keys.get(&id).copied() {
                self.refresh(key);
            } else if let Some(index) = self.leaving.iter().position(|(pipe, _)| pipe.id() == id) {
                let (pipe, cause) = self.leaving.swap_remove(index);
                self.leave(pipe, cause);
            }
        }
        (self.items, self.ready) = (items, ready);
    }

    /// Nobody writes to connections any more, if the I/O thread has died; inproc peers stay. If the socket is closed, those go
    /// too, and what connections hold is written.
    fn give_up(&mut self, over: Over) {
        self.over = Some(over);
        if over == Over::Forked {
            for (key, entry) in std::mem::take(&mut self.pipes) {
                self.route.remove(key);
                self.tally.fold(&entry.pipe, Cause::PeerGone);
                std::mem::forget(entry);
            }
            self.keys.clear();
            return;
        }
        if over == Over::Closed {
            let keys: Vec<usize> = self.pipes.iter().map(|(key, _)| key).collect();
            for key in keys {
                let pipe = self.remove(key);
                self.retire(pipe, Cause::Disconnected);
            }
            return;
        }
        let wires: Vec<usize> = self
            .pipes
            .iter()
            .filter(|(_, entry)| matches!(entry.pipe, SendPipe::Wire(_)))
            .map(|(key, _)| key)
            .collect();
        for key in wires {
            let pipe = self.remove(key);
            self.tally.fold(&pipe, Cause::PeerGone);
        }
        for (pipe, cause) in self.leaving.drain(..) {
            self.tally.fold(&pipe, cause);
        }
    }

    fn attach(&mut self, pipe: SendPipe, name: Option<PeerId>) {
        // In inproc a probe or a welcome may be in it already.
        self.witness.saw(pipe.counts().accepted);
        let id = pipe.id();
        let fullness = Fullness::default();
        let key = self.pipes.insert(Entry { pipe, fullness });
        self.keys.insert(id, key);
        self.route.add(key, name);
        self.refresh(key);
    }

    /// Brings what is known of a pipe up to date.
    fn refresh(&mut self, key: usize) {
        let Entry { pipe, fullness } = &mut self.pipes[key];
        if !pipe.is_gone() {
            let (connected, full) = (pipe.is_connected(), !pipe.has_room());
            fullness.is_full &= full;
            self.route.set(key, connected, full);
            return;
        }
        self.lose(key);
    }

    /// Removes a peer that gets nothing more, not even what it was given.
    fn lose(&mut self, key: usize) {
        let pipe = self.remove(key);
        self.retire(pipe, Cause::PeerGone);
    }

    /// Counts what became of the messages of a peer that is not listed any more, when that is certain.
    fn retire(&mut self, pipe: SendPipe, cause: Cause) {
        match &pipe {
            SendPipe::Wire(_) => self.leave(pipe, cause),
            SendPipe::Inproc(_) | SendPipe::Latest(_) => self.tally.fold(&pipe, cause),
        }
    }

    /// Keeps a pipe until its other side takes nothing more out of it, and then counts.
    fn leave(&mut self, pipe: SendPipe, cause: Cause) {
        if pipe.is_gone() || self.over == Some(Over::IoThreadDied) {
            self.tally.fold(&pipe, cause);
        } else {
            self.leaving.push((pipe, cause));
        }
    }

    fn remove(&mut self, key: usize) -> SendPipe {
        let pipe = self.pipes.remove(key).pipe;
        self.keys.remove(&pipe.id());
        self.route.remove(key);
        pipe
    }

    /// Messages that were accepted and will never be handed over, because their peer is gone.
    pub(crate) fn lost(&self) -> u64 {
        let dropped = &self.tally.dropped;
        dropped.peer_gone + dropped.linger_expired + dropped.unroutable
    }
}

impl<R: Route> Counted for SendHalf<R> {
    fn stats(&self) -> Sent {
        let mut sent = self.tally;
        sent.peers = self.pipes.len();
        let listed = self.pipes.iter().map(|(_, entry)| &entry.pipe);
        for pipe in listed.chain(self.leaving.iter().map(|(pipe, _)| pipe)) {
            let counts = pipe.counts();
            sent.accepted += counts.accepted;
            sent.handed_over += counts.handed_over;
            sent.waiting += counts.waiting();
            sent.dropped.replaced += counts.replaced;
        }
        debug_assert!(sent.adds_up(), "{sent:?}");
        if !self.context.is_forked() {
            self.witness.compare(sent.accepted);
        }
        sent
    }

    fn peers(&self) -> Vec<(PipeId, Counts)> {
        let peers = self.pipes.iter().map(|(_, Entry { pipe, fullness })| {
            let counts = Counts {
                full: fullness.count,
                ..pipe.counts()
            };
            (pipe.id(), counts)
        });
        peers.collect()
    }
}

impl<R: Route> Drop for SendHalf<R> {
    fn drop(&mut self) {
        if self.context.is_forked() {
            // The other ends are the parent's, who still uses them.
            std::mem::forget((std::mem::take(&mut self.pipes), std::mem::take(&mut self.leaving)));
            return;
        }
        // Peers that were attached and not seen yet are dropped with the rest, so that their other side learns of it.
        self.inbox.take(&mut self.items, &mut self.ready);
        if cfg!(debug_assertions) && !std::thread::panicking() {
            self.stats();
        }
    }
}

impl Sent {
    /// Counts the bytes of a message that was accepted for so many peers.
    #[inline(always)]
    fn add_bytes(&mut self, peers: usize, bytes: usize) {
        if COUNTS {
            self.accepted_bytes += (peers * bytes) as u64;
        }
    }

    /// A message was not accepted after all.
    #[cold]
    fn take_back(&mut self, message: &Message) {
        if COUNTS {
            self.accepted_bytes -= message.total_bytes() as u64;
        }
    }

    /// Counts what became of the messages of a pipe that is dropped.
    fn fold(&mut self, pipe: &SendPipe, cause: Cause) {
        let counts = pipe.counts();
        self.accepted += counts.accepted;
        self.handed_over += counts.handed_over;
        self.dropped.replaced += counts.replaced;
        let rest = match cause {
            _ if pipe.is_readable() => &mut self.handed_over,
            Cause::PeerGone => &mut self.dropped.peer_gone,
            Cause::Disconnected => &mut self.dropped.linger_expired,
        };
        *rest += counts.waiting();
    }
}

/// Why a peer is not listed any more.
#[derive(Clone, Copy, Debug)]
enum Cause {
    PeerGone,
    /// The application has disconnected from it.
    Disconnected,
}

impl<R: Route> Part for SendHalf<R> {
    fn retire(&mut self) {
        self.gauge.close();
    }
}
