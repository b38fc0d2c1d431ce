//! XPUB and XSUB: publishers and subscribers that see subscriptions, for programs in between (ZeroMQ RFC 29).

use std::sync::Arc;
#[cfg(feature = "futures")]
use std::task::Context as TaskContext;

use super::builder::{Publishes, Receives, Sends};
use super::fan_out::{News, Published, Publisher};
use super::level::{Gauge, Level};
use super::methods::scope::*;
use super::pubsub::{publish_methods, publish_ready, wait_ready_method};
use super::receive_half::Nothing;
use super::send_half::Route;
#[cfg(feature = "futures")]
use super::streams::{Drain, Ends};
use super::subscribing::{Subscriber, Told};
use crate::error::{SubscribeError, WaitError};
use crate::pipe::inbox::Watching;

/// A [`PubSocket`](crate::PubSocket) that receives what its subscribers say.
///
/// That is, as messages: a subscription, one part that is a byte of one and the topic; the end of one, a byte of zero and the
/// topic; and whatever else an [`XSubSocket`] sends. [`Upstream::of`] tells them apart. Of several subscribers to one topic
/// the first to come and the last to go is received, unless [`Builder::verbosity`] wants more; when a peer is lost, the
/// subscriptions end that it alone held. What was not received yet and is void by now is not received any more.
///
/// In [manual mode](Builder::manual) subscriptions are received and nothing more: the application
/// [decides](Self::subscribe) what the peer gets.
///
/// # Examples
/// ```
/// use zerowire::{Context, SubSocket, Upstream, XPubSocket};
///
/// let context = Context::new();
/// let mut source = XPubSocket::new(&context);
/// source.bind("inproc://on-demand")?;
/// let mut reader = SubSocket::new(&context);
/// reader.connect("inproc://on-demand")?;
/// reader.subscribe("a/b")?;
///
/// // Nothing has to be produced before somebody wants it.
/// let request = source.recv()?;
/// assert_eq!(Upstream::of(&request), Upstream::Subscribe(b"a/b"));
/// source.send("a/b: now you know")?;
/// assert_eq!(reader.recv()?.as_bytes(), b"a/b: now you know");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct XPubSocket {
    pub(super) publisher: Publisher,
    /// Found by `look`, to be taken.
    pub(super) found: Option<Message>,
    /// Whether there is something to receive, for those who wait without holding the socket.
    gauge: Gauge,
}

socket_methods!(XPubSocket, core: publisher.core);
publish_methods!(XPubSocket);
receive_methods!(XPubSocket,);
publish_ready!(XPubSocket);
receive_ready!(XPubSocket, |socket| socket.level());
stream!(
    /// What subscribers say, as [`recv`](Self::recv) returns it.
    XPubSocket -> Message,, take
);
sink!(
    /// As for a [`PubSocket`](crate::PubSocket).
    XPubSocket <- Message, SendError, publisher
);
impl Sends for XPubSocket {}
impl Receives for XPubSocket {}
impl Publishes for XPubSocket {}

impl sealed::Sealed for XPubSocket {
    fn with_options(context: &Context, options: Options) -> XPubSocket {
        let news = News::new(options.verbosity, options.receive_hwm);
        let core = SocketCore::new(&context.inner, SocketType::XPub, options);
        XPubSocket {
            publisher: Publisher::new(core, Some(news)).expect("an XPUB socket sends and hears"),
            found: None,
            gauge: Gauge::default(),
        }
    }
}

impl XPubSocket {
    fn halves(&self) -> (Option<&dyn Counted>, Option<&ReceiveHalf>) {
        (Some(&self.publisher.send), Some(&self.publisher.upstream))
    }

    fn tidy(&mut self) {}

    fn level(&mut self) -> Arc<Level> {
        let (level, waker) = self.gauge.level();
        if let Some(waker) = waker {
            self.publisher.upstream.watch(Watching::ToReceive, waker);
            self.measure();
        }
        level
    }

    /// Brings the level up to date. Nothing is taken out before it is received: until then it may become void, and the
    /// message that was received last is the one that manual mode is about.
    fn measure(&mut self) {
        self.publisher.catch_up();
        let has_news = self
            .publisher
            .send
            .route
            .news
            .as_mut()
            .is_some_and(|news| !news.is_empty());
        let upstream = &self.publisher.upstream;
        if has_news || self.found.is_some() || upstream.has_current() || upstream.over().is_some() {
            self.gauge.raise();
        } else {
            self.gauge.lower_if(|| upstream.calm(Watching::ToReceive));
        }
    }

    /// In manual mode: gives the peer whose message was received last what begins with `topic`.
    ///
    /// # Errors
    /// [`SubscribeError::NoRequest`] if there is no such peer, or it is gone.
    pub fn subscribe(&mut self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
        self.change_last(topic.as_ref(), true)
    }

    /// In manual mode: takes from the peer whose message was received last what begins with `topic`.
    ///
    /// # Errors
    /// [`SubscribeError::NoRequest`] if there is no such peer, or it is gone.
    pub fn unsubscribe(&mut self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
        self.change_last(topic.as_ref(), false)
    }

    fn change_last(&mut self, topic: &[u8], wanted: bool) -> Result<(), SubscribeError> {
        match self.publisher.change_last(topic, wanted) {
            true => Ok(()),
            false => Err(SubscribeError::NoRequest),
        }
    }
}

#[cfg(feature = "futures")]
impl Ends for XPubSocket {
    fn has_ended(&self) -> bool {
        self.publisher.upstream.has_ended()
    }

    fn end(&mut self) {
        self.publisher.upstream.end();
    }
}

impl Incoming for XPubSocket {
    fn receive_half(&mut self) -> &mut ReceiveHalf {
        &mut self.publisher.upstream
    }

    fn is_ready(&mut self) -> bool {
        self.found.is_some()
    }

    fn look(&mut self) -> Result<(), Nothing> {
        if self.found.is_some() {
            return Ok(());
        }
        self.publisher.catch_up();
        self.found = self.publisher.take_news();
        if self.found.is_some() {
            return Ok(());
        }
        if self.gauge.is_read() {
            self.measure();
        }
        Err(self
            .publisher
            .upstream
            .over()
            .map_or(Nothing::Empty, Nothing::Over))
    }

    fn take(&mut self) -> Message {
        let message = self.found.take().expect("a message was found");
        if self.gauge.is_read() {
            self.measure();
        }
        message
    }
}

/// What a subscriber says to an [`XPubSocket`].
///
/// # Examples
/// ```
/// use zerowire::{Message, Upstream};
///
/// assert_eq!(Upstream::of(&Message::from(b"\x01news")), Upstream::Subscribe(b"news"));
/// assert_eq!(Upstream::of(&Message::from(b"\x00news")), Upstream::Unsubscribe(b"news"));
/// assert_eq!(Upstream::of(&Message::from("news, please")), Upstream::Other);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upstream<'a> {
    /// It wants messages that begin with these bytes.
    Subscribe(&'a [u8]),
    /// It no longer wants messages that begin with these bytes.
    Unsubscribe(&'a [u8]),
    /// Something that the two applications understand.
    Other,
}

impl Upstream<'_> {
    /// What the message means (ZeroMQ RFC 29).
    pub fn of(message: &Message) -> Upstream<'_> {
        match message.as_bytes().split_first() {
            Some((1, topic)) if message.part_count() == 1 => Upstream::Subscribe(topic),
            Some((0, topic)) if message.part_count() == 1 => Upstream::Unsubscribe(topic),
            _ => Upstream::Other,
        }
    }
}

/// A [`SubSocket`](crate::SubSocket) that sends subscriptions as messages, and other messages too, and does not filter what
/// it receives.
///
/// With an [`XPubSocket`] it makes a forwarder that hides nothing: what one receives, the other sends.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, PubSocket, SubSocket, XPubSocket, XSubSocket};
///
/// let context = Context::new();
/// let mut publisher = PubSocket::new(&context);
/// publisher.bind("inproc://source")?;
/// let (mut front, mut back) = (XSubSocket::new(&context), XPubSocket::new(&context));
/// front.connect("inproc://source")?;
/// back.bind("inproc://copy")?;
/// let mut subscriber = SubSocket::new(&context);
/// subscriber.connect("inproc://copy")?;
/// subscriber.subscribe("a")?;
///
/// front.send(back.recv()?)?;
/// publisher.wait_for_subscribers(1, Duration::from_secs(5))?;
/// publisher.send("a message")?;
/// back.send(front.recv()?)?;
/// assert_eq!(subscriber.recv()?.as_bytes(), b"a message");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct XSubSocket {
    subscriber: Subscriber,
    pub(super) send: SendHalf<Everyone>,
    pub(super) receive: ReceiveHalf,
    dropped: u64,
}

/// The keys of all peers.
#[derive(Default)]
pub(crate) struct Everyone {
    keys: Vec<usize>,
}

impl Route for Everyone {
    type Item = Message;

    fn add(&mut self, key: usize, _name: Option<crate::peer_id::PeerId>) {
        self.keys.push(key);
    }

    fn remove(&mut self, key: usize) {
        self.keys.retain(|&other| other != key);
    }
}

socket_methods!(XSubSocket, core: subscriber.core);
receive_methods!(XSubSocket, receive);
receive_many_method!(XSubSocket, receive);
receive_ready!(XSubSocket, |socket| socket.receive.level());
send_ready!(
    XSubSocket,
    |socket| socket.send.level(),
    "That is always: who has no room does not get the message."
);
stream!(
    /// Messages as they come.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
    /// use zerowire::{Context, PubSocket, SubSocket, XPubSocket, XSubSocket};
    ///
    /// # tokio::runtime::Builder::new_multi_thread().build()?.block_on(async {
    /// let context = Context::new();
    /// let mut publisher = PubSocket::new(&context);
    /// publisher.bind("inproc://source")?;
    /// let (mut front, mut back) = (XSubSocket::new(&context), XPubSocket::new(&context));
    /// front.connect("inproc://source")?;
    /// back.bind("inproc://copy")?;
    ///
    /// // A forwarder: messages flow to one side, subscriptions to the other.
    /// let ((to_front, messages), (to_back, wishes)) = (front.split(), back.split());
    /// tokio::spawn(future::join(
    ///     messages.map_err(drop).forward(to_back.sink_map_err(drop)),
    ///     wishes.map_err(drop).forward(to_front.sink_map_err(drop)),
    /// ));
    ///
    /// let mut subscriber = SubSocket::new(&context);
    /// subscriber.connect("inproc://copy")?;
    /// subscriber.subscribe("a")?;
    /// publisher.wait_for_subscribers(1, Duration::from_secs(5))?;
    /// publisher.send("a message")?;
    /// assert_eq!(subscriber.recv_async().await?.as_bytes(), b"a message");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    XSubSocket -> Message, receive, take
);
sink!(
    /// Subscriptions and other messages to all publishers, as [`send`](Self::send) sends them.
    XSubSocket <- Message, SendError,
);
impl Sends for XSubSocket {}
impl Receives for XSubSocket {}

impl sealed::Sealed for XSubSocket {
    fn with_options(context: &Context, options: Options) -> XSubSocket {
        let core = SocketCore::new(&context.inner, SocketType::XSub, options);
        XSubSocket {
            send: core.send_half(Everyone::default()).expect("an XSUB socket sends"),
            receive: core.receive_half().expect("an XSUB socket receives"),
            subscriber: Subscriber::new(core),
            dropped: 0,
        }
    }
}

impl XSubSocket {
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

    /// Sends a subscription, the end of one, or anything else, as [`Upstream`] tells them apart, to all publishers. Never
    /// blocks.
    ///
    /// Subscriptions are kept like those of a [`SubSocket`](crate::SubSocket), and none is lost; one to a topic that is
    /// subscribed to already is sent all the same, for publishers that want to see each. The end of one is sent when it was
    /// the last. Other messages go to publishers that are connected; those at their high-water mark do not get them.
    ///
    /// # Errors
    /// [`SendError::TooLarge`] gives the message back, which nobody has got then; a topic may have 16 KiB. The end of a
    /// subscription that there is not is no error.
    pub fn send(&mut self, message: impl Into<Message>) -> Result<Published, SendError> {
        let message = message.into();
        let changed = match Upstream::of(&message) {
            Upstream::Subscribe(topic) => self.subscriber.subscribe(topic, true),
            Upstream::Unsubscribe(topic) => self.subscriber.unsubscribe(topic),
            Upstream::Other => return self.send_to_all(message),
        };
        match changed {
            Err(SubscribeError::TooLong { .. }) => Err(SendError::TooLarge(message)),
            // A forwarder passes on what subscribers said to another forwarder, before this one came.
            _ => Ok(Published::default()),
        }
    }

    fn send_to_all(&mut self, message: Message) -> Result<Published, SendError> {
        self.send.catch_up();
        if self.send.is_too_large(&message) {
            return Err(SendError::TooLarge(message));
        }
        if let Some(over) = self.send.over() {
            return Err((message, Refusal::Over(over)).into());
        }
        let mut keys = std::mem::take(&mut self.send.route.keys);
        let all = keys.clone();
        keys.retain(|&key| self.send.make_room(key));
        let full = all.len() - keys.len();
        // Who leaves at this very moment does not count.
        let given = self.send.give_all(&keys, &message);
        self.send.route.keys = all;
        let hwm = self.send.options().send_hwm;
        let (local, told) = self.subscriber.tell_local(&message, hwm);
        let (queued, dropped) = (given + told, full + local - told);
        let matched = queued + dropped;
        self.dropped += dropped as u64;
        self.send.count_full(dropped, &message);
        self.send.count_handed_over(told, &message);
        Ok(Published {
            matched,
            queued,
            dropped,
        })
    }

    /// Wants messages that begin with `topic`, as [`SubSocket::subscribe`](crate::SubSocket::subscribe) does; other messages
    /// that a publisher sends are received all the same.
    ///
    /// # Errors
    /// [`SubscribeError::TooLong`] if the topic has more than 16 KiB.
    pub fn subscribe(&mut self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
        self.subscriber.subscribe(topic.as_ref(), false).map(drop)
    }

    /// Takes one subscription back.
    ///
    /// # Errors
    /// [`SubscribeError::NotSubscribed`] if there is none to this topic.
    pub fn unsubscribe(&mut self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
        self.subscriber.unsubscribe(topic.as_ref()).map(drop)
    }

    /// Messages that publishers did not get because they were at their high-water mark, each counted once for each such
    /// publisher. Since the socket was made.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    wait_ready_method!();
}

#[cfg(feature = "futures")]
impl Drain<Message> for XSubSocket {
    type Error = SendError;

    fn offer(&mut self, message: Message) -> Result<Option<Message>, SendError> {
        self.send(message).map(|_| None)
    }

    fn sleep(&self, task: &TaskContext<'_>) -> bool {
        self.send.sleep(task)
    }

    fn unsent(&mut self) -> &mut Option<Message> {
        &mut self.send.unsent
    }

    fn refusal(message: Message) -> SendError {
        SendError::Full(message)
    }
}
