//! The last part of a peer's life: what was accepted is written, within limits of time.

use std::time::{Duration, Instant};

use super::Peer;
use crate::mailbox::ToSocket;
use crate::monitor::Reason;
use crate::pipe::outbound::Drained;
use crate::reactor::Io;
use crate::reactor::connection::{Connection, Stage};

/// The application has closed: how long to go on.
pub(super) struct Closing {
    /// The end, whatever the progress.
    latest: Instant,
    /// The end unless there is progress.
    patience: Instant,
    /// Messages finished and bytes written when patience was last renewed.
    progress: (u64, u64),
    /// How long to go on without progress.
    linger: Duration,
    /// Nobody wants what is left, for this reason.
    forgotten: Option<Reason>,
}

impl Closing {
    /// When it will be over, if there is no more progress.
    pub(super) fn end(&self) -> Instant {
        self.patience.min(self.latest)
    }
}

impl Peer {
    /// The application closed the socket, or disconnected this endpoint.
    pub(in crate::reactor) fn close(&mut self, now: Instant) {
        if self.closing.is_none() {
            self.stop_telling();
            let options = &self.socket.options;
            self.closing = Some(Closing {
                latest: now + options.linger_max,
                patience: now + options.linger,
                progress: self.progress(),
                linger: options.linger,
                forgotten: None,
            });
            self.write_wanted = true;
            // Passing pipes have names that only the halves and this thread know: the socket could not take them out itself.
            if let Some(pipe) = self.passing {
                for inbox in [&self.socket.send, &self.socket.receive].into_iter().flatten() {
                    inbox.post(ToSocket::Detach(pipe));
                }
            }
        }
    }

    /// The application shuts down: what it has accepted is written by then, whatever linger says. A peer that was closed before
    /// has its own time, and no more than this.
    pub(in crate::reactor) fn end_by(&mut self, until: Instant, now: Instant) {
        let was_closing = self.closing.is_some();
        self.close(now);
        if let Some(closing) = &mut self.closing {
            if was_closing {
                closing.latest = closing.latest.min(until);
            } else {
                closing.latest = until;
                closing.patience = until;
                closing.linger = until.saturating_duration_since(now);
            }
        }
    }

    /// The application wants nothing more of this peer, not even what it has accepted for it.
    pub(in crate::reactor) fn forget(&mut self, reason: Reason, now: Instant) {
        self.closing = Some(Closing {
            latest: now,
            patience: now,
            progress: self.progress(),
            linger: Duration::ZERO,
            forgotten: Some(reason),
        });
    }

    /// Whether nothing is left to do for this peer.
    pub(super) fn is_done(&mut self, now: Instant) -> bool {
        if self.ending.is_some() {
            return false;
        }
        if self.connection.is_none() && self.connector.is_none() {
            return true;
        }
        let progress = self.progress();
        let Some(closing) = &mut self.closing else {
            // A dialed socket half that is gone without a word: the receiving socket was dropped.
            return false;
        };
        if !self.conflated.is_filled()
            && !self.connection.as_ref().is_some_and(Connection::is_established)
            && self
                .drainer
                .as_mut()
                .is_none_or(|drainer| matches!(drainer.close(), Drained::Dry))
        {
            return true;
        }
        let (finished, bytes) = closing.progress;
        if progress.0 > finished || progress.1 >= bytes + PROGRESS_BYTES {
            closing.progress = progress;
            closing.patience = now + closing.linger;
            // Progress in this very turn: there may be more even if linger is 0.
            return closing.latest <= now;
        }
        let end = closing.end();
        if end + LATE < now && closing.latest > now {
            // This thread had no turn when it was time, and so perhaps nobody had: nothing could move.
            closing.patience = now + closing.linger;
            return false;
        }
        end <= now
    }

    /// The last act: whatever is left is lost, and told. False if the application is writing at this moment: then it is to be
    /// called again when it has given the token back.
    pub(super) fn finish(&mut self, io: &mut Io) -> bool {
        let is_filled =
            self.drainer.as_ref().is_some_and(|drainer| drainer.waiting() > 0) || self.conflated.is_filled();
        if let (Some(connection), true) = (&self.connection, is_filled) {
            // Nothing more is to be delivered, so the kernel need not try, nor the application.
            let _ = connection.stream.shutdown();
        }
        if self.drainer.as_mut().is_some_and(|drainer| !drainer.disconnect()) {
            return false;
        }
        io.resolver.cancel(self.pipe);
        let told = self.connection.as_ref().map(|connection| {
            let dialing = matches!(connection.stage, Stage::Dialing);
            (connection.trail.clone(), dialing, connection.is_established())
        });
        let known_as = self.known_as();
        self.stop_telling();
        self.give_up_name();
        let messages = self.end_pipes(io);
        self.drop_connection(io);
        let forgotten = self.closing.as_mut().and_then(|closing| closing.forgotten.take());
        let reason = if let Some(reason) = forgotten {
            reason
        } else if messages > 0 {
            Reason::LingerExpired { messages }
        } else {
            Reason::Closed
        };
        match told {
            Some((_, _, true)) => self.socket.monitors.ended(known_as, reason).carry_out(),
            Some((trail, dialing, false)) => self.report_failure(&trail, dialing, reason),
            None if messages > 0 => self.report_failure(&self.new_trail(None, io), true, reason),
            None => {}
        }
        true
    }

    fn progress(&self) -> (u64, u64) {
        self.drainer
            .as_ref()
            .map_or((0, 0), |drainer| (drainer.finished(), drainer.written()))
    }
}

/// A machine that lets this thread wait so long is busy with something else.
const LATE: Duration = Duration::from_millis(250);
/// As much as this renews the patience of a closing peer, as a finished message does.
const PROGRESS_BYTES: u64 = 64 * 1024;
