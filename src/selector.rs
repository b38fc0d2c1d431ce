//! Waiting for many sockets and descriptors at once.

use std::collections::HashMap;
use std::fmt;
use std::future::poll_fn;
use std::hash::Hash;
use std::io;
#[cfg(unix)]
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

use slab::Slab;
use thiserror::Error;

use crate::pipe::inbox::Inbox;
use crate::pipe::sync::{AtomicBool, Ordering};
use crate::socket::level::{Level, ReceiveReady, SendReady};
use crate::socket::park;
#[cfg(unix)]
use crate::transport::descriptors::{Descriptors, Direction};

/// Waits for any number of sockets, to receive or to send, and for descriptors of others, until one is ready.
///
/// What is waited for has a key, by which it is told apart. The selector does not hold the sockets: they are used between
/// the waits as ever. It is level-triggered: what is still ready is reported by the next wait again, and what was not dealt
/// with is not forgotten. The effort of a wait goes with the number of sockets that are ready, not of those that are waited
/// for.
///
/// Readiness is a hint: there may be nothing to receive after all, because news of a peer came instead of a message, or the
/// room may be gone. So use the calls that do not wait, `try_recv` and `try_send`: the one that finds so ends the readiness.
/// A socket is ready, too, when the call would fail at once. When a [`ReqSocket`](crate::ReqSocket) or a
/// [`RepSocket`](crate::RepSocket) is not to be called, it is not ready.
///
/// A socket can be waited for by several selectors, by its [`ReadyFd`](crate::ReadyFd), by calls that block and by futures,
/// all at once; each hears of everything, and whoever calls first gets the message. A socket may be dropped, or a part that
/// was split off: then it is reported once more, [closed](Selected::is_closed), and removed. When an I/O thread fails, every
/// socket of its context that receives is ready, to say so.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use zerowire::{Context, PullSocket, PushSocket, Selector};
///
/// let context = Context::new();
/// let mut jobs = PullSocket::new(&context);
/// jobs.bind("inproc://jobs")?;
/// let mut orders = PullSocket::new(&context);
/// orders.bind("inproc://orders")?;
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
/// enum From {
///     Jobs,
///     Orders,
/// }
/// let mut selector = Selector::new();
/// selector.receive(From::Jobs, &mut jobs)?;
/// selector.receive(From::Orders, &mut orders)?;
/// assert!(selector.try_wait()?.is_empty());
///
/// let mut boss = PushSocket::new(&context);
/// boss.connect("inproc://orders")?;
/// boss.send("stop")?;
/// 'work: loop {
///     for ready in selector.wait()? {
///         match ready.key {
///             From::Jobs => while let Ok(_job) = jobs.try_recv() {},
///             From::Orders => match orders.try_recv() {
///                 Ok(order) if order.as_bytes() == b"stop" => break 'work,
///                 _ => {}
///             },
///         }
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Selector<K> {
    entries: Slab<Entry<K>>,
    indices: HashMap<K, usize>,
    /// Entries of sockets that may be ready, each once.
    hot: Vec<usize>,
    /// Entries of sockets that became ready; wakes whoever waits. The second list of the inbox is not used.
    inbox: Arc<Inbox<usize>>,
    patience: park::Patience,
    /// The process that made it.
    process: u32,
    /// Made for the first descriptor.
    #[cfg(unix)]
    descriptors: Option<Descriptors>,
    #[cfg(unix)]
    descriptor_count: usize,
}

struct Entry<K> {
    key: K,
    source: Source,
}

enum Source {
    Socket {
        level: Arc<Level>,
        /// Its number among those who observe the level.
        observer: usize,
        post: Arc<Post>,
        is_hot: bool,
    },
    /// With the key that the descriptors have for it.
    #[cfg(unix)]
    Descriptor(usize),
}

/// Something that is ready.
///
/// # Examples
/// ```
/// use zerowire::{Context, PairSocket, Selected, Selector};
///
/// let context = Context::new();
/// let mut pair = PairSocket::new(&context);
/// let mut selector = Selector::new();
/// selector.receive("pair", &mut pair)?;
/// drop(pair);
/// assert_eq!(selector.wait()?, [Selected { key: "pair", is_closed: true }]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selected<K> {
    /// What it was registered as.
    pub key: K,
    /// The socket was dropped. It is not registered any more.
    pub is_closed: bool,
}

/// Why something is not waited for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Something else has the key.
    #[error("the key is in use")]
    KeyInUse,
    /// The operating system cannot wait for the descriptor, as for a plain file, or there are too many descriptors.
    #[error("the descriptor cannot be waited for")]
    Io(#[from] io::Error),
}

/// Why nothing was selected.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SelectError {
    /// Nothing is registered, so the wait would not end.
    #[error("there is nothing to wait for")]
    Empty,
    /// Descriptors need a thread that waits for them.
    #[error("descriptors cannot be waited for without blocking")]
    Descriptors,
    /// This process was forked off the one that made the selector, whose waits are not shared.
    #[error("the selector belongs to the process that this one was forked off")]
    Forked,
    /// What the operating system said about waiting for descriptors.
    #[error("descriptors cannot be waited for")]
    Io(#[from] io::Error),
}

impl<K: Clone + Eq + Hash> Selector<K> {
    /// Makes a selector that waits for nothing yet.
    pub fn new() -> Selector<K> {
        Selector {
            entries: Slab::new(),
            indices: HashMap::new(),
            hot: Vec::new(),
            inbox: Arc::new(Inbox::new()),
            patience: park::Patience::default(),
            process: std::process::id(),
            #[cfg(unix)]
            descriptors: None,
            #[cfg(unix)]
            descriptor_count: 0,
        }
    }

    /// Waits for the socket, or part of one, to have something to receive.
    ///
    /// The socket has to be the same until it is [removed](Self::remove): one that is split or shared is waited for by its
    /// parts. It may be moved.
    ///
    /// # Errors
    /// [`RegisterError::KeyInUse`] if something else has the key.
    pub fn receive(&mut self, key: K, socket: &mut impl ReceiveReady) -> Result<(), RegisterError> {
        self.check(&key)?;
        self.register(key, socket.receive_level());
        Ok(())
    }

    /// Waits for the socket, or part of one, to be able to send: what that means is said at its `send_ready_fd`. A socket
    /// that can send is reported by every wait, so register it when there is something to send.
    ///
    /// # Errors
    /// [`RegisterError::KeyInUse`] if something else has the key.
    pub fn send(&mut self, key: K, socket: &mut impl SendReady) -> Result<(), RegisterError> {
        self.check(&key)?;
        self.register(key, socket.send_level());
        Ok(())
    }

    /// Waits for a descriptor to be readable: to have data, an end, or an error.
    ///
    /// The selector holds a duplicate, so the file is not closed before it is [removed](Self::remove), and costs one
    /// descriptor more. Level-triggered, whatever the system does.
    ///
    /// # Errors
    /// [`RegisterError::KeyInUse`] if something else has the key, [`RegisterError::Io`] if the system refuses.
    #[cfg(unix)]
    pub fn readable(&mut self, key: K, descriptor: &impl AsFd) -> Result<(), RegisterError> {
        self.register_descriptor(key, descriptor, Direction::Read)
    }

    /// Waits for a descriptor to be writable: to have room, or an error. Otherwise as [`readable`](Self::readable).
    ///
    /// # Errors
    /// As there.
    #[cfg(unix)]
    pub fn writable(&mut self, key: K, descriptor: &impl AsFd) -> Result<(), RegisterError> {
        self.register_descriptor(key, descriptor, Direction::Write)
    }

    /// Waits for it no longer. False if nothing has the key.
    pub fn remove(&mut self, key: &K) -> bool {
        let index = self.indices.get(key).copied();
        if let Some(index) = index {
            self.remove_entry(index);
        }
        index.is_some()
    }

    /// How many sockets and descriptors are waited for.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is waited for.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Waits until something is ready, and returns all that is, in no order.
    ///
    /// # Errors
    /// [`SelectError`]; with sockets alone only [`SelectError::Empty`].
    pub fn wait(&mut self) -> Result<Vec<Selected<K>>, SelectError> {
        self.wait_until(None)
    }

    /// Returns what is ready, if anything is.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> Result<Vec<Selected<K>>, SelectError> {
        self.check_wait()?;
        let mut ready = Vec::new();
        self.gather(&mut ready);
        self.poll_descriptors(Some(Duration::ZERO), &mut ready)?;
        Ok(ready)
    }

    /// Waits until something is ready, up to `timeout`, and returns all that is, in no order: nothing if the time is over.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Vec<Selected<K>>, SelectError> {
        // A time beyond what the clock can tell is for ever.
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Waits until something is ready, without blocking the thread, and returns all that is, in no order. Any executor will
    /// do.
    ///
    /// Cancel-safe: what is ready stays so until a socket's own call ends it. Only the closed are told once.
    ///
    /// # Errors
    /// [`SelectError::Empty`] if nothing is registered, [`SelectError::Descriptors`] if descriptors are: they need a thread.
    pub async fn wait_async(&mut self) -> Result<Vec<Selected<K>>, SelectError> {
        self.check_wait()?;
        #[cfg(unix)]
        if self.descriptor_count > 0 {
            return Err(SelectError::Descriptors);
        }
        poll_fn(|task| {
            loop {
                let mut ready = Vec::new();
                self.gather(&mut ready);
                if !ready.is_empty() {
                    return Poll::Ready(Ok(ready));
                }
                if self.inbox.sleep(task.waker()) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn check(&self, key: &K) -> Result<(), RegisterError> {
        match self.indices.contains_key(key) {
            true => Err(RegisterError::KeyInUse),
            false => Ok(()),
        }
    }

    fn check_wait(&self) -> Result<(), SelectError> {
        if std::process::id() != self.process {
            return Err(SelectError::Forked);
        }
        match self.is_empty() {
            true => Err(SelectError::Empty),
            false => Ok(()),
        }
    }

    fn register(&mut self, key: K, level: Arc<Level>) {
        let entry = self.entries.vacant_entry();
        let index = entry.key();
        let post = Arc::new(Post {
            index,
            inbox: self.inbox.clone(),
            is_posted: AtomicBool::new(false),
        });
        let observer = level.observe(Waker::from(post.clone()));
        entry.insert(Entry {
            key: key.clone(),
            source: Source::Socket {
                level,
                observer,
                post,
                is_hot: true,
            },
        });
        self.indices.insert(key, index);
        // What rose before was not observed.
        self.hot.push(index);
    }

    #[cfg(unix)]
    fn register_descriptor(
        &mut self,
        key: K,
        descriptor: &impl AsFd,
        direction: Direction,
    ) -> Result<(), RegisterError> {
        self.check(&key)?;
        let twin = descriptor.as_fd().try_clone_to_owned()?;
        let descriptors = match &mut self.descriptors {
            Some(descriptors) => descriptors,
            none => none.insert(Descriptors::new()?),
        };
        let entry = self.entries.vacant_entry();
        let index = entry.key();
        let registered = descriptors.add(index, twin, direction)?;
        entry.insert(Entry {
            key: key.clone(),
            source: Source::Descriptor(registered),
        });
        self.indices.insert(key, index);
        self.descriptor_count += 1;
        Ok(())
    }

    fn remove_entry(&mut self, index: usize) -> K {
        let entry = self.entries.remove(index);
        self.indices.remove(&entry.key);
        match entry.source {
            Source::Socket {
                level,
                observer,
                is_hot,
                ..
            } => {
                level.forget(observer);
                if is_hot {
                    self.hot.retain(|&other| other != index);
                }
            }
            #[cfg(unix)]
            Source::Descriptor(registered) => {
                self.descriptor_count -= 1;
                if let Some(descriptors) = &mut self.descriptors {
                    descriptors.remove(registered);
                }
            }
        }
        entry.key
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<Vec<Selected<K>>, SelectError> {
        self.check_wait()?;
        let mut ready = Vec::new();
        loop {
            self.gather(&mut ready);
            let has_time = if ready.is_empty() {
                self.sleep(deadline, &mut ready)?
            } else {
                // Descriptors have their turn, too, while sockets never cease to be ready.
                self.poll_descriptors(Some(Duration::ZERO), &mut ready)?;
                false
            };
            if !has_time || !ready.is_empty() {
                return Ok(ready);
            }
        }
    }

    /// Waits for news, until the deadline: then it returns false. What is ready of the descriptors is appended.
    fn sleep(
        &mut self,
        deadline: Option<Instant>,
        ready: &mut Vec<Selected<K>>,
    ) -> Result<bool, SelectError> {
        #[cfg(unix)]
        if self.descriptor_count > 0 {
            return self.sleep_in_poll(deadline, ready);
        }
        let _ = ready;
        Ok(park::wait(&self.inbox, &mut self.patience, deadline))
    }

    #[cfg(unix)]
    fn sleep_in_poll(
        &mut self,
        deadline: Option<Instant>,
        ready: &mut Vec<Selected<K>>,
    ) -> Result<bool, SelectError> {
        let asleep = match &self.descriptors {
            Some(descriptors) => self.inbox.sleep(descriptors.waker()),
            None => false,
        };
        if !asleep {
            return Ok(true);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        self.poll_descriptors(left, ready)?;
        Ok(left.is_none_or(|left| !left.is_zero()))
    }

    /// Takes note of sockets that became ready, and appends those that are.
    fn gather(&mut self, ready: &mut Vec<Selected<K>>) {
        if self.inbox.is_filled() {
            self.collect();
        }
        let mut at = 0;
        while let Some(&index) = self.hot.get(at) {
            let Entry { key, source } = &mut self.entries[index];
            match source {
                Source::Socket { level, .. } if level.is_closed() => {
                    // It leaves the list, too, and what comes after it moves up.
                    let key = self.remove_entry(index);
                    ready.push(Selected { key, is_closed: true });
                }
                Source::Socket { level, .. } if level.is_high() => {
                    ready.push(Selected {
                        key: key.clone(),
                        is_closed: false,
                    });
                    at += 1;
                }
                Source::Socket { is_hot, .. } => {
                    *is_hot = false;
                    self.hot.swap_remove(at);
                }
                #[cfg(unix)]
                Source::Descriptor(_) => unreachable!("only sockets are in the list"),
            }
        }
    }

    #[cold]
    fn collect(&mut self) {
        let mut indices = Vec::new();
        self.inbox.take(&mut indices, &mut Vec::new());
        for index in indices {
            // What was removed may still be in the list, and its place may be another's by now: that is looked at in vain.
            let Some(Source::Socket { post, is_hot, .. }) =
                self.entries.get_mut(index).map(|entry| &mut entry.source)
            else {
                continue;
            };
            post.taken();
            if !std::mem::replace(is_hot, true) {
                self.hot.push(index);
            }
        }
    }

    /// Appends the descriptors that are ready.
    #[cfg(unix)]
    fn poll_descriptors(
        &mut self,
        timeout: Option<Duration>,
        ready: &mut Vec<Selected<K>>,
    ) -> Result<(), SelectError> {
        if self.descriptor_count == 0 {
            return Ok(());
        }
        let mut indices = Vec::new();
        if let Some(descriptors) = &mut self.descriptors {
            descriptors.wait(timeout, &mut indices)?;
        }
        ready.extend(indices.into_iter().map(|index| Selected {
            key: self.entries[index].key.clone(),
            is_closed: false,
        }));
        Ok(())
    }

    #[cfg(not(unix))]
    fn poll_descriptors(
        &mut self,
        _timeout: Option<Duration>,
        _ready: &mut Vec<Selected<K>>,
    ) -> Result<(), SelectError> {
        Ok(())
    }
}

impl<K> Drop for Selector<K> {
    fn drop(&mut self) {
        for (_, entry) in &self.entries {
            if let Source::Socket { level, observer, .. } = &entry.source {
                level.forget(*observer);
            }
        }
    }
}

impl<K: Clone + Eq + Hash> Default for Selector<K> {
    fn default() -> Selector<K> {
        Selector::new()
    }
}

impl<K: fmt::Debug> fmt::Debug for Selector<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.entries.iter().map(|(_, entry)| &entry.key))
            .finish()
    }
}

/// Tells a selector that the level of one of its sockets rose.
struct Post {
    index: usize,
    inbox: Arc<Inbox<usize>>,
    /// The word lies in the inbox, so that there is one at most however often the level rises before the next wait. Set by
    /// whoever raises the level, after that; cleared by the selector, before it looks at the level. Both are read-modify-write
    /// operations with acquire and release: whoever finds it set, and posts nothing, did so before the selector clears it, and
    /// what it did before that is visible to the selector's look.
    is_posted: AtomicBool,
}

impl Post {
    fn taken(&self) {
        self.is_posted.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Post {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_posted.swap(true, Ordering::AcqRel) {
            self.inbox.post(self.index);
        }
    }
}
