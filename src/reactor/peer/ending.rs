//! The end of a connection, whoever ended it, and what becomes of the pipes.

use super::Peer;
use super::conflated::Conflated;
use crate::mailbox::ToSocket;
use crate::monitor::Reason;
use crate::reactor::Io;
use crate::reactor::connection::{Connection, Stage};
use crate::stats::Undelivered;
use crate::wire::socket_type::SocketType;

impl Peer {
    /// An attempt or a handshake failed: other addresses of the same name may do better.
    pub(super) fn connection_failed(&mut self, reason: Reason, key: usize, io: &mut Io) {
        let more = self
            .connector
            .as_ref()
            .is_some_and(|connector| !connector.addresses.is_empty());
        match &self.connection {
            Some(Connection {
                stage: Stage::Dialing,
                trail,
                ..
            }) => {
                let trail = trail.clone();
                self.drop_connection(io);
                self.report_failure(&trail, true, reason);
                self.dial_next(key, io);
            }
            Some(Connection {
                stage: Stage::Handshake(_),
                trail,
                ..
            }) if more => {
                let trail = trail.clone();
                self.drop_connection(io);
                self.report_failure(&trail, false, reason);
                self.dial_next(key, io);
            }
            _ => self.connection_ended(reason, io),
        }
    }

    /// Takes the connection apart. Tried again when the application holds the token.
    pub(super) fn connection_ended(&mut self, reason: Reason, io: &mut Io) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let handshaking = !connection.is_established();
        if !handshaking {
            // Ends a write of the application that is under way.
            let _ = connection.stream.shutdown();
            if self.drainer.as_mut().is_some_and(|drainer| !drainer.disconnect()) {
                self.ending = Some(reason);
                return;
            }
        }
        let trail = connection.trail.clone();
        let dialing = matches!(connection.stage, Stage::Dialing);
        let known_as = self.known_as();
        if let Some(inbound) = &mut self.inbound {
            inbound.rollback();
        }
        self.drop_connection(io);
        self.conflated.set_connected(false);
        self.stop_telling();
        self.stop_heartbeat();
        self.give_up_name();
        // The sockets are told before the monitors: who hears of the end from a monitor finds it done.
        let mut lost = 0;
        if self.connector.is_none() || self.socket.has_passing_pipes() {
            // Nobody will connect these pipes again.
            lost = self.end_pipes(io);
        } else {
            self.report_loss(handshaking);
        }
        if let (Some(connector), false) = (&mut self.connector, handshaking || reason.is_refusal()) {
            connector.succeeded();
        }
        if handshaking {
            self.report_failure(&trail, dialing, reason);
        } else {
            let reason = match lost {
                // The socket counts no more.
                1.. if self.closing.is_some() || self.socket.is_closed() => Reason::Undelivered {
                    messages: lost,
                    cause: Box::new(reason),
                },
                _ => reason,
            };
            self.socket.monitors.ended(known_as, reason).carry_out();
        }
        self.pause(io);
    }

    /// Tells a socket that waits for an answer that the connection it asked over is gone, where its pipes stay. What came
    /// over it was handed over before.
    pub(super) fn report_loss(&self, handshaking: bool) {
        if let (SocketType::Req, false, Some(drainer), Some(inbox)) = (
            self.socket.socket_type,
            handshaking,
            &self.drainer,
            &self.socket.receive,
        ) {
            inbox.post(ToSocket::Lost {
                pipe: self.pipe,
                finished: drainer.finished(),
            });
        }
    }

    pub(super) fn drop_connection(&mut self, io: &mut Io) {
        io.handshakes.remove(&self.pipe);
        self.deadline = None;
        if let Some(connection) = self.connection.take() {
            // The descriptor closes with the last owner, which may be the application for a moment.
            let _ = connection.stream.deregister(&io.registry);
        }
    }

    /// Ends the pipes, and returns how many messages are lost with them.
    pub(super) fn end_pipes(&mut self, io: &mut Io) -> u64 {
        let mut lost = 0;
        if let Some(mut drainer) = self.drainer.take() {
            lost = drainer.end() + u64::from(self.conflated.is_filled());
            if let (Some(report), messages @ 1..) = (&io.report, lost) {
                // Nobody listens any more, if whoever shut down was dropped meanwhile.
                let _ = report.send(Undelivered {
                    socket_type: self.socket.socket_type,
                    endpoint: self.endpoint.to_string(),
                    messages,
                });
            }
        }
        self.inbound = None;
        self.conflated = Conflated::default();
        if let Some(pipe) = self.passing.take() {
            io.keys.remove(&pipe);
        }
        lost
    }
}
