//! REP: an answer to each question, whoever asks (ZeroMQ RFC 28).

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use super::builder::{Receives, Sends};
use super::level::{Gauge, Level};
use super::methods::scope::*;
use super::receive_half::Nothing;
use crate::monitor::Reason;
use crate::pipe::PipeId;
use crate::pipe::inbox::Watching;
use crate::routing::directory::Directory;

/// Receives requests from everybody in turn, and replies to each before it takes the next.
///
/// It goes with [`ReqSocket`](crate::ReqSocket) and [`DealerSocket`](crate::DealerSocket), also through any number of routers: the envelope,
/// which says where the reply goes, is kept while the application works. [`next`](Self::next) gives a request that takes its
/// reply; [`recv`](Self::recv) and [`send`](Self::send) are the two steps, which alternate: out of turn, they fail and change
/// nothing. A peer whose request has no envelope is disconnected.
///
/// # Examples
/// ```
/// use zerowire::{Context, RepSocket, ReqSocket};
///
/// let context = Context::new();
/// let mut rep = RepSocket::new(&context);
/// rep.bind("inproc://adder")?;
/// let mut req = ReqSocket::new(&context);
/// req.connect("inproc://adder")?;
///
/// req.send("1 2 3")?;
/// let request = rep.recv()?;
/// let sum: u32 = request.to_str()?.split(' ').map(|number| number.parse::<u32>().unwrap_or(0)).sum();
/// rep.send(sum.to_string())?;
/// assert_eq!(req.recv()?.as_bytes(), b"6");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RepSocket {
    answerer: Answerer,
}

socket_methods!(RepSocket, core: answerer.core);
send_methods!(RepSocket, answerer);
receive_methods!(RepSocket, answerer);
receive_ready!(RepSocket, |socket| socket.answerer.receive_level());
send_ready!(
    RepSocket,
    |socket| socket.answerer.send_level(),
    "That is, while a request was received and has no reply yet, and the peer that asked has room, or is gone."
);
impl Sends for RepSocket {}
impl Receives for RepSocket {}

impl sealed::Sealed for RepSocket {
    fn with_options(context: &Context, options: Options) -> RepSocket {
        let core = SocketCore::new(&context.inner, SocketType::Rep, options);
        let send = core.send_half(Directory::default()).expect("a REP socket sends");
        let receive = core.receive_half().expect("a REP socket receives");
        RepSocket {
            answerer: Answerer {
                core,
                send,
                receive,
                asked: None,
                request: None,
                gauge: Gauge::default(),
            },
        }
    }
}

impl RepSocket {
    fn halves(&self) -> (Option<&dyn Counted>, Option<&ReceiveHalf>) {
        (Some(&self.answerer.send), Some(&self.answerer.receive))
    }

    fn tidy(&mut self) {
        self.answerer.send.catch_up();
    }

    fn catch_up(&mut self) {
        self.answerer.send.catch_up();
        self.answerer.receive.collect();
    }

    /// Receives a request, waiting for one. Its reply goes through what is returned.
    ///
    /// # Errors
    /// [`RecvError::WrongState`] if a request that was received has no reply yet.
    #[expect(clippy::should_implement_trait, reason = "what it returns borrows the socket")]
    pub fn next(&mut self) -> Result<Request<'_>, RecvError> {
        let message = self.recv()?;
        Ok(Request {
            socket: self,
            message,
        })
    }

    /// Receives a request, waiting up to `timeout` for one.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`] if none came in time.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Request<'_>, RecvTimeoutError> {
        let message = self.recv_timeout(timeout)?;
        Ok(Request {
            socket: self,
            message,
        })
    }

    /// Receives a request, waiting without blocking the thread. Any executor will do.
    ///
    /// Cancel-safe: a future that is dropped before it is ready has taken nothing.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub async fn next_async(&mut self) -> Result<Request<'_>, RecvError> {
        let message = self.recv_async().await?;
        Ok(Request {
            socket: self,
            message,
        })
    }

    /// Whether a request was received and has no reply yet, so that the next step is to send.
    pub fn is_asked(&self) -> bool {
        self.answerer.asked.is_some() && self.answerer.request.is_none()
    }

    /// Leaves the request that was received last without a reply. The socket is ready for the next one.
    pub fn dismiss(&mut self) {
        // The next one may have been found already.
        if self.answerer.request.is_none() {
            self.answerer.asked = None;
            self.answerer.measure();
        }
    }
}

/// A request that a [`RepSocket`] received. Dropped without a reply, it is [dismissed](RepSocket::dismiss).
///
/// # Examples
/// ```
/// use zerowire::{Context, RepSocket, ReqSocket};
///
/// let context = Context::new();
/// let mut rep = RepSocket::new(&context);
/// rep.bind("inproc://greeter")?;
/// let mut req = ReqSocket::new(&context);
/// req.connect("inproc://greeter")?;
/// req.send("Ada")?;
///
/// let request = rep.next()?;
/// let reply = format!("hello, {}", request.message().to_str()?);
/// request.reply(reply)?;
/// assert_eq!(req.recv()?.as_bytes(), b"hello, Ada");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "whoever asked waits for the reply"]
pub struct Request<'a> {
    socket: &'a mut RepSocket,
    message: Message,
}

impl Request<'_> {
    /// What was asked.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Replies, waiting while the peer that asked is at its high-water mark.
    ///
    /// # Errors
    /// [`SendError::PeerLost`] if that peer is gone.
    pub fn reply(self, message: impl Into<Message>) -> Result<(), SendError> {
        self.socket.send(message)
    }

    /// Replies, waiting without blocking the thread. Any executor will do.
    ///
    /// Dropping the future dismisses the request.
    ///
    /// # Errors
    /// As for [`reply`](Self::reply).
    pub async fn reply_async(self, message: impl Into<Message>) -> Result<(), SendError> {
        self.socket.send_async(message).await
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.socket.dismiss();
    }
}

/// The state of a REP: ready for a request, or asked.
struct Answerer {
    core: SocketCore,
    send: SendHalf<Directory>,
    receive: ReceiveHalf,
    /// Who asked, and the envelope of the reply.
    asked: Option<(PipeId, Message)>,
    /// The request, until it is taken.
    request: Option<Message>,
    /// Whether there is something to receive, for those who wait without holding the socket.
    gauge: Gauge,
}

impl Answerer {
    fn receive_level(&mut self) -> Arc<Level> {
        let (level, waker) = self.gauge.level();
        if let Some(waker) = waker {
            self.receive.watch(Watching::ToReceive, waker);
            self.measure();
        }
        level
    }

    fn send_level(&mut self) -> Arc<Level> {
        let level = self.send.level();
        self.measure();
        level
    }

    /// Brings the levels up to date after a call, those that somebody asked for.
    #[inline]
    fn measure(&mut self) {
        if self.gauge.is_read() {
            self.measure_receiving();
        }
        if self.send.has_level() {
            self.send.catch_up();
            match (&self.asked, &self.request) {
                (Some((pipe, _)), None) => {
                    let key = self.send.key_of(*pipe);
                    let can_send = key.is_none_or(|key| self.send.has_room(key));
                    self.send.set_level(can_send);
                }
                _ => self.send.hold_level(),
            }
        }
    }

    #[cold]
    fn measure_receiving(&mut self) {
        if self.asked.is_none() {
            let _ = self.find();
        }
        if self.request.is_some() {
            self.gauge.raise();
        } else if self.asked.is_some() {
            // Before the reply, no request is received.
            self.receive.disregard();
            self.gauge.lower();
        } else if self.receive.has_current() || self.receive.over().is_some() {
            self.gauge.raise();
        } else {
            self.gauge.lower_if(|| self.receive.calm(Watching::ToReceive));
        }
    }

    fn answer(&mut self, message: Message) -> Result<(), (Message, Refusal)> {
        let (Some((pipe, envelope)), None) = (&self.asked, &self.request) else {
            return Err((message, Refusal::WrongState));
        };
        self.send.catch_up();
        let Some(key) = self.send.key_of(*pipe) else {
            let refusal = self.send.over().map_or(Refusal::PeerLost, Refusal::Over);
            self.asked = None;
            return Err((message, refusal));
        };
        if !self.send.has_room(key) {
            return Err((message, Refusal::Full));
        }
        let mut reply = envelope.clone();
        let parts = message.part_count();
        reply.append(message);
        if self.send.is_too_large(&reply) {
            return Err((last_parts(reply, parts), Refusal::TooLarge));
        }
        match self.send.give(key, reply) {
            Ok(()) => {
                self.asked = None;
                Ok(())
            }
            Err(reply) if self.send.is_going(key) => {
                self.asked = None;
                self.send.catch_up();
                let refusal = self.send.over().map_or(Refusal::PeerLost, Refusal::Over);
                Err((last_parts(reply, parts), refusal))
            }
            Err(reply) => Err((last_parts(reply, parts), Refusal::Full)),
        }
    }

    /// Finds a request.
    fn find(&mut self) -> Result<(), Nothing> {
        if self.request.is_some() {
            return Ok(());
        }
        if self.asked.is_some() {
            return Err(Nothing::WrongState);
        }
        for _ in 0..DISCARDS_PER_LOOK {
            self.receive.look()?;
            let pipe = self.receive.source().0;
            let message = self.receive.take();
            let bytes = message.total_bytes();
            match message.split_envelope() {
                Ok((envelope, request)) => {
                    self.asked = Some((pipe, envelope));
                    self.request = Some(request);
                    return Ok(());
                }
                // What a peer with the option to probe sends first, for routers.
                Err(probe) if probe.part_count() == 1 && probe.is_empty() => self.receive.discard(bytes),
                Err(_) => {
                    self.receive.discard(bytes);
                    // With its connection goes all else that it has sent.
                    self.core.abort(pipe, Reason::NoEnvelope);
                    self.send.let_go(pipe);
                    self.receive.let_go(pipe);
                }
            }
        }
        Err(Nothing::Empty)
    }
}

impl Outgoing for Answerer {
    fn try_send(&mut self, message: Message) -> Result<(), (Message, Refusal)> {
        let sent = self.answer(message);
        self.measure();
        sent
    }

    fn send(&mut self, mut message: Message, deadline: Option<Instant>) -> Result<(), (Message, Refusal)> {
        loop {
            match self.try_send(message) {
                Err((back, Refusal::Full)) => {
                    if !self.send.wait(deadline) {
                        return Err((back, Refusal::Full));
                    }
                    message = back;
                }
                done => return done,
            }
        }
    }

    fn poll_ready(&mut self, task: &TaskContext<'_>) -> Poll<()> {
        loop {
            // A send out of turn fails at once, also if the next request was found before anybody received it.
            let (Some((pipe, _)), None) = (&self.asked, &self.request) else {
                return Poll::Ready(());
            };
            self.send.catch_up();
            match self.send.key_of(*pipe) {
                Some(key) if !self.send.has_room(key) => {}
                _ => return Poll::Ready(()),
            }
            if self.send.sleep(task) {
                return Poll::Pending;
            }
        }
    }
}

impl Incoming for Answerer {
    fn receive_half(&mut self) -> &mut ReceiveHalf {
        &mut self.receive
    }

    fn is_ready(&mut self) -> bool {
        self.request.is_some()
    }

    fn look(&mut self) -> Result<(), Nothing> {
        let found = self.find();
        if found.is_err() {
            self.measure();
        }
        found
    }

    fn take(&mut self) -> Message {
        let request = self.request.take().expect("a request was found");
        self.measure();
        request
    }
}

/// Messages that are no requests, thrown away before the caller looks at the clock.
const DISCARDS_PER_LOOK: usize = 4096;

/// What is left of a reply without its envelope.
fn last_parts(mut reply: Message, parts: usize) -> Message {
    while reply.part_count() > parts {
        reply.pop_front();
    }
    reply
}
