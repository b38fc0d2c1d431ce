//! A relay between two sockets, which breaks each connection through it at the byte that it is told to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{fs, thread};

use socket2::{Domain, SockRef, Socket, Type};

use crate::support::{DEADLINE, Transport, ipc_path, wait_until};

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
    /// After so many bytes up and so many down nothing more is read that way, so that who writes comes to a halt. A cut then
    /// destroys what was not read.
    Jam([usize; 2]),
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
            let plan = self.plans.get(index).copied().unwrap_or(Plan::Forward);
            if let Plan::Jam(_) = plan {
                // What has come through fits in, whether or not it is read; what has not is with who writes it.
                let _ = dialer.socket().set_send_buffer_size(JAM_BYTES);
                let _ = dialer.socket().set_recv_buffer_size(64 << 10);
            }
            let link = Arc::new(Link {
                plan,
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

    /// Whether nothing more is read that way or the other, and all that was has come to where it should.
    pub fn is_jammed(&self) -> bool {
        let Plan::Jam(most) = self.plan else {
            return false;
        };
        let is_delivered = |ends: Arc<[Stream; 2]>| ends.iter().all(Stream::is_delivered);
        let forwarded = |way| self.state().forwarded[way as usize].len();
        let is_full = |way| most[way as usize] == usize::MAX || forwarded(way) == most[way as usize];
        is_full(Way::Up) && is_full(Way::Down) && self.ends().is_none_or(is_delivered)
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
                // Wakes who reads from it. The kernel destroys the rest when the stream is closed.
                Plan::Jam(_) => end.shutdown(Shutdown::Read),
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
            if matches!(self.plan, Plan::Jam(_)) && self.is_over() {
                break;
            }
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
            Plan::Jam(most) => {
                let room = most[way as usize] - state.forwarded[way as usize].len();
                state.pass(way, to, &bytes[..room.min(bytes.len())]);
                if bytes.len() >= room {
                    drop(
                        self.changed
                            .wait_timeout_while(state, DEADLINE, |state| !state.over),
                    );
                }
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

/// What goes into a jam at most: less than the kernel holds for a connection, if it is told to.
pub fn jam_bytes_max() -> usize {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    probe.set_send_buffer_size(JAM_BYTES).unwrap();
    probe.set_recv_buffer_size(JAM_BYTES).unwrap();
    let (send, receive) = (
        probe.send_buffer_size().unwrap(),
        probe.recv_buffer_size().unwrap(),
    );
    // The kernel doubles what it is asked for, as far as it allows it, and uses a part of that for itself.
    send.min(receive) / 4
}

const JAM_BYTES: usize = 2 << 20;
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

    /// Whether the other side has read all that was written, as far as the kernel says.
    fn is_read(&self) -> bool {
        let unread = match self {
            Stream::Tcp(stream) => other_end_of(stream).map(|queues| queues.unread),
            // What is not read is still the writer's.
            Stream::Unix(stream) => queues_of_unix(stream).map(|queues| queues.unsent),
        };
        unread.is_none_or(|bytes| bytes == 0)
    }

    /// Whether all that was written is where the other side can read it, as far as the kernel says.
    fn is_delivered(&self) -> bool {
        match self {
            Stream::Tcp(stream) => this_end_of(stream).is_none_or(|queues| queues.unsent == 0),
            Stream::Unix(_) => true,
        }
    }
}

/// Bytes that the kernel holds for a socket.
#[derive(Debug, PartialEq, Eq)]
struct Queues {
    unread: u32,
    unsent: u32,
}

/// What it holds for the socket at the other end, which may be another process's.
fn other_end_of(stream: &TcpStream) -> Option<Queues> {
    queues_of_tcp(stream.peer_addr().ok()?, stream.local_addr().ok()?)
}

fn this_end_of(stream: &TcpStream) -> Option<Queues> {
    queues_of_tcp(stream.local_addr().ok()?, stream.peer_addr().ok()?)
}

/// What it holds for the tcp socket with these addresses (`sock_diag(7)`; the table in `/proc` takes milliseconds).
fn queues_of_tcp(local: SocketAddr, remote: SocketAddr) -> Option<Queues> {
    const INET: u8 = 2;
    const TCP: u8 = 6;
    /// Behind four bytes, the addresses, and a timer.
    const QUEUES: usize = 56;

    let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (local, remote) else {
        return None;
    };
    // In any state, with these addresses, on any interface, without a cookie.
    let mut question = vec![INET, TCP, 0, 0];
    question.extend(u32::MAX.to_ne_bytes());
    question.extend(local.port().to_be_bytes());
    question.extend(remote.port().to_be_bytes());
    for address in [local, remote] {
        question.extend(address.ip().octets());
        question.extend([0; 12]);
    }
    question.extend([0; 4]);
    question.extend([0xff; 8]);
    queues_at(&ask_kernel(&question)?, QUEUES)
}

/// What it holds for a unix socket of this process. Bytes that the other side has not read are among those unsent, by what they
/// take up in memory.
fn queues_of_unix(stream: &UnixStream) -> Option<Queues> {
    const UNIX: u8 = 1;
    const SHOW_QUEUES: u32 = 0x10;
    const QUEUES_ATTRIBUTE: [u8; 2] = 4u16.to_ne_bytes();
    /// Behind what it says of each socket, and the length and name of the only attribute asked for.
    const QUEUES: usize = 20;

    let link = fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
    let mut question = vec![UNIX, 0, 0, 0];
    // In any state, of this number, and what is asked for; without a cookie.
    for word in [u32::MAX, inode.parse().ok()?, SHOW_QUEUES, u32::MAX, u32::MAX] {
        question.extend(word.to_ne_bytes());
    }
    let answer = ask_kernel(&question)?;
    (answer.get(QUEUES - 2..QUEUES)? == QUEUES_ATTRIBUTE).then(|| queues_at(&answer, QUEUES))?
}

fn queues_at(answer: &[u8], at: usize) -> Option<Queues> {
    let word = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    Some(Queues {
        unread: word(at)?,
        unsent: word(at + 4)?,
    })
}

/// Asks about a socket, and returns what the kernel says, if it can.
fn ask_kernel(question: &[u8]) -> Option<Vec<u8>> {
    const NETLINK: i32 = 16;
    const SOCK_DIAG: i32 = 4;
    const SOCK_DIAG_BY_FAMILY: [u8; 2] = 20u16.to_ne_bytes();
    const REQUEST: u16 = 1;
    const HEADER_BYTES: usize = 16;

    let length = u32::try_from(HEADER_BYTES + question.len()).ok()?;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(SOCK_DIAG_BY_FAMILY);
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(question);
    let mut kernel = Socket::new(NETLINK.into(), Type::DGRAM, Some(SOCK_DIAG.into())).ok()?;
    kernel.send(&message).ok()?;
    let mut answer = [0; 1024];
    let count = kernel.read(&mut answer).ok()?;
    let answer = &answer[..count];
    (answer.get(4..6)? == SOCK_DIAG_BY_FAMILY).then(|| answer[HEADER_BYTES..].to_vec())
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
fn unread_bytes_of_tcp_are_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut reader, _) = listener.accept().unwrap();
    let unread = |writer: &TcpStream| other_end_of(writer).unwrap().unread;
    assert_eq!(unread(&writer), 0);
    writer.write_all(b"unread").unwrap();
    assert_eq!(unread(&writer), 6);
    reader.read_exact(&mut [0; 6]).unwrap();
    assert_eq!(unread(&writer), 0);
}

#[test]
fn bytes_that_find_no_room_are_seen() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let writer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut reader, _) = listener.accept().unwrap();
    SockRef::from(&writer).set_send_buffer_size(64 << 10).unwrap();
    writer.set_nonblocking(true).unwrap();
    let mut written = 0;
    while let Ok(count) = (&writer).write(&[7; 4096]) {
        written += count;
    }
    let writer = Stream::Tcp(writer);
    assert!(!writer.is_delivered());
    reader.read_exact(&mut vec![0; written]).unwrap();
    wait_until("all is acknowledged", || {
        writer.is_read() && writer.is_delivered()
    });
}

#[test]
fn unread_bytes_of_ipc_are_seen() {
    let (writer, reader) = UnixStream::pair().unwrap();
    if queues_of_unix(&writer).is_none() {
        // Not every kernel can say it.
        return;
    }
    let writer = Stream::Unix(writer);
    assert!(writer.is_read());
    writer.write_all(b"unread").unwrap();
    assert!(!writer.is_read());
    (&reader).read_exact(&mut [0; 5]).unwrap();
    assert!(!writer.is_read());
    (&reader).read_exact(&mut [0; 1]).unwrap();
    assert!(writer.is_read());
}
