//! The whole control talk between threads. What is not here is carried by pipes.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::endpoint::Endpoint;
use crate::message::Message;
use crate::monitor::Monitors;
use crate::options::Options;
use crate::pipe::PipeId;
use crate::pipe::inbound::{Reader, Writer};
use crate::pipe::inbox::Inbox;
use crate::pipe::outbound::{Drainer, Sender};
use crate::pipe::recycle::Pool;
use crate::pipe::sync::{AtomicBool, Ordering};
use crate::transport::{Listener, Stream};
use crate::wire::socket_type::SocketType;

/// What an application thread, or another I/O thread, tells an I/O thread.
pub(crate) enum ToReactor {
    /// Accept connections for the socket.
    Listen {
        socket: Arc<SocketLink>,
        listener: Listener,
        endpoint: Endpoint,
    },
    /// Stop accepting; answered when the address is free again.
    Unlisten {
        socket: SocketId,
        endpoint: Endpoint,
        done: SyncSender<()>,
    },
    /// Keep a connection to the endpoint, for as long as the pipe is not closed.
    Dial(Box<Dial>),
    /// Close the dialed pipe with linger.
    Undial { pipe: PipeId },
    /// A connection that another I/O thread accepted.
    Adopt {
        socket: Arc<SocketLink>,
        stream: Stream,
        endpoint: Arc<Endpoint>,
        peer: String,
    },
    /// The application dropped the socket: close its listeners, let its connections linger.
    CloseSocket { socket: SocketId },
    /// The resolver answered.
    Resolved {
        pipe: PipeId,
        result: std::io::Result<Vec<std::net::SocketAddr>>,
    },
    /// The context is gone: end when nothing lingers any more.
    Stop,
}

/// A connection to be kept, with the I/O side's ends of its pipes.
pub(crate) struct Dial {
    pub(crate) socket: Arc<SocketLink>,
    pub(crate) endpoint: Endpoint,
    pub(crate) drainer: Drainer,
    pub(crate) inbound: Option<Writer<u8>>,
}

/// What a socket half is told.
pub(crate) enum ToSocket {
    /// A peer to send to.
    Send(SendPipe),
    /// A peer to receive from.
    Receive(ReceivePipe),
    /// The application disconnected the pipe.
    Detach(PipeId),
    /// The I/O thread failed; nothing will come any more.
    IoThreadDied,
}

/// The application's end of a way out.
pub(crate) enum SendPipe {
    Wire(Sender),
    Inproc(Writer<Message>),
}

/// The application's end of a way in.
pub(crate) enum ReceivePipe {
    Wire(Reader<u8>),
    Inproc(Reader<Message>),
}

pub(crate) type SocketId = u64;

/// What others know of a socket: everything needed to attach a peer to it.
pub(crate) struct SocketLink {
    pub(crate) id: SocketId,
    pub(crate) socket_type: SocketType,
    pub(crate) options: Options,
    /// Inbox of the half that sends, for types that do.
    pub(crate) send: Option<Arc<Inbox<ToSocket>>>,
    /// Inbox of the half that receives, for types that do.
    pub(crate) receive: Option<Arc<Inbox<ToSocket>>>,
    /// Where the segments of this socket's outbound chains come back to.
    pub(crate) byte_pool: crate::pipe::sync::Arc<Pool<u8>>,
    pub(crate) message_pool: crate::pipe::sync::Arc<Pool<Message>>,
    pub(crate) monitors: Monitors,
    /// The application dropped the socket. Written once; who attaches a peer afterwards drops it again.
    closed: AtomicBool,
}

impl SocketLink {
    pub(crate) fn new(id: SocketId, socket_type: SocketType, options: Options) -> SocketLink {
        SocketLink {
            id,
            socket_type,
            options,
            send: socket_type.sends().then(|| Arc::new(Inbox::new())),
            receive: socket_type.receives().then(|| Arc::new(Inbox::new())),
            byte_pool: Pool::new(crate::pipe::BYTE_SIZES),
            message_pool: Pool::new(crate::pipe::MESSAGE_SIZES),
            monitors: Monitors::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
