//! Watches over a connection on which messages flow.

use std::time::{Duration, Instant};

use super::Peer;
use crate::endpoint::Endpoint;
use crate::engine::heartbeat::{Beat, Condition, Heartbeat};
use crate::monitor::Reason;
use crate::reactor::connection::Stage;
use crate::wire::command;

impl Peer {
    /// Peers of ZMTP 3.0 know no PING. Over ipc the system tells when a process has ended, so there it has to be asked for.
    pub(super) fn begin_heartbeat(&mut self, version: (u8, u8), now: Instant) {
        if version < (3, 1) {
            return;
        }
        let options = &self.socket.options;
        let interval = match options.heartbeat {
            Some(interval) => interval,
            None if matches!(*self.endpoint, Endpoint::Tcp { .. }) => HEARTBEAT_INTERVAL,
            None => Duration::ZERO,
        };
        if interval.is_zero() {
            self.heartbeat = Some(Heartbeat::unwatched(now));
            return;
        }
        let timeout = options.heartbeat_timeout.unwrap_or(2 * interval);
        let finished = self.drainer.as_ref().map_or(0, |drainer| drainer.finished());
        self.heartbeat = Some(Heartbeat::new(interval, timeout, finished, now));
        self.beat_due = Some(now + interval);
    }

    pub(super) fn stop_heartbeat(&mut self) {
        self.heartbeat = None;
        self.beat_due = None;
    }

    /// Looks whether the peer has to be asked for a sign of life, or has given none for too long. Returns whether there is
    /// something to write.
    pub(super) fn beat(&mut self, now: Instant) -> Result<bool, Reason> {
        let (Some(heartbeat), Some(connection), Some(drainer)) =
            (&mut self.heartbeat, &self.connection, &mut self.drainer)
        else {
            return Ok(false);
        };
        if self.closing.is_some() || !matches!(connection.stage, Stage::Traffic(_)) {
            self.beat_due = None;
            return Ok(false);
        }
        let condition = Condition {
            received: connection.received,
            paused: connection.paused,
            owing: !drainer.owes_nothing(),
            finished: drainer.finished(),
            waiting: drainer.waiting() + u64::from(self.telling.is_underway()),
        };
        if self.beat_due.is_some_and(|due| due + LATE < now) {
            // This thread had no turn when it was time: what the peer has sent may not have been read yet.
            heartbeat.start_over(now);
        }
        let beat = heartbeat.beat(now, condition);
        self.beat_due = match beat {
            Beat::Wait(until) => Some(until),
            Beat::Rest => None,
            Beat::Ask(_) => Some(now),
            Beat::GiveUp(silence) => return Err(Reason::HeartbeatTimeout(silence)),
        };
        let Beat::Ask(context) = beat else {
            return Ok(false);
        };
        let mut ping = Vec::with_capacity(32);
        match self.telling.question() {
            Some(question) => command::ping(0, question.as_ref(), &mut ping),
            None => command::ping(0, &context, &mut ping),
        }
        drainer.owe(&ping);
        Ok(true)
    }
}

/// A thread that comes so late was stopped, or had no processor.
const LATE: Duration = Duration::from_millis(250);
/// How long a tcp connection may be silent before the peer is asked.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
