//! One connection: its stream, what was read and not handed over, and the protocol state.
//!
//! Bytes come in through one block that all connections of an I/O thread share:
//!
//! ```text
//!   large frame under way │ block:  rest of last time │ new bytes
//!   ┌───────────┬─────────┐       ┌────────────────────┬───────────────────────────┬ ─ ─ ─
//!   │ arrived   │ spare ◄─┼─ 1st ─┤                    │ ◄─ 2nd slice of the read  │
//!   └───────────┴─────────┘       └────────────────────┴───────────────────────────┴ ─ ─ ─
//!   after the walk:               │ whole frames, commands taken out │ tail │
//!                                   to the inbound pipe                └► rest, large frame, or backlog
//! ```
//!
//! The walk looks at frame headers only. What it keeps goes to the pipe: copied into the pipe's own segment if it is
//! little, by linking the whole block into the chain if it is much. It stops at the receive high-water mark; what is
//! beyond stays as the *rest* if it is little, and as the *backlog*, in the linked block, if it is much.

use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::engine::handshake::Handshake;
use crate::engine::heartbeat::Heartbeat;
use crate::engine::traffic::{Decoder, Item};
use crate::mailbox::SocketLink;
use crate::monitor::{Reason, Trail};
use crate::pipe::PipeId;
use crate::pipe::chain::Block;
use crate::pipe::inbound::Writer;
use crate::pipe::outbound::Drainer;
use crate::pipe::recycle::Spares;
use crate::reactor::peer::telling::Telling;
use crate::transport::Stream;
use crate::wire::command::{self, Command};
use crate::wire::error::{ProtocolError, printable};
use crate::wire::frame::{HEADER_BYTES_MAX, Header, encode_header};

pub(super) struct Connection {
    pub(super) stream: Arc<Stream>,
    /// What monitors are told of it.
    pub(super) trail: Trail,
    pub(super) stage: Stage,
    /// Readiness as the kernel last said; cleared by "would block" or a short read, because its edges come once.
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The peer has closed its side, or the connection failed: read to the end, whatever the high-water mark says.
    pub(super) read_closed: bool,
    /// Not reading: the application is at its high-water mark.
    pub(super) paused: bool,
    /// Bytes that have come.
    pub(super) received: u64,
    /// The connection takes nothing more, but what it still has for us is read to the end.
    pub(super) write_failure: Option<Reason>,
    /// Bytes that were read and not handed over: the start of a frame, or what came after the handshake or a pause.
    rest: Vec<u8>,
    /// The rest may hold whole frames.
    unwalked: bool,
    large: Option<Large>,
    /// Bytes of the linked block that were not walked: from, to, as offsets in the block.
    backlog: Option<(usize, usize)>,
}

pub(super) enum Stage {
    /// The kernel is connecting.
    Dialing,
    Handshake(Box<Handshake>),
    /// The peer has introduced itself, and it is not decided yet whether there is a place for it. Nothing is read.
    Introduced,
    Traffic(Decoder),
    /// Closing: everything is written and our side is shut; the peer is read to the end, so that no reset destroys what
    /// it has not read yet.
    Draining,
}

/// A frame with a buffer of its own, which grows with what has arrived.
struct Large {
    header: Header,
    body: Vec<u8>,
    filled: usize,
}

/// What the connection works with, lent by its I/O thread.
pub(super) struct Tools<'a> {
    pub(super) block: &'a mut Option<Block>,
    pub(super) spares: &'a mut Spares<u8>,
    /// The clock of this turn.
    pub(super) now: Instant,
}

/// Whom the peer talks to.
pub(super) struct Conversation<'a> {
    pub(super) socket: &'a SocketLink,
    pub(super) pipe: PipeId,
    pub(super) drainer: &'a mut Drainer,
    pub(super) telling: &'a mut Telling,
    pub(super) heartbeat: Option<&'a mut Heartbeat>,
}

/// How a turn of reading ended.
#[derive(Debug)]
pub(super) enum Read {
    /// Nothing more for now: the kernel is empty, or the application is at its high-water mark.
    Idle,
    /// The budget is used up.
    More,
    /// The connection has ended.
    Ended(Reason),
}

impl Connection {
    pub(super) fn new(stream: Stream, trail: Trail, stage: Stage) -> Connection {
        Connection {
            stream: Arc::new(stream),
            trail,
            stage,
            readable: true,
            writable: true,
            read_closed: false,
            paused: false,
            received: 0,
            write_failure: None,
            rest: Vec::new(),
            unwalked: false,
            large: None,
            backlog: None,
        }
    }

    /// Whether messages have flowed, or could have.
    pub(super) fn is_established(&self) -> bool {
        matches!(self.stage, Stage::Traffic(_) | Stage::Draining)
    }

    /// Reads handshake bytes. What follows the handshake stays as the rest.
    pub(super) fn read_handshake(
        &mut self,
        tools: &mut Tools<'_>,
    ) -> Result<Option<crate::engine::handshake::Peer>, Reason> {
        let Stage::Handshake(handshake) = &mut self.stage else {
            return Ok(None);
        };
        let block = tools.block.get_or_insert_with(|| Block::take(tools.spares));
        while self.readable {
            // Little at a time: what comes after the handshake is not ours yet.
            let buffer = &mut block.bytes()[..HANDSHAKE_READ_BYTES];
            let count = match self.stream.read_vectored(&mut [IoSliceMut::new(buffer)]) {
                Ok(0) => return Err(Reason::PeerClosed),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            self.received += count as u64;
            self.trail.meter.heard(self.received, tools.now);
            let progress = handshake.receive(&buffer[..count])?;
            if let Some(peer) = progress.peer {
                self.rest = buffer[progress.consumed..count].to_vec();
                self.unwalked = !self.rest.is_empty();
                return Ok(Some(peer));
            }
        }
        Ok(None)
    }

    /// Reads and throws away: the application has closed.
    pub(super) fn read_to_end(&mut self, tools: &mut Tools<'_>) -> Read {
        let block = tools.block.get_or_insert_with(|| Block::take(tools.spares));
        for _ in 0..READS_PER_TURN {
            match self.stream.read_vectored(&mut [IoSliceMut::new(block.bytes())]) {
                Ok(0) => return Read::Ended(Reason::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Read::Idle;
                }
                Err(error) => return Read::Ended(error.into()),
            }
        }
        Read::More
    }

    /// Reads messages into the pipe and answers commands, up to the high-water mark and a budget.
    pub(super) fn read_traffic(
        &mut self,
        inbound: &mut Option<Writer<u8>>,
        conversation: &mut Conversation<'_>,
        tools: &mut Tools<'_>,
    ) -> Read {
        let result = self.read_messages(inbound, conversation, tools);
        if let (Ok(Read::Idle), Some(pipe), Stage::Traffic(decoder)) = (&result, inbound, &self.stage) {
            if self.backlog.is_none() && !decoder.in_message() {
                pipe.chain().leave_block(tools.spares);
            }
        }
        result.unwrap_or_else(Read::Ended)
    }

    fn read_messages(
        &mut self,
        inbound: &mut Option<Writer<u8>>,
        conversation: &mut Conversation<'_>,
        tools: &mut Tools<'_>,
    ) -> Result<Read, Reason> {
        for _ in 0..READS_PER_TURN {
            if !self.make_room(inbound) {
                return Ok(Read::Idle);
            }
            if self.backlog.is_some() {
                self.walk_backlog(inbound, conversation)?;
                continue;
            }
            if !self.readable && !self.unwalked {
                return Ok(Read::Idle);
            }
            let mut block = tools.block.take().unwrap_or_else(|| Block::take(tools.spares));
            let unread = self.rest.len();
            block.bytes()[..unread].copy_from_slice(&self.rest);
            // What the handshake or a pause left over is looked at before the kernel is asked for more.
            let filled = if std::mem::take(&mut self.unwalked) {
                Ok(Some(unread))
            } else {
                self.fill(&mut block, unread, tools.now)
            };
            match filled {
                Ok(Some(filled)) => {
                    self.empty_rest();
                    self.take_in(block, filled, inbound, conversation, tools)?;
                }
                Ok(None) => *tools.block = Some(block),
                Err(reason) => {
                    *tools.block = Some(block);
                    return Err(reason);
                }
            }
        }
        Ok(Read::More)
    }

    /// Whether a message more may be handed over; if not, reading is paused.
    fn make_room(&mut self, inbound: &mut Option<Writer<u8>>) -> bool {
        let Some(pipe) = inbound else {
            return true;
        };
        if self.paused || !pipe.has_room() {
            self.paused = !self.read_closed && !pipe.wait_for_half();
        }
        !self.paused
    }

    /// Reads into the large frame, if one is under way, and into the block behind its first `unread` bytes. Returns how
    /// many bytes of the block count, or nothing if the kernel has nothing.
    fn fill(&mut self, block: &mut Block, unread: usize, now: Instant) -> Result<Option<usize>, Reason> {
        let buffer = &mut block.bytes()[unread..];
        let offered = buffer.len();
        let spare = self.large.as_mut().map_or(&mut [][..], Large::spare);
        let direct = spare.len();
        match self
            .stream
            .read_vectored(&mut [IoSliceMut::new(spare), IoSliceMut::new(buffer)])
        {
            Ok(0) => Err(self.write_failure.take().unwrap_or(Reason::PeerClosed)),
            Ok(count) => {
                self.received += count as u64;
                self.trail.meter.heard(self.received, now);
                // A short read has emptied the kernel's buffer; only the end may still be there, unannounced.
                self.readable = count == direct + offered || self.read_closed;
                if let Some(large) = &mut self.large {
                    large.filled += count.min(direct);
                }
                Ok(Some(unread + count.saturating_sub(direct)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Empties the rest, and gives its memory up unless it is little: a silent connection must not hold on to it.
    fn empty_rest(&mut self) {
        if self.rest.capacity() > REST_KEPT_MAX {
            self.rest = Vec::new();
        }
        self.rest.clear();
    }

    /// Takes in the first `filled` bytes of the block, and gives the block back unless it became part of the chain.
    fn take_in(
        &mut self,
        mut block: Block,
        filled: usize,
        inbound: &mut Option<Writer<u8>>,
        conversation: &mut Conversation<'_>,
        tools: &mut Tools<'_>,
    ) -> Result<(), Reason> {
        let bytes = &mut block.bytes()[..filled];
        let start = self.feed_large(bytes, inbound)?;
        let room = self.room(inbound);
        let Stage::Traffic(decoder) = &mut self.stage else {
            return Ok(());
        };
        let bytes = &mut bytes[start..];
        let mut walk = walk(decoder, bytes, 0, room, conversation);
        let tail = bytes.len() - walk.taken;
        let Some(pipe) = inbound else {
            // Nothing but commands may come from a peer whose messages nobody here can take.
            let first = Header::parse(&bytes[..walk.kept]).ok().flatten();
            match first.or(walk.partial.filter(|header| !header.is_command())) {
                Some(header) => {
                    walk.failure = Some(ProtocolError::UnexpectedMessage {
                        bytes: header.body_bytes,
                    })
                }
                None => self.keep_tail(&walk, &bytes[walk.taken..]),
            }
            *tools.block = Some(block);
            return walk.end();
        };
        let stopped_by_room = walk.room_ended;
        if !(stopped_by_room && tail > TAIL_COPY_MAX) {
            let from = walk.taken;
            self.keep_tail(&walk, &bytes[from..]);
        } else {
            self.backlog = Some((start + walk.taken, filled));
        }
        if self.backlog.is_some() || walk.kept >= LINK_MIN {
            if start > 0 {
                block.bytes().copy_within(start..filled, 0);
                self.backlog = self.backlog.map(|(from, to)| (from - start, to - start));
            }
            pipe.link_block(block);
            hand_over_block(pipe, &walk);
        } else {
            hand_over_copy(pipe, bytes, &walk, tools.spares);
            *tools.block = Some(block);
        }
        walk.end()
    }

    /// Goes on with what a pause left in the linked block.
    fn walk_backlog(
        &mut self,
        inbound: &mut Option<Writer<u8>>,
        conversation: &mut Conversation<'_>,
    ) -> Result<(), Reason> {
        let room = self.room(inbound);
        let (Some((from, to)), Some(pipe), Stage::Traffic(decoder)) =
            (self.backlog.take(), inbound, &mut self.stage)
        else {
            return Ok(());
        };
        let kept = pipe.chain().kept();
        let bytes = pipe.chain().block_rest(to);
        let walk = walk(decoder, bytes, from - kept, room, conversation);
        if walk.room_ended {
            self.backlog = Some((kept + walk.taken, to));
        } else {
            self.keep_tail(&walk, &bytes[walk.taken..]);
        }
        hand_over_block(pipe, &walk);
        walk.end()
    }

    fn room(&self, inbound: &mut Option<Writer<u8>>) -> u64 {
        match inbound {
            Some(pipe) if !self.read_closed => pipe.room(),
            _ => u64::MAX,
        }
    }

    /// Keeps the bytes behind the last whole frame for the next time.
    fn keep_tail(&mut self, walk: &Walk, tail: &[u8]) {
        match walk.partial {
            Some(header)
                if !header.is_command() && header.body_bytes >= LARGE_MIN as u64 && !walk.room_ended =>
            {
                self.large = Some(Large::start(header, &tail[header.header_bytes..]));
            }
            _ => {
                self.rest.extend_from_slice(tail);
                self.unwalked = walk.room_ended && !tail.is_empty();
            }
        }
    }

    /// Gives the large frame under way its share of the bytes, hands it over when it is whole, and returns how many bytes
    /// were its.
    fn feed_large(&mut self, bytes: &[u8], inbound: &mut Option<Writer<u8>>) -> Result<usize, Reason> {
        let Some(mut large) = self.large.take() else {
            return Ok(0);
        };
        let count = large.take(bytes);
        if !large.is_whole() {
            self.large = Some(large);
            return Ok(count);
        }
        let (Stage::Traffic(decoder), Some(pipe)) = (&mut self.stage, inbound) else {
            return Err(ProtocolError::UnexpectedMessage {
                bytes: large.header.body_bytes,
            }
            .into());
        };
        let Large { header, body, .. } = large;
        decoder.large_frame_done(header);
        let mut encoded = [0; 9];
        let length = crate::wire::frame::encode_header(!header.is_last(), body.len(), &mut encoded);
        pipe.frame_by_reference(&encoded[..length], Bytes::from(body));
        if header.is_last() {
            pipe.publish(1);
        }
        Ok(count)
    }
}

impl Large {
    fn start(header: Header, arrived: &[u8]) -> Large {
        Large {
            header,
            body: arrived.to_vec(),
            filled: arrived.len(),
        }
    }

    fn bytes_total(&self) -> usize {
        usize::try_from(self.header.body_bytes).unwrap_or(usize::MAX)
    }

    /// Room for the next read: as much again as has arrived, so memory follows what the peer really sent.
    fn spare(&mut self) -> &mut [u8] {
        if self.body.len() == self.filled {
            let target = (self.filled * 2).max(LARGE_MIN * 2).min(self.bytes_total());
            self.body.reserve_exact(target - self.body.len());
            self.body.resize(target, 0);
        }
        &mut self.body[self.filled..]
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.bytes_total() - self.filled);
        // What is behind `filled` stays as it is, zeroed once: to cut it off and zero it again for each read would make
        // the cost of a frame quadratic. The read fills the spare bytes first, so bytes come here only when it is full.
        if count > 0 {
            self.body.truncate(self.filled);
            self.body.extend_from_slice(&bytes[..count]);
            self.filled += count;
        }
        count
    }

    fn is_whole(&self) -> bool {
        self.filled == self.bytes_total()
    }
}

/// What a walk over frames found. Offsets count from the start of the bytes walked.
#[derive(Default)]
struct Walk {
    /// Frames for the application now stand at the front, up to here.
    kept: usize,
    /// Up to here they are whole messages.
    committed: usize,
    messages: u32,
    /// Where the tail begins that was not walked.
    taken: usize,
    /// Header of the frame that is not whole, if it is known.
    partial: Option<Header>,
    /// The high-water mark ended the walk.
    room_ended: bool,
    /// Starts of pieces that fit a segment each.
    pieces: SmallVec<[usize; 24]>,
    failure: Option<ProtocolError>,
}

impl Walk {
    fn end(self) -> Result<(), Reason> {
        match self.failure {
            None => Ok(()),
            Some(failure) => Err(failure.into()),
        }
    }
}

/// Walks the frames from `from` on: moves those for the application together at the front, answers commands.
fn walk(
    decoder: &mut Decoder,
    bytes: &mut [u8],
    from: usize,
    room: u64,
    conversation: &mut Conversation<'_>,
) -> Walk {
    let mut walk = Walk {
        taken: from,
        ..Walk::default()
    };
    while walk.taken < bytes.len() {
        if u64::from(walk.messages) >= room && !decoder.in_message() {
            walk.room_ended = true;
            break;
        }
        match decoder.next(&bytes[walk.taken..]) {
            Ok(Item::Frame {
                header_bytes,
                body_bytes,
                last,
            }) => {
                let length = header_bytes + body_bytes;
                if walk.kept != walk.taken {
                    bytes.copy_within(walk.taken..walk.taken + length, walk.kept);
                }
                walk.keep_piece(length);
                walk.taken += length;
                if last {
                    walk.messages += 1;
                    walk.committed = walk.kept;
                }
            }
            Ok(Item::Command {
                header_bytes,
                body_bytes,
            }) => {
                let body = walk.taken + header_bytes..walk.taken + header_bytes + body_bytes;
                walk.taken = body.end;
                match Command::parse(&bytes[body.clone()]) {
                    // Other commands may stand between the parts of a message; this one would be a message there.
                    Ok(command @ (Command::Subscribe(_) | Command::Cancel(_))) if decoder.in_message() => {
                        walk.failure = Some(command.unexpected());
                    }
                    Ok(Command::Subscribe(topic)) => {
                        walk.subscription(true, topic.len(), body, bytes, conversation)
                    }
                    Ok(Command::Cancel(topic)) => {
                        walk.subscription(false, topic.len(), body, bytes, conversation)
                    }
                    Ok(command) => walk.failure = conversation.answer(command).err(),
                    Err(failure) => walk.failure = Some(failure),
                }
                if walk.failure.is_some() {
                    break;
                }
            }
            Ok(Item::Partial { header }) => {
                walk.partial = header;
                break;
            }
            Err(failure) => {
                walk.failure = Some(failure);
                break;
            }
        }
    }
    walk
}

impl Walk {
    /// Makes a message of a subscription, which is what the application's side of a publisher takes: shorter than the
    /// command, so it fits in front of it. For sockets that publish nothing it means nothing.
    fn subscription(
        &mut self,
        wanted: bool,
        topic_bytes: usize,
        body: Range<usize>,
        bytes: &mut [u8],
        conversation: &Conversation<'_>,
    ) {
        if !conversation.socket.socket_type.is_publisher() {
            return;
        }
        let mut header = [0; HEADER_BYTES_MAX];
        let header_bytes = encode_header(false, 1 + topic_bytes, &mut header);
        let start = self.kept;
        let topic = start + header_bytes + 1;
        self.keep_piece(topic + topic_bytes - start);
        bytes.copy_within(body.end - topic_bytes..body.end, topic);
        bytes[start..topic - 1].copy_from_slice(&header[..header_bytes]);
        bytes[topic - 1] = wanted.into();
        self.messages += 1;
        self.committed = self.kept;
    }

    /// Takes note of the next frame to be kept.
    fn keep_piece(&mut self, length: usize) {
        let piece = self.pieces.last().copied().unwrap_or(0);
        if self.kept + length - piece > PIECE_MAX && self.kept > piece {
            self.pieces.push(self.kept);
        }
        self.kept += length;
    }
}

impl Conversation<'_> {
    /// Acts on a command of the peer.
    fn answer(&mut self, command: Command<'_>) -> Result<(), ProtocolError> {
        match command {
            Command::Ping { ttl_tenths, context } => {
                let mut pong = Vec::with_capacity(32);
                command::pong(context, &mut pong);
                self.drainer.owe(&pong);
                if let Some(heartbeat) = &mut self.heartbeat {
                    heartbeat.asked(Duration::from_millis(u64::from(ttl_tenths) * 100));
                }
                Ok(())
            }
            Command::Pong { context } => {
                if let Some(heartbeat) = &mut self.heartbeat {
                    heartbeat.answered(context);
                }
                self.telling
                    .answered(context, self.socket, self.pipe, self.drainer);
                Ok(())
            }
            Command::Error(reason) => Err(ProtocolError::PeerError {
                reason: printable(reason),
            }),
            // RFC 23: unknown commands are ignored.
            _ => Ok(()),
        }
    }
}

/// The walked bytes are the open block's: they only have to be accepted.
fn hand_over_block(pipe: &mut Writer<u8>, walk: &Walk) {
    if walk.messages > 0 {
        pipe.chain().keep(walk.committed, false);
        pipe.publish(walk.messages);
    }
    if walk.kept > walk.committed {
        pipe.chain().keep(walk.kept - walk.committed, true);
    }
}

/// Copies the walked bytes into the pipe's own segments.
fn hand_over_copy(pipe: &mut Writer<u8>, bytes: &[u8], walk: &Walk, spares: &mut Spares<u8>) {
    if walk.messages > 0 {
        copy_pieces(pipe, bytes, 0, walk.committed, &walk.pieces, spares);
        pipe.publish(walk.messages);
    }
    copy_pieces(pipe, bytes, walk.committed, walk.kept, &walk.pieces, spares);
}

fn copy_pieces(
    pipe: &mut Writer<u8>,
    bytes: &[u8],
    mut from: usize,
    to: usize,
    pieces: &[usize],
    spares: &mut Spares<u8>,
) {
    for end in pieces
        .iter()
        .copied()
        .filter(|&piece| piece > from && piece < to)
        .chain([to])
        .collect::<SmallVec<[usize; 24]>>()
    {
        let piece = &bytes[from..end];
        match Header::parse(piece) {
            // A piece this long is one frame: its body gets memory of its own, which the message will keep.
            Ok(Some(header)) if piece.len() > PIECE_MAX => {
                let body = Bytes::copy_from_slice(&piece[header.header_bytes..]);
                pipe.frame_by_reference(&piece[..header.header_bytes], body);
            }
            _ if !piece.is_empty() => pipe.frames(piece, spares),
            _ => {}
        }
        from = end;
    }
}

/// Reads of one connection before the others have their turn: 256 KiB.
const READS_PER_TURN: usize = 4;
const HANDSHAKE_READ_BYTES: usize = 4096;
/// A frame from this body length on is assembled in a buffer of its own if it did not arrive whole.
const LARGE_MIN: usize = 4096;
/// From this many bytes on, the block itself is handed over instead of a copy.
const LINK_MIN: usize = 32 * 1024;
/// A tail up to this length is copied when the high-water mark stops a walk.
const TAIL_COPY_MAX: usize = REST_KEPT_MAX;
/// Pieces that are copied fit a segment of the pipe.
const PIECE_MAX: usize = 4096;
/// A rest of up to this capacity keeps its memory when it is emptied, so that a stream of small messages allocates
/// nothing.
const REST_KEPT_MAX: usize = 512;
