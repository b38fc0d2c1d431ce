//! How two sockets are brought together: the pipes between them, and what their monitors are told.

use std::sync::Arc;

use super::consequences::Consequences;
use super::names::Connector;
use crate::mailbox::{ReceivePipe, SendPipe, SocketLink, ToSocket};
use crate::message::Message;
use crate::monitor::{Event, Reason, Trail};
use crate::peer_id::PeerId;
use crate::pipe::PipeId;
use crate::pipe::inbound::{self, Writer};
use crate::pipe::inbox::{Inbox, Ready, Relay};
use crate::pipe::latest;
use crate::pipe::recycle::Spares;

/// A connector with a pipe of its own for what it sends, if it is of a type whose messages wait for a peer.
pub(super) fn new_connector(
    socket: &Arc<SocketLink>,
    pipe: PipeId,
    address: &str,
    name: Option<PeerId>,
    then: &mut Consequences<'_>,
) -> Connector {
    let inbox = socket.send.as_ref().filter(|_| !socket.has_passing_pipes());
    let sends = inbox.map(|inbox| {
        let relay = Arc::new(Relay::default());
        let (writer, reader) = pipe_between(socket, pipe, inbox, relay.clone(), socket.options.conflate);
        then.post(inbox, ToSocket::Send(writer, None));
        (reader, relay)
    });
    Connector {
        socket: socket.clone(),
        pipe,
        sends,
        name,
        refused: false,
        trail: begin_trail(socket, address, then),
    }
}

/// Begins to tell of a connection that a socket wants.
fn begin_trail(socket: &SocketLink, address: &str, then: &mut Consequences<'_>) -> Trail {
    let endpoint = format!("inproc://{address}");
    let trail = Trail::new(then.registry.next_id(), endpoint.clone(), String::new(), endpoint);
    then.report(socket, &trail, |connection| Event::Connecting { connection });
    trail
}

/// The two sides of a connection that comes about, as the binder's monitors and the connector's are told.
pub(super) fn meet(binder: &SocketLink, connector: &Connector, address: &str) -> (Trail, Trail) {
    let endpoint = || format!("inproc://{address}");
    let mut of_binder = Trail::new(connector.trail.id(), endpoint(), endpoint(), endpoint());
    let mut of_connector = connector.trail.clone();
    of_connector.connected(endpoint(), endpoint());
    of_binder.introduced(Some(connector.socket.socket_type), None);
    of_connector.introduced(Some(binder.socket_type), None);
    (of_binder, of_connector)
}

pub(super) fn report_meeting(
    binder: &SocketLink,
    connector: &SocketLink,
    trails: &(Trail, Trail),
    then: &mut Consequences<'_>,
) {
    then.report(binder, &trails.0, |connection| Event::Accepted { connection });
    then.report(connector, &trails.1, |connection| Event::Connected { connection });
}

pub(super) fn release(router: &SocketLink, name: &PeerId, pipe: PipeId) {
    router.identities().release(name, |holder| holder.pipe == pipe);
}

pub(super) fn identity(socket: &SocketLink) -> Option<PeerId> {
    PeerId::new(socket.options.identity.clone()).ok()
}

/// Tells both sides' monitors that a connection was not made, once. The connector goes on waiting, for another connection.
pub(super) fn refuse(
    binder: &SocketLink,
    connector: &mut Connector,
    address: &str,
    trails: &(Trail, Trail),
    reason: Reason,
    then: &mut Consequences<'_>,
) {
    if std::mem::replace(&mut connector.refused, true) {
        return;
    }
    for (link, trail) in [(binder, &trails.0), (&connector.socket, &trails.1)] {
        let reason = reason.clone();
        then.report(link, trail, |connection| Event::HandshakeFailed {
            connection,
            reason,
        });
    }
    connector.trail = begin_trail(&connector.socket, address, then);
}

/// Makes a way for messages from one socket to another, if there is to be one, and gives the sending socket its end.
/// `name` is what a ROUTER that sends calls the receiver.
pub(super) fn carry(
    from: &Arc<SocketLink>,
    to: &Arc<SocketLink>,
    pipe: PipeId,
    name: Option<PeerId>,
    then: &mut Consequences<'_>,
) -> Option<ReceivePipe> {
    let receive = to.receive.clone()?;
    if from.socket_type.is_subscriber() {
        return carry_subscriptions(from, pipe, receive, then);
    }
    let send = from.send.as_ref()?;
    let conflate = from.options.conflate || to.options.conflate;
    let (writer, reader) = pipe_between(from, pipe, send, receive, conflate);
    // Before the sender has its end: it looks then, and is not told again.
    reader.attach();
    then.post(send, ToSocket::Send(writer, name));
    Some(reader)
}

/// A pipe out of a socket, with what the peer is to get before anything else.
fn pipe_between(
    from: &SocketLink,
    pipe: PipeId,
    send: &Arc<Inbox<ToSocket>>,
    receive: Arc<dyn Ready>,
    conflate: bool,
) -> (SendPipe, ReceivePipe) {
    if conflate {
        let (writer, reader) = latest::pipe(pipe, send.clone(), receive);
        return (SendPipe::Latest(writer), ReceivePipe::Latest(reader));
    }
    let (mut writer, mut reader) = inbound::pipe::<Message>(
        pipe,
        from.options.send_hwm,
        &from.message_pool,
        send.clone(),
        receive,
    );
    reader.announce_each();
    greet(from, &mut writer);
    (SendPipe::Inproc(writer), ReceivePipe::Inproc(reader))
}

/// Subscriptions go to a publisher of the same context as messages, and are never too many: they are the memory of the
/// subscriber itself.
fn carry_subscriptions(
    from: &Arc<SocketLink>,
    pipe: PipeId,
    receive: Arc<Inbox<ToSocket>>,
    then: &mut Consequences<'_>,
) -> Option<ReceivePipe> {
    let owner = from.receive.clone()?;
    let (mut writer, reader) = inbound::pipe::<Message>(
        pipe,
        u64::MAX,
        &from.message_pool,
        owner,
        receive as Arc<dyn Ready>,
    );
    let mut wanted = from.wanted();
    let mut spares = Spares::new(from.message_pool.clone());
    for topic in wanted.interests.topics() {
        writer.push(subscription(true, topic), &mut spares);
    }
    then.ends.extend(wanted.end_local(Writer::is_abandoned));
    wanted.local.push(writer);
    Some(ReceivePipe::Inproc(reader))
}

/// A subscription, or the end of one, as a message (ZeroMQ RFC 29).
pub(crate) fn subscription(wanted: bool, topic: &[u8]) -> Message {
    let mut body = Vec::with_capacity(1 + topic.len());
    body.push(wanted.into());
    body.extend_from_slice(topic);
    Message::from(body)
}

/// Puts in what a peer is to get before anything else.
fn greet(from: &SocketLink, writer: &mut Writer<Message>) {
    let mut spares = Spares::new(from.message_pool.clone());
    if from.options.probe {
        writer.push(Message::new(), &mut spares);
    }
    if let Some(welcome) = &from.options.welcome {
        writer.push(welcome.clone(), &mut spares);
    }
}

impl ReceivePipe {
    /// Takes note that the reader has found its socket, for a caller that tells the writer.
    pub(super) fn attach(&self) {
        match self {
            ReceivePipe::Wire(_) => {}
            ReceivePipe::Inproc(reader) => reader.attach(),
            ReceivePipe::Latest(reader) => reader.attach_quietly(),
        }
    }
}

/// Messages in a pipe that nobody reads yet.
pub(super) fn waiting(pipe: &ReceivePipe) -> u64 {
    match pipe {
        ReceivePipe::Wire(_) => 0,
        ReceivePipe::Inproc(pipe) => {
            let (messages, taken) = pipe.counts();
            messages - taken
        }
        ReceivePipe::Latest(pipe) => pipe.counts().waiting(),
    }
}
