//! The names of a context: who has bound them, who waits for that, and who is connected to whom.

use std::collections::HashMap;
use std::sync::Arc;

use super::consequences::Consequences;
use super::meeting::{carry, identity, meet, new_connector, refuse, release, report_meeting};
use crate::mailbox::{Holder, ReceivePipe, SocketId, SocketLink, ToReactor, ToSocket};
use crate::monitor::{DuplicateOutcome, Event, Reason, Trail};
use crate::options::OnDuplicate;
use crate::peer_id::PeerId;
use crate::pipe::PipeId;
use crate::pipe::inbox::Relay;
use crate::wire::socket_type::SocketType;

/// The names of a context, and who is connected to whom.
#[derive(Default)]
pub(super) struct Names {
    pub(super) names: HashMap<String, Name>,
    pub(super) attached: Vec<Attached>,
}

#[derive(Default)]
pub(super) struct Name {
    pub(super) binder: Option<Arc<SocketLink>>,
    pub(super) parked: Vec<Connector>,
}

/// A connector that waits for its binder.
pub(super) struct Connector {
    pub(super) socket: Arc<SocketLink>,
    pub(super) pipe: PipeId,
    /// The reading end of what it sends, and where that end's news will have to go; for sockets that let messages wait for
    /// a peer.
    pub(super) sends: Option<(ReceivePipe, Arc<Relay>)>,
    /// What a ROUTER calls the binder.
    pub(super) name: Option<PeerId>,
    /// There was no place for it, or its name was taken from it, and both sides were told. It waits until there is a place,
    /// and takes no name from anybody: otherwise those who wait for a name would take it from each other for ever.
    pub(super) refused: bool,
    /// What its monitors are told of the connection to come.
    pub(super) trail: Trail,
}

/// A connection that was made. It stays listed until one side closes or the connector disconnects.
pub(super) struct Attached {
    pub(super) binder: Arc<SocketLink>,
    pub(super) connector: Arc<SocketLink>,
    pub(super) pipe: PipeId,
    pub(super) address: String,
    /// What a ROUTER that connects calls the binder, as the application chose it.
    pub(super) chosen: Option<PeerId>,
    /// The names under which the two know each other, for those that are ROUTERs: of the binder, of the connector.
    pub(super) known_as: (Option<PeerId>, Option<PeerId>),
}

impl Names {
    pub(super) fn dial(
        &mut self,
        socket: &Arc<SocketLink>,
        address: &str,
        pipe: PipeId,
        name: Option<PeerId>,
        then: &mut Consequences<'_>,
    ) {
        let connector = new_connector(socket, pipe, address, name, then);
        let binder = self.names.get(address).and_then(|entry| entry.binder.clone());
        let refused = match binder {
            Some(binder) if socket.socket_type.accepts(binder.socket_type) => {
                self.attach(&binder, connector, address, then)
            }
            _ => Some(connector),
        };
        if let Some(connector) = refused {
            self.park(connector, address);
        }
    }

    fn park(&mut self, connector: Connector, address: &str) {
        self.names
            .entry(address.to_owned())
            .or_default()
            .parked
            .push(connector);
    }

    /// Attaches those who wait for the name, as far as its binder takes them: connectors of another type go on waiting,
    /// the next binder may be theirs.
    pub(super) fn attach_parked(&mut self, address: &str, then: &mut Consequences<'_>) {
        let Some(entry) = self.names.get_mut(address) else {
            return;
        };
        let Some(binder) = entry.binder.clone() else {
            return;
        };
        for connector in std::mem::take(&mut entry.parked) {
            let refused = if connector.socket.socket_type.accepts(binder.socket_type) {
                self.attach(&binder, connector, address, then)
            } else {
                Some(connector)
            };
            if let Some(connector) = refused {
                self.park(connector, address);
            }
        }
    }

    /// A peer of the socket is gone: somebody may have waited for its place or its name, to connect to this socket or to be
    /// connected to by it.
    pub(super) fn attach_waiting(&mut self, socket: &Arc<SocketLink>, then: &mut Consequences<'_>) {
        if !matches!(socket.socket_type, SocketType::Pair | SocketType::Router) {
            return;
        }
        let addresses: Vec<String> = self
            .names
            .iter()
            .filter(|(_, entry)| {
                entry.binder.as_ref().is_some_and(|it| it.id == socket.id) && !entry.parked.is_empty()
                    || entry.parked.iter().any(|it| it.socket.id == socket.id)
            })
            .map(|(address, _)| address.clone())
            .collect();
        for address in addresses {
            self.attach_parked(&address, then);
        }
    }

    /// Gives both sockets their ends, the sending halves first. Returns the connector if the binder has no place for it.
    pub(super) fn attach(
        &mut self,
        binder: &Arc<SocketLink>,
        mut connector: Connector,
        address: &str,
        then: &mut Consequences<'_>,
    ) -> Option<Connector> {
        let pipe = connector.pipe;
        if binder.id == connector.socket.id {
            // It connected before it bound the name itself.
            return Some(connector);
        }
        let mut trails = meet(binder, &connector, address);
        if !connector.refused {
            report_meeting(binder, &connector.socket, &trails, then);
        }
        if !binder.pair_with(pipe) {
            refuse(
                binder,
                &mut connector,
                address,
                &trails,
                Reason::AlreadyPaired,
                then,
            );
            return Some(connector);
        }
        let known_as = match self.name_each_other(binder, &connector, &trails, then) {
            Ok(names) => names,
            Err(reason) => {
                refuse(binder, &mut connector, address, &trails, reason, then);
                return Some(connector);
            }
        };
        if connector.refused {
            report_meeting(binder, &connector.socket, &trails, then);
        }
        let socket = connector.socket.clone();
        let to_binder = match connector.sends.take() {
            Some((reader, relay)) => {
                if let Some(inbox) = &binder.receive {
                    relay.lead_to(inbox.clone());
                }
                // The sender prefers peers that are there, so it has to know.
                reader.attach();
                if let Some(inbox) = &socket.send {
                    then.news.push(inbox.ready_quietly(pipe));
                }
                Some(reader)
            }
            None => carry(&socket, binder, pipe, known_as.0.clone(), then),
        };
        let to_connector = carry(binder, &socket, pipe, known_as.1.clone(), then);
        for (reader, link, name) in [
            (to_binder, binder, &known_as.1),
            (to_connector, &socket, &known_as.0),
        ] {
            if let (Some(reader), Some(inbox)) = (reader, &link.receive) {
                then.post(inbox, ToSocket::Receive(reader, name.clone()));
            }
        }
        trails.0.introduced(Some(socket.socket_type), known_as.1.clone());
        trails.1.introduced(Some(binder.socket_type), known_as.0.clone());
        for (link, trail) in [(binder, &trails.0), (&socket, &trails.1)] {
            then.reports.push(link.monitors.established(pipe, trail));
        }
        self.attached.push(Attached {
            binder: binder.clone(),
            connector: socket,
            pipe,
            address: address.to_owned(),
            chosen: connector.name,
            known_as,
        });
        None
    }

    /// Has the sides that are ROUTERs name the other one: the names of the binder, and of the connector.
    fn name_each_other(
        &mut self,
        binder: &Arc<SocketLink>,
        connector: &Connector,
        trails: &(Trail, Trail),
        then: &mut Consequences<'_>,
    ) -> Result<(Option<PeerId>, Option<PeerId>), Reason> {
        let chosen = connector.name.clone().or_else(|| identity(binder));
        let of_binder = self.name_peer(&connector.socket, chosen, connector, &trails.1, then)?;
        match self.name_peer(binder, identity(&connector.socket), connector, &trails.0, then) {
            Ok(of_connector) => Ok((of_binder, of_connector)),
            Err(reason) => {
                if let Some(name) = of_binder {
                    release(&connector.socket, &name, connector.pipe);
                }
                Err(reason)
            }
        }
    }

    /// The name that a ROUTER gives the peer of a new connection; none for other types. `trail` is the ROUTER's.
    fn name_peer(
        &mut self,
        router: &Arc<SocketLink>,
        name: Option<PeerId>,
        connector: &Connector,
        trail: &Trail,
        then: &mut Consequences<'_>,
    ) -> Result<Option<PeerId>, Reason> {
        if router.socket_type != SocketType::Router {
            return Ok(None);
        }
        let holder = Holder {
            pipe: connector.pipe,
            reactor: None,
        };
        let takes_over = router.options.on_duplicate == OnDuplicate::TakeOver && !connector.refused;
        let previous = match router.identities().claim(name.clone(), holder.clone()) {
            Ok(name) => return Ok(Some(name)),
            Err(previous) if takes_over => Some(std::mem::replace(previous, holder)),
            // A peer in this process needs no sign of life, and one elsewhere cannot be waited for here.
            Err(_) => None,
        };
        let text = name.as_ref().map_or_else(String::new, PeerId::to_string);
        let duplicate = |outcome| {
            let identity = name.clone();
            move |connection| Event::DuplicateIdentity {
                connection,
                identity: identity.expect("a name that is made up is nobody's"),
                outcome,
            }
        };
        let Some(previous) = previous else {
            if !connector.refused {
                then.report(router, trail, duplicate(DuplicateOutcome::Refused));
            }
            return Err(Reason::DuplicateIdentity { identity: text });
        };
        match previous.reactor {
            Some(reactor) => reactor.post(ToReactor::Abort {
                pipe: previous.pipe,
                reason: Reason::IdentityTakenOver { identity: text },
            }),
            None => self.detach(router, previous.pipe, then),
        }
        then.report(router, trail, duplicate(DuplicateOutcome::TakenOver));
        Ok(name)
    }

    /// Takes a peer from a ROUTER; its connector waits for the name to be free.
    pub(super) fn detach(&mut self, router: &Arc<SocketLink>, pipe: PipeId, then: &mut Consequences<'_>) {
        let Some(index) = self.attached.iter().position(|it| it.pipe == pipe) else {
            return;
        };
        for inbox in [&router.send, &router.receive].into_iter().flatten() {
            then.post(inbox, ToSocket::Detach(pipe));
        }
        let it = &self.attached[index];
        let name = match router.id == it.binder.id {
            true => it.known_as.1.as_ref(),
            false => it.known_as.0.as_ref(),
        };
        let identity = name.map_or_else(String::new, PeerId::to_string);
        self.set_aside(index, &Reason::IdentityTakenOver { identity }, then);
    }

    /// Takes a connection apart, and tells both sides why. Its connector waits, with new pipes.
    pub(super) fn set_aside(&mut self, index: usize, reason: &Reason, then: &mut Consequences<'_>) {
        let it = self.attached.swap_remove(index);
        it.part();
        then.report_end(&it, reason.clone(), reason.clone());
        let fresh = then.registry.next_id();
        let mut connector = new_connector(&it.connector, fresh, &it.address, it.chosen, then);
        connector.refused = true;
        self.park(connector, &it.address);
    }

    /// Takes a connection apart, tells both sides why, and makes it anew. Returns which pipe its connector has now.
    pub(super) fn renew(&mut self, index: usize, reason: &Reason, then: &mut Consequences<'_>) -> PipeId {
        let it = self.attached.swap_remove(index);
        it.part();
        then.report_end(&it, reason.clone(), reason.clone());
        let fresh = then.registry.next_id();
        self.dial(&it.connector, &it.address, fresh, it.chosen.clone(), then);
        fresh
    }
}

impl Attached {
    /// The two no longer know each other.
    pub(super) fn part(&self) {
        self.binder.part_from(self.pipe);
        let (of_binder, of_connector) = &self.known_as;
        for (router, name) in [(&self.connector, of_binder), (&self.binder, of_connector)] {
            if let Some(name) = name {
                release(router, name, self.pipe);
            }
        }
    }
}

impl Name {
    pub(super) fn unbind(&mut self, socket: SocketId, address: &str, then: &mut Consequences<'_>) {
        if let Some(binder) = self.binder.take_if(|binder| binder.id == socket) {
            then.reports
                .push(binder.monitors.report(|| Event::ListenerClosed {
                    endpoint: format!("inproc://{address}"),
                }));
        }
    }
}
