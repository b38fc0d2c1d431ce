//! Unix domain sockets: a path, a name in Linux's abstract namespace, or a fresh private path.
//!
//! # Reclaiming a path
//!
//! A listener that dies leaves its file behind, and the system refuses to bind over it. Deleting what is
//! there, as libzmq does, takes the name from a live server. Here the file is only removed once it is known
//! to be dead:
//!
//! 1. *Probe.* A **datagram** socket connects to the path. While any socket owns the file, the answer is that
//!    its type does not match, even between the owner's `bind` and `listen`; the owner's backlog never sees
//!    it. `ECONNREFUSED` means that the owner is gone, which stays so for ever, since no socket can be bound
//!    to an existing file.
//! 2. *Turn.* Who wants to remove a dead file first takes the turn for that file: an abstract name made of
//!    its device and inode number, where the system's `bind` decides between processes and the name is gone
//!    with its holder, however that ends. So nobody else removes the file between the checks below and the
//!    act.
//! 3. *Bind again*, under the turn. It fails if the file is still there, and it waits for the lock of the
//!    directory: a stranger's bind that was half way (file made, owner not yet set, which looks dead) is
//!    complete afterwards.
//! 4. *Probe again.* The file seen before the turn, still dead now, is dead for good: rename it aside.
//! 5. *Probe what was renamed.* Programs that know nothing of turns may have replaced the file in between.
//!    Whatever turns out alive gets its name back; only the dead file is deleted.
//! 6. *Bind.* Whoever comes first wins, everybody else finds a live socket.
//!
//! Where turns do not reach (no abstract names, or different network namespaces sharing a directory; a holder
//! that is stopped for longer than [`TURN_WAIT_MAX`]), step 5 remains: a live listener then loses its name
//! for the moment between two system calls, and only a third program binding in just that moment can keep it.

use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use mio::event::Source;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{BindFailure, Stream};
use crate::endpoint::{Endpoint, IpcAddress};

/// What can be dialled: the wildcard is only good for binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Path(PathBuf),
    /// The name without the leading `@` of an endpoint or the leading zero byte of the system.
    Abstract(Vec<u8>),
}

impl TryFrom<&IpcAddress> for Address {
    type Error = io::Error;

    fn try_from(address: &IpcAddress) -> io::Result<Address> {
        match address {
            IpcAddress::Path(path) => Ok(Address::Path(path.clone())),
            IpcAddress::Abstract(name) => Ok(Address::Abstract(name.clone())),
            _ => Err(invalid("a wildcard names nothing to dial")),
        }
    }
}

/// Connects without waiting. There is no connect in progress here: it succeeds, fails, or finds the backlog
/// full.
pub(super) fn dial(address: &Address) -> io::Result<UnixStream> {
    let address = match address {
        Address::Path(path) => SocketAddr::from_pathname(path)?,
        Address::Abstract(name) => abstract_address(name)?,
    };
    UnixStream::connect_addr(&address)
}

/// A listening socket and the name it takes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    // Dropped before the socket: while the socket is open its file is alive, so nobody can reclaim the path
    // between the look at the file and its removal.
    _name: Name,
    listener: UnixListener,
}

impl Listener {
    pub(super) fn bind(
        endpoint: &Endpoint,
        address: &IpcAddress,
        backlog: i32,
    ) -> Result<(Listener, IpcAddress), BindFailure> {
        match address {
            IpcAddress::Path(path) => {
                let (socket, name) = bind_path(endpoint, path, backlog)?;
                Ok((Listener::new(socket, name), IpcAddress::Path(path.clone())))
            }
            IpcAddress::Abstract(name) => {
                let socket = bind_abstract(name, backlog).map_err(|e| BindFailure::from_io(endpoint, e))?;
                Ok((
                    Listener::new(socket, Name::default()),
                    IpcAddress::Abstract(name.clone()),
                ))
            }
            IpcAddress::Temporary => {
                let parent = env::temp_dir();
                let directory =
                    PrivateDirectory::create_in(&parent).map_err(|e| failure_in(endpoint, parent, e))?;
                let path = directory.path.join("socket");
                let (socket, mut name) = bind_path(endpoint, &path, backlog)?;
                name.directory = Some(directory);
                Ok((Listener::new(socket, name), IpcAddress::Path(path)))
            }
        }
    }

    pub(super) fn accept(&self) -> io::Result<(Stream, String)> {
        let (stream, _) = self.listener.accept()?;
        let stream = Stream::Ipc(stream);
        let peer = stream.peer_text();
        Ok((stream, peer))
    }

    fn new(socket: Socket, name: Name) -> Listener {
        Listener {
            _name: name,
            listener: UnixListener::from_std(socket.into()),
        }
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.listener.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.listener.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.listener.deregister(registry)
    }
}

/// What of a listener lies in the file system. Abstract names have nothing here: the system takes them back
/// itself.
#[derive(Debug, Default)]
struct Name {
    /// Held for its drop, which removes the file.
    _file: Option<SocketFile>,
    // Removed after the file in it.
    directory: Option<PrivateDirectory>,
}

/// The file of a bound path, unlinked on drop if it is still the one we made and we are still the process
/// that made it.
#[derive(Debug)]
struct SocketFile {
    /// Absolute, so that it stays right when the program changes its directory.
    path: PathBuf,
    identity: Identity,
    /// A forked child drops a copy of everything, but the name is its parent's.
    process: u32,
}

impl SocketFile {
    /// Remembers the file that a bind has just made. `None` if it is already gone: then there is nothing to
    /// take back.
    fn of_new(path: &Path) -> Option<SocketFile> {
        let path = std::path::absolute(path).ok()?;
        let identity = Identity::of(&fs::symlink_metadata(&path).ok()?);
        Some(SocketFile {
            path,
            identity,
            process: process::id(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = || fs::symlink_metadata(&self.path).is_ok_and(|file| Identity::of(&file) == self.identity);
        if self.process == process::id() && ours() {
            // If this fails the file stays behind dead, and the next bind of the path reclaims it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A directory only this user can enter, removed on drop if it is empty.
#[derive(Debug)]
struct PrivateDirectory {
    path: PathBuf,
    process: u32,
}

impl PrivateDirectory {
    fn create_in(parent: &Path) -> io::Result<PrivateDirectory> {
        // Never one that exists, whoever made it: in a directory writable by all, another user may have put
        // it there.
        let path = parent.join(format!("zerowire-{:016x}", random()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(PrivateDirectory {
            path,
            process: process::id(),
        })
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        if self.process == process::id() {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Which file a path leads to. A file that is gone may pass its number on to a new one, so equality alone
/// proves little: a probe has to come with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(file: &fs::Metadata) -> Identity {
        Identity {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

/// What a path that could not be bound holds.
#[derive(Debug)]
enum Occupant {
    /// Nothing, or nothing any more.
    Nobody,
    /// A socket file whose owner is gone.
    Dead(Identity),
    /// A socket somebody owns.
    Alive,
    /// Any other file.
    NotASocket,
}

impl Occupant {
    fn of(path: &Path) -> io::Result<Occupant> {
        // Links are not followed: neither does bind.
        let file = match fs::symlink_metadata(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
            Err(error) => return Err(error),
        };
        if !file.file_type().is_socket() {
            return Ok(Occupant::NotASocket);
        }
        let probe = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        match probe.connect(&path_address(path)?) {
            Ok(()) => Ok(Occupant::Alive),
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => Ok(Occupant::Dead(Identity::of(&file))),
                io::ErrorKind::NotFound => Ok(Occupant::Nobody),
                // Without the right to connect there is no telling, and it is not ours to remove.
                io::ErrorKind::PermissionDenied => Err(error),
                // The wrong type of socket: but a socket.
                _ => Ok(Occupant::Alive),
            },
        }
    }
}

/// The right to remove one dead file; see the module's text.
#[derive(Debug)]
struct Turn {
    identity: Identity,
    /// Between processes. `None` where there are no abstract names, or when waiting took too long.
    _name: Option<Socket>,
    /// Between the threads of this process, who would otherwise all poll for the name.
    _threads: MutexGuard<'static, ()>,
}

impl Turn {
    fn wait_for(identity: Identity) -> Turn {
        let threads = THREADS_TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let end = Instant::now() + TURN_WAIT_MAX;
        let name = loop {
            match bind_name(&turn_name(identity)) {
                Ok(socket) => break Some(socket),
                // Anybody may hold such a name for as long as they like. That may cost us a moment, not our
                // bind.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < end => {
                    thread::sleep(TURN_POLL);
                }
                Err(_) => break None,
            }
        };
        Turn {
            identity,
            _name: name,
            _threads: threads,
        }
    }
}

/// Binds a path and listens, reclaiming it if it is dead.
fn bind_path(endpoint: &Endpoint, path: &Path, backlog: i32) -> Result<(Socket, Name), BindFailure> {
    let failed = |error| failure_in(endpoint, parent(path), error);
    let address = path_address(path).map_err(failed)?;
    let mut turn: Option<Turn> = None;
    for _ in 0..BIND_ATTEMPTS_MAX {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
        match socket.bind(&address) {
            Ok(()) => {
                let name = Name {
                    _file: SocketFile::of_new(path),
                    directory: None,
                };
                // Dropping the name on the way out of a failure takes the file along.
                socket
                    .listen(backlog)
                    .and_then(|()| socket.set_nonblocking(true))
                    .map_err(failed)?;
                return Ok((socket, name));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(failed(error)),
        }
        match Occupant::of(path).map_err(failed)? {
            Occupant::Nobody => {}
            Occupant::Alive => break,
            Occupant::NotASocket => {
                return Err(BindFailure::NotASocket {
                    endpoint: endpoint.to_string(),
                    path: path.to_owned(),
                });
            }
            Occupant::Dead(identity) if turn.as_ref().is_some_and(|turn| turn.identity == identity) => {
                match remove_dead(path, identity) {
                    // Somebody else took it from where it was put; the next attempt sees what that led to.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed.map_err(failed)?,
                }
            }
            Occupant::Dead(identity) => {
                // The old turn ends first: nobody waits for one while holding another.
                drop(turn.take());
                turn = Some(Turn::wait_for(identity));
            }
        }
    }
    Err(BindFailure::AddressInUse {
        endpoint: endpoint.to_string(),
    })
}

/// Takes a file that was dead under our turn out of the way. The caller tries to bind again whatever came of
/// it.
fn remove_dead(path: &Path, identity: Identity) -> io::Result<()> {
    let aside = path.with_file_name(format!(".zw{:08x}", random() as u32));
    fs::rename(path, &aside)?;
    let dead = match Occupant::of(&aside) {
        Ok(Occupant::Dead(renamed)) => renamed == identity,
        // The name aside may be too long to be asked for. Then the number has to do: the file we probed.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            fs::symlink_metadata(&aside).is_ok_and(|file| Identity::of(&file) == identity)
        }
        _ => false,
    };
    if dead {
        fs::remove_file(&aside)
    } else {
        give_back(&aside, path)
    }
}

/// Puts a file that is not ours to remove back where it was taken from, unless the path has been bound
/// meanwhile: then it stays aside, because a link must not replace anything and the last name of a live
/// socket must not be deleted.
fn give_back(aside: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(aside, path) {
        Ok(()) => fs::remove_file(aside),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// The failure for something that was to be made in a directory.
fn failure_in(endpoint: &Endpoint, directory: PathBuf, error: io::Error) -> BindFailure {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => BindFailure::DirectoryMissing {
            endpoint: endpoint.to_string(),
            directory,
        },
        _ => BindFailure::from_io(endpoint, error),
    }
}

fn bind_abstract(name: &[u8], backlog: i32) -> io::Result<Socket> {
    let socket = bind_name(name)?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_name(name: &[u8]) -> io::Result<Socket> {
    if !ABSTRACT_NAMES {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(OsStr::from_bytes(&[b"\0", name].concat()))?)?;
    Ok(socket)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_address(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

fn path_address(path: &Path) -> io::Result<SockAddr> {
    // The system would read an empty path as "choose a name for me" and end a path at its first zero byte.
    if path.as_os_str().is_empty() || path.as_os_str().as_bytes().contains(&0) {
        return Err(invalid("a socket path is not empty and has no zero byte"));
    }
    SockAddr::unix(path)
}

/// An address as an endpoint for events. Bytes that are no UTF-8 are replaced: this is for reading, not for
/// dialling.
pub(super) fn text(address: Option<&SocketAddr>) -> String {
    let Some(address) = address else {
        return "ipc://".to_owned();
    };
    if let Some(path) = address.as_pathname() {
        return format!("ipc://{}", path.display());
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt;
        if let Some(name) = address.as_abstract_name() {
            return format!("ipc://@{}", String::from_utf8_lossy(name));
        }
    }
    "ipc://".to_owned()
}

fn turn_name(identity: Identity) -> Vec<u8> {
    format!("zerowire-reclaim-{:x}-{:x}", identity.device, identity.inode).into_bytes()
}

/// The directory a path lies in, as a person would write it.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A number nobody else has: the standard library seeds its hashers from the system, each differently.
fn random() -> u64 {
    RandomState::new().hash_one(process::id())
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

static THREADS_TURN: Mutex<()> = Mutex::new(());

/// How long a bind waits for others who are reclaiming the same dead file. They need a few system calls;
/// whoever needs longer is stopped, or never meant to reclaim anything.
const TURN_WAIT_MAX: Duration = Duration::from_secs(1);

/// Pause between two attempts to take the turn.
const TURN_POLL: Duration = Duration::from_millis(1);

/// How often a path is tried before it counts as in use. One attempt suffices for a free path, three for a
/// dead one; every other repetition means that somebody else changed the path in just that moment.
const BIND_ATTEMPTS_MAX: usize = 32;

/// Whether there are names outside the file system.
const ABSTRACT_NAMES: bool = cfg!(any(target_os = "linux", target_os = "android"));

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, IoSlice, Lines, Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::process::{ChildStdout, Command, Stdio};
    use std::sync::Barrier;

    use super::super::tests::{accept, dial, eventually};
    use super::super::{self as transport, BACKLOG_DEFAULT, StreamOptions};
    use super::*;
    use crate::pipe::WriteSide;

    type Bound = Result<(transport::Listener, IpcAddress), BindFailure>;

    fn bind(address: IpcAddress) -> Bound {
        let (listener, resolved) = transport::Listener::bind(&Endpoint::Ipc(address), BACKLOG_DEFAULT)?;
        match resolved {
            Endpoint::Ipc(address) => Ok((listener, address)),
            other => panic!("{other} is not ipc"),
        }
    }

    fn bind_at(path: &Path) -> Bound {
        bind(IpcAddress::Path(path.to_owned()))
    }

    fn path_of(address: IpcAddress) -> PathBuf {
        match address {
            IpcAddress::Path(path) => path,
            other => panic!("{other:?} has no path"),
        }
    }

    /// Shows that the listener is the one that is reached at the address.
    fn assert_reached(listener: &mut transport::Listener, address: Address) {
        let dialled = dial(&transport::Address::Ipc(address));
        let (accepted, _) = accept(listener);
        dialled.write_vectored(&[IoSlice::new(b"x")]).unwrap();
        let transport::Stream::Ipc(mut accepted) = accepted else {
            panic!("not ipc")
        };
        assert_eq!(accepted.read(&mut [0; 8]).unwrap(), 1);
    }

    fn leave_dead_socket(path: &Path) -> Identity {
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        eventually(|| match Occupant::of(path).unwrap() {
            Occupant::Dead(identity) => Some(identity),
            _ => None,
        })
    }

    /// A directory with everything in it removed at the end of a test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Scratch {
            let path = env::temp_dir().join(format!("zerowire-test-{:016x}", random()));
            fs::create_dir(&path).unwrap();
            Scratch(path)
        }

        fn join(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
                .collect()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_path_is_bound_reached_and_removed_on_close() {
        let scratch = Scratch::new();
        let path = scratch.join("s");
        let (mut listener, resolved) = bind_at(&path).unwrap();
        assert_eq!(resolved, IpcAddress::Path(path.clone()));
        assert_reached(&mut listener, Address::Path(path.clone()));
        drop(listener);
        assert!(scratch.names().is_empty());
        assert!(bind_at(&path).is_ok());
    }

    #[test]
    fn a_path_that_is_not_utf_8_works() {
        let scratch = Scratch::new();
        let path = scratch.0.join(OsStr::from_bytes(b"\xff\xfe socket"));
        let (mut listener, _) = bind_at(&path).unwrap();
        assert_reached(&mut listener, Address::Path(path));
        drop(listener);
        assert!(scratch.names().is_empty());
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn an_abstract_name_is_bound_once_and_free_again_after_the_close() {
        let name = format!("zerowire-test-{:016x}", random()).into_bytes();
        let (mut listener, _) = bind(IpcAddress::Abstract(name.clone())).unwrap();
        assert_reached(&mut listener, Address::Abstract(name.clone()));
        let failure = bind(IpcAddress::Abstract(name.clone())).unwrap_err();
        assert!(matches!(failure, BindFailure::AddressInUse { .. }), "{failure}");

        let dialled = dial(&transport::Address::Ipc(Address::Abstract(name.clone())));
        assert_eq!(
            dialled.peer_text(),
            format!("ipc://@{}", String::from_utf8_lossy(&name))
        );
        drop((listener, dialled));
        eventually(|| bind(IpcAddress::Abstract(name.clone())).ok());
    }

    #[test]
    fn the_wildcard_is_a_private_directory_that_goes_with_the_listener() {
        let (mut listener, resolved) = bind(IpcAddress::Temporary).unwrap();
        let (_other, other) = bind(IpcAddress::Temporary).unwrap();
        let path = path_of(resolved);
        assert_ne!(path, path_of(other));
        let directory = path.parent().unwrap();
        assert!(directory.starts_with(env::temp_dir()));
        assert_eq!(
            fs::metadata(directory).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_reached(&mut listener, Address::Path(path.clone()));
        drop(listener);
        assert!(!directory.exists());
    }

    #[test]
    fn a_wildcard_is_nothing_to_dial() {
        let error = Address::try_from(&IpcAddress::Temporary).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_live_path_is_refused_and_its_owner_notices_nothing() {
        let scratch = Scratch::new();
        let path = scratch.join("s");
        let (mut listener, _) = bind_at(&path).unwrap();
        let failure = bind_at(&path).unwrap_err();
        assert!(matches!(failure, BindFailure::AddressInUse { .. }), "{failure}");
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_reached(&mut listener, Address::Path(path));
        assert_eq!(scratch.names(), ["s"]);
    }

    #[test]
    fn a_path_that_is_bound_but_does_not_listen_yet_is_refused() {
        let scratch = Scratch::new();
        let path = scratch.join("s");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&path_address(&path).unwrap()).unwrap();
        let failure = bind_at(&path).unwrap_err();
        assert!(matches!(failure, BindFailure::AddressInUse { .. }), "{failure}");
        socket.listen(1).unwrap();
        dial(&transport::Address::Ipc(Address::Path(path)));
    }

    #[test]
    fn a_live_socket_of_another_type_is_refused() {
        let scratch = Scratch::new();
        let path = scratch.join("s");
        let _datagrams = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let failure = bind_at(&path).unwrap_err();
        assert!(matches!(failure, BindFailure::AddressInUse { .. }), "{failure}");
    }

    #[test]
    fn a_dead_path_is_reclaimed_without_leaving_anything() {
        let scratch = Scratch::new();
        let path = scratch.join("s");
        leave_dead_socket(&path);
        let (mut listener, _) = bind_at(&path).unwrap();
        assert_eq!(scratch.names(), ["s"]);
        assert_reached(&mut listener, Address::Path(path));
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn a_dead_path_of_the_greatest_length_is_reclaimed() {
        let scratch = Scratch::new();
        let rest = 107 - "/".len() - "/s".len() - scratch.0.as_os_str().len();
        let directory = scratch.join(&"x".repeat(rest));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("s");
        leave_dead_socket(&path);
        let (mut listener, _) = bind_at(&path).unwrap();
        assert_reached(&mut listener, Address::Path(path));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn what_is_not_a_socket_is_named_and_left_alone() {
        let scratch = Scratch::new();
        let (file, directory, link) = (
            scratch.join("file"),
            scratch.join("directory"),
            scratch.join("link"),
        );
        fs::write(&file, "precious").unwrap();
        fs::create_dir(&directory).unwrap();
        let dead = scratch.join("dead");
        leave_dead_socket(&dead);
        std::os::unix::fs::symlink(&dead, &link).unwrap();
        for path in [&file, &directory, &link] {
            let failure = bind_at(path).unwrap_err();
            let BindFailure::NotASocket { path: named, .. } = &failure else {
                panic!("{failure}")
            };
            assert_eq!(named, path);
        }
        assert_eq!(fs::read(&file).unwrap(), b"precious");
        assert_eq!(scratch.names().len(), 4);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let scratch = Scratch::new();
        let missing = scratch.join("missing");
        fs::write(scratch.join("file"), "").unwrap();
        for directory in [missing, scratch.join("file")] {
            let failure = bind_at(&directory.join("s")).unwrap_err();
            let BindFailure::DirectoryMissing { directory: named, .. } = &failure else {
                panic!("{failure}")
            };
            assert_eq!(named, &directory);
        }
        assert_eq!(parent(Path::new("s")), Path::new("."));
        let error = PrivateDirectory::create_in(&scratch.join("missing")).unwrap_err();
        let endpoint = Endpoint::Ipc(IpcAddress::Temporary);
        let failure = failure_in(&endpoint, scratch.join("missing"), error);
        assert!(
            matches!(failure, BindFailure::DirectoryMissing { .. }),
            "{failure}"
        );
    }

    #[test]
    fn a_directory_that_may_not_be_written_is_permission_denied() {
        let scratch = Scratch::new();
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o500)).unwrap();
        if fs::write(scratch.join("file"), "").is_ok() {
            // The superuser is held back by nothing of the kind.
            return;
        }
        let failure = bind_at(&scratch.join("s")).unwrap_err();
        assert!(
            matches!(failure, BindFailure::PermissionDenied { .. }),
            "{failure}"
        );
        fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn impossible_paths_are_told_by_the_system_error() {
        let long = env::temp_dir().join("x".repeat(200));
        for path in [&long, Path::new(""), Path::new("a\0b")] {
            let failure = bind_at(path).unwrap_err();
            let BindFailure::Io { source, .. } = &failure else {
                panic!("{failure}")
            };
            assert_eq!(source.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_full_backlog_asks_to_dial_again_later() {
        let scratch = Scratch::new();
        let path = scratch.join("s");
        let endpoint = Endpoint::Ipc(IpcAddress::Path(path.clone()));
        let (_listener, _) = transport::Listener::bind(&endpoint, 1).unwrap();
        let address = transport::Address::Ipc(Address::Path(path));
        let mut waiting = Vec::new();
        let error = loop {
            assert!(waiting.len() < 16, "the backlog never fills");
            match transport::Stream::dial(&address, &StreamOptions::default()) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn dialling_nobody_fails_at_once() {
        let scratch = Scratch::new();
        let path = scratch.join("s");
        let dial = || {
            let address = transport::Address::Ipc(Address::Path(path.clone()));
            transport::Stream::dial(&address, &StreamOptions::default())
                .unwrap_err()
                .kind()
        };
        assert_eq!(dial(), io::ErrorKind::NotFound);
        leave_dead_socket(&path);
        assert_eq!(dial(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn closing_leaves_a_file_alone_that_is_not_ours_any_more() {
        let scratch = Scratch::new();
        let path = scratch.join("s");
        let (listener, _) = bind_at(&path).unwrap();
        // The old file is kept under another name so that its number cannot be given to the new one.
        fs::rename(&path, scratch.join("old")).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
        drop(listener);
        assert!(
            dial(&transport::Address::Ipc(Address::Path(path)))
                .dialed()
                .unwrap()
        );
    }

    #[test]
    fn a_live_socket_taken_aside_gets_its_name_back() {
        let scratch = Scratch::new();
        let path = scratch.join("s");
        let dead = leave_dead_socket(&path);
        fs::rename(&path, scratch.join("old")).unwrap();
        let (mut listener, _) = bind_at(&path).unwrap();
        // What a process does that was stopped after its last look at the dead file.
        remove_dead(&path, dead).unwrap();
        assert_reached(&mut listener, Address::Path(path));
        drop(listener);
        assert_eq!(scratch.names(), ["old"]);
    }

    #[test]
    fn a_name_is_not_given_back_over_another_socket() {
        let scratch = Scratch::new();
        let (path, aside) = (scratch.join("s"), scratch.join("aside"));
        let (mut listener, _) = bind_at(&path).unwrap();
        let (_aside, _) = bind_at(&aside).unwrap();
        give_back(&aside, &path).unwrap();
        assert_reached(&mut listener, Address::Path(path));
        assert!(aside.exists());
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn a_turn_held_by_another_process_is_waited_for_but_not_for_ever() {
        let scratch = Scratch::new();
        let path = scratch.join("s");
        let _turn = bind_name(&turn_name(leave_dead_socket(&path))).unwrap();
        let start = Instant::now();
        let (mut listener, _) = bind_at(&path).unwrap();
        assert!(start.elapsed() >= TURN_WAIT_MAX);
        assert_reached(&mut listener, Address::Path(path));
    }

    #[test]
    fn of_eight_threads_racing_for_a_dead_path_exactly_one_wins() {
        const THREADS: usize = 8;
        for _ in 0..50 {
            let scratch = Scratch::new();
            let path = scratch.join("s");
            leave_dead_socket(&path);
            let start = Barrier::new(THREADS);
            let race = || {
                start.wait();
                bind_at(&path)
            };
            let results: Vec<_> = thread::scope(|scope| {
                let racers: Vec<_> = (0..THREADS).map(|_| scope.spawn(race)).collect();
                racers.into_iter().map(|racer| racer.join().unwrap()).collect()
            });
            let mut winners = Vec::new();
            for result in results {
                match result {
                    Ok((listener, _)) => winners.push(listener),
                    Err(failure) => {
                        assert!(matches!(failure, BindFailure::AddressInUse { .. }), "{failure}");
                    }
                }
            }
            assert_eq!(winners.len(), 1);
            assert_reached(&mut winners[0], Address::Path(path));
            assert_eq!(scratch.names(), ["s"]);
        }
    }

    const RACE_PATH: &str = "ZEROWIRE_TEST_RACE_PATH";

    #[test]
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn of_four_processes_racing_for_a_dead_path_exactly_one_wins() {
        const PROCESSES: usize = 4;
        let child = concat!(module_path!(), "::one_process_of_the_race");
        let child = child.split_once("::").unwrap().1;
        for _ in 0..5 {
            let scratch = Scratch::new();
            let path = scratch.join("s");
            leave_dead_socket(&path);
            let mut racers: Vec<_> = (0..PROCESSES)
                .map(|_| {
                    Command::new(env::current_exe().unwrap())
                        .args(["--exact", child, "--nocapture"])
                        .env(RACE_PATH, &path)
                        .stdin(Stdio::piped())
                        .stdout(Stdio::piped())
                        .spawn()
                        .unwrap()
                })
                .collect();
            let mut outputs: Vec<_> = racers
                .iter_mut()
                .map(|racer| BufReader::new(racer.stdout.take().unwrap()).lines())
                .collect();
            // Reads the next word of every child and counts those who said this one.
            let mut said = |word: &str| {
                let next = |lines: &mut Lines<BufReader<ChildStdout>>| {
                    lines.find_map(|line| {
                        line.unwrap()
                            .split_once("race: ")
                            .map(|(_, word)| word.to_owned())
                    })
                };
                outputs
                    .iter_mut()
                    .filter_map(next)
                    .filter(|said| said == word)
                    .count()
            };
            assert_eq!(said("ready"), PROCESSES);
            for racer in &mut racers {
                racer.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
            }
            assert_eq!(said("won"), 1);
            dial(&transport::Address::Ipc(Address::Path(path)));
            for mut racer in racers {
                // Closing its input ends the child.
                drop(racer.stdin.take());
                assert!(racer.wait().unwrap().success());
            }
            assert!(scratch.names().is_empty());
        }
    }

    /// Not a test of its own: the other side of the race above, which runs this binary again with the path
    /// set.
    #[test]
    fn one_process_of_the_race() {
        let Some(path) = env::var_os(RACE_PATH) else {
            return;
        };
        let mut input = std::io::stdin().lines();
        println!("race: ready");
        input.next().unwrap().unwrap();
        let bound = bind_at(Path::new(&path));
        println!("race: {}", if bound.is_ok() { "won" } else { "lost" });
        assert!(input.next().is_none());
        drop(bound);
    }
}
