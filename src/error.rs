//! The errors of the public calls: one small enum for each operation.
//!
//! A failed send gives the message back. Errors about a connection are no errors of a call: a
//! [`Monitor`](crate::Monitor) tells them.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::endpoint::EndpointError;
use crate::message::Message;
use crate::peer_id::PeerId;

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
    /// The context was [shut down](crate::Context::shutdown).
    #[error("the context was shut down")]
    Closed,
    /// This process was forked off the one that made the context, whose I/O threads stayed there. Make a context of its own.
    #[error("the context belongs to the process that this one was forked off")]
    Forked,
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
    /// A PAIR has one peer, and this one has it already, or is connecting to it.
    #[error("cannot connect to `{endpoint}`: the socket has its one peer already")]
    AlreadyPaired {
        /// The endpoint asked for.
        endpoint: String,
    },
    /// An inproc name is bound by this very socket.
    #[error("`{endpoint}` is bound by the socket itself")]
    OwnEndpoint {
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
    /// The context was [shut down](crate::Context::shutdown).
    #[error("the context was shut down")]
    Closed,
    /// This process was forked off the one that made the context, whose I/O threads stayed there. Make a context of its own.
    #[error("the context belongs to the process that this one was forked off")]
    Forked,
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
    /// An identity has more than 255 bytes, or begins with a zero byte: such names are made up by routers.
    #[error(
        "identity of {bytes} bytes beginning with {first_byte:#04x}: allowed are 255 bytes, not beginning with 0x00"
    )]
    Identity {
        /// Length of the identity given.
        bytes: usize,
        /// Its first byte.
        first_byte: u8,
    },
}

/// Writes the errors of sending: one for each way to wait, with what can go wrong for it.
macro_rules! send_errors {
    ($($(#[$doc:meta])* $error:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Error)]
            #[non_exhaustive]
            pub enum $error {
                $($(#[$variant_doc])* #[error($text)] $variant(Message),)*
                /// The message is larger than `max_message_bytes` or has more parts than `max_message_parts`, so that a peer
                /// with the same options would hang up on it, again and again.
                #[error("message of {} parts and {} bytes is over the socket's limits", .0.part_count(), .0.total_bytes())]
                TooLarge(Message),
                /// REQ, REP: it is not the socket's turn to send. A [`ReqSocket`](crate::ReqSocket) waits for a reply first,
                /// a [`RepSocket`](crate::RepSocket) has no request to reply to. The state is unchanged.
                #[error("not this socket's turn to send")]
                WrongState(Message),
                /// REP: whoever asked is gone, so the reply has nowhere to go. The socket is ready for the next request.
                #[error("the peer that asked is gone")]
                PeerLost(Message),
                /// The I/O thread of the context has failed.
                #[error("the I/O thread of the context has died")]
                IoThreadDied(Message),
                /// The context was [shut down](crate::Context::shutdown).
                #[error("the context was shut down")]
                Closed(Message),
                /// This process was forked off the one that made the context, whose I/O threads stayed there. Make a context of its own.
                #[error("the context belongs to the process that this one was forked off")]
                Forked(Message),
            }

            impl $error {
                /// The message that was not sent.
                pub fn into_message(self) -> Message {
                    match self {
                        $($error::$variant(message))|*
                        | $error::TooLarge(message)
                        | $error::WrongState(message)
                        | $error::PeerLost(message)
                        | $error::IoThreadDied(message)
                        | $error::Closed(message)
                        | $error::Forked(message) => message,
                    }
                }
            }
        )*
    };
}

send_errors! {
    /// Why a send that may wait failed. The message comes back.
    SendError {
        /// PUB and XPUB with [`SlowSubscriber::Fail`](crate::SlowSubscriber::Fail): a subscriber is at its high-water mark.
        /// Or a message was given to a `Sink` that had not said it was ready.
        Full "a subscriber is at its high-water mark",
    }
    /// Why a send that does not wait failed. The message comes back.
    TrySendError {
        /// Every peer that could take the message is at its high-water mark. PUB and XPUB with
        /// [`SlowSubscriber::Fail`](crate::SlowSubscriber::Fail) or [`Block`](crate::SlowSubscriber::Block): one subscriber is.
        Full "every peer is at its high-water mark",
        /// There is no peer and none is being connected to.
        NoPeer "no peer",
    }
    /// Why a send that waits for a limited time failed. The message comes back.
    SendTimeoutError {
        /// In all that time no peer had room.
        Timeout "no peer had room in time",
    }
}

/// Why a message was not sent to a certain peer. The message comes back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SendToError {
    /// No connected peer has this name.
    #[error("no peer `{peer}`")]
    Unroutable {
        /// The name.
        peer: PeerId,
        /// The message that was not sent.
        message: Message,
    },
    /// The peer is at its high-water mark; only sends that do not wait. Or a message was given to a `Sink` that had not said
    /// it was ready.
    #[error("the peer is at its high-water mark")]
    Full(Message),
    /// In all that time the peer had no room; only sends that wait for a limited time.
    #[error("the peer had no room in time")]
    Timeout(Message),
    /// See [`SendError::TooLarge`].
    #[error("message of {} parts and {} bytes is over the socket's limits", .0.part_count(), .0.total_bytes())]
    TooLarge(Message),
    /// See [`SendError::IoThreadDied`].
    #[error("the I/O thread of the context has died")]
    IoThreadDied(Message),
    /// The context was [shut down](crate::Context::shutdown).
    #[error("the context was shut down")]
    Closed(Message),
    /// This process was forked off the one that made the context, whose I/O threads stayed there. Make a context of its own.
    #[error("the context belongs to the process that this one was forked off")]
    Forked(Message),
}

impl SendToError {
    /// The message that was not sent.
    pub fn into_message(self) -> Message {
        match self {
            SendToError::Unroutable { message, .. }
            | SendToError::Full(message)
            | SendToError::Timeout(message)
            | SendToError::TooLarge(message)
            | SendToError::IoThreadDied(message)
            | SendToError::Closed(message)
            | SendToError::Forked(message) => message,
        }
    }
}

/// Why a request got no reply.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No reply came in time. The request is given up: no late reply will be taken for the answer to another one.
    #[error("no reply in time")]
    Timeout,
    /// The connection over which the request went is lost, and the reply with it. Whether the peer has acted on the
    /// request is not known.
    #[error("the peer that was asked is gone")]
    PeerLost,
    /// A request is under way already; wait for its reply, or give it up. The new one comes back.
    #[error("a request is under way already")]
    WrongState(Message),
    /// See [`SendError::TooLarge`].
    #[error("message of {} parts and {} bytes is over the socket's limits", .0.part_count(), .0.total_bytes())]
    TooLarge(Message),
    /// The I/O thread of the context has failed.
    #[error("the I/O thread of the context has died")]
    IoThreadDied,
    /// The context was [shut down](crate::Context::shutdown).
    #[error("the context was shut down")]
    Closed,
    /// This process was forked off the one that made the context, whose I/O threads stayed there. Make a context of its own.
    #[error("the context belongs to the process that this one was forked off")]
    Forked,
}

/// Writes the errors of receiving: one for each way to wait, with what can go wrong for it.
macro_rules! receive_errors {
    ($($(#[$doc:meta])* $error:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Error)]
            #[non_exhaustive]
            pub enum $error {
                $($(#[$variant_doc])* #[error($text)] $variant,)*
                /// REQ, REP: it is not the socket's turn to receive. A [`ReqSocket`](crate::ReqSocket) has to ask first, a
                /// [`RepSocket`](crate::RepSocket) to reply. The state is unchanged.
                #[error("not this socket's turn to receive")]
                WrongState,
                /// REQ: the connection over which the request went is lost, and the reply with it. The socket is ready for
                /// another request.
                #[error("the peer that was asked is gone")]
                PeerLost,
                /// The I/O thread of the context has failed, and everything that had arrived was received.
                #[error("the I/O thread of the context has died")]
                IoThreadDied,
                /// The context was [shut down](crate::Context::shutdown), and everything that had arrived was received.
                #[error("the context was shut down")]
                Closed,
                /// This process was forked off the one that made the context, whose I/O threads stayed there. Make a context of its own.
                #[error("the context belongs to the process that this one was forked off")]
                Forked,
            }
        )*
    };
}

receive_errors! {
    /// Why a receive that may wait failed.
    RecvError {}
    /// Why a receive that does not wait failed.
    TryRecvError {
        /// No message is waiting.
        Empty "no message is waiting",
    }
    /// Why a receive that waits for a limited time failed.
    RecvTimeoutError {
        /// No message came in time.
        Timeout "no message came in time",
    }
}

/// Why a subscription was not changed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The topic is longer than a subscription may be.
    #[error("topic of {bytes} bytes, allowed are {limit}")]
    TooLong {
        /// Length of the topic.
        bytes: usize,
        /// Longest topic allowed.
        limit: usize,
    },
    /// The socket is not subscribed to the topic.
    #[error("not subscribed to the topic `{topic}`")]
    NotSubscribed {
        /// The topic, escaped where it is not printable, and cut to 128 bytes.
        topic: String,
    },
    /// XPUB: only allowed in manual mode, for the peer whose request was received last, while it is connected.
    #[error("no subscription request to answer")]
    NoRequest,
}

/// Why it is not certain that subscriptions have arrived, or that subscribers are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time is over.
    #[error("not within the time given")]
    Timeout,
    /// The I/O thread of the context has failed.
    #[error("the I/O thread of the context has died")]
    IoThreadDied,
    /// The context was [shut down](crate::Context::shutdown).
    #[error("the context was shut down")]
    Closed,
    /// This process was forked off the one that made the context, whose I/O threads stayed there. Make a context of its own.
    #[error("the context belongs to the process that this one was forked off")]
    Forked,
}
