//! What is left to be done when the names have changed.

use std::sync::Arc;

use super::Registry;
use super::names::{Attached, Connector};
use crate::mailbox::{ReceivePipe, SocketId, SocketLink, ToSocket};
use crate::message::Message;
use crate::monitor::{Connection, Event, Later, Reason, Trail};
use crate::pipe::inbound::Writer;
use crate::pipe::inbox::{Aftermath, Inbox};

/// What a change of the names leads to. It is carried out when their lock is free again, because it wakes sockets and
/// drops ends of pipes, and a waker is anybody's code.
pub(super) struct Consequences<'a> {
    pub(super) registry: &'a Registry,
    pub(super) news: Vec<Aftermath<ToSocket>>,
    pub(super) drops: Vec<Connector>,
    /// Reading ends of pipes whose messages nobody will take.
    pub(super) given_up: Vec<ReceivePipe>,
    /// Ways of subscriptions to publishers that are gone.
    pub(super) ends: Vec<Writer<Message>>,
    /// What is left of reports to monitors.
    pub(super) reports: Vec<Later>,
}

impl Consequences<'_> {
    pub(super) fn of_nothing(registry: &Registry) -> Consequences<'_> {
        Consequences {
            registry,
            news: Vec::new(),
            drops: Vec::new(),
            given_up: Vec::new(),
            ends: Vec::new(),
            reports: Vec::new(),
        }
    }

    /// Posts at once, under the lock: so it comes before whatever a socket does that disconnects or closes afterwards.
    pub(super) fn post(&mut self, inbox: &Inbox<ToSocket>, item: ToSocket) {
        self.news.push(inbox.post_quietly(item));
    }

    pub(super) fn carry_out(self) {
        self.news.into_iter().for_each(Aftermath::carry_out);
        drop((self.drops, self.given_up, self.ends));
        self.reports.into_iter().for_each(Later::carry_out);
    }

    /// Reports an event of a connection to come, at once.
    pub(super) fn report(
        &mut self,
        link: &SocketLink,
        trail: &Trail,
        event: impl FnOnce(Arc<Connection>) -> Event,
    ) {
        self.reports.push(link.monitors.report_on(trail, event));
    }

    /// Reports the end of a connection that was made: to its binder, and to its connector.
    pub(super) fn report_end(&mut self, it: &Attached, to_binder: Reason, to_connector: Reason) {
        for (link, reason) in [(&it.binder, to_binder), (&it.connector, to_connector)] {
            self.reports.push(link.monitors.ended(it.pipe, reason));
        }
    }

    /// Reports the end of a connection that this side has closed, after the half of the other side that sends was told: so
    /// it takes nothing more for a peer of which a monitor says that it is gone.
    pub(super) fn report_close(&mut self, it: &Attached, socket: SocketId) {
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
    pub(super) fn report_withdrawal(&mut self, connector: &Connector, reason: Reason) {
        let failed = |connection| Event::ConnectFailed { connection, reason };
        self.report(&connector.socket, &connector.trail, failed);
    }
}
