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
//!
//! | file | part of a peer's life |
//! | --- | --- |
//! | [`dialing`] | getting a connection |
//! | [`handshaking`], [`naming`] | agreeing with the other side, and on its name |
//! | [`telling`], [`conflated`], [`beating`] | subscriptions, newest messages and signs of life in the traffic |
//! | [`ending`], [`closing`] | the end of a connection, and of the peer |

mod beating;
mod closing;
mod conflated;
mod dialing;
mod ending;
mod handshaking;
mod naming;
pub(super) mod telling;

use std::sync::Arc;
use std::time::Instant;

use mio::{Interest, Token};

use closing::Closing;
use conflated::Conflated;
use dialing::stream_options;
use handshaking::handshake;
use naming::Naming;
pub(super) use naming::answer;
use telling::Telling;

use super::Io;
use super::connection::{Connection, Conversation, Read, Stage, Tools};
use super::connector::{Connector, Dialing};
use crate::endpoint::Endpoint;
use crate::engine::heartbeat::Heartbeat;
use crate::mailbox::{Dial, SocketLink, WireEnds};
use crate::monitor::{Event, Reason, Trail};
use crate::pipe::PipeId;
use crate::pipe::inbound::Writer;
use crate::pipe::outbound::{Drained, Drainer};
use crate::pipe::sync::Ordering;
use crate::transport::Stream;

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

    /// The application, or a newcomer with the same name, wants the connection to end. A dialed peer is dialed again.
    pub(super) fn abort(&mut self, reason: Reason, io: &mut Io) {
        self.connection_ended(reason, io);
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
        self.telling.hold_up(connection.paused, &self.socket, self.pipe);
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

/// Written in one turn before the other connections have theirs.
const WRITE_BYTES_PER_TURN: usize = 256 * 1024;
