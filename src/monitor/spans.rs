//! How events look in `tracing`: a span for each connection, and an event for each event, all with the target `zerowire`.
//!
//! | level | what |
//! | --- | --- |
//! | debug | listeners, attempts to connect, connections coming in, subscriptions |
//! | info | handshakes, ordinary ends; the spans |
//! | warn | failures, slow peers, duplicate identities |

use tracing::field::{Empty, display};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};

use super::reports::Trail;
use super::{Connection, Event};
use crate::wire::socket_type::SocketType;

/// Whether it may be worth while to make an event.
pub(super) fn is_anybody_there() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}

/// Records an event. Runs code of the application's subscriber.
pub(super) fn tell(socket_type: SocketType, event: &Event, trail: Option<&Trail>) {
    let connection = event.connection();
    let span = match (trail, connection) {
        (Some(trail), Some(connection)) => Some(span(trail, connection, socket_type, event)),
        _ => None,
    };
    let parent = span.and_then(Span::id);
    let topic = match event {
        Event::Subscription { topic, .. } => Some(display(topic.escape_ascii())),
        _ => None,
    };
    // A level has to be known when the program is compiled.
    macro_rules! record {
        ($level:ident) => {
            tracing::event!(
                target: "zerowire",
                parent: parent,
                Level::$level,
                event = name(event),
                socket_type = %socket_type,
                endpoint = event.endpoint(),
                connection = connection.map(|it| it.id.as_u64()),
                local = connection.map(|it| it.local.as_str()).filter(|it| !it.is_empty()),
                remote = connection.map(|it| it.remote.as_str()),
                peer_type = connection.and_then(|it| it.peer_type).map(display),
                peer = connection.and_then(|it| it.peer.as_ref()).map(display),
                reason = event.reason().map(display),
                topic,
                "{event}"
            )
        };
    }
    match level(event) {
        Level::WARN => record!(WARN),
        Level::INFO => record!(INFO),
        _ => record!(DEBUG),
    }
}

/// The span of a connection, made at its first event, with what is known by now. It ends when the connection is forgotten.
fn span<'a>(trail: &'a Trail, connection: &Connection, socket_type: SocketType, event: &Event) -> &'a Span {
    let span = trail.span.get_or_init(|| {
        tracing::info_span!(
            target: "zerowire",
            parent: None,
            "connection",
            socket_type = %socket_type,
            connection = connection.id.as_u64(),
            endpoint = connection.endpoint,
            remote = connection.remote,
            local = Empty,
            peer_type = Empty,
            peer = Empty,
        )
    });
    match event {
        Event::Accepted { .. } | Event::Connected { .. } => {
            span.record("local", connection.local.as_str());
        }
        Event::HandshakeSucceeded { .. } => {
            if let Some(peer_type) = connection.peer_type {
                span.record("peer_type", display(peer_type));
            }
            if let Some(peer) = &connection.peer {
                span.record("peer", display(peer));
            }
        }
        _ => {}
    }
    span
}

fn level(event: &Event) -> Level {
    match event {
        Event::Listening { .. }
        | Event::Accepted { .. }
        | Event::Connecting { .. }
        | Event::Connected { .. }
        | Event::Retrying { .. }
        | Event::Subscription { .. }
        | Event::ListenerClosed { .. }
        | Event::Closed
        | Event::Missed { .. } => Level::DEBUG,
        Event::HandshakeSucceeded { .. } => Level::INFO,
        Event::AcceptFailed { .. } | Event::SlowPeer { .. } | Event::DuplicateIdentity { .. } => Level::WARN,
        Event::ConnectFailed { reason, .. }
        | Event::HandshakeFailed { reason, .. }
        | Event::Disconnected { reason, .. } => match reason.is_ordinary() {
            true => Level::INFO,
            false => Level::WARN,
        },
    }
}

fn name(event: &Event) -> &'static str {
    match event {
        Event::Listening { .. } => "listening",
        Event::Accepted { .. } => "accepted",
        Event::AcceptFailed { .. } => "accept_failed",
        Event::Connecting { .. } => "connecting",
        Event::Connected { .. } => "connected",
        Event::ConnectFailed { .. } => "connect_failed",
        Event::Retrying { .. } => "retrying",
        Event::HandshakeSucceeded { .. } => "handshake_succeeded",
        Event::HandshakeFailed { .. } => "handshake_failed",
        Event::DuplicateIdentity { .. } => "duplicate_identity",
        Event::Subscription { .. } => "subscription",
        Event::SlowPeer { .. } => "slow_peer",
        Event::Disconnected { .. } => "disconnected",
        Event::ListenerClosed { .. } => "listener_closed",
        Event::Closed => "closed",
        Event::Missed { .. } => "missed",
    }
}
