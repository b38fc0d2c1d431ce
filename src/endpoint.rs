//! temporary
#![allow(missing_docs)]
use std::{convert::Infallible, fmt, net::IpAddr, path::PathBuf, str::FromStr};
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint { Tcp { host: Host, port: u16 }, Ipc(IpcAddress), Inproc(String) }
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host { Any, Ip(IpAddr), Name(String) }
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IpcAddress { Path(PathBuf), Abstract(Vec<u8>), Temporary }
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad {0}")]
pub struct EndpointError(String);
impl From<Infallible> for EndpointError { fn from(x: Infallible) -> Self { match x {} } }
impl Endpoint { pub(crate) fn connectable(&self) -> Result<(), EndpointError> { Ok(()) } }
impl FromStr for Endpoint { type Err = EndpointError; fn from_str(s: &str) -> Result<Self, EndpointError> {
    let bad = || EndpointError(s.into());
    let (a, b) = s.split_once("://").ok_or_else(bad)?;
    match a { "inproc" => Ok(Endpoint::Inproc(b.into())),
      "ipc" => Ok(Endpoint::Ipc(if b == "*" { IpcAddress::Temporary } else if let Some(n) = b.strip_prefix('@') { IpcAddress::Abstract(n.as_bytes().to_vec()) } else { IpcAddress::Path(b.into()) })),
      "tcp" => { let (h, p) = b.rsplit_once(':').ok_or_else(bad)?; let port = if p == "*" { 0 } else { p.parse().map_err(|_| bad())? };
        let h = h.trim_matches(['[', ']']);
        Ok(Endpoint::Tcp { host: if h == "*" { Host::Any } else { h.parse().map(Host::Ip).unwrap_or(Host::Name(h.into())) }, port }) }
      _ => Err(bad()) } } }
impl TryFrom<&str> for Endpoint { type Error = EndpointError; fn try_from(s: &str) -> Result<Self, EndpointError> { s.parse() } }
impl TryFrom<String> for Endpoint { type Error = EndpointError; fn try_from(s: String) -> Result<Self, EndpointError> { s.parse() } }
impl TryFrom<&String> for Endpoint { type Error = EndpointError; fn try_from(s: &String) -> Result<Self, EndpointError> { s.parse() } }
impl TryFrom<&Endpoint> for Endpoint { type Error = EndpointError; fn try_from(s: &Endpoint) -> Result<Self, EndpointError> { Ok(s.clone()) } }
impl fmt::Display for Endpoint { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { match self {
  Endpoint::Inproc(n) => write!(f, "inproc://{n}"), Endpoint::Ipc(IpcAddress::Temporary) => write!(f, "ipc://*"),
  Endpoint::Ipc(IpcAddress::Path(p)) => write!(f, "ipc://{}", p.display()), Endpoint::Ipc(IpcAddress::Abstract(p)) => write!(f, "ipc://@{}", String::from_utf8_lossy(p)),
  Endpoint::Tcp { host: Host::Any, port } => write!(f, "tcp://*:{port}"), Endpoint::Tcp { host: Host::Name(n), port } => write!(f, "tcp://{n}:{port}"),
  Endpoint::Tcp { host: Host::Ip(IpAddr::V4(n)), port } => write!(f, "tcp://{n}:{port}"), Endpoint::Tcp { host: Host::Ip(n), port } => write!(f, "tcp://[{n}]:{port}") } } }
