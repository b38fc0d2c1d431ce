//! Sockets that several threads or tasks send through at once.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::core::SocketCore;
use super::counting::Counted;
use super::fan_out::{Published, Publisher};
use super::level::{Level, SendReady, sealed};
use super::methods::Outgoing;
use super::park;
use super::pipeline::PushSocket;
use super::pubsub::PubSocket;
use super::send_half::{Refusal, SendHalf};
use crate::error::{SendError, SendTimeoutError, TrySendError};
use crate::mailbox::Over;
use crate::message::Message;
use crate::monitor::Monitor;
use crate::pipe::inbox::{HeldWakes, hold_wakes, wake};
use crate::pipe::sync::HomeMutex;
use crate::routing::load_balancer::LoadBalancer;
use crate::stats::Sent;
#[cfg(unix)]
use crate::transport::bell::ReadyFd;

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
    list: HomeMutex<List>,
}

#[derive(Default)]
struct List {
    wakers: BTreeMap<u64, Waker>,
    /// The number of the next one who waits.
    next: u64,
}

impl Waiters {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock()
    }
}

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        let wakers = std::mem::take(&mut self.list().wakers);
        wakers.into_values().for_each(wake);
    }
}

/// One call or future that may have to wait. It leaves the list when it ends: one that was given up may be the last thing
/// its executor hears of, for as long as there is no news.
struct Waiting<'a> {
    waiters: &'a Waiters,
    number: Option<u64>,
}

impl<'a> Waiting<'a> {
    fn new(waiters: &'a Waiters) -> Waiting<'a> {
        Waiting {
            waiters,
            number: None,
        }
    }

    /// Has this waker called at the next news.
    fn wake_with(&mut self, waker: &Waker) {
        // Cloned and dropped outside the lock: both are anybody's code.
        let waker = waker.clone();
        let mut list = self.waiters.list();
        let number = *self.number.get_or_insert_with(|| {
            list.next += 1;
            list.next
        });
        let before = list.wakers.insert(number, waker);
        drop(list);
        drop(before);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = self.waiters.list().wakers.remove(&number);
            drop(waker);
        }
    }
}

/// The socket of somebody who holds the lock. Whoever is woken by what is done to it is woken when it is let go of: a task may
/// send through the same socket at once.
struct Locked<'a, T> {
    // In this order: the lock ends first.
    socket: MutexGuard<'a, T>,
    _held: HeldWakes,
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.socket
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.socket
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

    fn lock(&self) -> Locked<'_, T> {
        let held = hold_wakes();
        Locked {
            socket: self.socket.lock().unwrap_or_else(PoisonError::into_inner),
            _held: held,
        }
    }

    /// Tries until there is a result, waiting for news in between: nothing, when the deadline has passed before.
    fn wait_for<R>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&mut T) -> Option<R>,
        sleep: impl Fn(&T, &TaskContext<'_>) -> bool,
    ) -> Option<R> {
        let mut waiting = Waiting::new(&self.waiters);
        let mut is_last = false;
        loop {
            let asleep = {
                let mut socket = self.lock();
                if let Some(result) = attempt(&mut socket) {
                    return Some(result);
                }
                if is_last {
                    return None;
                }
                park::with_waker(|waker| waiting.wake_with(waker));
                sleep(&socket, &TaskContext::from_waker(&self.waker))
            };
            // Any news ends the sleep, and so may things that have nothing to do with it: then it is tried again. If there is
            // news already it is tried once more in any case, and no more than that when it is late.
            if !asleep {
                is_last = deadline.is_some_and(|deadline| deadline <= Instant::now());
            } else if !park::until(deadline) {
                return None;
            }
        }
    }

    /// Ready with the result of an attempt, or pending until there is news.
    fn poll_for<R>(
        &self,
        waiting: &mut Waiting<'_>,
        task: &TaskContext<'_>,
        mut attempt: impl FnMut(&mut T) -> Option<R>,
        sleep: impl Fn(&T, &TaskContext<'_>) -> bool,
    ) -> Poll<R> {
        let mut socket = self.lock();
        loop {
            if let Some(result) = attempt(&mut socket) {
                return Poll::Ready(result);
            }
            waiting.wake_with(task.waker());
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
        let mut waiting = Waiting::new(&self.shared.waiters);
        poll_fn(|task| {
            let attempt = |pusher: &mut Pusher| pusher.attempt(&mut unsent);
            self.shared.poll_for(&mut waiting, task, attempt, Pusher::sleep)
        })
        .await
        .map_err(SendError::from)
    }

    /// As [`PushSocket::send_ready_fd`]. What one clone finds is found for all.
    ///
    /// # Errors
    /// As there.
    #[cfg(unix)]
    pub fn send_ready_fd(&self) -> std::io::Result<ReadyFd> {
        self.shared.lock().half.room_level().descriptor()
    }

    /// As [`PushSocket::lost`].
    pub fn lost(&self) -> u64 {
        self.shared.lock().half.lost()
    }

    /// As [`PushSocket::stats`].
    pub fn stats(&self) -> Sent {
        let mut pusher = self.shared.lock();
        pusher.half.catch_up();
        pusher.half.stats()
    }

    /// As [`PushSocket::monitor`].
    pub fn monitor(&self) -> Monitor {
        self.monitor_with(Monitor::DEFAULT_CAPACITY)
    }

    /// As [`monitor`](Self::monitor), with another number of events that may wait for the reader. At least one may.
    pub fn monitor_with(&self, capacity: usize) -> Monitor {
        self.shared.lock().core.monitor(capacity)
    }
}

impl sealed::SendLevel for SharedPushSocket {
    fn send_level(&mut self) -> Arc<Level> {
        self.shared.lock().half.room_level()
    }
}

impl SendReady for SharedPushSocket {}

impl sealed::SendLevel for SharedPubSocket {
    fn send_level(&mut self) -> Arc<Level> {
        self.shared.lock().send_level()
    }
}

impl SendReady for SharedPubSocket {}

impl Pusher {
    /// Tries to send; nothing if it has to wait.
    fn attempt(&mut self, unsent: &mut Option<Message>) -> Option<Result<(), (Message, Refusal)>> {
        match Outgoing::try_send(&mut self.half, unsent.take()?) {
            Err((message, Refusal::Full | Refusal::NoPeer)) if self.half.is_forked() => {
                Some(Err((message, Refusal::Over(Over::Forked))))
            }
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
        let mut waiting = Waiting::new(&self.shared.waiters);
        let published = poll_fn(|task| {
            let attempt = |publisher: &mut Publisher| publisher.attempt(&message);
            self.shared
                .poll_for(&mut waiting, task, attempt, Publisher::sleep)
        });
        published.await.map_err(|refusal| (message, refusal).into())
    }

    /// As [`PubSocket::send_ready_fd`]. What one clone finds is found for all.
    ///
    /// # Errors
    /// As there.
    #[cfg(unix)]
    pub fn send_ready_fd(&self) -> std::io::Result<ReadyFd> {
        self.shared.lock().send_level().descriptor()
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

    /// As [`PubSocket::stats`].
    pub fn stats(&self) -> Sent {
        let mut publisher = self.shared.lock();
        publisher.catch_up();
        publisher.send.stats()
    }

    /// As [`PubSocket::monitor`].
    pub fn monitor(&self) -> Monitor {
        self.monitor_with(Monitor::DEFAULT_CAPACITY)
    }

    /// As [`monitor`](Self::monitor), with another number of events that may wait for the reader. At least one may.
    pub fn monitor_with(&self, capacity: usize) -> Monitor {
        self.shared.lock().core.monitor(capacity)
    }
}

impl Publisher {
    /// Tries to publish; nothing if it has to wait.
    fn attempt(&mut self, message: &Message) -> Option<Result<Published, Refusal>> {
        match self.publish(message, false) {
            Err(Refusal::Full) if self.may_wait() => match self.send.is_forked() {
                true => Some(Err(Refusal::Over(Over::Forked))),
                false => None,
            },
            done => Some(done),
        }
    }

    fn sleep(&self, task: &TaskContext<'_>) -> bool {
        self.sleep_for_room(task)
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

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::context::Context;

    #[test]
    fn who_gives_up_waiting_is_forgotten() {
        let push = PushSocket::new(&Context::new()).into_shared();
        {
            let mut first = pin!(push.send_async("nobody takes it"));
            let mut second = pin!(push.send_async("nor this"));
            let mut task = TaskContext::from_waker(Waker::noop());
            assert!(first.as_mut().poll(&mut task).is_pending());
            assert!(first.as_mut().poll(&mut task).is_pending());
            assert!(second.as_mut().poll(&mut task).is_pending());
            assert_eq!(push.shared.waiters.list().wakers.len(), 2);
        }
        assert!(push.send_timeout("nor this", Duration::from_millis(1)).is_err());
        assert!(push.shared.waiters.list().wakers.is_empty());
    }
}
