use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Where a socket binds or connects: a transport and an address, read from text such as `tcp://127.0.0.1:5555`.
///
/// | text | meaning |
/// | --- | --- |
/// | `tcp://host:port` | an IPv4 address, an IPv6 address in brackets, or a name; a name is resolved when it is used |
/// | `tcp://*:port` | every address of this machine; to bind only |
/// | `tcp://host:*`, `tcp://host:0` | a free port the system picks; to bind only |
/// | `ipc:///path`, `ipc://path` | a socket in the file system, absolute or relative to the current directory |
/// | `ipc://@name` | a name in Linux's abstract namespace |
/// | `ipc://*` | a fresh path in the directory for temporary files; to bind only |
/// | `inproc://name` | a name within the context |
///
/// Schemes are lower case. Text is checked in full when it is parsed, so that a mistyped endpoint is an error that
/// names it, not a connection that never comes. [`Display`](fmt::Display) writes text that parses to an equal
/// endpoint. Two endpoints are equal if they mean the same address as written: names are not resolved for that,
/// and are compared with their case.
///
/// Endpoints are made by parsing, or from a [`SocketAddr`]. The variants cannot be built elsewhere, so that every
/// endpoint has been checked; those with an unnamed field are matched as `Endpoint::Inproc { 0: name, .. }`.
///
/// # Examples
/// ```
/// use zerowire::{Endpoint, EndpointError, Host};
///
/// let endpoint: Endpoint = "tcp://[::1]:5555".parse()?;
/// let Endpoint::Tcp { host, port, .. } = &endpoint else { panic!("a tcp endpoint") };
/// assert_eq!((host, *port), (&Host::Ip("::1".parse().unwrap()), 5555));
/// assert_eq!(endpoint.to_string(), "tcp://[::1]:5555");
///
/// let error = Endpoint::try_from("tcp://localhost:65537").unwrap_err();
/// assert!(matches!(error, EndpointError::PortOutOfRange { .. }));
/// # Ok::<(), EndpointError>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `tcp://host:port`.
    #[non_exhaustive]
    Tcp {
        /// The address or name.
        host: Host,
        /// The port; 0 lets the system pick one.
        port: u16,
    },
    /// `ipc://address`.
    #[non_exhaustive]
    Ipc(IpcAddress),
    /// `inproc://name`, with 1 to 256 bytes of name.
    #[non_exhaustive]
    Inproc(String),
}

impl Endpoint {
    /// Checks what only matters for connecting: that the endpoint names one place.
    pub(crate) fn connectable(&self) -> Result<(), EndpointError> {
        let endpoint = || excerpt(&self.to_string());
        match self {
            Endpoint::Tcp { host: Host::Any, .. } => {
                Err(EndpointError::ConnectToAnyHost { endpoint: endpoint() })
            }
            Endpoint::Tcp { port: 0, .. } => Err(EndpointError::ConnectToAnyPort { endpoint: endpoint() }),
            Endpoint::Ipc(IpcAddress::Temporary) => {
                Err(EndpointError::ConnectToTemporary { endpoint: endpoint() })
            }
            Endpoint::Tcp { .. } | Endpoint::Ipc(_) | Endpoint::Inproc(_) => Ok(()),
        }
    }
}

/// The host of a tcp endpoint.
///
/// # Examples
/// ```
/// use zerowire::Host;
///
/// assert_eq!(Host::Any.to_string(), "*");
/// assert_eq!(Host::Ip("::1".parse().unwrap()).to_string(), "[::1]");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// `*`: every address of this machine.
    Any,
    /// An address; IPv6 ones are written in brackets.
    Ip(IpAddr),
    /// A name for the resolver, up to 253 bytes of ASCII, or an IPv6 address with its zone, such as
    /// `fe80::1%eth0`, which is for the resolver too and is written in brackets.
    Name(String),
}

/// The address of an ipc endpoint.
///
/// # Examples
/// ```
/// use zerowire::{Endpoint, IpcAddress};
///
/// let endpoint = Endpoint::try_from("ipc:///run/feed.socket")?;
/// let Endpoint::Ipc { 0: address, .. } = &endpoint else { panic!("an ipc endpoint") };
/// assert_eq!(*address, IpcAddress::Path("/run/feed.socket".into()));
/// # Ok::<(), zerowire::EndpointError>(())
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IpcAddress {
    /// A path in the file system, up to 107 bytes.
    Path(PathBuf),
    /// `@name`: a name in Linux's abstract namespace, here without the `@`, up to 106 bytes.
    Abstract(Vec<u8>),
    /// `*`: a fresh path that the bind picks and reports.
    Temporary,
}

/// Why text is not an endpoint, or an endpoint cannot be connected to.
///
/// `endpoint` is the text at fault, of which long ones are cut; texts are quoted and escaped when displayed.
///
/// # Examples
/// ```
/// use zerowire::{Endpoint, EndpointError};
///
/// let error = Endpoint::try_from("tcp://localhost").unwrap_err();
/// assert_eq!(error, EndpointError::MissingPort { endpoint: "tcp://localhost".into() });
/// assert_eq!(error.to_string(), r#"no port in "tcp://localhost""#);
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the messages say they are")]
pub enum EndpointError {
    /// There is no `://`, or nothing in front of it.
    #[error("no scheme such as tcp:// in {endpoint:?}")]
    MissingScheme { endpoint: String },

    /// The scheme is not `tcp`, `ipc` or `inproc`, in lower case.
    #[error("scheme {scheme:?} in {endpoint:?} is none of tcp, ipc and inproc")]
    UnknownScheme { endpoint: String, scheme: String },

    /// There is nothing behind the scheme.
    #[error("nothing behind the scheme in {endpoint:?}")]
    MissingAddress { endpoint: String },

    /// A tcp endpoint has no host in front of the port.
    #[error("no host in {endpoint:?}, where * stands for all addresses")]
    MissingHost { endpoint: String },

    /// A tcp endpoint has no port, or nothing behind the colon.
    #[error("no port in {endpoint:?}")]
    MissingPort { endpoint: String },

    /// The port is neither `*` nor decimal digits only.
    #[error("port {port:?} in {endpoint:?} is not a number")]
    PortNotNumber { endpoint: String, port: String },

    /// The port is above 65535.
    #[error("port {port} in {endpoint:?} is above 65535")]
    PortOutOfRange { endpoint: String, port: String },

    /// There is a `/` behind the scheme of a tcp endpoint, which has no path.
    #[error("a path in {endpoint:?}, where tcp has only a host and a port")]
    TcpPath { endpoint: String },

    /// There is more than one colon outside brackets.
    #[error("more than one colon in {endpoint:?}, where an IPv6 address stands in brackets")]
    UnbracketedIpv6 { endpoint: String },

    /// There are brackets, but not one pair around the whole host.
    #[error("brackets in {endpoint:?} do not enclose the host")]
    UnbalancedBrackets { endpoint: String },

    /// What stands in brackets is no IPv6 address, or its zone is no interface name or number.
    #[error("{host:?} in {endpoint:?} is not an IPv6 address")]
    InvalidIpv6 { endpoint: String, host: String },

    /// The host is made of digits and dots but is not an IPv4 address of four numbers.
    #[error("{host:?} in {endpoint:?} is not an IPv4 address")]
    InvalidIpv4 { endpoint: String, host: String },

    /// The host has a character other than ASCII letters, digits, `-`, `_` and `.`. A name in other letters has to
    /// be given in its ASCII form (punycode).
    #[error("character {character:?} in the host of {endpoint:?}")]
    IllegalHostCharacter { endpoint: String, character: char },

    /// The host has more than 253 bytes, or a label of none or of more than 63.
    #[error("{host:?} in {endpoint:?} is not a host name")]
    InvalidHostName { endpoint: String, host: String },

    /// An ipc endpoint is only `@`, without the name.
    #[error("no name behind the @ in {endpoint:?}")]
    MissingAbstractName { endpoint: String },

    /// What is behind `ipc://` does not fit the system's socket address.
    #[error("{bytes} bytes of address in {endpoint:?}, where ipc takes up to 107")]
    IpcAddressTooLong { endpoint: String, bytes: usize },

    /// There is a zero byte in an ipc endpoint.
    #[error("zero byte in {endpoint:?}")]
    ZeroByte { endpoint: String },

    /// An inproc name has more than 256 bytes.
    #[error("{bytes} bytes of name in {endpoint:?}, where inproc takes up to 256")]
    InprocNameTooLong { endpoint: String, bytes: usize },

    /// `tcp://*:port` says where to listen, not whom to connect to.
    #[error("cannot connect to {endpoint:?}: * is no host, only a place to bind")]
    ConnectToAnyHost { endpoint: String },

    /// `tcp://host:*` and port 0 let the system pick a port to listen on; nobody can connect to them.
    #[error("cannot connect to {endpoint:?}: it leaves the port open, as only a bind can")]
    ConnectToAnyPort { endpoint: String },

    /// `ipc://*` lets a bind pick a path; nobody can connect to it.
    #[error("cannot connect to {endpoint:?}: it leaves the path open, as only a bind can")]
    ConnectToTemporary { endpoint: String },
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let endpoint = || excerpt(text);
        let (scheme, address) = match text.split_once("://") {
            Some((scheme, address)) if !scheme.is_empty() => (scheme, address),
            _ => return Err(EndpointError::MissingScheme { endpoint: endpoint() }),
        };
        let parse = match scheme {
            "tcp" => parse_tcp,
            "ipc" => parse_ipc,
            "inproc" => parse_inproc,
            _ => {
                return Err(EndpointError::UnknownScheme {
                    endpoint: endpoint(),
                    scheme: excerpt(scheme),
                });
            }
        };
        if address.is_empty() {
            return Err(EndpointError::MissingAddress { endpoint: endpoint() });
        }
        parse(text, address)
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: &str) -> Result<Endpoint, EndpointError> {
        text.parse()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Endpoint, EndpointError> {
        text.parse()
    }
}

impl TryFrom<&String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: &String) -> Result<Endpoint, EndpointError> {
        text.parse()
    }
}

impl From<&Endpoint> for Endpoint {
    fn from(endpoint: &Endpoint) -> Endpoint {
        endpoint.clone()
    }
}

impl From<SocketAddr> for Endpoint {
    /// The tcp endpoint of an address. An IPv6 scope is kept as the zone.
    fn from(address: SocketAddr) -> Endpoint {
        let host = match address {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => Host::Name(format!("{}%{}", v6.ip(), v6.scope_id())),
            _ => Host::Ip(address.ip()),
        };
        Endpoint::Tcp {
            host,
            port: address.port(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Endpoint::Ipc(address) => write!(f, "ipc://{address}"),
            Endpoint::Inproc(name) => write!(f, "inproc://{name}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Any => f.write_str("*"),
            Host::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            // Only an IPv6 address with a zone has a colon.
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for IpcAddress {
    /// Writes the address as it stands behind `ipc://`. Bytes that are not UTF-8, which no parsed address has, are
    /// replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpcAddress::Path(path) => write!(f, "{}", path.display()),
            IpcAddress::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
            IpcAddress::Temporary => f.write_str("*"),
        }
    }
}

/// Lets a function take `impl TryInto<Endpoint>` and be given an [`Endpoint`], whose conversion cannot fail.
impl From<Infallible> for EndpointError {
    fn from(never: Infallible) -> EndpointError {
        match never {}
    }
}

fn parse_tcp(text: &str, address: &str) -> Result<Endpoint, EndpointError> {
    let endpoint = || excerpt(text);
    if address.contains('/') {
        return Err(EndpointError::TcpPath { endpoint: endpoint() });
    }
    let (host, port) = if address.contains(['[', ']']) {
        split_brackets(text, address)?
    } else {
        let Some((host, port)) = address.rsplit_once(':') else {
            return Err(EndpointError::MissingPort { endpoint: endpoint() });
        };
        (parse_host(text, host)?, port)
    };
    if port == "*" {
        return Ok(Endpoint::Tcp { host, port: 0 });
    }
    if port.is_empty() {
        return Err(EndpointError::MissingPort { endpoint: endpoint() });
    }
    // Said before the number is read because that takes a leading `+`.
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(EndpointError::PortNotNumber {
            endpoint: endpoint(),
            port: excerpt(port),
        });
    }
    match port.parse() {
        Ok(port) => Ok(Endpoint::Tcp { host, port }),
        Err(_) => Err(EndpointError::PortOutOfRange {
            endpoint: endpoint(),
            port: excerpt(port),
        }),
    }
}

/// Takes `[host]:port` apart: gives the host, read, and the text of the port.
fn split_brackets<'a>(text: &str, address: &'a str) -> Result<(Host, &'a str), EndpointError> {
    let unbalanced = || EndpointError::UnbalancedBrackets {
        endpoint: excerpt(text),
    };
    let (host, rest) = address
        .strip_prefix('[')
        .and_then(|inner| inner.split_once(']'))
        .ok_or_else(unbalanced)?;
    if host.contains('[') || rest.contains(['[', ']']) {
        return Err(unbalanced());
    }
    if host.is_empty() {
        return Err(EndpointError::MissingHost {
            endpoint: excerpt(text),
        });
    }
    let invalid = || EndpointError::InvalidIpv6 {
        endpoint: excerpt(text),
        host: excerpt(host),
    };
    let (ip, zone) = host
        .split_once('%')
        .map_or((host, None), |(ip, zone)| (ip, Some(zone)));
    let ip: Ipv6Addr = ip.parse().map_err(|_| invalid())?;
    let host = match zone {
        None => Host::Ip(ip.into()),
        Some(zone) if !is_zone(zone) => return Err(invalid()),
        // The address is written anew, so that its different spellings are equal here as they are without a zone.
        Some(zone) => Host::Name(format!("{ip}%{zone}")),
    };
    match rest.strip_prefix(':') {
        Some(port) => Ok((host, port)),
        None if rest.is_empty() => Err(EndpointError::MissingPort {
            endpoint: excerpt(text),
        }),
        None => Err(unbalanced()),
    }
}

/// Reads a host that has no brackets.
fn parse_host(text: &str, host: &str) -> Result<Host, EndpointError> {
    let endpoint = || excerpt(text);
    if host.is_empty() {
        return Err(EndpointError::MissingHost { endpoint: endpoint() });
    }
    if host == "*" {
        return Ok(Host::Any);
    }
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    let may_be_ipv6 = host.contains(':');
    let is_legal = |character: char| {
        is_host_character(character) || (may_be_ipv6 && (character == ':' || character == '%'))
    };
    if let Some(character) = host.chars().find(|&character| !is_legal(character)) {
        return Err(EndpointError::IllegalHostCharacter {
            endpoint: endpoint(),
            character,
        });
    }
    if may_be_ipv6 {
        return Err(EndpointError::UnbracketedIpv6 { endpoint: endpoint() });
    }
    // Resolvers read `127.1`, `1` and octal numbers as addresses nobody meant. A name whose last label only is a
    // number exists (container names end in a replica's number), so that is left to the resolver.
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(EndpointError::InvalidIpv4 {
            endpoint: endpoint(),
            host: excerpt(host),
        });
    }
    // One dot at the end says that the name is complete.
    let name = host.strip_suffix('.').unwrap_or(host);
    let labels_fit = name
        .split('.')
        .all(|label| (1..=HOST_LABEL_BYTES_MAX).contains(&label.len()));
    if !labels_fit || name.len() > HOST_NAME_BYTES_MAX {
        return Err(EndpointError::InvalidHostName {
            endpoint: endpoint(),
            host: excerpt(host),
        });
    }
    Ok(Host::Name(host.to_owned()))
}

fn is_host_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

/// Whether text can be the zone of an IPv6 address: the name of an interface, or its number.
fn is_zone(zone: &str) -> bool {
    (1..=ZONE_BYTES_MAX).contains(&zone.len()) && zone.chars().all(is_host_character)
}

fn parse_ipc(text: &str, address: &str) -> Result<Endpoint, EndpointError> {
    let endpoint = || excerpt(text);
    if address.contains('\0') {
        return Err(EndpointError::ZeroByte { endpoint: endpoint() });
    }
    if address.len() > IPC_ADDRESS_BYTES_MAX {
        return Err(EndpointError::IpcAddressTooLong {
            endpoint: endpoint(),
            bytes: address.len(),
        });
    }
    Ok(Endpoint::Ipc(match address.strip_prefix('@') {
        Some("") => return Err(EndpointError::MissingAbstractName { endpoint: endpoint() }),
        Some(name) => IpcAddress::Abstract(name.into()),
        None if address == "*" => IpcAddress::Temporary,
        None => IpcAddress::Path(address.into()),
    }))
}

fn parse_inproc(text: &str, name: &str) -> Result<Endpoint, EndpointError> {
    if name.len() > INPROC_NAME_BYTES_MAX {
        return Err(EndpointError::InprocNameTooLong {
            endpoint: excerpt(text),
            bytes: name.len(),
        });
    }
    Ok(Endpoint::Inproc(name.to_owned()))
}

/// Text for an error: its beginning if it is long, because the text may come from anywhere.
fn excerpt(text: &str) -> String {
    if text.len() <= EXCERPT_BYTES_MAX {
        return text.to_owned();
    }
    let starts = text.char_indices().map(|(start, _)| start);
    let end = starts
        .take_while(|&start| start <= EXCERPT_BYTES_MAX)
        .last()
        .unwrap_or(0);
    format!("{}…", &text[..end])
}

/// The longest host name, without a dot at the end (RFC 1035 section 2.3.4, less the length bytes at both ends).
const HOST_NAME_BYTES_MAX: usize = 253;

/// The longest label of a host name (RFC 1035 section 2.3.4).
const HOST_LABEL_BYTES_MAX: usize = 63;

/// The longest zone. Linux takes interface names of up to 15 bytes, other systems longer ones.
const ZONE_BYTES_MAX: usize = 63;

/// The longest address behind `ipc://`: the 108 bytes of `sun_path` less the zero that ends a path. The `@` of an
/// abstract name counts, as it does for libzmq; one more byte would make a name that its peers cannot reach.
const IPC_ADDRESS_BYTES_MAX: usize = 107;

/// The longest inproc name.
const INPROC_NAME_BYTES_MAX: usize = 256;

/// How much of a text is repeated in an error.
const EXCERPT_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::SocketAddrV6;

    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Endpoint {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn tcp(host: Host, port: u16) -> Endpoint {
        Endpoint::Tcp { host, port }
    }

    fn ip(text: &str) -> Host {
        Host::Ip(text.parse().unwrap())
    }

    fn name(text: &str) -> Host {
        Host::Name(text.to_owned())
    }

    /// What parses: the text, what it means, and how it is displayed.
    fn good() -> Vec<(String, Endpoint, String)> {
        let label = "l".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "l".repeat(61));
        let table = [
            ("tcp://127.0.0.1:5555", tcp(ip("127.0.0.1"), 5555), "="),
            ("tcp://0.0.0.0:1", tcp(ip("0.0.0.0"), 1), "="),
            ("tcp://*:5555", tcp(Host::Any, 5555), "="),
            ("tcp://*:*", tcp(Host::Any, 0), "tcp://*:0"),
            ("tcp://*:0", tcp(Host::Any, 0), "="),
            ("tcp://127.0.0.1:*", tcp(ip("127.0.0.1"), 0), "tcp://127.0.0.1:0"),
            ("tcp://127.0.0.1:0", tcp(ip("127.0.0.1"), 0), "="),
            ("tcp://localhost:65535", tcp(name("localhost"), 65535), "="),
            (
                "tcp://localhost:00080",
                tcp(name("localhost"), 80),
                "tcp://localhost:80",
            ),
            ("tcp://eth0:5555", tcp(name("eth0"), 5555), "="),
            (
                "tcp://my_host-1.Example.org.:5555",
                tcp(name("my_host-1.Example.org."), 5555),
                "=",
            ),
            ("tcp://web.1:5555", tcp(name("web.1"), 5555), "="),
            (
                "tcp://xn--bcher-kva.example:5555",
                tcp(name("xn--bcher-kva.example"), 5555),
                "=",
            ),
            ("tcp://[::1]:5555", tcp(ip("::1"), 5555), "="),
            ("tcp://[::]:*", tcp(ip("::"), 0), "tcp://[::]:0"),
            (
                "tcp://[2001:DB8:0::1]:5555",
                tcp(ip("2001:db8::1"), 5555),
                "tcp://[2001:db8::1]:5555",
            ),
            (
                "tcp://[::ffff:10.0.0.1]:5555",
                tcp(ip("::ffff:10.0.0.1"), 5555),
                "=",
            ),
            ("tcp://[fe80::1%eth0]:5555", tcp(name("fe80::1%eth0"), 5555), "="),
            (
                "tcp://[FE80:0::1%3]:5555",
                tcp(name("fe80::1%3"), 5555),
                "tcp://[fe80::1%3]:5555",
            ),
            (
                "ipc:///tmp/feed.socket",
                Endpoint::Ipc(IpcAddress::Path("/tmp/feed.socket".into())),
                "=",
            ),
            (
                "ipc://relative path/ü",
                Endpoint::Ipc(IpcAddress::Path("relative path/ü".into())),
                "=",
            ),
            (
                "ipc://./@feed",
                Endpoint::Ipc(IpcAddress::Path("./@feed".into())),
                "=",
            ),
            (
                "ipc://*.socket",
                Endpoint::Ipc(IpcAddress::Path("*.socket".into())),
                "=",
            ),
            ("ipc://*", Endpoint::Ipc(IpcAddress::Temporary), "="),
            (
                "ipc://@feed",
                Endpoint::Ipc(IpcAddress::Abstract(b"feed".to_vec())),
                "=",
            ),
            (
                "ipc://@*",
                Endpoint::Ipc(IpcAddress::Abstract(b"*".to_vec())),
                "=",
            ),
            ("inproc://feed", Endpoint::Inproc("feed".to_owned()), "="),
            ("inproc://a://b *ü", Endpoint::Inproc("a://b *ü".to_owned()), "="),
        ];
        let mut good: Vec<_> = table
            .into_iter()
            .map(|(text, endpoint, shown)| {
                let shown = if shown == "=" { text } else { shown };
                (text.to_owned(), endpoint, shown.to_owned())
            })
            .collect();
        for (text, endpoint) in [
            (format!("tcp://{longest}:1"), tcp(name(&longest), 1)),
            (
                format!("tcp://{longest}.:1"),
                tcp(name(&format!("{longest}.")), 1),
            ),
            (
                format!("ipc://{}", "p".repeat(107)),
                Endpoint::Ipc(IpcAddress::Path("p".repeat(107).into())),
            ),
            (
                format!("ipc://@{}", "n".repeat(106)),
                Endpoint::Ipc(IpcAddress::Abstract(vec![b'n'; 106])),
            ),
            (
                format!("inproc://{}", "n".repeat(256)),
                Endpoint::Inproc("n".repeat(256)),
            ),
        ] {
            good.push((text.clone(), endpoint, text));
        }
        good
    }

    /// What does not parse: the text, and the error made from it.
    fn bad() -> Vec<(String, EndpointError)> {
        use EndpointError::*;

        /// An error made from the text at fault.
        type Make = fn(String) -> EndpointError;

        let table: Vec<(&[&str], Make)> = vec![
            (
                &[
                    "",
                    "localhost:5555",
                    "tcp",
                    "tcp:",
                    "tcp:/",
                    "tcp:/a:1",
                    "tcp//a:1",
                    "://",
                    "://a:1",
                    "/path",
                ],
                |endpoint| MissingScheme { endpoint },
            ),
            (
                &[
                    "TCP://a:1",
                    "Tcp://a:1",
                    " tcp://a:1",
                    "udp://a:1",
                    "pgm://",
                    "x\n://a",
                ],
                |endpoint| {
                    let scheme = endpoint.split("://").next().unwrap().to_owned();
                    UnknownScheme { endpoint, scheme }
                },
            ),
            (&["tcp://", "ipc://", "inproc://"], |endpoint| MissingAddress {
                endpoint,
            }),
            (&["tcp://:5555", "tcp://:", "tcp://[]:5555"], |endpoint| {
                MissingHost { endpoint }
            }),
            (
                &[
                    "tcp://host",
                    "tcp://*",
                    "tcp://host:",
                    "tcp://[::1]",
                    "tcp://[::1]:",
                ],
                |endpoint| MissingPort { endpoint },
            ),
            (
                &[
                    "tcp://host:12x",
                    "tcp://host:x",
                    "tcp://host:+80",
                    "tcp://host:-1",
                    "tcp://host: 80",
                    "tcp://host:80 ",
                    "tcp://host:**",
                    "tcp://host:8\n",
                    "tcp://host:0x50",
                    "tcp://host:٣",
                    "tcp://[::1]:12x",
                ],
                |endpoint| {
                    let port = endpoint.rsplit(':').next().unwrap().to_owned();
                    PortNotNumber { endpoint, port }
                },
            ),
            (
                &[
                    "tcp://host:65536",
                    "tcp://host:65537",
                    "tcp://host:99999999999999999999",
                ],
                |endpoint| {
                    let port = endpoint.rsplit(':').next().unwrap().to_owned();
                    PortOutOfRange { endpoint, port }
                },
            ),
            (
                &[
                    "tcp://host:5555/path",
                    "tcp://host:5555/",
                    "tcp:///host:5555",
                    "tcp://a/b:1",
                ],
                |endpoint| TcpPath { endpoint },
            ),
            (
                &[
                    "tcp://::1:5555",
                    "tcp://::1",
                    "tcp://fe80::1%eth0:5555",
                    "tcp://a:b:80",
                    "tcp://::",
                ],
                |endpoint| UnbracketedIpv6 { endpoint },
            ),
            (
                &[
                    "tcp://[::1:5555",
                    "tcp://::1]:5555",
                    "tcp://[[::1]]:5555",
                    "tcp://[[::1]:5555",
                    "tcp://a[::1]:5555",
                    "tcp://[::1]a:5555",
                    "tcp://[::1]5555",
                    "tcp://[::1]:[5555]",
                    "tcp://]::1[:5555",
                ],
                |endpoint| UnbalancedBrackets { endpoint },
            ),
            (
                &[
                    "tcp://[127.0.0.1]:1",
                    "tcp://[host]:1",
                    "tcp://[::1::]:1",
                    "tcp://[*]:1",
                    "tcp://[fe80::1%]:1",
                    "tcp://[fe80::1%a b]:1",
                    "tcp://[fe80::1%a%b]:1",
                    "tcp://[%eth0]:1",
                ],
                |endpoint| {
                    let host = endpoint.split(['[', ']']).nth(1).unwrap().to_owned();
                    InvalidIpv6 { endpoint, host }
                },
            ),
            (
                &[
                    "tcp://256.0.0.1:1",
                    "tcp://127.1:1",
                    "tcp://1:1",
                    "tcp://127.0.0.01:1",
                    "tcp://...:1",
                ],
                |endpoint| {
                    let host = endpoint["tcp://".len()..].split(':').next().unwrap().to_owned();
                    InvalidIpv4 { endpoint, host }
                },
            ),
            (&["tcp://ho st:1", "tcp:// :1"], |endpoint| IllegalHostCharacter {
                endpoint,
                character: ' ',
            }),
            (&["tcp://bücher.example:1", "tcp://ü:1:1"], |endpoint| {
                IllegalHostCharacter {
                    endpoint,
                    character: 'ü',
                }
            }),
            (&["tcp://*.example:1", "tcp://**:1"], |endpoint| {
                IllegalHostCharacter {
                    endpoint,
                    character: '*',
                }
            }),
            (&["tcp://10.0.0.1:0;host:1", "tcp://eth0;host:1"], |endpoint| {
                IllegalHostCharacter {
                    endpoint,
                    character: ';',
                }
            }),
            (&["tcp://user@host:1"], |endpoint| IllegalHostCharacter {
                endpoint,
                character: '@',
            }),
            (&["tcp://ho\0st:1"], |endpoint| IllegalHostCharacter {
                endpoint,
                character: '\0',
            }),
            (&["tcp://eth0%1:1"], |endpoint| IllegalHostCharacter {
                endpoint,
                character: '%',
            }),
            (&["tcp://a..b:1", "tcp://.a:1", "tcp://a..:1"], |endpoint| {
                let host = endpoint["tcp://".len()..].split(':').next().unwrap().to_owned();
                InvalidHostName { endpoint, host }
            }),
            (&["ipc://@"], |endpoint| MissingAbstractName { endpoint }),
            (&["ipc:///tmp/a\0b", "ipc://@a\0b", "ipc://\0"], |endpoint| {
                ZeroByte { endpoint }
            }),
        ];
        let mut bad: Vec<_> = table
            .into_iter()
            .flat_map(|(texts, make)| {
                texts
                    .iter()
                    .map(move |&text| (text.to_owned(), make(text.to_owned())))
            })
            .collect();
        for text in [
            format!("ipc://{}", "p".repeat(108)),
            format!("ipc://@{}", "n".repeat(107)),
        ] {
            bad.push((
                text.clone(),
                IpcAddressTooLong {
                    endpoint: text,
                    bytes: 108,
                },
            ));
        }
        let text = format!("tcp://{}:1", "l".repeat(64));
        bad.push((
            text.clone(),
            InvalidHostName {
                endpoint: text,
                host: "l".repeat(64),
            },
        ));
        bad
    }

    #[test]
    fn good_text_means_what_the_table_says() {
        for (text, endpoint, shown) in good() {
            assert_eq!(text.parse(), Ok(endpoint.clone()), "{text:?}");
            assert_eq!(endpoint.to_string(), shown);
        }
    }

    #[test]
    fn a_displayed_endpoint_parses_to_an_equal_one() {
        for (text, endpoint, shown) in good() {
            assert_eq!(shown.parse(), Ok(endpoint.clone()), "{text:?}");
            assert!(HashSet::from([endpoint]).contains(&parse(&shown)));
        }
    }

    #[test]
    fn bad_text_is_refused_with_the_value_at_fault() {
        for (text, error) in bad() {
            assert_eq!(text.parse::<Endpoint>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_in_all_is_refused() {
        let label = "l".repeat(63);
        let text = format!("tcp://{label}.{label}.{label}.{}:1", "l".repeat(62));
        assert!(matches!(
            text.parse::<Endpoint>(),
            Err(EndpointError::InvalidHostName { .. })
        ));
        let text = format!("inproc://{}", "n".repeat(257));
        assert!(matches!(
            text.parse::<Endpoint>(),
            Err(EndpointError::InprocNameTooLong { bytes: 257, .. })
        ));
        let text = format!("tcp://[fe80::1%{}]:1", "z".repeat(64));
        assert!(matches!(
            text.parse::<Endpoint>(),
            Err(EndpointError::InvalidIpv6 { .. })
        ));
    }

    #[test]
    fn messages_quote_the_text_escaped_in_lower_case_without_a_full_stop() {
        for (text, error) in bad() {
            let message = error.to_string();
            assert!(
                !message.ends_with('.') && !message.starts_with(char::is_uppercase),
                "{message}"
            );
            assert!(!message.contains(['\n', '\0']), "{message:?}");
            assert!(message.contains(&format!("{:?}", excerpt(&text))), "{message}");
        }
    }

    #[test]
    fn long_text_is_cut_in_errors() {
        for text in [
            "x".repeat(1_000_000),
            format!("tcp://{}:1", "ü".repeat(100_000)),
            "é://".repeat(1000),
        ] {
            let message = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(message.contains('…') && message.len() < 500, "{message}");
        }
        let at_limit = "x".repeat(EXCERPT_BYTES_MAX);
        assert_eq!(excerpt(&at_limit), at_limit);
        assert_eq!(excerpt(&format!("{at_limit}y")), format!("{at_limit}…"));
        let straddling = format!("{}ü", "x".repeat(EXCERPT_BYTES_MAX - 1));
        assert_eq!(
            excerpt(&straddling),
            format!("{}…", "x".repeat(EXCERPT_BYTES_MAX - 1))
        );
    }

    #[test]
    fn only_an_endpoint_that_names_one_place_can_be_connected_to() {
        for text in ["tcp://*:5555", "tcp://*:0"] {
            let endpoint = text.to_owned();
            assert_eq!(
                parse(text).connectable(),
                Err(EndpointError::ConnectToAnyHost { endpoint })
            );
        }
        for text in ["tcp://127.0.0.1:0", "tcp://127.0.0.1:*"] {
            let endpoint = "tcp://127.0.0.1:0".to_owned();
            assert_eq!(
                parse(text).connectable(),
                Err(EndpointError::ConnectToAnyPort { endpoint })
            );
        }
        let endpoint = "ipc://*".to_owned();
        assert_eq!(
            parse("ipc://*").connectable(),
            Err(EndpointError::ConnectToTemporary { endpoint })
        );
        for text in [
            "tcp://host:1",
            "tcp://[::1]:1",
            "tcp://0.0.0.0:1",
            "ipc://a",
            "ipc://@a",
            "inproc://a",
        ] {
            assert_eq!(parse(text).connectable(), Ok(()), "{text}");
        }
    }

    #[test]
    fn text_and_endpoints_are_both_taken() {
        fn take<E: TryInto<Endpoint>>(endpoint: E) -> Result<Endpoint, EndpointError>
        where
            EndpointError: From<E::Error>,
        {
            Ok(endpoint.try_into()?)
        }
        let expected = parse("tcp://127.0.0.1:5555");
        let text = expected.to_string();
        assert_eq!(take(&text[..]), Ok(expected.clone()));
        assert_eq!(take(&text), Ok(expected.clone()));
        assert_eq!(take(text), Ok(expected.clone()));
        assert_eq!(take(&expected), Ok(expected.clone()));
        assert_eq!(
            take(SocketAddr::from(([127, 0, 0, 1], 5555))),
            Ok(expected.clone())
        );
        assert_eq!(take(expected.clone()), Ok(expected));
        assert!(take("nonsense").is_err());
    }

    #[test]
    fn a_socket_address_keeps_its_scope() {
        let address = SocketAddrV6::new("fe80::1".parse().unwrap(), 5555, 0, 3);
        let endpoint = Endpoint::from(SocketAddr::from(address));
        assert_eq!(endpoint.to_string(), "tcp://[fe80::1%3]:5555");
        assert_eq!(parse("tcp://[fe80::1%3]:5555"), endpoint);
    }

    #[test]
    fn spellings_of_one_address_are_equal() {
        for (one, other) in [
            ("tcp://[::1]:1", "tcp://[0:0::1]:1"),
            ("tcp://[fe80::1%a]:1", "tcp://[FE80::0:1%a]:1"),
            ("tcp://*:0", "tcp://*:*"),
            ("ipc:///tmp//a", "ipc:///tmp/./a"),
        ] {
            assert_eq!(parse(one), parse(other));
        }
        assert_ne!(parse("tcp://a:1"), parse("tcp://A:1"));
        assert_ne!(parse("ipc://feed"), parse("ipc://@feed"));
    }

    /// Whatever the text, parsing gives an endpoint that survives being displayed, or an error of limited length.
    fn parses_or_explains(text: &str) {
        match text.parse::<Endpoint>() {
            Ok(endpoint) => {
                let shown = endpoint.to_string();
                assert_eq!(
                    shown.parse(),
                    Ok(endpoint.clone()),
                    "{text:?} is shown as {shown:?}"
                );
                assert_eq!(parse(&shown).to_string(), shown);
                let _ = endpoint.connectable();
            }
            // Two excerpts, of which each byte may be escaped, and the words around them.
            Err(error) => assert!(error.to_string().len() < 3000, "{text:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_text_parses_or_explains(text in any::<String>()) {
            parses_or_explains(&text);
        }

        #[test]
        fn any_address_behind_a_scheme_parses_or_explains(
            scheme in prop_oneof![Just("tcp"), Just("ipc"), Just("inproc")],
            address in any::<String>(),
        ) {
            parses_or_explains(&format!("{scheme}://{address}"));
        }

        #[test]
        fn what_looks_like_tcp_parses_or_explains(
            host in prop_oneof![
                "[a-z0-9.*_-]{0,20}",
                "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
                "\\[[0-9a-fA-F:.]{0,30}(%[a-z0-9]{0,4})?\\]",
                "[\\[\\]0-9a-f:.%*/ ]{0,12}",
            ],
            port in "(:[0-9]{0,5}|:[0-9+*x]{0,6}|)",
        ) {
            parses_or_explains(&format!("tcp://{host}{port}"));
        }

        #[test]
        fn every_address_and_port_survives(bits in any::<u128>(), v4 in any::<u32>(), port in any::<u16>()) {
            for address in [IpAddr::V6(bits.into()), IpAddr::V6((bits & 0xffff).into()), IpAddr::V4(v4.into())] {
                let endpoint = Endpoint::from(SocketAddr::new(address, port));
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }

        #[test]
        fn every_short_path_survives(path in "[a-z@*./ü \\\\\n]{1,40}") {
            let text = format!("ipc://{path}");
            if path != "@" {
                prop_assert_eq!(parse(&text).to_string(), text);
            }
        }
    }
}
