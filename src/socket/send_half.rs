//! The half of a socket that sends: its pipes, and which of them is next.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use slab::Slab;

use super::{framing, park};
use crate::context;
use crate::mailbox::{SendPipe, SocketLink, ToSocket};
use crate::message::Message;
use crate::pipe::PipeId;
use crate::pipe::inbound::Writer;
use crate::pipe::inbox::Inbox;
use crate::pipe::outbound::Sender;
use crate::pipe::recycle::Spares;
use crate::routing::load_balancer::LoadBalancer;

pub(crate) struct SendHalf {
    /// Keeps the I/O threads alive.
    _context: Arc<context::Inner>,
    link: Arc<SocketLink>,
    inbox: Arc<Inbox<ToSocket>>,
    pipes: Slab<Pipe>,
    keys: HashMap<PipeId, usize>,
    balancer: LoadBalancer,
    byte_spares: Spares<u8>,
    message_spares: Spares<Message>,
    /// The I/O thread failed.
    died: bool,
    /// Messages that were accepted for peers which are gone for good, and never handed over.
    lost: u64,
    patience: park::Patience,
    items: Vec<ToSocket>,
    ready: Vec<PipeId>,
}

enum Pipe {
    Wire(Sender),
    Inproc(Writer<Message>),
}

/// Why a message was not accepted.
pub(crate) enum Refusal {
    Full,
    NoPeer,
    TooLarge,
    IoThreadDied,
}

impl SendHalf {
    pub(crate) fn new(
        context: Arc<context::Inner>,
        link: Arc<SocketLink>,
        inbox: Arc<Inbox<ToSocket>>,
    ) -> SendHalf {
        SendHalf {
            inbox,
            pipes: Slab::new(),
            keys: HashMap::new(),
            balancer: LoadBalancer::default(),
            byte_spares: Spares::new(link.byte_pool.clone()),
            message_spares: Spares::new(link.message_pool.clone()),
            died: false,
            lost: 0,
            patience: park::Patience::default(),
            items: Vec::new(),
            ready: Vec::new(),
            _context: context,
            link,
        }
    }

    /// Gives the message to the next peer that has room, or gives it back.
    #[inline]
    pub(crate) fn try_send(&mut self, message: Message) -> Result<(), (Message, Refusal)> {
        if self.inbox.is_filled() {
            self.collect();
        }
        if self.is_too_large(&message) {
            return Err((message, Refusal::TooLarge));
        }
        if self.balancer.current().is_none() {
            self.look_for_room();
        }
        while let Some(key) = self.balancer.current() {
            let sent = match &mut self.pipes[key] {
                Pipe::Wire(pipe) => {
                    if pipe.has_room() || pipe.wait_for_room() {
                        framing::send(pipe, &message, &mut self.byte_spares);
                        true
                    } else {
                        false
                    }
                }
                Pipe::Inproc(pipe) => {
                    if pipe.has_room() || pipe.wait_for_room() {
                        pipe.push(message, &mut self.message_spares);
                        self.balancer.advance();
                        return Ok(());
                    }
                    false
                }
            };
            if sent {
                self.balancer.advance();
                return Ok(());
            }
            self.balancer.set_full(key);
        }
        let refusal = if self.died {
            Refusal::IoThreadDied
        } else if self.balancer.is_empty() {
            Refusal::NoPeer
        } else {
            Refusal::Full
        };
        Err((message, refusal))
    }

    /// Gives the message to the next peer that has room, waiting for one until the deadline.
    pub(crate) fn send(
        &mut self,
        mut message: Message,
        deadline: Option<Instant>,
    ) -> Result<(), (Message, Refusal)> {
        loop {
            match self.try_send(message) {
                Err((back, refusal @ (Refusal::Full | Refusal::NoPeer))) => {
                    if !park::wait(&self.inbox, &mut self.patience, deadline) {
                        return Err((back, refusal));
                    }
                    message = back;
                }
                done => return done,
            }
        }
    }

    /// Whether a send would be accepted, or fail for good; if not, the task is woken when that may have changed.
    pub(crate) fn poll_ready(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            if self.inbox.is_filled() {
                self.collect();
            }
            if self.died || self.has_room() {
                return Poll::Ready(());
            }
            if self.inbox.sleep(task.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// Looks at inproc peers that were full: they tell of room when half of their queue is free, but a send that would be
    /// refused takes any.
    #[cold]
    fn look_for_room(&mut self) {
        for (key, pipe) in &mut self.pipes {
            if matches!(pipe, Pipe::Inproc(_)) && !pipe.is_gone() && pipe.has_room() {
                self.balancer.set(key, pipe.is_connected(), false);
            }
        }
    }

    fn has_room(&mut self) -> bool {
        while let Some(key) = self.balancer.current() {
            if self.pipes[key].has_room() {
                return true;
            }
            self.balancer.set_full(key);
        }
        false
    }

    #[inline]
    fn is_too_large(&self, message: &Message) -> bool {
        let options = &self.link.options;
        message.total_bytes() as u64 > options.max_message_bytes
            || message.part_count() as u64 > u64::from(options.max_message_parts)
    }

    /// Takes the inbox: new peers, peers with room again, peers that are gone.
    pub(crate) fn collect(&mut self) {
        let (mut items, mut ready) = (std::mem::take(&mut self.items), std::mem::take(&mut self.ready));
        self.inbox.take(&mut items, &mut ready);
        for item in items.drain(..) {
            match item {
                ToSocket::Send(pipe) => self.attach(pipe),
                ToSocket::Detach(id) => {
                    if let Some(key) = self.keys.get(&id).copied() {
                        drop(self.remove(key));
                    }
                }
                ToSocket::IoThreadDied => self.give_up_connections(),
                ToSocket::Receive(_) => debug_assert!(false, "receive pipes go to the receive half"),
            }
        }
        for id in ready.drain(..) {
            if let Some(key) = self.keys.get(&id).copied() {
                self.refresh(key);
            }
        }
        (self.items, self.ready) = (items, ready);
    }

    /// Nobody writes to connections any more; inproc peers stay.
    fn give_up_connections(&mut self) {
        self.died = true;
        let wires: Vec<usize> = self
            .pipes
            .iter()
            .filter(|(_, pipe)| matches!(pipe, Pipe::Wire(_)))
            .map(|(key, _)| key)
            .collect();
        for key in wires {
            let unfinished = self.pipes[key].unfinished();
            if !self.pipes[key].is_gone() {
                self.lost += unfinished;
            }
            drop(self.remove(key));
        }
    }

    fn attach(&mut self, pipe: SendPipe) {
        let pipe = match pipe {
            SendPipe::Wire(pipe) => Pipe::Wire(pipe),
            SendPipe::Inproc(pipe) => Pipe::Inproc(pipe),
        };
        let id = pipe.id();
        let key = self.pipes.insert(pipe);
        self.keys.insert(id, key);
        self.refresh(key);
    }

    /// Brings what is known of a pipe up to date.
    fn refresh(&mut self, key: usize) {
        let pipe = &mut self.pipes[key];
        if !pipe.is_gone() {
            let (connected, full) = (pipe.is_connected(), !pipe.has_room());
            self.balancer.set(key, connected, full);
            return;
        }
        drop(self.remove(key));
    }

    fn remove(&mut self, key: usize) -> Pipe {
        let pipe = self.pipes.remove(key);
        self.keys.remove(&pipe.id());
        self.balancer.remove(key);
        if pipe.is_gone() {
            self.lost += pipe.unfinished();
        }
        pipe
    }

    /// See the field.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }
}

impl Drop for SendHalf {
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

    /// Whether there is room; if not, the inbox will hear when there is.
    fn has_room(&mut self) -> bool {
        match self {
            Pipe::Wire(pipe) => pipe.has_room() || pipe.wait_for_room(),
            Pipe::Inproc(pipe) => pipe.has_room() || pipe.wait_for_room(),
        }
    }

    fn is_connected(&self) -> bool {
        match self {
            Pipe::Wire(pipe) => pipe.is_connected(),
            Pipe::Inproc(pipe) => pipe.is_attached(),
        }
    }

    fn is_gone(&self) -> bool {
        match self {
            Pipe::Wire(pipe) => pipe.is_ended(),
            Pipe::Inproc(pipe) => pipe.is_abandoned(),
        }
    }

    fn unfinished(&self) -> u64 {
        let (accepted, done) = match self {
            Pipe::Wire(pipe) => pipe.counts(),
            Pipe::Inproc(pipe) => pipe.counts(),
        };
        accepted - done
    }
}
