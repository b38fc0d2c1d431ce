//! Connections inside a context: each is a pipe of messages between two application threads, without an I/O thread.
//!
//! A connector may come before its binder: the pipe it sends into exists at once, and its reading end waits here, under
//! the name, until somebody binds it. When a binder closes, its connectors get a new pipe that waits for the next one.
//!
//! Everything happens under the lock of the [`names`], from which sockets are [brought together](meeting); what that leads to
//! is [carried out](consequences) without it.

mod consequences;
mod meeting;
mod names;

use std::sync::{Arc, Weak};

use self::consequences::Consequences;
pub(crate) use self::meeting::subscription;
use self::meeting::waiting;
use self::names::{Connector, Names};
use crate::context;
use crate::error::{BindError, ConnectError};
use crate::mailbox::{Neighbours, SocketId, SocketLink};
use crate::monitor::{Event, Reason};
use crate::peer_id::PeerId;
use crate::pipe::PipeId;
use crate::pipe::sync::{AtomicU64, HomeMutex, Ordering};
use crate::stats::Undelivered;

/// The connections inside the context, as a socket's I/O threads know them.
pub(crate) struct Neighbourhood {
    registry: Weak<Registry>,
    socket: Weak<SocketLink>,
}

impl Neighbourhood {
    pub(crate) fn new(registry: &Arc<Registry>, socket: &Weak<SocketLink>) -> Neighbourhood {
        Neighbourhood {
            registry: Arc::downgrade(registry),
            socket: socket.clone(),
        }
    }

    fn change(&self, action: impl FnOnce(&mut Names, &Arc<SocketLink>, &mut Consequences<'_>)) {
        if let (Some(registry), Some(socket)) = (self.registry.upgrade(), self.socket.upgrade()) {
            change(&registry, |names, then| action(names, &socket, then));
        }
    }
}

impl Neighbours for Neighbourhood {
    fn on_vacancy(&self) {
        self.change(|names, socket, then| names.attach_waiting(socket, then));
    }

    fn push_out(&self, pipe: PipeId) {
        self.change(|names, socket, then| names.detach(socket, pipe, then));
    }
}

/// The inproc side of a context, which its I/O threads may hold on to without holding on to the context.
pub(crate) struct Registry {
    names: HomeMutex<Names>,
    /// Numbers that no socket, pipe or connection of the context had before.
    ids: Arc<AtomicU64>,
}

impl Registry {
    pub(crate) fn new(ids: Arc<AtomicU64>) -> Registry {
        Registry {
            names: HomeMutex::default(),
            ids,
        }
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn change<'a, R>(
        &'a self,
        action: impl FnOnce(&mut Names, &mut Consequences<'a>) -> R,
        consequences: &mut Consequences<'a>,
    ) -> R {
        let mut names = self.names.lock();
        let result = action(&mut names, consequences);
        names
            .names
            .retain(|_, entry| entry.binder.is_some() || !entry.parked.is_empty());
        result
    }

    /// Nobody will bind a name any more: lets go of the messages that wait for that, and tells of them.
    pub(crate) fn give_up_waiting(&self) -> Vec<Undelivered> {
        change(self, |names, then| {
            let mut undelivered = Vec::new();
            for (address, entry) in &mut names.names {
                for connector in &mut entry.parked {
                    let Some((pipe, _)) = connector.sends.take() else {
                        continue;
                    };
                    let messages = waiting(&pipe);
                    if messages > 0 {
                        undelivered.push(Undelivered {
                            socket_type: connector.socket.socket_type,
                            endpoint: format!("inproc://{address}"),
                            messages,
                        });
                    }
                    then.given_up.push(pipe);
                }
            }
            undelivered
        })
    }
}

/// Does something to the names, and then what follows from it.
fn change<R>(registry: &Registry, action: impl FnOnce(&mut Names, &mut Consequences<'_>) -> R) -> R {
    let mut consequences = Consequences::of_nothing(registry);
    let result = registry.change(action, &mut consequences);
    consequences.carry_out();
    result
}

/// As [`change`], unless the context was shut down. What follows is done without the context's lock, too.
fn change_unless_shut<R>(
    context: &context::Inner,
    action: impl FnOnce(&mut Names, &mut Consequences<'_>) -> R,
) -> Option<R> {
    let registry = &*context.inproc;
    let mut consequences = Consequences::of_nothing(registry);
    let result = context.unless_shut(|| registry.change(action, &mut consequences));
    consequences.carry_out();
    result
}

/// Binds the name and attaches whoever waits for it.
pub(crate) fn bind(
    context: &context::Inner,
    socket: &Arc<SocketLink>,
    address: &str,
) -> Result<(), BindError> {
    let bound = change_unless_shut(context, |names, then| {
        let entry = names.names.entry(address.to_owned()).or_default();
        if entry.binder.is_some() {
            return Err(BindError::AddressInUse {
                endpoint: format!("inproc://{address}"),
            });
        }
        entry.binder = Some(socket.clone());
        then.reports.push(socket.monitors.report(|| Event::Listening {
            endpoint: format!("inproc://{address}"),
        }));
        names.attach_parked(address, then);
        Ok(())
    });
    bound.unwrap_or(Err(BindError::Closed))
}

/// Connects to the name, now or when it is bound. `name` is what a ROUTER calls the binder.
pub(crate) fn connect(
    context: &context::Inner,
    socket: &Arc<SocketLink>,
    address: &str,
    pipe: PipeId,
    name: Option<&PeerId>,
) -> Result<(), ConnectError> {
    let connected = change_unless_shut(context, |names, then| {
        if let Some(binder) = names.names.get(address).and_then(|entry| entry.binder.as_ref()) {
            if socket.id == binder.id {
                return Err(ConnectError::OwnEndpoint {
                    endpoint: format!("inproc://{address}"),
                });
            }
            if !socket.socket_type.accepts(binder.socket_type) {
                return Err(ConnectError::IncompatiblePeer {
                    endpoint: format!("inproc://{address}"),
                    ours: socket.socket_type,
                    theirs: binder.socket_type,
                });
            }
        }
        names.dial(socket, address, pipe, name.cloned(), then);
        Ok(())
    });
    connected.unwrap_or(Err(ConnectError::Closed))
}

/// Gives the name up. Connections that were made stay.
pub(crate) fn unbind(registry: &Registry, socket: SocketId, address: &str) {
    change(registry, |names, then| {
        if let Some(entry) = names.names.get_mut(address) {
            entry.unbind(socket, address, then);
        }
    });
}

/// Forgets a connector, and says which pipe is to be taken from it.
pub(crate) fn disconnect(registry: &Registry, socket: SocketId, address: &str) -> Option<PipeId> {
    change(registry, |names, then| {
        if let Some(index) = names
            .attached
            .iter()
            .position(|it| it.connector.id == socket && it.address == address)
        {
            let attached = names.attached.swap_remove(index);
            attached.part();
            then.report_close(&attached, socket);
            names.attach_waiting(&attached.binder, then);
            names.attach_waiting(&attached.connector, then);
            return Some(attached.pipe);
        }
        let entry = names.names.get_mut(address)?;
        let index = entry
            .parked
            .iter()
            .position(|connector| connector.socket.id == socket)?;
        let connector = entry.parked.remove(index);
        let pipe = connector.pipe;
        then.report_withdrawal(&connector, Reason::Closed);
        then.drops.push(connector);
        Some(pipe)
    })
}

/// Ends a connection, which is made anew at once, and tells the monitors of both sides why. Says which pipe its connector has
/// now; nothing if it is none of these. The caller drops its own ends of the old pipes.
pub(crate) fn abort(registry: &Registry, pipe: PipeId, reason: &Reason) -> Option<PipeId> {
    change(registry, |names, then| {
        let index = names.attached.iter().position(|it| it.pipe == pipe)?;
        if matches!(reason, Reason::TooManySubscriptions { .. }) {
            // The same would come at once: it waits for the next who binds the name.
            names.set_aside(index, reason, then);
            return Some(pipe);
        }
        Some(names.renew(index, reason, then))
    })
}

/// Whether the socket's connection to this name is made.
pub(crate) fn is_attached(registry: &Registry, socket: SocketId, address: &str) -> bool {
    change(registry, |names, _| {
        let mut attached = names.attached.iter();
        attached.any(|it| it.connector.id == socket && it.address == address)
    })
}

/// Makes a connection anew, without what is in its pipes, because its connector wants none of it, and says which pipe that has
/// now. The caller drops its own ends of the old ones.
pub(crate) fn renew(registry: &Registry, pipe: PipeId) -> Option<PipeId> {
    change(registry, |names, then| {
        if let Some(index) = names.attached.iter().position(|it| it.pipe == pipe) {
            return Some(names.renew(index, &Reason::RequestGivenUp, then));
        }
        let (address, index) = names.names.iter().find_map(|(address, entry)| {
            let index = entry.parked.iter().position(|connector| connector.pipe == pipe)?;
            Some((address.clone(), index))
        })?;
        let connector = names.names.get_mut(&address)?.parked.remove(index);
        then.report_withdrawal(&connector, Reason::RequestGivenUp);
        let fresh = registry.next_id();
        names.dial(&connector.socket, &address, fresh, connector.name.clone(), then);
        then.drops.push(connector);
        Some(fresh)
    })
}

/// Forgets everything about a socket that closes. Those who were connected to it wait for the next who binds the name.
pub(crate) fn close(registry: &Registry, socket: SocketId) {
    change(registry, |names, then| {
        for (address, entry) in &mut names.names {
            entry.unbind(socket, address, then);
            let (own, others) = std::mem::take(&mut entry.parked)
                .into_iter()
                .partition(|connector| connector.socket.id == socket);
            entry.parked = others;
            let own: Vec<Connector> = own;
            for connector in own {
                then.report_withdrawal(&connector, Reason::Closed);
                then.drops.push(connector);
            }
        }
        // Moves few, because there may be very many of which few are this socket's.
        let mut left = Vec::new();
        for index in (0..names.attached.len()).rev() {
            let it = &names.attached[index];
            if it.connector.id == socket || it.binder.id == socket {
                it.part();
                left.push(names.attached.swap_remove(index));
            }
        }
        left.reverse();
        for it in left {
            then.report_close(&it, socket);
            if it.connector.id == socket {
                names.attach_waiting(&it.binder, then);
            } else {
                let pipe = registry.next_id();
                names.dial(&it.connector, &it.address, pipe, it.chosen, then);
                names.attach_waiting(&it.connector, then);
            }
        }
    });
}
