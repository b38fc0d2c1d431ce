//! The one switch between the standard library's primitives and loom's.
//!
//! Code under `pipe` takes atomics, fences, locks and cells from here only, so that the models run the very code
//! that ships. `tests/layering.rs` checks that nothing else in the crate names an atomic.

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
