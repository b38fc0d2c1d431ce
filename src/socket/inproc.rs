//! Connections inside a context: each is a pipe of messages between two application threads, without an I/O thread.
//!
//! A connector may come before its binder: the pipe it sends into exists at once, and its reading end waits here, under
//! the name, until somebody binds it. When a binder closes, its connectors get a new pipe that waits for the next one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::error::{BindError, ConnectError};
use crate::mailbox::{Holder, Neighbours, ReceivePipe, SendPipe, SocketId, SocketLink, ToReactor, ToSocket};
use crate::message::Message;
use crate::monitor::{Connection, DuplicateOutcome, Event, Later, Reason, Trail};
use crate::options::OnDuplicate;
use crate::peer_id::PeerId;
use crate::pipe::PipeId;
use crate::pipe::inbound::{self, Writer};
use crate::pipe::inbox::{Aftermath, Inbox, Ready, Relay};
use crate::pipe::latest;
use crate::pipe::recycle::Spares;
use crate::pipe::sync::{AtomicU64, Ordering};
use crate::stats::Undelivered;
use crate::wire::socket_type::SocketType;

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
    names: Mutex<Names>,
    /// Numbers that no socket, pipe or connection of the context had before.
    ids: Arc<AtomicU64>,
}

impl Registry {
    pub(crate) fn new(ids: Arc<AtomicU64>) -> Registry {
        Registry {
            names: Mutex::default(),
            ids,
        }
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
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

/// Messages in a pipe that nobody reads yet.
fn waiting(pipe: &ReceivePipe) -> u64 {
    match pipe {
        ReceivePipe::Wire(_) => 0,
        ReceivePipe::Inproc(pipe) => {
            let (messages, taken) = pipe.counts();
            messages - taken
        }
        ReceivePipe::Latest(pipe) => pipe.counts().waiting(),
    }
}

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
    /// The reading end of what it sends, and where that end's news will have to go; for sockets that let messages wait for
    /// a peer.
    sends: Option<(ReceivePipe, Arc<Relay>)>,
    /// What a ROUTER calls the binder.
    name: Option<PeerId>,
    /// There was no place for it, or its name was taken from it, and both sides were told. It waits until there is a place,
    /// and takes no name from anybody: otherwise those who wait for a name would take it from each other for ever.
    refused: bool,
    /// What its monitors are told of the connection to come.
    trail: Trail,
}

/// A connection that was made. It stays listed until one side closes or the connector disconnects.
struct Attached {
    binder: Arc<SocketLink>,
    connector: Arc<SocketLink>,
    pipe: PipeId,
    address: String,
    /// What a ROUTER that connects calls the binder, as the application chose it.
    chosen: Option<PeerId>,
    /// The names under which the two know each other, for those that are ROUTERs: of the binder, of the connector.
    known_as: (Option<PeerId>, Option<PeerId>),
}

/// What a change of the names leads to. It is carried out when their lock is free again, because it wakes sockets and
/// drops ends of pipes, and a waker is anybody's code.
struct Consequences<'a> {
    registry: &'a Registry,
    news: Vec<Aftermath<ToSocket>>,
    drops: Vec<Connector>,
    /// Reading ends of pipes whose messages nobody will take.
    given_up: Vec<ReceivePipe>,
    /// Ways of subscriptions to publishers that are gone.
    ends: Vec<Writer<Message>>,
    /// What is left of reports to monitors.
    reports: Vec<Later>,
}

impl Consequences<'_> {
    /// Posts at once, under the lock: so it comes before whatever a socket does that disconnects or closes afterwards.
    fn post(&mut self, inbox: &Inbox<ToSocket>, item: ToSocket) {
        self.news.push(inbox.post_quietly(item));
    }

    fn carry_out(self) {
        self.news.into_iter().for_each(Aftermath::carry_out);
        drop((self.drops, self.given_up, self.ends));
        self.reports.into_iter().for_each(Later::carry_out);
    }

    /// Reports an event of a connection to come, at once.
    fn report(&mut self, link: &SocketLink, trail: &Trail, event: impl FnOnce(Arc<Connection>) -> Event) {
        self.reports.push(link.monitors.report_on(trail, event));
    }

    /// Reports the end of a connection that was made: to its binder, and to its connector.
    fn report_end(&mut self, it: &Attached, to_binder: Reason, to_connector: Reason) {
        for (link, reason) in [(&it.binder, to_binder), (&it.connector, to_connector)] {
            self.reports.push(link.monitors.ended(it.pipe, reason));
        }
    }

    /// Reports the end of a connection that this side has closed, after the half of the other side that sends was told: so
    /// it takes nothing more for a peer of which a monitor says that it is gone.
    fn report_close(&mut self, it: &Attached, socket: SocketId) {
        let by_binder = it.binder.id == socket;
        let other = if by_binder { &it.connector } else { &it.binder };
        if let Some(inbox) = &other.send {
            self.post(inbox, ToSocket::Gone(it.pipe));
        }
        match by_binder {
            true => self.report_end(it, Reason::Closed, Reason::PeerClosed),
            false => self.report_end(it, Reason::PeerClosed, Reason::Closed),
        }
    }

    /// Reports that a connector waits no longer.
    fn report_withdrawal(&mut self, connector: &Connector, reason: Reason) {
        let failed = |connection| Event::ConnectFailed { connection, reason };
        self.report(&connector.socket, &connector.trail, failed);
    }
}

/// Does something to the names, and then what follows from it.
fn change<R>(registry: &Registry, action: impl FnOnce(&mut Names, &mut Consequences<'_>) -> R) -> R {
    let mut consequences = Consequences {
        registry,
        news: Vec::new(),
        drops: Vec::new(),
        given_up: Vec::new(),
        ends: Vec::new(),
        reports: Vec::new(),
    };
    let result = {
        let mut names = registry.names.lock().unwrap_or_else(PoisonError::into_inner);
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
pub(crate) fn bind(registry: &Registry, socket: &Arc<SocketLink>, address: &str) -> Result<(), BindError> {
    change(registry, |names, then| {
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
    })
}

/// Connects to the name, now or when it is bound. `name` is what a ROUTER calls the binder.
pub(crate) fn connect(
    registry: &Registry,
    socket: &Arc<SocketLink>,
    address: &str,
    pipe: PipeId,
    name: Option<&PeerId>,
) -> Result<(), ConnectError> {
    change(registry, |names, then| {
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
    })
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

impl Names {
    fn dial(
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
    fn attach_parked(&mut self, address: &str, then: &mut Consequences<'_>) {
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
    fn attach_waiting(&mut self, socket: &Arc<SocketLink>, then: &mut Consequences<'_>) {
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
    fn attach(
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
    fn detach(&mut self, router: &Arc<SocketLink>, pipe: PipeId, then: &mut Consequences<'_>) {
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
    fn set_aside(&mut self, index: usize, reason: &Reason, then: &mut Consequences<'_>) {
        let it = self.attached.swap_remove(index);
        it.part();
        then.report_end(&it, reason.clone(), reason.clone());
        let fresh = then.registry.next_id();
        let mut connector = new_connector(&it.connector, fresh, &it.address, it.chosen, then);
        connector.refused = true;
        self.park(connector, &it.address);
    }

    /// Takes a connection apart, tells both sides why, and makes it anew. Returns which pipe its connector has now.
    fn renew(&mut self, index: usize, reason: &Reason, then: &mut Consequences<'_>) -> PipeId {
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
    fn part(&self) {
        self.binder.part_from(self.pipe);
        let (of_binder, of_connector) = &self.known_as;
        for (router, name) in [(&self.connector, of_binder), (&self.binder, of_connector)] {
            if let Some(name) = name {
                release(router, name, self.pipe);
            }
        }
    }
}

impl ReceivePipe {
    /// Takes note that the reader has found its socket, for a caller that tells the writer.
    fn attach(&self) {
        match self {
            ReceivePipe::Wire(_) => {}
            ReceivePipe::Inproc(reader) => reader.attach(),
            ReceivePipe::Latest(reader) => reader.attach_quietly(),
        }
    }
}

impl Name {
    fn unbind(&mut self, socket: SocketId, address: &str, then: &mut Consequences<'_>) {
        if let Some(binder) = self.binder.take_if(|binder| binder.id == socket) {
            then.reports
                .push(binder.monitors.report(|| Event::ListenerClosed {
                    endpoint: format!("inproc://{address}"),
                }));
        }
    }
}

/// A connector with a pipe of its own for what it sends, if it is of a type whose messages wait for a peer.
fn new_connector(
    socket: &Arc<SocketLink>,
    pipe: PipeId,
    address: &str,
    name: Option<PeerId>,
    then: &mut Consequences<'_>,
) -> Connector {
    let inbox = socket.send.as_ref().filter(|_| !socket.has_passing_pipes());
    let sends = inbox.map(|inbox| {
        let relay = Arc::new(Relay::default());
        let (writer, reader) = pipe_between(socket, pipe, inbox, relay.clone(), socket.options.conflate);
        then.post(inbox, ToSocket::Send(writer, None));
        (reader, relay)
    });
    Connector {
        socket: socket.clone(),
        pipe,
        sends,
        name,
        refused: false,
        trail: begin_trail(socket, address, then),
    }
}

/// Begins to tell of a connection that a socket wants.
fn begin_trail(socket: &SocketLink, address: &str, then: &mut Consequences<'_>) -> Trail {
    let endpoint = format!("inproc://{address}");
    let trail = Trail::new(then.registry.next_id(), endpoint.clone(), String::new(), endpoint);
    then.report(socket, &trail, |connection| Event::Connecting { connection });
    trail
}

/// The two sides of a connection that comes about, as the binder's monitors and the connector's are told.
fn meet(binder: &SocketLink, connector: &Connector, address: &str) -> (Trail, Trail) {
    let endpoint = || format!("inproc://{address}");
    let mut of_binder = Trail::new(connector.trail.id(), endpoint(), endpoint(), endpoint());
    let mut of_connector = connector.trail.clone();
    of_connector.connected(endpoint(), endpoint());
    of_binder.introduced(Some(connector.socket.socket_type), None);
    of_connector.introduced(Some(binder.socket_type), None);
    (of_binder, of_connector)
}

fn report_meeting(
    binder: &SocketLink,
    connector: &SocketLink,
    trails: &(Trail, Trail),
    then: &mut Consequences<'_>,
) {
    then.report(binder, &trails.0, |connection| Event::Accepted { connection });
    then.report(connector, &trails.1, |connection| Event::Connected { connection });
}

fn release(router: &SocketLink, name: &PeerId, pipe: PipeId) {
    router.identities().release(name, |holder| holder.pipe == pipe);
}

fn identity(socket: &SocketLink) -> Option<PeerId> {
    PeerId::new(socket.options.identity.clone()).ok()
}

/// Tells both sides' monitors that a connection was not made, once. The connector goes on waiting, for another connection.
fn refuse(
    binder: &SocketLink,
    connector: &mut Connector,
    address: &str,
    trails: &(Trail, Trail),
    reason: Reason,
    then: &mut Consequences<'_>,
) {
    if std::mem::replace(&mut connector.refused, true) {
        return;
    }
    for (link, trail) in [(binder, &trails.0), (&connector.socket, &trails.1)] {
        let reason = reason.clone();
        then.report(link, trail, |connection| Event::HandshakeFailed {
            connection,
            reason,
        });
    }
    connector.trail = begin_trail(&connector.socket, address, then);
}

/// Makes a way for messages from one socket to another, if there is to be one, and gives the sending socket its end.
/// `name` is what a ROUTER that sends calls the receiver.
fn carry(
    from: &Arc<SocketLink>,
    to: &Arc<SocketLink>,
    pipe: PipeId,
    name: Option<PeerId>,
    then: &mut Consequences<'_>,
) -> Option<ReceivePipe> {
    let receive = to.receive.clone()?;
    if from.socket_type.is_subscriber() {
        return carry_subscriptions(from, pipe, receive, then);
    }
    let send = from.send.as_ref()?;
    let conflate = from.options.conflate || to.options.conflate;
    let (writer, reader) = pipe_between(from, pipe, send, receive, conflate);
    // Before the sender has its end: it looks then, and is not told again.
    reader.attach();
    then.post(send, ToSocket::Send(writer, name));
    Some(reader)
}

/// A pipe out of a socket, with what the peer is to get before anything else.
fn pipe_between(
    from: &SocketLink,
    pipe: PipeId,
    send: &Arc<Inbox<ToSocket>>,
    receive: Arc<dyn Ready>,
    conflate: bool,
) -> (SendPipe, ReceivePipe) {
    if conflate {
        let (writer, reader) = latest::pipe(pipe, send.clone(), receive);
        return (SendPipe::Latest(writer), ReceivePipe::Latest(reader));
    }
    let (mut writer, mut reader) = inbound::pipe::<Message>(
        pipe,
        from.options.send_hwm,
        &from.message_pool,
        send.clone(),
        receive,
    );
    reader.announce_each();
    greet(from, &mut writer);
    (SendPipe::Inproc(writer), ReceivePipe::Inproc(reader))
}

/// Subscriptions go to a publisher of the same context as messages, and are never too many: they are the memory of the
/// subscriber itself.
fn carry_subscriptions(
    from: &Arc<SocketLink>,
    pipe: PipeId,
    receive: Arc<Inbox<ToSocket>>,
    then: &mut Consequences<'_>,
) -> Option<ReceivePipe> {
    let owner = from.receive.clone()?;
    let (mut writer, reader) = inbound::pipe::<Message>(
        pipe,
        u64::MAX,
        &from.message_pool,
        owner,
        receive as Arc<dyn Ready>,
    );
    let mut wanted = from.wanted();
    let mut spares = Spares::new(from.message_pool.clone());
    for topic in wanted.interests.topics() {
        writer.push(subscription(true, topic), &mut spares);
    }
    then.ends.extend(wanted.end_local(Writer::is_abandoned));
    wanted.local.push(writer);
    Some(ReceivePipe::Inproc(reader))
}

/// A subscription, or the end of one, as a message (ZeroMQ RFC 29).
pub(crate) fn subscription(wanted: bool, topic: &[u8]) -> Message {
    let mut body = Vec::with_capacity(1 + topic.len());
    body.push(wanted.into());
    body.extend_from_slice(topic);
    Message::from(body)
}

/// Puts in what a peer is to get before anything else.
fn greet(from: &SocketLink, writer: &mut Writer<Message>) {
    let mut spares = Spares::new(from.message_pool.clone());
    if from.options.probe {
        writer.push(Message::new(), &mut spares);
    }
    if let Some(welcome) = &from.options.welcome {
        writer.push(welcome.clone(), &mut spares);
    }
}
