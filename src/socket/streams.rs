//! Sockets as streams and sinks (feature `futures`), for programs that are put together from such.
//!
//! A stream ends as a call would fail: the error comes once, then nothing. A sink hands its messages over as a call does; to
//! be flushed means that nothing is left to hand over, not that anything was delivered.
//!
//! A sink has to say that it is ready before it knows the message, and must take one then. For whoever deals messages out,
//! ready means that a peer has room; but that may leave before the message comes. Which peers a publisher or a router has to
//! wait for only the message tells. So each send half has a place for one message that could not be sent at once. It is no
//! accepted message yet, as none is that a call waits with.
//!
//! REQ and REP are neither stream nor sink: out of turn they cannot wait, they fail, and again with each poll.

#[cfg(feature = "futures")]
pub(crate) use flow::{Drain, Ends, poll_next, poll_ready, poll_unsent, start_send};

/// Makes a socket a stream of what `$take` takes from its part `$half`, which implements [`Incoming`](super::methods::Incoming)
/// and [`Ends`]. The socket has a `tidy`, as for the methods that receive.
macro_rules! stream {
    ($(#[$doc:meta])* $socket:ident -> $item:ty, $($half:ident).*, $take:ident) => {
        $(#[$doc])*
        ///
        /// With the feature `futures`. It waits as the asynchronous calls do, and works beside all of them. When nothing can
        /// come any more, the stream yields the error, once, and then ends.
        #[cfg(feature = "futures")]
        impl futures_core::Stream for $socket {
            type Item = Result<$item, RecvError>;

            fn poll_next(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Self::Item>> {
                self.tidy();
                crate::socket::streams::poll_next(&mut (*self)$(.$half)*, task, |half| half.$take())
            }
        }

        #[cfg(feature = "futures")]
        impl futures_core::FusedStream for $socket {
            fn is_terminated(&self) -> bool {
                crate::socket::streams::Ends::has_ended(&(*self)$(.$half)*)
            }
        }
    };
}
pub(crate) use stream;

/// Makes a socket a sink for what its part `$half`, which implements [`Drain`], gives away.
macro_rules! sink {
    ($(#[$doc:meta])* $socket:ident <- $item:ty, $error:ident, $($half:ident).*) => {
        $(#[$doc])*
        ///
        /// With the feature `futures`. Flushing and closing wait for a message that the sink still holds, and for nothing else:
        /// what was handed over is written in the background, and dropping the socket closes it. An error gives the message
        /// back that it is about; the sink can be used as before, with other messages.
        ///
        /// The calls that send work beside it, but overtake a message that the sink still holds.
        #[cfg(feature = "futures")]
        impl futures_sink::Sink<$item> for $socket {
            type Error = $error;

            fn poll_ready(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), $error>> {
                crate::socket::streams::poll_ready(&mut (*self)$(.$half)*, task)
            }

            fn start_send(mut self: std::pin::Pin<&mut Self>, item: $item) -> Result<(), $error> {
                crate::socket::streams::start_send(&mut (*self)$(.$half)*, item)
            }

            fn poll_flush(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), $error>> {
                crate::socket::streams::poll_unsent(&mut (*self)$(.$half)*, task)
            }

            fn poll_close(
                mut self: std::pin::Pin<&mut Self>,
                task: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), $error>> {
                crate::socket::streams::poll_unsent(&mut (*self)$(.$half)*, task)
            }
        }
    };
}
pub(crate) use sink;

#[cfg(feature = "futures")]
mod flow {
    use std::any::Any;
    use std::task::{Context as TaskContext, Poll, ready};

    use crate::error::RecvError;
    use crate::socket::methods::Incoming;
    use crate::socket::receive_half::ReceiveHalf;
    use crate::socket::send_half::{Route, SendHalf};
    use crate::socket::split::Kept;

    /// What remembers that its stream has ended.
    pub(crate) trait Ends {
        fn has_ended(&self) -> bool;

        fn end(&mut self);
    }

    impl Ends for ReceiveHalf {
        fn has_ended(&self) -> bool {
            self.has_ended
        }

        fn end(&mut self) {
            self.has_ended = true;
        }
    }

    impl Ends for Kept<ReceiveHalf> {
        fn has_ended(&self) -> bool {
            (**self).has_ended()
        }

        fn end(&mut self) {
            (**self).end();
        }
    }

    pub(crate) fn poll_next<S: Incoming + Ends, T>(
        half: &mut S,
        task: &TaskContext<'_>,
        take: impl FnOnce(&mut S) -> T,
    ) -> Poll<Option<Result<T, RecvError>>> {
        if half.has_ended() {
            return Poll::Ready(None);
        }
        if !half.is_ready() {
            if let Err(nothing) = ready!(half.poll_look(task)) {
                half.end();
                return Poll::Ready(Some(Err(nothing.into())));
            }
        }
        Poll::Ready(Some(Ok(take(half))))
    }

    /// What items are given away through, with a place for one that has to wait.
    pub(crate) trait Drain<T> {
        type Error;

        /// Gives the item away, or returns it if it has to wait; the inbox will hear when it is worth another try.
        fn offer(&mut self, item: T) -> Result<Option<T>, Self::Error>;

        /// Ready if the next item need not wait, as far as can be told before it is there.
        fn poll_room(&mut self, _task: &TaskContext<'_>) -> Poll<()> {
            Poll::Ready(())
        }

        /// Has the task woken at the next news. False if there is news already.
        fn sleep(&self, task: &TaskContext<'_>) -> bool;

        /// The item that has to wait.
        fn unsent(&mut self) -> &mut Option<T>;

        /// What is said of an item that comes although the sink is not ready.
        fn refusal(item: T) -> Self::Error;
    }

    impl<T, R: Route + Any + Send> Drain<T> for Kept<SendHalf<R>>
    where
        SendHalf<R>: Drain<T>,
    {
        type Error = <SendHalf<R> as Drain<T>>::Error;

        fn offer(&mut self, item: T) -> Result<Option<T>, Self::Error> {
            (**self).offer(item)
        }

        fn poll_room(&mut self, task: &TaskContext<'_>) -> Poll<()> {
            (**self).poll_room(task)
        }

        fn sleep(&self, task: &TaskContext<'_>) -> bool {
            Drain::sleep(&**self, task)
        }

        fn unsent(&mut self) -> &mut Option<T> {
            (**self).unsent()
        }

        fn refusal(item: T) -> Self::Error {
            SendHalf::<R>::refusal(item)
        }
    }

    pub(crate) fn poll_ready<T, D: Drain<T>>(
        drain: &mut D,
        task: &TaskContext<'_>,
    ) -> Poll<Result<(), D::Error>> {
        ready!(poll_unsent(drain, task))?;
        drain.poll_room(task).map(Ok)
    }

    pub(crate) fn start_send<T, D: Drain<T>>(drain: &mut D, item: T) -> Result<(), D::Error> {
        if drain.unsent().is_some() {
            return Err(D::refusal(item));
        }
        let back = drain.offer(item)?;
        *drain.unsent() = back;
        Ok(())
    }

    /// Gives away the item that had to wait, if there is one.
    pub(crate) fn poll_unsent<T, D: Drain<T>>(
        drain: &mut D,
        task: &TaskContext<'_>,
    ) -> Poll<Result<(), D::Error>> {
        while let Some(item) = drain.unsent().take() {
            let back = drain.offer(item)?;
            let waits = back.is_some();
            *drain.unsent() = back;
            if waits && drain.sleep(task) {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}
