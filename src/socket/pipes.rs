//! What the halves of a socket do with their ends of a pipe, whatever kind of pipe it is.

use super::counting::Counts;
use crate::framing;
use crate::mailbox::{ReceivePipe, SendPipe};
use crate::message::Message;
use crate::pipe::inbound::Settled;
use crate::pipe::latest;
use crate::stats::COUNTS;

impl SendPipe {
    /// Whether there is room, or some can be made at once. Asks for no word of room.
    #[inline]
    pub(crate) fn make_room(&mut self) -> bool {
        match self {
            SendPipe::Wire(pipe) => pipe.make_room(),
            SendPipe::Inproc(pipe) => pipe.has_room(),
            SendPipe::Latest(_) => true,
        }
    }

    /// Whether there is room; if not, the inbox will hear when there is.
    pub(crate) fn has_room(&mut self) -> bool {
        match self {
            SendPipe::Wire(pipe) => pipe.has_room() || pipe.wait_for_room(),
            SendPipe::Inproc(pipe) => pipe.has_room() || pipe.wait_for_room(),
            SendPipe::Latest(_) => true,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        match self {
            SendPipe::Wire(pipe) => pipe.is_connected(),
            SendPipe::Inproc(pipe) => pipe.is_attached(),
            SendPipe::Latest(pipe) => pipe.is_attached(),
        }
    }

    /// Whether what was not handed over can still be received, by a peer in this process that has only been parted from.
    pub(crate) fn is_readable(&self) -> bool {
        match self {
            SendPipe::Wire(_) => false,
            SendPipe::Inproc(pipe) => pipe.is_readable(),
            SendPipe::Latest(pipe) => !pipe.is_abandoned(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let (accepted, handed_over, replaced, bytes_written) = match self {
            SendPipe::Wire(pipe) => {
                let (accepted, finished) = pipe.counts();
                (accepted, finished, 0, pipe.bytes_written())
            }
            SendPipe::Inproc(pipe) => {
                let (handed, taken) = pipe.counts();
                (handed, taken, 0, 0)
            }
            SendPipe::Latest(pipe) => {
                let counts = pipe.counts();
                (counts.handed, counts.taken, counts.replaced, 0)
            }
        };
        Counts {
            accepted,
            handed_over,
            replaced,
            full: 0,
            bytes_written,
        }
    }
}

impl ReceivePipe {
    /// What became of the messages since the pipe was made.
    pub(crate) fn counts(&self) -> latest::Counts {
        let (handed, taken) = match self {
            ReceivePipe::Wire(pipe) => pipe.counts(),
            ReceivePipe::Inproc(pipe) => pipe.counts(),
            ReceivePipe::Latest(pipe) => return pipe.counts(),
        };
        latest::Counts {
            handed,
            taken,
            replaced: 0,
        }
    }

    /// Takes a message, which must be there.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Message {
        self.take_counted(&mut 0)
    }

    /// As [`take`](Self::take), and adds the length of the message, where that is seen without looking into it once more.
    #[inline(always)]
    pub(crate) fn take_counted(&mut self, bytes: &mut u64) -> Message {
        match self {
            ReceivePipe::Wire(pipe) => {
                pipe.took_message();
                framing::receive(pipe.chain(), |length| count(bytes, length))
            }
            ReceivePipe::Inproc(pipe) => {
                pipe.took_message();
                pipe.chain().take(|message| count(bytes, message.total_bytes()))
            }
            ReceivePipe::Latest(pipe) => {
                let message = pipe.take().expect("only the reader empties the place");
                count(bytes, message.total_bytes());
                message
            }
        }
    }

    /// The first part of the next message, which must be there, if it can be seen where it is.
    #[inline]
    pub(crate) fn first_part(&mut self) -> Option<&[u8]> {
        match self {
            ReceivePipe::Wire(pipe) => framing::first_part(pipe.chain().peek()),
            ReceivePipe::Inproc(pipe) => pipe.chain().peek().first().map(Message::as_bytes),
            ReceivePipe::Latest(_) => None,
        }
    }

    #[inline]
    pub(crate) fn is_filled(&mut self) -> bool {
        match self {
            ReceivePipe::Wire(pipe) => pipe.chain().refill(),
            ReceivePipe::Inproc(pipe) => pipe.chain().refill(),
            ReceivePipe::Latest(pipe) => pipe.is_filled(),
        }
    }

    #[inline]
    pub(crate) fn has_some_left(&mut self) -> bool {
        match self {
            ReceivePipe::Wire(pipe) => pipe.chain().has_some_left(),
            ReceivePipe::Inproc(pipe) => pipe.chain().has_some_left(),
            ReceivePipe::Latest(pipe) => pipe.is_filled(),
        }
    }

    pub(crate) fn settle(&mut self) -> Settled {
        match self {
            ReceivePipe::Wire(pipe) => pipe.settle(),
            ReceivePipe::Inproc(pipe) => pipe.settle(),
            ReceivePipe::Latest(pipe) => pipe.settle(),
        }
    }

    /// Asks the other side to send nothing more; what it has sent stays readable.
    pub(crate) fn detach(&mut self) {
        match self {
            ReceivePipe::Wire(_) => {}
            ReceivePipe::Inproc(pipe) => pipe.leave(),
            ReceivePipe::Latest(pipe) => pipe.leave(),
        }
    }
}

/// Counts the bytes of a message that the application gets.
#[inline(always)]
pub(crate) fn count(bytes: &mut u64, length: usize) {
    if COUNTS {
        *bytes += length as u64;
    }
}
