//! Sockets taken apart: a sender and a receiver for two threads or tasks.

use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use super::core::SocketCore;
use super::methods::{Incoming, Outgoing};
use super::receive_half::{Nothing, ReceiveHalf};
use super::send_half::{Refusal, Route, SendHalf};
use crate::message::Message;
use crate::pipe::sync::HomeMutex;

/// A half of a socket that was taken apart.
pub(crate) struct Kept<T: Part + Any + Send> {
    /// Present until it is dropped.
    half: Option<T>,
    whole: Arc<Whole>,
}

/// A half of a socket that may be dropped before the other one.
pub(crate) trait Part {
    /// Nobody uses it any more, although it is kept.
    fn retire(&mut self);
}

/// What is left when the halves are taken out. Its drop closes the socket.
struct Whole {
    _core: SocketCore,
    /// Halves that are not used any more. Their pipes have to stay: the other side would take their end for the end of the
    /// connection, which the other half still uses.
    left: HomeMutex<Vec<Box<dyn Any + Send>>>,
}

pub(crate) fn split<R>(
    core: SocketCore,
    send: SendHalf<R>,
    receive: ReceiveHalf,
) -> (Kept<SendHalf<R>>, Kept<ReceiveHalf>)
where
    R: Route + Any + Send,
{
    let whole = Arc::new(Whole {
        _core: core,
        left: HomeMutex::default(),
    });
    let send = Kept {
        half: Some(send),
        whole: whole.clone(),
    };
    let receive = Kept {
        half: Some(receive),
        whole,
    };
    (send, receive)
}

impl<T: Part + Any + Send> Deref for Kept<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.half.as_ref().expect("taken out by drop only")
    }
}

impl<T: Part + Any + Send> DerefMut for Kept<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.half.as_mut().expect("taken out by drop only")
    }
}

impl<T: Part + Any + Send> Drop for Kept<T> {
    fn drop(&mut self) {
        if let Some(mut half) = self.half.take() {
            half.retire();
            let mut left = self.whole.left.lock();
            left.push(Box::new(half));
        }
    }
}

impl<R: Route + Any + Send> Outgoing for Kept<SendHalf<R>>
where
    SendHalf<R>: Outgoing,
{
    #[inline]
    fn try_send(&mut self, message: Message) -> Result<(), (Message, Refusal)> {
        (**self).try_send(message)
    }

    fn send(&mut self, message: Message, deadline: Option<Instant>) -> Result<(), (Message, Refusal)> {
        (**self).send(message, deadline)
    }

    fn poll_ready(&mut self, task: &TaskContext<'_>) -> Poll<()> {
        (**self).poll_ready(task)
    }
}

impl Incoming for Kept<ReceiveHalf> {
    fn receive_half(&mut self) -> &mut ReceiveHalf {
        self
    }

    #[inline]
    fn is_ready(&mut self) -> bool {
        (**self).is_ready()
    }

    #[inline]
    fn has_some_left(&mut self) -> bool {
        (**self).has_some_left()
    }

    fn look(&mut self) -> Result<(), Nothing> {
        (**self).look()
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Result<(), Nothing> {
        (**self).wait(deadline)
    }

    #[inline]
    fn take(&mut self) -> Message {
        (**self).take()
    }
}

/// What a part's messages came to.
macro_rules! part_stats {
    ($part:ident -> $counts:ident) => {
        impl $part {
            /// What became of the messages so far, those before the socket was taken apart included. Never blocks.
            pub fn stats(&mut self) -> crate::stats::$counts {
                self.half.collect();
                self.half.stats()
            }
        }
    };
}
pub(crate) use part_stats;

/// Shows a part by its name.
macro_rules! debug_part {
    ($part:ident) => {
        impl std::fmt::Debug for $part {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($part)).finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use debug_part;
