//! Binding, connecting and closing: the same for every socket type.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::context;
use crate::endpoint::{Endpoint, EndpointError};
use crate::error::{BindError, ConnectError, DetachError};
use crate::mailbox::{Dial, SocketLink, ToReactor, ToSocket};
use crate::monitor::{Monitor, Reason};
use crate::options::Options;
use crate::peer_id::PeerId;
use crate::pipe::PipeId;
use crate::reactor::IoHandle;
use crate::transport::{BindFailure, Listener};
use crate::wire::socket_type::SocketType;

use super::inproc;
use super::receive_half::ReceiveHalf;
use super::send_half::{Route, SendHalf};

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
    /// What a ROUTER calls the peer, if it does not ask.
    name: Option<PeerId>,
    /// The I/O thread that keeps the connection; none for inproc.
    io: Option<IoHandle>,
}

impl SocketCore {
    pub(crate) fn new(
        context: &Arc<context::Inner>,
        socket_type: SocketType,
        options: Options,
    ) -> SocketCore {
        let link = Arc::new_cyclic(|link| {
            let neighbours = inproc::Neighbourhood::new(&context.inproc, link);
            SocketLink::new(
                context.next_id(),
                socket_type,
                options,
                context.quota.as_ref(),
                Box::new(neighbours),
            )
        });
        context.register(&link);
        SocketCore {
            context: context.clone(),
            link,
            bound: Vec::new(),
            dialed: Vec::new(),
        }
    }

    /// The sending half, for types that send.
    pub(crate) fn send_half<R: Route>(&self, route: R) -> Option<SendHalf<R>> {
        let inbox = self.link.send.clone()?;
        Some(SendHalf::new(
            self.context.clone(),
            self.link.clone(),
            inbox,
            route,
        ))
    }

    /// The receiving half, for types that receive.
    pub(crate) fn receive_half(&self) -> Option<ReceiveHalf> {
        let inbox = self.link.receive.clone()?;
        let conflate = self.link.options.conflate && self.link.socket_type.receives();
        Some(ReceiveHalf::new(self.context.clone(), inbox).with_conflation(conflate))
    }

    pub(crate) fn bind<E>(&mut self, endpoint: E) -> Result<Endpoint, BindError>
    where
        E: TryInto<Endpoint>,
        EndpointError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(EndpointError::from)?;
        let (endpoint, io) = match endpoint {
            _ if self.context.is_forked() => return Err(BindError::Forked),
            _ if self.context.is_shut() => return Err(BindError::Closed),
            Endpoint::Inproc(name) => {
                inproc::bind(&self.context, &self.link, &name)?;
                (Endpoint::Inproc(name), None)
            }
            endpoint => {
                let io = self.context.io().map_err(BindError::IoThread)?;
                let io = io.ok_or(BindError::Closed)?;
                if io.is_dead() {
                    return Err(BindError::IoThreadDied);
                }
                let (listener, resolved) = Listener::bind(&endpoint, self.link.options.backlog)?;
                let listen = ToReactor::Listen {
                    socket: self.link.clone(),
                    listener,
                    endpoint: resolved.clone(),
                };
                let posted = self.context.unless_shut(|| io.post(listen));
                posted.ok_or(BindError::Closed)?;
                (resolved, Some(io))
            }
        };
        self.bound.push(Bound {
            endpoint: endpoint.clone(),
            io,
        });
        Ok(endpoint)
    }

    /// What others know of this socket.
    pub(crate) fn link(&self) -> &Arc<SocketLink> {
        &self.link
    }

    pub(crate) fn connect<E>(&mut self, endpoint: E, name: Option<PeerId>) -> Result<(), ConnectError>
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
        if !self.link.pair_with(pipe) {
            return Err(ConnectError::AlreadyPaired {
                endpoint: endpoint.to_string(),
            });
        }
        match self.dial(&endpoint, pipe, name.as_ref()) {
            Ok(io) => {
                self.dialed.push(Dialed {
                    endpoint,
                    pipe,
                    name,
                    io,
                });
                Ok(())
            }
            Err(error) => {
                self.link.part_from(pipe);
                Err(error)
            }
        }
    }

    fn dial(
        &self,
        endpoint: &Endpoint,
        pipe: PipeId,
        name: Option<&PeerId>,
    ) -> Result<Option<IoHandle>, ConnectError> {
        if self.context.is_forked() {
            return Err(ConnectError::Forked);
        }
        if self.context.is_shut() {
            return Err(ConnectError::Closed);
        }
        if let Endpoint::Inproc(address) = endpoint {
            inproc::connect(&self.context, &self.link, address, pipe, name)?;
            return Ok(None);
        }
        let io = self.context.io().map_err(ConnectError::IoThread)?;
        let io = io.ok_or(ConnectError::Closed)?;
        if io.is_dead() {
            return Err(ConnectError::IoThreadDied);
        }
        let dialed = || self.dial_wire(endpoint, pipe, name, &io);
        self.context.unless_shut(dialed).ok_or(ConnectError::Closed)?;
        Ok(Some(io))
    }

    /// Throws a pipe away with all that is in it, on both sides, and gets a new one to the same peer, or another one
    /// behind the same endpoint. The halves have dropped their ends.
    pub(crate) fn renew(&mut self, pipe: PipeId, reason: Reason) {
        let Some(dialed) = self.dialed.iter_mut().find(|dialed| dialed.pipe == pipe) else {
            // The peer came to us: it may come again.
            self.abort(pipe, reason);
            inproc::renew(&self.context.inproc, pipe);
            return;
        };
        let Some(io) = dialed.io.clone() else {
            let inproc = &self.context.inproc;
            if let Some(fresh) = inproc::abort(inproc, pipe, &reason).or_else(|| inproc::renew(inproc, pipe))
            {
                dialed.pipe = fresh;
            }
            return;
        };
        let fresh = self.context.next_id();
        dialed.pipe = fresh;
        let (endpoint, name) = (dialed.endpoint.clone(), dialed.name.clone());
        io.post(ToReactor::Forget { pipe, reason });
        self.dial_wire(&endpoint, fresh, name.as_ref(), &io);
    }

    /// Whether every endpoint that the socket connects to is connected. `is_established` knows it of connections of an I/O
    /// thread.
    pub(crate) fn is_connected(&self, is_established: impl Fn(PipeId) -> bool) -> bool {
        self.dialed.iter().all(|dialed| match &dialed.endpoint {
            Endpoint::Inproc(name) => inproc::is_attached(&self.context.inproc, self.link.id, name),
            _ => is_established(dialed.pipe),
        })
    }

    /// Ends a connection, whichever I/O thread has it.
    pub(crate) fn abort(&self, pipe: PipeId, reason: Reason) {
        if inproc::abort(&self.context.inproc, pipe, &reason).is_none() {
            self.context.abort(pipe, reason);
        }
    }

    /// Has an I/O thread keep a connection. The pipes are made at once, so that messages can wait in them, unless the
    /// socket's pipes come and go with connections.
    fn dial_wire(&self, endpoint: &Endpoint, pipe: PipeId, name: Option<&PeerId>, io: &IoHandle) {
        let pipes = if self.link.has_passing_pipes() {
            None
        } else {
            self.link.attach_wire(pipe, name, &io.ready(), io.pool(), None)
        };
        io.post(ToReactor::Dial(Box::new(Dial {
            pipe,
            socket: self.link.clone(),
            endpoint: endpoint.clone(),
            pipes,
            name: name.cloned(),
        })));
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
            (Endpoint::Inproc(name), _) => inproc::unbind(&self.context.inproc, self.link.id, &name),
            // In a child nobody would answer.
            (endpoint, Some(io)) if !self.context.is_forked() => {
                let (done, closed) = sync_channel(1);
                io.post(ToReactor::Unlisten {
                    socket: self.link.id,
                    endpoint,
                    done,
                });
                // An I/O thread that has died answers nothing; everything else takes it one turn.
                while closed.recv_timeout(ANSWER_LOOK) == Err(RecvTimeoutError::Timeout) && !io.is_dead() {}
            }
            _ => {}
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
        let Dialed {
            endpoint, pipe, io, ..
        } = self.dialed.remove(index);
        self.link.part_from(pipe);
        let pipe = match &endpoint {
            Endpoint::Inproc(name) => {
                inproc::disconnect(&self.context.inproc, self.link.id, name).unwrap_or(pipe)
            }
            _ => pipe,
        };
        for inbox in [&self.link.send, &self.link.receive].into_iter().flatten() {
            inbox.post(ToSocket::Detach(pipe));
        }
        // A publisher of this context hears no more of what is wanted.
        let ended = self.link.wanted().end_local(|writer| writer.id() == pipe);
        drop(ended);
        if let Some(io) = io {
            io.post(ToReactor::Undial { pipe });
        }
        // Somebody in this context may wait for the place that a PAIR has now.
        self.link.neighbours().on_vacancy();
        Ok(())
    }

    pub(crate) fn monitor(&self, capacity: usize) -> Monitor {
        self.link.monitors.add(capacity)
    }
}

impl Drop for SocketCore {
    fn drop(&mut self) {
        if self.context.is_forked() {
            // All of it is the parent's, and a lock may have been held when the process was forked.
            return;
        }
        self.link.close();
        inproc::close(&self.context.inproc, self.link.id);
        // Publishers of this context learn of the end by it; none comes any more.
        let ended = self.link.wanted().end_local(|_| true);
        drop(ended);
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
