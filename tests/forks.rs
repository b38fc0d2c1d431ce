//! A process that is forked off has its parent's sockets, but not its I/O threads: nothing hangs, and nothing is taken from the
//! parent. In a program of its own, because a child has only the thread that forked.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll, Waker};
use std::thread;
use std::time::Duration;

use fork::{Fork, fork};
use zerowire::{
    BindError, ConnectError, Context, Event, PullSocket, PushSocket, RecvError, RecvTimeoutError,
    SelectError, Selector, SendError, TryRecvError,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Runs the body in a child; fails if it panics or hangs there.
fn in_a_child(body: impl FnOnce()) {
    use std::io::Write;

    let (mut parent, mut child) = UnixStream::pair().unwrap();
    match fork().unwrap() {
        Fork::Child => {
            drop(parent);
            let verdict = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(()) => "well".to_owned(),
                Err(reason) => match reason.downcast::<String>() {
                    Ok(text) => *text,
                    Err(_) => "a panic".into(),
                },
            };
            child.write_all(verdict.as_bytes()).unwrap();
            drop(child);
            // At once, without what a program does at its end, and without the trace that it would leave by an abort.
            let error = Command::new("true").exec();
            unreachable!("{error}");
        }
        Fork::Parent(_) => {
            drop(child);
            parent.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut verdict = String::new();
            parent
                .read_to_string(&mut verdict)
                .expect("the child ends in time");
            assert_eq!(verdict, "well");
        }
    }
}

#[test]
fn a_child_is_told_and_takes_nothing_from_its_parent() {
    for endpoint in ["tcp://127.0.0.1:0", "ipc://*", "inproc://forked"] {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let monitor = pull.monitor();
        let endpoint = pull.bind(endpoint).unwrap();
        let mut push = PushSocket::new(&context);
        push.connect(&endpoint).unwrap();
        push.send("before").unwrap();
        assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"before");
        let mut sockets = Some((context, pull, push));
        in_a_child(|| {
            let (context, mut pull, mut push) = sockets.take().unwrap();
            assert_eq!(pull.recv(), Err(RecvError::Forked));
            assert_eq!((monitor.recv(), monitor.is_finished()), (None, true));
            assert_eq!(pull.recv_timeout(DEADLINE), Err(RecvTimeoutError::Forked));
            // What there is room for is taken, and goes nowhere.
            let refused = (0..2000).find_map(|_| push.send("from the child").err());
            assert!(matches!(refused, Some(SendError::Forked(_))));
            assert!(matches!(pull.bind("tcp://127.0.0.1:0"), Err(BindError::Forked)));
            assert!(matches!(
                push.connect("tcp://127.0.0.1:9"),
                Err(ConnectError::Forked)
            ));
            pull.unbind(&endpoint).unwrap();
            assert!(context.shutdown(DEADLINE).is_complete());
            drop((pull, push, context));
            // A context of its own works.
            let context = Context::new();
            let mut pull = PullSocket::new(&context);
            let endpoint = pull.bind("tcp://127.0.0.1:0").unwrap();
            let mut push = PushSocket::new(&context);
            push.connect(endpoint).unwrap();
            push.send("hello").unwrap();
            assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"hello");
        });
        let (context, mut pull, mut push) = sockets.take().unwrap();
        for text in ["after", "and again"] {
            push.send(text).unwrap();
            assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), text.as_bytes());
        }
        drop((pull, push, context));
        assert_eq!(monitor.iter().last(), Some(Event::Closed));
    }
}

fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut TaskContext::from_waker(Waker::noop()))
}

/// A future that would never be woken says so instead, and so does a selector.
#[test]
fn futures_and_selectors_of_a_child_do_not_wait() {
    for endpoint in ["tcp://127.0.0.1:0", "ipc://*", "inproc://forked"] {
        let context = Context::new();
        let mut pull = PullSocket::new(&context);
        let endpoint = pull.bind(endpoint).unwrap();
        let mut push = PushSocket::builder(&context).send_hwm(5).build().unwrap();
        push.connect(&endpoint).unwrap();
        push.send("before").unwrap();
        assert_eq!(pull.recv_timeout(DEADLINE).unwrap().as_bytes(), b"before");
        let mut selector = Selector::new();
        selector.receive("pull", &mut pull).unwrap();
        let mut sockets = Some((context, pull, push, selector));
        in_a_child(|| {
            let (_context, mut pull, mut push, mut selector) = sockets.take().unwrap();
            assert!(matches!(selector.wait(), Err(SelectError::Forked)));
            assert!(matches!(
                selector.wait_timeout(DEADLINE),
                Err(SelectError::Forked)
            ));
            assert!(matches!(
                poll_once(selector.wait_async()),
                Poll::Ready(Err(SelectError::Forked))
            ));
            assert!(matches!(
                poll_once(pull.recv_async()),
                Poll::Ready(Err(RecvError::Forked))
            ));
            let refused = (0..2000).find_map(|_| match poll_once(push.send_async("from the child")) {
                Poll::Ready(sent) => sent.err(),
                Poll::Pending => panic!("this would wait for ever"),
            });
            assert!(matches!(refused, Some(SendError::Forked(_))), "{refused:?}");
            // A selector of its own works.
            let context = Context::new();
            let mut pull = PullSocket::new(&context);
            let endpoint = pull.bind("inproc://its-own").unwrap();
            let mut push = PushSocket::new(&context);
            push.connect(endpoint).unwrap();
            let mut selector = Selector::new();
            selector.receive("pull", &mut pull).unwrap();
            push.send("hello").unwrap();
            assert_eq!(selector.wait_timeout(DEADLINE).unwrap().len(), 1);
        });
        let (_context, mut pull, mut push, mut selector) = sockets.take().unwrap();
        push.send("after").unwrap();
        assert_eq!(selector.wait_timeout(DEADLINE).unwrap().len(), 1);
        assert_eq!(pull.try_recv().unwrap().as_bytes(), b"after");
    }
}

/// Whether a descriptor polls readable, asked anew each time.
fn is_readable(fd: &impl AsRawFd) -> bool {
    let mut poll = mio::Poll::new().unwrap();
    let mut events = mio::Events::with_capacity(1);
    let raw = fd.as_raw_fd();
    let mut source = mio::unix::SourceFd(&raw);
    poll.registry()
        .register(&mut source, mio::Token(0), mio::Interest::READABLE)
        .unwrap();
    poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
    !events.is_empty()
}

/// The descriptor by which the parent waits is the same one in the child: what happens to the child's copy of the socket must
/// neither ring it, which would keep the parent busy for ever, nor silence it, which would let it sleep for ever.
#[test]
fn a_child_does_not_touch_the_descriptors_of_its_parent() {
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind("inproc://descriptors").unwrap();
    let mut push = PushSocket::new(&context);
    push.connect(&endpoint).unwrap();
    let fd = pull.recv_ready_fd().unwrap();
    let mut sockets = Some((context, pull, push));
    in_a_child(|| drop(sockets.take()));
    let (context, mut pull, mut push) = sockets.take().unwrap();
    assert_eq!(pull.try_recv(), Err(TryRecvError::Empty));
    assert!(!is_readable(&fd), "rung by the child");

    push.send("a message").unwrap();
    assert!(is_readable(&fd));
    let mut sockets = Some((context, pull, push));
    in_a_child(|| {
        let (_, pull, _) = sockets.as_mut().unwrap();
        while pull.try_recv().is_ok() {}
    });
    assert!(is_readable(&fd), "silenced by the child");
    let (_, mut pull, _) = sockets.take().unwrap();
    assert_eq!(pull.try_recv().unwrap().as_bytes(), b"a message");
    assert!(!is_readable(&fd));
}

/// Sockets that several threads share are told as well.
#[test]
fn a_child_does_not_wait_with_a_shared_socket() {
    let context = Context::new();
    let push = PushSocket::new(&context).into_shared();
    let mut sockets = Some((context, push));
    in_a_child(|| {
        let (_, push) = sockets.take().unwrap();
        assert!(matches!(push.send("for nobody"), Err(SendError::Forked(_))));
    });
}

/// Whatever the parent's threads were about at that moment, and whatever they had locked, the child does not wait for them.
#[test]
fn a_child_of_a_busy_process_waits_for_nobody() {
    const CHILDREN: usize = 300;
    let context = Context::new();
    let mut pull = PullSocket::new(&context);
    let endpoint = pull.bind("tcp://127.0.0.1:0").unwrap();
    let mut push = PushSocket::new(&context);
    push.connect(&endpoint).unwrap();
    let is_done = Done::default();
    thread::scope(|scope| {
        // Keeps the I/O thread busy, and the names of inproc.
        scope.spawn(|| {
            let mut pull = PullSocket::new(&context);
            let endpoint = pull.bind("ipc://*").unwrap();
            let mut push = PushSocket::new(&context);
            push.connect(&endpoint).unwrap();
            while !is_done.0.load(Ordering::Relaxed) {
                push.send("busy").unwrap();
                pull.recv().unwrap();
                pull.bind("inproc://busy").unwrap();
                pull.unbind("inproc://busy").unwrap();
            }
        });
        // Also if a child does not end.
        let done = is_done.at_the_end();
        for number in 0..CHILDREN {
            push.send("before").unwrap();
            in_a_child(|| {
                let _ = push.try_send("from the child");
                let _ = pull.try_recv();
                assert!(matches!(push.connect("inproc://busy"), Err(ConnectError::Forked)));
                assert_eq!(pull.recv_timeout(DEADLINE), Err(RecvTimeoutError::Forked));
                let _ = pull.unbind(&endpoint);
                let _ = push.disconnect(&endpoint);
            });
            let message = pull.recv_timeout(DEADLINE).unwrap();
            assert_eq!(message.as_bytes(), b"before", "{number}");
        }
        drop(done);
    });
}

/// Says that it is time to end.
#[derive(Default)]
struct Done(AtomicBool);

/// Says so when it is dropped.
struct AtTheEnd<'a>(&'a Done);

impl Done {
    fn at_the_end(&self) -> AtTheEnd<'_> {
        AtTheEnd(self)
    }
}

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
