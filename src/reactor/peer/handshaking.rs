//! From the first byte to the end of the handshake, when the peer gets its pipes.

use std::sync::Arc;

use super::Peer;
use crate::engine::handshake::{self, Handshake, Local};
use crate::engine::traffic::{Decoder, Limits};
use crate::mailbox::SocketLink;
use crate::monitor::Reason;
use crate::pipe::WriteSide;
use crate::pipe::sync::Ordering;
use crate::reactor::Io;
use crate::reactor::connection::{Stage, Tools};
use crate::transport::Stream;
use crate::wire::command::{self, TOPIC_BYTES_MAX};
use crate::wire::frame::{HEADER_BYTES_MAX, encode_header};

impl Peer {
    /// Ends a handshake to make room for newer ones.
    pub(in crate::reactor) fn yield_handshake(&mut self, limit: usize, io: &mut Io) {
        self.connection_ended(Reason::TooManyHandshakes { limit }, io);
    }

    pub(super) fn serve_handshake(&mut self, key: usize, io: &mut Io) -> Result<(), Reason> {
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
    pub(super) fn introduce(&mut self, peer: handshake::Peer, key: usize, io: &mut Io) -> Result<(), Reason> {
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
    pub(super) fn refuse(&self, reason: Reason) -> Reason {
        if let Some(connection) = &self.connection {
            let mut error = Vec::new();
            command::error(&reason.to_string(), &mut error);
            let _ = flush(&connection.stream, &mut error, &mut true);
        }
        reason
    }

    /// The peer has its place: messages may flow.
    pub(super) fn establish(&mut self, peer: &handshake::Peer, key: usize, io: &mut Io) {
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
    pub(super) fn greet(&mut self) {
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
    pub(super) fn attach(&mut self, side: Arc<dyn WriteSide>, key: usize, io: &mut Io) {
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

    pub(super) fn handshake(&self) -> Handshake {
        handshake(&self.socket)
    }
}

pub(super) fn handshake(socket: &SocketLink) -> Handshake {
    Handshake::new(Local {
        socket_type: socket.socket_type,
        identity: socket.options.identity.clone(),
        as_server: false,
    })
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

/// Largest message of a subscriber, which is a subscription or something that the two applications have agreed upon.
const UPSTREAM_BYTES_MAX: u64 = 64 * 1024;
/// Commands are short; the longest that is known carries a topic.
const COMMAND_BYTES_MAX: u64 = 64 + TOPIC_BYTES_MAX as u64;
