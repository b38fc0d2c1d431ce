//! PUSH and PULL: dealing out work and collecting it (ZeroMQ RFC 30).

use super::builder::{Conflates, Deals, Receives, Sends};
use super::methods::scope::*;
use crate::framing::Run;
use crate::routing::load_balancer::LoadBalancer;

/// Deals out messages: each goes to one of the connected [`PullSocket`]s, in turn.
///
/// A peer at its high-water mark is passed over; when all are, a send waits. Messages for a peer that is still being
/// connected to wait in its queue, but only while no peer is connected: a message is better off with a worker that is
/// there. A connection that breaks takes nothing with it that the kernel had not accepted: the unsent messages are sent on
/// the next connection to the same endpoint, a half-sent one whole. What the kernel had accepted when a peer died is lost.
///
/// Dropping the socket returns at once; what it accepted is still written (see [`Builder::linger`]).
///
/// # Examples
/// ```
/// use zerowire::{Context, PullSocket, PushSocket};
///
/// let context = Context::new();
/// let mut ventilator = PushSocket::new(&context);
/// ventilator.bind("inproc://tasks")?;
/// let mut worker = PullSocket::new(&context);
/// worker.connect("inproc://tasks")?;
/// ventilator.send("task 1")?;
/// ventilator.send(["task 2", "with a second part"])?;
/// assert_eq!(worker.recv()?.as_bytes(), b"task 1");
/// assert_eq!(worker.recv()?.part_count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PushSocket {
    core: SocketCore,
    pub(super) half: SendHalf<LoadBalancer>,
}

socket_methods!(PushSocket, core: core);
send_methods!(PushSocket, half);
room_ready!(PushSocket, |socket| socket.half);
sink!(
    /// Messages go to whichever peer is next. The sink is ready when a peer has room.
    ///
    /// # Examples
    /// ```
    /// use futures_util::{StreamExt, stream};
    /// use zerowire::{Context, Message, PullSocket, PushSocket};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let context = Context::new();
    /// let mut sink = PullSocket::new(&context);
    /// sink.bind("inproc://numbers")?;
    /// let mut push = PushSocket::new(&context);
    /// push.connect("inproc://numbers")?;
    ///
    /// stream::iter(1..=3).map(|number: u32| Ok(Message::from(number.to_string()))).forward(push).await?;
    /// let texts = sink.take(3).map(|message| message.map(|message| message.to_str().map(str::to_owned)));
    /// let texts: Vec<_> = texts.collect().await;
    /// assert_eq!(texts.len(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    PushSocket <- Message, SendError, half
);
impl Sends for PushSocket {}
impl Conflates for PushSocket {}
impl Deals for PushSocket {}

impl sealed::Sealed for PushSocket {
    fn with_options(context: &Context, options: Options) -> PushSocket {
        let balancer = LoadBalancer::new(options.queue_unconnected);
        let core = SocketCore::new(&context.inner, SocketType::Push, options);
        let half = core.send_half(balancer).expect("a PUSH socket sends");
        PushSocket { core, half }
    }
}

impl PushSocket {
    fn halves(&self) -> (Option<&dyn Counted>, Option<&ReceiveHalf>) {
        (Some(&self.half), None)
    }

    fn catch_up(&mut self) {
        self.half.catch_up();
    }

    pub(super) fn into_parts(self) -> (SocketCore, SendHalf<LoadBalancer>) {
        (self.core, self.half)
    }

    /// Messages that were accepted and never handed over, because their peer is gone for good. Since the socket was made.
    ///
    /// Counted when the socket notices, which is in one of its calls.
    pub fn lost(&self) -> u64 {
        self.half.lost()
    }
}

/// Collects messages from all connected [`PushSocket`]s, fairly: one from each that has any, in turn.
///
/// A peer whose messages are not taken is no longer read at the high-water mark, and has to wait. What a peer handed over
/// before it closed can still be received afterwards.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, PullSocket, PushSocket, RecvTimeoutError};
///
/// let context = Context::new();
/// let mut sink = PullSocket::new(&context);
/// let endpoint = sink.bind("ipc://*")?;
/// let mut worker = PushSocket::new(&context);
/// worker.connect(endpoint)?;
/// worker.send("result")?;
/// assert_eq!(sink.recv_timeout(Duration::from_secs(5))?.as_bytes(), b"result");
/// assert_eq!(sink.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PullSocket {
    core: SocketCore,
    pub(super) half: ReceiveHalf,
}

socket_methods!(PullSocket, core: core);
receive_methods!(PullSocket, half);
receive_many_method!(PullSocket, half);
receive_ready!(PullSocket, |socket| socket.half.level());
stream!(
    /// Messages as they come, fairly from all peers.
    ///
    /// # Examples
    /// ```
    /// use futures_util::StreamExt;
    /// use zerowire::{Context, PullSocket, PushSocket, RecvError};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let context = Context::new();
    /// let mut pull = PullSocket::new(&context);
    /// pull.bind("inproc://results")?;
    /// let mut push = PushSocket::new(&context);
    /// push.connect("inproc://results")?;
    /// push.send("a result")?;
    ///
    /// assert_eq!(pull.next().await.expect("not over")?.as_bytes(), b"a result");
    /// context.shutdown(std::time::Duration::from_secs(5));
    /// assert_eq!(pull.next().await, Some(Err(RecvError::Closed)));
    /// assert_eq!(pull.next().await, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    PullSocket -> Message, half, take
);
impl Receives for PullSocket {}
impl Conflates for PullSocket {}

impl sealed::Sealed for PullSocket {
    fn with_options(context: &Context, options: Options) -> PullSocket {
        let core = SocketCore::new(&context.inner, SocketType::Pull, options);
        let half = core.receive_half().expect("a PULL socket receives");
        PullSocket { core, half }
    }
}

impl PullSocket {
    fn halves(&self) -> (Option<&dyn Counted>, Option<&ReceiveHalf>) {
        (None, Some(&self.half))
    }

    /// Passes on some of the messages that are there, up to so many, as the frames they came in; the turns of peers are as if
    /// each were taken and sent. Passes on none if the next one has to be taken and sent.
    pub(crate) fn forward(&mut self, to: &mut PushSocket, messages_max: u32) -> Run {
        let (ours, theirs) = (&self.core.link().options, &to.core.link().options);
        // What has come is within our limits.
        let is_within = ours.max_message_bytes <= theirs.max_message_bytes
            && ours.max_message_parts <= theirs.max_message_parts;
        if !is_within || !self.half.is_ready() {
            return Run::default();
        }
        let run = self.half.forward(&mut to.half, messages_max);
        run.unwrap_or_default()
    }

    fn tidy(&mut self) {}

    fn catch_up(&mut self) {
        self.half.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::{Over, ToSocket};
    use crate::selector::Selector;

    #[test]
    fn who_waits_for_a_socket_hears_of_the_death_of_its_io_thread() {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let mut push = PushSocket::new(&context);
        let mut selector = Selector::new();
        selector.receive("pull", &mut pull).unwrap();
        selector.send("push", &mut push).unwrap();
        assert_eq!(selector.try_wait().unwrap(), []);
        // What the thread's end does.
        for inbox in [&pull.core.link().receive, &push.core.link().send] {
            inbox
                .as_ref()
                .expect("it has one")
                .post(ToSocket::Over(Over::IoThreadDied));
        }
        for _ in 0..2 {
            assert_eq!(selector.wait().unwrap().len(), 2);
            assert_eq!(pull.try_recv(), Err(TryRecvError::IoThreadDied));
            assert!(matches!(push.try_send("x"), Err(TrySendError::IoThreadDied(_))));
        }
    }
}
