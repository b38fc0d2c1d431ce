//! Messages to frames and back, on the application's side of a pipe.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::message::{Builder, Message, PartRef};
use crate::pipe::chain::Consumer;
use crate::pipe::outbound::Sender;
use crate::pipe::recycle::Spares;
use crate::wire::frame::{HEADER_BYTES_MAX, Header, encode_header};

/// Bodies from this length on are kept by reference instead of copied into the pipe.
pub(crate) const BY_REFERENCE_MIN: usize = 4096 - HEADER_BYTES_MAX;

/// Appends the message to the pipe, which must have room.
#[inline]
pub(crate) fn send(pipe: &mut Sender, message: &Message, spares: &mut Spares<u8>) {
    if let Some((block, length)) = message.single_small() {
        // Copied as a block of fixed size, header included: most messages are this small.
        pipe.frame_prefix(&[0, length], block, length.into(), spares);
        pipe.finish_message();
        return;
    }
    match message.single() {
        Some(part) => frame(pipe, part, false, spares),
        None => {
            let mut parts = message.part_refs().peekable();
            while let Some(part) = parts.next() {
                frame(pipe, part, parts.peek().is_some(), spares);
            }
        }
    }
    pipe.finish_message();
}

#[inline]
fn frame(pipe: &mut Sender, part: PartRef<'_>, more: bool, spares: &mut Spares<u8>) {
    let mut header = [0; 9];
    match part {
        PartRef::Shared(body) if body.len() >= BY_REFERENCE_MIN => {
            let length = encode_header(more, body.len(), &mut header);
            pipe.frame_by_reference(&header[..length], body.clone());
        }
        PartRef::Shared(body) => {
            let length = encode_header(more, body.len(), &mut header);
            pipe.frame(&header[..length], body, spares);
        }
        PartRef::Slice(body) => {
            let length = encode_header(more, body.len(), &mut header);
            pipe.frame(&header[..length], body, spares);
        }
    }
}

/// A message that is framed once, for many pipes.
pub(crate) struct Framed {
    bytes: Vec<u8>,
    pieces: SmallVec<[Piece; 4]>,
}

/// Goes into a pipe as one run of bytes, or as a header and a body by reference.
enum Piece {
    Frames(Range<usize>),
    Shared { header: Range<usize>, body: Bytes },
}

impl Framed {
    /// Bodies from `by_reference_min` bytes on are not copied.
    pub(crate) fn new(message: &Message, by_reference_min: usize) -> Framed {
        let mut framed = Framed {
            bytes: Vec::new(),
            pieces: SmallVec::new(),
        };
        let mut parts = message.part_refs().peekable();
        while let Some(part) = parts.next() {
            framed.part(part, parts.peek().is_some(), by_reference_min);
        }
        framed
    }

    fn part(&mut self, part: PartRef<'_>, more: bool, by_reference_min: usize) {
        let mut header = [0; 9];
        let start = self.bytes.len();
        let (shared, body): (_, &[u8]) = match &part {
            PartRef::Shared(body) => (Some(*body), body),
            PartRef::Slice(body) => (None, body),
        };
        let length = encode_header(more, body.len(), &mut header);
        self.bytes.extend_from_slice(&header[..length]);
        if let Some(shared) = shared.filter(|body| body.len() >= by_reference_min) {
            self.pieces.push(Piece::Shared {
                header: start..self.bytes.len(),
                body: shared.clone(),
            });
            return;
        }
        self.bytes.extend_from_slice(body);
        let end = self.bytes.len();
        match self.pieces.last_mut() {
            Some(Piece::Frames(run)) if end - run.start <= RUN_BYTES_MAX => run.end = end,
            _ => self.pieces.push(Piece::Frames(start..end)),
        }
    }

    /// Appends the message to a pipe, which must have room.
    pub(crate) fn append(&self, pipe: &mut Sender, spares: &mut Spares<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Frames(run) => pipe.frame(&[], &self.bytes[run.clone()], spares),
                Piece::Shared { header, body } => {
                    pipe.frame_by_reference(&self.bytes[header.clone()], body.clone());
                }
            }
        }
        pipe.finish_message_quietly();
    }
}

/// What is appended to a pipe in one go fits a segment.
const RUN_BYTES_MAX: usize = BY_REFERENCE_MIN;

/// Appends a small message to a pipe, which must have room, without waking anybody. False if it is not small.
#[inline]
pub(crate) fn append_small(pipe: &mut Sender, message: &Message, spares: &mut Spares<u8>) -> bool {
    let Some((block, length)) = message.single_small() else {
        return false;
    };
    pipe.frame_prefix(&[0, length], block, length.into(), spares);
    pipe.finish_message_quietly();
    true
}

/// Takes the next message out of the chain, which holds whole messages only, and at least one.
#[inline]
pub(crate) fn receive(chain: &mut Consumer<u8>) -> Message {
    let bytes = chain.peek();
    if let Ok(Some(header)) = Header::parse(bytes) {
        let rest = &bytes[header.header_bytes..];
        let length = body_bytes(&header);
        if header.is_last() && length <= rest.len() {
            let message = Message::copied_prefix(rest, length);
            chain.skip(header.header_bytes + length);
            return message;
        }
    }
    receive_parts(chain)
}

/// The body of the first of these frames, if all of it is here.
#[inline]
pub(crate) fn first_part(frames: &[u8]) -> Option<&[u8]> {
    let header = Header::parse(frames).ok()??;
    frames[header.header_bytes..].get(..body_bytes(&header))
}

/// The general case: several parts, or bodies by reference.
fn receive_parts(chain: &mut Consumer<u8>) -> Message {
    let mut parts = Builder::default();
    loop {
        let bytes = chain.peek();
        let Ok(Some(header)) = Header::parse(bytes) else {
            // The I/O thread has walked every frame before it handed them over, and a message comes as a whole.
            debug_assert!(false, "the chain holds whole messages");
            return parts.finish();
        };
        match bytes[header.header_bytes..].get(..body_bytes(&header)) {
            Some(body) => {
                parts.push_slice(body);
                let taken = header.header_bytes + body.len();
                chain.skip(taken);
            }
            None => {
                chain.skip(header.header_bytes);
                parts.push_bytes(chain.take_body().unwrap_or_default());
            }
        }
        if header.is_last() {
            return parts.finish();
        }
    }
}

fn body_bytes(header: &Header) -> usize {
    usize::try_from(header.body_bytes).unwrap_or(usize::MAX)
}
