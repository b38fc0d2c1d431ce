//! TCP over IPv4 and IPv6.
//!
//! Every stream has `TCP_NODELAY`: messages are batched above, and a delay below would only add to their
//! latency.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{BindFailure, Stream, StreamOptions};
use crate::endpoint::{Endpoint, Host};
use crate::options::TcpKeepalive;

/// Starts to connect. `SO_REUSEADDR` stays off: with it the system could take a port another program is about
/// to listen on.
pub(super) fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Has the kernel watch over the connection.
pub(super) fn watch(socket: &SockRef<'_>, options: &StreamOptions) -> io::Result<()> {
    if let Some(TcpKeepalive {
        idle,
        interval,
        probes,
    }) = options.keepalive
    {
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(idle)
            .with_interval(interval)
            .with_retries(probes);
        socket.set_tcp_keepalive(&keepalive)?;
    }
    #[cfg(target_os = "linux")]
    if options.user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.user_timeout)?;
    }
    Ok(())
}

/// Fails with `ConnectionRefused` if both ends of the connection are this one socket.
pub(super) fn refuse_itself(stream: &TcpStream, peer: SocketAddr) -> io::Result<()> {
    if stream.local_addr()? == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

/// Binds the first address of the host that can be bound, in the order the resolver gives them.
pub(super) fn bind(
    endpoint: &Endpoint,
    host: &Host,
    port: u16,
    backlog: i32,
) -> Result<(TcpListener, Endpoint), BindFailure> {
    let mut failure = None;
    for address in addresses(endpoint, host, port)? {
        match listen(address, backlog) {
            Ok((listener, bound)) => {
                return Ok((
                    listener,
                    Endpoint::Tcp {
                        host: Host::Ip(bound.ip()),
                        port: bound.port(),
                    },
                ));
            }
            Err(error) => failure = Some(error),
        }
    }
    let error = failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
    Err(BindFailure::from_io(endpoint, error))
}

pub(super) fn accept(listener: &TcpListener) -> io::Result<(Stream, String)> {
    let (stream, peer) = listener.accept()?;
    // This fails only for a connection that is already gone, which the first read will tell with its proper
    // reason.
    let _ = stream.set_nodelay(true);
    Ok((Stream::Tcp(stream), text(Some(peer))))
}

/// An address as an endpoint. An IPv4 peer of a dual-stack listener is written as the IPv4 address it has.
pub(super) fn text(address: Option<SocketAddr>) -> String {
    match address {
        Some(address @ SocketAddr::V6(v6)) => match v6.ip().to_ipv4_mapped() {
            Some(ip) => format!("tcp://{}", SocketAddr::from((ip, v6.port()))),
            None => format!("tcp://{address}"),
        },
        Some(address) => format!("tcp://{address}"),
        // A stream that is not connected, or no longer.
        None => "tcp://".to_owned(),
    }
}

fn addresses(endpoint: &Endpoint, host: &Host, port: u16) -> Result<Vec<SocketAddr>, BindFailure> {
    let name = match host {
        Host::Any => return Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]),
        Host::Ip(ip) => return Ok(vec![(*ip, port).into()]),
        Host::Name(name) => name,
    };
    (name.as_str(), port)
        .to_socket_addrs()
        .map(Iterator::collect)
        .map_err(|source| BindFailure::NameNotResolved {
            endpoint: endpoint.to_string(),
            host: name.clone(),
            source,
        })
}

fn listen(address: SocketAddr, backlog: i32) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows this option would let two programs listen on one port.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Where the system keeps the families apart (OpenBSD), `[::]` is IPv6 alone.
        let _ = socket.set_only_v6(false);
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    let listener = TcpListener::from_std(socket.into());
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use mio::Interest;

    use super::super::tests::{accept, dial, eventually, wait_for};
    use super::super::{Address, BACKLOG_DEFAULT, Listener, StreamOptions};
    use super::*;

    fn bind(host: Host, port: u16) -> Result<(Listener, SocketAddr), BindFailure> {
        let (listener, resolved) = Listener::bind(&Endpoint::Tcp { host, port }, BACKLOG_DEFAULT)?;
        match resolved {
            Endpoint::Tcp {
                host: Host::Ip(ip),
                port,
            } => Ok((listener, (ip, port).into())),
            other => panic!("{other} still has something to resolve"),
        }
    }

    fn loopback() -> Host {
        Host::Ip(Ipv4Addr::LOCALHOST.into())
    }

    #[test]
    fn port_zero_resolves_to_the_port_that_was_bound() {
        let (mut listener, address) = bind(loopback(), 0).unwrap();
        assert_ne!(address.port(), 0);
        dial(&Address::Tcp(address));
        let (_, peer) = accept(&mut listener);
        assert!(peer.starts_with("tcp://127.0.0.1:"), "{peer}");
    }

    #[test]
    fn the_wildcard_host_is_every_ipv4_address() {
        let (mut listener, address) = bind(Host::Any, 0).unwrap();
        assert_eq!(address.ip(), Ipv4Addr::UNSPECIFIED);
        dial(&Address::Tcp((Ipv4Addr::LOCALHOST, address.port()).into()));
        accept(&mut listener);
    }

    #[test]
    fn a_host_name_is_resolved_when_it_is_bound() {
        let (_listener, address) = bind(Host::Name("localhost".into()), 0).unwrap();
        assert!(address.ip().is_loopback());
    }

    #[test]
    fn a_name_that_does_not_resolve_is_named() {
        let failure = bind(Host::Name("no-such-host.invalid".into()), 5555).unwrap_err();
        let BindFailure::NameNotResolved { endpoint, host, .. } = failure else {
            panic!("{failure}")
        };
        assert_eq!(endpoint, "tcp://no-such-host.invalid:5555");
        assert_eq!(host, "no-such-host.invalid");
    }

    #[test]
    fn a_port_with_a_listener_is_in_use() {
        let (_listener, address) = bind(loopback(), 0).unwrap();
        let failure = bind(loopback(), address.port()).unwrap_err();
        let BindFailure::AddressInUse { endpoint } = failure else {
            panic!("{failure}")
        };
        assert_eq!(endpoint, format!("tcp://{address}"));
    }

    #[test]
    fn a_port_can_be_bound_again_at_once_after_its_connections_closed() {
        let (mut listener, address) = bind(loopback(), 0).unwrap();
        let dialled = dial(&Address::Tcp(address));
        // The listening side closes first and keeps the port in TIME_WAIT.
        drop(accept(&mut listener));
        drop(listener);
        drop(dialled);
        eventually(|| bind(loopback(), address.port()).ok());
    }

    #[test]
    fn an_address_of_no_interface_is_not_available() {
        // TEST-NET-1 is reserved for documentation.
        let failure = bind(Host::Ip([192, 0, 2, 1].into()), 0).unwrap_err();
        assert!(
            matches!(failure, BindFailure::AddressNotAvailable { .. }),
            "{failure}"
        );
    }

    #[test]
    fn ipv6_works_where_the_system_has_it() {
        let Ok((mut listener, address)) = bind(Host::Ip(Ipv6Addr::LOCALHOST.into()), 0) else {
            return;
        };
        let dialled = dial(&Address::Tcp(address));
        let (_, peer) = accept(&mut listener);
        assert!(peer.starts_with("tcp://[::1]:"), "{peer}");
        assert_eq!(dialled.peer_text(), format!("tcp://[::1]:{}", address.port()));
    }

    #[test]
    fn the_unspecified_ipv6_address_takes_ipv4_peers_too_and_writes_them_as_such() {
        let Ok((mut listener, address)) = bind(Host::Ip(Ipv6Addr::UNSPECIFIED.into()), 0) else {
            return;
        };
        dial(&Address::Tcp((Ipv4Addr::LOCALHOST, address.port()).into()));
        let (accepted, peer) = accept(&mut listener);
        assert!(peer.starts_with("tcp://127.0.0.1:"), "{peer}");
        assert_eq!(
            accepted.local_text(),
            format!("tcp://127.0.0.1:{}", address.port())
        );
    }

    #[test]
    fn a_refused_dial_is_told_by_dialed() {
        // A bound socket that does not listen keeps the port from everybody and refuses connections.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();

        let mut stream = Stream::dial(&Address::Tcp(address), &StreamOptions::default()).unwrap();
        let error = wait_for(&mut stream, Interest::WRITABLE, |stream| match stream.dialed() {
            Ok(connected) => {
                assert!(!connected);
                None
            }
            Err(error) => Some(error),
        });
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_stream_connected_to_itself_counts_as_refused() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        socket.connect(&socket.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let stream = Stream::Tcp(TcpStream::from_std(socket.into()));
        assert_eq!(
            stream.dialed().unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
    }

    #[test]
    fn both_ends_send_without_delay() {
        let (mut listener, address) = bind(loopback(), 0).unwrap();
        let dialled = dial(&Address::Tcp(address));
        let (accepted, _) = accept(&mut listener);
        for stream in [dialled, accepted] {
            let Stream::Tcp(stream) = stream else {
                panic!("not tcp")
            };
            assert!(stream.nodelay().unwrap());
        }
    }
}
