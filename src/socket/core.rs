//! Binding, connecting and closing: the same for every socket type.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::context;
use crate::endpoint::{Endpoint, EndpointError};
use crate::error::{BindError, ConnectError, DetachError};
use crate::mailbox::{Dial, ReceivePipe, SendPipe, SocketLink, ToReactor, ToSocket};
use crate::monitor::{Event, Monitor};
use crate::options::Options;
use crate::pipe::inbox::Ready;
use crate::pipe::{PipeId, inbound, outbound};
use crate::reactor::IoHandle;
use crate::transport::{BindFailure, Listener};
use crate::wire::socket_type::SocketType;

use super::inproc;
use super::receive_half::ReceiveHalf;
use super::send_half::SendHalf;

/// The part of a socket that is not about messages.
pub(crate) struct SocketCore {
    context: Arc<context::Inner>,
    link: Arc<SocketLink>,
    bound: Vec<Bound>,
    dialed: Vec<Dialed>,
}

struct Bound {
    endpoint: Endpoint,
    /// The I/O thread that accepts; none for inproc.
    io: Option<IoHandle>,
}

struct Dialed {
    endpoint: Endpoint,
    /// For inproc only the first of several: a new one comes with each new binder.
    pipe: PipeId,
    /// The I/O thread that keeps the connection; none for inproc.
    io: Option<IoHandle>,
}

impl SocketCore {
    pub(crate) fn new(
        context: &Arc<context::Inner>,
        socket_type: SocketType,
        options: Options,
    ) -> SocketCore {
        let link = Arc::new(SocketLink::new(context.next_id(), socket_type, options));
        context.register(&link);
        SocketCore {
            context: context.clone(),
            link,
            bound: Vec::new(),
            dialed: Vec::new(),
        }
    }

    /// The sending half, for types that send.
    pub(crate) fn send_half(&self) -> Option<SendHalf> {
        let inbox = self.link.send.clone()?;
        Some(SendHalf::new(self.context.clone(), self.link.clone(), inbox))
    }

    /// The receiving half, for types that receive.
    pub(crate) fn receive_half(&self) -> Option<ReceiveHalf> {
        let inbox = self.link.receive.clone()?;
        Some(ReceiveHalf::new(self.context.clone(), inbox))
    }

    pub(crate) fn bind<E>(&mut self, endpoint: E) -> Result<Endpoint, BindError>
    where
        E: TryInto<Endpoint>,
        EndpointError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(EndpointError::from)?;
        let (endpoint, io) = match endpoint {
            Endpoint::Inproc(name) => {
                inproc::bind(&self.context, &self.link, &name)?;
                (Endpoint::Inproc(name), None)
            }
            endpoint => {
                let io = self.context.io().map_err(BindError::IoThread)?;
                if io.is_dead() {
                    return Err(BindError::IoThreadDied);
                }
                let (listener, resolved) = Listener::bind(&endpoint, self.link.options.backlog)?;
                io.post(ToReactor::Listen {
                    socket: self.link.clone(),
                    listener,
                    endpoint: resolved.clone(),
                });
                (resolved, Some(io))
            }
        };
        if io.is_none() {
            self.link.monitors.report(|| Event::Listening {
                endpoint: endpoint.to_string(),
            });
        }
        self.bound.push(Bound {
            endpoint: endpoint.clone(),
            io,
        });
        Ok(endpoint)
    }

    pub(crate) fn connect<E>(&mut self, endpoint: E) -> Result<(), ConnectError>
    where
        E: TryInto<Endpoint>,
        EndpointError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(EndpointError::from)?;
        endpoint.connectable()?;
        if self.dialed.iter().any(|dialed| dialed.endpoint == endpoint) {
            return Err(ConnectError::AlreadyConnected {
                endpoint: endpoint.to_string(),
            });
        }
        let pipe = self.context.next_id();
        let io = if let Endpoint::Inproc(name) = &endpoint {
            inproc::connect(&self.context, &self.link, name, pipe)?;
            None
        } else {
            let io = self.context.io().map_err(ConnectError::IoThread)?;
            if io.is_dead() {
                return Err(ConnectError::IoThreadDied);
            }
            self.dial(&endpoint, pipe, &io);
            Some(io)
        };
        self.dialed.push(Dialed { endpoint, pipe, io });
        Ok(())
    }

    /// Makes the pipes of a connection to be, so that messages can wait in them, and hands their other ends to the I/O
    /// thread.
    fn dial(&self, endpoint: &Endpoint, pipe: PipeId, io: &IoHandle) {
        let link = &self.link;
        // A socket that sends nothing has a way out all the same: for the commands of the protocol.
        let sender_inbox: Arc<dyn Ready> = match (&link.send, &link.receive) {
            (Some(inbox), _) | (None, Some(inbox)) => inbox.clone(),
            (None, None) => return,
        };
        let (sender, drainer) = outbound::pipe(
            pipe,
            link.options.send_hwm,
            &link.byte_pool,
            sender_inbox,
            io.ready(),
        );
        if let Some(inbox) = &link.send {
            inbox.post(ToSocket::Send(SendPipe::Wire(sender)));
        }
        let inbound = link.receive.as_ref().map(|inbox| {
            let (writer, reader) = inbound::pipe(
                pipe,
                link.options.receive_hwm,
                io.pool(),
                io.ready(),
                inbox.clone() as Arc<dyn Ready>,
            );
            inbox.post(ToSocket::Receive(ReceivePipe::Wire(reader)));
            writer
        });
        let dial = Dial {
            socket: link.clone(),
            endpoint: endpoint.clone(),
            drainer,
            inbound,
        };
        io.post(ToReactor::Dial(Box::new(dial)));
    }

    pub(crate) fn unbind<E>(&mut self, endpoint: E) -> Result<(), DetachError>
    where
        E: TryInto<Endpoint>,
        EndpointError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(EndpointError::from)?;
        let Some(index) = self.bound.iter().position(|bound| bound.endpoint == endpoint) else {
            return Err(DetachError::UnknownEndpoint {
                endpoint: endpoint.to_string(),
            });
        };
        let bound = self.bound.remove(index);
        match (bound.endpoint, bound.io) {
            (Endpoint::Inproc(name), _) => inproc::unbind(&self.context, self.link.id, &name),
            (endpoint, Some(io)) => {
                let (done, closed) = sync_channel(1);
                io.post(ToReactor::Unlisten {
                    socket: self.link.id,
                    endpoint,
                    done,
                });
                // An I/O thread that has died answers nothing; everything else takes it one turn.
                while closed.recv_timeout(ANSWER_LOOK) == Err(RecvTimeoutError::Timeout) && !io.is_dead() {}
            }
            (_, None) => {}
        }
        Ok(())
    }

    pub(crate) fn disconnect<E>(&mut self, endpoint: E) -> Result<(), DetachError>
    where
        E: TryInto<Endpoint>,
        EndpointError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(EndpointError::from)?;
        let Some(index) = self.dialed.iter().position(|dialed| dialed.endpoint == endpoint) else {
            return Err(DetachError::UnknownEndpoint {
                endpoint: endpoint.to_string(),
            });
        };
        let Dialed { endpoint, pipe, io } = self.dialed.remove(index);
        let pipe = match &endpoint {
            Endpoint::Inproc(name) => inproc::disconnect(&self.context, self.link.id, name).unwrap_or(pipe),
            _ => pipe,
        };
        for inbox in [&self.link.send, &self.link.receive].into_iter().flatten() {
            inbox.post(ToSocket::Detach(pipe));
        }
        if let Some(io) = io {
            io.post(ToReactor::Undial { pipe });
        }
        Ok(())
    }

    pub(crate) fn monitor(&self) -> Monitor {
        self.link.monitors.add()
    }
}

impl Drop for SocketCore {
    fn drop(&mut self) {
        self.link.close();
        inproc::close(&self.context, self.link.id);
        self.context.unregister(&self.link);
    }
}

/// How often a caller that waits for an answer makes sure that the I/O thread is alive.
const ANSWER_LOOK: Duration = Duration::from_millis(100);

impl From<BindFailure> for BindError {
    fn from(failure: BindFailure) -> BindError {
        match failure {
            BindFailure::AddressInUse { endpoint } => BindError::AddressInUse { endpoint },
            BindFailure::AddressNotAvailable { endpoint } => BindError::AddressNotAvailable { endpoint },
            BindFailure::PermissionDenied { endpoint } => BindError::PermissionDenied { endpoint },
            BindFailure::DirectoryMissing { endpoint, directory } => {
                BindError::DirectoryMissing { endpoint, directory }
            }
            BindFailure::NameNotResolved {
                endpoint,
                host,
                source,
            } => BindError::Resolve {
                endpoint,
                host,
                source,
            },
            BindFailure::NotASocket { endpoint, path } => BindError::NotASocket { endpoint, path },
            BindFailure::Unsupported { endpoint } => BindError::Unsupported { endpoint },
            BindFailure::Io { endpoint, source } => BindError::Io { endpoint, source },
        }
    }
}
