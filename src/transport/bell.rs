//! A descriptor that polls readable for as long as somebody says so.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// A descriptor that polls readable while a socket is ready: for event loops that know descriptors only.
///
/// Made by a socket's `recv_ready_fd` or `send_ready_fd`. It is level-triggered, and it is *readable* in both cases: it
/// stays so until a call on the socket finds that there is nothing more to receive, or no room. Readiness is a hint: it may
/// turn out that there is nothing after all, so receive with `try_recv` and send with `try_send`. A call that finds so ends
/// the readiness, and any later news brings it back.
///
/// It is there to be polled only: whoever reads from it takes a signal away that does not come again. A clone is the same
/// descriptor. It may outlive its socket, and is readable for ever when that is gone: then all that is left to do is to drop it.
///
/// With the feature `mio` it is a `mio::event::Source`, to be registered for reading. There readiness comes in edges: call
/// `try_recv` until it fails before the next poll.
///
/// # Examples
/// ```
/// use std::os::fd::AsRawFd;
///
/// use mio::unix::SourceFd;
/// use mio::{Events, Interest, Poll, Token};
/// use zerowire::{Context, PullSocket, PushSocket};
///
/// let context = Context::new();
/// let mut pull = PullSocket::new(&context);
/// pull.bind("inproc://watched")?;
/// let mut push = PushSocket::new(&context);
/// push.connect("inproc://watched")?;
///
/// let ready = pull.recv_ready_fd()?;
/// let mut poll = Poll::new()?;
/// poll.registry().register(&mut SourceFd(&ready.as_raw_fd()), Token(7), Interest::READABLE)?;
/// push.send("wake up")?;
///
/// let mut events = Events::with_capacity(1);
/// poll.poll(&mut events, None)?;
/// assert!(events.iter().any(|event| event.token() == Token(7)));
/// assert_eq!(pull.try_recv()?.as_bytes(), b"wake up");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ReadyFd {
    bell: Arc<Bell>,
}

/// Both ends of a pair of sockets: while a byte lies in it, the outer end is readable.
///
/// Whoever rings and silences it does so under a lock, so that there is never more than one byte.
struct Bell {
    /// The process that made it. One that is forked off has the same two ends, which are not its own.
    process: u32,
    inner: UnixStream,
    outer: UnixStream,
}

impl ReadyFd {
    pub(crate) fn new() -> io::Result<ReadyFd> {
        let (inner, outer) = UnixStream::pair()?;
        inner.set_nonblocking(true)?;
        outer.set_nonblocking(true)?;
        Ok(ReadyFd {
            bell: Arc::new(Bell {
                process: std::process::id(),
                inner,
                outer,
            }),
        })
    }

    /// Makes it readable. Not to be called twice without [`silence`](Self::silence) in between.
    pub(crate) fn ring(&self) {
        if self.bell.process != std::process::id() {
            return;
        }
        // There is room for one byte, and the other end is open as long as this one: nothing can go wrong but a signal.
        while interrupted(&(&self.bell.inner).write(&[1])) {}
    }

    /// Makes it unreadable.
    pub(crate) fn silence(&self) {
        if self.bell.process != std::process::id() {
            return;
        }
        while interrupted(&(&self.bell.outer).read(&mut [0; 8])) {}
    }
}

fn interrupted(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::Interrupted)
}

impl AsFd for ReadyFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.outer.as_fd()
    }
}

impl AsRawFd for ReadyFd {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.outer.as_raw_fd()
    }
}

impl fmt::Debug for ReadyFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadyFd").field(&self.as_raw_fd()).finish()
    }
}

#[cfg(feature = "mio")]
impl mio::event::Source for ReadyFd {
    fn register(
        &mut self,
        registry: &mio::Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        mio::unix::SourceFd(&self.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &mio::Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        mio::unix::SourceFd(&self.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &mio::Registry) -> io::Result<()> {
        mio::unix::SourceFd(&self.as_raw_fd()).deregister(registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_readable_between_ringing_and_silence() {
        let fd = ReadyFd::new().unwrap();
        let mut byte = [0];
        for _ in 0..3 {
            fd.ring();
            assert_eq!(fd.bell.outer.peek_byte(&mut byte), 1);
            fd.silence();
            assert_eq!(fd.bell.outer.peek_byte(&mut byte), 0);
        }
    }

    trait Peek {
        fn peek_byte(&self, byte: &mut [u8; 1]) -> usize;
    }

    impl Peek for UnixStream {
        fn peek_byte(&self, byte: &mut [u8; 1]) -> usize {
            let mut bytes = [std::mem::MaybeUninit::new(byte[0])];
            socket2::SockRef::from(self).peek(&mut bytes).unwrap_or(0)
        }
    }
}
