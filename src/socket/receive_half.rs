//! The half of a socket that receives: its pipes, and which of them is next.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use slab::Slab;

use super::{framing, park};
use crate::context;
use crate::mailbox::{ReceivePipe, ToSocket};
use crate::message::Message;
use crate::pipe::PipeId;
use crate::pipe::inbound::{Reader, Settled};
use crate::pipe::inbox::Inbox;
use crate::routing::fair_queue::FairQueue;

pub(crate) struct ReceiveHalf {
    /// Keeps the I/O threads alive.
    _context: Arc<context::Inner>,
    inbox: Arc<Inbox<ToSocket>>,
    pipes: Slab<Pipe>,
    keys: HashMap<PipeId, usize>,
    queue: FairQueue,
    /// The I/O thread failed.
    died: bool,
    patience: park::Patience,
    items: Vec<ToSocket>,
    ready: Vec<PipeId>,
}

enum Pipe {
    Wire(Reader<u8>),
    Inproc(Reader<Message>),
}

/// Why no message was received.
#[derive(Clone, Copy)]
pub(crate) enum Nothing {
    Empty,
    IoThreadDied,
}

impl ReceiveHalf {
    pub(crate) fn new(context: Arc<context::Inner>, inbox: Arc<Inbox<ToSocket>>) -> ReceiveHalf {
        ReceiveHalf {
            _context: context,
            inbox,
            pipes: Slab::new(),
            keys: HashMap::new(),
            queue: FairQueue::default(),
            died: false,
            patience: park::Patience::default(),
            items: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// Whether a message can be taken at once. It looks no further than the peer whose turn it is, and says no while there
    /// is news to see to: the quick way past [`look`](Self::look).
    #[inline]
    pub(crate) fn is_ready(&mut self) -> bool {
        !self.inbox.is_filled()
            && self
                .queue
                .current()
                .is_some_and(|key| self.pipes[key].is_filled())
    }

    /// Takes the message of the peer whose turn it is, which [`is_ready`](Self::is_ready) or [`look`](Self::look) has
    /// found. The two steps are apart so that a message is moved once, straight to where the caller wants it, and not
    /// from one `Option` or `Result` into the next.
    #[inline]
    pub(crate) fn take(&mut self) -> Message {
        let key = self.queue.current().expect("a peer was found ready");
        let message = self.pipes[key].take();
        self.queue.advance();
        message
    }

    /// Finds the next peer that has a message, one from each in turn.
    pub(crate) fn look(&mut self) -> Result<(), Nothing> {
        if self.inbox.is_filled() {
            self.collect();
        }
        while let Some(key) = self.queue.current() {
            if self.pipes[key].is_filled() {
                return Ok(());
            }
            self.settle(key);
        }
        Err(if self.died {
            Nothing::IoThreadDied
        } else {
            Nothing::Empty
        })
    }

    /// Waits for a peer that has a message, until the deadline.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Nothing> {
        loop {
            self.spin();
            match self.look() {
                Err(Nothing::Empty) if park::wait(&self.inbox, &mut self.patience, deadline) => {}
                done => return done,
            }
        }
    }

    /// Finds a peer that has a message, or wakes the task when there may be one.
    pub(crate) fn poll_look(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<(), Nothing>> {
        loop {
            match self.look() {
                Err(Nothing::Empty) => {
                    if self.inbox.sleep(task.waker()) {
                        return Poll::Pending;
                    }
                }
                done => return Poll::Ready(done),
            }
        }
    }

    /// Looks at a pipe that ran dry for a moment longer, before its writer is asked to ring the bell: in a steady flow
    /// the next message is a fraction of a microsecond away.
    fn spin(&mut self) {
        if self.queue.len() != 1 {
            return;
        }
        if let Some(key) = self.queue.current() {
            for _ in 0..SPINS {
                if self.pipes[key].is_filled() || self.inbox.is_filled() {
                    return;
                }
                std::hint::spin_loop();
            }
        }
    }

    #[cold]
    fn settle(&mut self, key: usize) {
        match self.pipes[key].settle() {
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
                ToSocket::Receive(pipe) => self.attach(pipe),
                ToSocket::Detach(id) => {
                    if let Some(key) = self.keys.get(&id).copied() {
                        self.pipes[key].detach();
                    }
                }
                ToSocket::IoThreadDied => self.died = true,
                ToSocket::Send(_) => debug_assert!(false, "send pipes go to the send half"),
            }
        }
        for id in ready.drain(..) {
            if let Some(key) = self.keys.get(&id).copied() {
                self.queue.push(key);
            }
        }
        (self.items, self.ready) = (items, ready);
    }

    fn attach(&mut self, pipe: ReceivePipe) {
        let pipe = match pipe {
            ReceivePipe::Wire(pipe) => Pipe::Wire(pipe),
            ReceivePipe::Inproc(pipe) => Pipe::Inproc(pipe),
        };
        let id = pipe.id();
        let key = self.pipes.insert(pipe);
        self.keys.insert(id, key);
        self.queue.push(key);
    }

    fn remove(&mut self, key: usize) {
        let pipe = self.pipes.remove(key);
        self.keys.remove(&pipe.id());
        self.queue.remove(key);
    }
}

impl Drop for ReceiveHalf {
    fn drop(&mut self) {
        // Peers that were attached and not seen yet are dropped with the rest, so that their other side learns of it.
        self.inbox.take(&mut self.items, &mut self.ready);
    }
}

impl Pipe {
    fn id(&self) -> PipeId {
        match self {
            Pipe::Wire(pipe) => pipe.id(),
            Pipe::Inproc(pipe) => pipe.id(),
        }
    }

    /// Takes a message, which must be there.
    #[inline]
    fn take(&mut self) -> Message {
        match self {
            Pipe::Wire(pipe) => {
                pipe.took_message();
                framing::receive(pipe.chain())
            }
            Pipe::Inproc(pipe) => {
                pipe.took_message();
                pipe.chain().take()
            }
        }
    }

    #[inline]
    fn is_filled(&mut self) -> bool {
        match self {
            Pipe::Wire(pipe) => pipe.chain().refill(),
            Pipe::Inproc(pipe) => pipe.chain().refill(),
        }
    }

    fn settle(&mut self) -> Settled {
        match self {
            Pipe::Wire(pipe) => pipe.settle(),
            Pipe::Inproc(pipe) => pipe.settle(),
        }
    }

    /// Asks the other side to send nothing more; what it has sent stays readable.
    fn detach(&mut self) {
        if let Pipe::Inproc(pipe) = self {
            pipe.leave();
        }
    }
}

/// About a microsecond; see [`park`].
const SPINS: u32 = 30;
