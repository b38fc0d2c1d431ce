//! Sockets that several threads or tasks send through at once.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::core::SocketCore;
use super::fan_out::{Published, Publisher};
use super::methods::Outgoing;
use super::park;
use super::pipeline::PushSocket;
use super::pubsub::PubSocket;
use super::send_half::{Refusal, SendHalf};
use crate::error::{SendError, SendTimeoutError, TrySendError};
use crate::message::Message;
use crate::monitor::Monitor;
use crate::pipe::inbox::wake;
use crate::routing::load_balancer::LoadBalancer;

/// A [`PushSocket`] that any number of threads and tasks send through, each with a clone of its own.
///
/// A send holds a lock while it gives its message away, and none while it waits for room. The socket closes when the last
/// clone is dropped.
///
/// # Examples
/// ```
/// use zerowire::{Context, PullSocket, PushSocket};
///
/// let context = Context::new();
/// let mut pull = PullSocket::new(&context);
/// pull.bind("inproc://results")?;
/// let mut push = PushSocket::new(&context);
/// push.connect("inproc://results")?;
/// let results = push.into_shared();
/// for number in 0..4_u32 {
///     let results = results.clone();
///     std::thread::spawn(move || results.send(number.to_string()));
/// }
/// let mut sum = 0;
/// for _ in 0..4 {
///     sum += pull.recv()?.to_str()?.parse::<u32>()?;
/// }
/// assert_eq!(sum, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedPushSocket {
    shared: Arc<Shared<Pusher>>,
}

/// A [`PubSocket`] that any number of threads and tasks publish through, each with a clone of its own.
///
/// A send holds a lock while it gives its message to the subscribers, and none while it waits for a slow one. The socket
/// closes when the last clone is dropped.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, PubSocket, SubSocket};
///
/// let context = Context::new();
/// let mut publisher = PubSocket::new(&context);
/// publisher.bind("inproc://log")?;
/// let mut log = SubSocket::new(&context);
/// log.connect("inproc://log")?;
/// log.subscribe("")?;
/// publisher.wait_for_subscribers(1, Duration::from_secs(5))?;
/// let publisher = publisher.into_shared();
/// let clone = publisher.clone();
/// std::thread::spawn(move || clone.send("from a thread"));
/// assert_eq!(log.recv()?.as_bytes(), b"from a thread");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedPubSocket {
    shared: Arc<Shared<Publisher>>,
}

struct Pusher {
    core: SocketCore,
    half: SendHalf<LoadBalancer>,
}

/// What the clones have in common.
struct Shared<T> {
    socket: Mutex<T>,
    /// Who waits for news. The socket's inbox, which knows one sleeper, wakes this, and this wakes them all.
    waiters: Arc<Waiters>,
    waker: Waker,
}

#[derive(Default)]
struct Waiters {
    wakers: Mutex<Vec<Waker>>,
}

impl Waiters {
    fn add(&self, waker: &Waker) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        // Who gave up waiting and came back is in the list already.
        if !wakers.iter().any(|other| other.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(wake);
    }
}

impl<T> Shared<T> {
    fn new(socket: T) -> Shared<T> {
        let waiters = Arc::new(Waiters::default());
        Shared {
            socket: Mutex::new(socket),
            waker: Waker::from(waiters.clone()),
            waiters,
        }
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries until there is a result, waiting for news in between: nothing, when the deadline has passed before.
    fn wait_for<R>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut T) -> Option<R>,
        sleep: impl Fn(&T, &TaskContext<'_>) -> bool,
    ) -> Option<R> {
        loop {
            let asleep = {
                let mut socket = self.lock();
                if let Some(result) = attempt(&mut socket) {
                    return Some(result);
                }
                park::with_waker(|waker| self.waiters.add(waker));
                sleep(&socket, &TaskContext::from_waker(&self.waker))
            };
            // Any news ends the sleep, and so may things that have nothing to do with it: then it is tried again.
            if asleep && !park::until(deadline) {
                return None;
            }
        }
    }

    /// Ready with the result of an attempt, or pending until there is news.
    fn poll_for<R>(
        &self,
        task: &TaskContext<'_>,
        mut attempt: impl FnMut(&mut T) -> Option<R>,
        sleep: impl Fn(&T, &TaskContext<'_>) -> bool,
    ) -> Poll<R> {
        let mut socket = self.lock();
        loop {
            if let Some(result) = attempt(&mut socket) {
                return Poll::Ready(result);
            }
            self.waiters.add(task.waker());
            if sleep(&socket, &TaskContext::from_waker(&self.waker)) {
                return Poll::Pending;
            }
        }
    }
}

impl PushSocket {
    /// Turns the socket into a handle that can be cloned, for many threads and tasks that send. Bind and connect before.
    pub fn into_shared(self) -> SharedPushSocket {
        let (core, half) = self.into_parts();
        SharedPushSocket {
            shared: Arc::new(Shared::new(Pusher { core, half })),
        }
    }
}

impl SharedPushSocket {
    /// As [`PushSocket::send`].
    ///
    /// # Errors
    /// [`SendError`] gives the message back.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        match self.send_by(message.into(), None) {
            Ok(()) => Ok(()),
            Err(refused) => Err(refused.into()),
        }
    }

    /// As [`PushSocket::try_send`]. It may still have to wait for another thread's send, though not for that to find room.
    ///
    /// # Errors
    /// [`TrySendError`] tells why not, "no peer" and "queue full" apart, and gives the message back.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        Outgoing::try_send(&mut self.shared.lock().half, message.into()).map_err(TrySendError::from)
    }

    /// As [`PushSocket::send_timeout`].
    ///
    /// # Errors
    /// [`SendTimeoutError`] tells why not and gives the message back.
    pub fn send_timeout(
        &self,
        message: impl Into<Message>,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError> {
        self.send_by(message.into(), Instant::now().checked_add(timeout))
            .map_err(SendTimeoutError::from)
    }

    fn send_by(&self, message: Message, deadline: Option<Instant>) -> Result<(), (Message, Refusal)> {
        let mut unsent = Some(message);
        let sent = self
            .shared
            .wait_for(deadline, |pusher| pusher.attempt(&mut unsent), Pusher::sleep);
        match (sent, unsent) {
            (None, Some(message)) => Err((message, Refusal::Full)),
            (sent, _) => sent.unwrap_or(Ok(())),
        }
    }

    /// As [`PushSocket::send_async`], cancel-safe in the same sense.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn send_async(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut unsent = Some(message.into());
        poll_fn(|task| {
            self.shared
                .poll_for(task, |pusher| pusher.attempt(&mut unsent), Pusher::sleep)
        })
        .await
        .map_err(SendError::from)
    }

    /// As [`PushSocket::lost`].
    pub fn lost(&self) -> u64 {
        self.shared.lock().half.lost()
    }

    /// As [`PushSocket::monitor`].
    pub fn monitor(&self) -> Monitor {
        self.shared.lock().core.monitor()
    }
}

impl Pusher {
    /// Tries to send; nothing if it has to wait.
    fn attempt(&mut self, unsent: &mut Option<Message>) -> Option<Result<(), (Message, Refusal)>> {
        match Outgoing::try_send(&mut self.half, unsent.take()?) {
            Err((message, Refusal::Full | Refusal::NoPeer)) => {
                *unsent = Some(message);
                None
            }
            done => Some(done),
        }
    }

    fn sleep(&self, task: &TaskContext<'_>) -> bool {
        self.half.sleep(task)
    }
}

impl PubSocket {
    /// Turns the socket into a handle that can be cloned, for many threads and tasks that publish. Bind and connect before.
    pub fn into_shared(self) -> SharedPubSocket {
        SharedPubSocket {
            shared: Arc::new(Shared::new(self.into_publisher())),
        }
    }
}

impl SharedPubSocket {
    /// As [`PubSocket::send`].
    ///
    /// # Errors
    /// [`SendError`] gives the message back, which nobody has got then.
    pub fn send(&self, message: impl Into<Message>) -> Result<Published, SendError> {
        let message = message.into();
        let deadline = self.shared.lock().deadline();
        let published = self.shared.wait_for(
            deadline,
            |publisher| publisher.attempt(&message),
            Publisher::sleep,
        );
        // The time for slow subscribers is over: the others get it.
        let published = published.unwrap_or_else(|| self.shared.lock().publish(&message, true));
        published.map_err(|refusal| (message, refusal).into())
    }

    /// As [`PubSocket::try_send`]. It may still have to wait for another thread's send, though not for that to find room.
    ///
    /// # Errors
    /// [`TrySendError`] gives the message back, which nobody has got then.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Published, TrySendError> {
        let message = message.into();
        let published = self.shared.lock().publish(&message, false);
        published.map_err(|refusal| (message, refusal).into())
    }

    /// As [`PubSocket::send_async`], cancel-safe in the same sense.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn send_async(&self, message: impl Into<Message>) -> Result<Published, SendError> {
        let message = message.into();
        let published = poll_fn(|task| {
            self.shared
                .poll_for(task, |publisher| publisher.attempt(&message), Publisher::sleep)
        });
        published.await.map_err(|refusal| (message, refusal).into())
    }

    /// As [`PubSocket::subscribers`].
    pub fn subscribers(&self) -> usize {
        let mut publisher = self.shared.lock();
        publisher.catch_up();
        publisher.send.route.topics.subscribers()
    }

    /// As [`PubSocket::dropped`].
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }

    /// As [`PubSocket::lost`].
    pub fn lost(&self) -> u64 {
        self.shared.lock().send.lost()
    }

    /// As [`PubSocket::monitor`].
    pub fn monitor(&self) -> Monitor {
        self.shared.lock().core.monitor()
    }
}

impl Publisher {
    /// Tries to publish; nothing if it has to wait.
    fn attempt(&mut self, message: &Message) -> Option<Result<Published, Refusal>> {
        match self.publish(message, false) {
            Err(Refusal::Full) if self.may_wait() => None,
            done => Some(done),
        }
    }

    fn sleep(&self, task: &TaskContext<'_>) -> bool {
        self.send.sleep(task)
    }
}

impl fmt::Debug for SharedPushSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPushSocket").finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedPubSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPubSocket").finish_non_exhaustive()
    }
}
