//! The whole control talk between threads. What is not here is carried by pipes.

use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use crate::endpoint::Endpoint;
use crate::message::Message;
use crate::monitor::{Monitors, Reason, Trail};
use crate::options::Options;
use crate::peer_id::PeerId;
use crate::pipe::inbound::{self, Reader, Writer};
use crate::pipe::inbox::{Inbox, Ready};
use crate::pipe::latest;
use crate::pipe::outbound::{self, Drainer, Sender};
use crate::pipe::quota::Quota;
use crate::pipe::recycle::{Pool, Sizes};
use crate::pipe::sync::{AtomicBool, HomeMutex, Ordering};
use crate::pipe::{PipeId, WriteSide};
use crate::routing::identities::Identities;
use crate::routing::interests::Interests;
use crate::stats::Undelivered;
use crate::transport::{Listener, Stream};
use crate::wire::socket_type::SocketType;

/// What an application thread, or another I/O thread, tells an I/O thread.
pub(crate) enum ToReactor {
    /// Accept connections for the socket.
    Listen {
        socket: Arc<SocketLink>,
        listener: Listener,
        endpoint: Endpoint,
    },
    /// Stop accepting; answered when the address is free again.
    Unlisten {
        socket: SocketId,
        endpoint: Endpoint,
        done: SyncSender<()>,
    },
    /// Keep a connection to the endpoint, for as long as the pipe is not closed.
    Dial(Box<Dial>),
    /// Close the dialed pipe with linger.
    Undial { pipe: PipeId },
    /// End everything by then, and say what was left.
    Shutdown {
        until: Instant,
        report: mpsc::Sender<Undelivered>,
    },
    /// Close the dialed pipe at once, for this reason: nobody wants what is in it.
    Forget { pipe: PipeId, reason: Reason },
    /// End the pipe's connection, if this thread has it. A dialed one will be dialed again.
    Abort { pipe: PipeId, reason: Reason },
    /// A newcomer claims the name of this pipe's peer: is it still alive?
    Challenge { pipe: PipeId, newcomer: Newcomer },
    /// What came of the challenge of this newcomer.
    Challenged { newcomer: PipeId, name_is_free: bool },
    /// A connection that another I/O thread accepted.
    Adopt {
        socket: Arc<SocketLink>,
        stream: Stream,
        endpoint: Arc<Endpoint>,
        trail: Trail,
    },
    /// The application dropped the socket: close its listeners, let its connections linger.
    CloseSocket { socket: SocketId },
    /// The resolver answered.
    Resolved {
        pipe: PipeId,
        result: std::io::Result<Vec<std::net::SocketAddr>>,
    },
    /// The context is gone: end when nothing lingers any more.
    Stop,
    /// Panic, as nothing should: in the turn of each peer, or out of all turns.
    #[cfg(test)]
    Fail { each_peer: bool },
}

/// A connection to be kept.
pub(crate) struct Dial {
    /// Names the connection for [`ToReactor::Undial`]; also the name of its pipes, if it has them from the start.
    pub(crate) pipe: PipeId,
    pub(crate) socket: Arc<SocketLink>,
    pub(crate) endpoint: Endpoint,
    /// The I/O side's ends of the pipes, for sockets that let messages wait for a connection. Others get pipes with each
    /// connection.
    pub(crate) pipes: Option<WireEnds>,
    /// What a ROUTER calls the peer, whatever it says its identity is.
    pub(crate) name: Option<PeerId>,
}

/// The I/O side's ends of a peer's pipes.
pub(crate) struct WireEnds {
    pub(crate) drainer: Drainer,
    /// For sockets that are sent something.
    pub(crate) inbound: Option<Writer<u8>>,
    /// For sockets that conflate what they send: the newest message, and the way into the pipe that is drained.
    pub(crate) newest_out: Option<(latest::Reader<Message>, Sender)>,
    /// For sockets that conflate what they receive: the way out of the pipe that is written, and the newest message.
    pub(crate) newest_in: Option<(Reader<u8>, latest::Writer<Message>)>,
}

/// A peer whose name is taken, and which waits to hear whether it is free after all.
pub(crate) struct Newcomer {
    pub(crate) pipe: PipeId,
    pub(crate) reactor: Arc<Inbox<ToReactor>>,
}

/// What a socket half is told.
pub(crate) enum ToSocket {
    /// A peer to send to, with the name that a ROUTER has for it.
    Send(SendPipe, Option<PeerId>),
    /// A peer to receive from, likewise.
    Receive(ReceivePipe, Option<PeerId>),
    /// The application disconnected the pipe.
    Detach(PipeId),
    /// The other side of this pipe, in the same context, has gone and takes nothing more. For halves that send.
    Gone(PipeId),
    /// The pipe's connection was lost when so many messages were finished; it will be made again. What came over it was
    /// handed over before. For sockets that wait for answers.
    Lost { pipe: PipeId, finished: u64 },
    /// Nothing will come or go any more, for this reason.
    Over(Over),
}

impl ToSocket {
    /// What a half need not be told: of peers that came and are gone already, unless they have left messages; of connections
    /// that a pipe had before the last one that it lost; and twice that a pipe is ready.
    fn sweep(items: &mut Vec<ToSocket>, ready: &mut Vec<PipeId>) -> Vec<ToSocket> {
        ToSocket::sweep_if(items, ready, ReceivePipe::is_over)
    }

    /// As [`sweep`](Self::sweep), with what the peers have left.
    fn sweep_with_content(items: &mut Vec<ToSocket>, ready: &mut Vec<PipeId>) -> Vec<ToSocket> {
        ToSocket::sweep_if(items, ready, |pipe| pipe.has_ended())
    }

    fn sweep_if(
        items: &mut Vec<ToSocket>,
        ready: &mut Vec<PipeId>,
        is_over: impl Fn(&mut ReceivePipe) -> bool,
    ) -> Vec<ToSocket> {
        let mut gone = HashSet::new();
        for item in items.iter_mut() {
            let (id, is_gone) = match item {
                ToSocket::Send(pipe, _) => (pipe.id(), pipe.is_gone()),
                ToSocket::Receive(pipe, _) => (pipe.id(), is_over(pipe)),
                _ => continue,
            };
            if is_gone {
                gone.insert(id);
            }
        }
        // By the last one as much was finished as by those before it.
        let last_lost: HashMap<PipeId, u64> = items
            .iter()
            .filter_map(|item| match item {
                ToSocket::Lost { pipe, finished } => Some((*pipe, *finished)),
                _ => None,
            })
            .collect();
        let mut seen = HashSet::new();
        let is_void = |item: &ToSocket| match item {
            ToSocket::Send(pipe, _) => gone.contains(&pipe.id()),
            ToSocket::Receive(pipe, _) => gone.contains(&pipe.id()),
            ToSocket::Detach(id) | ToSocket::Gone(id) => gone.contains(id),
            ToSocket::Lost { pipe, finished } => {
                gone.contains(pipe) || last_lost.get(pipe) != Some(finished) || !seen.insert(*pipe)
            }
            ToSocket::Over(_) => false,
        };
        let (void, left) = std::mem::take(items).into_iter().partition(is_void);
        *items = left;
        let mut seen = HashSet::new();
        ready.retain(|id| !gone.contains(id) && seen.insert(*id));
        void
    }
}

/// Why a socket has no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The I/O thread failed.
    IoThreadDied,
    /// The application shut the context down.
    Closed,
    /// This process is a child that was forked off: its I/O threads and its peers are the parent's.
    Forked,
}

/// The application's end of a way out.
pub(crate) enum SendPipe {
    Wire(Sender),
    Inproc(Writer<Message>),
    Latest(latest::Writer<Message>),
}

/// The application's end of a way in.
pub(crate) enum ReceivePipe {
    Wire(Reader<u8>),
    Inproc(Reader<Message>),
    Latest(latest::Reader<Message>),
}

impl SendPipe {
    pub(crate) fn id(&self) -> PipeId {
        match self {
            SendPipe::Wire(pipe) => pipe.id(),
            SendPipe::Inproc(pipe) => pipe.id(),
            SendPipe::Latest(pipe) => pipe.id(),
        }
    }

    /// Whether the other side takes nothing more out of it.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            SendPipe::Wire(pipe) => pipe.is_ended(),
            SendPipe::Inproc(pipe) => pipe.is_abandoned(),
            SendPipe::Latest(pipe) => pipe.is_abandoned(),
        }
    }
}

impl ReceivePipe {
    pub(crate) fn id(&self) -> PipeId {
        match self {
            ReceivePipe::Wire(pipe) => pipe.id(),
            ReceivePipe::Inproc(pipe) => pipe.id(),
            ReceivePipe::Latest(pipe) => pipe.id(),
        }
    }

    /// Whether nothing is in it, and nothing will come any more.
    fn is_over(&mut self) -> bool {
        match self {
            ReceivePipe::Wire(pipe) => pipe.is_over(),
            ReceivePipe::Inproc(pipe) => pipe.is_over(),
            ReceivePipe::Latest(pipe) => pipe.is_over(),
        }
    }

    /// Whether nothing will come any more.
    fn has_ended(&self) -> bool {
        match self {
            ReceivePipe::Wire(pipe) => pipe.has_ended(),
            ReceivePipe::Inproc(pipe) => pipe.has_ended(),
            ReceivePipe::Latest(pipe) => pipe.has_ended(),
        }
    }
}

pub(crate) type SocketId = u64;

/// What others know of a socket: everything needed to attach a peer to it.
pub(crate) struct SocketLink {
    pub(crate) id: SocketId,
    pub(crate) socket_type: SocketType,
    pub(crate) options: Options,
    /// Inbox of the half that sends, for types that do.
    pub(crate) send: Option<Arc<Inbox<ToSocket>>>,
    /// Inbox of the half that receives, for types that do, be it only subscriptions.
    pub(crate) receive: Option<Arc<Inbox<ToSocket>>>,
    /// Where the segments of this socket's outbound chains come back to.
    pub(crate) byte_pool: crate::pipe::sync::Arc<Pool<u8>>,
    pub(crate) message_pool: crate::pipe::sync::Arc<Pool<Message>>,
    pub(crate) monitors: Monitors,
    identities: HomeMutex<Identities<Holder>>,
    interests: HomeMutex<Wanted>,
    /// The only peer of a PAIR.
    partner: HomeMutex<Option<PipeId>>,
    neighbours: Box<dyn Neighbours>,
    /// The application dropped the socket. Written once; who attaches a peer afterwards drops it again.
    closed: AtomicBool,
}

/// The peers that a socket has, or may get, inside its context, as its I/O threads have to know them.
pub(crate) trait Neighbours: Send + Sync {
    /// The place of a PAIR's peer is free, or a name that a ROUTER gave: somebody may wait for it.
    fn on_vacancy(&self);

    /// A newcomer took the name of the peer with this pipe.
    fn push_out(&self, pipe: PipeId);
}

/// Who has a name.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) pipe: PipeId,
    /// The I/O thread that has the connection; none for inproc.
    pub(crate) reactor: Option<Arc<Inbox<ToReactor>>>,
}

/// What a subscriber wants, and who has to know it.
#[derive(Default)]
pub(crate) struct Wanted {
    pub(crate) interests: Interests,
    /// Connections, whose I/O threads are told to look at `interests`.
    pub(crate) connections: Vec<Holder>,
    /// Publishers in this context, which get each change as a message at once.
    pub(crate) local: Vec<Writer<Message>>,
}

impl Wanted {
    /// Takes the ways to some publishers of this context out, to be dropped without the lock: that wakes the publishers.
    #[must_use]
    pub(crate) fn end_local(&mut self, ends: impl Fn(&Writer<Message>) -> bool) -> Vec<Writer<Message>> {
        let (ended, kept) = std::mem::take(&mut self.local).into_iter().partition(ends);
        self.local = kept;
        ended
    }
}

/// A pool for chains of bytes, which charge what they hold if there is a ceiling.
pub(crate) fn byte_pool(sizes: Sizes, quota: Option<&Arc<Quota>>) -> crate::pipe::sync::Arc<Pool<u8>> {
    match quota {
        None => Pool::new(sizes),
        Some(quota) => Pool::charging(sizes, quota.clone(), |_| 0),
    }
}

impl SocketLink {
    pub(crate) fn new(
        id: SocketId,
        socket_type: SocketType,
        options: Options,
        quota: Option<&Arc<Quota>>,
        neighbours: Box<dyn Neighbours>,
    ) -> SocketLink {
        let receives = socket_type.receives() || socket_type.is_publisher();
        // What a peer has subscribed to means nothing when it is gone, unless somebody receives it.
        let sweep = match socket_type {
            SocketType::Pub => ToSocket::sweep_with_content,
            _ => ToSocket::sweep,
        };
        SocketLink {
            neighbours,
            id,
            socket_type,
            options,
            send: socket_type
                .sends()
                .then(|| Arc::new(Inbox::sweeping(ToSocket::sweep))),
            receive: receives.then(|| Arc::new(Inbox::sweeping(sweep))),
            byte_pool: byte_pool(crate::pipe::BYTE_SIZES, quota),
            message_pool: match quota {
                None => Pool::new(crate::pipe::MESSAGE_SIZES),
                Some(quota) => Pool::charging(crate::pipe::MESSAGE_SIZES, quota.clone(), Message::heap_bytes),
            },
            monitors: Monitors::new(socket_type),
            identities: HomeMutex::default(),
            interests: HomeMutex::default(),
            partner: HomeMutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Makes the pipes of a peer at the other end of a connection, and gives the socket its ends, the sending half first.
    /// `side` is the connection, if there is one already, so that the halves find it.
    pub(crate) fn attach_wire(
        &self,
        pipe: PipeId,
        name: Option<&PeerId>,
        io: &Arc<dyn Ready>,
        io_pool: &crate::pipe::sync::Arc<Pool<u8>>,
        side: Option<Arc<dyn WriteSide>>,
    ) -> Option<WireEnds> {
        let conflate = self.options.conflate;
        // A socket that sends nothing has a way out all the same: for the commands of the protocol.
        let send = if conflate { None } else { self.send.clone() };
        let news: Arc<dyn Ready> = match (send, &self.receive) {
            (Some(inbox), _) => inbox,
            _ if conflate => io.clone(),
            (None, Some(inbox)) => inbox.clone(),
            (None, None) => return None,
        };
        let (sender, mut drainer) =
            outbound::pipe(pipe, self.options.send_hwm, &self.byte_pool, news, io.clone());
        let is_connected = side.is_some();
        if let Some(side) = side {
            drainer.connect(side);
        }
        let mut ends = WireEnds {
            drainer,
            inbound: None,
            newest_out: None,
            newest_in: None,
        };
        if let Some(inbox) = &self.send {
            let app_end = if conflate {
                let (newest, reader) = latest::pipe(pipe, inbox.clone(), io.clone());
                if is_connected {
                    reader.attach_quietly();
                }
                ends.newest_out = Some((reader, sender));
                SendPipe::Latest(newest)
            } else {
                SendPipe::Wire(sender)
            };
            inbox.post(ToSocket::Send(app_end, name.cloned()));
        }
        if let Some(inbox) = &self.receive {
            let hwm = self.options.receive_hwm;
            // Subscriptions are no messages: a publisher that conflates hears them all.
            let app_end = if conflate && self.socket_type.receives() {
                let (writer, reader) = inbound::pipe(pipe, hwm, io_pool, io.clone(), io.clone());
                let (newest_writer, newest) = latest::pipe(pipe, io.clone(), inbox.clone());
                ends.inbound = Some(writer);
                ends.newest_in = Some((reader, newest_writer));
                ReceivePipe::Latest(newest)
            } else {
                let (writer, reader) = inbound::pipe(pipe, hwm, io_pool, io.clone(), inbox.clone());
                ends.inbound = Some(writer);
                ReceivePipe::Wire(reader)
            };
            inbox.post(ToSocket::Receive(app_end, name.cloned()));
        }
        Some(ends)
    }

    /// The names of a ROUTER's peers.
    pub(crate) fn identities(&self) -> MutexGuard<'_, Identities<Holder>> {
        self.identities.lock()
    }

    /// What a SUB or XSUB wants.
    pub(crate) fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.interests.lock()
    }

    /// See the trait. Not to be called with a lock held.
    pub(crate) fn neighbours(&self) -> &dyn Neighbours {
        &*self.neighbours
    }

    /// Makes this pipe's peer the one that a PAIR has. Always true for other types.
    pub(crate) fn pair_with(&self, pipe: PipeId) -> bool {
        if self.socket_type != SocketType::Pair {
            return true;
        }
        let mut partner = self.partner.lock();
        *partner.get_or_insert(pipe) == pipe
    }

    /// Lets a PAIR have another peer, if this was its one.
    pub(crate) fn part_from(&self, pipe: PipeId) {
        let mut partner = self.partner.lock();
        if *partner == Some(pipe) {
            *partner = None;
        }
    }

    /// Whether pipes to a peer exist only while it is connected: what is said to such a peer means nothing to another one,
    /// or to the same one after it came back.
    pub(crate) fn has_passing_pipes(&self) -> bool {
        self.socket_type.has_passing_pipes()
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipe::recycle::Spares;

    /// A way in with so many messages in it, and its other end.
    fn way_in(id: PipeId, messages: u32) -> (ToSocket, Writer<Message>) {
        let pool = Pool::new(crate::pipe::MESSAGE_SIZES);
        let nobody = Arc::new(Inbox::<()>::new());
        let (mut writer, reader) = inbound::pipe(id, 10, &pool, nobody.clone(), nobody);
        let mut spares = Spares::new(pool);
        (0..messages).for_each(|_| writer.push(Message::from("left"), &mut spares));
        (ToSocket::Receive(ReceivePipe::Inproc(reader), None), writer)
    }

    fn ids(items: &[ToSocket]) -> Vec<(char, PipeId)> {
        let id = |item: &ToSocket| match item {
            ToSocket::Send(pipe, _) => ('s', pipe.id()),
            ToSocket::Receive(pipe, _) => ('r', pipe.id()),
            ToSocket::Detach(id) => ('d', *id),
            ToSocket::Gone(id) => ('g', *id),
            ToSocket::Lost { pipe, .. } => ('l', *pipe),
            ToSocket::Over(_) => ('o', 0),
        };
        items.iter().map(id).collect()
    }

    /// Pipe 1 is alive; 2 has ended; 3 has ended and left a message; 4 was seen before.
    fn unseen() -> (Vec<ToSocket>, Vec<PipeId>, Writer<Message>) {
        let [(first, alive), (second, ended), (third, left)] =
            [(1, 0), (2, 0), (3, 1)].map(|(id, n)| way_in(id, n));
        drop((ended, left));
        let lost = ToSocket::Lost { pipe: 2, finished: 0 };
        let items = vec![
            first,
            second,
            third,
            lost,
            ToSocket::Detach(2),
            ToSocket::Detach(4),
            ToSocket::Over(Over::Closed),
        ];
        (items, vec![1, 2, 4, 3, 1, 4], alive)
    }

    #[test]
    fn what_nobody_has_to_know_any_more_is_swept_out() {
        let (mut items, mut ready, alive) = unseen();
        let void = ToSocket::sweep(&mut items, &mut ready);
        assert_eq!(ids(&void), [('r', 2), ('l', 2), ('d', 2)]);
        assert_eq!(ids(&items), [('r', 1), ('r', 3), ('d', 4), ('o', 0)]);
        assert_eq!(ready, [1, 4, 3]);
        // The peer that is there learns of nothing.
        assert!(!alive.is_abandoned());
    }

    #[test]
    fn what_peers_left_is_swept_out_if_it_means_nothing() {
        let (mut items, mut ready, _alive) = unseen();
        let void = ToSocket::sweep_with_content(&mut items, &mut ready);
        assert_eq!(ids(&void), [('r', 2), ('r', 3), ('l', 2), ('d', 2)]);
        assert_eq!(ready, [1, 4]);
    }

    #[test]
    fn who_sends_is_not_told_of_peers_that_are_gone() {
        let pool = Pool::new(crate::pipe::MESSAGE_SIZES);
        let nobody = Arc::new(Inbox::<()>::new());
        let (mut items, mut readers) = (Vec::new(), Vec::new());
        for id in 1..=2 {
            let (writer, reader) = inbound::pipe(id, 10, &pool, nobody.clone(), nobody.clone());
            items.push(ToSocket::Send(SendPipe::Inproc(writer), None));
            readers.push(reader);
        }
        items.push(ToSocket::Gone(1));
        drop(readers.remove(0));
        let void = ToSocket::sweep(&mut items, &mut Vec::new());
        assert_eq!(
            (ids(&void), ids(&items)),
            (vec![('s', 1), ('g', 1)], vec![('s', 2)])
        );
    }

    /// One who waits for no answer is connected to a peer that comes and goes.
    #[test]
    fn of_the_connections_that_a_pipe_lost_the_last_one_is_told() {
        let (alive, _writer) = way_in(1, 0);
        let lost = |pipe, finished| ToSocket::Lost { pipe, finished };
        let mut items = vec![alive, lost(1, 0), lost(4, 7), lost(1, 3), lost(1, 3), lost(4, 7)];
        ToSocket::sweep(&mut items, &mut Vec::new());
        assert_eq!(ids(&items), [('r', 1), ('l', 4), ('l', 1)]);
        assert!(matches!(items[2], ToSocket::Lost { finished: 3, .. }));
    }

    #[test]
    fn an_inbox_that_nobody_reads_is_swept_when_it_has_grown() {
        let inbox = Inbox::sweeping(ToSocket::sweep);
        for id in 0..100_000 {
            inbox.post(way_in(id, 0).0);
            // The same pipe, again and again.
            inbox.ready(100_000);
        }
        let (mut items, mut ready) = (Vec::new(), Vec::new());
        inbox.take(&mut items, &mut ready);
        assert!(
            items.len() + ready.len() < 1000,
            "{} items, {} ready",
            items.len(),
            ready.len()
        );
        assert!(ready.contains(&100_000));
    }
}
