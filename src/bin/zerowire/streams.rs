//! Byte streams to endpoints, for tools that look at what goes over them.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zerowire::{Endpoint, Host, IpcAddress};

/// A connection, over whatever.
pub enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Ipc(UnixStream),
}

/// Connections come in here.
pub struct Listener {
    inner: Inner,
    name: Option<Name>,
}

/// What of a listener lies in the file system, to be removed at the end.
#[derive(Clone)]
pub struct Name {
    file: PathBuf,
    /// Made for this file alone.
    directory: Option<PathBuf>,
}

enum Inner {
    Tcp(TcpListener),
    #[cfg(unix)]
    Ipc(UnixListener),
}

/// The addresses of a tcp endpoint, which may be one by name.
pub fn resolve(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(match host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, port)],
        Host::Name(name) => (name.trim_matches(['[', ']']), port).to_socket_addrs()?.collect(),
        _ => vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))],
    })
}

impl Stream {
    /// Connects to the first address that answers.
    pub fn connect(endpoint: &Endpoint, timeout: Duration) -> io::Result<Stream> {
        match endpoint {
            Endpoint::Tcp { host, port, .. } => {
                let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
                for address in resolve(host, *port)? {
                    match Stream::connect_tcp(&address, timeout) {
                        Ok(stream) => return Ok(stream),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Endpoint::Ipc { 0: address, .. } => Stream::connect_ipc(address),
            _ => Err(unsupported()),
        }
    }

    /// Connects to one address.
    pub fn connect_tcp(address: &SocketAddr, timeout: Duration) -> io::Result<Stream> {
        let stream = TcpStream::connect_timeout(address, timeout)?;
        stream.set_nodelay(true)?;
        Ok(Stream::Tcp(stream))
    }

    /// Connects to a socket in the file system, or to an abstract name.
    #[cfg(unix)]
    pub fn connect_ipc(address: &IpcAddress) -> io::Result<Stream> {
        match address {
            IpcAddress::Path(path) => UnixStream::connect(path).map(Stream::Ipc),
            #[cfg(target_os = "linux")]
            IpcAddress::Abstract(name) => {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                UnixStream::connect_addr(&address).map(Stream::Ipc)
            }
            _ => Err(unsupported()),
        }
    }

    #[cfg(not(unix))]
    pub fn connect_ipc(_address: &IpcAddress) -> io::Result<Stream> {
        Err(unsupported())
    }

    /// How long a read may wait.
    pub fn set_read_timeout(&self, timeout: Duration) -> io::Result<()> {
        // Zero would be for ever.
        let timeout = Some(timeout.max(Duration::from_millis(1)));
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(timeout),
            #[cfg(unix)]
            Stream::Ipc(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// Another handle to the same connection.
    pub fn try_clone(&self) -> io::Result<Stream> {
        match self {
            Stream::Tcp(stream) => stream.try_clone().map(Stream::Tcp),
            #[cfg(unix)]
            Stream::Ipc(stream) => stream.try_clone().map(Stream::Ipc),
        }
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Stream::Ipc(stream) => stream.shutdown(how),
        }
    }

    /// The addresses of this side and of the other, if it is a connection between addresses.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self {
            Stream::Tcp(stream) => Some((stream.local_addr().ok()?, stream.peer_addr().ok()?)),
            #[cfg(unix)]
            Stream::Ipc(_) => None,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            #[cfg(unix)]
            Stream::Ipc(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            #[cfg(unix)]
            Stream::Ipc(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Listener {
    /// Listens at an endpoint, and says which that is when wildcards are resolved.
    pub fn bind(endpoint: &Endpoint) -> io::Result<(Listener, Endpoint)> {
        match endpoint {
            Endpoint::Tcp { host, port, .. } => {
                let listener = TcpListener::bind(&resolve(host, *port)?[..])?;
                let endpoint = Endpoint::from(listener.local_addr()?);
                let inner = Inner::Tcp(listener);
                Ok((Listener { inner, name: None }, endpoint))
            }
            #[cfg(unix)]
            Endpoint::Ipc {
                0: IpcAddress::Path(path),
                ..
            } => Ok((Listener::bind_file(path.clone(), None)?, endpoint.clone())),
            #[cfg(unix)]
            Endpoint::Ipc {
                0: IpcAddress::Temporary,
                ..
            } => {
                let directory = private_directory()?;
                let file = directory.join("socket");
                let endpoint = format!("ipc://{}", file.display());
                let endpoint = endpoint.parse().map_err(io::Error::other)?;
                Ok((Listener::bind_file(file, Some(directory))?, endpoint))
            }
            #[cfg(target_os = "linux")]
            Endpoint::Ipc {
                0: IpcAddress::Abstract(name),
                ..
            } => {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                let inner = Inner::Ipc(UnixListener::bind_addr(&address)?);
                Ok((Listener { inner, name: None }, endpoint.clone()))
            }
            _ => Err(unsupported()),
        }
    }

    #[cfg(unix)]
    fn bind_file(file: PathBuf, directory: Option<PathBuf>) -> io::Result<Listener> {
        let listener = match UnixListener::bind(&file) {
            // Left behind by somebody who was killed, if nobody listens.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_deserted(&file) => {
                fs::remove_file(&file)?;
                UnixListener::bind(&file)?
            }
            other => other?,
        };
        Ok(Listener {
            inner: Inner::Ipc(listener),
            name: Some(Name { file, directory }),
        })
    }

    /// What has to be removed at the end, as nobody else does it.
    pub fn name(&self) -> Option<Name> {
        self.name.clone()
    }

    pub fn accept(&self) -> io::Result<Stream> {
        match &self.inner {
            Inner::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            #[cfg(unix)]
            Inner::Ipc(listener) => listener.accept().map(|(stream, _)| Stream::Ipc(stream)),
        }
    }
}

impl Name {
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.file);
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// A new directory that only this user can enter.
#[cfg(unix)]
fn private_directory() -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("zerowire-tap-{}-{}", process::id(), time.as_nanos());
    let directory = env::temp_dir().join(name);
    // Not one that exists, whoever made it.
    fs::DirBuilder::new().mode(0o700).create(&directory)?;
    Ok(directory)
}

#[cfg(unix)]
fn is_deserted(file: &Path) -> bool {
    UnixStream::connect(file).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "an endpoint of this kind cannot be used here",
    )
}
