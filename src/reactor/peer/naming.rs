//! What a ROUTER calls its peers, and what happens when two claim the same name.
//!
//! ```text
//!   newcomer (its I/O thread)                        holder (its I/O thread)
//!   the name is taken ──────────── Challenge ──────► asks for a sign of life: PING
//!   waits, reads nothing                             any byte within a second: keeps the name
//!   refused, or claims again ◄──── Challenged ────── nothing: its connection ends, the name is free
//! ```

use std::time::{Duration, Instant};

use super::Peer;
use crate::engine::handshake;
use crate::mailbox::{Holder, Newcomer, ToReactor};
use crate::monitor::{DuplicateOutcome, Event, Reason};
use crate::options::OnDuplicate;
use crate::peer_id::PeerId;
use crate::pipe::PipeId;
use crate::reactor::Io;
use crate::reactor::connection::Connection;
use crate::wire::command;
use crate::wire::socket_type::SocketType;

/// A peer's name, if its socket is a ROUTER.
#[derive(Default)]
pub(super) struct Naming {
    /// What the application calls the peer, whatever that says.
    pub(super) chosen: Option<PeerId>,
    /// The name it has.
    pub(super) name: Option<PeerId>,
    /// It has introduced itself and waits to hear whether the name it claims is free after all.
    pub(super) waiting: Option<handshake::Peer>,
    /// It has had to wait.
    has_waited: bool,
    /// Newcomers that claim this peer's name.
    challengers: Vec<Newcomer>,
    /// Bytes that had come from it before it was challenged.
    heard_before: u64,
    /// Until when it may give a sign of life.
    pub(super) challenge_ends: Option<Instant>,
}

impl Peer {
    /// Gets the peer its name. False if another one has it and is asked whether it is still alive.
    pub(super) fn claim_name(&mut self, peer: &handshake::Peer, io: &mut Io) -> Result<bool, Reason> {
        if self.socket.socket_type != SocketType::Router {
            return Ok(true);
        }
        let claimed = self.claimed_name(peer);
        let text = claimed.as_ref().map_or_else(String::new, PeerId::to_string);
        let has_waited = std::mem::take(&mut self.naming.has_waited);
        let holder = Holder {
            pipe: self.pipe,
            reactor: Some(io.handle.inbox.clone()),
        };
        let previous = {
            let mut identities = self.socket.identities();
            match identities.claim(claimed.clone(), holder.clone()) {
                Ok(name) => {
                    drop(identities);
                    if has_waited {
                        self.report_duplicate(&name, DuplicateOutcome::TakenOver);
                    }
                    self.naming.name = Some(name);
                    return Ok(true);
                }
                Err(previous) => match self.socket.options.on_duplicate {
                    OnDuplicate::TakeOver => std::mem::replace(previous, holder),
                    OnDuplicate::Challenge => previous.clone(),
                    OnDuplicate::Reject => {
                        drop(identities);
                        return Err(self.lose_name(claimed));
                    }
                },
            }
        };
        if self.socket.options.on_duplicate == OnDuplicate::TakeOver {
            self.push_out(&previous, text);
            if let Some(claimed) = &claimed {
                self.report_duplicate(claimed, DuplicateOutcome::TakenOver);
            }
            self.naming.name = claimed;
            return Ok(true);
        }
        let Some(reactor) = previous.reactor else {
            // A peer in this process needs no sign of life.
            return Err(self.lose_name(claimed));
        };
        reactor.post(ToReactor::Challenge {
            pipe: previous.pipe,
            newcomer: Newcomer {
                pipe: self.pipe,
                reactor: io.handle.inbox.clone(),
            },
        });
        self.deadline = Some(io.now + self.socket.options.handshake_timeout);
        self.naming.has_waited = true;
        Ok(false)
    }

    /// The name stays with who has it: tells so, and gives the reason for what follows.
    fn lose_name(&self, claimed: Option<PeerId>) -> Reason {
        if let Some(claimed) = &claimed {
            self.report_duplicate(claimed, DuplicateOutcome::Refused);
        }
        Reason::DuplicateIdentity {
            identity: claimed.map_or_else(String::new, |name| name.to_string()),
        }
    }

    fn report_duplicate(&self, identity: &PeerId, outcome: DuplicateOutcome) {
        if let Some(connection) = &self.connection {
            let duplicate = |connection| Event::DuplicateIdentity {
                connection,
                identity: identity.clone(),
                outcome,
            };
            let monitors = &self.socket.monitors;
            monitors.report_on(&connection.trail, duplicate).carry_out();
        }
    }

    /// What the peer is to be called: what the application says, or else its own identity. None if that is up to us.
    fn claimed_name(&self, peer: &handshake::Peer) -> Option<PeerId> {
        let own = || PeerId::new(peer.identity.clone()).ok();
        self.naming.chosen.clone().or_else(own)
    }

    fn push_out(&self, previous: &Holder, identity: String) {
        match &previous.reactor {
            Some(reactor) => reactor.post(ToReactor::Abort {
                pipe: previous.pipe,
                reason: Reason::IdentityTakenOver { identity },
            }),
            None => self.socket.neighbours().push_out(previous.pipe),
        }
    }

    /// A newcomer claims this peer's name.
    pub(in crate::reactor) fn challenge(&mut self, newcomer: Newcomer, io: &mut Io) {
        let established = self.connection.as_ref().is_some_and(Connection::is_established);
        let (Some(connection), Some(drainer), true) = (
            &mut self.connection,
            &mut self.drainer,
            established && self.closing.is_none(),
        ) else {
            // On its way out: whatever it was called is free, at the latest when it is gone.
            self.give_up_name();
            answer(&newcomer, true);
            return;
        };
        if connection.paused {
            // Nothing is read from it because the application does not take its messages: no sign of death.
            answer(&newcomer, false);
            return;
        }
        if self.naming.challenge_ends.is_none() {
            let mut ping = Vec::new();
            command::ping(0, b"", &mut ping);
            drainer.owe(&ping);
            self.naming.heard_before = connection.received;
            self.naming.challenge_ends = Some(io.now + SIGN_OF_LIFE_MAX);
            self.write_wanted = true;
        }
        self.naming.challengers.push(newcomer);
    }

    /// Looks whether a challenged peer has given a sign of life, or has had its time.
    pub(super) fn judge_challenge(&mut self, io: &mut Io) {
        let Some(end) = self.naming.challenge_ends else {
            return;
        };
        if self
            .connection
            .as_ref()
            .is_some_and(|connection| connection.received != self.naming.heard_before || connection.paused)
        {
            self.naming.challenge_ends = None;
            for newcomer in self.naming.challengers.drain(..) {
                answer(&newcomer, false);
            }
        } else if end <= io.now {
            let identity = self
                .naming
                .name
                .as_ref()
                .map_or_else(String::new, PeerId::to_string);
            self.connection_ended(Reason::IdentityTakenOver { identity }, io);
        }
    }

    /// The challenge of this newcomer is decided.
    pub(in crate::reactor) fn challenged(&mut self, name_is_free: bool, key: usize, io: &mut Io) {
        let Some(peer) = self.naming.waiting.take() else {
            return;
        };
        let place = if name_is_free {
            self.introduce(peer, key, io)
        } else {
            let reason = self.lose_name(self.claimed_name(&peer));
            Err(self.refuse(reason))
        };
        if let Err(reason) = place {
            self.connection_ended(reason, io);
        }
    }

    /// The connection is gone: its name is free for others, its place for another peer of a PAIR.
    pub(super) fn give_up_name(&mut self) {
        let pipe: PipeId = self.pipe;
        let mut vacancy = self.socket.socket_type == SocketType::Pair && self.connector.is_none();
        if vacancy {
            self.socket.part_from(pipe);
        }
        if let Some(name) = self.naming.name.take() {
            vacancy = true;
            self.socket
                .identities()
                .release(&name, |holder| holder.pipe == pipe);
        }
        if vacancy {
            self.socket.neighbours().on_vacancy();
        }
        self.naming.waiting = None;
        self.naming.has_waited = false;
        self.naming.challenge_ends = None;
        for newcomer in self.naming.challengers.drain(..) {
            answer(&newcomer, true);
        }
    }
}

pub(in crate::reactor) fn answer(newcomer: &Newcomer, name_is_free: bool) {
    newcomer.reactor.post(ToReactor::Challenged {
        newcomer: newcomer.pipe,
        name_is_free,
    });
}

/// How long a peer whose name is claimed has to give a sign of life.
const SIGN_OF_LIFE_MAX: Duration = Duration::from_secs(1);
