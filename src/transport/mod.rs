//! Streams and listeners of the operating system, one enum over all transports.
//!
//! Nothing here knows the protocol or the loop: a [`Stream`] moves bytes and says when it cannot, a
//! [`Listener`] hands out streams and takes its name back when it is dropped. Every descriptor is
//! non-blocking and closed on `exec`. Waiting is the business of the reactor, which registers both as
//! [`mio::event::Source`].

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mio::event::Source;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use crate::endpoint::{Endpoint, IpcAddress};
use crate::options::TcpKeepalive;
use crate::pipe::WriteSide;

#[cfg(unix)]
pub(crate) mod bell;
#[cfg(unix)]
pub(crate) mod descriptors;
#[cfg(unix)]
pub(crate) mod ipc;
pub(crate) mod tcp;

/// A concrete thing to dial: no name left to resolve, no wildcard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Ipc(ipc::Address),
}

impl Address {
    /// The address behind an ipc endpoint.
    ///
    /// # Errors
    /// `InvalidInput` for the wildcard, which names nothing until it is bound; `Unsupported` where there is
    /// no ipc.
    pub(crate) fn from_ipc(address: &IpcAddress) -> io::Result<Address> {
        #[cfg(unix)]
        return ipc::Address::try_from(address).map(Address::Ipc);
        #[cfg(not(unix))]
        {
            let _ = address;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// The address as text for events, if it is more than the endpoint says: a host name has many.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Address::Tcp(address) => Some(tcp::text(Some(*address))),
            #[cfg(unix)]
            Address::Ipc(_) => None,
        }
    }
}

/// What an application may choose about the kernel's side of a stream. The default leaves every choice to the
/// system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StreamOptions {
    /// Bytes asked for as the kernel's send buffer; the system rounds and caps it.
    pub(crate) send_buffer: Option<usize>,
    /// Bytes asked for as the kernel's receive buffer; the system rounds and caps it.
    pub(crate) receive_buffer: Option<usize>,
    /// The kernel's probes on a quiet connection.
    pub(crate) keepalive: Option<TcpKeepalive>,
    /// How long the kernel tries to get bytes across before it gives the connection up, where it can be told.
    pub(crate) user_timeout: Option<Duration>,
}

/// One connection of any transport, possibly still being established.
///
/// All methods take `&self`: the reactor and an application thread share the stream, and the pipe's token
/// decides who of them writes. The descriptor closes with the last owner, so ending a connection for
/// everybody is [`Stream::shutdown`].
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(mio::net::TcpStream),
    #[cfg(unix)]
    Ipc(mio::net::UnixStream),
}

impl Stream {
    /// Starts to connect without waiting; [`Stream::dialed`] tells how it went once the stream is writable.
    ///
    /// # Errors
    /// What the system refuses at once. `WouldBlock` comes from an ipc listener whose backlog is full:
    /// nothing is under way then and the dial has to be repeated later.
    pub(crate) fn dial(address: &Address, options: &StreamOptions) -> io::Result<Stream> {
        let stream = match address {
            Address::Tcp(address) => Stream::Tcp(tcp::dial(*address)?),
            #[cfg(unix)]
            Address::Ipc(address) => Stream::Ipc(ipc::dial(address)?),
        };
        stream.apply(options)?;
        Ok(stream)
    }

    /// Sets the kernel's buffers as asked; for an accepted stream this is the listener's owner's duty.
    ///
    /// A dial sets them just after the connect has started. Linux scales the window it announces by the
    /// largest buffer the system allows, not by the current one, so nothing is lost by that.
    pub(crate) fn apply(&self, options: &StreamOptions) -> io::Result<()> {
        let socket = self.socket();
        if let Some(bytes) = options.send_buffer {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = options.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        match self {
            Stream::Tcp(_) => tcp::watch(&socket, options),
            #[cfg(unix)]
            Stream::Ipc(_) => Ok(()),
        }
    }

    /// Whether a dial has come to its end: `Ok(true)` connected, `Ok(false)` still in progress.
    ///
    /// # Errors
    /// Why the dial failed. A tcp stream that reached itself counts as `ConnectionRefused`: the system may
    /// pick the very port that is dialled as the source port, and without a listener the two ends of such a
    /// connection are one socket.
    pub(crate) fn dialed(&self) -> io::Result<bool> {
        if let Some(error) = self.socket().take_error()? {
            return Err(error);
        }
        let connected = match self {
            Stream::Tcp(stream) => stream
                .peer_addr()
                .and_then(|peer| tcp::refuse_itself(stream, peer)),
            #[cfg(unix)]
            Stream::Ipc(stream) => stream.peer_addr().map(drop),
        };
        match connected {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads what is there into the slices, in order. `Ok(0)` is the end of the stream, `WouldBlock` nothing
    /// for now.
    pub(crate) fn read_vectored(&self, slices: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        uninterrupted(|| match self {
            Stream::Tcp(stream) => (&*stream).read_vectored(slices),
            #[cfg(unix)]
            Stream::Ipc(stream) => (&*stream).read_vectored(slices),
        })
    }

    /// Tells the peer that nothing more will be written; reading goes on.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.shut(Shutdown::Write)
    }

    /// Ends the connection in both directions, whoever else still holds the stream.
    pub(crate) fn shutdown(&self) -> io::Result<()> {
        self.shut(Shutdown::Both)
    }

    /// Takes the stream out of the loop through a shared reference, which [`Source::deregister`] cannot.
    ///
    /// The stream must not be registered again afterwards: mio goes on taking it for registered.
    pub(crate) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd;
            let fd = match self {
                Stream::Tcp(stream) => stream.as_raw_fd(),
                Stream::Ipc(stream) => stream.as_raw_fd(),
            };
            registry.deregister(&mut mio::unix::SourceFd(&fd))
        }
        #[cfg(not(unix))]
        {
            // There is no registration by descriptor here; the one of the stream ends with the stream.
            let _ = registry;
            Ok(())
        }
    }

    /// Our end as text for events: `tcp://1.2.3.4:5`, `ipc:///path`, or `ipc://` for the nameless end of a
    /// dial.
    pub(crate) fn local_text(&self) -> String {
        match self {
            Stream::Tcp(stream) => tcp::text(stream.local_addr().ok()),
            #[cfg(unix)]
            Stream::Ipc(stream) => ipc::text(stream.local_addr().ok().as_ref()),
        }
    }

    /// The peer's end as text for events. The dialling end of an ipc connection has no name: it is told by
    /// the name it dialled.
    pub(crate) fn peer_text(&self) -> String {
        match self {
            Stream::Tcp(stream) => tcp::text(stream.peer_addr().ok()),
            #[cfg(unix)]
            Stream::Ipc(stream) => {
                let peer = stream.peer_addr().ok().filter(|peer| !peer.is_unnamed());
                ipc::text(peer.or_else(|| stream.local_addr().ok()).as_ref())
            }
        }
    }

    fn shut(&self, how: Shutdown) -> io::Result<()> {
        let shut = match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Stream::Ipc(stream) => stream.shutdown(how),
        };
        match shut {
            // The peer was faster, or the dial never got through: there is nothing left to end.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            shut => shut,
        }
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Stream::Tcp(stream) => SockRef::from(stream),
            #[cfg(unix)]
            Stream::Ipc(stream) => SockRef::from(stream),
        }
    }
}

impl WriteSide for Stream {
    /// One system call, which may take less than offered. A peer that is gone is an error, never a signal:
    /// the host program may be one that dies of `SIGPIPE`.
    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let slices = &slices[..slices.len().min(SLICES_PER_CALL_MAX)];
        uninterrupted(|| match self {
            Stream::Tcp(stream) => {
                stream.try_io(|| SockRef::from(stream).send_vectored_with_flags(slices, WITHOUT_SIGNAL))
            }
            #[cfg(unix)]
            Stream::Ipc(stream) => {
                stream.try_io(|| SockRef::from(stream).send_vectored_with_flags(slices, WITHOUT_SIGNAL))
            }
        })
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.register(registry, token, interests),
            #[cfg(unix)]
            Stream::Ipc(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.reregister(registry, token, interests),
            #[cfg(unix)]
            Stream::Ipc(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.deregister(registry),
            #[cfg(unix)]
            Stream::Ipc(stream) => stream.deregister(registry),
        }
    }
}

/// A bound name that accepts streams. Dropping it closes the name and removes what it left in the file
/// system.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(mio::net::TcpListener),
    #[cfg(unix)]
    Ipc(ipc::Listener),
}

impl Listener {
    /// Binds an endpoint and listens; also returns the endpoint with every wildcard replaced by what was
    /// bound.
    ///
    /// Blocks while a host name is resolved and, for an ipc path with a dead socket on it, while others
    /// reclaim the same path (see [`ipc`]), so it is called on the application's thread. `tcp://*` is every
    /// IPv4 address and no IPv6 one, as libzmq's users expect; `tcp://[::]` is both families. At most
    /// `backlog` connections wait to be accepted, fewer if the system has a lower limit.
    ///
    /// # Errors
    /// See [`BindFailure`]; every one names the endpoint as it was asked for.
    pub(crate) fn bind(endpoint: &Endpoint, backlog: u32) -> Result<(Listener, Endpoint), BindFailure> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        match endpoint {
            Endpoint::Tcp { host, port } => {
                let (listener, resolved) = tcp::bind(endpoint, host, *port, backlog)?;
                Ok((Listener::Tcp(listener), resolved))
            }
            #[cfg(unix)]
            Endpoint::Ipc(address) => {
                let (listener, resolved) = ipc::Listener::bind(endpoint, address, backlog)?;
                Ok((Listener::Ipc(listener), Endpoint::Ipc(resolved)))
            }
            _ => Err(BindFailure::Unsupported {
                endpoint: endpoint.to_string(),
            }),
        }
    }

    /// Takes the next waiting connection and says where it comes from, as [`Stream::peer_text`] does.
    ///
    /// # Errors
    /// `WouldBlock` when none waits. A connection that its peer gave up while it waited is passed over. What
    /// remains is the system running out of something (descriptors, memory): the connection waits on and
    /// accepting may work later.
    pub(crate) fn accept(&self) -> io::Result<(Stream, String)> {
        loop {
            let accepted = match self {
                Listener::Tcp(listener) => tcp::accept(listener),
                #[cfg(unix)]
                Listener::Ipc(listener) => listener.accept(),
            };
            match accepted {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                accepted => return accepted,
            }
        }
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.register(registry, token, interests),
            #[cfg(unix)]
            Listener::Ipc(listener) => listener.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.reregister(registry, token, interests),
            #[cfg(unix)]
            Listener::Ipc(listener) => listener.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.deregister(registry),
            #[cfg(unix)]
            Listener::Ipc(listener) => listener.deregister(registry),
        }
    }
}

/// Why an endpoint could not be bound.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindFailure {
    /// Somebody listens there already.
    #[error("cannot bind {endpoint}: address in use")]
    AddressInUse { endpoint: String },
    /// The path holds a file that is no socket. It is never deleted.
    #[error("cannot bind {endpoint}: {path:?} exists and is not a socket")]
    NotASocket { endpoint: String, path: PathBuf },
    /// The address belongs to no interface of this machine.
    #[error("cannot bind {endpoint}: no interface of this machine has that address")]
    AddressNotAvailable { endpoint: String },
    /// The system forbids it: a low port, a directory that may not be written, somebody else's dead socket.
    #[error("cannot bind {endpoint}: permission denied")]
    PermissionDenied { endpoint: String },
    /// The directory of an ipc path is missing or is something else.
    #[error("cannot bind {endpoint}: there is no directory {directory:?}")]
    DirectoryMissing { endpoint: String, directory: PathBuf },
    /// The host name has no address.
    #[error("cannot bind {endpoint}: host name {host:?} did not resolve: {source}")]
    NameNotResolved {
        endpoint: String,
        host: String,
        source: io::Error,
    },
    /// The transport or the kind of address does not exist here.
    #[error("cannot bind {endpoint}: this kind of address cannot be listened on here")]
    Unsupported { endpoint: String },
    /// Anything else the system reports.
    #[error("cannot bind {endpoint}: {source}")]
    Io { endpoint: String, source: io::Error },
}

impl BindFailure {
    /// The failure an error of the system stands for, where no more is known than its kind.
    fn from_io(endpoint: &Endpoint, source: io::Error) -> BindFailure {
        let endpoint = endpoint.to_string();
        match source.kind() {
            io::ErrorKind::AddrInUse => BindFailure::AddressInUse { endpoint },
            io::ErrorKind::AddrNotAvailable => BindFailure::AddressNotAvailable { endpoint },
            io::ErrorKind::PermissionDenied => BindFailure::PermissionDenied { endpoint },
            io::ErrorKind::Unsupported => BindFailure::Unsupported { endpoint },
            _ => BindFailure::Io { endpoint, source },
        }
    }
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Connections that may wait to be accepted unless the socket asks for another number. Linux caps it at
/// `net.core.somaxconn`.
#[cfg(test)]
pub(crate) const BACKLOG_DEFAULT: u32 = 1024;

/// The most slices one vectored write takes; Linux and the BSDs refuse a call with more.
const SLICES_PER_CALL_MAX: usize = 1024;

/// `MSG_NOSIGNAL`, whose value only the C headers of each system know. Apple's systems have none: there mio
/// and socket2 mark every socket with `SO_NOSIGPIPE` instead.
const WITHOUT_SIGNAL: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    0x4000
} else if cfg!(target_os = "freebsd") {
    0x2_0000
} else if cfg!(any(
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
)) {
    0x400
} else {
    0
};

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::endpoint::Host;

    const DEADLINE: Duration = Duration::from_secs(10);

    /// Drives a loop of its own until `done` gives something; panics at the deadline.
    pub(super) fn wait_for<S: Source, T>(
        source: &mut S,
        interest: Interest,
        mut done: impl FnMut(&S) -> Option<T>,
    ) -> T {
        let mut poll = mio::Poll::new().unwrap();
        let mut events = mio::Events::with_capacity(8);
        poll.registry().register(source, Token(0), interest).unwrap();
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(value) = done(source) {
                poll.registry().deregister(source).unwrap();
                return value;
            }
            assert!(Instant::now() < end, "nothing happened before the deadline");
            poll.poll(&mut events, Some(DEADLINE)).unwrap();
        }
    }

    /// Repeats until `done` gives something. For what is true once a descriptor is closed everywhere: another
    /// test that starts a process at this moment has every descriptor open in the child too, until the child
    /// executes its program.
    pub(super) fn eventually<T>(mut done: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(value) = done() {
                return value;
            }
            assert!(Instant::now() < end, "it did not happen before the deadline");
            std::thread::yield_now();
        }
    }

    pub(super) fn accept(listener: &mut Listener) -> (Stream, String) {
        wait_for(listener, Interest::READABLE, |listener| match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            accepted => Some(accepted.unwrap()),
        })
    }

    pub(super) fn dial(address: &Address) -> Stream {
        let mut stream = Stream::dial(address, &StreamOptions::default()).unwrap();
        wait_for(&mut stream, Interest::WRITABLE, |stream| {
            stream.dialed().unwrap().then_some(())
        });
        stream
    }

    fn read(stream: &mut Stream) -> io::Result<Vec<u8>> {
        wait_for(stream, Interest::READABLE, |stream| {
            let (mut head, mut tail) = ([0; 2], [0; 64]);
            let mut slices = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)];
            match stream.read_vectored(&mut slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
                Err(error) => Some(Err(error)),
                Ok(length) => Some(Ok([&head[..], &tail[..]].concat()[..length].to_vec())),
            }
        })
    }

    fn loopback() -> Endpoint {
        Endpoint::Tcp {
            host: Host::Ip([127, 0, 0, 1].into()),
            port: 0,
        }
    }

    fn address_of(endpoint: &Endpoint) -> Address {
        match endpoint {
            Endpoint::Tcp {
                host: Host::Ip(ip),
                port,
            } => Address::Tcp((*ip, *port).into()),
            Endpoint::Ipc(address) => Address::from_ipc(address).unwrap(),
            other => panic!("{other} is not something to dial"),
        }
    }

    /// A connected pair over every transport: dialling end, accepted end, and what the listener said of the
    /// peer.
    fn pairs() -> Vec<(Stream, Stream, String)> {
        let mut endpoints = vec![loopback()];
        if cfg!(unix) {
            endpoints.push(Endpoint::Ipc(IpcAddress::Temporary));
        }
        let pair = |endpoint| {
            let (mut listener, resolved) = Listener::bind(endpoint, BACKLOG_DEFAULT).unwrap();
            let dialled = dial(&address_of(&resolved));
            let (accepted, text) = accept(&mut listener);
            (dialled, accepted, text)
        };
        endpoints.iter().map(pair).collect()
    }

    #[test]
    fn bytes_cross_in_both_directions_and_in_order() {
        for (mut dialled, mut accepted, _) in pairs() {
            let slices = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two")];
            assert_eq!(dialled.write_vectored(&slices).unwrap(), 7);
            assert_eq!(read(&mut accepted).unwrap(), b"one two");
            assert_eq!(accepted.write_vectored(&[IoSlice::new(b"back")]).unwrap(), 4);
            assert_eq!(read(&mut dialled).unwrap(), b"back");
        }
    }

    #[test]
    fn more_slices_than_the_system_takes_are_a_short_write() {
        for (dialled, _accepted, _) in pairs() {
            let slices = vec![IoSlice::new(b"x"); SLICES_PER_CALL_MAX + 10];
            assert_eq!(dialled.write_vectored(&slices).unwrap(), SLICES_PER_CALL_MAX);
        }
    }

    #[test]
    fn a_half_closed_stream_still_reads() {
        for (mut dialled, mut accepted, _) in pairs() {
            dialled.shutdown_write().unwrap();
            assert_eq!(read(&mut accepted).unwrap(), b"");
            accepted.write_vectored(&[IoSlice::new(b"late")]).unwrap();
            assert_eq!(read(&mut dialled).unwrap(), b"late");
        }
    }

    #[test]
    fn shutdown_ends_reading_on_both_sides_and_may_be_repeated() {
        for (mut dialled, mut accepted, _) in pairs() {
            dialled.shutdown().unwrap();
            assert_eq!(read(&mut dialled).unwrap(), b"");
            assert_eq!(read(&mut accepted).unwrap(), b"");
            accepted.shutdown().unwrap();
            accepted.shutdown().unwrap();
            dialled.shutdown().unwrap();
        }
    }

    #[test]
    fn writing_after_the_peer_closed_is_an_error() {
        for (mut dialled, accepted, _) in pairs() {
            drop(accepted);
            // The first write on tcp is still taken; the reset it provokes fails a later one.
            let error = wait_for(&mut dialled, Interest::READABLE | Interest::WRITABLE, |dialled| {
                dialled.write_vectored(&[IoSlice::new(b"anybody")]).err()
            });
            assert!(
                matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn a_stream_leaves_the_loop_through_a_shared_reference() {
        for (mut dialled, accepted, _) in pairs() {
            let mut poll = mio::Poll::new().unwrap();
            let mut events = mio::Events::with_capacity(8);
            poll.registry()
                .register(&mut dialled, Token(7), Interest::READABLE)
                .unwrap();
            let shared = std::sync::Arc::new(dialled);
            shared.deregister(poll.registry()).unwrap();
            accepted.write_vectored(&[IoSlice::new(b"x")]).unwrap();
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty());
        }
    }

    #[test]
    fn both_ends_tell_their_addresses() {
        for (dialled, accepted, text) in pairs() {
            assert_eq!(dialled.peer_text(), accepted.local_text());
            assert_eq!(text, accepted.peer_text());
            if let Stream::Tcp(_) = dialled {
                assert_eq!(dialled.local_text(), accepted.peer_text());
                assert!(text.starts_with("tcp://127.0.0.1:"), "{text}");
            } else {
                assert!(text.starts_with("ipc:///"), "{text}");
                assert_eq!(dialled.local_text(), "ipc://");
            }
        }
    }

    #[test]
    fn buffer_sizes_are_applied_to_dialled_and_accepted_streams() {
        let options = StreamOptions {
            send_buffer: Some(20_000),
            receive_buffer: Some(30_000),
            ..StreamOptions::default()
        };
        for (dialled, _, _) in pairs() {
            let before = dialled.socket().recv_buffer_size().unwrap();
            dialled.apply(&StreamOptions::default()).unwrap();
            assert_eq!(dialled.socket().recv_buffer_size().unwrap(), before);
            dialled.apply(&options).unwrap();
            assert!(dialled.socket().send_buffer_size().unwrap() >= 20_000);
            assert!(dialled.socket().recv_buffer_size().unwrap() >= 30_000);
            assert_ne!(dialled.socket().recv_buffer_size().unwrap(), before);
        }
    }

    #[test]
    fn the_kernel_watches_over_tcp_streams_if_asked() {
        let options = StreamOptions {
            keepalive: Some(TcpKeepalive {
                idle: Duration::from_secs(60),
                interval: Duration::from_secs(10),
                probes: 6,
            }),
            user_timeout: Some(Duration::from_millis(1500)),
            ..StreamOptions::default()
        };
        for (dialled, _, _) in pairs() {
            dialled.apply(&StreamOptions::default()).unwrap();
            if let Stream::Tcp(_) = dialled {
                assert!(!dialled.socket().keepalive().unwrap());
            }
            dialled.apply(&options).unwrap();
            if let Stream::Tcp(_) = dialled {
                assert!(dialled.socket().keepalive().unwrap());
                #[cfg(target_os = "linux")]
                {
                    assert_eq!(
                        dialled.socket().tcp_keepalive_time().unwrap(),
                        Duration::from_secs(60)
                    );
                    assert_eq!(
                        dialled.socket().tcp_keepalive_interval().unwrap(),
                        Duration::from_secs(10)
                    );
                    assert_eq!(dialled.socket().tcp_keepalive_retries().unwrap(), 6);
                    assert_eq!(dialled.socket().tcp_user_timeout().unwrap(), options.user_timeout);
                }
            }
        }
    }

    #[test]
    fn accepting_from_nobody_would_block() {
        let (listener, _) = Listener::bind(&loopback(), BACKLOG_DEFAULT).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn inproc_has_no_listener_here() {
        let failure = Listener::bind(&Endpoint::Inproc("name".into()), BACKLOG_DEFAULT).unwrap_err();
        assert!(matches!(&failure, BindFailure::Unsupported { endpoint } if endpoint == "inproc://name"));
    }

    #[test]
    fn system_errors_become_the_failure_of_their_kind() {
        let failure = |kind: io::ErrorKind| BindFailure::from_io(&loopback(), kind.into()).to_string();
        let cases = [
            (
                io::ErrorKind::AddrInUse,
                "cannot bind tcp://127.0.0.1:0: address in use",
            ),
            (
                io::ErrorKind::AddrNotAvailable,
                "cannot bind tcp://127.0.0.1:0: no interface of this machine has that address",
            ),
            (
                io::ErrorKind::PermissionDenied,
                "cannot bind tcp://127.0.0.1:0: permission denied",
            ),
            (
                io::ErrorKind::Unsupported,
                "cannot bind tcp://127.0.0.1:0: this kind of address cannot be listened on here",
            ),
            (
                io::ErrorKind::OutOfMemory,
                "cannot bind tcp://127.0.0.1:0: out of memory",
            ),
        ];
        for (kind, text) in cases {
            assert_eq!(failure(kind), text);
        }
    }
}
