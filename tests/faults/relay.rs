//! A relay between two sockets, which breaks each connection through it at the byte that it is told to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{fs, thread};

use socket2::{SockRef, Socket, Type};

use crate::support::{DEADLINE, Transport, ipc_path};

/// One direction of a connection through the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From who dialed to who listens.
    Up,
    /// The other way.
    Down,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Forward,
    /// Once so many bytes have gone this way, nothing goes either way any more: both sides read to their end.
    Cut(Way, usize),
    /// The same, but the two ends are not closed, they are reset.
    Reset(Way, usize),
    /// After so many bytes the way is blocked until the link is released; the other way is open.
    Stall(Way, usize),
    /// Each byte, either way, comes alone: the next one follows when it was read.
    Split,
}

/// Listens in front of an endpoint, and passes on what comes.
pub struct Relay {
    endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    plans: Vec<Plan>,
    links: Mutex<Vec<Arc<Link>>>,
    another: Condvar,
    ended: AtomicBool,
}

/// A connection through the relay.
pub struct Link {
    plan: Plan,
    /// Who dialed, and who listens, until both have hung up.
    ends: Mutex<Option<Arc<[Stream; 2]>>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    forwarded: [Vec<u8>; 2],
    /// Nothing is passed on any more.
    over: bool,
    stalled: bool,
    released: bool,
    /// Directions of which nothing can come any more.
    dry: usize,
}

impl Relay {
    /// A relay to an endpoint, for connections with these plans, one after the other. Connections beyond them are let be.
    pub fn start(transport: Transport, target: &str, plans: Vec<Plan>) -> Relay {
        let endpoint = transport.fresh();
        let listener = Listener::bind(&endpoint);
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            plans,
            links: Mutex::default(),
            another: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Relay { endpoint, shared }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The connection of this number, from 0 on, when there is one.
    #[track_caller]
    pub fn link(&self, index: usize) -> Arc<Link> {
        let links = self.shared.links.lock().unwrap();
        let (links, _) = (self.shared.another)
            .wait_timeout_while(links, DEADLINE, |links| links.len() <= index)
            .unwrap();
        let link = links.get(index).cloned();
        // Whoever gives up goes on to drop the relay, which needs them.
        drop(links);
        link.unwrap_or_else(|| panic!("connection {index} is not made"))
    }

    pub fn links(&self) -> Vec<Arc<Link>> {
        self.shared.links.lock().unwrap().clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = Stream::connect(&self.endpoint);
        for link in self.links() {
            link.cut();
        }
    }
}

impl Shared {
    fn accept(&self, listener: &Listener) {
        for index in 0.. {
            let dialer = listener.accept();
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let Ok(listening) = Stream::connect(&self.target) else {
                return;
            };
            let link = Arc::new(Link {
                plan: self.plans.get(index).copied().unwrap_or(Plan::Forward),
                ends: Mutex::new(Some(Arc::new([dialer, listening]))),
                state: Mutex::default(),
                changed: Condvar::new(),
            });
            if let Plan::Cut(_, 0) | Plan::Reset(_, 0) = link.plan {
                link.cut();
            }
            for way in [Way::Up, Way::Down] {
                let link = Arc::clone(&link);
                thread::spawn(move || link.pump(way));
            }
            self.links.lock().unwrap().push(link);
            self.another.notify_all();
        }
    }
}

impl Link {
    /// What went this way so far.
    pub fn forwarded(&self, way: Way) -> Vec<u8> {
        self.state().forwarded[way as usize].clone()
    }

    pub fn is_over(&self) -> bool {
        self.state().over
    }

    /// Whether the link stands still, and who is to get the next byte has read all before it.
    pub fn is_stalled(&self) -> bool {
        match self.plan {
            Plan::Stall(way, _) => {
                let is_read = |ends: Arc<[Stream; 2]>| ends[1 - way as usize].is_read();
                self.state().stalled && self.ends().is_none_or(is_read)
            }
            _ => false,
        }
    }

    /// Ends a stall.
    pub fn release(&self) {
        self.state().released = true;
        self.changed.notify_all();
    }

    /// Ends the connection, both ways.
    pub fn cut(&self) {
        self.end(&mut self.state());
    }

    /// Whether both sides have closed their ends, after which nothing more can come of it.
    pub fn is_dry(&self) -> bool {
        self.state().dry == 2
    }

    fn ends(&self) -> Option<Arc<[Stream; 2]>> {
        self.ends.lock().unwrap().clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn end(&self, state: &mut State) {
        if state.over {
            return;
        }
        (state.over, state.released) = (true, true);
        self.changed.notify_all();
        for end in self.ends().iter().flat_map(|ends| ends.iter()) {
            match self.plan {
                Plan::Reset(..) => end.reset(),
                // What comes from there is still read, so that closing destroys nothing.
                _ => end.shutdown(Shutdown::Write),
            }
        }
    }

    /// Passes on what comes from one end until nothing more can.
    fn pump(&self, way: Way) {
        let Some(ends) = self.ends() else {
            return;
        };
        let (from, to) = (&ends[way as usize], &ends[1 - way as usize]);
        let mut buffer = [0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            self.forward(way, to, &buffer[..count]);
        }
        let mut state = self.state();
        self.end(&mut state);
        state.dry += 1;
        if state.dry == 2 {
            *self.ends.lock().unwrap() = None;
        }
    }

    fn forward(&self, way: Way, to: &Stream, bytes: &[u8]) {
        let mut state = self.state();
        match self.plan {
            Plan::Cut(at_way, at) | Plan::Reset(at_way, at) if at_way == way => {
                let room = at.saturating_sub(state.forwarded[way as usize].len());
                state.pass(way, to, &bytes[..room.min(bytes.len())]);
                if bytes.len() >= room {
                    self.end(&mut state);
                }
            }
            Plan::Stall(at_way, at) if at_way == way && !state.stalled => {
                let room = at - state.forwarded[way as usize].len();
                let (before, behind) = bytes.split_at(room.min(bytes.len()));
                state.pass(way, to, before);
                if before.len() == room {
                    state.stalled = true;
                    state = (self.changed)
                        .wait_timeout_while(state, DEADLINE, |state| !state.released)
                        .unwrap()
                        .0;
                }
                state.pass(way, to, behind);
            }
            Plan::Split => {
                drop(state);
                for byte in bytes {
                    self.state().pass(way, to, &[*byte]);
                    to.wait_until_read();
                }
            }
            _ => state.pass(way, to, bytes),
        }
    }
}

impl State {
    fn pass(&mut self, way: Way, to: &Stream, bytes: &[u8]) {
        // Who has hung up gets nothing more.
        if !self.over && to.write_all(bytes).is_ok() {
            self.forwarded[way as usize].extend_from_slice(bytes);
        }
    }
}

/// The messages of which all parts are in what one side of a connection has written.
///
/// Panics if that is anything else than the start of a proper conversation.
pub fn whole_messages(bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let (mut messages, mut parts) = (Vec::new(), Vec::new());
    let mut rest = bytes.get(GREETING_BYTES..).unwrap_or_default();
    loop {
        let (header, size) = match *rest {
            [flags, size, ..] if flags & LONG == 0 => (2, usize::from(size)),
            [_, a, b, c, d, e, f, g, h, ..] => (9, u64::from_be_bytes([a, b, c, d, e, f, g, h]) as usize),
            _ => return messages,
        };
        let flags = rest[0];
        assert!(flags <= (MORE | LONG | COMMAND), "no flags: {flags:#x}");
        let Some(body) = rest.get(header..header + size) else {
            return messages;
        };
        rest = &rest[header + size..];
        if flags & COMMAND == 0 {
            parts.push(body.to_vec());
            if flags & MORE == 0 {
                messages.push(std::mem::take(&mut parts));
            }
        }
    }
}

const GREETING_BYTES: usize = 64;
const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Stream {
    fn connect(endpoint: &str) -> io::Result<Stream> {
        let stream = match endpoint.strip_prefix("tcp://") {
            Some(address) => Stream::Tcp(TcpStream::connect(address)?),
            None => Stream::Unix(UnixStream::connect(ipc_path(endpoint))?),
        };
        stream.prepare()
    }

    fn prepare(self) -> io::Result<Stream> {
        self.socket().set_write_timeout(Some(DEADLINE))?;
        if let Stream::Tcp(stream) = &self {
            stream.set_nodelay(true)?;
        }
        Ok(self)
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Stream::Tcp(stream) => SockRef::from(stream),
            Stream::Unix(stream) => SockRef::from(stream),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buffer),
            Stream::Unix(stream) => (&*stream).read(buffer),
        }
    }

    fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => (&*stream).write_all(bytes),
            Stream::Unix(stream) => (&*stream).write_all(bytes),
        }
    }

    fn shutdown(&self, how: Shutdown) {
        // It may be closed already.
        let _ = self.socket().shutdown(how);
    }

    /// Lets go of both pumps. When they are gone and the stream is closed, what was not read yet is destroyed, as far as the
    /// transport knows how to.
    fn reset(&self) {
        let _ = self.socket().set_linger(Some(Duration::ZERO));
        self.shutdown(Shutdown::Read);
    }

    fn wait_until_read(&self) {
        let end = Instant::now() + DEADLINE;
        while !self.is_read() && Instant::now() < end {
            thread::yield_now();
        }
    }

    /// Whether the other side has read all that was written. Of unix sockets nothing is known.
    fn is_read(&self) -> bool {
        let Stream::Tcp(stream) = self else {
            return true;
        };
        let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else {
            return true;
        };
        unread_by(remote, local).is_none_or(|bytes| bytes == 0)
    }
}

/// How many bytes the tcp socket of this process or another with these addresses has not read yet, if the kernel knows it and
/// can say so (`sock_diag(7)`; the table in `/proc` takes milliseconds).
fn unread_by(local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    const NETLINK: i32 = 16;
    const SOCK_DIAG: i32 = 4;
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const REQUEST: u16 = 1;
    const INET: u8 = 2;
    const TCP: u8 = 6;
    /// Behind a header of 16 bytes, four bytes, the addresses, and a timer.
    const UNREAD: std::ops::Range<usize> = 72..76;

    let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (local, remote) else {
        return None;
    };
    let mut question = Vec::new();
    question.extend(72u32.to_ne_bytes());
    question.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    question.extend(REQUEST.to_ne_bytes());
    question.extend([0; 8]);
    question.extend([INET, TCP, 0, 0]);
    // In any state, with these addresses, on any interface, without a cookie.
    question.extend(u32::MAX.to_ne_bytes());
    question.extend(local.port().to_be_bytes());
    question.extend(remote.port().to_be_bytes());
    for address in [local, remote] {
        question.extend(address.ip().octets());
        question.extend([0; 12]);
    }
    question.extend([0; 4]);
    question.extend([0xff; 8]);
    let mut kernel = Socket::new(NETLINK.into(), Type::DGRAM, Some(SOCK_DIAG.into())).ok()?;
    kernel.send(&question).ok()?;
    let mut answer = [0; 1024];
    let count = kernel.read(&mut answer).ok()?;
    let answer = &answer[..count];
    let is_answer = answer.get(4..6)? == SOCK_DIAG_BY_FAMILY.to_ne_bytes();
    let unread = answer.get(UNREAD)?.try_into().ok()?;
    is_answer.then(|| u32::from_ne_bytes(unread))
}

impl Listener {
    fn bind(endpoint: &str) -> Listener {
        match endpoint.strip_prefix("tcp://") {
            Some(address) => Listener::Tcp(TcpListener::bind(address).unwrap()),
            None => Listener::Unix(UnixListener::bind(ipc_path(endpoint)).unwrap()),
        }
    }

    fn accept(&self) -> Stream {
        let stream = match self {
            Listener::Tcp(listener) => Stream::Tcp(listener.accept().unwrap().0),
            Listener::Unix(listener) => Stream::Unix(listener.accept().unwrap().0),
        };
        stream.prepare().unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(listener) = self {
            if let Some(path) = listener.local_addr().unwrap().as_pathname() {
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[test]
fn unread_bytes_are_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut reader, _) = listener.accept().unwrap();
    let (local, remote) = (reader.local_addr().unwrap(), reader.peer_addr().unwrap());
    assert_eq!(unread_by(local, remote), Some(0));
    writer.write_all(b"unread").unwrap();
    assert_eq!(unread_by(local, remote), Some(6));
    reader.read_exact(&mut [0; 6]).unwrap();
    assert_eq!(unread_by(local, remote), Some(0));
}
