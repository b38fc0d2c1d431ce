//! Connections inside a context: each is a pipe of messages between two application threads, without an I/O thread.
//!
//! A connector may come before its binder: the pipe it sends into exists at once, and its reading end waits here, under
//! the name, until somebody binds it. When a binder closes, its connectors get a new pipe that waits for the next one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use crate::context;
use crate::error::{BindError, ConnectError};
use crate::mailbox::{ReceivePipe, SendPipe, SocketId, SocketLink, ToSocket};
use crate::message::Message;
use crate::pipe::PipeId;
use crate::pipe::inbound::{self, Reader};
use crate::pipe::inbox::{Inbox, Ready, Relay, wake};

/// The names of a context, and who is connected to whom.
#[derive(Default)]
pub(crate) struct Names {
    names: HashMap<String, Name>,
    attached: Vec<Attached>,
}

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

/// A connection that was made. It stays listed until one side closes or the connector disconnects.
struct Attached {
    binder: SocketId,
    connector: Arc<SocketLink>,
    pipe: PipeId,
    name: String,
}

/// What a change of the names leads to. It is carried out when their lock is free again, because it wakes sockets and
/// drops ends of pipes, and a waker is anybody's code.
#[derive(Default)]
struct Consequences {
    wakers: Vec<Waker>,
    drops: Vec<Connector>,
}

impl Consequences {
    /// Posts at once, under the lock: so it comes before whatever a socket does that disconnects or closes afterwards.
    fn post(&mut self, inbox: &Inbox<ToSocket>, item: ToSocket) {
        self.wakers.extend(inbox.post_quietly(item));
    }

    fn carry_out(self) {
        self.wakers.into_iter().for_each(wake);
        drop(self.drops);
    }
}

/// Does something to the names, and then what follows from it.
fn change<R>(context: &context::Inner, action: impl FnOnce(&mut Names, &mut Consequences) -> R) -> R {
    let mut consequences = Consequences::default();
    let result = {
        let mut names = context.names.lock().unwrap_or_else(PoisonError::into_inner);
        let result = action(&mut names, &mut consequences);
        names
            .names
            .retain(|_, entry| entry.binder.is_some() || !entry.parked.is_empty());
        result
    };
    consequences.carry_out();
    result
}

/// Binds the name and attaches whoever waits for it.
pub(crate) fn bind(context: &context::Inner, socket: &Arc<SocketLink>, name: &str) -> Result<(), BindError> {
    change(context, |names, then| {
        let entry = names.names.entry(name.to_owned()).or_default();
        if entry.binder.is_some() {
            return Err(BindError::AddressInUse {
                endpoint: format!("inproc://{name}"),
            });
        }
        entry.binder = Some(socket.clone());
        // Connectors of another type go on waiting: the next binder may be theirs.
        let (attached, waiting) = std::mem::take(&mut entry.parked)
            .into_iter()
            .partition(|connector| connector.socket.socket_type.accepts(socket.socket_type));
        entry.parked = waiting;
        for connector in attached {
            names.attach(socket, connector, name, then);
        }
        Ok(())
    })
}

/// Connects to the name, now or when it is bound.
pub(crate) fn connect(
    context: &context::Inner,
    socket: &Arc<SocketLink>,
    name: &str,
    pipe: PipeId,
) -> Result<(), ConnectError> {
    change(context, |names, then| {
        if let Some(binder) = names.names.get(name).and_then(|entry| entry.binder.as_ref()) {
            if !socket.socket_type.accepts(binder.socket_type) {
                return Err(ConnectError::IncompatiblePeer {
                    endpoint: format!("inproc://{name}"),
                    ours: socket.socket_type,
                    theirs: binder.socket_type,
                });
            }
        }
        names.dial(socket, name, pipe, then);
        Ok(())
    })
}

/// Gives the name up. Connections that were made stay.
pub(crate) fn unbind(context: &context::Inner, socket: SocketId, name: &str) {
    change(context, |names, _| {
        if let Some(entry) = names.names.get_mut(name) {
            entry.unbind(socket);
        }
    });
}

/// Forgets a connector, and says which pipe is to be taken from it.
pub(crate) fn disconnect(context: &context::Inner, socket: SocketId, name: &str) -> Option<PipeId> {
    change(context, |names, then| {
        if let Some(index) = names
            .attached
            .iter()
            .position(|it| it.connector.id == socket && it.name == name)
        {
            return Some(names.attached.swap_remove(index).pipe);
        }
        let entry = names.names.get_mut(name)?;
        let index = entry
            .parked
            .iter()
            .position(|connector| connector.socket.id == socket)?;
        let connector = entry.parked.remove(index);
        let pipe = connector.pipe;
        then.drops.push(connector);
        Some(pipe)
    })
}

/// Forgets everything about a socket that closes. Those who were connected to it wait for the next who binds the name.
pub(crate) fn close(context: &context::Inner, socket: SocketId) {
    change(context, |names, then| {
        for entry in names.names.values_mut() {
            entry.unbind(socket);
            let (own, others) = std::mem::take(&mut entry.parked)
                .into_iter()
                .partition(|connector| connector.socket.id == socket);
            entry.parked = others;
            then.drops.extend::<Vec<_>>(own);
        }
        let (left, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut names.attached)
            .into_iter()
            .filter(|it| it.connector.id != socket)
            .partition(|it| it.binder == socket);
        names.attached = kept;
        for Attached { connector, name, .. } in left {
            names.dial(&connector, &name, context.next_id(), then);
        }
    });
}

impl Names {
    fn dial(&mut self, socket: &Arc<SocketLink>, name: &str, pipe: PipeId, then: &mut Consequences) {
        let sends = socket.send.clone().map(|inbox| {
            let relay = Arc::new(Relay::default());
            let (writer, reader) = inbound::pipe::<Message>(
                pipe,
                socket.options.send_hwm,
                &socket.message_pool,
                inbox.clone(),
                relay.clone() as Arc<dyn Ready>,
            );
            then.post(&inbox, ToSocket::Send(SendPipe::Inproc(writer)));
            (reader, relay)
        });
        let connector = Connector {
            socket: socket.clone(),
            pipe,
            sends,
        };
        let entry = self.names.entry(name.to_owned()).or_default();
        match entry.binder.clone() {
            Some(binder) if socket.socket_type.accepts(binder.socket_type) => {
                self.attach(&binder, connector, name, then);
            }
            _ => entry.parked.push(connector),
        }
    }

    /// Gives both sockets their ends, the sending halves first.
    fn attach(
        &mut self,
        binder: &Arc<SocketLink>,
        connector: Connector,
        name: &str,
        then: &mut Consequences,
    ) {
        let Connector { socket, pipe, sends } = connector;
        if let (Some(from), Some(to)) = (&binder.send, &socket.receive) {
            let (writer, reader) = inbound::pipe::<Message>(
                pipe,
                binder.options.send_hwm,
                &binder.message_pool,
                from.clone(),
                to.clone() as Arc<dyn Ready>,
            );
            reader.attach();
            then.post(from, ToSocket::Send(SendPipe::Inproc(writer)));
            then.post(to, ToSocket::Receive(ReceivePipe::Inproc(reader)));
        }
        if let (Some((reader, relay)), Some(to)) = (sends, &binder.receive) {
            relay.lead_to(to.clone());
            reader.attach();
            then.post(to, ToSocket::Receive(ReceivePipe::Inproc(reader)));
            if let Some(inbox) = &socket.send {
                then.wakers.extend(inbox.ready_quietly(pipe));
            }
        }
        self.attached.push(Attached {
            binder: binder.id,
            connector: socket,
            pipe,
            name: name.to_owned(),
        });
    }
}

impl Name {
    fn unbind(&mut self, socket: SocketId) {
        if self.binder.as_ref().is_some_and(|binder| binder.id == socket) {
            self.binder = None;
        }
    }
}
