//! Connections inside a context: each is a pipe of messages between two application threads, without an I/O thread.
//!
//! A connector may come before its binder: the pipe it sends into exists at once, and its reading end waits here, under
//! the name, until somebody binds it. When a binder closes, its connectors come back here and wait for the next one.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use crate::context;
use crate::error::{BindError, ConnectError};
use crate::mailbox::{ReceivePipe, SendPipe, SocketId, SocketLink, ToSocket};
use crate::message::Message;
use crate::pipe::PipeId;
use crate::pipe::inbound::{self, Reader};
use crate::pipe::inbox::{Ready, Relay};

/// The names of a context.
#[derive(Default)]
pub(crate) struct Names(HashMap<String, Name>);

#[derive(Default)]
struct Name {
    binder: Option<Arc<SocketLink>>,
    parked: Vec<Connector>,
}

/// A connector that waits for its binder.
struct Connector {
    socket: Arc<SocketLink>,
    pipe: PipeId,
    /// The reading end of what it sends, and where that end's news will have to go.
    sends: Option<(Reader<Message>, Arc<Relay>)>,
}

/// Binds the name and attaches whoever waits for it.
pub(crate) fn bind(context: &context::Inner, socket: &Arc<SocketLink>, name: &str) -> Result<(), BindError> {
    let mut names = lock(context);
    let entry = names.0.entry(name.to_owned()).or_default();
    if entry.binder.is_some() {
        return Err(BindError::AddressInUse {
            endpoint: format!("inproc://{name}"),
        });
    }
    entry.binder = Some(socket.clone());
    // Connectors of another type go on waiting: the next binder may be theirs.
    let (attached, waiting) = std::mem::take(&mut entry.parked)
        .into_iter()
        .partition(|c| c.socket.socket_type.accepts(socket.socket_type));
    entry.parked = waiting;
    for connector in attached {
        attach(socket, connector, name);
    }
    Ok(())
}

/// Connects to the name, now or when it is bound.
pub(crate) fn connect(
    context: &context::Inner,
    socket: &Arc<SocketLink>,
    name: &str,
    pipe: PipeId,
) -> Result<(), ConnectError> {
    let mut names = lock(context);
    if let Some(binder) = names.0.get(name).and_then(|entry| entry.binder.as_ref()) {
        if !socket.socket_type.accepts(binder.socket_type) {
            return Err(ConnectError::IncompatiblePeer {
                endpoint: format!("inproc://{name}"),
                ours: socket.socket_type,
                theirs: binder.socket_type,
            });
        }
    }
    dial(&mut names, socket, name, pipe);
    Ok(())
}

/// Connects again after the binder has gone.
pub(crate) fn redial(context: &context::Inner, socket: &Arc<SocketLink>, name: &str, pipe: PipeId) {
    let mut names = lock(context);
    // The socket may be closing just now: then it has left the names for good.
    if !socket.is_closed() {
        dial(&mut names, socket, name, pipe);
    }
}

fn dial(names: &mut Names, socket: &Arc<SocketLink>, name: &str, pipe: PipeId) {
    let sends = socket.send.clone().map(|inbox| {
        let relay = Arc::new(Relay::default());
        let (writer, reader) = inbound::pipe::<Message>(
            pipe,
            socket.options.send_hwm,
            &socket.message_pool,
            inbox.clone(),
            relay.clone() as Arc<dyn Ready>,
        );
        inbox.post(ToSocket::Send(SendPipe::Inproc(writer, Some(name.into()))));
        (reader, relay)
    });
    let connector = Connector {
        socket: socket.clone(),
        pipe,
        sends,
    };
    let entry = names.0.entry(name.to_owned()).or_default();
    match entry.binder.clone() {
        Some(binder) if socket.socket_type.accepts(binder.socket_type) => attach(&binder, connector, name),
        _ => entry.parked.push(connector),
    }
}

/// Gives both sockets their ends. Under the lock of the names, so that the binder cannot leave meanwhile.
fn attach(binder: &Arc<SocketLink>, connector: Connector, name: &str) {
    let Connector { socket, pipe, sends } = connector;
    // Only one half has to come back when the binder leaves, and the half that sends is the one that must.
    let redial = if socket.send.is_some() {
        None
    } else {
        Some(name.into())
    };
    if let (Some(from), Some(to)) = (&binder.send, &socket.receive) {
        let (writer, reader) = inbound::pipe::<Message>(
            pipe,
            binder.options.send_hwm,
            &binder.message_pool,
            from.clone(),
            to.clone() as Arc<dyn Ready>,
        );
        reader.attach();
        from.post(ToSocket::Send(SendPipe::Inproc(writer, None)));
        to.post(ToSocket::Receive(ReceivePipe::Inproc(reader, redial)));
    }
    if let (Some((reader, relay)), Some(to)) = (sends, &binder.receive) {
        relay.lead_to(to.clone());
        reader.attach();
        to.post(ToSocket::Receive(ReceivePipe::Inproc(reader, None)));
    }
}

/// Gives the name up. Connections that were made stay.
pub(crate) fn unbind(context: &context::Inner, socket: SocketId, name: &str) {
    let mut names = lock(context);
    if let Some(entry) = names.0.get_mut(name) {
        if entry.binder.as_ref().is_some_and(|binder| binder.id == socket) {
            entry.binder = None;
        }
        names.tidy(name);
    }
}

/// Forgets a connector that waits.
pub(crate) fn disconnect(context: &context::Inner, pipe: PipeId, name: &str) {
    let mut names = lock(context);
    if let Some(entry) = names.0.get_mut(name) {
        entry.parked.retain(|connector| connector.pipe != pipe);
        names.tidy(name);
    }
}

/// Forgets everything about a socket that closes.
pub(crate) fn close(context: &context::Inner, socket: SocketId) {
    let mut names = lock(context);
    for entry in names.0.values_mut() {
        if entry.binder.as_ref().is_some_and(|binder| binder.id == socket) {
            entry.binder = None;
        }
        entry.parked.retain(|connector| connector.socket.id != socket);
    }
    names.0.retain(|_, entry| !entry.is_unused());
}

impl Names {
    fn tidy(&mut self, name: &str) {
        if self.0.get(name).is_some_and(Name::is_unused) {
            self.0.remove(name);
        }
    }
}

impl Name {
    fn is_unused(&self) -> bool {
        self.binder.is_none() && self.parked.is_empty()
    }
}

fn lock(context: &context::Inner) -> MutexGuard<'_, Names> {
    context.names.lock().unwrap_or_else(PoisonError::into_inner)
}
