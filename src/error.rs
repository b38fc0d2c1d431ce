//! The errors of the public calls: one small enum for each operation.
//!
//! A failed send gives the message back. Errors about a connection are no errors of a call: a
//! [`Monitor`](crate::Monitor) tells them.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::endpoint::EndpointError;
use crate::message::Message;

/// Why a socket could not be bound.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The endpoint cannot be used as it is written.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// Another socket, of this or another program, has the address.
    #[error("address `{endpoint}` is in use")]
    AddressInUse {
        /// The endpoint asked for.
        endpoint: String,
    },
    /// The address is not one of this machine.
    #[error("address `{endpoint}` is not available on this machine")]
    AddressNotAvailable {
        /// The endpoint asked for.
        endpoint: String,
    },
    /// The operating system forbids it: a privileged port, or a directory without write permission.
    #[error("permission denied for `{endpoint}`")]
    PermissionDenied {
        /// The endpoint asked for.
        endpoint: String,
    },
    /// The directory of an ipc path does not exist.
    #[error("directory {directory:?} of `{endpoint}` does not exist")]
    DirectoryMissing {
        /// The endpoint asked for.
        endpoint: String,
        /// The directory that is missing.
        directory: PathBuf,
    },
    /// The ipc path holds a file that is no socket; it is left alone.
    #[error("file {path:?} of `{endpoint}` is not a socket")]
    NotASocket {
        /// The endpoint asked for.
        endpoint: String,
        /// The file in the way.
        path: PathBuf,
    },
    /// This kind of address does not exist on this platform.
    #[error("`{endpoint}` is not supported on this platform")]
    Unsupported {
        /// The endpoint asked for.
        endpoint: String,
    },
    /// The host name has no address.
    #[error("host `{host}` of `{endpoint}` does not resolve: {source}")]
    Resolve {
        /// The endpoint asked for.
        endpoint: String,
        /// The host in it.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// The operating system refused for another reason.
    #[error("cannot bind `{endpoint}`: {source}")]
    Io {
        /// The endpoint asked for.
        endpoint: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The context's I/O thread could not be started.
    #[error("cannot start the I/O thread: {0}")]
    IoThread(#[source] io::Error),
    /// The I/O thread of the context has failed; nothing but dropping is left.
    #[error("the I/O thread of the context has died")]
    IoThreadDied,
}

/// Why a socket could not be connected. A peer that is not there is no error: the socket keeps trying.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The endpoint cannot be used as it is written, or cannot be connected to (`tcp://*:5555`).
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The socket is connected to this endpoint already.
    #[error("already connected to `{endpoint}`")]
    AlreadyConnected {
        /// The endpoint asked for.
        endpoint: String,
    },
    /// An inproc name is bound by a socket whose type does not go with this one.
    #[error("`{endpoint}` is bound by a {theirs} socket, which a {ours} socket cannot talk to")]
    IncompatiblePeer {
        /// The endpoint asked for.
        endpoint: String,
        /// Type of this socket.
        ours: crate::SocketType,
        /// Type of the socket that is bound.
        theirs: crate::SocketType,
    },
    /// The context's I/O thread could not be started.
    #[error("cannot start the I/O thread: {0}")]
    IoThread(#[source] io::Error),
    /// The I/O thread of the context has failed; nothing but dropping is left.
    #[error("the I/O thread of the context has died")]
    IoThreadDied,
}

/// The socket is not bound or connected to the endpoint.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DetachError {
    /// The endpoint cannot be used as it is written.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No such endpoint: `unbind` takes what [`bind`](crate::PushSocket::bind) returned, `disconnect` what was given
    /// to [`connect`](crate::PushSocket::connect).
    #[error("the socket has no endpoint `{endpoint}`")]
    UnknownEndpoint {
        /// The endpoint asked for.
        endpoint: String,
    },
}

/// An option is outside its range.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionError {
    /// The value is outside the option's range.
    #[error("option {option} is {value}, allowed is {min} to {max}")]
    OutOfRange {
        /// Name of the builder method.
        option: &'static str,
        /// The value given.
        value: String,
        /// Smallest value allowed.
        min: String,
        /// Largest value allowed.
        max: String,
    },
}

/// Why a send that may wait failed. The message comes back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message is larger than `max_message_bytes` or has more parts than `max_message_parts`, so that a peer with
    /// the same options would hang up on it, again and again.
    #[error("message of {} parts and {} bytes is over the socket's limits", .0.part_count(), .0.total_bytes())]
    TooLarge(Message),
    /// The I/O thread of the context has failed.
    #[error("the I/O thread of the context has died")]
    IoThreadDied(Message),
}

/// Why a send that does not wait failed. The message comes back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// Every peer is at its high-water mark.
    #[error("every peer is at its high-water mark")]
    Full(Message),
    /// There is no peer and none is being connected to.
    #[error("no peer")]
    NoPeer(Message),
    /// See [`SendError::TooLarge`].
    #[error("message of {} parts and {} bytes is over the socket's limits", .0.part_count(), .0.total_bytes())]
    TooLarge(Message),
    /// See [`SendError::IoThreadDied`].
    #[error("the I/O thread of the context has died")]
    IoThreadDied(Message),
}

/// Why a send that waits for a limited time failed. The message comes back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendTimeoutError {
    /// In all that time no peer had room.
    #[error("no peer had room in time")]
    Timeout(Message),
    /// See [`SendError::TooLarge`].
    #[error("message of {} parts and {} bytes is over the socket's limits", .0.part_count(), .0.total_bytes())]
    TooLarge(Message),
    /// See [`SendError::IoThreadDied`].
    #[error("the I/O thread of the context has died")]
    IoThreadDied(Message),
}

/// Why a receive that may wait failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The I/O thread of the context has failed, and everything that had arrived was received.
    #[error("the I/O thread of the context has died")]
    IoThreadDied,
}

/// Why a receive that does not wait failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// No message is waiting.
    #[error("no message is waiting")]
    Empty,
    /// See [`RecvError::IoThreadDied`].
    #[error("the I/O thread of the context has died")]
    IoThreadDied,
}

/// Why a receive that waits for a limited time failed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No message came in time.
    #[error("no message came in time")]
    Timeout,
    /// See [`RecvError::IoThreadDied`].
    #[error("the I/O thread of the context has died")]
    IoThreadDied,
}

impl SendError {
    /// The message that was not sent.
    pub fn into_message(self) -> Message {
        match self {
            SendError::TooLarge(message) | SendError::IoThreadDied(message) => message,
        }
    }
}

impl TrySendError {
    /// The message that was not sent.
    pub fn into_message(self) -> Message {
        match self {
            TrySendError::Full(message)
            | TrySendError::NoPeer(message)
            | TrySendError::TooLarge(message)
            | TrySendError::IoThreadDied(message) => message,
        }
    }
}

impl SendTimeoutError {
    /// The message that was not sent.
    pub fn into_message(self) -> Message {
        match self {
            SendTimeoutError::Timeout(message)
            | SendTimeoutError::TooLarge(message)
            | SendTimeoutError::IoThreadDied(message) => message,
        }
    }
}
