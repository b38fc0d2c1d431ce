//! One peer of a socket: its pipes, its connection, and, if this side dialed, what brings the connection back.
//!
//! ```text
//!   dialed:    pause ──► resolve ──► dial ──► handshake ──► traffic ──► ended ──► pause …
//!   accepted:                                 handshake ──► traffic ──► ended, gone
//!   closing:   what is accepted is written ──► our side is shut ──► the peer is read to the end ──► gone
//! ```
//!
//! A dialed peer has its pipes from the start, an accepted one from the end of the handshake. A connection that ends
//! while the application writes to it cannot be taken apart before the application gives the token back: the peer waits
//! for that ([`Peer::ending`]), which takes one system call.
//!
//! Sockets that send to certain peers, or whose connections begin with subscriptions, get *passing* pipes: made at the end
//! of each handshake, gone with the connection. Dialed peers of the other types have *lasting* ones, in which messages wait
//! for a connection.

mod beating;
mod closing;
mod conflated;
mod naming;
pub(super) mod telling;

use std::sync::Arc;
use std::time::Instant;

use mio::{Interest, Token};

use closing::Closing;
use conflated::Conflated;
use naming::Naming;
pub(super) use naming::answer;
use telling::Telling;

use super::Io;
use super::connection::{Connection, Conversation, Read, Stage, Tools};
use super::connector::{Attempt, Connector, Dialing};
use crate::endpoint::Endpoint;
use crate::engine::handshake::{self, Handshake, Local};
use crate::engine::heartbeat::Heartbeat;
use crate::engine::traffic::{Decoder, Limits};
use crate::mailbox::{Dial, SocketLink, ToSocket, WireEnds};
use crate::monitor::{Event, Reason, Trail};
use crate::options::Options;
use crate::pipe::inbound::Writer;
use crate::pipe::outbound::{Drained, Drainer};
use crate::pipe::sync::Ordering;
use crate::pipe::{PipeId, WriteSide};
use crate::stats::Undelivered;
use crate::transport::{Address, Stream, StreamOptions};
use crate::wire::command::{self, TOPIC_BYTES_MAX};
use crate::wire::frame::{HEADER_BYTES_MAX, encode_header};
use crate::wire::socket_type::SocketType;

pub(super) struct Peer {
    /// Names the peer for as long as it is kept, and its pipes unless they are passing ones of a dialed peer.
    pub(super) pipe: PipeId,
    /// The name of the present pipes, if it is another one.
    passing: Option<PipeId>,
    pub(super) socket: Arc<SocketLink>,
    endpoint: Arc<Endpoint>,
    drainer: Option<Drainer>,
    inbound: Option<Writer<u8>>,
    conflated: Conflated,
    connection: Option<Connection>,
    connector: Option<Connector>,
    naming: Naming,
    telling: Telling,
    /// Watches over the connection, if it is to be watched and the peer understands.
    heartbeat: Option<Heartbeat>,
    /// When the heartbeat is to be looked at again.
    beat_due: Option<Instant>,
    /// The connection has ended, for this reason, and waits for the application to give the token back.
    ending: Option<Reason>,
    closing: Option<Closing>,
    /// End of the attempt to connect or of the handshake.
    deadline: Option<Instant>,
    /// When the loop's timer for this peer fires.
    pub(super) timer: Option<Instant>,
    /// Something may be there to write.
    write_wanted: bool,
    /// In the loop's run queue.
    pub(super) queued: bool,
}

/// What the loop is to do with the peer next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Wait for an event.
    Keep,
    /// There is more to do: serve again after the others.
    Again,
    /// Forget it.
    Remove,
}

impl Peer {
    pub(super) fn dialed(dial: Dial, now: Instant) -> Peer {
        let connector = Connector::new(&dial.socket.options, now);
        let mut peer = Peer::accepted(dial.pipe, dial.socket, Arc::new(dial.endpoint));
        if let Some(ends) = dial.pipes {
            peer.take_ends(ends);
        }
        peer.naming.chosen = dial.name;
        peer.connector = Some(connector);
        peer
    }

    fn take_ends(&mut self, ends: WireEnds) {
        self.drainer = Some(ends.drainer);
        self.inbound = ends.inbound;
        self.conflated = Conflated::new(ends.newest_out, ends.newest_in, &self.socket);
    }

    pub(super) fn accepted(pipe: PipeId, socket: Arc<SocketLink>, endpoint: Arc<Endpoint>) -> Peer {
        Peer {
            pipe,
            passing: None,
            socket,
            endpoint,
            drainer: None,
            inbound: None,
            conflated: Conflated::default(),
            connection: None,
            connector: None,
            naming: Naming::default(),
            telling: Telling::default(),
            heartbeat: None,
            beat_due: None,
            ending: None,
            closing: None,
            deadline: None,
            timer: None,
            write_wanted: false,
            queued: false,
        }
    }

    /// Takes over an accepted stream; its handshake begins. False if the stream cannot be registered.
    pub(super) fn take_stream(&mut self, mut stream: Stream, trail: Trail, key: usize, io: &mut Io) -> bool {
        let options = &self.socket.options;
        let kernel = stream_options(options);
        let ready = stream.apply(&kernel).and_then(|()| {
            io.registry
                .register(&mut stream, Token(key), Interest::READABLE | Interest::WRITABLE)
        });
        if let Err(error) = ready {
            self.report_failure(&trail, false, error.into());
            return false;
        }
        self.deadline = Some(io.now + options.handshake_timeout);
        let stage = Stage::Handshake(Box::new(self.handshake()));
        self.connection = Some(Connection::new(stream, trail, stage));
        io.handshakes.insert(self.pipe, key);
        true
    }

    /// The kernel says that the stream is ready.
    pub(super) fn on_event(&mut self, event: &mio::event::Event) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if event.is_read_closed() || event.is_error() {
            connection.read_closed = true;
            connection.readable = true;
        }
        connection.readable |= event.is_readable();
        if event.is_writable() || event.is_error() {
            connection.writable = true;
            self.write_wanted = true;
        }
    }

    /// The application has done something with a pipe.
    pub(super) fn on_ready(&mut self) {
        self.write_wanted = true;
    }

    /// The resolver has answered.
    pub(super) fn on_resolved(
        &mut self,
        result: std::io::Result<Vec<std::net::SocketAddr>>,
        key: usize,
        io: &mut Io,
    ) {
        let Some(connector) = &mut self.connector else {
            return;
        };
        if !matches!(connector.state, Dialing::Resolving(_)) {
            return;
        }
        match result {
            Ok(addresses) => {
                connector.addresses = addresses.into_iter().map(Address::Tcp).collect();
                self.dial_next(key, io);
            }
            Err(error) => self.attempt_failed(error.into(), io),
        }
    }

    /// The application, or a newcomer with the same name, wants the connection to end. A dialed peer is dialed again.
    pub(super) fn abort(&mut self, reason: Reason, io: &mut Io) {
        self.connection_ended(reason, io);
    }

    /// Ends a handshake to make room for newer ones.
    pub(super) fn yield_handshake(&mut self, limit: usize, io: &mut Io) {
        self.connection_ended(Reason::TooManyHandshakes { limit }, io);
    }

    /// One turn: everything that can be done now, within a budget.
    pub(super) fn serve(&mut self, key: usize, io: &mut Io) -> Verdict {
        if let Some(reason) = self.ending.take() {
            self.connection_ended(reason, io);
        }
        let mut again = false;
        if self.ending.is_none() {
            self.connect(key, io);
            again = self.serve_connection(key, io);
        }
        // After reading: a sign of life may have waited for this turn.
        self.judge_challenge(io);
        if self.is_done(io.now) && self.finish(io) {
            return Verdict::Remove;
        }
        self.arm(key, io);
        if again { Verdict::Again } else { Verdict::Keep }
    }

    /// Dials, if it is time.
    fn connect(&mut self, key: usize, io: &mut Io) {
        let Some(connector) = &mut self.connector else {
            return;
        };
        match connector.state {
            Dialing::Waiting(until) if until <= io.now => match Connector::attempt(&self.endpoint) {
                Attempt::Dial(address) => {
                    connector.addresses = [address].into();
                    self.dial_next(key, io);
                }
                Attempt::Resolve(host, port) => {
                    connector.state = Dialing::Resolving(io.now + self.socket.options.connect_timeout);
                    io.resolver.resolve(self.pipe, host, port);
                }
                Attempt::Impossible(error) => self.attempt_failed(error.into(), io),
            },
            Dialing::Resolving(until) if until <= io.now => {
                io.resolver.cancel(self.pipe);
                let timeout = self.socket.options.connect_timeout;
                self.attempt_failed(Reason::ConnectTimeout(timeout), io);
            }
            _ => {}
        }
    }

    /// Dials the next address of the attempt; without one, the attempt has failed.
    fn dial_next(&mut self, key: usize, io: &mut Io) {
        let options = &self.socket.options;
        let kernel = stream_options(options);
        while let Some(address) = self
            .connector
            .as_mut()
            .and_then(|connector| connector.addresses.pop_front())
        {
            let dialed = Stream::dial(&address, &kernel).and_then(|mut stream| {
                io.registry
                    .register(&mut stream, Token(key), Interest::READABLE | Interest::WRITABLE)?;
                Ok(stream)
            });
            let trail = self.new_trail(address.text(), io);
            let connecting = |connection| Event::Connecting { connection };
            self.socket.monitors.report_on(&trail, connecting).carry_out();
            match dialed {
                Ok(stream) => {
                    let mut connection = Connection::new(stream, trail, Stage::Dialing);
                    // The first event says that the attempt is over; a local one may be over already.
                    connection.writable = true;
                    self.connection = Some(connection);
                    self.deadline = Some(io.now + options.connect_timeout);
                    if let Some(connector) = &mut self.connector {
                        connector.state = Dialing::Connection;
                    }
                    return;
                }
                Err(error) => self.report_failure(&trail, true, error.into()),
            }
        }
        self.pause(io);
    }

    /// An attempt failed before there was an address to dial.
    fn attempt_failed(&mut self, reason: Reason, io: &mut Io) {
        let trail = self.new_trail(None, io);
        self.report_failure(&trail, true, reason);
        self.pause(io);
    }

    fn pause(&mut self, io: &mut Io) {
        self.deadline = None;
        if let Some(connector) = &mut self.connector {
            let delay = connector.pause(io.now);
            if self.closing.is_none() {
                let retrying = || Event::Retrying {
                    endpoint: self.endpoint.to_string(),
                    delay,
                };
                self.socket.monitors.report(retrying).carry_out();
            }
        }
    }

    /// Moves the connection on. Returns whether there is more to do at once.
    fn serve_connection(&mut self, key: usize, io: &mut Io) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        if self.deadline.is_some_and(|deadline| deadline <= io.now) {
            let options = &self.socket.options;
            let reason = match connection.stage {
                Stage::Dialing => Reason::ConnectTimeout(options.connect_timeout),
                _ => Reason::HandshakeTimeout(options.handshake_timeout),
            };
            self.connection_failed(reason, key, io);
            return false;
        }
        if matches!(connection.stage, Stage::Dialing) && connection.writable {
            match connection.stream.dialed() {
                Ok(true) => {
                    connection.stage = Stage::Handshake(Box::new(handshake(&self.socket)));
                    let (local, remote) = (connection.stream.local_text(), connection.stream.peer_text());
                    connection.trail.connected(local, remote);
                    self.deadline = Some(io.now + self.socket.options.handshake_timeout);
                    let connected = |connection| Event::Connected { connection };
                    let monitors = &self.socket.monitors;
                    monitors.report_on(&connection.trail, connected).carry_out();
                }
                Ok(false) => connection.writable = false,
                Err(error) => {
                    self.connection_failed(error.into(), key, io);
                    return false;
                }
            }
        }
        if let Err(reason) = self.serve_handshake(key, io) {
            self.connection_failed(reason, key, io);
            return false;
        }
        let again = self
            .serve_traffic(io)
            .and_then(|again| Ok(self.beat(io.now)? || again));
        match again {
            Ok(again) => again,
            Err(reason) => {
                self.connection_ended(reason, io);
                false
            }
        }
    }

    fn serve_handshake(&mut self, key: usize, io: &mut Io) -> Result<(), Reason> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        if !matches!(connection.stage, Stage::Handshake(_)) {
            return Ok(());
        }
        let mut tools = Tools {
            block: &mut io.block,
            spares: &mut io.spares,
            now: io.now,
        };
        let read = connection.read_handshake(&mut tools);
        let Stage::Handshake(handshake) = &mut connection.stage else {
            return Ok(());
        };
        let written = flush(&connection.stream, handshake.output(), &mut connection.writable);
        let Some(peer) = read? else {
            return written;
        };
        written?;
        if !handshake.output().is_empty() {
            // A handshake fits the kernel's empty buffer; a peer that makes it not fit is up to no good.
            return Err(Reason::HandshakeTimeout(self.socket.options.handshake_timeout));
        }
        connection.stage = Stage::Introduced;
        io.handshakes.remove(&self.pipe);
        self.introduce(peer, key, io)
    }

    /// Finds a place for a peer that has introduced itself: messages flow, or it has to wait for the name it claims.
    fn introduce(&mut self, peer: handshake::Peer, key: usize, io: &mut Io) -> Result<(), Reason> {
        if let Some(connection) = &mut self.connection {
            connection.trail.introduced(peer.socket_type, None);
        }
        if self.connector.is_none() && !self.socket.pair_with(self.pipe) {
            return Err(self.refuse(Reason::AlreadyPaired));
        }
        match self.claim_name(&peer, io) {
            Ok(true) => self.establish(&peer, key, io),
            Ok(false) => self.naming.waiting = Some(peer),
            Err(reason) => return Err(self.refuse(reason)),
        }
        Ok(())
    }

    /// Tells the peer why the connection will be closed, as far as that takes no waiting.
    fn refuse(&self, reason: Reason) -> Reason {
        if let Some(connection) = &self.connection {
            let mut error = Vec::new();
            command::error(&reason.to_string(), &mut error);
            let _ = flush(&connection.stream, &mut error, &mut true);
        }
        reason
    }

    /// The peer has its place: messages may flow.
    fn establish(&mut self, peer: &handshake::Peer, key: usize, io: &mut Io) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let options = &self.socket.options;
        connection.stage = Stage::Traffic(Decoder::new(Limits {
            // A publisher is told little, so nobody can make it keep much.
            message_bytes_max: match self.socket.socket_type.is_publisher() {
                true => options.max_message_bytes.min(UPSTREAM_BYTES_MAX),
                false => options.max_message_bytes,
            },
            message_parts_max: options.max_message_parts,
            command_bytes_max: COMMAND_BYTES_MAX,
        }));
        self.deadline = None;
        let side: Arc<dyn WriteSide> = connection.stream.clone();
        let name = self.naming.name.clone();
        connection.trail.introduced(peer.socket_type, name);
        let trail = connection.trail.clone();
        match &mut self.drainer {
            Some(drainer) => {
                drainer.connect(side);
                self.conflated.set_connected(true);
            }
            None => self.attach(side, key, io),
        }
        self.greet();
        self.begin_telling(peer.version, io);
        self.begin_heartbeat(peer.version, io.now);
        self.write_wanted = true;
        self.socket
            .monitors
            .established(self.known_as(), &trail)
            .carry_out();
    }

    /// What a peer is to get before anything else goes between the frames of the pipe, because the pipe is the
    /// application's.
    fn greet(&mut self) {
        let Some(drainer) = &mut self.drainer else {
            return;
        };
        let options = &self.socket.options;
        let mut frames = Vec::new();
        for message in options
            .probe
            .then(crate::message::Message::new)
            .iter()
            .chain(&options.welcome)
        {
            let parts = message.part_count();
            for (index, part) in message.parts().enumerate() {
                let mut header = [0; HEADER_BYTES_MAX];
                let length = encode_header(index + 1 < parts, part.len(), &mut header);
                frames.extend_from_slice(&header[..length]);
                frames.extend_from_slice(part);
            }
        }
        drainer.owe_aside(&frames);
    }

    /// Makes the pipes of a peer that had none, and gives the socket its ends, the sending half first.
    fn attach(&mut self, side: Arc<dyn WriteSide>, key: usize, io: &mut Io) {
        let socket = self.socket.clone();
        let mut pipe = self.pipe;
        if self.connector.is_some() {
            // The pipes of the last connection may still be read.
            pipe = io.ids.fetch_add(1, Ordering::Relaxed);
            self.passing = Some(pipe);
            io.keys.insert(pipe, key);
        }
        let name = self.naming.name.as_ref();
        let ends = socket.attach_wire(pipe, name, &io.handle.ready(), io.spares.pool(), Some(side));
        if let Some(ends) = ends {
            self.take_ends(ends);
        }
        // The halves may have been dropped before, and nobody would take the pipes out of their inboxes, which the pipes own.
        if socket.is_closed() {
            for inbox in [&socket.send, &socket.receive].into_iter().flatten() {
                inbox.take(&mut Vec::new(), &mut Vec::new());
            }
        }
    }

    fn serve_traffic(&mut self, io: &mut Io) -> Result<bool, Reason> {
        let abandoned =
            self.inbound.as_ref().is_some_and(Writer::is_abandoned) || self.conflated.is_abandoned();
        if abandoned && self.socket.is_closed() {
            // The application has dropped the socket, and word of that is on its way. What it sent before is still to be
            // written. A socket that lives and has let go of this peer alone says itself what is to be done: a dialed one
            // may have to be dialed again.
            self.close(io.now);
        }
        let (Some(connection), Some(drainer)) = (&mut self.connection, &mut self.drainer) else {
            return Ok(false);
        };
        let mut tools = Tools {
            block: &mut io.block,
            spares: &mut io.spares,
            now: io.now,
        };
        if matches!(connection.stage, Stage::Draining) {
            return match connection.read_to_end(&mut tools) {
                Read::Idle => Ok(false),
                Read::More => Ok(true),
                Read::Ended(reason) => Err(reason),
            };
        }
        if !matches!(connection.stage, Stage::Traffic(_)) {
            return Ok(false);
        }
        let mut conversation = Conversation {
            socket: &self.socket,
            pipe: self.pipe,
            drainer,
            telling: &mut self.telling,
            heartbeat: self.heartbeat.as_mut(),
        };
        let mut again = match connection.read_traffic(&mut self.inbound, &mut conversation, &mut tools) {
            Read::Idle => match connection.write_failure.take() {
                Some(reason) if !connection.paused => return Err(reason),
                failure => {
                    connection.write_failure = failure;
                    false
                }
            },
            Read::More => true,
            Read::Ended(reason) => {
                self.conflated.hand_over();
                return Err(reason);
            }
        };
        self.conflated.hand_over();
        let (mut dry, mut elsewhere) = (false, false);
        if std::mem::take(&mut self.write_wanted) || drainer.owes() > 0 {
            if connection.write_failure.is_some() {
                return Ok(again);
            }
            self.conflated.take_up();
            let more_to_tell = self.telling.tell(&self.socket, self.pipe, drainer)?;
            match drainer.drain(WRITE_BYTES_PER_TURN) {
                Drained::Dry => dry = true,
                Drained::Elsewhere => elsewhere = drainer.owes_nothing(),
                Drained::Blocked => {}
                Drained::Unfinished => {
                    self.write_wanted = true;
                    again = true;
                }
                Drained::Broken(error) => {
                    // What the peer sent before it went is still read; the end of that, or a moment without more of it,
                    // ends the connection. No reason to read past the high-water mark: the peer may be alive and well.
                    connection.write_failure = Some(error.into());
                    connection.readable = true;
                    again = true;
                }
            }
            if dry && self.conflated.has_more() {
                self.write_wanted = true;
                again = true;
                dry = false;
            }
            if drainer.owes_nothing() {
                self.telling.written(&self.socket, self.pipe);
                if more_to_tell {
                    self.write_wanted = true;
                    again = true;
                    dry = false;
                }
            }
        }
        if self.closing.is_none() || !(dry || elsewhere) {
            return Ok(again);
        }
        match drainer.close() {
            Drained::Dry if drainer.finished() == 0 => Err(Reason::Closed),
            Drained::Dry => {
                connection.stream.shutdown_write()?;
                connection.stage = Stage::Draining;
                connection.readable = true;
                Ok(true)
            }
            Drained::Unfinished => {
                // One more message, just before the end.
                self.write_wanted = true;
                Ok(true)
            }
            _ => Ok(again),
        }
    }

    /// An attempt or a handshake failed: other addresses of the same name may do better.
    fn connection_failed(&mut self, reason: Reason, key: usize, io: &mut Io) {
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
    fn connection_ended(&mut self, reason: Reason, io: &mut Io) {
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
        if self.connector.is_none() || self.socket.has_passing_pipes() {
            // Nobody will connect these pipes again.
            self.end_pipes(io);
        } else {
            self.report_loss(handshaking);
        }
        if let (Some(connector), false) = (&mut self.connector, handshaking || reason.is_refusal()) {
            connector.succeeded();
        }
        if handshaking {
            self.report_failure(&trail, dialing, reason);
        } else {
            self.socket.monitors.ended(known_as, reason).carry_out();
        }
        self.pause(io);
    }

    /// Tells a socket that waits for an answer that the connection it asked over is gone, where its pipes stay. What came
    /// over it was handed over before.
    fn report_loss(&self, handshaking: bool) {
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

    fn drop_connection(&mut self, io: &mut Io) {
        io.handshakes.remove(&self.pipe);
        self.deadline = None;
        if let Some(connection) = self.connection.take() {
            // The descriptor closes with the last owner, which may be the application for a moment.
            let _ = connection.stream.deregister(&io.registry);
        }
    }

    /// Ends the pipes, and returns how many messages are lost with them.
    fn end_pipes(&mut self, io: &mut Io) -> u64 {
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

    /// Makes sure that the loop comes back when something is due.
    fn arm(&mut self, key: usize, io: &mut Io) {
        let mut due = self.deadline;
        let mut earlier = |at: Instant| due = Some(due.map_or(at, |due: Instant| due.min(at)));
        if let Some(Connector {
            state: Dialing::Waiting(until) | Dialing::Resolving(until),
            ..
        }) = &self.connector
        {
            earlier(*until);
        }
        if let Some(closing) = &self.closing {
            earlier(closing.end());
        }
        for end in [self.naming.challenge_ends, self.beat_due].into_iter().flatten() {
            earlier(end);
        }
        if let Some(due) = due {
            if self.timer.is_none_or(|timer| timer > due) {
                self.timer = Some(due);
                io.timers.add(due, key);
            }
        }
    }

    fn handshake(&self) -> Handshake {
        handshake(&self.socket)
    }

    /// The name of the pipes by which the socket knows the present connection.
    fn known_as(&self) -> PipeId {
        self.passing.unwrap_or(self.pipe)
    }

    /// Begins to tell of a connection that this side dials.
    fn new_trail(&self, remote: Option<String>, io: &Io) -> Trail {
        let id = io.ids.fetch_add(1, Ordering::Relaxed);
        let endpoint = self.endpoint.to_string();
        let remote = remote.unwrap_or_else(|| endpoint.clone());
        Trail::new(id, endpoint, String::new(), remote)
    }

    /// Tells the end of a connection on which no messages flowed.
    fn report_failure(&self, trail: &Trail, dialing: bool, reason: Reason) {
        let failed = |connection| match dialing {
            true => Event::ConnectFailed { connection, reason },
            false => Event::HandshakeFailed { connection, reason },
        };
        self.socket.monitors.report_on(trail, failed).carry_out();
    }
}

fn handshake(socket: &SocketLink) -> Handshake {
    Handshake::new(Local {
        socket_type: socket.socket_type,
        identity: socket.options.identity.clone(),
        as_server: false,
    })
}

fn stream_options(options: &Options) -> StreamOptions {
    StreamOptions {
        send_buffer: options.send_buffer,
        receive_buffer: options.receive_buffer,
        keepalive: options.tcp_keepalive,
        user_timeout: options.tcp_user_timeout,
    }
}

/// Writes what the handshake has to say.
fn flush(stream: &Stream, output: &mut Vec<u8>, writable: &mut bool) -> Result<(), Reason> {
    while *writable && !output.is_empty() {
        match stream.write_vectored(&[std::io::IoSlice::new(output)]) {
            Ok(count) => drop(output.drain(..count)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => *writable = false,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Written in one turn before the other connections have theirs.
const WRITE_BYTES_PER_TURN: usize = 256 * 1024;
/// Largest message of a subscriber, which is a subscription or something that the two applications have agreed upon.
const UPSTREAM_BYTES_MAX: u64 = 64 * 1024;
/// Commands are short; the longest that is known carries a topic.
const COMMAND_BYTES_MAX: u64 = 64 + TOPIC_BYTES_MAX as u64;
