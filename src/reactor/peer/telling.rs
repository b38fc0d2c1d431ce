//! Tells a publisher what its subscriber wants.
//!
//! Interests are state that the subscriber's thread changes and that each connection follows in slices: the next slice
//! goes out when the last one is written, so a publisher that does not read costs nothing, and nothing is lost. A new
//! connection starts at the beginning.
//!
//! A publisher of ZMTP 3.1 says that it has taken in everything up to a change by answering a PING that was sent behind it,
//! and a second one that was sent when that answer came: libzmq answers while it reads, and hands over what came before in
//! the same read only when it is through. What it answers after that, it has read after that. Between asking and the second
//! answer nothing else is asked, because of several PINGs that libzmq cannot answer at once it answers only the last.

use smallvec::SmallVec;

use super::Peer;
use crate::mailbox::{Holder, SocketLink};
use crate::monitor::Reason;
use crate::pipe::PipeId;
use crate::pipe::inbox::Ready;
use crate::pipe::outbound::Drainer;
use crate::reactor::Io;
use crate::routing::interests::Progress;
use crate::wire::command;
use crate::wire::frame::{HEADER_BYTES_MAX, encode_header};

/// How far a connection has followed its socket's interests. Idle for sockets that do not subscribe.
#[derive(Default)]
pub(in crate::reactor) struct Telling {
    following: bool,
    /// The peer speaks ZMTP 3.1: subscriptions are commands, and a PING behind them is answered when they have arrived.
    by_command: bool,
    /// The newest change that was told.
    told: u64,
    /// The newest change that was told and written.
    written: u64,
    up_to_date: bool,
    asked: Option<Asked>,
    /// The socket was told that the answer lies behind messages.
    held_up: bool,
    /// The newest change that the peer has said it took in.
    acknowledged: u64,
}

/// A PING that was not answered yet.
#[derive(Clone, Copy)]
struct Asked {
    /// The newest change before it.
    number: u64,
    /// It is the second one.
    again: bool,
}

impl Peer {
    pub(super) fn begin_telling(&mut self, version: (u8, u8), io: &Io) {
        if !self.socket.socket_type.is_subscriber() {
            return;
        }
        self.telling = Telling {
            following: true,
            by_command: version >= (3, 1),
            ..Telling::default()
        };
        let mut wanted = self.socket.wanted();
        wanted.interests.join(self.pipe, self.telling.by_command);
        wanted.connections.push(Holder {
            pipe: self.pipe,
            reactor: Some(io.handle.inbox.clone()),
        });
        drop(wanted);
        // Who waits until everybody is told looked when the pipes came, which was too early; and if nothing is wanted yet,
        // there will be nothing to report.
        if let Some(inbox) = &self.socket.receive {
            inbox.ready(self.pipe);
        }
    }

    pub(super) fn stop_telling(&mut self) {
        if std::mem::take(&mut self.telling).following {
            let mut wanted = self.socket.wanted();
            wanted.interests.leave(self.pipe);
            wanted.connections.retain(|it| it.pipe != self.pipe);
        }
    }
}

impl Telling {
    /// Whether the peer may have something to do with what it was told.
    pub(super) fn is_underway(&self) -> bool {
        self.following && (!self.up_to_date || self.asked.is_some())
    }

    /// The context of a PING that was not answered yet. To send it once more does no harm: it may not be answered, if libzmq
    /// gets another PING before it can answer the first.
    pub(super) fn question(&self) -> Option<impl AsRef<[u8]>> {
        self.asked.map(Asked::context)
    }

    /// Owes the next slice of changes, if the last one is written. Returns whether there may be more.
    pub(super) fn tell(
        &mut self,
        socket: &SocketLink,
        pipe: PipeId,
        drainer: &mut Drainer,
    ) -> Result<bool, Reason> {
        if !self.following {
            return Ok(false);
        }
        if !drainer.owes_nothing() {
            return Ok(true);
        }
        let mut slice = Vec::new();
        let by_command = self.by_command;
        let mut wanted = socket.wanted();
        let progress = wanted.interests.next_changes(pipe, |topic, subscribed| {
            match (by_command, subscribed) {
                (true, true) => command::subscribe(topic, &mut slice),
                (true, false) => command::cancel(topic, &mut slice),
                (false, _) => subscription_message(topic, subscribed, &mut slice),
            }
            slice.len() < SLICE_BYTES
        });
        self.up_to_date = match progress {
            Progress::UpToDate(number) => {
                self.told = number;
                self.ask(&mut slice);
                true
            }
            Progress::More => false,
            Progress::Outdated => return Err(Reason::SubscriptionsOutdated),
        };
        drop(wanted);
        drainer.owe_aside(&slice);
        Ok(!self.up_to_date)
    }

    /// Asks whether everything that was told has arrived, if the peer could say so and was not asked.
    fn ask(&mut self, out: &mut Vec<u8>) {
        if self.by_command && self.asked.is_none() && self.acknowledged < self.told {
            let asked = Asked {
                number: self.told,
                again: false,
            };
            self.asked = Some(asked);
            command::ping(0, &asked.context(), out);
        }
    }

    /// The peer has answered a PING.
    pub(in crate::reactor) fn answered(
        &mut self,
        context: &[u8],
        socket: &SocketLink,
        pipe: PipeId,
        drainer: &mut Drainer,
    ) {
        let Some(asked) = self.asked.as_mut().filter(|asked| *asked.context() == *context) else {
            return;
        };
        let mut ping = Vec::with_capacity(32);
        if !asked.again {
            asked.again = true;
            command::ping(0, &asked.context(), &mut ping);
        } else {
            self.acknowledged = asked.number;
            self.asked = None;
            socket.wanted().interests.acknowledged(pipe, self.acknowledged);
            if let Some(inbox) = &socket.receive {
                inbox.ready(pipe);
            }
            if self.up_to_date {
                self.ask(&mut ping);
            }
        }
        drainer.owe_aside(&ping);
    }

    /// Takes note whether the connection is not read, because the application takes no messages. Whoever waits for the answer
    /// before they do would wait in vain.
    pub(super) fn hold_up(&mut self, paused: bool, socket: &SocketLink, pipe: PipeId) {
        let held_up = paused && self.asked.is_some();
        if std::mem::replace(&mut self.held_up, held_up) != held_up {
            socket.wanted().interests.held_up(pipe, held_up);
            if let Some(inbox) = &socket.receive {
                inbox.ready(pipe);
            }
        }
    }

    /// Takes note that everything told so far is written.
    pub(super) fn written(&mut self, socket: &SocketLink, pipe: PipeId) {
        if self.up_to_date && self.written < self.told {
            self.written = self.told;
            socket.wanted().interests.sent(pipe, self.told);
            if let Some(inbox) = &socket.receive {
                inbox.ready(pipe);
            }
        }
    }
}

impl Asked {
    fn context(self) -> SmallVec<[u8; 16]> {
        let again: &[u8] = if self.again { b"again" } else { b"" };
        self.number.to_be_bytes().iter().chain(again).copied().collect()
    }
}

/// How a peer of ZMTP 3.0 is told (ZeroMQ RFC 23).
fn subscription_message(topic: &[u8], subscribed: bool, out: &mut Vec<u8>) {
    let mut header = [0; HEADER_BYTES_MAX];
    let length = encode_header(false, 1 + topic.len(), &mut header);
    out.extend_from_slice(&header[..length]);
    out.push(subscribed.into());
    out.extend_from_slice(topic);
}

/// Written before the next changes are looked at.
const SLICE_BYTES: usize = 16 * 1024;
