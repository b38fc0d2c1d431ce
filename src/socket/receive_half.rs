//! The half of a socket that receives: its pipes, and which of them is next.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use slab::Slab;

use super::{framing, inproc, park};
use crate::context;
use crate::mailbox::{ReceivePipe, SocketLink, ToSocket};
use crate::message::Message;
use crate::pipe::PipeId;
use crate::pipe::inbound::{Reader, Settled};
use crate::pipe::inbox::Inbox;
use crate::routing::fair_queue::FairQueue;

pub(crate) struct ReceiveHalf {
    context: Arc<context::Inner>,
    link: Arc<SocketLink>,
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
    /// With the name to connect to again when the binder is gone.
    Inproc(Reader<Message>, Option<Arc<str>>),
}

/// Why no message was received.
#[derive(Clone, Copy)]
pub(crate) enum Nothing {
    Empty,
    IoThreadDied,
}

impl ReceiveHalf {
    pub(crate) fn new(
        context: Arc<context::Inner>,
        link: Arc<SocketLink>,
        inbox: Arc<Inbox<ToSocket>>,
    ) -> ReceiveHalf {
        ReceiveHalf {
            context,
            link,
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

    /// Takes the next message, one from each peer in turn.
    #[inline]
    pub(crate) fn try_recv(&mut self) -> Result<Message, Nothing> {
        if self.inbox.is_filled() {
            self.collect();
        }
        while let Some(key) = self.queue.current() {
            if let Some(message) = self.pipes[key].take() {
                self.queue.advance();
                return Ok(message);
            }
            self.settle(key);
        }
        Err(if self.died {
            Nothing::IoThreadDied
        } else {
            Nothing::Empty
        })
    }

    /// Takes the next message, waiting for it until the deadline.
    #[inline]
    pub(crate) fn recv(&mut self, deadline: Option<Instant>) -> Result<Message, Nothing> {
        if let Some(message) = self.take_current() {
            return Ok(message);
        }
        self.recv_slowly(deadline)
    }

    fn recv_slowly(&mut self, deadline: Option<Instant>) -> Result<Message, Nothing> {
        loop {
            self.spin();
            match self.try_recv() {
                Err(Nothing::Empty) if park::wait(&self.inbox, &mut self.patience, deadline) => {}
                done => return done,
            }
        }
    }

    /// The quick way, for a peer that has a message while nothing else has happened.
    #[inline]
    fn take_current(&mut self) -> Option<Message> {
        if self.inbox.is_filled() {
            return None;
        }
        let message = self.pipes[self.queue.current()?].take();
        if message.is_some() {
            self.queue.advance();
        }
        message
    }

    /// Takes the next message, or wakes the task when there may be one.
    pub(crate) fn poll_recv(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<Message, Nothing>> {
        loop {
            match self.try_recv() {
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
            ReceivePipe::Inproc(pipe, redial) => Pipe::Inproc(pipe, redial),
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
        if let Pipe::Inproc(pipe, Some(name)) = pipe {
            inproc::redial(&self.context, &self.link, &name, pipe.id());
        }
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
            Pipe::Inproc(pipe, _) => pipe.id(),
        }
    }

    #[inline]
    fn take(&mut self) -> Option<Message> {
        let message = match self {
            Pipe::Wire(pipe) => {
                let message = framing::receive(pipe.chain());
                if message.is_some() {
                    pipe.took_message();
                }
                message
            }
            Pipe::Inproc(pipe, _) => {
                let message = pipe.pop();
                if message.is_some() {
                    pipe.took_message();
                }
                message
            }
        };
        message
    }

    fn is_filled(&mut self) -> bool {
        match self {
            Pipe::Wire(pipe) => pipe.chain().refill(),
            Pipe::Inproc(pipe, _) => pipe.chain().refill(),
        }
    }

    fn settle(&mut self) -> Settled {
        match self {
            Pipe::Wire(pipe) => pipe.settle(),
            Pipe::Inproc(pipe, _) => pipe.settle(),
        }
    }

    /// Asks the other side to send nothing more; what it has sent stays readable.
    fn detach(&mut self) {
        if let Pipe::Inproc(pipe, redial) = self {
            *redial = None;
            pipe.leave();
        }
    }
}

/// About a microsecond; see [`park`].
const SPINS: u32 = 30;
