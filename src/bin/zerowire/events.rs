//! What happens to connections, as JSON lines on standard error.

use std::collections::HashMap;
use std::thread::{self, JoinHandle};

use zerowire::{Event, Monitor, Stats};

use crate::failure::Failure;
use crate::json::Object;
use crate::output;

/// Tells all events on a thread that ends with the socket.
pub fn tell(monitor: Monitor) -> Result<JoinHandle<()>, Failure> {
    let thread = thread::Builder::new().name("events".into()).spawn(move || {
        let mut lines = Lines::default();
        for event in &monitor {
            if let Some(line) = lines.line(&event) {
                output::tell(&line.finish());
            }
        }
    })?;
    Ok(thread)
}

/// What became of a socket's messages.
pub fn of_stats(stats: &Stats) -> Object {
    let Stats { sent, received, .. } = stats;
    let dropped = Object::new()
        .number("full", sent.dropped.full)
        .number("peer_gone", sent.dropped.peer_gone)
        .number("linger_expired", sent.dropped.linger_expired)
        .number("unroutable", sent.dropped.unroutable)
        .number("replaced", sent.dropped.replaced);
    let discarded = Object::new()
        .number("filtered", received.discarded.filtered)
        .number("replaced", received.discarded.replaced)
        .number("unwanted", received.discarded.unwanted);
    let sent = Object::new()
        .number("peers", sent.peers as u64)
        .number("accepted", sent.accepted)
        .number("accepted_bytes", sent.accepted_bytes)
        .number("handed_over", sent.handed_over)
        .number("waiting", sent.waiting)
        .object("dropped", dropped)
        .number("full", sent.full);
    let received = Object::new()
        .number("peers", received.peers as u64)
        .number("received", received.received)
        .number("taken", received.taken)
        .number("taken_bytes", received.taken_bytes)
        .number("waiting", received.waiting)
        .object("discarded", discarded);
    Object::new().object("sent", sent).object("received", received)
}

/// Makes lines of events.
#[derive(Default)]
struct Lines {
    /// Why connecting failed last, by endpoint: it is told with the retry that follows.
    failures: HashMap<String, String>,
}

impl Lines {
    /// The line of an event, if it has one: an attempt to connect is told by what comes of it, the end of a listener by that
    /// of the socket, and subscriptions are not about connections.
    fn line(&mut self, event: &Event) -> Option<Object> {
        let name = match event {
            Event::Listening { .. } => "listening",
            Event::Accepted { .. } => "accepted",
            Event::AcceptFailed { .. } => "accept_failed",
            Event::Connected { .. } => "connected",
            Event::Retrying { .. } => "retried",
            Event::HandshakeSucceeded { .. } => "handshake_succeeded",
            Event::HandshakeFailed { .. } => "handshake_failed",
            Event::DuplicateIdentity { .. } => "duplicate_identity",
            Event::SlowPeer { .. } => "slow_peer",
            Event::Disconnected { .. } => "disconnected",
            Event::Closed => "closed",
            Event::Missed { .. } => "missed",
            Event::ConnectFailed { connection, reason } => {
                self.failures
                    .insert(connection.endpoint.clone(), reason.to_string());
                return None;
            }
            _ => return None,
        };
        let mut line = Object::new().text("event", name);
        if let Some(endpoint) = event.endpoint() {
            line = line.text("endpoint", endpoint);
        }
        if let Some(connection) = event.connection() {
            line = line
                .number("connection", connection.id.as_u64())
                .text("peer", &connection.remote);
            if let Some(peer_type) = connection.peer_type {
                line = line.text("peer_type", &peer_type.to_string());
            }
            if let Some(identity) = &connection.peer {
                line = line.text("identity", &identity.as_bytes().escape_ascii().to_string());
            }
        }
        if let Some(reason) = event.reason() {
            line = line.text("reason", &reason.to_string());
        }
        Some(match event {
            Event::Retrying { endpoint, delay } => {
                let line = match self.failures.remove(endpoint) {
                    Some(reason) => line.text("reason", &reason),
                    None => line,
                };
                line.number("delay_ms", delay.as_millis() as u64)
            }
            Event::SlowPeer { waiting, .. } => line.number("waiting", *waiting),
            Event::DuplicateIdentity {
                identity, outcome, ..
            } => line
                .text("identity", &identity.as_bytes().escape_ascii().to_string())
                .text("reason", &outcome.to_string()),
            Event::Missed { count } => line.number("count", *count),
            _ => line,
        })
    }
}
