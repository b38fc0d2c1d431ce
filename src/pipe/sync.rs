//! The one switch between the standard library's primitives and loom's.
//!
//! Code under `pipe` takes atomics, fences, locks and cells from here only, so that the models run the very code
//! that ships. `tests/layering.rs` checks that nothing else in the crate names an atomic.

use std::sync::{OnceLock, TryLockError};

#[cfg(zerowire_loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
    sync::{Arc, Mutex, MutexGuard},
};
#[cfg(not(zerowire_loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering, fence},
};

/// The standard cell with the closure interface of loom's, which checks every access in the models.
#[cfg(not(zerowire_loom))]
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(zerowire_loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}

/// Locks, and goes on with the data of a thread that panicked while it held the lock: every critical section of
/// this crate leaves its data whole at each step, so there is nothing to give up.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A mutex that a child of a fork never waits for. A thread that held it at that moment is the parent's and will not release it in
/// the child, which goes on with a value of its own from then on: it is for what connects a child with nobody, because the other
/// threads that look at it are not there.
pub(crate) struct HomeMutex<T> {
    mutex: Mutex<T>,
    /// The process that it was made in.
    home: u32,
    /// What a child has in place of it.
    abroad: OnceLock<Box<Mutex<T>>>,
}

impl<T: Default> HomeMutex<T> {
    pub(crate) fn new(value: T) -> HomeMutex<T> {
        HomeMutex {
            mutex: Mutex::new(value),
            home: std::process::id(),
            abroad: OnceLock::new(),
        }
    }

    /// As [`lock`].
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        if let Some(own) = self.abroad.get() {
            return lock(own);
        }
        match self.mutex.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.lock_contended(),
        }
    }

    #[cold]
    fn lock_contended(&self) -> MutexGuard<'_, T> {
        if self.is_home() {
            lock(&self.mutex)
        } else {
            lock(self.abroad.get_or_init(Box::default))
        }
    }

    /// Whether this is the process that the mutex was made in.
    pub(crate) fn is_home(&self) -> bool {
        std::process::id() == self.home
    }
}

impl<T: Default> Default for HomeMutex<T> {
    fn default() -> HomeMutex<T> {
        HomeMutex::new(T::default())
    }
}

/// Lets other threads run on this processor, if there are any.
pub(crate) fn yield_now() {
    #[cfg(zerowire_loom)]
    loom::thread::yield_now();
    #[cfg(not(zerowire_loom))]
    std::thread::yield_now();
}

/// Gives the other side a moment; the models need to know that nothing will change otherwise.
pub(crate) fn pause() {
    #[cfg(zerowire_loom)]
    loom::thread::yield_now();
    #[cfg(not(zerowire_loom))]
    std::hint::spin_loop();
}
