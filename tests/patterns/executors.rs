//! What runs futures: tokio, the executor of smol, and a few lines that know nothing but a thread that parks. Tests of
//! asynchronous behaviour are written once and run under each.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::support::DEADLINE;

/// Something that runs futures.
pub enum Executor {
    Tokio(tokio::runtime::Runtime),
    Smol(Smol),
    /// A thread for each task.
    Bare,
}

/// An executor of smol on two threads, beside those that call [`Executor::run`].
pub struct Smol {
    executor: Arc<async_executor::Executor<'static>>,
    threads: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// Ready with what a task returned.
pub type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Executor {
    pub fn tokio() -> Executor {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Executor::Tokio(builder.worker_threads(2).enable_time().build().unwrap())
    }

    pub fn tokio_on_one_thread() -> Executor {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        Executor::Tokio(builder.enable_time().build().unwrap())
    }

    pub fn smol() -> Executor {
        let executor = Arc::new(async_executor::Executor::new());
        let threads = (0..2).map(|_| {
            let (stop, stopped) = oneshot::channel();
            let executor = executor.clone();
            let thread = thread::spawn(move || {
                let _ = drive(executor.run(stopped), Duration::MAX);
            });
            (stop, thread)
        });
        Executor::Smol(Smol {
            threads: threads.collect(),
            executor,
        })
    }

    pub fn bare() -> Executor {
        Executor::Bare
    }

    /// Runs a future on this thread, and fails if it is not ready in time.
    #[track_caller]
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        match self {
            Executor::Tokio(runtime) => runtime
                .block_on(async { tokio::time::timeout(DEADLINE, future).await })
                .expect("the future is ready in time"),
            Executor::Smol(smol) => block_on(smol.executor.run(future)),
            Executor::Bare => block_on(future),
        }
    }

    /// Runs a future as a task of its own. What is returned is ready when that is, and need not be waited for.
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let (done, result) = oneshot::channel();
        let task = async move {
            let _ = done.send(future.await);
        };
        match self {
            Executor::Tokio(runtime) => drop(runtime.spawn(task)),
            Executor::Smol(smol) => smol.executor.spawn(task).detach(),
            Executor::Bare => drop(thread::spawn(|| block_on(task))),
        }
        Box::pin(async { result.await.expect("the task does not panic") })
    }
}

impl Drop for Smol {
    fn drop(&mut self) {
        for (stop, thread) in self.threads.drain(..) {
            drop(stop);
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "a task panicked");
        }
    }
}

/// Runs a future on this thread, and fails if it is not ready in time.
#[track_caller]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    drive(future, DEADLINE).expect("the future is ready in time")
}

fn drive<T>(future: impl Future<Output = T>, limit: Duration) -> Option<T> {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let end = Instant::now().checked_add(limit);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut TaskContext::from_waker(&waker)) {
            return Some(output);
        }
        match end.map(|end| end.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => thread::park_timeout(left),
        }
    }
}

/// Polls a future once.
pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut TaskContext::from_waker(Waker::noop()))
}

/// Polls a future until it is ready, up to so many times, and drops it.
pub fn poll_and_drop<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let Poll::Ready(output) = poll_once(future.as_mut()) {
            return Some(output);
        }
        thread::yield_now();
    }
    None
}

/// Ready after some time, under any executor.
pub fn timer(after: Duration) -> impl Future<Output = ()> + Send {
    let (ring, rings) = oneshot::channel::<()>();
    thread::spawn(move || {
        thread::sleep(after);
        drop(ring);
    });
    async {
        let _ = rings.await;
    }
}

/// Writes a test for each executor and each transport.
#[macro_export]
macro_rules! on_every_executor {
    ($($(#[$doc:meta])* fn $name:ident($transport:ident, $executor:ident) $body:block)*) => {
        $($crate::on_executors! {
            [on_tokio tokio, on_one_thread_of_tokio tokio_on_one_thread, on_smol smol, on_bare_threads bare]
            $(#[$doc])*
            fn $name($transport, $executor) $body
        })*
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! on_executors {
    ([$($test:ident $kind:ident),*] $(#[$doc:meta])* fn $name:ident($transport:ident, $executor:ident) $body:block) => {
        $(#[$doc])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            use $crate::executors::Executor;
            use $crate::support::Transport;

            fn run($transport: Transport, $executor: &Executor) $body

            $(
                mod $test {
                    use super::*;

                    #[test]
                    fn inproc() {
                        $crate::support::with_deadline(|| run(Transport::Inproc, &Executor::$kind()));
                    }

                    #[test]
                    fn ipc() {
                        $crate::support::with_deadline(|| run(Transport::Ipc, &Executor::$kind()));
                    }

                    #[test]
                    fn tcp() {
                        $crate::support::with_deadline(|| run(Transport::Tcp, &Executor::$kind()));
                    }
                }
            )*
        }
    };
}
