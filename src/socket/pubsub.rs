//! PUB and SUB: one says it, whoever wants hears it (ZeroMQ RFC 29).

use super::builder::{Conflates, Publishes, Receives, Sends};
use super::fan_out::{Published, Publisher};
use super::methods::scope::*;
use super::receive_half::Filter;
use super::subscribing::{Subscriber, Told};
use crate::error::{SubscribeError, WaitError};

/// The methods of sockets that publish.
macro_rules! publish_methods {
    ($socket:ident) => {
        impl $socket {
            fn catch_up(&mut self) {
                self.publisher.catch_up();
            }

            /// Sends a message to every peer that wants it, and says how many that are.
            ///
            /// Blocks only with [`SlowSubscriber::Block`](crate::SlowSubscriber::Block), and no longer than that says.
            ///
            /// # Errors
            /// [`SendError`] gives the message back, which nobody has got then.
            pub fn send(&mut self, message: impl Into<Message>) -> Result<Published, SendError> {
                let message = message.into();
                let deadline = self.publisher.deadline();
                let mut last_try = false;
                loop {
                    match self.publisher.publish(&message, last_try) {
                        Err(Refusal::Full) if self.publisher.may_wait() && !last_try => {
                            last_try = !self.publisher.wait_for_room(deadline);
                        }
                        Err(refusal) => return Err((message, refusal).into()),
                        Ok(published) => return Ok(published),
                    }
                }
            }

            /// Sends a message to every peer that wants it, and never waits: where [`send`](Self::send) would, it fails.
            ///
            /// # Errors
            /// [`TrySendError`] gives the message back, which nobody has got then.
            pub fn try_send(&mut self, message: impl Into<Message>) -> Result<Published, TrySendError> {
                let message = message.into();
                self.publisher
                    .publish(&message, false)
                    .map_err(|refusal| (message, refusal).into())
            }

            /// Sends a message to every peer that wants it, waiting without blocking the thread. Any executor will do.
            ///
            /// Waits only with [`SlowSubscriber::Block`](crate::SlowSubscriber::Block), for as long as the executor lets it.
            /// Cancel-safe in this sense: a future that is dropped before it is ready has sent nothing, and its message goes
            /// with it.
            ///
            /// # Errors
            /// As for [`send`](Self::send).
            pub async fn send_async(&mut self, message: impl Into<Message>) -> Result<Published, SendError> {
                let message = message.into();
                loop {
                    match self.publisher.publish(&message, false) {
                        Err(Refusal::Full) if self.publisher.may_wait() => {}
                        Err(refusal) => return Err((message, refusal).into()),
                        Ok(published) => return Ok(published),
                    }
                    let mut slept = false;
                    poll_fn(|task| {
                        if !std::mem::replace(&mut slept, true) && self.publisher.sleep_for_room(task) {
                            return std::task::Poll::Pending;
                        }
                        std::task::Poll::Ready(())
                    })
                    .await;
                }
            }

            /// Waits until at least `count` peers hold a subscription, to whatever topic, up to `timeout`.
            ///
            /// # Errors
            /// [`WaitError::Timeout`] if they did not come in time.
            pub fn wait_for_subscribers(&mut self, count: usize, timeout: Duration) -> Result<(), WaitError> {
                let deadline = Instant::now().checked_add(timeout);
                self.publisher
                    .wait_until(deadline, |publisher| {
                        publisher.send.route.topics.subscribers() >= count
                    })
                    .map_err(WaitError::from)
            }

            /// Waits until a message that begins with `topic` would be for at least `count` peers, up to `timeout`.
            ///
            /// # Errors
            /// [`WaitError::Timeout`] if they did not come in time.
            pub fn wait_for_subscribers_to(
                &mut self,
                topic: impl AsRef<[u8]>,
                count: usize,
                timeout: Duration,
            ) -> Result<(), WaitError> {
                let deadline = Instant::now().checked_add(timeout);
                let topic = topic.as_ref();
                self.publisher
                    .wait_until(deadline, |publisher| {
                        publisher.count_targets(topic) >= count
                    })
                    .map_err(WaitError::from)
            }

            /// How many peers hold at least one subscription, as far as is known here and now.
            pub fn subscribers(&mut self) -> usize {
                self.publisher.catch_up();
                self.publisher.send.route.topics.subscribers()
            }

            /// Messages that subscribers did not get because they were at their high-water mark, each counted once for each
            /// such subscriber. Since the socket was made.
            pub fn dropped(&self) -> u64 {
                self.publisher.dropped
            }

            /// Messages that were queued for subscribers and never handed over, because those are gone. Since the socket was
            /// made.
            ///
            /// Counted when the socket notices, which is in one of its calls.
            pub fn lost(&self) -> u64 {
                self.publisher.send.lost()
            }
        }
    };
}
pub(crate) use publish_methods;

/// When sockets that publish can send.
macro_rules! publish_ready {
    ($socket:ident) => {
        send_ready!(
            $socket,
            |socket| socket.publisher.send_level(),
            "That is always, unless [`SlowSubscriber::Block`](crate::SlowSubscriber::Block) makes sends wait, and the last one \
             was refused because a subscriber was at its high-water mark. Then it is not readable until there is news of any \
             subscriber, be it a subscription."
        );
    };
}
pub(crate) use publish_ready;

/// Waiting for the publishers to know the subscriptions. The type has a `subscriber` and a half that is called `receive`.
macro_rules! wait_ready_method {
    () => {
        /// Waits until every publisher this socket is connecting to is connected, at least one is, and all of them have
        /// been told of the subscriptions made so far; up to `timeout`.
        ///
        /// [`Told::Acknowledged`](crate::Told) means that they have answered: what they publish from now on is filtered by
        /// these subscriptions. Publishers that speak ZMTP 3.0 cannot answer, so with one of those it is
        /// [`Told::Sent`](crate::Told).
        ///
        /// # Errors
        /// [`WaitError::Timeout`] if it takes longer.
        pub fn wait_ready(&mut self, timeout: Duration) -> Result<Told, WaitError> {
            let deadline = Instant::now().checked_add(timeout);
            loop {
                self.receive.collect();
                if let Some(told) = self.subscriber.told(self.receive.has_messages()) {
                    return Ok(told);
                }
                if let Some(over) = self.receive.over() {
                    return Err(crate::socket::receive_half::Nothing::Over(over).into());
                }
                if !self.receive.wait_inbox(deadline) {
                    return Err(WaitError::Timeout);
                }
            }
        }
    };
}
pub(crate) use wait_ready_method;

/// Sends each message to every peer that has subscribed to what it begins with.
///
/// It goes with [`SubSocket`] and [`XSubSocket`](crate::XSubSocket). Subscriptions come from the peers; a message for nobody
/// goes nowhere, which is no error. Every peer has a queue of its own; [`Builder::slow_subscriber`] says what happens when
/// one is full, and each [`send`](Self::send) says what became of the message.
///
/// A subscription takes a moment to arrive. [`wait_for_subscribers`](Self::wait_for_subscribers) waits for it, and
/// [`SubSocket::wait_ready`] does on the other side; so nothing is published before somebody listens, and nobody sleeps.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, PubSocket, SubSocket};
///
/// let context = Context::new();
/// let mut weather = PubSocket::new(&context);
/// let endpoint = weather.bind("tcp://127.0.0.1:0")?;
/// let mut reader = SubSocket::new(&context);
/// reader.connect(endpoint)?;
/// reader.subscribe("oslo")?;
/// weather.wait_for_subscribers(1, Duration::from_secs(5))?;
///
/// assert_eq!(weather.send("cairo 31")?.matched, 0);
/// assert_eq!(weather.send("oslo 12")?.queued, 1);
/// assert_eq!(reader.recv()?.as_bytes(), b"oslo 12");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PubSocket {
    pub(super) publisher: Publisher,
}

socket_methods!(PubSocket, core: publisher.core);
publish_methods!(PubSocket);
publish_ready!(PubSocket);
sink!(
    /// Messages go to every peer that wants them, as [`send_async`](Self::send_async) sends them. What became of each is not
    /// said; [`dropped`](Self::dropped) and [`stats`](Self::stats) count.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use futures_util::{SinkExt, StreamExt};
    /// use zerowire::{Context, PubSocket, SubSocket};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let context = Context::new();
    /// let mut publisher = PubSocket::new(&context);
    /// publisher.bind("inproc://news")?;
    /// let mut subscriber = SubSocket::new(&context);
    /// subscriber.subscribe("")?;
    /// subscriber.connect("inproc://news")?;
    /// publisher.wait_for_subscribers(1, Duration::from_secs(5))?;
    ///
    /// SinkExt::send(&mut publisher, "an election".into()).await?;
    /// assert_eq!(subscriber.next().await.expect("not over")?.as_bytes(), b"an election");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    PubSocket <- Message, SendError, publisher
);
impl Sends for PubSocket {}
impl Conflates for PubSocket {}
impl Publishes for PubSocket {}

impl sealed::Sealed for PubSocket {
    fn with_options(context: &Context, options: Options) -> PubSocket {
        let core = SocketCore::new(&context.inner, SocketType::Pub, options);
        PubSocket {
            publisher: Publisher::new(core, None).expect("a PUB socket sends and hears"),
        }
    }
}

impl PubSocket {
    fn halves(&self) -> (Option<&dyn Counted>, Option<&ReceiveHalf>) {
        (Some(&self.publisher.send), None)
    }

    pub(super) fn into_publisher(self) -> Publisher {
        self.publisher
    }
}

/// Receives the messages that begin with one of the topics it has subscribed to.
///
/// It goes with [`PubSocket`] and [`XPubSocket`](crate::XPubSocket). A topic is any bytes, the empty one is everything.
/// Without a subscription nothing is received. Subscriptions are state, not messages: none is lost however many there are,
/// each publisher that is connected to later gets them all, and so does one that comes back. They are counted: a topic
/// that was subscribed to twice takes two calls to give up.
///
/// A publisher filters, to spare the network; the socket filters again, so what was given up is not received even if it was
/// on its way. A socket that does not receive holds up its publishers at the high-water mark, and they decide what to drop.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, PubSocket, SubSocket};
///
/// let context = Context::new();
/// let mut publisher = PubSocket::new(&context);
/// publisher.bind("inproc://news")?;
/// let mut subscriber = SubSocket::new(&context);
/// subscriber.subscribe("sport")?;
/// subscriber.connect("inproc://news")?;
/// subscriber.wait_ready(Duration::from_secs(5))?;
///
/// publisher.send(["politics", "an election"])?;
/// publisher.send(["sport", "a match"])?;
/// assert_eq!(subscriber.recv()?.part(1), Some(&b"a match"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SubSocket {
    subscriber: Subscriber,
    receive: ReceiveHalf,
}

socket_methods!(SubSocket, core: subscriber.core);
receive_methods!(SubSocket, receive);
receive_many_method!(SubSocket, receive);
receive_ready!(SubSocket, |socket| socket.receive.level());
stream!(
    /// Messages that begin with a topic it has subscribed to, as they come. For an example see [`PubSocket`].
    SubSocket -> Message, receive, take
);
impl Receives for SubSocket {}
impl Conflates for SubSocket {}

impl sealed::Sealed for SubSocket {
    fn with_options(context: &Context, options: Options) -> SubSocket {
        let inverted = options.invert_matching;
        let core = SocketCore::new(&context.inner, SocketType::Sub, options);
        let receive = core.receive_half().expect("a SUB socket receives");
        SubSocket {
            receive: receive.with_filter(Filter {
                inverted,
                ..Filter::default()
            }),
            subscriber: Subscriber::new(core),
        }
    }
}

impl SubSocket {
    fn halves(&self) -> (Option<&dyn Counted>, Option<&ReceiveHalf>) {
        (None, Some(&self.receive))
    }

    fn tidy(&mut self) {}

    fn catch_up(&mut self) {
        self.receive.collect();
    }

    /// Wants messages that begin with `topic` from now on, of all publishers, connected and to come.
    ///
    /// # Errors
    /// [`SubscribeError::TooLong`] if the topic has more than 16 KiB.
    pub fn subscribe(&mut self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
        let topic = topic.as_ref();
        if self.subscriber.subscribe(topic, false)? {
            if let Some(topics) = self.receive.topics() {
                topics.add(topic, 0);
            }
        }
        Ok(())
    }

    /// Takes one subscription back. Messages that no other subscription wants are not received any more, not even those
    /// that are here already.
    ///
    /// # Errors
    /// [`SubscribeError::NotSubscribed`] if there is none to this topic.
    pub fn unsubscribe(&mut self, topic: impl AsRef<[u8]>) -> Result<(), SubscribeError> {
        let topic = topic.as_ref();
        if self.subscriber.unsubscribe(topic)? {
            if let Some(topics) = self.receive.topics() {
                topics.remove(topic, 0);
            }
        }
        Ok(())
    }

    wait_ready_method!();
}
