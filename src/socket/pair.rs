//! PAIR: two sockets that have only each other (ZeroMQ RFC 31).

use super::builder::{Deals, Receives, Sends};
use super::methods::scope::*;
use super::split::{Kept, split};
use crate::routing::load_balancer::LoadBalancer;

/// Talks to exactly one other [`PairSocket`], in both directions.
///
/// The first peer has the place, by connecting or by being connected to. Others are refused, which a
/// [`Monitor`] tells on both sides, and tried again later: when the first peer is gone, the place is free. A socket that
/// connects has its peer already, so it cannot connect twice.
///
/// Messages to a peer that is still being connected to wait, and survive a reconnect, as with a
/// [`PushSocket`](crate::PushSocket).
///
/// # Examples
/// ```
/// use zerowire::{Context, PairSocket};
///
/// let context = Context::new();
/// let mut parent = PairSocket::new(&context);
/// let endpoint = parent.bind("tcp://127.0.0.1:0")?;
/// let mut child = PairSocket::new(&context);
/// child.connect(endpoint)?;
/// child.send("ready?")?;
/// assert_eq!(parent.recv()?.as_bytes(), b"ready?");
/// parent.send("go")?;
/// assert_eq!(child.recv()?.as_bytes(), b"go");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PairSocket {
    core: SocketCore,
    send: SendHalf<LoadBalancer>,
    receive: ReceiveHalf,
}

socket_methods!(PairSocket, core: core);
send_methods!(PairSocket, send);
room_ready!(PairSocket, |socket| socket.send);
receive_methods!(PairSocket, receive);
receive_many_method!(PairSocket, receive);
receive_ready!(PairSocket, |socket| socket.receive.level());
stream!(
    /// The peer's messages as they come.
    ///
    /// # Examples
    /// ```
    /// use futures_util::{SinkExt, StreamExt};
    /// use zerowire::{Context, PairSocket};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let context = Context::new();
    /// let mut left = PairSocket::new(&context);
    /// left.bind("inproc://flow")?;
    /// let mut right = PairSocket::new(&context);
    /// right.connect("inproc://flow")?;
    ///
    /// let (mut to_right, mut from_right) = left.split();
    /// right.send("question")?;
    /// assert_eq!(from_right.next().await.expect("not over")?.as_bytes(), b"question");
    /// to_right.send("answer".into()).await?;
    /// assert_eq!(right.recv()?.as_bytes(), b"answer");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    PairSocket -> Message, receive, take
);
sink!(
    /// Messages for the peer. The sink is ready when that has room.
    PairSocket <- Message, SendError, send
);
impl Sends for PairSocket {}
impl Deals for PairSocket {}
impl Receives for PairSocket {}

impl sealed::Sealed for PairSocket {
    fn with_options(context: &Context, options: Options) -> PairSocket {
        let balancer = LoadBalancer::new(options.queue_unconnected);
        let core = SocketCore::new(&context.inner, SocketType::Pair, options);
        let send = core.send_half(balancer).expect("a PAIR socket sends");
        let receive = core.receive_half().expect("a PAIR socket receives");
        PairSocket { core, send, receive }
    }
}

impl PairSocket {
    fn halves(&self) -> (Option<&dyn Counted>, Option<&ReceiveHalf>) {
        (Some(&self.send), Some(&self.receive))
    }

    fn tidy(&mut self) {
        self.send.catch_up();
    }

    fn catch_up(&mut self) {
        self.send.catch_up();
        self.receive.collect();
    }

    /// Messages that were accepted and never handed over, because their peer is gone for good. Since the socket was made.
    ///
    /// Counted when the socket notices, which is in one of its calls.
    pub fn lost(&self) -> u64 {
        self.send.lost()
    }

    /// Takes the socket apart, for one thread or task that sends and another that receives. Bind and connect before.
    ///
    /// The socket closes when both parts are dropped.
    ///
    /// # Examples
    /// ```
    /// use zerowire::{Context, PairSocket};
    ///
    /// let context = Context::new();
    /// let mut left = PairSocket::new(&context);
    /// left.bind("inproc://split")?;
    /// let mut right = PairSocket::new(&context);
    /// right.connect("inproc://split")?;
    /// let (mut sender, mut receiver) = left.into_split();
    /// let echo = std::thread::spawn(move || {
    ///     let message = receiver.recv().expect("the context lives");
    ///     sender.send(message).expect("the context lives");
    /// });
    /// right.send("there and back")?;
    /// assert_eq!(right.recv()?.as_bytes(), b"there and back");
    /// # echo.join().expect("no panic");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_split(self) -> (PairSender, PairReceiver) {
        let (send, receive) = split(self.core, self.send, self.receive);
        (PairSender { half: send }, PairReceiver { half: receive })
    }
}

/// The sending part of a [`PairSocket`] that was [taken apart](PairSocket::into_split).
pub struct PairSender {
    half: Kept<SendHalf<LoadBalancer>>,
}

send_methods!(PairSender, half);
room_ready!(PairSender, |sender| sender.half);
sink!(
    /// As for the whole [`PairSocket`].
    PairSender <- Message, SendError, half
);

/// The receiving part of a [`PairSocket`] that was [taken apart](PairSocket::into_split).
pub struct PairReceiver {
    half: Kept<ReceiveHalf>,
}

receive_methods!(PairReceiver, half);
receive_many_method!(PairReceiver, half);
receive_ready!(PairReceiver, |receiver| receiver.half.level());
stream!(
    /// As for the whole [`PairSocket`].
    PairReceiver -> Message, half, take
);

impl PairReceiver {
    /// The part that sends is elsewhere.
    fn tidy(&mut self) {}
}

super::split::part_stats!(PairSender -> Sent);
super::split::part_stats!(PairReceiver -> Received);
super::split::debug_part!(PairSender);
super::split::debug_part!(PairReceiver);
