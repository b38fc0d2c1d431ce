//! Devices: programs in between, that pass on what one socket receives through another (`zmq_proxy`).
//!
//! | file | what it is |
//! | --- | --- |
//! | [`lane`] | one direction: taking, giving, counting |
//! | [`capture`] | the copy of everything that passes |
//! | [`control`] | pausing, stopping, figures |
//!
//! The thread of a proxy goes round: a bounded number of messages forth, as many back, a look at what others want of it. When
//! a whole round has moved nothing it sleeps, and news of any of its sockets wakes it.
//!
//! ```text
//!               ┌───────── moved something ────────┐
//!               ▼                                  │
//!   start ──► turn ──► front to back, back to front ──► nothing: sleep until there is news
//!              │ ▲
//!        pause │ │ resume                 paused: takes note of peers that come and go, and of nothing else
//!              ▼ │
//!             paused
//!
//!   stop, from anywhere ──► takes what has been received so far, and no more ──► ends
//! ```
//!
//! A message that was taken and finds no room is held, and nothing more is taken from that side: so its queue fills, and the
//! next one's before it. The other direction goes on.

mod capture;
mod control;
mod lane;

use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::task::Context as TaskContext;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use thiserror::Error;

use crate::framing::Run;
use crate::message::Message;
use crate::socket::park;
use crate::socket::passing::Side;
use crate::socket::pipeline::{PullSocket, PushSocket};
use crate::socket::router::{DealerSocket, RouterSocket};
use crate::socket::xpubsub::{XPubSocket, XSubSocket};
use capture::Tap;
use control::{Entered, Wanted};
use lane::Lane;
use sealed::Passes as _;

pub use capture::Capture;
pub use control::{Flow, ProxyControl, ProxyStats};

/// Passes on what one socket receives through another, and back: a *queue* between clients and workers, a *forwarder*
/// between publishers and subscribers, or a *streamer* between two stages of a pipeline.
///
/// Messages keep their order, and none is lost on the way. When the other side has no room, one message at most is taken and
/// held; then nothing more is taken, so that the peers are held back by their own high-water marks. Meanwhile the other
/// direction goes on. What cannot be passed on at all is [counted](Flow) and dropped: a reply to a client that is gone, a
/// message over the other socket's limits.
///
/// Bind and connect the sockets before; the options, too, are theirs. The proxy [runs](Self::run) on the calling thread or on
/// one [of its own](Self::spawn), until it is told to [stop](ProxyControl::stop).
///
/// # Examples
/// ```
/// use zerowire::{Context, DealerSocket, Message, Proxy, RepSocket, ReqSocket, RouterSocket};
///
/// let context = Context::new();
/// let (mut front, mut back) = (RouterSocket::new(&context), DealerSocket::new(&context));
/// let for_clients = front.bind("tcp://127.0.0.1:0")?;
/// back.bind("inproc://workers")?;
/// let proxy = Proxy::queue(front, back).spawn()?;
///
/// let mut worker = RepSocket::new(&context);
/// worker.connect("inproc://workers")?;
/// std::thread::spawn(move || {
///     while let Ok(request) = worker.next() {
///         let reply = request.message().clone();
///         let _ = request.reply(reply);
///     }
/// });
///
/// let mut client = ReqSocket::new(&context);
/// client.connect(for_clients)?;
/// client.send("hello")?;
/// assert_eq!(client.recv()?.as_bytes(), b"hello");
///
/// let end = proxy.stop()?;
/// assert_eq!(end.stats.front_to_back.messages, 1);
/// assert_eq!(end.stats.back_to_front.messages, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a proxy does nothing until it runs"]
pub struct Proxy<F, B> {
    sockets: (F, B),
    tap: Tap,
    /// From front to back, and the other way.
    lanes: [Lane; 2],
    control: ProxyControl,
    stop_timeout: Duration,
}

impl Proxy<RouterSocket, DealerSocket> {
    /// A queue: requests of clients go to workers in turn, and each reply to the client that asked.
    ///
    /// The first part of a message at the back is the name of the client, behind which an envelope goes on unchanged; so
    /// queues can stand one behind the other. A reply to a client that is gone is counted as
    /// [`unroutable`](Flow::unroutable), whatever [`Builder::drop_unroutable`](crate::Builder::drop_unroutable) says.
    ///
    /// A client that does not read its replies holds back, when it is at its high-water mark, those of the others too:
    /// see [`drop_full`](Self::drop_full).
    pub fn queue(front: RouterSocket, back: DealerSocket) -> Proxy<RouterSocket, DealerSocket> {
        Proxy::new(front, back, true)
    }

    /// Has replies to a client at its high-water mark dropped and [counted](Flow::dropped), as `zmq_proxy` drops them without
    /// a word, so that it does not hold back the replies of others.
    ///
    /// Default: off. Then such a reply waits until the client reads, or until heartbeats find it dead.
    pub fn drop_full(mut self, on: bool) -> Proxy<RouterSocket, DealerSocket> {
        self.lanes[1].drop_full = on;
        self
    }
}

impl Proxy<XSubSocket, XPubSocket> {
    /// A forwarder: messages of publishers go to subscribers, and subscriptions, and whatever else subscribers say, to
    /// publishers.
    ///
    /// Only what somebody wants is asked for, so it hides nothing: the publisher is told what it would be told without it. How
    /// much that is, is a matter of [`Builder::verbosity`](crate::Builder::verbosity) at the back; in
    /// [manual mode](crate::Builder::manual) there would be nobody to decide.
    ///
    /// What becomes of a subscriber that is too slow is said by
    /// [`Builder::slow_subscriber`](crate::Builder::slow_subscriber) at the back. By default it misses messages, which are
    /// [counted](Flow::missed). With [`Block`](crate::SlowSubscriber::Block) all wait for it that long, with
    /// [`Fail`](crate::SlowSubscriber::Fail) for ever, as there is nobody to be told of the failure.
    pub fn forwarder(front: XSubSocket, back: XPubSocket) -> Proxy<XSubSocket, XPubSocket> {
        Proxy::new(front, back, false)
    }
}

impl Proxy<PullSocket, PushSocket> {
    /// A streamer: work goes on to the next stage.
    pub fn streamer(front: PullSocket, back: PushSocket) -> Proxy<PullSocket, PushSocket> {
        Proxy::new(front, back, false)
    }
}

impl<F, B> Proxy<F, B> {
    fn new(front: F, back: B, named: bool) -> Proxy<F, B> {
        Proxy {
            sockets: (front, back),
            tap: Tap::default(),
            lanes: [
                Lane::new(ProxySide::Back, named),
                Lane::new(ProxySide::Front, named),
            ],
            control: ProxyControl::new(),
            stop_timeout: STOP_TIMEOUT,
        }
    }

    /// Gives a copy of each message that was passed on, in either direction, to a [`PushSocket`] or a
    /// [`PubSocket`](crate::PubSocket).
    ///
    /// It never holds up the proxy: copies that the socket cannot take at once are dropped, and
    /// [counted](ProxyStats::capture_dropped), as are all if its I/O thread fails.
    pub fn capture(mut self, socket: impl Into<Capture>) -> Proxy<F, B> {
        self.tap.socket = Some(socket.into());
        self
    }

    /// Sets how long the proxy, when it is told to stop, may take to pass on what it has received.
    ///
    /// Default 30 s. With zero it passes on what finds room at once.
    pub fn stop_timeout(mut self, timeout: Duration) -> Proxy<F, B> {
        self.stop_timeout = timeout;
        self
    }

    /// What the proxy is controlled by.
    pub fn control(&self) -> ProxyControl {
        self.control.clone()
    }
}

impl<F, B> Proxy<F, B>
where
    F: Send + 'static,
    B: Send + 'static,
    (F, B): Pairing,
{
    /// Passes messages on until the proxy is told to [stop](ProxyControl::stop). Blocks the thread until then.
    ///
    /// # Errors
    /// [`ProxyError`] if the I/O thread of the front or the back socket has failed, or its context was shut down. It has the sockets, and the message that
    /// could not be passed on; what the front had received before the failure was passed on as far as there was somebody to
    /// take it.
    pub fn run(mut self) -> Result<ProxyEnd<F, B>, ProxyError<F, B>> {
        let entered = self.control.enter();
        let result = self.pass_on(&entered);
        let stats = self.stats();
        entered.turn(&stats);
        drop(entered);
        let [forth, back] = self.lanes;
        let end = ProxyEnd {
            front: self.sockets.0,
            back: self.sockets.1,
            capture: self.tap.socket,
            stats,
            for_back: forth.into_held(),
            for_front: back.into_held(),
        };
        match result {
            Ok(()) => Ok(end),
            Err(side) => Err(ProxyError {
                side,
                end: Box::new(end),
            }),
        }
    }

    /// Runs the proxy on a thread of its own.
    ///
    /// # Errors
    /// What the operating system says if it has no thread to give; the sockets are closed then.
    pub fn spawn(self) -> io::Result<ProxyHandle<F, B>> {
        let control = self.control();
        let thread = thread::Builder::new()
            .name("zerowire-proxy".to_owned())
            .spawn(move || self.run())?;
        Ok(ProxyHandle { thread, control })
    }

    fn pass_on(&mut self, entered: &Entered) -> Result<(), ProxySide> {
        let mut patience = park::Patience::default();
        let mut end = None;
        loop {
            let wanted = entered.turn(&self.stats());
            let moved = match wanted {
                Wanted::Pause => 0,
                Wanted::Run => self.turn()?,
                Wanted::Stop => {
                    let deadline = *end.get_or_insert_with(|| {
                        self.sockets.finish(&mut self.lanes);
                        Instant::now().checked_add(self.stop_timeout)
                    });
                    let moved = self.turn()?;
                    let is_late = deadline.is_some_and(|deadline| deadline <= Instant::now());
                    let is_held_up = self.lanes.iter().any(Lane::is_held_up);
                    if is_late || moved == 0 && !is_held_up {
                        return Ok(());
                    }
                    moved
                }
            };
            if moved > 0 || self.tidy() {
                continue;
            }
            self.check()?;
            let waits = self.lanes.iter().map(Lane::until).chain(end);
            let deadline = match wanted {
                Wanted::Pause => None,
                Wanted::Run | Wanted::Stop => waits.flatten().min(),
            };
            self.sleep(&mut patience, deadline);
        }
    }

    /// Passes on a portion of messages in each direction.
    fn turn(&mut self) -> Result<usize, ProxySide> {
        let [forth, back] = &mut self.lanes;
        Ok(self.sockets.forth(forth, &mut self.tap)? + self.sockets.back(back, &mut self.tap)?)
    }

    /// Takes note of peers that came and went. False if there was no news.
    fn tidy(&mut self) -> bool {
        let mut was_news = false;
        for side in self.sides() {
            if side.is_news() {
                side.tidy();
                was_news = true;
            }
        }
        was_news
    }

    /// Whether both sockets are alive.
    fn check(&mut self) -> Result<(), ProxySide> {
        let [front, back] = self.sockets.sides();
        match (front.is_over(), back.is_over()) {
            (true, _) => Err(ProxySide::Front),
            (_, true) => Err(ProxySide::Back),
            _ => Ok(()),
        }
    }

    /// Sleeps until there is news, somebody wants something, or it is time.
    fn sleep(&mut self, patience: &mut park::Patience, deadline: Option<Instant>) {
        let sides: SmallVec<[&mut dyn Side; 3]> = self.sides().collect();
        if park::look_for_a_while(patience, deadline, || sides.iter().any(|side| side.is_news())) {
            return;
        }
        let sleeps = park::with_waker(|waker| {
            let task = TaskContext::from_waker(waker);
            sides.iter().all(|side| side.sleep(&task))
        });
        if sleeps {
            park::until(deadline);
        }
    }

    fn sides(&mut self) -> impl Iterator<Item = &mut dyn Side> {
        self.sockets.sides().into_iter().chain(self.tap.side())
    }

    fn stats(&self) -> ProxyStats {
        ProxyStats {
            front_to_back: self.lanes[0].flow,
            back_to_front: self.lanes[1].flow,
            captured: self.tap.captured,
            capture_dropped: self.tap.dropped,
        }
    }
}

impl<F, B> fmt::Debug for Proxy<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("capture", &self.tap.socket)
            .field("stop_timeout", &self.stop_timeout)
            .finish_non_exhaustive()
    }
}

/// Two sockets that a [`Proxy`] goes between: sealed, implemented for those that its constructors take.
pub trait Pairing: sealed::Passes {}

mod sealed {
    use super::capture::Tap;
    use super::lane::Lane;
    use super::{ProxySide, Side};

    pub trait Passes {
        fn sides(&mut self) -> [&mut dyn Side; 2];
        fn forth(&mut self, lane: &mut Lane, tap: &mut Tap) -> Result<usize, ProxySide>;
        fn back(&mut self, lane: &mut Lane, tap: &mut Tap) -> Result<usize, ProxySide>;
        fn finish(&mut self, lanes: &mut [Lane; 2]);
    }
}

/// Sockets between which messages pass both ways.
macro_rules! both_ways {
    ($($front:ident $back:ident;)*) => {
        $(impl Pairing for ($front, $back) {}

        impl sealed::Passes for ($front, $back) {
            fn sides(&mut self) -> [&mut dyn Side; 2] {
                [&mut self.0, &mut self.1]
            }

            fn forth(&mut self, lane: &mut Lane, tap: &mut Tap) -> Result<usize, ProxySide> {
                lane.pass(&mut self.0, &mut self.1, tap, |_, _, _| Run::default())
            }

            fn back(&mut self, lane: &mut Lane, tap: &mut Tap) -> Result<usize, ProxySide> {
                lane.pass(&mut self.1, &mut self.0, tap, |_, _, _| Run::default())
            }

            fn finish(&mut self, lanes: &mut [Lane; 2]) {
                lanes[0].finish(&mut self.0);
                lanes[1].finish(&mut self.1);
            }
        })*
    };
}

both_ways! {
    RouterSocket DealerSocket;
    XSubSocket XPubSocket;
}

impl Pairing for (PullSocket, PushSocket) {}

impl sealed::Passes for (PullSocket, PushSocket) {
    fn sides(&mut self) -> [&mut dyn Side; 2] {
        [&mut self.0, &mut self.1]
    }

    fn forth(&mut self, lane: &mut Lane, tap: &mut Tap) -> Result<usize, ProxySide> {
        lane.pass(&mut self.0, &mut self.1, tap, PullSocket::forward)
    }

    fn back(&mut self, _lane: &mut Lane, _tap: &mut Tap) -> Result<usize, ProxySide> {
        Ok(0)
    }

    fn finish(&mut self, lanes: &mut [Lane; 2]) {
        lanes[0].finish(&mut self.0);
    }
}

/// A [`Proxy`] that runs on a thread of its own.
///
/// Dropping it changes nothing: the proxy goes on, as long as the process does or until a [`ProxyControl`] stops it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, Proxy, PubSocket, SubSocket, XPubSocket, XSubSocket};
///
/// let context = Context::new();
/// let mut publisher = PubSocket::new(&context);
/// publisher.bind("inproc://source")?;
/// let (mut front, mut back) = (XSubSocket::new(&context), XPubSocket::new(&context));
/// front.connect("inproc://source")?;
/// let copies = back.bind("tcp://127.0.0.1:0")?;
/// let proxy = Proxy::forwarder(front, back).spawn()?;
///
/// let mut subscriber = SubSocket::new(&context);
/// subscriber.connect(copies)?;
/// subscriber.subscribe("a")?;
/// publisher.wait_for_subscribers(1, Duration::from_secs(5))?;
/// publisher.send("a message")?;
/// assert_eq!(subscriber.recv()?.as_bytes(), b"a message");
///
/// proxy.pause();
/// publisher.send("another message")?;
/// assert_eq!(proxy.stats().front_to_back.messages, 1);
/// proxy.resume();
/// assert_eq!(subscriber.recv()?.as_bytes(), b"another message");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ProxyHandle<F, B> {
    thread: JoinHandle<Result<ProxyEnd<F, B>, ProxyError<F, B>>>,
    control: ProxyControl,
}

impl<F, B> ProxyHandle<F, B> {
    /// What the proxy is controlled by, for other threads.
    pub fn control(&self) -> ProxyControl {
        self.control.clone()
    }

    /// As [`ProxyControl::pause`].
    pub fn pause(&self) {
        self.control.pause();
    }

    /// As [`ProxyControl::resume`].
    pub fn resume(&self) {
        self.control.resume();
    }

    /// As [`ProxyControl::stats`].
    pub fn stats(&self) -> ProxyStats {
        self.control.stats()
    }

    /// Stops the proxy as [`ProxyControl::stop`] does, and waits for its end, at most a little longer than the
    /// [time that was set](Proxy::stop_timeout).
    ///
    /// # Errors
    /// As for [`Proxy::run`].
    ///
    /// # Panics
    /// If the proxy did, with its panic.
    pub fn stop(self) -> Result<ProxyEnd<F, B>, ProxyError<F, B>> {
        self.control.stop();
        self.join()
    }

    /// Waits for the end of the proxy, for ever if nobody stops it.
    ///
    /// # Errors
    /// As for [`Proxy::run`].
    ///
    /// # Panics
    /// If the proxy did, with its panic.
    pub fn join(self) -> Result<ProxyEnd<F, B>, ProxyError<F, B>> {
        self.thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Whether the proxy has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// What is left of a [`Proxy`] that has ended: its sockets, open and connected as they were.
///
/// What they received and the proxy did not pass on can be received from them. Dropping it closes them, and what was passed on
/// is still written (see [`Builder::linger`](crate::Builder::linger)).
///
/// # Examples
/// ```
/// use zerowire::{Context, Proxy, PullSocket, PushSocket, RecvTimeoutError};
///
/// let context = Context::new();
/// let proxy = Proxy::streamer(PullSocket::new(&context), PushSocket::new(&context)).spawn()?;
/// let mut end = proxy.stop()?;
/// end.front.bind("inproc://once-more")?;
/// assert!(end.for_back.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct ProxyEnd<F, B> {
    /// The front socket.
    pub front: F,
    /// The back socket.
    pub back: B,
    /// The capture socket, if there was one.
    pub capture: Option<Capture>,
    /// What the proxy has done in all.
    pub stats: ProxyStats,
    /// A message that was taken from the front, and for which the back had no room in time.
    pub for_back: Option<Message>,
    /// A message that was taken from the back, and for which the front had no room in time; in a queue with the name of the
    /// client in front.
    pub for_front: Option<Message>,
}

/// The I/O thread of one of a [`Proxy`]'s sockets has failed, or its context was shut down.
#[derive(Debug, Error)]
#[error("the {side} socket has no use any more: its I/O thread has died, or its context was shut down")]
#[non_exhaustive]
pub struct ProxyError<F, B> {
    /// Which socket it was.
    pub side: ProxySide,
    /// The sockets, of which the other one can still be used, and what the proxy had done.
    pub end: Box<ProxyEnd<F, B>>,
}

/// One of the two sockets of a [`Proxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxySide {
    /// The one for clients or publishers, or for work that comes in.
    Front,
    /// The one for workers or subscribers, or for work that goes on.
    Back,
}

impl fmt::Display for ProxySide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxySide::Front => "front",
            ProxySide::Back => "back",
        })
    }
}

/// How long a proxy that is told to stop may take, by default.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use super::*;
    use crate::socket::passing::{Given, Sink, Source};
    use crate::socket::receive_half::Arrived;

    /// A socket that a test plays.
    #[derive(Clone, Debug, Default)]
    struct Played(Arc<Mutex<Play>>);

    #[derive(Debug, Default)]
    struct Play {
        incoming: VecDeque<Message>,
        /// For each that is taken, another one comes.
        endless: bool,
        room: usize,
        given: Vec<Message>,
        news: bool,
        died: bool,
        sleeper: Option<Waker>,
    }

    impl Played {
        fn change(&self, change: impl FnOnce(&mut Play)) {
            let mut play = self.0.lock().unwrap();
            change(&mut play);
            play.news = true;
            if let Some(waker) = play.sleeper.take() {
                waker.wake();
            }
        }
    }

    impl Side for Played {
        fn is_news(&self) -> bool {
            self.0.lock().unwrap().news
        }

        fn tidy(&mut self) {
            self.0.lock().unwrap().news = false;
        }

        fn sleep(&self, task: &TaskContext<'_>) -> bool {
            let mut play = self.0.lock().unwrap();
            play.sleeper = Some(task.waker().clone());
            !play.news
        }

        fn is_over(&self) -> bool {
            self.0.lock().unwrap().died
        }
    }

    impl Source for Played {
        fn next(&mut self) -> Option<Message> {
            let mut play = self.0.lock().unwrap();
            if play.endless {
                play.incoming.push_back(Message::from("more"));
            }
            play.incoming.pop_front()
        }

        fn arrived(&mut self) -> Arrived {
            Arrived::Some(self.0.lock().unwrap().incoming.len() as u64)
        }

        fn next_arrived(&mut self, arrived: &mut Arrived) -> Option<Message> {
            arrived.take_one().then(|| self.next())?
        }
    }

    impl Sink for Played {
        fn give(&mut self, message: Message, _last_try: bool) -> Given {
            let mut play = self.0.lock().unwrap();
            match (play.died, play.room) {
                (true, _) => return Given::Over(message),
                (_, 0) => return Given::Full(message, None),
                _ => {}
            }
            play.room -= 1;
            play.given.push(message);
            Given::Accepted { missed: 0 }
        }
    }

    both_ways! {
        Played Played;
    }

    /// A proxy that runs between two sockets, of which the front has room and three messages.
    fn start(room_behind: usize) -> (Played, Played, ProxyHandle<Played, Played>) {
        let (front, back) = (Played::default(), Played::default());
        front.change(|play| {
            play.room = 10;
            play.incoming.extend(["a", "b", "c"].map(Message::from));
        });
        back.change(|play| play.room = room_behind);
        let proxy = Proxy::new(front.clone(), back.clone(), false);
        (front, back, proxy.spawn().unwrap())
    }

    fn wait_until(mut condition: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < end);
            thread::yield_now();
        }
    }

    #[test]
    fn the_death_of_a_side_ends_a_proxy_that_sleeps() {
        for (dies, paused) in [
            (ProxySide::Front, false),
            (ProxySide::Back, false),
            (ProxySide::Back, true),
        ] {
            let (front, back, proxy) = start(10);
            wait_until(|| proxy.stats().front_to_back.messages == 3);
            if paused {
                proxy.pause();
            }
            match dies {
                ProxySide::Front => front.change(|play| play.died = true),
                ProxySide::Back => back.change(|play| play.died = true),
            }
            let error = proxy.join().map(drop).unwrap_err();
            assert_eq!(error.side, dies);
            assert!(error.to_string().contains(&dies.to_string()));
            assert_eq!(error.end.stats.front_to_back.messages, 3);
        }
    }

    #[test]
    fn what_a_dead_side_does_not_take_comes_back() {
        let (_front, back, proxy) = start(1);
        wait_until(|| proxy.stats().front_to_back.held == 1);
        back.change(|play| play.died = true);
        let error = proxy.join().map(drop).unwrap_err();
        assert_eq!(error.side, ProxySide::Back);
        assert_eq!(error.end.for_back, Some(Message::from("b")));
        assert_eq!(
            error.end.front.0.lock().unwrap().incoming,
            ["c"].map(Message::from)
        );
        assert_eq!(back.0.lock().unwrap().given, ["a"].map(Message::from));
    }

    #[test]
    fn a_stop_takes_what_was_there_and_no_more() {
        let (front, back) = (Played::default(), Played::default());
        front.change(|play| {
            play.incoming.extend(["a", "b", "c"].map(Message::from));
            play.endless = true;
        });
        back.change(|play| play.room = usize::MAX);
        let proxy = Proxy::new(front.clone(), back.clone(), false);
        proxy.control.pause();
        let end = proxy.spawn().unwrap().stop().unwrap();
        assert_eq!(end.stats.front_to_back.messages, 3);
        assert_eq!(back.0.lock().unwrap().given, ["a", "b", "c"].map(Message::from));
        assert_eq!(front.0.lock().unwrap().incoming.len(), 3);
    }

    #[test]
    fn a_panic_reaches_whoever_waits_for_the_proxy() {
        let (front, _back, proxy) = start(10);
        wait_until(|| proxy.stats().front_to_back.messages == 3);
        let lock = front.0.clone();
        // A poisoned lock stands for a fault of our own.
        let _ = thread::spawn(move || {
            let _held = lock.lock().unwrap();
            panic!("on purpose");
        })
        .join();
        let control = proxy.control();
        control.stop();
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| proxy.stop().map(drop))).is_err());
        // It is not waited for any more.
        control.pause();
    }
}
