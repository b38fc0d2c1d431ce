//! Messages to frames and back, on the application's side of a pipe.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::message::{Builder, Message, PartRef};
use crate::pipe::chain::Consumer;
use crate::pipe::inbound::Reader;
use crate::pipe::outbound::Sender;
use crate::pipe::recycle::Spares;
use crate::wire::frame::{HEADER_BYTES_MAX, Header, encode_header};

/// Bodies from this length on are kept by reference instead of copied into the pipe.
pub(crate) const BY_REFERENCE_MIN: usize = 4096 - HEADER_BYTES_MAX;

/// Appends the message to the pipe, which must have room. False if the pipe was closed meanwhile and did not accept it.
#[inline]
#[must_use]
pub(crate) fn send(pipe: &mut Sender, message: &Message, spares: &mut Spares<u8>) -> bool {
    if let Some((block, length)) = message.single_small() {
        // Copied as a block of fixed size, header included: most messages are this small.
        pipe.frame_prefix(&[0, length], block, length.into(), spares);
        return pipe.finish_message();
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
    pipe.finish_message()
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

/// Takes the next message out of the chain, which holds whole messages only, and at least one. Calls `count` with the length of
/// its parts, which is at hand here: asked of the message, it would be read back from where that was just written.
#[inline]
pub(crate) fn receive(chain: &mut Consumer<u8>, count: impl FnOnce(usize)) -> Message {
    let bytes = chain.peek();
    if let Ok(Some(header)) = Header::parse(bytes) {
        let rest = &bytes[header.header_bytes..];
        let length = body_bytes(&header);
        if header.is_last() && length <= rest.len() {
            count(length);
            let message = Message::copied_prefix(rest, length);
            chain.skip(header.header_bytes + length);
            return message;
        }
    }
    let message = receive_parts(chain);
    count(message.total_bytes());
    message
}

/// Messages that go from one pipe to another as the frames they came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) messages: u32,
    /// Bytes of bodies.
    pub(crate) bytes: u64,
    frame_bytes: usize,
}

impl Run {
    /// The whole messages with which these frames begin, up to so many, as far as they can be appended in one go. None if
    /// already the first is too long for that, or does not lie here in one piece.
    fn of(frames: &[u8], messages_max: u32) -> Run {
        let (mut run, mut next) = (Run::default(), Run::default());
        while run.messages < messages_max {
            let rest = &frames[next.frame_bytes..];
            let Ok(Some(header)) = Header::parse(rest) else {
                break;
            };
            let length = body_bytes(&header);
            if length > rest.len() - header.header_bytes {
                break;
            }
            next.frame_bytes += header.header_bytes + length;
            next.bytes += header.body_bytes;
            if next.frame_bytes > RUN_BYTES_MAX {
                break;
            }
            if header.is_last() {
                next.messages += 1;
                run = next;
            }
        }
        run
    }
}

/// Moves up to `messages_max` messages from one pipe, which has some, to another, which has room for them, without looking
/// further into them than at their headers. Moves none if the next one has to be taken out by itself.
pub(crate) fn forward(
    from: &mut Reader<u8>,
    to: &mut Sender,
    messages_max: u32,
    spares: &mut Spares<u8>,
) -> Run {
    let frames = from.chain().peek();
    let mut run = Run::of(frames, messages_max);
    if run.messages > 0 {
        to.frame(&[], &frames[..run.frame_bytes], spares);
        let refused = to.finish_messages(run.messages);
        if refused > 0 {
            // Some may have been written before the end; the others stay where they are.
            run = Run::of(frames, run.messages - refused);
        }
        from.took_messages(run.messages.into());
        from.chain().skip(run.frame_bytes);
    }
    run
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::{LONG, MORE};

    fn frame(flags: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![flags];
        match flags & LONG {
            0 => bytes.push(u8::try_from(length).unwrap()),
            _ => bytes.extend((length as u64).to_be_bytes()),
        }
        bytes.resize(bytes.len() + length, 7);
        bytes
    }

    fn run(frames: &[u8], messages_max: u32) -> (u32, u64, usize) {
        let run = Run::of(frames, messages_max);
        (run.messages, run.bytes, run.frame_bytes)
    }

    #[test]
    fn a_run_is_of_whole_messages() {
        let frames = [
            frame(0, 3),
            frame(MORE, 0),
            frame(LONG, 5),
            frame(0, 255),
            frame(MORE, 1),
        ]
        .concat();
        // Ends of the messages, and bytes of bodies up to there.
        let ends = [(5, 3), (5 + 2 + 14, 8), (5 + 2 + 14 + 257, 263)];
        for cut in 0..=frames.len() {
            let whole = ends.iter().filter(|(end, _)| *end <= cut).count();
            for max in 0..5 {
                let messages = whole.min(max as usize);
                let (end, bytes) = messages.checked_sub(1).map_or((0, 0), |last| ends[last]);
                assert_eq!(
                    run(&frames[..cut], max),
                    (messages as u32, bytes, end),
                    "cut at {cut}, {max}"
                );
            }
        }
    }

    #[test]
    fn a_run_fits_a_segment() {
        let frames = frame(0, 98).repeat(100);
        assert_eq!(run(&frames, 1000), (40, 3920, 4000));
        let longest = frame(LONG, RUN_BYTES_MAX - 9);
        assert_eq!(run(&longest, 1), (1, RUN_BYTES_MAX as u64 - 9, RUN_BYTES_MAX));
        assert_eq!(run(&frame(LONG, RUN_BYTES_MAX - 8), 1), (0, 0, 0));
    }
}
