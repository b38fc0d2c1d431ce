//! Sending to whichever peer is next: PUSH, DEALER, REQ, PAIR.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use super::level::Level;
use super::methods::Outgoing;
use super::send_half::{Refusal, SendHalf};
#[cfg(feature = "futures")]
use super::streams::Drain;
#[cfg(feature = "futures")]
use crate::error::SendError;
use crate::message::Message;
use crate::pipe::PipeId;
use crate::routing::load_balancer::LoadBalancer;

impl SendHalf<LoadBalancer> {
    /// Gives the message to the next peer that has room, and says which that was; or gives it back. Calls `before` with the
    /// pipe before it is tried.
    #[inline]
    pub(crate) fn deal(
        &mut self,
        mut message: Message,
        mut before: impl FnMut(PipeId),
    ) -> Result<usize, (Message, Refusal)> {
        self.catch_up();
        let bytes = message.total_bytes();
        if self.exceeds_limits(bytes, message.part_count()) {
            return Err((message, Refusal::TooLarge));
        }
        while let Some(key) = self.route.current() {
            before(self.pipe_of(key));
            message = match self.give_counted(key, message, bytes) {
                Ok(()) => {
                    self.route.advance();
                    return Ok(key);
                }
                Err(message) => message,
            };
            self.route.set_full(key);
        }
        let refusal = if let Some(over) = self.over() {
            Refusal::Over(over)
        } else if self.route.is_empty() {
            Refusal::NoPeer
        } else {
            Refusal::Full
        };
        Err((message, refusal))
    }

    pub(crate) fn find_room(&mut self) -> bool {
        while let Some(key) = self.route.current() {
            if self.has_room(key) {
                return true;
            }
            self.route.set_full(key);
        }
        false
    }
}

impl SendHalf<LoadBalancer> {
    /// As [`level`](Self::level), of a socket that can send whenever a peer has room.
    pub(crate) fn room_level(&mut self) -> Arc<Level> {
        let level = self.level();
        self.measure();
        level
    }

    #[cold]
    fn send_and_measure(&mut self, message: Message) -> Result<(), (Message, Refusal)> {
        let sent = self.deal(message, |_| ()).map(drop);
        self.measure();
        sent
    }

    #[cold]
    fn measure(&mut self) {
        self.catch_up();
        let can_send = self.over().is_some() || self.find_room();
        self.set_level(can_send);
    }
}

#[cfg(feature = "futures")]
impl Drain<Message> for SendHalf<LoadBalancer> {
    type Error = SendError;

    fn offer(&mut self, message: Message) -> Result<Option<Message>, SendError> {
        match Outgoing::try_send(self, message) {
            Ok(()) => Ok(None),
            // There was room when the sink was ready; the peer that had it is gone.
            Err((message, Refusal::Full | Refusal::NoPeer)) => Ok(Some(message)),
            Err(refused) => Err(refused.into()),
        }
    }

    fn poll_room(&mut self, task: &TaskContext<'_>) -> Poll<()> {
        Outgoing::poll_ready(self, task)
    }

    fn sleep(&self, task: &TaskContext<'_>) -> bool {
        SendHalf::sleep(self, task)
    }

    fn unsent(&mut self) -> &mut Option<Message> {
        &mut self.unsent
    }

    fn refusal(message: Message) -> SendError {
        SendError::Full(message)
    }
}

impl Outgoing for SendHalf<LoadBalancer> {
    #[inline]
    fn try_send(&mut self, message: Message) -> Result<(), (Message, Refusal)> {
        // A way of its own for sockets that are observed: a result that is held while something else is done is moved once
        // more, which takes as long as to find out who is next.
        if self.has_level() {
            return self.send_and_measure(message);
        }
        self.deal(message, |_| ()).map(drop)
    }

    fn send(&mut self, mut message: Message, deadline: Option<Instant>) -> Result<(), (Message, Refusal)> {
        loop {
            match self.try_send(message) {
                Err((back, refusal @ (Refusal::Full | Refusal::NoPeer))) => {
                    if !self.wait(deadline) {
                        return Err((back, refusal));
                    }
                    message = back;
                }
                done => return done,
            }
        }
    }

    fn poll_ready(&mut self, task: &TaskContext<'_>) -> Poll<()> {
        loop {
            self.catch_up();
            if self.over().is_some() || self.find_room() {
                return Poll::Ready(());
            }
            if self.sleep(task) {
                return Poll::Pending;
            }
        }
    }
}
