//! The half of a socket that receives: its pipes, and which of them is next.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context as TaskContext, Waker};
use std::time::Instant;

use slab::Slab;

use super::counting::Witness;
use super::level::{Gauge, Level};
use super::park;
use super::pipes::count;
use super::split::Part;
use crate::context;
use crate::framing::Run;
use crate::mailbox::{Over, ReceivePipe, ToSocket};
use crate::message::Message;
use crate::peer_id::PeerId;
use crate::pipe::PipeId;
use crate::pipe::inbound::{Reader, Settled};
use crate::pipe::inbox::{Inbox, Watching};
use crate::pipe::latest;
use crate::routing::fair_queue::FairQueue;
use crate::routing::topics::Topics;
use crate::stats::Received;

pub(crate) struct ReceiveHalf {
    /// Keeps the I/O threads alive.
    context: Arc<context::Inner>,
    inbox: Arc<Inbox<ToSocket>>,
    pipes: Slab<Entry>,
    keys: HashMap<PipeId, usize>,
    queue: FairQueue,
    /// What a subscriber lets through.
    filter: Option<Filter>,
    /// Of several messages of a peer only the newest counts.
    conflate: bool,
    /// Messages are looked at before they are taken, or the level after that.
    looks_closer: bool,
    /// For those who wait without holding the socket.
    gauge: Gauge,
    /// A message that passed, and had to be taken out of its pipe for that.
    held: Option<Message>,
    /// Peers that are gone, and connections that are: kept for sockets that ask for them.
    departures: Option<Vec<Departure>>,
    /// The counts that no pipe keeps, and those of pipes that are gone. `taken` is what was taken from those; how many of these
    /// and of the others' messages the application did not get is in `withheld`: so taking a message counts nothing twice.
    tally: Received,
    withheld: u64,
    witness: Witness,
    /// Nothing comes or goes any more, for this reason.
    over: Option<Over>,
    patience: park::Patience,
    gathering: park::Gathering,
    /// As a stream it has yielded its last item, which was the reason.
    #[cfg(feature = "futures")]
    pub(crate) has_ended: bool,
    items: Vec<ToSocket>,
    ready: Vec<PipeId>,
}

struct Entry {
    pipe: ReceivePipe,
    /// What a ROUTER calls the peer.
    name: Option<PeerId>,
}

/// What a subscriber lets through.
#[derive(Default)]
pub(crate) struct Filter {
    pub(crate) topics: Topics,
    /// Lets through what matches no topic instead.
    pub(crate) inverted: bool,
}

/// The end of a connection, after everything that came over it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// The connection is lost, and will be made again, when so many messages of ours were finished.
    Connection { pipe: PipeId, finished: u64 },
    /// The peer is gone for good.
    Peer { pipe: PipeId },
}

/// What a socket has received at one moment, and what of it is still to be taken.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// Keys of peers, and how many messages may be taken from each.
    From(Vec<(usize, u64)>),
    /// Peers that are heard before anything can be taken, and how many messages each had sent in all.
    Unheard(Vec<(PipeId, u64)>),
    /// So many messages, of which it does not matter whose they are.
    Some(u64),
}

impl Arrived {
    /// Takes note that one of so many messages is taken. False if all have been.
    pub(crate) fn take_one(&mut self) -> bool {
        match self {
            Arrived::Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

/// Why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nothing {
    Empty,
    Over(Over),
    WrongState,
    PeerLost,
}

impl ReceiveHalf {
    pub(crate) fn new(context: Arc<context::Inner>, inbox: Arc<Inbox<ToSocket>>) -> ReceiveHalf {
        ReceiveHalf {
            context,
            inbox,
            pipes: Slab::new(),
            keys: HashMap::new(),
            queue: FairQueue::default(),
            filter: None,
            conflate: false,
            looks_closer: false,
            gauge: Gauge::default(),
            held: None,
            departures: None,
            tally: Received::default(),
            withheld: 0,
            witness: Witness::default(),
            over: None,
            patience: park::Patience::default(),
            gathering: park::Gathering::default(),
            #[cfg(feature = "futures")]
            has_ended: false,
            items: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// Has messages go through a filter.
    pub(crate) fn with_filter(mut self, filter: Filter) -> ReceiveHalf {
        self.filter = Some(filter);
        self.looks_closer = true;
        self
    }

    /// Has only the newest of several messages of a peer count.
    pub(crate) fn with_conflation(mut self, on: bool) -> ReceiveHalf {
        self.conflate = on;
        self.looks_closer |= on;
        self
    }

    /// Has [`departures`](Self::departures) kept.
    pub(crate) fn with_departures(mut self) -> ReceiveHalf {
        self.departures = Some(Vec::new());
        self
    }

    /// The topics of the filter, if there is one.
    pub(crate) fn topics(&mut self) -> Option<&mut Topics> {
        self.filter.as_mut().map(|filter| &mut filter.topics)
    }

    /// Who left since this was last called.
    pub(crate) fn departures(&mut self) -> Vec<Departure> {
        self.departures.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether a message can be taken at once. It looks no further than the peer whose turn it is, and says no while there
    /// is news to see to: the quick way past [`look`](Self::look).
    #[inline]
    pub(crate) fn is_ready(&mut self) -> bool {
        !self.inbox.is_filled()
            && !self.looks_closer
            && self
                .queue
                .current()
                .is_some_and(|key| self.pipes[key].pipe.is_filled())
    }

    /// As [`is_ready`](Self::is_ready), for a caller that will wait otherwise: it does not look whether something has come
    /// lately, because there are better moments for that.
    #[inline]
    pub(crate) fn has_some_left(&mut self) -> bool {
        !self.inbox.is_filled()
            && !self.looks_closer
            && self
                .queue
                .current()
                .is_some_and(|key| self.pipes[key].pipe.has_some_left())
    }

    /// Takes the message of the peer whose turn it is, which [`is_ready`](Self::is_ready) or [`look`](Self::look) has
    /// found. The two steps are apart so that a message is moved once, straight to where the caller wants it, and not
    /// from one `Option` or `Result` into the next.
    #[inline]
    pub(crate) fn take(&mut self) -> Message {
        if self.looks_closer {
            return self.take_closely();
        }
        self.take_next()
    }

    #[inline(always)]
    fn take_next(&mut self) -> Message {
        let key = self.queue.current().expect("a peer was found ready");
        self.queue.advance();
        self.witness.saw(1);
        self.pipes[key].pipe.take_counted(&mut self.tally.taken_bytes)
    }

    #[inline(never)]
    fn take_closely(&mut self) -> Message {
        if self.gauge.is_read() {
            return self.take_and_measure();
        }
        self.take_held().unwrap_or_else(|| self.take_next())
    }

    fn take_held(&mut self) -> Option<Message> {
        let message = self.held.take()?;
        self.witness.saw(1);
        count(&mut self.tally.taken_bytes, message.total_bytes());
        Some(message)
    }

    #[cold]
    fn take_and_measure(&mut self) -> Message {
        let message = self.take_held().unwrap_or_else(|| self.take_next());
        self.measure();
        message
    }

    /// Whether a message can be taken, for those who wait without holding the socket.
    pub(crate) fn level(&mut self) -> Arc<Level> {
        let (level, waker) = self.gauge.level();
        if let Some(waker) = waker {
            self.inbox.watch(Watching::ToReceive, waker);
            self.looks_closer = true;
            self.measure();
        }
        level
    }

    /// Lowers the level if there is no message.
    fn measure(&mut self) {
        if !self.conflate {
            // It lowers the level when it finds nothing.
            let _ = self.look();
            return;
        }
        // Not taken out before it is received: a newer one may come.
        if self.inbox.is_filled() {
            self.collect();
        }
        while let Some(key) = self.queue.current() {
            if self.pipes[key].pipe.is_filled() {
                return;
            }
            self.settle(key);
        }
        if self.held.is_none() && self.over.is_none() {
            self.gauge.lower_if(|| self.inbox.calm(Watching::ToReceive));
        }
    }

    /// Has a waker called at the first news after each calm; see [`Inbox::watch`].
    pub(crate) fn watch(&self, what: Watching, waker: Waker) {
        self.inbox.watch(what, waker);
    }

    /// See [`Inbox::calm`]. It has to be dry, too: [`look`](Self::look) found nothing, and no [current](Self::has_current)
    /// peer is left.
    pub(crate) fn calm(&self, what: Watching) -> bool {
        self.inbox.calm(what)
    }

    /// See [`Inbox::disregard`].
    pub(crate) fn disregard(&self) {
        self.inbox.disregard(Watching::ToReceive);
    }

    /// Where the next message lies as frames, and whether all messages that there are may be its peer's. None if the message
    /// has to be looked at, or is none of frames. To be called after [`is_ready`](Self::is_ready) has found one, and before
    /// [`took_frames`](Self::took_frames).
    pub(crate) fn frames(&mut self) -> Option<(&mut Reader<u8>, bool)> {
        let (key, is_alone) = (self.queue.current()?, self.queue.len() == 1);
        match &mut self.pipes[key].pipe {
            ReceivePipe::Wire(pipe) if self.filter.is_none() && !self.conflate => Some((pipe, is_alone)),
            _ => None,
        }
    }

    /// Takes note that frames of the peer whose turn it was were taken.
    pub(crate) fn took_frames(&mut self, run: Run) {
        self.queue.advance();
        self.tally.taken_bytes += run.bytes;
        self.witness.saw(run.messages.into());
    }

    /// The pipe and the name of the peer whose message [`take`](Self::take) will take. Not for filtered sockets.
    pub(crate) fn source(&self) -> (PipeId, Option<&PeerId>) {
        let key = self.queue.current().expect("a peer was found ready");
        let entry = &self.pipes[key];
        (entry.pipe.id(), entry.name.as_ref())
    }

    /// Finds the next peer that has a message, one from each in turn. It may find nothing before it has looked everywhere,
    /// if many messages did not pass the filter: [`wait_for_news`](Self::wait_for_news) and [`sleep`](Self::sleep) know.
    pub(crate) fn look(&mut self) -> Result<(), Nothing> {
        if self.inbox.is_filled() {
            self.collect();
        }
        if self.held.is_some() {
            return Ok(());
        }
        let mut discards = 0;
        while let Some(key) = self.queue.current() {
            if !self.pipes[key].pipe.is_filled() {
                self.settle(key);
            } else if self.passes(key) {
                return Ok(());
            } else {
                discards += 1;
                if discards == DISCARDS_PER_LOOK {
                    return Err(Nothing::Empty);
                }
            }
        }
        if let Some(over) = self.over {
            return Err(Nothing::Over(over));
        }
        self.gauge.lower_if(|| self.inbox.calm(Watching::ToReceive));
        Err(Nothing::Empty)
    }

    /// Lets the next message of a peer through the filter, or throws it away.
    #[inline]
    fn passes(&mut self, key: usize) -> bool {
        let pipe = &mut self.pipes[key].pipe;
        if self.conflate {
            let mut message = pipe.take();
            let mut replaced = 0;
            while pipe.is_filled() {
                message = pipe.take();
                replaced += 1;
            }
            self.tally.discarded.replaced += replaced;
            self.withheld += replaced;
            self.hold_or_drop(message);
            return self.held.is_some();
        }
        let Some(filter) = &self.filter else {
            return true;
        };
        match pipe.first_part() {
            Some(part) if filter.passes(part) => return true,
            Some(_) => {
                drop(pipe.take());
                self.filtered();
            }
            None => {
                let message = pipe.take();
                self.hold_or_drop(message);
            }
        }
        self.held.is_some()
    }

    /// Keeps a message of the current peer for the application, if it passes the filter.
    fn hold_or_drop(&mut self, message: Message) {
        let filter = self.filter.as_ref();
        if filter.is_none_or(|filter| filter.passes(message.as_bytes())) {
            self.held = Some(message);
            self.queue.advance();
        } else {
            self.filtered();
        }
    }

    /// Takes note that a message of the current peer did not pass the filter.
    fn filtered(&mut self) {
        self.tally.discarded.filtered += 1;
        self.withheld += 1;
        self.queue.advance();
    }

    /// Waits for a peer that has a message, until the deadline.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Nothing> {
        loop {
            self.spin();
            match self.look() {
                Err(Nothing::Empty) if self.wait_for_news(deadline) => {}
                done => return done,
            }
        }
    }

    /// Waits for news, whether or not messages are there, until the deadline: then it returns false.
    pub(crate) fn wait_inbox(&mut self, deadline: Option<Instant>) -> bool {
        self.park(deadline)
    }

    /// Whether there is no news and no peer that may have a message.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        !self.inbox.is_filled() && !self.has_current()
    }

    /// Whether there is news.
    pub(crate) fn is_news(&self) -> bool {
        self.inbox.is_filled()
    }

    /// Why nothing comes or goes any more, if that is so.
    pub(crate) fn over(&self) -> Option<Over> {
        self.over
    }

    /// Waits for news after [`look`](Self::look) found nothing, until the deadline: then it returns false.
    pub(crate) fn wait_for_news(&mut self, deadline: Option<Instant>) -> bool {
        self.spin();
        self.has_current() && deadline.is_none_or(|deadline| Instant::now() < deadline) || self.park(deadline)
    }

    fn park(&mut self, deadline: Option<Instant>) -> bool {
        if self.context.is_forked() {
            self.over = Some(Over::Forked);
            return true;
        }
        park::wait(&self.inbox, &mut self.patience, deadline)
    }

    /// Has the task woken at the next news. False if there is news already, or a message that was not looked at yet.
    pub(crate) fn sleep(&self, task: &TaskContext<'_>) -> bool {
        !self.has_current() && self.sleep_for_news(task)
    }

    /// Has the task woken at the next news, whether or not messages are there. False if there is news already.
    pub(crate) fn sleep_for_news(&self, task: &TaskContext<'_>) -> bool {
        self.sleep_for(Watching::ToReceive, task)
    }

    /// As [`sleep_for_news`](Self::sleep_for_news), beside a task that waits for the other purpose.
    pub(crate) fn sleep_for(&self, what: Watching, task: &TaskContext<'_>) -> bool {
        if self.context.is_forked() && self.over != Some(Over::Forked) {
            // Nobody else would tell.
            self.inbox.post(ToSocket::Over(Over::Forked));
        }
        self.inbox.sleep_for(what, task.waker())
    }

    /// As [`sleep`](Self::sleep); but if there is a message that was not looked at yet, has the task woken at once: others
    /// have their turn before that. False if there is news.
    pub(crate) fn sleep_or_yield(&self, task: &TaskContext<'_>) -> bool {
        if self.sleep(task) {
            return true;
        }
        let yields = !self.is_news();
        if yields {
            task.waker().wake_by_ref();
        }
        yields
    }

    /// Whether a peer may have a message that was not looked at yet.
    pub(crate) fn has_current(&self) -> bool {
        self.queue.current().is_some()
    }

    /// Looks at a pipe that ran dry for a moment longer, before its writer is asked to ring the bell: in a steady flow
    /// the next message is a fraction of a microsecond away.
    pub(crate) fn spin(&mut self) {
        if self.queue.len() != 1 {
            return;
        }
        let Some(key) = self.queue.current() else {
            return;
        };
        let pipe = &mut self.pipes[key].pipe;
        for _ in 0..self.gathering.pauses(pipe.counts().taken) {
            std::hint::spin_loop();
        }
        for _ in 0..SPINS {
            if pipe.is_filled() || self.inbox.is_filled() {
                return;
            }
            std::hint::spin_loop();
        }
    }

    #[cold]
    fn settle(&mut self, key: usize) {
        match self.pipes[key].pipe.settle() {
            Settled::Ready => {}
            Settled::Quiet => self.queue.drop_current(),
            Settled::Ended => {
                self.queue.drop_current();
                self.remove(key);
            }
        }
    }

    /// Takes the inbox: new peers, and peers with news.
    pub(crate) fn collect(&mut self) {
        let (mut items, mut ready) = (std::mem::take(&mut self.items), std::mem::take(&mut self.ready));
        self.inbox.take(&mut items, &mut ready);
        for item in items.drain(..) {
            match item {
                ToSocket::Receive(pipe, name) => self.attach(pipe, name),
                ToSocket::Detach(id) => {
                    if let Some(key) = self.keys.get(&id).copied() {
                        self.pipes[key].pipe.detach();
                    }
                }
                ToSocket::Lost { pipe, finished } => {
                    self.departed(Departure::Connection { pipe, finished });
                }
                ToSocket::Over(over) => self.over = Some(over),
                ToSocket::Send(..) | ToSocket::Gone(_) => {
                    debug_assert!(false, "send pipes go to the send half");
                }
            }
        }
        for id in ready.drain(..) {
            if let Some(key) = self.keys.get(&id).copied() {
                self.queue.push(key);
            }
        }
        (self.items, self.ready) = (items, ready);
    }

    /// Whether some peer's message waits to be received, whatever a filter makes of it.
    pub(crate) fn has_messages(&self) -> bool {
        self.held.is_some()
            || self
                .pipes
                .iter()
                .any(|(_, entry)| entry.pipe.counts().waiting() > 0)
    }

    /// Whether there is a peer with this pipe, as far as it was heard of.
    pub(crate) fn knows(&self, pipe: PipeId) -> bool {
        self.keys.contains_key(&pipe)
    }

    /// Lets go of a peer, with all that came from it.
    pub(crate) fn let_go(&mut self, pipe: PipeId) {
        if let Some(key) = self.keys.get(&pipe).copied() {
            self.remove(key);
        }
    }

    /// What can be taken at this moment, to be taken by [`take_arrived`](Self::take_arrived).
    pub(crate) fn arrived(&mut self) -> Arrived {
        self.collect();
        let waiting = |(key, entry): (usize, &Entry)| (key, entry.pipe.counts().waiting());
        Arrived::From(self.pipes.iter().map(waiting).collect())
    }

    /// What has come at this moment, for a socket that [hears](Self::has_heard) it before something can be taken.
    pub(crate) fn arrived_unheard(&mut self) -> Arrived {
        self.collect();
        let sent = |(_, entry): (usize, &Entry)| (entry.pipe.id(), entry.pipe.counts().handed);
        Arrived::Unheard(self.pipes.iter().map(sent).collect())
    }

    /// Whether so many messages of each of these peers were taken out of its pipe, as far as it is still there. Forgets those
    /// of which that is true.
    pub(crate) fn has_heard(&self, unheard: &mut Vec<(PipeId, u64)>) -> bool {
        while let Some((pipe, sent)) = unheard.last() {
            let key = self.keys.get(pipe);
            if key.is_some_and(|&key| self.pipes[key].pipe.counts().taken < *sent) {
                return false;
            }
            unheard.pop();
        }
        true
    }

    /// Takes the next of these messages, from one peer after the other, and says what a ROUTER calls that.
    pub(crate) fn take_arrived(&mut self, arrived: &mut Arrived) -> Option<(Option<PeerId>, Message)> {
        if let Some(message) = self.take_held() {
            return Some((None, message));
        }
        let Arrived::From(peers) = arrived else {
            return None;
        };
        while let Some((key, left)) = peers.last_mut() {
            let Some(entry) = self.pipes.get_mut(*key) else {
                peers.pop();
                continue;
            };
            if *left == 0 || !entry.pipe.is_filled() {
                peers.pop();
                continue;
            }
            *left -= 1;
            let message = entry.pipe.take();
            if self.conflate && *left > 0 && entry.pipe.is_filled() {
                self.tally.discarded.replaced += 1;
                self.withheld += 1;
                continue;
            }
            count(&mut self.tally.taken_bytes, message.total_bytes());
            self.witness.saw(1);
            return Some((entry.name.clone(), message));
        }
        None
    }

    /// Throws away what has come from a peer so far.
    pub(crate) fn skip_all(&mut self, pipe: PipeId, messages_max: u64) {
        if let Some(key) = self.keys.get(&pipe).copied() {
            for _ in 0..messages_max {
                if !self.pipes[key].pipe.is_filled() {
                    return;
                }
                drop(self.pipes[key].pipe.take());
                self.tally.discarded.unwanted += 1;
                self.withheld += 1;
            }
        }
    }

    /// Takes note that a message of so many bytes which was taken is not for the application.
    pub(crate) fn discard(&mut self, bytes: usize) {
        self.tally.taken_bytes -= bytes as u64;
        self.witness.saw_back();
        self.tally.discarded.unwanted += 1;
        self.withheld += 1;
    }

    /// What became of the messages of each peer that is listed.
    pub(crate) fn peers(&self) -> Vec<(PipeId, latest::Counts)> {
        let pipes = self.pipes.iter().map(|(_, entry)| &entry.pipe);
        pipes.map(|pipe| (pipe.id(), pipe.counts())).collect()
    }

    /// What became of all messages.
    pub(crate) fn stats(&self) -> Received {
        let mut received = self.tally;
        received.peers = self.pipes.len();
        received.waiting = u64::from(self.held.is_some());
        for (_, entry) in &self.pipes {
            let counts = entry.pipe.counts();
            received.received += counts.handed;
            received.taken += counts.taken;
            received.waiting += counts.waiting();
            received.discarded.replaced += counts.replaced;
        }
        let withheld = self.withheld + u64::from(self.held.is_some());
        if self.context.is_forked() {
            // What the parent had counted may be lost with a lock.
            received.taken = received.taken.saturating_sub(withheld);
            return received;
        }
        received.taken -= withheld;
        debug_assert!(received.adds_up(), "{received:?}");
        self.witness.compare(received.taken);
        received
    }

    fn departed(&mut self, departure: Departure) {
        if let Some(departures) = &mut self.departures {
            departures.push(departure);
        }
    }

    fn attach(&mut self, pipe: ReceivePipe, name: Option<PeerId>) {
        let id = pipe.id();
        let key = self.pipes.insert(Entry { pipe, name });
        self.keys.insert(id, key);
        self.queue.push(key);
    }

    fn remove(&mut self, key: usize) {
        let pipe = self.pipes.remove(key).pipe;
        let counts = pipe.counts();
        self.tally.received += counts.handed;
        self.tally.taken += counts.taken;
        self.tally.discarded.replaced += counts.replaced;
        self.tally.discarded.unwanted += counts.waiting();
        let pipe = pipe.id();
        self.keys.remove(&pipe);
        self.queue.remove(key);
        self.departed(Departure::Peer { pipe });
    }
}

impl Part for ReceiveHalf {
    fn retire(&mut self) {
        self.gauge.close();
    }
}

impl Drop for ReceiveHalf {
    fn drop(&mut self) {
        if self.context.is_forked() {
            // The other ends are the parent's, who still uses them.
            std::mem::forget(std::mem::take(&mut self.pipes));
            return;
        }
        // Peers that were attached and not seen yet are dropped with the rest, so that their other side learns of it.
        self.inbox.take(&mut self.items, &mut self.ready);
        if cfg!(debug_assertions) && !std::thread::panicking() {
            self.stats();
        }
    }
}

impl Filter {
    #[inline]
    fn passes(&self, topic: &[u8]) -> bool {
        self.topics.matches_any(topic) != self.inverted
    }
}

/// Messages that do not pass the filter, thrown away before the caller looks at the clock: a peer that never stops cannot
/// keep it longer.
const DISCARDS_PER_LOOK: usize = 4096;
/// About a microsecond; see [`park`].
const SPINS: u32 = 30;
