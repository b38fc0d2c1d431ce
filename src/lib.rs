//! Brokerless messaging for Rust: the sockets of ZeroMQ over inproc, ipc and tcp.
//!
//! Threads, processes and machines talk through typed sockets; there is no server, no C library and no async runtime.
//! On the wire it is ZMTP 3.1, so every ZeroMQ program in any language is a peer.
//!
//! Begin with a [`Context`] and two sockets, such as [`PushSocket`] and [`PullSocket`]; the [`guide`] tells in one page what is
//! promised, what is not, and how to see what is going on.
//!
//! # Features
//! None is on by default.
//! - `cli`: the command `zerowire`, for shells. It changes nothing in the library.
//! - `futures`: sockets that receive, parts of them, and a [`Monitor`] are a `futures_core::Stream`; those that send are a
//!   `futures_sink::Sink`. Not [`ReqSocket`] and [`RepSocket`], which take turns.
//! - `mio`: a [`ReadyFd`] is a `mio::event::Source`.
//! - `tracing`: what a [`Monitor`] tells goes to `tracing` as well, whether or not there is one: events with the target
//!   `zerowire` and fields, each connection's in a span of its own. The subscriber is called on I/O threads and must not block
//!   them, nor use the sockets that it is told of.
#![cfg_attr(zerowire_loom, allow(dead_code))]

#[cfg(not(zerowire_loom))]
mod context;
#[cfg(not(zerowire_loom))]
mod endpoint;
#[cfg(not(zerowire_loom))]
mod engine;
#[cfg(not(zerowire_loom))]
mod error;
#[cfg(not(zerowire_loom))]
mod framing;
#[cfg(all(not(zerowire_loom), any(fuzzing, test)))]
pub mod fuzzing;
#[cfg(not(zerowire_loom))]
#[doc = include_str!("guide.md")]
pub mod guide {}
#[cfg(not(zerowire_loom))]
mod mailbox;
#[cfg(not(zerowire_loom))]
mod message;
#[cfg(not(zerowire_loom))]
mod monitor;
#[cfg(not(zerowire_loom))]
mod options;
#[cfg(not(zerowire_loom))]
mod peer_id;
mod pipe;
#[cfg(not(zerowire_loom))]
mod proxy;
#[cfg(not(zerowire_loom))]
mod reactor;
#[cfg(not(zerowire_loom))]
mod routing;
#[cfg(not(zerowire_loom))]
mod security;
#[cfg(not(zerowire_loom))]
mod selector;
#[cfg(not(zerowire_loom))]
mod socket;
#[cfg(not(zerowire_loom))]
mod stats;
#[cfg(not(zerowire_loom))]
mod transport;
mod wire;

#[cfg(not(zerowire_loom))]
pub use crate::{
    context::{Context, ContextBuilder},
    endpoint::{Endpoint, EndpointError, Host, IpcAddress},
    error::{
        BindError, ConnectError, DetachError, OptionError, RecvError, RecvTimeoutError, RequestError,
        SendError, SendTimeoutError, SendToError, SubscribeError, TryRecvError, TrySendError, WaitError,
    },
    message::{IntoParts, Message, Part, Parts},
    monitor::{Connection, ConnectionId, DuplicateOutcome, Event, Monitor, MonitorIter, Reason},
    options::{OnDuplicate, SlowSubscriber, TcpKeepalive, Verbosity},
    peer_id::{InvalidPeerId, PeerId},
    proxy::{
        Capture, Flow, Pairing, Proxy, ProxyControl, ProxyEnd, ProxyError, ProxyHandle, ProxySide, ProxyStats,
    },
    selector::{RegisterError, SelectError, Selected, Selector},
    socket::builder::{Builder, Conflates, Deals, Identified, Probes, Publishes, Receives, Sends, Socket},
    socket::fan_out::Published,
    socket::level::{ReceiveReady, SendReady},
    socket::pair::{PairReceiver, PairSender, PairSocket},
    socket::pipeline::{PullSocket, PushSocket},
    socket::pubsub::{PubSocket, SubSocket},
    socket::rep::{RepSocket, Request},
    socket::req::ReqSocket,
    socket::router::{
        DealerReceiver, DealerSender, DealerSocket, RouterReceiver, RouterSender, RouterSocket,
    },
    socket::shared::{SharedPubSocket, SharedPushSocket},
    socket::subscribing::Told,
    socket::xpubsub::{Upstream, XPubSocket, XSubSocket},
    stats::{Discarded, Dropped, PeerStats, Received, Sent, ShutdownReport, Stats, Undelivered},
    wire::{error::ProtocolError, socket_type::SocketType},
};

#[cfg(all(unix, not(zerowire_loom)))]
pub use crate::transport::bell::ReadyFd;
