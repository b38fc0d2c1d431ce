//! Where a side that can sleep finds what others have for it: control items, and the names of pipes that became ready.
//!
//! Each socket half has one, and so has each I/O thread. Entries are made once per batch, never once per message, so a
//! mutex is the simplest thing that is fast enough. The sleeper's waker lies under the same lock as the entries: that
//! is what makes "look, then sleep" one step, and a wake-up is sent only to a side that really sleeps.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use super::PipeId;
use super::sync::{AtomicBool, HomeMutex, Ordering};

/// Takes note that a pipe needs its other side: it has data, or room, or an end.
///
/// Called from any thread, at most once per transition; spurious calls are allowed and harmless.
pub(crate) trait Ready: Send + Sync {
    fn ready(&self, pipe: PipeId);
}

/// Takes out of an inbox what has become void while its owner did not look, so that an owner who never looks again cannot be
/// left ever more: items, and the names of pipes that are ready. Returns the items, to be dropped without the lock.
///
/// Called under the lock, so it must call nothing that rings a bell.
pub(crate) type Sweep<T> = fn(&mut Vec<T>, &mut Vec<PipeId>) -> Vec<T>;

/// Stands for the inbox of a socket that is not known yet: an inproc connector waits for its binder.
#[derive(Default)]
pub(crate) struct Relay {
    /// Locked once for every bell that is rung, as the mail of the inbox behind it is. The lock puts a word and the naming
    /// of the target in order: a word that comes first is visible to the target from its first look on.
    target: HomeMutex<Option<std::sync::Arc<dyn Ready>>>,
}

impl Relay {
    /// Names the target, once. What happened before is seen by the target when it first looks at the pipe, which it must
    /// do after this call.
    pub(crate) fn lead_to(&self, target: std::sync::Arc<dyn Ready>) {
        let mut named = self.target.lock();
        // A second call would mean that a pipe is attached twice; the first target keeps it.
        debug_assert!(named.is_none());
        named.get_or_insert(target);
    }
}

impl Ready for Relay {
    fn ready(&self, pipe: PipeId) {
        // Told outside the lock, because it may call a waker.
        let target = self.target.lock().clone();
        if let Some(target) = target {
            target.ready(pipe);
        }
    }
}

/// An inbox for items of type `T`.
pub(crate) struct Inbox<T> {
    mail: HomeMutex<Mail<T>>,
    /// Whether `mail` holds anything: a hint for the owner, who is spared the lock in a hot loop. May be stale for a
    /// moment; the owner takes the lock before it sleeps.
    filled: AtomicBool,
}

struct Mail<T> {
    items: Vec<T>,
    ready: Vec<PipeId>,
    sweep: Option<Sweep<T>>,
    /// At so many entries it is swept, and then at twice as many as are left: which costs each entry little.
    sweep_at: usize,
    /// Present while the owner sleeps, or polls a future that will be woken; by [`Watching`], because two tasks may do so.
    sleepers: [Option<Waker>; 2],
    /// Whoever wants to know of news on the owner's behalf, by [`Watching`]: they stay, and have nothing to do with the sleepers.
    watchers: [Option<Watcher>; 2],
}

/// What news is watched or waited for. A publisher hears of its subscribers in one inbox, and may receive or send because of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Watching {
    ToReceive,
    ToSend,
}

struct Watcher {
    waker: Waker,
    /// The owner has found nothing to do, and there has been no news since. Only then is the waker called.
    calm: bool,
}

impl Watcher {
    /// The waker, if it is to be called because of news.
    fn disturb(&mut self) -> Option<Waker> {
        std::mem::take(&mut self.calm).then(|| self.waker.clone())
    }
}

/// What is left to be done without the lock when something was put into an inbox.
#[must_use]
pub(crate) struct Aftermath<T> {
    /// The sleepers and the watchers, as far as they are to be woken.
    wakers: [Option<Waker>; 4],
    void: Vec<T>,
}

impl<T> Aftermath<T> {
    pub(crate) fn carry_out(self) {
        self.wakers.into_iter().flatten().for_each(wake);
        drop(self.void);
    }
}

/// See [`Mail::sweep_at`].
const SWEEP_MIN: usize = 256;

impl<T> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox::with_sweep(None)
    }

    /// An inbox that may stay unread for as long as its owner likes.
    pub(crate) fn sweeping(sweep: Sweep<T>) -> Inbox<T> {
        Inbox::with_sweep(Some(sweep))
    }

    fn with_sweep(sweep: Option<Sweep<T>>) -> Inbox<T> {
        Inbox {
            mail: HomeMutex::new(Mail {
                sweep,
                ..Mail::default()
            }),
            filled: AtomicBool::new(false),
        }
    }

    /// Adds a control item and wakes the owner if it sleeps.
    pub(crate) fn post(&self, item: T) {
        self.add(|mail| mail.items.push(item));
    }

    /// As [`post`](Self::post), for a caller that holds a lock: what is left to do is to be done without it.
    pub(crate) fn post_quietly(&self, item: T) -> Aftermath<T> {
        self.put(|mail| mail.items.push(item))
    }

    /// As [`Ready::ready`], for a caller that holds a lock.
    pub(crate) fn ready_quietly(&self, pipe: PipeId) -> Aftermath<T> {
        self.put(|mail| mail.ready.push(pipe))
    }

    fn add(&self, put: impl FnOnce(&mut Mail<T>)) {
        self.put(put).carry_out();
    }

    fn put(&self, put: impl FnOnce(&mut Mail<T>)) -> Aftermath<T> {
        let mut mail = self.mail.lock();
        put(&mut mail);
        let void = mail.sweep();
        self.filled.store(true, Ordering::Relaxed);
        let [receiver, sender] = std::mem::take(&mut mail.sleepers);
        let watchers = mail.watchers.each_mut();
        let [to_receive, to_send] = watchers.map(|watcher| watcher.as_mut()?.disturb());
        Aftermath {
            wakers: [receiver, sender, to_receive, to_send],
            void,
        }
    }

    /// Whether there may be something to take.
    #[inline]
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    /// Moves everything out, appending to the caller's lists. Items come in the order in which they were posted; an
    /// item about a pipe that was posted before the pipe became ready is in the same call or an earlier one.
    ///
    /// Whoever is registered as asleep stays so: it has not been woken, or it would not be registered.
    pub(crate) fn take(&self, items: &mut Vec<T>, ready: &mut Vec<PipeId>) {
        let mut mail = self.mail.lock();
        self.filled.store(false, Ordering::Relaxed);
        mail.sweep_at = SWEEP_MIN;
        if items.is_empty() {
            std::mem::swap(items, &mut mail.items);
        } else {
            items.append(&mut mail.items);
        }
        if ready.is_empty() {
            std::mem::swap(ready, &mut mail.ready);
        } else {
            ready.append(&mut mail.ready);
        }
    }

    /// Registers the owner as asleep, unless there is something to take: then it returns false and registers nothing.
    pub(crate) fn sleep(&self, waker: &Waker) -> bool {
        self.sleep_for(Watching::ToReceive, waker)
    }

    /// As [`sleep`](Self::sleep), for an owner that may sleep for either purpose, in a task for each.
    pub(crate) fn sleep_for(&self, what: Watching, waker: &Waker) -> bool {
        // Cloned and dropped outside the lock: both run code of the executor.
        let mut incoming = Some(waker.clone());
        let mut mail = self.mail.lock();
        if self.filled.load(Ordering::Relaxed) {
            drop(mail);
            return false;
        }
        std::mem::swap(&mut mail.sleepers[what as usize], &mut incoming);
        drop(mail);
        true
    }

    /// Has a waker of this crate, one that is cloned and dropped without running anybody's code, called at the first news
    /// after each time that the owner was [calm](Self::calm).
    pub(crate) fn watch(&self, what: Watching, waker: Waker) {
        self.mail.lock().watchers[what as usize] = Some(Watcher { waker, calm: false });
    }

    /// Says that the owner has found nothing to do. False if there is something to take: then it has to look again.
    pub(crate) fn calm(&self, what: Watching) -> bool {
        let mut mail = self.mail.lock();
        let is_calm = !self.filled.load(Ordering::Relaxed);
        if let Some(watcher) = &mut mail.watchers[what as usize] {
            watcher.calm = is_calm;
        }
        is_calm
    }

    /// Says that the owner has no use for news for now: the watcher hears of none until it is calm again.
    pub(crate) fn disregard(&self, what: Watching) {
        if let Some(watcher) = &mut self.mail.lock().watchers[what as usize] {
            watcher.calm = false;
        }
    }
}

impl<T> Default for Mail<T> {
    fn default() -> Mail<T> {
        Mail {
            items: Vec::new(),
            ready: Vec::new(),
            sweep: None,
            sweep_at: SWEEP_MIN,
            sleepers: [None, None],
            watchers: [None, None],
        }
    }
}

impl<T> Mail<T> {
    /// Takes out what is void, if there is much and nobody has looked at it for long.
    #[inline]
    fn sweep(&mut self) -> Vec<T> {
        let entries = self.items.len() + self.ready.len();
        match self.sweep {
            Some(sweep) if entries >= self.sweep_at => {
                let void = sweep(&mut self.items, &mut self.ready);
                let left = self.items.len() + self.ready.len();
                self.sweep_at = SWEEP_MIN.max(2 * left);
                void
            }
            _ => Vec::new(),
        }
    }
}

impl<T: Send> Ready for Inbox<T> {
    fn ready(&self, pipe: PipeId) {
        self.add(|mail| mail.ready.push(pipe));
    }
}

/// Calls a waker that may be anybody's code, as soon as this thread [holds](hold_wakes) no wakes back.
pub(crate) fn wake(waker: Waker) {
    let mut waker = Some(waker);
    // Without the list, which goes with its thread, nothing can be held back any more.
    let _ = HELD.try_with(|held| {
        let mut held = held.borrow_mut();
        if held.holders > 0 {
            held.wakers.extend(waker.take());
        }
    });
    waker.into_iter().for_each(call);
}

/// A panic of the waker is not ours.
fn call(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
}

/// Has the wakers that this thread would call wait until the returned guard is dropped. For one that takes a lock which those
/// wakers may want, before it does.
pub(crate) fn hold_wakes() -> HeldWakes {
    let _ = HELD.try_with(|held| held.borrow_mut().holders += 1);
    HeldWakes(PhantomData)
}

/// See [`hold_wakes`].
pub(crate) struct HeldWakes(PhantomData<*const ()>);

impl Drop for HeldWakes {
    fn drop(&mut self) {
        let wakers = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            held.holders -= 1;
            match held.holders {
                0 => std::mem::take(&mut held.wakers),
                _ => Vec::new(),
            }
        });
        wakers.into_iter().flatten().for_each(call);
    }
}

struct Held {
    holders: usize,
    wakers: Vec<Waker>,
}

std::thread_local! {
    static HELD: RefCell<Held> = const {
        RefCell::new(Held {
            holders: 0,
            wakers: Vec::new(),
        })
    };
}

#[cfg(all(test, not(zerowire_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_sleeps_to_receive_and_who_sleeps_to_send_are_both_woken() {
        let inbox = Inbox::new();
        let counts = [0; 2].map(|count| Arc::new(Count(AtomicUsize::new(count))));
        for (what, count) in [Watching::ToSend, Watching::ToReceive].into_iter().zip(&counts) {
            assert!(inbox.sleep_for(what, &Waker::from(count.clone())));
        }
        inbox.post('a');
        inbox.post('b');
        assert_eq!(counts.map(|count| count.0.load(Ordering::SeqCst)), [1, 1]);
    }

    #[test]
    fn only_a_sleeping_owner_is_woken_and_only_once() {
        let inbox = Inbox::new();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(count.clone());
        inbox.post('a');
        assert!(!inbox.sleep(&waker), "there is something to take");
        let (mut items, mut ready) = (Vec::new(), Vec::new());
        inbox.take(&mut items, &mut ready);
        assert_eq!((items.as_slice(), ready.as_slice()), (&['a'][..], &[][..]));
        assert!(inbox.sleep(&waker));
        inbox.ready(7);
        inbox.ready(8);
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        inbox.take(&mut items, &mut ready);
        assert_eq!(ready, [7, 8]);
        assert!(!inbox.is_filled());
    }

    #[test]
    fn a_watcher_hears_of_the_first_news_after_each_calm() {
        let inbox = Inbox::new();
        let (watcher, sleeper) = (
            Arc::new(Count(AtomicUsize::new(0))),
            Arc::new(Count(AtomicUsize::new(0))),
        );
        inbox.watch(Watching::ToReceive, Waker::from(watcher.clone()));
        inbox.post('a');
        assert_eq!(
            watcher.0.load(Ordering::SeqCst),
            0,
            "the owner has not said that it is calm"
        );
        assert!(!inbox.calm(Watching::ToReceive), "there is something to take");
        for round in 1..=3 {
            inbox.take(&mut Vec::new(), &mut Vec::new());
            assert!(inbox.calm(Watching::ToReceive));
            // Who blocks meanwhile is woken as well.
            assert!(inbox.sleep(&Waker::from(sleeper.clone())));
            inbox.ready(7);
            inbox.ready(8);
            assert_eq!(watcher.0.load(Ordering::SeqCst), round);
            assert_eq!(sleeper.0.load(Ordering::SeqCst), round);
        }
        inbox.take(&mut Vec::new(), &mut Vec::new());
        assert!(inbox.calm(Watching::ToReceive));
        inbox.disregard(Watching::ToReceive);
        inbox.post('b');
        assert_eq!(watcher.0.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn a_panicking_waker_harms_nobody() {
        struct Bomb;
        impl Wake for Bomb {
            fn wake(self: Arc<Self>) {
                panic!("a foreign waker fails");
            }
        }
        let inbox = Inbox::new();
        assert!(inbox.sleep(&Waker::from(Arc::new(Bomb))));
        inbox.post(1);
        assert!(inbox.is_filled());
    }
}
