//! REQ: a question, its answer, and the next question (ZeroMQ RFC 28).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use super::builder::{Deals, Identified, Probes, Receives, Sends};
use super::level::{Gauge, Level};
use super::methods::scope::*;
use super::receive_half::{Departure, Nothing};
use crate::error::RequestError;
use crate::mailbox::Over;
use crate::monitor::Reason;
use crate::pipe::PipeId;
use crate::pipe::inbox::Watching;
use crate::routing::load_balancer::LoadBalancer;

/// Asks one of its peers at a time, in turn, and waits for the reply.
///
/// It goes with [`RepSocket`](crate::RepSocket) and [`RouterSocket`](crate::RouterSocket). [`request`](Self::request) is the whole exchange in
/// one call. [`send`](Self::send) and [`recv`](Self::recv) are its two steps, which alternate: out of turn, they fail and
/// change nothing.
///
/// Only the peer that was asked can answer. If its connection is lost after the request was handed over, the reply is lost
/// too, and the call says so at once (`PeerLost`); a request that was still waiting for its connection goes over the next
/// one. A request that is [given up](Self::give_up), as `request` does when its time is over, takes its connection with it,
/// which is made anew at once: so no late reply can be taken for the answer to a later request. With
/// [`Builder::correlate`] requests carry an id, and the connection can stay.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, RepSocket, ReqSocket, RequestError};
///
/// let context = Context::new();
/// let mut rep = RepSocket::new(&context);
/// let endpoint = rep.bind("tcp://127.0.0.1:0")?;
/// let server = std::thread::spawn(move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     let request = rep.next()?;
///     let reply = request.message().to_str()?.to_uppercase();
///     request.reply(reply)?;
///     Ok(())
/// });
///
/// let mut req = ReqSocket::new(&context);
/// req.connect(endpoint)?;
/// let reply = req.request("shout", Duration::from_secs(5))?;
/// assert_eq!(reply.as_bytes(), b"SHOUT");
/// # server.join().expect("no panic").expect("no error");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReqSocket {
    asker: Asker,
}

socket_methods!(ReqSocket, core: asker.core);
send_methods!(ReqSocket, asker);
receive_methods!(ReqSocket, asker);
receive_ready!(ReqSocket, |socket| socket.asker.receive_level());
send_ready!(
    ReqSocket,
    |socket| socket.asker.send_level(),
    "That is, while no request is under way, or another one [may be made](Builder::relaxed), and a peer has room."
);
impl Sends for ReqSocket {}
impl Deals for ReqSocket {}
impl Receives for ReqSocket {}
impl Identified for ReqSocket {}
impl Probes for ReqSocket {}

impl sealed::Sealed for ReqSocket {
    fn with_options(context: &Context, options: Options) -> ReqSocket {
        let balancer = LoadBalancer::new(options.queue_unconnected);
        let (correlate, relaxed) = (options.correlate, options.relaxed);
        let discards_max = options.receive_hwm.saturating_mul(2);
        let core = SocketCore::new(&context.inner, SocketType::Req, options);
        let send = core.send_half(balancer).expect("a REQ socket sends");
        let receive = core.receive_half().expect("a REQ socket receives");
        ReqSocket {
            asker: Asker {
                core,
                send,
                receive: receive.with_departures(),
                asked: None,
                reply: None,
                lost: None,
                gauge: Gauge::default(),
                correlate,
                relaxed,
                discards_max,
                // A random start, so that a reply to an earlier life of this socket is not taken for one to this.
                next_id: RandomState::new().hash_one(0) as u32,
            },
        }
    }
}

impl ReqSocket {
    fn halves(&self) -> (Option<&dyn Counted>, Option<&ReceiveHalf>) {
        (Some(&self.asker.send), Some(&self.asker.receive))
    }

    fn tidy(&mut self) {
        self.asker.send.catch_up();
    }

    fn catch_up(&mut self) {
        self.asker.send.catch_up();
        self.asker.receive.collect();
    }

    /// Sends a request and waits for the reply, up to `timeout` for both together.
    ///
    /// When the time is over, the request is [given up](Self::give_up), so the socket is ready for the next one whatever the
    /// result.
    ///
    /// # Errors
    /// [`RequestError`] tells why there is no reply. [`RequestError::WrongState`] if a request is under way already.
    pub fn request(
        &mut self,
        message: impl Into<Message>,
        timeout: Duration,
    ) -> Result<Message, RequestError> {
        let deadline = Instant::now().checked_add(timeout);
        match Outgoing::send(&mut self.asker, message.into(), deadline) {
            Err((_, Refusal::Full | Refusal::NoPeer)) => return Err(RequestError::Timeout),
            sent => sent.map_err(RequestError::from)?,
        }
        match Incoming::wait(&mut self.asker, deadline) {
            Ok(()) => Ok(self.asker.take()),
            Err(nothing) => {
                self.asker.give_up(Reason::RequestGivenUp);
                Err(nothing.into())
            }
        }
    }

    /// Sends a request and waits for the reply, without blocking the thread. Any executor will do, and puts an end to it
    /// in time.
    ///
    /// Cancel-safe in this sense: dropping the future [gives the request up](Self::give_up).
    ///
    /// # Errors
    /// As for [`request`](Self::request), without [`RequestError::Timeout`].
    pub async fn request_async(&mut self, message: impl Into<Message>) -> Result<Message, RequestError> {
        /// Gives the request up when the future ends, unless it is answered by then.
        struct Exchange<'a>(&'a mut Asker);
        impl Drop for Exchange<'_> {
            fn drop(&mut self) {
                self.0.give_up(Reason::RequestGivenUp);
            }
        }

        let mut message = message.into();
        if self.asker.is_busy() && !self.asker.relaxed {
            return Err(RequestError::WrongState(message));
        }
        let exchange = Exchange(&mut self.asker);
        loop {
            message = match exchange.0.try_send(message) {
                Ok(()) => break,
                Err((message, Refusal::Full | Refusal::NoPeer)) => message,
                Err(refused) => return Err(refused.into()),
            };
            poll_fn(|task| exchange.0.poll_ready(task)).await;
        }
        poll_fn(|task| exchange.0.poll_look(task)).await?;
        Ok(exchange.0.take())
    }

    /// Whether a request is under way, so that the next step is to receive.
    pub fn is_waiting(&self) -> bool {
        self.asker.asked.is_some() || self.asker.reply.is_some() || self.asker.lost.is_some()
    }

    /// Gives up the request that is under way, if one is: its reply will not be received, now or ever. The socket is ready
    /// for another request.
    pub fn give_up(&mut self) {
        self.asker.give_up(Reason::RequestGivenUp);
    }
}

/// The state of a REQ.
///
/// ```text
///             send                     the reply came              recv
///   ready ───────────► asked ──────────────────────────► answered ──────► ready
///                        │ give_up, or the peer is lost ─────────────────────▲
/// ```
struct Asker {
    core: SocketCore,
    send: SendHalf<LoadBalancer>,
    receive: ReceiveHalf,
    asked: Option<Asked>,
    reply: Option<Message>,
    /// Why there will be no reply, which was found when nobody was receiving.
    lost: Option<Nothing>,
    /// Whether there is something to receive, for those who wait without holding the socket.
    gauge: Gauge,
    correlate: bool,
    relaxed: bool,
    /// Messages that nobody asked for, to be thrown away in one go: a peer that floods us cannot keep us at it.
    discards_max: u64,
    next_id: u32,
}

/// A request that is under way.
#[derive(Clone, Copy)]
struct Asked {
    pipe: PipeId,
    /// Messages that the pipe had accepted when it had accepted this one.
    accepted: u64,
    id: Option<[u8; 4]>,
}

impl Asker {
    fn give_up(&mut self, reason: Reason) {
        self.abandon(reason);
        self.measure();
    }

    fn abandon(&mut self, reason: Reason) {
        if let Some(reply) = self.reply.take() {
            // It was found early, and nobody receives it now.
            let id_bytes = if self.correlate { 4 } else { 0 };
            self.receive.discard(id_bytes + reply.total_bytes());
        }
        self.lost = None;
        let Some(asked) = self.asked.take() else {
            return;
        };
        if asked.id.is_none() {
            self.send.let_go(asked.pipe);
            self.receive.let_go(asked.pipe);
            self.core.renew(asked.pipe, reason);
        }
    }

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
            if self.is_busy() && !self.relaxed {
                self.send.hold_level();
            } else {
                let can_send = self.send.over().is_some() || self.send.find_room();
                self.send.set_level(can_send);
            }
        }
    }

    #[cold]
    fn measure_receiving(&mut self) {
        if self.asked.is_some() {
            self.lost = self.find().err().filter(|&nothing| nothing == Nothing::PeerLost);
        }
        let may_find = self.asked.is_some() && (self.receive.has_current() || self.receive.over().is_some());
        if self.reply.is_some() || self.lost.is_some() || may_find {
            self.gauge.raise();
        } else if self.asked.is_some() {
            self.gauge.lower_if(|| self.receive.calm(Watching::ToReceive));
        } else {
            // What comes without being asked for means nothing.
            self.receive.disregard();
            self.gauge.lower();
        }
    }

    /// Puts the message into an envelope.
    fn wrap(&mut self, message: Message) -> (Message, Option<[u8; 4]>) {
        let mut message = message.with_delimiter();
        let id = self.correlate.then(|| {
            self.next_id = self.next_id.wrapping_add(1);
            self.next_id.to_be_bytes()
        });
        if let Some(id) = &id {
            message.push_front(&id[..]);
        }
        (message, id)
    }

    /// Takes what came from the asked peer out of its envelope: nothing, if it is the answer to another request.
    fn unwrap(mut message: Message, asked: &Asked) -> Result<Option<Message>, Reason> {
        if let Some(id) = asked.id {
            match message.pop_front() {
                Some(part) if part[..] == id => {}
                Some(_) => return Ok(None),
                None => return Err(Reason::NoEnvelope),
            }
        }
        message
            .strip_delimiter()
            .map(Some)
            .map_err(|_| Reason::NoEnvelope)
    }

    /// Takes note of who left. Returns whether the reply to this request is lost with them.
    fn is_lost(&mut self, asked: Option<Asked>) -> bool {
        let departures = self.receive.departures();
        if departures.is_empty() {
            return false;
        }
        self.send.catch_up();
        let mut lost = false;
        for departure in departures {
            lost |= match departure {
                Departure::Peer { pipe } => {
                    // In this context a peer ends its two pipes one after the other: the next request must not meet the
                    // second one.
                    self.send.let_go(pipe);
                    asked.is_some_and(|asked| pipe == asked.pipe)
                }
                // What was not handed over goes over the next connection.
                Departure::Connection { pipe, finished } => {
                    asked.is_some_and(|asked| pipe == asked.pipe && finished >= asked.accepted)
                }
            };
        }
        lost
    }

    /// Whether the reply is lost with a peer that came and went while nobody looked: an inbox that is not read for long says
    /// nothing of such.
    fn has_gone_unheard(&mut self, asked: Asked) -> bool {
        if self.receive.knows(asked.pipe) {
            return false;
        }
        self.send.catch_up();
        self.send.over().is_none() && self.send.key_of(asked.pipe).is_none()
    }

    fn is_busy(&self) -> bool {
        self.asked.is_some() || self.reply.is_some()
    }

    fn ask(&mut self, message: Message) -> Result<(), (Message, Refusal)> {
        if self.is_busy() {
            if !self.relaxed {
                return Err((message, Refusal::WrongState));
            }
            if self.send.is_too_large(&message) {
                return Err((message, Refusal::TooLarge));
            }
            self.abandon(Reason::RequestGivenUp);
        }
        self.is_lost(None);
        let (message, id) = self.wrap(message);
        let receive = &mut self.receive;
        // What is there before the question is asked cannot be its answer.
        receive.collect();
        let result = self
            .send
            .deal(message, |pipe| receive.skip_all(pipe, self.discards_max));
        match result {
            Ok(key) => {
                self.lost = None;
                self.asked = Some(Asked {
                    pipe: self.send.pipe_of(key),
                    accepted: self.send.accepted(key),
                    id,
                });
                Ok(())
            }
            Err((mut message, refusal)) => {
                if id.is_some() {
                    message.pop_front();
                }
                Err((
                    message.strip_delimiter().unwrap_or_else(|message| message),
                    refusal,
                ))
            }
        }
    }

    /// Finds the reply.
    fn find(&mut self) -> Result<(), Nothing> {
        if self.reply.is_some() {
            return Ok(());
        }
        if let Some(nothing) = self.lost.take() {
            return Err(nothing);
        }
        let Some(asked) = self.asked else {
            return Err(Nothing::WrongState);
        };
        for _ in 0..self.discards_max.max(1) {
            match self.receive.look() {
                Ok(()) => {
                    let pipe = self.receive.source().0;
                    let message = self.receive.take();
                    let bytes = message.total_bytes();
                    if pipe != asked.pipe {
                        self.receive.discard(bytes);
                        continue;
                    }
                    match Asker::unwrap(message, &asked) {
                        Ok(None) => self.receive.discard(bytes),
                        Ok(reply) => {
                            self.asked = None;
                            self.reply = reply;
                            return Ok(());
                        }
                        Err(reason) => {
                            self.receive.discard(bytes);
                            // With ids or without: the pipe goes with its connection.
                            self.asked = Some(Asked { id: None, ..asked });
                            self.abandon(reason);
                            return Err(Nothing::PeerLost);
                        }
                    }
                }
                Err(Nothing::Empty) if self.is_lost(Some(asked)) || self.has_gone_unheard(asked) => {
                    self.asked = None;
                    return Err(Nothing::PeerLost);
                }
                Err(nothing) => return Err(nothing),
            }
        }
        Err(Nothing::Empty)
    }
}

impl Outgoing for Asker {
    fn try_send(&mut self, message: Message) -> Result<(), (Message, Refusal)> {
        let sent = self.ask(message);
        self.measure();
        sent
    }

    fn send(&mut self, mut message: Message, deadline: Option<Instant>) -> Result<(), (Message, Refusal)> {
        loop {
            match self.try_send(message) {
                Err((back, refusal @ (Refusal::Full | Refusal::NoPeer))) => {
                    if !self.send.wait(deadline) {
                        return Err((back, refusal));
                    }
                    message = back;
                }
                done => return done,
            }
        }
    }

    fn poll_ready(&mut self, task: &TaskContext<'_>) -> Poll<()> {
        if self.is_busy() {
            return Poll::Ready(());
        }
        self.send.poll_ready(task)
    }
}

impl Incoming for Asker {
    fn receive_half(&mut self) -> &mut ReceiveHalf {
        &mut self.receive
    }

    fn is_ready(&mut self) -> bool {
        self.reply.is_some()
    }

    fn look(&mut self) -> Result<(), Nothing> {
        let found = self.find();
        if found.is_err() {
            self.measure();
        }
        found
    }

    fn take(&mut self) -> Message {
        let reply = self.reply.take().expect("a reply was found");
        self.measure();
        reply
    }
}

impl From<(Message, Refusal)> for RequestError {
    fn from((message, refusal): (Message, Refusal)) -> RequestError {
        match refusal {
            Refusal::Full | Refusal::NoPeer => RequestError::Timeout,
            Refusal::TooLarge => RequestError::TooLarge(message),
            Refusal::WrongState => RequestError::WrongState(message),
            Refusal::PeerLost => RequestError::PeerLost,
            Refusal::Over(Over::IoThreadDied) => RequestError::IoThreadDied,
            Refusal::Over(Over::Closed) => RequestError::Closed,
            Refusal::Over(Over::Forked) => RequestError::Forked,
        }
    }
}

impl From<Nothing> for RequestError {
    fn from(nothing: Nothing) -> RequestError {
        match nothing {
            Nothing::Empty => RequestError::Timeout,
            // Only a request that was given up behind our back could lead here, which needs the socket that is borrowed.
            Nothing::PeerLost | Nothing::WrongState => RequestError::PeerLost,
            Nothing::Over(Over::IoThreadDied) => RequestError::IoThreadDied,
            Nothing::Over(Over::Closed) => RequestError::Closed,
            Nothing::Over(Over::Forked) => RequestError::Forked,
        }
    }
}
