//! DEALER and ROUTER: asking and answering without taking turns (ZeroMQ RFC 28).

#[cfg(feature = "futures")]
use std::task::Context as TaskContext;

use super::builder::{Conflates, Deals, Identified, Probes, Receives, Sends};
use super::methods::scope::*;
use super::send_half::Route;
use super::split::{Kept, debug_part, part_stats, split};
#[cfg(feature = "futures")]
use super::streams::Drain;
use crate::error::SendToError;
use crate::mailbox::Over;
use crate::peer_id::PeerId;
use crate::routing::directory::Directory;
use crate::routing::load_balancer::LoadBalancer;

/// Sends to its peers in turn and receives from all of them fairly, without taking turns in between.
///
/// It goes with [`RouterSocket`], [`RepSocket`](crate::RepSocket) and other dealers. Messages are sent and received as they
/// are: to talk to a `RepSocket`, put an empty part in front, which ends the envelope; replies have it, too.
///
/// Messages wait for a peer as with a [`PushSocket`](crate::PushSocket).
///
/// # Examples
/// ```
/// use zerowire::{Context, DealerSocket, RepSocket};
///
/// let context = Context::new();
/// let mut rep = RepSocket::new(&context);
/// let endpoint = rep.bind("tcp://127.0.0.1:0")?;
/// let mut dealer = DealerSocket::new(&context);
/// dealer.connect(endpoint)?;
/// // Two requests are under way at once.
/// dealer.send(["", "first"])?;
/// dealer.send(["", "second"])?;
/// for _ in 0..2 {
///     let request = rep.next()?;
///     let reply = request.message().clone();
///     request.reply(reply)?;
/// }
/// assert_eq!(dealer.recv()?.part(1), Some(&b"first"[..]));
/// assert_eq!(dealer.recv()?.part(1), Some(&b"second"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DealerSocket {
    core: SocketCore,
    pub(super) send: SendHalf<LoadBalancer>,
    pub(super) receive: ReceiveHalf,
}

socket_methods!(DealerSocket, core: core);
send_methods!(DealerSocket, send);
room_ready!(DealerSocket, |socket| socket.send);
receive_methods!(DealerSocket, receive);
receive_many_method!(DealerSocket, receive);
receive_ready!(DealerSocket, |socket| socket.receive.level());
stream!(
    /// Messages as they come, fairly from all peers. For an example see [`RouterSocket`].
    DealerSocket -> Message, receive, take
);
sink!(
    /// Messages go to whichever peer is next. The sink is ready when a peer has room.
    DealerSocket <- Message, SendError, send
);
impl Sends for DealerSocket {}
impl Conflates for DealerSocket {}
impl Deals for DealerSocket {}
impl Receives for DealerSocket {}
impl Identified for DealerSocket {}
impl Probes for DealerSocket {}

impl sealed::Sealed for DealerSocket {
    fn with_options(context: &Context, options: Options) -> DealerSocket {
        let balancer = LoadBalancer::new(options.queue_unconnected);
        let core = SocketCore::new(&context.inner, SocketType::Dealer, options);
        let send = core.send_half(balancer).expect("a DEALER socket sends");
        let receive = core.receive_half().expect("a DEALER socket receives");
        DealerSocket { core, send, receive }
    }
}

impl DealerSocket {
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
    pub fn into_split(self) -> (DealerSender, DealerReceiver) {
        let (send, receive) = split(self.core, self.send, self.receive);
        (DealerSender { half: send }, DealerReceiver { half: receive })
    }
}

/// The sending part of a [`DealerSocket`] that was [taken apart](DealerSocket::into_split).
pub struct DealerSender {
    half: Kept<SendHalf<LoadBalancer>>,
}

send_methods!(DealerSender, half);
part_stats!(DealerSender -> Sent);
room_ready!(DealerSender, |sender| sender.half);
sink!(
    /// As for the whole [`DealerSocket`].
    DealerSender <- Message, SendError, half
);
debug_part!(DealerSender);

/// The receiving part of a [`DealerSocket`] that was [taken apart](DealerSocket::into_split).
pub struct DealerReceiver {
    half: Kept<ReceiveHalf>,
}

receive_methods!(DealerReceiver, half);
receive_many_method!(DealerReceiver, half);
receive_ready!(DealerReceiver, |receiver| receiver.half.level());
stream!(
    /// As for the whole [`DealerSocket`].
    DealerReceiver -> Message, half, take
);

impl DealerReceiver {
    /// The part that sends is elsewhere.
    fn tidy(&mut self) {}
}
part_stats!(DealerReceiver -> Received);
debug_part!(DealerReceiver);

/// Talks to each of its peers by name.
///
/// It goes with [`ReqSocket`](crate::ReqSocket), [`DealerSocket`] and other routers. A peer's name is the identity that the
/// peer chose ([`Builder::identity`]), or one that is made up for as long as it is connected. Two peers with one name are a
/// matter of [`Builder::on_duplicate`].
///
/// What is said to a peer that has gone is lost with its connection, also if it comes back: another name, another peer.
/// To a name that no connected peer has, nothing can be sent, unless [`Builder::drop_unroutable`] says so. Messages come
/// without an id part; a request of a `ReqSocket` begins with the empty part that ends its envelope, and so must the reply.
///
/// # Examples
/// ```
/// use zerowire::{Context, DealerSocket, PeerId, RouterSocket, SendToError};
///
/// let context = Context::new();
/// let mut router = RouterSocket::new(&context);
/// let endpoint = router.bind("tcp://127.0.0.1:0")?;
/// let mut dealer = DealerSocket::builder(&context).identity("worker-7").build()?;
/// dealer.connect(endpoint)?;
/// dealer.send("ready")?;
/// let (peer, message) = router.recv_from()?;
/// assert_eq!((peer.as_bytes(), message.as_bytes()), (&b"worker-7"[..], &b"ready"[..]));
/// router.send_to(&peer, "job")?;
/// assert_eq!(dealer.recv()?.as_bytes(), b"job");
/// let nobody = PeerId::new("worker-8")?;
/// assert!(matches!(router.send_to(&nobody, "job"), Err(SendToError::Unroutable { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RouterSocket {
    core: SocketCore,
    pub(super) send: SendHalf<Directory>,
    pub(super) receive: ReceiveHalf,
}

impl Route for Directory {
    type Item = (PeerId, Message);

    fn add(&mut self, key: usize, name: Option<PeerId>) {
        Directory::add(self, key, name);
    }

    fn remove(&mut self, key: usize) {
        Directory::remove(self, key);
    }
}

/// Sending to a certain peer, in all the ways to wait.
macro_rules! send_to_methods {
    ($socket:ident, $half:ident) => {
        impl $socket {
            /// Sends a message to a peer, waiting while that is at its high-water mark.
            ///
            /// # Errors
            /// [`SendToError`] tells why not, and gives the message back.
            pub fn send_to(&mut self, peer: &PeerId, message: impl Into<Message>) -> Result<(), SendToError> {
                self.$half.send_to(peer, message.into(), Until::Done)
            }

            /// Sends a message to a peer if it has room for it.
            ///
            /// # Errors
            /// [`SendToError`] tells why not, and gives the message back.
            pub fn try_send_to(
                &mut self,
                peer: &PeerId,
                message: impl Into<Message>,
            ) -> Result<(), SendToError> {
                self.$half.send_to(peer, message.into(), Until::Now)
            }

            /// Sends a message to a peer, waiting up to `timeout` for room.
            ///
            /// # Errors
            /// [`SendToError`] tells why not, and gives the message back.
            pub fn send_to_timeout(
                &mut self,
                peer: &PeerId,
                message: impl Into<Message>,
                timeout: Duration,
            ) -> Result<(), SendToError> {
                // A time beyond what the clock can tell is for ever.
                let until = Instant::now()
                    .checked_add(timeout)
                    .map_or(Until::Done, Until::Then);
                self.$half.send_to(peer, message.into(), until)
            }

            /// Sends a message to a peer, waiting without blocking the thread. Any executor will do.
            ///
            /// Cancel-safe in this sense: a future that is dropped before it is ready has sent nothing, and its message goes
            /// with it.
            ///
            /// # Errors
            /// As for [`send_to`](Self::send_to).
            pub async fn send_to_async(
                &mut self,
                peer: &PeerId,
                message: impl Into<Message>,
            ) -> Result<(), SendToError> {
                let mut message = message.into();
                loop {
                    message = match self.$half.send_to(peer, message, Until::Now) {
                        Err(SendToError::Full(message)) => message,
                        done => return done,
                    };
                    // Any news may be that of room, or of the peer's end.
                    let mut slept = false;
                    poll_fn(
                        |task| match !std::mem::replace(&mut slept, true) && self.$half.sleep(task) {
                            true => std::task::Poll::Pending,
                            false => std::task::Poll::Ready(()),
                        },
                    )
                    .await;
                }
            }

            /// The names of the connected peers, in no order.
            pub fn peers(&mut self) -> Vec<PeerId> {
                self.$half.catch_up();
                self.$half.route.names().cloned().collect()
            }
        }
    };
}

/// Receiving with the name of the sender, in all the ways to wait.
macro_rules! receive_from_methods {
    ($socket:ident, $half:ident) => {
        impl $socket {
            /// Receives a message and the name of who sent it, waiting for one.
            ///
            /// # Errors
            /// [`RecvError::IoThreadDied`] if nothing can come any more.
            pub fn recv_from(&mut self) -> Result<(PeerId, Message), RecvError> {
                self.tidy();
                self.$half.wait(None)?;
                Ok(self.$half.take_named())
            }

            /// Receives a message and the name of who sent it, if one is waiting.
            ///
            /// # Errors
            /// [`TryRecvError::Empty`] if none is.
            pub fn try_recv_from(&mut self) -> Result<(PeerId, Message), TryRecvError> {
                self.tidy();
                self.$half.look()?;
                Ok(self.$half.take_named())
            }

            /// Receives a message and the name of who sent it, waiting up to `timeout` for one.
            ///
            /// # Errors
            /// [`RecvTimeoutError::Timeout`] if none came in time.
            pub fn recv_from_timeout(
                &mut self,
                timeout: Duration,
            ) -> Result<(PeerId, Message), RecvTimeoutError> {
                self.tidy();
                self.$half.wait(Instant::now().checked_add(timeout))?;
                Ok(self.$half.take_named())
            }

            /// Receives a message and the name of who sent it, waiting without blocking the thread. Any executor will do.
            ///
            /// Cancel-safe: a future that is dropped before it is ready has taken nothing.
            ///
            /// # Errors
            /// As for [`recv_from`](Self::recv_from).
            pub async fn recv_from_async(&mut self) -> Result<(PeerId, Message), RecvError> {
                self.tidy();
                poll_fn(|task| self.$half.poll_look(task)).await?;
                Ok(self.$half.take_named())
            }
        }
    };
}

/// When it can send, to one peer or another.
macro_rules! router_ready {
    ($socket:ident, |$this:ident| $half:expr) => {
        send_ready!(
            $socket,
            |$this| $half.level(),
            "That is, unless the last message could not be sent because its peer was at its high-water mark. Then it is not \
             readable until there is news of any peer: it may be that of room, or of the peer's end."
        );
    };
}

socket_methods!(RouterSocket, core: core);
send_to_methods!(RouterSocket, send);
receive_from_methods!(RouterSocket, receive);
router_ready!(RouterSocket, |socket| socket.send);
receive_ready!(RouterSocket, |socket| socket.receive.level());
stream!(
    /// Messages as they come, fairly from all peers, each with the name of who sent it.
    ///
    /// # Examples
    /// ```
    /// use futures_util::{SinkExt, StreamExt};
    /// use zerowire::{Context, DealerSocket, RouterSocket};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let context = Context::new();
    /// let mut router = RouterSocket::new(&context);
    /// router.bind("inproc://echo")?;
    /// let mut dealer = DealerSocket::new(&context);
    /// dealer.connect("inproc://echo")?;
    /// SinkExt::send(&mut dealer, "there and back".into()).await?;
    ///
    /// let (peer, message) = router.next().await.expect("not over")?;
    /// router.send((peer, message)).await?;
    /// assert_eq!(dealer.next().await.expect("not over")?.as_bytes(), b"there and back");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    RouterSocket -> (PeerId, Message), receive, take_named
);
sink!(
    /// Messages for certain peers.
    ///
    /// The sink is ready for the next message when the one before is handed over: a peer that is at its high-water mark holds
    /// up what is for others. Where that must not be, call [`try_send_to`](Self::try_send_to).
    RouterSocket <- (PeerId, Message), SendToError, send
);
impl Sends for RouterSocket {}
impl Receives for RouterSocket {}
impl Identified for RouterSocket {}
impl Probes for RouterSocket {}

impl sealed::Sealed for RouterSocket {
    fn with_options(context: &Context, options: Options) -> RouterSocket {
        let core = SocketCore::new(&context.inner, SocketType::Router, options);
        let send = core
            .send_half(Directory::default())
            .expect("a ROUTER socket sends");
        let receive = core.receive_half().expect("a ROUTER socket receives");
        RouterSocket { core, send, receive }
    }
}

impl RouterSocket {
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

    /// Connects as [`connect`](Self::connect) does, and calls the peer `peer`, whatever identity it has.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
    pub fn connect_as<E>(&mut self, endpoint: E, peer: PeerId) -> Result<(), ConnectError>
    where
        E: TryInto<Endpoint>,
        EndpointError: From<E::Error>,
    {
        self.core.connect(endpoint, Some(peer))
    }

    /// Messages that were accepted and never handed over: because their peer went, or, with
    /// [`Builder::drop_unroutable`], because there was none. Since the socket was made.
    ///
    /// Counted when the socket notices, which is in one of its calls.
    pub fn lost(&self) -> u64 {
        self.send.lost()
    }

    /// Takes the socket apart, for one thread or task that sends and another that receives. Bind and connect before.
    ///
    /// The socket closes when both parts are dropped. To a peer whose message the receiver has returned, the sender can
    /// reply.
    pub fn into_split(self) -> (RouterSender, RouterReceiver) {
        let (send, receive) = split(self.core, self.send, self.receive);
        (RouterSender { half: send }, RouterReceiver { half: receive })
    }
}

/// The sending part of a [`RouterSocket`] that was [taken apart](RouterSocket::into_split).
pub struct RouterSender {
    half: Kept<SendHalf<Directory>>,
}

send_to_methods!(RouterSender, half);
part_stats!(RouterSender -> Sent);
router_ready!(RouterSender, |sender| sender.half);
sink!(
    /// As for the whole [`RouterSocket`].
    RouterSender <- (PeerId, Message), SendToError, half
);
debug_part!(RouterSender);

/// The receiving part of a [`RouterSocket`] that was [taken apart](RouterSocket::into_split).
pub struct RouterReceiver {
    half: Kept<ReceiveHalf>,
}

receive_from_methods!(RouterReceiver, half);
receive_ready!(RouterReceiver, |receiver| receiver.half.level());
stream!(
    /// As for the whole [`RouterSocket`].
    RouterReceiver -> (PeerId, Message), half, take_named
);

impl RouterReceiver {
    /// The part that sends is elsewhere.
    fn tidy(&mut self) {}
}

part_stats!(RouterReceiver -> Received);
debug_part!(RouterReceiver);

/// How long a send may wait for room.
#[derive(Clone, Copy)]
enum Until {
    Now,
    Then(Instant),
    Done,
}

impl SendHalf<Directory> {
    fn send_to(&mut self, peer: &PeerId, message: Message, until: Until) -> Result<(), SendToError> {
        let sent = self.route_to(peer, message, until);
        if self.has_level() {
            self.set_level(!matches!(
                sent,
                Err(SendToError::Full(_) | SendToError::Timeout(_))
            ));
        }
        sent
    }

    fn route_to(&mut self, peer: &PeerId, mut message: Message, until: Until) -> Result<(), SendToError> {
        if self.is_too_large(&message) {
            return Err(SendToError::TooLarge(message));
        }
        loop {
            self.catch_up();
            let Some(key) = self.route.key(peer) else {
                return self.unroutable(peer, message);
            };
            message = match self.give(key, message) {
                Ok(()) => return Ok(()),
                Err(message) if self.is_going(key) => {
                    self.catch_up();
                    return self.unroutable(peer, message);
                }
                Err(message) => message,
            };
            let waited = match until {
                Until::Now => return Err(SendToError::Full(message)),
                Until::Then(deadline) => self.wait(Some(deadline)),
                Until::Done => self.wait(None),
            };
            if !waited {
                return Err(SendToError::Timeout(message));
            }
        }
    }

    #[cold]
    fn unroutable(&mut self, peer: &PeerId, message: Message) -> Result<(), SendToError> {
        match self.over() {
            Some(Over::IoThreadDied) => return Err(SendToError::IoThreadDied(message)),
            Some(Over::Closed) => return Err(SendToError::Closed(message)),
            Some(Over::Forked) => return Err(SendToError::Forked(message)),
            None => {}
        }
        if self.options().drop_unroutable {
            self.count_unroutable(&message);
            return Ok(());
        }
        Err(SendToError::Unroutable {
            peer: peer.clone(),
            message,
        })
    }
}

#[cfg(feature = "futures")]
impl Drain<(PeerId, Message)> for SendHalf<Directory> {
    type Error = SendToError;

    fn offer(
        &mut self,
        (peer, message): (PeerId, Message),
    ) -> Result<Option<(PeerId, Message)>, SendToError> {
        match self.send_to(&peer, message, Until::Now) {
            Ok(()) => Ok(None),
            Err(SendToError::Full(message)) => Ok(Some((peer, message))),
            Err(error) => Err(error),
        }
    }

    fn sleep(&self, task: &TaskContext<'_>) -> bool {
        SendHalf::sleep(self, task)
    }

    fn unsent(&mut self) -> &mut Option<(PeerId, Message)> {
        &mut self.unsent
    }

    fn refusal((_, message): (PeerId, Message)) -> SendToError {
        SendToError::Full(message)
    }
}

impl ReceiveHalf {
    /// Takes the message that was found, with the name of its sender.
    fn take_named(&mut self) -> (PeerId, Message) {
        let name = self.source().1.cloned();
        let message = self.take();
        (
            name.expect("a ROUTER names each peer before it is heard"),
            message,
        )
    }
}
